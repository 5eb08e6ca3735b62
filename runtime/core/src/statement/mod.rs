//! What is attached to an image: in-toto Statements (v1) in DSSE envelopes of payload type [`MEDIA_TYPE`].
//! <https://github.com/in-toto/attestation/blob/main/spec/v1/statement.md>
//!
//! - The author's [`Statement`] ties a manifest to a component and its OCI image. Its subjects are `component` and
//!   `oci-manifest`, its `predicateType` is [`PREDICATE_TYPE`], its predicate the manifest.
//! - An [`Attestation`] is about such a statement. Its one subject is `statement`, with the digest of the statement's
//!   payload. An [`Approval`] is one of type [`APPROVAL_TYPE`] whose predicate is
//!   `{"policy": "bank/loan", "version": "1.2.0", "comment": "…"}`, the comment optional. A trust policy's rules may
//!   ask for any other type: tests, provenance, review.

mod attestation;

use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::dsse::Envelope;
use crate::jcs::{self, JcsError};
use crate::json::{self, JsonError};
use crate::key::SecretKey;
use crate::manifest::{Manifest, ManifestError};

pub use attestation::{APPROVAL_TYPE, Approval, Attestation};

/// The media type of a statement, and the payload type of its envelope.
pub const MEDIA_TYPE: &str = "application/vnd.in-toto+json";
/// The `_type` of a statement.
pub const STATEMENT_TYPE: &str = "https://in-toto.io/Statement/v1";
/// The `predicateType` of a statement whose predicate is a manifest.
pub const PREDICATE_TYPE: &str = "urn:verdict:manifest:v1";
/// The name of the subject that is the component.
const COMPONENT: &str = "component";
/// The name of the subject that is the OCI image manifest.
const OCI_MANIFEST: &str = "oci-manifest";

/// What an author signs.
#[derive(Debug, Clone, PartialEq)]
pub struct Statement {
    component: Digest,
    oci_manifest: Digest,
    manifest: Manifest,
}

