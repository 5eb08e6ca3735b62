//! Budgets of tenants, on a real server: what is asked for beyond them is refused, with the time to ask again, and is in
//! nobody else's way.

#[path = "../../runtime/engine/tests/support/mod.rs"]
mod support;

use std::collections::BTreeMap;
use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use verdict::core::name::PolicyName;
use verdict::registry::Layout;
use verdict_tests::server::{Server, Site, text};

/// A guest that never ends by itself.
const SPIN: &str = "(loop $l (br $l)) (unreachable)";
const ANSWER: &str = "(call $true)";

/// Adds a policy with a `decide` of this body.
fn add(site: &Site, policy: &str, body: &str, limits: Value) {
    let component = support::guest("", body);
    let manifest = support::manifest(&component, json!({ "policy": policy, "limits": limits }));
    let folder = site.path(&format!("policies/{policy}"));
    std::fs::create_dir_all(&folder).unwrap();
    let name: PolicyName = policy.parse().unwrap();
    Layout::create(&folder.join("oci"), &component, &name, &manifest.version).unwrap();
    std::fs::write(folder.join("manifest.json"), serde_json::to_string(&manifest).unwrap()).unwrap();
    site.sign(policy);
}

/// A server with three policies of tenant `noisy`, one of tenant `quiet`, and these budgets.
fn serve(budgets: &str) -> (Site, Server) {
    let site = Site::new(&[]);
    let trust = std::fs::read_to_string(site.path("keys/trust.json")).unwrap();
    let mut trust: Value = serde_json::from_str(&trust).unwrap();
    trust["authors"][0]["policies"] = json!(["noisy/*", "quiet/*"]);
    std::fs::write(site.path("keys/trust.json"), trust.to_string()).unwrap();
    add(&site, "noisy/answer", ANSWER, json!({ "fuel": 1_000_000, "memory_bytes": 1 << 20 }));
    add(&site, "noisy/spin", SPIN, json!({ "fuel": 1_000_000 }));
    add(&site, "noisy/slow", SPIN, json!({ "fuel": 100_000_000, "memory_bytes": 1 << 20 }));
    add(&site, "quiet/answer", ANSWER, json!({ "fuel": 1_000_000 }));
    std::fs::write(site.path("budgets.toml"), budgets).unwrap();
    let server = site.serve(&["--budgets", text(&site.path("budgets.toml"))]);
    for policy in ["noisy/answer", "noisy/slow", "noisy/spin", "quiet/answer"] {
        let loaded = server.get("/v1/policies").1;
        let names = loaded["policies"].as_array().unwrap().iter().map(|loaded| &loaded["policy"]);
        assert!(names.into_iter().any(|name| name == policy), "{policy}: {loaded}");
    }
    (site, server)
}

struct Answer {
    status: u16,
    headers: BTreeMap<String, String>,
    body: Value,
}

fn ask(server: &Server, policy: &str) -> Answer {
    let (tenant, name) = policy.split_once('/').unwrap();
    ask_at(server, &format!("/v1/tenants/{tenant}/policies/{name}/decide"))
}

