//! What is fuzzed: for each format that strangers write, a function that takes any bytes and panics when a promise is
//! broken, and the seeds to start from.
//!
//! libFuzzer calls them (`make fuzz`), and so does `tests/fuzz_brief.rs`, in every test run.

#![allow(unreachable_pub, reason = "a library here, a module there")]

#[path = "../../../runtime/engine/tests/support/mod.rs"]
#[allow(unused_imports, reason = "the engine's tests use all of it")]
mod guests;

#[path = "documents.rs"]
mod documents;

pub use documents::*;

use std::path::Path;
use std::sync::LazyLock;

use serde_json::{Value, json};
use verdict_core::artifact::{UnverifiedArtifact, verify};
use verdict_core::digest::Digest;
use verdict_core::dsse::Envelope;
use verdict_core::json as strict;
use verdict_core::key::{KeyFile, Role, SecretKey};
use verdict_core::limits::Limits;
use verdict_core::manifest::{CONTRACT, FORMAT, Manifest};
use verdict_core::oci::{Image, World};
use verdict_core::pointer::Pointer;
use verdict_core::record::{Field, Opening, Receipt, Record, commitment};
use verdict_core::refusal::RefusalCode;
use verdict_core::statement::{Statement, sign_manifest};
use verdict_core::time::Timestamp;
use verdict_core::trust::{Author, Seen, TrustPolicy};
use verdict_engine::{Document, DocumentLimits, Engine, Query};
use verdict_ledger::{Checkpoint, SigningKey, TlogProof, tree};

/// Writes the seeds to where libFuzzer looks for them.
pub fn plant(target: &str, seeds: &[Vec<u8>]) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target);
    std::fs::create_dir_all(&folder).unwrap();
    for (number, seed) in seeds.iter().enumerate() {
        std::fs::write(folder.join(format!("seed-{number}")), seed).unwrap();
    }
}

fn now() -> Timestamp {
    "2026-06-01T00:00:00Z".parse().unwrap()
}

/// A signed artifact and who is trusted.
struct Signed {
    artifact: UnverifiedArtifact,
    trust: TrustPolicy,
    statement: String,
    manifest: Manifest,
    key: SecretKey,
}

static SIGNED: LazyLock<Signed> = LazyLock::new(|| {
    let component = b"component".to_vec();
    let manifest = json!({
        "format": FORMAT, "policy": "acme/loan", "version": "1.0.0", "contract": CONTRACT,
        "component": Digest::of(&component), "rules": [{"name": "eligible", "input_schema": {"maximum": 1.5}}],
    });
    let manifest = Manifest::parse(manifest.to_string().as_bytes()).unwrap();
    let key = SecretKey::from_seed([7; 32]);
    let image = Image::new(&component, World::default(), &manifest.policy, &manifest.version).unwrap();
    let digest = Digest::of(&image.manifest);
    let author = Author {
        person: "alice".into(),
        public: key.public(),
        policies: vec!["acme/*".parse().unwrap()],
        not_before: None,
        not_after: Some("2027-06-01T00:00:00Z".parse().unwrap()),
    };
    Signed {
        statement: Statement::new(manifest.clone(), digest).render().unwrap(),
        trust: TrustPolicy::new(3, "2027-01-01T00:00:00Z".parse().unwrap(), vec![author]).unwrap(),
        artifact: UnverifiedArtifact {
            reference: "here".into(),
            manifest_bytes: image.manifest,
            config: image.config,
            component,
            statements: vec![sign_manifest(&manifest, digest, &key).unwrap().render().into_bytes()],
        },
        manifest,
        key,
    }
});

/// Signed documents, and those that say whom to believe.
pub fn envelope_seeds() -> Vec<Vec<u8>> {
    let seen = Seen::default().note_trust(3).note(&SIGNED.manifest.policy, SIGNED.manifest.version.clone());
    vec![
        SIGNED.artifact.statements[0].clone(),
        SIGNED.statement.clone().into_bytes(),
        SIGNED.trust.render().into_bytes(),
        seen.render().into_bytes(),
        KeyFile::new(Role::Author, SIGNED.key.clone()).render().as_bytes().to_vec(),
        SIGNED.artifact.manifest_bytes.clone(),
    ]
}

