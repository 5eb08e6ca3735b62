//! Trying out what nobody has signed: who may, what comes of it, and that nothing is left of it.

use std::io::Write as _;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::client::{Address, Client};
use crate::world::{TENANTS, World, policy_of};

fn path() -> String {
    format!("/v1/tenants/{}/preview", TENANTS[0])
}

fn question(action: &str) -> Value {
    let principal = json!({"kind": "token", "id": "a", "person": "a", "tenant": null, "roles": ["auditor"]});
    json!({"principal": principal, "action": action, "tenant": "bank", "resource": ""})
}

fn unsaved(world: &World) -> Value {
    let limits = json!({"fuel": 500_000});
    let component = STANDARD.encode(&world.component);
    json!({"component": component, "rule": "allow", "input": question("event.read"), "limits": limits})
}

/// The number of decisions and events in the log, once there is a checkpoint: at most a second after the first.
fn size(world: &World) -> u64 {
    let path = format!("/v1/tenants/{}/log/checkpoint", TENANTS[0]);
    let mut tries = 0;
    while world.client.get(&path).status == 404 && tries < 100 {
        std::thread::sleep(Duration::from_millis(100));
        tries += 1;
    }
    let text = world.client.get(&path).is(200).text();
    text.lines().nth(1).unwrap().parse().unwrap()
}

/// The same when nothing is added any more: what happened in the registry comes to the log a little later.
fn settled_size(world: &World) -> u64 {
    let mut before = size(world);
    for _ in 0..20 {
        std::thread::sleep(Duration::from_millis(1_200));
        let now = size(world);
        if now == before {
            break;
        }
        before = now;
    }
    before
}

#[test]
fn a_publisher_tries_a_component_out_that_nobody_has_signed() {
    let world = World::furnished();
    let publisher = world.role(Some(TENANTS[0]), "publisher");
    let before = settled_size(&world);
    let answer = publisher.post(&path(), &unsaved(&world)).is(200).json();
    assert_eq!((&answer["preview"], &answer["recorded"]), (&json!(true), &json!(false)), "{answer}");
    assert_eq!(
        (&answer["value"], &answer["reasons"][0]["code"]),
        (&json!(true), &json!("granted")),
        "{answer}"
    );
    assert_eq!((&answer["limits"]["fuel"], &answer["explain"][0]["pointer"]), (&json!(500_000), &json!("")));
    assert!(answer["fuel"].as_u64() <= Some(500_000) && answer.get("decision_id").is_none(), "{answer}");
    // A fault is what one wants to see, too.
    let mut poor = unsaved(&world);
    poor["limits"]["fuel"] = 20_000.into();
    let fault = publisher.post(&path(), &poor).is(500).json();
    assert_eq!((&fault["fault"]["code"], &fault["allow"]), (&json!("out-of-fuel"), &json!(false)), "{fault}");
    // A checkpoint is at most a second away.
    std::thread::sleep(Duration::from_millis(1_500));
    assert_eq!(size(&world), before);
    let loaded = world.client.get("/v1/policies").is(200).json();
    assert_eq!(loaded["policies"].as_array().unwrap().len(), TENANTS.len());
}

#[test]
fn a_policy_is_tried_out_on_another_question_and_not_recorded() {
    let world = World::furnished();
    let name = policy_of(TENANTS[0]).split_once('/').unwrap().1.to_owned();
    let ask = |more: Value| {
        let mut body = json!({"policy": name, "input": question("key.create")});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        world.client.post(&path(), &body)
    };
    let answer = ask(json!({"channel": "production", "data": {"owner": "x"}})).is(200).json();
    assert_eq!((&answer["value"], &answer["recorded"]), (&json!(false), &json!(false)), "{answer}");
    assert_eq!(ask(json!({"channel": "nosuch"})).problem(), (404, "unknown-channel".into()));
    assert_eq!(ask(json!({"rule": "nosuch"})).problem(), (404, "unknown-rule".into()));
    assert_eq!(ask(json!({"limits": {"fuel": 7}})).problem(), (400, "malformed-request".into()));
    assert_eq!(ask(json!({"data": []})).problem(), (400, "malformed-data".into()));
    assert_eq!(ask(json!({"policy": "absent"})).problem(), (404, "unknown-policy".into()));
    // Another tenant's policy has no name here.
    let other = policy_of(TENANTS[1]).split_once('/').unwrap().1.to_owned();
    assert_eq!(ask(json!({"policy": other})).problem(), (404, "unknown-policy".into()));
}

