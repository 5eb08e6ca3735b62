//! Tenants, and what they call policies.

use serde_json::{Map, Value};
use verdict_core::name::{ChannelName, PolicyName, Tenant};
use verdict_core::time::Timestamp;

use super::Catalogue;
use super::database::{Row, sql};
use super::error::CatalogueError;
use super::events::EventKind;
use super::page::{Etag, Limit, Page, TEXT_BYTES_MAX, WORD_BYTES_MAX, check_text};
use super::word::words;
use super::write::{Put, Told, Write, json};

/// A tenant as the catalogue knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TenantEntry {
    /// Its name.
    pub name: Tenant,
    /// What it is.
    pub description: String,
    /// Since when it is there.
    pub created: Timestamp,
    /// The row's version.
    pub etag: Etag,
}

words! {
    /// Whether versions may be added to a policy. What runs is not decided by it.
    PolicyState, "state of a policy" {
        /// They may.
        Open = "open",
        /// They may not.
        Archived = "archived",
    }
}

/// What is said about a policy. Nothing of it decides what runs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PolicyText {
    /// What it is for. At most 4,096 bytes.
    pub description: String,
    /// What it is one of, such as `credit`; may be empty. At most 255 bytes.
    pub category: String,
    /// Anything that its owners want to keep with it. At most 64 KiB.
    pub metadata: Map<String, Value>,
}

/// A policy as the catalogue knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyEntry {
    /// Its name.
    pub name: PolicyName,
    /// What is said about it.
    pub text: PolicyText,
    /// Whether versions may be added.
    pub state: PolicyState,
    /// Since when it is there.
    pub created: Timestamp,
    /// When it was changed last.
    pub updated: Timestamp,
    /// The row's version.
    pub etag: Etag,
}

/// Which policies a list has; the default is all that are there, archived ones too.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PolicyFilter {
    /// Only those of this state.
    pub state: Option<PolicyState>,
    /// Only those of this category.
    pub category: Option<String>,
}

impl TenantEntry {
    fn read(row: &Row) -> Result<Self, CatalogueError> {
        Ok(Self {
            name: row.parsed(0, "tenant")?,
            description: row.text(1)?,
            created: row.time(2)?,
            etag: row.etag(3)?,
        })
    }
}

impl PolicyEntry {
    fn read(row: &Row) -> Result<Self, CatalogueError> {
        let name = PolicyName::of(&row.text(0)?, &row.text(1)?);
        Ok(Self {
            name: name.map_err(|_| CatalogueError::Corrupt { what: "policy name" })?,
            text: PolicyText { description: row.text(2)?, category: row.text(3)?, metadata: row.json(4)? },
            state: row.parsed(5, "state of a policy")?,
            created: row.time(6)?,
            updated: row.time(7)?,
            etag: row.etag(8)?,
        })
    }
}

impl PolicyText {
    /// The metadata as text, when everything is of a size that is stored.
    fn checked(&self) -> Result<String, CatalogueError> {
        check_text("description", &self.description, TEXT_BYTES_MAX)?;
        check_text("category", &self.category, WORD_BYTES_MAX)?;
        json(&self.metadata)
    }
}

/// The columns of a policy, in the order that [`PolicyEntry::read`] has.
macro_rules! policies {
    ($rest:literal) => {
        concat!(
            "SELECT tenant, name, description, category, metadata, state, created_ms, updated_ms, etag ",
            "FROM policies WHERE ",
            $rest
        )
    };
}

