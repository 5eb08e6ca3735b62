//! One connection, from its first byte to its last.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};

use super::drain::{Drain, Stage};
use super::guard::{Guard, Limits, Protocol};
use super::stream::Stream;
use super::visit::Visit;

/// What is kept of a connection until it is read, in bytes; also the longest head of a request.
const HTTP1_BUFFER_BYTES_MAX: usize = 64 << 10;
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

/// Serves a connection until it ends.
pub(super) async fn serve(stream: Stream, limits: Limits, visit: Visit, drain: Drain) {
    let (is_beyond, visit) = (visit.is_beyond, Arc::new(visit));
    let served = speak(stream, limits, visit, drain);
    if is_beyond {
        // Whoever does not listen is not waited for.
        drop(tokio::time::timeout(GOODBYE, served).await);
    } else {
        served.await;
    }
}

async fn speak(stream: Stream, limits: Limits, visit: Arc<Visit>, mut drain: Drain) {
    let mut guard = Guard::new(stream, limits, Arc::clone(&visit.pulse));
    let early = tokio::select! {
        biased;
        protocol = guard.protocol() => Some(protocol),
        () = drain.reached(Stage::Last) => None,
    };
    let protocol = match early {
        Some(protocol) => protocol,
        None if guard.is_untouched() => return,
        // A request has begun.
        None => guard.protocol().await,
    };
    match protocol {
        Ok(Some(Protocol::Http1)) => http1(guard, visit, drain).await,
        Ok(Some(Protocol::Http2)) => http2(guard, visit, drain).await,
        Ok(None) => {}
        Err(error) => tracing::debug!(%error, "a connection ended before its first request"),
    }
}

async fn http1(guard: Guard<Stream>, visit: Arc<Visit>, mut drain: Drain) {
    let mut builder = http1::Builder::new();
    // The guard has the limits of time.
    builder.timer(TokioTimer::new()).header_read_timeout(None);
    builder.max_buf_size(HTTP1_BUFFER_BYTES_MAX).keep_alive(!visit.is_beyond);
    let service = service_fn(move |request| Arc::clone(&visit).answer(request));
    let mut connection = pin!(builder.serve_connection(TokioIo::new(guard), service));
    let ended = tokio::select! {
        // What has come is read first: it is not to be lost.
        biased;
        ended = connection.as_mut() => ended,
        () = drain.reached(Stage::Last) => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    log(ended);
}

async fn http2(guard: Guard<Stream>, visit: Arc<Visit>, mut drain: Drain) {
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
        () = drain.reached(Stage::Closed) => {
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
