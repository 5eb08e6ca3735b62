//! How far a host has come, so that nothing goes back.

use std::collections::BTreeMap;

use semver::Version;
use serde::{Deserialize, Serialize};

use super::document::Order;
use super::{
    CLOCK_TOLERANCE_MS, Place, SEEN_BYTES_MAX, SEEN_FORMAT, SignedDocument, TrustError, TrustPolicy,
    Verified, pretty,
};
use crate::digest::Digest;
use crate::json;
use crate::name::{ChannelName, PolicyName, Tenant};
use crate::refusal::{Refusal, RefusalCode};
use crate::time::Timestamp;

/// The format before channels; it is read, and not written any more.
const SEEN_FORMAT_1: &str = "verdict-seen/1";

/// The highest versions and sequences that a host has seen. It keeps them in its state, so that an old signed
/// document cannot come back as news.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Seen {
    trust: Option<TrustMark>,
    versions: BTreeMap<PolicyName, Version>,
    marks: BTreeMap<Place, Mark>,
    time: Option<Timestamp>,
}

/// The highest sequence of something, and which document it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mark {
    /// The sequence.
    pub sequence: u64,
    /// The digest of the document's payload.
    pub digest: Digest,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct TrustMark {
    version: u64,
    /// None for a plain file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    digest: Option<Digest>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct First {
    #[serde(rename = "format")]
    _format: String,
    trust_version: u64,
    versions: BTreeMap<PolicyName, Version>,
}

#[derive(Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Second {
    format: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    trust: Option<TrustMark>,
    versions: BTreeMap<PolicyName, Version>,
    channels: BTreeMap<String, Mark>,
    #[serde(skip_serializing_if = "Option::is_none")]
    revocations: Option<Mark>,
    data: BTreeMap<Tenant, Mark>,
    #[serde(skip_serializing_if = "Option::is_none")]
    time: Option<Timestamp>,
}

impl Seen {
    /// Reads what was seen.
    ///
    /// # Errors
    /// When it is too large, or not of the right shape.
    pub fn parse(bytes: &[u8]) -> Result<Self, TrustError> {
        const WHAT: &str = "file of seen versions";
        let malformed = |error| TrustError::Malformed { what: WHAT, error };
        let value: serde_json::Value = json::parse(bytes, SEEN_BYTES_MAX).map_err(malformed)?;
        let shape = |error: serde_json::Error| malformed(error.into());
        match value.get("format").and_then(serde_json::Value::as_str).unwrap_or_default() {
            SEEN_FORMAT => Self::of(serde_json::from_value(value).map_err(shape)?),
            SEEN_FORMAT_1 => {
                let First { trust_version, versions, .. } = serde_json::from_value(value).map_err(shape)?;
                Ok(Self { versions, ..Self::default() }.note_trust(trust_version))
            }
            found => super::check_format(WHAT, found, SEEN_FORMAT).map(|()| Self::default()),
        }
    }

    fn of(text: Second) -> Result<Self, TrustError> {
        let mut marks = BTreeMap::new();
        for (name, mark) in text.channels {
            let place =
                channel(&name).ok_or_else(|| TrustError::Channel(name.chars().take(160).collect()))?;
            marks.insert(place, mark);
        }
        marks.extend(text.revocations.map(|mark| (Place::Revocations, mark)));
        marks.extend(text.data.into_iter().map(|(tenant, mark)| (Place::Data(tenant), mark)));
        let trust = text.trust.filter(|trust| trust.version > 0);
        Ok(Self { trust, versions: text.versions, marks, time: text.time })
    }

    /// The file's text.
    pub fn render(&self) -> String {
        let mut text = Second {
            format: SEEN_FORMAT.into(),
            trust: self.trust,
            versions: self.versions.clone(),
            time: self.time,
            ..Second::default()
        };
        for (place, mark) in &self.marks {
            match place {
                Place::Channel(policy, channel) => {
                    text.channels.insert(format!("{policy}@{channel}"), *mark);
                }
                Place::Revocations => text.revocations = Some(*mark),
                Place::Data(tenant) => drop(text.data.insert(tenant.clone(), *mark)),
            }
        }
        pretty(&text)
    }

    /// The highest version of a trust policy that was seen; 0 for none.
    pub fn trust_version(&self) -> u64 {
        self.trust.map_or(0, |trust| trust.version)
    }

