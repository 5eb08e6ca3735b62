//! The keys of an issuer (JWKS, RFC 7517): from a file or over HTTP, read again when they may have changed.

use std::collections::HashMap;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyAlgorithm, KeyOperations, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey};
use serde::Deserialize;
use tokio::sync::Mutex;

/// What a set of keys may have, in bytes.
const BYTES_MAX: usize = 256 << 10;
const FETCH_TIME_MAX: Duration = Duration::from_secs(10);
/// After this keys are read again: one that the issuer took back counts no longer than this.
const FRESH: Duration = Duration::from_secs(300);
/// After this, keys that could not be read again count no longer.
const KEPT_MAX: Duration = Duration::from_secs(3_600);
/// How often keys may be read in a row, and how long one more time takes to come. Whoever sends tokens with keys that
/// nobody knows makes the issuer no more work than this.
const READS_MAX: u32 = 4;
const READ_EVERY: Duration = Duration::from_secs(30);

/// Where an issuer's keys are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Jwks {
    /// A file of this machine.
    File(PathBuf),
    /// An `https` address, or an `http` one of this machine.
    Url(String),
}

impl Jwks {
    /// Reads `https://…` (or `http://…`), or a path.
    pub fn parse(text: &str) -> Self {
        let is_url = text.starts_with("https://") || text.starts_with("http://");
        if is_url { Self::Url(text.into()) } else { Self::File(text.into()) }
    }
}

/// A key, with the one algorithm that it is for. A token does not choose.
#[derive(Debug, Clone)]
pub(super) struct Key {
    pub(super) algorithm: Algorithm,
    pub(super) key: DecodingKey,
}

/// There is no key for a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NoKey {
    /// The issuer does not have it.
    Unknown,
    /// The issuer's keys cannot be had.
    Unavailable,
}

#[derive(Debug, Default)]
struct Known {
    keys: HashMap<String, Arc<Key>>,
    /// None before the first time.
    read: Option<Instant>,
}

impl Known {
    fn is_younger(&self, than: Duration, now: Instant) -> bool {
        self.read.is_some_and(|read| now.saturating_duration_since(read) < than)
    }
}

/// How often the keys may still be read now.
#[derive(Debug)]
struct Budget {
    left: u32,
    since: Instant,
}

impl Budget {
    fn take(&mut self, now: Instant) -> bool {
        let waited = now.saturating_duration_since(self.since).as_secs();
        let come = u32::try_from(waited / READ_EVERY.as_secs()).unwrap_or(u32::MAX);
        if come > 0 {
            self.left = self.left.saturating_add(come).min(READS_MAX);
            self.since = now;
        }
        let may = self.left > 0;
        self.left = self.left.saturating_sub(1);
        may
    }
}

/// An issuer's keys.
#[derive(Debug)]
pub(super) struct KeySet {
    source: Source,
    known: RwLock<Arc<Known>>,
    budget: Mutex<Budget>,
}

#[derive(Debug)]
enum Source {
    File(PathBuf),
    Url(reqwest::Client, reqwest::Url),
}

impl KeySet {
    /// Reads the keys for the first time. A file that cannot be read is an error; an issuer that does not answer now may
    /// answer later, and until then none of its tokens counts.
    pub(super) async fn open(jwks: &Jwks, now: Instant) -> Result<Self, String> {
        let source = Source::new(jwks)?;
        let budget = Mutex::new(Budget { left: READS_MAX, since: now });
        let set = Self { source, known: RwLock::default(), budget };
        match (set.source.read().await, jwks) {
            (Ok(keys), _) => set.keep(keys, now),
            (Err(reason), Jwks::File(_)) => return Err(reason),
            (Err(reason), Jwks::Url(url)) => {
                tracing::error!(url, reason, "the issuer's keys cannot be had; none of its tokens counts");
            }
        }
        Ok(set)
    }

    /// The key with this id, at this time.
    pub(super) async fn key(&self, id: &str, now: Instant) -> Result<Arc<Key>, NoKey> {
        let known = self.known();
        let found = known.keys.get(id).filter(|_| known.is_younger(KEPT_MAX, now));
        let budget = match found {
            Some(key) if known.is_younger(FRESH, now) => return Ok(Arc::clone(key)),
            // While another request reads them again, the old ones do.
            Some(key) => match self.budget.try_lock() {
                Ok(budget) => budget,
                Err(_) => return Ok(Arc::clone(key)),
            },
            None => self.budget.lock().await,
        };
        self.read_again(budget, id, known.read, now).await;
        let known = self.known();
        if !known.is_younger(KEPT_MAX, now) {
            return Err(NoKey::Unavailable);
        }
        known.keys.get(id).cloned().ok_or(NoKey::Unknown)
    }

    async fn read_again(
        &self,
        mut budget: tokio::sync::MutexGuard<'_, Budget>,
        id: &str,
        seen: Option<Instant>,
        now: Instant,
    ) {
        let known = self.known();
        // Others may have read them while this one waited.
        if (known.read != seen && known.keys.contains_key(id)) || !budget.take(now) {
            return;
        }
        match self.source.read().await {
            Ok(keys) => self.keep(keys, now),
            Err(reason) => tracing::error!(reason, "the issuer's keys cannot be read again"),
        }
    }

