//! Changes of repositories: blobs linked, manifests put and deleted, tags moved.

use verdict_core::digest::Digest;
use verdict_core::name::PolicyName;

use super::error::CatalogueError;
use super::events::EventKind;
use super::page::{Etag, WORD_BYTES_MAX, check_text};
use super::repositories::{NewManifest, Tag, TagEntry, within};
use super::write::{Put, Told, Write, json};

/// The most blobs, and the most manifests, that one manifest may name.
const REFERENCES_MAX: usize = 1_000;

impl Write {
    /// Lets a repository see a blob that is in the content store and pinned. Once more renews the link, so that
    /// it counts as fresh for [`unlink_idle`](Self::unlink_idle).
    ///
    /// # Errors
    /// [`CatalogueError::Missing`] without the tenant.
    pub async fn link_blob(
        &mut self,
        repository: &PolicyName,
        digest: Digest,
        bytes: u64,
    ) -> Result<Put, CatalogueError> {
        let update =
            "UPDATE repository_blobs SET linked_ms = $4 WHERE tenant = $1 AND policy = $2 AND digest = $3";
        let update = within(repository, update).text(digest).time(self.change.at);
        if self.work.run(update).await? > 0 {
            return Ok(Put::Unchanged);
        }
        self.require_tenant(repository.tenant()).await?;
        let insert = "INSERT INTO repository_blobs (tenant, policy, digest, bytes, linked_ms) \
                      VALUES ($1, $2, $3, $4, $5)";
        let insert = within(repository, insert).text(digest).number(stored("blob size", bytes)?);
        self.work.run(insert.time(self.change.at)).await?;
        Ok(Put::Created)
    }

    /// Takes a blob out of a repository; the content store keeps it until it is garbage.
    ///
    /// # Errors
    /// [`CatalogueError::Missing`], or [`CatalogueError::Needed`] when a manifest of the repository names it.
    pub async fn unlink_blob(
        &mut self,
        repository: &PolicyName,
        digest: Digest,
    ) -> Result<(), CatalogueError> {
        self.require_unneeded(repository, digest).await?;
        let delete = "DELETE FROM repository_blobs WHERE tenant = $1 AND policy = $2 AND digest = $3";
        if self.work.run(within(repository, delete).text(digest)).await? == 0 {
            return Err(CatalogueError::missing("blob", digest));
        }
        Ok(())
    }

    /// Puts a manifest into a repository. The same once more changes nothing.
    ///
    /// # Errors
    /// [`CatalogueError::UnknownBlob`] when the repository lacks something that it names, [`CatalogueError::Missing`]
    /// without the tenant, [`CatalogueError::Conflict`] when it is there under another media type, and when
    /// something of it is too long.
    pub async fn put_manifest(
        &mut self,
        repository: &PolicyName,
        new: &NewManifest,
    ) -> Result<Put, CatalogueError> {
        let select = "SELECT media_type FROM manifests WHERE tenant = $1 AND policy = $2 AND digest = $3";
        if let Some(row) = self.work.one(within(repository, select).text(new.digest)).await? {
            let found = row.text(0)?;
            return if found == new.media_type {
                Ok(Put::Unchanged)
            } else {
                let found = format!("as `{found}`; push it with that media type");
                Err(CatalogueError::conflict("manifest", new.digest, found))
            };
        }
        self.require_tenant(repository.tenant()).await?;
        self.check_references(repository, new).await?;
        self.insert_manifest(repository, new).await?;
        for target in new.blobs.union(&new.manifests) {
            let insert =
                "INSERT INTO manifest_references (tenant, policy, digest, target) VALUES ($1, $2, $3, $4)";
            self.work.run(within(repository, insert).text(new.digest).text(target)).await?;
        }
        let told = Told::new(EventKind::ManifestPushed, repository.tenant(), repository).digest(new.digest);
        self.tell(match new.subject {
            Some(subject) => told.detail("subject", subject),
            None => told,
        })
        .await?;
        Ok(Put::Created)
    }

