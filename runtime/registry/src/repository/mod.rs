//! Repositories of blobs, manifests and tags: the operations of the OCI Distribution specification 1.1
//! (<https://github.com/opencontainers/distribution-spec/blob/v1.1.1/spec.md>) over a content store and a catalogue.
//!
//! Three nouns: the [`Registry`] is the two together, a repository is named like the policy whose versions it holds,
//! and an [`Upload`] is a blob on its way into one. Every operation happens whole or not at all, whenever it is
//! interrupted: bytes come into the store before anything names them, and what names them is one change of the
//! catalogue. Doing an operation again is always right.
//!
//! What is pushed by whatever client is also looked at: when an image and its author's statement are both there, the
//! version is published, and never changes from then on; other statements about it are noted. Nobody is trusted for
//! that here: a statement counts where its signatures are checked.
//!
//! ```
//! use bytes::Bytes;
//! use verdict_core::digest::Digest;
//! use verdict_registry::catalogue::{Catalogue, Change};
//! use verdict_registry::repository::Registry;
//! use verdict_registry::store::Blobs;
//!
//! # tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(async {
//! # let folder = tempfile::tempdir()?;
//! let catalogue = Catalogue::open(&format!("sqlite:{}", folder.path().join("catalogue.db").display())).await?;
//! let registry = Registry::new(Blobs::directory(folder.path().join("blobs"), Default::default())?, catalogue);
//!
//! let repository = "bank/loan".parse()?;
//! let change = Change { actor: "alice".into(), correlation: "push-7".into(), at: "2026-06-01T00:00:00Z".parse()? };
//! let blob = Bytes::from_static(b"hello");
//! registry.put_blob(&repository, Digest::of(&blob), blob.clone(), change).await?;
//!
//! let found = registry.blob(&repository, Digest::of(&blob)).await?;
//! assert_eq!(registry.read(&found, 1..3).await?, "el");
//! assert!(registry.blob(&"other/loan".parse()?, Digest::of(&blob)).await.is_err(), "what is here is not elsewhere");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! # })?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod collect;
mod delete;
mod error;
mod manifest;
mod push;
mod statements;

use std::fmt;
use std::ops::Range;
use std::str::FromStr;

use bytes::Bytes;
use verdict_core::digest::Digest;
use verdict_core::name::PolicyName;

use crate::catalogue::{Catalogue, CatalogueError, Limit, ManifestEntry, Page, Tag, TagEntry};
use crate::store::{Blobs, StoreError};

pub use collect::Collected;
pub use error::RepositoryError;
pub use manifest::MANIFEST_BYTES_MAX;
pub(crate) use push::{PIN_AGE_MAX, later};
pub use push::{Pushed, Upload};
pub(crate) use statements::{Noted, check_image, note_all};

/// A content store and the catalogue of what is in it. Clones share both.
#[derive(Debug, Clone)]
pub struct Registry {
    blobs: Blobs,
    catalogue: Catalogue,
}

/// What a manifest is asked for by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reference {
    /// A name that can be moved.
    Tag(Tag),
    /// The digest of its bytes.
    Digest(Digest),
}

/// The text is neither a tag nor a digest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ReferenceError {
    /// It has a colon, as digests have, and is not one.
    #[error("this is not a digest; expected `sha256:` and 64 lower-case hexadecimal digits")]
    Digest,
    /// It is not a tag.
    #[error("this is not a tag; expected 1 to 128 of A-Z a-z 0-9 _ . -, not beginning with . or -")]
    Tag,
}

impl FromStr for Reference {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Self, ReferenceError> {
        if text.contains(':') {
            return text.parse().map(Self::Digest).map_err(|_| ReferenceError::Digest);
        }
        text.parse().map(Self::Tag).map_err(|_| ReferenceError::Tag)
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tag(tag) => tag.fmt(f),
            Self::Digest(digest) => digest.fmt(f),
        }
    }
}

/// A blob that a repository has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Blob {
    digest: Digest,
    bytes: u64,
}

impl Blob {
    pub(crate) fn new(digest: Digest, bytes: u64) -> Self {
        Self { digest, bytes }
    }

    /// Its digest.
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// Its size in bytes.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }
}

impl Registry {
    /// A registry on a store and a catalogue. Nobody else may write to the store.
    pub fn new(blobs: Blobs, catalogue: Catalogue) -> Self {
        Self { blobs, catalogue }
    }

    /// The catalogue.
    pub fn catalogue(&self) -> &Catalogue {
        &self.catalogue
    }

