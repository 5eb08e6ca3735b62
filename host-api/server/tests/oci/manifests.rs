//! Manifests and tags: what is taken, listed and deleted.

use serde_json::{Value, json};
use verdict::core::digest::Digest;
use verdict::core::oci::{INDEX_MEDIA_TYPE, MANIFEST_MEDIA_TYPE};

use crate::served::{Answer, Served, path};

const LOAN: &str = "bank/loan";

fn manifest(reference: impl std::fmt::Display) -> String {
    format!("/v2/{LOAN}/manifests/{reference}")
}

#[test]
fn a_manifest_comes_back_byte_for_byte_by_tag_and_by_digest() {
    let served = Served::open();
    // Spaces and members of its own stay as they are.
    let mut image = served.image(LOAN, "layer");
    image["x"] = json!([1, 2]);
    let text = format!(" {image:#}\n");
    let digest = Digest::of(text.as_bytes());
    let headers = [("Content-Type", "application/vnd.oci.image.manifest.v1+json; charset=utf-8")];
    let answer = served.ask("PUT", &manifest("latest"), &headers, text.as_bytes()).is(201);
    assert_eq!(answer.header("docker-content-digest"), Some(digest.to_string().as_str()));
    assert_eq!(answer.location(), manifest(digest));
    assert_eq!(answer.header("oci-subject"), None);
    for reference in ["latest".to_owned(), digest.to_string(), digest.to_string().replace(':', "%3A")] {
        let found = served.get(&manifest(&reference)).is(200);
        assert_eq!(String::from_utf8(found.body.clone()).unwrap(), text);
        for answer in [found, served.ask("HEAD", &manifest(&reference), &[], b"").is(200)] {
            assert_eq!(answer.header("content-type"), Some(MANIFEST_MEDIA_TYPE));
            assert_eq!(answer.header("content-length"), Some(text.len().to_string().as_str()));
            assert_eq!(answer.header("docker-content-digest"), Some(digest.to_string().as_str()));
        }
    }
    let by_digest = served.image(LOAN, "other").to_string();
    let path = manifest(Digest::of(by_digest.as_bytes()));
    served.ask("PUT", &path, &[("Content-Type", MANIFEST_MEDIA_TYPE)], by_digest.as_bytes()).is(201);
    served.get(&path).is(200);
    assert_eq!(
        served.get(&format!("/v2/{LOAN}/tags/list")).json(),
        json!({ "name": LOAN, "tags": ["latest"] })
    );
}

#[test]
fn what_is_wrong_with_a_manifest_is_said_and_leaves_nothing() {
    let served = Served::open();
    let image = served.image(LOAN, "layer");
    let put = |value: &Value| served.put_manifest(LOAN, "latest", value).error();
    let mut changed = image.clone();
    changed["layers"][0]["digest"] = json!(Digest::of(b"never pushed"));
    assert_eq!(put(&changed), (404, "MANIFEST_BLOB_UNKNOWN".into()));
    let mut changed = image.clone();
    changed["config"]["size"] = json!(3);
    assert_eq!(put(&changed), (400, "SIZE_INVALID".into()));
    let mut changed = image.clone();
    changed["config"] = json!("config");
    assert_eq!(put(&changed), (400, "MANIFEST_INVALID".into()));
    let index = json!({ "schemaVersion": 2, "mediaType": INDEX_MEDIA_TYPE, "manifests": [
        { "mediaType": MANIFEST_MEDIA_TYPE, "digest": image["config"]["digest"], "size": 2 },
    ]});
    assert_eq!(put(&index), (404, "MANIFEST_BLOB_UNKNOWN".into()), "a blob is no manifest");
    let mut changed = image.clone();
    changed["annotations"] = json!({ "a": "x".repeat(70_000) });
    changed["subject"] = image["config"].clone();
    assert_eq!(put(&changed), (400, "MANIFEST_INVALID".into()));

    let text = image.to_string();
    let ask = |reference: String, media_type, text: &str| {
        served.ask("PUT", &manifest(reference), &[("Content-Type", media_type)], text.as_bytes()).error()
    };
    assert_eq!(ask("latest".into(), INDEX_MEDIA_TYPE, &text), (400, "MANIFEST_INVALID".into()));
    assert_eq!(ask("latest".into(), "text/plain", &text), (400, "MANIFEST_INVALID".into()));
    let wrong = Digest::of(b"wrong").to_string();
    assert_eq!(ask(wrong, MANIFEST_MEDIA_TYPE, &text), (400, "DIGEST_INVALID".into()));
    let large = " ".repeat((4 << 20) + 1);
    assert_eq!(ask("latest".into(), MANIFEST_MEDIA_TYPE, &large), (413, "MANIFEST_INVALID".into()));
    assert_eq!(served.get(&format!("/v2/{LOAN}/tags/list")).json()["tags"], json!([]));
    let nothing = served.block_on(served.registry.catalogue().manifests(
        &LOAN.parse().unwrap(),
        None,
        Default::default(),
    ));
    assert!(nothing.unwrap().items.is_empty());
}

