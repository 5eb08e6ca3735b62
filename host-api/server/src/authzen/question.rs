//! A request before it is understood: which policy, who asks, and whether they may.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{FromRequest, FromRequestParts, RawPathParams, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, header};
use verdict::Request as Ask;
use verdict::core::name::{ChannelName, NameError, PolicyName};

use crate::access::{Origin, Principal};
use crate::error::ApiError;
use crate::routes::App;

/// A request of a caller who may ask.
pub(crate) struct Question {
    pub(super) policy: PolicyName,
    pub(super) channel: Option<ChannelName>,
    principal: Arc<Principal>,
    body: Bytes,
}

impl Question {
    /// The body, of which all must be text: what is ignored in it, too.
    pub(super) fn text(&self) -> Result<&str, ApiError> {
        std::str::from_utf8(&self.body).map_err(|_| ApiError::bad_request("the body is not UTF-8"))
    }

    /// What the host is asked.
    pub(super) fn ask(&self, rule: Option<&str>, input: Vec<u8>) -> Ask {
        Ask {
            policy: self.policy.clone(),
            channel: self.channel.clone(),
            rule: rule.map(ToOwned::to_owned),
            input,
            id: None,
            decision_time: None,
            caller: self.principal.caller().map(ToOwned::to_owned),
        }
    }
}

impl FromRequest<Arc<App>> for Question {
    type Rejection = ApiError;

    async fn from_request(request: Request, app: &Arc<App>) -> Result<Self, ApiError> {
        let (mut parts, body) = request.into_parts();
        let policy = policy(app, &mut parts).await?;
        // Before a byte of the body is read.
        let principal = app.decider(&parts.headers, Origin::of(&parts.extensions), &policy).await?;
        if !is_json(&parts.headers) {
            return Err(ApiError::bad_request("`Content-Type` must be `application/json`"));
        }
        let channel = channel(parts.uri.query())?;
        let body = Bytes::from_request(Request::from_parts(parts, body), &()).await;
        let body = body.map_err(|refusal| match refusal.status() {
            StatusCode::PAYLOAD_TOO_LARGE => {
                let message = format!("the body may have {} bytes", app.body_bytes_max);
                ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, "too-large", message)
            }
            _ => ApiError::bad_request("the body broke off"),
        })?;
        Ok(Self { policy, channel, principal, body })
    }
}

/// The policy that the path names, or the one at the root.
pub(super) async fn policy(app: &App, parts: &mut Parts) -> Result<PolicyName, ApiError> {
    // There are none where the path has no names.
    let parameters = RawPathParams::from_request_parts(parts, &()).await.ok();
    let named =
        |name: &str| parameters.iter().flatten().find(|(known, _)| *known == name).map(|(_, text)| text);
    if let (Some(tenant), Some(policy)) = (named("tenant"), named("policy")) {
        let malformed = |error: NameError| ApiError::bad_request(error.to_string());
        return PolicyName::of(tenant, policy).map_err(malformed);
    }
    let nothing = "no policy answers here; start the server with `--authzen`, or ask one below \
                   `/v1/tenants/TENANT/policies/POLICY/access/v1/`";
    app.authzen.policy.clone().ok_or_else(|| ApiError::not_found(nothing))
}

/// As AuthZEN wants it (10.1), perhaps with parameters.
fn is_json(headers: &HeaderMap) -> bool {
    let value = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let essence = value.split(';').next().unwrap_or_default();
    essence.trim().eq_ignore_ascii_case("application/json")
}

/// `channel=NAME`, or nothing: whoever misspells it must not be answered by another channel.
fn channel(query: Option<&str>) -> Result<Option<ChannelName>, ApiError> {
    let mut channel = None;
    for (name, text) in form_urlencoded::parse(query.unwrap_or_default().as_bytes()) {
        if name != "channel" || channel.is_some() {
            return Err(ApiError::bad_request("the query may only be `channel=NAME`"));
        }
        let named = text.parse().map_err(|error: NameError| ApiError::bad_request(error.to_string()))?;
        channel = Some(named);
    }
    Ok(channel)
}
