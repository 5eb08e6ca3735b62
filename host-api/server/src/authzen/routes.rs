//! The routes, at the root and below a policy, and what they have in common.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};

use super::question::Question;
use super::schema::{Decision, Decisions, Evaluation, Evaluations, Results, Search};
use super::search::Kind;
use super::{evaluate, search};
use crate::error::ApiError;
use crate::routes::App;

fn said(text: Result<Vec<u8>, ApiError>) -> Result<Response, ApiError> {
    let content_type = [(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))];
    Ok((content_type, text?).into_response())
}

/// One decision. Of the policy that the operator named.
#[utoipa::path(post, path = "/access/v1/evaluation", tag = "authzen",
    operation_id = "authzen_evaluation", request_body(content = Evaluation),
    params(("channel" = Option<String>, Query, description = "the channel; the server's own if nothing is said")),
    responses((status = 200, description = "what was decided", body = Decision),
        (status = "default", description = "an error, in words", body = String, content_type = "text/plain")))]
pub(crate) async fn evaluation(
    State(app): State<Arc<App>>,
    question: Question,
) -> Result<Response, ApiError> {
    said(evaluate::one(&app, &question).await)
}

/// One decision. Of the policy that the path names.
#[utoipa::path(post, path = "/v1/tenants/{tenant}/policies/{policy}/access/v1/evaluation", tag = "authzen",
    operation_id = "authzen_evaluation_of_policy", request_body(content = Evaluation),
    params(("channel" = Option<String>, Query, description = "the channel; the server's own if nothing is said")),
    responses((status = 200, description = "what was decided", body = Decision),
        (status = "default", description = "an error, in words", body = String, content_type = "text/plain")))]
pub(crate) async fn evaluation_of_policy(
    State(app): State<Arc<App>>,
    question: Question,
) -> Result<Response, ApiError> {
    said(evaluate::one(&app, &question).await)
}

/// Several decisions at once. Of the policy that the operator named.
#[utoipa::path(post, path = "/access/v1/evaluations", tag = "authzen",
    operation_id = "authzen_evaluations", request_body(content = Evaluations),
    params(("channel" = Option<String>, Query, description = "the channel; the server's own if nothing is said")),
    responses((status = 200, description = "what was decided", body = Decisions),
        (status = "default", description = "an error, in words", body = String, content_type = "text/plain")))]
pub(crate) async fn evaluations(
    State(app): State<Arc<App>>,
    question: Question,
) -> Result<Response, ApiError> {
    said(evaluate::many(&app, &question).await)
}

/// Several decisions at once. Of the policy that the path names.
#[utoipa::path(post, path = "/v1/tenants/{tenant}/policies/{policy}/access/v1/evaluations", tag = "authzen",
    operation_id = "authzen_evaluations_of_policy", request_body(content = Evaluations),
    params(("channel" = Option<String>, Query, description = "the channel; the server's own if nothing is said")),
    responses((status = 200, description = "what was decided", body = Decisions),
        (status = "default", description = "an error, in words", body = String, content_type = "text/plain")))]
pub(crate) async fn evaluations_of_policy(
    State(app): State<Arc<App>>,
    question: Question,
) -> Result<Response, ApiError> {
    said(evaluate::many(&app, &question).await)
}

/// Who may do this? Of the policy that the operator named.
#[utoipa::path(post, path = "/access/v1/search/subject", tag = "authzen",
    operation_id = "authzen_search_subject", request_body(content = Search),
    params(("channel" = Option<String>, Query, description = "the channel; the server's own if nothing is said")),
    responses((status = 200, description = "what was decided", body = Results),
        (status = "default", description = "an error, in words", body = String, content_type = "text/plain")))]
pub(crate) async fn search_subject(
    State(app): State<Arc<App>>,
    question: Question,
) -> Result<Response, ApiError> {
    said(search::search(&app, &question, Kind::Subject).await)
}

/// Who may do this? Of the policy that the path names.
#[utoipa::path(post, path = "/v1/tenants/{tenant}/policies/{policy}/access/v1/search/subject", tag = "authzen",
    operation_id = "authzen_search_subject_of_policy", request_body(content = Search),
    params(("channel" = Option<String>, Query, description = "the channel; the server's own if nothing is said")),
    responses((status = 200, description = "what was decided", body = Results),
        (status = "default", description = "an error, in words", body = String, content_type = "text/plain")))]
pub(crate) async fn search_subject_of_policy(
    State(app): State<Arc<App>>,
    question: Question,
) -> Result<Response, ApiError> {
    said(search::search(&app, &question, Kind::Subject).await)
}

/// What may this be done on? Of the policy that the operator named.
#[utoipa::path(post, path = "/access/v1/search/resource", tag = "authzen",
    operation_id = "authzen_search_resource", request_body(content = Search),
    params(("channel" = Option<String>, Query, description = "the channel; the server's own if nothing is said")),
    responses((status = 200, description = "what was decided", body = Results),
        (status = "default", description = "an error, in words", body = String, content_type = "text/plain")))]
pub(crate) async fn search_resource(
    State(app): State<Arc<App>>,
    question: Question,
) -> Result<Response, ApiError> {
    said(search::search(&app, &question, Kind::Resource).await)
}

/// What may this be done on? Of the policy that the path names.
#[utoipa::path(post, path = "/v1/tenants/{tenant}/policies/{policy}/access/v1/search/resource", tag = "authzen",
    operation_id = "authzen_search_resource_of_policy", request_body(content = Search),
    params(("channel" = Option<String>, Query, description = "the channel; the server's own if nothing is said")),
    responses((status = 200, description = "what was decided", body = Results),
        (status = "default", description = "an error, in words", body = String, content_type = "text/plain")))]
pub(crate) async fn search_resource_of_policy(
    State(app): State<Arc<App>>,
    question: Question,
) -> Result<Response, ApiError> {
    said(search::search(&app, &question, Kind::Resource).await)
}

/// What may be done? Of the policy that the operator named.
#[utoipa::path(post, path = "/access/v1/search/action", tag = "authzen",
    operation_id = "authzen_search_action", request_body(content = Search),
    params(("channel" = Option<String>, Query, description = "the channel; the server's own if nothing is said")),
    responses((status = 200, description = "what was decided", body = Results),
        (status = "default", description = "an error, in words", body = String, content_type = "text/plain")))]
pub(crate) async fn search_action(
    State(app): State<Arc<App>>,
    question: Question,
) -> Result<Response, ApiError> {
    said(search::search(&app, &question, Kind::Action).await)
}

/// What may be done? Of the policy that the path names.
#[utoipa::path(post, path = "/v1/tenants/{tenant}/policies/{policy}/access/v1/search/action", tag = "authzen",
    operation_id = "authzen_search_action_of_policy", request_body(content = Search),
    params(("channel" = Option<String>, Query, description = "the channel; the server's own if nothing is said")),
    responses((status = 200, description = "what was decided", body = Results),
        (status = "default", description = "an error, in words", body = String, content_type = "text/plain")))]
pub(crate) async fn search_action_of_policy(
    State(app): State<Arc<App>>,
    question: Question,
) -> Result<Response, ApiError> {
    said(search::search(&app, &question, Kind::Action).await)
}
