//! The memory of a guest: an arena that is handed out front to back and never taken back.
//!
//! A decision starts from the state after instantiation and ends within a millisecond, so giving memory back would
//! only cost fuel. The arena lies in the component's static memory, next to its data, so that the usual decision
//! touches few pages and never grows the memory; what does not fit is taken from the host, up to the decision's
//! memory limit. Same calls, same addresses: nothing here depends on anything but the sequence of allocations.

#![allow(unsafe_code, reason = "an allocator hands out raw memory; each block says why it is sound")]

use core::alloc::{GlobalAlloc, Layout};
use core::arch::wasm32::{memory_grow, memory_size};
use core::cell::{Cell, UnsafeCell};
use core::ptr::null_mut;

/// What the usual decision may allocate in total, in bytes, before the memory grows.
const ARENA_BYTES: usize = 256 * 1024;
const PAGE_BYTES: usize = 64 * 1024;

#[repr(align(16))]
struct Arena(UnsafeCell<[u8; ARENA_BYTES]>);

// SAFETY: shared between threads is what `Sync` allows, and this target has one thread: no atomics, no shared memory.
unsafe impl Sync for Arena {}

static ARENA: Arena = Arena(UnsafeCell::new([0; ARENA_BYTES]));

/// Addresses are plain numbers here; `next == 0` says that nothing has been handed out yet.
struct Bump {
    next: Cell<usize>,
    end: Cell<usize>,
}

// SAFETY: as for `Arena`, one thread.
unsafe impl Sync for Bump {}

#[global_allocator]
static BUMP: Bump = Bump { next: Cell::new(0), end: Cell::new(0) };

impl Bump {
    fn start(&self) {
        let base = ARENA.0.get() as usize;
        self.next.set(base);
        self.end.set(base + ARENA_BYTES);
    }

    /// The address of `size` bytes, or none if the host gives no more memory.
    fn take(&self, size: usize, align: usize) -> Option<usize> {
        if self.next.get() == 0 {
            self.start();
        }
        let at = self.next.get().checked_next_multiple_of(align)?;
        let next = at.checked_add(size)?;
        if next > self.end.get() {
            return self.take_from_host(size, align);
        }
        self.next.set(next);
        Some(at)
    }

    /// New pages continue the last ones, unless those were the arena's; then what is left of the arena is given up.
    #[cold]
    fn take_from_host(&self, size: usize, align: usize) -> Option<usize> {
        let fresh = memory_size(0).checked_mul(PAGE_BYTES)?;
        let from = if self.end.get() == fresh { self.next.get() } else { fresh };
        let at = from.checked_next_multiple_of(align)?;
        let next = at.checked_add(size)?;
        let pages = next.saturating_sub(fresh).div_ceil(PAGE_BYTES);
        if memory_grow(0, pages) == usize::MAX {
            return None;
        }
        self.next.set(next);
        self.end.set(fresh + pages * PAGE_BYTES);
        Some(at)
    }
}

// SAFETY: `take` returns ranges inside the arena or inside pages just grown, aligned as asked, and never the same byte
// twice, because `next` only moves forward past what it returned. It neither unwinds nor allocates.
unsafe impl GlobalAlloc for Bump {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        self.take(layout.size(), layout.align()).map_or(null_mut(), |at| at as *mut u8)
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promise about the layout is passed on. Memory is zero until it is handed out, once.
        unsafe { self.alloc(layout) }
    }

    unsafe fn dealloc(&self, _block: *mut u8, _layout: Layout) {}

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        let (start, old) = (block as usize, layout.size());
        let is_last = start + old == self.next.get();
        if size <= old || (is_last && self.take(size - old, 1) == Some(start + old)) {
            return block;
        }
        let Some(new) = self.take(size, layout.align()) else { return null_mut() };
        // SAFETY: `block` holds `old` bytes by the caller's promise, the new range is longer, and ranges handed out
        // are disjoint.
        unsafe { core::ptr::copy_nonoverlapping(block, new as *mut u8, old) };
        new as *mut u8
    }
}
