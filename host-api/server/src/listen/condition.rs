//! How the listeners are, and what has come to them: for everybody who looks after this server.

use std::sync::atomic::{AtomicI64, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use hyper::{Method, Request, StatusCode};
use verdict::core::time::Timestamp;

use crate::access::now;
use crate::times::{Timed, Times};
use crate::{authzen, oci, opa};

/// How the listeners are.
#[derive(Debug)]
pub(crate) struct Condition {
    leaving: Moment,
    old_certificate: Moment,
    old_config: Moment,
    certificate_ends: Moment,
    pub(crate) traffic: Traffic,
}

/// A moment in milliseconds since 1970; 0 where there is none.
#[derive(Debug, Default)]
struct Moment(AtomicI64);

impl Moment {
    fn read(&self) -> Option<Timestamp> {
        let ms = self.0.load(Ordering::Relaxed);
        Timestamp::from_millis(ms).ok().filter(|_| ms != 0)
    }

    fn set(&self, moment: Option<Timestamp>) {
        self.0.store(moment.map_or(0, |moment| moment.millis()), Ordering::Relaxed);
    }

    /// Now, where it has not begun before.
    fn begin(&self) {
        let _ = self.0.compare_exchange(0, now().millis(), Ordering::Relaxed, Ordering::Relaxed);
    }
}

impl Default for Condition {
    /// Without bounds.
    fn default() -> Self {
        Self::new(usize::MAX, usize::MAX)
    }
}

impl Condition {
    /// With the most connections and requests at a time.
    pub(crate) fn new(connections_max: usize, requests_max: usize) -> Self {
        let traffic = Traffic::new(connections_max, requests_max);
        let none = Moment::default;
        let (leaving, old_certificate, old_config, certificate_ends) = (none(), none(), none(), none());
        Self { leaving, old_certificate, old_config, certificate_ends, traffic }
    }

    /// Whether the server is about to stop.
    pub(crate) fn is_leaving(&self) -> bool {
        self.leaving_since().is_some()
    }

    /// Since when it is.
    pub(crate) fn leaving_since(&self) -> Option<Timestamp> {
        self.leaving.read()
    }

    /// Whether the certificate was changed, and could not be read again: the one before is shown.
    pub(crate) fn has_old_certificate(&self) -> bool {
        self.old_certificate_since().is_some()
    }

    /// Since when it was.
    pub(crate) fn old_certificate_since(&self) -> Option<Timestamp> {
        self.old_certificate.read()
    }

    /// Since when the settings were changed, and could not be read again: those before count. None where they could.
    pub(crate) fn old_config_since(&self) -> Option<Timestamp> {
        self.old_config.read()
    }

    /// Until when the certificate counts that is shown; none where there is none, or it cannot be told.
    pub(crate) fn certificate_ends(&self) -> Option<Timestamp> {
        self.certificate_ends.read()
    }

    pub(super) fn leave(&self) {
        self.leaving.begin();
    }

    /// Another certificate is shown.
    pub(super) fn certificate_is_new(&self, ends: Option<Timestamp>) {
        self.old_certificate.set(None);
        self.certificate_ends.set(ends);
    }

    /// The settings were read again, or could not be.
    pub(super) fn config_is_old(&self, is_old: bool) {
        if is_old {
            self.old_config.begin();
        } else {
            self.old_config.set(None);
        }
    }

    /// The certificate could not be read again.
    pub(super) fn certificate_is_old(&self) {
        self.old_certificate.begin();
    }
}

/// What a request is asked in, as far as it is told apart in what is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Protocol {
    /// A decision, or a batch of them, in our own.
    Native,
    /// OPA's.
    Opa,
    /// AuthZEN.
    AuthZen,
    /// A gateway's or a cluster's: Envoy, nginx, Kubernetes.
    Gateway,
    /// OCI's.
    Registry,
    /// Whatever administers, and whatever looks after the server.
    Other,
}

