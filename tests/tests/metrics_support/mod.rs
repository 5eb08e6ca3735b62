//! A server that has done some work, its scrapes, and Prometheus' own tools.

pub(crate) mod promql;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use verdict::core::name::PolicyName;
use verdict::registry::Layout;
use verdict_tests::server::{Server, Site, root, text};

use crate::support;

/// A guest that never ends by itself.
const SPIN: &str = "(loop $l (br $l)) (unreachable)";
const ANSWER: &str = "(call $true)";
const BUDGETS: &str = "[tenants.bank]\nfuel_per_s = 100000000\nconcurrency = 8\nmemory_bytes = 1000000000\n\
    [tenants.shop]\nrequests_per_s = 1\n";

/// Waits until something is so.
pub(crate) fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !is_so() {
        assert!(Instant::now() < deadline, "{what}: it never is");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Adds a policy with a `decide` of this body.
fn add(site: &Site, policy: &str, body: &str) {
    let component = support::guest("", body);
    let limits = json!({ "fuel": 1_000_000, "memory_bytes": 1 << 20 });
    let manifest = support::manifest(&component, json!({ "policy": policy, "limits": limits }));
    let folder = site.path(&format!("policies/{policy}"));
    std::fs::create_dir_all(&folder).unwrap();
    let name: PolicyName = policy.parse().unwrap();
    Layout::create(&folder.join("oci"), &component, &name, &manifest.version).unwrap();
    std::fs::write(folder.join("manifest.json"), serde_json::to_string(&manifest).unwrap()).unwrap();
    site.sign(policy);
}

/// A site with two tenants and their policies.
pub(crate) fn site() -> Site {
    let site = Site::new(&[]);
    let trust = std::fs::read_to_string(site.path("keys/trust.json")).unwrap();
    let mut trust: Value = serde_json::from_str(&trust).unwrap();
    trust["authors"][0]["policies"] = json!(["bank/*", "shop/*"]);
    std::fs::write(site.path("keys/trust.json"), trust.to_string()).unwrap();
    add(&site, "bank/answer", ANSWER);
    add(&site, "bank/spin", SPIN);
    add(&site, "shop/answer", ANSWER);
    std::fs::write(site.path("budgets.toml"), BUDGETS).unwrap();
    site
}

/// Asks, faults, is refused, and comes to a cached answer.
pub(crate) fn work(server: &Server) {
    let decide = |policy: &str| {
        let (tenant, name) = policy.split_once('/').unwrap();
        server.post(&format!("/v1/tenants/{tenant}/policies/{name}/decide"), r#"{"input": {}}"#).0
    };
    for _ in 0..19 {
        assert_eq!(decide("bank/answer"), 200);
    }
    let (status, answer) = server.post("/v1/data/bank/answer", r#"{"input": {}}"#);
    assert_eq!(status, 200, "{answer}");
    (0..3).for_each(|_| assert_eq!(decide("bank/spin"), 500));
    until("the rate is met", || decide("shop/answer") == 429);
}

/// A server on a site that has worked.
pub(crate) fn worked() -> (Site, Server) {
    let site = site();
    let cached = ["--cache-policy", "bank/spin", "--cache-policy", "shop/answer"];
    let server = site.serve(&[&["--budgets", text(&site.path("budgets.toml"))], &cached[..]].concat());
    work(&server);
    (site, server)
}

/// One value of a metric.
#[derive(Debug)]
pub(crate) struct Sample {
    pub(crate) name: String,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) value: f64,
}

/// What Prometheus is told.
#[derive(Debug)]
pub(crate) struct Scrape {
    pub(crate) text: String,
    /// What each family is, by its name.
    pub(crate) types: BTreeMap<String, String>,
    pub(crate) samples: Vec<Sample>,
}

impl Scrape {
    pub(crate) fn of(server: &Server) -> Self {
        let (status, body) = server.get("/metrics");
        assert_eq!(status, 200, "{body}");
        let text = body.as_str().unwrap().to_owned();
        let (mut types, mut samples) = (BTreeMap::new(), Vec::new());
        for line in text.lines() {
            if let Some((name, kind)) = line.strip_prefix("# TYPE ").and_then(|rest| rest.split_once(' ')) {
                assert_eq!(types.insert(name.to_owned(), kind.to_owned()), None, "{name} is told twice");
            } else if !line.starts_with('#') {
                samples.push(sample(line));
            }
        }
        Self { text, types, samples }
    }

    /// The value with exactly these labels.
    pub(crate) fn value(&self, name: &str, labels: &BTreeMap<String, String>) -> Option<f64> {
        let is_it = |sample: &&Sample| sample.name == name && sample.labels == *labels;
        self.samples.iter().find(is_it).map(|sample| sample.value)
    }

    /// The labels of a metric and their values.
    pub(crate) fn labels(&self, name: &str) -> Option<BTreeMap<&str, BTreeSet<&str>>> {
        let mut labels: Option<BTreeMap<&str, BTreeSet<&str>>> = None;
        for sample in self.samples.iter().filter(|sample| sample.name == name) {
            let labels = labels.get_or_insert_default();
            for (label, value) in &sample.labels {
                labels.entry(label).or_default().insert(value);
            }
        }
        labels
    }
}

/// Reads `name{label="value",…} number`; no value of ours has a quote.
fn sample(line: &str) -> Sample {
    let (head, value) = line.rsplit_once(' ').unwrap();
    let (name, labels) = head.strip_suffix('}').and_then(|head| head.split_once('{')).unwrap_or((head, ""));
    let labels = labels.split(',').filter(|label| !label.is_empty()).map(|label| {
        let (name, value) = label.split_once('=').unwrap();
        (name.to_owned(), value.trim_matches('"').to_owned())
    });
    Sample { name: name.into(), labels: labels.collect(), value: value.parse().unwrap() }
}

/// One of Prometheus' programs: the machine's, or one that was unpacked below `target/tools`; with `VERDICT_FULL`,
/// unpacked now.
pub(crate) fn program(name: &str) -> Option<PathBuf> {
    let folder = root().join("target/tools/prometheus");
    let unpacked = folder.join("usr/bin").join(name);
    let runs =
        |path: &PathBuf| Command::new(path).arg("--version").output().is_ok_and(|out| out.status.success());
    if let Some(path) = [PathBuf::from("/usr/bin").join(name), unpacked.clone()].into_iter().find(runs) {
        return Some(path);
    }
    if std::env::var_os("VERDICT_FULL").is_none() {
        eprintln!("skipped: there is no {name}; `make test-full` unpacks the Debian package `prometheus`");
        return None;
    }
    std::fs::create_dir_all(&folder).unwrap();
    let unpack = "timeout 120 apt-get download prometheus && dpkg -x prometheus_*.deb .";
    let output = Command::new("sh").args(["-c", unpack]).current_dir(&folder).output().unwrap();
    if !runs(&unpacked) {
        eprintln!("skipped: {name} cannot be unpacked: {}", String::from_utf8_lossy(&output.stderr));
        return None;
    }
    Some(unpacked)
}

pub(crate) fn promtool() -> Option<PathBuf> {
    program("promtool")
}
