//! What a server needs to know.

use std::sync::Arc;
use std::time::Duration;

use verdict::core::name::PolicyName;
use verdict::registry::publish::Publisher;
use verdict::registry::repository::Registry;

use super::{Listen, TlsOptions, TuningSource};
use crate::access::Access;
use crate::authzen::AuthZen;
use crate::observe::TraceOptions;
use crate::opa::DefaultDecision;
use crate::tenancy::Budgets;

/// What one core may have under way at a time. With it a request waits some milliseconds where decisions take
/// microseconds, and as long as the disk does where they wait for it.
const REQUESTS_PER_CORE: usize = 1_024;

/// What a server needs to know.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where to listen: at each of these.
    pub listen: Vec<Listen>,
    /// The mode of Unix sockets, such as `0o660`; as the process's umask has it, if nothing is said.
    pub unix_mode: Option<u32>,
    /// The certificate that is shown at addresses of TLS.
    pub tls: Option<TlsOptions>,
    /// Who may ask; needed for addresses that others can reach.
    pub access: Access,
    /// What callers of AuthZEN find.
    pub authzen: AuthZen,
    /// What is served at `/v2/`, where OCI clients look for it, and administered below `/v1/`; nothing if there is none.
    pub registry: Option<Registry>,
    /// What takes signed documents into its registry, which is then the one that is served; nobody puts any if there is
    /// none.
    pub publisher: Option<Publisher>,
    /// The origins whose pages may ask, such as `https://console.example`, or `*` for all (CORS); none if empty.
    pub cors: Vec<String>,
    /// The most connections at a time, over all addresses; those beyond are told 503 and closed.
    pub connections_max: usize,
    /// The most requests under way at a time; those beyond are told 503 before their body is read. What is streamed
    /// after the head of its answer has left does not count.
    pub requests_max: usize,
    /// The largest request body, in bytes.
    pub body_bytes_max: usize,
    /// Whether each thread that has connections keeps to a core of its own, where there are as many cores as threads.
    pub keeps_cores: bool,
    /// How long a client may take for its request's head.
    pub header_timeout: Duration,
    /// How long a connection may be idle between two requests (HTTP/1.1).
    pub idle_timeout: Duration,
    /// How long a request may take as a whole; for what is pushed into the registry, how long to wait for its next
    /// byte; for an answer, how long its client may take nothing of it.
    pub request_timeout: Duration,
    /// What Envoy asks (`envoy.service.auth.v3`) where its route names no policy; if there is none, it is denied.
    pub ext_authz: Option<PolicyName>,
    /// What each tenant may use.
    pub budgets: Budgets,
    /// Where what may change while the server runs is read again; nothing of it changes if there is none.
    pub tuning: Option<Arc<dyn TuningSource>>,
    /// How many evaluations with a large fuel limit may run at a time.
    pub long_evaluations_max: usize,
    /// What OPA's `POST /` asks; nothing if there is none.
    pub opa_default: Option<DefaultDecision>,
    /// Where traces are exported to; nowhere if there is nothing.
    pub traces: Option<TraceOptions>,
    /// How long the server goes on as before when it is told to stop, but that it is not ready any more: for load
    /// balancers, which take a while to notice.
    pub drain_delay: Duration,
    /// How long open requests may take to finish when the server stops.
    pub drain_timeout: Duration,
}

impl Options {
    /// Safe defaults.
    pub fn new(listen: Listen) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Self {
            listen: vec![listen],
            unix_mode: None,
            tls: None,
            access: Access::default(),
            authzen: AuthZen::default(),
            registry: None,
            publisher: None,
            cors: Vec::new(),
            connections_max: 4_096,
            requests_max: REQUESTS_PER_CORE.saturating_mul(cores),
            body_bytes_max: 2 << 20,
            keeps_cores: true,
            header_timeout: Duration::from_secs(5),
            idle_timeout: Duration::from_secs(75),
            request_timeout: Duration::from_secs(30),
            ext_authz: None,
            budgets: Budgets::default(),
            tuning: None,
            long_evaluations_max: 64,
            opa_default: None,
            traces: None,
            drain_delay: Duration::ZERO,
            drain_timeout: Duration::from_secs(10),
        }
    }

    pub(crate) fn served_registry(&self) -> Option<Registry> {
        let of_publisher = || self.publisher.as_ref().map(|publisher| publisher.registry().clone());
        self.registry.clone().or_else(of_publisher)
    }
}
