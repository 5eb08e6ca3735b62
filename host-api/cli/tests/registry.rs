//! A signed policy through registries that others wrote, with the real binary: push, list, tags, pull, copy, and what
//! is said when that does not go.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "clippy takes helpers of integration tests for production code"
)]

#[expect(dead_code, reason = "it has more than one test needs")]
#[path = "../../../runtime/registry/tests/client/peers.rs"]
mod peers;
mod support;

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

use peers::{Registry, docker_registry, plain_docker_registry, referrers_registry};
use serde_json::{Value, json};
use support::{Ran, Site, verdict};

/// Runs `verdict --json` with variables of the environment, and without the credentials of whoever tests.
fn with(folder: &Path, arguments: &[&str], variables: &[(&str, &str)]) -> Ran {
    let output = Command::new(env!("CARGO_BIN_EXE_verdict"))
        .arg("--json")
        .args(arguments)
        .current_dir(folder)
        .env("DOCKER_CONFIG", folder)
        .envs(variables.iter().copied())
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    let ran = Ran { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) };
    assert!(!ran.out.contains("s3cret") && !ran.err.contains("s3cret"), "{}{}", ran.out, ran.err);
    ran
}

fn json(site: &Site, arguments: &[&str]) -> Value {
    with(&site.path("loan"), arguments, &[]).ok().json()
}

#[test]
fn a_signed_policy_goes_through_any_registry_and_is_verified_on_the_other_side() {
    let site = Site::new();
    site.sign();
    for registry in [plain_docker_registry(), referrers_registry(None)].into_iter().flatten() {
        there_and_back(&site, &registry);
    }
}

fn there_and_back(site: &Site, registry: &Registry) {
    let repository = registry.reference("bank/loan");
    let tagged = registry.reference("bank/loan:0.1.0");
    let pushed = json(site, &["push", &repository, "--plain-http"]);
    assert_eq!((&pushed["place"], &pushed["statements"]), (&json!(tagged), &json!(1)));
    let again = json(site, &["push", &repository, "--plain-http"]);
    assert_eq!(again["blobs"], json!({"moved": 0, "present": 4}));

    assert_eq!(json(site, &["tags", &repository, "--plain-http"])["tags"], json!(["0.1.0"]));
    let listed = json(site, &["list", &repository, "--plain-http"]);
    assert_eq!(listed["versions"][0]["image"], pushed["image"]);
    assert_eq!(listed["versions"][0]["statements"], 1);
    let all = json(site, &["list", &registry.address.to_string(), "--plain-http"]);
    assert_eq!(all["repositories"], json!([{"repository": repository, "versions": ["0.1.0"]}]));

    let away = tempfile::tempdir().unwrap();
    let pulled = with(away.path(), &["pull", &tagged, "--plain-http"], &[]).ok().json();
    assert_eq!((&pulled["image"], &pulled["place"]), (&pushed["image"], &json!("loan-0.1.0")));
    let trust = site.path("trust.json");
    let trust = trust.to_str().unwrap();
    let verified = verdict(away.path(), &["--json", "verify", "loan-0.1.0", "--trust", trust]).ok().json();
    assert_eq!((&verified["image"], &verified["signers"][0]["person"]), (&pushed["image"], &json!("alice")));

    let copy = registry.reference("copy/loan");
    let copied = json(site, &["copy", &tagged, &copy, "--plain-http"]);
    assert_eq!(copied["blobs"]["moved"], 0);
    with(away.path(), &["copy", &format!("{copy}:0.1.0"), "./copied", "--plain-http"], &[]).ok();
    verdict(away.path(), &["verify", "copied", "--trust", trust]).ok();
    let found = with(away.path(), &["list"], &[]).ok().json();
    let paths: Vec<_> =
        found["policies"][0]["versions"].as_array().unwrap().iter().map(|v| &v["path"]).collect();
    assert_eq!(paths, [&json!("./copied"), &json!("./loan-0.1.0")]);
}

