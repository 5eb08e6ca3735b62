//! The OCI Distribution API over real sockets, spoken byte by byte: what is answered, and what is refused how.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "clippy takes helpers of integration tests for production code"
)]

mod blobs;
mod manifests;
mod served;
mod tenants;

use served::Served;
use verdict_server::{Listen, Options, Server};

#[test]
fn a_registry_says_that_it_is_one_and_only_where_there_is_one() {
    let served = Served::open();
    for path in ["/v2/", "/v2"] {
        let answer = served.get(path).is(200);
        assert_eq!(answer.header("docker-distribution-api-version"), Some("registry/2.0"));
    }
    assert_eq!(served.get("/health/ready").is(200).json()["ready"], true);
    assert_eq!(served.get("/v1/policies").is(404).json()["error"]["code"], "not-found");

    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let options = Options::new(Listen::parse("127.0.0.1:0").unwrap());
    let server = runtime.block_on(Server::bind(None, options)).unwrap();
    let bare = served.at(&server.address().to_string());
    runtime.spawn(server.run());
    for path in ["/v2/", "/v2/bank/loan/tags/list"] {
        assert_eq!(bare.get(path).is(404).json()["error"]["code"], "not-found");
    }
}

#[test]
fn every_path_has_its_methods_and_others_are_refused_with_their_names() {
    let served = Served::open();
    served.push("bank/loan", "latest");
    let upload = served.begin("bank/loan");
    for (path, method, allowed) in [
        ("/v2/", "POST", "GET, HEAD"),
        ("/v2/bank/loan/tags/list", "DELETE", "GET, HEAD"),
        ("/v2/bank/loan/manifests/latest", "POST", "GET, HEAD, PUT, DELETE"),
        ("/v2/bank/loan/blobs/uploads/", "GET", "POST"),
        (&upload, "POST", "GET, PATCH, PUT, DELETE"),
    ] {
        let answer = served.ask(method, path, &[], b"");
        assert_eq!(answer.error(), (405, "UNSUPPORTED".into()), "{method} {path}");
        assert_eq!(answer.header("allow"), Some(allowed), "{method} {path}");
    }
    for (path, error) in [
        ("/v2/loan/tags/list", (400, "NAME_INVALID")),
        ("/v2/a/b/c/tags/list", (400, "NAME_INVALID")),
        ("/v2/Bank/loan/manifests/latest", (400, "NAME_INVALID")),
        ("/v2/bank/loan/manifests/sha256:abc", (400, "DIGEST_INVALID")),
        ("/v2/bank/loan/manifests/-a", (400, "MANIFEST_INVALID")),
        ("/v2/bank/loan/blobs/abc", (400, "DIGEST_INVALID")),
        ("/v2/bank/loan/referrers/abc", (400, "DIGEST_INVALID")),
        ("/v2/bank/loan/manifests/none", (404, "MANIFEST_UNKNOWN")),
        ("/v2/bank/none/manifests/none", (404, "NAME_UNKNOWN")),
        ("/v2/bank/none/tags/list", (404, "NAME_UNKNOWN")),
        ("/v2/bank/loan/tags/list?n=x", (400, "UNSUPPORTED")),
        ("/v2/bank/loan/elsewhere", (404, "UNSUPPORTED")),
        ("/v2/bank/loan/blobs/uploads/00112233445566778899aabbccddeeff", (404, "BLOB_UPLOAD_UNKNOWN")),
    ] {
        assert_eq!(served.get(path).error(), (error.0, error.1.to_owned()), "{path}");
    }
}

#[test]
fn a_change_is_an_event_with_who_and_why() {
    let token = "0123456789abcdefghijklmn";
    let served = Served::new(Some(&format!("alice {token}")));
    let served = served.with(&format!("Bearer {token}"));
    let image = served.image("bank/loan", "layer").to_string();
    let headers = [("X-Request-Id", "push-7"), ("Content-Type", verdict::core::oci::MANIFEST_MEDIA_TYPE)];
    served.ask("PUT", "/v2/bank/loan/manifests/1.0.0", &headers, image.as_bytes()).is(201);
    let events =
        served.block_on(served.registry.catalogue().events_after(0, None, Default::default())).unwrap();
    let told: Vec<_> = events.iter().map(|event| (event.kind.as_str(), event.actor.as_str())).collect();
    for kind in ["tenant.created", "policy.created", "manifest.pushed", "tag.moved"] {
        assert!(told.contains(&(kind, "alice")), "{told:?}");
    }
    assert_eq!(events.last().unwrap().correlation, "push-7");
}
