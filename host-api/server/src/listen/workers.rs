//! Threads that each have connections of their own, with whatever is asked on them.
//!
//! Where threads share their connections, each that finds something to do wakes another one to help it: for decisions,
//! which take microseconds, that cost a tenth of the answers. Here a connection stays where it began, as in Envoy and
//! nginx, and its thread on a core. Left to the scheduler, two busy threads share one core for a while beside one that is
//! half idle, in turns of milliseconds in which all connections of one of them wait: that was nine tenths of the p99.
//! What may take long goes to threads that share it: evaluations with much fuel, batches, administration.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;

use super::stream::Stream;

/// The threads of a server.
#[derive(Debug)]
pub(super) struct Workers {
    all: Vec<Worker>,
    /// The threads that share what they do.
    shared: Handle,
}

#[derive(Debug)]
struct Worker {
    /// Its own, of one thread.
    runtime: Handle,
    connections: Arc<AtomicUsize>,
    /// When this is dropped the thread ends, with whatever it still does: that was waited for as long as it may take.
    _until: oneshot::Sender<()>,
}

/// A connection that a worker has, until it is dropped.
struct Held(Arc<AtomicUsize>);

impl Drop for Held {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
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
        Ok(Self { all: all.collect::<io::Result<_>>()?, shared })
    }

    /// Where to do what may take long.
    pub(super) fn shared(&self) -> Handle {
        self.shared.clone()
    }

    /// Serves a connection on the thread that has fewest.
    pub(super) fn spawn<F: Future<Output = ()> + Send + 'static>(
        &self,
        stream: Stream,
        serve: impl FnOnce(Stream) -> F + Send + 'static,
    ) {
        let fewest = self.all.iter().min_by_key(|worker| worker.connections.load(Ordering::Relaxed));
        let Some(worker) = fewest else { return };
        worker.connections.fetch_add(1, Ordering::Relaxed);
        let held = Held(Arc::clone(&worker.connections));
        drop(worker.runtime.spawn(async move {
            match stream.leave().and_then(Stream::arrive) {
                Ok(stream) => serve(stream).await,
                Err(error) => tracing::warn!(%error, "a connection could not be served"),
            }
            drop(held);
        }));
    }
}

impl Worker {
    fn start(core: Option<Core>) -> io::Result<Self> {
        let mut builder = Builder::new_current_thread();
        builder.enable_all();
        if let Some(core) = core {
            // Evaluations with much fuel have threads that this one begins; they may take any core.
            builder.on_thread_start(move || keep_to(&core.all));
        }
        let runtime = builder.build()?;
        let handle = runtime.handle().clone();
        let (until, ended) = oneshot::channel();
        let serve = move || {
            if let Some(core) = core {
                keep_to(&core.own);
            }
            drop(runtime.block_on(ended));
            runtime.shutdown_background();
        };
        thread::Builder::new().name("connections".to_owned()).spawn(serve)?;
        Ok(Self { runtime: handle, connections: Arc::default(), _until: until })
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

    fn counts(workers: &Workers) -> Vec<usize> {
        workers.all.iter().map(|worker| worker.connections.load(Ordering::Relaxed)).collect()
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 3)]
    async fn a_connection_goes_to_the_thread_that_has_fewest_and_makes_room_when_it_ends() {
        let (workers, served) = (Workers::start(true).unwrap(), Arc::new(Semaphore::new(0)));
        let mut clients = Vec::new();
        for _ in 0..7 {
            let (client, stream) = UnixStream::pair().unwrap();
            let served = Arc::clone(&served);
            workers.spawn(Stream::Unix(stream), async move |stream| {
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
        let ended = async {
            while counts(&workers) != [0, 0, 0] {
                tokio::task::yield_now().await;
            }
        };
        assert!(tokio::time::timeout(PATIENCE, ended).await.is_ok(), "all have ended");
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
