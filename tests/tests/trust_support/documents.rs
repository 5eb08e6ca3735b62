//! A bank's trust policy with everybody in it, all that its host reads, and the way from there to an admission.

use serde_json::{Value, json};
use verdict_core::artifact::{AdmittedArtifact, UnverifiedArtifact, admit_in_channel, verify_statement};
use verdict_core::digest::Digest;
use verdict_core::dsse::Envelope;
use verdict_core::key::SecretKey;
use verdict_core::manifest::Manifest;
use verdict_core::refusal::Refusal;
use verdict_core::statement::{Approval, Attestation, MEDIA_TYPE, sign_manifest};
use verdict_core::time::Timestamp;
use verdict_core::trust::{
    Anchor, Basis, ChannelState, DataSnapshot, Release, Revocations, Roots, Seen, Share, SignedDocument,
    TRUST_PAYLOAD_TYPE, TrustPolicy, Which,
};
use verdict_registry::Layout;

use super::{COMPONENT, manifest_json, now};

pub(crate) const TESTS: &str = "https://in-toto.io/attestation/test-result/v0.1";
pub(crate) const CONTENT: &[u8] = br#"{"limits":{"loan":10000}}"#;

// Who is who. Every number is a key.
pub(crate) const ROOTS: [u8; 3] = [41, 42, 43];
pub(crate) const ALICE: u8 = 1; // author of acme/*
pub(crate) const ALICE_AS_APPROVER: u8 = 11;
pub(crate) const BOB: u8 = 2; // approver of acme/*
pub(crate) const BOB_AGAIN: u8 = 12;
pub(crate) const CAROL: u8 = 3; // approver of acme/*
pub(crate) const ERIN: u8 = 4; // approver of acme/pension
pub(crate) const FRED: u8 = 5; // approver since a time that is yet to come
pub(crate) const STAGER: u8 = 6; // approver and releaser in staging
pub(crate) const RITA: u8 = 7; // releaser of acme/*
pub(crate) const RON: u8 = 8; // releaser of acme/*
pub(crate) const RON_AGAIN: u8 = 18;
pub(crate) const DINA: u8 = 9; // signs the data of acme
pub(crate) const OTTO: u8 = 10; // everything, in tenant other
pub(crate) const VERA: u8 = 21; // revoker
pub(crate) const CI: u8 = 22; // attester of test results
pub(crate) const BUILDER: u8 = 23; // attester of provenance
pub(crate) const MALLORY: u8 = 99; // nobody

pub(crate) fn key(seed: u8) -> SecretKey {
    SecretKey::from_seed([seed; 32])
}

pub(crate) fn grant(person: &str, seed: u8, policies: &str) -> Value {
    json!({"person": person, "public": key(seed).public(), "policies": [policies]})
}

pub(crate) fn with(mut grant: Value, member: &str, value: Value) -> Value {
    grant[member] = value;
    grant
}

/// Two approvals, two releases and a passed test run for production; anything goes in staging.
pub(crate) fn trust_json(version: u64) -> Value {
    let roots: Vec<_> = ROOTS.iter().map(|seed| key(*seed).public()).collect();
    let staging = json!(["staging"]);
    json!({
        "format": "verdict-trust/1", "version": version, "expires": "2027-01-01T00:00:00.000Z",
        "root": {"keys": roots, "threshold": 2},
        "authors": [grant("alice", ALICE, "acme/*"), grant("otto", OTTO, "other/*")],
        "approvers": [
            grant("alice", ALICE_AS_APPROVER, "acme/*"),
            grant("bob", BOB, "acme/*"),
            grant("bob", BOB_AGAIN, "acme/*"),
            with(grant("carol", CAROL, "acme/*"), "not_after", json!("2026-11-01T00:00:00.000Z")),
            grant("erin", ERIN, "acme/pension"),
            with(grant("fred", FRED, "acme/*"), "not_before", json!("2026-09-01T00:00:00.000Z")),
            with(grant("stager", STAGER, "acme/*"), "channels", staging.clone()),
            grant("otto", OTTO, "other/*"),
        ],
        "releasers": [
            grant("rita", RITA, "acme/*"), grant("ron", RON, "acme/*"), grant("ron", RON_AGAIN, "acme/*"),
            with(grant("stager", STAGER, "acme/*"), "channels", staging), grant("otto", OTTO, "other/*"),
        ],
        "data_signers": [grant("dina", DINA, "acme/*"), grant("otto", OTTO, "other/*")],
        "revokers": [{"person": "vera", "public": key(VERA).public()}],
        "attesters": [
            with(grant("ci", CI, "acme/*"), "predicates", json!([TESTS])),
            with(grant("builder", BUILDER, "acme/*"), "predicates", json!(["https://slsa.dev/provenance/v1"])),
        ],
        "rules": [{"policies": ["acme/*"], "channels": ["production"], "approvals": 2, "releases": 2,
            "statements": [{"predicate": TESTS, "require": {"/result": "PASSED"}}]}],
    })
}

