//! Files that the command line names: bounded reads, and errors that name the file.

use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::path::Path;

use crate::error::{Error, Problem};

/// Reads a file of at most `bytes_max` bytes; `-` is standard input.
///
/// # Errors
/// When it cannot be read or is larger.
pub(crate) fn read(path: &Path, bytes_max: u64) -> Result<Vec<u8>, Error> {
    let failed = |error: io::Error| Error::file("read", path, &error);
    let mut bytes = Vec::new();
    let limit = bytes_max.saturating_add(1);
    if path == Path::new("-") {
        io::stdin().lock().take(limit).read_to_end(&mut bytes).map_err(failed)?;
    } else {
        File::open(path).map_err(failed)?.take(limit).read_to_end(&mut bytes).map_err(failed)?;
    }
    if u64::try_from(bytes.len()).is_ok_and(|length| length <= bytes_max) {
        Ok(bytes)
    } else {
        let message = format!("`{}` is larger than {bytes_max} bytes", path.display());
        Err(Error::Unusable(Problem::new("too-large", message).help("check that it is the right file")))
    }
}

/// Reads a UTF-8 file of at most `bytes_max` bytes; `-` is standard input.
///
/// # Errors
/// When it cannot be read, is larger, or is not UTF-8.
pub(crate) fn read_text(path: &Path, bytes_max: u64) -> Result<String, Error> {
    String::from_utf8(read(path, bytes_max)?).map_err(|_| {
        Error::Unusable(Problem::new("not-utf-8", format!("`{}` is not UTF-8 text", path.display())))
    })
}

/// Creates a folder and those above it.
///
/// # Errors
/// When it cannot be created.
pub(crate) fn create_folder(path: &Path) -> Result<(), Error> {
    std::fs::create_dir_all(path).map_err(|error| Error::file("create", path, &error))
}

/// Writes a file, replacing what was there.
///
/// # Errors
/// When it cannot be written.
pub(crate) fn write(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    std::fs::write(path, bytes).map_err(|error| Error::file("write", path, &error))
}

/// Writes a new file that only its owner can read, if `secret`; never over another one.
///
/// # Errors
/// When something is there already, or it cannot be written.
pub(crate) fn write_new(path: &Path, bytes: &[u8], secret: bool) -> Result<(), Error> {
    use std::os::unix::fs::OpenOptionsExt as _;
    let mode = if secret { 0o600 } else { 0o644 };
    let mut options = File::options();
    let file = options.write(true).create_new(true).mode(mode).open(path);
    let written = file.and_then(|mut file| file.write_all(bytes).and_then(|()| file.sync_all()));
    written.map_err(|error| Error::file("create", path, &error))
}
