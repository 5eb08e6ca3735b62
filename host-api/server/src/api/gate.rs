//! What every request of a route passes before its handler: who asks, what about, whether that is allowed, and whether
//! the same was done before. A handler gets what was found out as [`Asked`]; without it there is none.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use axum::body::{Body, to_bytes};
use axum::extract::{FromRequestParts, RawPathParams, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use hyper::body::Bytes;
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use verdict::core::digest::Digest;
use verdict::core::name::Tenant;
use verdict::core::time::Timestamp;
use verdict::registry::catalogue::{Catalogue, Change, Etag, StoredResponse, Write};

use super::answer::{Answer, Answered, Early};
use super::outer::Correlation;
use super::place::Place;
use super::problem::Problem;
use super::rule::{Rule, Whose};
use crate::access::{Action, Denial, Origin, Principal, Role};
use crate::routes::App;

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
/// The longest idempotency key, in bytes.
const KEY_BYTES_MAX: usize = 255;
/// How long the answer to a request with an idempotency key is kept: milliseconds.
const REMEMBERED_MS: i64 = 24 * 60 * 60 * 1_000;

/// A request that may be carried out.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    pub(crate) principal: Arc<Principal>,
    pub(crate) place: Place,
    pub(crate) now: Timestamp,
    /// Whose things it is about; none where it is about those of every tenant.
    pub(crate) tenant: Option<Tenant>,
    correlation: String,
    headers: HeaderMap,
    repeatable: Option<Repeatable>,
}

/// A request that is carried out once, however often it comes.
#[derive(Debug, Clone)]
struct Repeatable {
    key: String,
    /// Of all that makes it this request.
    request: Digest,
}

/// A change under way, in the name of the one who asked for it.
pub(crate) struct Changing {
    pub(crate) write: Write,
    asked: Asked,
}

/// Lets a request pass, or answers in its place.
pub(super) async fn gate(
    State((app, rule)): State<(Arc<App>, Rule)>,
    parameters: RawPathParams,
    request: Request,
    next: Next,
) -> Response {
    match admit(&app, rule, &parameters, request).await {
        Ok(request) => next.run(request).await,
        Err(Early::Problem(problem)) if rule.is_older => problem.of_older_route().into_response(),
        Err(early) => early.into_response(),
    }
}

async fn admit(
    app: &App,
    rule: Rule,
    parameters: &RawPathParams,
    request: Request,
) -> Result<Request, Early> {
    let (mut parts, body) = request.into_parts();
    let principal = app.access.principal(&parts.headers, Origin::of(&parts.extensions)).await;
    let principal = principal.map_err(Problem::of)?;
    let place = Place::read(parameters)?;
    let (body, repeatable) = match wants_body(&parts, rule)? {
        None => (body, None),
        Some(key) => {
            let bytes = whole(body, app.body_bytes_max).await?;
            let repeatable = key.map(|key| Repeatable { key, request: identity(&parts, &bytes) });
            parts.extensions.insert(Taken(bytes.clone()));
            (Body::from(bytes), repeatable)
        }
    };
    let given = Given::read(rule, &parts);
    let tenant = whose(app, rule, &parts, &place, &principal, &given).await?;
    if tenant.as_ref().is_some_and(is_reserved) {
        return Err(reserved().into());
    }
    let resource = place.resource();
    let action = Action::new(rule.action, tenant.as_ref(), &resource);
    let action = if rule.whose == Whose::Body { action.giving(&given.roles) } else { action };
    app.access.judge(&principal, &action).await.map_err(Problem::from)?;
    let correlation = Correlation::of(&parts.extensions);
    let headers = parts.headers.clone();
    let asked = Asked { principal, place, now: now(), tenant, correlation, headers, repeatable };
    asked.recall(app).await?;
    parts.extensions.insert(asked);
    Ok(Request::from_parts(parts, body))
}

/// The body, for who looks at it before the handler does.
#[derive(Clone)]
struct Taken(Bytes);

