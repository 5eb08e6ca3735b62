//! A guest's whole reach: one file an interface of the contract. What is not linked here does not exist for a policy.

mod decision_time;
mod diagnostics;
mod documents;

use std::sync::Arc;

use verdict_core::limits::Limits;
use verdict_core::manifest::{CONTRACT, Capabilities};
use verdict_core::pointer::Pointer;
use verdict_core::time::Timestamp;
use wasmtime::component::{Linker, LinkerInstance};
use wasmtime::{StoreContextMut, Trap};

use crate::document::Document;
use crate::fuel;
#[cfg(test)]
use crate::instances::sabotage::Sabotage;
use crate::limits::{Meter, Stop};
use crate::outcome::LogLine;
use crate::reads::{ReadSet, Source};
use crate::semantics::price;

/// What the host keeps of one evaluation while it runs. [`State::begin`] leaves nothing of the one before.
pub(crate) struct State {
    pub(crate) meter: Meter,
    reads: ReadSet,
    log: Vec<LogLine>,
    saw_time: bool,
    /// What the manifest grants of the data, to every evaluation in this store.
    data_granted: Arc<[Pointer]>,
    /// None before `decide` is called: what a component does while it is instantiated must not depend on a query.
    question: Option<Question>,
    host_calls_left: u64,
    log_bytes_left: u64,
    result_bytes_max: u64,
    /// Where a pointer is copied out of the guest; kept, so that not every call allocates.
    scratch: String,
}

/// What a policy may see of a query, in the host's hands.
#[derive(Clone)]
pub(crate) struct Question {
    pub(crate) input: Document,
    pub(crate) data: Option<Document>,
    pub(crate) decision_time: Timestamp,
}

impl State {
    /// That of an instance that was not asked yet.
    pub(crate) fn new(limits: &Limits, data_granted: Arc<[Pointer]>) -> Self {
        Self {
            meter: Meter::new(limits),
            data_granted,
            reads: ReadSet::default(),
            log: Vec::new(),
            saw_time: false,
            question: None,
            host_calls_left: 0,
            log_bytes_left: 0,
            result_bytes_max: 0,
            scratch: String::new(),
        }
    }

    /// Begins an evaluation in an instance whose memory is as `meter` says.
    pub(crate) fn begin(&mut self, limits: &Limits, question: Question, meter: Meter) {
        let begun = Self {
            meter,
            reads: ReadSet::with_room(),
            log: Vec::new(),
            saw_time: false,
            data_granted: std::mem::take(&mut self.data_granted),
            question: Some(question),
            host_calls_left: limits.host_calls,
            log_bytes_left: limits.log_bytes,
            result_bytes_max: limits.memory_bytes,
            scratch: std::mem::take(&mut self.scratch),
        };
        #[cfg(test)]
        let begun = self.spoiled(begun);
        *self = begun;
    }

    /// Whether the evaluation has asked for the decision time.
    pub(crate) fn saw_time(&self) -> bool {
        self.saw_time
    }

    /// Ends the evaluation: what it read and logged. The question is forgotten: an idle instance holds no documents.
    pub(crate) fn end(&mut self) -> (ReadSet, Vec<LogLine>) {
        #[cfg(test)]
        if self.is_kept() {
            return (self.reads.clone(), self.log.clone());
        }
        self.question = None;
        (std::mem::take(&mut self.reads), std::mem::take(&mut self.log))
    }

    fn question(&self) -> Result<&Question, Stop> {
        let before = || Stop::Trap("the policy called the host before it was asked".into());
        self.question.as_ref().ok_or_else(before)
    }

    fn count_calls(&mut self, calls: u64) -> Result<(), Stop> {
        self.question()?;
        match self.host_calls_left.checked_sub(calls) {
            Some(left) => self.host_calls_left = left,
            None => return Err(Stop::OutOfBudget("the policy used up its host calls".into())),
        }
        Ok(())
    }
}

#[cfg(test)]
impl State {
    /// What a spoiled reset keeps of the evaluation before.
    fn spoiled(&mut self, mut begun: Self) -> Self {
        if Sabotage::KeepReads.is_on() {
            begun.reads = std::mem::take(&mut self.reads);
        }
        if Sabotage::KeepLog.is_on() {
            begun.log = std::mem::take(&mut self.log);
        }
        if Sabotage::KeepQuestion.is_on() {
            begun.question = self.question.take().or(begun.question);
        }
        if Sabotage::KeepBudgets.is_on() && self.result_bytes_max > 0 {
            (begun.host_calls_left, begun.log_bytes_left) = (self.host_calls_left, self.log_bytes_left);
        }
        if Sabotage::PutBackGrown.is_on() && self.result_bytes_max > 0 {
            begun.meter = self.meter.pristine();
        }
        begun
    }

    fn is_kept(&self) -> bool {
        [Sabotage::KeepReads, Sabotage::KeepLog, Sabotage::KeepQuestion].into_iter().any(Sabotage::is_on)
    }
}

/// Links what `granted` grants, and nothing else.
pub(crate) fn link(linker: &mut Linker<State>, granted: &Capabilities) -> wasmtime::Result<()> {
    for interface in granted.interfaces() {
        let mut instance = linker.instance(&format!("verdict:policy/{interface}@{CONTRACT}"))?;
        link_one(&mut instance, interface)?;
    }
    Ok(())
}

fn link_one(instance: &mut LinkerInstance<'_, State>, interface: &str) -> wasmtime::Result<()> {
    match interface {
        "input" => documents::link(instance, Source::Input),
        "data" => documents::link(instance, Source::Data),
        "decision-time" => decision_time::link(instance),
        "diagnostics" => diagnostics::link(instance),
        unknown => Err(wasmtime::Error::msg(format!("interface `{unknown}` is not known to this host"))),
    }
}

/// Takes the price of a host call from the guest's fuel.
fn pay(store: &mut StoreContextMut<'_, State>, price: u64) -> wasmtime::Result<()> {
    match fuel::left(&*store)?.checked_sub(price) {
        Some(left) => fuel::set(store, left),
        None => {
            fuel::set(store, 0)?;
            Err(Trap::OutOfFuel.into())
        }
    }
}

/// The price of handing out `bytes`.
fn price_of_bytes(bytes: usize) -> u64 {
    u64::try_from(bytes).unwrap_or(u64::MAX).saturating_mul(price::BYTE)
}
