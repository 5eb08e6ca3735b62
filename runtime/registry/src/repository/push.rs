//! What comes into a repository. The order is always the same: pin the digest, store the bytes, then name them and take
//! the pin away in one change. Killed anywhere between, it leaves bytes that nobody names, which are collected.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use verdict_core::digest::Digest;
use verdict_core::name::PolicyName;
use verdict_core::time::Timestamp;

use super::manifest::{self, Parsed};
use super::statements::{Part, note_all};
use super::{Blob, CatalogueError, Reference, Registry, RepositoryError, StoreError};
use crate::catalogue::{Change, NewManifest, Tag, Write};
use crate::store::UploadId;

/// How long what was stored may wait to be named. Naming follows within seconds; a machine may sleep.
pub(crate) const PIN_AGE_MAX: Duration = Duration::from_secs(6 * 60 * 60);
/// How often what a manifest goes with is read again because it has changed meanwhile.
const ATTEMPTS_MAX: usize = 8;
/// How many uploads of one tenant may be under way.
const UPLOADS_MAX: u64 = 1_000;

/// A blob on its way into a repository. It exists only for an upload that was begun there.
#[derive(Clone, PartialEq, Eq)]
pub struct Upload {
    repository: PolicyName,
    id: UploadId,
}

impl Upload {
    /// Its name. Whoever knows it and may write to the repository can go on with it.
    pub fn id(&self) -> UploadId {
        self.id
    }

    /// The repository that it was begun in.
    pub fn repository(&self) -> &PolicyName {
        &self.repository
    }
}

impl fmt::Debug for Upload {
    /// Without its name, by which others could go on with it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Upload").field("repository", &self.repository).finish_non_exhaustive()
    }
}

/// A manifest that was pushed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pushed {
    /// Its digest.
    pub digest: Digest,
    /// The manifest that it is attached to.
    pub subject: Option<Digest>,
}

impl Registry {
    /// Begins an upload.
    ///
    /// # Errors
    /// [`RepositoryError::TooManyUploads`]; when store or catalogue fail.
    pub async fn begin(&self, repository: &PolicyName, change: Change) -> Result<Upload, RepositoryError> {
        let open = self.catalogue().uploads(repository.tenant()).await?;
        if open >= UPLOADS_MAX {
            return Err(RepositoryError::TooManyUploads(open));
        }
        let id = self.blobs().begin().await?;
        let mut write = self.catalogue().write(change).await?;
        write.begin_upload(repository, &id.to_string()).await?;
        write.commit().await?;
        Ok(Upload { repository: repository.clone(), id })
    }

    /// The upload with this name, if it was begun in this repository and is still under way.
    ///
    /// # Errors
    /// [`RepositoryError::UnknownUpload`].
    pub async fn upload(&self, repository: &PolicyName, id: UploadId) -> Result<Upload, RepositoryError> {
        if self.catalogue().has_upload(repository, &id.to_string()).await? {
            Ok(Upload { repository: repository.clone(), id })
        } else {
            Err(RepositoryError::UnknownUpload)
        }
    }

    /// How many bytes of an upload are here, in bytes from its beginning.
    ///
    /// # Errors
    /// [`RepositoryError::UnknownUpload`].
    pub async fn offset(&self, upload: &Upload) -> Result<u64, RepositoryError> {
        self.blobs().offset(&upload.id).await?.ok_or(RepositoryError::UnknownUpload)
    }

    /// Continues an upload at `offset`; its new end. What is acknowledged is durable.
    ///
    /// # Errors
    /// [`StoreError::WrongOffset`], [`StoreError::TooLarge`], [`StoreError::TooManyChunks`],
    /// [`RepositoryError::UnknownUpload`].
    pub async fn append(&self, upload: &Upload, offset: u64, bytes: Bytes) -> Result<u64, RepositoryError> {
        self.blobs().append(&upload.id, offset, bytes).await.map_err(known)
    }

