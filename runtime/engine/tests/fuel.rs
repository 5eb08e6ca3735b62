//! Fuel is time, and the same everywhere: what every operator and every call of the host costs, to the unit, and that
//! whoever does not answer pays all of it. A new version of wasmtime that moves one of these numbers needs new
//! semantics.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests may"
)]

#[path = "support/operators.rs"]
mod operators;
mod support;

use std::collections::BTreeMap;
use std::fmt::Write;
use std::thread;
use std::time::{Duration, Instant};

use operators::{Operator, operators};
use serde_json::json;
use support::{ask_with, fault, guest, load, try_load, value};
use verdict_core::outcome::FaultCode;
use verdict_engine::{Compiler, Config, Engine, Instances, Outcome, Target};

const INPUT: &str = r#"{"a": true, "n": -1.5, "t": "text", "e": "caf\u00e9", "o": {"key": [1, 2], "k": {}}}"#;
const DATA: &str = r#"{"d": {"x": null}}"#;

fn members() -> serde_json::Value {
    json!({"capabilities": {"data": ["/d"], "decision_time": true, "diagnostics": true}})
}

fn engine_with(change: impl FnOnce(&mut Config)) -> Engine {
    let mut config = Config::new(Compiler::InProcess);
    change(&mut config);
    Engine::new(config).unwrap()
}

fn interpreter() -> Engine {
    engine_with(|config| config.target = Target::Pulley)
}

fn outcome(engine: &Engine, items: &str, body: &str) -> Outcome {
    ask_with(&load(engine, &guest(items, body), members()), INPUT, Some(DATA))
}

/// The fuel of an answer.
fn fuel(engine: &Engine, items: &str, body: &str) -> u64 {
    let outcome = outcome(engine, items, body);
    assert_eq!(value(&outcome), Some("true"), "{body}");
    outcome.fuel
}

/// What operators cost, by group: the table of FUEL.md, in the words of the text format. What is in no line is one.
const GOLDEN: &str = include_str!("fuel.golden");

/// Every operator of numbers and vectors once, with operands that no operator traps for.
fn once(operator: &Operator) -> String {
    let operands: String = operator.operands.iter().map(|ty| operand(*ty)).collect();
    match operator.result {
        Some(_) => format!("{operands} {} drop", operator.text),
        None => format!("{operands} {}", operator.text),
    }
}

/// A constant, which costs one; for a vector, six.
fn operand(ty: char) -> &'static str {
    match ty {
        'i' => "i32.const 2048 ",
        'I' => "i64.const 3 ",
        'f' => "f32.const 5 ",
        'F' => "f64.const 7 ",
        _ => "v128.const i64x2 9 11 ",
    }
}

/// What else there is, with what stands around it: (name, items, before and after, steps).
const OTHERS: [(&str, &str, &str); 30] = [
    ("local.get", "", "local.get $rule drop"),
    ("global.set", "global.get $next drop", "global.get $next global.set $next"),
    ("local.set", "i32.const 0", "i32.const 0 local.set $rule_length"),
    ("global.get", "", "global.get $next drop"),
    ("memory.size", "", "memory.size drop"),
    ("nop", "", "nop"),
    ("block", "", "block end"),
    ("loop", "", "loop end"),
    ("if", "i32.const 1", "i32.const 1 if end"),
    ("br", "", "block br 0 end"),
    ("br_if", "i32.const 1", "block i32.const 1 br_if 0 end"),
    ("br_table", "i32.const 0", "block i32.const 0 br_table 0 0 end"),
    ("call of nothing", "", "call $f"),
    ("call_indirect of nothing", "i32.const 0", "i32.const 0 call_indirect (type $t)"),
    ("call that tail calls nothing", "call $f", "call $g"),
    ("ref.null", "", "ref.null func drop"),
    ("ref.func", "", "ref.func $f drop"),
    ("ref.is_null", "ref.null func", "ref.null func ref.is_null drop"),
    ("table.get", "i32.const 0", "i32.const 0 table.get $table drop"),
    ("table.set", "i32.const 0 ref.null func", "i32.const 0 ref.null func table.set $table"),
    ("table.size", "", "table.size $table drop"),
    ("table.grow by 3", "ref.null func i32.const 3", "ref.null func i32.const 3 table.grow $table drop"),
    (
        "table.fill of 2",
        "i32.const 0 ref.null func i32.const 2",
        "i32.const 0 ref.null func i32.const 2 table.fill $table",
    ),
    (
        "table.copy of 2",
        "i32.const 0 i32.const 0 i32.const 2",
        "i32.const 0 i32.const 0 i32.const 2 table.copy $table $table",
    ),
    (
        "table.init of 1",
        "i32.const 0 i32.const 0 i32.const 1",
        "i32.const 0 i32.const 0 i32.const 1 table.init $table $elements",
    ),
    ("memory.grow by 2", "i32.const 2", "i32.const 2 memory.grow drop"),
    (
        "memory.fill of 300",
        "i32.const 0 i32.const 0 i32.const 300",
        "i32.const 3000 i32.const 0 i32.const 300 memory.fill",
    ),
    (
        "memory.copy of 300",
        "i32.const 0 i32.const 0 i32.const 300",
        "i32.const 3000 i32.const 0 i32.const 300 memory.copy",
    ),
    (
        "memory.init of 4",
        "i32.const 0 i32.const 0 i32.const 4",
        "i32.const 3000 i32.const 0 i32.const 4 memory.init $bytes",
    ),
    ("data.drop, elem.drop", "", "data.drop $bytes elem.drop $elements"),
];

