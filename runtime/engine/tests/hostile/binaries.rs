//! Binaries that must not be loaded: broken, too large, reaching for what they were not given, or doing something
//! while they are instantiated.

use verdict_core::refusal::RefusalCode::{
    CompileFailed, MalformedComponent, TooLarge, UndeclaredImport, WrongContract,
};

use super::harness::{Attack, attacks, body, refused, with};
use crate::support::{CONTRACT_WIT, WORLD, component_of, guest, module};

fn good() -> Vec<u8> {
    guest("", "(call $true)")
}

/// A guest of this world, which is added to the contract's package, whose text is changed before.
fn world(world: &str, import: &str, call: &str) -> Attack {
    let module =
        module("", &format!("{call} (call $true)")).replacen("(module", &format!("(module {import}"), 1);
    Attack::of(component_of(&module, &format!("{CONTRACT_WIT}\n{world}"), "hostile"))
}

/// A component with this item and no more; the encoder would refuse some by itself.
fn item(text: &str) -> Attack {
    Attack::of(wat::parse_str(format!("(component {text})")).unwrap())
}

fn changed(change: impl Fn(&mut Vec<u8>)) -> Attack {
    let mut bytes = good();
    change(&mut bytes);
    Attack::of(bytes)
}

const WASI: &str = "world hostile { import wasi:filesystem/preopens@0.2.0; export decision; }
    package wasi:filesystem@0.2.0 { interface preopens { count: func() -> u32; } }";

