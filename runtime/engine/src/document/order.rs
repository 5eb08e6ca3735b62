//! The tables of large arrays and objects, and the refusal of names that are there twice.

use std::cmp::Ordering;

use super::error::{DocumentError, DocumentErrorKind};
use super::node::{Node, Tape, WALKED_CHILDREN_MAX, is_flat, offset};
use super::text::compare;

/// In objects with more members than this, a duplicate is reported for the first name in order that has one. In others
/// it is the first member that has the name of an earlier one.
const REPORTED_AS_READ_MAX: usize = 8;

/// Makes the table of an array that has ended, if it needs one; where it begins.
pub(super) fn array_table(tape: &mut Tape, array: &Node, next: u32) -> u32 {
    if array.count <= WALKED_CHILDREN_MAX || is_flat(array, next) {
        return 0;
    }
    let mut tables = std::mem::take(&mut tape.tables);
    let table = offset(tables.len());
    tables.extend(tape.elements(*array));
    tape.tables = tables;
    table
}

/// Refuses an object that has a name twice, and makes the table of a large one; where it begins.
#[inline(always)]
pub(super) fn object_table(
    text: &str,
    tape: &mut Tape,
    object: &Node,
    hashes: Hashes,
) -> Result<u32, DocumentError> {
    let node = |place: u32| tape.node(place).copied().unwrap_or_default();
    if object.count <= WALKED_CHILDREN_MAX {
        let names = || tape.names(*object).map(node);
        return if hashes.twice { refuse_duplicate(text, names) } else { Ok(()) }.map(|()| 0);
    }
    let mut keys: Vec<u64> = tape.names(*object).map(|place| key(node(place).link, place)).collect();
    sort(text, &mut keys, node)?;
    let table = offset(tape.tables.len());
    tape.tables.extend(keys.into_iter().map(place));
    Ok(table)
}

/// Sorts the names of a large object and refuses one that is there twice. `name` knows them by their places, which
/// ascend as long as keys are not sorted.
///
/// They are ordered by their hashes, and by their contents only where hashes are the same. So names that were made to
/// have one hash cost what ordering all by contents would.
#[inline(never)]
pub(super) fn sort(text: &str, keys: &mut [u64], name: impl Fn(u32) -> Node) -> Result<(), DocumentError> {
    let name = |key: &u64| name(place(*key));
    let compared = |a: &u64, b: &u64| compared(text, &name(a), &name(b));
    keys.sort_unstable();
    for same in keys.chunk_by_mut(|a, b| a >> 32 == b >> 32).filter(|same| same.len() > 1) {
        same.sort_by(compared);
        if same.array_windows().any(|[a, b]| compared(a, b).is_eq()) {
            return Err(duplicate_in_order(text, keys.iter().map(name).collect()));
        }
    }
    Ok(())
}

/// A name's hash and its place, in that order.
pub(super) fn key(hash: u32, place: u32) -> u64 {
    u64::from(hash) << 32 | u64::from(place)
}

/// The upper half of a key.
pub(super) fn hash_of(key: u64) -> u32 {
    (key >> 32) as u32
}

/// The lower half.
pub(super) fn place(key: u64) -> u32 {
    key as u32
}

/// Which hashes the names of an object have, as far as six bits tell them apart.
#[derive(Clone, Copy, Default)]
pub(super) struct Hashes {
    seen: u64,
    /// Whether two may be the same.
    pub(super) twice: bool,
}

impl Hashes {
    #[inline(always)]
    pub(super) fn add(&mut self, hash: u32) {
        self.twice |= self.seen >> (hash % 64) & 1 == 1;
        self.seen |= 1 << (hash % 64);
    }

    /// As they lie on the tape while an array or object inside is open.
    #[inline(always)]
    pub(super) fn node(self) -> Node {
        let (high, low) = ((self.seen >> 32) as u32, self.seen as u32);
        Node { start: low, end: high, count: u32::from(self.twice), link: 0 }
    }

    #[inline(always)]
    pub(super) fn of(node: &Node) -> Self {
        Self { seen: u64::from(node.end) << 32 | u64::from(node.start), twice: node.count != 0 }
    }
}

/// Compares all names of an object that is not large, if need be by content.
#[inline(never)]
pub(super) fn refuse_duplicate<N: Iterator<Item = Node>>(
    text: &str,
    names: impl Fn() -> N,
) -> Result<(), DocumentError> {
    let mut earlier = [Node::default(); WALKED_CHILDREN_MAX as usize];
    for (n, name) in names().enumerate() {
        let same = |other: &Node| other.link == name.link && compared(text, other, &name).is_eq();
        if earlier.iter().take(n).any(same) {
            let as_read = names().count() <= REPORTED_AS_READ_MAX;
            return Err(if as_read { duplicate(&name) } else { duplicate_in_order(text, names().collect()) });
        }
        if let Some(slot) = earlier.get_mut(n) {
            *slot = name;
        }
    }
    Ok(())
}

/// The second member that has the first name in order that two have. Names that are the same are in document order.
#[cold]
fn duplicate_in_order(text: &str, mut names: Vec<Node>) -> DocumentError {
    names.sort_by(|a, b| compared(text, a, b));
    let second = names.array_windows().find(|[a, b]| compared(text, a, b).is_eq()).map(|[_, second]| *second);
    duplicate(&second.unwrap_or_default())
}

fn duplicate(name: &Node) -> DocumentError {
    DocumentError::new(DocumentErrorKind::DuplicateName, (name.start as usize).saturating_sub(1))
}

fn compared(text: &str, a: &Node, b: &Node) -> Ordering {
    compare(a.source(text), a.escaped(), b.source(text), b.escaped())
}
