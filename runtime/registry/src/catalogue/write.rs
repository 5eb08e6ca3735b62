//! One change of the catalogue: everything in it happens, with its events, or nothing of it.

use std::collections::BTreeMap;

use tokio::sync::OwnedMutexGuard;
use tokio::time::timeout;
use verdict_core::digest::Digest;
use verdict_core::name::Tenant;
use verdict_core::time::Timestamp;

use super::Catalogue;
use super::database::{Sql, WRITE_WAIT, Work, sql};
use super::error::CatalogueError;
use super::events::{CHANNEL, EventKind, Teller};
use super::page::{JSON_BYTES_MAX, WORD_BYTES_MAX, check_text};

/// Who changes something, when, and in the course of what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Who: a person, a host, a command. At most 255 bytes.
    pub actor: String,
    /// What ties the change to a request and to other changes. At most 255 bytes.
    pub correlation: String,
    /// When, by the caller's clock.
    pub at: Timestamp,
}

/// Whether something was new.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Put {
    /// It was not there before.
    Created,
    /// The same was there already: nothing was changed, and there is no event.
    Unchanged,
    /// Something else was there, which it replaces.
    Replaced,
}

/// A change under way: a transaction that holds the lock of writers until it is committed or dropped. Dropped it is
/// undone. Nothing slow belongs between its begin and its end; blobs are stored before.
///
/// What the [`Catalogue`] reads meanwhile is the state before this change, and nobody else changes it.
/// After an error of the kind [`CatalogueError::Database`] it can only be dropped.
#[must_use]
pub struct Write {
    pub(super) work: Work,
    pub(super) change: Change,
    /// The number of the last event before this change, and of the last one with it.
    before: u64,
    head: u64,
    news: Teller,
    _turn: OwnedMutexGuard<()>,
}

impl Catalogue {
    /// Begins a change. One is under way at a time, in this process and in all others: that puts events in order.
    ///
    /// # Errors
    /// [`CatalogueError::Busy`] when others write for longer than 20 s, or when the database fails.
    pub async fn write(&self, change: Change) -> Result<Write, CatalogueError> {
        check_text("actor", &change.actor, WORD_BYTES_MAX)?;
        check_text("correlation id", &change.correlation, WORD_BYTES_MAX)?;
        // In line here rather than at the database: those who wait hold no connection that the first may need.
        let turn = timeout(WRITE_WAIT, self.turn()).await.map_err(|_| CatalogueError::Busy)?;
        let mut work = self.database().begin().await?;
        let lock = if work.is_postgres() {
            "SELECT seq FROM event_head FOR UPDATE"
        } else {
            "SELECT seq FROM event_head"
        };
        let row = work.one(sql(lock)).await?;
        let head = row.ok_or(CatalogueError::Corrupt { what: "event head" })?.number(0)?;
        Ok(Write { work, change, before: head, head, news: self.news().teller(), _turn: turn })
    }
}

/// What an event says beside who, when and why.
pub(super) struct Told<'a> {
    pub(super) kind: EventKind,
    pub(super) tenant: Option<&'a Tenant>,
    pub(super) subject: String,
    pub(super) digest: Option<Digest>,
    pub(super) detail: BTreeMap<String, String>,
}

impl<'a> Told<'a> {
    pub(super) fn new(kind: EventKind, tenant: &'a Tenant, subject: impl ToString) -> Self {
        Self {
            kind,
            tenant: Some(tenant),
            subject: subject.to_string(),
            digest: None,
            detail: BTreeMap::new(),
        }
    }

    pub(super) fn digest(mut self, digest: Digest) -> Self {
        self.digest = Some(digest);
        self
    }

    pub(super) fn detail(mut self, name: &str, value: impl ToString) -> Self {
        self.detail.insert(name.into(), value.to_string());
        self
    }
}

impl Write {
    /// The number that the next event gets.
    pub(super) fn next_seq(&self) -> u64 {
        self.head + 1
    }

    /// Writes an event; its number.
    pub(super) async fn tell(&mut self, told: Told<'_>) -> Result<u64, CatalogueError> {
        let seq = self.next_seq();
        let insert = "INSERT INTO events (seq, at_ms, actor, correlation, kind, tenant, subject, digest, detail) \
                      VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)";
        let insert = sql(insert)
            .number(seq)
            .time(self.change.at)
            .text(&self.change.actor)
            .text(&self.change.correlation)
            .text(told.kind)
            .maybe_text(told.tenant)
            .text(told.subject)
            .maybe_text(told.digest)
            .text(json(&told.detail)?);
        self.work.run(insert).await?;
        self.head = seq;
        Ok(seq)
    }

    /// Writes an event of a host about something of its own, such as a version that it could not load. Its number.
    ///
    /// # Errors
    /// When the texts are too long or the database fails.
    pub async fn report(
        &mut self,
        tenant: Option<&Tenant>,
        subject: &str,
        digest: Option<Digest>,
        detail: BTreeMap<String, String>,
    ) -> Result<u64, CatalogueError> {
        check_text("subject", subject, WORD_BYTES_MAX)?;
        self.tell(Told { kind: EventKind::HostReported, tenant, subject: subject.into(), digest, detail })
            .await
    }

    /// Makes the change last: durable when this returns, and told to those who wait for events.
    /// The number of the last event there is.
    ///
    /// # Errors
    /// When the database fails; then it is not known whether the change has happened.
    pub async fn commit(mut self) -> Result<u64, CatalogueError> {
        let Self { before, head, .. } = self;
        if head > before {
            self.work.run(sql("UPDATE event_head SET seq = $1").number(head)).await?;
            if self.work.is_postgres() {
                let notify = sql("SELECT pg_notify($1, $2)").text(CHANNEL).text(head);
                self.work.one(notify).await?;
            }
        }
        self.work.commit().await?;
        if head > before {
            self.news.committed(head);
        }
        Ok(head)
    }

    /// Whether a reading statement has a row.
    pub(super) async fn exists(&mut self, sql: Sql) -> Result<bool, CatalogueError> {
        Ok(self.work.one(sql).await?.is_some())
    }
}

/// JSON that is stored beside a row.
pub(super) fn json<T: serde::Serialize>(value: &T) -> Result<String, CatalogueError> {
    let text =
        serde_json::to_string(value).map_err(|error| CatalogueError::invalid("json", error.to_string()))?;
    check_text("json", &text, JSON_BYTES_MAX)?;
    Ok(text)
}
