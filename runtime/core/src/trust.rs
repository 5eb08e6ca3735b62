//! Whom the operator trusts, with what, and until when; and how far this host has come, so that nothing goes back.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;

use semver::Version;
use serde::{Deserialize, Serialize};

use crate::json::{self, JsonError};
use crate::key::PublicKey;
use crate::name::{NameError, PolicyName, Tenant};
use crate::refusal::{Refusal, RefusalCode};
use crate::time::Timestamp;

/// The format of the trust file.
pub const FORMAT: &str = "verdict-trust/1";
/// The format of what was seen.
pub const SEEN_FORMAT: &str = "verdict-seen/1";
/// The largest trust file, in bytes.
pub const TRUST_BYTES_MAX: usize = 1 << 20;
/// The largest file of what was seen, in bytes.
pub const SEEN_BYTES_MAX: usize = 16 << 20;
const AUTHORS_MAX: usize = 1_000;
const PERSON_BYTES_MAX: usize = 200;

/// The policies that an author may sign: one, `tenant/name`, or all of a tenant, `tenant/*`.
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

/// An author: one key of one person, and what it may sign.
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

impl Author {
    /// Checks that the key is valid at `now`.
    pub(crate) fn check_valid(&self, now: Timestamp) -> Result<(), Refusal> {
        let key = || format!("the key {} of `{}`", self.public.fingerprint(), self.person);
        if let Some(time) = self.not_before.filter(|time| now < *time) {
            let message = format!("{} is not valid before {time}", key());
            return Err(Refusal::new(RefusalCode::KeyNotYetValid, message));
        }
        if let Some(time) = self.not_after.filter(|time| now >= *time) {
            let message = format!("{} is not valid since {time}", key());
            return Err(Refusal::new(RefusalCode::KeyExpired, message));
        }
        Ok(())
    }

    /// Whether the key may sign `policy`.
    pub fn may_sign(&self, policy: &PolicyName) -> bool {
        self.policies.iter().any(|pattern| pattern.covers(policy))
    }
}

/// The operator's trust file: authors, a version that only grows, and an end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrustPolicy {
    version: u64,
    expires: Timestamp,
    authors: Vec<Author>,
}

/// The trust file, or what was seen, cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    /// It is not JSON of the right shape.
    #[error("the {what} cannot be read: {error}")]
    Malformed {
        /// Which file.
        what: &'static str,
        /// Why.
        error: JsonError,
    },
    /// It is of a format that this version does not know.
    #[error("the {what} has format `{found}`; this version reads `{expected}`")]
    Format {
        /// Which file.
        what: &'static str,
        /// What it says.
        found: String,
        /// What is read.
        expected: &'static str,
    },
    /// The version is zero.
    #[error("the trust file's `version` must be 1 or more")]
    Version,
    /// There are too many authors.
    #[error("the trust file has {0} authors; at most {AUTHORS_MAX} are read")]
    TooManyAuthors(usize),
    /// A person's name is empty or too long.
    #[error("the `person` of key {0} must have 1 to {PERSON_BYTES_MAX} bytes")]
    Person(String),
    /// A key is listed twice.
    #[error("the key {0} is listed twice in the trust file; list it once, with all of its policies")]
    DuplicateKey(String),
    /// A key is never valid.
    #[error("the key {0} is never valid; its `not_after` must be later than its `not_before`")]
    NeverValid(String),
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Text {
    format: String,
    version: u64,
    expires: Timestamp,
    authors: Vec<Author>,
}

impl TrustPolicy {
    /// A trust policy. `version` starts at 1 and grows with every change.
    ///
    /// # Errors
    /// When the version is 0, or an author is not well formed or listed twice.
    pub fn new(version: u64, expires: Timestamp, authors: Vec<Author>) -> Result<Self, TrustError> {
        if version == 0 {
            return Err(TrustError::Version);
        }
        if authors.len() > AUTHORS_MAX {
            return Err(TrustError::TooManyAuthors(authors.len()));
        }
        let mut keys = BTreeSet::new();
        for author in &authors {
            if !(1..=PERSON_BYTES_MAX).contains(&author.person.len()) {
                return Err(TrustError::Person(author.public.to_string()));
            }
            if !keys.insert(author.public.as_bytes()) {
                return Err(TrustError::DuplicateKey(author.public.to_string()));
            }
            if author.not_before.zip(author.not_after).is_some_and(|(from, to)| from >= to) {
                return Err(TrustError::NeverValid(author.public.to_string()));
            }
        }
        Ok(Self { version, expires, authors })
    }

