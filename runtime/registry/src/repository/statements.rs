//! What is attached to an image and is a statement of ours: an author's publishes a version, the others are noted with
//! it. Whoever may push may attach; who signed, and what it is worth, is decided wherever it is used.

use std::collections::BTreeSet;

use verdict_core::artifact::STATEMENTS_MAX;
use verdict_core::digest::Digest;
use verdict_core::dsse::{self, ENVELOPE_BYTES_MAX, Envelope};
use verdict_core::json;
use verdict_core::name::PolicyName;
use verdict_core::oci::{self, Descriptor, ImageManifest, WASM_MEDIA_TYPE};
use verdict_core::refusal::{Refusal, RefusalCode};
use verdict_core::statement::{self, Attestation, Statement};

use super::{Registry, RepositoryError};
use crate::catalogue::{Catalogue, CatalogueError, Limit, NewStatement, NewVersion, Put, Write};
use crate::store::StoreError;

/// The longest predicate type that is noted, in bytes.
const PREDICATE_BYTES_MAX: usize = 255;

/// A statement that is attached to an image, read and not judged.
#[derive(Debug, Clone)]
pub(crate) struct Noted {
    pub(crate) statement: NewStatement,
    pub(crate) envelope: Envelope,
    /// What the author's statement publishes.
    pub(crate) author: Option<Statement>,
}

impl Noted {
    /// Reads an envelope that is attached to an image of this repository by the manifest with digest `manifest`.
    ///
    /// # Errors
    /// When it is no statement about the image: then it may be attached like anything else.
    pub(crate) fn read(
        repository: &PolicyName,
        image: Digest,
        manifest: Digest,
        bytes: &[u8],
    ) -> Result<Self, Refusal> {
        let envelope = Envelope::parse(bytes)
            .map_err(|error| Refusal::new(RefusalCode::MalformedEnvelope, error.to_string()))?;
        if !envelope.is_signed() {
            return Err(Refusal::new(RefusalCode::Unsigned, "the statement has no signature"));
        }
        if envelope.payload_type() != statement::MEDIA_TYPE {
            let message = format!(
                "the envelope holds `{}`; expected `{}`",
                envelope.payload_type(),
                statement::MEDIA_TYPE
            );
            return Err(Refusal::new(RefusalCode::WrongStatementType, message));
        }
        let (author, predicate_type) = match Statement::parse(envelope.payload()) {
            Ok(author) => {
                check_about(&author, repository, image)?;
                (Some(author), statement::PREDICATE_TYPE.to_owned())
            }
            Err(reason) => match Attestation::parse(envelope.payload()) {
                Ok(attestation) => (None, attestation.predicate_type),
                Err(other) => {
                    let message = format!(
                        "it is neither an author's statement ({reason}) nor one about such a statement ({other})"
                    );
                    return Err(Refusal::new(RefusalCode::MalformedStatement, message));
                }
            },
        };
        if predicate_type.len() > PREDICATE_BYTES_MAX || predicate_type.contains('\0') {
            let message =
                format!("its predicate type is longer than {PREDICATE_BYTES_MAX} bytes or has a zero byte");
            return Err(Refusal::new(RefusalCode::MalformedStatement, message));
        }
        let (digest, payload) = (Digest::of(bytes), Digest::of(envelope.payload()));
        let manifest = Some(manifest);
        let statement = NewStatement { image, envelope: digest, payload, manifest, predicate_type };
        Ok(Self { statement, envelope, author })
    }
}

fn check_about(author: &Statement, repository: &PolicyName, image: Digest) -> Result<(), Refusal> {
    let policy = &author.manifest().policy;
    if author.oci_manifest() == image && policy == repository {
        return Ok(());
    }
    let message = format!(
        "the author's statement is about image {} of `{policy}`, not about {image} of `{repository}`",
        author.oci_manifest()
    );
    Err(Refusal::new(RefusalCode::WrongSubject, message))
}

/// Checks that an image is one of exactly the component that an author's statement is about.
///
/// # Errors
/// `manifest-mismatch`, `malformed-artifact`.
pub(crate) fn check_image(author: &Statement, image_bytes: &[u8]) -> Result<(), Refusal> {
    let image: ImageManifest = json::parse(image_bytes, oci::MANIFEST_BYTES_MAX)
        .map_err(|error| Refusal::new(RefusalCode::MalformedArtifact, error.to_string()))?;
    match image.layers.as_slice() {
        [layer] if layer.media_type == WASM_MEDIA_TYPE && layer.digest == author.component() => Ok(()),
        _ => {
            let message = format!("the image is not one of the component {} alone", author.component());
            Err(Refusal::new(RefusalCode::ManifestMismatch, message))
        }
    }
}

/// Notes statements about images that are there, and publishes the versions of those that are authors'. Whether any was
/// new.
///
/// # Errors
/// [`CatalogueError::Conflict`] when a version is published with another image or statement, its policy is archived, or
/// an image has too many statements.
pub(crate) async fn note_all(
    write: &mut Write,
    catalogue: &Catalogue,
    repository: &PolicyName,
    noted: &[Noted],
) -> Result<Put, CatalogueError> {
    let mut any = Put::Unchanged;
    for (new_before, noted) in noted.iter().enumerate() {
        if let Some(author) = &noted.author {
            let _ = publish(write, catalogue, repository, noted, author).await?;
        }
        let image = noted.statement.image;
        let limit = Limit::new(u32::try_from(STATEMENTS_MAX).unwrap_or(u32::MAX));
        let there = catalogue.statements(repository, image, 0, limit).await?.items;
        let is_there = there.iter().any(|entry| entry.content.envelope == noted.statement.envelope);
        if !is_there && there.len() + new_before >= STATEMENTS_MAX {
            let found = format!("with {STATEMENTS_MAX} statements, and no more are read");
            return Err(CatalogueError::Conflict { what: "image", name: image.to_string(), found });
        }
        if write.attach_statement(repository, &noted.statement).await? == Put::Created {
            any = Put::Created;
        }
    }
    Ok(any)
}

