//! Verdict as a library: the host that a program embeds.
//!
//! Three nouns: a [`Host`] verifies and loads the signed policies of a folder, a [`Request`] is one question, and a
//! [`Decision`] is what was made of it, given out only when its record is durable.
//!
//! ```no_run
//! use verdict::{Config, Host, Request};
//!
//! let host = Host::open(Config::new("policies", "trust.json", "state"))?;
//! let decision = host
//!     .decide(Request {
//!         policy: "loan-eligibility".parse()?,
//!         channel: None,
//!         rule: None,
//!         input: br#"{"income": 52000, "amount": 9000}"#.to_vec(),
//!         id: None,
//!         decision_time: None,
//!         caller: None,
//!     })?
//!     .wait()?;
//! println!("{}: {:?}", decision.allow, decision.result);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod cache;
mod decide;
mod error;
mod event;
mod evidence;
mod follow;
mod ids;
mod load;
mod preview;
mod random;
mod reading;
mod recorded;
pub mod replay;
mod route;
mod shadow;
mod state;
mod tail;
#[cfg(test)]
mod testing;

#[cfg(test)]
#[path = "../../engine/tests/support/mod.rs"]
mod support;

use std::collections::{BTreeSet, HashMap};
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use verdict_core::artifact::AdmittedArtifact;
use verdict_core::digest::Digest;
use verdict_core::key::Passphrase;
use verdict_core::limits::Limits;
use verdict_core::name::{ChannelName, PolicyName, RuleName, Tenant};
use verdict_core::pointer::Pointer;
use verdict_core::record::Receipt;
use verdict_core::refusal::Refusal;
use verdict_core::time::Timestamp;
use verdict_engine::{CompileCache, Compiler, Document, Engine, Instances, VerificationCounts};
use verdict_ledger::{DirStorage, Durability, Ledger, LogName, SigningKey};

pub use cache::{Bypass, CacheConfig, Cached, DecisionCacheCounts};
pub use decide::{Asked, Decision, Pending, Request, Used};
pub use error::{DecideError, HostError};
pub use event::{EVENT_FORMAT, Event};
pub use follow::Registry;
pub use load::Quarantined;
pub use preview::{Preview, PreviewError, Previewed, Subject, Unsaved};
pub use reading::{Readings, Standing};
pub use tail::{Tail, Tailed, TailedDecision};
pub use verdict_core as core;
pub use verdict_engine as engine;
pub use verdict_ledger as ledger;
pub use verdict_registry as registry;

use cache::Decisions;
use decide::{Orphan, adopt_orphans, now};
use follow::Follower;
use ids::Ids;
use load::{Loader, Sources, Table};
use preview::Previews;
use route::Route;
use shadow::Shadows;
use state::State;
use tail::Tails;

/// What a question and its answer may have together, in bytes, so that their evidence fits into the ledger.
const RECORDED_BYTES_MAX: u64 = verdict_ledger::EVIDENCE_BYTES_MAX as u64 / 2;

/// Whether and how decisions are recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Log {
    /// An answer leaves when its record is durable.
    Durable,
    /// An answer leaves when its record is written; what a crash of the machine can lose is counted.
    Buffered,
    /// Nothing is recorded. For measuring only: such decisions cannot be proved.
    Off,
}

/// What a host runs on.
#[derive(Debug, Clone)]
pub struct Config {
    /// The folder of signed artifacts. Not trusted.
    pub policies: PathBuf,
    /// The trust file. Not below `policies`.
    pub trust: PathBuf,
    /// The state folder of this node; made if it is not there. Not below `policies`.
    pub state: PathBuf,
    /// A folder of `TENANT.json` files, the tenants' data. Not below `policies`.
    pub data: Option<PathBuf>,
    /// The registry to follow, instead of `policies`, `trust` and `data`.
    pub registry: Option<Registry>,
    /// The channel of a question that names none, where a registry is followed.
    pub channel: ChannelName,
    /// What no policy may exceed.
    pub ceiling: Limits,
    /// How components are compiled.
    pub compiler: Compiler,
    /// Whether and how decisions are recorded.
    pub log: Log,
    /// Whether callers may set the decision time.
    pub allow_decision_time: bool,
    /// How long a loaded policy goes on answering after its trust ended.
    pub expiry_grace: Duration,
    /// How evaluations come by the pristine state.
    pub instances: Instances,
    /// Compare one in so many evaluations with the same in a new instance; see
    /// [`engine::Config::verify_reset`](verdict_engine::Config::verify_reset).
    pub verify_reset: Option<NonZeroU32>,
    /// What the key of the log is encrypted with in the state folder. One that is made is encrypted where there is a
    /// passphrase; one that is there is opened as it is.
    pub passphrase: Option<Passphrase>,
    /// Whose answers are cached, if anybody's.
    pub cache: Option<CacheConfig>,
}

