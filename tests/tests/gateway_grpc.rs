//! Envoy's external authorization over real HTTP/2, asked by a client that shares no code with the server: with what
//! a real Envoy sent, and with what it would not send. `gateway_envoy.rs` has the real one in front of a real server.

use serde_json::{Value, json};
use verdict_tests::grpc::{Message, Reply, call};
use verdict_tests::probe;
use verdict_tests::server::{Server, Site, root, text};

const CHECK: &str = "/envoy.service.auth.v3.Authorization/Check";
const HEALTH: &str = "/grpc.health.v1.Health/Check";
const PROBE: &str = "default/gateway-probe";
/// The status codes of gRPC that are expected here.
const NOT_FOUND: u32 = 5;
const PERMISSION_DENIED: u32 = 7;
const OUT_OF_RANGE: u32 = 11;
const UNIMPLEMENTED: u32 = 12;
const INTERNAL: u32 = 13;
const UNAUTHENTICATED: u32 = 16;

/// What Envoy 1.40.0 sent, with what else its route and the user would have said. In protobuf what is appended is merged.
fn request(extensions: &[(&str, &str)], headers: &[(&str, &str)], body: Option<&str>) -> Vec<u8> {
    let sent = root().join("host-api/server/src/gateway/ext_authz/envoy-1.40.0-check.bin");
    let mut attributes = Message::default();
    for (name, value) in extensions {
        attributes = attributes.with_entry(10, name, value);
    }
    let mut http = Message::default();
    for (name, value) in headers {
        http = http.with_entry(3, name, value);
    }
    if let Some(body) = body {
        http = http.with_entry(3, "content-length", &body.len().to_string()).with(11, body);
    }
    attributes = attributes.with(4, Message::default().with(2, http.write()).write());
    let mut bytes = std::fs::read(sent).unwrap();
    bytes.extend(Message::default().with(1, attributes.write()).write());
    bytes
}

/// Asks the probe to answer this.
fn probe(server: &Server, answer: &str) -> Reply {
    let headers = [("x-probe", answer)];
    call(&server.address, CHECK, None, &request(&[("verdict_policy", PROBE)], &headers, None))
}

/// A header's name, value, and whether it is added to others of its name.
fn headers(response: &Message, field: u64) -> Vec<(String, String, bool)> {
    let headers = response.messages(field).into_iter();
    headers.map(|it| (it.message(1).text(1), it.message(1).text(2), it.message(2).number(1) == 1)).collect()
}

fn denied(reply: &Reply) -> u64 {
    assert_eq!(reply.status, 0, "{reply:?}");
    assert_ne!(reply.message.message(1).number(1), 0, "a denial has a status that is not OK");
    assert!(reply.message.messages(3).is_empty(), "nothing says that it is allowed");
    reply.message.message(2).message(1).number(1)
}

fn is_known(server: &Server, id: &str) -> Value {
    let (status, decision) = server.get(&format!("/v1/tenants/default/decisions/{id}"));
    assert_eq!(status, 200, "{id}");
    decision
}

#[test]
fn an_answer_is_carried_out_and_is_in_the_log() {
    let site = probe::site();
    let server = site.serve(&[]);
    let reply = probe(
        &server,
        r#"{"allow": true, "headers": {"x-user": "ann", "x-role": ["reader", "writer"]}, "request_headers_to_remove":
        ["authorization"], "query_parameters_to_set": {"user": "a&b"}, "query_parameters_to_remove": ["tag"],
        "response_headers_to_add": {"x-seen": "yes"}, "dynamic_metadata": {"level": 3}}"#,
    );
    assert_eq!((reply.status, reply.message.message(1).number(1)), (0, 0), "{reply:?}");
    let ok = reply.message.message(3);
    let set = headers(&ok, 2);
    let id = set.last().unwrap().1.clone();
    let of = |name: &str, value: &str, append: bool| (name.to_owned(), value.to_owned(), append);
    assert_eq!(
        set,
        [
            of("x-role", "reader", false),
            of("x-role", "writer", true),
            of("x-user", "ann", false),
            of("x-verdict-decision-id", &id, false)
        ]
    );
    assert_eq!(ok.texts(5), ["authorization"]);
    assert_eq!(headers(&ok, 6), [of("x-seen", "yes", true)]);
    assert_eq!((ok.message(7).text(1), ok.message(7).text(2)), ("user".into(), "a%26b".into()));
    assert_eq!(ok.texts(8), ["tag"]);
    assert_eq!(reply.message.message(4).message(1).text(1), "level");
    assert_eq!(is_known(&server, &id)["allow"], true);

    let reply = probe(
        &server,
        r#"{"allow": false, "http_status": 401, "headers": {"set-cookie": ["a", "b"]}, "body": "no"}"#,
    );
    assert_eq!(denied(&reply), 401);
    let response = reply.message.message(2);
    let set = headers(&response, 2);
    let id = set.last().unwrap().1.clone();
    assert_eq!(set[..2], [of("set-cookie", "a", false), of("set-cookie", "b", false)]);
    assert_eq!(response.text(3), "no");
    assert_eq!(is_known(&server, &id)["allow"], false);

    // The policy saw what Envoy sent, and the document is the one that is recorded.
    let reply = probe(&server, "echo");
    let seen: Value = serde_json::from_str(&reply.message.message(2).text(3)).unwrap();
    assert_eq!(seen["parsed_path"], json!(["shop", "café"]));
    assert_eq!(seen["parsed_body"], json!({"amount": 12}));
    assert_eq!(
        seen["attributes"]["contextExtensions"],
        json!({"verdict_policy": PROBE, "verdict_rule": "probe"})
    );
}

