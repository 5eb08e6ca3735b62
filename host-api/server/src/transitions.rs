//! What happens in the registry goes into the log of the host beside it: every event, in order, at least once.
//!
//! The log itself says where to go on: an event is durable there before the next one is read. A registry that does not
//! have the event that the log has last is another one, or was restored from a backup, and is read from its beginning.

use std::time::Duration;

use tokio::task::JoinHandle;
use verdict::registry::catalogue::{self, Catalogue, CatalogueError, Limit};
use verdict::{Event, Host, HostError};

/// How many events are read at a time.
const BATCH: u32 = 500;
/// How long to wait for an event before the registry is looked at again.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long to wait after a failure.
const PAUSE: Duration = Duration::from_secs(1);

/// A task that ends with this.
#[derive(Debug)]
pub(crate) struct Transitions(JoinHandle<()>);

impl Drop for Transitions {
    fn drop(&mut self) {
        self.0.abort();
    }
}

#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("{0}")]
    Catalogue(#[from] CatalogueError),
    #[error("{0}")]
    Host(#[from] HostError),
}

/// Appends what happens in a catalogue to the log of a host, until this is dropped; nothing where that has no log.
pub(crate) fn follow(host: Host, catalogue: Catalogue) -> Transitions {
    Transitions(tokio::spawn(async move {
        if !host.is_recording() {
            return;
        }
        let mut after = None;
        loop {
            if let Err(error) = step(&host, &catalogue, &mut after).await {
                tracing::error!(%error, "events of the registry are not in the log; trying again");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }))
}

/// Appends the next events, waiting for them. `after` is the number of the last one, once that is known.
async fn step(host: &Host, catalogue: &Catalogue, after: &mut Option<u64>) -> Result<(), Failure> {
    let from = match *after {
        Some(number) => number,
        None => *after.insert(beginning(host, catalogue).await?),
    };
    let events = catalogue.wait_for_events(from, None, Limit::new(BATCH), PATIENCE).await?;
    if events.is_empty() && catalogue.event_head().await? < from {
        *after = None;
    }
    for event in events {
        let number = event.seq;
        host.append_event(&of(event)).await?;
        *after = Some(number);
    }
    Ok(())
}

/// The number of the event that the log has last, where the catalogue has the same; else 0.
async fn beginning(host: &Host, catalogue: &Catalogue) -> Result<u64, Failure> {
    let Some(last) = host.last_event() else { return Ok(0) };
    let before = last.number.saturating_sub(1);
    let there = catalogue.events_after(before, None, Limit::new(1)).await?.pop().map(of);
    if there.is_some_and(|there| there.to_bytes().ok() == last.to_bytes().ok()) {
        return Ok(last.number);
    }
    tracing::warn!(number = last.number, "the registry has another history than the log; reading all of it");
    Ok(0)
}

fn of(event: catalogue::Event) -> Event {
    Event {
        actor: event.actor,
        at: event.at,
        correlation: event.correlation,
        detail: event.detail,
        digest: event.digest,
        kind: event.kind.to_string(),
        number: event.seq,
        subject: event.subject,
        tenant: event.tenant,
    }
}
