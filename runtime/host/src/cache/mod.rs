//! The decision cache: answers that were given before, to questions that no policy could have told apart.
//!
//! An evaluation is a function of the component, the rule, the semantics, the limits, the data that is granted, and of
//! what it reads, step by step. So an answer is kept under exactly that: for each of the former a [`Plan`] of the steps
//! that were taken, and for each way through it and each result of its steps one answer. A look-up takes the steps in
//! the new question's documents. If it finds the same results, then the evaluation would have taken the same steps, and
//! would have come to the same answer; where a plan leads is only a guess, and a wrong one finds nothing. Results are
//! compared by their bytes, long ones by SHA-256: nobody can make two that only look the same.
//!
//! Only answers are kept, and none that saw the decision time or wrote to the log. What may answer at all is decided
//! before: revocations, expiry and channels never see this. Each tenant has its own part, which others can neither
//! fill nor learn from.

mod plan;
#[cfg(test)]
mod sabotage;
#[cfg(test)]
mod tests;

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::hash::BuildHasher as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, PoisonError, RwLock};

use foldhash::SharedSeed;
use foldhash::quality::SeedableRandomState;
use moka::sync::Cache;
use verdict_core::digest::Digest;
use verdict_core::limits::Limits;
use verdict_core::manifest::Rule;
use verdict_core::name::{PolicyName, RuleName, Tenant};
use verdict_core::pointer::Pointer;
use verdict_engine::{Outcome, Query};

use crate::Host;
use crate::decide::Fields;
use crate::load::Active;
use plan::Plan;
#[cfg(test)]
use sabotage::LeftOut;

/// The part of a tenant's bytes that its plans may take, one in so many; answers take the rest.
const PLANS_PART: u64 = 4;
/// Nothing takes more than one in so many of a tenant's bytes.
const SHARE_MAX: u64 = 8;
/// The most steps that an answer that is kept rests on.
const STEPS_MAX: usize = 512;
/// What an answer takes besides its texts, in bytes, by estimate.
const ANSWER_BYTES: usize = 512;
/// The bytes of a thread's buffer for keys that it keeps.
const KEY_BYTES_KEPT: usize = 4_096;

thread_local! {
    /// Where keys are made, so that a look-up allocates nothing.
    static KEY: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// Whose decisions are cached, and in how much memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CacheConfig {
    /// The policies. The answers of all others are evaluated each time.
    pub policies: BTreeSet<PolicyName>,
    /// Bytes for all tenants together, by estimate. Each tenant gets the same part.
    pub bytes_max: u64,
    /// The most that one tenant gets of it, in bytes.
    pub bytes_max_per_tenant: Option<u64>,
}

/// How a decision stands to the cache.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cached {
    /// The policy's answers are not cached. Of a decision that was read back: it was evaluated.
    Off,
    /// The answer was there.
    Hit {
        /// The decision that it was made for.
        first: String,
    },
    /// The answer was not there; now it is.
    Miss,
    /// It was evaluated, and is not kept.
    Bypass(Bypass),
}

/// Why what came of an evaluation is not kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Bypass {
    /// The policy asked for the decision time.
    SawTime,
    /// It wrote messages for operators.
    Logged,
    /// It is no answer.
    Fault,
    /// It is too large, or rests on too many steps.
    TooLarge,
}

impl Bypass {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::SawTime, Self::Logged, Self::Fault, Self::TooLarge];

    /// Its stable name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::SawTime => "saw-time",
            Self::Logged => "logged",
            Self::Fault => "fault",
            Self::TooLarge => "too-large",
        }
    }
}

impl Cached {
    /// `hit`, `miss`, `bypass` or `off`.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Hit { .. } => "hit",
            Self::Miss => "miss",
            Self::Bypass(_) => "bypass",
        }
    }
}

/// How the decision cache has done since the host was started.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DecisionCacheCounts {
    /// Answers that were there.
    pub hits: u64,
    /// Answers that were not there, and were kept.
    pub misses: u64,
    /// Outcomes that were not kept, by their reasons.
    pub bypasses: BTreeMap<Bypass, u64>,
    /// Answers that are there now.
    pub answers: u64,
    /// Bytes that they and the plans take, by estimate.
    pub bytes: u64,
    /// The most bytes that they may take.
    pub bytes_max: u64,
}

