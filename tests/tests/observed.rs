//! What a real server logs, and the traces that it exports: enough to find a request again, and nothing that was said in
//! confidence.

#[path = "../../runtime/engine/tests/support/mod.rs"]
mod support;

#[path = "metrics_support/mod.rs"]
#[expect(dead_code, reason = "shared with the tests of metrics")]
mod metrics_support;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use metrics_support::{Scrape, site, until};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::trace::v1::{Span, span::SpanKind, status::StatusCode};
use prost::Message as _;
use serde_json::Value;
use verdict_tests::grpc::{Message, call_with};
use verdict_tests::server::{Server, root, text};

const TOKEN: &str = "token0123456789abcdefghijkl";
const WRONG_TOKEN: &str = "wrong0123456789abcdefghijkl";
const API_KEY: &str = "verdict_0123456789abcdef_c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0";
const CONFIDENTIAL: &str = "confidential-input";
const PATH: &str = "/v1/tenants/bank/policies";

/// Asks with headers: the status, and the header with the request's id.
fn ask(server: &Server, path: &str, headers: &[(&str, &str)], body: &str) -> (u16, String) {
    let agent: ureq::Agent = ureq::Agent::config_builder()
        .http_status_as_error(false)
        .timeout_global(Some(Duration::from_secs(30)))
        .build()
        .into();
    let mut request = agent.post(format!("http://{}{path}", server.address));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let answer = request.send(body).unwrap();
    let id = answer.headers().get("x-request-id").map_or("", |id| id.to_str().unwrap());
    (answer.status().as_u16(), id.to_owned())
}

fn question() -> String {
    format!(r#"{{"input": {{"said": "{CONFIDENTIAL}"}}}}"#)
}

#[test]
fn every_line_says_its_request_and_none_says_what_was_said_in_confidence() {
    let site = site();
    let tokens = site.path("tokens");
    std::fs::write(&tokens, format!("teller {TOKEN}\n")).unwrap();
    let arguments = ["--log-format", "json", "--token-file", text(&tokens)];
    let server = Server::start_with(&site, &arguments, &[("RUST_LOG", "debug")]);
    let bearer = |token: &str| format!("Bearer {token}");
    let (good, wrong, key) = (bearer(TOKEN), bearer(WRONG_TOKEN), bearer(API_KEY));
    let decide = format!("{PATH}/answer/decide");
    let asked: [(String, &str, String, u16); 11] = [
        (decide.clone(), &good, question(), 200),
        (decide.clone(), &wrong, question(), 401),
        (decide.clone(), &key, question(), 401),
        (decide.clone(), "Basic dXNlcjpzZWNyZXQtcGFzc3dvcmQ=", question(), 401),
        (decide.clone(), &good, format!("{{{CONFIDENTIAL}"), 400),
        (format!("{decide}?raw"), &good, format!("[\"{CONFIDENTIAL}\"]"), 200),
        (format!("{PATH}/answer/batch"), &good, format!(r#"{{"items": [{}]}}"#, question()), 200),
        (format!("{PATH}/spin/decide"), &good, question(), 500),
        (format!("{PATH}/nothing/decide"), &good, question(), 404),
        ("/v1/data/bank/answer".to_owned(), &good, question(), 200),
        ("/v1/nothing".to_owned(), &wrong, question(), 404),
    ];
    for (number, (path, authorization, body, status)) in asked.iter().enumerate() {
        let id = format!("asked-{number}");
        let headers = [("Authorization", *authorization), ("X-Request-ID", id.as_str())];
        let headers = [&headers[..], &[("Cookie", "session=secret-cookie")]].concat();
        assert_eq!(ask(&server, path, &headers, body), (*status, id), "{path}");
    }
    let unnamed = ask(&server, &decide, &[("Authorization", &good)], &question());
    assert_eq!(unnamed.0, 200);
    assert!(server.stop());
    let log = std::fs::read_to_string(site.path("server.log")).unwrap();
    let lines: Vec<Value> = log
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
        .collect();
    for (number, (path, .., status)) in asked.iter().enumerate() {
        let of_request = |line: &&Value| line["request_id"] == format!("asked-{number}").as_str();
        let answered = lines.iter().filter(of_request).find(|line| line["fields"]["message"] == "answered");
        let answered = answered.unwrap_or_else(|| panic!("{path}: {log}"));
        assert_eq!(answered["fields"]["status"], *status);
        assert_eq!(answered["fields"]["path"], path.split('?').next().unwrap());
    }
    // One that was not named was given a name, which its answer says.
    let of_unnamed = |line: &&Value| line["request_id"] == unnamed.1.as_str();
    assert!(!unnamed.1.is_empty() && lines.iter().any(|line| of_unnamed(&line)), "{unnamed:?}");
    for secret in [TOKEN, WRONG_TOKEN, API_KEY, CONFIDENTIAL, "dXNlcjpz", "secret-password", "secret-cookie"]
    {
        assert!(!log.contains(secret), "`{secret}` is in the log: {log}");
    }
}

/// What takes traces, until it is dropped: OTLP over HTTP, as protobuf.
struct Collector {
    port: u16,
    bodies: Receiver<Vec<u8>>,
}

impl Collector {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let (sender, bodies) = channel();
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
                let mut reader = BufReader::new(stream);
                let head: Vec<String> = reader
                    .by_ref()
                    .lines()
                    .map_while(Result::ok)
                    .take_while(|line| !line.is_empty())
                    .map(|line| line.to_lowercase())
                    .collect();
                assert!(head[0].starts_with("post /v1/traces "), "{head:?}");
                assert!(head.iter().any(|line| line == "content-type: application/x-protobuf"), "{head:?}");
                let length = head.iter().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
                let mut body = vec![0; length.parse().unwrap()];
                reader.read_exact(&mut body).unwrap();
                let answer =
                    b"HTTP/1.1 200 OK\r\nContent-Type: application/x-protobuf\r\nContent-Length: 0\r\n\
                    Connection: close\r\n\r\n";
                let _ = reader.into_inner().write_all(answer);
                if sender.send(body).is_err() {
                    // From now on nobody is here.
                    return;
                }
            }
        });
        Self { port, bodies }
    }

    /// As many spans, in the order that they were sent in, and everything that was sent.
    fn spans(&self, count: usize) -> (Vec<Span>, Vec<u8>) {
        let (mut spans, mut all) = (Vec::new(), Vec::new());
        while spans.len() < count {
            let body = self.bodies.recv_timeout(Duration::from_secs(30)).expect("spans come");
            let sent = ExportTraceServiceRequest::decode(&body[..]).unwrap();
            for resource in sent.resource_spans {
                let service = attribute(&resource.resource.unwrap().attributes, "service.name");
                assert_eq!(service, "verdict");
                spans.extend(resource.scope_spans.into_iter().flat_map(|scope| scope.spans));
            }
            all.extend(body);
        }
        (spans, all)
    }
}

