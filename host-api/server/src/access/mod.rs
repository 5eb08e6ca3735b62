//! Who asks, and may they? Every way into the server comes through here.
//!
//! Three nouns: a `Principal` is who asks (a token of a file, an API key, a JSON Web Token, a workload with a client
//! certificate, the owner of the break-glass socket), an `Action` is what is asked for, and [`Access`] says yes or no. It does not know the answer itself: that is
//! the access policy's, a signed Verdict policy in a host of its own ([`AccessPolicy`]). Without one there is only what
//! tokens of a file could always do: ask policies, and use the registry.
//!
//! ```
//! use verdict_server::access::{Access, AccessOptions, Tokens};
//!
//! # async fn run() -> Result<(), Box<dyn std::error::Error>> {
//! let tokens = Tokens::parse("shop 0123456789abcdefghijklmn bank")?;
//! let options = AccessOptions { tokens: Some(tokens), ..AccessOptions::default() };
//! let access = Access::open(options, None, verdict::engine::Compiler::InProcess).await?;
//! # Ok(())
//! # }
//! ```

mod action;
mod break_glass;
mod denial;
mod jwks;
mod jwt;
mod keys;
mod policy;
mod principal;
#[cfg(test)]
mod tests;
mod tokens;
mod workload;

use std::borrow::Cow;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use arc_swap::ArcSwap;
use axum::http::header::AUTHORIZATION;
use axum::http::{Extensions, HeaderMap, StatusCode};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use verdict::core::digest::Digest;
use verdict::core::name::Tenant;
use verdict::core::time::Timestamp;
use verdict::engine::Compiler;
use verdict::registry::catalogue::{ApiKeyEntry, Catalogue};
use verdict::{HostError, Readings};

use crate::error::ApiError;
use crate::still::Still;

use denial::unauthenticated;

pub use break_glass::BreakGlass;
pub use jwks::Jwks;
pub use jwt::JwtOptions;
pub use policy::AccessPolicy;
pub use tokens::{TokenError, Tokens};
pub use workload::{WorkloadError, Workloads};

#[cfg(test)]
pub(crate) use action::ACTIONS;
pub(crate) use action::Action;
pub(crate) use break_glass::{bind, is_owner};
pub(crate) use denial::Denial;
pub(crate) use keys::ApiKey;
pub(crate) use principal::{Kind, Principal, Role};
pub(crate) use workload::{SpiffeId, Workload};

/// The tenant of the access policy. Nothing of it can be reached through the API.
const SYSTEM: &str = "system";
/// The end of the year 9999, in milliseconds since 1970.
const MS_MAX: i64 = 253_402_300_799_999;

/// Who may ask, and what decides about them. By default everybody who can connect may do what needs no access policy.
#[derive(Debug, Default)]
pub struct AccessOptions {
    /// The tokens of a file.
    pub tokens: Option<Tokens>,
    /// The policy that decides who may do what; without it nobody may administer anything, and API keys do not count.
    pub policy: Option<AccessPolicy>,
    /// Whose JSON Web Tokens count. Only with a policy: their roles mean nothing without.
    pub jwt: Option<JwtOptions>,
    /// Whose client certificates say who asks, where the server asks for some.
    pub workloads: Option<Workloads>,
    /// The way in when nothing else works.
    pub break_glass: Option<BreakGlass>,
}

impl AccessOptions {
    /// Whether nobody needs to say who asks.
    pub(crate) fn is_open(&self) -> bool {
        self.tokens.is_none() && self.policy.is_none() && self.jwt.is_none() && self.workloads.is_none()
    }
}

