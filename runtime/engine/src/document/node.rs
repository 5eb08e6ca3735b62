//! Where a value is. The nodes of a document are its index: 32 bytes a value.

/// What kind of value a node is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Null,
    True,
    False,
    Number,
    /// A string whose source is its content.
    Text,
    /// A string with escapes to resolve.
    EscapedText,
    Array,
    Object,
}

/// One value of a document.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Node {
    /// Byte offsets of the value's source.
    pub(crate) start: u32,
    pub(crate) end: u32,
    /// The first of its children and how many they are, for arrays and objects.
    pub(super) first: u32,
    pub(crate) count: u32,
    /// The name of the member, for children of objects.
    pub(super) name: Name,
    /// For children of large objects: the `n`th child says which child has the `n`th name in order.
    pub(super) order: u32,
    pub(crate) kind: Kind,
}

impl Node {
    /// The children, in document order; `nodes` are all nodes of the document.
    pub(super) fn children<'a>(&self, nodes: &'a [Self]) -> &'a [Self] {
        let first = self.first as usize;
        nodes.get(first..first + self.count as usize).unwrap_or_default()
    }
}

/// Where a member's name is, between its quotes.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Name {
    start: u32,
    /// The length in bytes, shifted by one; the lowest bit says whether there are escapes.
    length: u32,
}

impl Name {
    /// None when the name is too long for the index: 2 GiB.
    pub(super) fn new(start: u32, end: u32, escaped: bool) -> Option<Self> {
        let length = end.checked_sub(start)?.checked_mul(2)?;
        Some(Self { start, length: length | u32::from(escaped) })
    }

    pub(super) fn start(self) -> u32 {
        self.start
    }

    pub(super) fn escaped(self) -> bool {
        self.length & 1 == 1
    }

    /// The name's source.
    pub(super) fn of(self, text: &str) -> &str {
        let start = self.start as usize;
        text.get(start..start + (self.length >> 1) as usize).unwrap_or_default()
    }
}
