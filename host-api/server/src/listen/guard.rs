//! Limits of time on a connection's bytes, and an end that lets the last answer arrive.
//!
//! Between requests a connection may be idle for long; once a request has begun its head must be there soon; and
//! whoever takes nothing of an answer does not keep it for ever. One alarm serves them all, and is set only when there
//! is something to wait for: a request that comes whole costs no timer.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep_until};

/// How long the other side may take to close, when this one has.
const LINGER: Duration = Duration::from_secs(2);
/// How much of what nobody reads any more is taken from the other side meanwhile, in bytes.
const LINGER_BYTES_MAX: usize = 16 << 20;
/// After how many answers a connection gives way again, when that took too long.
const WAY_REST: u32 = 64;
/// How a connection in HTTP/2 begins (RFC 9113, section 3.4).
const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// How long things may take on a connection.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// From the first byte of a request's head to its last; for the first one, from when the connection was made.
    pub(super) head: Duration,
    /// Between requests.
    pub(super) idle: Duration,
    /// Between two bytes of an answer that the other side takes.
    pub(super) write: Duration,
}

/// How many requests of a connection began, and how many ended.
#[derive(Debug, Default)]
pub(super) struct Pulse {
    begun: AtomicU64,
    ended: AtomicU64,
    /// How often its thread came to it.
    turns: AtomicU64,
    /// Whether the request that ended last did so in the turn in which it had begun.
    is_prompt: AtomicBool,
    /// Whether the connection goes on on another thread, and has not noticed yet.
    moves: AtomicBool,
}

/// A request that is under way.
pub(super) struct Beat {
    pulse: Arc<Pulse>,
    turn: u64,
}

impl Pulse {
    /// The thread comes to the connection.
    pub(super) fn turn(&self) {
        self.turns.fetch_add(1, Ordering::Relaxed);
    }

    /// The connection goes on on another thread.
    pub(super) fn moves(&self) {
        self.moves.store(true, Ordering::Relaxed);
    }

    /// How many requests ended; none while one is under way.
    pub(super) fn between(&self) -> Option<u64> {
        let ended = self.ended.load(Ordering::Relaxed);
        (self.begun.load(Ordering::Relaxed) == ended).then_some(ended)
    }

    pub(super) fn begin(pulse: Arc<Self>) -> Beat {
        pulse.begun.fetch_add(1, Ordering::Relaxed);
        let turn = pulse.turns.load(Ordering::Relaxed);
        Beat { pulse, turn }
    }
}

impl Drop for Beat {
    fn drop(&mut self) {
        let Self { pulse, turn } = self;
        pulse.is_prompt.store(pulse.turns.load(Ordering::Relaxed) == *turn, Ordering::Relaxed);
        pulse.ended.fetch_add(1, Ordering::Relaxed);
    }
}

/// Bytes that belong to a runtime.
pub(super) trait Settle {
    /// Makes them belong to the one that this is called in.
    ///
    /// # Errors
    /// When the system refuses: they belong where they did then, and work all the same.
    fn settle(&mut self) -> io::Result<()>;
}

/// What the other side speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Protocol {
    Http1,
    Http2,
}

/// What is read for, when nothing is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Waiting {
    /// The rest of a head, since then, when so many requests had begun.
    Head(Instant, u64),
    /// A request, since then.
    Idle(Instant),
    /// Something came or went since it was last looked at.
    Moving,
}

enum Ending {
    Open,
    /// What comes is thrown away, up to so many bytes.
    Lingering(Instant, usize),
}

/// How a connection gives way to others of its thread.
struct Way {
    time_max: Duration,
    /// How many requests had ended when it did last.
    ended: u64,
    since: Option<Instant>,
    /// For how many more answers it does not.
    rest: u32,
}

/// A connection with limits of time.
pub(super) struct Guard<T> {
    io: T,
    /// What was read to find out what the other side speaks, and how much of it has been read again.
    early: Vec<u8>,
    early_taken: usize,
    limits: Limits,
    pulse: Arc<Pulse>,
    /// Of HTTP/2 only writing is limited: its own pings say whether the other side is there.
    is_framed: bool,
    waiting: Waiting,
    /// How many requests had ended when bytes came last.
    came: Option<u64>,
    ended: u64,
    stalled: Option<Instant>,
    alarm: Option<Pin<Box<Sleep>>>,
    ending: Ending,
    /// None where it never gives way.
    way: Option<Way>,
}

