//! Blobs: every way in, out in ranges, and what happens when something breaks.

use std::time::{Duration, Instant};

use verdict::core::digest::Digest;

use crate::served::{BLOB_BYTES_MAX, Served, noise, path};

const LOAN: &str = "bank/loan";

/// What is in the repository under this digest is these bytes.
fn check(served: &Served, bytes: &[u8]) {
    let digest = Digest::of(bytes);
    let path = format!("/v2/{LOAN}/blobs/{digest}");
    let answer = served.get(&path).is(200);
    assert!(answer.body == bytes, "{} bytes came back, other ones", answer.body.len());
    for answer in [answer, served.ask("HEAD", &path, &[], b"").is(200)] {
        assert_eq!(answer.header("docker-content-digest"), Some(digest.to_string().as_str()));
        assert_eq!(answer.header("content-length"), Some(bytes.len().to_string().as_str()));
        assert_eq!(answer.header("content-type"), Some("application/octet-stream"));
    }
    assert!(served.ask("HEAD", &path, &[], b"").body.is_empty());
}

#[test]
fn a_blob_comes_in_one_piece_in_two_requests_or_in_one() {
    let served = Served::open();
    // Around the sizes at which pieces end.
    for size in [0, 1, (2 << 20) - 1, 2 << 20, (2 << 20) + 1, 5 << 20] {
        let bytes = noise(size);
        let digest = Digest::of(&bytes);
        let location = served.begin(LOAN);
        let answer = served.ask("PUT", &format!("{location}?digest={digest}"), &[], &bytes).is(201);
        assert_eq!(answer.location(), format!("/v2/{LOAN}/blobs/{digest}"));
        check(&served, &bytes);
        served.get(&location).is(404);
        let mut other = bytes.clone();
        other.push(7);
        served.put_blob(LOAN, &other);
        check(&served, &other);
    }
}

#[test]
fn a_blob_comes_in_chunks_in_order_only() {
    let served = Served::open();
    let bytes = noise(3000);
    let mut location = served.begin(LOAN);
    let out_of_order = served.ask("PATCH", &location, &[("Content-Range", "1000-1999")], &bytes[1000..2000]);
    assert_eq!(out_of_order.error(), (416, "BLOB_UPLOAD_INVALID".into()));
    for (range, part) in [("0-999", &bytes[..1000]), ("1000-1999", &bytes[1000..2000])] {
        let answer = served.ask("PATCH", &location, &[("Content-Range", range)], part).is(202);
        assert_eq!(answer.header("range"), Some(format!("0-{}", range.split_once('-').unwrap().1).as_str()));
        location = answer.location();
    }
    let again = served.ask("PATCH", &location, &[("Content-Range", "1000-1999")], &bytes[1000..2000]);
    assert_eq!(again.header("range"), Some("0-1999"));
    assert_eq!(again.header("location"), Some(location.as_str()));
    assert_eq!(again.error(), (416, "BLOB_UPLOAD_INVALID".into()));
    let state = served.get(&location).is(204);
    assert_eq!((state.header("range"), state.location()), (Some("0-1999"), location.clone()));

    let last = [("Content-Range", "2000-2999")];
    let put = format!("{location}?digest={}", Digest::of(&bytes));
    assert_eq!(served.ask("PUT", &put, &[("Content-Range", "0-999")], &bytes[..1000]).error().0, 416);
    served.ask("PUT", &put, &last, &bytes[2000..]).is(201);
    check(&served, &bytes);
}

#[test]
fn a_chunk_without_a_place_goes_on_at_the_end() {
    let served = Served::open();
    let bytes = noise(3 << 20);
    let location = served.begin(LOAN);
    let (first, second) = bytes.split_at(1 << 20);
    served.ask("PATCH", &location, &[], first).is(202);
    let answer = served.ask("PATCH", &location, &[], second).is(202);
    assert_eq!(answer.header("range"), Some(format!("0-{}", bytes.len() - 1).as_str()));
    served.ask("PUT", &format!("{location}?digest={}", Digest::of(&bytes)), &[], b"").is(201);
    check(&served, &bytes);
}

#[test]
fn an_upload_goes_on_where_a_connection_broke() {
    let served = Served::open();
    let bytes = noise(6 << 20);
    let location = served.begin(LOAN);
    let range = format!("0-{}", bytes.len() - 1);
    served.break_off("PATCH", &location, &[("Content-Range", &range)], bytes.len(), &bytes[..5 << 20]);
    let deadline = Instant::now() + Duration::from_secs(60);
    let here = loop {
        let state = served.get(&location).is(204);
        let here: usize = state.header("range").unwrap().strip_prefix("0-").unwrap().parse().unwrap();
        // All whole pieces at least; the rest of what came is kept too unless the machine lost it on the way.
        if here + 1 >= 4 << 20 {
            break here + 1;
        }
        assert!(Instant::now() < deadline, "only {here} bytes of the broken chunk are here");
        std::thread::sleep(Duration::from_millis(20));
    };
    // Until nothing more of the broken request is on its way.
    let mut offset = here;
    loop {
        let range = format!("{offset}-{}", bytes.len() - 1);
        let answer = served.ask("PATCH", &location, &[("Content-Range", &range)], &bytes[offset..]);
        if answer.status == 202 {
            break;
        }
        assert_eq!(answer.status, 416);
        offset = answer.header("range").unwrap().strip_prefix("0-").unwrap().parse::<usize>().unwrap() + 1;
    }
    served.ask("PUT", &format!("{location}?digest={}", Digest::of(&bytes)), &[], b"").is(201);
    check(&served, &bytes);
}

