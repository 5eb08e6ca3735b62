//! Look-up by JSON Pointer. Its cost depends on the pointer alone (and on the logarithm of a size), so that a price can
//! be put on it before it is done.

use std::borrow::Cow;

use super::marks::Marks;
use super::node::{Node, Tape};
use super::walk::Walk;
use super::{Document, Index, Parsed};

impl Document {
    /// The node at a pointer that is known to be well formed.
    #[inline(always)]
    pub(crate) fn find(&self, pointer: &str) -> Option<Node> {
        let Parsed { text, index } = self.parsed();
        match index {
            Index::Tape(tape) => tape.node(on_tape(text, tape, self.0.root, pointer)?).copied(),
            Index::Marks(marks) => between_marks(text, marks, self.0.root, pointer)?.node(),
        }
    }

    /// The place of that node.
    pub(super) fn place(&self, pointer: &str) -> Option<u32> {
        let Parsed { text, index } = self.parsed();
        match index {
            Index::Tape(tape) => on_tape(text, tape, self.0.root, pointer),
            Index::Marks(marks) => between_marks(text, marks, self.0.root, pointer).map(|walk| walk.place()),
        }
    }
}

#[inline(never)]
fn on_tape(text: &str, tape: &Tape, root: u32, pointer: &str) -> Option<u32> {
    let (mut place, mut rest) = (root, pointer);
    while let Some(segments) = rest.strip_prefix('/') {
        let (segment, others) = first_segment(segments)?;
        let node = tape.node(place)?;
        place = if node.is_object() {
            tape.member(text, node, &reference_token(segment))?
        } else {
            tape.element(node, array_index(segment)?)?
        };
        rest = others;
    }
    Some(place)
}

#[inline(never)]
fn between_marks<'a>(text: &'a str, marks: &'a Marks, root: u32, pointer: &str) -> Option<Walk<'a>> {
    let (mut walk, mut rest) = (Walk::new(marks, text, root), pointer);
    while let Some(segments) = rest.strip_prefix('/') {
        let (segment, others) = first_segment(segments)?;
        walk = match walk.byte() {
            Some(b'{') => marks.member(walk, &reference_token(segment))?,
            Some(b'[') => marks.element(walk, array_index(segment)?)?,
            _ => return None,
        };
        rest = others;
    }
    Some(walk)
}

/// The first of some segments, and what follows it.
#[inline(always)]
fn first_segment(segments: &str) -> Option<(&str, &str)> {
    // Segments are short: counting is faster than searching.
    let length = segments.bytes().take_while(|byte| *byte != b'/').count();
    segments.split_at_checked(length)
}

/// Resolves `~1` and then `~0`, as RFC 6901 section 4 asks.
#[inline(always)]
fn reference_token(segment: &str) -> Cow<'_, str> {
    if segment.bytes().any(|byte| byte == b'~') {
        Cow::Owned(segment.replace("~1", "/").replace("~0", "~"))
    } else {
        Cow::Borrowed(segment)
    }
}

/// An array index of RFC 6901: decimal digits without leading zeros. `-`, the element after the last, is never there.
#[inline(always)]
fn array_index(segment: &str) -> Option<u32> {
    let canonical = segment == "0" || !segment.starts_with('0');
    let digits = !segment.is_empty() && segment.bytes().all(|byte| byte.is_ascii_digit());
    (canonical && digits).then(|| segment.parse().ok())?
}
