//! What goes wrong between here and a registry, and what to do about it.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use verdict_core::digest::Digest;
use verdict_core::refusal::Refusal;

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
    Folder(#[from] RegistryError),
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
                "log in with `docker login` or `crane auth login`, or set `DOCKER_CONFIG`"
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
        }
    }

    /// Whether trying again may help.
    pub(crate) fn is_transient(&self) -> bool {
        match self {
            Self::Unreachable { .. } => true,
            Self::Answered { answer, .. } => matches!(answer.status, 408 | 429 | 500 | 502..=504),
            _ => false,
        }
    }

    /// How long the registry asked us to wait.
    pub(crate) fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Answered { answer, .. } => answer.retry_after,
            _ => None,
        }
    }
}
