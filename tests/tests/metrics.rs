//! What a server tells Prometheus after some work, read by Prometheus itself; and the dashboard and the alert rules,
//! which may name nothing that it does not tell.

#[path = "../../runtime/engine/tests/support/mod.rs"]
mod support;

#[path = "metrics_support/mod.rs"]
mod metrics_support;

use std::collections::BTreeSet;
use std::io::Write;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use metrics_support::promql::{Selector, named};
use metrics_support::{Scrape, program, promtool, until, worked};
use serde_json::Value;
use verdict_tests::server::{root, text};

#[test]
fn the_last_range_of_every_histogram_is_open_and_has_all() {
    let (_site, server) = worked();
    let scrape = Scrape::of(&server);
    let histograms: Vec<_> = scrape.types.iter().filter(|(_, kind)| *kind == "histogram").collect();
    assert!(histograms.len() >= 3, "{:?}", scrape.types);
    let mut asked = 0.0;
    for (name, _) in histograms {
        let buckets = scrape.samples.iter().filter(|sample| sample.name == format!("{name}_bucket"));
        let mut rows = std::collections::BTreeMap::<_, Vec<(f64, f64)>>::new();
        for bucket in buckets {
            let mut labels = bucket.labels.clone();
            let end = labels.remove("le").unwrap();
            let end = if end == "+Inf" { f64::INFINITY } else { end.parse().unwrap() };
            rows.entry(labels).or_default().push((end, bucket.value));
        }
        assert!(!rows.is_empty(), "{name}");
        for (labels, buckets) in rows {
            let grows = |pair: &[(f64, f64)]| pair[0].0 < pair[1].0 && pair[0].1 <= pair[1].1;
            assert!(buckets.windows(2).all(grows), "{name} {labels:?}: {buckets:?}");
            let (end, all) = buckets.last().unwrap();
            assert!(end.is_infinite(), "{name} {labels:?}: {buckets:?}");
            let count = scrape.value(&format!("{name}_count"), &labels).unwrap();
            assert!((count - all).abs() < 0.5, "{name} {labels:?}: {count} {all}");
            asked += count;
        }
    }
    assert!(asked > 10.0, "nothing was measured");
}

#[test]
fn what_was_done_is_told() {
    let (_site, server) = worked();
    let scrape = Scrape::of(&server);
    let value = |name: &str, labels: &[(&str, &str)]| {
        let labels = labels.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
        scrape.value(name, &labels).unwrap_or_else(|| panic!("{name} {labels:?}: {}", scrape.text))
    };
    assert_eq!(value("verdict_decisions_total", &[("tenant", "bank"), ("outcome", "allow")]), 19.0);
    assert_eq!(value("verdict_decisions_total", &[("tenant", "bank"), ("outcome", "fault")]), 3.0);
    assert_eq!(value("verdict_faults_total", &[("tenant", "bank"), ("code", "out-of-fuel")]), 3.0);
    assert_eq!(value("verdict_budget", &[("tenant", "bank"), ("bound", "fuel")]), 100_000_000.0);
    assert!(value("verdict_refused_total", &[("tenant", "shop"), ("bound", "requests")]) >= 1.0);
    assert_eq!(value("verdict_log_appends_total", &[("outcome", "failed")]), 0.0);
    assert!(value("verdict_log_appends_total", &[("outcome", "recorded")]) >= 24.0);
    assert!(value("verdict_log_sync_seconds_count", &[]) >= 1.0);
    assert!(value("verdict_requests_total", &[("protocol", "native"), ("class", "4xx")]) >= 1.0);
    assert_eq!(value("verdict_request_seconds_count", &[("protocol", "opa")]), 1.0);
    assert_eq!(value("verdict_requests_under_way", &[]), 1.0, "the scrape itself");
    assert!(value("verdict_connections", &[]) >= 1.0);
    assert_eq!(value("verdict_connections_max", &[]), 4_096.0);
    assert_eq!(value("verdict_registry_reachable", &[]), 1.0);
    assert_eq!(value("verdict_quarantined", &[]), 0.0);
    assert_eq!(value("verdict_reloads_total", &[("what", "policies"), ("outcome", "succeeded")]), 1.0);
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs_f64();
    assert!(value("verdict_document_expires_timestamp_seconds", &[("document", "trust")]) > now);
    assert!(value("verdict_policy_expires_timestamp_seconds", &[("tenant", "shop")]) > now);
    assert!(value("verdict_reload_timestamp_seconds", &[("what", "policies")]) <= now);

    // A trust file that is none fails to be read, and what is loaded goes on.
    std::fs::write(_site.path("keys/trust.json"), "{").unwrap();
    server.signal("HUP");
    let labels = [("what", "policies"), ("outcome", "failed")];
    let labels = labels.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
    until("the reload is counted", || {
        let scrape = Scrape::of(&server);
        let policies = scrape.value("verdict_policies", &Default::default());
        scrape.value("verdict_reloads_total", &labels) == Some(1.0) && policies == Some(3.0)
    });
}