    async fn check_references(
        &mut self,
        repository: &PolicyName,
        new: &NewManifest,
    ) -> Result<(), CatalogueError> {
        if new.blobs.len().max(new.manifests.len()) > REFERENCES_MAX {
            return Err(CatalogueError::invalid(
                "manifest",
                format!("it names more than {REFERENCES_MAX} blobs"),
            ));
        }
        let blob = "SELECT digest FROM repository_blobs WHERE tenant = $1 AND policy = $2 AND digest = $3";
        let manifest = "SELECT digest FROM manifests WHERE tenant = $1 AND policy = $2 AND digest = $3";
        let blobs = new.blobs.iter().map(|digest| (blob, digest));
        for (select, digest) in blobs.chain(new.manifests.iter().map(|digest| (manifest, digest))) {
            if !self.exists(within(repository, select).text(digest)).await? {
                return Err(CatalogueError::UnknownBlob(*digest));
            }
        }
        Ok(())
    }

    async fn insert_manifest(
        &mut self,
        repository: &PolicyName,
        new: &NewManifest,
    ) -> Result<(), CatalogueError> {
        let artifact_type = new.artifact_type.as_deref().unwrap_or_default();
        check_text("media type", &new.media_type, WORD_BYTES_MAX)?;
        check_text("artifact type", artifact_type, WORD_BYTES_MAX)?;
        let insert = "INSERT INTO manifests (tenant, policy, digest, bytes, media_type, artifact_type, subject, \
                      annotations, pushed_ms, pushed_by) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)";
        let insert = within(repository, insert)
            .text(new.digest)
            .number(stored("manifest size", new.bytes)?)
            .text(&new.media_type)
            .text(artifact_type)
            .maybe_text(new.subject)
            .text(json(&new.annotations)?)
            .time(self.change.at)
            .text(&self.change.actor);
        self.work.run(insert).await.map(|_| ())
    }

    /// Deletes a manifest with its tags, and with the note of a statement that it attaches.
    ///
    /// # Errors
    /// [`CatalogueError::Missing`], or [`CatalogueError::Needed`] when it is the image of a version, attaches a
    /// statement to one, or is part of an index.
    pub async fn delete_manifest(
        &mut self,
        repository: &PolicyName,
        digest: Digest,
    ) -> Result<(), CatalogueError> {
        let version = "SELECT version FROM versions WHERE tenant = $1 AND policy = $2 AND (image = $3 OR image IN \
                       (SELECT image FROM statements WHERE tenant = $1 AND policy = $2 AND manifest = $3)) \
                       ORDER BY seq LIMIT 1";
        if let Some(row) = self.work.one(within(repository, version).text(digest)).await? {
            let by = format!("version `{}`, which never changes; revoke it instead", row.text(0)?);
            return Err(CatalogueError::Needed { digest, by });
        }
        self.require_unneeded(repository, digest).await?;
        let delete = "DELETE FROM statements WHERE tenant = $1 AND policy = $2 AND manifest = $3";
        self.work.run(within(repository, delete).text(digest)).await?;
        // Its references and tags go with it (ON DELETE CASCADE).
        let delete = "DELETE FROM manifests WHERE tenant = $1 AND policy = $2 AND digest = $3";
        if self.work.run(within(repository, delete).text(digest)).await? == 0 {
            return Err(CatalogueError::missing("manifest", digest));
        }
        let told = Told::new(EventKind::ManifestDeleted, repository.tenant(), repository);
        self.tell(told.digest(digest)).await.map(|_| ())
    }

    /// Refuses when a manifest of the repository names the digest.
    async fn require_unneeded(
        &mut self,
        repository: &PolicyName,
        digest: Digest,
    ) -> Result<(), CatalogueError> {
        let select = "SELECT digest FROM manifest_references WHERE tenant = $1 AND policy = $2 AND target = $3 \
                      ORDER BY digest LIMIT 1";
        match self.work.one(within(repository, select).text(digest)).await? {
            Some(row) => {
                let by = format!("manifest `{}`; delete that first", row.text(0)?);
                Err(CatalogueError::Needed { digest, by })
            }
            None => Ok(()),
        }
    }

