//! What a decision costs in other languages: each policy of `tests/languages` that was built, in instances that are reset
//! in place (`pristine`), in new ones, and in one that is not reset (`warm`). Prints a JSON object a figure.
//!
//! The machine may change its speed while this runs. So everything is measured in turns, many times, the lowest median
//! counts, and a loop of plain arithmetic is measured beside it.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "the tests' way to load a component may"
)]

#[path = "decide/clock.rs"]
mod clock;
#[path = "../tests/support/mod.rs"]
mod support;

use std::error::Error;
use std::hint::black_box;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::json;
use verdict_engine::{CompileCache, Compiler, Config, Engine, Instances, Policy, Query};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

const BUILT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../target/languages");
const ROUNDS: usize = 12;
/// How long one kind of instance is asked in a round.
const TURN: Duration = Duration::from_millis(60);
/// No rule allows it: all of them are looked at.
const INPUT: &str =
    r#"{"user": {"name": "ann", "role": "clerk"}, "action": "write", "resource": {"owner": "bob"}}"#;

fn main() -> Result<()> {
    let cache = tempfile::tempdir()?;
    let engines = [Instances::Protected, Instances::New].map(|kind| engine(kind, cache.path()));
    let [pristine, new] = engines;
    let (pristine, new) = (pristine?, new?);
    let mut languages = Vec::new();
    for folder in std::fs::read_dir(BUILT).into_iter().flatten() {
        let folder = folder?;
        if let Ok(component) = std::fs::read(folder.path().join("policy.wasm")) {
            let name = folder.file_name().to_string_lossy().into_owned();
            languages.push(Language::load(name, &component, &pristine, &new)?);
        }
    }
    languages.sort_by(|a, b| a.name.cmp(&b.name));
    let mut loops = Vec::new();
    for _ in 0..ROUNDS {
        languages.iter_mut().try_for_each(Language::round)?;
        loops.push(clock::calibration());
    }
    languages.iter().for_each(Language::print);
    let calibration = loops.into_iter().min().unwrap_or_default();
    clock::print("decide.language.calibration.ns", calibration.as_secs_f64() * 1e9, "ns");
    Ok(())
}

fn engine(instances: Instances, cache: &Path) -> Result<Engine> {
    let mut config = Config::new(Compiler::InProcess);
    config.concurrency = 32;
    config.instances = instances;
    config.cache = Some(CompileCache { dir: cache.into(), key: [5; 32] });
    Ok(Engine::new(config)?)
}

struct Language {
    name: String,
    pristine: Policy,
    new: Policy,
    /// The lowest medians.
    lowest: [Duration; 3],
}

impl Language {
    fn load(name: String, component: &[u8], pristine: &Engine, new: &Engine) -> Result<Self> {
        let rules = json!({"rules": [{"name": "allow"}, {"name": "leak"}]});
        let load = |engine| support::try_load(engine, component, rules.clone());
        let load = |engine| load(engine).map_err(|refusal| format!("{name}: {refusal}"));
        let language = Self {
            pristine: load(pristine)?,
            new: load(new)?,
            name: name.clone(),
            lowest: [Duration::MAX; 3],
        };
        if let Some(because) = language.pristine.new_instances_because() {
            return Err(format!("{name} is not reset in place: {because}").into());
        }
        language.check()?;
        Ok(language)
    }

    /// What is timed must be the work that is claimed.
    fn check(&self) -> Result<()> {
        let input = support::document(INPUT);
        let new = self.new.evaluate(&query(&input)?);
        for _ in 0..3 {
            let outcome = self.pristine.evaluate(&query(&input)?);
            if outcome.result != new.result || outcome.fuel != new.fuel {
                return Err(format!("{}: {outcome:?} is not {new:?}", self.name).into());
            }
        }
        let value = new.result.as_ref().ok().and_then(|answer| answer.value.as_deref());
        match value {
            Some("false") if new.reads.len() == 4 => Ok(()),
            _ => Err(format!("{}: not the answer that was to be timed: {new:?}", self.name).into()),
        }
    }

    fn round(&mut self) -> Result<()> {
        let input = support::document(INPUT);
        let query = query(&input)?;
        let warm = self.new.warm_bench(&query, 1_000);
        let warm = warm.map_err(|fault| format!("{}: the warm instance faults: {fault:?}", self.name))?;
        let times = [times(&self.pristine, &query), times(&self.new, &query), warm];
        for (lowest, mut times) in self.lowest.iter_mut().zip(times) {
            *lowest = clock::percentile(&mut times, 50).min(*lowest);
        }
        Ok(())
    }

    fn print(&self) {
        for (kind, time) in ["pristine", "new", "warm"].into_iter().zip(self.lowest) {
            let name = format!("decide.language.{}.{kind}.p50", self.name);
            clock::print(&name, time.as_secs_f64() * 1e6, "µs");
        }
    }
}

fn query(input: &verdict_engine::Document) -> Result<Query<'_>> {
    Ok(Query { rule: "allow", input, data: None, decision_time: "2026-06-01T00:00:00Z".parse()? })
}

fn times(policy: &Policy, query: &Query<'_>) -> Vec<Duration> {
    let (begun, mut times) = (Instant::now(), Vec::new());
    while begun.elapsed() < TURN {
        let started = Instant::now();
        let outcome = policy.evaluate(query);
        times.push(started.elapsed());
        black_box(outcome);
    }
    times
}
