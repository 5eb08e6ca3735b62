//! What is asked of a policy, and what comes of it.

use verdict_core::outcome::{Answer, Fault};
use verdict_core::time::Timestamp;

use crate::document::Document;
use crate::reads::ReadSet;

/// One question to one policy.
#[derive(Debug, Clone, Copy)]
pub struct Query<'a> {
    /// The rule that is asked; one of the manifest's.
    pub rule: &'a str,
    /// The question's document.
    pub input: &'a Document,
    /// The tenant's data; what is not granted to the policy it cannot see.
    pub data: Option<&'a Document>,
    /// The time that the policy sees, if its manifest declares that.
    pub decision_time: Timestamp,
}

/// A message of the policy for operators.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogLine {
    /// Stable and for machines.
    pub code: String,
    /// For people.
    pub message: String,
}

/// What came of a question.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// An answer, or a fault. A denial is an answer; a fault never is.
    pub result: Result<Answer, Fault>,
    /// Of an answer, the fuel that it used. Of a fault, the full limit: after a trap the counter is stale.
    pub fuel: u64,
    /// Bytes of linear memory at the end, which is the peak: memory never shrinks.
    pub memory_bytes_peak: u64,
    /// What was read, in order.
    pub reads: ReadSet,
    /// What the policy logged, in order.
    pub log: Vec<LogLine>,
    /// Whether it asked for the decision time.
    pub saw_time: bool,
}
