//! Times, and how they are printed.

use std::hint::black_box;
use std::time::{Duration, Instant};

/// 10,000 turns of arithmetic, each waiting for the one before.
pub(crate) fn calibration() -> Duration {
    let started = Instant::now();
    let mut state = black_box(1_u64);
    for _ in 0..10_000 {
        // The shift keeps the compiler from making one turn of many.
        state = (state ^ (state >> 29)).wrapping_mul(6_364_136_223_846_793_005);
    }
    black_box(state);
    started.elapsed()
}

pub(crate) fn percentile(times: &mut [Duration], percent: usize) -> Duration {
    times.sort_unstable();
    times.get((times.len() * percent / 100).min(times.len().saturating_sub(1))).copied().unwrap_or_default()
}

pub(crate) fn print(name: &str, value: f64, unit: &str) {
    println!(r#"{{"name": "{name}", "value": {value:.4}, "unit": "{unit}"}}"#);
}
