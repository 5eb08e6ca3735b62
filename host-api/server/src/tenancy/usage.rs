//! What a tenant used since the server began.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde::Serialize;
use utoipa::ToSchema;
use verdict::core::outcome::FaultCode;

use crate::times::{Timed, Times};

/// Which bound a question met.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refused {
    /// Too many questions a second.
    Requests,
    /// Too much fuel a second.
    Fuel,
    /// Too many evaluations at a time, and too many wait already.
    Queue,
    /// Too much memory at a time.
    Memory,
}

impl Refused {
    pub(crate) const ALL: [Self; 4] = [Self::Requests, Self::Fuel, Self::Queue, Self::Memory];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Requests => "requests",
            Self::Fuel => "fuel",
            Self::Queue => "queue",
            Self::Memory => "memory",
        }
    }
}

impl Refused {
    /// What was used up.
    pub(crate) fn words(self, limit: u64) -> String {
        match self {
            Self::Requests => format!("{limit} questions a second"),
            Self::Fuel => format!("{limit} units of fuel a second"),
            Self::Queue => format!("{limit} evaluations at a time, and its queue is full"),
            Self::Memory => format!("{limit} bytes of memory"),
        }
    }

    /// The bound as `RateLimit-Policy` has it: a quota, with the seconds that it is for or with its unit.
    pub(crate) fn policy(self, limit: u64) -> String {
        let name = self.name();
        match self {
            Self::Requests => format!("\"{name}\";q={limit};w=1"),
            Self::Fuel => format!("\"{name}\";q={limit};qu=\"fuel\";w=1"),
            Self::Queue => format!("\"{name}\";q={limit};qu=\"concurrent-requests\""),
            Self::Memory => format!("\"{name}\";q={limit};qu=\"content-bytes\""),
        }
    }
}

/// The ends of the ranges that the times of evaluations are counted in: seconds.
const EVALUATION_SECONDS: [f64; 12] =
    [2e-6, 5e-6, 1e-5, 2.5e-5, 5e-5, 1e-4, 2.5e-4, 1e-3, 5e-3, 2.5e-2, 1e-1, 5e-1];

/// Counters that only grow.
#[derive(Debug)]
pub(crate) struct Usage {
    decisions: AtomicU64,
    allowed: AtomicU64,
    fuel: AtomicU64,
    faults: [AtomicU64; FaultCode::ALL.len()],
    refused: [AtomicU64; Refused::ALL.len()],
    /// How long evaluations took.
    times: Times<{ EVALUATION_SECONDS.len() }>,
}

impl Default for Usage {
    fn default() -> Self {
        let zero = AtomicU64::default;
        Self {
            decisions: zero(),
            allowed: zero(),
            fuel: zero(),
            faults: std::array::from_fn(|_| zero()),
            refused: std::array::from_fn(|_| zero()),
            times: Times::new(&EVALUATION_SECONDS),
        }
    }
}

/// What a tenant used, as it is told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = Usage)]
pub(crate) struct UsageView {
    /// Evaluations: answers and faults.
    pub(crate) decisions: u64,
    /// Answers that allow.
    pub(crate) allowed: u64,
    /// Fuel; a fault counts its limit.
    pub(crate) fuel: u64,
    /// Faults by code, those that there were.
    pub(crate) faults: std::collections::BTreeMap<&'static str, u64>,
    /// Questions that were refused, by the bound that they met.
    pub(crate) refused: std::collections::BTreeMap<&'static str, u64>,
}

impl Usage {
    pub(super) fn note(&self, fault: Option<FaultCode>, allow: bool, fuel: u64) {
        self.decisions.fetch_add(1, Ordering::Relaxed);
        self.fuel.fetch_add(fuel, Ordering::Relaxed);
        if allow {
            self.allowed.fetch_add(1, Ordering::Relaxed);
        }
        let place = fault.and_then(|fault| FaultCode::ALL.iter().position(|code| *code == fault));
        if let Some(count) = place.and_then(|place| self.faults.get(place)) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(super) fn note_time(&self, elapsed: Duration) {
        self.times.note(elapsed);
    }

    pub(super) fn times(&self) -> Timed {
        self.times.read()
    }

    pub(super) fn refuse(&self, what: Refused) {
        let place = Refused::ALL.iter().position(|one| *one == what);
        if let Some(count) = place.and_then(|place| self.refused.get(place)) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(super) fn view(&self) -> UsageView {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let faults = FaultCode::ALL.iter().map(|code| code.code()).zip(self.faults.iter().map(read));
        let refused = Refused::ALL.iter().map(|what| what.name()).zip(self.refused.iter().map(read));
        UsageView {
            decisions: read(&self.decisions),
            allowed: read(&self.allowed),
            fuel: read(&self.fuel),
            faults: faults.filter(|(_, count)| *count > 0).collect(),
            refused: refused.collect(),
        }
    }
}
