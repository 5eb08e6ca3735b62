//! Listening, limits on connections, reloading and draining.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::GracefulShutdown;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener, UnixStream};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use verdict::Host;
use verdict::registry::publish::Publisher;
use verdict::registry::repository::Registry;

use crate::access::{self, Access, Origin};
use crate::api;
use crate::door::Door;
use crate::oci::{self, Oci};
use crate::routes::App;
use crate::transitions;

/// Where a server listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Listen {
    /// A TCP address; port 0 takes a free one.
    Tcp(SocketAddr),
    /// A Unix socket.
    Unix(PathBuf),
}

/// What a server needs to know.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where to listen.
    pub listen: Listen,
    /// Who may ask; needed for addresses that others can reach.
    pub access: Access,
    /// What is served at `/v2/`, where OCI clients look for it, and administered below `/v1/`; nothing if there is none.
    pub registry: Option<Registry>,
    /// What takes signed documents into its registry, which is then the one that is served; nobody puts any if there is
    /// none.
    pub publisher: Option<Publisher>,
    /// The origins whose pages may ask, such as `https://console.example`, or `*` for all (CORS); none if empty.
    pub cors: Vec<String>,
    /// The most connections at a time; more wait in the kernel's queue.
    pub connections_max: usize,
    /// The largest request body, in bytes.
    pub body_bytes_max: usize,
    /// How long a client may take for its request's head.
    pub header_timeout: Duration,
    /// How long a request may take as a whole; for what is pushed into the registry, how long to wait for its next
    /// byte.
    pub request_timeout: Duration,
    /// How many evaluations with a large fuel limit may run at a time.
    pub long_evaluations_max: usize,
    /// How long open requests may take to finish when the server stops.
    pub drain_timeout: Duration,
}

impl Options {
    /// Safe defaults.
    pub fn new(listen: Listen) -> Self {
        Self {
            listen,
            access: Access::default(),
            registry: None,
            publisher: None,
            cors: Vec::new(),
            connections_max: 4_096,
            body_bytes_max: 2 << 20,
            header_timeout: Duration::from_secs(5),
            request_timeout: Duration::from_secs(30),
            long_evaluations_max: 64,
            drain_timeout: Duration::from_secs(10),
        }
    }

    pub(crate) fn served_registry(&self) -> Option<Registry> {
        let of_publisher = || self.publisher.as_ref().map(|publisher| publisher.registry().clone());
        self.registry.clone().or_else(of_publisher)
    }
}

/// The server cannot listen.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// The text is not an address.
    #[error("`{0}` is not an address; expected `IP:PORT` or `unix:PATH`")]
    Malformed(String),
    /// Anybody could ask.
    #[error("`{0}` can be reached by others; give `--token-file`, or listen on loopback or a Unix socket")]
    Open(SocketAddr),
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
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => write!(f, "{address}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener),
}

/// A server that is bound, and not yet serving.
pub struct Server {
    host: Option<Host>,
    options: Options,
    listener: Listener,
    address: Listen,
    break_glass: Option<UnixListener>,
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("address", &self.address).finish_non_exhaustive()
    }
}

impl Server {
    /// Binds the address. Without a host it serves a registry and decides nothing.
    ///
    /// # Errors
    /// When others can reach it and no tokens are given, or the operating system refuses.
    pub async fn bind(host: impl Into<Option<Host>>, mut options: Options) -> Result<Self, ListenError> {
        let host: Option<Host> = host.into();
        if let Some(host) = host.clone() {
            // What would not load never becomes the state of a channel.
            let trial = Arc::new(move |artifact: &_| host.try_loading(artifact));
            options.publisher = options.publisher.map(|publisher| publisher.with_trial(trial));
        }
        let failed = |error| ListenError::Bind(options.listen.clone(), error);
        let (listener, address) = match &options.listen {
            Listen::Tcp(address) => {
                if !address.ip().is_loopback() && options.access.is_open() {
                    return Err(ListenError::Open(*address));
                }
                let listener = TcpListener::bind(address).await.map_err(failed)?;
                let address = Listen::Tcp(listener.local_addr().map_err(failed)?);
                (Listener::Tcp(listener), address)
            }
            Listen::Unix(path) => {
                remove_stale_socket(path).await.map_err(failed)?;
                let listener = UnixListener::bind(path).map_err(failed)?;
                (Listener::Unix(listener), options.listen.clone())
            }
        };
        api::check_origins(&options.cors)?;
        let break_glass = match options.access.socket() {
            None => None,
            Some(path) => {
                let failed = |error| ListenError::Bind(Listen::Unix(path.to_owned()), error);
                remove_stale_socket(path).await.map_err(failed)?;
                Some(access::bind(path).map_err(failed)?)
            }
        };
        Ok(Self { host, options, listener, address, break_glass })
    }

    /// Where it listens, with the port that was taken.
    pub fn address(&self) -> &Listen {
        &self.address
    }

