//! Ways to leave a part of the key out, so that the tests can show that each of them is needed.

use std::cell::Cell;
use std::collections::HashMap;
use std::sync::Arc;

use verdict_core::digest::Digest;
use verdict_core::limits::Limits;
use verdict_engine::Outcome;

use super::{Base, Decisions};

/// What is left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LeftOut {
    /// Whose answer it is.
    Tenant,
    /// The component.
    Component,
    /// The rule.
    Rule,
    /// The limits.
    Limits,
    /// Which data is granted.
    DataGranted,
    /// Which document a step read.
    Document,
    /// How it was read.
    Operation,
    /// Where.
    Pointer,
    /// What was found.
    Result,
    /// Whether there was nothing, or `null`.
    Absence,
    /// The digests of what is long.
    Digests,
    /// That the decision time was seen.
    Time,
}

thread_local! {
    static CHOSEN: Cell<Option<LeftOut>> = const { Cell::new(None) };
}

/// Leaves this out of all keys that this thread makes from now on.
pub(super) fn leave_out(part: Option<LeftOut>) {
    CHOSEN.set(part);
}

impl LeftOut {
    pub(super) const ALL: [Self; 12] = [
        Self::Tenant,
        Self::Component,
        Self::Rule,
        Self::Limits,
        Self::DataGranted,
        Self::Document,
        Self::Operation,
        Self::Pointer,
        Self::Result,
        Self::Absence,
        Self::Digests,
        Self::Time,
    ];

    pub(super) fn is_on(self) -> bool {
        CHOSEN.get() == Some(self)
    }

    /// Document, operation and pointer are the same.
    pub(super) fn of_step(same: [bool; 3]) -> [bool; 3] {
        let [document, operation, pointer] = same;
        [
            document || Self::Document.is_on(),
            operation || Self::Operation.is_on(),
            pointer || Self::Pointer.is_on(),
        ]
    }

    /// What is seen of an outcome.
    pub(super) fn of_outcome(outcome: &Outcome) -> Outcome {
        Outcome { saw_time: outcome.saw_time && !Self::Time.is_on(), ..outcome.clone() }
    }

    /// Whether it changed the result of a step.
    pub(super) fn of_result(result: &mut Vec<u8>) -> bool {
        const ABSENT: u8 = 0;
        const NULL: u8 = 1;
        const DIGEST: u8 = 0x80;
        match result.as_mut_slice() {
            _ if Self::Result.is_on() => result.clear(),
            [kind @ ABSENT] if Self::Absence.is_on() => *kind = NULL,
            [kind, digest @ ..] if *kind >= DIGEST && Self::Digests.is_on() => digest.fill(0),
            _ => return false,
        }
        true
    }
}

impl Base {
    pub(super) fn spoiled(mut self) -> Self {
        if LeftOut::Component.is_on() {
            self.component = Digest::of(b"");
        }
        if LeftOut::Rule.is_on() {
            self.rule = "any".parse().unwrap();
        }
        if LeftOut::Limits.is_on() {
            self.limits = Limits::default();
        }
        if LeftOut::DataGranted.is_on() {
            self.data_granted = Vec::new();
        }
        self
    }
}

impl Decisions {
    /// One part for all tenants.
    pub(super) fn spoiled(self) -> Self {
        let Some(part) = self.tenants.values().next().filter(|_| LeftOut::Tenant.is_on()).cloned() else {
            return self;
        };
        let tenants: HashMap<_, _> =
            self.tenants.keys().map(|tenant| (tenant.clone(), Arc::clone(&part))).collect();
        Self { tenants, ..self }
    }
}
