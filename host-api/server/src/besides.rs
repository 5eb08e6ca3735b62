//! What an answer says besides the decision, for those who ask for it: what answered, what it took, what it rests on.

use std::collections::HashSet;
use std::io::Write;
use std::time::Duration;

use serde::Serialize;
use verdict::Decision;
use verdict::core::digest::Digest;
use verdict::core::limits::Limits;
use verdict::core::outcome::{Answer, Fault, Reason};
use verdict::engine::{Operation, Read, ReadSet, Source};

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
pub(crate) struct Explained<'a> {
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
            serde_json::to_writer(&mut *out, &explained(&decision.reads, &decision.result))?;
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
pub(crate) fn explained<'a>(reads: &'a ReadSet, result: &'a Result<Answer, Fault>) -> Vec<Explained<'a>> {
    let reasons = result.as_ref().map_or(&[][..], |answer| answer.reasons.as_slice());
    let mut seen = HashSet::new();
    let first = reads.iter().filter(|read| seen.insert(*read));
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

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::wire::tests::decision;

    fn reason(code: &str, pointers: &[&str]) -> Reason {
        let pointers = pointers.iter().map(ToString::to_string).collect();
        Reason { code: code.into(), message: String::new(), pointers, reference: None, rule: None }
    }

    fn read(document: &str, operation: &str, pointer: &str, absent: bool) -> Value {
        json!({"absent": absent, "document": document, "operation": operation, "pointer": pointer})
    }

    #[test]
    fn each_place_is_explained_once_with_the_reasons_that_rest_on_it() {
        let reasons = vec![
            reason("young", &["/age"]),
            reason("poor", &["/income/net", "/income/gross"]),
            reason("odd", &[]),
        ];
        let reads = json!([
            read("input", "read", "/age", false),
            read("data", "read", "/age", false),
            read("input", "json", "/income", false),
            read("input", "read", "/in", true),
            read("input", "read", "/age", false),
            read("input", "keys", "/age", true),
        ]);
        let decision = Decision {
            reads: serde_json::from_value(reads.clone()).unwrap(),
            ..decision(Ok(Answer { value: None, reasons }))
        };
        let of = |at: usize, reasons: &[&str]| {
            let mut read = reads[at].clone();
            read["reasons"] = json!(reasons);
            read
        };
        // `/in` is no part of `/income`, and what the data has at a place no reason names.
        let expected = [of(0, &["young"]), of(1, &[]), of(2, &["poor"]), of(3, &[]), of(5, &["young"])];
        assert_eq!(json!(explained(&decision.reads, &decision.result)), json!(expected));
    }

    #[test]
    fn nothing_is_said_that_nobody_asked_for() {
        let mut out = Vec::new();
        Besides::default()
            .write(&mut out, &decision(Ok(Answer { value: None, reasons: Vec::new() })))
            .unwrap();
        assert!(out.is_empty());
    }

    #[test]
    fn what_is_not_recorded_has_no_receipt_and_was_waited_for_by_nobody() {
        let besides =
            Besides { more: More { provenance: true, metrics: true, explain: false }, ..Besides::default() };
        let said = |index| {
            let decision = Decision { index, ..decision(Ok(Answer { value: None, reasons: Vec::new() })) };
            let mut out = b"{\"x\":0".to_vec();
            besides.write(&mut out, &decision).unwrap();
            out.push(b'}');
            serde_json::from_slice::<Value>(&out).unwrap()
        };
        let (recorded, unrecorded) = (said(Some(7)), said(None));
        assert_eq!(recorded["provenance"]["receipt"], "/v1/tenants/acme/decisions/d-1/receipt");
        assert_eq!(unrecorded["provenance"].get("receipt"), None);
        assert_eq!(
            (recorded["metrics"]["durable_ns"].as_u64(), unrecorded["metrics"].get("durable_ns")),
            (Some(0), None)
        );
    }
}
