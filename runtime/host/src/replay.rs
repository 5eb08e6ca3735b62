//! Replay: a past decision, evaluated again, must come out identical, down to the fuel.
//!
//! Two ways in: from a node's own state ([`Host::replay`](crate::Host::replay)), and from what anyone can hold: a
//! receipt, the caller's own input, the artifact, and the data ([`of_receipt`]).

use serde::Serialize;
use verdict_core::artifact::{self, AdmittedArtifact, UnverifiedArtifact};
use verdict_core::digest::Digest;
use verdict_core::name::Tenant;
use verdict_core::outcome::FaultCode;
use verdict_core::record::{Field, Receipt, Record};
use verdict_core::refusal::{Refusal, RefusalCode};
use verdict_engine::{Compiler, DOCUMENT_DEPTH_MAX, Document, DocumentLimits, Engine, Query};
use verdict_registry::Layout;

use crate::Inner;
use crate::error::HostError;
use crate::recorded::Recorded;

/// The result of a replay.
#[derive(Debug, Clone, Serialize)]
pub struct Replay {
    /// The decision.
    pub id: String,
    /// Whether everything came out identical.
    pub identical: bool,
    /// What was compared.
    pub compared: Vec<&'static str>,
    /// What differs.
    pub differences: Vec<Difference>,
}

/// One field that came out differently.
#[derive(Debug, Clone, Serialize)]
pub struct Difference {
    /// The field.
    pub field: &'static str,
    /// What the record stands for.
    pub recorded: String,
    /// What came out now.
    pub replayed: String,
}

