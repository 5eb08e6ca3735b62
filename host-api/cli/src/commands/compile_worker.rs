//! `verdict compile-worker`: the child process that compiles for the engine. Not for people.

use std::process::ExitCode;

/// Reads a component on stdin, writes machine code to stdout, under limits of its own.
pub(crate) fn run() -> ExitCode {
    verdict_engine::compile_worker(std::io::stdin().lock(), std::io::stdout().lock())
}
