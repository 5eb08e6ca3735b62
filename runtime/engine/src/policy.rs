//! A loaded policy, and the evaluation of one question. Every evaluation runs in an instance of its own: no state of
//! one can be seen by another.

#[cfg(feature = "bench")]
mod warm;

use std::sync::Arc;
use std::time::Instant;

use verdict_core::digest::Digest;
use verdict_core::limits::Limits;
use verdict_core::manifest::{CONTRACT, Manifest};
use verdict_core::outcome::{Answer, Fault, FaultCode};
use verdict_core::pointer::Pointer;
use verdict_core::refusal::{Refusal, RefusalCode};
use wasmtime::Store;
use wasmtime::component::{ComponentExportIndex, InstancePre};

use crate::answer::{Decided, checked};
use crate::capabilities::{Question, State};
use crate::engine::{self, deadline_ticks};
use crate::fault::{instantiation_fault, runtime_fault};
use crate::outcome::{Outcome, Query};

/// A version of a policy that is ready to answer. A clone is cheap and is the same policy.
#[derive(Clone)]
pub struct Policy(Arc<Inner>);

struct Inner {
    // Before the engine, which it needs.
    instances: InstancePre<State>,
    engine: Arc<engine::Inner>,
    decide: ComponentExportIndex,
    manifest: Manifest,
    digest: Digest,
    limits: Limits,
    data_granted: Arc<[Pointer]>,
}

impl Policy {
    /// Makes one instance and forgets it: what cannot be instantiated within its limits is refused here, and not with
    /// each question.
    pub(crate) fn new(
        engine: Arc<engine::Inner>,
        manifest: Manifest,
        digest: Digest,
        limits: Limits,
        instances: InstancePre<State>,
    ) -> Result<Self, Refusal> {
        let wrong = |why: String| Refusal::new(RefusalCode::WrongContract, why);
        let component = instances.component();
        let interface = format!("verdict:policy/decision@{CONTRACT}");
        let decide = component
            .get_export_index(None, &interface)
            .and_then(|interface| component.get_export_index(Some(&interface), "decide"))
            .ok_or_else(|| wrong("`decision` has no function `decide`".into()))?;
        let data_granted = manifest.capabilities.data.clone().into();
        let policy =
            Self(Arc::new(Inner { instances, engine, decide, manifest, digest, limits, data_granted }));
        policy.try_instance()?;
        Ok(policy)
    }

    fn try_instance(&self) -> Result<(), Refusal> {
        let malformed = |fault: Fault| {
            let message = format!("the component cannot be instantiated: {}", fault.message);
            Refusal::new(RefusalCode::MalformedComponent, message)
        };
        let mut store = self.store(None).map_err(malformed)?;
        let instance =
            self.0.instances.instantiate(&mut store).map_err(|error| malformed(runtime_fault(&error)))?;
        instance.get_typed_func::<(&str,), (Decided,)>(&mut store, &self.0.decide).map_err(|error| {
            Refusal::new(RefusalCode::WrongContract, format!("`decide` has another type: {error:#}"))
        })?;
        Ok(())
    }

    /// What its author declared.
    pub fn manifest(&self) -> &Manifest {
        &self.0.manifest
    }

    /// The digest of its component.
    pub fn digest(&self) -> Digest {
        self.0.digest
    }

    /// What an evaluation may use: the smaller of what the manifest asks for and the ceiling.
    pub fn limits(&self) -> &Limits {
        &self.0.limits
    }

    /// Asks the policy. The answer, its reasons and its fuel depend on component, query, limits and semantics only.
    ///
    /// The policy runs on the stack of the calling thread: it needs the limit `stack_bytes` and some 256 KiB for the
    /// host, which every thread has that Rust starts with its defaults.
    pub fn evaluate(&self, query: &Query<'_>) -> Outcome {
        let started = Instant::now();
        let evaluated = self.refuse(query).and_then(|()| self.ask(query));
        let (result, fuel, state) = match evaluated {
            Ok((result, fuel, state)) => (result, fuel, Some(state)),
            Err(fault) => (Err(fault), 0, None),
        };
        let fuel = if result.is_ok() { fuel } else { self.0.limits.fuel };
        let (memory_bytes_peak, reads, log) = match state {
            Some(state) => {
                (u64::try_from(state.meter.memory_bytes).unwrap_or(u64::MAX), state.reads, state.log)
            }
            None => Default::default(),
        };
        Outcome { result, fuel, memory_bytes_peak, reads, log, elapsed: started.elapsed() }
    }

