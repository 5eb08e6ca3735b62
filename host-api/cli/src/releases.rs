//! Channel states in a registry that is a folder: what answers, signed by releasers, checked as a host does before
//! it is put where hosts find it.

use std::path::{Path, PathBuf};

use semver::Version;
use verdict_core::artifact::{self, VerifiedArtifact};
use verdict_core::dsse::Envelope;
use verdict_core::key::Role;
use verdict_core::name::{ChannelName, PolicyName};
use verdict_core::refusal::{Refusal, RefusalCode};
use verdict_core::time::Timestamp;
use verdict_core::trust::{ChannelState, DataSnapshot, Release, Seen, SignedDocument as _, Verified, Which};
use verdict_registry::{Layout, Tree};

use crate::clock;
use crate::commands::Trusted;
use crate::error::{Error, Problem};
use crate::files;
use crate::signer::KeyArgs;

const DAY_MS: i64 = 24 * 60 * 60 * 1_000;

/// The registry, who it is trusted by, and the key of the releaser.
#[derive(clap::Args)]
pub(crate) struct ReleaseArgs {
    /// The registry: a folder with artifacts, `trust/`, and `channels/`, which these commands write
    #[arg(long, value_name = "DIR", default_value = ".")]
    registry: PathBuf,
    /// The folder of `verdict trust`, with the roots that you pin; `trust` in the registry, if left out
    #[arg(long, value_name = "DIR")]
    trust: Option<PathBuf>,
    /// The channel
    #[arg(long, value_name = "NAME", default_value_t = ChannelName::production())]
    pub(crate) channel: ChannelName,
    #[command(flatten)]
    key: KeyArgs,
    /// How many days the state holds; then a host goes on for its time of grace, and no longer
    #[arg(long, value_name = "N", default_value_t = 90, value_parser = clap::value_parser!(i64).range(1..=3_650))]
    days: i64,
}

/// What became of a state.
pub(crate) enum Put {
    /// Hosts find it.
    Released,
    /// More people must sign it first; why.
    Waits(String),
}

/// A registry with everything that decides in it.
pub(crate) struct Releases {
    pub(crate) tree: Tree,
    trusted: Trusted,
    now: Timestamp,
}

impl ReleaseArgs {
    /// Opens the registry.
    ///
    /// # Errors
    /// When it, or what it is trusted by, cannot be used.
    pub(crate) fn open(&self) -> Result<Releases, Error> {
        Releases::open(&self.registry, self.trust.as_deref())
    }

    /// Signs a state that follows all that are there, and puts it where hosts find it if it is good throughout.
    ///
    /// # Errors
    /// When a host would refuse it, or it cannot be signed or written.
    pub(crate) fn put(
        &self,
        releases: &Releases,
        mut state: ChannelState,
    ) -> Result<(ChannelState, Put), Error> {
        state.channel = self.channel.clone();
        state.sequence = releases.next_sequence(&state.policy, &state.channel)?;
        (state.issued, state.expires) = (releases.now, clock::from_now(self.days.saturating_mul(DAY_MS))?);
        let payload = state.payload().map_err(|error| unusable(error.to_string()))?;
        let mut envelope = Envelope::unsigned(ChannelState::PAYLOAD_TYPE, payload);
        self.key.open(Role::Releaser)?.sign(&mut envelope)?;
        let put = releases.put(&state, &envelope)?;
        Ok((state, put))
    }

    /// Adds a signature to the state that waits for one.
    ///
    /// # Errors
    /// As [`Self::put`], and when none waits.
    pub(crate) fn cosign(
        &self,
        releases: &Releases,
        policy: &PolicyName,
    ) -> Result<(ChannelState, Put), Error> {
        let path = releases.waiting(policy, &self.channel);
        let bytes = files::read(&path, 1 << 20)?;
        let mut envelope = Envelope::parse(&bytes).map_err(|error| unusable(error.to_string()))?;
        let state = ChannelState::parse(envelope.payload())?;
        if (&state.policy, &state.channel) != (policy, &self.channel) {
            return Err(unusable(format!("`{}` is about another channel", path.display())));
        }
        self.key.open(Role::Releaser)?.sign(&mut envelope)?;
        let put = releases.put(&state, &envelope)?;
        Ok((state, put))
    }
}

impl Releases {
    /// Opens a registry with the trust that holds there now.
    ///
    /// # Errors
    /// When either cannot be used.
    pub(crate) fn open(registry: &Path, trust: Option<&Path>) -> Result<Self, Error> {
        let now = clock::now()?;
        let trust = trust.map_or_else(|| registry.join("trust"), Path::to_path_buf);
        Ok(Self { trusted: Trusted::read(&trust, now)?, tree: Tree::open(registry)?, now })
    }

