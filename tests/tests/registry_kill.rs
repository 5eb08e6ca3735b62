//! A real server is killed at any moment while it is pushed to: what was acknowledged is there afterwards, and nothing
//! that is there is half there.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};
use verdict_core::digest::Digest;
use verdict_core::oci::{EMPTY_MEDIA_TYPE, MANIFEST_MEDIA_TYPE};
use verdict_tests::server::Server;

const REPOSITORY: &str = "bank/loan";
const PUSHERS: u64 = 4;

/// Ten kills, a hundred in full runs.
fn rounds() -> u64 {
    if std::env::var_os("VERDICT_FULL").is_some() { 100 } else { 10 }
}

/// What the clients were told, and what they tried.
#[derive(Default)]
struct Known {
    /// By digest; whether it was acknowledged.
    blobs: BTreeMap<Digest, (Vec<u8>, bool)>,
    /// By tag; whether it was acknowledged.
    manifests: BTreeMap<String, (Vec<u8>, bool)>,
    /// By location: the bytes, and how many of them were acknowledged. None once it may have been finished.
    uploads: BTreeMap<String, Option<(Vec<u8>, usize)>>,
}

impl Known {
    /// Takes over what was acknowledged: from now on all of it is there.
    fn settle(&mut self, other: Self) {
        self.blobs.extend(other.blobs.into_iter().filter(|(_, (_, acknowledged))| *acknowledged));
        self.manifests.extend(other.manifests.into_iter().filter(|(_, (_, acknowledged))| *acknowledged));
    }
}

#[derive(Clone)]
struct Client {
    agent: ureq::Agent,
    base: String,
}

struct Answer {
    status: u16,
    location: String,
    range: String,
    body: Vec<u8>,
}

impl Client {
    fn new(server: &Server) -> Self {
        let config = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(Duration::from_secs(60)))
            .build();
        Self { agent: config.into(), base: format!("http://{}", server.address) }
    }

    /// None where the connection broke.
    fn ask(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Option<Answer> {
        let mut request = ureq::http::Request::builder().method(method).uri(format!("{}{path}", self.base));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let mut response = if method == "GET" {
            self.agent.run(request.body(()).unwrap()).ok()?
        } else {
            self.agent.run(request.body(body).unwrap()).ok()?
        };
        let header = |name| {
            response.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned()
        };
        let (status, location, range) = (response.status().as_u16(), header("location"), header("range"));
        let body = response.body_mut().with_config().limit(64 << 20).read_to_vec().ok()?;
        Some(Answer { status, location, range, body })
    }
}

/// One in many, the same in every run.
fn noise(seed: u64, bytes: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut noise = Vec::with_capacity(bytes + 8);
    while noise.len() < bytes {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        noise.extend_from_slice(&state.to_be_bytes());
    }
    noise.truncate(bytes);
    noise
}

fn descriptor(bytes: &[u8]) -> Value {
    json!({ "mediaType": EMPTY_MEDIA_TYPE, "digest": Digest::of(bytes), "size": bytes.len() })
}

/// Pushes one image in one of three ways. None where the server was killed on the way.
fn push(client: &Client, known: &Mutex<Known>, seed: u64) -> Option<()> {
    let layer = noise(seed, 1 + (seed as usize * 7919) % 300_000);
    let digest = Digest::of(&layer);
    known.lock().unwrap().blobs.insert(digest, (layer.clone(), false));
    if seed.is_multiple_of(3) {
        let post = format!("/v2/{REPOSITORY}/blobs/uploads/?digest={digest}");
        assert_eq!(client.ask("POST", &post, &[], &layer)?.status, 201);
    } else {
        upload(client, known, &layer, seed.is_multiple_of(2))?;
    }
    known.lock().unwrap().blobs.get_mut(&digest).unwrap().1 = true;

    let config = format!("/v2/{REPOSITORY}/blobs/uploads/?digest={}", Digest::of(b"{}"));
    assert_eq!(client.ask("POST", &config, &[], b"{}")?.status, 201);
    let image = json!({
        "schemaVersion": 2, "mediaType": MANIFEST_MEDIA_TYPE,
        "config": descriptor(b"{}"), "layers": [descriptor(&layer)],
    });
    let (image, tag) = (image.to_string().into_bytes(), format!("1.0.{seed}"));
    known.lock().unwrap().manifests.insert(tag.clone(), (image.clone(), false));
    let put = format!("/v2/{REPOSITORY}/manifests/{tag}");
    assert_eq!(client.ask("PUT", &put, &[("Content-Type", MANIFEST_MEDIA_TYPE)], &image)?.status, 201);
    known.lock().unwrap().manifests.get_mut(&tag).unwrap().1 = true;
    Some(())
}

