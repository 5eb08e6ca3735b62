//! Where to go in a large document: as few marks as keep every look-up short, made once at the door.
//!
//! The tape of a small document has each value, many times the bytes of a short one. Data of 100 MB is for long in
//! memory, and few of its values are ever read. So here only what is heavy is marked: a value, a name or white space of
//! more than [`WEIGHT_MAX`] bytes, of which a mark inside counts a few. Between marks the text itself is read again, never
//! more than about twice that many bytes a reference token. A marked object has the places of its names, and in the order
//! of their hashes; a marked array has every so many bytes the place of an element.

use std::cmp::Ordering;

use super::node::{Node, WALKED_CHILDREN_MAX};
use super::order::{hash_of, place};
use super::text::{compare, hash};
use super::walk::Walk;

/// So much of a value may have no mark, in bytes.
pub(super) const WEIGHT_MAX: u32 = 256;

/// What is marked begins at the offset of the same index in `starts`.
#[derive(Clone, Copy, Default)]
pub(super) struct Mark {
    /// The byte after it.
    pub(super) end: u32,
    /// As in [`Node`].
    pub(super) count: u32,
    /// The index of the first mark that is not inside.
    pub(super) next: u32,
    /// Of an object where its names begin, or its keys if it is large; of an array where its samples begin.
    pub(super) table: u32,
    /// Of a large object where its buckets begin; of an array how many samples it has.
    pub(super) more: u32,
}

/// The place of one element of a marked array.
#[derive(Clone, Copy)]
pub(super) struct Sample {
    pub(super) index: u32,
    pub(super) start: u32,
}

/// The marks of a document.
#[derive(Default)]
pub(super) struct Marks {
    /// Where the outermost value begins.
    pub(super) root: u32,
    /// Ascending.
    pub(super) starts: Vec<u32>,
    pub(super) marks: Vec<Mark>,
    /// Of each marked object that is not large where its names begin, after their quotes, in document order.
    pub(super) names: Vec<u32>,
    /// Of each large object the keys of its names, ordered by hash and content. Their places are where they begin.
    pub(super) sorted: Vec<u64>,
    /// Of each large object, by the first bits of a hash, where in `sorted` those names begin; then where they all end.
    pub(super) buckets: Vec<u32>,
    pub(super) samples: Vec<Sample>,
}

impl Marks {
    /// Gives back what was reserved in vain.
    pub(super) fn fit(&mut self) {
        self.starts.shrink_to_fit();
        self.marks.shrink_to_fit();
        self.names.shrink_to_fit();
        self.sorted.shrink_to_fit();
        self.buckets.shrink_to_fit();
        self.samples.shrink_to_fit();
    }

    /// The node of the value at an offset.
    pub(super) fn node(&self, text: &str, at: u32) -> Option<Node> {
        Walk::new(self, text, at).node()
    }

    /// The names of the object at an offset.
    pub(super) fn names<'a>(&'a self, text: &'a str, at: u32) -> Names<'a> {
        let mut walk = Walk::new(self, text, at);
        let starts = match walk.mark() {
            Some(mark) if mark.count <= WALKED_CHILDREN_MAX => self.names_of(&mark).to_vec(),
            Some(mark) => {
                let keys = slice(&self.sorted, mark.table, mark.count);
                let mut starts: Vec<u32> = keys.iter().map(|key| place(*key)).collect();
                starts.sort_unstable();
                starts
            }
            None => {
                walk.enter();
                return Names::Walked(walk);
            }
        };
        Names::Marked(walk, starts.into_iter())
    }

    /// Of a marked object that is not large.
    fn names_of(&self, object: &Mark) -> &[u32] {
        slice(&self.names, object.table, object.count)
    }

    /// Goes from an object to the value of the member with this name.
    pub(super) fn member<'a>(&'a self, mut walk: Walk<'a>, name: &str) -> Option<Walk<'a>> {
        let Some(mark) = walk.mark() else {
            walk.enter();
            return walk.find_name(name);
        };
        let start = if mark.count <= WALKED_CHILDREN_MAX {
            let is_named = |start: &&u32| walk.name_at(**start).is_named(walk.text(), name);
            *self.names_of(&mark).iter().find(is_named)?
        } else {
            self.sorted_name(&walk, &mark, name)?
        };
        let mut walk = Walk::new(self, walk.text(), start.saturating_sub(1));
        walk.name();
        Some(walk)
    }

