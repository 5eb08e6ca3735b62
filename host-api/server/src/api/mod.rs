//! The API below `/v1/`: what is administered, and what is asked.
//!
//! Three nouns: the `Table` has every route with the action that the access policy is asked about, a request that may
//! be carried out is [`Asked`], and what cannot be done is a [`Problem`]. A route that is not in the table does not
//! exist, and one that is in it cannot be reached without its action being allowed: the gate is part of how it gets in.

mod answer;
mod body;
mod channels;
mod data;
mod document;
mod documents;
mod events;
mod follow;
mod gate;
mod keys;
mod outer;
mod page;
mod place;
mod policies;
mod problem;
mod rule;
mod statements;
mod table;
mod tenants;
mod trust;
mod usage;
mod versions;

use std::sync::Arc;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request};
use axum::http::{HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware;
use axum::response::{IntoResponse, Response};
use tower_http::cors::{AllowOrigin, CorsLayer};
use tower_http::limit::RequestBodyLimitLayer;
use tower_http::timeout::TimeoutLayer;

use crate::error::ApiError;
use crate::listen::{ListenError, Options};
use crate::routes::App;

pub(crate) use answer::Answer;
pub(crate) use body::{Asking, expect as expect_media_type};
pub(crate) use data::Contents;
pub(crate) use gate::{Asked, is_reserved, nothing_here};
pub(crate) use outer::{refused, request_id, with_id};
pub(crate) use problem::{Problem, ProblemView};

/// How long a browser may remember what other origins may ask: seconds.
const CORS_AGE: u64 = 3_600;

/// Everything but the registry's own protocol.
pub(crate) fn router(app: &Arc<App>, options: &Options) -> Router {
    let table = table::table(app);
    let timeout = TimeoutLayer::with_status_code(StatusCode::SERVICE_UNAVAILABLE, options.request_timeout);
    let (quick, patient) = table.into_routers();
    let quick = quick
        .layer(timeout)
        .layer(RequestBodyLimitLayer::new(options.body_bytes_max))
        .layer(DefaultBodyLimit::max(options.body_bytes_max));
    let routes = quick
        .merge(patient)
        .fallback(nothing)
        .method_not_allowed_fallback(|| async { Problem::of_status(StatusCode::METHOD_NOT_ALLOWED, "") })
        .with_state(Arc::clone(app));
    let routes = routes.layer(middleware::from_fn(outer::outer));
    if options.cors.is_empty() { routes } else { routes.layer(cors(&options.cors)) }
}

async fn nothing(request: Request) -> Response {
    // Clients of registries look for another form; some of ours did, when they came where there is none.
    if crate::oci::is_here(request.uri().path()) {
        return ApiError::not_found("there is no registry here").into_response();
    }
    // As OPA does it; some of its clients end what they ask with a slash.
    if let Some(path) = request.uri().path().strip_suffix('/')
        && crate::opa::is_here(request.method(), request.uri().path())
    {
        let query = request.uri().query().map_or_else(String::new, |query| format!("?{query}"));
        let location = [(header::LOCATION, format!("{path}{query}"))];
        return (StatusCode::MOVED_PERMANENTLY, location).into_response();
    }
    Problem::of_status(StatusCode::NOT_FOUND, "").into_response()
}

/// Checks what is said of origins: a scheme, a host and perhaps a port.
pub(crate) fn check_origins(origins: &[String]) -> Result<(), ListenError> {
    let is_origin = |text: &str| {
        let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
        rest.is_some_and(|rest| {
            !rest.is_empty() && rest.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'/')
        })
    };
    match origins.iter().find(|text| *text != "*" && !is_origin(text)) {
        Some(text) => Err(ListenError::Origin(text.clone())),
        None => Ok(()),
    }
}

fn cors(origins: &[String]) -> CorsLayer {
    let allowed = if origins.iter().any(|origin| origin == "*") {
        AllowOrigin::any()
    } else {
        AllowOrigin::list(origins.iter().filter_map(|origin| HeaderValue::try_from(origin).ok()))
    };
    let named =
        |names: &[&'static str]| names.iter().map(|name| HeaderName::from_static(name)).collect::<Vec<_>>();
    CorsLayer::new()
        .allow_origin(allowed)
        .allow_methods([Method::GET, Method::POST, Method::PUT, Method::PATCH, Method::DELETE])
        .allow_headers(named(&[
            "authorization",
            "content-type",
            "if-match",
            "if-none-match",
            "idempotency-key",
            "last-event-id",
            "x-request-id",
        ]))
        .expose_headers(named(&[
            "etag",
            "location",
            "retry-after",
            "x-request-id",
            "x-verdict-allow",
            "x-verdict-decision-id",
            "x-verdict-fuel",
        ]))
        .max_age(std::time::Duration::from_secs(CORS_AGE))
}
