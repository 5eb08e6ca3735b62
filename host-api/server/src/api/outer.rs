//! The outermost layer: every request has an id, and every answer says it.

use axum::body::to_bytes;
use axum::extract::Request;
use axum::http::{Extensions, HeaderName, HeaderValue, header};
use axum::middleware::Next;
use axum::response::Response;
use tracing::Instrument as _;
use uuid::Uuid;

use super::problem::Problem;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// The longest id that is taken over from a request, in bytes.
const ID_BYTES_MAX: usize = 128;
/// The longest text that becomes the detail of a problem, in bytes.
const DETAIL_BYTES_MAX: usize = 4_096;

/// What ties a request, its events and its answer together.
#[derive(Debug, Clone)]
pub(super) struct Correlation(String);

impl Correlation {
    fn of_request(request: &Request) -> Self {
        let given = request.headers().get(REQUEST_ID).and_then(|value| value.to_str().ok());
        let is_usable = |text: &&str| {
            (1..=ID_BYTES_MAX).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic())
        };
        Self(given.filter(is_usable).map_or_else(|| Uuid::now_v7().to_string(), ToOwned::to_owned))
    }

    /// The id that the outermost layer gave.
    pub(super) fn of(extensions: &Extensions) -> String {
        extensions.get::<Self>().map(|Self(id)| id.clone()).unwrap_or_default()
    }
}

/// Gives a request its id, and writes problems, which name it.
pub(super) async fn outer(mut request: Request, next: Next) -> Response {
    let correlation = Correlation::of_request(&request);
    request.extensions_mut().insert(correlation.clone());
    // Whatever is logged on the way says which request it was.
    let span = tracing::info_span!("request", id = %correlation.0);
    let mut response = next.run(request).instrument(span).await;
    if let Some(problem) = problem(&mut response).await {
        let mut answered = problem.answered(&correlation.0);
        for (name, value) in response.headers() {
            let is_of_body = [header::CONTENT_TYPE, header::CONTENT_LENGTH].contains(name);
            if !is_of_body {
                answered.headers_mut().insert(name, value.clone());
            }
        }
        response = answered;
    }
    if let Ok(id) = HeaderValue::try_from(correlation.0) {
        response.headers_mut().insert(REQUEST_ID, id);
    }
    response
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
