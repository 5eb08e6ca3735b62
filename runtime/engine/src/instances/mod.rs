//! Where evaluations run: in an instance that is reset in place, or in a new one. [`Instances`] decides which, once for
//! a policy; nothing else knows of it.
//!
//! An instance that answered is reset at once and waits, idle, for the next question to the same policy version. After
//! a fault, or when its memory has grown, it is dropped. Idle instances of all policies share a budget.

mod grown;
mod idle;
mod instance;
#[cfg(test)]
pub(crate) mod sabotage;
mod snapshot;
#[cfg(test)]
mod tests;
mod verify;

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use verdict_core::limits::Limits;
use verdict_core::outcome::Fault;
use verdict_core::pointer::Pointer;
use wasmtime::component::{ComponentExportIndex, InstancePre};
use wasmtime::{PoolConcurrencyLimitError, Store};

use crate::capabilities::{Question, State};
use crate::config;
use crate::engine::{self, deadline_ticks};
use crate::fault::instantiation_fault;
use crate::fuel;
use crate::limits::lifted_bytes_max;
use crate::outcome::LogLine;
use crate::reads::ReadSet;
use crate::sys::Watch;
pub(crate) use grown::Grown;
use grown::{Growing, Growth};
use idle::Counted;
pub(crate) use idle::Idle;
use instance::Exports;
pub(crate) use instance::{Answered, Instance, WrongType};
pub(crate) use snapshot::{Snapshot, is_zero};
pub(crate) use verify::Verification;
pub use verify::VerificationCounts;

/// Memories that are copied or compared as a whole may have this many bytes together; beyond it a new instance is
/// faster.
const COMPARED_BYTES_MAX: usize = 2 << 20;
/// How many instances make way for a new one before there is no room.
const EVICTIONS_MAX: u32 = 256;
/// What a component has at least for its start, in milliseconds.
const START_CLOCK_MS: u64 = 1_000;
/// How often nobody may be found who makes way.
const MISSES_MAX: u32 = 16;

/// The instances of one policy.
pub(crate) struct Instances {
    engine: Arc<engine::Inner>,
    made: InstancePre<State>,
    exports: Exports,
    limits: Limits,
    data_granted: Arc<[Pointer]>,
    /// How instances are reset; the reason if they are not.
    reset: Result<Reset, String>,
    /// Why a policy that could be reset is not any more.
    stopped: OnceLock<String>,
    idle: [Shelf; SHELVES],
    asked: AtomicBool,
    growth: Growth,
}

/// Some idle instances. Each thread has a shelf of its own, as far as there are enough, and looks on the others when it
/// is empty, so that threads that ask the same policy do not wait for each other. A shelf takes two lines of the cache,
/// which processors fetch in pairs.
#[derive(Default)]
#[repr(align(128))]
struct Shelf {
    instances: Mutex<Vec<Instance>>,
    /// How many there are; written under the lock.
    count: AtomicUsize,
}

const SHELVES: usize = 8;

impl Shelf {
    fn take(&self) -> Option<Instance> {
        if self.count.load(Ordering::Relaxed) == 0 {
            return None;
        }
        let mut instances = self.lock();
        let instance = instances.pop();
        self.count.store(instances.len(), Ordering::Relaxed);
        instance
    }

