//! API keys: shown once, and of no use after they are revoked.

use serde_json::json;

use crate::world::{TENANTS, World, id_of};

#[test]
fn a_new_key_is_shown_once_and_works_until_it_is_revoked() {
    let world = World::open();
    let new = json!({"person": "mia", "tenant": TENANTS[0], "roles": ["auditor"]});
    let made = world.client.post("/v1/api-keys", &new).is(201);
    assert_eq!(made.header("cache-control"), Some("no-store"));
    let location = made.header("location").unwrap().to_owned();
    let view = made.json();
    let key = view["key"].as_str().unwrap().to_owned();
    assert_eq!(view["id"], id_of(&key));
    assert_eq!(
        (&view["person"], &view["tenant"], &view["revoked"]),
        (&json!("mia"), &json!(TENANTS[0]), &json!(null))
    );
    let mia = world.client.with(&key);
    let policies = format!("/v1/tenants/{}/policies", TENANTS[0]);
    mia.get(&policies).is(200);
    assert_eq!(mia.post(&policies, &json!({"name": "new"})).problem(), (403, "denied".into()));
    let secret = key.splitn(3, '_').nth(2).unwrap();
    for path in [location.as_str(), "/v1/api-keys?limit=1000", "/v1/events?limit=1000"] {
        let text = world.client.get(path).is(200).text();
        assert!(text.contains(id_of(&key)) && !text.contains(secret), "{path}");
    }
    let tag = world.client.get(&location).etag();
    let stale = world.client.ask("DELETE", &location, &[("If-Match", "\"9\"")], b"");
    assert_eq!(stale.problem(), (412, "stale".into()));
    world.client.ask("DELETE", &location, &[("If-Match", &tag)], b"").is(204);
    assert_eq!(mia.get(&policies).problem(), (401, "unauthenticated".into()));
    assert!(world.client.get(&location).is(200).json()["revoked"].is_string());
}

#[test]
fn a_request_that_is_repeated_makes_one_key_and_shows_it_no_more() {
    let world = World::open();
    let body = json!({"person": "mia", "tenant": null, "roles": ["auditor"]}).to_string();
    let headers = [("Content-Type", "application/json"), ("Idempotency-Key", "mia-1")];
    let first = world.client.ask("POST", "/v1/api-keys", &headers, body.as_bytes()).is(201).json();
    let again = world.client.ask("POST", "/v1/api-keys", &headers, body.as_bytes()).is(201).json();
    assert_eq!(first["id"], again["id"]);
    assert!(first["key"].is_string() && again.get("key").is_none(), "{again}");
}

#[test]
fn nobody_makes_a_key_that_may_do_more_than_its_maker() {
    let world = World::open();
    let [own, other] = TENANTS;
    let admin = world.role(Some(own), "tenant_admin");
    let key = |tenant: Option<&str>, role: &str| json!({"person": "eve", "tenant": tenant, "roles": [role]});
    admin.post("/v1/api-keys", &key(Some(own), "publisher")).is(201);
    for (new, problem) in [
        (key(Some(own), "system_admin"), (403, "denied")),
        (key(None, "publisher"), (403, "denied")),
        (key(Some(other), "publisher"), (404, "not-found")),
    ] {
        assert_eq!(admin.post("/v1/api-keys", &new).problem(), (problem.0, problem.1.to_owned()), "{new}");
    }
    for role in ["publisher", "approver", "operator", "auditor", "agent"] {
        let made = world.role(Some(own), role).post("/v1/api-keys", &key(Some(own), role));
        assert_eq!(made.problem(), (403, "denied".into()), "{role}");
    }
    assert_eq!(world.client.post("/v1/api-keys", &key(None, "emperor")).problem().0, 400);
    let over = json!({"person": "a", "roles": ["agent"], "expires": "2020-01-01T00:00:00Z"});
    assert_eq!(world.client.post("/v1/api-keys", &over).problem().0, 400);
    let nothing = json!({"person": "a", "roles": []});
    assert_eq!(world.client.post("/v1/api-keys", &nothing).problem().0, 400);
}

#[test]
fn without_an_access_policy_nobody_administers_anything_but_over_the_socket() {
    let world = World::new(
        |_, options| verdict_server::Options { access: verdict_server::access::Access::default(), ..options },
        false,
    );
    let nobody = world.client.nobody();
    assert_eq!(nobody.get("/v1/tenants").problem(), (403, "no-access-policy".into()));
    assert_eq!(nobody.post("/v1/tenants", &json!({"name": "a"})).problem(), (403, "no-access-policy".into()));
    // What hosts need is for whoever may ask.
    nobody.get("/v1/registry/documents").is(200);
}
