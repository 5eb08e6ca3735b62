//! What a ledger asks of the place it is kept in.

use std::io;

/// A tree of folders and files with the durability rules of a POSIX file system, and no kinder ones: a crash may undo
/// whatever was not synced. The ledger composes everything it needs (durable creation, atomic replacement) out of
/// these steps, so that a test can take each step away.
///
/// Paths are relative, with `/` between their parts and without `.` or `..`; the empty path is the root folder.
pub trait Storage: Send + Sync {
    /// Creates an empty file. Fails with `AlreadyExists` if the path exists, `NotFound` if its folder does not.
    /// A crash may undo it until the folder is synced.
    ///
    /// # Errors
    /// Any I/O error.
    fn create(&self, path: &str) -> io::Result<Box<dyn StorageFile>>;

    /// Creates a folder in an existing one. Succeeds if it exists already. A crash may undo it until the outer folder
    /// is synced.
    ///
    /// # Errors
    /// Any I/O error.
    fn create_folder(&self, path: &str) -> io::Result<()>;

    /// Makes the folder's entries durable: what was created, renamed and removed in it. Not what is in its files.
    ///
    /// # Errors
    /// Any I/O error; the entries are then in an unknown state.
    fn sync_folder(&self, path: &str) -> io::Result<()>;

    /// Renames a file, atomically in the place of another one if there is one. A crash may undo it until the folder
    /// is synced, and leaves the one or the other.
    ///
    /// # Errors
    /// Any I/O error.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    /// Removes a file.
    ///
    /// # Errors
    /// Any I/O error, `NotFound` if there is none.
    fn remove(&self, path: &str) -> io::Result<()>;

    /// Removes a folder and everything in it.
    ///
    /// # Errors
    /// Any I/O error, `NotFound` if there is none.
    fn remove_folder(&self, path: &str) -> io::Result<()>;

    /// The names in a folder, in any order.
    ///
    /// # Errors
    /// Any I/O error, `NotFound` if there is no such folder.
    fn list(&self, path: &str) -> io::Result<Vec<String>>;

    /// The length of a file in bytes.
    ///
    /// # Errors
    /// Any I/O error, `NotFound` if there is none.
    fn len(&self, path: &str) -> io::Result<u64>;

    /// Reads up to `bytes_max` bytes from `offset`; fewer only at the end of the file. Sees what was appended, synced
    /// or not.
    ///
    /// # Errors
    /// Any I/O error, `NotFound` if there is no such file.
    fn read(&self, path: &str, offset: u64, bytes_max: usize) -> io::Result<Vec<u8>>;
}

/// A file that was created and is being appended to. Dropped, it gives back what was reserved and not used; a crash may
/// leave it.
pub trait StorageFile: Send {
    /// Appends all the bytes. After an error any part of them may be there.
    ///
    /// # Errors
    /// Any I/O error.
    fn append(&mut self, bytes: &[u8]) -> io::Result<()>;

    /// Reserves the next `bytes` bytes, or a part of them, for appends: what is appended there changes neither the
    /// length of the file nor its place on the disk, and a sync has only the bytes to write. Where a file system keeps
    /// a journal of its own that is most of what a sync costs. Until then zeros are read there.
    ///
    /// # Errors
    /// Any I/O error; `Unsupported` where nothing can be gained. The file is as it was, and appends make it longer.
    fn reserve(&mut self, bytes: u64) -> io::Result<()>;

    /// Makes everything appended so far durable (`fdatasync`). After an error nobody knows what is, and calling it
    /// again would tell a lie: the caller must not.
    ///
    /// # Errors
    /// Any I/O error.
    fn sync(&mut self) -> io::Result<()>;
}
