//! Registries that lie: nothing is believed, nothing is read without end, and nothing stays behind.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::thread;

use serde_json::{Value, json};
use verdict_core::artifact::STATEMENTS_MAX;
use verdict_core::digest::Digest;
use verdict_registry::Layout;
use verdict_registry::remote::RemoteError;

use crate::{copy, folder, layout, names, place, remote_with};

type Heads = Arc<Mutex<Vec<String>>>;

/// A registry that answers what it is told to: path to status line with headers, and body.
struct Liar {
    address: SocketAddr,
    /// The heads of the requests.
    heads: Heads,
}

/// `{address}` in a status line is that of the registry.
type Answers = BTreeMap<String, (String, Vec<u8>)>;

impl Liar {
    fn start(answers: Answers) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (address, heads) = (listener.local_addr().unwrap(), Heads::default());
        let (answers, heard) = (Arc::new(answers), heads.clone());
        thread::spawn(move || {
            for client in listener.incoming() {
                let (client, answers, heard) = (client.unwrap(), answers.clone(), heard.clone());
                thread::spawn(move || answer(client, address, &answers, &heard));
            }
        });
        Self { address, heads }
    }
}

fn answer(mut client: TcpStream, address: SocketAddr, answers: &Answers, heard: &Heads) {
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") && client.read(&mut byte).is_ok_and(|read| read == 1) {
        head.push(byte[0]);
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    let path = head.split(' ').nth(1).unwrap_or_default().split('?').next().unwrap_or_default().to_owned();
    heard.lock().unwrap().push(head);
    let unknown = ("404 Not Found".to_owned(), Vec::new());
    let (status, body) = answers.get(&path).unwrap_or(&unknown);
    let status = status.replace("{address}", &address.to_string());
    if status.contains("endless") {
        let _ = write!(client, "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n");
        // Until the other side has enough.
        while client.write_all(b"1000\r\n").and_then(|()| client.write_all(&[b' '; 0x1000])).is_ok()
            && client.write_all(b"\r\n").is_ok()
        {}
        return;
    }
    let length = if status.contains("content-length") {
        String::new()
    } else {
        format!("content-length: {}\r\n", body.len())
    };
    let _ = write!(client, "HTTP/1.1 {status}\r\n{length}connection: close\r\n\r\n");
    let _ = client.write_all(body);
}

/// What an honest registry would answer about a version.
fn honest(layout: &Layout) -> Answers {
    let mut answers = Answers::new();
    let blobs = layout.path().join("blobs/sha256");
    for hex in names(&blobs) {
        let bytes = std::fs::read(blobs.join(&hex)).unwrap();
        for kind in ["blobs", "manifests"] {
            answers.insert(format!("/v2/loan/{kind}/sha256:{hex}"), ("200 OK".into(), bytes.clone()));
        }
    }
    let image = layout.image_digest();
    let tags = [("1.0.0".to_owned(), image.hex())];
    let index: Value =
        serde_json::from_slice(&std::fs::read(layout.path().join("index.json")).unwrap()).unwrap();
    let referrers = index["manifests"].as_array().unwrap().iter().skip(1).map(|entry| {
        (format!("sha256-{}", image.hex()), entry["digest"].as_str().unwrap().replace("sha256:", ""))
    });
    for (tag, hex) in tags.into_iter().chain(referrers) {
        let answer = answers[&format!("/v2/loan/manifests/sha256:{hex}")].clone();
        answers.insert(format!("/v2/loan/manifests/{tag}"), answer);
    }
    answers
}

fn say(answers: &mut Answers, path: &str, status: &str, body: &[u8]) {
    answers.insert(format!("/v2/loan/{path}"), (status.into(), body.to_vec()));
}

