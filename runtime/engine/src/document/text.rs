//! Strings of a checked document: their escapes, and their order.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::str::Chars;

/// The content of a string from its source between the quotes.
pub(super) fn unescaped(source: &str, escaped: bool) -> Cow<'_, str> {
    if escaped { Unescape(source.chars()).collect() } else { Cow::Borrowed(source) }
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

/// A number that contents are mostly told apart by; nothing depends on that but time.
#[inline]
pub(super) fn hash(content: &[u8]) -> u32 {
    let last = match content.last_chunk() {
        Some(last) => u64::from_le_bytes(*last),
        None => content.iter().fold(0, |word, byte| word >> 8 | u64::from(*byte) << 56),
    };
    mixed(content, last)
}

/// The same for what is between two offsets. Without a branch on lengths of up to 16: names differ in theirs.
#[inline(always)]
pub(super) fn hash_between(bytes: &[u8], start: usize, end: usize) -> u32 {
    let content = bytes.get(start..end).unwrap_or_default();
    let Some(before) = bytes.get(..end).and_then(|before| before.last_chunk()) else { return hash(content) };
    let before = u64::from_le_bytes(*before);
    let others = 64_u32.wrapping_sub(8 * content.len().min(8) as u32);
    let last = if content.is_empty() { 0 } else { before.wrapping_shr(others).wrapping_shl(others) };
    mixed(content, last)
}

/// `last` has the last eight bytes, and zeros before a shorter content.
#[inline(always)]
fn mixed(content: &[u8], last: u64) -> u32 {
    const FACTOR: u64 = 0x9e37_79b9_7f4a_7c15;
    let first = content.first_chunk().map_or(0, |first| u64::from_le_bytes(*first));
    let mut hash = (first ^ content.len() as u64).wrapping_mul(FACTOR);
    let mut rest = content;
    while rest.len() > 16 {
        let Some((_, after)) = rest.split_first_chunk::<8>() else { break };
        let word = after.first_chunk().map_or(0, |word| u64::from_le_bytes(*word));
        hash = (hash.rotate_left(29) ^ word).wrapping_mul(FACTOR);
        rest = after;
    }
    ((hash.rotate_left(29) ^ last).wrapping_mul(FACTOR) >> 32) as u32
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
