//! Guests of control flow: calls, branches, many values at once, and more code than a cache holds.

use std::fmt::Write;

use crate::Case;

pub(crate) fn cases() -> Vec<Case> {
    [calls(), branches(), wide(), large()].concat()
}

/// A pseudo-random number in $x.
pub(crate) const RANDOM: &str =
    "(local.set $x (i32.add (i32.mul (local.get $x) (i32.const 1664525)) (i32.const 1013904223)))";

/// A guest of a loop of so many turns over so many copies of a step. It has locals $x, $y, $z (i64) and $r (funcref).
pub(crate) fn repeated(
    name: &str,
    items: &str,
    before: &str,
    step: &str,
    (copies, turns): (usize, usize),
) -> Case {
    let steps = format!("{step}\n").repeat(copies);
    Case {
        name: name.into(),
        items: items.into(),
        body: format!(
            "(local $n i32) (local $x i32) (local $y i32) (local $z i64) (local $r funcref)
             {before} (local.set $n (i32.const {turns}))
             loop $l {steps} (br_if $l (local.tee $n (i32.sub (local.get $n) (i32.const 1)))) end (call $true)"
        ),
        operators: (copies * turns) as f64,
        ..Case::default()
    }
}

/// 64 functions with results, and some that call.
fn functions() -> String {
    let targets: String = (0..64).map(|n| format!("(func $f{n} (result i32) (i32.const {n}))")).collect();
    let names: String = (0..64).map(|n| format!(" $f{n}")).collect();
    format!(
        "(type $r (func (result i32))) (type $e (func)) (type $s (func (param i32) (result i32)))
         (func $empty) (func $tail (return_call $empty)) (func $one (param i32) (result i32) (local.get 0)) {targets}
         (func $tails (param i32) (result i32) (if (result i32) (local.get 0)
           (then (return_call $tails (i32.sub (local.get 0) (i32.const 1)))) (else (i32.const 0))))
         (func $tails_indirect (param i32) (result i32) (if (result i32) (local.get 0)
           (then (return_call_indirect (type $s) (i32.sub (local.get 0) (i32.const 1)) (i32.const 64)))
           (else (i32.const 0))))
         (func $deep (param i32) (if (local.get 0) (then (call $deep (i32.sub (local.get 0) (i32.const 1))))))
         (global $g (mut i32) (i32.const 0)) (global $h (mut i64) (i64.const 0))
         (table $t 66 funcref) (elem (table $t) (i32.const 0) func {names} $tails_indirect $empty)"
    )
}

fn calls() -> Vec<Case> {
    let items = functions();
    let case = |name: &str, step: &str| repeated(name, &items, "", step, (16, 1_000));
    vec![
        case("call", "(call $empty)"),
        case("call of one", "(local.set $y (call $one (local.get $y)))"),
        case("call that tail calls", "(call $tail)"),
        case("call_indirect", "(call_indirect $t (type $e) (i32.const 65))"),
        case(
            "call_indirect random",
            &format!(
                "{RANDOM} (local.set $y (i32.add (local.get $y) (call_indirect $t (type $r) (i32.shr_u (local.get $x) (i32.const 26)))))"
            ),
        ),
        case("return_call", "(local.set $y (call $tails (i32.const 20)))"),
        case("return_call_indirect", "(local.set $y (call $tails_indirect (i32.const 20)))"),
        repeated("recursion", &items, "", "(call $deep (i32.const 30))", (16, 100)),
        repeated("deep recursion", &items, "", "(call $deep (i32.const 4000))", (1, 10)),
        case("global.get", "(local.set $x (i32.xor (local.get $x) (global.get $g)))"),
        case("global.set", "(global.set $g (i32.add (global.get $g) (i32.const 1)))"),
        case(
            "global.set of many",
            "(global.set $h (i64.add (global.get $h) (i64.extend_i32_u (global.get $g)))) (global.set $g (i32.wrap_i64 (global.get $h)))",
        ),
    ]
}

