//! What must be signed by whom before a version may answer.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{PolicyPattern, TrustError, check_count};
use crate::name::{ChannelName, PolicyName};
use crate::pointer::Pointer;
use crate::statement;

/// The most people that a rule may ask for.
pub const PEOPLE_MAX: u32 = 16;
const REQUIREMENTS_MAX: usize = 16;
const MEMBERS_MAX: usize = 64;
const NAMES_MAX: usize = 1_000;
const PREDICATE_BYTES_MAX: usize = 255;

/// What some policies need in some channels. Of the rules of a trust policy the first that fits decides.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// The policies that it is about.
    pub policies: Vec<PolicyPattern>,
    /// The channels that it is about; empty means all of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub channels: Vec<ChannelName>,
    /// How many people must approve the author's statement, none of whom signed it as an author.
    #[serde(default)]
    pub approvals: u32,
    /// How many people must sign a channel state.
    #[serde(default = "one")]
    pub releases: u32,
    /// What else must be attached.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub statements: Vec<Requirement>,
}

/// A statement that must be attached, signed by attesters.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Requirement {
    /// Its `predicateType`.
    pub predicate: String,
    /// How many people must have signed one.
    #[serde(default = "one")]
    pub signers: u32,
    /// What its predicate must say: a pointer into it, and the value that must be there.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub require: BTreeMap<Pointer, Value>,
}

fn one() -> u32 {
    1
}

impl Rule {
    fn is_about(&self, policy: &PolicyName) -> bool {
        self.policies.iter().any(|pattern| pattern.covers(policy))
    }

    /// Checks what the types do not say.
    pub(crate) fn check(&self) -> Result<(), TrustError> {
        check_count("policies of a rule", self.policies.len(), NAMES_MAX)?;
        check_count("channels of a rule", self.channels.len(), NAMES_MAX)?;
        check_count("statements of a rule", self.statements.len(), REQUIREMENTS_MAX)?;
        if self.approvals > PEOPLE_MAX || !(1..=PEOPLE_MAX).contains(&self.releases) {
            return Err(TrustError::People);
        }
        self.statements.iter().try_for_each(Requirement::check)
    }
}

impl Requirement {
    fn check(&self) -> Result<(), TrustError> {
        check_count("members that a statement must have", self.require.len(), MEMBERS_MAX)?;
        check_predicate(&self.predicate)?;
        if let Some((pointer, _)) = self.require.iter().find(|(_, value)| has_fraction(value)) {
            return Err(TrustError::Fraction(pointer.clone()));
        }
        if (1..=PEOPLE_MAX).contains(&self.signers) { Ok(()) } else { Err(TrustError::People) }
    }

    /// Whether a predicate says what it must.
    pub(crate) fn holds(&self, predicate: &Value) -> bool {
        self.require.iter().all(|(pointer, value)| predicate.pointer(pointer.as_str()) == Some(value))
    }
}

/// Whether there is a number in it that is no integer.
fn has_fraction(value: &Value) -> bool {
    match value {
        Value::Number(number) => number.is_f64(),
        Value::Array(items) => items.iter().any(has_fraction),
        Value::Object(members) => members.values().any(has_fraction),
        Value::Null | Value::Bool(_) | Value::String(_) => false,
    }
}

/// Refuses a predicate type that is none, or that has a role of its own.
pub(crate) fn check_predicate(predicate: &str) -> Result<(), TrustError> {
    let reserved = [statement::PREDICATE_TYPE, statement::APPROVAL_TYPE].contains(&predicate);
    if reserved || !(1..=PREDICATE_BYTES_MAX).contains(&predicate.len()) {
        return Err(TrustError::Predicate(predicate.chars().take(160).collect()));
    }
    Ok(())
}

/// What one policy needs in one channel.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Needs<'r> {
    pub(crate) approvals: u32,
    pub(crate) releases: u32,
    pub(crate) statements: Vec<&'r Requirement>,
}

