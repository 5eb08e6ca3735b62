//! What is taken out of a repository. Bytes stay in the store until they are collected.

use verdict_core::digest::Digest;
use verdict_core::name::PolicyName;

use super::{CatalogueError, Reference, Registry, RepositoryError};
use crate::catalogue::{Change, Tag, Write};

impl Registry {
    /// Deletes a manifest with its tags, or a tag alone.
    ///
    /// # Errors
    /// [`CatalogueError::Needed`] when a published version, a signed document or an index rests on it,
    /// [`CatalogueError::Conflict`] for the tag of a published version; [`RepositoryError::UnknownManifest`],
    /// [`RepositoryError::UnknownRepository`].
    pub async fn delete_manifest(
        &self,
        repository: &PolicyName,
        reference: &Reference,
        change: Change,
    ) -> Result<(), RepositoryError> {
        let mut write = self.catalogue().write(change).await?;
        let deleted = match reference {
            Reference::Tag(tag) => delete_tag(&mut write, repository, tag).await,
            Reference::Digest(digest) => {
                require_unnamed(&mut write, repository, *digest).await?;
                write.delete_manifest(repository, *digest).await
            }
        };
        match deleted {
            Ok(()) => write.commit().await?,
            Err(CatalogueError::Missing { .. }) => {
                return Err(self.unknown_manifest(repository, reference).await);
            }
            Err(error) => return Err(error.into()),
        };
        Ok(())
    }

    /// Takes a blob out of a repository; others keep it.
    ///
    /// # Errors
    /// [`CatalogueError::Needed`] when a manifest or a signed document names it; [`RepositoryError::UnknownBlob`],
    /// [`RepositoryError::UnknownRepository`].
    pub async fn delete_blob(
        &self,
        repository: &PolicyName,
        digest: Digest,
        change: Change,
    ) -> Result<(), RepositoryError> {
        let mut write = self.catalogue().write(change).await?;
        require_unnamed(&mut write, repository, digest).await?;
        match write.unlink_blob(repository, digest).await {
            Ok(()) => write.commit().await?,
            Err(CatalogueError::Missing { .. }) => {
                return Err(self.unknown(repository, RepositoryError::UnknownBlob(digest)).await);
            }
            Err(error) => return Err(error.into()),
        };
        Ok(())
    }
}

async fn delete_tag(write: &mut Write, repository: &PolicyName, tag: &Tag) -> Result<(), CatalogueError> {
    write.delete_tag(repository, tag, None).await
}

/// Refuses when a signed document of the tenant names the digest: a channel may go back to it.
async fn require_unnamed(
    write: &mut Write,
    repository: &PolicyName,
    digest: Digest,
) -> Result<(), CatalogueError> {
    match write.document_naming(repository, digest).await? {
        Some(by) => Err(CatalogueError::Needed { digest, by }),
        None => Ok(()),
    }
}
