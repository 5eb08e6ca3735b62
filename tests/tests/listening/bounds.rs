//! What is too much is refused at once, and said so; what is slow is not waited for.

use std::process::Command;
use std::time::Duration;

use verdict_tests::server::{Server, Site};

use crate::client::{Client, LIVE, tcp, try_tcp};
use crate::h2;

#[test]
fn connections_beyond_the_most_are_told_so_and_health_is_answered_all_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::registry(folder.path(), &["--connections-max", "2"]);
    let (mut first, mut second) = (tcp(&server.address), tcp(&server.address));
    assert_eq!((first.ask(LIVE).status, second.ask(LIVE).status), (200, 200));
    let question = "GET /v1/openapi.json HTTP/1.1\r\nhost: h\r\n\r\n";
    let mut third = tcp(&server.address);
    let answer = third.ask(question);
    assert_eq!((answer.status, answer.header("retry-after")), (503, Some("1")), "{}", answer.head);
    assert!(answer.closes() && answer.body.contains("overloaded"), "{answer:?}");
    assert!(third.rest().is_empty());
    assert_eq!(tcp(&server.address).ask(LIVE).status, 200);
    assert_eq!(first.ask(question).status, 200);
    drop(first);
    // Its place is free as soon as the server has seen that it is gone.
    while tcp(&server.address).ask(question).status == 503 {}
    assert_eq!(second.ask(question).status, 200);
}

const QUESTION: &str = "GET /v1/openapi.json HTTP/1.1\r\nhost: h\r\n\r\n";

/// The head of a question with a body, which no policy answers: there is none. It is read all the same.
fn asking(headers: &str) -> String {
    format!("POST /v1/tenants/default/policies/none/decide HTTP/1.1\r\nhost: h\r\n{headers}\r\n\r\n")
}

#[test]
fn requests_beyond_the_most_are_told_so_before_their_body_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::registry(folder.path(), &["--requests-max", "1"]);
    let mut first = tcp(&server.address);
    first.send(asking("expect: 100-continue\r\ncontent-length: 12")).unwrap();
    // It is under way when its body is asked for.
    assert_eq!(first.answer().unwrap().unwrap().status, 100);
    let mut second = tcp(&server.address);
    let refused = second.ask(&asking("content-length: 1000000"));
    assert_eq!((refused.status, refused.header("retry-after")), (503, Some("1")));
    assert!(refused.body.contains("overloaded"), "{}", refused.body);
    assert_eq!(tcp(&server.address).ask(LIVE).status, 200);
    first.send(r#"{"input":{}}"#).unwrap();
    assert_eq!(first.answer().unwrap().unwrap().status, 404);
    assert_eq!(tcp(&server.address).ask(QUESTION).status, 200);
}

#[test]
fn who_is_slow_is_not_waited_for() {
    let folder = tempfile::tempdir().unwrap();
    let limits = ["--header-timeout", "400ms", "--idle-timeout", "2s", "--request-timeout", "1s"];
    let server = Server::registry(folder.path(), &limits);
    // Nothing at all; a head that trickles; a preface of HTTP/2 that does.
    let mut silent = tcp(&server.address);
    assert!(silent.rest().is_empty());
    for text in [QUESTION, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"] {
        let mut slow = tcp(&server.address);
        let sent = text.bytes().take_while(|byte| {
            std::thread::sleep(Duration::from_millis(50));
            slow.send([*byte]).is_ok()
        });
        assert!(sent.count() < text.len());
        assert!(slow.rest().is_empty());
    }
    // The second head is held to the same as the first.
    let mut again = tcp(&server.address);
    assert_eq!(again.ask(LIVE).status, 200);
    again.send("GET /health").unwrap();
    assert!(again.rest().is_empty());
    // A body that trickles.
    let mut slow = tcp(&server.address);
    slow.send(asking("content-length: 100")).unwrap();
    while slow.send("1").is_ok() {
        std::thread::sleep(Duration::from_millis(50));
    }
    let rest = String::from_utf8_lossy(&slow.rest()).into_owned();
    assert!(rest.is_empty() || rest.starts_with("HTTP/1.1 503 "), "{rest}");
    // One that is idle for longer than a head may take, and asks again; then for too long.
    let mut idle = tcp(&server.address);
    assert_eq!(idle.ask(LIVE).status, 200);
    std::thread::sleep(Duration::from_millis(900));
    assert_eq!(idle.ask(LIVE).status, 200);
    assert!(idle.rest().is_empty());
    assert!(server.stop());
}

