//! The manifest: what one version of a policy declares. It is the predicate of the author's signed statement.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::json::{self, JsonError};
use crate::limits::{LimitError, RequestedLimits};
use crate::name::{PolicyName, RuleName};
use crate::pointer::Pointer;

/// The version of the contract in `wit/` that this host speaks.
pub const CONTRACT: &str = "0.1.0";
/// The format of the manifest.
pub const FORMAT: &str = "verdict-manifest/1";
/// The largest manifest, in bytes.
pub const MANIFEST_BYTES_MAX: usize = 1 << 20;
const RULES_MAX: usize = 1_000;
const REFERENCES_MAX: usize = 1_000;
const PREFIXES_MAX: usize = 100;
const TEXT_BYTES_MAX: usize = 4_096;

/// What one version of a policy declares.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// Always [`FORMAT`].
    pub format: String,
    /// The policy that this is a version of.
    pub policy: PolicyName,
    /// The version, published once and never changed.
    pub version: semver::Version,
    /// The digest of the component.
    pub component: Digest,
    /// The version of the contract that the component was built against.
    pub contract: semver::Version,
    /// What the policy is for.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// An SPDX licence expression.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub licence: Option<String>,
    /// Where the source is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// The questions that the policy answers.
    pub rules: Vec<Rule>,
    /// Where in the answer's value `true` means allow; by default the value itself if boolean, else `/allow`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allow: Option<Pointer>,
    /// What the policy may reach beyond its input.
    #[serde(default)]
    pub capabilities: Capabilities,
    /// The limits that the policy asks for.
    #[serde(default)]
    pub limits: RequestedLimits,
    /// The legal references that reasons name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub references: BTreeMap<String, Reference>,
}

/// One question that a policy answers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// The name that a query gives.
    pub name: RuleName,
    /// What is asked.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// The JSON Schema of the input, for `verdict test` and documentation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub input_schema: Option<serde_json::Value>,
    /// The JSON Schema of the answer's value, for `verdict test` and documentation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output_schema: Option<serde_json::Value>,
}

/// A law, a regulation, a paragraph of a contract.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reference {
    /// What it is called.
    pub title: String,
    /// Where it can be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
}

/// What a policy may reach beyond its input. Each member is one interface of the contract.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Capabilities {
    /// The prefixes of the tenant's data that it may read.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub data: Vec<Pointer>,
    /// Whether it may see the decision time.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub decision_time: bool,
    /// Whether it may write messages for operators.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub diagnostics: bool,
}

impl Capabilities {
    /// The interfaces of package `verdict:policy` that a component may import; `input` is always among them.
    pub fn interfaces(&self) -> BTreeSet<&'static str> {
        let granted = [
            (true, "input"),
            (!self.data.is_empty(), "data"),
            (self.decision_time, "decision-time"),
            (self.diagnostics, "diagnostics"),
        ];
        granted.into_iter().filter_map(|(granted, name)| granted.then_some(name)).collect()
    }
}

