//! The machine's clock.

use std::time::{SystemTime, UNIX_EPOCH};

use verdict_core::time::Timestamp;

use crate::error::{Error, Problem};

/// The time now.
///
/// # Errors
/// When the clock is beyond the year 9999.
pub(crate) fn now() -> Result<Timestamp, Error> {
    from_now(0)
}

/// The time in `ms` milliseconds.
///
/// # Errors
/// When that is beyond the year 9999.
pub(crate) fn from_now(ms: i64) -> Result<Timestamp, Error> {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let now = i64::try_from(since.as_millis()).unwrap_or(i64::MAX);
    Timestamp::from_millis(now.saturating_add(ms))
        .map_err(|error| Error::Machine(Problem::new("clock", format!("the clock is wrong: {error}"))))
}
