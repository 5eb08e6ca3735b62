//! `verdict cosign`: the next signature of a channel state that needs several.

use verdict_core::name::PolicyName;

use super::channels;
use crate::error::Error;
use crate::releases::ReleaseArgs;
use crate::report::Report;
use crate::signer::KeyArgs;

/// Sign the state of a channel that waits for more signatures
///
/// Where a rule asks for several releasers, `verdict activate`, `promote` and `rollback` leave the state waiting, where no
/// host looks: beside the channel in a registry that is a folder, in a file otherwise, for the next one to sign.
#[derive(clap::Args)]
#[command(after_help = "Example: verdict cosign bank/loan --registry registry --key second-releaser.key")]
pub(crate) struct Args {
    /// The policy, `tenant/name`
    policy: PolicyName,
    #[command(flatten)]
    key: KeyArgs,
    #[command(flatten)]
    release: ReleaseArgs,
}

/// Runs the command.
pub(crate) fn run(args: &Args) -> Result<Report, Error> {
    let releases = args.release.open()?;
    let (state, put) = args.release.cosign(&releases, &args.key, &args.policy)?;
    Ok(channels::report(&state, &put))
}
