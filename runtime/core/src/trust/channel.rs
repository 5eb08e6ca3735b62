//! Channel states: which versions answer in a channel.

use std::collections::BTreeSet;

use semver::Version;
use serde::{Deserialize, Serialize};

use super::document::{Order, private};
use super::{Basis, Head, Place, Role, SignedDocument, TrustError, Verified, check_count};
use crate::digest::Digest;
use crate::name::{ChannelName, PolicyName};
use crate::pointer::Pointer;
use crate::refusal::Refusal;
use crate::time::Timestamp;

/// The most versions that share a channel.
pub const SHARES_MAX: usize = 16;
/// The largest weight of a version.
pub const WEIGHT_MAX: u32 = 1_000;

/// What answers in a channel: the word of its releasers, and the one source of truth for it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChannelState {
    /// The policy.
    pub policy: PolicyName,
    /// The channel.
    pub channel: ChannelName,
    /// Grows with every change; going back to an older version is a new, higher sequence.
    pub sequence: u64,
    /// When it was signed.
    pub issued: Timestamp,
    /// The first moment at which it does not hold any more.
    pub expires: Timestamp,
    /// The versions that answer, each once.
    pub versions: Vec<Share>,
    /// The version that is asked as well and never answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shadow: Option<Release>,
    /// What makes the same question go to the same version; none means nothing does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sticky: Option<Sticky>,
    /// The digest of the data snapshot's content; none means the tenant's newest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<Digest>,
    /// When a split turns back by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub guard: Option<Guard>,
}

/// One version, by all its names: neither the image nor what its author says of it can be another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Release {
    /// The version.
    pub version: Version,
    /// The digest of the OCI image manifest.
    pub image: Digest,
    /// The digest of the author's statement.
    pub statement: Digest,
}

/// A version and its share of the questions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Share {
    /// The version.
    pub version: Version,
    /// The digest of the OCI image manifest.
    pub image: Digest,
    /// The digest of the author's statement.
    pub statement: Digest,
    /// Its share, of the sum of all weights; 1 to [`WEIGHT_MAX`].
    pub weight: u32,
}

impl Share {
    /// A version that has this share.
    pub fn new(release: Release, weight: u32) -> Self {
        let Release { version, image, statement } = release;
        Self { version, image, statement, weight }
    }

    /// The version.
    pub fn release(&self) -> Release {
        let Self { version, image, statement, .. } = self.clone();
        Release { version, image, statement }
    }
}

/// What decides to which version of a split a question goes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "StickyText", into = "StickyText")]
pub enum Sticky {
    /// A member of the input, at this pointer.
    Pointer(Pointer),
    /// Who asks.
    Caller,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct StickyText {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pointer: Option<Pointer>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    caller: Option<bool>,
}

impl TryFrom<StickyText> for Sticky {
    type Error = &'static str;

    fn try_from(text: StickyText) -> Result<Self, &'static str> {
        match (text.pointer, text.caller) {
            (Some(pointer), None) => Ok(Self::Pointer(pointer)),
            (None, Some(true)) => Ok(Self::Caller),
            _ => Err("`sticky` must be either a `pointer` or `\"caller\": true`"),
        }
    }
}

impl From<Sticky> for StickyText {
    fn from(sticky: Sticky) -> Self {
        match sticky {
            Sticky::Pointer(pointer) => Self { pointer: Some(pointer), caller: None },
            Sticky::Caller => Self { pointer: None, caller: Some(true) },
        }
    }
}

/// Bounds on the newest version of a split, beyond which the split turns back.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Guard {
    /// The largest share of denials, 0 to 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deny_rate_max: Option<f64>,
    /// The largest share of faults, 0 to 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fault_rate_max: Option<f64>,
    /// The most fuel, as a multiple of what the other versions burn; 0 to 1,000.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fuel_ratio_max: Option<f64>,
    /// How many decisions are needed before it is judged, from 1.
    pub decisions_min: u64,
}

impl Guard {
    fn is_in_range(&self) -> bool {
        let within = |value: Option<f64>, max: f64| value.is_none_or(|value| (0.0..=max).contains(&value));
        within(self.deny_rate_max, 1.0)
            && within(self.fault_rate_max, 1.0)
            && within(self.fuel_ratio_max, 1_000.0)
            && (1..=super::SEQUENCE_MAX).contains(&self.decisions_min)
    }
}

/// Which of a channel's versions is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Which {
    /// The one at this place among those that answer.
    Share(usize),
    /// The shadow.
    Shadow,
}

impl ChannelState {
    /// The version that is meant, if there is one.
    pub fn release(&self, which: Which) -> Option<Release> {
        match which {
            Which::Share(index) => self.versions.get(index).map(Share::release),
            Which::Shadow => self.shadow.clone(),
        }
    }

    /// Checks an envelope that should hold the state of `policy` in `channel`.
    ///
    /// # Errors
    /// The first reason found.
    pub fn verify(
        envelope: &[u8],
        policy: &PolicyName,
        channel: &ChannelName,
        basis: &Basis<'_>,
    ) -> Result<Verified<Self>, Refusal> {
        let place = Place::Channel(policy.clone(), channel.clone());
        Verified::open(envelope, &place, basis, Order::Newest)
    }
}

