//! Error answers: a stable code, a message, and the status that goes with the code.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;
use verdict::core::outcome::{Fault, FaultCode, Party};
use verdict::engine::DocumentErrorKind;
use verdict::{DecideError, HostError};

use crate::api::Problem;
use crate::tenancy::Over;

/// What is wrong, as answers of decisions said it before they were problems: clients read it still.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = Error)]
pub(crate) struct Detail {
    /// The code.
    code: String,
    /// What is wrong.
    message: String,
    /// Where in the caller's document, for errors in it.
    #[serde(skip_serializing_if = "Option::is_none")]
    position: Option<Position>,
}

/// A place in a document, both from 1.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct Position {
    line: usize,
    column: usize,
}

/// An error with its status.
#[derive(Debug, Clone)]
pub(crate) struct ApiError {
    status: StatusCode,
    detail: Detail,
    over: Option<Box<Over>>,
}

impl ApiError {
    pub(crate) fn new(status: StatusCode, code: &str, message: impl Into<String>) -> Self {
        let detail = Detail { code: code.into(), message: message.into(), position: None };
        Self { status, detail, over: None }
    }

    /// The bound of its tenant that a question met, for errors that are that.
    pub(crate) fn over(&self) -> Option<Over> {
        self.over.as_deref().copied()
    }

    /// A problem of what newer routes share with older ones.
    pub(crate) fn of(problem: Problem) -> Self {
        Self::new(problem.status(), problem.code(), problem.detail())
    }

    pub(crate) fn status(&self) -> StatusCode {
        self.status
    }

    pub(crate) fn code(&self) -> &str {
        &self.detail.code
    }

    pub(crate) fn message(&self) -> &str {
        &self.detail.message
    }

    /// What is wrong, as a member of an answer.
    pub(crate) fn detail(&self) -> &Detail {
        &self.detail
    }

    pub(crate) fn not_found(what: &str) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not-found", what)
    }

    pub(crate) fn bad_request(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "malformed-request", message)
    }

    /// The answer to an error of a decision about `input`, with the place in it.
    pub(crate) fn of_decision(error: DecideError, input: impl AsRef<[u8]>) -> Self {
        let place = match &error {
            DecideError::Input(error) => Some(error.line_and_column(input.as_ref())),
            _ => None,
        };
        let mut answer = Self::from(error);
        answer.detail.position = place.map(|(line, column)| Position { line, column });
        answer
    }
}

impl From<Over> for ApiError {
    fn from(over: Over) -> Self {
        let message = format!(
            "the tenant has used up its {}; ask again in {} s",
            over.what.words(over.limit),
            over.wait_s()
        );
        let error = Self::new(StatusCode::TOO_MANY_REQUESTS, "over-budget", message);
        Self { over: Some(Box::new(over)), ..error }
    }
}

impl From<ApiError> for Detail {
    fn from(error: ApiError) -> Self {
        error.detail
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        Problem::from(self).into_response()
    }
}

/// A JSON answer.
pub(crate) fn json(status: StatusCode, body: &impl Serialize) -> Response {
    match serde_json::to_vec(body) {
        Ok(bytes) => {
            let content_type = [(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))];
            (status, content_type, bytes).into_response()
        }
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

impl From<DecideError> for ApiError {
    fn from(error: DecideError) -> Self {
        let status = match &error {
            DecideError::UnknownPolicy(_)
            | DecideError::UnknownRule { .. }
            | DecideError::UnknownChannel { .. } => StatusCode::NOT_FOUND,
            DecideError::Input(error) if error.kind() == DocumentErrorKind::TooLarge => {
                StatusCode::PAYLOAD_TOO_LARGE
            }
            DecideError::Input(_) | DecideError::MalformedId(_) => StatusCode::BAD_REQUEST,
            DecideError::DecisionTimeNotAllowed => StatusCode::FORBIDDEN,
            DecideError::IdConflict(_) | DecideError::IdInProgress(_) => StatusCode::CONFLICT,
            DecideError::Expired { .. } | DecideError::NotRecorded(_) | DecideError::Host(_) => {
                StatusCode::SERVICE_UNAVAILABLE
            }
        };
        Self::new(status, error.code(), error.to_string())
    }
}

impl From<HostError> for ApiError {
    fn from(error: HostError) -> Self {
        tracing::error!(%error, "the host failed");
        // The message may name files of this machine: it is for the operator, not for the caller.
        let message = "the host could not do this; its log says why";
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "host-error", message)
    }
}

/// The status of a fault: 422 where the caller can mend it, 504 for the deadline, 503 for the host, 500 for the policy.
pub(crate) fn fault_status(fault: &Fault) -> StatusCode {
    match (fault.code, fault.code.party()) {
        (FaultCode::Deadline, _) => StatusCode::GATEWAY_TIMEOUT,
        (_, Party::Caller) => StatusCode::UNPROCESSABLE_ENTITY,
        (_, Party::Policy) => StatusCode::INTERNAL_SERVER_ERROR,
        (_, Party::Host) => StatusCode::SERVICE_UNAVAILABLE,
    }
}
