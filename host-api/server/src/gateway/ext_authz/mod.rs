//! Envoy's external authorization, `envoy.service.auth.v3.Authorization/Check`: Envoy asks before it lets a request
//! pass.
//!
//! **Which policy**: the route's `context_extensions` name it, `verdict_policy` (`TENANT/POLICY`), and if they like
//! `verdict_channel` and `verdict_rule`; else it is the one that the server was started with, else the request is
//! denied. Who asks is Envoy, by the `authorization` of its own call (`initial_metadata` of its `grpc_service`), never
//! the user whose request it is.
//!
//! **What it is asked**: the attributes in the names that OPA's Envoy plugin gives them, so that a policy finds what it
//! knows; the schema is `input.schema.json`. `parsed_path` is decoded before it is split. A body that says that it is
//! JSON and is not is denied (400), a part of a body is not parsed.
//!
//! **What the answer does**: what the manifest's `allow` says lets the request pass, and nothing else does. The value, if
//! it is an object, may have the members of `value.schema.json`, by OPA's names: headers to set or to remove, query
//! parameters, metadata for the next filter; of a denial its status, headers and body. One that cannot be carried out is
//! a denial (500). Reasons stay here: the decision's id goes along, as `x-verdict-decision-id`.
//!
//! **A fault** is a denial with 500 or 503; a tenant over its budget is one with 429. What could not be asked because of
//! who asks is an error of gRPC: whether Envoy lets requests pass at errors is its `failure_mode_allow`, which should
//! stay false.

mod answer;
mod input;
mod messages;
mod mutations;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::http::{HeaderMap, StatusCode};
use messages::{AttributeContext, CheckRequest, CheckResponse};
use verdict::core::name::{ChannelName, NameError, PolicyName};
use verdict::{Decision, Request};

use super::grpc;
use crate::access::Origin;
use crate::ask;
use crate::error::ApiError;
use crate::routes::App;

/// The service's name.
pub(super) const SERVICE: &str = "envoy.service.auth.v3.Authorization";
/// Its method's path.
pub(super) const CHECK: &str = "/envoy.service.auth.v3.Authorization/Check";

/// Answers one call.
pub(super) async fn answer<B>(
    app: &Arc<App>,
    request: axum::http::Request<B>,
    origin: Origin,
) -> axum::http::Response<tonic::body::Body>
where
    B: hyper::body::Body + Send + 'static,
    B::Error: Into<tower::BoxError> + Send,
{
    let headers = request.headers().clone();
    // Before a byte of the body is read; which policy it is about is in there.
    if let Err(error) = app.access.principal(&headers, origin).await {
        return grpc::status(&error).into_http();
    }
    let app = Arc::clone(app);
    let bytes_max = app.body_bytes_max;
    let check = tower::service_fn(move |request: tonic::Request<CheckRequest>| {
        let (app, headers) = (Arc::clone(&app), headers.clone());
        async move { check(&app, &headers, origin, request.into_inner()).await.map(tonic::Response::new) }
    });
    let codec = tonic_prost::ProstCodec::<CheckResponse, CheckRequest>::default();
    tonic::server::Grpc::new(codec).max_decoding_message_size(bytes_max).unary(check, request).await
}

async fn check(
    app: &Arc<App>,
    headers: &HeaderMap,
    origin: Origin,
    request: CheckRequest,
) -> Result<CheckResponse, tonic::Status> {
    let mut attributes = request.attributes.unwrap_or_default();
    let asked = match Asked::of(&attributes.context_extensions, app.ext_authz.as_ref()) {
        Ok(asked) => asked,
        Err(message) => {
            tracing::warn!(message, "a gateway asks no policy");
            return Ok(answer::refused(StatusCode::INTERNAL_SERVER_ERROR, &message, None));
        }
    };
    let principal = match app.decider(headers, origin, &asked.policy).await {
        Ok(principal) => principal,
        Err(error) if grpc::is_of_access(&error) => return Err(grpc::status(&error)),
        Err(error) => return Ok(answer::refused(error.status(), error.code(), None)),
    };
    let policy = asked.policy.to_string();
    match decide(app, asked, principal.caller(), &mut attributes).await {
        Ok(decision) => Ok(answer::decided(&decision, path(&attributes))),
        Err(error) => {
            tracing::warn!(policy, code = error.code(), "a gateway's question was not decided");
            Ok(answer::refused(error.status(), error.code(), None))
        }
    }
}

async fn decide(
    app: &Arc<App>,
    asked: Asked,
    caller: Option<&str>,
    attributes: &mut AttributeContext,
) -> Result<Box<Decision>, ApiError> {
    if let Some(http) = attributes.request.as_mut().and_then(|request| request.http.as_mut()) {
        input::gather(http);
    }
    let input = input::document(attributes).map_err(|error| ApiError::bad_request(error.to_string()))?;
    let request = Request {
        policy: asked.policy,
        channel: asked.channel,
        rule: asked.rule,
        input,
        id: None,
        decision_time: None,
        caller: caller.map(ToOwned::to_owned),
    };
    ask::ask(app, request).await
}

fn path(attributes: &AttributeContext) -> &str {
    let http = attributes.request.as_ref().and_then(|request| request.http.as_ref());
    http.map_or("", |http| &http.path)
}

/// What a route's extensions say to ask.
struct Asked {
    policy: PolicyName,
    channel: Option<ChannelName>,
    rule: Option<String>,
}

impl Asked {
    fn of(extensions: &BTreeMap<String, String>, otherwise: Option<&PolicyName>) -> Result<Self, String> {
        let said = |name: &str| extensions.get(name).filter(|text| !text.is_empty());
        let malformed = |error: NameError| error.to_string();
        let policy = match said("verdict_policy") {
            Some(name) => name.parse().map_err(malformed)?,
            None => otherwise.cloned().ok_or_else(|| {
                let help =
                    "set `verdict_policy` in the route's `context_extensions`, or start with `--ext-authz`";
                format!("no policy is named; {help}")
            })?,
        };
        let channel = said("verdict_channel").map(|name| name.parse()).transpose().map_err(malformed)?;
        Ok(Self { policy, channel, rule: said("verdict_rule").cloned() })
    }
}
