//! How the readings of policies, trust and data went, and until when what was read holds.

use std::sync::{Mutex, PoisonError};

use verdict_core::time::Timestamp;

/// A signed document, or the trust file, that everything which is loaded rests on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// `trust` or `revocations`.
    pub document: &'static str,
    /// Its version, or its sequence.
    pub version: u64,
    /// The first moment at which it does not hold any more.
    pub until: Timestamp,
}

/// How reading policies, trust and data has gone since the host began.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Readings {
    /// How often it went well.
    pub succeeded: u64,
    /// How often it failed, and what had been loaded went on.
    pub failed: u64,
    /// When it went well the last time.
    pub last: Option<Timestamp>,
    /// Since when it has failed each time, and why it did the last time; none where it went well the last time.
    pub failing: Option<(Timestamp, String)>,
}

/// The same, as it is counted.
#[derive(Debug, Default)]
pub(crate) struct Counted(Mutex<Readings>);

impl Counted {
    pub(crate) fn note<E: std::fmt::Display>(&self, now: Timestamp, result: &Result<(), E>) {
        let mut readings = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match result {
            Ok(()) => {
                readings.succeeded = readings.succeeded.saturating_add(1);
                (readings.last, readings.failing) = (Some(now), None);
            }
            Err(error) => {
                readings.failed = readings.failed.saturating_add(1);
                let since = readings.failing.as_ref().map_or(now, |(since, _)| *since);
                readings.failing = Some((since, error.to_string()));
            }
        }
    }

    pub(crate) fn read(&self) -> Readings {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reading_that_fails_again_has_failed_since_the_first() {
        let at = |ms| Timestamp::from_millis(ms).unwrap();
        let counted = Counted::default();
        counted.note(at(1), &Ok::<_, &str>(()));
        counted.note(at(2), &Err("one"));
        counted.note(at(3), &Err("two"));
        let readings = counted.read();
        assert_eq!((readings.succeeded, readings.failed, readings.last), (1, 2, Some(at(1))));
        assert_eq!(readings.failing, Some((at(2), "two".into())));
        counted.note(at(4), &Ok::<_, &str>(()));
        assert_eq!((counted.read().last, counted.read().failing), (Some(at(4)), None));
    }
}
