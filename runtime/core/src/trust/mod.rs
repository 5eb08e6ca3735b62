//! Whom a host trusts, with what, and until when; and how far it has come, so that nothing goes back.
//!
//! Storage, database and transport are not trusted. What decides is four documents, and every host checks them itself:
//!
//! | document | says | signed by | goes back? |
//! | --- | --- | --- | --- |
//! | [`TrustPolicy`] | who may sign what, and what must be signed | root keys, or nobody: the operator's own file | `version` |
//! | [`ChannelState`] | which versions answer in a channel | `releases` people of `releasers` | `sequence` of the channel |
//! | [`Revocations`] | keys, versions, digests not to be used | one of `revokers` | `sequence` |
//! | [`DataSnapshot`] | a tenant's data, by digest | one of `data_signers` | `sequence` of the tenant |
//!
//! To them come the statements that are attached to a version's image: [`crate::statement`].
//!
//! # Formats
//!
//! All are JSON; unknown members and members that are there twice are refused. Times are RFC 3339 in UTC, keys base64,
//! digests `sha256:` and hexadecimal digits. A signed document is the payload of a DSSE envelope of at most 1 MiB with
//! at most 16 signatures, in canonical form (RFC 8785) when it is written here; signatures of others do no harm.
//! `expires` is the first moment at which a document does not hold any more. A document that was issued more than
//! [`CLOCK_TOLERANCE_MS`] in the future is refused.
//!
//! **Trust policy**, `verdict-trust/1`. As the operator's plain file it is trusted because of where it is. As payload of
//! type [`TRUST_PAYLOAD_TYPE`] it must have `root`, and version n + 1 is signed by `threshold` of the `root.keys` of
//! version n and by that of its own. Only `format`, `version`, `expires` and `authors` are mandatory.
//!
//! ```json
//! {"format": "verdict-trust/1", "version": 3, "expires": "2027-01-01T00:00:00.000Z",
//!  "root": {"keys": ["BASE64", "BASE64"], "threshold": 2},
//!  "authors":      [{"person": "alice", "public": "BASE64", "policies": ["bank/*"], "not_before": "…", "not_after": "…"}],
//!  "approvers":    [{"person": "bob", "public": "BASE64", "policies": ["bank/loan"], "channels": ["production"]}],
//!  "releasers":    [{"person": "server:one", "public": "BASE64", "policies": ["bank/*"]}],
//!  "data_signers": [{"person": "carol", "public": "BASE64", "policies": ["bank/*"]}],
//!  "revokers":     [{"person": "dave", "public": "BASE64"}],
//!  "attesters":    [{"person": "ci", "public": "BASE64", "policies": ["bank/*"], "predicates": ["https://in-toto.io/attestation/test-result/v0.1"]}],
//!  "rules": [{"policies": ["bank/*"], "channels": ["production"], "approvals": 2, "releases": 1,
//!             "statements": [{"predicate": "https://in-toto.io/attestation/test-result/v0.1", "signers": 1,
//!                             "require": {"/result": "PASSED"}}]}]}
//! ```
//!
//! - Numbers of people are numbers of different `person`s: somebody with two keys is one. A key belongs to one person.
//! - Who signed the author's statement is never an approver of it, with whatever key and in whatever role.
//! - `channels` and `predicates` narrow a grant, and are refused where they would mean nothing. A data signer's
//!   `policies` are whole tenants. A revoker has none: revocations are for everybody.
//! - Of the rules the first decides whose `policies` and `channels` fit (no `channels`: all of them). Without any:
//!   no approvals, one release, no statements. A folder of artifacts has no channel; there the rules of every channel hold,
//!   up to the first that names no channels.
//!   A grant that names channels is for no folder.
//! - A rule's `require` has JSON Pointers into the predicate, and the very values that must be there; numbers in them are
//!   integers.
//! - Where there are `revokers`, nothing is accepted without revocations that hold: so whoever withholds them can only
//!   stop a host, and the `expires` of the last ones says when.
//!
//! **Roots**, `verdict-roots/1`: `{"format": "verdict-roots/1", "keys": ["BASE64"], "threshold": 1}`, in the host's own
//! configuration.
//!
//! **Channel state**, `verdict-channel/1`, type `application/vnd.verdict.channel.v1+json`. `shadow`, `sticky` (or
//! `{"caller": true}`), `data` (the digest of a snapshot's content; without it the tenant's newest is used) and `guard`
//! may be left out, as may the three bounds in `guard`.
//!
//! ```json
//! {"format": "verdict-channel/1", "policy": "bank/loan", "channel": "production", "sequence": 7,
//!  "issued": "2026-05-01T00:00:00.000Z", "expires": "2026-07-01T00:00:00.000Z",
//!  "versions": [{"version": "1.2.0", "image": "sha256:…", "statement": "sha256:…", "weight": 95},
//!               {"version": "1.3.0", "image": "sha256:…", "statement": "sha256:…", "weight": 5}],
//!  "shadow": {"version": "2.0.0-rc.1", "image": "sha256:…", "statement": "sha256:…"},
//!  "sticky": {"pointer": "/applicant"}, "data": "sha256:…",
//!  "guard": {"deny_rate_max": 0.5, "fault_rate_max": 0.01, "fuel_ratio_max": 2, "decisions_min": 100}}
//! ```
//!
//! **Revocations**, `verdict-revocations/1`, type `application/vnd.verdict.revocations.v1+json`. The three lists may be
//! left out. Digests are those of components, images, statements, or the contents of data snapshots.
//!
//! ```json
//! {"format": "verdict-revocations/1", "sequence": 2, "issued": "…", "expires": "…", "keys": ["BASE64"],
//!  "versions": [{"policy": "bank/loan", "version": "1.2.0"}], "digests": ["sha256:…"]}
//! ```
//!
//! **Data snapshot**, `verdict-data/1`, type `application/vnd.verdict.data.v1+json`; the content is a blob of type
//! [`DATA_CONTENT_MEDIA_TYPE`].
//!
//! ```json
//! {"format": "verdict-data/1", "tenant": "bank", "sequence": 4, "issued": "…", "expires": "…", "digest": "sha256:…", "bytes": 1000}
//! ```
//!
//! **What was seen**, `verdict-seen/2`, a host's own file; `verdict-seen/1` (`trust_version` and `versions` alone) is read.
//! A lower sequence is refused, as is the same with another digest, and a clock that is behind `time` by more than
//! [`CLOCK_TOLERANCE_MS`].
//!
//! ```json
//! {"format": "verdict-seen/2", "trust": {"version": 3, "digest": "sha256:…"}, "versions": {"bank/loan": "1.2.0"},
//!  "channels": {"bank/loan@production": {"sequence": 7, "digest": "sha256:…"}},
//!  "revocations": {"sequence": 2, "digest": "sha256:…"}, "data": {"bank": {"sequence": 4, "digest": "sha256:…"}},
//!  "time": "2026-06-01T00:00:00.000Z"}
//! ```

