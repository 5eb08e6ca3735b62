//! The pages of one instance's linear memories: which were written, and putting them back.
//!
//! A memory that is watched is read-only. The first write to a page faults; the handler makes the page writable and
//! notes it. A page stays writable ("hot") while the instance lives, so a policy that writes the same pages each time
//! faults no more; a reset copies the hot pages back.

use std::io;
use std::mem::ManuallyDrop;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use super::fault_handler;
#[cfg(test)]
use crate::instances::sabotage::Sabotage;
use crate::instances::{Snapshot, is_zero};

/// How many pages of an instance are watched one by one. Each may split a mapping of the process; beyond this the
/// whole memory is made writable, and a reset compares all of it.
const HOT_PAGES_MAX: usize = 256;

/// How it is known which pages were written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Watch {
    /// By page protection.
    Protection,
    /// It is not known: a reset compares everything.
    Comparison,
}

/// A store, and the linear memories of the instance in it. The two belong together: the memories are writable again
/// when the store is dropped, and if they cannot be made so, the store stays where it is.
pub(crate) struct Watched<S> {
    store: ManuallyDrop<S>,
    pages: Pages,
}

impl<S> Watched<S> {
    /// Takes a store, and watches nothing yet.
    pub(crate) fn new(store: S) -> Self {
        Self { store: ManuallyDrop::new(store), pages: Pages::default() }
    }

    /// The store. Guests are called in [`Self::running`] only.
    pub(crate) fn store(&mut self) -> &mut S {
        &mut self.store
    }

    /// Watches these memories from now on, each given as the slice that the store gave out.
    ///
    /// # Errors
    /// When the system refuses, or a memory does not begin and end at a page. Some may be read-only then: the store
    /// is only to be dropped.
    pub(crate) fn watch(&mut self, memories: &[(*const u8, usize)], watch: Watch) -> io::Result<()> {
        self.pages.release()?;
        // Kept before anything is protected, so that it is made writable again whatever happens.
        self.pages = Pages::new(memories)?;
        match watch {
            Watch::Protection => self.pages.protect(),
            Watch::Comparison => Ok(()),
        }
    }

    /// Runs `work`, in which the guest may be called: what it writes is let through and noted.
    pub(crate) fn running<R>(&mut self, work: impl FnOnce(&mut S) -> R) -> R {
        let Self { store, pages } = self;
        fault_handler::watching(pages, || work(store))
    }

    /// Whether a page could not be made writable when it was written to.
    pub(crate) fn failed(&self) -> bool {
        self.pages.failed.load(Ordering::Relaxed)
    }

    /// Bytes that a reset copies or compares.
    pub(crate) fn reset_bytes(&self) -> usize {
        self.pages.memories.iter().map(Memory::reset_bytes).sum()
    }

    /// Puts every byte back that was written since the snapshot.
    pub(crate) fn reset(&mut self, snapshot: &Snapshot) {
        for (memory, pages) in self.pages.memories.iter_mut().zip(snapshot.memories()) {
            memory.reset(|page| pages.page(page));
        }
    }
}

/// Drops stores whose memories have grown by so many bytes together, each. The pages by which they grew are given back
/// at once, with one interruption of the other processors instead of one for each store. Where Linux is older than 6.16
/// each store gives its pages back by itself.
///
/// Only for memories in slots of the pool, each of which has room for all that a store may use.
pub(crate) fn drop_grown<S>(stores: Vec<(Watched<S>, usize)>) {
    let grown = stores.iter().flat_map(|(store, bytes)| store.pages.grown(*bytes));
    for some in grown.collect::<Vec<_>>().chunks(IOV_MAX) {
        // SAFETY: the ranges are those of `Pages::grown`. Their bytes become zero, or stay inaccessible; the stores are
        // owned here, so no guest runs in them and nobody refers to their memory, and they are dropped next. Where the
        // system does not know the call, it does nothing.
        unsafe {
            libc::syscall(
                libc::SYS_process_madvise,
                PIDFD_SELF_THREAD_GROUP,
                some.as_ptr(),
                some.len(),
                libc::MADV_DONTNEED,
                0,
            );
        }
    }
}