fn branches() -> Vec<Case> {
    let case = |name: &str, step: &str| repeated(name, "", "", step, (32, 1_000));
    let count = "(local.set $y (i32.add (local.get $y) (i32.const 1)))";
    let table: String = {
        let open: String = (0..64).map(|n| format!("block $b{n} ")).collect();
        let labels: String = (0..64).map(|n| format!("$b{n} ")).collect();
        let close: String = (0..64)
            .map(|n| format!("end (local.set $y (i32.xor (local.get $y) (i32.const {n}))) br $out "))
            .collect();
        format!(
            "block $out {RANDOM} {open} (br_table {labels} (i32.shr_u (local.get $x) (i32.const 26))) {close} end"
        )
    };
    let mixed = "(local.tee $x (i32.mul (i32.xor (local.get $x) (local.get $n)) (i32.const 1664525)))";
    vec![
        repeated("loop", "", "", "", (1, 100_000)),
        case("loops of one turn", "(loop)"),
        case("blocks", &format!("{}{}", "(block ".repeat(20), ")".repeat(20))),
        case("nop", "nop nop nop nop"),
        case("br", "(block (br 0) (unreachable))"),
        case(
            "br_if random",
            &format!("{RANDOM} (block (br_if 0 (i32.lt_s (local.get $x) (i32.const 0))) {count})"),
        ),
        case("br_if random short", &format!("(block (br_if 0 (i32.lt_s {mixed} (i32.const 0))) {count})")),
        case("if random", &format!("{RANDOM} (if (i32.lt_s (local.get $x) (i32.const 0)) (then {count}))")),
        case(
            "if random store",
            &format!(
                "(if (i32.lt_s {mixed} (i32.const 0)) (then (i32.store (i32.const 2048) (local.get $x))))"
            ),
        ),
        repeated("br_table random", "", "", &table, (1, 10_000)),
        case(
            "select random",
            &format!(
                "{RANDOM} (local.set $y (select (local.get $x) (local.get $y) (i32.lt_s (local.get $x) (i32.const 0))))"
            ),
        ),
    ]
}

/// Operators that move many values at once; the scan bounds how many.
fn wide() -> Vec<Case> {
    let mut cases = Vec::new();
    for count in [2, 8, 16] {
        let types = "i32 ".repeat(count);
        let drops = "drop ".repeat(count);
        let values: String =
            (0..count).map(|n| format!("(i32.add (local.get $n) (i32.const {n})) ")).collect();
        let mut items = format!(
            "(type $loop (func (param {types}))) (type $block (func (param {types}) (result {types})))
             (func $f0 (param $n i32) (result {types}) {values})"
        );
        for n in 1..200 {
            let _ =
                write!(items, "(func $f{n} (param i32) (result {types}) (local.get 0) (call $f{}))", n - 1);
        }
        let step = format!("(call $f199 (local.get $x)) {drops}");
        cases.push(repeated(&format!("{count} results passed on"), &items, "", &step, (1, 100)));
        let shift = format!(
            "(local.set $x (i32.const 10000)) {values} loop (type $loop) (i32.const 7)
             (local.tee $x (i32.sub (local.get $x) (i32.const 1))) br_if 0 {drops} drop end"
        );
        cases.push(repeated(&format!("{count} parameters of a loop shifted"), &items, "", &shift, (1, 3)));
        let through = "(block (type $block) (br_if 0 (local.get $n)))".repeat(64);
        let through = format!("{values} {through} {drops}");
        cases.push(repeated(&format!("{count} parameters through blocks"), &items, "", &through, (1, 300)));
    }
    for count in [100, 1_000] {
        cases.push(reversed(count));
    }
    cases
}

/// Locals that would be reversed in a branch that is never taken.
fn reversed(count: usize) -> Case {
    let declared: String = (0..count).map(|n| format!("(local $l{n} i32)")).collect();
    let pushed: String = (0..count).map(|n| format!("(local.get $l{n})")).collect();
    let popped: String = (0..count).map(|n| format!("(local.set $l{n})")).collect();
    let step = format!("(if (i32.eqz (local.get $n)) (then {pushed} {popped}))").repeat(4);
    let case = repeated(&format!("{count} locals not reversed"), "", "", &step, (1, 5_000));
    Case { body: format!("{declared} {}", case.body), ..case }
}

