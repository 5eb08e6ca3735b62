//! One way to speak to SQLite and to PostgreSQL: a constant text with `$1` in it, and values of three types.
//!
//! The driver for any database that sqlx has is not used: it stops the process at values that it does not expect.

use std::path::Path;
use std::str::FromStr;
use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgPoolOptions, PgRow};
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteRow, SqliteSynchronous,
};
use sqlx::{ConnectOptions, Decode, PgPool, Postgres, Row as _, Sqlite, SqlitePool, Transaction, Type};
use verdict_core::digest::Digest;
use verdict_core::time::Timestamp;

use super::error::CatalogueError;
use super::page::Etag;

/// How long a writer waits for the others.
pub(super) const WRITE_WAIT: Duration = Duration::from_secs(20);
const CONNECT_WAIT: Duration = Duration::from_secs(20);
const SQLITE_READERS: u32 = 4;
const POSTGRES_CONNECTIONS: u32 = 12;

/// One statement with its values.
pub(super) struct Sql {
    text: &'static str,
    values: Vec<Value>,
}

enum Value {
    Text(Option<String>),
    Number(Option<i64>),
    Bytes(Vec<u8>),
}

/// A statement. Its text is a constant, so that nobody's input is ever part of it.
pub(super) fn sql(text: &'static str) -> Sql {
    Sql { text, values: Vec::new() }
}

impl Sql {
    fn with(mut self, value: Value) -> Self {
        self.values.push(value);
        self
    }

    pub(super) fn text(self, text: impl ToString) -> Self {
        self.with(Value::Text(Some(text.to_string())))
    }

    pub(super) fn maybe_text(self, text: Option<impl ToString>) -> Self {
        self.with(Value::Text(text.map(|text| text.to_string())))
    }

    /// A number. What is above 2^63 becomes 2^63 - 1, which is right for bounds; what is stored is checked before.
    pub(super) fn number(self, number: u64) -> Self {
        self.with(Value::Number(Some(i64::try_from(number).unwrap_or(i64::MAX))))
    }

    pub(super) fn time(self, time: Timestamp) -> Self {
        self.with(Value::Number(Some(time.millis())))
    }

    pub(super) fn maybe_time(self, time: Option<Timestamp>) -> Self {
        self.with(Value::Number(time.map(|time| time.millis())))
    }

    pub(super) fn bytes(self, bytes: &[u8]) -> Self {
        self.with(Value::Bytes(bytes.to_vec()))
    }
}

/// The same for both databases: their drivers have no trait in common that says so briefly.
macro_rules! bound {
    ($database:ty, $sql:expr) => {{
        let Sql { text, values } = $sql;
        values.into_iter().fold(sqlx::query::<$database>(text), |query, value| match value {
            Value::Text(text) => query.bind(text),
            Value::Number(number) => query.bind(number),
            Value::Bytes(bytes) => query.bind(bytes),
        })
    }};
}

/// One row of a result; columns are read by their place.
pub(super) enum Row {
    Sqlite(SqliteRow),
    Postgres(PgRow),
}

