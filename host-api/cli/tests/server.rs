//! The same commands on a folder and on a server, with the real binary: publish, approve, release with two signatures,
//! data, revoke. And what only a server has.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "clippy takes helpers of integration tests for production code"
)]

mod support;

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};
use support::{Ran, Site, verdict};

/// A signed policy, people with keys, and a trust policy: production takes two releasers, other channels take one.
struct Bank {
    site: Site,
}

impl Bank {
    fn new() -> Self {
        let site = Site::new();
        site.sign();
        let bank = Self { site };
        for (person, role) in PEOPLE {
            bank.run(&["keys", "new", "--role", role, "--unencrypted", "--key-only", "--out", person]).ok();
        }
        let grant = |(person, role): (&str, &str)| {
            let public = bank.file(&format!("{person}/{role}.key"))["public"].clone();
            json!({ "person": person, "public": public })
        };
        let of = |role: &str| PEOPLE.into_iter().filter(|(_, of)| *of == role).map(grant).collect::<Vec<_>>();
        let mut trust = bank.file("trust.json");
        trust["approvers"] = json!(of("approver"));
        trust["releasers"] = json!(of("releaser"));
        trust["data_signers"] = json!(of("data-signer"));
        trust["revokers"] = json!(of("revoker"));
        trust["rules"] = json!([
            { "policies": ["default/*"], "channels": ["production"], "approvals": 1, "releases": 2 },
            { "policies": ["default/*"], "approvals": 1, "releases": 1 },
        ]);
        for list in ["approvers", "releasers", "data_signers"] {
            for grant in trust[list].as_array_mut().unwrap() {
                grant["policies"] = json!(["default/*"]);
            }
        }
        std::fs::create_dir(bank.site.path("trust")).unwrap();
        bank.site.write("trust/trust.json", &trust.to_string());
        bank.run(&["trust", "init", "trust", "--key", "rob/root.key"]).ok();
        bank.run(&["revoke", "--trust", "trust", "--key", "vera/revoker.key"]).ok();
        bank
    }

    /// Runs `verdict` beside the keys.
    fn run(&self, arguments: &[&str]) -> Ran {
        verdict(&self.site.path(""), &[&["--json"], arguments].concat())
    }

    fn file(&self, path: &str) -> Value {
        serde_json::from_slice(&std::fs::read(self.site.path(path)).unwrap()).unwrap()
    }

    fn fails(&self, arguments: &[&str], status: i32, code: &str) -> Ran {
        let ran = self.run(arguments);
        assert_eq!((ran.code, ran.error().as_str()), (Some(status), code), "{arguments:?}: {}", ran.out);
        ran
    }

    /// A server with nothing in it, and where its owner and others find it.
    fn serve(&self) -> Served {
        let registry = ["--registry", "catalogue.db", "--store", "blobs", "--state", "state"];
        let more = ["--activation-key", "night/releaser.key", "--break-glass", "glass.sock"];
        self.start(&[&registry[..], &more].concat())
    }

    /// The next two events of the stream.
    fn live_events(&self, after: u64) -> Vec<Value> {
        let mut child = Command::new(env!("CARGO_BIN_EXE_verdict"))
            .args(["--json", "events", "--follow", "--after", &after.to_string()])
            .args(OWNER)
            .current_dir(self.site.path(""))
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines().take(2);
        let events = lines.map(|line| serde_json::from_str(&line.unwrap()).unwrap()).collect();
        child.kill().unwrap();
        child.wait().unwrap();
        events
    }

    fn start(&self, arguments: &[&str]) -> Served {
        let mut child = Command::new(env!("CARGO_BIN_EXE_verdict"))
            .args(["--json", "serve", "--roots", "trust/roots.json", "--listen", "127.0.0.1:0"])
            .args(arguments)
            .current_dir(self.site.path(""))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let said: Value = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"));
        Served { child, network: format!("http://{}", said["listening"].as_str().unwrap()) }
    }
}