/// Access cannot be decided, so the server must not start.
#[derive(Debug, thiserror::Error)]
pub enum AccessError {
    /// The host of the access policy does not start.
    #[error("the access policy cannot be loaded: {0}")]
    Host(#[from] HostError),
    /// The access policy's artifact is refused.
    #[error("the access policy in `{path}` is refused: {reason}")]
    Refused {
        /// Where it is.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// The folder has another number of policies than one.
    #[error("`{folder}` must have one policy, `system/api-access`, and has {found}")]
    NotAlone {
        /// The folder.
        folder: PathBuf,
        /// How many it has.
        found: usize,
    },
    /// It is another policy.
    #[error(
        "the access policy must be `system/api-access`, with a rule `allow`; set its name in `policy.toml`"
    )]
    Name,
    /// It is not the one that is pinned.
    #[error(
        "the access policy has the component {found}, and {pinned} is pinned; pin the new one if it is meant"
    )]
    Component {
        /// The component that the folder has.
        found: Digest,
        /// The component that was asked for.
        pinned: Digest,
    },
    /// Roles of tokens would mean nothing.
    #[error("JSON Web Tokens need an access policy, which says what their roles may do")]
    JwtWithoutPolicy,
    /// The issuer's keys cannot be used.
    #[error("the issuer's keys cannot be used: {0}")]
    Jwks(String),
    /// What is done over the break-glass socket could not be written down.
    #[error("the break-glass record `{path}` cannot be used: {error}")]
    Record {
        /// The file.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// Loading was cut off.
    #[error("loading the access policy was cut off")]
    CutOff,
}

/// By which door a request came. Kept among its extensions; without it, by the network's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Origin {
    /// Where everybody comes.
    Network,
    /// The same, by somebody whose certificate has said who it is.
    Workload(Workload),
    /// The break-glass socket, its owner checked.
    BreakGlass,
}

impl Origin {
    pub(crate) fn of(extensions: &Extensions) -> Self {
        extensions.get().copied().unwrap_or(Self::Network)
    }
}

/// Says who asks, and whether they may. Clones share everything.
#[derive(Debug, Clone)]
pub struct Access {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    tokens: Option<ArcSwap<Tokens>>,
    /// Where API keys are.
    catalogue: Option<Catalogue>,
    policy: Option<policy::Loaded>,
    jwt: Option<jwt::Tokens>,
    workloads: Option<Workloads>,
    journal: Option<break_glass::Journal>,
    socket: Option<PathBuf>,
    /// API keys that were looked up.
    known: Still<Digest, (Arc<ApiKeyEntry>, Arc<Principal>)>,
    anonymous: Arc<Principal>,
    operator: Arc<Principal>,
}

impl Default for Access {
    /// Everybody who can connect may do what needs no access policy.
    fn default() -> Self {
        Self::assemble(None, None)
    }
}

impl From<Tokens> for Access {
    /// Only the tokens of a file.
    fn from(tokens: Tokens) -> Self {
        Self::assemble(Some(tokens), None)
    }
}

impl Access {
    fn assemble(tokens: Option<Tokens>, rest: Option<Inner>) -> Self {
        let none = || Inner {
            tokens: tokens.map(ArcSwap::from_pointee),
            catalogue: None,
            policy: None,
            jwt: None,
            workloads: None,
            journal: None,
            socket: None,
            known: Still::default(),
            anonymous: Principal::anonymous(),
            operator: Principal::break_glass(),
        };
        Self { inner: Arc::new(rest.unwrap_or_else(none)) }
    }

    /// Loads the access policy and the issuer's keys. API keys are those of the catalogue.
    ///
    /// # Errors
    /// When something that is named cannot be used: then nobody may be let in.
    pub async fn open(
        options: AccessOptions,
        catalogue: Option<Catalogue>,
        compiler: Compiler,
    ) -> Result<Self, AccessError> {
        let AccessOptions { tokens, policy, jwt, workloads, break_glass } = options;
        let policy = match policy {
            None if jwt.is_some() => return Err(AccessError::JwtWithoutPolicy),
            None => None,
            Some(policy) => {
                let open = move || policy::Loaded::open(&policy, compiler);
                Some(tokio::task::spawn_blocking(open).await.map_err(|_| AccessError::CutOff)??)
            }
        };
        let jwt = match jwt {
            None => None,
            Some(options) => Some(jwt::Tokens::open(options).await.map_err(AccessError::Jwks)?),
        };
        let journal = |options: &BreakGlass| {
            let failed = |error| AccessError::Record { path: options.record.clone(), error };
            break_glass::Journal::open(&options.record).map_err(failed)
        };
        let journal = break_glass.as_ref().map(journal).transpose()?;
        let socket = break_glass.map(|options| options.socket);
        let (anonymous, operator) = (Principal::anonymous(), Principal::break_glass());
        let tokens = tokens.map(ArcSwap::from_pointee);
        let known = Still::default();
        let inner =
            Inner { tokens, catalogue, policy, jwt, workloads, journal, socket, known, anonymous, operator };
        Ok(Self::assemble(None, Some(inner)))
    }

