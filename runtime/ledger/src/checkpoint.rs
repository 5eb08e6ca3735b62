//! The text of a checkpoint (C2SP tlog-checkpoint): which log, how many leaves, which root. Pure: no I/O.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::note::{Note, NoteError, VerifierKey};
use crate::tree::Hash;

/// Why a checkpoint was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CheckpointError {
    /// The note around it is malformed or not signed by the key.
    #[error(transparent)]
    Note(#[from] NoteError),
    /// The text is not a checkpoint.
    #[error("the text is not a checkpoint: {what}")]
    Malformed {
        /// What is wrong with it.
        what: &'static str,
    },
    /// It is of another log than the key's.
    #[error("the checkpoint is of the log `{origin}`, the key of `{key}`; use that log's key")]
    WrongOrigin {
        /// The checkpoint's first line.
        origin: String,
        /// The key's name.
        key: String,
    },
}

/// The head of a log: its origin, the number of its leaves and the root hash over them.
///
/// The text form is parsed strictly, and writing a parsed checkpoint gives the same text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// The log's identity, which is also its key's name.
    pub origin: String,
    /// The number of leaves.
    pub size: u64,
    /// The root hash over all leaves.
    pub root: Hash,
    extensions: Vec<String>,
}

impl Checkpoint {
    /// The head of the log `origin` at `size` leaves.
    pub fn new(origin: String, size: u64, root: Hash) -> Self {
        Self { origin, size, root, extensions: Vec::new() }
    }

    /// The checkpoint in a signed note, if the key signed it and is the key of that log.
    ///
    /// # Errors
    /// Any [`CheckpointError`].
    pub fn verify(note: &str, key: &VerifierKey) -> Result<Self, CheckpointError> {
        let checkpoint: Self = Note::parse(note)?.verify(key)?.parse()?;
        if checkpoint.origin != key.name() {
            let key = key.name().to_owned();
            return Err(CheckpointError::WrongOrigin { origin: checkpoint.origin, key });
        }
        Ok(checkpoint)
    }

    /// Lines after the third: opaque and optional; Verdict writes none.
    pub fn extensions(&self) -> &[String] {
        &self.extensions
    }
}

impl FromStr for Checkpoint {
    type Err = CheckpointError;

    fn from_str(text: &str) -> Result<Self, CheckpointError> {
        let wrong = |what| CheckpointError::Malformed { what };
        let mut lines = text.strip_suffix('\n').ok_or(wrong("it does not end in a newline"))?.split('\n');
        let origin = lines.next().filter(|line| !line.is_empty()).ok_or(wrong("it has no origin"))?;
        let size = lines.next().and_then(decimal).ok_or(wrong("its second line is not a tree size"))?;
        let root = lines.next().and_then(base64_hash).ok_or(wrong("its third line is not a root hash"))?;
        let extensions: Vec<String> = lines.map(str::to_owned).collect();
        if extensions.iter().any(String::is_empty) {
            return Err(wrong("it has an empty line"));
        }
        Ok(Self { origin: origin.to_owned(), size, root, extensions })
    }
}

impl fmt::Display for Checkpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}\n{}\n{}\n", self.origin, self.size, STANDARD.encode(self.root))?;
        self.extensions.iter().try_for_each(|line| writeln!(f, "{line}"))
    }
}

/// A decimal number in its only form: no sign, no leading zeroes.
pub(crate) fn decimal(text: &str) -> Option<u64> {
    let canonical = text.bytes().all(|byte| byte.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    if canonical { text.parse().ok() } else { None }
}

/// 32 bytes of base64 in its only form.
pub(crate) fn base64_hash(text: &str) -> Option<Hash> {
    if text.len() != 44 {
        return None;
    }
    STANDARD.decode(text).ok()?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::note::SigningKey;
    use proptest::prelude::*;

    #[test]
    fn parses_only_the_one_form() {
        let root = STANDARD.encode([9; 32]);
        let good = format!("log.example/a\n12\n{root}\n");
        assert_eq!(good.parse::<Checkpoint>().unwrap(), Checkpoint::new("log.example/a".into(), 12, [9; 32]));
        let extended = format!("{good}extension\n");
        assert_eq!(extended.parse::<Checkpoint>().unwrap().extensions(), ["extension"]);
        for wrong in [
            String::new(),
            "\n".into(),
            format!("\n12\n{root}\n"),
            format!("log.example/a\n012\n{root}\n"),
            format!("log.example/a\n+12\n{root}\n"),
            format!("log.example/a\n\n{root}\n"),
            format!("log.example/a\n18446744073709551616\n{root}\n"),
            format!("log.example/a\n12\n{root}"),
            format!("log.example/a\n12\n{}\n", &root[..40]),
            format!("log.example/a\n12\n{}B=\n", &root[..42]),
            format!("{good}\n"),
            format!("log.example/a\r\n12\n{root} \n"),
        ] {
            assert!(wrong.parse::<Checkpoint>().is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn refuses_a_checkpoint_of_another_log_signed_by_the_same_key() {
        let key = SigningKey::generate([1; 32]);
        let text = Checkpoint::new("log.example/a".into(), 1, [0; 32]).to_string();
        let note = key.sign("log.example/b", &text).unwrap();
        let refused = Checkpoint::verify(&note, &key.verifier_key("log.example/b").unwrap());
        assert!(matches!(refused, Err(CheckpointError::WrongOrigin { .. })));
    }

    proptest! {
        #[test]
        fn writing_what_was_parsed_gives_the_same_text(text in "[a-z/]{0,9}\n[0-9]{0,4}\n[A-Za-z0-9+/]{43}=\n([a-z]{0,3}\n){0,2}") {
            if let Ok(checkpoint) = text.parse::<Checkpoint>() {
                prop_assert_eq!(checkpoint.to_string(), text);
            }
        }
    }
}
