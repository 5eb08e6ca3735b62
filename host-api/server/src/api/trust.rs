//! The trust policy and the revocations: who may sign what, and what must not be used any more.

use std::sync::Arc;

use axum::extract::State;
use verdict::registry::catalogue::DocumentName;

use super::answer::Answered;
use super::body::{Asking, Paging, Signed};
use super::documents::{self, DocumentView, PublishedView};
use super::gate::Asked;
use super::page::Items;
use super::problem::Problem;
use crate::routes::App;

/// The newest trust policy.
#[utoipa::path(get, path = "/v1/trust", tag = "trust", operation_id = "read_trust",
    responses((status = 200, description = "the trust policy", body = DocumentView)))]
pub(super) async fn trust(State(app): State<Arc<App>>, asked: Asked) -> Answered {
    documents::newest(app.catalogue()?, &asked, &DocumentName::trust()).await
}

/// All versions of the trust policy, the newest first.
#[utoipa::path(get, path = "/v1/trust/versions", tag = "trust", operation_id = "list_trust_versions", params(Paging),
    responses((status = 200, description = "a page of trust policies", body = Items<DocumentView>)))]
pub(super) async fn trust_versions(State(app): State<Arc<App>>, Asking(paging): Asking<Paging>) -> Answered {
    documents::history(app.catalogue()?, &DocumentName::trust(), &paging).await
}

/// Puts the next version of the trust policy, signed as the one before demands.
#[utoipa::path(put, path = "/v1/trust", tag = "trust", operation_id = "put_trust",
    request_body(content = Object, content_type = "application/vnd.dsse.envelope.v1+json"),
    responses((status = 200, description = "it is the newest", body = PublishedView),
        (status = 201, description = "it is the first", body = PublishedView)))]
pub(super) async fn put_trust(
    State(app): State<Arc<App>>,
    asked: Asked,
    Signed(envelope): Signed,
) -> Answered {
    let ready = app.publisher()?.trust(&envelope, asked.now).await.map_err(Problem::from)?;
    documents::publish(app.catalogue()?, asked, &ready, false).await
}

/// The newest revocations.
#[utoipa::path(get, path = "/v1/revocations", tag = "trust", operation_id = "read_revocations",
    responses((status = 200, description = "the revocations", body = DocumentView)))]
pub(super) async fn revocations(State(app): State<Arc<App>>, asked: Asked) -> Answered {
    documents::newest(app.catalogue()?, &asked, &DocumentName::revocations()).await
}

/// Puts the next list of revocations.
#[utoipa::path(put, path = "/v1/revocations", tag = "trust", operation_id = "put_revocations",
    request_body(content = Object, content_type = "application/vnd.dsse.envelope.v1+json"),
    responses((status = 200, description = "it is the newest", body = PublishedView),
        (status = 201, description = "it is the first", body = PublishedView)))]
pub(super) async fn put_revocations(
    State(app): State<Arc<App>>,
    asked: Asked,
    Signed(envelope): Signed,
) -> Answered {
    let ready = app.publisher()?.revocations(&envelope, asked.now).await.map_err(Problem::from)?;
    documents::publish(app.catalogue()?, asked, &ready, false).await
}
