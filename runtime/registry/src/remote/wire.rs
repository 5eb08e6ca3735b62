//! Requests to one registry: with limits on what is read and how long it may take, with the credentials it asks for,
//! and again, a few times, when it or the network has a bad moment.
//!
//! What a registry answers is not trusted. No answer is read beyond the limit that its request states, credentials go
//! to the registry and to where it says tokens are issued, over TLS, and nowhere else.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use backon::{ExponentialBuilder, Retryable as _};
use bytes::{Bytes, BytesMut};
use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER};
use reqwest::{Method, StatusCode, Url};
use serde::Deserialize;
use tokio::sync::Mutex;
use verdict_core::refusal::{Refusal, RefusalCode};

use super::challenge::{Challenge, token_request};
use super::credentials::Credentials;
use super::error::{Answered, Problem, RemoteError};
use super::progress::{Counted, Progress, ProgressFn};
use super::reference::RegistryHost;

/// How much of an answer that says no is read, in bytes.
const COMPLAINT_BYTES_MAX: usize = 16 << 10;
/// How much of it is shown, in characters.
const COMPLAINT_SHOWN_MAX: usize = 300;
const CONNECT_TIME: Duration = Duration::from_secs(10);
const SILENCE_TIME: Duration = Duration::from_secs(30);
/// A document is small.
const DOCUMENT_TIME: Duration = Duration::from_secs(60);
/// The largest component, over a slow line.
const BLOB_TIME: Duration = Duration::from_secs(15 * 60);
const RETRIES_MAX: usize = 4;
const RETRY_AFTER_MAX: Duration = Duration::from_secs(30);
const REDIRECTS_MAX: usize = 5;
/// RFC 9457, section 3.
const PROBLEM_MEDIA_TYPE: &str = "application/problem+json";
/// What comes before the code in the type of a problem.
const PROBLEM_TYPE_PREFIX: &str = "urn:verdict:problem:";

/// A request.
#[derive(Clone)]
pub(crate) struct Call {
    pub(crate) method: Method,
    /// A path of the registry, or a whole address that it gave.
    pub(crate) url: String,
    pub(crate) accept: Option<&'static str>,
    /// More headers: conditions, and what makes a request the same when it is sent again.
    pub(crate) headers: Vec<(HeaderName, String)>,
    pub(crate) content: Option<(&'static str, Bytes)>,
    /// Whether it moves a blob, which takes longer and is shown.
    pub(crate) is_blob: bool,
    /// The largest answer that is read, in bytes.
    pub(crate) bytes_max: usize,
}

impl Call {
    pub(crate) fn new(method: Method, url: impl Into<String>) -> Self {
        Self {
            method,
            url: url.into(),
            accept: None,
            headers: Vec::new(),
            content: None,
            is_blob: false,
            bytes_max: 0,
        }
    }
}

/// An answer that is not a failure of the registry or the network; it may say no.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    /// Where it came from in the end.
    pub(crate) url: Url,
}

/// One registry, and what we may do there.
pub(crate) struct Wire {
    http: reqwest::Client,
    host: RegistryHost,
    base: Url,
    credentials: Option<Credentials>,
    /// What is asked for when a token is: `repository:NAME:pull,push`.
    scope: String,
    authorization: Mutex<Option<HeaderValue>>,
    progress: Option<Arc<ProgressFn>>,
}

