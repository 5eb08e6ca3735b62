//! schemathesis, which reads our OpenAPI document and asks whatever it can think of: nothing makes the server fail, and
//! every answer has a status, a type, headers and a form that the document says.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use verdict_tests::access::AccessSite;
use verdict_tests::server::{Server, Site, root, text, verdict_ok};

fn is_full() -> bool {
    std::env::var_os("VERDICT_FULL").is_some_and(|value| value == "1")
}

/// Runs a step of an installation, within five minutes; whether it succeeded.
fn step(program: &Path, arguments: &[&str]) -> bool {
    let output = Command::new("timeout").arg("300").arg(program).args(arguments).output();
    match output {
        Ok(output) if output.status.success() => true,
        Ok(output) => {
            eprintln!("skipped: {} failed: {}", program.display(), String::from_utf8_lossy(&output.stderr));
            false
        }
        Err(error) => {
            eprintln!("skipped: {} cannot be run: {error}", program.display());
            false
        }
    }
}

/// Where schemathesis is, installed if that is asked for.
fn schemathesis() -> Option<PathBuf> {
    let (tools, list) = (root().join("target/tools"), root().join("tests/schemathesis/requirements.txt"));
    let folder = tools.join("schemathesis");
    let (program, installed) = (folder.join("bin/schemathesis"), folder.join("requirements.txt"));
    let wanted = std::fs::read(&list).unwrap();
    if program.exists() && std::fs::read(&installed).is_ok_and(|found| found == wanted) {
        return Some(program);
    }
    if !is_full() {
        eprintln!(
            "skipped: schemathesis (PyPI) is not installed below `target/tools`; set VERDICT_FULL=1 to have it installed"
        );
        return None;
    }
    std::fs::create_dir_all(&tools).unwrap();
    let install = ["-m", "pip", "install", "--quiet", "-r", text(&list)];
    let is_installed = step(Path::new("python3"), &["-m", "venv", text(&folder)])
        && step(&folder.join("bin/python"), &install);
    is_installed.then(|| {
        std::fs::write(&installed, wanted).unwrap();
        program
    })
}

/// A server that has all that a document can name: policies that are loaded, a registry, and callers who are known.
struct World {
    site: Site,
    access: AccessSite,
}

impl World {
    fn new() -> Self {
        Self { site: Site::new(&["role-based-access"]), access: AccessSite::new() }
    }

    fn guarded(&self, more: &[&str]) -> Vec<String> {
        let mut arguments: Vec<String> = Vec::new();
        for (flag, value) in [
            ("--break-glass", text(&self.site.path("glass"))),
            ("--access", text(&self.access.policy())),
            ("--access-trust", text(&self.access.trust())),
            ("--access-component", self.access.component()),
        ] {
            arguments.extend([flag.to_owned(), value.to_owned()]);
        }
        arguments.extend(more.iter().map(ToString::to_string));
        arguments
    }

    /// Makes the tenant and a key that may do everything.
    fn key(&self) -> String {
        let server = format!("unix:{}", text(&self.site.path("glass")));
        verdict_ok(&["tenants", "create", "default", "--server", &server]);
        let made = ["api-keys", "create", "--person", "ada", "--role", "system_admin", "--json", "--server"];
        let made = verdict_ok(&[&made[..], &[&server]].concat());
        let made: Value = serde_json::from_str(&made).unwrap();
        made["key"]["key"].as_str().unwrap().to_owned()
    }

    /// Lets schemathesis ask, within a time, and fails with what it has found. Returns how much it asked.
    fn ask(&self, program: &Path, server: &Server, key: &str, which: &[&str]) -> u64 {
        let document = format!("http://{}/v1/openapi.json", server.address);
        let (authorization, report) = (format!("Authorization: Bearer {key}"), self.site.path("report.json"));
        let config = root().join("tests/schemathesis/schemathesis.toml");
        let (phases, examples) =
            if is_full() { ("examples,coverage,fuzzing", "40") } else { ("examples,fuzzing", "2") };
        let mut command = Command::new("timeout");
        command.arg(if is_full() { "1500" } else { "300" }).arg(program).args([
            "--config-file",
            text(&config),
            "run",
            &document,
        ]);
        command.args(["-H", &authorization, "--phases", phases, "--max-examples", examples]);
        // The same questions each time: what fails here fails there.
        command.args(["--continue-on-failure", "--no-shrink", "--no-color", "--generation-deterministic"]);
        command.args(["--request-timeout", "20"]);
        command.args(["--report", "json", "--report-json-path", text(&report)]).args(which);
        let output = command.current_dir(self.site.path("")).output().unwrap();
        let told = String::from_utf8_lossy(&output.stdout);
        let log = std::fs::read_to_string(self.site.path("server.log")).unwrap();
        assert!(output.status.success(), "{told}\n{log}");
        let generated = told.lines().find_map(|line| line.trim().split_once(" generated")?.0.parse().ok());
        generated.unwrap_or_else(|| panic!("it does not say how much it has asked: {told}"))
    }
}

#[test]
fn schemathesis_finds_no_answer_that_the_document_does_not_have() {
    let Some(program) = schemathesis() else { return };
    let world = World::new();
    let (catalogue, store) = (world.site.path("catalogue.db"), world.site.path("store"));
    let mut more = vec!["--registry", text(&catalogue), "--store", text(&store)];
    more.extend(["--opa-default", "default/role-based-access/allow"]);
    more.extend(["--authzen", "default/role-based-access"]);
    let guarded = world.guarded(&more);
    let server = world.site.serve(&guarded.iter().map(String::as_str).collect::<Vec<_>>());
    let key = world.key();
    // It revokes whatever keys it has seen: its own, too.
    let asked = world.ask(&program, &server, &key, &["--exclude-operation-id", "revoke_api_key"]);
    let revoked = world.ask(&program, &server, &key, &["--include-operation-id", "revoke_api_key"]);
    let usage = std::fs::read_to_string(world.site.path("server.log")).unwrap();
    assert!(!usage.contains("panicked"), "{usage}");
    println!("{} requests", asked + revoked);
    assert!(asked > 150, "only {asked} requests");
    assert!(server.stop());
}

/// The same of a server that takes signed documents, for whoever gets past the check that it does.
#[test]
fn schemathesis_finds_nothing_in_what_takes_signed_documents_either() {
    let Some(program) = schemathesis() else { return };
    let world = World::new();
    let (trust, keys) = (world.site.path("registry/trust"), world.site.path("root"));
    verdict_ok(&["keys", "new", "--unencrypted", "--role", "root", "--out", text(&keys)]);
    std::fs::create_dir_all(trust.parent().unwrap()).unwrap();
    verdict_ok(&["trust", "init", text(&trust), "--key", text(&keys.join("root.key"))]);
    let roots = world.site.path("roots.json");
    std::fs::copy(trust.join("roots.json"), &roots).unwrap();
    let guarded = world.guarded(&["--roots", text(&roots)]);
    let guarded: Vec<&str> = guarded.iter().map(String::as_str).collect();
    let server = Server::registry(&world.site.path(""), &guarded);
    let key = world.key();
    let signed = "^/v1/(trust|revocations)|/(data|channels/[^/]*|activate|promote|rollback|statements)$";
    let asked = world.ask(&program, &server, &key, &["--include-path-regex", signed]);
    println!("{asked} requests");
    assert!(asked > 10, "only {asked} requests");
    assert!(server.stop());
}
