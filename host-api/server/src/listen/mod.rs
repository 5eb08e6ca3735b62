//! Listening, limits on connections, reloading and draining.
//!
//! Three nouns: a `Listener` is a socket, a `Porter` lets in what comes to it, and a `Visit` is a connection as its
//! requests see it. What a connection's bytes may take in time is the `Guard`'s, and how it all ends is told in `drain`.

mod accept;
mod address;
mod balance;
mod bind;
mod condition;
mod connection;
mod drain;
mod error;
mod guard;
mod options;
mod stamp;
mod stream;
mod tls;
mod tuning;
mod visit;
mod workers;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::JoinSet;
use verdict::Host;
use verdict::registry::repository::Registry;

use crate::access::{AccessOptions, Origin};
use crate::api;
use crate::door::Door;
use crate::observe::Tracing;
use crate::oci::{self, Oci};
use crate::routes::App;
use crate::transitions;

use accept::Porter;
use bind::Listener;
use drain::Stopping;
use guard::Limits;
use tls::Tls;
use tuning::Tuner;
use workers::Workers;

pub use address::Listen;
pub(crate) use condition::{CLASSES, Condition, Protocol};
pub use error::ListenError;
pub use options::Options;
pub use tls::{TlsError, TlsOptions};
pub use tuning::{Tuning, TuningSource};

/// How often files are looked at that may change while the server runs.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// A server that is bound, and not yet serving.
pub struct Server {
    host: Option<Host>,
    options: Options,
    listeners: Vec<Listener>,
    addresses: Vec<Listen>,
    /// The first of them.
    address: Listen,
    break_glass: Option<Listener>,
    condition: Arc<Condition>,
    tls: Option<Arc<Tls>>,
    tracing: Option<Arc<Tracing>>,
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("addresses", &self.addresses).finish_non_exhaustive()
    }
}

impl Options {
    /// Checks what can be checked before anything is opened: that the addresses are not open to everybody by mistake,
    /// and that the files of TLS can be used. Who may ask is what `access` says, whatever `self.access` is.
    ///
    /// # Errors
    /// As [`Server::bind`], for these.
    pub fn check(&self, access: &AccessOptions) -> Result<(), ListenError> {
        consistent(self, access.is_open(), access.workloads.is_some())?;
        if let Some(options) = &self.tls {
            Tls::open(options.clone(), Arc::default())?;
        }
        Ok(())
    }
}

impl Server {
    /// Binds the addresses. Without a host it serves a registry and decides nothing.
    ///
    /// # Errors
    /// When others can reach one and no tokens are given, or the operating system refuses.
    pub async fn bind(host: impl Into<Option<Host>>, mut options: Options) -> Result<Self, ListenError> {
        let host: Option<Host> = host.into();
        if let Some(host) = host.clone() {
            // What would not load never becomes the state of a channel.
            let trial = Arc::new(move |artifact: &_| host.try_loading(artifact));
            options.publisher = options.publisher.map(|publisher| publisher.with_trial(trial));
        }
        consistent(&options, options.access.is_open(), options.access.knows_workloads())?;
        let condition = Arc::new(Condition::new(options.connections_max, options.requests_max));
        let tls =
            options.tls.clone().map(|tls| Tls::open(tls, Arc::clone(&condition))).transpose()?.map(Arc::new);
        let tracing = options.traces.as_ref().map(Tracing::start).transpose()?;
        bind::make_room(options.connections_max);
        let mut listeners = Vec::new();
        for listen in &options.listen {
            listeners.push(Listener::bind(listen, options.unix_mode).await?);
        }
        let addresses: Vec<Listen> = listeners.iter().map(|listener| listener.address.clone()).collect();
        let address = addresses.first().cloned().ok_or(ListenError::Nowhere)?;
        let break_glass = match options.access.socket() {
            None => None,
            Some(path) => Some(Listener::break_glass(path).await?),
        };
        Ok(Self { host, options, listeners, addresses, address, break_glass, condition, tls, tracing })
    }

    /// Where it listens first, with the port that was taken.
    pub const fn address(&self) -> &Listen {
        &self.address
    }

    /// Where it listens, with the ports that were taken, in the order that was asked for.
    pub fn addresses(&self) -> &[Listen] {
        &self.addresses
    }

