//! What happened: in pages, or as it happens.

use std::collections::{BTreeMap, VecDeque};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::response::sse::{self, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::Stream;
use futures_util::stream::unfold;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;
use utoipa::{IntoParams, ToSchema};
use verdict::core::digest::Digest;
use verdict::core::name::Tenant;
use verdict::core::time::Timestamp;
use verdict::registry::catalogue::{Catalogue, Event, EventKind, Limit};

use super::answer::{Answer, Answered, Early};
use super::body::{self, Asking};
use super::gate::Asked;
use super::page::Items;
use super::problem::Problem;
use crate::routes::App;

/// How often a silent stream says that it is there.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// After this a stream ends, and whoever wants more proves again who it is.
const STREAM_AGE_MAX: Duration = Duration::from_secs(10 * 60);
const RETRY: Duration = Duration::from_secs(1);
/// How many events are read at a time.
const BATCH: u32 = 100;

/// One thing that happened.
#[derive(Serialize, ToSchema)]
#[schema(as = Event)]
pub(crate) struct EventView {
    /// Its number; they grow by one.
    event: u64,
    /// When, by the clock of the one who wrote it.
    #[schema(value_type = String, format = DateTime)]
    at: Timestamp,
    /// Who did it.
    actor: String,
    /// The request that it happened in.
    correlation_id: String,
    /// What happened.
    #[schema(value_type = String, examples("channel.changed"))]
    kind: &'static str,
    /// Whose it is; null when it concerns every tenant.
    #[schema(value_type = Option<String>)]
    tenant: Option<Tenant>,
    /// What it happened to.
    #[schema(examples("bank/loan@production"))]
    subject: String,
    /// The digest of what came or went.
    #[schema(value_type = Option<String>)]
    digest: Option<Digest>,
    /// More about it.
    detail: BTreeMap<String, String>,
}

/// Which events are wanted.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct Which {
    /// Only those of this tenant, and those that concern every tenant.
    #[param(value_type = Option<String>)]
    #[serde(rename = "tenant")]
    _tenant: Option<Tenant>,
    /// How many, 1 to 1,000; 100 if nothing is said.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<u32>,
    /// Those after this event.
    after: Option<u64>,
}

/// Where a stream begins.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct From {
    /// Only those of this tenant, and those that concern every tenant.
    #[param(value_type = Option<String>)]
    #[serde(rename = "tenant")]
    _tenant: Option<Tenant>,
    /// After this event; from now on if nothing is said. `Last-Event-ID` says more.
    after: Option<u64>,
}

impl EventView {
    fn new(event: Event) -> Self {
        let Event { seq, at, actor, correlation, kind, tenant, subject, digest, detail } = event;
        let (event, correlation_id, kind) = (seq, correlation, kind.as_str());
        Self { event, at, actor, correlation_id, kind, tenant, subject, digest, detail }
    }
}

/// Whether an event may be told to whoever sees one tenant only: of those that are nobody's, what everybody goes by.
fn is_told(event: &Event, tenant: Option<&Tenant>) -> bool {
    let concerns_all = matches!(event.kind, EventKind::TrustChanged | EventKind::RevocationsChanged);
    tenant.is_none() || event.tenant.as_ref() == tenant || concerns_all
}

/// What happened, in order.
#[utoipa::path(get, path = "/v1/events", tag = "events", operation_id = "list_events", params(Which),
    responses((status = 200, description = "a page of events", body = Items<EventView>)))]
pub(super) async fn list(
    State(app): State<Arc<App>>,
    asked: Asked,
    Asking(which): Asking<Which>,
) -> Answered {
    let (tenant, limit) = (asked.tenant.as_ref(), body::limit(which.limit)?);
    let events = app.catalogue()?.events_after(which.after.unwrap_or_default(), tenant, limit).await?;
    let next = events.last().filter(|_| events.len() == limit.rows()).map(|event| event.seq.to_string());
    let told = events.into_iter().filter(|event| is_told(event, tenant)).map(EventView::new).collect();
    Ok(Answer::ok(&Items::new(told, next)))
}

/// What happens, as server-sent events: `id` is the number, `event` the kind, `data` the event.
#[utoipa::path(get, path = "/v1/events/stream", tag = "events", operation_id = "stream_events", params(From),
    responses((status = 200, description = "events, each with its number as id", body = EventView,
        content_type = "text/event-stream")))]
pub(super) async fn stream(
    State(app): State<Arc<App>>,
    asked: Asked,
    Asking(From { after, .. }): Asking<From>,
) -> Result<Response, Early> {
    let last = asked.last_event().map(|text| {
        let malformed = |_| Problem::malformed("`Last-Event-ID` is not the number of an event");
        text.trim().parse::<u64>().map_err(malformed)
    });
    let catalogue = app.catalogue()?.clone();
    let head = catalogue.event_head().await?;
    // Whoever has seen later events than there are saw them in a database that was restored from a backup since.
    let after = last.transpose()?.or(after).map_or(head, |after| if after > head { 0 } else { after });
    let end = Instant::now() + STREAM_AGE_MAX;
    let reading = Reading { app, catalogue, tenant: asked.tenant, after, read: VecDeque::new(), end };
    let keep_alive = KeepAlive::new().interval(KEEP_ALIVE);
    Ok(Sse::new(told(reading)).keep_alive(keep_alive).into_response())
}

/// Where a stream is.
struct Reading {
    app: Arc<App>,
    catalogue: Catalogue,
    tenant: Option<Tenant>,
    after: u64,
    read: VecDeque<Event>,
    end: Instant,
}

impl Reading {
    /// The next event; none when the stream ends.
    async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some(event) = self.read.pop_front() {
                return Some(event);
            }
            let left = self.end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return None;
            }
            let tenant = self.tenant.as_ref();
            let wait = self.catalogue.wait_for_events(self.after, tenant, Limit::new(BATCH), left);
            let events = tokio::select! {
                events = wait => events.ok()?,
                () = self.app.stopped() => return None,
            };
            self.after = events.last().map_or(self.after, |event| event.seq);
            self.read.extend(events.into_iter().filter(|event| is_told(event, tenant)));
        }
    }
}

fn told(reading: Reading) -> impl Stream<Item = Result<sse::Event, Infallible>> {
    unfold(reading, |mut reading| async move {
        let event = reading.next().await?;
        let (id, kind) = (event.seq.to_string(), event.kind.as_str());
        let told = sse::Event::default().id(id).event(kind).retry(RETRY);
        let told = told.json_data(EventView::new(event)).ok()?;
        Some((Ok(told), reading))
    })
}
