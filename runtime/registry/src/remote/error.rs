//! What goes wrong between here and a registry, and what to do about it.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use verdict_core::digest::Digest;
use verdict_core::refusal::{Refusal, RefusalCode};

use super::reference::{Reference, ReferenceError, RegistryHost, Tag};
use crate::error::RegistryError;

/// Something cannot be moved to or from a registry.
#[derive(Debug, thiserror::Error)]
pub enum RemoteError {
    /// A name is not one.
    #[error(transparent)]
    Reference(#[from] ReferenceError),
    /// The registry does not speak to us.
    #[error("the registry `{host}` cannot be reached: {reason}")]
    Unreachable {
        /// Which registry.
        host: RegistryHost,
        /// Why, in the words of the network.
        reason: String,
        /// Whether it was spoken to without TLS.
        plain_http: bool,
    },
    /// The registry said no, or something that the specification does not foresee.
    #[error("the registry `{host}` {answer}")]
    Answered {
        /// Which registry.
        host: RegistryHost,
        /// What it said to what.
        answer: Box<Answered>,
    },
    /// The registry wants to know who asks, or does not let them.
    #[error("the registry `{host}` refuses to {what}: {message}")]
    Denied {
        /// Which registry.
        host: RegistryHost,
        /// What was to be done.
        what: String,
        /// What it said.
        message: String,
        /// Whether credentials were sent.
        with_credentials: bool,
    },
    /// There is no such thing.
    #[error("the registry `{host}` has no `{what}`")]
    Missing {
        /// Which registry.
        host: RegistryHost,
        /// What was asked for.
        what: String,
    },
    /// A reference names a repository where it must name a version.
    #[error("`{reference}` names no version{}", newest.as_ref().map(|tag| format!("; the newest there is `{tag}`")).unwrap_or_default())]
    NoVersion {
        /// What was given.
        reference: Reference,
        /// The newest version of the repository.
        newest: Option<Tag>,
    },
    /// A version is published once.
    #[error("`{place}` is already there, as another image: it is {found}, and this is {image}")]
    Published {
        /// Where.
        place: String,
        /// What is there.
        found: Digest,
        /// What was to go there.
        image: Digest,
    },
    /// A tag that names a version is put on another one.
    #[error("`{reference}` would name version {version} of the policy")]
    OtherVersion {
        /// The reference.
        reference: Reference,
        /// The version that the image says it is.
        version: String,
    },
    /// The registry took statements, and does not list them.
    #[error(
        "the registry `{host}` does not list {missing} of the statements about {image} after taking them"
    )]
    Unlisted {
        /// Which registry.
        host: RegistryHost,
        /// The image.
        image: Digest,
        /// How many are missing.
        missing: usize,
    },
    /// Credentials cannot be had.
    #[error("the credentials for `{host}` cannot be read from {place}: {reason}")]
    Credentials {
        /// For which registry.
        host: RegistryHost,
        /// The file or program that they are asked of.
        place: String,
        /// Why not; never a part of them.
        reason: String,
    },
    /// Somebody else pulls into the same folder.
    #[error("another pull into `{0}` is under way")]
    Busy(PathBuf),
    /// What was read is not a good artifact.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// A folder cannot be written.
    #[error(transparent)]
    Folder(RegistryError),
    /// A server of ours said no, and why.
    #[error("the server `{host}` refuses {problem}")]
    Problem {
        /// Which server.
        host: RegistryHost,
        /// What it said to what.
        problem: Box<Problem>,
    },
    /// The text is not the address of a server.
    #[error("`{0}` is not the address of a server; expected `http(s)://HOST[:PORT]` or `unix:PATH`")]
    Address(String),
    /// What is to be shown a server cannot be sent.
    #[error("the token is not one line of visible ASCII characters")]
    Token,
}

/// The problem details of a server's answer, as RFC 9457 has them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The status of HTTP.
    pub status: u16,
    /// The stable code of what is wrong.
    pub code: String,
    /// What was asked: method and path.
    pub request: String,
    /// What is wrong with it, as far as it can be shown.
    pub message: String,
    /// Under what its operator finds the request.
    pub correlation: String,
    /// When it wants to be asked again.
    pub(crate) retry_after: Option<Duration>,
    /// Whether a token was sent.
    pub(crate) with_token: bool,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} ({})", self.request, self.message, self.code)
    }
}

impl Problem {
    /// What to do about it.
    pub fn remedy(&self) -> &'static str {
        match (self.status, RefusalCode::from_code(&self.code)) {
            (_, Some(code)) => code.remedy(),
            (401, _) if !self.with_token => "give a token with `--token-file`, a profile or `VERDICT_TOKEN`",
            (401, _) => "check the token: it may be another server's, or revoked",
            (403, _) if self.code == "no-access-policy" => "its operator has to start it with `--access`",
            (403, _) => "ask somebody whose roles allow it",
            (404, _) => "check the name; what a token may not see is not there for it",
            (409, _) if self.code == "no-roots" => "its operator has to start it with `--roots`",
            (409, _) if self.code == "no-activation-key" => {
                "sign it with a releaser's key, or let its operator give it one: `--activation-key`"
            }
            (409, _) if self.code == "no-previous" => "name the version to go back to, with `--to`",
            (409 | 412, _) => "somebody else was faster, or it is done already; look at what is there now",
            (400 | 413 | 415 | 422, _) => "correct what is sent",
            _ => "the server has a problem of its own; run the command again later",
        }
    }
}

