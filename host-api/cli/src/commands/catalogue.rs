//! What the commands that show the catalogue of a server have in common: lists, and one thing with its members.

use serde_json::{Value, json};
use verdict_registry::remote::Server;

use crate::error::Error;
use crate::report::Report;

/// How much of a list.
#[derive(clap::Args)]
pub(super) struct ListArgs {
    /// How many are shown, at most
    #[arg(long, value_name = "N", default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    limit: u32,
}

impl ListArgs {
    pub(super) fn limit(&self) -> usize {
        usize::try_from(self.limit).unwrap_or(usize::MAX)
    }

    /// A list, one line an item.
    pub(super) fn report(
        &self,
        server: &Server,
        name: &str,
        path: &[&str],
        query: &[(&str, &str)],
        line: impl Fn(&Value) -> String,
    ) -> Result<Report, Error> {
        let (items, is_cut) = server.list_json(path, query, self.limit())?;
        let mut report = Report::new(json!({ name: items, "more": is_cut }));
        for item in &items {
            report.line(line(item).trim_end());
        }
        if items.is_empty() {
            report.line(format!("no {name}"));
        }
        if is_cut {
            report.warn(format!("there are more {name}; `--limit` shows them"));
        }
        Ok(report)
    }
}

/// One thing: the whole as JSON, and these members for people.
pub(super) fn show(name: &str, thing: Value, members: &[&str]) -> Report {
    let rows: Vec<_> = members.iter().map(|member| (*member, shown(thing.get(*member)))).collect();
    let mut report = Report::new(json!({ name: thing }));
    for (member, value) in rows.iter().filter(|(_, value)| !value.is_empty()) {
        report.row(member, value);
    }
    report
}

/// A member as text; empty where it is not there.
pub(super) fn text(thing: &Value, member: &str) -> String {
    shown(thing.get(member))
}

/// A value for a terminal. Somebody else wrote it.
fn shown(value: Option<&Value>) -> String {
    let text = match value {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => text.clone(),
        Some(Value::Array(values)) => {
            values.iter().map(|value| shown(Some(value))).collect::<Vec<_>>().join(", ")
        }
        Some(Value::Object(members)) => {
            let members = members.iter().map(|(name, value)| format!("{name}={}", shown(Some(value))));
            members.collect::<Vec<_>>().join(" ")
        }
        Some(other) => other.to_string(),
    };
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shows_what_others_wrote_without_what_a_terminal_would_obey() {
        let thing = json!({ "a": "x\u{1b}[2Jy", "b": ["p", "q"], "c": {"n": "v\n"}, "d": null, "e": 5 });
        let shown = ["a", "b", "c", "d", "e", "f"].map(|member| text(&thing, member));
        assert_eq!(shown, ["x [2Jy", "p, q", "n=v ", "", "5", ""]);
    }
}