    /// Makes a tag name a manifest of its repository.
    ///
    /// # Errors
    /// [`CatalogueError::Missing`] without the manifest, [`CatalogueError::Stale`] when the tag is not at the version
    /// that the caller has seen (or not there, while the caller has seen it), and [`CatalogueError::Conflict`] when
    /// it is the tag of a published version and would name another image.
    pub async fn put_tag(
        &mut self,
        repository: &PolicyName,
        tag: &Tag,
        digest: Digest,
        seen: Option<Etag>,
    ) -> Result<Put, CatalogueError> {
        let manifest = "SELECT digest FROM manifests WHERE tenant = $1 AND policy = $2 AND digest = $3";
        if !self.exists(within(repository, manifest).text(digest)).await? {
            return Err(CatalogueError::missing("manifest", digest));
        }
        let there = self.seen_tag(repository, tag, seen).await?;
        if there.as_ref().is_some_and(|there| there.digest == digest) {
            return Ok(Put::Unchanged);
        }
        if self.version_of_tag(repository, tag).await?.is_some_and(|image| image != digest) {
            let found = "the tag of a published version, which never changes; publish another version";
            return Err(CatalogueError::conflict("tag", tag, found));
        }
        let upsert = "INSERT INTO tags (tenant, policy, tag, digest, updated_ms, etag) VALUES ($1, $2, $3, $4, $5, 1) \
                      ON CONFLICT (tenant, policy, tag) DO UPDATE SET digest = excluded.digest, \
                      updated_ms = excluded.updated_ms, etag = tags.etag + 1";
        self.work.run(within(repository, upsert).text(tag).text(digest).time(self.change.at)).await?;
        let told = Told::new(EventKind::TagMoved, repository.tenant(), repository).digest(digest);
        self.tell(told.detail("tag", tag)).await?;
        Ok(if there.is_some() { Put::Replaced } else { Put::Created })
    }

    /// Deletes a tag; the manifest stays.
    ///
    /// # Errors
    /// [`CatalogueError::Missing`], [`CatalogueError::Stale`] when it is not at the version that the caller has seen,
    /// and [`CatalogueError::Conflict`] when it is the tag of a published version.
    pub async fn delete_tag(
        &mut self,
        repository: &PolicyName,
        tag: &Tag,
        seen: Option<Etag>,
    ) -> Result<(), CatalogueError> {
        let there = self.seen_tag(repository, tag, seen).await?;
        let there = there.ok_or_else(|| CatalogueError::missing("tag", tag))?;
        if self.version_of_tag(repository, tag).await? == Some(there.digest) {
            let found = "the tag of a published version, which never changes; revoke the version instead";
            return Err(CatalogueError::conflict("tag", tag, found));
        }
        let delete = "DELETE FROM tags WHERE tenant = $1 AND policy = $2 AND tag = $3";
        self.work.run(within(repository, delete).text(tag)).await?;
        let told = Told::new(EventKind::TagDeleted, repository.tenant(), repository).digest(there.digest);
        self.tell(told.detail("tag", tag)).await.map(|_| ())
    }

    /// A tag, when it is at the version that the caller has seen.
    async fn seen_tag(
        &mut self,
        repository: &PolicyName,
        tag: &Tag,
        seen: Option<Etag>,
    ) -> Result<Option<TagEntry>, CatalogueError> {
        let select =
            "SELECT tag, digest, updated_ms, etag FROM tags WHERE tenant = $1 AND policy = $2 AND tag = $3";
        let row = self.work.one(within(repository, select).text(tag)).await?;
        let there = row.as_ref().map(TagEntry::read).transpose()?;
        // A tag that is not there is at version 0, which nobody has seen.
        let etag = there.as_ref().map_or(Etag::of(0), |there| there.etag);
        etag.expect(seen, "tag", tag.as_str())?;
        Ok(there)
    }

    /// The image of the published version whose tag this is.
    async fn version_of_tag(
        &mut self,
        repository: &PolicyName,
        tag: &Tag,
    ) -> Result<Option<Digest>, CatalogueError> {
        let select = "SELECT image FROM versions WHERE tenant = $1 AND policy = $2 \
                      AND replace(version, '+', '_') = $3 ORDER BY seq LIMIT 1";
        let row = self.work.one(within(repository, select).text(tag)).await?;
        row.map(|row| row.digest(0)).transpose()
    }
}

/// A number that fits into the database.
pub(super) fn stored(what: &'static str, number: u64) -> Result<u64, CatalogueError> {
    match i64::try_from(number) {
        Ok(_) => Ok(number),
        Err(_) => Err(CatalogueError::invalid(what, format!("it is {number}; at most 2^63 - 1"))),
    }
}
