//! Data: contents first, then the snapshots that name them.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use serde::de::IgnoredAny;
use tokio::task::spawn_blocking;
use verdict_core::digest::Digest;
use verdict_core::name::Tenant;
use verdict_core::refusal::{Refusal, RefusalCode};
use verdict_core::time::Timestamp;
use verdict_core::trust::DataSnapshot;

use super::{PublishError, Publisher, Ready, content_holder};
use crate::catalogue::{CatalogueError, Change, DocumentName};
use crate::publish::ready::Also;
use crate::repository::{Blob, Registry, RepositoryError, later};
use crate::store::{StoreError, UploadId};

/// The largest content of a snapshot, in bytes: hosts read no larger one.
pub const DATA_BYTES_MAX: u64 = 256 << 20;
/// How long a content waits for the snapshot that names it.
const CONTENT_AGE_MAX: Duration = Duration::from_secs(24 * 60 * 60);
/// How much of that must be left when the snapshot is checked, so that nothing is collected until it is put.
const CONTENT_AGE_LEFT: Duration = Duration::from_secs(60 * 60);
/// How much is gathered before it is stored.
const PIECE_BYTES: usize = 4 << 20;

/// The content of a snapshot on its way into the store. Dropped, it expires.
pub struct DataUpload {
    registry: Registry,
    tenant: Tenant,
    change: Change,
    id: UploadId,
    stored: u64,
    gathered: BytesMut,
}

impl fmt::Debug for DataUpload {
    /// Without its name, by which others could go on with it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DataUpload").field("tenant", &self.tenant).finish_non_exhaustive()
    }
}

impl DataUpload {
    /// Takes more bytes.
    ///
    /// # Errors
    /// [`StoreError::TooLarge`] beyond [`DATA_BYTES_MAX`]; when the store fails. Then it is over.
    pub async fn append(&mut self, bytes: &[u8]) -> Result<(), PublishError> {
        let whole = self.stored + (self.gathered.len() + bytes.len()) as u64;
        if whole > DATA_BYTES_MAX {
            self.registry.blobs().cancel(&self.id).await?;
            return Err(StoreError::TooLarge { bytes_max: DATA_BYTES_MAX }.into());
        }
        self.gathered.extend_from_slice(bytes);
        if self.gathered.len() >= PIECE_BYTES { self.store().await } else { Ok(()) }
    }

    async fn store(&mut self) -> Result<(), PublishError> {
        let piece: Bytes = self.gathered.split().freeze();
        if !piece.is_empty() {
            self.stored = self.registry.blobs().append(&self.id, self.stored, piece).await?;
        }
        Ok(())
    }

    /// Keeps the content for a day, within which a snapshot has to name it. Its size in bytes.
    ///
    /// # Errors
    /// [`StoreError::DigestMismatch`]; when store or catalogue fail.
    pub async fn finish(mut self, digest: Digest) -> Result<u64, PublishError> {
        self.store().await?;
        let holder = content_holder(&self.tenant, digest);
        let mut write = self.registry.catalogue().write(self.change.clone()).await?;
        // Not the holder that says that the tenant has it: that is true only when it has arrived.
        let coming = format!("coming:{}", self.id);
        let until = later(self.change.at, CONTENT_AGE_MAX);
        write.pin(digest, &coming, Some(until)).await?;
        write.commit().await?;
        let bytes = match self.registry.blobs().finish(&self.id, digest).await {
            Ok(bytes) => bytes,
            Err(error) => {
                self.registry.blobs().cancel(&self.id).await?;
                return Err(error.into());
            }
        };
        let mut write = self.registry.catalogue().write(self.change).await?;
        write.pin(digest, &holder, Some(until)).await?;
        write.unpin(&coming).await?;
        write.commit().await?;
        Ok(bytes)
    }
}

impl Publisher {
    /// Begins to take the content of a snapshot.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn begin_data(&self, tenant: &Tenant, change: Change) -> Result<DataUpload, PublishError> {
        let id = self.registry.blobs().begin().await?;
        Ok(DataUpload {
            registry: self.registry.clone(),
            tenant: tenant.clone(),
            change,
            id,
            stored: 0,
            gathered: BytesMut::new(),
        })
    }

    /// The content of a snapshot of this tenant, to be read piece by piece with [`Registry::read`]; none where no
    /// snapshot of the tenant names it, whoever else has it.
    ///
    /// # Errors
    /// When store or catalogue fail.
    pub async fn data_content(&self, tenant: &Tenant, digest: Digest) -> Result<Option<Blob>, PublishError> {
        if self.catalogue().document_of(&DocumentName::data(tenant), digest).await?.is_none() {
            return Ok(None);
        }
        let bytes = self.registry.blobs().size(digest).await?;
        Ok(bytes.map(|bytes| Blob::new(digest, bytes)))
    }

    /// Checks a next data snapshot. The tenant has put its content before, or an earlier snapshot of it has the same.
    ///
    /// # Errors
    /// [`PublishError::Refused`], [`PublishError::NoContent`]; when store or catalogue fail.
    pub async fn data(
        &self,
        tenant: &Tenant,
        envelope: &[u8],
        now: Timestamp,
    ) -> Result<Ready, PublishError> {
        let ground = self.ground(now).await?;
        let verified = DataSnapshot::verify(envelope, tenant, &ground.basis())?;
        let snapshot = verified.document();
        let digest = snapshot.digest;
        if ground
            .revocations
            .as_ref()
            .is_some_and(|revocations| revocations.document().revokes_digest(&digest))
        {
            let message = format!("the data snapshot {digest} is revoked");
            return Err(Refusal::new(RefusalCode::Revoked, message).into());
        }
        let name = DocumentName::data(tenant);
        if self.catalogue().document_of(&name, digest).await?.is_none() {
            self.check_content(snapshot, now).await?;
        }
        let ready = self.ready(name, &verified, envelope, vec![digest], ground.marks).await?;
        Ok(Ready { also: Also::Data(tenant.clone(), digest), ..ready })
    }

    /// Checks that the tenant itself has put the content: to know a digest is not to have what it is of. And that it is
    /// one JSON object, which is all that hosts take.
    async fn check_content(&self, snapshot: &DataSnapshot, now: Timestamp) -> Result<(), PublishError> {
        let DataSnapshot { tenant, digest, .. } = snapshot;
        let missing = || PublishError::NoContent { tenant: tenant.clone(), digest: *digest };
        let (holder, then) = (content_holder(tenant, *digest), later(now, CONTENT_AGE_LEFT));
        if !self.catalogue().is_pinned(*digest, &holder, then).await? {
            return Err(missing());
        }
        let bytes = self.registry.blobs().read(*digest, DATA_BYTES_MAX).await?.ok_or_else(missing)?;
        snapshot.check_content(digest, bytes.len() as u64)?;
        let parsed =
            spawn_blocking(move || serde_json::from_slice::<BTreeMap<String, IgnoredAny>>(&bytes).map(drop));
        let failed = |_| RepositoryError::Catalogue(CatalogueError::Busy);
        parsed.await.map_err(failed)?.map_err(|error| {
            let message = format!("the content {digest} is not a JSON object: {error}");
            Refusal::new(RefusalCode::WrongData, message).into()
        })
    }
}
