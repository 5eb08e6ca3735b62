//! The interoperability cases of the AuthZEN working group, asked of the real server over HTTP.

use std::path::Path;

use serde_json::{Value, json};
use verdict_tests::server::{Server, Site, root};
use verdict_tests::suites::{self, Report};

/// A file's cases of one kind; drafts call it otherwise.
fn cases(file: &Value, names: &[&str]) -> Vec<(Value, Value)> {
    let lists = names.iter().filter_map(|name| file[name].as_array()).flatten();
    lists.map(|case| (case["request"].clone(), case["expected"].clone())).collect()
}

fn decisions(answer: &Value) -> Value {
    let decision = |it: &Value| json!({ "decision": it["decision"] });
    answer["evaluations"].as_array().map(|all| all.iter().map(decision).collect()).unwrap_or_default()
}

fn ask(server: &Server, path: &Path, report: &mut Report) -> (usize, usize) {
    let file: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    let (single, many) = (cases(&file, &["evaluation", "decisions"]), cases(&file, &["evaluations"]));
    let name = path.file_name().unwrap().to_str().unwrap();
    for (number, (request, expected)) in single.iter().enumerate() {
        let (status, answer) = server.post("/access/v1/evaluation", &request.to_string());
        let holds = status == 200 && answer["decision"] == *expected;
        report.check(format!("{name} {number}"), holds, format!("{request}: {status} {answer}"));
    }
    for (number, (request, expected)) in many.iter().enumerate() {
        let (status, answer) = server.post("/access/v1/evaluations", &request.to_string());
        let holds = status == 200 && decisions(&answer) == *expected;
        report.check(format!("{name} batch {number}"), holds, format!("{request}: {status} {answer}"));
    }
    (single.len(), many.len())
}

#[test]
fn the_interoperability_cases_come_out_as_expected() {
    let Some(folder) = suites::folder("authzen") else { return };
    let site = Site::new(&["todo-access"]);
    let data = root().join("guest-policies/library/todo-access/data.json");
    std::fs::copy(data, site.path("data/default.json")).unwrap();
    let server = site.serve(&["--authzen", "todo-access"]);
    let mut report = Report::new("authzen");
    let mut asked = (0, 0);
    for entry in folder.join("todo").read_dir().unwrap() {
        let (single, many) = ask(&server, &entry.unwrap().path(), &mut report);
        asked = (asked.0 + single, asked.1 + many);
    }
    assert!(asked.0 >= 40 && asked.1 >= 3, "{asked:?}");
    report.finish();
}
