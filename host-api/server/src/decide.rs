//! The decision routes, and what a question looks like.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{Path, RawQuery, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use serde::Deserialize;
use serde_json::value::RawValue;
use verdict::core::name::{ChannelName, NameError, PolicyName};
use verdict::core::time::Timestamp;
use verdict::{DecideError, Decision, Pending, ReceiptState, Request};

use crate::auth::Caller;
use crate::error::{ApiError, fault_status, json};
use crate::routes::App;
use crate::{door, wire};

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

/// `POST /v1/tenants/{tenant}/policies/{name}/decide`, where the path was written in a way that only the router reads.
pub(crate) async fn routed(
    State(app): State<Arc<App>>,
    Path((tenant, name)): Path<(String, String)>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let policy = PolicyName::of(&tenant, &name).map_err(|error| ApiError::bad_request(error.to_string()));
    let decided = async {
        let policy = policy?;
        let caller = app.caller_in(&headers, policy.tenant())?;
        decide(&app, policy, query.as_deref(), caller, &body).await
    };
    door::routed(decided.await)
}

/// Asks the policy, and returns the decision as it goes to the caller, with its status.
pub(crate) async fn decide(
    app: &Arc<App>,
    policy: PolicyName,
    query: Option<&str>,
    caller: Option<&Caller>,
    body: &[u8],
) -> Result<(StatusCode, Vec<u8>), ApiError> {
    let channel = query.map_or(Ok(None), channel)?;
    let question: Question<'_> = serde_json::from_slice(body).map_err(|error| malformed(&error))?;
    let request = Request {
        rule: question.rule,
        input: question.input.get().as_bytes().to_vec(),
        id: question.id,
        decision_time: question.decision_time,
        caller: caller.map(|caller| caller.json().to_owned()),
        channel,
        policy,
    };
    let pending = evaluate(app, request).await?;
    let pending = pending.map_err(|error| ApiError::of_decision(error, question.input.get()))?;
    said(&pending.durable().await?)
}

/// The query of a decision: `channel=NAME`, or nothing. What is not understood is refused: whoever misspells it must not
/// be answered by another channel.
fn channel(query: &str) -> Result<Option<ChannelName>, ApiError> {
    if query.is_empty() {
        return Ok(None);
    }
    let Some(name) = query.strip_prefix("channel=") else {
        return Err(ApiError::bad_request("the query may only be `channel=NAME`"));
    };
    name.parse().map(Some).map_err(|error: NameError| ApiError::bad_request(error.to_string()))
}

async fn evaluate(app: &Arc<App>, request: Request) -> Result<Result<Pending, DecideError>, ApiError> {
    let host = app.host()?;
    let fuel = host.fuel_limit(&request.policy, request.channel.as_ref()).unwrap_or_default();
    if fuel <= INLINE_FUEL_MAX {
        return Ok(host.decide(request));
    }
    let busy = || {
        let message = "too many long evaluations are under way; ask again";
        ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "overloaded", message)
    };
    let permit = Arc::clone(&app.long_evaluations).try_acquire_owned().map_err(|_| busy())?;
    let host = host.clone();
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

/// A decision's status and text.
fn said(decision: &Decision) -> Result<(StatusCode, Vec<u8>), ApiError> {
    let status = decision.result.as_ref().err().map_or(StatusCode::OK, fault_status);
    let unwritable = |error: std::io::Error| {
        tracing::error!(%error, "a decision has no form in JSON");
        ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", "the decision cannot be written")
    };
    Ok((status, wire::text(decision).map_err(unwritable)?))
}

/// `GET /v1/tenants/{tenant}/decisions/{id}`
pub(crate) async fn decision(
    State(app): State<Arc<App>>,
    Path((tenant, id)): Path<(String, String)>,
) -> Result<Response, ApiError> {
    let tenant = crate::routes::tenant(&tenant)?;
    match app.host()?.decision(&tenant, &id)? {
        Some(decision) => Ok(door::routed(said(&decision))),
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
        match app.host()?.receipt(&tenant, &id)? {
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
