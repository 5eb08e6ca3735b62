//! One version from one place to another, with its statements.
//!
//! The order protects whoever reads at the same time: blobs come before the manifest that names them, the image before
//! its statements, and the name under which it is found last. What is there already does not move again.

use bytes::Bytes;
use verdict_core::artifact::UnverifiedArtifact;
use verdict_core::digest::Digest;
use verdict_core::oci::{self, Descriptor, ImageManifest};
use verdict_core::refusal::{Refusal, RefusalCode};

use super::error::RemoteError;
use super::incoming::Incoming;
use super::progress::{Progress, ProgressFn};
use super::reference::{Named, Repository, Tag};
use super::session::Session;
use crate::attached::Attached;
use crate::layout::{self, Layout, the_layer};

/// How often a registry that lists referrers itself is asked whether it does.
const CONFIRMATIONS_MAX: u32 = 4;
const CONFIRMATION_WAIT: std::time::Duration = std::time::Duration::from_millis(300);

/// Where a version comes from.
pub(crate) enum Source {
    Folder(Layout),
    Registry(Box<Session>, Named),
}

/// Where it goes.
pub(crate) enum Target {
    Folder(Incoming),
    Registry(Box<Session>, Option<Tag>),
}

/// A version as it is stored: the image and the statements about it, without the blobs.
pub(crate) struct Stored {
    pub(crate) image: Descriptor,
    pub(crate) manifest: ImageManifest,
    bytes: Bytes,
    pub(crate) attached: Vec<Attached>,
}

/// What a transfer did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) blobs_moved: usize,
    pub(crate) blobs_present: usize,
    pub(crate) bytes_moved: u64,
}

impl Source {
    /// Where it is, for messages.
    fn text(&self) -> String {
        match self {
            Self::Folder(layout) => layout.path().display().to_string(),
            Self::Registry(session, named) => format!("{}{named}", session.repository()),
        }
    }

    /// The image and its statements, checked as far as that goes without the blobs.
    pub(crate) async fn stored(&self) -> Result<Stored, RemoteError> {
        let what = self.text();
        let (bytes, digest) = match self {
            Self::Folder(layout) => {
                let (bytes, _) = layout.manifest()?;
                (Bytes::from(bytes), layout.image_digest())
            }
            Self::Registry(session, named) => {
                let found = session.image(named).await?.ok_or_else(|| session.missing(named))?;
                (found.bytes, found.digest)
            }
        };
        let manifest: ImageManifest = layout::parse(&bytes, oci::MANIFEST_BYTES_MAX, &what)?;
        let layer = the_layer(&manifest, &what)?;
        for (descriptor, expected) in
            [(layer, oci::WASM_MEDIA_TYPE), (&manifest.config, oci::WASM_CONFIG_MEDIA_TYPE)]
        {
            check_media_type(descriptor, expected, &what)?;
        }
        let attached = self.attached(digest).await?;
        Ok(Stored { image: layout::image_descriptor(&bytes, &manifest), manifest, bytes, attached })
    }

    async fn attached(&self, image: Digest) -> Result<Vec<Attached>, RemoteError> {
        match self {
            Self::Folder(layout) => Ok(layout.attached()?),
            Self::Registry(session, _) => session.attached(image).await,
        }
    }

    async fn blob(&self, descriptor: &Descriptor, bytes_max: usize) -> Result<Bytes, RemoteError> {
        match self {
            Self::Folder(layout) => Ok(layout.blob(descriptor, bytes_max)?.into()),
            Self::Registry(session, _) => session.blob(descriptor).await,
        }
    }

    fn repository(&self) -> Option<&Repository> {
        match self {
            Self::Folder(_) => None,
            Self::Registry(session, _) => Some(session.repository()),
        }
    }
}

