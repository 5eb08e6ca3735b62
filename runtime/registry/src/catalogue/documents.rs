//! Signed documents with their history. The catalogue keeps them in order and hands them out; whether one counts is
//! decided by its signatures, wherever it is used. Documents come with their envelopes, so a page has at most 50.

use std::fmt;

use verdict_core::digest::Digest;
use verdict_core::dsse::ENVELOPE_BYTES_MAX;
use verdict_core::name::{ChannelName, NameError, PolicyName, Tenant};
use verdict_core::time::Timestamp;

use super::Catalogue;
use super::database::{Row, Sql, sql};
use super::error::CatalogueError;
use super::events::EventKind;
use super::page::{Etag, Limit, Page};
use super::push::stored;
use super::word::words;
use super::write::{Put, Told, Write};

/// The most documents of one page, whatever was asked for: they come with their envelopes.
const PAGE_ROWS_MAX: u32 = 50;
/// The most blobs that one document may name.
const REFERENCES_MAX: usize = 10_000;
/// Higher than every byte of a scope.
const ABOVE_ALL: &str = "\u{7f}";

words! {
    /// The four kinds of signed documents.
    DocumentKind, "kind of document" {
        /// Who may do what.
        Trust = "trust",
        /// What must not be used any more.
        Revocations = "revocations",
        /// Which versions a channel names.
        Channel = "channel",
        /// A tenant's data snapshot.
        Data = "data",
    }
}

/// What a document is about: documents of the same name follow one another.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DocumentName {
    kind: DocumentKind,
    tenant: Option<Tenant>,
    scope: String,
}

impl DocumentName {
    /// The trust policy.
    pub fn trust() -> Self {
        Self { kind: DocumentKind::Trust, tenant: None, scope: String::new() }
    }

    /// The revocations.
    pub fn revocations() -> Self {
        Self { kind: DocumentKind::Revocations, tenant: None, scope: String::new() }
    }

    /// The state of a policy's channel.
    ///
    /// # Errors
    /// When the channel's name is not one.
    pub fn channel(policy: &PolicyName, channel: &str) -> Result<Self, CatalogueError> {
        let channel: ChannelName = channel
            .parse()
            .map_err(|error: NameError| CatalogueError::invalid("channel", error.to_string()))?;
        let tenant = Some(policy.tenant().clone());
        Ok(Self { kind: DocumentKind::Channel, tenant, scope: format!("{policy}@{channel}") })
    }

    /// A tenant's data.
    pub fn data(tenant: &Tenant) -> Self {
        Self { kind: DocumentKind::Data, tenant: Some(tenant.clone()), scope: tenant.to_string() }
    }

    /// The name of what was stored under this kind and scope.
    fn stored(kind: DocumentKind, scope: &str) -> Result<Self, CatalogueError> {
        let corrupt = || CatalogueError::Corrupt { what: "scope of a document" };
        match kind {
            DocumentKind::Trust => Ok(Self::trust()),
            DocumentKind::Revocations => Ok(Self::revocations()),
            DocumentKind::Data => scope.parse().map(|tenant| Self::data(&tenant)).map_err(|_| corrupt()),
            DocumentKind::Channel => {
                let (policy, channel) = scope.split_once('@').ok_or_else(corrupt)?;
                Self::channel(&policy.parse().map_err(|_| corrupt())?, channel)
            }
        }
    }

    /// The kind.
    pub fn kind(&self) -> DocumentKind {
        self.kind
    }

    /// Whose it is; none when it concerns every tenant.
    pub fn tenant(&self) -> Option<&Tenant> {
        self.tenant.as_ref()
    }

    /// What it is about: nothing, `bank/loan@production`, or `bank`.
    pub fn scope(&self) -> &str {
        &self.scope
    }

    fn event(&self) -> EventKind {
        match self.kind {
            DocumentKind::Trust => EventKind::TrustChanged,
            DocumentKind::Revocations => EventKind::RevocationsChanged,
            DocumentKind::Channel => EventKind::ChannelChanged,
            DocumentKind::Data => EventKind::DataChanged,
        }
    }
}

impl fmt::Display for DocumentName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.kind.as_str())?;
        if self.scope.is_empty() { Ok(()) } else { write!(f, " {}", self.scope) }
    }
}

/// A document that is to be the newest of its name. The caller has verified it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewDocument {
    /// What it is about.
    pub name: DocumentName,
    /// Its sequence or version: at least 1, and higher than any before.
    pub sequence: u64,
    /// The digest of what is signed, the payload.
    pub digest: Digest,
    /// The envelope. At most 1 MiB.
    pub envelope: Vec<u8>,
    /// When it was issued.
    pub issued: Timestamp,
    /// Until when it counts.
    pub expires: Timestamp,
    /// The blobs that it names, which must not be collected: images, contents. At most 10,000.
    pub refers: Vec<Digest>,
}

