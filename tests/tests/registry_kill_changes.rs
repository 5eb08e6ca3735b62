//! Whatever is killed while versions are published, activated and given data, a server or a command on a folder: what was
//! acknowledged is there afterwards, what is there is whole, a host follows it, and the log has every event in order.

#[path = "../../runtime/engine/tests/support/mod.rs"]
mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use base64::Engine as _;
use serde_json::{Value, json};
use verdict::engine::Compiler;
use verdict::registry::{Layout, Source as _, Tree};
use verdict::{Config, Event, Host, Registry};
use verdict_core::artifact::UnverifiedArtifact;
use verdict_core::digest::Digest;
use verdict_core::dsse::{self, Envelope};
use verdict_core::key::{KeyFile, Role, SecretKey};
use verdict_core::name::{ChannelName, PolicyName, Tenant};
use verdict_core::oci::{EMPTY_MEDIA_TYPE, MANIFEST_MEDIA_TYPE};
use verdict_core::record::Record;
use verdict_core::statement::{MEDIA_TYPE, sign_manifest};
use verdict_core::time::Timestamp;
use verdict_core::trust::{DataSnapshot, Roots, SignedDocument, TRUST_PAYLOAD_TYPE};
use verdict_ledger::tile::{TileKind, TilePath, parse_entries};
use verdict_tests::server::{Server, binary, text};

const ROOT: u8 = 1;
const ALICE: u8 = 2;
const RITA: u8 = 3;
const DINA: u8 = 4;
const PATIENCE: Duration = Duration::from_secs(60);
const POLICY: &str = "/v1/tenants/bank/policies/loan";
const DATA: &str = "/v1/tenants/bank/data";
const ENVELOPE: &str = "application/vnd.dsse.envelope.v1+json";

/// How often a server, and a command, is killed.
fn rounds() -> u64 {
    if std::env::var_os("VERDICT_FULL").is_some() { 150 } else { 10 }
}

fn key(seed: u8) -> SecretKey {
    SecretKey::from_seed([seed; 32])
}

fn in_seconds(seconds: i64) -> Timestamp {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    Timestamp::from_millis(i64::try_from(since.as_millis()).unwrap() + seconds * 1_000).unwrap()
}

fn loan() -> PolicyName {
    "bank/loan".parse().unwrap()
}

fn roots() -> Roots {
    Roots::new(vec![key(ROOT).public()], 1).unwrap()
}

fn trust() -> Vec<u8> {
    let grant = |person: &str, seed: u8| json!({"person": person, "public": key(seed).public(), "policies": ["bank/*"]});
    let text = json!({
        "format": "verdict-trust/1", "version": 1, "expires": in_seconds(864_000),
        "root": {"keys": [key(ROOT).public()], "threshold": 1}, "authors": [grant("alice", ALICE)],
        "releasers": [grant("rita", RITA)], "data_signers": [grant("dina", DINA)],
    });
    Envelope::sign(TRUST_PAYLOAD_TYPE, text.to_string().into_bytes(), &key(ROOT)).render().into()
}

/// The roots and the keys of a folder, as an operator has them.
fn write_keys(folder: &Path) {
    std::fs::write(folder.join("roots.json"), roots().render()).unwrap();
    for (name, role, seed) in [("rita", Role::Releaser, RITA), ("dina", Role::DataSigner, DINA)] {
        let mut options = std::fs::File::options();
        let mut file = options.write(true).create_new(true).mode(0o600).open(folder.join(name)).unwrap();
        file.write_all(KeyFile::new(role, key(seed)).render().as_bytes()).unwrap();
    }
}

/// A version that allows, another component each, signed by Alice.
struct Version {
    name: String,
    artifact: UnverifiedArtifact,
    statement: Vec<u8>,
}

fn version(number: u64) -> Version {
    let name = format!("1.0.{number}");
    let component = support::guest(&format!("(data (i32.const 64) \"{number}\")"), "(call $true)");
    let folder = tempfile::tempdir().unwrap();
    let layout = Layout::create(folder.path(), &component, &loan(), &name.parse().unwrap()).unwrap();
    let manifest = support::manifest(&component, json!({"policy": "bank/loan", "version": name}));
    let envelope = sign_manifest(&manifest, layout.image_digest(), &key(ALICE)).unwrap();
    Version { artifact: layout.fetch().unwrap(), statement: envelope.render().into(), name }
}

