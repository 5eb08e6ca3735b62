//! Versions that are only watched: evaluated beside an answer and recorded, on a thread of their own. Where they cannot
//! keep up, questions are left out and counted; no answer ever waits for them.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Weak};
use std::thread;

use verdict_core::record::Through;

use crate::Inner;
use crate::decide::Question;
use crate::error::HostError;
use crate::load::Active;

/// How many questions may wait.
const WAITING_MAX: usize = 1_024;

/// What is to be evaluated beside an answer.
pub(crate) struct Shadowed {
    pub(crate) active: Arc<Active>,
    pub(crate) question: Question,
    pub(crate) through: Through,
}

/// The questions that wait, and those that were left out.
#[derive(Debug)]
pub(crate) struct Shadows {
    waiting: SyncSender<Shadowed>,
    evaluated: Arc<AtomicU64>,
    left_out: AtomicU64,
}

impl Shadows {
    /// Starts the thread. It ends with the host.
    pub(crate) fn start(inner: Weak<Inner>) -> Result<Self, HostError> {
        let (waiting, receiver) = sync_channel(WAITING_MAX);
        let evaluated = Arc::new(AtomicU64::new(0));
        let counted = evaluated.clone();
        thread::Builder::new()
            .name("verdict-shadows".into())
            .spawn(move || evaluate(&inner, &receiver, &counted))
            .map_err(|error| HostError::Entropy(error.to_string()))?;
        Ok(Self { waiting, evaluated, left_out: AtomicU64::new(0) })
    }

    /// One that leaves everything out: a host that cannot start a thread does not start.
    pub(crate) fn none() -> Self {
        let evaluated = Arc::new(AtomicU64::new(0));
        Self { waiting: sync_channel(0).0, evaluated, left_out: AtomicU64::new(0) }
    }

    pub(crate) fn add(&self, shadowed: Shadowed) {
        if self.waiting.try_send(shadowed).is_err() {
            self.left_out.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// How many were recorded, and how many left out.
    pub(crate) fn counts(&self) -> (u64, u64) {
        (self.evaluated.load(Ordering::Relaxed), self.left_out.load(Ordering::Relaxed))
    }
}

fn evaluate(inner: &Weak<Inner>, receiver: &Receiver<Shadowed>, evaluated: &AtomicU64) {
    for Shadowed { active, question, through } in receiver {
        let Some(inner) = inner.upgrade() else { return };
        let id = question.id.clone();
        match inner.evaluate(&active, &question, Some(through)) {
            Ok(pending) => match pending.wait() {
                Ok(_) => drop(evaluated.fetch_add(1, Ordering::Relaxed)),
                Err(error) => tracing::warn!(%id, %error, "a shadow's decision was not recorded"),
            },
            Err(error) => tracing::warn!(%id, %error, "a shadow was not evaluated"),
        }
    }
}
