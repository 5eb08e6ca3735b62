//! Content-addressed blobs: bytes kept under their own SHA-256 digest, in a directory or in an object store.
//!
//! Three nouns: [`Blobs`] is the store, a blob is some bytes whose name is their digest, an [`UploadId`] names a blob
//! that is still coming in. The store is **not trusted**: what it gives out is checked against the digest that was
//! asked for, and who decides what runs checks signatures over digests.
//!
//! # The contract, the same for every place
//!
//! Every operation has one of three outcomes: it succeeds, it fails with nothing changed, or it fails with
//! [`StoreError::Unavailable`], and then it may have happened all the same. So may one whose future was dropped. What
//! that means for each:
//!
//! - [`put`](Blobs::put) and [`finish`](Blobs::finish): when they succeed the blob is durable: a crash of the process
//!   or of the machine does not take it. When they fail the blob is there whole or not at all, also for others who
//!   read meanwhile. Doing it again is always right, never harms, and is how one learns that it is done; it writes the
//!   bytes anew, which mends a damaged blob and makes it young again.
//! - [`read`](Blobs::read): the bytes have the digest, or there is an error, or none. A blob that is there but was not
//!   acknowledged to anyone may be gone after a crash.
//! - [`read_range`](Blobs::read_range): the whole blob was read and checked by this process, and has not been replaced
//!   since as far as the place can tell (inode and change time, entity tag). A place that lies about that can lie in a
//!   range; it cannot in a whole read.
//! - [`size`](Blobs::size), [`list`](Blobs::list): what the place says, unchecked. A listing sees every blob that was
//!   there during all of it; one put or deleted meanwhile may or may not be in it.
//! - [`delete`](Blobs::delete), [`delete_older`](Blobs::delete_older): when they succeed no crash brings the blob back,
//!   whether they say `true` or that it was not there. When they fail it is there whole or gone; doing it again may
//!   then say `false` of a blob that the first time removed.
//! - [`begin`](Blobs::begin): when it fails there may be an upload whose name nobody knows; it expires.
//! - [`append`](Blobs::append): what is acknowledged is durable. When it fails, a part of the bytes from their beginning
//!   may have been taken, never others: ask [`offset`](Blobs::offset) and go on from there. What `offset` counts beyond
//!   the last acknowledged byte is durable with the next byte that is acknowledged, or with the finished blob.
//! - [`cancel`](Blobs::cancel), [`expire`](Blobs::expire): when they fail the upload is known or gone; what is left of
//!   it expires.
//!
//! Two that put the same blob do no harm to each other. Of two that append at the same offset one is told
//! [`StoreError::WrongOffset`]. A directory belongs to one process; an object store may be shared by any number.
//!
//! # For who collects garbage
//!
//! `modified` is the time of the last put, by the clock of the place. A blob comes before whatever refers to it, so a
//! collector must leave the young alone, by hours: [`delete_older`](Blobs::delete_older) looks at the time once more
//! when it deletes. In a directory nothing comes between that look and the removal. In an object store a put can; there
//! the collector and those who push must agree elsewhere (a row of the catalogue) on what is being deleted.

mod backend;
mod directory;
mod disk;
mod error;
mod hash;
#[cfg(feature = "objects")]
mod objects;
mod upload;

use std::collections::HashMap;
use std::fmt;
use std::ops::Range;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use verdict_core::digest::Digest;

use backend::{Backend, Entry, Stamp};
use directory::Directory;
pub use error::StoreError;
use hash::Hasher;
#[cfg(feature = "objects")]
use objects::Objects;
use upload::Ends;
pub use upload::{UploadId, UploadIdError};

const BLOBS: &str = "blobs/sha256";
const UPLOADS: &str = "uploads";
/// What is read, hashed and written at once. Object stores want parts of 5 MiB at least.
const PART_BYTES: usize = 8 << 20;
/// How many blobs are remembered to be good.
const CHECKED_MAX: usize = 16_384;
/// How often a read begins again because the blob was replaced under it.
const ATTEMPTS_MAX: usize = 3;
/// Blobs lie in folders named after the first byte of their digest.
const SHARDS: u8 = u8::MAX;

/// What a store takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The size of a blob in bytes. 1 GiB if nothing else is said.
    pub blob_bytes_max: u64,
    /// How long an upload is kept after the last chunk. A day if nothing else is said.
    pub upload_age_max: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self { blob_bytes_max: 1 << 30, upload_age_max: Duration::from_secs(24 * 60 * 60) }
    }
}

/// What a listing says of a blob.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stored {
    /// Its size in bytes.
    pub bytes: u64,
    /// When it was last put, by the clock of the place it is kept in.
    pub modified: SystemTime,
}

/// A store of blobs; clones are the same store. See the [module](self) for what it promises.
#[derive(Clone)]
pub struct Blobs(Arc<Inner>);

struct Inner {
    backend: Backend,
    place: String,
    limits: Limits,
    part_bytes: usize,
    checked: Mutex<HashMap<Digest, Checked>>,
    ends: Mutex<Ends>,
}

