//! The signed documents that a host goes by, and patches of data.

use std::sync::LazyLock;

use serde_json::{Value, json};
use verdict_core::digest::Digest;
use verdict_core::dsse::Envelope;
use verdict_core::json as strict;
use verdict_core::key::SecretKey;
use verdict_core::patch::{PatchLimits, apply_patch};
use verdict_core::pointer::Pointer;
use verdict_core::trust::{
    Anchor, Basis, ChannelState, DataSnapshot, Revocations, Roots, Seen, SignedDocument, TRUST_PAYLOAD_TYPE,
    TrustPolicy, Verified,
};

use super::now;

const ROOT: u8 = 1;
const NEXT_ROOT: u8 = 2;
const RELEASER: u8 = 3;
const REVOKER: u8 = 4;
const DATA_SIGNER: u8 = 5;
const ISSUED: &str = "2026-05-01T00:00:00Z";
const EXPIRES: &str = "2026-07-01T00:00:00Z";

fn key(seed: u8) -> SecretKey {
    SecretKey::from_seed([seed; 32])
}

/// A trust policy, and the next one by which the root key changes hands.
fn trust_text(version: u64, root: u8) -> String {
    let grant = |person: &str, seed: u8| json!({"person": person, "public": key(seed).public(), "policies": ["bank/*"]});
    json!({
        "format": "verdict-trust/1", "version": version, "expires": EXPIRES,
        "root": {"keys": [key(root).public()], "threshold": 1},
        "authors": [grant("alice", 6)], "approvers": [grant("bob", 7)], "releasers": [grant("rita", RELEASER)],
        "data_signers": [grant("dina", DATA_SIGNER)],
        "revokers": [{"person": "vera", "public": key(REVOKER).public()}],
        "rules": [{"policies": ["bank/*"], "approvals": 1, "releases": 1,
                   "statements": [{"predicate": "https://example.org/test", "signers": 1, "require": {"/result": "PASSED"}}]}],
    })
    .to_string()
}

fn signed_trust(version: u64, root: u8, by: &[u8]) -> Vec<u8> {
    let text = trust_text(version, root).into_bytes();
    let mut envelope = Envelope::sign(TRUST_PAYLOAD_TYPE, text, &key(by[0]));
    by[1..].iter().for_each(|seed| envelope.add_signature(&key(*seed)));
    envelope.render().as_bytes().to_vec()
}

/// What was signed in earnest.
struct Site {
    roots: Roots,
    chain: Vec<Vec<u8>>,
    policy: TrustPolicy,
    revocations: Verified<Revocations>,
    seen: Seen,
    documents: [Vec<u8>; 3],
}

static SITE: LazyLock<Site> = LazyLock::new(|| {
    let roots = Roots::new(vec![key(ROOT).public()], 1).unwrap();
    let chain = vec![signed_trust(1, ROOT, &[ROOT]), signed_trust(2, NEXT_ROOT, &[ROOT, NEXT_ROOT])];
    let envelopes: Vec<&[u8]> = chain.iter().map(Vec::as_slice).collect();
    let policy =
        TrustPolicy::verify_signed(&envelopes, Anchor::Roots(&roots), &Seen::default(), now()).unwrap();
    let documents = documents();
    let none = Seen::default();
    let basis = Basis { trust: &policy, revocations: None, seen: &none, now: now() };
    let revocations = Revocations::verify(&documents[1], &basis).unwrap();
    let seen = Seen::default().note_trust_policy(&policy).note_document(&revocations);
    Site { roots, chain, revocations, seen, documents, policy }
});

