//! What can go wrong between a caller and its blobs, by whose fault it is.

use std::io;

use verdict_core::digest::Digest;

use super::UploadId;

/// A blob cannot be kept or given out.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The caller's bytes are not what the caller said.
    #[error("the bytes have the digest `{found}`, not `{expected}`; send the bytes of that digest")]
    DigestMismatch {
        /// The digest that was named.
        expected: Digest,
        /// The digest of the bytes.
        found: Digest,
    },
    /// The caller's blob, or one that is asked for, is larger than it may be.
    #[error("the blob is larger than the {bytes_max} bytes that are taken here")]
    TooLarge {
        /// What it may be at most.
        bytes_max: u64,
    },
    /// The caller's upload was made of too many chunks.
    #[error("an upload has at most {chunks_max} chunks; begin again and send larger ones")]
    TooManyChunks {
        /// How many there may be.
        chunks_max: usize,
    },
    /// There is no such upload: never begun, finished, cancelled or expired.
    #[error("the upload `{0}` is not known or has expired; begin a new one")]
    UnknownUpload(UploadId),
    /// The chunk does not continue the upload.
    #[error("the upload continues at byte {expected}; send what comes from there")]
    WrongOffset {
        /// Where the next chunk begins.
        expected: u64,
    },
    /// The range holds no byte of the blob.
    #[error("the range holds nothing of the {bytes} bytes of the blob; ask for bytes before its end")]
    WrongRange {
        /// The size of the blob.
        bytes: u64,
    },
    /// What is kept under the digest has another one. Putting the blob again mends it.
    #[error(
        "the blob `{digest}` is damaged in the store: its bytes have the digest `{found}`; push it again"
    )]
    Damaged {
        /// The name of the blob.
        digest: Digest,
        /// The digest of what is there.
        found: Digest,
    },
    /// Another process has the directory.
    #[error("`{path}` is in use by another process; end that one or name another directory")]
    InUse {
        /// Which directory.
        path: String,
    },
    /// The text names no place for blobs.
    #[error("`{0}` is no place for blobs; name a directory{OR_BUCKET}")]
    Location(String),
    /// The place the blobs are kept in did not do what it was asked; whether it did it all the same is not known.
    #[error("the blobs cannot be reached: {what}: {error}")]
    Unavailable {
        /// What it was asked to do.
        what: String,
        /// What it answered.
        error: Box<dyn std::error::Error + Send + Sync>,
    },
}

const OR_BUCKET: &str = if cfg!(feature = "objects") {
    ", `s3://BUCKET/PREFIX`, `gs://BUCKET/PREFIX` or `az://CONTAINER/PREFIX`"
} else {
    ""
};

impl StoreError {
    pub(super) fn unavailable(
        what: impl Into<String>,
        error: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        Self::Unavailable { what: what.into(), error: error.into() }
    }

    /// For a step of the file system: what it was done to goes into the message.
    pub(super) fn io<'a>(step: &'a str, path: &'a str) -> impl Fn(io::Error) -> Self + 'a {
        move |error| Self::unavailable(format!("{step} `{path}`"), error)
    }
}