#[test]
fn a_range_is_a_part_of_the_blob() {
    let served = Served::open();
    let bytes = noise((3 << 20) + 17);
    let blob = path(LOAN, &served.put_blob(LOAN, &bytes));
    let size = bytes.len();
    for (range, part) in [
        ("bytes=0-0".to_owned(), 0..1),
        ("bytes=5-1048580".to_owned(), 5..1_048_581),
        (format!("bytes={}-", size - 3), size - 3..size),
        ("bytes=-1000000".to_owned(), size - 1_000_000..size),
        (format!("bytes=1-{}", size * 2), 1..size),
    ] {
        let answer = served.ask("GET", &blob, &[("Range", &range)], b"").is(206);
        let place = format!("bytes {}-{}/{size}", part.start, part.end - 1);
        assert_eq!(answer.header("content-range"), Some(place.as_str()), "{range}");
        assert_eq!(answer.header("content-length"), Some((part.end - part.start).to_string().as_str()));
        assert!(answer.body == bytes[part], "{range}");
    }
    for range in
        [format!("bytes={size}-"), "bytes=-0".to_owned(), format!("bytes={}-{}", size + 9, size + 10)]
    {
        let answer = served.ask("GET", &blob, &[("Range", &range)], b"");
        assert_eq!(answer.error(), (416, "SIZE_INVALID".into()), "{range}");
        assert_eq!(answer.header("content-range"), Some(format!("bytes */{size}").as_str()));
    }
    for whole in ["bytes=1-2,4-5", "lines=1-2"] {
        assert_eq!(served.ask("GET", &blob, &[("Range", whole)], b"").is(200).body.len(), size);
    }
    let empty = path(LOAN, &served.put_blob(LOAN, b""));
    assert_eq!(served.ask("GET", &empty, &[("Range", "bytes=0-")], b"").status, 416);
}

#[test]
fn what_is_wrong_with_a_blob_is_said_and_leaves_nothing() {
    let served = Served::open();
    let (bytes, wrong) = (b"bytes", Digest::of(b"others"));
    let digest = Digest::of(bytes);
    let post =
        |query: &str| served.ask("POST", &format!("/v2/{LOAN}/blobs/uploads/?{query}"), &[], bytes).error();
    let invalid = (400, "DIGEST_INVALID".to_owned());
    assert_eq!(post(&format!("digest={wrong}")), invalid);
    assert_eq!(post("digest=sha512:00"), invalid);
    assert_eq!(post("mount=x&from=bank/other"), invalid);
    assert_eq!(post("digest-algorithm=sha512"), invalid);
    for query in ["".to_owned(), "?digest=x".to_owned(), format!("?digest={wrong}")] {
        let location = served.begin(LOAN);
        assert_eq!(served.ask("PUT", &format!("{location}{query}"), &[], bytes).error(), invalid, "{query}");
    }
    let location = served.begin(LOAN);
    let size = (400, "SIZE_INVALID".to_owned());
    assert_eq!(served.ask("PATCH", &location, &[("Content-Range", "0-9")], bytes).error(), size);
    let malformed = served.ask("PATCH", &location, &[("Content-Range", "bytes 0-4/5")], bytes);
    assert_eq!(malformed.error(), (400, "BLOB_UPLOAD_INVALID".into()));
    assert_eq!(served.ask("DELETE", &location, &[], b"").status, 204);
    assert_eq!(served.get(&location).error(), (404, "BLOB_UPLOAD_UNKNOWN".into()));
    for digest in [digest, wrong] {
        let path = format!("/v2/{LOAN}/blobs/{digest}");
        assert_eq!(
            served.get(&path).error(),
            (404, "NAME_UNKNOWN".into()),
            "not even the repository is there"
        );
        served.ask("HEAD", &path, &[], b"").is(404);
    }
    served.put_blob(LOAN, b"other");
    assert_eq!(served.get(&format!("/v2/{LOAN}/blobs/{digest}")).error(), (404, "BLOB_UNKNOWN".into()));
}

#[test]
fn a_blob_that_is_too_large_is_refused_on_the_way() {
    let served = Served::open();
    let bytes = vec![7; BLOB_BYTES_MAX as usize + 1];
    let whole = format!("/v2/{LOAN}/blobs/uploads/?digest={}", Digest::of(&bytes));
    assert_eq!(served.ask("POST", &whole, &[], &bytes).error(), (413, "BLOB_UPLOAD_INVALID".into()));
    let location = served.begin(LOAN);
    assert_eq!(served.ask("PATCH", &location, &[], &bytes).error(), (413, "BLOB_UPLOAD_INVALID".into()));
}

#[test]
fn a_blob_is_mounted_from_another_repository() {
    let served = Served::open();
    let blob = served.put_blob("bank/other", b"layer");
    let digest = blob["digest"].as_str().unwrap();
    let mount = |query: String| {
        served.ask("POST", &format!("/v2/{LOAN}/blobs/uploads/?mount={digest}{query}"), &[], b"")
    };
    let from_nowhere = mount("&from=bank/none".into()).is(202);
    assert!(from_nowhere.location().contains("/blobs/uploads/"));
    served.get(&path(LOAN, &blob)).is(404);
    let mounted = mount("&from=bank/other".into()).is(201);
    assert_eq!(mounted.location(), path(LOAN, &blob));
    assert_eq!(mounted.header("docker-content-digest"), Some(digest));
    check(&served, b"layer");
    served.ask("DELETE", &path("bank/other", &blob), &[], b"").is(202);
    served.get(&path("bank/other", &blob)).is(404);
    check(&served, b"layer");
    let elsewhere = format!("/v2/bank/third/blobs/uploads/?mount={digest}");
    served.ask("POST", &elsewhere, &[], b"").is(201);
}