const PEOPLE: [(&str, &str); 7] = [
    ("rob", "root"),
    ("bob", "approver"),
    ("rita", "releaser"),
    ("ron", "releaser"),
    ("night", "releaser"),
    ("dina", "data-signer"),
    ("vera", "revoker"),
];

/// Where the owner of the server is let in.
const OWNER: &[&str] = &["--server", "unix:glass.sock"];
const VERSION: &str = "default/loan@0.1.0";

struct Served {
    child: Child,
    network: String,
}

impl Served {
    /// The sequence of the state that answers in production; none where nothing does.
    fn sequence(&self) -> Option<u64> {
        let mut stream = TcpStream::connect(self.network.strip_prefix("http://").unwrap()).unwrap();
        stream.write_all(b"GET /v1/policies HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let loaded: Value = serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap();
        loaded["policies"][0]["sequence"].as_u64()
    }

    fn answers_with(&self, sequence: u64) {
        for _ in 0..300 {
            if self.sequence() == Some(sequence) {
                return;
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        panic!("state {sequence} does not come");
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What is the same everywhere. `at` names the registry, `pins` whom the command believes, and `file` where a state waits.
fn story(bank: &Bank, at: &[&str], pins: &[&str], file: &[&str]) {
    let run = |arguments: &[&str], more: &[&[&str]]| bank.run(&[&[arguments], more].concat().concat());
    let release = |arguments: &[&str]| run(arguments, &[at, pins]);
    bank.fails(
        &[&["approve", "default/loan@9.9.9", "--key", "bob/approver.key"], at].concat(),
        2,
        "unknown-version",
    );
    let activate = ["activate", "default/loan", "0.1.0", "--key", "rita/releaser.key"];
    bank.fails(&[&activate[..], &["--channel", "staging"], at, pins].concat(), 1, "not-approved");
    let approved = run(&["approve", VERSION, "--key", "bob/approver.key"], &[at]).ok().json();
    assert_eq!(approved["version"], "0.1.0");

    let waits = release(&[&activate[..], file].concat()).ok().json();
    assert_eq!((&waits["released"], &waits["state"]["sequence"]), (&json!(false), &json!(1)));
    assert_eq!(run(&["channels"], &[at]).ok().json()["channels"], json!([]));
    let cosign = |key: &str| release(&[&["cosign", "default/loan", "--key", key], file].concat()).ok().json();
    assert_eq!(cosign("rita/releaser.key")["released"], false);
    let released = cosign("ron/releaser.key");
    assert_eq!(released["released"], true);
    assert!(!bank.site.path(waits["file"].as_str().unwrap()).exists(), "what waited is gone");
    let promote = ["promote", "default/loan", "--from", "production", "--channel", "staging"];
    release(&[&promote[..], &["--key", "rita/releaser.key"]].concat()).ok();
    let again = ["activate", "default/loan", "0.1.0=2", "--channel", "staging", "--key", "ron/releaser.key"];
    release(&again).ok();
    let back = ["rollback", "default/loan", "--channel", "staging", "--key", "ron/releaser.key"];
    assert_eq!(release(&back).ok().json()["state"]["sequence"], 3);
    let history = run(&["channels", "--history"], &[at]).ok().json();
    let sequences: Vec<_> =
        history["channels"].as_array().unwrap().iter().map(|state| &state["sequence"]).collect();
    assert_eq!(sequences, [&json!(1), &json!(3), &json!(2), &json!(1)]);

    bank.site.write("limits.json", r#"{"loan": 10.00, "other": 1}"#);
    bank.site.write("raise.json", r#"[{"op": "replace", "path": "/other", "value": 2}]"#);
    for change in [["put", "default", "limits.json"], ["patch", "default", "raise.json"]] {
        run(&[&["data"], &change[..], &["--key", "dina/data-signer.key"]].concat(), &[at, pins]).ok();
    }
    let data = |arguments: &[&str]| run(&[&["data"], arguments].concat(), &[at]).ok().out;
    assert!(
        data(&["get", "default"]).contains(r#""value":{"loan":10.00,"other":2}"#),
        "{}",
        data(&["get", "default"])
    );
    assert!(data(&["get", "default", "/other", "--sequence", "1"]).contains(r#""value":1"#));
    assert_eq!(data(&["history", "default"]).matches("\"sequence\"").count(), 2);
    assert!(
        !verdict(&bank.site.path(""), &[&["data", "history", "default"], at].concat())
            .out
            .contains("missing")
    );

    run(&["bundle", "save", "bundle.tar"], &[at]).ok();
    std::fs::remove_file(bank.site.path("bundle.tar")).unwrap();
}

#[test]
fn a_folder_and_a_server_take_the_same_commands() {
    let bank = Bank::new();
    bank.run(&["copy", "loan", "./registry/loan"]).ok();
    std::fs::create_dir(bank.site.path("registry/trust")).unwrap();
    for name in ["roots.json", "trust-2.dsse", "revocations.dsse"] {
        std::fs::copy(bank.site.path("trust").join(name), bank.site.path("registry/trust").join(name))
            .unwrap();
    }
    story(&bank, &["--registry", "registry"], &[], &[]);
    story_of_revocation(&bank, &["--trust", "registry/trust"], &["--registry", "registry"], &[]);
    bank.fails(
        &["activate", "default/loan", "0.1.0", "--by-server", "--registry", "registry"],
        2,
        "no-server",
    );

    let _served = bank.serve();
    let pins = ["--roots", "trust/roots.json"];
    bank.fails(&[&["trust", "show"], OWNER].concat(), 2, "trust");
    let put = bank.run(&[&["trust", "put", "trust"], OWNER].concat()).ok().json();
    assert_eq!((&put["versions"], &put["revocations"]), (&json!([2]), &json!(1)));
    let again = bank.run(&[&["trust", "put", "trust"], OWNER].concat()).ok().json();
    assert_eq!((&again["versions"], &again["revocations"]), (&json!([]), &Value::Null));
    assert_eq!(bank.run(&[&["trust", "show"], OWNER].concat()).ok().json()["policy"]["version"], 2);
    bank.run(&[&["trust", "check"], OWNER, &pins].concat()).ok();
    let pushed = bank.run(&[&["push", "loan"], OWNER].concat()).ok().json();
    assert_eq!(pushed["place"], "localhost/default/loan:0.1.0");
    bank.run(&[&["pull", "default/loan:0.1.0", "pulled"], OWNER].concat()).ok();
    bank.run(&["verify", "pulled", "--trust", "trust.json"]).ok();
    story(&bank, OWNER, &pins, &["--file", "waiting.dsse"]);

    let by_server = ["activate", "default/loan", "0.1.0", "--by-server"];
    bank.fails(&[&by_server[..], OWNER].concat(), 1, "too-few-signers");
    let state = bank.run(&[&by_server[..], &["--channel", "staging"], OWNER].concat()).ok().json();
    assert_eq!((&state["released"], &state["state"]["sequence"]), (&json!(true), &json!(4)));
    story_of_revocation(&bank, &[OWNER, &pins[..]].concat(), OWNER, &pins);
}

fn story_of_revocation(bank: &Bank, list: &[&str], at: &[&str], pins: &[&str]) {
    let revoke = ["revoke", "--key", "vera/revoker.key", "--release", VERSION];
    let revoked = bank.run(&[&revoke[..], list].concat()).ok().json();
    assert_eq!((&revoked["sequence"], &revoked["versions"][0]["version"]), (&json!(2), &json!("0.1.0")));
    let activate =
        ["activate", "default/loan", "0.1.0", "--channel", "staging", "--key", "rita/releaser.key"];
    bank.fails(&[&activate[..], at, pins].concat(), 1, "revoked");
}

#[test]
fn a_server_is_administered_and_says_what_happened() {
    let bank = Bank::new();
    let served = bank.serve();
    let run = |arguments: &[&str]| bank.run(&[arguments, OWNER].concat());
    assert_eq!(
        run(&["tenants", "create", "bank", "--description", "A bank"]).ok().json()["tenant"]["name"],
        "bank"
    );
    run(&["tenants", "change", "bank", "--description", "The bank"]).ok();
    assert_eq!(run(&["tenants", "show", "bank"]).ok().json()["tenant"]["description"], "The bank");
    assert_eq!(run(&["tenants", "list"]).ok().json()["tenants"][0]["name"], "bank");
    let made = run(&["policies", "create", "bank/loan", "--category", "credit", "--metadata", "owner=ann"])
        .ok()
        .json();
    assert_eq!(made["policy"]["metadata"], json!({ "owner": "ann" }));
    run(&["policies", "change", "bank/loan", "--state", "archived"]).ok();
    let archived =
        run(&["policies", "list", "bank", "--state", "archived", "--category", "credit"]).ok().json();
    assert_eq!(archived["policies"][0]["name"], "bank/loan");
    assert_eq!(run(&["policies", "list", "bank", "--state", "open"]).ok().json()["policies"], json!([]));
    assert_eq!(run(&["versions", "bank/loan"]).ok().json()["versions"], json!([]));

    let create =
        ["api-keys", "create", "--person", "rita", "--tenant", "bank", "--role", "operator", "--days", "3"];
    let made = run(&create).ok().json()["key"].clone();
    assert!(made["key"].as_str().unwrap().starts_with("verdict_"), "{made}");
    let id = made["id"].as_str().unwrap();
    let shown = run(&["api-keys", "show", id]).ok();
    assert!(!shown.out.contains(made["key"].as_str().unwrap()), "a key is shown once");
    run(&["api-keys", "revoke", id]).ok();
    for wrong in [made["key"].as_str().unwrap(), "..", "a/b", ""] {
        assert_eq!(run(&["api-keys", "revoke", wrong]).error(), "usage", "{wrong}");
    }
    let listed = run(&["api-keys", "list", "--tenant", "bank"]).ok().json();
    assert!(listed["keys"][0]["revoked"].is_string(), "{listed}");

    let written = ["api-keys", "create", "--person", "olga", "--role", "auditor", "--out", "token"];
    assert_eq!(run(&written).ok().json()["key"]["key"], Value::Null);
    assert_eq!(run(&written).error(), "exists");
    let token = std::fs::metadata(bank.site.path("token")).unwrap();
    assert_eq!(
        (
            token.permissions().mode() & 0o777,
            run(&["api-keys", "list"]).ok().json()["keys"].as_array().unwrap().len()
        ),
        (0o600, 2)
    );

    let events = run(&["events"]).ok().json();
    let numbers: Vec<_> =
        events["events"].as_array().unwrap().iter().map(|event| event["event"].as_u64().unwrap()).collect();
    assert!(numbers.len() >= 5 && numbers.is_sorted(), "{events}");
    let kinds = |events: &Value| -> Vec<String> {
        events["events"]
            .as_array()
            .unwrap()
            .iter()
            .map(|event| event["kind"].as_str().unwrap().to_owned())
            .collect()
    };
    let rest = run(&["events", "--after", &numbers[1].to_string(), "--limit", "2"]).ok().json();
    assert_eq!(kinds(&rest), kinds(&events)[2..4]);
    assert_eq!(rest["more"], true);
    let live = bank.live_events(numbers[1]);
    assert_eq!((&live[0], &live[1]), (&events["events"][2], &events["events"][3]));

    // Over the network nobody administers anything where no policy says who may.
    let refused = bank.run(&["tenants", "list", "--server", &served.network]);
    assert_eq!((refused.code, refused.error().as_str()), (Some(5), "no-access-policy"), "{}", refused.out);
    assert_eq!(run(&["tenants", "show", "nobody"]).error(), "not-found");
    assert_eq!(run(&["tenants", "create", "bank"]).error(), "conflict");
}

#[test]
fn says_which_server_is_meant_and_what_is_missing() {
    let bank = Bank::new();
    let _served = bank.serve();
    bank.run(&[&["trust", "put", "trust"], OWNER].concat()).ok();
    bank.fails(&["tenants", "list"], 2, "no-server");
    bank.fails(&["tenants", "list", "--server", "glass.sock"], 2, "address");
    bank.fails(&["tenants", "list", "--server", "http://127.0.0.1:1"], 5, "unreachable");
    bank.fails(&["trust", "check", "--server", "unix:glass.sock"], 2, "no-roots");
    let release = ["activate", "default/loan", "0.1.0", "--key", "rita/releaser.key"];
    bank.fails(&[&release[..], OWNER].concat(), 2, "no-roots");
    bank.site.write("empty", "\n");
    bank.fails(&["tenants", "list", "--server", "http://127.0.0.1:1", "--token-file", "empty"], 2, "token");

    let home = bank.site.path("home");
    let with = |arguments: &[&str], variables: &[(&str, &str)]| {
        let output = Command::new(env!("CARGO_BIN_EXE_verdict"))
            .arg("--json")
            .args(arguments)
            .current_dir(bank.site.path(""))
            .env_remove("VERDICT_SERVER")
            .env("XDG_CONFIG_HOME", &home)
            .envs(variables.iter().copied())
            .output()
            .unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Ran { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
    };
    let profile = ["trust", "check", "--profile", "here"];
    assert_eq!(with(&profile, &[]).error(), "file");
    std::fs::create_dir_all(home.join("verdict")).unwrap();
    std::fs::copy(bank.site.path("trust/roots.json"), home.join("verdict/pinned.json")).unwrap();
    let socket = bank.site.path("glass.sock");
    let config = format!("[profile.here]\nserver = \"unix:{}\"\nroots = \"pinned.json\"\n", socket.display());
    std::fs::write(home.join("verdict/config.toml"), &config).unwrap();
    with(&profile, &[]).ok();
    assert_eq!(with(&["tenants", "list", "--profile", "there"], &[]).error(), "profile");
    with(&["tenants", "list"], &[("VERDICT_SERVER", "unix:glass.sock")]).ok();
    // What is named on the command line counts, and a folder that is named is a folder.
    assert_eq!(
        with(&["tenants", "list", "--profile", "here"], &[("VERDICT_SERVER", "http://h:0")]).code,
        Some(0)
    );
    with(&["channels", "--registry", "."], &[("VERDICT_SERVER", "http://h:0")]).ok();
    std::fs::write(home.join("verdict/config.toml"), config + "tokn_file = \"s3cret\"\n").unwrap();
    let misspelt = with(&profile, &[]);
    assert_eq!(misspelt.error(), "profile");
    assert!(misspelt.out.contains("tokn_file"), "{}", misspelt.out);
}

/// Across an air gap: what one server has goes into another one, which takes it as it takes anything.
#[test]
fn a_bundle_of_one_server_goes_into_another() {
    let bank = Bank::new();
    let pins = ["--roots", "trust/roots.json"];
    let _first = bank.serve();
    let staging = ["--channel", "staging", "--key", "rita/releaser.key"];
    for arguments in [
        &["trust", "put", "trust"][..],
        &["push", "loan"],
        &["approve", VERSION, "--key", "bob/approver.key"],
        &[&["activate", "default/loan", "0.1.0"], &staging[..], &pins].concat(),
    ] {
        bank.run(&[arguments, OWNER].concat()).ok();
    }
    bank.site.write("limits.json", r#"{"loan": 10}"#);
    let put = ["data", "put", "default", "limits.json", "--key", "dina/data-signer.key"];
    bank.run(&[&put[..], OWNER, &pins].concat()).ok();
    bank.run(&[&["bundle", "save", "bundle.tar"], OWNER].concat()).ok();

    let other =
        ["--registry", "other.db", "--store", "other-blobs", "--state", "other", "--channel", "staging"];
    let second = bank.start(&[&other[..], &["--break-glass", "other.sock"]].concat());
    let at = ["--server", "unix:other.sock"];
    for _ in 0..2 {
        bank.run(&[&["bundle", "load", "bundle.tar"], &pins[..], &at].concat()).ok();
    }
    let channels = |at: &[&str]| bank.run(&[&["channels", "--history"], at].concat()).ok().out;
    assert_eq!(channels(&at), channels(OWNER));
    let found = bank.run(&[&["data", "get", "default"], &at[..]].concat()).ok().out;
    assert!(found.contains(r#""value":{"loan": 10}"#), "{found}");
    second.answers_with(1);
}

#[test]
fn a_host_that_follows_a_server_goes_on_without_it_and_catches_up() {
    let bank = Bank::new();
    let pins = ["--roots", "trust/roots.json"];
    let first = bank.serve();
    for arguments in [
        &["trust", "put", "trust"][..],
        &["push", "loan"],
        &["approve", VERSION, "--key", "bob/approver.key"],
    ] {
        bank.run(&[arguments, OWNER].concat()).ok();
    }
    let release = || {
        let activate =
            ["activate", "default/loan", "0.1.0", "--channel", "staging", "--key", "rita/releaser.key"];
        bank.run(&[&activate[..], OWNER, &pins].concat()).ok();
    };
    release();
    let second = bank.start(&["--follow", "unix:glass.sock", "--state", "second", "--channel", "staging"]);
    assert_eq!(second.sequence(), Some(1), "what is there at the start answers from the start");
    release();
    first.answers_with(2);
    second.answers_with(2);
    drop(first);
    assert_eq!(second.sequence(), Some(2));
    let first = bank.serve();
    release();
    first.answers_with(3);
    second.answers_with(3);
}

#[test]
fn a_server_that_cannot_be_as_it_is_told_does_not_start() {
    let bank = Bank::new();
    let registry = ["serve", "--registry", "catalogue.db", "--store", "blobs", "--listen", "127.0.0.1:0"];
    let with = |more: &[&str], status: i32, code: &str| {
        bank.fails(&[&registry[..], more].concat(), status, code);
    };
    let pins = ["--roots", "trust/roots.json"];
    let access = ["--access", "loan", "--access-trust", "trust.json", "--access-component"];
    let none = format!("sha256:{}", "0".repeat(64));
    with(&["--access", "loan"], 2, "usage");
    with(&["--jwt-issuer", "i", "--jwt-audience", "a", "--jwks", "keys.json"], 2, "usage");
    with(&["--activation-key", "night/releaser.key"], 2, "usage");
    with(&[&access[..], &[&none]].concat(), 2, "serve");
    with(&[&pins[..], &["--activation-key", "bob/approver.key"]].concat(), 2, "key-file");
    with(&["--roots", "trust.json"], 1, "malformed-trust");
    with(&["--roots", "limits.json"], 2, "file");
    with(&["--cors", "not an origin"], 2, "serve");
    let everywhere = [&registry[..5], &["--listen", "0.0.0.0:0"]].concat();
    assert!(bank.fails(&everywhere, 2, "serve").out.contains("--token-file"));
    bank.fails(&["serve", "--follow", "ftp://h", "--roots", "trust/roots.json"], 2, "address");
    bank.fails(&["serve", "--follow", "https://h:1"], 2, "usage");
    let unreached =
        ["serve", "--follow", "http://127.0.0.1:1", "--roots", "trust/roots.json", "--state", "s"];
    bank.fails(&unreached, 1, "unsigned");
}
