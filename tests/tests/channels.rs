//! A host that follows a registry in a folder: activation, rollback, splits, shadows, guards, revocation, data, and a
//! registry that lies or is gone.

#[path = "../../runtime/engine/tests/support/mod.rs"]
mod support;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use verdict::registry::{Layout, Source as _, Tree};
use verdict::{Config, DecideError, Decision, Host, Registry, Request};
use verdict_core::digest::Digest;
use verdict_core::dsse::Envelope;
use verdict_core::key::SecretKey;
use verdict_core::name::{ChannelName, PolicyName};
use verdict_core::refusal::RefusalCode;
use verdict_core::statement::{Approval, sign_manifest};
use verdict_core::time::Timestamp;
use verdict_core::trust::{
    ChannelState, DataSnapshot, Release, Revocations, Roots, Share, SignedDocument, TRUST_PAYLOAD_TYPE,
};

const ROOT: u8 = 1;
const ALICE: u8 = 2;
const BOB: u8 = 3;
const RITA: u8 = 4;
const VERA: u8 = 5;
const DINA: u8 = 6;

fn key(seed: u8) -> SecretKey {
    SecretKey::from_seed([seed; 32])
}

/// The host's own clock, and so many seconds more.
fn in_seconds(seconds: i64) -> Timestamp {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    Timestamp::from_millis(i64::try_from(since.as_millis()).unwrap() + seconds * 1_000).unwrap()
}

/// A bank's registry, and the state of a host that follows it.
struct Bank {
    folder: tempfile::TempDir,
    tree: Tree,
}

impl Bank {
    /// One approval for everything, one person to release, one to revoke.
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let tree = Tree::create(&folder.path().join("registry")).unwrap();
        let bank = Self { folder, tree };
        bank.trust(1);
        bank.revoke(1, json!({}));
        bank
    }

    fn trust(&self, version: u64) {
        let grant = |person: &str, seed: u8| json!({"person": person, "public": key(seed).public(), "policies": ["bank/*"]});
        let text = json!({
            "format": "verdict-trust/1", "version": version, "expires": in_seconds(86_400),
            "root": {"keys": [key(ROOT).public()], "threshold": 1},
            "authors": [grant("alice", ALICE)], "approvers": [grant("bob", BOB)],
            "releasers": [grant("rita", RITA)], "data_signers": [grant("dina", DINA)],
            "revokers": [{"person": "vera", "public": key(VERA).public()}],
            "rules": [{"policies": ["bank/*"], "approvals": 1, "releases": 1}],
        });
        let envelope = Envelope::sign(TRUST_PAYLOAD_TYPE, text.to_string().into_bytes(), &key(ROOT));
        self.tree.put_trust(version, envelope.render().as_bytes()).unwrap();
    }

    fn revoke(&self, sequence: u64, members: Value) {
        let mut text = json!({
            "sequence": sequence, "issued": in_seconds(-60), "expires": in_seconds(3_600),
        });
        text.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
        let revocations: Revocations = serde_json::from_value(text).unwrap();
        self.tree.put_revocations(revocations.sign(&key(VERA)).unwrap().render().as_bytes()).unwrap();
    }

    /// Publishes a version of `bank/loan` whose `decide` has this body, approved by Bob if he is asked.
    fn publish(&self, version: &str, component: &[u8], approved: bool) -> Release {
        let version: semver::Version = version.parse().unwrap();
        let policy: PolicyName = "bank/loan".parse().unwrap();
        let path = self.tree.path().join(format!("artifacts/{version}"));
        let layout = Layout::create(&path, component, &policy, &version).unwrap();
        let manifest = support::manifest(
            component,
            json!({"policy": "bank/loan", "version": version, "capabilities": {"data": [""]}}),
        );
        let statement = sign_manifest(&manifest, layout.image_digest(), &key(ALICE)).unwrap();
        let digest = Digest::of(statement.payload());
        layout.attach_statement(statement.render().as_bytes()).unwrap();
        if approved {
            let approval = Approval { policy, version: version.clone(), comment: None }.of(digest);
            layout.attach_statement(approval.sign(&key(BOB)).unwrap().render().as_bytes()).unwrap();
        }
        Release { version, image: layout.image_digest(), statement: digest }
    }

    /// A version that always answers with this JSON text.
    fn publish_answer(&self, version: &str, answer: &str) -> Release {
        let length = answer.len();
        let component = support::guest(
            &format!("(data (i32.const 64) \"{answer}\")"),
            &format!("(call $answer (i32.const 64) (i32.const {length}))"),
        );
        self.publish(version, &component, true)
    }

    fn state(
        &self,
        channel: &str,
        sequence: u64,
        versions: &[(&Release, u32)],
        members: Value,
    ) -> ChannelState {
        let versions: Vec<_> =
            versions.iter().map(|(release, weight)| Share::new((*release).clone(), *weight)).collect();
        let mut text = json!({
            "policy": "bank/loan", "channel": channel, "sequence": sequence, "issued": in_seconds(-60),
            "expires": in_seconds(3_600), "versions": versions,
        });
        text.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
        serde_json::from_value(text).unwrap()
    }

    /// Puts a state into the registry, signed by Rita.
    fn put(&self, state: &ChannelState) {
        self.put_by(state, RITA);
    }

    fn put_by(&self, state: &ChannelState, seed: u8) {
        let envelope = state.sign(&key(seed)).unwrap().render();
        self.tree.put_channel(&state.policy, &state.channel, state.sequence, envelope.as_bytes()).unwrap();
    }

    fn activate(&self, sequence: u64, release: &Release) {
        self.put(&self.state("production", sequence, &[(release, 1)], json!({})));
    }

    fn put_data(&self, sequence: u64, content: &str) -> Digest {
        let digest = Digest::of(content.as_bytes());
        let text = json!({
            "tenant": "bank", "sequence": sequence, "issued": in_seconds(-60), "expires": in_seconds(3_600),
            "digest": digest, "bytes": content.len(),
        });
        let snapshot: DataSnapshot = serde_json::from_value(text).unwrap();
        let envelope = snapshot.sign(&key(DINA)).unwrap().render();
        self.tree
            .put_data(&"bank".parse().unwrap(), sequence, envelope.as_bytes(), content.as_bytes())
            .unwrap();
        digest
    }

    fn host(&self) -> Host {
        let source = Arc::new(Tree::open(self.tree.path()).unwrap());
        let roots = Roots::new(vec![key(ROOT).public()], 1).unwrap();
        Host::open(Config::following(Registry { source, roots }, self.folder.path().join("state"))).unwrap()
    }
}

