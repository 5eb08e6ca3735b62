//! `verdict revoke`: keys, versions and digests that are not trusted any more.

use std::collections::BTreeSet;
use std::path::PathBuf;

use serde_json::json;
use verdict_core::digest::Digest;
use verdict_core::dsse::Envelope;
use verdict_core::key::{PublicKey, Role};
use verdict_core::name::PolicyName;
use verdict_core::time::Timestamp;
use verdict_core::trust::{Revocations, RevokedVersion, Seen, SignedDocument as _, Verified};

use super::trust_folder::{self, TrustFolder, Trusted, unusable};
use crate::clock;
use crate::error::{Error, Problem};
use crate::report::Report;
use crate::signer::KeyArgs;

const DAY_MS: i64 = 24 * 60 * 60 * 1_000;

/// Revoke keys, versions or digests: sign the next list of revocations
///
/// What was revoked stays so. With nothing named, the same list is signed anew and holds for longer: where a trust
/// policy names revokers, nothing is admitted without a list that holds. How long it holds is how long a host that is
/// cut off may not hear of the next one.
#[derive(clap::Args)]
#[command(after_help = "Example: verdict revoke --trust trust --key revoker.key --release bank/loan@1.2.0")]
pub(crate) struct Args {
    /// The folder of `verdict trust`
    #[arg(long, value_name = "DIR", default_value = ".")]
    trust: PathBuf,
    #[command(flatten)]
    key: KeyArgs,
    /// A key that does not count any more, in whatever role; may be repeated
    #[arg(long, value_name = "BASE64")]
    public: Vec<PublicKey>,
    /// A version that may not answer any more, as `tenant/name@version`; may be repeated
    #[arg(long, value_name = "VERSION", value_parser = release)]
    release: Vec<RevokedVersion>,
    /// The digest of a component, an image, a statement or the content of a data snapshot; may be repeated
    #[arg(long, value_name = "SHA256")]
    digest: Vec<Digest>,
    /// How many days the list holds
    #[arg(long, value_name = "N", default_value_t = 30, value_parser = clap::value_parser!(i64).range(1..=3_650))]
    days: i64,
}

fn release(text: &str) -> Result<RevokedVersion, String> {
    let (policy, version) = text.split_once('@').ok_or("expected `tenant/name@version`")?;
    let policy = policy.parse::<PolicyName>().map_err(|error| error.to_string())?;
    let version = version.parse().map_err(|error| format!("`{version}` is not a version: {error}"))?;
    Ok(RevokedVersion { policy, version })
}

/// Runs the command.
pub(crate) fn run(args: &Args) -> Result<Report, Error> {
    let folder = TrustFolder(&args.trust);
    let now = clock::now()?;
    let policy = folder.verified_policy(now)?;
    let path = folder.revocations_path();
    let trusted = Trusted { policy, revocations: None };
    let next = next(args, before(&folder, &trusted, now)?, now)?;
    let payload = next.payload().map_err(|error| unusable(&path, &error.to_string()))?;
    let key = args.key.open(Role::Revoker)?;
    let mut envelope = Envelope::unsigned(Revocations::PAYLOAD_TYPE, payload);
    key.sign(&mut envelope)?;
    // What no host would take does not replace what it takes now.
    let text = envelope.render();
    let verified = Revocations::verify(text.as_bytes(), &trusted.basis(&Seen::default(), now))?;
    folder.write(&path, text.as_bytes())?;
    Ok(report(args, &verified))
}

/// The list that is in the folder, checked as when it held: it is what the next one goes on from.
fn before(folder: &TrustFolder, trusted: &Trusted, now: Timestamp) -> Result<Option<Revocations>, Error> {
    let Some(bytes) = folder.revocations()? else { return Ok(None) };
    let path = folder.revocations_path();
    let envelope = trust_folder::open(&bytes, &path)?;
    let unread =
        Revocations::parse(envelope.payload()).map_err(|refusal| unusable(&path, &refusal.message))?;
    let held = trust_folder::while_held(unread.expires, now);
    let verified = Revocations::verify(&bytes, &trusted.basis(&Seen::default(), held))?;
    Ok(Some(verified.document().clone()))
}

/// The list that follows `before`. It says all that that one said.
fn next(args: &Args, before: Option<Revocations>, now: Timestamp) -> Result<Revocations, Error> {
    let expires = clock::from_now(args.days.saturating_mul(DAY_MS))?;
    let empty = Revocations {
        sequence: 0,
        issued: now,
        expires,
        keys: Vec::new(),
        versions: BTreeSet::new(),
        digests: BTreeSet::new(),
    };
    let mut list = before.unwrap_or(empty);
    (list.sequence, list.issued, list.expires) = (list.sequence.saturating_add(1), now, expires);
    for key in &args.public {
        if !list.revokes_key(key) {
            list.keys.push(*key);
        }
    }
    list.versions.extend(args.release.iter().cloned());
    list.digests.extend(args.digest.iter().copied());
    list.checked().map_err(|error| Error::Unusable(Problem::new("revocations", error.to_string())))
}

fn report(args: &Args, verified: &Verified<Revocations>) -> Report {
    let list = verified.document();
    let path = TrustFolder(&args.trust).revocations_path();
    let mut report = Report::new(json!({
        "revocations": path, "sequence": list.sequence, "expires": list.expires, "digest": verified.digest(),
        "keys": list.keys, "versions": list.versions, "digests": list.digests,
    }));
    report
        .row("written", format!("{}, sequence {}", path.display(), list.sequence))
        .row("expires", list.expires);
    for key in &list.keys {
        report.row("key", key.fingerprint());
    }
    for RevokedVersion { policy, version } in &list.versions {
        report.row("version", format!("{policy} {version}"));
    }
    for digest in &list.digests {
        report.row("digest", digest);
    }
    report.row("next", "give it to every host, as soon as you can");
    report
}
