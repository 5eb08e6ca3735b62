//! `verdict faults` and `verdict refusals`: the tables of codes, for people and for programs that branch on them.

use serde_json::json;
use verdict_core::outcome::FaultCode;
use verdict_core::refusal::RefusalCode;

use crate::report::Report;

/// Show the codes of faults, and whose fault each is
#[derive(clap::Args)]
#[command(long_about = faults_about(), after_help = "Example: verdict --json faults")]
pub(crate) struct FaultArgs {}

/// Show the codes of refusals, what each means and what to do
#[derive(clap::Args)]
#[command(long_about = refusals_about(), after_help = "Example: verdict --json refusals")]
pub(crate) struct RefusalArgs {}

fn faults_about() -> String {
    let lines = FaultCode::ALL.iter().map(|code| format!("\n  {:<16} {}", code.code(), whose(*code)));
    format!(
        "Why a question got no answer. A fault is never an answer, and never allows.\n{}",
        lines.collect::<String>()
    )
}

fn whose(code: FaultCode) -> String {
    let party = format!("{:?}'s fault", code.party()).to_lowercase();
    let replayable =
        if code.is_replayable() { "a replay comes to the same" } else { "depends on the machine" };
    format!("the {party}; {replayable}")
}

fn refusals_about() -> String {
    let row = |code: &RefusalCode| format!("\n  {code}\n      {}: {}", code.meaning(), code.remedy());
    let lines = RefusalCode::ALL.iter().map(row);
    format!("Why an artifact may not answer, in the order of the checks.\n{}", lines.collect::<String>())
}

/// Runs `verdict faults`.
pub(crate) fn faults() -> Report {
    let row =
        |code: &FaultCode| json!({ "code": code, "party": code.party(), "replayable": code.is_replayable() });
    let mut report = Report::new(json!({ "faults": FaultCode::ALL.iter().map(row).collect::<Vec<_>>() }));
    report.line(faults_about());
    report
}

/// Runs `verdict refusals`.
pub(crate) fn refusals() -> Report {
    let row =
        |code: &RefusalCode| json!({ "code": code, "meaning": code.meaning(), "remedy": code.remedy() });
    let mut report = Report::new(json!({ "refusals": RefusalCode::ALL.iter().map(row).collect::<Vec<_>>() }));
    report.line(refusals_about());
    report
}
