//! `verdict api-keys`: by which a server knows people and programs.

use std::collections::BTreeSet;
use std::path::PathBuf;

use clap::Subcommand;
use serde_json::{Value, json};
use verdict_core::name::Tenant;
use verdict_core::time::Timestamp;

use super::catalogue::{self, ListArgs, text};
use crate::clock;
use crate::error::{Error, Problem};
use crate::files;
use crate::place::ServerArgs;
use crate::report::Report;

const DAY_MS: i64 = 24 * 60 * 60 * 1_000;

/// List, make and revoke the API keys of a server
#[derive(clap::Args)]
#[command(arg_required_else_help = true)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: KeyCommand,
}

#[derive(Subcommand)]
enum KeyCommand {
    List(All),
    Show(One),
    Create(New),
    Revoke(One),
}

/// List the keys that you may see; never the keys themselves
#[derive(clap::Args)]
struct All {
    /// Only those of this tenant
    #[arg(long, value_name = "TENANT")]
    tenant: Option<Tenant>,
    #[command(flatten)]
    list: ListArgs,
    #[command(flatten)]
    server: ServerArgs,
}

/// Show what a key is for, or revoke it: it stops at the next request
#[derive(clap::Args)]
struct One {
    /// The key's id, which is the middle of it
    #[arg(value_parser = id)]
    id: String,
    #[command(flatten)]
    server: ServerArgs,
}

/// Make a key. The server keeps its hash, so that it is shown once, or written to a file that only you can read
#[derive(clap::Args)]
#[command(
    after_help = "Example: verdict api-keys create --person rita --tenant bank --role operator --profile prod"
)]
struct New {
    /// Who it is for, as the trust policy calls them
    #[arg(long, value_name = "NAME")]
    person: String,
    /// The tenant that it is for; all, if left out
    #[arg(long, value_name = "TENANT")]
    tenant: Option<Tenant>,
    /// What it may do; may be repeated
    #[arg(long, value_name = "ROLE", required = true)]
    role: Vec<Role>,
    /// How many days it holds; until it is revoked, if left out
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i64).range(1..=3_650))]
    days: Option<i64>,
    /// The file to write the key to, for `--token-file`; never over another one. It is shown, if left out
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    #[command(flatten)]
    server: ServerArgs,
}

/// An id goes into addresses, which are logged; a key must not.
fn id(text: &str) -> Result<String, String> {
    if text.starts_with("verdict_") {
        return Err("this is a key, not its id: the id is between the two `_`".into());
    }
    let is_plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    if is_plain { Ok(text.into()) } else { Err("an id is letters and digits".into()) }
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
#[value(rename_all = "snake_case")]
enum Role {
    /// Everything in its tenant
    TenantAdmin,
    /// Everything
    SystemAdmin,
    /// Pushes versions
    Publisher,
    /// Attaches approvals and other statements
    Approver,
    /// Releases, rolls back, and puts data
    Operator,
    /// Reads everything, and changes nothing
    Auditor,
    /// Asks policies, and follows the registry
    Agent,
}

/// Runs the command.
pub(crate) fn run(args: &Args) -> Result<Report, Error> {
    match &args.command {
        KeyCommand::List(All { tenant, list, server }) => {
            let query: Vec<_> = tenant.iter().map(|tenant| ("tenant", tenant.as_str())).collect();
            list.report(&server.required()?, "keys", &["v1", "api-keys"], &query, line)
        }
        KeyCommand::Show(One { id, server }) => {
            Ok(show(server.required()?.read_json(&["v1", "api-keys", id], &[])?))
        }
        KeyCommand::Create(new) => create(new),
        KeyCommand::Revoke(One { id, server }) => {
            server.required()?.remove(&["v1", "api-keys", id])?;
            let mut report = Report::new(json!({ "revoked": id }));
            report.row("revoked", id);
            Ok(report)
        }
    }
}

fn create(new: &New) -> Result<Report, Error> {
    let roles: BTreeSet<_> = new.role.iter().collect();
    let name =
        |role: &&Role| clap::ValueEnum::to_possible_value(*role).map(|value| value.get_name().to_owned());
    let expires: Option<Timestamp> =
        new.days.map(|days| clock::from_now(days.saturating_mul(DAY_MS))).transpose()?;
    let mut body = json!({
        "person": new.person, "tenant": new.tenant, "roles": roles.iter().filter_map(name).collect::<Vec<_>>(),
    });
    if let (Some(expires), Some(body)) = (expires, body.as_object_mut()) {
        body.insert("expires".into(), json!(expires));
    }
    let server = new.server.required()?;
    // Before there is a key that would then be lost.
    if let Some(path) = new.out.as_deref().filter(|path| path.symlink_metadata().is_ok()) {
        let message = format!("`{}` exists, and is never written over", path.display());
        return Err(Error::Unusable(Problem::new("exists", message).help("name a new file")));
    }
    let mut made = server.create_json(&["v1", "api-keys"], &body)?;
    let key = text(&made, "key");
    let Some(path) = &new.out else {
        let mut report = show(made);
        report.row("key", key).warn("the key is not shown again; keep it where only its owner reads it");
        return Ok(report);
    };
    files::write_new(path, format!("{key}\n").as_bytes(), true)?;
    made.as_object_mut().map(|made| made.remove("key"));
    let mut report = show(made);
    report.row("written", path.display());
    Ok(report)
}

fn line(key: &Value) -> String {
    let revoked = if key.get("revoked").is_some_and(|revoked| !revoked.is_null()) { "  revoked" } else { "" };
    let (id, person, tenant) = (text(key, "id"), text(key, "person"), text(key, "tenant"));
    let tenant = if tenant.is_empty() { "all tenants".to_owned() } else { tenant };
    format!("{id:<20} {person:<16} {tenant:<16} {}{revoked}", text(key, "roles"))
}

fn show(key: Value) -> Report {
    catalogue::show("key", key, &["id", "person", "tenant", "roles", "created", "expires", "revoked"])
}
