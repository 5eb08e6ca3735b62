//! Ways to spoil a reset, so that the tests can show that the comparison with a new instance notices each of them.
//! Only the evaluations of this thread in instances that are reset are spoiled, never those that they are compared with.

use std::cell::Cell;

/// What a spoiled reset leaves out or does too much.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sabotage {
    /// The page with this number among those that are put back stays as it is.
    SkipPage(usize),
    /// The globals stay as they are.
    SkipGlobals,
    /// A write is let through and not noted.
    ForgetWrite,
    /// The next evaluation goes on with the fuel that is there.
    KeepFuel,
    /// It goes on with the host calls and log bytes that are left.
    KeepBudgets,
    /// It keeps what was read before.
    KeepReads,
    /// It keeps what was logged before.
    KeepLog,
    /// It is about the question that was asked before.
    KeepQuestion,
    /// An instance whose memory has grown is used again, with the meter that it has.
    PutBackGrown,
    /// An instance that faulted is used again.
    PutBackFaulted,
}

thread_local! {
    static CHOSEN: Cell<Option<Sabotage>> = const { Cell::new(None) };
    static ALLOWED: Cell<bool> = const { Cell::new(false) };
    static PAGES: Cell<usize> = const { Cell::new(0) };
}

/// Spoils what is done on this thread from now on.
pub(crate) fn choose(sabotage: Option<Sabotage>) {
    CHOSEN.set(sabotage);
}

/// Whether what follows on this thread is done to an instance that is reset.
pub(super) fn allow(allowed: bool) {
    ALLOWED.set(allowed);
    PAGES.set(0);
}

impl Sabotage {
    pub(crate) fn is_on(self) -> bool {
        ALLOWED.get() && CHOSEN.get() == Some(self)
    }

    /// Whether the page that is put back next is left out.
    pub(crate) fn skips_page() -> bool {
        let number = PAGES.replace(PAGES.get() + 1);
        Self::SkipPage(number).is_on()
    }
}
