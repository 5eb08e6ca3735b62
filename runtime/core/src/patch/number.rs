//! Numbers by what they are, from their exact text: no conversion that would lose digits.

/// Whether two numbers of RFC 8259 are the same number. Ones whose exponents have more than 18 digits are compared as
/// they are written.
pub(super) fn equal(a: &str, b: &str) -> bool {
    a == b || Decimal::read(a).is_some_and(|a| Some(a) == Decimal::read(b))
}

/// `0.DIGITS` times ten to the power of `point`. Zero has no digits.
#[derive(PartialEq, Eq)]
struct Decimal {
    negative: bool,
    /// Without zeros at the beginning and the end.
    digits: String,
    point: i64,
}

impl Decimal {
    fn read(text: &str) -> Option<Self> {
        let (negative, text) = text.strip_prefix('-').map_or((false, text), |text| (true, text));
        let (mantissa, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let all = [whole, fraction].concat();
        let digits = all.trim_start_matches('0');
        if digits.is_empty() {
            return Some(Self { negative: false, digits: String::new(), point: 0 });
        }
        let zeros = i64::try_from(all.len() - digits.len()).ok()?;
        let point = exponent_of(exponent)? + i64::try_from(whole.len()).ok()? - zeros;
        Some(Self { negative, digits: digits.trim_end_matches('0').into(), point })
    }
}

fn exponent_of(text: &str) -> Option<i64> {
    let (sign, digits) = match text.strip_prefix('-') {
        Some(digits) => (-1, digits),
        None => (1, text.strip_prefix('+').unwrap_or(text)),
    };
    let digits = digits.trim_start_matches('0');
    let exponent = match digits.len() {
        0 => 0,
        1..=18 => digits.parse::<i64>().ok()?,
        _ => return None,
    };
    Some(sign * exponent)
}

#[cfg(test)]
mod tests {
    use super::equal;

    #[test]
    fn equals_what_is_the_same_number_however_it_is_written() {
        let same = [
            ("1", "1.0"),
            ("10", "1e1"),
            ("1E+2", "100"),
            ("0", "-0"),
            ("0e999999999999999999999", "0.000"),
            ("0.001", "1e-3"),
            ("123.4500e-2", "1.2345"),
            ("1e00000000000000000000001", "10"),
            ("9007199254740993", "9007199254740993.0"),
            ("1e999999999999999999999", "1e999999999999999999999"),
        ];
        for (a, b) in same {
            assert!(equal(a, b) && equal(b, a), "{a} {b}");
        }
    }

    #[test]
    fn tells_numbers_apart_that_a_float_does_not() {
        let other = [
            ("9007199254740993", "9007199254740992"),
            ("0.1", "0.1000000000000000000000000000001"),
            ("1", "-1"),
            ("1e400", "1e401"),
            ("1e-400", "0"),
            ("10", "1"),
            ("0.1", "0.01"),
        ];
        for (a, b) in other {
            assert!(!equal(a, b), "{a} {b}");
        }
    }
}
