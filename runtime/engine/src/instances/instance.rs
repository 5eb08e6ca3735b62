//! One instance of a policy's component: it is asked, and put back into the pristine state.

use std::sync::Arc;

use verdict_core::limits::Limits;
use verdict_core::outcome::{Answer, Fault, FaultCode};
use wasmtime::component::types::ComponentItem;
use wasmtime::component::{Component, ComponentExportIndex, Instance as Instantiated, TypedFunc, WasmList};
use wasmtime::{AsContextMut, Store};

#[cfg(test)]
use super::sabotage::Sabotage;
use super::{Counted, Idle, Snapshot};
use crate::answer::{Decided, checked};
use crate::capabilities::{Question, State};
use crate::engine::deadline_ticks;
use crate::fault::{instantiation_fault, runtime_fault};
use crate::fuel;
use crate::limits::Meter;
use crate::sys::{Watch, Watched, page_bytes};

pub(crate) type Decide = TypedFunc<(Arc<str>,), (Decided,)>;

/// Fuel and milliseconds for the instrumentation's own functions. They are short, and the policy does not pay for them.
const OWN_FUEL: u64 = 1 << 40;
const OWN_CLOCK_MS: u64 = 10_000;

/// The component's `decide` is not the contract's.
#[derive(Debug, thiserror::Error)]
#[error("`decide` has another type: {0}")]
pub(crate) struct WrongType(String);

/// What an instance answered, if it did not fault, and the fuel that this took.
pub(crate) type Answered = (Result<Answer, Fault>, u64);

/// An instance, and the store that it lives in.
pub(crate) struct Instance {
    watched: Watched<Store<State>>,
    decide: Decide,
    accessors: Box<[Accessor]>,
    /// How many of the first accessors have nothing to restore after a decision: `decide` does it.
    restored: usize,
    #[cfg(test)]
    decide_plain: Decide,
    /// As it was after instantiation.
    meter: Meter,
    /// The rule that it was asked last. A name of its own: one that all instances share would be counted by all threads
    /// at one place.
    rule: Arc<str>,
    counted: Counted,
}

/// The exports of a component that a host uses.
pub(crate) struct Exports {
    /// The contract's `decide`.
    decide: ComponentExportIndex,
    /// The same function, which also restores the globals of the first accessor.
    restoring: Option<ComponentExportIndex>,
    /// Those of all component instances with state.
    pub(crate) accessors: Vec<AccessorIndex>,
}

/// The exports that the instrumentation added for one component instance; see [`crate::instrument`].
pub(crate) struct AccessorIndex {
    snapshot: ComponentExportIndex,
    restore: ComponentExportIndex,
    memories: Vec<ComponentExportIndex>,
    inspect: [ComponentExportIndex; 3],
}

type Inspect = (TypedFunc<(), (u32,)>, TypedFunc<(u32,), (u64,)>, TypedFunc<(u32, u32), (u32,)>);

struct Accessor {
    restore: TypedFunc<(), ()>,
    memories: Box<[TypedFunc<(), (WasmList<u8>,)>]>,
    inspect: Inspect,
}

impl Exports {
    /// Those of a component. One that is not instrumented may export functions of the instrumentation's names: they are
    /// the guest's, and not used.
    pub(crate) fn new(component: &Component, decide: ComponentExportIndex, instrumented: bool) -> Self {
        if !instrumented {
            return Self { decide, restoring: None, accessors: Vec::new() };
        }
        let restoring = component
            .get_export_index(None, "verdict-state-decide")
            .and_then(|interface| component.get_export_index(Some(&interface), "decide"))
            .filter(|restoring| have_one_type(component, restoring, &decide));
        let accessors = (0..).map_while(|k| AccessorIndex::one(component, k)).collect();
        Self { decide, restoring, accessors }
    }
}

/// Whether two exports are functions of the same type, so that whoever checks the one has checked the other.
fn have_one_type(component: &Component, a: &ComponentExportIndex, b: &ComponentExportIndex) -> bool {
    let items = [a, b].map(|index| component.get_export(None, index).map(|(item, _)| item));
    let [Some(ComponentItem::ComponentFunc(a)), Some(ComponentItem::ComponentFunc(b))] = items else {
        return false;
    };
    a.params().eq(b.params()) && a.results().eq(b.results())
}

impl AccessorIndex {
    fn one(component: &Component, k: u32) -> Option<Self> {
        let export =
            |name: &str| component.get_export_index(None, format!("verdict-state-{k}-{name}").as_str());
        Some(Self {
            snapshot: export("snapshot")?,
            restore: export("restore")?,
            memories: (0..).map_while(|m| export(&format!("memory-{m}"))).collect(),
            inspect: [export("globals")?, export("global")?, export("table")?],
        })
    }

