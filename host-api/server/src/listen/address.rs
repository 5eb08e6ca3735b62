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
    /// A TCP address, in TLS; port 0 takes a free one.
    Tls(SocketAddr),
    /// A Unix socket.
    Unix(PathBuf),
}

impl Listen {
    /// Reads `IP:PORT`, `tls:IP:PORT` or `unix:PATH`.
    ///
    /// # Errors
    /// When it is none of them.
    pub fn parse(text: &str) -> Result<Self, ListenError> {
        let malformed = || ListenError::Malformed(text.into());
        match text.split_once(':') {
            Some(("unix", "")) => Err(malformed()),
            Some(("unix", path)) => Ok(Self::Unix(path.into())),
            Some(("tls", address)) => address.parse().map(Self::Tls).map_err(|_| malformed()),
            _ => text.parse().map(Self::Tcp).map_err(|_| malformed()),
        }
    }

    /// The same, with the port that was taken.
    pub(super) fn taken(&self, address: SocketAddr) -> Self {
        match self {
            Self::Tcp(_) => Self::Tcp(address),
            Self::Tls(_) => Self::Tls(address),
            Self::Unix(path) => Self::Unix(path.clone()),
        }
    }

    /// Where others than this machine's own can come, if they can.
    pub(super) fn reachable(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(address) | Self::Tls(address) => Some(*address).filter(|at| !at.ip().is_loopback()),
            Self::Unix(_) => None,
        }
    }
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => write!(f, "{address}"),
            Self::Tls(address) => write!(f, "tls:{address}"),
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
        assert_eq!(Listen::parse("tls:[::1]:0").unwrap(), Listen::Tls("[::1]:0".parse().unwrap()));
        assert_eq!(Listen::parse("[::]:80").unwrap().to_string(), "[::]:80");
        for text in ["", "unix:", "tls:", "tls:80", "tcp:127.0.0.1:80", "localhost:80", "127.0.0.1"] {
            assert!(Listen::parse(text).is_err(), "{text}");
        }
    }
}
