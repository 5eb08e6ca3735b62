//! The database's schema: numbered texts, each run once, in one transaction and under a lock.

use verdict_core::digest::Digest;

use super::database::{Database, Row, sql};
use super::error::CatalogueError;

/// The schemas in their order; a text never changes once it was released.
const MIGRATIONS: &[&str] =
    &[include_str!("../../migrations/0001_start.sql"), include_str!("../../migrations/0002_uploads.sql")];

/// Two types that SQLite knows by their names alone.
const POSTGRES_TYPES: &str = "CREATE DOMAIN key_text AS text COLLATE \"C\"; CREATE DOMAIN blob AS bytea;";
/// Any number; it is the name of the lock that those who migrate hold.
const POSTGRES_LOCK: &str = "SELECT pg_advisory_xact_lock(7387283625)";
const APPLIED: &str = "CREATE TABLE IF NOT EXISTS migrations \
                       (number BIGINT PRIMARY KEY, digest TEXT NOT NULL)";

const LIST: &str = "SELECT number, digest FROM migrations ORDER BY number";

/// Brings the schema to the newest that is known here. Several may try at once: the others wait, then find it done.
pub(super) async fn migrate(database: &Database) -> Result<(), CatalogueError> {
    // Where nothing is to be done, nobody waits for a writer. An error here is most often that there are no tables.
    if let Ok(rows) = database.all(sql(LIST)).await
        && known(&rows)? == MIGRATIONS.len()
    {
        return Ok(());
    }
    let mut work = database.begin().await?;
    if work.is_postgres() {
        work.script(POSTGRES_LOCK).await?;
    }
    work.script(APPLIED).await?;
    let applied = known(&work.all(sql(LIST)).await?)?;
    for (number, text) in (1..).zip(MIGRATIONS).skip(applied) {
        if number == 1 && work.is_postgres() {
            work.script(POSTGRES_TYPES).await?;
        }
        work.script(text).await?;
        let insert = sql("INSERT INTO migrations (number, digest) VALUES ($1, $2)");
        work.run(insert.number(number).text(Digest::of(text.as_bytes()))).await?;
    }
    work.commit().await
}

/// How many were run, when they are the ones that are known here.
fn known(rows: &[Row]) -> Result<usize, CatalogueError> {
    for (place, row) in rows.iter().enumerate() {
        let number = row.number(0)?;
        let Some(text) = MIGRATIONS.get(place) else {
            let known = u64::try_from(MIGRATIONS.len()).unwrap_or(u64::MAX);
            return Err(CatalogueError::Newer { found: number, known });
        };
        if row.digest(1)? != Digest::of(text.as_bytes()) {
            return Err(CatalogueError::Altered(number));
        }
    }
    Ok(rows.len())
}
