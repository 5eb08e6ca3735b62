//! nginx's `auth_request`: headers in, a status out. <https://nginx.org/en/docs/http/ngx_http_auth_request_module.html>
//!
//! nginx lets pass at 2xx, hands 401 and 403 to its client, and takes everything else for an error, which it logs and
//! answers with 500. So 2xx, 401 and 403 are what the policy says and nothing else: a fault, an error, and also a gateway
//! that this server does not let in, are another status.
//!
//! `Authorization` is the gateway's own, as on every route, and never reaches a policy; what the gateway's client sent
//! comes as `X-Original-Authorization`. `examples/nginx.conf` has all that nginx must be told.

mod input;
mod response;

use std::sync::Arc;

use axum::extract::{Path, Request, State};
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::response::{IntoResponse, Response};
use verdict::Decision;
use verdict::core::name::{NameError, PolicyName};

use super::Target;
use crate::access::Origin;
use crate::api::{Asking, Problem, ProblemView};
use crate::ask;
use crate::error::ApiError;
use crate::routes::App;

/// Asks a policy whether a request may pass.
#[utoipa::path(get, path = "/v1/tenants/{tenant}/policies/{policy}/auth-request", tag = "gateways",
    operation_id = "authorize_request",
    params(("rule" = Option<String>, Query, description = "the rule; the policy's only one if nothing is said"),
        ("channel" = Option<String>, Query, description = "the channel; `production` if nothing is said"),
        ("X-Original-Method" = String, Header, description = "the method of the request that may pass"),
        ("X-Original-URI" = String, Header, description = "its target, as it came"),
        ("X-Original-Authorization" = Option<String>, Header, description = "its `Authorization`"),
        ("X-Real-IP" = Option<String>, Header, description = "the address that it came from")),
    responses((status = 204, description = "it may"), (status = 401, description = "who asks must be known first"),
        (status = 403, description = "it may not"),
        (status = 500, description = "a fault, which nginx answers with 500",
            body = ProblemView, content_type = "application/problem+json")))]
pub(crate) async fn authorize(
    State(app): State<Arc<App>>,
    Path((tenant, policy)): Path<(String, String)>,
    query: Result<Asking<Target>, Problem>,
    request: Request,
) -> Response {
    let (parts, _) = request.into_parts();
    match decide(&app, (&tenant, &policy), query, &parts).await {
        Ok(decision) => response::of(&decision),
        Err(error) => refused(&error).into_response(),
    }
}

async fn decide(
    app: &Arc<App>,
    (tenant, policy): (&str, &str),
    query: Result<Asking<Target>, Problem>,
    parts: &Parts,
) -> Result<Box<Decision>, ApiError> {
    let unnamed = |error: NameError| ApiError::bad_request(error.to_string());
    let policy = PolicyName::of(tenant, policy).map_err(unnamed)?;
    let principal = app.decider(&parts.headers, Origin::of(&parts.extensions), &policy).await?;
    let Asking(target) = query.map_err(ApiError::of)?;
    let input = input::document(parts).map_err(|error| ApiError::bad_request(error.to_string()))?;
    ask::ask(app, target.question(policy, input, principal.caller())).await
}

/// Nothing was decided. The statuses that nginx hands on would tell its client of the gateway's own token.
fn refused(error: &ApiError) -> ApiError {
    let status = match error.status() {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
            tracing::warn!(code = error.code(), message = error.message(), "a gateway is not let in");
            StatusCode::BAD_REQUEST
        }
        status => status,
    };
    ApiError::new(status, error.code(), error.message())
}
