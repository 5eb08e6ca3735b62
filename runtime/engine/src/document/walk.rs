//! Reading a checked text again, from mark to mark.

use super::lexeme;
use super::marks::{Mark, Marks, below};
use super::node::{Node, OBJECT, offset};
use super::scan::{self, Specials};

/// A place in a checked text, and the first mark that is not before it.
#[derive(Clone, Copy)]
pub(super) struct Walk<'a> {
    marks: &'a Marks,
    text: &'a str,
    at: usize,
    next: usize,
    /// Where that mark begins; the end of all texts, if there is none.
    next_start: usize,
}

impl<'a> Walk<'a> {
    /// At an offset where something begins.
    pub(super) fn new(marks: &'a Marks, text: &'a str, at: u32) -> Self {
        let next = below(&marks.starts, |start| *start, at);
        let mut walk = Self { marks, text, at: at as usize, next, next_start: 0 };
        walk.set_next(next);
        walk
    }

    pub(super) fn text(&self) -> &'a str {
        self.text
    }

    pub(super) fn place(&self) -> u32 {
        offset(self.at)
    }

    pub(super) fn byte(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn set_next(&mut self, next: usize) {
        self.next = next;
        self.next_start = self.marks.starts.get(next).map_or(usize::MAX, |start| *start as usize);
    }

    /// The mark of what begins here.
    pub(super) fn mark(&self) -> Option<Mark> {
        if self.at == self.next_start { self.marks.marks.get(self.next).copied() } else { None }
    }

    /// Goes past what begins here if it is marked.
    fn jump(&mut self) -> bool {
        let Some(mark) = self.mark() else { return false };
        self.at = mark.end as usize;
        self.set_next(mark.next as usize);
        true
    }

    fn space(&mut self) {
        if matches!(self.byte(), Some(b' ' | b'\t' | b'\n' | b'\r')) && !self.jump() {
            self.at = lexeme::space(self.text.as_bytes(), self.at);
        }
    }

    /// Goes into an array or object, to what is first there.
    pub(super) fn enter(&mut self) {
        if self.at == self.next_start {
            self.set_next(self.next + 1);
        }
        self.at += 1;
        self.space();
    }

    /// After a value: goes to what comes after the comma; false if the array or object ends here.
    fn comma(&mut self) -> bool {
        self.space();
        let follows = self.byte() == Some(b',');
        self.at += 1;
        if follows {
            self.space();
        }
        follows
    }

    /// Goes past the name that begins here, and past its colon.
    pub(super) fn name(&mut self) {
        self.string();
        self.space();
        self.at += 1;
        self.space();
    }

    /// Goes past the string that begins here.
    fn string(&mut self) {
        if !self.jump() {
            self.at = string_end(self.text.as_bytes(), self.at + 1).0;
        }
    }

    /// The node of the name that begins here.
    pub(super) fn name_here(&self) -> Node {
        match self.mark() {
            Some(mark) => Node::scalar(self.at + 1, (mark.end as usize).saturating_sub(1), mark.count),
            None => name(self.text, offset(self.at + 1)),
        }
    }

    /// The node of a name whose content begins at an offset anywhere in the text.
    pub(super) fn name_at(&self, start: u32) -> Node {
        // Most are short: then nothing is to be looked for.
        let bytes = self.text.as_bytes();
        if let Some(chunk) = bytes.get(start as usize..).and_then(|rest| rest.first_chunk()) {
            let end = start as usize + scan::plain(chunk);
            if end < start as usize + chunk.len() && bytes.get(end) == Some(&b'"') {
                return Node::scalar(start as usize, end, 0);
            }
        }
        Walk::new(self.marks, self.text, start.saturating_sub(1)).name_here()
    }

    /// The name that begins here, in an object that was gone into; goes to the next one. None at the end.
    pub(super) fn next_name(&mut self) -> Option<Node> {
        if self.byte() != Some(b'"') {
            return None;
        }
        let name = self.name_here();
        self.name();
        self.skip();
        self.comma();
        Some(name)
    }

    /// Goes to the value of the member with this name, in an object that was gone into.
    pub(super) fn find_name(mut self, name: &str) -> Option<Self> {
        while self.byte() == Some(b'"') {
            let found = self.name_here().is_named(self.text, name);
            self.name();
            if found {
                return Some(self);
            }
            self.skip();
            if !self.comma() {
                break;
            }
        }
        None
    }

    /// Goes past so many elements of an array that was gone into. None if there is no other after them.
    pub(super) fn pass(mut self, elements: u32) -> Option<Self> {
        if self.byte() == Some(b']') {
            return None;
        }
        for _ in 0..elements {
            self.skip();
            if !self.comma() {
                return None;
            }
        }
        Some(self)
    }

    /// Goes past the value that begins here.
    fn skip(&mut self) {
        let bytes = self.text.as_bytes();
        let mut depth = 0_usize;
        loop {
            if !self.jump() {
                match self.byte() {
                    Some(b'"') => self.at = string_end(bytes, self.at + 1).0,
                    Some(b'{' | b'[') => {
                        depth += 1;
                        self.at += 1;
                    }
                    Some(b'}' | b']') => {
                        depth = depth.saturating_sub(1);
                        self.at += 1;
                    }
                    Some(_) if depth > 0 => self.at += 1,
                    Some(first) => self.at = short_end(bytes, self.at, first),
                    None => return,
                }
            }
            if depth == 0 {
                return;
            }
        }
    }

    /// The node of the value that begins here.
    pub(super) fn node(mut self) -> Option<Node> {
        let start = self.at;
        let first = self.byte()?;
        let link = match first {
            b'{' => OBJECT,
            b'[' => 1,
            _ => 0,
        };
        if let Some(mark) = self.mark() {
            return Some(Node { start: offset(start), end: mark.end, count: mark.count, link });
        }
        if link == 0 {
            let (end, escaped) = match first {
                b'"' => string_end(self.text.as_bytes(), start + 1),
                _ => (short_end(self.text.as_bytes(), start, first), false),
            };
            let saved = if escaped { saved(self.text.as_bytes(), start + 1) } else { 0 };
            return Some(Node::scalar(start, end, saved));
        }
        let count = self.count(first);
        Some(Node { start: offset(start), end: self.place(), count, link })
    }

    /// Goes past the array or object that begins here and counts what is in it.
    fn count(&mut self, first: u8) -> u32 {
        self.enter();
        if matches!(self.byte(), Some(b'}' | b']')) {
            self.at += 1;
            return 0;
        }
        let mut count = 1;
        loop {
            if first == b'{' {
                self.name();
            }
            self.skip();
            if !self.comma() {
                return count;
            }
            count += 1;
        }
    }
}

