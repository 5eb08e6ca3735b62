use super::*;
use crate::digest::Digest;
use crate::dsse::Envelope;
use crate::key::SecretKey;
use crate::time::Timestamp;
use semver::Version;
use serde_json::{Value, json};

pub(super) fn time(text: &str) -> Timestamp {
    text.parse().unwrap()
}

pub(super) fn key(seed: u8) -> SecretKey {
    SecretKey::from_seed([seed; 32])
}

/// A trust policy with everything in it.
pub(super) fn trust_json() -> Value {
    let public = |seed: u8| key(seed).public().to_string();
    json!({
        "format": "verdict-trust/1", "version": 3, "expires": "2027-01-01T00:00:00.000Z",
        "root": {"keys": [public(41), public(42), public(43)], "threshold": 2},
        "authors": [{"person": "alice", "public": public(1), "policies": ["bank/*"]}],
        "approvers": [{"person": "bob", "public": public(2), "policies": ["bank/*"], "channels": ["production"]}],
        "releasers": [
            {"person": "rita", "public": public(3), "policies": ["bank/*"], "not_after": "2026-09-01T00:00:00.000Z"},
            {"person": "ron", "public": public(4), "policies": ["bank/*"]},
            {"person": "ron", "public": public(5), "policies": ["bank/*"]},
        ],
        "data_signers": [{"person": "carol", "public": public(6), "policies": ["bank/*"]}],
        "revokers": [{"person": "dave", "public": public(7)}, {"person": "dora", "public": public(8)}],
        "attesters": [{"person": "ci", "public": public(9), "policies": ["bank/*"], "predicates": ["urn:tests"]}],
        "rules": [{"policies": ["bank/*"], "channels": ["production"], "approvals": 1, "releases": 2,
            "statements": [{"predicate": "urn:tests", "require": {"/result": "PASSED"}}]}],
    })
}

fn now() -> Timestamp {
    time("2026-06-01T00:00:00Z")
}

fn policy() -> TrustPolicy {
    TrustPolicy::parse(trust_json().to_string().as_bytes()).unwrap()
}

fn code<T>(result: Result<T, Refusal>) -> Option<RefusalCode> {
    result.err().map(|refusal| refusal.code)
}

fn roots(seeds: &[u8], threshold: u32) -> Roots {
    Roots::new(seeds.iter().map(|seed| key(*seed).public()).collect(), threshold).unwrap()
}

/// Version `version`, which names these root keys, signed by those.
fn link(version: u64, names: &Roots, signed_by: &[u8]) -> Vec<u8> {
    let policy = policy().renewed(version, policy().expires()).unwrap().with_root(names.clone());
    let mut envelope = policy.sign(&key(signed_by[0])).unwrap();
    signed_by.iter().for_each(|seed| envelope.add_signature(&key(*seed)));
    envelope.render().into_bytes()
}

fn chain(links: &[Vec<u8>], from: Anchor<'_>, seen: &Seen) -> Result<TrustPolicy, Refusal> {
    let links: Vec<_> = links.iter().map(Vec::as_slice).collect();
    TrustPolicy::verify_signed(&links, from, seen, now())
}

#[test]
fn a_chain_leads_from_the_pinned_roots_to_new_ones() {
    let (first, second) = (roots(&[41, 42, 43], 2), roots(&[51, 52], 1));
    let links = [link(4, &first, &[41, 43]), link(5, &second, &[42, 43, 51]), link(6, &second, &[52])];
    let last = chain(&links, Anchor::Roots(&first), &Seen::default()).unwrap();
    assert_eq!((last.version(), last.root()), (6, Some(&second)));
    assert!(last.digest().is_some());
    // Kept by the host, it stands for the chain that led to it.
    let seen = Seen::default().note_trust_policy(&last);
    assert_eq!(chain(&[], Anchor::Policy(&last), &seen).unwrap(), last);
    let next = [link(7, &second, &[51])];
    assert_eq!(chain(&next, Anchor::Policy(&last), &seen).unwrap().version(), 7);
    assert_eq!(chain(&links, Anchor::Roots(&first), &seen).unwrap(), last);
}

