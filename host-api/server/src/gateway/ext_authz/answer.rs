//! What Envoy is told.

use std::collections::BTreeSet;

use axum::http::StatusCode;
use tonic::Code;
use verdict::Decision;

use super::input::target;
use super::messages::{
    CheckResponse, DeniedHttpResponse, HeaderValue, HeaderValueOption, HttpStatus, OkHttpResponse,
    QueryParameter, Status,
};
use super::mutations::{DECISION_ID, Header, Mutations};
use crate::error::fault_status;

/// The answer to a decision about a request for `path`, as its line has it.
pub(super) fn decided(decision: &Decision, path: &str) -> CheckResponse {
    match &decision.result {
        Ok(answer) => carried_out(decision.allow, answer.value.as_deref(), &decision.id, path),
        Err(fault) => refused(fault_status(fault), fault.code.code(), Some(&decision.id)),
    }
}

/// Does what an answer's value says.
pub(super) fn carried_out(allow: bool, value: Option<&str>, id: &str, path: &str) -> CheckResponse {
    match Mutations::of(value) {
        Ok(mutations) if allow => allowed(mutations, id, path),
        Ok(mutations) => denied(mutations, id),
        Err(error) => {
            tracing::warn!(decision = id, %error, "an answer cannot be carried out");
            refused(StatusCode::INTERNAL_SERVER_ERROR, "invalid-output", Some(id))
        }
    }
}

/// Refuses because nothing was decided. Envoy has a form for errors too, and lets requests pass at an error where it is
/// told to: this is a denial.
///
/// What the caller could mend keeps its status; else it is 503 where asking again may help, and 500.
pub(super) fn refused(status: StatusCode, message: &str, id: Option<&str>) -> CheckResponse {
    let (code, status) = match status {
        StatusCode::BAD_REQUEST | StatusCode::PAYLOAD_TOO_LARGE => (Code::InvalidArgument, status),
        StatusCode::TOO_MANY_REQUESTS => (Code::ResourceExhausted, status),
        StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT => {
            (Code::Unavailable, StatusCode::SERVICE_UNAVAILABLE)
        }
        _ => (Code::Internal, StatusCode::INTERNAL_SERVER_ERROR),
    };
    let headers = id.map(|id| option(DECISION_ID, id, false)).into_iter().collect();
    denial(code, message, DeniedHttpResponse { status: Some(http(status)), headers, body: String::new() })
}

fn allowed(mutations: Mutations, id: &str, path: &str) -> CheckResponse {
    let mut headers: Vec<_> = mutations.headers.iter().flat_map(replaced).collect();
    // In the place of one that the client made up.
    headers.push(option(DECISION_ID, id, false));
    let to_add =
        |(name, values): &Header| values.iter().map(|value| option(name, value, true)).collect::<Vec<_>>();
    let query_parameters_to_remove = to_remove(&mutations, path);
    let set =
        |(name, value): (&String, &String)| QueryParameter { key: encoded(name), value: encoded(value) };
    let ok = OkHttpResponse {
        headers,
        headers_to_remove: mutations.headers_to_remove,
        response_headers_to_add: mutations.response_headers.iter().flat_map(to_add).collect(),
        query_parameters_to_set: mutations.query_to_set.iter().map(set).collect(),
        query_parameters_to_remove,
    };
    CheckResponse {
        status: Some(Status { code: Code::Ok.into(), message: String::new() }),
        ok_response: Some(ok),
        denied_response: None,
        dynamic_metadata: mutations.metadata,
    }
}

fn denied(mutations: Mutations, id: &str) -> CheckResponse {
    let status = mutations.status.and_then(|status| StatusCode::from_u16(status).ok());
    let mut headers: Vec<_> = mutations.headers.iter().flat_map(repeated).collect();
    headers.push(option(DECISION_ID, id, false));
    let denied = DeniedHttpResponse {
        status: Some(http(status.unwrap_or(StatusCode::FORBIDDEN))),
        headers,
        body: mutations.body,
    };
    let response = denial(Code::PermissionDenied, "denied", denied);
    CheckResponse { dynamic_metadata: mutations.metadata, ..response }
}

fn denial(code: Code, message: &str, response: DeniedHttpResponse) -> CheckResponse {
    CheckResponse {
        status: Some(Status { code: code.into(), message: message.into() }),
        denied_response: Some(response),
        ok_response: None,
        dynamic_metadata: None,
    }
}

/// A request's header: the first value in the place of what is there, the others after it.
fn replaced((name, values): &Header) -> Vec<HeaderValueOption> {
    values.iter().enumerate().map(|(index, value)| option(name, value, index > 0)).collect()
}

/// A header of a denial. Envoy removes what it had before, and then adds them all.
fn repeated((name, values): &Header) -> Vec<HeaderValueOption> {
    values.iter().map(|value| option(name, value, false)).collect()
}

fn option(name: &str, value: &str, append: bool) -> HeaderValueOption {
    let header = HeaderValue { key: name.into(), value: value.into(), raw_value: Vec::new() };
    HeaderValueOption { header: Some(header), append: Some(append) }
}

fn http(status: StatusCode) -> HttpStatus {
    HttpStatus { code: status.as_u16().into() }
}

/// Envoy writes parameters into the query as they are.
fn encoded(text: &str) -> String {
    form_urlencoded::byte_serialize(text.as_bytes()).collect()
}

/// The names to remove, in every spelling that the request has: Envoy compares them as they are written, so that
/// `us%65r` would pass where `user` is removed or set.
fn to_remove(mutations: &Mutations, path: &str) -> Vec<String> {
    let set = &mutations.query_to_set;
    let mut names: BTreeSet<_> = mutations.query_to_remove.iter().map(|name| encoded(name)).collect();
    names.extend(mutations.query_to_remove.iter().cloned());
    for part in target(path).1.split('&') {
        let written = part.split('=').next().unwrap_or_default();
        let Some((name, _)) = form_urlencoded::parse(part.as_bytes()).next() else { continue };
        let is_meant =
            mutations.query_to_remove.iter().any(|it| *it == name) || set.contains_key(name.as_ref());
        if is_meant {
            names.insert(written.to_owned());
        }
    }
    names.retain(|name| !set.keys().any(|it| encoded(it) == *name));
    names.into_iter().collect()
}
