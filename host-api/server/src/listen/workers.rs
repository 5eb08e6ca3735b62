//! Threads that each have connections of their own, with whatever is asked on them.
//!
//! Where threads share their connections, each that finds something to do wakes another one to help it: for decisions,
//! which take microseconds, that cost a tenth of the answers. Here a connection stays on a thread, as in Envoy and nginx,
//! until that cannot keep up (`balance`), and the thread on a core. Left to the scheduler, two busy threads share one core
//! for a while beside one that is half idle, in turns of milliseconds in which all connections of one of them wait: that
//! was nine tenths of the p99. What may take long goes to threads that share it: evaluations with much fuel, batches,
//! administration.

use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak, mpsc};
use std::thread;

use rustix::thread::{CpuSet, Pid, gettid, sched_getaffinity, sched_setaffinity};
use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;
use tokio::task::JoinSet;

use super::stream::Stream;

/// The threads of a server.
#[derive(Debug)]
pub(super) struct Workers {
    all: Vec<Arc<Worker>>,
    /// The threads that share what they do.
    shared: Handle,
    /// When this is dropped the threads end, with whatever they still do: that was waited for as long as it may take.
    _until: Vec<oneshot::Sender<()>>,
    /// What shares out connections anew.
    _balance: JoinSet<()>,
}

/// A thread that has connections of its own.
#[derive(Debug)]
pub(super) struct Worker {
    /// Its own, of one thread.
    runtime: Handle,
    thread: Pid,
    connections: AtomicUsize,
    /// How often it was looked at, and on how many connections something was answered since.
    looks: AtomicUsize,
    asked: AtomicUsize,
    /// How many of its connections are to go.
    leaving: AtomicUsize,
    /// Where they go.
    to: Mutex<Weak<Worker>>,
}

/// Where a connection is served. It counts there until this is dropped.
#[derive(Debug)]
pub(super) struct Seat {
    worker: Arc<Worker>,
    /// When something was answered on it, in looks at the thread.
    answered: usize,
}

impl Seat {
    fn new(worker: Arc<Worker>) -> Self {
        worker.connections.fetch_add(1, Ordering::Relaxed);
        Self { worker, answered: 0 }
    }

    /// Where its connection is served.
    pub(super) fn runtime(&self) -> &Handle {
        &self.worker.runtime
    }

    /// Something was answered on the connection. Returns a seat on another thread, if one is to leave this.
    pub(super) fn answered(&mut self) -> Option<Self> {
        let Worker { looks, asked, leaving, to, .. } = &*self.worker;
        let look = looks.load(Ordering::Relaxed);
        if self.answered != look {
            self.answered = look;
            asked.fetch_add(1, Ordering::Relaxed);
        }
        // Seldom anything else.
        if leaving.load(Ordering::Relaxed) == 0 {
            return None;
        }
        leaving.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |count| count.checked_sub(1)).ok()?;
        to.lock().unwrap_or_else(PoisonError::into_inner).upgrade().map(Self::new)
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.worker.connections.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Workers {
    /// As many as the runtime has threads that this is called on, each on a core of its own if it `keeps_cores`.
    ///
    /// # Errors
    /// When the system gives no threads.
    pub(super) fn start(keeps_cores: bool) -> io::Result<Self> {
        let shared = Handle::current();
        let count = shared.metrics().num_workers();
        let cores = if keeps_cores { Core::of_each(count) } else { Vec::new() };
        let all = (0..count).map(|number| Worker::start(cores.get(number).copied()));
        let (all, until): (Vec<_>, Vec<_>) = all.collect::<io::Result<Vec<_>>>()?.into_iter().unzip();
        let mut balance = JoinSet::new();
        if count > 1 {
            balance.spawn_on(super::balance::balance(all.clone()), &shared);
        }
        Ok(Self { all, shared, _until: until, _balance: balance })
    }

    /// Where to do what may take long.
    pub(super) fn shared(&self) -> Handle {
        self.shared.clone()
    }

    /// Serves a connection on the thread that has fewest. Its bytes still belong to where it was accepted.
    pub(super) fn spawn<F: Future<Output = ()> + Send + 'static>(
        &self,
        stream: Stream,
        serve: impl FnOnce(Stream, Seat) -> F,
    ) {
        let fewest = self.all.iter().min_by_key(|worker| worker.connections());
        let Some(worker) = fewest else { return };
        let seat = Seat::new(Arc::clone(worker));
        drop(worker.runtime.spawn(serve(stream, seat)));
    }
}

impl Worker {
    fn start(core: Option<Core>) -> io::Result<(Arc<Self>, oneshot::Sender<()>)> {
        let mut builder = Builder::new_current_thread();
        builder.enable_all();
        if let Some(core) = core {
            // Evaluations with much fuel have threads that this one begins; they may take any core.
            builder.on_thread_start(move || keep_to(&core.all));
        }
        let runtime = builder.build()?;
        let handle = runtime.handle().clone();
        let (until, ended) = oneshot::channel();
        let (begun, thread) = mpsc::sync_channel(1);
        let serve = move || {
            let _ = begun.send(gettid());
            if let Some(core) = core {
                keep_to(&core.own);
            }
            drop(runtime.block_on(ended));
            runtime.shutdown_background();
        };
        thread::Builder::new().name("connections".to_owned()).spawn(serve)?;
        let thread = thread.recv().map_err(io::Error::other)?;
        let (connections, looks, asked, leaving, to) = Default::default();
        Ok((Arc::new(Self { runtime: handle, thread, connections, looks, asked, leaving, to }), until))
    }

