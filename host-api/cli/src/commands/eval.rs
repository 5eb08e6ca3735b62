//! `verdict eval`: a policy's answer to one question, without a server.

use std::path::PathBuf;

use serde_json::json;
use verdict_core::manifest::Manifest;
use verdict_core::outcome::{Answer, Fault, Reason};
use verdict_core::pointer::Pointer;
use verdict_core::time::Timestamp;
use verdict_engine::{Document, Outcome, Policy, Query};

use crate::builds::Build;
use crate::clock;
use crate::error::{Error, Problem, nearest};
use crate::evaluation;
use crate::exit;
use crate::report::{BAD, GOOD, Report, thousands};

/// Ask a built policy a question and show its answer, reasons and fuel
///
/// This is a local evaluation: nothing is recorded and nothing can be proved of it. Without `--trust` the build need
/// not be signed: it is signed with a key that is thrown away at once, and evaluated under the same limits as on a host.
/// A denial is an answer, and exits with 0; a fault is not, and exits with 3.
#[derive(clap::Args)]
#[command(after_help = "Example: verdict eval --rule eligible --input application.json --explain")]
pub(crate) struct Args {
    /// The policy's folder, or that of a build
    #[arg(default_value = ".")]
    dir: PathBuf,
    /// The question; may be left out where the policy answers one only
    #[arg(long, value_name = "RULE")]
    rule: Option<String>,
    /// The input document; `-` is standard input
    #[arg(long, value_name = "FILE|-")]
    input: PathBuf,
    /// The data document: an object whose members are the tenant's documents
    #[arg(long, value_name = "FILE")]
    data: Option<PathBuf>,
    /// The time that the policy sees, RFC 3339; now, if left out
    #[arg(long, value_name = "TIME")]
    decision_time: Option<Timestamp>,
    /// Show what was read, what was absent, and what each reason rests on
    #[arg(long)]
    explain: bool,
    /// Verify the build's own signature with this trust file first
    #[arg(long, value_name = "FILE")]
    trust: Option<PathBuf>,
    /// Exit with 4 if the answer does not allow
    #[arg(long)]
    exit_code: bool,
}

/// What was asked, for the explanation.
struct Asked {
    rule: String,
    input: Document,
    data: Option<Document>,
    decision_time: Timestamp,
}

/// Runs the command.
pub(crate) fn run(args: &Args) -> Result<Report, Error> {
    const DATA_BYTES_MAX: u64 = 256 << 20;
    // With a trust file the signed build is asked, as a host would; without one, what the sources say now.
    let build = match args.trust {
        Some(_) => Build::open(&args.dir)?,
        None => super::build::current(&args.dir)?,
    };
    let rule = rule(build.manifest(), args.rule.as_deref())?;
    let policy = evaluation::load(&build, args.trust.as_deref())?;
    let asked = Asked {
        rule,
        input: evaluation::document(&args.input, policy.limits().input_bytes)?,
        data: args.data.as_deref().map(|path| evaluation::document(path, DATA_BYTES_MAX)).transpose()?,
        decision_time: match args.decision_time {
            Some(time) => time,
            None => clock::now()?,
        },
    };
    let outcome = policy.evaluate(&Query {
        rule: &asked.rule,
        input: &asked.input,
        data: asked.data.as_ref(),
        decision_time: asked.decision_time,
    });
    let mut report = report(&policy, &asked, &outcome, args.trust.is_some());
    if args.explain {
        explain(&mut report, policy.manifest(), &asked, &outcome);
    }
    let allowed = allows(&policy, &outcome);
    if args.exit_code && outcome.result.is_ok() && !allowed {
        report.exit(exit::DENIED);
    }
    Ok(report)
}

/// The rule that is asked.
fn rule(manifest: &Manifest, asked: Option<&str>) -> Result<String, Error> {
    let names = || manifest.rules.iter().map(|rule| rule.name.as_str());
    let known = || names().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
    let problem = match (asked, manifest.rules.as_slice()) {
        (None, [only]) => return Ok(only.name.to_string()),
        (Some(name), _) if manifest.rule(name).is_some() => return Ok(name.to_owned()),
        (None, _) => Problem::new("unknown-rule", format!("{} answers several rules", manifest.policy))
            .help(format!("say which with `--rule`: {}", known())),
        (Some(name), _) => {
            let problem = Problem::new("unknown-rule", format!("{} has no rule `{name}`", manifest.policy));
            match nearest(name, names()) {
                Some(near) => problem.help(format!("did you mean `{near}`?")),
                None => problem.help(format!("it answers {}", known())),
            }
        }
    };
    Err(Error::Unusable(problem))
}

fn allows(policy: &Policy, outcome: &Outcome) -> bool {
    let allow = policy.manifest().allow.as_ref();
    outcome.result.as_ref().is_ok_and(|answer| answer.allows(allow))
}

