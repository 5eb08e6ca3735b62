//! What every request passes first. A decision is answered from here; everything else goes through the router.
//!
//! The router finds one of a dozen routes, boxes what it hands from layer to layer, and registers a timer: for a
//! decision, which takes microseconds, that was a third of all its time.

use std::convert::Infallible;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use axum::Router;
use axum::response::{IntoResponse, Response};
use http_body_util::{BodyExt, Either, Full};
use hyper::body::{Body as _, Bytes, Incoming};
use hyper::header::{CONTENT_TYPE, HeaderName, HeaderValue, ORIGIN};
use hyper::{Method, Request, StatusCode};
use tower::ServiceExt;
use verdict::Decision;
use verdict::core::name::PolicyName;
use verdict::core::outcome::Answer;

use crate::access::Origin;
use crate::api::{Problem, refused, request_id, with_id};
use crate::decide::{self, Told};
use crate::error::{ApiError, fault_status};
use crate::gateway::grpc;
use crate::observe::{self, Answering};
use crate::oci::{self, Oci};
use crate::routes::App;

/// An answer's body: whole, or what the router made.
pub(crate) type Body = Either<Full<Bytes>, axum::body::Body>;

const DECISION_ID: HeaderName = HeaderName::from_static("x-verdict-decision-id");
const ALLOW: HeaderName = HeaderName::from_static("x-verdict-allow");
const FUEL: HeaderName = HeaderName::from_static("x-verdict-fuel");

/// What a connection asks.
pub(crate) struct Door {
    pub(crate) app: Arc<App>,
    pub(crate) routes: ArcSwap<Routes>,
    /// Where a registry is served.
    pub(crate) oci: Option<Arc<Oci>>,
    pub(crate) request_timeout: Duration,
    pub(crate) body_bytes_max: usize,
}

/// What everything but a decision goes through.
pub(crate) struct Routes {
    pub(crate) router: Router,
    /// Whether pages of other origins may ask: the router says so, also of decisions.
    pub(crate) has_other_origins: bool,
}

impl Door {
    /// Answers one request. What is logged meanwhile says which it was.
    pub(crate) async fn answer(
        self: Arc<Self>,
        request: Request<Incoming>,
        origin: Origin,
    ) -> Result<hyper::Response<Body>, Infallible> {
        let trace = self.app.tracing.as_ref().map(|tracing| tracing.begin(request.headers()));
        let told = Answering::of(&request, trace.is_some());
        let current = observe::Request::of(request.headers(), trace);
        // Pinned where it is: it is large, and is not to be moved for each request.
        let answered = pin!(async {
            if told.is_some() {
                // So that the answer says the same as what is told of it.
                let _ = observe::id();
            }
            let response = self.respond(request, origin).await?;
            if let Some(told) = told {
                told.tell(response.status());
            }
            Ok(response)
        });
        current.scope(answered).await
    }

    async fn respond(
        self: Arc<Self>,
        mut request: Request<Incoming>,
        origin: Origin,
    ) -> Result<hyper::Response<Body>, Infallible> {
        let Some(policy) = asked(&request).filter(|_| !self.is_from_elsewhere(&request)) else {
            if grpc::is_call(&request) {
                let called = grpc::answer(&self.app, request, origin, self.request_timeout);
                return Ok(Box::pin(called).await.map(|body| Either::Right(axum::body::Body::new(body))));
            }
            request.extensions_mut().insert(origin);
            // Not through the router: its limits of time and size are for small bodies.
            if let Some(oci) = self.oci.as_ref().filter(|_| oci::is_here(request.uri().path())) {
                return Ok(Box::pin(Arc::clone(oci).answer(request)).await.map(Either::Right));
            }
            // In a box: a decision should not have to move the room for it.
            let routed = Box::pin(self.routes.load().router.clone().oneshot(request)).await;
            return routed.map(|response| response.map(Either::Right));
        };
        let id = request_id(request.headers());
        let decided = pin!(self.decide(policy, request, origin));
        let decided = tokio::time::timeout(self.request_timeout, decided).await;
        let late = |_| {
            let message = "the request took too long; ask again";
            Err(ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "timeout", message))
        };
        let decided = decided.unwrap_or_else(late);
        let id = id.or_else(observe::made);
        match decided {
            Ok(Told::Whole(status, text)) => Ok(with_id(whole(status, text), id)),
            Ok(Told::Value(decision)) => {
                let refused = |problem: Problem| refused(&problem, id.clone()).map(Either::Right);
                Ok(with_id(value(*decision, refused), id))
            }
            Err(error) => Ok(refused(&error.into(), id).map(Either::Right)),
        }
    }

    async fn decide(
        &self,
        policy: PolicyName,
        request: Request<Incoming>,
        origin: Origin,
    ) -> Result<Told, ApiError> {
        // Before a byte of the body is read.
        let (head, body) = request.into_parts();
        let principal = self.app.decider(&head.headers, origin, &policy).await?;
        let body = read(body, self.body_bytes_max).await?;
        decide::decide(&self.app, policy, head.uri.query(), principal.caller(), &body).await
    }

    fn is_from_elsewhere<B>(&self, request: &Request<B>) -> bool {
        request.headers().contains_key(ORIGIN) && self.routes.load().has_other_origins
    }
}