impl DecisionCacheCounts {
    fn add(&mut self, other: &Self) {
        self.hits += other.hits;
        self.misses += other.misses;
        self.answers += other.answers;
        self.bytes += other.bytes;
        self.bytes_max += other.bytes_max;
        for (reason, count) in &other.bypasses {
            *self.bypasses.entry(*reason).or_default() += count;
        }
    }
}

/// Which path was taken through which plan, and what was found on it.
type Key = Box<[u8]>;

/// An answer that is kept.
#[derive(Debug)]
pub(crate) struct Stored {
    pub(crate) outcome: Outcome,
    /// The decision that it was made for.
    pub(crate) first: String,
    /// Its committed form, from the first hit on.
    pub(crate) fields: OnceLock<Fields>,
}

impl Stored {
    /// What it takes, with its committed form, in bytes.
    fn bytes(outcome: &Outcome) -> usize {
        let steps = outcome.reads.iter().map(|read| 96 + 2 * read.pointer.len()).sum::<usize>();
        let answer = outcome.result.as_ref().map_or(0, |answer| {
            let reason = |reason: &verdict_core::outcome::Reason| {
                let optional =
                    [&reason.reference, &reason.rule].into_iter().flatten().map(String::len).sum::<usize>();
                let pointers = reason.pointers.iter().map(|pointer| 32 + pointer.len()).sum::<usize>();
                160 + reason.code.len() + reason.message.len() + optional + pointers
            };
            answer.value.as_ref().map_or(0, String::len) + answer.reasons.iter().map(reason).sum::<usize>()
        });
        ANSWER_BYTES + steps + 2 * answer
    }
}

/// What an evaluation depends on besides what it reads; in a tenant's own part, so the tenant does, too.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Base {
    component: Digest,
    rule: RuleName,
    semantics: u32,
    limits: Limits,
    data_granted: Vec<Pointer>,
}

impl Base {
    fn of(active: &Active, rule: &RuleName) -> Self {
        let policy = &active.policy;
        let base = Self {
            component: active.component,
            rule: rule.clone(),
            semantics: verdict_engine::SEMANTICS,
            limits: *policy.limits(),
            data_granted: policy.manifest().capabilities.data.clone(),
        };
        #[cfg(test)]
        let base = base.spoiled();
        base
    }
}

/// Keys have some hundred bytes, so that the standard library's hash would be a part of what a look-up takes. Nobody
/// outside can tell which collide: the seeds are random.
fn hasher() -> SeedableRandomState {
    static SEED: OnceLock<SharedSeed> = OnceLock::new();
    // The standard library has its seeds from the operating system.
    let random = || std::hash::RandomState::new().hash_one(());
    SeedableRandomState::with_seed(random(), SEED.get_or_init(|| SharedSeed::from_u64(random())))
}

/// The answers of all tenants.
#[derive(Debug, Default)]
pub(crate) struct Decisions {
    policies: BTreeSet<PolicyName>,
    tenants: HashMap<Tenant, Arc<Part>>,
}

/// A tenant's part.
#[derive(Debug)]
pub(crate) struct Part {
    answers: Cache<Key, Arc<Stored>, SeedableRandomState>,
    plans: RwLock<HashMap<Base, Arc<Plan>>>,
    plan_bytes: AtomicU64,
    plan_bytes_max: u64,
    answer_bytes_max: u64,
    hits: AtomicU64,
    misses: AtomicU64,
    bypasses: [AtomicU64; Bypass::ALL.len()],
}

/// Where the answers of a version's rules are, looked up once.
#[derive(Debug, Default)]
pub(crate) struct Rules(OnceLock<Box<[RuleCache]>>);

/// Where the answers of one rule are.
#[derive(Debug)]
pub(crate) struct RuleCache {
    rule: RuleName,
    plan: Arc<Plan>,
    part: Arc<Part>,
}

impl Rules {
    /// None where the version's answers are not cached.
    pub(crate) fn of<'a>(
        &'a self,
        active: &Active,
        rule: &RuleName,
        decisions: &Decisions,
    ) -> Option<&'a RuleCache> {
        self.0.get_or_init(|| decisions.rules(active)).iter().find(|cache| cache.rule == *rule)
    }
}

