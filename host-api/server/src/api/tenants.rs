//! Tenants.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{StatusCode, header};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use verdict::core::name::Tenant;
use verdict::core::time::Timestamp;
use verdict::registry::catalogue::{Catalogue, Page, TenantEntry};

use super::answer::{Answer, Answered};
use super::body::{Asking, Json, Paging};
use super::gate::{Asked, is_reserved, reserved};
use super::page::Items;
use super::problem::Problem;
use crate::routes::App;

/// A tenant.
#[derive(Serialize, ToSchema)]
#[schema(as = Tenant)]
pub(crate) struct TenantView {
    /// Its name, a DNS label.
    #[schema(value_type = String, examples("bank"))]
    name: Tenant,
    /// What it is.
    description: String,
    /// Since when it is there.
    #[schema(value_type = String, format = DateTime)]
    created: Timestamp,
}

/// A tenant that is to be made.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewTenant {
    /// Its name, a DNS label.
    #[schema(value_type = String, examples("bank"))]
    name: Tenant,
    /// What it is. At most 4,096 bytes.
    #[serde(default)]
    description: String,
}

/// What is to be changed of a tenant.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct TenantPatch {
    /// What it is. At most 4,096 bytes.
    description: String,
}

impl TenantView {
    fn new(entry: TenantEntry) -> Self {
        let TenantEntry { name, description, created, .. } = entry;
        Self { name, description, created }
    }
}

fn missing(tenant: &Tenant) -> Problem {
    Problem::not_found(format!("there is no tenant `{tenant}`"))
}

async fn found(catalogue: &Catalogue, tenant: &Tenant) -> Result<TenantEntry, Problem> {
    catalogue.tenant(tenant).await?.ok_or_else(|| missing(tenant))
}

/// Passes when the tenant is there.
pub(super) async fn require(catalogue: &Catalogue, tenant: &Tenant) -> Result<(), Problem> {
    found(catalogue, tenant).await.map(drop)
}

/// The tenants, by name. A caller of one tenant sees its own.
#[utoipa::path(get, path = "/v1/tenants", tag = "tenants", operation_id = "list_tenants", params(Paging),
    responses((status = 200, description = "a page of tenants", body = Items<TenantView>)))]
pub(super) async fn list(
    State(app): State<Arc<App>>,
    asked: Asked,
    Asking(paging): Asking<Paging>,
) -> Answered {
    let (catalogue, limit) = (app.catalogue()?, paging.limit()?);
    let page = match &asked.tenant {
        Some(own) => Page { items: catalogue.tenant(own).await?.into_iter().collect(), more: false },
        None => catalogue.tenants(paging.after()?.as_ref(), limit).await?,
    };
    Ok(Answer::ok(&Items::of(page, |entry| entry.name.to_string(), TenantView::new)))
}

/// One tenant.
#[utoipa::path(get, path = "/v1/tenants/{tenant}", tag = "tenants", operation_id = "read_tenant",
    responses((status = 200, description = "the tenant", body = TenantView)))]
pub(super) async fn read(State(app): State<Arc<App>>, asked: Asked) -> Answered {
    let entry = found(app.catalogue()?, asked.place.tenant()?).await?;
    let etag = entry.etag;
    Ok(Answer::ok(&TenantView::new(entry)).of_row(etag).unless_seen(&asked))
}

/// Makes a tenant.
#[utoipa::path(post, path = "/v1/tenants", tag = "tenants", operation_id = "create_tenant", request_body = NewTenant,
    responses((status = 201, description = "it is made", body = TenantView)))]
pub(super) async fn create(
    State(app): State<Arc<App>>,
    asked: Asked,
    Json(NewTenant { name, description }): Json<NewTenant>,
) -> Answered {
    if is_reserved(&name) {
        return Err(reserved().into());
    }
    let created = asked.now;
    let mut change = asked.change(app.catalogue()?).await?;
    let etag = change.write.create_tenant(&name, &description).await?;
    let location = format!("/v1/tenants/{name}");
    let answer = Answer::json(StatusCode::CREATED, &TenantView { name, description, created });
    change.end(answer.of_row(etag).with(header::LOCATION, location)).await
}

/// Changes what is said of a tenant.
#[utoipa::path(patch, path = "/v1/tenants/{tenant}", tag = "tenants", operation_id = "change_tenant",
    request_body = TenantPatch, responses((status = 200, description = "it is changed", body = TenantView)))]
pub(super) async fn change(
    State(app): State<Arc<App>>,
    asked: Asked,
    Json(TenantPatch { description }): Json<TenantPatch>,
) -> Answered {
    let (catalogue, tenant, seen) = (app.catalogue()?, asked.place.tenant()?.clone(), asked.seen()?);
    let mut change = asked.change(catalogue).await?;
    // Nobody else writes while this change is under way.
    let entry = found(catalogue, &tenant).await?;
    let etag = change.write.change_tenant(&tenant, &description, seen).await?;
    let answer = Answer::ok(&TenantView::new(TenantEntry { description, ..entry }));
    change.end(answer.of_row(etag)).await
}
