//! The `verdict` command: from an empty folder to a signed policy that answers over HTTP, and to the proof of what it
//! answered.
//!
//! Three nouns: a *project* is a policy's folder with its `policy.toml`, a *build* is the component and manifest that
//! came of it in an OCI image layout, a *receipt* proves a decision. Every command is a function from its arguments
//! to a [`report::Report`] or an [`error::Error`]; both can be read by people and, with `--json`, by machines.
//!
//! ```console
//! $ verdict keys new
//! $ verdict new loan
//! $ cd loan && verdict build
//! $ verdict sign --key ../author.key
//! $ verdict serve . --trust ../trust.json
//! ```

mod builds;
mod cases;
mod clock;
mod commands;
mod component;
mod error;
mod evaluation;
mod exit;
mod files;
mod languages;
mod place;
mod project;
mod releases;
mod remote;
mod report;
mod schema;
mod settings;
mod signer;
mod subject;

use std::process::ExitCode;

use clap::Parser;
use clap::error::ErrorKind;

use commands::Command;
use error::{Error, Problem};
use settings::Settings;

const LONG_ABOUT: &str = "\
Policies that answer with proof.

A policy is a signed WebAssembly component. `verdict` builds, signs, tests and serves it; every decision that it makes
is written into a Merkle log before the caller is told, and can be proved and repeated.";

/// Policies that answer with proof.
#[derive(Parser)]
#[command(name = "verdict", version, about, long_about = LONG_ABOUT, after_long_help = exit::TABLE)]
#[command(propagate_version = true, arg_required_else_help = true)]
struct Cli {
    /// Print one JSON document on stdout; errors too, as {"error": {"code", "message", "help"}}
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: Command,
}

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return unparsed(&error),
    };
    cli.command.run(cli.json).unwrap_or_else(|error| {
        error.show(cli.json);
        error.exit_code()
    })
}

/// What the command line alone does not say, the environment and a file may.
fn unparsed(error: &clap::Error) -> ExitCode {
    if is_shown(error) {
        return usage(error);
    }
    match Settings::of_process() {
        Ok(Some(settings)) if !settings.are_flags_alone() => {
            let run = settings.parse().and_then(|cli| cli.command.run(cli.json));
            run.unwrap_or_else(|error| failed(&error))
        }
        Ok(_) => usage(error),
        Err(error) => failed(&error),
    }
}

fn failed(error: &Error) -> ExitCode {
    error.show(asks_for_json());
    error.exit_code()
}

fn asks_for_json() -> bool {
    std::env::args_os().any(|argument| argument == "--json")
}

fn is_shown(error: &clap::Error) -> bool {
    matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion)
}

/// Help and version go to stdout as they are; a wrong command line is an error like the others.
fn usage(error: &clap::Error) -> ExitCode {
    let shown = is_shown(error);
    if !shown && asks_for_json() {
        let text = error.render().to_string();
        let message = text.trim_start_matches("error: ").split("\n\n").next().unwrap_or_default().trim();
        let help = "see `verdict --help`";
        Error::Unusable(Problem::new("usage", message).help(help)).show(true);
    } else {
        // Nobody is left to tell if this fails.
        let _ = error.print();
    }
    ExitCode::from(if shown { exit::DONE } else { exit::UNUSABLE })
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_is_consistent() {
        super::Cli::command().debug_assert();
    }
}
