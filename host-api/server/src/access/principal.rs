//! Who asks: what every way of proving oneself comes to.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde_json::json;
use verdict::core::name::Tenant;

/// The longest name of an actor in events, in bytes.
const ACTOR_BYTES_MAX: usize = 255;

/// How a principal proved who it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Nobody needs to say: the server has no way of knowing anybody, and listens where only its own machine comes.
    Anonymous,
    /// By a token of the token file.
    Token,
    /// By an API key of the catalogue.
    ApiKey,
    /// By a JSON Web Token.
    Jwt,
    /// By a client certificate with a SPIFFE identity.
    Workload,
    /// By owning the break-glass socket.
    BreakGlass,
}

impl Kind {
    /// As the access policy is told.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Anonymous => "anonymous",
            Self::Token => "token",
            Self::ApiKey => "api_key",
            Self::Jwt => "jwt",
            Self::Workload => "workload",
            Self::BreakGlass => "break_glass",
        }
    }
}

/// What a principal may do; the access policy says what that is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Role {
    /// Everything of one tenant.
    TenantAdmin,
    /// Everything.
    SystemAdmin,
    /// Makes policies and pushes versions of them.
    Publisher,
    /// Attaches approvals and test results.
    Approver,
    /// Decides what runs, and with which data.
    Operator,
    /// Reads all, decisions and events too.
    Auditor,
    /// Asks policies.
    Agent,
}

impl Role {
    /// All roles.
    pub(crate) const ALL: [Self; 7] = [
        Self::TenantAdmin,
        Self::SystemAdmin,
        Self::Publisher,
        Self::Approver,
        Self::Operator,
        Self::Auditor,
        Self::Agent,
    ];

    /// Its name, as in API keys and claims.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::TenantAdmin => "tenant_admin",
            Self::SystemAdmin => "system_admin",
            Self::Publisher => "publisher",
            Self::Approver => "approver",
            Self::Operator => "operator",
            Self::Auditor => "auditor",
            Self::Agent => "agent",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The text is no role.
#[derive(Debug, thiserror::Error)]
#[error(
    "`{0}` is not a role; expected tenant_admin, system_admin, publisher, approver, operator, auditor or agent"
)]
pub(crate) struct RoleError(String);

impl FromStr for Role {
    type Err = RoleError;

    fn from_str(text: &str) -> Result<Self, RoleError> {
        let known = Self::ALL.into_iter().find(|role| role.as_str() == text);
        known.ok_or_else(|| RoleError(text.chars().take(64).collect()))
    }
}

/// Who asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Principal {
    kind: Kind,
    id: String,
    person: String,
    tenant: Option<Tenant>,
    roles: BTreeSet<Role>,
    caller: Option<String>,
}

impl Principal {
    pub(crate) fn anonymous() -> Arc<Self> {
        Arc::new(Self {
            kind: Kind::Anonymous,
            id: "anonymous".into(),
            person: "anonymous".into(),
            tenant: None,
            roles: BTreeSet::new(),
            caller: None,
        })
    }

    pub(crate) fn break_glass() -> Arc<Self> {
        let roles = Role::ALL.into_iter().collect();
        let caller = json!({ "kind": Kind::BreakGlass.as_str() }).to_string();
        Arc::new(Self {
            kind: Kind::BreakGlass,
            id: "break-glass".into(),
            person: "break-glass".into(),
            tenant: None,
            roles,
            caller: Some(caller),
        })
    }

    /// Of a token file: what its holders could always do is what agents and publishers may.
    pub(super) fn token(name: &str, tenant: Option<Tenant>) -> Self {
        Self {
            kind: Kind::Token,
            id: name.into(),
            person: name.into(),
            tenant,
            roles: [Role::Agent, Role::Publisher].into(),
            caller: Some(json!({ "name": name }).to_string()),
        }
    }

    pub(super) fn api_key(id: &str, person: &str, tenant: Option<Tenant>, roles: BTreeSet<Role>) -> Self {
        let caller = json!({ "kind": Kind::ApiKey.as_str(), "id": id, "name": person }).to_string();
        Self { kind: Kind::ApiKey, id: id.into(), person: person.into(), tenant, roles, caller: Some(caller) }
    }

    pub(super) fn jwt(subject: &str, tenant: Option<Tenant>, roles: BTreeSet<Role>) -> Self {
        let caller = json!({ "kind": Kind::Jwt.as_str(), "name": subject }).to_string();
        let (id, person) = (subject.into(), subject.into());
        Self { kind: Kind::Jwt, id, person, tenant, roles, caller: Some(caller) }
    }

    pub(super) fn workload(id: &str, tenant: Option<Tenant>, roles: BTreeSet<Role>) -> Self {
        let caller = json!({ "kind": Kind::Workload.as_str(), "name": id }).to_string();
        Self { kind: Kind::Workload, id: id.into(), person: id.into(), tenant, roles, caller: Some(caller) }
    }

    pub(crate) const fn kind(&self) -> Kind {
        self.kind
    }

    /// What it is called among those of its kind: a name of the token file, an API key's id, a token's subject, a SPIFFE
    /// identity.
    pub(crate) fn id(&self) -> &str {
        &self.id
    }

    /// The only tenant that it is for; none where it is for all.
    pub(crate) const fn tenant(&self) -> Option<&Tenant> {
        self.tenant.as_ref()
    }

    #[cfg(test)]
    pub(crate) const fn roles(&self) -> &BTreeSet<Role> {
        &self.roles
    }

    /// Whether what belongs to a tenant may be told to it at all. The access policy says more.
    pub(crate) fn is_for(&self, tenant: &Tenant) -> bool {
        self.tenant.as_ref().is_none_or(|own| own == tenant)
    }

    /// As a decision's record commits to it, in JSON; none where nobody needs to say who asks.
    pub(crate) fn caller(&self) -> Option<&str> {
        self.caller.as_deref()
    }

    /// As events and idempotency keys name it. Different principals have different names.
    pub(crate) fn actor(&self) -> String {
        let mut actor = match self.kind {
            // A token's name has no space, so none of the others can be taken for one.
            Kind::Token | Kind::Anonymous | Kind::BreakGlass => self.id.clone(),
            Kind::ApiKey => format!("api-key {} {}", self.id, self.person),
            Kind::Jwt => format!("jwt {}", self.id),
            Kind::Workload => format!("workload {}", self.id),
        };
        actor.truncate(actor.floor_char_boundary(ACTOR_BYTES_MAX));
        actor
    }

    /// As the access policy is told.
    pub(super) fn asked(&self) -> serde_json::Value {
        json!({
            "kind": self.kind.as_str(), "id": self.id, "person": self.person, "tenant": self.tenant,
            "roles": self.roles.iter().map(|role| role.as_str()).collect::<Vec<_>>(),
        })
    }
}
