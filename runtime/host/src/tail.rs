//! Decisions as they become durable, for those who watch. What nobody watches costs one look at a counter.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock, Weak};
use std::time::Duration;

use tokio::sync::broadcast::error::RecvError;
use tokio::sync::broadcast::{self, Receiver, Sender};
use verdict_core::digest::Digest;
use verdict_core::name::{PolicyName, Tenant};
use verdict_core::outcome::FaultCode;
use verdict_core::record::Through;
use verdict_core::time::Timestamp;

use crate::{Decision, Host};

/// How many decisions a watcher may be behind before it misses some.
const BEHIND_MAX: usize = 1_024;

/// What is told of a decision: neither its input nor its answer. More of it is there by its id.
#[derive(Debug, Clone)]
pub struct TailedDecision {
    /// The decision's id.
    pub id: String,
    /// The policy that was asked.
    pub policy: PolicyName,
    /// The channel that chose the version, and whether it was only made beside another decision.
    pub channel: Option<Through>,
    /// The version that answered.
    pub version: String,
    /// The digest of its component.
    pub component: Digest,
    /// The rule.
    pub rule: String,
    /// Whether a gateway lets it pass.
    pub allow: bool,
    /// The class of the fault; none for an answer.
    pub fault: Option<FaultCode>,
    /// The fuel that an answer burned.
    pub fuel: Option<u64>,
    /// The time that the policy saw.
    pub decision_time: Timestamp,
    /// When the question arrived, by the host's clock.
    pub received_at: Timestamp,
    /// How long the evaluation took.
    pub elapsed: Duration,
    /// The place of its record in the tenant's log; none where the log is off.
    pub index: Option<u64>,
}

/// What a watcher gets.
#[derive(Debug, Clone)]
pub enum Tailed {
    /// A decision.
    Decision(Arc<TailedDecision>),
    /// So many were left out here, because the watcher was too slow.
    Missed(u64),
}

/// Somebody who watches a tenant's decisions. It ends when it is dropped.
#[derive(Debug)]
pub struct Tail {
    tenant: Tenant,
    tails: Weak<Tails>,
    receiver: Option<Receiver<Arc<TailedDecision>>>,
}

impl Tail {
    /// What comes next; none when the host is gone. Nothing is lost when this is not awaited to its end. It needs no
    /// particular async runtime.
    pub async fn next(&mut self) -> Option<Tailed> {
        match self.receiver.as_mut()?.recv().await {
            Ok(decision) => Some(Tailed::Decision(decision)),
            Err(RecvError::Lagged(missed)) => Some(Tailed::Missed(missed)),
            Err(RecvError::Closed) => None,
        }
    }
}

impl Drop for Tail {
    fn drop(&mut self) {
        // First, so that it does not count as one of those who are left.
        self.receiver = None;
        if let Some(tails) = self.tails.upgrade() {
            tails.leave(&self.tenant);
        }
    }
}

/// Everybody who watches.
#[derive(Debug, Default)]
pub(crate) struct Tails {
    watching: AtomicUsize,
    tenants: RwLock<HashMap<Tenant, Sender<Arc<TailedDecision>>>>,
}

impl Tails {
    /// Tells of a decision.
    pub(crate) fn tell(&self, decision: &Decision) {
        if self.watching.load(Ordering::Relaxed) > 0 {
            self.tell_watchers(decision);
        }
    }

    #[cold]
    fn tell_watchers(&self, decision: &Decision) {
        let tenants = self.tenants.read().unwrap_or_else(PoisonError::into_inner);
        let Some(sender) = tenants.get(decision.policy.tenant()) else { return };
        // It fails when the last one is just leaving.
        let _ = sender.send(Arc::new(TailedDecision::of(decision)));
    }

    fn enter(self: &Arc<Self>, tenant: &Tenant) -> Tail {
        let mut tenants = self.tenants.write().unwrap_or_else(PoisonError::into_inner);
        let sender = tenants.entry(tenant.clone()).or_insert_with(|| broadcast::channel(BEHIND_MAX).0);
        let receiver = Some(sender.subscribe());
        self.watching.fetch_add(1, Ordering::Relaxed);
        Tail { tenant: tenant.clone(), tails: Arc::downgrade(self), receiver }
    }