impl<T: AsyncRead + AsyncWrite + Settle + Unpin> Guard<T> {
    pub(super) fn new(io: T, limits: Limits, pulse: Arc<Pulse>) -> Self {
        Self {
            io,
            early: Vec::new(),
            early_taken: 0,
            limits,
            pulse,
            is_framed: false,
            waiting: Waiting::Head(Instant::now(), 0),
            came: None,
            ended: 0,
            stalled: None,
            alarm: None,
            ending: Ending::Open,
            way: None,
        }
    }

    /// From now on an answer that is made at once is sent when the others of this thread that are ready have been
    /// answered, too. Sent one by one, each would wake a client that has taken all before it, and on the same machine
    /// that takes the core from this thread for each of them. Where that takes more than `time_max`, it costs more than
    /// it spares, and is left for a while.
    pub(super) fn gives_way(&mut self, time_max: Duration) {
        let ended = self.pulse.ended.load(Ordering::Relaxed);
        self.way = Some(Way { time_max, ended, since: None, rest: 0 });
    }

    /// Pending once for an answer that was made at once: whoever is ready comes first.
    fn poll_way(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let Some(way) = &mut self.way else { return Poll::Ready(()) };
        if let Some(since) = way.since.take() {
            if since.elapsed() > way.time_max {
                way.rest = WAY_REST;
            }
            return Poll::Ready(());
        }
        let ended = self.pulse.ended.load(Ordering::Relaxed);
        if way.ended == ended || !self.pulse.is_prompt.load(Ordering::Relaxed) {
            return Poll::Ready(());
        }
        way.ended = ended;
        if let Some(rest) = way.rest.checked_sub(1) {
            way.rest = rest;
            return Poll::Ready(());
        }
        way.since = Some(Instant::now());
        context.waker().wake_by_ref();
        Poll::Pending
    }

    /// Whether nothing was ever read.
    pub(super) fn is_untouched(&self) -> bool {
        self.early.is_empty()
    }

    /// The other side has said beforehand that it speaks HTTP/2.
    pub(super) const fn speaks_http2(&mut self) {
        self.is_framed = true;
    }

    /// What the other side speaks; none where it closes before it has said anything.
    ///
    /// # Errors
    /// When it takes too long, or the connection breaks.
    pub(super) async fn protocol(&mut self) -> io::Result<Option<Protocol>> {
        if self.is_framed {
            return Ok(Some(Protocol::Http2));
        }
        loop {
            if !PREFACE.starts_with(self.early.get(..PREFACE.len().min(self.early.len())).unwrap_or_default())
            {
                return Ok(Some(Protocol::Http1));
            }
            if self.early.len() >= PREFACE.len() {
                self.is_framed = true;
                return Ok(Some(Protocol::Http2));
            }
            let mut room = [0; 512];
            let mut buffer = ReadBuf::new(&mut room);
            std::future::poll_fn(|context| self.poll_io(context, &mut buffer)).await?;
            if buffer.filled().is_empty() {
                // Half a preface and no more is for the reader of HTTP/1.1 to refuse.
                return Ok((!self.early.is_empty()).then_some(Protocol::Http1));
            }
            self.early.extend_from_slice(buffer.filled());
        }
    }

