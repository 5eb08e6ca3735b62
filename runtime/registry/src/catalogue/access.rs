//! API keys, of which only a hash is kept, and requests that are answered once (idempotency keys).

use std::collections::BTreeSet;
use std::fmt;

use verdict_core::digest::Digest;
use verdict_core::name::Tenant;
use verdict_core::time::Timestamp;

use super::Catalogue;
use super::database::{Row, Sql, sql};
use super::error::CatalogueError;
use super::events::EventKind;
use super::page::{Etag, Limit, Page, WORD_BYTES_MAX, check_text};
use super::write::{Put, Told, Write, json};

/// The largest response that is kept, in bytes.
const RESPONSE_BYTES_MAX: usize = 1 << 20;

/// An API key that is to be made. The key itself is shown to its owner and never stored.
#[derive(Clone, PartialEq, Eq)]
pub struct NewApiKey {
    /// What it is called in lists and in the log; not secret. At most 255 bytes.
    pub id: String,
    /// The tenant that it is for; none for every tenant.
    pub tenant: Option<Tenant>,
    /// The SHA-256 of the key, which has at least 128 random bits: a slow hash would add nothing.
    pub hash: Digest,
    /// Who uses it. At most 255 bytes.
    pub person: String,
    /// What it may do. At most 64 KiB together.
    pub roles: BTreeSet<String>,
    /// Until when it counts, if there is an end.
    pub expires: Option<Timestamp>,
}

impl fmt::Debug for NewApiKey {
    /// Without the hash, so that it is in no log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NewApiKey")
            .field("id", &self.id)
            .field("tenant", &self.tenant)
            .finish_non_exhaustive()
    }
}

/// An API key as the catalogue knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiKeyEntry {
    /// What it is called.
    pub id: String,
    /// The tenant that it is for; none for every tenant.
    pub tenant: Option<Tenant>,
    /// Who uses it.
    pub person: String,
    /// What it may do.
    pub roles: BTreeSet<String>,
    /// When it was made.
    pub created: Timestamp,
    /// Until when it counts, if there is an end.
    pub expires: Option<Timestamp>,
    /// When it was revoked.
    pub revoked: Option<Timestamp>,
    /// The row's version.
    pub etag: Etag,
}

impl ApiKeyEntry {
    /// Whether it counts at this time.
    pub fn counts(&self, now: Timestamp) -> bool {
        self.revoked.is_none() && self.expires.is_none_or(|expires| now < expires)
    }

    fn read(row: &Row) -> Result<Self, CatalogueError> {
        Ok(Self {
            id: row.text(0)?,
            tenant: row.maybe_parsed(1, "tenant")?,
            person: row.text(2)?,
            roles: row.json(3)?,
            created: row.time(4)?,
            expires: row.maybe_time(5)?,
            revoked: row.maybe_time(6)?,
            etag: row.etag(7)?,
        })
    }
}

/// What a request was answered with.
#[derive(Clone, PartialEq, Eq)]
pub struct StoredResponse {
    /// The HTTP status.
    pub status: u16,
    /// The headers, in order. At most 64 KiB.
    pub headers: Vec<(String, String)>,
    /// The body. At most 1 MiB, and nothing secret: a response that shows a key once is not stored.
    pub body: Vec<u8>,
}

impl fmt::Debug for StoredResponse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let body = format_args!("{} bytes", self.body.len());
        f.debug_struct("StoredResponse")
            .field("status", &self.status)
            .field("body", &body)
            .finish_non_exhaustive()
    }
}

/// The columns of an API key, in the order that [`ApiKeyEntry::read`] has.
macro_rules! api_keys {
    ($rest:literal) => {
        concat!(
            "SELECT id, tenant, person, roles, created_ms, expires_ms, revoked_ms, etag FROM api_keys ",
            $rest
        )
    };
}

const RECALL: &str = "SELECT request, status, headers, body FROM idempotency \
                      WHERE caller = $1 AND name = $2 AND expires_ms > $3";

