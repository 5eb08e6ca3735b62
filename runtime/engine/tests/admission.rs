//! What is refused before it can run, each with its code and a message that names the thing.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests may"
)]

mod support;

use serde_json::json;
use support::{CONTRACT_WIT, WORLD, component_of, echo, engine, guest, module, try_load};
use verdict_core::refusal::RefusalCode;

fn code(component: &[u8], members: serde_json::Value) -> (RefusalCode, String) {
    let refusal = try_load(&engine(), component, members).expect_err("it must be refused");
    (refusal.code, refusal.message)
}

#[test]
fn refuses_each_import_that_the_manifest_does_not_declare() {
    let cases = [
        ("data", "(call $host.data.read (i32.const 0) (i32.const 0) (i32.const 2048)) (call $true)"),
        ("decision-time", "(call $host.decision-time.now (i32.const 2048)) (call $true)"),
        (
            "diagnostics",
            "(call $host.diagnostics.log (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0)) (call $true)",
        ),
    ];
    let all = json!({"capabilities": {"data": [""], "decision_time": true, "diagnostics": true}});
    for (interface, body) in cases {
        let component = guest("", body);
        let (code, message) = code(&component, json!({}));
        assert_eq!(code, RefusalCode::UndeclaredImport, "{message}");
        assert!(message.contains(&format!("verdict:policy/{interface}@0.1.0")), "{message}");
        assert!(try_load(&engine(), &component, all.clone()).is_ok());
    }
}

#[test]
fn refuses_wasi_and_says_so() {
    let wit = CONTRACT_WIT.to_owned()
        + "\nworld with-wasi { import wasi:random/random@0.2.0; export decision; }
           package wasi:random@0.2.0 { interface random { get-random-u64: func() -> u64; } }";
    let module = module("", "(drop (call $random)) (call $true)").replacen(
        "(module",
        "(module (import \"wasi:random/random@0.2.0\" \"get-random-u64\" (func $random (result i64)))",
        1,
    );
    let (code, message) = code(&component_of(&module, &wit, "with-wasi"), json!({}));
    assert_eq!(code, RefusalCode::UndeclaredImport);
    assert!(message.contains("wasi:random/random@0.2.0") && message.contains("WASI"), "{message}");
}

#[test]
fn refuses_another_version_of_the_contract() {
    let wit = CONTRACT_WIT.replace("verdict:policy@0.1.0", "verdict:policy@0.2.0");
    let module = module("", "(call $true)").replace("@0.1.0", "@0.2.0");
    let component = component_of(&module, &wit, WORLD);
    let (refused, message) = code(&component, json!({}));
    assert_eq!(refused, RefusalCode::WrongContract);
    assert!(message.contains("`0.2.0`") && message.contains("`0.1.0`"), "{message}");
    let (refused, _) = code(&guest("", "(call $true)"), json!({"contract": "0.2.0"}));
    assert_eq!(refused, RefusalCode::WrongContract);
}

#[test]
fn refuses_a_component_without_the_decision_or_with_another_type_of_it() {
    let empty = wat::parse_str("(component)").unwrap();
    assert_eq!(code(&empty, json!({})).0, RefusalCode::WrongContract);
    let wit = CONTRACT_WIT.replace("decide: func(rule: string)", "decide: func(rule: string, extra: u32)");
    let module = module("", "(call $true)").replace(
        "(param $rule_length i32) (result i32)",
        "(param $rule_length i32) (param i32) (result i32)",
    );
    let (code, message) = code(&component_of(&module, &wit, WORLD), json!({}));
    assert_eq!(code, RefusalCode::WrongContract, "{message}");
}

#[test]
fn refuses_what_is_not_a_component() {
    let good = guest("", "(call $true)");
    let core = wat::parse_str("(module)").unwrap();
    let mut garbage = good.clone();
    garbage.extend_from_slice(b"\xff\xff\xff\xff\xff");
    for bytes in [&b""[..], b"\0asm", b"not wasm at all", &core, &garbage] {
        assert_eq!(code(bytes, json!({})).0, RefusalCode::MalformedComponent);
    }
}

#[test]
fn refuses_every_truncation() {
    let good = guest("", "(call $true)");
    let engine = engine();
    for end in (0..good.len()).step_by(7) {
        // A prefix that ends between two sections is a whole component, but not one with a decision.
        match engine.inspect(&good[..end]) {
            Ok(found) => assert_eq!(found.contract, None, "{end}"),
            Err(refusal) => assert_eq!(refusal.code, RefusalCode::MalformedComponent, "{end}"),
        }
    }
}

