//! A client of any OCI registry: moves one version of a policy, with all statements about it, between registries and
//! folders. And of a server of ours, a [`Server`], which has signed documents, too.
//!
//! Nothing that a registry says is trusted: every blob is checked against its digest, sizes are bounded before and
//! while something is read, and whether a version may run is decided by who verifies its signatures, later.
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use verdict_registry::remote::{Remote, RemoteOptions};
//!
//! let remote = Remote::new(RemoteOptions::default())?;
//! let from = "registry.example/bank/loan:1.2.0".parse()?;
//! let moved = remote.copy(&from, &"./loan".parse()?, false).await?;
//! println!("{} with {} statements", moved.image, moved.statements);
//! # Ok(()) }
//! ```

mod challenge;
mod credentials;
mod error;
mod incoming;
mod place;
mod progress;
mod reference;
mod server;
mod session;
mod transfer;
mod wire;

use std::path::PathBuf;
use std::sync::Arc;

use verdict_core::digest::Digest;
use verdict_core::oci;
use verdict_core::refusal::{Refusal, RefusalCode};

pub use error::{Answered, Problem, RemoteError};
pub use place::{Place, names_registry};
pub use progress::{Progress, ProgressFn};
pub use reference::{Named, Reference, ReferenceError, RegistryHost, Repository, Tag};
pub use server::{Server, ServerUrl, Token};

use crate::layout::{Layout, Summary};
use credentials::Credentials;
use incoming::Incoming;
use session::Session;
use transfer::{Source, Stored, Target};
use wire::Wire;

/// How to speak to registries.
#[derive(Clone)]
pub struct RemoteOptions {
    /// Speak without TLS, to every registry. Whoever is on the way reads and changes everything, credentials too.
    pub plain_http: bool,
    /// The folder with Docker's `config.json`, where credentials are; none for no credentials. `DOCKER_CONFIG` or
    /// `~/.docker`, by default.
    pub docker_config: Option<PathBuf>,
    /// Is told how a transfer goes on.
    pub progress: Option<Arc<ProgressFn>>,
}

impl Default for RemoteOptions {
    fn default() -> Self {
        Self { plain_http: false, docker_config: credentials::docker_folder(), progress: None }
    }
}

/// A client of registries. It keeps connections, and is cheap to clone.
#[derive(Clone)]
pub struct Remote {
    http: reqwest::Client,
    options: RemoteOptions,
    /// A server of ours, and the token that it knows us by. No other registry is shown it.
    known: Option<(RegistryHost, Credentials)>,
}

/// What a transfer did.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Moved {
    /// Where the version is now.
    pub place: Place,
    /// The image.
    pub image: Digest,
    /// The policy and version that the image says it is, which nobody has verified.
    pub policy: Option<String>,
    /// See `policy`.
    pub version: Option<String>,
    /// How many statements it has where it came from.
    pub statements: usize,
    /// How many blobs were moved.
    pub blobs_moved: usize,
    /// How many were there already.
    pub blobs_present: usize,
    /// How many bytes the moved ones have.
    pub bytes_moved: u64,
}

/// What a session may do.
#[derive(Clone, Copy)]
enum Access<'a> {
    Pull,
    /// Push, and take over from another repository.
    Push(Option<&'a Repository>),
}

impl Remote {
    /// A client.
    ///
    /// # Errors
    /// When TLS cannot be set up on this machine.
    pub fn new(options: RemoteOptions) -> Result<Self, RemoteError> {
        Ok(Self { http: wire::http(options.plain_http, None)?, options, known: None })
    }

    /// Moves a version from one place to another: push, pull and copy are this. Where a target names no tag, it gets
    /// that of the image's version. Folders are read and written in place, so that the task blocks for them.
    ///
    /// A tag or folder that holds another image is not written over, unless `force`; tags that do not name a version
    /// move. What is there already does not move again, so that a second run goes on where the first one ended.
    ///
    /// # Errors
    /// When something cannot be read, is not what its digest says, or cannot be written. The target's name is set
    /// last: a version is found there whole or not at all.
    pub async fn copy(&self, from: &Place, to: &Place, force: bool) -> Result<Moved, RemoteError> {
        let source = self.source(from).await?;
        let stored = source.stored().await?;
        let (target, place) = self.target(&source, &stored, to, force).await?;
        let progress = self.options.progress.as_deref();
        let counts = transfer::transfer(&source, &stored, target, progress).await?;
        let annotation = |name: &str| stored.manifest.annotations.get(name).cloned();
        Ok(Moved {
            place,
            image: stored.image.digest,
            policy: annotation(oci::TITLE_ANNOTATION),
            version: annotation(oci::VERSION_ANNOTATION),
            statements: stored.attached.len(),
            blobs_moved: counts.blobs_moved,
            blobs_present: counts.blobs_present,
            bytes_moved: counts.bytes_moved,
        })
    }

    /// The tags of a repository, sorted; none, where there is no such repository.
    ///
    /// # Errors
    /// When the registry does not say.
    pub async fn tags(&self, repository: &Repository) -> Result<Option<Vec<Tag>>, RemoteError> {
        self.session(repository, Access::Pull).await?.tags().await
    }

    /// The repositories of a registry, sorted; none, where it does not tell, as many do not.
    ///
    /// # Errors
    /// When the registry does not say.
    pub async fn repositories(&self, host: &RegistryHost) -> Result<Option<Vec<Repository>>, RemoteError> {
        session::repositories(&self.wire(host, String::new()).await?).await
    }

