//! A policy in Rego. The program is compiled when the component is built (`warm`), and is part of its memory then.

use std::cell::{Cell, RefCell};

use anyhow::{Context, Result};
use exports::verdict::policy::decision::{Answer, Failure, Guest, Problem, Reason};
use regorus::languages::rego::compiler::Compiler;
use regorus::rvm::vm::RegoVM;
use regorus::{Engine, Value};
use verdict::policy::input::{self, Value as Read};

wit_bindgen::generate!({ world: "policy", path: "../../../wit" });

const ENTRY: &str = "data.policy.decision";
const POINTERS: [&str; 4] = ["/user/role", "/user/name", "/resource/owner", "/action"];
const NAMES: [&str; 4] = ["role", "user", "owner", "action"];

thread_local! {
    static MACHINE: RefCell<Option<RegoVM>> = const { RefCell::new(None) };
    static CALLS: Cell<u64> = const { Cell::new(0) };
    static SEEN: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

struct Policy;

impl Guest for Policy {
    fn decide(rule: String) -> Result<Answer, Failure> {
        if rule == "leak" {
            return Ok(leak());
        }
        let pointers = POINTERS.map(str::to_owned);
        let values = input::read_many(&pointers);
        let texts = values.into_iter().map(|value| if let Read::Text(text) = value { Some(text) } else { None });
        answer(texts).map_err(|error| failure("rego", &format!("{error:#}"), None, Failure::Internal))?.ok_or_else(|| {
            failure("no-action", "the action is not a text", Some("/action"), Failure::InvalidInput)
        })
    }
}

fn failure(code: &str, message: &str, pointer: Option<&str>, kind: fn(Problem) -> Failure) -> Failure {
    kind(Problem { code: code.into(), message: message.into(), pointer: pointer.map(Into::into) })
}

/// None if the decision is undefined.
fn answer(texts: impl Iterator<Item = Option<String>>) -> Result<Option<Answer>> {
    let mut input = Value::new_object();
    for (name, text) in NAMES.into_iter().zip(texts) {
        if let Some(text) = text {
            input.as_object_mut()?.insert(name.into(), text.into());
        }
    }
    let decision = MACHINE.with_borrow_mut(|machine| {
        let machine = machine.as_mut().context("the policy was not compiled")?;
        machine.set_input(input);
        Ok::<_, anyhow::Error>(machine.execute()?)
    })?;
    if decision == Value::Undefined {
        return Ok(None);
    }
    let on = decision["on"].as_array()?.iter().map(|pointer| Ok(pointer.as_string()?.to_string()));
    let reason = Reason {
        code: decision["code"].as_string()?.to_string(),
        message: decision["message"].as_string()?.to_string(),
        rule: Some("allow".into()),
        reference: None,
        pointers: on.collect::<Result<_>>()?,
    };
    Ok(Some(Answer { value: Some(decision["allowed"].as_bool()?.to_string()), reasons: vec![reason] }))
}

/// Leaves traces, also in what the machine knows, and answers with how many it finds. It must always be the first.
fn leak() -> Answer {
    CALLS.set(CALLS.get() + 1);
    let seen = SEEN.with_borrow_mut(|seen| {
        seen.push("x".repeat(100));
        seen.len()
    });
    let failed = MACHINE.with_borrow_mut(|machine| {
        // The second time it has no program any more.
        let machine = machine.take();
        machine.is_some_and(|mut machine| machine.execute().is_ok())
    });
    let traces = format!("[{},{seen},{}]", CALLS.get(), if failed { 1 } else { 2 });
    Answer { value: Some(traces), reasons: Vec::new() }
}

/// Runs at build time: compiles the policy, and decides so often that the heap has what a decision needs.
#[unsafe(export_name = "warm")]
extern "C" fn warm() {
    let machine = compiled().unwrap_or_else(|error| panic!("{error:#}"));
    MACHINE.set(Some(machine));
    for role in ["admin", "clerk"] {
        for owner in ["x".repeat(100), "y".repeat(2_000)] {
            let texts = [role.to_owned(), owner.clone(), owner, "z".repeat(2_000)].map(Some);
            drop(answer(texts.into_iter()));
        }
    }
}

fn compiled() -> Result<RegoVM> {
    let mut engine = Engine::new();
    engine.add_policy("policy.rego".into(), include_str!("policy.rego").into())?;
    let compiled = engine.compile_with_entrypoint(&ENTRY.into())?;
    let mut machine = RegoVM::new();
    machine.load_program(Compiler::compile_from_policy(&compiled, &[ENTRY])?);
    Ok(machine)
}

/// Nothing is random: a policy has no use for it, and regorus would only seed its tables.
#[unsafe(no_mangle)]
unsafe extern "Rust" fn __getrandom_v03_custom(at: *mut u8, length: usize) -> Result<(), getrandom::Error> {
    // SAFETY: the caller hands over `length` bytes to be written.
    unsafe { at.write_bytes(0x5a, length) };
    Ok(())
}

export!(Policy);
