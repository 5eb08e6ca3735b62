//! What can go wrong, by whose fault it is.

use std::fmt::Display;
use std::path::{Path, PathBuf};

use verdict_core::refusal::Refusal;

/// The host cannot start, load, or keep its records. The operator's to mend.
#[derive(Debug, thiserror::Error)]
pub enum HostError {
    /// Another process runs on this state folder.
    #[error(
        "the state folder `{path}` is in use by another process; stop it, or give this one another folder"
    )]
    StateInUse {
        /// The folder.
        path: PathBuf,
    },
    /// A file of the state folder cannot be used.
    #[error("cannot use `{path}`: {reason}")]
    State {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The trust file, or the data, would be under the control of whoever writes the artifacts.
    #[error(
        "the {what} `{path}` is below the policy folder `{folder}`, which is not trusted; move it elsewhere"
    )]
    Untrusted {
        /// What was found there.
        what: &'static str,
        /// Where it is.
        path: PathBuf,
        /// The policy folder.
        folder: PathBuf,
    },
    /// The trust file is not acceptable.
    #[error("the trust file `{path}` is refused: {refusal}")]
    Trust {
        /// The file.
        path: PathBuf,
        /// Why.
        refusal: Refusal,
    },
    /// The data is not acceptable.
    #[error("the data file `{path}` cannot be used: {reason}")]
    Data {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// The operator's ceiling cannot be enforced.
    #[error("the ceiling of limits cannot be used: {0}")]
    Ceiling(String),
    /// The engine does not start.
    #[error(transparent)]
    Engine(#[from] verdict_engine::EngineError),
    /// The log failed. It stays stopped until the process is started anew.
    #[error(transparent)]
    Ledger(#[from] verdict_ledger::LedgerError),
    /// The operating system gives no random bytes.
    #[error("the operating system gives no random bytes: {0}")]
    Entropy(String),
    /// A record or its evidence is not what this version writes.
    #[error("{what} of decision `{id}` cannot be read: {reason}")]
    Corrupt {
        /// Which part.
        what: &'static str,
        /// The decision.
        id: String,
        /// What is wrong.
        reason: String,
    },
}

impl HostError {
    pub(crate) fn state(path: &Path, reason: &dyn Display) -> Self {
        Self::State { path: path.into(), reason: reason.to_string() }
    }
}

/// A question that never reached a policy, or whose outcome could not be recorded. None of these is an answer.
#[derive(Debug, thiserror::Error)]
pub enum DecideError {
    /// The tenant or policy is not loaded here.
    #[error("policy `{0}` is not loaded here; `GET /v1/policies` lists what is")]
    UnknownPolicy(String),
    /// The policy has no such channel here.
    #[error("policy `{policy}` has no channel `{channel}` here; it has {known}")]
    UnknownChannel {
        /// The policy.
        policy: String,
        /// What was asked for.
        channel: String,
        /// What could be asked for.
        known: String,
    },
    /// The policy does not answer this rule.
    #[error("policy `{policy}` has no rule `{rule}`; it answers {known}")]
    UnknownRule {
        /// The policy.
        policy: String,
        /// What was asked for.
        rule: String,
        /// What could be asked for.
        known: String,
    },
    /// The input is refused at the door.
    #[error("the input is refused: {0}")]
    Input(verdict_engine::DocumentError),
    /// The decision id cannot be used.
    #[error("`{0}` is not a decision id; expected 1 to 64 of A-Z, a-z, 0-9, `.`, `_` and `-`")]
    MalformedId(String),
    /// The caller may not choose the decision time here.
    #[error(
        "the decision time is this host's clock; a caller may set it only where the operator allowed that"
    )]
    DecisionTimeNotAllowed,
    /// The decision id stands for another question.
    #[error("decision `{0}` is already there, for another question; use a new id")]
    IdConflict(String),
    /// The first request with this id is still under way.
    #[error("decision `{0}` is being made by another request; ask again for its result")]
    IdInProgress(String),
    /// The version's admission ended, and so did the time of grace.
    #[error("policy `{policy}` may no longer answer here: its trust ended at {until}; renew the trust file")]
    Expired {
        /// The policy.
        policy: String,
        /// When.
        until: String,
    },
    /// The outcome could not be recorded, and so it is not given.
    #[error("the decision could not be recorded: {0}")]
    NotRecorded(#[from] verdict_ledger::LedgerError),
    /// The host failed otherwise.
    #[error(transparent)]
    Host(#[from] HostError),
}

impl DecideError {
    /// The stable code.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::UnknownPolicy(_) => "unknown-policy",
            Self::UnknownChannel { .. } => "unknown-channel",
            Self::UnknownRule { .. } => "unknown-rule",
            Self::Input(_) => "malformed-input",
            Self::MalformedId(_) => "malformed-id",
            Self::DecisionTimeNotAllowed => "decision-time-not-allowed",
            Self::IdConflict(_) => "id-conflict",
            Self::IdInProgress(_) => "id-in-progress",
            Self::Expired { .. } => "expired",
            Self::NotRecorded(_) => "not-recorded",
            Self::Host(_) => "host-error",
        }
    }
}
