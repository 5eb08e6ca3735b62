//! A real Open Policy Agent, with the policy of the library in Rego and the same data.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::server::root;

/// No step waits longer.
const PATIENCE: Duration = Duration::from_secs(30);
/// The package of Rego that the policy `role-based-access` stands for.
const PACKAGE: &str = "package role_based_access";

/// A running server of OPA. Ended when dropped.
#[derive(Debug)]
pub struct Opa {
    child: Child,
    /// Where it listens, as `IP:PORT`.
    pub address: String,
    _folder: tempfile::TempDir,
}

impl Opa {
    /// Starts OPA on the policy `role-based-access` as a bundle, with its rule `allow` as the default decision. None,
    /// after saying so, where it is not installed: `make bench` builds it, below `target/tools`.
    ///
    /// # Panics
    /// When it is there and does not answer.
    pub fn start() -> Option<Self> {
        let program = root().join("target/tools/bin/opa");
        if !program.exists() {
            eprintln!("skipped: OPA is not at `{}`; `make bench` builds it", program.display());
            return None;
        }
        let folder = bundle();
        for _ in 0..5 {
            let port = free_port();
            let mut child = Command::new(&program)
                .args(["run", "--server", "--disable-telemetry", "--bundle", "bundle", "--addr"])
                .arg(format!("127.0.0.1:{port}"))
                .args(["--set", "default_decision=/role_based_access/allow"])
                .current_dir(folder.path())
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .expect("OPA runs");
            let deadline = Instant::now() + PATIENCE;
            // It ends by itself where somebody else has taken the port.
            while child.try_wait().expect("it can be waited for").is_none() {
                let address = format!("127.0.0.1:{port}");
                if is_ready(&address) {
                    return Some(Self { child, address, _folder: folder });
                }
                assert!(Instant::now() < deadline, "OPA does not answer");
                std::thread::sleep(Duration::from_millis(20));
            }
        }
        panic!("OPA does not start");
    }
}

impl Drop for Opa {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A folder with the bundle: the policy under the name of ours, and its data.
fn bundle() -> tempfile::TempDir {
    let source: PathBuf = root().join("guest-policies/library/role-based-access");
    let folder = tempfile::tempdir().expect("a folder can be made");
    let bundle = folder.path().join("bundle");
    std::fs::create_dir(&bundle).expect("a folder can be made");
    let policy = std::fs::read_to_string(source.join("peer.rego")).expect("the policy is there in Rego");
    let renamed = policy.replace("package rbac", PACKAGE);
    assert!(renamed.contains(PACKAGE), "the policy in Rego has another package");
    std::fs::write(bundle.join("policy.rego"), renamed).expect("a file can be written");
    std::fs::copy(source.join("data.json"), bundle.join("data.json")).expect("the data can be copied");
    folder
}

fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
    listener.local_addr().expect("it has an address").port()
}

fn is_ready(address: &str) -> bool {
    let agent: ureq::Agent = ureq::Agent::config_builder().timeout_global(Some(PATIENCE)).build().into();
    agent.get(format!("http://{address}/health?bundles=true&plugins=true")).call().is_ok()
}

/// Asks a server: the status, and the body as JSON, or as a string where it is none.
///
/// # Panics
/// When it does not answer.
pub fn ask(address: &str, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> (u16, Value) {
    let agent: ureq::Agent = ureq::Agent::config_builder()
        .http_status_as_error(false)
        .allow_non_standard_methods(true)
        .timeout_global(Some(PATIENCE))
        .build()
        .into();
    let mut request = ureq::http::Request::builder().method(method).uri(format!("http://{address}{path}"));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let answer = if method == "GET" || (body.is_empty() && method == "DELETE") {
        agent.run(request.body(()).expect("it is a request"))
    } else {
        agent.run(request.body(body.to_owned()).expect("it is a request"))
    };
    let mut answer = answer.expect("the server answers");
    let status = answer.status().as_u16();
    let text = answer.body_mut().read_to_string().expect("the answer can be read");
    (status, serde_json::from_str(&text).unwrap_or(Value::String(text)))
}
