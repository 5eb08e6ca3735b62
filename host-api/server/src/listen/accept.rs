//! Letting connections in, and turning away those that are too many.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::Listen;
use super::bind::Listener;
use super::condition::Condition;
use super::connection;
use super::drain::{Drain, Stage};
use super::guard::{Limits, Pulse};
use super::stream::Stream;
use super::tls::Tls;
use super::visit::Visit;
use super::workers::Workers;
use crate::access::{self, Origin};
use crate::door::Door;

/// How many connections that are too many are told so at a time. Those beyond are closed without a word.
const GOODBYES_MAX: usize = 64;
/// How often the log says that connections are turned away.
const TURNED_AWAY_EVERY: Duration = Duration::from_secs(10);

/// What lets connections in, for all listeners together.
pub(super) struct Porter {
    pub(super) door: Arc<Door>,
    pub(super) condition: Arc<Condition>,
    pub(super) limits: Limits,
    pub(super) tls: Option<Arc<Tls>>,
    connections: Arc<Semaphore>,
    goodbyes: Arc<Semaphore>,
    turned_away: AtomicU64,
    workers: Workers,
}

impl Porter {
    pub(super) fn new(
        door: Arc<Door>,
        condition: Arc<Condition>,
        limits: Limits,
        tls: Option<Arc<Tls>>,
        workers: Workers,
    ) -> Self {
        let (_, connections_max) = condition.traffic.connections();
        Self {
            door,
            condition,
            limits,
            tls,
            connections: Arc::new(Semaphore::new(connections_max.min(Semaphore::MAX_PERMITS))),
            goodbyes: Arc::new(Semaphore::new(GOODBYES_MAX)),
            turned_away: AtomicU64::new(0),
            workers,
        }
    }

    /// Lets in whoever comes, until the server lets nobody in any more; then those who had come already.
    pub(super) async fn attend(self: Arc<Self>, listener: Listener, origin: Origin, mut drain: Drain) {
        let tls = self.tls.clone().filter(|_| matches!(listener.address, Listen::Tls(_)));
        loop {
            tokio::select! {
                stream = listener.accept() => {
                    if let Some(stream) = stream {
                        self.welcome(stream, tls.clone(), origin, &drain);
                    }
                }
                () = drain.reached(Stage::Closed) => break,
            }
        }
        for stream in listener.close().await {
            self.welcome(stream, tls.clone(), origin, &drain);
        }
    }

    /// Says now and then how many were turned away.
    pub(super) async fn report(self: Arc<Self>) {
        loop {
            tokio::time::sleep(TURNED_AWAY_EVERY).await;
            let count = self.turned_away.swap(0, Ordering::Relaxed);
            if count > 0 {
                tracing::warn!(count, "connections were turned away: there are as many as there may be");
            }
        }
    }

    fn welcome(&self, stream: Stream, tls: Option<Arc<Tls>>, origin: Origin, drain: &Drain) {
        if origin == Origin::BreakGlass {
            // Never kept out by those who come from the network.
            if is_owner(&stream) {
                let visit = self.visit(origin, false, None);
                drop(tokio::spawn(connection::serve(stream, tls, self.limits, visit, None, drain.clone())));
            }
            return;
        }
        if let Ok(permit) = Arc::clone(&self.connections).try_acquire_owned() {
            self.let_in(stream, tls, origin, drain.clone(), permit);
            return;
        }
        self.turned_away.fetch_add(1, Ordering::Relaxed);
        self.condition.traffic.turn_away();
        if let Ok(permit) = Arc::clone(&self.goodbyes).try_acquire_owned() {
            let visit = self.visit(origin, true, None);
            let served = connection::serve(stream, tls, self.limits, visit, None, drain.clone());
            drop(tokio::spawn(async move {
                served.await;
                drop(permit);
            }));
        }
    }

    /// Serves a connection, in TLS on threads that all share: of those nobody knows yet whether they speak HTTP/2.
    fn let_in(
        &self,
        stream: Stream,
        tls: Option<Arc<Tls>>,
        origin: Origin,
        drain: Drain,
        permit: OwnedSemaphorePermit,
    ) {
        let (limits, condition) = (self.limits, Arc::clone(&self.condition));
        let serve = async move |stream, tls, visit, seat| {
            let _open = condition.traffic.connect();
            connection::serve(stream, tls, limits, visit, seat, drain).await;
            drop(permit);
        };
        if tls.is_some() {
            drop(tokio::spawn(serve(stream, tls, self.visit(origin, false, None), None)));
        } else {
            let visit = self.visit(origin, false, Some(self.workers.shared()));
            self.workers.spawn(stream, move |stream, seat| serve(stream, None, visit, Some(seat)));
        }
    }

    fn visit(&self, origin: Origin, is_beyond: bool, shared: Option<Handle>) -> Visit {
        Visit {
            door: Arc::clone(&self.door),
            condition: Arc::clone(&self.condition),
            pulse: Arc::new(Pulse::default()),
            origin,
            is_beyond,
            shared,
        }
    }
}

fn is_owner(stream: &Stream) -> bool {
    let is_owner = matches!(stream, Stream::Unix(stream) if access::is_owner(stream));
    if !is_owner {
        tracing::warn!("somebody else than the owner came to the break-glass socket");
    }
    is_owner
}
