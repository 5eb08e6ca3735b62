//! An OCI image layout with one version of a policy, and the statements about it.
//! <https://github.com/opencontainers/image-spec/blob/v1.1.1/image-layout.md>

use std::path::Path;

use semver::Version;
use serde::{Deserialize, Serialize};
use verdict_core::artifact::UnverifiedArtifact;
use verdict_core::digest::Digest;
use verdict_core::dsse::ENVELOPE_BYTES_MAX;
use verdict_core::jcs;
use verdict_core::json;
use verdict_core::name::PolicyName;
use verdict_core::oci::{self, Descriptor, Image, ImageManifest, Index};
use verdict_core::refusal::{Refusal, RefusalCode};
use verdict_core::statement;

use crate::attached::{self, Attached, EMPTY};
use crate::error::RegistryError;
use crate::find::MARKER;
use crate::folder::Folder;
use crate::world;

const LAYOUT_VERSION: &str = "1.0.0";
const INDEX: &str = "index.json";
pub(crate) const BLOBS: &str = "blobs/sha256";
const REFERRERS_TAG_PREFIX: &str = "sha256-";
/// How many indexes inside the index are looked into.
const INNER_MAX: usize = 16;

/// A folder that holds one version of a policy. Its contents are not trusted.
#[derive(Debug)]
pub struct Layout {
    folder: Folder,
    image: Descriptor,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Marker {
    image_layout_version: String,
}

impl Layout {
    /// Writes a component as version `version` of `policy`, without any signature. A layout that is there already is
    /// replaced; until the last step it stays what it was.
    ///
    /// # Errors
    /// When `component` is not one, `folder` holds something else, or it cannot be written.
    pub fn create(
        folder: &Path,
        component: &[u8],
        policy: &PolicyName,
        version: &Version,
    ) -> Result<Self, RegistryError> {
        let Image { manifest, config } = Image::new(component, world::of(component)?, policy, version)?;
        Self::store(
            folder,
            &UnverifiedArtifact {
                reference: folder.display().to_string(),
                manifest_bytes: manifest,
                config,
                component: component.to_vec(),
                statements: Vec::new(),
            },
        )
    }

    /// Writes an artifact as it was fetched.
    ///
    /// # Errors
    /// When it is not well formed, `folder` holds something else, or it cannot be written.
    pub fn store(folder: &Path, artifact: &UnverifiedArtifact) -> Result<Self, RegistryError> {
        let manifest: ImageManifest =
            parse(&artifact.manifest_bytes, oci::MANIFEST_BYTES_MAX, &artifact.reference)?;
        let folder = Folder::create(folder)?;
        let names = folder.names(2)?;
        if !names.is_empty() && folder.read(MARKER, oci::MANIFEST_BYTES_MAX).is_err() {
            return Err(RegistryError::Occupied(folder.path().into()));
        }
        // First, so that what an interruption leaves behind is a layout to go on with.
        write_marker(&folder)?;
        folder.create_folders(BLOBS)?;
        let image = image_descriptor(&artifact.manifest_bytes, &manifest);
        // What is named comes before what names it.
        for blob in [&artifact.component, &artifact.config, &artifact.manifest_bytes] {
            folder.write(BLOBS, &Digest::of(blob).hex(), blob)?;
        }
        folder.write("", INDEX, jcs::canonical(&Index::new(vec![image.clone()]))?.as_bytes())?;
        let layout = Self { folder, image };
        for statement in &artifact.statements {
            layout.attach_statement(statement)?;
        }
        Ok(layout)
    }

