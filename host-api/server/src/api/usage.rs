//! What a tenant uses of this server.

use std::sync::Arc;

use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;
use verdict::core::name::Tenant;

use super::answer::{Answer, Answered};
use super::gate::Asked;
use super::problem::Problem;
use crate::routes::App;
use crate::tenancy::UsageView;

/// What a tenant uses, on this host and since it began.
#[derive(Serialize, ToSchema)]
#[schema(as = TenantUsage)]
pub(crate) struct TenantUsage {
    /// The tenant.
    #[schema(value_type = String)]
    tenant: Tenant,
    #[serde(flatten)]
    usage: UsageView,
    /// Evaluations under way.
    running: u32,
    /// Questions that wait for their turn.
    waiting: u32,
    /// What is left of this second.
    left: Left,
}

/// What is left of a second's budget; nothing where there is no bound.
#[derive(Serialize, ToSchema)]
struct Left {
    /// Questions.
    #[serde(skip_serializing_if = "Option::is_none")]
    requests: Option<u64>,
    /// Units of fuel.
    #[serde(skip_serializing_if = "Option::is_none")]
    fuel: Option<u64>,
}

/// What a tenant used of this host since it began: decisions, fuel, faults by code, and what was refused because its
/// budget was used up.
#[utoipa::path(get, path = "/v1/tenants/{tenant}/usage", tag = "tenants", operation_id = "read_usage",
    responses((status = 200, description = "what it used", body = TenantUsage)))]
pub(super) async fn read(State(app): State<Arc<App>>, asked: Asked) -> Answered {
    let tenant = asked.place.tenant()?;
    let Some(account) = app.tenancy.find(tenant) else {
        return Err(Problem::not_found("no policy of this tenant was asked since this host began").into());
    };
    let ((running, waiting), (requests, fuel)) = (account.now(), account.left(app.tenancy.now()));
    let usage = account.usage();
    let left = Left { requests, fuel };
    Ok(Answer::ok(&TenantUsage { tenant: tenant.clone(), usage, running, waiting, left }))
}
