//! The real binary, from keys to answers, and what it says when it is given something wrong.

mod support;

use std::os::unix::fs::PermissionsExt as _;

use serde_json::{Value, json};
use support::{Site, build, verdict, verdict_with_input};

const QUESTION: &str = r#"{"user": "bob", "action": "write", "owner": "ann"}"#;

#[test]
fn keys_are_private_and_never_written_over() {
    let folder = tempfile::tempdir().unwrap();
    let made = verdict(folder.path(), &["--json", "keys", "new", "--person", "alice"]).ok().json();
    let key = folder.path().join("author.key");
    assert_eq!(key.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    let trust: Value =
        serde_json::from_slice(&std::fs::read(folder.path().join("trust.json")).unwrap()).unwrap();
    assert_eq!(
        trust["authors"][0],
        json!({"person": "alice", "public": made["public"], "policies": ["default/*"]})
    );
    assert_eq!(trust["version"], 1);

    let before = std::fs::read(&key).unwrap();
    let again = verdict(folder.path(), &["--json", "keys", "new"]);
    assert_eq!((again.code, again.error().as_str()), (Some(2), "exists"));
    assert_eq!(std::fs::read(&key).unwrap(), before);

    let shown = verdict(folder.path(), &["keys", "show", "author.key"]).ok();
    let secret: Value = serde_json::from_slice(&before).unwrap();
    assert!(shown.out.contains(made["fingerprint"].as_str().unwrap()));
    assert!(!shown.out.contains(secret["secret"].as_str().unwrap()));
}

#[test]
fn a_new_policy_builds_passes_its_cases_and_is_accepted_once_signed() {
    let site = Site::new();
    let tested = site.verdict(&["--json", "test"]).ok().json();
    assert_eq!((&tested["failed"], tested["passed"].as_u64() > Some(2)), (&json!(0), true));
    let inspected = site.verdict(&["--json", "inspect"]).ok().json();
    assert_eq!(inspected["imports"], json!(["verdict:policy/input@0.1.0"]));
    assert_eq!(inspected["instances"], json!({ "reset_in_place": true, "reason": null }));
    assert_eq!(inspected["signers"], json!([]));

    let unsigned = site.verdict(&["--json", "verify", "--trust", "../trust.json"]);
    assert_eq!((unsigned.code, unsigned.error().as_str()), (Some(1), "unsigned"));
    site.sign();
    let verified = site.verdict(&["--json", "verify", "--trust", "../trust.json"]).ok().json();
    assert_eq!(verified["signers"][0]["person"], "alice");
    // The signed manifest goes on serving the author's own commands.
    assert_eq!(site.verdict(&["--json", "inspect"]).ok().json()["signers"].as_array().unwrap().len(), 1);
    site.verdict(&["test"]).ok();
}

#[test]
fn the_same_sources_give_the_same_digests_wherever_they_are() {
    let (one, other) = (Site::new(), Site::new());
    let first = build(&one.path("loan"), &[]).ok().json();
    let second = build(&other.path("loan"), &["--out", "../elsewhere"]).ok().json();
    for member in ["component", "image"] {
        assert_eq!(first[member], second[member], "{member}");
    }
}

#[test]
fn evaluates_and_says_why() {
    let site = Site::new();
    let ask = |arguments: &[&str], input: &str| {
        let arguments = [&["--json", "eval", "--input", "-"], arguments].concat();
        verdict_with_input(&site.path("loan"), &arguments, input)
    };
    let denied = ask(&[], QUESTION).ok().json();
    assert_eq!(
        (&denied["allow"], &denied["value"], &denied["recorded"]),
        (&json!(false), &json!(false), &json!(false))
    );
    assert_eq!(denied["reasons"][0]["code"], "not-owner");
    assert!(denied["fuel"].as_u64() > Some(0));
    assert_eq!(ask(&[], QUESTION).json()["fuel"], denied["fuel"]);
    assert_eq!(ask(&["--exit-code"], QUESTION).code, Some(4));
    assert_eq!(ask(&["--exit-code"], &QUESTION.replace("write", "read")).code, Some(0));

    let fault = ask(&[], r#"{"user": "bob"}"#);
    assert_eq!((fault.code, &fault.json()["fault"]["code"]), (Some(3), &json!("invalid-input")));
    assert!(fault.json().get("fuel").is_none());

    site.write("loan/input.json", QUESTION);
    let explained = site.verdict(&["eval", "--input", "input.json", "--explain"]).ok().out;
    for expected in ["not-owner rests on:", "/owner", "\"ann\""] {
        assert!(explained.contains(expected), "{expected}: {explained}");
    }
}

#[test]
fn a_failed_case_shows_what_was_expected_and_what_came() {
    let site = Site::new();
    site.edit("loan/cases/allow.json", r#""reasons": ["not-owner"]"#, r#""reasons": ["nobody"]"#);
    let failed = site.verdict(&["test"]);
    assert_eq!(failed.code, Some(1));
    assert!(
        failed.out.contains("expected [nobody]") && failed.out.contains("got      [not-owner]"),
        "{}",
        failed.out
    );
    // The schema is checked where the answer alone would not show it.
    site.edit("loan/cases/allow.json", "\"nobody\"", "\"not-owner\"");
    site.edit("loan/cases/allow.json", r#""user": "ann""#, r#""user": "ann", "owner2": 1"#);
    site.verdict(&["test"]).ok();
    site.edit(
        "loan/schemas/allow.input.json",
        "\"type\": \"object\",",
        "\"type\": \"object\", \"additionalProperties\": false,",
    );
    build(&site.path("loan"), &[]).ok();
    let failed = site.verdict(&["--json", "test"]);
    assert_eq!(failed.code, Some(1));
    assert!(failed.out.contains("input schema") && failed.out.contains("owner2"), "{}", failed.out);
}

#[test]
fn refuses_a_foreign_key_and_a_changed_byte() {
    let site = Site::new();
    site.sign();
    verdict(&site.path(""), &["keys", "new", "--out", "other"]).ok();
    let foreign = site.verdict(&["--json", "verify", "--trust", "../other/trust.json"]);
    assert_eq!((foreign.code, foreign.error().as_str()), (Some(1), "unknown-signer"));

    let blobs = site.path("loan/target/verdict/loan/oci/blobs/sha256");
    let component = std::fs::read_dir(blobs).unwrap().map(|entry| entry.unwrap().path());
    let component = component.max_by_key(|path| path.metadata().unwrap().len()).unwrap();
    let mut bytes = std::fs::read(&component).unwrap();
    bytes[100] ^= 1;
    std::fs::write(&component, bytes).unwrap();
    for command in
        [&["verify", "--trust", "../trust.json"][..], &["inspect"], &["sign", "--key", "../author.key"]]
    {
        let refused = site.verdict(&[&["--json"], command].concat());
        assert_eq!((refused.code, refused.error().as_str()), (Some(1), "digest-mismatch"), "{command:?}");
    }
}

#[test]
fn an_import_that_is_not_granted_is_refused_with_the_line_that_grants_it() {
    let site = Site::new();
    site.edit(
        "loan/src/lib.rs",
        "if input.user == input.owner {",
        "verdict_sdk::diagnostics::log(\"asked\", &input.user);\n    if input.user == input.owner {",
    );
    let refused = build(&site.path("loan"), &[]);
    assert_eq!((refused.code, refused.error().as_str()), (Some(1), "undeclared-import"));
    assert!(refused.out.contains("`diagnostics = true` under `[capabilities]`"), "{}", refused.out);

    site.edit("loan/policy.toml", "# diagnostics = true", "diagnostics = true");
    site.edit("loan/policy.toml", "# decision_time = true", "decision_time = true");
    let built = build(&site.path("loan"), &[]).ok().json();
    assert!(built["imports"].to_string().contains("diagnostics"));
    assert!(built["warnings"].to_string().contains("decision-time"), "{built}");
    let asked = verdict_with_input(&site.path("loan"), &["eval", "--input", "-"], QUESTION).ok();
    assert!(asked.out.contains("asked: bob"), "{}", asked.out);
}

#[test]
fn a_wrong_policy_file_is_shown_with_line_and_column() {
    let site = Site::new();
    let cases = [
        ("licence =", "license =", "did you mean `licence`?", 5),
        ("version = \"0.1.0\"", "version = \"one\"", "", 3),
        ("name = \"loan\"", "name = \"../loan\"", "", 2),
        ("[build]", "[limits]\nfuel = 0\n[build]", "", 19),
        ("schemas/allow.input.json", "schemas/missing.json", "", 10),
        ("schemas/allow.input.json", "../outside.json", "below the folder", 10),
        ("[policy]", "[policy", "", 1),
    ];
    let good = std::fs::read_to_string(site.path("loan/policy.toml")).unwrap();
    for (from, to, help, line) in cases {
        site.edit("loan/policy.toml", from, to);
        let wrong = site.verdict(&["--json", "build"]);
        assert_eq!(wrong.code, Some(2), "{to}: {}", wrong.out);
        let error = wrong.json()["error"].clone();
        assert_eq!(error["line"], line, "{to}: {error}");
        assert!(error["help"].as_str().unwrap_or_default().contains(help), "{to}: {error}");
        site.write("loan/policy.toml", &good);
    }
}

#[test]
fn wrong_input_is_shown_with_line_and_column() {
    let site = Site::new();
    site.write("loan/bad.json", "{\n  \"user\": oops\n}");
    let wrong = site.verdict(&["--json", "eval", "--input", "bad.json"]);
    let error = wrong.json()["error"].clone();
    assert_eq!((wrong.code, &error["line"], &error["column"]), (Some(2), &json!(2), &json!(11)), "{error}");
    let people = site.verdict(&["eval", "--input", "bad.json"]);
    assert!(people.err.contains("bad.json:2:11") && people.out.is_empty(), "{}", people.err);
    let rule = site.verdict(&["--json", "eval", "--input", "bad.json", "--rule", "alow"]);
    assert_eq!(rule.json()["error"]["help"], "did you mean `allow`?");
    site.edit("loan/cases/allow.json", "\"expect\"", "\"expects\"");
    let cases = site.verdict(&["--json", "test"]);
    assert_eq!((cases.code, cases.error().as_str()), (Some(2), "case-file"));
    assert_eq!(cases.json()["error"]["help"], "did you mean `expect`?");
}

#[test]
fn what_is_missing_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let cases: &[(&[&str], i32, &str)] = &[
        (&["build"], 2, "no-policy"),
        (&["test"], 2, "no-cases"),
        (&["inspect"], 2, "not-built"),
        (&["inspect", "missing.wasm"], 2, "not-built"),
        (&["sign", "--key", "missing.key"], 2, "file"),
        (&["verify", "--trust", "missing.json"], 2, "file"),
        (&["eval", "--input", "-"], 2, "not-built"),
        (&["receipt", "show", "missing.json"], 2, "file"),
        (&["receipt", "verify", "missing.json", "--log-key", "nonsense"], 2, "log-key"),
        (&["replay", "some-id", "--state", "missing"], 2, "no-state"),
        (&["new", "Loan"], 2, "usage"),
        (&["new", "2fa"], 2, "name"),
        (&["new", "loan", "--sdk", "missing"], 2, "no-sdk"),
        (&["evaluate"], 2, "usage"),
    ];
    for (arguments, code, error) in cases {
        let ran = verdict(folder.path(), &[&["--json"], *arguments].concat());
        assert_eq!((ran.code, ran.error().as_str()), (Some(*code), *error), "{arguments:?}");
    }
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "a refused command leaves nothing");
}

#[test]
fn the_help_of_every_command_has_an_example() {
    let folder = tempfile::tempdir().unwrap();
    let commands = [
        "new", "build", "sign", "verify", "inspect", "eval", "test", "serve", "replay", "faults", "refusals",
    ];
    for command in commands {
        let help = verdict(folder.path(), &["help", command]).ok().out;
        assert!(help.contains("Example: verdict"), "{command}");
    }
    let help = verdict(folder.path(), &["--help"]).ok().out;
    assert!(help.contains("Exit status:") && !help.contains("compile-worker"), "{help}");
    assert!(verdict(folder.path(), &["help", "faults"]).ok().out.contains("out-of-fuel"));
}
