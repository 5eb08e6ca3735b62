//! A tenant's data: contents, the signed snapshots that name them, and single values.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use http_body_util::BodyExt as _;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tokio::sync::Mutex;
use tokio::task::spawn_blocking;
use tokio::time::{Instant, timeout};
use utoipa::{IntoParams, ToSchema};
use verdict::core::digest::Digest;
use verdict::core::dsse::Envelope;
use verdict::core::name::Tenant;
use verdict::core::pointer::Pointer;
use verdict::core::trust::{DATA_CONTENT_MEDIA_TYPE, DataSnapshot, SignedDocument as _};
use verdict::engine::{DOCUMENT_DEPTH_MAX, Document, DocumentLimits};
use verdict::registry::catalogue::{Catalogue, DocumentName};
use verdict::registry::publish::{DATA_BYTES_MAX, DataUpload, Publisher};
use verdict::registry::repository::Blob;

use super::answer::{Answer, Answered, Early};
use super::body::{Asking, Paging, Signed};
use super::documents::{self, DocumentView, PublishedView};
use super::gate::Asked;
use super::page::Items;
use super::problem::Problem;
use crate::oci;
use crate::routes::App;

/// Who sends slower than this, in bytes a second, holds memory that others need.
const RATE_MIN: u64 = 16 << 10;

/// The content that was read last: parsing a large one takes longer than everything else.
#[derive(Default)]
pub(crate) struct Contents(Mutex<Option<(Digest, Document)>>);

/// A content that was put.
#[derive(Serialize, ToSchema)]
#[schema(as = Content)]
pub(crate) struct ContentView {
    /// Its digest.
    #[schema(value_type = String)]
    digest: Digest,
    /// Its size.
    bytes: u64,
}

/// A value of a tenant's data.
#[derive(Serialize, ToSchema)]
#[schema(as = DataValue)]
pub(crate) struct ValueView {
    /// The sequence of the snapshot.
    sequence: u64,
    /// The digest of the snapshot's content.
    #[schema(value_type = String)]
    digest: Digest,
    /// Where the value is.
    #[schema(value_type = String)]
    pointer: Pointer,
    /// The value, as the content has it.
    #[schema(value_type = Value)]
    value: Box<RawValue>,
}

/// Which value is wanted.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct Which {
    /// Where it is, as RFC 6901 has it; the whole if nothing is said.
    #[serde(default)]
    #[param(value_type = Option<String>)]
    pointer: Pointer,
    /// Of this snapshot; the newest if nothing is said.
    sequence: Option<u64>,
}

/// The newest data snapshot.
#[utoipa::path(get, path = "/v1/tenants/{tenant}/data", tag = "data", operation_id = "read_data",
    responses((status = 200, description = "the snapshot", body = DocumentView)))]
pub(super) async fn read(State(app): State<Arc<App>>, asked: Asked) -> Answered {
    documents::newest(app.catalogue()?, &asked, &DocumentName::data(asked.place.tenant()?)).await
}

/// The data snapshots, the newest first.
#[utoipa::path(get, path = "/v1/tenants/{tenant}/data/snapshots", tag = "data", operation_id = "list_data_snapshots",
    params(Paging), responses((status = 200, description = "a page of snapshots", body = Items<DocumentView>)))]
pub(super) async fn snapshots(
    State(app): State<Arc<App>>,
    asked: Asked,
    Asking(paging): Asking<Paging>,
) -> Answered {
    documents::history(app.catalogue()?, &DocumentName::data(asked.place.tenant()?), &paging).await
}

/// Puts the next data snapshot, whose content was put before.
#[utoipa::path(put, path = "/v1/tenants/{tenant}/data", tag = "data", operation_id = "put_data",
    request_body(content = Object, content_type = "application/vnd.dsse.envelope.v1+json"),
    responses((status = 200, description = "it is the newest", body = PublishedView),
        (status = 201, description = "it is the first", body = PublishedView)))]
pub(super) async fn put(State(app): State<Arc<App>>, asked: Asked, Signed(envelope): Signed) -> Answered {
    let ready =
        app.publisher()?.data(asked.place.tenant()?, &envelope, asked.now).await.map_err(Problem::from)?;
    documents::publish(app.catalogue()?, asked, &ready, false).await
}

/// One value of the data.
#[utoipa::path(get, path = "/v1/tenants/{tenant}/data/document", tag = "data", operation_id = "read_data_value",
    params(Which), responses((status = 200, description = "the value", body = ValueView)))]
pub(super) async fn document(
    State(app): State<Arc<App>>,
    asked: Asked,
    Asking(Which { pointer, sequence }): Asking<Which>,
) -> Answered {
    let tenant = asked.place.tenant()?;
    let snapshot = snapshot(app.catalogue()?, tenant, sequence).await?;
    let content = app.contents.read(app.publisher()?, tenant, snapshot.digest).await?;
    let text = content
        .json(&pointer)
        .ok_or_else(|| Problem::not_found(format!("there is nothing at `{}`", pointer.as_str())))?;
    let value = RawValue::from_string(text.to_owned()).map_err(|_| Problem::internal())?;
    let (sequence, digest) = (snapshot.sequence, snapshot.digest);
    let tag = format!("\"{}\"", Digest::of(format!("{sequence} {digest} {}", pointer.as_str()).as_bytes()));
    let answer = Answer::ok(&ValueView { sequence, digest, pointer, value });
    Ok(answer.with(header::ETAG, tag).unless_seen(&asked))
}

