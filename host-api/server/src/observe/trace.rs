//! Traces: spans of a request, of each evaluation, and of waiting for the log, exported over OTLP.
//!
//! W3C trace context: <https://www.w3.org/TR/trace-context/>. What is asked about is never in a span.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use axum::http::{HeaderMap, StatusCode};
use opentelemetry::propagation::{Extractor, TextMapPropagator as _};
use opentelemetry::trace::{
    SpanContext, SpanId, SpanKind, Status, TraceContextExt as _, TraceFlags, TraceId, TraceState,
};
use opentelemetry::{Context, InstrumentationScope, KeyValue};
use opentelemetry_otlp::{SpanExporter, WithExportConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::{
    IdGenerator as _, RandomIdGenerator, SpanData, SpanEvents, SpanExporter as _, SpanLinks,
};
use tokio::sync::{Notify, mpsc};
use verdict::{Cached, Decision, Pending};

use crate::listen::Protocol;

/// The most spans that wait to be exported; those beyond are left out, and counted.
const QUEUE_MAX: usize = 4_096;
/// The most spans that are sent at a time.
const BATCH_MAX: usize = 512;
/// How long a span may wait for others to be sent with.
const LINGER: Duration = Duration::from_secs(1);
/// How long the last spans may take when the server stops.
const LAST: Duration = Duration::from_secs(3);
/// How often the log says that the collector does not take what is sent.
const COMPLAIN_EVERY: Duration = Duration::from_secs(60);
const PATH: &str = "v1/traces";

/// Where traces go.
#[derive(Debug, Clone, PartialEq)]
pub struct TraceOptions {
    /// The collector: OTLP over HTTP, the address below which `v1/traces` is. What the standard variables `OTEL_…` say
    /// besides counts too: headers, timeouts, resource.
    pub endpoint: String,
    /// The part of the traces that begin here which is exported, 0 to 1; of one that began elsewhere, it was decided there.
    pub ratio: f64,
}

/// Traces cannot be exported.
#[derive(Debug, thiserror::Error)]
pub enum TraceError {
    /// There is no such part.
    #[error("{0} is no part of all traces; expected 0 to 1")]
    Ratio(f64),
    /// The collector cannot be asked.
    #[error("traces cannot be exported to `{0}`: {1}")]
    Endpoint(String, String),
}

/// What exports traces.
#[derive(Debug)]
pub(crate) struct Tracing {
    queue: mpsc::Sender<SpanData>,
    /// The part of the traces that begin here which is exported.
    ratio: f64,
    counts: Counts,
    scope: InstrumentationScope,
    stopping: Notify,
    stopped: Notify,
}

#[derive(Debug, Default)]
struct Counts {
    exported: AtomicU64,
    lost: AtomicU64,
    left_out: AtomicU64,
}

impl Tracing {
    /// Begins to export. Must be called in a runtime.
    ///
    /// # Errors
    /// When the options are none.
    pub(crate) fn start(options: &TraceOptions) -> Result<Arc<Self>, TraceError> {
        let TraceOptions { endpoint, ratio } = options;
        if !(0.0..=1.0).contains(ratio) {
            return Err(TraceError::Ratio(*ratio));
        }
        let base = endpoint.trim_end_matches('/');
        let url = if base.ends_with(PATH) { base.to_owned() } else { format!("{base}/{PATH}") };
        let exporter = SpanExporter::builder().with_http().with_endpoint(url).build();
        let mut exporter =
            exporter.map_err(|error| TraceError::Endpoint(endpoint.clone(), error.to_string()))?;
        let mut resource = Resource::builder();
        if std::env::var_os("OTEL_SERVICE_NAME").is_none() {
            resource = resource.with_service_name("verdict");
        }
        exporter.set_resource(&resource.build());
        let (queue, spans) = mpsc::channel(QUEUE_MAX);
        let scope = InstrumentationScope::builder("verdict").with_version(env!("CARGO_PKG_VERSION")).build();
        let tracing = Arc::new(Self {
            queue,
            ratio: *ratio,
            counts: Counts::default(),
            scope,
            stopping: Notify::new(),
            stopped: Notify::new(),
        });
        drop(tokio::spawn(Arc::clone(&tracing).export(exporter, spans)));
        Ok(tracing)
    }

    /// The trace of a request: the one that it says it is part of, or a new one.
    pub(crate) fn begin(self: &Arc<Self>, headers: &HeaderMap) -> Arc<Trace> {
        let remote = TraceContextPropagator::new().extract_with_context(&Context::new(), &Headers(headers));
        let parent = remote.span().span_context().clone();
        let ids = RandomIdGenerator::default();
        let (id, flags, state) = if parent.is_valid() {
            (parent.trace_id(), parent.trace_flags(), parent.trace_state().clone())
        } else {
            let id = ids.new_trace_id();
            let flags = TraceFlags::default().with_sampled(is_in(self.ratio, id));
            (id, flags, TraceState::default())
        };
        let context = SpanContext::new(id, ids.new_span_id(), flags, false, state);
        let (tracing, parent) = (Arc::clone(self), parent.span_id());
        Arc::new(Trace { tracing, context, parent, began: SystemTime::now() })
    }

    /// How many spans were exported, how many of those that were sent were lost, and how many were left out because too
    /// many waited.
    pub(crate) fn counts(&self) -> [(&'static str, u64); 3] {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let Counts { exported, lost, left_out } = &self.counts;
        [("exported", read(exported)), ("lost", read(lost)), ("left_out", read(left_out))]
    }

    /// Sends what waits. Not for long.
    pub(crate) async fn stop(&self) {
        self.stopping.notify_one();
        let _ = tokio::time::timeout(LAST, self.stopped.notified()).await;
    }

    async fn export(self: Arc<Self>, exporter: SpanExporter, mut spans: mpsc::Receiver<SpanData>) {
        let mut complained: Option<tokio::time::Instant> = None;
        let mut is_last = false;
        while !is_last {
            let mut batch = Vec::new();
            tokio::select! {
                _ = spans.recv_many(&mut batch, BATCH_MAX) => {
                    let full = async {
                        while batch.len() < BATCH_MAX && spans.recv_many(&mut batch, BATCH_MAX).await > 0 {}
                    };
                    tokio::select! {
                        _ = tokio::time::timeout(LINGER, full) => {}
                        () = self.stopping.notified() => is_last = true,
                    }
                }
                () = self.stopping.notified() => is_last = true,
            }
            while is_last && let Ok(span) = spans.try_recv() {
                batch.push(span);
            }
            let count = u64::try_from(batch.len()).unwrap_or(u64::MAX);
            let sent = if batch.is_empty() { Ok(()) } else { exporter.export(batch).await };
            let counter = if sent.is_ok() { &self.counts.exported } else { &self.counts.lost };
            counter.fetch_add(count, Ordering::Relaxed);
            if let Err(error) = sent
                && complained.is_none_or(|at| at.elapsed() >= COMPLAIN_EVERY)
            {
                complained = Some(tokio::time::Instant::now());
                tracing::warn!(%error, count, "traces are lost: the collector does not take them");
            }
        }
        self.stopped.notify_one();
    }
}

/// Whether a trace is in this part of all: by its id, so that whoever is asked about it says the same.
fn is_in(ratio: f64, id: TraceId) -> bool {
    let low = u64::from_be_bytes(id.to_bytes().last_chunk().copied().unwrap_or_default());
    let high_half = u32::try_from(low >> 32).unwrap_or(u32::MAX);
    f64::from(high_half) < ratio * (f64::from(u32::MAX) + 1.0)
}

struct Headers<'a>(&'a HeaderMap);

impl Extractor for Headers<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key)?.to_str().ok()
    }

    fn keys(&self) -> Vec<&str> {
        self.0.keys().map(axum::http::HeaderName::as_str).collect()
    }
}

