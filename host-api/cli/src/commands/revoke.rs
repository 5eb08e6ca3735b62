//! `verdict revoke`: keys, versions and digests that are not trusted any more.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde_json::json;
use verdict_core::digest::Digest;
use verdict_core::dsse::Envelope;
use verdict_core::key::{PublicKey, Role};
use verdict_core::name::PolicyName;
use verdict_core::time::Timestamp;
use verdict_core::trust::{Revocations, RevokedVersion, Roots, Seen, SignedDocument as _, Verified};
use verdict_registry::remote::Server;
use verdict_registry::{Documents, Publish as _};

use super::trust_folder::{self, TrustFolder, Trusted, unusable};
use crate::clock;
use crate::error::{Error, Problem};
use crate::place::{self, ServerArgs};
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
    /// The folder of `verdict trust`; this one, if no server is named either
    #[arg(long, value_name = "DIR", conflicts_with_all = ["server", "profile", "token_file", "roots"])]
    trust: Option<PathBuf>,
    #[command(flatten)]
    server: ServerArgs,
    /// The root keys that you pin, a copy of `roots.json`, for a server
    #[arg(long, value_name = "FILE")]
    roots: Option<PathBuf>,
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

/// Where the list is.
enum Place<'a> {
    Folder(TrustFolder<'a>),
    Server(Server, Roots),
}

impl<'a> Place<'a> {
    fn open(args: &'a Args) -> Result<Self, Error> {
        let server = if args.trust.is_some() { None } else { args.server.find()? };
        match server {
            Some((server, profile)) => {
                let roots = place::Place::pinned(args.roots.as_ref(), profile.as_ref())?;
                Ok(Self::Server(server, roots))
            }
            None => Ok(Self::Folder(TrustFolder(args.trust.as_deref().unwrap_or(Path::new("."))))),
        }
    }

    /// The root keys that are pinned, and what is there.
    fn read(&self) -> Result<(Roots, Documents), Error> {
        match self {
            Self::Folder(folder) => Ok((folder.roots()?, folder.documents()?)),
            Self::Server(server, roots) => Ok((roots.clone(), server.newest()?)),
        }
    }

    fn put(&self, envelope: &[u8]) -> Result<(), Error> {
        match self {
            Self::Folder(folder) => folder.write(&folder.revocations_path(), envelope),
            Self::Server(server, _) => Ok(server.put_revocations(envelope)?),
        }
    }

    /// Where the list is, for messages.
    fn path(&self) -> PathBuf {
        match self {
            Self::Folder(folder) => folder.revocations_path(),
            Self::Server(server, _) => server.url().to_string().into(),
        }
    }
}

/// Runs the command.
pub(crate) fn run(args: &Args) -> Result<Report, Error> {
    let (place, now) = (Place::open(args)?, clock::now()?);
    let (roots, documents) = place.read()?;
    let path = place.path();
    let policy = trust_folder::verified_policy(&roots, &documents.trust, now)?;
    let trusted = Trusted { policy, revocations: None };
    let next = next(args, before(documents.revocations, &path, &trusted, now)?, now)?;
    let payload = next.payload().map_err(|error| unusable(&path, &error.to_string()))?;
    let key = args.key.open(Role::Revoker)?;
    let mut envelope = Envelope::unsigned(Revocations::PAYLOAD_TYPE, payload);
    key.sign(&mut envelope)?;
    // What no host would take does not replace what it takes now.
    let text = envelope.render();
    let verified = Revocations::verify(text.as_bytes(), &trusted.basis(&Seen::default(), now))?;
    place.put(text.as_bytes())?;
    Ok(report(&path, &verified))
}

/// The list that is there, checked as when it held: it is what the next one goes on from.
fn before(
    bytes: Option<Vec<u8>>,
    path: &Path,
    trusted: &Trusted,
    now: Timestamp,
) -> Result<Option<Revocations>, Error> {
    let Some(bytes) = bytes else { return Ok(None) };
    let envelope = trust_folder::open(&bytes, path)?;
    let unread =
        Revocations::parse(envelope.payload()).map_err(|refusal| unusable(path, &refusal.message))?;
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

fn report(path: &Path, verified: &Verified<Revocations>) -> Report {
    let list = verified.document();
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
