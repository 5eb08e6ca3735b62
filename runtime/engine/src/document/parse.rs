//! The structural pass: strict RFC 8259, without recursion, in one go over the bytes.

use super::error::{DocumentError, DocumentErrorKind as Error};
use super::node::{Kind, Name, Node};
use super::text::compare;

/// Objects with more members than this keep their names in order, so that neither finding a member nor refusing a
/// duplicate compares every name with every other. An order cannot be attacked as a hash can.
pub(super) const UNSORTED_MEMBERS_MAX: usize = 8;

type Result<T> = std::result::Result<T, DocumentError>;

/// Parses `text`, which is shorter than 4 GiB. Returns the root and all other nodes.
pub(super) fn parse(text: &str, depth_max: u32) -> Result<(Node, Vec<Node>)> {
    let mut parser = Parser {
        text,
        at: 0,
        depth_max: depth_max as usize,
        name: Name::default(),
        frames: Vec::new(),
        pending: Vec::new(),
        nodes: Vec::new(),
    };
    parser.document()?;
    match parser.pending.pop() {
        Some(root) => Ok((root, parser.nodes)),
        None => Err(parser.error(Error::UnexpectedEnd)),
    }
}

/// An array or object that is open.
struct Frame {
    object: bool,
    start: usize,
    name: Name,
    /// How many nodes were pending when it was opened: those after it are its children.
    pending: usize,
}

struct Parser<'a> {
    text: &'a str,
    at: usize,
    depth_max: usize,
    /// The name of the member whose value comes next.
    name: Name,
    frames: Vec<Frame>,
    /// Values whose container is still open.
    pending: Vec<Node>,
    nodes: Vec<Node>,
}

impl Parser<'_> {
    fn document(&mut self) -> Result<()> {
        loop {
            self.space();
            match self.peek() {
                Some(b'{') => self.open(true)?,
                Some(b'[') => self.open(false)?,
                Some(_) => self.scalar()?,
                None => return Err(self.error(Error::UnexpectedEnd)),
            }
            if !self.next_value()? {
                break;
            }
        }
        self.space();
        if self.peek().is_some() { Err(self.error(Error::TrailingData)) } else { Ok(()) }
    }

    /// Closes what ends here and goes to where the next value begins; false when the document is complete.
    fn next_value(&mut self) -> Result<bool> {
        loop {
            let Some(frame) = self.frames.last() else { return Ok(false) };
            // A value that ended is pending, so only a container that was just opened has none.
            let (object, empty) = (frame.object, frame.pending == self.pending.len());
            self.space();
            match self.peek() {
                Some(b'}') if object => self.close()?,
                Some(b']') if !object => self.close()?,
                Some(b',') if !empty => {
                    self.at += 1;
                    return self.begin_element(object);
                }
                Some(_) if empty => return self.begin_element(object),
                Some(_) => return Err(self.error(Error::CommaExpected)),
                None => return Err(self.error(Error::UnexpectedEnd)),
            }
        }
    }

    fn begin_element(&mut self, object: bool) -> Result<bool> {
        if object {
            self.space();
            self.name = self.member_name()?;
        }
        Ok(true)
    }

    fn member_name(&mut self) -> Result<Name> {
        match self.peek() {
            Some(b'"') => {}
            Some(_) => return Err(self.error(Error::NameExpected)),
            None => return Err(self.error(Error::UnexpectedEnd)),
        }
        let start = self.at + 1;
        let escaped = self.string()?;
        let name = Name::new(offset(start), offset(self.at - 1), escaped);
        self.space();
        match self.peek() {
            Some(b':') => self.at += 1,
            Some(_) => return Err(self.error(Error::ColonExpected)),
            None => return Err(self.error(Error::UnexpectedEnd)),
        }
        name.ok_or_else(|| DocumentError::new(Error::TooLarge, start))
    }

    fn open(&mut self, object: bool) -> Result<()> {
        if self.frames.len() >= self.depth_max {
            return Err(self.error(Error::TooDeep));
        }
        let name = std::mem::take(&mut self.name);
        self.frames.push(Frame { object, start: self.at, name, pending: self.pending.len() });
        self.at += 1;
        Ok(())
    }

    fn close(&mut self) -> Result<()> {
        let Some(frame) = self.frames.pop() else { return Err(self.error(Error::TrailingData)) };
        self.at += 1;
        if frame.object {
            let members = self.pending.get_mut(frame.pending..).unwrap_or_default();
            order_members(self.text, members)?;
        }
        let first = self.nodes.len();
        self.nodes.extend(self.pending.drain(frame.pending..));
        let kind = if frame.object { Kind::Object } else { Kind::Array };
        self.pending.push(Node {
            first: offset(first),
            count: offset(self.nodes.len() - first),
            ..leaf(frame.name, frame.start, self.at, kind)
        });
        Ok(())
    }

    fn scalar(&mut self) -> Result<()> {
        let start = self.at;
        let kind = match self.peek() {
            Some(b'"') if self.string()? => Kind::EscapedText,
            Some(b'"') => Kind::Text,
            Some(b'-' | b'0'..=b'9') => self.number()?,
            Some(b't') => self.literal("true", Kind::True)?,
            Some(b'f') => self.literal("false", Kind::False)?,
            Some(b'n') => self.literal("null", Kind::Null)?,
            _ => return Err(self.error(Error::ValueExpected)),
        };
        let name = std::mem::take(&mut self.name);
        self.pending.push(leaf(name, start, self.at, kind));
        Ok(())
    }

    fn literal(&mut self, literal: &str, kind: Kind) -> Result<Kind> {
        if !self.text.as_bytes().get(self.at..).is_some_and(|rest| rest.starts_with(literal.as_bytes())) {
            return Err(self.error(Error::ValueExpected));
        }
        self.at += literal.len();
        Ok(kind)
    }

    /// RFC 8259 section 6: `-`, an integer without leading zeros, a fraction, an exponent.
    fn number(&mut self) -> Result<Kind> {
        let start = self.at;
        self.skip(b"-");
        let whole = self.digits();
        let leading_zero = whole > 1 && self.byte(self.at - whole) == Some(b'0');
        let mut valid = whole > 0 && !leading_zero;
        if self.skip(b".") {
            valid &= self.digits() > 0;
        }
        if self.skip(b"eE") {
            self.skip(b"+-");
            valid &= self.digits() > 0;
        }
        if valid { Ok(Kind::Number) } else { Err(DocumentError::new(Error::InvalidNumber, start)) }
    }

    fn digits(&mut self) -> usize {
        let rest = self.text.as_bytes().get(self.at..).unwrap_or_default();
        let digits = rest.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(rest.len());
        self.at += digits;
        digits
    }

    fn skip(&mut self, any_of: &[u8]) -> bool {
        let skipped = self.peek().is_some_and(|byte| any_of.contains(&byte));
        self.at += usize::from(skipped);
        skipped
    }

    /// Goes past the string that begins here; whether it has escapes.
    fn string(&mut self) -> Result<bool> {
        self.at += 1;
        let mut escaped = false;
        loop {
            let rest = self.text.as_bytes().get(self.at..).unwrap_or_default();
            let Some(plain) = rest.iter().position(|byte| matches!(byte, b'"' | b'\\' | 0..0x20)) else {
                self.at += rest.len();
                return Err(self.error(Error::UnexpectedEnd));
            };
            self.at += plain;
            match self.peek() {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(escaped);
                }
                Some(b'\\') => self.escape()?,
                _ => return Err(self.error(Error::ControlCharacter)),
            }
            escaped = true;
        }
    }

    fn escape(&mut self) -> Result<()> {
        let start = self.at;
        match self.byte(start + 1) {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => self.at += 2,
            Some(b'u') => {
                let unit = self.unit(start)?;
                self.at += 6;
                let lone = || DocumentError::new(Error::LoneSurrogate, start);
                match unit {
                    0xdc00..0xe000 => return Err(lone()),
                    0xd800..0xdc00 => {
                        let follows = self.peek() == Some(b'\\') && self.byte(self.at + 1) == Some(b'u');
                        if !follows || !(0xdc00..0xe000).contains(&self.unit(self.at)?) {
                            return Err(lone());
                        }
                        self.at += 6;
                    }
                    _ => {}
                }
            }
            Some(_) => return Err(self.error(Error::InvalidEscape)),
            None => return Err(DocumentError::new(Error::UnexpectedEnd, start + 1)),
        }
        Ok(())
    }

    /// The UTF-16 code unit of the `\uXXXX` at `start`.
    fn unit(&self, start: usize) -> Result<u32> {
        let digits = self.text.as_bytes().get(start + 2..start + 6).unwrap_or_default();
        let hex = |byte: &u8| char::from(*byte).to_digit(16);
        let unit = digits.iter().try_fold(0, |unit, byte| Some(unit << 4 | hex(byte)?));
        match unit {
            Some(unit) if digits.len() == 4 => Ok(unit),
            _ => Err(DocumentError::new(Error::InvalidEscape, start)),
        }
    }

    fn space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    fn peek(&self) -> Option<u8> {
        self.byte(self.at)
    }

    fn byte(&self, at: usize) -> Option<u8> {
        self.text.as_bytes().get(at).copied()
    }

    fn error(&self, kind: Error) -> DocumentError {
        DocumentError::new(kind, self.at)
    }
}