impl Version {
    fn image(&self) -> Digest {
        Digest::of(&self.artifact.manifest_bytes)
    }

    /// The manifest that attaches the statement.
    fn referrer(&self) -> Vec<u8> {
        let described = |media_type: &str, bytes: &[u8]| json!({"mediaType": media_type, "digest": Digest::of(bytes), "size": bytes.len()});
        let referrer = json!({
            "schemaVersion": 2, "mediaType": MANIFEST_MEDIA_TYPE, "artifactType": MEDIA_TYPE,
            "config": described(EMPTY_MEDIA_TYPE, b"{}"), "layers": [described(dsse::MEDIA_TYPE, &self.statement)],
            "subject": described(MANIFEST_MEDIA_TYPE, &self.artifact.manifest_bytes),
        });
        referrer.to_string().into_bytes()
    }
}

/// The content of a data snapshot, and its signed document.
fn snapshot(sequence: u64) -> (Vec<u8>, Vec<u8>, Digest) {
    let content =
        json!({"limits": {"sequence": sequence, "padding": "x".repeat(sequence as usize * 977 % 60_000)}});
    let content = content.to_string().into_bytes();
    let snapshot = DataSnapshot {
        tenant: "bank".parse().unwrap(),
        sequence,
        issued: in_seconds(-60),
        expires: in_seconds(86_400),
        digest: Digest::of(&content),
        bytes: content.len() as u64,
    };
    let envelope = snapshot.sign(&key(DINA)).unwrap();
    let digest = Digest::of(envelope.payload());
    (content, envelope.render().into(), digest)
}

/// A connection to the server for one request; none where it broke before the whole answer was there.
#[derive(Clone)]
struct Client {
    address: String,
    socket: PathBuf,
}

impl Client {
    /// As anybody on this machine.
    fn ask(&self, method: &str, path: &str, kind: &str, body: &[u8]) -> Option<(u16, Vec<u8>)> {
        exchange(TcpStream::connect(&self.address).ok()?, method, path, kind, body)
    }

    /// As the owner, over the break-glass socket.
    fn command(&self, method: &str, path: &str, kind: &str, body: &[u8]) -> Option<(u16, Vec<u8>)> {
        exchange(UnixStream::connect(&self.socket).ok()?, method, path, kind, body)
    }

    /// What the owner reads; it must be there.
    fn read(&self, path: &str) -> Value {
        let (status, body) = self.command("GET", path, "", b"").unwrap();
        assert_eq!(status, 200, "{path}: {}", String::from_utf8_lossy(&body));
        serde_json::from_slice(&body).unwrap()
    }

    /// Every item of a list, the newest first where it is so.
    fn all(&self, path: &str) -> Vec<Value> {
        let (mut items, mut after) = (Vec::new(), String::new());
        loop {
            let mut page = self.read(&format!("{path}?limit=1000{after}"));
            items.extend(page["items"].as_array().unwrap().clone());
            match page["next"].take() {
                Value::Null => return items,
                next => after = format!("&after={}", next.as_str().unwrap()),
            }
        }
    }
}

fn exchange(
    mut stream: impl Read + Write,
    method: &str,
    path: &str,
    kind: &str,
    body: &[u8],
) -> Option<(u16, Vec<u8>)> {
    let kind = if kind.is_empty() { String::new() } else { format!("Content-Type: {kind}\r\n") };
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: verdict\r\nConnection: close\r\n{kind}Content-Length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(&[head.as_bytes(), body].concat()).ok()?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).ok()?;
    let end = answer.windows(4).position(|window| window == b"\r\n\r\n")?;
    let head = std::str::from_utf8(&answer[..end]).unwrap().to_ascii_lowercase();
    let status = head.split(' ').nth(1)?.parse().ok()?;
    let length =
        head.lines().find_map(|line| line.strip_prefix("content-length: ")?.trim().parse::<usize>().ok());
    let body = answer.split_off(end + 4);
    (length.is_none_or(|length| length == body.len())).then_some((status, body))
}

/// What the clients were told, and what they tried.
#[derive(Default)]
struct Known {
    /// By number; whether it was acknowledged that the version is published.
    versions: BTreeMap<u64, bool>,
    /// Those that were there after a kill: looked at once more at the end.
    settled: Vec<u64>,
    /// Acknowledged states of the channel: the digest and the version, by sequence.
    states: BTreeMap<u64, (String, String)>,
    /// Data snapshots by sequence; whether each was acknowledged.
    data: BTreeMap<u64, bool>,
}

