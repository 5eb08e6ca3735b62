//! One policy over HTTP: a bare server, Verdict without and with its log and its cache, many questions at a time, and the
//! peers; the same client, the same question. The client has a part of the same machine, so only comparisons within one
//! run mean something.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::Value;
use verdict_tests::server::{Server, Site};

use crate::figures::Figures;
use crate::opa::DecisionLog;
use crate::wrk::{Load, Wrk, median};
use crate::{INPUT, POLICY, bare, cerbos, opa, uneven};

/// The rounds take turns, so that a machine that changes its speed does it to all; the median of the rounds counts.
const ROUNDS: usize = 3;
pub(crate) const WARM_UP_SECONDS: u64 = 2;
pub(crate) const FEW: usize = 16;
const MANY: usize = 256;
const BATCH: usize = 100;
const SYNCS: usize = 50;
const SYNC_BYTES: usize = 4_096;
const LOGGED: &str = "http.decide.logged";
const BATCHES: &str = "http.batch100";

/// One thing to ask, and what came of it so far.
struct Target {
    name: &'static str,
    url: String,
    body: String,
    connections: usize,
    loads: Vec<Load>,
}

/// The servers, running and checked.
struct Servers {
    logged_site: Site,
    plain: Server,
    logged: Server,
    cached: Server,
    // After the servers, which have it open.
    site: Site,
    _cached_site: Site,
}

impl Servers {
    fn start() -> Self {
        let (site, logged_site, cached_site) =
            (Site::new(&[POLICY]), Site::new(&[POLICY]), Site::new(&[POLICY]));
        let plain = site.serve(&["--log", "off"]);
        let logged = logged_site.serve(&[]);
        let policy = format!("default/{POLICY}");
        let cached = cached_site.serve(&["--log", "off", "--cache-policy", &policy]);
        check(&logged, true, None);
        check(&cached, false, Some("miss"));
        check(&cached, false, Some("hit"));
        check_batch(&plain);
        Self { logged_site, plain, logged, cached, site, _cached_site: cached_site }
    }
}

/// Adds the figures of `http.*`.
pub(crate) fn measure(figures: &mut Figures, wrk: &Wrk, seconds: u64) {
    let servers = Servers::start();
    let file = servers.site.path("answer.json");
    std::fs::write(&file, check(&servers.plain, false, None)).expect("a file can be written");
    let (_bare, bare) = bare::start(&file, None);
    let (opa, opa_logged) = (opa::start(DecisionLog::Off), opa::start(DecisionLog::Console));
    let cerbos = cerbos::start(&servers.site.path("cerbos"));

    let bare = format!("{bare}/");
    let decide = |server: &Server| format!("{}{}", server.address, path());
    let mut targets = vec![
        target("http.bare", &bare, body(), FEW),
        target("http.decide", &decide(&servers.plain), body(), FEW),
        target("http.decide.cached", &decide(&servers.cached), body(), FEW),
        target(BATCHES, &format!("{}{}", servers.plain.address, batch_path()), batch_body(), FEW),
        target("http.bare.256", &bare, body(), MANY),
        target("http.decide.256", &decide(&servers.plain), body(), MANY),
        target(LOGGED, &decide(&servers.logged), body(), MANY),
        target("http.decide.logged.16", &decide(&servers.logged), body(), FEW),
    ];
    for (name, opa, connections) in [("http.opa", &opa, FEW), ("http.opa.logged", &opa_logged, MANY)] {
        match opa {
            Ok((_, address)) => {
                targets.push(target(name, &format!("{address}{}", opa::PATH), body(), connections));
            }
            Err(reason) => figures.skip(name, reason),
        }
    }
    match &cerbos {
        Ok((_, address)) => {
            let url = format!("{address}{}", cerbos::PATH);
            targets.push(target("http.cerbos", &url, cerbos::body(), FEW));
        }
        Err(reason) => figures.skip("http.cerbos", reason),
    }
    let mut syncs = Vec::new();
    for round in 0..ROUNDS {
        for target in &mut targets {
            eprintln!("bench: {} ({} of {ROUNDS})", target.name, round + 1);
            target.load(wrk, WARM_UP_SECONDS.min(seconds));
            let load = target.load(wrk, seconds);
            target.loads.push(load);
            if target.name == LOGGED {
                // At once: what a sync costs here changes from one minute to the next.
                sync_times(&servers.logged_site.path("sync"), &mut syncs);
            }
        }
    }
    for target in &targets {
        target.report(figures);
    }
    syncs.sort_unstable();
    figures.add("http.decide.logged.fdatasync.p50", syncs[syncs.len() / 2].as_secs_f64() * 1e6, "µs");
    uneven::measure(
        figures,
        wrk,
        &servers.plain.address,
        &format!("http://{}", decide(&servers.plain)),
        seconds,
    );
    note(figures);
}