mod channel;
mod data;
mod document;
mod grant;
mod policy;
mod revocations;
mod roots;
mod rule;
mod seen;
pub(crate) mod signers;

use serde::Serialize;

use crate::jcs::JcsError;
use crate::json::JsonError;
use crate::pointer::Pointer;
use crate::refusal::{Refusal, RefusalCode};

pub use channel::{ChannelState, Guard, Release, SHARES_MAX, Share, Sticky, WEIGHT_MAX, Which};
pub use data::{CONTENT_MEDIA_TYPE as DATA_CONTENT_MEDIA_TYPE, DataSnapshot};
pub use document::{Basis, Head, Place, SignedDocument, Verified};
pub(crate) use document::{Order, signed_by};
pub(crate) use grant::Scope;
pub use grant::{Author, Grant, PolicyPattern, Role};
pub use policy::{PAYLOAD_TYPE as TRUST_PAYLOAD_TYPE, TrustPolicy};
pub use revocations::{Revocations, RevokedVersion};
pub use roots::{Anchor, CHAIN_MAX, ROOTS_BYTES_MAX, Roots};
pub use rule::{PEOPLE_MAX, Requirement, Rule};
pub use seen::{Mark, Seen};

/// The format of the trust policy.
pub const FORMAT: &str = "verdict-trust/1";
/// The format of the roots file.
pub const ROOTS_FORMAT: &str = "verdict-roots/1";
/// The format of what was seen.
pub const SEEN_FORMAT: &str = "verdict-seen/2";
/// The largest trust file, in bytes.
pub const TRUST_BYTES_MAX: usize = 1 << 20;
/// The largest file of what was seen, in bytes.
pub const SEEN_BYTES_MAX: usize = 16 << 20;
/// The largest sequence: the largest integer that canonical JSON (RFC 8785) keeps exact.
pub const SEQUENCE_MAX: u64 = (1 << 53) - 1;
/// How far a clock may be behind another, in milliseconds: five minutes.
pub const CLOCK_TOLERANCE_MS: i64 = 300_000;

