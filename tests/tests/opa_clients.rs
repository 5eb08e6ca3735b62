//! OPA's own clients, unmodified, against a real OPA and against us: they ask the same, and what they get is compared.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use verdict_tests::opa::Opa;
use verdict_tests::server::{Server, Site, root};

/// Where clients and what they need are installed.
fn tools() -> PathBuf {
    root().join("target/tools/opa-clients")
}

fn scripts() -> PathBuf {
    root().join("tests/opa-clients")
}

/// Runs a step of an installation, within five minutes; whether it succeeded.
fn step(folder: &Path, program: &str, arguments: &[&str]) -> bool {
    let output = Command::new("timeout").arg("300").arg(program).args(arguments).current_dir(folder).output();
    match output {
        Ok(output) if output.status.success() => true,
        Ok(output) => {
            eprintln!("skipped: {program} failed: {}", String::from_utf8_lossy(&output.stderr));
            false
        }
        Err(error) => {
            eprintln!("skipped: {program} cannot be run: {error}");
            false
        }
    }
}

/// What is downloaded is so only where that is asked for.
fn may_install(what: &str) -> bool {
    let may = std::env::var_os("VERDICT_FULL").is_some_and(|value| value == "1");
    if !may {
        eprintln!(
            "skipped: {what} is not installed below `target/tools`; set VERDICT_FULL=1 to have it installed"
        );
    }
    may
}

/// The folder with the client for JavaScript; its script is put beside the packages that it imports.
fn node() -> Option<PathBuf> {
    let folder = tools().join("node");
    std::fs::create_dir_all(&folder).unwrap();
    let lock = std::fs::read(scripts().join("package-lock.json")).unwrap();
    let is_there = std::fs::read(folder.join("package-lock.json")).is_ok_and(|found| found == lock)
        && folder.join("node_modules/@open-policy-agent/opa/package.json").exists();
    if !is_there {
        if !may_install("@open-policy-agent/opa (npm)") {
            return None;
        }
        for name in ["package.json", "package-lock.json", ".npmrc"] {
            std::fs::copy(scripts().join(name), folder.join(name)).unwrap();
        }
        let arguments = ["install", "--no-save", "--no-audit", "--no-fund", "--ignore-scripts"];
        if !step(&folder, "npm", &arguments) {
            return None;
        }
    }
    std::fs::copy(scripts().join("client.js"), folder.join("client.js")).unwrap();
    Some(folder)
}

/// A Python with the client.
fn python() -> Option<PathBuf> {
    let folder = tools().join("python");
    let (python, wanted) = (folder.join("bin/python"), folder.join("requirements.txt"));
    let requirements = std::fs::read(scripts().join("requirements.txt")).unwrap();
    if std::fs::read(&wanted).is_ok_and(|found| found == requirements) && python.exists() {
        return Some(python);
    }
    if !may_install("opa-python-client (PyPI)") {
        return None;
    }
    std::fs::create_dir_all(tools()).unwrap();
    let (venv, list) = (folder.to_str().unwrap(), scripts().join("requirements.txt"));
    let install = ["-m", "pip", "install", "--quiet", "-r", list.to_str().unwrap()];
    let is_installed = step(&tools(), "python3", &["-m", "venv", venv])
        && step(&tools(), python.to_str().unwrap(), &install);
    is_installed.then(|| {
        std::fs::write(&wanted, requirements).unwrap();
        python
    })
}

/// What a client says, as JSON.
fn run(program: &Path, arguments: &[&str]) -> Value {
    let output = Command::new("timeout").arg("120").arg(program).args(arguments).output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{} failed: {error}", program.display());
    serde_json::from_slice(&output.stdout).unwrap()
}

fn compare(ask: impl Fn(&str) -> Value, at_least: usize) {
    let Some(opa) = Opa::start() else { return };
    let site = Site::new(&["role-based-access"]);
    let server: Server = site.serve(&["--opa-default", "default/role-based-access/allow"]);
    let (expected, found) = (ask(&opa.address), ask(&server.address));
    let expected = expected.as_object().unwrap();
    assert!(expected.len() >= at_least, "only {} questions were asked", expected.len());
    for (name, answer) in expected {
        assert_eq!(*answer, found[name], "{name}");
    }
    let answered = expected.values().filter(|answer| answer.get("answer").is_some()).count();
    assert!(answered * 2 > expected.len(), "most questions have an answer: {expected:?}");
    println!("{} of {} questions had an answer, and all the same", answered, expected.len());
}

#[test]
fn opas_client_for_javascript_gets_the_same_from_both() {
    let Some(folder) = node() else { return };
    let script = folder.join("client.js");
    compare(|address| run(Path::new("node"), &[script.to_str().unwrap(), &format!("http://{address}")]), 25);
}

#[test]
fn a_client_of_opa_for_python_gets_the_same_from_both() {
    let Some(python) = python() else { return };
    let script = scripts().join("client.py");
    let ask = |address: &str| {
        let (host, port) = address.split_once(':').unwrap();
        run(&python, &[script.to_str().unwrap(), host, port])
    };
    compare(ask, 25);
}
