//! Attacks on the reset in place: names like its own, and components in which it could forget a part.

use verdict_core::outcome::FaultCode::{OutOfFuel, Trap};

use super::composite::{INPUT, composed, composite, composite_text};
use super::harness::{Attack, CHOICE, answers, attack_items, attacks, body, faults, rewritten, with};
use crate::support::{CONTRACT_WIT, component_of, module};

/// A guest of a world that exports functions at its root besides the decision.
fn exports(functions: &[(&str, &str)], items: &str, body: &str) -> Attack {
    let wit: String = functions.iter().map(|(name, ty)| format!("export {name}: {ty};\n")).collect();
    let wit = format!("{CONTRACT_WIT}\nworld forged {{ import input; export decision; {wit} }}");
    Attack::of(component_of(&module(&attack_items(items, body), CHOICE), &wit, "forged"))
}

const ACCESSORS: &[(&str, &str)] = &[
    ("verdict-state-0-snapshot", "func()"),
    ("verdict-state-0-restore", "func()"),
    ("verdict-state-0-globals", "func() -> u32"),
    ("verdict-state-0-global", "func(n: u32) -> u64"),
    ("verdict-state-0-table", "func(table: u32, element: u32) -> u32"),
];

/// Forges the accessors; each runs `body` first.
fn forged(body: &str) -> String {
    format!(
        r#"(global $forged (mut i32) (i32.const 0))
        (func (export "verdict-state-0-snapshot") {body})
        (func (export "verdict-state-0-restore") {body})
        (func (export "verdict-state-0-globals") (result i32) {body} (i32.const -1))
        (func (export "verdict-state-0-global") (param i32) (result i64) {body} (i64.const 7))
        (func (export "verdict-state-0-table") (param i32 i32) (result i32) {body} (i32.const 0))"#
    )
}

const UNTOUCHED: &str =
    "(if (global.get $forged) (then (unreachable))) (global.set $forged (i32.const 1)) (call $true)";

/// A counter in a core module of its own: `next` counts from 1.
const COUNTER: &str = r#"(core module $counter
      (global $n (export "n") (mut i32) (i32.const 0))
      (memory (export "memory") 1)
      (table (export "table") 2 funcref)
      (func (export "next") (result i32)
        (global.set $n (i32.add (global.get $n) (i32.const 1)))
        (i32.store (i32.const 40000) (i32.add (i32.load (i32.const 40000)) (i32.const 1)))
        (i32.add (global.get $n) (i32.sub (i32.load (i32.const 40000)) (global.get $n)))))"#;

const TWICE: &str = "(if (i32.or (i32.ne (call $next) (i32.const 1)) (i32.ne (call $next) (i32.const 2))) (then (unreachable))) (call $true)";

/// The counter in a component of its own, which `depth` others hold and pass on.
fn nested(depth: usize) -> String {
    let inner = format!(
        r#"(component $c0 {COUNTER} (core instance $i (instantiate $counter))
          (func (export "next") (result u32) (canon lift (core func $i "next"))))"#
    );
    (1..=depth).fold(inner, |inner, n| {
        let before = n - 1;
        format!(r#"(component $c{n} {inner} (instance $i (instantiate $c{before})) (export "next" (func $i "next")))"#)
    })
}

const NEXT: &str = r#"(import "c" "next" (func $next (result i32)))"#;
const WITH_NEXT: &str = r#"(with "c" (instance (export "next" (func $lowered))))"#;
const LOWERED: &str = "(core func $lowered (canon lower (func $next)))";

/// The guest in a component beside the counter's.
fn nested_attack(depth: usize, body: &str) -> Attack {
    let import = format!(r#"(import "next" (func $next (result u32))) {LOWERED}"#);
    let guest =
        composite_text(&import, WITH_NEXT, NEXT, "", body).replacen("(component", "(component $guest", 1);
    composed(&format!(
        r#"(component {INPUT} {} {guest}
          (instance $counter (instantiate $c{depth}))
          (instance $guest (instantiate $guest (with "next" (func $counter "next"))
            (with "verdict:policy/input@0.1.0" (instance $input))))
          (export "verdict:policy/decision@0.1.0" (instance $guest "verdict:policy/decision@0.1.0")))"#,
        nested(depth)
    ))
}

