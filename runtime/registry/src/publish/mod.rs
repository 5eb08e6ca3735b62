//! From a signed document that somebody offers to one that hosts find: checked as a host checks it that has seen nothing
//! but what the catalogue has, with everything that it names, and only then put.
//!
//! Three nouns: a [`Publisher`] knows a registry and the root keys that trust begins with, what it has checked is
//! [`Ready`], and a [`Published`] document is the newest of its name. Nothing is decided here: hosts check all of it
//! again. What is refused here is refused early, with its reason, and leaves nothing behind.

mod channel;
mod data;
mod error;
mod ready;
mod statement;

use std::fmt;
use std::sync::Arc;

use verdict_core::artifact::AdmittedArtifact;
use verdict_core::digest::Digest;
use verdict_core::dsse::Envelope;
use verdict_core::key::SecretKey;
use verdict_core::name::Tenant;
use verdict_core::refusal::{Refusal, RefusalCode};
use verdict_core::time::Timestamp;
use verdict_core::trust::{
    Anchor, Basis, Head, Revocations, RevokedVersion, Role, Roots, Seen, SignedDocument, TrustPolicy,
    Verified,
};

use crate::catalogue::{
    Catalogue, CatalogueError, DocumentEntry, DocumentKind, DocumentName, Limit, NewDocument, VersionState,
};
use crate::repository::Registry;

pub use channel::Activation;
pub use data::{DATA_BYTES_MAX, DataUpload};
pub use error::PublishError;
pub use ready::{Published, Ready};
pub use statement::ReadyStatement;

use ready::Also;

/// The most days that a state which is signed here holds.
pub const DAYS_MAX: u32 = 3_650;

/// Whether a version that may answer can: it compiles and links where it is tried.
pub type Trial = dyn Fn(&AdmittedArtifact) -> Result<(), Refusal> + Send + Sync;

/// Checks what is to be published in a registry. Clones share it.
#[derive(Clone)]
pub struct Publisher {
    registry: Registry,
    roots: Arc<Roots>,
    activation_key: Option<Arc<SecretKey>>,
    trial: Option<Arc<Trial>>,
}

impl fmt::Debug for Publisher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { registry, roots, activation_key, trial } = self;
        let activation_key = activation_key.as_ref().map(|key| key.public());
        f.debug_struct("Publisher")
            .field("registry", registry)
            .field("roots", roots)
            .field("activation_key", &activation_key)
            .field("tries", &trial.is_some())
            .finish()
    }
}

/// The newest trust policy and revocations when something was checked; 0 for none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Marks {
    trust: u64,
    revocations: u64,
}

/// What decides about everything else.
#[derive(Debug)]
struct Ground {
    trust: TrustPolicy,
    revocations: Option<Verified<Revocations>>,
    seen: Seen,
    now: Timestamp,
    marks: Marks,
}

impl Ground {
    fn basis(&self) -> Basis<'_> {
        let Self { trust, revocations, seen, now, .. } = self;
        Basis { trust, revocations: revocations.as_ref(), seen, now: *now }
    }
}

impl Publisher {
    /// For a registry whose trust begins with these root keys.
    pub fn new(registry: Registry, roots: Roots) -> Self {
        Self { registry, roots: Arc::new(roots), activation_key: None, trial: None }
    }

    /// With a key that signs states of channels, as the trust policy allows it.
    #[must_use]
    pub fn with_activation_key(self, key: SecretKey) -> Self {
        Self { activation_key: Some(Arc::new(key)), ..self }
    }

    /// With a trial of every version that a channel is to name: what does not load is refused, with the reason.
    #[must_use]
    pub fn with_trial(self, trial: Arc<Trial>) -> Self {
        Self { trial: Some(trial), ..self }
    }

    /// The registry.
    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    /// Whether there is an activation key.
    pub fn has_activation_key(&self) -> bool {
        self.activation_key.is_some()
    }