impl Known {
    fn published(&self) -> Vec<u64> {
        let acknowledged = self.versions.iter().filter(|(_, acknowledged)| **acknowledged);
        self.settled.iter().chain(acknowledged.map(|(number, _)| number)).copied().collect()
    }

    /// Lets the next check look at all versions again.
    fn unsettle(&mut self) {
        self.versions.extend(self.settled.drain(..).map(|number| (number, true)));
    }
}

/// One thing after another, until the connection breaks.
type Work = fn(&Client, &Mutex<Known>, u64) -> Option<()>;

/// Publishes a version: blobs, image, and the referrer that makes it one.
fn publish(client: &Client, known: &Mutex<Known>, number: u64) -> Option<()> {
    let version = version(number);
    known.lock().unwrap().versions.insert(number, false);
    let put = |path: String, method: &str, kind: &str, bytes: &[u8]| {
        let (status, body) = client.ask(method, &path, kind, bytes)?;
        assert_eq!(status, 201, "{path}: {}", String::from_utf8_lossy(&body));
        Some(())
    };
    for blob in [&version.artifact.config, &version.artifact.component, &b"{}".to_vec(), &version.statement] {
        put(format!("/v2/bank/loan/blobs/uploads/?digest={}", Digest::of(blob)), "POST", "", blob)?;
    }
    let referrer = version.referrer();
    let manifests = [
        (version.name.clone(), &version.artifact.manifest_bytes),
        (Digest::of(&referrer).to_string(), &referrer),
    ];
    for (reference, bytes) in manifests {
        put(format!("/v2/bank/loan/manifests/{reference}"), "PUT", MANIFEST_MEDIA_TYPE, bytes)?;
    }
    known.lock().unwrap().versions.insert(number, true);
    Some(())
}

/// Activates one of the published versions, signed by the server's key.
fn activate(client: &Client, known: &Mutex<Known>, turn: u64) -> Option<()> {
    let published = known.lock().unwrap().published();
    let Some(number) = published.get(turn as usize % published.len().max(1)) else {
        thread::sleep(Duration::from_millis(5));
        return Some(());
    };
    let version = format!("1.0.{number}");
    let asked = json!({"versions": [{"version": version}], "days": 1}).to_string();
    let path = format!("{POLICY}/channels/production/activate");
    let (status, body) = client.command("POST", &path, "application/json", asked.as_bytes())?;
    let answer: Value = serde_json::from_slice(&body).unwrap();
    assert!(matches!(status, 200 | 201), "{answer}");
    let digest = answer["digest"].as_str().unwrap().to_owned();
    known.lock().unwrap().states.insert(answer["sequence"].as_u64().unwrap(), (digest, version));
    Some(())
}

/// Puts the next data snapshot: the content, then the document that names it.
fn put_data(client: &Client, known: &Mutex<Known>) -> Option<()> {
    let sequence = known
        .lock()
        .unwrap()
        .data
        .last_key_value()
        .map_or(1, |(sequence, acknowledged)| sequence + u64::from(*acknowledged));
    let (content, envelope, _) = snapshot(sequence);
    known.lock().unwrap().data.insert(sequence, false);
    let path = format!("{DATA}/content/{}", Digest::of(&content));
    let (status, body) = client.command("PUT", &path, "application/octet-stream", &content)?;
    assert!(matches!(status, 200 | 201), "{}", String::from_utf8_lossy(&body));
    let (status, body) = client.command("PUT", DATA, ENVELOPE, &envelope)?;
    assert!(matches!(status, 200 | 201), "{}", String::from_utf8_lossy(&body));
    known.lock().unwrap().data.insert(sequence, true);
    Some(())
}

