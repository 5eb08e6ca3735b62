//! What a directory of blobs asks of a file system.

use std::io::{self, Write as _};
use std::ops::Range;
use std::os::unix::fs::{DirBuilderExt as _, FileExt as _};
use std::path::Path;
use std::time::SystemTime;

use cap_std::ambient_authority;
use cap_std::fs::{Dir, DirBuilder, Metadata, MetadataExt as _, OpenOptions, OpenOptionsExt as _};
use rustix::fs::OFlags;

use super::StoreError;
use super::backend::Stamp;

const LOCK: &str = "lock";
/// Only who runs the store reads it.
const FOLDER_MODE: u32 = 0o700;
const FILE_MODE: u32 = 0o600;
/// How many names of one folder are read.
const NAMES_MAX: usize = 2_000_000;

/// Of a file: its size, when it was last written to, and which one it is.
#[derive(Debug, Clone)]
pub(super) struct Status {
    pub(super) bytes: u64,
    pub(super) modified: SystemTime,
    pub(super) stamp: Stamp,
}

/// A tree of folders and files with the durability rules of a POSIX file system, and no kinder ones: a crash may undo
/// whatever was not synced. A store composes what it needs out of these steps, so that a test can take each one away.
/// Paths are relative, with `/` between their parts.
pub(super) trait Disk: Send + Sync {
    /// Creates a folder in an existing one; it may be there already. A crash may undo it until the outer one is synced.
    fn create_folder(&self, path: &str) -> io::Result<()>;
    /// Creates an empty file; fails if it exists. A crash may undo it until the folder is synced.
    fn create(&self, path: &str) -> io::Result<Box<dyn DiskFile>>;
    /// Renames a file, atomically in the place of another one if there is one. A crash may undo it until the folder
    /// is synced, and leaves the one or the other.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;
    /// Makes the folder's entries durable. Not what is in its files.
    fn sync_folder(&self, path: &str) -> io::Result<()>;
    /// Removes a file.
    fn remove(&self, path: &str) -> io::Result<()>;
    /// Removes an empty folder.
    fn remove_folder(&self, path: &str) -> io::Result<()>;
    /// The names in a folder, in any order.
    fn list(&self, path: &str) -> io::Result<Vec<String>>;
    /// Of a file.
    fn status(&self, path: &str) -> io::Result<Status>;
    /// These bytes of a file, fewer if it ends before, with the status of the very file they were read from.
    fn read(&self, path: &str, range: Range<u64>) -> io::Result<(Status, Vec<u8>)>;
}

/// A file that was created and is being written.
pub(super) trait DiskFile: Send {
    /// Appends all the bytes. After an error any part of them may be there.
    fn append(&mut self, bytes: &[u8]) -> io::Result<()>;
    /// Makes everything appended durable. After an error nobody knows what is, and calling it again would tell a lie.
    fn sync(&mut self) -> io::Result<()>;
}

/// A directory of the machine, opened as a capability: no path of the store leads out of it. One process at a time.
pub(super) struct CapDisk {
    dir: Dir,
    /// Held, not used: the operating system frees the lock with the process, however that ends.
    _lock: std::fs::File,
}

impl CapDisk {
    /// Opens a directory, made with those above it if it is missing, and locks it.
    pub(super) fn open(path: &Path) -> Result<Self, StoreError> {
        let shown = path.display().to_string();
        let failed = StoreError::io("opening", &shown);
        create_durably(path).map_err(&failed)?;
        let dir = Dir::open_ambient_dir(path, ambient_authority()).map_err(&failed)?;
        let mut options = OpenOptions::new();
        options.create(true).append(true).mode(FILE_MODE);
        let lock = dir.open_with(LOCK, &options).map_err(&failed)?.into_std();
        match lock.try_lock() {
            Ok(()) => Ok(Self { dir, _lock: lock }),
            Err(std::fs::TryLockError::WouldBlock) => Err(StoreError::InUse { path: shown.clone() }),
            Err(std::fs::TryLockError::Error(error)) => Err(failed(error)),
        }
    }

    fn open_file(&self, path: &str) -> io::Result<(std::fs::File, Status)> {
        let mut options = OpenOptions::new();
        // Opening a pipe would otherwise wait for somebody to write to it.
        options.read(true).custom_flags(OFlags::NONBLOCK.bits().cast_signed());
        let file = self.dir.open_with(path, &options)?;
        let status = status(&file.metadata()?)?;
        Ok((file.into_std(), status))
    }
}

/// Creates a directory and those above it, and makes their entries durable: without that a crash could take the whole.
fn create_durably(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    let parent = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    create_durably(parent)?;
    match std::fs::DirBuilder::new().mode(FOLDER_MODE).create(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => std::fs::File::open(parent)?.sync_all(),
    }
}

fn status(metadata: &Metadata) -> io::Result<Status> {
    if !metadata.is_file() {
        // Nothing of the store's making: as good as nothing.
        return Err(io::ErrorKind::NotFound.into());
    }
    // The change time is the system's own, nobody sets it back.
    let stamp = Stamp(format!(
        "{}-{}-{}.{}",
        metadata.ino(),
        metadata.len(),
        metadata.ctime(),
        metadata.ctime_nsec()
    ));
    Ok(Status { bytes: metadata.len(), modified: metadata.modified()?.into_std(), stamp })
}

impl Disk for CapDisk {
    fn create_folder(&self, path: &str) -> io::Result<()> {
        let mut builder = DirBuilder::new();
        cap_std::fs::DirBuilderExt::mode(&mut builder, FOLDER_MODE);
        match self.dir.create_dir_with(path, &builder) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            result => result,
        }
    }

    fn create(&self, path: &str) -> io::Result<Box<dyn DiskFile>> {
        let mut options = OpenOptions::new();
        options.create_new(true).append(true).mode(FILE_MODE);
        Ok(Box::new(CapFile(self.dir.open_with(path, &options)?.into_std())))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.dir.rename(from, &self.dir, to)
    }

    fn sync_folder(&self, path: &str) -> io::Result<()> {
        self.dir.open(path)?.into_std().sync_all()
    }

    fn remove(&self, path: &str) -> io::Result<()> {
        self.dir.remove_file(path)
    }

    fn remove_folder(&self, path: &str) -> io::Result<()> {
        self.dir.remove_dir(path)
    }

    fn list(&self, path: &str) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in self.dir.read_dir(path)? {
            if names.len() >= NAMES_MAX {
                return Err(io::Error::other(format!(
                    "it holds more than the {NAMES_MAX} names that are read"
                )));
            }
            names.push(entry?.file_name().to_string_lossy().into_owned());
        }
        Ok(names)
    }

    fn status(&self, path: &str) -> io::Result<Status> {
        status(&self.dir.metadata(path)?)
    }

    fn read(&self, path: &str, range: Range<u64>) -> io::Result<(Status, Vec<u8>)> {
        let (file, status) = self.open_file(path)?;
        let end = range.end.min(status.bytes);
        let len = usize::try_from(end.saturating_sub(range.start)).map_err(io::Error::other)?;
        let mut bytes = vec![0; len];
        file.read_exact_at(&mut bytes, range.start)?;
        Ok((status, bytes))
    }
}

struct CapFile(std::fs::File);

impl DiskFile for CapFile {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.write_all(bytes)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.0.sync_all()
    }
}
