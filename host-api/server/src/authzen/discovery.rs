//! What a policy decision point has, and where (9).

use axum::extract::State;
use axum::http::request::Parts;
use axum::http::uri::Authority;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;
use serde::Serialize;
use std::sync::Arc;
use utoipa::ToSchema;
use verdict::core::name::PolicyName;

use super::place::WELL_KNOWN;
use super::question;
use super::search::Kind;
use crate::access::Origin;
use crate::error::{ApiError, json};
use crate::routes::App;

/// How long callers may keep the document (11.9).
const AT_ROOT: HeaderValue = HeaderValue::from_static("public, max-age=300");
/// As it is told only to those who may ask.
const BELOW: HeaderValue = HeaderValue::from_static("private, max-age=300");

/// What a policy decision point has, and where.
#[derive(Serialize, ToSchema)]
#[schema(as = AuthZenConfiguration)]
pub(super) struct Configuration {
    /// Its identifier.
    policy_decision_point: String,
    access_evaluation_endpoint: String,
    access_evaluations_endpoint: String,
    /// Not there where the policy answers no such search; nor are the next two.
    #[serde(skip_serializing_if = "Option::is_none")]
    search_subject_endpoint: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    search_resource_endpoint: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    search_action_endpoint: Option<String>,
}

/// The policy decision point at the root, for everybody: it is there because the operator named it.
#[utoipa::path(get, path = "/.well-known/authzen-configuration", tag = "authzen", operation_id = "authzen_configuration",
    responses((status = 200, description = "what it has", body = Configuration),
        (status = "default", description = "an error, in words", body = String, content_type = "text/plain")))]
pub(crate) async fn at_root(State(app): State<Arc<App>>, mut parts: Parts) -> Result<Response, ApiError> {
    let policy = question::policy(&app, &mut parts).await?;
    let mut response = json(StatusCode::OK, &configuration(&app, &parts, &policy)?);
    response.headers_mut().insert(header::CACHE_CONTROL, AT_ROOT);
    Ok(response)
}

/// The policy decision point of one policy, for those who may ask it.
#[utoipa::path(get, path = "/.well-known/authzen-configuration/v1/tenants/{tenant}/policies/{policy}", tag = "authzen",
    operation_id = "authzen_configuration_of_policy",
    responses((status = 200, description = "what it has", body = Configuration),
        (status = "default", description = "an error, in words", body = String, content_type = "text/plain")))]
pub(crate) async fn of_policy(State(app): State<Arc<App>>, mut parts: Parts) -> Result<Response, ApiError> {
    let policy = question::policy(&app, &mut parts).await?;
    app.decider(&parts.headers, Origin::of(&parts.extensions), &policy).await?;
    let mut response = json(StatusCode::OK, &configuration(&app, &parts, &policy)?);
    response.headers_mut().insert(header::CACHE_CONTROL, BELOW);
    Ok(response)
}

fn configuration(app: &App, parts: &Parts, policy: &PolicyName) -> Result<Configuration, ApiError> {
    // The identifier is what the well-known part was put into (9.2.3).
    let below = parts.uri.path().strip_prefix(WELL_KNOWN).unwrap_or_default();
    let pdp = format!("{}{below}", server(app, parts)?);
    let endpoint = |path: &str| format!("{pdp}/access/v1/{path}");
    let answers = searches(app, policy)?;
    let search = |kind, path| answers(kind).then(|| endpoint(path));
    Ok(Configuration {
        access_evaluation_endpoint: endpoint("evaluation"),
        access_evaluations_endpoint: endpoint("evaluations"),
        search_subject_endpoint: search(Kind::Subject, "search/subject"),
        search_resource_endpoint: search(Kind::Resource, "search/resource"),
        search_action_endpoint: search(Kind::Action, "search/action"),
        policy_decision_point: pdp,
    })
}

/// The server as its callers name it.
fn server(app: &App, parts: &Parts) -> Result<String, ApiError> {
    if let Some(url) = &app.authzen.url {
        return Ok(url.as_str().into());
    }
    let header = || parts.headers.get(header::HOST)?.to_str().ok()?.parse::<Authority>().ok();
    let named = parts.uri.authority().cloned().or_else(header);
    let url = named.and_then(|authority| format!("https://{authority}").parse::<super::PublicUrl>().ok());
    url.map(|url| url.as_str().into()).ok_or_else(|| ApiError::bad_request("`Host` names no server"))
}

/// Which searches every version of a policy answers that answers anything.
fn searches(app: &App, policy: &PolicyName) -> Result<impl Fn(Kind) -> bool, ApiError> {
    let loaded = app.host()?.policies().into_iter();
    let manifests: Vec<_> = loaded
        .filter(|status| status.name == *policy && status.weight.is_some())
        .map(|status| status.manifest)
        .collect();
    if manifests.is_empty() {
        return Err(ApiError::not_found("the policy is not loaded here"));
    }
    Ok(move |kind: Kind| manifests.iter().all(|manifest| manifest.rule(kind.rule()).is_some()))
}
