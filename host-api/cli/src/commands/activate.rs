//! `verdict activate`: a version answers in a channel, alone or with others.

use std::str::FromStr;

use semver::Version;
use serde_json::{Value, json};
use verdict_core::digest::Digest;
use verdict_core::name::PolicyName;
use verdict_core::pointer::Pointer;
use verdict_core::time::Timestamp;
use verdict_core::trust::{ChannelState, Guard, Share, Sticky};

use super::channels;
use crate::error::Error;
use crate::releases::{ReleaseArgs, SignArgs};
use crate::report::Report;

/// Let versions of a policy answer in a channel
///
/// The state of the channel is signed with a releaser's key and checked as a host does, with every version that it names,
/// before it is put where hosts find it. With several versions the first is the one that a guard goes back to.
#[derive(clap::Args)]
#[command(after_help = "Example: verdict activate bank/loan 1.3.0 --registry registry --key releaser.key
Split:   verdict activate bank/loan 1.3.0=95 1.4.0=5 --sticky /applicant --guard-faults 0.01 --key releaser.key")]
pub(crate) struct Args {
    /// The policy, `tenant/name`
    policy: PolicyName,
    /// The version; for a split several, each with its weight: `VERSION=WEIGHT`
    #[arg(required = true, value_name = "VERSION[=WEIGHT]")]
    versions: Vec<Weighted>,
    /// A version that is evaluated and recorded beside each answer, and never answers
    #[arg(long, value_name = "VERSION")]
    shadow: Option<Version>,
    /// What sends the same question to the same version of a split: `caller`, or a JSON Pointer into the input
    #[arg(long, value_name = "caller|POINTER", value_parser = sticky)]
    sticky: Option<Sticky>,
    /// The digest of the data snapshot that is read; the tenant's newest, if left out
    #[arg(long, value_name = "SHA256")]
    data: Option<Digest>,
    #[command(flatten)]
    guard: GuardArgs,
    #[command(flatten)]
    sign: SignArgs,
    #[command(flatten)]
    release: ReleaseArgs,
}

/// When a split goes back to its first version by itself.
#[derive(clap::Args)]
struct GuardArgs {
    /// Go back when a later version faults in more than this share of its decisions
    #[arg(long, value_name = "0..1")]
    guard_faults: Option<f64>,
    /// Go back when a later version denies more than this share
    #[arg(long, value_name = "0..1")]
    guard_denials: Option<f64>,
    /// Go back when a later version burns more than this multiple of the first one's fuel
    #[arg(long, value_name = "N")]
    guard_fuel: Option<f64>,
    /// How many decisions a version makes before it is judged
    #[arg(long, value_name = "N", default_value_t = 100)]
    guard_after: u64,
}

impl GuardArgs {
    fn guard(&self) -> Option<Guard> {
        let guard = Guard {
            deny_rate_max: self.guard_denials,
            fault_rate_max: self.guard_faults,
            fuel_ratio_max: self.guard_fuel,
            decisions_min: self.guard_after,
        };
        let bounds = [guard.deny_rate_max, guard.fault_rate_max, guard.fuel_ratio_max];
        bounds.iter().any(Option::is_some).then_some(guard)
    }
}

/// A version and its weight.
#[derive(Debug, Clone)]
struct Weighted {
    version: Version,
    weight: u32,
}

impl FromStr for Weighted {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (version, weight) = text.split_once('=').unwrap_or((text, "1"));
        let version = version.parse().map_err(|error| format!("`{version}` is not a version: {error}"))?;
        let weight = weight.parse().map_err(|_| format!("`{weight}` is not a weight, 1 to 1000"))?;
        Ok(Self { version, weight })
    }
}

fn sticky(text: &str) -> Result<Sticky, String> {
    if text == "caller" {
        return Ok(Sticky::Caller);
    }
    text.parse::<Pointer>().map(Sticky::Pointer).map_err(|error| error.to_string())
}

/// Runs the command.
pub(crate) fn run(args: &Args) -> Result<Report, Error> {
    if args.sign.by_server {
        let (state, put) = args.release.by_server(&args.policy, "activate", asked(args))?;
        return Ok(channels::report(&state, &put));
    }
    let releases = args.release.open()?;
    let mut versions = Vec::new();
    for Weighted { version, weight } in &args.versions {
        versions.push(Share::new(releases.release(&args.policy, version)?, *weight));
    }
    let shadow = args.shadow.as_ref().map(|version| releases.release(&args.policy, version)).transpose()?;
    let state = ChannelState {
        policy: args.policy.clone(),
        channel: args.release.channel.clone(),
        sequence: 0,
        issued: Timestamp::EPOCH,
        expires: Timestamp::EPOCH,
        versions,
        shadow,
        sticky: args.sticky.clone(),
        data: args.data,
        guard: args.guard.guard(),
    };
    let (state, put) = args.release.put(&releases, &args.sign, state)?;
    Ok(channels::report(&state, &put))
}

/// What a server is asked that makes the state itself.
fn asked(args: &Args) -> Value {
    let version = |one: &Weighted| json!({ "version": one.version, "weight": one.weight });
    json!({
        "versions": args.versions.iter().map(version).collect::<Vec<_>>(),
        "shadow": args.shadow, "sticky": args.sticky, "data": args.data, "guard": args.guard.guard(),
    })
}
