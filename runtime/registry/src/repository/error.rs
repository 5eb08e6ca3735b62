//! What can go wrong between a client and a repository.

use verdict_core::digest::Digest;
use verdict_core::name::PolicyName;

use crate::catalogue::{CatalogueError, Tag};
use crate::store::StoreError;

/// The registry refuses or fails. What the caller did wrong is said here or by the part that found it; whether it is
/// the caller's fault is said by [`CatalogueError`] and [`StoreError`].
#[derive(Debug, thiserror::Error)]
pub enum RepositoryError {
    /// Nothing was ever pushed under this name.
    #[error("repository `{0}` is not known; push to it first")]
    UnknownRepository(PolicyName),
    /// The repository does not have the blob.
    #[error("blob `{0}` is not in this repository; push or mount it first")]
    UnknownBlob(Digest),
    /// The repository does not have the manifest, or nothing under the tag.
    #[error("manifest `{0}` is not in this repository; list its tags to see what is")]
    UnknownManifest(String),
    /// There is no such upload in this repository.
    #[error("this upload is not known here or has expired; begin a new one")]
    UnknownUpload,
    /// Too many uploads of the tenant are under way.
    #[error("the tenant has {0} uploads under way; finish or cancel some")]
    TooManyUploads(u64),
    /// The bytes are no manifest that is taken here.
    #[error("the manifest is refused: {0}")]
    Manifest(String),
    /// A descriptor says another size than the blob has.
    #[error(
        "`{digest}` has {found} bytes, the manifest says {named}; push a manifest with the size of the blob"
    )]
    WrongSize {
        /// What is described.
        digest: Digest,
        /// The size in the manifest.
        named: u64,
        /// The size of the blob.
        found: u64,
    },
    /// The tag of a version names another manifest already.
    #[error("tag `{tag}` is a version and names `{found}` for good; push another version")]
    Immutable {
        /// The tag.
        tag: Tag,
        /// What it names.
        found: Digest,
    },
    /// The catalogue refuses or fails.
    #[error(transparent)]
    Catalogue(#[from] CatalogueError),
    /// The content store refuses or fails.
    #[error(transparent)]
    Store(#[from] StoreError),
}
