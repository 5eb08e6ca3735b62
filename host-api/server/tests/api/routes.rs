//! The routes of the OpenAPI document, which a test compares with those that are served: whoever adds one adds it here,
//! too, or a test fails.

use serde_json::Value;
use verdict::core::digest::Digest;

use crate::world::{decision_of, id_of, policy_of, token};

pub(crate) const DOCUMENT: &str = include_str!("../../openapi.json");

/// One method of one path.
pub(crate) struct Route {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) operation: Value,
}

/// What a path names.
#[derive(Clone)]
pub(crate) struct Objects {
    pub(crate) tenant: String,
    policy: String,
    version: String,
    channel: String,
    content: Digest,
    decision: String,
    key: String,
}

/// Every route that the access policy guards. Those of OPA's API say what is wrong in a form of their own, and have
/// tests of their own.
pub(crate) fn guarded() -> Vec<Route> {
    all().into_iter().filter(|route| !route.action().is_empty() && !route.is_opa()).collect()
}

pub(crate) fn all() -> Vec<Route> {
    let document: Value = serde_json::from_str(DOCUMENT).unwrap();
    let mut routes = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let (method, path) = (method.to_uppercase(), path.clone());
            routes.push(Route { method, path, operation: operation.clone() });
        }
    }
    assert!(routes.len() > 40, "the document was not read");
    routes
}

impl Objects {
    /// Those that a furnished tenant has.
    pub(crate) fn of(tenant: &str) -> Self {
        Self {
            tenant: tenant.into(),
            policy: policy_of(tenant).split_once('/').unwrap().1.into(),
            version: "1.0.0".into(),
            channel: "production".into(),
            content: Digest::of(format!("{{\"owner\":\"{tenant}\"}}").as_bytes()),
            decision: decision_of(tenant),
            key: id_of(&token(Some(tenant), "auditor")).into(),
        }
    }

    /// Those that nobody has, in a tenant that may be there.
    pub(crate) fn absent(tenant: &str) -> Self {
        Self {
            tenant: tenant.into(),
            policy: "absent".into(),
            version: "9.9.9".into(),
            channel: "absent".into(),
            content: Digest::of(b"absent"),
            decision: "absent".into(),
            key: "0000000000000000".into(),
        }
    }

    /// The same in another tenant's place.
    pub(crate) fn under(self, tenant: &str) -> Self {
        Self { tenant: tenant.into(), ..self }
    }
}

impl Route {
    pub(crate) fn action(&self) -> &str {
        self.operation["x-verdict-action"].as_str().unwrap_or_default()
    }

    /// Whether it asks a policy, though it is a `GET`: what a gateway lacks or a policy says is no 200.
    pub(crate) fn asks(&self) -> bool {
        self.action() == "decision.decide"
    }

    /// Whether its protocol says in plain words what went wrong, and not by a problem.
    pub(crate) fn says_in_words(&self) -> bool {
        self.operation["responses"]["default"]["content"]["text/plain"].is_object()
    }

    pub(crate) fn is_opa(&self) -> bool {
        self.operation["tags"][0] == "opa"
    }

    pub(crate) fn names(&self) -> Vec<&str> {
        self.path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}')).collect()
    }

    /// The path to these objects. Fails for names that there are no objects for.
    pub(crate) fn to(&self, objects: &Objects) -> String {
        let named = |name: &str| match name {
            "tenant" => objects.tenant.clone(),
            "policy" => objects.policy.clone(),
            "version" => objects.version.clone(),
            "channel" => objects.channel.clone(),
            "digest" => objects.content.to_string(),
            "id" if self.path.starts_with("/v1/api-keys/") => objects.key.clone(),
            "id" if self.path.contains("/decisions/") => objects.decision.clone(),
            "path" => "000".into(),
            "rule" => "allow".into(),
            other => panic!("no object is known for `{other}` of `{}`; give it one", self.path),
        };
        self.filled(named)
    }

    /// The path with these in place of the names.
    pub(crate) fn filled(&self, named: impl Fn(&str) -> String) -> String {
        let part = |part: &str| match part.strip_prefix('{').and_then(|part| part.strip_suffix('}')) {
            Some(name) => named(name),
            None => part.to_owned(),
        };
        self.path.split('/').map(part).collect::<Vec<_>>().join("/")
    }

    /// The media type of its body, if it takes one.
    pub(crate) fn media_type(&self) -> Option<&str> {
        let content = self.operation["requestBody"]["content"].as_object()?;
        content.keys().next().map(String::as_str)
    }
}