/// A replay is not possible.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// There is no such decision.
    #[error("no decision has the id `{0}`")]
    Unknown(String),
    /// Its evidence was erased.
    #[error("the evidence of decision `{0}` was erased: it can be proved, and not be replayed")]
    Erased(String),
    /// Its outcome depended on the machine.
    #[error("decision `{id}` ended in `{fault}`, which depends on the machine and cannot be replayed")]
    NotReplayable {
        /// The decision.
        id: String,
        /// Its fault.
        fault: FaultCode,
    },
    /// It was made under other semantics.
    #[error("decision `{id}` was made under semantics {recorded}; this build has semantics {here}")]
    Semantics {
        /// The decision.
        id: String,
        /// The record's number.
        recorded: u32,
        /// This build's number.
        here: u32,
    },
    /// The artifact is not the one that decided.
    #[error("the artifact cannot be used: {0}")]
    Artifact(#[from] Refusal),
    /// Something given is not what the record commits to.
    #[error("the {0} is not what the record commits to")]
    Mismatch(&'static str),
    /// Something that the decision rests on is not given.
    #[error("the decision rests on {what}, which is missing; {help}")]
    Missing {
        /// What.
        what: &'static str,
        /// Where to get it.
        help: &'static str,
    },
    /// A document cannot be read.
    #[error("the {0} cannot be read: {1}")]
    Document(&'static str, verdict_engine::DocumentError),
    /// The record or receipt cannot be read.
    #[error(transparent)]
    Receipt(#[from] verdict_core::record::RecordError),
    /// The host failed.
    #[error(transparent)]
    Host(#[from] HostError),
}

/// What a decision rests on, and what came of it.
struct Case<'a> {
    record: &'a Record,
    rule: &'a str,
    input: Vec<u8>,
    data: Option<Vec<u8>>,
    /// The recorded bytes, of the fields that are known.
    expected: Vec<(Field, &'a str)>,
}

pub(crate) fn of_state(inner: &Inner, tenant: &Tenant, id: &str) -> Result<Replay, ReplayError> {
    let Some(Recorded { record, evidence, .. }) = inner.find(tenant, id)? else {
        return Err(ReplayError::Unknown(id.into()));
    };
    let Some(evidence) = evidence else { return Err(ReplayError::Erased(id.into())) };
    let artifact = admitted(inner, &record)?;
    let data = match &record.data {
        Some(digest) => Some(inner.state.data(digest)?),
        None => None,
    };
    let case = Case {
        record: &record,
        rule: evidence.text(Field::Rule),
        input: evidence.bytes(Field::Input).to_vec(),
        data,
        expected: COMPARED.iter().map(|field| (*field, evidence.text(*field))).collect(),
    };
    run(&case, &artifact, inner.config.compiler.clone())
}

/// The version that decided, from the copies that are kept. Versions may share a component: the record names the
/// statement, too.
pub(crate) fn admitted(inner: &Inner, record: &Record) -> Result<AdmittedArtifact, ReplayError> {
    let mut refusal = None;
    for path in verdict_registry::find(&inner.state.artifacts())? {
        let artifact = Layout::open(&path).and_then(|layout| layout.fetch());
        match artifact.and_then(|artifact| artifact::admit_recorded(artifact, record)) {
            Ok(admitted) => return Ok(admitted),
            Err(error) if error.code == RefusalCode::WrongSubject => {}
            Err(error) => refusal = Some(error),
        }
    }
    Err(refusal.map_or(
        ReplayError::Missing { what: "its artifact", help: "restore the `artifacts` folder of the state" },
        ReplayError::Artifact,
    ))
}

/// Replays from what anyone can hold. The receipt's proof is not checked here: verify it first.
///
/// # Errors
/// When one of them is not what the record commits to, or the outcome cannot be replayed.
pub fn of_receipt(
    record: &Record,
    receipt: &Receipt,
    input: Vec<u8>,
    data: Option<Vec<u8>>,
    artifact: UnverifiedArtifact,
    compiler: Compiler,
) -> Result<Replay, ReplayError> {
    receipt.check_openings(record)?;
    receipt.check_value(record, Field::Input, &input)?;
    let value = |field| receipt.opening(field).and_then(|opening| opening.value.as_deref());
    let Some(rule) = value(Field::Rule) else {
        return Err(ReplayError::Missing { what: "its rule", help: "give a receipt that discloses `rule`" });
    };
    let data = match (&record.data, data) {
        (None, _) => None,
        (Some(_), None) => {
            return Err(ReplayError::Missing { what: "data", help: "give the snapshot that it names" });
        }
        (Some(digest), Some(bytes)) if Digest::of(&bytes) == *digest => Some(bytes),
        (Some(_), Some(_)) => return Err(ReplayError::Mismatch("data")),
    };
    let expected = COMPARED.iter().filter_map(|field| Some((*field, value(*field)?))).collect();
    let artifact = artifact::admit_recorded(artifact, record)?;
    run(&Case { record, rule, input, data, expected }, &artifact, compiler)
}

/// What must come out identical.
const COMPARED: [Field; 4] = [Field::Answer, Field::Reasons, Field::Fuel, Field::Reads];

fn run(case: &Case<'_>, artifact: &AdmittedArtifact, compiler: Compiler) -> Result<Replay, ReplayError> {
    let record = case.record;
    if record.semantics != verdict_engine::SEMANTICS {
        let (id, here) = (record.id.clone(), verdict_engine::SEMANTICS);
        return Err(ReplayError::Semantics { id, recorded: record.semantics, here });
    }
    if let Some(fault) = record.fault.filter(|fault| !fault.is_replayable()) {
        return Err(ReplayError::NotReplayable { id: record.id.clone(), fault });
    }
    // The recorded limits are at or below what the manifest asks for, so as a ceiling they are the effective ones.
    let config = verdict_engine::Config { ceiling: record.limits, ..verdict_engine::Config::new(compiler) };
    let engine = Engine::new(config).map_err(HostError::from)?;
    let policy = engine.load(artifact)?;
    let parse = |what, bytes: Vec<u8>| {
        let limits = DocumentLimits { bytes_max: u64::MAX, depth_max: DOCUMENT_DEPTH_MAX };
        Document::parse(bytes, &limits).map_err(|error| ReplayError::Document(what, error))
    };
    let input = parse("input", case.input.clone())?;
    let data = case.data.clone().map(|bytes| parse("data", bytes)).transpose()?;
    let outcome = policy.evaluate(&Query {
        rule: case.rule,
        input: &input,
        data: data.as_ref(),
        decision_time: record.decision_time,
    });
    let mut replay =
        Replay { id: record.id.clone(), identical: true, compared: vec!["fault"], differences: Vec::new() };
    let fault = outcome.result.as_ref().err().map(|fault| fault.code);
    let code = |fault: Option<FaultCode>| fault.map_or("none", FaultCode::code).to_owned();
    replay.compare("fault", &code(record.fault), code(fault));
    let replayed = crate::decide::fields(&outcome, &record.id)?;
    for (field, recorded) in &case.expected {
        replay.compared.push(field.name());
        replay.compare(field.name(), recorded, replayed.text(*field).to_owned());
    }
    Ok(replay)
}

impl Replay {
    fn compare(&mut self, field: &'static str, recorded: &str, replayed: String) {
        if recorded != replayed {
            self.identical = false;
            self.differences.push(Difference { field, recorded: recorded.to_owned(), replayed });
        }
    }
}
