//! Error answers as the OCI Distribution specification words them ("Error Codes").

use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;
use verdict::registry::catalogue::CatalogueError;
use verdict::registry::repository::RepositoryError;
use verdict::registry::store::StoreError;

use crate::access::Denial;
use crate::error::ApiError;

/// The codes of the specification that are used here, and one for what is no fault of the client's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Code {
    BlobUnknown,
    BlobUploadInvalid,
    BlobUploadUnknown,
    DigestInvalid,
    ManifestBlobUnknown,
    ManifestInvalid,
    ManifestUnknown,
    NameInvalid,
    NameUnknown,
    SizeInvalid,
    Unauthorized,
    Denied,
    Unsupported,
    TooManyRequests,
    Unknown,
}

impl Code {
    const fn as_str(self) -> &'static str {
        match self {
            Self::BlobUnknown => "BLOB_UNKNOWN",
            Self::BlobUploadInvalid => "BLOB_UPLOAD_INVALID",
            Self::BlobUploadUnknown => "BLOB_UPLOAD_UNKNOWN",
            Self::DigestInvalid => "DIGEST_INVALID",
            Self::ManifestBlobUnknown => "MANIFEST_BLOB_UNKNOWN",
            Self::ManifestInvalid => "MANIFEST_INVALID",
            Self::ManifestUnknown => "MANIFEST_UNKNOWN",
            Self::NameInvalid => "NAME_INVALID",
            Self::NameUnknown => "NAME_UNKNOWN",
            Self::SizeInvalid => "SIZE_INVALID",
            Self::Unauthorized => "UNAUTHORIZED",
            Self::Denied => "DENIED",
            Self::Unsupported => "UNSUPPORTED",
            Self::TooManyRequests => "TOOMANYREQUESTS",
            Self::Unknown => "UNKNOWN",
        }
    }
}

/// An error with its status and what goes into the head.
#[derive(Debug)]
pub(crate) struct OciError {
    status: StatusCode,
    code: Code,
    message: String,
    headers: Vec<(HeaderName, String)>,
}

impl OciError {
    pub(crate) fn new(status: StatusCode, code: Code, message: impl Into<String>) -> Self {
        Self { status, code, message: message.into(), headers: Vec::new() }
    }

    pub(crate) fn bad(code: Code, message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, code, message)
    }

    pub(crate) fn with(mut self, name: HeaderName, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    /// Whether it says that nothing is there.
    pub(crate) fn is_not_found(&self) -> bool {
        self.status == StatusCode::NOT_FOUND
    }

    /// Nobody who is known asks.
    fn unauthorized() -> Self {
        let message = "give a token that is known here: as a bearer token, or as the password of any user";
        // Clients of registries take a `Bearer` challenge for the address of a token service.
        Self::new(StatusCode::UNAUTHORIZED, Code::Unauthorized, message)
            .with(header::WWW_AUTHENTICATE, "Basic realm=\"verdict\", charset=\"UTF-8\"")
    }

    pub(crate) fn method(allowed: &str) -> Self {
        let message = format!("this takes {allowed}");
        Self::new(StatusCode::METHOD_NOT_ALLOWED, Code::Unsupported, message).with(header::ALLOW, allowed)
    }

    pub(crate) fn busy(message: &str) -> Self {
        Self::new(StatusCode::TOO_MANY_REQUESTS, Code::TooManyRequests, message)
            .with(header::RETRY_AFTER, "1")
    }

    /// What is no fault of the client's: the reason is for the operator.
    fn unavailable(error: &RepositoryError) -> Self {
        tracing::error!(%error, "the registry failed");
        let message = "the registry could not do this; its log says why; try again";
        Self::new(StatusCode::SERVICE_UNAVAILABLE, Code::Unknown, message).with(header::RETRY_AFTER, "1")
    }
}

impl From<ApiError> for OciError {
    /// Of what is said of who asks.
    fn from(error: ApiError) -> Self {
        if error.status() == StatusCode::UNAUTHORIZED {
            return Self::unauthorized();
        }
        Self::new(error.status(), Code::Unknown, error.message()).with(header::RETRY_AFTER, "1")
    }
}

