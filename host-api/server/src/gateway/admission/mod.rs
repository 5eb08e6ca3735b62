//! Kubernetes admission webhooks, `AdmissionReview` of `admission.k8s.io/v1`:
//! <https://kubernetes.io/docs/reference/config-api/apiserver-admission.v1/>.
//!
//! The policy's input is the review, byte for byte: it reads `/request/object` and the like. A URL of a webhook may have
//! no query, so that rule and channel are also parts of the path; the API server itself adds `timeout` to every call.
//!
//! What is not 200 leaves the object to the webhook's `failurePolicy`, which may be `Ignore`. So as soon as the review
//! can be read, whatever goes wrong is a denial with its status inside; only what cannot be read has a status of its own.

mod response;

use std::borrow::Cow;
use std::sync::Arc;

use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::time::timeout;
use verdict::Decision;
use verdict::core::name::ChannelName;

use super::Target;
use crate::api::{Asked, Asking, Problem};
use crate::ask;
use crate::error::{ApiError, json};
use crate::routes::App;
use response::{Review, VERSION};

/// The largest review, in bytes. A request to Kubernetes has up to 3 MiB, and a review two of them: the object, and what
/// it was before. What a policy does not take (`input_bytes`) is denied with 413, which only what was read can be.
const REVIEW_BYTES_MAX: usize = 8 << 20;
/// What Kubernetes sent before v1. It must be answered in its own version.
const OLD_VERSION: &str = "admission.k8s.io/v1beta1";

/// Asks a policy about an object on its way into a cluster. Dry runs are decided and recorded as all are.
#[utoipa::path(post, path = "/v1/tenants/{tenant}/policies/{policy}/admission", tag = "gateways",
    operation_id = "review",
    params(("rule" = Option<String>, Query, description = "the rule; the policy's only one if nothing is said"),
        ("channel" = Option<String>, Query, description = "the channel; `production` if nothing is said"),
        ("timeout" = Option<String>, Query, description = "added by Kubernetes; not looked at")),
    request_body(content = Object, description = "an `AdmissionReview` with a `request`"),
    responses((status = 200, description = "an `AdmissionReview` with a `response`", body = Object)))]
pub(crate) async fn review(
    State(app): State<Arc<App>>,
    asked: Asked,
    query: Result<Asking<Query>, Problem>,
    body: Body,
) -> Result<Response, Problem> {
    answer(&app, &asked, target(query, None, None), body).await
}

/// As without a rule in the path. The URL of a webhook may have no query.
#[utoipa::path(post, path = "/v1/tenants/{tenant}/policies/{policy}/admission/{rule}", tag = "gateways",
    operation_id = "review_by_rule",
    params(("channel" = Option<String>, Query, description = "the channel; `production` if nothing is said"),
        ("timeout" = Option<String>, Query, description = "added by Kubernetes; not looked at")),
    request_body(content = Object, description = "an `AdmissionReview` with a `request`"),
    responses((status = 200, description = "an `AdmissionReview` with a `response`", body = Object)))]
pub(crate) async fn review_by_rule(
    State(app): State<Arc<App>>,
    asked: Asked,
    Path((_, _, rule)): Path<(String, String, String)>,
    query: Result<Asking<Query>, Problem>,
    body: Body,
) -> Result<Response, Problem> {
    answer(&app, &asked, target(query, Some(rule), None), body).await
}

/// As without a channel in the path.
#[utoipa::path(post, path = "/v1/tenants/{tenant}/policies/{policy}/channels/{channel}/admission/{rule}",
    tag = "gateways", operation_id = "review_in_channel",
    params(("timeout" = Option<String>, Query, description = "added by Kubernetes; not looked at")),
    request_body(content = Object, description = "an `AdmissionReview` with a `request`"),
    responses((status = 200, description = "an `AdmissionReview` with a `response`", body = Object)))]
pub(crate) async fn review_in_channel(
    State(app): State<Arc<App>>,
    asked: Asked,
    Path((_, _, _, rule)): Path<(String, String, String, String)>,
    query: Result<Asking<Query>, Problem>,
    body: Body,
) -> Result<Response, Problem> {
    let channel = asked.place.channel()?.clone();
    answer(&app, &asked, target(query, Some(rule), Some(channel)), body).await
}

/// The query of a review; what is said in the path is not said again.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Query {
    rule: Option<String>,
    channel: Option<ChannelName>,
    #[serde(rename = "timeout")]
    _timeout: Option<String>,
}

