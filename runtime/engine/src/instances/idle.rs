//! Idle instances of all policies of one engine, under one budget. When it is used up, the instance that goes is one of
//! a policy that was not asked lately (the clock algorithm: a policy that was asked gets a second chance).

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use super::Instances;
use crate::sys::{hot_pages_everywhere, hot_pages_everywhere_max};

/// What an idle instance takes besides the pages that it wrote: its store, its tables, the kernel's page tables.
const INSTANCE_BYTES: usize = 64 << 10;

/// How many policies may turn out to have no idle instance any more.
const FOUND_MAX: u32 = 64;

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
        hand.push(policy);
    }

    /// Idle instances go until all fit.
    pub(crate) fn shrink(&self) {
        while self.over_budget() && self.evict() {}
    }

    /// The bytes that instances take which are idle or have been so, by estimate.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }

    #[cfg(test)]
    pub(super) fn registered(&self) -> usize {
        self.hand.lock().unwrap_or_else(PoisonError::into_inner).policies.len()
    }

    fn over_budget(&self) -> bool {
        self.bytes() > self.bytes_max || hot_pages_everywhere() > hot_pages_everywhere_max() / 2
    }

    /// Drops one idle instance; false if there is none.
    pub(crate) fn evict(&self) -> bool {
        // Where nothing is idle, nobody is searched. Of the policies that are found, others may take the instance first.
        (0..FOUND_MAX)
            .take_while(|_| self.bytes() > 0)
            .map_while(|_| self.find())
            .any(|policy| policy.drop_one())
    }

    /// A policy that an instance is taken from. The lock is not held while that is dropped.
    fn find(&self) -> Option<Arc<Instances>> {
        self.hand.lock().unwrap_or_else(PoisonError::into_inner).find()
    }
}

/// An instance's share of the budget, from when it is first idle until it is dropped. It is not counted again with each
/// question: all threads would write to one place.
#[derive(Default)]
pub(crate) struct Counted {
    idle: Option<Arc<Idle>>,
    bytes: usize,
}

impl Counted {
    /// Counts an instance that writes `written` bytes; whether it is more than it was.
    pub(crate) fn count(&mut self, idle: &Arc<Idle>, written: usize) -> bool {
        let bytes = INSTANCE_BYTES.saturating_add(written);
        let more = bytes.saturating_sub(self.bytes);
        if more > 0 {
            idle.bytes.fetch_add(more, Ordering::Relaxed);
            self.bytes = bytes;
            self.idle.get_or_insert_with(|| idle.clone());
        }
        more > 0
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        if let Some(idle) = &self.idle {
            idle.bytes.fetch_sub(self.bytes, Ordering::Relaxed);
        }
    }
}

impl Hand {
    /// Adds a policy. Those that are gone are forgotten before the list would double.
    fn push(&mut self, policy: Weak<Instances>) {
        if self.policies.len() == self.policies.capacity() {
            self.policies.retain(|policy| policy.strong_count() > 0);
            self.policies.reserve(self.policies.len() + 16);
        }
        self.policies.push(policy);
    }

    /// The next policy with idle instances that was not asked since the hand last passed. Twice around is enough: the
    /// first time takes the second chances away.
    fn find(&mut self) -> Option<Arc<Instances>> {
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
