//! `verdict test`: a policy's cases, asked and compared.

use std::path::PathBuf;

use jsonschema::Validator;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use verdict_core::manifest::{Manifest, Rule};
use verdict_core::outcome::{Answer, Fault, FaultCode};
use verdict_core::time::Timestamp;
use verdict_engine::{Document, Outcome, Policy, Query};

use crate::cases::{self, Case, CaseFile, Expect};
use crate::error::{Error, Problem};
use crate::evaluation;
use crate::exit;
use crate::report::{BAD, GOOD, Report, spinner, thousands};
use crate::schema;

const DATA_BYTES_MAX: u64 = 256 << 20;

/// Build a policy, ask it the questions in `cases/*.json`, and compare the answers
///
/// A case is data: `{"name": …, "rule": …, "input": …, "expect": {…}}`, with `data` and `decision_time` where the
/// policy reads them; without one it sees 1970-01-01T00:00:00.000Z. `expect` has one or more of value, undefined, allow,
/// reasons (their codes, in order), fault and failure_code. Inputs and values are checked against the manifest's JSON Schemas.
#[derive(clap::Args)]
#[command(after_help = "Example: verdict test guest-policies/library/loan-eligibility")]
pub(crate) struct Args {
    /// The policy's folder
    #[arg(default_value = ".")]
    dir: PathBuf,
}

/// What was expected and what came instead.
struct Difference {
    what: &'static str,
    expected: String,
    got: String,
}

/// A rule's schemas, compiled.
struct Schemas {
    rule: String,
    input: Option<Validator>,
    output: Option<Validator>,
}

/// Runs the command.
pub(crate) fn run(args: &Args) -> Result<Report, Error> {
    let files = cases::read_all(&args.dir)?;
    let build = super::build::current(&args.dir)?;
    let policy = evaluation::load(&build, None)?;
    let schemas = schemas(policy.manifest())?;
    let progress = spinner("testing");
    let mut results = Vec::new();
    for file in &files {
        for case in &file.cases {
            results.push((file, case, check(&policy, &schemas, file, case)));
            progress.inc(1);
        }
    }
    progress.finish_and_clear();
    Ok(report(&results))
}

fn report(results: &[(&CaseFile, &Case, Vec<Difference>)]) -> Report {
    let failed = results.iter().filter(|(_, _, differences)| !differences.is_empty()).count();
    let passed = results.len() - failed;
    let json = results.iter().map(|(file, case, differences)| {
        let differences = differences.iter().map(|Difference { what, expected, got }| {
            json!({ "what": what, "expected": expected, "got": got })
        });
        let differences = differences.collect::<Vec<_>>();
        json!({ "file": file.path, "name": case.name, "ok": differences.is_empty(), "differences": differences })
    });
    let json = json.collect::<Vec<_>>();
    let mut report = Report::new(json!({ "passed": passed, "failed": failed, "cases": json }));
    for (file, case, differences) in results.iter().filter(|(_, _, differences)| !differences.is_empty()) {
        report.line(format!("{BAD}failed{BAD:#} {}: {}", file.path.display(), case.name));
        for Difference { what, expected, got } in differences {
            report.line(format!("  {what:<12} expected {expected}"));
            report.line(format!("  {:<12} got      {got}", ""));
        }
    }
    let count = thousands(results.len() as u64);
    if failed == 0 {
        report.line(format!("{GOOD}ok{GOOD:#}: {count} cases passed"));
    } else {
        report.line(format!("{BAD}{failed} of {count} cases failed{BAD:#}")).exit(exit::REFUSED);
    }
    report
}

fn schemas(manifest: &Manifest) -> Result<Vec<Schemas>, Error> {
    let compile = |schema: &Option<Value>| {
        let compiled = schema.as_ref().map(schema::compile).transpose();
        compiled.map_err(|error| {
            Error::Unusable(Problem::new("schema", error).help("correct the schema and build again"))
        })
    };
    let of = |rule: &Rule| {
        let (input, output) = (compile(&rule.input_schema)?, compile(&rule.output_schema)?);
        Ok(Schemas { rule: rule.name.to_string(), input, output })
    };
    manifest.rules.iter().map(of).collect()
}

/// Asks one case and says what differs.
fn check(policy: &Policy, schemas: &[Schemas], file: &CaseFile, case: &Case) -> Vec<Difference> {
    let Some(schemas) = schemas.iter().find(|schemas| schemas.rule == case.rule) else {
        let rules = schemas.iter().map(|schemas| schemas.rule.as_str()).collect::<Vec<_>>().join(", ");
        return vec![Difference {
            what: "rule",
            expected: format!("one of {rules}"),
            got: case.rule.clone(),
        }];
    };
    let outcome = match ask(policy, file, case) {
        Ok(outcome) => outcome,
        Err(difference) => return vec![difference],
    };
    let mut differences = compare(&case.expect, &outcome, policy.manifest());
    // An input that the policy is to refuse is no example of what it takes.
    if case.expect.fault != Some(FaultCode::InvalidInput) {
        differences.extend(violation("input schema", schemas.input.as_ref(), case.input.get()));
    }
    if let Ok(Answer { value: Some(value), .. }) = &outcome.result {
        differences.extend(violation("value schema", schemas.output.as_ref(), value));
    }
    differences
}

