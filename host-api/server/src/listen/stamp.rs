//! How a file is, to see that it has changed.

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::SystemTime;

/// How a file is; none where it is not there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stamp(Option<(SystemTime, u64, u64)>);

impl Stamp {
    /// Of what a link points to: that is how secrets are swapped that are mounted.
    pub(super) fn of(path: &Path) -> Self {
        let metadata = std::fs::metadata(path);
        let stamp = metadata.and_then(|file| Ok((file.modified()?, file.len(), file.ino())));
        Self(stamp.ok())
    }
}
