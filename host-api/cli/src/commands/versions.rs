//! `verdict versions`: what was published of a policy, and what others said about it.

use serde_json::{Value, json};
use verdict_core::name::PolicyName;

use super::catalogue::{self, ListArgs, text};
use crate::error::{Error, Problem};
use crate::place::ServerArgs;
use crate::report::Report;

/// List the versions of a policy on a server, the newest first, or show one with the statements about it
///
/// Nothing is verified: what it may do, `verdict pull` and `verdict verify` say, and every host again.
#[derive(clap::Args)]
#[command(after_help = "Example: verdict versions bank/loan --server https://verdict.example
One:     verdict versions bank/loan@1.2.0 --server https://verdict.example")]
pub(crate) struct Args {
    /// The policy, `tenant/name`, or one version, `tenant/name@version`
    #[arg(value_name = "POLICY[@VERSION]")]
    what: String,
    #[command(flatten)]
    list: ListArgs,
    #[command(flatten)]
    server: ServerArgs,
}

/// Runs the command.
pub(crate) fn run(args: &Args) -> Result<Report, Error> {
    let (policy, version) = match args.what.split_once('@') {
        Some((policy, version)) => (policy, Some(version)),
        None => (args.what.as_str(), None),
    };
    let policy: PolicyName = policy.parse().map_err(|error| usage(&error))?;
    let server = args.server.required()?;
    let path = ["v1", "tenants", policy.tenant().as_str(), "policies", policy.name(), "versions"];
    let Some(version) = version else { return args.list.report(&server, "versions", &path, &[], line) };
    let version: semver::Version = version.parse().map_err(|error| usage(&error))?;
    let version = version.to_string();
    let path = [&path[..], &[&version]].concat();
    let found = server.read_json(&path, &[])?;
    let (statements, _) = server.list_json(&[&path[..], &["statements"]].concat(), &[], args.list.limit())?;
    let mut report = catalogue::show(
        "version",
        found,
        &[
            "policy",
            "version",
            "status",
            "image",
            "statement",
            "component",
            "predecessor",
            "published",
            "published_by",
        ],
    );
    for statement in &statements {
        let (kind, by) = (text(statement, "predicate_type"), text(statement, "attached_by"));
        report.row("statement", format!("{kind}  {}, attached by {by}", text(statement, "envelope")));
    }
    report.exact("statements", &json!(statements).to_string());
    Ok(report)
}

fn usage(error: &dyn std::fmt::Display) -> Error {
    let problem = Problem::new("usage", error.to_string());
    Error::Unusable(problem.help("expected `tenant/name` or `tenant/name@version`"))
}

fn line(version: &Value) -> String {
    let in_channels = version.get("channels").and_then(Value::as_array).into_iter().flatten();
    let names: Vec<_> = in_channels.map(|one| text(one, "channel")).collect();
    let (number, status, image) = (text(version, "version"), text(version, "status"), text(version, "image"));
    format!("{number:<16} {status:<9} {image}  {}", names.join(", "))
}
