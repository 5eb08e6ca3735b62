//! Compiling in a child process: that it works, and that a child that misbehaves is stopped. This program is also the
//! child: `compile_child compile-worker` compiles, and other words misbehave.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests may"
)]

mod support;

mod hostile {
    pub(crate) mod bombs;
}

use std::io::{self, Write};
use std::process::ExitCode;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use hostile::bombs::BOMBS;
use serde_json::json;
use support::{ask, echo, guest, try_load, value};
use verdict_core::refusal::RefusalCode;
use verdict_engine::{CompileLimits, Compiler, Config, Engine, Policy, compile_worker};

fn main() -> ExitCode {
    let role = std::env::args().nth(1).unwrap_or_default();
    match role.as_str() {
        "compile-worker" => compile_worker(io::stdin().lock(), io::stdout().lock()),
        "sleep" => {
            std::thread::sleep(Duration::from_secs(600));
            ExitCode::SUCCESS
        }
        "flood" => {
            let mut stdout = io::stdout().lock();
            while stdout.write_all(&[b'x'; 65_536]).is_ok() {}
            ExitCode::SUCCESS
        }
        "die" => ExitCode::FAILURE,
        "environment" => {
            let names: Vec<_> = std::env::vars().map(|(name, _)| name).collect();
            print!("environment {names:?} in {}", std::env::current_dir().unwrap().display());
            ExitCode::SUCCESS
        }
        // The arguments of the usual harness.
        filter => run_tests(filter),
    }
}

fn run_tests(filter: &str) -> ExitCode {
    const TESTS: &[(&str, fn())] = &[
        ("compiles_in_a_child_that_limits_itself", compiles_in_a_child_that_limits_itself),
        ("a_child_that_hangs_is_killed", a_child_that_hangs_is_killed),
        ("a_child_that_floods_is_cut_off", a_child_that_floods_is_cut_off),
        ("a_child_that_dies_or_is_missing_is_a_refusal", a_child_that_dies_or_is_missing_is_a_refusal),
        ("a_child_beyond_its_memory_is_a_refusal", a_child_beyond_its_memory_is_a_refusal),
        ("a_child_beyond_its_processor_time_is_a_refusal", a_child_beyond_its_processor_time_is_a_refusal),
        ("a_child_inherits_nothing", a_child_inherits_nothing),
        ("a_child_refuses_what_it_does_not_understand", a_child_refuses_what_it_does_not_understand),
    ];
    let listing = std::env::args().any(|argument| argument == "--list");
    for (name, test) in TESTS.iter().filter(|(name, _)| filter.starts_with('-') || name.contains(filter)) {
        if listing {
            println!("{name}: test");
            continue;
        }
        // A failure panics, and ends the program.
        test();
        println!("test {name} ... ok");
    }
    let bombs = BOMBS.iter().filter(|(name, _)| filter.starts_with('-') || name.contains(filter));
    let bombs: Vec<_> = bombs.collect();
    if listing {
        bombs.iter().for_each(|(name, _)| println!("{name}: test"));
        return ExitCode::SUCCESS;
    }
    let next = AtomicUsize::new(0);
    thread::scope(|scope| {
        let work = || {
            while let Some((name, bomb)) = bombs.get(next.fetch_add(1, Ordering::Relaxed)) {
                let how = defuse(&bomb());
                println!("test {name} ... ok ({how})");
            }
        };
        (0..thread::available_parallelism().map_or(2, usize::from)).for_each(|_| drop(scope.spawn(work)));
    });
    ExitCode::SUCCESS
}

