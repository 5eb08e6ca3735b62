//! Where a host gets signed documents and artifacts from, and where people put them.

use std::fmt;
use std::time::Duration;

use semver::Version;
use verdict_core::artifact::UnverifiedArtifact;
use verdict_core::digest::Digest;
use verdict_core::name::{ChannelName, PolicyName, Tenant};
use verdict_core::refusal::Refusal;

use crate::error::RegistryError;

/// A place that a host follows. Nothing that comes from it is trusted: what may run is decided by signatures, and a
/// source can at most keep something back.
pub trait Source: Send + Sync + fmt::Debug {
    /// The newest signed documents.
    ///
    /// # Errors
    /// When the source cannot be read now. A host goes on with what it has.
    fn documents(&self) -> Result<Documents, Refusal>;

    /// The artifact with this image manifest.
    ///
    /// # Errors
    /// When it is not there, cannot be read, or is larger than what is read.
    fn artifact(&self, policy: &PolicyName, image: &Digest) -> Result<UnverifiedArtifact, Refusal>;

    /// The content of a data snapshot, at most `bytes_max` bytes.
    ///
    /// # Errors
    /// When it is not there, cannot be read, or is larger.
    fn data(&self, tenant: &Tenant, content: &Digest, bytes_max: u64) -> Result<Vec<u8>, Refusal>;

    /// Waits until something may have changed since the documents were last read, or the time is over.
    fn wait(&self, timeout: Duration);
}

/// A place that documents are put into, and what those who sign the next ones look up there. It judges nothing, or
/// checks as a host does: either way nobody has to believe it.
pub trait Publish: Source {
    /// Where it is, for messages.
    fn place(&self) -> String;

    /// The same as [`Source::documents`], with an error that says more.
    ///
    /// # Errors
    /// When they cannot be read.
    fn newest(&self) -> Result<Documents, RegistryError> {
        Ok(self.documents()?)
    }

    /// What may be this version, by what it says of itself: mostly one artifact, and instead of one that cannot be read,
    /// why not.
    ///
    /// # Errors
    /// When the place cannot be searched.
    fn candidates(
        &self,
        policy: &PolicyName,
        version: &Version,
    ) -> Result<Vec<Result<UnverifiedArtifact, Refusal>>, RegistryError>;

    /// Every channel that has a state.
    ///
    /// # Errors
    /// When they cannot be listed.
    fn channels(&self) -> Result<Vec<(PolicyName, ChannelName)>, RegistryError>;

    /// The newest `count_max` states of a channel, the oldest of them first.
    ///
    /// # Errors
    /// When they cannot be read.
    fn channel_states(
        &self,
        policy: &PolicyName,
        channel: &ChannelName,
        count_max: usize,
    ) -> Result<Vec<Vec<u8>>, RegistryError>;

    /// The newest `count_max` data snapshots of a tenant, the oldest of them first.
    ///
    /// # Errors
    /// When they cannot be read.
    fn data_snapshots(&self, tenant: &Tenant, count_max: usize) -> Result<Vec<Vec<u8>>, RegistryError>;

    /// Whether the content of a data snapshot is there.
    ///
    /// # Errors
    /// When the place cannot be asked.
    fn has_data(&self, tenant: &Tenant, content: &Digest) -> Result<bool, RegistryError>;

    /// Puts a version of the trust policy where hosts find it.
    ///
    /// # Errors
    /// When it is refused, or cannot be written.
    fn put_trust(&self, version: u64, envelope: &[u8]) -> Result<(), RegistryError>;

    /// Puts the next list of what is revoked where hosts find it.
    ///
    /// # Errors
    /// When it is refused, or cannot be written.
    fn put_revocations(&self, envelope: &[u8]) -> Result<(), RegistryError>;

    /// Puts a state of a channel where hosts find it.
    ///
    /// # Errors
    /// When it is refused, or cannot be written.
    fn put_channel(
        &self,
        policy: &PolicyName,
        channel: &ChannelName,
        sequence: u64,
        envelope: &[u8],
    ) -> Result<(), RegistryError>;

    /// Puts a data snapshot where hosts find it. The content comes first, so that no snapshot is without it.
    ///
    /// # Errors
    /// When it is refused, or cannot be written.
    fn put_data(
        &self,
        tenant: &Tenant,
        sequence: u64,
        envelope: &[u8],
        content: &[u8],
    ) -> Result<(), RegistryError>;

    /// Attaches a signed envelope to an image, which is this version.
    ///
    /// # Errors
    /// When there is no such image, it is refused, or cannot be written.
    fn attach_statement(
        &self,
        policy: &PolicyName,
        version: &Version,
        image: &Digest,
        envelope: &[u8],
    ) -> Result<(), RegistryError>;
}

/// Signed documents: DSSE envelopes that nobody has checked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Documents {
    /// Trust policies, one after another: each is signed by the root keys of the one before. It may begin anywhere.
    pub trust: Vec<Vec<u8>>,
    /// What was revoked.
    pub revocations: Option<Vec<u8>>,
    /// The state of every channel.
    pub channels: Vec<Vec<u8>>,
    /// Data snapshots of every tenant that has any: the newest, and others that a channel may name.
    pub data: Vec<Vec<u8>>,
}
