//! Garbage: blobs that nothing refers to, uploads that nobody finished.
//!
//! What a push under way has brought is pinned, and young: either would keep it. What is referred to is seen in the
//! same change that holds the lock of writers while the blob is deleted, so that nothing can come to refer to it
//! between the look and the deletion.

use std::collections::BTreeSet;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use verdict_core::digest::Digest;
use verdict_core::time::Timestamp;

use super::{Registry, RepositoryError};
use crate::catalogue::{Change, Limit};
use crate::store::Stored;

/// How many blobs are deleted in one change, so that pushes wait for moments only.
const BATCH: usize = 16;
const PAGE: u32 = 1_000;

/// What a collection did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Collected {
    /// Blobs deleted from the store.
    pub blobs: u64,
    /// Their sizes together, in bytes.
    pub bytes: u64,
    /// Links of repositories to blobs that no manifest names.
    pub links: u64,
    /// Uploads that nobody went on with.
    pub uploads: u64,
}

impl Registry {
    /// Deletes what nothing refers to: links and blobs that were last pushed longer than `grace` before `now`, and
    /// uploads that expired. Versions, tags, documents and whatever they name stay, and so does what a push under way
    /// has brought. `grace` must be longer than any push takes; below an hour it counts as an hour.
    ///
    /// # Errors
    /// When store or catalogue fail; what was deleted until then was garbage.
    pub async fn collect(&self, now: Timestamp, grace: Duration) -> Result<Collected, RepositoryError> {
        let grace = grace.max(Duration::from_secs(3_600));
        let before = earlier(now, grace);
        let change =
            Change { actor: "garbage collector".into(), correlation: format!("collect {now}"), at: now };
        let mut collected =
            Collected { uploads: self.blobs().expire().await? as u64, ..Collected::default() };
        collected.links = self.let_go(before, &change).await?;
        let mut after = None;
        loop {
            let page = self.blobs().list(after, PAGE as usize).await?;
            let Some(last) = page.last().map(|(digest, _)| *digest) else { return Ok(collected) };
            let referred = self.referred(after, last, now).await?;
            let old = |stored: &Stored| stored.modified < system_time(before);
            let unreferred = page.iter().filter(|(digest, stored)| !referred.contains(digest) && old(stored));
            let candidates: Vec<(Digest, Stored)> = unreferred.copied().collect();
            for batch in candidates.chunks(BATCH) {
                self.delete_garbage(batch, before, &change, &mut collected).await?;
            }
            after = Some(last);
        }
    }

    /// Forgets idle links, pins that are over, and uploads that have expired.
    async fn let_go(&self, before: Timestamp, change: &Change) -> Result<u64, RepositoryError> {
        let mut links = 0;
        loop {
            let limit = Limit::new(PAGE);
            let mut write = self.catalogue().write(change.clone()).await?;
            let gone = write.unlink_idle(before, limit).await?;
            // By their beginning: the store knows better when they were last gone on with, and has its own limit.
            let forgotten = write.forget_uploads(earlier(before, UPLOAD_AGE_MAX), limit).await?;
            write.commit().await?;
            links += gone;
            if gone.max(forgotten) < limit.rows() as u64 {
                return Ok(links);
            }
        }
    }

    /// What is referred to after one digest up to another.
    async fn referred(
        &self,
        after: Option<Digest>,
        last: Digest,
        now: Timestamp,
    ) -> Result<BTreeSet<Digest>, RepositoryError> {
        let (mut found, mut after) = (BTreeSet::new(), after);
        loop {
            let page = self.catalogue().referred(after, now, Limit::new(PAGE)).await?;
            after = page.items.last().copied();
            found.extend(page.items.into_iter().take_while(|digest| *digest <= last));
            if !page.more || after.is_none_or(|after| after >= last) {
                return Ok(found);
            }
        }
    }

    async fn delete_garbage(
        &self,
        batch: &[(Digest, Stored)],
        before: Timestamp,
        change: &Change,
        collected: &mut Collected,
    ) -> Result<(), RepositoryError> {
        let mut write = self.catalogue().write(change.clone()).await?;
        for (digest, stored) in batch {
            // The lock is held until `write` is dropped: nobody pins or names the blob in between.
            if write.is_garbage(*digest).await?
                && self.blobs().delete_older(*digest, system_time(before)).await?
            {
                collected.blobs += 1;
                collected.bytes += stored.bytes;
            }
        }
        Ok(())
    }
}

/// How long after its beginning an upload is forgotten even if somebody still goes on with it.
const UPLOAD_AGE_MAX: Duration = Duration::from_secs(7 * 24 * 60 * 60);

fn earlier(at: Timestamp, by: Duration) -> Timestamp {
    let ms = i64::try_from(by.as_millis()).unwrap_or(i64::MAX);
    Timestamp::from_millis(at.millis().saturating_sub(ms)).unwrap_or(Timestamp::EPOCH)
}

fn system_time(at: Timestamp) -> SystemTime {
    let ms = u64::try_from(at.millis()).unwrap_or_default();
    UNIX_EPOCH.checked_add(Duration::from_millis(ms)).unwrap_or(UNIX_EPOCH)
}