    /// Makes a blob of an upload, which ends with it. A wrong digest ends it too, without a blob.
    ///
    /// # Errors
    /// [`StoreError::DigestMismatch`], [`RepositoryError::UnknownUpload`].
    pub async fn finish(
        &self,
        upload: &Upload,
        digest: Digest,
        change: Change,
    ) -> Result<Blob, RepositoryError> {
        let holder = format!("push:{}", upload.id);
        self.pin(digest, &holder, &change).await?;
        let bytes = match self.blobs().finish(&upload.id, digest).await {
            Ok(bytes) => bytes,
            Err(error @ StoreError::DigestMismatch { .. }) => {
                self.blobs().cancel(&upload.id).await?;
                self.forget(upload, change).await?;
                return Err(error.into());
            }
            Err(error) => return Err(known(error)),
        };
        let mut write = self.catalogue().write(change).await?;
        link(&mut write, &upload.repository, digest, bytes).await?;
        write.end_upload(&upload.id.to_string()).await?;
        let _ = write.unpin(&holder).await?;
        write.commit().await?;
        Ok(Blob { digest, bytes })
    }

    /// Ends an upload without a blob.
    ///
    /// # Errors
    /// When store or catalogue fail; what is left of it expires.
    pub async fn cancel(&self, upload: &Upload, change: Change) -> Result<(), RepositoryError> {
        self.blobs().cancel(&upload.id).await?;
        self.forget(upload, change).await
    }

    async fn forget(&self, upload: &Upload, change: Change) -> Result<(), RepositoryError> {
        let mut write = self.catalogue().write(change).await?;
        write.end_upload(&upload.id.to_string()).await?;
        let _ = write.unpin(&format!("push:{}", upload.id)).await?;
        write.commit().await?;
        Ok(())
    }

    /// Puts a blob that is whole in memory into a repository.
    ///
    /// # Errors
    /// [`StoreError::DigestMismatch`], [`StoreError::TooLarge`].
    pub async fn put_blob(
        &self,
        repository: &PolicyName,
        digest: Digest,
        bytes: Bytes,
        change: Change,
    ) -> Result<Blob, RepositoryError> {
        let size = bytes.len() as u64;
        // Wrong bytes should not cost a change of the catalogue.
        let found = Digest::of(&bytes);
        if found != digest {
            return Err(StoreError::DigestMismatch { expected: digest, found }.into());
        }
        let holder = format!("put:{repository}:{digest}");
        self.pin(digest, &holder, &change).await?;
        self.blobs().put(digest, bytes).await?;
        let mut write = self.catalogue().write(change).await?;
        link(&mut write, repository, digest, size).await?;
        let _ = write.unpin(&holder).await?;
        write.commit().await?;
        Ok(Blob { digest, bytes: size })
    }

    /// Lets a repository have a blob of another one, or of any of the same tenant; none where those do not have it.
    /// Whether the caller may read `from` has been decided before.
    ///
    /// # Errors
    /// When store or catalogue fail.
    pub async fn mount(
        &self,
        repository: &PolicyName,
        from: Option<&PolicyName>,
        digest: Digest,
        change: Change,
    ) -> Result<Option<Blob>, RepositoryError> {
        // While the change is under way nobody unlinks or collects the blob.
        let mut write = self.catalogue().write(change).await?;
        let linked = match from {
            Some(from) => self.catalogue().blob(from, digest).await?,
            None => {
                let found = self.catalogue().blob_of_tenant(repository.tenant(), digest).await?;
                found.map(|(_, bytes)| bytes)
            }
        };
        let stored = if linked.is_some() { self.blobs().size(digest).await? } else { None };
        let Some(bytes) = stored else { return Ok(None) };
        link(&mut write, repository, digest, bytes).await?;
        write.commit().await?;
        Ok(Some(Blob { digest, bytes }))
    }

