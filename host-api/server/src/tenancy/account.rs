//! What one tenant uses now, and its turns.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use verdict::core::outcome::FaultCode;
use verdict::{Bounds, DecideError, Host, Pending, Request};

use super::Over;
use super::bucket::Bucket;
use super::budget::Budget;
use super::usage::{Refused, Usage, UsageView};
use crate::observe::{self, Trace};
use crate::times::Timed;

/// The longest time in the queue. Whoever waits longer would have been better off asking another server.
const QUEUE_TIME_MAX: Duration = Duration::from_secs(1);
/// When to ask again after a bound that says nothing about time.
const SOON: Duration = Duration::from_secs(1);
/// The queue of a tenant whose budget names none.
const QUEUE: u32 = 64;

/// What one tenant uses.
#[derive(Debug)]
pub(crate) struct Account {
    /// The time by which rates are kept begins here.
    since: Instant,
    // Replaced as a whole when the budget is another.
    limits: ArcSwap<Limits>,
    memory_bytes: AtomicU64,
    running: AtomicU32,
    usage: Usage,
}

/// What an account is held to, and how much of it is left.
#[derive(Debug)]
struct Limits {
    requests: Option<Bucket>,
    fuel: Option<Bucket>,
    concurrency: Option<Arc<Concurrency>>,
    memory_bytes_max: Option<u64>,
}

#[derive(Debug)]
struct Concurrency {
    turns: Arc<Semaphore>,
    running_max: u32,
    waiting: AtomicU32,
    waiting_max: u32,
}

/// What a tenant wants to ask.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Claim {
    /// How many questions.
    pub(crate) questions: u64,
    /// On how many threads at a time, at most.
    pub(crate) lanes: u32,
    /// What each of them may use.
    pub(crate) bounds: Bounds,
}

/// Evaluations of a tenant, on one thread or on several; over when it is dropped. It goes where the evaluation goes, so
/// that a caller who does not wait for it has no other turn before.
#[derive(Debug)]
pub(crate) struct Turn {
    account: Arc<Account>,
    bounds: Bounds,
    lanes: u32,
    /// What was reserved; nothing where memory was not bounded.
    memory_bytes: u64,
    /// Where it is told what was evaluated.
    trace: Option<Arc<Trace>>,
    _running: Option<OwnedSemaphorePermit>,
}

impl Account {
    pub(super) fn new(budget: &Budget, since: Instant) -> Self {
        Self {
            since,
            limits: ArcSwap::from_pointee(Limits::new(budget)),
            memory_bytes: AtomicU64::new(0),
            running: AtomicU32::new(0),
            usage: Usage::default(),
        }
    }

    /// Gives the tenant another budget from now on; what is under way goes on with the one before.
    pub(super) fn limit(&self, budget: &Budget) {
        let now = self.since.elapsed();
        self.limits.rcu(|limits| limits.replaced(budget, now));
    }

    /// Whether the rates leave room for a question.
    ///
    /// # Errors
    /// When the tenant has used one of them up.
    pub(super) fn check(&self, now: impl Fn() -> Duration) -> Result<(), Over> {
        let limits = self.limits.load();
        self.check_rate(Refused::Requests, limits.requests.as_ref(), &now)?;
        self.check_rate(Refused::Fuel, limits.fuel.as_ref(), now)
    }

    /// `now` is looked at only where there is a rate: each look at the clock is a part of what a decision takes.
    fn check_rate(
        &self,
        what: Refused,
        bucket: Option<&Bucket>,
        now: impl Fn() -> Duration,
    ) -> Result<(), Over> {
        let Some(bucket) = bucket else { return Ok(()) };
        bucket.check(now()).map_err(|wait| self.refuse(what, bucket.per_s(), wait))
    }

    /// A turn. Waits for it, not for long.
    ///
    /// # Errors
    /// When the tenant asks for more than its budget.
    pub(crate) async fn enter(self: &Arc<Self>, claim: Claim) -> Result<Turn, Over> {
        self.enter_at(|| self.since.elapsed(), claim).await
    }

