//! What each request passes before the door, and what is counted of it.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Instant;

use hyper::body::{Body, Incoming};
use hyper::header::{CONNECTION, HOST, HeaderValue};
use hyper::{Method, Request, Response, StatusCode, Version};
use tokio::runtime::Handle;
use tokio::task::JoinSet;

use super::condition::{Condition, Protocol};
use super::guard::Pulse;
use crate::access::Origin;
use crate::api::{Problem, refused, request_id};
use crate::door::{self, Door};

/// The most header lines of a request. Of HTTP/1.1 the reader takes no more; HTTP/2 has a bound in bytes only.
const HEADERS_MAX: usize = 100;

/// The largest body that is read where others wait: with what it takes to read and to answer it, well below a
/// millisecond. Bytes.
const QUICK_BODY_BYTES_MAX: u64 = 64 << 10;

/// A connection, as its requests see it.
pub(super) struct Visit {
    pub(super) door: Arc<Door>,
    pub(super) condition: Arc<Condition>,
    pub(super) pulse: Arc<Pulse>,
    pub(super) origin: Origin,
    /// Whether it is one too many: nothing but health is answered on it.
    pub(super) is_beyond: bool,
    /// Where to do what may take long, if not here.
    pub(super) shared: Option<Handle>,
}

impl Visit {
    /// Answers a request, or says that there are too many. It is under way from now on, and not from when the answer is
    /// first waited for: the connection is read before that, and would set an alarm for the rest of a head.
    pub(super) fn answer(
        self: Arc<Self>,
        request: Request<Incoming>,
    ) -> impl Future<Output = Result<Response<door::Body>, Infallible>> {
        let under_way = Pulse::begin(Arc::clone(&self.pulse));
        async move {
            let _under_way = under_way;
            self.answered(request).await
        }
    }

    async fn answered(&self, request: Request<Incoming>) -> Result<Response<door::Body>, Infallible> {
        let keeps_alive = request.version() < Version::HTTP_2;
        let began = Instant::now();
        let protocol = Protocol::of(&request);
        let entered = self.condition.traffic.enter();
        let refusal = self.refusal(&request, entered.is_some());
        // Where such a request ends may be seen otherwise by whoever sent it on.
        let is_malformed = refusal.as_ref().is_some_and(|problem| problem.status().is_client_error());
        let mut response = match refusal {
            Some(problem) => refused(&problem, request_id(request.headers())).map(door::Body::Right),
            None => {
                match self.shared.as_ref().filter(|_| !(is_quick(protocol, &request) && is_small(&request))) {
                    None => Arc::clone(&self.door).answer(request, self.origin).await?,
                    Some(shared) => Box::pin(self.answer_on(shared, request)).await?,
                }
            }
        };
        if keeps_alive && (self.condition.is_leaving() || is_malformed) {
            // The next request goes elsewhere.
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        self.condition.traffic.note(protocol, response.status(), began.elapsed());
        Ok(response)
    }

    /// Answers on threads that others share. Whatever a client no longer waits for ends there, too.
    async fn answer_on(
        &self,
        shared: &Handle,
        request: Request<Incoming>,
    ) -> Result<Response<door::Body>, Infallible> {
        let id = request_id(request.headers());
        let mut answers = JoinSet::new();
        answers.spawn_on(Arc::clone(&self.door).answer(request, self.origin), shared);
        match answers.join_next().await {
            Some(Ok(answer)) => answer,
            Some(Err(_)) | None => Ok(refused(&Problem::internal(), id).map(door::Body::Right)),
        }
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

/// Whether others of this thread can wait for it: one question to a policy, which with much fuel has a thread of its own;
/// a batch of them, which gives way; what is known of one policy.
fn is_quick<B>(protocol: Protocol, request: &Request<B>) -> bool {
    let (method, path) = (request.method(), request.uri().path());
    match protocol {
        Protocol::Native | Protocol::Gateway => true,
        // Above that are whole policies, and all of them.
        Protocol::Opa => {
            let place = path.strip_prefix("/v1/data/").or_else(|| path.strip_prefix("/v0/data/"));
            *method == Method::POST
                && (path == "/" || place.is_some_and(|place| place.trim_end_matches('/').contains('/')))
        }
        Protocol::AuthZen => path == "/access/v1/evaluation" || path == "/access/v1/evaluations",
        Protocol::Other => *method == Method::GET && is_policy(path),
        Protocol::Registry => false,
    }
}

/// Whether the body is known to be small. HTTP/2 is where all threads are already.
fn is_small<B: Body>(request: &Request<B>) -> bool {
    request.version() == Version::HTTP_2
        || request.body().size_hint().upper().is_some_and(|bytes| bytes <= QUICK_BODY_BYTES_MAX)
}

/// Whether a path is that of one policy: `/v1/tenants/{tenant}/policies/{name}`.
fn is_policy(path: &str) -> bool {
    let policy = path.strip_prefix("/v1/tenants/").and_then(|path| path.split_once("/policies/"));
    policy.is_some_and(|(tenant, name)| !tenant.contains('/') && !name.is_empty() && !name.contains('/'))
}

/// What is asked by those who must know how the server is doing, most of all when it has too much to do.
fn is_health(path: &str) -> bool {
    path == "/health"
        || path.starts_with("/health/")
        || path == "/metrics"
        || path == "/grpc.health.v1.Health/Check"
}

#[cfg(test)]
mod tests {
    use http_body_util::{BodyExt, Full};
    use hyper::body::Bytes;

    use super::*;

    #[test]
    fn what_may_take_long_holds_up_no_others() {
        let is_quick = |method: &str, path: &str| {
            let request = Request::builder().method(method).uri(path).body(()).unwrap();
            is_quick(Protocol::of(&request), &request)
        };
        for path in [
            "/v1/tenants/a/policies/b/decide?raw",
            "/v1/tenants/a/policies/b/batch",
            "/v1/data/loan/eligible",
            "/v0/data/loan/eligible/",
            "/",
            "/access/v1/evaluation",
            "/access/v1/evaluations",
            "/envoy.service.auth.v3.Authorization/Check",
        ] {
            assert!(is_quick("POST", path), "{path}");
        }
        assert!(is_quick("GET", "/v1/tenants/a/policies/b"));
        for (method, path) in [
            ("POST", "/v1/data"),
            ("POST", "/v1/data/loan/"),
            ("GET", "/v1/data/loan/eligible"),
            ("POST", "/v1/batch/data/loan/eligible"),
            ("POST", "/access/v1/search/subject"),
            ("GET", "/v2/"),
            ("GET", "/v1/tenants/a/policies"),
            ("GET", "/v1/tenants/a/policies/"),
            ("GET", "/v1/tenants/a/policies/b/versions"),
            ("DELETE", "/v1/tenants/a/policies/b"),
            ("GET", "/metrics"),
        ] {
            assert!(!is_quick(method, path), "{method} {path}");
        }
    }
    #[test]
    fn a_body_that_is_large_or_of_no_known_size_holds_up_no_others() {
        let of = |bytes: u64| Request::new(Full::<Bytes>::from(vec![0; usize::try_from(bytes).unwrap()]));
        assert!(is_small(&of(0)) && is_small(&of(QUICK_BODY_BYTES_MAX)));
        assert!(!is_small(&of(QUICK_BODY_BYTES_MAX + 1)));
        let unknown = || Request::new(axum::body::Body::from_stream(of(1).into_body().into_data_stream()));
        assert!(!is_small(&unknown()));
        let (mut head, body) = unknown().into_parts();
        head.version = Version::HTTP_2;
        assert!(is_small(&Request::from_parts(head, body)));
    }
}