#[test]
fn what_is_too_large_is_refused_and_the_refusal_arrives() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::registry(folder.path(), &["--body-bytes-max", "1000"]);
    let large = "x".repeat(3 << 20);
    let chunks = format!("{:x}\r\n{large}\r\n0\r\n\r\n", large.len());
    for (head, body) in
        [(format!("content-length: {}", large.len()), &large), ("transfer-encoding: chunked".into(), &chunks)]
    {
        let mut client = tcp(&server.address);
        client.send(asking(&head)).unwrap();
        // The server may have closed its ears meanwhile; the answer is there.
        let _ = client.send(body);
        assert_eq!(client.answer().unwrap().unwrap().status, 413, "{head}");
    }
    let long = format!("x: {}", "x".repeat(70 << 10));
    let many = (0..101).map(|index| format!("x-{index}: y")).collect::<Vec<_>>().join("\r\n");
    for headers in [long, many] {
        let mut client = tcp(&server.address);
        client.send(LIVE.replace("host: h", &format!("host: h\r\n{headers}"))).unwrap();
        assert_eq!(client.answer().unwrap().unwrap().status, 431);
        assert!(client.rest().is_empty());
    }
    let mut client = tcp(&server.address);
    client.send(LIVE.replace("/health/live", &format!("/{}", "x".repeat(66_000)))).unwrap();
    assert!(matches!(client.answer().unwrap().unwrap().status, 414 | 431));
}

#[test]
fn http_2_is_spoken_with_those_who_know_it_and_a_flood_ends_its_own_connection_only() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::registry(folder.path(), &[]);
    let mut steady = h2::Client::new(tcp(&server.address).io);
    assert_eq!(steady.ask(1, "/health/live"), Some(h2::OK));
    // Requests that are taken back at once, over and over (CVE-2023-44487).
    let mut flood = h2::Client::new(tcp(&server.address).io);
    let mut bytes = Vec::new();
    for stream in (1..20_001).step_by(2) {
        bytes.extend(h2::get(stream, "/v1/openapi.json"));
        bytes.extend(h2::frame(h2::RST_STREAM, 0, stream, &8_u32.to_be_bytes()));
    }
    let _ = flood.send(&bytes);
    let mut frames = std::iter::from_fn(|| flood.next());
    let goodbye = frames.find(|frame| frame.kind == h2::GOAWAY).expect("it is told");
    // ENHANCE_YOUR_CALM.
    assert_eq!(goodbye.payload[4..8], 11_u32.to_be_bytes());
    assert_eq!(steady.ask(3, "/health/ready"), Some(h2::OK));
    // One connection is told how much it may ask at a time.
    let mut many = h2::Client::new(tcp(&server.address).io);
    let settings = many.next().unwrap();
    let most = settings.payload.chunks(6).find(|setting| setting[..2] == [0, 3]).expect("it is said");
    assert_eq!(most[2..], 256_u32.to_be_bytes());
    assert_eq!(many.ask(1, "/health/live"), Some(h2::OK));
    assert!(server.stop());
}

#[test]
fn clients_that_vanish_leave_nothing_behind() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::registry(folder.path(), &["--connections-max", "40", "--requests-max", "40"]);
    for round in 0..4 {
        let clients: Vec<_> = (0..40)
            .filter_map(|index| {
                let mut client = Client::new(try_tcp(&server.address).ok()?);
                let sent = match (index + round) % 4 {
                    0 => client.send(&QUESTION[..20]),
                    1 => client.send(asking("content-length: 1000")),
                    2 => client.send(QUESTION.repeat(20)),
                    _ => client.send(QUESTION).and_then(|()| client.answer().map(drop)),
                };
                sent.ok().map(|()| client)
            })
            .collect();
        drop(clients);
    }
    // There is room for as many again.
    let mut clients: Vec<_> = Vec::new();
    while clients.len() < 40 {
        let mut client = tcp(&server.address);
        if client.ask(QUESTION).status == 200 {
            clients.push(client);
        }
    }
    assert_eq!(tcp(&server.address).ask(QUESTION).status, 503);
    drop(clients);
    assert!(server.stop());
}

/// 10,000 where everything is run; some hundreds otherwise.
#[test]
fn idle_connections_hold_nobody_up() {
    let is_full = std::env::var_os("VERDICT_FULL").is_some();
    let count = if is_full { 10_000 } else { 300 };
    if !is_full {
        eprintln!("only {count} idle connections: VERDICT_FULL is not set");
    }
    // For this program's own ends of them.
    let id = std::process::id().to_string();
    let room = format!("--nofile={}:", count + 1_000);
    let raised = Command::new("prlimit").args(["--pid", &id, &room]).status();
    assert!(raised.is_ok_and(|status| status.success()), "the machine does not allow {count} open files");
    let more = ["--connections-max", "10100", "--header-timeout", "5m", "--idle-timeout", "5m"];
    let (_site, _folder, server) = if is_full {
        let site = Site::new(&["loan-eligibility"]);
        let server = site.serve(&more);
        (Some(site), None, server)
    } else {
        let folder = tempfile::tempdir().unwrap();
        let server = Server::registry(folder.path(), &more);
        (None, Some(folder), server)
    };
    let mut idle: Vec<_> = (0..count).map(|_| tcp(&server.address)).collect();
    for client in idle.iter_mut().step_by(2) {
        assert_eq!(client.ask(LIVE).status, 200);
    }
    for _ in 0..200 {
        if is_full {
            let (status, decision) = server.decide("loan-eligibility", r#"{"input": {}}"#);
            assert!(status < 500 && decision["decision_id"].is_string(), "{status} {decision}");
        } else {
            assert_eq!(tcp(&server.address).ask(QUESTION).status, 200);
        }
    }
    for client in idle.iter_mut().rev().take(100) {
        assert_eq!(client.ask(LIVE).status, 200);
    }
    assert!(server.stop());
}
