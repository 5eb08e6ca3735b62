//! From a push to what answers: statements, channels, data, and what hosts follow, over the API alone.

use serde_json::{Value, json};
use verdict::core::digest::Digest;

use crate::world::{
    ACTIVATION, RELEASER, TENANTS, World, of_policy, policy_of, revocations, snapshot, state, trust,
};

const BANK: &str = TENANTS[0];

fn policy() -> String {
    of_policy(&policy_of(BANK).parse().unwrap())
}

fn versions(world: &World) -> Vec<(String, String)> {
    let page = world.client.get(&format!("{}/versions", policy())).is(200).json();
    let status = |item: &Value| {
        let text = |name: &str| item[name].as_str().unwrap().to_owned();
        (text("version"), text("status"))
    };
    page["items"].as_array().unwrap().iter().map(status).collect()
}

fn is(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(version, status)| ((*version).to_owned(), (*status).to_owned())).collect()
}

#[test]
fn a_version_goes_from_draft_to_production_and_back() {
    let world = World::open();
    let first = world.build(&policy_of(BANK), "1.0.0");
    world.publish(&first);
    assert_eq!(versions(&world), is(&[("1.0.0", "draft")]));
    let activate = format!("{}/channels/production/activate", policy());
    let body = json!({"versions": [{"version": "1.0.0"}]});
    assert_eq!(world.client.post(&activate, &body).problem(), (422, "not-approved".into()));
    let statements = format!("{}/versions/1.0.0/statements", policy());
    let attached = world.client.signed("POST", &statements, &first.approval()).is(201).json();
    assert_eq!(attached["put"], "created");
    let again = world.client.signed("POST", &statements, &first.approval()).is(200).json();
    assert_eq!((&again["put"], &again["envelope"]), (&json!("unchanged"), &attached["envelope"]));
    let listed = world.client.get(&statements).is(200).json();
    let types: Vec<_> =
        listed["items"].as_array().unwrap().iter().map(|item| item["predicate_type"].clone()).collect();
    assert_eq!(types, ["urn:verdict:manifest:v1", "urn:verdict:approval:v1"]);
    assert_eq!(versions(&world), is(&[("1.0.0", "approved")]));

    let tag = world.client.get(&policy()).etag();
    world.client.post(&format!("{}/channels/staging/activate", policy()), &body).is(201);
    assert_eq!(versions(&world), is(&[("1.0.0", "testing")]));
    assert_eq!(world.client.get(&policy()).json()["status"], "testing");
    assert_ne!(world.client.get(&policy()).etag(), tag, "another view has another tag");
    let promote = format!("{}/channels/production/promote", policy());
    let promoted = world.client.post(&promote, &json!({"from": "staging"})).is(201).json();
    assert_eq!((&promoted["sequence"], &promoted["put"]), (&json!(1), &json!("created")));
    assert_eq!(versions(&world), is(&[("1.0.0", "active")]));

    world.publish_approved(&policy_of(BANK), "2.0.0");
    let body = json!({"versions": [{"version": "2.0.0"}], "days": 7});
    assert_eq!(world.client.post(&activate, &body).is(200).json()["sequence"], 2);
    world.client.post(&format!("{}/channels/staging/activate", policy()), &body).is(200);
    assert_eq!(versions(&world), is(&[("2.0.0", "active"), ("1.0.0", "retired")]));
    let rollback = format!("{}/channels/production/rollback", policy());
    assert_eq!(world.client.post(&rollback, &json!({})).is(200).json()["sequence"], 3);
    assert_eq!(versions(&world), is(&[("2.0.0", "testing"), ("1.0.0", "active")]));
    let states = world.client.get(&format!("{}/channels/production/states?limit=2", policy())).is(200).json();
    let sequences: Vec<_> =
        states["items"].as_array().unwrap().iter().map(|item| item["sequence"].as_u64().unwrap()).collect();
    assert_eq!((sequences, &states["next"]), (vec![3, 2], &json!("2")));
    let channels = world.client.get(&format!("{}/channels", policy())).is(200).json();
    assert_eq!(channels["items"].as_array().unwrap().len(), 2);
    let view = world.client.get(&format!("{}/versions/1.0.0", policy())).is(200).json();
    assert_eq!(view["channels"], json!([{"channel": "production", "weight": 1, "shadow": false}]));
}

#[test]
fn an_activation_that_is_repeated_is_one_state() {
    let world = World::open();
    world.publish_approved(&policy_of(BANK), "1.0.0");
    let path = format!("{}/channels/production/activate", policy());
    let headers = [("Content-Type", "application/json"), ("Idempotency-Key", "a")];
    let body = json!({"versions": [{"version": "1.0.0"}]}).to_string();
    let first = world.client.ask("POST", &path, &headers, body.as_bytes()).is(201).json();
    let again = world.client.ask("POST", &path, &headers, body.as_bytes()).is(201).json();
    assert_eq!(first, again);
    assert_eq!(world.client.get(&format!("{}/channels/production", policy())).etag(), "\"1\"");
}