/// Whether the body is needed before the handler, and the idempotency key.
fn wants_body(parts: &Parts, rule: Rule) -> Result<Option<Option<String>>, Problem> {
    let key = match parts.headers.get(IDEMPOTENCY_KEY) {
        Some(value) if parts.method == Method::POST => {
            let text = value.to_str().unwrap_or_default();
            if !(1..=KEY_BYTES_MAX).contains(&text.len()) || text.bytes().any(|byte| !byte.is_ascii_graphic())
            {
                let detail =
                    format!("`Idempotency-Key` is not 1 to {KEY_BYTES_MAX} visible ASCII characters");
                return Err(Problem::malformed(detail));
            }
            Some(text.to_owned())
        }
        _ => None,
    };
    Ok((key.is_some() || rule.whose == Whose::Body).then_some(key))
}

async fn whole(body: Body, bytes_max: usize) -> Result<Bytes, Problem> {
    to_bytes(body, bytes_max).await.map_err(|error| {
        // The reason is inside: too long, or cut off.
        let is_long = std::error::Error::source(&error)
            .is_some_and(|source| source.is::<http_body_util::LengthLimitError>());
        if is_long { Problem::too_large(bytes_max) } else { Problem::malformed("the body broke off") }
    })
}

/// The digest of all that makes a request this one.
fn identity(parts: &Parts, body: &[u8]) -> Digest {
    let mut hash = Sha256::new();
    let target = parts.uri.path_and_query().map_or("", |target| target.as_str());
    for part in [parts.method.as_str().as_bytes(), target.as_bytes(), body] {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    Digest::of(&hash.finalize())
}

/// What the body of a request says of a new API key, as far as it can be read. What is wrong with it, the handler says.
#[derive(Default)]
struct Given {
    tenant: Option<String>,
    roles: BTreeSet<Role>,
}

impl Given {
    fn read(rule: Rule, parts: &Parts) -> Self {
        let Some(Taken(body)) = parts.extensions.get::<Taken>().filter(|_| rule.whose == Whose::Body) else {
            return Self::default();
        };
        let body: Value = serde_json::from_slice(body).unwrap_or_default();
        let tenant = body.get("tenant").and_then(Value::as_str).map(ToOwned::to_owned);
        let roles = body.get("roles").and_then(Value::as_array).into_iter().flatten();
        Self { tenant, roles: roles.filter_map(|role| role.as_str()?.parse().ok()).collect() }
    }
}

async fn whose(
    app: &App,
    rule: Rule,
    parts: &Parts,
    place: &Place,
    principal: &Principal,
    given: &Given,
) -> Result<Option<Tenant>, Problem> {
    let own = || principal.tenant().cloned();
    match rule.whose {
        Whose::Path => place.tenant().cloned().map(Some),
        Whose::Every => Ok(None),
        Whose::Own => Ok(own()),
        Whose::Query => Ok(queried(parts)?.or_else(own)),
        Whose::Body => Ok(given.tenant.as_deref().map(str::parse).transpose()?),
        // Those of one tenant are asked about their own, whether it is theirs or not, or there: nobody learns which.
        Whose::Key if principal.tenant().is_some() => Ok(own()),
        Whose::Key => Ok(app.catalogue()?.api_key(place.id()?).await?.and_then(|key| key.tenant)),
    }
}

fn queried(parts: &Parts) -> Result<Option<Tenant>, Problem> {
    let query = parts.uri.query().unwrap_or_default();
    let found = form_urlencoded::parse(query.as_bytes()).find(|(name, _)| name == "tenant");
    Ok(found.map(|(_, text)| text.parse()).transpose()?)
}

/// The answer to who asks for what is not there, or is another's.
pub(crate) fn nothing_here() -> Problem {
    Denial::Elsewhere.into()
}

/// Nothing of the tenant whose policy decides about this API can be named in it.
pub(crate) fn is_reserved(tenant: &Tenant) -> bool {
    tenant.as_str() == "system"
}

pub(crate) fn reserved() -> Problem {
    let detail =
        "tenant `system` is the server's own and cannot be reached through the API; see its configuration";
    Problem::new(StatusCode::FORBIDDEN, "reserved-tenant", detail)
}

pub(crate) fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let ms = i64::try_from(since.as_millis()).unwrap_or(i64::MAX);
    Timestamp::from_millis(ms).unwrap_or(Timestamp::EPOCH)
}

