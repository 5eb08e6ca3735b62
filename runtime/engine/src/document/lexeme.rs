//! Strings, numbers and white space: what has nothing inside.

use super::error::{DocumentError, DocumentErrorKind as Error};
use super::scan::{self, Specials};

type Result<T> = std::result::Result<T, DocumentError>;

/// Where the white space that begins at `at` ends.
#[inline(always)]
pub(super) fn space(bytes: &[u8], at: usize) -> usize {
    // Between most values there is none, or one byte.
    if !is_space(bytes.get(at)) {
        return at;
    }
    if !is_space(bytes.get(at + 1)) {
        return at + 1;
    }
    spaces(bytes, at + 2)
}

fn is_space(byte: Option<&u8>) -> bool {
    matches!(byte, Some(b' ' | b'\t' | b'\n' | b'\r'))
}

fn spaces(bytes: &[u8], mut at: usize) -> usize {
    while let Some(chunk) = bytes.get(at..).and_then(|rest| rest.first_chunk()) {
        let spaces = scan::space(chunk);
        at += spaces;
        if spaces < chunk.len() {
            return at;
        }
    }
    while is_space(bytes.get(at)) {
        at += 1;
    }
    at
}

/// Goes past the string whose content begins at `at`: where it ends, quote included, and how many bytes resolving its
/// escapes saves.
#[inline(always)]
pub(super) fn string(bytes: &[u8], specials: &mut Specials<'_>, at: usize) -> Result<(usize, u32)> {
    let end = specials.from(at);
    if bytes.get(end) == Some(&b'"') { Ok((end + 1, 0)) } else { unusual_string(bytes, specials, end) }
}

/// The rest of a string that has escapes or is wrong.
#[inline(never)]
fn unusual_string(bytes: &[u8], specials: &mut Specials<'_>, mut at: usize) -> Result<(usize, u32)> {
    let mut saved = 0;
    loop {
        match bytes.get(at) {
            Some(b'"') => return Ok((at + 1, saved)),
            Some(b'\\') => {
                let (source, content) = escape(bytes, at)?;
                at += source;
                saved += source as u32 - content;
            }
            Some(_) => return Err(DocumentError::new(Error::ControlCharacter, at)),
            None => return Err(DocumentError::new(Error::UnexpectedEnd, at)),
        }
        at = specials.from(at);
    }
}

/// How many bytes the escape at `at` has, and how many what it stands for.
fn escape(bytes: &[u8], at: usize) -> Result<(usize, u32)> {
    match bytes.get(at + 1) {
        Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => Ok((2, 1)),
        Some(b'u') => {
            let lone = || DocumentError::new(Error::LoneSurrogate, at);
            match unit(bytes, at)? {
                0..0x80 => Ok((6, 1)),
                0x80..0x800 => Ok((6, 2)),
                0xdc00..0xe000 => Err(lone()),
                0xd800..0xdc00 => {
                    let follows = bytes.get(at + 6..at + 8) == Some(b"\\u");
                    if !follows || !(0xdc00..0xe000).contains(&unit(bytes, at + 6)?) {
                        return Err(lone());
                    }
                    Ok((12, 4))
                }
                _ => Ok((6, 3)),
            }
        }
        Some(_) => Err(DocumentError::new(Error::InvalidEscape, at)),
        None => Err(DocumentError::new(Error::UnexpectedEnd, at + 1)),
    }
}

/// The UTF-16 code unit of the `\uXXXX` at `at`.
fn unit(bytes: &[u8], at: usize) -> Result<u32> {
    let digits = bytes.get(at + 2..at + 6).unwrap_or_default();
    let hex = |byte: &u8| char::from(*byte).to_digit(16);
    let unit = digits.iter().try_fold(0, |unit, byte| Some(unit << 4 | hex(byte)?));
    match unit {
        Some(unit) if digits.len() == 4 => Ok(unit),
        _ => Err(DocumentError::new(Error::InvalidEscape, at)),
    }
}

/// Goes past the number at `start`, RFC 8259 section 6: `-`, an integer without leading zeros, a fraction, an
/// exponent.
#[inline(always)]
pub(super) fn number(bytes: &[u8], start: usize) -> Result<usize> {
    let invalid = || DocumentError::new(Error::InvalidNumber, start);
    let whole = start + usize::from(bytes.get(start) == Some(&b'-'));
    let mut at = digits(bytes, whole);
    let leading_zero = at - whole > 1 && bytes.get(whole) == Some(&b'0');
    if at == whole || leading_zero {
        return Err(invalid());
    }
    if bytes.get(at) == Some(&b'.') {
        let fraction = at + 1;
        at = many_digits(bytes, fraction);
        if at == fraction {
            return Err(invalid());
        }
    }
    if matches!(bytes.get(at), Some(b'e' | b'E')) {
        let exponent = at + 1 + usize::from(matches!(bytes.get(at + 1), Some(b'+' | b'-')));
        at = digits(bytes, exponent);
        if at == exponent {
            return Err(invalid());
        }
    }
    Ok(at)
}

/// Where the digits that begin at `at` end.
#[inline(always)]
fn digits(bytes: &[u8], mut at: usize) -> usize {
    while bytes.get(at).is_some_and(u8::is_ascii_digit) {
        at += 1;
    }
    at
}

/// The same, for runs that are often long.
#[inline(always)]
fn many_digits(bytes: &[u8], mut at: usize) -> usize {
    while let Some(chunk) = bytes.get(at..).and_then(|rest| rest.first_chunk()) {
        let digits = scan::digits(chunk);
        at += digits;
        if digits < chunk.len() {
            return at;
        }
    }
    digits(bytes, at)
}
