//! Idle instances of all policies of one engine, under one budget. When it is used up, the instance that goes is one of
//! a policy that was not asked lately (the clock algorithm: a policy that was asked gets a second chance).

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError, Weak};

use super::Instances;
use crate::sys::{hot_pages_everywhere, hot_pages_everywhere_max};

/// What an idle instance takes besides the pages that it wrote: its store, its tables, the kernel's page tables.
const INSTANCE_BYTES: usize = 64 << 10;

/// The idle instances, seen from the engine.
pub(crate) struct Idle {
    bytes_max: usize,
    bytes: AtomicUsize,
    hand: Mutex<Hand>,
}

/// Where the clock's hand is.
#[derive(Default)]
struct Hand {
    policies: Vec<Weak<Instances>>,
    at: usize,
}

impl Idle {
    pub(crate) fn new(bytes_max: usize) -> Self {
        Self { bytes_max, bytes: AtomicUsize::new(0), hand: Mutex::default() }
    }

    /// Counts a policy's instances from now on.
    pub(crate) fn register(&self, policy: Weak<Instances>) {
        let mut hand = self.hand.lock().unwrap_or_else(PoisonError::into_inner);
        hand.policies.push(policy);
    }

    /// What an instance that writes `written` bytes takes while it is idle.
    pub(crate) fn cost(written: usize) -> usize {
        INSTANCE_BYTES.saturating_add(written)
    }

    /// An instance has become idle. Others go until all fit.
    pub(crate) fn add(&self, bytes: usize) {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        while self.over_budget() && self.evict() {}
    }

    /// An instance is idle no more.
    pub(crate) fn remove(&self, bytes: usize) {
        self.bytes.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// The bytes that idle instances take, by the estimate of [`Self::cost`].
    pub(crate) fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }

    fn over_budget(&self) -> bool {
        self.bytes() > self.bytes_max || hot_pages_everywhere() > hot_pages_everywhere_max() / 2
    }

    /// Drops one idle instance; false if there is none.
    pub(crate) fn evict(&self) -> bool {
        // The instance is dropped after the lock.
        let found = self.hand.lock().unwrap_or_else(PoisonError::into_inner).find();
        found.is_some_and(|policy| policy.drop_one())
    }
}

impl Hand {
    /// The next policy with idle instances that was not asked since the hand last passed. Twice around is enough: the
    /// first time takes the second chances away.
    fn find(&mut self) -> Option<std::sync::Arc<Instances>> {
        let mut steps = self.policies.len().saturating_mul(2).saturating_add(1);
        while steps > 0 && !self.policies.is_empty() {
            steps -= 1;
            self.at = if self.at + 1 < self.policies.len() { self.at + 1 } else { 0 };
            let Some(policy) = self.policies.get(self.at).and_then(Weak::upgrade) else {
                self.policies.swap_remove(self.at);
                continue;
            };
            if policy.is_idle() && !policy.take_chance() {
                return Some(policy);
            }
        }
        None
    }
}