/// How often this thread had to be given a page, or a page of its own instead of one that it shared.
pub(crate) fn page_faults() -> u64 {
    let mut usage = std::mem::MaybeUninit::<libc::rusage>::zeroed();
    // SAFETY: `usage` has the size of what the call writes, and is zero, which is a value of it, where the call fails.
    let faults = unsafe {
        libc::getrusage(libc::RUSAGE_THREAD, usage.as_mut_ptr());
        usage.assume_init().ru_minflt
    };
    u64::try_from(faults).unwrap_or(0)
}

/// This process, where a system call wants a descriptor of one (`include/uapi/linux/pidfd.h`).
const PIDFD_SELF_THREAD_GROUP: libc::c_int = -10_001;
/// How many ranges one call takes (`UIO_MAXIOV`).
const IOV_MAX: usize = 1_024;

impl<S> Watched<S> {
    /// How many pages are there of the `bytes` by which the memories have grown together.
    pub(crate) fn grown_pages(&self, bytes: usize) -> usize {
        let mut there = vec![0_u8; bytes.div_ceil(page_bytes())];
        let grown = self.pages.grown(bytes).map(|range| {
            // SAFETY: the range is one of `Pages::grown`, mapped, and `there` has a byte for each of its pages. The call
            // reads no memory of the guest.
            let result = unsafe { libc::mincore(range.iov_base, range.iov_len, there.as_mut_ptr()) };
            if result == 0 { there.iter().filter(|page| **page & 1 == 1).count() } else { 0 }
        });
        grown.sum()
    }
}

impl<S> Drop for Watched<S> {
    fn drop(&mut self) {
        // A store puts its memory in order when it is dropped, and nobody lets its writes through. So a store whose
        // memory stays read-only is left alone: a slot of the pool is lost, and nothing else.
        if self.pages.release().is_ok() {
            // SAFETY: the store is dropped nowhere else, and not used after this.
            unsafe { ManuallyDrop::drop(&mut self.store) }
        }
    }
}

/// The linear memories of one instance, by address.
#[derive(Debug, Default)]
pub(super) struct Pages {
    memories: Box<[Memory]>,
    /// A page could not be made writable: the instance's last evaluation is worth nothing.
    failed: AtomicBool,
}

#[derive(Debug)]
struct Memory {
    base: usize,
    bytes: usize,
    /// All of it is writable, and what was written is not known.
    open: AtomicBool,
    /// A bit for each page that was written.
    hot: Box<[AtomicU64]>,
    hot_count: AtomicUsize,
}

/// Hot pages of all instances of the process: a process has a limited number of mappings (vm.max_map_count).
static HOT_EVERYWHERE: AtomicUsize = AtomicUsize::new(0);

/// The pages that are hot now, in all instances of the process.
pub(crate) fn hot_pages_everywhere() -> usize {
    HOT_EVERYWHERE.load(Ordering::Relaxed)
}

/// How many pages may be hot at once: each may take two mappings more, and half of the process's mappings are left to
/// others. Beyond it memories are made writable as a whole.
pub(crate) fn hot_pages_everywhere_max() -> usize {
    static MAX: OnceLock<usize> = OnceLock::new();
    *MAX.get_or_init(|| {
        let max = std::fs::read_to_string("/proc/sys/vm/max_map_count");
        let mappings = max.ok().and_then(|max| max.trim().parse::<usize>().ok());
        mappings.unwrap_or(LINUX_DEFAULT_MAPPINGS) / 4
    })
}

const LINUX_DEFAULT_MAPPINGS: usize = 65_530;

/// The bytes of a page of this machine.
pub(crate) fn page_bytes() -> usize {
    rustix::param::page_size()
}