/// With a function that keeps the component from being reset in place, so that all of them are alike in this.
const ITEMS: &str = r#"(type $t (func)) (func $f) (func $g return_call $f) (table $table 4 20 funcref) (elem (table $table) (i32.const 0) func $f)
    (elem $elements func $f) (data $bytes "bytes")
    (func $unused data.drop $bytes elem.drop $elements)"#;

/// The price of everything, as the differences between guests that do it and guests that do not.
fn prices(engine: &Engine) -> BTreeMap<String, u64> {
    let (empty, base) = ("(call $true)", fuel(engine, ITEMS, "(call $true)"));
    let of = |steps: &str| fuel(engine, ITEMS, &format!("{steps} {empty}")) - base;
    let mut prices = BTreeMap::new();
    let mut of_operands = BTreeMap::new();
    for operator in operators() {
        let operands: String = operator.operands.iter().map(|ty| format!("{} drop ", operand(*ty))).collect();
        let of_operands = *of_operands.entry(operands.clone()).or_insert_with(|| of(&operands));
        prices.insert(operator.text.clone(), of(&once(&operator)) - of_operands);
    }
    for (name, before, steps) in OTHERS {
        let pushed = before.matches(".const").count() + before.matches("ref.null").count();
        let before = format!("{before} {}", "drop ".repeat(pushed));
        prices.insert(name.into(), of(steps) - of(&before));
    }
    prices
}

/// One line a price, its operators in the order of their names.
fn rendered(prices: &BTreeMap<String, u64>) -> String {
    let mut groups: BTreeMap<u64, Vec<&str>> = BTreeMap::new();
    for (name, price) in prices {
        groups.entry(*price).or_default().push(name);
    }
    let mut text = String::new();
    for (price, names) in groups {
        writeln!(text, "{price}: {}", names.join(", ")).unwrap();
    }
    text
}

