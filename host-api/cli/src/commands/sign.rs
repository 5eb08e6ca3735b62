//! `verdict sign`: the author's signature over manifest and component.

use std::path::PathBuf;

use serde_json::json;
use verdict_core::dsse::Envelope;
use verdict_core::key::Role;
use verdict_core::statement::{MEDIA_TYPE, Statement};

use crate::builds::Build;
use crate::error::{Error, Problem};
use crate::report::Report;
use crate::signer::KeyArgs;

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
    #[command(flatten)]
    key: KeyArgs,
}

/// Runs the command.
pub(crate) fn run(args: &Args) -> Result<Report, Error> {
    let key = args.key.open(Role::Author)?;
    let build = Build::open(&args.dir)?;
    let payload = Statement::new(build.manifest().clone(), build.image_digest())
        .render()
        .map_err(|error| Error::Machine(Problem::new("manifest", error.to_string())))?;
    let mut envelope = Envelope::unsigned(MEDIA_TYPE, payload.into_bytes());
    key.sign(&mut envelope)?;
    let statement = build.attach(&envelope)?;

    let (manifest, public) = (build.manifest(), key.public());
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
