//! The story of `examples/bank.sh`, told to the end by the real programs.

use std::process::Command;

use verdict_tests::server::{binary, root};

#[test]
fn a_bank_publishes_approves_promotes_rolls_back_and_is_audited() {
    if !["curl", "jq"].iter().all(|tool| Command::new(tool).arg("--version").output().is_ok()) {
        println!("skipped: the story needs curl and jq");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let output = Command::new("timeout")
        .args(["600", "bash"])
        .arg(root().join("examples/bank.sh"))
        .env("VERDICT", binary())
        .env("BANK", folder.path().join("bank"))
        .output()
        .unwrap();
    let (said, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{said}\n{errors}");
    // What the script does not check itself: the guard reverted, and the auditor sees every step.
    assert!(
        said.contains(r#""version":"1.1.0","channel":"production","weight":1,"reverted":true"#),
        "{said}"
    );
    let (_, seen) = said.split_once("What the auditor sees").unwrap();
    let states = seen.lines().filter(|line| line.starts_with("bank/loan@production")).count();
    assert_eq!(states, 4, "{said}");
    assert_eq!(seen.lines().filter(|line| line.contains("channel.changed")).count(), 5, "{said}");
    assert!(said.trim_end().ends_with("bank: done"), "{said}");
}