impl Row {
    fn column<T>(&self, place: usize, what: &'static str) -> Result<T, CatalogueError>
    where
        T: for<'r> Decode<'r, Sqlite> + Type<Sqlite> + for<'r> Decode<'r, Postgres> + Type<Postgres>,
    {
        let value = match self {
            Self::Sqlite(row) => row.try_get(place),
            Self::Postgres(row) => row.try_get(place),
        };
        value.map_err(|_| CatalogueError::Corrupt { what })
    }

    pub(super) fn text(&self, place: usize) -> Result<String, CatalogueError> {
        self.column(place, "text")
    }

    pub(super) fn maybe_text(&self, place: usize) -> Result<Option<String>, CatalogueError> {
        self.column(place, "text")
    }

    pub(super) fn number(&self, place: usize) -> Result<u64, CatalogueError> {
        let number: i64 = self.column(place, "number")?;
        u64::try_from(number).map_err(|_| CatalogueError::Corrupt { what: "number" })
    }

    pub(super) fn bytes(&self, place: usize) -> Result<Vec<u8>, CatalogueError> {
        self.column(place, "bytes")
    }

    pub(super) fn etag(&self, place: usize) -> Result<Etag, CatalogueError> {
        Ok(Etag::of(self.number(place)?))
    }

    pub(super) fn time(&self, place: usize) -> Result<Timestamp, CatalogueError> {
        self.maybe_time(place)?.ok_or(CatalogueError::Corrupt { what: "time" })
    }

    pub(super) fn maybe_time(&self, place: usize) -> Result<Option<Timestamp>, CatalogueError> {
        let ms: Option<i64> = self.column(place, "time")?;
        ms.map(Timestamp::from_millis).transpose().map_err(|_| CatalogueError::Corrupt { what: "time" })
    }

    /// A text that is parsed into what it was written from.
    pub(super) fn parsed<T: FromStr>(&self, place: usize, what: &'static str) -> Result<T, CatalogueError> {
        self.text(place)?.parse().map_err(|_| CatalogueError::Corrupt { what })
    }

    pub(super) fn maybe_parsed<T: FromStr>(
        &self,
        place: usize,
        what: &'static str,
    ) -> Result<Option<T>, CatalogueError> {
        let text = self.maybe_text(place)?;
        text.map(|text| text.parse()).transpose().map_err(|_| CatalogueError::Corrupt { what })
    }

    pub(super) fn digest(&self, place: usize) -> Result<Digest, CatalogueError> {
        self.parsed(place, "digest")
    }

    pub(super) fn json<T: serde::de::DeserializeOwned>(&self, place: usize) -> Result<T, CatalogueError> {
        serde_json::from_str(&self.text(place)?).map_err(|_| CatalogueError::Corrupt { what: "json" })
    }
}

/// The connections to one database.
pub(super) enum Database {
    /// Readers see the last commit while the one writer writes (write-ahead log).
    Sqlite {
        readers: SqlitePool,
        writer: SqlitePool,
    },
    Postgres(PgPool),
}

impl Database {
    /// Connects. SQLite's file is made when it is missing, its folder is not.
    pub(super) async fn connect(url: &str) -> Result<Self, CatalogueError> {
        if let Some(path) = url.strip_prefix("sqlite:") {
            let path = path.strip_prefix("//").unwrap_or(path);
            // A database in memory would be another one for every connection.
            if path.is_empty() || path.starts_with(':') {
                return Err(CatalogueError::Address);
            }
            return Self::sqlite(Path::new(path)).await;
        }
        if url.starts_with("postgres:") || url.starts_with("postgresql:") {
            let options = PgConnectOptions::from_str(url).map_err(|_| CatalogueError::Address)?;
            return Self::postgres(options).await;
        }
        Err(CatalogueError::Address)
    }

    async fn sqlite(path: &Path) -> Result<Self, CatalogueError> {
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            // A commit is on the disk when it is acknowledged; NORMAL would lose the last ones with the power.
            .synchronous(SqliteSynchronous::Full)
            .foreign_keys(true)
            // For writers in other processes; those of this one wait in line before they come here.
            .busy_timeout(WRITE_WAIT)
            .disable_statement_logging();
        let lasting = |connections| {
            // All at once: each has a thread, which may run where the one may that it is made by.
            let pool = SqlitePoolOptions::new().max_connections(connections).min_connections(connections);
            pool.acquire_timeout(CONNECT_WAIT)
                .idle_timeout(None)
                .max_lifetime(None)
                .test_before_acquire(false)
        };
        let writer = lasting(1).connect_with(options.clone()).await?;
        let readers = lasting(SQLITE_READERS).connect_with(options.pragma("query_only", "ON")).await?;
        Ok(Self::Sqlite { readers, writer })
    }

    async fn postgres(options: PgConnectOptions) -> Result<Self, CatalogueError> {
        let pool = PgPoolOptions::new().max_connections(POSTGRES_CONNECTIONS).acquire_timeout(CONNECT_WAIT);
        let options = options.application_name("verdict").disable_statement_logging();
        Ok(Self::Postgres(pool.connect_with(options).await?))
    }

