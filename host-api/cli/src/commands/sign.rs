//! `verdict sign`: the author's signature over manifest and component.

use std::path::PathBuf;

use serde_json::json;
use verdict_core::key::Role;
use verdict_core::statement::sign_manifest;

use super::keys;
use crate::builds::Build;
use crate::error::{Error, Problem};
use crate::report::Report;

/// Sign a built policy: the signature covers the manifest, the component and its image
///
/// The signature is an in-toto statement in a DSSE envelope, attached to the image as OCI registries keep it. Look at
/// what you sign with `verdict inspect` first.
#[derive(clap::Args)]
#[command(after_help = "Example: verdict sign --key ../author.key")]
pub(crate) struct Args {
    /// The policy's folder, or that of a build
    #[arg(default_value = ".")]
    dir: PathBuf,
    /// The author's key, made by `verdict keys new`
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
}

/// Runs the command.
pub(crate) fn run(args: &Args) -> Result<Report, Error> {
    let key = keys::read(&args.key)?;
    if key.role() != Role::Author {
        let message = format!("`{}` is a {} key, and does not sign policies", args.key.display(), key.role());
        return Err(Error::Unusable(Problem::new("key-file", message).help("name the author's key")));
    }
    let build = Build::open(&args.dir)?;
    let envelope = sign_manifest(build.manifest(), build.image_digest(), key.secret())
        .map_err(|error| Error::Machine(Problem::new("manifest", error.to_string())))?;
    let statement = build.attach(&envelope)?;

    let (manifest, public) = (build.manifest(), key.secret().public());
    let mut report = Report::new(json!({
        "policy": manifest.policy, "version": manifest.version, "component": manifest.component,
        "image": build.image_digest(), "signature": statement, "public": public,
        "fingerprint": public.fingerprint(),
    }));
    report
        .row("signed", format!("{} {}", manifest.policy, manifest.version))
        .row("component", manifest.component)
        .row("by key", public.fingerprint())
        .row("next", "verdict verify --trust trust.json, then verdict serve . --trust trust.json");
    Ok(report)
}
