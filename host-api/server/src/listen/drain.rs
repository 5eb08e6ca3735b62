//! How a server stops without failing a request.
//!
//! First it says that it is not ready, and goes on for the delay that load balancers need; every answer of HTTP/1.1
//! tells its client to close. Then no connection is begun any more, but those that the kernel has taken already are
//! served, and HTTP/2 clients are told which of their requests still count. Idle connections of HTTP/1.1 stay open for a
//! moment: whoever sends a request over one just then is answered. Last, what is idle is closed, and what is under way
//! has until the drain timeout.

use std::time::Duration;

use tokio::sync::{mpsc, watch};

/// How long an idle connection of HTTP/1.1 stays open for a request that may be on its way.
pub(super) const IDLE_GRACE: Duration = Duration::from_secs(1);

/// How far the server has stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Stage {
    /// Not at all.
    Serving,
    /// Nobody new is let in.
    Closed,
    /// Nobody is waited for who has not begun to ask.
    Last,
}

/// What a connection holds as long as it is open, and hears from how far the server has stopped.
#[derive(Debug, Clone)]
pub(super) struct Drain {
    stage: watch::Receiver<Stage>,
    _open: mpsc::Sender<()>,
}

impl Drain {
    /// Returns when the server has stopped that far.
    pub(super) async fn reached(&mut self, stage: Stage) {
        // An error says that the server is gone altogether.
        let _ = self.stage.wait_for(|reached| *reached >= stage).await;
    }
}

/// Stops the connections.
#[derive(Debug)]
pub(super) struct Stopping {
    stage: watch::Sender<Stage>,
    open: mpsc::Sender<()>,
    closed: mpsc::Receiver<()>,
}

impl Stopping {
    pub(super) fn new() -> Self {
        let (open, closed) = mpsc::channel(1);
        Self { stage: watch::Sender::new(Stage::Serving), open, closed }
    }

    /// For a connection, or for a listener, which makes some.
    pub(super) fn drain(&self) -> Drain {
        Drain { stage: self.stage.subscribe(), _open: self.open.clone() }
    }

    /// Lets nobody in any more.
    pub(super) fn close(&self) {
        self.stage.send_replace(Stage::Closed);
    }

    /// Returns when every connection has ended, or after this time, which is said.
    pub(super) async fn finish(self, timeout: Duration) -> Result<(), tokio::time::error::Elapsed> {
        let Self { stage, open, mut closed } = self;
        drop(open);
        let finish = async {
            if tokio::time::timeout(IDLE_GRACE, closed.recv()).await.is_err() {
                stage.send_replace(Stage::Last);
                closed.recv().await;
            }
        };
        tokio::time::timeout(timeout, finish).await
    }
}
