//! What Envoy asks, as `verdict serve` is told.

use verdict_core::name::PolicyName;

/// What Envoy asks.
#[derive(clap::Args)]
pub(crate) struct ExtAuthzArgs {
    /// What Envoy asks (`ext_authz` over gRPC) where its route names no policy by `verdict_policy`; without it such
    /// requests are denied
    #[arg(long, value_name = "TENANT/POLICY")]
    pub(crate) ext_authz: Option<PolicyName>,
}
