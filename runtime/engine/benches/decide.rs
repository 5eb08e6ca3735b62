//! What one evaluation costs, and what loading costs. `make bench` runs it: it needs a built policy, its data, a
//! question and the `verdict` command, named by environment variables. Prints a JSON object a figure.
//!
//! The machine may change its speed while this runs. So everything is measured in turns, many times, the lowest
//! median counts, and a loop of plain arithmetic is measured beside it.

use std::error::Error;
use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use verdict_core::artifact::{AdmittedArtifact, UnverifiedArtifact, admit, verify};
use verdict_core::digest::Digest;
use verdict_core::key::SecretKey;
use verdict_core::manifest::Manifest;
use verdict_core::oci::{Image, World};
use verdict_core::statement::sign_manifest;
use verdict_core::time::Timestamp;
use verdict_core::trust::{Author, Seen, TrustPolicy};
use verdict_engine::{CompileCache, Compiler, Config, Document, DocumentLimits, Engine, Policy, Query};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

const ROUNDS: usize = 20;
const EVALUATIONS: usize = 4_000;
const CALIBRATIONS: usize = 100;
const LOADS: usize = 7;

const RULE: &str = "allow";
const NOW: &str = "2026-06-01T00:00:00Z";

fn main() -> Result<()> {
    let build = PathBuf::from(setting("VERDICT_BENCH_BUILD")?);
    let program = PathBuf::from(setting("VERDICT_BENCH_COMMAND")?);
    let data = document(&std::fs::read_to_string(setting("VERDICT_BENCH_DATA")?)?)?;
    let input = document(&setting("VERDICT_BENCH_INPUT")?)?;
    let admitted = admitted(&build)?;

    let folder = tempfile::tempdir()?;
    let compiler = Compiler::Child { program, args: vec!["compile-worker".into()] };
    let policy = loads(&admitted, &compiler, folder.path())?;
    let query = Query { rule: RULE, input: &input, data: Some(&data), decision_time: NOW.parse()? };
    evaluations(&policy, &query)
}

fn setting(name: &str) -> Result<String> {
    std::env::var(name).map_err(|_| format!("`{name}` is not set; run this with `make bench`").into())
}

fn document(text: &str) -> Result<Document> {
    Ok(Document::parse(text, &DocumentLimits::default())?)
}

/// The build, signed with a key that is thrown away.
fn admitted(build: &Path) -> Result<AdmittedArtifact> {
    let manifest = Manifest::parse(&std::fs::read(build.join("manifest.json"))?)?;
    let component = std::fs::read(build.join("oci/blobs/sha256").join(manifest.component.hex()))?;
    let key = SecretKey::from_seed([7; 32]);
    let image = Image::new(&component, World::default(), &manifest.policy, &manifest.version)?;
    let statement = sign_manifest(&manifest, Digest::of(&image.manifest), &key)?;
    let author = Author {
        person: "bench".into(),
        public: key.public(),
        policies: vec![manifest.policy.to_string().parse()?],
        not_before: None,
        not_after: None,
    };
    let now: Timestamp = NOW.parse()?;
    let trust = TrustPolicy::new(1, "2027-01-01T00:00:00Z".parse()?, vec![author])?;
    let artifact = UnverifiedArtifact {
        reference: build.display().to_string(),
        manifest_bytes: image.manifest,
        config: image.config,
        component,
        statements: vec![statement.render().into_bytes()],
    };
    let refused = |refusal: verdict_core::refusal::Refusal| refusal.to_string();
    let verified = verify(artifact, &trust, now).map_err(refused)?;
    Ok(admit(verified, &trust, &Seen::default(), now).map_err(refused)?)
}

