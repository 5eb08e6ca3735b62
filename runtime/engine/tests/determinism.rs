//! The same question has the same answer, reasons and fuel: again, in parallel, compiled anew, from the cache, in
//! another engine, and in the interpreter. And nothing survives a decision.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests may"
)]

mod support;

use std::thread;

use serde_json::json;
use support::{ask, ask_with, echo, fault, guest, load, value};
use verdict_core::outcome::{Answer, Fault, FaultCode};
use verdict_engine::{
    CompileCache, Compiler, Config, Engine, Operation, Outcome, Policy, ReadSet, Source, Target,
};

/// A guest with loops, floats, memory growth, host calls and an answer made of what it read.
fn busy() -> Vec<u8> {
    let items = r#"(data (i32.const 64) "/items/3/name") (data (i32.const 80) "/none") (data (i32.const 96) "/roles")
        (func $work (local $n i32) (local $x f64)
          (local.set $x (f64.const 0.1))
          (loop $l
            (local.set $x (f64.div (f64.add (local.get $x) (f64.const 1.7)) (f64.sub (local.get $x) (f64.const 0.3))))
            (f64.store (i32.const 2064) (local.get $x))
            (local.set $n (i32.add (local.get $n) (i32.const 1)))
            (br_if $l (i32.lt_u (local.get $n) (i32.const 500))))
          (drop (memory.grow (i32.const 1)))
          (f64.store (i32.const 2072) (f64.div (f64.const 0) (f64.const 0))))"#;
    let body = "(call $work)
        (call $host.input.read (i32.const 80) (i32.const 5) (i32.const 2048))
        (call $host.data.keys (i32.const 96) (i32.const 6) (i32.const 2048))
        (call $host.decision-time.now (i32.const 2048))
        (call $host.input.json (i32.const 64) (i32.const 13) (i32.const 2048))
        (call $answer (i32.load (i32.const 2052)) (i32.load (i32.const 2056)))";
    guest(items, body)
}

const INPUT: &str = r#"{"items": [0, 1, 2, {"name": "caf\u00e9"}]}"#;
const DATA: &str = r#"{"roles": {"a": 1, "b": 2}}"#;

fn capabilities() -> serde_json::Value {
    json!({"capabilities": {"data": ["/roles"], "decision_time": true}})
}

type Comparable = (Result<Answer, Fault>, u64, u64, ReadSet);

fn comparable(outcome: Outcome) -> Comparable {
    (outcome.result, outcome.fuel, outcome.memory_bytes_peak, outcome.reads)
}

fn decide(policy: &Policy) -> Comparable {
    comparable(ask_with(policy, INPUT, Some(DATA)))
}

fn engine_with(change: impl FnOnce(&mut Config)) -> Engine {
    let mut config = Config::new(Compiler::InProcess);
    change(&mut config);
    Engine::new(config).unwrap()
}

#[test]
fn the_same_question_has_the_same_answer_and_fuel_everywhere() {
    let component = busy();
    let dir = tempfile::tempdir().unwrap();
    let cache = CompileCache { dir: dir.path().into(), key: [3; 32] };
    let native = engine_with(|config| config.cache = Some(cache.clone()));
    let policy = load(&native, &component, capabilities());
    let first = decide(&policy);
    assert_eq!(first.0.as_ref().unwrap().value.as_deref(), Some(r#""caf\u00e9""#));
    assert!(first.1 > 1_000, "{} fuel", first.1);
    assert_eq!(first.2, 3 << 16, "two pages, and the one that it grew by");
    for _ in 0..1_000 {
        assert_eq!(decide(&policy), first);
    }
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| (0..250).for_each(|_| assert_eq!(decide(&policy), first)));
        }
    });
    let others = [
        ("compiled anew", engine_with(|_| {})),
        ("from the cache", engine_with(|config| config.cache = Some(cache.clone()))),
        ("with other slots", engine_with(|config| config.concurrency = 1)),
        ("interpreted", engine_with(|config| config.target = Target::Pulley)),
    ];
    for (how, engine) in &others {
        assert_eq!(decide(&load(engine, &component, capabilities())), first, "{how}");
    }
    assert_eq!(others[1].1.cache_counts().hits, 1);
}