    fn catalogue(&self) -> &Catalogue {
        self.registry.catalogue()
    }

    /// Checks a next version of the trust policy: that it follows the chain that begins with the pinned root keys.
    ///
    /// # Errors
    /// [`PublishError::Refused`]; when the catalogue fails.
    pub async fn trust(&self, envelope: &[u8], now: Timestamp) -> Result<Ready, PublishError> {
        let name = DocumentName::trust();
        let mut chain = self.chain().await?;
        let offered = parse(envelope)?;
        let digest = Digest::of(offered.payload());
        let version = TrustPolicy::parse(offered.payload())?.version();
        let newest = chain.last().map(|entry| (entry.sequence, entry.digest));
        let is_there = check_order(&name, newest, version, digest)?;
        let after = newest.map_or(0, |(version, _)| version);
        if is_there {
            chain.pop();
        }
        let mut envelopes: Vec<&[u8]> = chain.iter().map(|entry| entry.envelope.as_slice()).collect();
        envelopes.push(envelope);
        let policy =
            TrustPolicy::verify_signed(&envelopes, Anchor::Roots(&self.roots), &Seen::default(), now)?;
        let head = Head { sequence: policy.version(), issued: now, expires: policy.expires() };
        let document = new_document(name, head, digest, envelope, Vec::new());
        Ok(Ready { catalogue: self.catalogue().clone(), document, after, by: None, also: Also::Nothing })
    }

    /// Checks a next list of revocations. The versions that it names are shown as revoked when it is put.
    ///
    /// # Errors
    /// [`PublishError::Refused`]; when the catalogue fails.
    pub async fn revocations(&self, envelope: &[u8], now: Timestamp) -> Result<Ready, PublishError> {
        let (trust, version) = self.trusted(now).await?;
        let before = self.catalogue().document(&DocumentName::revocations()).await?;
        let seen = Seen::default();
        let basis = Basis { trust: &trust, revocations: None, seen: &seen, now };
        // Who was revoked does not sign what revokes, as long as the list holds that says so.
        let held = before.as_ref().and_then(|entry| Revocations::verify(&entry.envelope, &basis).ok());
        let verified = Revocations::verify(envelope, &Basis { revocations: held.as_ref(), ..basis })?;
        let mut published = Vec::new();
        for RevokedVersion { policy, version } in &verified.document().versions {
            let entry = self.catalogue().version(policy, version).await?;
            if entry.is_some_and(|entry| entry.state == VersionState::Published) {
                published.push((policy.clone(), version.clone()));
            }
        }
        let marks = Marks { trust: version, revocations: before.as_ref().map_or(0, |entry| entry.sequence) };
        let ready = self.ready(DocumentName::revocations(), &verified, envelope, Vec::new(), marks).await?;
        Ok(Ready { also: Also::Revoke(published), ..ready })
    }

    /// A checked document, in the order of those before it.
    async fn ready<T: SignedDocument>(
        &self,
        name: DocumentName,
        verified: &Verified<T>,
        envelope: &[u8],
        refers: Vec<Digest>,
        by: Marks,
    ) -> Result<Ready, PublishError> {
        let newest = self.catalogue().document(&name).await?.map(|entry| (entry.sequence, entry.digest));
        let head = verified.document().head();
        check_order(&name, newest, head.sequence, verified.digest())?;
        Ok(Ready {
            catalogue: self.catalogue().clone(),
            document: new_document(name, head, verified.digest(), envelope, refers),
            after: newest.map_or(0, |(sequence, _)| sequence),
            by: Some(by),
            also: Also::Nothing,
        })
    }