async fn publish(
    write: &mut Write,
    catalogue: &Catalogue,
    repository: &PolicyName,
    noted: &Noted,
    author: &Statement,
) -> Result<Put, CatalogueError> {
    let version = author.manifest().version.clone();
    let NewStatement { image, payload: statement, .. } = noted.statement;
    // What it was the successor of when it was first published does not change either.
    let there = catalogue.version(repository, &version).await?;
    let predecessor = match there {
        Some(entry) => entry.content.predecessor,
        None => {
            let newest = catalogue.versions(repository, None, Limit::new(1)).await?.items;
            newest.into_iter().next().map(|entry| entry.content.version)
        }
    };
    let new = NewVersion { version, image, statement, component: author.component(), predecessor };
    write.publish_version(repository, &new).await
}

/// What a manifest attaches or has attached, and what that was seen to rest on.
#[derive(Debug, Default)]
pub(super) struct Attachments {
    pub(super) noted: Vec<Noted>,
    /// The image where a statement comes, or the statements where an image comes. When it is another by the time that
    /// the change is made, all of it is read again.
    pub(super) rests_on: BTreeSet<Digest>,
}

/// What a manifest is to its statements.
pub(super) enum Part {
    /// It attaches an envelope to an image.
    Statement {
        /// The image.
        image: Digest,
        /// The envelope.
        envelope: Descriptor,
    },
    /// Statements may be attached to it.
    Image,
}

impl Part {
    /// Reads a manifest that was checked.
    pub(super) fn of(bytes: &[u8]) -> Option<Self> {
        let manifest: ImageManifest = json::parse(bytes, oci::MANIFEST_BYTES_MAX).ok()?;
        let Some(subject) = manifest.subject else { return Some(Self::Image) };
        match manifest.layers.as_slice() {
            [layer]
                if layer.media_type == dsse::MEDIA_TYPE
                    && manifest.artifact_type.as_deref() == Some(statement::MEDIA_TYPE) =>
            {
                Some(Self::Statement { image: subject.digest, envelope: layer.clone() })
            }
            _ => None,
        }
    }
}

impl Registry {
    /// What the statements of a manifest rest on.
    pub(super) async fn rests_on(
        &self,
        repository: &PolicyName,
        digest: Digest,
        part: Option<&Part>,
    ) -> Result<BTreeSet<Digest>, RepositoryError> {
        match part {
            None => Ok(BTreeSet::new()),
            Some(Part::Statement { image, .. }) => {
                let there = self.catalogue().manifest(repository, *image).await?;
                Ok(there.map(|entry| entry.digest).into_iter().collect())
            }
            Some(Part::Image) => {
                let limit = Limit::new(u32::try_from(STATEMENTS_MAX).unwrap_or(u32::MAX));
                let kind = Some(statement::MEDIA_TYPE);
                let page = self.catalogue().referrers(repository, digest, kind, None, limit).await?;
                Ok(page.items.into_iter().map(|entry| entry.digest).collect())
            }
        }
    }

    /// Reads the statements that a manifest attaches or has attached.
    pub(super) async fn attachments(
        &self,
        repository: &PolicyName,
        digest: Digest,
        bytes: &[u8],
        part: Option<&Part>,
    ) -> Result<Attachments, RepositoryError> {
        let rests_on = self.rests_on(repository, digest, part).await?;
        let mut noted = Vec::new();
        match part {
            Some(Part::Statement { image, envelope }) if rests_on.contains(image) => {
                let image_bytes = self.small(*image, oci::MANIFEST_BYTES_MAX).await?.unwrap_or_default();
                noted.extend(self.noted(repository, (*image, &image_bytes), digest, envelope).await?);
            }
            Some(Part::Image) => {
                for manifest in &rests_on {
                    let found = self.small(*manifest, oci::MANIFEST_BYTES_MAX).await?;
                    if let Some(Part::Statement { image, envelope }) = found.as_deref().and_then(Part::of)
                        && image == digest
                    {
                        noted.extend(self.noted(repository, (digest, bytes), *manifest, &envelope).await?);
                    }
                }
            }
            _ => {}
        }
        Ok(Attachments { noted, rests_on })
    }

    /// The statement that a manifest attaches, if it is one of ours about this image.
    async fn noted(
        &self,
        repository: &PolicyName,
        (image, image_bytes): (Digest, &[u8]),
        manifest: Digest,
        envelope: &Descriptor,
    ) -> Result<Option<Noted>, RepositoryError> {
        let Some(bytes) = self.small(envelope.digest, ENVELOPE_BYTES_MAX).await? else { return Ok(None) };
        let noted = Noted::read(repository, image, manifest, &bytes).ok();
        let fits = |noted: &Noted| {
            noted.author.as_ref().is_none_or(|author| check_image(author, image_bytes).is_ok())
        };
        Ok(noted.filter(fits))
    }

    /// A blob of at most so many bytes; none where it is larger or gone.
    async fn small(&self, digest: Digest, bytes_max: usize) -> Result<Option<Vec<u8>>, RepositoryError> {
        match self.blobs().read(digest, bytes_max as u64).await {
            Ok(bytes) => Ok(bytes.map(Into::into)),
            Err(StoreError::TooLarge { .. }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}
