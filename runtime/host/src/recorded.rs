//! Reading decisions back from the log and the evidence.

use std::sync::PoisonError;
use std::time::Duration;

use verdict_core::name::Tenant;
use verdict_core::outcome::{Answer, Fault};
use verdict_core::pointer::Pointer;
use verdict_core::record::{Field, Opening, Receipt, Record, Through};
use verdict_ledger::{Ledger, LogName, TlogProof};

use crate::cache::Cached;
use crate::decide::{Decision, Question, corrupt};
use crate::error::HostError;
use crate::event::Event;
use crate::evidence::Evidence;
use crate::ids::Ids;
use crate::load::Active;
use crate::replay::admitted;
use crate::{Inner, ReceiptState};

/// A decision as the log has it.
#[derive(Debug)]
pub(crate) struct Recorded {
    pub(crate) index: u64,
    pub(crate) leaf: Vec<u8>,
    pub(crate) record: Record,
    /// None once it was erased.
    pub(crate) evidence: Option<Evidence>,
}

/// Notes every id of the log. Returns the event that was appended last.
pub(crate) fn index(ledger: &Ledger, ids: &Ids) -> Result<Option<Event>, HostError> {
    let (mut unreadable, mut last) = (None, None);
    ledger.for_each(|log, index, leaf| match Record::parse(leaf) {
        Ok(record) => ids.record(log.as_str(), &record.id, index),
        Err(error) => match Event::parse(leaf) {
            Some(event) => last = Some(event),
            None => unreadable = unreadable.take().or(Some((index, error.to_string()))),
        },
    })?;
    match unreadable {
        None => Ok(last),
        Some((index, reason)) => Err(corrupt("the record", &format!("at index {index}"), &reason)),
    }
}

impl Inner {
    /// The decision with this id.
    pub(crate) fn find(&self, tenant: &Tenant, id: &str) -> Result<Option<Recorded>, HostError> {
        match self.ids.find(tenant.as_str(), id) {
            Some(index) => self.recorded(tenant, index).map(Some),
            None => Ok(None),
        }
    }

    pub(crate) fn recorded(&self, tenant: &Tenant, index: u64) -> Result<Recorded, HostError> {
        let place = format!("at index {index}");
        let Some(ledger) = &self.ledger else {
            return Err(corrupt("the record", &place, &"the log is off"));
        };
        let log: LogName = tenant.as_str().parse()?;
        let leaf = ledger.leaf(&log, index)?;
        let record = Record::parse(&leaf).map_err(|error| corrupt("the record", &place, &error))?;
        let evidence = match ledger.evidence(&log, index)? {
            None => None,
            Some(bytes) => Some(checked(&record, &bytes)?),
        };
        Ok(Recorded { index, leaf, record, evidence })
    }

    /// The decision in full; none where the evidence was erased. Whether it allows follows from the answer, which the
    /// record commits to, and from the manifest, which the author signed.
    pub(crate) fn decision(&self, recorded: &Recorded) -> Result<Option<Decision>, HostError> {
        let allow = match recorded.record.fault {
            // A fault allows nothing, whatever the manifest says.
            Some(_) => None,
            None => self.allow(&recorded.record)?,
        };
        Ok(recorded.decision(allow.as_ref()))
    }

    /// Where the manifest of the version that decided says that its answers allow.
    fn allow(&self, record: &Record) -> Result<Option<Pointer>, HostError> {
        let table = self.table.load();
        if let Some(active) =
            table.of_policy(&record.policy).find(|active| active.statement == record.statement)
        {
            return Ok(active.policy.manifest().allow.clone());
        }
        let allows = || self.allows.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(allow) = allows().get(&record.statement) {
            return Ok(allow.clone());
        }
        let artifact = admitted(self, record).map_err(|error| corrupt("the artifact", &record.id, &error))?;
        let allow = artifact.manifest().allow.clone();
        allows().insert(record.statement, allow.clone());
        Ok(allow)
    }

    pub(crate) fn receipt(&self, tenant: &Tenant, id: &str) -> Result<ReceiptState, HostError> {
        let Some(recorded) = self.find(tenant, id)? else { return Ok(ReceiptState::Unknown) };
        let Some(ledger) = &self.ledger else { return Ok(ReceiptState::Unknown) };
        let Some(proof) = ledger.proof(&tenant.as_str().parse()?, recorded.index)? else {
            return Ok(ReceiptState::NotYet);
        };
        let Some(evidence) = &recorded.evidence else { return Ok(ReceiptState::Erased) };
        let proof = TlogProof { extra: Some(recorded.leaf), ..proof };
        let openings = evidence.fields().iter().map(|(field, salt, bytes)| {
            // The caller has its own input; a receipt does not carry it around.
            let value = (*field != Field::Input).then(|| String::from_utf8_lossy(bytes).into_owned());
            (*field, Opening { salt: *salt, value })
        });
        Ok(ReceiptState::Ready(Box::new(Receipt::new(proof.to_string(), openings.collect()))))
    }
}

/// Evidence that is what the record commits to. Anything else was changed on the disk.
fn checked(record: &Record, bytes: &[u8]) -> Result<Evidence, HostError> {
    let error = |reason: &str| corrupt("the evidence", &record.id, &reason);
    let evidence = Evidence::decode(bytes).ok_or_else(|| error("it is not an entry"))?;
    if !record.commitments.fields().eq(evidence.fields().iter().map(|(field, ..)| *field)) {
        return Err(error("it has other fields than the record commits to"));
    }
    for (field, salt, bytes) in evidence.fields() {
        if record.commitments.of(*field) != &verdict_core::record::commitment(*field, salt, bytes) {
            return Err(error(&format!("field `{}` is not what the record commits to", field.name())));
        }
    }
    Ok(evidence)
}

