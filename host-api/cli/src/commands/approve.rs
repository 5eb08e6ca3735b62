//! `verdict approve`: an approver's signature over what an author signed.

use serde_json::json;
use verdict_core::key::Role;
use verdict_core::statement::Approval;

use super::attest;
use crate::error::Error;
use crate::report::Report;
use crate::signer::KeyArgs;
use crate::subject::SubjectArgs;

/// Approve a signed policy: the signature covers the author's statement, and with it manifest, component and image
///
/// The approval is an in-toto statement in a DSSE envelope, attached to the image beside the author's. Look at what you
/// approve with `verdict inspect` first. An author of the statement does not count as an approver of it.
#[derive(clap::Args)]
#[command(after_help = "Example: verdict approve --key ../bob/approver.key --comment 'limits checked'
In a registry: verdict approve bank/loan@1.2.0 --server https://verdict.example --key bob/approver.key")]
pub(crate) struct Args {
    #[command(flatten)]
    subject: SubjectArgs,
    #[command(flatten)]
    key: KeyArgs,
    /// A note for other people, signed as well
    #[arg(long, value_name = "TEXT")]
    comment: Option<String>,
}

/// Runs the command.
pub(crate) fn run(args: &Args) -> Result<Report, Error> {
    let subject = args.subject.open()?;
    let key = args.key.open(Role::Approver)?;
    let manifest = subject.statement.manifest();
    let approval = Approval {
        policy: manifest.policy.clone(),
        version: manifest.version.clone(),
        comment: args.comment.clone(),
    };
    let attached = attest::attach(&subject, &approval.of(subject.digest), &key)?;
    let public = key.public();
    let mut report = Report::new(json!({
        "policy": manifest.policy, "version": manifest.version, "component": manifest.component,
        "image": subject.image, "statement": subject.digest, "approval": attached, "public": public,
        "fingerprint": public.fingerprint(),
    }));
    report
        .row("approved", format!("{} {}", manifest.policy, manifest.version))
        .row("component", manifest.component)
        .row("statement", subject.digest)
        .row("by key", public.fingerprint())
        .row("next", "verdict verify --trust FILE shows who approved, and who must still");
    Ok(report)
}
