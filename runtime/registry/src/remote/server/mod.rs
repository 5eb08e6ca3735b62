//! A server of ours: signed documents and the administration of its catalogue under `/v1/`, artifacts under `/v2/`.
//!
//! It is no more trusted than any registry: what it answers is bounded before and while it is read, artifacts are
//! checked against their digests, and what may run, signatures say. Requests block the thread that makes them, as a
//! follower and a command want it; a request that fails by the network's or the server's fault is sent again, a few times.

mod address;
mod api;
mod events;
mod place;

use std::fmt;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::header::{ETAG, IF_NONE_MATCH};
use reqwest::{Method, StatusCode, Url};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tokio::runtime::Runtime;
use verdict_core::artifact::UnverifiedArtifact;
use verdict_core::digest::Digest;
use verdict_core::name::{PolicyName, Tenant};
use verdict_core::refusal::{Refusal, RefusalCode};

use super::error::RemoteError;
use super::progress::ProgressFn;
use super::reference::{Named, Repository};
use super::session::Session;
use super::transfer;
use super::wire::{self, Answer, Call, Wire};
use super::{Remote, RemoteOptions};
use crate::source::{Documents, Source};

pub use address::{ServerUrl, Token};

/// All signed documents of a server, in bytes.
const DOCUMENTS_BYTES_MAX: usize = 256 << 20;
/// The longest that a server is asked to wait for news: shorter than a silence that ends a connection.
const WAIT_MAX: Duration = Duration::from_secs(20);
/// How long to wait before a server that fails is asked again, at first and at most.
const AGAIN_MIN: Duration = Duration::from_millis(200);
const AGAIN_MAX: Duration = Duration::from_secs(5);

/// A server, and who we are there. Clones share connections and what was read last.
#[derive(Clone)]
pub struct Server {
    inner: Arc<Inner>,
}

struct Inner {
    url: ServerUrl,
    http: reqwest::Client,
    token: Option<Token>,
    base: Url,
    wire: Wire,
    last: Mutex<Option<Read>>,
    runtime: Blocking,
}

/// The documents as they were when they were read last.
struct Read {
    event: u64,
    etag: String,
    documents: Documents,
}

/// Waits for what is asynchronous. May be dropped anywhere, also where waiting is not allowed.
struct Blocking(Option<Runtime>);

impl Blocking {
    fn new() -> Result<Self, RemoteError> {
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|error| {
                Refusal::new(RefusalCode::Unreadable, format!("no runtime can be had: {error}"))
            })?;
        Ok(Self(Some(runtime)))
    }
}

impl Drop for Blocking {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("url", &self.inner.url).finish_non_exhaustive()
    }
}

/// Documents on the wire: envelopes in base64.
#[derive(Deserialize)]
struct WireDocuments {
    event: u64,
    trust: Vec<String>,
    revocations: Option<String>,
    channels: Vec<String>,
    data: Vec<String>,
}

impl WireDocuments {
    fn decode(self) -> Option<Documents> {
        let all = |texts: Vec<String>| texts.iter().map(|text| decode(text)).collect::<Option<Vec<_>>>();
        Some(Documents {
            trust: all(self.trust)?,
            revocations: match self.revocations {
                Some(text) => Some(decode(&text)?),
                None => None,
            },
            channels: all(self.channels)?,
            data: all(self.data)?,
        })
    }
}

fn decode(text: &str) -> Option<Vec<u8>> {
    STANDARD.decode(text).ok()
}

impl Server {
    /// A client of a server. Nothing is sent yet.
    ///
    /// # Errors
    /// When TLS cannot be set up on this machine.
    pub fn new(url: ServerUrl, token: Option<Token>) -> Result<Self, RemoteError> {
        let http = wire::http(url.is_plain(), url.socket())?;
        let wire = wire_of(&http, &url, token.clone())?;
        let base = wire.resolve("/")?;
        let (last, runtime) = (Mutex::default(), Blocking::new()?);
        Ok(Self { inner: Arc::new(Inner { url, http, token, base, wire, last, runtime }) })
    }