    /// The thread, as the system knows it.
    pub(super) const fn thread(&self) -> Pid {
        self.thread
    }

    /// How many connections it has.
    fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }

    /// On how many connections something was answered since the last look. None is to go any more.
    pub(super) fn look(&self) -> usize {
        self.leaving.store(0, Ordering::Relaxed);
        self.looks.fetch_add(1, Ordering::Relaxed);
        self.asked.swap(0, Ordering::Relaxed)
    }

    /// So many of its connections, the next that something is answered on, are to go to another one.
    pub(super) fn give(&self, count: usize, to: &Arc<Self>) {
        *self.to.lock().unwrap_or_else(PoisonError::into_inner) = Arc::downgrade(to);
        self.leaving.store(count, Ordering::Relaxed);
    }
}

/// The core of a thread.
#[derive(Debug, Clone, Copy)]
struct Core {
    own: CpuSet,
    /// Those of the process.
    all: CpuSet,
}

impl Core {
    /// One for each of so many threads. None where there are not as many: what the process may use of them is limited
    /// otherwise then, as by a quota, and only the scheduler knows when.
    fn of_each(threads: usize) -> Vec<Self> {
        let Ok(all) = sched_getaffinity(None) else { return Vec::new() };
        let only = |core| {
            let mut own = CpuSet::new();
            own.set(core);
            Self { own, all }
        };
        let cores: Vec<_> = (0..CpuSet::MAX_CPU).filter(|core| all.is_set(*core)).map(only).collect();
        if cores.len() == threads { cores } else { Vec::new() }
    }
}

/// Keeps this thread to these cores. Where the system does not let it, it goes where it is sent.
fn keep_to(cores: &CpuSet) {
    if let Err(error) = sched_setaffinity(None, cores) {
        tracing::debug!(%error, "a thread goes where the scheduler sends it");
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt;
    use tokio::net::UnixStream;
    use tokio::sync::Semaphore;

    use super::*;

    const PATIENCE: std::time::Duration = std::time::Duration::from_secs(20);

    impl Workers {
        /// Whatever is answered next leaves its thread, and nothing else does.
        pub(in super::super) fn swap_all(&mut self) {
            self._balance.abort_all();
            for (from, to) in self.all.iter().zip(self.all.iter().cycle().skip(1)) {
                from.give(1, to);
            }
        }

        /// Nothing leaves any more.
        pub(in super::super) fn keep_all(&self) {
            for worker in &self.all {
                worker.look();
            }
        }

        /// Returns when they have no connections.
        pub(in super::super) async fn are_left(&self) {
            while counts(self).iter().any(|count| *count > 0) {
                tokio::task::yield_now().await;
            }
        }
    }

    fn counts(workers: &Workers) -> Vec<usize> {
        workers.all.iter().map(|worker| worker.connections()).collect()
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 3)]
    async fn a_connection_goes_to_the_thread_that_has_fewest_and_makes_room_when_it_ends() {
        let (workers, served) = (Workers::start(true).unwrap(), Arc::new(Semaphore::new(0)));
        let mut clients = Vec::new();
        for _ in 0..7 {
            let (client, stream) = UnixStream::pair().unwrap();
            let served = Arc::clone(&served);
            workers.spawn(Stream::Unix(stream), async move |stream, _seat| {
                let Stream::Unix(mut stream) = stream else { unreachable!() };
                assert_eq!(stream.read_u8().await.unwrap(), 7);
                served.add_permits(1);
            });
            clients.push(client);
        }
        assert_eq!(counts(&workers), [3, 2, 2]);
        for client in &clients {
            client.try_write(&[7]).unwrap();
        }
        let all = tokio::time::timeout(PATIENCE, served.acquire_many(7)).await;
        assert!(all.is_ok(), "all are served");
        drop(clients);
        assert!(tokio::time::timeout(PATIENCE, workers.are_left()).await.is_ok(), "all have ended");
    }
    /// The cores that the threads of so many workers keep to, and those of threads that they begin.
    fn cores(workers: usize, keeps_cores: bool) -> (Vec<CpuSet>, Vec<CpuSet>) {
        let runtime = Builder::new_multi_thread().worker_threads(workers).build().unwrap();
        let of = || sched_getaffinity(None).unwrap();
        runtime.block_on(async {
            let workers = Workers::start(keeps_cores).unwrap();
            let (mut own, mut begun) = (Vec::new(), Vec::new());
            for worker in &workers.all {
                let asked = worker
                    .runtime
                    .spawn(async move { (of(), tokio::task::spawn_blocking(of).await.unwrap()) });
                let (here, there) = asked.await.unwrap();
                own.push(here);
                begun.push(there);
            }
            (own, begun)
        })
    }

    #[test]
    fn a_thread_keeps_to_its_core_where_there_is_one_for_each_and_what_it_sets_aside_does_not() {
        let all = sched_getaffinity(None).unwrap();
        let count = usize::try_from(all.count()).unwrap();
        let (own, begun) = cores(count, true);
        let mut together = CpuSet::new();
        for cores in &own {
            assert_eq!(cores.count(), 1);
            (0..CpuSet::MAX_CPU).filter(|core| cores.is_set(*core)).for_each(|core| together.set(core));
        }
        assert_eq!((together, own.len()), (all, count), "each has another one");
        assert_eq!(begun, vec![all; count]);
        for (workers, keeps_cores) in [(count + 1, true), (count, false)] {
            assert_eq!(cores(workers, keeps_cores), (vec![all; workers], vec![all; workers]));
        }
    }
}
