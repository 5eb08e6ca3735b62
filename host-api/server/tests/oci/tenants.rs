//! Who may do what: tokens, and tenants that do not see each other.

use serde_json::{Value, json};
use verdict::core::digest::Digest;

use crate::served::{Served, path};

const OPERATOR: &str = "0123456789abcdefghijklmn";
const BANK: &str = "bank-6789abcdefghijklmn0123";
const SHOP: &str = "shop-6789abcdefghijklmn0123";

fn served() -> Served {
    Served::new(Some(&format!("operator {OPERATOR}\nteller {BANK} bank\nclerk {SHOP} shop\n")))
}

/// As a client sends a user and a password (RFC 7617).
fn basic(text: &str) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut encoded = String::from("Basic ");
    for chunk in text.as_bytes().chunks(3) {
        let bits =
            chunk.iter().fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - chunk.len()));
        for place in 0..4 {
            let sextet = (bits >> (18 - 6 * place)) as usize & 63;
            encoded.push(if place <= chunk.len() { char::from(ALPHABET[sextet]) } else { '=' });
        }
    }
    encoded
}

#[test]
fn who_is_not_known_is_asked_for_a_token_and_told_nothing() {
    let served = served();
    served.with(&format!("Bearer {BANK}")).push("bank/loan", "1.0.0");
    for stranger in [
        served.get("/v2/"),
        served.get("/v2/bank/loan/tags/list"),
        served.get("/v2/a/b/c/d"),
        served.get("/v2/_catalog"),
        served.ask("POST", "/v2/bank/loan/blobs/uploads/", &[], b""),
        served.with("Bearer nobody-knows-this-one-really").get("/v2/bank/loan/tags/list"),
        served.with(&basic("teller:nobody-knows-this-one-really")).get("/v2/"),
        served.with(&format!("Basic {BANK}")).get("/v2/"),
    ] {
        assert_eq!(stranger.error(), (401, "UNAUTHORIZED".into()));
        assert_eq!(stranger.header("www-authenticate"), Some("Basic realm=\"verdict\", charset=\"UTF-8\""));
    }
    for known in
        [format!("Bearer {BANK}"), basic(&format!("teller:{BANK}")), basic(&format!("anybody:{BANK}"))]
    {
        let tags = served.with(&known).get("/v2/bank/loan/tags/list").is(200).json();
        assert_eq!(tags["tags"], json!(["1.0.0"]));
    }
}

#[test]
fn a_tenant_cannot_tell_what_others_have_from_what_nobody_has() {
    let served = served();
    let (bank, shop) = (served.with(&format!("Bearer {BANK}")), served.with(&format!("Bearer {SHOP}")));
    let digest = bank.push("bank/loan", "1.0.0");
    let blob = bank.put_blob("bank/loan", b"secret");
    let blob = blob["digest"].as_str().unwrap();
    let reads = |repository: &str| {
        [
            format!("/v2/{repository}/manifests/1.0.0"),
            format!("/v2/{repository}/manifests/{digest}"),
            format!("/v2/{repository}/blobs/{blob}"),
            format!("/v2/{repository}/tags/list"),
            format!("/v2/{repository}/referrers/{digest}"),
        ]
    };
    for (there, nowhere) in reads("bank/loan").iter().zip(reads("bank/none")) {
        assert_eq!(bank.get(there).status, 200, "{there}");
        let (seen, unseen) = (shop.get(there), shop.get(&nowhere));
        let renamed = String::from_utf8(seen.body.clone()).unwrap().replace("bank/loan", "bank/none");
        assert_eq!(
            (seen.status, renamed),
            (unseen.status, String::from_utf8(unseen.body).unwrap()),
            "{there}"
        );
        assert!(seen.status == 404 || seen.json()["manifests"] == json!([]), "{there}");
    }
    let upload = bank.begin("bank/loan");
    for (method, path) in [
        ("PUT", format!("/v2/bank/loan/manifests/{digest}")),
        ("DELETE", "/v2/bank/loan/manifests/1.0.0".into()),
        ("DELETE", format!("/v2/bank/loan/blobs/{blob}")),
        ("POST", "/v2/bank/loan/blobs/uploads/".into()),
        ("POST", "/v2/bank/none/blobs/uploads/".into()),
        ("GET", upload.clone()),
        ("PATCH", upload.clone()),
        ("PUT", format!("{upload}?digest={blob}")),
        ("DELETE", upload.clone()),
    ] {
        assert_eq!(shop.ask(method, &path, &[], b"x").error(), (403, "DENIED".into()), "{method} {path}");
    }
    bank.get(&upload).is(204);
    assert_eq!(bank.get("/v2/bank/loan/manifests/1.0.0").status, 200);
}

