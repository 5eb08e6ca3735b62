//! What a statement is about: a build in a folder here, or a version in a registry.

use std::path::Path;

use semver::Version;
use verdict_core::digest::Digest;
use verdict_core::dsse::Envelope;
use verdict_core::name::PolicyName;
use verdict_core::statement::Statement;

use crate::builds::{self, Build};
use crate::error::{Error, Problem};
use crate::place::{Place, PlaceArgs};

/// What a statement is about, on the command line.
#[derive(clap::Args)]
pub(crate) struct SubjectArgs {
    /// The policy's folder, or that of a build; `tenant/name@version` for one in a registry
    #[arg(default_value = ".", value_name = "DIR|VERSION")]
    what: String,
    #[command(flatten)]
    place: PlaceArgs,
}

/// What was signed by its author, and where others put what they say about it.
pub(crate) struct Subject {
    held: Held,
    /// The digest of the author's statement.
    pub(crate) digest: Digest,
    /// What the author signed.
    pub(crate) statement: Statement,
    /// The image that it is about.
    pub(crate) image: Digest,
}

enum Held {
    Build(Box<Build>),
    Version(Place, PolicyName, Version),
}

impl SubjectArgs {
    /// Finds it, with what its author signed. Nobody has verified that.
    ///
    /// # Errors
    /// When it is not there, or not signed.
    pub(crate) fn open(&self) -> Result<Subject, Error> {
        let Some((policy, version)) = named(&self.what) else {
            let build = Build::open(Path::new(&self.what))?;
            let (digest, statement) = build.statement()?;
            return Ok(Subject {
                image: build.image_digest(),
                held: Held::Build(Box::new(build)),
                digest,
                statement,
            });
        };
        let place = self.place.open()?;
        let (digest, statement) = in_registry(&place, &policy, &version)?;
        let image = statement.oci_manifest();
        Ok(Subject { held: Held::Version(place, policy, version), digest, statement, image })
    }
}

/// The version that a text names. It says so itself: what exists on this machine does not matter.
fn named(text: &str) -> Option<(PolicyName, Version)> {
    let (policy, version) = text.split_once('@')?;
    Some((policy.parse().ok()?, version.parse().ok()?))
}

/// What the author of a version signed, if all who say that they are this version agree.
fn in_registry(place: &Place, policy: &PolicyName, version: &Version) -> Result<(Digest, Statement), Error> {
    let (mut found, mut refused) = (Vec::new(), None);
    for candidate in place.publish().candidates(policy, version)? {
        let artifact = match candidate {
            Ok(artifact) => artifact,
            // It may be another version altogether.
            Err(refusal) => {
                refused = Some(refusal.to_string());
                continue;
            }
        };
        let (digest, statement) = builds::signed(&artifact)?;
        if statement.manifest().policy == *policy && statement.manifest().version == *version {
            found.push((digest, statement));
        }
    }
    found.dedup_by_key(|(digest, _)| *digest);
    let place = place.publish().place();
    if found.len() > 1 {
        let message = format!("`{place}` holds two different artifacts of `{policy}` {version}");
        return Err(Error::Refused(Problem::new("ambiguous", message)));
    }
    found.pop().ok_or_else(|| {
        let message = format!("`{place}` holds no version {version} of `{policy}`");
        let help = refused.unwrap_or_else(|| "check the name, or push it first".into());
        Error::Unusable(Problem::new("unknown-version", message).help(help))
    })
}

impl Subject {
    /// Attaches an envelope that is about what the author signed; the digest of the envelope.
    ///
    /// # Errors
    /// When it is refused, or cannot be written.
    pub(crate) fn attach(&self, envelope: &Envelope) -> Result<Digest, Error> {
        let text = envelope.render();
        match &self.held {
            Held::Build(build) => drop(build.attach_beside(envelope)?),
            Held::Version(place, policy, version) => {
                place.publish().attach_statement(policy, version, &self.image, text.as_bytes())?;
            }
        }
        Ok(Digest::of(text.as_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_versions_from_folders_without_looking() {
        let (policy, version) = named("bank/loan@1.2.0-rc.1").unwrap();
        assert_eq!((policy.to_string(), version.to_string()), ("bank/loan".into(), "1.2.0-rc.1".into()));
        for folder in [".", "loan", "./bank/loan@1.2.0", "bank/loan@v1", "a/b/c@1.0.0"] {
            assert!(named(folder).is_none(), "{folder}");
        }
    }
}
