//! Kubernetes objects that other projects wrote, asked of the real server.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use verdict_tests::server::{Server, Site};
use verdict_tests::suites::{self, Report};

const RULES: [(&str, &str); 6] = [
    ("privileged-containers", "pod-security-policy/privileged-containers"),
    ("host-namespaces", "pod-security-policy/host-namespaces"),
    ("host-filesystem", "pod-security-policy/host-filesystem"),
    ("users", "pod-security-policy/users"),
    ("allow-privilege-escalation", "pod-security-policy/allow-privilege-escalation"),
    ("allowed-repos", "general/allowedrepos"),
];

const REVIEWS: [(&str, bool); 5] = [
    ("deployment_admission_review.json", true),
    ("pod_with_privileged_containers.json", false),
    ("pod_without_privileged_containers.json", true),
    ("privileged-pod-admission-review.json", false),
    ("unprivileged-pod-admission-review.json", true),
];

const ADMISSION: &str = "/v1/tenants/default/policies/kubernetes-admission/admission";

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
    for (name, allow) in REVIEWS {
        ask("privileged-containers", &folder.join("reviews").join(name), &Value::Null, allow);
    }
    report.finish();
}

/// A cluster sends no parameters: the policy has them from the tenant's data.
#[test]
fn samples_come_out_the_same_as_reviews_of_a_cluster() {
    let Some(folder) = suites::folder("admission") else { return };
    let site = Site::new(&["kubernetes-admission"]);
    let samples = |rule: &str| entries(&folder.join("samples").join(rule).join("samples"));
    let rounds = RULES.iter().map(|(_, path)| samples(path).len()).max().unwrap();
    let mut report = Report::new("admission as AdmissionReview");
    for round in 0..rounds {
        // Of each rule the next of its samples, as the parameters of a rule are the same for all.
        let now: Vec<(&str, PathBuf)> = RULES
            .iter()
            .filter_map(|(rule, path)| Some((*rule, samples(path).into_iter().nth(round)?)))
            .collect();
        let constraint = |sample: &Path| read(&sample.join("constraint.yaml"))["spec"]["parameters"].clone();
        let parameters: serde_json::Map<String, Value> =
            now.iter().map(|(rule, sample)| ((*rule).into(), constraint(sample))).collect();
        let data = json!({ "admission_parameters": parameters });
        std::fs::write(site.path("data/default.json"), data.to_string()).unwrap();
        let server = site.serve(&[]);
        for (rule, sample) in now {
            for path in entries(&sample) {
                let Some(allow) = expected(path.file_name().unwrap().to_str().unwrap()) else { continue };
                let request = request(read(&path));
                let (holds, why) = as_a_review(&server, rule, request, &parameters[rule]);
                report.check(path.display(), holds == Some(allow), format!("{rule}: {why}"));
            }
        }
    }
    let server = site.serve(&[]);
    for (name, allow) in REVIEWS {
        // As the file has it, byte for byte.
        let review = std::fs::read_to_string(folder.join("reviews").join(name)).unwrap();
        let (status, answer) = server.post(&format!("{ADMISSION}/privileged-containers"), &review);
        let (response, uid) =
            (&answer["response"], &read(&folder.join("reviews").join(name))["request"]["uid"]);
        let holds = status == 200 && response["uid"] == *uid && response["allowed"] == json!(allow);
        report.check(name, holds, format!("{status} {answer}"));
    }
    let raw = std::fs::read_to_string(folder.join("reviews/raw_review.json")).unwrap();
    let (status, answer) = server.post(&format!("{ADMISSION}/privileged-containers"), &raw);
    report.check("raw_review.json", status == 400, format!("no AdmissionReview: {status} {answer}"));
    report.finish();
}

/// Whether a review is allowed, where its answer is that of a question with the same parameters.
fn as_a_review(
    server: &Server,
    rule: &str,
    mut request: Value,
    parameters: &Value,
) -> (Option<bool>, String) {
    let asked = json!({ "rule": rule, "input": { "request": request, "parameters": parameters } });
    let (_, asked) = server.decide("kubernetes-admission", &asked.to_string());
    request["uid"] = "5f6a".into();
    let review =
        json!({ "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": request });
    let path = format!("{ADMISSION}/{rule}?timeout=10s");
    let (status, answer) = server.post(&path, &review.to_string());
    let response = &answer["response"];
    let told = |reason: &Value| json!({ "reason": reason["code"], "message": reason["message"] });
    let reasons: Vec<Value> = asked["reasons"].as_array().unwrap().iter().map(told).collect();
    let causes = response["status"]["details"]["causes"].as_array().cloned().unwrap_or_default();
    let is_same = status == 200
        && response["uid"] == "5f6a"
        && response["allowed"] == asked["allow"]
        && reasons == causes;
    (response["allowed"].as_bool().filter(|_| is_same), format!("{status} {answer}, and asked: {asked}"))
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
