//! From bytes that somebody stored to a version that may answer here. Each step is a type that only the step before
//! can make, so that unverified bytes reach no engine.
//!
//! A verified artifact cannot be made up:
//!
//! ```compile_fail,E0451
//! use verdict_core::artifact::VerifiedArtifact;
//! fn forge(contents: verdict_core::artifact::VerifiedArtifact) -> VerifiedArtifact {
//!     VerifiedArtifact { reference: "anything".into(), ..contents }
//! }
//! ```
//!
//! Nor can an admitted one, and a verified one is not admitted:
//!
//! ```compile_fail,E0451
//! use verdict_core::artifact::{AdmittedArtifact, VerifiedArtifact};
//! fn forge(verified: VerifiedArtifact, until: verdict_core::time::Timestamp) -> AdmittedArtifact {
//!     AdmittedArtifact { verified, until }
//! }
//! ```
//!
//! ```compile_fail,E0308
//! fn run(artifact: &verdict_core::artifact::AdmittedArtifact) {}
//! fn skip_admission(verified: verdict_core::artifact::VerifiedArtifact) {
//!     run(&verified);
//! }
//! ```

use std::collections::BTreeMap;
use std::sync::Arc;

use semver::Version;

use crate::digest::Digest;
use crate::dsse::{ENVELOPE_BYTES_MAX, Envelope};
use crate::json::{self, JsonError};
use crate::key::PublicKey;
use crate::manifest::Manifest;
use crate::name::PolicyName;
use crate::oci::{self, ImageManifest, WasmConfig};
use crate::record::Record;
use crate::refusal::{Refusal, RefusalCode};
use crate::statement::{self, Statement, StatementError};
use crate::time::Timestamp;
use crate::trust::{Author, Seen, TrustPolicy};

/// The most statements that may be attached to an artifact.
pub const STATEMENTS_MAX: usize = 16;

/// What a registry holds of one version: bytes that nobody has checked.
#[derive(Debug, Clone)]
pub struct UnverifiedArtifact {
    /// Where it is from, for messages.
    pub reference: String,
    /// The OCI image manifest.
    pub manifest_bytes: Vec<u8>,
    /// The config blob.
    pub config: Vec<u8>,
    /// The component.
    pub component: Vec<u8>,
    /// The attached signature envelopes.
    pub statements: Vec<Vec<u8>>,
}

/// A person and the key that they signed with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signer {
    /// Who.
    pub person: String,
    /// With which key.
    pub public: PublicKey,
}

/// An artifact whose digests hold and whose manifest a trusted author signed.
#[derive(Debug, Clone)]
pub struct VerifiedArtifact {
    reference: String,
    manifest: Manifest,
    component: Arc<[u8]>,
    oci_digest: Digest,
    statement_digest: Digest,
    signers: Vec<Signer>,
}

/// A verified artifact that may answer here, until a stated time.
#[derive(Debug, Clone)]
pub struct AdmittedArtifact {
    verified: VerifiedArtifact,
    until: Timestamp,
}

macro_rules! accessors {
    ($type:ty, $self:ident => $verified:expr) => {
        impl $type {
            /// Where it is from, for messages.
            pub fn reference(&$self) -> &str {
                &$verified.reference
            }

            /// What the author declares.
            pub fn manifest(&$self) -> &Manifest {
                &$verified.manifest
            }

            /// The component's bytes.
            pub fn component(&$self) -> &Arc<[u8]> {
                &$verified.component
            }

            /// The digest of the component.
            pub fn component_digest(&$self) -> Digest {
                // Verification has compared the two.
                $verified.manifest.component
            }

            /// The digest of the OCI image manifest.
            pub fn oci_digest(&$self) -> Digest {
                $verified.oci_digest
            }

            /// The digest of the signed statement, without its signatures.
            pub fn statement_digest(&$self) -> Digest {
                $verified.statement_digest
            }

            /// The trusted authors who signed it, each key once.
            pub fn signers(&$self) -> &[Signer] {
                &$verified.signers
            }
        }
    };
}

accessors!(VerifiedArtifact, self => self);
accessors!(AdmittedArtifact, self => self.verified);

impl AdmittedArtifact {
    /// The first moment at which the admission does not hold any more.
    pub fn until(&self) -> Timestamp {
        self.until
    }
}

