//! Hosts that follow a catalogue in their own process: what is published takes effect on all of them, and one that was
//! away catches up.

#[path = "../../runtime/engine/tests/support/mod.rs"]
mod support;

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::json;
use tokio::runtime::{Handle, Runtime};
use verdict::{Config, Decision, Host, Request};
use verdict_core::artifact::UnverifiedArtifact;
use verdict_core::digest::Digest;
use verdict_core::dsse::{self, Envelope};
use verdict_core::key::SecretKey;
use verdict_core::name::{ChannelName, PolicyName};
use verdict_core::oci::{EMPTY_MEDIA_TYPE, MANIFEST_MEDIA_TYPE};
use verdict_core::refusal::RefusalCode;
use verdict_core::statement::{MEDIA_TYPE, sign_manifest};
use verdict_core::time::Timestamp;
use verdict_core::trust::{Revocations, Roots, SignedDocument as _, TRUST_PAYLOAD_TYPE};
use verdict_registry::Layout;
use verdict_registry::catalogue::{Catalogue, Change};
use verdict_registry::publish::{Activation, PublishError, Publisher, Ready};
use verdict_registry::repository::Registry;
use verdict_registry::served::Served;
use verdict_registry::store::Blobs;

const ROOT: u8 = 1;
const ALICE: u8 = 2;
const VERA: u8 = 5;
const SERVER: u8 = 9;
/// Long enough for everything that is waited for to happen, and not waited for.
const PATIENCE: Duration = Duration::from_secs(60);

fn key(seed: u8) -> SecretKey {
    SecretKey::from_seed([seed; 32])
}

fn in_seconds(seconds: i64) -> Timestamp {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    Timestamp::from_millis(i64::try_from(since.as_millis()).unwrap() + seconds * 1_000).unwrap()
}

fn change() -> Change {
    Change { actor: "alice".into(), correlation: "test".into(), at: in_seconds(0) }
}

fn loan() -> PolicyName {
    "bank/loan".parse().unwrap()
}

fn roots() -> Roots {
    Roots::new(vec![key(ROOT).public()], 1).unwrap()
}

async fn open(folder: &Path) -> Catalogue {
    Catalogue::open(&format!("sqlite:{}", folder.join("catalogue.db").display())).await.unwrap()
}

/// A server's registry, without the server.
struct Bank {
    folder: tempfile::TempDir,
    runtime: Runtime,
    registry: Registry,
    publisher: Publisher,
}

