//! What an OCI distribution server needs to know of repositories: blobs, manifests, tags, referrers.
//!
//! A repository is named like the policy whose versions it holds. The bytes are in the content store; here is which
//! repository may see which of them, and what refers to what.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;

use verdict_core::digest::Digest;
use verdict_core::name::{PolicyName, Tenant};
use verdict_core::time::Timestamp;

use super::Catalogue;
use super::database::{Row, Sql, sql};
use super::error::CatalogueError;
use super::page::{Etag, Limit, Page};

/// The longest tag, in bytes (OCI Distribution 1.1, "Pulling manifests").
const TAG_BYTES_MAX: usize = 128;

/// A tag: a name for a manifest inside its repository, which can be moved to another manifest.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tag(String);

impl Tag {
    /// The tag as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The tag of a version: its text with `_` for `+`, which a tag cannot have.
    pub fn of_version(version: &semver::Version) -> Result<Self, CatalogueError> {
        version.to_string().replace('+', "_").parse()
    }
}

impl FromStr for Tag {
    type Err = CatalogueError;

    fn from_str(text: &str) -> Result<Self, CatalogueError> {
        let word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
        let mut bytes = text.bytes();
        let starts = bytes.next().is_some_and(word);
        let goes_on = bytes.all(|byte| word(byte) || matches!(byte, b'.' | b'-'));
        if starts && goes_on && text.len() <= TAG_BYTES_MAX {
            Ok(Self(text.into()))
        } else {
            Err(CatalogueError::invalid(
                "tag",
                "expected 1 to 128 of A-Z a-z 0-9 _ . -, not beginning with . or -",
            ))
        }
    }
}

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A manifest that comes into a repository. Its bytes are in the content store already, and pinned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewManifest {
    /// The digest of its bytes.
    pub digest: Digest,
    /// The size of its bytes.
    pub bytes: u64,
    /// Its media type. At most 255 bytes.
    pub media_type: String,
    /// What the list of referrers gives as its type: the manifest's own, else its config's. At most 255 bytes.
    pub artifact_type: Option<String>,
    /// The manifest that it is attached to, which need not be there.
    pub subject: Option<Digest>,
    /// Its annotations. At most 64 KiB.
    pub annotations: BTreeMap<String, String>,
    /// Its config and layers: the repository must have them. At most 1,000.
    pub blobs: BTreeSet<Digest>,
    /// The manifests of an index: the repository must have them. At most 1,000.
    pub manifests: BTreeSet<Digest>,
}

/// A manifest as the catalogue knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ManifestEntry {
    /// The digest of its bytes.
    pub digest: Digest,
    /// The size of its bytes.
    pub bytes: u64,
    /// Its media type.
    pub media_type: String,
    /// What the list of referrers gives as its type.
    pub artifact_type: Option<String>,
    /// The manifest that it is attached to.
    pub subject: Option<Digest>,
    /// Its annotations.
    pub annotations: BTreeMap<String, String>,
    /// When it came.
    pub pushed: Timestamp,
    /// Who brought it.
    pub pushed_by: String,
}

/// A tag and what it names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TagEntry {
    /// The tag.
    pub tag: Tag,
    /// The manifest.
    pub digest: Digest,
    /// Since when it names this one.
    pub updated: Timestamp,
    /// The row's version.
    pub etag: Etag,
}

impl ManifestEntry {
    fn read(row: &Row) -> Result<Self, CatalogueError> {
        Ok(Self {
            digest: row.digest(0)?,
            bytes: row.number(1)?,
            media_type: row.text(2)?,
            artifact_type: Some(row.text(3)?).filter(|text| !text.is_empty()),
            subject: row.maybe_parsed(4, "digest")?,
            annotations: row.json(5)?,
            pushed: row.time(6)?,
            pushed_by: row.text(7)?,
        })
    }
}

impl TagEntry {
    pub(super) fn read(row: &Row) -> Result<Self, CatalogueError> {
        Ok(Self {
            tag: row.parsed(0, "tag")?,
            digest: row.digest(1)?,
            updated: row.time(2)?,
            etag: row.etag(3)?,
        })
    }
}

/// The columns of a manifest, in the order that [`ManifestEntry::read`] has.
macro_rules! manifests {
    ($rest:literal) => {
        concat!(
            "SELECT digest, bytes, media_type, artifact_type, subject, annotations, pushed_ms, pushed_by ",
            "FROM manifests WHERE tenant = $1 AND policy = $2 AND ",
            $rest
        )
    };
}

/// A statement whose first two values are the repository's.
pub(super) fn within(repository: &PolicyName, text: &'static str) -> Sql {
    sql(text).text(repository.tenant()).text(repository.name())
}

fn cursor(after: Option<Digest>) -> String {
    after.map(|digest| digest.to_string()).unwrap_or_default()
}