#[test]
fn a_flipped_byte_never_panics_the_scan() {
    let good = guest("", "(call $true)");
    let engine = engine();
    for at in 0..good.len() {
        let mut bytes = good.clone();
        bytes[at] ^= 0x41;
        let _ = engine.inspect(&bytes);
    }
}

#[test]
fn refuses_features_that_policies_do_not_need() {
    for (items, feature) in [
        ("(memory $m 1 1 shared)", "threads"),
        ("(memory $m i64 1)", "memory64"),
        ("(tag $t)", "exceptions"),
        ("(global externref (ref.null extern))", "references to host objects"),
        ("(type $s (struct)) (global (ref null $s) (ref.null $s))", "garbage collection"),
    ] {
        // Not through the encoder, which would refuse some by itself.
        let text = format!("(component (core module {items}))");
        let bytes = wat::parse_str(text).unwrap();
        let refusal = engine().inspect(&bytes).expect_err(feature);
        assert_eq!(refusal.code, RefusalCode::MalformedComponent, "{feature}");
    }
}

#[test]
fn refuses_more_memory_and_instances_than_the_limits_before_anything_runs() {
    let large = guest("(memory (export \"memory\") 100)", "(call $true)");
    let (refused, message) = code(&large, json!({"limits": {"memory_bytes": 1 << 20}}));
    assert_eq!(refused, RefusalCode::TooLarge);
    assert!(message.contains("6553600") && message.contains("1048576"), "{message}");
    let (refused, message) = code(&echo("/a"), json!({"limits": {"instances": 1}}));
    assert_eq!(refused, RefusalCode::MalformedComponent, "{message}");
    // What the host adds does not count.
    assert!(try_load(&engine(), &guest("", "(call $true)"), json!({"limits": {"instances": 1}})).is_ok());
    let table = guest("(table 5000 funcref)", "(call $true)");
    let (refused, message) = code(&table, json!({"limits": {"table_elements": 1_000}}));
    assert_eq!(
        (refused, message.contains("table elements")),
        (RefusalCode::MalformedComponent, true),
        "{message}"
    );
}

#[test]
fn refuses_a_component_that_calls_the_host_or_traps_when_it_is_instantiated() {
    let (refused, message) =
        code(&guest("(func $start (unreachable)) (start $start)", "(call $true)"), json!({}));
    assert_eq!(
        (refused, message.contains("unreachable")),
        (RefusalCode::MalformedComponent, true),
        "{message}"
    );
    let (refused, _) =
        code(&guest("(func $start (loop $l (br $l))) (start $start)", "(call $true)"), json!({}));
    assert_eq!(refused, RefusalCode::MalformedComponent);
}

#[test]
fn an_inspection_names_what_a_component_can_reach() {
    let component = guest("", "(call $host.decision-time.now (i32.const 2048)) (call $true)");
    let found = engine().inspect(&component).unwrap();
    assert_eq!(found.imports, ["verdict:policy/decision-time@0.1.0"]);
    assert_eq!(found.exports, ["verdict:policy/decision@0.1.0"]);
    assert_eq!(found.contract.as_deref(), Some("0.1.0"));
    assert_eq!(found.bytes, component.len() as u64);
    assert_eq!(found.memory_bytes_initial, 2 << 16);
    assert!(found.core_modules >= 1 && found.functions >= 4);
}

#[test]
fn an_engine_is_not_made_with_limits_that_it_cannot_enforce() {
    use verdict_engine::{Compiler, Config, Engine};
    let config = |change: fn(&mut Config)| {
        let mut config = Config::new(Compiler::InProcess);
        change(&mut config);
        Engine::new(config).map(drop).map_err(|error| error.to_string())
    };
    assert_eq!(config(|_| {}), Ok(()));
    assert!(config(|config| config.ceiling.fuel = 0).unwrap_err().contains("`fuel`"));
    assert!(config(|config| config.ceiling.stack_bytes = 8 << 20).unwrap_err().contains("`stack_bytes`"));
    assert!(config(|config| config.ceiling.stack_bytes = 1).unwrap_err().contains("`stack_bytes`"));
    assert!(config(|config| config.concurrency = 0).unwrap_err().contains("`concurrency`"));
}