    /// Whether nobody needs to say who asks. Such a server must not be reached by others.
    pub(crate) fn is_open(&self) -> bool {
        let Inner { tokens, policy, jwt, workloads, .. } = self.inner.as_ref();
        tokens.is_none() && policy.is_none() && jwt.is_none() && workloads.is_none()
    }

    /// Whether client certificates say who asks.
    pub(crate) fn knows_workloads(&self) -> bool {
        self.inner.workloads.is_some()
    }

    /// By which door somebody with this identity has come.
    pub(crate) fn door_of(&self, id: &SpiffeId) -> Origin {
        let known = self.inner.workloads.as_ref().and_then(|workloads| workloads.find(id));
        known.map_or(Origin::Network, Origin::Workload)
    }

    /// Where the break-glass socket is to be.
    pub(crate) fn socket(&self) -> Option<&std::path::Path> {
        self.inner.socket.as_deref()
    }

    /// Reads the access policy and its trust file again, and the workloads. Where the policy does not hold any more,
    /// nothing is allowed.
    pub(crate) fn reload(&self) {
        if let Some(workloads) = &self.inner.workloads {
            workloads.reload();
        }
        if let Some(policy) = &self.inner.policy {
            policy.reload();
        }
    }

    /// How reading the access policy and its trust file has gone; none where there is no such policy.
    pub(crate) fn readings(&self) -> Option<Readings> {
        Some(self.inner.policy.as_ref()?.recorded.readings())
    }

    /// Why what is done cannot be recorded, and for how long; none where it can be, or nothing is.
    pub(crate) fn log_failure(&self) -> Option<(HostError, Duration)> {
        let host = &self.inner.policy.as_ref()?.recorded;
        Some((host.health().err()?, host.log_failed_for().unwrap_or_default()))
    }

    /// Until when the trust file of the access policy holds, and the policy itself.
    pub(crate) fn ends(&self) -> Vec<(&'static str, Timestamp)> {
        let Some(policy) = &self.inner.policy else { return Vec::new() };
        let trust = policy.recorded.standing().into_iter().map(|standing| ("access-trust", standing.until));
        let policies = policy.recorded.policies().into_iter().map(|policy| ("access-policy", policy.until));
        trust.chain(policies).collect()
    }

    /// Takes other tokens. Where there were none, there are none: a server that knew everybody, or nobody, by a token does
    /// not become another one while it runs.
    pub(crate) fn replace_tokens(&self, tokens: Tokens) {
        if let Some(known) = &self.inner.tokens {
            known.store(Arc::new(tokens));
        }
    }

    /// Writes what is outstanding of the log of access.
    pub(crate) fn flush(&self) {
        if let Some(policy) = &self.inner.policy {
            policy.flush();
        }
    }

    /// Who may ask the policies of a tenant, where that needs no policy and no waiting: a server without an access
    /// policy knows tokens and nothing else. None where it is to be found out by [`principal`](Self::principal) and
    /// [`check`](Self::check), which say the same.
    pub(crate) fn decider(
        &self,
        headers: &HeaderMap,
        origin: Origin,
        tenant: &Tenant,
    ) -> Option<Arc<Principal>> {
        let Inner { tokens, policy, anonymous, .. } = self.inner.as_ref();
        if policy.is_some() || origin == Origin::BreakGlass || tenant.as_str() == SYSTEM {
            return None;
        }
        if let Some(workload) = self.workload(headers, origin) {
            return workload.filter(|workload| workload.is_for(tenant));
        }
        let principal = match tokens {
            None if self.is_open() => Arc::clone(anonymous),
            None => return None,
            Some(tokens) => Arc::clone(tokens.load().holder(&credential(headers, false)?)?),
        };
        principal.is_for(tenant).then_some(principal)
    }

