//! A folder that somebody else may have written: nothing in it leads out of it, blocks, or is larger than asked for.

use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

use cap_std::ambient_authority;
use cap_std::fs::{Dir, OpenOptions, OpenOptionsExt as _};
use rustix::fs::OFlags;
use verdict_core::refusal::{Refusal, RefusalCode};

use crate::error::RegistryError;

/// A folder and its name for messages.
#[derive(Debug)]
pub(crate) struct Folder {
    dir: Dir,
    path: PathBuf,
}

impl Folder {
    pub(crate) fn open(path: &Path) -> Result<Self, Refusal> {
        let dir =
            Dir::open_ambient_dir(path, ambient_authority()).map_err(|error| unreadable(path, &error))?;
        Ok(Self { dir, path: path.into() })
    }

    /// The folder, made if it is missing.
    pub(crate) fn create(path: &Path) -> Result<Self, RegistryError> {
        let failed = |error| RegistryError::Write { path: path.into(), error };
        Dir::create_ambient_dir_all(path, ambient_authority()).map_err(failed)?;
        let folder = Self::open(path)?;
        // A folder is durable when the one that names it is.
        let parent = folder.dir.open_parent_dir(ambient_authority()).map_err(failed)?;
        sync(&parent).map_err(failed)?;
        Ok(folder)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The names in the folder, at most `count_max` of them.
    pub(crate) fn names(&self, count_max: usize) -> Result<Vec<String>, Refusal> {
        let failed = |error| unreadable(&self.path, &error);
        let mut names = Vec::new();
        for entry in self.dir.entries().map_err(failed)?.take(count_max) {
            names.push(entry.map_err(failed)?.file_name().to_string_lossy().into_owned());
        }
        Ok(names)
    }

    /// A file of at most `bytes_max` bytes.
    pub(crate) fn read(&self, name: &str, bytes_max: usize) -> Result<Vec<u8>, Refusal> {
        let path = self.path.join(name);
        let failed = |error| unreadable(&path, &error);
        let too_large = || {
            let message = format!("`{}` is larger than the {bytes_max} bytes that are read", path.display());
            Refusal::new(RefusalCode::TooLarge, message)
        };
        let bound = u64::try_from(bytes_max).unwrap_or(u64::MAX);
        let mut options = OpenOptions::new();
        // Opening a pipe would otherwise wait for somebody to write to it.
        options.read(true).custom_flags(OFlags::NONBLOCK.bits().cast_signed());
        let file = self.dir.open_with(name, &options).map_err(failed)?;
        let metadata = file.metadata().map_err(failed)?;
        if !metadata.is_file() {
            return Err(failed(io::Error::other("it is not a file")));
        }
        if metadata.len() > bound {
            return Err(too_large());
        }
        let mut bytes = Vec::new();
        // It may have grown since it was measured.
        file.take(bound.saturating_add(1)).read_to_end(&mut bytes).map_err(failed)?;
        if bytes.len() > bytes_max { Err(too_large()) } else { Ok(bytes) }
    }

    /// Makes the folders that `name` leads through, durably.
    pub(crate) fn create_folders(&self, name: &str) -> Result<(), RegistryError> {
        let failed = |error| RegistryError::Write { path: self.path.join(name), error };
        self.dir.create_dir_all(name).map_err(failed)?;
        let mut parent = Some(Path::new(name));
        while let Some(path) = parent {
            let dir =
                if path.as_os_str().is_empty() { self.dir.try_clone() } else { self.dir.open_dir(path) };
            sync(&dir.map_err(failed)?).map_err(failed)?;
            parent = path.parent();
        }
        Ok(())
    }

    /// Puts a file into the existing subfolder `folder`, so that at any moment the whole old or the whole new one is
    /// there; when it returns, the new one stays there.
    pub(crate) fn write(&self, folder: &str, name: &str, bytes: &[u8]) -> Result<(), RegistryError> {
        let path = self.path.join(folder).join(name);
        let failed = |error| RegistryError::Write { path: path.clone(), error };
        let dir = if folder.is_empty() { self.dir.try_clone() } else { self.dir.open_dir(folder) };
        let dir = dir.map_err(failed)?;
        let write = || {
            let temporary = format!(".{name}.tmp");
            let mut file = dir.create(&temporary)?;
            file.write_all(bytes)?;
            // The bytes come before the name.
            file.sync_all()?;
            dir.rename(&temporary, &dir, name)?;
            sync(&dir)
        };
        write().map_err(failed)
    }
}

fn sync(dir: &Dir) -> io::Result<()> {
    // The handle itself is one for paths only; what is opened through it can be synced.
    dir.open(".")?.sync_all()
}

pub(crate) fn unreadable(path: &Path, error: &io::Error) -> Refusal {
    Refusal::new(RefusalCode::Unreadable, format!("`{}` cannot be read: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(result: Result<Vec<u8>, Refusal>) -> Option<RefusalCode> {
        result.err().map(|refusal| refusal.code)
    }

    #[test]
    fn reads_what_it_wrote_and_leaves_nothing_behind() {
        let temporary = tempfile::tempdir().unwrap();
        let folder = Folder::create(&temporary.path().join("a/b")).unwrap();
        folder.create_folders("c/d").unwrap();
        folder.write("c/d", "e", b"old").unwrap();
        folder.write("c/d", "e", b"new").unwrap();
        assert_eq!(folder.read("c/d/e", 3).unwrap(), b"new");
        assert_eq!(std::fs::read_dir(temporary.path().join("a/b/c/d")).unwrap().count(), 1);
    }

    #[test]
    fn never_leaves_the_folder_and_never_waits() {
        let temporary = tempfile::tempdir().unwrap();
        std::fs::write(temporary.path().join("secret"), "secret").unwrap();
        let root = temporary.path().join("root");
        let folder = Folder::create(&root).unwrap();
        std::os::unix::fs::symlink("../secret", root.join("relative")).unwrap();
        std::os::unix::fs::symlink(temporary.path().join("secret"), root.join("absolute")).unwrap();
        std::os::unix::fs::symlink("loop", root.join("loop")).unwrap();
        rustix::fs::mknodat(rustix::fs::CWD, root.join("pipe"), rustix::fs::FileType::Fifo, 0o600.into(), 0)
            .unwrap();
        for name in ["relative", "absolute", "loop", "pipe", "../secret", "missing", "."] {
            assert_eq!(code(folder.read(name, 100)), Some(RefusalCode::Unreadable), "{name}");
        }
    }

    #[test]
    fn reads_no_more_than_asked_for() {
        let temporary = tempfile::tempdir().unwrap();
        let folder = Folder::create(temporary.path()).unwrap();
        folder.write("", "large", &[0; 11]).unwrap();
        assert_eq!(code(folder.read("large", 10)), Some(RefusalCode::TooLarge));
    }
}
