//! The outermost layer: every request has an id, and every answer says it.

use axum::body::to_bytes;
use axum::extract::Request;
use axum::http::{Extensions, HeaderMap, HeaderName, HeaderValue, header};
use axum::middleware::Next;
use axum::response::Response;
use uuid::Uuid;

use super::problem::Problem;
use crate::{authzen, observe, opa};

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// The longest id that is taken over from a request, in bytes.
const ID_BYTES_MAX: usize = 128;
/// The longest text that becomes the detail of a problem, in bytes.
const DETAIL_BYTES_MAX: usize = 4_096;

/// What ties a request, its events and its answer together.
#[derive(Debug, Clone)]
pub(super) struct Correlation(String);

impl Correlation {
    /// The id of a request: its own, or a new one.
    fn of_request(headers: &HeaderMap) -> Self {
        Self(given(headers).map_or_else(new_id, ToOwned::to_owned))
    }

    /// The id that the outermost layer gave.
    pub(super) fn of(extensions: &Extensions) -> String {
        extensions.get::<Self>().map(|Self(id)| id.clone()).unwrap_or_default()
    }
}

/// The id of a request that brings none: what is logged of it has the same.
fn new_id() -> String {
    observe::id().unwrap_or_else(|| Uuid::now_v7().to_string())
}

/// The id that a request brings, if it can be told apart in a log.
fn given(headers: &HeaderMap) -> Option<&str> {
    let text = headers.get(REQUEST_ID)?.to_str().ok()?;
    let is_usable =
        (1..=ID_BYTES_MAX).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic());
    is_usable.then_some(text)
}

/// The header with the id that a request brings, for answers that do not come through here.
pub(crate) fn request_id(headers: &HeaderMap) -> Option<HeaderValue> {
    headers.get(REQUEST_ID).filter(|_| given(headers).is_some()).cloned()
}

/// The answer of such a request that cannot be carried out, with its id or a new one.
pub(crate) fn refused(problem: &Problem, id: Option<HeaderValue>) -> Response {
    let id = id.and_then(|id| id.to_str().ok().map(ToOwned::to_owned));
    let id = id.unwrap_or_else(new_id);
    with_id(problem.answered(&id), HeaderValue::try_from(id).ok())
}

/// The answer with the id of its request, where that is known.
pub(crate) fn with_id<B>(mut response: Response<B>, id: Option<HeaderValue>) -> Response<B> {
    if let Some(id) = id {
        response.headers_mut().insert(REQUEST_ID, id);
    }
    response
}

/// Gives a request its id, and writes problems, which name it.
pub(super) async fn outer(mut request: Request, next: Next) -> Response {
    let correlation = Correlation::of_request(request.headers());
    request.extensions_mut().insert(correlation.clone());
    let is_authzen = authzen::is_here(request.uri().path());
    let is_opa = opa::is_here(request.method(), request.uri().path());
    // Whatever it is, it comes back (AuthZEN 10.1.3).
    let own = request.headers().get(REQUEST_ID).filter(|_| is_authzen).cloned();
    let mut response = next.run(request).await;
    if let Some(problem) = problem(&mut response).await {
        let mut answered = match () {
            () if is_authzen => authzen::refused(&problem),
            () if is_opa => opa::refused(&problem),
            () => problem.answered(&correlation.0),
        };
        for (name, value) in response.headers() {
            let is_of_body = [header::CONTENT_TYPE, header::CONTENT_LENGTH].contains(name);
            if !is_of_body {
                answered.headers_mut().insert(name, value.clone());
            }
        }
        response = answered;
    }
    with_id(response, own.or_else(|| HeaderValue::try_from(correlation.0).ok()))
}

/// The problem of an answer: one that a route found, or what a layer said in plain text or not at all.
async fn problem(response: &mut Response) -> Option<Problem> {
    if let Some(problem) = response.extensions_mut().remove::<Problem>() {
        return Some(problem);
    }
    let status = response.status();
    let is_failure = status.is_client_error() || status.is_server_error();
    let content_type = response.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    if !is_failure || content_type.is_some_and(|value| !value.starts_with("text/plain")) {
        return None;
    }
    let body = to_bytes(std::mem::take(response.body_mut()), DETAIL_BYTES_MAX).await.unwrap_or_default();
    Some(Problem::of_status(status, &String::from_utf8_lossy(&body)))
}
