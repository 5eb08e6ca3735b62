//! `verdict policies`: what the catalogue of a server says of policies. What runs, channels say: `verdict channels`.

use clap::Subcommand;
use serde_json::{Map, Value, json};
use verdict_core::name::{PolicyName, Tenant};

use super::catalogue::{self, ListArgs, text};
use crate::error::{Error, Problem};
use crate::place::ServerArgs;
use crate::report::Report;

/// List, show, make and change the policies of a server
#[derive(clap::Args)]
#[command(arg_required_else_help = true)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: PolicyCommand,
}

#[derive(Subcommand)]
enum PolicyCommand {
    List(All),
    Show(One),
    Create(Described),
    Change(Changed),
}

/// List the policies of a tenant
#[derive(clap::Args)]
#[command(after_help = "Example: verdict policies list bank --server https://verdict.example")]
struct All {
    /// The tenant
    tenant: Tenant,
    /// Only those that are `open`, or `archived`
    #[arg(long, value_name = "STATE")]
    state: Option<State>,
    /// Only those of this category
    #[arg(long, value_name = "TEXT")]
    category: Option<String>,
    #[command(flatten)]
    list: ListArgs,
    #[command(flatten)]
    server: ServerArgs,
}

/// Show a policy
#[derive(clap::Args)]
struct One {
    /// The policy, `tenant/name`
    policy: PolicyName,
    #[command(flatten)]
    server: ServerArgs,
}

/// Make a policy, before anything is pushed
#[derive(clap::Args)]
#[command(
    after_help = "Example: verdict policies create bank/loan --description 'Who gets a loan' --profile prod"
)]
struct Described {
    #[command(flatten)]
    one: One,
    #[command(flatten)]
    about: About,
}

/// Change what the catalogue says of a policy
#[derive(clap::Args)]
#[command(after_help = "Example: verdict policies change bank/loan --state archived --profile prod")]
struct Changed {
    #[command(flatten)]
    one: One,
    #[command(flatten)]
    about: About,
    /// `archived` policies take no new versions; `open` again
    #[arg(long, value_name = "STATE")]
    state: Option<State>,
}

/// What is said of a policy, for people.
#[derive(clap::Args)]
struct About {
    /// What it decides
    #[arg(long, value_name = "TEXT")]
    description: Option<String>,
    /// What it is listed with
    #[arg(long, value_name = "TEXT")]
    category: Option<String>,
    /// What else is to be known of it; may be repeated
    #[arg(long, value_name = "NAME=TEXT", value_parser = pair)]
    metadata: Vec<(String, String)>,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum State {
    Open,
    Archived,
}

impl State {
    fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Archived => "archived",
        }
    }
}

fn pair(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("expected `NAME=TEXT`")?;
    Ok((name.into(), value.into()))
}

impl About {
    /// The members that are given.
    fn body(&self) -> Map<String, Value> {
        let mut body = Map::new();
        let texts = [("description", &self.description), ("category", &self.category)];
        let texts = texts.into_iter().filter_map(|(name, text)| Some((name, text.clone()?)));
        body.extend(texts.map(|(name, text)| (name.into(), text.into())));
        if !self.metadata.is_empty() {
            let members = self.metadata.iter().map(|(name, text)| (name.clone(), text.as_str().into()));
            body.insert("metadata".into(), Value::Object(members.collect()));
        }
        body
    }
}

/// Runs the command.
pub(crate) fn run(args: &Args) -> Result<Report, Error> {
    match &args.command {
        PolicyCommand::List(args) => {
            let mut query = Vec::new();
            query.extend(args.state.map(|state| ("state", state.as_str())));
            query.extend(args.category.as_deref().map(|category| ("category", category)));
            let path = ["v1", "tenants", args.tenant.as_str(), "policies"];
            args.list.report(&args.server.required()?, "policies", &path, &query, line)
        }
        PolicyCommand::Show(one) => Ok(show(one.server.required()?.read_json(&path(&one.policy), &[])?)),
        PolicyCommand::Create(Described { one, about }) => {
            let mut body = about.body();
            body.insert("name".into(), one.policy.name().into());
            let path = ["v1", "tenants", one.policy.tenant().as_str(), "policies"];
            Ok(show(one.server.required()?.create_json(&path, &Value::Object(body))?))
        }
        PolicyCommand::Change(Changed { one, about, state }) => {
            let mut body = about.body();
            body.extend(state.map(|state| ("state".to_owned(), json!(state.as_str()))));
            if body.is_empty() {
                let problem = Problem::new("usage", "nothing is to be changed");
                return Err(Error::Unusable(problem.help("give `--description`, `--state` or another")));
            }
            Ok(show(one.server.required()?.change_json(&path(&one.policy), &Value::Object(body))?))
        }
    }
}

fn path(policy: &PolicyName) -> [&str; 5] {
    ["v1", "tenants", policy.tenant().as_str(), "policies", policy.name()]
}

fn line(policy: &Value) -> String {
    let channels = text(policy, "channels");
    format!(
        "{:<32} {:<9} {:<24} {}",
        text(policy, "name"),
        text(policy, "status"),
        channels,
        text(policy, "description")
    )
}

fn show(policy: Value) -> Report {
    catalogue::show(
        "policy",
        policy,
        &["name", "description", "category", "metadata", "state", "status", "channels", "created", "updated"],
    )
}
