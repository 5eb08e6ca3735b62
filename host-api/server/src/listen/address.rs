//! Where a server listens.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;

use super::ListenError;

/// Where a server listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Listen {
    /// A TCP address, in clear; port 0 takes a free one.
    Tcp(SocketAddr),
    /// A Unix socket.
    Unix(PathBuf),
}

impl Listen {
    /// Reads `IP:PORT` or `unix:PATH`.
    ///
    /// # Errors
    /// When it is neither.
    pub fn parse(text: &str) -> Result<Self, ListenError> {
        let malformed = || ListenError::Malformed(text.into());
        match text.strip_prefix("unix:") {
            Some("") => Err(malformed()),
            Some(path) => Ok(Self::Unix(path.into())),
            None => text.parse().map(Self::Tcp).map_err(|_| malformed()),
        }
    }

    /// Where others than this machine's own can come, if they can.
    pub(super) fn reachable(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(address) if !address.ip().is_loopback() => Some(*address),
            Self::Tcp(_) | Self::Unix(_) => None,
        }
    }
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => write!(f, "{address}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_addresses() {
        assert_eq!(Listen::parse("127.0.0.1:80").unwrap(), Listen::Tcp(([127, 0, 0, 1], 80).into()));
        assert_eq!(Listen::parse("unix:/run/v.sock").unwrap(), Listen::Unix("/run/v.sock".into()));
        for text in ["", "unix:", "localhost:80", "127.0.0.1"] {
            assert!(Listen::parse(text).is_err(), "{text}");
        }
    }
}
