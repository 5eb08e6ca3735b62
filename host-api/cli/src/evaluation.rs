//! Evaluation on this machine: from a build to a policy that answers.

use std::path::Path;

use verdict_core::artifact::{self, AdmittedArtifact, UnverifiedArtifact};
use verdict_core::statement::sign_manifest;
use verdict_core::trust::{Author, Seen, TRUST_BYTES_MAX, TrustPolicy};
use verdict_engine::{Compiler, Config, Document, DocumentLimits, Engine, Policy};

use crate::builds::Build;
use crate::clock;
use crate::commands::random_key;
use crate::error::{Error, Problem};
use crate::files;
use crate::report::spinner;

const MINUTE_MS: i64 = 60_000;

/// The engine as a host has it, with its compiler in a child process.
///
/// # Errors
/// When it cannot be made here.
pub(crate) fn engine() -> Result<Engine, Error> {
    let config = Config { concurrency: 1, ..Config::new(compiler()?) };
    Engine::new(config).map_err(|error| Error::Machine(Problem::new("engine", error.to_string())))
}

/// The compiler in a child process with limits of its own: this program, as `verdict compile-worker`.
///
/// # Errors
/// When this program cannot be found.
pub(crate) fn compiler() -> Result<Compiler, Error> {
    let program = std::env::current_exe().map_err(|error| {
        Error::Machine(Problem::new("engine", format!("cannot find this program: {error}")))
    })?;
    Ok(Compiler::Child { program, args: vec!["compile-worker".into()] })
}

/// Reads a trust file.
///
/// # Errors
/// When it cannot be read.
pub(crate) fn trust(path: &Path) -> Result<TrustPolicy, Error> {
    let bytes = files::read(path, u64::try_from(TRUST_BYTES_MAX).unwrap_or(u64::MAX))?;
    TrustPolicy::parse(&bytes).map_err(|error| {
        Error::Unusable(Problem::new("trust-file", format!("`{}`: {error}", path.display())))
    })
}

/// What a host does with an artifact before it may answer, but for what it has seen before.
///
/// # Errors
/// The refusal.
pub(crate) fn admit(artifact: UnverifiedArtifact, trust: &TrustPolicy) -> Result<AdmittedArtifact, Error> {
    let now = clock::now()?;
    let verified = artifact::verify(artifact, trust, now)?;
    Ok(artifact::admit(verified, trust, &Seen::default(), now)?)
}

/// Loads a build as a policy. Without a trust file it is signed here and now with a key that is thrown away, under a
/// trust policy that is thrown away with it: the engine takes nothing that was not verified, and an author who tries
/// out a build has not signed it yet.
///
/// # Errors
/// When it is refused.
pub(crate) fn load(build: &Build, trust_file: Option<&Path>) -> Result<Policy, Error> {
    let admitted = match trust_file {
        Some(path) => admit(build.fetch()?, &trust(path)?)?,
        None => admit_locally(build)?,
    };
    let engine = engine()?;
    let progress = spinner("compiling");
    let policy = engine.load(&admitted);
    progress.finish_and_clear();
    Ok(policy?)
}

fn admit_locally(build: &Build) -> Result<AdmittedArtifact, Error> {
    let machine = |error: &dyn std::fmt::Display| Error::Machine(Problem::new("local", error.to_string()));
    let key = random_key()?;
    let manifest = build.manifest();
    let envelope = sign_manifest(manifest, build.image_digest(), &key).map_err(|error| machine(&error))?;
    let author = Author {
        person: "this evaluation".into(),
        public: key.public(),
        policies: vec![manifest.policy.to_string().parse().map_err(|error| machine(&error))?],
        not_before: None,
        not_after: None,
    };
    let trust =
        TrustPolicy::new(1, clock::from_now(MINUTE_MS)?, vec![author]).map_err(|error| machine(&error))?;
    let mut artifact = build.fetch()?;
    artifact.statements = vec![envelope.render().into_bytes()];
    admit(artifact, &trust)
}

/// Reads a JSON document by the rules of the contract; `-` is standard input.
///
/// # Errors
/// When it cannot be read, with line and column where it is not JSON.
pub(crate) fn document(path: &Path, bytes_max: u64) -> Result<Document, Error> {
    let text = files::read_text(path, bytes_max)?;
    parse(&text, bytes_max).map_err(|(message, offset)| {
        let problem = Problem::new("json", format!("`{}`: {message}", path.display()));
        Error::Unusable(problem.at(path, &text, offset..offset + 1, "here"))
    })
}

/// Reads a JSON document by the rules of the contract; an error has its offset in bytes.
pub(crate) fn parse(text: &str, bytes_max: u64) -> Result<Document, (String, usize)> {
    const DEPTH_MAX: u32 = 128;
    let limits = DocumentLimits { bytes_max, depth_max: DEPTH_MAX };
    Document::parse(text.as_bytes().to_vec(), &limits).map_err(|error| (error.to_string(), error.offset()))
}