/// Loading with nothing cached, compiler process included, and loading what is cached.
fn loads(admitted: &AdmittedArtifact, compiler: &Compiler, folder: &Path) -> Result<Policy> {
    let load = |engine: &Engine| engine.load(admitted).map_err(|refusal| refusal.to_string());
    let uncached = Engine::new(Config::new(compiler.clone()))?;
    let cache = CompileCache { dir: folder.join("cache"), key: [7; 32] };
    let cached = Engine::new(Config { cache: Some(cache), ..Config::new(compiler.clone()) })?;
    let policy = load(&cached)?;
    let (mut compile, mut from_cache) = (Vec::new(), Vec::new());
    for _ in 0..LOADS {
        let started = Instant::now();
        load(&uncached)?;
        compile.push(started.elapsed());
        let started = Instant::now();
        load(&cached)?;
        from_cache.push(started.elapsed());
    }
    let hits = cached.cache_counts().hits;
    if usize::try_from(hits)? < LOADS {
        return Err(format!("the cache was hit {hits} times of {LOADS}").into());
    }
    print("load.compile.ms", percentile(&mut compile, 50).as_secs_f64() * 1e3, "ms");
    print("load.cached.ms", percentile(&mut from_cache, 50).as_secs_f64() * 1e3, "ms");
    Ok(policy)
}

fn evaluations(policy: &Policy, query: &Query<'_>) -> Result<()> {
    check(policy, query)?;
    let mut lowest = [Duration::MAX; 4];
    for _ in 0..ROUNDS {
        let mut loops: Vec<Duration> = (0..CALIBRATIONS).map(|_| calibration()).collect();
        let mut new: Vec<Duration> = (0..EVALUATIONS).map(|_| evaluation(policy, query)).collect();
        let warm = policy.warm_bench(query, RULE, EVALUATIONS);
        let mut warm = warm.map_err(|fault| format!("the warm instance does not answer: {fault:?}"))?;
        let round = [
            percentile(&mut loops, 50),
            percentile(&mut new, 50),
            percentile(&mut new, 99),
            percentile(&mut warm, 50),
        ];
        lowest.iter_mut().zip(round).for_each(|(lowest, time)| *lowest = time.min(*lowest));
    }
    let [calibration, new_p50, new_p99, warm_p50] = lowest.map(|time| time.as_secs_f64() * 1e6);
    print("calibration.ns", calibration * 1e3, "ns");
    print("decide.rust.new.p50", new_p50, "µs");
    print("decide.rust.new.p99", new_p99, "µs");
    print("decide.rust.warm.p50", warm_p50, "µs");
    Ok(())
}

/// What is timed must be the work that is claimed: the right answer, from documents, with a read set and fuel.
fn check(policy: &Policy, query: &Query<'_>) -> Result<()> {
    let outcome = policy.evaluate(query);
    let answer = outcome.result.as_ref().map_err(|fault| format!("the policy faults: {fault:?}"))?;
    if answer.value.as_deref() != Some("true") || outcome.fuel == 0 || outcome.reads.iter().next().is_none() {
        return Err(format!("not the answer that was to be timed: {outcome:?}").into());
    }
    Ok(())
}

fn evaluation(policy: &Policy, query: &Query<'_>) -> Duration {
    let started = Instant::now();
    let outcome = policy.evaluate(query);
    let time = started.elapsed();
    black_box(outcome);
    time
}

/// 10,000 turns of arithmetic, each waiting for the one before.
fn calibration() -> Duration {
    let started = Instant::now();
    let mut state = black_box(1_u64);
    for _ in 0..10_000 {
        // The shift keeps the compiler from making one turn of many.
        state = (state ^ (state >> 29)).wrapping_mul(6_364_136_223_846_793_005);
    }
    black_box(state);
    started.elapsed()
}

fn percentile(times: &mut [Duration], percent: usize) -> Duration {
    times.sort_unstable();
    times.get((times.len() * percent / 100).min(times.len().saturating_sub(1))).copied().unwrap_or_default()
}

fn print(name: &str, value: f64, unit: &str) {
    println!(r#"{{"name": "{name}", "value": {value:.4}, "unit": "{unit}"}}"#);
}