impl<'r> Needs<'r> {
    /// What the first rule says that fits. Without a channel, as for a folder of artifacts, a rule for certain
    /// channels could fit and so holds, and the search goes on: a folder must not be the way around a channel's rule.
    pub(crate) fn of(rules: &'r [Rule], policy: &PolicyName, channel: Option<&ChannelName>) -> Self {
        let mut needs = Self { approvals: 0, releases: 1, statements: Vec::new() };
        for rule in rules.iter().filter(|rule| rule.is_about(policy)) {
            let everywhere = rule.channels.is_empty();
            if everywhere || channel.is_none_or(|channel| rule.channels.contains(channel)) {
                needs.approvals = needs.approvals.max(rule.approvals);
                needs.releases = needs.releases.max(rule.releases);
                needs.statements.extend(&rule.statements);
                if everywhere || channel.is_some() {
                    break;
                }
            }
        }
        needs
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn rules() -> Vec<Rule> {
        serde_json::from_value(json!([
            {"policies": ["bank/loan"], "channels": ["staging"]},
            {"policies": ["bank/loan", "bank/card"], "channels": ["production"], "approvals": 2, "releases": 3,
             "statements": [{"predicate": "urn:tests"}]},
            {"policies": ["bank/*"], "approvals": 1},
            {"policies": ["bank/loan"], "approvals": 9},
        ]))
        .unwrap()
    }

    fn needs(policy: &str, channel: Option<&str>) -> (u32, u32, usize) {
        let (rules, channel) = (rules(), channel.map(|channel| channel.parse().unwrap()));
        let needs = Needs::of(&rules, &policy.parse().unwrap(), channel.as_ref());
        (needs.approvals, needs.releases, needs.statements.len())
    }

    #[test]
    fn the_first_rule_that_fits_decides() {
        assert_eq!(needs("bank/loan", Some("staging")), (0, 1, 0));
        assert_eq!(needs("bank/loan", Some("production")), (2, 3, 1));
        assert_eq!(needs("bank/loan", Some("canary")), (1, 1, 0));
        assert_eq!(needs("bank/pension", Some("production")), (1, 1, 0));
        assert_eq!(needs("other/loan", Some("production")), (0, 1, 0));
    }

    #[test]
    fn without_a_channel_the_rules_of_every_channel_hold() {
        assert_eq!(needs("bank/loan", None), (2, 3, 1));
        assert_eq!(needs("bank/pension", None), (1, 1, 0));
        assert_eq!(needs("other/loan", None), (0, 1, 0));
    }

    #[test]
    fn a_requirement_holds_for_the_very_values_it_names() {
        let requirement: Requirement = serde_json::from_value(
            json!({"predicate": "urn:tests", "require": {"/result": "PASSED", "/cases/0": {"n": 3}}}),
        )
        .unwrap();
        assert!(requirement.holds(&json!({"result": "PASSED", "cases": [{"n": 3}], "more": 1})));
        for predicate in [
            json!({"result": "PASSED"}),
            json!({"result": "passed", "cases": [{"n": 3}]}),
            json!({"result": "PASSED", "cases": [{"n": 3, "m": 1}]}),
            json!("PASSED"),
        ] {
            assert!(!requirement.holds(&predicate), "{predicate}");
        }
    }

    #[test]
    fn rejects_rules_that_ask_for_nothing_or_too_much() {
        for (rule, ok) in [
            (json!({"policies": ["bank/*"]}), true),
            (json!({"policies": ["bank/*"], "approvals": 17}), false),
            (json!({"policies": ["bank/*"], "releases": 0}), false),
            (
                json!({"policies": ["bank/*"], "statements": [{"predicate": "urn:tests", "signers": 0}]}),
                false,
            ),
            (
                json!({"policies": ["bank/*"], "statements": [{"predicate": "a", "require": {"": [{"b": 1}]}}]}),
                true,
            ),
            (
                json!({"policies": ["bank/*"], "statements": [{"predicate": "a", "require": {"": [{"b": 0.5}]}}]}),
                false,
            ),
            (json!({"policies": ["bank/*"], "statements": [{"predicate": ""}]}), false),
            (json!({"policies": ["bank/*"], "statements": [{"predicate": statement::APPROVAL_TYPE}]}), false),
            (json!({"policies": ["bank/*"], "statements": vec![json!({"predicate": "a"}); 17]}), false),
        ] {
            let parsed: Rule = serde_json::from_value(rule.clone()).unwrap();
            assert_eq!(parsed.check().is_ok(), ok, "{rule}");
        }
    }
}