/// A trust policy, a signed document, or what was seen, cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    /// It is not JSON of the right shape.
    #[error("the {what} cannot be read: {error}")]
    Malformed {
        /// Which one.
        what: &'static str,
        /// Why.
        error: JsonError,
    },
    /// It has no canonical JSON.
    #[error("the {what} cannot be written: {error}")]
    Unwritable {
        /// Which one.
        what: &'static str,
        /// Why.
        error: JcsError,
    },
    /// It would be refused if it were signed.
    #[error("it is not signed, because nobody would accept it: {0}")]
    Unusable(String),
    /// It is of a format that this version does not know.
    #[error("the {what} has format `{found}`; this version reads `{expected}`")]
    Format {
        /// Which one.
        what: &'static str,
        /// What it says.
        found: String,
        /// What is read.
        expected: &'static str,
    },
    /// The version is zero, or too large to be exact in JSON.
    #[error("the trust file's `version` must be between 1 and 2^53 - 1")]
    Version,
    /// There is too much of something.
    #[error("there are {found} {what}; at most {max} are read")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// How many there are.
        found: usize,
        /// How many there may be.
        max: usize,
    },
    /// A person's name is empty or too long.
    #[error("the `person` of key {0} must have 1 to 200 bytes")]
    Person(String),
    /// A key is listed twice.
    #[error("the key {0} is listed twice; list it once, with all of its policies")]
    DuplicateKey(String),
    /// A key has two names.
    #[error("the key {0} is said to be of two people; list it under one name")]
    TwoPeople(String),
    /// A key is never valid.
    #[error("the key {0} is never valid; its `not_after` must be later than its `not_before`")]
    NeverValid(String),
    /// A grant is narrowed in a way that its role does not know.
    #[error("`{member}` of {role} `{person}` cannot be honoured; see which roles it is for, or leave it out")]
    Member {
        /// The role.
        role: Role,
        /// What narrows it.
        member: &'static str,
        /// Whose grant it is.
        person: String,
    },
    /// A rule asks for no or too many people.
    #[error("a rule's `releases` and `signers` must be 1 to {PEOPLE_MAX}, its `approvals` 0 to {PEOPLE_MAX}")]
    People,
    /// A rule requires a number that readers could take for another.
    #[error(
        "what a rule requires at `{0}` must not hold fractions or exponents; readers round them differently"
    )]
    Fraction(Pointer),
    /// A predicate type is empty, too long, or has a role of its own.
    #[error(
        "`{0}` is not a predicate type for attesters; it must have 1 to 255 bytes and be none of Verdict's own"
    )]
    Predicate(String),
    /// The threshold cannot be met, or is met by nobody.
    #[error(
        "the `threshold` of root keys is {threshold}; it must be between 1 and the number of keys, {keys}"
    )]
    Threshold {
        /// What it is.
        threshold: u32,
        /// How many keys there are.
        keys: usize,
    },
    /// A trust policy that is part of a chain says not who signs the next one.
    #[error("a signed trust policy must have `root`, the keys that sign the next one")]
    NoRoot,
    /// A number is too small, or too large to be exact in JSON.
    #[error("`{member}` of the {what} must be between 1 and 2^53 - 1")]
    Number {
        /// Which document.
        what: &'static str,
        /// Which number.
        member: &'static str,
    },
    /// The document would never hold.
    #[error("the {0} would never hold; its `expires` must be later than its `issued`")]
    LifeTime(&'static str),
    /// Nothing would answer.
    #[error("the channel state names no version; name at least one")]
    NoVersions,
    /// A version has no share, or too large a one.
    #[error("the `weight` of a version must be between 1 and {WEIGHT_MAX}")]
    Weight,
    /// A version is there twice.
    #[error("version `{0}` is there twice; name it once, with the sum of its weights")]
    DuplicateVersion(String),
    /// A bound of the guard is out of range.
    #[error(
        "the bounds of `guard` are out of range; rates are 0 to 1, `fuel_ratio_max` 0 to 1000, `decisions_min` from 1"
    )]
    Guard,
    /// What was seen names something that is no channel.
    #[error("`{0}` is not a channel; expected `tenant/name@channel`")]
    Channel(String),
}

impl From<TrustError> for Refusal {
    fn from(error: TrustError) -> Self {
        Self::new(RefusalCode::MalformedTrust, error.to_string())
    }
}

fn check_format(what: &'static str, found: &str, expected: &'static str) -> Result<(), TrustError> {
    if found == expected {
        return Ok(());
    }
    Err(TrustError::Format { what, found: found.chars().take(160).collect(), expected })
}

fn check_count(what: &'static str, found: usize, max: usize) -> Result<(), TrustError> {
    if found <= max { Ok(()) } else { Err(TrustError::TooMany { what, found, max }) }
}

fn pretty(value: &impl Serialize) -> String {
    // Text, numbers and maps with text keys always have a JSON form.
    let mut text = serde_json::to_string_pretty(value).unwrap_or_default();
    text.push('\n');
    text
}

#[cfg(test)]
mod tests;