#[test]
fn a_manifest_of_four_megabytes_is_taken() {
    let served = Served::open();
    let mut image = served.image(LOAN, "layer");
    image["annotations"] = json!({ "x": "" });
    let room = (4 << 20) - image.to_string().len();
    image["annotations"] = json!({ "x": "x".repeat(room) });
    served.put_manifest(LOAN, "large", &image).is(201);
    assert_eq!(served.get(&manifest("large")).is(200).body.len(), 4 << 20);
}

#[test]
fn the_tag_of_a_version_is_for_good() {
    let served = Served::open();
    let (first, second) = (served.image(LOAN, "1"), served.image(LOAN, "2"));
    served.put_manifest(LOAN, "1.0.0", &first).is(201);
    served.put_manifest(LOAN, "1.0.0", &first).is(201);
    let refused = served.put_manifest(LOAN, "1.0.0", &second);
    assert_eq!(refused.error(), (409, "DENIED".into()));
    let message = refused.json()["errors"][0]["message"].as_str().unwrap().to_owned();
    assert!(message.contains("`1.0.0`") && message.contains("push another version"), "{message}");
    assert_eq!(served.get(&manifest("1.0.0")).is(200).body, first.to_string().as_bytes());
    served.put_manifest(LOAN, "latest", &first).is(201);
    served.put_manifest(LOAN, "latest", &second).is(201);
    assert_eq!(served.get(&manifest("latest")).is(200).body, second.to_string().as_bytes());
}

/// The lists of all pages, from this one on.
fn pages(served: &Served, first: &str, list: impl Fn(&Answer) -> Vec<Value>) -> Vec<Vec<Value>> {
    let (mut pages, mut next) = (Vec::new(), Some(first.to_owned()));
    while let Some(path) = next {
        let answer = served.get(&path).is(200);
        pages.push(list(&answer));
        next = answer.next();
    }
    pages
}

#[test]
fn tags_are_listed_in_order_and_in_pages() {
    let served = Served::open();
    let image = served.image(LOAN, "layer");
    for tag in ["b", "1.0.0", "A", "a", "1.0.0-rc"] {
        served.put_manifest(LOAN, tag, &image).is(201);
    }
    let list = format!("/v2/{LOAN}/tags/list");
    let tags = |answer: &Answer| answer.json()["tags"].as_array().unwrap().clone();
    let all = json!(["1.0.0", "1.0.0-rc", "A", "a", "b"]);
    let whole = served.get(&list).is(200);
    assert_eq!((whole.json()["tags"].clone(), whole.next()), (all, None));
    let found = pages(&served, &format!("{list}?n=2"), tags);
    assert_eq!(json!(found), json!([["1.0.0", "1.0.0-rc"], ["A", "a"], ["b"]]));
    let none = served.get(&format!("{list}?n=0")).is(200);
    assert_eq!((none.json()["tags"].clone(), none.next()), (json!([]), None));
    assert_eq!(served.get(&format!("{list}?n=5")).is(200).next(), None, "that is all of them");
    assert_eq!(served.get(&format!("{list}?last=A")).json()["tags"], json!(["a", "b"]));
    assert_eq!(
        served.get(&format!("{list}?n=1&last=A0")).json()["tags"],
        json!(["a"]),
        "`last` need not be there"
    );
}

