//! A decision as a caller sees it, written into one buffer.
//!
//! Exactly one of `value`, `undefined` and `fault` is there. What cannot hold a quote or a control character by its
//! type (names, digests, times) is written as it is; text of others goes through the writer of JSON.

use std::io::Write;

use serde::Serialize;
use verdict::core::outcome::{Answer, Fault, Party};
use verdict::{Cached, Decision};

use crate::besides::Besides;

/// What a decision takes besides its value and its reasons: bytes.
const HEAD_BYTES: usize = 640;
const REASON_BYTES: usize = 160;

#[derive(Serialize)]
struct WireFault<'a> {
    party: Party,
    #[serde(flatten)]
    fault: &'a Fault,
}

/// The JSON text of a decision, with what more is wanted.
///
/// # Errors
/// Never, for what a host decides: all of it has a form in JSON.
pub(crate) fn text(decision: &Decision, besides: &Besides<'_>) -> std::io::Result<Vec<u8>> {
    let mut out = Vec::with_capacity(capacity(decision));
    write(&mut out, decision, besides)?;
    Ok(out)
}

/// Writes the JSON text of a decision after what is written.
///
/// # Errors
/// As [`text`].
pub(crate) fn write(out: &mut Vec<u8>, decision: &Decision, besides: &Besides<'_>) -> std::io::Result<()> {
    out.write_all(b"{\"decision_id\":")?;
    serde_json::to_writer(&mut *out, &decision.id)?;
    write!(out, ",\"policy\":\"{}\",\"version\":", decision.policy)?;
    serde_json::to_writer(&mut *out, &decision.version)?;
    write!(out, ",\"component\":\"{}\"", decision.component)?;
    if let Some(channel) = &decision.channel {
        write!(out, ",\"channel\":\"{}\",\"sequence\":{}", channel.name, channel.sequence)?;
        if let Some(id) = &channel.shadow_of {
            out.write_all(b",\"shadow_of\":")?;
            serde_json::to_writer(&mut *out, id)?;
        }
    }
    if let Some(data) = &decision.data {
        write!(out, ",\"data\":\"{data}\"")?;
    }
    out.write_all(b",\"rule\":")?;
    serde_json::to_writer(&mut *out, &decision.rule)?;
    out.write_all(if decision.allow { b",\"allow\":true" } else { b",\"allow\":false" })?;
    result(out, &decision.result, decision.fuel)?;
    write!(out, ",\"decision_time\":\"{}\"", decision.decision_time)?;
    write!(out, ",\"received_at\":\"{}\"", decision.received_at)?;
    if decision.repeated {
        out.write_all(b",\"repeated\":true")?;
    }
    cached(out, decision)?;
    out.write_all(if decision.index.is_some() { b",\"recorded\":true" } else { b",\"recorded\":false" })?;
    besides.write(out, decision)?;
    out.push(b'}');
    Ok(())
}

/// How the answer stands to the cache, where the policy's answers are cached.
fn cached(out: &mut Vec<u8>, decision: &Decision) -> std::io::Result<()> {
    match &decision.cached {
        Cached::Off => Ok(()),
        Cached::Hit { first } => {
            out.write_all(b",\"cached\":\"hit\",\"first\":")?;
            Ok(serde_json::to_writer(out, first)?)
        }
        other => write!(out, ",\"cached\":\"{}\"", other.name()),
    }
}

/// Writes what came of a question, after other members.
pub(crate) fn result(
    out: &mut Vec<u8>,
    result: &Result<Answer, Fault>,
    fuel: Option<u64>,
) -> std::io::Result<()> {
    match result {
        Ok(answer) => {
            match &answer.value {
                // The engine has checked that it is JSON.
                Some(value) => {
                    out.write_all(b",\"value\":")?;
                    out.write_all(value.as_bytes())?;
                }
                None => out.write_all(b",\"undefined\":true")?,
            }
            out.write_all(b",\"reasons\":")?;
            serde_json::to_writer(&mut *out, &answer.reasons)?;
        }
        Err(fault) => {
            out.write_all(b",\"fault\":")?;
            serde_json::to_writer(&mut *out, &WireFault { party: fault.code.party(), fault })?;
            out.write_all(b",\"reasons\":[]")?;
        }
    }
    match fuel {
        Some(fuel) => write!(out, ",\"fuel\":{fuel}"),
        None => Ok(()),
    }
}

fn capacity(decision: &Decision) -> usize {
    let said = match &decision.result {
        Ok(answer) => answer.value.as_deref().map_or(0, str::len) + answer.reasons.len() * REASON_BYTES,
        Err(fault) => fault.message.len(),
    };
    HEAD_BYTES + said
}

#[cfg(test)]
pub(crate) mod tests {
    use serde_json::{Value, json};
    use verdict::core::digest::Digest;
    use verdict::core::outcome::{FaultCode, Reason};
    use verdict::core::record::Through;
    use verdict::core::time::Timestamp;

