//! Several questions to one policy in one request. Each is a decision of its own, with a record of its own.
//!
//! What one batch may take is bounded: its items, what they are when they have what they share, and what is answered.
//! Items are evaluated where they were read, and many also on other threads, where those are idle. Other requests have
//! their part of each: cheap policies give way several times a millisecond, and others take places of the bounded pool.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::Bytes;
use axum::extract::{RawQuery, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::de::{Deserializer, Error as _, SeqAccess, Visitor};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, oneshot};
use utoipa::ToSchema;
use verdict::core::name::{ChannelName, PolicyName};
use verdict::core::time::Timestamp;
use verdict::{DecideError, Decision, Host, Pending, Request};

use crate::api::Asked;
use crate::besides::Besides;
use crate::decide::{status, unwritable};
use crate::error::{ApiError, Detail};
use crate::merge::Shared;
use crate::query::{self, More, Wanted};
use crate::routes::App;
use crate::tenancy::{Claim, Turn};
use crate::{ask, wire};

/// How many items a batch may have.
const ITEMS_MAX: usize = 1_000;
/// What the inputs may have together once they have what they share, in bytes.
const INPUT_BYTES_MAX: usize = 16 << 20;
/// Once this much is answered, in bytes, no more items are evaluated.
const ANSWER_BYTES_MAX: usize = 16 << 20;
/// How many items are evaluated before their records are waited for, all together.
const CHUNK_ITEMS: usize = 256;
/// What is worth a thread of its own.
const LANE_ITEMS_MIN: usize = 32;
/// How many threads evaluate one batch.
const LANES_MAX: usize = 4;
/// After this long other requests have their turn.
const SLICE: Duration = Duration::from_micros(250);

/// The body of a batch.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Batch<'a> {
    rule: Option<String>,
    #[serde(borrow)]
    input: Option<&'a RawValue>,
    #[serde(borrow)]
    items: Items<'a>,
}

struct Items<'a>(Vec<Item<'a>>);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Item<'a> {
    id: Option<String>,
    rule: Option<String>,
    #[serde(borrow)]
    input: Option<&'a RawValue>,
    decision_time: Option<Timestamp>,
}

/// The body of a batch, as it is documented.
#[derive(ToSchema)]
#[expect(dead_code, reason = "the schema of `Batch`")]
#[schema(as = Batch)]
pub(crate) struct BatchText {
    /// The rule of the items that name none; the policy's default if nothing is said.
    rule: Option<String>,
    /// An object whose members every item's input gets, but for those that it has itself. Nothing inside of members is
    /// merged.
    input: Option<serde_json::Map<String, serde_json::Value>>,
    /// The questions, 1 to 1,000; with what they share their inputs may have 16 MiB.
    items: Vec<BatchItem>,
}

/// One question of a batch.
#[derive(ToSchema)]
#[expect(dead_code, reason = "the schema of `Item`")]
pub(crate) struct BatchItem {
    /// The decision's id; the same once more is answered by the same decision.
    id: Option<String>,
    /// The rule; the batch's if nothing is said.
    rule: Option<String>,
    /// What is asked about; may be left out where the batch has an input.
    input: Option<serde_json::Value>,
    /// The time to decide at, where the host allows it.
    #[schema(format = DateTime)]
    decision_time: Option<String>,
}

/// A question that is ready, or why it cannot be asked.
pub(crate) type Ready = Result<Request, ApiError>;
/// What came of it: without its record.
pub(crate) type Evaluated = Result<Result<Pending, DecideError>, ApiError>;

/// Asks a policy several questions. The answer has `items` in their order, each with a `status` and either a `decision`
/// or a `problem`. Every decision is in the log before it is answered; items under one id are one decision, so an id
/// that stands twice is refused once.
#[utoipa::path(post, path = "/v1/tenants/{tenant}/policies/{policy}/batch", tag = "decisions",
    operation_id = "decide_batch", params(
        ("channel" = Option<String>, Query, description = "the channel; `production` if nothing is said"),
        ("provenance" = Option<bool>, Query, description = "as with one question"),
        ("metrics" = Option<bool>, Query, description = "as with one question"),
        ("explain" = Option<bool>, Query, description = "as with one question"),
    ),
    request_body(content = BatchText), responses(
        (status = 200, description = "every item has an answer", body = Object),
        (status = 207, description = "at least one has a fault or a problem", body = Object)))]
