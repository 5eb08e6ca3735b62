//! How long a unit of fuel can take: guests that are made to get the most time out of it. `FUEL.md` says what is
//! promised; what this finds must be at or below that.
//!
//! Prints a JSON object a figure, and on standard error a line a guest, the slowest first. The machine may change its
//! speed and be busy with other things: every guest is short, all are measured in turns, and the lowest time counts
//! of those beside which a loop of plain arithmetic was as fast as it ever was. `FUEL_ROUNDS` is how often,
//! `FUEL_ONLY` which: those with this in their name.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "its guests are the tests' guests"
)]

mod code;
mod hosts;
mod memory;
mod numbers;
#[path = "../../tests/support/operators.rs"]
mod operators;
#[path = "../../tests/support/mod.rs"]
mod support;

use std::collections::BTreeMap;
use std::hint::black_box;
use std::time::{Duration, Instant};

use serde_json::json;
use support::guest;
use verdict_core::limits::Limits;
use verdict_engine::{Compiler, Config, Document, DocumentLimits, Engine, Instances, Outcome, Policy, Query};

/// How much slower than at its best the machine may be for a measurement to count.
const FAST: f64 = 1.08;
/// What a unit of fuel may take.
const PROMISED_NS: f64 = 1.5;

/// A guest, and the question it is asked.
#[derive(Debug, Clone)]
pub(crate) struct Case {
    pub(crate) name: String,
    /// Items of its module, and the body of its `decide`; see `support::module`.
    pub(crate) items: String,
    pub(crate) body: String,
    /// The body without what is measured: its time and fuel are taken off.
    pub(crate) baseline: Option<String>,
    /// The question's input.
    pub(crate) input: String,
    /// How often it does what it is about.
    pub(crate) operators: f64,
    pub(crate) memory_bytes: u64,
    /// The figure that it counts for, and how often, if it is about what is outside of fuel.
    pub(crate) outside: Option<(&'static str, f64)>,
}

impl Default for Case {
    fn default() -> Self {
        Self {
            name: String::new(),
            items: String::new(),
            body: "(call $true)".into(),
            baseline: None,
            input: "{}".into(),
            operators: 1.0,
            memory_bytes: 16 << 20,
            outside: None,
        }
    }
}

/// A guest that is ready, and the best of its times.
struct Guest {
    policy: Policy,
    fuel: u64,
    ns: f64,
}

struct Measured {
    case: Case,
    input: Document,
    guest: Guest,
    baseline: Guest,
}

fn main() {
    let rounds: usize = std::env::var("FUEL_ROUNDS").map_or(30, |text| text.parse().unwrap());
    let only = std::env::var("FUEL_ONLY").unwrap_or_default();
    let engine = engine();
    let cases = [numbers::cases(), code::cases(), memory::cases(), hosts::cases()].concat();
    let cases = cases.into_iter().filter(|case| case.name.contains(&only));
    let mut measured: Vec<Measured> = cases.filter_map(|case| load(&engine, case)).collect();
    let calibration = measure(&mut measured, rounds);
    measured.sort_by(|a, b| b.ratio().total_cmp(&a.ratio()));
    measured.iter().for_each(Measured::print);
    let worst =
        measured.iter().filter(|case| case.case.outside.is_none()).map(Measured::ratio).fold(0.0, f64::max);
    print("calibration.ns", calibration.as_secs_f64() * 1e9);
    print("fuel.worst.ns", worst);
    let mut outside = BTreeMap::new();
    for case in &measured {
        let Some((figure, count)) = case.case.outside else { continue };
        let most: &mut f64 = outside.entry(figure).or_default();
        *most = most.max((case.ns() - PROMISED_NS * case.fuel()) / count);
    }
    outside.into_iter().for_each(|(figure, ns)| print(figure, ns));
    // Leaving takes longer than measuring: thousands of pieces of machine code would be taken down.
    std::process::exit(0);
}

/// Limits at which no guest here is stopped, and new instances, in which every page is touched first.
fn engine() -> Engine {
    let config = Config::new(Compiler::InProcess);
    let ceiling = Limits {
        fuel: 1_000_000_000_000,
        wall_clock_ms: 60_000,
        memory_bytes: 128 << 20,
        host_calls: 10_000_000,
        input_bytes: 64 << 20,
        output_bytes: 16 << 20,
        table_elements: 1_000_000,
        log_bytes: 1 << 20,
        ..Limits::default()
    };
    Engine::new(Config { ceiling, concurrency: 4, instances: Instances::New, ..config }).unwrap()
}

fn load(engine: &Engine, case: Case) -> Option<Measured> {
    let limits = DocumentLimits { bytes_max: 64 << 20, ..DocumentLimits::default() };
    let input = Document::parse(case.input.as_str(), &limits).unwrap();
    let ready = |body: &str| {
        let members = json!({"capabilities": {"data": [""], "decision_time": true, "diagnostics": true},
            "limits": {"memory_bytes": case.memory_bytes}});
        let policy = support::load(engine, &guest(&case.items, body), members);
        let outcome = evaluate(&policy, &input);
        match outcome.result {
            Ok(_) => Some(Guest { policy, fuel: outcome.fuel, ns: f64::MAX }),
            // Some operators trap with some operands.
            Err(fault) => {
                eprintln!("{}: {}", case.name, fault.message);
                None
            }
        }
    };
    let guest = ready(&case.body)?;
    let baseline = ready(case.baseline.as_deref().unwrap_or("(call $true)"))?;
    Some(Measured { case, input, guest, baseline })
}

fn evaluate(policy: &Policy, input: &Document) -> Outcome {
    let decision_time = "2026-06-01T00:00:00Z".parse().unwrap();
    policy.evaluate(&Query { rule: "rule", input, data: Some(input), decision_time })
}

/// Measures all in turns, and says how long the loop of plain arithmetic took at best.
fn measure(measured: &mut [Measured], rounds: usize) -> Duration {
    let mut best = (0..1_000).map(|_| calibration()).min().unwrap();
    for _ in 0..rounds {
        for case in &mut *measured {
            let mut before = calibration();
            for guest in [&mut case.guest, &mut case.baseline] {
                let ns = guest.run(&case.input);
                let after = calibration();
                best = best.min(after);
                let fast = before.max(after).as_secs_f64() < best.as_secs_f64() * FAST;
                if fast || guest.ns == f64::MAX {
                    guest.ns = guest.ns.min(ns);
                }
                before = after;
            }
        }
    }
    best
}

/// 5,000 turns of arithmetic, each waiting for the one before.
fn calibration() -> Duration {
    let started = Instant::now();
    let mut state = black_box(1_u64);
    for _ in 0..5_000 {
        state = (state ^ (state >> 29)).wrapping_mul(6_364_136_223_846_793_005);
    }
    black_box(state);
    started.elapsed()
}

impl Guest {
    fn run(&self, input: &Document) -> f64 {
        let started = Instant::now();
        let outcome = evaluate(&self.policy, input);
        let ns = started.elapsed().as_secs_f64() * 1e9;
        assert_eq!(outcome.fuel, self.fuel, "the same question has the same fuel");
        ns
    }
}

impl Measured {
    fn fuel(&self) -> f64 {
        self.guest.fuel as f64 - self.baseline.fuel as f64
    }

    fn ns(&self) -> f64 {
        self.guest.ns - self.baseline.ns
    }

    fn ratio(&self) -> f64 {
        self.ns() / self.fuel().max(1.0)
    }

    fn print(&self) {
        let (fuel, ns, n) = (self.fuel(), self.ns(), self.case.operators);
        eprintln!(
            "{:60} fuel {fuel:9} ns {ns:10.0} ns/fuel {:7.3}  each: fuel {:8.2} ns {:8.2} missing {:7.1}{}",
            self.case.name,
            self.ratio(),
            fuel / n,
            ns / n,
            (ns / PROMISED_NS - fuel) / n,
            self.case.outside.map_or("", |_| "  outside")
        );
    }
}

fn print(name: &str, value: f64) {
    println!(r#"{{"name": "{name}", "value": {value:.4}, "unit": "ns"}}"#);
}