#[test]
fn says_what_does_not_go_and_leaves_nothing() {
    let Some(registry) = plain_docker_registry() else { return };
    let site = Site::new();
    site.sign();
    let repository = registry.reference("loan");
    json(&site, &["push", &repository, "--plain-http"]);
    site.edit("loan/policy.toml", "name", "# changed\nname");
    support::build(&site.path("loan"), &[]).ok();
    let away = tempfile::tempdir().unwrap();
    let fails = |arguments: &[&str], status: i32, code: &str| {
        let arguments = [arguments, &["--plain-http"]].concat();
        let ran = with(away.path(), &arguments, &[]);
        assert_eq!((ran.code, ran.error().as_str()), (Some(status), code), "{}", ran.out);
        assert_eq!(std::fs::read_dir(away.path()).unwrap().count(), 0, "{arguments:?}");
    };
    let tagged = format!("{repository}:0.1.0");
    fails(&["pull", &format!("{repository}:9.0.0")], 2, "not-found");
    fails(&["pull", &repository], 2, "no-version");
    fails(&["pull", "loan:1.0.0"], 2, "reference");
    fails(&["pull", &registry.reference("Loan:1.0.0")], 2, "reference");
    fails(&["push", &repository], 2, "not-built");
    fails(&["tags", &registry.reference("none")], 2, "not-found");
    fails(&["pull", "127.0.0.1:1/loan:1.0.0"], 5, "unreachable");
    // It speaks no TLS.
    let plain = with(away.path(), &["pull", &tagged], &[]);
    assert_eq!((plain.code, plain.error().as_str()), (Some(5), "unreachable"));
    assert!(plain.json()["error"]["help"].as_str().unwrap().contains("--plain-http"));
    let people = verdict(away.path(), &["pull", &format!("{repository}:9.0.0"), "--plain-http"]);
    assert!(
        people.err.contains("has no `loan:9.0.0`") && people.err.contains("verdict tags"),
        "{}",
        people.err
    );
}

/// The bcrypt hash of `s3cret`.
const HTPASSWD: &[u8] = b"ann:$2b$12$.ukjTlAn2aAxiEv3uafmN.MNLHaxlEECWeetCpyML2SR3NbPi6qci\n";

#[test]
fn asks_a_credential_helper_and_trusts_certificates_of_the_system() {
    let folder = tempfile::tempdir().unwrap();
    let made = Command::new("openssl")
        .args("req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=127.0.0.1 -addext".split(' '))
        .args("subjectAltName=IP:127.0.0.1 -addext basicConstraints=critical,CA:FALSE".split(' '))
        .args(["-keyout", "key.pem", "-out", "cert.pem"])
        .current_dir(folder.path())
        .output();
    if !made.is_ok_and(|output| output.status.success()) {
        println!("skipped: `openssl` cannot be had here");
        return;
    }
    let read = |name: &str| std::fs::read(folder.path().join(name)).unwrap();
    let (certificate, key) = (read("cert.pem"), read("key.pem"));
    let tls = "  tls:\n    certificate: FOLDER/cert.pem\n    key: FOLDER/key.pem\n";
    let auth = "auth:\n  htpasswd:\n    realm: test\n    path: FOLDER/htpasswd\n";
    let files: &[(&str, &[u8])] = &[("cert.pem", &certificate), ("key.pem", &key), ("htpasswd", HTPASSWD)];
    let Some(registry) = docker_registry(tls, auth, files) else { return };
    let site = Site::new();
    let (loan, repository) = (site.path("loan"), registry.reference("loan"));
    let loan = loan.to_str().unwrap();

    let push = |variables: &[(&str, &str)]| with(folder.path(), &["push", &repository, loan], variables);
    assert_eq!(push(&[]).error(), "unreachable");
    let cert = folder.path().join("cert.pem");
    let cert = ("SSL_CERT_FILE", cert.to_str().unwrap());
    assert_eq!(push(&[cert]).error(), "denied");

    let helper = folder.path().join("docker-credential-test");
    let script = format!(
        "#!/bin/sh\nread -r name; [ \"$1:$name\" = 'get:{}' ] || exit 1\n\
         echo '{{\"ServerURL\":\"x\",\"Username\":\"ann\",\"Secret\":\"s3cret\"}}'\n",
        registry.address
    );
    std::fs::write(&helper, script).unwrap();
    std::fs::set_permissions(&helper, std::fs::Permissions::from_mode(0o755)).unwrap();
    std::fs::write(folder.path().join("config.json"), r#"{"credsStore": "test"}"#).unwrap();
    let missing = push(&[cert]);
    assert_eq!((missing.code, missing.error().as_str()), (Some(2), "credentials"));
    let path = format!("{}:{}", folder.path().display(), std::env::var("PATH").unwrap());
    let pushed = push(&[cert, ("PATH", &path)]).ok().json();
    assert_eq!(pushed["statements"], 0);
    assert!(pushed["warnings"][0].as_str().unwrap().contains("nobody has signed it"), "{pushed}");
}