impl Log {
    /// Its name, as operators choose it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Durable => "durable",
            Self::Buffered => "buffered",
            Self::Off => "off",
        }
    }
}

impl Inner {
    /// A guard sent everything back to the first version: the operator is told, and a restart does not forget it.
    pub(crate) fn note_reverted(&self, policy: &PolicyName, route: &Route) {
        let Some((channel, sequence)) = &route.channel else { return };
        tracing::error!(%policy, %channel, sequence, "the guard has sent all questions back to the first version");
        // Not the lock of loading: a decision does not wait for that.
        let _one_at_a_time = self.reverting.lock().unwrap_or_else(PoisonError::into_inner);
        let kept = self.state.reverted().and_then(|mut reverted| {
            reverted.insert(format!("{policy}@{channel}"), *sequence);
            self.state.keep_reverted(&reverted)
        });
        if let Err(error) = kept {
            tracing::error!(%policy, %channel, %error, "a restart will try the other versions again");
        }
    }
}

impl Config {
    /// Safe defaults: durable log, compiling in this process, the host's clock, one hour of grace, no handler of page
    /// faults.
    pub fn new(policies: impl Into<PathBuf>, trust: impl Into<PathBuf>, state: impl Into<PathBuf>) -> Self {
        Self {
            policies: policies.into(),
            trust: trust.into(),
            state: state.into(),
            data: None,
            registry: None,
            channel: ChannelName::production(),
            ceiling: Limits::default(),
            compiler: Compiler::InProcess,
            log: Log::Durable,
            allow_decision_time: false,
            expiry_grace: Duration::from_secs(3_600),
            instances: Instances::Copied,
            verify_reset: None,
            passphrase: None,
            cache: None,
        }
    }
}

impl Config {
    /// The same, for a host that follows a registry.
    pub fn following(registry: Registry, state: impl Into<PathBuf>) -> Self {
        Self { registry: Some(registry), ..Self::new("", "", state) }
    }
}

/// A running host. Clones share everything.
#[derive(Debug, Clone)]
pub struct Host {
    inner: Arc<Inner>,
}

#[derive(Debug)]
pub(crate) struct Inner {
    config: Config,
    sources: Sources,
    table: ArcSwap<Table>,
    loading: Mutex<()>,
    reverting: Mutex<()>,
    engine: Engine,
    ledger: Option<Ledger>,
    ids: Ids,
    /// The newest event of the log.
    last_event: Mutex<Option<Event>>,
    /// Where versions that no longer answer say that they allow, by statement.
    allows: Mutex<HashMap<Digest, Option<Pointer>>>,
    orphans: Sender<Orphan>,
    shadows: Shadows,
    tails: Arc<Tails>,
    previews: Previews,
    decisions: Decisions,
    readings: reading::Counted,
    // The last to go: the lock on the state folder outlives the log's threads.
    state: State,
}

/// What an evaluation may use, whichever version of a channel it is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Units of fuel.
    pub fuel: u64,
    /// Bytes of linear memory.
    pub memory_bytes: u64,
}

