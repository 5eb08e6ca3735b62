//! How an engine is configured, and what wasmtime makes of it.

use std::ffi::OsString;
use std::fmt;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::Duration;

use verdict_core::limits::Limits;
use wasmtime::{Enabled, InstanceAllocationStrategy, PoolingAllocationConfig};

use crate::error::{CONCURRENCY_MAX, EngineError, STACK_BYTES_MAX, STACK_BYTES_MIN};
use crate::semantics::operator_cost;

/// What an engine needs to know.
#[derive(Debug, Clone)]
pub struct Config {
    /// Who compiles.
    pub compiler: Compiler,
    /// What one compilation may use.
    pub compile_limits: CompileLimits,
    /// Where compiled components are kept.
    pub cache: Option<CompileCache>,
    /// The most that any policy gets.
    pub ceiling: Limits,
    /// What runs the policies.
    pub target: Target,
    /// How many instances may be there at once, idle ones among them, which make way for others. An evaluation that
    /// finds all of them running is a fault of class `unavailable`.
    pub concurrency: u32,
    /// How evaluations come by the pristine state.
    pub instances: Instances,
    /// What idle instances may take together, in bytes, by estimate: the pages that they wrote and 64 KiB each.
    pub idle_bytes_max: u64,
    /// Compare one in so many evaluations with the same in a new instance, every byte of its state included, and stop
    /// resetting the instances of a policy that ever differs. For those who would rather see than believe.
    pub verify_reset: Option<NonZeroU32>,
}

impl Config {
    /// The defaults: native code, no cache, a ceiling that is safe for a public server, 1,024 instances at once, of
    /// which idle ones take at most 256 MiB.
    pub fn new(compiler: Compiler) -> Self {
        Self {
            compiler,
            compile_limits: CompileLimits::default(),
            cache: None,
            ceiling: Limits::default(),
            target: Target::Native,
            concurrency: 1_024,
            instances: Instances::Copied,
            idle_bytes_max: 256 << 20,
            verify_reset: None,
        }
    }

    pub(crate) fn check(&self) -> Result<(), EngineError> {
        let ceiling = self.ceiling.checked()?;
        if !(STACK_BYTES_MIN..=STACK_BYTES_MAX).contains(&ceiling.stack_bytes) {
            return Err(EngineError::Stack(ceiling.stack_bytes));
        }
        if !(1..=CONCURRENCY_MAX).contains(&self.concurrency) {
            return Err(EngineError::Concurrency(self.concurrency));
        }
        Ok(())
    }
}

/// Who compiles components.
#[derive(Debug, Clone)]
pub enum Compiler {
    /// A child process with limits of its own, which runs [`compile_worker`](crate::compile_worker): for components
    /// of people whom the host does not trust.
    Child {
        /// The program.
        program: PathBuf,
        /// Its arguments.
        args: Vec<OsString>,
    },
    /// This process, without limits of its own: for tests, and for hosts that trust their authors.
    InProcess,
}

/// What one compilation in a child process may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CompileLimits {
    /// Bytes of address space.
    pub memory_bytes_max: u64,
    /// Seconds of processor time.
    pub cpu_seconds_max: u64,
    /// Wall-clock time, after which the child is killed.
    pub wall_clock_max: Duration,
    /// Bytes of machine code.
    pub output_bytes_max: u64,
}

impl Default for CompileLimits {
    /// 4 GiB, a minute of processor time, two minutes in all, 256 MiB of machine code.
    fn default() -> Self {
        Self {
            memory_bytes_max: 4 << 30,
            cpu_seconds_max: 60,
            wall_clock_max: Duration::from_secs(120),
            output_bytes_max: 256 << 20,
        }
    }
}

/// A folder of compiled components. What is in it is code, so it is authenticated with a key that is kept elsewhere.
#[derive(Clone)]
pub struct CompileCache {
    /// The folder; made if it is not there.
    pub dir: PathBuf,
    /// The key of the authentication.
    pub key: [u8; 32],
}

impl fmt::Debug for CompileCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CompileCache").field("dir", &self.dir).finish_non_exhaustive()
    }
}

/// How evaluations come by the pristine state, where a component can be reset at all. Answers and fuel do not depend
/// on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Instances {
    /// Instances are reset in place, and page protection tells what there is to reset: the fastest. It installs a
    /// handler of SIGSEGV for the whole process (chained to the one that was there), so a program asks for it.
    Protected,
    /// Instances with little memory are reset in place by copying all of it; the others are new each time.
    Copied,
    /// A new instance for each evaluation.
    New,
}

