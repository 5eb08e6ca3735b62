//! Look-up by JSON Pointer. Its cost depends on the pointer alone (and on the logarithm of an object's size), so that
//! a price can be put on it before it is done.

use std::borrow::Cow;

use super::{Document, Node};

impl Document {
    /// The node at a pointer that is known to be well formed.
    pub(crate) fn find(&self, pointer: &str) -> Option<&Node> {
        self.parsed().tape.node(self.place(pointer)?)
    }

    /// The place of that node.
    pub(super) fn place(&self, pointer: &str) -> Option<u32> {
        let (text, tape) = (&self.parsed().text, &self.parsed().tape);
        let (mut place, mut rest) = (self.0.root, pointer);
        while let Some(segments) = rest.strip_prefix('/') {
            // Segments are short: counting is faster than searching.
            let length = segments.bytes().take_while(|byte| *byte != b'/').count();
            let (segment, others) = segments.split_at_checked(length)?;
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
