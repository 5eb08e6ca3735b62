//! Marks as the structural pass makes them.

use super::error::DocumentError;
use super::marks::{Mark, Marks, Sample, bucket, bucket_bits};
use super::node::{Node, WALKED_CHILDREN_MAX, offset};
use super::order::{Hashes, hash_of, key, place, refuse_duplicate, sort};
use super::parse::Keep;
use super::walk;

/// What a mark counts for in what is around it, in bytes.
const MARK_WEIGHT: u32 = 16;

/// Marks that are being made.
pub(super) struct Marking {
    weight_max: u32,
    marks: Marks,
    /// What is marked, in the order in which it ended, and where it begins.
    marked: Vec<(u32, Mark)>,
    /// The innermost array or object that is open, and the ones around it.
    frame: Frame,
    around: Vec<Frame>,
    /// How much of the text so far does not count, because it is in marks.
    hidden: u32,
    /// Of the objects that are open, one after the other: hash and place of each name.
    names: Vec<u64>,
    /// The same of arrays.
    samples: Vec<Sample>,
}

/// An array or object that is open.
#[derive(Clone, Copy, Default)]
struct Frame {
    start: u32,
    object: bool,
    count: u32,
    hashes: Hashes,
    /// What was hidden when it began.
    hidden: u32,
    /// What had counted of the text at the last sample.
    sampled: u32,
    /// Where its names and its samples begin.
    names: usize,
    samples: usize,
}

impl Marking {
    /// `weight_max` is [`WEIGHT_MAX`](super::marks::WEIGHT_MAX) but in tests.
    pub(super) fn new(weight_max: u32) -> Self {
        Self {
            weight_max,
            marks: Marks::default(),
            marked: Vec::new(),
            frame: Frame::default(),
            around: Vec::new(),
            hidden: 0,
            names: Vec::new(),
            samples: Vec::new(),
        }
    }

    /// A value begins.
    #[inline(always)]
    fn child(&mut self, start: u32) {
        if self.around.is_empty() {
            self.marks.root = start;
            return;
        }
        let counted = start.saturating_sub(self.hidden);
        if !self.frame.object && counted.saturating_sub(self.frame.sampled) > self.weight_max {
            self.samples.push(Sample { index: self.frame.count, start });
            self.frame.sampled = counted;
        }
        self.frame.count += 1;
    }

    /// Marks what is long of what has nothing inside.
    #[inline(always)]
    fn lexeme(&mut self, start: usize, end: usize, saved: u32) {
        if end - start > self.weight_max as usize {
            self.mark(offset(start), Mark { end: offset(end), count: saved, ..Mark::default() });
        }
    }

    fn mark(&mut self, start: u32, mark: Mark) {
        self.hidden += (mark.end - start).saturating_sub(MARK_WEIGHT);
        self.marked.push((start, mark));
    }

    /// Refuses the object that ends if it has a name twice; makes its tables if it is marked.
    fn object(&mut self, text: &str, mark: Option<&mut Mark>) -> Result<(), DocumentError> {
        let names = self.names.get_mut(self.frame.names..).unwrap_or_default();
        let tables = &mut self.marks;
        if self.frame.count <= WALKED_CHILDREN_MAX {
            if let Some(mark) = mark {
                mark.table = offset(tables.names.len());
                tables.names.extend(names.iter().map(|key| place(*key)));
            }
            let node = |key: &u64| Node { link: hash_of(*key), ..walk::name(text, place(*key)) };
            let names = || names.iter().map(node);
            return if self.frame.hashes.twice { refuse_duplicate(text, names) } else { Ok(()) };
        }
        sort(text, names, |start| walk::name(text, start))?;
        if let Some(mark) = mark {
            (mark.table, mark.more) = (offset(tables.sorted.len()), offset(tables.buckets.len()));
            add_buckets(tables, names);
            tables.sorted.extend_from_slice(names);
        }
        Ok(())
    }