    /// Opens a layout.
    ///
    /// # Errors
    /// When it cannot be read, is not well formed, or does not hold exactly one version.
    pub fn open(folder: &Path) -> Result<Self, Refusal> {
        let folder = Folder::open(folder)?;
        let reference = folder.path().join(MARKER).display().to_string();
        let marker: Marker =
            parse(&folder.read(MARKER, oci::MANIFEST_BYTES_MAX)?, oci::MANIFEST_BYTES_MAX, &reference)?;
        if marker.image_layout_version != LAYOUT_VERSION {
            let version: String = marker.image_layout_version.chars().take(40).collect();
            let message =
                format!("`{reference}` has layout version `{version}`; expected `{LAYOUT_VERSION}`");
            return Err(Refusal::new(RefusalCode::MalformedArtifact, message));
        }
        let image = the_image(&whole_index(&folder)?, &folder.path().display().to_string())?;
        Ok(Self { folder, image })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// The digest of the image manifest: what a statement is about, and the version's address in a registry.
    pub fn image_digest(&self) -> Digest {
        self.image.digest
    }

    /// The component, checked against its digest.
    ///
    /// # Errors
    /// When it cannot be read, or is not what the image says.
    pub fn component(&self) -> Result<Vec<u8>, Refusal> {
        let (_, manifest) = self.manifest()?;
        self.blob(the_layer(&manifest, &self.path_text())?, oci::COMPONENT_BYTES_MAX)
    }

    /// Everything that it holds, with nothing decided about it.
    ///
    /// # Errors
    /// When something cannot be read, is too large, or is not what its digest says.
    pub fn fetch(&self) -> Result<UnverifiedArtifact, Refusal> {
        let (manifest_bytes, manifest) = self.manifest()?;
        let layer = the_layer(&manifest, &self.path_text())?;
        Ok(UnverifiedArtifact {
            reference: self.path_text(),
            config: self.blob(&manifest.config, oci::CONFIG_BYTES_MAX)?,
            component: self.blob(layer, oci::COMPONENT_BYTES_MAX)?,
            statements: self.statements()?,
            manifest_bytes,
        })
    }

    /// What it holds, as the image says it; nobody has verified it.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn summary(&self) -> Result<Summary, Refusal> {
        let (_, manifest) = self.manifest()?;
        Ok(Summary::of(self.image.digest, &manifest, self.attached()?.len()))
    }

    /// Copies what it holds, and nothing else that lies in the folder, into another one.
    ///
    /// # Errors
    /// As [`Layout::fetch`] and [`Layout::store`].
    pub fn copy_to(&self, folder: &Path) -> Result<Self, RegistryError> {
        Self::store(folder, &self.fetch()?)
    }

    /// Attaches a signed envelope to the image and returns the digest of the manifest that names it, under which a
    /// registry lists it among the referrers. One that is attached already stays as it is.
    ///
    /// # Errors
    /// When it is too large, there are too many, or it cannot be written.
    pub fn attach_statement(&self, envelope: &[u8]) -> Result<Digest, RegistryError> {
        if envelope.len() > ENVELOPE_BYTES_MAX {
            let message = format!("the statement has {} bytes; at most {ENVELOPE_BYTES_MAX}", envelope.len());
            return Err(Refusal::new(RefusalCode::TooLarge, message).into());
        }
        let manifest = jcs::canonical(&attached::referrer(self.image.clone(), envelope))?.into_bytes();
        let mut descriptor = Descriptor::of(oci::MANIFEST_MEDIA_TYPE, &manifest);
        descriptor.artifact_type = Some(statement::MEDIA_TYPE.into());
        let digest = descriptor.digest;
        if self.referrers()?.iter().any(|referrer| referrer.digest == digest) {
            return Ok(digest);
        }
        attached::check_count(self.listed_statements()?.len() + 1, &self.path_text())?;
        for blob in [EMPTY, envelope, &manifest] {
            self.folder.write(BLOBS, &Digest::of(blob).hex(), blob)?;
        }
        self.list_referrers(vec![descriptor])?;
        Ok(digest)
    }

    /// Names more of what is attached to the image. What they name is there already.
    pub(crate) fn list_referrers(&self, more: Vec<Descriptor>) -> Result<(), RegistryError> {
        let mut referrers = self.referrers()?;
        let before = referrers.len();
        for descriptor in more {
            if !referrers.iter().any(|referrer| referrer.digest == descriptor.digest) {
                referrers.push(descriptor);
            }
        }
        if referrers.len() == before { Ok(()) } else { self.write_referrers(referrers) }
    }

