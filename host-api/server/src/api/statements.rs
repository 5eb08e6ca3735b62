//! Statements about a version: approvals, test results.

use std::sync::Arc;

use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;
use verdict::core::digest::Digest;
use verdict::core::time::Timestamp;
use verdict::registry::catalogue::StatementEntry;

use super::answer::{Answer, Answered};
use super::body::{Asking, Paging, Signed};
use super::documents::{put_name, put_status};
use super::gate::Asked;
use super::page::Items;
use super::problem::Problem;
use super::versions;
use crate::routes::App;

/// A statement that is attached to a version's image.
#[derive(Serialize, ToSchema)]
#[schema(as = Statement)]
pub(crate) struct StatementView {
    /// The digest of the OCI image manifest.
    #[schema(value_type = String)]
    image: Digest,
    /// The digest of the envelope, by which the repository has it as a blob.
    #[schema(value_type = String)]
    envelope: Digest,
    /// The digest of what is signed.
    #[schema(value_type = String)]
    payload: Digest,
    /// The digest of the manifest that attaches it.
    #[schema(value_type = Option<String>)]
    manifest: Option<Digest>,
    /// What it states.
    #[schema(examples("urn:verdict:approval:v1"))]
    predicate_type: String,
    /// When it was attached.
    #[schema(value_type = String, format = DateTime)]
    attached: Timestamp,
    /// By whom.
    attached_by: String,
    /// The number of the event that told of it.
    event: u64,
}

/// What became of a statement.
#[derive(Serialize, ToSchema)]
#[schema(as = Attached)]
pub(crate) struct AttachedView {
    /// The digest of the envelope.
    #[schema(value_type = String)]
    envelope: Digest,
    /// The digest of the manifest that attaches it.
    #[schema(value_type = String)]
    manifest: Digest,
    /// `created`, or `unchanged` where it was there already.
    #[schema(value_type = String)]
    put: &'static str,
}

impl StatementView {
    fn new(entry: StatementEntry) -> Self {
        let StatementEntry { content, attached, attached_by, seq } = entry;
        Self {
            image: content.image,
            envelope: content.envelope,
            payload: content.payload,
            manifest: content.manifest,
            predicate_type: content.predicate_type,
            attached,
            attached_by,
            event: seq,
        }
    }
}

/// The statements about a version, the oldest first.
#[utoipa::path(get, path = "/v1/tenants/{tenant}/policies/{policy}/versions/{version}/statements",
    tag = "versions", operation_id = "list_statements", params(Paging),
    responses((status = 200, description = "a page of statements", body = Items<StatementView>)))]
pub(super) async fn list(
    State(app): State<Arc<App>>,
    asked: Asked,
    Asking(paging): Asking<Paging>,
) -> Answered {
    let catalogue = app.catalogue()?;
    let image = versions::found(catalogue, &asked).await?.content.image;
    let after = paging.after()?.unwrap_or_default();
    let page = catalogue.statements(asked.place.policy()?, image, after, paging.limit()?).await?;
    Ok(Answer::ok(&Items::of(page, |entry| entry.seq.to_string(), StatementView::new)))
}

/// Attaches a signed statement about a version: an approval, a test result. It is checked as a host does.
#[utoipa::path(post, path = "/v1/tenants/{tenant}/policies/{policy}/versions/{version}/statements",
    tag = "versions", operation_id = "attach_statement",
    request_body(content = Object, content_type = "application/vnd.dsse.envelope.v1+json"),
    responses((status = 201, description = "it is attached", body = AttachedView),
        (status = 200, description = "it was attached before", body = AttachedView)))]
pub(super) async fn attach(State(app): State<Arc<App>>, asked: Asked, Signed(envelope): Signed) -> Answered {
    let (catalogue, publisher) = (app.catalogue()?, app.publisher()?);
    let image = versions::found(catalogue, &asked).await?.content.image;
    let ready = publisher.statement(asked.place.policy()?, image, &envelope, asked.now).await;
    let ready = ready.map_err(Problem::from)?;
    let mut change = asked.change(catalogue).await?;
    let put = ready.put(&mut change.write).await.map_err(Problem::from)?;
    let view = AttachedView { envelope: ready.envelope(), manifest: ready.manifest(), put: put_name(put) };
    change.end(Answer::json(put_status(put), &view)).await
}
