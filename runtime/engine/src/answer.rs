//! What a policy hands back: its types in the contract, and the check of what they hold.

use verdict_core::outcome::{Answer, Fault, FaultCode, Reason};
use wasmtime::component::{ComponentType, Lift};

use crate::document::{DOCUMENT_DEPTH_MAX, Document, DocumentLimits};

/// The result of `decide`.
pub(crate) type Decided = Result<WireAnswer, WireFailure>;

#[derive(Debug, ComponentType, Lift)]
#[component(record)]
pub(crate) struct WireAnswer {
    value: Option<String>,
    reasons: Vec<WireReason>,
}

#[derive(Debug, ComponentType, Lift)]
#[component(record)]
pub(crate) struct WireReason {
    code: String,
    message: String,
    rule: Option<String>,
    reference: Option<String>,
    pointers: Vec<String>,
}

#[derive(Debug, ComponentType, Lift)]
#[component(variant)]
pub(crate) enum WireFailure {
    #[component(name = "invalid-input")]
    InvalidInput(WireProblem),
    #[component(name = "missing-data")]
    MissingData(WireProblem),
    #[component(name = "internal")]
    Internal(WireProblem),
}

#[derive(Debug, ComponentType, Lift)]
#[component(record)]
pub(crate) struct WireProblem {
    code: String,
    message: String,
    pointer: Option<String>,
}

/// What each reason, and each of its pointers, counts besides its text: an empty one is not free.
const ITEM_BYTES: usize = 16;

/// Checks an answer against the limit on what a policy says, and its value against the rules for documents.
pub(crate) fn checked(decided: Decided, output_bytes_max: u64) -> Result<Answer, Fault> {
    let bytes = match &decided {
        Ok(answer) => answer_bytes(answer),
        Err(failure) => problem_bytes(failure.problem()),
    };
    if u64::try_from(bytes).map_or(true, |bytes| bytes > output_bytes_max) {
        return Err(too_large(output_bytes_max));
    }
    match decided {
        Ok(answer) => {
            if let Some(value) = &answer.value {
                check_value(value, output_bytes_max)?;
            }
            Ok(Answer {
                value: answer.value,
                reasons: answer.reasons.into_iter().map(Reason::from).collect(),
            })
        }
        Err(failure) => Err(failure.into()),
    }
}

/// The fault of an answer that is too large.
pub(crate) fn too_large(output_bytes_max: impl std::fmt::Display) -> Fault {
    let message = format!("the answer is larger than the limit of {output_bytes_max} bytes");
    Fault::new(FaultCode::InvalidOutput, message)
}

fn check_value(value: &str, bytes_max: u64) -> Result<(), Fault> {
    // Most answers are one of these.
    if matches!(value, "true" | "false" | "null") {
        return Ok(());
    }
    let limits = DocumentLimits { bytes_max, depth_max: DOCUMENT_DEPTH_MAX };
    Document::parse(value, &limits).map(drop).map_err(|error| {
        Fault::new(FaultCode::InvalidOutput, format!("the answer's value cannot be used: {error}"))
    })
}

fn answer_bytes(answer: &WireAnswer) -> usize {
    let optional = |text: &Option<String>| text.as_ref().map_or(0, String::len);
    let reason = |reason: &WireReason| {
        let pointers: usize = reason.pointers.iter().map(|pointer| pointer.len() + ITEM_BYTES).sum();
        reason.code.len()
            + reason.message.len()
            + optional(&reason.rule)
            + optional(&reason.reference)
            + pointers
    };
    optional(&answer.value) + answer.reasons.iter().map(|r| reason(r) + ITEM_BYTES).sum::<usize>()
}

fn problem_bytes(problem: &WireProblem) -> usize {
    problem.code.len() + problem.message.len() + problem.pointer.as_ref().map_or(0, String::len)
}

impl From<WireReason> for Reason {
    fn from(reason: WireReason) -> Self {
        let WireReason { code, message, rule, reference, pointers } = reason;
        Self { code, message, rule, reference, pointers }
    }
}

impl WireFailure {
    fn problem(&self) -> &WireProblem {
        match self {
            Self::InvalidInput(problem) | Self::MissingData(problem) | Self::Internal(problem) => problem,
        }
    }
}

impl From<WireFailure> for Fault {
    fn from(failure: WireFailure) -> Self {
        let (code, problem) = match failure {
            WireFailure::InvalidInput(problem) => (FaultCode::InvalidInput, problem),
            WireFailure::MissingData(problem) | WireFailure::Internal(problem) => {
                (FaultCode::PolicyError, problem)
            }
        };
        let WireProblem { code: policy_code, message, pointer } = problem;
        Self { code, message, policy_code: Some(policy_code), pointer }
    }
}
