//! The engine: one sandbox configuration, its compiler and cache, and the thread that makes deadlines pass.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use verdict_core::artifact::AdmittedArtifact;
use verdict_core::digest::Digest;
use verdict_core::limits::Limits;
use verdict_core::manifest::Manifest;
use verdict_core::refusal::{Refusal, RefusalCode};
use wasmtime::component::{Component, Linker};

use crate::cache::{Cache, CacheCounts, Kept, Notes, file_name};
use crate::capabilities;
use crate::compile::compile;
use crate::config::{Config, Instances, code_config, instance_config};
use crate::error::EngineError;
use crate::instances::{Grown, Idle, Verification, VerificationCounts};
use crate::instrument::instrument;
use crate::policy::Policy;
use crate::scan::{self, Inspection, Needs};
use crate::sys::install_fault_handler;

/// How often deadlines are looked at. An evaluation is stopped at most two of these after its time.
const TICK: Duration = Duration::from_millis(5);

/// Makes policies out of admitted artifacts. A clone is cheap and is the same engine; the policies it made keep it alive.
#[derive(Clone)]
pub struct Engine(Arc<Inner>);

pub(crate) struct Inner {
    pub(crate) wasmtime: wasmtime::Engine,
    config: Config,
    cache: Option<Cache>,
    build: String,
    pub(crate) idle: Arc<Idle>,
    /// With a pool only: what it drops has to be put in order before it is used again.
    pub(crate) grown: Option<Grown>,
    pub(crate) verification: Option<Verification>,
    _ticker: Ticker,
}

impl Inner {
    /// How evaluations come by the pristine state.
    pub(crate) fn instances(&self) -> Instances {
        self.config.instances
    }
}

impl Engine {
    /// Starts an engine.
    ///
    /// # Errors
    /// When the configuration cannot be enforced, or the sandbox or the cache's folder does not work here.
    pub fn new(config: Config) -> Result<Self, EngineError> {
        config.check()?;
        let (wasmtime, pooled) = sandbox(&config)?;
        let cache = match &config.cache {
            Some(cache) => Some(
                Cache::open(cache, config.compile_limits.output_bytes_max)
                    .map_err(|error| EngineError::Cache { path: cache.dir.clone(), error })?,
            ),
            None => None,
        };
        let build = build(&wasmtime, &config);
        if config.instances == Instances::Protected {
            install_fault_handler()
                .map_err(|error| EngineError::Sandbox(format!("no handler of page faults: {error}")))?;
        }
        let ticker = Ticker::start(wasmtime.clone()).map_err(EngineError::Thread)?;
        let idle = Arc::new(Idle::new(usize::try_from(config.idle_bytes_max).unwrap_or(usize::MAX)));
        let grown = pooled.then(|| Grown::new(config.concurrency));
        let verification = config.verify_reset.map(Verification::new);
        let inner = Inner { wasmtime, config, cache, build, idle, grown, verification, _ticker: ticker };
        Ok(Self(Arc::new(inner)))
    }

    /// Says what a component is, without compiling it.
    ///
    /// # Errors
    /// `too-large` and `malformed-component`.
    pub fn inspect(&self, component: &[u8]) -> Result<Inspection, Refusal> {
        scan::inspect(component)
    }

    /// What makes the machine code: wasmtime, processor and settings. Answers and fuel do not depend on it.
    pub fn build(&self) -> &str {
        &self.0.build
    }

    /// The most that any policy gets.
    pub fn ceiling(&self) -> &Limits {
        &self.0.config.ceiling
    }

    /// How the compile cache has done; all zero without one.
    pub fn cache_counts(&self) -> CacheCounts {
        self.0.cache.as_ref().map(Cache::counts).unwrap_or_default()
    }

    /// How the comparisons that [`Config::verify_reset`] asks for have come out; all zero without them.
    pub fn verification_counts(&self) -> VerificationCounts {
        self.0.verification.as_ref().map(Verification::counts).unwrap_or_default()
    }

    /// What idle instances take, in bytes, by the estimate of [`Config::idle_bytes_max`].
    pub fn idle_bytes(&self) -> u64 {
        u64::try_from(self.0.idle.bytes()).unwrap_or(u64::MAX)
    }

    /// Makes an admitted artifact ready to answer.
    ///
    /// # Errors
    /// `malformed-component`, `too-large`, `wrong-contract`, `undeclared-import` and `compile-failed`.
    pub fn load(&self, admitted: &AdmittedArtifact) -> Result<Policy, Refusal> {
        self.load_verified(admitted.manifest(), admitted.component(), admitted.component_digest())
    }

