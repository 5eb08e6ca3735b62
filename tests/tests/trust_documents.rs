//! The attacker who can write everything that is stored: artifacts, tags, database, every signed document. And the
//! thief of one key, and the insider with one role. One row for each thing that they try, and the code with which a
//! host refuses it. All keys, envelopes and artifacts are real.

mod trust_support;

use semver::Version;
use serde_json::{Value, json};
use verdict_core::artifact::{UnverifiedArtifact, admit_on};
use verdict_core::digest::Digest;
use verdict_core::dsse::{ENVELOPE_BYTES_MAX, Envelope};
use verdict_core::refusal::RefusalCode;
use verdict_core::statement::{MEDIA_TYPE, Statement};
use verdict_core::trust::{
    Anchor, Basis, ChannelState, DataSnapshot, Revocations, RevokedVersion, Seen, SignedDocument,
    TRUST_PAYLOAD_TYPE, TrustPolicy,
};

use trust_support::documents::*;
use trust_support::{COMPONENT, now, time};

type Change = fn(&mut Case);
type Attack = (&'static str, RefusalCode, Change);

/// Who can write what is stored, and has no key.
const STORAGE: &[Attack] = &[
    ("the component swapped", RefusalCode::DigestMismatch, |case| case.artifact.component[20] ^= 1),
    ("the config swapped", RefusalCode::DigestMismatch, |case| case.artifact.config = b"{}".to_vec()),
    ("the tag swapped to an older, approved version", RefusalCode::Unsigned, |case| {
        case.artifact = released("1.2.0");
    }),
    ("the tag swapped to an unapproved version", RefusalCode::Unsigned, |case| {
        case.artifact = layout(&version("acme/loan", "1.4.0"), ALICE);
    }),
    ("the tag swapped to a version of another tenant", RefusalCode::Unsigned, |case| {
        case.artifact = layout(&version("other/loan", "1.3.0"), OTTO);
    }),
    ("the image swapped under the right statement", RefusalCode::WrongSubject, |case| {
        let statements = std::mem::take(&mut case.artifact.statements);
        case.artifact = UnverifiedArtifact { statements, ..released("1.2.0") };
    }),
    ("the image named as another media type", RefusalCode::WrongMediaType, |case| {
        let text = String::from_utf8(case.artifact.manifest_bytes.clone()).unwrap();
        let other = text.replace("application/wasm", "application/vnd.oci.image.layer.v1.tar");
        case.artifact.manifest_bytes = other.into_bytes();
    }),
    ("the statement removed", RefusalCode::Unsigned, |case| drop(case.artifact.statements.remove(0))),
    ("the author's signature stripped", RefusalCode::Unsigned, |case| {
        case.artifact.statements[0] = unsign(&case.artifact.statements[0]);
    }),
    ("the manifest edited to grant more data", RefusalCode::Unsigned, |case| {
        let (from, to) = (r#""capabilities":{"#, r#""capabilities":{"data":[""],"#);
        case.artifact.statements[0] = edit(&case.artifact.statements[0], from, to);
    }),
    ("the statement under another payload type", RefusalCode::WrongStatementType, |case| {
        let text = String::from_utf8(case.artifact.statements[0].clone()).unwrap();
        case.artifact.statements[0] = text.replace(MEDIA_TYPE, "application/json").into_bytes();
    }),
    ("the author's signature replaced by that of an approval", RefusalCode::WrongSignature, |case| {
        let other: Value = serde_json::from_slice(&test_run(&case.artifact, "PASSED", &[ALICE])).unwrap();
        let mut text: Value = serde_json::from_slice(&case.artifact.statements[0]).unwrap();
        text["signatures"] = other["signatures"].clone();
        case.artifact.statements[0] = text.to_string().into_bytes();
    }),
    ("an approval removed", RefusalCode::NotApproved, |case| drop(case.artifact.statements.remove(1))),
    ("an approval's signature stripped", RefusalCode::NotApproved, |case| {
        case.artifact.statements[2] = unsign(&case.artifact.statements[2]);
    }),
    ("an approval replaced by a copy of the other", RefusalCode::NotApproved, |case| {
        case.artifact.statements[2] = case.artifact.statements[1].clone();
    }),
    ("an approval of another version put in its place", RefusalCode::NotApproved, |case| {
        case.artifact.statements[2] = released("1.2.0").statements[2].clone();
    }),
    ("an approval edited to be of this statement", RefusalCode::NotApproved, |case| {
        let other = released("1.2.0");
        let (from, to) = (statement_of(&other).hex(), statement_of(&case.artifact).hex());
        case.artifact.statements[2] = edit(&other.statements[2], &from, &to);
    }),
    ("the test run removed", RefusalCode::MissingStatement, |case| drop(case.artifact.statements.pop())),
    ("the test run edited to have passed", RefusalCode::MissingStatement, |case| {
        let failed = test_run(&case.artifact, "FAILED", &[CI]);
        case.artifact.statements[3] = edit(&failed, "FAILED", "PASSED");
    }),
    ("the test run of another version", RefusalCode::MissingStatement, |case| {
        case.artifact.statements[3] = released("1.2.0").statements[3].clone();
    }),
    ("an attachment too many", RefusalCode::TooLarge, |case| {
        case.artifact.statements.resize(verdict_core::artifact::STATEMENTS_MAX + 1, Vec::new());
    }),
    ("an old channel state replayed", RefusalCode::DocumentRollback, |case| {
        case.artifact = released("1.2.0");
        case.state = document::<ChannelState>(&state_json(&case.artifact, "1.2.0", 6), &[RITA, RON]);
    }),
    ("a rolled-back database: all of it as it was", RefusalCode::TrustRollback, |case| {
        case.trust.pop();
        case.artifact = released("1.2.0");
        case.state = document::<ChannelState>(&state_json(&case.artifact, "1.2.0", 6), &[RITA, RON]);
    }),
    ("the channel pointed at an old approved version", RefusalCode::WrongSignature, |case| {
        let old = released("1.2.0");
        let (from, to) = (state_json(&case.artifact, "1.3.0", 7), state_json(&old, "1.2.0", 7));
        let share = |text: &Value| text["versions"].to_string();
        case.state = edit(&case.state, &share(&from), &share(&to));
        case.artifact = old;
    }),
    ("the state of another channel of the policy", RefusalCode::WrongDocument, |case| {
        case.state_by(&[RITA, RON], |state| state["channel"] = json!("staging"));
    }),
    ("the state of another policy", RefusalCode::WrongDocument, |case| {
        case.state_by(&[RITA, RON], |state| state["policy"] = json!("acme/pension"));
    }),
    ("the state of another tenant's policy of that name", RefusalCode::WrongDocument, |case| {
        case.state_by(&[OTTO], |state| state["policy"] = json!("other/loan"));
    }),
    ("a releaser's signature stripped", RefusalCode::TooFewSigners, |case| {
        let mut text: Value = serde_json::from_slice(&case.state).unwrap();
        text["signatures"].as_array_mut().unwrap().pop();
        case.state = text.to_string().into_bytes();
    }),
    ("a releaser's signature twice", RefusalCode::TooFewSigners, |case| {
        let mut text: Value = serde_json::from_slice(&case.state).unwrap();
        text["signatures"][1] = text["signatures"][0].clone();
        case.state = text.to_string().into_bytes();
    }),
    ("every signature stripped from the state", RefusalCode::Unsigned, |case| {
        case.state = unsign(&case.state)
    }),
    ("revocations in the place of the state", RefusalCode::WrongDocument, |case| {
        case.state = case.revocations.clone().unwrap();
    }),
    ("a state under the type of revocations", RefusalCode::UnknownSigner, |case| {
        let text = String::from_utf8(case.state.clone()).unwrap();
        case.revocations =
            Some(text.replace(ChannelState::PAYLOAD_TYPE, Revocations::PAYLOAD_TYPE).into_bytes());
    }),
    ("revocations removed", RefusalCode::RevocationsMissing, |case| case.revocations = None),
    ("newer revocations withheld, until these expire", RefusalCode::DocumentExpired, |case| {
        case.now = time("2026-06-08T00:00:00Z");
    }),
    ("old revocations replayed", RefusalCode::DocumentRollback, |case| {
        case.revocations = Some(document::<Revocations>(&revocations_json(2), &[VERA]));
    }),
    ("a key taken off the revocations", RefusalCode::WrongSignature, |case| {
        case.revoke("keys", json!(key(ALICE).public()));
        let entry = format!(r#""keys":["{}"]"#, key(ALICE).public());
        case.revocations = case.revocations.take().map(|bytes| edit(&bytes, &entry, r#""keys":[]"#));
    }),
    ("the data's content swapped", RefusalCode::WrongData, |case| {
        case.content = br#"{"limits":{"loan":99999}}"#.to_vec();
    }),
    ("content and snapshot swapped for older ones", RefusalCode::WrongData, |case| {
        case.content = b"{}".to_vec();
        case.data = document::<DataSnapshot>(&data_json("acme", 3, b"{}"), &[DINA]);
    }),
    ("the snapshot of another tenant", RefusalCode::WrongDocument, |case| {
        case.data = document::<DataSnapshot>(&data_json("other", 4, CONTENT), &[OTTO]);
    }),
    ("the snapshot edited", RefusalCode::WrongSignature, |case| {
        let (from, to) = (Digest::of(CONTENT).to_string(), Digest::of(b"{}").to_string());
        case.data = edit(&case.data, &from, &to);
    }),
    ("the trust policy edited to ask for less", RefusalCode::TooFewSigners, |case| {
        case.trust[1] = edit(&case.trust[1], r#""approvals":2"#, r#""approvals":0"#);
    }),
    ("the trust policy with a new root of the attacker's", RefusalCode::TooFewSigners, |case| {
        let mut text = trust_json(6);
        text["root"] = json!({"keys": [key(MALLORY).public()], "threshold": 1});
        case.trust.push(envelope(TRUST_PAYLOAD_TYPE, &text, &[MALLORY]));
    }),
    ("an old trust policy replayed", RefusalCode::TrustRollback, |case| drop(case.trust.pop())),
    ("a trust policy left out of the chain", RefusalCode::TrustGap, |case| {
        case.trust.push(envelope(TRUST_PAYLOAD_TYPE, &trust_json(7), &[41, 42]));
    }),
    ("every trust policy removed", RefusalCode::Unsigned, |case| case.trust.clear()),
    ("a huge document", RefusalCode::TooLarge, |case| case.state.resize(ENVELOPE_BYTES_MAX + 1, b' ')),
    ("a deeply nested envelope", RefusalCode::MalformedEnvelope, |case| {
        case.state = [b"{\"payload\":".as_slice(), &[b'['; 100_000]].concat();
    }),
    ("an envelope with more signatures than are read", RefusalCode::MalformedEnvelope, |case| {
        let mut text: Value = serde_json::from_slice(&case.state).unwrap();
        text["signatures"] = json!(vec![text["signatures"][0].clone(); 17]);
        case.state = text.to_string().into_bytes();
    }),
    ("an envelope with its payload twice", RefusalCode::MalformedEnvelope, |case| {
        let text = String::from_utf8(case.state.clone()).unwrap();
        case.state = text.replacen('{', r#"{"payload":"e30=","#, 1).into_bytes();
    }),
    ("the clock turned back by whoever answers for the time", RefusalCode::ClockBehind, |case| {
        case.now = time("2026-05-31T23:00:00Z");
    }),
];

/// Who has a key, and uses it for what it is not for.
const INSIDERS: &[Attack] = &[
    ("an author alone approves with another key", RefusalCode::NotApproved, |case| {
        case.approved_by(&[ALICE_AS_APPROVER, BOB]);
    }),
    ("an author alone approves with the author's key", RefusalCode::NotApproved, |case| {
        case.approved_by(&[ALICE, BOB]);
    }),
    ("an approver approves with two keys", RefusalCode::NotApproved, |case| {
        case.approved_by(&[BOB, BOB_AGAIN]);
    }),
    ("an approver of another policy approves", RefusalCode::NotApproved, |case| {
        case.approved_by(&[BOB, ERIN])
    }),
    ("an approver of another channel approves", RefusalCode::NotApproved, |case| {
        case.approved_by(&[BOB, STAGER]);
    }),
    ("an approver of another tenant approves", RefusalCode::NotApproved, |case| {
        case.approved_by(&[BOB, OTTO])
    }),
    ("an approver whose key is not valid yet approves", RefusalCode::NotApproved, |case| {
        case.approved_by(&[BOB, FRED]);
    }),
    ("a releaser approves", RefusalCode::NotApproved, |case| case.approved_by(&[BOB, RITA])),
    ("a stranger approves", RefusalCode::NotApproved, |case| case.approved_by(&[BOB, MALLORY])),
    ("an approver who approves another version of this statement", RefusalCode::NotApproved, |case| {
        case.artifact.statements[2] = approval(&case.artifact, "1.2.0", &[CAROL]);
    }),
    ("an approver signs a test run, and it is taken for an approval", RefusalCode::NotApproved, |case| {
        case.artifact.statements[2] = test_run(&case.artifact, "PASSED", &[CAROL]);
    }),
    ("the author changes limits after the approval", RefusalCode::NotApproved, |case| {
        case.artifact.statements[0] =
            case.says(|manifest| manifest["limits"] = json!({"fuel": 1_000_000_000}));
        case.promote(case.artifact.clone());
    }),
    ("the author changes capabilities after the approval", RefusalCode::NotApproved, |case| {
        case.artifact.statements[0] = case.says(|manifest| manifest["capabilities"] = json!({"data": [""]}));
        case.promote(case.artifact.clone());
    }),
    ("the author changes rules after the approval", RefusalCode::NotApproved, |case| {
        case.artifact.statements[0] = case.says(|manifest| manifest["rules"] = json!([{"name": "other"}]));
        case.promote(case.artifact.clone());
    }),
    ("a manifest that asks for a limit without end", RefusalCode::MalformedManifest, |case| {
        case.artifact.statements[0] = case.says(|manifest| manifest["limits"] = json!({"fuel": u64::MAX}));
        case.promote(case.artifact.clone());
    }),
    ("a manifest with a capability that nobody knows", RefusalCode::MalformedManifest, |case| {
        case.artifact.statements[0] =
            case.says(|manifest| manifest["capabilities"] = json!({"network": true}));
        case.promote(case.artifact.clone());
    }),
    ("a manifest of another policy", RefusalCode::ManifestMismatch, |case| {
        case.artifact.statements[0] = case.says(|manifest| manifest["policy"] = json!("acme/pension"));
        case.promote(case.artifact.clone());
    }),
    ("a manifest of another component", RefusalCode::ManifestMismatch, |case| {
        case.artifact.statements[0] = case.says(|manifest| manifest["component"] = json!(Digest::of(b"")));
        case.promote(case.artifact.clone());
    }),
    ("a manifest nested too deeply", RefusalCode::MalformedStatement, |case| {
        let schema = (0..130).fold(json!({}), |schema, _| json!({"not": schema}));
        case.artifact.statements[0] = case.says(|manifest| manifest["rules"][0]["input_schema"] = schema);
        case.promote(case.artifact.clone());
    }),
    ("an author of another tenant publishes here", RefusalCode::NotGranted, |case| {
        let mut artifact = case.artifact.clone();
        artifact.statements[0] = layout(&version("acme/loan", "1.3.0"), OTTO).statements[0].clone();
        case.promote(artifact);
    }),
    ("a failed test run, honestly signed", RefusalCode::MissingStatement, |case| {
        case.artifact.statements[3] = test_run(&case.artifact, "FAILED", &[CI]);
    }),
    ("an attester of something else vouches for tests", RefusalCode::MissingStatement, |case| {
        case.artifact.statements[3] = test_run(&case.artifact, "PASSED", &[BUILDER]);
    }),
    ("an approver vouches for tests", RefusalCode::MissingStatement, |case| {
        case.artifact.statements[3] = test_run(&case.artifact, "PASSED", &[BOB, CAROL]);
    }),
    ("a releaser releases alone", RefusalCode::TooFewSigners, |case| case.state_by(&[RITA], |_| {})),
    ("a releaser releases with two keys", RefusalCode::TooFewSigners, |case| {
        case.state_by(&[RON, RON_AGAIN], |_| {});
    }),
    ("a releaser of another channel releases", RefusalCode::TooFewSigners, |case| {
        case.state_by(&[RITA, STAGER], |_| {});
    }),
    ("a releaser of another tenant releases", RefusalCode::NotGranted, |case| case.state_by(&[OTTO], |_| {})),
    ("approvers release", RefusalCode::UnknownSigner, |case| case.state_by(&[BOB, CAROL], |_| {})),
    ("releasers name a version that nobody approved", RefusalCode::NotApproved, |case| {
        case.artifact = layout(&version("acme/loan", "1.4.0"), ALICE);
        case.state_by(&[RITA, RON], |state| state["versions"][0]["version"] = json!("1.4.0"));
    }),
    ("releasers name a version of another policy", RefusalCode::NotReleased, |case| {
        case.promote(layout(&version("acme/pension", "1.3.0"), ALICE));
    }),
    ("releasers name another version than the statement has", RefusalCode::NotReleased, |case| {
        case.state_by(&[RITA, RON], |state| state["versions"][0]["version"] = json!("1.2.0"));
    }),
    ("releasers name another image than the statement has", RefusalCode::NotReleased, |case| {
        case.state_by(&[RITA, RON], |state| state["versions"][0]["image"] = json!(Digest::of(b"")));
    }),
    ("releasers sign two states of one sequence", RefusalCode::Equivocation, |case| {
        case.state_by(&[RITA, RON], |state| {
            state["sequence"] = json!(7);
            state["sticky"] = json!({"caller": true});
        });
    }),
    ("a state that was to begin in a year", RefusalCode::DocumentNotYetValid, |case| {
        case.state_by(&[RITA, RON], |state| {
            state["issued"] = json!("2027-06-01T00:00:00Z");
            state["expires"] = json!("2027-07-01T00:00:00Z");
        });
    }),
    ("a state that has expired", RefusalCode::DocumentExpired, |case| {
        case.state_by(&[RITA, RON], |state| state["expires"] = json!("2026-06-01T00:00:00.000Z"));
    }),
    ("a state with a weight of none", RefusalCode::MalformedDocument, |case| {
        case.state_by(&[RITA, RON], |state| state["versions"][0]["weight"] = json!(0));
    }),
    ("a state nested too deeply", RefusalCode::MalformedDocument, |case| {
        let deep = (0..130).fold(json!({}), |inner, _| json!([inner]));
        case.state_by(&[RITA, RON], |state| state["guard"] = deep);
    }),
    ("data signed by a data signer of another tenant", RefusalCode::NotGranted, |case| {
        case.data_by(&[OTTO], |_| {});
    }),
    ("data signed by a releaser", RefusalCode::UnknownSigner, |case| case.data_by(&[RITA], |_| {})),
    ("data that has expired", RefusalCode::DocumentExpired, |case| {
        case.data_by(&[DINA], |data| data["expires"] = json!("2026-06-01T00:00:00Z"));
    }),
    ("two snapshots of one sequence", RefusalCode::Equivocation, |case| {
        case.data_by(&[DINA], |data| data["sequence"] = json!(4));
        case.data_by(&[DINA], |data| {
            data["sequence"] = json!(4);
            data["expires"] = json!("2026-09-01T00:00:00Z");
        });
    }),
    ("revocations lifted by who may not", RefusalCode::UnknownSigner, |case| {
        case.revocations = Some(document::<Revocations>(&revocations_json(4), &[RITA]));
    }),
    ("revocations by a revoker whom they revoke", RefusalCode::KeyRevoked, |case| {
        case.revoke("keys", json!(key(VERA).public()));
    }),
    ("one root key signs a trust policy", RefusalCode::TooFewSigners, |case| {
        case.trust.push(envelope(TRUST_PAYLOAD_TYPE, &trust_json(6), &[41]));
    }),
    ("new root keys that the old ones did not sign", RefusalCode::TooFewSigners, |case| {
        let mut text = trust_json(6);
        text["root"] = json!({"keys": [key(51).public(), key(52).public()], "threshold": 2});
        case.trust.push(envelope(TRUST_PAYLOAD_TYPE, &text, &[51, 52]));
    }),
    ("new root keys that did not sign themselves", RefusalCode::TooFewSigners, |case| {
        let mut text = trust_json(6);
        text["root"] = json!({"keys": [key(51).public(), key(52).public()], "threshold": 2});
        case.trust.push(envelope(TRUST_PAYLOAD_TYPE, &text, &[41, 42]));
    }),
    ("root keys sign two policies of one version", RefusalCode::Equivocation, |case| {
        let mut text = trust_json(5);
        text["rules"] = json!([]);
        case.trust[1] = envelope(TRUST_PAYLOAD_TYPE, &text, &[41, 42]);
    }),
    ("a trust policy with one key under two names", RefusalCode::MalformedTrust, |case| {
        case.trust(|trust| trust["approvers"][0]["public"] = json!(key(BOB).public()));
    }),
    ("a trust policy that has expired", RefusalCode::TrustExpired, |case| {
        case.trust(|trust| trust["expires"] = json!("2026-06-01T00:00:00Z"));
    }),
];

/// What is taken away takes effect with the document that says so.
const REVOKED: &[Attack] = &[
    ("the author's key revoked", RefusalCode::KeyRevoked, |case| {
        case.revoke("keys", json!(key(ALICE).public()))
    }),
    ("an approver's key revoked", RefusalCode::NotApproved, |case| {
        case.revoke("keys", json!(key(BOB).public()))
    }),
    ("a releaser's key revoked", RefusalCode::TooFewSigners, |case| {
        case.revoke("keys", json!(key(RON).public()));
    }),
    ("the data signer's key revoked", RefusalCode::KeyRevoked, |case| {
        case.revoke("keys", json!(key(DINA).public()));
    }),
    ("the attester's key revoked", RefusalCode::MissingStatement, |case| {
        case.revoke("keys", json!(key(CI).public()));
    }),
    ("the version revoked", RefusalCode::Revoked, |case| {
        let (policy, version) = ("acme/loan".parse().unwrap(), Version::new(1, 3, 0));
        case.revoke("versions", json!(RevokedVersion { policy, version }));
    }),
    ("the component revoked", RefusalCode::Revoked, |case| {
        case.revoke("digests", json!(Digest::of(COMPONENT)));
    }),
    ("the image revoked", RefusalCode::Revoked, |case| {
        case.revoke("digests", json!(Digest::of(&case.artifact.manifest_bytes)));
    }),
    ("the statement revoked", RefusalCode::Revoked, |case| {
        case.revoke("digests", json!(statement_of(&case.artifact)));
    }),
    ("the data revoked", RefusalCode::Revoked, |case| case.revoke("digests", json!(Digest::of(CONTENT)))),
    ("the author's grant gone", RefusalCode::UnknownSigner, |case| {
        case.trust(|trust| drop(trust["authors"].as_array_mut().unwrap().remove(0)));
    }),
    ("the author's key not valid any more", RefusalCode::KeyExpired, |case| {
        case.trust(|trust| trust["authors"][0]["not_after"] = json!(now()));
    }),
    ("the author's key not valid yet", RefusalCode::KeyNotYetValid, |case| {
        case.trust(|trust| trust["authors"][0]["not_before"] = json!("2026-06-01T00:00:00.001Z"));
    }),
    ("an approver's key not valid any more", RefusalCode::NotApproved, |case| {
        case.trust(|trust| trust["approvers"][3]["not_after"] = json!(now()));
    }),
    ("three approvals asked for from now on", RefusalCode::NotApproved, |case| {
        case.trust(|trust| trust["rules"][0]["approvals"] = json!(3));
    }),
    ("three releases asked for from now on", RefusalCode::TooFewSigners, |case| {
        case.trust(|trust| trust["rules"][0]["releases"] = json!(3));
    }),
];

fn attacks() -> Vec<Attack> {
    [STORAGE, INSIDERS, REVOKED].concat()
}

#[test]
fn refuses_every_attack_with_its_code() {
    assert!(attacks().len() >= 30);
    let outcomes = attacks().into_iter().filter_map(|(name, code, change)| {
        let mut case = Case::good();
        change(&mut case);
        match case.served() {
            Ok(_) => Some(format!("{name}: admitted")),
            Err(refusal) => (refusal.code != code).then(|| format!("{name}: not {code} but {refusal}")),
        }
    });
    let wrong: Vec<_> = outcomes.collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn admits_what_only_looks_like_an_attack() {
    let good: &[(&str, Change)] = &[
        ("nothing changed", |_| {}),
        ("strangers signed everything as well", |case| {
            for bytes in case.artifact.statements.iter_mut().chain(&mut case.trust) {
                *bytes = add_signature(bytes, MALLORY);
            }
            case.state = add_signature(&case.state, MALLORY);
            case.data = add_signature(&case.data, MALLORY);
            case.revocations = case.revocations.take().map(|bytes| add_signature(&bytes, MALLORY));
        }),
        ("people without this grant signed as well", |case| {
            case.state = add_signature(&add_signature(&case.state, OTTO), BOB);
            case.artifact.statements[0] = add_signature(&case.artifact.statements[0], OTTO);
        }),
        ("strangers attached what they liked", |case| {
            let approval = approval(&case.artifact, "1.3.0", &[MALLORY]);
            let failed = test_run(&case.artifact, "FAILED", &[MALLORY]);
            let foreign = envelope("application/vnd.cncf.notary.payload.v1+json", &json!({}), &[MALLORY]);
            let huge = vec![b' '; ENVELOPE_BYTES_MAX + 1];
            case.artifact.statements.extend([vec![0xff; 100], Vec::new(), approval, failed, foreign, huge]);
        }),
        ("approvers and attesters signed other things as well", |case| {
            let old = released("1.2.0");
            case.artifact.statements.extend(old.statements);
            case.artifact.statements.push(test_run(&case.artifact, "FAILED", &[CI]));
            case.artifact.statements.push(approval(&case.artifact, "9.9.9", &[BOB]));
        }),
        ("the author signed something else about this image as well", |case| {
            let other = case.says(|manifest| manifest["description"] = json!("as it was once"));
            case.artifact.statements.push(other);
        }),
        ("the author approved as well, and did not count", |case| {
            case.artifact.statements.push(approval(&case.artifact, "1.3.0", &[ALICE_AS_APPROVER]));
        }),
        ("both approvals in one envelope", |case| {
            case.artifact.statements.drain(1..3);
            case.artifact.statements.push(approval(&case.artifact, "1.3.0", &[BOB, CAROL]));
        }),
        ("back to an older version under a higher sequence", |case| {
            case.artifact = released("1.2.0");
            case.state = document::<ChannelState>(&state_json(&case.artifact, "1.2.0", 8), &[RITA, RON]);
        }),
        ("back to older data under a higher sequence of the channel", |case| {
            case.content = b"{}".to_vec();
            case.data = document::<DataSnapshot>(&data_json("acme", 3, b"{}"), &[DINA]);
            case.state_by(&[RITA, RON], |state| state["data"] = json!(Digest::of(b"{}")));
        }),
        ("new revocations after the old ones expired", |case| {
            case.now = time("2026-06-09T00:00:00Z");
            let mut text = revocations_json(4);
            text["expires"] = json!("2026-06-16T00:00:00Z");
            case.revocations = Some(document::<Revocations>(&text, &[VERA]));
        }),
        ("root keys exchanged, by the old and the new", |case| {
            let mut text = trust_json(6);
            text["root"] = json!({"keys": [key(51).public(), key(52).public()], "threshold": 2});
            case.trust.push(envelope(TRUST_PAYLOAD_TYPE, &text, &[41, 43, 51, 52]));
            text["version"] = json!(7);
            case.trust.push(envelope(TRUST_PAYLOAD_TYPE, &text, &[51, 52]));
        }),
        ("an author's key exchanged, both valid for a while", |case| {
            case.trust(|trust| {
                let new = grant("alice", 61, "acme/*");
                trust["authors"].as_array_mut().unwrap().push(new);
                trust["authors"][0]["not_after"] = json!("2026-07-01T00:00:00Z");
            });
        }),
        ("the clock behind by less than the tolerance", |case| case.now = time("2026-05-31T23:56:00Z")),
    ];
    for (name, change) in good {
        let mut case = Case::good();
        change(&mut case);
        let (admitted, _) = case.served().unwrap_or_else(|refusal| panic!("{name}: {refusal}"));
        assert_eq!(admitted.manifest().policy.to_string(), "acme/loan", "{name}");
    }
}

#[test]
fn an_admission_ends_with_whatever_ends_first() {
    let until = |change: Change| {
        let mut case = Case::good();
        change(&mut case);
        case.served().unwrap().0.until()
    };
    let far = "2026-12-31T00:00:00Z";
    assert_eq!(until(|_| {}), time("2026-06-08T00:00:00Z"));
    let without_revokers: Change =
        |case| case.trust(|trust| drop(trust.as_object_mut().unwrap().remove("revokers")));
    let mut case = Case::good();
    without_revokers(&mut case);
    case.revocations = None;
    assert_eq!(case.served().unwrap().0.until(), time("2026-07-01T00:00:00Z"), "the channel state");
    case.state_by(&[RITA, RON], |state| state["expires"] = json!(far));
    assert_eq!(case.served().unwrap().0.until(), time("2026-08-01T00:00:00Z"), "the data");
    case.data_by(&[DINA], |data| data["expires"] = json!(far));
    assert_eq!(case.served().unwrap().0.until(), time("2026-11-01T00:00:00Z"), "an approver's key");
    case.artifact.statements.push(approval(&case.artifact, "1.3.0", &[FRED]));
    case.now = time("2026-09-01T00:00:00Z");
    assert_eq!(case.served().unwrap().0.until(), time(far), "a third approver is there");
}

#[test]
fn a_folder_without_a_channel_is_no_way_around_the_rules_of_production() {
    let case = Case::good();
    let chain: Vec<_> = case.trust.iter().map(Vec::as_slice).collect();
    let trust = TrustPolicy::verify_signed(&chain, Anchor::Roots(&case.roots), &case.seen, case.now).unwrap();
    let basis = Basis { trust: &trust, revocations: None, seen: &case.seen, now: case.now };
    let revocations = Revocations::verify(case.revocations.as_deref().unwrap(), &basis).unwrap();
    let basis = Basis { revocations: Some(&revocations), ..basis };
    let admitted = |artifact: UnverifiedArtifact| {
        let verified = verdict_core::artifact::verify(artifact, &trust, case.now)?;
        admit_on(verified, &basis)
    };
    assert!(admitted(released("1.3.0")).is_ok());
    let unapproved = layout(&version("acme/loan", "1.3.0"), ALICE);
    assert_eq!(admitted(unapproved).unwrap_err().code, RefusalCode::NotApproved);
}

/// What a fresh host knows is its roots: everything else must lead there.
#[test]
fn no_flipped_byte_of_any_document_is_served() {
    let parts: [fn(&mut Case) -> &mut Vec<u8>; 4] = [
        |case| &mut case.trust[1],
        |case| case.revocations.as_mut().unwrap(),
        |case| &mut case.state,
        |case| &mut case.data,
    ];
    let mut case = Case::good();
    let expected = case.served().unwrap().0.until();
    for part in parts {
        let good = part(&mut case).clone();
        // A prime step meets every kind of byte of the envelope, in a second instead of minutes.
        for position in (0..good.len()).step_by(13) {
            part(&mut case)[position] ^= 1;
            match case.served() {
                Err(_) => {}
                // A signature of several may be broken where the others are enough, a member's name of no meaning.
                Ok((admitted, _)) => assert_eq!(admitted.until(), expected, "byte {position}"),
            }
            part(&mut case)[position] ^= 1;
        }
    }
}

#[test]
fn statements_of_an_admission_can_be_read_back() {
    let case = Case::good();
    let statement = Envelope::parse(&case.artifact.statements[0]).unwrap();
    let (admitted, seen) = case.served().unwrap();
    assert_eq!(admitted.manifest(), Statement::parse(statement.payload()).unwrap().manifest());
    assert_eq!(Seen::parse(seen.render().as_bytes()).unwrap(), seen);
}

/// Of the codes that documents of trust are refused with, each has its attack here.
#[test]
fn every_code_of_the_documents_has_an_attack() {
    let attacked: Vec<_> = attacks().into_iter().map(|(_, code, _)| code).collect();
    for code in [
        RefusalCode::KeyRevoked,
        RefusalCode::MalformedTrust,
        RefusalCode::TrustGap,
        RefusalCode::TrustExpired,
        RefusalCode::TrustRollback,
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
    ] {
        assert!(attacked.contains(&code), "{code}");
    }
}
