//! `verdict verify`: what a host would check before it lets a policy answer.

use std::path::PathBuf;

use serde_json::json;
use verdict_core::artifact::Signer;
use verdict_registry::Layout;

use crate::builds;
use crate::error::Error;
use crate::evaluation;
use crate::report::{GOOD, Report, spinner};

/// Check a built and signed policy as a host does: digests, signatures, trust, imports, and that it compiles
///
/// A refusal has a stable code; the exit status is 1. What a host has seen before (newer versions of the policy or of
/// the trust file) is known to that host only.
#[derive(clap::Args)]
#[command(after_help = "Example: verdict verify --trust ../trust.json")]
pub(crate) struct Args {
    /// The policy's folder, that of a build, or an OCI image layout
    #[arg(default_value = ".")]
    dir: PathBuf,
    /// The trust file: who may sign what
    #[arg(long, value_name = "FILE")]
    trust: PathBuf,
}

/// Runs the command.
pub(crate) fn run(args: &Args) -> Result<Report, Error> {
    let trust = evaluation::trust(&args.trust)?;
    let layout = Layout::open(&builds::layout_folder(&args.dir)?)?;
    let admitted = evaluation::admit(layout.fetch()?, &trust)?;
    let engine = evaluation::engine()?;
    let progress = spinner("compiling");
    let policy = engine.load(&admitted);
    progress.finish_and_clear();
    let policy = policy?;

    let manifest = admitted.manifest();
    let signers = admitted.signers();
    let mut report = Report::new(json!({
        "ok": true, "policy": manifest.policy, "version": manifest.version, "component": admitted.component_digest(),
        "image": admitted.oci_digest(), "statement": admitted.statement_digest(), "until": admitted.until(),
        "signers": signers.iter().map(signer_json).collect::<Vec<_>>(), "limits": policy.limits(),
    }));
    report
        .line(format!(
            "{GOOD}ok{GOOD:#}: a host with this trust file lets it answer until {}",
            admitted.until()
        ))
        .row("policy", format!("{} {}", manifest.policy, manifest.version))
        .row("component", admitted.component_digest())
        .row("image", admitted.oci_digest())
        .row("statement", admitted.statement_digest());
    for signer in signers {
        report.row("signed by", format!("{}, key {}", signer.person, signer.public.fingerprint()));
    }
    Ok(report)
}

fn signer_json(signer: &Signer) -> serde_json::Value {
    json!({ "person": signer.person, "public": signer.public, "fingerprint": signer.public.fingerprint() })
}
