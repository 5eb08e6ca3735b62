//! OPA's API: the same requests to a real OPA and to us, call by call; and what only we can answer.

use serde_json::{Value, json};
use verdict_tests::opa::{Opa, ask};
use verdict_tests::server::{Site, text, verdict_ok};

const JSON: &[(&str, &str)] = &[("Content-Type", "application/json")];

/// How much of two answers must be the same.
#[derive(Clone, Copy, PartialEq)]
enum Same {
    /// Status and body.
    All,
    /// Status and code: the message is of the reader of JSON, or says what can be done here.
    Code,
    /// The status: OPA says no more.
    Status,
}

/// What differs from one answer to the next says only that it is there.
fn plain(answer: &mut Value) {
    let Some(members) = answer.as_object_mut() else { return };
    members.remove("decision_id");
    members.remove("verdict/decision_ids");
    for name in ["metrics", "provenance", "explanation"] {
        if let Some(value) = members.get_mut(name) {
            *value = json!("…");
        }
    }
}

fn compare(opa: &str, ours: &str, (method, path, body, same): (&str, &str, &str, Same)) {
    let called = format!("{method} {path} {body}");
    let (mut expected, mut found) = (ask(opa, method, path, JSON, body), ask(ours, method, path, JSON, body));
    assert_eq!(expected.0, found.0, "{called}: {} and {}", expected.1, found.1);
    plain(&mut expected.1);
    plain(&mut found.1);
    match same {
        Same::All => assert_eq!(expected.1, found.1, "{called}"),
        Same::Code => assert_eq!(expected.1["code"], found.1["code"], "{called}: {}", found.1),
        Same::Status => {}
    }
}

/// Those of the library's cases: who may do what, by role.
const INPUTS: [&str; 7] = [
    r#"{"user": "alice", "action": "read", "type": "dog"}"#,
    r#"{"user": "bob", "action": "read", "type": "finance"}"#,
    r#"{"user": "bob", "action": "adopt", "type": "cat"}"#,
    r#"{"user": "eve", "action": "adopt", "type": "cat"}"#,
    r#"{"user": "eve", "action": "update", "type": "cat"}"#,
    r#"{"user": "frank", "action": "read", "type": "dog"}"#,
    r#"{"user": "mallory", "action": "\u0000", "type": ""}"#,
];

