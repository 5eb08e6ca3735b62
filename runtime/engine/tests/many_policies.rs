//! More policies than there is room for: instances make way for others, within the budgets, and nobody notices.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests may"
)]

mod support;

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;

use serde_json::json;
use support::{ask, guest, load, value};
use verdict_engine::{Compiler, Config, Engine, Instances, Policy};

/// One test at a time: they count what the process has.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn full() -> bool {
    std::env::var_os("VERDICT_FULL").is_some()
}

fn engine(change: impl FnOnce(&mut Config)) -> Engine {
    let mut config = Config::new(Compiler::InProcess);
    config.instances = Instances::Protected;
    // The machine may be slow, and its speed is not what is tested.
    config.ceiling.wall_clock_ms = 60_000;
    change(&mut config);
    Engine::new(config).unwrap()
}

/// A guest of its own kind: it answers with its number, and with an error once anything of it is left from before.
fn numbered(number: usize) -> Vec<u8> {
    let text = number.to_string();
    let items = format!(
        r#"(global $fresh (mut i32) (i32.const 1)) (data (i32.const 64) "{text}") (data (i32.const 90000) "x")"#
    );
    let body = format!(
        "(if (i32.eqz (global.get $fresh)) (then (unreachable)))
         (if (i32.ne (i32.load8_u (i32.const 90000)) (i32.const 120)) (then (unreachable)))
         (global.set $fresh (i32.const 0))
         (i32.store8 (i32.const 90000) (i32.const 121))
         (call $answer (i32.const 64) (i32.const {}))",
        text.len()
    );
    guest(&items, &body)
}

fn policies(engine: &Engine, count: usize) -> Vec<Policy> {
    (0..count).map(|number| load(engine, &numbered(number), json!({}))).collect()
}

/// Numbers without a pattern; the same each time (xorshift).
fn next(random: &mut u64) -> usize {
    *random ^= *random << 13;
    *random ^= *random >> 7;
    *random ^= *random << 17;
    usize::try_from(*random >> 33).unwrap()
}

fn ask_numbered(policies: &[Policy], number: usize) {
    let outcome = ask(&policies[number], "{}");
    assert_eq!(value(&outcome), Some(number.to_string().as_str()), "{:?}", outcome.result);
}

fn ask_at_random(policies: &[Policy], threads: u64, each: usize) {
    thread::scope(|scope| {
        for thread in 1..=threads {
            scope.spawn(move || {
                let mut random = thread * 0x9e37_79b9;
                (0..each).for_each(|_| ask_numbered(policies, next(&mut random) % policies.len()));
            });
        }
    });
}

#[test]
fn policies_share_a_pool_that_is_smaller_than_their_number() {
    let _alone = alone();
    let engine = engine(|config| config.concurrency = 8);
    let policies = policies(&engine, 60);
    assert!(policies.iter().all(|policy| policy.new_instances_because().is_none()));
    ask_at_random(&policies, 4, if full() { 100_000 } else { 10_000 });
}

#[test]
fn a_policy_can_be_loaded_while_idle_instances_fill_the_pool() {
    let _alone = alone();
    let engine = engine(|config| config.concurrency = 4);
    let policies = policies(&engine, 4);
    for round in 4..10 {
        (0..4).for_each(|number| ask_numbered(&policies, number));
        let another = load(&engine, &numbered(round), json!({}));
        assert_eq!(value(&ask(&another, "{}")), Some(round.to_string().as_str()));
    }
}

#[test]
fn a_pool_of_one_serves_many_policies_in_turn() {
    let _alone = alone();
    let engine = engine(|config| config.concurrency = 1);
    let policies = policies(&engine, 5);
    for _ in 0..20 {
        (0..5).for_each(|number| ask_numbered(&policies, number));
    }
}

