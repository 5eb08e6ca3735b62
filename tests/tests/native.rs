//! The native API of the real binary, asked about policies of the library.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::{Value, json};
use verdict_tests::server::{Server, Site};

const RBAC: &str = "role-based-access";
const BATCH: &str = "/v1/tenants/default/policies/role-based-access/batch";

/// Members in which a decision is another one, though it says the same.
const OWN: [&str; 3] = ["decision_id", "decision_time", "received_at"];

fn said(mut decision: Value) -> Value {
    OWN.iter().for_each(|member| drop(decision.as_object_mut().unwrap().remove(*member)));
    decision
}

/// Who watches decisions; returns when nothing that is made from now on is missed.
fn watch(server: &Server) -> BufReader<TcpStream> {
    let mut stream = TcpStream::connect(&server.address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    stream.write_all(b"GET /v1/tenants/default/decisions HTTP/1.0\r\nHost: x\r\n\r\n").unwrap();
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    while line != "\r\n" {
        line.clear();
        assert!(reader.read_line(&mut line).unwrap() > 0);
    }
    reader
}

#[test]
fn a_batch_over_several_threads_says_what_its_questions_alone_say() {
    let site = Site::new(&[RBAC]);
    let server = site.serve(&[]);
    let inputs = [
        json!({"user": "bob", "action": "update", "type": "cat"}),
        json!({"user": "bob", "action": "update", "type": "dog"}),
        json!({"user": "nobody", "action": "read", "type": "cat"}),
        json!({"user": 7}),
    ];
    let alone: Vec<_> =
        inputs.iter().map(|input| server.decide(RBAC, &json!({"input": input}).to_string())).collect();
    assert_eq!(alone[0].1["allow"], true, "{:?}", alone[0]);
    // More than are waited for at a time.
    let items: Vec<_> = (0..700).map(|n| json!({"input": inputs[n % 4]})).collect();
    let (status, answer) = server.post(BATCH, &json!({"items": items}).to_string());
    assert_eq!(status, 207);
    let items = answer["items"].as_array().unwrap();
    assert_eq!(items.len(), 700);
    for (at, item) in items.iter().enumerate() {
        let (status, decision) = &alone[at % 4];
        assert_eq!(item["status"], *status, "{at}");
        assert_eq!(said(item["decision"].clone()), said(decision.clone()), "{at}");
    }
    // What was read of the data is told apart from what was read of the input.
    let (_, answer) =
        server.post(&format!("{BATCH}?explain"), &json!({"items": [{"input": inputs[0]}]}).to_string());
    let reads = answer["items"][0]["decision"]["explain"].as_array().unwrap();
    let documents: Vec<_> = reads.iter().map(|read| read["document"].as_str().unwrap()).collect();
    assert!(documents.contains(&"input") && documents.contains(&"data"), "{answer}");
}

#[test]
fn who_watches_decisions_is_told_of_each_until_the_server_stops() {
    let site = Site::new(&[RBAC]);
    let server = site.serve(&[]);
    let mut watching = watch(&server);
    let asked: Vec<String> = (0..20).map(|n| format!("d-{n}")).collect();
    let item = |id: &String| json!({"id": id, "input": {"user": "bob", "action": "a", "type": "b"}});
    let body = json!({"items": asked.iter().map(item).collect::<Vec<_>>()}).to_string();
    assert_eq!(server.post(BATCH, &body).0, 200);
    // The same once more is the same decision, and not told again.
    assert_eq!(server.post(BATCH, &body).1["items"][0]["decision"]["repeated"], true);
    assert!(server.stop());
    let mut told = String::new();
    watching.read_to_string(&mut told).unwrap();
    let events = told.lines().filter_map(|line| line.strip_prefix("data: "));
    let mut ids: Vec<_> = events
        .map(|event| {
            serde_json::from_str::<Value>(event).unwrap()["decision_id"].as_str().unwrap().to_owned()
        })
        .collect();
    ids.sort_by_key(|id| asked.iter().position(|asked| asked == id));
    assert_eq!(ids, asked);
    let log = std::fs::read_to_string(site.path("server.log")).unwrap();
    assert!(!log.contains("did not finish in time"), "{log}");
}

#[test]
fn nobody_previews_where_no_access_policy_says_who_may() {
    let site = Site::new(&[RBAC]);
    let server = site.serve(&[]);
    let (status, answer) =
        server.post("/v1/tenants/default/preview", r#"{"policy":"role-based-access","input":{}}"#);
    assert_eq!((status, &answer["type"]), (403, &json!("urn:verdict:problem:no-access-policy")), "{answer}");
}