/// The trace of one request.
#[derive(Debug)]
pub(crate) struct Trace {
    tracing: Arc<Tracing>,
    /// The request's own span.
    context: SpanContext,
    parent: SpanId,
    began: SystemTime,
}

/// Something that took time in a request.
struct Took {
    name: &'static str,
    kind: SpanKind,
    began: SystemTime,
    took: Duration,
    attributes: Vec<KeyValue>,
    status: Status,
}

impl Trace {
    /// Its id, in hexadecimal.
    pub(crate) fn id(&self) -> String {
        self.context.trace_id().to_string()
    }

    /// Whether it is exported.
    pub(crate) fn is_sampled(&self) -> bool {
        self.context.is_sampled()
    }

    /// A question was evaluated, just now.
    pub(crate) fn evaluated(&self, pending: &Pending) {
        let Some((asked, used)) = pending.asked().zip(pending.used()) else { return };
        let outcome = if used.allow { "allow" } else { "deny" };
        let cache = if let Cached::Hit { .. } = asked.cached { "hit" } else { "none" };
        let mut attributes = vec![
            KeyValue::new("verdict.policy", asked.policy.to_string()),
            KeyValue::new("verdict.version", asked.version.to_owned()),
            KeyValue::new("verdict.rule", asked.rule.to_owned()),
            KeyValue::new("verdict.outcome", used.fault.map_or(outcome, |_| "fault")),
            KeyValue::new("verdict.cache", cache),
        ];
        attributes.extend(
            used.fuel.map(|fuel| KeyValue::new("verdict.fuel", i64::try_from(fuel).unwrap_or(i64::MAX))),
        );
        let status = used.fault.map_or(Status::Unset, |fault| Status::error(fault.code()));
        let took = used.elapsed;
        let began = SystemTime::now().checked_sub(took).unwrap_or(self.began);
        let kind = SpanKind::Internal;
        self.child(Took { name: "evaluate", kind, began, took, attributes, status });
    }