impl Catalogue {
    /// The API key with this SHA-256, whether or not it still counts.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn api_key_of_hash(&self, hash: Digest) -> Result<Option<ApiKeyEntry>, CatalogueError> {
        let row = self.database().one(sql(api_keys!("WHERE hash = $1")).text(hash)).await?;
        row.as_ref().map(ApiKeyEntry::read).transpose()
    }

    /// The API key with this id, whether or not it still counts.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn api_key(&self, id: &str) -> Result<Option<ApiKeyEntry>, CatalogueError> {
        let row = self.database().one(sql(api_keys!("WHERE id = $1")).text(id)).await?;
        row.as_ref().map(ApiKeyEntry::read).transpose()
    }

    /// The API keys by id, those after one: of one tenant, or all.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn api_keys(
        &self,
        tenant: Option<&Tenant>,
        after: Option<&str>,
        limit: Limit,
    ) -> Result<Page<ApiKeyEntry>, CatalogueError> {
        let select = sql(api_keys!("WHERE ($1 = '' OR tenant = $1) AND id > $2 ORDER BY id LIMIT $3"));
        let select = select.text(tenant.map_or("", Tenant::as_str)).text(after.unwrap_or_default());
        let rows = self.database().all(select.number(limit.and_one())).await?;
        Ok(Page::cut(rows.iter().map(ApiKeyEntry::read).collect::<Result<_, _>>()?, limit))
    }

    /// What a caller's request with this idempotency key was answered with. `request` is the digest of everything
    /// that makes it this request: method, path, body.
    ///
    /// # Errors
    /// [`CatalogueError::Conflict`] when the key was used for another request.
    pub async fn recall(
        &self,
        caller: &str,
        key: &str,
        request: Digest,
        now: Timestamp,
    ) -> Result<Option<StoredResponse>, CatalogueError> {
        recalled(self.database().one(recall(caller, key, now)?).await?, key, request)
    }
}

fn recall(caller: &str, key: &str, now: Timestamp) -> Result<Sql, CatalogueError> {
    check_text("caller", caller, WORD_BYTES_MAX)?;
    check_text("idempotency key", key, WORD_BYTES_MAX)?;
    Ok(sql(RECALL).text(caller).text(key).time(now))
}

fn recalled(row: Option<Row>, key: &str, request: Digest) -> Result<Option<StoredResponse>, CatalogueError> {
    let Some(row) = row else { return Ok(None) };
    if row.digest(0)? != request {
        return Err(CatalogueError::conflict(
            "idempotency key",
            key,
            "used for another request; take a new one",
        ));
    }
    let status = u16::try_from(row.number(1)?).map_err(|_| CatalogueError::Corrupt { what: "status" })?;
    Ok(Some(StoredResponse { status, headers: row.json(2)?, body: row.bytes(3)? }))
}

impl Write {
    /// Makes an API key.
    ///
    /// # Errors
    /// [`CatalogueError::Conflict`] when the id or the key is there, [`CatalogueError::Missing`] without the tenant.
    pub async fn create_api_key(&mut self, new: &NewApiKey) -> Result<Etag, CatalogueError> {
        check_text("id of the key", &new.id, WORD_BYTES_MAX)?;
        check_text("person", &new.person, WORD_BYTES_MAX)?;
        if let Some(tenant) = &new.tenant {
            self.require_tenant(tenant).await?;
        }
        let insert = "INSERT INTO api_keys (id, tenant, hash, person, roles, created_ms, expires_ms, etag) \
                      VALUES ($1, $2, $3, $4, $5, $6, $7, 1) ON CONFLICT DO NOTHING";
        let insert = sql(insert)
            .text(&new.id)
            .maybe_text(new.tenant.as_ref())
            .text(new.hash)
            .text(&new.person)
            .text(json(&new.roles)?)
            .time(self.change.at)
            .maybe_time(new.expires);
        if self.work.run(insert).await? == 0 {
            return Err(CatalogueError::conflict("API key", &new.id, "take another id and a new key"));
        }
        self.tell_of_key(EventKind::KeyCreated, new.tenant.as_ref(), &new.id).await?;
        Ok(Etag::of(1))
    }