    /// What there is under a reference, as the image says it; nobody has verified it.
    ///
    /// # Errors
    /// When it is not there, or is not a version of a policy.
    pub async fn summary(&self, reference: &Reference) -> Result<Summary, RemoteError> {
        let source = self.source(&Place::Registry(reference.clone())).await?;
        let stored = source.stored().await?;
        Ok(Summary::of(stored.image.digest, &stored.manifest, stored.attached.len()))
    }

    async fn source(&self, from: &Place) -> Result<Source, RemoteError> {
        match from {
            Place::Folder(folder) => Ok(Source::Folder(Layout::open(folder)?)),
            Place::Registry(reference) => {
                let session = self.session(reference.repository(), Access::Pull).await?;
                let Some(named) = reference.named() else {
                    let newest = newest(&session).await?;
                    return Err(RemoteError::NoVersion { reference: reference.clone(), newest });
                };
                Ok(Source::Registry(session, named.clone()))
            }
        }
    }

    async fn target(
        &self,
        source: &Source,
        stored: &Stored,
        to: &Place,
        force: bool,
    ) -> Result<(Target, Place), RemoteError> {
        let image = stored.image.digest;
        match to {
            Place::Folder(folder) => Ok((Target::Folder(Incoming::begin(folder, image, force)?), to.clone())),
            Place::Registry(reference) => {
                let named = target_name(reference, stored, force)?;
                let repository = reference.repository();
                let from = match source {
                    Source::Registry(session, _) => Some(session.repository()),
                    Source::Folder(_) => None,
                };
                let session = self.session(repository, Access::Push(from)).await?;
                let tag = match named {
                    Named::Digest(_) => return Ok((Target::Registry(session, None), to.clone())),
                    Named::Tag(tag) => tag,
                };
                let place = repository.tagged(tag.clone());
                check_published(&session, &place, &tag, image, force).await?;
                Ok((Target::Registry(session, Some(tag)), Place::Registry(place)))
            }
        }
    }

    async fn session(
        &self,
        repository: &Repository,
        access: Access<'_>,
    ) -> Result<Box<Session>, RemoteError> {
        let path = repository.path();
        let scope = match access {
            Access::Pull => format!("repository:{path}:pull"),
            Access::Push(Some(from)) if from.host() == repository.host() && from != repository => {
                format!("repository:{path}:pull,push repository:{}:pull", from.path())
            }
            Access::Push(_) => format!("repository:{path}:pull,push"),
        };
        Ok(Box::new(Session::new(self.wire(repository.host(), scope).await?, repository.clone())))
    }

    async fn wire(&self, host: &RegistryHost, scope: String) -> Result<Wire, RemoteError> {
        let credentials = match (&self.known, &self.options.docker_config) {
            (Some((known, credentials)), _) if known == host => Some(credentials.clone()),
            (_, Some(folder)) => credentials::of(folder, host).await?,
            (_, None) => None,
        };
        let (plain_http, progress) = (self.options.plain_http, self.options.progress.clone());
        Wire::new(self.http.clone(), host, plain_http, credentials, scope, progress)
    }
}

/// The newest version among the tags of a repository; pre-releases only where there is nothing else.
async fn newest(session: &Session) -> Result<Option<Tag>, RemoteError> {
    let tags = session.tags().await?.unwrap_or_default();
    let versions = tags.into_iter().filter_map(|tag| Some((tag.version()?, tag)));
    let newest =
        versions.max_by(|(one, _), (other, _)| (one.pre.is_empty(), one).cmp(&(other.pre.is_empty(), other)));
    Ok(newest.map(|(_, tag)| tag))
}

/// Under what an image goes into a repository: what the reference says, or the tag of its version.
fn target_name(reference: &Reference, stored: &Stored, force: bool) -> Result<Named, RemoteError> {
    let version = stored.manifest.annotations.get(oci::VERSION_ANNOTATION);
    match reference.named() {
        Some(Named::Digest(digest)) if *digest != stored.image.digest => {
            let message = format!("`{reference}` would name the image {}", stored.image.digest);
            Err(Refusal::new(RefusalCode::DigestMismatch, message).into())
        }
        Some(Named::Tag(tag)) => match (tag.version(), version) {
            (Some(tagged), Some(version)) if !force && tagged.to_string() != *version => {
                let version = version.chars().filter(|c| !c.is_control()).take(80).collect();
                Err(RemoteError::OtherVersion { reference: reference.clone(), version })
            }
            _ => Ok(Named::Tag(tag.clone())),
        },
        Some(named) => Ok(named.clone()),
        None => {
            let version = version.and_then(|version| version.parse().ok());
            let none = || RemoteError::NoVersion { reference: reference.clone(), newest: None };
            Ok(Named::Tag(Tag::of_version(&version.ok_or_else(none)?)?))
        }
    }
}

/// A version is published once: before anything moves, because it would move for nothing.
async fn check_published(
    session: &Session,
    place: &Reference,
    tag: &Tag,
    image: Digest,
    force: bool,
) -> Result<(), RemoteError> {
    if force || tag.version().is_none() {
        return Ok(());
    }
    match session.digest(&Named::Tag(tag.clone())).await? {
        Some(found) if found != image => {
            Err(RemoteError::Published { place: place.to_string(), found, image })
        }
        _ => Ok(()),
    }
}