#[test]
fn whatever_is_not_allowed_is_denied() {
    let site = probe::site();
    let server = site.serve(&["--ext-authz", PROBE]);
    for (said, status) in [
        ("false", 403),
        ("null", 403),
        ("[]", 403),
        ("\"true\"", 403),
        ("{\"allow\": \"true\"}", 403),
        ("{\"allow\": false}", 403),
        // It would be allowed, and cannot be carried out.
        ("{\"allow\": true, \"headers\": {\"host\": \"elsewhere\"}}", 500),
        ("{\"allow\": true, \"http_status\": 200}", 500),
        // Faults: no answer, no fuel.
        ("nonsense", 500),
        ("burn", 500),
    ] {
        assert_eq!(denied(&probe(&server, said)), status, "{said}");
    }
    let ask = |extensions: &[(&str, &str)]| {
        let headers = [("x-probe", r#"{"allow": true}"#)];
        call(&server.address, CHECK, None, &request(extensions, &headers, None))
    };
    // The server's own policy where the route names none; a rule of the route's.
    assert_eq!(ask(&[]).message.message(1).number(1), 0);
    assert_eq!(denied(&ask(&[("verdict_rule", "closed")])), 403);
    for extensions in [
        [("verdict_policy", "default/unknown")],
        [("verdict_policy", "not a name")],
        [("verdict_rule", "unknown")],
        [("verdict_channel", "unknown")],
        [("verdict_channel", "not a name")],
    ] {
        assert_eq!(denied(&ask(&extensions)), 500, "{extensions:?}");
    }
    // No time left: the machine may be slow, so it is 503.
    let slow = request(&[("verdict_policy", "default/gateway-slow")], &[("x-probe", "burn")], None);
    assert_eq!(denied(&call(&server.address, CHECK, None, &slow)), 503);
    for body in ["{", "{\"a\": 1, \"a\": 2}", "\"\\ud800\""] {
        let asked = request(&[], &[("x-probe", r#"{"allow": true}"#)], Some(body));
        assert_eq!(denied(&call(&server.address, CHECK, None, &asked)), 400, "{body}");
    }
    drop(server);
    let server = site.serve(&[]);
    let unnamed = request(&[], &[("x-probe", r#"{"allow": true}"#)], None);
    let reply = call(&server.address, CHECK, None, &unnamed);
    assert_eq!(denied(&reply), 500);
    assert!(reply.message.message(1).text(2).contains("verdict_policy"), "{reply:?}");
}

#[test]
fn who_asks_beyond_the_budget_is_denied_whatever_the_gateway_does_at_errors() {
    let site = probe::site();
    let budgets = site.path("budgets.toml");
    std::fs::write(&budgets, "[default]\nrequests_per_s = 1\n").unwrap();
    let server = site.serve(&["--budgets", text(&budgets)]);
    let refused = (0..20).map(|_| probe(&server, "true")).find(|reply| !reply.message.messages(2).is_empty());
    assert_eq!(denied(&refused.expect("twenty in a second are too many")), 429);
}

#[test]
fn a_gateway_says_who_it_is_and_asks_for_its_own_tenant() {
    let site: Site = probe::site();
    let tokens = site.path("tokens");
    std::fs::write(&tokens, "envoy 0123456789abcdefghijklmn default\nother abcdefghijklmn0123456789 shop\n")
        .unwrap();
    let server = site.serve(&["--token-file", text(&tokens)]);
    let allow = request(&[("verdict_policy", PROBE)], &[("x-probe", "true")], None);
    // What the user sends is not what the gateway is known by.
    let users = request(
        &[("verdict_policy", PROBE)],
        &[("x-probe", "true"), ("authorization", "Bearer 0123456789abcdefghijklmn")],
        None,
    );
    for (token, asked, status) in [
        (Some("0123456789abcdefghijklmn"), &allow, 0),
        (Some("abcdefghijklmn0123456789"), &allow, PERMISSION_DENIED),
        (Some("unknown-0123456789abcdef"), &allow, UNAUTHENTICATED),
        (None, &allow, UNAUTHENTICATED),
        (None, &users, UNAUTHENTICATED),
    ] {
        let reply = call(&server.address, CHECK, token, asked);
        assert_eq!(reply.status, status, "{token:?}: {reply:?}");
        assert_eq!(reply.message == Message::default(), status != 0, "an error is no answer");
    }
}

#[test]
fn what_is_no_call_has_an_error_and_the_server_goes_on() {
    let site = probe::site();
    let server = site.serve(&["--ext-authz", PROBE]);
    for (method, message, status) in [
        (CHECK, b"\xff\xff\xff".to_vec(), INTERNAL),
        (CHECK, Message::default().with(1, [0x0a, 0x7f]).write(), INTERNAL),
        (CHECK, vec![0; 3 << 20], OUT_OF_RANGE),
        ("/envoy.service.auth.v3.Authorization/Other", Vec::new(), UNIMPLEMENTED),
        ("/grpc.health.v1.Health/Watch", Vec::new(), UNIMPLEMENTED),
        (HEALTH, Message::default().with(1, "unknown").write(), NOT_FOUND),
    ] {
        assert_eq!(call(&server.address, method, None, &message).status, status, "{method}");
    }
    // Without attributes there is a document nevertheless; the policy finds nothing in it.
    assert_eq!(denied(&call(&server.address, CHECK, None, &[])), 500);
    for service in ["", "envoy.service.auth.v3.Authorization"] {
        let reply = call(&server.address, HEALTH, None, &Message::default().with(1, service).write());
        assert_eq!((reply.status, reply.message.number(1)), (0, 1), "it serves");
    }
    let empty = Site::new(&[]);
    let server = empty.serve(&[]);
    assert_eq!(call(&server.address, HEALTH, None, &[]).message.number(1), 2, "it has no policy to serve");
}
