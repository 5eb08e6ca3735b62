//! Look-up by JSON Pointer. Its cost depends on the pointer alone (and on the logarithm of a size), so that a price can
//! be put on it before it is done.

use std::borrow::Cow;

use super::marks::Marks;
use super::node::{Node, Tape};
use super::walk::Walk;
use super::{Document, Index, Parsed};

impl Document {
    /// The node at a pointer that is known to be well formed.
    pub(crate) fn find(&self, pointer: &str) -> Option<Node> {
        let place = self.place(pointer)?;
        self.parsed().node(place)
    }

    /// The place of that node.
    pub(super) fn place(&self, pointer: &str) -> Option<u32> {
        let Parsed { text, index } = self.parsed();
        match index {
            Index::Tape(tape) => on_tape(text, tape, self.0.root, pointer),
            Index::Marks(marks) => between_marks(text, marks, self.0.root, pointer),
        }
    }
}

fn on_tape(text: &str, tape: &Tape, root: u32, pointer: &str) -> Option<u32> {
    let (mut place, mut rest) = (root, pointer);
    while let Some((segment, others)) = first_segment(rest) {
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

fn between_marks(text: &str, marks: &Marks, root: u32, pointer: &str) -> Option<u32> {
    let (mut walk, mut rest) = (Walk::new(marks, text, root), pointer);
    while let Some((segment, others)) = first_segment(rest) {
        walk = match walk.byte() {
            Some(b'{') => marks.member(walk, &reference_token(segment))?,
            Some(b'[') => marks.element(walk, array_index(segment)?)?,
            _ => return None,
        };
        rest = others;
    }
    Some(walk.place())
}

/// The first segment of a pointer and what follows it; none at its end.
#[inline(always)]
fn first_segment(pointer: &str) -> Option<(&str, &str)> {
    let segments = pointer.strip_prefix('/')?;
    // Segments are short: counting is faster than searching.
    let length = segments.bytes().take_while(|byte| *byte != b'/').count();
    segments.split_at_checked(length)
}

/// Resolves `~1` and then `~0`, as RFC 6901 section 4 asks.
fn reference_token(segment: &str) -> Cow<'_, str> {
    if segment.bytes().any(|byte| byte == b'~') {
        Cow::Owned(segment.replace("~1", "/").replace("~0", "~"))
    } else {
        Cow::Borrowed(segment)
    }
}

/// An array index of RFC 6901: decimal digits without leading zeros. `-`, the element after the last, is never there.
fn array_index(segment: &str) -> Option<u32> {
    let canonical = segment == "0" || !segment.starts_with('0');
    let digits = !segment.is_empty() && segment.bytes().all(|byte| byte.is_ascii_digit());
    (canonical && digits).then(|| segment.parse().ok())?
}