impl Asked {
    /// Whether the caller has the representation with this tag.
    pub(super) fn has_seen(&self, tag: &str) -> bool {
        let values = self.headers.get_all(header::IF_NONE_MATCH).into_iter();
        let mut tags = values.filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(','));
        // Weak comparison (RFC 9110, 13.1.2).
        tags.any(|seen| seen.trim() == "*" || seen.trim().trim_start_matches("W/") == tag)
    }

    /// The version of the row that the caller wants to change; none if any will do.
    pub(crate) fn seen(&self) -> Result<Option<Etag>, Problem> {
        let Some(value) = self.headers.get(header::IF_MATCH) else { return Ok(None) };
        let text = value.to_str().unwrap_or_default().trim();
        if text == "*" {
            return Ok(None);
        }
        let number = text.split_once('-').map_or(text.to_owned(), |(number, _)| format!("{number}\""));
        let stale = |_| {
            let detail = "`If-Match` is not a tag of this resource; read it again and give its `ETag`";
            Problem::new(StatusCode::PRECONDITION_FAILED, "stale", detail)
        };
        number.parse().map(Some).map_err(stale)
    }

    /// The event that the caller has seen last, as browsers send it.
    pub(crate) fn last_event(&self) -> Option<&str> {
        self.headers.get("last-event-id")?.to_str().ok()
    }

    async fn recall(&self, app: &App) -> Result<(), Early> {
        let Some(Repeatable { key, request }) = &self.repeatable else { return Ok(()) };
        let Ok(catalogue) = app.catalogue() else { return Ok(()) };
        match catalogue.recall(&self.principal.actor(), key, *request, self.now).await? {
            Some(stored) => Err(Early::Again(Answer::of_stored(stored))),
            None => Ok(()),
        }
    }

    /// Who changes something, when, and in the course of which request.
    pub(crate) fn as_change(&self) -> Change {
        Change { actor: self.principal.actor(), correlation: self.correlation.clone(), at: self.now }
    }

    /// Begins a change, unless the same request was carried out before.
    pub(crate) async fn change(self, catalogue: &Catalogue) -> Result<Changing, Early> {
        let change = self.as_change();
        let actor = change.actor.clone();
        let mut write = catalogue.write(change).await?;
        if let Some(Repeatable { key, request }) = &self.repeatable
            && let Some(stored) = write.recall(&actor, key, *request).await?
        {
            return Err(Early::Again(Answer::of_stored(stored)));
        }
        Ok(Changing { write, asked: self })
    }
}

impl Changing {
    /// Makes the change last, and with it the answer, for whoever repeats the request.
    pub(crate) async fn end(self, answer: Answer) -> Answered {
        let again = answer.stored();
        self.end_otherwise(answer, again).await
    }

    /// As [`end`](Self::end), where who asks again must not be told all of it.
    pub(crate) async fn end_otherwise(mut self, answer: Answer, again: StoredResponse) -> Answered {
        if let Some(Repeatable { key, request }) = &self.asked.repeatable {
            let until = Timestamp::from_millis(self.asked.now.millis().saturating_add(REMEMBERED_MS));
            let until = until.map_err(|_| Problem::internal())?;
            let actor = self.asked.principal.actor();
            let _ = self.write.remember(&actor, key, *request, &again, until).await?;
        }
        self.write.commit().await?;
        Ok(answer)
    }
}

impl<S: Sync> FromRequestParts<S> for Asked {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        // Only routes of the table have it.
        parts.extensions.get::<Self>().cloned().ok_or_else(Problem::internal)
    }
}
