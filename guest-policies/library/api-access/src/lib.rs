//! May this principal do this through Verdict's own API? The policy that a server asks before it does anything
//! (`system/api-access`); change it, sign it and pin its component to have other roles.
//!
//! The rule `allow` takes who asks, what for, whose it is, and what it is about (`schemas/question.input.json`). The
//! roles and what they have are in `rights.rs`; `matrix.txt` shows all of it at a glance.
//!
//! - A principal that is for one tenant has nothing of another, and nothing that is no tenant's own but `host.read`,
//!   where the server leaves out what is another's.
//! - An API key gets no role that its maker lacks: `tenant_admin` has all but `system_admin`.
//! - What this version does not know (an action, a role, a member of the input) is denied or a failure, and a server
//!   takes a failure for a denial.

mod rights;

use rights::{ACTIONS, NO_TENANT_FOR_ALL, Role};
use serde::{Deserialize, Deserializer};
use verdict_sdk::{Decision, Reason};

verdict_sdk::policy! { "allow" => allow }

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Question {
    principal: Principal,
    action: String,
    #[serde(deserialize_with = "there")]
    tenant: Option<String>,
    #[serde(rename = "resource")]
    _resource: String,
    roles: Option<Vec<Role>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Principal {
    #[serde(rename = "kind")]
    _kind: Kind,
    #[serde(rename = "id")]
    _id: String,
    #[serde(rename = "person")]
    _person: String,
    #[serde(deserialize_with = "there")]
    tenant: Option<String>,
    roles: Vec<Role>,
}

/// How it proved who it is. All count alike here.
#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Kind {
    Anonymous,
    Token,
    ApiKey,
    Jwt,
    BreakGlass,
}

/// As it is, if it is there: a tenant that was forgotten must not stand for all of them.
fn there<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    Option::deserialize(deserializer)
}

fn allow(question: Question) -> Decision {
    let action = question.action.as_str();
    if !ACTIONS.contains(&action) {
        return deny("unknown-action", "this version of the policy does not know the action", "/action");
    }
    if let Some(denial) = foreign(&question) {
        return denial;
    }
    let of_tenant = question.tenant.is_some();
    let mut granting = question.principal.roles.iter().filter(|role| role.has(action, of_tenant)).peekable();
    if granting.peek().is_none() {
        return deny("no-role", "none of the principal's roles has this action", "/principal/roles");
    }
    let given = question.roles.as_deref().unwrap_or_default();
    let Some(role) = granting.find(|role| given.iter().all(|given| role.may_give(*given))) else {
        return deny("role-lacked", "a key gets no role that its maker lacks", "/roles");
    };
    let granted = ["granted by the role `", role.name(), "`"].concat();
    Decision::allow().because(Reason::new("granted", granted).on("/principal/roles").on("/action"))
}

/// The denial of what is not the principal's tenant's.
fn foreign(question: &Question) -> Option<Decision> {
    let own = question.principal.tenant.as_ref()?;
    match &question.tenant {
        Some(tenant) if tenant == own => None,
        Some(_) => Some(deny("other-tenant", "it belongs to another tenant", "/tenant")),
        None if question.action == NO_TENANT_FOR_ALL => None,
        None => Some(deny("no-tenant", "it belongs to no tenant alone, and the principal to one", "/tenant")),
    }
}

fn deny(code: &str, message: &str, place: &str) -> Decision {
    Decision::deny().because(Reason::new(code, message).on(place))
}
