//! The decision routes, and what a question looks like.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::Bytes;
use axum::extract::{Path, RawQuery, State};
use axum::http::StatusCode;
use axum::response::Response;
use serde::Deserialize;
use serde_json::value::RawValue;
use utoipa::ToSchema;
use verdict::core::name::PolicyName;
use verdict::core::time::Timestamp;
use verdict::{Decision, ReceiptState, Request};

use crate::api::{Asked, ProblemView};
use crate::besides::Besides;
use crate::error::{ApiError, fault_status, json};
use crate::query::{self, Wanted};
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

/// What goes to the caller.
pub(crate) enum Told {
    /// A decision, with its status.
    Whole(StatusCode, Vec<u8>),
    /// Its value alone.
    Value(Box<Decision>),
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

/// Asks a policy. What was decided is in the log before it is answered. With `raw` the body is the input and the answer
/// is the value alone, 204 where there is none; the rest is in headers, and a fault is a problem.
// For requests that were written in a way that the door does not read.
#[utoipa::path(post, path = "/v1/tenants/{tenant}/policies/{policy}/decide", tag = "decisions", operation_id = "decide",
    params(
        ("channel" = Option<String>, Query, description = "the channel; `production` if nothing is said"),
        ("rule" = Option<String>, Query, description = "the rule, where the body does not say it"),
        ("id" = Option<String>, Query, description = "the decision's id, where the body does not say it"),
        ("raw" = Option<bool>, Query, description = "the body is the input, the answer the value"),
        ("provenance" = Option<bool>, Query, description = "the answer has `provenance`: statement, semantics, limits, build, where the receipt is"),
        ("metrics" = Option<bool>, Query, description = "the answer has `metrics`: time, fuel, memory, bytes"),
        ("explain" = Option<bool>, Query, description = "the answer has `explain`: what was read, and the reasons that rest on it"),
    ),
    request_body(content = QuestionText), responses(
        (status = 200, description = "the decision", body = Object, headers(
            ("x-verdict-decision-id" = String, description = "with `raw`: the decision's id"),
            ("x-verdict-allow" = bool, description = "with `raw`: whether a gateway lets it pass"),
            ("x-verdict-fuel" = u64, description = "with `raw`: the fuel that the answer burned"))),
        (status = 204, description = "with `raw`: the answer is undefined"),
        (status = 422, description = "the fault is the caller's: the decision; or a problem, where there is none",
            content((Object = "application/json"), (ProblemView = "application/problem+json"))),
        (status = 500, description = "the fault is the policy's",
            content((Object = "application/json"), (ProblemView = "application/problem+json"))),
        (status = 503, description = "the fault is the host's",
            content((Object = "application/json"), (ProblemView = "application/problem+json"))),
        (status = 504, description = "the fault is that it took too long",
            content((Object = "application/json"), (ProblemView = "application/problem+json")))))]
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

/// Asks the policy, and returns the decision as it goes to the caller.
pub(crate) async fn decide(
    app: &Arc<App>,
    policy: PolicyName,
    query: Option<&str>,
    caller: Option<&str>,
    body: &[u8],
) -> Result<Told, ApiError> {
    let Wanted { channel, rule, id, raw, more } = Wanted::read(query, query::OF_QUESTION)?;
    let caller = caller.map(ToOwned::to_owned);
    let (request, input) = if raw {
        (Request { policy, channel, rule, input: body.to_vec(), id, decision_time: None, caller }, body)
    } else {
        let question: Question<'_> = serde_json::from_slice(body).map_err(|error| malformed(&error))?;
        let input = question.input.get().as_bytes();
        let (rule, id) = (once("rule", rule, question.rule)?, once("id", id, question.id)?);
        let decision_time = question.decision_time;
        (Request { policy, channel, rule, input: input.to_vec(), id, decision_time, caller }, input)
    };
    let pending = ask::evaluate(app, request).await?;
    let pending = pending.map_err(|error| ApiError::of_decision(error, input))?;
    let evaluated = more.metrics.then(Instant::now);
    let decision = ask::recorded(pending).await?;
    if raw {
        return Ok(Told::Value(decision));
    }
    let waited = evaluated.map_or(Duration::ZERO, |evaluated| evaluated.elapsed());
    let build = if more.provenance { app.host()?.build() } else { "" };
    let besides = Besides { more, build, input_bytes: input.len(), waited };
    Ok(Told::Whole(status(&decision), text(&decision, &besides)?))
}

/// What may be said in the query or in the body, but not in both.
fn once(name: &str, query: Option<String>, body: Option<String>) -> Result<Option<String>, ApiError> {
    match (query, body) {
        (Some(_), Some(_)) => {
            Err(ApiError::bad_request(format!("`{name}` is in the query and in the body; say it once")))
        }
        (query, body) => Ok(query.or(body)),
    }
}

fn malformed(error: &serde_json::Error) -> ApiError {
    let help = r#"expected {"rule": "...", "input": ..., "id": "...", "decision_time": "..."}; only `input` must be there"#;
    ApiError::bad_request(format!("the body cannot be read: {error}; {help}"))
}

/// A decision's status.
pub(crate) fn status(decision: &Decision) -> StatusCode {
    decision.result.as_ref().err().map_or(StatusCode::OK, fault_status)
}

fn text(decision: &Decision, besides: &Besides<'_>) -> Result<Vec<u8>, ApiError> {
    wire::text(decision, besides).map_err(|error| unwritable(&error))
}

/// Something that a host never decides.
pub(crate) fn unwritable(error: &std::io::Error) -> ApiError {
    tracing::error!(%error, "a decision has no form in JSON");
    ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", "the decision cannot be written")
}

/// A decision of the past, while its evidence is kept.
#[utoipa::path(get, path = "/v1/tenants/{tenant}/decisions/{id}", tag = "decisions", operation_id = "read_decision",
    responses((status = 200, description = "the decision", body = Object),
        (status = 422, description = "the fault is the caller's: the decision; or a problem, where there is none",
            content((Object = "application/json"), (ProblemView = "application/problem+json"))),
        (status = 500, description = "the fault is the policy's",
            content((Object = "application/json"), (ProblemView = "application/problem+json"))),
        (status = 503, description = "the fault is the host's",
            content((Object = "application/json"), (ProblemView = "application/problem+json"))),
        (status = 504, description = "the fault is that it took too long",
            content((Object = "application/json"), (ProblemView = "application/problem+json")))))]
pub(crate) async fn decision(
    State(app): State<Arc<App>>,
    Path((tenant, id)): Path<(String, String)>,
) -> Result<Response, ApiError> {
    let tenant = crate::routes::tenant(&tenant)?;
    match app.host()?.decision(&tenant, &id)? {
        Some(decision) => {
            let text = text(&decision, &Besides::default())?;
            Ok(door::routed(Ok(Told::Whole(status(&decision), text))))
        }
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