/// Checks that every blob is what the image says, and that an author of `trust` whose key is valid at `now` and who
/// may sign this policy signed what the manifest says about it.
///
/// An envelope that nobody of `trust` signed is passed over, as is one that an author may not have signed, while
/// another one holds: whoever can write to a registry can attach anything.
///
/// # Errors
/// The first reason found; of several envelopes, that of the one that came furthest.
pub fn verify(
    artifact: UnverifiedArtifact,
    trust: &TrustPolicy,
    now: Timestamp,
) -> Result<VerifiedArtifact, Refusal> {
    let image = Image::check(&artifact)?;
    if artifact.statements.len() > STATEMENTS_MAX {
        let message = format!(
            "`{}` has {} statements; at most {STATEMENTS_MAX} are read",
            artifact.reference,
            artifact.statements.len()
        );
        return Err(Refusal::new(RefusalCode::TooLarge, message));
    }
    let mut accepted: Option<Accepted> = None;
    let mut refused: Option<Refusal> = None;
    for statement in &artifact.statements {
        match Accepted::check(statement, &image, trust, now) {
            Ok(another) => accepted = Some(another.merge(accepted)?),
            Err(refusal) => {
                refused = Some(match refused {
                    Some(other) if rank(other.code) > rank(refusal.code) => other,
                    _ => refusal,
                });
            }
        }
    }
    let unsigned =
        || Refusal::new(RefusalCode::Unsigned, format!("`{}` has no statement", artifact.reference));
    let Accepted { manifest, statement_digest, signers } =
        accepted.ok_or_else(|| refused.unwrap_or_else(unsigned))?;
    Ok(VerifiedArtifact {
        reference: artifact.reference,
        manifest,
        component: artifact.component.into(),
        oci_digest: image.digest,
        statement_digest,
        signers,
    })
}

/// Decides whether a verified artifact may answer here at `now`, on a host that has `seen` others before.
///
/// # Errors
/// When the trust policy has expired or is an old one, no valid signer may sign this policy, or a newer version was
/// seen.
pub fn admit(
    mut verified: VerifiedArtifact,
    trust: &TrustPolicy,
    seen: &Seen,
    now: Timestamp,
) -> Result<AdmittedArtifact, Refusal> {
    trust.check(seen, now)?;
    let Manifest { policy, version, .. } = &verified.manifest;
    // Time has passed since it was verified, and the trust policy may be another one.
    let keys = verified.signers.iter().map(|signer| &signer.public);
    let authors = authorised(keys.filter_map(|key| trust.author(key)), policy, now)?;
    check_version(policy, version, seen)?;
    // Who signed with a key that stays valid keeps it admitted.
    let key_end = authors.iter().map(|author| author.not_after.unwrap_or(trust.expires())).max();
    let until = key_end.map_or(trust.expires(), |end| end.min(trust.expires()));
    verified.signers = signers(&authors);
    Ok(AdmittedArtifact { verified, until })
}

/// Admits, for a replay, the artifact that `record` says decided. Trust was asked when the decision was made, and the
/// record names the very statement that held then; today's trust says nothing about the past.
///
/// The record is taken at its word: verify its receipt first.
///
/// # Errors
/// When the artifact is not the one that the record names.
pub fn admit_recorded(artifact: UnverifiedArtifact, record: &Record) -> Result<AdmittedArtifact, Refusal> {
    let image = Image::check(&artifact)?;
    if image.component != record.component {
        let message = format!("the record is of component {}, not {}", record.component, image.component);
        return Err(Refusal::new(RefusalCode::WrongSubject, message));
    }
    let envelopes = artifact.statements.iter().filter_map(|bytes| Envelope::parse(bytes).ok());
    let payload = envelopes.map(|envelope| envelope.payload().to_vec());
    let Some(payload) = payload.into_iter().find(|payload| Digest::of(payload) == record.statement) else {
        let message = format!("`{}` does not hold the statement {}", artifact.reference, record.statement);
        return Err(Refusal::new(RefusalCode::Unsigned, message));
    };
    let statement = Statement::parse(&payload).map_err(refuse_statement)?;
    image.check_statement(&statement)?;
    let verified = VerifiedArtifact {
        reference: artifact.reference,
        manifest: statement.into_manifest(),
        component: artifact.component.into(),
        oci_digest: image.digest,
        statement_digest: record.statement,
        signers: Vec::new(),
    };
    Ok(AdmittedArtifact { verified, until: record.received_at })
}

