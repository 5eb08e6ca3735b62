//! The roles, and what each has.

use serde::Deserialize;

/// Every action that there is.
pub(crate) const ACTIONS: &[&str] = &[
    "tenant.list",
    "tenant.read",
    "tenant.create",
    "tenant.change",
    "policy.list",
    "policy.read",
    "policy.create",
    "policy.change",
    "policy.preview",
    "version.read",
    "statement.read",
    "statement.attach",
    "channel.read",
    "channel.write",
    "channel.activate",
    "data.read",
    "data.write",
    "trust.read",
    "trust.write",
    "revocations.read",
    "revocations.write",
    "event.read",
    "key.list",
    "key.create",
    "key.revoke",
    "documents.read",
    "repository.pull",
    "repository.push",
    "repository.delete",
    "decision.decide",
    "decision.read",
    "log.read",
    "host.read",
];

/// What whoever works on policies reads.
const READS: &[&str] = &[
    "tenant.list",
    "tenant.read",
    "policy.list",
    "policy.read",
    "version.read",
    "statement.read",
    "channel.read",
    "data.read",
    "trust.read",
    "revocations.read",
    "documents.read",
    "repository.pull",
    "host.read",
];
/// What auditors read besides.
const AUDITS: &[&str] = &["event.read", "key.list", "decision.read", "log.read"];
const PUBLISHES: &[&str] = &["policy.create", "policy.change", "policy.preview", "repository.push"];
const APPROVES: &[&str] = &["statement.attach"];
const OPERATES: &[&str] = &["channel.write", "channel.activate", "data.write"];
const ASKS: &[&str] = &["decision.decide", "decision.read", "documents.read", "repository.pull", "data.read"];

/// The only action on what is no tenant's own that principals of one tenant have too.
pub(crate) const NO_TENANT_FOR_ALL: &str = "host.read";
/// What is about no tenant's own. Nobody may change it because of a tenant.
const OF_NO_TENANT: &[&str] = &[
    "tenant.list",
    "tenant.create",
    "trust.read",
    "trust.write",
    "revocations.read",
    "revocations.write",
    "host.read",
];

#[derive(Clone, Copy, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Role {
    SystemAdmin,
    TenantAdmin,
    Publisher,
    Approver,
    Operator,
    Auditor,
    Agent,
}

impl Role {
    /// Whether it has a known action, on what is a tenant's or on what is no tenant's own.
    pub(crate) fn has(self, action: &str, of_tenant: bool) -> bool {
        let among = |lists: &[&[&str]]| lists.iter().any(|list| list.contains(&action));
        match self {
            Self::SystemAdmin => true,
            Self::TenantAdmin => among(&[READS]) || (of_tenant && !among(&[OF_NO_TENANT])),
            Self::Publisher => among(&[READS, PUBLISHES]),
            Self::Approver => among(&[READS, APPROVES]),
            Self::Operator => among(&[READS, OPERATES]),
            Self::Auditor => among(&[READS, AUDITS]),
            Self::Agent => among(&[ASKS]),
        }
    }

    /// Whether an API key that it makes may have this role.
    pub(crate) fn may_give(self, role: Self) -> bool {
        self == Self::SystemAdmin || role != Self::SystemAdmin
    }

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::SystemAdmin => "system_admin",
            Self::TenantAdmin => "tenant_admin",
            Self::Publisher => "publisher",
            Self::Approver => "approver",
            Self::Operator => "operator",
            Self::Auditor => "auditor",
            Self::Agent => "agent",
        }
    }
}
