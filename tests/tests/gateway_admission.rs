//! Kubernetes admission over HTTP, against the real server: what comes back for every kind of answer.

use std::process::Command;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use verdict_tests::gateways::add_told;
use verdict_tests::server::{Server, Site, root, text};

const TOLD: &str = "/v1/tenants/default/policies/told/admission";

/// A review of a pod whose annotation tells the policy what to answer.
fn telling(text: &str) -> Value {
    let object = json!({ "kind": "Pod", "metadata": { "annotations": { "tell": text } }, "spec": {} });
    review(json!({ "uid": "u-1", "operation": "CREATE", "object": object }))
}

fn review(request: Value) -> Value {
    json!({ "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": request })
}

/// The response of a review, which is 200 and in its form.
fn response(server: &Server, path: &str, review: &Value) -> Value {
    let (status, mut answer) = server.post(path, &review.to_string());
    assert_eq!(status, 200, "{answer}");
    assert_eq!(answer["apiVersion"], review["apiVersion"]);
    assert_eq!(answer["kind"], "AdmissionReview");
    assert_eq!(answer["response"]["uid"], review["request"]["uid"]);
    answer["response"].take()
}

fn told(server: &Server, text: &str) -> Value {
    response(server, &format!("{TOLD}/told?timeout=10s"), &telling(text))
}

fn is_denied(response: &Value, code: u16, reason: &str, words: &str) {
    assert_eq!(response["allowed"], json!(false), "{response}");
    let status = &response["status"];
    assert_eq!((&status["code"], &status["reason"]), (&json!(code), &json!(reason)), "{response}");
    assert!(status["message"].as_str().is_some_and(|message| message.contains(words)), "{response}");
    assert!(response.get("patch").is_none() && response.get("patchType").is_none(), "{response}");
}

