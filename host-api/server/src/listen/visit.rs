//! What each request passes before the door, and what is counted of it.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Instant;

use hyper::body::Incoming;
use hyper::header::{CONNECTION, HOST, HeaderValue};
use hyper::{Request, Response, StatusCode, Version};

use super::condition::{Condition, Protocol};
use super::guard::Pulse;
use crate::access::Origin;
use crate::api::{Problem, refused, request_id};
use crate::door::{Body, Door};

/// The most header lines of a request. Of HTTP/1.1 the reader takes no more; HTTP/2 has a bound in bytes only.
const HEADERS_MAX: usize = 100;

/// A connection, as its requests see it.
pub(super) struct Visit {
    pub(super) door: Arc<Door>,
    pub(super) condition: Arc<Condition>,
    pub(super) pulse: Arc<Pulse>,
    pub(super) origin: Origin,
    /// Whether it is one too many: nothing but health is answered on it.
    pub(super) is_beyond: bool,
}

impl Visit {
    /// Answers a request, or says that there are too many.
    pub(super) async fn answer(
        self: Arc<Self>,
        request: Request<Incoming>,
    ) -> Result<Response<Body>, Infallible> {
        let _under_way = self.pulse.begin();
        let keeps_alive = request.version() < Version::HTTP_2;
        let began = Instant::now();
        let protocol = Protocol::of(&request);
        let entered = self.condition.traffic.enter();
        let refusal = self.refusal(&request, entered.is_some());
        // Where such a request ends may be seen otherwise by whoever sent it on.
        let is_malformed = refusal.as_ref().is_some_and(|problem| problem.status().is_client_error());
        let mut response = match refusal {
            Some(problem) => refused(&problem, request_id(request.headers())).map(Body::Right),
            None => Arc::clone(&self.door).answer(request, self.origin).await?,
        };
        if keeps_alive && (self.condition.is_leaving() || is_malformed) {
            // The next request goes elsewhere.
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        self.condition.traffic.note(protocol, response.status(), began.elapsed());
        Ok(response)
    }

    /// Why a request is not even looked at, before a byte of its body is read: its head is not one (RFC 9112, section
    /// 3.2), or there is no room.
    fn refusal(&self, request: &Request<Incoming>, has_room: bool) -> Option<Problem> {
        if request.headers().len() > HEADERS_MAX {
            let message = format!("a request may have {HEADERS_MAX} header lines");
            let status = StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE;
            return Some(Problem::new(status, "too-large", message));
        }
        if request.version() == Version::HTTP_11 && request.headers().get_all(HOST).iter().count() != 1 {
            return Some(Problem::malformed("a request must have one header `Host`"));
        }
        let may_pass = has_room && !self.is_beyond;
        if may_pass || self.origin == Origin::BreakGlass || is_health(request.uri().path()) {
            return None;
        }
        self.condition.traffic.shed();
        let message = "the server has as much to do as it takes on; ask again";
        Some(Problem::new(StatusCode::SERVICE_UNAVAILABLE, "overloaded", message))
    }
}

/// What is asked by those who must know how the server is doing, most of all when it has too much to do.
fn is_health(path: &str) -> bool {
    path == "/health"
        || path.starts_with("/health/")
        || path == "/metrics"
        || path == "/grpc.health.v1.Health/Check"
}
