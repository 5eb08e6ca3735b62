//! `verdict push`: a built version into a registry.

use std::path::{Path, PathBuf};

use verdict_core::name::PolicyName;
use verdict_registry::Layout;
use verdict_registry::remote::{Place, Reference, RemoteError, Server, names_registry};

use crate::builds;
use crate::error::{Error, Problem};
use crate::place::ServerArgs;
use crate::remote::{RemoteArgs, moved};
use crate::report::Report;

/// Push a built policy with all statements about it into a registry
///
/// What the registry has already is not sent again. Its tag is set last, so that nobody finds half a version. A
/// version is published once: its tag is not put on another image. Who we are comes from Docker's configuration. To a
/// server of ours, which `--server`, `--profile` or `VERDICT_SERVER` names, it goes under the policy's own name.
#[derive(clap::Args)]
#[command(after_help = "Example: verdict push registry.example/bank/loan
A server: verdict push loan --server https://verdict.example")]
pub(crate) struct Args {
    /// Where to: `[oci://]HOST[:PORT]/REPOSITORY[:TAG]`; the tag is the version, if left out. Left out for a server
    #[arg(value_name = "REFERENCE")]
    reference: Option<String>,
    /// The policy's folder, that of a build, or an OCI image layout; this one, if left out
    dir: Option<PathBuf>,
    /// Put the version's tag on this image, even if it is on another one
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    server: ServerArgs,
    #[command(flatten)]
    remote: RemoteArgs,
}

/// Runs the command.
pub(crate) fn run(args: &Args) -> Result<Report, Error> {
    let (reference, dir) = match (&args.reference, &args.dir) {
        (Some(reference), None) if !names_registry(reference) => (None, Some(Path::new(reference))),
        (reference, dir) => (reference.as_deref(), dir.as_deref()),
    };
    let from = builds::layout_folder(dir.unwrap_or(Path::new(".")))?;
    let (server, to) = match reference {
        Some(reference) => (None, reference.parse::<Reference>().map_err(RemoteError::from)?),
        None => {
            let server = args.server.required()?;
            let to = own_name(&server, &from)?;
            (Some(server), to)
        }
    };
    let (from, to) = (Place::Folder(from), Place::Registry(to));
    let pushed =
        args.remote.run_with(server.as_ref(), async |remote| remote.copy(&from, &to, args.force).await)?;
    Ok(moved("pushed", &pushed))
}

/// The repository that a server has for the policy that the image says it is.
fn own_name(server: &Server, layout: &Path) -> Result<Reference, Error> {
    let policy = Layout::open(layout)?.summary()?.policy.unwrap_or_default();
    let policy = policy.parse::<PolicyName>().map_err(|error| {
        let message = format!("`{}` does not say which policy it is: {error}", layout.display());
        Error::Unusable(Problem::new("not-built", message).help("build it with `verdict build`"))
    })?;
    Ok(server.repository(&policy)?.untagged())
}
