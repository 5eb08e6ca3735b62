//! OPA's routes with a real access policy: who may ask what, what is told of other tenants, and what is not understood.

use serde_json::{Value, json};

use crate::client::{Answer, Client};
use crate::routes::{Route, all};
use crate::world::{ROLES, TENANTS, World, policy_of};

const JSON: &[(&str, &str)] = &[("Content-Type", "application/json")];

/// Every route of OPA's API that not everybody may ask.
fn routes() -> Vec<Route> {
    let routes: Vec<_> =
        all().into_iter().filter(|route| route.is_opa() && !route.action().is_empty()).collect();
    assert!(routes.len() > 40, "the routes are not in the document");
    routes
}

fn path(route: &Route, tenant: &str, named: &str) -> String {
    route.filled(|name| if name == "tenant" { tenant.into() } else { named.into() })
}

/// The body of a question that the policy of a tenant takes.
fn question() -> String {
    let principal =
        json!({"kind": "token", "id": "a", "person": "a", "tenant": null, "roles": ["system_admin"]});
    json!({"input": {"principal": principal, "action": "tenant.list", "tenant": null, "resource": ""}})
        .to_string()
}

fn ask(client: &Client, method: &str, path: &str, body: &str) -> Answer {
    client.ask(method, path, JSON, body.as_bytes())
}

/// Status and code of what was refused, in OPA's form.
fn refused(answer: &Answer) -> (u16, String) {
    let json = answer.json();
    assert_eq!(answer.header("content-type"), Some("application/json"), "{json}");
    assert!(answer.header("x-request-id").is_some(), "{json}");
    assert!(json["message"].as_str().is_some_and(|text| !text.is_empty()), "{json}");
    (answer.status, json["code"].as_str().expect("there is a code").to_owned())
}

#[test]
fn nobody_learns_of_another_tenant_by_opas_routes() {
    let world = World::furnished();
    let [own, other] = TENANTS;
    let inside = format!("{other}-loan/allow");
    for route in routes() {
        let called = format!("{} {}", route.method, route.path);
        let answer = ask(&world.client.nobody(), &route.method, &path(&route, other, &inside), "{}");
        assert_eq!(refused(&answer), (401, "unauthorized".into()), "{called}");
        for role in ROLES {
            let client = world.role(Some(own), role);
            let there = ask(&client, &route.method, &path(&route, other, &inside), &question());
            let text = there.text();
            if route.path.contains("{tenant}") {
                assert_eq!(refused(&there), (404, "resource_not_found".into()), "{called} as {role}");
                let absent = ask(&client, &route.method, &path(&route, "nosuchtenant", &inside), &question());
                assert_eq!(text, absent.text(), "{called} as {role}");
            }
            // What was asked for may be said back; what is there may not.
            let text = text.replace(&inside, "").replace(&inside.replace('-', "_"), "");
            let text = text.replace(&format!(r#"data[\"{other}-loan\"].allow"#), "");
            assert!(!text.contains(other), "{called} as {role}: {text}");
        }
    }
}

#[test]
fn the_access_policy_decides_who_asks_and_who_reads_data() {
    let world = World::furnished();
    let own = TENANTS[0];
    let rule = format!("/v1/data/{own}_loan/allow");
    let data = "/v1/data/owner";
    for role in ROLES {
        let client = world.role(Some(own), role);
        let may_ask = ["tenant_admin", "system_admin", "agent"].contains(&role);
        let answer = ask(&client, "POST", &rule, &question());
        if may_ask {
            assert_eq!(
                (answer.status, &answer.json()["result"]),
                (200, &json!(true)),
                "{role}: {}",
                answer.text()
            );
        } else {
            assert_eq!(refused(&answer), (403, "unauthorized".into()), "{role}");
        }
        assert_eq!(ask(&client, "GET", data, "").json(), json!({"result": own}), "{role}");
        let may_list = role != "agent";
        assert_eq!(ask(&client, "GET", "/v1/status", "").status == 200, may_list, "{role}");
        // Of everything, only what the caller may ask is asked.
        let all = ask(&client, "POST", "/v1/data", &question()).json();
        assert_eq!(all["result"][format!("{own}_loan")].is_object(), may_ask, "{role}: {all}");
    }
    let listed = world.role(Some(own), "auditor").get("/v1/policies").is(200).json();
    let modules: Vec<_> =
        listed["result"].as_array().unwrap().iter().map(|module| module["id"].clone()).collect();
    assert_eq!(modules, [Value::String(policy_of(own))]);
}

#[test]
fn odd_bodies_and_places_are_the_callers_fault_on_every_route_of_opa() {
    let world = World::furnished();
    let own = TENANTS[0];
    let before = world.block_on(world.registry.catalogue().event_head()).unwrap();
    let deep = "[".repeat(100_000);
    let large = format!("{{\"input\":\"{}\"}}", "a".repeat(3 << 20));
    for route in routes() {
        let called = format!("{} {}", route.method, route.path);
        let client = world.role(Some(own), "tenant_admin");
        let to = path(&route, own, &format!("{own}_loan/allow"));
        for body in ["{", "[]", "1", "\"x\"", "\u{0}", deep.as_str(), large.as_str()] {
            let answer = ask(&client, &route.method, &to, body);
            let is_refused = (400..500).contains(&answer.status) || answer.status == 501;
            let takes_none = route.media_type().is_none();
            assert!(is_refused || takes_none, "{called}: {} {}", answer.status, answer.text());
            assert!(answer.status < 500 || answer.status == 501, "{called}: {}", answer.text());
        }
        if route.path.contains("{path}") {
            let long = "a/".repeat(1_000);
            for odd in ["%00", "%ff%fe", "..%2f..%2fetc", "%22", "*", long.as_str()] {
                let answer = ask(&client, &route.method, &path(&route, own, odd), &question());
                assert!(answer.status < 500 || answer.status == 501, "{called} {odd}: {}", answer.text());
            }
        }
    }
    assert_eq!(
        before,
        world.block_on(world.registry.catalogue().event_head()).unwrap(),
        "nothing was changed"
    );
}
