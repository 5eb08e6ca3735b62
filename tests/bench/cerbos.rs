//! The peer: Cerbos as a server, with the grants of the same data as its resource policies, over HTTP. What it logs of
//! requests and decisions is off; so is its telemetry.
//!
//! Cerbos has no data of its own: who asks it says which roles a user has. So it is told bob's, which we look up.

use std::collections::{BTreeMap, BTreeSet};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use verdict_tests::server::text;

use crate::process::{Ended, output};
use crate::{INPUT, data};

/// Its endpoint `CheckResources`.
pub(crate) const PATH: &str = "/api/check/resources";

const PATIENCE: Duration = Duration::from_secs(30);

/// The peer, running and checked to give the same answer; or why not. Its policies and its socket are in a folder.
pub(crate) fn start(folder: &Path) -> Result<(Ended, String), String> {
    let program = PathBuf::from(
        std::env::var_os("VERDICT_BENCH_CERBOS").ok_or("Cerbos is not there; see `make bench`")?,
    );
    let data = std::fs::read(data()).expect("the data can be read");
    let data: Value = serde_json::from_slice(&data).expect("the data is JSON");
    let policies = folder.join("policies");
    std::fs::create_dir_all(&policies).expect("a folder can be made");
    for (kind, policy) in resource_policies(&data) {
        let file = policies.join(kind).with_extension("json");
        std::fs::write(file, policy.to_string()).expect("a file can be written");
    }
    // It cannot be asked which port it took.
    let port = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
    let address = port.map_err(|error| error.to_string())?.to_string();
    let settings = [
        format!("server.httpListenAddr={address}"),
        format!("server.grpcListenAddr=unix:{}", text(&folder.join("grpc"))),
        "storage.driver=disk".into(),
        format!("storage.disk.directory={}", text(&policies)),
        "storage.disk.watchForChanges=false".into(),
        "telemetry.disabled=true".into(),
    ];
    let child = Command::new(program)
        .args(["server", "--log-level=error"])
        .args(settings.map(|setting| format!("--set={setting}")))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        // It logs every question that wrk takes back at the end of a load.
        .stderr(std::fs::File::create(folder.join("log")).expect("a file can be made"))
        .spawn();
    let process = Ended(child.map_err(|error| format!("Cerbos does not run: {error}"))?);
    checked(&address, &data).map(|()| (process, address))
}

/// A policy for each type of object that a role has a grant on.
fn resource_policies(data: &Value) -> BTreeMap<String, Value> {
    let mut actions: BTreeMap<&str, BTreeMap<&str, BTreeSet<&str>>> = BTreeMap::new();
    for (role, grants) in data["role_grants"].as_object().expect("the data has grants") {
        for grant in grants.as_array().into_iter().flatten() {
            let (kind, action) = (grant["type"].as_str(), grant["action"].as_str());
            let of_kind = actions.entry(kind.expect("a grant has a type")).or_default();
            of_kind.entry(role).or_default().insert(action.expect("a grant has an action"));
        }
    }
    let rule = |(role, actions): (&str, BTreeSet<&str>)| json!({"actions": actions, "effect": "EFFECT_ALLOW", "roles": [role]});
    let policy = |(kind, mut roles): (&str, BTreeMap<&str, BTreeSet<&str>>)| {
        roles.insert("admin", ["*"].into());
        let rules: Vec<Value> = roles.into_iter().map(rule).collect();
        let policy = json!({"version": "default", "resource": kind, "rules": rules});
        (kind.to_owned(), json!({"apiVersion": "api.cerbos.dev/v1", "resourcePolicy": policy}))
    };
    actions.into_iter().map(policy).collect()
}

/// What it is asked: the same question, with these roles.
fn question(roles: &Value) -> String {
    let input: Value = serde_json::from_str(INPUT).expect("a constant is JSON");
    let resource = json!({"kind": input["type"], "id": "one"});
    let principal = json!({"id": input["user"], "roles": roles});
    json!({"principal": principal, "resources": [{"resource": resource, "actions": [input["action"]]}]})
        .to_string()
}

/// The question that is timed: with the roles that the user has in the data.
pub(crate) fn body() -> String {
    let data = std::fs::read(data()).expect("the data can be read");
    let data: Value = serde_json::from_slice(&data).expect("the data is JSON");
    let input: Value = serde_json::from_str(INPUT).expect("a constant is JSON");
    question(&data["user_roles"][input["user"].as_str().expect("a question has a user")])
}

/// It allows what is timed, allows an administrator, and denies others.
fn checked(address: &str, data: &Value) -> Result<(), String> {
    let roles = &data["user_roles"];
    let cases = [
        (body(), "EFFECT_ALLOW"),
        (question(&roles["alice"]), "EFFECT_ALLOW"),
        (question(&roles["eve"]), "EFFECT_DENY"),
    ];
    let deadline = Instant::now() + PATIENCE;
    while ask(address, &cases[0].0).is_err() {
        if Instant::now() > deadline {
            return Err("Cerbos did not answer within 30 seconds".into());
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    for (body, effect) in cases {
        let answer = ask(address, &body).map_err(|error| error.to_string())?;
        let actions =
            serde_json::from_str::<Value>(&answer).unwrap_or_default()["results"][0]["actions"].take();
        let alone = actions.as_object().filter(|actions| actions.len() == 1);
        if alone.and_then(|actions| actions.values().next()).is_none_or(|found| found != effect) {
            return Err(format!("Cerbos answers otherwise: {body}: {answer}"));
        }
    }
    Ok(())
}

/// Its version, for the table.
pub(crate) fn version() -> Option<String> {
    let program = std::env::var_os("VERDICT_BENCH_CERBOS")?;
    let text = output(Command::new(program).arg("--version"), PATIENCE);
    text.lines().next().map(|line| format!("Cerbos {line}"))
}

fn ask(address: &str, body: &str) -> Result<String, ureq::Error> {
    let url = format!("http://{address}{PATH}");
    ureq::post(url).content_type("application/json").send(body)?.body_mut().read_to_string()
}
