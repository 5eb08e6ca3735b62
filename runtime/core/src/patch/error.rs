//! Why a patch was refused, and which of its operations.

use std::fmt;

/// Characters of a pointer that an error repeats.
const SHOWN_CHARS_MAX: usize = 160;

/// What is wrong with a patch, or with what it does to a document.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum PatchErrorKind {
    /// The document is larger than its limit, before or after.
    #[error("the document, or all copies together, would be larger than the limit; send less, or raise it")]
    TextTooLarge,
    /// The document is not JSON.
    #[error("the document to be patched is not JSON")]
    TextNotJson,
    /// The patch is larger than its limit.
    #[error("the patch is larger than its limit; send it in parts")]
    PatchTooLarge,
    /// The patch is not JSON.
    #[error("the patch is not JSON; send a list of operations")]
    PatchNotJson,
    /// The patch is not an array.
    #[error(
        "the patch is not a list of operations; write it like `[{{\"op\": \"remove\", \"path\": \"/a\"}}]`"
    )]
    NotAList,
    /// The patch has more operations than its limit.
    #[error("the patch has more operations than the limit; send it in parts")]
    TooManyOperations,
    /// An operation is not an object.
    #[error("an operation is an object with `op` and `path`")]
    NotAnOperation,
    /// No such operation.
    #[error("`op` must be one of add, remove, replace, move, copy and test")]
    UnknownOperation,
    /// `path`, or `from` where the operation has one, is missing or not a string.
    #[error("`path`, and `from` of move and copy, must be there and be strings")]
    NoPointer,
    /// `path` or `from` is not a JSON Pointer.
    #[error(
        "`path` or `from` is not a JSON Pointer; it is empty or starts with `/`, with `~` only in `~0` and `~1`"
    )]
    NotAPointer,
    /// `value` is missing.
    #[error("add, replace and test need a `value`; `null` is one too")]
    NoValue,
    /// An object has a name twice.
    #[error("an object there has a name twice; keep one of the members")]
    DuplicateName,
    /// A string cannot be read.
    #[error("a string there has half of a surrogate pair; write both halves or none")]
    NotText,
    /// The pointer names nothing.
    #[error("nothing is there")]
    Absent,
    /// `from` names nothing.
    #[error("nothing is at `from`")]
    FromAbsent,
    /// What should have members or elements is a scalar.
    #[error("what it would be in is neither an array nor an object")]
    NotAContainer,
    /// An array has no such place.
    #[error("an array takes an index without leading zeros, at most its length, or `-` for its end")]
    NotAnIndex,
    /// A value cannot be moved into itself.
    #[error("a value cannot be moved into itself")]
    IntoItself,
    /// The whole document cannot be removed.
    #[error("the whole document cannot be removed; replace it")]
    WholeRemoved,
    /// Deeper than the limit.
    #[error("this is deeper in the document than the limit")]
    TooDeep,
    /// A `test` failed.
    #[error("the value there is another one")]
    NotEqual,
}

impl PatchErrorKind {
    /// The same of the pointer `from`.
    pub(super) fn of_from(self) -> Self {
        if self == Self::Absent { Self::FromAbsent } else { self }
    }
}

/// A patch that was not applied.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}{kind}", Place(*operation, pointer.as_deref()))]
pub struct PatchError {
    operation: Option<usize>,
    pointer: Option<String>,
    kind: PatchErrorKind,
}

impl PatchError {
    pub(super) fn new(operation: Option<usize>, pointer: Option<&str>, kind: PatchErrorKind) -> Self {
        let pointer = pointer.map(|pointer| pointer.chars().take(SHOWN_CHARS_MAX).collect());
        Self { operation, pointer, kind }
    }

    /// The index of the operation that failed, from 0; none if none of them did.
    pub fn operation(&self) -> Option<usize> {
        self.operation
    }

    /// Its `path`, if it has one that can be read; of a long one the beginning.
    pub fn pointer(&self) -> Option<&str> {
        self.pointer.as_deref()
    }

    /// What is wrong.
    pub fn kind(&self) -> PatchErrorKind {
        self.kind
    }
}

/// Operation and pointer of an error, as they stand before the rest.
struct Place<'a>(Option<usize>, Option<&'a str>);

impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Place(Some(operation), Some(pointer)) => write!(f, "operation {operation} at `{pointer}`: "),
            Place(Some(operation), None) => write!(f, "operation {operation}: "),
            Place(None, _) => Ok(()),
        }
    }
}
