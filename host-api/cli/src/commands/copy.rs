//! `verdict copy`: a version from any place to any other.

use verdict_registry::remote::{Place, RemoteError};

use crate::error::Error;
use crate::remote::{RemoteArgs, layout_place, moved};
use crate::report::Report;

/// Copy a version with all statements about it between registries and folders
///
/// A place is a registry if it starts with `oci://`, or if what is before its first `/` has a `.` or `:` or is
/// `localhost`; a folder may start with `./` to be sure. What the target has already does not move.
#[derive(clap::Args)]
#[command(after_help = "Example: verdict copy staging.example/bank/loan:1.2.0 registry.example/bank/loan")]
pub(crate) struct Args {
    /// From where: a folder, or `[oci://]HOST[:PORT]/REPOSITORY:TAG`, or `@DIGEST`
    from: String,
    /// To where: a folder, new or with the same version, or `[oci://]HOST[:PORT]/REPOSITORY[:TAG]`
    to: String,
    /// Write over another image in the folder or under the version's tag
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    remote: RemoteArgs,
}

/// Runs the command.
pub(crate) fn run(args: &Args) -> Result<Report, Error> {
    let place = |text: &str| text.parse::<Place>().map_err(RemoteError::from);
    let (from, to) = (place(&args.from)?, place(&args.to)?);
    let from = match from {
        Place::Folder(dir) => layout_place(&dir)?,
        registry @ Place::Registry(_) => registry,
    };
    let copied = args.remote.run(async |remote| remote.copy(&from, &to, args.force).await)?;
    Ok(moved("copied", &copied))
}
