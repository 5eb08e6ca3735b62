//! The decision routes and their wire types.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use verdict::core::digest::Digest;
use verdict::core::name::PolicyName;
use verdict::core::outcome::{Fault, Party, Reason};
use verdict::core::time::Timestamp;
use verdict::{DecideError, Decision, Pending, ReceiptState, Request};

use crate::error::{ApiError, fault_status, json};
use crate::routes::App;

/// Up to this fuel limit, some milliseconds, a policy runs on the thread that read its request; others run on a
/// bounded pool, where they cannot hold up requests.
const INLINE_FUEL_MAX: u64 = 2_000_000;

/// The body of a question.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Question<'a> {
    rule: Option<String>,
    #[serde(borrow)]
    input: &'a RawValue,
    id: Option<String>,
    decision_time: Option<Timestamp>,
}

/// A decision on the wire. Exactly one of `value`, `undefined` and `fault` is there.
#[derive(Serialize)]
struct Wire<'a> {
    decision_id: &'a str,
    policy: &'a PolicyName,
    version: &'a str,
    component: Digest,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<Digest>,
    rule: &'a str,
    allow: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    undefined: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    fault: Option<WireFault<'a>>,
    reasons: &'a [Reason],
    #[serde(skip_serializing_if = "Option::is_none")]
    fuel: Option<u64>,
    decision_time: Timestamp,
    received_at: Timestamp,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    repeated: bool,
    recorded: bool,
}

#[derive(Serialize)]
struct WireFault<'a> {
    party: Party,
    #[serde(flatten)]
    fault: &'a Fault,
}

/// `POST /v1/tenants/{tenant}/policies/{name}/decide`
pub(crate) async fn decide(
    State(app): State<Arc<App>>,
    Path((tenant, name)): Path<(String, String)>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, ApiError> {
    let policy: PolicyName = format!("{tenant}/{name}")
        .parse()
        .map_err(|error: verdict::core::name::NameError| ApiError::bad_request(error.to_string()))?;
    let question: Question<'_> = serde_json::from_slice(&body).map_err(|error| malformed(&error))?;
    let caller = app.tokens.as_ref().and_then(|tokens| tokens.caller(&headers));
    let request = Request {
        rule: question.rule,
        input: question.input.get().as_bytes().to_vec(),
        id: question.id,
        decision_time: question.decision_time,
        caller: caller.map(|name| serde_json::json!({ "name": name }).to_string()),
        policy,
    };
    let pending = evaluate(&app, request).await?;
    let pending = pending.map_err(|error| ApiError::of_decision(error, question.input.get()))?;
    Ok(answer(&pending.durable().await?))
}

async fn evaluate(app: &Arc<App>, request: Request) -> Result<Result<Pending, DecideError>, ApiError> {
    let fuel = app.host.fuel_limit(&request.policy).unwrap_or_default();
    if fuel <= INLINE_FUEL_MAX {
        return Ok(app.host.decide(request));
    }
    let busy = || {
        let message = "too many long evaluations are under way; ask again";
        ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "overloaded", message)
    };
    let permit = Arc::clone(&app.long_evaluations).try_acquire_owned().map_err(|_| busy())?;
    let host = app.host.clone();
    let evaluate = move || {
        let pending = host.decide(request);
        drop(permit);
        pending
    };
    tokio::task::spawn_blocking(evaluate).await.map_err(|_| {
        ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", "the evaluation was cut off")
    })
}

fn malformed(error: &serde_json::Error) -> ApiError {
    let help = r#"expected {"rule": "...", "input": ..., "id": "...", "decision_time": "..."}; only `input` must be there"#;
    ApiError::bad_request(format!("the body cannot be read: {error}; {help}"))
}

fn answer(decision: &Decision) -> Response {
    let (value, reasons, fault) = match &decision.result {
        Ok(answer) => (answer.value.as_deref(), answer.reasons.as_slice(), None),
        Err(fault) => (None, [].as_slice(), Some(fault)),
    };
    let wire = Wire {
        decision_id: &decision.id,
        policy: &decision.policy,
        version: &decision.version,
        component: decision.component,
        data: decision.data,
        rule: &decision.rule,
        allow: decision.allow,
        // The engine has checked that the value is JSON.
        value: value.and_then(|text| serde_json::from_str(text).ok()),
        undefined: decision.result.is_ok() && value.is_none(),
        fault: fault.map(|fault| WireFault { party: fault.code.party(), fault }),
        reasons,
        fuel: decision.fuel,
        decision_time: decision.decision_time,
        received_at: decision.received_at,
        repeated: decision.repeated,
        recorded: decision.index.is_some(),
    };
    json(fault.map_or(StatusCode::OK, fault_status), &wire)
}

/// `GET /v1/tenants/{tenant}/decisions/{id}`
pub(crate) async fn decision(
    State(app): State<Arc<App>>,
    Path((tenant, id)): Path<(String, String)>,
) -> Result<Response, ApiError> {
    let tenant = crate::routes::tenant(&tenant)?;
    match app.host.decision(&tenant, &id)? {
        Some(decision) => Ok(answer(&decision)),
        None => Err(ApiError::not_found("no decision has this id, or its evidence was erased")),
    }
}

/// `GET /v1/tenants/{tenant}/decisions/{id}/receipt`
pub(crate) async fn receipt(
    State(app): State<Arc<App>>,
    Path((tenant, id)): Path<(String, String)>,
) -> Result<Response, ApiError> {
    let tenant = crate::routes::tenant(&tenant)?;
    // A receipt exists with the next checkpoint, which is at most a second away: waiting for it spares the caller a
    // second request.
    for _ in 0..30 {
        match app.host.receipt(&tenant, &id)? {
            ReceiptState::Ready(receipt) => return Ok(json(StatusCode::OK, &receipt)),
            ReceiptState::Unknown => return Err(ApiError::not_found("no decision has this id")),
            ReceiptState::Erased => {
                let message =
                    "the evidence of this decision was erased; its record can still be proved from the log";
                return Err(ApiError::new(StatusCode::GONE, "erased", message));
            }
            ReceiptState::NotYet => tokio::time::sleep(std::time::Duration::from_millis(100)).await,
        }
    }
    let message = "no checkpoint covers this decision yet; ask again";
    Err(ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "not-yet", message))
}
