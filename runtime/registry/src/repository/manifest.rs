//! What a manifest says, read from bytes that anybody may have sent.
//! <https://github.com/opencontainers/image-spec/blob/v1.1.1/manifest.md>, and the two older kinds that Docker writes.

use std::collections::BTreeMap;

use serde::Deserialize;
use verdict_core::digest::Digest;
use verdict_core::oci::{INDEX_MEDIA_TYPE, MANIFEST_MEDIA_TYPE};

use super::RepositoryError;
use crate::catalogue::NewManifest;

/// The largest manifest that is taken, in bytes: the least that the specification wants.
pub const MANIFEST_BYTES_MAX: usize = 4 << 20;

const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
/// Layers that their licence keeps out of registries: nobody pushes them.
const ELSEWHERE: [&str; 2] =
    ["application/vnd.oci.image.layer.nondistributable", "application/vnd.docker.image.rootfs.foreign"];

/// A manifest that was read: what goes into the catalogue, and the sizes it claims.
pub(super) struct Parsed {
    pub(super) new: NewManifest,
    pub(super) sizes: BTreeMap<Digest, u64>,
}

/// The members that matter; the specification asks to let others pass.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Raw {
    schema_version: u32,
    media_type: Option<String>,
    artifact_type: Option<String>,
    config: Option<RawDescriptor>,
    layers: Option<Vec<RawDescriptor>>,
    manifests: Option<Vec<RawDescriptor>>,
    subject: Option<RawDescriptor>,
    annotations: Option<BTreeMap<String, String>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawDescriptor {
    media_type: String,
    digest: Digest,
    size: u64,
}

/// Reads a manifest. `named` is the media type that the request names, without parameters.
///
/// # Errors
/// [`RepositoryError::Manifest`].
pub(super) fn parse(bytes: &[u8], named: Option<&str>) -> Result<Parsed, RepositoryError> {
    if bytes.len() > MANIFEST_BYTES_MAX {
        return refused(format!("it has {} bytes; at most {MANIFEST_BYTES_MAX}", bytes.len()));
    }
    let raw: Raw = serde_json::from_slice(bytes)
        .or_else(|error| refused(format!("it cannot be read: {error}; only sha256 digests are taken")))?;
    let media_type = media_type(&raw, named)?.to_owned();
    if raw.schema_version != 2 {
        return refused(format!("it has schema version {}, not 2", raw.schema_version));
    }
    let is_index = media_type == INDEX_MEDIA_TYPE || media_type == DOCKER_LIST;
    let (blobs, manifests) = parts(&raw, is_index)?;
    let config_type = raw.config.map(|config| config.media_type);
    let is_attached = raw.subject.is_some();
    let own_type = raw.artifact_type.filter(|text| !text.is_empty());
    let new = NewManifest {
        digest: Digest::of(bytes),
        bytes: bytes.len() as u64,
        media_type,
        artifact_type: own_type.or(config_type),
        subject: raw.subject.map(|subject| subject.digest),
        // They are listed with what is attached to another manifest, and with nothing else; others may be large.
        annotations: raw.annotations.filter(|_| is_attached).unwrap_or_default(),
        blobs: blobs.keys().copied().collect(),
        manifests: manifests.keys().copied().collect(),
    };
    Ok(Parsed { new, sizes: blobs.into_iter().chain(manifests).collect() })
}

fn media_type<'a>(raw: &'a Raw, named: Option<&'a str>) -> Result<&'a str, RepositoryError> {
    let said = raw.media_type.as_deref();
    if let (Some(named), Some(said)) = (named, said)
        && named != said
    {
        return refused(format!("its media type is `{}`, the request says `{}`", brief(said), brief(named)));
    }
    let known = [MANIFEST_MEDIA_TYPE, INDEX_MEDIA_TYPE, DOCKER_MANIFEST, DOCKER_LIST];
    match named.or(said) {
        Some(media_type) if known.contains(&media_type) => Ok(media_type),
        Some(other) => refused(format!("the media type `{}` is none of {}", brief(other), known.join(", "))),
        None => refused("neither it nor the request names its media type".to_owned()),
    }
}

type Sizes = BTreeMap<Digest, u64>;

/// The blobs and the manifests that a manifest is made of.
fn parts(raw: &Raw, is_index: bool) -> Result<(Sizes, Sizes), RepositoryError> {
    let sizes = |parts: &[RawDescriptor]| {
        let mut sizes = Sizes::new();
        for part in parts {
            if sizes.insert(part.digest, part.size).is_some_and(|before| before != part.size) {
                return refused(format!("it gives `{}` two sizes", part.digest));
            }
        }
        Ok(sizes)
    };
    match (is_index, &raw.config, &raw.layers, &raw.manifests) {
        (true, None, None, Some(manifests)) => Ok((Sizes::new(), sizes(manifests)?)),
        (true, ..) => refused("an index has `manifests`, and neither `config` nor `layers`".to_owned()),
        (false, Some(config), Some(layers), None) => {
            let here =
                |layer: &&RawDescriptor| !ELSEWHERE.iter().any(|kind| layer.media_type.starts_with(kind));
            let mut blobs: Vec<RawDescriptor> = Vec::new();
            for part in layers.iter().filter(here).chain([config]) {
                let RawDescriptor { media_type, digest, size } = part;
                blobs.push(RawDescriptor { media_type: media_type.clone(), digest: *digest, size: *size });
            }
            Ok((sizes(&blobs)?, Sizes::new()))
        }
        (false, ..) => refused("an image has `config` and `layers`, and no `manifests`".to_owned()),
    }
}

