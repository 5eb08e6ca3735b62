//! What went wrong, as RFC 9457 has it: <https://www.rfc-editor.org/rfc/rfc9457>.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;
use verdict::core::name::NameError;
use verdict::core::refusal::{Refusal, RefusalCode};
use verdict::registry::catalogue::CatalogueError;
use verdict::registry::publish::PublishError;
use verdict::registry::repository::RepositoryError;
use verdict::registry::store::StoreError;

use crate::access::Denial;
use crate::error::{ApiError, Detail};
use crate::tenancy::Over;

/// The media type of a problem.
pub(crate) const MEDIA_TYPE: &str = "application/problem+json";

/// Why a request was not done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Problem {
    status: StatusCode,
    code: String,
    detail: String,
    /// For clients of older routes.
    error: Option<Box<Detail>>,
    over: Option<Over>,
}

/// A problem as a caller sees it.
#[derive(Serialize, ToSchema)]
#[schema(as = Problem)]
pub(crate) struct ProblemView {
    /// Which problem it is: `urn:verdict:problem:CODE`, where the code is stable.
    #[schema(examples("urn:verdict:problem:not-found"))]
    r#type: String,
    /// The code in words.
    title: String,
    /// The HTTP status.
    status: u16,
    /// What is wrong, where, and what to do.
    detail: String,
    /// This occurrence.
    instance: String,
    /// The request's id, by which the server's log and its events know it.
    correlation_id: String,
    /// Code and detail as decisions, receipts and logs had them before; with the place, for errors in a document.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<Box<Detail>>,
}

impl Problem {
    pub(crate) fn new(status: StatusCode, code: &str, detail: impl Into<String>) -> Self {
        Self { status, code: code.into(), detail: detail.into(), error: None, over: None }
    }

    pub(crate) fn not_found(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not-found", detail)
    }

    pub(crate) fn malformed(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "malformed-request", detail)
    }

    pub(crate) fn too_large(bytes_max: usize) -> Self {
        let detail = format!("the body may have {bytes_max} bytes");
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "too-large", detail)
    }

    /// Something that the server should never do.
    pub(crate) fn internal() -> Self {
        let detail = "the server could not do this; its log says why";
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", detail)
    }

    /// What a status without words stands for.
    pub(crate) fn of_status(status: StatusCode, detail: &str) -> Self {
        let (code, default) = match status {
            StatusCode::METHOD_NOT_ALLOWED => ("method-not-allowed", "this route takes another method"),
            StatusCode::PAYLOAD_TOO_LARGE => ("too-large", "the body is too large"),
            StatusCode::SERVICE_UNAVAILABLE => ("timeout", "the request took too long; ask again"),
            StatusCode::NOT_FOUND => {
                ("not-found", "there is nothing here; `/v1/openapi.json` lists the routes")
            }
            status if status.is_client_error() => ("malformed-request", "the request cannot be read"),
            _ => return Self { status, ..Self::internal() },
        };
        Self::new(status, code, if detail.is_empty() { default } else { detail })
    }

    pub(crate) fn status(&self) -> StatusCode {
        self.status
    }

    pub(crate) fn code(&self) -> &str {
        &self.code
    }

    pub(crate) fn detail(&self) -> &str {
        &self.detail
    }

    /// The bound of its tenant that a request met, for problems that are that.
    pub(crate) fn over(&self) -> Option<Over> {
        self.over
    }

    /// The answer, of the request with this id.
    pub(crate) fn answered(&self, correlation: &str) -> Response {
        let view = ProblemView {
            r#type: format!("urn:verdict:problem:{}", self.code),
            title: self.code.replace('-', " "),
            status: self.status.as_u16(),
            detail: self.detail.clone(),
            instance: format!("urn:verdict:request:{correlation}"),
            correlation_id: correlation.into(),
            error: self.error.clone(),
        };
        let mut response = crate::error::json(self.status, &view);
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(MEDIA_TYPE));
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

    /// An error of what older routes share with others.
    pub(crate) fn of(error: ApiError) -> Self {
        Self { over: error.over(), ..Self::new(error.status(), error.code(), error.message()) }
    }

    /// The same on an older route, whose clients look for more.
    pub(crate) fn of_older_route(self) -> Self {
        Self { over: self.over, ..ApiError::new(self.status, &self.code, self.detail).into() }
    }
}

impl IntoResponse for Problem {
    /// Without a body: the outermost layer knows the request's id, and writes it.
    fn into_response(self) -> Response {
        let mut response = self.status.into_response();
        response.extensions_mut().insert(self);
        response
    }
}

impl From<ApiError> for Problem {
    fn from(error: ApiError) -> Self {
        let problem = Self::new(error.status(), error.code(), error.message());
        Self { over: error.over(), error: Some(Box::new(error.into())), ..problem }
    }
}