impl Bank {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let blobs = Blobs::directory(folder.path().join("blobs"), Default::default()).unwrap();
        let registry = Registry::new(blobs, runtime.block_on(open(folder.path())));
        let publisher = Publisher::new(registry.clone(), roots()).with_activation_key(key(SERVER));
        let bank = Self { folder, runtime, registry, publisher };
        bank.trust(1);
        bank.revoke(1, &[]);
        bank
    }

    fn put(&self, ready: impl Future<Output = Result<Ready, PublishError>>) -> Result<(), PublishError> {
        self.runtime.block_on(async {
            let ready = ready.await?;
            let mut write = self.registry.catalogue().write(change()).await?;
            ready.put(&mut write, None).await?;
            write.commit().await?;
            Ok(())
        })
    }

    fn trust(&self, version: u64) {
        let grant = |person: &str, seed: u8| json!({"person": person, "public": key(seed).public(), "policies": ["bank/*"]});
        let text = json!({
            "format": "verdict-trust/1", "version": version, "expires": in_seconds(86_400),
            "root": {"keys": [key(ROOT).public()], "threshold": 1}, "authors": [grant("alice", ALICE)],
            "releasers": [grant("server:one", SERVER)],
            "revokers": [{"person": "vera", "public": key(VERA).public()}],
        });
        let envelope = Envelope::sign(TRUST_PAYLOAD_TYPE, text.to_string().into_bytes(), &key(ROOT)).render();
        self.put(self.publisher.trust(envelope.as_bytes(), in_seconds(0))).unwrap();
    }

    fn revoke(&self, sequence: u64, versions: &[&str]) {
        let versions: Vec<_> =
            versions.iter().map(|version| json!({"policy": "bank/loan", "version": version})).collect();
        let text = json!({
            "sequence": sequence, "issued": in_seconds(-60), "expires": in_seconds(3_600), "versions": versions,
        });
        let revocations: Revocations = serde_json::from_value(text).unwrap();
        let envelope = revocations.sign(&key(VERA)).unwrap().render();
        self.put(self.publisher.revocations(envelope.as_bytes(), in_seconds(0))).unwrap();
    }

    /// Pushes a version that always answers with this JSON text, as an OCI client does: blobs, image, referrer.
    fn publish(&self, version: &str, answer: &str) {
        let length = answer.len();
        let component = support::guest(
            &format!("(data (i32.const 64) \"{answer}\")"),
            &format!("(call $answer (i32.const 64) (i32.const {length}))"),
        );
        self.publish_component(version, &component);
    }

    fn publish_component(&self, version: &str, component: &[u8]) {
        let folder = tempfile::tempdir().unwrap();
        let layout = Layout::create(folder.path(), component, &loan(), &version.parse().unwrap()).unwrap();
        let manifest = support::manifest(component, json!({"policy": "bank/loan", "version": version}));
        let statement = sign_manifest(&manifest, layout.image_digest(), &key(ALICE)).unwrap();
        let artifact = layout.fetch().unwrap();
        self.runtime.block_on(self.push(version, &artifact, statement.render().as_bytes()));
    }

    async fn push(&self, version: &str, artifact: &UnverifiedArtifact, envelope: &[u8]) {
        for blob in [&artifact.config, &artifact.component, b"{}".as_slice(), envelope] {
            let (digest, bytes) = (Digest::of(blob), blob.to_vec().into());
            self.registry.put_blob(&loan(), digest, bytes, change()).await.unwrap();
        }
        let described = |media_type: &str, bytes: &[u8]| json!({"mediaType": media_type, "digest": Digest::of(bytes), "size": bytes.len()});
        let referrer = json!({
            "schemaVersion": 2, "mediaType": MANIFEST_MEDIA_TYPE, "artifactType": MEDIA_TYPE,
            "config": described(EMPTY_MEDIA_TYPE, b"{}"), "layers": [described(dsse::MEDIA_TYPE, envelope)],
            "subject": described(MANIFEST_MEDIA_TYPE, &artifact.manifest_bytes),
        });
        let referrer = referrer.to_string().into_bytes();
        let digest = Digest::of(&referrer).to_string();
        for (reference, bytes) in [(version, artifact.manifest_bytes.clone()), (digest.as_str(), referrer)] {
            let reference = reference.parse().unwrap();
            self.registry.put_manifest(&loan(), &reference, None, bytes.into(), change()).await.unwrap();
        }
    }

    fn activate(&self, version: &str) -> Result<(), PublishError> {
        let versions = vec![(version.parse().unwrap(), 1)];
        let activation =
            Activation { versions, shadow: None, sticky: None, data: None, guard: None, days: 1 };
        let channel = ChannelName::production();
        self.put(self.publisher.activation(&loan(), &channel, &activation, in_seconds(0)))
    }

    fn roll_back(&self) {
        let channel = ChannelName::production();
        self.put(self.publisher.rollback(&loan(), &channel, None, 1, in_seconds(0))).unwrap();
    }

    /// A host with a state folder of its own, on a catalogue of its own, as in another process.
    fn host(&self, name: &str) -> Host {
        let catalogue = self.runtime.block_on(open(self.folder.path()));
        let registry = Registry::new(self.registry.blobs().clone(), catalogue);
        let source = Arc::new(Served::new(registry, self.runtime.handle().clone()));
        let following = verdict::Registry { source, roots: roots() };
        Host::open(Config::following(following, self.folder.path().join(name))).unwrap()
    }
}

fn ask(host: &Host) -> Box<Decision> {
    let request = Request {
        policy: loan(),
        channel: None,
        rule: None,
        input: b"{}".to_vec(),
        id: None,
        decision_time: None,
        caller: None,
    };
    host.decide(request).unwrap().wait().unwrap()
}

/// The version that answers, and what it says.
fn answer(host: &Host) -> (String, String) {
    let decision = ask(host);
    (decision.version, decision.result.unwrap().value.unwrap())
}

