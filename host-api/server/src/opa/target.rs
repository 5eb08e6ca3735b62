//! What is at a place: a rule of a policy, all rules of a policy, the tenant's data, or all of that.

use verdict::Decision;
use verdict::core::name::{PolicyName, RuleName, Tenant};
use verdict::core::pointer::Pointer;
use verdict::engine::{DOCUMENT_DEPTH_MAX, Document, DocumentLimits};

use super::call::Call;
use super::json::object;
use super::place::Place;
use super::refused::Refused;

/// How many rules one request may ask, where it names none: each is a decision of its own.
const RULES_MAX: usize = 16;

/// A policy with the rules that are asked of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Package {
    policy: PolicyName,
    rules: Vec<RuleName>,
}

/// What is at a place.
#[derive(Debug)]
pub(super) enum Target {
    /// Something in the value of a rule.
    Rule { policy: PolicyName, rule: RuleName, pointer: Pointer, is_named: bool },
    /// All rules of a policy.
    Package(Package),
    /// All policies of a tenant, and its data.
    Root { packages: Vec<Package>, data: Option<Document> },
    /// A value of the tenant's data, or nothing at all.
    Value(Option<String>),
}

impl Target {
    /// Finds what is at a place, for a caller who may ask it.
    pub(super) async fn find(call: &Call, tenant: &Tenant, place: &Place) -> Result<Self, Refused> {
        let host = call.host()?;
        let Some(first) = place.parts().first() else { return Self::root(call).await };
        let policy = policy_of(tenant, first);
        let found = policy.and_then(|policy| host.rules(&policy, None).map(|rules| (policy, rules)));
        let Some((policy, rules)) = found else {
            // Whoever may not read the data is told of none.
            let data = if call.may_read_data().await? { host.data(tenant) } else { None };
            let text = data.as_ref().and_then(|data| data.json(&place.pointer_after(0)));
            return Ok(Self::Value(text.map(ToOwned::to_owned)));
        };
        call.check(&policy).await?;
        let target = Self::of_policy(policy, rules, place);
        target.bounded()
    }

    fn of_policy(policy: PolicyName, rules: Vec<RuleName>, place: &Place) -> Self {
        let inside = place.parts().get(1..).unwrap_or_default();
        if inside.is_empty() {
            return Self::Package(Package { policy, rules });
        }
        // A rule's name may have slashes: the longest that fits is meant.
        let named = (1..=inside.len()).rev().find_map(|count| {
            let name = inside.get(..count)?.join("/");
            Some((rule_of(&rules, &name)?.clone(), place.pointer_after(1 + count)))
        });
        match (named, rules.as_slice()) {
            (Some((rule, pointer)), _) => Self::Rule { policy, rule, pointer, is_named: true },
            (None, [only]) => {
                let pointer = place.pointer_after(1);
                Self::Rule { policy, rule: only.clone(), pointer, is_named: false }
            }
            _ => Self::Value(None),
        }
    }

    async fn root(call: &Call) -> Result<Self, Refused> {
        let host = call.host()?;
        let mut packages: Vec<Package> = Vec::new();
        for status in host.policies() {
            let policy = status.name;
            let is_new = packages.last().is_none_or(|package| package.policy != policy);
            if policy.tenant() == &call.tenant && is_new && call.may_ask(&policy).await? {
                let rules = host.rules(&policy, None).unwrap_or_default();
                packages.push(Package { policy, rules });
            }
        }
        let data = if call.may_read_data().await? { host.data(&call.tenant) } else { None };
        Self::Root { packages, data }.bounded()
    }

    fn bounded(self) -> Result<Self, Refused> {
        let count = self.questions().len();
        if count <= RULES_MAX {
            return Ok(self);
        }
        let message = format!(
            "{count} rules are at this path, and each would be a decision; name one: a request may ask {RULES_MAX}"
        );
        Err(Refused::invalid(message))
    }

    /// The rules that are to be asked.
    pub(super) fn questions(&self) -> Vec<(&PolicyName, &RuleName)> {
        fn all(package: &Package) -> impl Iterator<Item = (&PolicyName, &RuleName)> {
            package.rules.iter().map(|rule| (&package.policy, rule))
        }
        match self {
            Self::Rule { policy, rule, .. } => vec![(policy, rule)],
            Self::Package(package) => all(package).collect(),
            Self::Root { packages, .. } => packages.iter().flat_map(all).collect(),
            Self::Value(_) => Vec::new(),
        }
    }

    /// Whether the place names a rule, or all of a policy.
    pub(super) fn has_rule(&self) -> bool {
        !matches!(self, Self::Value(_) | Self::Rule { is_named: false, .. })
    }

    /// The JSON of what is there, by the decisions about all the questions; none where that is undefined.
    pub(super) fn value(&self, decisions: &[Decision]) -> Option<String> {
        match self {
            Self::Value(value) => value.clone(),
            Self::Rule { pointer, .. } => inside(value_of(decisions.first()?)?, pointer),
            Self::Package(package) => Some(members(package, decisions)),
            Self::Root { packages, data } => Some(root(packages, data.as_ref(), decisions)),
        }
    }
}

