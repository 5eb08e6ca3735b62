//! What browsers and clients of other origins get.

use serde_json::Value;

use crate::routes::DOCUMENT;
use crate::world::{TENANTS, World};

const ORIGIN: (&str, &str) = ("Origin", "https://console.example");

#[test]
fn pages_of_origins_that_are_named_may_ask_and_no_others() {
    let world = World::new(
        |_, options| verdict_server::Options { cors: vec!["https://console.example".into()], ..options },
        false,
    );
    let asked =
        [ORIGIN, ("Access-Control-Request-Method", "PATCH"), ("Access-Control-Request-Headers", "if-match")];
    let answer = world.client.nobody().ask("OPTIONS", "/v1/tenants/a", &asked, b"").is(200);
    assert_eq!(answer.header("access-control-allow-origin"), Some(ORIGIN.1));
    assert!(answer.header("access-control-allow-methods").unwrap().contains("PATCH"));
    assert!(answer.header("access-control-allow-headers").unwrap().contains("if-match"));
    let answer = world.client.ask("GET", "/v1/tenants", &[ORIGIN], b"").is(200);
    assert_eq!(answer.header("access-control-allow-origin"), Some(ORIGIN.1));
    assert!(answer.header("access-control-expose-headers").unwrap().contains("etag"));
    // Also decisions, which are answered elsewhere.
    let path = format!("/v1/tenants/{}/policies/absent/decide", TENANTS[0]);
    let answer = world.client.ask("POST", &path, &[ORIGIN], b"{\"input\":{}}").is(404);
    assert_eq!(answer.header("access-control-allow-origin"), Some(ORIGIN.1));
    let answer = world.client.ask("GET", "/v1/tenants", &[("Origin", "https://other.example")], b"").is(200);
    assert_eq!(answer.header("access-control-allow-origin"), None);
}

#[test]
fn without_origins_there_is_no_cors() {
    let world = World::open();
    let answer = world.client.ask("GET", "/v1/tenants", &[ORIGIN], b"").is(200);
    assert_eq!(answer.header("access-control-allow-origin"), None);
    assert_eq!(world.client.ask("OPTIONS", "/v1/tenants", &[ORIGIN], b"").status, 405);
}

#[test]
fn the_document_is_for_everybody() {
    let world = World::open();
    let served = world.client.nobody().get("/v1/openapi.json").is(200);
    let checked_in: Value = serde_json::from_str(DOCUMENT).unwrap();
    assert_eq!(served.json(), checked_in);
    assert!(checked_in["openapi"].as_str().unwrap().starts_with("3.1"));
}

#[test]
fn a_decision_says_the_id_that_its_request_brought_and_an_error_always_has_one() {
    let world = World::furnished();
    let path = format!("/v1/tenants/{0}/policies/{0}-loan/decide", TENANTS[0]);
    let ask = |headers: &[(&str, &str)], body: &[u8]| world.client.ask("POST", &path, headers, body);
    let answer = ask(&[("X-Request-ID", "ticket-7")], b"{\"input\":{}}");
    assert_eq!((answer.status, answer.header("x-request-id")), (422, Some("ticket-7")));
    assert_eq!(answer.json()["fault"]["code"], "invalid-input");
    let refused = ask(&[("X-Request-ID", "ticket-8")], b"{\"input\":{\"a\" 1}}");
    assert_eq!((refused.problem().0, refused.header("x-request-id")), (400, Some("ticket-8")));
    let refused = ask(&[], b"{\"input\":{\"a\":1,\"a\":2}}");
    assert_eq!(refused.problem().0, 400);
    assert_eq!(refused.json()["error"]["position"]["line"], 1, "{}", refused.text());
}
