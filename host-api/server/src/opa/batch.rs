//! `POST /v1/batch/data/{path}`: one question about many inputs, as Enterprise OPA has it.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::sync::Arc;

use axum::body::Body;
use axum::http::StatusCode;
use axum::response::Response;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tokio::task::JoinSet;

use super::answer::{DataAnswer, Warning, json_of, nanoseconds};
use super::body::{self, Input};
use super::call::Call;
use super::evaluate::Asked;
use super::json::object;
use super::refused::{Refused, RefusedBody};
use super::target::Target;
use crate::api::Problem;

/// The most decisions of one batch.
const DECISIONS_MAX: usize = 1_000;
/// What all inputs of a batch may have together, with what is common to them: bytes.
const INPUT_BYTES_MAX: usize = 16 << 20;
/// What all values of an answer may have: bytes.
const ANSWER_BYTES_MAX: usize = 16 << 20;
/// How deep the members of two inputs are merged.
const DEPTH_MAX: usize = 128;

#[derive(Deserialize)]
struct Inputs<'a> {
    #[serde(borrow)]
    inputs: Option<BTreeMap<String, &'a RawValue>>,
    #[serde(borrow)]
    common_input: Option<&'a RawValue>,
}

#[derive(Serialize)]
struct BatchAnswer {
    #[serde(skip_serializing_if = "Option::is_none")]
    metrics: Option<BTreeMap<&'static str, u64>>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    responses: BTreeMap<String, Item>,
    #[serde(skip_serializing_if = "Option::is_none")]
    warning: Option<Warning>,
}

/// One answer, with a status where not all of a batch have the same.
#[derive(Serialize)]
struct Item {
    #[serde(flatten)]
    said: Said,
    // Clients know "200" and "500", and nothing else.
    #[serde(skip_serializing_if = "Option::is_none")]
    http_status_code: Option<&'static str>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Said {
    Answer(Box<DataAnswer>),
    Refused(RefusedBody),
}

/// What there is for each name of a batch.
type Each<T> = Vec<(String, Result<T, Refused>)>;

/// Asks about every input. The status is 200 where all have an answer, 207 where some have, 500 where none has.
pub(super) async fn ask(call: Call, body: Body) -> Result<Response, Refused> {
    let target = Arc::new(Target::find(&call, &call.tenant, &call.place).await?);
    let call = Arc::new(call);
    let bytes = body::read(&call, body).await?;
    let Inputs { inputs, common_input } =
        body::members(&bytes)?.unwrap_or(Inputs { inputs: None, common_input: None });
    let Some(inputs) = inputs else {
        let warning = Some(Warning::of_usage("'inputs' key missing from the request"));
        let answer = BatchAnswer { metrics: None, responses: BTreeMap::new(), warning };
        return Ok(json_of(StatusCode::OK, &answer, &call.query));
    };
    let count = inputs.len().saturating_mul(target.questions().len().max(1));
    if count > DECISIONS_MAX {
        let message =
            format!("the batch asks for {count} decisions; at most {DECISIONS_MAX} are made at a time");
        return Err(Refused::invalid(message));
    }
    let asked = ask_all(&call, &target, merged_inputs(inputs, common_input)?).await?;
    Ok(answer(&call, durable_all(&call, &target, asked).await?))
}

/// The inputs with what is common to them.
fn merged_inputs(
    inputs: BTreeMap<String, &RawValue>,
    common: Option<&RawValue>,
) -> Result<Each<String>, Refused> {
    let bytes = common.map_or(0, |common| common.get().len()).saturating_mul(inputs.len());
    if bytes > INPUT_BYTES_MAX {
        let message =
            format!("the inputs would have {bytes} bytes with `common_input`, and {INPUT_BYTES_MAX} at most");
        return Err(Refused::invalid(message));
    }
    let with_common = |(name, input): (String, &RawValue)| {
        let own = || Ok(input.get().to_owned());
        (name, common.map_or_else(own, |common| merged(common, input, DEPTH_MAX)))
    };
    Ok(inputs.into_iter().map(with_common).collect())
}

/// The answers. All are on their way into the log before the first is waited for: they share its syncs.
async fn durable_all(
    call: &Call,
    target: &Target,
    asked: Each<Asked>,
) -> Result<BTreeMap<String, Result<DataAnswer, Refused>>, Refused> {
    let (mut said, mut bytes) = (BTreeMap::new(), 0_usize);
    for (name, asked) in asked {
        let found = match asked {
            Ok(asked) => asked.durable(target).await,
            Err(refused) => Err(refused),
        };
        let value = found.as_ref().ok().and_then(|found| found.value.as_ref());
        bytes = bytes.saturating_add(value.map_or(0, |value| value.get().len()));
        if bytes > ANSWER_BYTES_MAX {
            let message =
                format!("the answers have more than {ANSWER_BYTES_MAX} bytes; ask in smaller batches");
            return Err(Refused::invalid(message));
        }
        said.insert(name, found.map(|found| DataAnswer::new(call, found)));
    }
    Ok(said)
}

/// Asks about all inputs, on as many threads as there are processors.
async fn ask_all(
    call: &Arc<Call>,
    target: &Arc<Target>,
    mut inputs: Each<String>,
) -> Result<Each<Asked>, Refused> {
    let threads = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
    let share = inputs.len().div_ceil(threads).max(1);
    // Who goes away is asked for nothing more: what is left of the set ends with it.
    let mut shares = JoinSet::new();
    while !inputs.is_empty() {
        let mine = inputs.split_off(inputs.len().saturating_sub(share));
        let (call, target) = (Arc::clone(call), Arc::clone(target));
        shares.spawn(async move {
            let mut asked = Vec::with_capacity(mine.len());
            for (name, text) in mine {
                let one = match text {
                    Ok(text) => Asked::about(&call, &target, &Input { text, is_given: true }).await,
                    Err(refused) => Err(refused),
                };
                asked.push((name, one));
                // Each takes some microseconds up to some milliseconds; others want their turn.
                tokio::task::yield_now().await;
            }
            asked
        });
    }
    let mut all = Vec::new();
    while let Some(asked) = shares.join_next().await {
        all.extend(asked.map_err(|_| Problem::internal())?);
    }
    Ok(all)
}

