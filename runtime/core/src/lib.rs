//! The vocabulary of Verdict. Pure: no I/O, no clock, no randomness; time and entropy are arguments.
//!
//! Three nouns: the [`Manifest`](manifest::Manifest) says what a version declares, the
//! [`AdmittedArtifact`](artifact::AdmittedArtifact) is a version that may answer here, and the
//! [`Record`](record::Record) is what the log keeps of one outcome.
//!
//! From an author's key to a version that may answer:
//!
//! ```
//! use verdict_core::artifact::{UnverifiedArtifact, admit, verify};
//! use verdict_core::digest::Digest;
//! use verdict_core::key::SecretKey;
//! use verdict_core::manifest::Manifest;
//! use verdict_core::oci::{Image, World};
//! use verdict_core::statement::sign_manifest;
//! use verdict_core::trust::{Author, Seen, TrustPolicy};
//!
//! let component = b"the bytes of a component".to_vec();
//! let manifest = Manifest::parse(
//!     serde_json::json!({
//!         "format": "verdict-manifest/1", "policy": "acme/loan", "version": "1.0.0", "contract": "0.1.0",
//!         "component": Digest::of(&component), "rules": [{"name": "eligible"}],
//!     })
//!     .to_string()
//!     .as_bytes(),
//! )?;
//! let image = Image::new(&component, World::default(), &manifest.policy, &manifest.version)?;
//!
//! // The author signs.
//! let key = SecretKey::from_seed([7; 32]); // 32 random bytes, anywhere but here
//! let envelope = sign_manifest(&manifest, Digest::of(&image.manifest), &key)?;
//!
//! // The operator trusts that key with one policy.
//! let author = Author {
//!     person: "alice".into(),
//!     public: key.public(),
//!     policies: vec!["acme/loan".parse()?],
//!     not_before: None,
//!     not_after: None,
//! };
//! let trust = TrustPolicy::new(1, "2027-01-01T00:00:00Z".parse()?, vec![author])?;
//!
//! // The host checks.
//! let artifact = UnverifiedArtifact {
//!     reference: "example".into(),
//!     manifest_bytes: image.manifest,
//!     config: image.config,
//!     component,
//!     statements: vec![envelope.render().into_bytes()],
//! };
//! let now = "2026-06-01T00:00:00Z".parse()?;
//! let admitted = admit(verify(artifact, &trust, now)?, &trust, &Seen::default(), now)?;
//! assert_eq!(admitted.signers()[0].person, "alice");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

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
pub mod patch;
pub mod pointer;
pub mod record;
pub mod refusal;
pub mod statement;
pub mod time;
pub mod trust;
