//! Kubernetes objects that other projects wrote, asked of the real server.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use verdict_tests::server::Site;
use verdict_tests::suites::{self, Report};

const RULES: [(&str, &str); 6] = [
    ("privileged-containers", "pod-security-policy/privileged-containers"),
    ("host-namespaces", "pod-security-policy/host-namespaces"),
    ("host-filesystem", "pod-security-policy/host-filesystem"),
    ("users", "pod-security-policy/users"),
    ("allow-privilege-escalation", "pod-security-policy/allow-privilege-escalation"),
    ("allowed-repos", "general/allowedrepos"),
];

fn entries(folder: &Path) -> Vec<PathBuf> {
    let mut paths: Vec<PathBuf> = folder.read_dir().unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths
}

fn read(path: &Path) -> Value {
    serde_saphyr::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

/// The `request` of a review; any other object is one that is created.
fn request(object: Value) -> Value {
    let mut request = match object.get("request") {
        Some(request) => request.clone(),
        None => json!({ "operation": "CREATE", "object": object }),
    };
    if request.get("kind").is_none() {
        request["kind"] = json!({ "group": "", "version": "v1", "kind": request["object"]["kind"] });
    }
    request
}

/// What the name of a sample says. A change of a running pod is allowed: these fields cannot be changed.
fn expected(name: &str) -> Option<bool> {
    match name {
        "constraint.yaml" => None,
        _ if name.contains("disallowed") => Some(false),
        _ if name.contains("allowed") || name == "update.yaml" => Some(true),
        _ => None,
    }
}

#[test]
fn samples_of_the_gatekeeper_library_come_out_as_their_names_say() {
    let Some(folder) = suites::folder("admission") else { return };
    let site = Site::new(&["kubernetes-admission"]);
    let server = site.serve(&[]);
    let mut report = Report::new("admission");
    let mut ask = |rule: &str, path: &Path, parameters: &Value, allow: bool| {
        let body =
            json!({ "rule": rule, "input": { "request": request(read(path)), "parameters": parameters } });
        let (status, answer) = server.decide("kubernetes-admission", &body.to_string());
        let reasons = answer["reasons"].as_array().is_some_and(|reasons| reasons.is_empty() == allow);
        let holds = status == 200 && answer["allow"] == json!(allow) && reasons;
        report.check(path.display(), holds, format!("{rule}: {status} {answer}"));
    };
    for (rule, samples) in RULES {
        for sample in entries(&folder.join("samples").join(samples).join("samples")) {
            let parameters = read(&sample.join("constraint.yaml"))["spec"]["parameters"].clone();
            for path in entries(&sample) {
                let name = path.file_name().unwrap().to_str().unwrap();
                if let Some(allow) = expected(name) {
                    ask(rule, &path, &parameters, allow);
                }
            }
        }
    }
    for (name, allow) in [
        ("pod_with_privileged_containers.json", false),
        ("pod_without_privileged_containers.json", true),
        ("privileged-pod-admission-review.json", false),
        ("unprivileged-pod-admission-review.json", true),
    ] {
        ask("privileged-containers", &folder.join("reviews").join(name), &Value::Null, allow);
    }
    report.finish();
}

#[test]
fn every_case_of_the_library_comes_out_as_expected() {
    let library = verdict_tests::server::root().join("guest-policies/library");
    for folder in entries(&library) {
        if folder.join("policy.toml").exists() {
            verdict_tests::server::verdict_ok(&["test", verdict_tests::server::text(&folder)]);
        }
    }
}