    async fn enter_at(self: &Arc<Self>, now: impl Fn() -> Duration, claim: Claim) -> Result<Turn, Over> {
        self.check(&now)?;
        let concurrency = {
            let limits = self.limits.load();
            if let Some(requests) = &limits.requests {
                requests.take(now(), claim.questions);
            }
            limits.concurrency.clone()
        };
        let running = match &concurrency {
            Some(concurrency) => Some(
                concurrency
                    .turn(claim.lanes)
                    .await
                    .ok_or_else(|| self.refuse(Refused::Queue, concurrency.running_max.into(), SOON))?,
            ),
            None => None,
        };
        let lanes = running
            .as_ref()
            .map_or(claim.lanes, |running| u32::try_from(running.num_permits()).unwrap_or(claim.lanes));
        let memory_bytes = self.reserve(claim.bounds.memory_bytes.saturating_mul(lanes.into()))?;
        self.running.fetch_add(lanes, Ordering::Relaxed);
        let (account, bounds) = (Arc::clone(self), claim.bounds);
        let trace = observe::trace();
        Ok(Turn { account, bounds, lanes, memory_bytes, trace, _running: running })
    }

    /// Reserves memory, where that is bounded; returns how much.
    fn reserve(&self, bytes: u64) -> Result<u64, Over> {
        let Some(max) = self.limits.load().memory_bytes_max else { return Ok(0) };
        let more = |used: u64| used.checked_add(bytes).filter(|used| *used <= max);
        let reserved = self.memory_bytes.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more);
        reserved.map(|_| bytes).map_err(|_| self.refuse(Refused::Memory, max, SOON))
    }

    fn refuse(&self, what: Refused, limit: u64, wait: Duration) -> Over {
        self.usage.refuse(what);
        Over { what, limit, wait }
    }

    /// Counts what came of an evaluation.
    fn note(&self, now: impl Fn() -> Duration, fault: Option<FaultCode>, allow: bool, fuel: u64) {
        if let Some(bucket) = &self.limits.load().fuel {
            bucket.take(now(), fuel);
        }
        self.usage.note(fault, allow, fuel);
    }

    /// What was used.
    pub(crate) fn usage(&self) -> UsageView {
        self.usage.view()
    }

    /// How long evaluations took.
    pub(crate) fn times(&self) -> Timed {
        self.usage.times()
    }

    /// What it may use of each that is bounded.
    pub(crate) fn bounds(&self) -> Vec<(&'static str, u64)> {
        let limits = self.limits.load();
        let concurrency = limits.concurrency.as_ref();
        let bounds = [
            ("requests", limits.requests.as_ref().map(Bucket::per_s)),
            ("fuel", limits.fuel.as_ref().map(Bucket::per_s)),
            ("concurrency", concurrency.map(|concurrency| concurrency.running_max.into())),
            ("queue", concurrency.map(|concurrency| concurrency.waiting_max.into())),
            ("memory", limits.memory_bytes_max),
        ];
        bounds.into_iter().filter_map(|(name, bound)| Some((name, bound?))).collect()
    }

    /// Evaluations under way, and questions that wait.
    pub(crate) fn now(&self) -> (u32, u32) {
        let limits = self.limits.load();
        let waiting =
            limits.concurrency.as_ref().map_or(0, |concurrency| concurrency.waiting.load(Ordering::Relaxed));
        (self.running.load(Ordering::Relaxed), waiting)
    }

    /// What is left of this second: questions and fuel, where they are bounded.
    pub(crate) fn left(&self, now: Duration) -> (Option<u64>, Option<u64>) {
        let left = |bucket: &Option<Bucket>| bucket.as_ref().map(|bucket| bucket.left(now));
        let limits = self.limits.load();
        (left(&limits.requests), left(&limits.fuel))
    }
}

impl Limits {
    fn new(budget: &Budget) -> Self {
        Self {
            requests: budget.requests_per_s.map(Bucket::new),
            fuel: budget.fuel_per_s.map(Bucket::new),
            concurrency: Concurrency::new(budget).map(Arc::new),
            memory_bytes_max: budget.memory_bytes,
        }
    }

