//! One instance asked again and again, without a reset. **Unsound**: what one evaluation leaves in the guest's memory
//! the next one sees. It shows what isolation costs, is in no default build, and nothing that decides may use it.

use std::time::{Duration, Instant};

use verdict_core::outcome::Fault;
use wasmtime::Store;
use wasmtime::component::TypedFunc;

use super::{Policy, lifted_bytes_max};
use crate::answer::{Decided, checked};
use crate::capabilities::{Question, State};
use crate::engine::deadline_ticks;
use crate::fault::{instantiation_fault, runtime_fault};
use crate::outcome::Query;

type Decide = TypedFunc<(&'static str,), (Decided,)>;

impl Policy {
    /// The times of `count` evaluations of one question, with everything but the new instance: documents, read set,
    /// fuel, deadline. An instance that is worn out (nothing gives its memory back) is replaced outside the time.
    /// For measurements only.
    ///
    /// # Errors
    /// When an instance cannot be made, or answers not even once.
    pub fn warm_bench(
        &self,
        query: &Query<'_>,
        rule: &'static str,
        count: usize,
    ) -> Result<Vec<Duration>, Fault> {
        let mut times = Vec::with_capacity(count);
        while times.len() < count {
            let (mut store, decide) = self.warm_instance()?;
            let before = times.len();
            while times.len() < count {
                let started = Instant::now();
                match self.ask_warm(&mut store, &decide, query, rule) {
                    Ok(()) => times.push(started.elapsed()),
                    Err(fault) if times.len() == before => return Err(fault),
                    Err(_) => break,
                }
            }
        }
        Ok(times)
    }

    fn warm_instance(&self) -> Result<(Store<State>, Decide), Fault> {
        let mut store = self.store(None)?;
        let instance =
            self.0.instances.instantiate(&mut store).map_err(|error| instantiation_fault(&error))?;
        let decide = instance
            .get_typed_func(&mut store, &self.0.decide)
            .map_err(|error| instantiation_fault(&error))?;
        Ok((store, decide))
    }

    fn ask_warm(
        &self,
        store: &mut Store<State>,
        decide: &Decide,
        query: &Query<'_>,
        rule: &'static str,
    ) -> Result<(), Fault> {
        let limits = &self.0.limits;
        let question = Question {
            input: query.input.clone(),
            data: query.data.cloned(),
            data_granted: self.0.data_granted.clone(),
            decision_time: query.decision_time,
        };
        *store.data_mut() = State::new(limits, Some(question));
        store.set_epoch_deadline(deadline_ticks(limits.wall_clock_ms));
        store.set_hostcall_fuel(lifted_bytes_max(limits));
        store.set_fuel(limits.fuel).map_err(|error| instantiation_fault(&error))?;
        store.data_mut().begin();
        let (decided,) = decide.call(&mut *store, (rule,)).map_err(|error| runtime_fault(&error))?;
        checked(decided, limits.output_bytes).map(drop)
    }
}
