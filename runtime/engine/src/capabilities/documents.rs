//! `input` and `data`: the same four functions over two documents. They differ in what a policy may name: all of its
//! input, and of the data what its manifest grants.

use std::borrow::Cow;

use verdict_core::pointer::is_pointer;
use wasmtime::StoreContextMut;
use wasmtime::component::{ComponentType, LinkerInstance, Lower, WasmList, WasmStr};

use super::{Question, State, Stop, pay, price, price_of_bytes};
use crate::document::{Document, Node, Value};
use crate::reads::{Operation, Source};

/// The longest pointer that is looked up, in bytes.
const POINTER_BYTES_MAX: usize = 4_096;

/// `input.value` of the contract.
#[derive(Debug, ComponentType, Lower)]
#[component(variant)]
enum WireValue {
    #[component(name = "absent")]
    Absent,
    #[component(name = "null")]
    Null,
    #[component(name = "boolean")]
    Boolean(bool),
    #[component(name = "number")]
    Number(String),
    #[component(name = "text")]
    Text(String),
    #[component(name = "array")]
    Array(u32),
    #[component(name = "object")]
    Object(u32),
}

pub(super) fn link(instance: &mut LinkerInstance<'_, State>, source: Source) -> wasmtime::Result<()> {
    instance.func_wrap("read", move |mut store, (pointer,): (WasmStr,)| {
        let mut call = Call::begin(&mut store, source, Operation::Read, 1)?;
        Ok((call.read(&mut store, &pointer)?,))
    })?;
    instance.func_wrap("read-many", move |store, (pointers,): (WasmList<WasmStr>,)| {
        Ok((read_many(store, source, &pointers)?,))
    })?;
    instance.func_wrap("keys", move |mut store, (pointer,): (WasmStr,)| {
        let mut call = Call::begin(&mut store, source, Operation::Keys, 1)?;
        Ok((call.keys(&mut store, &pointer)?,))
    })?;
    instance.func_wrap("json", move |mut store, (pointer,): (WasmStr,)| {
        let mut call = Call::begin(&mut store, source, Operation::Json, 1)?;
        Ok((call.json(&mut store, &pointer)?,))
    })
}

fn read_many(
    mut store: StoreContextMut<'_, State>,
    source: Source,
    pointers: &WasmList<WasmStr>,
) -> wasmtime::Result<Vec<WireValue>> {
    let mut call = Call::begin(&mut store, source, Operation::Read, pointers.len())?;
    let mut values = Vec::with_capacity(pointers.len());
    for n in 0..pointers.len() {
        let Some(pointer) = pointers.get(&mut store, n) else { break };
        values.push(call.read(&mut store, &pointer?)?);
    }
    Ok(values)
}

/// One call from the policy.
struct Call {
    source: Source,
    operation: Operation,
    /// What its results have so far.
    result_bytes: u64,
}

/// A value that was found. It is priced before anything is made of it.
struct Found {
    node: Node,
    pointer_fuel: u64,
}

impl Call {
    /// Counts and prices the call itself.
    fn begin(
        store: &mut StoreContextMut<'_, State>,
        source: Source,
        operation: Operation,
        pointers: usize,
    ) -> wasmtime::Result<Self> {
        store.data_mut().count_calls(u64::try_from(pointers.max(1))?)?;
        pay(store, price::CALL)?;
        Ok(Self { source, operation, result_bytes: 0 })
    }

    fn read(
        &mut self,
        store: &mut StoreContextMut<'_, State>,
        pointer: &WasmStr,
    ) -> wasmtime::Result<WireValue> {
        let Some(found) = self.find(store, pointer, |_| true)? else { return Ok(WireValue::Absent) };
        let bytes = self.document(store)?.map_or(0, |document| document.text_bytes(&found.node));
        self.price(store, &found, 0, bytes)?;
        let value = self.document(store)?.map(|document| wire_value(document.value(&found.node)));
        Ok(value.unwrap_or(WireValue::Absent))
    }

    fn keys(
        &mut self,
        store: &mut StoreContextMut<'_, State>,
        pointer: &WasmStr,
    ) -> wasmtime::Result<Option<Vec<String>>> {
        let Some(found) = self.find(store, pointer, Node::is_object)? else { return Ok(None) };
        let bytes = self.document(store)?.and_then(|document| document.names_bytes(&found.node));
        self.price(store, &found, found.node.count as usize, bytes.unwrap_or(0))?;
        let names = self.document(store)?.and_then(|document| document.names(&found.node));
        Ok(names.map(|names| names.map(Cow::into_owned).collect()))
    }

