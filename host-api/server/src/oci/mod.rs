//! `/v2/`: the registry, as the OCI Distribution specification 1.1 has it, for every client that speaks it.
//! <https://github.com/opencontainers/distribution-spec/blob/v1.1.1/spec.md>
//!
//! A caller whose token is for one tenant sees the repositories of that tenant; of others it cannot even learn whether
//! they are there. Large bodies go through in pieces, both ways.

mod body;
mod discovery;
mod error;
mod pull;
mod push;
mod query;
mod range;
mod route;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::body::Body;
use axum::http::request::Parts;
use axum::http::{HeaderName, HeaderValue, Method, StatusCode};
use axum::response::{IntoResponse, Response};
use hyper::Request;
use hyper::body::Incoming;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use verdict::core::name::{PolicyName, Tenant};
use verdict::core::time::Timestamp;
use verdict::registry::catalogue::{Catalogue, CatalogueError, Change, Limit};
use verdict::registry::repository::{Registry, RepositoryError};

use crate::access::{Access, Action, Denial, Origin, Principal};
use crate::listen::Options;
use error::{Code, OciError};
use query::Query;
use route::Route;

pub(crate) use pull::body;
pub(crate) use route::is_here;

/// The digest of what is answered or was pushed.
const CONTENT_DIGEST: HeaderName = HeaderName::from_static("docker-content-digest");
/// By which older clients know a registry.
const API_VERSION: HeaderName = HeaderName::from_static("docker-distribution-api-version");
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// How many bodies are taken at a time; each has up to 2 MiB in memory.
const BODIES_MAX: usize = 128;
const COLLECT_EVERY: Duration = Duration::from_secs(60 * 60);
/// How old garbage is before it goes: longer than any push takes.
const GRACE: Duration = Duration::from_secs(24 * 60 * 60);

/// A registry that is served.
pub(crate) struct Oci {
    registry: Registry,
    access: Access,
    patience: Duration,
    bodies: Arc<Semaphore>,
}

/// A request without its body, and who sent it.
pub(crate) struct Asked {
    parts: Parts,
    principal: Arc<Principal>,
    access: Access,
}

impl Asked {
    async fn judge(&self, action: &'static str, tenant: &Tenant, resource: &str) -> Result<(), Denial> {
        self.access.judge(&self.principal, &Action::new(action, Some(tenant), resource)).await
    }

    /// Whether the caller may pull what belongs to a tenant.
    async fn may_see(&self, tenant: &Tenant) -> Result<bool, OciError> {
        let action = Action::new("repository.pull", Some(tenant), tenant.as_str());
        Ok(self.access.may(&self.principal, &action).await?)
    }

    /// Passes when the caller may read; else it is as if nothing were there.
    async fn reading(&self, repository: &PolicyName) -> Result<(), OciError> {
        match self.judge("repository.pull", repository.tenant(), &repository.to_string()).await {
            Err(Denial::Elsewhere) => Err(RepositoryError::UnknownRepository(repository.clone()).into()),
            judged => Ok(judged?),
        }
    }

    /// Passes when the caller may write. The answer does not depend on what is there.
    async fn writing(&self, repository: &PolicyName) -> Result<(), OciError> {
        Ok(self.judge("repository.push", repository.tenant(), &repository.to_string()).await?)
    }

    /// Passes when the caller may delete. The answer does not depend on what is there.
    async fn deleting(&self, repository: &PolicyName) -> Result<(), OciError> {
        Ok(self.judge("repository.delete", repository.tenant(), &repository.to_string()).await?)
    }

    /// Who changes something, when, and under which id.
    fn change(&self) -> Change {
        static REQUESTS: AtomicU64 = AtomicU64::new(0);
        let at = now();
        let given = self.parts.headers.get(REQUEST_ID).and_then(|value| value.to_str().ok());
        let given = given.filter(|text| !text.is_empty() && text.len() <= 128).map(ToOwned::to_owned);
        let own = || format!("oci-{:x}-{}", at.millis(), REQUESTS.fetch_add(1, Ordering::Relaxed));
        Change { actor: self.principal.actor(), correlation: given.unwrap_or_else(own), at }
    }
}

fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let ms = i64::try_from(since.as_millis()).unwrap_or(i64::MAX);
    Timestamp::from_millis(ms).unwrap_or(Timestamp::EPOCH)
}

impl Oci {
    pub(crate) fn new(registry: Registry, options: &Options) -> Self {
        let bodies = Arc::new(Semaphore::new(BODIES_MAX));
        Self { registry, access: options.access.clone(), patience: options.request_timeout, bodies }
    }

    /// Answers one request.
    pub(crate) async fn answer(self: Arc<Self>, request: Request<Incoming>) -> Response {
        let reads = matches!(*request.method(), Method::GET | Method::HEAD);
        let result = if reads {
            self.respond(request).await
        } else {
            // In a task of its own: a client that goes away ends its connection, and what was begun is still ended
            // in order, such as keeping what has come of a chunk.
            let task = tokio::spawn(async move { self.respond(request).await });
            let cut_off = |_| {
                let message = "the request was cut off; try again";
                Err(OciError::new(StatusCode::SERVICE_UNAVAILABLE, Code::Unknown, message))
            };
            task.await.unwrap_or_else(cut_off)
        };
        let mut response = result.unwrap_or_else(IntoResponse::into_response);
        response.headers_mut().insert(API_VERSION, HeaderValue::from_static("registry/2.0"));
        response
    }