    fn put(&self, instance: Instance) {
        let mut instances = self.lock();
        instances.push(instance);
        self.count.store(instances.len(), Ordering::Relaxed);
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Instance>> {
        // Pushing and popping leave nothing half done.
        self.instances.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Which shelf is this thread's.
fn own_shelf() -> usize {
    static THREADS: AtomicUsize = AtomicUsize::new(0);
    thread_local! {
        static OWN: usize = THREADS.fetch_add(1, Ordering::Relaxed) % SHELVES;
    }
    OWN.try_with(|own| *own).unwrap_or(0)
}

struct Reset {
    watch: Watch,
    snapshot: Snapshot,
    /// Whether all of the memory may be compared.
    is_small: bool,
    /// How many instances are still not to be watched.
    unwatched: AtomicU32,
}

/// How many instances are not watched after one that was in vain.
const UNWATCHED: u32 = 16;

impl Reset {
    /// Whether to watch an instance from its start. One with little memory is watched from its first answer on, after
    /// all of it was compared once: a guest that faults each time costs no change of protection, each of which
    /// interrupts the threads of all tenants. With much memory, one that wrote to more pages than can be watched is
    /// followed by some that are not watched, and not kept.
    fn watches_first(&self) -> bool {
        let left = self.unwatched.load(Ordering::Relaxed);
        if left > 0 {
            self.unwatched.store(left - 1, Ordering::Relaxed);
        }
        !self.is_small && left == 0
    }

    /// Puts an instance that has answered back into the pristine state; false if it is only to be dropped.
    fn settle(&self, instance: &mut Instance, is_watched: bool) -> bool {
        if is_watched && instance.reset_bytes() > COMPARED_BYTES_MAX {
            self.unwatched.store(UNWATCHED, Ordering::Relaxed);
            return false;
        }
        if is_watched {
            return instance.reset(&self.snapshot);
        }
        if !self.is_small {
            return false;
        }
        let compared = !instance.state().meter.grown()
            && instance.watch(Watch::Comparison).is_ok()
            && instance.reset(&self.snapshot);
        compared && (self.watch == Watch::Comparison || instance.watch(self.watch).is_ok())
    }
}

/// What came of one evaluation, on the host's side.
pub(crate) struct Evaluated {
    pub(crate) answered: Result<Answered, Fault>,
    pub(crate) memory_bytes: usize,
    pub(crate) reads: ReadSet,
    pub(crate) log: Vec<LogLine>,
    pub(crate) saw_time: bool,
}

impl Evaluated {
    /// Nothing was asked.
    pub(crate) fn fault(fault: Fault) -> Self {
        let (reads, log) = Default::default();
        Self { answered: Err(fault), memory_bytes: 0, reads, log, saw_time: false }
    }
}

impl Instances {
    /// Makes one instance, so that what cannot be instantiated is known now, and decides how evaluations get theirs.
    /// `instrumented` says why a component is not.
    pub(crate) fn new(
        engine: Arc<engine::Inner>,
        made: InstancePre<State>,
        decide: ComponentExportIndex,
        (limits, data_granted): (Limits, Arc<[Pointer]>),
        instrumented: Result<(), String>,
    ) -> Result<Arc<Self>, wasmtime::Error> {
        let exports = Exports::new(made.component(), decide, instrumented.is_ok());
        let mut instances = Self {
            engine,
            made,
            exports,
            limits,
            data_granted,
            reset: Err(String::new()),
            stopped: OnceLock::new(),
            idle: Default::default(),
            asked: AtomicBool::new(false),
            growth: Growth::default(),
        };
        let mut first = instances.make_room()?;
        instances.reset = match instrumented {
            Ok(()) => instances.choose(&mut first)?,
            Err(why) => Err(why),
        };
        let instances = Arc::new(instances);
        if instances.reset.is_ok() {
            instances.engine.idle.register(Arc::downgrade(&instances));
        }
        Ok(instances)
    }

    fn choose(&self, first: &mut Instance) -> wasmtime::Result<Result<Reset, String>> {
        let watch = match self.engine.instances() {
            config::Instances::New => return Ok(Err("this host makes a new instance each time".into())),
            config::Instances::Protected => Watch::Protection,
            config::Instances::Copied => Watch::Comparison,
        };
        if self.exports.accessors.is_empty() {
            return Ok(Err("it has no state that the instrumentation knows".into()));
        }
        let bytes = first.state().meter.memory_bytes;
        if watch == Watch::Comparison && bytes > COMPARED_BYTES_MAX {
            return Ok(Err(format!(
                "its memory of {bytes} bytes is larger than the {COMPARED_BYTES_MAX} that this host compares"
            )));
        }
        let snapshot = first.snapshot()?;
        Ok(match first.watch(watch) {
            Ok(()) => Ok(Reset {
                watch,
                snapshot,
                is_small: bytes <= COMPARED_BYTES_MAX,
                unwatched: AtomicU32::new(0),
            }),
            Err(fault) => Err(fault.message),
        })
    }

    /// Why instances are not reset in place; none if they are.
    pub(crate) fn new_because(&self) -> Option<&str> {
        self.reset.as_ref().err().or_else(|| self.stopped.get()).map(String::as_str)
    }

    /// Asks in an instance that is in its pristine state.
    pub(crate) fn evaluate(&self, question: Question, rule: &Arc<str>) -> Result<Evaluated, Fault> {
        let Some(reset) = self.reset.as_ref().ok().filter(|_| self.stopped.get().is_none()) else {
            let mut instance = self.make(None)?;
            return Ok(self.ask(&mut instance, question, rule));
        };
        let again = self.engine.verification.as_ref().and_then(|due| due.next(&question));
        let (mut instance, is_watched) = match self.take() {
            Some(instance) => (instance, true),
            None => {
                let watched = reset.watches_first();
                (self.make(watched.then_some(reset.watch))?, watched)
            }
        };
        let growing = self.growth.begin();
        #[cfg(test)]
        sabotage::allow(true);
        let evaluated = self.ask(&mut instance, question, rule);
        let pristine = evaluated.answered.is_ok() && reset.settle(&mut instance, is_watched);
        #[cfg(test)]
        let pristine = pristine || sabotage::Sabotage::PutBackFaulted.is_on();
        #[cfg(test)]
        sabotage::allow(false);
        if let Some(question) = again {
            self.verify(&evaluated, pristine.then_some(&mut instance), question, rule);
        }
        if pristine && self.stopped.get().is_none() {
            self.put_back(instance);
        } else {
            self.give_up(instance, growing);
        }
        Ok(evaluated)
    }

    pub(crate) fn ask(&self, instance: &mut Instance, question: Question, rule: &Arc<str>) -> Evaluated {
        let answered = instance.ask(question, rule, &self.limits);
        let state = instance.state();
        let saw_time = state.saw_time();
        let (reads, log) = state.end();
        Evaluated { answered, memory_bytes: state.meter.memory_bytes, reads, log, saw_time }
    }

    /// A new instance, watched if it is to be reset.
    fn make(&self, watch: Option<Watch>) -> Result<Instance, Fault> {
        let mut instance = self.make_room().map_err(|error| instantiation_fault(&error))?;
        if let Some(watch) = watch {
            instance.watch(watch)?;
        } else if self.growth.is_to_be_seen() {
            // So that it is known where its memory grows.
            instance.watch(Watch::Comparison)?;
        }
        Ok(instance)
    }

    /// An instance that nobody watches, and that keeps its state.
    #[cfg(feature = "bench")]
    pub(crate) fn warm(&self) -> Result<Instance, Fault> {
        self.make(None)
    }

    /// A new instance. Where there is no room for it, idle ones of any policy make way.
    fn make_room(&self) -> wasmtime::Result<Instance> {
        let (mut evictions, mut misses) = (0, 0);
        loop {
            match self.instantiate() {
                Err(error) if error.is::<PoolConcurrencyLimitError>() => {
                    if self.engine.grown.as_ref().is_some_and(Grown::clear) || self.engine.idle.evict() {
                        evictions += 1;
                    } else {
                        // Another thread may have one on its way out, or back.
                        misses += 1;
                        std::thread::yield_now();
                    }
                    if evictions > EVICTIONS_MAX || misses > MISSES_MAX {
                        return Err(error);
                    }
                }
                other => return other,
            }
        }
    }

    fn instantiate(&self) -> wasmtime::Result<Instance> {
        let limits = &self.limits;
        let mut state = State::new(limits, self.data_granted.clone());
        state.meter.let_in(self.exports.accessors.len());
        let mut store = Store::try_new(&self.engine.wasmtime, state)?;
        store.limiter(|state| &mut state.meter);
        // The policy's own clock starts when it is asked.
        store.set_epoch_deadline(deadline_ticks(limits.wall_clock_ms.max(START_CLOCK_MS)));
        store.set_hostcall_fuel(lifted_bytes_max(limits));
        fuel::set(&mut store, limits.fuel)?;
        let instance = self.made.instantiate(&mut store)?;
        Instance::new(store, &instance, &self.exports)
    }

    fn take(&self) -> Option<Instance> {
        // Only written when it changes: other threads read it.
        if !self.asked.load(Ordering::Relaxed) {
            self.asked.store(true, Ordering::Relaxed);
        }
        self.take_idle()
    }

    /// An idle instance, this thread's own first.
    fn take_idle(&self) -> Option<Instance> {
        let own = own_shelf();
        (own..own + SHELVES).find_map(|shelf| self.idle.get(shelf % SHELVES)?.take())
    }

    fn put_back(&self, mut instance: Instance) {
        let grown = instance.count(&self.engine.idle);
        if let Some(shelf) = self.idle.get(own_shelf()) {
            shelf.put(instance);
        }
        if grown {
            self.engine.idle.shrink();
        }
    }

    /// Drops an instance, with others if its memory has grown.
    fn give_up(&self, mut instance: Instance, growing: Option<Growing>) {
        if let Some(grown) = &self.engine.grown
            && instance.grown_bytes() > 0
            && let Some(pages) = self.growth.goes_together(&mut instance, growing)
        {
            grown.put(instance, pages);
        }
    }

    fn is_idle(&self) -> bool {
        self.idle.iter().any(|shelf| shelf.count.load(Ordering::Relaxed) > 0)
    }

    /// Whether it was asked since this was last called.
    fn take_chance(&self) -> bool {
        self.asked.swap(false, Ordering::Relaxed)
    }

    fn drop_one(&self) -> bool {
        self.take_idle().is_some()
    }
}