impl RuleCache {
    /// The answer to a question that no policy could tell from this one.
    pub(crate) fn find(&self, query: &Query<'_>) -> Option<Arc<Stored>> {
        KEY.with_borrow_mut(|key| {
            let found = self.plan.find(query, key).then(|| self.part.answers.get(key.as_slice())).flatten();
            key.shrink_to(KEY_BYTES_KEPT);
            found
        })
    }

    /// Keeps what came of an evaluation, if that may be, for the decision with this id.
    pub(crate) fn keep(&self, query: &Query<'_>, outcome: &Outcome, id: &str) -> Cached {
        match self.part.bypass(outcome) {
            Some(reason) => Cached::Bypass(reason),
            None => {
                self.insert(query, outcome, id);
                Cached::Miss
            }
        }
    }

    fn insert(&self, query: &Query<'_>, outcome: &Outcome, id: &str) {
        let mut key = Vec::with_capacity(KEY_BYTES_KEPT);
        let Some(added) = self.plan.trace(query, &outcome.reads, &mut key) else { return };
        let (outcome, first) = (outcome.clone(), id.to_owned());
        let stored = Stored { outcome, first, fields: OnceLock::new() };
        self.part.answers.insert(key.into_boxed_slice(), Arc::new(stored));
        self.part.grow(added);
    }

    /// Counts how a decision stood to the cache.
    pub(crate) fn note(&self, cached: &Cached) {
        self.part.note(cached);
    }
}

impl Decisions {
    pub(crate) fn new(config: Option<&CacheConfig>) -> Self {
        let Some(config) = config else { return Self::default() };
        let tenants: BTreeSet<&Tenant> = config.policies.iter().map(PolicyName::tenant).collect();
        let share = config.bytes_max / u64::try_from(tenants.len()).unwrap_or(u64::MAX).max(1);
        let share = config.bytes_max_per_tenant.map_or(share, |most| most.min(share));
        let tenants = tenants.into_iter().map(|tenant| (tenant.clone(), Arc::new(Part::new(share))));
        let decisions = Self { policies: config.policies.clone(), tenants: tenants.collect() };
        #[cfg(test)]
        let decisions = decisions.spoiled();
        decisions
    }

    fn rules(&self, active: &Active) -> Box<[RuleCache]> {
        let part = self.tenants.get(active.name.tenant()).filter(|_| self.policies.contains(&active.name));
        let Some(part) = part else { return Box::default() };
        let cache = |rule: &Rule| {
            let plan = part.plan(Base::of(active, &rule.name));
            RuleCache { rule: rule.name.clone(), plan, part: Arc::clone(part) }
        };
        active.policy.manifest().rules.iter().map(cache).collect()
    }

    /// Forgets the plans of versions that no longer answer. Their answers, which nobody finds any more, make way.
    pub(crate) fn keep_only<'a>(&self, actives: impl Iterator<Item = &'a Arc<Active>>) {
        if self.policies.is_empty() {
            return;
        }
        let mut wanted: HashMap<&Tenant, HashSet<Base>> = HashMap::new();
        for active in actives.filter(|active| self.policies.contains(&active.name)) {
            let bases = active.policy.manifest().rules.iter().map(|rule| Base::of(active, &rule.name));
            wanted.entry(active.name.tenant()).or_default().extend(bases);
        }
        for (tenant, part) in &self.tenants {
            let wanted = wanted.remove(tenant).unwrap_or_default();
            part.plans().retain(|base, plan| {
                let stays = wanted.contains(base);
                if !stays {
                    part.shrink(plan.close());
                }
                stays
            });
        }
    }

    pub(crate) fn counts(&self) -> (DecisionCacheCounts, BTreeMap<Tenant, DecisionCacheCounts>) {
        let tenants: BTreeMap<_, _> =
            self.tenants.iter().map(|(tenant, part)| (tenant.clone(), part.counts())).collect();
        let mut total = DecisionCacheCounts::default();
        tenants.values().for_each(|counts| total.add(counts));
        (total, tenants)
    }
}