impl Pages {
    fn new(memories: &[(*const u8, usize)]) -> io::Result<Self> {
        // Read here and not in the handler, which must not take a lock.
        let (page, _) = (page_bytes(), hot_pages_everywhere_max());
        if memories.iter().any(|(base, bytes)| base.addr() % page != 0 || bytes % page != 0) {
            return Err(io::Error::other("a linear memory does not begin and end at a page"));
        }
        let memories =
            memories.iter().map(|(base, bytes)| Memory::new(base.expose_provenance(), *bytes, page));
        Ok(Self { memories: memories.collect(), failed: AtomicBool::new(false) })
    }

    /// Makes all pages read-only.
    fn protect(&self) -> io::Result<()> {
        self.memories.iter().try_for_each(Memory::protect)
    }

    /// Makes all pages writable.
    fn release(&self) -> io::Result<()> {
        self.memories.iter().try_for_each(Memory::open)
    }

    /// Where the memories may have grown, by `bytes` together: for each as many bytes after where it ended when it was
    /// watched. A slot of the pool has room for the most that one store may use (`instance_config`), so each range lies
    /// in the slot of its own memory.
    fn grown(&self, bytes: usize) -> impl Iterator<Item = libc::iovec> {
        let iov_len = bytes.next_multiple_of(page_bytes());
        self.memories.iter().map(move |memory| libc::iovec {
            iov_base: std::ptr::with_exposed_provenance_mut(memory.base + memory.bytes),
            iov_len,
        })
    }

    /// A write to `address` has faulted: whether it may go on. Called in a signal handler.
    pub(super) fn let_through(&self, address: usize) -> bool {
        let holds = |memory: &&Memory| address.wrapping_sub(memory.base) < memory.bytes;
        let Some(memory) = self.memories.iter().find(holds) else { return false };
        memory.written(address, page_bytes()).unwrap_or_else(|()| {
            self.failed.store(true, Ordering::Relaxed);
            false
        })
    }
}

impl Drop for Pages {
    fn drop(&mut self) {
        for memory in &self.memories {
            HOT_EVERYWHERE.fetch_sub(memory.hot_count.load(Ordering::Relaxed), Ordering::Relaxed);
        }
    }
}

impl Memory {
    fn new(base: usize, bytes: usize, page: usize) -> Self {
        let words = (bytes / page).div_ceil(64);
        Self {
            base,
            bytes,
            open: AtomicBool::new(true),
            hot: (0..words).map(|_| AtomicU64::new(0)).collect(),
            hot_count: AtomicUsize::new(0),
        }
    }

    fn protect(&self) -> io::Result<()> {
        // A call that fails may have changed the first of its pages.
        self.open.store(false, Ordering::Relaxed);
        protect(self.base, self.bytes, libc::PROT_READ)
    }

    /// Makes all of it writable.
    fn open(&self) -> io::Result<()> {
        if !self.open.load(Ordering::Relaxed) {
            protect(self.base, self.bytes, libc::PROT_READ | libc::PROT_WRITE)?;
            self.open.store(true, Ordering::Relaxed);
        }
        Ok(())
    }

    /// Notes the first write to a page and makes the page writable. False if the page was writable already: then the
    /// fault has another cause.
    fn written(&self, address: usize, page: usize) -> Result<bool, ()> {
        let number = (address - self.base) / page;
        let Some(word) = self.hot.get(number / 64) else { return Ok(false) };
        let bit = 1 << (number % 64);
        if self.open.load(Ordering::Relaxed) || word.load(Ordering::Relaxed) & bit != 0 {
            return Ok(false);
        }
        let few = self.hot_count.load(Ordering::Relaxed) < HOT_PAGES_MAX
            && hot_pages_everywhere() < hot_pages_everywhere_max();
        let read_write = libc::PROT_READ | libc::PROT_WRITE;
        if few && protect(self.base + number * page, page, read_write).is_ok() {
            #[cfg(test)]
            if Sabotage::ForgetWrite.is_on() {
                return Ok(true);
            }
            word.fetch_or(bit, Ordering::Relaxed);
            self.hot_count.fetch_add(1, Ordering::Relaxed);
            HOT_EVERYWHERE.fetch_add(1, Ordering::Relaxed);
            return Ok(true);
        }
        // To open all of it splits no mapping, so this works where mappings are exhausted.
        self.open().map(|()| true).map_err(drop)
    }

