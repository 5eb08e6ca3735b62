//! The name of a log.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use crate::LedgerError;

/// The name of one log of a ledger; in Verdict a tenant's. `[a-z0-9]([a-z0-9-]*[a-z0-9])?`, up to 63 bytes, so that it
/// is safe as a file name and as a part of a URL.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LogName(Arc<str>);

impl LogName {
    /// The longest name. Bytes.
    pub const BYTES_MAX: usize = 63;

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for LogName {
    type Err = LedgerError;

    fn from_str(text: &str) -> Result<Self, LedgerError> {
        let alphanumeric = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        let bytes = text.as_bytes();
        let ends = bytes.first().is_some_and(alphanumeric) && bytes.last().is_some_and(alphanumeric);
        let middle = bytes.iter().all(|byte| alphanumeric(byte) || *byte == b'-');
        if ends && middle && bytes.len() <= Self::BYTES_MAX {
            Ok(Self(text.into()))
        } else {
            Err(LedgerError::LogName { name: text.chars().take(80).collect() })
        }
    }
}

impl fmt::Display for LogName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accepts_only_names_safe_in_paths() {
        for good in ["a", "0", "a-b", "default", &"x".repeat(63)] {
            assert_eq!(good.parse::<LogName>().unwrap().as_str(), good);
        }
        for wrong in ["", "-", "a-", "-a", "A", "a.b", "..", "a/b", "a b", "ä", &"x".repeat(64)] {
            assert!(wrong.parse::<LogName>().is_err(), "{wrong}");
        }
    }
}
