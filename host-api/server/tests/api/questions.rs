//! Questions over the native API: one, several, and those of gateways; and what their answers say besides.

use serde_json::{Value, json};
use verdict::engine::SEMANTICS;

use crate::client::{Answer, Client};
use crate::world::{TENANTS, TOKEN, World, decision_of, of_policy, policy_of};

fn path(what: &str) -> String {
    format!("{}/{what}", of_policy(&policy_of(TENANTS[0]).parse().unwrap()))
}

/// What is the same of all questions, without the action.
fn shared() -> Value {
    let principal =
        json!({"kind": "token", "id": "a", "person": "a", "tenant": null, "roles": ["tenant_admin"]});
    json!({"principal": principal, "tenant": "bank", "resource": ""})
}

fn input(action: &str) -> Value {
    let mut input = shared();
    input["action"] = action.into();
    input
}

fn ask(client: &Client, path: &str, body: &Value) -> Answer {
    client.ask("POST", path, &[], body.to_string().as_bytes())
}

/// Of an item of a batch: its status, and the reason's code or the problem's.
fn item(item: &Value) -> (u64, &str) {
    let said = match &item["decision"]["reasons"][0]["code"] {
        Value::String(code) => code,
        _ => match &item["decision"]["fault"]["code"] {
            Value::String(code) => code,
            _ => item["problem"]["error"]["code"].as_str().unwrap(),
        },
    };
    assert!(item["decision"].is_null() || item["problem"].is_null(), "{item}");
    (item["status"].as_u64().unwrap(), said)
}

#[test]
fn rule_and_id_may_be_said_in_the_query_but_only_once() {
    let world = World::furnished();
    let body = json!({"input": input("key.list")});
    let answer =
        ask(&world.client, &path("decide?rule=allow&id=q-1&channel=production"), &body).is(200).json();
    assert_eq!((&answer["decision_id"], &answer["rule"]), (&json!("q-1"), &json!("allow")), "{answer}");
    let answer = ask(&world.client, &path("decide?rule=nosuch"), &body);
    assert_eq!(answer.problem(), (404, "unknown-rule".into()));
    let twice = json!({"input": {}, "rule": "allow"});
    let answer = ask(&world.client, &path("decide?rule=allow"), &twice);
    assert_eq!(answer.problem(), (400, "malformed-request".into()));
    let answer = ask(&world.client, &path("decide?explian"), &body);
    assert!(answer.json()["detail"].as_str().unwrap().contains("`explain`"), "{}", answer.text());
}

#[test]
fn a_gateway_sends_the_input_and_gets_the_value() {
    let world = World::furnished();
    let client = &world.client;
    let allowed = ask(client, &path("decide?raw&id=raw-1&rule=allow"), &input("key.list")).is(200);
    assert_eq!(allowed.text(), "true");
    assert_eq!(allowed.header("content-type"), Some("application/json"));
    assert_eq!(allowed.header("x-verdict-allow"), Some("true"));
    assert_eq!(allowed.header("x-verdict-decision-id"), Some("raw-1"));
    let decision = client.get(&format!("/v1/tenants/{}/decisions/raw-1", TENANTS[0])).is(200).json();
    assert_eq!(decision["fuel"].to_string(), allowed.header("x-verdict-fuel").unwrap());

    let denied = ask(client, &path("decide?raw"), &input("nosuch")).is(200);
    assert_eq!((denied.text().as_str(), denied.header("x-verdict-allow")), ("false", Some("false")));

    // A fault is no value, whatever a gateway makes of it.
    let fault = ask(client, &path("decide?raw&id=raw-2"), &json!({}));
    assert_eq!(fault.problem(), (422, "invalid-input".into()));
    assert_eq!(fault.header("x-verdict-allow"), Some("false"));
    assert_eq!(fault.header("x-verdict-decision-id"), Some("raw-2"));
    assert_eq!(fault.header("x-verdict-fuel"), None);
    // Nothing was decided.
    for body in [&b"{\"a\":1,\"a\":2}"[..], b"\xff", b""] {
        let refused = client.ask("POST", &path("decide?raw"), &[], body);
        assert_eq!(refused.problem(), (400, "malformed-input".into()));
        assert_eq!(refused.header("x-verdict-decision-id"), None);
        assert_eq!(refused.header("x-verdict-allow"), None);
    }
    let stranger = client.nobody();
    assert_eq!(ask(&stranger, &path("decide?raw"), &json!({})).problem(), (401, "unauthenticated".into()));
}