/// No bytes make a manifest admitted that was not signed, and what is read is written as it was.
pub fn envelope(data: &[u8]) {
    let with = |change: &dyn Fn(&mut UnverifiedArtifact)| {
        let mut artifact = SIGNED.artifact.clone();
        change(&mut artifact);
        if let Ok(verified) = verify(artifact, &SIGNED.trust, now()) {
            assert_eq!(verified.manifest(), &SIGNED.manifest);
            assert_eq!(verified.statement_digest(), Digest::of(SIGNED.statement.as_bytes()));
        }
    };
    with(&|artifact| artifact.statements = vec![data.to_vec()]);
    with(&|artifact| artifact.statements.insert(0, data.to_vec()));
    with(&|artifact| artifact.manifest_bytes = data.to_vec());
    with(&|artifact| artifact.config = data.to_vec());
    if let Ok(envelope) = Envelope::parse(data) {
        assert_eq!(Envelope::parse(envelope.render().as_bytes()).unwrap(), envelope);
    }
    if let Ok(statement) = Statement::parse(data) {
        let text = statement.render().unwrap();
        assert_eq!(Statement::parse(text.as_bytes()).unwrap().render().unwrap(), text);
    }
    if let Ok(trust) = TrustPolicy::parse(data) {
        assert_eq!(TrustPolicy::parse(trust.render().as_bytes()).unwrap(), trust);
    }
    if let Ok(seen) = Seen::parse(data) {
        assert_eq!(Seen::parse(seen.render().as_bytes()).unwrap(), seen);
    }
    if let Ok(file) = KeyFile::parse(data) {
        assert_eq!(
            KeyFile::parse(file.render().as_bytes()).unwrap().secret().public(),
            file.secret().public()
        );
    }
}

const ORIGIN: &str = "log.example/acme";

fn log_key() -> SigningKey {
    SigningKey::generate([3; 32])
}

fn field_bytes(field: Field) -> &'static [u8] {
    match field {
        Field::Answer => b"true",
        Field::Caller => b"null",
        Field::First => b"",
        Field::Fuel => b"17",
        Field::Input => b"{}",
        Field::Reads | Field::Reasons => b"[]",
        Field::Rule => b"eligible",
    }
}

/// A record in a log of three.
static LEAVES: LazyLock<Vec<Vec<u8>>> = LazyLock::new(|| {
    let record = Record {
        id: "decision-1".into(),
        policy: SIGNED.manifest.policy.clone(),
        channel: None,
        version: SIGNED.manifest.version.clone(),
        component: SIGNED.manifest.component,
        statement: Digest::of(SIGNED.statement.as_bytes()),
        data: Some(Digest::of(b"{}")),
        decision_time: now(),
        received_at: now(),
        semantics: 1,
        limits: Limits::default(),
        fault: None,
        commitments: Field::ALL.iter().map(|f| (*f, commitment(*f, &[5; 32], field_bytes(*f)))).collect(),
    };
    vec![b"before".to_vec(), record.to_bytes().unwrap(), b"after".to_vec()]
});

/// A receipt and its parts.
pub fn receipt_seeds() -> Vec<Vec<u8>> {
    let hashes: Vec<_> = LEAVES.iter().map(|leaf| tree::leaf_hash(leaf)).collect();
    let checkpoint = Checkpoint::new(ORIGIN.into(), 3, tree::root(&hashes)).to_string();
    let checkpoint = log_key().sign(ORIGIN, &checkpoint).unwrap();
    let path = vec![hashes[0], hashes[2]];
    let proof = TlogProof { extra: Some(LEAVES[1].clone()), index: 1, hashes: path, checkpoint };
    let opening = |field: &Field| {
        let value = String::from_utf8(field_bytes(*field).to_vec()).unwrap();
        (*field, Opening { salt: [5; 32], value: Some(value).filter(|_| *field != Field::Input) })
    };
    let receipt = Receipt::new(proof.to_string(), Field::ALL.iter().map(opening).collect());
    assert!(accepts(&receipt), "the seed is good");
    vec![
        receipt.render().unwrap().into_bytes(),
        proof.to_string().into_bytes(),
        proof.checkpoint.into_bytes(),
        LEAVES[1].clone(),
    ]
}

/// Whether a receipt proves that its record is in the log and its openings are the record's.
fn accepts(receipt: &Receipt) -> bool {
    let Ok(proof) = receipt.proof().parse::<TlogProof>() else { return false };
    let Some(leaf) = proof.extra.clone() else { return false };
    let key = log_key().verifier_key(ORIGIN).unwrap();
    proof.verify(&leaf, &key).is_ok()
        && Record::parse(&leaf).is_ok_and(|record| receipt.check_openings(&record).is_ok())
}

/// No bytes prove what is not in the log, and what is read is written as it was.
pub fn receipt(data: &[u8]) {
    if let Ok(receipt) = Receipt::parse(data) {
        assert_eq!(Receipt::parse(receipt.render().unwrap().as_bytes()).unwrap(), receipt);
        if accepts(&receipt) {
            check_proof(receipt.proof());
            for field in Field::ALL {
                let value = receipt.opening(*field).and_then(|opening| opening.value.as_deref());
                assert!(value.is_none_or(|value| value.as_bytes() == field_bytes(*field)), "{field}");
            }
        }
    }
    if let Ok(text) = std::str::from_utf8(data) {
        check_proof(text);
        let key = log_key().verifier_key(ORIGIN).unwrap();
        if let Ok(checkpoint) = Checkpoint::verify(text, &key) {
            assert_eq!((checkpoint.size, checkpoint.origin.as_str()), (3, ORIGIN));
        }
    }
    if let Ok(record) = Record::parse(data) {
        assert_eq!(record.to_bytes().unwrap(), data);
    }
}

