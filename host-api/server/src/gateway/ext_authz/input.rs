//! What a policy is asked: the attributes, and what is easier read than taken apart.

use std::borrow::Cow;
use std::collections::BTreeMap;

use percent_encoding::percent_decode_str;
use serde::Serialize;
use serde_json::value::RawValue;

use super::messages::{AttributeContext, HttpRequest};

/// By this header Envoy says whether it sent less than the whole body; a client's own is overwritten.
const PARTIAL: &str = "x-envoy-auth-partial-body";

/// No question can be made of a request.
#[derive(Debug, thiserror::Error)]
pub(super) enum InputError {
    /// The policy would see no body, and what is behind the gateway might see one.
    #[error("the body says that it is JSON, and is not")]
    Body,
    /// Never, for what protobuf can carry.
    #[error("the attributes have no form in JSON: {0}")]
    Unwritable(#[from] serde_json::Error),
}

#[derive(Serialize)]
struct Input<'a> {
    attributes: &'a AttributeContext,
    parsed_body: Option<&'a RawValue>,
    parsed_path: Vec<&'a str>,
    parsed_query: BTreeMap<Cow<'a, str>, Vec<Cow<'a, str>>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    source_principal: Option<&'a str>,
    truncated_body: bool,
    version: Version,
}

/// What forms and names these are.
#[derive(Serialize)]
struct Version {
    encoding: &'static str,
    ext_authz: &'static str,
}

/// The input document of a request: `input.schema.json`.
///
/// # Errors
/// When a body that should be JSON is not.
pub(super) fn document(attributes: &AttributeContext) -> Result<Vec<u8>, InputError> {
    let nothing = HttpRequest::default();
    let http = attributes.request.as_ref().and_then(|request| request.http.as_ref()).unwrap_or(&nothing);
    let body = body(http);
    let truncated_body = is_truncated(http, &body);
    let parsed_body = if truncated_body { None } else { parsed(http, &body)? };
    let (path, query) = target(&http.path);
    let path = percent_decode_str(path).decode_utf8_lossy();
    let mut parsed_query = BTreeMap::<_, Vec<_>>::new();
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        parsed_query.entry(name).or_default().push(value);
    }
    let principal = attributes.source.as_ref().map(|source| source.principal.as_str());
    let input = Input {
        attributes,
        parsed_body,
        parsed_path: path.trim_start_matches('/').split('/').collect(),
        parsed_query,
        source_principal: principal.filter(|principal| !principal.is_empty()),
        truncated_body,
        version: Version { encoding: "protojson", ext_authz: "v3" },
    };
    Ok(serde_json::to_vec(&input)?)
}

/// Puts raw headers where the others are: in lower case, those of one name joined as HTTP has it.
pub(super) fn gather(http: &mut HttpRequest) {
    for header in http.header_map.take().into_iter().flat_map(|map| map.headers) {
        let value = String::from_utf8_lossy(&header.raw_value).into_owned();
        let name = header.key.to_ascii_lowercase();
        match http.headers.get_mut(&name) {
            None => drop(http.headers.insert(name, value)),
            Some(all) => {
                // RFC 6265, 5.4: cookies are not a list with commas.
                all.push_str(if name == "cookie" { "; " } else { "," });
                all.push_str(&value);
            }
        }
    }
}

/// The path and the query of a request's target.
pub(super) fn target(target: &str) -> (&str, &str) {
    let target = target.split('#').next().unwrap_or_default();
    target.split_once('?').unwrap_or((target, ""))
}

fn body(http: &HttpRequest) -> Cow<'_, str> {
    if http.body.is_empty() {
        return String::from_utf8_lossy(&http.raw_body);
    }
    Cow::Borrowed(&http.body)
}

fn is_truncated(http: &HttpRequest, body: &str) -> bool {
    let sent = if http.body.is_empty() { http.raw_body.len() } else { body.len() };
    let said = http.headers.get("content-length").and_then(|length| length.parse::<usize>().ok());
    http.headers.get(PARTIAL).is_some_and(|partial| partial == "true")
        || (sent > 0 && said.is_some_and(|length| length > sent))
}

/// The body, where there is one and it is JSON. Whether it is JSON that policies take (no member twice, no text that
/// is none) is looked at with the rest of the document.
fn parsed<'a>(http: &HttpRequest, body: &'a str) -> Result<Option<&'a RawValue>, InputError> {
    let is_json = |value: &String| {
        let value = value.to_ascii_lowercase();
        // Wherever in the value: what is behind the gateway may read it as generously.
        value.contains("application/json") || value.contains("+json")
    };
    if body.is_empty() || !http.headers.get("content-type").is_some_and(is_json) {
        return Ok(None);
    }
    serde_json::from_str(body).map(Some).map_err(|_| InputError::Body)
}
