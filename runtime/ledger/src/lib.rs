//! A Merkle log over opaque bytes, in the formats of [C2SP](https://c2sp.org): tlog-tiles, signed-note,
//! tlog-checkpoint and tlog-proof. It knows nothing of policies; an auditor builds with it alone.
//!
//! Three nouns:
//! - a **leaf** is up to 65,535 bytes that a log keeps for ever, with *evidence* beside it that may be erased;
//! - a **checkpoint** is a log's signed head, derived at most once a second over what is durable;
//! - a **proof** shows, offline, that a leaf is in the log that a checkpoint signs.
//!
//! All logs of a [`Ledger`] share one journal, and an append is acknowledged when that is synced. Trees, tiles and
//! checkpoints are derived from it. What verifies ([`tree`], [`note`], [`tile`], [`Checkpoint`], [`TlogProof`]) is
//! pure and needs no ledger.
//!
//! ```
//! use std::sync::Arc;
//! use verdict_ledger::{Config, DirStorage, Ledger, LogName, SigningKey, TlogProof};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let folder = tempfile::tempdir()?;
//! let storage = Arc::new(DirStorage::open(folder.path())?);
//! let key = SigningKey::generate([7; 32]); // from real randomness, in earnest
//! let ledger = Ledger::open(storage, key, Config::new("log.example/node-1"))?;
//!
//! let log: LogName = "default".parse()?;
//! let index = ledger.append(&log, b"a record", b"what it rests on").wait()?; // durable from here on
//! ledger.publish()?; // or wait a second
//! let proof = ledger.proof(&log, index)?.ok_or("a checkpoint covers it")?.to_string();
//!
//! // Elsewhere, with nothing but the key:
//! let key = ledger.verifier_key(&log)?.to_string().parse()?;
//! let checkpoint = proof.parse::<TlogProof>()?.verify(b"a record", &key)?;
//! assert_eq!(checkpoint.origin, "log.example/node-1/default");
//! # Ok(())
//! # }
//! ```

mod append;
mod checkpoint;
mod directory;
mod error;
mod integrator;
mod journal;
mod ledger;
mod name;
pub mod note;
mod proof;
mod recovery;
mod shared;
mod storage;
mod store;
pub mod tile;
pub mod tree;
mod writer;

pub use append::Append;
pub use checkpoint::{Checkpoint, CheckpointError};
pub use directory::DirStorage;
pub use error::LedgerError;
pub use ledger::{Config, Durability, Ledger, SYNC_SECONDS, Stats};
pub use name::LogName;
pub use note::{NoteError, SigningKey, VerifierKey};
pub use proof::{PROOF_BYTES_MAX, ProofError, TlogProof};
pub use storage::{Storage, StorageFile};
pub use tile::TileError;
pub use tree::TreeError;

/// The longest leaf: an entry bundle writes its length in 16 bits. Bytes.
pub const LEAF_BYTES_MAX: usize = tile::ENTRY_BYTES_MAX;

/// The longest evidence. Bytes.
pub const EVIDENCE_BYTES_MAX: usize = 16 << 20;

/// Appends that together exceed this wait nowhere: they are refused as busy. Bytes.
pub const QUEUE_BYTES_MAX: usize = 64 << 20;
