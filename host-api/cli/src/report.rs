//! What a command says when it did what was asked: for people and, with `--json`, for machines.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::process::ExitCode;
use std::time::Duration;

use anstyle::{AnsiColor, Style};
use serde_json::value::{RawValue, to_raw_value};

/// For what is well.
pub(crate) const GOOD: Style = AnsiColor::Green.on_default();
/// For what is not.
pub(crate) const BAD: Style = AnsiColor::Red.on_default();
/// For what deserves a look.
pub(crate) const WARN: Style = AnsiColor::Yellow.on_default();
/// For what names the things beside it.
pub(crate) const DIM: Style = Style::new().dimmed();

/// What a command says at its end, in both forms, and its exit status.
pub(crate) struct Report {
    json: BTreeMap<String, Box<RawValue>>,
    text: String,
    warnings: Vec<String>,
    exit: u8,
}

impl Report {
    /// A report with the object that `--json` prints.
    pub(crate) fn new(json: serde_json::Value) -> Self {
        let members = match json {
            serde_json::Value::Object(members) => members,
            _ => serde_json::Map::new(),
        };
        let json = members.iter().filter_map(|(name, value)| Some((name.clone(), to_raw_value(value).ok()?)));
        Self { json: json.collect(), text: String::new(), warnings: Vec::new(), exit: crate::exit::DONE }
    }

    /// Adds a member to the JSON object as the text that it is, so that numbers keep theirs.
    pub(crate) fn exact(&mut self, name: &str, text: &str) -> &mut Self {
        if let Ok(value) = RawValue::from_string(text.to_owned()) {
            self.json.insert(name.into(), value);
        }
        self
    }

    /// Adds a line.
    pub(crate) fn line(&mut self, line: impl AsRef<str>) -> &mut Self {
        self.text.push_str(line.as_ref());
        self.text.push('\n');
        self
    }

    /// Adds a name and what it stands for, in two columns.
    pub(crate) fn row(&mut self, name: &str, value: impl std::fmt::Display) -> &mut Self {
        // Writing to a string cannot fail.
        let _ = writeln!(self.text, "{DIM}{name:<12}{DIM:#} {value}");
        self
    }

    /// Adds something to look at; it goes to stderr, and into the JSON document as `warnings`.
    pub(crate) fn warn(&mut self, warning: impl Into<String>) -> &mut Self {
        self.warnings.push(warning.into());
        self
    }

    /// Ends the command with this exit status.
    pub(crate) fn exit(&mut self, exit: u8) -> &mut Self {
        self.exit = exit;
        self
    }

    /// Prints the report and says how to exit.
    pub(crate) fn show(mut self, json: bool) -> ExitCode {
        for warning in &self.warnings {
            anstream::eprintln!("{WARN}warning{WARN:#}: {warning}");
        }
        if json {
            if let Some(warnings) = to_raw_value(&self.warnings).ok().filter(|_| !self.warnings.is_empty()) {
                self.json.insert("warnings".into(), warnings);
            }
            anstream::println!("{}", serde_json::to_string(&self.json).unwrap_or_default());
        } else {
            anstream::print!("{}", self.text);
        }
        ExitCode::from(self.exit)
    }
}

/// Shows on a terminal that something takes its time; elsewhere it shows nothing.
pub(crate) fn spinner(what: &'static str) -> indicatif::ProgressBar {
    let spinner = indicatif::ProgressBar::new_spinner().with_message(what);
    spinner.enable_steady_tick(Duration::from_millis(120));
    spinner
}

/// A number with separators between thousands.
pub(crate) fn thousands(number: u64) -> String {
    indicatif::HumanCount(number).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_numbers_can_be_read() {
        assert_eq!(thousands(1_234_567), "1,234,567");
    }
}
