//! The README, to the letter: its policy is the one that `verdict new` writes, its commands run, its answer comes.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use verdict_tests::server::{binary, root};

/// The code blocks of one language, in order.
fn blocks(language: &str) -> Vec<String> {
    let readme = std::fs::read_to_string(root().join("README.md")).unwrap();
    let fence = format!("```{language}\n");
    let parts = readme.split(&fence).skip(1);
    parts.map(|part| part.split("```").next().unwrap().to_owned()).collect()
}

fn commands(block: &str) -> impl Iterator<Item = &str> {
    block.lines().filter_map(|line| line.strip_prefix("$ "))
}

/// Runs one command line as a person would, with `verdict` on the path.
fn run(command: &str, folder: &Path) -> String {
    let path = format!("{}:{}", binary().parent().unwrap().display(), std::env::var("PATH").unwrap());
    let output = Command::new("bash")
        .args(["-c", command])
        .current_dir(folder)
        .env("PATH", path)
        .env("CARGO_TARGET_DIR", root().join("target/test-guests"))
        .output()
        .unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "`{command}` failed: {error}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn the_policy_is_the_one_that_new_writes() {
    let template = std::fs::read_to_string(root().join("sdk/rust/template/src/lib.rs")).unwrap();
    let policy = blocks("rust").remove(0);
    assert!(policy.lines().filter(|line| !line.is_empty()).count() <= 25);
    assert!(template.starts_with(policy.trim_end()), "the README shows another policy than the template");
}

#[test]
fn the_commands_run_and_the_answer_comes() {
    let site = tempfile::tempdir().unwrap();
    let mut folder: PathBuf = site.path().into();
    let blocks_of_commands = blocks("console");
    let [two, setup, ask, prove] = blocks_of_commands.as_slice() else { panic!("expected four blocks") };
    let shown = blocks("json").remove(0);
    assert!(commands(two).all(|command| command.starts_with("make ")));
    let mut server = None;
    for command in commands(setup) {
        if let Some(to) = command.strip_prefix("cd ") {
            folder = folder.join(to);
        } else if command.starts_with("verdict serve") {
            server = Some(Serving::start(command, &folder));
        } else {
            run(command, &folder);
        }
    }
    let server = server.expect("the README serves");
    let here = |command: &str| command.replace("127.0.0.1:8181", &server.address);
    for command in commands(ask) {
        let answer: Value = serde_json::from_str(&run(&here(command), &folder)).unwrap();
        let shown: Value = serde_json::from_str(&shown).unwrap();
        let (answer, shown) = (answer.as_object().unwrap(), shown.as_object().unwrap());
        assert_eq!(answer.keys().collect::<Vec<_>>(), shown.keys().collect::<Vec<_>>());
        for member in ["decision_id", "policy", "version", "rule", "allow", "value", "reasons", "recorded"] {
            assert_eq!(answer[member], shown[member], "{member}");
        }
        // Which fuel depends on the compiler that built the component.
        assert!(answer["fuel"].as_u64().is_some_and(|fuel| fuel > 0) && shown["fuel"].is_u64());
    }
    for command in commands(prove) {
        run(&here(command), &folder);
    }
}

struct Serving {
    child: std::process::Child,
    address: String,
}

impl Serving {
    fn start(command: &str, folder: &Path) -> Self {
        let arguments = command.split_whitespace().skip(1).chain(["--listen", "127.0.0.1:0"]);
        let mut child = Command::new(binary())
            .args(arguments)
            .current_dir(folder)
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let out = std::io::BufReader::new(child.stdout.take().unwrap());
        let line = std::io::BufRead::lines(out)
            .map_while(Result::ok)
            .find_map(|line| line.strip_prefix("listening on ").map(|address| address.trim().to_owned()));
        match line {
            Some(address) => Self { child, address },
            None => {
                let _ = child.kill();
                panic!("the server did not start");
            }
        }
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