impl Protocol {
    pub(crate) const ALL: [Self; 6] =
        [Self::Native, Self::Opa, Self::AuthZen, Self::Gateway, Self::Registry, Self::Other];

    /// Which one a request is in: by its path, the most frequent first.
    pub(crate) fn of<B>(request: &Request<B>) -> Self {
        let (method, path) = (request.method(), request.uri().path());
        let is_of_tenant = path.starts_with("/v1/tenants/");
        if is_of_tenant && (path.ends_with("/decide") || path.ends_with("/batch")) {
            return Self::Native;
        }
        let is_gateway = path.starts_with("/envoy.service.auth.v3.")
            || path.ends_with("/auth-request")
            || (is_of_tenant && path.contains("/admission") && *method == Method::POST);
        match () {
            () if is_gateway => Self::Gateway,
            () if authzen::is_here(path) => Self::AuthZen,
            () if opa::is_here(method, path) => Self::Opa,
            () if oci::is_here(path) => Self::Registry,
            () => Self::Other,
        }
    }

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Native => "native",
            Self::Opa => "opa",
            Self::AuthZen => "authzen",
            Self::Gateway => "gateway",
            Self::Registry => "registry",
            Self::Other => "other",
        }
    }
}

/// The ends of the ranges that the times of requests are counted in: seconds.
const REQUEST_SECONDS: [f64; 14] =
    [5e-5, 1e-4, 2.5e-4, 5e-4, 1e-3, 2.5e-3, 5e-3, 1e-2, 2.5e-2, 5e-2, 1e-1, 2.5e-1, 1.0, 10.0];

/// Classes of statuses, from 1xx on.
pub(crate) const CLASSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];

/// What has come, and what of it was turned away.
#[derive(Debug)]
pub(crate) struct Traffic {
    connections: AtomicUsize,
    connections_max: usize,
    turned_away: AtomicU64,
    under_way: AtomicUsize,
    requests_max: usize,
    shed: AtomicU64,
    answered: [Answered; Protocol::ALL.len()],
}

/// What was answered in one protocol.
#[derive(Debug)]
struct Answered {
    /// By class of status.
    classes: [AtomicU64; CLASSES.len()],
    times: Times<{ REQUEST_SECONDS.len() }>,
}

/// One of what there is a bounded number of, until it is dropped.
#[derive(Debug)]
pub(super) struct Entered<'a>(&'a AtomicUsize);

impl Drop for Entered<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Traffic {
    fn new(connections_max: usize, requests_max: usize) -> Self {
        let none = |_| Answered { classes: Default::default(), times: Times::new(&REQUEST_SECONDS) };
        Self {
            connections: AtomicUsize::new(0),
            connections_max,
            turned_away: AtomicU64::new(0),
            under_way: AtomicUsize::new(0),
            requests_max,
            shed: AtomicU64::new(0),
            answered: std::array::from_fn(none),
        }
    }

