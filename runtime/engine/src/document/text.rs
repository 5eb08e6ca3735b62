//! Strings of a checked document: their escapes, and their order.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::str::Chars;

/// The content of a string from its source between the quotes.
pub(super) fn unescaped(source: &str, escaped: bool) -> Cow<'_, str> {
    if escaped { Unescape(source.chars()).collect() } else { Cow::Borrowed(source) }
}

/// How many bytes the content has, without making it.
pub(super) fn unescaped_bytes(source: &str, escaped: bool) -> usize {
    if escaped { Unescape(source.chars()).map(char::len_utf8).sum() } else { source.len() }
}

/// Orders the content of two strings by code point. Stops at the first difference, so that a long name in a document
/// costs no more than the shorter of the two.
pub(super) fn compare(a: &str, a_escaped: bool, b: &str, b_escaped: bool) -> Ordering {
    match (a_escaped, b_escaped) {
        // The order of UTF-8 bytes is the order of code points.
        (false, false) => a.cmp(b),
        (true, false) => Unescape(a.chars()).cmp(b.chars()),
        (false, true) => a.chars().cmp(Unescape(b.chars())),
        (true, true) => Unescape(a.chars()).cmp(Unescape(b.chars())),
    }
}

/// Resolves the escapes of RFC 8259 section 7 in a string that the structural pass has checked.
struct Unescape<'a>(Chars<'a>);

impl Unescape<'_> {
    fn unit(&mut self) -> Option<u32> {
        let mut unit = 0;
        for _ in 0..4 {
            unit = unit << 4 | self.0.next()?.to_digit(16)?;
        }
        Some(unit)
    }

    fn code_point(&mut self) -> Option<char> {
        let unit = self.unit()?;
        if !(0xd800..0xdc00).contains(&unit) {
            return char::from_u32(unit);
        }
        // The pass has made sure that `\u` and a low surrogate follow.
        self.0.next()?;
        self.0.next()?;
        let low = self.unit()?;
        char::from_u32(0x10000 + ((unit - 0xd800) << 10) + low.checked_sub(0xdc00)?)
    }
}

impl Iterator for Unescape<'_> {
    type Item = char;

    fn next(&mut self) -> Option<char> {
        match self.0.next()? {
            '\\' => match self.0.next()? {
                'b' => Some('\u{8}'),
                'f' => Some('\u{c}'),
                'n' => Some('\n'),
                'r' => Some('\r'),
                't' => Some('\t'),
                'u' => self.code_point(),
                other => Some(other),
            },
            other => Some(other),
        }
    }
}
