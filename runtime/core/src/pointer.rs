//! JSON Pointers, RFC 6901.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A well-formed JSON Pointer; `""` is the whole document.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Pointer(String);

/// The text is not a JSON Pointer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is not a JSON Pointer (RFC 6901); it must be empty or start with `/`, with `~` only in `~0` and `~1`"
)]
pub struct PointerError(String);

impl Pointer {
    /// The pointer as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether `pointer` names what this pointer names, or something inside it.
    pub fn is_prefix_of(&self, pointer: &str) -> bool {
        pointer.strip_prefix(self.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }
}

/// Whether `text` is a well-formed JSON Pointer.
pub fn is_pointer(text: &str) -> bool {
    if !(text.is_empty() || text.starts_with('/')) {
        return false;
    }
    text.split('~').skip(1).all(|rest| rest.starts_with(['0', '1']))
}

impl FromStr for Pointer {
    type Err = PointerError;

    fn from_str(text: &str) -> Result<Self, PointerError> {
        if is_pointer(text) {
            Ok(Self(text.into()))
        } else {
            Err(PointerError(text.chars().take(160).collect()))
        }
    }
}

impl TryFrom<String> for Pointer {
    type Error = PointerError;

    fn try_from(text: String) -> Result<Self, PointerError> {
        text.parse()
    }
}

impl From<Pointer> for String {
    fn from(pointer: Pointer) -> Self {
        pointer.0
    }
}

impl fmt::Display for Pointer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_pointers_of_rfc_6901_and_no_others() {
        for text in ["", "/", "/foo", "/foo/0", "/a~1b", "/m~0n", "/ ", "/k\"l"] {
            assert!(text.parse::<Pointer>().is_ok(), "{text}");
        }
        for text in ["a", "a/b", "/~", "/~2", "/a~", "#/a"] {
            assert!(text.parse::<Pointer>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_prefix_ends_at_a_member() {
        let roles: Pointer = "/roles".parse().unwrap();
        assert!(roles.is_prefix_of("/roles") && roles.is_prefix_of("/roles/a"));
        assert!(!roles.is_prefix_of("/roles2") && !roles.is_prefix_of("") && !roles.is_prefix_of("/role"));
        assert!(Pointer::default().is_prefix_of("/anything"));
    }
}