/// What a registry said to a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answered {
    /// The status of HTTP.
    pub status: u16,
    /// What was asked: method and path.
    pub request: String,
    /// The code and message of its answer, as far as they can be shown.
    pub message: String,
    /// When it wants to be asked again.
    pub(crate) retry_after: Option<Duration>,
}

impl fmt::Display for Answered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "answered {} to {}", self.status, self.request)?;
        if self.message.is_empty() { Ok(()) } else { write!(f, ": {}", self.message) }
    }
}

impl RemoteError {
    /// A stable code for programs.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Reference(_) => "reference",
            Self::Unreachable { .. } => "unreachable",
            Self::Answered { .. } => "registry-answer",
            Self::Denied { .. } => "denied",
            Self::Missing { .. } => "not-found",
            Self::NoVersion { .. } => "no-version",
            Self::Published { .. } => "published",
            Self::OtherVersion { .. } => "other-version",
            Self::Unlisted { .. } => "unlisted",
            Self::Credentials { .. } => "credentials",
            Self::Busy(_) => "busy",
            Self::Refused(refusal) => refusal.code.code(),
            Self::Folder(_) => "folder",
            Self::Problem { problem, .. } => {
                RefusalCode::from_code(&problem.code).map_or("server-answer", RefusalCode::code)
            }
            Self::Address(_) => "address",
            Self::Token => "token",
        }
    }

    /// What to do about it.
    pub fn remedy(&self) -> &'static str {
        match self {
            Self::Reference(_) => "check the spelling; a local folder starts with `.` or `/`",
            Self::Unreachable { plain_http: false, .. } => {
                "check the name and the network; `--plain-http` is for a registry without TLS"
            }
            Self::Unreachable { .. } => "check the name, the port and the network",
            Self::Answered { answer, .. } if answer.status == 429 => "wait, then run the command again",
            Self::Answered { answer, .. } if answer.status >= 500 => {
                "the registry has a problem of its own; run the command again later"
            }
            Self::Answered { .. } => "check that it is an OCI registry and takes artifacts of any type",
            Self::Denied { with_credentials: false, .. } => {
                "log in with `docker login` or `crane auth login`, or set `DOCKER_CONFIG`; a server of ours takes `VERDICT_TOKEN`"
            }
            Self::Denied { .. } => "log in as somebody who may, or ask for the right to",
            Self::Missing { .. } => "see what there is with `verdict list` and `verdict tags`",
            Self::NoVersion { .. } => "add `:TAG` or `@DIGEST`",
            Self::Published { .. } => "publish it as a new version; `--force` writes over the old one",
            Self::OtherVersion { .. } => "name its own version, or a tag that is not a version",
            Self::Unlisted { .. } => "run the command again; if it stays so, the registry loses referrers",
            Self::Credentials { .. } => "log in again, or correct the file",
            Self::Busy(_) => "wait for it to end",
            Self::Refused(refusal) => refusal.code.remedy(),
            Self::Folder(_) => "name another folder, or check this one",
            Self::Problem { problem, .. } => problem.remedy(),
            Self::Address(_) => "check the spelling",
            Self::Token => "check that it is the file with the token",
        }
    }

    /// Whether trying again may help.
    pub(crate) fn is_transient(&self) -> bool {
        match self {
            Self::Unreachable { .. } => true,
            Self::Answered { answer, .. } => matches!(answer.status, 408 | 429 | 500 | 502..=504),
            Self::Problem { problem, .. } => matches!(problem.status, 408 | 429 | 502..=504),
            _ => false,
        }
    }

    /// How long the registry asked us to wait.
    pub(crate) fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Answered { answer, .. } => answer.retry_after,
            Self::Problem { problem, .. } => problem.retry_after,
            _ => None,
        }
    }
}

impl From<RegistryError> for RemoteError {
    fn from(error: RegistryError) -> Self {
        match error {
            RegistryError::Remote(error) => *error,
            other => Self::Folder(other),
        }
    }
}

impl From<RemoteError> for RegistryError {
    fn from(error: RemoteError) -> Self {
        match error {
            RemoteError::Refused(refusal) => Self::Refused(refusal),
            RemoteError::Folder(error) => error,
            other => Self::Remote(Box::new(other)),
        }
    }
}

impl From<RemoteError> for Refusal {
    fn from(error: RemoteError) -> Self {
        match error {
            RemoteError::Refused(refusal) => refusal,
            other => Self::new(RefusalCode::Unreadable, other.to_string()),
        }
    }
}
