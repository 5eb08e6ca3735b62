//! Two hosts behind the real nginx, with `examples/nginx-balanced.conf`: one is killed under load, and whoever asks
//! notices nothing. A decision is idempotent for who asks, so nginx may ask it of the other host.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;
use verdict_tests::nginx::{Nginx, program};
use verdict_tests::server::{Server, Site};

const POLICY: &str = "role-based-access";
const CLIENTS: usize = 8;
/// How many each of them asks.
const QUESTIONS: usize = 150;
/// One host is killed when so many are answered.
const BEFORE: usize = 300;
const PATIENCE: Duration = Duration::from_secs(60);

/// How many decisions a host has made.
fn decisions(server: &Server) -> u64 {
    let (status, usage) = server.get("/v1/tenants/default/usage");
    assert_eq!(status, 200, "{usage}");
    usage["decisions"].as_u64().unwrap()
}

#[test]
fn nobody_notices_that_a_host_was_killed() {
    let Some(program) = program() else { return };
    let (site, other) = (Site::new(&[POLICY]), Site::new(&[POLICY]));
    let (dying, staying) = (site.serve(&[]), other.serve(&[]));
    let hosts = [("127.0.0.1:8181", &*dying.address), ("127.0.0.1:8182", &*staying.address)];
    let nginx = Nginx::start(&program, &site, "nginx-balanced.conf", &hosts);
    let url = format!("http://127.0.0.1:{}/v1/tenants/default/policies/{POLICY}/decide", nginx.port);
    let answered = AtomicUsize::new(0);
    let ask = || {
        let config = ureq::Agent::config_builder().http_status_as_error(false).timeout_global(Some(PATIENCE));
        let agent: ureq::Agent = config.build().into();
        for turn in 0..QUESTIONS {
            // Not everybody may: an answer that is not the policy's own would show.
            let user = if turn % 2 == 0 { "bob" } else { "eve" };
            let body = format!(r#"{{"input": {{"user": "{user}", "action": "update", "type": "cat"}}}}"#);
            let mut answer = agent.post(&url).content_type("application/json").send(body).unwrap();
            let status = answer.status();
            let text = answer.body_mut().read_to_string().unwrap();
            assert_eq!(status, 200, "{text}{}", nginx.log());
            let answer: Value = serde_json::from_str(&text).unwrap();
            assert_eq!(answer["allow"], user == "bob", "{answer}");
            answered.fetch_add(1, Ordering::Relaxed);
        }
    };
    thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS).map(|_| scope.spawn(ask)).collect();
        let began = Instant::now();
        while answered.load(Ordering::Relaxed) < BEFORE && began.elapsed() < PATIENCE {
            thread::sleep(Duration::from_millis(1));
        }
        let both = [&dying, &staying].map(decisions);
        assert!(both.iter().all(|count| *count > 0), "both hosts answer: {both:?}");
        dying.kill();
        let left = CLIENTS * QUESTIONS - answered.load(Ordering::Relaxed);
        assert!(left > CLIENTS, "all had been answered before it was killed");
        clients.into_iter().for_each(|client| client.join().unwrap());
        assert!(decisions(&staying) > both[1], "the other goes on");
    });
    assert_eq!(answered.into_inner(), CLIENTS * QUESTIONS);
    // What was lost on the way was asked again: nginx says so.
    assert!(nginx.log().contains("upstream"), "{}", nginx.log());
}