/// A loaded policy, for listings.
#[derive(Debug, Clone)]
pub struct PolicyStatus {
    /// Its name.
    pub name: PolicyName,
    /// The version.
    pub version: String,
    /// The channel that it answers in; none where a folder's highest version does.
    pub channel: Option<ChannelName>,
    /// The sequence of the channel's state.
    pub sequence: Option<u64>,
    /// Its share of the channel's questions, of the sum of all weights; none for a shadow, which answers nobody.
    pub weight: Option<u32>,
    /// Whether the channel's guard has sent all questions back to the first version.
    pub is_reverted: bool,
    /// The digest of its component.
    pub component: Digest,
    /// What it declares.
    pub manifest: Arc<verdict_core::manifest::Manifest>,
    /// The limits in force.
    pub limits: Limits,
    /// The digest of the data that it may read.
    pub data: Option<Digest>,
    /// When its trust ends.
    pub until: Timestamp,
    /// Why each of its evaluations runs in a new instance; none where instances are reset in place.
    pub new_instances_because: Option<String>,
}

impl Host {
    /// Opens the state folder, recovers the log, and loads the folder of policies. A bad artifact does not stop it:
    /// see [`Host::quarantine`].
    ///
    /// # Errors
    /// When the trust file is refused or the state folder or the data cannot be used.
    pub fn open(config: Config) -> Result<Self, HostError> {
        let host = Self::unloaded(config)?;
        host.reload()?;
        Ok(host)
    }

    /// A host that has not read anything yet.
    fn unloaded(config: Config) -> Result<Self, HostError> {
        let ceiling = config.ceiling.checked().map_err(|error| HostError::Ceiling(error.to_string()))?;
        if ceiling.input_bytes.saturating_add(ceiling.output_bytes) > RECORDED_BYTES_MAX {
            let message = format!("input and output together may have {RECORDED_BYTES_MAX} bytes");
            return Err(HostError::Ceiling(message));
        }
        let sources = Sources {
            policies: config.policies.clone(),
            trust: config.trust.clone(),
            data: config.data.clone(),
        };
        if config.registry.is_none() {
            sources.check(&config.state)?;
        }
        Ok(Self { inner: assemble(config, sources)? })
    }

    /// The same for a host that follows a registry whose trust policy does not hold, or is not there yet: until that
    /// changes nothing answers. A server that is asked to change it must be there for that.
    ///
    /// # Errors
    /// As [`Host::open`], but for the trust policy.
    pub fn open_untrusting(config: Config) -> Result<Self, HostError> {
        let host = Self::unloaded(config)?;
        match host.reload() {
            Err(HostError::Trust { path, refusal }) => {
                tracing::warn!(path = %path.display(), %refusal, "nothing answers until there is a trust policy");
            }
            loaded => loaded?,
        }
        Ok(host)
    }

    /// Opens a state folder alone: a host that answers nothing, and looks up, proves and replays what was decided.
    ///
    /// # Errors
    /// When the state folder cannot be used, a running host uses it, or its key needs another passphrase.
    pub fn open_records(
        state: impl Into<PathBuf>,
        compiler: Compiler,
        passphrase: Option<Passphrase>,
    ) -> Result<Self, HostError> {
        let config = Config { compiler, passphrase, ..Config::new("", "", state) };
        let sources = Sources { policies: config.policies.clone(), trust: config.trust.clone(), data: None };
        Ok(Self { inner: assemble(config, sources)? })
    }

    /// Loads an artifact and lets it go: whether it compiles and links here. The next load of it comes out of the
    /// cache.
    ///
    /// # Errors
    /// As in the quarantine: why it does not load.
    pub fn try_loading(&self, artifact: &AdmittedArtifact) -> Result<(), Refusal> {
        self.inner.engine.load(artifact).map(drop)
    }

    /// Reads trust, data and the folder of policies again. What is loaded goes on answering until the whole next
    /// table stands; on an error it goes on after it.
    ///
    /// # Errors
    /// As [`Host::open`].
    pub fn reload(&self) -> Result<(), HostError> {
        let _one_at_a_time = self.inner.loading.lock().unwrap_or_else(PoisonError::into_inner);
        let read = self.read();
        self.inner.readings.note(now(), &read);
        read
    }

