//! What a build leaves in a folder: `oci`, an OCI image layout that goes into a registry unchanged, and beside it
//! `manifest.json`, what the author is about to sign, until that is signed.

use std::path::{Path, PathBuf};

use verdict_core::artifact::UnverifiedArtifact;
use verdict_core::digest::Digest;
use verdict_core::dsse::Envelope;
use verdict_core::manifest::{MANIFEST_BYTES_MAX, Manifest};
use verdict_core::statement::{Statement, StatementError};
use verdict_registry::Layout;

use crate::error::{Error, Problem};
use crate::files;
use crate::project::{self, Project};

const LAYOUT: &str = "oci";
const MARKER: &str = "oci-layout";
const MANIFEST: &str = "manifest.json";

/// A build on disk. Its manifest is what the author may sign, and is nothing that a host reads.
pub(crate) struct Build {
    layout: Layout,
    manifest: Manifest,
}

impl Build {
    /// Writes a build to a folder, replacing the one that was there, with its signatures.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(crate) fn create(folder: &Path, component: &[u8], manifest: Manifest) -> Result<Self, Error> {
        files::create_folder(folder)?;
        let json = serde_json::to_vec_pretty(&manifest)
            .map_err(|error| Error::Machine(Problem::new("manifest", error.to_string())))?;
        let layout_folder = folder.join(LAYOUT);
        if layout_folder.join(MARKER).is_file() {
            // A registry keeps what was there before; a build does not pile it up.
            std::fs::remove_dir_all(&layout_folder)
                .map_err(|error| Error::file("replace", &layout_folder, &error))?;
        }
        let layout = Layout::create(&layout_folder, component, &manifest.policy, &manifest.version)?;
        files::write(&folder.join(MANIFEST), &json)?;
        Ok(Self { layout, manifest })
    }

    /// Opens the build that `dir` means: a policy's folder, a build's, or the layout itself. Once it is signed, the
    /// manifest is that of its statement, as anybody wrote it: a host verifies it, this does not.
    ///
    /// # Errors
    /// When there is none, or it is not whole.
    pub(crate) fn open(dir: &Path) -> Result<Self, Error> {
        let layout_folder = layout_folder(dir)?;
        let layout = Layout::open(&layout_folder)?;
        let path = beside(&layout_folder);
        let manifest = if path.is_file() { read_manifest(&path)? } else { attached_manifest(&layout)? };
        let build = Self { layout, manifest };
        build.check_whole()?;
        Ok(build)
    }

    /// Attaches the author's envelope. The manifest is part of it, so the unsigned copy goes.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(crate) fn attach(&self, envelope: &Envelope) -> Result<Digest, Error> {
        let digest = self.layout.attach_statement(envelope.render().as_bytes())?;
        let path = beside(self.layout.path());
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(Error::file("remove", &path, &error))
            }
            _ => Ok(digest),
        }
    }

    /// Attaches an envelope that is about what the author signed.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(crate) fn attach_beside(&self, envelope: &Envelope) -> Result<Digest, Error> {
        Ok(self.layout.attach_statement(envelope.render().as_bytes())?)
    }

    /// What the author signed, and its digest: what others approve, and make statements about. It is read from the
    /// signed statement and from nowhere else, because they vouch for it.
    ///
    /// # Errors
    /// When nothing is signed, different things are, or it is about another image.
    pub(crate) fn statement(&self) -> Result<(Digest, Statement), Error> {
        signed(&self.fetch()?)
    }

    fn check_whole(&self) -> Result<(), Error> {
        let component = Digest::of(&self.layout.component()?);
        if component == self.manifest.component {
            return Ok(());
        }
        let message = format!(
            "`{MANIFEST}` is for component {}, and the layout beside it holds {component}",
            self.manifest.component
        );
        Err(Error::Refused(
            Problem::new("manifest-mismatch", message).help("build again with `verdict build`"),
        ))
    }

    /// What the author declares.
    pub(crate) fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// The digest of the OCI image manifest.
    pub(crate) fn image_digest(&self) -> Digest {
        self.layout.image_digest()
    }

    /// The artifact as a host would fetch it.
    ///
    /// # Errors
    /// When it cannot be read.
    pub(crate) fn fetch(&self) -> Result<UnverifiedArtifact, Error> {
        Ok(self.layout.fetch()?)
    }
}

