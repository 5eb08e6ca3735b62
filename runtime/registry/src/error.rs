//! What can go wrong while writing; what goes wrong while reading is a [`Refusal`].

use std::io;
use std::path::PathBuf;

use verdict_core::jcs::JcsError;
use verdict_core::refusal::{Refusal, RefusalCode};

/// An artifact cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// The folder holds something else.
    #[error("`{0}` is not empty and not an OCI layout; name a new or an empty folder")]
    Occupied(PathBuf),
    /// The file system said no.
    #[error("`{path}` cannot be written: {error}")]
    Write {
        /// Which file or folder.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// What is there already, or what is to be stored, is not a good artifact.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// A document has no canonical form.
    #[error(transparent)]
    Jcs(#[from] JcsError),
    /// A server cannot be reached, or says no.
    #[cfg(feature = "client")]
    #[error(transparent)]
    Remote(Box<crate::remote::RemoteError>),
}

impl From<RegistryError> for Refusal {
    fn from(error: RegistryError) -> Self {
        match error {
            RegistryError::Refused(refusal) => refusal,
            #[cfg(feature = "client")]
            RegistryError::Remote(error) => (*error).into(),
            other => Self::new(RefusalCode::Unreadable, other.to_string()),
        }
    }
}
