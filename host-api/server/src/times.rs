//! How long things took, in ranges, as Prometheus has histograms.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Counts by range: up to each of `ends`, and longer. Nothing of it waits or allocates.
#[derive(Debug)]
pub(crate) struct Times<const N: usize> {
    ends: &'static [f64; N],
    counts: [AtomicU64; N],
    longer: AtomicU64,
    nanos: AtomicU64,
}

/// The same at one moment.
#[derive(Debug, PartialEq)]
pub(crate) struct Timed {
    /// The end of each range in seconds, the last infinite, and how many were in it.
    pub(crate) ranges: Vec<(f64, u64)>,
    /// How long all took together.
    pub(crate) sum: Duration,
}

impl<const N: usize> Times<N> {
    /// `ends` are seconds, and grow.
    pub(crate) fn new(ends: &'static [f64; N]) -> Self {
        let counts = std::array::from_fn(|_| AtomicU64::new(0));
        Self { ends, counts, longer: AtomicU64::new(0), nanos: AtomicU64::new(0) }
    }

    pub(crate) fn note(&self, elapsed: Duration) {
        let seconds = elapsed.as_secs_f64();
        let range = self.ends.partition_point(|end| *end < seconds);
        self.counts.get(range).unwrap_or(&self.longer).fetch_add(1, Ordering::Relaxed);
        self.nanos.fetch_add(u64::try_from(elapsed.as_nanos()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    pub(crate) fn read(&self) -> Timed {
        let counts = self.counts.iter().chain([&self.longer]);
        let ends = self.ends.iter().copied().chain([f64::INFINITY]);
        let ranges = ends.zip(counts.map(|count| count.load(Ordering::Relaxed))).collect();
        Timed { ranges, sum: Duration::from_nanos(self.nanos.load(Ordering::Relaxed)) }
    }
}

impl Timed {
    /// What somebody else has counted: one more number than `ends`.
    pub(crate) fn of(ends: &[f64], counts: &[u64], sum: Duration) -> Self {
        let ends = ends.iter().copied().chain([f64::INFINITY]);
        Self { ranges: ends.zip(counts.iter().copied()).collect(), sum }
    }

    pub(crate) fn count(&self) -> u64 {
        self.ranges.iter().map(|(_, count)| count).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_takes_as_long_as_an_end_is_below_it_and_nothing_is_lost_above_the_last() {
        let times = Times::new(&[0.25, 0.5]);
        [0, 250, 251, 500, 900].into_iter().for_each(|ms| times.note(Duration::from_millis(ms)));
        let timed = times.read();
        assert_eq!(timed.ranges, [(0.25, 2), (0.5, 2), (f64::INFINITY, 1)]);
        assert_eq!((timed.count(), timed.sum), (5, Duration::from_millis(1_901)));
        assert_eq!(Timed::of(&[0.25, 0.5], &[2, 2, 1], Duration::from_millis(1_901)), timed);
    }
}