/// What is there after a kill: everything that was acknowledged, and nothing by half.
fn check(client: &Client, known: &mut Known) {
    for (number, acknowledged) in &mut known.versions {
        let version = version(*number);
        let (status, body) =
            client.command("GET", &format!("{POLICY}/versions/{}", version.name), "", b"").unwrap();
        assert!(status == 200 || (status == 404 && !*acknowledged), "{}: {status}", version.name);
        *acknowledged = status == 200;
        if status == 200 {
            let entry: Value = serde_json::from_slice(&body).unwrap();
            assert_eq!(entry["image"], version.image().to_string());
            let parts = [
                ("manifests", &version.artifact.manifest_bytes),
                ("manifests", &version.referrer()),
                ("blobs", &version.artifact.component),
                ("blobs", &version.artifact.config),
                ("blobs", &version.statement),
            ];
            for (kind, bytes) in parts {
                let path = format!("/v2/bank/loan/{kind}/{}", Digest::of(bytes));
                assert_eq!(client.ask("GET", &path, "", b""), Some((200, bytes.clone())), "{path}");
            }
        }
    }
    known.settled = known.published();
    known.versions.clear();
    let states = client.command("GET", &format!("{POLICY}/channels/production"), "", b"").unwrap();
    if states.0 == 200 || !known.states.is_empty() {
        check_states(client, known);
    }
    if client.command("GET", DATA, "", b"").unwrap().0 == 200 || known.data.values().any(|known| *known) {
        check_data(client, known);
    }
}

