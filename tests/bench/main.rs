//! The figures of `make bench`: decisions beside other engines on the same work, documents, fuel, the ledger, and one
//! policy over HTTP beside a bare server, Open Policy Agent and Cerbos. Prints a table and writes `target/bench/results.json`.
//! README.md says what each figure is.
//!
//! It takes the `verdict` that was built in the same profile of cargo.

mod bare;
mod cache;
mod cerbos;
mod cluster;
mod figures;
mod http;
mod neighbour;
mod opa;
mod peers;
mod plan;
mod process;
mod registry;
mod rounds;
mod scaling;
mod train;
mod uneven;
mod wrk;

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use figures::Figures;
use rounds::Contestant;
use verdict_tests::server::{binary, library, root, text};
use wrk::Wrk;

/// The policy that is asked everywhere.
pub(crate) const POLICY: &str = "role-based-access";
/// The question: the answer needs the data of one role and some of its grants.
pub(crate) const INPUT: &str = r#"{"user": "bob", "action": "update", "type": "cat"}"#;

/// A program of ours that only measures takes no longer.
const PART_TIME_MAX: Duration = Duration::from_secs(400);

/// The parts, in the order in which they run; `BENCH_ONLY` names some of them, with commas.
const PARTS: [&str; 15] = [
    "decide",
    "peers",
    "document",
    "data",
    "fuel",
    "hostile",
    "languages",
    "ledger",
    "load",
    "http",
    "scaling",
    "cluster",
    "tenancy",
    "cache",
    "registry",
];

/// Programs of the engine that measure by themselves.
const PROGRAMS: [&str; 5] = ["document", "data", "fuel", "hostile", "languages"];

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.split_first() {
        Some((name, rest)) if name == bare::ARGUMENT => return bare::serve(rest),
        Some((name, rest)) if name == neighbour::ARGUMENT => return neighbour::make_noise(rest),
        Some((name, _)) if name == train::ARGUMENT => return train::run(),
        _ => {}
    }
    let only = std::env::var("BENCH_ONLY").unwrap_or_default();
    let only: Vec<&str> = only.split(',').filter(|part| !part.is_empty()).collect();
    assert!(only.iter().all(|part| PARTS.contains(part)), "BENCH_ONLY names some of {PARTS:?}");
    let wanted = |part: &str| only.is_empty() || only.contains(&part);
    let mut figures = Figures::new();
    contest(&mut figures, wanted("decide"), wanted("peers"));
    for name in PROGRAMS.into_iter().filter(|name| wanted(name)) {
        match missing(name) {
            None => part(&mut figures, engine(name)),
            Some(needed) => figures.skip(name, &format!("there is no `{needed}`")),
        }
    }
    if wanted("ledger") {
        part(&mut figures, cargo(&["-p", "verdict-ledger", "--bench", "append"]));
    }
    if wanted("load") {
        let build = library().join("agent-guardrail");
        let mut program = cargo(&["-p", "verdict", "--bench", "load"]);
        program.env("VERDICT_BENCH_BUILD", build);
        part(&mut figures, program);
    }
    match Wrk::find() {
        None => figures.skip("http, scaling, cluster", "wrk is not there; see `make bench`"),
        Some(wrk) => loads(&mut figures, &wrk, wanted),
    }
    if wanted("tenancy") {
        neighbour::measure(&mut figures, seconds());
    }
    if wanted("cache") {
        cache::measure(&mut figures);
    }
    if wanted("registry") {
        registry::measure(&mut figures, seconds());
    }
    print!("{}", figures.table());
    // What was not measured in the same run is not in the same file.
    let file = if only.is_empty() { "results.json" } else { "results-part.json" };
    std::fs::write(root().join("target/bench").join(file), figures.json())
        .expect("the results can be written");
}

/// What wrk measures.
fn loads(figures: &mut Figures, wrk: &Wrk, wanted: impl Fn(&str) -> bool) {
    if wanted("http") {
        http::measure(figures, wrk, seconds());
    }
    if wanted("scaling") {
        scaling::measure(figures, wrk, seconds());
    }
    if wanted("cluster") {
        cluster::measure(figures, wrk, seconds());
    }
}

/// What a program of the engine needs and does not find.
fn missing(name: &str) -> Option<String> {
    let source = format!("runtime/engine/benches/{name}");
    let is_there = |path: &str| root().join(path).exists();
    if !is_there(&format!("{source}.rs")) && !is_there(&source) {
        return Some(source);
    }
    // What builds its components is not part of `make bench`: it needs the tools of those languages.
    let components = "target/languages";
    (name == "languages" && !is_there(components)).then(|| components.into())
}

/// Decisions and the peers of the same work, in turns.
fn contest(figures: &mut Figures, decide: bool, peers: bool) {
    if !decide && !peers {
        return;
    }
    let gdrive = plan::gdrive();
    let mut contestants = Vec::new();
    if decide {
        if gdrive.is_none() {
            figures.skip("decide.gdrive", "the questions were not generated; see `make bench`");
        }
        let plan = plan::write(gdrive.as_deref());
        contestants.push(Contestant::start("decide", engine("decide").env("VERDICT_BENCH_PLAN", plan)));
    }
    if peers {
        contestants.extend(peers::start(figures, gdrive.as_deref()));
    }
    rounds::measure(figures, contestants);
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

/// A bench target of a package, with the features that shared dependencies have in `verdict`.
fn cargo(arguments: &[&str]) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or("cargo".into()));
    command.args(["bench", "--quiet", "-p", "verdict-cli"]).args(arguments).current_dir(root());
    // Only what is installed has its profile.
    if let Some(flags) = std::env::var_os("VERDICT_BENCH_FLAGS").filter(|_| !arguments.contains(&"dist")) {
        command.env_remove(flags);
    }
    command
}

fn engine(name: &str) -> Command {
    // Decisions are compared with peers, so they are measured as they are installed: linked as a whole.
    let profile = if name == "decide" { "dist" } else { "release" };
    let engine = ["-p", "verdict-engine", "--features", "verdict-engine/bench"];
    let mut command = cargo(&[&["--profile", profile], engine.as_slice(), &["--bench", name]].concat());
    command.env("VERDICT_BENCH_COMMAND", binary());
    command
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