fn upload(client: &Client, known: &Mutex<Known>, layer: &[u8], in_chunks: bool) -> Option<()> {
    let begun = client.ask("POST", &format!("/v2/{REPOSITORY}/blobs/uploads/"), &[], b"")?;
    assert_eq!(begun.status, 202);
    let location = begun.location;
    let mut rest = layer;
    if in_chunks {
        let mut here = 0;
        for chunk in layer.chunks(layer.len() / 3 + 1) {
            known.lock().unwrap().uploads.insert(location.clone(), Some((layer.to_vec(), here)));
            let range = format!("{here}-{}", here + chunk.len() - 1);
            assert_eq!(client.ask("PATCH", &location, &[("Content-Range", &range)], chunk)?.status, 202);
            here += chunk.len();
        }
        known.lock().unwrap().uploads.insert(location.clone(), Some((layer.to_vec(), here)));
        rest = b"";
    }
    known.lock().unwrap().uploads.insert(location.clone(), None);
    assert_eq!(
        client.ask("PUT", &format!("{location}?digest={}", Digest::of(layer)), &[], rest)?.status,
        201
    );
    Some(())
}

/// What is there after a kill. Returns how many blobs and manifests that nobody was told of are there all the same.
fn check(client: &Client, known: &Known) -> usize {
    let mut unheard = 0;
    for (digest, (bytes, acknowledged)) in &known.blobs {
        let found = client.ask("GET", &format!("/v2/{REPOSITORY}/blobs/{digest}"), &[], b"").unwrap();
        assert!(found.status == 200 || (found.status == 404 && !acknowledged), "{digest}: {}", found.status);
        assert!(found.status == 404 || found.body == *bytes, "{digest} is not what was pushed");
        unheard += usize::from(found.status == 200 && !acknowledged);
    }
    for (tag, (bytes, acknowledged)) in &known.manifests {
        let found = client.ask("GET", &format!("/v2/{REPOSITORY}/manifests/{tag}"), &[], b"").unwrap();
        assert!(found.status == 200 || (found.status == 404 && !acknowledged), "{tag}: {}", found.status);
        if found.status == 200 {
            assert_eq!(found.body, *bytes, "{tag}");
            let image: Value = serde_json::from_slice(bytes).unwrap();
            for part in [&image["config"], &image["layers"][0]] {
                let path = format!("/v2/{REPOSITORY}/blobs/{}", part["digest"].as_str().unwrap());
                let blob = client.ask("GET", &path, &[], b"").unwrap();
                assert_eq!(
                    (blob.status, blob.body.len() as u64),
                    (200, part["size"].as_u64().unwrap()),
                    "{tag}"
                );
            }
            unheard += usize::from(!acknowledged);
        }
    }
    unheard
}

/// Uploads go on where they were; what they were told that is here is here.
fn resume(client: &Client, known: &mut Known) -> usize {
    let mut resumed = 0;
    for (location, state) in std::mem::take(&mut known.uploads) {
        let Some((bytes, acknowledged)) = state else { continue };
        let found = client.ask("GET", &location, &[], b"").unwrap();
        assert_eq!(found.status, 204, "the upload is still there");
        // Nothing and one byte are written alike.
        let last: usize = found.range.strip_prefix("0-").unwrap().parse().unwrap();
        let here = if last == 0 { 0 } else { last + 1 };
        assert!(here >= acknowledged, "{acknowledged} bytes were acknowledged, {here} are here");
        if here < bytes.len() {
            let range = format!("{here}-{}", bytes.len() - 1);
            let patched =
                client.ask("PATCH", &location, &[("Content-Range", &range)], &bytes[here..]).unwrap();
            assert_eq!(patched.status, 202);
        }
        let digest = Digest::of(&bytes);
        let put = client.ask("PUT", &format!("{location}?digest={digest}"), &[], b"").unwrap();
        assert_eq!(put.status, 201);
        known.blobs.insert(digest, (bytes, true));
        resumed += 1;
    }
    resumed
}