    /// Puts a manifest into a repository, under a tag if the reference is one. `media_type` is what the request says it
    /// is. Everything that it is made of must be there; its subject need not be. The tag of a semantic version names
    /// one manifest for good. An author's statement about an image publishes its version when both are there.
    ///
    /// # Errors
    /// [`RepositoryError::Manifest`], [`RepositoryError::WrongSize`], [`RepositoryError::Immutable`],
    /// [`CatalogueError::UnknownBlob`], and [`StoreError::DigestMismatch`] when the reference is another digest;
    /// [`CatalogueError::Conflict`] for the statement of a version that is published with another image or statement.
    pub async fn put_manifest(
        &self,
        repository: &PolicyName,
        reference: &Reference,
        media_type: Option<&str>,
        bytes: Bytes,
        change: Change,
    ) -> Result<Pushed, RepositoryError> {
        let Parsed { new, sizes } = manifest::parse(&bytes, media_type)?;
        let tag = match reference {
            Reference::Digest(expected) if *expected != new.digest => {
                let (expected, found) = (*expected, new.digest);
                return Err(StoreError::DigestMismatch { expected, found }.into());
            }
            Reference::Digest(_) => None,
            Reference::Tag(tag) => Some(tag),
        };
        // Looked at before anything is stored, and once more when it is: what is refused should leave nothing behind.
        self.check_tag(repository, tag, new.digest).await?;
        for (digest, named) in sizes {
            self.check_part(repository, &new, digest, named).await?;
        }
        let holder = format!("put:{repository}:{}", new.digest);
        self.pin(new.digest, &holder, &change).await?;
        self.blobs().put(new.digest, bytes.clone()).await?;
        let part = Part::of(&bytes);
        for _ in 0..ATTEMPTS_MAX {
            let attachments = self.attachments(repository, new.digest, &bytes, part.as_ref()).await?;
            let mut write = self.catalogue().write(change.clone()).await?;
            // What came or went since is read again: an image and its author's statement may come at the same time.
            if self.rests_on(repository, new.digest, part.as_ref()).await? != attachments.rests_on {
                continue;
            }
            self.check_tag(repository, tag, new.digest).await?;
            Self::name(&mut write, repository, &new, tag).await?;
            let _ = note_all(&mut write, self.catalogue(), repository, &attachments.noted).await?;
            let _ = write.unpin(&holder).await?;
            write.commit().await?;
            return Ok(Pushed { digest: new.digest, subject: new.subject });
        }
        Err(CatalogueError::Busy.into())
    }

    async fn name(
        write: &mut Write,
        repository: &PolicyName,
        new: &NewManifest,
        tag: Option<&Tag>,
    ) -> Result<(), CatalogueError> {
        let _ = write.ensure_policy(repository).await?;
        let _ = write.put_manifest(repository, new).await?;
        if let Some(tag) = tag {
            let _ = write.put_tag(repository, tag, new.digest, None).await?;
        }
        Ok(())
    }

    async fn check_tag(
        &self,
        repository: &PolicyName,
        tag: Option<&Tag>,
        digest: Digest,
    ) -> Result<(), RepositoryError> {
        let Some(tag) = tag.filter(|tag| is_version(tag)) else { return Ok(()) };
        match self.catalogue().tag(repository, tag).await? {
            Some(there) if there.digest != digest => {
                Err(RepositoryError::Immutable { tag: tag.clone(), found: there.digest })
            }
            _ => Ok(()),
        }
    }

    async fn check_part(
        &self,
        repository: &PolicyName,
        new: &NewManifest,
        digest: Digest,
        named: u64,
    ) -> Result<(), RepositoryError> {
        let found = if new.manifests.contains(&digest) {
            self.catalogue().manifest(repository, digest).await?.map(|entry| entry.bytes)
        } else {
            self.catalogue().blob(repository, digest).await?
        };
        match found {
            None => Err(CatalogueError::UnknownBlob(digest).into()),
            Some(found) if found != named => Err(RepositoryError::WrongSize { digest, named, found }),
            Some(_) => Ok(()),
        }
    }

    /// Keeps a digest from being collected until it is named.
    async fn pin(&self, digest: Digest, holder: &str, change: &Change) -> Result<(), RepositoryError> {
        let until = later(change.at, PIN_AGE_MAX);
        let mut write = self.catalogue().write(change.clone()).await?;
        write.pin(digest, holder, Some(until)).await?;
        write.commit().await?;
        Ok(())
    }
}

async fn link(
    write: &mut Write,
    repository: &PolicyName,
    digest: Digest,
    bytes: u64,
) -> Result<(), CatalogueError> {
    let _ = write.ensure_policy(repository).await?;
    let _ = write.link_blob(repository, digest, bytes).await?;
    Ok(())
}

/// Whether a tag is a semantic version, as [`Tag::of_version`] writes it.
fn is_version(tag: &Tag) -> bool {
    semver::Version::parse(&tag.as_str().replacen('_', "+", 1)).is_ok()
}

/// The store finds out that an upload has expired; to whom it belonged, the catalogue knows.
fn known(error: StoreError) -> RepositoryError {
    match error {
        StoreError::UnknownUpload(_) => RepositoryError::UnknownUpload,
        other => other.into(),
    }
}

pub(crate) fn later(at: Timestamp, by: Duration) -> Timestamp {
    let ms = i64::try_from(by.as_millis()).unwrap_or(i64::MAX);
    Timestamp::from_millis(at.millis().saturating_add(ms)).unwrap_or(at)
}
