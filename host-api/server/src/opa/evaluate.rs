//! Decisions about what is at a place.

use serde_json::value::RawValue;
use verdict::{Decision, Pending, Request};

use super::body::Input;
use super::call::Call;
use super::refused::Refused;
use super::target::Target;
use crate::ask;
use crate::error::ApiError;

/// What came of a question.
#[derive(Debug)]
pub(super) struct Found {
    /// The value; none where it is undefined.
    pub(super) value: Option<Box<RawValue>>,
    pub(super) decisions: Vec<Decision>,
}

/// Decisions on their way into the log.
pub(super) struct Asked {
    pending: Vec<Pending>,
}

impl Asked {
    /// Asks all rules of a target about one input.
    pub(super) async fn about(call: &Call, target: &Target, input: &Input) -> Result<Self, Refused> {
        let mut pending = Vec::new();
        for (policy, rule) in target.questions() {
            let request = Request {
                policy: policy.clone(),
                channel: None,
                rule: Some(rule.to_string()),
                input: input.text.clone().into_bytes(),
                id: None,
                decision_time: None,
                caller: call.principal.caller().map(ToOwned::to_owned),
            };
            let evaluated = ask::evaluate(&call.app, request).await?;
            pending.push(evaluated.map_err(|error| ApiError::of_decision(error, &input.text))?);
        }
        Ok(Self { pending })
    }

    /// The answer, once every decision of it is durable. One fault, and there is none.
    pub(super) async fn durable(self, target: &Target) -> Result<Found, Refused> {
        let mut decisions = Vec::with_capacity(self.pending.len());
        for pending in self.pending {
            decisions.push(*ask::recorded(pending).await.map_err(ApiError::from)?);
        }
        let faults =
            decisions.iter().filter_map(|decision| Some((decision, decision.result.as_ref().err()?)));
        if let Some((decision, fault)) = faults.into_iter().next() {
            return Err(Refused::of_fault(&decision.rule, fault));
        }
        let value = target.value(&decisions).map(RawValue::from_string).transpose();
        let value = value.map_err(|error| {
            tracing::error!(%error, "a value has no form in JSON");
            Refused::from(crate::api::Problem::internal())
        })?;
        Ok(Found { value, decisions })
    }
}

/// Asks, and waits for the answer.
pub(super) async fn evaluate(call: &Call, target: &Target, input: &Input) -> Result<Found, Refused> {
    Asked::about(call, target, input).await?.durable(target).await
}