fn check_version(policy: &PolicyName, version: &Version, seen: &Seen) -> Result<(), Refusal> {
    match seen.version(policy) {
        Some(highest) if version.cmp_precedence(highest).is_lt() => Err(Refusal::new(
            RefusalCode::VersionRollback,
            format!("`{policy}` has version {version}, but {highest} was seen"),
        )),
        _ => Ok(()),
    }
}

/// The place of a code in the table, which is the order of the checks.
fn rank(code: RefusalCode) -> usize {
    RefusalCode::ALL.iter().position(|row| *row == code).unwrap_or_default()
}

/// An image whose blobs are what it says.
struct Image {
    digest: Digest,
    component: Digest,
    annotations: BTreeMap<String, String>,
}

impl Image {
    fn check(artifact: &UnverifiedArtifact) -> Result<Self, Refusal> {
        let what = |part: &str| format!("the {part} of `{}`", artifact.reference);
        let manifest: ImageManifest =
            read(&artifact.manifest_bytes, oci::MANIFEST_BYTES_MAX, || what("image manifest"))?;
        if manifest.schema_version != 2 {
            let message = format!("{} has another `schemaVersion` than 2", what("image manifest"));
            return Err(Refusal::new(RefusalCode::MalformedArtifact, message));
        }
        check_media_type(&manifest.media_type, oci::MANIFEST_MEDIA_TYPE, || what("image manifest"))?;
        check_media_type(&manifest.config.media_type, oci::WASM_CONFIG_MEDIA_TYPE, || what("config"))?;
        let [layer] = manifest.layers.as_slice() else {
            let message =
                format!("`{}` has {} layers; expected one", artifact.reference, manifest.layers.len());
            return Err(Refusal::new(RefusalCode::WrongMediaType, message));
        };
        check_media_type(&layer.media_type, oci::WASM_MEDIA_TYPE, || what("layer"))?;
        check_blob(&manifest.config, &artifact.config, oci::CONFIG_BYTES_MAX, || what("config"))?;
        check_blob(layer, &artifact.component, oci::COMPONENT_BYTES_MAX, || what("component"))?;
        let config: WasmConfig = read(&artifact.config, oci::CONFIG_BYTES_MAX, || what("config"))?;
        if !config.is_of(layer.digest) {
            let message = format!("{} is not that of this one component", what("config"));
            return Err(Refusal::new(RefusalCode::MalformedArtifact, message));
        }
        let component = layer.digest;
        Ok(Self {
            digest: Digest::of(&artifact.manifest_bytes),
            component,
            annotations: manifest.annotations,
        })
    }

    /// Checks that a statement is about this image, and does not contradict it.
    fn check_statement(&self, statement: &Statement) -> Result<(), Refusal> {
        for (what, found, expected) in [
            ("component", statement.component(), self.component),
            ("image", statement.oci_manifest(), self.digest),
        ] {
            if found != expected {
                let message = format!("the statement is about {what} {found}, not {expected}");
                return Err(Refusal::new(RefusalCode::WrongSubject, message));
            }
        }
        let manifest = statement.manifest();
        let contradiction = |what: &str, said: &str, found: &str| {
            let message = format!("the manifest says {what} `{said}`, the artifact `{found}`");
            Err(Refusal::new(RefusalCode::ManifestMismatch, message))
        };
        if manifest.component != self.component {
            let (said, found) = (manifest.component.to_string(), self.component.to_string());
            return contradiction("component", &said, &found);
        }
        for (what, said, annotation) in [
            ("policy", manifest.policy.to_string(), oci::TITLE_ANNOTATION),
            ("version", manifest.version.to_string(), oci::VERSION_ANNOTATION),
        ] {
            match self.annotations.get(annotation) {
                Some(found) if *found != said => return contradiction(what, &said, found),
                _ => {}
            }
        }
        Ok(())
    }
}

/// A statement that holds for an image.
struct Accepted {
    manifest: Manifest,
    statement_digest: Digest,
    signers: Vec<Signer>,
}

