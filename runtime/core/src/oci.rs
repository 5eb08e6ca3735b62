//! The parts of the OCI image specification (1.1) and of the Wasm artifact layout that an artifact is made of.
//! <https://github.com/opencontainers/image-spec>, <https://tag-runtime.cncf.io/wgs/wasm/deliverables/wasm-oci-artifact/>
//!
//! Members that are not listed here are ignored, as that specification asks.

use std::collections::BTreeMap;

use semver::Version;
use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::jcs::{self, JcsError};
use crate::name::PolicyName;

/// The media type of an image manifest.
pub const MANIFEST_MEDIA_TYPE: &str = "application/vnd.oci.image.manifest.v1+json";
/// The media type of an index.
pub const INDEX_MEDIA_TYPE: &str = "application/vnd.oci.image.index.v1+json";
/// The media type of a config that says nothing: the two bytes `{}`.
pub const EMPTY_MEDIA_TYPE: &str = "application/vnd.oci.empty.v1+json";
/// The media type of a component's config.
pub const WASM_CONFIG_MEDIA_TYPE: &str = "application/vnd.wasm.config.v0+json";
/// The media type of a component.
pub const WASM_MEDIA_TYPE: &str = "application/wasm";
/// The annotation that names the policy of an image.
pub const TITLE_ANNOTATION: &str = "org.opencontainers.image.title";
/// The annotation that names the version of an image.
pub const VERSION_ANNOTATION: &str = "org.opencontainers.image.version";
/// The annotation of an index entry that is its tag.
pub const REF_NAME_ANNOTATION: &str = "org.opencontainers.image.ref.name";

/// The largest image manifest or index that is read, in bytes.
pub const MANIFEST_BYTES_MAX: usize = 64 << 10;
/// The largest config that is read, in bytes.
pub const CONFIG_BYTES_MAX: usize = 64 << 10;
/// The largest component that is read, in bytes.
pub const COMPONENT_BYTES_MAX: usize = 32 << 20;

/// What a blob is, how large, and its digest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    /// What the bytes are.
    pub media_type: String,
    /// The digest of the bytes.
    pub digest: Digest,
    /// How many bytes there are.
    pub size: u64,
    /// What the artifact is, where the descriptor is of a manifest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<String>,
    /// Anything else.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

impl Descriptor {
    /// The descriptor of `bytes`.
    pub fn of(media_type: &str, bytes: &[u8]) -> Self {
        let size = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        let (media_type, digest) = (media_type.into(), Digest::of(bytes));
        Self { media_type, digest, size, artifact_type: None, annotations: BTreeMap::new() }
    }

    /// Whether this is the size and the digest of `bytes`.
    pub fn describes(&self, bytes: &[u8]) -> bool {
        u64::try_from(bytes.len()) == Ok(self.size) && Digest::of(bytes) == self.digest
    }
}

/// An image manifest: a config and layers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ImageManifest {
    /// Always 2.
    pub schema_version: u32,
    /// Always [`MANIFEST_MEDIA_TYPE`].
    pub media_type: String,
    /// What the artifact is, where the config does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<String>,
    /// The config.
    pub config: Descriptor,
    /// The layers.
    pub layers: Vec<Descriptor>,
    /// The manifest that this one is attached to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<Descriptor>,
    /// Anything else.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

/// An index: a list of manifests.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Index {
    /// Always 2.
    pub schema_version: u32,
    /// [`INDEX_MEDIA_TYPE`], where the writer says so.
    #[serde(default)]
    pub media_type: String,
    /// The manifests.
    pub manifests: Vec<Descriptor>,
}

impl Index {
    /// The index of `manifests`.
    pub fn new(manifests: Vec<Descriptor>) -> Self {
        Self { schema_version: 2, media_type: INDEX_MEDIA_TYPE.into(), manifests }
    }
}

/// The config of a component.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WasmConfig {
    /// When it was made (RFC 3339). Verdict writes the epoch, so that one component has one image.
    pub created: String,
    /// Always `wasm`.
    pub architecture: String,
    /// `wasip2`, which is what the layout calls components.
    pub os: String,
    /// The digests of the layers, in their order.
    pub layer_digests: Vec<Digest>,
    /// The world of the component.
    pub component: World,
}

/// The names of what a component imports and exports.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct World {
    /// What it exports.
    #[serde(default)]
    pub exports: Vec<String>,
    /// What it imports.
    #[serde(default)]
    pub imports: Vec<String>,
}

impl WasmConfig {
    const ARCHITECTURE: &str = "wasm";
    const OS: &str = "wasip2";

    /// The config of the component with this digest.
    pub fn new(component: Digest, world: World) -> Self {
        Self {
            created: "1970-01-01T00:00:00Z".into(),
            architecture: Self::ARCHITECTURE.into(),
            os: Self::OS.into(),
            layer_digests: vec![component],
            component: world,
        }
    }

    /// Whether it is the config of a single component with this digest.
    pub fn is_of(&self, component: Digest) -> bool {
        self.architecture == Self::ARCHITECTURE && self.os == Self::OS && self.layer_digests == [component]
    }
}

/// What a registry stores of a version beside the component itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// The image manifest. The component's bytes, the policy's name and its version decide every byte of it.
    pub manifest: Vec<u8>,
    /// The config blob.
    pub config: Vec<u8>,
}

impl Image {
    /// The image of a component whose world is `world`.
    ///
    /// # Errors
    /// Never for text and numbers, which is all there is in it.
    pub fn new(
        component: &[u8],
        world: World,
        policy: &PolicyName,
        version: &Version,
    ) -> Result<Self, JcsError> {
        let layer = Descriptor::of(WASM_MEDIA_TYPE, component);
        let config = jcs::canonical(&WasmConfig::new(layer.digest, world))?.into_bytes();
        let annotations = [(TITLE_ANNOTATION, policy.to_string()), (VERSION_ANNOTATION, version.to_string())];
        let manifest = ImageManifest {
            schema_version: 2,
            media_type: MANIFEST_MEDIA_TYPE.into(),
            artifact_type: None,
            config: Descriptor::of(WASM_CONFIG_MEDIA_TYPE, &config),
            layers: vec![layer],
            subject: None,
            annotations: annotations.map(|(name, value)| (name.into(), value)).into(),
        };
        Ok(Self { manifest: jcs::canonical(&manifest)?.into_bytes(), config })
    }
}
