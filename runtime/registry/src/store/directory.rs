//! Blobs in a directory.
//!
//! Every file is written under a name of no meaning in `temporary`, synced, renamed to its place, and the folder it
//! then is in is synced. That order is what the contract rests on: a name appears only over bytes that are durable.

use std::collections::HashSet;
use std::io;
use std::ops::Range;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use bytes::Bytes;
use tokio::sync::Semaphore;

use super::StoreError;
use super::backend::{Entry, Stamp};
use super::disk::{CapDisk, Disk, DiskFile};

const TEMPORARY: &str = "temporary";
/// How many threads wait for the disk at once.
const BLOCKING_MAX: usize = 16;

#[derive(Clone)]
pub(super) struct Directory {
    shared: Arc<Shared>,
    permits: Arc<Semaphore>,
}

struct Shared {
    disk: Box<dyn Disk>,
    /// Held between looking at a name and changing what it stands for.
    names: Mutex<()>,
    /// Folders that are known to be there durably.
    folders: Mutex<HashSet<String>>,
    next: AtomicU64,
}

/// A file without its name yet. What is dropped before it has one is removed.
struct Temporary {
    shared: Arc<Shared>,
    path: String,
    file: Box<dyn DiskFile>,
    named: bool,
}

pub(super) struct DirectoryWriter {
    directory: Directory,
    key: String,
    /// None after an error.
    temporary: Option<Temporary>,
}

impl Directory {
    pub(super) fn open(path: &Path) -> Result<Self, StoreError> {
        Self::on(Box::new(CapDisk::open(path)?))
    }

    /// Makes the folders and clears away what a process that ended left half-done. Nobody else may be using the disk.
    pub(super) fn on(disk: Box<dyn Disk>) -> Result<Self, StoreError> {
        let shared =
            Shared { disk, names: Mutex::default(), folders: Mutex::default(), next: AtomicU64::default() };
        for folder in [TEMPORARY, "blobs", super::BLOBS, super::UPLOADS] {
            shared.ensure(folder)?;
        }
        for name in shared.disk.list(TEMPORARY).map_err(StoreError::io("listing", TEMPORARY))? {
            let path = format!("{TEMPORARY}/{name}");
            shared.disk.remove(&path).map_err(StoreError::io("removing", &path))?;
        }
        for name in shared.disk.list(super::UPLOADS).map_err(StoreError::io("listing", super::UPLOADS))? {
            // Only an empty one can be removed so: an upload of which nothing or no more is there.
            let _ = shared.disk.remove_folder(&format!("{}/{name}", super::UPLOADS));
        }
        Ok(Self { shared: Arc::new(shared), permits: Arc::new(Semaphore::new(BLOCKING_MAX)) })
    }