/// The manifest cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// It is too large to be read.
    #[error("the manifest has {0} bytes; at most {MANIFEST_BYTES_MAX} are read")]
    TooLarge(usize),
    /// It is not JSON of the right shape.
    #[error("the manifest cannot be read: {0}")]
    Malformed(#[from] serde_json::Error),
    /// It is of a format that this version does not know.
    #[error("the manifest has format `{0}`; this version reads `{FORMAT}`")]
    Format(String),
    /// A limit is out of range.
    #[error(transparent)]
    Limit(#[from] LimitError),
    /// A rule is there twice.
    #[error("rule `{0}` is declared twice")]
    DuplicateRule(RuleName),
    /// There is nothing to ask.
    #[error("the manifest declares no rules; declare at least one")]
    NoRules,
    /// A list or a text is too long.
    #[error("`{0}` is too long; at most {1}")]
    TooLong(&'static str, usize),
}

impl Manifest {
    /// Reads a manifest from its JSON.
    ///
    /// # Errors
    /// When it is too large, of another format, or breaks one of its own rules.
    pub fn parse(json: &[u8]) -> Result<Self, ManifestError> {
        let manifest: Self = json::parse(json, MANIFEST_BYTES_MAX).map_err(|error| match error {
            JsonError::TooLarge { bytes, .. } => ManifestError::TooLarge(bytes),
            JsonError::Malformed(error) => ManifestError::Malformed(error),
        })?;
        manifest.checked()
    }

    /// Checks what the types do not say.
    ///
    /// # Errors
    /// As [`Manifest::parse`].
    pub fn checked(self) -> Result<Self, ManifestError> {
        if self.format != FORMAT {
            return Err(ManifestError::Format(self.format));
        }
        self.limits.checked()?;
        self.check_lengths()?;
        if self.rules.is_empty() {
            return Err(ManifestError::NoRules);
        }
        let mut names = BTreeSet::new();
        for rule in &self.rules {
            if !names.insert(&rule.name) {
                return Err(ManifestError::DuplicateRule(rule.name.clone()));
            }
        }
        Ok(self)
    }

    fn check_lengths(&self) -> Result<(), ManifestError> {
        let text = |text: &str| text.len();
        let lengths = [
            ("rules", self.rules.len(), RULES_MAX),
            ("references", self.references.len(), REFERENCES_MAX),
            ("capabilities.data", self.capabilities.data.len(), PREFIXES_MAX),
            ("description", text(&self.description), TEXT_BYTES_MAX),
            ("licence", self.licence.as_deref().map_or(0, text), TEXT_BYTES_MAX),
            ("source", self.source.as_deref().map_or(0, text), TEXT_BYTES_MAX),
        ];
        match lengths.into_iter().find(|(_, length, max)| length > max) {
            Some((name, _, max)) => Err(ManifestError::TooLong(name, max)),
            None => Ok(()),
        }
    }

    /// The rule with this name.
    pub fn rule(&self, name: &str) -> Option<&Rule> {
        self.rules.iter().find(|rule| rule.name.as_str() == name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json() -> serde_json::Value {
        serde_json::json!({
            "format": FORMAT, "policy": "default/loan", "version": "1.0.0", "contract": CONTRACT,
            "component": Digest::of(b"").to_string(), "rules": [{"name": "eligible"}],
        })
    }

    #[test]
    fn reads_the_smallest_manifest() {
        let manifest = Manifest::parse(json().to_string().as_bytes()).unwrap();
        assert_eq!(manifest.capabilities.interfaces().into_iter().collect::<Vec<_>>(), ["input"]);
        assert!(manifest.rule("eligible").is_some() && manifest.rule("other").is_none());
    }

    #[test]
    fn rejects_what_it_does_not_understand() {
        let cases = [
            ("/format", serde_json::json!("verdict-manifest/2")),
            ("/policy", serde_json::json!("../etc")),
            ("/version", serde_json::json!("1")),
            ("/rules", serde_json::json!([])),
            ("/rules", serde_json::json!([{"name": "a"}, {"name": "a"}])),
            ("/rules", serde_json::json!([{"name": "a", "surprise": 1}])),
            ("/component", serde_json::json!("sha256:00")),
        ];
        for (pointer, value) in cases {
            let mut manifest = json();
            *manifest.pointer_mut(pointer).unwrap() = value.clone();
            assert!(Manifest::parse(manifest.to_string().as_bytes()).is_err(), "{pointer} {value}");
        }
        let mut unknown = json();
        unknown["capabilities"] = serde_json::json!({"network": true});
        assert!(Manifest::parse(unknown.to_string().as_bytes()).is_err());
        let mut off = json();
        off["limits"] = serde_json::json!({"fuel": 0});
        assert!(Manifest::parse(off.to_string().as_bytes()).is_err());
    }
}
