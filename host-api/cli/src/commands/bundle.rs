//! `verdict bundle`: a registry in one file, for hosts that nothing reaches.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Subcommand;
use serde_json::json;
use tar::{Archive, Builder, EntryType, Header};
use verdict::{Config, Host, Registry};
use verdict_core::artifact::UnverifiedArtifact;
use verdict_core::digest::Digest;
use verdict_core::dsse::Envelope;
use verdict_core::name::PolicyName;
use verdict_core::trust::{ChannelState, DataSnapshot, Release, Revocations, SignedDocument, Which};
use verdict_registry::remote::{self, Server};
use verdict_registry::{Documents, Layout, Publish, Tree};

use super::trust_folder::policy_of;
use crate::error::{Error, Problem};
use crate::evaluation;
use crate::files;
use crate::place::{self, Place, PlaceArgs};
use crate::remote::with_server;
use crate::report::{GOOD, Report};

/// The most that is read from a bundle: bytes, and files.
const BUNDLE_BYTES_MAX: u64 = 8 << 30;
const BUNDLE_FILES_MAX: usize = 1_000_000;
/// The largest content of a data snapshot.
const CONTENT_BYTES_MAX: u64 = 256 << 20;
const CHECKPOINT: &str = "checkpoint";

/// Carry a registry across an air gap in one file
///
/// A bundle holds what the newest channel states name: artifacts with their statements, trust policies, revocations and
/// data. Nothing in it is trusted: it is checked from pinned root keys on, as a host does. The same registry gives the
/// same bundle, byte for byte.
#[derive(clap::Args)]
#[command(arg_required_else_help = true)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: BundleCommand,
}

#[derive(Subcommand)]
enum BundleCommand {
    Save(SaveArgs),
    Verify(VerifyArgs),
    Load(LoadArgs),
}

/// Write a bundle
#[derive(clap::Args)]
#[command(after_help = "Example: verdict bundle save bank.tar --registry registry")]
struct SaveArgs {
    /// The file to write; never over another one
    file: PathBuf,
    #[command(flatten)]
    place: PlaceArgs,
    /// The newest checkpoint of a log, to go with it: a file as `GET /v1/tenants/{tenant}/log/checkpoint` gives it
    #[arg(long, value_name = "FILE")]
    checkpoint: Option<PathBuf>,
}

/// Check a bundle as a host does that pins these root keys and has seen nothing else; every policy is compiled
#[derive(clap::Args)]
#[command(after_help = "Example: verdict bundle verify bank.tar --roots roots.json")]
struct VerifyArgs {
    /// The bundle
    file: PathBuf,
    /// The root keys that you pin
    #[arg(long, value_name = "FILE")]
    roots: PathBuf,
}

/// Check a bundle, and put what it holds into a registry, a folder made if it is not there; what is newer there stays
#[derive(clap::Args)]
#[command(after_help = "Example: verdict bundle load bank.tar --roots roots.json --registry registry")]
struct LoadArgs {
    #[command(flatten)]
    verify: VerifyArgs,
    #[command(flatten)]
    place: PlaceArgs,
}

/// Runs the command.
pub(crate) fn run(args: &Args) -> Result<Report, Error> {
    match &args.command {
        BundleCommand::Save(args) => save(args),
        BundleCommand::Verify(args) => {
            let held = Held::open(args)?;
            Ok(held.report("verified"))
        }
        BundleCommand::Load(args) => {
            let held = Held::open(&args.verify)?;
            merge(&held.tree, &args.place.create()?)?;
            Ok(held.report("loaded"))
        }
    }
}

fn save(args: &SaveArgs) -> Result<Report, Error> {
    let from = args.place.open()?;
    let folder = temporary()?;
    let bundle = Place::Folder(Tree::create(folder.path())?);
    merge(from.publish(), &bundle)?;
    if let Some(path) = &args.checkpoint {
        files::write(&folder.path().join(CHECKPOINT), &files::read(path, 1 << 20)?)?;
    }
    let mut listed = BTreeMap::new();
    list(folder.path(), folder.path(), &mut listed)?;
    let mut packed = Vec::new();
    pack(&listed, &mut packed).map_err(|error| Error::file("write", &args.file, &error))?;
    files::write_new(&args.file, &packed, false)?;
    let (digest, bytes) = (Digest::of(&packed), packed.len());
    let mut report =
        Report::new(json!({ "bundle": args.file, "digest": digest, "bytes": bytes, "files": listed.len() }));
    report
        .row("written", args.file.display())
        .row("digest", digest)
        .row("holds", format!("{} files, {bytes} bytes", listed.len()))
        .row("next", "verdict bundle verify, where it arrives, with the root keys that are pinned there");
    Ok(report)
}

/// The files below a folder by their names in the bundle, sorted.
fn list(root: &Path, folder: &Path, listed: &mut BTreeMap<String, PathBuf>) -> Result<(), Error> {
    let failed = |error: io::Error| Error::file("read", folder, &error);
    for entry in fs::read_dir(folder).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        if path.is_dir() {
            list(root, &path, listed)?;
        } else if let Ok(name) = path.strip_prefix(root) {
            listed.insert(name.to_string_lossy().into_owned(), path);
        }
    }
    Ok(())
}

