//! Tenants and policies: made, changed by those who have seen them, listed in pages.

use serde_json::{Value, json};

use crate::client::Client;
use crate::world::{TENANTS, World};

fn policies() -> String {
    format!("/v1/tenants/{}/policies", TENANTS[0])
}

#[test]
fn what_is_made_is_read_back() {
    let world = World::open();
    let made = world.client.post("/v1/tenants", &json!({"name": "new", "description": "a tenant"})).is(201);
    assert_eq!(made.header("location"), Some("/v1/tenants/new"));
    let read = world.client.get("/v1/tenants/new").is(200);
    assert_eq!(made.json(), read.json());
    assert_eq!(made.etag(), read.etag());
    assert_eq!(world.client.post("/v1/tenants", &json!({"name": "new"})).problem(), (409, "conflict".into()));
    assert_eq!(world.client.get("/v1/tenants/none").problem(), (404, "not-found".into()));

    let new =
        json!({"name": "loan", "description": "loans", "category": "credit", "metadata": {"owner": "risk"}});
    let made = world.client.post("/v1/tenants/new/policies", &new).is(201);
    assert_eq!(made.header("location"), Some("/v1/tenants/new/policies/loan"));
    let read = world.client.get("/v1/tenants/new/policies/loan").is(200);
    assert_eq!((made.json(), made.etag()), (read.json(), read.etag()));
    let view = read.json();
    assert_eq!(view["name"], "new/loan");
    assert_eq!((&view["state"], &view["status"]), (&json!("open"), &json!("draft")));
    assert_eq!(view["metadata"], json!({"owner": "risk"}));
    let none = world.client.post("/v1/tenants/none/policies", &new);
    assert_eq!(none.problem(), (404, "not-found".into()));
}

#[test]
fn who_has_not_seen_the_newest_does_not_overwrite_it() {
    let world = World::open();
    world.client.post(&policies(), &json!({"name": "loan"})).is(201);
    let path = format!("{}/loan", policies());
    let first = world.client.get(&path).etag();
    let patch = |tag: &str, body: &Value| {
        let headers = [("Content-Type", "application/json"), ("If-Match", tag)];
        world.client.ask("PATCH", &path, &headers, body.to_string().as_bytes())
    };
    let second = patch(&first, &json!({"description": "one", "state": "archived"})).is(200);
    assert_eq!(second.json()["status"], "archived");
    assert_eq!(patch(&first, &json!({"description": "two"})).problem(), (412, "stale".into()));
    assert_eq!(patch(&first, &json!({})).problem(), (412, "stale".into()));
    assert_eq!(patch(&second.etag(), &json!({"state": "open"})).is(200).json()["state"], "open");
    patch("*", &json!({"category": "x"})).is(200);
    let read = world.client.get(&path).is(200).json();
    assert_eq!(
        (&read["description"], &read["category"], &read["state"]),
        (&json!("one"), &json!("x"), &json!("open"))
    );
    // Nothing to change is no change.
    let tag = world.client.get(&path).etag();
    assert_eq!(patch(&tag, &json!({})).is(200).etag(), tag);
}

#[test]
fn who_has_it_is_not_told_again() {
    let world = World::open();
    let path = format!("/v1/tenants/{}", TENANTS[0]);
    let tag = world.client.get(&path).etag();
    for seen in [tag.clone(), format!("\"x\", {tag}"), "*".into(), format!("W/{tag}")] {
        let answer = world.client.ask("GET", &path, &[("If-None-Match", &seen)], b"").is(304);
        assert!(answer.body.is_empty() && answer.etag() == tag);
    }
    world.client.json("PATCH", &path, &json!({"description": "changed"})).is(200);
    world.client.ask("GET", &path, &[("If-None-Match", &tag)], b"").is(200);
}

fn names(client: &Client, path: &str) -> Vec<String> {
    let (mut names, mut after) = (Vec::new(), String::new());
    let separator = if path.contains('?') { '&' } else { '?' };
    loop {
        let page = client.get(&format!("{path}{separator}limit=3{after}")).is(200).json();
        let items = page["items"].as_array().unwrap();
        assert!(items.len() <= 3);
        names.extend(items.iter().map(|item| item["name"].as_str().unwrap().to_owned()));
        match page["next"].as_str() {
            Some(next) => after = format!("&after={next}"),
            None => return names,
        }
    }
}

#[test]
fn pages_of_a_list_have_each_item_once() {
    let world = World::open();
    let expected: Vec<String> = (0..7).map(|n| format!("{}/p{n}", TENANTS[0])).collect();
    for n in 0..7 {
        let category = if n % 2 == 0 { "even" } else { "odd" };
        world.client.post(&policies(), &json!({"name": format!("p{n}"), "category": category})).is(201);
    }
    assert_eq!(names(&world.client, &policies()), expected);
    assert_eq!(names(&world.client, &format!("{}?category=odd", policies())).len(), 3);
    world.client.json("PATCH", &format!("{}/p0", policies()), &json!({"state": "archived"})).is(200);
    assert_eq!(names(&world.client, &format!("{}?state=archived", policies())), [expected[0].clone()]);
    assert_eq!(names(&world.client, "/v1/tenants"), ["heronshop", "kestrelbank"]);
}

#[test]
fn a_repeated_request_is_carried_out_once_and_another_under_its_key_is_refused() {
    let world = World::open();
    let ask = |client: &Client, path: &str, key: &str, body: &Value| {
        let headers = [("Content-Type", "application/json"), ("Idempotency-Key", key)];
        client.ask("POST", path, &headers, body.to_string().as_bytes())
    };
    let loan = json!({"name": "loan"});
    let first = ask(&world.client, &policies(), "k1", &loan).is(201);
    let head = world.block_on(world.registry.catalogue().event_head()).unwrap();
    let again = ask(&world.client, &policies(), "k1", &loan).is(201);
    assert_eq!(
        (first.json(), first.etag(), first.header("location")),
        (again.json(), again.etag(), again.header("location"))
    );
    assert_eq!(world.block_on(world.registry.catalogue().event_head()).unwrap(), head);
    let other = ask(&world.client, &policies(), "k1", &json!({"name": "other"}));
    assert_eq!(other.problem(), (422, "idempotency-key-reused".into()));
    assert_eq!(ask(&world.client, "/v1/tenants", "k1", &loan).problem().0, 422, "nor another path");
    // The keys of one are not those of another, and what failed may be tried again.
    let admin = world.role(Some(TENANTS[0]), "tenant_admin");
    assert_eq!(ask(&admin, &policies(), "k1", &loan).problem(), (409, "conflict".into()));
    ask(&admin, &policies(), "k2", &json!({"name": ""})).is(400);
    ask(&admin, &policies(), "k2", &json!({"name": "second"})).is(201);
}

#[test]
fn the_same_request_many_times_at_once_is_carried_out_once() {
    let world = World::open();
    let head = world.block_on(world.registry.catalogue().event_head()).unwrap();
    let ask = || {
        let (client, path) = (world.client.clone(), policies());
        std::thread::spawn(move || {
            let headers = [("Content-Type", "application/json"), ("Idempotency-Key", "at-once")];
            client.ask("POST", &path, &headers, b"{\"name\":\"loan\"}").is(201).text()
        })
    };
    let asking: Vec<_> = (0..8).map(|_| ask()).collect();
    let answers: std::collections::BTreeSet<_> = asking.into_iter().map(|one| one.join().unwrap()).collect();
    assert_eq!(answers.len(), 1);
    assert_eq!(world.block_on(world.registry.catalogue().event_head()).unwrap(), head + 1);
}