fn ask_as(
    host: &Host,
    channel: Option<&str>,
    input: &str,
    caller: Option<&str>,
) -> Result<Box<Decision>, DecideError> {
    let request = Request {
        policy: "bank/loan".parse().unwrap(),
        channel: channel.map(|channel| channel.parse().unwrap()),
        rule: None,
        input: input.as_bytes().to_vec(),
        id: None,
        decision_time: None,
        caller: caller.map(|caller| json!({ "name": caller }).to_string()),
    };
    host.decide(request)?.wait()
}

fn ask(host: &Host) -> Box<Decision> {
    ask_as(host, None, "{}", None).unwrap()
}

/// The version that answers, and what it says.
fn answer(host: &Host) -> (String, String) {
    let decision = ask(host);
    (decision.version, decision.result.unwrap().value.unwrap())
}

fn refusals(host: &Host) -> Vec<RefusalCode> {
    host.quarantine().into_iter().map(|quarantined| quarantined.refusal.code).collect()
}

#[test]
fn a_channel_goes_forward_and_back_and_an_old_state_does_not_return() {
    let bank = Bank::new();
    let (one, two) = (bank.publish_answer("1.0.0", "true"), bank.publish_answer("2.0.0", "false"));
    bank.activate(1, &one);
    let host = bank.host();
    assert_eq!(answer(&host), ("1.0.0".into(), "true".into()));
    let decision = ask(&host);
    assert_eq!(
        decision.channel.map(|channel| (channel.name.to_string(), channel.sequence)),
        Some(("production".into(), 1))
    );
    let (policy, channel) = ("bank/loan".parse().unwrap(), ChannelName::production());
    let before = bank.tree.channel_states(&policy, &channel).unwrap().remove(0);

    bank.activate(2, &two);
    host.reload().unwrap();
    assert_eq!(answer(&host), ("2.0.0".into(), "false".into()));

    // Back to the older version is a new state.
    bank.activate(3, &one);
    host.reload().unwrap();
    assert_eq!(answer(&host), ("1.0.0".into(), "true".into()));

    // Whoever writes to the registry puts the first state where the newest is.
    bank.tree.put_channel(&policy, &channel, 4, &before).unwrap();
    host.reload().unwrap();
    assert_eq!(refusals(&host), [RefusalCode::DocumentRollback]);
    let decision = ask(&host);
    assert_eq!(decision.channel.map(|channel| channel.sequence), Some(3));

    // Nor after a restart.
    drop(host);
    let host = bank.host();
    assert_eq!(refusals(&host), [RefusalCode::DocumentRollback]);
    assert_eq!(ask(&host).channel.map(|channel| channel.sequence), Some(3));
}