impl Stored {
    /// The blobs of the image and of its statements, each once, and how large each may be at most.
    fn blobs(&self, what: &str) -> Result<Vec<(Descriptor, usize)>, Refusal> {
        let layers = self.manifest.layers.iter().map(|layer| (layer, oci::COMPONENT_BYTES_MAX));
        let config = std::iter::once((&self.manifest.config, oci::CONFIG_BYTES_MAX));
        let statements = self.attached.iter().flat_map(|attached| [attached.config(), attached.envelope()]);
        let mut blobs: Vec<(Descriptor, usize)> = Vec::new();
        for (descriptor, bytes_max) in config.chain(layers).chain(statements) {
            // Before anything is fetched: a registry that lies about a size is cut off there.
            if descriptor.size > u64::try_from(bytes_max).unwrap_or(u64::MAX) {
                let message = format!(
                    "a blob of `{what}` has {} bytes; at most {bytes_max} are read of its kind",
                    descriptor.size
                );
                return Err(Refusal::new(RefusalCode::TooLarge, message));
            }
            if !blobs.iter().any(|(blob, _)| blob.digest == descriptor.digest) {
                blobs.push((descriptor.clone(), bytes_max));
            }
        }
        Ok(blobs)
    }
}

impl Target {
    async fn has(&self, descriptor: &Descriptor, bytes_max: usize) -> Result<bool, RemoteError> {
        match self {
            Self::Folder(incoming) => Ok(incoming.has(descriptor, bytes_max)),
            Self::Registry(session, _) => session.has_blob(descriptor.digest).await,
        }
    }

    async fn put(&self, digest: Digest, bytes: Bytes) -> Result<(), RemoteError> {
        match self {
            Self::Folder(incoming) => incoming.write(digest, &bytes),
            Self::Registry(session, _) => session.put_blob(digest, bytes).await,
        }
    }

    /// Takes a blob over without moving it, where source and target are of one registry.
    async fn mount(&self, digest: Digest, source: &Source) -> Result<bool, RemoteError> {
        match (self, source.repository()) {
            (Self::Registry(session, _), Some(from))
                if from.host() == session.repository().host() && from != session.repository() =>
            {
                session.mount(digest, from).await
            }
            _ => Ok(false),
        }
    }
}

/// The whole of a version, checked against its digests.
pub(crate) async fn fetch(source: &Source, image: Digest) -> Result<UnverifiedArtifact, RemoteError> {
    let (stored, what) = (source.stored().await?, source.text());
    if stored.image.digest != image {
        let message = format!("`{what}` is the index of an image; expected the image");
        return Err(Refusal::new(RefusalCode::MalformedArtifact, message).into());
    }
    // Before anything of it is read: that all of it may be.
    stored.blobs(&what)?;
    let layer = the_layer(&stored.manifest, &what)?;
    let mut statements = Vec::new();
    for attached in &stored.attached {
        let (envelope, bytes_max) = attached.envelope();
        statements.push(source.blob(envelope, bytes_max).await?.into());
    }
    Ok(UnverifiedArtifact {
        config: source.blob(&stored.manifest.config, oci::CONFIG_BYTES_MAX).await?.into(),
        component: source.blob(layer, oci::COMPONENT_BYTES_MAX).await?.into(),
        manifest_bytes: stored.bytes.into(),
        reference: what,
        statements,
    })
}

/// Moves a version.
pub(crate) async fn transfer(
    source: &Source,
    stored: &Stored,
    target: Target,
    progress: Option<&ProgressFn>,
) -> Result<Counts, RemoteError> {
    let moved = move_blobs(source, stored, &target, progress).await;
    let counts = match (moved, target) {
        (Ok(counts), Target::Folder(incoming)) => {
            finish_folder(stored, incoming)?;
            counts
        }
        (Ok(counts), Target::Registry(session, tag)) => {
            finish_registry(stored, &session, tag).await?;
            counts
        }
        (Err(error @ RemoteError::Refused(_)), Target::Folder(incoming)) => {
            // It is no good, and does not become so by trying again.
            incoming.discard();
            return Err(error);
        }
        (Err(error), _) => return Err(error),
    };
    Ok(counts)
}