pub(crate) async fn batch(
    State(app): State<Arc<App>>,
    asked: Asked,
    RawQuery(query): RawQuery,
    body: Bytes,
) -> Result<Response, ApiError> {
    let Wanted { channel, more, .. } = Wanted::read(query.as_deref(), query::OF_BATCH)?;
    let batch: Batch<'_> = serde_json::from_slice(&body).map_err(|error| malformed(&error))?;
    let shared = batch.input.map(Shared::read).transpose()?;
    check_bytes(&batch, shared.as_ref())?;
    let policy = asked.place.policy().map_err(ApiError::of)?.clone();
    let caller = asked.principal.caller();
    let run = Run::new(&app, &policy, channel.as_ref(), batch.items.0.len()).await?;
    let ready = |item: &Item<'_>| {
        let input = input(item, shared.as_ref())?;
        Ok(Request {
            policy: policy.clone(),
            channel: channel.clone(),
            rule: item.rule.as_ref().or(batch.rule.as_ref()).cloned(),
            input,
            id: item.id.clone(),
            decision_time: item.decision_time,
            caller: caller.map(ToOwned::to_owned),
        })
    };
    let mut answer = Answer::new(&app, more)?;
    for chunk in batch.items.0.chunks(CHUNK_ITEMS) {
        if answer.is_full() {
            chunk.iter().try_for_each(|_| answer.refuse(&full()))?;
            continue;
        }
        let (mut questions, mut slice) = (Vec::<Ready>::with_capacity(chunk.len()), Slice::begin());
        for item in chunk {
            questions.push(ready(item));
            slice.give_way().await;
        }
        let bytes: Vec<usize> =
            questions.iter().map(|ready| ready.as_ref().map_or(0, |r| r.input.len())).collect();
        let evaluated = run.evaluate(questions).await?;
        answer.add(chunk, shared.is_some(), &bytes, evaluated).await?;
    }
    Ok(answer.end())
}

fn malformed(error: &serde_json::Error) -> ApiError {
    let help = r#"expected {"rule": "...", "input": {...}, "items": [{"input": ..., "rule": "...", "id": "...", "decision_time": "..."}]}; only `items` must be there"#;
    ApiError::bad_request(format!("the body cannot be read: {error}; {help}"))
}

fn full() -> ApiError {
    let message = "the answers before this one fill the batch; ask again in smaller ones";
    ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, "too-large", message)
}

/// What is shared is read with every item.
fn check_bytes(batch: &Batch<'_>, shared: Option<&Shared<'_>>) -> Result<(), ApiError> {
    let items = batch.items.0.iter();
    let own: usize = items.map(|item| item.input.map_or(0, |input| input.get().len())).sum();
    let shared = shared.map_or(0, Shared::len).saturating_mul(batch.items.0.len());
    let bytes = own.saturating_add(shared);
    if bytes <= INPUT_BYTES_MAX {
        return Ok(());
    }
    let message = format!(
        "with what they share the items have {bytes} bytes; a batch may have {INPUT_BYTES_MAX}, ask in smaller ones"
    );
    Err(ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, "too-large", message))
}

fn input(item: &Item<'_>, shared: Option<&Shared<'_>>) -> Result<Vec<u8>, ApiError> {
    match (shared, item.input) {
        (Some(shared), own) => shared.merged(own),
        (None, Some(own)) => Ok(own.get().as_bytes().to_vec()),
        (None, None) => Err(ApiError::bad_request("neither the item nor the batch has an `input`")),
    }
}

/// The threads that a batch is evaluated on: the one that it was read on, and others.
pub(crate) struct Run {
    host: Host,
    turn: Arc<Turn>,
    lanes: usize,
    others: Handle,
    /// Places of the pool, where the policy may take long.
    places: Option<Arc<OwnedSemaphorePermit>>,
}

impl Run {
    /// Takes as many threads as so many questions to one policy are worth, and have nothing else to do: where all are
    /// busy, more of them for one request are fewer for the others.
    ///
    /// # Errors
    /// Where there is no such policy, its tenant is over its budget, or too many long evaluations are under way.
    pub(crate) async fn new(
        app: &App,
        policy: &PolicyName,
        channel: Option<&ChannelName>,
        items: usize,
    ) -> Result<Self, ApiError> {
        let host = app.host()?.clone();
        let Some(bounds) = host.bounds(policy, channel) else { return Err(unknown(policy, channel)) };
        let others = app.shared();
        let threads = others.metrics().num_workers();
        let is_long = bounds.fuel > ask::INLINE_FUEL_MAX;
        let (under_way, _) = app.condition.traffic.requests();
        let lanes = lanes(items, is_long, threads, under_way);
        let questions = u64::try_from(items).unwrap_or(u64::MAX);
        let claim = Claim { questions, lanes: u32::try_from(lanes).unwrap_or(1), bounds };
        let turn = Arc::new(app.tenancy.account(policy.tenant()).enter(claim).await?);
        let lanes = usize::try_from(turn.lanes()).unwrap_or(1);
        let places = if is_long { Some(places(app, lanes)?) } else { None };
        // As many as there are: others may have the rest.
        let lanes = places.as_ref().map_or(lanes, |places| places.num_permits());
        Ok(Self { host, turn, lanes, others, places: places.map(Arc::new) })
    }

