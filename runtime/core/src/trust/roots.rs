//! The root keys, and the chain of trust policies that begins with them.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::policy::{PAYLOAD_TYPE, TrustPolicy};
use super::{ROOTS_FORMAT, Seen, TrustError, check_count, check_format, pretty};
use crate::dsse::Envelope;
use crate::json;
use crate::key::PublicKey;
use crate::refusal::{Refusal, RefusalCode};
use crate::time::Timestamp;

/// The largest roots file, in bytes.
pub const ROOTS_BYTES_MAX: usize = 64 << 10;
/// The most versions of a trust policy that are checked at once.
pub const CHAIN_MAX: usize = 1_000;
const KEYS_MAX: usize = 16;

/// Root keys, and how many of them must sign a trust policy. Each is taken to be held by another person.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "RootsText")]
pub struct Roots {
    keys: Vec<PublicKey>,
    threshold: u32,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RootsText {
    keys: Vec<PublicKey>,
    threshold: u32,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    format: String,
    keys: Vec<PublicKey>,
    threshold: u32,
}

impl TryFrom<RootsText> for Roots {
    type Error = TrustError;

    fn try_from(text: RootsText) -> Result<Self, TrustError> {
        Self::new(text.keys, text.threshold)
    }
}

impl Roots {
    /// `threshold` of `keys`.
    ///
    /// # Errors
    /// When a key is listed twice, there are too many, or the threshold is not between 1 and their number.
    pub fn new(keys: Vec<PublicKey>, threshold: u32) -> Result<Self, TrustError> {
        check_count("root keys", keys.len(), KEYS_MAX)?;
        let mut distinct = BTreeSet::new();
        if let Some(twice) = keys.iter().find(|key| !distinct.insert(key.as_bytes())) {
            return Err(TrustError::DuplicateKey(twice.to_string()));
        }
        if usize::try_from(threshold).is_ok_and(|threshold| (1..=keys.len()).contains(&threshold)) {
            Ok(Self { keys, threshold })
        } else {
            Err(TrustError::Threshold { threshold, keys: keys.len() })
        }
    }

    /// Reads the roots file of a host's own configuration.
    ///
    /// # Errors
    /// `malformed-trust`, when it is too large, of another format, or breaks one of its own rules.
    pub fn parse(bytes: &[u8]) -> Result<Self, Refusal> {
        let what = "roots file";
        let file: File =
            json::parse(bytes, ROOTS_BYTES_MAX).map_err(|error| TrustError::Malformed { what, error })?;
        check_format(what, &file.format, ROOTS_FORMAT)?;
        Ok(Self::new(file.keys, file.threshold)?)
    }

    /// The file's text.
    pub fn render(&self) -> String {
        let Self { keys, threshold } = self.clone();
        pretty(&File { format: ROOTS_FORMAT.into(), keys, threshold })
    }

    /// The keys.
    pub fn keys(&self) -> &[PublicKey] {
        &self.keys
    }

    /// How many of them must sign.
    pub fn threshold(&self) -> u32 {
        self.threshold
    }

    /// Checks that enough of them signed.
    fn check(&self, envelope: &Envelope, version: u64, whose: &str) -> Result<(), Refusal> {
        let signed = envelope.signers(&self.keys).len();
        if u32::try_from(signed).is_ok_and(|signed| signed >= self.threshold) {
            return Ok(());
        }
        let message = format!(
            "version {version} of the trust policy is signed by {signed} of {whose}; {} must sign",
            self.threshold
        );
        Err(Refusal::new(RefusalCode::TooFewSigners, message))
    }
}

/// Where a chain of trust policies begins.
#[derive(Debug, Clone, Copy)]
pub enum Anchor<'a> {
    /// The root keys that the host's own configuration pins.
    Roots(&'a Roots),
    /// The last version that the host accepted and kept where nobody else writes.
    Policy(&'a TrustPolicy),
}

impl TrustPolicy {
    /// The last of a chain of signed trust policies, if it may be used at `now` on a host that has `seen` others.
    ///
    /// Every version must be signed by the threshold of the root keys of the one before, and by that of its own. From
    /// an accepted version on, none may be missing. Pinned roots sign a first one of any version, but what was seen
    /// must be in the chain then: else root keys that a later version retired could still sign the newest.
    /// No envelopes after an accepted version means that it is still the last one.
    ///
    /// # Errors
    /// The first reason found. A version before the last may have expired; the last may not.
    pub fn verify_signed(
        envelopes: &[&[u8]],
        from: Anchor<'_>,
        seen: &Seen,
        now: Timestamp,
    ) -> Result<Self, Refusal> {
        if envelopes.len() > CHAIN_MAX {
            let message = format!("{} versions of a trust policy; at most {CHAIN_MAX}", envelopes.len());
            return Err(Refusal::new(RefusalCode::TooLarge, message));
        }
        let mut last = match from {
            Anchor::Roots(_) => None,
            Anchor::Policy(policy) => Some(policy.clone()),
        };
        for envelope in envelopes {
            let next = match (&last, from) {
                (Some(last), _) => Self::next(envelope, last)?,
                (None, Anchor::Roots(roots)) => Self::first(envelope, roots, seen)?,
                (None, Anchor::Policy(policy)) => Self::next(envelope, policy)?,
            };
            // The chain must pass through what was seen, and not beside it.
            if next.version() == seen.trust_version() {
                seen.check_trust(next.version(), next.digest())?;
            }
            last = Some(next);
        }
        let last =
            last.ok_or_else(|| Refusal::new(RefusalCode::Unsigned, "there is no signed trust policy"))?;
        last.check(seen, now)?;
        Ok(last)
    }

    fn first(envelope: &[u8], roots: &Roots, seen: &Seen) -> Result<Self, Refusal> {
        let (envelope, policy) = open(envelope)?;
        roots.check(&envelope, policy.version(), "the pinned root keys")?;
        check_own(&envelope, &policy)?;
        // After a plain file a chain may begin anywhere: it says nothing of who signs the next version.
        match seen.signed_trust_version() {
            Some(seen) if seen < policy.version() => Err(gap(seen, policy.version())),
            _ => Ok(policy),
        }
    }

    fn next(envelope: &[u8], last: &Self) -> Result<Self, Refusal> {
        let (envelope, policy) = open(envelope)?;
        let roots = last.root().ok_or(TrustError::NoRoot)?;
        roots.check(&envelope, policy.version(), "the root keys of the version before")?;
        check_own(&envelope, &policy)?;
        if last.version().checked_add(1) != Some(policy.version()) {
            return Err(gap(last.version(), policy.version()));
        }
        Ok(policy)
    }
}

fn gap(before: u64, found: u64) -> Refusal {
    let message = format!("version {found} of the trust policy does not follow version {before}");
    Refusal::new(RefusalCode::TrustGap, message)
}

fn open(bytes: &[u8]) -> Result<(Envelope, TrustPolicy), Refusal> {
    let envelope = super::document::open(bytes, PAYLOAD_TYPE, "trust policy")?;
    let policy = TrustPolicy::of_payload(envelope.payload())?;
    Ok((envelope, policy))
}

/// Whoever names new root keys must show that they can sign.
fn check_own(envelope: &Envelope, policy: &TrustPolicy) -> Result<(), Refusal> {
    policy.root().ok_or(TrustError::NoRoot)?.check(envelope, policy.version(), "its own root keys")
}
