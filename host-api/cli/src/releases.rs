//! Channel states in a registry: what answers, signed by releasers, checked as a host does before it is put where hosts
//! find it.

use std::path::PathBuf;

use semver::Version;
use serde_json::Value;
use verdict_core::artifact;
use verdict_core::dsse::Envelope;
use verdict_core::key::Role;
use verdict_core::name::{ChannelName, PolicyName};
use verdict_core::refusal::{Refusal, RefusalCode};
use verdict_core::time::Timestamp;
use verdict_core::trust::{ChannelState, DataSnapshot, Release, Seen, SignedDocument as _, Verified, Which};

use crate::clock;
use crate::commands::Trusted;
use crate::error::{Error, Problem};
use crate::files;
use crate::place::{Place, PlaceArgs, TrustArgs};
use crate::signer::{self, KeyArgs, PassphraseArgs, Signer};

const DAY_MS: i64 = 24 * 60 * 60 * 1_000;

/// The registry, who it is trusted by, and which channel.
#[derive(clap::Args)]
pub(crate) struct ReleaseArgs {
    #[command(flatten)]
    place: PlaceArgs,
    #[command(flatten)]
    trust: TrustArgs,
    /// The channel
    #[arg(long, value_name = "NAME", default_value_t = ChannelName::production())]
    pub(crate) channel: ChannelName,
    /// Where a state is that waits for more signatures; beside the channel in a registry that is a folder, here
    /// otherwise
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// How many days the state holds; then a host goes on for its time of grace, and no longer
    #[arg(long, value_name = "N", default_value_t = 90, value_parser = clap::value_parser!(i64).range(1..=3_650))]
    days: i64,
}

/// Who signs a state.
#[derive(clap::Args)]
pub(crate) struct SignArgs {
    /// The releaser's key: a file made by `verdict keys new`, or `pkcs11:…` (RFC 7512) for one in a token
    #[arg(
        long,
        value_name = "FILE|URI",
        required_unless_present = "by_server",
        conflicts_with = "by_server"
    )]
    key: Option<PathBuf>,
    #[command(flatten)]
    passphrase: PassphraseArgs,
    /// Let the server make the state and sign it with its activation key, where the trust policy allows that
    #[arg(long)]
    pub(crate) by_server: bool,
}

/// What became of a state.
pub(crate) enum Put {
    /// Hosts find it.
    Released,
    /// More people must sign it first; why, and where it waits.
    Waits(String, PathBuf),
}

/// A registry with everything that decides in it.
pub(crate) struct Releases {
    place: Place,
    trusted: Trusted,
    /// Where a state waits, if somebody said so.
    file: Option<PathBuf>,
    now: Timestamp,
}

impl SignArgs {
    fn open(&self) -> Result<Signer, Error> {
        // The command line has one, or never comes here.
        let key = self.key.as_deref().ok_or_else(|| unusable("no key is named".into()))?;
        signer::open(key, &self.passphrase, Role::Releaser)
    }
}

impl ReleaseArgs {
    /// Opens the registry.
    ///
    /// # Errors
    /// When it, or what it is trusted by, cannot be used.
    pub(crate) fn open(&self) -> Result<Releases, Error> {
        let (now, place) = (clock::now()?, self.place.open()?);
        let trusted = place.trusted(&self.trust, now)?;
        Ok(Releases { place, trusted, file: self.file.clone(), now })
    }

    /// Signs a state that follows all that are there, and puts it where hosts find it if it is good throughout.
    ///
    /// # Errors
    /// When a host would refuse it, or it cannot be signed or written.
    pub(crate) fn put(
        &self,
        releases: &Releases,
        sign: &SignArgs,
        mut state: ChannelState,
    ) -> Result<(ChannelState, Put), Error> {
        state.channel = self.channel.clone();
        state.sequence = releases.next_sequence(&state.policy, &state.channel)?;
        (state.issued, state.expires) = (releases.now, clock::from_now(self.days.saturating_mul(DAY_MS))?);
        let payload = state.payload().map_err(|error| unusable(error.to_string()))?;
        let mut envelope = Envelope::unsigned(ChannelState::PAYLOAD_TYPE, payload);
        sign.open()?.sign(&mut envelope)?;
        let put = releases.put(&state, &envelope)?;
        Ok((state, put))
    }

    /// Lets the server make, check and sign the next state: `verb` is the command, `body` what it is asked.
    ///
    /// # Errors
    /// When it refuses, or has no key.
    pub(crate) fn by_server(
        &self,
        policy: &PolicyName,
        verb: &str,
        mut body: Value,
    ) -> Result<(ChannelState, Put), Error> {
        let place = self.place.open()?;
        if let Some(body) = body.as_object_mut() {
            body.retain(|_, value| !value.is_null());
            body.insert("days".into(), self.days.into());
        }
        let envelope = place.server()?.sign_channel(policy, &self.channel, verb, &body)?;
        let envelope = Envelope::parse(&envelope).map_err(|error| unusable(error.to_string()))?;
        Ok((ChannelState::parse(envelope.payload())?, Put::Released))
    }

