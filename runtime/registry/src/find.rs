//! Every layout below a folder.

use std::io;
use std::path::{Path, PathBuf};

use verdict_core::refusal::{Refusal, RefusalCode};

use crate::folder::unreadable;

/// How deep below the folder a layout may be.
const DEPTH_MAX: usize = 8;
/// How many entries are looked at.
const ENTRIES_MAX: usize = 200_000;
/// The file that makes a folder a layout.
pub(crate) const MARKER: &str = "oci-layout";
/// How the name of a folder ends that is still being written.
pub(crate) const UNFINISHED: &str = ".unfinished";

/// Every layout below `folder`, itself included, sorted by path. Links are not followed, and nothing below a layout is
/// looked at. A folder that cannot be read is listed as well: opening it says why.
///
/// # Errors
/// When `folder` cannot be read, or there is too much below it.
pub fn find(folder: &Path) -> Result<Vec<PathBuf>, Refusal> {
    let mut found = Vec::new();
    let mut entries = 0;
    let mut open = vec![(folder.to_path_buf(), 0)];
    while let Some((path, depth)) = open.pop() {
        match look(&path, &mut entries) {
            Ok(Looked::Layout) => found.push(path),
            Ok(Looked::Folders(folders)) if depth < DEPTH_MAX => {
                open.extend(folders.into_iter().map(|folder| (folder, depth + 1)));
            }
            Ok(Looked::Folders(_)) => {}
            Err(error) if depth == 0 => return Err(unreadable(&path, &error)),
            Err(_) => found.push(path),
        }
        if entries > ENTRIES_MAX {
            let message = format!("`{}` has more than {ENTRIES_MAX} entries below it", folder.display());
            return Err(Refusal::new(RefusalCode::TooLarge, message));
        }
    }
    found.sort();
    Ok(found)
}

enum Looked {
    Layout,
    Folders(Vec<PathBuf>),
}

fn look(path: &Path, entries: &mut usize) -> io::Result<Looked> {
    let mut folders = Vec::new();
    for entry in std::fs::read_dir(path)?.take(ENTRIES_MAX + 1) {
        let entry = entry?;
        *entries += 1;
        if entry.file_name() == MARKER {
            return Ok(Looked::Layout);
        }
        // This is the type of the entry itself: a link is not a folder.
        let is_unfinished = entry.file_name().to_string_lossy().ends_with(UNFINISHED);
        if entry.file_type()?.is_dir() && !is_unfinished {
            folders.push(entry.path());
        }
    }
    Ok(Looked::Folders(folders))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn layout(path: &Path) -> PathBuf {
        fs::create_dir_all(path).unwrap();
        fs::write(path.join(MARKER), "").unwrap();
        path.into()
    }

    #[test]
    fn finds_every_layout_and_stops_at_each() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path();
        let expected = vec![layout(&root.join("a")), layout(&root.join("b/c/d"))];
        layout(&root.join("a/inner"));
        layout(&root.join(".c.unfinished"));
        layout(&root.join("1/2/3/4/5/6/7/8/9"));
        fs::write(root.join("file"), "").unwrap();
        assert_eq!(find(root).unwrap(), expected);
        assert_eq!(find(&expected[0]).unwrap(), [expected[0].clone()]);
    }

    #[test]
    fn follows_no_links() {
        let (root, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        layout(other.path());
        std::os::unix::fs::symlink(other.path(), root.path().join("link")).unwrap();
        std::os::unix::fs::symlink(root.path(), root.path().join("loop")).unwrap();
        assert!(find(root.path()).unwrap().is_empty());
    }

    #[test]
    fn says_when_there_is_no_such_folder() {
        assert_eq!(find(Path::new("/no/such/folder")).unwrap_err().code, RefusalCode::Unreadable);
    }
}
