//! Patches of JSON documents (JSON Patch, RFC 6902), on text: what a patch does not name stays as it was written, byte
//! for byte, and numbers keep their exact text everywhere.
//!
//! ```
//! use verdict_core::patch::{PatchLimits, apply_patch};
//!
//! let text = r#"{"roles": {"ann": ["clerk"]}, "rate": 1.50}"#;
//! let patch = r#"[
//!     {"op": "test", "path": "/rate", "value": 1.5},
//!     {"op": "add", "path": "/roles/ann/-", "value": "auditor"}
//! ]"#;
//! let patched = apply_patch(text, patch, &PatchLimits::default())?;
//! assert_eq!(patched, r#"{"roles":{"ann":["clerk","auditor"]},"rate":1.50}"#);
//! # Ok::<(), verdict_core::patch::PatchError>(())
//! ```

mod error;
mod number;
mod operation;
#[cfg(test)]
mod tests;
mod tree;

use std::cell::OnceCell;
use std::iter::zip;

pub use error::{PatchError, PatchErrorKind};
use operation::{Action, Operation, last_token, tokens};
use tree::{Open, Tree};

/// How much a patch may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PatchLimits {
    /// Bytes of the document before the patch and after it, and also what all its copies together have.
    pub text_bytes_max: usize,
    /// Bytes of the patch.
    pub patch_bytes_max: usize,
    /// Operations of the patch.
    pub operations_max: usize,
    /// How deep in a document a patch may change or compare something, in arrays and objects.
    pub depth_max: usize,
}

impl Default for PatchLimits {
    /// A document of 256 MiB, a patch of 1 MiB and 10,000 operations, a depth of 128.
    fn default() -> Self {
        Self { text_bytes_max: 256 << 20, patch_bytes_max: 1 << 20, operations_max: 10_000, depth_max: 128 }
    }
}

/// Applies `patch` to `text`: all of its operations, or none and an error.
///
/// Arrays and objects that a pointer of the patch goes into are written anew, without white space between their values;
/// all else is as it was. Members keep their order, one that is new comes last. What no operation goes into is checked
/// to be JSON, no more: the result is to be checked as any document that comes in.
///
/// # Errors
/// When the text, the patch or the result is larger than its limit or is not JSON, or an operation fails; then the
/// error has its index and its pointer.
pub fn apply_patch(text: &str, patch: &str, limits: &PatchLimits) -> std::result::Result<String, PatchError> {
    let whole = |kind| PatchError::new(None, None, kind);
    let root = document(text, limits).map_err(whole)?;
    let operations = operations(patch, limits).map_err(whole)?;
    let copies = vec![OnceCell::new(); operations.len()];
    let mut patched = Patched { root, limits, copied_bytes: 0 };
    for (index, (operation, copy)) in zip(operations, &copies).enumerate() {
        let read = Operation::read(operation);
        let Operation { path, action } = read.map_err(|kind| PatchError::new(Some(index), None, kind))?;
        let applied = patched.apply(&path, action, copy);
        applied.map_err(|kind| PatchError::new(Some(index), Some(&path), kind))?;
    }
    if patched.root.bytes() > limits.text_bytes_max {
        return Err(whole(PatchErrorKind::TextTooLarge));
    }
    Ok(patched.root.text())
}

fn document<'a>(text: &'a str, limits: &PatchLimits) -> Result<Tree<'a>> {
    if text.len() > limits.text_bytes_max {
        return Err(PatchErrorKind::TextTooLarge);
    }
    Tree::checked(text).ok_or(PatchErrorKind::TextNotJson)
}

fn operations<'a>(patch: &'a str, limits: &PatchLimits) -> Result<Vec<Tree<'a>>> {
    if patch.len() > limits.patch_bytes_max {
        return Err(PatchErrorKind::PatchTooLarge);
    }
    let mut patch = Tree::checked(patch).ok_or(PatchErrorKind::PatchNotJson)?;
    match patch.open() {
        Ok(Open::Array(operations)) if operations.len() > limits.operations_max => {
            Err(PatchErrorKind::TooManyOperations)
        }
        Ok(Open::Array(operations)) => Ok(std::mem::take(operations)),
        _ => Err(PatchErrorKind::NotAList),
    }
}

/// A document under way.
struct Patched<'a> {
    root: Tree<'a>,
    limits: &'a PatchLimits,
    copied_bytes: usize,
}

type Result<T> = std::result::Result<T, PatchErrorKind>;

impl<'a> Patched<'a> {
    /// `copy` takes the text of a copy, if one is made.
    fn apply(&mut self, path: &str, action: Action<'a>, copy: &'a OnceCell<String>) -> Result<()> {
        match action {
            Action::Add(value) => self.add(path, value),
            Action::Remove => self.remove(path).map(drop),
            Action::Replace(value) => {
                *self.find(path)? = value;
                Ok(())
            }
            Action::Move(from) => self.relocate(&from, path),
            Action::Copy(from) => self.copy(&from, path, copy),
            Action::Test(value) => self.test(path, value),
        }
    }

    fn find(&mut self, pointer: &str) -> Result<&mut Tree<'a>> {
        if tokens(pointer).count() > self.limits.depth_max {
            return Err(PatchErrorKind::TooDeep);
        }
        tokens(pointer).try_fold(&mut self.root, |tree, token| tree.child(&token))
    }

    fn add(&mut self, path: &str, value: Tree<'a>) -> Result<()> {
        if tokens(path).count() + value.height() > self.limits.depth_max {
            return Err(PatchErrorKind::TooDeep);
        }
        match last_token(path) {
            Some((parent, token)) => self.find(parent)?.insert(token, value),
            None => {
                self.root = value;
                Ok(())
            }
        }
    }

    fn remove(&mut self, path: &str) -> Result<Tree<'a>> {
        let (parent, token) = last_token(path).ok_or(PatchErrorKind::WholeRemoved)?;
        self.find(parent)?.remove(&token)
    }

    fn relocate(&mut self, from: &str, path: &str) -> Result<()> {
        if path.strip_prefix(from).is_some_and(|inside| inside.starts_with('/')) {
            return Err(PatchErrorKind::IntoItself);
        }
        if from == path {
            return self.find(from).map(drop);
        }
        let value = self.remove(from).map_err(PatchErrorKind::of_from)?;
        self.add(path, value)
    }

    fn copy(&mut self, from: &str, path: &str, copy: &'a OnceCell<String>) -> Result<()> {
        let bytes = self.find(from).map_err(PatchErrorKind::of_from)?.bytes();
        self.copied_bytes = self.copied_bytes.saturating_add(bytes);
        if self.copied_bytes > self.limits.text_bytes_max {
            // Before it is made: each copy could double the document.
            return Err(PatchErrorKind::TextTooLarge);
        }
        let value = match self.find(from)? {
            Tree::Source(source) => source,
            // As text: a tree has many times its size.
            source => copy.get_or_init(|| source.text()).as_str(),
        };
        self.add(path, Tree::Source(value))
    }

    fn test(&mut self, path: &str, mut value: Tree<'a>) -> Result<()> {
        let depth_left = self.limits.depth_max.saturating_sub(tokens(path).count());
        if self.find(path)?.equals(&mut value, depth_left)? { Ok(()) } else { Err(PatchErrorKind::NotEqual) }
    }
}
