//! Trying out what nobody has signed: a component, or other data. Nothing of it is recorded, and nothing is left.

use std::sync::Arc;

use axum::body::{Body, to_bytes};
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hyper::body::Bytes;
use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;
use tokio::time::timeout;
use utoipa::ToSchema;
use verdict::core::limits::RequestedLimits;
use verdict::core::manifest::Capabilities;
use verdict::core::name::{ChannelName, PolicyName, Tenant};
use verdict::core::pointer::Pointer;
use verdict::core::time::Timestamp;
use verdict::{Preview, PreviewError, Previewed, Subject, Unsaved};

use crate::api::{Asked, Asking, Problem, expect_media_type};
use crate::besides::explained;
use crate::error::{ApiError, fault_status};
use crate::query::Nothing;
use crate::routes::App;
use crate::wire;

/// The body, with its component in base64 and its data, in bytes.
const BODY_BYTES_MAX: usize = 24 << 20;

/// What is tried out.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Trial<'a> {
    component: Option<String>,
    policy: Option<String>,
    channel: Option<ChannelName>,
    rule: Option<String>,
    #[serde(borrow)]
    input: &'a RawValue,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
    decision_time: Option<Timestamp>,
    capabilities: Option<Capabilities>,
    limits: Option<RequestedLimits>,
    allow: Option<Pointer>,
}

/// The body, as it is documented.
#[derive(ToSchema)]
#[expect(dead_code, reason = "the schema of `Trial`")]
#[schema(as = Preview)]
pub(crate) struct PreviewText {
    /// The component, in base64; without it, what answers for `policy` is asked.
    #[schema(format = Byte)]
    component: Option<String>,
    /// A policy of the tenant; for a component, what it is to be called.
    policy: Option<String>,
    /// The channel of the policy; not with a component.
    channel: Option<String>,
    /// The rule; `decide` for a component, if nothing is said.
    rule: Option<String>,
    /// What is asked about.
    input: serde_json::Value,
    /// The data, instead of the tenant's, which a component does not see.
    data: Option<serde_json::Map<String, serde_json::Value>>,
    /// The time that the policy sees; now, if nothing is said.
    #[schema(format = DateTime)]
    decision_time: Option<String>,
    /// With a component: what its manifest would let it reach (`data`, `decision_time`, `diagnostics`).
    capabilities: Option<serde_json::Map<String, serde_json::Value>>,
    /// With a component: the limits that its manifest would ask for.
    limits: Option<serde_json::Map<String, serde_json::Value>>,
    /// With a component: where in its answer `true` means allow.
    allow: Option<String>,
}

/// Evaluates once what is not published: a component that nobody has signed, or a policy with other data. It is compiled
/// as every component is, under tighter limits; nothing is recorded, and there is no receipt. Two at a time.
#[utoipa::path(post, path = "/v1/tenants/{tenant}/preview", tag = "decisions", operation_id = "preview",
    request_body(content = PreviewText),
    responses((status = 200, description = "an answer, which has `preview` and is not recorded", body = Object)))]
pub(crate) async fn preview(
    State(app): State<Arc<App>>,
    asked: Asked,
    headers: HeaderMap,
    Asking(Nothing {}): Asking<Nothing>,
    body: Body,
) -> Result<Response, Problem> {
    expect_media_type(&headers, &["application/json"])?;
    let host = app.host().map_err(Problem::of)?.clone();
    // Before the body, which may be large.
    let place = Arc::clone(&app.previews).try_acquire_owned().map_err(|_| {
        let detail = "as many previews are under way as may be; ask again";
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, "overloaded", detail)
    })?;
    let body = read(body, &app).await?;
    let preview = trial(&body, asked.place.tenant()?)?;
    drop(body);
    let evaluate = move || {
        let previewed = host.preview(preview);
        // Held to the end, also where nobody waits for it any more.
        drop(place);
        previewed
    };
    let previewed = tokio::task::spawn_blocking(evaluate).await.map_err(|_| Problem::internal())?;
    let previewed = previewed.map_err(problem)?;
    let status = previewed.result.as_ref().err().map_or(StatusCode::OK, fault_status);
    let text = text(&previewed).map_err(|_| Problem::internal())?;
    Ok((status, [(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))], text).into_response())
}

