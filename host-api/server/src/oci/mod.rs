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
use verdict::registry::catalogue::Change;
use verdict::registry::repository::{Registry, RepositoryError};

use crate::auth::{Caller, Tokens};
use crate::listen::Options;
use error::{Code, OciError};
use query::Query;
use route::Route;

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
    tokens: Option<Tokens>,
    patience: Duration,
    bodies: Arc<Semaphore>,
}

/// A request without its body, and who sent it.
pub(crate) struct Asked {
    parts: Parts,
    caller: Option<Caller>,
}

impl Asked {
    /// Whether the caller may see what belongs to a tenant.
    fn may_see(&self, tenant: &Tenant) -> bool {
        self.caller.as_ref().is_none_or(|caller| caller.may_see(tenant))
    }

    /// Passes when the caller may read; else it is as if nothing were there.
    fn reading(&self, repository: &PolicyName) -> Result<(), OciError> {
        if self.may_see(repository.tenant()) {
            return Ok(());
        }
        Err(RepositoryError::UnknownRepository(repository.clone()).into())
    }

    /// Passes when the caller may write. The answer does not depend on what is there.
    fn writing(&self, repository: &PolicyName) -> Result<(), OciError> {
        if self.may_see(repository.tenant()) {
            return Ok(());
        }
        let message = "this token is for another tenant";
        Err(OciError::new(StatusCode::FORBIDDEN, Code::Denied, message))
    }

    /// Who changes something, when, and under which id.
    fn change(&self) -> Change {
        static REQUESTS: AtomicU64 = AtomicU64::new(0);
        let at = now();
        let given = self.parts.headers.get(REQUEST_ID).and_then(|value| value.to_str().ok());
        let given = given.filter(|text| !text.is_empty() && text.len() <= 128).map(ToOwned::to_owned);
        let own = || format!("oci-{:x}-{}", at.millis(), REQUESTS.fetch_add(1, Ordering::Relaxed));
        let actor = self.caller.as_ref().map_or("anonymous", Caller::name);
        Change { actor: actor.chars().take(60).collect(), correlation: given.unwrap_or_else(own), at }
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
        Self { registry, tokens: options.tokens.clone(), patience: options.request_timeout, bodies }
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
        let caller = match &self.tokens {
            None => None,
            Some(tokens) => {
                let caller = tokens.caller_or_user(&parts.headers);
                Some(caller.cloned().ok_or_else(OciError::unauthorized)?)
            }
        };
        let route = Route::parse(&parts.method, parts.uri.path())?;
        let asked = Asked { parts, caller };
        match route {
            Route::Base | Route::Catalog | Route::Tags(_) | Route::Referrers(..) => {
                self.discover(&asked, route).await
            }
            Route::Manifest(..) | Route::Blob(..) => self.content(&asked, route, body).await,
            Route::Uploads(repository) => match asked.parts.method {
                Method::POST => {
                    asked.writing(&repository)?;
                    self.begin(&asked, &repository, body).await
                }
                _ => Err(OciError::method("POST")),
            },
            Route::Upload(repository, id) => {
                asked.writing(&repository)?;
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
                asked.reading(&repository)?;
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
                asked.reading(&repository)?;
                pull::manifest(registry, &repository, &reference, method).await
            }
            (&Method::GET | &Method::HEAD, Route::Blob(repository, digest)) => {
                asked.reading(&repository)?;
                pull::blob(registry, &repository, digest, method, &asked.parts.headers).await
            }
            (&Method::PUT, Route::Manifest(repository, reference)) => {
                asked.writing(&repository)?;
                self.put_manifest(asked, &repository, &reference, body).await
            }
            (&Method::DELETE, Route::Manifest(repository, reference)) => {
                asked.writing(&repository)?;
                registry.delete_manifest(&repository, &reference, asked.change()).await?;
                Ok(pull::answer(StatusCode::ACCEPTED, [], Body::empty()))
            }
            (&Method::DELETE, Route::Blob(repository, digest)) => {
                asked.writing(&repository)?;
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
    }
}
