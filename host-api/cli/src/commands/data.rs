//! `verdict data`: a tenant's documents, as immutable signed snapshots.

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

use crate::clock;
use crate::error::{Error, Problem};
use crate::files;
use crate::place::{Place, PlaceArgs, TrustArgs};
use crate::report::{DIM, Report};
use crate::signer::KeyArgs;

const DAY_MS: i64 = 24 * 60 * 60 * 1_000;
/// The largest content, in bytes: what a host reads.
const CONTENT_BYTES_MAX: u64 = 256 << 20;
const PATCH_BYTES_MAX: u64 = 1 << 20;

/// Put, change and read a tenant's data in a registry
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
struct DataArgs {
    /// The tenant
    tenant: Tenant,
    #[command(flatten)]
    place: PlaceArgs,
}

/// Who signs, and for how long.
#[derive(clap::Args)]
struct Signing {
    #[command(flatten)]
    trust: TrustArgs,
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
    data: DataArgs,
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
    data: DataArgs,
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
    data: DataArgs,
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
    data: DataArgs,
}

/// A tenant's data in a registry that is open.
struct Held<'a> {
    tenant: &'a Tenant,
    place: Place,
}

/// Runs the command.
pub(crate) fn run(args: &Args) -> Result<Report, Error> {
    match &args.command {
        DataCommand::Put(args) => {
            let text = files::read_text(&args.file, CONTENT_BYTES_MAX)?;
            put(&args.data.open()?, &args.signing, &text)
        }
        DataCommand::Patch(args) => patch(args),
        DataCommand::Get(args) => get(args),
        DataCommand::History(args) => history(&args.data.open()?),
    }
}

impl DataArgs {
    fn open(&self) -> Result<Held<'_>, Error> {
        Ok(Held { tenant: &self.tenant, place: self.place.open()? })
    }
}

impl Held<'_> {
    /// The newest snapshots, the oldest of them first. Nobody has checked them.
    fn snapshots(&self, count_max: usize) -> Result<Vec<DataSnapshot>, Error> {
        let envelopes = self.place.publish().data_snapshots(self.tenant, count_max)?;
        let parse = |bytes: Vec<u8>| DataSnapshot::parse(Envelope::parse(&bytes).ok()?.payload()).ok();
        Ok(envelopes.into_iter().filter_map(parse).collect())
    }

    /// A snapshot, and its content, which is what the snapshot says.
    fn content(&self, sequence: Option<u64>) -> Result<(DataSnapshot, String), Error> {
        let mut snapshots = self.snapshots(if sequence.is_some() { usize::MAX } else { 1 })?;
        snapshots.retain(|snapshot| sequence.is_none_or(|sequence| snapshot.sequence == sequence));
        let snapshot = snapshots.pop().ok_or_else(|| {
            let message = format!("there is no such data snapshot of `{}`", self.tenant);
            Error::Unusable(
                Problem::new("no-data", message).help("`verdict data history` shows what is there"),
            )
        })?;
        let bytes = self.place.publish().data(self.tenant, &snapshot.digest, CONTENT_BYTES_MAX)?;
        let size = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        snapshot.check_content(&Digest::of(&bytes), size)?;
        let text = String::from_utf8(bytes).map_err(|_| unusable("the content is not UTF-8".into()))?;
        Ok((snapshot, text))
    }
}

fn put(held: &Held<'_>, signing: &Signing, text: &str) -> Result<Report, Error> {
    let limits = DocumentLimits { bytes_max: CONTENT_BYTES_MAX, depth_max: DOCUMENT_DEPTH_MAX };
    Document::parse(text, &limits).map_err(|error| unusable(error.to_string()))?;
    if !text.trim_start().starts_with('{') {
        return Err(unusable("expected one object whose members are documents".into()));
    }
    let now = clock::now()?;
    let snapshot = DataSnapshot {
        tenant: held.tenant.clone(),
        sequence: held.snapshots(1)?.pop().map_or(0, |newest| newest.sequence).saturating_add(1),
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
    let trusted = held.place.trusted(&signing.trust, now)?;
    DataSnapshot::verify(envelope.as_bytes(), held.tenant, &trusted.basis(&Seen::default(), now))?;
    let registry = held.place.publish();
    registry.put_data(held.tenant, snapshot.sequence, envelope.as_bytes(), text.as_bytes())?;
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
    let held = args.data.open()?;
    let (_, text) = held.content(None)?;
    let text = apply_patch(&text, &patch, &PatchLimits::default())
        .map_err(|error| Error::Refused(Problem::new("patch", error.to_string())))?;
    put(&held, &args.signing, &text)
}

fn get(args: &GetArgs) -> Result<Report, Error> {
    let (snapshot, text) = args.data.open()?.content(args.sequence)?;
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

fn history(held: &Held<'_>) -> Result<Report, Error> {
    let snapshots = held.snapshots(usize::MAX)?;
    let mut report = Report::new(json!({ "snapshots": snapshots }));
    for snapshot in snapshots.iter().rev() {
        let DataSnapshot { sequence, issued, digest, bytes, .. } = snapshot;
        let is_here = held.place.publish().has_data(held.tenant, digest)?;
        let missing = if is_here { "" } else { ", content missing" };
        report.line(format!("#{sequence}  {digest}  {bytes} bytes{missing} {DIM}since {issued}{DIM:#}"));
    }
    Ok(report)
}

fn unusable(message: String) -> Error {
    Error::Unusable(Problem::new("data", message))
}
