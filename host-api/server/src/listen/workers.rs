//! Threads that each have connections of their own, with whatever is asked on them.
//!
//! Where threads share their connections, each that finds something to do wakes another one to help it: for decisions,
//! which take microseconds, that cost a tenth of the answers. Here a connection stays where it began, as in Envoy and
//! nginx. What may take long still goes to threads that share it: evaluations with much fuel, batches, administration.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::runtime::{Builder, Handle, Runtime};

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
    /// Of one thread. There until it is dropped.
    runtime: Option<Runtime>,
    connections: Arc<AtomicUsize>,
}

/// A connection that a worker has, until it is dropped.
struct Held(Arc<AtomicUsize>);

impl Drop for Held {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Workers {
    /// As many as the runtime has threads that this is called on.
    ///
    /// # Errors
    /// When the system gives no threads.
    pub(super) fn start() -> io::Result<Self> {
        let shared = Handle::current();
        let start = |_| {
            let runtime = Builder::new_multi_thread()
                .worker_threads(1)
                .thread_name("connections")
                .enable_all()
                .build()?;
            Ok(Worker { runtime: Some(runtime), connections: Arc::default() })
        };
        let all = (0..shared.metrics().num_workers()).map(start).collect::<io::Result<_>>()?;
        Ok(Self { all, shared })
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
        let Some((worker, runtime)) = fewest.and_then(|worker| Some((worker, worker.runtime.as_ref()?)))
        else {
            return;
        };
        worker.connections.fetch_add(1, Ordering::Relaxed);
        let held = Held(Arc::clone(&worker.connections));
        drop(runtime.spawn(async move {
            match stream.leave().and_then(Stream::arrive) {
                Ok(stream) => serve(stream).await,
                Err(error) => tracing::warn!(%error, "a connection could not be served"),
            }
            drop(held);
        }));
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        // Whatever it still does was waited for as long as it may take. To wait here would hold up another runtime.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
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
        let (workers, served) = (Workers::start().unwrap(), Arc::new(Semaphore::new(0)));
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
}
