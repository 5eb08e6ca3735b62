//! One request of OPA's API: who asks, for which tenant, about what.

use std::sync::Arc;
use std::time::Instant;

use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderMap, Method};
use verdict::Host;
use verdict::core::name::{PolicyName, Tenant};

use super::place::Place;
use super::query::Query;
use super::refused::Refused;
use super::routes::Route;
use crate::access::{Action, Origin, Principal};
use crate::api::nothing_here;
use crate::routes::App;

/// Where OPA's routes are at the root. `/v1/policies` is older than they are here, and answers for both.
const ROOTS: [&str; 7] =
    ["/v0/data", "/v1/data", "/v1/batch/data", "/v1/query", "/v1/compile", "/v1/config", "/v1/status"];

/// Whether a request is one of OPA's API: what goes wrong with it is said in OPA's form.
pub(crate) fn is_here(method: &Method, path: &str) -> bool {
    let is_at =
        |root: &str| path.strip_prefix(root).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    below_tenant(path).is_some()
        || ROOTS.into_iter().any(is_at)
        || path.starts_with("/v1/policies/")
        || path == "/health"
        || (path == "/" && method == Method::POST)
}

/// A tenant, and the path of OPA's API below it.
fn below_tenant(path: &str) -> Option<(&str, &str)> {
    let (tenant, rest) = path.strip_prefix("/v1/tenants/")?.split_once('/')?;
    let rest = rest.strip_prefix("opa")?;
    (rest.is_empty() || rest.starts_with('/')).then_some((tenant, rest))
}

/// A request by somebody who is known, about a tenant that is theirs to ask about.
pub(super) struct Call {
    pub(super) app: Arc<App>,
    pub(super) principal: Arc<Principal>,
    pub(super) tenant: Tenant,
    /// What follows the route.
    pub(super) place: Place,
    pub(super) query: Query,
    pub(super) headers: HeaderMap,
    pub(super) began: Instant,
}

impl Call {
    /// Finds out who asks, before a byte of the body is read.
    pub(super) async fn read(
        app: &Arc<App>,
        route: &Route,
        request: Request,
    ) -> Result<(Self, Body), Refused> {
        let began = Instant::now();
        let (parts, body) = request.into_parts();
        let principal = app.access.principal(&parts.headers, Origin::of(&parts.extensions)).await?;
        let path = parts.uri.path();
        let (tenant, path) = match below_tenant(path) {
            Some((tenant, path)) => (Some(read_tenant(tenant)?), path),
            None => (None, path),
        };
        let tenant = tenant.or_else(|| principal.tenant().cloned()).unwrap_or_default();
        if crate::api::is_reserved(&tenant) || !principal.is_for(&tenant) {
            return Err(nothing_here().into());
        }
        let place = Place::read(path.strip_prefix(route.stem()).unwrap_or_default())?;
        let query = Query::read(parts.uri.query().unwrap_or_default());
        let call =
            Self { app: Arc::clone(app), principal, tenant, place, query, headers: parts.headers, began };
        if let Some(action) = route.action_beforehand() {
            call.app.access.judge(&call.principal, &call.action(action)).await?;
        }
        Ok((call, body))
    }

    fn action(&self, name: &'static str) -> Action<'_> {
        Action::new(name, Some(&self.tenant), self.tenant.as_str())
    }

    /// What decides.
    pub(super) fn host(&self) -> Result<&Host, Refused> {
        Ok(self.app.host()?)
    }

    /// Passes where the caller may ask a policy.
    pub(super) async fn check(&self, policy: &PolicyName) -> Result<(), Refused> {
        let name = policy.to_string();
        let action = Action::new("decision.decide", Some(policy.tenant()), &name);
        Ok(self.app.access.judge(&self.principal, &action).await?)
    }

    /// Whether the caller may ask a policy, for lists that leave out the rest.
    pub(super) async fn may_ask(&self, policy: &PolicyName) -> Result<bool, Refused> {
        let name = policy.to_string();
        let action = Action::new("decision.decide", Some(policy.tenant()), &name);
        Ok(self.app.access.may(&self.principal, &action).await?)
    }

    /// Whether the caller may read the tenant's data.
    pub(super) async fn may_read_data(&self) -> Result<bool, Refused> {
        Ok(self.app.access.may(&self.principal, &self.action("data.read")).await?)
    }
}

fn read_tenant(raw: &str) -> Result<Tenant, Refused> {
    let place = Place::read(raw)?;
    let text = place.parts().first().map(String::as_str).unwrap_or_default();
    text.parse().map_err(|error: verdict::core::name::NameError| Refused::invalid(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_here_is_known_by_its_path() {
        for path in [
            "/v0/data",
            "/v1/data/a",
            "/v1/data/",
            "/v1/batch/data/x",
            "/v1/policies/x",
            "/health",
            "/v1/tenants/a/opa",
            "/v1/tenants/a/opa/",
            "/v1/tenants/a/opa/v1/data",
            "/v1/tenants/a/opa/nosuch",
        ] {
            assert!(is_here(&Method::GET, path), "{path}");
        }
        for path in [
            "/",
            "/v1/policies",
            "/v1/database",
            "/health/live",
            "/v1/tenants/a/opaque",
            "/v1/tenants/a",
            "/v2/",
        ] {
            assert!(!is_here(&Method::GET, path), "{path}");
        }
        assert!(is_here(&Method::POST, "/"));
    }
}