    /// Who a certificate has said that it is, where a request itself says nothing of it: a token is never passed over,
    /// not even a wrong one. Nobody, where it has been taken out meanwhile.
    #[expect(
        clippy::option_option,
        reason = "that no certificate counts differs from one that does not any more"
    )]
    fn workload(&self, headers: &HeaderMap, origin: Origin) -> Option<Option<Arc<Principal>>> {
        let (Origin::Workload(workload), Some(workloads)) = (origin, &self.inner.workloads) else {
            return None;
        };
        (!headers.contains_key(AUTHORIZATION)).then(|| workloads.principal(workload))
    }

    /// Who asks: by `Authorization: Bearer …`, or by client certificate.
    ///
    /// # Errors
    /// 401 where nobody is known by it; 503 where that cannot be told.
    pub(crate) async fn principal(
        &self,
        headers: &HeaderMap,
        origin: Origin,
    ) -> Result<Arc<Principal>, ApiError> {
        if let Some(workload) = self.workload(headers, origin) {
            return workload
                .ok_or_else(|| unauthenticated("this workload is not known here any more; give a token"));
        }
        self.proved(credential(headers, false), origin).await
    }

    /// As [`principal`](Self::principal), with the credential also as the password of any user, as clients of registries
    /// send it (RFC 7617). Not for what a browser can be made to ask.
    pub(crate) async fn principal_or_user(
        &self,
        headers: &HeaderMap,
        origin: Origin,
    ) -> Result<Arc<Principal>, ApiError> {
        if let Some(workload) = self.workload(headers, origin) {
            return workload
                .ok_or_else(|| unauthenticated("this workload is not known here any more; give a token"));
        }
        self.proved(credential(headers, true), origin).await
    }

    async fn proved(
        &self,
        credential: Option<Cow<'_, str>>,
        origin: Origin,
    ) -> Result<Arc<Principal>, ApiError> {
        let Inner { tokens, policy, jwt, anonymous, operator, .. } = self.inner.as_ref();
        if origin == Origin::BreakGlass {
            return Ok(Arc::clone(operator));
        }
        if self.is_open() {
            return Ok(Arc::clone(anonymous));
        }
        let Some(credential) = credential else { return Err(unauthenticated("give a token")) };
        let holder = tokens.as_ref().and_then(|tokens| tokens.load().holder(&credential).cloned());
        if let Some(holder) = holder {
            return Ok(holder);
        }
        // What the roles of keys and claims may do, only a policy says.
        if policy.is_some() {
            if let Some(hash) = keys::hash(&credential) {
                return self.key_holder(hash).await;
            }
            if let Some(jwt) = jwt.as_ref().filter(|_| credential.matches('.').count() == 2) {
                return jwt.principal(&credential).await.map(Arc::new).map_err(of_jwt);
            }
        }
        Err(unauthenticated("the token is not known here; give one that is"))
    }

    async fn key_holder(&self, hash: Digest) -> Result<Arc<Principal>, ApiError> {
        let unknown = || unauthenticated("the API key is not known here, has expired, or was revoked");
        let Some(catalogue) = &self.inner.catalogue else { return Err(unknown()) };
        let generation = catalogue.generation();
        if let Some(generation) = generation
            && let Some((entry, principal)) = self.inner.known.find(generation, &hash)
        {
            return if entry.counts(now()) { Ok(principal) } else { Err(unknown()) };
        }
        let entry = catalogue.api_key_of_hash(hash).await.map_err(|error| {
            tracing::error!(%error, "an API key could not be looked up");
            ApiError::from(Denial::Undecided)
        })?;
        let entry = entry.filter(|entry| entry.counts(now())).ok_or_else(unknown)?;
        // A role that this version does not know gives nothing.
        let roles = entry.roles.iter().filter_map(|role| role.parse().ok()).collect();
        let principal = Arc::new(Principal::api_key(&entry.id, &entry.person, entry.tenant.clone(), roles));
        if let Some(generation) = generation {
            self.inner.known.keep(generation, hash, (Arc::new(entry), Arc::clone(&principal)));
        }
        Ok(principal)
    }

    /// Passes where the principal may do this. What changes something, and what is done over the break-glass socket, is
    /// recorded when this returns.
    ///
    /// # Errors
    /// 403; 404 where it is another tenant's, so that nobody learns what is there; 503 where nothing was decided.
    pub(crate) async fn check(&self, principal: &Principal, action: &Action<'_>) -> Result<(), ApiError> {
        Ok(self.judge(principal, action).await?)
    }

    /// As [`check`](Self::check), for those who say it otherwise.
    pub(crate) async fn judge(&self, principal: &Principal, action: &Action<'_>) -> Result<(), Denial> {
        if action.tenant.is_some_and(|tenant| tenant.as_str() == SYSTEM) {
            return Err(Denial::Elsewhere);
        }
        if principal.kind() == Kind::BreakGlass {
            return self.record(principal, action).await;
        }
        match &self.inner.policy {
            None => without_policy(principal, action),
            Some(policy) => match policy.ask(principal, action, action.is_change()).await.0 {
                policy::Answer::Allowed => Ok(()),
                policy::Answer::Denied => Err(denied(principal, action)),
                policy::Answer::None => Err(Denial::Undecided),
            },
        }
    }

    /// The owner of the socket may do everything that is recorded: a policy that denies it, or faults, may be what has to
    /// be mended.
    async fn record(&self, principal: &Principal, action: &Action<'_>) -> Result<(), Denial> {
        if let Some(policy) = &self.inner.policy
            && policy.ask(principal, action, true).await.1
        {
            return Ok(());
        }
        let recorded = match &self.inner.journal {
            Some(journal) => journal.record(action, now()).await,
            None => Err(std::io::Error::other("there is no break-glass record")),
        };
        recorded.map_err(|error| {
            tracing::error!(%error, "what was asked over the break-glass socket could not be recorded");
            Denial::NotRecorded
        })
    }

    /// Whether the principal may do this, for lists that leave out the rest.
    ///
    /// # Errors
    /// 503 where nothing was decided.
    pub(crate) async fn may(&self, principal: &Principal, action: &Action<'_>) -> Result<bool, Denial> {
        match self.judge(principal, action).await {
            Ok(()) => Ok(true),
            Err(denial @ (Denial::Undecided | Denial::NotRecorded)) => Err(denial),
            Err(Denial::Elsewhere | Denial::Forbidden(_) | Denial::NoPolicy) => Ok(false),
        }
    }
}