    fn read(&self) -> Result<(), HostError> {
        let inner = &self.inner;
        let old = inner.table.load_full();
        let Inner { engine, state, sources, .. } = inner.as_ref();
        let table = match &inner.config.registry {
            Some(registry) => Follower { engine, state, registry, now: now() }.load(&old)?,
            None => Loader { engine, state, sources, now: now() }.load(&old)?,
        };
        if let Some(ledger) = &inner.ledger {
            for tenant in table.policies.keys().map(PolicyName::tenant).collect::<BTreeSet<_>>() {
                let log: LogName = tenant.as_str().parse()?;
                inner.state.keep_verifier_key(tenant.as_str(), &ledger.verifier_key(&log)?.to_string())?;
            }
        }
        inner.decisions.keep_only(table.actives());
        inner.table.store(Arc::new(table));
        Ok(())
    }

    /// Asks a policy. The outcome exists when this returns; the answer comes out of [`Pending`] when its record is
    /// durable.
    ///
    /// # Errors
    /// When the question is refused at the door, or its outcome cannot be recorded. A fault of the policy is not an
    /// error: it is a decision without an answer.
    pub fn decide(&self, request: Request) -> Result<Pending, DecideError> {
        self.inner.decide(request)
    }

    /// The rules that a policy answers in a channel, whichever of its versions comes to answer; none where nothing of it
    /// answers there.
    pub fn rules(&self, policy: &PolicyName, channel: Option<&ChannelName>) -> Option<Vec<RuleName>> {
        let table = self.inner.table.load();
        let route = table.policies.get(policy)?.get(channel, &self.inner.config.channel)?;
        let mut rules = Vec::new();
        for (_, active) in route.weighted() {
            for rule in &active.policy.manifest().rules {
                if !rules.contains(&rule.name) {
                    rules.push(rule.name.clone());
                }
            }
        }
        Some(rules)
    }

    /// The newest data of a tenant that holds here: one object whose members are documents. A channel may name older.
    pub fn data(&self, tenant: &Tenant) -> Option<Document> {
        Some(self.inner.table.load().newest_data.get(tenant)?.document.clone())
    }

    /// What an evaluation of a loaded policy may use at most, by which a server chooses when and where it takes place.
    pub fn bounds(&self, policy: &PolicyName, channel: Option<&ChannelName>) -> Option<Bounds> {
        let table = self.inner.table.load();
        let route = table.policies.get(policy)?.get(channel, &self.inner.config.channel)?;
        Some(route.bounds())
    }

