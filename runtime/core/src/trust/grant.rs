//! Who may do what with which key.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::Place;
use crate::key::PublicKey;
use crate::name::{ChannelName, NameError, PolicyName, Tenant};
use crate::refusal::{Refusal, RefusalCode};
use crate::time::Timestamp;

/// Policies: one, `tenant/name`, or all of a tenant, `tenant/*`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PolicyPattern(Pattern);

#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Pattern {
    One(PolicyName),
    AllOf(Tenant),
}

impl PolicyPattern {
    /// Whether `policy` is among them.
    pub fn covers(&self, policy: &PolicyName) -> bool {
        match &self.0 {
            Pattern::One(name) => name == policy,
            Pattern::AllOf(tenant) => tenant == policy.tenant(),
        }
    }

    /// The tenant, all of whose policies are meant.
    pub fn whole_tenant(&self) -> Option<&Tenant> {
        match &self.0 {
            Pattern::One(_) => None,
            Pattern::AllOf(tenant) => Some(tenant),
        }
    }
}

impl FromStr for PolicyPattern {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        match text.strip_suffix("/*") {
            Some(tenant) => Ok(Self(Pattern::AllOf(tenant.parse()?))),
            None => Ok(Self(Pattern::One(text.parse()?))),
        }
    }
}

impl TryFrom<String> for PolicyPattern {
    type Error = NameError;

    fn try_from(text: String) -> Result<Self, NameError> {
        text.parse()
    }
}

impl From<PolicyPattern> for String {
    fn from(pattern: PolicyPattern) -> Self {
        pattern.to_string()
    }
}

impl fmt::Display for PolicyPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Pattern::One(name) => fmt::Display::fmt(name, f),
            Pattern::AllOf(tenant) => write!(f, "{tenant}/*"),
        }
    }
}

impl fmt::Debug for PolicyPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What people do, and a list of the trust policy each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// Signs what a version declares.
    Author,
    /// Approves an author's statement.
    Approver,
    /// Signs channel states.
    Releaser,
    /// Signs a tenant's data snapshots.
    DataSigner,
    /// Signs revocations.
    Revoker,
    /// Signs other statements that a rule asks for: tests, provenance.
    Attester,
}

impl Role {
    /// All of them, in the order in which a trust policy lists them.
    pub const ALL: [Self; 6] =
        [Self::Author, Self::Approver, Self::Releaser, Self::DataSigner, Self::Revoker, Self::Attester];

    /// The member of the trust policy that lists who has it.
    pub const fn member(self) -> &'static str {
        match self {
            Self::Author => "authors",
            Self::Approver => "approvers",
            Self::Releaser => "releasers",
            Self::DataSigner => "data_signers",
            Self::Revoker => "revokers",
            Self::Attester => "attesters",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Author => "author",
            Self::Approver => "approver",
            Self::Releaser => "releaser",
            Self::DataSigner => "data signer",
            Self::Revoker => "revoker",
            Self::Attester => "attester",
        })
    }
}

/// An author: one key of one person, and what it may sign. It is a [`Grant`] that neither channels nor predicates
/// narrow.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Author {
    /// Who holds the key. A person may have several keys.
    pub person: String,
    /// The key.
    pub public: PublicKey,
    /// What it may sign.
    pub policies: Vec<PolicyPattern>,
    /// When the key becomes valid; none means that it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_before: Option<Timestamp>,
    /// The first moment at which the key is not valid any more; none means that it stays valid.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_after: Option<Timestamp>,
}

/// One key of one person, and what it may sign in a role.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Grant {
    /// Who holds the key. A person may have several keys, and counts once. `server:NAME` is a server's own key.
    pub person: String,
    /// The key.
    pub public: PublicKey,
    /// The policies that it is for; of a data signer only whole tenants, of a revoker none, because revocations are
    /// for everybody.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub policies: Vec<PolicyPattern>,
    /// The channels that it is for, of an approver, releaser or attester; empty means all of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub channels: Vec<ChannelName>,
    /// The predicate types that it is for, of an attester; empty means all of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub predicates: Vec<String>,
    /// When the key becomes valid; none means that it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_before: Option<Timestamp>,
    /// The first moment at which the key is not valid any more; none means that it stays valid.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_after: Option<Timestamp>,
}

impl From<Author> for Grant {
    fn from(author: Author) -> Self {
        let Author { person, public, policies, not_before, not_after } = author;
        Self { policies, not_before, not_after, ..Self::new(person, public) }
    }
}

/// What a signature is wanted for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Scope<'a> {
    pub(crate) reach: Reach<'a>,
    /// None where there is no channel, as in a folder of artifacts.
    pub(crate) channel: Option<&'a ChannelName>,
    pub(crate) predicate: Option<&'a str>,
}

/// How far what is signed reaches.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Reach<'a> {
    Policy(&'a PolicyName),
    Tenant(&'a Tenant),
    Everything,
}

impl<'a> Scope<'a> {
    /// For a document of `place`.
    pub(crate) fn at(place: &'a Place) -> Self {
        let (reach, channel) = match place {
            Place::Channel(policy, channel) => (Reach::Policy(policy), Some(channel)),
            Place::Data(tenant) => (Reach::Tenant(tenant), None),
            Place::Revocations => (Reach::Everything, None),
        };
        Self { reach, channel, predicate: None }
    }

    pub(crate) fn policy(policy: &'a PolicyName, channel: Option<&'a ChannelName>) -> Self {
        Self { reach: Reach::Policy(policy), channel, predicate: None }
    }
}

impl fmt::Display for Scope<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.reach {
            Reach::Policy(policy) => write!(f, "`{policy}`")?,
            Reach::Tenant(tenant) => write!(f, "the data of `{tenant}`")?,
            Reach::Everything => f.write_str("this")?,
        }
        self.channel.map_or(Ok(()), |channel| write!(f, " in channel `{channel}`"))
    }
}

