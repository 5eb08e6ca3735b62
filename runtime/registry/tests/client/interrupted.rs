//! Registries and lines that have a bad moment, or break for good: what is left, and what the next run makes of it.

use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use verdict_registry::{Layout, find};

use crate::peers::plain_docker_registry;
use crate::{copy, folder, layout, names, place};

/// What becomes of a connection.
#[derive(Clone, Copy)]
enum Fate {
    Passes,
    /// Answered with this, and closed.
    Answered(&'static str),
    /// Closed at once.
    Refused,
    /// Closed after so many bytes to the client.
    CutDown(usize),
    /// Closed after so many bytes to the registry.
    CutUp(usize),
}

/// Stands between a client and a registry, and decides by the number of the connection.
fn between(
    registry: SocketAddr,
    fate: impl Fn(usize) -> Fate + Send + 'static,
) -> (SocketAddr, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (address, count) = (listener.local_addr().unwrap(), Arc::new(AtomicUsize::new(0)));
    let counted = count.clone();
    thread::spawn(move || {
        for client in listener.incoming() {
            let (client, fate) = (client.unwrap(), fate(counted.fetch_add(1, Ordering::SeqCst)));
            thread::spawn(move || connection(client, registry, fate));
        }
    });
    (address, count)
}

fn connection(mut client: TcpStream, registry: SocketAddr, fate: Fate) {
    let (down, up) = match fate {
        Fate::Passes => (usize::MAX, usize::MAX),
        Fate::CutDown(bytes) => (bytes, usize::MAX),
        Fate::CutUp(bytes) => (usize::MAX, bytes),
        Fate::Refused => return,
        Fate::Answered(head) => {
            let _ = client.read(&mut [0; 4096]);
            let _ = write!(client, "HTTP/1.1 {head}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
            return;
        }
    };
    let Ok(server) = TcpStream::connect(registry) else { return };
    let (client_too, server_too) = (client.try_clone().unwrap(), server.try_clone().unwrap());
    let upwards = thread::spawn(move || pipe(client_too, server_too, up));
    pipe(server, client, down);
    let _ = upwards.join();
}

fn pipe(mut from: TcpStream, mut to: TcpStream, mut bytes: usize) {
    let mut buffer = [0; 4096];
    while bytes > 0 {
        let wanted = buffer.len().min(bytes);
        match from.read(&mut buffer[..wanted]) {
            Ok(read @ 1..) if to.write_all(&buffer[..read]).is_ok() => bytes -= read,
            _ => break,
        }
    }
    let _ = (from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both));
}

/// Stands between a client and a registry, and is told of each request before it goes on.
fn watched(registry: SocketAddr, heard: impl Fn(&str) + Send + Sync + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (address, heard) = (listener.local_addr().unwrap(), Arc::new(heard));
    thread::spawn(move || {
        for client in listener.incoming() {
            let (mut client, heard) = (client.unwrap(), heard.clone());
            let Ok(mut server) = TcpStream::connect(registry) else { return };
            let (client_too, server_too) = (client.try_clone().unwrap(), server.try_clone().unwrap());
            thread::spawn(move || pipe(server_too, client_too, usize::MAX));
            thread::spawn(move || {
                let mut buffer = [0; 4096];
                while let Ok(read @ 1..) = client.read(&mut buffer) {
                    heard(&String::from_utf8_lossy(&buffer[..read]));
                    if server.write_all(&buffer[..read]).is_err() {
                        break;
                    }
                }
                let _ = server.shutdown(Shutdown::Both);
            });
        }
    });
    address
}

#[tokio::test]
async fn what_is_written_over_after_it_was_seen_is_listed_again() {
    let Some(registry) = plain_docker_registry() else { return };
    let temporary = tempfile::tempdir().unwrap();
    let original = layout(temporary.path(), "1.0.0", 39, &[b"first"]);
    copy(&folder(temporary.path()), &place(&registry.reference("loan"))).await.unwrap();
    let list = format!("/v2/loan/manifests/sha256-{}", original.image_digest().hex());
    let before = registry.get(&list).1;
    original.attach_statement(b"second").unwrap();

    // Somebody who had read the list before it was written writes his own, when it has just been looked at.
    let looks = AtomicUsize::new(0);
    let (peer, registry) = (registry.address, Arc::new(registry));
    // Not its owner: this thread outlives the test, and the registry is not to.
    let (late, path) = (Arc::downgrade(&registry), list.clone());
    let address = watched(peer, move |request| {
        let is = |method: &str| request.starts_with(&format!("{method} {path} "));
        if is("PUT") || (is("GET") && looks.load(Ordering::SeqCst) > 0) {
            let media_type = "application/vnd.oci.image.index.v1+json";
            if looks.fetch_add(1, Ordering::SeqCst) == 2 {
                let put =
                    late.upgrade().map(|late| late.request("PUT", &path, media_type, before.as_bytes()));
                assert_eq!(put.unwrap().0, 201);
            }
        }
    });
    let pushed = copy(&folder(temporary.path()), &place(&format!("{address}/loan"))).await.unwrap();
    assert_eq!(pushed.statements, 2);
    let after: serde_json::Value = serde_json::from_str(&registry.get(&list).1).unwrap();
    assert_eq!(after["manifests"].as_array().unwrap().len(), 2, "{after}");
}

#[tokio::test]
async fn a_bad_moment_passes() {
    let Some(registry) = plain_docker_registry() else { return };
    let temporary = tempfile::tempdir().unwrap();
    layout(&temporary.path().join("from"), "1.0.0", 31, &[b"author"]);
    let moments = [
        Fate::Answered("503 Service Unavailable"),
        Fate::Refused,
        Fate::Answered("429 Too Many Requests\r\nretry-after: 0"),
    ];
    let fate = move |number: usize| moments.get(number).copied().unwrap_or(Fate::Passes);
    let (address, connections) = between(registry.address, fate);
    let pushed = copy(&folder(&temporary.path().join("from")), &place(&format!("{address}/loan"))).await;
    assert_eq!(pushed.unwrap().statements, 1);
    assert!(connections.load(Ordering::SeqCst) >= 4);
}

#[tokio::test]
async fn an_upload_that_is_cut_off_once_begins_anew() {
    let Some(registry) = plain_docker_registry() else { return };
    let temporary = tempfile::tempdir().unwrap();
    let original = layout(&temporary.path().join("from"), "1.0.0", 38, &[b"author"]);
    let fate = |number| if number == 0 { Fate::CutUp(150_000) } else { Fate::Passes };
    let (address, connections) = between(registry.address, fate);
    let pushed = copy(&folder(original.path()), &place(&format!("{address}/loan"))).await.unwrap();
    assert_eq!((pushed.blobs_moved, connections.load(Ordering::SeqCst) >= 2), (4, true));
    let to = temporary.path().join("to");
    copy(&place(&registry.reference("loan:1.0.0")), &folder(&to)).await.unwrap();
    assert_eq!(Layout::open(&to).unwrap().component().unwrap(), original.component().unwrap());
}

#[tokio::test]
async fn a_registry_that_stays_broken_is_given_up() {
    let Some(registry) = plain_docker_registry() else { return };
    let temporary = tempfile::tempdir().unwrap();
    layout(&temporary.path().join("from"), "1.0.0", 32, &[]);
    let (address, connections) = between(registry.address, |_| Fate::Answered("502 Bad Gateway"));
    let failed = copy(&folder(&temporary.path().join("from")), &place(&format!("{address}/loan"))).await;
    let failed = failed.unwrap_err();
    assert_eq!(failed.code(), "registry-answer");
    assert!(failed.to_string().contains(&format!("`{address}` answered 502 to GET /v2/loan/")), "{failed}");
    assert_eq!(connections.load(Ordering::SeqCst), 5);
}

#[tokio::test]
async fn an_interrupted_pull_leaves_no_folder_and_goes_on_where_it_ended() {
    let Some(registry) = plain_docker_registry() else { return };
    let temporary = tempfile::tempdir().unwrap();
    let (from, below) = (temporary.path().join("from"), temporary.path().join("below"));
    fs::create_dir(&below).unwrap();
    let to = below.join("to");
    let original = layout(&from, "1.0.0", 33, &[b"author"]);
    copy(&folder(&from), &place(&registry.reference("loan"))).await.unwrap();

    let (address, _) = between(registry.address, |_| Fate::CutDown(100_000));
    let failed = copy(&place(&format!("{address}/loan:1.0.0")), &folder(&to)).await.unwrap_err();
    assert_eq!(failed.code(), "unreachable");
    assert_eq!((names(&below), find(&below).unwrap()), (vec![".to.unfinished".into()], vec![]));

    let pulled = copy(&place(&registry.reference("loan:1.0.0")), &folder(&to)).await.unwrap();
    // The config had arrived.
    assert_eq!((pulled.blobs_moved, pulled.blobs_present), (3, 1));
    assert_eq!(names(&below), ["to"]);
    assert_eq!(Layout::open(&to).unwrap().fetch().unwrap().statements, original.fetch().unwrap().statements);
}

#[tokio::test]
async fn what_an_interruption_left_is_checked_before_it_is_used() {
    let Some(registry) = plain_docker_registry() else { return };
    let temporary = tempfile::tempdir().unwrap();
    let (from, to) = (temporary.path().join("from"), temporary.path().join("to"));
    let original = layout(&from, "1.0.0", 34, &[]);
    copy(&folder(&from), &place(&registry.reference("loan"))).await.unwrap();
    let blobs = temporary.path().join(".to.unfinished/blobs/sha256");
    fs::create_dir_all(&blobs).unwrap();
    for blob in names(&from.join("blobs/sha256")) {
        fs::write(blobs.join(blob), "half a blob").unwrap();
    }
    let pulled = copy(&place(&registry.reference("loan:1.0.0")), &folder(&to)).await.unwrap();
    assert_eq!((pulled.blobs_moved, pulled.blobs_present), (2, 0));
    assert_eq!(Layout::open(&to).unwrap().component().unwrap(), original.component().unwrap());
}

#[tokio::test]
async fn an_interrupted_push_is_not_found_under_its_name_and_goes_on() {
    let Some(registry) = plain_docker_registry() else { return };
    let temporary = tempfile::tempdir().unwrap();
    layout(temporary.path(), "1.0.0", 35, &[b"author"]);
    let (address, _) = between(registry.address, |_| Fate::CutUp(100_000));
    let failed = copy(&folder(temporary.path()), &place(&format!("{address}/loan"))).await.unwrap_err();
    assert_eq!(failed.code(), "unreachable");
    assert_eq!(registry.get("/v2/loan/manifests/1.0.0").0, 404);
    let pushed = copy(&folder(temporary.path()), &place(&registry.reference("loan"))).await.unwrap();
    assert_eq!((pushed.blobs_moved, pushed.blobs_present), (3, 1));
}

#[tokio::test]
async fn only_one_pulls_into_a_folder() {
    let Some(registry) = plain_docker_registry() else { return };
    let temporary = tempfile::tempdir().unwrap();
    let (from, to) = (temporary.path().join("from"), temporary.path().join("to"));
    layout(&from, "1.0.0", 36, &[]);
    let there = place(&registry.reference("loan:1.0.0"));
    copy(&folder(&from), &there).await.unwrap();
    let unfinished = temporary.path().join(".to.unfinished");
    fs::create_dir(&unfinished).unwrap();
    let other = File::open(&unfinished).unwrap();
    other.lock().unwrap();
    assert_eq!(copy(&there, &folder(&to)).await.unwrap_err().code(), "busy");
    drop(other);
    copy(&there, &folder(&to)).await.unwrap();
}

#[tokio::test]
async fn nothing_is_written_over_what_is_no_version() {
    let Some(registry) = plain_docker_registry() else { return };
    let temporary = tempfile::tempdir().unwrap();
    let (from, to) = (temporary.path().join("from"), temporary.path().join("to"));
    layout(&from, "1.0.0", 37, &[]);
    let there = place(&registry.reference("loan:1.0.0"));
    copy(&folder(&from), &there).await.unwrap();
    fs::create_dir(&to).unwrap();
    fs::write(to.join("thesis.tex"), "").unwrap();
    assert_eq!(copy(&there, &folder(&to)).await.unwrap_err().code(), "folder");
    assert_eq!(names(temporary.path()), ["from", "to"]);
    fs::remove_file(to.join("thesis.tex")).unwrap();
    copy(&there, &folder(&to)).await.unwrap();
    assert_eq!(names(&to), ["blobs", "index.json", "oci-layout"]);
}