    /// Adds a signature to the state that waits for one.
    ///
    /// # Errors
    /// As [`Self::put`], and when none waits.
    pub(crate) fn cosign(
        &self,
        releases: &Releases,
        key: &KeyArgs,
        policy: &PolicyName,
    ) -> Result<(ChannelState, Put), Error> {
        let path = releases.waiting(policy, &self.channel);
        let bytes = files::read(&path, 1 << 20)?;
        let mut envelope = Envelope::parse(&bytes).map_err(|error| unusable(error.to_string()))?;
        let state = ChannelState::parse(envelope.payload())?;
        if (&state.policy, &state.channel) != (policy, &self.channel) {
            return Err(unusable(format!("`{}` is about another channel", path.display())));
        }
        key.open(Role::Releaser)?.sign(&mut envelope)?;
        let put = releases.put(&state, &envelope)?;
        Ok((state, put))
    }
}

impl Releases {
    /// A version of a policy that is in the registry and that its author signed.
    ///
    /// # Errors
    /// When there is none, or two that differ.
    pub(crate) fn release(&self, policy: &PolicyName, version: &Version) -> Result<Release, Error> {
        let mut found: Option<Release> = None;
        let mut refused = None;
        for candidate in self.place.publish().candidates(policy, version)? {
            let verified = candidate.and_then(|artifact| {
                let reference = artifact.reference.clone();
                artifact::verify(artifact, &self.trusted.policy, self.now)
                    .map_err(|refusal| Refusal::new(refusal.code, format!("`{reference}`: {refusal}")))
            });
            let verified = match verified {
                Ok(verified) => verified,
                Err(refusal) => {
                    refused = Some(refusal.message);
                    continue;
                }
            };
            let manifest = verified.manifest();
            if manifest.policy != *policy || manifest.version != *version {
                continue;
            }
            let (image, statement) = (verified.oci_digest(), verified.statement_digest());
            let release = Release { version: version.clone(), image, statement };
            if found.as_ref().is_some_and(|other| *other != release) {
                let message = format!("the registry holds two different artifacts of `{policy}` {version}");
                return Err(Error::Refused(Problem::new("ambiguous", message)));
            }
            found = Some(release);
        }
        found.ok_or_else(|| {
            let message =
                format!("the registry holds no version {version} of `{policy}` that its author signed");
            let help = refused.unwrap_or_else(|| "`verdict list` shows what is there".into());
            Error::Unusable(Problem::new("unknown-version", message).help(help))
        })
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
        self.states(policy, channel, usize::MAX)
    }

    fn states(
        &self,
        policy: &PolicyName,
        channel: &ChannelName,
        count_max: usize,
    ) -> Result<Vec<ChannelState>, Error> {
        let states = self.place.publish().channel_states(policy, channel, count_max)?;
        let parse = |envelope: Vec<u8>| ChannelState::parse(Envelope::parse(&envelope).ok()?.payload()).ok();
        Ok(states.into_iter().filter_map(parse).collect())
    }

    /// The newest state of a channel.
    ///
    /// # Errors
    /// When there is none.
    pub(crate) fn newest(&self, policy: &PolicyName, channel: &ChannelName) -> Result<ChannelState, Error> {
        self.states(policy, channel, 1)?.pop().ok_or_else(|| {
            let message = format!("nothing was released to channel `{channel}` of `{policy}` yet");
            Error::Unusable(Problem::new("no-channel", message).help("`verdict activate` releases a version"))
        })
    }

    fn next_sequence(&self, policy: &PolicyName, channel: &ChannelName) -> Result<u64, Error> {
        let newest = self.states(policy, channel, 1)?.pop().map_or(0, |state| state.sequence);
        Ok(newest.saturating_add(1))
    }

    /// Where a state waits for more signatures. Hosts do not look there.
    fn waiting(&self, policy: &PolicyName, channel: &ChannelName) -> PathBuf {
        match (&self.file, &self.place) {
            (Some(file), _) => file.clone(),
            (None, Place::Folder(tree)) => {
                let folder = tree.path().join("channels").join(policy.tenant().as_str());
                folder.join(policy.name()).join(format!("{channel}.waits"))
            }
            (None, Place::Server(..)) => {
                format!("{}-{}-{channel}.waits", policy.tenant(), policy.name()).into()
            }
        }
    }

    fn put(&self, state: &ChannelState, envelope: &Envelope) -> Result<Put, Error> {
        let (policy, channel) = (&state.policy, &state.channel);
        let text = envelope.render();
        let waiting = self.waiting(policy, channel);
        match self.checked(state, text.as_bytes()) {
            Ok(()) => {
                self.place.publish().put_channel(policy, channel, state.sequence, text.as_bytes())?;
                // A signature fewer does not harm; what waits may be gone already.
                let _ = std::fs::remove_file(waiting);
                Ok(Put::Released)
            }
            Err(refusal) if refusal.code == RefusalCode::TooFewSigners => {
                if let Some(folder) = waiting.parent().filter(|folder| !folder.as_os_str().is_empty()) {
                    files::create_folder(folder)?;
                }
                files::write(&waiting, text.as_bytes())?;
                Ok(Put::Waits(refusal.message, waiting))
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
            let artifact = self.place.publish().artifact(&state.policy, &release.image)?;
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
        let count_max = if state.data.is_none() { 1 } else { usize::MAX };
        let mut snapshots = self.place.publish().data_snapshots(tenant, count_max)?;
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
