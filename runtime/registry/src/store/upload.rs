//! Uploads in chunks: each chunk is a thing of its own under its offset, so that a chunk is there whole or not at all
//! and whoever asks next, after a crash or on another node, sees how far the upload has come.

use std::collections::HashMap;
use std::fmt;
use std::str::FromStr;
use std::time::SystemTime;

use bytes::Bytes;
use verdict_core::digest::Digest;

use super::backend::{Entry, Stamp};
use super::hash::Hasher;
use super::{Blobs, StoreError, UPLOADS, key, lock};

/// Written first and removed first: an upload is known as long as it is there.
const BEGIN: &str = "begin";
/// How many chunks an upload may have, so that looking at one stays cheap.
const CHUNKS_MAX: usize = 10_000;
/// How many uploads' ends are remembered.
const REMEMBERED_MAX: usize = 4_096;

/// The name of an upload: 128 random bits, 32 lower-case hexadecimal digits. Who knows it may continue the upload.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct UploadId(u128);

/// The text is not an upload's name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not an upload; expected 32 lower-case hexadecimal digits")]
pub struct UploadIdError(String);

impl UploadId {
    fn random() -> Result<Self, StoreError> {
        let mut bytes = [0; 16];
        getrandom::fill(&mut bytes)
            .map_err(|error| StoreError::unavailable("asking the system for randomness", error))?;
        Ok(Self(u128::from_be_bytes(bytes)))
    }

    fn folder(self) -> String {
        format!("{UPLOADS}/{self}")
    }
}

impl fmt::Display for UploadId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl FromStr for UploadId {
    type Err = UploadIdError;

    fn from_str(text: &str) -> Result<Self, UploadIdError> {
        let id = u128::from_str_radix(text, 16).map(Self).ok();
        // One way to write each: no capitals, no sign, no digit more or less.
        id.filter(|id| id.to_string() == text).ok_or_else(|| UploadIdError(text.chars().take(80).collect()))
    }
}

/// Where an upload ends.
#[derive(Debug, Clone, Copy)]
struct End {
    offset: u64,
    chunks: usize,
}

/// The ends of uploads as this process last saw them, so that not every chunk has to look at all before it. Another
/// node may have gone on since; then the place of the next chunk is taken.
#[derive(Default)]
pub(super) struct Ends(HashMap<UploadId, End>);

impl Ends {
    fn remember(&mut self, id: UploadId, end: End) {
        if self.0.len() >= REMEMBERED_MAX {
            self.0.clear();
        }
        self.0.insert(id, end);
    }
}

struct Chunk {
    key: String,
    bytes: u64,
    stamp: Stamp,
}

impl Blobs {
    /// Begins an upload.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`]; an upload that began all the same expires.
    pub async fn begin(&self) -> Result<UploadId, StoreError> {
        let id = UploadId::random()?;
        self.0.backend.put(&format!("{}/{BEGIN}", id.folder()), Bytes::new()).await?;
        Ok(id)
    }

    /// Continues an upload at `offset`, which must be where it ends; its new end. What is acknowledged is durable.
    ///
    /// # Errors
    /// [`StoreError::UnknownUpload`]; [`StoreError::WrongOffset`] if the upload ends elsewhere, also because somebody
    /// else is continuing it; [`StoreError::TooLarge`] and [`StoreError::TooManyChunks`] before anything is taken.
    /// After [`StoreError::Unavailable`] a part of the bytes from their beginning may have been taken, or all:
    /// [`offset`](Self::offset) tells.
    pub async fn append(&self, id: &UploadId, offset: u64, bytes: Bytes) -> Result<u64, StoreError> {
        let remembered = lock(&self.0.ends).0.get(id).copied().filter(|end| end.offset == offset);
        let mut end = match remembered {
            Some(end) => end,
            None => self.end(id).await?,
        };
        if end.offset != offset {
            return Err(StoreError::WrongOffset { expected: end.offset });
        }
        if offset.checked_add(bytes.len() as u64).is_none_or(|end| end > self.0.limits.blob_bytes_max) {
            return Err(StoreError::TooLarge { bytes_max: self.0.limits.blob_bytes_max });
        }
        let mut rest = bytes;
        if end.chunks + rest.len().div_ceil(self.0.part_bytes) > CHUNKS_MAX {
            return Err(StoreError::TooManyChunks { chunks_max: CHUNKS_MAX });
        }
        while !rest.is_empty() {
            let chunk = rest.split_to(rest.len().min(self.0.part_bytes));
            end = self.append_chunk(*id, end, chunk).await?;
        }
        Ok(end.offset)
    }

