//! What was measured: the table for people, the list for machines.

use std::fmt::Write;

use serde_json::{Value, json};

/// Figures in the order in which they came, and what could not be measured.
#[derive(Debug)]
pub(crate) struct Figures {
    figures: Vec<(String, f64, String)>,
    skipped: Vec<(String, String)>,
    load_before: String,
    notes: Vec<String>,
}

/// Quotients worth reading: what it is, above, below, and the goal of the project if it has one.
const RATIOS: [(&str, &str, &str, &str); 23] = [
    ("an instance reset to a warm one, time", "decide.rust.pristine.p50", "decide.rust.warm.p50", "<= 1.4"),
    ("the same with 1 MB of memory", "decide.big.pristine.p50", "decide.big.warm.p50", "<= 1.4"),
    ("a new instance to one reset, time", "decide.rust.new.p50", "decide.rust.pristine.p50", ""),
    ("with fuel to without, time", "decide.rust.pristine.p50", "decide.rust.nofuel.p50", "<= 1.25"),
    ("two threads to one, rate", "decide.rust.threads2.per_s", "decide.rust.threads1.per_s", ">= 1.8"),
    (
        "OPA to ours, from text, time",
        "peer.opa.rbac.p50",
        "decide.library.role-based-access.text.p50",
        ">= 10",
    ),
    ("OPA to ours, parsed before, time", "peer.opa.rbac.prepared.p50", RBAC, ""),
    (
        "regorus to ours, from text, time",
        "peer.regorus.rbac.p50",
        "decide.library.role-based-access.text.p50",
        ">= 1",
    ),
    ("regorus to ours, parsed before, time", "peer.regorus.rbac.prepared.p50", RBAC, ""),
    ("Cedar to ours, time", "peer.cedar.gdrive.p50", "decide.gdrive.pristine.p50", ">= 1"),
    ("decide to bare, rate", "http.decide.rps", "http.bare.rps", ">= 0.75"),
    ("decide to OPA, rate", "http.decide.rps", "http.opa.rps", ">= 7"),
    ("decide to OPA, p99", "http.decide.p99", "http.opa.p99", "< 0.33"),
    ("decide to Cerbos, rate", "http.decide.rps", "http.cerbos.rps", ""),
    ("decide to Cerbos, p99", "http.decide.p99", "http.cerbos.p99", ""),
    ("out of the cache to bare, rate", "http.decide.cached.rps", "http.bare.rps", ">= 0.90"),
    (
        "decisions in batches of 100 to single, rate",
        "http.batch100.decisions_per_s",
        "http.decide.rps",
        ">= 3",
    ),
    ("256 connections: decide to bare, rate", "http.decide.256.rps", "http.bare.256.rps", ""),
    ("256 connections: logged to unlogged, rate", "http.decide.logged.rps", "http.decide.256.rps", ">= 0.70"),
    (
        "256 connections: logged to OPA's log on the console, rate",
        "http.decide.logged.rps",
        "http.opa.logged.rps",
        "",
    ),
    ("logged p50 to fdatasync p50", "http.decide.logged.p50", "http.decide.logged.fdatasync.p50", ""),
    (
        "two cores to one, client included: decide, rate",
        "http.decide.2cores.rps",
        "http.decide.1core.rps",
        "",
    ),
    ("two cores to one, client included: bare, rate", "http.bare.2cores.rps", "http.bare.1core.rps", ""),
];

/// Figures that have a goal of their own.
const GOALS: [(&str, &str); 19] = [
    ("decide.rust.pristine.p50", "<= 2, and never above 4"),
    ("decide.rust.warm.p50", "<= 1.5"),
    ("fuel.worst.ns", "<= 1.5"),
    ("hostile.neighbour.p99.ratio", "< 2"),
    ("document.scan.gb_s", ">= 1"),
    ("data.lookup.us", "< 2"),
    ("data.memory.ratio", "<= 3"),
    ("load.start.1000.ms", "< 1000"),
    ("load.memory.per_policy.kb", "<= 300"),
    ("registry.activate.p99.ms", "< 200"),
    ("registry.metadata.cached.p99.us", "< 1000"),
    ("tenancy.neighbour.p99.ratio", "< 2"),
    ("cache.hit.us", "< 1"),
    ("cluster.kill.failed", "0"),
    ("http.decide.rps", ">= 0.75 of bare, >= 7 times OPA"),
    ("http.decide.p99", "< 0.33 of OPA"),
    ("http.decide.cached.rps", ">= 0.90 of bare"),
    ("http.batch100.decisions_per_s", ">= 3 times http.decide.rps"),
    ("http.decide.logged.rps", ">= 0.70 of http.decide.256.rps"),
];

