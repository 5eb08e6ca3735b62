//! What callers of AuthZEN find, as `verdict serve` is told.

use verdict_core::name::PolicyName;
use verdict_server::{AuthZen, PublicUrl};

/// What callers of AuthZEN find.
#[derive(clap::Args)]
pub(crate) struct AuthZenArgs {
    /// The policy that AuthZEN's callers ask at `/access/v1/`; any other is below
    /// `/v1/tenants/TENANT/policies/POLICY/access/v1/`
    #[arg(long, value_name = "TENANT/POLICY")]
    authzen: Option<PolicyName>,
    /// The server as AuthZEN's callers name it, `https://HOST[:PORT]`, for `/.well-known/authzen-configuration`; what
    /// they say in `Host`, if left out
    #[arg(long, value_name = "URL")]
    authzen_url: Option<PublicUrl>,
}

impl AuthZenArgs {
    /// What the server is to know.
    pub(crate) fn options(&self) -> AuthZen {
        AuthZen { policy: self.authzen.clone(), url: self.authzen_url.clone() }
    }
}