    /// Keeps the globals of a new instance.
    fn take(&self, instance: &Instantiated, store: &mut Store<State>) -> wasmtime::Result<Accessor> {
        let snapshot = instance.get_typed_func::<(), ()>(&mut *store, &self.snapshot)?;
        snapshot.call(&mut *store, ())?;
        let restore = instance.get_typed_func(&mut *store, self.restore)?;
        let memories = self.memories.iter().map(|index| instance.get_typed_func(&mut *store, index));
        let memories = memories.collect::<wasmtime::Result<_>>()?;
        let [globals, global, table] = &self.inspect;
        let inspect = (
            instance.get_typed_func(&mut *store, globals)?,
            instance.get_typed_func(&mut *store, global)?,
            instance.get_typed_func(&mut *store, table)?,
        );
        Ok(Accessor { restore, memories, inspect })
    }
}

impl Instance {
    /// Takes an instance that was just made, in its pristine state.
    pub(crate) fn new(
        mut store: Store<State>,
        instance: &Instantiated,
        exports: &Exports,
    ) -> wasmtime::Result<Self> {
        let decide = exports.restoring.as_ref().unwrap_or(&exports.decide);
        let decide = instance.get_typed_func(&mut store, decide);
        let decide = decide.map_err(|error| wasmtime::Error::new(WrongType(format!("{error:#}"))))?;
        #[cfg(test)]
        let decide_plain = instance.get_typed_func(&mut store, exports.decide)?;
        prepare_own(&mut store)?;
        let accessors = exports.accessors.iter().map(|accessor| accessor.take(instance, &mut store));
        let accessors = accessors.collect::<wasmtime::Result<_>>()?;
        let meter = store.data_mut().meter.pristine();
        Ok(Self {
            watched: Watched::new(store),
            decide,
            accessors,
            restored: exports.restoring.iter().count(),
            #[cfg(test)]
            decide_plain,
            meter,
            rule: Arc::from(""),
            counted: Counted::default(),
        })
    }

    /// Watches its memories from now on, so that [`Self::reset`] works.
    pub(crate) fn watch(&mut self, watch: Watch) -> Result<(), Fault> {
        let memories = self.memories(|memory| (memory.as_ptr(), memory.len())).map_err(|error| {
            Fault::new(FaultCode::Unavailable, format!("the memory of an instance is not known: {error:#}"))
        })?;
        self.watched.watch(&memories, watch).map_err(|error| {
            Fault::new(
                FaultCode::Unavailable,
                format!("the memory of an instance cannot be watched: {error}"),
            )
        })
    }

    /// What is seen of each memory.
    fn memories<R>(&mut self, see: impl Fn(&[u8]) -> R) -> wasmtime::Result<Vec<R>> {
        let Self { watched, accessors, .. } = self;
        watched.running(|store| {
            prepare_own(store)?;
            // Lists are counted as if they were copied.
            let limit = store.hostcall_fuel();
            store.set_hostcall_fuel(usize::MAX);
            let memories = accessors.iter().flat_map(|accessor| accessor.memories.iter());
            let see = |memory: &TypedFunc<(), (WasmList<u8>,)>| {
                let (bytes,) = memory.call(&mut *store, ())?;
                Ok(see(bytes.as_le_slice(&*store)))
            };
            let seen = memories.map(see).collect();
            store.set_hostcall_fuel(limit);
            seen
        })
    }

    /// Copies of all memories.
    pub(crate) fn snapshot(&mut self) -> wasmtime::Result<Snapshot> {
        Ok(Snapshot::of(self.memories(<[u8]>::to_vec)?.iter().map(Vec::as_slice)))
    }

    /// Asks. What it read and logged is in [`Self::state`] then.
    pub(crate) fn ask(
        &mut self,
        question: Question,
        rule: &Arc<str>,
        limits: &Limits,
    ) -> Result<Answered, Fault> {
        if *self.rule != **rule {
            self.rule = Arc::from(&**rule);
        }
        let Self { watched, decide, meter, rule, .. } = self;
        #[cfg(test)]
        let decide = if Sabotage::SkipGlobals.is_on() { &self.decide_plain } else { &*decide };
        let asked = watched.running(|store| {
            prepare(store, question, limits, meter).map_err(|error| instantiation_fault(&error))?;
            let called = decide.call(&mut *store, (rule.clone(),));
            let (decided,) = called.map_err(|error| runtime_fault(&error))?;
            let left = fuel::left(&*store).map_err(|error| instantiation_fault(&error))?;
            Ok((checked(decided, limits.output_bytes), limits.fuel.saturating_sub(left)))
        });
        if watched.failed() {
            return Err(Fault::new(
                FaultCode::Unavailable,
                "the system did not let the policy write to its memory",
            ));
        }
        asked
    }

    /// What the host keeps of the last evaluation.
    pub(crate) fn state(&mut self) -> &mut State {
        self.watched.store().data_mut()
    }

    /// Puts it back into the pristine state; false if that is not possible, and it is only to be dropped. To be called
    /// after an answer: after a fault nothing is known of the instance.
    pub(crate) fn reset(&mut self, snapshot: &Snapshot) -> bool {
        let grown = self.state().meter.grown();
        #[cfg(test)]
        let grown = grown && !Sabotage::PutBackGrown.is_on();
        if grown {
            return false;
        }
        let restored = self.restore();
        self.watched.reset(snapshot);
        restored.is_ok() && !self.watched.failed()
    }

