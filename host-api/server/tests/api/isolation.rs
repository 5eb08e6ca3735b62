//! One tenant and the objects of another: every route, every role, generated from the OpenAPI document.

use serde_json::{Value, json};

use crate::client::{Answer, Client};
use crate::routes::{Objects, Route, guarded};
use crate::world::{ROLES, TENANTS, TOKEN, World};

/// How a route without a tenant in its path is pointed at another tenant's objects.
enum Aim {
    /// In the query.
    Query,
    /// In the body.
    Body,
    /// By what the path names.
    Path,
    /// Not at all: it tells of the caller's own, and names nobody else.
    Own,
    /// Not at all: it tells of the trust policy, one signed document for all, which says whose policies a key may sign.
    Trust,
}

fn aim(route: &Route) -> Aim {
    match (route.method.as_str(), route.path.as_str()) {
        (_, path) if path.contains("{tenant}") => Aim::Path,
        ("GET" | "DELETE", "/v1/api-keys/{id}") => Aim::Path,
        // To the one policy that the operator named, which here is none.
        ("POST", path) if path.starts_with("/access/v1/") => Aim::Path,
        ("GET", "/v1/api-keys" | "/v1/events" | "/v1/events/stream") => Aim::Query,
        ("POST", "/v1/api-keys") => Aim::Body,
        ("POST", "/v1/tenants") | ("PUT", "/v1/trust" | "/v1/revocations") => Aim::Body,
        ("GET", "/metrics" | "/health/details" | "/v1/tenants" | "/v1/policies" | "/v1/revocations") => {
            Aim::Own
        }
        ("GET", "/v1/registry/documents" | "/v1/trust" | "/v1/trust/versions") => Aim::Trust,
        (method, path) => panic!("it is not known how `{method} {path}` reaches another's objects; say how"),
    }
}

fn body(route: &Route, objects: &Objects) -> Value {
    match (route.method.as_str(), route.path.rsplit('/').next().unwrap()) {
        ("POST", "api-keys") => json!({"person": "eve", "tenant": objects.tenant, "roles": ["agent"]}),
        ("POST", "tenants") => json!({"name": objects.tenant}),
        ("POST", "policies") => json!({"name": "new"}),
        ("POST", "activate") => json!({"versions": [{"version": "1.0.0"}]}),
        ("POST", "promote") => json!({"from": "production"}),
        ("POST", "decide") => json!({"input": {}}),
        ("POST", "batch") => json!({"items": [{"input": {}}]}),
        ("POST", "preview") => json!({"policy": "absent", "input": {}}),
        ("PATCH", _) => json!({"description": "changed"}),
        _ => json!({}),
    }
}

fn ask(client: &Client, route: &Route, objects: &Objects) -> Answer {
    let mut path = route.to(objects);
    if matches!(aim(route), Aim::Query) {
        path = format!("{path}?tenant={}", objects.tenant);
    }
    let body = if route.method == "GET" { String::new() } else { body(route, objects).to_string() };
    let content_type = route.media_type().unwrap_or("application/json");
    // As a gateway asks.
    let original = [("X-Original-Method", "GET"), ("X-Original-URI", "/")];
    let headers = [&[("Content-Type", content_type)], &original[..]].concat();
    client.ask(&route.method, &path, &headers, body.as_bytes())
}

/// What an answer says, whatever its request was called.
fn said(answer: &Answer) -> (u16, String) {
    let id = answer.header("x-request-id").unwrap_or("-");
    (answer.status, answer.text().replace(id, "ID"))
}

#[test]
fn nobody_learns_or_changes_anything_of_another_tenant() {
    let world = World::furnished();
    let [own, other] = TENANTS;
    let before = world.block_on(world.registry.catalogue().event_head()).unwrap();
    let mut clients: Vec<_> = ROLES.iter().map(|role| (*role, world.role(Some(own), role))).collect();
    clients.push(("token", world.client.with(TOKEN)));
    // So that there is something to tell of it.
    let asked = format!("/v1/tenants/{other}/policies/{other}-loan/decide");
    assert_ne!(world.client.post(&asked, &json!({"input": {}})).status, 404);
    assert!(world.client.get("/metrics").is(200).text().contains(other));
    for route in guarded() {
        let called = format!("{} {}", route.method, route.path);
        // The objects are there: who may see all of them does.
        let is_stream = ["/stream", "/decisions"].iter().any(|end| route.path.ends_with(end));
        if route.method == "GET" && !is_stream && !route.path.contains("/tile/") {
            let status = ask(&world.client, &route, &Objects::of(other)).status;
            assert!(status == 200 || (route.asks() && status != 404), "{called}: {status}");
        }
        for (role, client) in &clients {
            let there = ask(client, &route, &Objects::of(other));
            let text = there.text();
            if matches!(aim(&route), Aim::Trust) {
                continue;
            }
            assert!(!text.contains(other), "{called} as {role} names the tenant: {text}");
            if matches!(aim(&route), Aim::Own) {
                assert!([200, 403].contains(&there.status), "{called} as {role}: {text}");
                continue;
            }
            assert!((400..500).contains(&there.status), "{called} as {role}: {} {text}", there.status);
            for absent in [Objects::absent(other), Objects::absent("nosuchtenant")] {
                let absent = said(&ask(client, &route, &absent));
                assert_eq!(said(&there), absent, "{called} as {role} tells what is there");
            }
        }
    }
    let after = world.block_on(world.registry.catalogue().event_head()).unwrap();
    assert_eq!(before, after, "nothing was changed");
}