#[test]
fn a_signed_state_is_put_in_order_by_as_many_as_must_sign() {
    let world = World::open();
    let built = world.publish_approved(&policy_of(BANK), "1.0.0");
    let (name, release) = (policy_of(BANK), built.release());
    let vault = format!("{}/channels/vault", policy());
    let one = state(&name, "vault", 1, &release, &[RELEASER]);
    assert_eq!(world.client.signed("PUT", &vault, &one).problem(), (409, "too-few-signers".into()));
    assert_eq!(world.client.get(&vault).problem(), (404, "not-found".into()), "nothing is kept");
    let two = state(&name, "vault", 1, &release, &[RELEASER, ACTIVATION]);
    let put = world.client.signed("PUT", &vault, &two).is(201);
    assert_eq!(put.etag(), "\"1\"");
    assert_eq!(world.client.signed("PUT", &vault, &two).is(200).json()["put"], "unchanged");
    let read = world.client.get(&vault).is(200);
    assert_eq!((read.etag(), &read.json()["document"]["channel"]), ("\"1\"".into(), &json!("vault")));
    let next = state(&name, "vault", 2, &release, &[RELEASER, ACTIVATION]);
    let headers = [("Content-Type", "application/json"), ("If-Match", "\"7\"")];
    let stale = world.client.ask("PUT", &vault, &headers, &next);
    assert_eq!(stale.problem(), (412, "stale".into()));
    let headers = [("Content-Type", "application/json"), ("If-Match", "\"1\"")];
    world.client.ask("PUT", &vault, &headers, &next).is(200);
    assert_eq!(world.client.signed("PUT", &vault, &two).problem(), (409, "document-rollback".into()));
    let elsewhere = format!("{}/channels/production", policy());
    assert_eq!(world.client.signed("PUT", &elsewhere, &next).problem(), (422, "wrong-document".into()));
}

#[test]
fn trust_and_revocations_are_put_in_order() {
    let world = World::open();
    let tag = world.client.get("/v1/trust").is(200).etag();
    assert_eq!(tag, "\"1\"");
    assert_eq!(world.client.signed("PUT", "/v1/trust", &trust(2)).is(200).json()["sequence"], 2);
    assert_eq!(world.client.signed("PUT", "/v1/trust", &trust(4)).problem().0, 422, "a gap");
    let versions = world.client.get("/v1/trust/versions").is(200).json();
    let numbers: Vec<_> =
        versions["items"].as_array().unwrap().iter().map(|item| item["sequence"].as_u64().unwrap()).collect();
    assert_eq!(numbers, [2, 1]);
    let built = world.publish_approved(&policy_of(BANK), "1.0.0");
    let revoked = json!({"versions": [{"policy": policy_of(BANK), "version": "1.0.0"}]});
    world.client.signed("PUT", "/v1/revocations", &revocations(2, revoked)).is(200);
    let view = world.client.get(&format!("{}/versions/1.0.0", policy())).is(200).json();
    assert_eq!((&view["state"], &view["status"]), (&json!("revoked"), &json!("revoked")));
    let body = json!({"versions": [{"version": built.version}]});
    let activate = format!("{}/channels/production/activate", policy());
    assert_eq!(world.client.post(&activate, &body).problem(), (422, "revoked".into()));
    // Who is not of every tenant may read both and change neither.
    let admin = world.role(Some(BANK), "tenant_admin");
    admin.get("/v1/trust").is(200);
    admin.get("/v1/revocations").is(200);
    assert_eq!(admin.signed("PUT", "/v1/trust", &trust(3)).problem(), (403, "denied".into()));
}