    fn reset_bytes(&self) -> usize {
        if self.open.load(Ordering::Relaxed) {
            return self.bytes;
        }
        self.hot_count.load(Ordering::Relaxed).saturating_mul(page_bytes())
    }

    fn reset<'a>(&mut self, pristine: impl Fn(usize) -> Option<&'a [u8]>) {
        let page = page_bytes();
        if *self.open.get_mut() {
            for number in 0..self.bytes / page {
                let (memory, pristine) = (self.page(number, page), pristine(number));
                let differs = pristine.map_or_else(|| !is_zero(memory), |pristine| memory != pristine);
                if differs {
                    put_back(memory, pristine);
                }
            }
            return;
        }
        for word in 0..self.hot.len() {
            let mut bits = self.hot.get_mut(word).map_or(0, |word| *word.get_mut());
            while bits != 0 {
                let number = word * 64 + bits.trailing_zeros() as usize;
                bits &= bits - 1;
                put_back(self.page(number, page), pristine(number));
            }
        }
    }

    /// A page that is writable, `number` below their count.
    fn page(&mut self, number: usize, page: usize) -> &mut [u8] {
        let address = std::ptr::with_exposed_provenance_mut(self.base + number * page);
        // SAFETY: the page lies within a linear memory of the store in the same `Watched`: the store gave out base and
        // length as a slice, a linear memory does not move (`memory_may_move(false)`) or shrink, and it is there until
        // the store is dropped, which is after this. `Watched` is held exclusively (`&mut`), so no guest runs, and
        // nobody has a reference into the memory: what the store hands out borrows the store. Every caller asks only
        // for pages that are writable: hot ones, or any of an open memory. The memory was mapped outside of Rust's
        // allocator, and its address exposed when it was taken.
        unsafe { std::slice::from_raw_parts_mut(address, page) }
    }
}

fn put_back(memory: &mut [u8], pristine: Option<&[u8]>) {
    #[cfg(test)]
    if Sabotage::skips_page() {
        return;
    }
    match pristine {
        Some(pristine) if pristine.len() == memory.len() => memory.copy_from_slice(pristine),
        _ => memory.fill(0),
    }
}

/// `mprotect`.
fn protect(address: usize, bytes: usize, protection: libc::c_int) -> io::Result<()> {
    #[cfg(test)]
    let fails = failing::next();
    #[cfg(test)]
    let bytes = if fails { bytes / 2 / page_bytes() * page_bytes() } else { bytes };
    let address = std::ptr::with_exposed_provenance_mut(address);
    // SAFETY: the range is a whole number of pages of one linear memory, which the store keeps mapped (see
    // `Memory::page`). Making it read-only changes no byte, and nothing writes to it but the guest and the host on its
    // behalf, under the handler; it is made writable before the store is dropped.
    let result = unsafe { libc::mprotect(address, bytes, protection) };
    #[cfg(test)]
    let result = if fails { -1 } else { result };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Lets `mprotect` fail, as it does when a process has too many mappings: after the first half of the range.
#[cfg(test)]
pub(crate) mod failing {
    use std::cell::Cell;

    thread_local! {
        static CALLS: Cell<(u32, u32)> = const { Cell::new((0, 0)) };
    }

    /// On this thread: `well` calls go well, then `badly` fail.
    pub(crate) fn after(well: u32, badly: u32) {
        CALLS.set((well, badly));
    }

    pub(super) fn next() -> bool {
        let (well, badly) = CALLS.get();
        CALLS.set(if well > 0 { (well - 1, badly) } else { (0, badly.saturating_sub(1)) });
        well == 0 && badly > 0
    }
}
