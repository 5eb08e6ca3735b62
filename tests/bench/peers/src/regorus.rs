//! regorus: its virtual machine, loaded once and asked again and again, which is what its own benchmark calls hot and
//! is its fastest way; without its limits, and with the allocator of that benchmark.

use std::hint::black_box;
use std::rc::Rc;
use std::time::{Duration, Instant};

use regorus::languages::rego::compiler::Compiler;
use regorus::rvm::vm::RegoVM;
use regorus::{Engine, Value};

use crate::{Result, Round, answers, median, note, print};

const ENTRY: &str = "data.rbac.allow";
const EVALUATIONS: usize = 2_000;

/// Compiles the policy, loads the data and answers once.
pub(crate) fn prepare(policy: &str, data: &str, input: &str) -> Result<Round> {
    let mut engine = Engine::new();
    engine.add_policy(policy.into(), std::fs::read_to_string(policy)?)?;
    let data = Value::from_json_str(&std::fs::read_to_string(data)?)?;
    engine.add_data(data.clone())?;
    let compiled = engine.compile_with_entrypoint(&ENTRY.into())?;
    let program = Compiler::compile_from_policy(&compiled, &[ENTRY])?;
    let mut vm = RegoVM::new();
    vm.load_program(program);
    vm.set_data(data)?;
    let text: Rc<str> = input.into();
    let value = Value::from_json_str(&text)?;
    vm.set_input(value.clone());
    answers("rbac", &[vm.execute()? == Value::Bool(true)]);
    note("regorus 0.14.1");
    Ok(Box::new(move || {
        let interpreted = median(EVALUATIONS, || {
            let started = Instant::now();
            let answer = compiled.eval_with_input(value.clone())?;
            timed(started, answer)
        })?;
        let prepared = median(EVALUATIONS, || evaluate(&mut vm, |_| Ok(value.clone()), &text))?;
        let parsed =
            median(EVALUATIONS, || evaluate(&mut vm, |text| Ok(Value::from_json_str(text)?), &text))?;
        print("peer.regorus.rbac.interpreted.p50", interpreted.as_secs_f64() * 1e6, "µs");
        print("peer.regorus.rbac.prepared.p50", prepared.as_secs_f64() * 1e6, "µs");
        print("peer.regorus.rbac.p50", parsed.as_secs_f64() * 1e6, "µs");
        Ok(())
    }))
}

/// One decision, with what is done to get the input of the text.
fn evaluate(vm: &mut RegoVM, input: impl Fn(&str) -> Result<Value>, text: &str) -> Result<Duration> {
    let started = Instant::now();
    vm.set_input(input(black_box(text))?);
    let answer = vm.execute()?;
    timed(started, answer)
}

fn timed(started: Instant, answer: Value) -> Result<Duration> {
    let time = started.elapsed();
    match answer {
        Value::Bool(true) => Ok(time),
        answer => Err(format!("not the answer that was to be timed: {answer}").into()),
    }
}