/// What a snapshot says. It was checked when it was put; whoever has to be sure reads the document itself.
async fn snapshot(
    catalogue: &Catalogue,
    tenant: &Tenant,
    sequence: Option<u64>,
) -> Result<DataSnapshot, Problem> {
    let name = DocumentName::data(tenant);
    let entry = match sequence {
        None => catalogue.document(&name).await?,
        Some(sequence) => catalogue.document_at(&name, sequence).await?,
    };
    let entry =
        entry.ok_or_else(|| Problem::not_found(format!("there is no such data of tenant `{tenant}`")))?;
    let envelope = Envelope::parse(&entry.envelope).map_err(|_| Problem::internal())?;
    Ok(DataSnapshot::parse(envelope.payload())?)
}

fn no_content(tenant: &Tenant, digest: Digest) -> Problem {
    Problem::not_found(format!("no data snapshot of tenant `{tenant}` has the content {digest}"))
}

async fn content_of(publisher: &Publisher, tenant: &Tenant, digest: Digest) -> Result<Blob, Problem> {
    let found = publisher.data_content(tenant, digest).await?;
    found.ok_or_else(|| no_content(tenant, digest))
}

impl Contents {
    async fn read(
        &self,
        publisher: &Publisher,
        tenant: &Tenant,
        digest: Digest,
    ) -> Result<Document, Problem> {
        let blob = content_of(publisher, tenant, digest).await?;
        // One at a time, so that many who ask for a large one at once do not fill the memory.
        let mut last = self.0.lock().await;
        if let Some((_, document)) = last.as_ref().filter(|(known, _)| *known == digest) {
            return Ok(document.clone());
        }
        let bytes = publisher.registry().read(&blob, 0..blob.bytes()).await?;
        let limits = DocumentLimits { bytes_max: DATA_BYTES_MAX, depth_max: DOCUMENT_DEPTH_MAX };
        let parsed = spawn_blocking(move || Document::parse(bytes, &limits)).await;
        let parsed = parsed.map_err(|_| Problem::internal())?;
        let unusable =
            |error| Problem::new(StatusCode::CONFLICT, "unusable-content", format!("{digest}: {error}"));
        let document = parsed.map_err(unusable)?;
        *last = Some((digest, document.clone()));
        Ok(document)
    }
}

/// A content, for whoever follows this registry.
#[utoipa::path(get, path = "/v1/tenants/{tenant}/data/content/{digest}", tag = "data",
    operation_id = "read_data_content",
    responses((status = 200, description = "the content", content_type = "application/vnd.verdict.data.content.v1+json", body = Object)))]
pub(super) async fn content(State(app): State<Arc<App>>, asked: Asked) -> Result<Response, Early> {
    let (publisher, digest) = (app.publisher()?, asked.place.digest()?);
    let blob = content_of(publisher, asked.place.tenant()?, digest).await?;
    let tag = format!("\"{digest}\"");
    if asked.has_seen(&tag) {
        return Ok(Answer::empty(StatusCode::NOT_MODIFIED).with(header::ETAG, tag).into_response());
    }
    let bytes =
        oci::body(publisher.registry().clone(), blob, 0..blob.bytes()).await.map_err(Problem::from)?;
    let mut response = bytes.into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(DATA_CONTENT_MEDIA_TYPE));
    headers.insert(header::CONTENT_LENGTH, blob.bytes().into());
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("private, max-age=31536000, immutable"));
    if let Ok(tag) = HeaderValue::try_from(tag) {
        headers.insert(header::ETAG, tag);
    }
    Ok(response)
}

/// Puts a content, which has this digest. A snapshot has to name it within a day.
#[utoipa::path(put, path = "/v1/tenants/{tenant}/data/content/{digest}", tag = "data",
    operation_id = "put_data_content",
    request_body(content = Object, content_type = "application/vnd.verdict.data.content.v1+json"),
    responses((status = 201, description = "it is there", body = ContentView)))]
pub(super) async fn put_content(State(app): State<Arc<App>>, asked: Asked, body: Body) -> Answered {
    let (publisher, digest) = (app.publisher()?, asked.place.digest()?);
    let _place = app.bodies.try_acquire().map_err(|_| {
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, "busy", "too much is being put at a time; try again")
    })?;
    let upload =
        publisher.begin_data(asked.place.tenant()?, asked.as_change()).await.map_err(Problem::from)?;
    let upload = receive(upload, body, app.patience).await?;
    let bytes = upload.finish(digest).await.map_err(Problem::from)?;
    Ok(Answer::json(StatusCode::CREATED, &ContentView { digest, bytes }))
}

async fn receive(mut upload: DataUpload, mut body: Body, patience: Duration) -> Result<DataUpload, Problem> {
    let slow = || Problem::new(StatusCode::REQUEST_TIMEOUT, "timeout", "the body came too slowly");
    let (began, mut received) = (Instant::now(), 0_u64);
    while let Some(frame) = timeout(patience, body.frame()).await.map_err(|_| slow())? {
        let frame = frame.map_err(|_| Problem::malformed("the body broke off"))?;
        // Trailers say nothing here.
        let Ok(data) = frame.into_data() else { continue };
        received += data.len() as u64;
        if began.elapsed() > patience + Duration::from_secs(received / RATE_MIN) {
            return Err(slow());
        }
        upload.append(&data).await?;
    }
    Ok(upload)
}