    async fn append_chunk(&self, id: UploadId, end: End, chunk: Bytes) -> Result<End, StoreError> {
        let next = End { offset: end.offset + chunk.len() as u64, chunks: end.chunks + 1 };
        // Not known any more until the answer is here.
        lock(&self.0.ends).0.remove(&id);
        if !self.0.backend.put_new(&format!("{}/{:016x}", id.folder(), end.offset), chunk).await? {
            return Err(StoreError::WrongOffset { expected: self.end(&id).await?.offset });
        }
        lock(&self.0.ends).remember(id, next);
        Ok(next)
    }

    async fn end(&self, id: &UploadId) -> Result<End, StoreError> {
        let chunks = self.chunks(id).await?.ok_or(StoreError::UnknownUpload(*id))?;
        Ok(End { offset: bytes_of(&chunks), chunks: chunks.len() })
    }

    /// How many bytes of an upload are there; none if there is no such upload.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn offset(&self, id: &UploadId) -> Result<Option<u64>, StoreError> {
        Ok(self.chunks(id).await?.map(|chunks| bytes_of(&chunks)))
    }

    /// The chunks in their order, each beginning where the one before ends.
    async fn chunks(&self, id: &UploadId) -> Result<Option<Vec<Chunk>>, StoreError> {
        let folder = id.folder();
        let mut entries = self.0.backend.list(&folder).await?;
        if !entries.iter().any(|entry| entry.name == BEGIN) || self.expired(&entries) {
            return Ok(None);
        }
        entries.retain(|entry| entry.name != BEGIN);
        // Names of the same length: their order is that of the offsets.
        entries.sort_by(|a, b| a.name.cmp(&b.name));
        let (mut chunks, mut offset) = (Vec::new(), 0_u64);
        for entry in entries {
            if entry.name != format!("{offset:016x}") {
                // Something is missing: it is being cancelled, or somebody has been at it.
                return Ok(None);
            }
            offset = offset.saturating_add(entry.bytes);
            chunks.push(Chunk {
                key: format!("{folder}/{}", entry.name),
                bytes: entry.bytes,
                stamp: entry.stamp,
            });
        }
        Ok(Some(chunks))
    }

    fn expired(&self, entries: &[Entry]) -> bool {
        let oldest = SystemTime::now().checked_sub(self.0.limits.upload_age_max);
        oldest.is_some_and(|oldest| entries.iter().all(|entry| entry.modified < oldest))
    }

    /// Makes the blob `digest` of an upload and ends the upload; the blob's size in bytes. The bytes are always read
    /// and checked, also if the blob is there already: naming a digest is no proof of having its bytes.
    ///
    /// # Errors
    /// [`StoreError::UnknownUpload`], [`StoreError::DigestMismatch`], [`StoreError::Unavailable`]. The upload is then
    /// as it was, except that after [`StoreError::Unavailable`] the blob may be there. After a success that was not
    /// heard of the upload is not known and the blob is there.
    pub async fn finish(&self, id: &UploadId, digest: Digest) -> Result<u64, StoreError> {
        let chunks = self.chunks(id).await?.ok_or(StoreError::UnknownUpload(*id))?;
        let bytes = bytes_of(&chunks);
        if bytes > self.0.limits.blob_bytes_max {
            return Err(StoreError::TooLarge { bytes_max: self.0.limits.blob_bytes_max });
        }
        if bytes <= self.0.part_bytes as u64 {
            let mut whole = Vec::new();
            for chunk in &chunks {
                whole.extend_from_slice(&self.chunk(id, chunk).await?);
            }
            self.put(digest, whole.into()).await?;
        } else {
            match self.assemble(id, &chunks, digest).await? {
                Ok(()) => {}
                Err(_) => self.assemble(id, &chunks, digest).await??,
            }
        }
        // The blob is there; of the upload, what cannot be removed now expires.
        let _ = self.cancel(id).await;
        Ok(bytes)
    }

    async fn chunk(&self, id: &UploadId, chunk: &Chunk) -> Result<Bytes, StoreError> {
        if chunk.bytes > self.0.part_bytes as u64 {
            // None of ours is: memory is not given for whatever lies there.
            return Err(StoreError::UnknownUpload(*id));
        }
        let bytes = self.0.backend.read(&chunk.key, 0..chunk.bytes, &chunk.stamp).await?;
        bytes.ok_or(StoreError::UnknownUpload(*id))
    }

    /// What came of the commit, as in `put_in_parts`.
    async fn assemble(
        &self,
        id: &UploadId,
        chunks: &[Chunk],
        digest: Digest,
    ) -> Result<Result<(), StoreError>, StoreError> {
        let mut writer = self.0.backend.writer(&key(digest)).await?;
        let copy = async {
            let mut hasher = Hasher::new();
            for chunk in chunks {
                let bytes = self.chunk(id, chunk).await?;
                hasher = hasher.update(bytes.clone()).await?;
                writer.push(bytes).await?;
            }
            hasher.finish().expect_digest(digest)
        };
        match copy.await {
            Ok(()) => Ok(writer.commit().await),
            Err(error) => {
                writer.abort().await;
                Err(error)
            }
        }
    }

    /// Ends an upload without a blob; whether there was such an upload.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`]; the upload may be gone, or known still, or expire.
    pub async fn cancel(&self, id: &UploadId) -> Result<bool, StoreError> {
        lock(&self.0.ends).0.remove(id);
        let folder = id.folder();
        let known = self.0.backend.delete(&format!("{folder}/{BEGIN}"), None).await?;
        self.0.backend.remove_folder(&folder).await?;
        Ok(known)
    }

    /// Removes the uploads to which nothing was added for the time of the [`Limits`](super::Limits), and what is left
    /// of ended ones; how many there were. Whoever collects garbage calls this too.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`]; some may be left.
    pub async fn expire(&self) -> Result<usize, StoreError> {
        let mut removed = 0;
        for name in self.0.backend.folders(UPLOADS).await? {
            let Ok(id) = name.parse::<UploadId>() else { continue };
            let entries = self.0.backend.list(&id.folder()).await?;
            if !entries.is_empty() && self.expired(&entries) {
                self.cancel(&id).await?;
                removed += 1;
            }
        }
        Ok(removed)
    }
}

fn bytes_of(chunks: &[Chunk]) -> u64 {
    chunks.iter().fold(0, |bytes, chunk| bytes.saturating_add(chunk.bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_upload_has_one_name() {
        let id = UploadId::random().unwrap();
        assert_eq!(id.to_string().parse(), Ok(id));
        assert_ne!(id, UploadId::random().unwrap());
        let name = "00112233445566778899aabbccddeeff";
        name.parse::<UploadId>().unwrap();
        let wrong = [
            "",
            "..",
            "+0112233445566778899aabbccddeeff",
            &name[1..],
            &name.to_uppercase(),
            &format!("{name}0"),
        ];
        for text in wrong {
            assert!(text.parse::<UploadId>().is_err(), "{text}");
        }
    }
}