/// Pulls from a registry that answers as `lie` has changed it; there is an error, and nothing else.
async fn pull(lie: impl Fn(&mut Answers, &Layout)) -> RemoteError {
    let temporary = tempfile::tempdir().unwrap();
    let original = layout(&temporary.path().join("from"), "1.0.0", 41, &[b"author"]);
    let mut answers = honest(&original);
    lie(&mut answers, &original);
    let liar = Liar::start(answers);
    let to = temporary.path().join("to");
    let error = copy(&place(&format!("{}/loan:1.0.0", liar.address)), &folder(&to)).await.unwrap_err();
    let mut left = names(temporary.path());
    // What was whole may wait for the next run, unless it is part of a lie.
    if !matches!(error, RemoteError::Refused(_)) {
        left.retain(|name| name != ".to.unfinished");
    }
    assert_eq!(left, ["from"], "{error}");
    error
}

/// The image manifest, changed, under its tag.
fn with_manifest(answers: &mut Answers, change: impl FnOnce(&mut Value)) {
    let mut manifest: Value = serde_json::from_slice(&answers["/v2/loan/manifests/1.0.0"].1).unwrap();
    change(&mut manifest);
    say(answers, "manifests/1.0.0", "200 OK", manifest.to_string().as_bytes());
}

fn layer_path(layout: &Layout) -> String {
    format!("blobs/{}", Digest::of(&layout.component().unwrap()))
}

#[tokio::test]
async fn an_honest_answer_is_taken() {
    let temporary = tempfile::tempdir().unwrap();
    let original = layout(&temporary.path().join("from"), "1.0.0", 41, &[b"author"]);
    let liar = Liar::start(honest(&original));
    let to = temporary.path().join("to");
    let pulled = copy(&place(&format!("{}/loan:1.0.0", liar.address)), &folder(&to)).await.unwrap();
    assert_eq!((pulled.statements, pulled.image), (1, original.image_digest()));
}

#[tokio::test]
async fn other_bytes_than_the_digest_says_are_refused() {
    let blob = pull(|answers, layout| {
        let mut component = layout.component().unwrap();
        *component.last_mut().unwrap() ^= 1;
        say(answers, &layer_path(layout), "200 OK", &component);
    });
    assert_eq!(blob.await.code(), "digest-mismatch");
    let header = format!("200 OK\r\ndocker-content-digest: {}", Digest::of(b"other"));
    let tag = pull(move |answers, _| {
        let manifest = answers["/v2/loan/manifests/1.0.0"].1.clone();
        say(answers, "manifests/1.0.0", &header, &manifest);
    });
    assert_eq!(tag.await.code(), "digest-mismatch");
    let shorter = pull(|answers, layout| say(answers, &layer_path(layout), "200 OK", b"\0asm"));
    assert_eq!(shorter.await.code(), "digest-mismatch");
}

#[tokio::test]
async fn nothing_is_read_beyond_its_limit() {
    let endless = "200 endless";
    for path in ["manifests/1.0.0", "the component"] {
        let error = pull(|answers, layout| {
            let component = layer_path(layout);
            say(answers, if path == "the component" { &component } else { path }, endless, b"");
        });
        assert_eq!(error.await.code(), "too-large", "{path}");
    }
    let referrers = pull(|answers, layout| {
        say(answers, &format!("referrers/{}", layout.image_digest()), endless, b"");
    });
    assert_eq!(referrers.await.code(), "too-large");
    let stated =
        pull(|answers, _| say(answers, "manifests/1.0.0", "200 OK\r\ncontent-length: 9999999999", b""));
    assert_eq!(stated.await.code(), "too-large");
    // A size that the manifest states is believed in one direction only.
    for (member, size) in [("layers", 40_u64 << 20), ("config", 1 << 20)] {
        let huge = pull(|answers, _| {
            with_manifest(answers, |manifest| {
                let layer =
                    if member == "layers" { &mut manifest["layers"][0] } else { &mut manifest["config"] };
                layer["size"] = json!(size);
            });
        });
        assert_eq!(huge.await.code(), "too-large", "{member}");
    }
}

