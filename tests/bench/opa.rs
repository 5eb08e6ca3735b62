//! The peer: Open Policy Agent as a server, with the same policy in its own language and the same data. Its log of
//! requests is off; its decision log, which is off by default, is so here unless it is asked for.

use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::process::{Ended, output};
use crate::{INPUT, library_file};

/// The rule of `peer.rego`.
pub(crate) const PATH: &str = "/v1/data/rbac/allow";

const PATIENCE: Duration = Duration::from_secs(30);

/// What becomes of its decisions.
#[derive(Debug, Clone, Copy)]
pub(crate) enum DecisionLog {
    Off,
    /// Written to the standard error, which goes nowhere: the least that it can do with them.
    Console,
}

/// The peer, running and checked to give the same answer; or why not.
pub(crate) fn start(log: DecisionLog) -> Result<(Ended, String), String> {
    let program =
        PathBuf::from(std::env::var_os("VERDICT_BENCH_OPA").ok_or("opa is not there; see `make bench`")?);
    // It cannot be asked which port it took.
    let port = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
    let address = port.map_err(|error| error.to_string())?.to_string();
    let mut command = Command::new(program);
    command
        .args(["run", "--server", "--addr", &address, "--log-level", "error", "--skip-version-check"])
        .args([library_file("peer.rego"), library_file("data.json")])
        .stdin(Stdio::null())
        .stdout(Stdio::null());
    if let DecisionLog::Console = log {
        command.args(["--set", "decision_logs.console=true"]).stderr(Stdio::null());
    }
    let child = command.spawn();
    let process = Ended(child.map_err(|error| format!("opa does not run: {error}"))?);
    let deadline = Instant::now() + PATIENCE;
    while Instant::now() < deadline {
        if let Ok(answer) = ask(&address) {
            let allowed = serde_json::from_str::<serde_json::Value>(&answer)
                .is_ok_and(|answer| answer["result"] == true);
            return if allowed {
                Ok((process, address))
            } else {
                Err(format!("opa answers otherwise: {answer}"))
            };
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    Err("opa did not answer within 30 seconds".into())
}

/// Its version, for the table.
pub(crate) fn version() -> Option<String> {
    let program = std::env::var_os("VERDICT_BENCH_OPA")?;
    let text = output(Command::new(program).arg("version"), PATIENCE);
    text.lines().next().map(|line| format!("OPA {}", line.trim_start_matches("Version: ")))
}

fn ask(address: &str) -> Result<String, ureq::Error> {
    let url = format!("http://{address}{PATH}");
    let body = format!(r#"{{"input": {INPUT}}}"#);
    ureq::post(url).content_type("application/json").send(body)?.body_mut().read_to_string()
}