    use super::*;

    pub(crate) fn decision(result: Result<Answer, Fault>) -> Decision {
        Decision {
            id: "d-1".into(),
            policy: "acme/loan".parse().unwrap(),
            channel: None,
            version: "1.0.0".into(),
            component: Digest::of(b"component"),
            statement: Digest::of(b"statement"),
            semantics: 2,
            limits: verdict::core::limits::Limits::default(),
            data: None,
            rule: "eligible".into(),
            allow: false,
            fuel: result.is_ok().then_some(7),
            result,
            decision_time: Timestamp::EPOCH,
            received_at: Timestamp::from_millis(1).unwrap(),
            repeated: false,
            index: None,
            log: Vec::new(),
            reads: verdict::engine::ReadSet::default(),
            cached: Cached::Off,
            elapsed: std::time::Duration::ZERO,
            memory_bytes_peak: None,
        }
    }

    fn value(decision: &Decision) -> Value {
        serde_json::from_slice(&text(decision, &Besides::default()).unwrap()).unwrap()
    }

    fn head() -> Value {
        json!({
            "decision_id": "d-1", "policy": "acme/loan", "version": "1.0.0",
            "component": Digest::of(b"component"), "rule": "eligible", "allow": false, "reasons": [],
            "decision_time": "1970-01-01T00:00:00.000Z", "received_at": "1970-01-01T00:00:00.001Z",
            "recorded": false,
        })
    }

    fn with(members: Value) -> Value {
        let mut all = head();
        all.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
        all
    }

    #[test]
    fn an_answer_has_its_value_and_its_reasons() {
        let reason = Reason {
            code: "a\"b".into(),
            message: "line\nline \u{1f600} \\".into(),
            pointers: vec!["/a~1b".into()],
            reference: None,
            rule: Some("§ 1".into()),
        };
        let answer = Answer { value: Some(" {\"a\": 1e400}\n".into()), reasons: vec![reason] };
        let said = Decision {
            allow: true,
            data: Some(Digest::of(b"data")),
            repeated: true,
            index: Some(3),
            ..decision(Ok(answer))
        };
        // A number beyond every double is exactly as the policy wrote it.
        let text =
            String::from_utf8(text(&said, &Besides::default()).unwrap()).unwrap().replace("1e400", "1");
        let expected = with(json!({
            "allow": true, "data": Digest::of(b"data"), "repeated": true, "recorded": true, "value": {"a": 1},
            "fuel": 7,
            "reasons": [{"code": "a\"b", "message": "line\nline \u{1f600} \\", "pointers": ["/a~1b"], "rule": "§ 1"}],
        }));
        assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), expected);
    }

    #[test]
    fn a_channel_is_named_with_its_sequence() {
        let through = |shadow_of: Option<&str>| Through {
            name: "staging".parse().unwrap(),
            sequence: 7,
            shadow_of: shadow_of.map(ToOwned::to_owned),
        };
        let said = |shadow_of| {
            let answer = Answer { value: None, reasons: Vec::new() };
            value(&Decision { channel: Some(through(shadow_of)), ..decision(Ok(answer)) })
        };
        let expected = json!({ "undefined": true, "fuel": 7, "channel": "staging", "sequence": 7 });
        assert_eq!(said(None), with(expected.clone()));
        let mut shadow = with(expected);
        shadow["shadow_of"] = "d-0".into();
        assert_eq!(said(Some("d-0")), shadow);
    }

    #[test]
    fn an_answer_out_of_the_cache_names_the_first_decision() {
        let said = |cached| {
            let answer = Answer { value: None, reasons: Vec::new() };
            value(&Decision { cached, ..decision(Ok(answer)) })
        };
        let hit = json!({ "undefined": true, "fuel": 7, "cached": "hit", "first": "d-0" });
        assert_eq!(said(Cached::Hit { first: "d-0".into() }), with(hit));
        assert_eq!(said(Cached::Miss), with(json!({ "undefined": true, "fuel": 7, "cached": "miss" })));
    }

    #[test]
    fn undefined_has_no_value() {
        let answer = Answer { value: None, reasons: Vec::new() };
        assert_eq!(value(&decision(Ok(answer))), with(json!({ "undefined": true, "fuel": 7 })));
    }

    #[test]
    fn a_fault_has_its_party_and_no_fuel() {
        let fault =
            Fault { policy_code: Some("\u{0}".into()), ..Fault::new(FaultCode::InvalidInput, "a\"b") };
        let fault_members =
            json!({"party": "caller", "code": "invalid-input", "message": "a\"b", "policy_code": "\u{0}"});
        assert_eq!(value(&decision(Err(fault))), with(json!({ "fault": fault_members })));
    }
}