    /// What the catalogue says about trust, checked.
    async fn ground(&self, now: Timestamp) -> Result<Ground, PublishError> {
        let (trust, version) = self.trusted(now).await?;
        let entry = self.catalogue().document(&DocumentName::revocations()).await?;
        let marks = Marks { trust: version, revocations: entry.as_ref().map_or(0, |entry| entry.sequence) };
        let seen = Seen::default();
        let basis = Basis { trust: &trust, revocations: None, seen: &seen, now };
        let revocations = match entry.map(|entry| Revocations::verify(&entry.envelope, &basis)) {
            None => None,
            Some(Ok(revocations)) => Some(revocations),
            // Where nobody revokes any more, an old list says nothing.
            Some(Err(_)) if trust.grants(Role::Revoker).is_empty() => None,
            Some(Err(refusal)) => return Err(refusal.into()),
        };
        Ok(Ground { trust, revocations, seen, now, marks })
    }

    /// The newest trust policy, and its version in the catalogue.
    async fn trusted(&self, now: Timestamp) -> Result<(TrustPolicy, u64), PublishError> {
        let chain = self.chain().await?;
        let envelopes: Vec<&[u8]> = chain.iter().map(|entry| entry.envelope.as_slice()).collect();
        let trust =
            TrustPolicy::verify_signed(&envelopes, Anchor::Roots(&self.roots), &Seen::default(), now)?;
        Ok((trust, chain.last().map_or(0, |entry| entry.sequence)))
    }

    async fn chain(&self) -> Result<Vec<DocumentEntry>, CatalogueError> {
        chain(self.catalogue()).await
    }
}

/// All versions of the trust policy, the oldest first.
pub(crate) async fn chain(catalogue: &Catalogue) -> Result<Vec<DocumentEntry>, CatalogueError> {
    let mut chain: Vec<DocumentEntry> = Vec::new();
    loop {
        let after = chain.last().map_or(0, |entry| entry.sequence);
        let page = catalogue.documents_after(&DocumentName::trust(), after, Limit::default()).await?;
        chain.extend(page.items);
        if !page.more {
            return Ok(chain);
        }
    }
}

async fn marks(catalogue: &Catalogue) -> Result<Marks, CatalogueError> {
    let trust = catalogue.document(&DocumentName::trust()).await?;
    let revocations = catalogue.document(&DocumentName::revocations()).await?;
    let sequence = |entry: Option<DocumentEntry>| entry.map_or(0, |entry| entry.sequence);
    Ok(Marks { trust: sequence(trust), revocations: sequence(revocations) })
}

/// Checks that a document is not older than the newest, as a host does that has seen that one. Whether it is the newest
/// itself.
fn check_order(
    name: &DocumentName,
    newest: Option<(u64, Digest)>,
    sequence: u64,
    digest: Digest,
) -> Result<bool, Refusal> {
    match newest {
        Some((newest, _)) if sequence < newest => {
            let message = format!("`{name}` is at {newest}; {sequence} was offered");
            let is_trust = name.kind() == DocumentKind::Trust;
            let code = if is_trust { RefusalCode::TrustRollback } else { RefusalCode::DocumentRollback };
            Err(Refusal::new(code, message))
        }
        Some((newest, there)) if sequence == newest && there != digest => {
            let message = format!("`{name}` has another number {newest} already");
            Err(Refusal::new(RefusalCode::Equivocation, message))
        }
        newest => Ok(newest == Some((sequence, digest))),
    }
}

fn new_document(
    name: DocumentName,
    head: Head,
    digest: Digest,
    envelope: &[u8],
    refers: Vec<Digest>,
) -> NewDocument {
    let Head { sequence, issued, expires } = head;
    NewDocument { name, sequence, digest, envelope: envelope.to_vec(), issued, expires, refers }
}

fn parse(envelope: &[u8]) -> Result<Envelope, Refusal> {
    Envelope::parse(envelope).map_err(|error| Refusal::new(RefusalCode::MalformedEnvelope, error.to_string()))
}

/// Who keeps the content of a snapshot that is not put yet.
fn content_holder(tenant: &Tenant, content: Digest) -> String {
    format!("data:{tenant}:{content}")
}
