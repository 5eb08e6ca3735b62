//! The catalogue: which policies, versions, tags and signed documents there are, and what happened to them, in SQLite or
//! PostgreSQL, by the same SQL.
//!
//! Three nouns: the [`Catalogue`] is read from, a [`Write`] is one change of it with everything that belongs together,
//! and an [`Event`] tells of what a change did. It is an index and never a judge: what may run is decided by signed
//! documents, wherever they are used, so that whoever can write to the database can deny service and nothing more.
//!
//! ```
//! use verdict_registry::catalogue::{Catalogue, Change, Limit};
//!
//! # tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(async {
//! # let folder = tempfile::tempdir()?;
//! # let path = folder.path().join("catalogue.db");
//! let catalogue = Catalogue::open(&format!("sqlite:{}", path.display())).await?;
//!
//! let change = Change { actor: "alice".into(), correlation: "request-7".into(), at: "2026-06-01T00:00:00Z".parse()? };
//! let mut write = catalogue.write(change).await?;
//! let _ = write.ensure_policy(&"bank/loan".parse()?).await?;
//! write.commit().await?;
//!
//! let events = catalogue.events_after(0, None, Limit::default()).await?;
//! assert_eq!(events.len(), 2, "a tenant and a policy were made");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! # })?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod access;
mod database;
mod documents;
mod error;
mod events;
mod garbage;
mod migrate;
mod page;
mod policies;
mod push;
mod repositories;
mod uploads;
mod versions;
mod word;
mod write;

use std::fmt;
use std::sync::Arc;

use tokio::sync::{Mutex, OwnedMutexGuard};

use database::Database;
use events::News;

pub use access::{ApiKeyEntry, NewApiKey, StoredResponse};
pub use documents::{DocumentEntry, DocumentKind, DocumentName, NewDocument};
pub use error::CatalogueError;
pub use events::{Event, EventKind};
pub use page::{Etag, Limit, Page};
pub use policies::{PolicyEntry, PolicyFilter, PolicyState, PolicyText, TenantEntry};
pub use repositories::{ManifestEntry, NewManifest, Tag, TagEntry};
pub use versions::{NewStatement, NewVersion, StatementEntry, VersionEntry, VersionState};
pub use write::{Change, Put, Write};

/// A database of policies and what belongs to them. Clones share its connections.
#[derive(Clone)]
pub struct Catalogue {
    inner: Arc<Inner>,
}

struct Inner {
    database: Arc<Database>,
    writers: Arc<Mutex<()>>,
    news: News,
}

impl Catalogue {
    /// Opens the catalogue at `sqlite:PATH`, whose file is made when it is missing, or at
    /// `postgres://USER@HOST/DATABASE`, a database that is its own; then brings its schema up to date.
    ///
    /// # Errors
    /// When the address is of another kind, the database cannot be reached, or a newer version has written it.
    pub async fn open(url: &str) -> Result<Self, CatalogueError> {
        let database = Database::connect(url).await?;
        migrate::migrate(&database).await?;
        let inner = Inner { database: Arc::new(database), writers: Arc::default(), news: News::new() };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Closes the connections once nobody uses them; afterwards everything fails. Without it they close by themselves.
    pub async fn close(&self) {
        self.inner.database.close().await;
    }

    fn database(&self) -> &Database {
        &self.inner.database
    }

    fn shared_database(&self) -> Arc<Database> {
        Arc::clone(&self.inner.database)
    }

    fn news(&self) -> &News {
        &self.inner.news
    }

    fn turn(&self) -> impl Future<Output = OwnedMutexGuard<()>> + use<> {
        Arc::clone(&self.inner.writers).lock_owned()
    }
}

impl fmt::Debug for Catalogue {
    /// Without the address, which may hold a password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.database() {
            Database::Sqlite { .. } => "sqlite",
            Database::Postgres(_) => "postgres",
        };
        f.debug_tuple("Catalogue").field(&kind).finish()
    }
}