#[tokio::test]
async fn what_is_no_version_of_a_policy_is_refused() {
    let other_type = pull(|answers, _| {
        with_manifest(answers, |manifest| manifest["layers"][0]["mediaType"] = json!("application/x-tar"));
    });
    assert_eq!(other_type.await.code(), "wrong-media-type");
    let no_layers = pull(|answers, _| with_manifest(answers, |manifest| manifest["layers"] = json!([])));
    assert_eq!(no_layers.await.code(), "wrong-media-type");
    let no_json = pull(|answers, _| say(answers, "manifests/1.0.0", "200 OK", b"<html>"));
    assert_eq!(no_json.await.code(), "malformed-artifact");
    let twice = pull(|answers, _| {
        say(answers, "manifests/1.0.0", "200 OK", br#"{"schemaVersion":2,"schemaVersion":2}"#);
    });
    assert_eq!(twice.await.code(), "malformed-artifact");
}

#[tokio::test]
async fn a_statement_about_another_image_is_refused() {
    let moved =
        pull(|answers, _| with_manifest(answers, |manifest| manifest["annotations"]["x"] = json!("y")));
    // Under the tag of the changed image nothing is listed; listed by the registry, it is looked at.
    drop(moved);
    let error = pull(|answers, layout| {
        let list = format!("/v2/loan/manifests/sha256-{}", layout.image_digest().hex());
        let list = answers[&list].1.clone();
        with_manifest(answers, |manifest| manifest["annotations"]["x"] = json!("y"));
        let changed = Digest::of(&answers["/v2/loan/manifests/1.0.0"].1);
        say(answers, &format!("referrers/{changed}"), "200 OK", &list);
    });
    assert_eq!(error.await.code(), "wrong-subject");
}

#[tokio::test]
async fn more_statements_than_are_read_are_refused_and_others_do_not_count() {
    let many = |kind: &'static str| {
        move |answers: &mut Answers, layout: &Layout| {
            let entries: Vec<_> = (0..u8::try_from(STATEMENTS_MAX + 1).unwrap())
                .map(|number| {
                    let digest = Digest::of(&[number]);
                    json!({"mediaType": "x", "digest": digest, "size": 1, "artifactType": kind})
                })
                .collect();
            let list = json!({"schemaVersion": 2, "manifests": entries}).to_string();
            say(answers, &format!("referrers/{}", layout.image_digest()), "200 OK", list.as_bytes());
            // So that there is an error in any case.
            say(answers, &layer_path(layout), "404 Not Found", b"");
        }
    };
    assert_eq!(pull(many("application/vnd.in-toto+json")).await.code(), "too-large");
    let temporary = tempfile::tempdir().unwrap();
    let original = layout(&temporary.path().join("from"), "1.0.0", 42, &[]);
    let mut answers = honest(&original);
    many("application/vnd.example.sbom")(&mut answers, &original);
    let liar = Liar::start(answers);
    let to = folder(&temporary.path().join("to"));
    let error = copy(&place(&format!("{}/loan:1.0.0", liar.address)), &to).await.unwrap_err();
    assert_eq!(error.code(), "not-found");
}

#[tokio::test]
async fn what_a_registry_says_cannot_command_a_terminal() {
    let body = br#"{"errors":[{"code":"DENIED","message":"\u001b]0;owned\u0007 no"}]}"#;
    let error = pull(|answers, _| say(answers, "manifests/1.0.0", "403 Forbidden", body)).await;
    assert_eq!(error.code(), "denied");
    assert!(error.to_string().contains("DENIED ( ]0;owned  no)"), "{error}");
    let error = pull(|answers, _| say(answers, "manifests/1.0.0", "418 I'm a teapot", b"")).await;
    assert!(error.to_string().contains("answered 418 to GET /v2/loan/manifests/1.0.0"), "{error}");
}

/// Pushes to a registry that opens uploads at `location`.
async fn push_to(location: &str) -> (RemoteError, Liar) {
    let temporary = tempfile::tempdir().unwrap();
    layout(&temporary.path().join("from"), "1.0.0", 43, &[]);
    let mut answers = Answers::new();
    say(&mut answers, "blobs/uploads/", &format!("202 Accepted\r\nlocation: {location}"), b"");
    let liar = Liar::start(answers);
    let config = login(temporary.path(), liar.address);
    let remote = remote_with(Some(config));
    let to = place(&format!("{}/loan", liar.address));
    let error = remote.copy(&folder(&temporary.path().join("from")), &to, false).await.unwrap_err();
    (error, liar)
}