    /// Replaces the index of referrers under the tag where clients look for it, when a registry has no API for it.
    fn write_referrers(&self, referrers: Vec<Descriptor>) -> Result<(), RegistryError> {
        let tag_of_referrers = referrers_tag(self.image.digest);
        let mut index = index(&self.folder)?;
        index.manifests.retain(|entry| tag(entry) != Some(&tag_of_referrers));
        index.manifests.push(write_referrers_index(&self.folder, self.image.digest, referrers)?);
        self.folder.write("", INDEX, jcs::canonical(&index)?.as_bytes())
    }

    fn referrers(&self) -> Result<Vec<Descriptor>, Refusal> {
        let index = index(&self.folder)?;
        let tag_of_referrers = referrers_tag(self.image.digest);
        let Some(descriptor) = index.manifests.iter().find(|entry| tag(entry) == Some(&tag_of_referrers))
        else {
            return Ok(Vec::new());
        };
        let bytes = self.blob(descriptor, oci::MANIFEST_BYTES_MAX)?;
        Ok(parse_index(&bytes, &self.path_text())?.manifests)
    }

    /// The envelopes that are attached as statements. Attachments of other kinds are not looked at.
    fn statements(&self) -> Result<Vec<Vec<u8>>, Refusal> {
        let read = |attached: &Attached| {
            let (config, envelope) = (attached.config(), attached.envelope());
            // It says nothing, but a layout is whole or refused.
            self.blob(config.0, config.1)?;
            self.blob(envelope.0, envelope.1)
        };
        self.attached()?.iter().map(read).collect()
    }

    /// The manifests that attach them.
    pub(crate) fn attached(&self) -> Result<Vec<Attached>, Refusal> {
        let what = self.path_text();
        let parse = |listed: &Descriptor| {
            let bytes = self.blob(listed, oci::MANIFEST_BYTES_MAX)?;
            Attached::parse(listed, bytes, self.image.digest, &what)
        };
        let listed = self.listed_statements()?;
        attached::check_count(listed.len(), &what)?;
        listed.iter().map(parse).collect()
    }

    fn listed_statements(&self) -> Result<Vec<Descriptor>, Refusal> {
        let mut referrers = self.referrers()?;
        referrers.retain(|referrer| referrer.artifact_type.as_deref() == Some(statement::MEDIA_TYPE));
        Ok(referrers)
    }

    /// The image manifest, as it is and read.
    pub(crate) fn manifest(&self) -> Result<(Vec<u8>, ImageManifest), Refusal> {
        let bytes = self.blob(&self.image, oci::MANIFEST_BYTES_MAX)?;
        let manifest = parse(&bytes, oci::MANIFEST_BYTES_MAX, &self.path_text())?;
        Ok((bytes, manifest))
    }

    /// A blob of at most `bytes_max` bytes, checked against its descriptor.
    pub(crate) fn blob(&self, descriptor: &Descriptor, bytes_max: usize) -> Result<Vec<u8>, Refusal> {
        blob(&self.folder, descriptor, bytes_max)
    }

    fn path_text(&self) -> String {
        self.folder.path().display().to_string()
    }
}

/// What an image says that it is. Nobody has verified it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Summary {
    /// The image.
    pub image: Digest,
    /// The policy's name, if it has one.
    pub policy: Option<String>,
    /// Its version.
    pub version: Option<String>,
    /// The component.
    pub component: Option<Digest>,
    /// How large the component is, in bytes.
    pub component_bytes: Option<u64>,
    /// How many statements are attached.
    pub statements: usize,
}

impl Summary {
    pub(crate) fn of(image: Digest, manifest: &ImageManifest, statements: usize) -> Self {
        let annotation = |name: &str| manifest.annotations.get(name).cloned();
        let component = manifest.layers.first();
        Self {
            image,
            policy: annotation(oci::TITLE_ANNOTATION),
            version: annotation(oci::VERSION_ANNOTATION),
            component: component.map(|component| component.digest),
            component_bytes: component.map(|component| component.size),
            statements,
        }
    }
}

