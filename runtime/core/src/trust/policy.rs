//! The trust policy: who has which role, and what must be signed.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::rule::{self, Needs, Rule};
use super::{
    Author, FORMAT, Grant, Role, Roots, SEQUENCE_MAX, Seen, TRUST_BYTES_MAX, TrustError, check_count,
    check_format, pretty,
};
use crate::digest::Digest;
use crate::dsse::Envelope;
use crate::jcs::{self, JcsError};
use crate::json;
use crate::key::{PublicKey, SecretKey};
use crate::name::{ChannelName, PolicyName};
use crate::refusal::{Refusal, RefusalCode};
use crate::time::Timestamp;

/// The payload type of the envelope of a signed trust policy.
pub const PAYLOAD_TYPE: &str = "application/vnd.verdict.trust-policy.v1+json";
const GRANTS_MAX: usize = 1_000;
const RULES_MAX: usize = 1_000;
const POLICIES_MAX: usize = 10_000;
const NAMES_MAX: usize = 1_000;
const PERSON_BYTES_MAX: usize = 200;

/// Who may sign what, what must be signed, a version that only grows, and an end.
#[derive(Debug, Clone, PartialEq)]
pub struct TrustPolicy {
    text: Text,
    /// Of the signed payload; none for the operator's plain file, which may be edited in place.
    digest: Option<Digest>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Text {
    format: String,
    version: u64,
    expires: Timestamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    root: Option<Roots>,
    authors: Vec<Grant>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    approvers: Vec<Grant>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    releasers: Vec<Grant>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    data_signers: Vec<Grant>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    revokers: Vec<Grant>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    attesters: Vec<Grant>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    rules: Vec<Rule>,
}

impl Text {
    fn grants(&self, role: Role) -> &[Grant] {
        match role {
            Role::Author => &self.authors,
            Role::Approver => &self.approvers,
            Role::Releaser => &self.releasers,
            Role::DataSigner => &self.data_signers,
            Role::Revoker => &self.revokers,
            Role::Attester => &self.attesters,
        }
    }
}

impl TrustPolicy {
    /// A trust policy of authors alone. `version` starts at 1 and grows with every change.
    ///
    /// # Errors
    /// When the version is 0, or an author is not well formed or listed twice.
    pub fn new(version: u64, expires: Timestamp, authors: Vec<Author>) -> Result<Self, TrustError> {
        let text = Text {
            format: FORMAT.into(),
            version,
            expires,
            root: None,
            authors: authors.into_iter().map(Grant::from).collect(),
            approvers: Vec::new(),
            releasers: Vec::new(),
            data_signers: Vec::new(),
            revokers: Vec::new(),
            attesters: Vec::new(),
            rules: Vec::new(),
        };
        Self::of(text)
    }

    /// The same with these grants in place of those that `role` had.
    ///
    /// # Errors
    /// When a grant is not well formed, a key is listed twice, or it is another person's in another role.
    pub fn with_grants(mut self, role: Role, grants: Vec<Grant>) -> Result<Self, TrustError> {
        match role {
            Role::Author => self.text.authors = grants,
            Role::Approver => self.text.approvers = grants,
            Role::Releaser => self.text.releasers = grants,
            Role::DataSigner => self.text.data_signers = grants,
            Role::Revoker => self.text.revokers = grants,
            Role::Attester => self.text.attesters = grants,
        }
        Self::of(self.text)
    }

    /// The same with these rules.
    ///
    /// # Errors
    /// When one is not well formed.
    pub fn with_rules(mut self, rules: Vec<Rule>) -> Result<Self, TrustError> {
        self.text.rules = rules;
        Self::of(self.text)
    }

    /// The same with the keys that sign its next version.
    #[must_use]
    pub fn with_root(mut self, root: Roots) -> Self {
        self.text.root = Some(root);
        Self { digest: None, ..self }
    }

    /// The same with another version and end, as a renewal has.
    ///
    /// # Errors
    /// When the version is 0.
    pub fn renewed(mut self, version: u64, expires: Timestamp) -> Result<Self, TrustError> {
        (self.text.version, self.text.expires) = (version, expires);
        Self::of(self.text)
    }

    fn of(text: Text) -> Result<Self, TrustError> {
        check_format("trust file", &text.format, FORMAT)?;
        if !(1..=SEQUENCE_MAX).contains(&text.version) {
            return Err(TrustError::Version);
        }
        check_people(&text)?;
        check_count("rules", text.rules.len(), RULES_MAX)?;
        text.rules.iter().try_for_each(Rule::check)?;
        Ok(Self { text, digest: None })
    }

    /// Reads the operator's plain file, which is trusted because of where it is.
    ///
    /// # Errors
    /// `malformed-trust`, when it is too large, of another format, or breaks one of its own rules.
    pub fn parse(bytes: &[u8]) -> Result<Self, Refusal> {
        let text: Text = json::parse(bytes, TRUST_BYTES_MAX)
            .map_err(|error| TrustError::Malformed { what: "trust file", error })?;
        Ok(Self::of(text)?)
    }

