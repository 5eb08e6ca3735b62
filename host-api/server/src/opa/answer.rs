//! Answers in OPA's form.

use std::collections::BTreeMap;
use std::time::Duration;

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use verdict::Decision;
use verdict::core::outcome::Reason;
use verdict::engine::{Operation, Source};

use super::call::Call;
use super::evaluate::Found;
use super::json::indented;
use super::query::{Explain, Query};
use crate::api::Problem;

/// An answer to a question about data.
#[derive(Serialize)]
pub(super) struct DataAnswer {
    #[serde(skip_serializing_if = "Option::is_none")]
    decision_id: Option<String>,
    /// Where there are several decisions: their ids, by policy and rule. OPA leaves names with a domain to others.
    #[serde(rename = "verdict/decision_ids", skip_serializing_if = "BTreeMap::is_empty")]
    decision_ids: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    provenance: Option<Provenance>,
    #[serde(skip_serializing_if = "Option::is_none")]
    explanation: Option<Vec<Value>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    metrics: Option<BTreeMap<&'static str, u64>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    result: Option<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    warning: Option<Warning>,
}

/// What answered.
#[derive(Serialize)]
struct Provenance {
    version: &'static str,
    bundles: BTreeMap<String, Revision>,
}

#[derive(Serialize)]
struct Revision {
    revision: String,
}

/// The client may have meant something else.
#[derive(Serialize)]
pub(super) struct Warning {
    code: &'static str,
    message: &'static str,
}

impl Warning {
    pub(super) const fn of_usage(message: &'static str) -> Self {
        Self { code: "api_usage_warning", message }
    }
}

impl DataAnswer {
    pub(super) fn new(call: &Call, found: Found) -> Self {
        let Found { value, decisions } = found;
        let Query { provenance, metrics, explain, pretty, .. } = &call.query;
        let (decision_id, decision_ids) = match decisions.as_slice() {
            [only] => (Some(only.id.clone()), BTreeMap::new()),
            several => {
                (None, several.iter().map(|decision| (rule_of(decision), decision.id.clone())).collect())
            }
        };
        // As OPA: what is undefined is explained in full or not at all.
        let is_explained = *explain == Explain::Full || (*explain != Explain::Off && value.is_some());
        Self {
            decision_id,
            decision_ids,
            provenance: provenance.then(|| Provenance::of(&decisions)),
            explanation: is_explained.then(|| explanation(&decisions, *explain, *pretty)),
            metrics: metrics.then(|| self::metrics(call, &decisions)),
            result: value,
            warning: None,
        }
    }

    pub(super) fn warn(self, warning: Option<Warning>) -> Self {
        Self { warning, ..self }
    }
}

fn rule_of(decision: &Decision) -> String {
    format!("{}/{}", decision.policy, decision.rule)
}

impl Provenance {
    /// Each policy is a bundle of its own, and so is the data that it could read.
    fn of(decisions: &[Decision]) -> Self {
        let mut bundles = BTreeMap::new();
        for decision in decisions {
            let revision = format!("{}@{}", decision.version, decision.component);
            bundles.insert(decision.policy.to_string(), Revision { revision });
            if let Some(data) = decision.data {
                let name = format!("{}/data", decision.policy.tenant());
                bundles.insert(name, Revision { revision: data.to_string() });
            }
        }
        Self { version: env!("CARGO_PKG_VERSION"), bundles }
    }
}

/// The names that OPA has for them, where it has one.
fn metrics(call: &Call, decisions: &[Decision]) -> BTreeMap<&'static str, u64> {
    let sum = |of: fn(&Decision) -> u64| decisions.iter().map(of).fold(0, u64::saturating_add);
    let mut metrics = BTreeMap::from([
        ("timer_rego_query_eval_ns", sum(|decision| nanoseconds(decision.elapsed))),
        ("timer_server_handler_ns", nanoseconds(call.began.elapsed())),
        ("counter_verdict_fuel", sum(|decision| decision.fuel.unwrap_or_default())),
    ]);
    if call.query.instrument {
        let peaks = decisions.iter().filter_map(|decision| decision.memory_bytes_peak);
        metrics.insert("counter_verdict_decisions", decisions.len() as u64);
        metrics.insert("counter_verdict_memory_bytes_peak", peaks.max().unwrap_or_default());
        metrics.insert("counter_verdict_reads", sum(|decision| decision.reads.len() as u64));
    }
    metrics
}

pub(super) fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// What a trace of Rego is to OPA: what the policies read, what of it was absent, and the reasons that they gave.
fn explanation(decisions: &[Decision], explain: Explain, pretty: bool) -> Vec<Value> {
    let mut events = Vec::new();
    for decision in decisions {
        let reads = decision.reads.iter().map(|read| {
            let message =
                format!("{} of {} at `{}`", operation(read.operation), document(read.document), read.pointer);
            (if read.absent { "fail" } else { "eval" }, message)
        });
        let answer = decision.result.as_ref().ok();
        let notes = answer.iter().flat_map(|answer| &answer.reasons).map(|reason| ("note", note(reason)));
        events.extend(reads.chain(notes).filter(|(kind, _)| match explain {
            Explain::Off => false,
            Explain::Notes => *kind == "note",
            Explain::Fails => *kind == "fail",
            Explain::Full => true,
        }));
    }
    events.into_iter().map(|(kind, message)| event(kind, &message, pretty)).collect()
}

const fn operation(operation: Operation) -> &'static str {
    match operation {
        Operation::Read => "value",
        Operation::Keys => "names of members",
        Operation::Json => "text",
    }
}

const fn document(source: Source) -> &'static str {
    match source {
        Source::Input => "the input",
        Source::Data => "the data",
    }
}

fn note(reason: &Reason) -> String {
    let Reason { code, message, pointers, .. } = reason;
    if pointers.is_empty() {
        format!("{code}: {message}")
    } else {
        format!("{code}: {message} ({})", pointers.join(", "))
    }
}

fn event(kind: &str, message: &str, pretty: bool) -> Value {
    if pretty {
        return Value::String(format!("{kind} {message}"));
    }
    json!({
        "op": kind, "query_id": 0, "parent_id": 0, "type": "", "node": null, "locals": [], "message": message,
    })
}

/// An answer with a body, written as the client wants it.
pub(super) fn json_of(status: StatusCode, body: &impl Serialize, query: &Query) -> Response {
    match serde_json::to_string(body) {
        Ok(text) => text_of(status, text, query),
        Err(error) => {
            tracing::error!(%error, "an answer has no form in JSON");
            Problem::internal().into_response()
        }
    }
}

/// The same, of what is JSON already.
pub(super) fn text_of(status: StatusCode, text: String, query: &Query) -> Response {
    let text = if query.pretty { indented(&text) } else { text };
    let content_type = [(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))];
    (status, content_type, text).into_response()
}