/// The entry of an image in the index of a layout.
pub(crate) fn image_descriptor(manifest_bytes: &[u8], manifest: &ImageManifest) -> Descriptor {
    let mut image = Descriptor::of(oci::MANIFEST_MEDIA_TYPE, manifest_bytes);
    if let Some(version) = manifest.annotations.get(oci::VERSION_ANNOTATION) {
        image.annotations.insert(oci::REF_NAME_ANNOTATION.into(), version.clone());
    }
    image
}

/// Says that the folder is a layout.
pub(crate) fn write_marker(folder: &Folder) -> Result<(), RegistryError> {
    let marker = Marker { image_layout_version: LAYOUT_VERSION.into() };
    folder.write("", MARKER, jcs::canonical(&marker)?.as_bytes())
}

/// Writes the index of a layout that holds an image and what is attached to it, in one step.
#[cfg(feature = "client")]
pub(crate) fn write_index(
    folder: &Folder,
    image: &Descriptor,
    referrers: Vec<Descriptor>,
) -> Result<(), RegistryError> {
    let mut entries = vec![image.clone()];
    if !referrers.is_empty() {
        entries.push(write_referrers_index(folder, image.digest, referrers)?);
    }
    folder.write("", INDEX, jcs::canonical(&Index::new(entries))?.as_bytes())
}

/// Writes the list of what is attached to an image; its entry in the index of the layout.
fn write_referrers_index(
    folder: &Folder,
    image: Digest,
    referrers: Vec<Descriptor>,
) -> Result<Descriptor, RegistryError> {
    let bytes = jcs::canonical(&Index::new(referrers))?.into_bytes();
    if bytes.len() > oci::MANIFEST_BYTES_MAX {
        // It would be written, and then not be read.
        let message = format!("`{}` has too many attachments of {image}", folder.path().display());
        return Err(Refusal::new(RefusalCode::TooLarge, message).into());
    }
    folder.write(BLOBS, &Digest::of(&bytes).hex(), &bytes)?;
    let mut descriptor = Descriptor::of(oci::INDEX_MEDIA_TYPE, &bytes);
    descriptor.annotations.insert(oci::REF_NAME_ANNOTATION.into(), referrers_tag(image));
    Ok(descriptor)
}

/// The fallback tag of the OCI Distribution specification.
fn referrers_tag(image: Digest) -> String {
    format!("{REFERRERS_TAG_PREFIX}{}", image.hex())
}

/// The path of a blob in a layout.
pub(crate) fn blob_path(digest: Digest) -> String {
    format!("{BLOBS}/{}", digest.hex())
}

fn blob(folder: &Folder, descriptor: &Descriptor, bytes_max: usize) -> Result<Vec<u8>, Refusal> {
    let bytes = folder.read(&blob_path(descriptor.digest), bytes_max)?;
    if descriptor.describes(&bytes) {
        return Ok(bytes);
    }
    let message = format!(
        "the blob {} of `{}` should have {} bytes; it has {} and digest {}",
        descriptor.digest,
        folder.path().display(),
        descriptor.size,
        bytes.len(),
        Digest::of(&bytes)
    );
    Err(Refusal::new(RefusalCode::DigestMismatch, message))
}

fn tag(entry: &Descriptor) -> Option<&String> {
    entry.annotations.get(oci::REF_NAME_ANNOTATION)
}

fn index(folder: &Folder) -> Result<Index, Refusal> {
    let bytes = folder.read(INDEX, oci::MANIFEST_BYTES_MAX)?;
    parse_index(&bytes, &folder.path().join(INDEX).display().to_string())
}

