//! `verdict tenants`: who has policies in the catalogue of a server.

use clap::Subcommand;
use serde_json::{Value, json};
use verdict_core::name::Tenant;

use super::catalogue::{self, ListArgs, text};
use crate::error::Error;
use crate::place::ServerArgs;
use crate::report::Report;

/// List, show, make and change the tenants of a server
#[derive(clap::Args)]
#[command(arg_required_else_help = true)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: TenantCommand,
}

#[derive(Subcommand)]
enum TenantCommand {
    List(All),
    Show(One),
    Create(Described),
    Change(Described),
}

/// List the tenants that you may see
#[derive(clap::Args)]
#[command(after_help = "Example: verdict tenants list --server https://verdict.example")]
struct All {
    #[command(flatten)]
    list: ListArgs,
    #[command(flatten)]
    server: ServerArgs,
}

/// Show a tenant
#[derive(clap::Args)]
struct One {
    /// The tenant
    tenant: Tenant,
    #[command(flatten)]
    server: ServerArgs,
}

/// Make a tenant, or change its description
#[derive(clap::Args)]
#[command(after_help = "Example: verdict tenants create bank --description 'The bank' --profile prod")]
struct Described {
    /// The tenant
    tenant: Tenant,
    /// What it is, for people
    #[arg(long, value_name = "TEXT", default_value = "")]
    description: String,
    #[command(flatten)]
    server: ServerArgs,
}

/// Runs the command.
pub(crate) fn run(args: &Args) -> Result<Report, Error> {
    match &args.command {
        TenantCommand::List(All { list, server }) => {
            list.report(&server.required()?, "tenants", &["v1", "tenants"], &[], line)
        }
        TenantCommand::Show(One { tenant, server }) => {
            Ok(show(server.required()?.read_json(&["v1", "tenants", tenant.as_str()], &[])?))
        }
        TenantCommand::Create(Described { tenant, description, server }) => {
            let body = json!({ "name": tenant, "description": description });
            Ok(show(server.required()?.create_json(&["v1", "tenants"], &body)?))
        }
        TenantCommand::Change(Described { tenant, description, server }) => {
            let body = json!({ "description": description });
            Ok(show(server.required()?.change_json(&["v1", "tenants", tenant.as_str()], &body)?))
        }
    }
}

fn line(tenant: &Value) -> String {
    format!("{:<24} {}", text(tenant, "name"), text(tenant, "description"))
}

fn show(tenant: Value) -> Report {
    catalogue::show("tenant", tenant, &["name", "description", "created"])
}