impl From<Denial> for Problem {
    fn from(denial: Denial) -> Self {
        Self::new(denial.status(), denial.code(), denial.message())
    }
}

impl From<NameError> for Problem {
    fn from(error: NameError) -> Self {
        Self::malformed(error.to_string())
    }
}

impl From<CatalogueError> for Problem {
    fn from(error: CatalogueError) -> Self {
        let (status, code) = match &error {
            CatalogueError::Missing { .. } => (StatusCode::NOT_FOUND, "not-found"),
            CatalogueError::Conflict { what: "idempotency key", .. } => {
                (StatusCode::UNPROCESSABLE_ENTITY, "idempotency-key-reused")
            }
            CatalogueError::Conflict { .. } => (StatusCode::CONFLICT, "conflict"),
            CatalogueError::Stale { .. } => (StatusCode::PRECONDITION_FAILED, "stale"),
            CatalogueError::Sequence { .. } => (StatusCode::CONFLICT, "sequence"),
            CatalogueError::Needed { .. } => (StatusCode::CONFLICT, "needed"),
            CatalogueError::UnknownBlob(_) => (StatusCode::UNPROCESSABLE_ENTITY, "unknown-blob"),
            CatalogueError::Invalid { .. } => (StatusCode::BAD_REQUEST, "malformed-request"),
            CatalogueError::Busy => (StatusCode::SERVICE_UNAVAILABLE, "busy"),
            _ => {
                tracing::error!(%error, "the catalogue failed");
                // The message may name files and addresses: it is for the operator, not for the caller.
                let detail = "the catalogue cannot be used now; the server's log says why";
                return Self::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", detail);
            }
        };
        Self::new(status, code, error.to_string())
    }
}

impl From<RepositoryError> for Problem {
    fn from(error: RepositoryError) -> Self {
        let (status, code) = match error {
            RepositoryError::Catalogue(error) => return error.into(),
            RepositoryError::Store(error) => return error.into(),
            RepositoryError::TooManyUploads(_) => (StatusCode::SERVICE_UNAVAILABLE, "busy"),
            RepositoryError::UnknownBlob(_)
            | RepositoryError::UnknownManifest(_)
            | RepositoryError::UnknownRepository(_)
            | RepositoryError::UnknownUpload => (StatusCode::NOT_FOUND, "not-found"),
            RepositoryError::Immutable { .. } => (StatusCode::CONFLICT, "conflict"),
            _ => (StatusCode::UNPROCESSABLE_ENTITY, "malformed-artifact"),
        };
        Self::new(status, code, error.to_string())
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        let (status, code) = match &error {
            StoreError::DigestMismatch { .. } => (StatusCode::UNPROCESSABLE_ENTITY, "digest-mismatch"),
            StoreError::TooLarge { .. } => (StatusCode::PAYLOAD_TOO_LARGE, "too-large"),
            _ => {
                tracing::error!(%error, "the content store failed");
                let detail = "the content store cannot be used now; the server's log says why";
                return Self::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", detail);
            }
        };
        Self::new(status, code, error.to_string())
    }
}

impl From<PublishError> for Problem {
    fn from(error: PublishError) -> Self {
        let (status, code) = match error {
            PublishError::Refused(refusal) => return refusal.into(),
            PublishError::Catalogue(error) => return error.into(),
            PublishError::Repository(error) => return error.into(),
            PublishError::NoActivationKey => (StatusCode::CONFLICT, "no-activation-key"),
            PublishError::NoVersion { .. } => (StatusCode::UNPROCESSABLE_ENTITY, "no-version"),
            PublishError::NoChannel { .. } => (StatusCode::UNPROCESSABLE_ENTITY, "no-channel"),
            PublishError::NoPrevious { .. } => (StatusCode::CONFLICT, "no-previous"),
            PublishError::NoImage { .. } => (StatusCode::UNPROCESSABLE_ENTITY, "no-image"),
            PublishError::NoContent { .. } => (StatusCode::UNPROCESSABLE_ENTITY, "no-content"),
            PublishError::Unsignable(_) | PublishError::Days(_) => {
                (StatusCode::UNPROCESSABLE_ENTITY, "unsignable")
            }
            PublishError::Overtaken => (StatusCode::CONFLICT, "overtaken"),
        };
        Self::new(status, code, error.to_string())
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        let status = match refusal.code {
            RefusalCode::TooFewSigners | RefusalCode::DocumentRollback | RefusalCode::Equivocation => {
                StatusCode::CONFLICT
            }
            RefusalCode::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            _ => StatusCode::UNPROCESSABLE_ENTITY,
        };
        let detail = format!("{}; {}", refusal.message, refusal.code.remedy());
        Self::new(status, refusal.code.code(), detail)
    }
}
