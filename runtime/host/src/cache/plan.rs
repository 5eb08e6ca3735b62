//! The steps that a rule takes, as far as they are known: a tree that branches where the next step depends on what was
//! found.
//!
//! Which step comes next depends on all results so far, but mostly on none of them. So a node has one successor for
//! whatever is found, and others for those results after which another step was seen. A path from the root to a leaf is
//! a sequence of steps, and a leaf is never reached by two of them: its number and the results of its steps are the key
//! of an answer.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{PoisonError, RwLock};

use verdict_engine::{Operation, Query, Read, ReadSet, Source, observe};

#[cfg(test)]
use super::sabotage::LeftOut;

/// What a node takes besides its pointer, in bytes, by estimate.
const NODE_BYTES: usize = 160;
/// What an exceptional result takes besides itself.
const BRANCH_BYTES: usize = 64;
/// Among how many successors one with the right step is looked for.
const SIBLINGS_MAX: usize = 8;
/// The number of the tree and that of the leaf.
const HEAD_BYTES: usize = 12;

/// The most bytes that a step adds to a plan, but for its result.
pub(super) fn step_bytes(pointer: &str) -> usize {
    NODE_BYTES + BRANCH_BYTES + pointer.len()
}

/// The plan of one rule.
#[derive(Debug)]
pub(super) struct Plan {
    input_bytes_max: u64,
    tree: RwLock<Tree>,
}

#[derive(Debug)]
struct Tree {
    /// No other tree has it, nor had it: what was kept for a tree that is gone is never found.
    number: u64,
    /// The root is the first. Nodes are only added.
    nodes: Vec<Node>,
    bytes: u64,
    /// Nothing is added any more.
    is_closed: bool,
}

#[derive(Debug)]
struct Node {
    /// None at the end of a path.
    step: Option<Step>,
    /// What mostly follows; none before it is known.
    usual: Option<u32>,
    /// What follows after certain results.
    others: HashMap<Box<[u8]>, u32>,
    /// Some of the successors, no two of which take the same step.
    siblings: Vec<u32>,
}

#[derive(Debug)]
struct Step {
    document: Source,
    operation: Operation,
    pointer: Box<str>,
}

impl Plan {
    pub(super) fn new(input_bytes_max: u64) -> Self {
        Self { input_bytes_max, tree: RwLock::new(Tree::new()) }
    }

    /// Takes the steps that are known in the question's documents and writes what was found into `key`; false where it
    /// is not known what comes next.
    pub(super) fn find(&self, query: &Query<'_>, key: &mut Vec<u8>) -> bool {
        if u64::try_from(query.input.text().len()).unwrap_or(u64::MAX) > self.input_bytes_max {
            // A fault, before anything is read.
            return false;
        }
        self.walk(query, key, |_| true)
    }

    /// Adds the steps that an evaluation took, writes what they found into `key`, and says how many bytes the plan has
    /// grown by. None where nothing is to be kept.
    pub(super) fn trace(&self, query: &Query<'_>, reads: &ReadSet, key: &mut Vec<u8>) -> Option<u64> {
        // Mostly the steps are known and only what they found is new: then nobody is kept waiting.
        if self.is_known(query, reads, key) {
            return Some(0);
        }
        let mut tree = self.tree.write().unwrap_or_else(PoisonError::into_inner);
        if tree.is_closed {
            return None;
        }
        let bytes = tree.bytes;
        begin(key);
        let mut reads = reads.iter();
        let mut read = reads.next();
        let mut at = tree.root(read.as_ref());
        while read.is_some() {
            let start = key.len();
            let node = tree.node(at).filter(|node| node.takes(read.as_ref()));
            // Another step than before after the same results: not by any policy that this engine runs.
            node?.step.as_ref()?.take(query, key);
            read = reads.next();
            at = tree.follow(at, key.get(start..)?, read.as_ref())?;
        }
        end(key, tree.number, at);
        Some(tree.bytes - bytes)
    }

    /// Whether these steps are a path already; then what they found is in `key`.
    fn is_known(&self, query: &Query<'_>, reads: &ReadSet, key: &mut Vec<u8>) -> bool {
        let mut reads = reads.iter();
        self.walk(query, key, |node| node.takes(reads.next().as_ref()))
    }

    /// Takes the known steps in the question's documents as far as each is the right one, and writes what was found into
    /// `key`; false where that does not come to an end of a path.
    fn walk(&self, query: &Query<'_>, key: &mut Vec<u8>, mut is_right: impl FnMut(&Node) -> bool) -> bool {
        let tree = self.tree.read().unwrap_or_else(PoisonError::into_inner);
        begin(key);
        let mut at = 0;
        loop {
            let Some(node) = tree.node(at).filter(|node| is_right(node)) else { return false };
            let Some(step) = &node.step else { break };
            let start = key.len();
            step.take(query, key);
            let Some(next) = key.get(start..).and_then(|result| node.after(result)) else { return false };
            at = next;
        }
        end(key, tree.number, at);
        true
    }