#[test]
fn what_is_no_component_is_refused_with_the_reason() {
    let world = World::furnished();
    let ask = |more: Value| {
        let mut body = unsaved(&world);
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        world.client.post(&path(), &body).problem()
    };
    assert_eq!(ask(json!({"component": STANDARD.encode("\0asm")})), (422, "malformed-component".into()));
    assert_eq!(ask(json!({"component": "!"})), (400, "malformed-request".into()));
    assert_eq!(ask(json!({"channel": "production"})), (400, "malformed-request".into()));
    assert_eq!(ask(json!({"limits": {"fuel": 0}})), (400, "malformed-request".into()));
    assert_eq!(ask(json!({"allow": "no pointer"})), (400, "malformed-request".into()));
    let text = unsaved(&world).to_string();
    let twice = text.replacen("\"action\"", "\"action\":1,\"action\"", 1);
    let answer = world.client.ask("POST", &path(), &[("Content-Type", "application/json")], twice.as_bytes());
    assert_eq!(answer.problem(), (400, "malformed-input".into()));
    let answer = world.client.json("POST", &format!("{}?dry", path()), &unsaved(&world));
    assert_eq!(answer.problem(), (400, "malformed-request".into()));
}

#[test]
fn only_those_who_write_policies_try_them_out() {
    let world = World::furnished();
    for (role, status) in [("publisher", 200), ("tenant_admin", 200), ("agent", 403), ("auditor", 403)] {
        let answer = world.role(Some(TENANTS[0]), role).post(&path(), &unsaved(&world));
        assert_eq!(answer.status, status, "{role}: {}", answer.text());
        let elsewhere = world.role(Some(TENANTS[1]), role).post(&path(), &unsaved(&world));
        assert_eq!(elsewhere.status, 404, "{role}: {}", elsewhere.text());
    }
    assert_eq!(world.client.nobody().post(&path(), &json!({})).status, 401);
}

/// A preview whose body never ends.
fn begun(client: &Client) -> TcpStream {
    let (Address::Tcp(address), Some(token)) = (&client.address, &client.token) else { panic!("over TCP") };
    let mut stream = TcpStream::connect(address).unwrap();
    let head = format!(
        "POST {} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n{{",
        path()
    );
    stream.write_all(head.as_bytes()).unwrap();
    stream
}

#[test]
fn a_third_one_is_sent_away_until_there_is_room() {
    let world = World::furnished();
    // One that is asked for too early may meet the place of a question and be sent away itself: so more follow.
    let (mut under_way, deadline) = (Vec::new(), Instant::now() + Duration::from_secs(60));
    let answer = loop {
        under_way.push(begun(&world.client));
        let answer = world.client.post(&path(), &json!({}));
        if answer.status == 503 {
            break answer;
        }
        assert!(Instant::now() < deadline, "{}", answer.text());
        std::thread::sleep(Duration::from_millis(50));
    };
    assert_eq!(answer.problem(), (503, "overloaded".into()));
    assert_eq!(answer.header("retry-after"), Some("1"));
    drop(under_way);
    let answer = loop {
        let answer = world.client.post(&path(), &json!({}));
        if answer.status != 503 {
            break answer;
        }
        assert!(Instant::now() < deadline, "{}", answer.text());
        std::thread::sleep(Duration::from_millis(50));
    };
    assert_eq!(answer.problem(), (400, "malformed-request".into()));
}
