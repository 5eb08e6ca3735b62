//! A bank: who is trusted with what, images as any client pushes them, and what people sign.

use bytes::Bytes;
use serde_json::{Value, json};
use verdict_core::digest::Digest;
use verdict_core::dsse::{self, Envelope};
use verdict_core::key::SecretKey;
use verdict_core::manifest::Manifest;
use verdict_core::name::{ChannelName, PolicyName, Tenant};
use verdict_core::oci::{EMPTY_MEDIA_TYPE, Image, MANIFEST_MEDIA_TYPE, World};
use verdict_core::refusal::RefusalCode;
use verdict_core::statement::{self, Approval, Attestation, sign_manifest};
use verdict_core::trust::{
    ChannelState, DataSnapshot, Release, Revocations, Roots, Share, SignedDocument, TRUST_PAYLOAD_TYPE,
};
use verdict_registry::catalogue::{Catalogue, Change, Write};
use verdict_registry::publish::{Activation, PublishError, Published, Publisher, Ready};
use verdict_registry::repository::{Registry, RepositoryError};
use verdict_registry::store::Blobs;

use crate::places::{Place, at, change};

pub(crate) const ROOT: u8 = 1;
pub(crate) const ALICE: u8 = 2; // author
pub(crate) const BOB: u8 = 3; // approver
pub(crate) const RITA: u8 = 4; // releaser
pub(crate) const VERA: u8 = 5; // revoker
pub(crate) const DINA: u8 = 6; // signs data
pub(crate) const CI: u8 = 7; // attests tests
pub(crate) const RON: u8 = 8; // releaser
pub(crate) const SERVER: u8 = 9; // the activation key
pub(crate) const ALICE_AS_APPROVER: u8 = 12;
pub(crate) const MALLORY: u8 = 99; // nobody
pub(crate) const TESTS: &str = "https://in-toto.io/attestation/test-result/v0.1";
pub(crate) const DAY: i64 = 24 * 60 * 60;

pub(crate) fn key(seed: u8) -> SecretKey {
    SecretKey::from_seed([seed; 32])
}

pub(crate) fn loan() -> PolicyName {
    "bank/loan".parse().unwrap()
}

pub(crate) fn bank() -> Tenant {
    "bank".parse().unwrap()
}

pub(crate) fn channel(name: &str) -> ChannelName {
    name.parse().unwrap()
}

/// One approval for production, two releasers for the vault, anything goes elsewhere.
pub(crate) fn trust_json(version: u64) -> Value {
    let grant = |person: &str, seed: u8| json!({"person": person, "public": key(seed).public(), "policies": ["bank/*", "shop/*"]});
    json!({
        "format": "verdict-trust/1", "version": version, "expires": at(100 * DAY),
        "root": {"keys": [key(ROOT).public()], "threshold": 1},
        "authors": [grant("alice", ALICE)],
        "approvers": [grant("bob", BOB), grant("alice", ALICE_AS_APPROVER)],
        "releasers": [grant("rita", RITA), grant("ron", RON), grant("server:one", SERVER)],
        "data_signers": [grant("dina", DINA)],
        "revokers": [{"person": "vera", "public": key(VERA).public()}],
        "attesters": [grant("ci", CI)],
        "rules": [
            {"policies": ["bank/*"], "channels": ["production"], "approvals": 1, "releases": 1},
            {"policies": ["bank/*"], "channels": ["vault"], "approvals": 0, "releases": 2},
        ],
    })
}

/// Signed by these keys, whatever it is.
pub(crate) fn envelope(payload_type: &str, payload: &[u8], seeds: &[u8]) -> Vec<u8> {
    let mut envelope = Envelope::unsigned(payload_type, payload.to_vec());
    seeds.iter().for_each(|seed| envelope.add_signature(&key(*seed)));
    envelope.render().into_bytes()
}

pub(crate) fn signed<T: SignedDocument>(document: &T, seeds: &[u8]) -> Vec<u8> {
    envelope(T::PAYLOAD_TYPE, &document.payload().unwrap(), seeds)
}

pub(crate) fn trust(version: u64, seeds: &[u8]) -> Vec<u8> {
    envelope(TRUST_PAYLOAD_TYPE, trust_json(version).to_string().as_bytes(), seeds)
}

pub(crate) fn revocations(sequence: u64, members: Value) -> Vec<u8> {
    let mut text = json!({"sequence": sequence, "issued": at(0), "expires": at(30 * DAY)});
    text.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
    signed(&serde_json::from_value::<Revocations>(text).unwrap(), &[VERA])
}

pub(crate) fn snapshot(tenant: &str, sequence: u64, content: &[u8], seeds: &[u8]) -> Vec<u8> {
    let text = json!({
        "tenant": tenant, "sequence": sequence, "issued": at(0), "expires": at(30 * DAY),
        "digest": Digest::of(content), "bytes": content.len(),
    });
    signed(&serde_json::from_value::<DataSnapshot>(text).unwrap(), seeds)
}