    /// Puts the globals back that `decide` has not.
    fn restore(&mut self) -> wasmtime::Result<()> {
        let Self { watched, accessors, restored, .. } = self;
        let left = accessors.get(*restored..).unwrap_or_default();
        #[cfg(test)]
        let left = if Sabotage::SkipGlobals.is_on() { &[] } else { left };
        if left.is_empty() {
            return Ok(());
        }
        watched.running(|store| {
            prepare_own(store)?;
            left.iter().try_for_each(|accessor| accessor.restore.call(&mut *store, ()))
        })
    }

    /// Bytes by which its memories have grown since it was made.
    pub(crate) fn grown_bytes(&mut self) -> usize {
        let pristine = self.meter.memory_bytes;
        self.state().meter.memory_bytes.saturating_sub(pristine)
    }

    /// How many of the pages by which its memories have grown are there.
    pub(crate) fn grown_pages(&mut self) -> usize {
        let bytes = self.grown_bytes();
        self.watched.grown_pages(bytes)
    }

    /// How many pages its memories had when it was made.
    pub(crate) fn pristine_pages(&self) -> usize {
        self.meter.memory_bytes / page_bytes()
    }

    /// What is left of it when it is only to be dropped.
    pub(crate) fn into_watched(self) -> Watched<Store<State>> {
        self.watched
    }

    /// Takes its share of the budget of idle instances; whether that is more than before.
    pub(crate) fn count(&mut self, idle: &Arc<Idle>) -> bool {
        let bytes = self.reset_bytes();
        self.counted.count(idle, bytes)
    }

    /// Bytes that a reset copies or compares.
    pub(crate) fn reset_bytes(&self) -> usize {
        self.watched.reset_bytes()
    }

    /// Everything that a guest could see of its own state.
    pub(crate) fn observed(&mut self) -> wasmtime::Result<Observed> {
        let memories = self.memories(<[u8]>::to_vec)?;
        let Self { watched, accessors, .. } = self;
        watched.running(|store| {
            prepare_own(store)?;
            let (mut globals, mut tables) = (Vec::new(), Vec::new());
            for accessor in accessors.iter() {
                accessor.observe(store, &mut globals, &mut tables)?;
            }
            Ok(Observed { memories, globals, tables })
        })
    }
}

/// The state of an instance, as far as its own code could look at it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Observed {
    pub(crate) memories: Vec<Vec<u8>>,
    pub(crate) globals: Vec<u64>,
    /// For each element whether it is null, then a mark for the end of the table.
    pub(crate) tables: Vec<u32>,
}

/// What the accessor answers for an element beyond the end of a table, and for a table that is not there.
const END_OF_TABLE: u32 = 2;
const NO_TABLE: u32 = 3;

impl Accessor {
    fn observe(
        &self,
        store: &mut Store<State>,
        globals: &mut Vec<u64>,
        tables: &mut Vec<u32>,
    ) -> wasmtime::Result<()> {
        let (count, global, table) = &self.inspect;
        for n in 0..count.call(&mut *store, ())?.0 {
            globals.push(global.call(&mut *store, (n,))?.0);
        }
        for number in 0.. {
            let mut last = NO_TABLE;
            for element in 0.. {
                last = table.call(&mut *store, (number, element))?.0;
                if last == NO_TABLE {
                    break;
                }
                tables.push(last);
                if last == END_OF_TABLE {
                    break;
                }
            }
            if last == NO_TABLE {
                break;
            }
        }
        Ok(())
    }
}

/// Makes a store ready for functions of the instrumentation: the policy's limits are not theirs.
fn prepare_own(store: &mut Store<State>) -> wasmtime::Result<()> {
    store.set_epoch_deadline(deadline_ticks(OWN_CLOCK_MS));
    fuel::set(store, OWN_FUEL)
}

/// Makes a store ready for one evaluation: nothing of the last one is left on the host's side.
fn prepare(
    store: &mut Store<State>,
    question: Question,
    limits: &Limits,
    meter: &Meter,
) -> wasmtime::Result<()> {
    #[cfg(test)]
    let limits = &Limits { fuel: sabotaged_fuel(store, limits), ..*limits };
    fuel::set(&mut *store, limits.fuel)?;
    store.as_context_mut().set_epoch_deadline(deadline_ticks(limits.wall_clock_ms));
    store.data_mut().begin(limits, question, meter.clone());
    Ok(())
}

/// What a spoiled reset leaves in the store.
#[cfg(test)]
fn sabotaged_fuel(store: &Store<State>, limits: &Limits) -> u64 {
    match Sabotage::KeepFuel.is_on() {
        true => store.get_fuel().unwrap_or(limits.fuel),
        false => limits.fuel,
    }
}
