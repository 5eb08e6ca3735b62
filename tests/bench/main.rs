//! The figures of `make bench`: evaluation and loading, the ledger, and one policy over HTTP beside a bare server and
//! Open Policy Agent. Prints a table and writes `target/bench/results.json`.
//!
//! Built with --release it takes the `verdict` that was built so too.

mod bare;
mod figures;
mod http;
mod opa;
mod process;

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use figures::Figures;
use verdict_tests::server::{binary, library, root, text};

/// The policy that is asked everywhere.
pub(crate) const POLICY: &str = "role-based-access";
/// The question: the answer needs the data of one role and some of its grants.
pub(crate) const INPUT: &str = r#"{"user": "bob", "action": "update", "type": "cat"}"#;

/// A program of ours that only measures takes no longer.
const PART_TIME_MAX: Duration = Duration::from_secs(180);

fn main() {
    let mut arguments = std::env::args().skip(1);
    if arguments.next().as_deref() == Some(bare::ARGUMENT) {
        return bare::serve(&arguments.next().expect("the answer's file follows"));
    }
    let folder = root().join("target/bench");
    std::fs::create_dir_all(&folder).expect("a folder can be made");
    let mut figures = Figures::new();
    part(&mut figures, engine());
    part(&mut figures, ledger());
    http::measure(&mut figures, seconds());
    print!("{}", figures.table());
    std::fs::write(folder.join("results.json"), figures.json()).expect("the results can be written");
}

/// How long one load of HTTP lasts.
fn seconds() -> u64 {
    let text = std::env::var("BENCH_SECONDS").unwrap_or_else(|_| "6".into());
    text.parse()
        .ok()
        .filter(|seconds| (1..=60).contains(seconds))
        .expect("BENCH_SECONDS is a number from 1 to 60")
}

/// The data of the policy, for us and for the peer.
pub(crate) fn data() -> PathBuf {
    root().join("guest-policies/library").join(POLICY).join("data.json")
}

/// A bench target of a package, built as `verdict` is: with its features of shared dependencies.
fn cargo(arguments: &[&str]) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or("cargo".into()));
    command.args(["bench", "--quiet", "-p", "verdict-cli"]).args(arguments).current_dir(root());
    command
}

fn engine() -> Command {
    let mut command =
        cargo(&["-p", "verdict-engine", "--features", "verdict-engine/bench", "--bench", "decide"]);
    command
        .env("VERDICT_BENCH_BUILD", library().join(POLICY))
        .env("VERDICT_BENCH_COMMAND", binary())
        .env("VERDICT_BENCH_DATA", data())
        .env("VERDICT_BENCH_INPUT", INPUT);
    command
}

fn ledger() -> Command {
    cargo(&["-p", "verdict-ledger", "--bench", "append"])
}

/// Runs a program that prints figures as lines of JSON.
fn part(figures: &mut Figures, mut command: Command) {
    let name = command.get_args().last().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    eprintln!("bench: {name}");
    let output = process::output(&mut command, PART_TIME_MAX);
    let lines = output.lines().filter(|line| line.starts_with('{'));
    let count = lines.map(|line| figures.add_json(line)).count();
    assert!(count > 0, "`{name}` printed no figures: {output}");
}

/// A path below the folder of the policy library, as an argument.
pub(crate) fn library_file(name: &str) -> String {
    text(&root().join("guest-policies/library").join(POLICY).join(name)).into()
}