#[test]
fn faults_that_must_replay_are_the_same_in_the_interpreter() {
    let native = engine_with(|_| {});
    let interpreter = engine_with(|config| config.target = Target::Pulley);
    // Within its clock for the interpreter too.
    let limits = json!({"limits": {"fuel": 1_000_000}});
    let guests = [
        "(loop $l (br $l)) (unreachable)",
        "(i32.load (i32.const -4))",
        "(drop (memory.grow (i32.const 1000))) (call $true)",
        "(i32.div_u (i32.const 1) (i32.const 0))",
        "(call $host.input.read (i32.const 0) (i32.const 4) (i32.const 2048)) (call $true)",
    ];
    for body in guests {
        let component = guest("", body);
        let outcomes =
            [&native, &interpreter].map(|engine| ask(&load(engine, &component, limits.clone()), "{}"));
        let faults = outcomes.each_ref().map(fault);
        assert_eq!(faults[0], faults[1], "{body}");
        assert!(faults[0].0.is_replayable(), "{body}");
    }
}

#[test]
fn nothing_survives_a_decision() {
    // Counts in a global, in its memory, in memory that it grew, and in a table; answers with the sum as a digit.
    let items =
        "(global $count (mut i32) (i32.const 48)) (table $t 1 funcref) (elem declare func $f) (func $f)";
    let body = "(global.set $count (i32.add (global.get $count) (i32.const 1)))
        (i32.store (i32.const 64) (i32.add (i32.load (i32.const 64)) (i32.const 1)))
        (if (i32.ge_s (memory.grow (i32.const 1)) (i32.const 2)) (then
          (i32.store (i32.const 131072) (i32.add (i32.load (i32.const 131072)) (i32.const 1)))))
        (if (i32.eqz (ref.is_null (table.get $t (i32.const 0)))) (then
          (global.set $count (i32.add (global.get $count) (i32.const 1)))))
        (table.set $t (i32.const 0) (ref.func $f))
        (i32.store8 (i32.const 2048) (i32.add (global.get $count)
          (i32.add (i32.load (i32.const 64)) (i32.load (i32.const 131072)))))
        (call $answer (i32.const 2048) (i32.const 1))";
    let policy = load(&engine_with(|_| {}), &guest(items, body), json!({}));
    let first = comparable(ask(&policy, "{}"));
    assert_eq!(first.0.as_ref().unwrap().value.as_deref(), Some("3"));
    for _ in 0..200 {
        assert_eq!(comparable(ask(&policy, "{}")), first);
    }
}

#[test]
fn nothing_of_one_policy_is_left_for_another() {
    let secret = "(memory.fill (i32.const 2048) (i32.const 83) (i32.const 100000)) (call $true)";
    // Answers with the largest byte that it finds in memory it never wrote.
    let spy = "(local $at i32) (local $most i32)
        (drop (memory.grow (i32.const 4)))
        (local.set $at (i32.const 4200))
        (loop $l
          (if (i32.gt_u (i32.load8_u (local.get $at)) (local.get $most))
            (then (local.set $most (i32.load8_u (local.get $at)))))
          (local.set $at (i32.add (local.get $at) (i32.const 1)))
          (br_if $l (i32.lt_u (local.get $at) (i32.const 390000))))
        (i32.store8 (i32.const 2048) (i32.add (i32.const 48) (local.get $most)))
        (call $answer (i32.const 2048) (i32.const 1))";
    // One slot: what the first used is what the second gets.
    let engine = engine_with(|config| config.concurrency = 1);
    let [secret, spy] = [secret, spy].map(|body| load(&engine, &guest("", body), json!({})));
    for _ in 0..20 {
        assert_eq!(value(&ask(&secret, "{}")), Some("true"));
        assert_eq!(value(&ask(&spy, "{}")), Some("0"));
    }
}

#[test]
fn a_nan_has_one_form() {
    // The bits of a NaN that came from a computation, as decimal digits would be too much text: as two of its bytes.
    let body = "(f64.store (i32.const 64) (f64.sub (f64.const inf) (f64.const inf)))
        (i32.store8 (i32.const 2048) (i32.add (i32.const 49) (i32.and (i32.load8_u (i32.const 71)) (i32.const 128))))
        (call $answer (i32.const 2048) (i32.const 1))";
    for target in [Target::Native, Target::Pulley] {
        let engine = engine_with(|config| config.target = target);
        assert_eq!(value(&ask(&load(&engine, &guest("", body), json!({})), "{}")), Some("1"), "{target:?}");
    }
}

