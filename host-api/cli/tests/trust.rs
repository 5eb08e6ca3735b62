//! From root keys to a version that others approved, with the real binary and folders.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "clippy takes helpers of integration tests for production code"
)]

mod support;

use std::path::Path;

use serde_json::{Value, json};
use support::{Ran, Site, verdict};

const TESTS: &str = "https://in-toto.io/attestation/test-result/v0.1";

/// A folder with a key of each role and of each person, and a trust policy that two root keys signed.
struct Bank {
    site: Site,
}

impl Bank {
    fn new() -> Self {
        let site = Site::new();
        site.sign();
        let bank = Self { site };
        for (person, role) in [
            ("ann", "root"),
            ("rob", "root"),
            ("bob", "approver"),
            ("eve", "approver"),
            ("alice", "approver"),
            ("ci", "attester"),
            ("dave", "revoker"),
        ] {
            bank.run(&["keys", "new", "--role", role, "--unencrypted", "--out", person]).ok();
        }
        std::fs::create_dir(bank.site.path("trust")).unwrap();
        let mut trust = bank.file("trust.json");
        let grant = |person: &str, role: &str| json!({"person": person, "public": bank.public(person, role), "policies": ["default/*"]});
        trust["approvers"] =
            json!([grant("bob", "approver"), grant("eve", "approver"), grant("alice", "approver")]);
        trust["attesters"] = json!([grant("ci", "attester")]);
        trust["rules"] = json!([{
            "policies": ["default/*"], "approvals": 2,
            "statements": [{"predicate": TESTS, "require": {"/result": "PASSED"}}],
        }]);
        bank.site.write("trust/trust.json", &trust.to_string());
        bank
    }

    /// Runs `verdict` beside the keys.
    fn run(&self, arguments: &[&str]) -> Ran {
        verdict(&self.site.path(""), &[&["--json"], arguments].concat())
    }

    fn file(&self, path: &str) -> Value {
        serde_json::from_slice(&std::fs::read(self.site.path(path)).unwrap()).unwrap()
    }

    fn public(&self, person: &str, role: &str) -> String {
        self.file(&format!("{person}/{role}.key"))["public"].as_str().unwrap().to_owned()
    }

    fn init(&self) {
        let rob = self.public("rob", "root");
        let init = ["trust", "init", "trust", "--key", "ann/root.key", "--root", &rob, "--threshold", "2"];
        let made = self.run(&init).ok().json();
        assert_eq!((&made["version"], made["signers"].as_array().unwrap().len()), (&json!(2), 1));
        self.run(&["trust", "sign", "trust", "--key", "rob/root.key"]).ok();
        self.run(&["trust", "check", "trust"]).ok();
    }

    fn approve(&self, person: &str) -> Ran {
        self.run(&["approve", "loan", "--key", &format!("{person}/approver.key")])
    }

    fn verify(&self) -> Ran {
        self.run(&["verify", "loan", "--trust", "trust"])
    }

    fn refused(&self, expected: &str, says: &str) {
        let ran = self.verify();
        assert_eq!((ran.code, ran.error().as_str()), (Some(1), expected), "{}", ran.out);
        assert!(ran.out.contains(says), "{says}: {}", ran.out);
    }

    fn attest(&self, predicate: &str) -> Ran {
        self.site.write("result.json", predicate);
        self.run(&[
            "attest",
            "loan",
            "--key",
            "ci/attester.key",
            "--type",
            TESTS,
            "--predicate",
            "result.json",
        ])
    }
}

