//! The peers that are Rust crates, on the same work as a policy of ours: `regorus POLICY.rego DATA.json INPUT`, or
//! `cedar QUESTIONS`.
//!
//! They take turns with the other programs of `make bench`: for each line that comes in they measure one round, print a
//! JSON object a figure, and then `end`. Everything that can be done before the question comes is done once.

mod cedar;
mod regorus;

use std::error::Error;
use std::hint::black_box;
use std::time::{Duration, Instant};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

const CALIBRATIONS: usize = 50;

/// One round of a peer: prints its figures.
type Round = Box<dyn FnMut() -> Result<()>>;

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let mut round = match arguments.as_slice() {
        ["regorus", policy, data, input] => regorus::prepare(policy, data, input)?,
        ["cedar", questions] => cedar::prepare(questions)?,
        _ => return Err("`regorus POLICY.rego DATA.json INPUT` or `cedar QUESTIONS` is needed".into()),
    };
    println!("end");
    for line in std::io::stdin().lines() {
        line?;
        print("calibration.ns", median(CALIBRATIONS, || Ok(calibration()))?.as_secs_f64() * 1e9, "ns");
        round()?;
        println!("end");
    }
    Ok(())
}

/// Says what was answered, so that it can be compared with what others answer: a digit a question.
fn answers(name: &str, answers: &[bool]) {
    let digits: String = answers.iter().map(|answer| if *answer { '1' } else { '0' }).collect();
    println!(r#"{{"answers": "{name}", "value": "{digits}"}}"#);
}

fn note(note: &str) {
    println!(r#"{{"note": "{note}"}}"#);
}

fn print(name: &str, value: f64, unit: &str) {
    println!(r#"{{"name": "{name}", "value": {value:.4}, "unit": "{unit}"}}"#);
}

/// The median of the times that the runs say they took.
fn median(count: usize, run: impl FnMut() -> Result<Duration>) -> Result<Duration> {
    let mut run = run;
    let mut times = (0..count).map(|_| run()).collect::<Result<Vec<_>>>()?;
    Ok(middle(&mut times))
}

fn middle(times: &mut [Duration]) -> Duration {
    times.sort_unstable();
    times.get(times.len() / 2).copied().unwrap_or_default()
}

/// 10,000 turns of arithmetic, each waiting for the one before: the loop of the other programs.
fn calibration() -> Duration {
    let started = Instant::now();
    let mut state = black_box(1_u64);
    for _ in 0..10_000 {
        // The shift keeps the compiler from making one turn of many.
        state = (state ^ (state >> 29)).wrapping_mul(6_364_136_223_846_793_005);
    }
    black_box(state);
    started.elapsed()
}