    /// The same, if it was a signed one.
    pub(crate) fn signed_trust_version(&self) -> Option<u64> {
        self.trust.filter(|trust| trust.digest.is_some()).map(|trust| trust.version)
    }

    /// The highest version of `policy` that was seen.
    pub fn version(&self, policy: &PolicyName) -> Option<&Version> {
        self.versions.get(policy)
    }

    /// The highest sequence that was seen of a document.
    pub fn mark(&self, place: &Place) -> Option<Mark> {
        self.marks.get(place).copied()
    }

    /// The latest time that was acted upon.
    pub fn time(&self) -> Option<Timestamp> {
        self.time
    }

    /// What was seen once a plain trust policy of this version was, too.
    #[must_use]
    pub fn note_trust(mut self, version: u64) -> Self {
        if version > self.trust_version() {
            self.trust = Some(TrustMark { version, digest: None });
        }
        self
    }

    /// What was seen once this trust policy was, too.
    #[must_use]
    pub fn note_trust_policy(mut self, policy: &TrustPolicy) -> Self {
        let known = self.trust.filter(|known| known.version >= policy.version());
        self.trust = match known {
            // A plain file of this version said nothing about its contents.
            Some(known) if known.version == policy.version() => {
                Some(TrustMark { digest: known.digest.or(policy.digest()), ..known })
            }
            Some(known) => Some(known),
            None => Some(TrustMark { version: policy.version(), digest: policy.digest() }),
        };
        self
    }

    /// What was seen once this version of `policy` was admitted, too.
    #[must_use]
    pub fn note(mut self, policy: &PolicyName, version: Version) -> Self {
        match self.versions.get_mut(policy) {
            Some(highest) if version.cmp_precedence(highest).is_le() => {}
            Some(highest) => *highest = version,
            None => drop(self.versions.insert(policy.clone(), version)),
        }
        self
    }

    /// What was seen once this document was, too.
    #[must_use]
    pub fn note_document<T: SignedDocument>(mut self, verified: &Verified<T>) -> Self {
        let place = verified.document().place();
        let sequence = verified.document().head().sequence;
        if self.mark(&place).is_none_or(|mark| mark.sequence < sequence) {
            self.marks.insert(place, Mark { sequence, digest: verified.digest() });
        }
        self
    }

    /// What was seen once something was decided at `now`, too.
    #[must_use]
    pub fn note_time(mut self, now: Timestamp) -> Self {
        self.time = self.time.max(Some(now));
        self
    }

    /// Refuses an older trust policy, and another one of the same version.
    pub(crate) fn check_trust(&self, version: u64, digest: Option<Digest>) -> Result<(), Refusal> {
        if version < self.trust_version() {
            let message =
                format!("the trust policy has version {version}, but {} was seen", self.trust_version());
            return Err(Refusal::new(RefusalCode::TrustRollback, message));
        }
        let known = self.trust.filter(|trust| trust.version == version).and_then(|trust| trust.digest);
        match known.zip(digest) {
            Some((known, found)) if known != found => Err(equivocation("the trust policy", version, known)),
            _ => Ok(()),
        }
    }

    /// Refuses an older document, and another one of the same sequence.
    pub(crate) fn check_document(
        &self,
        place: &Place,
        sequence: u64,
        digest: Digest,
        order: Order,
    ) -> Result<(), Refusal> {
        let Some(mark) = self.mark(place) else { return Ok(()) };
        if sequence < mark.sequence && order == Order::Newest {
            let message = format!("{place} has sequence {sequence}, but {} was seen", mark.sequence);
            return Err(Refusal::new(RefusalCode::DocumentRollback, message));
        }
        if sequence == mark.sequence && digest != mark.digest {
            return Err(equivocation(&place.to_string(), sequence, mark.digest));
        }
        Ok(())
    }

    /// Refuses a clock that was turned back: expired documents would hold again.
    pub(crate) fn check_time(&self, now: Timestamp) -> Result<(), Refusal> {
        match self.time {
            Some(time) if now.millis().saturating_add(CLOCK_TOLERANCE_MS) < time.millis() => {
                let message = format!("the clock says {now}, but it was {time} here before");
                Err(Refusal::new(RefusalCode::ClockBehind, message))
            }
            _ => Ok(()),
        }
    }
}

fn equivocation(what: &str, sequence: u64, known: Digest) -> Refusal {
    let message = format!("{what} of sequence {sequence} was {known} before, and is another one now");
    Refusal::new(RefusalCode::Equivocation, message)
}