#[test]
fn anothers_objects_are_not_there_under_ones_own_name() {
    let world = World::furnished();
    let [own, other] = TENANTS;
    let admin = world.role(Some(own), "tenant_admin");
    for route in guarded() {
        let is_of_tenant = route.path.contains("{tenant}") && route.names().len() > 1;
        if route.method != "GET" || !is_of_tenant || route.path.contains("/tile/") {
            continue;
        }
        let called = format!("{} {}", route.method, route.path);
        let mine = ask(&admin, &route, &Objects::of(own));
        let is_there = mine.status == 200 || (route.asks() && mine.status != 404);
        assert!(is_there, "{called}: {} {}", mine.status, mine.text());
        let there = ask(&admin, &route, &Objects::of(other).under(own));
        let absent = ask(&admin, &route, &Objects::absent(own));
        assert_eq!((there.status, absent.status), (404, 404), "{called}: {}", there.text());
    }
}

#[test]
fn lists_of_one_tenant_have_what_is_its_own() {
    let world = World::furnished();
    let [own, _] = TENANTS;
    let admin = world.role(Some(own), "tenant_admin");
    let tenants = admin.get("/v1/tenants").is(200).json();
    assert_eq!(tenants["items"].as_array().unwrap().len(), 1, "{tenants}");
    let keys = admin.get("/v1/api-keys").is(200).json();
    let keys = keys["items"].as_array().unwrap();
    assert!(keys.len() == ROLES.len() && keys.iter().all(|key| key["tenant"] == own), "{keys:?}");
    let events = admin.get("/v1/events?limit=1000").is(200).json();
    for event in events["items"].as_array().unwrap() {
        let concerns_all =
            ["trust.changed", "revocations.changed"].contains(&event["kind"].as_str().unwrap());
        assert!(event["tenant"] == own || concerns_all, "{event}");
    }
    let documents = admin.get("/v1/registry/documents").is(200).json();
    let count = |name: &str| documents[name].as_array().unwrap().len();
    assert_eq!((count("trust"), count("channels"), count("data")), (1, 1, 1), "{documents}");
    let loaded = admin.get("/v1/policies").is(200).json();
    assert_eq!(loaded["policies"].as_array().unwrap().len(), 1, "{loaded}");
}

#[test]
fn repositories_of_another_tenant_are_not_there() {
    let world = World::furnished();
    let [own, other] = TENANTS;
    for role in ROLES {
        let client = world.role(Some(own), role);
        for name in [format!("{other}/{other}-loan"), format!("{other}/absent"), "nosuch/absent".into()] {
            let pulled = client.get(&format!("/v2/{name}/manifests/1.0.0"));
            assert_eq!(pulled.status, 404, "{role}: {}", pulled.text());
            for (method, path) in [
                ("POST", format!("/v2/{name}/blobs/uploads/")),
                ("PUT", format!("/v2/{name}/manifests/2.0.0")),
                ("DELETE", format!("/v2/{name}/manifests/1.0.0")),
            ] {
                assert_eq!(client.ask(method, &path, &[], b"").status, 403, "{method} {path} as {role}");
            }
        }
        assert!(!client.get("/v2/_catalog").text().contains(other), "{role}");
    }
}

#[test]
fn the_tenant_of_the_access_policy_cannot_be_reached_by_anybody() {
    let world = World::open();
    let glass = Client { address: crate::client::Address::Unix(world.socket.clone()), token: None };
    for client in [&world.client, &glass] {
        for route in guarded() {
            if matches!(aim(&route), Aim::Own | Aim::Trust) || route.path.starts_with("/v1/trust") {
                continue;
            }
            if route.path == "/v1/revocations" || route.path == "/v1/api-keys/{id}" {
                continue;
            }
            let answer = ask(client, &route, &Objects::absent("system"));
            assert!(
                [403, 404].contains(&answer.status),
                "{} {}: {}",
                route.method,
                route.path,
                answer.text()
            );
        }
    }
    let events =
        world.block_on(world.registry.catalogue().events_after(0, None, Default::default())).unwrap();
    assert!(
        events.iter().all(|event| event.tenant.as_ref().is_none_or(|tenant| tenant.as_str() != "system"))
    );
}