async fn move_blobs(
    source: &Source,
    stored: &Stored,
    target: &Target,
    progress: Option<&ProgressFn>,
) -> Result<Counts, RemoteError> {
    let mut counts = Counts::default();
    let mut missing = Vec::new();
    for (descriptor, bytes_max) in stored.blobs(&source.text())? {
        if target.has(&descriptor, bytes_max).await? || target.mount(descriptor.digest, source).await? {
            counts.blobs_present += 1;
        } else {
            missing.push((descriptor, bytes_max));
        }
    }
    counts.bytes_moved = missing.iter().map(|(descriptor, _)| descriptor.size).sum();
    if let Some(progress) = progress {
        // What goes from one registry to another comes and goes.
        let ways = u64::from(matches!(source, Source::Registry(..)))
            + u64::from(matches!(target, Target::Registry(..)));
        progress(Progress::Expected(counts.bytes_moved.saturating_mul(ways)));
    }
    for (descriptor, bytes_max) in missing {
        let bytes = source.blob(&descriptor, bytes_max).await?;
        target.put(descriptor.digest, bytes).await?;
        counts.blobs_moved += 1;
    }
    Ok(counts)
}

fn finish_folder(stored: &Stored, incoming: Incoming) -> Result<(), RemoteError> {
    incoming.write(stored.image.digest, &stored.bytes)?;
    for attached in &stored.attached {
        incoming.write(attached.descriptor().digest, attached.manifest_bytes())?;
    }
    incoming.finish(&stored.image, stored.attached.iter().map(Attached::descriptor).collect())
}

async fn finish_registry(stored: &Stored, session: &Session, tag: Option<Tag>) -> Result<(), RemoteError> {
    let image = Named::Digest(stored.image.digest);
    if !session.has_manifest(stored.image.digest).await? {
        session.put_manifest(&image, oci::MANIFEST_MEDIA_TYPE, stored.bytes.clone()).await?;
    }
    attach(stored, session).await?;
    let Some(tag) = tag.map(Named::Tag) else { return Ok(()) };
    if session.digest(&tag).await? != Some(stored.image.digest) {
        session.put_manifest(&tag, oci::MANIFEST_MEDIA_TYPE, stored.bytes.clone()).await?;
    }
    Ok(())
}

/// Attaches the statements that are not attached yet, and makes sure that they are listed.
async fn attach(stored: &Stored, session: &Session) -> Result<(), RemoteError> {
    let image = stored.image.digest;
    let listed = session.referrers(image).await?;
    let mut new = Vec::new();
    let mut listed_by_registry = listed.by_registry;
    for attached in &stored.attached {
        let descriptor = attached.descriptor();
        if listed.list(descriptor.digest) {
            continue;
        }
        let named = Named::Digest(descriptor.digest);
        let bytes = Bytes::copy_from_slice(attached.manifest_bytes());
        listed_by_registry &= session.put_manifest(&named, oci::MANIFEST_MEDIA_TYPE, bytes).await?;
        new.push(descriptor);
    }
    list(session, image, &new, listed_by_registry).await
}

/// A signature that nobody finds is none: the registry has to list what it took. `is_listed` if it has said that it does.
async fn list(
    session: &Session,
    image: Digest,
    new: &[Descriptor],
    is_listed: bool,
) -> Result<(), RemoteError> {
    let mut missing = new.len();
    for attempt in 0..CONFIRMATIONS_MAX {
        if missing == 0 {
            break;
        }
        // The specification asks for the tag wherever the registry did not say that it saw the subject. Each time: who had
        // read the list before this was in it may write it after that was seen.
        if !is_listed {
            session.list_under_tag(image, new).await?;
        }
        // Some registries take their time.
        tokio::time::sleep(CONFIRMATION_WAIT * attempt).await;
        let listed = session.referrers(image).await?;
        missing = new.iter().filter(|new| !listed.list(new.digest)).count();
    }
    if missing == 0 { Ok(()) } else { Err(session.unlisted(image, missing)) }
}

fn check_media_type(descriptor: &Descriptor, expected: &str, what: &str) -> Result<(), Refusal> {
    if descriptor.media_type == expected {
        return Ok(());
    }
    let found: String = descriptor.media_type.chars().filter(|c| !c.is_control()).take(80).collect();
    let message = format!("`{what}` holds `{found}`; expected `{expected}`");
    Err(Refusal::new(RefusalCode::WrongMediaType, message))
}
