//! States of channels: those that people sign, and those that a server signs with its activation key.

use std::sync::Arc;

use semver::Version;
use tokio::task::spawn_blocking;
use verdict_core::artifact::{self, AdmittedArtifact, UnverifiedArtifact};
use verdict_core::digest::Digest;
use verdict_core::name::{ChannelName, PolicyName};
use verdict_core::refusal::{Refusal, RefusalCode};
use verdict_core::time::Timestamp;
use verdict_core::trust::{
    ChannelState, DataSnapshot, Grant, Guard, Release, Role, Share, SignedDocument as _, Sticky, Verified,
    Which,
};

use super::{DAYS_MAX, Ground, PublishError, Publisher, Ready, parse};
use crate::catalogue::{CatalogueError, DocumentEntry, DocumentName, Limit};
use crate::repository::RepositoryError;
use crate::served;

const DAY_MS: i64 = 24 * 60 * 60 * 1_000;

/// What is to answer in a channel.
#[derive(Debug, Clone, PartialEq)]
pub struct Activation {
    /// The versions with their weights; the first is the one that a guard goes back to.
    pub versions: Vec<(Version, u32)>,
    /// A version that is asked as well and never answers.
    pub shadow: Option<Version>,
    /// What makes the same question go to the same version.
    pub sticky: Option<Sticky>,
    /// The digest of the data snapshot's content; none means the tenant's newest.
    pub data: Option<Digest>,
    /// When a split turns back by itself.
    pub guard: Option<Guard>,
    /// How many days the state holds, 1 to [`DAYS_MAX`].
    pub days: u32,
}

/// A verified state with what it is checked by, shared with the thread that checks versions.
#[derive(Clone)]
struct Checked {
    ground: Arc<Ground>,
    state: Arc<Verified<ChannelState>>,
    data: Arc<Option<Verified<DataSnapshot>>>,
}

impl Publisher {
    /// Checks a next state of a channel, and that every version that it names may answer there.
    ///
    /// # Errors
    /// [`PublishError::Refused`], [`PublishError::NoVersion`]; when registry or catalogue fail.
    pub async fn channel(
        &self,
        policy: &PolicyName,
        channel: &ChannelName,
        envelope: &[u8],
        now: Timestamp,
    ) -> Result<Ready, PublishError> {
        let ground = self.ground(now).await?;
        let state = ChannelState::verify(envelope, policy, channel, &ground.basis())?;
        let data = self.snapshot(state.document(), &ground).await?;
        let by = ground.marks;
        let checked = Checked { ground: Arc::new(ground), state: Arc::new(state), data: Arc::new(data) };
        let document = checked.state.document();
        let shares = (0..document.versions.len()).map(Which::Share);
        let mut refers: Vec<Digest> = document.data.into_iter().collect();
        for which in shares.chain(document.shadow.is_some().then_some(Which::Shadow)) {
            if let Some(release) = document.release(which) {
                self.check_release(&checked, which, &release).await?;
                refers.push(release.image);
            }
        }
        self.ready(channel_name(policy, channel)?, &checked.state, envelope, refers, by).await
    }

    /// Signs and checks a state that lets versions answer.
    ///
    /// # Errors
    /// As [`channel`](Self::channel); [`PublishError::NoActivationKey`], [`PublishError::Days`],
    /// [`PublishError::Unsignable`].
    pub async fn activation(
        &self,
        policy: &PolicyName,
        channel: &ChannelName,
        activation: &Activation,
        now: Timestamp,
    ) -> Result<Ready, PublishError> {
        let mut versions = Vec::new();
        for (version, weight) in &activation.versions {
            versions.push(Share::new(self.release(policy, version).await?, *weight));
        }
        let shadow = match &activation.shadow {
            Some(version) => Some(self.release(policy, version).await?),
            None => None,
        };
        let Activation { sticky, data, guard, days, .. } = activation.clone();
        let state =
            ChannelState { versions, shadow, sticky, data, guard, ..unsigned_state(policy, channel, now) };
        self.signed(state, days, now).await
    }

