//! One policy over HTTP: a bare server, Verdict without and with its log, and the peer; the same client, the same body.
//! The client has a part of the same machine, so only comparisons within one run mean something.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::Value;
use verdict_tests::server::{Server, Site, root};

use crate::figures::Figures;
use crate::{INPUT, POLICY, bare, opa, process};

/// The rounds take turns, so that a machine that changes its speed does it to all; the median of the rounds counts.
const ROUNDS: usize = 3;
const WARM_UP_SECONDS: u64 = 2;
const FEW: usize = 16;
const MANY: usize = 256;
const SYNCS: usize = 50;
const SYNC_BYTES: usize = 4_096;
const LOGGED: &str = "http.decide.logged";

/// One thing to ask, and what came of it so far.
struct Target {
    name: &'static str,
    url: String,
    connections: usize,
    loads: Vec<Load>,
}

/// What one load of requests showed.
struct Load {
    rps: f64,
    p50_us: f64,
    p99_us: f64,
}

/// Adds the figures of `http.*`.
pub(crate) fn measure(figures: &mut Figures, seconds: u64) {
    let Some(wrk) = std::env::var_os("VERDICT_BENCH_WRK").map(PathBuf::from) else {
        return figures.skip("http", "wrk is not there; see `make bench`");
    };
    let (site, logged_site) = (Site::new(&[POLICY]), Site::new(&[POLICY]));
    let (server, logged) = (site.serve(&["--log", "off"]), logged_site.serve(&[]));
    let answer = check(&server, false);
    check(&logged, true);
    let file = site.path("answer.json");
    std::fs::write(&file, answer).expect("a file can be written");
    let (_bare, bare) = bare::start(&file);
    let peer = opa::start();

    let decide = |server: &Server| format!("{}{}", server.address, path());
    let mut targets = vec![
        target("http.bare", format!("{bare}/"), FEW),
        target("http.decide", decide(&server), FEW),
        target("http.bare.256", format!("{bare}/"), MANY),
        target("http.decide.256", decide(&server), MANY),
        target(LOGGED, decide(&logged), MANY),
    ];
    match &peer {
        Ok((_, address)) => targets.push(target("http.opa", format!("{address}{}", opa::PATH), FEW)),
        Err(reason) => figures.skip("http.opa", reason),
    }
    let mut syncs = Vec::new();
    for round in 0..ROUNDS {
        for target in &mut targets {
            eprintln!("bench: {} ({} of {ROUNDS})", target.name, round + 1);
            target.load(&wrk, WARM_UP_SECONDS.min(seconds));
            let load = target.load(&wrk, seconds);
            target.loads.push(load);
            if target.name == LOGGED {
                // At once: what a sync costs here changes from one minute to the next.
                sync_times(&logged_site.path("sync"), &mut syncs);
            }
        }
    }
    for target in &targets {
        target.report(figures);
    }
    syncs.sort_unstable();
    figures.add("http.decide.logged.fdatasync.p50", syncs[syncs.len() / 2].as_secs_f64() * 1e6, "µs");
    note(figures);
}

fn target(name: &'static str, url: String, connections: usize) -> Target {
    Target { name, url: format!("http://{url}"), connections, loads: Vec::new() }
}

fn path() -> String {
    format!("/v1/tenants/default/policies/{POLICY}/decide")
}

fn body() -> String {
    format!(r#"{{"input": {INPUT}}}"#)
}

/// What is timed must be what is claimed: the right answer, recorded or not. Returns it as it is on the wire.
fn check(server: &Server, recorded: bool) -> Vec<u8> {
    let url = format!("http://{}{}", server.address, path());
    let mut answer =
        ureq::post(url).content_type("application/json").send(body()).expect("the server answers");
    let bytes = answer.body_mut().read_to_vec().expect("it can be read");
    let value: Value = serde_json::from_slice(&bytes).expect("an answer is JSON");
    assert!(value["allow"] == true && value["recorded"] == recorded, "not what was to be timed: {value}");
    bytes
}

impl Target {
    /// Keeps all connections busy for a time.
    fn load(&self, wrk: &Path, seconds: u64) -> Load {
        let mut command = Command::new(wrk);
        command
            .args(["--threads", "1", "--timeout", "10s", "--duration", &format!("{seconds}s")])
            .args(["--connections", &self.connections.to_string()])
            .arg("--script")
            .arg(root().join("tests/bench/post.lua"))
            .arg(&self.url)
            .env("BENCH_BODY", body());
        let output = process::output(&mut command, Duration::from_secs(seconds + 20));
        let line = output.lines().find(|line| line.starts_with('{')).expect("the script prints its line");
        let summary: Value = serde_json::from_str(line).expect("the line is JSON");
        let number = |member: &str| summary[member].as_f64().expect("the line has numbers");
        assert_eq!(number("errors"), 0.0, "`{}` was answered with errors: {output}", self.name);
        let rps = number("requests") / number("duration_us") * 1e6;
        Load { rps, p50_us: number("p50_us"), p99_us: number("p99_us") }
    }

    fn report(&self, figures: &mut Figures) {
        let median = |of: fn(&Load) -> f64| {
            let mut values: Vec<f64> = self.loads.iter().map(of).collect();
            values.sort_by(f64::total_cmp);
            values[values.len() / 2]
        };
        figures.add(&format!("{}.rps", self.name), median(|load| load.rps), "1/s");
        figures.add(&format!("{}.p50", self.name), median(|load| load.p50_us), "µs");
        figures.add(&format!("{}.p99", self.name), median(|load| load.p99_us), "µs");
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
    if let Some(version) = opa::version() {
        figures.note(version);
    }
}
