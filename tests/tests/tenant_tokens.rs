//! Tokens that are for one tenant: on the routes of decisions as on those of the registry, which one server serves.

use serde_json::{Value, json};
use verdict_tests::server::{Server, Site, text};

const ALL: &str = "all-56789abcdefghijklmn0123";
const OWN: &str = "own-56789abcdefghijklmn0123";
const OTHER: &str = "other-789abcdefghijklmn0123";

fn ask(server: &Server, token: &str, method: &str, path: &str, body: &str) -> (u16, Value) {
    let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).build().into();
    let request = ureq::http::Request::builder()
        .method(method)
        .uri(format!("http://{}{path}", server.address))
        .header("Authorization", format!("Bearer {token}"));
    let answer = if method == "GET" {
        agent.run(request.body(()).unwrap())
    } else {
        agent.run(request.body(body.to_owned()).unwrap())
    };
    let mut answer = answer.unwrap();
    let status = answer.status().as_u16();
    let text = answer.body_mut().read_to_string().unwrap();
    (status, serde_json::from_str(&text).unwrap_or(Value::String(text)))
}

#[test]
fn a_token_of_a_tenant_reaches_nothing_of_another_and_the_registry_is_beside_the_decisions() {
    let site = Site::new(&["role-based-access"]);
    let tokens = format!("all {ALL}\nown {OWN} default\nother {OTHER} other\n");
    std::fs::write(site.path("tokens"), tokens).unwrap();
    let server = site.serve(&[
        "--token-file",
        text(&site.path("tokens")),
        "--registry",
        text(&site.path("catalogue.db")),
        "--store",
        text(&site.path("store")),
    ]);
    let policies = "/v1/tenants/default/policies/role-based-access/decide";
    let input = json!({ "input": { "user": "nobody" }, "id": "d-1" }).to_string();
    let (status, decision) = ask(&server, OWN, "POST", policies, &input);
    let id = decision["decision_id"].as_str().unwrap_or_else(|| panic!("{status} {decision}")).to_owned();

    // The second path is read by the router, the first is not.
    for path in [policies.to_owned(), policies.replace("default", "%64efault")] {
        let (status, decision) = ask(&server, ALL, "POST", &path, r#"{"input": {"user": "nobody"}}"#);
        assert!(decision["decision_id"].is_string(), "{path}: {status} {decision}");
        let (status, error) = ask(&server, OTHER, "POST", &path, &input);
        assert_eq!((status, &error["error"]["code"]), (404, &json!("not-found")), "{path}");
    }
    for path in [
        format!("/v1/tenants/default/decisions/{id}"),
        format!("/v1/tenants/default/decisions/{id}/receipt"),
        format!("/v1/tenants/%64efault/decisions/{id}"),
        "/v1/tenants/default/log/tile/entries/000".to_owned(),
    ] {
        let (status, error) = ask(&server, OTHER, "GET", &path, "");
        assert_eq!((status, &error["error"]["code"]), (404, &json!("not-found")), "{path}");
    }
    assert_ne!(ask(&server, OWN, "GET", &format!("/v1/tenants/default/decisions/{id}"), "").0, 404);
    let listed =
        |token| ask(&server, token, "GET", "/v1/policies", "").1["policies"].as_array().unwrap().len();
    assert_eq!((listed(ALL), listed(OWN), listed(OTHER)), (1, 1, 0));

    let upload = |token, tenant| ask(&server, token, "POST", &format!("/v2/{tenant}/x/blobs/uploads/"), "").0;
    assert_eq!((upload(OWN, "default"), upload(OTHER, "other"), upload(ALL, "default")), (202, 202, 202));
    assert_eq!((upload(OWN, "other"), upload(OTHER, "default")), (403, 403));
    assert_eq!(ask(&server, "nobody-knows-this-one", "GET", "/v2/", "").0, 401);
    assert!(server.stop(), "it ends by itself, its store with it");
}