    /// Signs and checks a state that lets answer in `to` what answers in `from`. The rules of `to` decide: they may ask
    /// for approvals that `from` does not. A shadow and a guard are for the channel that they were set up in.
    ///
    /// # Errors
    /// As [`activation`](Self::activation); [`PublishError::NoChannel`].
    pub async fn promotion(
        &self,
        policy: &PolicyName,
        to: &ChannelName,
        from: &ChannelName,
        days: u32,
        now: Timestamp,
    ) -> Result<Ready, PublishError> {
        let ground = self.ground(now).await?;
        let entry = self.newest(policy, from).await?;
        // This key vouches for what it signs: it takes over nothing that the database merely says.
        let found = ChannelState::verify(&entry.envelope, policy, from, &ground.basis())?;
        let state =
            ChannelState { channel: to.clone(), shadow: None, guard: None, ..found.document().clone() };
        self.signed(state, days, now).await
    }

    /// Signs and checks a state that goes back to a version, or to what other versions answered before.
    ///
    /// # Errors
    /// As [`activation`](Self::activation); [`PublishError::NoChannel`], [`PublishError::NoPrevious`].
    pub async fn rollback(
        &self,
        policy: &PolicyName,
        channel: &ChannelName,
        to: Option<&Version>,
        days: u32,
        now: Timestamp,
    ) -> Result<Ready, PublishError> {
        let ground = self.ground(now).await?;
        let newest = released(&self.newest(policy, channel).await?, policy, channel, &ground)?;
        let state = match to {
            None => self.previous(&newest, &ground).await?,
            Some(version) => {
                let versions = vec![Share::new(self.release(policy, version).await?, 1)];
                ChannelState { versions, shadow: None, sticky: None, guard: None, ..newest }
            }
        };
        self.signed(state, days, now).await
    }

    /// Completes a state so that it follows the newest, signs and checks it.
    async fn signed(
        &self,
        mut state: ChannelState,
        days: u32,
        now: Timestamp,
    ) -> Result<Ready, PublishError> {
        let key = self.activation_key.as_ref().ok_or(PublishError::NoActivationKey)?;
        if !(1..=DAYS_MAX).contains(&days) {
            return Err(PublishError::Days(days));
        }
        let newest = self.catalogue().document(&channel_name(&state.policy, &state.channel)?).await?;
        state.sequence = newest.map_or(0, |entry| entry.sequence).saturating_add(1);
        let end = now.millis().saturating_add(i64::from(days).saturating_mul(DAY_MS));
        let expires = Timestamp::from_millis(end).map_err(|_| PublishError::Days(days))?;
        (state.issued, state.expires) = (now, expires);
        let envelope = state.sign(key)?.render();
        self.channel(&state.policy, &state.channel, envelope.as_bytes(), now).await
    }

    /// A published version, by all its names.
    async fn release(&self, policy: &PolicyName, version: &Version) -> Result<Release, PublishError> {
        match self.catalogue().version(policy, version).await? {
            Some(entry) => {
                let (image, statement) = (entry.content.image, entry.content.statement);
                Ok(Release { version: version.clone(), image, statement })
            }
            None => Err(PublishError::NoVersion { policy: policy.clone(), version: version.clone() }),
        }
    }

    async fn newest(
        &self,
        policy: &PolicyName,
        channel: &ChannelName,
    ) -> Result<DocumentEntry, PublishError> {
        let entry = self.catalogue().document(&channel_name(policy, channel)?).await?;
        entry.ok_or_else(|| {
            let (policy, channel) = (policy.clone(), channel.clone());
            PublishError::NoChannel { policy, channel }
        })
    }

    /// The newest state that let other versions answer than this one. Going back twice goes back and forth.
    async fn previous(&self, state: &ChannelState, ground: &Ground) -> Result<ChannelState, PublishError> {
        let ChannelState { policy, channel, .. } = state;
        let name = channel_name(policy, channel)?;
        let mut before = Some(state.sequence);
        loop {
            let page = self.catalogue().document_history(&name, before, Limit::default()).await?;
            for entry in &page.items {
                // A state that no releaser signed, or not one of today's, is nothing to go back to.
                let found = released(entry, policy, channel, ground).ok();
                if let Some(found) = found.filter(|found| found.versions != state.versions) {
                    return Ok(found);
                }
            }
            before = page.items.last().map(|entry| entry.sequence);
            if !page.more {
                let (policy, channel) = (policy.clone(), channel.clone());
                return Err(PublishError::NoPrevious { policy, channel });
            }
        }
    }

