//! The registry of a server as hosts see it: its own host, in process, and others, over the network.
//!
//! Three nouns: the newest [`Documents`] with the number of the event that they are as new as, an artifact by its
//! image, and [`Served`], a [`Source`] of both for a host in the same process. It is no more trusted than any other.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use tokio::runtime::Handle;
use verdict_core::artifact::{STATEMENTS_MAX, UnverifiedArtifact};
use verdict_core::digest::Digest;
use verdict_core::dsse::{ENVELOPE_BYTES_MAX, Envelope};
use verdict_core::name::{PolicyName, Tenant};
use verdict_core::oci::{self, ImageManifest};
use verdict_core::refusal::{Refusal, RefusalCode};
use verdict_core::trust::{ChannelState, SignedDocument as _};

use crate::catalogue::{
    Catalogue, CatalogueError, DocumentEntry, DocumentKind, DocumentName, EventKind, Limit,
};
use crate::layout;
use crate::publish::chain;
use crate::repository::{Registry, RepositoryError};
use crate::source::{Documents, Source};
use crate::store::StoreError;

/// How long to wait before a database that fails is asked again.
const AGAIN: Duration = Duration::from_secs(1);

/// The newest signed documents: all, or what concerns one tenant, and the number of the last event before they were
/// read. What changes while they are read may or may not be among them, and has a higher number.
///
/// # Errors
/// When the catalogue fails.
pub async fn documents(
    catalogue: &Catalogue,
    tenant: Option<&Tenant>,
) -> Result<(u64, Documents), CatalogueError> {
    let head = catalogue.event_head().await?;
    // What is checked by another document is read before it: so nothing is older than what it needs.
    let channels = newest(catalogue, DocumentKind::Channel, tenant).await?;
    let data = data(catalogue, tenant, &channels).await?;
    let revocations = catalogue.document(&DocumentName::revocations()).await?;
    let trust = chain(catalogue).await?;
    let envelopes = |entries: Vec<DocumentEntry>| entries.into_iter().map(|entry| entry.envelope).collect();
    let documents = Documents {
        trust: envelopes(trust),
        revocations: revocations.map(|entry| entry.envelope),
        channels: envelopes(channels),
        data: envelopes(data),
    };
    Ok((head, documents))
}

/// Whether an event tells of one of the [`Documents`]. That there is a new statement, say, lets nothing answer before a
/// channel names its version; the rare host that waits for one finds it when it looks again.
pub fn concerns_hosts(kind: EventKind) -> bool {
    matches!(
        kind,
        EventKind::TrustChanged
            | EventKind::RevocationsChanged
            | EventKind::ChannelChanged
            | EventKind::DataChanged
    )
}

/// Waits until one of the documents changed after event `after`, at most `patience`. The number
/// of the last event that was looked at, and whether there was one.
///
/// # Errors
/// When the catalogue fails.
pub async fn wait(
    catalogue: &Catalogue,
    after: u64,
    tenant: Option<&Tenant>,
    patience: Duration,
) -> Result<(u64, bool), CatalogueError> {
    let (began, mut after) = (Instant::now(), after);
    loop {
        let left = patience.saturating_sub(began.elapsed());
        let events = catalogue.wait_for_events(after, tenant, Limit::new(1_000), left).await?;
        let Some(last) = events.last() else { return Ok((after, false)) };
        after = last.seq;
        if events.iter().any(|event| concerns_hosts(event.kind)) {
            return Ok((after, true));
        }
    }
}

async fn newest(
    catalogue: &Catalogue,
    kind: DocumentKind,
    tenant: Option<&Tenant>,
) -> Result<Vec<DocumentEntry>, CatalogueError> {
    let mut entries: Vec<DocumentEntry> = Vec::new();
    loop {
        let after = entries.last().map(|entry| entry.name.clone());
        let page = catalogue.newest_documents(kind, tenant, after.as_ref(), Limit::default()).await?;
        entries.extend(page.items);
        if !page.more {
            return Ok(entries);
        }
    }
}

/// The newest snapshot of every tenant, and those that channels name.
async fn data(
    catalogue: &Catalogue,
    tenant: Option<&Tenant>,
    channels: &[DocumentEntry],
) -> Result<Vec<DocumentEntry>, CatalogueError> {
    let mut snapshots = newest(catalogue, DocumentKind::Data, tenant).await?;
    for channel in channels {
        // Nobody has verified the state; what it names is only looked for.
        let state = Envelope::parse(&channel.envelope).ok();
        let state = state.and_then(|envelope| ChannelState::parse(envelope.payload()).ok());
        let named = state.and_then(|state| Some((state.policy.tenant().clone(), state.data?)));
        let Some((owner, content)) = named else { continue };
        if channel.name.tenant() != Some(&owner) {
            continue;
        }
        let found = catalogue.document_of(&DocumentName::data(&owner), content).await?;
        snapshots.extend(found.filter(|found| !snapshots.contains(found)));
    }
    Ok(snapshots)
}

