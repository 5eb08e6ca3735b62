//! The decision routes, and what a question looks like.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{Path, RawQuery, State};
use axum::http::StatusCode;
use axum::response::Response;
use serde::Deserialize;
use serde_json::value::RawValue;
use utoipa::ToSchema;
use verdict::core::name::{ChannelName, NameError, PolicyName};
use verdict::core::time::Timestamp;
use verdict::{Decision, ReceiptState, Request};

use crate::api::Asked;
use crate::error::{ApiError, fault_status, json};
use crate::routes::App;
use crate::{ask, door, wire};

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

/// The body of a question, as it is documented.
#[derive(ToSchema)]
#[expect(dead_code, reason = "the schema of `Question`")]
#[schema(as = Question)]
pub(crate) struct QuestionText {
    /// The rule; the policy's default if nothing is said.
    rule: Option<String>,
    /// What is asked about.
    input: serde_json::Value,
    /// The decision's id; the same once more is answered by the same decision.
    id: Option<String>,
    /// The time to decide at, where the host allows it.
    #[schema(format = DateTime)]
    decision_time: Option<String>,
}

/// Asks a policy. What was decided is in the log before it is answered.
// For requests that were written in a way that the door does not read.
#[utoipa::path(post, path = "/v1/tenants/{tenant}/policies/{policy}/decide", tag = "decisions", operation_id = "decide",
    params(("channel" = Option<String>, Query, description = "the channel; `production` if nothing is said")),
    request_body(content = QuestionText), responses((status = 200, description = "the decision", body = Object)))]
pub(crate) async fn routed(
    State(app): State<Arc<App>>,
    asked: Asked,
    RawQuery(query): RawQuery,
    body: Bytes,
) -> Response {
    let decided = async {
        let policy = asked.place.policy().map_err(ApiError::of)?.clone();
        decide(&app, policy, query.as_deref(), asked.principal.caller(), &body).await
    };
    door::routed(decided.await)
}

/// Asks the policy, and returns the decision as it goes to the caller, with its status.
pub(crate) async fn decide(
    app: &Arc<App>,
    policy: PolicyName,
    query: Option<&str>,
    caller: Option<&str>,
    body: &[u8],
) -> Result<(StatusCode, Vec<u8>), ApiError> {
    let channel = query.map_or(Ok(None), channel)?;
    let question: Question<'_> = serde_json::from_slice(body).map_err(|error| malformed(&error))?;
    let request = Request {
        rule: question.rule,
        input: question.input.get().as_bytes().to_vec(),
        id: question.id,
        decision_time: question.decision_time,
        caller: caller.map(ToOwned::to_owned),
        channel,
        policy,
    };
    let pending = ask::evaluate(app, request).await?;
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

/// A decision of the past, while its evidence is kept.
#[utoipa::path(get, path = "/v1/tenants/{tenant}/decisions/{id}", tag = "decisions", operation_id = "read_decision",
    responses((status = 200, description = "the decision", body = Object)))]
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

/// The proof that a decision is in the log.
#[utoipa::path(get, path = "/v1/tenants/{tenant}/decisions/{id}/receipt", tag = "decisions",
    operation_id = "read_receipt", responses((status = 200, description = "the receipt", body = Object)))]
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
