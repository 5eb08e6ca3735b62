//! Decisions as they are made, for those who watch.

use std::io::{BufRead as _, BufReader, Lines};

use serde_json::{Value, json};

use crate::client::{Client, Stream};
use crate::world::{TENANTS, World, of_policy, policy_of};

fn path() -> String {
    format!("/v1/tenants/{}/decisions", TENANTS[0])
}

fn decide(client: &Client, tenant: &str, body: &Value) {
    let path = format!("{}/batch", of_policy(&policy_of(tenant).parse().unwrap()));
    assert!([200, 207].contains(&client.post(&path, body).status));
}

/// Who watches from now on.
fn watch(client: &Client) -> Lines<BufReader<Box<dyn Stream>>> {
    let mut lines = BufReader::new(client.send("GET", &path(), &[], b"")).lines();
    let status = lines.next().unwrap().unwrap();
    assert!(status.ends_with(" 200 OK"), "{status}");
    // Whoever has the head is told of everything from here on.
    assert!(lines.any(|line| line.unwrap().is_empty()));
    lines
}

/// The next event: what it is called, and what it says.
fn next(lines: &mut Lines<BufReader<Box<dyn Stream>>>) -> (String, Value) {
    let mut name = String::new();
    loop {
        let line = lines.next().expect("the stream goes on").unwrap();
        if let Some(event) = line.strip_prefix("event: ") {
            name = event.to_owned();
        }
        if let Some(data) = line.strip_prefix("data: ") {
            return (name, serde_json::from_str(data).unwrap());
        }
    }
}

#[test]
fn whoever_watches_is_told_of_each_decision_but_not_what_it_was_about() {
    let world = World::furnished();
    let auditor = world.role(Some(TENANTS[0]), "auditor");
    let mut lines = watch(&auditor);
    let input = json!({
        "principal": {"kind": "token", "id": "a", "person": "secret-person", "tenant": null, "roles": ["auditor"]},
        "action": "event.read", "tenant": null, "resource": "",
    });
    // Of another tenant nothing is told.
    decide(&world.client, TENANTS[1], &json!({"items": [{"id": "elsewhere", "input": input}]}));
    decide(
        &world.client,
        TENANTS[0],
        &json!({"items": [{"id": "t-1", "input": input}, {"id": "t-2", "input": {}}]}),
    );
    let answers = [next(&mut lines), next(&mut lines)];
    let of = |id: &str| {
        let found = answers.iter().find(|(name, event)| name == "decision" && event["decision_id"] == id);
        found.unwrap_or_else(|| panic!("{id} {answers:?}")).1.clone()
    };
    let (answer, fault) = (of("t-1"), of("t-2"));
    let decision = world.client.get(&format!("{}/t-1", path())).is(200).json();
    for member in
        ["allow", "policy", "version", "component", "rule", "fuel", "received_at", "channel", "sequence"]
    {
        assert_eq!(answer[member], decision[member], "{member} {answer}");
    }
    assert!(answer["index"].is_u64() && answer["evaluation_ns"].as_u64() > Some(0), "{answer}");
    assert_eq!((&fault["fault"], &fault["allow"]), (&json!("invalid-input"), &json!(false)), "{fault}");
    assert!(!format!("{answers:?}").contains("secret-person") && answer.get("value").is_none());
}

#[test]
fn who_does_not_read_is_told_how_many_decisions_were_lost() {
    let world = World::furnished();
    let mut lines = watch(&world.client);
    let items = vec![json!({"input": {}}); 1_000];
    let rounds = 16;
    for _ in 0..rounds {
        decide(&world.client, TENANTS[0], &json!({"items": items}));
    }
    let (mut told, mut lost) = (0, 0);
    while told + lost < rounds * 1_000 {
        match next(&mut lines) {
            (name, event) if name == "lost" => lost += event["decisions"].as_u64().unwrap(),
            _ => told += 1,
        }
    }
    assert!(lost > 0 && told + lost == rounds * 1_000, "{told} {lost}");
}

#[test]
fn nobody_watches_who_may_not_read_decisions() {
    let world = World::furnished();
    let publisher = world.role(Some(TENANTS[0]), "publisher");
    assert_eq!(publisher.get(&path()).problem(), (403, "denied".into()));
    assert_eq!(
        world.client.get(&format!("{}?policy=x", path())).problem(),
        (400, "malformed-request".into())
    );
}
