//! `verdict promote`: what answers in one channel answers in the next.

use serde_json::json;
use verdict_core::name::{ChannelName, PolicyName};
use verdict_core::trust::ChannelState;

use super::channels;
use crate::error::Error;
use crate::releases::{ReleaseArgs, SignArgs};
use crate::report::Report;

/// Let what answers in one channel answer in another
///
/// The rules of the channel that it goes to decide: one may ask for approvals that the other does not.
#[derive(clap::Args)]
#[command(
    after_help = "Example: verdict promote bank/loan --from staging --channel production --key releaser.key"
)]
pub(crate) struct Args {
    /// The policy, `tenant/name`
    policy: PolicyName,
    /// The channel that it comes from
    #[arg(long, value_name = "NAME")]
    from: ChannelName,
    #[command(flatten)]
    sign: SignArgs,
    #[command(flatten)]
    release: ReleaseArgs,
}

/// Runs the command.
pub(crate) fn run(args: &Args) -> Result<Report, Error> {
    if args.sign.by_server {
        let (state, put) = args.release.by_server(&args.policy, "promote", json!({ "from": args.from }))?;
        return Ok(channels::report(&state, &put));
    }
    let releases = args.release.open()?;
    let from = releases.newest(&args.policy, &args.from)?;
    // A shadow and a guard are for the channel that they were set up in.
    let state = ChannelState { shadow: None, guard: None, ..from };
    let (state, put) = args.release.put(&releases, &args.sign, state)?;
    Ok(channels::report(&state, &put))
}
