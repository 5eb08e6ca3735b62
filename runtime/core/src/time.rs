//! Points in time as records have them. The clock itself is an argument: nothing here reads one.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A point in time in UTC with millisecond precision, written as `2026-01-31T12:00:00.000Z` (RFC 3339).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(try_from = "String")]
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

impl Serialize for Timestamp {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl fmt::Display for Timestamp {
    /// Every decision writes its times, so this does without a general printer of dates.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const DAY_MS: i64 = 86_400_000;
        let (days, ms) = (self.millis().div_euclid(DAY_MS), self.millis().rem_euclid(DAY_MS));
        let (year, month, day) = civil(days);
        let mut text = *b"0000-00-00T00:00:00.000Z";
        let fields = [
            (0..4, year),
            (5..7, month),
            (8..10, day),
            (11..13, ms / 3_600_000),
            (14..16, ms / 60_000 % 60),
            (17..19, ms / 1_000 % 60),
            (20..23, ms % 1_000),
        ];
        for (place, mut value) in fields {
            for digit in text.get_mut(place).unwrap_or_default().iter_mut().rev() {
                *digit += u8::try_from(value % 10).unwrap_or_default();
                value /= 10;
            }
        }
        f.write_str(std::str::from_utf8(&text).map_err(|_| fmt::Error)?)
    }
}

/// Year, month and day of the day that is `days` after 1970-01-01, in the Gregorian calendar. Years are taken to begin
/// in March, so that the day which some of them lack is their last.
fn civil(days: i64) -> (i64, i64, i64) {
    const FROM_0000_03_01: i64 = 719_468;
    const ERA_DAYS: i64 = 146_097;
    let days = days + FROM_0000_03_01;
    let (era, day_of_era) = (days.div_euclid(ERA_DAYS), days.rem_euclid(ERA_DAYS));
    let leap_days = day_of_era / 1_460 - day_of_era / 36_524 + day_of_era / 146_096;
    let year_of_era = (day_of_era - leap_days) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    // The months from March on have 153 days in every five.
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    (era * 400 + year_of_era + i64::from(month <= 2), month, day)
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

    fn assert_is_written_as_the_calendar_has_it(ms: i64) {
        let time = Timestamp::from_millis(ms).unwrap();
        assert_eq!(time.to_string(), format!("{:.3}", time.0));
    }

    #[test]
    fn every_day_of_ten_thousand_years_is_written_as_the_calendar_has_it() {
        let first: Timestamp = "0000-01-01T00:00:00Z".parse().unwrap();
        let last: Timestamp = "9999-12-30T21:59:59.999Z".parse().unwrap();
        for ms in (first.millis()..=last.millis()).step_by(86_400_000) {
            assert_is_written_as_the_calendar_has_it(ms);
        }
        assert_is_written_as_the_calendar_has_it(last.millis());
    }

    proptest::proptest! {
        #[test]
        fn every_time_is_written_as_the_calendar_has_it(ms in -62_167_219_200_000_i64..253_402_200_000_000) {
            assert_is_written_as_the_calendar_has_it(ms);
        }
    }

    #[test]
    fn rejects_what_is_not_a_time() {
        for text in ["", "now", "2026-01-31", "2026-13-01T00:00:00Z", "-000001-01-01T00:00:00Z"] {
            assert!(text.parse::<Timestamp>().is_err(), "{text}");
        }
    }
}