/// What a client gives to prove who it is.
fn credential(headers: &HeaderMap, users: bool) -> Option<Cow<'_, str>> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let (Some(value), None) = (values.next(), values.next()) else { return None };
    let (scheme, text) = value.to_str().ok()?.split_once(' ')?;
    let text = text.trim();
    if scheme.eq_ignore_ascii_case("bearer") {
        return Some(Cow::Borrowed(text));
    }
    if !users || !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let text = String::from_utf8(STANDARD.decode(text).ok()?).ok()?;
    let (_user, password) = text.split_once(':')?;
    Some(Cow::Owned(password.to_owned()))
}

fn without_policy(principal: &Principal, action: &Action<'_>) -> Result<(), Denial> {
    match action.tenant {
        Some(tenant) if !principal.is_for(tenant) => Err(Denial::Elsewhere),
        _ if action.needs_policy() => Err(Denial::NoPolicy),
        // A token of one tenant is told of that one only; what is loaded is told with the rest left out.
        None if principal.tenant().is_some() && action.name != "host.read" => {
            Err(Denial::Forbidden(action.name))
        }
        _ => Ok(()),
    }
}

fn denied(principal: &Principal, action: &Action<'_>) -> Denial {
    match action.tenant {
        Some(tenant) if !principal.is_for(tenant) => Denial::Elsewhere,
        _ => Denial::Forbidden(action.name),
    }
}

fn of_jwt(error: jwt::JwtError) -> ApiError {
    match error {
        jwt::JwtError::Refused(reason) => {
            let message = format!("the JSON Web Token is refused: {reason}");
            ApiError::new(StatusCode::UNAUTHORIZED, "unauthenticated", message)
        }
        jwt::JwtError::Unavailable => Denial::Undecided.into(),
    }
}

pub(crate) fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let ms = i64::try_from(since.as_millis()).unwrap_or(i64::MAX);
    // With a clock beyond the year 9999 everything has expired.
    Timestamp::from_millis(ms).or_else(|_| Timestamp::from_millis(MS_MAX)).unwrap_or(Timestamp::EPOCH)
}
