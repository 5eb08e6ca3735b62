//! TLS 1.3: the certificate that is shown, read again when its files change, and the certificates that are asked for.
//!
//! A new certificate counts from the next connection on. Where the files cannot be used, those read before go on, and
//! the log and `/health/ready` say so.

mod certificate;
mod files;

use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::version::TLS13;
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use verdict::core::time::Timestamp;

use super::LOOK_EVERY;
use super::condition::Condition;
use super::stamp::Stamp;

pub(super) use certificate::Leaf;

/// What is spoken in TLS (RFC 7301), the first that a client speaks too.
const PROTOCOLS: [&[u8]; 2] = [HTTP2, b"http/1.1"];
/// HTTP/2, as it is called there.
pub(super) const HTTP2: &[u8] = b"h2";

/// Where the certificate is that is shown, in PEM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsOptions {
    /// The certificate, and those between it and its root, in this order.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
    /// The roots of the certificates that clients must show; none are asked for if there is no such file.
    pub client_ca: Option<PathBuf>,
}

/// The certificate cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read.
    #[error("`{0}` cannot be read: {1}")]
    File(PathBuf, io::Error),
    /// A file has something else than it should.
    #[error("`{0}` has no {1} in PEM that can be read")]
    Malformed(PathBuf, &'static str),
    /// The files do not go together.
    #[error("the certificate in `{0}` cannot be used with its key: {1}")]
    Certificate(PathBuf, rustls::Error),
    /// The roots of clients are none.
    #[error("the client CA in `{0}` cannot be used: {1}")]
    ClientCa(PathBuf, String),
}

/// What TLS is spoken with.
pub(super) struct Tls {
    options: TlsOptions,
    condition: Arc<Condition>,
    current: RwLock<Arc<ServerConfig>>,
    /// How the files were when they were read last.
    stamp: Mutex<Vec<Stamp>>,
}

impl Tls {
    /// Reads the files.
    ///
    /// # Errors
    /// When they cannot be used.
    pub(super) fn open(options: TlsOptions, condition: Arc<Condition>) -> Result<Self, TlsError> {
        let stamp = Mutex::new(stamp(&options));
        let current = RwLock::new(Arc::new(config(&options)?));
        files::warn_of_readers(&options.key);
        condition.certificate_is_new(ends(&options));
        Ok(Self { options, condition, current, stamp })
    }

    /// Agrees with a client on how to speak.
    ///
    /// # Errors
    /// When it does not speak TLS 1.3, shows no certificate that counts where one is asked for, or breaks off.
    pub(super) async fn greet(&self, stream: TcpStream) -> io::Result<TlsStream<TcpStream>> {
        let config = Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner));
        TlsAcceptor::from(config).accept(stream).await
    }

    /// Reads the files again.
    pub(super) fn reload(&self) {
        self.read(&mut self.stamp.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// Reads the files again whenever they have changed.
    pub(super) async fn follow(self: Arc<Self>) {
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            let tls = Arc::clone(&self);
            let look = move || {
                let mut seen = tls.stamp.lock().unwrap_or_else(PoisonError::into_inner);
                if *seen != stamp(&tls.options) {
                    tls.read(&mut seen);
                }
            };
            drop(tokio::task::spawn_blocking(look).await);
        }
    }

    fn read(&self, seen: &mut Vec<Stamp>) {
        // Before reading: what changes meanwhile is read once more.
        *seen = stamp(&self.options);
        let read = config(&self.options);
        match read {
            Ok(config) => {
                *self.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(config);
                files::warn_of_readers(&self.options.key);
                self.condition.certificate_is_new(ends(&self.options));
                tracing::info!("read the certificate again");
            }
            Err(error) => {
                self.condition.certificate_is_old();
                tracing::error!(%error, "the certificate was not read again; the one before goes on");
            }
        }
    }
}

/// Until when the certificate counts.
fn ends(options: &TlsOptions) -> Option<Timestamp> {
    let chain = files::chain(&options.certificate).ok()?;
    Some(Leaf::read(chain.first()?)?.not_after)
}

fn stamp(options: &TlsOptions) -> Vec<Stamp> {
    let files = [Some(&options.certificate), Some(&options.key), options.client_ca.as_ref()];
    files.into_iter().flatten().map(|path| Stamp::of(path)).collect()
}

fn config(options: &TlsOptions) -> Result<ServerConfig, TlsError> {
    let unusable = |error| TlsError::Certificate(options.certificate.clone(), error);
    let (chain, key) = (files::chain(&options.certificate)?, files::key(&options.key)?);
    // Said here: else the library chooses by the features that all crates together ask for.
    let provider = Arc::new(aws_lc_rs::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider));
    let builder = builder.with_protocol_versions(&[&TLS13]).map_err(unusable)?;
    let builder = match &options.client_ca {
        None => builder.with_no_client_auth(),
        Some(path) => {
            let failed = |error: &dyn std::fmt::Display| TlsError::ClientCa(path.clone(), error.to_string());
            let mut roots = rustls::RootCertStore::empty();
            for root in files::chain(path)? {
                roots.add(root).map_err(|error| failed(&error))?;
            }
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
            builder.with_client_cert_verifier(verifier.build().map_err(|error| failed(&error))?)
        }
    };
    let mut config = builder.with_single_cert(chain, key).map_err(unusable)?;
    config.alpn_protocols = PROTOCOLS.map(Vec::from).into();
    if options.client_ca.is_some() {
        // A session that is taken up again would be a certificate that is not looked at again.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
    }
    Ok(config)
}
