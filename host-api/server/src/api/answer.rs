//! Answers: JSON with a status and headers, that may be kept for whoever asks the same again.

use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use verdict::core::digest::Digest;
use verdict::registry::catalogue::{CatalogueError, Etag, StoredResponse};

use super::gate::Asked;
use super::problem::Problem;

/// What a route answers.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    status: StatusCode,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

/// An answer that ends a route before its end.
#[derive(Debug)]
pub(crate) enum Early {
    /// It cannot be done.
    Problem(Problem),
    /// It was done before.
    Again(Answer),
}

/// What every route returns.
pub(crate) type Answered = Result<Answer, Early>;

impl Answer {
    pub(crate) fn json(status: StatusCode, body: &impl Serialize) -> Self {
        let content_type = (header::CONTENT_TYPE.to_string(), "application/json".to_owned());
        match serde_json::to_vec(body) {
            Ok(body) => Self { status, headers: vec![content_type], body },
            Err(error) => {
                tracing::error!(%error, "an answer has no form in JSON");
                Self::empty(StatusCode::INTERNAL_SERVER_ERROR)
            }
        }
    }

    pub(crate) fn ok(body: &impl Serialize) -> Self {
        Self::json(StatusCode::OK, body)
    }

    pub(crate) fn empty(status: StatusCode) -> Self {
        Self { status, headers: Vec::new(), body: Vec::new() }
    }

    pub(crate) fn with(mut self, name: HeaderName, value: impl Into<String>) -> Self {
        self.headers.push((name.to_string(), value.into()));
        self
    }

    /// With a strong entity tag of a row and of what is said of it: views are computed from more than the row.
    pub(crate) fn of_row(self, etag: Etag) -> Self {
        let view = Digest::of(&self.body).to_string();
        let view = view.strip_prefix("sha256:").and_then(|hex| hex.get(..12)).unwrap_or_default();
        let tag = format!("\"{}-{view}\"", etag.number());
        self.with(header::ETAG, tag)
    }

    /// With the number of what never changes under it as a strong entity tag.
    pub(crate) fn numbered(self, number: u64) -> Self {
        self.with(header::ETAG, format!("\"{number}\""))
    }

    /// The answer to a reading request: not the body again for who has it (RFC 9110, 13.1.2).
    pub(crate) fn unless_seen(self, asked: &Asked) -> Self {
        let tag = self.headers.iter().find(|(name, _)| name == header::ETAG.as_str()).map(|(_, tag)| tag);
        match tag {
            Some(tag) if asked.has_seen(tag) => {
                let tag = tag.clone();
                Self::empty(StatusCode::NOT_MODIFIED).with(header::ETAG, tag)
            }
            _ => self,
        }
    }

    /// As it is kept.
    pub(crate) fn stored(&self) -> StoredResponse {
        let Self { status, headers, body } = self;
        StoredResponse { status: status.as_u16(), headers: headers.clone(), body: body.clone() }
    }

    /// As it was kept.
    pub(crate) fn of_stored(stored: StoredResponse) -> Self {
        let status = StatusCode::from_u16(stored.status).unwrap_or(StatusCode::OK);
        Self { status, headers: stored.headers, body: stored.body }
    }
}

impl IntoResponse for Answer {
    fn into_response(self) -> Response {
        let mut response = (self.status, self.body).into_response();
        response.headers_mut().remove(header::CONTENT_TYPE);
        for (name, value) in self.headers {
            if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) {
                response.headers_mut().insert(name, value);
            }
        }
        response
    }
}

impl IntoResponse for Early {
    fn into_response(self) -> Response {
        match self {
            Self::Problem(problem) => problem.into_response(),
            Self::Again(answer) => answer.into_response(),
        }
    }
}

impl From<Problem> for Early {
    fn from(problem: Problem) -> Self {
        Self::Problem(problem)
    }
}

impl From<CatalogueError> for Early {
    fn from(error: CatalogueError) -> Self {
        Self::Problem(error.into())
    }
}