/// Where a number or a literal ends.
fn short_end(bytes: &[u8], start: usize, first: u8) -> usize {
    match first {
        b't' | b'n' => start + 4,
        b'f' => start + 5,
        // It was checked; whatever else stood here, going on ends.
        _ => lexeme::number(bytes, start).unwrap_or(start + 1),
    }
}

/// Where the string ends whose content begins at `at`, its quote included, and whether it has escapes.
fn string_end(bytes: &[u8], mut at: usize) -> (usize, bool) {
    let mut escaped = false;
    loop {
        at = match bytes.get(at..).and_then(|rest| rest.first_chunk()) {
            Some(chunk) => {
                let plain = scan::plain(chunk);
                if plain == chunk.len() {
                    at += plain;
                    continue;
                }
                at + plain
            }
            None => at,
        };
        match bytes.get(at) {
            Some(b'"') => return (at + 1, escaped),
            Some(b'\\') => {
                escaped = true;
                at += 2;
            }
            Some(_) => at += 1,
            None => return (bytes.len(), escaped),
        }
    }
}

/// The node of the name whose content begins at `start`, from the text alone.
pub(super) fn name(text: &str, start: u32) -> Node {
    let start = start as usize;
    let (end, escaped) = string_end(text.as_bytes(), start);
    let saved = if escaped { saved(text.as_bytes(), start) } else { 0 };
    Node::scalar(start, end.saturating_sub(1), saved)
}

/// How many bytes resolving the escapes saves in the string whose content begins at `start`.
fn saved(bytes: &[u8], start: usize) -> u32 {
    lexeme::string(bytes, &mut Specials::new(bytes), start).map_or(0, |(_, saved)| saved)
}
