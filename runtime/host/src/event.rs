//! What happened in the registry, in the log of the tenant that it happened to.
//!
//! An event is a leaf beside the records of decisions: the canonical JSON text (RFC 8785) of an [`Event`], whose
//! `format` is `verdict-event/1`. A record has another format, and neither is read as the other: no decision has an
//! event's id, no receipt can be made of one. What concerns no tenant alone is in the log `system`. Nothing of it is
//! secret or depends on a question, so it is in clear, and it has no evidence.
//!
//! The numbers are the registry's own and rise in its log. An event may be there twice, after a crash or when the
//! registry was restored from a backup; one that is missing between two numbers happened elsewhere, or in another log.

use std::collections::BTreeMap;
use std::sync::PoisonError;

use serde::{Deserialize, Serialize};
use verdict_core::digest::Digest;
use verdict_core::name::Tenant;
use verdict_core::time::Timestamp;
use verdict_core::{jcs, json};
use verdict_ledger::{LEAF_BYTES_MAX, LogName};

use crate::Host;
use crate::error::HostError;

/// The format of an event.
pub const EVENT_FORMAT: &str = "verdict-event/1";
/// The log of what concerns no tenant alone.
const SYSTEM: &str = "system";

/// One thing that happened in the registry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Event {
    /// Who did it.
    pub actor: String,
    /// When, by the registry's clock.
    pub at: Timestamp,
    /// What ties it to a request and to other events.
    pub correlation: String,
    /// More about it, names and values; only its digest where the whole would not fit into a leaf.
    pub detail: BTreeMap<String, String>,
    /// The digest of what came or went.
    pub digest: Option<Digest>,
    /// What happened, such as `channel.changed`.
    pub kind: String,
    /// Its number in the registry, below 2^53.
    pub number: u64,
    /// What it happened to, such as `bank/loan@production`.
    pub subject: String,
    /// Whose it is; none when it concerns every tenant.
    pub tenant: Option<Tenant>,
}

/// An event as it is in the log.
#[derive(Serialize, Deserialize)]
struct Leaf<E> {
    event: E,
    format: String,
}

impl Event {
    /// The bytes of the leaf.
    ///
    /// # Errors
    /// When it has no canonical form, or is too large for a leaf even without its detail.
    pub fn to_bytes(&self) -> Result<Vec<u8>, HostError> {
        let bytes = self.whole()?;
        if bytes.len() <= LEAF_BYTES_MAX {
            return Ok(bytes);
        }
        let detail = jcs::canonical(&self.detail).map_err(|error| self.unwritable(&error))?;
        let digest = Digest::of(detail.as_bytes()).to_string();
        let detail = BTreeMap::from([("digest-of-detail".to_owned(), digest)]);
        let bytes = Self { detail, ..self.clone() }.whole()?;
        if bytes.len() <= LEAF_BYTES_MAX { Ok(bytes) } else { Err(self.unwritable(&"it is too large")) }
    }

    fn whole(&self) -> Result<Vec<u8>, HostError> {
        let leaf = Leaf { event: self, format: EVENT_FORMAT.into() };
        jcs::canonical(&leaf).map(String::into_bytes).map_err(|error| self.unwritable(&error))
    }

    fn unwritable(&self, reason: &dyn std::fmt::Display) -> HostError {
        HostError::Corrupt { what: "the event", id: self.number.to_string(), reason: reason.to_string() }
    }

    /// Reads the bytes of a leaf; none where they are not exactly what [`Event::to_bytes`] gives for some event.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let leaf: Leaf<Self> = json::parse(bytes, LEAF_BYTES_MAX).ok()?;
        let is_ours = leaf.format == EVENT_FORMAT && leaf.event.to_bytes().is_ok_and(|text| text == bytes);
        is_ours.then_some(leaf.event)
    }

    fn log(&self) -> Result<LogName, HostError> {
        Ok(self.tenant.as_ref().map_or(SYSTEM, Tenant::as_str).parse()?)
    }
}

impl Host {
    /// Appends an event to the log of its tenant, or to `system`; it is there when this returns. Nothing is done where
    /// the log is off.
    ///
    /// # Errors
    /// When it cannot be written, or the log failed.
    pub async fn append_event(&self, event: &Event) -> Result<(), HostError> {
        let Some(ledger) = &self.inner.ledger else { return Ok(()) };
        let log = event.log()?;
        if ledger.size(&log) == 0 {
            self.inner.state.keep_verifier_key(log.as_str(), &ledger.verifier_key(&log)?.to_string())?;
        }
        ledger.append(&log, event.to_bytes()?, Vec::new()).await?;
        *self.inner.last_event.lock().unwrap_or_else(PoisonError::into_inner) = Some(event.clone());
        Ok(())
    }

    /// The event that was appended last, by this process or an earlier one: where to go on.
    pub fn last_event(&self) -> Option<Event> {
        self.inner.last_event.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

#[cfg(test)]
mod tests {
    use verdict_core::record::Record;

    use super::*;

    fn event() -> Event {
        Event {
            actor: "rita".into(),
            at: Timestamp::EPOCH,
            correlation: "c-1".into(),
            detail: BTreeMap::from([("sequence".into(), "7".into())]),
            digest: Some(Digest::of(b"state")),
            kind: "channel.changed".into(),
            number: 12,
            subject: "bank/loan@production".into(),
            tenant: Some("bank".parse().unwrap()),
        }
    }

    #[test]
    fn is_read_as_it_was_written_and_never_as_a_record() {
        for event in [event(), Event { tenant: None, digest: None, detail: BTreeMap::new(), ..event() }] {
            let bytes = event.to_bytes().unwrap();
            assert_eq!(Event::parse(&bytes), Some(event));
            assert!(Record::parse(&bytes).is_err());
        }
        assert_eq!(event().log().unwrap().as_str(), "bank");
        assert_eq!(Event { tenant: None, ..event() }.log().unwrap().as_str(), "system");
    }

    #[test]
    fn another_text_of_the_same_event_is_none() {
        let text = String::from_utf8(event().to_bytes().unwrap()).unwrap();
        for (from, to) in
            [("{\"event", " {\"event"), ("event/1", "event/2"), ("\"number\":12", "\"number\":12.0")]
        {
            let changed = text.replacen(from, to, 1);
            assert!(changed != text && Event::parse(changed.as_bytes()).is_none(), "{from}");
        }
    }

    #[test]
    fn a_detail_that_does_not_fit_is_named_by_its_digest() {
        let detail = BTreeMap::from([("why".to_owned(), "x".repeat(LEAF_BYTES_MAX))]);
        let large = Event { detail, ..event() };
        let found = Event::parse(&large.to_bytes().unwrap()).unwrap();
        assert_eq!(found.number, 12);
        let digest = Digest::of(jcs::canonical(&large.detail).unwrap().as_bytes()).to_string();
        assert_eq!(found.detail.get("digest-of-detail"), Some(&digest));
        assert!(Event { subject: "x".repeat(LEAF_BYTES_MAX), ..event() }.to_bytes().is_err());
    }
}