impl Accepted {
    fn check(bytes: &[u8], image: &Image, trust: &TrustPolicy, now: Timestamp) -> Result<Self, Refusal> {
        if bytes.len() > ENVELOPE_BYTES_MAX {
            let message =
                format!("a statement has {} bytes; at most {ENVELOPE_BYTES_MAX} are read", bytes.len());
            return Err(Refusal::new(RefusalCode::TooLarge, message));
        }
        let envelope = Envelope::parse(bytes)
            .map_err(|error| Refusal::new(RefusalCode::MalformedEnvelope, error.to_string()))?;
        let authors = authors_of(&envelope, trust)?;
        // From here on the payload is what an author of the trust policy signed.
        let statement = Statement::parse(envelope.payload()).map_err(refuse_statement)?;
        image.check_statement(&statement)?;
        let authors = authorised(authors.into_iter(), &statement.manifest().policy, now)?;
        let statement_digest = Digest::of(envelope.payload());
        Ok(Self { manifest: statement.into_manifest(), statement_digest, signers: signers(&authors) })
    }

    /// Two statements that hold must be one, signed in two places.
    fn merge(mut self, other: Option<Self>) -> Result<Self, Refusal> {
        let Some(other) = other else { return Ok(self) };
        if self.statement_digest != other.statement_digest {
            let (this, that) = (self.statement_digest, other.statement_digest);
            let message = format!("the statements {this} and {that} say different things about one image");
            return Err(Refusal::new(RefusalCode::AmbiguousStatement, message));
        }
        let new = other.signers.into_iter().filter(|signer| !self.signers.contains(signer));
        let new: Vec<_> = new.collect();
        self.signers.extend(new);
        Ok(self)
    }
}

/// The authors who signed the envelope. Which of them may is decided when it is known what they signed.
fn authors_of<'t>(envelope: &Envelope, trust: &'t TrustPolicy) -> Result<Vec<&'t Author>, Refusal> {
    if !envelope.is_signed() {
        return Err(Refusal::new(RefusalCode::Unsigned, "the statement has no signature"));
    }
    if envelope.payload_type() != statement::MEDIA_TYPE {
        let message =
            format!("the envelope holds `{}`; expected `{}`", envelope.payload_type(), statement::MEDIA_TYPE);
        return Err(Refusal::new(RefusalCode::WrongStatementType, message));
    }
    let keys = || trust.authors().iter().map(|author| &author.public);
    let named = envelope.named(keys());
    if named.is_empty() {
        return Err(Refusal::new(
            RefusalCode::UnknownSigner,
            "no key of the trust file signed the statement",
        ));
    }
    let signed = envelope.signers(named.iter().copied());
    if signed.is_empty() {
        let keys: Vec<_> = named.iter().map(|key| key.fingerprint().to_string()).collect();
        let message = format!("the signature said to be by {} does not fit", keys.join(", "));
        return Err(Refusal::new(RefusalCode::WrongSignature, message));
    }
    Ok(signed.into_iter().filter_map(|key| trust.author(key)).collect())
}

/// Those of `authors` who may sign `policy` at `now`.
fn authorised<'t>(
    authors: impl Iterator<Item = &'t Author>,
    policy: &PolicyName,
    now: Timestamp,
) -> Result<Vec<&'t Author>, Refusal> {
    let mut refused =
        Refusal::new(RefusalCode::UnknownSigner, "no key of the trust file signed the statement");
    let mut accepted = Vec::new();
    for author in authors {
        if !author.may_sign(policy) {
            let message = format!("`{}` may not sign `{policy}`", author.person);
            refused = Refusal::new(RefusalCode::NotGranted, message);
        } else if let Err(refusal) = author.check_valid(now) {
            refused = refusal;
        } else {
            accepted.push(author);
        }
    }
    if accepted.is_empty() { Err(refused) } else { Ok(accepted) }
}

fn signers(authors: &[&Author]) -> Vec<Signer> {
    authors.iter().map(|author| Signer { person: author.person.clone(), public: author.public }).collect()
}

fn refuse_statement(error: StatementError) -> Refusal {
    let code = match error {
        StatementError::Type { .. } => RefusalCode::WrongStatementType,
        StatementError::Malformed(_) | StatementError::Subjects => RefusalCode::MalformedStatement,
        StatementError::Manifest(_) => RefusalCode::MalformedManifest,
    };
    Refusal::new(code, error.to_string())
}

fn read<T: serde::de::DeserializeOwned>(
    bytes: &[u8],
    bytes_max: usize,
    what: impl Fn() -> String,
) -> Result<T, Refusal> {
    json::parse(bytes, bytes_max).map_err(|error| {
        let code = match error {
            JsonError::TooLarge { .. } => RefusalCode::TooLarge,
            JsonError::Malformed(_) => RefusalCode::MalformedArtifact,
        };
        Refusal::new(code, format!("{} cannot be read: {error}", what()))
    })
}