fn attribute(of: &[opentelemetry_proto::tonic::common::v1::KeyValue], key: &str) -> String {
    let found = of.iter().find(|attribute| attribute.key == key);
    match found.and_then(|attribute| attribute.value.as_ref()?.value.as_ref()) {
        Some(Any::StringValue(text)) => text.clone(),
        Some(Any::IntValue(number)) => number.to_string(),
        other => panic!("{key}: {other:?} of {of:?}"),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn a_trace_goes_on_through_the_evaluation_and_the_log_without_what_was_asked() {
    let (site, collector) = (site(), Collector::start());
    let endpoint = format!("http://127.0.0.1:{}", collector.port);
    let arguments = ["--log-format", "json", "--otlp-endpoint", &endpoint];
    let server = Server::start_with(&site, &arguments, &[("RUST_LOG", "verdict_server=debug")]);
    let of = |trace: &str, flags: &str| format!("00-{trace}-b7ad6b7169203331-{flags}");
    let (sampled, unsampled) = ("0af7651916cd43dd8448eb211c80319c", "11111111111111111111111111111111");
    let decide = |policy: &str, trace: &str, flags: &str| {
        let headers =
            [("traceparent", of(trace, flags)), ("tracestate", "a=b".into()), ("x-request-id", "r1".into())];
        let headers = headers.each_ref().map(|(name, value)| (*name, value.as_str()));
        ask(&server, &format!("{PATH}/{policy}/decide"), &headers, &question()).0
    };
    // Whoever began it has decided that it is not exported.
    assert_eq!(decide("answer", unsampled, "00"), 200);
    assert_eq!(decide("answer", sampled, "01"), 200);
    let (spans, sent) = collector.spans(3);
    assert_eq!(spans.len(), 3, "{spans:?}");
    let named = |name: &str| spans.iter().find(|span| span.name == name).unwrap_or_else(|| panic!("{name}"));
    let (request, evaluate, append) = (named("request"), named("evaluate"), named("append"));
    for span in &spans {
        assert_eq!((hex(&span.trace_id), span.trace_state.as_str()), (sampled.into(), "a=b"));
        assert!(span.start_time_unix_nano >= request.start_time_unix_nano, "{spans:?}");
        assert!(span.start_time_unix_nano <= span.end_time_unix_nano, "{spans:?}");
    }
    assert_eq!(request.kind(), SpanKind::Server);
    assert_eq!(hex(&request.parent_span_id), "b7ad6b7169203331");
    for child in [evaluate, append] {
        assert_eq!((&child.parent_span_id, child.kind()), (&request.span_id, SpanKind::Internal));
    }
    for (span, key, expected) in [
        (request, "verdict.protocol", "native"),
        (request, "verdict.request_id", "r1"),
        (request, "http.response.status_code", "200"),
        (evaluate, "verdict.policy", "bank/answer"),
        (evaluate, "verdict.outcome", "allow"),
        (evaluate, "verdict.cache", "none"),
        (append, "verdict.log.index", "1"),
    ] {
        assert_eq!(attribute(&span.attributes, key), expected, "{key}");
    }
    for key in ["verdict.version", "verdict.rule", "verdict.fuel"] {
        assert!(!attribute(&evaluate.attributes, key).is_empty(), "{key}");
    }
    assert!(!String::from_utf8_lossy(&sent).contains(CONFIDENTIAL));

    // A fault is an error of its evaluation, with its code.
    assert_eq!(decide("spin", sampled, "01"), 500);
    let (spans, _) = collector.spans(3);
    let status = spans.iter().find(|span| span.name == "evaluate").unwrap().status.clone().unwrap();
    assert_eq!((status.code(), status.message.as_str()), (StatusCode::Error, "out-of-fuel"));

    let log = std::fs::read_to_string(site.path("server.log")).unwrap();
    assert!(log.lines().any(|line| line.contains(&format!("\"trace_id\":\"{sampled}\""))), "{log}");

    // A collector that is gone costs spans, and nothing else. The next to come ends it, the one after finds nobody.
    drop(collector);
    let lost = || {
        assert_eq!(decide("answer", sampled, "01"), 200);
        let outcome = std::collections::BTreeMap::from([("outcome".to_owned(), "lost".to_owned())]);
        Scrape::of(&server).value("verdict_spans_total", &outcome).is_some_and(|lost| lost > 0.0)
    };
    until("spans are lost", lost);
    assert!(server.stop());
}

/// As Envoy passes on the trace of the request that it asks about.
#[test]
fn a_trace_comes_over_grpc_too() {
    let (site, collector) = (site(), Collector::start());
    let endpoint = format!("http://127.0.0.1:{}", collector.port);
    let server = site.serve(&["--otlp-endpoint", &endpoint, "--ext-authz", "bank/answer"]);
    let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
    let metadata =
        [("traceparent", format!("00-{trace}-00f067aa0ba902b7-01")), ("x-request-id", "envoy-1".into())];
    let metadata = metadata.each_ref().map(|(name, value)| (*name, value.as_str()));
    let mut asked =
        std::fs::read(root().join("host-api/server/src/gateway/ext_authz/envoy-1.40.0-check.bin")).unwrap();
    // In protobuf what is appended is merged: the question that a real Envoy sent, about another rule.
    let rule = Message::default().with_entry(10, "verdict_rule", "rule").write();
    asked.extend(Message::default().with(1, rule).write());
    let method = "/envoy.service.auth.v3.Authorization/Check";
    let reply = call_with(&server.address, method, &metadata, &asked);
    assert_eq!((reply.status, reply.message.message(1).number(1)), (0, 0), "it passes: {reply:?}");
    let (spans, _) = collector.spans(3);
    assert!(spans.iter().all(|span| hex(&span.trace_id) == trace), "{spans:?}");
    let request = spans.iter().find(|span| span.name == "request").unwrap();
    assert_eq!(hex(&request.parent_span_id), "00f067aa0ba902b7");
    assert_eq!(attribute(&request.attributes, "verdict.protocol"), "gateway");
    assert_eq!(attribute(&request.attributes, "verdict.request_id"), "envoy-1");
    let evaluate = spans.iter().find(|span| span.name == "evaluate").unwrap();
    assert_eq!(attribute(&evaluate.attributes, "verdict.policy"), "bank/answer");
    assert!(server.stop());
}
