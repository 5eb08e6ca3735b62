//! `verdict attest`: any in-toto statement about what an author signed, such as the result of its tests.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use verdict_core::digest::Digest;
use verdict_core::dsse::Envelope;
use verdict_core::key::{PublicKey, Role};
use verdict_core::statement::{APPROVAL_TYPE, Attestation, MEDIA_TYPE, PREDICATE_TYPE};

use crate::error::{Error, Problem};
use crate::evaluation;
use crate::files;
use crate::report::Report;
use crate::signer::{KeyArgs, Signer};
use crate::subject::{Subject, SubjectArgs};

const PREDICATE_BYTES_MAX: u64 = 512 << 10;

/// Attach a signed statement about a signed policy: tests that passed, how it was built, a review
///
/// The rules of a trust policy can demand such statements, by their type and by what they say. The statement is about
/// what the author signed; the predicate is what you say of it, by the rules of its type.
#[derive(clap::Args)]
#[command(
    after_help = "Example: verdict attest --key ci.key --type https://in-toto.io/attestation/test-result/v0.1 --predicate result.json"
)]
pub(crate) struct Args {
    #[command(flatten)]
    subject: SubjectArgs,
    #[command(flatten)]
    key: KeyArgs,
    /// The predicate's type, a URI
    #[arg(long = "type", value_name = "URI")]
    kind: String,
    /// The predicate, a JSON file; `-` is standard input
    #[arg(long, value_name = "FILE")]
    predicate: PathBuf,
}

/// Runs the command.
pub(crate) fn run(args: &Args) -> Result<Report, Error> {
    check_type(&args.kind)?;
    let predicate = read(&args.predicate)?;
    let subject = args.subject.open()?;
    let key = args.key.open(Role::Attester)?;
    let digest = subject.digest;
    let attestation = Attestation { statement: digest, predicate_type: args.kind.clone(), predicate };
    let attached = attach(&subject, &attestation, &key)?;
    let (manifest, public) = (subject.statement.manifest(), key.public());
    let mut report = Report::new(json!({
        "policy": manifest.policy, "version": manifest.version, "image": subject.image,
        "statement": digest, "type": args.kind, "attestation": attached, "public": public,
        "fingerprint": public.fingerprint(),
    }));
    report
        .row("attested", format!("{} {}", manifest.policy, manifest.version))
        .row("type", &args.kind)
        .row("statement", digest)
        .row("by key", public.fingerprint());
    Ok(report)
}

/// What has a command and a role of its own would count for nothing here.
fn check_type(kind: &str) -> Result<(), Error> {
    let help = match kind {
        APPROVAL_TYPE => "`verdict approve` makes approvals",
        PREDICATE_TYPE => "`verdict sign` signs what the author says",
        "" => "name the type as the rule of the trust policy does",
        _ => return Ok(()),
    };
    Err(Error::Unusable(
        Problem::new("predicate-type", format!("`{kind}` is not a type for attesters")).help(help),
    ))
}

fn read(path: &Path) -> Result<Value, Error> {
    let text = files::read_text(path, PREDICATE_BYTES_MAX)?;
    let unreadable = |message: &str| Problem::new("json", format!("`{}`: {message}", path.display()));
    // By the rules of the contract: a member that is there twice is no JSON.
    evaluation::parse(&text, PREDICATE_BYTES_MAX).map_err(|(message, offset)| {
        Error::Unusable(unreadable(&message).at(path, &text, offset..offset + 1, "here"))
    })?;
    serde_json::from_str(&text).map_err(|error| Error::Unusable(unreadable(&error.to_string())))
}

/// Signs an attestation and attaches it.
pub(super) fn attach(subject: &Subject, attestation: &Attestation, key: &Signer) -> Result<Digest, Error> {
    let payload = attestation
        .payload()
        .map_err(|error| Error::Unusable(Problem::new("predicate", error.to_string())))?;
    let mut envelope = Envelope::unsigned(MEDIA_TYPE, payload);
    key.sign(&mut envelope)?;
    subject.attach(&envelope)
}

/// An attestation that is attached to an image, with its envelope. Nobody has verified it.
pub(super) struct Attached {
    pub(super) attestation: Attestation,
    envelope: Envelope,
}

impl Attached {
    /// Reads an envelope, if it is one of the kind.
    pub(super) fn read(bytes: &[u8]) -> Option<Self> {
        let envelope = Envelope::parse(bytes).ok()?;
        let attestation = Attestation::parse(envelope.payload()).ok()?;
        Some(Self { attestation, envelope })
    }

    /// What it is called.
    pub(super) fn name(&self) -> &str {
        match self.attestation.predicate_type.as_str() {
            APPROVAL_TYPE => "approval",
            other => other,
        }
    }

    /// Those of `keys` that signed it.
    pub(super) fn signers<'k>(&self, keys: impl IntoIterator<Item = &'k PublicKey>) -> Vec<&'k PublicKey> {
        self.envelope.signers(keys)
    }
}