fn check_media_type(found: &str, expected: &str, what: impl Fn() -> String) -> Result<(), Refusal> {
    if found == expected {
        return Ok(());
    }
    let found: String = found.chars().take(160).collect();
    let message = format!("{} has media type `{found}`; expected `{expected}`", what());
    Err(Refusal::new(RefusalCode::WrongMediaType, message))
}

fn check_blob(
    descriptor: &oci::Descriptor,
    bytes: &[u8],
    bytes_max: usize,
    what: impl Fn() -> String,
) -> Result<(), Refusal> {
    if bytes.len() > bytes_max {
        let message = format!("{} has {} bytes; at most {bytes_max} are read", what(), bytes.len());
        return Err(Refusal::new(RefusalCode::TooLarge, message));
    }
    if !descriptor.describes(bytes) {
        let message = format!(
            "{} should be {} of {} bytes; it is {} of {}",
            what(),
            descriptor.digest,
            descriptor.size,
            Digest::of(bytes),
            bytes.len()
        );
        return Err(Refusal::new(RefusalCode::DigestMismatch, message));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::SecretKey;
    use crate::oci::World;
    use crate::statement::sign_manifest;

    const COMPONENT: &[u8] = b"component";

    fn time(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn now() -> Timestamp {
        time("2026-06-01T00:00:00Z")
    }

    fn key(seed: u8) -> SecretKey {
        SecretKey::from_seed([seed; 32])
    }

    fn manifest(policy: &str, version: &str) -> Manifest {
        let json = serde_json::json!({
            "format": crate::manifest::FORMAT, "policy": policy, "version": version,
            "contract": crate::manifest::CONTRACT, "component": Digest::of(COMPONENT),
            "rules": [{"name": "eligible"}],
        });
        Manifest::parse(json.to_string().as_bytes()).unwrap()
    }

    fn author(seed: u8, policies: &str, not_after: Option<&str>) -> Author {
        Author {
            person: format!("person {seed}"),
            public: key(seed).public(),
            policies: vec![policies.parse().unwrap()],
            not_before: None,
            not_after: not_after.map(time),
        }
    }

    fn trust() -> TrustPolicy {
        let authors = vec![
            author(1, "default/*", None),
            author(2, "default/loan", Some("2026-09-01T00:00:00Z")),
            author(3, "acme/*", None),
        ];
        TrustPolicy::new(2, time("2027-01-01T00:00:00Z"), authors).unwrap()
    }

    /// An artifact with one statement for each of `seeds`, about the same image.
    fn artifact(manifest: &Manifest, seeds: &[u8]) -> UnverifiedArtifact {
        let image =
            oci::Image::new(COMPONENT, World::default(), &manifest.policy, &manifest.version).unwrap();
        let digest = Digest::of(&image.manifest);
        let sign = |seed: &u8| sign_manifest(manifest, digest, &key(*seed)).unwrap().render().into_bytes();
        UnverifiedArtifact {
            reference: "here".into(),
            manifest_bytes: image.manifest,
            config: image.config,
            component: COMPONENT.to_vec(),
            statements: seeds.iter().map(sign).collect(),
        }
    }

    fn admitted(seeds: &[u8], trust: &TrustPolicy, seen: &Seen) -> Result<AdmittedArtifact, Refusal> {
        admit(verify(artifact(&manifest("loan", "1.1.0"), seeds), trust, now())?, trust, seen, now())
    }

    fn code<T>(result: Result<T, Refusal>) -> Option<RefusalCode> {
        result.err().map(|refusal| refusal.code)
    }

    #[test]
    fn admits_what_a_trusted_author_signed_and_names_every_signer() {
        let admitted = admitted(&[1, 9, 2, 1], &trust(), &Seen::default()).unwrap();
        let people: Vec<_> = admitted.signers().iter().map(|signer| signer.person.as_str()).collect();
        assert_eq!(people, ["person 1", "person 2"]);
        assert_eq!(admitted.component_digest(), Digest::of(COMPONENT));
        assert_eq!(admitted.component().as_ref(), COMPONENT);
    }

    #[test]
    fn an_admission_ends_with_the_trust_or_the_last_key() {
        let until = |seeds: &[u8]| admitted(seeds, &trust(), &Seen::default()).unwrap().until();
        assert_eq!(until(&[1]), time("2027-01-01T00:00:00Z"));
        assert_eq!(until(&[2]), time("2026-09-01T00:00:00Z"));
        assert_eq!(until(&[1, 2]), time("2027-01-01T00:00:00Z"));
    }

    #[test]
    fn nothing_goes_back() {
        let name: PolicyName = "loan".parse().unwrap();
        let code = |seen: Seen| code(admitted(&[1], &trust(), &seen));
        assert_eq!(code(Seen::default().note_trust(2).note(&name, Version::new(1, 1, 0))), None);
        assert_eq!(code(Seen::default().note(&"other".parse().unwrap(), Version::new(9, 0, 0))), None);
        assert_eq!(code(Seen::default().note_trust(3)), Some(RefusalCode::TrustRollback));
        let newer = Seen::default().note(&name, Version::new(1, 1, 1));
        assert_eq!(code(newer), Some(RefusalCode::VersionRollback));
    }

    #[test]
    fn an_author_signs_only_what_is_granted() {
        assert_eq!(code(admitted(&[3], &trust(), &Seen::default())), Some(RefusalCode::NotGranted));
        assert_eq!(code(admitted(&[9], &trust(), &Seen::default())), Some(RefusalCode::UnknownSigner));
    }

    #[test]
    fn a_stranger_cannot_spoil_a_signed_artifact_but_two_authors_must_agree() {
        let signed = artifact(&manifest("loan", "1.1.0"), &[1]);
        let mut other = manifest("loan", "1.1.0");
        other.description = "something else".into();
        let with_another_by = |seed: u8| {
            let mut artifact = signed.clone();
            artifact.statements.insert(0, b"not an envelope".to_vec());
            let digest = Digest::of(&artifact.manifest_bytes);
            artifact
                .statements
                .push(sign_manifest(&other, digest, &key(seed)).unwrap().render().into_bytes());
            code(verify(artifact, &trust(), now()))
        };
        assert_eq!(with_another_by(9), None);
        assert_eq!(with_another_by(3), None);
        assert_eq!(with_another_by(2), Some(RefusalCode::AmbiguousStatement));
    }

    #[test]
    fn what_was_verified_is_checked_again_when_it_is_admitted() {
        let verified = || verify(artifact(&manifest("loan", "1.1.0"), &[2]), &trust(), now()).unwrap();
        let admit =
            |trust: &TrustPolicy, now: &str| code(admit(verified(), trust, &Seen::default(), time(now)));
        assert_eq!(admit(&trust(), "2026-08-31T23:59:59Z"), None);
        assert_eq!(admit(&trust(), "2026-09-01T00:00:00Z"), Some(RefusalCode::KeyExpired));
        assert_eq!(admit(&trust(), "2027-01-01T00:00:00Z"), Some(RefusalCode::TrustExpired));
        let revoked = TrustPolicy::new(3, time("2027-01-01T00:00:00Z"), vec![author(1, "default/*", None)]);
        assert_eq!(admit(&revoked.unwrap(), "2026-08-31T23:59:59Z"), Some(RefusalCode::UnknownSigner));
    }

    #[test]
    fn a_replay_gets_the_very_artifact_that_decided_and_it_answers_nothing_new() {
        use crate::limits::Limits;
        use crate::record::{Commitments, Record};

        let decided = admitted(&[1], &trust(), &Seen::default()).unwrap();
        let record = Record {
            id: "decision".into(),
            policy: decided.manifest().policy.clone(),
            version: decided.manifest().version.clone(),
            component: decided.component_digest(),
            statement: decided.statement_digest(),
            data: None,
            decision_time: now(),
            received_at: now(),
            semantics: 1,
            limits: Limits::default(),
            fault: None,
            commitments: Commitments::from_iter([]),
        };
        let artifact = || artifact(&manifest("loan", "1.1.0"), &[1]);
        let again = admit_recorded(artifact(), &record).unwrap();
        assert_eq!((again.manifest(), again.until()), (decided.manifest(), now()));
        let other = Record { component: Digest::of(b"other"), ..record.clone() };
        assert_eq!(code(admit_recorded(artifact(), &other)), Some(RefusalCode::WrongSubject));
        let other = Record { statement: Digest::of(b"other"), ..record.clone() };
        assert_eq!(code(admit_recorded(artifact(), &other)), Some(RefusalCode::Unsigned));
        let mut swapped = artifact();
        swapped.component[0] ^= 1;
        assert_eq!(code(admit_recorded(swapped, &record)), Some(RefusalCode::DigestMismatch));
    }
}