#[test]
fn a_batch_answers_each_item_in_order_as_if_it_were_asked_alone() {
    let world = World::furnished();
    let actions: Vec<_> = (0..600).map(|n| ["key.list", "nosuch", "trust.write"][n % 3]).collect();
    let items: Vec<_> = actions.iter().map(|action| json!({"input": {"action": action}})).collect();
    let body = json!({"rule": "allow", "input": shared(), "items": items});
    let answer = ask(&world.client, &path("batch"), &body).is(200).json();
    let answers = answer["items"].as_array().unwrap();
    assert_eq!(answers.len(), actions.len());
    let alone = |action: &&str| ask(&world.client, &path("decide"), &json!({"input": input(action)})).json();
    let expected: Vec<_> = actions.iter().take(3).map(alone).collect();
    let mut ids = std::collections::BTreeSet::new();
    for (at, item) in answers.iter().enumerate() {
        let decision = &item["decision"];
        assert_eq!((item["status"].as_u64(), &decision["recorded"]), (Some(200), &json!(true)));
        for member in ["value", "reasons", "allow", "version", "rule"] {
            assert_eq!(decision[member], expected[at % 3][member], "{at} {member}");
        }
        ids.insert(decision["decision_id"].as_str().unwrap());
    }
    assert_eq!(ids.len(), actions.len(), "each is a decision of its own");
    let past = format!("/v1/tenants/{}/decisions/{}", TENANTS[0], ids.first().unwrap());
    world.client.get(&past).is(200);
}

#[test]
fn one_bad_item_spoils_no_other() {
    let world = World::furnished();
    let duplicate = "{\"action\":\"key.list\",\"x\":1,\"x\":2}";
    let taken = decision_of(TENANTS[0]);
    let body = format!(
        "{{\"input\":{},\"items\":[{}]}}",
        shared(),
        [
            r#"{"input":{"action":"key.list"}}"#.to_owned(),
            r#"{"input":{"action":"key.list"},"rule":"nosuch"}"#.to_owned(),
            r#"{"input":7}"#.to_owned(),
            format!("{{\"input\":{duplicate}}}"),
            r#"{"input":{"action":7}}"#.to_owned(),
            format!("{{\"input\":{{\"action\":\"key.list\"}},\"id\":\"{taken}\"}}"),
            r#"{"input":{"action":"key.list"},"id":"a b"}"#.to_owned(),
            r#"{"input":{"action":"key.list"},"decision_time":"2026-01-01T00:00:00Z"}"#.to_owned(),
            r#"{"input":{"action":"key.list"},"id":"last"}"#.to_owned(),
        ]
        .join(",")
    );
    let answer = world.client.ask("POST", &path("batch"), &[], body.as_bytes()).is(207).json();
    let found: Vec<_> = answer["items"].as_array().unwrap().iter().map(item).collect();
    let expected = [
        (200, "granted"),
        (404, "unknown-rule"),
        (400, "malformed-request"),
        (400, "malformed-input"),
        (422, "invalid-input"),
        (409, "id-conflict"),
        (400, "malformed-id"),
        (403, "decision-time-not-allowed"),
        (200, "granted"),
    ];
    assert_eq!(found, expected, "{answer}");
    assert_eq!(answer["items"][8]["decision"]["decision_id"], "last");
    let problem = &answer["items"][1]["problem"];
    assert_eq!(
        (&problem["type"], &problem["status"]),
        (&json!("urn:verdict:problem:unknown-rule"), &json!(404))
    );
}