#[test]
fn a_chain_that_breaks_is_refused() {
    let (first, second) = (roots(&[41, 42, 43], 2), roots(&[51, 52], 2));
    let good = || vec![link(4, &first, &[41, 42]), link(5, &second, &[41, 42, 51, 52])];
    let refused = |links: &[Vec<u8>]| code(chain(links, Anchor::Roots(&first), &Seen::default()));
    assert_eq!(refused(&good()), None);
    let few = Some(RefusalCode::TooFewSigners);
    assert_eq!(refused(&[link(4, &first, &[41])]), few);
    assert_eq!(refused(&[link(4, &first, &[41, 41])]), few);
    assert_eq!(refused(&[link(4, &first, &[41, 51])]), few);
    assert_eq!(refused(&[link(4, &first, &[41, 42]), link(5, &second, &[51, 52])]), few);
    assert_eq!(refused(&[link(4, &first, &[41, 42]), link(5, &second, &[41, 42, 51])]), few);
    let gap = Some(RefusalCode::TrustGap);
    assert_eq!(refused(&[link(4, &first, &[41, 42]), link(6, &first, &[41, 42])]), gap);
    assert_eq!(refused(&[link(4, &first, &[41, 42]), link(4, &first, &[41, 42])]), gap);
    assert_eq!(refused(&[good(), good()].concat()), few);
    assert_eq!(refused(&[]), Some(RefusalCode::Unsigned));
    assert_eq!(refused(&vec![Vec::new(); CHAIN_MAX + 1]), Some(RefusalCode::TooLarge));
}

#[test]
fn root_keys_that_were_retired_cannot_sign_what_comes_after_what_was_seen() {
    let (first, second) = (roots(&[41, 42], 2), roots(&[51, 52], 2));
    let links = [link(4, &first, &[41, 42]), link(5, &second, &[41, 42, 51, 52])];
    let last = chain(&links, Anchor::Roots(&first), &Seen::default()).unwrap();
    let seen = Seen::default().note_trust_policy(&last);
    let refused = |links: &[Vec<u8>]| code(chain(links, Anchor::Roots(&first), &seen));
    assert_eq!(refused(&[link(6, &first, &[41, 42])]), Some(RefusalCode::TrustGap));
    let beside = [link(4, &first, &[41, 42]), link(5, &first, &[41, 42]), link(6, &first, &[41, 42])];
    assert_eq!(refused(&beside), Some(RefusalCode::Equivocation));
    assert_eq!(refused(&links[..1]), Some(RefusalCode::TrustRollback));
    // A plain file said nothing of who signs the next version.
    let plain = Seen::default().note_trust(5);
    assert_eq!(code(chain(&[link(6, &first, &[41, 42])], Anchor::Roots(&first), &plain)), None);
    let after = link(6, &first, &[41, 42]);
    assert_eq!(code(chain(&[after], Anchor::Policy(&last), &seen)), Some(RefusalCode::TooFewSigners));
}

#[test]
fn a_signed_trust_policy_names_its_roots_and_the_last_must_not_have_expired() {
    let first = roots(&[41], 1);
    let mut rootless = trust_json();
    rootless.as_object_mut().unwrap().remove("root");
    let payload = rootless.to_string().into_bytes();
    let envelope = Envelope::sign(TRUST_PAYLOAD_TYPE, payload.clone(), &key(41)).render().into_bytes();
    let refused = |links: &[Vec<u8>]| code(chain(links, Anchor::Roots(&first), &Seen::default()));
    assert_eq!(refused(&[envelope]), Some(RefusalCode::MalformedTrust));
    let envelope = Envelope::sign("application/json", payload, &key(41)).render().into_bytes();
    assert_eq!(refused(&[envelope]), Some(RefusalCode::WrongDocument));
    let links = [link(4, &first, &[41]), link(5, &first, &[41])];
    let links: Vec<_> = links.iter().map(Vec::as_slice).collect();
    let late =
        TrustPolicy::verify_signed(&links, Anchor::Roots(&first), &Seen::default(), policy().expires());
    assert_eq!(code(late), Some(RefusalCode::TrustExpired));
}

#[test]
fn a_roots_file_is_read_as_it_was_written_and_its_threshold_can_be_met() {
    let file = roots(&[41, 42], 2);
    assert_eq!(Roots::parse(file.render().as_bytes()).unwrap(), file);
    let (first, second) = (key(41).public().to_string(), key(42).public().to_string());
    for (from, to) in [
        ("roots/1", "roots/2"),
        ("\"threshold\": 2", "\"threshold\": 0"),
        ("\"threshold\": 2", "\"threshold\": 3"),
        ("\"threshold\"", "\"surprise\": 1, \"threshold\""),
        (first.as_str(), second.as_str()),
    ] {
        let changed = file.render().replace(from, to);
        assert_ne!(changed, file.render());
        assert_eq!(
            code(Roots::parse(changed.as_bytes())),
            Some(RefusalCode::MalformedTrust),
            "{from} -> {to}"
        );
    }
    assert!(Roots::new((0..17).map(|seed| key(seed).public()).collect(), 1).is_err());
}

