//! OPA's REST API, as <https://www.openpolicyagent.org/docs/rest-api> has it, and its batch API: clients of OPA ask
//! policies here without knowing that nothing here is written in Rego.
//!
//! Three nouns: a [`Place`] is the path of a document, a [`Target`](target::Target) is what is at it (rules of policies,
//! or signed data), and what cannot be done is a [`Refused`](refused::Refused), in OPA's form. The first part of a path
//! is a policy of the caller's tenant, then comes a rule of it, and then where in the rule's value; `_` stands for `-`,
//! so that policies can be named as packages are. What is no policy is looked for in the tenant's data.

mod about;
mod answer;
mod batch;
mod body;
mod call;
mod data;
mod default;
mod evaluate;
mod json;
mod place;
mod policies;
mod query;
mod refused;
mod routes;
mod target;

pub(crate) use call::is_here;
pub use default::{DefaultDecision, DefaultDecisionError};
pub(crate) use policies::listed;
pub(crate) use refused::refused;
pub(crate) use routes::routes;