    fn known(&self) -> Arc<Known> {
        Arc::clone(&self.known.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn keep(&self, keys: HashMap<String, Arc<Key>>, now: Instant) {
        let known = Known { keys, read: Some(now) };
        *self.known.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(known);
    }
}

impl Source {
    fn new(jwks: &Jwks) -> Result<Self, String> {
        let text = match jwks {
            Jwks::File(path) => return Ok(Self::File(path.clone())),
            Jwks::Url(text) => text,
        };
        let url: reqwest::Url = text.parse().map_err(|_| format!("`{text}` is not an address"))?;
        if url.scheme() != "https" && !(url.scheme() == "http" && is_own(&url)) {
            return Err(format!(
                "`{text}` is not an `https` address: anybody on the way could change the keys"
            ));
        }
        if !url.username().is_empty() || url.password().is_some() {
            // It would be told in the log with the address.
            return Err(
                "the address of the keys has a user or a password; they are public, leave it out".into()
            );
        }
        let client = reqwest::Client::builder()
            .user_agent(concat!("verdict/", env!("CARGO_PKG_VERSION")))
            .timeout(FETCH_TIME_MAX)
            .redirect(reqwest::redirect::Policy::none())
            .build();
        Ok(Self::Url(client.map_err(|error| error.to_string())?, url))
    }

    async fn read(&self) -> Result<HashMap<String, Arc<Key>>, String> {
        let bytes = match self {
            Self::File(path) => {
                let path = path.clone();
                let read = tokio::task::spawn_blocking(move || read_file(&path)).await;
                read.map_err(|error| error.to_string())??
            }
            Self::Url(client, url) => fetch(client, url.clone()).await?,
        };
        parse(&bytes)
    }
}

/// Whether an address is this machine's.
fn is_own(url: &reqwest::Url) -> bool {
    let host = url.host_str().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

fn read_file(path: &Path) -> Result<Vec<u8>, String> {
    let failed = |error: std::io::Error| format!("cannot read `{}`: {error}", path.display());
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path).map_err(failed)?;
    file.take(BYTES_MAX as u64 + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() > BYTES_MAX { Err(too_large()) } else { Ok(bytes) }
}

async fn fetch(client: &reqwest::Client, url: reqwest::Url) -> Result<Vec<u8>, String> {
    let failed = |error: reqwest::Error| error.to_string();
    let mut response = client.get(url).send().await.map_err(failed)?;
    if response.status() != reqwest::StatusCode::OK {
        return Err(format!("the issuer answers {}", response.status()));
    }
    let mut bytes = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(failed)? {
        if bytes.len() + chunk.len() > BYTES_MAX {
            return Err(too_large());
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes)
}

fn too_large() -> String {
    format!("a set of keys may have {BYTES_MAX} bytes")
}

/// The keys of a set that can be used here; what else is in it (RFC 7517, section 5) does not count.
fn parse(bytes: &[u8]) -> Result<HashMap<String, Arc<Key>>, String> {
    #[derive(Deserialize)]
    struct Set {
        keys: Vec<serde_json::Value>,
    }
    let set: Set = serde_json::from_slice(bytes).map_err(|error| format!("not a set of keys: {error}"))?;
    let mut keys = HashMap::new();
    for value in set.keys {
        let Some((id, key)) = serde_json::from_value(value).ok().as_ref().and_then(usable) else { continue };
        if keys.insert(id.clone(), Arc::new(key)).is_some() {
            return Err(format!("two keys have the id `{id}`"));
        }
    }
    if keys.is_empty() {
        return Err("none of the keys has an id and is for EdDSA, ES256 or RS256".into());
    }
    Ok(keys)
}

fn usable(jwk: &Jwk) -> Option<(String, Key)> {
    let common = &jwk.common;
    let verifies =
        common.key_operations.as_ref().is_none_or(|operations| operations.contains(&KeyOperations::Verify));
    if !verifies || !matches!(common.public_key_use, None | Some(PublicKeyUse::Signature)) {
        return None;
    }
    // The key's own curve and algorithm must agree. Keys of two sides (`oct`) are never public.
    let algorithm = match (&jwk.algorithm, common.key_algorithm) {
        (AlgorithmParameters::OctetKeyPair(key), None | Some(KeyAlgorithm::EdDSA))
            if key.curve == EllipticCurve::Ed25519 =>
        {
            Algorithm::EdDSA
        }
        (AlgorithmParameters::EllipticCurve(key), None | Some(KeyAlgorithm::ES256))
            if key.curve == EllipticCurve::P256 =>
        {
            Algorithm::ES256
        }
        (AlgorithmParameters::RSA(_), None | Some(KeyAlgorithm::RS256)) => Algorithm::RS256,
        _ => return None,
    };
    let key = DecodingKey::from_jwk(jwk).ok()?;
    Some((common.key_id.clone()?, Key { algorithm, key }))
}