    /// A version of a policy that is in the registry and that its author signed.
    ///
    /// # Errors
    /// When there is none, or two that differ.
    pub(crate) fn release(&self, policy: &PolicyName, version: &Version) -> Result<Release, Error> {
        let mut found: Option<Release> = None;
        let mut refused = None;
        for path in verdict_registry::find(self.tree.path())? {
            match self.verified(&path) {
                Ok(verified) => {
                    let manifest = verified.manifest();
                    if manifest.policy != *policy || manifest.version != *version {
                        continue;
                    }
                    let (image, statement) = (verified.oci_digest(), verified.statement_digest());
                    let release = Release { version: version.clone(), image, statement };
                    if found.as_ref().is_some_and(|other| *other != release) {
                        let message =
                            format!("the registry holds two different artifacts of `{policy}` {version}");
                        return Err(Error::Refused(Problem::new("ambiguous", message)));
                    }
                    found = Some(release);
                }
                Err(refusal) => refused = Some(format!("`{}`: {refusal}", path.display())),
            }
        }
        found.ok_or_else(|| {
            let message =
                format!("the registry holds no version {version} of `{policy}` that its author signed");
            let help = refused.unwrap_or_else(|| "`verdict list` shows what is there".into());
            Error::Unusable(Problem::new("unknown-version", message).help(help))
        })
    }

    fn verified(&self, path: &Path) -> Result<VerifiedArtifact, Refusal> {
        artifact::verify(Layout::open(path)?.fetch()?, &self.trusted.policy, self.now)
    }

    /// The states of a channel, the oldest first. Nobody has checked them.
    ///
    /// # Errors
    /// When they cannot be read.
    pub(crate) fn history(
        &self,
        policy: &PolicyName,
        channel: &ChannelName,
    ) -> Result<Vec<ChannelState>, Error> {
        let states = self.tree.channel_states(policy, channel)?;
        let parse = |envelope: Vec<u8>| ChannelState::parse(Envelope::parse(&envelope).ok()?.payload()).ok();
        Ok(states.into_iter().filter_map(parse).collect())
    }

    /// The newest state of a channel.
    ///
    /// # Errors
    /// When there is none.
    pub(crate) fn newest(&self, policy: &PolicyName, channel: &ChannelName) -> Result<ChannelState, Error> {
        self.history(policy, channel)?.pop().ok_or_else(|| {
            let message = format!("nothing was released to channel `{channel}` of `{policy}` yet");
            Error::Unusable(Problem::new("no-channel", message).help("`verdict activate` releases a version"))
        })
    }

    fn next_sequence(&self, policy: &PolicyName, channel: &ChannelName) -> Result<u64, Error> {
        let newest = self.history(policy, channel)?.pop().map_or(0, |state| state.sequence);
        Ok(newest.saturating_add(1))
    }

    /// Where a state waits for more signatures. Hosts do not look there.
    fn waiting(&self, policy: &PolicyName, channel: &ChannelName) -> PathBuf {
        let folder = self.tree.path().join("channels").join(policy.tenant().as_str()).join(policy.name());
        folder.join(format!("{channel}.waits"))
    }

    fn put(&self, state: &ChannelState, envelope: &Envelope) -> Result<Put, Error> {
        let (policy, channel) = (&state.policy, &state.channel);
        let text = envelope.render();
        let waiting = self.waiting(policy, channel);
        match self.checked(state, text.as_bytes()) {
            Ok(()) => {
                self.tree.put_channel(policy, channel, state.sequence, text.as_bytes())?;
                // A signature fewer does not harm; what waits may be gone already.
                let _ = std::fs::remove_file(waiting);
                Ok(Put::Released)
            }
            Err(refusal) if refusal.code == RefusalCode::TooFewSigners => {
                if let Some(folder) = waiting.parent() {
                    files::create_folder(folder)?;
                }
                files::write(&waiting, text.as_bytes())?;
                Ok(Put::Waits(refusal.message))
            }
            Err(refusal) => Err(refusal.into()),
        }
    }

    /// Checks a state, and every version that it names, as a host does that has seen nothing else.
    fn checked(&self, state: &ChannelState, envelope: &[u8]) -> Result<(), Refusal> {
        let seen = Seen::default();
        let basis = self.trusted.basis(&seen, self.now);
        let verified = ChannelState::verify(envelope, &state.policy, &state.channel, &basis)?;
        let data = self.data(state, &basis)?;
        let shares = (0..state.versions.len()).map(Which::Share);
        for which in shares.chain(state.shadow.is_some().then_some(Which::Shadow)) {
            let Some(release) = state.release(which) else { continue };
            let artifact = self.tree.layout(&release.image)?.fetch()?;
            let artifact =
                artifact::verify_statement(artifact, &release.statement, &self.trusted.policy, self.now)?;
            artifact::admit_in_channel(artifact, &verified, which, data.as_ref(), &basis)?;
        }
        Ok(())
    }

    fn data(
        &self,
        state: &ChannelState,
        basis: &verdict_core::trust::Basis<'_>,
    ) -> Result<Option<Verified<DataSnapshot>>, Refusal> {
        let tenant = state.policy.tenant();
        let mut snapshots = self.tree.data_snapshots(tenant)?;
        match state.data {
            None => snapshots.pop().map(|newest| DataSnapshot::verify(&newest, tenant, basis)).transpose(),
            Some(named) => {
                let verify = |envelope: &Vec<u8>| DataSnapshot::verify_named(envelope, tenant, &named, basis);
                Ok(snapshots.iter().rev().find_map(|envelope| verify(envelope).ok()))
            }
        }
    }
}

fn unusable(message: String) -> Error {
    Error::Unusable(Problem::new("channel", message))
}
