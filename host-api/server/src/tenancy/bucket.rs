//! A rate: so many units a second, and so many at once.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

const NANOS: u128 = 1_000_000_000;

/// A token bucket, kept as the time at which it would be full again (the generic cell rate algorithm, ITU-T I.371). What
/// is taken may be known only afterwards: then the bucket goes into debt, and nothing is given until that is paid.
#[derive(Debug)]
pub(super) struct Bucket {
    per_s: u64,
    /// Nanoseconds since the process began to count.
    full_at: AtomicU64,
}

impl Bucket {
    /// One that gives `per_s` units a second, and at most those of one second at once.
    pub(super) fn new(per_s: u64) -> Self {
        Self { per_s: per_s.max(1), full_at: AtomicU64::new(0) }
    }

    /// The same with another rate. Whoever has used up what it had before has used up what it has now; a debt is no longer
    /// than before, and shorter where the rate is higher.
    pub(super) fn at_rate(&self, per_s: u64, now: Duration) -> Self {
        let per_s = per_s.max(1);
        let ahead = self.full_at.load(Ordering::Relaxed).saturating_sub(nanos(now));
        let at_new_rate = u128::from(ahead) * u128::from(self.per_s) / u128::from(per_s);
        let ahead = u64::try_from(at_new_rate).map_or(ahead, |other| other.min(ahead));
        Self { per_s, full_at: AtomicU64::new(nanos(now).saturating_add(ahead)) }
    }

    pub(super) fn per_s(&self) -> u64 {
        self.per_s
    }

    /// Whether something is left.
    ///
    /// # Errors
    /// How long until then, where nothing is.
    pub(super) fn check(&self, now: Duration) -> Result<(), Duration> {
        let ahead = self.full_at.load(Ordering::Relaxed).saturating_sub(nanos(now));
        match ahead.checked_sub(NANOS as u64) {
            None => Ok(()),
            // At least a nanosecond: an empty bucket gives nothing.
            Some(over) => Err(Duration::from_nanos(over.max(1))),
        }
    }

    /// Takes units, whether they are there or not.
    pub(super) fn take(&self, now: Duration, units: u64) {
        let cost = u128::from(units) * NANOS / u128::from(self.per_s);
        let cost = u64::try_from(cost).unwrap_or(u64::MAX);
        let later = |full_at: u64| Some(full_at.max(nanos(now)).saturating_add(cost));
        let _ = self.full_at.fetch_update(Ordering::Relaxed, Ordering::Relaxed, later);
    }

    /// The units that are left; none in debt.
    pub(super) fn left(&self, now: Duration) -> u64 {
        let ahead = u128::from(self.full_at.load(Ordering::Relaxed).saturating_sub(nanos(now)));
        let left = NANOS.saturating_sub(ahead) * u128::from(self.per_s) / NANOS;
        u64::try_from(left).unwrap_or(u64::MAX)
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn gives_a_second_at_once_and_then_its_rate() {
        let bucket = Bucket::new(10);
        let mut given = 0;
        while bucket.check(ms(0)).is_ok() {
            bucket.take(ms(0), 1);
            given += 1;
        }
        assert_eq!((given, bucket.left(ms(0))), (10, 0));
        assert!(bucket.check(ms(0)).is_err());
        assert!(bucket.check(ms(1)).is_ok(), "the bucket fills from the first moment on");
        bucket.take(ms(1), 1);
        assert_eq!(bucket.check(ms(1)), Err(ms(99)));
        assert_eq!(bucket.left(ms(601)), 5);
    }

    #[test]
    fn a_debt_is_paid_before_anything_is_given() {
        let bucket = Bucket::new(1_000);
        bucket.take(ms(0), 5_000);
        assert_eq!(bucket.check(ms(0)), Err(ms(4_000)));
        assert!(bucket.check(ms(3_999)).is_err());
        assert!(bucket.check(ms(4_001)).is_ok());
    }

    #[test]
    fn another_rate_forgives_nothing_and_adds_nothing() {
        let bucket = Bucket::new(10);
        bucket.take(ms(0), 10);
        assert_eq!(bucket.at_rate(10, ms(0)).left(ms(0)), 0);
        assert_eq!(bucket.at_rate(1_000, ms(0)).left(ms(0)), 990, "ten are used up of a thousand");
        assert_eq!(bucket.at_rate(1, ms(0)).left(ms(0)), 0);
        bucket.take(ms(0), 90);
        assert_eq!(bucket.check(ms(0)), Err(ms(9_000)));
        assert_eq!(bucket.at_rate(20, ms(0)).check(ms(0)), Err(ms(4_000)));
        assert_eq!(bucket.at_rate(1, ms(0)).check(ms(0)), Err(ms(9_000)), "no longer than before");
        assert_eq!(Bucket::new(5).at_rate(7, ms(60_000)).left(ms(60_000)), 7);
    }

    #[test]
    fn counts_in_the_largest_numbers() {
        let bucket = Bucket::new(u64::MAX);
        bucket.take(ms(0), u64::MAX);
        assert!(bucket.check(ms(1)).is_ok());
        let bucket = Bucket::new(1);
        bucket.take(ms(0), u64::MAX);
        assert!(bucket.check(ms(u64::MAX / 2_000_000)).is_err());
    }
}