impl Recorded {
    /// The decision in full, of a version whose manifest has this `allow`; none where the evidence was erased.
    fn decision(&self, allow: Option<&Pointer>) -> Option<Decision> {
        let evidence = self.evidence.as_ref()?;
        let record = &self.record;
        let result = match record.fault {
            Some(code) => Err(fault(code, evidence)),
            None => Ok(Answer {
                value: Some(evidence.text(Field::Answer).to_owned()).filter(|text| !text.is_empty()),
                reasons: serde_json::from_slice(evidence.bytes(Field::Reasons)).unwrap_or_default(),
            }),
        };
        Some(Decision {
            allow: result.as_ref().is_ok_and(|answer| answer.allows(allow)),
            id: record.id.clone(),
            policy: record.policy.clone(),
            channel: record.channel.clone(),
            version: record.version.to_string(),
            component: record.component,
            statement: record.statement,
            semantics: record.semantics,
            limits: record.limits,
            data: record.data,
            rule: evidence.text(Field::Rule).into(),
            fuel: evidence.text(Field::Fuel).parse().ok(),
            result,
            decision_time: record.decision_time,
            received_at: record.received_at,
            repeated: true,
            index: Some(self.index),
            log: Vec::new(),
            reads: serde_json::from_slice(evidence.bytes(Field::Reads)).unwrap_or_default(),
            cached: match evidence.text(Field::First) {
                "" => Cached::Off,
                first => Cached::Hit { first: first.into() },
            },
            elapsed: Duration::ZERO,
            memory_bytes_peak: None,
        })
    }

    /// Whether `question` is the one that it answered.
    pub(crate) fn answers(&self, active: &Active, through: Option<&Through>, question: &Question) -> bool {
        let Some(evidence) = &self.evidence else { return false };
        let channel = self.record.channel.as_ref();
        self.record.policy == active.name
            && channel.map(|channel| &channel.name) == through.map(|through| &through.name)
            && channel.is_none_or(|channel| channel.shadow_of.is_none())
            && evidence.text(Field::Rule) == question.rule.as_str()
            && evidence.text(Field::Caller) == question.caller
            && evidence.bytes(Field::Input) == question.input.text().as_bytes()
            && question.requested_time.is_none_or(|time| time == self.record.decision_time)
    }
}

fn fault(code: verdict_core::outcome::FaultCode, evidence: &Evidence) -> Fault {
    #[derive(serde::Deserialize)]
    struct Detail {
        message: String,
        policy_code: Option<String>,
        pointer: Option<String>,
    }
    match serde_json::from_slice::<Detail>(evidence.detail()) {
        Ok(detail) => {
            Fault { code, message: detail.message, policy_code: detail.policy_code, pointer: detail.pointer }
        }
        Err(_) => Fault::new(code, ""),
    }
}

#[cfg(test)]
mod tests {
    use verdict_core::digest::Digest;
    use verdict_core::limits::Limits;
    use verdict_core::outcome::FaultCode;
    use verdict_core::record::{Commitments, Salt, commitment};
    use verdict_core::time::Timestamp;

    use super::*;
    use crate::evidence::encode;

    fn fields() -> Vec<(Field, Salt, Vec<u8>)> {
        Field::ALL.iter().map(|field| (*field, [7; 32], field.name().as_bytes().to_vec())).collect()
    }

    fn encoded(fields: &[(Field, Salt, Vec<u8>)]) -> Vec<u8> {
        let fields = fields.iter().map(|(field, salt, bytes)| (*field, *salt, &bytes[..]));
        encode(&fields.collect::<Vec<_>>(), None)
    }

    fn record() -> Record {
        let commitments =
            fields().into_iter().map(|(field, salt, bytes)| (field, commitment(field, &salt, &bytes)));
        Record {
            id: "d-1".into(),
            policy: "loan".parse().unwrap(),
            channel: None,
            version: "1.0.0".parse().unwrap(),
            component: Digest::of(b"component"),
            statement: Digest::of(b"statement"),
            data: None,
            decision_time: Timestamp::EPOCH,
            received_at: Timestamp::EPOCH,
            semantics: 1,
            limits: Limits::default(),
            fault: None,
            commitments: Commitments::from_iter(commitments),
        }
    }

    #[test]
    fn evidence_that_somebody_wrote_anew_is_not_what_the_record_commits_to() {
        assert!(checked(&record(), &encoded(&fields())).is_ok());
        for index in 0..Field::ALL.len() {
            // Well formed and, on the disk, with a checksum that fits: only the commitment tells.
            let (mut bytes, mut salt) = (fields(), fields());
            bytes[index].2.push(b'!');
            salt[index].1[0] ^= 1;
            for changed in [bytes, salt] {
                let error = checked(&record(), &encoded(&changed)).unwrap_err();
                assert!(error.to_string().contains(Field::ALL[index].name()), "{error}");
            }
        }
    }
    #[test]
    fn whether_it_allows_follows_from_the_answer_and_the_manifest() {
        let allows = |answer: &str, fault: Option<FaultCode>, allow: Option<&str>| {
            let mut fields = fields();
            fields[0].2 = answer.into();
            let recorded = Recorded {
                index: 0,
                leaf: Vec::new(),
                record: Record { fault, ..record() },
                evidence: Evidence::decode(&encoded(&fields)),
            };
            let pointer = allow.map(|text| text.parse().unwrap());
            recorded.decision(pointer.as_ref()).unwrap().allow
        };
        assert!(allows("true", None, None));
        assert!(allows(r#"{"allow": false, "ok": true}"#, None, Some("/ok")));
        assert!(!allows(r#"{"allow": false, "ok": true}"#, None, None));
        assert!(!allows("", None, None));
        assert!(!allows("true", Some(FaultCode::Trap), None));
    }
}
