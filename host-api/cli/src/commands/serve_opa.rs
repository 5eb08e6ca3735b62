//! What OPA's API is told, as `verdict serve` is.

use verdict_server::DefaultDecision;

/// OPA's API.
#[derive(clap::Args)]
pub(crate) struct OpaArgs {
    /// What `POST /` of OPA's API asks: TENANT/POLICY, or TENANT/POLICY/RULE for one of its rules
    #[arg(long, value_name = "DECISION")]
    pub(crate) opa_default: Option<DefaultDecision>,
}