    /// Scans, compiles and links a component whose digest is known to be `digest`.
    pub(crate) fn load_verified(
        &self,
        manifest: &Manifest,
        component: &[u8],
        digest: Digest,
    ) -> Result<Policy, Refusal> {
        let limits = self.effective_limits(manifest);
        let (notes, component) =
            self.compiled(component, digest, |needs| scan::check(needs, manifest, limits.memory_bytes))?;
        let mut linker = Linker::new(&self.0.wasmtime);
        capabilities::link(&mut linker, &manifest.capabilities)
            .map_err(|error| Refusal::new(RefusalCode::WrongContract, format!("{error:#}")))?;
        // The names are right by now; this compares the types behind them.
        let instances = linker.instantiate_pre(&component).map_err(|error| {
            Refusal::new(RefusalCode::WrongContract, format!("the component's imports do not fit: {error:#}"))
        })?;
        let instrumented = notes.not_instrumented.map_or(Ok(()), Err);
        Policy::new(self.0.clone(), manifest.clone(), digest, limits, instances, instrumented)
    }

    /// What a manifest gets. The stack is the engine's: wasmtime has one size for all.
    fn effective_limits(&self, manifest: &Manifest) -> Limits {
        let ceiling = self.ceiling();
        Limits { stack_bytes: ceiling.stack_bytes, ..ceiling.lowered_by(&manifest.limits) }
    }

    /// The component with this digest, from the cache or scanned, instrumented and compiled. What it needs is checked
    /// before anything of it is compiled or used.
    fn compiled(
        &self,
        component: &[u8],
        digest: Digest,
        check: impl Fn(&Needs) -> Result<(), Refusal>,
    ) -> Result<(Notes, Component), Refusal> {
        let Inner { wasmtime, config, cache, build, .. } = self.0.as_ref();
        let name = file_name(digest, build);
        if let Some(Kept { notes, code }) = cache.as_ref().and_then(|cache| cache.load(&name)) {
            check(&notes.needs)?;
            if let Ok(component) = code.load(wasmtime) {
                return Ok((notes, component));
            }
        }
        let needs = Needs::from(scan::inspect(component)?);
        check(&needs)?;
        // One binary for instances of either kind. Without the accessors the guest's own code is the same.
        let instrumented = instrument(component);
        let notes = Notes { needs, not_instrumented: instrumented.as_ref().err().cloned() };
        let component = instrumented.as_deref().unwrap_or(component);
        let code = compile(&config.compiler, &config.compile_limits, config.target, component)?;
        let component = code.load(wasmtime).map_err(|error| {
            Refusal::new(RefusalCode::CompileFailed, format!("the machine code cannot be used: {error:#}"))
        })?;
        if let Some(cache) = cache {
            cache.store(&name, &notes, &code);
        }
        Ok((notes, component))
    }
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine").field("build", &self.0.build).finish_non_exhaustive()
    }
}

/// With a pool of slots that are made ready in advance (true); where address space is limited, with instances made on
/// demand.
fn sandbox(config: &Config) -> Result<(wasmtime::Engine, bool), EngineError> {
    let start = |concurrency| {
        let mut settings = code_config(config.target)?;
        instance_config(&mut settings, &config.ceiling, concurrency);
        Ok((wasmtime::Engine::new(&settings)?, concurrency.is_some()))
    };
    start(Some(config.concurrency))
        .or_else(|_: wasmtime::Error| start(None))
        .map_err(|error| EngineError::Sandbox(format!("{error:#}")))
}

fn build(wasmtime: &wasmtime::Engine, config: &Config) -> String {
    let (architecture, target) = (std::env::consts::ARCH, config.target.name());
    format!("wasmtime-48 {architecture} {target} {}", settings_digest(wasmtime))
}

#[cfg(feature = "compiler")]
fn settings_digest(wasmtime: &wasmtime::Engine) -> String {
    use std::hash::{Hash, Hasher};

    /// Collects what wasmtime would hash, so that the result does not depend on the standard library's hash.
    #[derive(Default)]
    struct Collected(Vec<u8>);

    impl Hasher for Collected {
        fn write(&mut self, bytes: &[u8]) {
            self.0.extend_from_slice(bytes);
        }

        fn finish(&self) -> u64 {
            0
        }
    }

    let mut collected = Collected::default();
    wasmtime.precompile_compatibility_hash().hash(&mut collected);
    Digest::of(&collected.0).hex().chars().take(16).collect()
}

#[cfg(not(feature = "compiler"))]
fn settings_digest(_: &wasmtime::Engine) -> String {
    "no-compiler".into()
}

/// The thread that makes deadlines pass, for as long as the engine lives.
struct Ticker {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Ticker {
    fn start(engine: wasmtime::Engine) -> std::io::Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let thread = thread::Builder::new().name("deadlines".into()).spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                thread::park_timeout(TICK);
                engine.increment_epoch();
            }
        })?;
        Ok(Self { stop, thread: Some(thread) })
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            let _ = thread.join();
        }
    }
}

/// The epochs that an evaluation may see: those of its time, and the one that is under way.
pub(crate) fn deadline_ticks(wall_clock_ms: u64) -> u64 {
    let tick_ms = u64::try_from(TICK.as_millis()).unwrap_or(1);
    wall_clock_ms.div_ceil(tick_ms) + 1
}