/// Signed by these keys, whatever it is.
pub(crate) fn envelope(payload_type: &str, payload: &Value, seeds: &[u8]) -> Vec<u8> {
    let mut envelope = Envelope::unsigned(payload_type, payload.to_string().into_bytes());
    seeds.iter().for_each(|seed| envelope.add_signature(&key(*seed)));
    envelope.render().into_bytes()
}

pub(crate) fn document<T: SignedDocument>(text: &Value, seeds: &[u8]) -> Vec<u8> {
    envelope(T::PAYLOAD_TYPE, text, seeds)
}

pub(crate) fn version(policy: &str, version: &str) -> Manifest {
    let mut text = manifest_json(policy);
    text["version"] = json!(version);
    Manifest::parse(text.to_string().as_bytes()).unwrap()
}

/// A signed layout on a disk, as a registry hands it out.
pub(crate) fn layout(manifest: &Manifest, author: u8) -> UnverifiedArtifact {
    let folder = tempfile::tempdir().unwrap();
    let layout = Layout::create(folder.path(), COMPONENT, &manifest.policy, &manifest.version).unwrap();
    let envelope = sign_manifest(manifest, layout.image_digest(), &key(author)).unwrap();
    layout.attach_statement(envelope.render().as_bytes()).unwrap();
    layout.fetch().unwrap()
}

pub(crate) fn statement_of(artifact: &UnverifiedArtifact) -> Digest {
    Digest::of(Envelope::parse(&artifact.statements[0]).unwrap().payload())
}

pub(crate) fn approval(artifact: &UnverifiedArtifact, of: &str, seeds: &[u8]) -> Vec<u8> {
    let approval =
        Approval { policy: "acme/loan".parse().unwrap(), version: of.parse().unwrap(), comment: None };
    attested(&approval.of(statement_of(artifact)), seeds)
}

pub(crate) fn test_run(artifact: &UnverifiedArtifact, result: &str, seeds: &[u8]) -> Vec<u8> {
    let statement = statement_of(artifact);
    let predicate = json!({"result": result, "configuration": []});
    attested(&Attestation { statement, predicate_type: TESTS.into(), predicate }, seeds)
}

pub(crate) fn attested(attestation: &Attestation, seeds: &[u8]) -> Vec<u8> {
    let payload: Value = serde_json::from_slice(&attestation.payload().unwrap()).unwrap();
    envelope(MEDIA_TYPE, &payload, seeds)
}

/// Approved by Bob and Carol, and tested.
pub(crate) fn released(of: &str) -> UnverifiedArtifact {
    let mut artifact = layout(&version("acme/loan", of), ALICE);
    artifact.statements.push(approval(&artifact, of, &[BOB]));
    artifact.statements.push(approval(&artifact, of, &[CAROL]));
    artifact.statements.push(test_run(&artifact, "PASSED", &[CI]));
    artifact
}

