//! What a host follows: the newest signed documents, at once or as soon as there are newer ones.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::{StatusCode, header};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use verdict::registry::served;

use super::answer::{Answer, Answered};
use super::body::Asking;
use super::gate::Asked;
use super::problem::Problem;
use crate::routes::App;

/// The longest that an answer waits for news, in seconds.
const WAIT_MAX: u64 = 30;

/// The newest signed documents. Each is a DSSE envelope: its JSON in base64.
#[derive(Serialize, ToSchema)]
#[schema(as = Documents)]
pub(crate) struct DocumentsView {
    /// The number of the last event before they were read.
    event: u64,
    /// All versions of the trust policy, the oldest first.
    trust: Vec<String>,
    /// The newest revocations.
    revocations: Option<String>,
    /// The newest state of every channel.
    channels: Vec<String>,
    /// The newest data snapshot of every tenant, and those that channels name.
    data: Vec<String>,
}

/// Since when, and how long to wait.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct Since {
    /// Only if something happened after this event.
    after: Option<u64>,
    /// How many seconds to wait for it, at most 30.
    #[param(maximum = 30)]
    wait: Option<u64>,
}

/// The newest signed documents, of all tenants or of the caller's own.
#[utoipa::path(get, path = "/v1/registry/documents", tag = "registry", operation_id = "read_documents", params(Since),
    responses((status = 200, description = "the documents", body = DocumentsView),
        (status = 304, description = "nothing happened after that event; `ETag` is where to go on")))]
pub(super) async fn documents(
    State(app): State<Arc<App>>,
    asked: Asked,
    Asking(Since { after, wait }): Asking<Since>,
) -> Answered {
    let (catalogue, tenant) = (app.catalogue()?, asked.tenant.as_ref());
    let wait = wait.unwrap_or_default();
    if wait > WAIT_MAX {
        return Err(Problem::malformed(format!("`wait` is {wait}; it is at most {WAIT_MAX} seconds")).into());
    }
    // Whoever has seen later events than there are saw them in a database that was restored from a backup since.
    if let Some(after) = after
        && after <= catalogue.event_head().await?
    {
        let news = served::wait(catalogue, after, tenant, Duration::from_secs(wait));
        let (seen, is_new) = tokio::select! {
            news = news => news?,
            () = app.stopped() => (after, false),
        };
        if !is_new {
            return Ok(Answer::empty(StatusCode::NOT_MODIFIED).with(header::ETAG, format!("\"{seen}\"")));
        }
    }
    let (event, documents) = served::documents(catalogue, tenant).await?;
    let all = |envelopes: Vec<Vec<u8>>| envelopes.iter().map(|envelope| STANDARD.encode(envelope)).collect();
    let view = DocumentsView {
        event,
        trust: all(documents.trust),
        revocations: documents.revocations.map(|envelope| STANDARD.encode(envelope)),
        channels: all(documents.channels),
        data: all(documents.data),
    };
    Ok(Answer::ok(&view).numbered(event).unless_seen(&asked))
}
