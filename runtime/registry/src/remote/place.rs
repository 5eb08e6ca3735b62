//! Where a version is or goes: a folder here, or a registry.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use super::reference::{Reference, ReferenceError};

/// A folder or something in a registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// A folder with an OCI image layout.
    Folder(PathBuf),
    /// A repository, and which image of it.
    Registry(Reference),
}

/// Whether a text names a registry: it starts with `oci://`, or what is before its first `/` has a `.` or `:` or is
/// `localhost`, and it does not start with `.` or `/`. What exists on this machine does not matter, so that a text means
/// the same everywhere.
pub fn names_registry(text: &str) -> bool {
    let first = text.split('/').next().unwrap_or_default();
    let is_host = first.contains(['.', ':']) || first == "localhost";
    text.starts_with("oci://") || (is_host && !text.starts_with('.') && !text.starts_with('/'))
}

impl FromStr for Place {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Self, ReferenceError> {
        if names_registry(text) {
            text.parse().map(Self::Registry)
        } else {
            Ok(Self::Folder(Path::new(text).into()))
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Folder(folder) => folder.display().fmt(f),
            Self::Registry(reference) => reference.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_folders_from_registries_without_looking() {
        for text in ["oci://registry/loan", "localhost/loan", "h:5000/loan:1.0.0", "registry.example/a/b"] {
            assert!(matches!(text.parse(), Ok(Place::Registry(_))), "{text}");
        }
        for text in ["loan", ".", "..", "./h:5000/loan", "/var/lib/h.x/loan", "policies/loan", "../a.b/c"] {
            assert_eq!(text.parse(), Ok(Place::Folder(text.into())));
        }
        assert!("h:5000/Loan".parse::<Place>().is_err());
    }
}