pub(crate) fn release_of(artifact: &UnverifiedArtifact, of: &str) -> Release {
    let (image, statement) = (Digest::of(&artifact.manifest_bytes), statement_of(artifact));
    Release { version: of.parse().unwrap(), image, statement }
}

pub(crate) fn state_json(artifact: &UnverifiedArtifact, of: &str, sequence: u64) -> Value {
    let share = Share::new(release_of(artifact, of), 100);
    json!({
        "format": "verdict-channel/1", "policy": "acme/loan", "channel": "production", "sequence": sequence,
        "issued": "2026-05-30T00:00:00.000Z", "expires": "2026-07-01T00:00:00.000Z",
        "versions": [share], "data": Digest::of(CONTENT),
    })
}

pub(crate) fn data_json(tenant: &str, sequence: u64, content: &[u8]) -> Value {
    json!({
        "format": "verdict-data/1", "tenant": tenant, "sequence": sequence, "issued": "2026-05-30T00:00:00.000Z",
        "expires": "2026-08-01T00:00:00.000Z", "digest": Digest::of(content), "bytes": content.len(),
    })
}

pub(crate) fn revocations_json(sequence: u64) -> Value {
    json!({
        "format": "verdict-revocations/1", "sequence": sequence, "issued": "2026-05-31T00:00:00.000Z",
        "expires": "2026-06-08T00:00:00.000Z",
    })
}

/// All that a host reads of what it does not trust, and the little that is its own: roots, what it has seen, its clock.
pub(crate) struct Case {
    pub(crate) trust: Vec<Vec<u8>>,
    pub(crate) revocations: Option<Vec<u8>>,
    pub(crate) state: Vec<u8>,
    pub(crate) data: Vec<u8>,
    pub(crate) content: Vec<u8>,
    pub(crate) artifact: UnverifiedArtifact,
    pub(crate) roots: Roots,
    pub(crate) seen: Seen,
    pub(crate) now: Timestamp,
}

impl Case {
    /// Version 1.3.0 is in production at sequence 7. The host has seen all of it before.
    pub(crate) fn good() -> Self {
        let artifact = released("1.3.0");
        let roots = Roots::new(ROOTS.iter().map(|seed| key(*seed).public()).collect(), 2).unwrap();
        let trust = [trust_json(4), trust_json(5)];
        let mut case = Self {
            trust: trust.iter().map(|text| envelope(TRUST_PAYLOAD_TYPE, text, &[41, 42])).collect(),
            revocations: Some(document::<Revocations>(&revocations_json(3), &[VERA])),
            state: document::<ChannelState>(&state_json(&artifact, "1.3.0", 7), &[RITA, RON]),
            data: document::<DataSnapshot>(&data_json("acme", 4, CONTENT), &[DINA]),
            content: CONTENT.to_vec(),
            artifact,
            roots,
            seen: Seen::default(),
            now: now(),
        };
        case.seen = case.served().unwrap().1;
        case
    }

    /// What a host does with all of it, from the pinned roots to an admission, and what it has seen then.
    pub(crate) fn served(&self) -> Result<(AdmittedArtifact, Seen), Refusal> {
        let (policy, channel) = ("acme/loan".parse().unwrap(), "production".parse().unwrap());
        let chain: Vec<_> = self.trust.iter().map(Vec::as_slice).collect();
        let trust = TrustPolicy::verify_signed(&chain, Anchor::Roots(&self.roots), &self.seen, self.now)?;
        let basis = Basis { trust: &trust, revocations: None, seen: &self.seen, now: self.now };
        let revocations =
            self.revocations.as_deref().map(|bytes| Revocations::verify(bytes, &basis)).transpose()?;
        let basis = Basis { revocations: revocations.as_ref(), ..basis };
        let state = ChannelState::verify(&self.state, &policy, &channel, &basis)?;
        let named = state.document().data.unwrap();
        let data = DataSnapshot::verify_named(&self.data, policy.tenant(), &named, &basis)?;
        data.document().check_content(&Digest::of(&self.content), self.content.len().try_into().unwrap())?;
        let statement = state.document().versions[0].statement;
        let verified = verify_statement(self.artifact.clone(), &statement, &trust, self.now)?;
        let admitted = admit_in_channel(verified, &state, Which::Share(0), Some(&data), &basis)?;
        let seen = self.seen.clone().note_trust_policy(&trust).note_document(&state).note_document(&data);
        let seen = revocations.iter().fold(seen, |seen, revocations| seen.note_document(revocations));
        Ok((admitted, seen.note_time(self.now)))
    }

