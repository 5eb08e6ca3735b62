//! The attacks on a signed artifact, one row each, and the code with which each is refused.

mod trust_support;

use serde_json::json;
use verdict_core::artifact::{STATEMENTS_MAX, UnverifiedArtifact, admit, verify};
use verdict_core::digest::Digest;
use verdict_core::dsse::{ENVELOPE_BYTES_MAX, Envelope};
use verdict_core::oci::{COMPONENT_BYTES_MAX, Image, ImageManifest, MANIFEST_BYTES_MAX, World};
use verdict_core::refusal::{Refusal, RefusalCode};
use verdict_core::statement::{MEDIA_TYPE, sign_manifest};
use verdict_core::time::Timestamp;
use verdict_core::trust::{Seen, TrustPolicy};

use trust_support::*;

/// What an attacker, or an accident, has changed.
struct Case {
    artifact: UnverifiedArtifact,
    trust: TrustPolicy,
    seen: Seen,
    now: Timestamp,
}

impl Case {
    fn good() -> Self {
        Self { artifact: artifact(), trust: trust(), seen: Seen::default(), now: now() }
    }

    fn outcome(self) -> Result<(), Refusal> {
        let verified = verify(self.artifact, &self.trust, self.now)?;
        admit(verified, &self.trust, &self.seen, self.now).map(drop)
    }

    /// Replaces the statement by one that Alice signed about something else.
    fn says(&mut self, pointer: &str, value: serde_json::Value) {
        let mut statement = statement_json();
        *statement.pointer_mut(pointer).unwrap() = value;
        self.artifact.statements = vec![envelope(&statement)];
    }

    /// Changes the image manifest, and signs what comes out: whoever can sign may still not break the format.
    fn image(&mut self, change: impl FnOnce(&mut ImageManifest)) {
        let mut manifest: ImageManifest = serde_json::from_slice(&self.artifact.manifest_bytes).unwrap();
        change(&mut manifest);
        self.artifact.manifest_bytes = serde_json::to_vec(&manifest).unwrap();
        self.sign();
    }

    fn sign(&mut self) {
        let digest = Digest::of(&self.artifact.manifest_bytes);
        let envelope = sign_manifest(&manifest("acme/loan"), digest, &alice()).unwrap();
        self.artifact.statements = vec![envelope.render().into_bytes()];
    }

    fn with_authors(&mut self, change: impl FnOnce(&mut verdict_core::trust::Author)) {
        let mut authors = authors();
        change(&mut authors[0]);
        self.trust = TrustPolicy::new(5, self.trust.expires(), authors).unwrap();
    }
}

