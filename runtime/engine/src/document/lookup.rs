//! Look-up by JSON Pointer. Its cost depends on the pointer alone (and on the logarithm of an object's size), so that
//! a price can be put on it before it is done.

use std::borrow::Cow;
use std::cmp::Ordering;

use super::node::{Kind, Node};
use super::text::compare;
use super::{Document, parse};

impl Document {
    /// The node at a pointer that is known to be well formed.
    pub(crate) fn find(&self, pointer: &str) -> Option<&Node> {
        // The text before the first `/` is empty: `""` is the whole document.
        pointer.split('/').skip(1).try_fold(&self.0.root, |node, segment| match node.kind {
            Kind::Object => self.member(node, segment),
            Kind::Array => self.children(node).get(array_index(segment)?),
            _ => None,
        })
    }

    fn member(&self, object: &Node, segment: &str) -> Option<&Node> {
        let name = reference_token(segment);
        let children = self.children(object);
        let text = &self.0.text;
        let order = |child: &Node| compare(child.name.of(text), child.name.escaped(), &name, false);
        if children.len() <= parse::UNSORTED_MEMBERS_MAX {
            return children.iter().find(|child| order(child) == Ordering::Equal);
        }
        let nth = |n: &Node| children.get(n.order as usize);
        let found = children.binary_search_by(|n| nth(n).map_or(Ordering::Greater, order)).ok()?;
        children.get(found).and_then(nth)
    }
}

/// Resolves `~1` and then `~0`, as RFC 6901 section 4 asks.
fn reference_token(segment: &str) -> Cow<'_, str> {
    if segment.contains('~') {
        Cow::Owned(segment.replace("~1", "/").replace("~0", "~"))
    } else {
        Cow::Borrowed(segment)
    }
}

/// An array index of RFC 6901: decimal digits without leading zeros. `-`, the element after the last, is never there.
fn array_index(segment: &str) -> Option<usize> {
    let canonical = segment == "0" || !segment.starts_with('0');
    let digits = !segment.is_empty() && segment.bytes().all(|byte| byte.is_ascii_digit());
    (canonical && digits).then(|| segment.parse().ok())?
}