#[test]
fn what_two_people_approved_and_passed_its_tests_is_admitted() {
    let bank = Bank::new();
    bank.init();
    bank.refused("not-approved", "nobody");
    bank.approve("bob").ok();
    // The author's own approval is signed well, and counts for nothing.
    bank.approve("alice").ok();
    bank.refused("not-approved", "approved by `bob`");
    bank.approve("eve").ok();
    bank.refused("missing-statement", TESTS);
    bank.attest(r#"{"result": "FAILED"}"#).ok();
    bank.refused("missing-statement", "does not say what the rule requires");
    bank.attest(r#"{"result": "PASSED", "cases": 12}"#).ok();
    let verified = bank.verify().ok().json();
    let said: Vec<_> =
        verified["attached"].as_array().unwrap().iter().map(|one| &one["signer"]["person"]).collect();
    for person in ["bob", "eve", "ci"] {
        assert!(said.contains(&&json!(person)), "{said:?}");
    }
    let people = verdict(&bank.site.path(""), &["verify", "loan", "--trust", "trust"]).ok().out;
    assert!(people.contains("does not count"), "{people}");
    let inspected = bank.run(&["inspect", "loan"]).ok().json();
    assert_eq!(inspected["signers"].as_array().unwrap().len(), 1);
    assert_eq!(inspected["attached"].as_array().unwrap().len(), 5);
    // A change is another statement, which nobody has approved.
    bank.site.edit("loan/policy.toml", "version = \"0.1.0\"", "version = \"0.2.0\"");
    support::build(&bank.site.path("loan"), &[]).ok();
    bank.site.sign();
    bank.refused("not-approved", "nobody");
}

#[test]
fn versions_follow_each_other_with_enough_root_keys_and_nothing_else_counts() {
    let bank = Bank::new();
    let rob = bank.public("rob", "root");
    bank.run(&["trust", "init", "trust", "--key", "ann/root.key", "--root", &rob, "--threshold", "2"]).ok();
    let check = |code: &str| {
        let ran = bank.run(&["trust", "check", "trust"]);
        assert_eq!((ran.code, ran.error().as_str()), (Some(1), code), "{}", ran.out);
    };
    check("too-few-signers");
    // Nothing is built on a version that no host takes.
    let early = bank.run(&["trust", "sign", "trust", "--renew", "--key", "ann/root.key"]);
    assert_eq!(early.error(), "too-few-signers");
    bank.run(&["trust", "sign", "trust", "--key", "rob/root.key"]).ok();
    bank.run(&["trust", "check", "trust"]).ok();

    bank.site.edit("trust/trust.json", "\"bob\"", "\"barbara\"");
    let warned = bank.run(&["trust", "check", "trust"]).ok().json();
    assert!(warned["warnings"].to_string().contains("trust.json"), "{warned}");
    let next = bank.run(&["trust", "sign", "trust", "--key", "ann/root.key"]).ok().json();
    assert_eq!(next["version"], 3);
    check("too-few-signers");
    bank.run(&["trust", "sign", "trust", "--key", "rob/root.key"]).ok();
    bank.run(&["trust", "check", "trust"]).ok();
    let shown = verdict(&bank.site.path(""), &["trust", "show", "trust"]).ok().out;
    assert!(
        shown.contains("barbara") && shown.contains("2 of 2 root keys") && shown.contains(TESTS),
        "{shown}"
    );

    // Without version 2 nothing leads from the pinned keys to version 4 when those keys have changed since.
    let (ann, new) =
        (bank.public("ann", "root"), bank.run(&["keys", "new", "--role", "root", "--out", "new"]).ok());
    let new = new.json()["public"].as_str().unwrap().to_owned();
    bank.site.edit("trust/trust.json", &ann, &new);
    for key in ["ann/root.key", "rob/root.key", "new/root.key"] {
        bank.run(&["trust", "sign", "trust", "--key", key]).ok();
    }
    bank.run(&["trust", "check", "trust"]).ok();
    for key in ["rob/root.key", "new/root.key"] {
        let renew: &[&str] = if key.starts_with("rob") { &["--renew"] } else { &[] };
        bank.run(&[&["trust", "sign", "trust", "--key", key], renew].concat()).ok();
    }
    assert_eq!(bank.run(&["trust", "check", "trust"]).ok().json()["version"], 5);
    let retired = bank.run(&["trust", "sign", "trust", "--key", "ann/root.key"]);
    assert_eq!((retired.code, retired.error().as_str()), (Some(2), "key-file"));
    std::fs::remove_file(bank.site.path("trust/trust-4.dsse")).unwrap();
    check("too-few-signers");
}

#[test]
fn what_is_revoked_is_not_admitted() {
    let bank = Bank::new();
    bank.site.edit("trust/trust.json", "\"approvals\":2", "\"approvals\":1");
    let mut trust = bank.file("trust/trust.json");
    trust["rules"][0]["statements"] = json!([]);
    trust["revokers"] = json!([{"person": "dave", "public": bank.public("dave", "revoker")}]);
    bank.site.write("trust/trust.json", &trust.to_string());
    bank.init_revoking();
    bank.approve("bob").ok();
    bank.approve("eve").ok();
    bank.refused("revocations-missing", "revokers");
    let revoke = |arguments: &[&str]| {
        bank.run(&[&["revoke", "--trust", "trust", "--key", "dave/revoker.key"], arguments].concat())
    };
    assert_eq!(revoke(&[]).ok().json()["sequence"], 1);
    bank.verify().ok();
    revoke(&["--public", &bank.public("bob", "approver")]).ok();
    bank.verify().ok();
    let both = revoke(&["--public", &bank.public("eve", "approver")]).ok().json();
    assert_eq!((&both["sequence"], both["keys"].as_array().unwrap().len()), (&json!(3), 2));
    bank.refused("not-approved", "revoked");
    revoke(&["--release", "default/loan@0.1.0"]).ok();
    bank.refused("revoked", "0.1.0");
    let before = std::fs::read(bank.site.path("trust/revocations.dsse")).unwrap();
    for (arguments, code, error) in [
        (&["--release", "default/loan"][..], 2, "usage"),
        (&["--release", "default/loan@one"], 2, "usage"),
        (&["--public", "AAAA"], 2, "usage"),
        (&["--digest", "sha256:00"], 2, "usage"),
        // Whoever revokes the revoker's own key needs another one to say so.
        (&["--public", &bank.public("dave", "revoker")], 1, "key-revoked"),
    ] {
        let ran = revoke(arguments);
        assert_eq!((ran.code, ran.error().as_str()), (Some(code), error), "{arguments:?}: {}", ran.out);
    }
    assert_eq!(std::fs::read(bank.site.path("trust/revocations.dsse")).unwrap(), before);
}

impl Bank {
    fn init_revoking(&self) {
        self.run(&["trust", "init", "trust", "--key", "ann/root.key"]).ok();
    }
}

#[test]
fn what_cannot_be_signed_is_said_and_changes_nothing() {
    let bank = Bank::new();
    let cases: &[(&[&str], i32, &str)] = &[
        (&["trust", "init", "trust", "--key", "bob/approver.key"], 2, "key-file"),
        (&["trust", "init", "trust", "--key", "ann/root.key", "--threshold", "2"], 2, "trust-file"),
        (&["trust", "sign", "trust", "--key", "ann/root.key"], 2, "trust-file"),
        (&["trust", "check", "trust"], 2, "file"),
        (&["trust", "show", "missing"], 2, "file"),
        (&["approve", "loan", "--key", "author.key"], 2, "key-file"),
        (&["approve", "bob", "--key", "bob/approver.key"], 2, "not-built"),
        (&["attest", "loan", "--key", "ci/attester.key", "--type", "a", "--predicate", "missing"], 2, "file"),
        (
            &["attest", "loan", "--key", "ci/attester.key", "--type", "a", "--predicate", "twice.json"],
            2,
            "json",
        ),
        (
            &[
                "attest",
                "loan",
                "--key",
                "ci/attester.key",
                "--type",
                "urn:verdict:approval:v1",
                "--predicate",
                "trust.json",
            ],
            2,
            "predicate-type",
        ),
        (&["revoke", "--trust", "trust", "--key", "dave/revoker.key"], 2, "file"),
    ];
    bank.site.write("twice.json", r#"{"a": 1, "a": 2}"#);
    let before = listing(&bank.site.path(""));
    for (arguments, code, error) in cases {
        let ran = bank.run(arguments);
        assert_eq!((ran.code, ran.error().as_str()), (Some(*code), *error), "{arguments:?}: {}", ran.out);
    }
    assert_eq!(listing(&bank.site.path("")), before);
    let unsigned = Site::new();
    let ran = unsigned.verdict(&[
        "--json",
        "approve",
        "--key",
        bank.site.path("bob/approver.key").to_str().unwrap(),
    ]);
    assert_eq!((ran.code, ran.error().as_str()), (Some(2), "unsigned"));
    bank.init();
    let again = bank.run(&["trust", "init", "trust", "--key", "ann/root.key"]);
    assert_eq!((again.code, again.error().as_str()), (Some(2), "exists"));
}

/// Every file below a folder, with its size.
fn listing(folder: &Path) -> Vec<(String, u64)> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(listing(&path));
        } else {
            found.push((path.display().to_string(), path.metadata().unwrap().len()));
        }
    }
    found.sort();
    found
}
