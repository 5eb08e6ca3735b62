//! What can go wrong with the catalogue, split by whose fault it is.

use verdict_core::digest::Digest;

use super::page::Etag;

/// The catalogue refuses or fails.
#[derive(Debug, thiserror::Error)]
pub enum CatalogueError {
    /// The address of the database is of a kind that is not known. The text is left out, it may hold a password.
    #[error("the address of a catalogue is `sqlite:PATH` or `postgres://USER@HOST/DATABASE`, not this")]
    Address,
    /// A newer version has written the database.
    #[error(
        "the catalogue has schema {found}, this version knows {known}; run the version that wrote it, or a newer one"
    )]
    Newer {
        /// The schema of the database.
        found: u64,
        /// The newest schema that is known here.
        known: u64,
    },
    /// A migration that was run is not the one that is known under its number.
    #[error("schema {0} of the catalogue was made from another text; restore the database from a backup")]
    Altered(u64),
    /// Something is named that is not there.
    #[error("{what} `{name}` is not there")]
    Missing {
        /// Its kind, such as `policy`.
        what: &'static str,
        /// Its name.
        name: String,
    },
    /// Something else is there already.
    #[error("{what} `{name}` is there already: {found}")]
    Conflict {
        /// Its kind, such as `version`.
        what: &'static str,
        /// Its name.
        name: String,
        /// What is there, and what to do.
        found: String,
    },
    /// The caller has seen an older or another state of a row.
    #[error("{what} `{name}` is now at {found}, not at {expected}; read it again and repeat the change")]
    Stale {
        /// Its kind, such as `policy`.
        what: &'static str,
        /// Its name.
        name: String,
        /// What the caller has seen.
        expected: Etag,
        /// What is there.
        found: Etag,
    },
    /// A document does not follow the one that is the newest.
    #[error(
        "document `{name}` is at sequence {found}, so {offered} cannot follow {after}; read it and sign a higher one"
    )]
    Sequence {
        /// The document.
        name: String,
        /// The sequence that was offered.
        offered: u64,
        /// The sequence that it was meant to follow; 0 for none.
        after: u64,
        /// The newest sequence that is there; 0 for none.
        found: u64,
    },
    /// A manifest names a blob or a manifest that its repository does not have.
    #[error("`{0}` is not in this repository; push or mount it first")]
    UnknownBlob(Digest),
    /// Something still needs what was to be deleted.
    #[error("`{digest}` is needed by {by}")]
    Needed {
        /// What was to be deleted.
        digest: Digest,
        /// What needs it.
        by: String,
    },
    /// A value cannot be stored.
    #[error("`{what}` cannot be stored: {why}")]
    Invalid {
        /// Which value.
        what: &'static str,
        /// What is wrong with it.
        why: String,
    },
    /// Others wrote for too long.
    #[error("the catalogue is busy writing; try again")]
    Busy,
    /// A row cannot be understood: somebody else wrote it.
    #[error("the catalogue holds a {what} that cannot be read; restore the database from a backup")]
    Corrupt {
        /// What could not be read.
        what: &'static str,
    },
    /// The database fails. Whether a commit that fails so has happened is not known: read before it is repeated.
    #[error("the catalogue's database fails: {0}")]
    Database(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl CatalogueError {
    pub(super) fn missing(what: &'static str, name: impl ToString) -> Self {
        Self::Missing { what, name: name.to_string() }
    }

    pub(super) fn conflict(what: &'static str, name: impl ToString, found: impl Into<String>) -> Self {
        Self::Conflict { what, name: name.to_string(), found: found.into() }
    }

    pub(super) fn invalid(what: &'static str, why: impl Into<String>) -> Self {
        Self::Invalid { what, why: why.into() }
    }
}

impl From<sqlx::Error> for CatalogueError {
    fn from(error: sqlx::Error) -> Self {
        let code = error.as_database_error().and_then(|error| error.code()).unwrap_or_default().into_owned();
        // SQLITE_BUSY and its two extended codes; lock_not_available of PostgreSQL.
        let busy = ["5", "261", "517", "55P03"].contains(&code.as_str());
        match error {
            sqlx::Error::PoolTimedOut => Self::Busy,
            _ if busy => Self::Busy,
            other => Self::Database(Box::new(other)),
        }
    }
}