    fn poll_io(&mut self, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.pulse.moves.load(Ordering::Relaxed) {
            self.settle();
        }
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.io).poll_read(context, buffer);
        if read.is_ready() {
            if buffer.filled().len() > before {
                self.came = Some(self.pulse.ended.load(Ordering::Relaxed));
                self.moves();
            }
            return read;
        }
        match self.read_until() {
            None => Poll::Pending,
            Some(until) => {
                ready!(self.poll_alarm(until, context));
                Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
            }
        }
    }

    /// Whatever belongs to the thread that had it comes here.
    #[cold]
    fn settle(&mut self) {
        self.pulse.moves.store(false, Ordering::Relaxed);
        self.alarm = None;
        if let Err(error) = self.io.settle() {
            tracing::debug!(%error, "a connection is woken by the thread that had it");
        }
    }

    /// Until when something must come; none while a request is under way, which has limits of its own.
    fn read_until(&mut self) -> Option<Instant> {
        let (begun, ended) =
            (self.pulse.begun.load(Ordering::Relaxed), self.pulse.ended.load(Ordering::Relaxed));
        if self.is_framed || begun != ended {
            return None;
        }
        if ended != self.ended {
            (self.ended, self.waiting) = (ended, Waiting::Moving);
        }
        match self.waiting {
            Waiting::Head(since, of) if of == begun => return Some(since + self.limits.head),
            Waiting::Idle(since) => return Some(since + self.limits.idle),
            Waiting::Head(..) | Waiting::Moving => {}
        }
        let now = Instant::now();
        // What came before the last request ended was its own.
        let has_come = self.came == Some(ended);
        let (waiting, until) = if has_come {
            (Waiting::Head(now, begun), now + self.limits.head)
        } else {
            (Waiting::Idle(now), now + self.limits.idle)
        };
        self.waiting = waiting;
        Some(until)
    }

    fn poll_alarm(&mut self, until: Instant, context: &mut Context<'_>) -> Poll<()> {
        let alarm = self.alarm.get_or_insert_with(|| Box::pin(sleep_until(until)));
        if alarm.deadline() > until {
            alarm.as_mut().reset(until);
        }
        // It may have been set for something that has come meanwhile.
        while alarm.as_mut().poll(context).is_ready() {
            if Instant::now() >= until {
                return Poll::Ready(());
            }
            alarm.as_mut().reset(until);
        }
        Poll::Pending
    }

    /// What came of writing; nothing for too long is an error.
    fn poll_written<R>(
        &mut self,
        context: &mut Context<'_>,
        wrote: Poll<io::Result<R>>,
    ) -> Poll<io::Result<R>> {
        if wrote.is_ready() {
            self.stalled = None;
            return wrote;
        }
        let since = *self.stalled.get_or_insert_with(Instant::now);
        ready!(self.poll_alarm(since + self.limits.write, context));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }

    /// Something is on its way to the other side, which is not idle then.
    const fn moves(&mut self) {
        if matches!(self.waiting, Waiting::Idle(_)) {
            self.waiting = Waiting::Moving;
        }
    }

    /// Reads what nobody wants until the other side closes. Closing with something unread would have its kernel throw
    /// away the answer that is on its way.
    fn poll_linger(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let Ending::Lingering(until, mut left) = self.ending else { return Poll::Ready(()) };
        let mut room = [0; 4 << 10];
        loop {
            let mut buffer = ReadBuf::new(&mut room);
            let Poll::Ready(read) = Pin::new(&mut self.io).poll_read(context, &mut buffer) else { break };
            let bytes = buffer.filled().len();
            left = left.saturating_sub(bytes);
            if read.is_err() || bytes == 0 || left == 0 {
                return Poll::Ready(());
            }
        }
        self.ending = Ending::Lingering(until, left);
        self.poll_alarm(until, context)
    }
}

impl<T: AsyncRead + AsyncWrite + Settle + Unpin> AsyncRead for Guard<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let early = this.early.get(this.early_taken..).unwrap_or_default();
        if early.is_empty() {
            return this.poll_io(context, buffer);
        }
        let (taken, _) = early.split_at(early.len().min(buffer.remaining()));
        buffer.put_slice(taken);
        this.early_taken += taken.len();
        Poll::Ready(Ok(()))
    }
}