/// A blob that had its digest.
#[derive(Clone)]
struct Checked {
    stamp: Stamp,
    bytes: u64,
}

impl Blobs {
    /// Blobs in a directory, made with those above it if it is missing. It belongs to this store and to nobody else
    /// until the last clone is dropped. Touches the disk: call it while starting.
    ///
    /// # Errors
    /// [`StoreError::InUse`], [`StoreError::Unavailable`].
    pub fn directory(path: impl AsRef<Path>, limits: Limits) -> Result<Self, StoreError> {
        let path = path.as_ref();
        let backend = Backend::Directory(Directory::open(path)?);
        Ok(Self::on(backend, path.display().to_string(), limits, PART_BYTES))
    }

    /// Blobs in an object store, below a prefix (empty for none). Stores that know no conditional put must be set to
    /// refuse it; then there are no uploads in chunks.
    #[cfg(feature = "objects")]
    pub fn objects(store: Arc<dyn object_store::ObjectStore>, prefix: &str, limits: Limits) -> Self {
        Self::on_objects(Objects::new(store, prefix, PART_BYTES), limits, PART_BYTES)
    }

    #[cfg(feature = "objects")]
    fn on_objects(objects: Objects, limits: Limits, part_bytes: usize) -> Self {
        let place = objects.describe();
        Self::on(Backend::Objects(objects), place, limits, part_bytes)
    }

    /// Blobs at a place that an operator names: a directory, or with the feature `objects` a bucket as
    /// `s3://BUCKET/PREFIX`, `gs://BUCKET/PREFIX` or `az://CONTAINER/PREFIX`, whose region, endpoint, account and
    /// credentials are taken from the environment (`AWS_…`, `GOOGLE_…`, `AZURE_…`), by the names that each one's own
    /// tools use.
    ///
    /// # Errors
    /// [`StoreError::Location`] if it is neither, and those of [`directory`](Self::directory).
    pub fn open(location: &str, limits: Limits) -> Result<Self, StoreError> {
        match location.split_once("://") {
            None if !location.is_empty() => Self::directory(location, limits),
            #[cfg(feature = "objects")]
            Some(("s3" | "gs" | "az", _)) => {
                Ok(Self::on_objects(Objects::open(location, PART_BYTES)?, limits, PART_BYTES))
            }
            _ => Err(StoreError::Location(location.chars().take(200).collect())),
        }
    }

    fn on(backend: Backend, place: String, limits: Limits, part_bytes: usize) -> Self {
        let (checked, ends) = (Mutex::default(), Mutex::default());
        Self(Arc::new(Inner { backend, place, limits, part_bytes, checked, ends }))
    }

    /// Keeps a blob, durably when it returns.
    ///
    /// # Errors
    /// [`StoreError::DigestMismatch`], [`StoreError::TooLarge`]; [`StoreError::Unavailable`].
    pub async fn put(&self, digest: Digest, bytes: Bytes) -> Result<(), StoreError> {
        if bytes.len() as u64 > self.0.limits.blob_bytes_max {
            return Err(StoreError::TooLarge { bytes_max: self.0.limits.blob_bytes_max });
        }
        Hasher::new().update(bytes.clone()).await?.finish().expect_digest(digest)?;
        if bytes.len() <= self.0.part_bytes {
            return self.0.backend.put(&key(digest), bytes).await;
        }
        match self.put_in_parts(digest, bytes.clone()).await? {
            Ok(()) => Ok(()),
            Err(_) => self.put_in_parts(digest, bytes).await?,
        }
    }

    /// What came of the commit. It is done once more when it fails: in Azure the commit of another writer of the same
    /// blob takes away what this one has staged.
    async fn put_in_parts(
        &self,
        digest: Digest,
        mut rest: Bytes,
    ) -> Result<Result<(), StoreError>, StoreError> {
        let mut writer = self.0.backend.writer(&key(digest)).await?;
        while !rest.is_empty() {
            let part = rest.split_to(rest.len().min(self.0.part_bytes));
            if let Err(error) = writer.push(part).await {
                writer.abort().await;
                return Err(error);
            }
        }
        Ok(writer.commit().await)
    }

    /// The whole blob, checked; none if there is none. For what may be large use [`read_range`](Self::read_range):
    /// all of it is in memory here.
    ///
    /// # Errors
    /// [`StoreError::TooLarge`] if it has more than `bytes_max` bytes, [`StoreError::Damaged`],
    /// [`StoreError::Unavailable`].
    pub async fn read(&self, digest: Digest, bytes_max: u64) -> Result<Option<Bytes>, StoreError> {
        let key = key(digest);
        for _ in 0..ATTEMPTS_MAX {
            let Some(entry) = self.0.backend.head(&key).await? else { return Ok(None) };
            if entry.bytes > bytes_max {
                return Err(StoreError::TooLarge { bytes_max });
            }
            let mut parts = Vec::new();
            if self.check(digest, &key, &entry, Some(&mut parts)).await? {
                return Ok(Some(join(parts)));
            }
        }
        Err(restless(digest))
    }