/// A bomb is refused with a code, or it is compiled within the limits and the guest in it answers.
fn defuse(component: &[u8]) -> String {
    let limits = CompileLimits {
        memory_bytes_max: 2 << 30,
        cpu_seconds_max: 5,
        wall_clock_max: Duration::from_secs(60),
        output_bytes_max: 64 << 20,
    };
    let engine = engine("compile-worker", |of_engine| *of_engine = limits);
    let loaded = try_load(&engine, component, json!({}));
    // Whatever came of the bomb, the host compiles and answers on.
    assert_eq!(value(&ask(&load(&engine).unwrap(), r#"{"a": [1]}"#)), Some("[1]"));
    match loaded {
        Ok(policy) => {
            assert_eq!(value(&ask(&policy, "{}")), Some("true"));
            "compiled".into()
        }
        Err(refusal) => {
            let codes = [RefusalCode::TooLarge, RefusalCode::MalformedComponent, RefusalCode::CompileFailed];
            assert!(codes.contains(&refusal.code), "{refusal:?}");
            refusal.to_string()
        }
    }
}

fn engine(role: &str, limits: impl FnOnce(&mut CompileLimits)) -> Engine {
    let program = std::env::current_exe().unwrap();
    let mut config = Config::new(Compiler::Child { program, args: vec![role.into()] });
    limits(&mut config.compile_limits);
    Engine::new(config).unwrap()
}

fn load(engine: &Engine) -> Result<Policy, String> {
    try_load(engine, &echo("/a"), json!({})).map_err(|refusal| {
        assert_eq!(refusal.code, RefusalCode::CompileFailed);
        refusal.message
    })
}

fn compiles_in_a_child_that_limits_itself() {
    let policy = load(&engine("compile-worker", |_| {})).unwrap();
    let outcome = ask(&policy, r#"{"a": [1]}"#);
    assert_eq!(value(&outcome), Some("[1]"));
    let in_process = support::load(&support::engine(), &echo("/a"), json!({}));
    assert_eq!(outcome.fuel, ask(&in_process, r#"{"a": [1]}"#).fuel);
}

fn a_child_that_hangs_is_killed() {
    let message =
        load(&engine("sleep", |limits| limits.wall_clock_max = Duration::from_millis(200))).unwrap_err();
    assert!(message.contains("took longer than 200ms"), "{message}");
}

fn a_child_that_floods_is_cut_off() {
    let message = load(&engine("flood", |limits| limits.output_bytes_max = 1 << 20)).unwrap_err();
    assert!(message.contains("more than 1048576 bytes"), "{message}");
}

fn a_child_that_dies_or_is_missing_is_a_refusal() {
    let message = load(&engine("die", |_| {})).unwrap_err();
    assert!(message.contains("without a result"), "{message}");
    let mut config = Config::new(Compiler::Child { program: "/nowhere/verdict".into(), args: Vec::new() });
    config.compile_limits = CompileLimits::default();
    let message = load(&Engine::new(config).unwrap()).unwrap_err();
    assert!(message.contains("cannot be started"), "{message}");
}

/// A component that takes long and much to compile: one function that nests and calls a lot, many times over.
fn heavy() -> Vec<u8> {
    let function: String = (0..4_000)
        .map(|n| {
            format!(
                "(local.set $x (i32.add (i32.mul (local.get $x) (i32.const {n})) (i32.load (local.get $x))))"
            )
        })
        .collect();
    let functions: String = (0..30)
        .map(|n| format!("(func $heavy{n} (param $x i32) (result i32) {function} (local.get $x))"))
        .collect();
    guest(&functions, "(call $true)")
}

fn refused(component: &[u8], engine: &Engine) -> String {
    let refusal = try_load(engine, component, json!({})).unwrap_err();
    assert_eq!(refusal.code, RefusalCode::CompileFailed);
    refusal.message
}

fn a_child_beyond_its_memory_is_a_refusal() {
    let engine = engine("compile-worker", |limits| limits.memory_bytes_max = 1 << 20);
    let message = refused(&heavy(), &engine);
    assert!(message.contains("cannot be compiled"), "{message}");
}

fn a_child_beyond_its_processor_time_is_a_refusal() {
    let engine = engine("compile-worker", |limits| limits.cpu_seconds_max = 0);
    let message = refused(&heavy(), &engine);
    assert!(message.contains("memory or time limit"), "{message}");
}

fn a_child_inherits_nothing() {
    let message = load(&engine("environment", |_| {})).unwrap_err();
    assert!(message.contains("environment [] in /"), "{message}");
}

fn a_child_refuses_what_it_does_not_understand() {
    for request in
        [&b""[..], b"\n", b"verdict-compile/2 native 1 1\n", b"verdict-compile/1 other 1 1\n", &[b'x'; 1000]]
    {
        let mut output = Vec::new();
        let _ = compile_worker(request, &mut output);
        assert!(!output.is_empty() && !output.starts_with(b"verdict-compiled"));
    }
}