fn wait_for(host: &Host, version: &str, value: &str) {
    let began = Instant::now();
    while answer(host) != (version.to_owned(), value.to_owned()) {
        assert!(began.elapsed() < PATIENCE, "{version} does not answer: {:?}", host.quarantine());
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn every_host_takes_up_an_activation_and_a_rollback() {
    let bank = Bank::new();
    bank.publish("1.0.0", "true");
    bank.publish("2.0.0", "false");
    bank.activate("1.0.0").unwrap();
    let hosts = ["one", "two"].map(|name| bank.host(name));
    for host in &hosts {
        assert_eq!(answer(host), ("1.0.0".into(), "true".into()));
        // So long that only what the catalogue tells can be what they go by.
        host.follow(Duration::from_secs(3_600)).unwrap();
    }
    bank.activate("2.0.0").unwrap();
    hosts.iter().for_each(|host| wait_for(host, "2.0.0", "false"));
    bank.roll_back();
    hosts.iter().for_each(|host| wait_for(host, "1.0.0", "true"));
    let sequence = ask(&hosts[1]).channel.map(|channel| channel.sequence);
    assert_eq!(sequence, Some(3));
}

#[test]
fn a_host_that_was_away_catches_up() {
    let bank = Bank::new();
    bank.publish("1.0.0", "true");
    bank.activate("1.0.0").unwrap();
    let host = bank.host("one");
    assert_eq!(answer(&host), ("1.0.0".into(), "true".into()));
    drop(host);
    for version in 2..5 {
        bank.trust(version);
        bank.publish(&format!("{version}.0.0"), "false");
        bank.activate(&format!("{version}.0.0")).unwrap();
    }
    bank.revoke(2, &["1.0.0"]);
    let host = bank.host("one");
    assert_eq!(answer(&host), ("4.0.0".into(), "false".into()));
    assert!(host.quarantine().is_empty(), "{:?}", host.quarantine());
}

#[test]
fn a_revocation_stops_a_version_that_answers() {
    let bank = Bank::new();
    bank.publish("1.0.0", "true");
    bank.activate("1.0.0").unwrap();
    let host = bank.host("one");
    host.follow(Duration::from_secs(3_600)).unwrap();
    assert_eq!(answer(&host), ("1.0.0".into(), "true".into()));
    bank.revoke(2, &["1.0.0"]);
    let began = Instant::now();
    while host.quarantine().iter().all(|found| found.refusal.code != RefusalCode::Revoked) {
        assert!(began.elapsed() < PATIENCE);
        std::thread::sleep(Duration::from_millis(5));
    }
    assert!(host.policies().is_empty());
    let refused = bank.activate("1.0.0").unwrap_err();
    assert!(
        matches!(&refused, PublishError::Refused(refusal) if refusal.code == RefusalCode::Revoked),
        "{refused}"
    );
}

#[test]
fn what_does_not_load_is_not_activated_where_a_host_tries_it() {
    let mut bank = Bank::new();
    bank.publish("1.0.0", "true");
    bank.activate("1.0.0").unwrap();
    let host = bank.host("one");
    let tried = host.clone();
    bank.publisher = bank.publisher.clone().with_trial(Arc::new(move |artifact| tried.try_loading(artifact)));
    // A component that exports nothing.
    bank.publish_component("2.0.0", b"\0asm\x0d\0\x01\0");
    let refused = bank.activate("2.0.0").unwrap_err();
    assert!(matches!(&refused, PublishError::Refused(_)), "{refused}");
    bank.publish("3.0.0", "false");
    bank.activate("3.0.0").unwrap();
    host.reload().unwrap();
    assert_eq!(answer(&host), ("3.0.0".into(), "false".into()));
    assert_eq!(ask(&host).channel.map(|channel| channel.sequence), Some(2), "nothing of 2.0.0 was stored");
}

#[test]
fn a_host_is_opened_on_a_thread_of_the_runtime_too() {
    let bank = Bank::new();
    bank.publish("1.0.0", "true");
    bank.activate("1.0.0").unwrap();
    let (registry, state) = (bank.registry.clone(), bank.folder.path().join("state"));
    let answered = bank.runtime.block_on(async move {
        let source = Arc::new(Served::new(registry, Handle::current()));
        let following = verdict::Registry { source, roots: roots() };
        let host = Host::open(Config::following(following, state)).unwrap();
        answer(&host)
    });
    assert_eq!(answered, ("1.0.0".into(), "true".into()));
}