    fn json(
        &mut self,
        store: &mut StoreContextMut<'_, State>,
        pointer: &WasmStr,
    ) -> wasmtime::Result<Option<String>> {
        let Some(found) = self.find(store, pointer, |_| true)? else { return Ok(None) };
        let bytes = self.document(store)?.map_or(0, |document| document.source(&found.node).len());
        self.price(store, &found, 0, bytes)?;
        Ok(self.document(store)?.map(|document| document.source(&found.node).to_owned()))
    }

    /// The document, if the tenant has one.
    fn document<'a>(&self, store: &'a StoreContextMut<'_, State>) -> Result<Option<&'a Document>, Stop> {
        store.data().question().map(|question| question.document(self.source))
    }

    /// Looks a pointer up and notes the step. What is not there is paid for here.
    fn find(
        &mut self,
        store: &mut StoreContextMut<'_, State>,
        pointer: &WasmStr,
        is_meant: fn(&Node) -> bool,
    ) -> wasmtime::Result<Option<Found>> {
        let mut text = std::mem::take(&mut store.data_mut().scratch);
        text.clear();
        text.push_str(bounded(&pointer.to_str(&*store)?)?);
        let state = store.data_mut();
        let node = state.find(self.source, &text)?.filter(is_meant);
        state.reads.push(self.source, self.operation, &text, node.is_none());
        let pointer_fuel = price_of_pointer(&text);
        state.scratch = text;
        if node.is_none() {
            pay(store, pointer_fuel)?;
        }
        Ok(node.map(|node| Found { node, pointer_fuel }))
    }

    /// Takes the price of what was found. What does not fit into the guest's memory is not made on the host's side
    /// either.
    fn price(
        &mut self,
        store: &mut StoreContextMut<'_, State>,
        found: &Found,
        names: usize,
        bytes: usize,
    ) -> wasmtime::Result<()> {
        let result_bytes = bytes.saturating_add(names.saturating_mul(8));
        self.result_bytes = self.result_bytes.saturating_add(u64::try_from(result_bytes)?);
        let max = store.data().result_bytes_max;
        if self.result_bytes > max {
            let message =
                format!("the policy asked for a result of {} bytes; its memory is {max}", self.result_bytes);
            return Err(Stop::OutOfMemory(message).into());
        }
        let names = price::NAME * u64::try_from(names)?;
        pay(store, found.pointer_fuel + names + price_of_bytes(bytes))
    }
}

impl Question {
    /// The document that a policy names by the interface that it calls.
    fn document(&self, source: Source) -> Option<&Document> {
        match source {
            Source::Input => Some(&self.input),
            Source::Data => self.data.as_ref(),
        }
    }
}

impl State {
    /// The node that a pointer names, if the policy may name it.
    fn find(&self, source: Source, pointer: &str) -> Result<Option<Node>, Stop> {
        let question = self.question()?;
        if !is_pointer(pointer) {
            return Err(Stop::Trap(format!("`{}` is not a JSON Pointer", shortened(pointer))));
        }
        if source == Source::Data && !self.data_granted.iter().any(|prefix| prefix.is_prefix_of(pointer)) {
            let pointer = shortened(pointer);
            return Err(Stop::Trap(format!(
                "the policy read `{pointer}` of the data, which it is not granted"
            )));
        }
        Ok(question.document(source).and_then(|document| document.find(pointer)))
    }
}

/// Of a pointer that is short enough.
fn price_of_pointer(pointer: &str) -> u64 {
    let count = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
    let tokens = pointer.bytes().filter(|&byte| byte == b'/').count();
    price::LOOKUP + price::TOKEN * count(tokens) + price::POINTER_BYTE * count(pointer.len())
}

fn bounded(pointer: &str) -> Result<&str, Stop> {
    if pointer.len() > POINTER_BYTES_MAX {
        let message = format!("a pointer has {} bytes; at most {POINTER_BYTES_MAX} are read", pointer.len());
        return Err(Stop::Trap(message));
    }
    Ok(pointer)
}

fn shortened(text: &str) -> String {
    text.chars().take(160).collect()
}

fn wire_value(value: Value<'_>) -> WireValue {
    match value {
        Value::Null => WireValue::Null,
        Value::Boolean(value) => WireValue::Boolean(value),
        Value::Number(text) => WireValue::Number(text.into()),
        Value::Text(text) => WireValue::Text(text.into_owned()),
        Value::Array(length) => WireValue::Array(length),
        Value::Object(length) => WireValue::Object(length),
    }
}
