//! Two hosts behind nginx, with `examples/nginx-balanced.conf`, and one of them killed while all connections are busy:
//! what it had not answered nginx asks the other. A decision is idempotent for who asks, so that is sound, and no request
//! fails.

use std::time::Duration;

use verdict_tests::nginx::{Nginx, program};
use verdict_tests::server::{Server, Site};

use crate::POLICY;
use crate::figures::Figures;
use crate::http::{WARM_UP_SECONDS, body, check_at, path};
use crate::wrk::{Load, Wrk};

/// How often a host is killed.
const ROUNDS: usize = 3;
const CONNECTIONS: usize = 64;
/// Long enough for nginx to find the host gone, and to look for it again.
const SECONDS_MIN: u64 = 4;

/// Adds the figures of `cluster.kill`.
pub(crate) fn measure(figures: &mut Figures, wrk: &Wrk, seconds: u64) {
    let Some(program) = program() else {
        return figures.skip("cluster.kill", "nginx is not there; see `make bench`");
    };
    let loads: Vec<Load> = (0..ROUNDS)
        .map(|round| {
            eprintln!("bench: cluster.kill ({} of {ROUNDS})", round + 1);
            killed(&program, wrk, seconds.max(SECONDS_MIN))
        })
        .collect();
    let worst = |of: fn(&Load) -> f64| loads.iter().map(of).fold(0.0, f64::max);
    figures.add("cluster.kill.failed", loads.iter().map(|load| load.errors).sum(), "requests");
    figures.add("cluster.kill.requests", loads.iter().map(|load| load.requests).sum(), "requests");
    figures.add("cluster.kill.p99", worst(|load| load.p99_us), "µs");
    figures.add("cluster.kill.longest.ms", worst(|load| load.max_us) / 1e3, "ms");
}

/// One load during which a host is killed.
fn killed(program: &std::path::Path, wrk: &Wrk, seconds: u64) -> Load {
    let (site, other) = (Site::new(&[POLICY]), Site::new(&[POLICY]));
    let (dying, staying) = (site.serve(&[]), other.serve(&[]));
    let hosts = [("127.0.0.1:8181", &*dying.address), ("127.0.0.1:8182", &*staying.address)];
    let nginx = Nginx::start(program, &site, "nginx-balanced.conf", &hosts);
    let address = format!("127.0.0.1:{}", nginx.port);
    check_at(&address, true, None);
    let url = format!("http://{address}{}", path());
    wrk.load(&url, &body(), CONNECTIONS, WARM_UP_SECONDS);
    let before = [&dying, &staying].map(decisions);
    assert!(before.iter().all(|count| *count > 0), "both hosts answer: {before:?}");
    let load = std::thread::scope(|scope| {
        let load = scope.spawn(|| wrk.try_load(&url, &body(), CONNECTIONS, seconds));
        std::thread::sleep(Duration::from_secs(seconds) / 3);
        assert!(decisions(&dying) > before[0], "it is killed under load");
        dying.kill();
        load.join().expect("the load ends")
    });
    assert!(decisions(&staying) > before[1], "the other goes on");
    load
}

/// How many a host has answered, by its metrics.
fn decisions(server: &Server) -> u64 {
    let metrics = server.bytes("/metrics");
    let metrics = String::from_utf8_lossy(&metrics);
    let line = metrics
        .lines()
        .find_map(|line| line.strip_prefix(r#"verdict_decisions_total{tenant="default",outcome="allow"} "#));
    line.and_then(|count| count.parse().ok()).unwrap_or_default()
}
