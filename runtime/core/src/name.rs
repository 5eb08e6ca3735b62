//! Names of tenants, policies, channels and rules.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The longest part of a policy's name, in bytes: a DNS label, so that a name can be a path, a host or a log's origin.
const LABEL_BYTES_MAX: usize = 63;
/// The longest rule name, in bytes.
const RULE_BYTES_MAX: usize = 128;

/// The text is not a name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a {what}; expected {expected}")]
pub struct NameError {
    text: String,
    what: &'static str,
    expected: &'static str,
}

impl NameError {
    fn new(text: &str, what: &'static str, expected: &'static str) -> Self {
        Self { text: text.chars().take(160).collect(), what, expected }
    }
}

const LABEL: &str = "lower-case letters, digits and inner hyphens, at most 63";

fn is_label(text: &str) -> bool {
    (1..=LABEL_BYTES_MAX).contains(&text.len())
        && text.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-'))
        && !text.starts_with('-')
        && !text.ends_with('-')
}

macro_rules! text_newtype {
    ($name:ident) => {
        impl TryFrom<String> for $name {
            type Error = NameError;

            fn try_from(text: String) -> Result<Self, NameError> {
                text.parse()
            }
        }

        impl Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }
    };
}

/// The name of a tenant, a DNS label; `default` where nobody named one.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(try_from = "String")]
pub struct Tenant(String);

impl Tenant {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for Tenant {
    fn default() -> Self {
        Self("default".into())
    }
}

impl FromStr for Tenant {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        if is_label(text) { Ok(Self(text.into())) } else { Err(NameError::new(text, "tenant name", LABEL)) }
    }
}

impl fmt::Display for Tenant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

text_newtype!(Tenant);

/// The name of a policy inside its tenant, written `tenant/name`. Text without a tenant means the tenant `default`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(try_from = "String")]
pub struct PolicyName {
    tenant: Tenant,
    name: String,
}

impl PolicyName {
    /// The policy with this name inside a tenant.
    ///
    /// # Errors
    /// When one of the two is not a label.
    pub fn of(tenant: &str, name: &str) -> Result<Self, NameError> {
        let tenant = tenant.parse()?;
        if is_label(name) {
            Ok(Self { tenant, name: name.into() })
        } else {
            Err(NameError::new(name, "policy name inside a tenant", LABEL))
        }
    }

    /// The tenant that the policy belongs to.
    pub fn tenant(&self) -> &Tenant {
        &self.tenant
    }

    /// The name inside the tenant.
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl FromStr for PolicyName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let (tenant, name) = text.split_once('/').unwrap_or(("default", text));
        Self::of(tenant, name).map_err(|_| {
            NameError::new(text, "policy name", "`name` or `tenant/name`, each a label of a-z, 0-9 and -")
        })
    }
}

impl fmt::Display for PolicyName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.tenant, self.name)
    }
}

text_newtype!(PolicyName);

/// The name of a channel of a policy, a DNS label such as `production`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(try_from = "String")]
pub struct ChannelName(String);

impl ChannelName {
    /// `production`: what is meant where no channel is named.
    pub fn production() -> Self {
        Self("production".into())
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ChannelName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        if is_label(text) { Ok(Self(text.into())) } else { Err(NameError::new(text, "channel name", LABEL)) }
    }
}

impl fmt::Display for ChannelName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

text_newtype!(ChannelName);

/// The name of a rule that a policy answers.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(try_from = "String")]
pub struct RuleName(String);

impl RuleName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for RuleName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let allowed = |b: u8| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-' | b'.' | b'/');
        if (1..=RULE_BYTES_MAX).contains(&text.len()) && text.bytes().all(allowed) {
            Ok(Self(text.into()))
        } else {
            Err(NameError::new(text, "rule name", "1 to 128 of a-z, 0-9 and _ - . /"))
        }
    }
}

impl fmt::Display for RuleName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

text_newtype!(RuleName);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_policy_without_a_tenant_belongs_to_default() {
        let name: PolicyName = "loan-eligibility".parse().unwrap();
        assert_eq!(name.to_string(), "default/loan-eligibility");
        assert_eq!("acme/loan".parse::<PolicyName>().unwrap().tenant().as_str(), "acme");
        assert_eq!(PolicyName::of("acme", "loan"), "acme/loan".parse());
        assert!(PolicyName::of("acme", "a/b").is_err() && PolicyName::of("", "loan").is_err());
    }

    #[test]
    fn rejects_names_that_could_be_paths_or_hosts_of_something_else() {
        let long = "a".repeat(64);
        for text in ["", "/", "a/", "/a", "a/b/c", "..", "A", "a_b", "-a", "a-", "a b", "é", &long] {
            assert!(text.parse::<PolicyName>().is_err(), "{text}");
        }
        for text in ["", "A", "a b", "é", "a\n", "a/b", "a@b"] {
            assert!(text.parse::<ChannelName>().is_err(), "{text}");
        }
        for text in ["", "A", "a b", "é", "a\n"] {
            assert!(text.parse::<RuleName>().is_err(), "{text}");
        }
    }
}