    /// A request is under way; none where there are as many as there may be.
    pub(super) fn enter(&self) -> Option<Entered<'_>> {
        let entered = Entered(&self.under_way);
        let before = self.under_way.fetch_add(1, Ordering::Relaxed);
        (before < self.requests_max).then_some(entered)
    }

    /// A connection was let in.
    pub(super) fn connect(&self) -> Entered<'_> {
        self.connections.fetch_add(1, Ordering::Relaxed);
        Entered(&self.connections)
    }

    /// A connection was one too many.
    pub(super) fn turn_away(&self) {
        self.turned_away.fetch_add(1, Ordering::Relaxed);
    }

    /// A request was one too many, or came on such a connection.
    pub(super) fn shed(&self) {
        self.shed.fetch_add(1, Ordering::Relaxed);
    }

    /// A request was answered: the head of its answer is there.
    pub(super) fn note(&self, protocol: Protocol, status: StatusCode, elapsed: Duration) {
        let Some(answered) = self.answered.get(protocol as usize) else { return };
        let class = usize::from(status.as_u16() / 100).saturating_sub(1);
        if let Some(count) = answered.classes.get(class) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        answered.times.note(elapsed);
    }

    /// Connections that are open, and the most there may be.
    pub(crate) fn connections(&self) -> (usize, usize) {
        (self.connections.load(Ordering::Relaxed), self.connections_max)
    }

    /// Requests that are under way, and the most there may be.
    pub(crate) fn requests(&self) -> (usize, usize) {
        (self.under_way.load(Ordering::Relaxed), self.requests_max)
    }

    /// How many connections were turned away, and requests shed.
    pub(crate) fn refused(&self) -> (u64, u64) {
        (self.turned_away.load(Ordering::Relaxed), self.shed.load(Ordering::Relaxed))
    }

    /// What was answered in a protocol: how many of each class of [`CLASSES`], and how long it took.
    pub(crate) fn answered(&self, protocol: Protocol) -> Option<(Vec<u64>, Timed)> {
        let answered = self.answered.get(protocol as usize)?;
        let classes = answered.classes.iter().map(|count| count.load(Ordering::Relaxed)).collect();
        Some((classes, answered.times.read()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_requests_are_under_way_as_there_may_be_and_one_that_ends_makes_room() {
        let traffic = Traffic::new(1, 2);
        let (first, second) = (traffic.enter(), traffic.enter());
        assert!(first.is_some() && second.is_some());
        assert!(traffic.enter().is_none() && traffic.enter().is_none());
        drop(first);
        assert!(traffic.enter().is_some());
    }

    #[test]
    fn a_request_is_counted_under_what_it_was_asked_in() {
        let of = |method: &str, path: &str| {
            Protocol::of(&Request::builder().method(method).uri(path).body(()).unwrap())
        };
        for (method, path, expected) in [
            ("POST", "/v1/tenants/bank/policies/loan/decide", Protocol::Native),
            ("POST", "/v1/tenants/bank/policies/loan/batch", Protocol::Native),
            ("POST", "/v1/data/bank/loan", Protocol::Opa),
            ("POST", "/v0/data/bank/loan", Protocol::Opa),
            ("POST", "/access/v1/evaluation", Protocol::AuthZen),
            ("POST", "/envoy.service.auth.v3.Authorization/Check", Protocol::Gateway),
            ("GET", "/v1/tenants/bank/policies/loan/auth-request", Protocol::Gateway),
            ("POST", "/v1/tenants/bank/policies/loan/admission", Protocol::Gateway),
            ("GET", "/v2/bank/loan/tags/list", Protocol::Registry),
            ("GET", "/metrics", Protocol::Other),
            ("POST", "/v1/tenants/bank/policies", Protocol::Other),
        ] {
            assert_eq!(of(method, path), expected, "{method} {path}");
        }
        for (place, protocol) in Protocol::ALL.into_iter().enumerate() {
            assert_eq!(protocol as usize, place);
        }
        let traffic = Traffic::new(1, 1);
        traffic.note(Protocol::Opa, StatusCode::NOT_FOUND, Duration::from_millis(3));
        let (classes, timed) = traffic.answered(Protocol::Opa).unwrap();
        assert_eq!((classes, timed.count()), (vec![0, 0, 0, 1, 0], 1));
        assert_eq!(traffic.answered(Protocol::Native).unwrap().1.count(), 0);
    }

    #[test]
    fn what_lasts_has_lasted_since_it_began() {
        let condition = Condition::default();
        assert!(!condition.has_old_certificate());
        condition.certificate_is_old();
        let since = condition.old_certificate_since();
        condition.certificate_is_old();
        assert!(since.is_some() && condition.old_certificate_since() == since);
        condition.certificate_is_new(Timestamp::from_millis(7).ok());
        assert_eq!((condition.old_certificate_since(), condition.is_leaving()), (None, false));
        assert_eq!(condition.certificate_ends(), Timestamp::from_millis(7).ok());
        condition.config_is_old(true);
        assert!(condition.old_config_since().is_some());
        condition.config_is_old(false);
        assert_eq!(condition.old_config_since(), None);
    }
}