/// The payload is not an author's statement.
#[derive(Debug, thiserror::Error)]
pub enum StatementError {
    /// It is not JSON of the right shape.
    #[error("the statement cannot be read: {0}")]
    Malformed(#[from] JsonError),
    /// It is a statement of another kind.
    #[error("the statement has {member} `{found}`; expected `{expected}`")]
    Type {
        /// The member that says the kind.
        member: &'static str,
        /// What it says.
        found: String,
        /// What it should say.
        expected: &'static str,
    },
    /// Its subjects are not a component and an image.
    #[error(
        "the statement must have exactly the subjects `{COMPONENT}` and `{OCI_MANIFEST}`, each with a `sha256`"
    )]
    Subjects,
    /// Its subject is not an author's statement.
    #[error("the statement must have exactly the subject `statement`, with a `sha256`")]
    NotAboutStatement,
    /// Its manifest cannot be used.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Text<P> {
    #[serde(rename = "_type")]
    kind: String,
    subject: Vec<Subject>,
    predicate_type: String,
    predicate: P,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Subject {
    name: String,
    digest: DigestSet,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct DigestSet {
    sha256: String,
}

impl Statement {
    /// A statement about the component that `manifest` names, in the image with digest `oci_manifest`.
    pub fn new(manifest: Manifest, oci_manifest: Digest) -> Self {
        Self { component: manifest.component, oci_manifest, manifest }
    }

    /// Reads the payload of an envelope.
    ///
    /// # Errors
    /// When it is not such a statement, or its manifest breaks a rule.
    pub fn parse(payload: &[u8]) -> Result<Self, StatementError> {
        // The kind decides before the predicate is read: another kind has another predicate.
        let text: Text<serde_json::Value> = json::parse(payload, crate::dsse::ENVELOPE_BYTES_MAX)?;
        expect("_type", text.kind, STATEMENT_TYPE)?;
        expect("predicateType", text.predicate_type, PREDICATE_TYPE)?;
        let (component, oci_manifest) = subjects(&text.subject).ok_or(StatementError::Subjects)?;
        let manifest: Manifest = serde_json::from_value(text.predicate).map_err(ManifestError::from)?;
        Ok(Self { component, oci_manifest, manifest: manifest.checked()? })
    }

    /// The statement's canonical JSON.
    ///
    /// # Errors
    /// When a schema in the manifest has no canonical form.
    pub fn render(&self) -> Result<String, JcsError> {
        let subject = |name: &str, digest: Digest| Subject {
            name: name.into(),
            digest: DigestSet { sha256: digest.hex() },
        };
        jcs::canonical(&Text {
            kind: STATEMENT_TYPE.into(),
            subject: vec![subject(COMPONENT, self.component), subject(OCI_MANIFEST, self.oci_manifest)],
            predicate_type: PREDICATE_TYPE.into(),
            predicate: &self.manifest,
        })
    }

    /// The component that it is about.
    pub fn component(&self) -> Digest {
        self.component
    }

    /// The OCI image manifest that it is about.
    pub fn oci_manifest(&self) -> Digest {
        self.oci_manifest
    }

    /// What it says about them.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// What it says about them, and nothing else of it.
    pub fn into_manifest(self) -> Manifest {
        self.manifest
    }
}

fn expect(member: &'static str, found: String, expected: &'static str) -> Result<(), StatementError> {
    if found == expected {
        Ok(())
    } else {
        Err(StatementError::Type { member, found: found.chars().take(160).collect(), expected })
    }
}

fn subjects(subjects: &[Subject]) -> Option<(Digest, Digest)> {
    let digest = |name: &str| {
        let subject = subjects.iter().find(|subject| subject.name == name)?;
        Digest::from_hex(&subject.digest.sha256).ok()
    };
    (subjects.len() == 2).then_some(())?;
    Some((digest(COMPONENT)?, digest(OCI_MANIFEST)?))
}

/// Signs what `manifest` says about its component, in the image with digest `oci_manifest`.
///
/// # Errors
/// When a schema in the manifest has no canonical form.
pub fn sign_manifest(
    manifest: &Manifest,
    oci_manifest: Digest,
    key: &SecretKey,
) -> Result<Envelope, JcsError> {
    let payload = Statement::new(manifest.clone(), oci_manifest).render()?;
    Ok(Envelope::sign(MEDIA_TYPE, payload.into_bytes(), key))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn manifest() -> Manifest {
        let manifest = json!({
            "format": crate::manifest::FORMAT, "policy": "default/loan", "version": "1.0.0",
            "contract": crate::manifest::CONTRACT, "component": Digest::of(b"component").to_string(),
            "rules": [{"name": "eligible", "input_schema": {"type": "object", "maximum": 1e3}}],
        });
        Manifest::parse(manifest.to_string().as_bytes()).unwrap()
    }

    fn statement() -> Statement {
        Statement::new(manifest(), Digest::of(b"image"))
    }

    #[test]
    fn is_read_as_it_was_written() {
        let text = statement().render().unwrap();
        let read = Statement::parse(text.as_bytes()).unwrap();
        assert_eq!(read.render().unwrap(), text);
        assert_eq!(read.component(), Digest::of(b"component"));
        assert_eq!(read.oci_manifest(), Digest::of(b"image"));
    }

    #[test]
    fn rejects_other_kinds_and_what_it_does_not_understand() {
        let text: Value = serde_json::from_str(&statement().render().unwrap()).unwrap();
        let cases = [
            ("/_type", json!("https://in-toto.io/Statement/v0.1"), "has _type"),
            ("/predicateType", json!("https://slsa.dev/provenance/v1"), "has predicateType"),
            ("/subject", json!([text["subject"][0]]), "subjects"),
            ("/subject", json!([text["subject"][0], text["subject"][0]]), "subjects"),
            ("/subject/0/digest/sha256", json!(Digest::of(b"").to_string()), "subjects"),
            ("/subject/0/digest", json!({"sha256": Digest::of(b"").hex(), "sha512": ""}), "unknown field"),
            ("/predicate/rules", json!([]), "no rules"),
            ("/predicate/surprise", json!(1), "unknown field"),
            ("/surprise", json!(1), "unknown field"),
        ];
        for (pointer, value, expected) in cases {
            let mut changed = text.clone();
            let (parent, name) = pointer.rsplit_once('/').unwrap();
            changed.pointer_mut(parent).unwrap()[name] = value;
            let message = Statement::parse(changed.to_string().as_bytes()).unwrap_err().to_string();
            assert!(message.contains(expected), "{pointer}: {message}");
        }
    }

    #[test]
    fn rejects_a_member_that_is_there_twice_inside_a_schema() {
        let text = statement().render().unwrap();
        let twice = text.replace(r#""type":"object""#, r#""type":"object","type":"string""#);
        assert!(twice != text && Statement::parse(twice.as_bytes()).is_err());
    }
}