/// More code than a cache holds: each operator is read from far. $z and $x are the parameters.
const LARGE: [(&str, &str); 18] = [
    ("integers", "(local.set $z (i64.add (i64.mul (local.get $z) (i64.const CONST)) (i64.const CONST)))"),
    (
        "vectors",
        "(local.set $z (i64x2.extract_lane 0 (i64x2.add (v128.xor (i64x2.splat (local.get $z)) (v128.const i64x2 CONST CONST)) (v128.const i64x2 CONST CONST))))",
    ),
    (
        "branches",
        "(block (br_if 0 (i32.lt_u (local.get $x) (i32.const HIGH))) (local.set $z (i64.add (local.get $z) (i64.const CONST))))",
    ),
    ("loops", "(loop)"),
    ("calls", "(call $empty)"),
    (
        "calls of many values",
        "(call $six (local.get $z) (local.get $z) (local.get $z) (local.get $z) (local.get $z) (local.get $z))",
    ),
    ("indirect calls", "(call_indirect (type $e) (i32.const 0))"),
    ("tables of branches", "(block (block (br_table 0 1 0 1 (local.get $x))))"),
    ("divisions", "(local.set $z (i64.rem_s (local.get $z) (i64.or (local.get $z) (i64.const CONST))))"),
    (
        "truncations",
        "(local.set $z (i64.trunc_sat_f64_u (f64.reinterpret_i64 (i64.xor (local.get $z) (i64.const CONST)))))",
    ),
    ("conversions", "(local.set $z (i64.trunc_sat_f32_u (f32.convert_i64_u (local.get $z))))"),
    (
        "maxima",
        "(local.set $z (i64.reinterpret_f64 (f64.max (f64.reinterpret_i64 (local.get $z)) (f64.const HIGH))))",
    ),
    (
        "shifts",
        "(local.set $z (i64x2.extract_lane 0 (i8x16.shr_s (i8x16.shl (i64x2.splat (local.get $z)) (local.get $x)) (local.get $x))))",
    ),
    ("loads", "(local.set $z (i64.xor (local.get $z) (i64.load offset=2LOW (i32.const 0))))"),
    ("stores", "(i64.store offset=2LOW (i32.const 0) (local.get $z))"),
    ("globals", "(global.set $g (i64.add (global.get $g) (i64.const CONST)))"),
    ("copies", "(memory.copy (i32.const 2048) (local.get $y) (local.get $y))"),
    ("growth", "(drop (memory.grow (i32.const 0)))"),
];

fn large() -> Vec<Case> {
    const FUNCTIONS: usize = 100;
    const STEPS: usize = 1_000;
    let case = |(name, step): (&str, &str)| {
        let mut items = String::from(
            "(type $e (func)) (func $empty) (func $six (param i64 i64 i64 i64 i64 i64)) (table 1 1 funcref)
             (elem (i32.const 0) func $empty) (global $g (mut i64) (i64.const 0))",
        );
        let (mut calls, mut seed) = (String::new(), 1_u64);
        for function in 0..FUNCTIONS {
            let mut code = String::new();
            for _ in 0..STEPS {
                seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                let step = step.replace("CONST", &seed.to_string());
                let step = step.replace("HIGH", &(seed >> 32).to_string());
                code.push_str(&step.replace("LOW", &((seed >> 57) + 100).to_string()));
            }
            let _ = write!(
                items,
                "(func $f{function} (param $z i64) (param $x i32) (result i64) (local $y i32) {code} (local.get $z))"
            );
            let _ =
                write!(calls, "{RANDOM} (local.set $z (call $f{function} (local.get $z) (local.get $x)))");
        }
        let case = repeated(&format!("large code of {name}"), &items, "", &calls, (1, 1));
        Case { operators: (FUNCTIONS * STEPS) as f64, ..case }
    };
    LARGE.map(case).into()
}
