//! `verdict config`: the settings of `verdict serve`, before it has to start with them.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::Subcommand;
use serde_json::{Map, Value, json};

use super::serve_check;
use crate::error::Error;
use crate::exit;
use crate::report::{DIM, GOOD, Report};
use crate::settings::{Found, Key, Origin, Settings, schema};

/// What stands for a password.
const HIDDEN: &str = "***";

/// Check, show and describe the settings of `verdict serve`
#[derive(clap::Args)]
#[command(arg_required_else_help = true)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: ConfigCommand,
}

#[derive(Subcommand)]
enum ConfigCommand {
    /// Say whether `verdict serve` would start with these settings, and what is wrong with them
    #[command(after_help = "Example: verdict config check verdict.toml")]
    Check(Place),
    /// Print the settings that count, and where each comes from
    #[command(after_help = "Example: verdict config show verdict.toml -- --listen 127.0.0.1:9000")]
    Show(Place),
    /// Print the JSON Schema (draft 2020-12) of the file
    #[command(after_help = "Example: verdict config schema > verdict.schema.json")]
    Schema,
}

// Where settings are. Not a comment for the documentation: it would be what the commands say of themselves.
#[derive(clap::Args)]
struct Place {
    /// The file; that of `VERDICT_CONFIG`, if left out
    file: Option<PathBuf>,
    /// Flags of `verdict serve` that go with it
    #[arg(last = true, value_name = "FLAGS")]
    flags: Vec<OsString>,
}

/// Runs the command.
pub(crate) fn run(args: &Args) -> Result<Report, Error> {
    match &args.command {
        ConfigCommand::Check(place) => check(&place.settings()?),
        ConfigCommand::Show(place) => show(&place.settings()?),
        ConfigCommand::Schema => {
            let schema = schema(&Settings::of(None, &[])?.keys);
            let mut report = Report::new(schema.clone());
            report.line(serde_json::to_string_pretty(&schema).unwrap_or_default());
            Ok(report)
        }
    }
}

impl Place {
    fn settings(&self) -> Result<Settings, Error> {
        Settings::of(self.file.as_deref(), &self.flags)
    }
}

/// Whether `verdict serve` would start with these; exits as that would.
fn check(settings: &Settings) -> Result<Report, Error> {
    let args = settings.serve()?;
    let problems = serve_check::problems(&args, settings);
    let file = settings.file.as_ref().map(|file| file.path.display().to_string());
    let mut report = Report::new(json!({
        "ok": problems.is_empty(), "file": file,
        "problems": problems.iter().map(Error::to_json).collect::<Vec<_>>(),
    }));
    for key in &settings.keys {
        let has_password = |found: &Found| found.values.iter().any(|value| shown(value) != *value);
        if let Some(found) = settings.found(key).filter(|found| has_password(found)) {
            let place = settings.place(&key.name, &found.origin);
            report.warn(format!(
                "`{}` has a password in it ({place}); leave it out, and keep it in the file of `PGPASSFILE`",
                key.name
            ));
        }
    }
    if problems.is_empty() {
        report.line(format!("{GOOD}ok{GOOD:#}: `verdict serve` can start with these settings"));
    }
    for problem in &problems {
        report.line(problem.one_line());
        report.exit(exit::UNUSABLE);
    }
    Ok(report)
}

/// Each setting, and where it comes from.
fn show(settings: &Settings) -> Result<Report, Error> {
    // What does not go together is no setting.
    settings.serve()?;
    let mut rows = Vec::new();
    let mut members = Map::new();
    for key in &settings.keys {
        let (value, origin) = setting(settings, key);
        let words = origin_in_words(&origin);
        if !value.is_null() {
            rows.push((format!("{} = {value}", key.name), words));
        }
        members.insert(key.name.clone(), json!({ "value": value, "origin": origin }));
    }
    let file = settings.file.as_ref().map(|file| file.path.display().to_string());
    let mut report = Report::new(json!({ "file": file, "settings": members }));
    let width = rows.iter().map(|(row, _)| row.chars().count()).max().unwrap_or_default().min(60);
    for (row, words) in rows {
        report.line(format!("{row:<width$}  {DIM}# {words}{DIM:#}"));
    }
    Ok(report)
}

/// A setting, and where it comes from, in JSON.
fn setting(settings: &Settings, key: &Key) -> (Value, Value) {
    let in_file = |span| {
        let file = settings.file.as_ref();
        let path = file.map(|file| file.path.display().to_string());
        json!({ "kind": "file", "file": path, "line": file.map(|file| file.line(span)) })
    };
    if let Some((budgets, span)) = settings.budgets().filter(|_| key.is_budgets()) {
        return (serde_json::to_value(budgets).unwrap_or_default(), in_file(span));
    }
    let Some(found) = settings.found(key) else {
        return (key.value(&key.defaults()), json!({ "kind": "default" }));
    };
    let values: Vec<String> = found.values.iter().map(|value| shown(value)).collect();
    let origin = match &found.origin {
        Origin::Flag => json!({ "kind": "flag", "flag": format!("--{}", key.name) }),
        Origin::Variable(name) => json!({ "kind": "environment", "variable": name }),
        Origin::File(span) => in_file(span),
    };
    (key.value(&values), origin)
}

fn origin_in_words(origin: &Value) -> String {
    let text = |name: &str| origin.get(name).and_then(Value::as_str).unwrap_or_default();
    match text("kind") {
        "file" => format!("{}:{}", text("file"), origin.get("line").cloned().unwrap_or_default()),
        "environment" => text("variable").to_owned(),
        "flag" => text("flag").to_owned(),
        kind => kind.to_owned(),
    }
}

/// A value without the password that an address may have.
fn shown(value: &str) -> String {
    let Some((scheme, rest)) = value.split_once("://") else { return value.to_owned() };
    let (before, query) = rest.split_once('?').map_or((rest, None), |(before, query)| (before, Some(query)));
    let before = match before.rsplit_once('@') {
        Some((user, host)) => match user.split_once(':') {
            Some((name, _)) => format!("{name}:{HIDDEN}@{host}"),
            None => before.to_owned(),
        },
        None => before.to_owned(),
    };
    let hidden = |pair: &str| match pair.split_once('=') {
        Some((name, _)) if name.contains("password") => format!("{name}={HIDDEN}"),
        _ => pair.to_owned(),
    };
    let query = query.map(|query| query.split('&').map(hidden).collect::<Vec<_>>().join("&"));
    format!("{scheme}://{before}{}", query.map_or_else(String::new, |query| format!("?{query}")))
}

#[cfg(test)]
mod tests {
    use super::shown;

    #[test]
    fn never_shows_a_password() {
        for (value, told) in [
            (
                "postgres://verdict:s3:cr@t@db/verdict?sslmode=verify-full",
                "postgres://verdict:***@db/verdict?sslmode=verify-full",
            ),
            ("postgres://db/verdict?password=secret&user=x", "postgres://db/verdict?password=***&user=x"),
            ("postgres://verdict@db/verdict", "postgres://verdict@db/verdict"),
            ("https://verdict.example:8443", "https://verdict.example:8443"),
            ("/var/lib/verdict", "/var/lib/verdict"),
        ] {
            assert_eq!(shown(value), told);
        }
    }
}
