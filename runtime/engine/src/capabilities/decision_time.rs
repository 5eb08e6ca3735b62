//! `decision-time`: the one clock that a policy may see, and it stands still.

use wasmtime::component::LinkerInstance;

use super::{State, pay, price, price_of_bytes};

pub(super) fn link(instance: &mut LinkerInstance<'_, State>) -> wasmtime::Result<()> {
    instance.func_wrap("now", |mut store, (): ()| {
        store.data_mut().count_calls(1)?;
        store.data_mut().saw_time = true;
        let now = store.data().question()?.decision_time.to_string();
        pay(&mut store, price::CALL + price_of_bytes(now.len()))?;
        Ok((now,))
    })
}
