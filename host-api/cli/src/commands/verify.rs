//! `verdict verify`: what a host would check before it lets a policy answer.

use std::path::PathBuf;

use serde_json::json;
use verdict_core::artifact::{self, AdmittedArtifact, Signer};
use verdict_core::trust::{Role, Seen, TrustPolicy};
use verdict_registry::Layout;

use super::attest::Attached;
use super::trust_folder::Trusted;
use crate::builds;
use crate::clock;
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
    /// The trust file, or the folder of `verdict trust`: who may sign what, and what must be signed
    #[arg(long, value_name = "FILE|DIR")]
    trust: PathBuf,
}

/// Runs the command.
pub(crate) fn run(args: &Args) -> Result<Report, Error> {
    let now = clock::now()?;
    let trusted = Trusted::read(&args.trust, now)?;
    let layout = Layout::open(&builds::layout_folder(&args.dir)?)?;
    let fetched = layout.fetch()?;
    let attached: Vec<_> = fetched.statements.iter().filter_map(|bytes| Attached::read(bytes)).collect();
    let verified = artifact::verify(fetched, &trusted.policy, now)?;
    let admitted = artifact::admit_on(verified, &trusted.basis(&Seen::default(), now))?;
    let said = said(&attached, &admitted, &trusted.policy);
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
        "attached": said.iter().map(Said::to_json).collect::<Vec<_>>(),
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
    for said in &said {
        let note = if said.is_author { ", who signed the statement: does not count" } else { "" };
        report.row(
            &said.kind,
            format!("{}, key {}{note}", said.signer.person, said.signer.public.fingerprint()),
        );
    }
    Ok(report)
}

/// What somebody of the trust policy signed about the author's statement.
struct Said {
    kind: String,
    signer: Signer,
    is_author: bool,
}

impl Said {
    fn to_json(&self) -> serde_json::Value {
        json!({ "type": self.kind, "signer": signer_json(&self.signer) })
    }
}

/// Who of the trust policy says something about the author's statement, whatever the rules ask for.
fn said(attached: &[Attached], admitted: &AdmittedArtifact, trust: &TrustPolicy) -> Vec<Said> {
    let mut said = Vec::new();
    for attached in attached.iter().filter(|one| one.attestation.statement == admitted.statement_digest()) {
        let is_approval = attached.attestation.approval().is_some();
        let grants = trust.grants(if is_approval { Role::Approver } else { Role::Attester });
        for public in attached.signers(grants.iter().map(|grant| &grant.public)) {
            let Some(grant) = grants.iter().find(|grant| grant.public == *public) else { continue };
            let is_author =
                is_approval && admitted.signers().iter().any(|signer| signer.person == grant.person);
            let signer = Signer { person: grant.person.clone(), public: *public };
            said.push(Said { kind: attached.name().into(), signer, is_author });
        }
    }
    said
}

fn signer_json(signer: &Signer) -> serde_json::Value {
    json!({ "person": signer.person, "public": signer.public, "fingerprint": signer.public.fingerprint() })
}