fn channel(name: &str) -> Option<Place> {
    let (policy, channel) = name.split_once('@')?;
    let place = Place::Channel(policy.parse().ok()?, channel.parse::<ChannelName>().ok()?);
    // One text for one channel: `loan` would be read as `default/loan`.
    name.contains('/').then_some(place)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trust::tests::time;

    fn place(name: &str) -> Place {
        channel(name).unwrap()
    }

    fn seen() -> Seen {
        let mark = |sequence| Mark { sequence, digest: Digest::of(b"one") };
        let marks = [
            (place("bank/loan@production"), mark(7)),
            (Place::Revocations, mark(2)),
            (Place::Data("bank".parse().unwrap()), mark(3)),
        ];
        let seen = Seen { marks: marks.into(), ..Seen::default() };
        seen.note_trust(3)
            .note(&"loan".parse().unwrap(), Version::new(1, 2, 3))
            .note_time(time("2026-06-01T00:00:00Z"))
    }

    #[test]
    fn is_read_as_it_was_written() {
        for seen in [seen(), Seen::default()] {
            assert_eq!(Seen::parse(seen.render().as_bytes()).unwrap(), seen);
        }
    }

    #[test]
    fn the_format_before_channels_is_still_read() {
        let text =
            r#"{"format": "verdict-seen/1", "trust_version": 3, "versions": {"default/loan": "1.2.3"}}"#;
        let seen = Seen::parse(text.as_bytes()).unwrap();
        assert_eq!(seen.trust_version(), 3);
        assert_eq!(seen.version(&"loan".parse().unwrap()), Some(&Version::new(1, 2, 3)));
        assert!(Seen::parse(text.replace("seen/1", "seen/2").as_bytes()).is_err());
        assert!(Seen::parse(text.replace("seen/1", "seen/3").as_bytes()).is_err());
    }

    #[test]
    fn rejects_what_it_does_not_understand() {
        for (from, to) in [
            ("bank/loan@production", "bank/loan"),
            ("bank/loan@production", "loan@production"),
            ("bank/loan@production", "bank/loan@a@b"),
            ("\"time\"", "\"surprise\""),
            ("\"sequence\": 7", "\"sequence\": -7"),
        ] {
            let changed = seen().render().replace(from, to);
            assert!(changed != seen().render() && Seen::parse(changed.as_bytes()).is_err(), "{from} -> {to}");
        }
    }

    #[test]
    fn what_was_seen_only_grows() {
        let name: PolicyName = "loan".parse().unwrap();
        let seen = ["1.2.0", "1.10.0", "1.9.0", "1.10.0-rc.1"]
            .into_iter()
            .fold(Seen::default(), |seen, version| seen.note(&name, version.parse().unwrap()));
        assert_eq!(seen.version(&name).unwrap().to_string(), "1.10.0");
        let early = time("2026-01-01T00:00:00Z");
        assert_eq!(self::seen().note_time(early).time(), self::seen().time());
    }

    #[test]
    fn a_lower_sequence_is_a_step_back_and_the_same_must_be_the_same() {
        let code = |sequence, bytes: &[u8], order| {
            let checked =
                seen().check_document(&place("bank/loan@production"), sequence, Digest::of(bytes), order);
            checked.err().map(|refusal| refusal.code)
        };
        assert_eq!(code(6, b"one", Order::Newest), Some(RefusalCode::DocumentRollback));
        assert_eq!(code(6, b"one", Order::Named), None);
        assert_eq!(code(7, b"one", Order::Newest), None);
        assert_eq!(code(7, b"two", Order::Newest), Some(RefusalCode::Equivocation));
        assert_eq!(code(7, b"two", Order::Named), Some(RefusalCode::Equivocation));
        assert_eq!(code(8, b"two", Order::Newest), None);
        let other = place("bank/loan@staging");
        assert!(seen().check_document(&other, 1, Digest::of(b"two"), Order::Newest).is_ok());
    }

    #[test]
    fn a_clock_may_be_behind_by_the_tolerance_and_no_more() {
        let code = |now: &str| seen().check_time(time(now)).err().map(|refusal| refusal.code);
        assert_eq!(code("2026-05-31T23:55:00.000Z"), None);
        assert_eq!(code("2026-05-31T23:54:59.999Z"), Some(RefusalCode::ClockBehind));
        assert_eq!(code("2027-01-01T00:00:00Z"), None);
    }
}