#[test]
fn what_a_policy_says_goes_into_the_response() {
    let site = Site::new(&[]);
    add_told(&site);
    let server = site.serve(&[]);
    let allowed = told(
        &server,
        r#"{"allow": true, "warnings": ["old\nfield"], "audit_annotations": {"team": "a", "a/b": "c"}}"#,
    );
    let id = allowed["auditAnnotations"]["verdict-decision-id"].as_str().unwrap().to_owned();
    let annotations = json!({ "team": "a", "verdict-decision-id": id });
    let expected =
        json!({ "uid": "u-1", "allowed": true, "warnings": ["old field"], "auditAnnotations": annotations });
    assert_eq!(allowed, expected);
    // The decision is in the log under that id, and its input is the review as it came.
    let (status, decision) = server.get(&format!("/v1/tenants/default/decisions/{id}"));
    assert_eq!((status, &decision["allow"]), (200, &json!(true)));

    let denied = told(
        &server,
        r#"{"allow": false, "why": 1, "warnings": ["w"], "patch": [{"op": "remove", "path": "/spec"}]}"#,
    );
    is_denied(&denied, 403, "Forbidden", "as it was told");
    assert_eq!(
        denied["status"]["details"]["causes"],
        json!([{ "reason": "told", "message": "as it was told" }])
    );
    assert_eq!(denied["warnings"], json!(["w"]));
    is_denied(&told(&server, "undefined"), 403, "Forbidden", "says nothing");
    is_denied(&told(&server, r#"{"allow": 1}"#), 403, "Forbidden", "denied by rule `told`");
    assert_eq!(told(&server, "true")["allowed"], json!(true));

    let patch = r#"[{"op": "add", "path": "/spec/a", "value": 1.50}, {"op": "test", "path": "/kind", "value": "Pod"}]"#;
    let patched = told(&server, &format!(r#"{{"allow": true, "patch": {patch}}}"#));
    assert_eq!((&patched["allowed"], &patched["patchType"]), (&json!(true), &json!("JSONPatch")));
    assert_eq!(STANDARD.decode(patched["patch"].as_str().unwrap()).unwrap(), patch.as_bytes());
    let untouched = told(&server, r#"{"allow": true, "patch": []}"#);
    assert!(untouched["allowed"] == json!(true) && untouched.get("patchType").is_none(), "{untouched}");
}

#[test]
fn whatever_goes_wrong_is_a_denial_that_no_failure_policy_ignores() {
    let site = Site::new(&[]);
    add_told(&site);
    let server = site.serve(&[]);
    let bad_patch = r#"{"allow": true, "patch": [{"op": "add", "path": "/nowhere/a", "value": 1}]}"#;
    is_denied(&told(&server, bad_patch), 500, "InternalError", "patch");
    is_denied(&told(&server, r#"{"allow": true, "patch": {"op": "add"}}"#), 500, "InternalError", "patch");
    is_denied(&told(&server, "failure"), 500, "InternalError", "policy-error");
    is_denied(&told(&server, "loop"), 500, "InternalError", "out-of-fuel");
    is_denied(&told(&server, "no json"), 422, "Invalid", "invalid-input");
    for path in [
        format!("{TOLD}/other"),
        TOLD.into(),
        format!("{TOLD}/told?channel=other"),
        "/v1/tenants/default/policies/other/admission/told".into(),
        "/v1/tenants/default/policies/told/channels/other/admission/told".into(),
    ] {
        is_denied(&response(&server, &path, &telling("true")), 500, "InternalError", "");
    }
    for query in ["?rule=told", "?rules=told", "?channel=No"] {
        let response = response(&server, &format!("{TOLD}/told{query}"), &telling("true"));
        is_denied(&response, 400, "BadRequest", "");
    }
    // What only the policy's own reading of the whole document finds.
    let twice = telling("true").to_string().replace("\"spec\":{}", "\"spec\":{},\"spec\":{}");
    let (status, answer) = server.post(&format!("{TOLD}/told"), &twice);
    assert_eq!(status, 200, "{answer}");
    is_denied(&answer["response"], 400, "BadRequest", "malformed-input");
    // Larger than a policy takes, but not too large to be denied.
    let mut large = telling("true");
    large["request"]["object"]["data"] = "x".repeat(3 << 20).into();
    is_denied(&response(&server, &format!("{TOLD}/told"), &large), 413, "RequestEntityTooLarge", "");
    let old = json!({ "apiVersion": "admission.k8s.io/v1beta1", "kind": "AdmissionReview", "request": { "uid": "u" } });
    is_denied(
        &response(&server, &format!("{TOLD}/told"), &old),
        400,
        "BadRequest",
        "admissionReviewVersions",
    );
}

#[test]
fn a_review_may_be_as_large_as_the_operator_says() {
    let site = Site::new(&[]);
    add_told(&site);
    let server = site.serve(&["--limit", "input_bytes=6291456", "--body-bytes-max", "6291456"]);
    let mut large = telling("true");
    large["request"]["object"]["data"] = "x".repeat(3 << 20).into();
    assert_eq!(response(&server, &format!("{TOLD}/told"), &large)["allowed"], true);
}

#[test]
fn what_cannot_be_read_has_a_status_of_its_own() {
    let site = Site::new(&[]);
    add_told(&site);
    std::fs::write(site.path("tokens"), "cluster 0123456789abcdefghijklmn").unwrap();
    let open = site.serve(&[]);
    for body in ["", "{}", "[]", r#"{"kind": "Pod"}"#, &telling("true").to_string().replace("u-1\"", "u-1")] {
        assert_eq!(open.post(&format!("{TOLD}/told"), body).0, 400, "{body}");
    }
    let (status, answer) = open.post(&format!("{TOLD}/told"), &"x".repeat(9 << 20));
    assert_eq!(status, 413, "{answer}");
    drop(open);
    // Nobody is answered who does not say who they are.
    let closed = site.serve(&["--token-file", text(&site.path("tokens"))]);
    assert_eq!(closed.post(&format!("{TOLD}/told"), &telling("true").to_string()).0, 401);
}

/// The path of a webhook of the example.
fn webhook(kind: &str) -> String {
    let text = std::fs::read_to_string(root().join("examples/admission.yaml")).unwrap();
    let documents = text.split("\n---\n").map(|text| serde_saphyr::from_str::<Value>(text).unwrap());
    let webhook = documents.into_iter().find(|it| it["kind"] == kind).unwrap()["webhooks"][0].take();
    let path = webhook["clientConfig"]["service"]["path"].as_str().unwrap().to_owned();
    // The API server takes no other steps than DNS subdomains (RFC 1123).
    let is_dns = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-.".contains(&byte);
    assert!(path.split('/').skip(1).all(|step| !step.is_empty() && step.bytes().all(is_dns)), "{path}");
    path
}

#[test]
fn the_webhooks_of_the_example_are_answered_by_the_library() {
    let site = Site::new(&["kubernetes-admission"]);
    let server = site.serve(&[]);
    let kind = json!({ "group": "", "version": "v1", "kind": "Pod" });
    let pod = |privileged: bool| json!({ "kind": "Pod", "spec": { "containers": [{ "name": "web", "securityContext": { "privileged": privileged } }] } });
    let created =
        |object| json!({ "uid": "u", "operation": "CREATE", "kind": kind, "object": object, "dryRun": true });

    let validating = webhook("ValidatingWebhookConfiguration");
    let answer = response(&server, &validating, &review(created(pod(false))));
    assert_eq!((&answer["allowed"], answer.get("status")), (&json!(true), None));
    let answer = response(&server, &validating, &review(created(pod(true))));
    is_denied(&answer, 403, "Forbidden", "container `web`: must not be privileged");

    let mutating = webhook("MutatingWebhookConfiguration");
    let answer = response(&server, &mutating, &review(created(pod(false))));
    let patch = STANDARD.decode(answer["patch"].as_str().unwrap()).unwrap();
    let value = json!({ "seccompProfile": { "type": "RuntimeDefault" } });
    let expected = json!([{ "op": "add", "path": "/spec/securityContext", "value": value }]);
    assert_eq!(serde_json::from_slice::<Value>(&patch).unwrap(), expected);
    assert_eq!(answer["auditAnnotations"]["defaulted"], "spec.securityContext.seccompProfile");
    let mut updated = created(pod(false));
    updated["operation"] = "UPDATE".into();
    assert!(response(&server, &mutating, &review(updated)).get("patch").is_none());
}

/// Runs a program, which must succeed; none, with a reason, on a machine that does not have it.
fn run(program: &str, arguments: &[&str]) -> Option<String> {
    let output = match Command::new(program).args(arguments).output() {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            eprintln!("skipped: there is no {program}");
            return None;
        }
        output => output.unwrap(),
    };
    assert!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
    Some(String::from_utf8(output.stdout).unwrap())
}

/// The API server speaks nothing else: HTTPS, with the authority that `caBundle` names.
#[test]
fn a_review_comes_over_tls() {
    let site = Site::new(&[]);
    add_told(&site);
    let [certificate, key] = ["tls.crt", "tls.key"].map(|name| text(&site.path(name)).to_owned());
    let made =
        "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 1 -subj /CN=verdict -addext";
    let made = made.split(' ').chain(["subjectAltName=IP:127.0.0.1", "-out", &certificate, "-keyout", &key]);
    if run("openssl", &made.collect::<Vec<_>>()).is_none() {
        return;
    }
    let server = Server::start(&site, "tls:127.0.0.1:0", &["--tls-cert", &certificate, "--tls-key", &key]);
    let url = format!("https://{}{TOLD}/told?timeout=5s", server.address.strip_prefix("tls:").unwrap());
    let review = telling(r#"{"allow": true, "patch": [{"op": "remove", "path": "/spec"}]}"#).to_string();
    let asked =
        ["-sS", "--max-time", "30", "--cacert", &certificate, "-H", "Content-Type: application/json", "-d"];
    let Some(answer) = run("curl", &[&asked[..], &[&review, &url]].concat()) else { return };
    let answer: Value = serde_json::from_str(&answer).unwrap();
    assert_eq!((&answer["response"]["uid"], &answer["response"]["allowed"]), (&json!("u-1"), &json!(true)));
    assert_eq!(answer["response"]["patchType"], "JSONPatch");
}
