//! `verdict data`: a tenant's documents, as immutable signed snapshots.

use std::fs;
use std::path::PathBuf;

use clap::Subcommand;
use serde_json::json;
use verdict::engine::{DOCUMENT_DEPTH_MAX, Document, DocumentLimits};
use verdict_core::digest::Digest;
use verdict_core::dsse::Envelope;
use verdict_core::key::Role;
use verdict_core::name::Tenant;
use verdict_core::patch::{PatchLimits, apply_patch};
use verdict_core::pointer::Pointer;
use verdict_core::trust::{DataSnapshot, Seen, SignedDocument as _};
use verdict_registry::{Source as _, Tree};

use super::Trusted;
use crate::clock;
use crate::error::{Error, Problem};
use crate::files;
use crate::report::{DIM, Report};
use crate::signer::KeyArgs;

const DAY_MS: i64 = 24 * 60 * 60 * 1_000;
/// The largest content, in bytes: what a host reads.
const CONTENT_BYTES_MAX: u64 = 256 << 20;
const PATCH_BYTES_MAX: u64 = 1 << 20;

/// Put, change and read a tenant's data in a registry that is a folder
///
/// Each change is a new snapshot, signed with a data signer's key, under a higher sequence. A channel reads the newest
/// one, or the one that its state names; no other tenant's policies ever do.
#[derive(clap::Args)]
#[command(arg_required_else_help = true)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: DataCommand,
}

#[derive(Subcommand)]
enum DataCommand {
    Put(PutArgs),
    Patch(PatchArgs),
    Get(GetArgs),
    History(HistoryArgs),
}

/// Where the data is.
#[derive(clap::Args)]
struct Place {
    /// The tenant
    tenant: Tenant,
    /// The registry: a folder
    #[arg(long, value_name = "DIR", default_value = ".")]
    registry: PathBuf,
}

/// Who signs, and for how long.
#[derive(clap::Args)]
struct Signing {
    /// The folder of `verdict trust`, with the roots that you pin; `trust` in the registry, if left out
    #[arg(long, value_name = "DIR")]
    trust: Option<PathBuf>,
    #[command(flatten)]
    key: KeyArgs,
    /// How many days the snapshot holds
    #[arg(long, value_name = "N", default_value_t = 365, value_parser = clap::value_parser!(i64).range(1..=3_650))]
    days: i64,
}

/// Put a document: one JSON object whose members are the tenant's documents
#[derive(clap::Args)]
#[command(after_help = "Example: verdict data put bank limits.json --registry registry --key data.key")]
struct PutArgs {
    #[command(flatten)]
    place: Place,
    /// The JSON file
    file: PathBuf,
    #[command(flatten)]
    signing: Signing,
}

/// Change the newest snapshot by a JSON Patch (RFC 6902); what it does not touch stays as it is, byte for byte
#[derive(clap::Args)]
#[command(after_help = "Example: verdict data patch bank raise.json --registry registry --key data.key")]
struct PatchArgs {
    #[command(flatten)]
    place: Place,
    /// The patch: a JSON array of operations
    file: PathBuf,
    #[command(flatten)]
    signing: Signing,
}

/// Print what is at a JSON Pointer of a snapshot, exactly as it was put
#[derive(clap::Args)]
#[command(after_help = "Example: verdict data get bank /limits/loan --registry registry")]
struct GetArgs {
    #[command(flatten)]
    place: Place,
    /// The pointer; the whole, if left out
    #[arg(default_value = "")]
    pointer: Pointer,
    /// The snapshot; the newest, if left out
    #[arg(long, value_name = "N")]
    sequence: Option<u64>,
}

/// List the snapshots
#[derive(clap::Args)]
#[command(after_help = "Example: verdict data history bank --registry registry")]
struct HistoryArgs {
    #[command(flatten)]
    place: Place,
}

/// Runs the command.
pub(crate) fn run(args: &Args) -> Result<Report, Error> {
    match &args.command {
        DataCommand::Put(args) => {
            let text = files::read_text(&args.file, CONTENT_BYTES_MAX)?;
            put(&args.place, &args.signing, &text)
        }
        DataCommand::Patch(args) => patch(args),
        DataCommand::Get(args) => get(args),
        DataCommand::History(args) => history(&args.place),
    }
}

impl Place {
    /// The snapshots, the oldest first. Nobody has checked them.
    fn snapshots(&self, tree: &Tree) -> Result<Vec<DataSnapshot>, Error> {
        let envelopes = tree.data_snapshots(&self.tenant)?;
        let parse = |bytes: Vec<u8>| DataSnapshot::parse(Envelope::parse(&bytes).ok()?.payload()).ok();
        Ok(envelopes.into_iter().filter_map(parse).collect())
    }

