//! Versions of policies, published once, and the statements that are attached to their images.

use verdict_core::digest::Digest;
use verdict_core::name::PolicyName;
use verdict_core::time::Timestamp;

use super::Catalogue;
use super::database::{Row, sql};
use super::error::CatalogueError;
use super::events::EventKind;
use super::page::{Etag, Limit, Page, WORD_BYTES_MAX, check_text};
use super::policies::PolicyState;
use super::word::words;
use super::write::{Put, Told, Write};

words! {
    /// The two states of a version. Others, such as active or tested, follow from signatures and channels.
    VersionState, "state of a version" {
        /// It was published.
        Published = "published",
        /// It was revoked, for good. Hosts learn it from the signed revocations, not from here.
        Revoked = "revoked",
    }
}

/// What is published: all of it is fixed for ever.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewVersion {
    /// The version.
    pub version: semver::Version,
    /// The digest of the OCI image manifest.
    pub image: Digest,
    /// The digest of the author's statement, the payload of the envelope.
    pub statement: Digest,
    /// The digest of the component.
    pub component: Digest,
    /// The version that it is a successor of, if it says so.
    pub predecessor: Option<semver::Version>,
}

/// A version as the catalogue knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VersionEntry {
    /// What was published.
    pub content: NewVersion,
    /// Whether it was revoked.
    pub state: VersionState,
    /// When it was published.
    pub published: Timestamp,
    /// By whom.
    pub published_by: String,
    /// The number of the event that told of it: versions are listed by it.
    pub seq: u64,
    /// The row's version.
    pub etag: Etag,
}

/// A statement that is attached to an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewStatement {
    /// The image.
    pub image: Digest,
    /// The digest of the envelope's bytes.
    pub envelope: Digest,
    /// The digest of the payload, by which approvals name the author's.
    pub payload: Digest,
    /// The manifest that attaches the envelope to the image, where there is one.
    pub manifest: Option<Digest>,
    /// What it states. At most 255 bytes.
    pub predicate_type: String,
}

/// A statement as the catalogue knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StatementEntry {
    /// What was attached.
    pub content: NewStatement,
    /// When.
    pub attached: Timestamp,
    /// By whom.
    pub attached_by: String,
    /// The number of the event that told of it: statements are listed by it.
    pub seq: u64,
}

impl VersionEntry {
    fn read(row: &Row) -> Result<Self, CatalogueError> {
        let content = NewVersion {
            version: row.parsed(0, "version")?,
            image: row.digest(1)?,
            statement: row.digest(2)?,
            component: row.digest(3)?,
            predecessor: row.maybe_parsed(4, "version")?,
        };
        Ok(Self {
            content,
            state: row.parsed(5, "state of a version")?,
            published: row.time(6)?,
            published_by: row.text(7)?,
            seq: row.number(8)?,
            etag: row.etag(9)?,
        })
    }
}

impl StatementEntry {
    fn read(row: &Row) -> Result<Self, CatalogueError> {
        let content = NewStatement {
            image: row.digest(0)?,
            envelope: row.digest(1)?,
            payload: row.digest(2)?,
            manifest: row.maybe_parsed(3, "digest")?,
            predicate_type: row.text(4)?,
        };
        Ok(Self { content, attached: row.time(5)?, attached_by: row.text(6)?, seq: row.number(7)? })
    }
}

/// The columns of a version, in the order that [`VersionEntry::read`] has.
macro_rules! versions {
    ($rest:literal) => {
        concat!(
            "SELECT version, image, statement, component, predecessor, state, published_ms, published_by, seq, etag ",
            "FROM versions WHERE tenant = $1 AND policy = $2 AND ",
            $rest
        )
    };
}

impl Catalogue {
    /// A version of a policy.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn version(
        &self,
        policy: &PolicyName,
        version: &semver::Version,
    ) -> Result<Option<VersionEntry>, CatalogueError> {
        let select = sql(versions!("version = $3")).text(policy.tenant()).text(policy.name()).text(version);
        self.database().one(select).await?.as_ref().map(VersionEntry::read).transpose()
    }

    /// The version of a policy that has this image; the first, should there be several.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn version_of_image(
        &self,
        policy: &PolicyName,
        image: Digest,
    ) -> Result<Option<VersionEntry>, CatalogueError> {
        let select = sql(versions!("image = $3 ORDER BY seq LIMIT 1"));
        let select = select.text(policy.tenant()).text(policy.name()).text(image);
        self.database().one(select).await?.as_ref().map(VersionEntry::read).transpose()
    }

    /// The versions of a policy, the newest first: those that were published before event `before`, or all.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn versions(
        &self,
        policy: &PolicyName,
        before: Option<u64>,
        limit: Limit,
    ) -> Result<Page<VersionEntry>, CatalogueError> {
        let select = sql(versions!("seq < $3 ORDER BY seq DESC LIMIT $4"));
        let select = select.text(policy.tenant()).text(policy.name());
        let rows =
            self.database().all(select.number(before.unwrap_or(u64::MAX)).number(limit.and_one())).await?;
        Ok(Page::cut(rows.iter().map(VersionEntry::read).collect::<Result<_, _>>()?, limit))
    }

    /// The statements that are attached to an image, the oldest first: those after event `after` (0 for all).
    ///
    /// # Errors
    /// When the database fails.
    pub async fn statements(
        &self,
        policy: &PolicyName,
        image: Digest,
        after: u64,
        limit: Limit,
    ) -> Result<Page<StatementEntry>, CatalogueError> {
        let select = sql(
            "SELECT image, envelope, payload, manifest, predicate_type, attached_ms, attached_by, seq FROM statements \
             WHERE tenant = $1 AND policy = $2 AND image = $3 AND seq > $4 ORDER BY seq LIMIT $5",
        );
        let select = select.text(policy.tenant()).text(policy.name()).text(image);
        let rows = self.database().all(select.number(after).number(limit.and_one())).await?;
        Ok(Page::cut(rows.iter().map(StatementEntry::read).collect::<Result<_, _>>()?, limit))
    }
}