impl Grant {
    /// A key of `person` that is valid always and for nothing yet.
    pub fn new(person: impl Into<String>, public: PublicKey) -> Self {
        Self {
            person: person.into(),
            public,
            policies: Vec::new(),
            channels: Vec::new(),
            predicates: Vec::new(),
            not_before: None,
            not_after: None,
        }
    }

    /// Checks that the key is valid at `now`.
    pub(crate) fn check_valid(&self, now: Timestamp) -> Result<(), Refusal> {
        if let Some(time) = self.not_before.filter(|time| now < *time) {
            let message = format!("{} is not valid before {time}", self.key());
            return Err(Refusal::new(RefusalCode::KeyNotYetValid, message));
        }
        if let Some(time) = self.not_after.filter(|time| now >= *time) {
            let message = format!("{} is not valid since {time}", self.key());
            return Err(Refusal::new(RefusalCode::KeyExpired, message));
        }
        Ok(())
    }

    /// The key, for messages.
    pub(crate) fn key(&self) -> String {
        format!("the key {} of `{}`", self.public.fingerprint(), self.person)
    }

    /// Whether it is for what is wanted.
    pub(crate) fn covers(&self, scope: &Scope<'_>) -> bool {
        let reaches = match scope.reach {
            Reach::Policy(policy) => self.policies.iter().any(|pattern| pattern.covers(policy)),
            Reach::Tenant(tenant) => {
                self.policies.iter().any(|pattern| pattern.whole_tenant() == Some(tenant))
            }
            Reach::Everything => true,
        };
        // Where there is no channel, a grant for certain channels is for none of it.
        let in_channel =
            self.channels.is_empty() || scope.channel.is_some_and(|channel| self.channels.contains(channel));
        let of_kind = self.predicates.is_empty()
            || scope.predicate.is_some_and(|kind| self.predicates.iter().any(|predicate| predicate == kind));
        reaches && in_channel && of_kind
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::SecretKey;

    fn time(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn grant() -> Grant {
        Grant {
            policies: vec!["default/*".parse().unwrap(), "acme/loan".parse().unwrap()],
            not_before: Some(time("2026-01-01T00:00:00Z")),
            not_after: Some(time("2027-01-01T00:00:00Z")),
            ..Grant::new("alice", SecretKey::from_seed([1; 32]).public())
        }
    }

    #[test]
    fn a_grant_is_for_its_policies_and_nothing_else() {
        for (policy, covers) in [
            ("default/any", true),
            ("acme/loan", true),
            ("acme/other", false),
            ("other/loan", false),
            ("default2/any", false),
        ] {
            assert_eq!(grant().covers(&Scope::policy(&policy.parse().unwrap(), None)), covers, "{policy}");
        }
        for pattern in ["*", "*/*", "*/loan", "a/b*", "/*", "A/*", ""] {
            assert!(pattern.parse::<PolicyPattern>().is_err(), "{pattern}");
        }
    }

    #[test]
    fn data_of_a_tenant_takes_a_grant_for_the_whole_tenant() {
        let covers = |tenant: &str| grant().covers(&Scope::at(&Place::Data(tenant.parse().unwrap())));
        assert!(covers("default") && !covers("acme") && !covers("other"));
    }

    #[test]
    fn a_grant_for_certain_channels_is_for_no_other_and_not_for_folders() {
        let (loan, production, staging) =
            ("acme/loan".parse().unwrap(), "production".parse().unwrap(), "staging".parse().unwrap());
        let narrow = Grant { channels: vec!["production".parse().unwrap()], ..grant() };
        let covers = |channel| narrow.covers(&Scope::policy(&loan, channel));
        assert!(covers(Some(&production)) && !covers(Some(&staging)) && !covers(None));
        assert!(grant().covers(&Scope::policy(&loan, Some(&staging))));
    }

    #[test]
    fn a_grant_for_certain_predicates_is_for_no_other() {
        let loan = "acme/loan".parse().unwrap();
        let narrow = Grant { predicates: vec!["urn:tests".into()], ..grant() };
        let covers = |predicate| narrow.covers(&Scope { predicate, ..Scope::policy(&loan, None) });
        assert!(covers(Some("urn:tests")) && !covers(Some("urn:tests/v2")) && !covers(None));
    }

    #[test]
    fn a_key_is_valid_from_its_first_moment_until_its_last() {
        let code = |now: &str| grant().check_valid(time(now)).err().map(|refusal| refusal.code);
        assert_eq!(code("2025-12-31T23:59:59.999Z"), Some(RefusalCode::KeyNotYetValid));
        assert_eq!(code("2026-01-01T00:00:00.000Z"), None);
        assert_eq!(code("2026-12-31T23:59:59.999Z"), None);
        assert_eq!(code("2027-01-01T00:00:00.000Z"), Some(RefusalCode::KeyExpired));
    }
}
