//! Component in, outcome out: scans, compiles, caches, limits and evaluates policies.
//!
//! Three nouns: an [`Engine`] makes policies of admitted artifacts, a [`Policy`] answers questions about a
//! [`Document`]. wasmtime is inside and does not show. Every evaluation starts from the state that the component had
//! just after it was instantiated, under limits that cannot be switched off, and depends on nothing else.
//!
//! ```
//! use verdict_engine::{Document, DocumentLimits, Value};
//!
//! let document = Document::parse(r#"{"user": {"roles": ["clerk"]}}"#, &DocumentLimits::default())?;
//! let role = document.read(&"/user/roles/0".parse()?);
//! assert_eq!(role, Some(Value::Text("clerk".into())));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod answer;
mod cache;
mod capabilities;
mod compile;
mod config;
mod document;
mod engine;
mod error;
mod fault;
mod fuel;
mod instances;
mod instrument;
mod limits;
mod observe;
mod outcome;
mod policy;
mod reads;
mod scan;
mod semantics;
mod sys;

// The guests of the tests name this crate as everybody does.
#[cfg(test)]
extern crate self as verdict_engine;
#[cfg(test)]
#[path = "../tests/support/mod.rs"]
mod support;

pub use cache::CacheCounts;
pub use compile::compile_worker;
pub use config::{CompileCache, CompileLimits, Compiler, Config, Instances, Target};
pub use document::{DOCUMENT_DEPTH_MAX, Document, DocumentError, DocumentErrorKind, DocumentLimits, Value};
pub use engine::Engine;
pub use error::EngineError;
pub use instances::VerificationCounts;
pub use observe::observe;
pub use outcome::{LogLine, Outcome, Query};
pub use policy::Policy;
pub use reads::{Operation, Read, ReadSet, Source};
pub use scan::{COMPONENT_BYTES_MAX, Inspection};
pub use semantics::SEMANTICS;
