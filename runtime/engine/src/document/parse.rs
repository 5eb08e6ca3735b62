//! The structural pass: strict RFC 8259, without recursion, in one go over the bytes.

use super::error::{DocumentError, DocumentErrorKind as Error};
use super::lexeme::{number, space, string};
use super::scan::Specials;

type Result<T> = std::result::Result<T, DocumentError>;

/// What the pass keeps of what it sees. Offsets are of bytes, each end is the one after.
pub(super) trait Keep {
    /// What is kept at the end.
    type Kept;
    /// Whether an array or object is open.
    fn is_inside(&self) -> bool;
    /// Whether the innermost one is an object.
    fn is_in_object(&self) -> bool;
    /// A name; the offsets are those of what is between its quotes. `saved` is how many bytes resolving its escapes
    /// saves.
    fn name(&mut self, text: &str, start: usize, end: usize, saved: u32);
    /// A string, with its quotes, a number or a literal.
    fn scalar(&mut self, start: usize, end: usize, saved: u32);
    /// All white space between two others.
    fn space(&mut self, start: usize, end: usize);
    /// An array or object begins.
    fn open(&mut self, object: bool, start: usize) -> Result<()>;
    /// The innermost one ends; an object is refused that has a name twice.
    fn close(&mut self, text: &str, end: usize) -> Result<()>;
    /// The document ends.
    fn finish(self) -> Self::Kept;
}

/// Parses `text`, which is shorter than 4 GiB, and returns what is kept of it.
#[inline(never)]
pub(super) fn parse<K: Keep>(text: &str, depth_max: u32, keep: impl FnOnce() -> K) -> Result<K::Kept> {
    let bytes = text.as_bytes();
    let specials = Specials::new(bytes);
    let mut parser = Parser { text, bytes, at: 0, specials, depth_left: depth_max, keep: keep() };
    parser.document()?;
    Ok(parser.keep.finish())
}

struct Parser<'a, K> {
    text: &'a str,
    bytes: &'a [u8],
    at: usize,
    specials: Specials<'a>,
    depth_left: u32,
    keep: K,
}

impl<K: Keep> Parser<'_, K> {
    #[inline(always)]
    fn document(&mut self) -> Result<()> {
        loop {
            let ended = match self.peek() {
                Some(b'{') => self.opened_object()?,
                Some(b'[') => self.opened_array()?,
                Some(b' ' | b'\t' | b'\n' | b'\r') => {
                    self.space();
                    false
                }
                Some(first) => self.scalar(first)?,
                None => return Err(self.error(Error::UnexpectedEnd)),
            };
            if ended && !self.next_value()? {
                break;
            }
        }
        self.space();
        if self.peek().is_some() { Err(self.error(Error::TrailingData)) } else { Ok(()) }
    }

    /// After a value: closes what ends here and goes to where the next one begins; false when there is none.
    #[inline(always)]
    fn next_value(&mut self) -> Result<bool> {
        while self.keep.is_inside() {
            match self.peek() {
                Some(b',') => {
                    self.at += 1;
                    if self.keep.is_in_object() {
                        self.name()?;
                    }
                    return Ok(true);
                }
                Some(b'}') if self.keep.is_in_object() => self.close()?,
                Some(b']') if !self.keep.is_in_object() => self.close()?,
                Some(b' ' | b'\t' | b'\n' | b'\r') => self.space(),
                _ => return Err(self.expected(Error::CommaExpected)),
            }
        }
        Ok(false)
    }

    /// Opens an object; whether it has ended too, otherwise its first name is read.
    #[inline(always)]
    fn opened_object(&mut self) -> Result<bool> {
        self.open(true)?;
        self.space();
        if self.peek() == Some(b'}') {
            return self.close().map(|()| true);
        }
        self.name().map(|()| false)
    }

    /// Opens an array; whether it has ended too.
    #[inline(always)]
    fn opened_array(&mut self) -> Result<bool> {
        self.open(false)?;
        self.space();
        if self.peek() == Some(b']') { self.close().map(|()| true) } else { Ok(false) }
    }

    /// Reads the name of a member and the colon.
    #[inline(always)]
    fn name(&mut self) -> Result<()> {
        self.meet(b'"', Error::NameExpected)?;
        let start = self.at;
        let (end, saved) = string(self.bytes, &mut self.specials, start)?;
        self.at = end;
        self.keep.name(self.text, start, end - 1, saved);
        self.meet(b':', Error::ColonExpected)
    }

    /// Goes past this byte, and past the white space before it.
    #[inline(always)]
    fn meet(&mut self, byte: u8, otherwise: Error) -> Result<()> {
        if self.peek() != Some(byte) {
            self.space();
            if self.peek() != Some(byte) {
                return Err(self.expected(otherwise));
            }
        }
        self.at += 1;
        Ok(())
    }

    #[inline(always)]
    fn space(&mut self) {
        let start = self.at;
        self.at = space(self.bytes, start);
        self.keep.space(start, self.at);
    }

    #[inline(always)]
    fn open(&mut self, object: bool) -> Result<()> {
        if self.depth_left == 0 {
            return Err(self.error(Error::TooDeep));
        }
        self.depth_left -= 1;
        self.keep.open(object, self.at)?;
        self.at += 1;
        Ok(())
    }

    fn close(&mut self) -> Result<()> {
        self.at += 1;
        self.depth_left += 1;
        self.keep.close(self.text, self.at)
    }

    #[inline(always)]
    fn scalar(&mut self, first: u8) -> Result<bool> {
        let start = self.at;
        let (end, saved) = match first {
            b'"' => string(self.bytes, &mut self.specials, start + 1)?,
            b'-' | b'0'..=b'9' => (number(self.bytes, start)?, 0),
            b't' => (self.literal(b"true")?, 0),
            b'f' => (self.literal(b"false")?, 0),
            b'n' => (self.literal(b"null")?, 0),
            _ => return Err(self.error(Error::ValueExpected)),
        };
        self.at = end;
        self.keep.scalar(start, end, saved);
        Ok(true)
    }

    #[inline(always)]
    fn literal<const N: usize>(&self, literal: &[u8; N]) -> Result<usize> {
        let found = self.bytes.get(self.at..).and_then(|rest| rest.first_chunk());
        if found == Some(literal) { Ok(self.at + N) } else { Err(self.error(Error::ValueExpected)) }
    }

    #[inline(always)]
    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    /// What stands here is not what should, or nothing stands here.
    #[cold]
    fn expected(&self, kind: Error) -> DocumentError {
        self.error(if self.at < self.bytes.len() { kind } else { Error::UnexpectedEnd })
    }

    #[cold]
    fn error(&self, kind: Error) -> DocumentError {
        DocumentError::new(kind, self.at)
    }
}