type Change = fn(&mut Case);
type Attack = (&'static str, RefusalCode, Change);

const SIGNATURES: &[Attack] = &[
    ("no statement", RefusalCode::Unsigned, |case| case.artifact.statements.clear()),
    ("signatures stripped from the envelope", RefusalCode::Unsigned, |case| {
        let mut envelope: serde_json::Value = serde_json::from_slice(&case.artifact.statements[0]).unwrap();
        envelope["signatures"] = json!([]);
        case.artifact.statements = vec![envelope.to_string().into_bytes()];
    }),
    ("signed by a stranger", RefusalCode::UnknownSigner, |case| {
        let digest = Digest::of(&case.artifact.manifest_bytes);
        let envelope = sign_manifest(&manifest("acme/loan"), digest, &mallory()).unwrap();
        case.artifact.statements = vec![envelope.render().into_bytes()];
    }),
    ("a stranger's signature under Alice's name", RefusalCode::WrongSignature, |case| {
        let digest = Digest::of(&case.artifact.manifest_bytes);
        let envelope = sign_manifest(&manifest("acme/loan"), digest, &mallory()).unwrap().render();
        let (from, to) = (mallory().public().fingerprint(), alice().public().fingerprint());
        case.artifact.statements = vec![envelope.replace(&from.to_string(), &to.to_string()).into_bytes()];
    }),
    ("Alice's signature of another payload", RefusalCode::WrongSignature, |case| {
        let mut envelope: serde_json::Value = serde_json::from_slice(&case.artifact.statements[0]).unwrap();
        let other: serde_json::Value = serde_json::from_slice(&trust_support::envelope(&json!({}))).unwrap();
        envelope["signatures"] = other["signatures"].clone();
        case.artifact.statements = vec![envelope.to_string().into_bytes()];
    }),
    ("signed by an author of another tenant", RefusalCode::NotGranted, |case| {
        let digest = Digest::of(&case.artifact.manifest_bytes);
        let envelope = sign_manifest(&manifest("acme/loan"), digest, &bob()).unwrap();
        case.artifact.statements = vec![envelope.render().into_bytes()];
    }),
    ("an author who lost this grant", RefusalCode::NotGranted, |case| {
        case.with_authors(|alice| alice.policies = vec!["acme/pension".parse().unwrap()]);
    }),
    ("an author who was removed", RefusalCode::UnknownSigner, |case| {
        let authors = vec![author("bob", &bob(), "other/*")];
        case.trust = TrustPolicy::new(6, case.trust.expires(), authors).unwrap();
    }),
    ("a key that is not valid yet", RefusalCode::KeyNotYetValid, |case| {
        case.with_authors(|alice| alice.not_before = Some(time("2026-06-01T00:00:00.001Z")));
    }),
    ("a key that is not valid any more", RefusalCode::KeyExpired, |case| {
        case.with_authors(|alice| alice.not_after = Some(now()));
    }),
    ("an envelope that is none", RefusalCode::MalformedEnvelope, |case| {
        case.artifact.statements = vec![b"-----BEGIN PGP SIGNATURE-----".to_vec()];
    }),
    ("an envelope with two payloads", RefusalCode::MalformedEnvelope, |case| {
        let text = String::from_utf8(case.artifact.statements[0].clone()).unwrap();
        let twice = text.replacen('{', r#"{"payload":"e30=","#, 1);
        case.artifact.statements = vec![twice.into_bytes()];
    }),
    ("an envelope of another payload type", RefusalCode::WrongStatementType, |case| {
        let payload = statement_json().to_string().into_bytes();
        let envelope = Envelope::sign("application/json", payload, &alice());
        case.artifact.statements = vec![envelope.render().into_bytes()];
    }),
    ("a payload type changed after signing", RefusalCode::WrongSignature, |case| {
        let payload = statement_json().to_string().into_bytes();
        let text = Envelope::sign("application/json", payload, &alice()).render();
        let text = text.replace(r#""application/json""#, &format!(r#""{MEDIA_TYPE}""#));
        case.artifact.statements = vec![text.into_bytes()];
    }),
];

const STATEMENTS: &[Attack] = &[
    ("a statement of another kind", RefusalCode::WrongStatementType, |case| {
        case.says("/predicateType", json!("https://slsa.dev/provenance/v1"));
    }),
    ("a statement of another version of in-toto", RefusalCode::WrongStatementType, |case| {
        case.says("/_type", json!("https://in-toto.io/Statement/v0.1"));
    }),
    ("a statement about another component", RefusalCode::WrongSubject, |case| {
        case.says("/subject/0/digest/sha256", json!(Digest::of(b"another").hex()));
    }),
    ("a statement about another image", RefusalCode::WrongSubject, |case| {
        case.says("/subject/1/digest/sha256", json!(Digest::of(b"another").hex()));
    }),
    ("a statement without the image", RefusalCode::MalformedStatement, |case| {
        case.says("/subject", json!([statement_json()["subject"][0]]));
    }),
    ("a manifest of another component", RefusalCode::ManifestMismatch, |case| {
        case.says("/predicate/component", json!(Digest::of(b"another")));
    }),
    ("a manifest that names another policy of the author", RefusalCode::ManifestMismatch, |case| {
        case.says("/predicate/policy", json!("acme/pension"));
    }),
    ("a manifest that names another version", RefusalCode::ManifestMismatch, |case| {
        case.says("/predicate/version", json!("1.3.0"));
    }),
    ("a manifest without rules", RefusalCode::MalformedManifest, |case| {
        case.says("/predicate/rules", json!([]));
    }),
    ("a manifest with an unknown capability", RefusalCode::MalformedManifest, |case| {
        case.says("/predicate/capabilities", json!({"network": true}));
    }),
    ("two statements that disagree", RefusalCode::AmbiguousStatement, |case| {
        let first = case.artifact.statements[0].clone();
        case.says("/predicate/capabilities", json!({}));
        case.artifact.statements.push(first);
    }),
];

const IMAGES: &[Attack] = &[
    ("another component", RefusalCode::DigestMismatch, |case| case.artifact.component[20] ^= 1),
    ("a longer component", RefusalCode::DigestMismatch, |case| case.artifact.component.push(0)),
    ("another config", RefusalCode::DigestMismatch, |case| case.artifact.config.push(b' ')),
    ("another image, consistent in itself", RefusalCode::WrongSubject, |case| {
        let component = b"\0asm\x0d\0\x01\0";
        let manifest = manifest("acme/loan");
        let image = Image::new(component, World::default(), &manifest.policy, &manifest.version).unwrap();
        case.artifact.manifest_bytes = image.manifest;
        case.artifact.config = image.config;
        case.artifact.component = component.to_vec();
    }),
    ("blobs swapped", RefusalCode::DigestMismatch, |case| {
        std::mem::swap(&mut case.artifact.component, &mut case.artifact.config);
    }),
    ("a layer of another type", RefusalCode::WrongMediaType, |case| {
        case.image(|image| image.layers[0].media_type = "application/vnd.oci.image.layer.v1.tar".into());
    }),
    ("a config of another type", RefusalCode::WrongMediaType, |case| {
        case.image(|image| image.config.media_type = "application/vnd.oci.image.config.v1+json".into());
    }),
    ("a manifest of another type", RefusalCode::WrongMediaType, |case| {
        case.image(|image| image.media_type = "application/vnd.docker.distribution.manifest.v2+json".into());
    }),
    ("two layers", RefusalCode::WrongMediaType, |case| {
        case.image(|image| image.layers.push(image.layers[0].clone()));
    }),
    ("no layer", RefusalCode::WrongMediaType, |case| case.image(|image| image.layers.clear())),
    ("a layer of another size", RefusalCode::DigestMismatch, |case| {
        case.image(|image| image.layers[0].size += 1);
    }),
    ("another schema version", RefusalCode::MalformedArtifact, |case| {
        case.image(|image| image.schema_version = 1);
    }),
    ("an image of another policy", RefusalCode::ManifestMismatch, |case| {
        let title = "org.opencontainers.image.title";
        case.image(|image| drop(image.annotations.insert(title.into(), "acme/pension".into())));
    }),
    ("a config of another component", RefusalCode::MalformedArtifact, |case| {
        let text = String::from_utf8(case.artifact.config.clone()).unwrap();
        let (from, to) = (Digest::of(COMPONENT), Digest::of(b"another"));
        case.artifact.config = text.replace(&from.to_string(), &to.to_string()).into_bytes();
        let config = verdict_core::oci::Descriptor::of(
            verdict_core::oci::WASM_CONFIG_MEDIA_TYPE,
            &case.artifact.config,
        );
        case.image(|image| image.config = config);
    }),
    ("an image manifest with a layer list hidden behind another", RefusalCode::MalformedArtifact, |case| {
        let text = String::from_utf8(case.artifact.manifest_bytes.clone()).unwrap();
        case.artifact.manifest_bytes = text.replacen('{', r#"{"layers":[],"#, 1).into_bytes();
        case.sign();
    }),
    ("an image manifest that is too large", RefusalCode::TooLarge, |case| {
        case.artifact.manifest_bytes.resize(MANIFEST_BYTES_MAX + 1, b' ');
        case.sign();
    }),
    ("a component that is too large", RefusalCode::TooLarge, |case| {
        case.artifact.component = vec![0; COMPONENT_BYTES_MAX + 1];
        let layer = verdict_core::oci::Descriptor::of("application/wasm", &case.artifact.component);
        case.image(|image| image.layers = vec![layer]);
    }),
    ("a statement that is too large", RefusalCode::TooLarge, |case| {
        case.artifact.statements[0].resize(ENVELOPE_BYTES_MAX + 1, b' ');
    }),
    ("too many statements", RefusalCode::TooLarge, |case| {
        case.artifact.statements = vec![case.artifact.statements[0].clone(); STATEMENTS_MAX + 1];
    }),
];

const TRUST: &[Attack] = &[
    ("an expired trust policy", RefusalCode::TrustExpired, |case| case.now = time("2027-01-01T00:00:00Z")),
    ("an older trust policy", RefusalCode::TrustRollback, |case| case.seen = Seen::default().note_trust(6)),
    ("an older version", RefusalCode::VersionRollback, |case| {
        case.seen = Seen::default().note(&"acme/loan".parse().unwrap(), semver::Version::new(1, 2, 1));
    }),
    ("a pre-release of a version that was seen", RefusalCode::VersionRollback, |case| {
        let seen = "1.2.1-rc.1".parse().unwrap();
        case.seen = Seen::default().note(&"acme/loan".parse().unwrap(), seen);
    }),
];

#[test]
fn refuses_every_attack_with_its_code() {
    for (name, code, change) in [SIGNATURES, STATEMENTS, IMAGES, TRUST].concat() {
        let mut case = Case::good();
        change(&mut case);
        match case.outcome() {
            Ok(()) => panic!("{name}: admitted"),
            Err(refusal) => assert_eq!(refusal.code, code, "{name}: {refusal}"),
        }
    }
}

#[test]
fn admits_what_only_looks_like_an_attack() {
    let good: &[(&str, Change)] = &[
        ("nothing changed", |_| {}),
        ("a stranger signed as well", |case| {
            let mut envelope = Envelope::parse(&case.artifact.statements[0]).unwrap();
            envelope.add_signature(&mallory());
            case.artifact.statements = vec![envelope.render().into_bytes()];
        }),
        ("an author without this grant signed as well", |case| {
            let mut envelope = Envelope::parse(&case.artifact.statements[0]).unwrap();
            envelope.add_signature(&bob());
            case.artifact.statements = vec![envelope.render().into_bytes()];
        }),
        ("a stranger attached rubbish", |case| case.artifact.statements.insert(0, vec![0xff; 100])),
        ("an old statement by an author who is gone", |case| {
            let digest = Digest::of(&case.artifact.manifest_bytes);
            let mut old = manifest("acme/loan");
            old.description = "as it was".into();
            let old = sign_manifest(&old, digest, &mallory()).unwrap();
            case.artifact.statements.push(old.render().into_bytes());
        }),
        ("the last moment of the trust policy", |case| case.now = time("2026-12-31T23:59:59.999Z")),
        ("the same version again", |case| {
            let name = "acme/loan".parse().unwrap();
            case.seen = Seen::default().note_trust(5).note(&name, semver::Version::new(1, 2, 0));
        }),
        ("another policy has come further", |case| {
            let name = "acme/pension".parse().unwrap();
            case.seen = Seen::default().note(&name, semver::Version::new(9, 0, 0));
        }),
    ];
    for (name, change) in good {
        let mut case = Case::good();
        change(&mut case);
        case.outcome().unwrap_or_else(|refusal| panic!("{name}: {refusal}"));
    }
}

/// The codes that signed documents, approvals and rules are refused with; their attacks are in `trust_documents.rs`.
const OF_DOCUMENTS: &[RefusalCode] = &[
    RefusalCode::KeyRevoked,
    RefusalCode::TrustGap,
    RefusalCode::ClockBehind,
    RefusalCode::RevocationsMissing,
    RefusalCode::WrongDocument,
    RefusalCode::MalformedDocument,
    RefusalCode::TooFewSigners,
    RefusalCode::DocumentNotYetValid,
    RefusalCode::DocumentExpired,
    RefusalCode::DocumentRollback,
    RefusalCode::Equivocation,
    RefusalCode::NotReleased,
    RefusalCode::WrongData,
    RefusalCode::Revoked,
    RefusalCode::NotApproved,
    RefusalCode::MissingStatement,
];

/// A row that no attack reaches would be a promise that nothing keeps. The engine's own are tested with the engine.
#[test]
fn every_code_of_the_table_has_an_attack() {
    let elsewhere = [
        RefusalCode::Unreadable,
        RefusalCode::MalformedTrust,
        RefusalCode::MalformedComponent,
        RefusalCode::WrongContract,
        RefusalCode::UndeclaredImport,
        RefusalCode::CompileFailed,
    ];
    let attacked: Vec<_> =
        [SIGNATURES, STATEMENTS, IMAGES, TRUST].concat().into_iter().map(|(_, code, _)| code).collect();
    for code in RefusalCode::ALL {
        let here = attacked.contains(code);
        assert!(here != (elsewhere.contains(code) || OF_DOCUMENTS.contains(code)), "{code}");
    }
}
