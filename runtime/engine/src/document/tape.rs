//! The tape as the structural pass makes it.

use super::error::{DocumentError, DocumentErrorKind};
use super::node::{Extent, Node, Tape, offset};
use super::order::{Hashes, array_table, object_table};
use super::parse::Keep;

/// The place of no array or object.
const NONE: u32 = u32::MAX;

/// The last place that an array or object can have; only a text of more than 2 GiB needs a later one.
const PLACE_MAX: u32 = (1 << 31) - 3;

/// A tape that grows.
pub(super) struct Growing {
    /// The place of the innermost array or object that is open. As long as it is, its node's `end` is the place of
    /// the one around it.
    open: u32,
    /// Whether that one is an object.
    object: bool,
    /// How many children it has so far; those of the ones around it are in their nodes.
    count: u32,
    /// Of the names that it has so far; those of the one around it are where its extent will be.
    hashes: Hashes,
    tape: Tape,
}

impl Growing {
    /// For a text of so many bytes.
    #[inline(always)]
    pub(super) fn new(text_bytes: usize) -> Self {
        let mut tape = Tape::default();
        // What names and values of usual length need, in a small text shorter ones; for others it doubles.
        tape.nodes.reserve(text_bytes.min(text_bytes / 8 + 24));
        Self { open: NONE, object: false, count: 0, hashes: Hashes::default(), tape }
    }
}

impl Keep for Growing {
    type Kept = Tape;

    #[inline(always)]
    fn is_inside(&self) -> bool {
        self.open != NONE
    }

    #[inline(always)]
    fn is_in_object(&self) -> bool {
        self.object
    }

    #[inline(always)]
    fn name(&mut self, text: &str, start: usize, end: usize, saved: u32) {
        let name = Node::name(text, start, end, saved);
        self.tape.nodes.push(name);
        self.hashes.add(name.link);
    }

    #[inline(always)]
    fn scalar(&mut self, start: usize, end: usize, saved: u32) {
        self.tape.nodes.push(Node::scalar(start, end, saved));
        self.count += 1;
    }

    #[inline(always)]
    fn space(&mut self, _: usize, _: usize) {}

    #[inline(always)]
    fn open(&mut self, object: bool, start: usize) -> Result<(), DocumentError> {
        if let Some(around) = self.tape.nodes.get_mut(self.open as usize) {
            around.count = self.count;
        }
        let place = offset(self.tape.nodes.len());
        if place > PLACE_MAX {
            return Err(DocumentError::new(DocumentErrorKind::TooLarge, start));
        }
        let node = Node::container(object, start, self.open, place);
        self.tape.nodes.extend([node, std::mem::take(&mut self.hashes).node()]);
        (self.open, self.object, self.count) = (place, object, 0);
        Ok(())
    }

    #[inline(always)]
    fn close(&mut self, text: &str, end: usize) -> Result<(), DocumentError> {
        let place = self.open as usize;
        let Some(node) = self.tape.nodes.get_mut(place) else { return Ok(()) };
        let around = std::mem::replace(&mut node.end, offset(end));
        node.count = self.count;
        let node = *node;
        let next = offset(self.tape.nodes.len());
        let table = if self.object {
            object_table(text, &mut self.tape, &node, self.hashes)?
        } else {
            array_table(&mut self.tape, &node, next)
        };
        if let Some(extent) = self.tape.nodes.get_mut(place + 1) {
            self.hashes = Hashes::of(extent);
            *extent = Extent { next, table }.node();
        }
        self.open = around;
        if let Some(around) = self.tape.nodes.get(around as usize) {
            self.count = around.count + 1;
            self.object = around.is_object();
        }
        Ok(())
    }

    #[inline(always)]
    fn finish(mut self) -> Tape {
        self.tape.fit();
        self.tape
    }
}