/// Whole answers: what a guest without state burns, one that cannot be reset in place, and one that does much.
const CORPUS: [(&str, &str, u64); 3] = [
    ("", "(call $true)", 113),
    ("(table 1 2 funcref) (func (drop (table.grow 0 (ref.null func) (i32.const 1))))", "(call $true)", 108),
    (
        r#"(data (i32.const 3000) "/o/key") (func $sum (param $n i32) (param $x f64) (result f64)
             (loop $l (local.set $x (f64.div (f64.add (local.get $x) (f64.const 1)) (f64.const 3)))
               (br_if $l (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
             (local.get $x))"#,
        "(call $host.input.keys (i32.const 3000) (i32.const 2) (i32.const 2048))
         (f64.store (i32.const 2048) (call $sum (i32.const 1000) (f64.const 0.5)))
         (drop (memory.grow (i32.const 1))) (memory.copy (i32.const 3100) (i32.const 0) (i32.const 800))
         (call $host.input.json (i32.const 3000) (i32.const 6) (i32.const 2048)) (call $true)",
        54_301,
    ),
];

#[test]
fn an_answer_burns_what_it_did() {
    for engine in
        [engine_with(|_| {}), engine_with(|config| config.instances = Instances::New), interpreter()]
    {
        let burned = CORPUS.map(|(items, body, _)| fuel(&engine, items, body));
        assert_eq!(burned, CORPUS.map(|(.., fuel)| fuel), "for new semantics only");
    }
}

#[test]
fn every_operator_costs_what_it_did() {
    assert_eq!(
        rendered(&prices(&engine_with(|_| {}))),
        GOLDEN,
        "the schedule moved: that is for new semantics"
    );
}

#[test]
fn every_operator_costs_the_same_in_the_interpreter() {
    assert_eq!(rendered(&prices(&interpreter())), GOLDEN);
}

/// A call of the host, what it reads, and its price besides the operators: three or four constants and a call.
fn host_calls() -> Vec<(String, &'static str, u64)> {
    let call = |function: &str, pointer: &'static str| {
        let length = pointer.len();
        (format!("(call $host.{function} (i32.const 3000) (i32.const {length}) (i32.const 2048))"), pointer)
    };
    let mut calls = Vec::new();
    let mut add = |(call, text): (String, &'static str), price| calls.push((call, text, price));
    // 300 a call, 150 a pointer, 480 a token, 6 a byte of pointer or result, 100 a name.
    add(call("input.read", "/a"), 300 + 150 + 480 + 12);
    add(call("input.read", "/x"), 300 + 150 + 480 + 12);
    add(call("input.read", "/n"), 300 + 150 + 480 + 12 + 24);
    add(call("input.read", "/t"), 300 + 150 + 480 + 12 + 24);
    add(call("input.read", "/e"), 300 + 150 + 480 + 12 + 30);
    add(call("input.read", "/o/key/1"), 300 + 150 + 3 * 480 + 48 + 6);
    add(call("input.read", ""), 300 + 150);
    add(call("input.keys", "/o"), 300 + 150 + 480 + 12 + 2 * 100 + 4 * 6);
    add(call("input.keys", "/a"), 300 + 150 + 480 + 12);
    add(call("input.json", "/o/key"), 300 + 150 + 2 * 480 + 36 + 6 * 6);
    add(call("input.json", "/x"), 300 + 150 + 480 + 12);
    add(call("data.read", "/d/x"), 300 + 150 + 2 * 480 + 24);
    add(call("data.keys", "/d"), 300 + 150 + 480 + 12 + 100 + 6);
    add(call("data.json", "/d/x"), 300 + 150 + 2 * 480 + 24 + 4 * 6);
    add(call("data.json", "/d/y"), 300 + 150 + 2 * 480 + 24);
    add(("(call $host.decision-time.now (i32.const 2048))".into(), ""), 300 + 24 * 6);
    let log = "(call $host.diagnostics.log (i32.const 3000) (i32.const 4) (i32.const 3004) (i32.const 7))";
    add((log.into(), "codemessage"), 300 + 11 * 6);
    calls
}

#[test]
fn every_call_of_the_host_costs_what_the_list_says() {
    let engine = engine_with(|_| {});
    for (call, text, price) in host_calls() {
        let items = format!("{ITEMS} (data (i32.const 3000) \"{text}\")");
        let base = fuel(&engine, &items, "(call $true)");
        let constants = call.matches(".const").count() as u64;
        let paid = fuel(&engine, &items, &format!("{call} (call $true)")) - base;
        // Results that have bytes or elements are put into memory that the guest's allocator gives.
        let allocations = allocations(&call, text);
        let operators = constants + CALL + adapter(constants);
        assert_eq!(paid, operators + price + allocations * allocation(&engine), "{call} {text}");
    }
}

/// The operator `call`.
const CALL: u64 = 6;

/// What burns in the module that `wit-component` puts between a guest and the host: the entry of a function, its
/// parameters, the number of an element, and the indirect call of it.
fn adapter(parameters: u64) -> u64 {
    1 + parameters + 1 + 16
}

fn allocations(call: &str, text: &str) -> u64 {
    match (call, text) {
        (call, _) if call.contains("now") => 1,
        (call, "/n" | "/t" | "/e" | "/o/key/1") if call.contains("read") => 1,
        (call, "/o") if call.contains("keys") => 3,
        (call, "/d") if call.contains("keys") => 2,
        (call, "/o/key" | "/d/x") if call.contains("json") => 1,
        _ => 0,
    }
}

/// What the guests' allocator burns, when the guest itself calls it.
fn allocation(engine: &Engine) -> u64 {
    let realloc = "(i32.const 0) (i32.const 0) (i32.const 1) (i32.const 8)";
    let items = r#"(func $again (param i32 i32 i32 i32) (result i32) (local $at i32)
        (local.set $at (i32.and (i32.add (global.get $next) (i32.sub (local.get 2) (i32.const 1)))
                                (i32.sub (i32.const 0) (local.get 2))))
        (global.set $next (i32.add (local.get $at) (local.get 3)))
        (local.get $at))"#;
    let without = fuel(engine, items, "(call $true)");
    fuel(engine, items, &format!("(drop (call $again {realloc})) (call $true)")) - without - 4 - CALL
}

#[test]
fn a_list_of_pointers_costs_one_call_and_each_its_look_up() {
    let engine = engine_with(|_| {});
    let items = r#"(data (i32.const 3000) "/a")
        (data (i32.const 3100) "\b8\0b\00\00\02\00\00\00\b8\0b\00\00\02\00\00\00\b8\0b\00\00\02\00\00\00")"#;
    let of = |count: u32| {
        let call =
            format!("(call $host.input.read-many (i32.const 3100) (i32.const {count}) (i32.const 2048))");
        fuel(&engine, items, &format!("{call} (call $true)"))
    };
    let [none, one, two, three] = [0, 1, 2, 3].map(of);
    assert_eq!([two - one, three - two], [150 + 480 + 12; 2]);
    assert_eq!(
        none,
        fuel(&engine, items, "(call $true)") + 3 + CALL + adapter(3) + 300 + allocation(&engine)
    );
    assert_eq!(one - none, 150 + 480 + 12);
}

#[test]
fn fuel_does_not_depend_on_target_instances_or_threads() {
    let items = r#"(data (i32.const 3000) "/o/key/1") (memory (export "memory") 2)"#;
    let body = "(local $n i32)
        (loop $l
          (call $host.input.read (i32.const 3000) (i32.const 8) (i32.const 2048))
          (memory.fill (i32.const 70000) (local.get $n) (local.get $n))
          (local.set $n (i32.add (local.get $n) (i32.const 1)))
          (br_if $l (i32.lt_u (local.get $n) (i32.const 50))))
        (drop (memory.grow (i32.const 1))) (call $true)";
    let component = guest(items, body);
    let expected = fuel(&engine_with(|_| {}), items, body);
    let instances = [Instances::New, Instances::Copied, Instances::Protected];
    let engines = instances.map(|kind| engine_with(|config| config.instances = kind));
    for engine in engines.iter().chain([&interpreter()]) {
        let policy = load(engine, &component, members());
        thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    for _ in 0..20 {
                        let outcome = ask_with(&policy, INPUT, Some(DATA));
                        assert_eq!((value(&outcome), outcome.fuel), (Some("true"), expected));
                    }
                });
            }
        });
    }
}

