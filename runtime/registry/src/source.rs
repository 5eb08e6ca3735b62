//! Where a host gets signed documents and artifacts from.

use std::fmt;
use std::time::Duration;

use verdict_core::artifact::UnverifiedArtifact;
use verdict_core::digest::Digest;
use verdict_core::name::{PolicyName, Tenant};
use verdict_core::refusal::Refusal;

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
