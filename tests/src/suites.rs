//! Third-party suites: where they are, and how a driver counts.
//!
//! They are not part of the repository. A driver asks for its [`folder`] and, where there is none, ends; with
//! `VERDICT_SUITES_REQUIRED=1`, as `.ci/run` sets it, a missing folder fails instead.

use std::io::Write as _;
use std::path::{Path, PathBuf};

/// The folder of suite `name`, in the folder that `VERDICT_SUITES` names, by default `../shared/suites` beside the
/// checkout. None where it is missing, after saying so.
///
/// # Panics
/// When the folder is missing and `VERDICT_SUITES_REQUIRED` is `1`.
pub fn folder(name: &str) -> Option<PathBuf> {
    let beside = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/suites");
    let folder = std::env::var_os("VERDICT_SUITES").map_or_else(beside, PathBuf::from).join(name);
    if folder.is_dir() {
        return Some(folder);
    }
    let required = std::env::var_os("VERDICT_SUITES_REQUIRED").is_some_and(|value| value == "1");
    assert!(!required, "suite {name} is required, but `{}` is not a folder", folder.display());
    say(&format!("suite {name}: skipped, `{}` is not a folder; set VERDICT_SUITES", folder.display()));
    None
}

/// Counts the cases of one suite and says how they went.
#[derive(Debug)]
#[must_use = "call `finish`, or failures stay unseen"]
pub struct Report {
    name: String,
    passed: usize,
    failed: Vec<String>,
    skipped: Vec<String>,
}

impl Report {
    /// A report without cases; `name` is the suite's folder.
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), passed: 0, failed: Vec::new(), skipped: Vec::new() }
    }

    /// Counts a case that did what the suite says.
    pub fn pass(&mut self) {
        self.passed += 1;
    }

    /// Counts a case that did not, and why.
    pub fn fail(&mut self, case: impl std::fmt::Display, why: impl std::fmt::Display) {
        self.failed.push(format!("{case}: {why}"));
    }

    /// Counts a case that was not tried, and why.
    pub fn skip(&mut self, case: impl std::fmt::Display, why: impl std::fmt::Display) {
        self.skipped.push(format!("{case}: {why}"));
    }

    /// Counts a case by whether it held.
    pub fn check(&mut self, case: impl std::fmt::Display, holds: bool, why: impl std::fmt::Display) {
        if holds { self.pass() } else { self.fail(case, why) }
    }

    /// How many cases were counted.
    pub fn cases(&self) -> usize {
        self.passed + self.failed.len() + self.skipped.len()
    }

    /// Prints the counts and every failure and skip with its reason, also where the test runner captures output.
    ///
    /// # Panics
    /// When a case failed, or there was none.
    pub fn finish(self) {
        for (kind, lines) in [("failed", &self.failed), ("skipped", &self.skipped)] {
            for line in lines {
                say(&format!("suite {}: {kind}: {line}", self.name));
            }
        }
        let (cases, failed, skipped) = (self.cases(), self.failed.len(), self.skipped.len());
        say(&format!(
            "suite {}: {cases} cases, {} passed, {failed} failed, {skipped} skipped",
            self.name, self.passed
        ));
        assert!(cases > 0, "suite {} has no cases", self.name);
        assert!(failed == 0, "suite {}: {failed} of {cases} cases failed", self.name);
    }
}

/// Writes past the capture of the test runner, so that a passing suite is counted in the output too.
fn say(line: &str) {
    // Nobody to tell when standard output is closed.
    let _ = writeln!(std::io::stdout().lock(), "{line}");
}