    /// Evaluates the questions, and returns what came of each in their order. Stops early when nobody waits any more.
    pub(crate) async fn evaluate(&self, ready: Vec<Ready>) -> Result<Vec<Evaluated>, ApiError> {
        let mut parts: Vec<Vec<Ready>> = Vec::with_capacity(self.lanes);
        let (items, size) = (ready.len(), ready.len().div_ceil(self.lanes).max(1));
        let mut ready = ready.into_iter();
        while parts.len() * size < items {
            parts.push(ready.by_ref().take(size).collect());
        }
        let mut parts = parts.into_iter();
        let own = if self.places.is_none() { parts.next() } else { None };
        let lanes: Vec<_> = parts.map(|part| self.start(part)).collect();
        let own = in_turn(&self.host, &self.turn, own.unwrap_or_default(), || false).await;
        let mut evaluated = own.unwrap_or_default();
        for lane in lanes {
            evaluated.extend(lane.await.map_err(|_| ask::cut_off())?);
        }
        Ok(evaluated)
    }

    fn start(&self, part: Vec<Ready>) -> oneshot::Receiver<Vec<Evaluated>> {
        let ((sender, receiver), host, turn) =
            (oneshot::channel(), self.host.clone(), Arc::clone(&self.turn));
        match self.places.clone() {
            Some(places) => drop(tokio::task::spawn_blocking(move || {
                let evaluated = at_once(&host, &turn, part, || sender.is_closed());
                drop(places);
                evaluated.map(|evaluated| sender.send(evaluated))
            })),
            None => drop(self.others.spawn(async move {
                let evaluated = in_turn(&host, &turn, part, || sender.is_closed()).await;
                evaluated.map(|evaluated| sender.send(evaluated))
            })),
        }
        receiver
    }
}

/// On how many threads to evaluate a batch while so many requests are under way, this one among them.
fn lanes(items: usize, is_long: bool, threads: usize, under_way: usize) -> usize {
    let idle = threads.saturating_sub(under_way.saturating_sub(1));
    let lanes = if is_long { items.min(threads) } else { (items / LANE_ITEMS_MIN).min(idle) };
    lanes.clamp(1, LANES_MAX)
}

/// Places of the pool, at least one.
fn places(app: &App, most: usize) -> Result<OwnedSemaphorePermit, ApiError> {
    let take = |places| {
        let places = u32::try_from(places).unwrap_or(1);
        Arc::clone(&app.long_evaluations).try_acquire_many_owned(places).ok()
    };
    (1..=most).rev().find_map(take).ok_or_else(ask::overloaded)
}

fn unknown(policy: &PolicyName, channel: Option<&ChannelName>) -> ApiError {
    let (code, place) = match channel {
        Some(channel) => ("unknown-channel", format!(" with a channel `{channel}`")),
        None => ("unknown-policy", String::new()),
    };
    let message = format!("policy `{policy}` is not loaded here{place}; `GET /v1/policies` lists what is");
    ApiError::new(StatusCode::NOT_FOUND, code, message)
}

/// The time since other requests had their turn.
struct Slice(Instant);

impl Slice {
    fn begin() -> Self {
        Self(Instant::now())
    }

    /// Lets others have their turn when it is time to; whether it was.
    async fn give_way(&mut self) -> bool {
        let is_over = self.0.elapsed() > SLICE;
        if is_over {
            tokio::task::yield_now().await;
            self.0 = Instant::now();
        }
        is_over
    }
}

/// One after the other, while other requests have their turn; none when it was stopped.
async fn in_turn(
    host: &Host,
    turn: &Turn,
    part: Vec<Ready>,
    is_stopped: impl Fn() -> bool,
) -> Option<Vec<Evaluated>> {
    let (mut evaluated, mut slice) = (Vec::with_capacity(part.len()), Slice::begin());
    for ready in part {
        evaluated.push(ready.and_then(|request| Ok(turn.decide(host, request)?)));
        if slice.give_way().await && is_stopped() {
            return None;
        }
    }
    Some(evaluated)
}

/// One after the other, on a thread of its own; none when it was stopped.
fn at_once(
    host: &Host,
    turn: &Turn,
    part: Vec<Ready>,
    is_stopped: impl Fn() -> bool,
) -> Option<Vec<Evaluated>> {
    let one =
        |ready: Ready| (!is_stopped()).then(|| ready.and_then(|request| Ok(turn.decide(host, request)?)));
    part.into_iter().map(one).collect()
}

/// The problem of one item, as that of a request, but for the request.
#[derive(Serialize)]
struct ItemProblem<'a> {
    r#type: String,
    title: String,
    status: u16,
    detail: &'a str,
    error: &'a Detail,
}

