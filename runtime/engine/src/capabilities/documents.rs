//! `input` and `data`: the same four functions over two documents. They differ in what a policy may name: all of its
//! input, and of the data what its manifest grants.

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
        store.data_mut().count_calls(1)?;
        pay(&mut store, price::CALL)?;
        let mut call = Call::new(source, Operation::Read);
        Ok((call.one(&mut store, &pointer, read)?.unwrap_or(WireValue::Absent),))
    })?;
    instance.func_wrap("read-many", move |store, (pointers,): (WasmList<WasmStr>,)| {
        Ok((read_many(store, source, &pointers)?,))
    })?;
    instance.func_wrap("keys", move |mut store, (pointer,): (WasmStr,)| {
        store.data_mut().count_calls(1)?;
        pay(&mut store, price::CALL)?;
        Ok((Call::new(source, Operation::Keys).one(&mut store, &pointer, keys)?,))
    })?;
    instance.func_wrap("json", move |mut store, (pointer,): (WasmStr,)| {
        store.data_mut().count_calls(1)?;
        pay(&mut store, price::CALL)?;
        Ok((Call::new(source, Operation::Json).one(&mut store, &pointer, json)?,))
    })
}

fn read_many(
    mut store: StoreContextMut<'_, State>,
    source: Source,
    pointers: &WasmList<WasmStr>,
) -> wasmtime::Result<Vec<WireValue>> {
    store.data_mut().count_calls(u64::try_from(pointers.len().max(1))?)?;
    pay(&mut store, price::CALL)?;
    let mut call = Call::new(source, Operation::Read);
    let mut values = Vec::with_capacity(pointers.len());
    for n in 0..pointers.len() {
        let Some(pointer) = pointers.get(&mut store, n) else { break };
        values.push(call.one(&mut store, &pointer?, read)?.unwrap_or(WireValue::Absent));
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

/// What makes a result: first its price and its size are known, then it is made.
type Make<T> = fn(&Document, &Node) -> Option<Priced<T>>;

struct Priced<T> {
    names: usize,
    bytes: usize,
    make: fn(&Document, &Node) -> Option<T>,
}

impl Call {
    fn new(source: Source, operation: Operation) -> Self {
        Self { source, operation, result_bytes: 0 }
    }

    /// Looks one pointer up, notes the step, takes the price and makes the result, in this order.
    fn one<T>(
        &mut self,
        store: &mut StoreContextMut<'_, State>,
        pointer: &WasmStr,
        make: Make<T>,
    ) -> wasmtime::Result<Option<T>> {
        let mut text = std::mem::take(&mut store.data_mut().scratch);
        text.clear();
        text.push_str(bounded(&pointer.to_str(&*store)?)?);
        let result = self.look_up(store, &text, make);
        store.data_mut().scratch = text;
        result
    }

    fn look_up<T>(
        &mut self,
        store: &mut StoreContextMut<'_, State>,
        pointer: &str,
        make: Make<T>,
    ) -> wasmtime::Result<Option<T>> {
        let (document, node) = self.find(store.data().question()?, pointer)?;
        let priced =
            document.as_ref().zip(node).and_then(|(document, node)| Some((make(document, &node)?, node)));
        store.data_mut().reads.push(self.source, self.operation, pointer, priced.is_none());
        let looked_up = price::LOOKUP + price::POINTER_BYTE * u64::try_from(pointer.len())?;
        let Some((priced, node)) = priced else {
            pay(store, looked_up)?;
            return Ok(None);
        };
        self.bound(&priced, store.data().result_bytes_max)?;
        let names = price::NAME * u64::try_from(priced.names)?;
        pay(store, looked_up + names + price_of_bytes(priced.bytes))?;
        Ok(document.as_ref().and_then(|document| (priced.make)(document, &node)))
    }

    /// What does not fit into the guest's memory is not made on the host's side either.
    fn bound<T>(&mut self, priced: &Priced<T>, max: u64) -> Result<(), Stop> {
        let bytes = priced.bytes.saturating_add(priced.names.saturating_mul(8));
        self.result_bytes = self.result_bytes.saturating_add(u64::try_from(bytes).unwrap_or(u64::MAX));
        if self.result_bytes > max {
            let message =
                format!("the policy asked for a result of {} bytes; its memory is {max}", self.result_bytes);
            return Err(Stop::OutOfMemory(message));
        }
        Ok(())
    }

    fn find(&self, question: &Question, pointer: &str) -> Result<(Option<Document>, Option<Node>), Stop> {
        if !is_pointer(pointer) {
            return Err(Stop::Trap(format!("`{}` is not a JSON Pointer", shortened(pointer))));
        }
        let document = match self.source {
            Source::Input => Some(&question.input),
            Source::Data if question.data_granted.iter().any(|prefix| prefix.is_prefix_of(pointer)) => {
                question.data.as_ref()
            }
            Source::Data => {
                let pointer = shortened(pointer);
                return Err(Stop::Trap(format!(
                    "the policy read `{pointer}` of the data, which it is not granted"
                )));
            }
        };
        Ok((document.cloned(), document.and_then(|document| document.find(pointer).copied())))
    }
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

fn read(document: &Document, node: &Node) -> Option<Priced<WireValue>> {
    let make = |document: &Document, node: &Node| Some(wire_value(document.value(node)));
    Some(Priced { names: 0, bytes: document.text_bytes(node), make })
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

fn keys(document: &Document, node: &Node) -> Option<Priced<Vec<String>>> {
    let bytes = document.names_bytes(node)?;
    let make = |document: &Document, node: &Node| {
        Some(document.names(node)?.map(std::borrow::Cow::into_owned).collect())
    };
    Some(Priced { names: node.count as usize, bytes, make })
}

fn json(document: &Document, node: &Node) -> Option<Priced<String>> {
    Some(Priced {
        names: 0,
        bytes: document.source(node).len(),
        make: |document, node| Some(document.source(node).to_owned()),
    })
}