fn target(name: &'static str, url: &str, body: String, connections: usize) -> Target {
    Target { name, url: format!("http://{url}"), body, connections, loads: Vec::new() }
}

pub(crate) fn path() -> String {
    format!("/v1/tenants/default/policies/{POLICY}/decide")
}

pub(crate) fn batch_path() -> String {
    format!("/v1/tenants/default/policies/{POLICY}/batch")
}

pub(crate) fn body() -> String {
    format!(r#"{{"input": {INPUT}}}"#)
}

/// The same question so many times.
pub(crate) fn batch_body() -> String {
    format!(r#"{{"items": [{}]}}"#, vec![body(); BATCH].join(", "))
}

/// What is timed must be what is claimed: the right answer, recorded or not, out of the cache or not. Returns it as it
/// is on the wire.
pub(crate) fn check(server: &Server, recorded: bool, cached: Option<&str>) -> Vec<u8> {
    check_at(&server.address, recorded, cached)
}

/// The same of whatever listens there.
pub(crate) fn check_at(address: &str, recorded: bool, cached: Option<&str>) -> Vec<u8> {
    let (value, bytes) = post(&format!("{address}{}", path()), &body());
    assert!(is_right(&value, recorded, cached), "not what was to be timed: {value}");
    bytes
}

fn is_right(decision: &Value, recorded: bool, cached: Option<&str>) -> bool {
    decision["allow"] == true
        && decision["recorded"] == recorded
        && decision.get("cached").and_then(Value::as_str) == cached
}

fn check_batch(server: &Server) {
    let (value, _) = post(&format!("{}{}", server.address, batch_path()), &batch_body());
    let items = value["items"].as_array().expect("a batch has items");
    let is_right = |item: &Value| item["status"] == 200 && is_right(&item["decision"], false, None);
    assert!(items.len() == BATCH && items.iter().all(is_right), "not what was to be timed: {value}");
}

fn post(url: &str, body: &str) -> (Value, Vec<u8>) {
    let url = format!("http://{url}");
    let mut answer = ureq::post(url).content_type("application/json").send(body).expect("the server answers");
    let bytes = answer.body_mut().read_to_vec().expect("it can be read");
    (serde_json::from_slice(&bytes).expect("an answer is JSON"), bytes)
}

impl Target {
    fn load(&self, wrk: &Wrk, seconds: u64) -> Load {
        wrk.load(&self.url, &self.body, self.connections, seconds)
    }

    fn report(&self, figures: &mut Figures) {
        let rps = median(&self.loads, |load| load.rps);
        if self.name == BATCHES {
            let decisions = BATCH as f64;
            figures.add(&format!("{BATCHES}.decisions_per_s"), rps * decisions, "1/s");
        } else {
            figures.add(&format!("{}.rps", self.name), rps, "1/s");
        }
        figures.add(&format!("{}.p50", self.name), median(&self.loads, |load| load.p50_us), "µs");
        figures.add(&format!("{}.p99", self.name), median(&self.loads, |load| load.p99_us), "µs");
    }
}

/// What one sync costs beside the log: an append of a page, made durable.
fn sync_times(path: &Path, times: &mut Vec<Duration>) {
    let mut file = File::create(path).expect("a file can be made");
    for _ in 0..SYNCS {
        file.write_all(&[7; SYNC_BYTES]).expect("it can be written");
        let started = Instant::now();
        file.sync_data().expect("it can be synced");
        times.push(started.elapsed());
    }
}

fn note(figures: &mut Figures) {
    figures.note(format!("wrk with {FEW} or {MANY} connections, {ROUNDS} rounds, answers of one policy"));
    for version in [opa::version(), cerbos::version()].into_iter().flatten() {
        figures.note(version);
    }
}
