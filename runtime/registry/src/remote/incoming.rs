//! A folder that a version is written to: it appears whole or not at all.
//!
//! A new folder is written under another name beside it and renamed at the end. An interruption leaves that other
//! folder, and the next run takes from it what has arrived. A layout that is there already gets its blobs first and
//! its index, in one step, last.

use std::fs::File;
use std::path::{Path, PathBuf};

use verdict_core::digest::Digest;
use verdict_core::oci::Descriptor;
use verdict_core::refusal::RefusalCode;

use super::error::RemoteError;
use crate::error::RegistryError;
use crate::find::{MARKER, UNFINISHED};
use crate::folder::Folder;
use crate::layout::{self, BLOBS, Layout};

/// A folder in the making.
pub(crate) struct Incoming {
    target: PathBuf,
    writing: PathBuf,
    folder: Folder,
    /// The same image is there, and only statements are added.
    present: Option<Layout>,
    /// Held until the end, so that nobody else writes the same.
    _lock: File,
}

impl Incoming {
    /// Begins to write `image` into a folder. One with another image in it is refused, unless `force`.
    pub(crate) fn begin(target: &Path, image: Digest, force: bool) -> Result<Self, RemoteError> {
        let target = without_end(target);
        let is_layout = target.join(MARKER).is_file();
        if !is_layout && !is_free(&target) {
            return Err(RegistryError::Occupied(target).into());
        }
        let present = if is_layout { present(&target, image, force)? } else { None };
        let writing = if is_layout { target.clone() } else { beside(&target)? };
        let folder = Folder::create(&writing)?;
        let lock = lock(&writing)?;
        folder.create_folders(BLOBS)?;
        Ok(Self { target, writing, folder, present, _lock: lock })
    }

    /// Whether the blob is there, whole.
    pub(crate) fn has(&self, descriptor: &Descriptor, bytes_max: usize) -> bool {
        let bytes = self.folder.read(&layout::blob_path(descriptor.digest), bytes_max);
        bytes.is_ok_and(|bytes| descriptor.describes(&bytes))
    }

    /// Writes a blob or manifest.
    pub(crate) fn write(&self, digest: Digest, bytes: &[u8]) -> Result<(), RemoteError> {
        Ok(self.folder.write(BLOBS, &digest.hex(), bytes)?)
    }

    /// Names what was written, which is there from now on.
    pub(crate) fn finish(self, image: &Descriptor, referrers: Vec<Descriptor>) -> Result<(), RemoteError> {
        if let Some(layout) = &self.present {
            return Ok(layout.list_referrers(referrers)?);
        }
        layout::write_index(&self.folder, image, referrers)?;
        if self.writing == self.target {
            return Ok(());
        }
        layout::write_marker(&self.folder)?;
        let failed = |error| RegistryError::Write { path: self.target.clone(), error };
        std::fs::rename(&self.writing, &self.target).map_err(failed)?;
        // A name is durable when the folder that holds it is.
        let parent = self.target.parent().filter(|parent| !parent.as_os_str().is_empty());
        let parent = File::open(parent.unwrap_or(Path::new("."))).map_err(failed)?;
        Ok(parent.sync_all().map_err(failed)?)
    }

    /// Removes what was written of a version that turned out to be none; a layout that was there stays.
    pub(crate) fn discard(self) {
        if self.writing != self.target {
            // What stays is in nobody's way, and is looked at again by the next run.
            let _ = std::fs::remove_dir_all(&self.writing);
        }
    }
}

/// The layout, if it holds `image`.
fn present(target: &Path, image: Digest, force: bool) -> Result<Option<Layout>, RemoteError> {
    match Layout::open(target) {
        Ok(layout) if layout.image_digest() == image => Ok(Some(layout)),
        Ok(layout) if !force => Err(RemoteError::Published {
            place: target.display().to_string(),
            found: layout.image_digest(),
            image,
        }),
        Err(refusal) if !force && refusal.code != RefusalCode::Unreadable => Err(refusal.into()),
        _ => Ok(None),
    }
}

/// Whether there is nothing, or an empty folder.
fn is_free(target: &Path) -> bool {
    match std::fs::read_dir(target) {
        Ok(mut entries) => entries.next().is_none(),
        Err(error) => error.kind() == std::io::ErrorKind::NotFound,
    }
}

fn without_end(target: &Path) -> PathBuf {
    // `a/b/` and `a/b/.` have to have a name to rename to.
    target.components().collect()
}

fn beside(target: &Path) -> Result<PathBuf, RemoteError> {
    let name = target.file_name().ok_or_else(|| RegistryError::Occupied(target.into()))?;
    Ok(target.with_file_name(format!(".{}{UNFINISHED}", name.to_string_lossy())))
}

fn lock(folder: &Path) -> Result<File, RemoteError> {
    let failed = |error| RegistryError::Write { path: folder.into(), error };
    let file = File::open(folder).map_err(failed)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(std::fs::TryLockError::WouldBlock) => Err(RemoteError::Busy(folder.into())),
        Err(std::fs::TryLockError::Error(error)) => Err(failed(error).into()),
    }
}