fn leaf(name: Name, start: usize, end: usize, kind: Kind) -> Node {
    Node { start: offset(start), end: offset(end), first: 0, count: 0, name, order: 0, kind }
}

/// Offsets and counts fit: the text is shorter than 4 GiB, and a value has at least one byte.
fn offset(at: usize) -> u32 {
    u32::try_from(at).unwrap_or(u32::MAX)
}

/// Refuses a name that is there twice, and orders the members of large objects by name.
fn order_members(text: &str, members: &mut [Node]) -> Result<()> {
    let compared =
        |a: &Node, b: &Node| compare(a.name.of(text), a.name.escaped(), b.name.of(text), b.name.escaped());
    let duplicate =
        |name: Name| Err(DocumentError::new(Error::DuplicateName, (name.start() as usize).saturating_sub(1)));
    if members.len() <= UNSORTED_MEMBERS_MAX {
        for (n, member) in members.iter().enumerate() {
            if members.iter().take(n).any(|earlier| compared(earlier, member).is_eq()) {
                return duplicate(member.name);
            }
        }
        return Ok(());
    }
    let mut order: Vec<u32> = (0..offset(members.len())).collect();
    let empty = || leaf(Name::default(), 0, 0, Kind::Null);
    let member = |n: &u32| members.get(*n as usize).copied().unwrap_or_else(empty);
    // Stable, so that of two equal names the later one is second.
    order.sort_by(|a, b| compared(&member(a), &member(b)));
    if let Some([_, second]) = order.array_windows().find(|[a, b]| compared(&member(a), &member(b)).is_eq()) {
        return duplicate(member(second).name);
    }
    for (node, order) in members.iter_mut().zip(order) {
        node.order = order;
    }
    Ok(())
}
