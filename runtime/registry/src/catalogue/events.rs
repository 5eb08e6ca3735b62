//! What happened, in order: read after a number, or waited for.
//!
//! Why a reader that asks for what comes after number `n` never misses an event whose transaction commits late: every
//! transaction that writes takes the lock of the one row of `event_head` as its first statement and holds it until it
//! has ended, so the next one reads the number only when the last one is visible or undone. Numbers are therefore
//! given in the order of commits, without gaps, and whoever sees `n` sees everything below it.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use sqlx::postgres::PgListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};
use verdict_core::digest::Digest;
use verdict_core::name::Tenant;
use verdict_core::time::Timestamp;

use super::Catalogue;
use super::database::{Database, Row, Sql, sql};
use super::error::CatalogueError;
use super::page::Limit;
use super::word::words;

/// The channel of PostgreSQL on which commits are told.
pub(super) const CHANNEL: &str = "verdict_events";
/// How often the number of the last event is read. For SQLite it is the only way to learn of other processes.
const SQLITE_POLL: Duration = Duration::from_millis(50);
const POSTGRES_POLL: Duration = Duration::from_secs(1);
const LISTEN_AGAIN: Duration = Duration::from_secs(1);
/// How long the number that was read last counts as known: two polls of the slower database, and some patience.
const KNOWN_FOR: Duration = Duration::from_secs(3);

words! {
    /// What an event tells of.
    EventKind, "kind of event" {
        /// A tenant was made.
        TenantCreated = "tenant.created",
        /// A tenant's description was changed.
        TenantChanged = "tenant.changed",
        /// A policy was made.
        PolicyCreated = "policy.created",
        /// What is said about a policy was changed, or it was archived or opened again.
        PolicyChanged = "policy.changed",
        /// A version was published.
        VersionPublished = "version.published",
        /// A version was revoked.
        VersionRevoked = "version.revoked",
        /// A statement was attached to an image: an approval, a test result.
        StatementAttached = "statement.attached",
        /// A manifest came into a repository.
        ManifestPushed = "manifest.pushed",
        /// A manifest was deleted.
        ManifestDeleted = "manifest.deleted",
        /// A tag was made or names another manifest.
        TagMoved = "tag.moved",
        /// A tag was deleted.
        TagDeleted = "tag.deleted",
        /// There is a new trust policy.
        TrustChanged = "trust.changed",
        /// There is a new list of revocations.
        RevocationsChanged = "revocations.changed",
        /// There is a new state of a channel.
        ChannelChanged = "channel.changed",
        /// There is a new data snapshot.
        DataChanged = "data.changed",
        /// An API key was made.
        KeyCreated = "key.created",
        /// An API key was revoked.
        KeyRevoked = "key.revoked",
        /// A host has something to say, such as a version that it could not load; the detail has it.
        HostReported = "host.reported",
    }
}

/// One thing that happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Its number: one more than the event's before it.
    pub seq: u64,
    /// When, by the clock of the one who wrote it.
    pub at: Timestamp,
    /// Who did it.
    pub actor: String,
    /// What ties it to a request and to other events.
    pub correlation: String,
    /// What happened.
    pub kind: EventKind,
    /// Whose it is; none when it concerns every tenant.
    pub tenant: Option<Tenant>,
    /// What it happened to, such as `bank/loan` or `bank/loan@production`.
    pub subject: String,
    /// The digest of what came or went, where there is one.
    pub digest: Option<Digest>,
    /// More about it: names and values, none of them secret.
    pub detail: BTreeMap<String, String>,
}

impl Event {
    fn read(row: &Row) -> Result<Self, CatalogueError> {
        Ok(Self {
            seq: row.number(0)?,
            at: row.time(1)?,
            actor: row.text(2)?,
            correlation: row.text(3)?,
            kind: row.parsed(4, "kind of event")?,
            tenant: row.maybe_parsed(5, "tenant")?,
            subject: row.text(6)?,
            digest: row.maybe_parsed(7, "digest")?,
            detail: row.json(8)?,
        })
    }
}

impl Catalogue {
    /// The number of the last event; 0 before the first. Lower than what a reader has seen: the database was restored
    /// from a backup, and the reader starts over.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn event_head(&self) -> Result<u64, CatalogueError> {
        head(self.database()).await
    }

    /// A number that is another one after every change of the catalogue, without asking the database: at once for commits
    /// of this process, for those of others as late as [`wait_for_events`](Self::wait_for_events) sees them. What is read
    /// after the number holds as long as it stays. None when the database has not told for three seconds, or only now
    /// begins to.
    ///
    /// Needs the runtime of tokio.
    pub fn generation(&self) -> Option<u64> {
        drop(self.news().follow(self.shared_database()));
        self.news().generation()
    }

    /// The events after number `after`, in order: of one tenant (with those that concern every tenant), or all.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn events_after(
        &self,
        after: u64,
        tenant: Option<&Tenant>,
        limit: Limit,
    ) -> Result<Vec<Event>, CatalogueError> {
        let rows = self.database().all(match tenant {
            None => every(after, limit),
            Some(tenant) => of(tenant, after, limit),
        });
        rows.await?.iter().map(Event::read).collect()
    }

    /// As [`events_after`](Self::events_after), but when there are none yet, waits for the first, at most `patience`;
    /// then the answer is empty. A commit by this process is seen at once, one by another process over PostgreSQL at
    /// its notification or within a second, over SQLite within 50 ms.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn wait_for_events(
        &self,
        after: u64,
        tenant: Option<&Tenant>,
        limit: Limit,
        patience: Duration,
    ) -> Result<Vec<Event>, CatalogueError> {
        let deadline = Instant::now() + patience;
        let mut news = self.news().follow(self.shared_database());
        loop {
            // Marked as seen before the events are read: what is committed in between is news again.
            news.borrow_and_update();
            let events = self.events_after(after, tenant, limit).await?;
            let left = deadline.saturating_duration_since(Instant::now());
            if !events.is_empty() || left.is_zero() {
                return Ok(events);
            }
            // Whether there is news or the patience is over, the events are read once more.
            let _ = timeout(left, news.changed()).await;
        }
    }
}