    /// All rows of a reading statement.
    pub(super) async fn all(&self, sql: Sql) -> Result<Vec<Row>, CatalogueError> {
        Ok(match self {
            Self::Sqlite { readers, .. } => {
                bound!(Sqlite, sql).fetch_all(readers).await?.into_iter().map(Row::Sqlite).collect()
            }
            Self::Postgres(pool) => {
                bound!(Postgres, sql).fetch_all(pool).await?.into_iter().map(Row::Postgres).collect()
            }
        })
    }

    /// The only row of a reading statement, if there is one.
    pub(super) async fn one(&self, sql: Sql) -> Result<Option<Row>, CatalogueError> {
        Ok(match self {
            Self::Sqlite { readers, .. } => {
                bound!(Sqlite, sql).fetch_optional(readers).await?.map(Row::Sqlite)
            }
            Self::Postgres(pool) => bound!(Postgres, sql).fetch_optional(pool).await?.map(Row::Postgres),
        })
    }

    /// A transaction that may write. On SQLite it holds the lock of writers from here on; on PostgreSQL its caller
    /// takes one as its first statement. It never waits for a lock without end.
    pub(super) async fn begin(&self) -> Result<Work, CatalogueError> {
        Ok(match self {
            Self::Sqlite { writer, .. } => Work::Sqlite(writer.begin_with("BEGIN IMMEDIATE").await?),
            Self::Postgres(pool) => {
                // Each statement sees what was committed before it began, so what is read after the lock is current.
                let begin = "BEGIN ISOLATION LEVEL READ COMMITTED; SET LOCAL lock_timeout = '20s'; \
                             SET LOCAL idle_in_transaction_session_timeout = '60s'";
                Work::Postgres(pool.begin_with(begin).await?)
            }
        })
    }

    pub(super) async fn close(&self) {
        match self {
            Self::Sqlite { readers, writer } => {
                readers.close().await;
                writer.close().await;
            }
            Self::Postgres(pool) => pool.close().await,
        }
    }
}

/// An open transaction. Dropped without a commit it is undone.
pub(super) enum Work {
    Sqlite(Transaction<'static, Sqlite>),
    Postgres(Transaction<'static, Postgres>),
}

impl Work {
    pub(super) async fn all(&mut self, sql: Sql) -> Result<Vec<Row>, CatalogueError> {
        Ok(match self {
            Self::Sqlite(work) => {
                bound!(Sqlite, sql).fetch_all(&mut **work).await?.into_iter().map(Row::Sqlite).collect()
            }
            Self::Postgres(work) => {
                bound!(Postgres, sql).fetch_all(&mut **work).await?.into_iter().map(Row::Postgres).collect()
            }
        })
    }

    pub(super) async fn one(&mut self, sql: Sql) -> Result<Option<Row>, CatalogueError> {
        Ok(match self {
            Self::Sqlite(work) => bound!(Sqlite, sql).fetch_optional(&mut **work).await?.map(Row::Sqlite),
            Self::Postgres(work) => {
                bound!(Postgres, sql).fetch_optional(&mut **work).await?.map(Row::Postgres)
            }
        })
    }

    /// Runs a statement that returns no rows; the number of rows that it changed.
    pub(super) async fn run(&mut self, sql: Sql) -> Result<u64, CatalogueError> {
        Ok(match self {
            Self::Sqlite(work) => bound!(Sqlite, sql).execute(&mut **work).await?.rows_affected(),
            Self::Postgres(work) => bound!(Postgres, sql).execute(&mut **work).await?.rows_affected(),
        })
    }

    /// Runs the statements of a text that is a part of this program.
    pub(super) async fn script(&mut self, text: &'static str) -> Result<(), CatalogueError> {
        match self {
            Self::Sqlite(work) => sqlx::raw_sql(text).execute(&mut **work).await.map(|_| ())?,
            Self::Postgres(work) => sqlx::raw_sql(text).execute(&mut **work).await.map(|_| ())?,
        }
        Ok(())
    }

    pub(super) fn is_postgres(&self) -> bool {
        matches!(self, Self::Postgres(_))
    }

    pub(super) async fn commit(self) -> Result<(), CatalogueError> {
        match self {
            Self::Sqlite(work) => work.commit().await?,
            Self::Postgres(work) => work.commit().await?,
        }
        Ok(())
    }
}
