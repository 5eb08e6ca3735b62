//! Every object of the Gatekeeper library's samples for these rules comes out as its name says. The samples are not
//! part of the project: `VERDICT_SUITES` names the folder with them, else the neighbour of the checkout is tried.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by a panic")]

use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use verdict_sdk::testing;

const RULES: [(&str, &str); 6] = [
    ("privileged-containers", "pod-security-policy/privileged-containers"),
    ("host-namespaces", "pod-security-policy/host-namespaces"),
    ("host-filesystem", "pod-security-policy/host-filesystem"),
    ("users", "pod-security-policy/users"),
    ("allow-privilege-escalation", "pod-security-policy/allow-privilege-escalation"),
    ("allowed-repos", "general/allowedrepos"),
];

fn samples() -> PathBuf {
    let suites = std::env::var_os("VERDICT_SUITES").map(PathBuf::from);
    let neighbour = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../../shared/suites");
    suites.unwrap_or_else(neighbour).join("admission/samples")
}

fn yaml(path: &Path) -> Value {
    serde_saphyr::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    let mut paths: Vec<PathBuf> = folder.read_dir().unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths
}

/// A review stays one; any other object is one that is created.
fn request(object: Value) -> Value {
    let mut request = match object.get("request") {
        Some(request) => request.clone(),
        None => json!({ "operation": "CREATE", "object": object }),
    };
    let kind = request["object"]["kind"].clone();
    request["kind"] = json!({ "group": "", "version": "v1", "kind": kind });
    request
}

/// What the name of a sample says; none for the constraint itself.
fn expected(name: &str) -> Option<bool> {
    match name {
        "constraint.yaml" => None,
        name if name.contains("disallowed") => Some(false),
        name if name.contains("allowed") || name == "update.yaml" => Some(true),
        name => panic!("a sample whose name says nothing: {name}"),
    }
}

#[test]
fn samples_come_out_as_their_names_say() {
    let root = samples();
    if !root.is_dir() {
        eprintln!("skipped: no samples at {}", root.display());
        return;
    }
    let mut asked = 0;
    for (rule, folder) in RULES {
        for sample in entries(&root.join(folder).join("samples")) {
            let parameters = yaml(&sample.join("constraint.yaml"))["spec"]["parameters"].clone();
            for path in entries(&sample) {
                let Some(allow) = expected(path.file_name().unwrap().to_str().unwrap()) else { continue };
                let input = json!({ "request": request(yaml(&path)), "parameters": parameters });
                let decision =
                    testing::with_input(&input.to_string(), || kubernetes_admission::decide(rule)).unwrap();
                let answer = if allow { r#"{"allow":true}"# } else { r#"{"allow":false}"# };
                assert_eq!(decision.json(), Some(answer), "{rule}: {}", path.display());
                assert_eq!(decision.reasons().is_empty(), allow, "{rule}: {}", path.display());
                asked += 1;
            }
        }
    }
    assert!(asked >= 27, "only {asked} samples");
}
