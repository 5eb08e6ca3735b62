//! One connection, from its first byte to its last.

use std::future::{Future as _, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use verdict::core::time::Timestamp;

use super::drain::{Drain, Stage};
use super::guard::{Guard, Limits, Protocol};
use super::stream::Stream;
use super::tls::{self, Leaf, Tls};
use super::visit::Visit;
use crate::access;

/// What is kept of a connection until it is read, in bytes; also the longest head of a request.
const HTTP1_BUFFER_BYTES_MAX: usize = 64 << 10;
/// How long an answer may wait for those of other connections that are ready.
const WAY_TIME_MAX: Duration = Duration::from_micros(200);
/// The longest head of a request, in bytes (RFC 9113, section 6.5.2).
const HTTP2_HEADERS_BYTES_MAX: u32 = 32 << 10;
/// The most requests of one connection at a time.
const HTTP2_STREAMS_MAX: u32 = 256;
/// The most streams that a client may take back before they were even looked at, and the most that may have to be reset
/// because of its errors: it is flooding, and its connection is closed.
const HTTP2_RESETS_MAX: usize = 20;
const HTTP2_ERRORS_MAX: usize = 1_024;
/// How often a connection is asked whether it is still there, and how long it may take to say so.
const HTTP2_PING_EVERY: Duration = Duration::from_secs(20);
const HTTP2_PING_TIMEOUT: Duration = Duration::from_secs(20);
/// How long a connection that is one too many may take to hear so.
const GOODBYE: Duration = Duration::from_secs(2);

/// Serves a connection until it ends; in TLS, where there is some to speak.
pub(super) async fn serve(stream: Stream, tls: Option<Arc<Tls>>, limits: Limits, visit: Visit, drain: Drain) {
    let is_beyond = visit.is_beyond;
    let served = async {
        match (stream, tls) {
            (Stream::Tcp(stream), Some(tls)) => Box::pin(greet(stream, &tls, limits, visit, drain)).await,
            (stream, _) => {
                speak(Guard::new(stream, limits, Arc::clone(&visit.pulse)), visit, None, drain).await
            }
        }
    };
    if is_beyond {
        // Whoever does not listen is not waited for.
        drop(tokio::time::timeout(GOODBYE, served).await);
    } else {
        served.await;
    }
}

/// Speaks TLS, and finds out who comes.
async fn greet(stream: TcpStream, tls: &Tls, limits: Limits, mut visit: Visit, drain: Drain) {
    let stream = match tokio::time::timeout(limits.head, tls.greet(stream)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => {
            tracing::debug!(%error, "a connection ended before it was in TLS");
            return;
        }
        Err(_) => return,
    };
    let (_, session) = stream.get_ref();
    let is_http2 = session.alpn_protocol() == Some(tls::HTTP2);
    let mut until = None;
    if let Some(certificate) = session.peer_certificates().and_then(<[_]>::first) {
        let Some(leaf) = Leaf::read(certificate) else { return };
        let access = &visit.door.app.access;
        if access.knows_workloads() {
            // A certificate that is nobody's, or of two, says of nobody that he is there.
            let Some(id) = &leaf.id else {
                tracing::debug!("a certificate has not exactly one SPIFFE identity");
                return;
            };
            visit.origin = access.door_of(id);
        }
        until = Some(leaf.not_after);
    }
    let mut guard = Guard::new(Stream::Tls(Box::new(stream)), limits, Arc::clone(&visit.pulse));
    if is_http2 {
        guard.speaks_http2();
    }
    speak(guard, visit, until, drain).await;
}

/// Returns when a connection is to end: when the server has stopped that far, or its certificate counts no more.
async fn over(drain: &mut Drain, stage: Stage, until: Option<Timestamp>) {
    let Some(until) = until else { return drain.reached(stage).await };
    let left = until.millis().saturating_sub(access::now().millis());
    let left = Duration::from_millis(u64::try_from(left).unwrap_or_default());
    tokio::select! {
        () = drain.reached(stage) => {}
        () = tokio::time::sleep(left) => {}
    }
}

async fn speak(mut guard: Guard<Stream>, visit: Visit, until: Option<Timestamp>, mut drain: Drain) {
    let visit = Arc::new(visit);
    let early = tokio::select! {
        biased;
        protocol = guard.protocol() => Some(protocol),
        () = over(&mut drain, Stage::Last, until) => None,
    };
    let protocol = match early {
        Some(protocol) => protocol,
        None if guard.is_untouched() => return,
        // A request has begun.
        None => guard.protocol().await,
    };
    match protocol {
        Ok(Some(Protocol::Http1)) => http1(guard, visit, until, drain).await,
        Ok(Some(Protocol::Http2)) => Box::pin(http2_on_shared(guard, visit, until, drain)).await,
        Ok(None) => {}
        Err(error) => tracing::debug!(%error, "a connection ended before its first request"),
    }
}

async fn http1(mut guard: Guard<Stream>, visit: Arc<Visit>, until: Option<Timestamp>, mut drain: Drain) {
    if visit.shared.is_some() {
        guard.gives_way(WAY_TIME_MAX);
    }
    let pulse = Arc::clone(&visit.pulse);
    let mut builder = http1::Builder::new();
    // The guard has the limits of time.
    builder.timer(TokioTimer::new()).header_read_timeout(None);
    builder.max_buf_size(HTTP1_BUFFER_BYTES_MAX).keep_alive(!visit.is_beyond);
    let service = service_fn(move |request| Arc::clone(&visit).answer(request));
    let mut connection = pin!(builder.serve_connection(TokioIo::new(guard), service));
    let mut turns = poll_fn(|context| {
        pulse.turn();
        connection.as_mut().poll(context)
    });
    let ended = tokio::select! {
        // What has come is read first: it is not to be lost.
        biased;
        ended = &mut turns => ended,
        () = over(&mut drain, Stage::Last, until) => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    log(ended);
}

/// Serves HTTP/2 where its requests, which are many at a time, have all threads.
async fn http2_on_shared(guard: Guard<Stream>, visit: Arc<Visit>, until: Option<Timestamp>, drain: Drain) {
    let Some(shared) = visit.shared.clone() else { return http2(guard, visit, until, drain).await };
    let served = async move {
        match guard.try_map(|stream| stream.leave().and_then(Stream::arrive)) {
            Ok(guard) => http2(guard, visit, until, drain).await,
            Err(error) => tracing::warn!(%error, "a connection could not be served"),
        }
    };
    let mut connection = JoinSet::new();
    connection.spawn_on(served, &shared);
    connection.join_next().await;
}

async fn http2(guard: Guard<Stream>, visit: Arc<Visit>, until: Option<Timestamp>, mut drain: Drain) {
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(HTTP2_STREAMS_MAX)
        .max_header_list_size(HTTP2_HEADERS_BYTES_MAX)
        .max_pending_accept_reset_streams(HTTP2_RESETS_MAX)
        .max_local_error_reset_streams(HTTP2_ERRORS_MAX)
        .keep_alive_interval(HTTP2_PING_EVERY)
        .keep_alive_timeout(HTTP2_PING_TIMEOUT);
    let service = service_fn(move |request| Arc::clone(&visit).answer(request));
    let mut connection = pin!(builder.serve_connection(TokioIo::new(guard), service));
    let ended = tokio::select! {
        biased;
        ended = connection.as_mut() => ended,
        // The client is told which of its requests are still answered, and none is lost.
        () = over(&mut drain, Stage::Closed, until) => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    log(ended);
}

fn log(ended: hyper::Result<()>) {
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection ended early");
    }
}