    /// The content store.
    pub fn blobs(&self) -> &Blobs {
        &self.blobs
    }

    /// A blob of a repository.
    ///
    /// # Errors
    /// [`RepositoryError::UnknownBlob`], [`RepositoryError::UnknownRepository`], also for a blob that the store has lost:
    /// who pushes it again mends that.
    pub async fn blob(&self, repository: &PolicyName, digest: Digest) -> Result<Blob, RepositoryError> {
        let linked = self.catalogue.blob(repository, digest).await?;
        let stored = if linked.is_some() { self.blobs.size(digest).await? } else { None };
        match stored {
            Some(bytes) => Ok(Blob { digest, bytes }),
            None => Err(self.unknown(repository, RepositoryError::UnknownBlob(digest)).await),
        }
    }

    /// Some bytes of a blob, checked against its digest; a range that ends beyond the blob ends with it.
    ///
    /// # Errors
    /// [`StoreError::WrongRange`] when nothing of the blob is in the range, [`RepositoryError::UnknownBlob`] when it
    /// was deleted meanwhile.
    pub async fn read(&self, blob: &Blob, range: Range<u64>) -> Result<Bytes, RepositoryError> {
        let bytes = self.blobs.read_range(blob.digest, range).await?;
        bytes.ok_or(RepositoryError::UnknownBlob(blob.digest))
    }

    /// What the catalogue says of a manifest.
    ///
    /// # Errors
    /// [`RepositoryError::UnknownManifest`], [`RepositoryError::UnknownRepository`].
    pub async fn manifest(
        &self,
        repository: &PolicyName,
        reference: &Reference,
    ) -> Result<ManifestEntry, RepositoryError> {
        let digest = match reference {
            Reference::Digest(digest) => Some(*digest),
            Reference::Tag(tag) => self.catalogue.tag(repository, tag).await?.map(|entry| entry.digest),
        };
        let entry = match digest {
            Some(digest) => self.catalogue.manifest(repository, digest).await?,
            None => None,
        };
        match entry {
            Some(entry) => Ok(entry),
            None => Err(self.unknown_manifest(repository, reference).await),
        }
    }

    /// A manifest with its bytes, which have its digest.
    ///
    /// # Errors
    /// As [`manifest`](Self::manifest), and [`StoreError::Damaged`].
    pub async fn read_manifest(
        &self,
        repository: &PolicyName,
        reference: &Reference,
    ) -> Result<(ManifestEntry, Bytes), RepositoryError> {
        let entry = self.manifest(repository, reference).await?;
        match self.blobs.read(entry.digest, MANIFEST_BYTES_MAX as u64).await? {
            Some(bytes) => Ok((entry, bytes)),
            None => Err(self.unknown_manifest(repository, reference).await),
        }
    }

    /// The tags of a repository byte by byte in order, those after one.
    ///
    /// # Errors
    /// [`RepositoryError::UnknownRepository`].
    pub async fn tags(
        &self,
        repository: &PolicyName,
        last: Option<&Tag>,
        limit: Limit,
    ) -> Result<Page<TagEntry>, RepositoryError> {
        let page = self.catalogue.tags(repository, last, limit).await?;
        if page.items.is_empty() && self.catalogue.policy(repository).await?.is_none() {
            return Err(RepositoryError::UnknownRepository(repository.clone()));
        }
        Ok(page)
    }

    /// The manifests that are attached to one, by digest, those after one; none for what is not there.
    ///
    /// # Errors
    /// When the catalogue fails.
    pub async fn referrers(
        &self,
        repository: &PolicyName,
        subject: Digest,
        artifact_type: Option<&str>,
        after: Option<Digest>,
        limit: Limit,
    ) -> Result<Page<ManifestEntry>, RepositoryError> {
        Ok(self.catalogue.referrers(repository, subject, artifact_type, after, limit).await?)
    }

    /// What is missing: the repository as a whole, or something in it.
    async fn unknown(&self, repository: &PolicyName, inside: RepositoryError) -> RepositoryError {
        match self.catalogue.policy(repository).await {
            Ok(Some(_)) => inside,
            Ok(None) => RepositoryError::UnknownRepository(repository.clone()),
            Err(error) => error.into(),
        }
    }

    async fn unknown_manifest(&self, repository: &PolicyName, reference: &Reference) -> RepositoryError {
        self.unknown(repository, RepositoryError::UnknownManifest(reference.to_string())).await
    }
}

#[cfg(test)]
mod tests;
