//! From what wasmtime reports to the table of faults.

use verdict_core::outcome::{Fault, FaultCode};
use wasmtime::{Error, PoolConcurrencyLimitError, Trap, WasmBacktrace};

use crate::answer::too_large;
use crate::limits::Stop;

/// How wasmtime begins the message when too much is copied out of a guest. It has no type for it.
const TOO_MUCH_COPIED: &str = "too much data is being copied";

/// What ended an evaluation while the policy ran.
pub(crate) fn runtime_fault(error: &Error) -> Fault {
    known_fault(error).unwrap_or_else(|| {
        let message = format!("{}", error.root_cause());
        if message.starts_with(TOO_MUCH_COPIED) {
            return match error.downcast_ref::<WasmBacktrace>() {
                // The guest was running: it handed too much to a host call.
                Some(_) => Fault::new(FaultCode::OutOfBudget, "the policy handed too much to a host call"),
                None => too_large("output"),
            };
        }
        // All that is left is a guest that breaks the canonical ABI, which the component model calls a trap.
        Fault::new(FaultCode::Trap, format!("the policy broke the contract: {message}"))
    })
}

/// What kept an instance from being made. It was possible when the policy was loaded, so the policy is not at fault.
pub(crate) fn instantiation_fault(error: &Error) -> Fault {
    let unavailable = || Fault::new(FaultCode::Unavailable, format!("no instance can be made: {error:#}"));
    known_fault(error).unwrap_or_else(unavailable)
}

fn known_fault(error: &Error) -> Option<Fault> {
    if let Some(trap) = error.downcast_ref::<Trap>() {
        return Some(trap_fault(*trap));
    }
    if let Some(stop) = error.downcast_ref::<Stop>() {
        let code = match stop {
            Stop::OutOfMemory(_) => FaultCode::OutOfMemory,
            Stop::OutOfBudget(_) => FaultCode::OutOfBudget,
            Stop::Trap(_) => FaultCode::Trap,
            Stop::Host(_) => FaultCode::Unavailable,
        };
        return Some(Fault::new(code, stop.to_string()));
    }
    let host = error.is::<PoolConcurrencyLimitError>() || error.is::<wasmtime::error::OutOfMemory>();
    host.then(|| {
        Fault::new(FaultCode::Unavailable, format!("the host has no room for the evaluation: {error:#}"))
    })
}

fn trap_fault(trap: Trap) -> Fault {
    let (code, message) = match trap {
        Trap::OutOfFuel => (FaultCode::OutOfFuel, "the policy used its fuel up".into()),
        Trap::Interrupt => {
            (FaultCode::Deadline, "the evaluation took longer than its wall-clock limit".into())
        }
        Trap::StackOverflow => (FaultCode::StackOverflow, "the policy used its stack up".into()),
        other => (FaultCode::Trap, format!("the policy trapped: {other}")),
    };
    Fault::new(code, message)
}
