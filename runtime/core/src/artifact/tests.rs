use super::*;
use crate::key::SecretKey;
use crate::name::{ChannelName, PolicyName};
use crate::oci::{self, World};
use crate::statement::{Approval, Attestation, sign_manifest};
use crate::trust::{
    Author, ChannelState, DataSnapshot, Grant, Release, Rule, Share, SignedDocument, Verified, Which,
};
use semver::Version;
use serde_json::json;

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
    let image = oci::Image::new(COMPONENT, World::default(), &manifest.policy, &manifest.version).unwrap();
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
        artifact.statements.push(sign_manifest(&other, digest, &key(seed)).unwrap().render().into_bytes());
        code(verify(artifact, &trust(), now()))
    };
    assert_eq!(with_another_by(9), None);
    assert_eq!(with_another_by(3), None);
    assert_eq!(with_another_by(2), Some(RefusalCode::AmbiguousStatement));
}

#[test]
fn what_was_verified_is_checked_again_when_it_is_admitted() {
    let verified = || verify(artifact(&manifest("loan", "1.1.0"), &[2]), &trust(), now()).unwrap();
    let admit = |trust: &TrustPolicy, now: &str| code(admit(verified(), trust, &Seen::default(), time(now)));
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
        channel: None,
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

/// Alice is an author, Bob and Carol approve and release, `ci` says what the tests came to. Production takes two
/// approvals, one release and a passed test run.
fn strict() -> TrustPolicy {
    let grant = |person: &str, seed: u8, not_after: Option<&str>| Grant {
        policies: vec!["default/*".parse().unwrap()],
        not_after: not_after.map(time),
        ..Grant::new(person, key(seed).public())
    };
    let rule = json!([{"policies": ["default/*"], "channels": ["production"], "approvals": 2, "statements": [
        {"predicate": "urn:tests", "require": {"/result": "PASSED"}}]}]);
    let approvers = vec![
        grant("bob", 21, Some("2026-10-01T00:00:00Z")),
        grant("carol", 22, Some("2026-11-01T00:00:00Z")),
        grant("dan", 23, Some("2026-09-15T00:00:00Z")),
        grant("bob", 24, None),
        grant("alice", 1, None),
        grant("alice", 25, None),
    ];
    TrustPolicy::new(
        2,
        time("2027-01-01T00:00:00Z"),
        vec![Author { person: "alice".into(), ..author(1, "default/*", None) }],
    )
    .and_then(|trust| trust.with_grants(Role::Approver, approvers))
    .and_then(|trust| trust.with_grants(Role::Releaser, vec![grant("carol", 22, None)]))
    .and_then(|trust| trust.with_grants(Role::Attester, vec![grant("ci", 31, Some("2026-12-01T00:00:00Z"))]))
    .and_then(|trust| trust.with_rules(serde_json::from_value::<Vec<Rule>>(rule).unwrap()))
    .unwrap()
}

fn approve(artifact: &mut UnverifiedArtifact, seeds: &[u8]) {
    let statement = statement_digest(artifact);
    let approval =
        Approval { policy: "loan".parse().unwrap(), version: Version::new(1, 1, 0), comment: None };
    for seed in seeds {
        let envelope = approval.clone().of(statement).sign(&key(*seed)).unwrap();
        artifact.statements.push(envelope.render().into_bytes());
    }
}

fn test_run(artifact: &mut UnverifiedArtifact, result: &str) {
    let statement = statement_digest(artifact);
    let run =
        Attestation { statement, predicate_type: "urn:tests".into(), predicate: json!({"result": result}) };
    artifact.statements.push(run.sign(&key(31)).unwrap().render().into_bytes());
}

fn statement_digest(artifact: &UnverifiedArtifact) -> Digest {
    Digest::of(Envelope::parse(&artifact.statements[0]).unwrap().payload())
}

fn approved(seeds: &[u8]) -> UnverifiedArtifact {
    let mut artifact = artifact(&manifest("loan", "1.1.0"), &[1]);
    approve(&mut artifact, seeds);
    test_run(&mut artifact, "PASSED");
    artifact
}

fn production(artifact: &UnverifiedArtifact) -> ChannelState {
    let release = Release {
        version: Version::new(1, 1, 0),
        image: Digest::of(&artifact.manifest_bytes),
        statement: statement_digest(artifact),
    };
    ChannelState {
        policy: "loan".parse().unwrap(),
        channel: "production".parse().unwrap(),
        sequence: 7,
        issued: time("2026-05-01T00:00:00Z"),
        expires: time("2026-12-24T00:00:00Z"),
        versions: vec![Share::new(release, 1)],
        shadow: None,
        sticky: None,
        data: None,
        guard: None,
    }
}

fn verified_state(state: &ChannelState, trust: &TrustPolicy) -> Verified<ChannelState> {
    let envelope = state.sign(&key(22)).unwrap().render();
    let basis = Basis { trust, revocations: None, seen: &Seen::default(), now: now() };
    ChannelState::verify(envelope.as_bytes(), &state.policy, &state.channel, &basis).unwrap()
}

fn in_production(artifact: UnverifiedArtifact) -> Result<AdmittedArtifact, Refusal> {
    let trust = strict();
    let state = verified_state(&production(&artifact), &trust);
    let basis = Basis { trust: &trust, revocations: None, seen: &Seen::default(), now: now() };
    admit_in_channel(verify(artifact, &trust, now())?, &state, Which::Share(0), None, &basis)
}

#[test]
fn approvals_count_people_and_none_of_them_an_author() {
    assert_eq!(code(in_production(approved(&[21, 22]))), None);
    assert_eq!(code(in_production(approved(&[22, 24]))), None);
    for seeds in [&[][..], &[21], &[21, 21], &[21, 24], &[21, 1], &[21, 25], &[1, 25], &[21, 9], &[22, 31]] {
        assert_eq!(code(in_production(approved(seeds))), Some(RefusalCode::NotApproved), "{seeds:?}");
    }
    let message = in_production(approved(&[21, 25])).unwrap_err().message;
    assert!(message.contains("approved by `bob`; another does not count: `alice` signed"), "{message}");
}

#[test]
fn an_admission_ends_when_too_few_approvers_are_left() {
    let until = |seeds: &[u8]| in_production(approved(seeds)).unwrap().until();
    // The attester's key is the first to go, unless an approver's is.
    assert_eq!(until(&[21, 22]), time("2026-10-01T00:00:00Z"));
    assert_eq!(until(&[21, 22, 23]), time("2026-10-01T00:00:00Z"));
    assert_eq!(until(&[22, 24]), time("2026-11-01T00:00:00Z"));
    assert_eq!(until(&[21, 24, 22]), time("2026-11-01T00:00:00Z"));
    assert_eq!(until(&[22, 23]), time("2026-09-15T00:00:00Z"));
}

#[test]
fn a_folder_takes_what_any_channel_takes() {
    let trust = strict();
    let in_folder = |artifact| {
        let verified = verify(artifact, &trust, now())?;
        admit(verified, &trust, &Seen::default(), now())
    };
    assert_eq!(code(in_folder(approved(&[21, 22]))), None);
    assert_eq!(code(in_folder(approved(&[21]))), Some(RefusalCode::NotApproved));
    let staging = |artifact: UnverifiedArtifact| {
        let channel: ChannelName = "staging".parse().unwrap();
        let state = verified_state(&ChannelState { channel, ..production(&artifact) }, &trust);
        let basis = Basis { trust: &trust, revocations: None, seen: &Seen::default(), now: now() };
        admit_in_channel(verify(artifact, &trust, now())?, &state, Which::Share(0), None, &basis)
    };
    assert_eq!(code(staging(artifact(&manifest("loan", "1.1.0"), &[1]))), None);
}

#[test]
fn a_required_statement_must_be_there_and_say_what_the_rule_says() {
    let mut without = artifact(&manifest("loan", "1.1.0"), &[1]);
    approve(&mut without, &[21, 22]);
    let with = |result: &str| {
        let mut artifact = without.clone();
        test_run(&mut artifact, result);
        code(in_production(artifact))
    };
    assert_eq!(code(in_production(without.clone())), Some(RefusalCode::MissingStatement));
    assert_eq!((with("FAILED"), with("PASSED")), (Some(RefusalCode::MissingStatement), None));
}

#[test]
fn a_channel_goes_back_where_a_folder_does_not() {
    let trust = strict();
    let artifact = approved(&[21, 22]);
    let name: PolicyName = "loan".parse().unwrap();
    let seen = Seen::default().note(&name, Version::new(9, 0, 0));
    let basis = Basis { trust: &trust, revocations: None, seen: &seen, now: now() };
    let verified = || verify(artifact.clone(), &trust, now()).unwrap();
    assert_eq!(code(admit_on(verified(), &basis)), Some(RefusalCode::VersionRollback));
    let state = verified_state(&production(&artifact), &trust);
    assert_eq!(code(admit_in_channel(verified(), &state, Which::Share(0), None, &basis)), None);
}

#[test]
fn a_channel_names_one_statement_and_other_authors_cannot_spoil_it() {
    let trust = trust();
    let signed = artifact(&manifest("loan", "1.1.0"), &[1]);
    let statement = statement_digest(&signed);
    let mut other = manifest("loan", "1.1.0");
    other.description = "something else".into();
    let mut spoilt = signed.clone();
    let image = Digest::of(&signed.manifest_bytes);
    spoilt.statements.push(sign_manifest(&other, image, &key(2)).unwrap().render().into_bytes());
    assert_eq!(code(verify(spoilt.clone(), &trust, now())), Some(RefusalCode::AmbiguousStatement));
    let verified = verify_statement(spoilt.clone(), &statement, &trust, now()).unwrap();
    assert_eq!(verified.statement_digest(), statement);
    let absent = Digest::of(b"absent");
    assert_eq!(code(verify_statement(spoilt, &absent, &trust, now())), Some(RefusalCode::Unsigned));
}

#[test]
fn a_channel_names_policy_version_image_and_statement() {
    let trust = strict();
    let artifact = approved(&[21, 22]);
    let refused = |change: fn(&mut ChannelState), which| {
        let mut state = production(&artifact);
        change(&mut state);
        let state = verified_state(&state, &trust);
        let basis = Basis { trust: &trust, revocations: None, seen: &Seen::default(), now: now() };
        let verified = verify(artifact.clone(), &trust, now()).unwrap();
        code(admit_in_channel(verified, &state, which, None, &basis))
    };
    assert_eq!(refused(|_| {}, Which::Share(0)), None);
    assert_eq!(refused(|state| state.shadow = Some(state.versions[0].release()), Which::Shadow), None);
    let changes: [fn(&mut ChannelState); 4] = [
        |state| state.policy = "default/other".parse().unwrap(),
        |state| state.versions[0].version = Version::new(1, 1, 1),
        |state| state.versions[0].image = Digest::of(b"another"),
        |state| state.versions[0].statement = Digest::of(b"another"),
    ];
    for change in changes {
        assert_eq!(refused(change, Which::Share(0)), Some(RefusalCode::NotReleased));
    }
    for which in [Which::Share(1), Which::Shadow] {
        assert_eq!(refused(|_| {}, which), Some(RefusalCode::NotReleased));
    }
}

#[test]
fn the_data_of_another_tenant_is_not_admitted_with_a_policy() {
    let signer = |policies: &str| Grant {
        policies: vec![policies.parse().unwrap()],
        ..Grant::new("dina", key(26).public())
    };
    let trust = strict().with_grants(Role::DataSigner, vec![signer("default/*"), signer("acme/*")]).unwrap();
    let artifact = approved(&[21, 22]);
    let basis = Basis { trust: &trust, revocations: None, seen: &Seen::default(), now: now() };
    let admitted = |tenant: &str, named: Option<Digest>| {
        let snapshot = DataSnapshot {
            tenant: tenant.parse().unwrap(),
            sequence: 1,
            issued: time("2026-05-01T00:00:00Z"),
            expires: time("2026-07-01T00:00:00Z"),
            digest: Digest::of(b"{}"),
            bytes: 2,
        };
        let envelope = snapshot.sign(&key(26)).unwrap().render();
        let data = DataSnapshot::verify(envelope.as_bytes(), &snapshot.tenant, &basis).unwrap();
        let state = verified_state(&ChannelState { data: named, ..production(&artifact) }, &trust);
        let verified = verify(artifact.clone(), &trust, now()).unwrap();
        admit_in_channel(verified, &state, Which::Share(0), Some(&data), &basis)
    };
    for named in [None, Some(Digest::of(b"{}"))] {
        assert_eq!(admitted("default", named).unwrap().until(), time("2026-07-01T00:00:00Z"));
        assert_eq!(code(admitted("acme", named)), Some(RefusalCode::WrongData));
    }
    assert_eq!(code(admitted("default", Some(Digest::of(b"[]")))), Some(RefusalCode::WrongData));
}

#[test]
fn a_person_counts_as_long_as_the_best_of_their_keys() {
    let mut artifact = approved(&[22]);
    let statement = statement_digest(&artifact);
    let approval =
        Approval { policy: "loan".parse().unwrap(), version: Version::new(1, 1, 0), comment: None };
    let mut envelope = approval.of(statement).sign(&key(21)).unwrap();
    envelope.add_signature(&key(24));
    artifact.statements.push(envelope.render().into_bytes());
    assert_eq!(in_production(artifact).unwrap().until(), time("2026-11-01T00:00:00Z"));
}

#[test]
fn an_approval_of_another_statement_of_the_same_version_does_not_count() {
    let mut artifact = approved(&[21]);
    let approval =
        Approval { policy: "loan".parse().unwrap(), version: Version::new(1, 1, 0), comment: None };
    let other = approval.of(Digest::of(b"another")).sign(&key(22)).unwrap();
    artifact.statements.push(other.render().into_bytes());
    assert_eq!(code(in_production(artifact)), Some(RefusalCode::NotApproved));
}