#[test]
fn what_was_read_is_kept_in_order_with_what_was_absent() {
    let policy = load(&engine_with(|_| {}), &busy(), capabilities());
    let outcome = ask_with(&policy, INPUT, Some(DATA));
    let steps: Vec<_> =
        outcome.reads.iter().map(|read| (read.document, read.operation, read.pointer, read.absent)).collect();
    let expected = [
        (Source::Input, Operation::Read, "/none", true),
        (Source::Data, Operation::Keys, "/roles", false),
        (Source::Input, Operation::Json, "/items/3/name", false),
    ];
    assert_eq!(steps, expected);
    let without_data = ask(&policy, INPUT);
    assert!(without_data.reads.iter().any(|read| read.document == Source::Data && read.absent));
}

#[test]
fn read_many_is_read_in_the_order_of_its_pointers() {
    let items = r#"(data (i32.const 64) "/b/a/x")"#;
    let body = "(i32.store (i32.const 2100) (i32.const 66)) (i32.store (i32.const 2104) (i32.const 2))
        (i32.store (i32.const 2108) (i32.const 64)) (i32.store (i32.const 2112) (i32.const 2))
        (i32.store (i32.const 2116) (i32.const 68)) (i32.store (i32.const 2120) (i32.const 2))
        (call $host.input.read-many (i32.const 2100) (i32.const 3) (i32.const 2048))
        ;; The text of the first value, which is a number.
        (call $answer
          (i32.load offset=4 (i32.load (i32.const 2048))) (i32.load offset=8 (i32.load (i32.const 2048))))";
    let policy = load(&engine_with(|_| {}), &guest(items, body), json!({}));
    let outcome = ask(&policy, r#"{"a": 1.50, "b": true}"#);
    assert_eq!(value(&outcome), Some("1.50"));
    let steps: Vec<_> = outcome.reads.iter().map(|read| (read.pointer, read.absent)).collect();
    assert_eq!(steps, [("/a", false), ("/b", false), ("/x", true)]);
}

#[test]
fn fuel_depends_on_what_was_read_and_not_on_what_stands_beside_it() {
    let policy = load(&engine_with(|_| {}), &echo("/a"), json!({}));
    let fuel = |input: &str| ask(&policy, input).fuel;
    let others: Vec<String> = (0..5_000).map(|n| format!("\"k{n}\":[{n}]")).collect();
    let large = format!("{{{}, \"a\": \"x\"}}", others.join(","));
    assert_eq!(fuel(r#"{"a": "x"}"#), fuel(&large));
    assert!(fuel(r#"{"a": "xxxxxxxxxxxxxxxx"}"#) > fuel(r#"{"a": "x"}"#));
}

#[test]
fn a_full_house_is_unavailable_and_not_the_policys_fault() {
    let engine = engine_with(|config| {
        config.concurrency = 1;
        config.ceiling.fuel = 1_000_000_000_000;
    });
    let forever = load(
        &engine,
        &guest("", "(loop $l (br $l)) (unreachable)"),
        json!({"limits": {"wall_clock_ms": 400}}),
    );
    let quick = load(&engine, &guest("", "(call $true)"), json!({}));
    thread::scope(|scope| {
        // Whoever comes second is refused; the slow one tries again until it is first.
        let slow = scope.spawn(|| {
            std::iter::repeat_with(|| ask(&forever, "{}"))
                .find(|outcome| fault(outcome).0 != FaultCode::Unavailable)
                .unwrap()
        });
        let refused = std::iter::repeat_with(|| ask(&quick, "{}"))
            .find(|outcome| outcome.result.is_err() || slow.is_finished())
            .unwrap();
        assert_eq!(fault(&refused).0, FaultCode::Unavailable);
        assert_eq!(fault(&slow.join().unwrap()).0, FaultCode::Deadline);
    });
    assert_eq!(value(&ask(&quick, "{}")), Some("true"));
}