fn texts() -> [Value; 3] {
    let digest = Digest::of(b"{}");
    let share = |version: &str, weight: u32| json!({"version": version, "image": digest, "statement": digest, "weight": weight});
    let head = |mut text: Value, sequence: u64| {
        let members = json!({"sequence": sequence, "issued": ISSUED, "expires": EXPIRES});
        text.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
        text
    };
    let channel = json!({
        "format": "verdict-channel/1", "policy": "bank/loan", "channel": "production",
        "versions": [share("1.2.0", 95), share("1.3.0", 5)], "sticky": {"pointer": "/applicant"}, "data": digest,
        "shadow": {"version": "2.0.0-rc.1", "image": digest, "statement": digest},
        "guard": {"deny_rate_max": 0.5, "fuel_ratio_max": 2, "decisions_min": 100},
    });
    let revocations = json!({
        "format": "verdict-revocations/1", "keys": [key(9).public()], "digests": [digest],
        "versions": [{"policy": "bank/loan", "version": "1.0.0"}],
    });
    let data = json!({"format": "verdict-data/1", "tenant": "bank", "digest": digest, "bytes": 2});
    [head(channel, 7), head(revocations, 2), head(data, 4)]
}

fn documents() -> [Vec<u8>; 3] {
    let sign = |text: &Value, kind: &str, by: u8| {
        let kind = format!("application/vnd.verdict.{kind}.v1+json");
        Envelope::sign(&kind, text.to_string().into_bytes(), &key(by)).render().as_bytes().to_vec()
    };
    let [channel, revocations, data] = texts();
    [
        sign(&channel, "channel", RELEASER),
        sign(&revocations, "revocations", REVOKER),
        sign(&data, "data", DATA_SIGNER),
    ]
}

/// Envelopes of trust policies, and a trust policy.
pub fn trust_seeds() -> Vec<Vec<u8>> {
    let stranger = signed_trust(2, NEXT_ROOT, &[NEXT_ROOT]);
    vec![SITE.chain[0].clone(), SITE.chain[1].clone(), stranger, trust_text(1, ROOT).into_bytes()]
}

/// No bytes make a policy trusted that the root keys did not sign, and what is read is written as it was.
pub fn trust(data: &[u8]) {
    let genuine = |version: u64, root: u8| Digest::of(trust_text(version, root).as_bytes());
    let genuine = [genuine(1, ROOT), genuine(2, NEXT_ROOT)];
    for chain in [vec![data], vec![&SITE.chain[0][..], data], vec![data, &SITE.chain[1][..]]] {
        let found = TrustPolicy::verify_signed(&chain, Anchor::Roots(&SITE.roots), &Seen::default(), now());
        if let Ok(policy) = found {
            assert!(policy.digest().is_some_and(|digest| genuine.contains(&digest)));
        }
        // Where the second was accepted, no chain leads anywhere else.
        let found = TrustPolicy::verify_signed(&chain, Anchor::Policy(&SITE.policy), &SITE.seen, now());
        if let Ok(policy) = found {
            assert_eq!(policy.digest(), Some(genuine[1]));
        }
    }
    // As an operator's own file, and signed by the root key in earnest: whatever it says is bounded and comes back.
    if let Ok(policy) = TrustPolicy::parse(data) {
        assert_eq!(TrustPolicy::parse(policy.render().as_bytes()).unwrap(), policy);
    }
    let envelope = Envelope::sign(TRUST_PAYLOAD_TYPE, data.to_vec(), &key(ROOT)).render();
    let chain = [envelope.as_bytes()];
    if let Ok(policy) =
        TrustPolicy::verify_signed(&chain, Anchor::Roots(&SITE.roots), &Seen::default(), now())
    {
        assert!(
            policy.root().is_some() && policy.expires() > now() && policy.digest() == Some(Digest::of(data))
        );
    }
}

/// An envelope with a channel's state, and the state.
pub fn channel_seeds() -> Vec<Vec<u8>> {
    seeds(0)
}

/// An envelope with revocations, and the revocations.
pub fn revocations_seeds() -> Vec<Vec<u8>> {
    seeds(1)
}

/// An envelope with a data snapshot, and the snapshot.
pub fn snapshot_seeds() -> Vec<Vec<u8>> {
    seeds(2)
}

fn seeds(place: usize) -> Vec<Vec<u8>> {
    vec![SITE.documents[place].clone(), texts()[place].to_string().into_bytes()]
}

