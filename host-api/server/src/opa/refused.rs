//! What cannot be done, in OPA's form: `{"code", "message", "errors"}`.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use verdict::core::outcome::{Fault, FaultCode, Party};

use super::place::Place;
use crate::access::Denial;
use crate::api::Problem;
use crate::error::{ApiError, json};
use crate::tenancy::Over;

const INVALID_PARAMETER: &str = "invalid_parameter";
const INTERNAL_ERROR: &str = "internal_error";
const INVALID_OPERATION: &str = "invalid_operation";

/// Why something is not done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refused {
    status: StatusCode,
    body: RefusedBody,
    over: Option<Over>,
}

/// As a client of OPA reads it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct RefusedBody {
    code: &'static str,
    message: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    errors: Vec<Detail>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Detail {
    code: String,
    message: String,
}

impl Refused {
    fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self { status, body: RefusedBody { code, message: message.into(), errors: Vec::new() }, over: None }
    }

    /// The request cannot be understood, or asks for what is not done here.
    pub(super) fn invalid(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, INVALID_PARAMETER, message)
    }

    /// There is no such thing.
    pub(super) fn not_found(message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "resource_not_found", message)
    }

    /// OPA has this, and nothing here stands for it.
    pub(super) fn not_implemented(message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_IMPLEMENTED, INVALID_OPERATION, message)
    }

    /// There is no value at a place, whether or not a rule is there that could give one.
    pub(super) fn undefined(place: &Place, has_rule: bool) -> Self {
        let what = if has_rule { "document undefined" } else { "document missing" };
        Self::new(StatusCode::NOT_FOUND, "undefined_document", format!("{what}: {place}"))
    }

    /// A fault is no answer. What the caller can mend is a bad request.
    pub(super) fn of_fault(rule: &str, fault: &Fault) -> Self {
        let detail = Detail { code: fault.code.code().into(), message: fault.message.clone() };
        let refused = match (fault.code, fault.code.party()) {
            (FaultCode::InvalidInput, _) => {
                let message = format!("rule `{rule}` does not take this input: {}", fault.message);
                Self::invalid(message)
            }
            (_, Party::Host) => {
                let message = format!("rule `{rule}` could not be evaluated: {}", fault.code);
                Self::new(StatusCode::INTERNAL_SERVER_ERROR, INTERNAL_ERROR, message)
            }
            _ => {
                let message = "error(s) occurred while evaluating query";
                Self::new(StatusCode::INTERNAL_SERVER_ERROR, INTERNAL_ERROR, message)
            }
        };
        Self { body: RefusedBody { errors: vec![detail], ..refused.body }, ..refused }
    }

    /// The same among the answers of a batch, where it has no status of its own.
    pub(super) fn into_body(self) -> RefusedBody {
        self.body
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let mut response = json(self.status, &self.body);
        let headers = response.headers_mut();
        if self.status == StatusCode::SERVICE_UNAVAILABLE {
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        for (name, value) in self.over.iter().flat_map(Over::headers) {
            headers.insert(name, value);
        }
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

impl From<ApiError> for Refused {
    fn from(error: ApiError) -> Self {
        Self { over: error.over(), ..Self::of(error.status(), error.code(), error.message()) }
    }
}

impl From<Problem> for Refused {
    fn from(problem: Problem) -> Self {
        Self { over: problem.over(), ..Self::of(problem.status(), problem.code(), problem.detail()) }
    }
}

impl From<Denial> for Refused {
    fn from(denial: Denial) -> Self {
        ApiError::from(denial).into()
    }
}

impl Refused {
    /// The one place where what the rest of the server says becomes what OPA says. What is too large is a bad request
    /// there; all other statuses stay, so that nobody takes what can be tried again for what cannot.
    fn of(status: StatusCode, code: &str, message: &str) -> Self {
        let (status, opa) = match status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => (status, "unauthorized"),
            StatusCode::NOT_FOUND => (status, "resource_not_found"),
            StatusCode::PAYLOAD_TOO_LARGE => (StatusCode::BAD_REQUEST, INVALID_PARAMETER),
            StatusCode::METHOD_NOT_ALLOWED => (status, INVALID_OPERATION),
            StatusCode::CONFLICT => (status, "resource_conflict"),
            // OPA has no budgets, and no word for them.
            StatusCode::TOO_MANY_REQUESTS => (status, "too_many_requests"),
            status if status.is_client_error() => (status, INVALID_PARAMETER),
            status => (status, INTERNAL_ERROR),
        };
        let refused = Self::new(status, opa, message);
        let errors = vec![Detail { code: code.into(), message: message.into() }];
        Self { body: RefusedBody { errors, ..refused.body }, ..refused }
    }
}

/// The answer to a request of OPA's API that never came to it.
pub(crate) fn refused(problem: &Problem) -> Response {
    Refused::from(problem.clone()).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(fault: FaultCode) -> (u16, &'static str, usize) {
        let refused = Refused::of_fault("allow", &Fault::new(fault, "because"));
        (refused.status.as_u16(), refused.body.code, refused.body.errors.len())
    }

    #[test]
    fn a_fault_is_never_an_answer_and_says_whose_it_is() {
        assert_eq!(of(FaultCode::InvalidInput), (400, "invalid_parameter", 1));
        for fault in FaultCode::ALL.iter().filter(|fault| **fault != FaultCode::InvalidInput) {
            assert_eq!(of(*fault), (500, "internal_error", 1), "{fault}");
        }
    }

    #[test]
    fn what_is_too_large_is_a_bad_request_as_it_is_for_opa() {
        let refused = Refused::from(Problem::too_large(7));
        assert_eq!((refused.status.as_u16(), refused.body.code), (400, "invalid_parameter"));
        let refused = Refused::from(Denial::Undecided);
        assert_eq!((refused.status.as_u16(), refused.body.code), (503, "internal_error"));
    }
}