/// A loop of plain arithmetic, which each program measures beside its figures.
pub(crate) const CALIBRATION: &str = "calibration.ns";

const RBAC: &str = "decide.library.role-based-access.pristine.p50";

impl Figures {
    /// None yet. Notes how busy the machine is now.
    pub(crate) fn new() -> Self {
        Self { figures: Vec::new(), skipped: Vec::new(), load_before: load(), notes: Vec::new() }
    }

    /// Adds a figure.
    pub(crate) fn add(&mut self, name: &str, value: f64, unit: &str) {
        assert!(value.is_finite(), "`{name}` is {value}");
        self.figures.push((name.into(), value, unit.into()));
    }

    /// Adds a figure that a program printed.
    pub(crate) fn add_json(&mut self, line: &str) {
        let figure: Value = serde_json::from_str(line).expect("a figure is JSON");
        let text = |member: &str| figure[member].as_str().expect("a figure has a name and a unit").to_owned();
        if text("name") == CALIBRATION && self.value(CALIBRATION).is_some() {
            return; // Each program measures it; the first kept the best of many rounds.
        }
        self.add(&text("name"), figure["value"].as_f64().expect("a figure has a value"), &text("unit"));
    }

    /// Notes that something was not measured; it is in the table and not in the list.
    pub(crate) fn skip(&mut self, name: &str, reason: &str) {
        self.skipped.push((name.into(), reason.into()));
    }

    /// Notes what was measured with.
    pub(crate) fn note(&mut self, note: String) {
        self.notes.push(note);
    }

    /// The list for machines.
    pub(crate) fn json(&self) -> String {
        let figures: Vec<Value> = self
            .figures
            .iter()
            .map(|(name, value, unit)| json!({ "name": name, "value": value, "unit": unit }))
            .collect();
        serde_json::to_string_pretty(&figures).expect("JSON can be written") + "\n"
    }

    /// The table for people.
    pub(crate) fn table(&self) -> String {
        let mut table = String::new();
        let width = self.figures.iter().map(|(name, ..)| name.len()).max().unwrap_or_default();
        for (name, value, unit) in &self.figures {
            let decimals = if *value < 100.0 { 2 } else { 0 };
            let goal = said(GOALS.iter().find(|goal| goal.0 == name).map_or("", |goal| goal.1));
            let _ = writeln!(table, "{name:width$}  {value:>12.decimals$} {unit}{goal}");
        }
        for (name, reason) in &self.skipped {
            let _ = writeln!(table, "{name:width$}  skipped: {reason}");
        }
        table.push('\n');
        for (what, above, below, goal) in RATIOS {
            if let (Some(above), Some(below)) = (self.value(above), self.value(below)) {
                let _ = writeln!(table, "{what}: {:.2}{}", above / below, said(goal));
            }
        }
        let _ = writeln!(table, "\n{}", self.notes.join(", "));
        let cores = std::thread::available_parallelism().map_or(0, usize::from);
        let _ =
            writeln!(table, "{cores} cores; load average before: {}; after: {}", self.load_before, load());
        table
    }

    fn value(&self, name: &str) -> Option<f64> {
        self.figures.iter().find(|figure| figure.0 == name).map(|figure| figure.1)
    }
}

/// A goal as it stands behind a figure.
fn said(goal: &str) -> String {
    if goal.is_empty() { String::new() } else { format!("  (goal {goal})") }
}

/// The load averages: what else the machine did.
fn load() -> String {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').take(3).collect::<Vec<_>>().join(" ")
}
