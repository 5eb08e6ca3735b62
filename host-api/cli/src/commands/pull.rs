//! `verdict pull`: a version from a registry into a folder.

use std::path::PathBuf;

use verdict_registry::remote::{Named, Place, Reference, RemoteError, names_registry};

use crate::error::Error;
use crate::place::ServerArgs;
use crate::remote::{RemoteArgs, moved};
use crate::report::Report;

/// Pull a version with all statements about it from a registry into a folder
///
/// The folder appears whole or not at all; after an interruption the same command goes on where it ended. Digests are
/// checked; whether you trust the signatures is for `verdict verify` to say.
#[derive(clap::Args)]
#[command(after_help = "Example: verdict pull registry.example/bank/loan:1.2.0 ./loan
A server: verdict pull bank/loan:1.2.0 ./loan --server https://verdict.example")]
pub(crate) struct Args {
    /// What: `[oci://]HOST[:PORT]/REPOSITORY:TAG`, or `@DIGEST`; without a host from a server of ours
    reference: String,
    /// The folder, new or with the same version; `NAME-TAG`, if left out
    dir: Option<PathBuf>,
    /// Replace another version in the folder
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    server: ServerArgs,
    #[command(flatten)]
    remote: RemoteArgs,
}

/// Runs the command.
pub(crate) fn run(args: Args) -> Result<Report, Error> {
    let server = if names_registry(&args.reference) { None } else { args.server.find()? };
    let server = server.map(|(server, _)| server);
    let reference = match &server {
        Some(server) => format!("{}/{}", server.url().host(), args.reference),
        None => args.reference,
    };
    let from: Reference = reference.parse().map_err(RemoteError::from)?;
    let dir = args.dir.unwrap_or_else(|| folder_for(&from));
    let to = Place::Folder(dir.clone());
    let from = Place::Registry(from);
    let pulled =
        args.remote.run_with(server.as_ref(), async |remote| remote.copy(&from, &to, args.force).await)?;
    let mut report = moved("pulled", &pulled);
    report.row("next", format!("verdict verify {} --trust trust.json", dir.display()));
    Ok(report)
}

fn folder_for(reference: &Reference) -> PathBuf {
    let name = reference.repository().path().rsplit('/').next().unwrap_or_default();
    match reference.named() {
        Some(Named::Tag(tag)) => format!("{name}-{tag}"),
        Some(Named::Digest(digest)) => {
            format!("{name}-{}", digest.hex().chars().take(12).collect::<String>())
        }
        None => name.into(),
    }
    .into()
}