impl Write {
    /// Publishes a version of an open policy. The same once more changes nothing.
    ///
    /// # Errors
    /// [`CatalogueError::Missing`] without the policy, [`CatalogueError::Conflict`] when it is archived or when the
    /// version is there with another content.
    pub async fn publish_version(
        &mut self,
        policy: &PolicyName,
        new: &NewVersion,
    ) -> Result<Put, CatalogueError> {
        let (state, _) = self.seen_policy(policy, None).await?;
        if let Some(there) = self.published(policy, &new.version).await? {
            return if there.content == *new {
                Ok(Put::Unchanged)
            } else {
                let found = format!(
                    "with image `{}`, and never changes; publish another version",
                    there.content.image
                );
                Err(CatalogueError::conflict("version", format!("{policy} {}", new.version), found))
            };
        }
        if state == PolicyState::Archived {
            return Err(CatalogueError::conflict(
                "policy",
                policy,
                "it is archived; open it to publish versions",
            ));
        }
        self.insert_version(policy, new).await?;
        let told = Told::new(EventKind::VersionPublished, policy.tenant(), policy).digest(new.image);
        self.tell(told.detail("version", &new.version).detail("statement", new.statement)).await?;
        Ok(Put::Created)
    }

    async fn insert_version(&mut self, policy: &PolicyName, new: &NewVersion) -> Result<(), CatalogueError> {
        check_text("version", &new.version.to_string(), WORD_BYTES_MAX)?;
        let insert = "INSERT INTO versions (tenant, policy, version, image, statement, component, predecessor, state, \
                      published_ms, published_by, seq, etag) \
                      VALUES ($1, $2, $3, $4, $5, $6, $7, 'published', $8, $9, $10, 1)";
        let insert = sql(insert)
            .text(policy.tenant())
            .text(policy.name())
            .text(&new.version)
            .text(new.image)
            .text(new.statement)
            .text(new.component)
            .maybe_text(new.predecessor.as_ref())
            .time(self.change.at)
            .text(&self.change.actor)
            .number(self.next_seq());
        self.work.run(insert).await.map(|_| ())
    }

    async fn published(
        &mut self,
        policy: &PolicyName,
        version: &semver::Version,
    ) -> Result<Option<VersionEntry>, CatalogueError> {
        let select = sql(versions!("version = $3")).text(policy.tenant()).text(policy.name()).text(version);
        self.work.one(select).await?.as_ref().map(VersionEntry::read).transpose()
    }

    /// Marks a version as revoked, for lists: hosts are told by the signed revocations. Once more changes nothing.
    ///
    /// # Errors
    /// [`CatalogueError::Missing`], or [`CatalogueError::Stale`] when it is not the version of the row that the caller
    /// has seen.
    pub async fn revoke_version(
        &mut self,
        policy: &PolicyName,
        version: &semver::Version,
        seen: Option<Etag>,
    ) -> Result<Etag, CatalogueError> {
        let name = format!("{policy} {version}");
        let there = self.published(policy, version).await?;
        let there = there.ok_or_else(|| CatalogueError::missing("version", &name))?;
        there.etag.expect(seen, "version", &name)?;
        if there.state == VersionState::Revoked {
            return Ok(there.etag);
        }
        let update = "UPDATE versions SET state = 'revoked', etag = etag + 1 \
                      WHERE tenant = $1 AND policy = $2 AND version = $3";
        self.work.run(sql(update).text(policy.tenant()).text(policy.name()).text(version)).await?;
        let told = Told::new(EventKind::VersionRevoked, policy.tenant(), policy).digest(there.content.image);
        self.tell(told.detail("version", version)).await?;
        Ok(Etag::of(there.etag.number() + 1))
    }

    /// Notes that a statement is attached to an image. The same envelope once more changes nothing.
    ///
    /// # Errors
    /// [`CatalogueError::Missing`] without the tenant, and when the predicate type is too long.
    pub async fn attach_statement(
        &mut self,
        policy: &PolicyName,
        new: &NewStatement,
    ) -> Result<Put, CatalogueError> {
        check_text("predicate type", &new.predicate_type, WORD_BYTES_MAX)?;
        self.require_tenant(policy.tenant()).await?;
        let insert = "INSERT INTO statements (tenant, policy, envelope, image, payload, manifest, predicate_type, \
                      attached_ms, attached_by, seq) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) \
                      ON CONFLICT (tenant, policy, image, envelope) DO NOTHING";
        let insert = sql(insert)
            .text(policy.tenant())
            .text(policy.name())
            .text(new.envelope)
            .text(new.image)
            .text(new.payload)
            .maybe_text(new.manifest)
            .text(&new.predicate_type)
            .time(self.change.at)
            .text(&self.change.actor)
            .number(self.next_seq());
        if self.work.run(insert).await? == 0 {
            return Ok(Put::Unchanged);
        }
        let told = Told::new(EventKind::StatementAttached, policy.tenant(), policy).digest(new.image);
        self.tell(told.detail("predicate_type", &new.predicate_type).detail("envelope", new.envelope))
            .await?;
        Ok(Put::Created)
    }
}