impl Catalogue {
    /// A tenant.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn tenant(&self, name: &Tenant) -> Result<Option<TenantEntry>, CatalogueError> {
        let select =
            sql("SELECT name, description, created_ms, etag FROM tenants WHERE name = $1").text(name);
        self.database().one(select).await?.as_ref().map(TenantEntry::read).transpose()
    }

    /// The tenants by name, those after one.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn tenants(
        &self,
        after: Option<&Tenant>,
        limit: Limit,
    ) -> Result<Page<TenantEntry>, CatalogueError> {
        let select =
            "SELECT name, description, created_ms, etag FROM tenants WHERE name > $1 ORDER BY name LIMIT $2";
        let select = sql(select).text(after.map_or("", Tenant::as_str)).number(limit.and_one());
        let rows = self.database().all(select).await?;
        Ok(Page::cut(rows.iter().map(TenantEntry::read).collect::<Result<_, _>>()?, limit))
    }

    /// A policy.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn policy(&self, name: &PolicyName) -> Result<Option<PolicyEntry>, CatalogueError> {
        let select = sql(policies!("tenant = $1 AND name = $2")).text(name.tenant()).text(name.name());
        self.database().one(select).await?.as_ref().map(PolicyEntry::read).transpose()
    }

    /// A tenant's policies by name, those after a name inside the tenant.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn policies(
        &self,
        tenant: &Tenant,
        filter: &PolicyFilter,
        after: Option<&str>,
        limit: Limit,
    ) -> Result<Page<PolicyEntry>, CatalogueError> {
        let select = sql(policies!(
            "tenant = $1 AND name > $2 AND ($3 = '' OR state = $3) AND ($4 = 0 OR category = $5) \
             ORDER BY name LIMIT $6"
        ));
        let select = select
            .text(tenant)
            .text(after.unwrap_or_default())
            .text(filter.state.map_or("", PolicyState::as_str))
            .number(filter.category.is_some().into())
            .text(filter.category.as_deref().unwrap_or_default())
            .number(limit.and_one());
        let rows = self.database().all(select).await?;
        Ok(Page::cut(rows.iter().map(PolicyEntry::read).collect::<Result<_, _>>()?, limit))
    }

    /// The channels that have a state, of the tenant's policies from one name inside the tenant to another, both
    /// included.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn channels_of_policies(
        &self,
        tenant: &Tenant,
        first: &str,
        last: &str,
    ) -> Result<Vec<(PolicyName, ChannelName)>, CatalogueError> {
        // `A` follows `@`.
        let select = "SELECT DISTINCT documents.scope FROM policies JOIN documents ON documents.kind = 'channel' \
                      AND documents.scope >= policies.tenant || '/' || policies.name || '@' \
                      AND documents.scope < policies.tenant || '/' || policies.name || 'A' \
                      WHERE policies.tenant = $1 AND policies.name >= $2 AND policies.name <= $3";
        let rows = self.database().all(sql(select).text(tenant).text(first).text(last)).await?;
        rows.iter().map(channel_of).collect()
    }
}

fn channel_of(row: &Row) -> Result<(PolicyName, ChannelName), CatalogueError> {
    let scope = row.text(0)?;
    let named = scope
        .split_once('@')
        .and_then(|(policy, channel)| Some((policy.parse().ok()?, channel.parse().ok()?)));
    named.ok_or(CatalogueError::Corrupt { what: "scope of a document" })
}

impl Write {
    /// Makes a tenant.
    ///
    /// # Errors
    /// [`CatalogueError::Conflict`] when it is there.
    pub async fn create_tenant(&mut self, name: &Tenant, description: &str) -> Result<Etag, CatalogueError> {
        check_text("description", description, TEXT_BYTES_MAX)?;
        let insert = "INSERT INTO tenants (name, description, created_ms, etag) VALUES ($1, $2, $3, 1) \
                      ON CONFLICT (name) DO NOTHING";
        let insert = sql(insert).text(name).text(description).time(self.change.at);
        if self.work.run(insert).await? == 0 {
            return Err(CatalogueError::conflict("tenant", name, "change it, or take another name"));
        }
        self.tell(Told::new(EventKind::TenantCreated, name, name)).await?;
        Ok(Etag::of(1))
    }

