//! The few operations that a store is made of, on whichever place it is kept in.

use std::ops::Range;
use std::time::SystemTime;

use bytes::Bytes;

use super::StoreError;
use super::directory::{Directory, DirectoryWriter};
#[cfg(feature = "objects")]
use super::objects::{Objects, ObjectsWriter};

/// Which bytes a name stands for, as far as the place can tell: when they are replaced, it is another one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Stamp(pub(super) String);

/// What is kept under a name.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    /// The last part of its key.
    pub(super) name: String,
    pub(super) bytes: u64,
    pub(super) modified: SystemTime,
    pub(super) stamp: Stamp,
}

/// A flat place for small immutable things under keys such as `blobs/sha256/ab/…`. Keys are made here, never by callers.
pub(super) enum Backend {
    Directory(Directory),
    #[cfg(feature = "objects")]
    Objects(Objects),
}

/// Something large that is being written; it has no name before `commit`, and none ever when it is dropped.
pub(super) enum Writer {
    Directory(DirectoryWriter),
    #[cfg(feature = "objects")]
    Objects(ObjectsWriter),
}

macro_rules! either {
    ($kind:ident, $value:expr, $inner:ident => $call:expr) => {
        match $value {
            $kind::Directory($inner) => $call,
            #[cfg(feature = "objects")]
            $kind::Objects($inner) => $call,
        }
    };
}

impl Backend {
    /// Keeps the bytes under the key, in the place of others: whole and durable when it returns, and never in part.
    pub(super) async fn put(&self, key: &str, bytes: Bytes) -> Result<(), StoreError> {
        either!(Backend, self, it => it.put(key, bytes).await)
    }

    /// As [`put`](Self::put), but only where nothing is yet; `false` where something is.
    pub(super) async fn put_new(&self, key: &str, bytes: Bytes) -> Result<bool, StoreError> {
        either!(Backend, self, it => it.put_new(key, bytes).await)
    }

    /// Something for the key that comes in parts.
    pub(super) async fn writer(&self, key: &str) -> Result<Writer, StoreError> {
        Ok(match self {
            Self::Directory(it) => Writer::Directory(it.writer(key).await?),
            #[cfg(feature = "objects")]
            Self::Objects(it) => Writer::Objects(it.writer(key).await?),
        })
    }

    /// What is under the key.
    pub(super) async fn head(&self, key: &str) -> Result<Option<Entry>, StoreError> {
        either!(Backend, self, it => it.head(key).await)
    }

    /// Exactly these bytes of what has the stamp; none when that is no longer what is under the key.
    pub(super) async fn read(
        &self,
        key: &str,
        range: Range<u64>,
        stamp: &Stamp,
    ) -> Result<Option<Bytes>, StoreError> {
        either!(Backend, self, it => it.read(key, range, stamp).await)
    }

    /// Removes what is under the key, if it is older than the given time; whether there was such a thing.
    pub(super) async fn delete(&self, key: &str, than: Option<SystemTime>) -> Result<bool, StoreError> {
        either!(Backend, self, it => it.delete(key, than).await)
    }

    /// What is in a folder, in any order; nothing if there is no such folder.
    pub(super) async fn list(&self, folder: &str) -> Result<Vec<Entry>, StoreError> {
        either!(Backend, self, it => it.list(folder).await)
    }

    /// The names of the folders in a folder, in any order.
    pub(super) async fn folders(&self, folder: &str) -> Result<Vec<String>, StoreError> {
        either!(Backend, self, it => it.folders(folder).await)
    }

    /// Removes a folder with all that is in it, in any order. It may be gone already.
    pub(super) async fn remove_folder(&self, folder: &str) -> Result<(), StoreError> {
        either!(Backend, self, it => it.remove_folder(folder).await)
    }
}

impl Writer {
    /// Takes the next bytes. After an error the writer is of no more use.
    pub(super) async fn push(&mut self, bytes: Bytes) -> Result<(), StoreError> {
        either!(Writer, self, it => it.push(bytes).await)
    }

    /// Gives it its key: whole and durable when it returns.
    pub(super) async fn commit(self) -> Result<(), StoreError> {
        either!(Writer, self, it => it.commit().await)
    }

    /// Leaves nothing behind, as far as the place lets it.
    pub(super) async fn abort(self) {
        match self {
            // Dropping removes the file.
            Self::Directory(_) => {}
            #[cfg(feature = "objects")]
            Self::Objects(it) => it.abort().await,
        }
    }
}