#[test]
fn a_batch_has_bounds_and_is_refused_as_a_whole_where_it_is_wrong_as_a_whole() {
    let world = World::furnished();
    let client = &world.client;
    let of =
        |count: usize| json!({"input": shared(), "items": vec![json!({"input": {"action": "x"}}); count]});
    ask(client, &path("batch"), &of(1_000)).is(200);
    assert_eq!(ask(client, &path("batch"), &of(1_001)).problem(), (400, "malformed-request".into()));
    assert_eq!(ask(client, &path("batch"), &of(0)).problem(), (400, "malformed-request".into()));
    let none = json!({"items": [{"id": "x"}]});
    assert_eq!(
        item(&ask(client, &path("batch"), &none).is(207).json()["items"][0]),
        (400, "malformed-request")
    );
    // A small body that would be gigabytes.
    let large = json!({"input": {"a": "a".repeat(1 << 20)}, "items": vec![json!({}); 1_000]});
    assert_eq!(ask(client, &path("batch"), &large).problem(), (413, "too-large".into()));
    for (query, status, code) in [
        ("channel=nosuch", 404, "unknown-channel"),
        ("raw", 400, "malformed-request"),
        ("id=x", 400, "malformed-request"),
    ] {
        assert_eq!(ask(client, &path(&format!("batch?{query}")), &of(1)).problem(), (status, code.into()));
    }
    let absent = format!("/v1/tenants/{}/policies/absent/batch", TENANTS[0]);
    assert_eq!(ask(client, &absent, &of(1)).problem(), (404, "unknown-policy".into()));
    // Who asks is asked once, before anything is read.
    let auditor = world.role(Some(TENANTS[0]), "auditor");
    assert_eq!(ask(&auditor, &path("batch"), &of(1)).problem(), (403, "denied".into()));
    ask(&client.with(TOKEN), &path("batch"), &of(1)).is(200);
}

#[test]
fn an_answer_says_by_what_rules_and_at_what_cost_it_came_about() {
    let world = World::furnished();
    let body = json!({"input": input("key.list"), "id": "p-1"});
    let text = body["input"].to_string();
    let answer = ask(&world.client, &path("decide?provenance&metrics=true"), &body).is(200).json();
    let (provenance, metrics) = (&answer["provenance"], &answer["metrics"]);
    let loaded = world.client.get("/v1/policies").is(200).json();
    let loaded = loaded["policies"].as_array().unwrap();
    let loaded = loaded.iter().find(|policy| policy["policy"] == policy_of(TENANTS[0]).as_str()).unwrap();
    assert_eq!((&provenance["limits"], &provenance["semantics"]), (&loaded["limits"], &json!(SEMANTICS)));
    assert!(provenance["build"].as_str().unwrap().starts_with("wasmtime-"), "{answer}");
    let receipt = world.client.get(provenance["receipt"].as_str().unwrap()).is(200).json();
    assert_eq!(receipt["openings"]["fuel"]["value"], answer["fuel"].to_string(), "{receipt}");
    let versions = format!("{}/versions", of_policy(&policy_of(TENANTS[0]).parse().unwrap()));
    let versions = world.client.get(&versions).is(200).text();
    assert!(versions.contains(provenance["statement"].as_str().unwrap()), "{versions}");

    assert_eq!((&metrics["fuel"], &metrics["fuel_limit"]), (&answer["fuel"], &loaded["limits"]["fuel"]));
    assert_eq!((&metrics["input_bytes"], &metrics["output_bytes"]), (&json!(text.len()), &json!(4)));
    for member in ["evaluation_ns", "durable_ns", "memory_bytes_peak"] {
        assert!(metrics[member].as_u64().unwrap() > 0, "{member} {answer}");
    }
    assert!(metrics["memory_bytes_peak"].as_u64() <= loaded["limits"]["memory_bytes"].as_u64());
    // Of an earlier decision nobody remembers what it took.
    let again = ask(&world.client, &path("decide?provenance&metrics"), &body).is(200).json();
    assert_eq!((&again["repeated"], &again["provenance"]), (&json!(true), provenance));
    assert_eq!(again["metrics"].get("evaluation_ns"), None);
    // Nobody else is told.
    let plain = ask(&world.client, &path("decide"), &json!({"input": input("key.list")})).is(200).json();
    for member in ["provenance", "metrics", "explain"] {
        assert_eq!(plain.get(member), None, "{plain}");
    }
}

#[test]
fn an_explanation_ties_what_was_read_to_the_reasons_that_rest_on_it() {
    let world = World::furnished();
    let mut input = input("key.list");
    input.as_object_mut().unwrap().remove("resource");
    let explained = |input: &Value| {
        let body = json!({"items": [{"input": input}]});
        let answer = ask(&world.client, &path("batch?explain"), &body).json();
        answer["items"][0]["decision"].clone()
    };
    let fault = explained(&input);
    assert_eq!(fault["fault"]["code"], "invalid-input", "{fault}");
    assert_eq!(fault["explain"][0]["reasons"], json!([]), "{fault}");

    // This policy reads the whole input at once.
    input["resource"] = "bank".into();
    let granted = explained(&input);
    let whole = json!({"document": "input", "operation": "json", "pointer": "", "absent": false, "reasons": ["granted"]});
    assert_eq!(granted["explain"], json!([whole]), "{granted}");
}