    /// Those of another budget, in which what was used is used.
    fn replaced(&self, budget: &Budget, now: Duration) -> Self {
        let rate = |before: &Option<Bucket>, per_s: Option<u64>| {
            let before = before.as_ref();
            per_s.map(|per_s| before.map_or_else(|| Bucket::new(per_s), |bucket| bucket.at_rate(per_s, now)))
        };
        let bounds = |one: &Concurrency| (one.running_max, one.waiting_max);
        let concurrency = Concurrency::new(budget);
        let kept =
            self.concurrency.as_ref().filter(|one| Some(bounds(one)) == concurrency.as_ref().map(bounds));
        Self {
            requests: rate(&self.requests, budget.requests_per_s),
            fuel: rate(&self.fuel, budget.fuel_per_s),
            concurrency: kept.cloned().or_else(|| concurrency.map(Arc::new)),
            memory_bytes_max: budget.memory_bytes,
        }
    }
}

impl Concurrency {
    fn new(budget: &Budget) -> Option<Self> {
        budget.concurrency.map(|running_max| Self {
            turns: Arc::new(Semaphore::new(usize::try_from(running_max).unwrap_or(Semaphore::MAX_PERMITS))),
            running_max,
            waiting: AtomicU32::new(0),
            waiting_max: budget.queue.unwrap_or(QUEUE),
        })
    }

    /// A turn on as many threads as there are places for, up to `lanes`; none if too many wait, or it takes too long.
    async fn turn(&self, lanes: u32) -> Option<OwnedSemaphorePermit> {
        let turns = || Arc::clone(&self.turns);
        let most = (1..=lanes).rev().find_map(|lanes| turns().try_acquire_many_owned(lanes).ok());
        if most.is_some() {
            return most;
        }
        let _waiting = Waiting::among(self)?;
        tokio::time::timeout(QUEUE_TIME_MAX, turns().acquire_owned()).await.ok()?.ok()
    }
}

/// A place in the queue, until it is dropped: also by a caller that goes away.
struct Waiting<'a>(&'a AtomicU32);