impl From<Denial> for OciError {
    fn from(denial: Denial) -> Self {
        match denial {
            // That it is another tenant's and not there is answered alike, whatever is there.
            Denial::Elsewhere => {
                Self::new(StatusCode::FORBIDDEN, Code::Denied, "this token is for another tenant")
            }
            Denial::Forbidden(_) | Denial::NoPolicy => {
                Self::new(denial.status(), Code::Denied, denial.message())
            }
            Denial::Undecided | Denial::NotRecorded => {
                Self::new(denial.status(), Code::Unknown, denial.message()).with(header::RETRY_AFTER, "1")
            }
        }
    }
}

impl From<RepositoryError> for OciError {
    fn from(error: RepositoryError) -> Self {
        let message = error.to_string();
        match &error {
            RepositoryError::UnknownRepository(_) => {
                Self::new(StatusCode::NOT_FOUND, Code::NameUnknown, message)
            }
            RepositoryError::UnknownBlob(_) => Self::new(StatusCode::NOT_FOUND, Code::BlobUnknown, message),
            RepositoryError::UnknownManifest(_) => {
                Self::new(StatusCode::NOT_FOUND, Code::ManifestUnknown, message)
            }
            RepositoryError::UnknownUpload => {
                Self::new(StatusCode::NOT_FOUND, Code::BlobUploadUnknown, message)
            }
            RepositoryError::TooManyUploads(_) => Self::busy(&message),
            RepositoryError::Manifest(_) => Self::bad(Code::ManifestInvalid, message),
            RepositoryError::WrongSize { .. } => Self::bad(Code::SizeInvalid, message),
            RepositoryError::Immutable { .. } => Self::new(StatusCode::CONFLICT, Code::Denied, message),
            RepositoryError::Catalogue(fault) => {
                of_catalogue(fault, message).unwrap_or_else(|| Self::unavailable(&error))
            }
            RepositoryError::Store(fault) => {
                of_store(fault, message).unwrap_or_else(|| Self::unavailable(&error))
            }
        }
    }
}

fn of_catalogue(error: &CatalogueError, message: String) -> Option<OciError> {
    let error = match error {
        CatalogueError::UnknownBlob(_) => {
            OciError::new(StatusCode::NOT_FOUND, Code::ManifestBlobUnknown, message)
        }
        CatalogueError::Needed { .. } => OciError::new(StatusCode::METHOD_NOT_ALLOWED, Code::Denied, message)
            .with(header::ALLOW, "GET, HEAD"),
        CatalogueError::Conflict { .. } | CatalogueError::Stale { .. } => {
            OciError::new(StatusCode::CONFLICT, Code::Denied, message)
        }
        CatalogueError::Invalid { .. } => OciError::bad(Code::ManifestInvalid, message),
        _ => return None,
    };
    Some(error)
}

fn of_store(error: &StoreError, message: String) -> Option<OciError> {
    let error = match error {
        StoreError::DigestMismatch { .. } => OciError::bad(Code::DigestInvalid, message),
        StoreError::TooLarge { .. } => {
            OciError::new(StatusCode::PAYLOAD_TOO_LARGE, Code::BlobUploadInvalid, message)
        }
        StoreError::TooManyChunks { .. } => OciError::bad(Code::BlobUploadInvalid, message),
        StoreError::UnknownUpload(_) => {
            OciError::new(StatusCode::NOT_FOUND, Code::BlobUploadUnknown, message)
        }
        StoreError::WrongOffset { expected } => {
            OciError::new(StatusCode::RANGE_NOT_SATISFIABLE, Code::BlobUploadInvalid, message)
                .with(header::RANGE, super::push::received(*expected))
        }
        StoreError::WrongRange { bytes } => {
            OciError::new(StatusCode::RANGE_NOT_SATISFIABLE, Code::SizeInvalid, message)
                .with(header::CONTENT_RANGE, format!("bytes */{bytes}"))
        }
        _ => return None,
    };
    Some(error)
}

impl IntoResponse for OciError {
    fn into_response(self) -> Response {
        let body = json!({ "errors": [{ "code": self.code.as_str(), "message": self.message }] });
        let mut response = crate::error::json(self.status, &body);
        for (name, value) in self.headers {
            if let Ok(value) = HeaderValue::from_str(&value) {
                response.headers_mut().insert(name, value);
            }
        }
        response
    }
}