    /// The text of the plain file.
    pub fn render(&self) -> String {
        pretty(&self.text)
    }

    /// Reads a payload whose signatures are checked elsewhere.
    pub(crate) fn of_payload(payload: &[u8]) -> Result<Self, Refusal> {
        let policy = Self::parse(payload)?;
        policy.root().ok_or(TrustError::NoRoot)?;
        Ok(Self { digest: Some(Digest::of(payload)), ..policy })
    }

    /// What root keys sign: the same in canonical JSON.
    ///
    /// # Errors
    /// When a value that a rule requires has no canonical form.
    pub fn payload(&self) -> Result<Vec<u8>, JcsError> {
        jcs::canonical(&self.text).map(String::into_bytes)
    }

    /// Signs it with a first root key; [`Envelope::add_signature`] adds the others.
    ///
    /// # Errors
    /// As [`TrustPolicy::payload`].
    pub fn sign(&self, key: &SecretKey) -> Result<Envelope, JcsError> {
        Ok(Envelope::sign(PAYLOAD_TYPE, self.payload()?, key))
    }

    /// The version, which only grows.
    pub fn version(&self) -> u64 {
        self.text.version
    }

    /// The first moment at which nothing is admitted any more.
    pub fn expires(&self) -> Timestamp {
        self.text.expires
    }

    /// The digest of the signed payload; none for a plain file.
    pub fn digest(&self) -> Option<Digest> {
        self.digest
    }

    /// The keys that sign the next version, if it is signed.
    pub fn root(&self) -> Option<&Roots> {
        self.text.root.as_ref()
    }

    /// Who has this role.
    pub fn grants(&self, role: Role) -> &[Grant] {
        self.text.grants(role)
    }

    /// The authors, each key once.
    pub fn authors(&self) -> &[Grant] {
        self.grants(Role::Author)
    }

    /// What must be signed; the first that fits decides.
    pub fn rules(&self) -> &[Rule] {
        &self.text.rules
    }

    /// What `policy` needs in `channel`, or in a folder.
    pub(crate) fn needs(&self, policy: &PolicyName, channel: Option<&ChannelName>) -> Needs<'_> {
        Needs::of(self.rules(), policy, channel)
    }

    /// Every person with one of their keys, in any role.
    pub(crate) fn people(&self) -> impl Iterator<Item = (&str, &PublicKey)> {
        let grants = Role::ALL.into_iter().flat_map(|role| self.grants(role));
        grants.map(|grant| (grant.person.as_str(), &grant.public))
    }

    /// Checks that this trust policy may be used at `now` on a host that has `seen` others.
    ///
    /// # Errors
    /// `trust-expired`, `trust-rollback`, or `equivocation`.
    pub fn check(&self, seen: &Seen, now: Timestamp) -> Result<(), Refusal> {
        if now >= self.expires() {
            let message = format!("the trust policy expired at {}", self.expires());
            return Err(Refusal::new(RefusalCode::TrustExpired, message));
        }
        seen.check_trust(self.version(), self.digest)
    }
}

/// Checks every grant, and that a key is one person's: two names for a key would make two people of one.
fn check_people(text: &Text) -> Result<(), TrustError> {
    let mut people = BTreeMap::new();
    for role in Role::ALL {
        let grants = text.grants(role);
        check_count(role.member(), grants.len(), GRANTS_MAX)?;
        let mut keys = std::collections::BTreeSet::new();
        for grant in grants {
            check_grant(role, grant)?;
            let key = grant.public.as_bytes();
            // Authors have no channels that could differ from one entry to the next.
            if !keys.insert(key) && role == Role::Author {
                return Err(TrustError::DuplicateKey(grant.public.to_string()));
            }
            if *people.entry(key).or_insert(&grant.person) != &grant.person {
                return Err(TrustError::TwoPeople(grant.public.to_string()));
            }
        }
    }
    Ok(())
}