fn revocations(sequence: u64, keys: &[u8]) -> Revocations {
    Revocations {
        sequence,
        issued: time("2026-05-01T00:00:00Z"),
        expires: time("2026-06-02T00:00:00Z"),
        keys: keys.iter().map(|seed| key(*seed).public()).collect(),
        versions: [RevokedVersion { policy: "bank/loan".parse().unwrap(), version: Version::new(1, 2, 0) }]
            .into(),
        digests: [Digest::of(b"component")].into(),
    }
}

fn state() -> ChannelState {
    let release =
        Release { version: Version::new(1, 0, 0), image: Digest::of(b"a"), statement: Digest::of(b"b") };
    ChannelState {
        policy: "bank/loan".parse().unwrap(),
        channel: "production".parse().unwrap(),
        sequence: 7,
        issued: time("2026-06-01T00:05:00.000Z"),
        expires: time("2026-12-01T00:00:00Z"),
        versions: vec![Share::new(release, 1)],
        shadow: None,
        sticky: None,
        data: None,
        guard: None,
    }
}

fn signed(document: &impl SignedDocument, seeds: &[u8]) -> Vec<u8> {
    let mut envelope = document.sign(&key(seeds[0])).unwrap();
    seeds.iter().for_each(|seed| envelope.add_signature(&key(*seed)));
    envelope.render().into_bytes()
}

#[test]
fn revocations_are_read_as_they_were_written() {
    for revocations in [revocations(1, &[1, 2]), Revocations { versions: [].into(), ..revocations(2, &[]) }] {
        assert_eq!(Revocations::parse(&revocations.payload().unwrap()).unwrap(), revocations);
    }
    let many = Revocations { keys: vec![key(1).public(); 10_001], ..revocations(1, &[]) };
    assert!(many.payload().unwrap_err().to_string().contains("10001 revoked keys"));
}

#[test]
fn nothing_is_accepted_without_revocations_that_hold_but_revocations() {
    let (policy, seen) = (policy(), Seen::default());
    let basis = Basis { trust: &policy, revocations: None, seen: &seen, now: now() };
    assert_eq!(code(basis.check()), Some(RefusalCode::RevocationsMissing));
    let revocations = Revocations::verify(&signed(&revocations(1, &[]), &[7]), &basis).unwrap();
    let basis = Basis { revocations: Some(&revocations), ..basis };
    assert_eq!(code(basis.check()), None);
    let brief =
        Grant { not_after: Some(time("2026-06-01T12:00:00Z")), ..Grant::new("dave", key(7).public()) };
    let brief = policy.clone().with_grants(Role::Revoker, vec![brief]).unwrap();
    let until = |trust| Basis { trust, ..basis }.until().unwrap();
    assert_eq!((until(&policy), until(&brief)), (time("2026-06-02T00:00:00Z"), time("2026-06-01T12:00:00Z")));
    let late = Basis { now: time("2026-06-02T00:00:00Z"), ..basis };
    assert_eq!(code(late.check()), Some(RefusalCode::DocumentExpired));
    let renewed = Revocations { expires: time("2026-07-01T00:00:00Z"), ..self::revocations(2, &[]) };
    assert_eq!(code(Revocations::verify(&signed(&renewed, &[7]), &late)), None);
    let seen = Seen::default().note_document(&Revocations::verify(&signed(&renewed, &[7]), &late).unwrap());
    assert_eq!(code(Basis { seen: &seen, ..basis }.check()), Some(RefusalCode::DocumentRollback));
}

#[test]
fn a_revoked_revoker_signs_nothing_more() {
    let (policy, seen) = (policy(), Seen::default());
    let basis = Basis { trust: &policy, revocations: None, seen: &seen, now: now() };
    let verify = |revocations: &Revocations, seeds: &[u8], basis: &Basis<'_>| {
        Revocations::verify(&signed(revocations, seeds), basis)
    };
    // Dave is revoked by his own word alone, which is then not worth anything, or by Dora's.
    assert_eq!(code(verify(&revocations(1, &[7]), &[7], &basis)), Some(RefusalCode::KeyRevoked));
    let first = verify(&revocations(1, &[7]), &[7, 8], &basis).unwrap();
    assert_eq!(first.signers().len(), 1);
    let after = Basis { revocations: Some(&first), ..basis };
    assert_eq!(code(verify(&revocations(2, &[]), &[7], &after)), Some(RefusalCode::KeyRevoked));
    assert_eq!(code(verify(&revocations(2, &[]), &[8], &after)), None);
}