#[test]
fn a_version_that_does_not_load_or_is_not_approved_never_answers_and_the_next_one_may() {
    let bank = Bank::new();
    let one = bank.publish_answer("1.0.0", "true");
    bank.activate(1, &one);
    let host = bank.host();
    let module = support::component_of(
        "(module (func (export \"run\") (result i32) i32.const 1))",
        "package a:b; world w { export run: func() -> u32; }",
        "w",
    );
    let broken = bank.publish("2.0.0", &module, true);
    bank.activate(2, &broken);
    host.reload().unwrap();
    assert_eq!(refusals(&host), [RefusalCode::WrongContract]);
    assert_eq!(answer(&host).0, "1.0.0");

    let unapproved = bank.publish("3.0.0", &support::guest("", "(call $true)"), false);
    bank.activate(3, &unapproved);
    host.reload().unwrap();
    assert_eq!(refusals(&host), [RefusalCode::NotApproved]);
    assert_eq!(answer(&host).0, "1.0.0");

    // Signed by somebody who may not.
    bank.put_by(&bank.state("production", 4, &[(&one, 1)], json!({})), BOB);
    host.reload().unwrap();
    assert_eq!(refusals(&host), [RefusalCode::UnknownSigner]);

    let four = bank.publish_answer("4.0.0", "null");
    bank.activate(4, &four);
    host.reload().unwrap();
    assert_eq!((refusals(&host), answer(&host).0), (vec![], "4.0.0".into()));
}

#[test]
fn a_split_is_sticky_and_has_the_shares_that_it_states() {
    let bank = Bank::new();
    let (one, two) = (bank.publish_answer("1.0.0", "true"), bank.publish_answer("2.0.0", "false"));
    let split = |channel: &str, members| bank.put(&bank.state(channel, 1, &[(&one, 3), (&two, 1)], members));
    split("production", json!({"sticky": {"pointer": "/applicant"}}));
    split("callers", json!({"sticky": {"caller": true}}));
    split("anyhow", json!({}));
    let host = bank.host();
    let by_applicant = |host: &Host, channel: &str| -> Vec<bool> {
        let ask = |n| {
            ask_as(host, Some(channel), &format!("{{\"applicant\": \"a-{n}\"}}"), Some(&format!("c-{n}")))
        };
        (0..400).map(|n| ask(n).unwrap().version == "2.0.0").collect()
    };
    let share = |chosen: &[bool]| chosen.iter().filter(|chosen| **chosen).count();
    let (sticky, callers, anyhow) =
        (by_applicant(&host, "production"), by_applicant(&host, "callers"), by_applicant(&host, "anyhow"));
    for (name, chosen) in [("production", &sticky), ("callers", &callers), ("anyhow", &anyhow)] {
        // A quarter of 400 is 100; 40 is more than four standard deviations.
        assert!((60..=140).contains(&share(chosen)), "{name}: {}", share(chosen));
    }
    assert!(sticky != callers && sticky != anyhow, "channels split independently");
    assert_eq!(by_applicant(&host, "production"), sticky);
    drop(host);
    let host = bank.host();
    assert_eq!(by_applicant(&host, "production"), sticky, "after a restart");
    assert_eq!(by_applicant(&host, "callers"), callers);
}

#[test]
fn a_shadow_is_recorded_and_answers_nobody() {
    let bank = Bank::new();
    let one = bank.publish_answer("1.0.0", "true");
    let shadow = bank.publish("2.0.0", &support::guest("", "unreachable"), true);
    bank.put(&bank.state("production", 1, &[(&one, 1)], json!({ "shadow": shadow })));
    let host = bank.host();
    let ids: Vec<_> = (0..20).map(|_| ask(&host)).map(|decision| (decision.version, decision.id)).collect();
    assert!(ids.iter().all(|(version, _)| version == "1.0.0"));
    let end = Instant::now() + Duration::from_secs(20);
    while host.shadow_counts().0 < 20 && Instant::now() < end {
        thread::sleep(Duration::from_millis(5));
    }
    assert_eq!(host.shadow_counts(), (20, 0));
    let listed: Vec<_> = host.policies().into_iter().map(|status| (status.version, status.weight)).collect();
    assert_eq!(listed, [("1.0.0".to_string(), Some(1)), ("2.0.0".into(), None)]);
    host.flush().unwrap();
    drop(host);

    // The log has both, and the shadow's says whose it is.
    let entries =
        bank.host().log_resource(&"bank".parse().unwrap(), "tile/entries/000.p/40").unwrap().unwrap();
    let records = records(&entries);
    let shadows = records.iter().filter(|record| record["channel"]["shadow_of"].is_string());
    let shadows: BTreeSet<_> = shadows
        .map(|record| {
            assert_eq!((&record["version"], &record["fault"]), (&json!("2.0.0"), &json!("trap")));
            record["channel"]["shadow_of"].as_str().unwrap().to_owned()
        })
        .collect();
    assert_eq!((records.len(), shadows), (40, ids.into_iter().map(|(_, id)| id).collect()));
}

