//! SHA-256 of what comes in parts, without holding up the others who share the thread.

use bytes::Bytes;
use sha2::{Digest as _, Sha256};
use verdict_core::digest::Digest;

use super::StoreError;

/// What is hashed in less time than it takes to have another thread do it.
const INLINE_BYTES_MAX: usize = 64 << 10;

pub(super) struct Hasher(Sha256);

/// The digest of bytes that were read or sent, to be compared with the one they should have.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Found(pub(super) Digest);

impl Hasher {
    pub(super) fn new() -> Self {
        Self(Sha256::new())
    }

    pub(super) async fn update(mut self, bytes: Bytes) -> Result<Self, StoreError> {
        if bytes.len() <= INLINE_BYTES_MAX {
            self.0.update(&bytes);
            return Ok(self);
        }
        let work = move || {
            self.0.update(&bytes);
            self
        };
        tokio::task::spawn_blocking(work).await.map_err(|error| StoreError::unavailable("hashing", error))
    }

    pub(super) fn finish(self) -> Found {
        Found(Digest::from_bytes(self.0.finalize().into()))
    }
}

impl Found {
    /// For bytes that a caller sent.
    pub(super) fn expect_digest(self, expected: Digest) -> Result<(), StoreError> {
        if self.0 == expected { Ok(()) } else { Err(StoreError::DigestMismatch { expected, found: self.0 }) }
    }
}
