//! A registry in a folder whose channel is moved between versions, and a server that follows it.

use std::path::PathBuf;

use serde_json::{Value, json};
use verdict::registry::{Layout, Tree};
use verdict_core::digest::Digest;
use verdict_core::dsse::Envelope;
use verdict_core::key::SecretKey;
use verdict_core::name::PolicyName;
use verdict_core::statement::sign_manifest;
use verdict_core::time::Timestamp;
use verdict_core::trust::{
    ChannelState, Release, Revocations, Share, SignedDocument as _, TRUST_PAYLOAD_TYPE,
};
use verdict_tests::server::{Server, text};

use crate::support;

const ROOT: u8 = 1;
const ALICE: u8 = 2;
const RITA: u8 = 4;
const VERA: u8 = 5;

fn key(seed: u8) -> SecretKey {
    SecretKey::from_seed([seed; 32])
}

fn in_seconds(seconds: i64) -> Timestamp {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    Timestamp::from_millis(i64::try_from(since.as_millis()).unwrap() + seconds * 1_000).unwrap()
}

/// The registry, and the state of the server.
pub(crate) struct Bank {
    folder: tempfile::TempDir,
    tree: Tree,
}

impl Bank {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let tree = Tree::create(&folder.path().join("registry")).unwrap();
        let grant = |person: &str, seed: u8| json!({"person": person, "public": key(seed).public(), "policies": ["bank/*"]});
        let trust = json!({
            "format": "verdict-trust/1", "version": 1, "expires": in_seconds(86_400),
            "root": {"keys": [key(ROOT).public()], "threshold": 1},
            "authors": [grant("alice", ALICE)], "releasers": [grant("rita", RITA)],
            "revokers": [{"person": "vera", "public": key(VERA).public()}],
        });
        let envelope = Envelope::sign(TRUST_PAYLOAD_TYPE, trust.to_string().into_bytes(), &key(ROOT));
        tree.put_trust(1, envelope.render().as_bytes()).unwrap();
        let revocations = json!({"sequence": 1, "issued": in_seconds(-60), "expires": in_seconds(36_000)});
        let revocations: Revocations = serde_json::from_value(revocations).unwrap();
        tree.put_revocations(revocations.sign(&key(VERA)).unwrap().render().as_bytes()).unwrap();
        let roots = json!({"format": "verdict-roots/1", "keys": [key(ROOT).public()], "threshold": 1});
        std::fs::write(folder.path().join("roots.json"), roots.to_string()).unwrap();
        Self { folder, tree }
    }

    pub(crate) fn path(&self, path: &str) -> PathBuf {
        self.folder.path().join(path)
    }

    /// Publishes a version of `bank/loan` whose `decide` has this body.
    pub(crate) fn publish(&self, version: &str, component: &[u8]) -> Release {
        let version: semver::Version = version.parse().unwrap();
        let policy: PolicyName = "bank/loan".parse().unwrap();
        let path = self.tree.path().join(format!("artifacts/{version}"));
        let layout = Layout::create(&path, component, &policy, &version).unwrap();
        let manifest = support::manifest(component, json!({"policy": "bank/loan", "version": version}));
        let statement = sign_manifest(&manifest, layout.image_digest(), &key(ALICE)).unwrap();
        let digest = Digest::of(statement.payload());
        layout.attach_statement(statement.render().as_bytes()).unwrap();
        Release { version, image: layout.image_digest(), statement: digest }
    }

    /// A version that always answers with this JSON text.
    pub(crate) fn publish_answer(&self, version: &str, answer: &str) -> Release {
        let (length, answer) = (answer.len(), answer.replace('"', "\\22"));
        let component = support::guest(
            &format!("(data (i32.const 64) \"{answer}\")"),
            &format!("(call $answer (i32.const 64) (i32.const {length}))"),
        );
        self.publish(version, &component)
    }

    pub(crate) fn activate(&self, sequence: u64, release: &Release) {
        let state: Value = json!({
            "policy": "bank/loan", "channel": "production", "sequence": sequence, "issued": in_seconds(-60),
            "expires": in_seconds(36_000), "versions": [Share::new(release.clone(), 1)],
        });
        let state: ChannelState = serde_json::from_value(state).unwrap();
        let envelope = state.sign(&key(RITA)).unwrap().render();
        self.tree.put_channel(&state.policy, &state.channel, sequence, envelope.as_bytes()).unwrap();
    }

    fn arguments(&self, more: &[&str]) -> Vec<String> {
        let mut arguments: Vec<String> = vec!["serve".into(), "--listen".into(), "127.0.0.1:0".into()];
        for (flag, path) in [("--follow", "registry"), ("--roots", "roots.json"), ("--state", "state")] {
            arguments.extend([flag.to_owned(), text(&self.path(path)).to_owned()]);
        }
        arguments.extend(more.iter().map(ToString::to_string));
        arguments
    }

    /// A server that follows the registry.
    pub(crate) fn serve(&self, more: &[&str]) -> Server {
        Server::by(&[], &self.arguments(more), &self.path("server.log"))
    }

    /// One that another program starts, and that program becomes.
    pub(crate) fn serve_by(&self, program: &[&str], more: &[&str]) -> Server {
        Server::by(program, &self.arguments(more), &self.path("server.log"))
    }
}