impl Part {
    fn new(bytes_max: u64) -> Self {
        let plan_bytes_max = bytes_max / PLANS_PART;
        let weigh = |key: &Key, stored: &Arc<Stored>| {
            u32::try_from(key.len().saturating_add(Stored::bytes(&stored.outcome))).unwrap_or(u32::MAX)
        };
        let answer_bytes_max = bytes_max - plan_bytes_max;
        let answers =
            Cache::builder().max_capacity(answer_bytes_max).weigher(weigh).build_with_hasher(hasher());
        let zero = || AtomicU64::new(0);
        Self {
            answers,
            plans: RwLock::default(),
            plan_bytes: zero(),
            plan_bytes_max,
            answer_bytes_max,
            hits: zero(),
            misses: zero(),
            bypasses: Bypass::ALL.map(|_| zero()),
        }
    }

    fn plans(&self) -> std::sync::RwLockWriteGuard<'_, HashMap<Base, Arc<Plan>>> {
        self.plans.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn plan(&self, base: Base) -> Arc<Plan> {
        let mut plans = self.plans();
        let input_bytes_max = base.limits.input_bytes;
        Arc::clone(plans.entry(base).or_insert_with(|| Arc::new(Plan::new(input_bytes_max))))
    }

    /// Why an outcome is not to be kept.
    fn bypass(&self, outcome: &Outcome) -> Option<Bypass> {
        let size = |bytes: usize| u64::try_from(bytes).unwrap_or(u64::MAX);
        let steps_bytes: usize = outcome.reads.iter().map(|read| plan::step_bytes(read.pointer)).sum();
        let is_too_large = outcome.reads.len() > STEPS_MAX
            || size(steps_bytes) > self.plan_bytes_max / SHARE_MAX
            || size(Stored::bytes(outcome)) > self.answer_bytes_max / SHARE_MAX;
        #[cfg(test)]
        let outcome = &LeftOut::of_outcome(outcome);
        let reasons = [
            (outcome.result.is_err(), Bypass::Fault),
            (outcome.saw_time, Bypass::SawTime),
            (!outcome.log.is_empty(), Bypass::Logged),
            (is_too_large, Bypass::TooLarge),
        ];
        reasons.into_iter().find_map(|(holds, reason)| holds.then_some(reason))
    }

    /// Counts what plans have grown by. Where they have outgrown their part, all are begun again: they are quickly made,
    /// and what is large in them is what was asked once.
    fn grow(&self, added: u64) {
        let bytes = self.plan_bytes.fetch_add(added, Ordering::Relaxed).saturating_add(added);
        if bytes > self.plan_bytes_max {
            let plans: Vec<_> = self.plans().values().cloned().collect();
            plans.iter().for_each(|plan| self.shrink(plan.clear()));
        }
    }

    fn shrink(&self, bytes: u64) {
        self.plan_bytes.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// Notes how an evaluation stands to the cache.
    fn note(&self, cached: &Cached) {
        let count = match cached {
            Cached::Off => return,
            Cached::Hit { .. } => &self.hits,
            Cached::Miss => &self.misses,
            Cached::Bypass(reason) => {
                match Bypass::ALL.iter().zip(&self.bypasses).find(|(one, _)| *one == reason) {
                    Some((_, count)) => count,
                    None => return,
                }
            }
        };
        count.fetch_add(1, Ordering::Relaxed);
    }

    fn counts(&self) -> DecisionCacheCounts {
        self.answers.run_pending_tasks();
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let bypasses =
            Bypass::ALL.into_iter().zip(&self.bypasses).map(|(reason, count)| (reason, read(count)));
        DecisionCacheCounts {
            hits: read(&self.hits),
            misses: read(&self.misses),
            bypasses: bypasses.collect(),
            answers: self.answers.entry_count(),
            bytes: self.answers.weighted_size() + read(&self.plan_bytes),
            bytes_max: self.plan_bytes_max + self.answer_bytes_max,
        }
    }
}

impl Host {
    /// How the decision cache has done, in all and by tenant; nothing where none is configured.
    pub fn cache_counts(&self) -> (DecisionCacheCounts, BTreeMap<Tenant, DecisionCacheCounts>) {
        self.inner.decisions.counts()
    }
}
