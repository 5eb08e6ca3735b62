//! What stops an evaluation from outside the guest's own code, and the meter that counts for it.

use verdict_core::limits::Limits;
use wasmtime::ResourceLimiter;

/// Why the host stopped the guest. It travels through wasmtime as an error and is found again in it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Stop {
    #[error("{0}")]
    OutOfMemory(String),
    #[error("{0}")]
    OutOfBudget(String),
    #[error("{0}")]
    Trap(String),
    #[error("{0}")]
    Host(String),
}

/// Counts memory and table elements of all instances of one store together. Neither ever shrinks, so what is in use
/// is also the peak.
#[derive(Debug, Clone)]
pub(crate) struct Meter {
    memory_bytes_max: usize,
    table_elements_max: usize,
    instances_max: usize,
    pub(crate) memory_bytes: usize,
    table_elements: usize,
    /// Whether anything asked for more since [`Self::pristine`].
    grown: bool,
}

impl Meter {
    pub(crate) fn new(limits: &Limits) -> Self {
        let limit = |limit: u64| usize::try_from(limit).unwrap_or(usize::MAX);
        Self {
            memory_bytes_max: limit(limits.memory_bytes),
            table_elements_max: limit(limits.table_elements),
            instances_max: limit(limits.instances),
            memory_bytes: 0,
            table_elements: 0,
            grown: false,
        }
    }

    /// Lets instances in that are not the policy's: those of the instrumentation.
    pub(crate) fn let_in(&mut self, instances: usize) {
        self.instances_max = self.instances_max.saturating_add(instances);
    }

    /// As it is now, which is the state that evaluations start from.
    pub(crate) fn pristine(&self) -> Self {
        Self { grown: false, ..self.clone() }
    }

    /// Whether a memory or a table has grown, or tried to. Neither can be made smaller again.
    pub(crate) fn grown(&self) -> bool {
        self.grown
    }
}

/// What one call may copy out of a guest, in the bytes that it has on the host's side. Enough for any answer and log
/// line within the limits; the exact limits are checked on what was copied.
pub(crate) fn lifted_bytes_max(limits: &Limits) -> usize {
    const LIST_OVERHEAD: u64 = 1 << 20;
    let bytes = limits.output_bytes.saturating_mul(8).saturating_add(limits.log_bytes.saturating_mul(2));
    usize::try_from(bytes.saturating_add(LIST_OVERHEAD)).unwrap_or(usize::MAX)
}

/// The new total if it is within `max`. Growth beyond what the module itself declares is the guest's business: it
/// sees -1, as the specification says. What is reported as declared may be the allocator's own bound, which is never
/// below `max`: such a bound is passed over, so that every host comes to the same end.
fn grown(
    (total, max, what): (usize, usize, &str),
    (current, desired, declared): (usize, usize, Option<usize>),
) -> wasmtime::Result<Option<usize>> {
    if declared.is_some_and(|declared| declared < max && desired > declared) {
        return Ok(None);
    }
    let total = total.saturating_sub(current).saturating_add(desired);
    if total > max {
        // Not -1: a guest must not see how much its host allows.
        let message = format!("the policy asked for {total} {what}; its limit is {max}");
        return Err(wasmtime::Error::new(Stop::OutOfMemory(message)));
    }
    Ok(Some(total))
}

impl ResourceLimiter for Meter {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        self.grown = true;
        let used = (self.memory_bytes, self.memory_bytes_max, "bytes of memory");
        let total = grown(used, (current, desired, maximum))?;
        self.memory_bytes = total.unwrap_or(self.memory_bytes);
        Ok(total.is_some())
    }

    fn memory_grow_failed(&mut self, error: wasmtime::Error) -> wasmtime::Result<()> {
        Err(wasmtime::Error::new(Stop::Host(format!("the machine gave no memory: {error}"))))
    }

    fn table_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        self.grown = true;
        let used = (self.table_elements, self.table_elements_max, "table elements");
        let total = grown(used, (current, desired, maximum))?;
        self.table_elements = total.unwrap_or(self.table_elements);
        Ok(total.is_some())
    }

    fn table_grow_failed(&mut self, error: wasmtime::Error) -> wasmtime::Result<()> {
        Err(wasmtime::Error::new(Stop::Host(format!("the machine gave no table: {error}"))))
    }

    fn instances(&self) -> usize {
        self.instances_max
    }

    fn tables(&self) -> usize {
        self.instances_max
    }

    fn memories(&self) -> usize {
        self.instances_max
    }
}
