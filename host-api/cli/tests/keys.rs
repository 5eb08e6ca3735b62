//! Keys at rest and in a token, with the real binary and a real PKCS#11 library.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "clippy takes helpers of integration tests for production code"
)]

mod support;

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::{Value, json};
use support::{Ran, Site};

const WORDS: &str = "correct horse battery staple";
const OTHER: &str = "another good passphrase";

/// Runs `verdict` with variables of the environment.
fn with(folder: &Path, arguments: &[&str], variables: &[(&str, &str)]) -> Ran {
    let output = Command::new(env!("CARGO_BIN_EXE_verdict"))
        .args(arguments)
        .current_dir(folder)
        .env_remove("VERDICT_PASSPHRASE")
        .envs(variables.iter().copied())
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    let ran = Ran { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) };
    for secret in [WORDS, OTHER, "4711-pin"] {
        assert!(!ran.out.contains(secret) && !ran.err.contains(secret), "{}{}", ran.out, ran.err);
    }
    ran
}

fn file(path: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

#[test]
fn a_key_is_encrypted_with_a_passphrase_from_a_file_or_the_environment() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("words"), format!("{WORDS}\n")).unwrap();
    let made = with(folder.path(), &["--json", "keys", "new", "--passphrase-file", "words"], &[]).ok();
    assert_eq!((&made.json()["encrypted"], made.json().get("warnings")), (&json!(true), None));
    let key = folder.path().join("author.key");
    assert_eq!(key.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(file(&key)["format"], "verdict-key/2");
    // The first of a file and a variable is the file.
    let arguments = ["--json", "keys", "decrypt", "author.key", "--passphrase-file", "words"];
    let plain = with(folder.path(), &arguments, &[("VERDICT_PASSPHRASE", OTHER)]).ok().json();
    assert_eq!((&plain["public"], &plain["encrypted"]), (&made.json()["public"], &json!(false)));
    assert!(plain["warnings"].to_string().contains("NOT ENCRYPTED"));
    assert_eq!(file(&key)["format"], "verdict-key/1");
    with(folder.path(), &["keys", "encrypt", "author.key"], &[("VERDICT_PASSPHRASE", OTHER)]).ok();
    assert_eq!(key.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 3, "nothing else is left there");
    let shown = with(folder.path(), &["--json", "keys", "show", "author.key"], &[]).ok().json();
    assert_eq!((&shown["public"], &shown["encrypted"]), (&made.json()["public"], &json!(true)));
}

#[test]
fn a_key_that_nothing_protects_is_called_so() {
    let folder = tempfile::tempdir().unwrap();
    let loud = with(folder.path(), &["keys", "new"], &[]).ok();
    assert!(loud.err.contains("NOT ENCRYPTED"), "{}", loud.err);
    let asked = ["--json", "keys", "new", "--role", "approver", "--unencrypted"];
    let made = with(folder.path(), &asked, &[("VERDICT_PASSPHRASE", WORDS)]).ok().json();
    assert_eq!(made["encrypted"], false);
    assert_eq!(file(&folder.path().join("approver.key"))["role"], "approver");
    let shown = with(folder.path(), &["keys", "show", "approver.key"], &[]).ok().out;
    assert!(shown.contains("not encrypted") && shown.contains("`approvers`"), "{shown}");
}

#[test]
fn the_passphrase_changes_and_the_old_one_opens_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let old = [("VERDICT_PASSPHRASE", WORDS)];
    let made = with(folder.path(), &["--json", "keys", "new", "--role", "root"], &old).ok().json();
    assert!(!folder.path().join("trust.json").exists());
    let change = ["--json", "keys", "change-passphrase", "root.key"];
    let unchanged = with(folder.path(), &change, &old);
    assert_eq!((unchanged.code, unchanged.error().as_str()), (Some(2), "passphrase"));
    let both = [old[0], ("VERDICT_NEW_PASSPHRASE", OTHER)];
    assert_eq!(with(folder.path(), &change, &both).ok().json()["public"], made["public"]);
    let refused = with(folder.path(), &["--json", "keys", "decrypt", "root.key"], &old);
    assert_eq!((refused.code, refused.error().as_str()), (Some(2), "passphrase"));
    with(folder.path(), &["keys", "decrypt", "root.key"], &[("VERDICT_PASSPHRASE", OTHER)]).ok();
}

