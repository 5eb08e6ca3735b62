//! What a tenant notices of another one who attacks. `make bench` runs it. Prints a JSON object a figure.
//!
//! One thread asks a well-behaved policy, again and again, while a second thread idles, asks a well-behaved policy of
//! somebody else, or runs each attack of `tests/hostile` in turn. The three take turns in short rounds, because the
//! machine may change its speed. The same policy of the second thread that behaves tells what sharing the machine costs
//! by itself.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    dead_code,
    unused_imports,
    reason = "the attacks are the tests'"
)]

#[path = "../tests/support/mod.rs"]
mod support;

#[path = "../tests/hostile"]
mod hostile {
    pub(crate) mod composite;
    pub(crate) mod cpu;
    pub(crate) mod determinism;
    pub(crate) mod harness;
    pub(crate) mod host;
    pub(crate) mod leftovers;
    pub(crate) mod memory;
    pub(crate) mod output;
    pub(crate) mod reentry;
    pub(crate) mod reset;
    pub(crate) mod signals;
    pub(crate) mod traps;
}

use std::hint::black_box;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use hostile::harness::{Attack, Case, Expected, House, NEIGHBOUR_DATA, NEIGHBOUR_INPUT, ask, ask_attack};
use support::{document, now};
use verdict_engine::{Document, Instances, Policy, Query};

const ROUNDS: usize = 6;
const ROUND: Duration = Duration::from_millis(500);

/// What the second thread does.
#[derive(Clone, Copy)]
enum Beside {
    Nothing,
    Work,
    Attacks,
}

const BESIDE: [Beside; 3] = [Beside::Nothing, Beside::Work, Beside::Attacks];

fn main() {
    let house = House::new(Instances::Protected, None);
    let attacks = attacks();
    let loaded = load(&house, &attacks);
    let next = AtomicUsize::new(0);
    let mut times = [(); 3].map(|()| Vec::new());
    for _ in 0..ROUNDS {
        for (beside, times) in BESIDE.into_iter().zip(&mut times) {
            round(&house, beside, &loaded, &next, times);
        }
    }
    house.check_neighbour("the neighbour, after all of it");
    let attacked = next.load(Ordering::Relaxed);
    assert!(attacked >= loaded.len(), "{attacked} of {} attacks were run", loaded.len());
    let [idle, busy, hostile] = times.map(|mut times| percentile(&mut times, 99));
    print("hostile.neighbour.p99.ratio", hostile / idle, "");
    print("hostile.neighbour.busy.p99.ratio", hostile / busy, "");
    print("hostile.neighbour.p99", hostile, "µs");
    print("hostile.neighbour.quiet.p99", idle, "µs");
    print("hostile.neighbour.busy.p99", busy, "µs");
    print("hostile.attacks", loaded.len() as f64, "");
}

/// Those that run in one engine, and run at all.
fn attacks() -> Vec<Case> {
    use hostile::{cpu, determinism, host, leftovers, memory, output, reentry, reset, signals, traps};
    let all = [
        cpu::all(),
        determinism::all(),
        host::all(),
        leftovers::all(),
        memory::all(),
        output::all(),
        reentry::all(),
        reset::all(),
        signals::all(),
        traps::all(),
    ];
    let only = std::env::var("HOSTILE_ONLY").unwrap_or_default();
    let runs = |(name, attack, expected): &Case| {
        name.contains(&only) && attack.shares_an_engine() && !matches!(expected, Expected::Refused(..))
    };
    all.into_iter().flatten().filter(runs).collect()
}

/// Compiles on all processors.
fn load<'a>(house: &House, attacks: &'a [Case]) -> Vec<(&'a Attack, Policy)> {
    let half = attacks.len() / 2;
    let load = |cases: &'a [Case]| -> Vec<_> {
        cases.iter().map(|(_, attack, _)| (attack, attack.load(&house.engine))).collect()
    };
    thread::scope(|scope| {
        let first = scope.spawn(|| load(&attacks[..half]));
        let mut loaded = load(&attacks[half..]);
        loaded.extend(first.join().unwrap());
        loaded
    })
}

/// Times the neighbour while the second thread does what it does.
fn round(
    house: &House,
    beside: Beside,
    attacks: &[(&Attack, Policy)],
    next: &AtomicUsize,
    times: &mut Vec<Duration>,
) {
    let over = AtomicBool::new(false);
    let (input, data) = (document(NEIGHBOUR_INPUT), document(NEIGHBOUR_DATA));
    thread::scope(|scope| {
        let other = scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                match beside {
                    Beside::Nothing => thread::sleep(Duration::from_millis(1)),
                    Beside::Work => work(attacks),
                    Beside::Attacks => {
                        let (attack, policy) = &attacks[next.fetch_add(1, Ordering::Relaxed) % attacks.len()];
                        let _ = black_box(ask_attack(policy, attack));
                    }
                }
            }
        });
        let end = Instant::now() + ROUND;
        while Instant::now() < end {
            times.push(evaluation(&house.neighbour, &input, &data));
        }
        over.store(true, Ordering::Relaxed);
        other.join().unwrap();
    });
}

/// A policy of another tenant that behaves.
fn work(policies: &[(&Attack, Policy)]) {
    for (_, policy) in policies.iter().take(8) {
        let _ = black_box(ask(policy, "calm", "{}", None));
    }
}

fn evaluation(policy: &Policy, input: &Document, data: &Document) -> Duration {
    let query = Query { rule: "rule", input, data: Some(data), decision_time: now() };
    let started = Instant::now();
    let outcome = policy.evaluate(&query);
    let time = started.elapsed();
    assert!(outcome.result.is_ok(), "{:?}", outcome.result);
    time
}

fn percentile(times: &mut [Duration], percent: usize) -> f64 {
    times.sort_unstable();
    times[(times.len() * percent / 100).min(times.len() - 1)].as_secs_f64() * 1e6
}

fn print(name: &str, value: f64, unit: &str) {
    println!(r#"{{"name": "{name}", "value": {value:.4}, "unit": "{unit}"}}"#);
}
