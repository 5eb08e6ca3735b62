//! `diagnostics`: messages for operators, which are never part of an answer.

use wasmtime::StoreContextMut;
use wasmtime::component::{LinkerInstance, WasmStr};

use super::{State, Stop, pay, price, price_of_bytes};
use crate::outcome::LogLine;

pub(super) fn link(instance: &mut LinkerInstance<'_, State>) -> wasmtime::Result<()> {
    instance.func_wrap("log", |store, (code, message): (WasmStr, WasmStr)| log(store, &code, &message))
}

fn log(mut store: StoreContextMut<'_, State>, code: &WasmStr, message: &WasmStr) -> wasmtime::Result<()> {
    store.data_mut().count_calls(1)?;
    let line = {
        let (code, message) = (code.to_str(&store)?, message.to_str(&store)?);
        let bytes = code.len().saturating_add(message.len());
        // Before it is copied: what is over the limit costs the host nothing.
        if u64::try_from(bytes).unwrap_or(u64::MAX) > store.data().log_bytes_left {
            return Err(Stop::OutOfBudget("the policy used up its log bytes".into()).into());
        }
        LogLine { code: code.into_owned(), message: message.into_owned() }
    };
    let bytes = line.code.len() + line.message.len();
    pay(&mut store, price::CALL + price_of_bytes(bytes))?;
    let state = store.data_mut();
    state.log_bytes_left = state.log_bytes_left.saturating_sub(u64::try_from(bytes).unwrap_or(u64::MAX));
    state.log.push(line);
    Ok(())
}