fn report(policy: &Policy, asked: &Asked, outcome: &Outcome, verified: bool) -> Report {
    let manifest = policy.manifest();
    let log = outcome.log.iter().map(|line| json!({ "code": line.code, "message": line.message }));
    let mut report = Report::new(json!({
        "policy": manifest.policy, "version": manifest.version, "component": manifest.component, "rule": asked.rule,
        "decision_time": asked.decision_time, "allow": allows(policy, outcome), "fault": outcome.result.as_ref().err(),
        "verified": verified, "recorded": false, "fuel_limit": policy.limits().fuel,
        "memory_bytes_peak": outcome.memory_bytes_peak, "log": log.collect::<Vec<_>>(), "reads": outcome.reads,
    }));
    match &outcome.result {
        Ok(answer) => {
            answer_rows(&mut report, answer, allows(policy, outcome), outcome.fuel, policy.limits().fuel)
        }
        Err(fault) => fault_rows(&mut report, fault),
    }
    report.row("memory", format!("{} bytes at most", thousands(outcome.memory_bytes_peak)));
    for line in &outcome.log {
        report.row("log", format!("{}: {}", line.code, line.message));
    }
    report.row("policy", format!("{} {}, local evaluation, not recorded", manifest.policy, manifest.version));
    report
}

fn answer_rows(report: &mut Report, answer: &Answer, allow: bool, fuel: u64, fuel_limit: u64) {
    let reasons = serde_json::to_string(&answer.reasons).unwrap_or_default();
    report.exact("reasons", &reasons).exact("fuel", &fuel.to_string());
    report.exact("undefined", if answer.value.is_none() { "true" } else { "false" });
    report.exact("value", answer.value.as_deref().unwrap_or("null"));
    report.row("allow", if allow { format!("{GOOD}yes{GOOD:#}") } else { format!("{BAD}no{BAD:#}") });
    report.row("value", answer.value.as_deref().unwrap_or("undefined"));
    for reason in &answer.reasons {
        report.row("reason", reason_line(reason));
    }
    report.row("fuel", format!("{} of {}", thousands(fuel), thousands(fuel_limit)));
}

fn reason_line(reason: &Reason) -> String {
    match &reason.reference {
        Some(reference) => format!("{}: {} [{reference}]", reason.code, reason.message),
        None => format!("{}: {}", reason.code, reason.message),
    }
}

fn fault_rows(report: &mut Report, fault: &Fault) {
    let code = fault.policy_code.as_ref().map_or(String::new(), |code| format!(", {code}"));
    let place = fault.pointer.as_ref().map_or(String::new(), |pointer| format!(" at `{pointer}`"));
    report
        .exit(exit::FAULT)
        .row("fault", format!("{BAD}{}{BAD:#}{code}: {}{place}", fault.code, fault.message));
}

/// What was read, once each, and what the reasons rest on.
fn explain(report: &mut Report, manifest: &Manifest, asked: &Asked, outcome: &Outcome) {
    let mut seen = std::collections::BTreeSet::new();
    report.line("").line("read:");
    for read in outcome.reads.iter() {
        let step = (read.document, read.operation, read.pointer, read.absent);
        if !seen.insert(format!("{step:?}")) {
            continue;
        }
        let document = if read.document == verdict_engine::Source::Input {
            Some(&asked.input)
        } else {
            asked.data.as_ref()
        };
        let what = match (read.absent, read.operation) {
            (true, _) => "absent".to_owned(),
            (false, verdict_engine::Operation::Keys) => "the names of its members".to_owned(),
            (false, _) => document.and_then(|document| excerpt(document, read.pointer)).unwrap_or_default(),
        };
        let source = serde_json::to_value(read.document).unwrap_or_default();
        report.line(format!("  {} {:<24} {what}", source.as_str().unwrap_or_default(), shown(read.pointer)));
    }
    let Ok(answer) = &outcome.result else { return };
    for reason in &answer.reasons {
        report.line(format!("{} rests on:", reason.code));
        for pointer in &reason.pointers {
            let value = excerpt(&asked.input, pointer).unwrap_or_else(|| "absent".into());
            report.line(format!("  input {:<24} {value}", shown(pointer)));
        }
        let reference = reason.reference.as_ref().and_then(|key| manifest.references.get(key));
        if let Some(reference) = reference {
            let url = reference.url.as_ref().map_or(String::new(), |url| format!(", {url}"));
            report.line(format!("  {}{url}", reference.title));
        }
        if reason.pointers.is_empty() && reference.is_none() {
            report.line("  nothing that the policy names");
        }
    }
}

fn shown(pointer: &str) -> &str {
    if pointer.is_empty() { "(the whole)" } else { pointer }
}

/// The beginning of what a document has at a pointer.
fn excerpt(document: &Document, pointer: &str) -> Option<String> {
    const CHARACTERS_MAX: usize = 60;
    let pointer: Pointer = pointer.parse().ok()?;
    let text = document.json(&pointer)?.split_ascii_whitespace().collect::<Vec<_>>().join(" ");
    let mut excerpt: String = text.chars().take(CHARACTERS_MAX).collect();
    if excerpt.len() < text.len() {
        excerpt.push('…');
    }
    Some(excerpt)
}