    /// Reads a trust file.
    ///
    /// # Errors
    /// `malformed-trust`, when it is too large, of another format, or breaks one of its own rules.
    pub fn parse(bytes: &[u8]) -> Result<Self, Refusal> {
        Self::read(bytes).map_err(|error| Refusal::new(RefusalCode::MalformedTrust, error.to_string()))
    }

    fn read(bytes: &[u8]) -> Result<Self, TrustError> {
        let what = "trust file";
        let text: Text =
            json::parse(bytes, TRUST_BYTES_MAX).map_err(|error| TrustError::Malformed { what, error })?;
        check_format(what, text.format, FORMAT)?;
        Self::new(text.version, text.expires, text.authors)
    }

    /// The file's text.
    pub fn render(&self) -> String {
        let Self { version, expires, authors } = self.clone();
        pretty(&Text { format: FORMAT.into(), version, expires, authors })
    }

    /// The version, which only grows.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// The first moment at which nothing is admitted any more.
    pub fn expires(&self) -> Timestamp {
        self.expires
    }

    /// The authors, each key once.
    pub fn authors(&self) -> &[Author] {
        &self.authors
    }

    /// The author with this key.
    pub fn author(&self, key: &PublicKey) -> Option<&Author> {
        self.authors.iter().find(|author| author.public == *key)
    }

    /// Checks that this trust policy may be used at `now` on a host that has `seen` others.
    ///
    /// # Errors
    /// `trust-expired` or `trust-rollback`.
    pub fn check(&self, seen: &Seen, now: Timestamp) -> Result<(), Refusal> {
        if now >= self.expires {
            let message = format!("the trust file expired at {}", self.expires);
            return Err(Refusal::new(RefusalCode::TrustExpired, message));
        }
        if self.version < seen.trust_version {
            let message =
                format!("the trust file has version {}, but {} was seen", self.version, seen.trust_version);
            return Err(Refusal::new(RefusalCode::TrustRollback, message));
        }
        Ok(())
    }
}

/// The highest versions that a host has seen. It keeps them in its state, so that an old signed document cannot
/// come back as news.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Seen {
    trust_version: u64,
    versions: BTreeMap<PolicyName, Version>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SeenText {
    format: String,
    trust_version: u64,
    versions: BTreeMap<PolicyName, Version>,
}

impl Seen {
    /// Reads what was seen.
    ///
    /// # Errors
    /// When it is too large, or not of the right shape.
    pub fn parse(bytes: &[u8]) -> Result<Self, TrustError> {
        let what = "file of seen versions";
        let text: SeenText =
            json::parse(bytes, SEEN_BYTES_MAX).map_err(|error| TrustError::Malformed { what, error })?;
        check_format(what, text.format, SEEN_FORMAT)?;
        Ok(Self { trust_version: text.trust_version, versions: text.versions })
    }

    /// The file's text.
    pub fn render(&self) -> String {
        let Self { trust_version, versions } = self.clone();
        pretty(&SeenText { format: SEEN_FORMAT.into(), trust_version, versions })
    }

    /// The highest version of a trust policy that was seen; 0 for none.
    pub fn trust_version(&self) -> u64 {
        self.trust_version
    }

    /// The highest version of `policy` that was seen.
    pub fn version(&self, policy: &PolicyName) -> Option<&Version> {
        self.versions.get(policy)
    }

    /// What was seen once a trust policy of this version was, too.
    #[must_use]
    pub fn note_trust(mut self, version: u64) -> Self {
        self.trust_version = self.trust_version.max(version);
        self
    }

    /// What was seen once this version of `policy` was admitted, too.
    #[must_use]
    pub fn note(mut self, policy: &PolicyName, version: Version) -> Self {
        match self.versions.get_mut(policy) {
            Some(highest) if version.cmp_precedence(highest).is_le() => {}
            Some(highest) => *highest = version,
            None => drop(self.versions.insert(policy.clone(), version)),
        }
        self
    }
}

fn check_format(what: &'static str, found: String, expected: &'static str) -> Result<(), TrustError> {
    if found == expected { Ok(()) } else { Err(TrustError::Format { what, found, expected }) }
}