    /// Follows the registry for as long as the host lives: whatever changes in it takes effect without being asked for.
    /// `every` bounds how long that takes where the source does not tell.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn follow(&self, every: Duration) -> Result<(), HostError> {
        let Some(registry) = &self.inner.config.registry else { return Ok(()) };
        let (source, weak) = (Arc::clone(&registry.source), Arc::downgrade(&self.inner));
        let follow = move || {
            while weak.strong_count() > 0 {
                source.wait(every);
                let Some(inner) = weak.upgrade() else { return };
                if let Err(error) = (Self { inner }).reload() {
                    tracing::warn!(%error, "the registry is not followed; what is loaded goes on");
                }
            }
        };
        let thread = std::thread::Builder::new().name("verdict-follow".into()).spawn(follow);
        thread.map(drop).map_err(|error| HostError::Entropy(error.to_string()))
    }

    /// Why the registry could not be read the last time; none where it could, or none is followed.
    pub fn unreachable(&self) -> Option<Refusal> {
        self.inner.table.load().unreachable.clone()
    }

    /// Since when it cannot be.
    pub fn unreachable_since(&self) -> Option<Timestamp> {
        self.inner.table.load().unreachable_since
    }

    /// The documents that everything which is loaded rests on, and until when they hold.
    pub fn standing(&self) -> Vec<Standing> {
        self.inner.table.load().standing.clone()
    }

    /// How reading policies, trust and data has gone.
    pub fn readings(&self) -> Readings {
        self.inner.readings.read()
    }

    /// How many decisions of shadows were recorded, and how many left out because too many waited.
    pub fn shadow_counts(&self) -> (u64, u64) {
        self.inner.shadows.counts()
    }

    /// What makes the machine code here: wasmtime, processor and settings. Answers and fuel do not depend on it.
    pub fn build(&self) -> &str {
        self.inner.engine.build()
    }

    /// What is loaded, in the order of names.
    pub fn policies(&self) -> Vec<PolicyStatus> {
        let table = self.inner.table.load();
        let mut policies = Vec::new();
        for route in table.policies.values().flat_map(route::Routes::all) {
            policies.extend(route.weighted().map(|(weight, active)| status(route, active, Some(weight))));
            policies.extend(route.shadow.iter().map(|active| status(route, active, None)));
        }
        policies.sort_by(|a, b| (&a.name, &a.channel, &a.version).cmp(&(&b.name, &b.channel, &b.version)));
        policies
    }

    /// What was refused at the last loading, and why.
    pub fn quarantine(&self) -> Vec<Quarantined> {
        self.inner.table.load().quarantine.clone()
    }

    /// A past decision; none where no decision has this id, or its evidence was erased.
    ///
    /// # Errors
    /// When the log or the evidence cannot be read.
    pub fn decision(&self, tenant: &Tenant, id: &str) -> Result<Option<Decision>, HostError> {
        match self.inner.find(tenant, id)? {
            Some(recorded) => self.inner.decision(&recorded),
            None => Ok(None),
        }
    }

    /// The receipt of a past decision.
    ///
    /// # Errors
    /// When the log or the evidence cannot be read.
    pub fn receipt(&self, tenant: &Tenant, id: &str) -> Result<ReceiptState, HostError> {
        self.inner.receipt(tenant, id)
    }

    /// Evaluates a past decision again and compares.
    ///
    /// # Errors
    /// When what it rests on is not there any more, or was made under other semantics.
    pub fn replay(&self, tenant: &Tenant, id: &str) -> Result<replay::Replay, replay::ReplayError> {
        replay::of_state(&self.inner, tenant, id)
    }

    /// A file of a tenant's log by its path in C2SP tlog-tiles, such as `checkpoint`.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn log_resource(&self, tenant: &Tenant, path: &str) -> Result<Option<Vec<u8>>, HostError> {
        match &self.inner.ledger {
            Some(ledger) => Ok(ledger.resource(&tenant.as_str().parse()?, path)?),
            None => Ok(None),
        }
    }

    /// The key that verifies a tenant's log; none where the log is off.
    ///
    /// # Errors
    /// Never, for a tenant's name.
    pub fn verifier_key(&self, tenant: &Tenant) -> Result<Option<String>, HostError> {
        match &self.inner.ledger {
            Some(ledger) => Ok(Some(ledger.verifier_key(&tenant.as_str().parse()?)?.to_string())),
            None => Ok(None),
        }
    }

    /// Whether decisions are recorded.
    pub fn is_recording(&self) -> bool {
        self.inner.ledger.is_some()
    }

    /// Whether and how decisions are recorded.
    pub fn log(&self) -> Log {
        self.inner.config.log
    }

    /// How many records are written and not yet synced. Under [`Log::Buffered`] their answers were given out, and a loss
    /// of power now would take them; under [`Log::Durable`] nobody has heard of them.
    pub fn unsynced(&self) -> u64 {
        self.inner.ledger.as_ref().map_or(0, |ledger| ledger.stats().unsynced)
    }

    /// What the log has counted; none where nothing is recorded.
    pub fn log_stats(&self) -> Option<verdict_ledger::Stats> {
        Some(self.inner.ledger.as_ref()?.stats())
    }

    /// How long ago the log failed; none while it has not.
    pub fn log_failed_for(&self) -> Option<Duration> {
        self.inner.ledger.as_ref()?.stopped_for()
    }

    /// How evaluations come by the pristine state.
    pub fn instances(&self) -> Instances {
        self.inner.config.instances
    }

    /// How the comparisons that [`Config::verify_reset`] asks for have come out; all zero without them.
    pub fn verification_counts(&self) -> VerificationCounts {
        self.inner.engine.verification_counts()
    }

    /// Whether the log works, where there is one. A log that failed stays stopped.
    ///
    /// # Errors
    /// What it failed with.
    pub fn health(&self) -> Result<(), HostError> {
        match &self.inner.ledger {
            Some(ledger) => Ok(ledger.health()?),
            None => Ok(()),
        }
    }

    /// Writes and signs what is outstanding. The host may still be used afterwards.
    ///
    /// # Errors
    /// When the log failed.
    pub fn flush(&self) -> Result<(), HostError> {
        match &self.inner.ledger {
            Some(ledger) => Ok(ledger.publish()?),
            None => Ok(()),
        }
    }
}

