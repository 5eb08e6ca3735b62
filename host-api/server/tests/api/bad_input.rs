//! What is not understood: on every route, generated from the OpenAPI document.

use serde_json::{Value, json};

use crate::client::{Answer, Client};
use crate::routes::{DOCUMENT, Objects, Route, guarded};
use crate::world::{TENANTS, World};

/// What no name is, as a part of a path.
const ODD: [&str; 9] = ["%00", "..", "..%2f..%2fetc", "A%20B", "%ff%fe", "%C3%A9", "-", "sha256:zz", "*"];

/// Refused by the caller's fault, with a reason.
fn refused(route: &Route, what: &str, answer: &Answer) {
    let called = format!("{} {} with {what}", route.method, route.path);
    assert!((400..500).contains(&answer.status), "{called}: {} {}", answer.status, answer.text());
    if route.says_in_words() {
        assert!(answer.header("content-type").is_some_and(|it| it.starts_with("text/plain")), "{called}");
        assert!(answer.text().contains(": "), "{called}: {}", answer.text());
        return;
    }
    let (_, code) = answer.problem();
    // As clients of older routes read it.
    let older = &answer.json()["error"]["code"];
    assert!(older.is_null() || *older == code.as_str(), "{called}");
}

fn ask(client: &Client, route: &Route, path: &str, body: &[u8]) -> Answer {
    let content_type = route.media_type().unwrap_or("application/json");
    client.ask(&route.method, path, &[("Content-Type", content_type)], body)
}

/// The properties of the JSON that a route takes.
fn properties(route: &Route) -> Option<serde_json::Map<String, Value>> {
    let schema = &route.operation["requestBody"]["content"]["application/json"]["schema"];
    let name = schema["$ref"].as_str()?.rsplit('/').next()?;
    let document: Value = serde_json::from_str(DOCUMENT).unwrap();
    document["components"]["schemas"][name]["properties"].as_object().cloned()
}

#[test]
fn odd_names_in_paths_are_refused_on_every_route() {
    let world = World::furnished();
    let long = "a".repeat(5_000);
    for route in guarded() {
        for name in route.names().into_iter().filter(|name| *name != "path") {
            for odd in ODD.into_iter().chain([long.as_str()]) {
                let objects = Objects::of(TENANTS[0]);
                let whole = route.to(&objects);
                let parts: Vec<_> = route.path.split('/').zip(whole.split('/')).collect();
                let odd_path: Vec<_> = parts
                    .iter()
                    .map(|(template, part)| if *template == format!("{{{name}}}") { odd } else { part })
                    .collect();
                refused(&route, odd, &ask(&world.client, &route, &odd_path.join("/"), b"{}"));
            }
        }
    }
}

#[test]
fn odd_queries_are_refused_on_every_route_that_takes_one() {
    let world = World::furnished();
    let mut asked = 0;
    for route in guarded() {
        let path = route.to(&Objects::of(TENANTS[0]));
        let none = Vec::new();
        let parameters = route.operation["parameters"].as_array().unwrap_or(&none);
        let of_query: Vec<_> = parameters.iter().filter(|parameter| parameter["in"] == "query").collect();
        if of_query.is_empty() {
            continue;
        }
        refused(
            &route,
            "an unknown parameter",
            &ask(&world.client, &route, &format!("{path}?nosuch=1"), b"{\"input\":{}}"),
        );
        for parameter in of_query {
            let name = parameter["name"].as_str().unwrap();
            let is_number = parameter["schema"].to_string().contains("integer");
            let odd = if is_number {
                &["x", "-1", "1.5", "99999999999999999999999", ""][..]
            } else {
                &["%00x%ff"][..]
            };
            for value in odd {
                // Any text is a category, and any text that nobody was given is past the end of a list of names.
                if ["category", "after"].contains(&name) && !is_number {
                    continue;
                }
                let answer = ask(&world.client, &route, &format!("{path}?{name}={value}"), b"{\"input\":{}}");
                refused(&route, &format!("{name}={value}"), &answer);
                asked += 1;
            }
        }
        if path.ends_with("/stream") || !route.operation.to_string().contains("\"limit\"") {
            continue;
        }
        for limit in ["0", "1001"] {
            refused(&route, limit, &ask(&world.client, &route, &format!("{path}?limit={limit}"), b""));
        }
        assert_eq!(ask(&world.client, &route, &format!("{path}?limit=1000"), b"").status, 200, "{path}");
    }
    assert!(asked > 30);
}

