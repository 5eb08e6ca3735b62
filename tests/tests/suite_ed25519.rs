//! The verifier of `verdict_core::key` against Wycheproof and the CCTV edge cases.

use serde_json::Value;
use verdict_core::key::PublicKey;
use verdict_tests::suites::{self, Report};

fn hex(text: &str) -> Vec<u8> {
    let digit = |at: usize| u8::from_str_radix(&text[at..at + 2], 16).unwrap();
    (0..text.len()).step_by(2).map(digit).collect()
}

/// Whether signature and key, of any length, are accepted for the message.
fn accepts(key: &str, message: &[u8], signature: &str) -> bool {
    let key = <[u8; 32]>::try_from(hex(key)).ok().and_then(|key| PublicKey::from_bytes(key).ok());
    let signature = <[u8; 64]>::try_from(hex(signature)).ok();
    key.zip(signature).is_some_and(|(key, signature)| key.verifies(message, &signature))
}

fn text<'v>(value: &'v Value, member: &str) -> &'v str {
    value[member].as_str().unwrap()
}

fn read(path: std::path::PathBuf) -> Value {
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

#[test]
fn agrees_with_wycheproof() {
    let Some(folder) = suites::folder("ed25519") else { return };
    let mut report = Report::new("ed25519/wycheproof");
    let suite = read(folder.join("wycheproof/ed25519_test.json"));
    for group in suite["testGroups"].as_array().unwrap() {
        let key = text(&group["publicKey"], "pk");
        for case in group["tests"].as_array().unwrap() {
            let accepted = accepts(key, &hex(text(case, "msg")), text(case, "sig"));
            let expected = text(case, "result");
            report.check(&case["tcId"], accepted == (expected == "valid"), format!("{expected}: {case}"));
        }
    }
    assert_eq!(Some(report.cases() as u64), suite["numberOfTests"].as_u64());
    report.finish();
}

/// Lenient verifiers accept all of these. What strict verification accepts has no key or nonce of low order, no
/// nonce with a second encoding, and holds without multiplying the low order away.
#[test]
fn accepts_strictly_of_cctv() {
    const REFUSED: [&str; 4] = ["low_order_A", "low_order_R", "low_order_residue", "non_canonical_R"];
    let Some(folder) = suites::folder("ed25519") else { return };
    let mut report = Report::new("ed25519/cctv");
    let mut accepted = 0;
    for case in read(folder.join("cctv/ed25519vectors.json")).as_array().unwrap() {
        let flags = case["flags"].as_array().into_iter().flatten();
        let flagged = flags.filter_map(Value::as_str).any(|flag| REFUSED.contains(&flag));
        let accepts = accepts(text(case, "key"), text(case, "msg").as_bytes(), text(case, "sig"));
        accepted += usize::from(accepts);
        report.check(&case["number"], accepts != flagged, case);
    }
    assert_eq!((accepted, report.cases()), (43, 914));
    report.finish();
}
