//! Decisions as AuthZEN has them (5.5), written into one buffer.

use std::collections::BTreeMap;
use std::io::Write;

use axum::http::StatusCode;
use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;
use verdict::Decision;
use verdict::core::outcome::{Answer, Fault, Party};

use super::request::given;
use crate::error::ApiError;

/// The members that the host says in a context.
const ID: &str = "decision_id";
const REASONS: &str = "reasons";

/// A decision, or why there is none.
pub(super) type Outcome = Result<Box<Decision>, ApiError>;

#[derive(Default, Deserialize)]
#[serde(default)]
struct Said<'a> {
    #[serde(borrow, deserialize_with = "given")]
    context: Option<&'a RawValue>,
}

/// The answer of a decision.
///
/// # Errors
/// A fault: 400 where the caller can mend it, 503 where another time may do, else 500.
pub(super) fn answered(decision: &Decision) -> Result<&Answer, ApiError> {
    decision.result.as_ref().map_err(|fault| {
        let message = format!("{}; decision `{}`", fault.message, decision.id);
        ApiError::new(status(fault), fault.code.code(), message)
    })
}

fn status(fault: &Fault) -> StatusCode {
    match fault.code.party() {
        Party::Caller => StatusCode::BAD_REQUEST,
        Party::Policy => StatusCode::INTERNAL_SERVER_ERROR,
        Party::Host => StatusCode::SERVICE_UNAVAILABLE,
    }
}

/// One decision.
pub(super) fn single(decision: &Decision) -> Result<Vec<u8>, ApiError> {
    let answer = answered(decision)?;
    let mut out = Vec::with_capacity(256);
    written(evaluation(&mut out, decision, answer))?;
    Ok(out)
}

/// All of them (7.2). What failed is denied, and says so (7.2.1).
pub(super) fn all(outcomes: &[Outcome]) -> Result<Vec<u8>, ApiError> {
    let mut out = Vec::with_capacity(64 + 256 * outcomes.len());
    out.extend_from_slice(b"{\"evaluations\":");
    for (number, outcome) in outcomes.iter().enumerate() {
        out.push(if number == 0 { b'[' } else { b',' });
        let decided = outcome.as_ref().map_err(failure);
        let done = match decided
            .and_then(|decision| Ok((decision, answered(decision).map_err(|error| failure(&error))?)))
        {
            Ok((decision, answer)) => evaluation(&mut out, decision, answer),
            Err(denial) => out.write_all(denial.as_bytes()),
        };
        written(done)?;
    }
    out.extend_from_slice(if outcomes.is_empty() { b"[]}" } else { b"]}" });
    Ok(out)
}

/// The denial of what failed.
fn failure(error: &ApiError) -> String {
    let error =
        json!({ "status": error.status().as_u16(), "code": error.code(), "message": error.message() });
    json!({ "decision": false, "context": { "error": error } }).to_string()
}

fn evaluation(out: &mut Vec<u8>, decision: &Decision, answer: &Answer) -> std::io::Result<()> {
    out.write_all(if decision.allow { b"{\"decision\":true," } else { b"{\"decision\":false," })?;
    out.write_all(b"\"context\":")?;
    let value = answer.value.as_deref().filter(|value| value.trim_start().starts_with('{'));
    let said = value.and_then(|value| serde_json::from_str::<Said<'_>>(value).ok()).unwrap_or_default();
    context(out, said.context, decision, answer)?;
    out.write_all(b"}")
}

/// The context of an answer: what the policy says itself, the decision's id, and its reasons, unless the policy has a
/// member of that name. Nobody but the host says which decision it is.
pub(super) fn context(
    out: &mut Vec<u8>,
    own: Option<&RawValue>,
    decision: &Decision,
    answer: &Answer,
) -> std::io::Result<()> {
    type Own<'a> = BTreeMap<String, &'a RawValue>;
    let own = own.and_then(|own| serde_json::from_str::<Own<'_>>(own.get()).ok()).unwrap_or_default();
    write!(out, "{{\"{ID}\":")?;
    serde_json::to_writer(&mut *out, &decision.id)?;
    if !answer.reasons.is_empty() && !own.contains_key(REASONS) {
        write!(out, ",\"{REASONS}\":")?;
        serde_json::to_writer(&mut *out, &answer.reasons)?;
    }
    for (name, value) in own.iter().filter(|(name, _)| name.as_str() != ID) {
        out.write_all(b",")?;
        serde_json::to_writer(&mut *out, name)?;
        write!(out, ":{value}")?;
    }
    out.write_all(b"}")
}

/// Whatever a host decides has a form in JSON.
pub(super) fn written<T>(done: std::io::Result<T>) -> Result<T, ApiError> {
    done.map_err(|error| {
        tracing::error!(%error, "an answer has no form in JSON");
        ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", "the answer cannot be written")
    })
}