/// A document as the catalogue knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DocumentEntry {
    /// What it is about.
    pub name: DocumentName,
    /// Its sequence or version.
    pub sequence: u64,
    /// The digest of what is signed, the payload.
    pub digest: Digest,
    /// The envelope.
    pub envelope: Vec<u8>,
    /// When it was issued.
    pub issued: Timestamp,
    /// Until when it counts.
    pub expires: Timestamp,
    /// When it was stored.
    pub stored: Timestamp,
    /// By whom.
    pub stored_by: String,
}

impl DocumentEntry {
    /// Its version as an entity: the sequence, which grows with every change.
    pub fn etag(&self) -> Etag {
        Etag::of(self.sequence)
    }

    fn read(row: &Row) -> Result<Self, CatalogueError> {
        Ok(Self {
            name: DocumentName::stored(row.parsed(0, "kind of document")?, &row.text(1)?)?,
            sequence: row.number(2)?,
            digest: row.digest(3)?,
            envelope: row.bytes(4)?,
            issued: row.time(5)?,
            expires: row.time(6)?,
            stored: row.time(7)?,
            stored_by: row.text(8)?,
        })
    }
}

/// The columns of a document, in the order that [`DocumentEntry::read`] has.
macro_rules! documents {
    ($rest:literal) => {
        concat!(
            "SELECT kind, scope, sequence, digest, envelope, issued_ms, expires_ms, stored_ms, stored_by ",
            "FROM documents WHERE kind = $1 AND ",
            $rest
        )
    };
}

/// A statement whose first two values are a document's name.
fn named(name: &DocumentName, text: &'static str) -> Sql {
    sql(text).text(name.kind).text(&name.scope)
}

impl Catalogue {
    /// The newest document of a name.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn document(&self, name: &DocumentName) -> Result<Option<DocumentEntry>, CatalogueError> {
        let select = named(name, documents!("scope = $2 ORDER BY sequence DESC LIMIT 1"));
        self.database().one(select).await?.as_ref().map(DocumentEntry::read).transpose()
    }

    /// One document of a name's history.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn document_at(
        &self,
        name: &DocumentName,
        sequence: u64,
    ) -> Result<Option<DocumentEntry>, CatalogueError> {
        let select = named(name, documents!("scope = $2 AND sequence = $3")).number(sequence);
        self.database().one(select).await?.as_ref().map(DocumentEntry::read).transpose()
    }

    /// The newest document of a name's history that names a blob.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn document_of(
        &self,
        name: &DocumentName,
        blob: Digest,
    ) -> Result<Option<DocumentEntry>, CatalogueError> {
        let select = documents!(
            "scope = $2 AND sequence = (SELECT max(named.sequence) FROM document_references AS named \
             WHERE named.kind = $1 AND named.scope = $2 AND named.target = $3)"
        );
        let select = named(name, select).text(blob);
        self.database().one(select).await?.as_ref().map(DocumentEntry::read).transpose()
    }

    /// The documents of a name that follow a sequence (0 for all), the oldest first: what a host needs to go from one
    /// trust policy to the newest.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn documents_after(
        &self,
        name: &DocumentName,
        sequence: u64,
        limit: Limit,
    ) -> Result<Page<DocumentEntry>, CatalogueError> {
        let select = named(name, documents!("scope = $2 AND sequence > $3 ORDER BY sequence LIMIT $4"));
        self.page(select.number(sequence), limit).await
    }

    /// The documents of a name before a sequence, or all, the newest first.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn document_history(
        &self,
        name: &DocumentName,
        before: Option<u64>,
        limit: Limit,
    ) -> Result<Page<DocumentEntry>, CatalogueError> {
        let select = named(name, documents!("scope = $2 AND sequence < $3 ORDER BY sequence DESC LIMIT $4"));
        self.page(select.number(before.unwrap_or(u64::MAX)), limit).await
    }

    /// The newest document of every name of a kind, of one tenant or of all, by scope: those after one. With it a host
    /// finds all channels.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn newest_documents(
        &self,
        kind: DocumentKind,
        tenant: Option<&Tenant>,
        after: Option<&DocumentName>,
        limit: Limit,
    ) -> Result<Page<DocumentEntry>, CatalogueError> {
        // A scope begins with its tenant and then ends, or goes on with `/`, which no label has; `0` and `!` are the
        // first that would be another's.
        let (low, high) = match (kind, tenant) {
            (DocumentKind::Channel, Some(tenant)) => (format!("{tenant}/"), format!("{tenant}0")),
            (DocumentKind::Data, Some(tenant)) => (tenant.to_string(), format!("{tenant}!")),
            _ => (String::new(), ABOVE_ALL.into()),
        };
        self.newest_between(kind, (&low, &high), after, limit).await
    }

    /// The newest state of each of a policy's channels, by name: those after one.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn channels(
        &self,
        policy: &PolicyName,
        after: Option<&DocumentName>,
        limit: Limit,
    ) -> Result<Page<DocumentEntry>, CatalogueError> {
        // `A` follows `@`.
        let (low, high) = (format!("{policy}@"), format!("{policy}A"));
        self.newest_between(DocumentKind::Channel, (&low, &high), after, limit).await
    }

    async fn newest_between(
        &self,
        kind: DocumentKind,
        (low, high): (&str, &str),
        after: Option<&DocumentName>,
        limit: Limit,
    ) -> Result<Page<DocumentEntry>, CatalogueError> {
        let select = sql(documents!(
            "scope >= $2 AND scope < $3 AND ($4 = 0 OR scope > $5) AND sequence = \
             (SELECT max(newest.sequence) FROM documents AS newest \
             WHERE newest.kind = documents.kind AND newest.scope = documents.scope) ORDER BY scope LIMIT $6"
        ));
        let select = select
            .text(kind)
            .text(low)
            .text(high)
            .number(after.is_some().into())
            .text(after.map_or("", DocumentName::scope));
        self.page(select, limit).await
    }

    /// The page of a statement whose last value is the number of rows.
    async fn page(&self, select: Sql, limit: Limit) -> Result<Page<DocumentEntry>, CatalogueError> {
        let limit = limit.at_most(PAGE_ROWS_MAX);
        let rows = self.database().all(select.number(limit.and_one())).await?;
        Ok(Page::cut(rows.iter().map(DocumentEntry::read).collect::<Result<_, _>>()?, limit))
    }
}