/// The artifact with this image manifest, and the statements about it.
///
/// # Errors
/// `unreadable`, `too-large`, `malformed-artifact`, `wrong-media-type`, `digest-mismatch`.
pub async fn artifact(
    registry: &Registry,
    policy: &PolicyName,
    image: Digest,
) -> Result<UnverifiedArtifact, Refusal> {
    let reference = format!("{policy}@{image}");
    let there = registry.catalogue().manifest(policy, image).await.map_err(unreadable)?;
    if there.is_none() {
        let message = format!("the repository of `{policy}` has no image {image}");
        return Err(Refusal::new(RefusalCode::Unreadable, message));
    }
    let manifest_bytes = blob(registry, image, oci::MANIFEST_BYTES_MAX).await?;
    let manifest: ImageManifest = layout::parse(&manifest_bytes, oci::MANIFEST_BYTES_MAX, &reference)?;
    let layer = layout::the_layer(&manifest, &reference)?.digest;
    Ok(UnverifiedArtifact {
        config: blob(registry, manifest.config.digest, oci::CONFIG_BYTES_MAX).await?,
        component: blob(registry, layer, oci::COMPONENT_BYTES_MAX).await?,
        statements: statements(registry, policy, image).await?,
        manifest_bytes,
        reference,
    })
}

async fn statements(
    registry: &Registry,
    policy: &PolicyName,
    image: Digest,
) -> Result<Vec<Vec<u8>>, Refusal> {
    let limit = Limit::new(u32::try_from(STATEMENTS_MAX).unwrap_or(u32::MAX));
    let page = registry.catalogue().statements(policy, image, 0, limit).await.map_err(unreadable)?;
    let mut statements = Vec::new();
    for entry in page.items {
        statements.push(blob(registry, entry.content.envelope, ENVELOPE_BYTES_MAX).await?);
    }
    Ok(statements)
}

async fn blob(registry: &Registry, digest: Digest, bytes_max: usize) -> Result<Vec<u8>, Refusal> {
    let bytes = registry.blobs().read(digest, bytes_max as u64).await.map_err(unread)?;
    let gone = || Refusal::new(RefusalCode::Unreadable, format!("the store has no blob {digest}"));
    bytes.map(Into::into).ok_or_else(gone)
}

/// The content of a data snapshot, if the tenant has one that names it.
///
/// # Errors
/// `unreadable`, `too-large`, `digest-mismatch`.
pub async fn content(
    registry: &Registry,
    tenant: &Tenant,
    content: Digest,
    bytes_max: u64,
) -> Result<Vec<u8>, Refusal> {
    let name = DocumentName::data(tenant);
    if registry.catalogue().document_of(&name, content).await.map_err(unreadable)?.is_none() {
        let message = format!("no data snapshot of `{tenant}` names {content}");
        return Err(Refusal::new(RefusalCode::Unreadable, message));
    }
    blob(registry, content, usize::try_from(bytes_max).unwrap_or(usize::MAX)).await
}

/// A registry in the same process, for a host to follow. Its methods block: they are for a thread of the host's own.
pub struct Served {
    registry: Registry,
    runtime: Handle,
    /// The last event before the documents were last read.
    head: AtomicU64,
}

impl fmt::Debug for Served {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Served").field("registry", &self.registry).finish_non_exhaustive()
    }
}

impl Served {
    /// A registry whose catalogue and store are used on this runtime.
    pub fn new(registry: Registry, runtime: Handle) -> Self {
        Self { registry, runtime, head: AtomicU64::new(0) }
    }

    /// Does something on the runtime, and waits for it. A thread of the runtime may wait here, too, as long as others
    /// are left.
    fn wait_for<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T, Refusal>> + Send + 'static,
    ) -> Result<T, Refusal> {
        let (done, wait) = mpsc::sync_channel(1);
        self.runtime.spawn(async move {
            // Nobody waits any more: then nobody needs it.
            let _ = done.send(work.await);
        });
        let gone =
            || Refusal::new(RefusalCode::Unreadable, "the server that serves the registry is stopping");
        wait.recv().unwrap_or_else(|_| Err(gone()))
    }
}

impl Source for Served {
    fn documents(&self) -> Result<Documents, Refusal> {
        let catalogue = self.registry.catalogue().clone();
        let (head, documents) =
            self.wait_for(async move { documents(&catalogue, None).await.map_err(unreadable) })?;
        self.head.store(head, Ordering::Relaxed);
        Ok(documents)
    }

    fn artifact(&self, policy: &PolicyName, image: &Digest) -> Result<UnverifiedArtifact, Refusal> {
        let (registry, policy, image) = (self.registry.clone(), policy.clone(), *image);
        self.wait_for(async move { artifact(&registry, &policy, image).await })
    }

    fn data(&self, tenant: &Tenant, digest: &Digest, bytes_max: u64) -> Result<Vec<u8>, Refusal> {
        let (registry, tenant, digest) = (self.registry.clone(), tenant.clone(), *digest);
        self.wait_for(async move { content(&registry, &tenant, digest, bytes_max).await })
    }

    fn wait(&self, timeout: Duration) {
        let (catalogue, after) = (self.registry.catalogue().clone(), self.head.load(Ordering::Relaxed));
        let waited =
            self.wait_for(async move { wait(&catalogue, after, None, timeout).await.map_err(unreadable) });
        if waited.is_err() {
            std::thread::sleep(AGAIN.min(timeout));
        }
    }
}

fn unreadable(error: CatalogueError) -> Refusal {
    Refusal::new(RefusalCode::Unreadable, error.to_string())
}

fn unread(error: StoreError) -> Refusal {
    let code = match &error {
        StoreError::TooLarge { .. } => RefusalCode::TooLarge,
        StoreError::Damaged { .. } => RefusalCode::DigestMismatch,
        _ => RefusalCode::Unreadable,
    };
    Refusal::new(code, RepositoryError::from(error).to_string())
}