#[test]
fn a_push_that_was_acknowledged_survives_a_kill_and_one_that_was_not_is_whole_or_not_there() {
    let folder = tempfile::tempdir().unwrap();
    let (known, seeds) = (Arc::new(Mutex::new(Known::default())), Arc::new(AtomicU64::new(1)));
    let (mut all, mut unheard, mut resumed) = (Known::default(), 0, 0);
    for round in 0..rounds() {
        let server = Server::registry(folder.path(), &[]);
        let client = Client::new(&server);
        {
            let mut known = known.lock().unwrap();
            unheard += check(&client, &known);
            resumed += resume(&client, &mut known);
            all.settle(std::mem::take(&mut *known));
        }
        let over = Arc::new(AtomicBool::new(false));
        let pushers: Vec<_> = (0..PUSHERS)
            .map(|_| {
                let (client, known, seeds, over) =
                    (client.clone(), known.clone(), seeds.clone(), over.clone());
                std::thread::spawn(move || {
                    while !over.load(Ordering::Relaxed) {
                        let pushed = push(&client, &known, seeds.fetch_add(1, Ordering::Relaxed));
                        if pushed.is_none() {
                            return;
                        }
                    }
                })
            })
            .collect();
        // Another moment each time.
        std::thread::sleep(Duration::from_millis(150 + round * 61 % 400));
        server.kill();
        over.store(true, Ordering::Relaxed);
        for pusher in pushers {
            pusher.join().unwrap();
        }
    }
    let server = Server::registry(folder.path(), &[]);
    let client = Client::new(&server);
    let mut known = known.lock().unwrap();
    unheard += check(&client, &known);
    resumed += resume(&client, &mut known);
    all.settle(std::mem::take(&mut *known));
    assert_eq!(check(&client, &all), 0, "all of it is acknowledged");
    let acknowledged = all.manifests.len();
    assert!(acknowledged as u64 >= rounds(), "something was pushed in each round");
    println!(
        "{} kills, {acknowledged} acknowledged manifests and {} blobs, none lost; {unheard} whole ones that nobody had \
         heard of, {resumed} uploads gone on with",
        rounds(),
        all.blobs.len()
    );
}

#[test]
fn a_large_blob_is_never_in_memory_as_a_whole() {
    const BYTES: usize = 160 << 20;
    let folder = tempfile::tempdir().unwrap();
    let server = Server::registry(folder.path(), &[]);
    let client = Client::new(&server);
    let peak_kb = || {
        let status = std::fs::read_to_string(format!("/proc/{}/status", server.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap().to_owned();
        line.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap()
    };
    let blob = noise(7, BYTES);
    let digest = Digest::of(&blob);
    let before = peak_kb();
    let begun = client.ask("POST", &format!("/v2/{REPOSITORY}/blobs/uploads/"), &[], b"").unwrap();
    let put = client.ask("PUT", &format!("{}?digest={digest}", begun.location), &[], &blob).unwrap();
    assert_eq!(put.status, 201);
    let request = client.agent.get(format!("{}/v2/{REPOSITORY}/blobs/{digest}", client.base));
    let mut response = request.call().unwrap();
    let found = response.body_mut().with_config().limit(BYTES as u64 + 1).read_to_vec().unwrap();
    assert!(found == blob, "another blob came back");
    let grown = peak_kb() - before;
    assert!(grown < 80 << 10, "{grown} kB more for a blob of {} kB", BYTES >> 10);
}
