//! Pulling: manifests and blobs, whole, in ranges, or only asked about.

use std::ops::Range;

use axum::body::Body;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures_util::stream::try_unfold;
use hyper::body::Bytes;
use verdict::core::digest::Digest;
use verdict::core::name::PolicyName;
use verdict::registry::catalogue::ManifestEntry;
use verdict::registry::repository::{Blob, Reference, Registry, RepositoryError};

use super::error::OciError;
use super::{CONTENT_DIGEST, range};

/// How much of a blob is in memory at a time, for each client: bytes.
const PIECE_BYTES: u64 = 1 << 20;

/// `GET` and `HEAD /v2/<name>/manifests/<reference>`
pub(crate) async fn manifest(
    registry: &Registry,
    repository: &PolicyName,
    reference: &Reference,
    method: &Method,
) -> Result<Response, OciError> {
    let (entry, body) = if *method == Method::HEAD {
        (registry.manifest(repository, reference).await?, Body::empty())
    } else {
        let (entry, bytes) = registry.read_manifest(repository, reference).await?;
        (entry, Body::from(bytes))
    };
    let ManifestEntry { digest, bytes, media_type, .. } = entry;
    let headers = [
        (header::CONTENT_TYPE, media_type),
        (header::CONTENT_LENGTH, bytes.to_string()),
        (CONTENT_DIGEST, digest.to_string()),
    ];
    Ok(answer(StatusCode::OK, headers, body))
}

/// `GET` and `HEAD /v2/<name>/blobs/<digest>`
pub(crate) async fn blob(
    registry: &Registry,
    repository: &PolicyName,
    digest: Digest,
    method: &Method,
    headers: &HeaderMap,
) -> Result<Response, OciError> {
    let blob = registry.blob(repository, digest).await?;
    let whole = 0..blob.bytes();
    let wanted = range::wanted(headers, blob.bytes()).filter(|_| *method == Method::GET);
    let (status, part) = match wanted {
        None => (StatusCode::OK, whole),
        // The store says that there is nothing, as it says it of any other range.
        Some(range) if range.is_empty() => {
            let nothing = registry.read(&blob, range.start.max(blob.bytes())..u64::MAX).await;
            return Err(nothing.map_or_else(OciError::from, |_| RepositoryError::UnknownBlob(digest).into()));
        }
        Some(range) => (StatusCode::PARTIAL_CONTENT, range),
    };
    let mut head = vec![
        (header::CONTENT_TYPE, "application/octet-stream".to_owned()),
        (header::CONTENT_LENGTH, (part.end - part.start).to_string()),
        (header::ACCEPT_RANGES, "bytes".to_owned()),
        (CONTENT_DIGEST, digest.to_string()),
    ];
    if status == StatusCode::PARTIAL_CONTENT {
        let place = format!("bytes {}-{}/{}", part.start, part.end.saturating_sub(1), blob.bytes());
        head.push((header::CONTENT_RANGE, place));
    }
    let body =
        if *method == Method::HEAD { Body::empty() } else { body(registry.clone(), blob, part).await? };
    Ok(answer(status, head, body))
}

/// A part of a blob as a body. The first piece is read before the head is sent, so that what is damaged or gone is an
/// error and not a body that breaks off.
pub(crate) async fn body(registry: Registry, blob: Blob, part: Range<u64>) -> Result<Body, RepositoryError> {
    if part.is_empty() {
        return Ok(Body::empty());
    }
    let (first, rest) = piece(&registry, &blob, part).await?;
    if rest.is_empty() {
        return Ok(Body::from(first));
    }
    let pieces = try_unfold((Some(first), rest), move |(first, rest)| {
        let registry = registry.clone();
        async move {
            match first {
                Some(first) => Ok(Some((first, (None, rest)))),
                None if rest.is_empty() => Ok(None),
                None => {
                    let read = piece(&registry, &blob, rest).await.inspect_err(|error| {
                        tracing::error!(%error, digest = %blob.digest(), "a blob broke off");
                    });
                    read.map(|(bytes, rest)| Some((bytes, (None, rest))))
                }
            }
        }
    });
    Ok(Body::from_stream(pieces))
}

/// The next piece of a part that is not empty, and what is left.
async fn piece(
    registry: &Registry,
    blob: &Blob,
    part: Range<u64>,
) -> Result<(Bytes, Range<u64>), RepositoryError> {
    let end = part.end.min(part.start.saturating_add(PIECE_BYTES));
    let bytes = registry.read(blob, part.start..end).await?;
    let next = part.start + bytes.len() as u64;
    Ok((bytes, next..part.end))
}

/// An answer with these headers.
pub(crate) fn answer(
    status: StatusCode,
    headers: impl IntoIterator<Item = (HeaderName, String)>,
    body: impl IntoResponse,
) -> Response {
    let mut response = body.into_response();
    *response.status_mut() = status;
    response.headers_mut().clear();
    for (name, value) in headers {
        if let Ok(value) = HeaderValue::from_str(&value) {
            response.headers_mut().append(name, value);
        }
    }
    response
}
