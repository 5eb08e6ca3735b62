//! The client of a server of ours, against one that answers what a script says: what is sent again, what is read, and
//! what is told when the server says no. Against the real one it is tested with the command.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::ops::ControlFlow;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};
use verdict_core::digest::Digest;
use verdict_core::refusal::RefusalCode;
use verdict_registry::remote::{RemoteError, Server};
use verdict_registry::{Publish as _, RegistryError, Source as _};

const TOKEN: &str = "verdict_1_s3cret";

/// What is answered: a head after the version of HTTP, and a body. An empty head closes the connection.
type Script = Vec<(&'static str, String)>;

/// A server that answers one request after another by a script.
struct Scripted {
    server: Server,
    /// What was asked: heads and bodies.
    asked: Arc<Mutex<Vec<String>>>,
}

impl Scripted {
    fn start(script: Script) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let asked = Arc::<Mutex<Vec<String>>>::default();
        let heard = Arc::clone(&asked);
        thread::spawn(move || {
            for (head, body) in script {
                let mut client = listener.accept().unwrap().0;
                heard.lock().unwrap().push(request(&mut client));
                if head.contains("endless") {
                    let _ = write!(client, "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n");
                    while client.write_all(format!("1000\r\n{}\r\n", " ".repeat(0x1000)).as_bytes()).is_ok() {
                    }
                } else if !head.is_empty() {
                    let length = body.len();
                    let _ = write!(
                        client,
                        "HTTP/1.1 {head}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}"
                    );
                }
            }
        });
        Self { server: Server::new(url.parse().unwrap(), Some(TOKEN.parse().unwrap())).unwrap(), asked }
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

/// A request with its body, its names in lower case.
fn request(client: &mut TcpStream) -> String {
    let (mut text, mut byte) = (String::new(), [0]);
    while !text.ends_with("\r\n\r\n") && client.read(&mut byte).is_ok_and(|read| read == 1) {
        text.push(byte[0].into());
    }
    let length = header(&text, "content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
    let mut body = vec![0; length];
    client.read_exact(&mut body).unwrap();
    text + &String::from_utf8_lossy(&body)
}

fn header(request: &str, name: &str) -> Option<String> {
    let lines = request.lines().take_while(|line| !line.is_empty()).filter_map(|line| line.split_once(':'));
    lines.filter(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim().into()).next()
}

fn problem(status: &'static str, code: &str, detail: &str) -> (&'static str, String) {
    let body = json!({
        "type": format!("urn:verdict:problem:{code}"), "title": "no", "detail": detail, "correlation_id": "r-1",
    });
    (status, body.to_string())
}

fn documents(event: u64, channels: &[&str]) -> String {
    json!({ "event": event, "trust": [], "revocations": null, "channels": channels, "data": [] }).to_string()
}

#[test]
fn what_is_made_is_sent_again_under_the_same_key_until_the_server_can() {
    let busy = "503 Busy\r\ncontent-type: application/problem+json\r\nretry-after: 0";
    let scripted = Scripted::start(vec![
        problem(busy, "busy", "the catalogue is busy"),
        ("", String::new()),
        ("201 Created", json!({ "name": "bank" }).to_string()),
    ]);
    let made = scripted.server.create_json(&["v1", "tenants"], &json!({ "name": "bank" })).unwrap();
    assert_eq!(made["name"], "bank");
    let asked = scripted.asked();
    assert_eq!(asked.len(), 3);
    let key = header(&asked[0], "idempotency-key").unwrap();
    for request in &asked {
        assert!(request.starts_with("POST /v1/tenants HTTP/1.1\r\n"), "{request}");
        assert!(request.ends_with(r#"{"name":"bank"}"#), "{request}");
        assert_eq!(header(request, "authorization"), Some(format!("Bearer {TOKEN}")));
        assert_eq!(header(request, "idempotency-key"), Some(key.clone()));
    }
}

#[test]
fn a_refusal_is_told_as_the_server_tells_it_and_not_tried_again() {
    let media_type = "\r\ncontent-type: application/problem+json";
    let heads = ["403 No", "409 No", "422 No", "404 No", "401 No"].map(|head| format!("{head}{media_type}"));
    let codes = ["denied", "too-few-signers", "revoked", "not-found", "unauthenticated"];
    for (head, code) in heads.into_iter().zip(codes) {
        let (_, body) = problem("", code, "one of two\u{1b}[2J");
        // A second answer, for where it is asked again with what it asks for.
        let head: &'static str = head.leak();
        let scripted = Scripted::start(vec![(head, body.clone()), (head, body)]);
        let error = scripted.server.put_revocations(b"{}").unwrap_err();
        let RegistryError::Remote(error) = error else { panic!("{error:?}") };
        assert!(
            error.to_string().contains(&format!("refuses PUT /v1/revocations: one of two [2J ({code})")),
            "{error}"
        );
        assert!(!format!("{error} {error:?}").contains("s3cret"));
        let RemoteError::Problem { problem, .. } = *error else { panic!("{error:?}") };
        assert_eq!((problem.code.as_str(), problem.correlation.as_str()), (code, "r-1"));
        assert!(scripted.asked().len() <= if code == "unauthenticated" { 2 } else { 1 });
    }
}

#[test]
fn what_has_not_changed_is_not_sent_again_and_news_end_a_wait() {
    let scripted = Scripted::start(vec![
        ("200 OK\r\netag: \"5\"", documents(5, &["b25l"])),
        ("304 Not Modified\r\netag: \"5\"", String::new()),
        ("304 Not Modified\r\netag: \"7\"", String::new()),
        ("200 OK\r\netag: \"9\"", documents(9, &["b25l", "dHdv"])),
        ("304 Not Modified", String::new()),
    ]);
    let one = scripted.server.documents().unwrap();
    assert_eq!(one.channels, [b"one"]);
    assert_eq!(scripted.server.documents().unwrap(), one);
    scripted.server.wait(Duration::from_secs(60));
    assert_eq!(scripted.server.documents().unwrap().channels, [b"one", b"two"]);
    let asked = scripted.asked();
    let lines: Vec<_> = asked.iter().map(|request| request.lines().next().unwrap()).collect();
    assert_eq!(lines[0], "GET /v1/registry/documents HTTP/1.1");
    assert!(header(&asked[0], "if-none-match").is_none());
    assert_eq!(header(&asked[1], "if-none-match").as_deref(), Some("\"5\""));
    assert_eq!(lines[2], "GET /v1/registry/documents?after=5&wait=20 HTTP/1.1");
    assert!(lines[3].contains("after=7&"), "{}", lines[3]);
    assert_eq!(header(&asked[4], "if-none-match").as_deref(), Some("\"9\""));
}

#[test]
fn reads_no_more_than_it_should_and_nothing_malformed() {
    let scripted = Scripted::start(vec![
        ("200 endless", String::new()),
        ("200 OK", documents(1, &["not base64!"])),
        ("200 OK", "{\"event\": 1}".into()),
    ]);
    let tenant = "bank".parse().unwrap();
    let refusal = scripted.server.data(&tenant, &Digest::of(b""), 10_000).unwrap_err();
    assert_eq!(refusal.code, RefusalCode::TooLarge, "{refusal}");
    for _ in 0..2 {
        let refusal = scripted.server.documents().unwrap_err();
        assert_eq!(refusal.code, RefusalCode::MalformedArtifact, "{refusal}");
    }
}

#[test]
fn a_history_comes_in_pages_newest_first_and_is_handed_on_oldest_first() {
    let page = |envelopes: &[&str], next: Value| {
        let items: Vec<_> = envelopes.iter().map(|envelope| json!({ "envelope": envelope })).collect();
        ("200 OK", json!({ "items": items, "next": next }).to_string())
    };
    let scripted = Scripted::start(vec![
        page(&["dGhyZWU=", "dHdv"], json!("a/b&c")),
        page(&["b25l"], Value::Null),
        page(&["dGhyZWU="], json!("more")),
        problem("404 No\r\ncontent-type: application/problem+json", "not-found", "there is no such channel"),
    ]);
    let (policy, channel) = ("bank/loan".parse().unwrap(), "production".parse().unwrap());
    let states = |count_max| scripted.server.channel_states(&policy, &channel, count_max).unwrap();
    assert_eq!(states(usize::MAX), [b"one".to_vec(), b"two".to_vec(), b"three".to_vec()]);
    assert_eq!(states(1), [b"three"]);
    assert!(states(1).is_empty());
    let asked = scripted.asked();
    let path = "GET /v1/tenants/bank/policies/loan/channels/production/states?limit=";
    assert!(asked[0].starts_with(&format!("{path}100 ")), "{}", asked[0]);
    assert!(asked[1].starts_with(&format!("{path}100&after=a%2Fb%26c ")), "{}", asked[1]);
    assert!(asked[2].starts_with(&format!("{path}1 ")), "{}", asked[2]);
}

#[test]
fn a_stream_that_breaks_off_is_taken_up_after_its_last_event() {
    let head = "200 OK\r\ncontent-type: text/event-stream";
    let event =
        |number: u64| format!("id: {number}\nevent: tenant.created\ndata: {{\"event\":{number}}}\n\n");
    let scripted = Scripted::start(vec![
        (head, format!(": comment\n\n{}{}id: 9\ndata: {{\"cut", event(7), event(8))),
        ("503 Busy\r\ncontent-type: application/problem+json", problem("", "busy", "wait").1),
        (head, event(9) + &event(10)),
    ]);
    let mut seen = Vec::new();
    let until_ten = |event: Value| {
        seen.push(event["event"].as_u64().unwrap());
        if seen.last() == Some(&10) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    };
    scripted.server.follow_events(&[("tenant", "bank")], 6, until_ten).unwrap();
    assert_eq!(seen, [7, 8, 9, 10]);
    let last: Vec<_> = scripted.asked().iter().map(|asked| header(asked, "last-event-id").unwrap()).collect();
    assert_eq!(last, ["6", "8", "8"]);
    assert!(scripted.asked()[0].starts_with("GET /v1/events/stream?tenant=bank "), "{}", scripted.asked()[0]);
}

/// A host loads many channels at the same time.
#[test]
fn many_threads_ask_one_client() {
    let content = |number: usize| format!("content {number}");
    let scripted = Scripted::start((0..16).map(|number| ("200 OK", content(number))).collect());
    let tenant = "bank".parse().unwrap();
    let got = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..4 {
                    let bytes = scripted.server.data(&tenant, &Digest::of(b""), 100).unwrap();
                    got.lock().unwrap().push(String::from_utf8(bytes).unwrap());
                }
            });
        }
    });
    let (mut got, mut expected) = (got.into_inner().unwrap(), (0..16).map(content).collect::<Vec<_>>());
    got.sort();
    expected.sort();
    assert_eq!(got, expected);
}