fn check_grant(role: Role, grant: &Grant) -> Result<(), TrustError> {
    if !(1..=PERSON_BYTES_MAX).contains(&grant.person.len()) {
        return Err(TrustError::Person(grant.public.to_string()));
    }
    if grant.not_before.zip(grant.not_after).is_some_and(|(from, to)| from >= to) {
        return Err(TrustError::NeverValid(grant.public.to_string()));
    }
    check_count("policies of a grant", grant.policies.len(), POLICIES_MAX)?;
    check_count("channels of a grant", grant.channels.len(), NAMES_MAX)?;
    check_count("predicates of a grant", grant.predicates.len(), NAMES_MAX)?;
    grant.predicates.iter().try_for_each(|predicate| rule::check_predicate(predicate))?;
    // A member that would say nothing looks as if it narrowed the grant.
    let meaningless = [
        ("policies", role == Role::Revoker && !grant.policies.is_empty()),
        (
            "policies",
            role == Role::DataSigner && grant.policies.iter().any(|one| one.whole_tenant().is_none()),
        ),
        (
            "channels",
            !matches!(role, Role::Approver | Role::Releaser | Role::Attester) && !grant.channels.is_empty(),
        ),
        ("predicates", role != Role::Attester && !grant.predicates.is_empty()),
    ];
    match meaningless.into_iter().find(|(_, found)| *found) {
        Some((member, _)) => Err(TrustError::Member { role, member, person: grant.person.clone() }),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trust::tests::{key, time, trust_json};
    use serde_json::{Value, json};

    fn author(seed: u8) -> Author {
        Author {
            person: "alice".into(),
            public: key(seed).public(),
            policies: vec!["default/*".parse().unwrap(), "acme/loan".parse().unwrap()],
            not_before: Some(time("2026-01-01T00:00:00Z")),
            not_after: Some(time("2027-01-01T00:00:00Z")),
        }
    }

    fn trust(version: u64) -> TrustPolicy {
        TrustPolicy::new(version, time("2026-12-31T00:00:00Z"), vec![author(1), author(2)]).unwrap()
    }

    fn parse(value: &Value) -> Result<TrustPolicy, Refusal> {
        TrustPolicy::parse(value.to_string().as_bytes())
    }

    #[test]
    fn is_read_as_it_was_written() {
        let full = parse(&trust_json()).unwrap();
        for policy in [trust(3), full] {
            assert_eq!(TrustPolicy::parse(policy.render().as_bytes()).unwrap(), policy);
            assert_eq!(TrustPolicy::parse(&policy.payload().unwrap()).unwrap(), policy);
        }
    }

    #[test]
    fn the_plain_file_of_authors_alone_stays_what_it_was() {
        let text = format!(
            "{{\n  \"format\": \"verdict-trust/1\",\n  \"version\": 3,\n  \"expires\": \"2026-12-31T00:00:00.000Z\",\n  \
             \"authors\": [\n    {{\n      \"person\": \"alice\",\n      \"public\": \"{}\",\n      \"policies\": [\n        \
             \"acme/*\"\n      ]\n    }}\n  ]\n}}\n",
            key(1).public()
        );
        let policy = TrustPolicy::parse(text.as_bytes()).unwrap();
        assert_eq!(policy.render(), text);
        assert!(policy.root().is_none() && policy.digest().is_none() && policy.rules().is_empty());
        let needs = policy.needs(&"acme/loan".parse().unwrap(), None);
        assert_eq!((needs.approvals, needs.releases, needs.statements.len()), (0, 1, 0));
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
    fn rejects_a_trust_file_that_is_ambiguous_or_not_understood() {
        let text = trust(1).render();
        let second = key(2).public().to_string();
        let first = key(1).public().to_string();
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

    #[test]
    fn rejects_grants_that_look_narrower_than_they_are() {
        let cases = [
            ("/authors/0/channels", json!(["production"]), "`channels`"),
            ("/authors/0/predicates", json!(["urn:tests"]), "`predicates`"),
            ("/approvers/0/predicates", json!(["urn:tests"]), "`predicates`"),
            ("/data_signers/0/policies", json!(["bank/loan"]), "`policies`"),
            ("/data_signers/0/channels", json!(["production"]), "`channels`"),
            ("/revokers/0/policies", json!(["bank/*"]), "`policies`"),
            ("/attesters/0/predicates", json!([statement::APPROVAL_TYPE]), "predicate type"),
            ("/attesters/0/predicates", json!([""]), "predicate type"),
        ];
        for (pointer, value, expected) in cases {
            let mut changed = trust_json();
            let (parent, name) = pointer.rsplit_once('/').unwrap();
            changed.pointer_mut(parent).unwrap()[name] = value;
            let message = parse(&changed).unwrap_err().to_string();
            assert!(message.contains(expected), "{pointer}: {message}");
        }
    }

    #[test]
    fn rejects_a_key_under_two_names() {
        let mut changed = trust_json();
        changed["releasers"][0]["public"] = changed["authors"][0]["public"].clone();
        assert!(parse(&changed).unwrap_err().to_string().contains("two people"));
        changed["releasers"][0]["person"] = changed["authors"][0]["person"].clone();
        assert!(parse(&changed).is_ok());
    }

    #[test]
    fn one_key_may_have_several_grants_in_a_role_that_has_channels() {
        let mut changed = trust_json();
        let mut second = changed["releasers"][0].clone();
        second["channels"] = json!(["staging"]);
        changed["releasers"].as_array_mut().unwrap().push(second);
        assert!(parse(&changed).is_ok());
    }

    #[test]
    fn rejects_lists_that_are_too_long() {
        let mut changed = trust_json();
        changed["rules"] = json!(vec![changed["rules"][0].clone(); RULES_MAX + 1]);
        assert!(parse(&changed).unwrap_err().to_string().contains("1001 rules"));
        let mut changed = trust_json();
        changed["approvers"] = json!(vec![changed["approvers"][0].clone(); GRANTS_MAX + 1]);
        assert!(parse(&changed).unwrap_err().to_string().contains("1001 approvers"));
    }
    use crate::statement;
}