    /// The bytes of a blob from `range.start` to `range.end` or the end of the blob, whichever comes first; none if
    /// there is no such blob. The first range of a blob reads all of it to check it, in constant memory.
    ///
    /// # Errors
    /// [`StoreError::WrongRange`] if no byte of the blob is in the range, [`StoreError::TooLarge`] if the blob is
    /// larger than this store takes, [`StoreError::Damaged`], [`StoreError::Unavailable`].
    pub async fn read_range(&self, digest: Digest, range: Range<u64>) -> Result<Option<Bytes>, StoreError> {
        let key = key(digest);
        for _ in 0..ATTEMPTS_MAX {
            let checked = lock(&self.0.checked).get(&digest).cloned();
            let Some(checked) = checked else {
                let Some(entry) = self.0.backend.head(&key).await? else { return Ok(None) };
                self.check(digest, &key, &entry, None).await?;
                continue;
            };
            let end = range.end.min(checked.bytes);
            if range.start >= end {
                return Err(StoreError::WrongRange { bytes: checked.bytes });
            }
            if let Some(bytes) = self.0.backend.read(&key, range.start..end, &checked.stamp).await? {
                return Ok(Some(bytes));
            }
            // It was put again or deleted.
            lock(&self.0.checked).remove(&digest);
        }
        Err(restless(digest))
    }

    /// Reads a blob and remembers that it is good; `false` if it was replaced meanwhile. Keeps its parts if told so.
    async fn check(
        &self,
        digest: Digest,
        key: &str,
        entry: &Entry,
        mut keep: Option<&mut Vec<Bytes>>,
    ) -> Result<bool, StoreError> {
        if keep.is_none() && entry.bytes > self.0.limits.blob_bytes_max {
            return Err(StoreError::TooLarge { bytes_max: self.0.limits.blob_bytes_max });
        }
        let (mut hasher, mut offset) = (Hasher::new(), 0);
        while offset < entry.bytes {
            let end = entry.bytes.min(offset + self.0.part_bytes as u64);
            let Some(part) = self.0.backend.read(key, offset..end, &entry.stamp).await? else {
                return Ok(false);
            };
            hasher = hasher.update(part.clone()).await?;
            if let Some(parts) = keep.as_deref_mut() {
                parts.push(part);
            }
            offset = end;
        }
        let found = hasher.finish().0;
        if found != digest {
            return Err(StoreError::Damaged { digest, found });
        }
        let mut checked = lock(&self.0.checked);
        if checked.len() >= CHECKED_MAX {
            checked.clear();
        }
        checked.insert(digest, Checked { stamp: entry.stamp.clone(), bytes: entry.bytes });
        Ok(true)
    }

    /// The size of a blob in bytes, as the place says; none if there is none.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn size(&self, digest: Digest) -> Result<Option<u64>, StoreError> {
        Ok(self.0.backend.head(&key(digest)).await?.map(|entry| entry.bytes))
    }

    /// Deletes a blob; whether there was one.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn delete(&self, digest: Digest) -> Result<bool, StoreError> {
        self.0.backend.delete(&key(digest), None).await
    }

    /// Deletes a blob that was last put before the given time; whether there was one.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn delete_older(&self, digest: Digest, than: SystemTime) -> Result<bool, StoreError> {
        self.0.backend.delete(&key(digest), Some(than)).await
    }

    /// The blobs after one, in the order of their digests, at most `count_max`; fewer only at the end.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn list(
        &self,
        after: Option<Digest>,
        count_max: usize,
    ) -> Result<Vec<(Digest, Stored)>, StoreError> {
        let first = after.map_or(0, |after| after.as_bytes()[0]);
        let mut blobs = Vec::new();
        for shard in first..=SHARDS {
            let entries = self.0.backend.list(&format!("{BLOBS}/{shard:02x}")).await?;
            let mut found: Vec<_> = entries.iter().filter_map(blob).collect();
            found.retain(|(digest, _)| {
                digest.as_bytes()[0] == shard && after.is_none_or(|after| *digest > after)
            });
            found.sort_by_key(|(digest, _)| *digest);
            blobs.extend(found);
            if blobs.len() >= count_max {
                break;
            }
        }
        blobs.truncate(count_max);
        Ok(blobs)
    }
}

impl fmt::Debug for Blobs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // An object store's own form may show its credentials.
        f.debug_tuple("Blobs").field(&self.0.place).finish()
    }
}

fn key(digest: Digest) -> String {
    format!("{BLOBS}/{:02x}/{}", digest.as_bytes()[0], digest.hex())
}

/// None for what is not a blob.
fn blob(entry: &Entry) -> Option<(Digest, Stored)> {
    let digest = Digest::from_hex(&entry.name).ok()?;
    Some((digest, Stored { bytes: entry.bytes, modified: entry.modified }))
}

fn join(mut parts: Vec<Bytes>) -> Bytes {
    match parts.len() {
        0 | 1 => parts.pop().unwrap_or_default(),
        _ => parts.concat().into(),
    }
}

fn restless(digest: Digest) -> StoreError {
    StoreError::unavailable(format!("reading `{digest}`"), "it is being replaced again and again; try later")
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