    /// Serves until SIGTERM or SIGINT, then finishes the open requests. SIGHUP reads the policies again.
    ///
    /// # Errors
    /// When the operating system does not let it handle signals.
    pub async fn run(self) -> Result<(), ListenError> {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut hangup = signal(SignalKind::hangup())?;
        let app = Arc::new(App::new(self.host.clone(), &self.options));
        let registry = self.options.served_registry();
        let collector = registry.clone().map(|registry| tokio::spawn(oci::collect(registry)));
        let transitions = self.host.clone().zip(registry.as_ref()).map(|(host, registry)| {
            // What happens in the registry is in the log of the host that is beside it.
            transitions::follow(host, registry.catalogue().clone())
        });
        let door = Arc::new(self.door(&app, registry));
        let graceful = GracefulShutdown::new();
        let connections = Arc::new(Semaphore::new(self.options.connections_max));
        loop {
            tokio::select! {
                accepted = self.accept(&connections) => {
                    if let Some((io, permit)) = accepted {
                        self.serve(io, permit, &door, &graceful, Origin::Network);
                    }
                }
                stream = self.break_glass() => {
                    // Never kept waiting by those who come from the network.
                    let permit = Arc::new(Semaphore::new(1)).try_acquire_owned();
                    if let (Some(stream), Ok(permit)) = (stream, permit) {
                        self.serve(Box::new(stream), permit, &door, &graceful, Origin::BreakGlass);
                    }
                }
                _ = hangup.recv() => self.reload(),
                _ = terminate.recv() => break,
                _ = interrupt.recv() => break,
            }
        }
        tracing::info!("draining");
        app.stop();
        if let Some(collector) = collector {
            collector.abort();
        }
        let Self { host, listener, address, options, break_glass } = self;
        // New connections are refused from here on, so that a load balancer turns elsewhere.
        drop((listener, break_glass));
        let own = if let Listen::Unix(path) = &address { Some(path.as_path()) } else { None };
        for path in own.into_iter().chain(options.access.socket()) {
            let _ = std::fs::remove_file(path);
        }
        if tokio::time::timeout(options.drain_timeout, graceful.shutdown()).await.is_err() {
            tracing::warn!("some requests did not finish in time");
        }
        drop(transitions);
        let flush = move || {
            options.access.flush();
            host.map_or(Ok(()), |host| host.flush())
        };
        let flushed = tokio::task::spawn_blocking(flush).await;
        if let Ok(Err(error)) = flushed {
            tracing::error!(%error, "the last checkpoint could not be written");
        }
        Ok(())
    }

    fn door(&self, app: &Arc<App>, registry: Option<Registry>) -> Door {
        Door {
            router: api::router(app, &self.options),
            oci: registry.map(|registry| Arc::new(Oci::new(registry, &self.options))),
            app: Arc::clone(app),
            request_timeout: self.options.request_timeout,
            body_bytes_max: self.options.body_bytes_max,
            has_other_origins: !self.options.cors.is_empty(),
        }
    }

    fn reload(&self) {
        let (access, host) = (self.options.access.clone(), self.host.clone());
        let again = move || {
            access.reload();
            if let Some(host) = &host {
                reload(host);
            }
        };
        drop(tokio::task::spawn_blocking(again));
    }

    /// The next one who comes by the break-glass socket, and owns it; never where there is none.
    async fn break_glass(&self) -> Option<UnixStream> {
        let Some(listener) = &self.break_glass else { return std::future::pending().await };
        match listener.accept().await {
            Ok((stream, _)) if access::is_owner(&stream) => Some(stream),
            Ok(_) => {
                tracing::warn!("somebody else than the owner came to the break-glass socket");
                None
            }
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(Duration::from_millis(50)).await;
                None
            }
        }
    }

    async fn accept(&self, connections: &Arc<Semaphore>) -> Option<(Box<dyn Io>, OwnedSemaphorePermit)> {
        let permit = Arc::clone(connections).acquire_owned().await.ok()?;
        let accepted: std::io::Result<Box<dyn Io>> = match &self.listener {
            Listener::Tcp(listener) => listener.accept().await.map(|(stream, _)| {
                // An answer is one small packet; waiting for more to send would only delay it.
                let _ = stream.set_nodelay(true);
                Box::new(stream) as Box<dyn Io>
            }),
            Listener::Unix(listener) => {
                listener.accept().await.map(|(stream, _)| Box::new(stream) as Box<dyn Io>)
            }
        };
        match accepted {
            Ok(io) => Some((io, permit)),
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                // Out of file descriptors: trying again at once would only spin.
                tokio::time::sleep(Duration::from_millis(50)).await;
                None
            }
        }
    }

    fn serve(
        &self,
        io: Box<dyn Io>,
        permit: OwnedSemaphorePermit,
        door: &Arc<Door>,
        graceful: &GracefulShutdown,
        origin: Origin,
    ) {
        let door = Arc::clone(door);
        let service = service_fn(move |request| Arc::clone(&door).answer(request, origin));
        let mut builder = auto::Builder::new(TokioExecutor::new());
        builder
            .http1()
            .timer(TokioTimer::new())
            .header_read_timeout(self.options.header_timeout)
            .max_buf_size(64 << 10);
        builder
            .http2()
            .timer(TokioTimer::new())
            .max_concurrent_streams(256)
            .max_header_list_size(32 << 10)
            .keep_alive_interval(Duration::from_secs(20));
        let connection = builder.serve_connection(TokioIo::new(io), service).into_owned();
        let connection = graceful.watch(connection);
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(error, "a connection ended early");
            }
            drop(permit);
        });
    }
}

trait Io: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

fn reload(host: &Host) {
    match host.reload() {
        Ok(()) => {
            let (policies, quarantined) = (host.policies().len(), host.quarantine());
            tracing::info!(policies, quarantined = quarantined.len(), "read the policies again");
            for artifact in quarantined {
                tracing::warn!(path = %artifact.path.display(), refusal = %artifact.refusal, "refused");
            }
        }
        Err(error) => tracing::error!(%error, "reading the policies again failed; the loaded ones go on"),
    }
}

/// A socket file that a killed server left behind would keep the next one from starting. One that answers is in use.
async fn remove_stale_socket(path: &std::path::Path) -> std::io::Result<()> {
    use std::os::unix::fs::FileTypeExt;
    let Ok(metadata) = std::fs::symlink_metadata(path) else { return Ok(()) };
    if !metadata.file_type().is_socket() || tokio::net::UnixStream::connect(path).await.is_ok() {
        return Err(std::io::ErrorKind::AddrInUse.into());
    }
    std::fs::remove_file(path)
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
