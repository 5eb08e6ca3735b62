//! A really signed artifact in a really written layout, and the way from there to admission.

#![allow(dead_code, reason = "each test program uses its part")]

pub(crate) mod documents;

use std::path::Path;

use serde_json::{Value, json};
use verdict_core::artifact::{AdmittedArtifact, UnverifiedArtifact, admit, verify};
use verdict_core::digest::Digest;
use verdict_core::dsse::Envelope;
use verdict_core::key::SecretKey;
use verdict_core::manifest::{CONTRACT, FORMAT, Manifest};
use verdict_core::refusal::Refusal;
use verdict_core::statement::{MEDIA_TYPE, Statement, sign_manifest};
use verdict_core::time::Timestamp;
use verdict_core::trust::{Author, Seen, TrustPolicy};
use verdict_registry::Layout;

/// A component with nothing but a custom section.
pub(crate) const COMPONENT: &[u8] = b"\0asm\x0d\0\x01\0\0\x29\x04name-some bytes that stand for some code";

pub(crate) fn time(text: &str) -> Timestamp {
    text.parse().unwrap()
}

pub(crate) fn now() -> Timestamp {
    time("2026-06-01T00:00:00Z")
}

/// Alice, who is trusted with `acme/*`.
pub(crate) fn alice() -> SecretKey {
    SecretKey::from_seed([1; 32])
}

/// Bob, who is trusted with `other/*` only.
pub(crate) fn bob() -> SecretKey {
    SecretKey::from_seed([2; 32])
}

/// Mallory, of whom nobody has heard.
pub(crate) fn mallory() -> SecretKey {
    SecretKey::from_seed([9; 32])
}

pub(crate) fn author(person: &str, key: &SecretKey, policies: &str) -> Author {
    let (public, policies) = (key.public(), vec![policies.parse().unwrap()]);
    Author { person: person.into(), public, policies, not_before: None, not_after: None }
}

pub(crate) fn authors() -> Vec<Author> {
    vec![author("alice", &alice(), "acme/*"), author("bob", &bob(), "other/*")]
}

pub(crate) fn trust() -> TrustPolicy {
    TrustPolicy::new(5, time("2027-01-01T00:00:00Z"), authors()).unwrap()
}

pub(crate) fn manifest_json(policy: &str) -> Value {
    json!({
        "format": FORMAT, "policy": policy, "version": "1.2.0", "contract": CONTRACT,
        "component": Digest::of(COMPONENT), "rules": [{"name": "eligible"}], "capabilities": {"decision_time": true},
    })
}

pub(crate) fn manifest(policy: &str) -> Manifest {
    Manifest::parse(manifest_json(policy).to_string().as_bytes()).unwrap()
}

/// Writes version 1.2.0 of `acme/loan` into `folder`, signed by Alice.
pub(crate) fn signed(folder: &Path) -> Layout {
    let manifest = manifest("acme/loan");
    let layout = Layout::create(folder, COMPONENT, &manifest.policy, &manifest.version).unwrap();
    let envelope = sign_manifest(&manifest, layout.image_digest(), &alice()).unwrap();
    layout.attach_statement(envelope.render().as_bytes()).unwrap();
    layout
}

/// The same as bytes.
pub(crate) fn artifact() -> UnverifiedArtifact {
    signed(tempfile::tempdir().unwrap().path()).fetch().unwrap()
}

/// The statement about `artifact()`, for changing.
pub(crate) fn statement_json() -> Value {
    let image = Digest::of(&artifact().manifest_bytes);
    serde_json::from_str(&Statement::new(manifest("acme/loan"), image).render().unwrap()).unwrap()
}

/// The envelope in which Alice signs anything.
pub(crate) fn envelope(statement: &Value) -> Vec<u8> {
    Envelope::sign(MEDIA_TYPE, statement.to_string().into_bytes(), &alice()).render().into_bytes()
}

/// From bytes to admission, under what is usual here.
pub(crate) fn admitted(artifact: UnverifiedArtifact) -> Result<AdmittedArtifact, Refusal> {
    admit(verify(artifact, &trust(), now())?, &trust(), &Seen::default(), now())
}

/// From a folder to admission.
pub(crate) fn admitted_from(folder: &Path) -> Result<AdmittedArtifact, Refusal> {
    admitted(Layout::open(folder)?.fetch()?)
}