impl Write {
    /// Makes a document the newest of its name, when the newest is at sequence `after` (0 for none). The same once
    /// more changes nothing, as long as it is the newest.
    ///
    /// # Errors
    /// [`CatalogueError::Sequence`] when another is the newest, or when this one's sequence is not higher, and when
    /// it is too large.
    pub async fn put_document(&mut self, new: &NewDocument, after: u64) -> Result<Put, CatalogueError> {
        check_sizes(new)?;
        let select = "SELECT sequence, digest FROM documents WHERE kind = $1 AND scope = $2 \
                      ORDER BY sequence DESC LIMIT 1";
        let newest = self.work.one(named(&new.name, select)).await?;
        let newest =
            newest.map(|row| Ok::<_, CatalogueError>((row.number(0)?, row.digest(1)?))).transpose()?;
        if newest == Some((new.sequence, new.digest)) {
            return Ok(Put::Unchanged);
        }
        let found = newest.map_or(0, |(sequence, _)| sequence);
        if found != after || new.sequence <= found {
            let (name, offered) = (new.name.to_string(), new.sequence);
            return Err(CatalogueError::Sequence { name, offered, after, found });
        }
        self.insert_document(new).await?;
        let told = Told {
            kind: new.name.event(),
            tenant: new.name.tenant(),
            subject: new.name.scope.clone(),
            digest: Some(new.digest),
            detail: Default::default(),
        };
        self.tell(told.detail("sequence", new.sequence)).await?;
        Ok(if found == 0 { Put::Created } else { Put::Replaced })
    }

    async fn insert_document(&mut self, new: &NewDocument) -> Result<(), CatalogueError> {
        let insert = "INSERT INTO documents (kind, scope, sequence, digest, envelope, issued_ms, expires_ms, \
                      stored_ms, stored_by) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)";
        let insert = named(&new.name, insert)
            .number(stored("sequence", new.sequence)?)
            .text(new.digest)
            .bytes(&new.envelope)
            .time(new.issued)
            .time(new.expires)
            .time(self.change.at)
            .text(&self.change.actor);
        self.work.run(insert).await?;
        for target in &new.refers {
            let insert = "INSERT INTO document_references (kind, scope, sequence, target) VALUES ($1, $2, $3, $4) \
                          ON CONFLICT (kind, scope, sequence, target) DO NOTHING";
            self.work.run(named(&new.name, insert).number(new.sequence).text(target)).await?;
        }
        Ok(())
    }
}

fn check_sizes(new: &NewDocument) -> Result<(), CatalogueError> {
    if new.envelope.len() > ENVELOPE_BYTES_MAX {
        let why = format!("it has {} bytes; at most {ENVELOPE_BYTES_MAX}", new.envelope.len());
        return Err(CatalogueError::invalid("envelope", why));
    }
    if new.refers.len() > REFERENCES_MAX {
        let why = format!("it names {} blobs; at most {REFERENCES_MAX}", new.refers.len());
        return Err(CatalogueError::invalid("document", why));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_read_back_from_what_is_stored_of_it() {
        let policy = "bank/loan".parse().unwrap();
        let names = [
            DocumentName::trust(),
            DocumentName::revocations(),
            DocumentName::channel(&policy, "production").unwrap(),
            DocumentName::data(policy.tenant()),
        ];
        for name in names {
            assert_eq!(DocumentName::stored(name.kind(), name.scope()).unwrap(), name);
        }
        assert!(DocumentName::stored(DocumentKind::Channel, "bank/loan").is_err());
        assert!(
            DocumentName::channel(&policy, "a@b").is_err() && DocumentName::channel(&policy, "").is_err()
        );
    }
}
