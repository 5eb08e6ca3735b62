//! Documents: the question's input and the tenant's data, as the host keeps them for a policy to read.
//!
//! One structural pass at the door refuses what is not strict JSON (RFC 8259, UTF-8, no duplicate names, no lone
//! surrogates, bounded depth and size), and keeps where each value is. Values materialise when they are read; numbers
//! keep their text. Nothing here recurses, and no look-up scans more than its pointer.
//!
//! From the bytes up: `scan` looks at many at once, `lexeme` knows strings and numbers, `parse` puts them together and
//! something keeps them, `lookup` finds. Questions are small: a `tape` of `node`s has each value, `order` makes the
//! tables of what is large in it. Data may be large: `marking` makes a few `marks`, and a `walk` reads what is between.

mod error;
mod lexeme;
mod lookup;
mod marking;
mod marks;
mod node;
mod order;
mod parse;
mod scan;
mod tape;
#[cfg(test)]
mod tests;
mod text;
mod walk;

use std::borrow::Cow;
use std::fmt;
use std::sync::{Arc, OnceLock};

use verdict_core::digest::Digest;
use verdict_core::pointer::Pointer;

pub use error::{DocumentError, DocumentErrorKind};
use marking::Marking;
use marks::{Marks, WEIGHT_MAX};
pub(crate) use node::Node;
use node::Tape;
use tape::Growing;
use text::unescaped;

/// The longest text that gets a tape, in bytes. A tape is the fastest to read, and has up to 18 times the text; longer
/// texts get marks, which are small.
const TAPE_TEXT_BYTES_MAX: usize = 1 << 20;

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
    source: Source,
    /// The place of the outermost value: of a tape an index, of marks an offset.
    root: u32,
    digest: OnceLock<Digest>,
}

enum Source {
    Parsed(Parsed),
    /// A part of another document.
    Part(Document),
}

struct Parsed {
    text: String,
    index: Index,
}