#[test]
fn who_runs_out_of_fuel_or_fails_pays_the_limit() {
    let limits = json!({"limits": {"fuel": 100_000}});
    let burn = "(local.set $n (i32.const 10000)) (loop $l (br_if $l (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))";
    // wasmtime's counter knows nothing of the loop when a signal ends it.
    let cases = [
        ("(loop $m (br $m)) (unreachable)", FaultCode::OutOfFuel),
        ("BURN (unreachable)", FaultCode::Trap),
        ("BURN (i32.load (i32.const -4))", FaultCode::Trap),
        ("BURN (i32.div_u (i32.const 1) (i32.const 0))", FaultCode::Trap),
        (
            "BURN (call $host.input.read (i32.const 0) (i32.const 4) (i32.const 2048)) (call $true)",
            FaultCode::Trap,
        ),
        ("(memory.fill (i32.const 0) (i32.const 0) (i32.const 100000)) (call $true)", FaultCode::OutOfFuel),
        ("(drop (memory.grow (i32.const 100000))) (call $true)", FaultCode::OutOfFuel),
        ("BURN (i32.const 5000)", FaultCode::InvalidOutput),
    ];
    for engine in [engine_with(|_| {}), interpreter()] {
        for (body, code) in cases {
            let body = format!("(local $n i32) {}", body.replace("BURN", burn));
            // 5,000 is no place of an answer that could be: its value is a text beyond memory.
            let items = r#"(data (i32.const 5000) "\00\00\00\00\01\00\00\00\00\10\00\00\02\00\00\00") (data (i32.const 4096) "tr")"#;
            let policy = load(&engine, &guest(items, &body), limits.clone());
            for _ in 0..2 {
                let outcome = ask_with(&policy, INPUT, None);
                assert_eq!((fault(&outcome).0, outcome.fuel), (code, 100_000), "{body}");
            }
        }
    }
}

