//! `verdict rollback`: a channel goes back, forwards: with a new state that names older versions.

use semver::Version;
use serde_json::json;
use verdict_core::name::PolicyName;
use verdict_core::trust::{ChannelState, Share};

use super::channels;
use crate::error::{Error, Problem};
use crate::releases::{ReleaseArgs, Releases, SignArgs};
use crate::report::Report;

/// Go back to what answered before, or to a named version
///
/// Hosts never take an older state of a channel again. A rollback is a new state that names older versions, so it is
/// signed, recorded and found like any other.
#[derive(clap::Args)]
#[command(after_help = "Example: verdict rollback bank/loan --registry registry --key releaser.key")]
pub(crate) struct Args {
    /// The policy, `tenant/name`
    policy: PolicyName,
    /// The version to go back to; what answered before the newest state, if left out
    #[arg(long, value_name = "VERSION")]
    to: Option<Version>,
    #[command(flatten)]
    sign: SignArgs,
    #[command(flatten)]
    release: ReleaseArgs,
}

/// Runs the command.
pub(crate) fn run(args: &Args) -> Result<Report, Error> {
    if args.sign.by_server {
        let (state, put) = args.release.by_server(&args.policy, "rollback", json!({ "to": args.to }))?;
        return Ok(channels::report(&state, &put));
    }
    let releases = args.release.open()?;
    let newest = releases.newest(&args.policy, &args.release.channel)?;
    let state = match &args.to {
        None => previous(args, &releases, &newest)?,
        Some(version) => {
            let release = releases.release(&args.policy, version)?;
            let versions = vec![Share::new(release, 1)];
            ChannelState { versions, shadow: None, sticky: None, guard: None, ..newest }
        }
    };
    let (state, put) = args.release.put(&releases, &args.sign, state)?;
    Ok(channels::report(&state, &put))
}

/// The newest state that let other versions answer. Going back twice goes back and forth.
fn previous(args: &Args, releases: &Releases, newest: &ChannelState) -> Result<ChannelState, Error> {
    let mut states = releases.history(&args.policy, &args.release.channel)?;
    states.retain(|state| state.versions != newest.versions);
    states.pop().ok_or_else(|| {
        let message =
            format!("no other version of `{}` answered in `{}` before", args.policy, args.release.channel);
        Error::Unusable(Problem::new("no-previous", message).help("name one with `--to VERSION`"))
    })
}