#[test]
fn idle_instances_stay_within_their_budget() {
    let _alone = alone();
    let budget = 1 << 20;
    let engine = engine(|config| {
        config.concurrency = 64;
        config.idle_bytes_max = budget;
    });
    let policies = policies(&engine, 60);
    let (done, most) = (AtomicBool::new(false), AtomicU64::new(0));
    thread::scope(|scope| {
        let watcher = scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                most.fetch_max(engine.idle_bytes(), Ordering::Relaxed);
                thread::yield_now();
            }
        });
        // Also when an answer is wrong: the watcher must not wait for ever.
        let asked = catch_unwind(AssertUnwindSafe(|| ask_at_random(&policies, 4, 5_000)));
        done.store(true, Ordering::Relaxed);
        watcher.join().unwrap();
        asked.unwrap_or_else(|panic| resume_unwind(panic));
    });
    assert!(engine.idle_bytes() <= budget, "{} bytes", engine.idle_bytes());
    assert!(engine.idle_bytes() > budget / 2, "{} bytes: nothing is kept", engine.idle_bytes());
    // An instance is counted before others go for it: one for each thread may be too many for a moment.
    let most = most.into_inner();
    assert!(most <= budget + 4 * (128 << 10), "{most} bytes");
}

#[test]
fn a_budget_that_has_no_room_for_an_instance_keeps_none() {
    let _alone = alone();
    let engine = engine(|config| config.idle_bytes_max = 1);
    let policies = policies(&engine, 3);
    ask_at_random(&policies, 2, 500);
    assert_eq!(engine.idle_bytes(), 0);
}

#[test]
fn a_policy_that_is_dropped_gives_its_instances_back() {
    let _alone = alone();
    let engine = engine(|config| config.concurrency = 3);
    for round in 0..50 {
        let policies = policies(&engine, 3);
        (0..3).for_each(|number| ask_numbered(&policies, number));
        assert!(engine.idle_bytes() > 0, "round {round}");
        drop(policies);
        assert_eq!(engine.idle_bytes(), 0, "round {round}");
    }
}

/// What the process has in memory, in bytes.
fn resident_bytes() -> u64 {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap();
    let pages: u64 = text.split(' ').nth(1).unwrap().parse().unwrap();
    pages * u64::try_from(rustix::param::page_size()).unwrap()
}

fn mappings() -> usize {
    std::fs::read_to_string("/proc/self/maps").unwrap().lines().count()
}

/// What asking policies again may take that have been asked: the kernel's page tables, threads, the allocator.
const GROWTH_BYTES_MAX: u64 = 32 << 20;

#[test]
fn asking_thousands_of_policies_again_takes_no_more_memory() {
    let _alone = alone();
    let count = if full() { 10_000 } else { 500 };
    let engine = engine(|config| config.idle_bytes_max = 64 << 20);
    let policies = policies(&engine, count);
    let round = || {
        for number in 0..count {
            ask_numbered(&policies, number);
        }
        ask_at_random(&policies, 2, 2 * count);
        (resident_bytes(), mappings())
    };
    let mappings_max: usize =
        std::fs::read_to_string("/proc/sys/vm/max_map_count").unwrap().trim().parse().unwrap();
    let (first, _) = round();
    let (second, mappings) = round();
    println!("{count} policies: {} MiB, then {} MiB, {mappings} mappings", first >> 20, second >> 20);
    assert!(second <= first + GROWTH_BYTES_MAX, "{first} bytes, then {second}");
    assert!(mappings < mappings_max / 2, "{mappings} of {mappings_max} mappings");
    assert!(engine.idle_bytes() <= 64 << 20);
}

#[test]
fn policies_that_come_and_go_leave_nothing() {
    let _alone = alone();
    let engine = engine(|_| {});
    let component = numbered(7);
    let round = || {
        for _ in 0..300 {
            let policy = load(&engine, &component, json!({}));
            assert_eq!(value(&ask(&policy, "{}")), Some("7"));
        }
        (resident_bytes(), mappings())
    };
    let (first, first_mappings) = round();
    let (second, second_mappings) = round();
    assert!(second <= first + GROWTH_BYTES_MAX / 4, "{first} bytes, then {second}");
    assert!(second_mappings <= first_mappings + 100, "{first_mappings} mappings, then {second_mappings}");
}