/// Nothing but names and contents: no time, no owner.
fn pack(files: &BTreeMap<String, PathBuf>, to: &mut Vec<u8>) -> io::Result<()> {
    let mut builder = Builder::new(to);
    for (name, path) in files {
        let bytes = fs::read(path)?;
        let mut header = Header::new_ustar();
        header.set_size(u64::try_from(bytes.len()).unwrap_or(u64::MAX));
        header.set_mode(0o644);
        header.set_mtime(0);
        header.set_entry_type(EntryType::Regular);
        builder.append_data(&mut header, name, bytes.as_slice())?;
    }
    builder.finish()
}

/// A bundle that is unpacked, and that a host accepted.
struct Held {
    tree: Tree,
    policies: Vec<serde_json::Value>,
    lines: Vec<String>,
    checkpoint: Option<String>,
    // Unpacked here, and gone with it.
    _folder: tempfile::TempDir,
}

impl Held {
    fn open(args: &VerifyArgs) -> Result<Self, Error> {
        let folder = temporary()?;
        let unpacked = folder.path().join("bundle");
        files::create_folder(&unpacked)?;
        unpack(&args.file, &unpacked)?;
        let roots = place::roots(&args.roots)?;
        let registry = Registry { source: Arc::new(Tree::open(&unpacked)?), roots };
        let config = Config {
            compiler: evaluation::compiler()?,
            ..Config::following(registry, folder.path().join("state"))
        };
        let host = Host::open(config)?;
        if let Some(refused) = host.quarantine().into_iter().next() {
            let message = format!("`{}`: {}", refused.path.display(), refused.refusal);
            return Err(Error::Refused(Problem::new("bundle", message)));
        }
        let statuses = host.policies();
        if statuses.is_empty() {
            return Err(Error::Refused(Problem::new(
                "bundle",
                "no channel of the bundle lets anything answer",
            )));
        }
        let text = |status: &verdict::PolicyStatus| {
            let channel = status.channel.as_ref().map(ToString::to_string).unwrap_or_default();
            format!("{}@{channel} {}  until {}", status.name, status.version, status.until)
        };
        let json = |status: &verdict::PolicyStatus| {
            json!({
                "policy": status.name, "channel": status.channel, "version": status.version,
                "sequence": status.sequence, "until": status.until, "component": status.component,
            })
        };
        Ok(Self {
            policies: statuses.iter().map(json).collect(),
            lines: statuses.iter().map(text).collect(),
            checkpoint: fs::read_to_string(unpacked.join(CHECKPOINT)).ok(),
            tree: Tree::open(&unpacked)?,
            _folder: folder,
        })
    }

    fn report(&self, word: &str) -> Report {
        let mut report =
            Report::new(json!({ "ok": true, "policies": self.policies, "checkpoint": self.checkpoint }));
        report.line(format!("{GOOD}ok{GOOD:#}: {word}, as a host does that pins these root keys"));
        for line in &self.lines {
            report.row("answers", line);
        }
        if let Some(origin) = self.checkpoint.as_ref().and_then(|text| text.lines().next()) {
            report.row(
                "checkpoint",
                format!("of log {origin}; `verdict receipt verify` checks it with the log's key"),
            );
        }
        report
    }
}

fn unpack(file: &Path, to: &Path) -> Result<(), Error> {
    let failed = |error: io::Error| Error::file("read", file, &error);
    let malformed = |what: String| {
        Error::Refused(Problem::new("bundle", format!("`{}` is not a bundle: {what}", file.display())))
    };
    let mut archive = Archive::new(File::open(file).map_err(failed)?.take(BUNDLE_BYTES_MAX));
    let mut count = 0;
    for entry in archive.entries().map_err(failed)? {
        let mut entry = entry.map_err(|error| malformed(error.to_string()))?;
        let name = entry.path().map_err(|error| malformed(error.to_string()))?.to_string_lossy().into_owned();
        count += 1;
        if entry.header().entry_type() != EntryType::Regular || !name.split('/').all(is_plain) {
            return Err(malformed(format!("`{name}` is nothing that a bundle holds")));
        }
        if count > BUNDLE_FILES_MAX {
            return Err(malformed(format!("it has more than {BUNDLE_FILES_MAX} files")));
        }
        let path = to.join(&name);
        if let Some(folder) = path.parent() {
            files::create_folder(folder)?;
        }
        let mut new = File::create_new(&path).map_err(|error| Error::file("create", &path, &error))?;
        io::copy(&mut entry, &mut new).map_err(|error| malformed(error.to_string()))?;
    }
    Ok(())
}

/// A name that leads nowhere else.
fn is_plain(part: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-' | b'+');
    !part.is_empty() && !part.starts_with("..") && part != "." && part.bytes().all(allowed)
}

