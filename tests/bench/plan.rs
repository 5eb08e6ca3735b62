//! What the program of the decisions is to measure: which policies, with which questions.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};
use verdict_tests::server::{library, root, text, verdict_ok};

use crate::{INPUT, POLICY, data, process};

/// 82 bytes on one line; the second rule allows.
const SMALL_INPUT: &str =
    r#"{"user": "ann@example.eu", "role": "clerk", "owner": "ann@example.eu", "action": "close"}"#;

/// A case of each policy of the library but [`POLICY`]: policy, file of cases, name of the case.
const CASES: [(&str, &str, &str); 4] = [
    ("loan-eligibility", "eligible", "an ordinary application is eligible"),
    ("agent-guardrail", "call", "a file in the workspace may be read"),
    ("kubernetes-admission", "allowed-repos", "the second prefix counts"),
    ("document-sharing", "sharing", "the owner of a folder above reads"),
];

/// Random hierarchies of each size in the paper, and questions of each.
const HIERARCHIES: [&str; 2] = ["3", "20"];

const GENERATING_TIME_MAX: Duration = Duration::from_secs(20);

/// The folder of what this makes.
fn folder() -> PathBuf {
    let folder = root().join("target/bench/questions");
    std::fs::create_dir_all(&folder).expect("a folder can be made");
    folder
}

/// Writes the plan and the questions, builds the policies, and returns where the plan is.
pub(crate) fn write(gdrive: Option<&Path>) -> PathBuf {
    let small = [json!({"rule": "allow", "input": json_of(SMALL_INPUT), "expect": true})];
    let mut plan = vec![
        json!({
            "figure": "decide.rust", "build": own("small"), "questions": questions("small", &small), "tails": true,
            "measures": ["pristine", "nofuel", "new", "warm", "text", "threads"],
        }),
        json!({
            "figure": "decide.big", "build": own("big"), "questions": questions("big", &small),
            "measures": ["pristine", "new", "warm"],
        }),
        rbac(),
    ];
    plan.extend(CASES.iter().map(|(policy, file, case)| of_library(policy, file, case)));
    plan.extend(gdrive.map(|questions| {
        json!({
            "figure": "decide.gdrive", "build": library().join("document-sharing"), "questions": questions,
            "measures": ["pristine"], "answers": "gdrive",
        })
    }));
    file_of("plan.json", Value::from(plan).to_string())
}

fn file_of(name: &str, text: String) -> PathBuf {
    let path = folder().join(name);
    std::fs::write(&path, text).expect("a file can be written");
    path
}

fn json_of(text: &str) -> Value {
    serde_json::from_str(text).expect("a constant is JSON")
}

/// A policy that only the bench has, built.
fn own(name: &str) -> PathBuf {
    let out = root().join("target/bench/policies").join(name);
    verdict_ok(&["build", text(&root().join("tests/bench/policies").join(name)), "--out", text(&out)]);
    out
}

/// A file with these questions, one a line.
fn questions(name: &str, questions: &[Value]) -> PathBuf {
    file_of(&format!("{name}.jsonl"), questions.iter().map(|question| format!("{question}\n")).collect())
}

/// The policy that is asked everywhere, and whose loading is timed.
fn rbac() -> Value {
    let question = json!({"rule": "allow", "input": json_of(INPUT), "expect": true});
    json!({
        "figure": format!("decide.library.{POLICY}"), "build": library().join(POLICY), "data": data(),
        "questions": questions(POLICY, &[question]), "measures": ["pristine", "nofuel", "warm", "text"],
        "loads": true, "answers": "rbac",
    })
}

fn of_library(policy: &str, file: &str, name: &str) -> Value {
    let folder = root().join("guest-policies/library").join(policy);
    let cases = std::fs::read_to_string(folder.join("cases").join(file).with_extension("json"));
    let cases = json_of(&cases.expect("the cases can be read"));
    let case = cases["cases"].as_array().into_iter().flatten().find(|case| case["name"] == name);
    let case = case.unwrap_or_else(|| panic!("`{policy}` has no case `{name}`"));
    let mut question =
        json!({"rule": case["rule"], "input": case["input"], "expect": case["expect"]["value"]});
    if let Some(time) = case.get("decision_time") {
        question["decision_time"] = time.clone();
    }
    json!({
        "figure": format!("decide.library.{policy}"), "build": library().join(policy),
        "data": cases.get("data").map(|data| file_of(&format!("{policy}.data.json"), data.to_string())),
        "questions": questions(policy, &[question]), "measures": ["pristine", "nofuel", "warm"],
    })
}

/// Where the questions are that Cedar is asked too; none if their generator was not built.
pub(crate) fn gdrive() -> Option<PathBuf> {
    let program = std::env::var_os("VERDICT_BENCH_QUESTIONS")?;
    let lines = process::output(Command::new(program).args(HIERARCHIES), GENERATING_TIME_MAX);
    Some(file_of("gdrive.jsonl", lines))
}
