//! Every way in which an evaluation ends without an answer, and that the fault says which it was.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests may"
)]

mod support;

use serde_json::json;
use support::{ask, ask_with, engine, fault, guest, load, value};
use verdict_core::outcome::FaultCode;

/// Guests that misbehave: what they do, their items and body, the class of the fault and a part of its message.
const GUESTS: &[(&str, &str, &str, FaultCode, &str)] = &[
    ("loops for ever", "", "(loop $l (br $l)) (unreachable)", FaultCode::OutOfFuel, "fuel"),
    ("unreachable", "", "(unreachable)", FaultCode::Trap, "unreachable"),
    ("reads out of bounds", "", "(i32.load (i32.const -4))", FaultCode::Trap, "out of bounds memory access"),
    ("divides by zero", "", "(i32.div_u (local.get $rule) (i32.const 0))", FaultCode::Trap, "divide by zero"),
    (
        "overflows a division",
        "",
        "(i32.div_s (i32.const -2147483648) (i32.const -1))",
        FaultCode::Trap,
        "integer overflow",
    ),
    ("converts a NaN", "", "(i32.trunc_f32_s (f32.const nan))", FaultCode::Trap, "invalid conversion"),
    (
        "calls an empty table slot",
        "(table 1 funcref)",
        "(call_indirect (result i32) (i32.const 0))",
        FaultCode::Trap,
        "uninitialized element",
    ),
    (
        "calls outside its table",
        "(table 1 funcref)",
        "(call_indirect (result i32) (i32.const 9))",
        FaultCode::Trap,
        "out of bounds table access",
    ),
    (
        "calls with another type",
        "(table funcref (elem $f)) (func $f)",
        "(call_indirect (result i32) (i32.const 0))",
        FaultCode::Trap,
        "indirect call type mismatch",
    ),
    (
        "recurses for ever",
        "(func $f (result i32) (i32.add (call $f) (i32.const 1)))",
        "(call $f)",
        FaultCode::StackOverflow,
        "stack",
    ),
    (
        "wants all memory",
        "",
        "(drop (memory.grow (i32.const 1000))) (call $true)",
        FaultCode::OutOfMemory,
        "bytes of memory",
    ),
    (
        "wants all memory bit by bit",
        "",
        "(loop $l (drop (memory.grow (i32.const 1))) (br $l)) (unreachable)",
        FaultCode::OutOfMemory,
        "bytes of memory",
    ),
    (
        "wants a large table",
        "(table $t 1 funcref)",
        "(drop (table.grow $t (ref.null func) (i32.const 100000))) (call $true)",
        FaultCode::OutOfMemory,
        "table elements",
    ),
    ("answers out of its memory", "", "(i32.const 131064)", FaultCode::Trap, "broke the contract"),
    (
        "answers with an unknown variant",
        "",
        "(i32.store8 (i32.const 1024) (i32.const 7)) (i32.const 1024)",
        FaultCode::Trap,
        "broke the contract",
    ),
    (
        "answers what is not UTF-8",
        "(data (i32.const 64) \"\\ff\\fe\")",
        "(call $answer (i32.const 64) (i32.const 2))",
        FaultCode::Trap,
        "utf-8",
    ),
    (
        "answers what is not JSON",
        "(data (i32.const 64) \"{'a':1}\")",
        "(call $answer (i32.const 64) (i32.const 7))",
        FaultCode::InvalidOutput,
        "member name",
    ),
    (
        "answers an empty text",
        "",
        "(call $answer (i32.const 64) (i32.const 0))",
        FaultCode::InvalidOutput,
        "ends too early",
    ),
    (
        "answers one name twice",
        "(data (i32.const 64) \"{\\22a\\22:1,\\22a\\22:2}\")",
        "(call $answer (i32.const 64) (i32.const 13))",
        FaultCode::InvalidOutput,
        "twice",
    ),
    (
        "answers too much",
        "",
        "(memory.fill (i32.const 2048) (i32.const 48) (i32.const 20000)) (call $answer (i32.const 2048) (i32.const 20000))",
        FaultCode::InvalidOutput,
        "larger than the limit",
    ),
    (
        "answers with reasons without end",
        "",
        "(drop (call $true)) (i32.store (i32.const 1040) (i32.const 4112)) (i32.store (i32.const 1044) (i32.const 2600)) (i32.const 1024)",
        FaultCode::InvalidOutput,
        "larger than the limit",
    ),
    (
        "floods the log",
        "",
        "(loop $l (call $host.diagnostics.log (i32.const 0) (i32.const 4) (i32.const 0) (i32.const 4)) (br $l)) (unreachable)",
        FaultCode::OutOfBudget,
        "log bytes",
    ),
    (
        "logs too much at once",
        "",
        "(call $host.diagnostics.log (i32.const 0) (i32.const 4) (i32.const 0) (i32.const 120000)) (call $true)",
        FaultCode::OutOfBudget,
        "log bytes",
    ),
    (
        "calls the host without end",
        "",
        "(loop $l (call $host.input.read (i32.const 0) (i32.const 0) (i32.const 2048)) (br $l)) (unreachable)",
        FaultCode::OutOfBudget,
        "host calls",
    ),
    (
        "asks for many pointers at once",
        "",
        "(call $host.input.read-many (i32.const 4096) (i32.const 500) (i32.const 2048)) (call $true)",
        FaultCode::OutOfBudget,
        "host calls",
    ),
    (
        "reads a malformed pointer",
        "",
        "(call $host.input.read (i32.const 0) (i32.const 4) (i32.const 2048)) (call $true)",
        FaultCode::Trap,
        "`true` is not a JSON Pointer",
    ),
    (
        "reads a malformed escape",
        "(data (i32.const 64) \"/a~2\")",
        "(call $host.input.json (i32.const 64) (i32.const 4) (i32.const 2048)) (call $true)",
        FaultCode::Trap,
        "`/a~2` is not a JSON Pointer",
    ),
    (
        "reads a pointer without end",
        "",
        "(memory.fill (i32.const 8192) (i32.const 47) (i32.const 5000)) (call $host.input.read (i32.const 8192) (i32.const 5000) (i32.const 2048)) (call $true)",
        FaultCode::Trap,
        "at most 4096",
    ),
    (
        "hands over an address outside its memory",
        "",
        "(call $host.input.read (i32.const 0) (i32.const 999999) (i32.const 2048)) (call $true)",
        FaultCode::Trap,
        "out of bounds",
    ),
    (
        "reads data that is not granted",
        "(data (i32.const 64) \"/secrets\")",
        "(call $host.data.read (i32.const 64) (i32.const 8) (i32.const 2048)) (call $true)",
        FaultCode::Trap,
        "`/secrets` of the data",
    ),
    (
        "lists data that is not granted",
        "",
        "(call $host.data.keys (i32.const 64) (i32.const 0) (i32.const 2048)) (call $true)",
        FaultCode::Trap,
        "not granted",
    ),
    (
        "copies data that is not granted",
        "(data (i32.const 64) \"/roles2\")",
        "(call $host.data.json (i32.const 64) (i32.const 7) (i32.const 2048)) (call $true)",
        FaultCode::Trap,
        "not granted",
    ),
];

