//! Runs a core module's initialisation at build time, and makes what it left the module's initial state.
//!
//! Everything that the module asks of its host meanwhile has one fixed answer, so that the result depends on the
//! module only.

use std::pin::pin;
use std::task::{Context, Poll, Waker};

use anyhow::{Result, anyhow, bail};
use wasmtime::{Caller, Engine, Extern, Instance, Linker, Module, Store, Val};
use wasmtime_wizer::{InstanceState, SnapshotVal, ValType, Wizer};

const PREVIEW1: &str = "wasi_snapshot_preview1";

/// The module as it is after `_initialize`, if it has that, and `function`; neither is exported any more.
pub(crate) fn initialised(core: &[u8], function: &str) -> Result<Vec<u8>> {
    let mut wizer = Wizer::new();
    wizer.init_func(function);
    let (context, instrumented) = wizer.instrument(core)?;
    let engine = Engine::default();
    let module = Module::new(&engine, &instrumented)?;
    let mut store = Store::new(&engine, ());
    let instance = linker(&engine, &module)?.instantiate(&mut store, &module)?;
    let names = if function == "_initialize" { vec![function] } else { vec!["_initialize", function] };
    for name in names {
        if let Some(function) = instance.get_func(&mut store, name) {
            function.typed::<(), ()>(&store)?.call(&mut store, ())?;
        }
    }
    let mut state = State { store, instance };
    let snapshot = pin!(wizer.snapshot(&context, &mut state));
    match snapshot.poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(module) => Ok(module?),
        Poll::Pending => bail!("the snapshot waits for something"),
    }
}

/// Preview 1 as the adapter answers it, and traps for the rest.
fn linker(engine: &Engine, module: &Module) -> Result<Linker<()>> {
    let adapter = Module::new(engine, wat::parse_str(crate::ADAPTER)?)?;
    let mut linker = Linker::new(engine);
    // Go imports some of them twice.
    linker.allow_shadowing(true);
    for import in module.imports().filter(|import| import.module() == PREVIEW1) {
        let Some(ty) = import.ty().func().cloned() else { bail!("`{}` is no function", import.name()) };
        let (adapter, name) = (adapter.clone(), import.name().to_owned());
        linker.func_new(PREVIEW1, import.name(), ty, move |mut caller, parameters, results| {
            answer(&mut caller, &adapter, &name, parameters, results).map_err(wasmtime::Error::from_anyhow)
        })?;
    }
    linker.define_unknown_imports_as_traps(module)?;
    Ok(linker)
}

/// Asks the adapter, over the memory of the caller.
fn answer(
    caller: &mut Caller<'_, ()>,
    adapter: &Module,
    name: &str,
    parameters: &[Val],
    results: &mut [Val],
) -> Result<()> {
    let memory = caller.get_export("memory").ok_or_else(|| anyhow!("the module exports no memory"))?;
    let instance = Instance::new(&mut *caller, adapter, &[memory])?;
    let function = instance.get_func(&mut *caller, name);
    let function = function.ok_or_else(|| anyhow!("the adapter has no `{name}`"))?;
    Ok(function.call(&mut *caller, parameters, results)?)
}

struct State {
    store: Store<()>,
    instance: Instance,
}

impl InstanceState for State {
    async fn global_get(&mut self, name: &str, _: ValType) -> SnapshotVal {
        match self.instance.get_global(&mut self.store, name).map(|global| global.get(&mut self.store)) {
            Some(Val::I32(value)) => SnapshotVal::I32(value),
            Some(Val::I64(value)) => SnapshotVal::I64(value),
            Some(Val::F32(bits)) => SnapshotVal::F32(bits),
            Some(Val::F64(bits)) => SnapshotVal::F64(bits),
            other => panic!("global `{name}` is {other:?}"),
        }
    }

    async fn memory_contents(&mut self, name: &str, contents: impl FnOnce(&[u8]) + Send) {
        match self.instance.get_export(&mut self.store, name) {
            Some(Extern::Memory(memory)) => contents(memory.data(&self.store)),
            other => panic!("memory `{name}` is {other:?}"),
        }
    }
}