#[test]
fn what_cannot_be_done_with_a_key_is_said_and_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let words = [("VERDICT_PASSPHRASE", WORDS)];
    with(folder.path(), &["keys", "new", "--role", "log", "--unencrypted"], &[]).ok();
    with(folder.path(), &["keys", "new"], &words).ok();
    let read = |name: &str| std::fs::read(folder.path().join(name)).unwrap();
    let before = (read("log.key"), read("author.key"));
    type Case<'a> = (&'a [&'a str], &'a [(&'a str, &'a str)], &'a str);
    let cases: &[Case] = &[
        (&["encrypt", "author.key"], &words, "encrypted"),
        (&["encrypt", "log.key"], &[], "passphrase"),
        (&["encrypt", "log.key"], &[("VERDICT_PASSPHRASE", "short")], "passphrase"),
        (&["encrypt", "log.key", "--passphrase-file", "missing"], &words, "file"),
        (&["decrypt", "log.key"], &words, "not-encrypted"),
        (&["decrypt", "author.key"], &[], "passphrase"),
        (&["change-passphrase", "log.key"], &words, "not-encrypted"),
        (&["new", "--role", "log"], &words, "exists"),
        (&["new", "--role", "somebody"], &words, "usage"),
        (&["new", "--out", "new"], &[("VERDICT_PASSPHRASE", "")], "passphrase"),
        (&["show", "trust.json"], &[], "key-file"),
        (&["show", "pkcs11:token=a;object=b?module-path=/p&pin-value=4711-pin"], &[], "pkcs11-uri"),
        (&["new", "--token", "token"], &[], "pkcs11-uri"),
    ];
    for (arguments, variables, error) in cases {
        let ran = with(folder.path(), &[&["--json", "keys"], *arguments].concat(), variables);
        assert_eq!((ran.code, ran.error().as_str()), (Some(2), *error), "{arguments:?}: {}", ran.out);
    }
    assert_eq!((read("log.key"), read("author.key")), before);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 3);
}

#[test]
fn an_encrypted_key_signs_and_only_in_its_role() {
    let site = Site::new();
    let words = [("VERDICT_PASSPHRASE", WORDS)];
    with(&site.path(""), &["keys", "encrypt", "author.key"], &words).ok();
    with(&site.path(""), &["keys", "new", "--role", "approver"], &words).ok();
    let sign = |key: &str, variables: &[(&str, &str)]| {
        with(&site.path("loan"), &["--json", "sign", "--key", key], variables)
    };
    for (key, variables, error) in [
        ("../author.key", &[][..], "passphrase"),
        ("../author.key", &[("VERDICT_PASSPHRASE", OTHER)], "passphrase"),
        ("../approver.key", &words, "key-file"),
    ] {
        let refused = sign(key, variables);
        assert_eq!((refused.code, refused.error().as_str()), (Some(2), error), "{key}");
    }
    sign("../author.key", &words).ok();
    site.verdict(&["verify", "--trust", "../trust.json"]).ok();
}

/// SoftHSM, and a folder with one token of its own.
struct Hsm {
    module: PathBuf,
    util: PathBuf,
    folder: tempfile::TempDir,
}

impl Hsm {
    /// None, with the reason on stderr, where there is no SoftHSM.
    fn new() -> Option<Self> {
        if !cfg!(feature = "pkcs11") {
            eprintln!("skipped: this `verdict` is built without PKCS#11");
            return None;
        }
        let tools = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/tools/softhsm");
        let places = [PathBuf::from("/"), tools];
        let here = |place: &PathBuf| {
            let libraries =
                ["usr/lib/softhsm/libsofthsm2.so", "usr/lib/x86_64-linux-gnu/softhsm/libsofthsm2.so"];
            let module = libraries.iter().map(|path| place.join(path)).find(|path| path.is_file())?;
            let util = Some(place.join("usr/bin/softhsm2-util")).filter(|path| path.is_file())?;
            Some((module.canonicalize().unwrap(), util.canonicalize().unwrap()))
        };
        let Some((module, util)) = places.iter().find_map(here) else {
            eprintln!(
                "skipped: there is no SoftHSM; install the package softhsm2, or unpack it below target/tools/softhsm"
            );
            return None;
        };
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("tokens")).unwrap();
        let settings = format!("directories.tokendir = {}\n", folder.path().join("tokens").display());
        std::fs::write(folder.path().join("softhsm2.conf"), settings).unwrap();
        std::fs::write(folder.path().join("pin"), "4711-pin\n").unwrap();
        let hsm = Self { module, util, folder };
        hsm.token("bank");
        Some(hsm)
    }

    fn variable(&self) -> (&str, String) {
        ("SOFTHSM2_CONF", self.folder.path().join("softhsm2.conf").display().to_string())
    }

    fn token(&self, label: &str) {
        let (name, value) = self.variable();
        let arguments =
            ["--init-token", "--free", "--label", label, "--so-pin", "0815-so", "--pin", "4711-pin"];
        let output = Command::new(&self.util).args(arguments).env(name, value).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    fn uri(&self, selection: &str) -> String {
        let pin = self.folder.path().join("pin");
        format!("pkcs11:{selection}?module-path={}&pin-source=file:{}", self.module.display(), pin.display())
    }

    fn verdict(&self, folder: &Path, arguments: &[&str]) -> Ran {
        let (name, value) = self.variable();
        with(folder, &[&["--json"], arguments].concat(), &[(name, &value)])
    }
}