/// What the author of an artifact signed, and its digest.
///
/// # Errors
/// When nothing is signed, different things are, or it is about another image.
pub(crate) fn signed(artifact: &UnverifiedArtifact) -> Result<(Digest, Statement), Error> {
    let statements = attached(&artifact.statements)?.into_iter();
    let mut statements: Vec<_> =
        statements.map(|(envelope, statement)| (Digest::of(envelope.payload()), statement)).collect();
    statements.dedup_by_key(|(digest, _)| *digest);
    let (digest, statement) = statements.pop().ok_or_else(|| {
        let message = format!("`{}` is not signed by its author", artifact.reference);
        Error::Unusable(Problem::new("unsigned", message).help("sign it first with `verdict sign`"))
    })?;
    if !statements.is_empty() {
        return Err(ambiguous());
    }
    let image = Digest::of(&artifact.manifest_bytes);
    if statement.oci_manifest() == image {
        return Ok((digest, statement));
    }
    let message = format!("what is signed is about image {}, not {image}", statement.oci_manifest());
    Err(Error::Refused(Problem::new("wrong-subject", message).help("build and sign again")))
}

/// Where the unsigned manifest of a layout is.
fn beside(layout: &Path) -> PathBuf {
    let whole = layout.canonicalize().unwrap_or_else(|_| layout.to_owned());
    whole.parent().unwrap_or(Path::new("")).join(MANIFEST)
}

fn read_manifest(path: &Path) -> Result<Manifest, Error> {
    let bytes = files::read(path, u64::try_from(MANIFEST_BYTES_MAX).unwrap_or(u64::MAX))?;
    Manifest::parse(&bytes).map_err(|error| {
        let problem = Problem::new("manifest", format!("`{}`: {error}", path.display()));
        Error::Unusable(problem.help("build again with `verdict build`"))
    })
}

/// The authors' statements that are attached, with their envelopes. Nobody has verified them.
fn attached(envelopes: &[Vec<u8>]) -> Result<Vec<(Envelope, Statement)>, Error> {
    let mut statements = Vec::new();
    for bytes in envelopes {
        let envelope = Envelope::parse(bytes).map_err(|error| {
            Error::Refused(Problem::new("malformed-envelope", error.to_string()).help("build and sign again"))
        })?;
        match Statement::parse(envelope.payload()) {
            Ok(statement) => statements.push((envelope, statement)),
            // An approval, or whatever else is said about it.
            Err(StatementError::Type { .. }) => {}
            Err(error) => {
                let problem = Problem::new("malformed-statement", error.to_string());
                return Err(Error::Refused(problem.help("build and sign again")));
            }
        }
    }
    Ok(statements)
}

/// The manifest of the attached statements, which must agree.
fn attached_manifest(layout: &Layout) -> Result<Manifest, Error> {
    let statements = attached(&layout.fetch()?.statements)?.into_iter();
    let mut manifests: Vec<_> = statements.map(|(_, statement)| statement.into_manifest()).collect();
    manifests.dedup();
    if manifests.len() > 1 {
        return Err(ambiguous());
    }
    manifests.pop().ok_or_else(|| {
        let message = format!("`{}` has neither a manifest nor a signature", layout.path().display());
        Error::Unusable(Problem::new("unsigned", message).help("build again with `verdict build`"))
    })
}

fn ambiguous() -> Error {
    let problem = Problem::new("ambiguous-statement", "its statements have different manifests");
    Error::Refused(problem.help("build again and sign once"))
}

/// The image layout that `dir` means.
///
/// # Errors
/// When there is none.
pub(crate) fn layout_folder(dir: &Path) -> Result<PathBuf, Error> {
    if dir.join(MARKER).is_file() {
        return Ok(dir.to_owned());
    }
    let build = if dir.join(project::FILE).is_file() { Project::open(dir)?.output() } else { dir.to_owned() };
    let layout = build.join(LAYOUT);
    if layout.join(MARKER).is_file() {
        return Ok(layout);
    }
    let message = format!("no build of a policy in `{}`", dir.display());
    Err(Error::Unusable(Problem::new("not-built", message).help("build it first with `verdict build`")))
}