/// The records in a bundle of entries (C2SP tlog-tiles: each after its length in two bytes).
fn records(mut entries: &[u8]) -> Vec<Value> {
    let mut records = Vec::new();
    while let Some((length, rest)) = entries.split_first_chunk() {
        let (record, rest) = rest.split_at(u16::from_be_bytes(*length).into());
        records.push(serde_json::from_slice(record).unwrap());
        entries = rest;
    }
    records
}

#[test]
fn a_guard_sends_everything_back_and_a_restart_does_not_forget() {
    let bank = Bank::new();
    let one = bank.publish_answer("1.0.0", "true");
    let trapping = bank.publish("2.0.0", &support::guest("", "unreachable"), true);
    let denying = bank.publish_answer("3.0.0", "false");
    let guard = json!({"guard": {"fault_rate_max": 0.1, "deny_rate_max": 0.5, "decisions_min": 20}});
    let faults = |host: &Host| (0..200).filter(|_| ask(host).version != "1.0.0").count();
    let mut host = None;
    for (sequence, candidate) in [(1, &trapping), (2, &denying)] {
        bank.put(&bank.state("production", sequence, &[(&one, 1), (candidate, 1)], guard.clone()));
        let running = host.get_or_insert_with(|| bank.host());
        running.reload().unwrap();
        assert_eq!(faults(running), 20, "then it is judged, and gets nothing any more");
        assert!(running.policies().iter().all(|status| status.is_reverted));
        running.reload().unwrap();
        assert_eq!(faults(running), 0, "the same state, read again");
        drop(host.take());
        let again = bank.host();
        assert_eq!(faults(&again), 0, "after a restart");
        host = Some(again);
    }
}

#[test]
fn what_is_revoked_does_not_answer_the_next_question() {
    for what in ["version", "image", "key"] {
        let bank = Bank::new();
        let one = bank.publish_answer("1.0.0", "true");
        bank.activate(1, &one);
        let host = bank.host();
        assert_eq!(answer(&host).0, "1.0.0");
        bank.revoke(
            2,
            match what {
                "version" => json!({"versions": [{"policy": "bank/loan", "version": "1.0.0"}]}),
                "image" => json!({"digests": [one.image]}),
                _ => json!({"keys": [key(ALICE).public()]}),
            },
        );
        host.reload().unwrap();
        let refused = ask_as(&host, None, "{}", None).unwrap_err();
        assert!(matches!(refused, DecideError::UnknownPolicy(_)), "{what}: {refused}");
        // Taking the revocations back, or away, changes nothing.
        bank.revoke(1, json!({}));
        host.reload().unwrap();
        assert!(ask_as(&host, None, "{}", None).is_err(), "{what}");
        std::fs::remove_file(bank.tree.path().join("trust/revocations.dsse")).unwrap();
        host.reload().unwrap();
        assert!(ask_as(&host, None, "{}", None).is_err(), "{what}");
    }
}

