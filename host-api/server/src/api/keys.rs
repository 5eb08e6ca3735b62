//! API keys: made, shown once, listed without what is secret, revoked.

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::extract::State;
use axum::http::{StatusCode, header};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use verdict::core::name::Tenant;
use verdict::core::time::Timestamp;
use verdict::registry::catalogue::{ApiKeyEntry, Catalogue, NewApiKey};

use super::answer::{Answer, Answered};
use super::body::{self, Asking, Json};
use super::gate::{Asked, nothing_here};
use super::page::Items;
use super::problem::Problem;
use crate::access::{ApiKey, Role};
use crate::routes::App;

/// An API key, without itself.
#[derive(Clone, Serialize, ToSchema)]
#[schema(as = ApiKey)]
pub(crate) struct KeyView {
    /// What it is called; not secret.
    id: String,
    /// The tenant that it is for; null for every tenant.
    #[schema(value_type = Option<String>)]
    tenant: Option<Tenant>,
    /// Who uses it.
    person: String,
    /// What it may do.
    roles: BTreeSet<String>,
    /// When it was made.
    #[schema(value_type = String, format = DateTime)]
    created: Timestamp,
    /// Until when it counts; null for ever.
    #[schema(value_type = Option<String>, format = DateTime)]
    expires: Option<Timestamp>,
    /// When it was revoked, if it was.
    #[schema(value_type = Option<String>, format = DateTime)]
    revoked: Option<Timestamp>,
}

/// A new API key. This is the only time that it is shown.
#[derive(Serialize, ToSchema)]
#[schema(as = CreatedApiKey)]
pub(crate) struct NewKeyView {
    #[serde(flatten)]
    view: KeyView,
    /// The key itself; not there where the request was repeated.
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<String>,
}

/// An API key that is to be made.
#[derive(Deserialize, ToSchema)]
#[schema(as = NewApiKey)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewKey {
    /// Who uses it. At most 255 bytes.
    person: String,
    /// The tenant that it is for; null for every tenant.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    tenant: Option<Tenant>,
    /// What it may do: `tenant_admin`, `system_admin`, `publisher`, `approver`, `operator`, `auditor`, `agent`.
    #[schema(examples(json!(["auditor"])))]
    roles: BTreeSet<String>,
    /// Until when it counts; for ever if nothing is said.
    #[serde(default)]
    #[schema(value_type = Option<String>, format = DateTime)]
    expires: Option<Timestamp>,
}

/// Which API keys are wanted.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct Which {
    /// Only those of this tenant.
    #[param(value_type = Option<String>)]
    #[serde(rename = "tenant")]
    _tenant: Option<Tenant>,
    /// How many, 1 to 1,000; 100 if nothing is said.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<u32>,
    /// Where to go on: `next` of the page before.
    after: Option<String>,
}

impl KeyView {
    fn new(entry: ApiKeyEntry) -> Self {
        let ApiKeyEntry { id, tenant, person, roles, created, expires, revoked, .. } = entry;
        Self { id, tenant, person, roles, created, expires, revoked }
    }
}

/// The key in a path, where the caller may know of it.
async fn found(catalogue: &Catalogue, asked: &Asked) -> Result<ApiKeyEntry, Problem> {
    let entry = catalogue.api_key(asked.place.id()?).await?;
    let is_seen = |entry: &ApiKeyEntry| asked.tenant.is_none() || entry.tenant == asked.tenant;
    entry.filter(is_seen).ok_or_else(nothing_here)
}

/// The API keys, by id.
#[utoipa::path(get, path = "/v1/api-keys", tag = "api-keys", operation_id = "list_api_keys", params(Which),
    responses((status = 200, description = "a page of keys", body = Items<KeyView>)))]
pub(super) async fn list(
    State(app): State<Arc<App>>,
    asked: Asked,
    Asking(which): Asking<Which>,
) -> Answered {
    let limit = body::limit(which.limit)?;
    let page = app.catalogue()?.api_keys(asked.tenant.as_ref(), which.after.as_deref(), limit).await?;
    Ok(Answer::ok(&Items::of(page, |entry| entry.id.clone(), KeyView::new)))
}

/// One API key.
#[utoipa::path(get, path = "/v1/api-keys/{id}", tag = "api-keys", operation_id = "read_api_key",
    responses((status = 200, description = "the key, without itself", body = KeyView)))]
pub(super) async fn read(State(app): State<Arc<App>>, asked: Asked) -> Answered {
    let entry = found(app.catalogue()?, &asked).await?;
    let etag = entry.etag;
    Ok(Answer::ok(&KeyView::new(entry)).of_row(etag).unless_seen(&asked))
}

/// Makes an API key, and shows it for the only time.
#[utoipa::path(post, path = "/v1/api-keys", tag = "api-keys", operation_id = "create_api_key", request_body = NewKey,
    responses((status = 201, description = "it is made", body = NewKeyView)))]
pub(super) async fn create(State(app): State<Arc<App>>, asked: Asked, Json(new): Json<NewKey>) -> Answered {
    let NewKey { person, tenant, roles, expires } = new;
    for role in &roles {
        role.parse::<Role>().map_err(|error| Problem::malformed(error.to_string()))?;
    }
    if roles.is_empty() || person.trim().is_empty() {
        return Err(Problem::malformed("a key needs a `person` and at least one of `roles`").into());
    }
    if expires.is_some_and(|expires| expires <= asked.now) {
        return Err(Problem::malformed("`expires` is over already; give a later time").into());
    }
    // What was allowed is what is done.
    if tenant != asked.tenant {
        return Err(Problem::internal().into());
    }
    let key = ApiKey::new().map_err(Problem::of)?;
    let (id, hash, created) = (key.id().to_owned(), key.hash(), asked.now);
    let entry = NewApiKey { id: id.clone(), tenant: tenant.clone(), hash, person, roles, expires };
    let mut change = asked.change(app.catalogue()?).await?;
    let etag = change.write.create_api_key(&entry).await?;
    let NewApiKey { person, roles, .. } = entry;
    let location = format!("/v1/api-keys/{id}");
    let view = KeyView { id, tenant, person, roles, created, expires, revoked: None };
    let answer = |key| {
        let view = NewKeyView { view: view.clone(), key };
        let answer = Answer::json(StatusCode::CREATED, &view).of_row(etag);
        answer.with(header::LOCATION, location.clone()).with(header::CACHE_CONTROL, "no-store")
    };
    let again = answer(None).stored();
    change.end_otherwise(answer(Some(key.text().to_owned())), again).await
}

/// Revokes an API key, for good: its next request is refused.
#[utoipa::path(delete, path = "/v1/api-keys/{id}", tag = "api-keys", operation_id = "revoke_api_key",
    responses((status = 204, description = "it is revoked")))]
pub(super) async fn revoke(State(app): State<Arc<App>>, asked: Asked) -> Answered {
    let catalogue = app.catalogue()?;
    let entry = found(catalogue, &asked).await?;
    let seen = asked.seen()?;
    let mut change = asked.change(catalogue).await?;
    change.write.revoke_api_key(&entry.id, seen).await?;
    change.end(Answer::empty(StatusCode::NO_CONTENT)).await
}