#[test]
fn what_another_tenant_pushed_cannot_be_mounted_gone_on_with_or_named() {
    let served = served();
    let (bank, shop) = (served.with(&format!("Bearer {BANK}")), served.with(&format!("Bearer {SHOP}")));
    let blob = bank.put_blob("bank/loan", b"secret");
    let digest = blob["digest"].as_str().unwrap();
    for from in ["", "&from=bank/loan", "&from=loan", "&from=../bank/loan"] {
        let mount = format!("/v2/shop/loan/blobs/uploads/?mount={digest}{from}");
        assert!(shop.ask("POST", &mount, &[], b"").is(202).location().contains("/uploads/"), "{from}");
    }
    let mine = shop.begin("shop/loan");
    let other = bank.begin("bank/loan");
    let (_, id) = other.rsplit_once('/').unwrap();
    let moved = format!("/v2/shop/loan/blobs/uploads/{id}");
    assert_eq!(shop.get(&moved).error(), (404, "BLOB_UPLOAD_UNKNOWN".into()));
    assert_eq!(shop.ask("PATCH", &moved, &[], b"x").error(), (404, "BLOB_UPLOAD_UNKNOWN".into()));
    // Naming its digest without its bytes gives nothing.
    assert_eq!(shop.ask("PUT", &format!("{mine}?digest={digest}"), &[], b"").error().0, 400);
    shop.get(&path("shop/loan", &blob)).is(404);
    let mut image = shop.image("shop/loan", "layer");
    image["layers"][0] = blob.clone();
    assert_eq!(
        shop.put_manifest("shop/loan", "1.0.0", &image).error(),
        (404, "MANIFEST_BLOB_UNKNOWN".into())
    );
    // Whoever may see both may mount.
    let operator = served.with(&format!("Bearer {OPERATOR}"));
    let mount = format!("/v2/shop/loan/blobs/uploads/?mount={digest}&from=bank/loan");
    operator.ask("POST", &mount, &[], b"").is(201);
    assert_eq!(shop.get(&path("shop/loan", &blob)).is(200).body, b"secret");
}

#[test]
fn repositories_are_listed_of_the_tenants_that_one_may_see() {
    let served = served();
    let (bank, shop) = (served.with(&format!("Bearer {BANK}")), served.with(&format!("Bearer {SHOP}")));
    let operator = served.with(&format!("Bearer {OPERATOR}"));
    for name in ["bank/a", "bank/b", "bank/c"] {
        bank.push(name, "latest");
    }
    shop.push("shop/a", "latest");
    let all = |who: &Served, query: &str| {
        let (mut names, mut next) = (Vec::new(), Some(format!("/v2/_catalog{query}")));
        while let Some(path) = next {
            let answer = who.get(&path).is(200);
            let page = answer.json()["repositories"].as_array().unwrap().clone();
            assert!(page.len() <= 2 || query.is_empty(), "{page:?}");
            names.extend(page);
            next = answer.next();
        }
        Value::from(names)
    };
    for query in ["", "?n=1", "?n=2"] {
        assert_eq!(all(&bank, query), json!(["bank/a", "bank/b", "bank/c"]), "{query}");
        assert_eq!(all(&shop, query), json!(["shop/a"]), "{query}");
        assert_eq!(all(&operator, query), json!(["bank/a", "bank/b", "bank/c", "shop/a"]), "{query}");
    }
    assert_eq!(all(&bank, "?n=0"), json!([]));
}

#[test]
fn the_digest_of_a_blob_is_not_proof_of_having_it() {
    let served = served();
    let (bank, shop) = (served.with(&format!("Bearer {BANK}")), served.with(&format!("Bearer {SHOP}")));
    bank.put_blob("bank/loan", b"secret");
    let digest = Digest::of(b"secret");
    let post = format!("/v2/shop/loan/blobs/uploads/?digest={digest}");
    assert_eq!(shop.ask("POST", &post, &[], b"guess").error(), (400, "DIGEST_INVALID".into()));
    shop.ask("POST", &post, &[], b"secret").is(201);
    shop.get(&format!("/v2/shop/loan/blobs/{digest}")).is(200);
}
