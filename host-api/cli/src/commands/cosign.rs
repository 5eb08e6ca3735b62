//! `verdict cosign`: the next signature of a channel state that needs several.

use verdict_core::name::PolicyName;

use super::channels;
use crate::error::Error;
use crate::releases::ReleaseArgs;
use crate::report::Report;

/// Sign the state of a channel that waits for more signatures
///
/// Where a rule asks for several releasers, `verdict activate`, `promote` and `rollback` leave the state waiting, where no
/// host looks. Look at it with `verdict channels` before you sign.
#[derive(clap::Args)]
#[command(after_help = "Example: verdict cosign bank/loan --registry registry --key second-releaser.key")]
pub(crate) struct Args {
    /// The policy, `tenant/name`
    policy: PolicyName,
    #[command(flatten)]
    release: ReleaseArgs,
}

/// Runs the command.
pub(crate) fn run(args: &Args) -> Result<Report, Error> {
    let releases = args.release.open()?;
    let (state, put) = args.release.cosign(&releases, &args.policy)?;
    Ok(channels::report(&state, &put))
}