    /// Another trust policy in place of the last, signed as it should be.
    pub(crate) fn trust(&mut self, change: impl FnOnce(&mut Value)) {
        let mut text = trust_json(6);
        change(&mut text);
        self.trust.push(envelope(TRUST_PAYLOAD_TYPE, &text, &[41, 42]));
    }

    /// Another state, by these releasers, with the next sequence.
    pub(crate) fn state_by(&mut self, seeds: &[u8], change: impl FnOnce(&mut Value)) {
        let mut text = state_json(&self.artifact, "1.3.0", 8);
        change(&mut text);
        self.state = document::<ChannelState>(&text, seeds);
    }

    pub(crate) fn data_by(&mut self, seeds: &[u8], change: impl FnOnce(&mut Value)) {
        let mut text = data_json("acme", 5, CONTENT);
        change(&mut text);
        self.data = document::<DataSnapshot>(&text, seeds);
    }

    pub(crate) fn revoke(&mut self, member: &str, value: Value) {
        let mut text = revocations_json(4);
        text[member] = json!([value]);
        self.revocations = Some(document::<Revocations>(&text, &[VERA]));
    }

    /// Another artifact under a properly signed state.
    pub(crate) fn promote(&mut self, artifact: UnverifiedArtifact) {
        self.artifact = artifact;
        self.state_by(&[RITA, RON], |_| {});
    }

    /// These approvals and this test run in place of the good ones.
    pub(crate) fn approved_by(&mut self, seeds: &[u8]) {
        self.artifact.statements.drain(1..3);
        let approvals = seeds.iter().map(|seed| approval(&self.artifact, "1.3.0", &[*seed]));
        let approvals: Vec<_> = approvals.collect();
        self.artifact.statements.extend(approvals);
    }

    /// The statement of the author about the same image with something else in the manifest.
    pub(crate) fn says(&mut self, change: impl FnOnce(&mut Value)) -> Vec<u8> {
        let payload = Envelope::parse(&self.artifact.statements[0]).unwrap().payload().to_vec();
        let mut text: Value = serde_json::from_slice(&payload).unwrap();
        change(&mut text["predicate"]);
        envelope(MEDIA_TYPE, &text, &[ALICE])
    }
}

pub(crate) fn unsign(envelope: &[u8]) -> Vec<u8> {
    let mut text: Value = serde_json::from_slice(envelope).unwrap();
    text["signatures"] = json!([]);
    text.to_string().into_bytes()
}

/// The envelope with another payload under the old signatures.
pub(crate) fn edit(envelope: &[u8], from: &str, to: &str) -> Vec<u8> {
    let payload = String::from_utf8(Envelope::parse(envelope).unwrap().payload().to_vec()).unwrap();
    let changed: Value = serde_json::from_str(&payload.replace(from, to)).unwrap();
    assert!(payload.contains(from), "{payload} has no {from}");
    let kind = Envelope::parse(envelope).unwrap().payload_type().to_owned();
    let mut text: Value = serde_json::from_slice(envelope).unwrap();
    let other: Value = serde_json::from_slice(&self::envelope(&kind, &changed, &[MALLORY])).unwrap();
    text["payload"] = other["payload"].clone();
    text.to_string().into_bytes()
}

pub(crate) fn add_signature(bytes: &[u8], seed: u8) -> Vec<u8> {
    let mut envelope = Envelope::parse(bytes).unwrap();
    envelope.add_signature(&key(seed));
    envelope.render().into_bytes()
}
