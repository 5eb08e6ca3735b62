//! What can go wrong, split by whose fault it is.

use std::io;
use std::sync::Arc;

use crate::note::NoteError;
use crate::tile::TileError;

/// Why the ledger refused or failed. Cheap to clone: every caller of a failed batch gets the same one.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum LedgerError {
    /// The caller's: the text is not the name of a log.
    #[error(
        "`{name}` is not a log name; use 1 to 63 of a-z, 0-9 and `-`, with a letter or digit at both ends"
    )]
    LogName {
        /// The text.
        name: String,
    },
    /// The caller's: the leaf does not fit into an entry bundle.
    #[error("the leaf has {bytes} bytes, the longest allowed has 65535; move details into the evidence")]
    LeafTooLarge {
        /// The leaf's length.
        bytes: usize,
    },
    /// The caller's: the evidence is larger than [`crate::EVIDENCE_BYTES_MAX`].
    #[error("the evidence has {bytes} bytes, the longest allowed has 16777216; ask for smaller inputs")]
    EvidenceTooLarge {
        /// The evidence's length.
        bytes: usize,
    },
    /// The caller's: there is no such entry.
    #[error("the log `{log}` has no entry {index}; check the log's name and size")]
    NoSuchEntry {
        /// The log's name.
        log: String,
        /// The index asked for.
        index: u64,
    },
    /// The load's: the queue before the journal is full. Nothing was written; the caller may try again.
    #[error("the journal's queue is full; slow down and try again")]
    Busy,
    /// The operator's: the configuration cannot work.
    #[error("the ledger's configuration is refused: {what}")]
    Config {
        /// What is wrong and what is allowed.
        what: &'static str,
    },
    /// The operator's: another process has the folder.
    #[error("`{path}` is in use by another ledger; stop the other process or choose another folder")]
    InUse {
        /// The folder.
        path: String,
    },
    /// The operator's: the checkpoint in the folder is by another key or under another origin.
    #[error(
        "the checkpoint of the log `{log}` is not of this key and origin ({reason}); start with the key and origin it was made with"
    )]
    WrongKey {
        /// The log's name.
        log: String,
        /// Why it does not verify.
        reason: String,
    },
    /// The storage's: something that was durable is gone or changed.
    #[error("`{path}` is damaged: {what}; restore it from a copy")]
    Corrupt {
        /// The file.
        path: String,
        /// What was found.
        what: String,
    },
    /// The storage's: a read failed.
    #[error("reading `{path}` failed: {source}; check the storage")]
    Read {
        /// The file or folder.
        path: String,
        /// Why.
        source: Arc<io::Error>,
    },
    /// The storage's: a write or fsync failed. The ledger stops for good, because what is on the disk is now unknown.
    #[error("writing `{path}` failed: {source}; check the storage and restart")]
    Write {
        /// The file or folder.
        path: String,
        /// Why.
        source: Arc<io::Error>,
    },
    /// The operator's: there is no room to write. Of what was to be written nothing is recorded; an open ledger takes
    /// nothing until there is room again, and then goes on by itself.
    #[error("there is no room to write `{path}`: {source}; free some")]
    Full {
        /// The file or folder.
        path: String,
        /// Why.
        source: Arc<io::Error>,
    },
    /// The ledger stopped after an earlier failure and takes nothing more.
    #[error("the ledger has stopped: {reason}")]
    Stopped {
        /// The first failure.
        reason: Arc<str>,
    },
    /// The ledger was closed.
    #[error("the ledger is closed; open it again")]
    Closed,
    /// A tile is not what it should be.
    #[error(transparent)]
    Tile(#[from] TileError),
    /// The origin cannot be a key name.
    #[error(transparent)]
    Note(#[from] NoteError),
}

impl LedgerError {
    pub(crate) fn corrupt(path: impl Into<String>, what: impl Into<String>) -> Self {
        Self::Corrupt { path: path.into(), what: what.into() }
    }

    pub(crate) fn read(path: &str, source: io::Error) -> Self {
        Self::Read { path: path.to_owned(), source: Arc::new(source) }
    }

    /// A write that failed. What found no room is known not to be there, at least not whole, and can be tried again.
    pub(crate) fn write(path: &str, source: io::Error) -> Self {
        if matches!(source.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded) {
            Self::Full { path: path.to_owned(), source: Arc::new(source) }
        } else {
            Self::sync(path, source)
        }
    }

    /// A sync that failed, for whatever reason: what is on the disk is unknown from here on.
    pub(crate) fn sync(path: &str, source: io::Error) -> Self {
        Self::Write { path: path.to_owned(), source: Arc::new(source) }
    }

    pub(crate) const fn is_full(&self) -> bool {
        matches!(self, Self::Full { .. })
    }
}