    /// Revokes an API key, for good. Once more changes nothing.
    ///
    /// # Errors
    /// [`CatalogueError::Missing`], or [`CatalogueError::Stale`] when it is not the version that the caller has seen.
    pub async fn revoke_api_key(&mut self, id: &str, seen: Option<Etag>) -> Result<Etag, CatalogueError> {
        check_text("id of the key", id, WORD_BYTES_MAX)?;
        let row = self.work.one(sql(api_keys!("WHERE id = $1")).text(id)).await?;
        let there = row.as_ref().map(ApiKeyEntry::read).transpose()?;
        let there = there.ok_or_else(|| CatalogueError::missing("API key", id))?;
        there.etag.expect(seen, "API key", id)?;
        if there.revoked.is_some() {
            return Ok(there.etag);
        }
        let update = "UPDATE api_keys SET revoked_ms = $2, etag = etag + 1 WHERE id = $1";
        self.work.run(sql(update).text(id).time(self.change.at)).await?;
        self.tell_of_key(EventKind::KeyRevoked, there.tenant.as_ref(), id).await?;
        Ok(Etag::of(there.etag.number() + 1))
    }

    async fn tell_of_key(
        &mut self,
        kind: EventKind,
        tenant: Option<&Tenant>,
        id: &str,
    ) -> Result<(), CatalogueError> {
        let told = Told { kind, tenant, subject: id.into(), digest: None, detail: Default::default() };
        self.tell(told).await.map(|_| ())
    }

    /// As [`Catalogue::recall`], inside the change: asked first, it decides whether the request is carried out, and
    /// with [`remember`](Self::remember) before the commit it is carried out once, also under concurrent repetition.
    ///
    /// # Errors
    /// As there.
    pub async fn recall(
        &mut self,
        caller: &str,
        key: &str,
        request: Digest,
    ) -> Result<Option<StoredResponse>, CatalogueError> {
        let select = recall(caller, key, self.change.at)?;
        recalled(self.work.one(select).await?, key, request)
    }

    /// Keeps the response to a request in the same change as what the request did.
    ///
    /// # Errors
    /// [`CatalogueError::Conflict`] when the key was used for another request, and when the response is too large.
    pub async fn remember(
        &mut self,
        caller: &str,
        key: &str,
        request: Digest,
        response: &StoredResponse,
        expires: Timestamp,
    ) -> Result<Put, CatalogueError> {
        if response.body.len() > RESPONSE_BYTES_MAX {
            let why = format!("it has {} bytes; at most {RESPONSE_BYTES_MAX}", response.body.len());
            return Err(CatalogueError::invalid("response", why));
        }
        if self.recall(caller, key, request).await?.is_some() {
            return Ok(Put::Unchanged);
        }
        // What is still there under this key is over, and is written over.
        let upsert = "INSERT INTO idempotency (caller, name, request, status, headers, body, expires_ms) \
                      VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (caller, name) DO UPDATE SET \
                      request = excluded.request, status = excluded.status, headers = excluded.headers, \
                      body = excluded.body, expires_ms = excluded.expires_ms";
        let upsert = sql(upsert)
            .text(caller)
            .text(key)
            .text(request)
            .number(response.status.into())
            .text(json(&response.headers)?)
            .bytes(&response.body)
            .time(expires);
        self.work.run(upsert).await?;
        Ok(Put::Created)
    }

    /// Forgets stored responses that are over, at most so many; how many went.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn forget_responses(&mut self, limit: Limit) -> Result<u64, CatalogueError> {
        let delete = "DELETE FROM idempotency WHERE (caller, name) IN \
                      (SELECT caller, name FROM idempotency WHERE expires_ms <= $1 LIMIT $2)";
        self.work.run(sql(delete).time(self.change.at).number(limit.rows() as u64)).await
    }
}