#[test]
fn a_host_goes_on_without_the_registry_and_starts_without_it() {
    let bank = Bank::new();
    let one = bank.publish_answer("1.0.0", "true");
    bank.put_data(1, r#"{"a": 1}"#);
    bank.activate(1, &one);
    let host = bank.host();
    std::fs::rename(bank.tree.path(), bank.folder.path().join("away")).unwrap();
    host.reload().unwrap();
    assert_eq!(answer(&host).0, "1.0.0");
    drop(host);
    std::fs::create_dir(bank.tree.path()).unwrap();
    let host = bank.host();
    assert_eq!(answer(&host).0, "1.0.0", "{:?}", host.quarantine());
}

/// Answers with the number at `/limit` of the data.
fn reader() -> Vec<u8> {
    support::guest(
        r#"(data (i32.const 64) "/limit") (data (i32.const 8) "null")"#,
        "(call $host.data.json (i32.const 64) (i32.const 6) (i32.const 2048))
         (if (result i32) (i32.load8_u (i32.const 2048))
           (then (call $answer (i32.load (i32.const 2052)) (i32.load (i32.const 2056))))
           (else (call $answer (i32.const 8) (i32.const 4))))",
    )
}

#[test]
fn a_channel_reads_the_newest_data_or_the_snapshot_that_it_names() {
    let bank = Bank::new();
    let reads = bank.publish("1.0.0", &reader(), true);
    let first = bank.put_data(1, r#"{"limit": 100}"#);
    bank.activate(1, &reads);
    bank.put(&bank.state("pinned", 1, &[(&reads, 1)], json!({ "data": first })));
    let host = bank.host();
    let value = |host: &Host, channel: &str| {
        let decision = ask_as(host, Some(channel), "{}", None).unwrap();
        (decision.result.unwrap().value.unwrap(), decision.data.unwrap())
    };
    assert_eq!(value(&host, "production"), ("100".into(), first));
    let second = bank.put_data(2, r#"{"limit": 250}"#);
    host.reload().unwrap();
    assert_eq!(value(&host, "production"), ("250".into(), second));
    assert_eq!(value(&host, "pinned"), ("100".into(), first));

    // The older snapshot, alone in the registry, is not the newest again.
    std::fs::remove_file(bank.tree.path().join("data/bank/2.dsse")).unwrap();
    host.reload().unwrap();
    assert_eq!(value(&host, "production"), ("250".into(), second));

    // Content that somebody changed is not read, and what is here goes on.
    let third = bank.put_data(3, r#"{"limit": 300}"#);
    std::fs::write(bank.tree.path().join("content").join(third.hex()), r#"{"limit": 999}"#).unwrap();
    host.reload().unwrap();
    assert_eq!(value(&host, "production"), ("250".into(), second));
    assert_eq!(refusals(&host), [RefusalCode::WrongData]);
}

#[test]
fn a_host_that_follows_takes_up_changes_by_itself() {
    let bank = Bank::new();
    let (one, two) = (bank.publish_answer("1.0.0", "true"), bank.publish_answer("2.0.0", "false"));
    bank.activate(1, &one);
    let host = bank.host();
    host.follow(Duration::from_secs(5)).unwrap();
    for (sequence, release) in [(2, &two), (3, &one)] {
        bank.activate(sequence, release);
        let end = Instant::now() + Duration::from_secs(20);
        while ask(&host).version != release.version.to_string() {
            assert!(Instant::now() < end, "version {} does not answer", release.version);
            thread::sleep(Duration::from_millis(2));
        }
    }
}

#[test]
fn swapping_versions_under_load_fails_and_mixes_up_nothing() {
    let swaps = if std::env::var_os("VERDICT_FULL").is_some() { 1_000 } else { 60 };
    let bank = Bank::new();
    let (one, two) = (bank.publish_answer("1.0.0", "true"), bank.publish_answer("2.0.0", "false"));
    bank.activate(1, &one);
    let host = bank.host();
    let (over, asked) = (AtomicBool::new(false), AtomicUsize::new(0));
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let mut last = 0;
                while !over.load(Ordering::Relaxed) {
                    let decision = ask(&host);
                    let sequence = decision.channel.unwrap().sequence;
                    let expected = if sequence % 2 == 1 { ("1.0.0", "true") } else { ("2.0.0", "false") };
                    let value = decision.result.unwrap().value.unwrap();
                    assert_eq!((decision.version.as_str(), value.as_str()), expected);
                    assert!(sequence >= last, "{sequence} after {last}");
                    last = sequence;
                    asked.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        for sequence in 2..swaps + 2 {
            bank.activate(sequence, if sequence % 2 == 1 { &one } else { &two });
            host.reload().unwrap();
        }
        over.store(true, Ordering::Relaxed);
    });
    assert!(asked.load(Ordering::Relaxed) > 100);
    assert_eq!(ask(&host).channel.unwrap().sequence, swaps + 1);
}

#[test]
fn a_tree_that_is_no_registry_says_so() {
    let folder = tempfile::tempdir().unwrap();
    assert!(Tree::open(&folder.path().join("missing")).is_err());
    let tree = Tree::open(folder.path()).unwrap();
    assert_eq!(tree.documents().unwrap(), verdict::registry::Documents::default());
    let source = Arc::new(tree);
    let roots = Roots::new(vec![key(ROOT).public()], 1).unwrap();
    let state = folder.path().join("state");
    let error = Host::open(Config::following(Registry { source, roots }, state)).unwrap_err();
    assert!(error.to_string().contains("there is no signed trust policy"), "{error}");
}