#[test]
fn odd_bodies_are_refused_on_every_route_and_change_nothing() {
    let world = World::furnished();
    let before = world.block_on(world.registry.catalogue().event_head()).unwrap();
    let deep = "[".repeat(100_000);
    let large = format!("{{\"a\":\"{}\"}}", "a".repeat(3 << 20));
    for route in guarded().into_iter().filter(|route| route.method != "GET" && route.method != "DELETE") {
        let path = route.to(&Objects::of(TENANTS[0]));
        if route.path.ends_with("/content/{digest}") {
            refused(&route, "other bytes", &ask(&world.client, &route, &path, b"{}"));
            continue;
        }
        for body in ["", "{", "[]", "null", "1", "\"x\"", "\u{0}", "{\"nosuch\":1}", &deep, &large] {
            let what: String = body.chars().take(20).collect();
            refused(&route, &what, &ask(&world.client, &route, &path, body.as_bytes()));
        }
        refused(&route, "no UTF-8", &ask(&world.client, &route, &path, b"{\"input\":\"\xff\"}"));
        for (name, schema) in properties(&route).unwrap_or_default() {
            // What takes every value takes these, too.
            if name == "input" {
                continue;
            }
            let wrong = if schema.to_string().contains("\"object\"") { json!(7) } else { json!({"a": {}}) };
            let mut body = valid(&route);
            body[&name] = wrong;
            refused(
                &route,
                &format!("{name} of another type"),
                &ask(&world.client, &route, &path, body.to_string().as_bytes()),
            );
        }
        if route.says_in_words() {
            let answer = world.client.ask(&route.method, &path, &[("Content-Type", "text/plain")], b"{}");
            refused(&route, "another media type", &answer);
            continue;
        }
        // A question may come as any media type, as it always could.
        if !["decide", "batch", "admission", "admission/{rule}"].iter().any(|end| route.path.ends_with(end)) {
            let answer = world.client.ask(&route.method, &path, &[("Content-Type", "text/plain")], b"{}");
            assert_eq!(answer.problem(), (415, "unsupported-media-type".into()), "{} {path}", route.method);
        }
    }
    let after = world.block_on(world.registry.catalogue().event_head()).unwrap();
    assert_eq!(before, after, "nothing was changed");
}

/// A body that would be taken, for what is changed in it to be the only thing that is wrong.
fn valid(route: &Route) -> Value {
    match route.path.rsplit('/').next().unwrap() {
        "api-keys" => json!({"person": "eve", "roles": ["agent"]}),
        "tenants" => json!({"name": "new"}),
        "policies" => json!({"name": "new"}),
        "activate" => json!({"versions": [{"version": "1.0.0"}]}),
        "promote" => json!({"from": "production"}),
        "decide" => json!({"input": {}}),
        "batch" => json!({"items": [{"input": {}}]}),
        "preview" => json!({"component": "", "input": {}}),
        _ => json!({}),
    }
}

#[test]
fn what_is_not_there_or_takes_another_method_is_a_problem() {
    let world = World::open();
    for path in ["/v1", "/v1/nosuch", "/v1/tenants/", "/v1/tenants/a/policies/b/nosuch", "/v3/x"] {
        assert_eq!(world.client.get(path).problem(), (404, "not-found".into()), "{path}");
    }
    let answer = world.client.ask("DELETE", "/v1/tenants", &[], b"");
    assert_eq!(answer.problem(), (405, "method-not-allowed".into()));
    assert!(answer.header("allow").unwrap().contains("POST"));
    assert_eq!(world.client.nobody().get("/v1/tenants").problem(), (401, "unauthenticated".into()));
    let answer = world.client.nobody().get("/v1/tenants");
    assert_eq!(answer.header("www-authenticate"), Some("Bearer"));
}

#[test]
fn headers_that_are_not_understood_are_refused() {
    let world = World::open();
    let json = ("Content-Type", "application/json");
    for key in ["", "a b", "\u{e9}", &"k".repeat(256)] {
        let answer =
            world.client.ask("POST", "/v1/tenants", &[json, ("Idempotency-Key", key)], b"{\"name\":\"a\"}");
        assert_eq!(answer.problem(), (400, "malformed-request".into()), "{key}");
    }
    for tag in ["7", "W/\"1\"", "\"x\"", "\"1\", \"2\""] {
        let path = format!("/v1/tenants/{}", TENANTS[0]);
        let answer = world.client.ask("PATCH", &path, &[json, ("If-Match", tag)], b"{\"description\":\"a\"}");
        assert_eq!(answer.problem(), (412, "stale".into()), "{tag}");
    }
    // An id that could not be told apart in a log is not taken over.
    let answer = world.client.ask("GET", "/v1/tenants", &[("X-Request-ID", "a b")], b"").is(200);
    assert_ne!(answer.header("x-request-id"), Some("a b"));
}