fn refused<T>(why: String) -> Result<T, RepositoryError> {
    Err(RepositoryError::Manifest(why))
}

fn brief(text: &str) -> String {
    text.chars().take(80).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn descriptor(text: &str, media_type: &str) -> Value {
        json!({ "mediaType": media_type, "digest": Digest::of(text.as_bytes()), "size": text.len() })
    }

    fn image() -> Value {
        json!({
            "schemaVersion": 2, "mediaType": MANIFEST_MEDIA_TYPE,
            "config": descriptor("config", "application/vnd.wasm.config.v0+json"),
            "layers": [descriptor("layer", "application/wasm")],
        })
    }

    fn read(value: &Value, named: Option<&str>) -> Result<Parsed, RepositoryError> {
        parse(value.to_string().as_bytes(), named)
    }

    fn refusal(value: &Value, named: Option<&str>) -> String {
        match read(value, named) {
            Err(RepositoryError::Manifest(why)) => why,
            Err(other) => panic!("{other}"),
            Ok(_) => panic!("{value} was taken"),
        }
    }

    #[test]
    fn an_image_names_its_config_and_its_layers() {
        let parsed = read(&image(), None).unwrap();
        assert_eq!(parsed.new.blobs, [Digest::of(b"config"), Digest::of(b"layer")].into());
        assert_eq!(parsed.new.artifact_type.as_deref(), Some("application/vnd.wasm.config.v0+json"));
        assert_eq!(parsed.sizes[&Digest::of(b"layer")], 5);
        assert_eq!(parsed.new.digest, Digest::of(image().to_string().as_bytes()));
        assert!(parsed.new.manifests.is_empty() && parsed.new.subject.is_none());
    }

    #[test]
    fn its_own_artifact_type_goes_before_the_configs_and_an_index_has_only_its_own() {
        let mut value = image();
        value["artifactType"] = json!("application/x");
        value["subject"] = descriptor("subject", MANIFEST_MEDIA_TYPE);
        let parsed = read(&value, Some(MANIFEST_MEDIA_TYPE)).unwrap();
        assert_eq!(parsed.new.artifact_type.as_deref(), Some("application/x"));
        assert_eq!(parsed.new.subject, Some(Digest::of(b"subject")));
        assert!(!parsed.new.blobs.contains(&Digest::of(b"subject")), "a subject need not be there");
        let index = json!({ "schemaVersion": 2, "manifests": [descriptor("image", MANIFEST_MEDIA_TYPE)] });
        let parsed = read(&index, Some(INDEX_MEDIA_TYPE)).unwrap();
        assert_eq!(parsed.new.manifests, [Digest::of(b"image")].into());
        assert_eq!((parsed.new.artifact_type, parsed.new.media_type.as_str()), (None, INDEX_MEDIA_TYPE));
    }

    #[test]
    fn layers_that_nobody_may_distribute_need_not_be_there() {
        let mut value = image();
        value["layers"] =
            json!([descriptor("layer", "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip")]);
        assert_eq!(read(&value, None).unwrap().new.blobs, [Digest::of(b"config")].into());
    }

    #[test]
    fn rejects_what_is_no_manifest_and_says_why() {
        for (name, value, why) in [
            ("schemaVersion", json!(1), "schema version 1"),
            ("mediaType", json!("text/plain"), "`text/plain` is none of"),
            ("mediaType", json!(INDEX_MEDIA_TYPE), "an index has `manifests`"),
            ("config", Value::Null, "an image has `config`"),
            ("manifests", json!([]), "an image has `config`"),
            ("layers", json!({}), "cannot be read"),
            ("config", json!({"mediaType": "a", "size": 1, "digest": "sha512:00"}), "only sha256"),
            ("config", json!({"mediaType": "a", "size": -1, "digest": Digest::of(b"")}), "cannot be read"),
            ("annotations", json!({"a": 1}), "cannot be read"),
        ] {
            let mut changed = image();
            changed[name] = value;
            let said = refusal(&changed, None);
            assert!(said.contains(why), "{said}");
        }
        assert!(refusal(&image(), Some(INDEX_MEDIA_TYPE)).contains("the request says"));
        let mut nameless = image();
        nameless.as_object_mut().unwrap().remove("mediaType");
        assert!(refusal(&nameless, None).contains("neither it nor the request"));
        let mut twice = image();
        twice["layers"][0]["digest"] = twice["config"]["digest"].clone();
        assert!(refusal(&twice, None).contains("two sizes"));
        assert!(parse(&vec![b' '; MANIFEST_BYTES_MAX + 1], None).is_err());
        let deep = format!("{{\"schemaVersion\":2,\"x\":{}", "[".repeat(100_000));
        assert!(parse(deep.as_bytes(), None).is_err());
    }
}