pub(crate) fn state(channel: &str, sequence: u64, releases: &[&Release], members: Value) -> ChannelState {
    let versions: Vec<_> = releases.iter().map(|release| Share::new((*release).clone(), 1)).collect();
    let mut text = json!({
        "policy": "bank/loan", "channel": channel, "sequence": sequence, "issued": at(0),
        "expires": at(30 * DAY), "versions": versions,
    });
    text.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
    serde_json::from_value(text).unwrap()
}

pub(crate) fn activation(versions: &[&str]) -> Activation {
    Activation {
        versions: versions.iter().map(|version| (version.parse().unwrap(), 1)).collect(),
        shadow: None,
        sticky: None,
        data: None,
        guard: None,
        days: 30,
    }
}

/// An image of one component, as an author builds it.
#[derive(Debug, Clone)]
pub(crate) struct Built {
    pub(crate) policy: PolicyName,
    pub(crate) version: String,
    pub(crate) component: Vec<u8>,
    pub(crate) config: Vec<u8>,
    pub(crate) manifest: Vec<u8>,
}

impl Built {
    pub(crate) fn of(policy: &str, version: &str, text: &str) -> Self {
        let component = [b"\0asm\x0d\0\x01\0", text.as_bytes()].concat();
        let policy: PolicyName = policy.parse().unwrap();
        let world = World::default();
        let image = Image::new(&component, world, &policy, &version.parse().unwrap()).unwrap();
        let (config, manifest) = (image.config, image.manifest);
        Self { policy, version: version.into(), component, config, manifest }
    }

    pub(crate) fn image(&self) -> Digest {
        Digest::of(&self.manifest)
    }

    /// What its author declares.
    pub(crate) fn declared(&self, members: Value) -> Manifest {
        let mut text = json!({
            "format": verdict_core::manifest::FORMAT, "policy": self.policy, "version": self.version,
            "contract": verdict_core::manifest::CONTRACT, "component": Digest::of(&self.component),
            "rules": [{"name": "eligible"}],
        });
        text.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
        Manifest::parse(text.to_string().as_bytes()).unwrap()
    }

    /// The author's statement.
    pub(crate) fn statement(&self, seed: u8) -> Vec<u8> {
        self.statement_with(json!({}), seed)
    }

    pub(crate) fn statement_with(&self, members: Value, seed: u8) -> Vec<u8> {
        let envelope = sign_manifest(&self.declared(members), self.image(), &key(seed)).unwrap();
        envelope.render().into_bytes()
    }

    pub(crate) fn release(&self) -> Release {
        let statement = payload_of(&self.statement(ALICE));
        Release { version: self.version.parse().unwrap(), image: self.image(), statement }
    }

    pub(crate) fn approval(&self, seed: u8) -> Vec<u8> {
        let (policy, version) = (self.policy.clone(), self.version.parse().unwrap());
        self.attested(&Approval { policy, version, comment: None }.of(self.release().statement), seed)
    }

    pub(crate) fn tested(&self, seed: u8, note: u32) -> Vec<u8> {
        let predicate = json!({"result": "PASSED", "note": note});
        let statement = self.release().statement;
        self.attested(&Attestation { statement, predicate_type: TESTS.into(), predicate }, seed)
    }

    pub(crate) fn attested(&self, attestation: &Attestation, seed: u8) -> Vec<u8> {
        attestation.sign(&key(seed)).unwrap().render().into_bytes()
    }
}

pub(crate) fn payload_of(envelope: &[u8]) -> Digest {
    Digest::of(Envelope::parse(envelope).unwrap().payload())
}

/// A manifest that attaches an envelope to an image.
pub(crate) fn referrer(image: &[u8], artifact_type: &str, layer: (&str, &[u8])) -> Vec<u8> {
    let described = |media_type: &str, bytes: &[u8]| json!({"mediaType": media_type, "digest": Digest::of(bytes), "size": bytes.len()});
    let manifest = json!({
        "schemaVersion": 2, "mediaType": MANIFEST_MEDIA_TYPE, "artifactType": artifact_type,
        "config": described(EMPTY_MEDIA_TYPE, b"{}"), "layers": [described(layer.0, layer.1)],
        "subject": described(MANIFEST_MEDIA_TYPE, image),
    });
    manifest.to_string().into_bytes()
}

pub(crate) struct Bank {
    pub(crate) registry: Registry,
    pub(crate) publisher: Publisher,
    _folder: tempfile::TempDir,
}