#[test]
fn a_channel_state_takes_its_releasers_and_ends_with_them() {
    let (policy, seen) = (policy(), Seen::default());
    let basis = Basis { trust: &policy, revocations: None, seen: &seen, now: now() };
    let none = Revocations::verify(&signed(&revocations(1, &[]), &[7]), &basis).unwrap();
    let basis = Basis { revocations: Some(&none), ..basis };
    let verify = |seeds: &[u8], basis: &Basis<'_>| {
        let state = state();
        ChannelState::verify(&signed(&state, seeds), &state.policy, &state.channel, basis)
    };
    let verified = verify(&[3, 4, 99], &basis).unwrap();
    assert_eq!((verified.until(), verified.signers().len()), (time("2026-09-01T00:00:00Z"), 2));
    assert_eq!(code(verify(&[3], &basis)), Some(RefusalCode::TooFewSigners));
    assert_eq!(code(verify(&[4, 5], &basis)), Some(RefusalCode::TooFewSigners));
    assert_eq!(code(verify(&[1, 2], &basis)), Some(RefusalCode::UnknownSigner));
    let revoked = Revocations::verify(&signed(&revocations(2, &[3]), &[7]), &basis).unwrap();
    let basis = Basis { revocations: Some(&revoked), ..basis };
    assert_eq!(code(verify(&[3, 4], &basis)), Some(RefusalCode::TooFewSigners));
    assert_eq!(code(verify(&[3], &basis)), Some(RefusalCode::KeyRevoked));
}

#[test]
fn a_document_from_the_future_is_refused_beyond_the_tolerance() {
    let (policy, seen) = (policy().with_grants(Role::Revoker, Vec::new()).unwrap(), Seen::default());
    let verify = |now: &str| {
        let (state, now) = (state(), time(now));
        let basis = Basis { trust: &policy, revocations: None, seen: &seen, now };
        code(ChannelState::verify(&signed(&state, &[3, 4]), &state.policy, &state.channel, &basis))
    };
    assert_eq!(verify("2026-06-01T00:00:00.000Z"), None);
    assert_eq!(verify("2026-05-31T23:59:59.999Z"), Some(RefusalCode::DocumentNotYetValid));
}

#[test]
fn a_data_snapshot_goes_back_only_where_a_channel_names_it() {
    let snapshot = |sequence, content: &[u8]| DataSnapshot {
        tenant: "bank".parse().unwrap(),
        sequence,
        issued: time("2026-05-01T00:00:00Z"),
        expires: time("2026-07-01T00:00:00Z"),
        digest: Digest::of(content),
        bytes: 3,
    };
    let policy = policy().with_grants(Role::Revoker, Vec::new()).unwrap();
    let tenant = "bank".parse().unwrap();
    let fresh = Seen::default();
    let basis = Basis { trust: &policy, revocations: None, seen: &fresh, now: now() };
    let new = DataSnapshot::verify(&signed(&snapshot(4, b"new"), &[6]), &tenant, &basis).unwrap();
    assert_eq!(code(new.document().check_content(&Digest::of(b"new"), 3)), None);
    assert_eq!(code(new.document().check_content(&Digest::of(b"new"), 4)), Some(RefusalCode::WrongData));
    assert_eq!(code(new.document().check_content(&Digest::of(b"old"), 3)), Some(RefusalCode::WrongData));
    let seen = Seen::default().note_document(&new);
    let basis = Basis { seen: &seen, ..basis };
    let old = signed(&snapshot(3, b"old"), &[6]);
    assert_eq!(code(DataSnapshot::verify(&old, &tenant, &basis)), Some(RefusalCode::DocumentRollback));
    let named =
        |content: &[u8]| code(DataSnapshot::verify_named(&old, &tenant, &Digest::of(content), &basis));
    assert_eq!((named(b"old"), named(b"new")), (None, Some(RefusalCode::WrongData)));
    let bytes = DataSnapshot { bytes: 0, ..snapshot(1, b"") };
    assert!(bytes.payload().is_err());
}
