//! Points in time as records have them. The clock itself is an argument: nothing here reads one.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A point in time in UTC with millisecond precision, written as `2026-01-31T12:00:00.000Z` (RFC 3339).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Timestamp(jiff::Timestamp);

/// The text is not a time.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a time; expected RFC 3339 in years 0000 to 9999, such as `2026-01-31T12:00:00.000Z`")]
pub struct TimestampError(String);

impl Timestamp {
    /// 1970-01-01T00:00:00.000Z.
    pub const EPOCH: Self = Self(jiff::Timestamp::UNIX_EPOCH);

    /// The time that is `ms` milliseconds after 1970-01-01T00:00:00Z, without leap seconds.
    ///
    /// # Errors
    /// When the year is outside 0000 to 9999.
    pub fn from_millis(ms: i64) -> Result<Self, TimestampError> {
        let time = jiff::Timestamp::from_millisecond(ms).map_err(|_| TimestampError(ms.to_string()))?;
        if (0..=9999).contains(&jiff::tz::Offset::UTC.to_datetime(time).year()) {
            Ok(Self(time))
        } else {
            Err(TimestampError(ms.to_string()))
        }
    }

    /// Milliseconds since 1970-01-01T00:00:00Z, without leap seconds.
    pub fn millis(&self) -> i64 {
        self.0.as_millisecond()
    }
}

impl FromStr for Timestamp {
    type Err = TimestampError;

    fn from_str(text: &str) -> Result<Self, TimestampError> {
        let error = || TimestampError(text.chars().take(80).collect());
        let time: jiff::Timestamp = text.parse().map_err(|_| error())?;
        Self::from_millis(time.as_millisecond()).map_err(|_| error())
    }
}

impl TryFrom<String> for Timestamp {
    type Error = TimestampError;

    fn try_from(text: String) -> Result<Self, TimestampError> {
        text.parse()
    }
}

impl From<Timestamp> for String {
    fn from(time: Timestamp) -> Self {
        time.to_string()
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.3}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_written_in_utc_with_milliseconds() {
        let time: Timestamp = "2026-01-31T13:00:00.1234+01:00".parse().unwrap();
        assert_eq!(time.to_string(), "2026-01-31T12:00:00.123Z");
        assert_eq!(time.to_string().parse::<Timestamp>().unwrap(), time);
        assert_eq!(Timestamp::EPOCH.to_string(), "1970-01-01T00:00:00.000Z");
    }

    #[test]
    fn rejects_what_is_not_a_time() {
        for text in ["", "now", "2026-01-31", "2026-13-01T00:00:00Z", "-000001-01-01T00:00:00Z"] {
            assert!(text.parse::<Timestamp>().is_err(), "{text}");
        }
    }
}
