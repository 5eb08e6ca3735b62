//! What a policy learns from one step, as bytes that two documents have in common exactly where no policy can tell them
//! apart by that step. It stands beside what `capabilities::documents` hands out: whatever a result, or its price in
//! fuel, depends on is in these bytes.

use sha2::{Digest as _, Sha256};

use crate::document::{Document, Value};
use crate::reads::Operation;

/// What is longer is represented by its SHA-256, which takes more time for what is shorter than to copy and compare it.
const EXACT_BYTES_MAX: usize = 512;

const ABSENT: u8 = 0;
const NULL: u8 = 1;
const FALSE: u8 = 2;
const TRUE: u8 = 3;
const NUMBER: u8 = 4;
const TEXT: u8 = 5;
const ARRAY: u8 = 6;
const OBJECT: u8 = 7;
const KEYS: u8 = 8;
const JSON: u8 = 9;
/// Set where a digest follows, and not the bytes themselves.
const DIGEST: u8 = 0x80;

/// Appends what a policy gets at `pointer`, which must be well formed, of a document or of none, to `out`. None of these
/// texts is the beginning of another.
pub fn observe(document: Option<&Document>, operation: Operation, pointer: &str, out: &mut Vec<u8>) {
    let found = document.and_then(|document| Some((document, document.find(pointer)?)));
    let Some((document, node)) = found else { return out.push(ABSENT) };
    match operation {
        Operation::Read => observe_value(&document.value(&node), out),
        Operation::Json => put(JSON, document.source(&node).as_bytes(), out),
        Operation::Keys => {
            let Some(names) = document.names(&node) else { return out.push(ABSENT) };
            let mut all = Vec::new();
            for name in names {
                all.extend_from_slice(&name.len().to_le_bytes());
                all.extend_from_slice(name.as_bytes());
            }
            put(KEYS, &all, out);
        }
    }
}

fn observe_value(value: &Value<'_>, out: &mut Vec<u8>) {
    let mut count = |kind, count: u32| {
        out.push(kind);
        out.extend_from_slice(&count.to_le_bytes());
    };
    match value {
        Value::Null => out.push(NULL),
        Value::Boolean(false) => out.push(FALSE),
        Value::Boolean(true) => out.push(TRUE),
        Value::Array(length) => count(ARRAY, *length),
        Value::Object(length) => count(OBJECT, *length),
        Value::Number(text) => put(NUMBER, text.as_bytes(), out),
        Value::Text(text) => put(TEXT, text.as_bytes(), out),
    }
}

fn put(kind: u8, bytes: &[u8], out: &mut Vec<u8>) {
    match u16::try_from(bytes.len()) {
        Ok(length) if bytes.len() <= EXACT_BYTES_MAX => {
            out.push(kind);
            out.extend_from_slice(&length.to_le_bytes());
            out.extend_from_slice(bytes);
        }
        _ => {
            out.push(kind | DIGEST);
            out.extend_from_slice(&Sha256::digest(bytes));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document::DocumentLimits;

    fn observed(json: &str, operation: Operation, pointer: &str) -> Vec<u8> {
        let document = Document::parse(json, &DocumentLimits::default()).unwrap();
        let mut out = Vec::new();
        observe(Some(&document), operation, pointer, &mut out);
        out
    }

    #[test]
    fn what_a_policy_cannot_tell_apart_is_the_same() {
        let read = |json: &str| observed(json, Operation::Read, "/a");
        assert_eq!(read(r#"{"a": "x\u0079"}"#), read(r#"{"b": 1, "a":"xy"}"#));
        assert_eq!(read(r#"{"a": [1, 2]}"#), read(r#"{"a": [3, {}]}"#));
        assert_eq!(read("{}"), read(r#"{"b": null}"#));
        let keys = |json: &str| observed(json, Operation::Keys, "");
        assert_eq!(keys(r#"{"a": 1, "b": 2}"#), keys(r#"{"\u0061": 3, "b": {}}"#));
        assert_eq!(keys("[]"), keys("1"));
        let mut nothing = Vec::new();
        observe(None, Operation::Read, "/a", &mut nothing);
        assert_eq!(nothing, read("{}"));
    }

    #[test]
    fn what_a_policy_can_tell_apart_differs() {
        let long = |last: char| format!(r#"{{"a": "{}{last}"}}"#, "x".repeat(EXACT_BYTES_MAX));
        let read = [
            "{}",
            r#"{"a": null}"#,
            r#"{"a": false}"#,
            r#"{"a": true}"#,
            r#"{"a": 1}"#,
            r#"{"a": 1.0}"#,
            r#"{"a": "1"}"#,
            r#"{"a": ""}"#,
            r#"{"a": []}"#,
            r#"{"a": {}}"#,
            r#"{"a": [1]}"#,
            &long('y'),
            &long('z'),
        ];
        let mut seen: Vec<_> = read.iter().map(|json| observed(json, Operation::Read, "/a")).collect();
        let keys = [r#"{"a": 1, "b": 2}"#, r#"{"b": 1, "a": 2}"#, r#"{"ab": 1}"#, "{}"];
        seen.extend(keys.iter().map(|json| observed(json, Operation::Keys, "")));
        let json = ["1", "1.0", "[1]", "[1 ]", &long('y'), &long('z')];
        seen.extend(json.iter().map(|json| observed(json, Operation::Json, "")));
        for (n, one) in seen.iter().enumerate() {
            for other in &seen[n + 1..] {
                assert!(!other.starts_with(one) && !one.starts_with(other), "{one:?} {other:?}");
            }
        }
    }
}