impl<'a> ItemProblem<'a> {
    fn of(error: &'a ApiError) -> Self {
        Self {
            r#type: format!("urn:verdict:problem:{}", error.code()),
            title: error.code().replace('-', " "),
            status: error.status().as_u16(),
            detail: error.message(),
            error: error.detail(),
        }
    }
}

/// The answer, as it is written.
struct Answer<'a> {
    text: Vec<u8>,
    more: More,
    build: &'a str,
    all_are_answers: bool,
}

impl<'a> Answer<'a> {
    fn new(app: &'a App, more: More) -> Result<Self, ApiError> {
        let build = if more.provenance { app.host()?.build() } else { "" };
        Ok(Self { text: b"{\"items\":[".to_vec(), more, build, all_are_answers: true })
    }

    fn is_full(&self) -> bool {
        self.text.len() > ANSWER_BYTES_MAX
    }

    /// Adds what came of some items, in their order, once all that became of them is durable.
    async fn add(
        &mut self,
        items: &[Item<'_>],
        merged: bool,
        bytes: &[usize],
        evaluated: Vec<Evaluated>,
    ) -> Result<(), ApiError> {
        let since = Instant::now();
        for ((item, input_bytes), evaluated) in items.iter().zip(bytes).zip(evaluated) {
            let decided = match evaluated {
                Ok(Ok(pending)) => ask::recorded(pending).await.map_err(ApiError::from),
                // Where in the text of the batch a merged input is wrong, nobody can tell.
                Ok(Err(error)) => match item.input.filter(|_| !merged) {
                    Some(input) => Err(ApiError::of_decision(error, input.get())),
                    None => Err(error.into()),
                },
                Err(error) => Err(error),
            };
            match decided {
                Ok(decision) => self.tell(&decision, *input_bytes, since.elapsed())?,
                Err(error) => self.refuse(&error)?,
            }
        }
        Ok(())
    }

    fn tell(&mut self, decision: &Decision, input_bytes: usize, waited: Duration) -> Result<(), ApiError> {
        let status = status(decision);
        self.begin(status, "decision");
        let besides = Besides { more: self.more, build: self.build, input_bytes, waited };
        wire::write(&mut self.text, decision, &besides).map_err(|error| unwritable(&error))?;
        self.text.push(b'}');
        Ok(())
    }

    fn refuse(&mut self, error: &ApiError) -> Result<(), ApiError> {
        self.begin(error.status(), "problem");
        serde_json::to_writer(&mut self.text, &ItemProblem::of(error))
            .map_err(|error| unwritable(&error.into()))?;
        self.text.push(b'}');
        Ok(())
    }

    fn begin(&mut self, status: StatusCode, what: &str) {
        self.all_are_answers &= status == StatusCode::OK;
        if self.text.last() != Some(&b'[') {
            self.text.push(b',');
        }
        self.text.extend_from_slice(b"{\"status\":");
        self.text.extend_from_slice(status.as_str().as_bytes());
        self.text.extend_from_slice(b",\"");
        self.text.extend_from_slice(what.as_bytes());
        self.text.extend_from_slice(b"\":");
    }

    fn end(mut self) -> Response {
        self.text.extend_from_slice(b"]}");
        let status = if self.all_are_answers { StatusCode::OK } else { StatusCode::MULTI_STATUS };
        let content_type = [(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))];
        (status, content_type, self.text).into_response()
    }
}

impl<'a, 'de: 'a> Deserialize<'de> for Items<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reading;

        impl<'de> Visitor<'de> for Reading {
            type Value = Items<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "an array of 1 to {ITEMS_MAX} questions")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
                let mut items = Vec::new();
                while let Some(item) = seq.next_element()? {
                    if items.len() == ITEMS_MAX {
                        return Err(A::Error::custom(format!("a batch has at most {ITEMS_MAX} items")));
                    }
                    items.push(item);
                }
                if items.is_empty() {
                    return Err(A::Error::custom("a batch has at least one item"));
                }
                Ok(Items(items))
            }
        }

        deserializer.deserialize_seq(Reading)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_has_other_threads_only_where_they_are_idle() {
        let alone = |items, threads| lanes(items, false, threads, 1);
        assert_eq!((alone(1, 8), alone(64, 8), alone(1_000, 8), alone(1_000, 2)), (1, 2, LANES_MAX, 2));
        let beside = |under_way| lanes(1_000, false, 3, under_way);
        assert_eq!((beside(1), beside(2), beside(3), beside(4), beside(100)), (3, 2, 1, 1, 1));
        // Those have threads of the bounded pool.
        assert_eq!((lanes(2, true, 8, 100), lanes(1_000, true, 3, 100)), (2, 3));
    }
}
