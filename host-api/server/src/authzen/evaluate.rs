//! Evaluations, one (6) and many (7).

use std::sync::Arc;

use axum::http::StatusCode;
use verdict::{DecideError, Pending};

use super::answer::{self, Outcome};
use super::question::Question;
use super::request::{Members, Semantic};
use crate::ask;
use crate::batch::{Evaluated, Ready, Run};
use crate::error::ApiError;
use crate::routes::App;

/// The rule that answers evaluations, where a policy has several.
const RULE: &str = "evaluation";

/// Access Evaluation.
pub(super) async fn one(app: &Arc<App>, question: &Question) -> Result<Vec<u8>, ApiError> {
    let members = Members::read(question.text()?)?;
    single(app, question, &members).await
}

/// Access Evaluations.
pub(super) async fn many(app: &Arc<App>, question: &Question) -> Result<Vec<u8>, ApiError> {
    let members = Members::read(question.text()?)?;
    let (items, semantic) = (members.items()?, members.semantic()?);
    if items.is_empty() {
        return single(app, question, &members).await;
    }
    members.check_defaults()?;
    let inputs = items.into_iter().map(|item| Members::item(item.get())?.evaluation(&members));
    let outcomes = match semantic {
        Semantic::ExecuteAll => all(app, question, inputs).await?,
        Semantic::DenyOnFirstDeny => until(app, question, inputs, false).await?,
        Semantic::PermitOnFirstPermit => until(app, question, inputs, true).await?,
    };
    answer::all(&outcomes)
}

async fn single(app: &Arc<App>, question: &Question, members: &Members<'_>) -> Result<Vec<u8>, ApiError> {
    let input = members.evaluation(&Members::default())?;
    let decision = ask::recorded(begin(app, question, input).await?).await?;
    answer::single(&decision)
}

/// Every evaluation, whatever becomes of the others. Their records become durable together.
async fn all(
    app: &Arc<App>,
    question: &Question,
    inputs: impl Iterator<Item = Result<String, ApiError>>,
) -> Result<Vec<Outcome>, ApiError> {
    let inputs: Vec<_> = inputs.collect();
    let run = Run::new(app, &question.policy, question.channel.as_ref(), inputs.len()).await?;
    let ask = |rule: Option<&str>, input: &Result<String, ApiError>| -> Ready {
        Ok(question.ask(rule, input.clone()?.into_bytes()))
    };
    let mut evaluated = run.evaluate(inputs.iter().map(|input| ask(Some(RULE), input)).collect()).await?;
    let missed = inputs.iter().zip(&evaluated).filter(|(_, evaluated)| is_of_unknown_rule(evaluated));
    let again: Vec<Ready> = missed.map(|(input, _)| ask(None, input)).collect();
    if !again.is_empty() {
        let missed = evaluated.iter_mut().filter(|evaluated| is_of_unknown_rule(evaluated));
        for (evaluated, again) in missed.zip(run.evaluate(again).await?) {
            // Where there are other rules, they answer something else.
            if !is_of_unknown_rule(&again) {
                *evaluated = again;
            }
        }
    }
    let mut outcomes = Vec::with_capacity(evaluated.len());
    for evaluated in evaluated {
        outcomes.push(match each(evaluated.and_then(|asked| Ok(asked?)))? {
            Ok(pending) => ask::recorded(pending).await.map_err(ApiError::from),
            Err(error) => Err(error),
        });
    }
    Ok(outcomes)
}

fn is_of_unknown_rule(evaluated: &Evaluated) -> bool {
    matches!(evaluated, Ok(Err(DecideError::UnknownRule { .. })))
}

/// One evaluation after the other, until one comes out as `last`; what fails is a denial.
async fn until(
    app: &Arc<App>,
    question: &Question,
    inputs: impl Iterator<Item = Result<String, ApiError>>,
    last: bool,
) -> Result<Vec<Outcome>, ApiError> {
    let mut outcomes = Vec::new();
    for input in inputs {
        let outcome = match input {
            Ok(input) => match each(begin(app, question, input).await)? {
                Ok(pending) => ask::recorded(pending).await.map_err(ApiError::from),
                Err(error) => Err(error),
            },
            Err(error) => Err(error),
        };
        let allow = outcome.as_ref().is_ok_and(|decision| decision.allow);
        outcomes.push(outcome);
        if allow == last {
            break;
        }
    }
    Ok(outcomes)
}

/// An error of one evaluation; one of all of them fails the request (7.2.1).
fn each(begun: Result<Pending, ApiError>) -> Result<Result<Pending, ApiError>, ApiError> {
    match begun {
        // The policy, the channel or the rule is not there.
        Err(error) if error.status() == StatusCode::NOT_FOUND => Err(error),
        begun => Ok(begun),
    }
}

/// Asks the rule `evaluation`, or the only one that the policy has.
async fn begin(app: &Arc<App>, question: &Question, input: String) -> Result<Pending, ApiError> {
    let asked = ask::evaluate(app, question.ask(Some(RULE), input.clone().into_bytes())).await?;
    let Err(unknown @ DecideError::UnknownRule { .. }) = asked else { return Ok(asked?) };
    match ask::evaluate(app, question.ask(None, input.into_bytes())).await? {
        // Its other rules answer something else.
        Err(DecideError::UnknownRule { .. }) => Err(unknown.into()),
        asked => Ok(asked?),
    }
}
