//! The client: wrk, and what one load of it showed.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use serde_json::Value;
use verdict_tests::server::{pinned, root};

use crate::process;

/// How long wrk may take beyond its load.
const PATIENCE: Duration = Duration::from_secs(20);

/// The program, with the threads that it has and, if not all, the cores that it may use.
#[derive(Debug, Clone)]
pub(crate) struct Wrk {
    program: PathBuf,
    threads: usize,
    cores: Option<String>,
}

/// What one load of requests showed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Load {
    pub(crate) requests: f64,
    pub(crate) rps: f64,
    pub(crate) p50_us: f64,
    pub(crate) p99_us: f64,
    pub(crate) max_us: f64,
    /// Answers of another status than 2xx, and connections that broke.
    pub(crate) errors: f64,
}

impl Wrk {
    /// The one that `make bench` found, with one thread.
    pub(crate) fn find() -> Option<Self> {
        let program = std::env::var_os("VERDICT_BENCH_WRK").map(PathBuf::from)?;
        Some(Self { program, threads: 1, cores: None })
    }

    /// The same with these cores, as taskset names them, and more threads.
    pub(crate) fn on(&self, cores: &str, threads: usize) -> Self {
        Self { program: self.program.clone(), threads, cores: Some(cores.into()) }
    }

    /// Keeps all connections busy for a time; every answer must be good.
    pub(crate) fn load(&self, url: &str, body: &str, connections: usize, seconds: u64) -> Load {
        let load = self.try_load(url, body, connections, seconds);
        assert_eq!(load.errors, 0.0, "`{url}` was answered with errors");
        load
    }

    /// The same, where answers may be missing.
    pub(crate) fn try_load(&self, url: &str, body: &str, connections: usize, seconds: u64) -> Load {
        let mut command = match &self.cores {
            None => Command::new(&self.program),
            Some(cores) => pinned(cores, &self.program),
        };
        command
            .args(["--threads", &self.threads.to_string(), "--timeout", "10s"])
            .args(["--duration", &format!("{seconds}s"), "--connections", &connections.to_string()])
            .arg("--script")
            .arg(root().join("tests/bench/post.lua"))
            .arg(url)
            .env("BENCH_BODY", body);
        let output = process::output(&mut command, Duration::from_secs(seconds) + PATIENCE);
        let line = output.lines().find(|line| line.starts_with('{')).expect("the script prints its line");
        let summary: Value = serde_json::from_str(line).expect("the line is JSON");
        let number = |member: &str| summary[member].as_f64().expect("the line has numbers");
        Load {
            requests: number("requests"),
            rps: number("requests") / number("duration_us") * 1e6,
            p50_us: number("p50_us"),
            p99_us: number("p99_us"),
            max_us: number("max_us"),
            errors: number("errors"),
        }
    }
}

/// The middle one of what several loads showed.
pub(crate) fn median(loads: &[Load], of: impl Fn(&Load) -> f64) -> f64 {
    let mut values: Vec<f64> = loads.iter().map(of).collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
