//! Why nothing is published.

use semver::Version;
use verdict_core::digest::Digest;
use verdict_core::name::{ChannelName, PolicyName, Tenant};
use verdict_core::refusal::Refusal;
use verdict_core::trust::TrustError;

use crate::catalogue::CatalogueError;
use crate::repository::RepositoryError;
use crate::store::StoreError;

/// A document, a statement or a change of a channel is not published, and nothing of it is kept.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// A host would refuse it. With code `too-few-signers` more people must sign it first.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// There is no key to sign with.
    #[error("this server has no activation key; sign the state yourself, or start the server with one")]
    NoActivationKey,
    /// The version was never published.
    #[error("`{policy}` has no version {version}; push it with its author's statement first")]
    NoVersion {
        /// The policy.
        policy: PolicyName,
        /// The version.
        version: Version,
    },
    /// Nothing was ever released there.
    #[error("nothing was released to channel `{channel}` of `{policy}` yet; activate a version in it")]
    NoChannel {
        /// The policy.
        policy: PolicyName,
        /// The channel.
        channel: ChannelName,
    },
    /// There is nothing to go back to.
    #[error("no other version of `{policy}` answered in `{channel}` before; name one to go back to")]
    NoPrevious {
        /// The policy.
        policy: PolicyName,
        /// The channel.
        channel: ChannelName,
    },
    /// The image is not in the policy's repository.
    #[error("the repository of `{policy}` has no image `{image}`; push it first")]
    NoImage {
        /// The policy.
        policy: PolicyName,
        /// The image.
        image: Digest,
    },
    /// The tenant has not put the content of its snapshot.
    #[error("`{tenant}` has no data content `{digest}`; put the content first, then the snapshot")]
    NoContent {
        /// The tenant.
        tenant: Tenant,
        /// The digest of the content.
        digest: Digest,
    },
    /// What would have to be signed is no state of a channel.
    #[error("the state cannot be signed: {0}")]
    Unsignable(#[from] TrustError),
    /// A state that holds for so long, or so short, is not signed.
    #[error("a state holds for 1 to {max} days, not {0}", max = super::DAYS_MAX)]
    Days(u32),
    /// Trust or revocations have changed since this was checked.
    #[error("trust or revocations have changed since this was checked; try again")]
    Overtaken,
    /// The catalogue refuses or fails.
    #[error(transparent)]
    Catalogue(#[from] CatalogueError),
    /// The repository refuses or fails.
    #[error(transparent)]
    Repository(RepositoryError),
}

impl From<RepositoryError> for PublishError {
    fn from(error: RepositoryError) -> Self {
        match error {
            RepositoryError::Catalogue(error) => Self::Catalogue(error),
            error => Self::Repository(error),
        }
    }
}

impl From<StoreError> for PublishError {
    fn from(error: StoreError) -> Self {
        Self::Repository(error.into())
    }
}
