//! Proofs that travel (C2SP tlog-proof): a leaf's index, its path to the root and a signed checkpoint, in one text
//! that verifies offline. Pure: no I/O.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::checkpoint::{Checkpoint, CheckpointError, base64_hash, decimal};
use crate::note::{Note, VerifierKey};
use crate::tree::{self, Hash, LEVELS_MAX, TreeError};

/// A proof larger than this is refused unread. Bytes.
pub const PROOF_BYTES_MAX: usize = 2 << 20;

const HEADER: &str = "c2sp.org/tlog-proof@v1";

/// Why a proof was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProofError {
    /// The text is not a proof.
    #[error("the text is not a `.tlog-proof`: {what}")]
    Malformed {
        /// What is wrong with it.
        what: &'static str,
    },
    /// The checkpoint is malformed, of another log, or not signed by the key.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// The path does not lead from the leaf to the checkpoint's root.
    #[error(transparent)]
    Tree(#[from] TreeError),
}

/// A `.tlog-proof`: everything a verifier needs but the leaf and the log's key.
///
/// Its text form is parsed strictly: writing a parsed proof gives the same text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlogProof {
    /// Opaque data that the format does **not** authenticate. Verdict puts the leaf here; it counts for something
    /// only after [`TlogProof::verify`] was given these very bytes.
    pub extra: Option<Vec<u8>>,
    /// The leaf's index in the log, from 0.
    pub index: u64,
    /// The inclusion proof, from the leaf's sibling up.
    pub hashes: Vec<Hash>,
    /// The signed checkpoint, verbatim.
    pub checkpoint: String,
}

impl TlogProof {
    /// Checks that the log whose key this is has `leaf` at the proof's index, and returns the checkpoint that says so.
    ///
    /// # Errors
    /// [`ProofError::Checkpoint`] or [`ProofError::Tree`].
    pub fn verify(&self, leaf: &[u8], key: &VerifierKey) -> Result<Checkpoint, ProofError> {
        let checkpoint = Checkpoint::verify(&self.checkpoint, key)?;
        let hash = tree::leaf_hash(leaf);
        tree::verify_inclusion(&hash, self.index, checkpoint.size, &self.hashes, &checkpoint.root)?;
        Ok(checkpoint)
    }
}

impl FromStr for TlogProof {
    type Err = ProofError;

    fn from_str(text: &str) -> Result<Self, ProofError> {
        let wrong = |what| ProofError::Malformed { what };
        if text.len() > PROOF_BYTES_MAX {
            return Err(wrong("it is larger than 2 MiB"));
        }
        let (head, checkpoint) = text.split_once("\n\n").ok_or(wrong("it has no checkpoint"))?;
        let mut lines = head.split('\n').peekable();
        if lines.next() != Some(HEADER) {
            return Err(wrong("its first line is not `c2sp.org/tlog-proof@v1`"));
        }
        let extra = match lines.peek().and_then(|line| line.strip_prefix("extra ")) {
            None => None,
            Some(base64) => {
                lines.next();
                Some(STANDARD.decode(base64).map_err(|_| wrong("its extra data is not canonical base64"))?)
            }
        };
        let index = lines.next().and_then(|line| line.strip_prefix("index ")).and_then(decimal);
        let index = index.ok_or(wrong("it has no index"))?;
        let hashes: Option<Vec<Hash>> = lines.map(base64_hash).collect();
        let hashes = hashes.ok_or(wrong("a line of its path is not a hash"))?;
        if hashes.len() > LEVELS_MAX {
            return Err(wrong("its path has more than 64 hashes"));
        }
        Note::parse(checkpoint).map_err(CheckpointError::from)?;
        Ok(Self { extra, index, hashes, checkpoint: checkpoint.to_owned() })
    }
}

impl fmt::Display for TlogProof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{HEADER}")?;
        if let Some(extra) = &self.extra {
            writeln!(f, "extra {}", STANDARD.encode(extra))?;
        }
        writeln!(f, "index {}", self.index)?;
        self.hashes.iter().try_for_each(|hash| writeln!(f, "{}", STANDARD.encode(hash)))?;
        write!(f, "\n{}", self.checkpoint)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::note::SigningKey;
    use proptest::prelude::*;

    const ORIGIN: &str = "log.example/a";

    fn key() -> SigningKey {
        SigningKey::generate([3; 32])
    }

    fn proof(index: u64, size: u64) -> TlogProof {
        let leaves: Vec<Vec<u8>> = (0..size).map(|i| format!("leaf {i}").into_bytes()).collect();
        let hashes: Vec<Hash> = leaves.iter().map(|leaf| tree::leaf_hash(leaf)).collect();
        let mut node = |level: u32, index: u64| {
            let start = (index << level) as usize;
            Ok::<_, TreeError>(tree::root(&hashes[start..start + (1 << level)]))
        };
        let path = tree::inclusion_proof(index, size, &mut node).unwrap();
        let text = Checkpoint::new(ORIGIN.into(), size, tree::root(&hashes)).to_string();
        let checkpoint = key().sign(ORIGIN, &text).unwrap();
        TlogProof { extra: Some(leaves[index as usize].clone()), index, hashes: path, checkpoint }
    }

    /// What a holder of the text alone can do: parse, take the leaf from `extra`, verify.
    fn accepted(text: &[u8]) -> bool {
        let Ok(text) = std::str::from_utf8(text) else { return false };
        let Ok(proof) = text.parse::<TlogProof>() else { return false };
        let vkey = key().verifier_key(ORIGIN).unwrap();
        proof.extra.as_ref().is_some_and(|leaf| proof.verify(leaf, &vkey).is_ok())
    }

    #[test]
    fn refuses_every_flipped_bit_of_the_text() {
        for (index, size) in [(0, 1), (5, 11), (10, 11)] {
            let text = proof(index, size).to_string();
            assert!(accepted(text.as_bytes()));
            for bit in 0..text.len() * 8 {
                let mut flipped = text.clone().into_bytes();
                flipped[bit / 8] ^= 1 << (bit % 8);
                assert!(!accepted(&flipped), "bit {bit} of {text}");
            }
        }
    }

    #[test]
    fn refuses_every_truncation() {
        let text = proof(5, 11).to_string();
        for len in 0..text.len() {
            assert!(!accepted(&text.as_bytes()[..len]), "first {len} bytes");
        }
    }

    #[test]
    fn a_tree_of_one_leaf_has_an_empty_path() {
        let text = proof(0, 1).to_string();
        assert!(text.contains("index 0\n\nlog.example/a\n1\n"), "{text}");
        assert!(text.parse::<TlogProof>().unwrap().hashes.is_empty());
    }

    proptest! {
        #[test]
        fn writing_what_was_parsed_gives_the_same_text(size in 1u64..300, pick in any::<u64>(), extra in any::<bool>()) {
            let mut made = proof(pick % size, size);
            if !extra {
                made.extra = None;
            }
            let text = made.to_string();
            let parsed: TlogProof = text.parse().unwrap();
            prop_assert_eq!(&parsed, &made);
            prop_assert_eq!(parsed.to_string(), text);
        }

        #[test]
        fn any_text_parses_without_panic(noise in "(c2sp.org/tlog-proof@v1\n)?(extra [A-Za-z=]{0,8}\n)?(index [0-9]{0,3}\n)?\\PC{0,60}\n\n\\PC*") {
            let _ = noise.parse::<TlogProof>();
        }
    }
}