#[test]
fn prometheus_finds_nothing_wrong_with_the_metrics() {
    let Some(promtool) = promtool() else { return };
    let (_site, server) = worked();
    // It reads the older text: there a counter is named with its ending.
    let scrape = Scrape::of(&server);
    let told: String = scrape
        .text
        .lines()
        .filter(|line| *line != "# EOF")
        .map(|line| match line.strip_prefix("# ").and_then(|line| line.split_once(' ')) {
            Some((what, rest)) => {
                let name = rest.split(' ').next().unwrap();
                let is_counter = scrape.types.get(name).is_some_and(|kind| kind == "counter");
                let ending = if is_counter { "_total" } else { "" };
                format!("# {what} {name}{ending}{}\n", &rest[name.len()..])
            }
            None => format!("{line}\n"),
        })
        .collect();
    let mut child = Command::new(promtool)
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(told.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let found = [output.stdout, output.stderr].concat();
    assert!(output.status.success() && found.is_empty(), "{}\n{told}", String::from_utf8_lossy(&found));
}

/// Every expression of the alert rules.
fn rules() -> Vec<String> {
    let path = root().join("examples/prometheus/alerts.yml");
    let rules: Value = serde_saphyr::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let rules =
        rules["groups"].as_array().unwrap().iter().flat_map(|group| group["rules"].as_array().unwrap());
    rules.map(|rule| rule["expr"].as_str().unwrap().to_owned()).collect()
}

fn dashboard() -> Value {
    let text = std::fs::read_to_string(root().join("examples/grafana/verdict.json")).unwrap();
    serde_json::from_str(&text).unwrap()
}

/// Every expression of the dashboard, with the labels that its legend names.
fn panels(dashboard: &Value) -> Vec<(String, Vec<String>)> {
    let targets =
        dashboard["panels"].as_array().unwrap().iter().filter_map(|panel| panel["targets"].as_array());
    let of_target = |target: &Value| {
        let expression = target["expr"].as_str().unwrap().replace("$__rate_interval", "5m");
        let legend = target["legendFormat"].as_str().unwrap();
        let labels = legend.split("{{").skip(1).map(|rest| rest.split("}}").next().unwrap().to_owned());
        (expression, labels.collect())
    };
    targets.flatten().map(of_target).collect()
}

/// What Prometheus itself gives every series.
const OF_PROMETHEUS: [&str; 2] = ["job", "instance"];

/// Says what an expression names that the server does not tell.
fn untold(scrape: &Scrape, expression: &str, more: &[String]) -> Vec<String> {
    let (named, mut untold, mut known) = (named(expression), Vec::new(), BTreeSet::from(OF_PROMETHEUS));
    for Selector { metric, matchers } in &named.selectors {
        let labels = if metric == "up" { Some(Default::default()) } else { scrape.labels(metric) };
        let Some(labels) = labels else {
            untold.push(format!("{metric} in {expression}"));
            continue;
        };
        known.extend(labels.keys());
        for (label, value) in matchers.iter().filter(|(label, _)| !OF_PROMETHEUS.contains(&label.as_str())) {
            let is_told = labels
                .get(label.as_str())
                .is_some_and(|told| value.starts_with('$') || told.contains(value.as_str()));
            if !is_told {
                untold.push(format!("{metric}{{{label}=\"{value}\"}} in {expression}"));
            }
        }
    }
    let groups = named.groups.iter().chain(more).filter(|label| !known.contains(label.as_str()));
    untold.extend(groups.map(|label| format!("label {label} in {expression}")));
    untold
}

#[test]
fn the_dashboard_and_the_alerts_name_only_what_a_server_tells() {
    let (_site, server) = worked();
    let scrape = Scrape::of(&server);
    let (rules, dashboard) = (rules(), dashboard());
    let mut expressions = panels(&dashboard);
    assert!(rules.len() > 10 && expressions.len() > 20);
    for variable in dashboard["templating"]["list"].as_array().unwrap() {
        if let Some(query) = variable["query"]["query"].as_str() {
            let inside =
                query.strip_prefix("label_values(").and_then(|query| query.strip_suffix(')')).unwrap();
            let (expression, label) = inside.rsplit_once(", ").unwrap();
            expressions.push((expression.to_owned(), vec![label.to_owned()]));
        }
    }
    expressions.extend(rules.into_iter().map(|rule| (rule, Vec::new())));
    let untold: Vec<_> = expressions.iter().flat_map(|(of, labels)| untold(&scrape, of, labels)).collect();
    assert!(untold.is_empty(), "{untold:#?}\n{}", scrape.text);
    // And it would be noticed.
    for wrong in [
        "verdict_decision_total",
        "verdict_policies{tenant=\"bank\"}",
        "verdict_log_appends_total{outcome=\"lost\"}",
    ] {
        assert_eq!(self::untold(&scrape, wrong, &[]).len(), 1, "{wrong}");
    }
    assert_eq!(self::untold(&scrape, "sum by (tenant) (verdict_policies)", &[]).len(), 1);
}

#[test]
fn prometheus_reads_the_alerts_and_they_do_what_their_tests_say() {
    let Some(promtool) = promtool() else { return };
    let folder = root().join("examples/prometheus");
    for arguments in [["check", "rules", "alerts.yml"], ["test", "rules", "alerts_test.yml"]] {
        let output = Command::new(&promtool).args(arguments).current_dir(&folder).output().unwrap();
        let told = [output.stdout, output.stderr].concat();
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&told));
    }
}