fn every(after: u64, limit: Limit) -> Sql {
    let text = "SELECT seq, at_ms, actor, correlation, kind, tenant, subject, digest, detail FROM events \
                WHERE seq > $1 ORDER BY seq LIMIT $2";
    sql(text).number(after).number(limit.rows() as u64)
}

fn of(tenant: &Tenant, after: u64, limit: Limit) -> Sql {
    let text = "SELECT seq, at_ms, actor, correlation, kind, tenant, subject, digest, detail FROM events \
                WHERE seq > $1 AND (tenant = $2 OR tenant IS NULL) ORDER BY seq LIMIT $3";
    sql(text).number(after).text(tenant).number(limit.rows() as u64)
}

async fn head(database: &Database) -> Result<u64, CatalogueError> {
    let row = database.one(sql("SELECT seq FROM event_head")).await?;
    row.ok_or(CatalogueError::Corrupt { what: "event head" })?.number(0)
}

/// Tells those who wait that there are new events.
pub(super) struct News {
    teller: Teller,
    followers: Mutex<Vec<JoinHandle<()>>>,
}

/// The end of who learns of events first.
#[derive(Clone)]
pub(super) struct Teller {
    head: watch::Sender<u64>,
    generation: Arc<AtomicU64>,
    /// When the database was asked, the last time that it answered.
    heard: Arc<Mutex<Option<Instant>>>,
}

impl Teller {
    /// Of a commit of this process.
    pub(super) fn committed(&self, head: u64) {
        self.generation.fetch_add(1, Ordering::SeqCst);
        // Set even when it was higher: a watcher may have been ahead, and then reads once too often.
        self.head.send_replace(head);
    }

    /// Reads the number from the database. When that fails, readers learn it from their own reading.
    async fn ask(&self, database: &Database) {
        let asked = Instant::now();
        let Ok(seq) = head(database).await else { return };
        // It may have been read before a commit that was told since; then the next one mends it.
        if self.head.send_if_modified(|last| std::mem::replace(last, seq) != seq) {
            self.generation.fetch_add(1, Ordering::SeqCst);
        }
        *self.heard.lock().unwrap_or_else(PoisonError::into_inner) = Some(asked);
    }
}

impl News {
    pub(super) fn new() -> Self {
        let teller =
            Teller { head: watch::Sender::new(0), generation: Arc::default(), heard: Arc::default() };
        Self { teller, followers: Mutex::new(Vec::new()) }
    }

    /// The one who commits says so here.
    pub(super) fn teller(&self) -> Teller {
        self.teller.clone()
    }

    fn generation(&self) -> Option<u64> {
        let heard = *self.teller.heard.lock().unwrap_or_else(PoisonError::into_inner);
        (heard?.elapsed() < KNOWN_FOR).then(|| self.teller.generation.load(Ordering::SeqCst))
    }

    /// A reader's end. The first starts what watches for the commits of others; a command that never waits does
    /// without.
    fn follow(&self, database: Arc<Database>) -> watch::Receiver<u64> {
        let mut followers = self.followers.lock().unwrap_or_else(PoisonError::into_inner);
        // They end with the runtime that started them, which need not be the one of this reader.
        if followers.is_empty() || followers.iter().any(JoinHandle::is_finished) {
            followers.drain(..).for_each(|follower| follower.abort());
            followers.push(tokio::spawn(poll(Arc::clone(&database), self.teller())));
            followers.push(tokio::spawn(listen(database, self.teller())));
        }
        self.teller.head.subscribe()
    }
}

impl Drop for News {
    fn drop(&mut self) {
        let followers = self.followers.get_mut().unwrap_or_else(PoisonError::into_inner);
        followers.drain(..).for_each(|follower| follower.abort());
    }
}

/// Reads the number of the last event again and again: works without any notification.
async fn poll(database: Arc<Database>, news: Teller) {
    let pause = match &*database {
        Database::Sqlite { .. } => SQLITE_POLL,
        Database::Postgres(_) => POSTGRES_POLL,
    };
    loop {
        news.ask(&database).await;
        sleep(pause).await;
    }
}

/// Listens to PostgreSQL, for good: for SQLite there is nothing to hear, and it sleeps.
async fn listen(database: Arc<Database>, news: Teller) {
    loop {
        if let Database::Postgres(pool) = &*database
            && let Ok(mut listener) = PgListener::connect_with(pool).await
            && listener.listen(CHANNEL).await.is_ok()
        {
            // A lost connection is made again by the listener, and says so with `None`: then something may have been
            // missed, and the number is read just the same.
            while listener.try_recv().await.is_ok() {
                news.ask(&database).await;
            }
        }
        sleep(LISTEN_AGAIN).await;
    }
}