    /// Where it is.
    pub fn url(&self) -> &ServerUrl {
        &self.inner.url
    }

    /// The repository of a policy.
    ///
    /// # Errors
    /// When it cannot be spelled as one.
    pub fn repository(&self, policy: &PolicyName) -> Result<Repository, RemoteError> {
        Ok(Repository::of(self.url().host(), &policy.to_string())?)
    }

    /// A client of its repositories, which shows nobody else the token.
    ///
    /// # Errors
    /// When TLS cannot be set up on this machine.
    pub fn remote(&self, progress: Option<Arc<ProgressFn>>) -> Result<Remote, RemoteError> {
        let Inner { url, token, .. } = &*self.inner;
        let known = token.clone().map(|token| (url.host().clone(), token.credentials()));
        let options = RemoteOptions { plain_http: url.is_plain(), docker_config: None, progress };
        // It has connections of its own: it is driven elsewhere.
        Ok(Remote { http: wire::http(url.is_plain(), url.socket())?, options, known })
    }

    /// Runs until it is done, on this thread.
    fn block<T>(&self, work: impl Future<Output = Result<T, RemoteError>>) -> Result<T, RemoteError> {
        match &self.inner.runtime.0 {
            Some(runtime) => runtime.block_on(work),
            // Only while it is dropped.
            None => Err(self.inner.wire.unreachable("it is given up".into())),
        }
    }

    /// Sends a request, again where that may help; an answer that says no is an error, but for `304`.
    fn send(&self, call: Call) -> Result<Answer, RemoteError> {
        let answer = self.block(self.inner.wire.send(call.clone()))?;
        self.good(&call, answer)
    }

    fn good(&self, call: &Call, answer: Answer) -> Result<Answer, RemoteError> {
        let is_good = answer.status.is_success() || answer.status == StatusCode::NOT_MODIFIED;
        if is_good { Ok(answer) } else { Err(self.inner.wire.complaint(call, &answer)) }
    }

    /// The path of something on the server: each segment and each value of the query is taken as it is.
    fn address(&self, segments: &[&str], query: &[(&str, &str)]) -> String {
        let mut url = self.inner.base.clone();
        // Fails only for addresses that have no path.
        if let Ok(mut path) = url.path_segments_mut() {
            path.clear().extend(segments);
        }
        if query.is_empty() {
            return url.path().to_owned();
        }
        url.query_pairs_mut().extend_pairs(query);
        format!("{}?{}", url.path(), url.query().unwrap_or_default())
    }

    /// An answer that is to be JSON of this form.
    fn parse<T: DeserializeOwned>(&self, answer: &Answer, bytes_max: usize) -> Result<T, RemoteError> {
        verdict_core::json::parse(&answer.body, bytes_max)
            .map_err(|error| self.malformed(&format!("answers what it should not: {error}")))
    }

    /// An answer that is none.
    fn malformed(&self, what: &str) -> RemoteError {
        let message = format!("the server `{}` {what}", self.inner.url);
        Refusal::new(RefusalCode::MalformedArtifact, message).into()
    }

    fn documents_call(&self, query: &[(&str, &str)]) -> Call {
        let mut call = Call::new(Method::GET, self.address(&["v1", "registry", "documents"], query));
        call.bytes_max = DOCUMENTS_BYTES_MAX;
        call
    }

    /// Keeps documents that were answered.
    fn keep(&self, answer: &Answer) -> Result<Documents, RemoteError> {
        let read: WireDocuments = self.parse(answer, DOCUMENTS_BYTES_MAX)?;
        let event = read.event;
        let malformed = || self.malformed("answers documents that are no base64");
        let documents = read.decode().ok_or_else(malformed)?;
        let etag = answer.headers.get(ETAG).and_then(|etag| etag.to_str().ok());
        let etag = etag.map_or_else(|| format!("\"{event}\""), str::to_owned);
        *self.last() = Some(Read { event, etag, documents: documents.clone() });
        Ok(documents)
    }

