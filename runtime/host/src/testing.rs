//! Hosts for the tests: real components, signed into a folder.

use std::path::Path;

use serde_json::Value;
use tempfile::TempDir;
use verdict_core::artifact::UnverifiedArtifact;
use verdict_core::digest::Digest;
use verdict_core::key::SecretKey;
use verdict_core::oci::{Image, World};
use verdict_core::statement::sign_manifest;
use verdict_core::time::Timestamp;
use verdict_core::trust::{Author, TrustPolicy};
use verdict_registry::Layout;

use crate::{Config, Decision, Host, Request, support};

/// A folder of policies, their trust file, and the state of one host.
pub(crate) struct Bank(TempDir);

impl Bank {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        for name in ["policies", "data"] {
            std::fs::create_dir(folder.path().join(name)).unwrap();
        }
        let author = Author {
            person: "author".into(),
            public: key().public(),
            policies: ["default/*", "a/*", "b/*"].map(|pattern| pattern.parse().unwrap()).into(),
            not_before: None,
            not_after: None,
        };
        let expires = Timestamp::from_millis(crate::decide::now().millis() + 3_600_000).unwrap();
        let trust = TrustPolicy::new(1, expires, vec![author]).unwrap();
        std::fs::write(folder.path().join("trust.json"), trust.render()).unwrap();
        Self(folder)
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    /// Signs a component into the folder. `members` are those of its manifest.
    pub(crate) fn publish(&self, component: &[u8], members: Value) {
        let manifest = support::manifest(component, members);
        let image = Image::new(component, World::default(), &manifest.policy, &manifest.version).unwrap();
        let statement = sign_manifest(&manifest, Digest::of(&image.manifest), &key()).unwrap();
        let folder = format!("{}-{}", manifest.policy, manifest.version).replace('/', "-");
        let artifact = UnverifiedArtifact {
            reference: folder.clone(),
            manifest_bytes: image.manifest,
            config: image.config,
            component: component.to_vec(),
            statements: vec![statement.render().into_bytes()],
        };
        let layout = Layout::store(&self.path().join("policies").join(folder), &artifact).unwrap();
        layout.attach_statement(&artifact.statements[0]).unwrap();
    }

    pub(crate) fn data(&self, tenant: &str, json: &str) {
        std::fs::write(self.path().join("data").join(format!("{tenant}.json")), json).unwrap();
    }

    pub(crate) fn config(&self) -> Config {
        let path = |name: &str| self.path().join(name);
        let config = Config::new(path("policies"), path("trust.json"), path("state"));
        Config { data: Some(path("data")), allow_decision_time: true, ..config }
    }

    pub(crate) fn host(&self) -> Host {
        let host = Host::open(self.config()).unwrap();
        assert!(host.quarantine().is_empty(), "{:?}", host.quarantine());
        host
    }
}

fn key() -> SecretKey {
    SecretKey::from_seed([7; 32])
}

pub(crate) fn request(policy: &str, input: &str) -> Request {
    Request {
        policy: policy.parse().unwrap(),
        channel: None,
        rule: None,
        input: input.into(),
        id: None,
        decision_time: None,
        caller: None,
    }
}

pub(crate) fn ask(host: &Host, policy: &str, input: &str) -> Box<Decision> {
    host.decide(request(policy, input)).unwrap().wait().unwrap()
}
