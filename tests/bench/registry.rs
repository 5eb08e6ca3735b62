//! A server with a registry, an access policy and a host that follows it, over loopback: pushes and pulls, policies made,
//! listed and read, and activations until the new version answers. Everybody has an API key.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use verdict_tests::access::AccessSite;
use verdict_tests::server::{Server, binary, root, text, verdict_ok};

use crate::figures::Figures;
use crate::process;

/// How many do something at a time, where it is counted by the second.
const CLIENTS: usize = 4;
/// Connections that read a policy without a pause.
const READERS: usize = 16;
const ACTIVATIONS: u32 = 100;
/// Policies of the tenant that is listed.
const LISTED: u64 = 10_000;
/// How many of them one client makes after the other.
const MADE: u64 = 300;
const LISTS: usize = 5;
const LAYER_BYTES: usize = 64 << 10;
const PATIENCE: Duration = Duration::from_secs(30);
const QUESTION: &[u8] = br#"{"input": {"user": "maya", "action": "read", "owner": "otto"}}"#;
const POLICY: &str = "/v1/tenants/bank/policies/loan";

/// Adds the figures of `registry.*`.
pub(crate) fn measure(figures: &mut Figures, seconds: u64) {
    let site = Site::start();
    let publisher = site.key("alice", "publisher");
    pushes(&site, figures, &publisher, Duration::from_secs(seconds));
    activations(&site, figures);
    made_and_listed(&site, figures, &site.key("tessa", "tenant_admin"));
    reads(&site, figures, &publisher, seconds);
}

/// A server, and what it was started with.
struct Site {
    folder: tempfile::TempDir,
    _access: AccessSite,
    server: Server,
}

impl Site {
    fn start() -> Self {
        let folder = tempfile::tempdir().expect("a folder can be made");
        let path = |name: &str| text(&folder.path().join(name)).to_owned();
        trust(folder.path());
        let access = AccessSite::new();
        let (roots, rita, glass, state) =
            (path("trust/roots.json"), path("keys/rita/releaser.key"), path("glass"), path("state"));
        let (policy, access_trust) = (access.policy(), access.trust());
        let more = [
            "--roots",
            &roots,
            "--activation-key",
            &rita,
            "--break-glass",
            &glass,
            "--state",
            &state,
            "--access",
            text(&policy),
            "--access-trust",
            text(&access_trust),
            "--access-component",
            access.component(),
        ];
        let server = Server::registry(folder.path(), &more);
        let site = Self { server, _access: access, folder };
        site.command(&["trust", "put", text(&site.path("trust"))]);
        site.command(&["tenants", "create", "bank"]);
        site
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A command by the owner of the server.
    fn command(&self, arguments: &[&str]) -> String {
        let server = format!("unix:{}", text(&self.path("glass")));
        verdict_ok(&[arguments, &["--server", &server, "--json"]].concat())
    }

    /// An API key.
    fn key(&self, person: &str, role: &str) -> String {
        let made =
            self.command(&["api-keys", "create", "--person", person, "--role", role, "--tenant", "bank"]);
        let made: Value = serde_json::from_str(&made).expect("it prints JSON");
        made["key"]["key"].as_str().expect("a new key is shown").to_owned()
    }

    fn client(&self, key: &str) -> Client {
        let config = ureq::Agent::config_builder().http_status_as_error(false).timeout_global(Some(PATIENCE));
        Client {
            agent: config.build().into(),
            base: format!("http://{}", self.server.address),
            key: key.into(),
        }
    }
}

/// Somebody with a key and a connection.
#[derive(Clone)]
struct Client {
    agent: ureq::Agent,
    base: String,
    key: String,
}

impl Client {
    fn ask(&self, method: &str, path: &str, kind: &str, body: &[u8]) -> (u16, Vec<u8>) {
        let request = ureq::http::Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.base))
            .header("Authorization", format!("Bearer {}", self.key))
            .header("Content-Type", kind);
        let answer = if method == "GET" {
            self.agent.run(request.body(()).expect("a request can be made"))
        } else {
            self.agent.run(request.body(body).expect("a request can be made"))
        };
        let mut answer = answer.expect("the server answers");
        let status = answer.status().as_u16();
        (status, answer.body_mut().read_to_vec().expect("it can be read"))
    }

    /// The same, which must succeed.
    fn done(&self, method: &str, path: &str, kind: &str, body: &[u8]) -> Vec<u8> {
        let (status, answer) = self.ask(method, path, kind, body);
        assert!(
            matches!(status, 200..=299),
            "{method} {path}: {status} {}",
            String::from_utf8_lossy(&answer)
        );
        answer
    }
}