    /// A snapshot, and its content, which is what the snapshot says.
    fn content(&self, tree: &Tree, sequence: Option<u64>) -> Result<(DataSnapshot, String), Error> {
        let mut snapshots = self.snapshots(tree)?;
        snapshots.retain(|snapshot| sequence.is_none_or(|sequence| snapshot.sequence == sequence));
        let snapshot = snapshots.pop().ok_or_else(|| {
            let message = format!("there is no such data snapshot of `{}`", self.tenant);
            Error::Unusable(
                Problem::new("no-data", message).help("`verdict data history` shows what is there"),
            )
        })?;
        let bytes = tree.data(&self.tenant, &snapshot.digest, CONTENT_BYTES_MAX)?;
        let size = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        snapshot.check_content(&Digest::of(&bytes), size)?;
        let text = String::from_utf8(bytes).map_err(|_| unusable("the content is not UTF-8".into()))?;
        Ok((snapshot, text))
    }
}

fn put(place: &Place, signing: &Signing, text: &str) -> Result<Report, Error> {
    let limits = DocumentLimits { bytes_max: CONTENT_BYTES_MAX, depth_max: DOCUMENT_DEPTH_MAX };
    Document::parse(text, &limits).map_err(|error| unusable(error.to_string()))?;
    if !text.trim_start().starts_with('{') {
        return Err(unusable("expected one object whose members are documents".into()));
    }
    let (tree, now) = (Tree::open(&place.registry)?, clock::now()?);
    let snapshot = DataSnapshot {
        tenant: place.tenant.clone(),
        sequence: place.snapshots(&tree)?.pop().map_or(0, |newest| newest.sequence).saturating_add(1),
        issued: now,
        expires: clock::from_now(signing.days.saturating_mul(DAY_MS))?,
        digest: Digest::of(text.as_bytes()),
        bytes: u64::try_from(text.len()).unwrap_or(u64::MAX),
    };
    let payload = snapshot.payload().map_err(|error| unusable(error.to_string()))?;
    let mut envelope = Envelope::unsigned(DataSnapshot::PAYLOAD_TYPE, payload);
    signing.key.open(Role::DataSigner)?.sign(&mut envelope)?;
    let envelope = envelope.render();
    // What no host would take is not put where hosts find it.
    let trust = signing.trust.clone().unwrap_or_else(|| place.registry.join("trust"));
    let trusted = Trusted::read(&trust, now)?;
    DataSnapshot::verify(envelope.as_bytes(), &place.tenant, &trusted.basis(&Seen::default(), now))?;
    tree.put_data(&place.tenant, snapshot.sequence, envelope.as_bytes(), text.as_bytes())?;
    let mut report = Report::new(json!({ "snapshot": snapshot }));
    report
        .row("tenant", &snapshot.tenant)
        .row("sequence", snapshot.sequence)
        .row("digest", snapshot.digest)
        .row("until", snapshot.expires);
    Ok(report)
}

fn patch(args: &PatchArgs) -> Result<Report, Error> {
    let patch = files::read_text(&args.file, PATCH_BYTES_MAX)?;
    let (_, text) = args.place.content(&Tree::open(&args.place.registry)?, None)?;
    let text = apply_patch(&text, &patch, &PatchLimits::default())
        .map_err(|error| Error::Refused(Problem::new("patch", error.to_string())))?;
    put(&args.place, &args.signing, &text)
}

fn get(args: &GetArgs) -> Result<Report, Error> {
    let (snapshot, text) = args.place.content(&Tree::open(&args.place.registry)?, args.sequence)?;
    let limits = DocumentLimits { bytes_max: CONTENT_BYTES_MAX, depth_max: DOCUMENT_DEPTH_MAX };
    let document = Document::parse(text, &limits).map_err(|error| unusable(error.to_string()))?;
    let found = document.json(&args.pointer).ok_or_else(|| {
        let message = format!("snapshot {} has nothing at `{}`", snapshot.sequence, args.pointer);
        Error::Unusable(Problem::new("absent", message))
    })?;
    let mut report = Report::new(json!({ "snapshot": snapshot }));
    report.exact("value", found).line(found);
    Ok(report)
}

fn history(place: &Place) -> Result<Report, Error> {
    let tree = Tree::open(&place.registry)?;
    let snapshots = place.snapshots(&tree)?;
    let mut report = Report::new(json!({ "snapshots": snapshots }));
    for snapshot in snapshots.iter().rev() {
        let DataSnapshot { sequence, issued, digest, bytes, .. } = snapshot;
        let is_here = fs::metadata(place.registry.join("content").join(digest.hex())).is_ok();
        let missing = if is_here { "" } else { ", content missing" };
        report.line(format!("#{sequence}  {digest}  {bytes} bytes{missing} {DIM}since {issued}{DIM:#}"));
    }
    Ok(report)
}

fn unusable(message: String) -> Error {
    Error::Unusable(Problem::new("data", message))
}
