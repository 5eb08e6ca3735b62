//! Makes a component whose instances can be put back into the state they had: the same component with accessors to its
//! state among its exports.
//!
//! A component instance has state if one of its core instances defines a mutable global, a memory or a table. Each gets
//! a number K: 0, 1, 2 and so on, without gaps, over all nesting. For each, the root exports:
//!
//! | export | |
//! | --- | --- |
//! | `verdict-state-K-snapshot: func()` | copies the mutable globals into the accessor |
//! | `verdict-state-K-restore: func()` | copies them back |
//! | `verdict-state-K-globals: func() -> u32` | how many they are |
//! | `verdict-state-K-global: func(n: u32) -> u64` | the bits of one; traps beyond the last |
//! | `verdict-state-K-memory-M: func() -> list<u8>` | the whole of memory M = 0, 1, 2 and so on |
//! | `verdict-state-K-table: func(table: u32, element: u32) -> u32` | 0 null, 1 not null, 2 beyond the end, 3 no such table |
//!
//! If the root has state, and the one function that it lifts is the `decide` of the contract ([`decision`] says how that
//! is known), it also exports `verdict-state-decide`: the interface `decision` once more, whose `decide` runs the same
//! core function, and then, as its post-return function, the guest's own followed by what `verdict-state-0-restore` does.
//! What it puts back is what `verdict-state-0-snapshot` copied before. A guest can neither call nor see any of it.
//!
//! No instruction of the component is touched, so the fuel of what it exports is what it was. `verdict-state-decide`
//! takes as much, and for putting the globals back an amount that is the same for every call.
//!
//! Globals and memories can be put back; what else a component could change makes it one that cannot be reset
//! ([`rules`]), and so does whatever is not known here. A memory that starts without pages, and that nobody grows, has
//! no accessor.
//!
//! The list of bytes is the memory itself, from its first byte to its last. The first eight bytes are right when the call
//! is over: while a result is read they say where it is.

mod accessor;
mod decision;
mod emit;
mod makers;
mod module;
mod rules;
mod survey;

#[cfg(test)]
mod tests;

use wasmparser::{Parser, Validator, WasmFeatures};

use crate::scan::{features, is_bounded};

pub(crate) use survey::Survey;

/// The beginning of the names under which core modules export their state.
const CORE_PREFIX: &str = "verdict-state:";
/// The beginning of the names under which components export their accessors.
const PREFIX: &str = "verdict-state-";
/// The name under which the root exports `decision` a second time.
const DECISION: &str = "verdict-state-decide";

/// The component with accessors to its state.
///
/// # Errors
/// Why it cannot be reset in place.
pub(crate) fn instrument(component: &[u8]) -> Result<Vec<u8>, String> {
    let plan = survey(component, features())?.finish()?;
    let instrumented = emit::component(component, &plan)?;
    let mut validator = Validator::new_with_features(features());
    validator
        .validate_all(&instrumented)
        .map_err(|error| format!("with accessors to its state it would not be valid: {}", error.message()))?;
    Ok(instrumented)
}

/// Surveys a component. Bodies of functions are read and not validated: that is the scan's work.
fn survey(component: &[u8], features: WasmFeatures) -> Result<Survey, String> {
    let invalid = |error: wasmparser::BinaryReaderError| format!("it is not valid: {}", error.message());
    let mut survey = Survey::default();
    let mut validator = Validator::new_with_features(features);
    for payload in Parser::new(0).parse_all(component) {
        let payload = payload.map_err(invalid)?;
        if !is_bounded(component, &payload) {
            return Err("its types are nested too deep".into());
        }
        survey.payload(&payload, validator.types(0));
        validator.payload(&payload).map_err(invalid)?;
    }
    Ok(survey)
}

/// The names of the accessors of one component instance, without prefix and number: those that each has, and one a
/// memory.
fn accessors(memories: u32) -> impl Iterator<Item = String> {
    let fixed = ["snapshot", "restore", "global", "globals", "table"].map(str::to_owned);
    fixed.into_iter().chain((0..memories).map(memory_accessor))
}

fn memory_accessor(memory: u32) -> String {
    format!("memory-{memory}")
}