fn ask_at(server: &Server, path: &str) -> Answer {
    let url = format!("http://{}{path}", server.address);
    let agent: ureq::Agent = ureq::Agent::config_builder()
        .http_status_as_error(false)
        .timeout_global(Some(Duration::from_secs(30)))
        .build()
        .into();
    let mut answer = agent.post(url).send(r#"{"input": {}}"#).unwrap();
    let header = |(name, value): (&ureq::http::HeaderName, &ureq::http::HeaderValue)| {
        (name.to_string(), value.to_str().unwrap().to_owned())
    };
    Answer {
        status: answer.status().as_u16(),
        headers: answer.headers().iter().map(header).collect(),
        body: serde_json::from_str(&answer.body_mut().read_to_string().unwrap()).unwrap(),
    }
}

/// Asks until it is refused.
fn until_refused(server: &Server, policy: &str) -> Answer {
    let deadline = Instant::now() + Duration::from_secs(20);
    while Instant::now() < deadline {
        let answer = ask(server, policy);
        if answer.status == 429 {
            return answer;
        }
    }
    panic!("`{policy}` is never refused");
}

fn usage(server: &Server, tenant: &str) -> Value {
    let (status, usage) = server.get(&format!("/v1/tenants/{tenant}/usage"));
    assert_eq!(status, 200, "{usage}");
    usage
}

#[test]
fn questions_beyond_the_rate_are_refused_with_the_time_to_ask_again() {
    let (_site, server) = serve("[tenants.noisy]\nrequests_per_s = 3\n");
    let refused = until_refused(&server, "noisy/answer");
    assert_eq!(refused.body["error"]["code"], "over-budget", "{}", refused.body);
    assert!(refused.body["detail"].as_str().unwrap().contains("3 questions a second"), "{}", refused.body);
    assert_eq!(refused.headers["retry-after"], "1");
    assert_eq!(refused.headers["ratelimit"], r#""requests";r=0;t=1"#);
    assert_eq!(refused.headers["ratelimit-policy"], r#""requests";q=3;w=1"#);
    for _ in 0..20 {
        assert_eq!(ask(&server, "quiet/answer").status, 200, "another's budget");
    }
    until_refused(&server, "noisy/answer");
    let as_opa = ask_at(&server, "/v1/tenants/noisy/opa/v1/data/answer/decide");
    assert_eq!((as_opa.status, &as_opa.body["code"]), (429, &json!("too_many_requests")), "{}", as_opa.body);
    assert_eq!(as_opa.headers["retry-after"], "1");
    assert_eq!(as_opa.headers["ratelimit"], refused.headers["ratelimit"]);
    thread::sleep(Duration::from_secs(1));
    assert_eq!(ask(&server, "noisy/answer").status, 200);
    let usage = usage(&server, "noisy");
    assert!(usage["refused"]["requests"].as_u64().unwrap() >= 1, "{usage}");
    assert!(usage["decisions"].as_u64().unwrap() >= 4 && usage["allowed"] == usage["decisions"], "{usage}");
    assert!(usage["left"]["requests"].is_u64() && usage["left"]["fuel"].is_null(), "{usage}");

    let (status, metrics) = server.get("/metrics");
    let metrics = metrics.as_str().unwrap();
    assert_eq!(status, 200, "{metrics}");
    for line in [
        &format!(r#"verdict_decisions_total{{tenant="noisy",outcome="allow"}} {}"#, usage["decisions"]),
        &format!(
            r#"verdict_refused_total{{tenant="noisy",bound="requests"}} {}"#,
            usage["refused"]["requests"]
        ),
        &format!(r#"verdict_fuel_total{{tenant="noisy"}} {}"#, usage["fuel"]),
        &format!(r#"verdict_evaluation_seconds_count{{tenant="noisy"}} {}"#, usage["decisions"]),
        r#"verdict_decisions_total{tenant="quiet",outcome="allow"} 20"#,
        "verdict_policies 4",
        "verdict_log_healthy 1",
        "# EOF",
    ] {
        assert!(metrics.lines().any(|told| told == line), "{line}: {metrics}");
    }
}

#[test]
fn fuel_beyond_the_rate_is_paid_back_before_anything_is_answered() {
    // A fault has used its limit, a million: the third is one too many, and a second pays for one and a half.
    let (_site, server) =
        serve("[default]\nfuel_per_s = 1500000\n[tenants.quiet]\nfuel_per_s = 1000000000\n");
    let refused = until_refused(&server, "noisy/spin");
    assert!(refused.headers["ratelimit-policy"].starts_with(r#""fuel";q=1500000"#));
    assert_eq!(ask(&server, "noisy/answer").status, 429, "the budget is the tenant's, not the policy's");
    assert_eq!(ask(&server, "quiet/answer").status, 200);
    let usage = usage(&server, "noisy");
    let faults = usage["faults"]["out-of-fuel"].as_u64().unwrap();
    assert!(faults >= 2, "{usage}");
    assert_eq!(usage["fuel"].as_u64().unwrap(), faults * 1_000_000, "{usage}");
    let wait = refused.headers["retry-after"].parse().unwrap();
    thread::sleep(Duration::from_secs(wait));
    assert_eq!(ask(&server, "noisy/answer").status, 200);
}

/// Asks so many times at once.
fn at_once(server: &Server, policy: &str, times: usize) -> Vec<Answer> {
    let barrier = Barrier::new(times);
    thread::scope(|scope| {
        let asks: Vec<_> = (0..times)
            .map(|_| {
                scope.spawn(|| {
                    barrier.wait();
                    ask(server, policy)
                })
            })
            .collect();
        asks.into_iter().map(|ask| ask.join().unwrap()).collect()
    })
}

#[test]
fn a_tenant_that_asks_too_much_at_once_waits_in_a_queue_of_its_own() {
    let (_site, server) = serve("[tenants.noisy]\nconcurrency = 1\nqueue = 1\n");
    let answers = at_once(&server, "noisy/slow", 12);
    let refused: Vec<_> = answers.iter().filter(|answer| answer.status == 429).collect();
    assert!(!refused.is_empty() && refused.len() < answers.len(), "{} refused", refused.len());
    assert!(refused.iter().all(|answer| answer.headers["ratelimit"].starts_with(r#""queue";r=0"#)));
    let faults = answers.iter().filter(|answer| answer.body["fault"]["code"] == "out-of-fuel").count();
    assert_eq!(faults + refused.len(), answers.len(), "each is evaluated or refused");
    assert_eq!(ask(&server, "noisy/answer").status, 200, "nothing is held by what is over");
    let usage = usage(&server, "noisy");
    assert_eq!((&usage["running"], &usage["waiting"]), (&json!(0), &json!(0)));
}

#[test]
fn a_tenant_has_only_so_much_memory_under_evaluation() {
    let (_site, server) = serve(&format!("[tenants.noisy]\nmemory_bytes = {}\n", 1 << 20));
    let answers = at_once(&server, "noisy/slow", 8);
    let refused = |answer: &&Answer| answer.status == 429;
    assert!(answers.iter().any(|answer| answer.status != 429));
    let first = answers.iter().find(refused).expect("eight have more memory than one");
    assert!(first.headers["ratelimit-policy"].starts_with(r#""memory";q=1048576"#));
    // What is larger than the budget by itself never fits.
    assert_eq!(ask(&server, "noisy/spin").status, 429);
    assert_eq!(ask(&server, "noisy/answer").status, 200);
}

#[test]
fn a_budget_that_cannot_be_meant_keeps_the_server_from_starting() {
    let site = Site::new(&[]);
    for (budgets, says) in [
        ("[tenants.noisy]\nfuel_per_s = 0\n", "fuel_per_s"),
        ("[tenants.noisy]\nfule_per_s = 1\n", "fule_per_s"),
        ("[tenants.Noisy]\nfuel_per_s = 1\n", "Noisy"),
        ("[tenants.noisy]\nfuel_per_s = -1\n", "fuel_per_s"),
    ] {
        std::fs::write(site.path("budgets.toml"), budgets).unwrap();
        let arguments = site.arguments("127.0.0.1:0", &["--budgets", text(&site.path("budgets.toml"))]);
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let output = verdict_tests::server::verdict(&arguments);
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && error.contains(says), "{budgets}: {error}");
    }
}