    async fn respond(&self, request: Request<Incoming>) -> Result<Response, OciError> {
        let (parts, body) = request.into_parts();
        let principal = self.access.principal_or_user(&parts.headers, Origin::of(&parts.extensions)).await?;
        let route = Route::parse(&parts.method, parts.uri.path())?;
        let asked = Asked { parts, principal, access: self.access.clone() };
        match route {
            Route::Base | Route::Catalog | Route::Tags(_) | Route::Referrers(..) => {
                self.discover(&asked, route).await
            }
            Route::Manifest(..) | Route::Blob(..) => self.content(&asked, route, body).await,
            Route::Uploads(repository) => match asked.parts.method {
                Method::POST => {
                    asked.writing(&repository).await?;
                    self.begin(&asked, &repository, body).await
                }
                _ => Err(OciError::method("POST")),
            },
            Route::Upload(repository, id) => {
                asked.writing(&repository).await?;
                let upload = self.registry.upload(&repository, id).await?;
                match asked.parts.method {
                    Method::GET | Method::HEAD => self.state(&upload).await,
                    Method::PATCH => self.chunk(&asked, &upload, body).await,
                    Method::PUT => self.finish(&asked, &upload, body).await,
                    Method::DELETE => self.cancel(&asked, &upload).await,
                    _ => Err(OciError::method("GET, PATCH, PUT, DELETE")),
                }
            }
        }
    }

    async fn discover(&self, asked: &Asked, route: Route) -> Result<Response, OciError> {
        if !matches!(asked.parts.method, Method::GET | Method::HEAD) {
            return Err(OciError::method("GET, HEAD"));
        }
        match route {
            Route::Catalog => discovery::catalog(&self.registry, asked).await,
            Route::Tags(repository) => {
                asked.reading(&repository).await?;
                discovery::tags(&self.registry, &repository, &Query::of(&asked.parts.uri)).await
            }
            Route::Referrers(repository, subject) => {
                discovery::referrers(&self.registry, asked, &repository, subject).await
            }
            _ => Ok(crate::error::json(StatusCode::OK, &serde_json::json!({}))),
        }
    }

    async fn content(&self, asked: &Asked, route: Route, body: Incoming) -> Result<Response, OciError> {
        let (method, registry) = (&asked.parts.method, &self.registry);
        match (method, route) {
            (&Method::GET | &Method::HEAD, Route::Manifest(repository, reference)) => {
                asked.reading(&repository).await?;
                pull::manifest(registry, &repository, &reference, method).await
            }
            (&Method::GET | &Method::HEAD, Route::Blob(repository, digest)) => {
                asked.reading(&repository).await?;
                pull::blob(registry, &repository, digest, method, &asked.parts.headers).await
            }
            (&Method::PUT, Route::Manifest(repository, reference)) => {
                asked.writing(&repository).await?;
                self.put_manifest(asked, &repository, &reference, body).await
            }
            (&Method::DELETE, Route::Manifest(repository, reference)) => {
                asked.deleting(&repository).await?;
                registry.delete_manifest(&repository, &reference, asked.change()).await?;
                Ok(pull::answer(StatusCode::ACCEPTED, [], Body::empty()))
            }
            (&Method::DELETE, Route::Blob(repository, digest)) => {
                asked.deleting(&repository).await?;
                registry.delete_blob(&repository, digest, asked.change()).await?;
                Ok(pull::answer(StatusCode::ACCEPTED, [], Body::empty()))
            }
            (_, Route::Manifest(..)) => Err(OciError::method("GET, HEAD, PUT, DELETE")),
            _ => Err(OciError::method("GET, HEAD, DELETE")),
        }
    }

    /// A place for one body, so that memory is bounded whoever comes.
    fn place(&self) -> Result<OwnedSemaphorePermit, OciError> {
        let full = |_| OciError::busy("too much is being pushed at a time; try again");
        Arc::clone(&self.bodies).try_acquire_owned().map_err(full)
    }
}

/// Collects garbage from time to time, until it is aborted.
pub(crate) async fn collect(registry: Registry) {
    let mut ticks = tokio::time::interval(COLLECT_EVERY);
    loop {
        ticks.tick().await;
        match registry.collect(now(), GRACE).await {
            Ok(collected) => tracing::info!(?collected, "collected garbage"),
            Err(error) => tracing::error!(%error, "collecting garbage failed; it is tried again"),
        }
        if let Err(error) = forget(registry.catalogue()).await {
            tracing::error!(%error, "answers that are over could not be forgotten; it is tried again");
        }
    }
}

/// Forgets the answers that were kept for those who repeat a request, once they are over.
async fn forget(catalogue: &Catalogue) -> Result<(), CatalogueError> {
    loop {
        let change = Change { actor: "server".into(), correlation: "forget".into(), at: now() };
        let mut write = catalogue.write(change).await?;
        let forgotten = write.forget_responses(Limit::default()).await?;
        write.commit().await?;
        if forgotten == 0 {
            return Ok(());
        }
    }
}
