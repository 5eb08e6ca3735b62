//! Decisions as they are made, as server-sent events.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::response::sse::{self, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::Stream;
use futures_util::stream::unfold;
use serde::Serialize;
use serde_json::json;
use tokio::time::{Instant, sleep_until};
use utoipa::ToSchema;
use verdict::core::digest::Digest;
use verdict::core::name::{ChannelName, PolicyName};
use verdict::core::outcome::FaultCode;
use verdict::core::time::Timestamp;
use verdict::{Tail, Tailed, TailedDecision};

use crate::api::{Asked, Asking, Problem};
use crate::query::Nothing;
use crate::routes::App;

/// How often a silent stream says that it is there.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// After this a stream ends, and whoever wants more proves again who it is.
const AGE_MAX: Duration = Duration::from_secs(10 * 60);

/// What is told of a decision: neither its input nor its answer.
#[derive(Serialize, ToSchema)]
#[schema(as = TailedDecision)]
pub(crate) struct TailedView<'a> {
    decision_id: &'a str,
    #[schema(value_type = String)]
    policy: &'a PolicyName,
    /// The channel that chose the version, and the sequence of its state.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    channel: Option<&'a ChannelName>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sequence: Option<u64>,
    /// The decision that this one was only made beside.
    #[serde(skip_serializing_if = "Option::is_none")]
    shadow_of: Option<&'a str>,
    version: &'a str,
    #[schema(value_type = String)]
    component: Digest,
    rule: &'a str,
    allow: bool,
    /// The class of the fault, where there is no answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    fault: Option<FaultCode>,
    #[serde(skip_serializing_if = "Option::is_none")]
    fuel: Option<u64>,
    #[schema(value_type = String, format = DateTime)]
    decision_time: Timestamp,
    #[schema(value_type = String, format = DateTime)]
    received_at: Timestamp,
    evaluation_ns: u64,
    /// The place of its record in the tenant's log.
    #[serde(skip_serializing_if = "Option::is_none")]
    index: Option<u64>,
}

impl<'a> TailedView<'a> {
    fn of(decision: &'a TailedDecision) -> Self {
        let through = decision.channel.as_ref();
        Self {
            decision_id: &decision.id,
            policy: &decision.policy,
            channel: through.map(|through| &through.name),
            sequence: through.map(|through| through.sequence),
            shadow_of: through.and_then(|through| through.shadow_of.as_deref()),
            version: &decision.version,
            component: decision.component,
            rule: &decision.rule,
            allow: decision.allow,
            fault: decision.fault,
            fuel: decision.fuel,
            decision_time: decision.decision_time,
            received_at: decision.received_at,
            evaluation_ns: u64::try_from(decision.elapsed.as_nanos()).unwrap_or(u64::MAX),
            index: decision.index,
        }
    }
}

/// A tenant's decisions from now on, as server-sent events: `decision` for each when its record is durable, without its
/// input and its answer, and `lost` with a number where the reader was too slow. What was before is in the log.
#[utoipa::path(get, path = "/v1/tenants/{tenant}/decisions", tag = "decisions", operation_id = "tail_decisions",
    responses((status = 200, description = "`decision` as they are made; `lost` has `{\"decisions\": NUMBER}`",
        body = TailedView, content_type = "text/event-stream")))]
pub(crate) async fn tail(
    State(app): State<Arc<App>>,
    asked: Asked,
    Asking(Nothing {}): Asking<Nothing>,
) -> Result<Response, Problem> {
    let tail = app.host().map_err(Problem::of)?.subscribe(asked.place.tenant()?);
    let watching = Watching { app, tail, end: Instant::now() + AGE_MAX };
    Ok(Sse::new(told(watching)).keep_alive(KeepAlive::new().interval(KEEP_ALIVE)).into_response())
}

struct Watching {
    app: Arc<App>,
    tail: Tail,
    end: Instant,
}

fn told(watching: Watching) -> impl Stream<Item = Result<sse::Event, Infallible>> {
    unfold(watching, |mut watching| async move {
        let next = tokio::select! {
            next = watching.tail.next() => next?,
            () = watching.app.stopped() => return None,
            () = sleep_until(watching.end) => return None,
        };
        let told = match next {
            Tailed::Decision(decision) => {
                sse::Event::default().event("decision").json_data(TailedView::of(&decision))
            }
            Tailed::Missed(decisions) => {
                sse::Event::default().event("lost").json_data(json!({ "decisions": decisions }))
            }
        };
        Some((Ok(told.ok()?), watching))
    })
}
