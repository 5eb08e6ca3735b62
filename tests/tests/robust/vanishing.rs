//! Clients that vanish in the middle of anything.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::Barrier;
use std::thread::{scope, sleep};
use std::time::{Duration, Instant};

use serde_json::json;
use verdict_tests::server::text;

use crate::bank::Bank;
use crate::client::Client;
use crate::support;

const POLICY: &str = "/v1/tenants/bank/policies/loan";
/// A guest that never ends by itself: it holds its turn until its fuel is burned.
const SPIN: &str = "(loop $l (br $l)) (unreachable)";
const TURNS: usize = 2;
const QUEUE: usize = 6;

/// Begins something, and is gone in the middle of it.
fn vanish(address: &str, way: usize) {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    let asking = |path: &str, length: usize, body: &str| {
        format!("POST {path} HTTP/1.1\r\nhost: h\r\ncontent-length: {length}\r\n\r\n{body}")
    };
    let question = r#"{"input": {}}"#;
    let batch = json!({ "items": vec![json!({"input": {}}); 50] }).to_string();
    let decide = format!("{POLICY}/decide");
    let sent = match way % 5 {
        // In the middle of a body.
        0 => asking(&decide, 1_000, question),
        // While it waits for its turn, or is evaluated.
        1 => asking(&decide, question.len(), question),
        // The same of many at once.
        2 => asking(&format!("{POLICY}/batch"), batch.len(), &batch),
        // One after the other without reading an answer.
        3 => asking(&decide, question.len(), question).repeat(10),
        _ => "GET /v1/tenants/bank/decisions HTTP/1.1\r\nhost: h\r\n\r\n".to_owned(),
    };
    // A server that has no room for it may have closed already.
    let _ = stream.write_all(sent.as_bytes());
    if way % 5 == 4 {
        // In the middle of a stream.
        let _ = stream.read(&mut [0; 64]);
    } else if way.is_multiple_of(2) {
        sleep(Duration::from_millis(20));
    }
}

#[test]
fn what_vanished_clients_held_is_free_again() {
    let bank = Bank::new();
    let release = bank.publish("1.0.0", &support::guest("", SPIN));
    bank.activate(1, &release);
    let budgets = bank.path("budgets.toml");
    std::fs::write(&budgets, format!("[default]\nconcurrency = {TURNS}\nqueue = {QUEUE}\n")).unwrap();
    let server =
        bank.serve(&["--budgets", text(&budgets), "--requests-max", "40", "--connections-max", "100"]);
    for _ in 0..3 {
        scope(|scope| {
            (0..60).for_each(|way| {
                drop(scope.spawn({
                    let address = &server.address;
                    move || vanish(address, way)
                }))
            });
        });
    }
    let (began, quiet) = (Instant::now(), (json!(0), json!(0)));
    loop {
        let usage = server.get("/v1/tenants/bank/usage").1;
        if (&usage["running"], &usage["waiting"]) == (&quiet.0, &quiet.1) {
            break;
        }
        assert!(began.elapsed() < Duration::from_secs(60), "something is held: {usage}");
        sleep(Duration::from_millis(50));
    }
    // As many as there are places have one, all at once.
    let barrier = Barrier::new(TURNS + QUEUE);
    scope(|scope| {
        for _ in 0..TURNS + QUEUE {
            scope.spawn(|| {
                let mut client = Client::new(&server.address);
                barrier.wait();
                let (status, answer) = client.post(&format!("{POLICY}/decide"), r#"{"input": {}}"#);
                assert_eq!((status, &answer["fault"]["code"]), (500, &json!("out-of-fuel")), "{answer}");
            });
        }
    });
    assert!(server.stop());
}