/// Where things are in a text.
enum Index {
    Tape(Tape),
    /// Of a large one.
    Marks(Box<Marks>),
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
        if text.len() > TAPE_TEXT_BYTES_MAX {
            return Self::marked(text, limits.depth_max, WEIGHT_MAX);
        }
        let tape = parse::parse(&text, limits.depth_max, || Growing::new(text.len()))?;
        Ok(Self::new(Source::Parsed(Parsed { text, index: Index::Tape(tape) }), 0))
    }

    /// A large document, which stays for long.
    #[cold]
    #[inline(never)]
    fn marked(mut text: String, depth_max: u32, weight_max: u32) -> Result<Self, DocumentError> {
        let marks = Box::new(parse::parse(&text, depth_max, || Marking::new(weight_max))?);
        text.shrink_to_fit();
        let root = marks.root;
        Ok(Self::new(Source::Parsed(Parsed { text, index: Index::Marks(marks) }), root))
    }

    fn new(source: Source, root: u32) -> Self {
        Self(Arc::new(Inner { source, root, digest: OnceLock::new() }))
    }

    /// The value at `pointer` as a document of its own: its text is the exact source of that value, which is not
    /// copied nor parsed again. It keeps the bytes of the whole, and what was checked of the whole (its size, its depth)
    /// is not checked again.
    pub fn subdocument(&self, pointer: &Pointer) -> Option<Self> {
        let root = self.place(pointer.as_str())?;
        let whole = match &self.0.source {
            Source::Parsed(_) => self,
            Source::Part(whole) => whole,
        };
        Some(Self::new(Source::Part(whole.clone()), root))
    }

    /// The exact text.
    pub fn text(&self) -> &str {
        match &self.0.source {
            Source::Parsed(parsed) => &parsed.text,
            Source::Part(whole) => {
                let parsed = whole.parsed();
                parsed.node(self.0.root).map_or("", |root| root.source(&parsed.text))
            }
        }
    }

    /// The digest of the exact bytes; computed once.
    pub fn digest(&self) -> Digest {
        *self.0.digest.get_or_init(|| Digest::of(self.text().as_bytes()))
    }

    fn parsed(&self) -> &Parsed {
        match &self.0.source {
            Source::Parsed(parsed) => parsed,
            // Of a whole, so this goes no deeper.
            Source::Part(whole) => whole.parsed(),
        }
    }

    /// The value at `pointer`.
    pub fn read(&self, pointer: &Pointer) -> Option<Value<'_>> {
        self.find(pointer.as_str()).map(|node| self.value(&node))
    }

    /// The member names of the object at `pointer`, in document order; none if there is no object there.
    pub fn keys(&self, pointer: &Pointer) -> Option<Vec<Cow<'_, str>>> {
        self.names(&self.find(pointer.as_str())?).map(Iterator::collect)
    }

    /// The exact source text of the value at `pointer`.
    pub fn json(&self, pointer: &Pointer) -> Option<&str> {
        self.find(pointer.as_str()).map(|node| self.source(&node))
    }

    /// What a node is.
    pub(crate) fn value(&self, node: &Node) -> Value<'_> {
        let source = self.source(node);
        // In a document that was checked, the first byte of a value says what it is.
        match source.as_bytes().first() {
            Some(b'"') => Value::Text(unescaped(inside(source), node.escaped())),
            Some(b'{') => Value::Object(node.count),
            Some(b'[') => Value::Array(node.count),
            Some(b't') => Value::Boolean(true),
            Some(b'f') => Value::Boolean(false),
            Some(b'n') | None => Value::Null,
            Some(_) => Value::Number(source),
        }
    }

    /// How many bytes of text the value of a node has, before it is made.
    pub(crate) fn text_bytes(&self, node: &Node) -> usize {
        let source = self.source(node);
        match source.as_bytes().first() {
            Some(b'"') => inside(source).len() - node.count as usize,
            Some(b'-' | b'0'..=b'9') => source.len(),
            _ => 0,
        }
    }

    /// How many bytes the names of an object's members have, before they are made.
    pub(crate) fn names_bytes(&self, node: &Node) -> Option<usize> {
        let text = &self.parsed().text;
        let bytes = |name: Node| name.source(text).len() - name.count as usize;
        Some(self.name_nodes(node)?.map(bytes).sum())
    }

    /// The names of an object's members, in document order.
    pub(crate) fn names(&self, node: &Node) -> Option<impl Iterator<Item = Cow<'_, str>>> {
        let text = &self.parsed().text;
        let name = |name: Node| unescaped(name.source(text), name.escaped());
        Some(self.name_nodes(node)?.map(name))
    }

    /// The exact text of a node.
    pub(crate) fn source(&self, node: &Node) -> &str {
        node.source(&self.parsed().text)
    }

    fn name_nodes(&self, node: &Node) -> Option<impl Iterator<Item = Node>> {
        let Parsed { text, index } = self.parsed();
        let (tape, marks) = match index {
            _ if !node.is_object() => return None,
            Index::Tape(tape) => {
                (Some(tape.names(*node).filter_map(|place| tape.node(place).copied())), None)
            }
            Index::Marks(marks) => (None, Some(marks.names(text, node.start))),
        };
        Some(tape.into_iter().flatten().chain(marks.into_iter().flatten()))
    }
}

impl Parsed {
    /// The node at a place: of a tape an index, of marks an offset.
    fn node(&self, place: u32) -> Option<Node> {
        match &self.index {
            Index::Tape(tape) => tape.node(place).copied(),
            Index::Marks(marks) => marks.node(&self.text, place),
        }
    }
}

/// A string's source without its quotes.
fn inside(source: &str) -> &str {
    source.get(1..source.len().saturating_sub(1)).unwrap_or_default()
}

impl fmt::Debug for Document {
    /// Says how large it is, not what is in it: documents hold personal data.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Document").field("bytes", &self.text().len()).finish_non_exhaustive()
    }
}