/// Puts what the newest documents of one registry name into another one. Whom to believe comes first, for what comes
/// after may be checked by it; what names comes after what it names; and what is newer there stays.
fn merge(from: &dyn Publish, to: &Place) -> Result<(), Error> {
    let documents = from.newest()?;
    merge_trust(&documents, to.publish())?;
    for envelope in &documents.channels {
        let state: ChannelState = read(envelope)?;
        let shares = (0..state.versions.len()).map(Which::Share).chain([Which::Shadow]);
        for release in shares.filter_map(|which| state.release(which)) {
            let mut artifact = from.artifact(&state.policy, &release.image)?;
            artifact.statements.sort_by_key(|statement| Digest::of(statement));
            match to {
                Place::Folder(tree) => keep(tree, &state.policy, &release, &artifact)?,
                Place::Server(server, _) => push(server, &state.policy, &artifact)?,
            }
        }
    }
    merge_data(from, &documents, to)?;
    for envelope in &documents.channels {
        let state: ChannelState = read(envelope)?;
        let there = to.publish().channel_states(&state.policy, &state.channel, 1)?;
        if !has(&there, |there: ChannelState| there.sequence >= state.sequence) {
            to.publish().put_channel(&state.policy, &state.channel, state.sequence, envelope)?;
        }
    }
    Ok(())
}

fn merge_trust(documents: &Documents, to: &dyn Publish) -> Result<(), Error> {
    let there = to.newest()?;
    let newest = there.trust.iter().filter_map(|envelope| version_of(envelope)).max().unwrap_or(0);
    for envelope in &documents.trust {
        if let Some(version) = version_of(envelope).filter(|version| *version > newest) {
            to.put_trust(version, envelope)?;
        }
    }
    let Some(envelope) = &documents.revocations else { return Ok(()) };
    let next: Revocations = read(envelope)?;
    let there: Vec<_> = there.revocations.into_iter().collect();
    if !has(&there, |there: Revocations| there.sequence >= next.sequence) {
        to.put_revocations(envelope)?;
    }
    Ok(())
}

fn merge_data(from: &dyn Publish, documents: &Documents, to: &Place) -> Result<(), Error> {
    let snapshots = documents.data.iter().map(|envelope| Ok((read::<DataSnapshot>(envelope)?, envelope)));
    let mut snapshots = snapshots.collect::<Result<Vec<_>, Error>>()?;
    snapshots.sort_by_key(|(snapshot, _)| snapshot.sequence);
    for (snapshot, envelope) in snapshots {
        let DataSnapshot { tenant, sequence, digest, .. } = &snapshot;
        let is_here = |there: DataSnapshot| match to {
            Place::Folder(_) => there.sequence == *sequence,
            // It takes none that is older than its newest.
            Place::Server(..) => there.sequence >= *sequence,
        };
        if !has(&to.publish().data_snapshots(tenant, usize::MAX)?, is_here) {
            let content = from.data(tenant, digest, CONTENT_BYTES_MAX)?;
            to.publish().put_data(tenant, *sequence, envelope, &content)?;
        }
    }
    Ok(())
}

/// Puts an artifact into a folder, or what is said about it, where the folder has it.
fn keep(
    tree: &Tree,
    policy: &PolicyName,
    release: &Release,
    artifact: &UnverifiedArtifact,
) -> Result<(), Error> {
    match tree.layout(&release.image) {
        Ok(there) => {
            for statement in &artifact.statements {
                there.attach_statement(statement)?;
            }
        }
        Err(_) => {
            let path = format!("artifacts/{}/{}/{}", policy.tenant(), policy.name(), release.version);
            Layout::store(&tree.path().join(path), artifact)?;
        }
    }
    Ok(())
}

/// Pushes an artifact, with what is said about it, to a server.
fn push(server: &Server, policy: &PolicyName, artifact: &UnverifiedArtifact) -> Result<(), Error> {
    let folder = temporary()?;
    let path = folder.path().join("artifact");
    Layout::store(&path, artifact)?;
    let to = remote::Place::Registry(server.repository(policy)?.untagged());
    let from = remote::Place::Folder(path);
    with_server(server, async |remote| remote.copy(&from, &to, false).await).map(drop)
}

/// Whether a document that can be read is such a one.
fn has<T: SignedDocument>(envelopes: &[Vec<u8>], is: impl Fn(T) -> bool) -> bool {
    envelopes.iter().filter_map(|envelope| read(envelope).ok()).any(is)
}

fn version_of(envelope: &[u8]) -> Option<u64> {
    policy_of(envelope).map(|policy| policy.version())
}

/// A document that nobody has checked.
fn read<T: SignedDocument>(envelope: &[u8]) -> Result<T, Error> {
    let envelope = Envelope::parse(envelope).map_err(|error| unreadable(&error))?;
    Ok(T::parse(envelope.payload())?)
}

fn unreadable(error: &dyn std::fmt::Display) -> Error {
    Error::Refused(Problem::new("bundle", format!("a document cannot be read: {error}")))
}

fn temporary() -> Result<tempfile::TempDir, Error> {
    tempfile::tempdir().map_err(|error| Error::file("create", &std::env::temp_dir(), &error))
}
