//! What was checked and can be put.

use semver::Version;
use verdict_core::digest::Digest;
use verdict_core::name::{PolicyName, Tenant};

use super::{Marks, PublishError, content_holder, marks};
use crate::catalogue::{Catalogue, CatalogueError, DocumentName, Etag, NewDocument, Put, Write};

/// A document that a host would accept, after those that the catalogue has. It can be put, and nothing else can.
#[derive(Debug)]
#[must_use]
pub struct Ready {
    pub(super) catalogue: Catalogue,
    pub(super) document: NewDocument,
    /// The sequence of the newest when this was checked; 0 for none.
    pub(super) after: u64,
    /// What it was checked by; none for a trust policy, which is checked by those before it.
    pub(super) by: Option<Marks>,
    pub(super) also: Also,
}

/// What else changes with a document.
#[derive(Debug)]
pub(super) enum Also {
    Nothing,
    /// Versions that are shown as revoked from now on.
    Revoke(Vec<(PolicyName, Version)>),
    /// The content is named from now on.
    Data(Tenant, Digest),
}

/// What became of a document.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Published {
    /// Whether it is new.
    pub put: Put,
    /// Its sequence, or the version of a trust policy.
    pub sequence: u64,
    /// The digest of its payload.
    pub digest: Digest,
}

impl Ready {
    /// Its sequence, or the version of a trust policy.
    pub fn sequence(&self) -> u64 {
        self.document.sequence
    }

    /// The signed envelope.
    pub fn envelope(&self) -> &[u8] {
        &self.document.envelope
    }

    /// Which document it is.
    pub fn name(&self) -> &DocumentName {
        &self.document.name
    }

    /// Makes it the newest of its name; durable and told when `write` is committed. The same once more changes nothing.
    /// `seen` is the newest that the caller has seen (`If-Match`), see
    /// [`DocumentEntry::etag`](crate::catalogue::DocumentEntry::etag).
    ///
    /// # Errors
    /// [`PublishError::Overtaken`] when trust or revocations changed since it was checked; [`CatalogueError::Stale`],
    /// [`CatalogueError::Sequence`].
    pub async fn put(&self, write: &mut Write, seen: Option<Etag>) -> Result<Published, PublishError> {
        let Self { document, after, .. } = self;
        // While the change is under way nobody else changes what is read here.
        if let Some(by) = self.by
            && marks(&self.catalogue).await? != by
        {
            return Err(PublishError::Overtaken);
        }
        let expected = seen.filter(|seen| seen.number() != *after && document.sequence != *after);
        if let Some(expected) = expected {
            let (name, found) = (document.name.to_string(), Etag::of(*after));
            return Err(CatalogueError::Stale { what: "document", name, expected, found }.into());
        }
        match &self.also {
            Also::Nothing => {}
            Also::Revoke(versions) => {
                for (policy, version) in versions {
                    let _ = write.revoke_version(policy, version, None).await?;
                }
            }
            Also::Data(tenant, content) => {
                let _ = write.ensure_tenant(tenant).await?;
                let _ = write.unpin(&content_holder(tenant, *content)).await?;
            }
        }
        let put = write.put_document(document, *after).await?;
        Ok(Published { put, sequence: document.sequence, digest: document.digest })
    }
}