impl<T: AsyncRead + AsyncWrite + Settle + Unpin> AsyncWrite for Guard<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_way(context));
        self.moves();
        let wrote = Pin::new(&mut self.io).poll_write(context, bytes);
        self.poll_written(context, wrote)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_way(context));
        self.moves();
        let wrote = Pin::new(&mut self.io).poll_write_vectored(context, slices);
        self.poll_written(context, wrote)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        // An encrypted answer may be taken whole, and wait in here.
        let flushed = Pin::new(&mut self.io).poll_flush(context);
        self.poll_written(context, flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if matches!(self.ending, Ending::Open) {
            ready!(Pin::new(&mut self.io).poll_shutdown(context))?;
            // Nothing is on its way on a connection that has long been idle. One that seems idle since the last answer
            // may still be sent the rest of a body that nobody waited for.
            if matches!(self.waiting, Waiting::Idle(since) if since.elapsed() >= LINGER) {
                return Poll::Ready(Ok(()));
            }
            self.ending = Ending::Lingering(Instant::now() + LINGER, LINGER_BYTES_MAX);
        }
        self.poll_linger(context).map(Ok)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::os::unix::net;
    use std::task::Waker;

    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
    use tokio::net::UnixStream;
    use tokio::runtime::Builder;

    use super::super::stream::Stream;
    use super::*;

    const LONG: Duration = Duration::from_secs(9);
    impl Settle for DuplexStream {
        fn settle(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    const LIMITS: Limits = Limits { head: LONG, idle: LONG, write: LONG };

    fn guard() -> (Guard<DuplexStream>, Arc<Pulse>, DuplexStream) {
        let (near, far) = duplex(64);
        let pulse = Arc::new(Pulse::default());
        (Guard::new(near, LIMITS, Arc::clone(&pulse)), pulse, far)
    }

    fn writes_at_once(guard: &mut Guard<DuplexStream>) -> bool {
        Pin::new(guard).poll_write(&mut Context::from_waker(Waker::noop()), b"answer").is_ready()
    }

    #[tokio::test]
    async fn an_answer_that_was_made_at_once_gives_way_once() {
        let (mut guard, pulse, _far) = guard();
        guard.gives_way(LONG);
        for _ in 0..3 {
            pulse.turn();
            drop(Pulse::begin(Arc::clone(&pulse)));
            assert!(!writes_at_once(&mut guard));
            assert!(writes_at_once(&mut guard) && writes_at_once(&mut guard), "the rest of it goes on");
        }
        // One that was waited for has been behind the others already.
        let beat = Pulse::begin(Arc::clone(&pulse));
        pulse.turn();
        drop(beat);
        assert!(writes_at_once(&mut guard));
    }

    #[tokio::test]
    async fn whom_it_took_too_long_gives_way_seldom() {
        let (mut guard, pulse, mut far) = guard();
        guard.gives_way(Duration::from_micros(1));
        let mut answer = async || {
            // Or the pipe would have this task end its turn.
            tokio::task::yield_now().await;
            pulse.turn();
            drop(Pulse::begin(Arc::clone(&pulse)));
            let at_once = writes_at_once(&mut guard);
            if !at_once {
                std::thread::sleep(Duration::from_millis(1));
                assert!(writes_at_once(&mut guard));
            }
            far.read_exact(&mut [0; 6]).await.unwrap();
            at_once
        };
        for _ in 0..3 {
            assert!(!answer().await);
            for _ in 0..WAY_REST {
                assert!(answer().await);
            }
        }
    }

    #[tokio::test]
    async fn a_connection_that_shares_its_thread_never_gives_way() {
        let (mut guard, pulse, _far) = guard();
        pulse.turn();
        drop(Pulse::begin(Arc::clone(&pulse)));
        assert!(writes_at_once(&mut guard));
    }

    #[tokio::test]
    async fn what_gave_way_is_written_without_anybody_else() {
        let (mut guard, pulse, mut far) = guard();
        guard.gives_way(LONG);
        pulse.turn();
        drop(Pulse::begin(Arc::clone(&pulse)));
        let mut read = [0; 6];
        let both = async { tokio::join!(guard.write_all(b"answer"), far.read_exact(&mut read)) };
        let (wrote, _) = tokio::time::timeout(LONG, both).await.unwrap();
        wrote.unwrap();
        assert_eq!(&read, b"answer");
    }

    #[test]
    fn a_connection_that_moves_needs_nothing_of_the_thread_that_had_it() {
        let runtime = || Builder::new_current_thread().enable_all().build().unwrap();
        let (near, mut far) = net::UnixStream::pair().unwrap();
        near.set_nonblocking(true).unwrap();
        let pulse = Arc::new(Pulse::default());
        let limits = Limits { head: Duration::from_millis(300), ..LIMITS };
        let first = runtime();
        let mut guard = first.block_on(async {
            let stream = Stream::Unix(UnixStream::from_std(near).unwrap());
            let mut guard = Guard::new(stream, limits, Arc::clone(&pulse));
            let read = tokio::time::timeout(Duration::from_millis(10), guard.read_u8()).await;
            assert!(read.is_err(), "nothing has come");
            guard
        });
        pulse.moves();
        drop(first);
        runtime().block_on(async {
            let written = tokio::task::spawn_blocking(move || far.write_all(b"!").map(|()| far));
            let read = tokio::time::timeout(LONG, guard.read_u8()).await.unwrap();
            assert_eq!(read.unwrap(), b'!');
            let _far = written.await.unwrap().unwrap();
            let late = tokio::time::timeout(LONG, guard.read_u8()).await.unwrap();
            assert_eq!(late.unwrap_err().kind(), io::ErrorKind::TimedOut);
        });
    }
}
