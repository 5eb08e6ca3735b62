//! Durable steps composed of the storage's plain ones. The order of the steps is what protects the data.

use std::collections::BTreeSet;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::LedgerError;
use crate::storage::{Storage, StorageFile};

/// Folders remembered as durable; forgotten all at once beyond this, which costs a sync each and nothing else.
const FOLDERS_MAX: usize = 4096;

pub(crate) struct Store {
    storage: Arc<dyn Storage>,
    durable_folders: Mutex<BTreeSet<String>>,
    fsyncs: AtomicU64,
}

impl Store {
    pub(crate) fn new(storage: Arc<dyn Storage>) -> Self {
        Self { storage, durable_folders: Mutex::default(), fsyncs: AtomicU64::new(0) }
    }

    /// Syncs of files and folders since the start.
    pub(crate) fn fsyncs(&self) -> u64 {
        self.fsyncs.load(Ordering::Relaxed)
    }

    /// A new file whose name survives a crash.
    pub(crate) fn create(&self, path: &str) -> Result<Box<dyn StorageFile>, LedgerError> {
        self.ensure_folder(folder_of(path))?;
        let file = self.storage.create(path).map_err(|error| LedgerError::write(path, error))?;
        self.sync_folder(folder_of(path))?;
        Ok(file)
    }

    pub(crate) fn sync_file(&self, file: &mut dyn StorageFile, path: &str) -> Result<(), LedgerError> {
        self.fsyncs.fetch_add(1, Ordering::Relaxed);
        file.sync().map_err(|error| LedgerError::sync(path, error))
    }

    /// Replaces files, each atomically; all are durable when it returns. Contents are synced before they get their
    /// names, so that no name ever leads to half a file; folders last, once each.
    pub(crate) fn replace(&self, files: &[(String, Vec<u8>)]) -> Result<(), LedgerError> {
        let mut folders = BTreeSet::new();
        for (path, bytes) in files {
            self.ensure_folder(folder_of(path))?;
            let failed = |error| LedgerError::write(path, error);
            let temporary = format!("{path}.tmp");
            let mut file = self.create_anew(&temporary).map_err(failed)?;
            file.append(bytes).map_err(failed)?;
            self.sync_file(file.as_mut(), path)?;
            self.storage.rename(&temporary, path).map_err(failed)?;
            folders.insert(folder_of(path));
        }
        folders.into_iter().try_for_each(|folder| self.sync_folder(folder))
    }

    /// Whether there is room for so many bytes: they are written, and removed again.
    pub(crate) fn try_room(&self, bytes: usize) -> Result<(), LedgerError> {
        const PATH: &str = "room.tmp";
        let tried = self.create_anew(PATH).and_then(|mut file| file.append(&vec![0; bytes]));
        // Whatever fitted takes room that others need.
        self.tidy_file(PATH);
        tried.map_err(|error| LedgerError::write(PATH, error))
    }

    /// An earlier process may have left its temporary file.
    fn create_anew(&self, path: &str) -> io::Result<Box<dyn StorageFile>> {
        match self.storage.create(path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                self.storage.remove(path)?;
                self.storage.create(path)
            }
            result => result,
        }
    }

    /// Removes a file; the removal is durable when it returns.
    pub(crate) fn remove_durably(&self, path: &str) -> Result<(), LedgerError> {
        self.storage.remove(path).map_err(|error| LedgerError::write(path, error))?;
        self.sync_folder(folder_of(path))
    }

    /// Removes what nobody needs any more. If that fails it stays and harms nobody.
    pub(crate) fn tidy_file(&self, path: &str) {
        let _ = self.storage.remove(path);
    }

    /// As [`Store::tidy_file`], for a folder with all that is in it.
    pub(crate) fn tidy_folder(&self, path: &str) {
        let _ = self.storage.remove_folder(path);
    }

    /// Makes sure that a folder exists and survives a crash, also when an earlier process created and did not sync it.
    pub(crate) fn ensure_folder(&self, path: &str) -> Result<(), LedgerError> {
        if path.is_empty() || self.folders().contains(path) {
            return Ok(());
        }
        self.ensure_folder(folder_of(path))?;
        self.storage.create_folder(path).map_err(|error| LedgerError::write(path, error))?;
        self.sync_folder(folder_of(path))?;
        let mut folders = self.folders();
        if folders.len() >= FOLDERS_MAX {
            folders.clear();
        }
        folders.insert(path.to_owned());
        Ok(())
    }

    /// For a folder that others may delete: the next file in it creates it again.
    pub(crate) fn forget_folder(&self, path: &str) {
        self.folders().remove(path);
    }

    fn folders(&self) -> std::sync::MutexGuard<'_, BTreeSet<String>> {
        self.durable_folders.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn sync_folder(&self, path: &str) -> Result<(), LedgerError> {
        self.fsyncs.fetch_add(1, Ordering::Relaxed);
        self.storage.sync_folder(path).map_err(|error| LedgerError::sync(path, error))
    }

    /// The names in a folder; none if it is not there.
    pub(crate) fn list(&self, path: &str) -> Result<Vec<String>, LedgerError> {
        match self.storage.list(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            result => result.map_err(|error| LedgerError::read(path, error)),
        }
    }

    /// A part of a file; `None` if there is no such file.
    pub(crate) fn read(
        &self,
        path: &str,
        offset: u64,
        bytes_max: usize,
    ) -> Result<Option<Vec<u8>>, LedgerError> {
        found(self.storage.read(path, offset, bytes_max), path)
    }

    /// The length of a file; `None` if there is none.
    pub(crate) fn len(&self, path: &str) -> Result<Option<u64>, LedgerError> {
        found(self.storage.len(path), path)
    }

    /// A whole file; `None` if there is no such file.
    pub(crate) fn read_all(&self, path: &str) -> Result<Option<Vec<u8>>, LedgerError> {
        self.read(path, 0, usize::MAX)
    }
}

fn found<T>(result: io::Result<T>, path: &str) -> Result<Option<T>, LedgerError> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(LedgerError::read(path, error)),
    }
}

fn folder_of(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(folder, _)| folder)
}
