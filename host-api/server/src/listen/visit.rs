//! What every connection shares, and what each request passes before the door: the bounds on how many are under way.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use hyper::body::Incoming;
use hyper::header::{CONNECTION, HOST, HeaderValue};
use hyper::{Request, Response, StatusCode, Version};

use super::guard::Pulse;
use crate::access::Origin;
use crate::api::{Problem, refused, request_id};
use crate::door::{Body, Door};

/// The most header lines of a request. Of HTTP/1.1 the reader takes no more; HTTP/2 has a bound in bytes only.
const HEADERS_MAX: usize = 100;

/// How the listeners are, for everybody who looks after this server.
#[derive(Debug, Default)]
pub(crate) struct Condition {
    leaving: AtomicBool,
    has_old_certificate: AtomicBool,
}

impl Condition {
    /// Whether the server is about to stop.
    pub(crate) fn is_leaving(&self) -> bool {
        self.leaving.load(Ordering::Relaxed)
    }

    /// Whether the certificate was changed, and could not be read again: the one before is shown.
    pub(crate) fn has_old_certificate(&self) -> bool {
        self.has_old_certificate.load(Ordering::Relaxed)
    }

    pub(super) fn leave(&self) {
        self.leaving.store(true, Ordering::Relaxed);
    }

    pub(super) fn certificate_is_old(&self, is_old: bool) {
        self.has_old_certificate.store(is_old, Ordering::Relaxed);
    }
}

/// How many requests are under way, of all connections.
#[derive(Debug)]
pub(super) struct Requests {
    under_way: AtomicUsize,
    max: usize,
}

/// One of those that are under way.
struct Entered<'a>(&'a Requests);

impl Requests {
    pub(super) const fn new(max: usize) -> Self {
        Self { under_way: AtomicUsize::new(0), max }
    }

    /// None where there are as many as there may be.
    fn enter(&self) -> Option<Entered<'_>> {
        let entered = Entered(self);
        let before = self.under_way.fetch_add(1, Ordering::Relaxed);
        (before < self.max).then_some(entered)
    }
}

impl Drop for Entered<'_> {
    fn drop(&mut self) {
        self.0.under_way.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A connection, as its requests see it.
pub(super) struct Visit {
    pub(super) door: Arc<Door>,
    pub(super) condition: Arc<Condition>,
    pub(super) requests: Arc<Requests>,
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
        let entered = self.requests.enter();
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
        let message = "the server has as much to do as it takes on; ask again";
        Some(Problem::new(StatusCode::SERVICE_UNAVAILABLE, "overloaded", message))
    }
}

/// What is asked by those who must know how the server is doing, most of all when it has too much to do.
fn is_health(path: &str) -> bool {
    path == "/health" || path.starts_with("/health/") || path == "/grpc.health.v1.Health/Check"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_requests_are_under_way_as_there_may_be_and_one_that_ends_makes_room() {
        let requests = Requests::new(2);
        let (first, second) = (requests.enter(), requests.enter());
        assert!(first.is_some() && second.is_some());
        assert!(requests.enter().is_none() && requests.enter().is_none());
        drop(first);
        assert!(requests.enter().is_some());
    }
}