/// The client of HTTP for all registries, or for the one behind a Unix socket.
pub(crate) fn http(plain_http: bool, socket: Option<&Path>) -> Result<reqwest::Client, RemoteError> {
    let redirects = reqwest::redirect::Policy::custom(move |attempt| {
        let down = !plain_http && attempt.url().scheme() != "https";
        if down || attempt.previous().len() > REDIRECTS_MAX {
            attempt.error("it leads out of TLS, or on and on")
        } else {
            attempt.follow()
        }
    });
    let mut builder = reqwest::Client::builder()
        .user_agent(concat!("verdict/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(CONNECT_TIME)
        .read_timeout(SILENCE_TIME)
        .redirect(redirects);
    if let Some(path) = socket {
        builder = builder.unix_socket(path);
    }
    builder.build().map_err(|error| {
        let message = format!("TLS cannot be set up: {error}");
        Refusal::new(RefusalCode::Unreadable, message).into()
    })
}

/// Tries something again, a few times, while what goes wrong may pass.
pub(crate) async fn persist<T, F>(attempt: impl FnMut() -> F) -> Result<T, RemoteError>
where
    F: Future<Output = Result<T, RemoteError>>,
{
    let backoff = ExponentialBuilder::new()
        .with_min_delay(Duration::from_millis(200))
        .with_max_delay(Duration::from_secs(5))
        .with_max_times(RETRIES_MAX)
        .with_jitter();
    attempt
        .retry(backoff)
        .when(RemoteError::is_transient)
        .adjust(|error, delay| Some(delay?.max(error.retry_after().unwrap_or_default()).min(RETRY_AFTER_MAX)))
        .await
}

impl Wire {
    pub(crate) fn new(
        http: reqwest::Client,
        host: &RegistryHost,
        plain_http: bool,
        credentials: Option<Credentials>,
        scope: String,
        progress: Option<Arc<ProgressFn>>,
    ) -> Result<Self, RemoteError> {
        let scheme = if plain_http { "http" } else { "https" };
        let base = Url::parse(&format!("{scheme}://{}/", host.api()))
            .map_err(|error| unreachable(host, plain_http, error.to_string()))?;
        let authorization = Mutex::new(None);
        Ok(Self { http, host: host.clone(), base, credentials, scope, authorization, progress })
    }

    /// Shows who we are from the first request on: to a server that does not ask.
    pub(crate) fn authorized(self) -> Result<Self, RemoteError> {
        let Some(credentials) = &self.credentials else { return Ok(self) };
        let mut value = HeaderValue::try_from(credentials.basic()).map_err(|_| RemoteError::Token)?;
        value.set_sensitive(true);
        Ok(Self { authorization: Mutex::new(Some(value)), ..self })
    }

    pub(crate) fn host(&self) -> &RegistryHost {
        &self.host
    }

    /// Sends a request, several times if need be. Answers of the kinds that pass are not returned but tried again.
    pub(crate) async fn send(&self, call: Call) -> Result<Answer, RemoteError> {
        persist(|| self.send_once(&call)).await
    }

    /// Sends a request once.
    pub(crate) async fn send_once(&self, call: &Call) -> Result<Answer, RemoteError> {
        let url = self.resolve(&call.url)?;
        // What the registry sends elsewhere is not shown who we are.
        let is_registry = url.origin() == self.base.origin();
        let known = if is_registry { self.authorization.lock().await.clone() } else { None };
        let mut response = self.request(call, &url, known).await?;
        if response.status() == StatusCode::UNAUTHORIZED && is_registry {
            let challenges = Challenge::all(response.headers());
            if let Some(authorization) = self.authorize(&challenges).await? {
                *self.authorization.lock().await = Some(authorization.clone());
                response = self.request(call, &url, Some(authorization)).await?;
            }
        }
        self.answer(call, response).await
    }

    /// An address of the registry, or one that it named. The latter does not lead out of TLS.
    pub(crate) fn resolve(&self, url: &str) -> Result<Url, RemoteError> {
        let wrong = |reason: &str| self.unreachable(format!("it leads to an address that {reason}"));
        let url = self.base.join(url).map_err(|_| wrong("is none"))?;
        match url.scheme() {
            "https" => Ok(url),
            "http" if self.base.scheme() == "http" => Ok(url),
            _ => Err(wrong("is not protected by TLS")),
        }
    }

    /// Sends a request whose answer has no end, and reads only the head of the answer.
    pub(crate) async fn open(&self, call: &Call) -> Result<reqwest::Response, RemoteError> {
        let url = self.resolve(&call.url)?;
        let authorization = self.authorization.lock().await.clone();
        let response = self.request(call, &url, authorization).await?;
        if response.status().is_success() {
            return Ok(response);
        }
        let answer = self.answer(call, response).await?;
        Err(self.complaint(call, &answer))
    }

    async fn request(
        &self,
        call: &Call,
        url: &Url,
        authorization: Option<HeaderValue>,
    ) -> Result<reqwest::Response, RemoteError> {
        let time = if call.is_blob { BLOB_TIME } else { DOCUMENT_TIME };
        let mut request = self.http.request(call.method.clone(), url.clone()).timeout(time);
        for (name, value) in &call.headers {
            request = request.header(name, value);
        }
        if let Some(accept) = call.accept {
            request = request.header(ACCEPT, accept);
        }
        if let Some(authorization) = authorization {
            request = request.header(AUTHORIZATION, authorization);
        }
        request = match &call.content {
            Some((media_type, bytes)) if call.is_blob => request
                .header(CONTENT_TYPE, *media_type)
                .body(reqwest::Body::wrap(Counted::new(bytes.clone(), self.progress.clone()))),
            Some((media_type, bytes)) => request.header(CONTENT_TYPE, *media_type).body(bytes.clone()),
            // Some registries insist on being told that there is nothing.
            None if call.method == Method::POST => request.body(Bytes::new()).header("content-length", 0),
            None => request,
        };
        request.send().await.map_err(|error| self.unreachable(chain(&error)))
    }

    async fn answer(&self, call: &Call, response: reqwest::Response) -> Result<Answer, RemoteError> {
        let (status, headers, url) = (response.status(), response.headers().clone(), response.url().clone());
        if status.is_success() {
            let body = self.read(call, response).await?;
            return Ok(Answer { status, headers, body, url });
        }
        let body = self.read_complaint(response).await;
        let answer = Answer { status, headers, body, url };
        match status.as_u16() {
            401 | 403 => Err(self.denied(call, &answer)),
            408 | 429 | 500 | 502..=504 => Err(self.complaint(call, &answer)),
            _ => Ok(answer),
        }
    }

    async fn read(&self, call: &Call, mut response: reqwest::Response) -> Result<Bytes, RemoteError> {
        if call.method == Method::HEAD {
            return Ok(Bytes::new());
        }
        let too_large = || {
            let message = format!(
                "the registry `{}` answers with more than the {} bytes that are read of `{}`",
                self.host, call.bytes_max, call.url
            );
            Refusal::new(RefusalCode::TooLarge, message)
        };
        let bound = u64::try_from(call.bytes_max).unwrap_or(u64::MAX);
        if call.bytes_max > 0 && response.content_length().is_some_and(|length| length > bound) {
            return Err(too_large().into());
        }
        let mut body = BytesMut::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| self.unreachable(chain(&error)))? {
            if call.bytes_max == 0 {
                // Nothing is expected of it, and nothing looked at.
                return Ok(Bytes::new());
            }
            if body.len() + chunk.len() > call.bytes_max {
                return Err(too_large().into());
            }
            if call.is_blob
                && let Some(progress) = &self.progress
            {
                progress(Progress::Moved(u64::try_from(chunk.len()).unwrap_or(u64::MAX)));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body.freeze())
    }

    /// The beginning of an answer that says no. That it does counts, even if its reason is cut off.
    async fn read_complaint(&self, mut response: reqwest::Response) -> Bytes {
        let mut body = BytesMut::new();
        while let Ok(Some(chunk)) = response.chunk().await {
            body.extend_from_slice(&chunk);
            if body.len() >= COMPLAINT_BYTES_MAX {
                break;
            }
        }
        body.truncate(COMPLAINT_BYTES_MAX);
        body.freeze()
    }

    /// What to show the registry after it asked who we are; none, where we have nothing to show.
    async fn authorize(&self, challenges: &[Challenge]) -> Result<Option<HeaderValue>, RemoteError> {
        let bearer = challenges.iter().find_map(|challenge| match challenge {
            Challenge::Bearer { realm, service, scope } => Some((realm, service, scope)),
            Challenge::Basic => None,
        });
        let value = match (&self.credentials, bearer) {
            (Some(Credentials::Token(token)), _) => format!("Bearer {token}"),
            (_, Some((realm, service, scope))) => {
                let scope =
                    if self.scope.is_empty() { scope.as_deref().unwrap_or_default() } else { &self.scope };
                format!("Bearer {}", self.token(realm, service.as_deref(), scope).await?)
            }
            (Some(credentials), None) if challenges.contains(&Challenge::Basic) => credentials.basic(),
            _ => return Ok(None),
        };
        let mut value = HeaderValue::try_from(value)
            .map_err(|_| self.unreachable("it issues a malformed token".into()))?;
        value.set_sensitive(true);
        Ok(Some(value))
    }

    /// A token from where the registry says that they are issued.
    /// <https://distribution.github.io/distribution/spec/auth/token/>
    async fn token(&self, realm: &str, service: Option<&str>, scope: &str) -> Result<String, RemoteError> {
        #[derive(Deserialize)]
        struct Issued {
            token: Option<String>,
            access_token: Option<String>,
        }
        const TOKEN_BYTES_MAX: usize = 64 << 10;
        let url = token_request(&self.resolve(realm)?, service, scope);
        let mut call = Call::new(Method::GET, url.as_str());
        call.bytes_max = TOKEN_BYTES_MAX;
        let authorization = match &self.credentials {
            Some(credentials) => {
                Some(HeaderValue::try_from(credentials.basic()).map_err(|_| RemoteError::Credentials {
                    host: self.host.clone(),
                    place: "the configuration of Docker".into(),
                    reason: "they cannot be sent".into(),
                })?)
            }
            None => None,
        };
        let response = self.request(&call, &url, authorization).await?;
        let answer = self.answer(&call, response).await?;
        if !answer.status.is_success() {
            return Err(self.complaint(&call, &answer));
        }
        let issued: Option<Issued> = verdict_core::json::parse(&answer.body, TOKEN_BYTES_MAX).ok();
        let token = issued.and_then(|issued| issued.token.or(issued.access_token));
        token.ok_or_else(|| self.unreachable("it issues no token".into()))
    }

    /// An answer that says no as an error.
    pub(crate) fn complaint(&self, call: &Call, answer: &Answer) -> RemoteError {
        self.problem(call, answer).unwrap_or_else(|| RemoteError::Answered {
            host: self.host.clone(),
            answer: Box::new(Answered {
                status: answer.status.as_u16(),
                request: what(call),
                message: shown(&answer.body),
                retry_after: retry_after(answer),
            }),
        })
    }

    /// The reason that a server of ours gives.
    fn problem(&self, call: &Call, answer: &Answer) -> Option<RemoteError> {
        /// Members that are not listed are not needed.
        #[derive(Deserialize)]
        struct Details {
            r#type: String,
            detail: String,
            #[serde(default)]
            correlation_id: String,
        }
        let media_type = answer.headers.get(CONTENT_TYPE)?.to_str().ok()?;
        if !media_type.starts_with(PROBLEM_MEDIA_TYPE) {
            return None;
        }
        let details: Details = verdict_core::json::parse(&answer.body, COMPLAINT_BYTES_MAX).ok()?;
        let problem = Problem {
            status: answer.status.as_u16(),
            code: printable(details.r#type.strip_prefix(PROBLEM_TYPE_PREFIX)?),
            request: what(call),
            message: printable(&details.detail),
            correlation: printable(&details.correlation_id),
            retry_after: retry_after(answer),
            with_token: self.credentials.is_some(),
        };
        Some(RemoteError::Problem { host: self.host.clone(), problem: Box::new(problem) })
    }

    fn denied(&self, call: &Call, answer: &Answer) -> RemoteError {
        if let Some(problem) = self.problem(call, answer) {
            return problem;
        }
        let message = shown(&answer.body);
        RemoteError::Denied {
            host: self.host.clone(),
            what: what(call),
            message: if message.is_empty() { answer.status.to_string() } else { message },
            with_credentials: self.credentials.is_some(),
        }
    }

    pub(crate) fn unreachable(&self, reason: String) -> RemoteError {
        unreachable(&self.host, self.base.scheme() == "http", reason)
    }
}

pub(crate) fn unreachable(host: &RegistryHost, plain_http: bool, reason: String) -> RemoteError {
    RemoteError::Unreachable { host: host.clone(), reason, plain_http }
}

fn retry_after(answer: &Answer) -> Option<Duration> {
    let seconds = answer.headers.get(RETRY_AFTER)?.to_str().ok()?.parse().ok()?;
    Some(Duration::from_secs(seconds))
}

/// What a request is, without what it may have in its query.
fn what(call: &Call) -> String {
    format!("{} {}", call.method, call.url.split('?').next().unwrap_or_default())
}

/// An error and what caused it: the first alone never says. The address in it is left out, for it may be a secret.
pub(crate) fn chain(error: &reqwest::Error) -> String {
    let mut texts = Vec::new();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        texts.push(cause.to_string());
        source = cause.source();
    }
    if error.is_timeout() {
        texts.push("it takes too long".into());
    }
    if texts.is_empty() {
        texts.push("the connection failed".into());
    }
    texts.dedup();
    printable(&texts.join(": "))
}

/// The codes and messages of an answer that says no.
fn shown(body: &[u8]) -> String {
    #[derive(Deserialize)]
    struct Complaint {
        errors: Vec<One>,
    }
    #[derive(Deserialize)]
    struct One {
        code: String,
        #[serde(default)]
        message: Option<String>,
    }
    match verdict_core::json::parse::<Complaint>(body, COMPLAINT_BYTES_MAX) {
        Ok(complaint) => {
            let texts = complaint.errors.iter().map(|one| match one.message.as_deref() {
                Some(message) if !message.is_empty() => format!("{} ({message})", one.code),
                _ => one.code.clone(),
            });
            printable(&texts.collect::<Vec<_>>().join(", "))
        }
        Err(_) => printable(String::from_utf8_lossy(body).lines().next().unwrap_or_default().trim()),
    }
}

/// Text that somebody else wrote, for a terminal.
fn printable(text: &str) -> String {
    let visible = |c: char| if c.is_control() { ' ' } else { c };
    text.chars().take(COMPLAINT_SHOWN_MAX).map(visible).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shows_what_registries_complain_about_and_nothing_for_the_terminal() {
        let body = br#"{"errors":[{"code":"DENIED","message":"no\u001b[2J","detail":{}},{"code":"X"}]}"#;
        assert_eq!(shown(body), "DENIED (no [2J), X");
        assert_eq!(shown(b"<html>\nmore"), "<html>");
        assert_eq!(shown("x".repeat(9_999).as_bytes()).len(), COMPLAINT_SHOWN_MAX);
    }
}