    /// Forgets everything; how many bytes that was.
    pub(super) fn clear(&self) -> u64 {
        let mut tree = self.tree.write().unwrap_or_else(PoisonError::into_inner);
        if tree.is_closed { 0 } else { std::mem::replace(&mut *tree, Tree::new()).bytes }
    }

    /// Forgets everything for good.
    pub(super) fn close(&self) -> u64 {
        let mut tree = self.tree.write().unwrap_or_else(PoisonError::into_inner);
        let closed = Tree { is_closed: true, ..Tree::new() };
        std::mem::replace(&mut *tree, closed).bytes
    }
}

/// Leaves room for what is known at the end.
fn begin(key: &mut Vec<u8>) {
    key.clear();
    key.extend_from_slice(&[0; HEAD_BYTES]);
}

fn end(key: &mut [u8], number: u64, leaf: u32) {
    if let Some((head, _)) = key.split_first_chunk_mut::<8>() {
        *head = number.to_le_bytes();
    }
    if let Some(place) = key.get_mut(8..HEAD_BYTES) {
        place.copy_from_slice(&leaf.to_le_bytes());
    }
}

impl Tree {
    fn new() -> Self {
        static NUMBERS: AtomicU64 = AtomicU64::new(0);
        let number = NUMBERS.fetch_add(1, Ordering::Relaxed);
        Self { number, nodes: Vec::new(), bytes: 0, is_closed: false }
    }

    fn node(&self, at: u32) -> Option<&Node> {
        self.nodes.get(usize::try_from(at).ok()?)
    }

    /// The node of the first step.
    fn root(&mut self, first: Option<&Read<'_>>) -> u32 {
        if self.nodes.is_empty() {
            self.push(first);
        }
        0
    }

    fn push(&mut self, read: Option<&Read<'_>>) -> u32 {
        let step = read.map(Step::of);
        let bytes = NODE_BYTES + step.as_ref().map_or(0, |step| step.pointer.len());
        self.grow(bytes);
        self.nodes.push(Node { step, usual: None, others: HashMap::new(), siblings: Vec::new() });
        // The bytes of a plan are bounded far below so many nodes.
        u32::try_from(self.nodes.len() - 1).unwrap_or(u32::MAX)
    }

    fn grow(&mut self, bytes: usize) {
        self.bytes += u64::try_from(bytes).unwrap_or(u64::MAX);
    }

    /// The node of the step that was taken after this result.
    fn follow(&mut self, at: u32, result: &[u8], read: Option<&Read<'_>>) -> Option<u32> {
        let node = self.node(at)?;
        let takes = |next: &u32| self.node(*next).is_some_and(|node| node.takes(read));
        let guess = node.after(result);
        if let Some(next) = guess.filter(takes) {
            return Some(next);
        }
        let sibling = node.siblings.iter().copied().find(takes);
        let next = sibling.unwrap_or_else(|| self.push(read));
        if guess.is_some() {
            self.grow(BRANCH_BYTES + result.len());
        }
        let node = self.nodes.get_mut(usize::try_from(at).ok()?)?;
        if sibling.is_none() && node.siblings.len() < SIBLINGS_MAX {
            node.siblings.push(next);
        }
        match guess {
            None => node.usual = Some(next),
            Some(_) => drop(node.others.insert(result.into(), next)),
        }
        Some(next)
    }
}

impl Node {
    /// What follows after this result, as far as is known.
    fn after(&self, result: &[u8]) -> Option<u32> {
        let other = if self.others.is_empty() { None } else { self.others.get(result).copied() };
        other.or(self.usual)
    }

    /// Whether this is the node of this step, or of the end.
    fn takes(&self, read: Option<&Read<'_>>) -> bool {
        match (&self.step, read) {
            (None, None) => true,
            (Some(step), Some(read)) => step.is(read),
            _ => false,
        }
    }
}

impl Step {
    fn of(read: &Read<'_>) -> Self {
        Self { document: read.document, operation: read.operation, pointer: read.pointer.into() }
    }

    fn is(&self, read: &Read<'_>) -> bool {
        let same = [
            self.document == read.document,
            self.operation == read.operation,
            *self.pointer == *read.pointer,
        ];
        #[cfg(test)]
        let same = LeftOut::of_step(same);
        same == [true; 3]
    }

    /// Takes the step in the question's documents.
    fn take(&self, query: &Query<'_>, key: &mut Vec<u8>) {
        #[cfg(test)]
        if let Some(result) = self.take_spoiled(query) {
            return key.extend_from_slice(&result);
        }
        observe(self.document(query), self.operation, &self.pointer, key);
    }

    fn document<'a>(&self, query: &Query<'a>) -> Option<&'a verdict_engine::Document> {
        match self.document {
            Source::Input => Some(query.input),
            Source::Data => query.data,
        }
    }

    /// What is found where a part of the key is left out.
    #[cfg(test)]
    fn take_spoiled(&self, query: &Query<'_>) -> Option<Vec<u8>> {
        let mut result = Vec::new();
        observe(self.document(query), self.operation, &self.pointer, &mut result);
        LeftOut::of_result(&mut result).then_some(result)
    }
}
