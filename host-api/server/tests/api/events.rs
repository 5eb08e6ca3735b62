//! What happened, and what happens.

use std::io::Read as _;

use serde_json::json;
use verdict_tests::server::Server;

use crate::client::{Address, Client};
use crate::world::{TENANTS, World};

#[test]
fn a_change_is_an_event_with_who_and_in_which_request() {
    let world = World::open();
    let admin = world.role(Some(TENANTS[0]), "tenant_admin");
    let path = format!("/v1/tenants/{}/policies", TENANTS[0]);
    let headers = [("Content-Type", "application/json"), ("X-Request-ID", "ticket-7")];
    let answer = admin.ask("POST", &path, &headers, b"{\"name\":\"loan\"}").is(201);
    assert_eq!(answer.header("x-request-id"), Some("ticket-7"));
    let events = admin.get("/v1/events?limit=1000").is(200).json();
    let last = events["items"].as_array().unwrap().last().unwrap().clone();
    assert_eq!(last["correlation_id"], "ticket-7");
    assert_eq!(last["kind"], "policy.created");
    assert!(last["actor"].as_str().unwrap().contains("tenant_admin"), "{last}");
    assert_eq!(last["subject"], format!("{}/loan", TENANTS[0]));
}

#[test]
fn pages_of_events_have_each_once() {
    let world = World::open();
    let all = world.client.get("/v1/events?limit=1000").is(200).json();
    let (mut numbers, mut after) = (Vec::new(), String::new());
    loop {
        let page = world.client.get(&format!("/v1/events?limit=4{after}")).is(200).json();
        numbers
            .extend(page["items"].as_array().unwrap().iter().map(|event| event["event"].as_u64().unwrap()));
        match page["next"].as_str() {
            Some(next) => after = format!("&after={next}"),
            None => break,
        }
    }
    let expected: Vec<u64> =
        all["items"].as_array().unwrap().iter().map(|event| event["event"].as_u64().unwrap()).collect();
    assert_eq!(numbers, expected);
    assert!(numbers.len() > 20);
}

#[test]
fn a_stream_tells_what_happens_and_goes_on_where_it_broke_off() {
    let world = World::open();
    let head = world.block_on(world.registry.catalogue().event_head()).unwrap();
    let path = format!("/v1/tenants/{}", TENANTS[0]);
    let streaming = {
        let client = world.client.clone();
        std::thread::spawn(move || client.stream(&format!("/v1/events/stream?after={head}"), &[], 2))
    };
    for text in ["one", "two"] {
        world.client.json("PATCH", &path, &json!({"description": text})).is(200);
    }
    let events = streaming.join().unwrap();
    let numbers: Vec<u64> = events.iter().map(|(id, _)| *id).collect();
    assert_eq!(numbers, [head + 1, head + 2]);
    assert!(events.iter().all(|(id, event)| event["event"] == *id && event["kind"] == "tenant.changed"));
    let last = (head + 1).to_string();
    let resumed = world.client.stream("/v1/events/stream", &[("Last-Event-ID", &last)], 1);
    assert_eq!(resumed[0].0, head + 2);
}

#[test]
fn a_stream_of_a_tenant_has_its_own_events() {
    let world = World::open();
    let head = world.block_on(world.registry.catalogue().event_head()).unwrap();
    for tenant in [TENANTS[1], TENANTS[0]] {
        world.client.json("PATCH", &format!("/v1/tenants/{tenant}"), &json!({"description": "x"})).is(200);
    }
    let auditor = world.role(Some(TENANTS[0]), "auditor");
    let events = auditor.stream(&format!("/v1/events/stream?after={head}"), &[], 1);
    assert_eq!((events[0].0, events[0].1["tenant"].as_str()), (head + 2, Some(TENANTS[0])));
}

#[test]
fn over_the_break_glass_socket_everything_is_allowed_and_written_down() {
    let world = World::open();
    let glass = Client { address: Address::Unix(world.socket.clone()), token: None };
    glass.post("/v1/tenants", &json!({"name": "rescued"})).is(201);
    let events = world.client.get("/v1/events?limit=1000").is(200).json();
    assert_eq!(events["items"].as_array().unwrap().last().unwrap()["actor"], "break-glass");
    // Nobody else is let in by saying so.
    assert_eq!(world.client.nobody().get("/v1/tenants").problem(), (401, "unauthenticated".into()));
}

#[test]
fn a_server_that_stops_ends_its_streams_and_lets_nobody_wait() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("glass.sock");
    let server = Server::registry(folder.path(), &["--break-glass", socket.to_str().unwrap()]);
    let client = Client { address: Address::Unix(socket), token: None };
    client.post("/v1/tenants", &json!({"name": "bank"})).is(201);
    let mut stream = client.send("GET", "/v1/events/stream?after=0", &[], b"");
    let mut first = [0; 64];
    stream.read_exact(&mut first).unwrap();
    let mut waiting = client.send("GET", "/v1/registry/documents?after=1&wait=30", &[], b"");
    // Whoever came before this has been let in.
    client.get("/health/live").is(200);
    assert!(server.stop());
    stream.read_to_end(&mut Vec::new()).unwrap();
    let mut answer = String::new();
    waiting.read_to_string(&mut answer).unwrap();
    // Nothing, if its request was not read any more.
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.0 304"), "{answer}");
    let log = std::fs::read_to_string(folder.path().join("server.log")).unwrap();
    assert!(!log.contains("did not finish in time"), "{log}");
}
