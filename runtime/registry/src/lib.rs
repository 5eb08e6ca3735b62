//! Where signed policies are kept. For now in a directory: an OCI image layout, which goes into a registry unchanged.
//!
//! Three nouns: a [`Layout`] is a folder that holds one version of a policy, an
//! [`UnverifiedArtifact`](verdict_core::artifact::UnverifiedArtifact) is what is read from it, and a statement is a
//! signed envelope that is attached to it.
//!
//! A layout is not trusted. Reading is bounded, never leaves the folder, and every blob is checked against its digest;
//! whether the digests are the right ones is decided by `verdict_core::artifact::verify`.
//!
//! ```
//! use verdict_registry::Layout;
//!
//! let folder = tempfile::tempdir()?;
//! let component = b"\0asm\x0d\0\x01\0"; // the smallest component there is
//! let layout = Layout::create(&folder.path().join("loan"), component, &"acme/loan".parse()?, &"1.0.0".parse()?)?;
//!
//! let found = verdict_registry::find(folder.path())?;
//! let artifact = Layout::open(&found[0])?.fetch()?;
//! assert_eq!(artifact.component, component);
//! assert!(artifact.statements.is_empty(), "nobody has signed it yet");
//! # let _ = layout;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod attached;
#[cfg(feature = "catalogue")]
pub mod catalogue;
mod error;
mod find;
mod folder;
mod layout;
#[cfg(feature = "registry")]
pub mod publish;
#[cfg(feature = "client")]
pub mod remote;
#[cfg(feature = "registry")]
pub mod repository;
#[cfg(feature = "registry")]
pub mod served;
mod source;
#[cfg(feature = "store")]
pub mod store;
mod tree;
mod world;

pub use error::RegistryError;
pub use find::find;
pub use layout::{Layout, Summary};
pub use source::{Documents, Publish, Source};
pub use tree::Tree;
