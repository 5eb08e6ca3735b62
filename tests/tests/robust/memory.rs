//! Memory over a long time.

use serde_json::json;
use verdict_tests::server::Server;

use crate::bank::Bank;
use crate::client::Client;
use crate::{is_full, support};

/// What an allocator may keep for itself between two looks. Bytes.
const SLACK: u64 = 32 << 20;
/// What is kept of each decision while the log is on: its id, and its place in the journal. Bytes.
const PER_DECISION: u64 = 100;

/// What a server has in memory. Bytes.
fn resident(server: &Server) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", server.id())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().strip_suffix(" kB").unwrap().trim().parse::<u64>().unwrap() << 10
}

/// Asks so many times, a thousand at once.
fn ask(server: &Server, decisions: u64, status: u16) {
    let mut client = Client::new(&server.address);
    let batch =
        json!({ "items": vec![json!({"input": {"amount": 1000, "of": "anything"}}); 1_000] }).to_string();
    for _ in 0..decisions / 1_000 {
        let (told, answer) = client.send("/v1/tenants/bank/policies/loan/batch", &batch);
        assert_eq!(told, status, "{}", String::from_utf8_lossy(&answer[..answer.len().min(2_000)]));
    }
}

/// Fails when a server that decides so often has more in memory afterwards than that many bytes for each, and the slack.
fn stays(body: &str, more: &[&str], status: u16, decisions: u64, bytes_each: u64) {
    let bank = Bank::new();
    let release = bank.publish("1.0.0", &support::guest("", body));
    bank.activate(1, &release);
    let server = bank.serve(more);
    ask(&server, (decisions / 4).clamp(1_000, 20_000), status);
    let before = resident(&server);
    ask(&server, decisions, status);
    let after = resident(&server);
    println!("{more:?}: {before} bytes, after {decisions} decisions {after}");
    assert!(after <= before + SLACK + decisions * bytes_each, "{before} bytes became {after}");
    if more.contains(&"--cache-policy") {
        // The same question each time: all but the first are found.
        let metrics = String::from_utf8(server.bytes("/metrics")).unwrap();
        let hits = metrics.lines().find_map(|line| line.strip_prefix("verdict_cache_hits_total{")).unwrap();
        let hits: u64 = hits.rsplit_once(' ').unwrap().1.parse().unwrap();
        assert!(hits >= decisions, "{hits} hits of {decisions}");
    }
    let usage = server.get("/v1/tenants/bank/usage").1;
    assert!(usage["decisions"].as_u64().unwrap() >= decisions, "{usage}");
    assert!(server.stop());
}

const ANSWER: &str = "(call $true)";

#[test]
fn memory_stays_over_many_decisions() {
    let (many, some) = if is_full() { (1_000_000, 20_000) } else { (4_000, 1_000) };
    if !is_full() {
        eprintln!("only {many} decisions: VERDICT_FULL is not set");
    }
    stays(ANSWER, &["--log", "off"], 200, many, 0);
    stays(ANSWER, &["--log", "buffered"], 200, many, PER_DECISION);
    stays("(unreachable)", &["--log", "buffered"], 207, some, PER_DECISION);
    stays(ANSWER, &["--log", "buffered", "--cache-policy", "bank/loan"], 200, some, PER_DECISION);
}
