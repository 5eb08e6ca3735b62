//! What is to be measured: a list of policies, each with a file of questions, one a line.

use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;
use verdict_core::time::Timestamp;
use verdict_engine::{Document, DocumentLimits, Query};

use crate::Result;

/// When decisions are made that do not say when.
pub(crate) const NOW: &str = "2026-06-01T00:00:00Z";

/// One policy, and what to measure of it.
#[derive(Deserialize)]
pub(crate) struct Plan {
    /// What its figures start with.
    pub(crate) figure: String,
    /// The folder of its build.
    pub(crate) build: PathBuf,
    /// Its data, if it has any.
    pub(crate) data: Option<PathBuf>,
    /// The file of questions.
    pub(crate) questions: PathBuf,
    pub(crate) measures: Vec<Measure>,
    /// Whether the 99th percentile is wanted too.
    #[serde(default)]
    pub(crate) tails: bool,
    /// Whether the policy is the one whose loading is timed.
    #[serde(default)]
    pub(crate) loads: bool,
    /// Under which name the answers can be compared with those of others.
    pub(crate) answers: Option<String>,
}

/// A way to evaluate.
#[derive(Clone, Copy, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Measure {
    /// In an instance reset in place, the document parsed before.
    Pristine,
    /// The same, with the time of parsing the input.
    Text,
    /// As pristine, and no fuel is counted.
    Nofuel,
    /// In a new instance each time.
    New,
    /// In one instance that is not reset: what isolation costs is the difference.
    Warm,
    /// Decisions a second of one thread, and of two.
    Threads,
}

/// One question, and what must come of it.
pub(crate) struct Question {
    pub(crate) rule: &'static str,
    pub(crate) input: Document,
    decision_time: Timestamp,
    /// The value of the answer; none if any will do.
    pub(crate) expect: Option<Value>,
}

#[derive(Deserialize)]
struct Line {
    rule: String,
    input: Box<RawValue>,
    decision_time: Option<Timestamp>,
    expect: Option<Value>,
}

impl Question {
    /// The questions of a file.
    pub(crate) fn read(path: &Path) -> Result<Vec<Self>> {
        let text = std::fs::read_to_string(path)?;
        let questions = text.lines().map(|line| {
            let line: Line = serde_json::from_str(line)?;
            Ok(Self {
                rule: line.rule.leak(),
                input: document(line.input.get())?,
                decision_time: line.decision_time.map_or_else(|| NOW.parse(), Ok)?,
                expect: line.expect,
            })
        });
        questions.collect()
    }

    pub(crate) fn query<'a>(&'a self, data: Option<&'a Document>) -> Query<'a> {
        Query { rule: self.rule, input: &self.input, data, decision_time: self.decision_time }
    }
}

/// A document within the usual limits.
pub(crate) fn document(text: &str) -> Result<Document> {
    Ok(Document::parse(text, &DocumentLimits::default())?)
}