fn check_states(client: &Client, known: &mut Known) {
    let states = client.all(&format!("{POLICY}/channels/production/states"));
    let of = |state: &Value| {
        let version = state["document"]["versions"][0]["version"].as_str().unwrap().to_owned();
        (state["sequence"].as_u64().unwrap(), (state["digest"].as_str().unwrap().to_owned(), version))
    };
    let found: BTreeMap<u64, (String, String)> = states.iter().map(of).collect();
    assert!(found.keys().copied().eq(1..=found.len() as u64), "states without a gap");
    for (sequence, state) in &known.states {
        assert_eq!(found.get(sequence), Some(state), "state {sequence} was acknowledged");
    }
    // The host of this server follows.
    let (_, (_, version)) = found.last_key_value().unwrap();
    let began = Instant::now();
    loop {
        let (_, body) =
            client.ask("POST", &format!("{POLICY}/decide"), "application/json", br#"{"input": {}}"#).unwrap();
        let answer: Value = serde_json::from_slice(&body).unwrap_or_default();
        if answer["version"] == **version {
            break;
        }
        assert!(began.elapsed() < PATIENCE, "{version} does not answer: {answer}");
        thread::sleep(Duration::from_millis(10));
    }
    known.states = found;
}

fn check_data(client: &Client, known: &mut Known) {
    let found: BTreeMap<u64, Value> = client
        .all(&format!("{DATA}/snapshots"))
        .into_iter()
        .map(|document| (document["sequence"].as_u64().unwrap(), document))
        .collect();
    assert!(found.keys().copied().eq(1..=found.len() as u64), "snapshots without a gap");
    for (sequence, acknowledged) in &mut known.data {
        assert!(found.contains_key(sequence) || !*acknowledged, "snapshot {sequence} was acknowledged");
        *acknowledged = found.contains_key(sequence);
    }
    for (sequence, document) in found.iter().rev().take(3) {
        let (content, ..) = snapshot(*sequence);
        assert_eq!(document["document"]["digest"], Digest::of(&content).to_string());
        let path = format!("{DATA}/content/{}", Digest::of(&content));
        assert_eq!(client.command("GET", &path, "", b""), Some((200, content)), "{sequence}");
    }
}

struct Site {
    folder: tempfile::TempDir,
}

impl Site {
    fn start(&self) -> (Server, Client) {
        let path = |name: &str| text(&self.folder.path().join(name)).to_owned();
        let (roots, rita, socket, state) =
            (path("roots.json"), path("rita"), path("glass.sock"), path("state"));
        let more =
            ["--roots", &roots, "--activation-key", &rita, "--break-glass", &socket, "--state", &state];
        let server = Server::registry(self.folder.path(), &more);
        let client = Client { address: server.address.clone(), socket: socket.into() };
        (server, client)
    }
}

#[test]
fn a_server_that_is_killed_loses_nothing_that_it_acknowledged_and_logs_every_event() {
    let site = Site { folder: tempfile::tempdir().unwrap() };
    write_keys(site.folder.path());
    let (known, numbers) = (Arc::new(Mutex::new(Known::default())), Arc::new(AtomicU64::new(1)));
    for round in 0..rounds() {
        let (server, client) = site.start();
        assert!(matches!(client.command("PUT", "/v1/trust", ENVELOPE, &trust_once()).unwrap().0, 200 | 201));
        let tenant =
            client.command("POST", "/v1/tenants", "application/json", br#"{"name": "bank"}"#).unwrap().0;
        assert!(matches!(tenant, 201 | 409), "{tenant}");
        check(&client, &mut known.lock().unwrap());
        let over = Arc::new(AtomicBool::new(false));
        let workers: [Work; 3] = [publish, activate, |client, known, _| put_data(client, known)];
        let workers = workers.map(|work| {
            let (client, known, numbers, over) =
                (client.clone(), known.clone(), numbers.clone(), over.clone());
            thread::spawn(move || {
                while !over.load(Ordering::Relaxed)
                    && work(&client, &known, numbers.fetch_add(1, Ordering::Relaxed)).is_some()
                {
                }
            })
        });
        thread::sleep(Duration::from_millis(200 + round * 61 % 500));
        server.kill();
        over.store(true, Ordering::Relaxed);
        workers.into_iter().for_each(|worker| worker.join().unwrap());
    }
    let (server, client) = site.start();
    let mut known = known.lock().unwrap();
    known.unsettle();
    check(&client, &mut known);
    let (versions, states, data) = (known.published().len(), known.states.len(), known.data.len());
    assert!(versions > 0 && states > 0 && data > 0, "{versions} versions, {states} states, {data} snapshots");
    let events = client.all("/v1/events");
    let last = events.iter().rfind(|event| event["tenant"] == "bank").unwrap()["event"].as_u64().unwrap();
    wait_for_event(&server, last);
    assert!(server.stop());
    check_log(&site.folder.path().join("state"), &events);
    println!(
        "{} kills, {versions} versions, {states} states, {data} snapshots, {} events",
        rounds(),
        events.len()
    );
}

/// The same bytes each time: it is put again.
fn trust_once() -> Vec<u8> {
    static TRUST: std::sync::OnceLock<Vec<u8>> = std::sync::OnceLock::new();
    TRUST.get_or_init(trust).clone()
}

/// Waits until the log of the bank has an event.
fn wait_for_event(server: &Server, number: u64) {
    let began = Instant::now();
    let path = "/v1/tenants/bank/log";
    while !leaves(|file| Some(server.bytes(&format!("{path}/{file}"))))
        .iter()
        .any(|leaf| Event::parse(leaf).is_some_and(|event| event.number >= number))
    {
        assert!(began.elapsed() < PATIENCE, "event {number} does not come into the log");
        thread::sleep(Duration::from_millis(200));
    }
}

/// All entries of a log, by its files.
fn leaves(read: impl Fn(&str) -> Option<Vec<u8>>) -> Vec<Vec<u8>> {
    let Some(checkpoint) = read("checkpoint") else { return Vec::new() };
    let size: u64 = std::str::from_utf8(&checkpoint).unwrap().lines().nth(1).unwrap().parse().unwrap();
    let mut leaves = Vec::new();
    for index in 0..size.div_ceil(256) {
        let tile = TilePath::at_size(TileKind::Entries, index, size).unwrap();
        let bytes = read(&tile.to_string()).unwrap();
        leaves.extend(parse_entries(tile, &bytes).unwrap().iter().map(|leaf| leaf.to_vec()));
    }
    leaves
}

/// Every event is in the log of its tenant, in order; the rest are decisions, and nothing is both.
fn check_log(state: &Path, events: &[Value]) {
    let host = Host::open_records(state, Compiler::InProcess, None).unwrap();
    for log in ["bank", "system"] {
        let tenant: Tenant = log.parse().unwrap();
        let mut numbers: Vec<u64> = Vec::new();
        for leaf in leaves(|file| host.log_resource(&tenant, file).unwrap()) {
            match Event::parse(&leaf) {
                Some(event) => {
                    assert!(Record::parse(&leaf).is_err());
                    let there = events.iter().find(|there| there["event"] == event.number).unwrap();
                    let said = [event.kind, event.subject, event.actor, event.correlation];
                    let members = ["kind", "subject", "actor", "correlation_id"];
                    assert_eq!(said.map(Value::from), members.map(|member| there[member].clone()));
                    numbers.push(event.number);
                }
                None => drop(Record::parse(&leaf).unwrap()),
            }
        }
        assert!(numbers.is_sorted(), "{log}: {numbers:?}");
        let expected: BTreeSet<u64> = events
            .iter()
            .filter(|event| event["tenant"].as_str().unwrap_or("system") == log)
            .map(|event| event["event"].as_u64().unwrap())
            .collect();
        assert_eq!(numbers.into_iter().collect::<BTreeSet<_>>(), expected, "{log}");
    }
}

/// Runs a command and kills it after a time; whether it had ended well before.
fn killed(arguments: &[&str], after: Duration) -> bool {
    let mut command = Command::new(binary());
    let mut child = command
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let began = Instant::now();
    let ended = loop {
        let ended = child.try_wait().unwrap();
        if ended.is_some() || began.elapsed() > after {
            break ended;
        }
        thread::sleep(Duration::from_micros(200));
    };
    let _ = child.kill();
    let output = child.wait_with_output().unwrap();
    if let Some(status) = ended {
        assert!(status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    }
    ended.is_some()
}

#[test]
fn a_command_on_a_folder_that_is_killed_leaves_a_registry_that_a_host_follows() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| text(&folder.path().join(name)).to_owned();
    write_keys(folder.path());
    let tree = Tree::create(&folder.path().join("registry")).unwrap();
    tree.put_trust(1, &trust()).unwrap();
    let (registry, roots_file) = (path("registry"), path("roots.json"));
    // About as long as the slowest command takes, once its program is in memory.
    let longest = (0..3).map(|_| {
        let began = Instant::now();
        assert!(killed(&["channels", "--registry", &registry], PATIENCE));
        began.elapsed().as_millis() as u64
    });
    let longest = longest.min().unwrap() * 4 + 1;
    let (mut published, mut states, mut snapshots) = (Vec::new(), 0, 0);
    for round in 0..rounds() {
        let number = round + 1;
        let after = |part: u64| Duration::from_millis((round * 37 + part * 53) % longest);
        let version = version(number);
        let (from, to) = (path(&format!("built/{number}")), format!("{registry}/artifacts/{number}"));
        std::fs::create_dir_all(path("built")).unwrap();
        let artifact =
            UnverifiedArtifact { statements: vec![version.statement.clone()], ..version.artifact.clone() };
        Layout::store(Path::new(&from), &artifact).unwrap();
        if killed(&["copy", &from, &to], after(0)) || killed(&["copy", &from, &to], PATIENCE) {
            published.push(version.image());
        }
        let newest = format!("1.0.{number}");
        let activate = [
            "activate",
            "bank/loan",
            &newest,
            "--registry",
            &registry,
            "--key",
            &path("rita"),
            "--roots",
            &roots_file,
        ];
        states += usize::from(killed(&activate, after(1)));
        let file = path("data.json");
        std::fs::write(&file, snapshot(number).0).unwrap();
        let data = [
            "data",
            "put",
            "bank",
            &file,
            "--registry",
            &registry,
            "--key",
            &path("dina"),
            "--roots",
            &roots_file,
        ];
        snapshots += usize::from(killed(&data, after(2)));

        let bank: Tenant = "bank".parse().unwrap();
        for image in &published {
            assert_eq!(tree.layout(image).unwrap().fetch().unwrap().statements.len(), 1);
        }
        let found = tree.channel_states(&loan(), &ChannelName::production()).unwrap();
        assert!(found.len() >= states && tree.data_snapshots(&bank).unwrap().len() >= snapshots);
        follows(&tree, found.last());
    }
    println!(
        "{} kills of each, {} published, {states} states and {snapshots} snapshots acknowledged",
        rounds(),
        published.len()
    );
}

/// A host that has seen nothing takes all of it.
fn follows(tree: &Tree, newest: Option<&Vec<u8>>) {
    let state = tempfile::tempdir().unwrap();
    let source = Arc::new(Tree::open(tree.path()).unwrap());
    assert!(source.documents().is_ok());
    let host = Host::open(Config::following(Registry { source, roots: roots() }, state.path())).unwrap();
    assert!(host.quarantine().is_empty(), "{:?}", host.quarantine());
    let payload = newest.map(|envelope| -> Value {
        let envelope: Value = serde_json::from_slice(envelope).unwrap();
        let payload = base64::engine::general_purpose::STANDARD.decode(envelope["payload"].as_str().unwrap());
        serde_json::from_slice(&payload.unwrap()).unwrap()
    });
    let expected = payload.map(|state| state["versions"][0]["version"].as_str().unwrap().to_owned());
    assert_eq!(host.policies().first().map(|policy| policy.version.clone()), expected);
}
