//! What an answer's value does to the request and to its response: `value.schema.json`.

use std::collections::BTreeMap;

use axum::http::{HeaderName, HeaderValue};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::messages;

/// What allows more than this is no answer to one request: bytes of the value.
const VALUE_BYTES_MAX: usize = 256 << 10;
/// Values of headers, names of headers and query parameters: how many of each kind, and their bytes together. Envoy
/// takes 60 KiB of headers, and 100 of them.
const EACH_MAX: usize = 64;
const BYTES_MAX: usize = 32 << 10;
/// What tells where a message ends and whom it is for is not the policy's (RFC 9110, RFC 9112).
const FRAMING: [&str; 9] = [
    "connection",
    "content-length",
    "host",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];
/// The header with the decision's id: to what is behind the gateway, or to whom it denies.
pub(super) const DECISION_ID: &str = "x-verdict-decision-id";

/// The value cannot be carried out, so nothing passes.
#[derive(Debug, thiserror::Error)]
pub(super) enum MutationError {
    #[error("the value is not what a gateway can carry out: {0}; see `value.schema.json`")]
    Form(#[from] serde_json::Error),
    #[error("the value has more than {VALUE_BYTES_MAX} bytes")]
    Long,
    #[error("`{0}` changes more than {EACH_MAX} things or has more than {BYTES_MAX} bytes")]
    Many(&'static str),
    #[error("`{0}` in `{1}` is not the name of a header, or is one that is not the policy's")]
    Name(String, &'static str),
    #[error("a value in `{0}` is not that of a header")]
    Value(&'static str),
    #[error("the status {0} is none of a denial: 300 to 599")]
    Status(u16),
}

/// What was said, as it was said.
#[derive(Deserialize, Default)]
#[serde(default)]
struct Said {
    headers: BTreeMap<String, Values>,
    request_headers_to_remove: Vec<String>,
    query_parameters_to_set: BTreeMap<String, String>,
    query_parameters_to_remove: Vec<String>,
    response_headers_to_add: BTreeMap<String, Values>,
    dynamic_metadata: Map<String, Value>,
    http_status: Option<u16>,
    body: String,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Values {
    One(String),
    Several(Vec<String>),
}

/// A header with its values.
pub(super) type Header = (String, Vec<String>);

/// What is to be done. All of it was checked, also what this answer does not need.
#[derive(Debug, Default)]
pub(super) struct Mutations {
    /// Allowed: of the request. Denied: of the response.
    pub(super) headers: Vec<Header>,
    pub(super) headers_to_remove: Vec<String>,
    pub(super) query_to_set: BTreeMap<String, String>,
    pub(super) query_to_remove: Vec<String>,
    pub(super) response_headers: Vec<Header>,
    pub(super) metadata: Option<prost_types::Struct>,
    pub(super) status: Option<u16>,
    pub(super) body: String,
}

impl Mutations {
    /// Those of a value. One that is no object says nothing but yes or no.
    ///
    /// # Errors
    /// When a part of it cannot be done.
    pub(super) fn of(value: Option<&str>) -> Result<Self, MutationError> {
        let Some(text) = value.filter(|text| text.trim_start().starts_with('{')) else {
            return Ok(Self::default());
        };
        if text.len() > VALUE_BYTES_MAX {
            return Err(MutationError::Long);
        }
        let said: Said = serde_json::from_str(text)?;
        let removed = &said.request_headers_to_remove;
        let names = removed.iter().map(|name| self::name(name, "request_headers_to_remove"));
        if let Some(status) = said.http_status.filter(|status| !(300..600).contains(status)) {
            return Err(MutationError::Status(status));
        }
        let set = said.query_parameters_to_set.iter().map(|(name, value)| name.len() + value.len());
        bounded("query_parameters_to_set", set)?;
        bounded("query_parameters_to_remove", said.query_parameters_to_remove.iter().map(String::len))?;
        bounded("request_headers_to_remove", removed.iter().map(String::len))?;
        Ok(Self {
            headers_to_remove: names.collect::<Result<_, _>>()?,
            headers: headers(said.headers, "headers")?,
            query_to_set: said.query_parameters_to_set,
            query_to_remove: said.query_parameters_to_remove,
            response_headers: headers(said.response_headers_to_add, "response_headers_to_add")?,
            metadata: Some(said.dynamic_metadata).filter(|it| !it.is_empty()).map(messages::from_json),
            status: said.http_status,
            body: said.body,
        })
    }
}

fn bounded(what: &'static str, bytes: impl Iterator<Item = usize>) -> Result<(), MutationError> {
    let (mut count, mut all) = (0_usize, 0_usize);
    for bytes in bytes {
        count += 1;
        all = all.saturating_add(bytes);
    }
    if count > EACH_MAX || all > BYTES_MAX { Err(MutationError::Many(what)) } else { Ok(()) }
}

fn headers(said: BTreeMap<String, Values>, what: &'static str) -> Result<Vec<Header>, MutationError> {
    let mut headers = Vec::with_capacity(said.len());
    for (name, values) in said {
        let values = match values {
            Values::One(value) => vec![value],
            Values::Several(values) => values,
        };
        // RFC 9110, 5.5: what is beyond ASCII is read in different ways.
        if values.iter().any(|value| !value.is_ascii() || HeaderValue::from_str(value).is_err()) {
            return Err(MutationError::Value(what));
        }
        headers.push((self::name(&name, what)?, values));
    }
    let bytes = headers.iter().flat_map(|(name, values)| values.iter().map(|it| it.len() + name.len()));
    bounded(what, bytes)?;
    Ok(headers)
}

/// The name of a header in lower case. Pseudo-headers are none: what is asked for is not the policy's to change.
fn name(text: &str, what: &'static str) -> Result<String, MutationError> {
    let refused = || MutationError::Name(text.chars().take(64).collect(), what);
    let name = HeaderName::from_bytes(text.as_bytes()).map_err(|_| refused())?;
    if FRAMING.contains(&name.as_str()) || name.as_str() == DECISION_ID {
        return Err(refused());
    }
    Ok(name.as_str().to_owned())
}