fn status(route: &Route, active: &load::Active, weight: Option<u32>) -> PolicyStatus {
    PolicyStatus {
        name: active.name.clone(),
        version: active.version.clone(),
        channel: route.channel.as_ref().map(|(name, _)| name.clone()),
        sequence: route.channel.as_ref().map(|(_, sequence)| *sequence),
        weight,
        is_reverted: route.is_reverted(),
        component: active.component,
        manifest: Arc::new(active.policy.manifest().clone()),
        limits: *active.policy.limits(),
        data: active.data.as_ref().map(|data| data.digest),
        until: active.until,
        new_instances_because: active.policy.new_instances_because().map(ToOwned::to_owned),
    }
}

/// Takes the state folder and recovers the log; nothing is loaded yet.
fn assemble(config: Config, sources: Sources) -> Result<Arc<Inner>, HostError> {
    let state = State::open(&config.state)?;
    let cache = CompileCache { dir: state.compiled(), key: state.compile_cache_key()? };
    let engine = Engine::new(verdict_engine::Config {
        cache: Some(cache),
        ceiling: config.ceiling,
        instances: config.instances,
        verify_reset: config.verify_reset,
        ..verdict_engine::Config::new(config.compiler.clone())
    })?;
    let ledger = open_ledger(&state, &config)?;
    let (ids, decisions) = (Ids::new(), Decisions::new(config.cache.as_ref()));
    let last_event = match &ledger {
        Some(ledger) => recorded::index(ledger, &ids)?,
        None => None,
    };
    let mut orphans = Ok(None);
    let inner = Arc::new_cyclic(|weak| {
        let (sender, failed) = match adopt_orphans(weak.clone()) {
            Ok(sender) => (sender, None),
            Err(error) => (std::sync::mpsc::channel().0, Some(error)),
        };
        let (shadows, failed) = match Shadows::start(weak.clone()) {
            Ok(shadows) => (shadows, failed),
            Err(error) => (Shadows::none(), Some(error)),
        };
        orphans = failed.map_or(Ok(None::<()>), Err);
        Inner {
            config,
            sources,
            table: ArcSwap::default(),
            loading: Mutex::new(()),
            reverting: Mutex::new(()),
            engine,
            ledger,
            ids,
            last_event: Mutex::new(last_event),
            allows: Mutex::default(),
            orphans: sender,
            shadows,
            tails: Arc::default(),
            previews: Previews::default(),
            decisions,
            readings: reading::Counted::default(),
            state,
        }
    });
    orphans?;
    Ok(inner)
}

/// A receipt, or why there is none.
#[derive(Debug)]
pub enum ReceiptState {
    /// No decision has this id.
    Unknown,
    /// The next checkpoint, within a second, covers it.
    NotYet,
    /// The evidence was erased: the record can be proved, what it stands for can not.
    Erased,
    /// Here it is.
    Ready(Box<Receipt>),
}

fn open_ledger(state: &State, config: &Config) -> Result<Option<Ledger>, HostError> {
    let durability = match config.log {
        Log::Durable => Durability::Durable,
        Log::Buffered => Durability::Buffered,
        Log::Off => return Ok(None),
    };
    let seed = state.log_key_seed(config.passphrase.as_ref())?;
    // The node's name comes of its key: nobody else can have the same one and sign for it.
    let fingerprint = verdict_core::key::SecretKey::from_seed(seed).public().fingerprint().hex();
    let node = fingerprint.get(..16).unwrap_or(&fingerprint);
    let config =
        verdict_ledger::Config { durability, ..verdict_ledger::Config::new(format!("verdict/{node}")) };
    let key = SigningKey::generate(seed);
    let storage = DirStorage::open(state.log())?;
    Ok(Some(Ledger::open(Arc::new(storage), key, config)?))
}