impl<'a> Waiting<'a> {
    fn among(concurrency: &'a Concurrency) -> Option<Self> {
        let one_more = |waiting: u32| (waiting < concurrency.waiting_max).then_some(waiting + 1);
        concurrency.waiting.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more).ok()?;
        Some(Self(&concurrency.waiting))
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Turn {
    /// On how many threads at a time.
    pub(crate) fn lanes(&self) -> u32 {
        self.lanes
    }

    /// Evaluates a question, and puts it on the account.
    ///
    /// # Errors
    /// When the questions before it have used up the tenant's fuel. What the host says comes as it is.
    pub(crate) fn decide(&self, host: &Host, request: Request) -> Result<Result<Pending, DecideError>, Over> {
        let account = &self.account;
        let now = || account.since.elapsed();
        account.check_rate(Refused::Fuel, account.limits.load().fuel.as_ref(), now)?;
        let pending = host.decide(request);
        if let Some(used) = pending.as_ref().ok().and_then(Pending::used) {
            let fuel = used.fuel.unwrap_or(self.bounds.fuel);
            account.note(now, used.fault, used.allow, fuel);
            account.usage.note_time(used.elapsed);
        }
        if let (Some(trace), Ok(pending)) = (&self.trace, &pending) {
            trace.evaluated(pending);
        }
        Ok(pending)
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.account.running.fetch_sub(self.lanes, Ordering::Relaxed);
        self.account.memory_bytes.fetch_sub(self.memory_bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn account(budget: Budget) -> Arc<Account> {
        Arc::new(Account::new(&budget, Instant::now()))
    }

    /// One question of a policy with this memory limit.
    fn one(memory_bytes: u64) -> Claim {
        Claim { questions: 1, lanes: 1, bounds: Bounds { fuel: 1_000, memory_bytes } }
    }

    fn over(result: Result<Turn, Over>) -> Refused {
        result.unwrap_err().what
    }

    #[tokio::test]
    async fn a_turn_is_over_when_it_is_dropped() {
        let budget =
            Budget { concurrency: Some(1), queue: Some(0), memory_bytes: Some(10), ..Budget::default() };
        let account = account(budget);
        let turn = account.enter_at(|| Duration::ZERO, one(10)).await.unwrap();
        assert_eq!(account.now(), (1, 0));
        assert_eq!(over(account.enter_at(|| Duration::ZERO, one(0)).await), Refused::Queue);
        drop(turn);
        assert_eq!(account.now(), (0, 0));
        drop(account.enter_at(|| Duration::ZERO, one(10)).await.unwrap());
        assert_eq!(over(account.enter_at(|| Duration::ZERO, one(11)).await), Refused::Memory);
        assert_eq!(account.now(), (0, 0), "what was refused holds nothing");
        drop(account.enter_at(|| Duration::ZERO, one(10)).await.unwrap());
    }

    #[tokio::test]
    async fn a_few_wait_and_not_for_long() {
        let account = account(Budget { concurrency: Some(1), queue: Some(1), ..Budget::default() });
        let turn = account.enter_at(|| Duration::ZERO, one(0)).await.unwrap();
        let waits = tokio::spawn({
            let account = Arc::clone(&account);
            async move { account.enter_at(|| Duration::ZERO, one(0)).await.map(drop) }
        });
        tokio::task::yield_now().await;
        assert_eq!(account.now(), (1, 1));
        assert_eq!(over(account.enter_at(|| Duration::ZERO, one(0)).await), Refused::Queue);
        drop(turn);
        assert_eq!(waits.await.unwrap(), Ok(()));
        let _turn = account.enter_at(|| Duration::ZERO, one(0)).await.unwrap();
        assert_eq!(over(account.enter_at(|| Duration::ZERO, one(0)).await), Refused::Queue, "after a second");
        assert_eq!(account.now(), (1, 0));
    }

    #[tokio::test]
    async fn many_questions_at_once_have_the_places_that_there_are() {
        let account = account(Budget { concurrency: Some(3), requests_per_s: Some(10), ..Budget::default() });
        let first = account.enter_at(|| Duration::ZERO, one(0)).await.unwrap();
        let many = Claim { questions: 40, lanes: 8, ..one(0) };
        let turn = account.enter_at(|| Duration::ZERO, many).await.unwrap();
        assert_eq!((first.lanes(), turn.lanes(), account.now()), (1, 2, (3, 0)));
        drop((first, turn));
        assert_eq!(account.now(), (0, 0));
        assert_eq!(over(account.enter_at(|| Duration::ZERO, one(0)).await), Refused::Requests, "each counts");
    }

    #[tokio::test]
    async fn another_budget_keeps_what_was_used_and_what_is_under_way() {
        let budget = |requests| Budget {
            requests_per_s: requests,
            concurrency: Some(2),
            memory_bytes: Some(10),
            ..Budget::default()
        };
        let account = account(budget(Some(1)));
        let turn = account.enter(one(4)).await.unwrap();
        account.note(|| Duration::ZERO, None, true, 7);
        account.limit(&budget(None));
        assert_eq!((account.now(), account.usage().decisions, account.usage().fuel), ((1, 0), 1, 7));
        assert_eq!(over(account.enter(one(7)).await), Refused::Memory, "what is reserved stays reserved");
        let other = account.enter(one(6)).await.unwrap();
        assert_eq!(account.now(), (2, 0));
        account.limit(&Budget::default());
        drop((turn, other));
        assert_eq!((account.now(), account.memory_bytes.load(Ordering::Relaxed)), ((0, 0), 0));
        account.limit(&budget(None));
        drop(account.enter(one(10)).await.unwrap());
        assert_eq!(account.usage().refused["memory"], 1);
    }

    #[tokio::test]
    async fn fuel_is_charged_afterwards_and_asked_for_before() {
        let account = account(Budget { fuel_per_s: Some(100), ..Budget::default() });
        drop(account.enter_at(|| Duration::ZERO, one(0)).await.unwrap());
        account.note(|| Duration::ZERO, Some(FaultCode::OutOfFuel), false, 1_000);
        let refused = account.enter_at(|| Duration::ZERO, one(0)).await.unwrap_err();
        assert_eq!((refused.what, refused.limit, refused.wait), (Refused::Fuel, 100, Duration::from_secs(9)));
        assert!(account.enter_at(|| Duration::from_secs(10), one(0)).await.is_ok());
        let usage = account.usage();
        assert_eq!((usage.decisions, usage.allowed, usage.fuel), (1, 0, 1_000));
        assert_eq!((usage.faults["out-of-fuel"], usage.refused["fuel"]), (1, 1));
    }
}
