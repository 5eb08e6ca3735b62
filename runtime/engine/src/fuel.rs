//! The fuel of a store. In builds that measure, an engine may count none ([`Target::Unmetered`](crate::Target)): then
//! there is always enough.

use wasmtime::{AsContext, AsContextMut, Result};

/// Gives a store this fuel.
pub(crate) fn set(mut store: impl AsContextMut, fuel: u64) -> Result<()> {
    let set = store.as_context_mut().set_fuel(fuel);
    #[cfg(feature = "bench")]
    let set = set.or(Ok(()));
    set
}

/// The fuel that is left.
pub(crate) fn left(store: impl AsContext) -> Result<u64> {
    let left = store.as_context().get_fuel();
    #[cfg(feature = "bench")]
    let left = left.or(Ok(u64::MAX));
    left
}
