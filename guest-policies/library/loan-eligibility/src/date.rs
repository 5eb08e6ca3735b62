//! Calendar dates, as far as an age needs them.

/// A day of the Gregorian calendar. The order is that of time.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) struct Date {
    year: u16,
    month: u16,
    day: u16,
}

impl Date {
    /// From `YYYY-MM-DD` (RFC 3339, full-date).
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split('-');
        let date = Self {
            year: digits(parts.next()?, 4)?,
            month: digits(parts.next()?, 2)?,
            day: digits(parts.next()?, 2)?,
        };
        (parts.next().is_none() && (1..=date.days_in_month()?).contains(&date.day)).then_some(date)
    }

    /// The same day so many years later. The 29th of February becomes a day that does not exist, between the 28th and
    /// the 1st of March: who was born on it is a year older on the 1st of March.
    pub(crate) fn plus_years(self, years: u16) -> Self {
        Self { year: self.year.saturating_add(years), ..self }
    }

    fn days_in_month(self) -> Option<u16> {
        let leap =
            self.year.is_multiple_of(4) && (!self.year.is_multiple_of(100) || self.year.is_multiple_of(400));
        match self.month {
            4 | 6 | 9 | 11 => Some(30),
            2 => Some(if leap { 29 } else { 28 }),
            1..=12 => Some(31),
            _ => None,
        }
    }
}

fn digits(text: &str, count: usize) -> Option<u16> {
    (text.len() == count && text.bytes().all(|byte| byte.is_ascii_digit())).then(|| text.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_days_that_do_not_exist() {
        for text in ["2025-02-29", "1900-02-29", "2026-13-01", "2026-00-01", "2026-04-31", "2026-01-00"] {
            assert_eq!(Date::parse(text), None, "{text}");
        }
        for text in ["26-01-01", "2026-1-1", "2026-01-01-", "2026-01-01T00:00", "+026-01-01", ""] {
            assert_eq!(Date::parse(text), None, "{text}");
        }
        for text in ["2024-02-29", "2000-02-29", "2026-12-31"] {
            assert!(Date::parse(text).is_some(), "{text}");
        }
    }
}
