//! Comparing: what an instance that was reset answered, and what it is now, against an instance that is really new.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::{Evaluated, Instance, Instances};
use crate::capabilities::Question;

/// Which decisions are compared, and what came of it.
pub(crate) struct Verification {
    one_in: NonZeroU32,
    asked: AtomicU64,
    compared: AtomicU64,
    differed: AtomicU64,
}

/// How often evaluations in instances that were reset have been compared with new ones.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct VerificationCounts {
    /// Evaluations that were made again in a new instance.
    pub compared: u64,
    /// Those that came out differently. Each is a fault of the host, and stops resets for its policy.
    pub differed: u64,
}

impl Verification {
    pub(crate) fn new(one_in: NonZeroU32) -> Self {
        let zero = || AtomicU64::new(0);
        Self { one_in, asked: zero(), compared: zero(), differed: zero() }
    }

    /// A copy of the question, if it is one of those that are compared.
    pub(crate) fn next(&self, question: &Question) -> Option<Question> {
        let asked = self.asked.fetch_add(1, Ordering::Relaxed);
        asked.is_multiple_of(self.one_in.get().into()).then(|| question.clone())
    }

    pub(crate) fn counts(&self) -> VerificationCounts {
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        VerificationCounts { compared: count(&self.compared), differed: count(&self.differed) }
    }
}

impl Instances {
    /// Asks the same in a new instance, and compares: the outcome, and, of an instance that was reset, every byte. What
    /// differs ends the resets of this policy.
    pub(super) fn verify(
        &self,
        evaluated: &Evaluated,
        reset: Option<&mut Instance>,
        question: Question,
        rule: &Arc<str>,
    ) {
        let Some(verification) = self.engine.verification.as_ref() else { return };
        // Without room for a second instance nothing can be compared, and nothing is claimed.
        let Ok(mut new) = self.make(None) else { return };
        verification.compared.fetch_add(1, Ordering::Relaxed);
        let difference = match reset {
            Some(reset) => state_difference(reset, &mut new),
            None => None,
        };
        let again = self.ask(&mut new, question, rule);
        if let Some(what) = difference.or_else(|| evaluated.difference(&again)) {
            verification.differed.fetch_add(1, Ordering::Relaxed);
            let _ =
                self.stopped.set(format!("an instance that was reset differed from a new one in its {what}"));
            while self.take().is_some() {}
        }
    }
}

/// What two instances differ in.
pub(super) fn state_difference(a: &mut Instance, b: &mut Instance) -> Option<&'static str> {
    let (Ok(a), Ok(b)) = (a.observed(), b.observed()) else { return Some("state, which cannot be read") };
    if a.memories != b.memories {
        return Some("memory");
    }
    if a.globals != b.globals {
        return Some("globals");
    }
    (a.tables != b.tables).then_some("tables")
}

impl Evaluated {
    /// What two evaluations of one question differ in. Whether the clock or the machine stopped one of them is not
    /// the instance's doing.
    pub(super) fn difference(&self, other: &Self) -> Option<&'static str> {
        match (&self.answered, &other.answered) {
            (Ok((answer, fuel)), Ok((other_answer, other_fuel))) => {
                if answer != other_answer {
                    return Some("answer");
                }
                if fuel != other_fuel {
                    return Some("fuel");
                }
            }
            (Err(fault), Err(other)) if fault.code == other.code => {}
            (Err(fault), _) | (_, Err(fault)) if !fault.code.is_replayable() => return None,
            _ => return Some("outcome"),
        }
        if self.reads != other.reads {
            return Some("read set");
        }
        if self.log != other.log {
            return Some("log");
        }
        if self.saw_time != other.saw_time {
            return Some("look at the time");
        }
        (self.memory_bytes != other.memory_bytes).then_some("size of memory")
    }
}