/// No bytes move a channel but those that a releaser signed, and those only where they belong.
pub fn channel(data: &[u8]) {
    let (policy, channel) = ("bank/loan".parse().unwrap(), "production".parse().unwrap());
    signed(data, 0, RELEASER, |envelope, basis| {
        let found = ChannelState::verify(envelope, &policy, &channel, basis).ok()?;
        let state = found.document();
        assert!(state.policy == policy && state.channel == channel && !state.versions.is_empty());
        Some(found)
    });
}

/// No bytes revoke anything but those that a revoker signed, and none take a revocation back.
pub fn revocations(data: &[u8]) {
    signed(data, 1, REVOKER, |envelope, basis| {
        let found = Revocations::verify(envelope, basis).ok()?;
        assert!(found.document().sequence >= SITE.revocations.document().sequence);
        Some(found)
    });
}

/// No bytes are a tenant's data but those that its data signer named.
pub fn snapshot(data: &[u8]) {
    let tenant = "bank".parse().unwrap();
    signed(data, 2, DATA_SIGNER, |envelope, basis| {
        let found = DataSnapshot::verify(envelope, &tenant, basis).ok()?;
        assert_eq!(found.document().tenant, tenant);
        Some(found)
    });
}

/// As it is, a document is accepted only if it is the one that was signed; signed in earnest it is what it says.
fn signed<T: SignedDocument + PartialEq + std::fmt::Debug>(
    data: &[u8],
    place: usize,
    by: u8,
    verify: impl Fn(&[u8], &Basis<'_>) -> Option<Verified<T>>,
) {
    let Site { policy, revocations, seen, .. } = &*SITE;
    let basis = Basis { trust: policy, revocations: Some(revocations), seen, now: now() };
    if let Some(found) = verify(data, &basis) {
        assert_eq!(found.digest(), Digest::of(texts()[place].to_string().as_bytes()));
    }
    if let Ok(document) = T::parse(data) {
        assert_eq!(T::parse(&document.payload().unwrap()).unwrap(), document);
    }
    let envelope = Envelope::sign(T::PAYLOAD_TYPE, data.to_vec(), &key(by)).render();
    if let Some(found) = verify(envelope.as_bytes(), &basis) {
        assert_eq!(found.digest(), Digest::of(data));
        let head = found.document().head();
        assert!(head.sequence > 0 && head.expires > now() && found.until() > now());
    }
}

/// A document and a patch of it, on two lines.
pub fn patch_seeds() -> Vec<Vec<u8>> {
    [
        (
            r#"{"a":{"b":[1,2,{"c":null}]},"~/":"x"}"#,
            r#"[{"op":"add","path":"/a/b/1","value":7},{"op":"remove","path":"/a/b/0"}]"#,
        ),
        (
            r#"{"a":[1,2,3]}"#,
            r#"[{"op":"move","from":"/a/0","path":"/a/-"},{"op":"copy","from":"/a","path":"/b"}]"#,
        ),
        (
            r#"{"a":{"b":1}}"#,
            r#"[{"op":"test","path":"/a","value":{"b":1}},{"op":"replace","path":"/a/b","value":[]}]"#,
        ),
        (
            r#"[["~"],"é😀"]"#,
            r#"[{"op":"replace","path":"","value":{"":{}}},{"op":"add","path":"/","value":"\u00e9"}]"#,
        ),
        (
            r#"{"~1":{"/":0}}"#,
            r#"[{"op":"test","path":"/~01/~1","value":0},{"op":"move","from":"/~01","path":"/~01/x"}]"#,
        ),
    ]
    .map(|(text, patch)| format!("{text}\n{patch}").into_bytes())
    .into()
}

/// A patch does what RFC 6902 says, as a second implementation reads it, or nothing.
pub fn patch(data: &[u8]) {
    let Some((text, patch)) = std::str::from_utf8(data).ok().and_then(|data| data.split_once('\n')) else {
        return;
    };
    let limits = PatchLimits { text_bytes_max: 1 << 20, ..PatchLimits::default() };
    let patched = apply_patch(text, patch, &limits);
    if let Ok(patched) = &patched {
        assert!(patched.len() <= limits.text_bytes_max);
    }
    let parse = |text: &str| strict::parse::<Value>(text.as_bytes(), 2 << 20).ok().filter(is_plain);
    // What the general reader does not follow, or reads with a loss, is not compared.
    let (Some(document), Some(operations)) = (parse(text), parse(patch)) else { return };
    let Value::Array(operations) = operations else { return assert!(patched.is_err()) };
    match operations.iter().try_fold(document, applied) {
        Ok(expected) => {
            assert_eq!(parse(&patched.unwrap_or_else(|e| panic!("{e}: {text} {patch}"))), Some(expected))
        }
        Err(Refused::No) => assert!(patched.is_err(), "{text} {patch}"),
        Err(Refused::Open) => {}
    }
}

/// Numbers are integers that a value holds exactly.
fn is_plain(value: &Value) -> bool {
    match value {
        Value::Number(number) => !number.is_f64(),
        Value::Array(values) => values.iter().all(is_plain),
        Value::Object(members) => members.values().all(is_plain),
        _ => true,
    }
}

enum Refused {
    No,
    /// The RFC does not say.
    Open,
}

/// One operation, without haste.
fn applied(mut document: Value, operation: &Value) -> Result<Value, Refused> {
    let text = |member: &str| -> Result<String, Refused> {
        let text = operation.get(member).and_then(Value::as_str).ok_or(Refused::No)?;
        text.parse::<Pointer>().map_err(|_| Refused::No)?;
        Ok(text.into())
    };
    let path = text("path")?;
    let value = || operation.get("value").cloned().ok_or(Refused::No);
    let found = |document: &Value, path: &str| document.pointer(path).cloned().ok_or(Refused::No);
    match operation.get("op").and_then(Value::as_str).ok_or(Refused::No)? {
        "add" => add(&mut document, &path, value()?)?,
        "remove" => drop(remove(&mut document, &path)?),
        "replace" => *document.pointer_mut(&path).ok_or(Refused::No)? = value()?,
        "copy" => {
            let copied = found(&document, &text("from")?)?;
            add(&mut document, &path, copied)?;
        }
        "move" => {
            let from = text("from")?;
            if path.strip_prefix(&from).is_some_and(|rest| rest.starts_with('/')) {
                return Err(Refused::No);
            }
            let moved = if from == path { found(&document, &from)? } else { remove(&mut document, &from)? };
            if from != path {
                add(&mut document, &path, moved)?;
            }
        }
        "test" => drop((found(&document, &path)? == value()?).then_some(()).ok_or(Refused::No)?),
        _ => return Err(Refused::No),
    }
    Ok(document)
}

/// The parent of what a pointer names, and its last token.
fn parent<'d>(document: &'d mut Value, path: &str) -> Result<(&'d mut Value, String), Refused> {
    let (parent, token) = path.rsplit_once('/').ok_or(Refused::Open)?;
    let token = token.replace("~1", "/").replace("~0", "~");
    Ok((document.pointer_mut(parent).ok_or(Refused::No)?, token))
}

/// An index as RFC 6901 writes it.
fn index(token: &str) -> Result<usize, Refused> {
    let digits = token.bytes().all(|byte| byte.is_ascii_digit());
    if !digits || (token.len() > 1 && token.starts_with('0')) {
        return Err(Refused::No);
    }
    token.parse().map_err(|_| Refused::No)
}

fn add(document: &mut Value, path: &str, value: Value) -> Result<(), Refused> {
    if path.is_empty() {
        *document = value;
        return Ok(());
    }
    match parent(document, path)? {
        (Value::Object(members), token) => drop(members.insert(token, value)),
        (Value::Array(values), token) if token == "-" => values.push(value),
        (Value::Array(values), token) => match index(&token)? {
            place if place <= values.len() => values.insert(place, value),
            _ => return Err(Refused::No),
        },
        _ => return Err(Refused::No),
    }
    Ok(())
}

fn remove(document: &mut Value, path: &str) -> Result<Value, Refused> {
    match parent(document, path)? {
        (Value::Object(members), token) => members.remove(&token).ok_or(Refused::No),
        (Value::Array(values), token) => match index(&token)? {
            place if place < values.len() => Ok(values.remove(place)),
            _ => Err(Refused::No),
        },
        _ => Err(Refused::No),
    }
}
