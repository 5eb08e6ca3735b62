//! Requests and answers as they are documented; what reads and writes them is elsewhere.

#![expect(dead_code, reason = "descriptions")]

use serde_json::Value;
use utoipa::ToSchema;

/// A subject or a resource.
#[derive(ToSchema)]
#[schema(as = AuthZenEntity)]
pub(super) struct Entity {
    r#type: String,
    /// Left out of what is searched for.
    id: Option<String>,
    properties: Option<Value>,
}

/// An action.
#[derive(ToSchema)]
#[schema(as = AuthZenAction)]
pub(super) struct Action {
    name: String,
    properties: Option<Value>,
}

/// May this subject do this action on this resource?
#[derive(ToSchema)]
#[schema(as = AuthZenEvaluation)]
pub(super) struct Evaluation {
    subject: Entity,
    action: Action,
    resource: Entity,
    context: Option<Value>,
}

/// Several evaluations; what they have in common is said once, beside them.
#[derive(ToSchema)]
#[schema(as = AuthZenEvaluations)]
pub(super) struct Evaluations {
    subject: Option<Entity>,
    action: Option<Action>,
    resource: Option<Entity>,
    context: Option<Value>,
    /// At most 1,000. Without one, the request itself is the evaluation.
    evaluations: Option<Vec<Value>>,
    options: Option<Options>,
}

/// How several evaluations are carried out.
#[derive(ToSchema)]
#[schema(as = AuthZenOptions)]
pub(super) struct Options {
    /// `execute_all`, `deny_on_first_deny` or `permit_on_first_permit`.
    evaluations_semantic: Option<String>,
}

/// Who, on what, or which? The `id` of what is searched for is left out, and so is `action` where actions are.
#[derive(ToSchema)]
#[schema(as = AuthZenSearch)]
pub(super) struct Search {
    subject: Entity,
    action: Option<Action>,
    resource: Entity,
    context: Option<Value>,
    page: Option<AskedPage>,
}

/// Which page of the results.
#[derive(ToSchema)]
#[schema(as = AuthZenAskedPage)]
pub(super) struct AskedPage {
    /// The `next_token` of the page before; none for the first.
    token: Option<String>,
    /// The most results that it may have.
    limit: Option<u64>,
    properties: Option<Value>,
}

/// A decision.
#[derive(ToSchema)]
#[schema(as = AuthZenDecision)]
pub(super) struct Decision {
    decision: bool,
    /// What the policy says besides, with `decision_id` and `reasons`; in a batch, `error` where this evaluation failed.
    context: Value,
}

/// Decisions in the order of the evaluations; where there were none, the one decision.
#[derive(ToSchema)]
#[schema(as = AuthZenDecisions)]
pub(super) struct Decisions {
    evaluations: Option<Vec<Decision>>,
    decision: Option<bool>,
    context: Option<Value>,
}

/// What was found.
#[derive(ToSchema)]
#[schema(as = AuthZenResults)]
pub(super) struct Results {
    page: Option<Page>,
    /// What the policy says besides, with `decision_id` and `reasons`.
    context: Value,
    /// Subjects, resources or actions.
    results: Vec<Value>,
}

/// Which page of the results this is.
#[derive(ToSchema)]
#[schema(as = AuthZenPage)]
pub(super) struct Page {
    /// Empty on the last page.
    next_token: String,
    count: u64,
    total: Option<u64>,
    properties: Option<Value>,
}
