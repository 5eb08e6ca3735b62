//! What a rule returns.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use serde::Serialize;

use crate::bindings::exports::verdict::policy::decision as wit;

/// What a rule says: a value, or nothing (undefined), and reasons.
///
/// ```
/// use verdict_sdk::{Decision, Reason};
///
/// let decision = Decision::deny()
///     .because(Reason::new("income-too-low", "the income does not carry the instalments").on("/income"));
/// assert_eq!(decision.json(), Some("false"));
/// assert_eq!(decision.reasons()[0].code(), "income-too-low");
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
#[must_use = "a rule says something only by returning its decision"]
pub struct Decision {
    json: Option<String>,
    reasons: Vec<Reason>,
}

impl Decision {
    /// The answer `true`.
    pub fn allow() -> Self {
        Self::from(true)
    }

    /// The answer `false`.
    pub fn deny() -> Self {
        Self::from(false)
    }

    /// The rule has nothing to say about this question. A gateway denies.
    pub fn undefined() -> Self {
        Self { json: None, reasons: Vec::new() }
    }

    /// Any JSON value. If the manifest names no `allow` pointer, a boolean or the member `allow` decides at a gateway.
    ///
    /// # Errors
    /// [`Failure::internal`] if JSON cannot express the value, such as a map with keys that are not strings.
    ///
    /// ```
    /// use verdict_sdk::Decision;
    ///
    /// #[derive(serde::Serialize)]
    /// struct Offer { allow: bool, rate: f64 }
    ///
    /// let decision = Decision::value(&Offer { allow: true, rate: 4.5 })?;
    /// assert_eq!(decision.json(), Some(r#"{"allow":true,"rate":4.5}"#));
    /// # Ok::<(), verdict_sdk::Failure>(())
    /// ```
    pub fn value<T: Serialize + ?Sized>(value: &T) -> Result<Self, Failure> {
        let json = serde_json::to_string(value)
            .map_err(|error| Failure::internal("value-not-json", error.to_string()))?;
        Ok(Self { json: Some(json), reasons: Vec::new() })
    }

    /// The object `{"allow": …}`: the form to choose where members may be added to the answer later.
    pub fn object(allow: bool) -> Self {
        let json = if allow { r#"{"allow":true}"# } else { r#"{"allow":false}"# };
        Self { json: Some(json.into()), reasons: Vec::new() }
    }

    /// Adds a reason, after those that are there.
    pub fn because(mut self, reason: Reason) -> Self {
        self.reasons.push(reason);
        self
    }

    /// Adds reasons, in their order.
    pub fn because_all(mut self, reasons: impl IntoIterator<Item = Reason>) -> Self {
        self.reasons.extend(reasons);
        self
    }

    /// The answer as JSON text; none if undefined.
    #[must_use]
    pub fn json(&self) -> Option<&str> {
        self.json.as_deref()
    }

    /// The reasons, in the order in which they were added.
    pub fn reasons(&self) -> &[Reason] {
        &self.reasons
    }

    pub(crate) fn into_wit(self) -> wit::Answer {
        wit::Answer { value: self.json, reasons: self.reasons.into_iter().map(|reason| reason.0).collect() }
    }
}

impl From<bool> for Decision {
    fn from(allow: bool) -> Self {
        Self { json: Some(if allow { "true" } else { "false" }.into()), reasons: Vec::new() }
    }
}

/// Why a decision is what it is: a stable code for machines, a sentence for people, and what it rests on.
#[derive(Clone, Debug, Eq, PartialEq)]
#[must_use = "a reason counts only when it is added to a decision"]
pub struct Reason(wit::Reason);

impl Reason {
    /// `code` is stable, such as `income-too-low`; `message` is for people.
    pub fn new(code: impl Into<String>, message: impl Into<String>) -> Self {
        Self(wit::Reason {
            code: code.into(),
            message: message.into(),
            rule: None,
            reference: None,
            pointers: Vec::new(),
        })
    }

    /// The rule or paragraph of the policy that spoke.
    pub fn rule(mut self, rule: impl Into<String>) -> Self {
        self.0.rule = Some(rule.into());
        self
    }

    /// The key of one of the manifest's legal references.
    pub fn reference(mut self, key: impl Into<String>) -> Self {
        self.0.reference = Some(key.into());
        self
    }

    /// An RFC 6901 pointer to a place in the input that this reason rests on. May be called several times.
    pub fn on(mut self, pointer: impl Into<String>) -> Self {
        self.0.pointers.push(pointer.into());
        self
    }

    /// The stable code.
    #[must_use]
    pub fn code(&self) -> &str {
        &self.0.code
    }

    /// The sentence for people.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// The key of the legal reference, if there is one.
    #[must_use]
    pub fn legal_reference(&self) -> Option<&str> {
        self.0.reference.as_deref()
    }

    /// The places in the input that this reason rests on.
    #[must_use]
    pub fn pointers(&self) -> &[String] {
        &self.0.pointers
    }
}

/// Why a question cannot be answered. Never an answer, and never an allow: whoever asked gets a fault.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Failure(wit::Failure);

impl Failure {
    /// The caller's fault: the input is not what this rule takes.
    #[must_use]
    pub fn invalid_input(code: impl Into<String>, message: impl Into<String>) -> Self {
        Self(wit::Failure::InvalidInput(problem(code.into(), message.into())))
    }

    /// The operator's fault: data that the rule needs is not there, or not of its form.
    #[must_use]
    pub fn missing_data(code: impl Into<String>, message: impl Into<String>) -> Self {
        Self(wit::Failure::MissingData(problem(code.into(), message.into())))
    }

    /// The policy's own fault.
    #[must_use]
    pub fn internal(code: impl Into<String>, message: impl Into<String>) -> Self {
        Self(wit::Failure::Internal(problem(code.into(), message.into())))
    }

    /// The RFC 6901 pointer to the place in the input or the data.
    #[must_use]
    pub fn at(mut self, pointer: impl Into<String>) -> Self {
        let (wit::Failure::InvalidInput(problem)
        | wit::Failure::MissingData(problem)
        | wit::Failure::Internal(problem)) = &mut self.0;
        problem.pointer = Some(pointer.into());
        self
    }

    /// The stable code.
    #[must_use]
    pub fn code(&self) -> &str {
        &self.problem().code
    }

    /// The sentence for people.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.problem().message
    }

    /// The place in the input or the data, if it is known.
    #[must_use]
    pub fn pointer(&self) -> Option<&str> {
        self.problem().pointer.as_deref()
    }

    /// The class of the fault that the host makes of this.
    #[cfg(not(target_family = "wasm"))]
    pub(crate) fn fault(&self) -> &'static str {
        match self.0 {
            wit::Failure::InvalidInput(_) => "invalid-input",
            wit::Failure::MissingData(_) | wit::Failure::Internal(_) => "policy-error",
        }
    }

    pub(crate) fn unknown_rule(rule: &str) -> Self {
        Self::internal(
            "unknown-rule",
            format!("the manifest names the rule `{rule}`, the policy does not have it"),
        )
    }

    pub(crate) fn into_wit(self) -> wit::Failure {
        self.0
    }

    fn problem(&self) -> &wit::Problem {
        let (wit::Failure::InvalidInput(problem)
        | wit::Failure::MissingData(problem)
        | wit::Failure::Internal(problem)) = &self.0;
        problem
    }
}

fn problem(code: String, message: String) -> wit::Problem {
    wit::Problem { code, message, pointer: None }
}