    fn leave(&self, tenant: &Tenant) {
        let mut tenants = self.tenants.write().unwrap_or_else(PoisonError::into_inner);
        self.watching.fetch_sub(1, Ordering::Relaxed);
        if tenants.get(tenant).is_some_and(|sender| sender.receiver_count() == 0) {
            tenants.remove(tenant);
        }
    }
}

impl TailedDecision {
    fn of(decision: &Decision) -> Self {
        Self {
            id: decision.id.clone(),
            policy: decision.policy.clone(),
            channel: decision.channel.clone(),
            version: decision.version.clone(),
            component: decision.component,
            rule: decision.rule.clone(),
            allow: decision.allow,
            fault: decision.result.as_ref().err().map(|fault| fault.code),
            fuel: decision.fuel,
            decision_time: decision.decision_time,
            received_at: decision.received_at,
            elapsed: decision.elapsed,
            index: decision.index,
        }
    }
}

impl Host {
    /// Watches a tenant's decisions from now on, those of shadows included, each when its record is durable; where the
    /// log is off, when it is made.
    pub fn subscribe(&self, tenant: &Tenant) -> Tail {
        self.inner.tails.enter(tenant)
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    use serde_json::json;

    use super::*;
    use crate::support;
    use crate::testing::{Bank, ask};

    fn bank() -> Bank {
        let bank = Bank::new();
        for policy in ["a/echo", "b/echo"] {
            bank.publish(&support::echo(""), json!({"policy": policy}));
        }
        bank
    }

    /// What is there already.
    fn next(tail: &mut Tail) -> Poll<Option<Tailed>> {
        pin!(tail.next()).poll(&mut Context::from_waker(Waker::noop()))
    }

    #[test]
    fn a_watcher_is_told_of_its_tenants_decisions_once_they_are_recorded() {
        let bank = bank();
        let host = bank.host();
        ask(&host, "a/echo", "1");
        let mut tail = host.subscribe(&"a".parse().unwrap());
        let decision = ask(&host, "a/echo", "2");
        ask(&host, "b/echo", "3");
        let Poll::Ready(Some(Tailed::Decision(told))) = next(&mut tail) else { panic!("nothing was told") };
        assert_eq!((&told.id, told.index), (&decision.id, Some(1)));
        assert!(next(&mut tail).is_pending());
        // One whose caller went away is recorded all the same, and told.
        let pending = host.decide(crate::testing::request("a/echo", "4")).unwrap();
        drop(pending);
        let began = std::time::Instant::now();
        while next(&mut tail).is_pending() {
            assert!(began.elapsed() < Duration::from_secs(60));
            std::thread::yield_now();
        }
        drop(host);
        assert!(matches!(next(&mut tail), Poll::Ready(None)));
    }

    #[test]
    fn a_decision_that_is_returned_again_is_told_once_and_says_what_was_read() {
        let bank = bank();
        let host = bank.host();
        let mut tail = host.subscribe(&"a".parse().unwrap());
        let again = || {
            let request = crate::Request { id: Some("x".into()), ..crate::testing::request("a/echo", "1") };
            host.decide(request).unwrap().wait().unwrap()
        };
        let (first, repeated) = (again(), again());
        assert!(repeated.repeated && first.reads.len() == 1 && first.reads == repeated.reads);
        assert!(next(&mut tail).is_ready() && next(&mut tail).is_pending());
    }

    #[test]
    fn who_is_slow_is_told_how_many_were_missed() {
        let bank = bank();
        let host = Host::open(crate::Config { log: crate::Log::Buffered, ..bank.config() }).unwrap();
        let mut tail = host.subscribe(&"a".parse().unwrap());
        for _ in 0..BEHIND_MAX + 5 {
            ask(&host, "a/echo", "1");
        }
        assert!(matches!(next(&mut tail), Poll::Ready(Some(Tailed::Missed(5)))));
        let Poll::Ready(Some(Tailed::Decision(told))) = next(&mut tail) else { panic!("nothing was told") };
        assert_eq!(told.index, Some(5));
        let other = host.subscribe(&"a".parse().unwrap());
        drop(tail);
        assert_eq!(host.inner.tails.watching.load(Ordering::Relaxed), 1);
        drop(other);
        assert!(host.inner.tails.tenants.read().unwrap().is_empty());
    }
}