#[test]
fn a_key_in_a_token_signs_what_a_host_accepts() {
    let Some(hsm) = Hsm::new() else { return };
    let site = Site::new();
    let loan = site.path("loan");
    let uri = hsm.uri("token=bank;object=release%20key");
    let made = hsm.verdict(&loan, &["keys", "new", "--token", &uri]).ok().json();
    let shown = hsm.verdict(&loan, &["keys", "show", &uri]).ok().json();
    assert_eq!((&shown["public"], &shown["encrypted"]), (&made["public"], &Value::Null));

    let stranger = hsm.verdict(&loan, &["sign", "--key", &uri]).ok().json();
    assert_eq!(stranger["public"], made["public"]);
    let unknown = site.verdict(&["--json", "verify", "--trust", "../trust.json"]);
    assert_eq!((unknown.code, unknown.error().as_str()), (Some(1), "unknown-signer"));
    let mut trust = file(&site.path("trust.json"));
    trust["authors"][0]["public"] = made["public"].clone();
    site.write("trust.json", &trust.to_string());
    let verified = site.verdict(&["--json", "verify", "--trust", "../trust.json"]).ok().json();
    assert_eq!(verified["signers"][0]["fingerprint"], made["fingerprint"]);
}

#[test]
fn a_token_is_asked_for_one_key_and_says_why_it_does_not_sign() {
    let Some(hsm) = Hsm::new() else { return };
    hsm.token("other");
    let site = Site::new();
    let loan = site.path("loan");
    let uri = hsm.uri("token=bank;object=a");
    hsm.verdict(&loan, &["keys", "new", "--token", &uri]).ok();
    hsm.verdict(&loan, &["keys", "new", "--token", &hsm.uri("token=bank;object=b;id=a")]).ok();
    std::fs::write(hsm.folder.path().join("wrong"), "0000").unwrap();
    let cases = [
        (vec!["keys", "new", "--token", &uri], "exists"),
        (vec!["sign", "--key", &hsm.uri("token=bank;object=c")], "pkcs11"),
        (vec!["sign", "--key", &hsm.uri("token=bank;id=a")], "pkcs11"),
        (vec!["sign", "--key", &hsm.uri("token=vault;object=a")], "pkcs11"),
        (vec!["sign", "--key", &hsm.uri("token=other;object=a")], "pkcs11"),
        (vec!["sign", "--key", &uri.replace("/pin", "/wrong")], "pin"),
        (vec!["sign", "--key", uri.split("&pin").next().unwrap()], "pin"),
        (vec!["sign", "--key", &uri.replace("/pin", "/missing")], "file"),
    ]
    .map(|(arguments, error)| (arguments.into_iter().map(str::to_owned).collect::<Vec<_>>(), error));
    for (arguments, error) in cases {
        let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
        let ran = hsm.verdict(&loan, &arguments);
        assert_eq!((ran.code, ran.error().as_str()), (Some(2), error), "{arguments:?}: {}", ran.out);
    }
    let no_library = hsm.uri("token=bank;object=a").replace("libsofthsm2", "nothing");
    let ran = hsm.verdict(&loan, &["sign", "--key", &no_library]);
    assert_eq!((ran.code, ran.error().as_str()), (Some(5), "pkcs11"), "{}", ran.out);
}