fn login(folder: &Path, address: SocketAddr) -> std::path::PathBuf {
    let auths = json!({ "auths": { address.to_string(): { "registrytoken": "s3cret" } } });
    std::fs::write(folder.join("config.json"), auths.to_string()).unwrap();
    folder.to_owned()
}

#[tokio::test]
async fn uploads_lead_nowhere_else() {
    for location in ["http://[::", "ftp://{address}/x", "file:///etc/passwd", "", "data:,x"] {
        let (error, liar) = push_to(location).await;
        assert!(matches!(error.code(), "unreachable" | "registry-answer"), "{location}: {error}");
        let heads = liar.heads.lock().unwrap();
        assert!(!heads.iter().any(|head| head.contains("passwd")), "{location}");
    }
}

#[tokio::test]
async fn credentials_go_to_no_other_host() {
    let other = Liar::start(Answers::new());
    let temporary = tempfile::tempdir().unwrap();
    let original = layout(&temporary.path().join("from"), "1.0.0", 44, &[]);
    let mut answers = honest(&original);
    // It asks for the token, and then sends elsewhere with it.
    let elsewhere = format!("http://{}/stolen", other.address);
    say(
        &mut answers,
        &layer_path(&original),
        &format!("307 Temporary Redirect\r\nlocation: {elsewhere}"),
        b"",
    );
    say(
        &mut answers,
        "manifests/1.0.0",
        "401 Unauthorized\r\nwww-authenticate: Bearer realm=\"/token\"",
        b"",
    );
    let liar = Liar::start(answers);
    let remote = remote_with(Some(login(temporary.path(), liar.address)));
    let by_digest = place(&format!("{}/loan@{}", liar.address, original.image_digest()));
    let to = folder(&temporary.path().join("to"));
    let by_tag = remote.copy(&place(&format!("{}/loan:1.0.0", liar.address)), &to, false).await;
    assert_eq!(by_tag.unwrap_err().code(), "denied");
    assert!(liar.heads.lock().unwrap().iter().any(|head| head.contains("Bearer s3cret")));
    assert_eq!(remote.copy(&by_digest, &to, false).await.unwrap_err().code(), "not-found");
    let heads = other.heads.lock().unwrap();
    assert_eq!(heads.len(), 1);
    assert!(!heads[0].to_lowercase().contains("authorization"), "{}", heads[0]);
}

#[tokio::test]
async fn a_token_that_is_none_is_an_error() {
    for token in [json!({"token": "a\r\nx-injected: b"}), json!({}), json!([]), json!({"token": 5})] {
        let error = pull(|answers, _| {
            let ask = "401 Unauthorized\r\nwww-authenticate: Bearer realm=\"http://{address}/token\"";
            say(answers, "manifests/1.0.0", ask, b"");
            answers.insert("/token".into(), ("200 OK".into(), token.to_string().into_bytes()));
        });
        assert_eq!(error.await.code(), "unreachable", "{token}");
    }
}

#[tokio::test]
async fn redirections_and_pages_end() {
    let around = pull(|answers, layout| {
        let to = format!("307 Temporary Redirect\r\nlocation: /v2/loan/{}", layer_path(layout));
        say(answers, &layer_path(layout), &to, b"");
    });
    assert_eq!(around.await.code(), "unreachable");
    let pages = pull(|answers, layout| {
        let path = format!("referrers/{}", layout.image_digest());
        let next = format!("200 OK\r\nlink: </v2/loan/{path}>; rel=\"next\"");
        say(answers, &path, &next, br#"{"schemaVersion":2,"manifests":[]}"#);
    });
    assert_eq!(pages.await.code(), "too-large");
}
