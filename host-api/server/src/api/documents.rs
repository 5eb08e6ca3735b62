//! Signed documents as lists and single resources have them, and what becomes of those that are put.

use axum::http::StatusCode;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;
use serde_json::value::RawValue;
use utoipa::ToSchema;
use verdict::core::digest::Digest;
use verdict::core::dsse::Envelope;
use verdict::core::time::Timestamp;
use verdict::registry::catalogue::{Catalogue, DocumentEntry, DocumentName, Page, Put};
use verdict::registry::publish::{Published, Ready};

use super::answer::{Answer, Answered};
use super::body::Paging;
use super::gate::Asked;
use super::page::Items;
use super::problem::Problem;

/// A signed document.
#[derive(Serialize, ToSchema)]
#[schema(as = Document)]
pub(crate) struct DocumentView {
    /// `trust`, `revocations`, `channel` or `data`.
    #[schema(value_type = String)]
    kind: &'static str,
    /// What it is about: nothing, `bank/loan@production`, or `bank`.
    scope: String,
    /// Its sequence, or the version of a trust policy.
    sequence: u64,
    /// The digest of what is signed.
    #[schema(value_type = String)]
    digest: Digest,
    /// When it was issued.
    #[schema(value_type = String, format = DateTime)]
    issued: Timestamp,
    /// Until when it counts.
    #[schema(value_type = String, format = DateTime)]
    expires: Timestamp,
    /// When it was put.
    #[schema(value_type = String, format = DateTime)]
    stored: Timestamp,
    /// By whom.
    stored_by: String,
    /// What it says.
    #[schema(value_type = Object)]
    document: Option<Box<RawValue>>,
    /// The DSSE envelope, its JSON in base64: what can be verified.
    #[schema(content_encoding = "base64")]
    envelope: String,
}

/// What became of a document.
#[derive(Serialize, ToSchema)]
#[schema(as = Published)]
pub(crate) struct PublishedView {
    /// Its sequence, or the version of a trust policy.
    sequence: u64,
    /// The digest of what is signed.
    #[schema(value_type = String)]
    digest: Digest,
    /// `created`, `replaced`, or `unchanged` where the same was there already.
    #[schema(value_type = String)]
    put: &'static str,
    /// Where the server signed it: the DSSE envelope, its JSON in base64.
    #[serde(skip_serializing_if = "Option::is_none")]
    envelope: Option<String>,
}

impl DocumentView {
    fn new(entry: DocumentEntry) -> Self {
        let DocumentEntry { name, sequence, digest, envelope, issued, expires, stored, stored_by } = entry;
        let payload = Envelope::parse(&envelope).ok().map(|envelope| envelope.payload().to_vec());
        let text = payload.and_then(|payload| String::from_utf8(payload).ok());
        Self {
            kind: name.kind().as_str(),
            scope: name.scope().into(),
            sequence,
            digest,
            issued,
            expires,
            stored,
            stored_by,
            document: text.and_then(|text| RawValue::from_string(text).ok()),
            envelope: STANDARD.encode(&envelope),
        }
    }
}

/// What was put, in a word.
pub(super) fn put_name(put: Put) -> &'static str {
    match put {
        Put::Created => "created",
        Put::Replaced => "replaced",
        Put::Unchanged => "unchanged",
    }
}

/// The status of what was put.
pub(super) fn put_status(put: Put) -> StatusCode {
    if put == Put::Created { StatusCode::CREATED } else { StatusCode::OK }
}

fn missing(name: &DocumentName) -> Problem {
    Problem::not_found(format!("there is no document `{name}`"))
}

/// The newest document of a name.
pub(super) async fn newest(catalogue: &Catalogue, asked: &Asked, name: &DocumentName) -> Answered {
    let entry = catalogue.document(name).await?.ok_or_else(|| missing(name))?;
    let sequence = entry.sequence;
    Ok(Answer::ok(&DocumentView::new(entry)).numbered(sequence).unless_seen(asked))
}

/// The documents of a name, the newest first.
pub(super) async fn history(catalogue: &Catalogue, name: &DocumentName, paging: &Paging) -> Answered {
    let after = paging.after()?;
    let page = catalogue.document_history(name, after, paging.limit()?).await?;
    if page.items.is_empty() && after.is_none() {
        return Err(missing(name).into());
    }
    Ok(Answer::ok(&Items::of(page, |entry| entry.sequence.to_string(), DocumentView::new)))
}

/// A page of documents of different names, by scope.
pub(super) fn listed(page: Page<DocumentEntry>, cursor: impl Fn(&DocumentEntry) -> String) -> Answer {
    Answer::ok(&Items::of(page, cursor, DocumentView::new))
}

/// Puts what was checked. What the caller signed is not told again.
pub(super) async fn publish(
    catalogue: &Catalogue,
    asked: Asked,
    ready: &Ready,
    is_signed_here: bool,
) -> Answered {
    let seen = asked.seen()?;
    let mut change = asked.change(catalogue).await?;
    let Published { put, sequence, digest } =
        ready.put(&mut change.write, seen).await.map_err(Problem::from)?;
    let envelope = is_signed_here.then(|| STANDARD.encode(ready.envelope()));
    let view = PublishedView { sequence, digest, put: put_name(put), envelope };
    change.end(Answer::json(put_status(put), &view).numbered(sequence)).await
}
