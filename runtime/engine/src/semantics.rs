//! What answers and fuel depend on besides component, query, data, time and limits: one number for all of it.
//!
//! Nothing in this file may change under the same number. The fuel of a recorded decision must come out again.

use wasmtime::OperatorCost;

/// The number of the rules that answers and fuel depend on: contract, fuel schedule, price list of host calls, and
/// Wasm features. A record names it.
pub const SEMANTICS: u32 = 1;

/// What a call from the policy to the host costs, in fuel. A price depends on arguments and result only, so that it
/// is the same on every machine; it is paid before the result is made.
pub(crate) mod price {
    /// Any call.
    pub(crate) const CALL: u64 = 300;
    /// One pointer that is looked up, of one or of many.
    pub(crate) const LOOKUP: u64 = 100;
    /// One byte of a pointer: it may be compared as often as an object's members can be halved.
    pub(crate) const POINTER_BYTE: u64 = 4;
    /// One member name that is handed out.
    pub(crate) const NAME: u64 = 100;
    /// One byte that is handed out or written to the log.
    pub(crate) const BYTE: u64 = 2;
}

/// The fuel schedule: one unit an operator, as wasmtime counts, but for those that take far longer than that. They
/// are priced so that a unit of fuel is about the same time everywhere.
pub(crate) fn operator_cost() -> OperatorCost {
    const BULK: u8 = 200;
    const TABLE: u8 = 60;
    let mut cost = OperatorCost {
        MemoryGrow: BULK,
        MemoryFill: BULK,
        MemoryCopy: BULK,
        MemoryInit: BULK,
        TableSet: TABLE,
        TableGrow: BULK,
        TableFill: BULK,
        TableCopy: BULK,
        TableInit: BULK,
        ..OperatorCost::new()
    };
    cost.variable.memory_grow_per_page = 100;
    cost
}
