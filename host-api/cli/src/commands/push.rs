//! `verdict push`: a built version into a registry.

use std::path::PathBuf;

use verdict_registry::remote::{Place, Reference};

use crate::error::Error;
use crate::remote::{RemoteArgs, layout_place, moved};
use crate::report::Report;

/// Push a built policy with all statements about it into a registry
///
/// What the registry has already is not sent again. Its tag is set last, so that nobody finds half a version. A
/// version is published once: its tag is not put on another image. Who we are comes from Docker's configuration.
#[derive(clap::Args)]
#[command(after_help = "Example: verdict push registry.example/bank/loan")]
pub(crate) struct Args {
    /// Where to: `[oci://]HOST[:PORT]/REPOSITORY[:TAG]`; the tag is the version, if left out
    reference: String,
    /// The policy's folder, that of a build, or an OCI image layout
    #[arg(default_value = ".")]
    dir: PathBuf,
    /// Put the version's tag on this image, even if it is on another one
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    remote: RemoteArgs,
}

/// Runs the command.
pub(crate) fn run(args: &Args) -> Result<Report, Error> {
    let to: Reference = args.reference.parse().map_err(verdict_registry::remote::RemoteError::from)?;
    let (from, to) = (layout_place(&args.dir)?, Place::Registry(to));
    let pushed = args.remote.run(async |remote| remote.copy(&from, &to, args.force).await)?;
    Ok(moved("pushed", &pushed))
}
