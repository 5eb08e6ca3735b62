//! From a build on disk to what an engine loads.

use std::path::Path;

use verdict_core::artifact::{AdmittedArtifact, UnverifiedArtifact, admit, verify};
use verdict_core::digest::Digest;
use verdict_core::key::SecretKey;
use verdict_core::manifest::Manifest;
use verdict_core::oci::{Image, World};
use verdict_core::statement::sign_manifest;
use verdict_core::time::Timestamp;
use verdict_core::trust::{Author, Seen, TrustPolicy};

use crate::Result;
use crate::plan::NOW;

/// The build, signed with a key that is thrown away.
pub(crate) fn admitted(build: &Path) -> Result<AdmittedArtifact> {
    let manifest = Manifest::parse(&std::fs::read(build.join("manifest.json"))?)?;
    let component = std::fs::read(build.join("oci/blobs/sha256").join(manifest.component.hex()))?;
    let key = SecretKey::from_seed([7; 32]);
    let image = Image::new(&component, World::default(), &manifest.policy, &manifest.version)?;
    let statement = sign_manifest(&manifest, Digest::of(&image.manifest), &key)?;
    let author = Author {
        person: "bench".into(),
        public: key.public(),
        policies: vec![manifest.policy.to_string().parse()?],
        not_before: None,
        not_after: None,
    };
    let now: Timestamp = NOW.parse()?;
    let trust = TrustPolicy::new(1, "2027-01-01T00:00:00Z".parse()?, vec![author])?;
    let artifact = UnverifiedArtifact {
        reference: build.display().to_string(),
        manifest_bytes: image.manifest,
        config: image.config,
        component,
        statements: vec![statement.render().into_bytes()],
    };
    let refused = |refusal: verdict_core::refusal::Refusal| refusal.to_string();
    let verified = verify(artifact, &trust, now).map_err(refused)?;
    Ok(admit(verified, &trust, &Seen::default(), now).map_err(refused)?)
}
