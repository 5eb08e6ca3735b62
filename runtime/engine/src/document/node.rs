//! Where a value is. The nodes of a document are its index: one tape in document order, 16 bytes a node.
//!
//! A scalar is one node, a member's name one before its value. An array or object is two, its [`Node`] and its
//! [`Extent`], and what is inside it follows. So a value is passed by without looking at what is in it.

use super::text::{compare, hash, hash_between, unescaped};

/// One value of a document, or the name of a member.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Node {
    /// Byte offsets of the source; of a name, of what is between its quotes.
    pub(super) start: u32,
    pub(super) end: u32,
    /// How many children an array or object has; of a string or a name, how many bytes resolving its escapes saves.
    pub(crate) count: u32,
    /// Of an array or object the place of its first child, and [`OBJECT`]; of a name the hash of its content; of a
    /// scalar 0.
    pub(super) link: u32,
}

/// The bit that tells an object from an array.
pub(super) const OBJECT: u32 = 1 << 31;

/// Arrays and objects with more children than this have a table of them, so that finding one takes no walk.
pub(super) const WALKED_CHILDREN_MAX: u32 = 16;

impl Node {
    /// An array or object whose own place is `place`.
    #[inline(always)]
    pub(super) fn container(object: bool, start: usize, end: u32, place: u32) -> Self {
        Self { start: offset(start), end, count: 0, link: (place + 2) | if object { OBJECT } else { 0 } }
    }

    /// A string, a number or a literal.
    #[inline(always)]
    pub(super) fn scalar(start: usize, end: usize, saved: u32) -> Self {
        Self { start: offset(start), end: offset(end), count: saved, link: 0 }
    }

    /// A name whose source is between these offsets.
    #[inline(always)]
    pub(super) fn name(text: &str, start: usize, end: usize, saved: u32) -> Self {
        let link = if saved == 0 {
            hash_between(text.as_bytes(), start, end)
        } else {
            hash(unescaped(text.get(start..end).unwrap_or_default(), true).as_bytes())
        };
        Self { start: offset(start), end: offset(end), count: saved, link }
    }

    /// Whether this value is an object.
    pub(crate) fn is_object(&self) -> bool {
        self.link & OBJECT != 0
    }

    /// The place of the first child of an array or object.
    pub(super) fn first(&self) -> u32 {
        self.link & !OBJECT
    }

    /// The exact source.
    pub(super) fn source<'a>(&self, text: &'a str) -> &'a str {
        text.get(self.start as usize..self.end as usize).unwrap_or_default()
    }

    /// Whether the content of this name is `name`.
    #[inline(always)]
    pub(super) fn is_named(&self, text: &str, name: &str) -> bool {
        if self.escaped() {
            return compare(self.source(text), true, name, false).is_eq();
        }
        let length = (self.end - self.start) as usize;
        length == name.len()
            && text.as_bytes().get(self.start as usize..self.end as usize) == Some(name.as_bytes())
    }

    /// Whether a string or a name has escapes.
    pub(super) fn escaped(&self) -> bool {
        self.count != 0
    }
}

/// The second node of an array or object.
#[derive(Clone, Copy)]
pub(super) struct Extent {
    /// The place after everything inside.
    pub(super) next: u32,
    /// Where its table begins, if it has one.
    pub(super) table: u32,
}

impl Extent {
    /// As it lies on the tape.
    pub(super) fn node(self) -> Node {
        Node { start: self.next, end: self.table, ..Node::default() }
    }
}

/// All values of a document.
#[derive(Default)]
pub(super) struct Tape {
    pub(super) nodes: Vec<Node>,
    /// One after the other: for a large object the places of its names, ordered by hash and content; for a large
    /// array that has arrays or objects inside, the places of its elements.
    pub(super) tables: Vec<u32>,
}

impl Tape {
    /// Gives back what a large tape reserved in vain: data stays for long.
    pub(super) fn fit(&mut self) {
        if self.nodes.capacity() > 2 * self.nodes.len() + 64 {
            self.nodes.shrink_to_fit();
        }
    }

    pub(super) fn node(&self, place: u32) -> Option<&Node> {
        self.nodes.get(place as usize)
    }

    fn extent(&self, container: &Node) -> Extent {
        let node = self.node(container.first().wrapping_sub(1)).copied().unwrap_or_default();
        Extent { next: node.start, table: node.end }
    }

    /// The place after the value at `place`.
    fn after(&self, place: u32) -> u32 {
        match self.node(place) {
            // Its extent is the next node.
            Some(node) if node.link != 0 => self.node(place + 1).map_or(place, |extent| extent.start),
            _ => place + 1,
        }
    }

    /// The places of an array's elements.
    pub(super) fn elements(&self, array: Node) -> impl Iterator<Item = u32> {
        let mut next = array.first();
        (0..array.count).map(move |_| {
            let place = next;
            next = self.after(place);
            place
        })
    }

    /// The places of the names of an object's members; the value of each is at the place after it.
    pub(super) fn names(&self, object: Node) -> impl Iterator<Item = u32> {
        let mut next = object.first();
        (0..object.count).map(move |_| {
            let place = next;
            next = self.after(place + 1);
            place
        })
    }

    /// The place of an element. A scalar has none.
    pub(super) fn element(&self, array: &Node, index: u32) -> Option<u32> {
        if array.link == 0 || index >= array.count {
            return None;
        }
        let extent = self.extent(array);
        if is_flat(array, extent.next) {
            Some(array.first() + index)
        } else if array.count > WALKED_CHILDREN_MAX {
            self.table(array, extent).get(index as usize).copied()
        } else {
            self.elements(*array).nth(index as usize)
        }
    }

    /// The place of the value of the member whose name is `name`.
    #[inline(always)]
    pub(super) fn member(&self, text: &str, object: &Node, name: &str) -> Option<u32> {
        let place = if object.count > WALKED_CHILDREN_MAX {
            let wanted = hash(name.as_bytes());
            let order = |place: &u32| {
                let node = self.node(*place).copied().unwrap_or_default();
                node.link.cmp(&wanted).then_with(|| compare(node.source(text), node.escaped(), name, false))
            };
            let table = self.table(object, self.extent(object));
            *table.get(table.binary_search_by(order).ok()?)?
        } else {
            self.names(*object)
                .find(|place| self.node(*place).is_some_and(|node| node.is_named(text, name)))?
        };
        Some(place + 1)
    }

    fn table(&self, container: &Node, extent: Extent) -> &[u32] {
        let start = extent.table as usize;
        self.tables.get(start..start + container.count as usize).unwrap_or_default()
    }
}

/// Whether an array has only scalars inside, when `next` is the place after it.
pub(super) fn is_flat(array: &Node, next: u32) -> bool {
    next - array.first() == array.count
}

/// Offsets and places fit: the text is shorter than 4 GiB, and no node stands for less than a byte.
#[inline(always)]
pub(super) fn offset(at: usize) -> u32 {
    at as u32
}