    /// The snapshot that a state names, or the tenant's newest where that holds.
    async fn snapshot(
        &self,
        state: &ChannelState,
        ground: &Ground,
    ) -> Result<Option<Verified<DataSnapshot>>, PublishError> {
        let (tenant, basis) = (state.policy.tenant(), ground.basis());
        let name = DocumentName::data(tenant);
        let Some(named) = state.data else {
            let newest = self.catalogue().document(&name).await?;
            return Ok(newest.and_then(|entry| DataSnapshot::verify(&entry.envelope, tenant, &basis).ok()));
        };
        match self.catalogue().document_of(&name, named).await? {
            Some(entry) => Ok(Some(DataSnapshot::verify_named(&entry.envelope, tenant, &named, &basis)?)),
            None => {
                let message =
                    format!("the channel names the data {named}, and no snapshot of `{tenant}` has it");
                Err(Refusal::new(RefusalCode::WrongData, message).into())
            }
        }
    }

    /// Checks that a version is the one that was published, and that it may answer.
    async fn check_release(
        &self,
        checked: &Checked,
        which: Which,
        release: &Release,
    ) -> Result<(), PublishError> {
        let policy = &checked.state.document().policy;
        let published = self.release(policy, &release.version).await?;
        if published != *release {
            let message = format!(
                "version {} of `{policy}` was published with image {} and statement {}, not with {} and {}",
                release.version, published.image, published.statement, release.image, release.statement
            );
            return Err(Refusal::new(RefusalCode::NotReleased, message).into());
        }
        let artifact = served::artifact(&self.registry, policy, release.image).await?;
        let (checked, statement, trial) = (checked.clone(), release.statement, self.trial.clone());
        // Digests and signatures of a large component take a while, and to compile it takes longer.
        let admitted = spawn_blocking(move || {
            let admitted = checked.admit(artifact, which, &statement)?;
            trial.map_or(Ok(()), |trial| trial(&admitted))
        });
        let admitted = admitted.await;
        let failed = |_| RepositoryError::Catalogue(CatalogueError::Busy);
        Ok(admitted.map_err(failed)??)
    }
}

impl Checked {
    fn admit(
        &self,
        artifact: UnverifiedArtifact,
        which: Which,
        statement: &Digest,
    ) -> Result<AdmittedArtifact, Refusal> {
        let Self { ground, state, data } = self;
        let verified = artifact::verify_statement(artifact, statement, &ground.trust, ground.now)?;
        artifact::admit_in_channel(verified, state, which, data.as_ref().as_ref(), &ground.basis())
    }
}

/// A state that a releaser of today signed, whether it has expired or not: what a rollback goes by.
fn released(
    entry: &DocumentEntry,
    policy: &PolicyName,
    channel: &ChannelName,
    ground: &Ground,
) -> Result<ChannelState, PublishError> {
    let envelope = parse(&entry.envelope)?;
    let is_revoked = |key| {
        let revocations = ground.revocations.as_ref();
        revocations.is_some_and(|revocations| revocations.document().revokes_key(key))
    };
    let releasers = ground.trust.grants(Role::Releaser).iter();
    let covers = |grant: &&Grant| {
        let Grant { policies, channels, .. } = grant;
        policies.iter().any(|one| one.covers(policy)) && (channels.is_empty() || channels.contains(channel))
    };
    let keys = releasers.filter(covers).map(|grant| &grant.public).filter(|key| !is_revoked(key));
    let is_of_type = envelope.payload_type() == ChannelState::PAYLOAD_TYPE;
    if !is_of_type || envelope.signers(keys).is_empty() {
        let message = format!("state {} of `{policy}@{channel}` is not signed by a releaser", entry.sequence);
        return Err(Refusal::new(RefusalCode::UnknownSigner, message).into());
    }
    let state = ChannelState::parse(envelope.payload())?;
    if (&state.policy, &state.channel, state.sequence) == (policy, channel, entry.sequence) {
        return Ok(state);
    }
    let message = format!("the state kept for `{policy}@{channel}` is of another channel or sequence");
    Err(Refusal::new(RefusalCode::WrongDocument, message).into())
}

/// What is completed before it is signed.
fn unsigned_state(policy: &PolicyName, channel: &ChannelName, now: Timestamp) -> ChannelState {
    ChannelState {
        policy: policy.clone(),
        channel: channel.clone(),
        sequence: 1,
        issued: now,
        expires: now,
        versions: Vec::new(),
        shadow: None,
        sticky: None,
        data: None,
        guard: None,
    }
}

fn channel_name(policy: &PolicyName, channel: &ChannelName) -> Result<DocumentName, CatalogueError> {
    DocumentName::channel(policy, channel.as_str())
}