    /// Serves until SIGTERM or SIGINT, then finishes the open requests; once more, and it does not wait for what
    /// `drain_delay` says. SIGHUP reads the settings, the policies, the certificate and the workloads again.
    ///
    /// # Errors
    /// When the operating system does not let it handle signals.
    pub async fn run(self) -> Result<(), ListenError> {
        let mut signals = Signals::new()?;
        let app = App::new(self.host.clone(), &self.options).with(&self.condition, self.tracing.clone());
        let app = Arc::new(app);
        let registry = self.options.served_registry();
        let collector = registry.clone().map(|registry| tokio::spawn(oci::collect(registry)));
        let transitions = self.host.clone().zip(registry.as_ref()).map(|(host, registry)| {
            // What happens in the registry is in the log of the host that is beside it.
            transitions::follow(host, registry.catalogue().clone())
        });
        let door = self.door(&app, registry);
        let tuner = Tuner::new(&self.options, &door, &app.condition);
        let porter = Arc::new(self.porter(&app, door, Workers::start(self.options.keeps_cores)?));
        let Self { host, options, listeners, break_glass, tls, .. } = self;
        let stopping = Stopping::new();
        let (mut aside, mut attended) = (JoinSet::new(), JoinSet::new());
        aside.spawn(Arc::clone(&porter).report());
        if let Some(tls) = &tls {
            aside.spawn(Arc::clone(tls).follow());
        }
        if let Some(tuner) = &tuner {
            aside.spawn(Arc::clone(tuner).follow());
        }
        let break_glass = break_glass.into_iter().map(|listener| (listener, Origin::BreakGlass));
        for (listener, origin) in
            listeners.into_iter().map(|listener| (listener, Origin::Network)).chain(break_glass)
        {
            attended.spawn(Arc::clone(&porter).attend(listener, origin, stopping.drain()));
        }
        signals.serve(|| reload(&options, host.as_ref(), tls.as_ref(), tuner.as_ref())).await;
        tracing::info!("draining");
        app.condition.leave();
        tokio::select! {
            () = tokio::time::sleep(options.drain_delay) => {}
            () = signals.stop() => {}
        }
        app.stop();
        stopping.close();
        attended.join_all().await;
        if let Some(collector) = collector {
            collector.abort();
        }
        if stopping.finish(options.drain_timeout).await.is_err() {
            tracing::warn!("some requests did not finish in time");
        }
        drop((transitions, aside));
        if let Some(tracing) = &app.tracing {
            tracing.stop().await;
        }
        flush(options, host).await;
        Ok(())
    }

    fn door(&self, app: &Arc<App>, registry: Option<Registry>) -> Arc<Door> {
        let options = &self.options;
        Arc::new(Door {
            routes: ArcSwap::from_pointee(tuning::routes(app, options)),
            oci: registry.map(|registry| Arc::new(Oci::new(registry, options))),
            app: Arc::clone(app),
            request_timeout: options.request_timeout,
            body_bytes_max: options.body_bytes_max,
        })
    }

    fn porter(&self, app: &Arc<App>, door: Arc<Door>, workers: Workers) -> Porter {
        let options = &self.options;
        let limits = Limits {
            head: options.header_timeout,
            idle: options.idle_timeout,
            write: options.request_timeout,
        };
        Porter::new(door, Arc::clone(&app.condition), limits, self.tls.clone(), workers)
    }
}

/// Checks what has to go together. There is something to speak TLS with exactly where an address is one for it.
fn consistent(options: &Options, is_open: bool, knows_workloads: bool) -> Result<(), ListenError> {
    api::check_origins(&options.cors)?;
    let reachable = options.listen.iter().find_map(Listen::reachable);
    if let Some(address) = reachable.filter(|_| is_open) {
        return Err(ListenError::Open(address));
    }
    let listen = options.listen.iter().find(|listen| matches!(listen, Listen::Tls(_)));
    let asks = options.tls.as_ref().is_some_and(|tls| tls.client_ca.is_some());
    if knows_workloads && !asks {
        return Err(ListenError::NoClientCa);
    }
    match (listen, &options.tls) {
        (None, Some(_)) => Err(ListenError::NoTls),
        (Some(listen), None) => Err(ListenError::NoCertificate(listen.clone())),
        (None, None) | (Some(_), Some(_)) => Ok(()),
    }
}

/// Reads what may have changed again, beside everything else.
fn reload(options: &Options, host: Option<&Host>, tls: Option<&Arc<Tls>>, tuner: Option<&Arc<Tuner>>) {
    let (access, host, tls, tuner) = (options.access.clone(), host.cloned(), tls.cloned(), tuner.cloned());
    let again = move || {
        if let Some(tuner) = &tuner {
            tuner.reload();
        }
        if let Some(tls) = &tls {
            tls.reload();
        }
        access.reload();
        if let Some(host) = &host {
            reload_host(host);
        }
    };
    drop(tokio::task::spawn_blocking(again));
}

async fn flush(options: Options, host: Option<Host>) {
    let flush = move || {
        options.access.flush();
        host.map_or(Ok(()), |host| host.flush())
    };
    let flushed = tokio::task::spawn_blocking(flush).await;
    if let Ok(Err(error)) = flushed {
        tracing::error!(%error, "the last checkpoint could not be written");
    }
}

/// What tells a server what to do.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    /// Returns when the server is to stop; reloads when it is to do that.
    async fn serve(&mut self, reload: impl Fn()) {
        loop {
            tokio::select! {
                _ = self.hangup.recv() => reload(),
                _ = self.terminate.recv() => return,
                _ = self.interrupt.recv() => return,
            }
        }
    }

    /// Returns when the server is to stop.
    async fn stop(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

fn reload_host(host: &Host) {
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