/// Keys of a root, an author and a releaser, and the trust policy that names them.
fn trust(folder: &Path) {
    let public = |role: &str, person: &str| {
        let out = folder.join("keys").join(person);
        let made = verdict_ok(&[
            "keys",
            "new",
            "--unencrypted",
            "--key-only",
            "--role",
            role,
            "--person",
            person,
            "--out",
            text(&out),
            "--json",
        ]);
        let made: Value = serde_json::from_str(&made).expect("it prints JSON");
        made["public"].as_str().expect("a key has a public part").to_owned()
    };
    let grant = |role: &str, person: &str| json!([{"person": person, "public": public(role, person), "policies": ["bank/*"]}]);
    let trust = json!({
        "format": "verdict-trust/1", "version": 1, "expires": "2199-01-01T00:00:00Z",
        "root": {"keys": [public("root", "root")], "threshold": 1},
        "authors": grant("author", "alice"), "releasers": grant("releaser", "rita"),
    });
    std::fs::create_dir_all(folder.join("trust")).expect("a folder can be made");
    std::fs::write(folder.join("trust/trust.json"), trust.to_string()).expect("it can be written");
    let key = folder.join("keys/root/root.key");
    verdict_ok(&["trust", "init", text(&folder.join("trust")), "--key", text(&key)]);
}

/// Whole images, each of a layer that is not there yet, pushed and pulled by some at a time.
fn pushes(site: &Site, figures: &mut Figures, key: &str, time: Duration) {
    let pushed = AtomicU64::new(0);
    let rate = per_second(site, key, time, |client| push(client, pushed.fetch_add(1, Ordering::Relaxed)));
    figures.add("registry.push.per_s", rate, "1/s");
    let (pushed, pulled) = (pushed.load(Ordering::Relaxed), AtomicU64::new(0));
    let rate =
        per_second(site, key, time, |client| pull(client, pulled.fetch_add(1, Ordering::Relaxed) % pushed));
    figures.add("registry.pull.per_s", rate, "1/s");
}

