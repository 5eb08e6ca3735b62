//! Bodies and queries, read strictly: what is not understood is refused, with its place.

use axum::body::Bytes;
use axum::extract::{FromRequest, FromRequestParts, Query, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, header};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use utoipa::IntoParams;
use verdict::core::dsse::{self, ENVELOPE_BYTES_MAX};
use verdict::registry::catalogue::Limit;

use super::problem::Problem;

/// A JSON body.
pub(crate) struct Json<T>(pub(crate) T);

/// The body is a signed envelope, of which nothing is known yet.
pub(crate) struct Signed(pub(crate) Bytes);

/// The parameters of a query.
pub(crate) struct Asking<T>(pub(crate) T);

/// Which page of a list.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct Paging {
    /// How many items, 1 to 1,000; 100 if nothing is said.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<u32>,
    /// Where to go on: `next` of the page before.
    after: Option<String>,
}

impl Paging {
    pub(crate) fn limit(&self) -> Result<Limit, Problem> {
        limit(self.limit)
    }

    /// Where to go on, of lists whose cursor is a name, a number or the like.
    pub(crate) fn after<T: std::str::FromStr>(&self) -> Result<Option<T>, Problem> {
        after(self.after.as_deref())
    }
}

/// The number of items of a page.
pub(crate) fn limit(limit: Option<u32>) -> Result<Limit, Problem> {
    match limit {
        None => Ok(Limit::default()),
        Some(rows @ 1..=1_000) => Ok(Limit::new(rows)),
        Some(rows) => Err(Problem::malformed(format!("`limit` is {rows}; it is 1 to 1000"))),
    }
}

/// Reads a cursor.
pub(crate) fn after<T: std::str::FromStr>(text: Option<&str>) -> Result<Option<T>, Problem> {
    let foreign = |_| Problem::malformed("`after` is not `next` of a page of this list");
    text.map(|text| text.parse().map_err(foreign)).transpose()
}

impl<S: Sync, T: DeserializeOwned> FromRequestParts<S> for Asking<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        match Query::try_from_uri(&parts.uri) {
            Ok(Query(query)) => Ok(Self(query)),
            Err(rejection) => Err(Problem::malformed(rejection.body_text())),
        }
    }
}

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Json<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        expect(request.headers(), &["application/json"])?;
        let bytes = read(request, state).await?;
        let malformed =
            |error: serde_json::Error| Problem::malformed(format!("the body cannot be read: {error}"));
        serde_json::from_slice(&bytes).map(Self).map_err(malformed)
    }
}

impl<S: Send + Sync> FromRequest<S> for Signed {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        expect(request.headers(), &[dsse::MEDIA_TYPE, "application/json"])?;
        let bytes = read(request, state).await?;
        if bytes.len() > ENVELOPE_BYTES_MAX {
            return Err(Problem::too_large(ENVELOPE_BYTES_MAX));
        }
        Ok(Self(bytes))
    }
}

async fn read<S: Send + Sync>(request: Request, state: &S) -> Result<Bytes, Problem> {
    Bytes::from_request(request, state)
        .await
        .map_err(|rejection| Problem::of_status(rejection.status(), &rejection.body_text()))
}

/// Whether the body is of one of these media types.
///
/// # Errors
/// 415.
pub(crate) fn expect(headers: &HeaderMap, media_types: &[&str]) -> Result<(), Problem> {
    let value = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let found = value.split(';').next().unwrap_or_default().trim();
    if media_types.iter().any(|expected| expected.eq_ignore_ascii_case(found)) {
        return Ok(());
    }
    let detail = format!("the body's `Content-Type` is `{found}`; expected `{}`", media_types.join("` or `"));
    Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported-media-type", detail))
}
