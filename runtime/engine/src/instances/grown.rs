//! Instances whose memory has grown, on their way out.
//!
//! The pages by which a memory has grown are taken away from it before another instance may have it, and for that the
//! system interrupts every processor that runs a thread of this process: the threads of all tenants. So such instances
//! are collected, and the pages of all of them go at once.
//!
//! Pages that have gone are made anew for the next instance, and a guest that reads such a page before it writes to it
//! interrupts the others too, once a page: what it read was a page of zeros that all share. Instances of a policy that
//! does this go one by one, with their pages, which costs one interruption each.

use std::mem;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use wasmtime::Store;

use super::Instance;
use crate::capabilities::State;
use crate::sys::{self, Watched};

/// How many instances go together at most.
const INSTANCES_MAX: usize = 32;
/// The part of an engine's instances that may wait: one in so many.
const SHARE: u32 = 8;
/// How many pages they may hold together.
const PAGES_MAX: usize = 16 << 10;
/// How many pages an evaluation may read before it writes to them, so that its instance goes with others.
const READ_FIRST_MAX: usize = 2;

/// What is known of the growth of one policy's memories: [`NEVER`], [`ALONE`], or that they grow, and how many pages
/// evaluations that followed one another have read first.
#[derive(Default)]
pub(crate) struct Growth(AtomicU8);

/// None has grown.
const NEVER: u8 = 0;
/// They grow, and the last evaluation did not read first.
const TOGETHER: u8 = 1;
/// So many were read first that it was not for want of warm slots.
const ALONE: u8 = 200;

/// An evaluation of a policy whose memory has grown before: the faults of this thread when it began.
pub(crate) struct Growing(u64);

impl Growth {
    /// Whether it is to be known where a new instance has its memories.
    pub(crate) fn is_to_be_seen(&self) -> bool {
        (TOGETHER..ALONE).contains(&self.0.load(Ordering::Relaxed))
    }

    /// At the beginning of an evaluation.
    pub(crate) fn begin(&self) -> Option<Growing> {
        self.is_to_be_seen().then(|| Growing(sys::page_faults()))
    }

    /// At its end, when memory has grown: the pages by which it did, if the instance goes with others.
    pub(crate) fn goes_together(&self, instance: &mut Instance, growing: Option<Growing>) -> Option<usize> {
        let now = self.0.load(Ordering::Relaxed);
        let Some(Growing(before)) = growing else {
            if now == NEVER {
                self.0.store(TOGETHER, Ordering::Relaxed);
            }
            return None;
        };
        let faults = usize::try_from(sys::page_faults().saturating_sub(before)).unwrap_or(usize::MAX);
        let mut pages = faults;
        if faults > READ_FIRST_MAX {
            // One fault for a page that is there, and another one if it was read first.
            pages = instance.grown_pages();
        }
        let next = match faults.saturating_sub(pages) {
            0..=READ_FIRST_MAX => TOGETHER,
            again => now.saturating_add(u8::try_from(again).unwrap_or(u8::MAX)),
        };
        if next != now {
            self.0.store(next.min(ALONE), Ordering::Relaxed);
        }
        (next < ALONE).then_some(pages)
    }
}

/// The instances that wait, of all policies of one engine.
pub(crate) struct Grown {
    instances_max: usize,
    waiting: Mutex<Waiting>,
    /// Held while some go, so that whoever needs their room waits for it.
    going: Mutex<()>,
}

#[derive(Default)]
struct Waiting {
    /// Each with the bytes that its memories have grown by.
    instances: Vec<(Watched<Store<State>>, usize)>,
    pages: usize,
}

impl Grown {
    /// For an engine that has room for so many instances.
    pub(crate) fn new(concurrency: u32) -> Self {
        let share = usize::try_from(concurrency / SHARE).unwrap_or(usize::MAX);
        Self { instances_max: share.min(INSTANCES_MAX), waiting: Mutex::default(), going: Mutex::default() }
    }

    /// Takes an instance that is only to be dropped, whose memories are known and have grown by so many pages that are
    /// there. Drops all that wait if it is time to.
    pub(crate) fn put(&self, mut instance: Instance, grown_pages: usize) {
        let (bytes, pages) = (instance.grown_bytes(), instance.pristine_pages());
        let mut waiting = lock(&self.waiting);
        waiting.instances.push((instance.into_watched(), bytes));
        waiting.pages = waiting.pages.saturating_add(pages).saturating_add(grown_pages);
        let is_due = waiting.instances.len() >= self.instances_max || waiting.pages >= PAGES_MAX;
        drop(waiting);
        if is_due {
            self.clear();
        }
    }

    /// Drops all that wait; false if there are none.
    pub(crate) fn clear(&self) -> bool {
        let _going = lock(&self.going);
        let due = mem::take(&mut *lock(&self.waiting)).instances;
        let any = !due.is_empty();
        sys::drop_grown(due);
        any
    }
}

/// Nothing that may panic happens under either lock.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
