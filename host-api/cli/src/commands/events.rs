//! `verdict events`: what happened on a server, in order.

use std::ops::ControlFlow;
use std::process::ExitCode;

use serde_json::Value;
use verdict_core::name::Tenant;

use super::catalogue::{ListArgs, text};
use crate::error::Error;
use crate::exit;
use crate::place::ServerArgs;
use crate::report::DIM;

/// Show what happened on a server, in order: who changed what, and under which request
#[derive(clap::Args)]
#[command(after_help = "Example: verdict events --tenant bank --server https://verdict.example
Live:    verdict events --after 1200 --follow --json --profile prod")]
pub(crate) struct Args {
    /// Only what happened after the event with this number
    #[arg(long, value_name = "N", default_value_t = 0)]
    after: u64,
    /// Only what happened to this tenant
    #[arg(long, value_name = "TENANT")]
    tenant: Option<Tenant>,
    /// Go on with what happens from now on, until it is stopped; with `--json` one event a line
    #[arg(long)]
    follow: bool,
    #[command(flatten)]
    list: ListArgs,
    #[command(flatten)]
    server: ServerArgs,
}

/// Runs the command.
pub(crate) fn run(args: &Args, json: bool) -> Result<ExitCode, Error> {
    let server = args.server.required()?;
    let mut query: Vec<_> = args.tenant.iter().map(|tenant| ("tenant", tenant.as_str())).collect();
    if args.follow {
        server.follow_events(&query, args.after, |event| {
            if json {
                anstream::println!("{event}")
            } else {
                anstream::println!("{}", line(&event))
            }
            ControlFlow::Continue(())
        })?;
        return Ok(ExitCode::from(exit::DONE));
    }
    let after = args.after.to_string();
    query.push(("after", &after));
    Ok(args.list.report(&server, "events", &["v1", "events"], &query, line)?.show(json))
}

fn line(event: &Value) -> String {
    let number = event.get("event").and_then(Value::as_u64).unwrap_or_default();
    let (at, kind, subject) = (text(event, "at"), text(event, "kind"), text(event, "subject"));
    let (actor, digest) = (text(event, "actor"), text(event, "digest"));
    format!("#{number:<6} {at}  {kind:<20} {subject}  {DIM}by {actor}  {digest}{DIM:#}")
}