/// The index, with what other tools put one level below it: an image that was pulled as part of an index.
fn whole_index(folder: &Folder) -> Result<Index, Refusal> {
    let mut index = index(folder)?;
    let is_inner = |entry: &&Descriptor| {
        entry.media_type == oci::INDEX_MEDIA_TYPE
            && entry.artifact_type.is_none()
            && !tag(entry).is_some_and(|tag| tag.starts_with(REFERRERS_TAG_PREFIX))
    };
    let inner: Vec<_> = index.manifests.iter().filter(is_inner).take(INNER_MAX).cloned().collect();
    for descriptor in inner {
        let bytes = blob(folder, &descriptor, oci::MANIFEST_BYTES_MAX)?;
        let what = folder.path().join(blob_path(descriptor.digest)).display().to_string();
        index.manifests.extend(parse_index(&bytes, &what)?.manifests);
    }
    Ok(index)
}

fn parse_index(bytes: &[u8], what: &str) -> Result<Index, Refusal> {
    let index: Index = parse(bytes, oci::MANIFEST_BYTES_MAX, what)?;
    if index.schema_version == 2 {
        return Ok(index);
    }
    let message = format!("`{what}` has `schemaVersion` {}; expected 2", index.schema_version);
    Err(Refusal::new(RefusalCode::MalformedArtifact, message))
}

/// The one image of an index. Attachments that other tools list there say what they are.
pub(crate) fn the_image(index: &Index, what: &str) -> Result<Descriptor, Refusal> {
    let is_image = |entry: &&Descriptor| {
        let artifact_type = entry.artifact_type.as_deref().unwrap_or(oci::WASM_CONFIG_MEDIA_TYPE);
        entry.media_type == oci::MANIFEST_MEDIA_TYPE && artifact_type == oci::WASM_CONFIG_MEDIA_TYPE
    };
    let mut images: Vec<_> = index.manifests.iter().filter(is_image).collect();
    images.sort_by_key(|image| image.digest);
    images.dedup_by_key(|image| image.digest);
    if let [image] = images.as_slice() {
        return Ok((*image).clone());
    }
    let names: Vec<_> = images.iter().take(10).map(|image| format!("`{}`", name(image))).collect();
    let held = if names.is_empty() { "no version".into() } else { format!("several: {}", names.join(", ")) };
    let message = format!("`{what}` must hold one version of a policy; it holds {held}");
    Err(Refusal::new(RefusalCode::MalformedArtifact, message))
}

fn name(image: &Descriptor) -> String {
    tag(image).map_or_else(|| image.digest.to_string(), |tag| tag.chars().take(80).collect())
}

/// The one layer of an image. `path` is for messages.
pub(crate) fn the_layer<'m>(manifest: &'m ImageManifest, path: &str) -> Result<&'m Descriptor, Refusal> {
    match manifest.layers.as_slice() {
        [layer] => Ok(layer),
        layers => {
            let message = format!("an image of `{path}` has {} layers; expected one", layers.len());
            Err(Refusal::new(RefusalCode::WrongMediaType, message))
        }
    }
}

