//! The vocabulary of Verdict. Pure: no I/O, no clock, no randomness; time and entropy are arguments.
//!
//! Three nouns: the [`Manifest`](manifest::Manifest) says what a version declares, the
//! [`AdmittedArtifact`](artifact::AdmittedArtifact) is a version that may answer here, and the
//! [`Record`](record::Record) is what the log keeps of one outcome.

pub mod artifact;
mod base64;
pub mod digest;
pub mod dsse;
pub mod jcs;
pub mod json;
pub mod key;
pub mod limits;
pub mod manifest;
pub mod name;
pub mod oci;
pub mod outcome;
pub mod pointer;
pub mod refusal;
pub mod statement;
pub mod time;
pub mod trust;