    /// Where a name of a large object begins.
    fn sorted_name(&self, walk: &Walk<'_>, object: &Mark, name: &str) -> Option<u32> {
        let text = walk.text();
        let wanted = hash(name.as_bytes());
        let bucket = bucket(wanted, object.count);
        let bounds = slice(&self.buckets, object.more.checked_add(bucket)?, 2);
        let [start, end] = *bounds else { return None };
        let keys = slice(&self.sorted, start, end.checked_sub(start)?);
        let order = |key: &u64| -> Ordering {
            hash_of(*key).cmp(&wanted).then_with(|| {
                let found = walk.name_at(place(*key));
                compare(found.source(text), found.escaped(), name, false)
            })
        };
        keys.get(keys.binary_search_by(order).ok()?).map(|key| place(*key))
    }

    /// Goes from an array to one of its elements.
    pub(super) fn element<'a>(&'a self, mut walk: Walk<'a>, index: u32) -> Option<Walk<'a>> {
        let Some(mark) = walk.mark() else {
            walk.enter();
            return walk.pass(index);
        };
        if index >= mark.count {
            return None;
        }
        let samples = slice(&self.samples, mark.table, mark.more);
        let before = below(samples, |sample| sample.index, index + 1);
        match before.checked_sub(1).and_then(|last| samples.get(last)) {
            Some(sample) => Walk::new(self, walk.text(), sample.start).pass(index - sample.index),
            None => {
                walk.enter();
                walk.pass(index)
            }
        }
    }
}

/// `count` from `start` on; none if they are not all there.
fn slice<T>(all: &[T], start: u32, count: u32) -> &[T] {
    let start = start as usize;
    all.get(start..start.saturating_add(count as usize)).unwrap_or_default()
}

/// How many come before the first one whose key is not less than `bound`; keys ascend. They mostly do so evenly, so a
/// guess is near, and touches less memory than a binary search.
pub(super) fn below<T>(all: &[T], key: impl Fn(&T) -> u32, bound: u32) -> usize {
    const NEAR: usize = 16;
    const GUESSES: usize = 4;
    let at = |index: usize| all.get(index).map_or(u32::MAX, &key);
    let (mut low, mut high) = (0, all.len());
    for _ in 0..GUESSES {
        if high - low <= 2 * NEAR {
            break;
        }
        let (first, last) = (at(low), at(high - 1));
        if bound <= first || bound > last {
            return if bound <= first { low } else { high };
        }
        let share = u64::from(bound - first) * (high - low) as u64 / (u64::from(last - first) + 1);
        let guess = low + share as usize;
        let (before, after) = (guess.saturating_sub(NEAR).max(low), (guess + NEAR).min(high - 1));
        if at(before) >= bound {
            high = before;
        } else if at(after) < bound {
            low = after;
        } else {
            (low, high) = (before, after);
        }
    }
    low + all.get(low..high).unwrap_or_default().partition_point(|item| key(item) < bound)
}

/// How many bits of a hash tell the buckets of a large object apart: two to four names have one.
pub(super) fn bucket_bits(count: u32) -> u32 {
    (count / 2).max(1).ilog2()
}

/// The bucket of a hash.
pub(super) fn bucket(hash: u32, count: u32) -> u32 {
    let bits = bucket_bits(count);
    hash.checked_shr(u32::BITS - bits).unwrap_or(0)
}

/// The names of an object, in document order.
pub(super) enum Names<'a> {
    /// From where they begin.
    Marked(Walk<'a>, std::vec::IntoIter<u32>),
    Walked(Walk<'a>),
}

impl Iterator for Names<'_> {
    type Item = Node;

    fn next(&mut self) -> Option<Node> {
        match self {
            Names::Marked(walk, starts) => starts.next().map(|start| walk.name_at(start)),
            Names::Walked(walk) => walk.next_name(),
        }
    }
}