/// Reads a document that `what` names in messages.
pub(crate) fn parse<T: serde::de::DeserializeOwned>(
    bytes: &[u8],
    bytes_max: usize,
    what: &str,
) -> Result<T, Refusal> {
    json::parse(bytes, bytes_max).map_err(|error| {
        let code = match error {
            json::JsonError::TooLarge { .. } => RefusalCode::TooLarge,
            json::JsonError::Malformed(_) => RefusalCode::MalformedArtifact,
        };
        Refusal::new(code, format!("`{what}` cannot be read: {error}"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};
    use std::fs;
    use verdict_core::artifact::STATEMENTS_MAX;

    const COMPONENT: &[u8] = b"\0asm\x0d\0\x01\0";

    fn create(folder: &Path, version: &str) -> Layout {
        Layout::create(folder, COMPONENT, &"acme/loan".parse().unwrap(), &version.parse().unwrap()).unwrap()
    }

    fn read(path: &Path) -> Value {
        serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
    }

    fn blob(folder: &Path, digest: &Value) -> Value {
        let hex = digest.as_str().unwrap().strip_prefix("sha256:").unwrap();
        read(&folder.join(BLOBS).join(hex))
    }

    /// The names and values that the OCI image specification 1.1 and the Wasm artifact layout ask for.
    #[test]
    fn writes_what_oci_clients_read() {
        let temporary = tempfile::tempdir().unwrap();
        let folder = temporary.path();
        create(folder, "1.0.0").attach_statement(b"envelope").unwrap();
        assert_eq!(read(&folder.join("oci-layout")), json!({"imageLayoutVersion": "1.0.0"}));
        let index = read(&folder.join("index.json"));
        assert_eq!(index["mediaType"], "application/vnd.oci.image.index.v1+json");
        let [image, referrers] = index["manifests"].as_array().unwrap().as_slice() else { panic!("{index}") };
        assert_eq!(image["mediaType"], "application/vnd.oci.image.manifest.v1+json");
        assert_eq!(image["annotations"], json!({"org.opencontainers.image.ref.name": "1.0.0"}));
        let tag = image["digest"].as_str().unwrap().replace(':', "-");
        assert_eq!(referrers["annotations"], json!({"org.opencontainers.image.ref.name": tag}));

        let manifest = blob(folder, &image["digest"]);
        let digest = Digest::of(COMPONENT).to_string();
        let layer = json!({"mediaType": "application/wasm", "digest": digest, "size": COMPONENT.len()});
        assert_eq!((&manifest["schemaVersion"], &manifest["layers"]), (&json!(2), &json!([layer])));
        assert_eq!(manifest["config"]["mediaType"], "application/vnd.wasm.config.v0+json");
        assert_eq!(manifest["annotations"]["org.opencontainers.image.title"], "acme/loan");
        let config = blob(folder, &manifest["config"]["digest"]);
        assert_eq!(config["layerDigests"], json!([digest]));
        assert_eq!((&config["architecture"], &config["os"]), (&json!("wasm"), &json!("wasip2")));

        let referrers = blob(folder, &referrers["digest"]);
        let [referrer] = referrers["manifests"].as_array().unwrap().as_slice() else { panic!("{referrers}") };
        assert_eq!(referrer["artifactType"], "application/vnd.in-toto+json");
        let statement = blob(folder, &referrer["digest"]);
        assert_eq!(statement["artifactType"], "application/vnd.in-toto+json");
        assert_eq!(statement["config"]["mediaType"], "application/vnd.oci.empty.v1+json");
        assert_eq!(statement["layers"][0]["mediaType"], "application/vnd.dsse.envelope.v1+json");
        let subject =
            json!({"mediaType": image["mediaType"], "digest": image["digest"], "size": image["size"]});
        assert_eq!(statement["subject"], subject);
    }

    #[test]
    fn holds_what_was_put_in_and_statements_once() {
        let temporary = tempfile::tempdir().unwrap();
        let layout = create(temporary.path(), "1.0.0");
        let first = layout.attach_statement(b"first").unwrap();
        layout.attach_statement(b"second").unwrap();
        assert_eq!(layout.attach_statement(b"first").unwrap(), first);
        let artifact = Layout::open(temporary.path()).unwrap().fetch().unwrap();
        assert_eq!(artifact.component, COMPONENT);
        assert_eq!(artifact.statements, [b"first".to_vec(), b"second".to_vec()]);
        assert_eq!(Digest::of(&artifact.manifest_bytes), layout.image_digest());
        assert_eq!(layout.component().unwrap(), COMPONENT);
    }

    #[test]
    fn a_copy_holds_the_same_and_nothing_else() {
        let temporary = tempfile::tempdir().unwrap();
        let (from, to) = (temporary.path().join("from"), temporary.path().join("to"));
        create(&from, "0.9.0");
        let layout = create(&from, "1.0.0");
        layout.attach_statement(b"statement").unwrap();
        fs::write(from.join("stray"), "").unwrap();
        let copy = layout.copy_to(&to).unwrap().fetch().unwrap();
        assert_eq!(copy.statements, layout.fetch().unwrap().statements);
        assert_eq!(fs::read(from.join(INDEX)).unwrap(), fs::read(to.join(INDEX)).unwrap());
        assert!(!to.join("stray").exists());
        // component, config, image manifest, envelope, its manifest, its empty config, the index of referrers
        assert_eq!(fs::read_dir(to.join(BLOBS)).unwrap().count(), 7);
    }

    #[test]
    fn building_again_replaces_the_version_and_drops_its_statements() {
        let temporary = tempfile::tempdir().unwrap();
        create(temporary.path(), "1.0.0").attach_statement(b"statement").unwrap();
        let new = create(temporary.path(), "1.0.1").image_digest();
        let layout = Layout::open(temporary.path()).unwrap();
        assert_eq!((layout.image_digest(), layout.fetch().unwrap().statements.len()), (new, 0));
    }

    #[test]
    fn writes_into_no_folder_that_holds_something_else() {
        let temporary = tempfile::tempdir().unwrap();
        fs::write(temporary.path().join("thesis.tex"), "").unwrap();
        let policy = "loan".parse().unwrap();
        let result = Layout::create(temporary.path(), COMPONENT, &policy, &Version::new(1, 0, 0));
        assert!(matches!(result, Err(RegistryError::Occupied(_))));
        let module = Layout::create(
            &temporary.path().join("new"),
            b"\0asm\x01\0\0\0",
            &policy,
            &Version::new(1, 0, 0),
        );
        assert!(matches!(module, Err(RegistryError::Refused(_))) && !temporary.path().join("new").exists());
    }

    #[test]
    fn says_which_versions_there_are_when_there_are_several() {
        let temporary = tempfile::tempdir().unwrap();
        create(temporary.path(), "1.0.0");
        let mut index = read(&temporary.path().join(INDEX));
        let mut other = index["manifests"][0].clone();
        other["digest"] = json!(Digest::of(b"other"));
        other["annotations"] = json!({"org.opencontainers.image.ref.name": "2.0.0"});
        index["manifests"].as_array_mut().unwrap().push(other);
        fs::write(temporary.path().join(INDEX), index.to_string()).unwrap();
        let refusal = Layout::open(temporary.path()).unwrap_err();
        assert_eq!(refusal.code, RefusalCode::MalformedArtifact);
        assert!(refusal.message.contains("`1.0.0`") && refusal.message.contains("`2.0.0`"), "{refusal}");
    }

    /// Some tools write what they pull one level below the index.
    #[test]
    fn finds_a_version_one_level_below_the_index() {
        let temporary = tempfile::tempdir().unwrap();
        let layout = create(temporary.path(), "1.0.0");
        let inner = fs::read(temporary.path().join(INDEX)).unwrap();
        fs::write(temporary.path().join(blob_path(Digest::of(&inner))), &inner).unwrap();
        let entry = Descriptor::of(oci::INDEX_MEDIA_TYPE, &inner);
        let outer = json!({"schemaVersion": 2, "manifests": [entry]});
        fs::write(temporary.path().join(INDEX), outer.to_string()).unwrap();
        let found = Layout::open(temporary.path()).unwrap();
        assert_eq!(found.image_digest(), layout.image_digest());
        found.attach_statement(b"statement").unwrap();
        assert_eq!(Layout::open(temporary.path()).unwrap().fetch().unwrap().statements, [b"statement"]);

        fs::write(temporary.path().join(blob_path(Digest::of(&inner))), b"{}").unwrap();
        assert_eq!(Layout::open(temporary.path()).unwrap_err().code, RefusalCode::DigestMismatch);
    }

    #[test]
    fn attaches_no_more_than_is_read() {
        let temporary = tempfile::tempdir().unwrap();
        let layout = create(temporary.path(), "1.0.0");
        for statement in 0..STATEMENTS_MAX {
            layout.attach_statement(&[u8::try_from(statement).unwrap()]).unwrap();
        }
        assert!(layout.attach_statement(b"one more").is_err());
        assert!(layout.attach_statement(&vec![0; ENVELOPE_BYTES_MAX + 1]).is_err());
        assert_eq!(layout.fetch().unwrap().statements.len(), STATEMENTS_MAX);
    }
}