/// How often a second some clients do this together.
fn per_second(site: &Site, key: &str, time: Duration, work: impl Fn(&Client) + Sync) -> f64 {
    let (began, count) = (Instant::now(), AtomicU64::new(0));
    std::thread::scope(|scope| {
        for _ in 0..CLIENTS {
            scope.spawn(|| {
                let client = site.client(key);
                while began.elapsed() < time {
                    work(&client);
                    count.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
    });
    count.into_inner() as f64 / began.elapsed().as_secs_f64()
}

const IMAGE_TYPE: &str = "application/vnd.oci.image.manifest.v1+json";
const EMPTY_TYPE: &str = "application/vnd.oci.empty.v1+json";
const EMPTY_DIGEST: &str = "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a";

fn push(client: &Client, number: u64) {
    let mut layer = vec![7; LAYER_BYTES];
    layer[..8].copy_from_slice(&number.to_be_bytes());
    let octets = "application/octet-stream";
    let blobs = "/v2/bank/pushed/blobs/uploads/";
    let put =
        |bytes: &[u8], digest: &str| client.done("POST", &format!("{blobs}?digest={digest}"), octets, bytes);
    let digest = digest(&layer);
    put(&layer, &digest);
    put(b"{}", EMPTY_DIGEST);
    let image = json!({
        "schemaVersion": 2, "mediaType": IMAGE_TYPE,
        "config": {"mediaType": EMPTY_TYPE, "digest": EMPTY_DIGEST, "size": 2},
        "layers": [{"mediaType": octets, "digest": digest, "size": LAYER_BYTES}],
    });
    client.done(
        "PUT",
        &format!("/v2/bank/pushed/manifests/n{number}"),
        IMAGE_TYPE,
        image.to_string().as_bytes(),
    );
}

fn pull(client: &Client, number: u64) {
    let image = client.done("GET", &format!("/v2/bank/pushed/manifests/n{number}"), "", b"");
    let image: Value = serde_json::from_slice(&image).expect("a manifest is JSON");
    for part in [&image["config"], &image["layers"][0]] {
        let digest = part["digest"].as_str().expect("a part has a digest");
        let bytes = client.done("GET", &format!("/v2/bank/pushed/blobs/{digest}"), "", b"");
        assert_eq!(Some(bytes.len() as u64), part["size"].as_u64());
    }
}

/// From asking for an activation, which the server signs, to the first answer of the version.
fn activations(site: &Site, figures: &mut Figures) {
    let publisher = site.path("publisher");
    std::fs::write(&publisher, site.key("anna", "publisher")).expect("it can be written");
    let versions = ["1.0.0", "1.1.0"];
    versions.iter().for_each(|version| publish(site, &publisher, version));
    let (operator, agent) =
        (site.client(&site.key("otto", "operator")), site.client(&site.key("shop", "agent")));
    let mut times = Vec::new();
    for turn in 0..=ACTIVATIONS {
        let version = versions[turn as usize % 2];
        let asked = json!({"versions": [{"version": version}]}).to_string();
        let began = Instant::now();
        operator.done(
            "POST",
            &format!("{POLICY}/channels/production/activate"),
            "application/json",
            asked.as_bytes(),
        );
        loop {
            let (status, answer) =
                agent.ask("POST", &format!("{POLICY}/decide"), "application/json", QUESTION);
            let answer: Value = serde_json::from_slice(&answer).expect("an answer is JSON");
            if status == 200 && answer["version"] == version {
                break;
            }
            // The first of all finds no policy.
            assert!(
                began.elapsed() < PATIENCE && (turn == 0 || status == 200),
                "{version}: {status} {answer}"
            );
        }
        times.extend((turn > 0).then(|| began.elapsed()));
    }
    report(figures, "registry.activate", &mut times, 1e3, "ms");
}

fn publish(site: &Site, key: &Path, version: &str) {
    let source = site.path("loan");
    if !source.exists() {
        let made = Command::new(binary()).args(["new", "bank/loan"]).current_dir(site.folder.path()).output();
        assert!(made.is_ok_and(|made| made.status.success()), "a policy can be begun");
    }
    let settings = std::fs::read_to_string(source.join("policy.toml")).expect("it was made");
    let settings: String = settings
        .lines()
        .map(|line| {
            if line.starts_with("version = ") {
                format!("version = \"{version}\"\n")
            } else {
                format!("{line}\n")
            }
        })
        .collect();
    std::fs::write(source.join("policy.toml"), settings).expect("it can be written");
    let built = site.path(version);
    verdict_ok(&["build", text(&source), "--out", text(&built)]);
    verdict_ok(&["sign", text(&built), "--key", text(&site.path("keys/alice/author.key"))]);
    let server = format!("http://{}", site.server.address);
    verdict_ok(&["push", text(&built), "--server", &server, "--token-file", text(key)]);
}

/// Policies made one after the other, then many more, then all listed by pages of a thousand.
fn made_and_listed(site: &Site, figures: &mut Figures, key: &str) {
    let client = site.client(key);
    let make = |client: &Client, number: u64| {
        let policy = json!({"name": format!("p{number:05}"), "description": "one of many"}).to_string();
        client.done("POST", "/v1/tenants/bank/policies", "application/json", policy.as_bytes());
    };
    let timed = |number| {
        let began = Instant::now();
        make(&client, number);
        began.elapsed()
    };
    let mut times: Vec<Duration> = (0..MADE).map(timed).collect();
    figures.add("registry.create.p50.ms", percentile(&mut times, 50).as_secs_f64() * 1e3, "ms");
    let next = AtomicU64::new(MADE);
    std::thread::scope(|scope| {
        for _ in 0..CLIENTS {
            scope.spawn(|| {
                let client = site.client(key);
                while let number @ 0..LISTED = next.fetch_add(1, Ordering::Relaxed) {
                    make(&client, number);
                }
            });
        }
    });
    let mut times: Vec<Duration> = (0..LISTS).map(|_| list(&client)).collect();
    figures.add("registry.list.10k.ms", percentile(&mut times, 50).as_secs_f64() * 1e3, "ms");
}

fn list(client: &Client) -> Duration {
    let (began, mut count, mut after) = (Instant::now(), 0, String::new());
    loop {
        let page = client.done("GET", &format!("/v1/tenants/bank/policies?limit=1000{after}"), "", b"");
        let page: Value = serde_json::from_slice(&page).expect("a page is JSON");
        count += page["items"].as_array().map_or(0, Vec::len) as u64;
        match page["next"].as_str() {
            Some(next) => after = format!("&after={next}"),
            None => break,
        }
    }
    assert!(count >= LISTED, "{count} are listed");
    began.elapsed()
}

/// One policy, read from all connections without a pause.
fn reads(site: &Site, figures: &mut Figures, key: &str, seconds: u64) {
    let Some(wrk) = std::env::var_os("VERDICT_BENCH_WRK") else {
        return figures.skip("registry.metadata.cached", "wrk is not there; see `make bench`");
    };
    let found: Value =
        serde_json::from_slice(&site.client(key).done("GET", POLICY, "", b"")).expect("it is JSON");
    assert_eq!(found["name"], "bank/loan");
    let load = |seconds: u64| {
        let mut command = Command::new(&wrk);
        command
            .args(["--threads", "1", "--timeout", "10s", "--duration", &format!("{seconds}s")])
            .args([
                "--connections",
                &READERS.to_string(),
                "--header",
                &format!("Authorization: Bearer {key}"),
            ])
            .arg("--script")
            .arg(root().join("tests/bench/get.lua"))
            .arg(format!("http://{}{POLICY}", site.server.address));
        let output = process::output(&mut command, Duration::from_secs(seconds + 20));
        let line = output.lines().find(|line| line.starts_with('{')).expect("the script prints its line");
        let summary: Value = serde_json::from_str(line).expect("the line is JSON");
        assert_eq!(summary["errors"], 0, "{output}");
        summary
    };
    load(1);
    let summary = load(seconds);
    let number = |member: &str| summary[member].as_f64().expect("the line has numbers");
    figures.add("registry.metadata.cached.rps", number("requests") / number("duration_us") * 1e6, "1/s");
    figures.add("registry.metadata.cached.p50.us", number("p50_us"), "µs");
    figures.add("registry.metadata.cached.p99.us", number("p99_us"), "µs");
}

fn report(figures: &mut Figures, name: &str, times: &mut [Duration], scale: f64, unit: &str) {
    for percent in [50, 99] {
        let value = percentile(times, percent).as_secs_f64() * scale;
        figures.add(&format!("{name}.p{percent}.{unit}"), value, unit);
    }
}

fn digest(bytes: &[u8]) -> String {
    let hex = Sha256::digest(bytes).into_iter().map(|byte| format!("{byte:02x}"));
    format!("sha256:{}", hex.collect::<String>())
}

/// The time that so many of a hundred do not exceed.
fn percentile(times: &mut [Duration], percent: usize) -> Duration {
    times.sort();
    times[(times.len() * percent / 100).min(times.len() - 1)]
}
