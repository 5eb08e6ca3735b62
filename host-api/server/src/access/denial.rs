//! Why somebody may not, and how that is said.

use axum::http::StatusCode;

use crate::error::ApiError;

/// Why somebody may not do something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Denial {
    /// It is another tenant's: nobody learns whether it is there.
    Elsewhere,
    /// The access policy says no.
    Forbidden(&'static str),
    /// There is no access policy that could say yes.
    NoPolicy,
    /// Nothing was decided.
    Undecided,
    /// It was allowed, and could not be recorded.
    NotRecorded,
}

impl Denial {
    pub(crate) const fn status(self) -> StatusCode {
        match self {
            Self::Elsewhere => StatusCode::NOT_FOUND,
            Self::Forbidden(_) | Self::NoPolicy => StatusCode::FORBIDDEN,
            Self::Undecided | Self::NotRecorded => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    pub(crate) const fn code(self) -> &'static str {
        match self {
            Self::Elsewhere => "not-found",
            Self::Forbidden(_) => "denied",
            Self::NoPolicy => "no-access-policy",
            Self::Undecided => "access-undecided",
            Self::NotRecorded => "not-recorded",
        }
    }

    pub(crate) fn message(self) -> String {
        let message = match self {
            Self::Elsewhere => "there is nothing here for whoever asks",
            Self::Forbidden(action) => {
                return format!("the access policy does not let whoever asks do `{action}` here");
            }
            Self::NoPolicy => {
                "this server has no access policy, so nobody may administer it; start it with one (`--access`), or \
                 ask over its break-glass socket"
            }
            Self::Undecided => {
                "whether this is allowed could not be decided, so it is not; the server's log says why"
            }
            Self::NotRecorded => "this could not be recorded, and so was not done; the server's log says why",
        };
        message.into()
    }
}

impl From<Denial> for ApiError {
    fn from(denial: Denial) -> Self {
        Self::new(denial.status(), denial.code(), denial.message())
    }
}

/// Nobody is known by what was given.
pub(super) fn unauthenticated(message: &str) -> ApiError {
    let message = format!("{message}, as `Authorization: Bearer TOKEN`");
    ApiError::new(StatusCode::UNAUTHORIZED, "unauthenticated", message)
}