fn check_proof(text: &str) {
    let Ok(proof) = text.parse::<TlogProof>() else { return };
    assert_eq!(proof.to_string(), text);
    let key = log_key().verifier_key(ORIGIN).unwrap();
    if let Some(leaf) = proof.extra.as_ref().filter(|leaf| proof.verify(leaf, &key).is_ok()) {
        assert_eq!(LEAVES.get(usize::try_from(proof.index).unwrap()), Some(leaf));
    }
}

/// Documents of every kind.
pub fn document_seeds() -> Vec<Vec<u8>> {
    [
        r#"{"a":[1,-2.5e+3,true,null,"x\u00e9\ud83d\ude00\n"],"b":{"":{"~/":0}},"c":""}"#,
        r#" [ [ ] , { } , [ { "k" : [ false ] } ] , "é€😀" , 0.000001 , 12345678901234567890 ] "#,
        r#"{"user":{"roles":["clerk"]},"amount":1e400,"deep":[[[[[[[[[[]]]]]]]]]]}"#,
        "\"text\"",
        "0",
    ]
    .map(|text| text.as_bytes().to_vec())
    .into()
}

/// The host's reader and a general one agree on what is JSON and what it says.
pub fn document(data: &[u8]) {
    let limits = DocumentLimits { bytes_max: 1 << 20, ..Default::default() };
    let document = Document::parse(data, &limits);
    if let Ok(value) = strict::parse::<Value>(data, 1 << 20) {
        let document = document.unwrap_or_else(|error| panic!("refused `{value}`: {error}"));
        assert_eq!(document.text().as_bytes(), data);
        agree(&document, &mut String::new(), &value);
    } else if let Ok(document) = document {
        // It keeps the text of numbers that no double can hold, and of a depth that the other one does not follow.
        let general: Result<&serde_json::value::RawValue, _> = serde_json::from_str(document.text());
        assert!(general.is_ok() || document.text().matches(['[', '{']).count() > 100, "{}", document.text());
    }
}

fn agree(document: &Document, pointer: &mut String, value: &Value) {
    use verdict_engine::Value as Read;
    let here: Pointer = pointer.parse().unwrap();
    let json: Value = serde_json::from_str(document.json(&here).unwrap()).unwrap();
    assert_eq!(&json, value, "{pointer}");
    let mut inside = |step: &str, value: &Value| {
        let length = pointer.len();
        *pointer += &format!("/{}", step.replace('~', "~0").replace('/', "~1"));
        agree(document, pointer, value);
        pointer.truncate(length);
    };
    match (document.read(&here).unwrap(), value) {
        (Read::Null, Value::Null) => {}
        (Read::Boolean(read), Value::Bool(value)) => assert_eq!(read, *value),
        (Read::Number(read), Value::Number(_)) => assert_eq!(&read.parse::<Value>().unwrap(), value),
        (Read::Text(read), Value::String(value)) => assert_eq!(read, value.as_str()),
        (Read::Array(count), Value::Array(values)) => {
            assert_eq!(count as usize, values.len());
            values.iter().enumerate().for_each(|(index, value)| inside(&index.to_string(), value));
        }
        (Read::Object(count), Value::Object(members)) => {
            assert_eq!(count as usize, members.len());
            assert_eq!(document.keys(&here).unwrap().len(), members.len());
            members.iter().for_each(|(name, value)| inside(name, value));
        }
        (read, value) => panic!("{pointer}: {read:?} is not {value}"),
    }
}

static ENGINE: LazyLock<Engine> = LazyLock::new(guests::engine);

/// Components, small ones.
pub fn component_seeds() -> Vec<Vec<u8>> {
    vec![
        guests::echo("/a"),
        guests::guest("", "(call $true)"),
        guests::guest("", "(loop $again (br $again)) (call $true)"),
        guests::guest("", "(drop (memory.grow (i32.const 1000))) (call $true)"),
    ]
}

/// Whatever a signed component is, it is refused with a code or gives an outcome.
pub fn component(data: &[u8]) {
    match ENGINE.inspect(data) {
        Err(refusal) => {
            assert!(
                matches!(refusal.code, RefusalCode::TooLarge | RefusalCode::MalformedComponent),
                "{refusal}"
            );
        }
        Ok(found) => {
            let members = json!({"limits": {"fuel": 50_000, "memory_bytes": 1 << 20}});
            let Ok(policy) = guests::try_load(&ENGINE, data, members) else { return };
            // The manifest grants nothing, so `input` is all that there can be.
            let input = format!("verdict:policy/input@{CONTRACT}");
            assert!(found.imports.iter().all(|import| *import == input), "{:?}", found.imports);
            let document = Document::parse(&b"{\"a\":1}"[..], &DocumentLimits::default()).unwrap();
            let query = Query { rule: "rule", input: &document, data: None, decision_time: now() };
            let outcome = policy.evaluate(&query);
            assert!(outcome.fuel <= 50_000 && outcome.memory_bytes_peak <= 1 << 20, "{outcome:?}");
        }
    }
}