fn target(
    query: Result<Asking<Query>, Problem>,
    rule: Option<String>,
    channel: Option<ChannelName>,
) -> Result<Target, ApiError> {
    let Asking(asked) = query.map_err(ApiError::of)?;
    if (rule.is_some() && asked.rule.is_some()) || (channel.is_some() && asked.channel.is_some()) {
        return Err(ApiError::bad_request("the path and the query both name a rule, or a channel"));
    }
    Ok(Target { rule: rule.or(asked.rule), channel: channel.or(asked.channel) })
}

/// What is read of a review here. The policy has all of it.
#[derive(Deserialize)]
struct Sent<'a> {
    #[serde(rename = "apiVersion", borrow)]
    version: Cow<'a, str>,
    #[serde(borrow)]
    kind: Cow<'a, str>,
    #[serde(borrow)]
    request: SentRequest<'a>,
}

#[derive(Deserialize)]
struct SentRequest<'a> {
    #[serde(borrow)]
    uid: Cow<'a, str>,
    #[serde(borrow)]
    object: Option<&'a RawValue>,
}

async fn answer(
    app: &Arc<App>,
    asked: &Asked,
    target: Result<Target, ApiError>,
    body: Body,
) -> Result<Response, Problem> {
    let body = read(app, body).await?;
    let sent = parse(&body)?;
    let uid = &sent.request.uid;
    if sent.version == OLD_VERSION {
        let message =
            format!("`{OLD_VERSION}` is not spoken here; set `admissionReviewVersions` to [\"v1\"]");
        let review = Review::of_error(OLD_VERSION, uid, &ApiError::bad_request(message));
        return Ok(json(StatusCode::OK, &review));
    }
    let review = match decide(app, asked, target, &body).await {
        Ok(decision) => Review::of(uid, sent.request.object.map(RawValue::get), &decision),
        Err(error) => Review::of_error(VERSION, uid, &error),
    };
    Ok(json(StatusCode::OK, &review))
}

async fn decide(
    app: &Arc<App>,
    asked: &Asked,
    target: Result<Target, ApiError>,
    body: &[u8],
) -> Result<Box<Decision>, ApiError> {
    let policy = asked.place.policy().map_err(ApiError::of)?.clone();
    let question = target?.question(policy, body.to_vec(), asked.principal.caller());
    let late = |_| {
        let message = "the decision took too long; try again";
        ApiError::new(StatusCode::GATEWAY_TIMEOUT, "timeout", message)
    };
    timeout(app.patience, ask::ask(app, question)).await.map_err(late)?
}

async fn read(app: &App, body: Body) -> Result<Bytes, Problem> {
    let too_long = |error: &axum::Error| {
        std::error::Error::source(error).is_some_and(|why| why.is::<http_body_util::LengthLimitError>())
    };
    match timeout(app.patience, to_bytes(body, REVIEW_BYTES_MAX)).await {
        Ok(Ok(bytes)) => Ok(bytes),
        Ok(Err(error)) if too_long(&error) => Err(Problem::too_large(REVIEW_BYTES_MAX)),
        Ok(Err(_)) => Err(Problem::malformed("the body broke off")),
        Err(_) => Err(Problem::of_status(
            StatusCode::SERVICE_UNAVAILABLE,
            "the body did not come in time; try again",
        )),
    }
}

fn parse(body: &[u8]) -> Result<Sent<'_>, Problem> {
    let malformed = |why: &str| {
        let help = "expected an `AdmissionReview` of `admission.k8s.io/v1` with a `request` that has a `uid`";
        Problem::malformed(format!("{why}; {help}"))
    };
    let sent: Sent<'_> = serde_json::from_slice(body).map_err(|error| malformed(&error.to_string()))?;
    if sent.kind != "AdmissionReview" {
        return Err(malformed(&format!("the body is a `{}`", sent.kind)));
    }
    if sent.version != VERSION && sent.version != OLD_VERSION {
        return Err(malformed(&format!("the body's version is `{}`", sent.version)));
    }
    Ok(sent)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_review_with_a_uid_is_read() {
        let good =
            r#"{"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": {"uid": "a\"b"}}"#;
        assert_eq!(parse(good.as_bytes()).unwrap().request.uid, "a\"b");
        for (from, to) in [
            ("admission.k8s.io/v1", "admission.k8s.io/v2"),
            ("AdmissionReview", "Pod"),
            ("uid", "id"),
            ("{\"uid\"", "{\"uid\": \"other\", \"uid\""),
            ("request", "response"),
        ] {
            assert!(parse(good.replace(from, to).as_bytes()).is_err(), "{to}");
        }
    }
}
