//! What is wrong with a document, and where.

macro_rules! kinds {
    ($($name:ident, $code:literal, $text:literal;)*) => {
        /// What is wrong with a document; its code is stable.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum DocumentErrorKind { $(#[doc = $text] $name,)* }

        impl DocumentErrorKind {
            /// The stable code.
            pub const fn code(self) -> &'static str {
                match self { $(Self::$name => $code,)* }
            }

            const fn text(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }
        }
    };
}

kinds! {
    TooLarge, "too-large", "the document is larger than its limit; send less, or raise the limit";
    NotUtf8, "not-utf8", "the document is not UTF-8; encode it as UTF-8";
    UnexpectedEnd, "unexpected-end", "the document ends too early; complete it";
    ValueExpected, "value-expected", "a JSON value is expected here";
    NameExpected, "name-expected", "a member name in double quotes is expected here";
    ColonExpected, "colon-expected", "`:` is expected between a name and its value";
    CommaExpected, "comma-expected", "`,` or the end of the array or object is expected here";
    TrailingData, "trailing-data", "something follows the document; send exactly one JSON value";
    InvalidNumber, "invalid-number", "this is not a number of RFC 8259; write it like `-1.5e3`";
    InvalidEscape, "invalid-escape", "this is not an escape of RFC 8259; write a backslash as `\\\\`";
    ControlCharacter, "control-character", "a control character stands in a string; escape it as `\\u00XX`";
    LoneSurrogate, "lone-surrogate", "half of a surrogate pair is no character; write both halves or none";
    DuplicateName, "duplicate-name", "an object has this name twice; keep one of the members";
    TooDeep, "too-deep", "arrays and objects are nested more deeply than the limit; make the document flatter";
}

/// A document that was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{} (byte {offset}, {})", kind.text(), kind.code())]
pub struct DocumentError {
    kind: DocumentErrorKind,
    offset: usize,
}

impl DocumentError {
    pub(super) fn new(kind: DocumentErrorKind, offset: usize) -> Self {
        Self { kind, offset }
    }

    /// What is wrong.
    pub fn kind(&self) -> DocumentErrorKind {
        self.kind
    }

    /// The byte at which it is wrong, from 0.
    pub fn offset(&self) -> usize {
        self.offset
    }

    /// The line and the column of that byte in `bytes`, the document that was refused; both from 1, the column in
    /// bytes.
    pub fn line_and_column(&self, bytes: &[u8]) -> (usize, usize) {
        let before = bytes.get(..self.offset).unwrap_or(bytes);
        let line_start = before.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
        (line, before.len() - line_start + 1)
    }
}