fn all_capabilities(limits: serde_json::Value) -> serde_json::Value {
    json!({
        "capabilities": {"data": ["/roles"], "decision_time": true, "diagnostics": true},
        "limits": limits,
    })
}

fn limits() -> serde_json::Value {
    json!({
        "fuel": 2_000_000, "memory_bytes": 1 << 20, "table_elements": 1_000, "output_bytes": 10_000,
        "log_bytes": 1_000, "host_calls": 300, "wall_clock_ms": 60_000,
    })
}

#[test]
fn every_misbehaviour_is_the_fault_of_its_class() {
    let engine = engine();
    for (name, items, body, code, message) in GUESTS {
        let policy = load(&engine, &guest(items, body), all_capabilities(limits()));
        let outcome = ask_with(&policy, r#"{"a": 1}"#, Some(r#"{"roles": {}, "secrets": {}}"#));
        let (found, text) = fault(&outcome);
        assert_eq!((found, text.contains(message)), (*code, true), "{name}: {found}: {text}");
        assert_eq!(outcome.fuel, 2_000_000, "{name}: a fault is charged its full limit");
        assert!(outcome.memory_bytes_peak <= 1 << 20, "{name}");
        assert_eq!(ask(&policy, "{}").result.unwrap_err().code, *code, "{name}: again");
    }
}

#[test]
fn a_slow_machine_is_a_deadline_and_nobodys_answer() {
    let forever = guest("", "(loop $l (br $l)) (unreachable)");
    let mut config = verdict_engine::Config::new(verdict_engine::Compiler::InProcess);
    config.ceiling.fuel = 1_000_000_000_000;
    let engine = verdict_engine::Engine::new(config).unwrap();
    let policy = load(&engine, &forever, all_capabilities(json!({"wall_clock_ms": 20})));
    let outcome = ask(&policy, "{}");
    assert_eq!(fault(&outcome).0, FaultCode::Deadline);
    assert_eq!(outcome.fuel, 1_000_000_000_000);
}

#[test]
fn a_hundred_megabytes_of_reasons_in_one_page_are_not_copied() {
    // 2,000 reasons whose texts are the same 100 kB.
    let body = "(local $n i32) (local $at i32)
        (memory.fill (i32.const 4096) (i32.const 120) (i32.const 20000))
        (loop $l
          (local.set $at (i32.add (i32.const 32768) (i32.mul (local.get $n) (i32.const 48))))
          (i32.store offset=0 (local.get $at) (i32.const 4096))
          (i32.store offset=4 (local.get $at) (i32.const 20000))
          (i32.store offset=8 (local.get $at) (i32.const 4096))
          (i32.store offset=12 (local.get $at) (i32.const 20000))
          (local.set $n (i32.add (local.get $n) (i32.const 1)))
          (br_if $l (i32.lt_u (local.get $n) (i32.const 2000))))
        (drop (call $true))
        (i32.store (i32.const 1040) (i32.const 32768))
        (i32.store (i32.const 1044) (i32.const 2000))
        (i32.const 1024)";
    let policy = load(&engine(), &guest("", body), all_capabilities(limits()));
    assert_eq!(fault(&ask(&policy, "{}")).0, FaultCode::InvalidOutput);
}

/// A guest whose `decide` fails by itself.
fn failing(variant: u32, pointer: bool) -> Vec<u8> {
    let body = format!(
        "(i32.store8 (i32.const 1024) (i32.const 1)) (i32.store8 (i32.const 1028) (i32.const {variant}))
         (i32.store (i32.const 1032) (i32.const 64)) (i32.store (i32.const 1036) (i32.const 4))
         (i32.store (i32.const 1040) (i32.const 68)) (i32.store (i32.const 1044) (i32.const 5))
         (i32.store8 (i32.const 1048) (i32.const {})) (i32.store (i32.const 1052) (i32.const 73))
         (i32.store (i32.const 1056) (i32.const 2)) (i32.const 1024)",
        u32::from(pointer)
    );
    guest(r#"(data (i32.const 64) "codewords/a")"#, &body)
}

#[test]
fn a_failure_of_the_policy_keeps_its_code_and_place() {
    let engine = engine();
    let cases = [
        (0, true, FaultCode::InvalidInput),
        (1, true, FaultCode::PolicyError),
        (2, false, FaultCode::PolicyError),
    ];
    for (variant, pointer, code) in cases {
        let policy = load(&engine, &failing(variant, pointer), all_capabilities(limits()));
        let fault = ask(&policy, "{}").result.unwrap_err();
        assert_eq!((fault.code, fault.message.as_str()), (code, "words"));
        assert_eq!(fault.policy_code.as_deref(), Some("code"));
        assert_eq!(fault.pointer.as_deref(), pointer.then_some("/a"));
    }
}

#[test]
fn refuses_an_unknown_rule_and_a_large_input_before_the_policy_runs() {
    let policy = load(&engine(), &guest("", "(unreachable)"), json!({"limits": {"input_bytes": 10}}));
    assert_eq!(fault(&ask(&policy, "[1,2,3,4,5,6,7]")).0, FaultCode::InvalidInput);
    let input = support::document("1");
    let decision_time = "2026-06-01T00:00:00Z".parse().unwrap();
    let query = verdict_engine::Query { rule: "other", input: &input, data: None, decision_time };
    let outcome = policy.evaluate(&query);
    assert_eq!(fault(&outcome), (FaultCode::InvalidInput, "the policy has no rule `other`"));
}

#[test]
fn growth_beyond_what_the_module_itself_declares_is_minus_one() {
    let items = "(memory (export \"memory\") 2 3) (table $t 1 2 funcref) (data (i32.const 64) \"false\")";
    let body = "(if (result i32) (i32.and
            (i32.eq (memory.grow (i32.const 2)) (i32.const -1))
            (i32.eq (table.grow $t (ref.null func) (i32.const 5)) (i32.const -1)))
          (then (call $true)) (else (call $answer (i32.const 64) (i32.const 5))))";
    let policy = load(&engine(), &guest(items, body), json!({}));
    assert_eq!(value(&ask(&policy, "{}")), Some("true"));
}

#[test]
fn a_result_that_does_not_fit_into_the_guest_is_not_made() {
    let large = format!("\"{}\"", "x".repeat(200_000));
    let body = "(call $host.input.json (i32.const 0) (i32.const 0) (i32.const 2048)) (call $true)";
    let limits = json!({"limits": {"memory_bytes": 131_072}});
    let policy = load(&engine(), &guest("", body), limits);
    assert_eq!(fault(&ask(&policy, &large)).0, FaultCode::OutOfMemory);
}

#[test]
fn a_host_call_that_cannot_be_paid_is_out_of_fuel() {
    let large = format!("\"{}\"", "x".repeat(20_000));
    let body = "(call $host.input.json (i32.const 0) (i32.const 0) (i32.const 2048)) (call $true)";
    let policy = load(&engine(), &guest("", body), json!({"limits": {"fuel": 30_000}}));
    assert_eq!(value(&ask(&policy, "\"short\"")), Some("true"));
    assert_eq!(fault(&ask(&policy, &large)).0, FaultCode::OutOfFuel);
}