    /// Makes the table of the array that ends.
    fn array(&mut self, mark: &mut Mark) {
        let samples = self.samples.get(self.frame.samples..).unwrap_or_default();
        (mark.table, mark.more) = (offset(self.marks.samples.len()), offset(samples.len()));
        self.marks.samples.extend_from_slice(samples);
    }
}

/// Adds the buckets of a large object, whose sorted keys are about to be added.
fn add_buckets(tables: &mut Marks, names: &[u64]) {
    let (before, count) = (tables.sorted.len(), offset(names.len()));
    let buckets = 1_usize << bucket_bits(count);
    let mut begun = 0;
    for (n, key) in names.iter().enumerate() {
        let bucket = bucket(hash_of(*key), count) as usize;
        // The buckets between are empty.
        tables.buckets.extend((begun..=bucket).map(|_| offset(before + n)));
        begun = begun.max(bucket + 1);
    }
    tables.buckets.extend((begun..=buckets).map(|_| offset(before + names.len())));
}

/// Says of each mark which is the first that is not inside it.
fn link(starts: &[u32], marks: &mut [Mark]) {
    for n in (0..marks.len()).rev() {
        let Some(end) = marks.get(n).map(|mark| mark.end) else { continue };
        let mut next = n + 1;
        while starts.get(next).is_some_and(|start| *start < end) {
            next = marks.get(next).map_or(usize::MAX, |inside| inside.next as usize);
        }
        if let Some(mark) = marks.get_mut(n) {
            mark.next = offset(next);
        }
    }
}

impl Keep for Marking {
    type Kept = Marks;

    #[inline(always)]
    fn is_inside(&self) -> bool {
        !self.around.is_empty()
    }

    #[inline(always)]
    fn is_in_object(&self) -> bool {
        self.frame.object
    }

    #[inline(always)]
    fn name(&mut self, text: &str, start: usize, end: usize, saved: u32) {
        let name = Node::name(text, start, end, saved);
        self.names.push(key(name.link, name.start));
        self.frame.hashes.add(name.link);
        self.lexeme(start - 1, end + 1, saved);
    }

    #[inline(always)]
    fn scalar(&mut self, start: usize, end: usize, saved: u32) {
        self.child(offset(start));
        self.lexeme(start, end, saved);
    }

    #[inline(always)]
    fn space(&mut self, start: usize, end: usize) {
        self.lexeme(start, end, 0);
    }

    fn open(&mut self, object: bool, start: usize) -> Result<(), DocumentError> {
        let start = offset(start);
        self.child(start);
        self.around.push(self.frame);
        self.frame = Frame {
            start,
            object,
            hidden: self.hidden,
            sampled: start.saturating_sub(self.hidden),
            names: self.names.len(),
            samples: self.samples.len(),
            ..Frame::default()
        };
        Ok(())
    }

    fn close(&mut self, text: &str, end: usize) -> Result<(), DocumentError> {
        let frame = self.frame;
        let weight = (offset(end) - frame.start).saturating_sub(self.hidden - frame.hidden);
        let mut mark = Mark { end: offset(end), count: frame.count, ..Mark::default() };
        let is_marked = weight > self.weight_max;
        if frame.object {
            self.object(text, is_marked.then_some(&mut mark))?;
        } else if is_marked {
            self.array(&mut mark);
        }
        if is_marked {
            self.hidden = frame.hidden;
            self.mark(frame.start, mark);
        }
        self.names.truncate(frame.names);
        self.samples.truncate(frame.samples);
        self.frame = self.around.pop().unwrap_or_default();
        Ok(())
    }

    fn finish(mut self) -> Marks {
        self.marked.sort_unstable_by_key(|(start, _)| *start);
        let (mut marks, marked) = (self.marks, self.marked);
        (marks.starts, marks.marks) = marked.into_iter().unzip();
        link(&marks.starts, &mut marks.marks);
        marks.fit();
        marks
    }
}
