//! What is asked for: the names of all that can be done through the API.

use std::collections::BTreeSet;

use verdict::core::name::Tenant;

use super::principal::Role;

/// Everything that the access policy is asked about, as tests compare it with the policy and with the routes.
#[cfg(test)]
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

/// What whoever is let in without an access policy may do: ask policies, and use the registry as its clients do.
const WITHOUT_POLICY: &[&str] = &[
    "data.read",
    "decision.decide",
    "decision.read",
    "documents.read",
    "host.read",
    "log.read",
    "repository.delete",
    "repository.pull",
    "repository.push",
];

/// The longest resource that is told, in bytes. What is longer is cut: no name is.
const RESOURCE_BYTES_MAX: usize = 1_024;

/// What a principal wants to do.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Action<'a> {
    /// One of those that the access policy knows.
    pub(crate) name: &'static str,
    /// Whose it is; none for what belongs to no tenant.
    pub(crate) tenant: Option<&'a Tenant>,
    /// What it is about, such as `bank/loan@production`.
    pub(crate) resource: &'a str,
    /// The roles that a new API key would have.
    pub(crate) roles: Option<&'a BTreeSet<Role>>,
}

impl<'a> Action<'a> {
    pub(crate) const fn new(name: &'static str, tenant: Option<&'a Tenant>, resource: &'a str) -> Self {
        Self { name, tenant, resource, roles: None }
    }

    /// The same, for an API key with these roles.
    pub(crate) const fn giving(self, roles: &'a BTreeSet<Role>) -> Self {
        Self { roles: Some(roles), ..self }
    }

    /// Whether it changes something. A decision changes nothing: it has a log of its own. A preview leaves nothing.
    pub(crate) fn is_change(&self) -> bool {
        let reads = [".read", ".list", ".pull", ".decide", ".preview"];
        !reads.iter().any(|end| self.name.ends_with(end))
    }

    pub(super) fn needs_policy(&self) -> bool {
        !WITHOUT_POLICY.contains(&self.name)
    }

    pub(super) fn resource(&self) -> &'a str {
        self.resource.get(..self.resource.floor_char_boundary(RESOURCE_BYTES_MAX)).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_action_is_either_a_change_or_a_read() {
        let changes = ACTIONS.iter().filter(|name| Action::new(name, None, "").is_change());
        let expected = [
            "tenant.create",
            "tenant.change",
            "policy.create",
            "policy.change",
            "statement.attach",
            "channel.write",
            "channel.activate",
            "data.write",
            "trust.write",
            "revocations.write",
            "key.create",
            "key.revoke",
            "repository.push",
            "repository.delete",
        ];
        assert_eq!(changes.copied().collect::<Vec<_>>(), expected);
        assert!(WITHOUT_POLICY.iter().all(|name| ACTIONS.contains(name)));
    }

    #[test]
    fn a_long_resource_is_cut_between_characters() {
        let text = "é".repeat(RESOURCE_BYTES_MAX);
        assert_eq!(Action::new("host.read", None, &text).resource().len(), RESOURCE_BYTES_MAX);
        assert_eq!(Action::new("host.read", None, "bank/loan").resource(), "bank/loan");
    }
}