impl private::Kind for ChannelState {
    const WHAT: &'static str = "channel state";
    const ROLE: Role = Role::Releaser;

    fn check_own(&self) -> Result<(), TrustError> {
        check_count("versions", self.versions.len(), SHARES_MAX)?;
        if self.versions.is_empty() {
            return Err(TrustError::NoVersions);
        }
        let mut distinct = BTreeSet::new();
        for Share { version, weight, .. } in &self.versions {
            if !(1..=WEIGHT_MAX).contains(weight) {
                return Err(TrustError::Weight);
            }
            if !distinct.insert(version) {
                return Err(TrustError::DuplicateVersion(version.to_string()));
            }
        }
        match self.guard {
            Some(guard) if !guard.is_in_range() => Err(TrustError::Guard),
            _ => Ok(()),
        }
    }
}

impl SignedDocument for ChannelState {
    const FORMAT: &'static str = "verdict-channel/1";
    const PAYLOAD_TYPE: &'static str = "application/vnd.verdict.channel.v1+json";

    fn head(&self) -> Head {
        Head { sequence: self.sequence, issued: self.issued, expires: self.expires }
    }

    fn place(&self) -> Place {
        Place::Channel(self.policy.clone(), self.channel.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::refusal::RefusalCode;
    use serde_json::{Value, json};

    fn text() -> Value {
        let (image, statement) = (Digest::of(b"image"), Digest::of(b"statement"));
        json!({
            "format": "verdict-channel/1", "policy": "bank/loan", "channel": "production", "sequence": 7,
            "issued": "2026-05-01T00:00:00.000Z", "expires": "2026-07-01T00:00:00.000Z",
            "versions": [
                {"version": "1.2.0", "image": image, "statement": statement, "weight": 95},
                {"version": "1.3.0", "image": image, "statement": statement, "weight": 5},
            ],
            "shadow": {"version": "2.0.0-rc.1", "image": image, "statement": statement},
            "sticky": {"pointer": "/applicant"}, "data": Digest::of(b"data"),
            "guard": {"deny_rate_max": 0.5, "fault_rate_max": 0.01, "fuel_ratio_max": 2, "decisions_min": 100},
        })
    }

    fn parse(text: &Value) -> Result<ChannelState, Refusal> {
        ChannelState::parse(text.to_string().as_bytes())
    }

    #[test]
    fn is_read_as_it_was_written() {
        let state = parse(&text()).unwrap();
        assert_eq!(ChannelState::parse(&state.payload().unwrap()).unwrap(), state);
        assert_eq!(serde_json::from_slice::<Value>(&state.payload().unwrap()).unwrap(), text());
        assert_eq!(state.release(Which::Share(1)).unwrap().version, Version::new(1, 3, 0));
        assert!(state.release(Which::Shadow).is_some() && state.release(Which::Share(2)).is_none());
        for sticky in [Sticky::Caller, Sticky::Pointer("/a".parse().unwrap())] {
            let state = ChannelState { sticky: Some(sticky), ..state.clone() };
            assert_eq!(ChannelState::parse(&state.payload().unwrap()).unwrap(), state);
        }
    }

    #[test]
    fn rejects_what_makes_no_sense() {
        let cases = [
            ("/format", json!("verdict-channel/2")),
            ("/policy", json!("bank/loan/x")),
            ("/channel", json!("Production")),
            ("/sequence", json!(0)),
            ("/sequence", json!(1_u64 << 53)),
            ("/expires", json!("2026-05-01T00:00:00Z")),
            ("/versions", json!([])),
            ("/versions", json!(vec![text()["versions"][0].clone(); 17])),
            ("/versions/1/version", json!("1.2.0")),
            ("/versions/0/weight", json!(0)),
            ("/versions/0/weight", json!(1_001)),
            ("/versions/0/surprise", json!(1)),
            ("/shadow/weight", json!(1)),
            ("/sticky", json!({})),
            ("/sticky", json!({"caller": false})),
            ("/sticky", json!({"caller": true, "pointer": "/a"})),
            ("/sticky/pointer", json!("applicant")),
            ("/data", json!("sha256:00")),
            ("/guard/deny_rate_max", json!(1.5)),
            ("/guard/fault_rate_max", json!(-0.1)),
            ("/guard/decisions_min", json!(0)),
            ("/surprise", json!(1)),
        ];
        for (pointer, value) in cases {
            let mut changed = text();
            let (parent, name) = pointer.rsplit_once('/').unwrap();
            changed.pointer_mut(parent).unwrap()[name] = value.clone();
            let code = parse(&changed).map(drop).unwrap_err().code;
            assert_eq!(code, RefusalCode::MalformedDocument, "{pointer} {value}");
        }
    }

    #[test]
    fn what_nobody_would_accept_is_not_signed() {
        let state = ChannelState { sequence: 0, ..parse(&text()).unwrap() };
        assert!(state.payload().is_err());
    }
}
