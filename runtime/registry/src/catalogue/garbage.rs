//! Which blobs are needed, so that the others can be deleted, also while something is pushed.
//!
//! The order that keeps a push safe: the pusher pins a digest, stores the blob, links it (or puts the manifest, or the
//! document) and takes the pin away in the same change. The collector first lets go of links that are idle
//! ([`Write::unlink_idle`]) and commits that. Then, inside a change of its own, it asks [`Write::is_garbage`] for each
//! blob and deletes it from the store before that change ends. Nobody can pin meanwhile: whoever pins before is seen,
//! whoever pins later finds the blob gone and stores it again. Killed anywhere, it leaves blobs without a reference,
//! never a reference without a blob.

use verdict_core::digest::Digest;
use verdict_core::time::Timestamp;

use super::Catalogue;
use super::database::{Row, sql};
use super::error::CatalogueError;
use super::page::{Limit, Page, WORD_BYTES_MAX, check_text};
use super::write::Write;

impl Catalogue {
    /// Everything that is referred to, by digest, those after one: manifests, what they name, linked blobs, what
    /// documents and versions name, statements, and what is pinned at this time. What is not among them need not be
    /// garbage when it is deleted: ask [`Write::is_garbage`] then.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn referred(
        &self,
        after: Option<Digest>,
        now: Timestamp,
        limit: Limit,
    ) -> Result<Page<Digest>, CatalogueError> {
        let select = "SELECT digest FROM manifests WHERE digest > $1 \
                      UNION SELECT target FROM manifest_references WHERE target > $1 \
                      UNION SELECT digest FROM repository_blobs WHERE digest > $1 \
                      UNION SELECT target FROM document_references WHERE target > $1 \
                      UNION SELECT image FROM versions WHERE image > $1 \
                      UNION SELECT statement FROM versions WHERE statement > $1 \
                      UNION SELECT component FROM versions WHERE component > $1 \
                      UNION SELECT envelope FROM statements WHERE envelope > $1 \
                      UNION SELECT digest FROM pins WHERE digest > $1 AND (until_ms IS NULL OR until_ms > $2) \
                      ORDER BY 1 LIMIT $3";
        let after = after.map(|digest| digest.to_string()).unwrap_or_default();
        let rows = self.database().all(sql(select).text(after).time(now).number(limit.and_one())).await?;
        let digests = rows.iter().map(|row: &Row| row.digest(0));
        Ok(Page::cut(digests.collect::<Result<_, _>>()?, limit))
    }

    /// Whether a holder keeps a blob at this time.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn is_pinned(
        &self,
        digest: Digest,
        holder: &str,
        now: Timestamp,
    ) -> Result<bool, CatalogueError> {
        let select =
            "SELECT 1 FROM pins WHERE digest = $1 AND holder = $2 AND (until_ms IS NULL OR until_ms > $3)";
        let select = sql(select).text(digest).text(holder).time(now);
        Ok(self.database().one(select).await?.is_some())
    }
}

impl Write {
    /// Keeps a blob from being collected although nothing refers to it yet, until a time or until
    /// [`unpin`](Self::unpin). `holder` says what for, such as `push:` and an upload's id; at most 255 bytes.
    ///
    /// # Errors
    /// When the holder's name is too long or the database fails.
    pub async fn pin(
        &mut self,
        digest: Digest,
        holder: &str,
        until: Option<Timestamp>,
    ) -> Result<(), CatalogueError> {
        check_text("holder", holder, WORD_BYTES_MAX)?;
        let upsert = "INSERT INTO pins (digest, holder, until_ms) VALUES ($1, $2, $3) \
                      ON CONFLICT (digest, holder) DO UPDATE SET until_ms = excluded.until_ms";
        self.work.run(sql(upsert).text(digest).text(holder).maybe_time(until)).await.map(|_| ())
    }

    /// Takes away the pins of a holder; how many there were.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn unpin(&mut self, holder: &str) -> Result<u64, CatalogueError> {
        check_text("holder", holder, WORD_BYTES_MAX)?;
        self.work.run(sql("DELETE FROM pins WHERE holder = $1").text(holder)).await
    }

    /// Lets go of blobs that were linked before a time and that no manifest of their repository names, and of pins
    /// that are over, at most so many each; how many links went.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn unlink_idle(
        &mut self,
        linked_before: Timestamp,
        limit: Limit,
    ) -> Result<u64, CatalogueError> {
        let over = "DELETE FROM pins WHERE (digest, holder) IN \
                    (SELECT digest, holder FROM pins WHERE until_ms <= $1 LIMIT $2)";
        self.work.run(sql(over).time(self.change.at).number(limit.rows() as u64)).await?;
        let idle = "DELETE FROM repository_blobs WHERE (tenant, policy, digest) IN \
                    (SELECT tenant, policy, digest FROM repository_blobs WHERE linked_ms < $1 AND NOT EXISTS \
                    (SELECT 1 FROM manifest_references WHERE manifest_references.tenant = repository_blobs.tenant \
                    AND manifest_references.policy = repository_blobs.policy \
                    AND manifest_references.target = repository_blobs.digest) LIMIT $2)";
        self.work.run(sql(idle).time(linked_before).number(limit.rows() as u64)).await
    }

    /// Whether nothing at all refers to a digest. It stays so until this change ends: delete the blob before.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn is_garbage(&mut self, digest: Digest) -> Result<bool, CatalogueError> {
        let select = "SELECT 1 WHERE EXISTS (SELECT 1 FROM manifests WHERE digest = $1) \
                      OR EXISTS (SELECT 1 FROM manifest_references WHERE target = $1) \
                      OR EXISTS (SELECT 1 FROM repository_blobs WHERE digest = $1) \
                      OR EXISTS (SELECT 1 FROM document_references WHERE target = $1) \
                      OR EXISTS (SELECT 1 FROM versions WHERE image = $1 OR statement = $1 OR component = $1) \
                      OR EXISTS (SELECT 1 FROM statements WHERE envelope = $1) \
                      OR EXISTS (SELECT 1 FROM pins WHERE digest = $1 AND (until_ms IS NULL OR until_ms > $2))";
        let referred = self.exists(sql(select).text(digest).time(self.change.at)).await?;
        Ok(!referred)
    }
}