fn answer(call: &Call, said: BTreeMap<String, Result<DataAnswer, Refused>>) -> Response {
    let failed = said.values().filter(|said| said.is_err()).count();
    let (status, is_mixed) = match (failed, said.len() - failed) {
        (0, _) => (StatusCode::OK, false),
        (_, 0) => (StatusCode::INTERNAL_SERVER_ERROR, false),
        _ => (StatusCode::MULTI_STATUS, true),
    };
    let item = |said: Result<DataAnswer, Refused>| {
        let (said, code) = match said {
            Ok(answer) => (Said::Answer(Box::new(answer)), "200"),
            Err(refused) => (Said::Refused(refused.into_body()), "500"),
        };
        Item { said, http_status_code: is_mixed.then_some(code) }
    };
    let responses = said.into_iter().map(|(name, said)| (name, item(said))).collect();
    let metrics = call
        .query
        .metrics
        .then(|| BTreeMap::from([("timer_server_handler_ns", nanoseconds(call.began.elapsed()))]));
    json_of(status, &BatchAnswer { metrics, responses, warning: None }, &call.query)
}

/// An input over what is common to all: members of both are merged where both are objects, and where they are not, the
/// input's own counts.
fn merged(common: &RawValue, own: &RawValue, depth: usize) -> Result<String, Refused> {
    let is_object = |value: &RawValue| value.get().trim_start().starts_with('{');
    if !is_object(common) || !is_object(own) {
        return Ok(own.get().to_owned());
    }
    let Some(depth) = depth.checked_sub(1) else {
        return Err(Refused::invalid(format!(
            "inputs are merged {DEPTH_MAX} levels deep, and these are deeper"
        )));
    };
    let mut members = BTreeMap::new();
    for (name, value) in members_of(common)? {
        if members.insert(name.clone(), value.get().to_owned()).is_some() {
            return Err(twice(&name));
        }
    }
    let mut seen = std::collections::BTreeSet::new();
    for (name, value) in members_of(own)? {
        if !seen.insert(name.clone()) {
            return Err(twice(&name));
        }
        let text = match members.get(&name) {
            Some(known) => merged(raw(known)?, value, depth)?,
            None => value.get().to_owned(),
        };
        members.insert(name, text);
    }
    Ok(object(members.iter().map(|(name, value)| (name.as_str(), value.as_str()))))
}

fn twice(name: &str) -> Refused {
    Refused::invalid(format!("body contains malformed input document: member `{name}` is there twice"))
}

fn raw(text: &str) -> Result<&RawValue, Refused> {
    serde_json::from_str(text)
        .map_err(|error| Refused::invalid(format!("body contains malformed input document: {error}")))
}

/// The members of an object in their order, those of the same name too.
fn members_of(value: &RawValue) -> Result<Vec<(String, &RawValue)>, Refused> {
    struct Members;
    impl<'de> serde::de::Visitor<'de> for Members {
        type Value = Vec<(String, &'de RawValue)>;

        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("an object")
        }

        fn visit_map<A: serde::de::MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let mut members = Vec::new();
            while let Some(member) = map.next_entry()? {
                members.push(member);
            }
            Ok(members)
        }
    }
    let mut reader = serde_json::Deserializer::from_str(value.get());
    serde::Deserializer::deserialize_map(&mut reader, Members)
        .map_err(|error| Refused::invalid(format!("body contains malformed input document: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn merge(common: &str, own: &str) -> Option<String> {
        let (common, own): (&RawValue, &RawValue) =
            (serde_json::from_str(common).unwrap(), serde_json::from_str(own).unwrap());
        merged(common, own, DEPTH_MAX).ok()
    }

    #[test]
    fn objects_are_merged_and_the_inputs_own_members_count() {
        let merged = merge(r#"{"a": {"x": 1, "y": [1]}, "b": 1e400}"#, r#"{"a": {"y": [2], "z": 0.10}}"#);
        assert_eq!(merged.as_deref(), Some(r#"{"a":{"x":1,"y":[2],"z":0.10},"b":1e400}"#));
        assert_eq!(merge(r#"{"a": 1}"#, "[1]").as_deref(), Some("[1]"));
        assert_eq!(merge("7", r#"{"a":1}"#).as_deref(), Some(r#"{"a":1}"#));
        assert_eq!(merge(r#"{"a": {"b": 1}}"#, r#"{"a": null}"#).as_deref(), Some(r#"{"a":null}"#));
    }

    #[test]
    fn a_member_that_is_there_twice_is_refused() {
        assert_eq!(merge(r#"{"a": 1, "a": 2}"#, "{}"), None);
        assert_eq!(merge("{}", r#"{"a": 1, "a": 2}"#), None);
    }

    #[test]
    fn merging_ends_at_a_depth() {
        let deep = |levels: usize| format!("{}1{}", r#"{"a":"#.repeat(levels), "}".repeat(levels));
        assert!(merge(&deep(100), &deep(100)).is_some());
        assert!(merge(&deep(126), &deep(126)).is_some());
        let (common, own) = (deep(120), deep(120));
        let (common, own): (&RawValue, &RawValue) =
            (serde_json::from_str(&common).unwrap(), serde_json::from_str(&own).unwrap());
        assert!(merged(common, own, 100).is_err());
    }
}