    /// Makes a tenant unless it is there, in which case nothing is changed.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn ensure_tenant(&mut self, name: &Tenant) -> Result<Put, CatalogueError> {
        if self.exists(sql("SELECT name FROM tenants WHERE name = $1").text(name)).await? {
            return Ok(Put::Unchanged);
        }
        self.create_tenant(name, "").await.map(|_| Put::Created)
    }

    /// Changes a tenant's description.
    ///
    /// # Errors
    /// [`CatalogueError::Missing`], or [`CatalogueError::Stale`] when it is not the version that the caller has seen.
    pub async fn change_tenant(
        &mut self,
        name: &Tenant,
        description: &str,
        seen: Option<Etag>,
    ) -> Result<Etag, CatalogueError> {
        check_text("description", description, TEXT_BYTES_MAX)?;
        let row = self.work.one(sql("SELECT etag FROM tenants WHERE name = $1").text(name)).await?;
        let found = row.ok_or_else(|| CatalogueError::missing("tenant", name))?.etag(0)?;
        found.expect(seen, "tenant", name.as_str())?;
        let update = "UPDATE tenants SET description = $2, etag = etag + 1 WHERE name = $1";
        self.work.run(sql(update).text(name).text(description)).await?;
        self.tell(Told::new(EventKind::TenantChanged, name, name)).await?;
        Ok(Etag::of(found.number() + 1))
    }

    pub(super) async fn require_tenant(&mut self, name: &Tenant) -> Result<(), CatalogueError> {
        let there = self.exists(sql("SELECT name FROM tenants WHERE name = $1").text(name)).await?;
        if there { Ok(()) } else { Err(CatalogueError::missing("tenant", name)) }
    }

    /// Makes a policy of a tenant that is there.
    ///
    /// # Errors
    /// [`CatalogueError::Missing`] without the tenant, [`CatalogueError::Conflict`] when the policy is there, and
    /// when a text is too long.
    pub async fn create_policy(
        &mut self,
        name: &PolicyName,
        text: &PolicyText,
    ) -> Result<Etag, CatalogueError> {
        let metadata = text.checked()?;
        self.require_tenant(name.tenant()).await?;
        let insert = "INSERT INTO policies (tenant, name, description, category, metadata, state, created_ms, \
                      updated_ms, etag) VALUES ($1, $2, $3, $4, $5, 'open', $6, $6, 1) \
                      ON CONFLICT (tenant, name) DO NOTHING";
        let insert = sql(insert)
            .text(name.tenant())
            .text(name.name())
            .text(&text.description)
            .text(&text.category)
            .text(metadata)
            .time(self.change.at);
        if self.work.run(insert).await? == 0 {
            return Err(CatalogueError::conflict("policy", name, "change it, or take another name"));
        }
        self.tell(Told::new(EventKind::PolicyCreated, name.tenant(), name)).await?;
        Ok(Etag::of(1))
    }

    /// Makes a policy, and its tenant, unless they are there, in which case nothing is changed.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn ensure_policy(&mut self, name: &PolicyName) -> Result<Put, CatalogueError> {
        let select = sql("SELECT name FROM policies WHERE tenant = $1 AND name = $2");
        if self.exists(select.text(name.tenant()).text(name.name())).await? {
            return Ok(Put::Unchanged);
        }
        let _ = self.ensure_tenant(name.tenant()).await?;
        self.create_policy(name, &PolicyText::default()).await.map(|_| Put::Created)
    }

    /// Changes what is said about a policy.
    ///
    /// # Errors
    /// [`CatalogueError::Missing`], [`CatalogueError::Stale`] when it is not the version that the caller has seen, and
    /// when a text is too long.
    pub async fn change_policy(
        &mut self,
        name: &PolicyName,
        text: &PolicyText,
        seen: Option<Etag>,
    ) -> Result<Etag, CatalogueError> {
        let metadata = text.checked()?;
        let found = self.seen_policy(name, seen).await?.1;
        let update = "UPDATE policies SET description = $3, category = $4, metadata = $5, updated_ms = $6, \
                      etag = etag + 1 WHERE tenant = $1 AND name = $2";
        let update = sql(update)
            .text(name.tenant())
            .text(name.name())
            .text(&text.description)
            .text(&text.category)
            .text(metadata)
            .time(self.change.at);
        self.work.run(update).await?;
        self.tell(Told::new(EventKind::PolicyChanged, name.tenant(), name)).await?;
        Ok(Etag::of(found.number() + 1))
    }

    /// Archives a policy or opens it again. Nothing happens when it is so already.
    ///
    /// # Errors
    /// [`CatalogueError::Missing`], or [`CatalogueError::Stale`] when it is not the version that the caller has seen.
    pub async fn set_policy_state(
        &mut self,
        name: &PolicyName,
        state: PolicyState,
        seen: Option<Etag>,
    ) -> Result<Etag, CatalogueError> {
        let (is, found) = self.seen_policy(name, seen).await?;
        if is == state {
            return Ok(found);
        }
        let update = "UPDATE policies SET state = $3, updated_ms = $4, etag = etag + 1 WHERE tenant = $1 AND name = $2";
        let update = sql(update).text(name.tenant()).text(name.name()).text(state).time(self.change.at);
        self.work.run(update).await?;
        self.tell(Told::new(EventKind::PolicyChanged, name.tenant(), name).detail("state", state)).await?;
        Ok(Etag::of(found.number() + 1))
    }

    /// A policy's state and version, when it is the version that the caller has seen.
    pub(super) async fn seen_policy(
        &mut self,
        name: &PolicyName,
        seen: Option<Etag>,
    ) -> Result<(PolicyState, Etag), CatalogueError> {
        let select = sql("SELECT state, etag FROM policies WHERE tenant = $1 AND name = $2");
        let row = self.work.one(select.text(name.tenant()).text(name.name())).await?;
        let row = row.ok_or_else(|| CatalogueError::missing("policy", name))?;
        let (state, etag) = (row.parsed(0, "state of a policy")?, row.etag(1)?);
        etag.expect(seen, "policy", &name.to_string())?;
        Ok((state, etag))
    }
}
