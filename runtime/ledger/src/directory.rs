//! A ledger in a directory of the machine.

use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::Path;

use cap_std::ambient_authority;
use cap_std::fs::{Dir, OpenOptions};

use crate::LedgerError;
use crate::storage::{Storage, StorageFile};

const LOCK: &str = "lock";

/// A directory, opened as a capability: no path of the ledger can lead out of it. One process at a time.
#[derive(Debug)]
pub struct DirStorage {
    dir: Dir,
    /// Held, not used: the operating system frees the lock with the process, however that ends.
    _lock: std::fs::File,
}

impl DirStorage {
    /// Opens a directory, creating it (not its parents) if it is not there, and locks it.
    ///
    /// # Errors
    /// [`LedgerError::InUse`] if another process has it, [`LedgerError::Write`] if it cannot be created or opened.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, LedgerError> {
        let path = path.as_ref();
        let shown = path.display().to_string();
        let failed = |error| LedgerError::write(&shown, error);
        create_durably(path).map_err(failed)?;
        let dir = Dir::open_ambient_dir(path, ambient_authority()).map_err(failed)?;
        let lock =
            dir.open_with(LOCK, OpenOptions::new().create(true).append(true)).map_err(failed)?.into_std();
        match lock.try_lock() {
            Ok(()) => Ok(Self { dir, _lock: lock }),
            Err(std::fs::TryLockError::WouldBlock) => Err(LedgerError::InUse { path: shown }),
            Err(std::fs::TryLockError::Error(error)) => Err(failed(error)),
        }
    }
}

/// Creates the directory and makes its own entry durable: without that a crash could take the whole ledger.
fn create_durably(path: &Path) -> io::Result<()> {
    match std::fs::create_dir(path) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        Err(error) => return Err(error),
    }
    let real = path.canonicalize()?;
    match real.parent() {
        Some(parent) => std::fs::File::open(parent)?.sync_all(),
        None => Ok(()),
    }
}

impl Storage for DirStorage {
    fn create(&self, path: &str) -> io::Result<Box<dyn StorageFile>> {
        let file = self.dir.open_with(path, OpenOptions::new().create_new(true).append(true))?;
        Ok(Box::new(DirFile(file.into_std())))
    }

    fn create_folder(&self, path: &str) -> io::Result<()> {
        match self.dir.create_dir(path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            result => result,
        }
    }

    fn sync_folder(&self, path: &str) -> io::Result<()> {
        let path = if path.is_empty() { "." } else { path };
        self.dir.open(path)?.into_std().sync_all()
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.dir.rename(from, &self.dir, to)
    }

    fn remove(&self, path: &str) -> io::Result<()> {
        self.dir.remove_file(path)
    }

    fn remove_folder(&self, path: &str) -> io::Result<()> {
        self.dir.remove_dir_all(path)
    }

    fn list(&self, path: &str) -> io::Result<Vec<String>> {
        let path = if path.is_empty() { "." } else { path };
        let names =
            self.dir.read_dir(path)?.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()));
        names.collect()
    }

    fn len(&self, path: &str) -> io::Result<u64> {
        Ok(self.dir.metadata(path)?.len())
    }

    fn read(&self, path: &str, offset: u64, bytes_max: usize) -> io::Result<Vec<u8>> {
        let mut file = self.dir.open(path)?.into_std();
        file.seek(SeekFrom::Start(offset))?;
        let mut bytes = Vec::with_capacity(bytes_max.min(1 << 16));
        file.take(bytes_max as u64).read_to_end(&mut bytes)?;
        Ok(bytes)
    }
}

struct DirFile(std::fs::File);

impl StorageFile for DirFile {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.write_all(bytes)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.0.sync_data()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn behaves_as_its_contract_says() {
        let folder = tempfile::tempdir().unwrap();
        let storage = DirStorage::open(folder.path().join("ledger")).unwrap();
        assert_eq!(storage.create("a/b").err().unwrap().kind(), io::ErrorKind::NotFound);
        storage.create_folder("a").unwrap();
        storage.create_folder("a").unwrap();
        let mut file = storage.create("a/b").unwrap();
        file.append(b"one").unwrap();
        file.append(b"two").unwrap();
        file.sync().unwrap();
        storage.sync_folder("a").unwrap();
        storage.sync_folder("").unwrap();
        assert_eq!(storage.create("a/b").err().unwrap().kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(storage.read("a/b", 2, 3).unwrap(), b"etw");
        assert_eq!(storage.read("a/b", 2, 30).unwrap(), b"etwo");
        assert_eq!(storage.read("a/b", 20, 30).unwrap(), b"");
        assert_eq!(storage.len("a/b").unwrap(), 6);
        storage.rename("a/b", "a/c").unwrap();
        assert_eq!(storage.list("a").unwrap(), ["c"]);
        assert_eq!(storage.read("a/b", 0, 1).err().unwrap().kind(), io::ErrorKind::NotFound);
        storage.remove("a/c").unwrap();
        storage.remove_folder("a").unwrap();
        assert_eq!(storage.list("a").err().unwrap().kind(), io::ErrorKind::NotFound);
        assert!(storage.read("../lock", 0, 1).is_err(), "no way out");
    }

    #[test]
    fn a_second_ledger_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let first = DirStorage::open(folder.path()).unwrap();
        assert!(matches!(DirStorage::open(folder.path()), Err(LedgerError::InUse { .. })));
        drop(first);
        DirStorage::open(folder.path()).unwrap();
    }
}