    /// A record was waited for, since then and until now.
    pub(crate) fn recorded(&self, began: SystemTime, decision: Option<&Decision>) {
        let took = began.elapsed().unwrap_or_default();
        let index = decision.and_then(|decision| i64::try_from(decision.index?).ok());
        let attributes = index.map(|index| KeyValue::new("verdict.log.index", index)).into_iter().collect();
        let status = decision.map_or(Status::error("not-recorded"), |_| Status::Unset);
        let kind = SpanKind::Internal;
        self.child(Took { name: "append", kind, began, took, attributes, status });
    }

    /// The request was answered.
    pub(crate) fn answered(&self, protocol: Protocol, request: &str, status: StatusCode) {
        let attributes = vec![
            KeyValue::new("verdict.protocol", protocol.name()),
            KeyValue::new("verdict.request_id", request.to_owned()),
            KeyValue::new("http.response.status_code", i64::from(status.as_u16())),
        ];
        let told = if status.is_server_error() { Status::error("") } else { Status::Unset };
        let (began, took) = (self.began, self.began.elapsed().unwrap_or_default());
        let took = Took { name: "request", kind: SpanKind::Server, began, took, attributes, status: told };
        self.put(took, self.context.clone(), self.parent, true);
    }

    fn child(&self, took: Took) {
        let (id, flags, state) =
            (self.context.trace_id(), self.context.trace_flags(), self.context.trace_state().clone());
        let own = SpanContext::new(id, RandomIdGenerator::default().new_span_id(), flags, false, state);
        self.put(took, own, self.context.span_id(), false);
    }

    fn put(
        &self,
        took: Took,
        span_context: SpanContext,
        parent_span_id: SpanId,
        parent_span_is_remote: bool,
    ) {
        let Took { name, kind, began, took, attributes, status } = took;
        let span = SpanData {
            span_context,
            parent_span_id,
            parent_span_is_remote,
            span_kind: kind,
            name: name.into(),
            start_time: began,
            end_time: began.checked_add(took).unwrap_or(began),
            attributes,
            dropped_attributes_count: 0,
            events: SpanEvents::default(),
            links: SpanLinks::default(),
            status,
            instrumentation_scope: self.tracing.scope.clone(),
        };
        if self.tracing.queue.try_send(span).is_err() {
            self.tracing.counts.left_out.fetch_add(1, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_of_the_traces_is_as_large_as_it_is_said_to_be() {
        let ids = RandomIdGenerator::default();
        let all: Vec<_> = (0..4_000).map(|_| ids.new_trace_id()).collect();
        let count = |ratio| all.iter().filter(|id| is_in(ratio, **id)).count();
        assert_eq!((count(0.0), count(1.0)), (0, 4_000));
        assert!((800..1_200).contains(&count(0.25)), "{}", count(0.25));
        assert!(all.iter().all(|id| !is_in(0.25, *id) || is_in(0.5, *id)));
    }
}