fn ask(policy: &Policy, file: &CaseFile, case: &Case) -> Result<Outcome, Difference> {
    let document = |what, text: &RawValue, bytes_max| {
        evaluation::parse(text.get(), bytes_max).map_err(|(error, offset)| Difference {
            what,
            expected: "a document".into(),
            got: format!("{error}, at byte {offset} of it"),
        })
    };
    let input: Document = document("input", &case.input, policy.limits().input_bytes)?;
    let data = case.data.as_deref().or(file.data.as_deref());
    let data = data.map(|data| document("data", data, DATA_BYTES_MAX)).transpose()?;
    let decision_time = case.decision_time.unwrap_or(Timestamp::EPOCH);
    Ok(policy.evaluate(&Query { rule: &case.rule, input: &input, data: data.as_ref(), decision_time }))
}

fn violation(what: &'static str, schema: Option<&Validator>, text: &str) -> Option<Difference> {
    let value = serde_json::from_str(text).ok()?;
    let found = schema::violations(schema?, &value);
    let expected = "what the schema describes".into();
    (!found.is_empty()).then(|| Difference { what, expected, got: found.join("; ") })
}

fn compare(expect: &Expect, outcome: &Outcome, manifest: &Manifest) -> Vec<Difference> {
    match &outcome.result {
        Ok(answer) => compare_answer(expect, answer, manifest),
        Err(fault) => compare_fault(expect, fault),
    }
}

fn compare_answer(expect: &Expect, answer: &Answer, manifest: &Manifest) -> Vec<Difference> {
    let mut differences = Vec::new();
    let mut differ = |what, expected: String, got: String| {
        if expected != got {
            differences.push(Difference { what, expected, got });
        }
    };
    let text = answer.value.as_deref().unwrap_or("undefined");
    if let Some(fault) = expect.fault {
        differ("fault", fault.to_string(), format!("the answer {text}"));
    }
    if let Some(code) = &expect.failure_code {
        differ("failure_code", code.clone(), format!("the answer {text}"));
    }
    if let Some(expected) = &expect.value {
        // Equal values may be written differently; what is shown is what was written.
        let equal = answer
            .value
            .as_ref()
            .is_some_and(|text| serde_json::from_str::<Value>(text).ok().as_ref() == Some(expected));
        differ("value", expected.to_string(), if equal { expected.to_string() } else { text.to_owned() });
    }
    if let Some(expected) = expect.undefined {
        differ("undefined", expected.to_string(), answer.value.is_none().to_string());
    }
    if let Some(expected) = expect.allow {
        differ("allow", expected.to_string(), answer.allows(manifest.allow.as_ref()).to_string());
    }
    if let Some(expected) = &expect.reasons {
        let got = answer.reasons.iter().map(|reason| reason.code.as_str()).collect::<Vec<_>>();
        differ("reasons", format!("[{}]", expected.join(", ")), format!("[{}]", got.join(", ")));
    }
    differences
}

fn compare_fault(expect: &Expect, fault: &Fault) -> Vec<Difference> {
    let got = format!("fault {}: {}", fault.code, fault.message);
    let mut differences = Vec::new();
    match expect.fault {
        Some(expected) if expected == fault.code => {}
        Some(expected) => differences.push(Difference { what: "fault", expected: expected.to_string(), got }),
        None if expect.failure_code.is_none() => {
            differences.push(Difference { what: "fault", expected: "an answer".into(), got });
        }
        None => {}
    }
    if let Some(expected) = &expect.failure_code
        && fault.policy_code.as_ref() != Some(expected)
    {
        let got = fault.policy_code.clone().unwrap_or_else(|| "none".into());
        differences.push(Difference { what: "failure_code", expected: expected.clone(), got });
    }
    let answers = [
        ("value", expect.value.is_some()),
        ("undefined", expect.undefined.is_some()),
        ("allow", expect.allow == Some(true)),
        ("reasons", expect.reasons.is_some()),
    ];
    for (what, _) in answers.into_iter().filter(|(_, expected)| *expected) {
        differences.push(Difference {
            what,
            expected: "an answer".into(),
            got: format!("fault {}", fault.code),
        });
    }
    differences
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expect(text: &str) -> Expect {
        serde_json::from_str(text).unwrap()
    }

    fn fault(code: FaultCode) -> Fault {
        Fault::new(code, "it happened")
    }

    #[test]
    fn a_fault_passes_only_where_it_is_expected() {
        let trap = fault(FaultCode::Trap);
        assert!(compare_fault(&expect(r#"{"fault": "trap"}"#), &trap).is_empty());
        for text in
            [r#"{"fault": "deadline"}"#, r#"{"allow": false}"#, r#"{"value": 1}"#, r#"{"failure_code": "x"}"#]
        {
            assert!(!compare_fault(&expect(text), &trap).is_empty(), "{text}");
        }
    }
}