    /// What is not even asked.
    fn refuse(&self, query: &Query<'_>) -> Result<(), Fault> {
        if self.0.manifest.rule(query.rule).is_none() {
            let rule: String = query.rule.chars().take(160).collect();
            return Err(Fault::new(FaultCode::InvalidInput, format!("the policy has no rule `{rule}`")));
        }
        let (bytes, max) = (query.input.text().len(), self.0.limits.input_bytes);
        if u64::try_from(bytes).is_ok_and(|bytes| bytes <= max) {
            return Ok(());
        }
        Err(Fault::new(
            FaultCode::InvalidInput,
            format!("the input has {bytes} bytes; the policy takes {max}"),
        ))
    }

    fn ask(&self, query: &Query<'_>) -> Result<(Result<Answer, Fault>, u64, State), Fault> {
        let question = Question {
            input: query.input.clone(),
            data: query.data.cloned(),
            data_granted: self.0.data_granted.clone(),
            decision_time: query.decision_time,
        };
        let mut store = self.store(Some(question))?;
        let answered = self.call(&mut store, query.rule);
        Ok(match answered {
            Ok((result, fuel)) => (result, fuel, store.into_data()),
            Err(fault) => (Err(fault), 0, store.into_data()),
        })
    }

    fn call(&self, store: &mut Store<State>, rule: &str) -> Result<(Result<Answer, Fault>, u64), Fault> {
        let instance =
            self.0.instances.instantiate(&mut *store).map_err(|error| instantiation_fault(&error))?;
        let decide = instance
            .get_typed_func::<(&str,), (Decided,)>(&mut *store, &self.0.decide)
            .map_err(|error| instantiation_fault(&error))?;
        // Only now: what instantiation burns depends on how the engine makes instances.
        store.set_fuel(self.0.limits.fuel).map_err(|error| instantiation_fault(&error))?;
        store.data_mut().begin();
        let (decided,) = decide.call(&mut *store, (rule,)).map_err(|error| runtime_fault(&error))?;
        let left = store.get_fuel().map_err(|error| instantiation_fault(&error))?;
        Ok((checked(decided, self.0.limits.output_bytes), self.0.limits.fuel.saturating_sub(left)))
    }

    fn store(&self, question: Option<Question>) -> Result<Store<State>, Fault> {
        let limits = &self.0.limits;
        let state = State::new(limits, question);
        let mut store =
            Store::try_new(&self.0.engine.wasmtime, state).map_err(|error| instantiation_fault(&error))?;
        store.limiter(|state| &mut state.meter);
        store.set_epoch_deadline(deadline_ticks(limits.wall_clock_ms));
        store.set_hostcall_fuel(lifted_bytes_max(limits));
        store.set_fuel(limits.fuel).map_err(|error| instantiation_fault(&error))?;
        Ok(store)
    }
}

/// What one call may copy out of a guest, in the bytes that it has on the host's side. Enough for any answer and log
/// line within the limits; the exact limits are checked on what was copied.
fn lifted_bytes_max(limits: &Limits) -> usize {
    const LIST_OVERHEAD: u64 = 1 << 20;
    let bytes = limits.output_bytes.saturating_mul(8).saturating_add(limits.log_bytes.saturating_mul(2));
    usize::try_from(bytes.saturating_add(LIST_OVERHEAD)).unwrap_or(usize::MAX)
}

impl std::fmt::Debug for Policy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let manifest = &self.0.manifest;
        f.debug_struct("Policy")
            .field("name", &manifest.policy)
            .field("version", &manifest.version)
            .finish_non_exhaustive()
    }
}
