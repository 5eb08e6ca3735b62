//! Why a server cannot listen.

use std::net::SocketAddr;

use super::{Listen, TlsError};
use crate::observe::TraceError;

/// The server cannot listen.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// The text is not an address.
    #[error("`{0}` is not an address; expected `IP:PORT`, `tls:IP:PORT` or `unix:PATH`")]
    Malformed(String),
    /// There is no address.
    #[error("there is nowhere to listen; give an address")]
    Nowhere,
    /// Anybody could ask.
    #[error("`{0}` can be reached by others; give `--token-file`, or listen on loopback or a Unix socket")]
    Open(SocketAddr),
    /// There is no certificate to listen with.
    #[error("`{0}` needs a certificate and its key; give `--tls-cert` and `--tls-key`")]
    NoCertificate(Listen),
    /// There is a certificate, and nothing that would show it.
    #[error("no address is one for TLS, so the certificate would not be used; listen at `tls:IP:PORT`")]
    NoTls,
    /// Nobody asks for the certificates that would say who asks.
    #[error("nobody would be asked for a certificate that says which workload it is; give `--tls-client-ca`")]
    NoClientCa,
    /// The certificate cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// Traces cannot be exported.
    #[error(transparent)]
    Traces(#[from] TraceError),
    /// The text is not the origin of a page.
    #[error(
        "`{0}` is not an origin; expected `https://HOST`, with a port where it is not the default, or `*`"
    )]
    Origin(String),
    /// The operating system says no.
    #[error("cannot listen on `{0}`: {1}")]
    Bind(Listen, std::io::Error),
    /// The operating system fails.
    #[error("listening failed: {0}")]
    Io(#[from] std::io::Error),
}