#[test]
fn the_deadline_holds_in_bulk_operations_and_calls_of_the_host() {
    let large = format!(r#"{{"text": "{}"}}"#, "x".repeat(1_000_000));
    let bodies = [
        "(loop $l (memory.fill (i32.const 65536) (i32.const 1) (i32.const 15000000)) (br $l)) (unreachable)",
        "(loop $l (memory.copy (i32.const 65536) (i32.const 65537) (i32.const 15000000)) (br $l)) (unreachable)",
        "(loop $l (global.set $next (i32.const 1048576))
           (call $host.input.json (i32.const 0) (i32.const 0) (i32.const 2048)) (br $l)) (unreachable)",
        "(local $n i32)
         (loop $w (i32.store offset=1048576 (i32.shl (local.get $n) (i32.const 3)) (i32.const 0))
           (local.set $n (i32.add (local.get $n) (i32.const 1)))
           (br_if $w (i32.lt_u (local.get $n) (i32.const 20000))))
         (loop $l (global.set $next (i32.const 4194304))
           (call $host.input.read-many (i32.const 1048576) (i32.const 10000) (i32.const 2048)) (br $l)) (unreachable)",
    ];
    let engine = engine_with(|config| {
        config.ceiling.fuel = 1_000_000_000_000;
        config.ceiling.host_calls = 10_000_000;
        config.ceiling.input_bytes = 4 << 20;
    });
    for body in bodies {
        let members = json!({"limits": {"wall_clock_ms": 30, "fuel": 1_000_000_000_000_u64}});
        let policy = load(&engine, &guest("(memory (export \"memory\") 240)", body), members);
        let started = Instant::now();
        let outcome = ask_with(&policy, &large, None);
        assert_eq!(fault(&outcome).0, FaultCode::Deadline, "{body}");
        // Not a measurement: without the deadline this would take minutes.
        assert!(started.elapsed() < Duration::from_secs(20), "{body}");
    }
}

#[test]
fn an_operator_that_would_move_many_values_is_refused() {
    type Guest = (String, String);
    const fn of<const N: usize>(guests: [fn(usize) -> Guest; N]) -> [fn(usize) -> Guest; N] {
        guests
    }
    fn values(count: usize) -> String {
        "i32 ".repeat(count)
    }
    fn pushed(count: usize) -> String {
        "i32.const 0 ".repeat(count)
    }
    fn drops(count: usize) -> String {
        "drop ".repeat(count)
    }
    let results = |n: usize| {
        (format!("(func $f (result {}) {})", values(n), pushed(n)), format!("call $f {}", drops(n)))
    };
    let parameters = |n: usize| {
        let items = format!("(type $t (func (param {})))", values(n));
        (items, format!("{} loop (type $t) {} end", pushed(n), drops(n)))
    };
    let block = |n: usize| {
        let items = format!("(type $t (func (result {})))", values(n));
        (items, format!("block (type $t) {} end {}", pushed(n), drops(n)))
    };
    let engine = engine_with(|_| {});
    for guest_of in of([results, parameters, block]) {
        let try_with = |count| {
            let (items, body) = guest_of(count);
            try_load(&engine, &guest(&items, &format!("{body} (call $true)")), json!({}))
        };
        assert!(try_with(16).is_ok());
        let refusal = try_with(17).unwrap_err().to_string();
        assert!(refusal.contains("17 results of one function, or parameters of one block"), "{refusal}");
    }
}