/// What runs the policies. Answers and fuel do not depend on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Target {
    /// Machine code for this processor.
    Native,
    /// wasmtime's interpreter: slow, portable, for checking the other.
    Pulley,
    /// As native, without counting fuel: it shows what counting costs. Nothing that decides may use it.
    #[cfg(feature = "bench")]
    Unmetered,
}

impl Target {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Native => "native",
            Self::Pulley => "pulley64",
            #[cfg(feature = "bench")]
            Self::Unmetered => "unmetered",
        }
    }

    pub(crate) fn from_name(name: &str) -> Option<Self> {
        [Self::Native, Self::Pulley].into_iter().find(|target| target.name() == name)
    }

    const fn is_metered(self) -> bool {
        match self {
            #[cfg(feature = "bench")]
            Self::Unmetered => false,
            _ => true,
        }
    }
}

/// What decides machine code and behaviour: the same in the host and in the process that compiles.
pub(crate) fn code_config(target: Target) -> wasmtime::Result<wasmtime::Config> {
    let mut config = wasmtime::Config::new();
    if target == Target::Pulley {
        config.target(target.name())?;
    }
    determinism(&mut config);
    config
        .consume_fuel(target.is_metered())
        .operator_cost(operator_cost())
        .epoch_interruption(true)
        .concurrency_support(false)
        .memory_init_cow(true)
        // A reset writes to the addresses that memories had when the instance was new.
        .memory_may_move(false)
        // One frame tells an error of a host call from one of the answer; nobody reads more.
        .wasm_backtrace_max_frames(std::num::NonZeroUsize::new(1))
        .native_unwind_info(false)
        .generate_address_map(false);
    #[cfg(feature = "compiler")]
    config.cranelift_nan_canonicalization(true).cranelift_opt_level(wasmtime::OptLevel::Speed);
    Ok(config)
}

/// One meaning on every machine, and only what policies need: what is off cannot be attacked.
fn determinism(config: &mut wasmtime::Config) {
    config
        .relaxed_simd_deterministic(true)
        .shared_memory(false)
        .gc_support(false)
        .wasm_memory64(false)
        .wasm_custom_page_sizes(false)
        .wasm_wide_arithmetic(false);
}

/// How instances are made in this process; the machine code does not depend on it.
pub(crate) fn instance_config(config: &mut wasmtime::Config, ceiling: &Limits, concurrency: Option<u32>) {
    let size = |limit: u64| usize::try_from(limit).unwrap_or(usize::MAX);
    config.max_wasm_stack(size(ceiling.stack_bytes));
    let Some(concurrency) = concurrency else { return };
    let instances = u32::try_from(ceiling.instances).unwrap_or(u32::MAX);
    let slots = concurrency.saturating_mul(SLOTS_PER_EVALUATION);
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(concurrency)
        .max_core_instances_per_component(instances.saturating_add(ACCESSORS_MAX))
        .total_core_instances(concurrency.saturating_mul(instances))
        .max_memories_per_component(instances)
        .max_memories_per_module(instances)
        .total_memories(slots)
        .max_tables_per_component(instances)
        .max_tables_per_module(instances)
        .total_tables(slots)
        .max_memory_size(size(ceiling.memory_bytes))
        .table_elements(size(ceiling.table_elements))
        // Pages that an evaluation touched are put back instead of given back, up to this much of each memory.
        .linear_memory_keep_resident(RESIDENT_BYTES)
        .table_keep_resident(RESIDENT_BYTES)
        .max_unused_warm_slots(WARM_SLOTS)
        .pagemap_scan(Enabled::Auto);
    config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool));
}

/// Memories, and tables, that an evaluation takes on average of a full house; each reserves address space.
const SLOTS_PER_EVALUATION: u32 = 4;
/// Bytes of a slot that stay resident between new instances: the whole memory of a small policy.
const RESIDENT_BYTES: usize = 1 << 20;
/// Core instances that the instrumentation may add to a component.
const ACCESSORS_MAX: u32 = 100;
/// Slots that stay resident. Their bytes together are what the pool keeps of instances that are gone.
const WARM_SLOTS: u32 = 512;