attacks! {
    import_of_what_is_not_in_the_contract: world("world hostile { import secrets; export decision; } interface secrets { key: func() -> u32; }",
        r#"(import "verdict:policy/secrets@0.1.0" "key" (func $key (result i32)))"#, "(drop (call $key))")
        => refused(UndeclaredImport, "secrets");
    import_of_wasi: world(WASI, r#"(import "wasi:filesystem/preopens@0.2.0" "count" (func $count (result i32)))"#, "(drop (call $count))")
        => refused(UndeclaredImport, "WASI");
    import_of_a_function_at_the_root: world("world hostile { import reveal: func() -> u32; export decision; }",
        r#"(import "$root" "reveal" (func $reveal (result i32)))"#, "(drop (call $reveal))") => refused(UndeclaredImport, "reveal");
    import_of_a_function_that_the_interface_has_not: Attack::of(component_of(
        &module("", "(drop (call $reveal)) (call $true)").replacen("(module",
            r#"(module (import "verdict:policy/input@0.1.0" "reveal" (func $reveal (result i32)))"#, 1),
        &CONTRACT_WIT.replacen("interface input {", "interface input { @since(version = 0.1.0) reveal: func() -> u32;", 1), WORLD))
        => refused(WrongContract, "reveal");
    import_with_another_type: Attack::of(component_of(
        &module("", "(call $now (i64.const 1) (i32.const 2048)) (call $true)").replacen("(module",
            r#"(module (import "verdict:policy/decision-time@0.1.0" "now" (func $now (param i64 i32)))"#, 1),
        &CONTRACT_WIT.replacen("now: func() -> string", "now: func(when: u64) -> string", 1), WORLD))
        => refused(WrongContract, "now");
    contract_of_another_version: Attack::of(component_of(&module("", "(call $true)").replace("@0.1.0", "@0.2.0"),
        &CONTRACT_WIT.replace("verdict:policy@0.1.0", "verdict:policy@0.2.0"), WORLD)) => refused(WrongContract, "`0.2.0`");
    contract_without_a_version: Attack::of(component_of(&module("", "(call $true)").replace("@0.1.0", ""),
        &CONTRACT_WIT.replace("verdict:policy@0.1.0", "verdict:policy").lines().filter(|line| !line.contains("@since"))
            .collect::<Vec<_>>().join("\n"), WORLD)) => refused(WrongContract, "");
    decision_with_another_type: Attack::of(component_of(
        &module("", "(call $true)").replace("(param $rule_length i32) (result i32)", "(param $rule_length i32) (param i32) (result i32)"),
        &CONTRACT_WIT.replace("decide: func(rule: string)", "decide: func(rule: string, extra: u32)"), WORLD))
        => refused(WrongContract, "decide");
    decision_that_is_missing: item("") => refused(WrongContract, "decision");
    decision_that_is_a_component: item(r#"(component $c) (export "verdict:policy/decision@0.1.0" (component $c))"#)
        => refused(WrongContract, "decision");

    empty_file: Attack::of(Vec::new()) => refused(MalformedComponent, "not a component");
    header_only: changed(|bytes| bytes.truncate(8)) => refused(WrongContract, "decision");
    half_a_header: changed(|bytes| bytes.truncate(6)) => refused(MalformedComponent, "");
    text: Attack::of(b"(component)".to_vec()) => refused(MalformedComponent, "not a component");
    core_module: Attack::of(wat::parse_str(module("", "(call $true)").replace("$host", "$h")).unwrap())
        => refused(MalformedComponent, "not a component");
    machine_code: Attack::of(b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x03\0\x3e\0".to_vec()) => refused(MalformedComponent, "not a component");
    version_of_tomorrow: changed(|bytes| bytes[4] = 0x7f) => refused(MalformedComponent, "");
    cut_in_the_middle: changed(|bytes| bytes.truncate(bytes.len() / 2)) => refused(MalformedComponent, "");
    cut_before_the_end: changed(|bytes| bytes.truncate(bytes.len() - 1)) => refused(MalformedComponent, "");
    garbage_at_the_end: changed(|bytes| bytes.extend(b"\xff\xff\xff\xff\xff")) => refused(MalformedComponent, "");
    zeros_at_the_end: changed(|bytes| bytes.extend([0; 64])) => refused(MalformedComponent, "");
    section_of_an_unknown_kind: changed(|bytes| bytes.extend([99, 1, 0])) => refused(MalformedComponent, "");
    section_longer_than_the_file: changed(|bytes| bytes.extend([0, 0x80, 0x80, 0x40, 1])) => refused(MalformedComponent, "");
    name_that_is_not_utf8: changed(|bytes| bytes.extend([0, 2, 1, 0xff])) => refused(MalformedComponent, "");

    start_that_loops: with("(func $start (loop $l (br $l))) (start $start)", "(call $true)") => refused(MalformedComponent, "fuel");
    start_that_recurses: with("(func $start (call $start)) (start $start)", "(call $true)") => refused(MalformedComponent, "stack");
    start_that_traps: with("(func $start (unreachable)) (start $start)", "(call $true)") => refused(MalformedComponent, "unreachable");
    start_that_reads_out_of_bounds: with("(func $start (drop (i32.load (i32.const -4)))) (start $start)", "(call $true)")
        => refused(MalformedComponent, "out of bounds");
    start_that_takes_all_memory: with("(func $start (loop $l (drop (memory.grow (i32.const 1))) (br $l))) (start $start)", "(call $true)")
        => refused(MalformedComponent, "bytes of memory");
    start_that_takes_all_of_a_table: with("(table $t 1 funcref) (func $start (loop $l (drop (table.grow $t (ref.null func) (i32.const 1))) (br $l))) (start $start)", "(call $true)")
        => refused(MalformedComponent, "table elements");
    start_that_calls_the_host: with(
        "(func $start (call $host.input.read (i32.const 0) (i32.const 0) (i32.const 2048))) (start $start)", "(call $true)")
        => refused(MalformedComponent, "");
    segment_outside_memory: with("(data (i32.const 131070) \"abc\")", "(call $true)") => refused(MalformedComponent, "out of bounds");
    segment_outside_a_table: with("(table 1 funcref) (elem (i32.const 1) func $f) (func $f)", "(call $true)")
        => refused(MalformedComponent, "out of bounds");
    memory_larger_than_the_limit: with("(memory (export \"memory\") 17)", "(call $true)") => refused(TooLarge, "1048576");
    memories_larger_than_the_limit_together: with("(memory $a 10) (memory $b 10)", "(call $true)") => refused(TooLarge, "1048576");
    table_larger_than_the_limit: with("(table 5000 funcref)", "(call $true)") => refused(MalformedComponent, "table elements");
    more_instances_than_the_limit: body("(call $true)").limit("instances", 1) => refused(MalformedComponent, "");

    feature_threads: item("(core module (memory 1 1 shared))") => refused(MalformedComponent, "threads");
    feature_atomics: item("(core module (memory 1) (func (drop (i32.atomic.rmw.add (i32.const 0) (i32.const 1)))))")
        => refused(MalformedComponent, "threads");
    feature_64_bit_memory: item("(core module (memory i64 1))") => refused(MalformedComponent, "memory64");
    feature_64_bit_table: item("(core module (table i64 1 funcref))") => refused(MalformedComponent, "memory64");
    feature_page_sizes: item("(core module (memory 1 (pagesize 1)))") => refused(MalformedComponent, "custom page sizes");
    feature_exceptions: item("(core module (tag $t))") => refused(MalformedComponent, "exceptions");
    feature_references_to_the_host: item("(core module (global externref (ref.null extern)))") => refused(MalformedComponent, "");
    feature_typed_references: item("(core module (type $f (func)) (func (param (ref $f)) (call_ref $f (local.get 0))))")
        => refused(MalformedComponent, "");
    feature_garbage_collection: item("(core module (type $s (struct)) (global (ref null $s) (ref.null $s)))")
        => refused(MalformedComponent, "");
    feature_wide_arithmetic: item("(core module (func (drop (drop (i64.add128 (i64.const 1) (i64.const 2) (i64.const 3) (i64.const 4))))))")
        => refused(MalformedComponent, "wide arithmetic");
    feature_stack_switching: item("(core module (type $f (func)) (type $c (cont $f)))") => refused(MalformedComponent, "");
    feature_component_async: item("(core func (canon task.return))") => refused(MalformedComponent, "");
    feature_component_values: item(r#"(import "v" (value string))"#) => refused(MalformedComponent, "");
    feature_component_threads: item("(core type $f (func (param i32))) (core func (canon thread.spawn-ref $f))")
        => refused(MalformedComponent, "");
}

#[test]
fn larger_than_is_read() {
    let house = super::harness::House::new(verdict_engine::Instances::Copied, None);
    let mut bytes = good();
    bytes.resize((32 << 20) + 1, 0);
    assert_eq!(house.engine.inspect(&bytes).unwrap_err().code, TooLarge);
}

/// Every prefix of a good component, and every component with one byte changed, is refused or loads; nothing panics.
#[test]
fn every_cut_and_every_flipped_bit_is_refused_or_harmless() {
    let house = super::harness::House::new(verdict_engine::Instances::Copied, None);
    let good = good();
    for at in 0..good.len() {
        let _ = house.engine.inspect(&good[..at]);
        let mut bytes = good.clone();
        bytes[at] ^= 1 << (at % 8);
        if house.engine.inspect(&bytes).is_ok() && at % 5 == 0 {
            match crate::support::try_load(
                &house.engine,
                &bytes,
                serde_json::json!({"limits": {"fuel": 100_000}}),
            ) {
                Ok(policy) => drop(crate::support::ask(&policy, "{}")),
                Err(refusal) => assert!(
                    [MalformedComponent, TooLarge, WrongContract, UndeclaredImport, CompileFailed]
                        .contains(&refusal.code),
                    "{at}: {refusal:?}"
                ),
            }
        }
    }
    house.check_neighbour("flipped bits");
}