impl Bank {
    /// A registry where nothing is.
    pub(crate) async fn empty(place: &Place) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let blobs = Blobs::directory(folder.path().join("blobs"), Default::default()).unwrap();
        let registry = Registry::new(blobs, place.open().await);
        let roots = Roots::new(vec![key(ROOT).public()], 1).unwrap();
        let publisher = Publisher::new(registry.clone(), roots).with_activation_key(key(SERVER));
        Self { registry, publisher, _folder: folder }
    }

    /// A registry with trust, and nothing revoked.
    pub(crate) async fn open(place: &Place) -> Self {
        let bank = Self::empty(place).await;
        bank.put(bank.publisher.trust(&trust(1, &[ROOT]), at(0)).await).await.unwrap();
        bank.put(bank.publisher.revocations(&revocations(1, json!({})), at(0)).await).await.unwrap();
        bank
    }

    pub(crate) fn catalogue(&self) -> &Catalogue {
        self.registry.catalogue()
    }

    pub(crate) async fn write(&self) -> Write {
        self.catalogue().write(change("alice")).await.unwrap()
    }

    /// Puts what was checked.
    pub(crate) async fn put(&self, ready: Result<Ready, PublishError>) -> Result<Published, PublishError> {
        let mut write = self.write().await;
        let published = ready?.put(&mut write, None).await?;
        write.commit().await?;
        Ok(published)
    }

    pub(crate) async fn head(&self) -> u64 {
        self.catalogue().event_head().await.unwrap()
    }

    pub(crate) async fn put_blob(&self, policy: &PolicyName, bytes: &[u8]) {
        let bytes = Bytes::copy_from_slice(bytes);
        self.registry.put_blob(policy, Digest::of(&bytes), bytes, change("alice")).await.unwrap();
    }

    async fn put_manifest(
        &self,
        policy: &PolicyName,
        reference: &str,
        bytes: &[u8],
    ) -> Result<Digest, RepositoryError> {
        let bytes = Bytes::copy_from_slice(bytes);
        let change = Change { at: at(0), ..change("alice") };
        let pushed =
            self.registry.put_manifest(policy, &reference.parse().unwrap(), None, bytes, change).await?;
        Ok(pushed.digest)
    }

    /// Pushes the image as an OCI client does, under its version.
    pub(crate) async fn push_image(&self, built: &Built) -> Result<Digest, RepositoryError> {
        self.push_image_as(built, &built.version).await
    }

    pub(crate) async fn push_image_as(
        &self,
        built: &Built,
        reference: &str,
    ) -> Result<Digest, RepositoryError> {
        self.put_blob(&built.policy, &built.config).await;
        self.put_blob(&built.policy, &built.component).await;
        self.put_manifest(&built.policy, reference, &built.manifest).await
    }

    /// Pushes a referrer as an OCI client does, by its digest.
    pub(crate) async fn push_referrer(
        &self,
        built: &Built,
        artifact_type: &str,
        layer: (&str, &[u8]),
    ) -> Result<Digest, RepositoryError> {
        self.put_blob(&built.policy, b"{}").await;
        self.put_blob(&built.policy, layer.1).await;
        let manifest = referrer(&built.manifest, artifact_type, layer);
        self.put_manifest(&built.policy, &Digest::of(&manifest).to_string(), &manifest).await
    }

    pub(crate) async fn push_statement(
        &self,
        built: &Built,
        envelope: &[u8],
    ) -> Result<Digest, RepositoryError> {
        self.push_referrer(built, statement::MEDIA_TYPE, (dsse::MEDIA_TYPE, envelope)).await
    }

    /// Publishes a version of `bank/loan` that Bob has approved.
    pub(crate) async fn publish(&self, version: &str) -> Built {
        let built = self.publish_unapproved(version).await;
        self.push_statement(&built, &built.approval(BOB)).await.unwrap();
        built
    }

    pub(crate) async fn publish_unapproved(&self, version: &str) -> Built {
        let built = Built::of("bank/loan", version, version);
        self.push_image(&built).await.unwrap();
        self.push_statement(&built, &built.statement(ALICE)).await.unwrap();
        built
    }

    /// Puts a content, and a snapshot that names it.
    pub(crate) async fn put_data(&self, sequence: u64, content: &[u8]) -> Digest {
        let mut upload = self.publisher.begin_data(&bank(), change("dina")).await.unwrap();
        upload.append(content).await.unwrap();
        let digest = Digest::of(content);
        assert_eq!(upload.finish(digest).await.unwrap(), content.len() as u64);
        let envelope = snapshot("bank", sequence, content, &[DINA]);
        self.put(self.publisher.data(&bank(), &envelope, at(0)).await).await.unwrap();
        digest
    }

    pub(crate) async fn activate(&self, name: &str, versions: &[&str]) -> Result<Published, PublishError> {
        let ready = self.publisher.activation(&loan(), &channel(name), &activation(versions), at(0)).await;
        self.put(ready).await
    }

    /// The versions that the newest state of a channel names, and its sequence.
    pub(crate) async fn answers(&self, name: &str) -> (Vec<String>, u64) {
        let name = verdict_registry::catalogue::DocumentName::channel(&loan(), name).unwrap();
        let entry = self.catalogue().document(&name).await.unwrap().unwrap();
        let payload = Envelope::parse(&entry.envelope).unwrap().payload().to_vec();
        let state = ChannelState::parse(&payload).unwrap();
        assert_eq!(state.sequence, entry.sequence);
        (state.versions.iter().map(|share| share.version.to_string()).collect(), entry.sequence)
    }
}

/// The code of a refusal; others are shown.
pub(crate) fn code<T: std::fmt::Debug>(result: Result<T, PublishError>) -> RefusalCode {
    match result {
        Err(PublishError::Refused(refusal)) => refusal.code,
        other => panic!("{other:?}"),
    }
}