fn escaped(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

/// What policies say.
fn questions() -> Vec<(&'static str, String, String, Same)> {
    let mut calls = Vec::new();
    for input in INPUTS {
        let body = format!("{{\"input\": {input}}}");
        for path in ["/v1/data/role_based_access/allow", "/v1/data/role_based_access", "/v1/data"] {
            calls.push(("POST", path.to_owned(), body.clone(), Same::All));
            calls.push(("GET", format!("{path}?input={}", escaped(input)), String::new(), Same::All));
        }
        for path in ["/v0/data/role_based_access/allow", "/v0/data/role_based_access", "/v0/data", "/"] {
            calls.push(("POST", path.to_owned(), input.to_owned(), Same::All));
        }
    }
    let body = format!("{{\"input\": {}, \"com.example/metadata\": {{\"a\": 1}}}}", INPUTS[0]);
    for query in [
        "pretty",
        "pretty=true",
        "metrics",
        "metrics=true",
        "instrument=true",
        "provenance=true",
        "explain=notes",
        "explain=fails",
        "explain=full",
        "explain=debug",
        "explain=off",
        "explain=nosuch",
        "metrics=1",
        "strict-builtin-errors=true",
        "rule_labels=false",
        "nosuch=1&metrics=false&metrics=true",
    ] {
        calls.push(("POST", format!("/v1/data/role_based_access/allow?{query}"), body.clone(), Same::All));
    }
    calls
}

/// What is data, and what is nowhere.
const DOCUMENTS: [(&str, &str, &str, Same); 21] = [
    ("GET", "/v1/data/user_roles", "", Same::All),
    ("GET", "/v1/data/user_roles/bob/1", "", Same::All),
    ("GET", "/v1/data/user_roles/bob/", "", Same::All),
    ("GET", "/v1/data/%75ser_roles/%62ob", "", Same::All),
    ("GET", "/v1/data/role_grants/customer/3/action?pretty&provenance&metrics", "", Same::All),
    ("GET", "/v1/data/user_roles/bob/7", "", Same::All),
    ("GET", "/v1/data/user_roles/bob/0/1", "", Same::All),
    ("GET", "/v1/data/user_roles/nobody", "", Same::All),
    ("GET", "/v1/data/nosuch/a%2Fb/0", "", Same::All),
    ("POST", "/v1/data/user_roles/frank", "{\"input\": 7}", Same::All),
    ("POST", "/v1/data/user_roles/frank", "", Same::All),
    ("POST", "/v1/data/user_roles/frank", "{}", Same::All),
    ("POST", "/v1/data/user_roles/frank", "{\"input\": null}", Same::All),
    ("POST", "/v1/data/user_roles/frank", "null", Same::All),
    ("POST", "/v1/data/nosuch/thing", "{\"input\": {}}", Same::All),
    ("POST", "/v1/data/nosuch/thing?explain=full", "{\"input\": {}}", Same::All),
    ("POST", "/v1/data/nosuch/thing?explain=notes", "{\"input\": {}}", Same::All),
    ("POST", "/v0/data/user_roles/bob", "", Same::All),
    ("POST", "/v0/data/nosuch", "", Same::All),
    ("POST", "/v0/data/no-such/0/a_b/01", "1", Same::All),
    ("POST", "/v0/data/user_roles/nobody?pretty", "{}", Same::All),
];

/// What cannot be done, and what there is to say of the server.
const OTHERS: [(&str, &str, &str, Same); 23] = [
    ("POST", "/v1/data/role_based_access/allow", "{", Same::Code),
    ("POST", "/v1/data/role_based_access/allow", "[]", Same::Code),
    ("POST", "/v1/data/role_based_access/allow", "7", Same::Code),
    ("POST", "/v0/data/role_based_access/allow", "{\"a\":", Same::Code),
    ("POST", "/", "nonsense", Same::Code),
    ("GET", "/v1/data/role_based_access/allow?input=%7B", "", Same::Code),
    ("GET", "/v1/data/user_roles?input=nonsense", "", Same::Code),
    ("PUT", "/v1/data/user_roles", "{}", Same::Code),
    ("PUT", "/v1/data", "{}", Same::Code),
    ("PATCH", "/v1/data/user_roles", "[{\"op\": \"add\", \"path\": \"/x\", \"value\": 1}]", Same::Code),
    ("DELETE", "/v1/data/user_roles/bob", "", Same::Code),
    ("PUT", "/v1/policies/a", "package a\n\nb := 1\n", Same::Code),
    ("GET", "/v1/policies/nosuch", "", Same::All),
    ("PUT", "/v0/data/user_roles", "{}", Same::Status),
    ("GET", "/v0/data/user_roles", "", Same::Status),
    ("POST", "/v1/policies/a", "", Same::Status),
    ("PATCH", "/v1/policies/a", "{}", Same::Status),
    ("DELETE", "/v1/data", "", Same::Status),
    ("DELETE", "/v1/query", "", Same::Status),
    ("GET", "/health", "", Same::All),
    ("GET", "/health?bundles=true&pretty", "", Same::All),
    ("GET", "/health?plugins&exclude-plugin=a&exclude-plugin=b", "", Same::All),
    ("GET", "/health?bundle", "", Same::All),
];

#[test]
fn every_call_is_answered_as_opa_answers_it() {
    let Some(opa) = Opa::start() else { return };
    let site = Site::new(&["role-based-access"]);
    let server = site.serve(&["--opa-default", "default/role-based-access/allow"]);
    let questions = questions();
    let questions =
        questions.iter().map(|(method, path, body, same)| (*method, path.as_str(), body.as_str(), *same));
    for call in questions.chain(DOCUMENTS).chain(OTHERS) {
        compare(&opa.address, &server.address, call);
    }

    // Modules have other ids and texts; what is in them is the same.
    let modules = |address: &str| {
        let (status, answer) = ask(address, "GET", "/v1/policies", &[], "");
        assert_eq!(status, 200, "{answer}");
        let module = &answer["result"][0];
        let id = module["id"].as_str().unwrap();
        assert_eq!(ask(address, "GET", &format!("/v1/policies/{id}"), &[], "").1["result"], *module);
        let rules =
            module["ast"]["rules"].as_array().unwrap().iter().map(|rule| rule["head"]["ref"].to_string());
        let rules = rules.collect::<std::collections::BTreeSet<_>>();
        (answer["result"].as_array().unwrap().len(), module["ast"]["package"].clone(), rules)
    };
    assert_eq!(modules(&opa.address), modules(&server.address));
    let default =
        |address: &str| ask(address, "GET", "/v1/config", &[], "").1["result"]["default_decision"].clone();
    assert_eq!(default(&opa.address), default(&server.address));
}

#[test]
fn decisions_of_opas_api_are_in_the_log_like_all_others() {
    let site = Site::new(&["role-based-access"]);
    let server = site.serve(&[]);
    let body = format!("{{\"input\": {}}}", INPUTS[0]);
    let path = "/v1/data/role-based-access/allow?provenance&metrics&explain=notes&pretty";
    let (status, answer) = ask(&server.address, "POST", path, &[("X-Request-ID", "r-1")], &body);
    assert_eq!((status, &answer["result"]), (200, &json!(true)), "{answer}");
    let id = answer["decision_id"].as_str().unwrap();
    let (status, decision) = server.get(&format!("/v1/tenants/default/decisions/{id}"));
    assert_eq!((status, &decision["value"], &decision["recorded"]), (200, &json!(true), &json!(true)));
    let revision =
        format!("{}@{}", decision["version"].as_str().unwrap(), decision["component"].as_str().unwrap());
    assert_eq!(answer["provenance"]["bundles"]["default/role-based-access"]["revision"], revision);
    assert_eq!(answer["provenance"]["bundles"]["default/data"]["revision"], decision["data"]);
    assert_eq!(answer["metrics"]["counter_verdict_fuel"], decision["fuel"]);
    let reasons = decision["reasons"].as_array().unwrap().len();
    assert!(reasons > 0 && answer["explanation"].as_array().unwrap().len() == reasons, "{answer}");

    // A request that names no rule asks all of them, and each is a decision of its own.
    let (_, all) = ask(&server.address, "POST", "/v1/data", &[], &body);
    assert_eq!(all["result"]["role_based_access"], json!({"allow": true}), "{all}");
}

#[test]
fn what_is_no_answer_is_said_in_opas_form() {
    let site = Site::new(&["role-based-access"]);
    std::fs::remove_file(site.path("data/default.json")).unwrap();
    let server = site.serve(&[]);
    let said = |method: &str, path: &str, headers: &[(&str, &str)], body: &str| {
        let (status, answer) = ask(&server.address, method, path, headers, body);
        assert!(answer["message"].as_str().is_some_and(|text| !text.is_empty()), "{method} {path}: {answer}");
        (status, answer["code"].as_str().unwrap().to_owned(), answer["errors"][0]["code"].clone())
    };
    let rule = "/v1/data/role_based_access/allow";
    let body = format!("{{\"input\": {}}}", INPUTS[0]);
    let fault = (500, "internal_error".to_owned(), json!("policy-error"));
    for (path, body) in [
        (rule, body.as_str()),
        ("/v1/data/role_based_access", &body),
        ("/v0/data/role_based_access/allow", INPUTS[0]),
    ] {
        assert_eq!(said("POST", path, JSON, body), fault, "{path}");
    }
    let invalid = |code: Value| (400, "invalid_parameter".to_owned(), code);
    assert_eq!(said("POST", rule, JSON, r#"{"input": {"user": 7}}"#), invalid(json!("invalid-input")));
    assert_eq!(said("POST", rule, JSON, ""), invalid(json!("invalid-input")));
    assert_eq!(said("POST", rule, JSON, r#"{"input": {"a": 1, "a": 2}}"#), invalid(json!("malformed-input")));
    assert_eq!(said("POST", rule, JSON, &format!("{{\"input\": \"{}\"}}", "a".repeat(8_000))).0, 400);
    assert_eq!(said("POST", rule, JSON, &format!("{{\"input\": \"{}\"}}", "a".repeat(3 << 20))).0, 400);
    assert_eq!(said("POST", rule, &[("Content-Type", "application/yaml")], "input: 1"), invalid(Value::Null));
    assert_eq!(said("POST", rule, &[("Content-Encoding", "gzip")], "x"), invalid(Value::Null));
    for (method, path) in [
        ("POST", "/v1/query"),
        ("GET", "/v1/query?q=a"),
        ("POST", "/v1/compile"),
        ("POST", "/v1/compile/a/b"),
    ] {
        assert_eq!(said(method, path, JSON, "{}"), (501, "invalid_operation".into(), Value::Null), "{path}");
    }
    assert_eq!(said("GET", "/v1/tenants/default/opa/nosuch", &[], "").0, 404);
    assert_eq!(said("PUT", "/v1/tenants/default/opa/v0/data/a", JSON, "").0, 405);
    assert_eq!(said("GET", "/v1/tenants/A/opa/v1/data", &[], "").0, 400);
    assert_eq!(said("GET", "/v1/tenants/system/opa/v1/data", &[], "").0, 404);
}

#[test]
fn a_batch_has_an_answer_for_every_input() {
    let site = Site::new(&["role-based-access"]);
    let server = site.serve(&[]);
    let batch = |body: Value| {
        ask(&server.address, "POST", "/v1/batch/data/role_based_access/allow", JSON, &body.to_string())
    };
    let reads = |user: &str| json!({"user": user, "action": "read", "type": "finance"});
    let (status, answer) =
        batch(json!({"inputs": {"a": reads("alice"), "b": reads("bob"), "e": reads("eve")}}));
    assert_eq!(status, 200, "{answer}");
    let result = |answer: &Value, name: &str| answer["responses"][name]["result"].clone();
    assert_eq!(["a", "b", "e"].map(|name| result(&answer, name)), [json!(true), json!(true), json!(false)]);
    assert!(answer["responses"]["a"]["http_status_code"].is_null());
    let id = answer["responses"]["e"]["decision_id"].as_str().unwrap();
    assert_eq!(server.get(&format!("/v1/tenants/default/decisions/{id}")).1["value"], json!(false));

    let common = json!({"action": "read", "type": "finance"});
    let (status, answer) = batch(json!({
        "common_input": common, "inputs": {"bob": {"user": "bob"}, "other": {"user": "bob", "type": "dog"}, "odd": {"user": 7}},
    }));
    assert_eq!(status, 207, "{answer}");
    let code = |name: &str| answer["responses"][name]["http_status_code"].clone();
    assert_eq!(["bob", "other", "odd"].map(code), [json!("200"), json!("200"), json!("500")]);
    assert_eq!((result(&answer, "bob"), result(&answer, "odd")), (json!(true), Value::Null));
    assert_eq!(answer["responses"]["odd"]["code"], "invalid_parameter");

    let (status, answer) = batch(json!({"inputs": {"x": 1, "y": []}}));
    assert_eq!((status, answer["responses"].as_object().unwrap().len()), (500, 2), "{answer}");
    assert_eq!(batch(json!({"inputs": {}})), (200, json!({})));
    let warned = batch(json!({"common_input": {}}));
    assert_eq!((warned.0, &warned.1["warning"]["code"]), (200, &json!("api_usage_warning")));
    let large = json!({"common_input": "a".repeat(40_000), "inputs": (0..1_000).map(|number| (number.to_string(), json!(0))).collect::<serde_json::Map<_, _>>()});
    assert_eq!(batch(large).1["code"], "invalid_parameter");
    let many: serde_json::Map<_, _> = (0..1_001).map(|number| (number.to_string(), json!(0))).collect();
    let (status, answer) = batch(json!({"inputs": many}));
    assert_eq!((status, &answer["code"]), (400, &json!("invalid_parameter")));
}

#[test]
fn a_token_of_a_tenant_asks_its_own_policies_and_learns_of_no_others() {
    let site = Site::new(&["role-based-access"]);
    let folder = site.path("policies/role-based-access");
    let other = site.path("policies/other");
    verdict_tests::server::copy(&folder, &other);
    let (own_token, all_token) = ("own-56789abcdefghijklmn0123", "all-56789abcdefghijklmn0123");
    std::fs::write(site.path("tokens"), format!("own {own_token} bank\nall {all_token}\n")).unwrap();
    let server = site.serve(&[
        "--token-file",
        text(&site.path("tokens")),
        "--opa-default",
        "default/role-based-access",
    ]);
    let (own, all) = (format!("Bearer {own_token}"), format!("Bearer {all_token}"));
    let body = format!("{{\"input\": {}}}", INPUTS[0]);
    let said = |token: &str, method: &str, path: &str| {
        let headers = [("Authorization", token), ("Content-Type", "application/json")];
        ask(&server.address, method, path, &headers, &body)
    };
    let rule = "v1/data/role-based-access/allow";
    assert_eq!(said(&all, "POST", &format!("/{rule}")).1["result"], json!(true));
    assert_eq!(said(&all, "POST", &format!("/v1/tenants/default/opa/{rule}")).1["result"], json!(true));
    // There is no such policy in its tenant: undefined, as of any unknown path.
    let (status, answer) = said(&own, "POST", &format!("/{rule}"));
    assert_eq!((status, answer), (200, json!({})));
    for (method, path) in [
        ("POST", format!("/v1/tenants/default/opa/{rule}")),
        ("POST", "/v1/tenants/default/opa/v1/data".into()),
        ("GET", "/v1/tenants/default/opa/v1/data/user_roles".into()),
        ("GET", "/v1/tenants/default/opa/v1/policies".into()),
        ("GET", "/v1/tenants/default/opa/v1/status".into()),
        ("POST", "/v1/tenants/nosuch/opa/v1/data".into()),
    ] {
        let (status, answer) = said(&own, method, &path);
        assert_eq!((status, &answer["code"]), (404, &json!("resource_not_found")), "{path}: {answer}");
    }
    assert_eq!(said(&own, "GET", "/v1/data/user_roles").1, json!({}));
    assert_eq!(said(&own, "POST", "/").0, 404);
    assert_eq!(said(&own, "GET", "/v1/tenants/bank/opa/v1/policies").1, json!({"result": []}));
    let status = said(&all, "GET", "/v1/status").1;
    assert!(status["result"]["bundles"]["default/role-based-access"].is_object(), "{status}");
    let (status, answer) = ask(&server.address, "POST", &format!("/{rule}"), JSON, &body);
    assert_eq!((status, &answer["code"]), (401, &json!("unauthorized")), "{answer}");
    assert_eq!(ask(&server.address, "GET", "/health", &[], ""), (200, json!({})));
    assert!(verdict_ok(&["serve", "--help"]).contains("--opa-default"));
}