    fn last(&self) -> MutexGuard<'_, Option<Read>> {
        // Nothing is left half done under the lock.
        self.inner.last.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The newest signed documents. What has not changed since they were read last is not sent again.
    ///
    /// # Errors
    /// When the server cannot be reached, or says no.
    pub fn read_documents(&self) -> Result<Documents, RemoteError> {
        let mut call = self.documents_call(&[]);
        if let Some(read) = &*self.last() {
            call.headers.push((IF_NONE_MATCH, read.etag.clone()));
        }
        let answer = self.send(call)?;
        if answer.status != StatusCode::NOT_MODIFIED {
            return self.keep(&answer);
        }
        self.go_on(&answer);
        let read = self.last().as_ref().map(|read| read.documents.clone());
        read.ok_or_else(|| self.malformed("says that nothing changed since never"))
    }

    /// Asks once for what came after what was read last; whether there is something.
    fn news(&self, patience: Duration) -> Result<bool, RemoteError> {
        let after = self.last().as_ref().map_or(0, |read| read.event).to_string();
        // Whole seconds, and rather one too long than an instant in which nobody waits.
        let seconds = patience.as_millis().div_ceil(1_000).to_string();
        let call = self.documents_call(&[("after", &after), ("wait", &seconds)]);
        let answer = self.block(self.inner.wire.send_once(&call))?;
        let answer = self.good(&call, answer)?;
        if answer.status == StatusCode::NOT_MODIFIED {
            self.go_on(&answer);
            return Ok(false);
        }
        self.keep(&answer).map(|_| true)
    }

    /// Takes over how far a server has looked for what changes the documents, so that it need not look there again.
    fn go_on(&self, answer: &Answer) {
        let Some(etag) = answer.headers.get(ETAG).and_then(|etag| etag.to_str().ok()) else { return };
        if let (Ok(event), Some(read)) = (etag.trim_matches('"').parse(), self.last().as_mut()) {
            (read.event, read.etag) = (event, etag.into());
        }
    }

    /// The artifact with this image.
    ///
    /// # Errors
    /// When it is not there, is larger than what is read, or is not what its digests say.
    pub fn read_artifact(
        &self,
        policy: &PolicyName,
        image: &Digest,
    ) -> Result<UnverifiedArtifact, RemoteError> {
        let inner = &self.inner;
        let wire = wire_of(&inner.http, &inner.url, inner.token.clone())?;
        let session = Session::new(wire, self.repository(policy)?);
        let source = transfer::Source::Registry(Box::new(session), Named::Digest(*image));
        self.block(transfer::fetch(&source, *image))
    }
}

fn wire_of(http: &reqwest::Client, url: &ServerUrl, token: Option<Token>) -> Result<Wire, RemoteError> {
    let credentials = token.map(Token::credentials);
    Wire::new(http.clone(), url.host(), url.is_plain(), credentials, String::new(), None)?.authorized()
}

impl Source for Server {
    fn documents(&self) -> Result<Documents, Refusal> {
        Ok(self.read_documents()?)
    }

    fn artifact(&self, policy: &PolicyName, image: &Digest) -> Result<UnverifiedArtifact, Refusal> {
        Ok(self.read_artifact(policy, image)?)
    }

    fn data(&self, tenant: &Tenant, content: &Digest, bytes_max: u64) -> Result<Vec<u8>, Refusal> {
        let digest = content.to_string();
        let segments = ["v1", "tenants", tenant.as_str(), "data", "content", &digest];
        let mut call = Call::new(Method::GET, self.address(&segments, &[]));
        call.is_blob = true;
        call.bytes_max = usize::try_from(bytes_max).unwrap_or(usize::MAX);
        Ok(self.send(call)?.body.into())
    }

    /// The server answers as soon as there is something new. One that fails is asked again and again, ever more slowly.
    fn wait(&self, timeout: Duration) {
        let until = Instant::now() + timeout;
        let mut again = AGAIN_MIN;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            match self.news(left.min(WAIT_MAX)) {
                Ok(true) => return,
                Ok(false) => again = AGAIN_MIN,
                Err(_) => {
                    std::thread::sleep(again.min(left));
                    again = (again * 2).min(AGAIN_MAX);
                }
            }
        }
    }
}
