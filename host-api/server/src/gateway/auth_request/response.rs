//! What nginx is told of a decision.

use std::collections::BTreeMap;

use axum::http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, DATE, SERVER, WWW_AUTHENTICATE};
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use verdict::Decision;
use verdict::core::outcome::Answer;

use crate::api::Problem;
use crate::error::fault_status;

const DECISION_ID: HeaderName = HeaderName::from_static("x-verdict-decision-id");
/// Headers that are not the policy's: of the body, of this server, and of `authenticate`.
const RESERVED: [HeaderName; 6] =
    [CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, DATE, SERVER, WWW_AUTHENTICATE];
/// Headers of the connection (RFC 9110, section 7.6.1), and those that nginx does something on.
const RESERVED_PREFIXES: [&str; 10] = [
    "connection",
    "keep-alive",
    "proxy-",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "x-accel-",
    "x-request-id",
    "x-verdict-",
];
/// The most headers of a value, and the bytes of all together: nginx reads a head of 4 KiB or 8 KiB, as it is set up.
const HEADERS_MAX: usize = 64;
const HEADER_BYTES_MAX: usize = 8 << 10;

/// The members of a policy's value that mean something here.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Said {
    headers: Option<BTreeMap<String, String>>,
    authenticate: Option<String>,
}

/// The answer to a decision.
pub(super) fn of(decision: &Decision) -> Response {
    let mut response = match &decision.result {
        Ok(answer) => answered(decision, answer).unwrap_or_else(|why| {
            tracing::warn!(decision = decision.id, policy = %decision.policy, why, "an answer cannot be carried out");
            Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "invalid-output", why).into_response()
        }),
        Err(fault) => {
            let status = match fault_status(fault) {
                status if status.is_server_error() => status,
                // The input is nginx's, and it is the operator who must hear of it.
                _ => StatusCode::INTERNAL_SERVER_ERROR,
            };
            Problem::new(status, fault.code.code(), fault.message.clone()).into_response()
        }
    };
    if let Ok(id) = HeaderValue::try_from(decision.id.as_str()) {
        response.headers_mut().insert(DECISION_ID, id);
    }
    response
}

fn answered(decision: &Decision, answer: &Answer) -> Result<Response, String> {
    // Of another value than an object, `allow` may be a part, but nothing else.
    let said: Said = match answer.value.as_deref().filter(|text| text.trim_start().starts_with('{')) {
        Some(text) => {
            serde_json::from_str(text).map_err(|error| format!("`headers` or `authenticate`: {error}"))?
        }
        None => Said::default(),
    };
    let authenticate = said.authenticate.filter(|_| !decision.allow);
    let mut response = match (decision.allow, &authenticate) {
        (true, _) => StatusCode::NO_CONTENT.into_response(),
        (false, Some(_)) => denied(StatusCode::UNAUTHORIZED, answer),
        (false, None) => denied(StatusCode::FORBIDDEN, answer),
    };
    if let Some(text) = authenticate {
        let value =
            HeaderValue::try_from(text).map_err(|_| "`authenticate` is no value of a header".to_owned())?;
        response.headers_mut().insert(WWW_AUTHENTICATE, value);
    }
    let bytes = |(name, value): (&String, &String)| name.len() + value.len();
    let headers = said.headers.unwrap_or_default();
    if headers.len() > HEADERS_MAX || headers.iter().map(bytes).sum::<usize>() > HEADER_BYTES_MAX {
        return Err(format!("`headers` may be {HEADERS_MAX} with {HEADER_BYTES_MAX} bytes"));
    }
    for (name, value) in headers {
        let (name, value) = header(&name, value)?;
        response.headers_mut().insert(name, value);
    }
    Ok(response)
}

/// A denial, for those who look at its body: nginx does not.
fn denied(status: StatusCode, answer: &Answer) -> Response {
    let reasons: Vec<&str> = answer.reasons.iter().map(|reason| reason.message.as_str()).collect();
    let detail = if reasons.is_empty() { "the policy does not allow it".into() } else { reasons.join("; ") };
    Problem::new(status, "denied", detail).into_response()
}

fn header(name: &str, value: String) -> Result<(HeaderName, HeaderValue), String> {
    let malformed = |what: &str| format!("`headers` has `{name}`, {what}");
    let known: HeaderName = name.parse().map_err(|_| malformed("which is no name of a header"))?;
    let is_reserved = |prefix: &&str| match prefix.strip_suffix('-') {
        Some(_) => known.as_str().starts_with(*prefix),
        None => known.as_str() == *prefix,
    };
    if RESERVED.contains(&known) || RESERVED_PREFIXES.iter().any(is_reserved) {
        return Err(malformed("which is not the policy's to set"));
    }
    let value = HeaderValue::try_from(value).map_err(|_| malformed("whose value has control characters"))?;
    Ok((known, value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_of_the_connection_and_of_the_server_are_not_the_policys() {
        for name in ["x-user", "Set-Cookie", "location", "tenant", "x-accelerate"] {
            assert!(header(name, "a".into()).is_ok(), "{name}");
        }
        for name in [
            "Connection",
            "content-length",
            "content-type",
            "keep-alive",
            "proxy-authenticate",
            "te",
            "trailer",
            "transfer-encoding",
            "upgrade",
            "www-authenticate",
            "X-Accel-Redirect",
            "x-request-id",
            "X-Verdict-Decision-Id",
            "a b",
            "",
        ] {
            assert!(header(name, "a".into()).is_err(), "{name}");
        }
        assert!(header("x-user", "a\r\nb: c".into()).is_err());
    }
}