fn value_of(decision: &Decision) -> Option<&str> {
    decision.result.as_ref().ok()?.value.as_deref()
}

/// The rules that have a value.
fn members(package: &Package, decisions: &[Decision]) -> String {
    let of_package = decisions.iter().filter(|decision| decision.policy == package.policy);
    object(of_package.filter_map(|decision| Some((decision.rule.as_str(), value_of(decision)?))))
}

/// The members of the data, and the policies, named as packages of Rego are; what is both is the policy.
fn root(packages: &[Package], data: Option<&Document>, decisions: &[Decision]) -> String {
    let mut all = std::collections::BTreeMap::new();
    for name in data.and_then(|data| data.keys(&Pointer::default())).unwrap_or_default() {
        let pointer = Place::of(vec![name.to_string()]).pointer_after(0);
        if let Some(value) = data.and_then(|data| data.json(&pointer)) {
            all.insert(name.into_owned(), value.to_owned());
        }
    }
    for package in packages {
        all.insert(package.policy.name().replace('-', "_"), members(package, decisions));
    }
    object(all.iter().map(|(name, value)| (name.as_str(), value.as_str())))
}

/// What is at a pointer of a value.
fn inside(value: &str, pointer: &Pointer) -> Option<String> {
    if pointer.as_str().is_empty() {
        return Some(value.to_owned());
    }
    let limits = DocumentLimits { bytes_max: u64::from(u32::MAX), depth_max: DOCUMENT_DEPTH_MAX };
    Document::parse(value, &limits).ok()?.json(pointer).map(ToOwned::to_owned)
}

/// The policy that a part of a path names. Names of packages have no hyphens, and those of policies no underscores.
fn policy_of(tenant: &Tenant, part: &str) -> Option<PolicyName> {
    PolicyName::of(tenant.as_str(), &part.replace('_', "-")).ok()
}

/// The rule with this name, or else the one that differs from it by hyphens and underscores.
fn rule_of<'a>(rules: &'a [RuleName], name: &str) -> Option<&'a RuleName> {
    let plain = |text: &str| text.replace('_', "-");
    let exact = rules.iter().find(|rule| rule.as_str() == name);
    exact.or_else(|| rules.iter().find(|rule| plain(rule.as_str()) == plain(name)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(rules: &[&str], path: &str) -> Option<(String, String, bool)> {
        let rules = rules.iter().map(|rule| rule.parse().unwrap()).collect();
        let policy = "acme/loan".parse().unwrap();
        match Target::of_policy(policy, rules, &Place::read(path).unwrap()) {
            Target::Rule { rule, pointer, is_named, .. } => {
                Some((rule.to_string(), pointer.to_string(), is_named))
            }
            _ => None,
        }
    }

    fn rule(name: &str, pointer: &str, is_named: bool) -> Option<(String, String, bool)> {
        Some((name.into(), pointer.into(), is_named))
    }

    #[test]
    fn the_longest_name_of_a_rule_is_meant_and_the_rest_is_a_pointer() {
        let rules = ["allow", "allow/write", "may-read", "may_read"];
        assert_eq!(of(&rules, "loan/allow"), rule("allow", "", true));
        assert_eq!(of(&rules, "loan/allow/read/0"), rule("allow", "/read/0", true));
        assert_eq!(of(&rules, "loan/allow/write/0"), rule("allow/write", "/0", true));
        assert_eq!(of(&rules, "loan/nosuch"), None);
    }

    #[test]
    fn an_underscore_stands_for_a_hyphen_where_nothing_is_named_exactly() {
        assert_eq!(of(&["may-read", "may_read"], "loan/may_read"), rule("may_read", "", true));
        assert_eq!(of(&["may-read", "other"], "loan/may_read"), rule("may-read", "", true));
        assert_eq!(policy_of(&Tenant::default(), "a_b-c").unwrap().name(), "a-b-c");
        assert_eq!(policy_of(&Tenant::default(), "A"), None);
    }

    #[test]
    fn the_only_rule_needs_no_name() {
        assert_eq!(of(&["allow"], "loan/limits/0"), rule("allow", "/limits/0", false));
        assert_eq!(of(&["allow"], "loan/allow/limits"), rule("allow", "/limits", true));
    }

    #[test]
    fn a_pointer_keeps_the_text_of_what_it_finds() {
        let inside = |pointer: &str| inside(r#"{"a": [1e400, { "b":1 }]}"#, &pointer.parse().unwrap());
        assert_eq!(inside("/a/0").as_deref(), Some("1e400"));
        assert_eq!(inside("/a/1").as_deref(), Some(r#"{ "b":1 }"#));
        assert_eq!(inside("/a/2"), None);
    }
}
