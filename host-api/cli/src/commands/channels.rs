//! `verdict channels`: what answers where, and what did before.

use serde_json::json;
use verdict_core::dsse::Envelope;
use verdict_core::name::PolicyName;
use verdict_core::trust::{ChannelState, SignedDocument as _, Sticky};

use crate::error::Error;
use crate::place::PlaceArgs;
use crate::releases::Put;
use crate::report::{DIM, GOOD, Report, WARN};

/// Show what answers in the channels of a registry; nothing is verified
#[derive(clap::Args)]
#[command(after_help = "Example: verdict channels --registry registry bank/loan --history")]
pub(crate) struct Args {
    /// The policy, `tenant/name`; all, if left out
    policy: Option<PolicyName>,
    #[command(flatten)]
    place: PlaceArgs,
    /// Show the states before the newest, too
    #[arg(long)]
    history: bool,
}

/// Runs the command.
pub(crate) fn run(args: &Args) -> Result<Report, Error> {
    let place = args.place.open()?;
    let registry = place.publish();
    let count_max = if args.history { usize::MAX } else { 1 };
    let mut listed = Vec::new();
    let mut lines = Vec::new();
    for (policy, channel) in registry.channels()? {
        if args.policy.as_ref().is_some_and(|only| *only != policy) {
            continue;
        }
        for envelope in registry.channel_states(&policy, &channel, count_max)?.iter().rev() {
            let envelope = Envelope::parse(envelope).ok();
            let Some(state) = envelope.and_then(|envelope| ChannelState::parse(envelope.payload()).ok())
            else {
                lines.push(format!("{policy}@{channel}  {WARN}cannot be read{WARN:#}"));
                continue;
            };
            lines.push(format!("{} {DIM}#{} since {}{DIM:#}", line(&state), state.sequence, state.issued));
            listed.push(state);
        }
    }
    let mut report = Report::new(json!({ "channels": listed }));
    if lines.is_empty() {
        report.line("nothing was released here yet; `verdict activate` does it");
    }
    for line in lines {
        report.line(line);
    }
    Ok(report)
}

/// A state in one line.
fn line(state: &ChannelState) -> String {
    let total: u32 = state.versions.iter().map(|share| share.weight).sum();
    let share = |weight: u32| f64::from(weight) * 100.0 / f64::from(total.max(1));
    let versions: Vec<_> = match state.versions.as_slice() {
        [only] => vec![only.version.to_string()],
        several => {
            several.iter().map(|one| format!("{} ({:.1} %)", one.version, share(one.weight))).collect()
        }
    };
    let mut line = format!("{}@{}  {}", state.policy, state.channel, versions.join(", "));
    if let Some(shadow) = &state.shadow {
        line.push_str(&format!(", shadow {}", shadow.version));
    }
    match &state.sticky {
        Some(Sticky::Pointer(pointer)) => line.push_str(&format!(", sticky by `{pointer}`")),
        Some(Sticky::Caller) => line.push_str(", sticky by caller"),
        None => {}
    }
    if state.guard.is_some() {
        line.push_str(", guarded");
    }
    line
}

/// What a command says that put a state into a registry.
pub(super) fn report(state: &ChannelState, put: &Put) -> Report {
    let waits = match put {
        Put::Released => None,
        Put::Waits(why, file) => Some((why.as_str(), file)),
    };
    let mut report = Report::new(json!({
        "state": state, "released": waits.is_none(), "waits": waits.map(|(why, _)| why),
        "file": waits.map(|(_, file)| file),
    }));
    let word = if waits.is_none() { "released" } else { "waits" };
    report.row(word, line(state)).row("sequence", state.sequence).row("until", state.expires);
    match waits {
        None => report
            .row("next", format!("{GOOD}hosts that follow this registry take it up by themselves{GOOD:#}")),
        Some((why, file)) => report
            .row("why", why)
            .row("in", file.display())
            .row("next", "verdict cosign, with the key of another releaser"),
    };
    report
}