fn whole(status: StatusCode, text: Vec<u8>) -> hyper::Response<Body> {
    let mut response = hyper::Response::new(Either::Left(Full::from(text)));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// The policy that a request wants a decision of. Whatever is not exactly such a request, the router sees to.
fn asked<B>(request: &Request<B>) -> Option<PolicyName> {
    if request.method() != Method::POST {
        return None;
    }
    let path = request.uri().path().strip_prefix("/v1/tenants/")?.strip_suffix("/decide")?;
    let (tenant, name) = path.split_once("/policies/")?;
    PolicyName::of(tenant, name).ok()
}

/// The whole body. One that came with the head, as small ones do, is not copied.
async fn read(mut body: Incoming, bytes_max: usize) -> Result<Bytes, ApiError> {
    let too_large = || {
        let message = format!("the body may have {bytes_max} bytes");
        ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, "too-large", message)
    };
    if usize::try_from(body.size_hint().lower()).map_or(true, |bytes| bytes > bytes_max) {
        return Err(too_large());
    }
    let mut first = Bytes::new();
    let mut all = Vec::new();
    while !body.is_end_stream()
        && let Some(frame) = body.frame().await
    {
        let frame = frame.map_err(|_| ApiError::bad_request("the body broke off"))?;
        // Trailers say nothing here.
        let Ok(data) = frame.into_data() else { continue };
        if first.len().max(all.len()).saturating_add(data.len()) > bytes_max {
            return Err(too_large());
        }
        if first.is_empty() {
            first = data;
        } else {
            if all.is_empty() {
                all.extend_from_slice(&first);
            }
            all.extend_from_slice(&data);
        }
    }
    Ok(if all.is_empty() { first } else { all.into() })
}

/// The value of a decision alone, 204 where there is none; what a gateway needs besides is in headers. A fault is refused.
fn value(
    decision: Decision,
    refused: impl FnOnce(Problem) -> hyper::Response<Body>,
) -> hyper::Response<Body> {
    let mut response = match decision.result {
        Ok(Answer { value: Some(value), .. }) => whole(StatusCode::OK, value.into_bytes()),
        Ok(Answer { value: None, .. }) => {
            let mut response = hyper::Response::new(Either::Left(Full::default()));
            *response.status_mut() = StatusCode::NO_CONTENT;
            response
        }
        Err(fault) => refused(ApiError::new(fault_status(&fault), fault.code.code(), fault.message).into()),
    };
    let headers = response.headers_mut();
    // A decision's id may stand in a header: see `is_id`.
    if let Ok(id) = HeaderValue::try_from(decision.id) {
        headers.insert(DECISION_ID, id);
    }
    headers.insert(ALLOW, HeaderValue::from_static(if decision.allow { "true" } else { "false" }));
    if let Some(fuel) = decision.fuel {
        headers.insert(FUEL, fuel.into());
    }
    response
}

/// The answer of the router's own route, for requests that only it can read.
pub(crate) fn routed(decided: Result<Told, ApiError>) -> Response {
    let refused = |problem: Problem| problem.into_response().map(Either::Right);
    match decided {
        Ok(Told::Whole(status, text)) => whole(status, text).map(axum::body::Body::new),
        // Mapping keeps what is in its extensions: the problem.
        Ok(Told::Value(decision)) => value(*decision, refused).map(axum::body::Body::new),
        Err(error) => error.into_response(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(method: Method, uri: &str) -> Option<String> {
        let request = Request::builder().method(method).uri(uri).body(()).unwrap();
        asked(&request).map(|policy| policy.to_string())
    }

    #[test]
    fn a_decision_is_known_by_its_method_and_its_path() {
        let path = "/v1/tenants/acme/policies/loan/decide";
        assert_eq!(policy(Method::POST, path).as_deref(), Some("acme/loan"));
        assert_eq!(
            policy(Method::POST, "http://host/v1/tenants/a/policies/b/decide?x").as_deref(),
            Some("a/b")
        );
        assert_eq!(policy(Method::GET, path), None);
    }

    #[test]
    fn an_undefined_answer_has_no_value_and_no_body() {
        let answer = Answer { value: None, reasons: Vec::new() };
        let response = routed(Ok(Told::Value(Box::new(crate::wire::tests::decision(Ok(answer))))));
        assert_eq!(response.status(), StatusCode::NO_CONTENT);
        assert_eq!(
            (&response.headers()["x-verdict-allow"], &response.headers()["x-verdict-fuel"]),
            (&HeaderValue::from_static("false"), &HeaderValue::from_static("7"))
        );
        assert_eq!(response.headers().get(CONTENT_TYPE), None);
        assert!(response.into_body().is_end_stream());
    }

    #[test]
    fn what_is_not_exactly_a_decision_goes_to_the_router() {
        for uri in [
            "/",
            "/v1/tenants/acme/policies/loan/decide/",
            "/v1/tenants/acme/policies/loan",
            "/v1/tenants/acme/policies//decide",
            "/v1/tenants/acme/policies/lo%61n/decide",
            "/v1/tenants/acme/policies/a/policies/b/decide",
            "/v1/tenants/../policies/loan/decide",
            "/v1/tenants//policies/loan/decide",
        ] {
            assert_eq!(policy(Method::POST, uri), None, "{uri}");
        }
    }
}