fn pretty(value: &impl Serialize) -> String {
    // Text, numbers and maps with text keys always have a JSON form.
    let mut text = serde_json::to_string_pretty(value).unwrap_or_default();
    text.push('\n');
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::SecretKey;

    fn time(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn author(seed: u8) -> Author {
        Author {
            person: "alice".into(),
            public: SecretKey::from_seed([seed; 32]).public(),
            policies: vec!["default/*".parse().unwrap(), "acme/loan".parse().unwrap()],
            not_before: Some(time("2026-01-01T00:00:00Z")),
            not_after: Some(time("2027-01-01T00:00:00Z")),
        }
    }

    fn trust(version: u64) -> TrustPolicy {
        TrustPolicy::new(version, time("2026-12-31T00:00:00Z"), vec![author(1), author(2)]).unwrap()
    }

    #[test]
    fn is_read_as_it_was_written() {
        assert_eq!(TrustPolicy::parse(trust(3).render().as_bytes()).unwrap(), trust(3));
        let seen = Seen::default().note_trust(3).note(&"loan".parse().unwrap(), Version::new(1, 2, 3));
        assert_eq!(Seen::parse(seen.render().as_bytes()).unwrap(), seen);
    }

    #[test]
    fn an_author_may_sign_what_is_granted_and_nothing_else() {
        let author = author(1);
        for (policy, may) in [
            ("default/any", true),
            ("acme/loan", true),
            ("acme/other", false),
            ("other/loan", false),
            ("default2/any", false),
        ] {
            assert_eq!(author.may_sign(&policy.parse().unwrap()), may, "{policy}");
        }
        for pattern in ["*", "*/*", "*/loan", "a/b*", "/*", "A/*", ""] {
            assert!(pattern.parse::<PolicyPattern>().is_err(), "{pattern}");
        }
    }

    #[test]
    fn a_key_is_valid_from_its_first_moment_until_its_last() {
        let code = |now: &str| author(1).check_valid(time(now)).err().map(|refusal| refusal.code);
        assert_eq!(code("2025-12-31T23:59:59.999Z"), Some(RefusalCode::KeyNotYetValid));
        assert_eq!(code("2026-01-01T00:00:00.000Z"), None);
        assert_eq!(code("2026-12-31T23:59:59.999Z"), None);
        assert_eq!(code("2027-01-01T00:00:00.000Z"), Some(RefusalCode::KeyExpired));
    }

    #[test]
    fn neither_an_expired_nor_an_older_trust_policy_is_used() {
        let seen = Seen::default().note_trust(3);
        let code =
            |version, now: &str| trust(version).check(&seen, time(now)).err().map(|refusal| refusal.code);
        assert_eq!(code(3, "2026-06-01T00:00:00Z"), None);
        assert_eq!(code(4, "2026-06-01T00:00:00Z"), None);
        assert_eq!(code(2, "2026-06-01T00:00:00Z"), Some(RefusalCode::TrustRollback));
        assert_eq!(code(3, "2026-12-31T00:00:00Z"), Some(RefusalCode::TrustExpired));
        assert_eq!(seen.note_trust(1).trust_version(), 3);
    }

    #[test]
    fn what_was_seen_only_grows() {
        let name: PolicyName = "loan".parse().unwrap();
        let seen = ["1.2.0", "1.10.0", "1.9.0", "1.10.0-rc.1"]
            .into_iter()
            .fold(Seen::default(), |seen, version| seen.note(&name, version.parse().unwrap()));
        assert_eq!(seen.version(&name).unwrap().to_string(), "1.10.0");
    }

    #[test]
    fn rejects_a_trust_file_that_is_ambiguous_or_not_understood() {
        let text = trust(1).render();
        let second = SecretKey::from_seed([2; 32]).public().to_string();
        let first = SecretKey::from_seed([1; 32]).public().to_string();
        for (from, to) in [
            ("verdict-trust/1", "verdict-trust/2"),
            ("\"version\": 1", "\"version\": 0"),
            ("\"version\": 1", "\"version\": 1, \"version\": 2"),
            ("\"person\"", "\"surprise\": 1, \"person\""),
            ("\"alice\"", "\"\""),
            ("default/*", "*"),
            ("2027-01-01", "2025-01-01"),
            (second.as_str(), first.as_str()),
            (second.as_str(), "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="),
        ] {
            let changed = text.replace(from, to);
            assert!(changed != text && TrustPolicy::parse(changed.as_bytes()).is_err(), "{from} -> {to}");
        }
    }
}