async fn read(body: Body, app: &App) -> Result<Bytes, Problem> {
    let slow = |_| Problem::new(StatusCode::REQUEST_TIMEOUT, "timeout", "the body came too slowly");
    let read = timeout(app.patience, to_bytes(body, BODY_BYTES_MAX)).await.map_err(slow)?;
    read.map_err(|error| {
        let is_long = std::error::Error::source(&error)
            .is_some_and(|source| source.is::<http_body_util::LengthLimitError>());
        if is_long { Problem::too_large(BODY_BYTES_MAX) } else { Problem::malformed("the body broke off") }
    })
}

fn trial(body: &[u8], tenant: &Tenant) -> Result<Preview, Problem> {
    let malformed = |error| Problem::malformed(format!("the body cannot be read: {error}"));
    let trial: Trial<'_> = serde_json::from_slice(body).map_err(malformed)?;
    let policy = |name: &str| PolicyName::of(tenant.as_str(), name).map_err(Problem::from);
    let Trial { component, rule, decision_time, capabilities, limits, allow, channel, .. } = trial;
    let subject = match component {
        Some(_) if channel.is_some() => {
            return Err(Problem::malformed("a component comes through no `channel`; leave it out"));
        }
        Some(component) => {
            let malformed = |error| Problem::malformed(format!("`component` is not base64: {error}"));
            Subject::Unsaved(Box::new(Unsaved {
                component: STANDARD.decode(component).map_err(malformed)?,
                policy: policy(trial.policy.as_deref().unwrap_or("preview"))?,
                capabilities: capabilities.unwrap_or_default(),
                limits: limits.unwrap_or_default(),
                allow,
            }))
        }
        None if capabilities.is_some() || limits.is_some() || allow.is_some() => {
            let detail =
                "a policy has its own `capabilities`, `limits` and `allow`; they go with a `component`";
            return Err(Problem::malformed(detail));
        }
        None => {
            let neither = || Problem::malformed("give a `component`, or a `policy` of the tenant");
            Subject::Loaded { policy: policy(trial.policy.as_deref().ok_or_else(neither)?)?, channel }
        }
    };
    let bytes = |text: &RawValue| text.get().as_bytes().to_vec();
    Ok(Preview { subject, rule, input: bytes(trial.input), data: trial.data.map(bytes), decision_time })
}

fn problem(error: PreviewError) -> Problem {
    let message = error.to_string();
    match error {
        PreviewError::Refused(refusal) => refusal.into(),
        PreviewError::Manifest(_) => Problem::malformed(message),
        PreviewError::Document("input", _) => {
            Problem::new(StatusCode::BAD_REQUEST, "malformed-input", message)
        }
        PreviewError::Document(..) | PreviewError::Data(_) => {
            Problem::new(StatusCode::BAD_REQUEST, "malformed-data", message)
        }
        PreviewError::Decide(error) => Problem::of(ApiError::from(error)),
        PreviewError::Host(error) => Problem::of(ApiError::from(error)),
    }
}

fn text(previewed: &Previewed) -> std::io::Result<Vec<u8>> {
    let Previewed { result, allow, fuel, reads, log, .. } = previewed;
    let log = log.iter().map(|line| json!({ "code": line.code, "message": line.message }));
    let besides = json!({
        "component": previewed.component, "rule": previewed.rule, "decision_time": previewed.decision_time,
        "limits": previewed.limits, "memory_bytes_peak": previewed.memory_bytes_peak,
        "evaluation_ns": u64::try_from(previewed.elapsed.as_nanos()).unwrap_or(u64::MAX), "log": log.collect::<Vec<_>>(),
        "explain": explained(reads, result),
    });
    let mut out = format!("{{\"preview\":true,\"recorded\":false,\"allow\":{allow}").into_bytes();
    wire::result(&mut out, result, *fuel)?;
    // The members of an object, after others.
    let besides = serde_json::to_vec(&besides)?;
    out.push(b',');
    out.extend_from_slice(besides.get(1..).unwrap_or_default());
    Ok(out)
}
