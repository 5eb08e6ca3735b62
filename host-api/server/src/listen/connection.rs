//! One connection, from its first byte to its last.

use std::future::{Future as _, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use axum::BoxError;
use hyper::body::{Body, Incoming};
use hyper::server::conn::{http1, http2};
use hyper::service::{HttpService, service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use verdict::core::time::Timestamp;

use super::drain::{Drain, Stage};
use super::guard::{Guard, Limits, Protocol, Pulse};
use super::stream::Stream;
use super::tls::{self, Leaf, Tls};
use super::visit::Visit;
use super::workers::Seat;
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

/// Serves a connection until it ends; in TLS, where there is some to speak; on threads that share it, where it has no
/// seat on one of its own.
pub(super) async fn serve(
    stream: Stream,
    tls: Option<Arc<Tls>>,
    limits: Limits,
    visit: Visit,
    seat: Option<Seat>,
    drain: Drain,
) {
    let is_beyond = visit.is_beyond;
    let served = async {
        match (stream, tls) {
            (Stream::Tcp(stream), Some(tls)) => Box::pin(greet(stream, &tls, limits, visit, drain)).await,
            (stream, _) => {
                if seat.is_some() {
                    // From where it was accepted.
                    visit.pulse.moves();
                }
                speak(Guard::new(stream, limits, Arc::clone(&visit.pulse)), visit, seat, None, drain).await
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
    speak(guard, visit, None, until, drain).await;
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

async fn speak(
    mut guard: Guard<Stream>,
    visit: Visit,
    seat: Option<Seat>,
    until: Option<Timestamp>,
    mut drain: Drain,
) {
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
        Ok(Some(Protocol::Http1)) => http1(guard, visit, seat, until, drain).await,
        Ok(Some(Protocol::Http2)) => Box::pin(http2_on_shared(guard, visit, until, drain)).await,
        Ok(None) => {}
        Err(error) => tracing::debug!(%error, "a connection ended before its first request"),
    }
}

async fn http1(
    mut guard: Guard<Stream>,
    visit: Arc<Visit>,
    seat: Option<Seat>,
    until: Option<Timestamp>,
    drain: Drain,
) {
    if seat.is_some() {
        guard.gives_way(WAY_TIME_MAX);
    }
    let pulse = Arc::clone(&visit.pulse);
    let mut builder = http1::Builder::new();
    // The guard has the limits of time.
    builder.timer(TokioTimer::new()).header_read_timeout(None);
    builder.max_buf_size(HTTP1_BUFFER_BYTES_MAX).keep_alive(!visit.is_beyond);
    let service = service_fn(move |request| Arc::clone(&visit).answer(request));
    let connection = builder.serve_connection(TokioIo::new(guard), service);
    Ride { connection, pulse, until, drain }.serve(seat).await;
}

/// A connection in HTTP/1.1 that may change its thread.
struct Ride<S: HttpService<Incoming>> {
    connection: http1::Connection<TokioIo<Guard<Stream>>, S>,
    pulse: Arc<Pulse>,
    until: Option<Timestamp>,
    drain: Drain,
}

impl<S> Ride<S>
where
    S: HttpService<Incoming, Future: Send, ResBody: Body<Data: Send, Error: Into<BoxError>> + Send>
        + Send
        + 'static,
{
    /// Serves it here, and then wherever it goes.
    async fn serve(self, seat: Option<Seat>) {
        let mut next = self.until_it_moves(seat).await;
        while let Some((ride, seat)) = next {
            let mut there = JoinSet::new();
            let runtime = seat.runtime().clone();
            there.spawn_on(ride.until_it_moves(Some(seat)), &runtime);
            next = there.join_next().await.and_then(Result::ok).flatten();
        }
    }

    /// Serves it until it ends, or another thread is to have it.
    async fn until_it_moves(mut self, mut seat: Option<Seat>) -> Option<(Self, Seat)> {
        let Self { connection, pulse, until, drain } = &mut self;
        let mut answered = pulse.between();
        let mut turns = poll_fn(|context| {
            pulse.turn();
            if let Poll::Ready(ended) = Pin::new(&mut *connection).poll(context) {
                return Poll::Ready(Err(ended));
            }
            // With a request under way what it waits for may belong to this thread.
            let now = pulse.between();
            if now.is_none() || now == answered {
                return Poll::Pending;
            }
            answered = now;
            seat.as_mut().and_then(Seat::answered).map_or(Poll::Pending, |next| Poll::Ready(Ok(next)))
        });
        let ended = tokio::select! {
            // What has come is read first: it is not to be lost.
            biased;
            turn = &mut turns => turn,
            () = over(drain, Stage::Last, *until) => {
                Pin::new(&mut *connection).graceful_shutdown();
                Err(connection.await)
            }
        };
        match ended {
            Ok(next) => {
                pulse.moves();
                Some((self, next))
            }
            Err(ended) => {
                log(ended);
                None
            }
        }
    }
}

/// Serves HTTP/2 where its requests, which are many at a time, have all threads.
async fn http2_on_shared(guard: Guard<Stream>, visit: Arc<Visit>, until: Option<Timestamp>, drain: Drain) {
    let Some(shared) = visit.shared.clone() else { return http2(guard, visit, until, drain).await };
    visit.pulse.moves();
    let mut connection = JoinSet::new();
    connection.spawn_on(http2(guard, visit, until, drain), &shared);
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

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::task::{Context, ready};
    use std::thread::{self, ThreadId};
    use std::time::Instant;

    use http_body_util::{BodyExt, Full};
    use hyper::body::{Bytes, Frame};
    use hyper::{Request, Response};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::UnixStream;
    use tokio::runtime::Handle;
    use tokio::sync::mpsc;

    use super::super::drain::Stopping;
    use super::super::workers::Workers;
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(20);
    const IDLE: Duration = Duration::from_millis(200);

    /// Serves a connection on one of the threads, and then wherever it goes.
    fn ride<S>(
        workers: &Workers,
        stream: UnixStream,
        drain: Drain,
        service: impl FnOnce(Arc<Pulse>) -> S + Send + 'static,
    ) where
        S: HttpService<Incoming, Future: Send, ResBody: Body<Data: Send, Error: Into<BoxError>> + Send>
            + Send
            + 'static,
    {
        workers.spawn(Stream::Unix(stream), async move |stream, seat| {
            let pulse = Arc::new(Pulse::default());
            let limits = Limits { head: PATIENCE, idle: IDLE, write: PATIENCE };
            let mut guard = Guard::new(stream, limits, Arc::clone(&pulse));
            guard.gives_way(WAY_TIME_MAX);
            let service = service(Arc::clone(&pulse));
            let connection = http1::Builder::new().serve_connection(TokioIo::new(guard), service);
            Ride { connection, pulse, until: None, drain }.serve(Some(seat)).await;
        });
    }

    /// One that says what it was sent, after that much work; and tells on which thread each was answered.
    fn serve(
        workers: &Workers,
        stream: UnixStream,
        work: Duration,
        drain: Drain,
    ) -> mpsc::UnboundedReceiver<ThreadId> {
        let (tell, threads) = mpsc::unbounded_channel();
        ride(workers, stream, drain, move |beats| {
            service_fn(move |request: Request<Incoming>| {
                let (beats, tell) = (Arc::clone(&beats), tell.clone());
                async move {
                    let _under_way = Pulse::begin(Arc::clone(&beats));
                    let body = request.into_body().collect().await.unwrap().to_bytes();
                    let began = Instant::now();
                    while began.elapsed() < work {
                        std::hint::spin_loop();
                    }
                    let _ = tell.send(thread::current().id());
                    Ok::<_, Infallible>(Response::new(Full::<Bytes>::new(body)))
                }
            })
        });
        threads
    }

    /// A body that comes bit by bit; each says on which thread.
    struct Slow {
        left: usize,
        next: Pin<Box<tokio::time::Sleep>>,
    }

    impl Body for Slow {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            context: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            let Some(left) = self.left.checked_sub(1) else { return Poll::Ready(None) };
            ready!(self.next.as_mut().poll(context));
            self.next.as_mut().reset(tokio::time::Instant::now() + Duration::from_millis(5));
            self.left = left;
            let text = format!("{left} on {:?};", thread::current().id());
            Poll::Ready(Some(Ok(Frame::data(text.into()))))
        }
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn an_answer_that_is_still_coming_comes_from_where_its_connection_went() {
        const BITS: usize = 20;
        let (mut workers, stopping) = (Workers::start(true).unwrap(), Stopping::new());
        let (mut client, server) = UnixStream::pair().unwrap();
        ride(&workers, server, stopping.drain(), |beats| {
            service_fn(move |_: Request<Incoming>| {
                let _under_way = Pulse::begin(Arc::clone(&beats));
                let next = Box::pin(tokio::time::sleep(Duration::ZERO));
                let here = format!("{:?}", thread::current().id());
                let response = Response::builder().header("begun-on", here);
                async { Ok::<_, Infallible>(response.body(Slow { left: BITS, next }).unwrap()) }
            })
        });
        workers.swap_all();
        client.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").await.unwrap();
        let mut text = String::new();
        tokio::time::timeout(PATIENCE, client.read_to_string(&mut text)).await.unwrap().unwrap();
        let bits: Vec<_> = text.split(';').filter_map(|bit| bit.lines().last()?.split_once(" on ")).collect();
        let lefts: Vec<_> = bits.iter().map(|(left, _)| left.parse::<usize>().unwrap()).collect();
        assert_eq!(lefts, (0..BITS).rev().collect::<Vec<_>>(), "{text}");
        assert!(text.ends_with("\r\n0\r\n\r\n"), "{text}");
        let begun_on = text.lines().find_map(|line| line.strip_prefix("begun-on: ")).unwrap();
        assert!(bits.last().is_some_and(|(_, thread)| *thread != begun_on), "{text}");
    }

    fn request(number: usize) -> Vec<u8> {
        let body = format!("question {number:04}");
        format!("POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n{body}", body.len()).into()
    }

    /// The body of the next answer.
    async fn answer(client: &mut UnixStream) -> String {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(tokio::time::timeout(PATIENCE, client.read_u8()).await.unwrap().unwrap());
        }
        let mut body = [0; 13];
        client.read_exact(&mut body).await.unwrap();
        String::from_utf8(body.into()).unwrap()
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn what_is_asked_on_a_connection_that_changes_its_thread_is_answered_there() {
        const REQUESTS: usize = 300;
        let (mut workers, stopping) = (Workers::start(true).unwrap(), Stopping::new());
        let (mut client, server) = UnixStream::pair().unwrap();
        let mut threads = serve(&workers, server, Duration::ZERO, stopping.drain());
        let mut last = None;
        let mut half = Vec::new();
        for number in 0..REQUESTS {
            workers.swap_all();
            // With the rest of it comes the beginning of the next, which is read before and parsed after the change.
            let (whole, next) = (request(number), request(number + 1));
            let (rest, next_half) = (&whole[half.len()..], &next[..40]);
            client
                .write_all(&[rest, if number + 1 < REQUESTS { next_half } else { &[] }].concat())
                .await
                .unwrap();
            half = next_half.to_vec();
            assert_eq!(answer(&mut client).await, format!("question {number:04}"));
            let thread = threads.recv().await;
            assert_ne!(thread, last, "request {number}");
            last = thread;
        }
        // Its limits of time have come with it.
        let closed = tokio::time::timeout(PATIENCE, client.read_u8()).await.unwrap();
        assert!(closed.is_err(), "it was idle for too long");
        tokio::time::timeout(PATIENCE, workers.are_left()).await.unwrap();
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_connection_that_moved_does_not_wait_for_the_thread_that_had_it() {
        let (mut workers, stopping) = (Workers::start(true).unwrap(), Stopping::new());
        let (mut client, server) = UnixStream::pair().unwrap();
        let (tell, mut runtimes) = mpsc::unbounded_channel();
        ride(&workers, server, stopping.drain(), move |beats| {
            service_fn(move |request: Request<Incoming>| {
                let _under_way = Pulse::begin(Arc::clone(&beats));
                tell.send(Handle::current()).unwrap();
                async { Ok::<_, Infallible>(Response::new(request.into_body())) }
            })
        });
        workers.swap_all();
        client.write_all(&request(0)).await.unwrap();
        answer(&mut client).await;
        workers.keep_all();
        let (blocks, blocked) = tokio::sync::oneshot::channel();
        let (release, released) = std::sync::mpsc::channel::<()>();
        runtimes.recv().await.unwrap().spawn(async move {
            blocks.send(()).unwrap();
            released.recv_timeout(PATIENCE)
        });
        blocked.await.unwrap();
        for number in 1..4 {
            client.write_all(&request(number)).await.unwrap();
            let answer = tokio::time::timeout(PATIENCE / 2, answer(&mut client)).await;
            assert_eq!(answer.unwrap(), format!("question {number:04}"));
        }
        release.send(()).unwrap();
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn two_that_keep_one_thread_busy_end_on_two() {
        if std::fs::read_to_string("/proc/self/schedstat").is_err() {
            eprintln!("skipped: the system does not say how busy threads are");
            return;
        }
        let (workers, stopping) = (Workers::start(true).unwrap(), Stopping::new());
        let mut pairs = Vec::new();
        // The first and the third have the same thread.
        for _ in 0..3 {
            let (client, server) = UnixStream::pair().unwrap();
            let threads = serve(&workers, server, Duration::from_millis(10), stopping.drain());
            pairs.push((client, threads));
        }
        let began = Instant::now();
        loop {
            let [first, _, third] = &mut pairs[..] else { unreachable!() };
            let ask = async |(client, threads): &mut (UnixStream, mpsc::UnboundedReceiver<ThreadId>)| {
                client.write_all(&request(0)).await.unwrap();
                answer(client).await;
                threads.recv().await.unwrap()
            };
            let (first, third) = tokio::join!(ask(first), ask(third));
            if first != third {
                break;
            }
            // Other tests may keep the other core busy, until they end.
            assert!(began.elapsed() < 3 * PATIENCE, "nobody moved");
        }
    }
}
