//! What an answer says besides the decision, for those who ask for it: what answered, what it took, what it rests on.

use std::collections::HashSet;
use std::io::Write;
use std::time::Duration;

use serde::Serialize;
use verdict::Decision;
use verdict::core::digest::Digest;
use verdict::core::limits::Limits;
use verdict::core::outcome::Reason;
use verdict::engine::{Operation, Read, Source};

use crate::query::More;

/// What an answer says besides the decision.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Besides<'a> {
    pub(crate) more: More,
    /// What makes the engine's machine code.
    pub(crate) build: &'a str,
    /// The length of the input.
    pub(crate) input_bytes: usize,
    /// How long its record was waited for after the evaluation.
    pub(crate) waited: Duration,
}

/// By what rules the decision came about, and where its proof is. Version, component, data and channel are in every
/// answer.
#[derive(Serialize)]
struct Provenance<'a> {
    /// The digest of the author's statement about the version.
    statement: Digest,
    semantics: u32,
    limits: Limits,
    build: &'a str,
    /// Where the receipt is; not there for what is not recorded.
    #[serde(skip_serializing_if = "Option::is_none")]
    receipt: Option<String>,
}

/// What the decision took. What is not known of an earlier decision is not there.
#[derive(Serialize)]
struct Metrics {
    #[serde(skip_serializing_if = "Option::is_none")]
    evaluation_ns: Option<u128>,
    #[serde(skip_serializing_if = "Option::is_none")]
    durable_ns: Option<u128>,
    #[serde(skip_serializing_if = "Option::is_none")]
    fuel: Option<u64>,
    fuel_limit: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    memory_bytes_peak: Option<u64>,
    input_bytes: usize,
    output_bytes: usize,
}

/// A place that was read.
#[derive(Serialize)]
struct Explained<'a> {
    document: Source,
    operation: Operation,
    pointer: &'a str,
    absent: bool,
    /// The codes of the reasons that name this place of the input, or one inside of it.
    reasons: Vec<&'a str>,
}

impl Besides<'_> {
    /// Writes the members that are wanted, each after a comma.
    pub(crate) fn write(&self, out: &mut Vec<u8>, decision: &Decision) -> std::io::Result<()> {
        if self.more.provenance {
            out.write_all(b",\"provenance\":")?;
            serde_json::to_writer(&mut *out, &self.provenance(decision))?;
        }
        if self.more.metrics {
            out.write_all(b",\"metrics\":")?;
            serde_json::to_writer(&mut *out, &self.metrics(decision))?;
        }
        if self.more.explain {
            out.write_all(b",\"explain\":")?;
            serde_json::to_writer(&mut *out, &explained(decision))?;
        }
        Ok(())
    }

    fn provenance(&self, decision: &Decision) -> Provenance<'_> {
        let (tenant, id) = (decision.policy.tenant(), &decision.id);
        let receipt = || format!("/v1/tenants/{tenant}/decisions/{id}/receipt");
        Provenance {
            statement: decision.statement,
            semantics: decision.semantics,
            limits: decision.limits,
            build: self.build,
            receipt: decision.index.is_some().then(receipt),
        }
    }

    fn metrics(&self, decision: &Decision) -> Metrics {
        let value = decision.result.as_ref().ok().and_then(|answer| answer.value.as_deref());
        let is_new = !decision.repeated;
        Metrics {
            evaluation_ns: is_new.then_some(decision.elapsed.as_nanos()),
            durable_ns: (is_new && decision.index.is_some()).then_some(self.waited.as_nanos()),
            fuel: decision.fuel,
            fuel_limit: decision.limits.fuel,
            memory_bytes_peak: decision.memory_bytes_peak,
            input_bytes: self.input_bytes,
            output_bytes: value.map_or(0, str::len),
        }
    }
}

/// What was read, in the order in which it was read first.
fn explained(decision: &Decision) -> Vec<Explained<'_>> {
    let reasons = decision.result.as_ref().map_or(&[][..], |answer| answer.reasons.as_slice());
    let mut seen = HashSet::new();
    let first = decision.reads.iter().filter(|read| seen.insert(*read));
    first.map(|read| explain(read, reasons)).collect()
}

fn explain<'a>(read: Read<'a>, reasons: &'a [Reason]) -> Explained<'a> {
    let Read { absent, document, operation, pointer } = read;
    // Pointers of reasons are into the input.
    let is_there = |named: &String| {
        document == Source::Input
            && named.strip_prefix(pointer).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    let naming = reasons.iter().filter(|reason| reason.pointers.iter().any(is_there));
    let mut reasons: Vec<&str> = naming.map(|reason| reason.code.as_str()).collect();
    reasons.dedup();
    Explained { document, operation, pointer, absent, reasons }
}