impl Catalogue {
    /// The size of a blob that this repository has; whoever asks for one that only others have learns nothing.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn blob(&self, repository: &PolicyName, digest: Digest) -> Result<Option<u64>, CatalogueError> {
        let select = "SELECT bytes FROM repository_blobs WHERE tenant = $1 AND policy = $2 AND digest = $3";
        let row = self.database().one(within(repository, select).text(digest)).await?;
        row.map(|row| row.number(0)).transpose()
    }

    /// A repository of the tenant from which this blob can be mounted, and the blob's size.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn blob_of_tenant(
        &self,
        tenant: &Tenant,
        digest: Digest,
    ) -> Result<Option<(PolicyName, u64)>, CatalogueError> {
        let select = "SELECT policy, bytes FROM repository_blobs WHERE digest = $1 AND tenant = $2 \
                      ORDER BY policy LIMIT 1";
        let Some(row) = self.database().one(sql(select).text(digest).text(tenant)).await? else {
            return Ok(None);
        };
        let name = PolicyName::of(tenant.as_str(), &row.text(0)?);
        Ok(Some((name.map_err(|_| CatalogueError::Corrupt { what: "policy name" })?, row.number(1)?)))
    }

    /// A manifest by its digest.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn manifest(
        &self,
        repository: &PolicyName,
        digest: Digest,
    ) -> Result<Option<ManifestEntry>, CatalogueError> {
        let select = within(repository, manifests!("digest = $3")).text(digest);
        self.database().one(select).await?.as_ref().map(ManifestEntry::read).transpose()
    }

    /// A repository's manifests by digest, those after one.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn manifests(
        &self,
        repository: &PolicyName,
        after: Option<Digest>,
        limit: Limit,
    ) -> Result<Page<ManifestEntry>, CatalogueError> {
        let select = within(repository, manifests!("digest > $3 ORDER BY digest LIMIT $4"));
        let rows = self.database().all(select.text(cursor(after)).number(limit.and_one())).await?;
        Ok(Page::cut(rows.iter().map(ManifestEntry::read).collect::<Result<_, _>>()?, limit))
    }

    /// The manifests that are attached to one, by digest: those after one, of one type or of any.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn referrers(
        &self,
        repository: &PolicyName,
        subject: Digest,
        artifact_type: Option<&str>,
        after: Option<Digest>,
        limit: Limit,
    ) -> Result<Page<ManifestEntry>, CatalogueError> {
        let text = manifests!(
            "subject = $3 AND ($4 = 0 OR artifact_type = $5) AND digest > $6 ORDER BY digest LIMIT $7"
        );
        let select = within(repository, text)
            .text(subject)
            .number(artifact_type.is_some().into())
            // A zero byte is in no type, and PostgreSQL would refuse it.
            .text(artifact_type.unwrap_or_default().replace('\0', "\u{fffd}"))
            .text(cursor(after))
            .number(limit.and_one());
        let rows = self.database().all(select).await?;
        Ok(Page::cut(rows.iter().map(ManifestEntry::read).collect::<Result<_, _>>()?, limit))
    }

    /// What a tag names.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn tag(&self, repository: &PolicyName, tag: &Tag) -> Result<Option<TagEntry>, CatalogueError> {
        let select =
            "SELECT tag, digest, updated_ms, etag FROM tags WHERE tenant = $1 AND policy = $2 AND tag = $3";
        let row = self.database().one(within(repository, select).text(tag)).await?;
        row.as_ref().map(TagEntry::read).transpose()
    }

    /// A repository's tags, byte by byte in order: those after `last`, which need not be a tag that is there.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn tags(
        &self,
        repository: &PolicyName,
        last: Option<&Tag>,
        limit: Limit,
    ) -> Result<Page<TagEntry>, CatalogueError> {
        let select = "SELECT tag, digest, updated_ms, etag FROM tags WHERE tenant = $1 AND policy = $2 AND tag > $3 \
                      ORDER BY tag LIMIT $4";
        let select = within(repository, select).text(last.map_or("", Tag::as_str)).number(limit.and_one());
        let rows = self.database().all(select).await?;
        Ok(Page::cut(rows.iter().map(TagEntry::read).collect::<Result<_, _>>()?, limit))
    }

    /// A tenant's repositories that have a manifest or a blob, by name: those after a name inside the tenant.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn repositories(
        &self,
        tenant: &Tenant,
        after: Option<&str>,
        limit: Limit,
    ) -> Result<Page<PolicyName>, CatalogueError> {
        let select = "SELECT policy FROM manifests WHERE tenant = $1 AND policy > $2 \
                      UNION SELECT policy FROM repository_blobs WHERE tenant = $1 AND policy > $2 \
                      ORDER BY 1 LIMIT $3";
        let select = sql(select).text(tenant).text(after.unwrap_or_default()).number(limit.and_one());
        let rows = self.database().all(select).await?;
        let name = |row: &Row| {
            let name = PolicyName::of(tenant.as_str(), &row.text(0)?);
            name.map_err(|_| CatalogueError::Corrupt { what: "policy name" })
        };
        Ok(Page::cut(rows.iter().map(name).collect::<Result<_, _>>()?, limit))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rejects_what_the_distribution_specification_does_not_call_a_tag() {
        for text in ["latest", "_", "1.2.0", "A-b.c_d", &"a".repeat(128)] {
            assert_eq!(text.parse::<Tag>().unwrap().as_str(), text);
        }
        for text in ["", ".a", "-a", "a+b", "a/b", "a b", "é", "sha256:00", &"a".repeat(129)] {
            assert!(text.parse::<Tag>().is_err(), "{text}");
        }
        let version = "1.0.0-rc.1+build.5".parse().unwrap();
        assert_eq!(Tag::of_version(&version).unwrap().as_str(), "1.0.0-rc.1_build.5");
    }
}
