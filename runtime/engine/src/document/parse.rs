//! The structural pass: strict RFC 8259, without recursion, in one go over the bytes.

use super::error::{DocumentError, DocumentErrorKind as Error};
use super::lexeme::{number, space, string};
use super::node::{Extent, Node, Tape, offset};
use super::order::{Hashes, array_table, object_table};
use super::scan::Specials;

type Result<T> = std::result::Result<T, DocumentError>;

/// The place of no array or object.
const NONE: u32 = u32::MAX;

/// The last place that an array or object can have; only a text of more than 2 GiB needs a later one.
const PLACE_MAX: u32 = (1 << 31) - 3;

/// Parses `text`, which is shorter than 4 GiB.
pub(super) fn parse(text: &str, depth_max: u32) -> Result<Tape> {
    let bytes = text.as_bytes();
    let mut parser = Parser {
        text,
        bytes,
        at: 0,
        specials: Specials::new(bytes),
        open: NONE,
        object: false,
        count: 0,
        hashes: Hashes::default(),
        depth_left: depth_max,
        tape: Tape::default(),
    };
    // What names and values of usual length need, in a small text shorter ones; for others it doubles.
    parser.tape.nodes.reserve(bytes.len().min(bytes.len() / 8 + 24));
    parser.document()?;
    parser.tape.fit();
    Ok(parser.tape)
}

struct Parser<'a> {
    text: &'a str,
    bytes: &'a [u8],
    at: usize,
    specials: Specials<'a>,
    /// The place of the innermost array or object that is open. As long as it is, its node's `end` is the place of
    /// the one around it.
    open: u32,
    /// Whether that one is an object.
    object: bool,
    /// How many children it has so far; those of the ones around it are in their nodes.
    count: u32,
    /// Of the names that it has so far; those of the one around it are where its extent will be.
    hashes: Hashes,
    depth_left: u32,
    tape: Tape,
}

impl Parser<'_> {
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
        while self.open != NONE {
            match self.peek() {
                Some(b',') => {
                    self.at += 1;
                    if self.object {
                        self.name()?;
                    }
                    return Ok(true);
                }
                Some(b'}') if self.object => self.close()?,
                Some(b']') if !self.object => self.close()?,
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
        let name = Node::name(self.text, start, end - 1, saved);
        self.tape.nodes.push(name);
        self.hashes.add(name.link);
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
        self.at = space(self.bytes, self.at);
    }

    fn open(&mut self, object: bool) -> Result<()> {
        if self.depth_left == 0 {
            return Err(self.error(Error::TooDeep));
        }
        self.depth_left -= 1;
        if let Some(around) = self.tape.nodes.get_mut(self.open as usize) {
            around.count = self.count;
        }
        let place = offset(self.tape.nodes.len());
        if place > PLACE_MAX {
            return Err(self.error(Error::TooLarge));
        }
        let node = Node::container(object, self.at, self.open, place);
        self.tape.nodes.extend([node, std::mem::take(&mut self.hashes).node()]);
        (self.open, self.object, self.count) = (place, object, 0);
        self.at += 1;
        Ok(())
    }

    fn close(&mut self) -> Result<()> {
        self.at += 1;
        self.depth_left += 1;
        let place = self.open as usize;
        let Some(node) = self.tape.nodes.get_mut(place) else { return Ok(()) };
        let around = std::mem::replace(&mut node.end, offset(self.at));
        node.count = self.count;
        let node = *node;
        let next = offset(self.tape.nodes.len());
        let table = if self.object {
            object_table(self.text, &mut self.tape, &node, self.hashes)?
        } else {
            array_table(&mut self.tape, &node, next)
        };
        if let Some(extent) = self.tape.nodes.get_mut(place + 1) {
            self.hashes = Hashes::of(extent);
            *extent = Extent { next, table }.node();
        }
        self.open = around;
        if let Some(around) = self.tape.nodes.get(around as usize) {
            self.count = around.count + 1;
            self.object = around.is_object();
        }
        Ok(())
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
        self.tape.nodes.push(Node::scalar(start, end, saved));
        self.count += 1;
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
