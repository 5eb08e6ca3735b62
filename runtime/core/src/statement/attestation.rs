//! Statements about an author's statement: approvals, and whatever else a rule asks for.

use semver::Version;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{DigestSet, MEDIA_TYPE, STATEMENT_TYPE, StatementError, Subject, Text, expect};
use crate::digest::Digest;
use crate::dsse::{ENVELOPE_BYTES_MAX, Envelope};
use crate::jcs::{self, JcsError};
use crate::json;
use crate::key::SecretKey;
use crate::name::PolicyName;

/// The `predicateType` of an approval.
pub const APPROVAL_TYPE: &str = "urn:verdict:approval:v1";
/// The name of the subject that is the author's statement.
const STATEMENT: &str = "statement";

/// An in-toto statement whose one subject is an author's statement.
#[derive(Debug, Clone, PartialEq)]
pub struct Attestation {
    /// The digest of the author's statement, the payload of its envelope.
    pub statement: Digest,
    /// What kind of thing it says.
    pub predicate_type: String,
    /// What it says.
    pub predicate: Value,
}

/// What an approver says of an author's statement. It names policy and version, so that people see what they sign.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Approval {
    /// The policy.
    pub policy: PolicyName,
    /// The version.
    pub version: Version,
    /// For other people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
}

impl Approval {
    /// The approval of the author's statement with this digest.
    pub fn of(self, statement: Digest) -> Attestation {
        // Text always has a JSON form.
        let predicate = serde_json::to_value(self).unwrap_or_default();
        Attestation { statement, predicate_type: APPROVAL_TYPE.into(), predicate }
    }
}

impl Attestation {
    /// Reads the payload of an envelope.
    ///
    /// # Errors
    /// When it is not such a statement.
    pub fn parse(payload: &[u8]) -> Result<Self, StatementError> {
        let text: Text<Value> = json::parse(payload, ENVELOPE_BYTES_MAX)?;
        expect("_type", text.kind, STATEMENT_TYPE)?;
        let statement = match text.subject.as_slice() {
            [subject] if subject.name == STATEMENT => Digest::from_hex(&subject.digest.sha256).ok(),
            _ => None,
        };
        let statement = statement.ok_or(StatementError::NotAboutStatement)?;
        Ok(Self { statement, predicate_type: text.predicate_type, predicate: text.predicate })
    }

    /// What is signed: its canonical JSON.
    ///
    /// # Errors
    /// When the predicate has no canonical form.
    pub fn payload(&self) -> Result<Vec<u8>, JcsError> {
        let digest = DigestSet { sha256: self.statement.hex() };
        let text = Text {
            kind: STATEMENT_TYPE.into(),
            subject: vec![Subject { name: STATEMENT.into(), digest }],
            predicate_type: self.predicate_type.clone(),
            predicate: &self.predicate,
        };
        jcs::canonical(&text).map(String::into_bytes)
    }

    /// Signs it; the envelope is attached to the image as the author's is.
    ///
    /// # Errors
    /// As [`Attestation::payload`].
    pub fn sign(&self, key: &SecretKey) -> Result<Envelope, JcsError> {
        Ok(Envelope::sign(MEDIA_TYPE, self.payload()?, key))
    }

    /// The approval that it is, if it is one.
    pub fn approval(&self) -> Option<Approval> {
        (self.predicate_type == APPROVAL_TYPE).then(|| Approval::deserialize(&self.predicate).ok()).flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn approval() -> Approval {
        Approval { policy: "bank/loan".parse().unwrap(), version: Version::new(1, 2, 0), comment: None }
    }

    #[test]
    fn is_read_as_it_was_written() {
        let attestation = approval().of(Digest::of(b"statement"));
        let read = Attestation::parse(&attestation.payload().unwrap()).unwrap();
        assert_eq!((&read, read.approval()), (&attestation, Some(approval())));
        let envelope = attestation.sign(&SecretKey::from_seed([1; 32])).unwrap();
        assert_eq!(
            (envelope.payload_type(), envelope.payload()),
            (MEDIA_TYPE, attestation.payload().unwrap().as_slice())
        );
    }

    #[test]
    fn rejects_statements_about_something_else() {
        let text: Value = serde_json::from_slice(&approval().of(Digest::of(b"")).payload().unwrap()).unwrap();
        let cases = [
            ("/_type", json!("https://in-toto.io/Statement/v0.1")),
            ("/subject", json!([])),
            ("/subject", json!([text["subject"][0], text["subject"][0]])),
            ("/subject/0/name", json!("component")),
            ("/subject/0/digest/sha256", json!("00")),
            ("/surprise", json!(1)),
        ];
        for (pointer, value) in cases {
            let mut changed = text.clone();
            let (parent, name) = pointer.rsplit_once('/').unwrap();
            changed.pointer_mut(parent).unwrap()[name] = value;
            assert!(Attestation::parse(changed.to_string().as_bytes()).is_err(), "{pointer}");
        }
    }

    #[test]
    fn what_is_not_quite_an_approval_is_none() {
        let attestation = approval().of(Digest::of(b""));
        let other = Attestation { predicate_type: "urn:verdict:approval:v2".into(), ..attestation.clone() };
        assert_eq!(other.approval(), None);
        for predicate in
            [json!({}), json!({"policy": "bank/loan", "version": "1.2.0", "until": "never"}), json!(null)]
        {
            assert_eq!(Attestation { predicate, ..attestation.clone() }.approval(), None);
        }
    }
}
