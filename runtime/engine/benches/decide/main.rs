//! What one evaluation costs, and what loading costs. `make bench` runs it: it needs built policies, their questions
//! and the `verdict` command, named by environment variables.
//!
//! The machine may change its speed while this runs. So it takes turns with the programs of the peers: for each line
//! that comes in it measures one round of everything, with a loop of plain arithmetic beside it, prints a JSON object a
//! figure, and then `end`. Who asks keeps the lowest of many rounds.

mod artifact;
mod clock;
mod plan;
mod subject;

use std::error::Error;
use std::path::{Path, PathBuf};
use std::time::Instant;

use verdict_engine::{CompileCache, Compiler, Config, Engine, Instances, Target};

use crate::clock::{calibration, percentile, print};
use crate::plan::Plan;
use crate::subject::{Engines, Subject};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

const CALIBRATIONS: usize = 50;
const LOADS: usize = 7;
/// Instances that an engine may have: enough for every policy and thread here. Each engine reserves address space.
const CONCURRENCY: u32 = 64;

fn main() -> Result<()> {
    let plan: Vec<Plan> = serde_json::from_slice(&std::fs::read(setting("VERDICT_BENCH_PLAN")?)?)?;
    let program = PathBuf::from(setting("VERDICT_BENCH_COMMAND")?);
    let folder = tempfile::tempdir()?;
    let config = Config {
        cache: Some(CompileCache { dir: folder.path().join("cache"), key: [7; 32] }),
        concurrency: CONCURRENCY,
        ..Config::new(Compiler::Child { program, args: vec!["compile-worker".into()] })
    };
    let unmetered = Config {
        target: Target::Unmetered,
        compiler: Compiler::InProcess,
        cache: None,
        instances: Instances::Protected,
        ..config.clone()
    };
    let engines = Engines {
        pristine: engine(&config, Instances::Protected)?,
        new: engine(&config, Instances::New)?,
        unmetered: Engine::new(unmetered)?,
    };
    let subjects = plan.iter().map(|plan| Subject::load(plan, &engines)).collect::<Result<Vec<Subject>>>()?;
    for plan in plan.iter().filter(|plan| plan.loads) {
        loads(&plan.build, &config)?;
    }
    println!("end");
    for line in std::io::stdin().lines() {
        line?;
        let mut loops: Vec<_> = (0..CALIBRATIONS).map(|_| calibration()).collect();
        print("calibration.ns", percentile(&mut loops, 50).as_secs_f64() * 1e9, "ns");
        subjects.iter().try_for_each(Subject::round)?;
        println!("end");
    }
    Ok(())
}

fn setting(name: &str) -> Result<String> {
    std::env::var(name).map_err(|_| format!("`{name}` is not set; run this with `make bench`").into())
}

fn engine(config: &Config, instances: Instances) -> Result<Engine> {
    Ok(Engine::new(Config { instances, ..config.clone() })?)
}

/// Loading with nothing cached, compiler process included, and loading what is cached.
fn loads(build: &Path, config: &Config) -> Result<()> {
    let admitted = artifact::admitted(build)?;
    let load = |engine: &Engine| engine.load(&admitted).map_err(|refusal| refusal.to_string());
    let uncached = Engine::new(Config { cache: None, ..config.clone() })?;
    let cached = Engine::new(config.clone())?;
    load(&cached)?;
    let before = cached.cache_counts().hits;
    let (mut compile, mut from_cache) = (Vec::new(), Vec::new());
    for _ in 0..LOADS {
        let started = Instant::now();
        load(&uncached)?;
        compile.push(started.elapsed());
        let started = Instant::now();
        load(&cached)?;
        from_cache.push(started.elapsed());
    }
    let hits = cached.cache_counts().hits - before;
    if usize::try_from(hits)? < LOADS {
        return Err(format!("the cache was hit {hits} times of {LOADS}").into());
    }
    print("load.compile.ms", percentile(&mut compile, 50).as_secs_f64() * 1e3, "ms");
    print("load.cached.ms", percentile(&mut from_cache, 50).as_secs_f64() * 1e3, "ms");
    Ok(())
}
