//! A ledger in a directory of the machine.

use std::fs::File;
use std::io::{self, IoSlice, Read as _, Seek as _, SeekFrom};
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use cap_std::ambient_authority;
use cap_std::fs::{Dir, OpenOptions};
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};

use crate::LedgerError;
use crate::storage::{Storage, StorageFile};

const LOCK: &str = "lock";

/// What files are reserved in: what a page has, and a block of every disk at most. Bytes.
const PAGE_BYTES: u64 = 4096;

/// Written in one step to reserve. Bytes.
const ZEROS_BYTES: usize = 256 << 10;

/// Where a disk can be given them from as they are.
#[repr(align(4096))]
struct Zeros([u8; ZEROS_BYTES]);

static ZEROS: Zeros = Zeros([0; ZEROS_BYTES]);

/// A directory, opened as a capability: no path of the ledger can lead out of it. One process at a time.
#[derive(Debug)]
pub struct DirStorage {
    dir: Dir,
    /// Held, not used: the operating system frees the lock with the process, however that ends.
    _lock: File,
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
        Some(parent) => File::open(parent)?.sync_all(),
        None => Ok(()),
    }
}

impl Storage for DirStorage {
    fn create(&self, path: &str) -> io::Result<Box<dyn StorageFile>> {
        let file = self.dir.open_with(path, OpenOptions::new().create_new(true).write(true))?;
        Ok(Box::new(DirFile { file: file.into_std(), bytes: 0, room: 0 }))
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

struct DirFile {
    file: File,
    /// What was appended.
    bytes: u64,
    /// Up to here it is reserved, in whole pages; no more than `bytes` where nothing is.
    room: u64,
}

impl DirFile {
    /// Zeros, past the page cache: they are not read again, and cost next to no processor time that way.
    fn fill(&self, from: u64, to: u64) -> io::Result<()> {
        let flags = fcntl_getfl(&self.file)?;
        fcntl_setfl(&self.file, flags | OFlags::DIRECT).map_err(|_| io::ErrorKind::Unsupported)?;
        let mut at = from;
        let filled = loop {
            let left = usize::try_from(to - at).unwrap_or(usize::MAX).min(ZEROS_BYTES);
            let zeros = ZEROS.0.get(..left).unwrap_or_default();
            if zeros.is_empty() {
                break Ok(());
            }
            match self.file.write_all_at(zeros, at) {
                Ok(()) => at += zeros.len() as u64,
                Err(error) => break Err(error),
            }
        };
        fcntl_setfl(&self.file, flags)?;
        filled
    }
}

impl StorageFile for DirFile {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        let end = self.bytes + bytes.len() as u64;
        // Where only a part of a reserved page is written the system reads the rest from the disk first.
        let rest = if end <= self.room { end.next_multiple_of(PAGE_BYTES) - end } else { 0 };
        let rest = ZEROS.0.get(..usize::try_from(rest).unwrap_or_default()).unwrap_or_default();
        let parts = [IoSlice::new(bytes), IoSlice::new(rest)];
        let written = rustix::io::retry_on_intr(|| rustix::io::pwritev(&self.file, &parts, self.bytes))?;
        if let Some(left) = bytes.get(written..) {
            self.file.write_all_at(left, self.bytes + written as u64)?;
        }
        self.bytes = end;
        Ok(())
    }

    fn reserve(&mut self, bytes: u64) -> io::Result<()> {
        let from = self.room.max(self.bytes).next_multiple_of(PAGE_BYTES);
        let end = self.bytes + bytes;
        let to = end - end % PAGE_BYTES;
        if to <= from {
            return Ok(());
        }
        if let Err(error) = self.fill(from, to) {
            self.file.set_len(self.room.max(self.bytes))?;
            return Err(error);
        }
        self.room = to;
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        self.file.sync_data()
    }
}

impl Drop for DirFile {
    fn drop(&mut self) {
        if self.room > self.bytes {
            // What stays is zeros, which harm nobody.
            let _ = self.file.set_len(self.bytes);
        }
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
    fn what_is_appended_takes_the_place_of_what_was_reserved() {
        let folder = tempfile::tempdir().unwrap();
        let storage = DirStorage::open(folder.path()).unwrap();
        let mut file = storage.create("a").unwrap();
        let mut appended = Vec::new();
        let mut append = |file: &mut Box<dyn StorageFile>, bytes: usize| {
            let bytes = vec![b'a' + u8::try_from(bytes % 26).unwrap(); bytes];
            file.append(&bytes).unwrap();
            file.sync().unwrap();
            appended.extend(bytes);
            let read = storage.read("a", 0, usize::MAX).unwrap();
            let (head, rest) = read.split_at(appended.len());
            assert!(head == appended && rest.iter().all(|byte| *byte == 0));
            rest.len()
        };
        assert_eq!(append(&mut file, 5), 0);
        if let Err(error) = file.reserve(600 << 10) {
            assert_eq!(error.kind(), io::ErrorKind::Unsupported, "{error}");
            eprintln!("skipped: nothing can be reserved here");
            return;
        }
        let reserved = storage.len("a").unwrap();
        assert_eq!((reserved / 1024, reserved % PAGE_BYTES), (600, 0));
        for bytes in [1, 4_091, 4_096, 0, 12_345, 300 << 10] {
            append(&mut file, bytes);
            assert_eq!(storage.len("a").unwrap(), reserved);
        }
        // It is used up, and the file grows again, with something reserved or not.
        assert_eq!(append(&mut file, 400 << 10), 0);
        assert_eq!(append(&mut file, 3), 0);
        file.reserve(9_000).unwrap();
        assert!(append(&mut file, 7_000) > 0);
        assert_eq!(append(&mut file, 3_000), 0);
        file.reserve(20_000).unwrap();
        drop(file);
        assert_eq!(storage.read("a", 0, usize::MAX).unwrap(), appended);
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