/// A running Prometheus. Ended when dropped.
struct Prometheus {
    child: Child,
    port: u16,
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Prometheus {
    fn start(program: &Path, folder: &Path, target: &str) -> Self {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let rules = root().join("examples/prometheus/alerts.yml");
        let config = format!(
            "global: {{ scrape_interval: 1s, evaluation_interval: 1s }}\nrule_files: [\"{}\"]\n\
             scrape_configs: [{{ job_name: verdict, static_configs: [{{ targets: [\"{target}\"] }}] }}]\n",
            text(&rules)
        );
        std::fs::create_dir_all(folder).unwrap();
        std::fs::write(folder.join("prometheus.yml"), config).unwrap();
        let child = Command::new(program)
            .arg(format!("--config.file={}", text(&folder.join("prometheus.yml"))))
            .arg(format!("--storage.tsdb.path={}", text(&folder.join("data"))))
            .arg(format!("--web.listen-address=127.0.0.1:{port}"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(std::fs::File::create(folder.join("log")).unwrap())
            .spawn()
            .unwrap();
        Self { child, port }
    }

    fn get(&self, path: &str) -> Value {
        let url = format!("http://127.0.0.1:{}/api/v1/{path}", self.port);
        let answer =
            ureq::get(url).call().ok().and_then(|mut answer| answer.body_mut().read_to_string().ok());
        answer.and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default()
    }
}

#[test]
fn a_real_prometheus_scrapes_a_server_and_evaluates_every_alert() {
    if std::env::var_os("VERDICT_FULL").is_none() {
        eprintln!("skipped: Prometheus runs for some seconds; `make test-full` does it");
        return;
    }
    let Some(program) = program("prometheus") else { return };
    let (site, server) = worked();
    let prometheus = Prometheus::start(&program, &site.path("prometheus"), &server.address);
    let rules = |prometheus: &Prometheus| {
        let groups = prometheus.get("rules")["data"]["groups"].clone();
        let groups = groups.as_array().cloned().unwrap_or_default();
        groups
            .iter()
            .flat_map(|group| group["rules"].as_array().cloned().unwrap_or_default())
            .collect::<Vec<_>>()
    };
    until("every rule is evaluated", || {
        let rules = rules(&prometheus);
        !rules.is_empty() && rules.iter().all(|rule| rule["health"] != "unknown")
    });
    until("the server is scraped", || {
        prometheus.get("targets?state=active")["data"]["activeTargets"][0]["health"] == "up"
    });
    let query = "query?query=verdict_decisions_total%7Btenant%3D%22bank%22,outcome%3D%22allow%22%7D";
    until("it has what was told", || prometheus.get(query)["data"]["result"][0]["value"][1] == "19");
    let rules = rules(&prometheus);
    assert_eq!(rules.len(), self::rules().len());
    for rule in rules {
        assert_eq!(rule["health"], "ok", "{rule}");
        // A scrape that was not there yet is none that failed.
        assert_ne!(rule["state"], "firing", "{rule}");
    }
}

#[test]
fn health_in_detail_says_what_is_wrong_since_when_and_what_to_do() {
    let (site, server) = worked();
    let details = || {
        let (status, details) = server.get("/health/details");
        assert_eq!(status, 200, "{details}");
        details
    };
    let healthy = details();
    assert_eq!(healthy["status"], "ready", "{healthy}");
    assert_eq!((&healthy["wrong"], &healthy["quarantined"]), (&Value::Array(vec![]), &Value::Array(vec![])));
    assert_eq!(healthy["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(healthy["policies"].as_array().unwrap().len(), 3);
    assert_eq!(healthy["policies"][0]["policy"], "bank/answer");
    assert!(healthy["policies"][0]["until"].is_string() && healthy["policies"][0]["component"].is_string());
    assert_eq!(healthy["budgets"]["tenants"]["shop"], serde_json::json!({"requests_per_s": 1}));
    assert_eq!((&healthy["log"]["mode"], &healthy["log"]["healthy"]), (&"durable".into(), &true.into()));
    assert_eq!(healthy["documents"][0]["document"], "trust");

    // A policy that nobody has signed.
    let layout = site.path("policies/bank/unsigned");
    verdict_tests::server::copy(&site.path("policies/bank/answer"), &layout);
    for entry in std::fs::read_dir(layout.join("oci/blobs/sha256")).unwrap() {
        std::fs::write(entry.unwrap().path(), "spoilt").unwrap();
    }
    server.signal("HUP");
    until("it is refused", || details()["quarantined"].as_array().is_some_and(|refused| refused.len() == 1));
    let degraded = details();
    assert_eq!(degraded["status"], "degraded", "{degraded}");
    assert_eq!(degraded["wrong"][0]["code"], "quarantined");
    let refused = &degraded["quarantined"][0];
    for member in ["artifact", "code", "message", "remedy"] {
        assert!(refused[member].as_str().is_some_and(|text| !text.is_empty()), "{member}: {refused}");
    }
    std::fs::remove_dir_all(layout).unwrap();

    // A trust file that ends within the day, then one that cannot be read.
    let path = site.path("keys/trust.json");
    let mut trust: Value = serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
    let soon =
        std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_millis() + 86_000_000;
    let soon = verdict_core::time::Timestamp::from_millis(i64::try_from(soon).unwrap()).unwrap();
    trust["expires"] = soon.to_string().into();
    trust["version"] = (trust["version"].as_u64().unwrap() + 1).into();
    std::fs::write(&path, trust.to_string()).unwrap();
    server.signal("HUP");
    let wrong = |code: &str| {
        let wrong = details()["wrong"].as_array().unwrap().clone();
        wrong.into_iter().find(|wrong| wrong["code"] == code)
    };
    until("the end is near", || wrong("expires-soon").is_some());
    let expires = wrong("expires-soon").unwrap();
    assert!(
        expires["since"].is_string() && expires["remedy"].as_str().unwrap().contains("sign"),
        "{expires}"
    );
    std::fs::write(&path, "{").unwrap();
    server.signal("HUP");
    until("it cannot be read", || wrong("reading-failed").is_some());
    let since = wrong("reading-failed").unwrap()["since"].clone();
    server.signal("HUP");
    until("it is read again", || {
        Scrape::of(&server).text.contains("verdict_reloads_total{what=\"policies\",outcome=\"failed\"} 2")
    });
    assert_eq!(wrong("reading-failed").unwrap()["since"], since, "it has failed since the first time");
    assert_eq!(server.get("/health/ready").0, 200, "what is loaded goes on");
}