#[test]
fn referrers_are_listed_by_type_and_in_pages() {
    let served = Served::open();
    let subject = served.image(LOAN, "subject");
    let digest = Digest::of(subject.to_string().as_bytes());
    let list = format!("/v2/{LOAN}/referrers/{digest}");
    let empty = json!({ "schemaVersion": 2, "mediaType": INDEX_MEDIA_TYPE, "manifests": [] });
    assert_eq!(served.get(&list).is(200).json(), empty);
    for number in 0..5 {
        let mut image = served.image(LOAN, &format!("statement {number}"));
        image["subject"] =
            json!({ "mediaType": MANIFEST_MEDIA_TYPE, "digest": digest, "size": subject.to_string().len() });
        image["annotations"] = json!({ "number": number.to_string() });
        if number < 2 {
            image["artifactType"] = json!("application/x+json");
        }
        // Before its subject, which the specification wants to be taken.
        let pushed = served.put_manifest(LOAN, &format!("s{number}"), &image).is(201);
        assert_eq!(pushed.header("oci-subject"), Some(digest.to_string().as_str()));
    }
    served.put_manifest(LOAN, "1.0.0", &subject).is(201);

    let manifests = |answer: &Answer| answer.json()["manifests"].as_array().unwrap().clone();
    let all = served.get(&list).is(200);
    assert_eq!(all.header("content-type"), Some(INDEX_MEDIA_TYPE));
    assert_eq!((all.header("oci-filters-applied"), manifests(&all).len()), (None, 5));
    let paged = pages(&served, &format!("{list}?n=2"), manifests);
    assert_eq!(paged.iter().map(Vec::len).collect::<Vec<_>>(), [2, 2, 1]);
    assert_eq!(paged.concat(), manifests(&all));

    let filtered = served.get(&format!("{list}?artifactType=application%2Fx%2Bjson")).is(200);
    assert_eq!(filtered.header("oci-filters-applied"), Some("artifactType"));
    let mut numbers: Vec<_> =
        manifests(&filtered).iter().map(|found| found["annotations"]["number"].clone()).collect();
    numbers.sort_by_key(ToString::to_string);
    assert_eq!(numbers, ["0", "1"]);
    assert_eq!(manifests(&filtered)[0]["artifactType"], "application/x+json");
    let filtered = pages(&served, &format!("{list}?artifactType=application%2Fx%2Bjson&n=1"), manifests);
    assert_eq!(
        filtered.iter().map(Vec::len).collect::<Vec<_>>(),
        [1, 1],
        "the filter goes on from page to page"
    );
    let of_config = served.get(&format!("{list}?artifactType=application/vnd.oci.empty.v1%2Bjson"));
    assert_eq!(manifests(&of_config).len(), 3, "who names no type has its config's");
}

#[test]
fn many_large_referrers_do_not_come_in_one_answer() {
    let served = Served::open();
    let subject = json!({ "mediaType": MANIFEST_MEDIA_TYPE, "digest": Digest::of(b"subject"), "size": 7 });
    for number in 0..70 {
        let mut image = served.image(LOAN, "layer");
        image["subject"] = subject.clone();
        image["annotations"] = json!({ "number": number.to_string(), "large": "x".repeat(60_000) });
        let digest = Digest::of(image.to_string().as_bytes()).to_string();
        served.put_manifest(LOAN, &digest, &image).is(201);
    }
    let manifests = |answer: &Answer| {
        assert!(answer.body.len() < 4 << 20, "clients take 4 MiB");
        answer.json()["manifests"].as_array().unwrap().clone()
    };
    let found = pages(&served, &format!("/v2/{LOAN}/referrers/{}", Digest::of(b"subject")), manifests);
    assert_eq!((found.len(), found.concat().len()), (2, 70));
}

#[test]
fn tags_manifests_and_blobs_are_deleted_in_this_order() {
    let served = Served::open();
    let image = served.image(LOAN, "layer");
    let digest = served.push(LOAN, "layer");
    served.put_manifest(LOAN, "other", &image).is(201);
    let delete = |path: &str| served.ask("DELETE", path, &[], b"");
    let layer = path(LOAN, &image["layers"][0]);
    let needed = delete(&layer);
    assert_eq!(needed.error(), (405, "DENIED".into()));
    assert_eq!(needed.header("allow"), Some("GET, HEAD"));

    delete(&manifest("other")).is(202);
    assert_eq!(served.get(&manifest("other")).error(), (404, "MANIFEST_UNKNOWN".into()));
    served.get(&manifest("layer")).is(200);
    assert_eq!(delete(&manifest("other")).error(), (404, "MANIFEST_UNKNOWN".into()));
    delete(&manifest(digest)).is(202);
    for reference in ["layer".to_owned(), digest.to_string()] {
        assert_eq!(served.get(&manifest(reference)).error(), (404, "MANIFEST_UNKNOWN".into()));
    }
    delete(&layer).is(202);
    assert_eq!(served.get(&layer).error(), (404, "BLOB_UNKNOWN".into()));
    assert_eq!(delete(&layer).error(), (404, "BLOB_UNKNOWN".into()));
    assert_eq!(delete("/v2/bank/none/manifests/latest").error(), (404, "NAME_UNKNOWN".into()));
}