    /// Does the work on a thread that may wait. It is done to its end even if nobody waits for the result any more.
    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Arc<Shared>) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let failed = |error: Box<dyn std::error::Error + Send + Sync>| {
            StoreError::unavailable("starting work on the disk", error)
        };
        let permit = Arc::clone(&self.permits).acquire_owned().await.map_err(|error| failed(error.into()))?;
        let shared = Arc::clone(&self.shared);
        let work = move || {
            let _permit = permit;
            work(&shared)
        };
        tokio::task::spawn_blocking(work).await.map_err(|error| failed(error.into()))?
    }

    pub(super) async fn put(&self, key: &str, bytes: Bytes) -> Result<(), StoreError> {
        let key = key.to_owned();
        self.blocking(move |shared| {
            let mut temporary = Temporary::create(shared)?;
            temporary.append(&bytes)?;
            temporary.put(&key)
        })
        .await
    }

    pub(super) async fn put_new(&self, key: &str, bytes: Bytes) -> Result<bool, StoreError> {
        let key = key.to_owned();
        self.blocking(move |shared| {
            let mut temporary = Temporary::create(shared)?;
            temporary.append(&bytes)?;
            temporary.put_new(&key)
        })
        .await
    }

    pub(super) async fn writer(&self, key: &str) -> Result<DirectoryWriter, StoreError> {
        let temporary = self.blocking(Temporary::create).await?;
        Ok(DirectoryWriter { directory: self.clone(), key: key.to_owned(), temporary: Some(temporary) })
    }

    pub(super) async fn head(&self, key: &str) -> Result<Option<Entry>, StoreError> {
        let key = key.to_owned();
        self.blocking(move |shared| shared.entry(&key)).await
    }

    pub(super) async fn read(
        &self,
        key: &str,
        range: Range<u64>,
        stamp: &Stamp,
    ) -> Result<Option<Bytes>, StoreError> {
        let (key, stamp) = (key.to_owned(), stamp.clone());
        self.blocking(move |shared| {
            let bytes_asked = range.end.saturating_sub(range.start);
            let read = existing(shared.disk.read(&key, range)).map_err(StoreError::io("reading", &key))?;
            let same =
                read.filter(|(status, bytes)| status.stamp == stamp && bytes.len() as u64 == bytes_asked);
            Ok(same.map(|(_, bytes)| bytes.into()))
        })
        .await
    }

    pub(super) async fn delete(&self, key: &str, than: Option<SystemTime>) -> Result<bool, StoreError> {
        let key = key.to_owned();
        self.blocking(move |shared| shared.delete(&key, than)).await
    }

    pub(super) async fn list(&self, folder: &str) -> Result<Vec<Entry>, StoreError> {
        let folder = folder.to_owned();
        self.blocking(move |shared| {
            let entries = shared.names_in(&folder)?.into_iter().filter_map(|name| {
                // What was removed since is not there; what is no file is nobody's.
                shared.entry(&format!("{folder}/{name}")).transpose()
            });
            entries.collect()
        })
        .await
    }

    pub(super) async fn folders(&self, folder: &str) -> Result<Vec<String>, StoreError> {
        let folder = folder.to_owned();
        self.blocking(move |shared| shared.names_in(&folder)).await
    }

    pub(super) async fn remove_folder(&self, folder: &str) -> Result<(), StoreError> {
        let folder = folder.to_owned();
        self.blocking(move |shared| shared.remove_folder(&folder)).await
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, ()> {
        self.names.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn known_folders(&self) -> MutexGuard<'_, HashSet<String>> {
        self.folders.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes a folder in an existing one, durably.
    fn ensure(&self, folder: &str) -> Result<(), StoreError> {
        if self.known_folders().contains(folder) {
            return Ok(());
        }
        self.disk.create_folder(folder).map_err(StoreError::io("making the folder", folder))?;
        self.sync_folder(parent(folder))?;
        self.known_folders().insert(folder.to_owned());
        Ok(())
    }

    fn sync_folder(&self, folder: &str) -> Result<(), StoreError> {
        self.disk.sync_folder(folder).map_err(StoreError::io("syncing the folder", folder))
    }

    fn entry(&self, key: &str) -> Result<Option<Entry>, StoreError> {
        let status = existing(self.disk.status(key)).map_err(StoreError::io("looking at", key))?;
        let name = key.rsplit('/').next().unwrap_or_default().to_owned();
        Ok(status.map(|status| Entry {
            name,
            bytes: status.bytes,
            modified: status.modified,
            stamp: status.stamp,
        }))
    }

    fn delete(&self, key: &str, than: Option<SystemTime>) -> Result<bool, StoreError> {
        let names = self.lock();
        let entry = self.entry(key)?;
        if entry.as_ref().zip(than).is_some_and(|(entry, than)| entry.modified >= than) {
            return Ok(false);
        }
        if entry.is_some() {
            self.disk.remove(key).map_err(StoreError::io("removing", key))?;
        }
        drop(names);
        // Also when nothing is there: a removal before this one may have failed at being made durable.
        let folder = parent(key);
        existing(self.disk.sync_folder(folder)).map_err(StoreError::io("syncing the folder", folder))?;
        Ok(entry.is_some())
    }

    fn names_in(&self, folder: &str) -> Result<Vec<String>, StoreError> {
        let names = existing(self.disk.list(folder)).map_err(StoreError::io("listing", folder))?;
        Ok(names.unwrap_or_default())
    }

    fn remove_folder(&self, folder: &str) -> Result<(), StoreError> {
        self.known_folders().remove(folder);
        for name in self.names_in(folder)? {
            let path = format!("{folder}/{name}");
            existing(self.disk.remove(&path)).map_err(StoreError::io("removing", &path))?;
        }
        existing(self.disk.remove_folder(folder)).map_err(StoreError::io("removing", folder))?;
        self.sync_folder(parent(folder))
    }
}

impl Temporary {
    fn create(shared: &Arc<Shared>) -> Result<Self, StoreError> {
        let path = format!("{TEMPORARY}/{}", shared.next.fetch_add(1, Ordering::Relaxed));
        let file = shared.disk.create(&path).map_err(StoreError::io("creating", &path))?;
        Ok(Self { shared: Arc::clone(shared), path, file, named: false })
    }

    fn append(&mut self, bytes: &[u8]) -> Result<(), StoreError> {
        self.file.append(bytes).map_err(StoreError::io("writing", &self.path))
    }

    fn sync(&mut self) -> Result<(), StoreError> {
        self.file.sync().map_err(StoreError::io("syncing", &self.path))
    }

    /// Renames it in the place of whatever is there.
    fn put(mut self, key: &str) -> Result<(), StoreError> {
        self.shared.ensure(parent(key))?;
        // The bytes come before the name.
        self.sync()?;
        let shared = Arc::clone(&self.shared);
        let names = shared.lock();
        self.rename(key)?;
        drop(names);
        shared.sync_folder(parent(key))
    }

    /// Renames it where nothing is yet.
    fn put_new(mut self, key: &str) -> Result<bool, StoreError> {
        self.shared.ensure(parent(key))?;
        self.sync()?;
        let shared = Arc::clone(&self.shared);
        let names = shared.lock();
        if shared.entry(key)?.is_some() {
            return Ok(false);
        }
        self.rename(key)?;
        drop(names);
        shared.sync_folder(parent(key))?;
        Ok(true)
    }

    fn rename(&mut self, key: &str) -> Result<(), StoreError> {
        self.shared.disk.rename(&self.path, key).map_err(StoreError::io("naming", key))?;
        self.named = true;
        Ok(())
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        if !self.named {
            // What cannot be removed now is when the directory is opened again.
            let _ = self.shared.disk.remove(&self.path);
        }
    }
}

impl DirectoryWriter {
    /// Does the work with the file, which is lost with an error: after a failed write or sync nobody knows what is in it.
    async fn with<T: Send + 'static>(
        &mut self,
        work: impl FnOnce(Temporary, &str) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let temporary = self.temporary.take().ok_or_else(|| {
            StoreError::unavailable(
                format!("writing `{}`", self.key),
                "an earlier part of it could not be written",
            )
        })?;
        let key = self.key.clone();
        self.directory.blocking(move |_| work(temporary, &key)).await
    }

    pub(super) async fn push(&mut self, bytes: Bytes) -> Result<(), StoreError> {
        let append = move |mut temporary: Temporary, _: &str| {
            temporary.append(&bytes)?;
            Ok(temporary)
        };
        self.temporary = Some(self.with(append).await?);
        Ok(())
    }

    pub(super) async fn commit(mut self) -> Result<(), StoreError> {
        self.with(Temporary::put).await
    }
}

fn parent(path: &str) -> &str {
    path.rsplit_once('/').map_or(".", |(parent, _)| parent)
}

/// Nothing instead of an error where nothing is.
fn existing<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}