#[test]
fn data_is_put_and_read_value_by_value() {
    let world = World::open();
    let content = br#"{ "limits": {"loan": 1e400, "a/b": [true]} }"#;
    let digest = Digest::of(content);
    let data = format!("/v1/tenants/{BANK}/data");
    let early = world.client.signed("PUT", &data, &snapshot(BANK, 1, content));
    assert_eq!(early.problem(), (422, "no-content".into()));
    let content_path = format!("{data}/content/{digest}");
    let wrong = world.client.ask("PUT", &content_path, &[], b"other");
    assert_eq!(wrong.problem(), (422, "digest-mismatch".into()));
    let put = world.client.ask("PUT", &content_path, &[], content).is(201).json();
    assert_eq!(put["bytes"], content.len());
    assert_eq!(world.client.get(&content_path).problem().0, 404, "until a snapshot names it");
    world.client.signed("PUT", &data, &snapshot(BANK, 1, content)).is(201);
    let read = world.client.get(&content_path).is(200);
    assert_eq!(read.body, content);
    assert_eq!(read.header("content-type"), Some("application/vnd.verdict.data.content.v1+json"));
    let seen = world.client.ask("GET", &content_path, &[("If-None-Match", &read.etag())], b"").is(304);
    assert!(seen.body.is_empty());

    let value = |query: &str| world.client.get(&format!("{data}/document{query}"));
    assert!(value("?pointer=/limits/loan").is(200).text().ends_with("\"value\":1e400}"), "the exact text");
    assert_eq!(value("?pointer=/limits/a~1b").is(200).json()["value"], json!([true]));
    assert_eq!(value("?pointer=/none").problem(), (404, "not-found".into()));
    assert_eq!(value("?pointer=none").problem().0, 400);
    world.put_data(BANK, 2, b"{\"limits\":{}}");
    assert_eq!(value("").is(200).json()["value"], json!({"limits": {}}));
    assert!(value("?sequence=1").is(200).text().contains("1e400"));
    assert_eq!(value("?sequence=3").problem().0, 404);
    let snapshots = world.client.get(&format!("{data}/snapshots")).is(200).json();
    assert_eq!(snapshots["items"].as_array().unwrap().len(), 2);
    // To know a digest is not to have what it is of.
    let elsewhere = format!("/v1/tenants/{}/data", TENANTS[1]);
    assert_eq!(world.client.get(&format!("{elsewhere}/content/{digest}")).problem().0, 404);
    let stolen = world.client.signed("PUT", &elsewhere, &snapshot(TENANTS[1], 1, content));
    assert_eq!(stolen.problem(), (422, "no-content".into()));
}

#[test]
fn a_content_may_be_larger_than_other_bodies() {
    let world = World::open();
    let content = format!("{{\"text\":\"{}\",\"end\":7}}", "kestrel".repeat(1 << 20));
    assert!(
        content.len()
            > verdict_server::Options::new(verdict_server::Listen::parse("127.0.0.1:0").unwrap())
                .body_bytes_max
    );
    let digest = world.put_data(BANK, 1, content.as_bytes());
    let read = world.client.get(&format!("/v1/tenants/{BANK}/data/content/{digest}")).is(200);
    assert_eq!(read.header("content-length"), Some(content.len().to_string().as_str()));
    assert!(read.body == content.as_bytes());
    let head =
        world.client.ask("HEAD", &format!("/v1/tenants/{BANK}/data/content/{digest}"), &[], b"").is(200);
    assert!(head.body.is_empty() && head.etag() == read.etag());
    let value = world.client.get(&format!("/v1/tenants/{BANK}/data/document?pointer=/end")).is(200).json();
    assert_eq!(value["value"], 7);
}

#[test]
fn a_follower_is_told_of_news_and_only_of_news() {
    let world = World::open();
    let path = "/v1/registry/documents";
    let first = world.client.get(path).is(200);
    let event = first.json()["event"].as_u64().unwrap();
    assert_eq!(first.etag(), format!("\"{event}\""));
    let quiet = world.client.get(&format!("{path}?after={event}")).is(304);
    assert_eq!(quiet.etag(), format!("\"{event}\""));
    // A new tenant is nothing to a host, and moves on where to go on from.
    world.client.post("/v1/tenants", &json!({"name": "other"})).is(201);
    let quiet = world.client.get(&format!("{path}?after={event}")).is(304);
    assert_eq!(quiet.etag(), format!("\"{}\"", event + 1));
    let waiting = {
        let (client, path) = (world.client.clone(), format!("{path}?after={event}&wait=30"));
        std::thread::spawn(move || client.get(&path).is(200).json())
    };
    world.client.signed("PUT", "/v1/trust", &trust(2)).is(200);
    let news = waiting.join().unwrap();
    assert_eq!(news["trust"].as_array().unwrap().len(), 2);
    assert!(news["event"].as_u64().unwrap() > event);
    // Events that are not there yet were seen in a database that was restored since.
    world.client.get(&format!("{path}?after=100000&wait=30")).is(200);
    assert_eq!(world.client.get(&format!("{path}?wait=31")).problem().0, 400);
}

#[test]
fn an_archived_policy_takes_no_versions() {
    let world = World::open();
    world.publish_approved(&policy_of(BANK), "1.0.0");
    world.client.json("PATCH", &policy(), &json!({"state": "archived"})).is(200);
    let second = world.build(&policy_of(BANK), "2.0.0");
    let statements = format!("{}/versions/2.0.0/statements", policy());
    assert_eq!(world.client.signed("POST", &statements, &second.approval()).problem().0, 404);
    assert_eq!(versions(&world), is(&[("1.0.0", "approved")]));
}