/// The guest in the component that holds the counter's.
fn parent(body: &str) -> Attack {
    let parts = format!(
        r#"{} (instance $i (instantiate $c0)) (alias export $i "next" (func $next)) {LOWERED}"#,
        nested(0)
    );
    composite(&parts, WITH_NEXT, NEXT, "", body)
}

/// `count` instances of the counter; the guest sees the last.
fn many_instances(count: usize) -> Attack {
    let instances: String =
        (0..count).map(|n| format!("(core instance $i{n} (instantiate $counter))")).collect();
    let with = format!("(with \"c\" (instance $i{}))", count - 1);
    composite(&format!("{COUNTER} {instances}"), &with, NEXT, "", TWICE).limit("memory_bytes", 1 << 23)
}

attacks! {
    export_named_like_a_core_accessor: with(
        "(global $forged (export \"verdict-state:global-0\") (mut i32) (i32.const 0))
         (func (export \"verdict-state:memory-0\")) (table (export \"verdict-state:table-0\") 1 funcref)", UNTOUCHED)
        .renewed("verdict-state:") => answers("true");
    export_named_like_one_accessor: exports(&ACCESSORS[..1], "(global $forged (mut i32) (i32.const 0)) (func (export \"verdict-state-0-snapshot\"))", UNTOUCHED)
        .renewed("verdict-state-0-snapshot") => answers("true");
    accessors_that_are_forged: exports(ACCESSORS, &forged("(global.set $forged (i32.const 1))"), UNTOUCHED)
        .renewed("verdict-state-0") => answers("true");
    accessors_that_are_forged_and_loop: exports(ACCESSORS, &forged("(loop $l (br $l))"), UNTOUCHED)
        .renewed("verdict-state-0") => answers("true");
    accessors_that_are_forged_and_trap: exports(ACCESSORS, &forged("(unreachable)"), UNTOUCHED)
        .renewed("verdict-state-0") => answers("true");
    accessors_that_are_forged_for_another_number: exports(
        &[("verdict-state-1-snapshot", "func()")], "(global $forged (mut i32) (i32.const 0)) (func (export \"verdict-state-1-snapshot\"))", UNTOUCHED)
        .renewed("verdict-state-1") => answers("true");
    export_that_differs_from_an_accessor_in_case: exports(
        &[("VERDICT-state-0-snapshot", "func()")], "(global $forged (mut i32) (i32.const 0)) (func (export \"VERDICT-state-0-snapshot\"))", UNTOUCHED)
        .renewed("VERDICT-state-0") => answers("true");

    memory_exported_under_many_names: rewritten("", "(if (i32.load (i32.const 9000)) (then (unreachable))) (i32.store (i32.const 9000) (i32.const 1)) (call $true)",
        "(memory (export \"memory\") 2)", "(memory (export \"memory\") (export \"m\") (export \"verdict-memory\") 2)") => answers("true");
    globals_exported_by_their_module: with(
        "(global $forged (export \"g\") (mut i32) (i32.const 0)) (export \"h\" (global $forged)) (export \"next\" (global $next))", UNTOUCHED)
        => answers("true");
    immutable_globals_between_mutable_ones: with(
        "(global $a i32 (i32.const 9)) (global $forged (mut i32) (i32.const 0)) (global $b i64 (i64.const 8)) (global $z (mut i64) (i64.const 4))",
        "(if (i64.ne (global.get $z) (i64.const 4)) (then (unreachable))) (global.set $z (i64.extend_i32_u (global.get $a)))
         (if (global.get $forged) (then (unreachable))) (global.set $forged (i32.const 1)) (call $true)") => answers("true");
    memory_as_large_as_its_maximum: with("(memory (export \"memory\") 3 3)",
        "(if (i32.load (i32.const 196604)) (then (unreachable))) (memory.fill (i32.const 8192) (i32.const 1) (i32.const 188416)) (call $true)")
        => answers("true");
    many_memories: with(
        &(0..20).map(|n| format!("(memory $m{n} 0 0)")).collect::<String>(),
        "(drop (memory.size $m19)) (call $true)") => answers("true");
    functions_called_through_the_table_only: with("(table funcref (elem $f $g)) (global $forged (mut i32) (i32.const 0))
         (func $f (result i32) (global.set $forged (i32.const 1)) (i32.const 1)) (func $g (result i32) (global.get $forged))",
        "(if (call_indirect (result i32) (i32.const 1)) (then (unreachable))) (drop (call_indirect (result i32) (i32.const 0))) (call $true)")
        => answers("true");

    second_module_with_a_global: composite(&format!("{COUNTER} (core instance $i (instantiate $counter))"),
        "(with \"c\" (instance $i))", NEXT, "", TWICE) => answers("true");
    one_module_twice: composite(&format!("{COUNTER} (core instance $i (instantiate $counter)) (core instance $j (instantiate $counter))"),
        "(with \"c\" (instance $i)) (with \"d\" (instance $j))",
        &format!("{NEXT} {}", r#"(import "d" "next" (func $other (result i32)))"#), "",
        "(if (i32.or (i32.ne (call $other) (i32.const 1)) (i32.ne (call $next) (i32.const 1))) (then (unreachable)))
         (drop (call $next)) (if (i32.ne (call $other) (i32.const 2)) (then (unreachable))) (call $true)") => answers("true");
    global_of_another_module: composite(&format!("{COUNTER} (core instance $i (instantiate $counter))"),
        "(with \"c\" (instance $i))", r#"(import "c" "n" (global $n (mut i32)))"#, "",
        "(if (global.get $n) (then (unreachable))) (global.set $n (i32.const 5)) (call $true)") => answers("true");
    memory_of_another_module: composite(&format!("{COUNTER} (core instance $i (instantiate $counter))"),
        "(with \"c\" (instance $i))", r#"(import "c" "memory" (memory $foreign 1))"#, "",
        "(if (i32.load $foreign (i32.const 65532)) (then (unreachable))) (i32.store $foreign (i32.const 65532) (i32.const 5)) (call $true)")
        => answers("true");
    table_of_another_module: composite(&format!("{COUNTER} (core instance $i (instantiate $counter))"),
        "(with \"c\" (instance $i))", r#"(import "c" "table" (table $foreign 2 funcref))"#, "(elem declare func $hash)",
        "(if (i32.eqz (ref.is_null (table.get $foreign (i32.const 1)))) (then (unreachable)))
         (table.set $foreign (i32.const 1) (ref.func $hash)) (call $true)").renewed("table.set") => answers("true");
    allocator_of_another_module: composite("", "", "", "",
        "(call $host.input.json (i32.const 0) (i32.const 0) (i32.const 2048))
         (if (i32.ne (i32.load (i32.const 2052)) (i32.const 65536)) (then (unreachable)))
         (call $host.input.json (i32.const 0) (i32.const 0) (i32.const 2048))
         (if (i32.eq (i32.load (i32.const 2052)) (i32.const 65536)) (then (unreachable))) (call $true)") => answers("true");
    start_function_of_another_module: composite(
        "(core module $s (import \"libc\" \"memory\" (memory 2)) (func $start (i32.store (i32.const 50000) (i32.const 77))) (start $start))
         (core instance $s (instantiate $s (with \"libc\" (instance $libc))))", "", "", "",
        "(if (i32.ne (i32.load (i32.const 50000)) (i32.const 77)) (then (unreachable))) (i32.store (i32.const 50000) (i32.const 1)) (call $true)")
        => answers("true");
    nested_component_with_state: nested_attack(0, TWICE) => answers("true");
    nested_components_ten_deep: nested_attack(10, TWICE) => answers("true");
    nested_component_that_traps: nested_attack(3, "(drop (call $next)) (unreachable)") => faults(Trap, "unreachable");
    nested_component_called_without_end: nested_attack(3, "(loop $l (drop (call $next)) (br $l)) (unreachable)")
        => faults(OutOfFuel, "fuel");
    nested_component_that_its_parent_calls: parent("(drop (call $next)) (call $true)") => faults(Trap, "cannot enter");
    many_core_instances: many_instances(40) => answers("true");

    question_after_a_fault_at_every_turn: body(
        "(if (i32.load (i32.const 9000)) (then (return (call $true)))) (i32.store (i32.const 9000) (i32.const 1)) (unreachable)")
        => faults(Trap, "unreachable");
}
