//! A statement as OCI keeps it: a manifest of its own, whose subject is the image and whose one layer is the envelope.

use verdict_core::artifact::STATEMENTS_MAX;
use verdict_core::digest::Digest;
use verdict_core::dsse::{self, ENVELOPE_BYTES_MAX};
use verdict_core::oci::{self, Descriptor, ImageManifest};
use verdict_core::refusal::{Refusal, RefusalCode};

use crate::layout::{parse, the_layer};

/// The config of an image that has nothing to say, as the image specification writes it.
pub(crate) const EMPTY: &[u8] = b"{}";

/// What attaches an envelope to an image. The same two always give the same manifest.
pub(crate) fn referrer(image: Descriptor, envelope: &[u8]) -> ImageManifest {
    ImageManifest {
        schema_version: 2,
        media_type: oci::MANIFEST_MEDIA_TYPE.into(),
        artifact_type: Some(verdict_core::statement::MEDIA_TYPE.into()),
        config: Descriptor::of(oci::EMPTY_MEDIA_TYPE, EMPTY),
        layers: vec![Descriptor::of(dsse::MEDIA_TYPE, envelope)],
        subject: Some(Descriptor { annotations: Default::default(), ..image }),
        annotations: Default::default(),
    }
}

/// A manifest that attaches an envelope to an image.
#[derive(Debug, Clone)]
pub(crate) struct Attached {
    #[cfg(feature = "client")]
    manifest_bytes: Vec<u8>,
    manifest: ImageManifest,
    envelope: Descriptor,
}

impl Attached {
    /// Reads what `listed` names, which is to be attached to `image`. `what` is for messages.
    pub(crate) fn parse(
        listed: &Descriptor,
        manifest_bytes: Vec<u8>,
        image: Digest,
        what: &str,
    ) -> Result<Self, Refusal> {
        if !listed.describes(&manifest_bytes) {
            let message = format!("a statement in `{what}` is not what its digest and size say");
            return Err(Refusal::new(RefusalCode::DigestMismatch, message));
        }
        let manifest: ImageManifest = parse(&manifest_bytes, oci::MANIFEST_BYTES_MAX, what)?;
        if manifest.subject.as_ref().map(|subject| subject.digest) != Some(image) {
            let message = format!("a statement in `{what}` is attached to another image");
            return Err(Refusal::new(RefusalCode::WrongSubject, message));
        }
        let envelope = the_layer(&manifest, what)?.clone();
        if envelope.media_type != dsse::MEDIA_TYPE {
            let message = format!("a statement in `{what}` is not a DSSE envelope");
            return Err(Refusal::new(RefusalCode::WrongMediaType, message));
        }
        Ok(Self {
            #[cfg(feature = "client")]
            manifest_bytes,
            manifest,
            envelope,
        })
    }

    /// The envelope, of at most [`ENVELOPE_BYTES_MAX`] bytes.
    pub(crate) fn envelope(&self) -> (&Descriptor, usize) {
        (&self.envelope, ENVELOPE_BYTES_MAX)
    }

    /// The config, which says nothing.
    pub(crate) fn config(&self) -> (&Descriptor, usize) {
        (&self.manifest.config, oci::CONFIG_BYTES_MAX)
    }
}

/// Whether a manifest is that of a statement, by what it says itself. What others attached may be of any form.
#[cfg(feature = "client")]
pub(crate) fn is_statement(manifest_bytes: &[u8]) -> bool {
    let manifest = verdict_core::json::parse::<ImageManifest>(manifest_bytes, oci::MANIFEST_BYTES_MAX).ok();
    manifest.and_then(|manifest| manifest.artifact_type).as_deref()
        == Some(verdict_core::statement::MEDIA_TYPE)
}

#[cfg(feature = "client")]
impl Attached {
    /// The manifest.
    pub(crate) fn manifest_bytes(&self) -> &[u8] {
        &self.manifest_bytes
    }

    /// How it is listed among the referrers of the image.
    pub(crate) fn descriptor(&self) -> Descriptor {
        let mut descriptor = Descriptor::of(oci::MANIFEST_MEDIA_TYPE, &self.manifest_bytes);
        let of_config = || self.manifest.config.media_type.clone();
        descriptor.artifact_type = Some(self.manifest.artifact_type.clone().unwrap_or_else(of_config));
        descriptor.annotations.clone_from(&self.manifest.annotations);
        descriptor
    }
}

/// There are not more than are read.
pub(crate) fn check_count(count: usize, what: &str) -> Result<(), Refusal> {
    if count <= STATEMENTS_MAX {
        return Ok(());
    }
    let message = format!("`{what}` has {count} statements; at most {STATEMENTS_MAX} are read");
    Err(Refusal::new(RefusalCode::TooLarge, message))
}
