//! Documents: the question's input and the tenant's data, as the host keeps them for a policy to read.
//!
//! One structural pass at the door refuses what is not strict JSON (RFC 8259, UTF-8, no duplicate names, no lone
//! surrogates, bounded depth and size), and keeps where each value is. Values materialise when they are read; numbers
//! keep their text. Nothing here recurses, and no look-up scans more than its pointer.

mod error;
mod lookup;
mod node;
mod parse;
#[cfg(test)]
mod tests;
mod text;

use std::borrow::Cow;
use std::fmt;
use std::sync::{Arc, OnceLock};

use verdict_core::digest::Digest;
use verdict_core::pointer::Pointer;

pub use error::{DocumentError, DocumentErrorKind};
use node::Kind;
pub(crate) use node::Node;
use text::{unescaped, unescaped_bytes};

/// How large and how deep a document may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DocumentLimits {
    /// Bytes of the document; 4 GiB is the most that any host takes.
    pub bytes_max: u64,
    /// How many arrays and objects may be open at once.
    pub depth_max: u32,
}

/// The depth that is allowed where nobody says otherwise.
pub const DOCUMENT_DEPTH_MAX: u32 = 128;

impl Default for DocumentLimits {
    /// 1 MiB, and a depth of [`DOCUMENT_DEPTH_MAX`].
    fn default() -> Self {
        Self { bytes_max: 1 << 20, depth_max: DOCUMENT_DEPTH_MAX }
    }
}

/// A JSON document that has been checked. A clone is cheap and shares the bytes.
#[derive(Clone)]
pub struct Document(Arc<Inner>);

struct Inner {
    text: String,
    /// Every value but the root. The children of a container are next to each other, in document order.
    nodes: Vec<Node>,
    root: Node,
    digest: OnceLock<Digest>,
}

/// One JSON value, without what is inside it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value<'a> {
    /// `null`.
    Null,
    /// `true` or `false`.
    Boolean(bool),
    /// The exact text of a number.
    Number(&'a str),
    /// A string with its escapes resolved.
    Text(Cow<'a, str>),
    /// An array, and how many elements it has.
    Array(u32),
    /// An object, and how many members it has.
    Object(u32),
}

impl Document {
    /// Checks `bytes` and keeps them.
    ///
    /// # Errors
    /// With the kind and the byte offset of the first thing that is wrong.
    pub fn parse(bytes: impl Into<Vec<u8>>, limits: &DocumentLimits) -> Result<Self, DocumentError> {
        let bytes = bytes.into();
        let size = u32::try_from(bytes.len()).ok().filter(|size| u64::from(*size) <= limits.bytes_max);
        if size.is_none() {
            let offset = usize::try_from(limits.bytes_max).unwrap_or(usize::MAX).min(bytes.len());
            return Err(DocumentError::new(DocumentErrorKind::TooLarge, offset));
        }
        let text = String::from_utf8(bytes).map_err(|error| {
            DocumentError::new(DocumentErrorKind::NotUtf8, error.utf8_error().valid_up_to())
        })?;
        let (root, nodes) = parse::parse(&text, limits.depth_max)?;
        Ok(Self(Arc::new(Inner { text, nodes, root, digest: OnceLock::new() })))
    }

    /// The exact text.
    pub fn text(&self) -> &str {
        &self.0.text
    }

    /// The digest of the exact bytes; computed once.
    pub fn digest(&self) -> Digest {
        *self.0.digest.get_or_init(|| Digest::of(self.0.text.as_bytes()))
    }

    /// The value at `pointer`.
    pub fn read(&self, pointer: &Pointer) -> Option<Value<'_>> {
        self.find(pointer.as_str()).map(|node| self.value(node))
    }

    /// The member names of the object at `pointer`, in document order; none if there is no object there.
    pub fn keys(&self, pointer: &Pointer) -> Option<Vec<Cow<'_, str>>> {
        self.names(self.find(pointer.as_str())?).map(Iterator::collect)
    }

    /// The exact source text of the value at `pointer`.
    pub fn json(&self, pointer: &Pointer) -> Option<&str> {
        self.find(pointer.as_str()).map(|node| self.source(node))
    }

    /// What a node is.
    pub(crate) fn value(&self, node: &Node) -> Value<'_> {
        let source = self.source(node);
        match node.kind {
            Kind::Null => Value::Null,
            Kind::True => Value::Boolean(true),
            Kind::False => Value::Boolean(false),
            Kind::Number => Value::Number(source),
            Kind::Text | Kind::EscapedText => {
                Value::Text(unescaped(inside(source), node.kind == Kind::EscapedText))
            }
            Kind::Array => Value::Array(node.count),
            Kind::Object => Value::Object(node.count),
        }
    }

    /// How many bytes of text the value of a node has, before it is made.
    pub(crate) fn text_bytes(&self, node: &Node) -> usize {
        let source = self.source(node);
        match node.kind {
            Kind::Number => source.len(),
            Kind::Text | Kind::EscapedText => unescaped_bytes(inside(source), node.kind == Kind::EscapedText),
            _ => 0,
        }
    }

    /// How many bytes the names of an object's members have, before they are made.
    pub(crate) fn names_bytes(&self, node: &Node) -> Option<usize> {
        let children = (node.kind == Kind::Object).then(|| self.children(node))?;
        let bytes = |child: &Node| unescaped_bytes(child.name.of(&self.0.text), child.name.escaped());
        Some(children.iter().map(bytes).sum())
    }

    /// The names of an object's members, in document order.
    pub(crate) fn names(&self, node: &Node) -> Option<impl Iterator<Item = Cow<'_, str>>> {
        let children = (node.kind == Kind::Object).then(|| self.children(node))?;
        Some(children.iter().map(|child| unescaped(child.name.of(&self.0.text), child.name.escaped())))
    }

    /// The exact text of a node.
    pub(crate) fn source(&self, node: &Node) -> &str {
        self.0.text.get(node.start as usize..node.end as usize).unwrap_or_default()
    }

    fn children(&self, node: &Node) -> &[Node] {
        node.children(&self.0.nodes)
    }
}

/// A string's source without its quotes.
fn inside(source: &str) -> &str {
    source.get(1..source.len().saturating_sub(1)).unwrap_or_default()
}

impl fmt::Debug for Document {
    /// Says how large it is, not what is in it: documents hold personal data.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Document").field("bytes", &self.0.text.len()).finish_non_exhaustive()
    }
}
