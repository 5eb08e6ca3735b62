//! Whether the blobs of an artifact are what its image says.

use std::collections::BTreeMap;

use super::UnverifiedArtifact;
use crate::digest::Digest;
use crate::json::{self, JsonError};
use crate::oci::{self, ImageManifest, WasmConfig};
use crate::refusal::{Refusal, RefusalCode};
use crate::statement::Statement;

/// An image whose blobs are what it says.
pub(super) struct Image {
    pub(super) digest: Digest,
    pub(super) component: Digest,
    annotations: BTreeMap<String, String>,
}

impl Image {
    pub(super) fn check(artifact: &UnverifiedArtifact) -> Result<Self, Refusal> {
        let what = |part: &str| format!("the {part} of `{}`", artifact.reference);
        let manifest: ImageManifest =
            read(&artifact.manifest_bytes, oci::MANIFEST_BYTES_MAX, || what("image manifest"))?;
        if manifest.schema_version != 2 {
            let message = format!("{} has another `schemaVersion` than 2", what("image manifest"));
            return Err(Refusal::new(RefusalCode::MalformedArtifact, message));
        }
        check_media_type(&manifest.media_type, oci::MANIFEST_MEDIA_TYPE, || what("image manifest"))?;
        check_media_type(&manifest.config.media_type, oci::WASM_CONFIG_MEDIA_TYPE, || what("config"))?;
        let [layer] = manifest.layers.as_slice() else {
            let message =
                format!("`{}` has {} layers; expected one", artifact.reference, manifest.layers.len());
            return Err(Refusal::new(RefusalCode::WrongMediaType, message));
        };
        check_media_type(&layer.media_type, oci::WASM_MEDIA_TYPE, || what("layer"))?;
        check_blob(&manifest.config, &artifact.config, oci::CONFIG_BYTES_MAX, || what("config"))?;
        check_blob(layer, &artifact.component, oci::COMPONENT_BYTES_MAX, || what("component"))?;
        let config: WasmConfig = read(&artifact.config, oci::CONFIG_BYTES_MAX, || what("config"))?;
        if !config.is_of(layer.digest) {
            let message = format!("{} is not that of this one component", what("config"));
            return Err(Refusal::new(RefusalCode::MalformedArtifact, message));
        }
        let component = layer.digest;
        Ok(Self {
            digest: Digest::of(&artifact.manifest_bytes),
            component,
            annotations: manifest.annotations,
        })
    }

    /// Checks that a statement is about this image, and does not contradict it.
    pub(super) fn check_statement(&self, statement: &Statement) -> Result<(), Refusal> {
        for (what, found, expected) in [
            ("component", statement.component(), self.component),
            ("image", statement.oci_manifest(), self.digest),
        ] {
            if found != expected {
                let message = format!("the statement is about {what} {found}, not {expected}");
                return Err(Refusal::new(RefusalCode::WrongSubject, message));
            }
        }
        let manifest = statement.manifest();
        let contradiction = |what: &str, said: &str, found: &str| {
            let message = format!("the manifest says {what} `{said}`, the artifact `{found}`");
            Err(Refusal::new(RefusalCode::ManifestMismatch, message))
        };
        if manifest.component != self.component {
            let (said, found) = (manifest.component.to_string(), self.component.to_string());
            return contradiction("component", &said, &found);
        }
        for (what, said, annotation) in [
            ("policy", manifest.policy.to_string(), oci::TITLE_ANNOTATION),
            ("version", manifest.version.to_string(), oci::VERSION_ANNOTATION),
        ] {
            match self.annotations.get(annotation) {
                Some(found) if *found != said => return contradiction(what, &said, found),
                _ => {}
            }
        }
        Ok(())
    }
}

fn read<T: serde::de::DeserializeOwned>(
    bytes: &[u8],
    bytes_max: usize,
    what: impl Fn() -> String,
) -> Result<T, Refusal> {
    json::parse(bytes, bytes_max).map_err(|error| {
        let code = match error {
            JsonError::TooLarge { .. } => RefusalCode::TooLarge,
            JsonError::Malformed(_) => RefusalCode::MalformedArtifact,
        };
        Refusal::new(code, format!("{} cannot be read: {error}", what()))
    })
}

fn check_media_type(found: &str, expected: &str, what: impl Fn() -> String) -> Result<(), Refusal> {
    if found == expected {
        return Ok(());
    }
    let found: String = found.chars().take(160).collect();
    let message = format!("{} has media type `{found}`; expected `{expected}`", what());
    Err(Refusal::new(RefusalCode::WrongMediaType, message))
}

fn check_blob(
    descriptor: &oci::Descriptor,
    bytes: &[u8],
    bytes_max: usize,
    what: impl Fn() -> String,
) -> Result<(), Refusal> {
    if bytes.len() > bytes_max {
        let message = format!("{} has {} bytes; at most {bytes_max} are read", what(), bytes.len());
        return Err(Refusal::new(RefusalCode::TooLarge, message));
    }
    if !descriptor.describes(bytes) {
        let message = format!(
            "{} should be {} of {} bytes; it is {} of {}",
            what(),
            descriptor.digest,
            descriptor.size,
            Digest::of(bytes),
            bytes.len()
        );
        return Err(Refusal::new(RefusalCode::DigestMismatch, message));
    }
    Ok(())
}
