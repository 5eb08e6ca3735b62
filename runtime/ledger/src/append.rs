//! The handle to an append that is under way.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use crate::LedgerError;
use crate::shared::Work;

/// An append under way: await it, or block on [`Append::wait`]. It resolves to the entry's index when the entry is
/// durable (or, in a ledger that buffers, written). The entry is appended whether or not anyone waits.
#[must_use = "an entry is recorded only when its append has resolved"]
#[derive(Debug)]
pub struct Append(Arc<Slot>);

impl Append {
    /// Blocks until the append resolves. For threads, not for async tasks.
    ///
    /// # Errors
    /// Those of [`crate::Ledger::append`].
    pub fn wait(self) -> Result<u64, LedgerError> {
        let mut state = self.0.state();
        loop {
            if let Some(result) = &state.result {
                return result.clone();
            }
            state.waits = true;
            state = self.0.resolved.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// An append that resolved before it began.
    pub(crate) fn refused(error: LedgerError) -> Self {
        let slot = Slot { work: Work::Flush, state: Mutex::default(), resolved: Condvar::new() };
        slot.state().result = Some(Err(error));
        Self(Arc::new(slot))
    }
}

impl Future for Append {
    type Output = Result<u64, LedgerError>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let mut state = self.0.state();
        match &state.result {
            Some(result) => Poll::Ready(result.clone()),
            None => {
                state.waker = Some(context.waker().clone());
                Poll::Pending
            }
        }
    }
}

/// The writer's side: completes the append exactly once, also when it is dropped.
#[derive(Debug)]
pub(crate) struct Completion(Option<Arc<Slot>>);

impl Completion {
    /// What is to be done; nothing once it is completed.
    pub(crate) fn work(&self) -> Option<&Work> {
        self.0.as_ref().map(|slot| &slot.work)
    }

    pub(crate) fn complete(mut self, result: Result<u64, LedgerError>) {
        if let Some(slot) = self.0.take() {
            resolve(slot, result);
        }
    }
}

impl Drop for Completion {
    fn drop(&mut self) {
        if let Some(slot) = self.0.take() {
            resolve(slot, Err(LedgerError::Closed));
        }
    }
}

pub(crate) fn pair(work: Work) -> (Append, Completion) {
    let slot = Arc::new(Slot { work, state: Mutex::default(), resolved: Condvar::new() });
    (Append(slot.clone()), Completion(Some(slot)))
}

fn resolve(slot: Arc<Slot>, result: Result<u64, LedgerError>) {
    let mut state = slot.state();
    state.result = Some(result);
    let (waker, waits) = (state.waker.take(), state.waits);
    drop(state);
    if waits {
        slot.resolved.notify_all();
    }
    // Before the other side goes on: what was appended is then freed by the thread that made it, whose allocator need
    // not be locked against this one.
    drop(slot);
    if let Some(waker) = waker {
        waker.wake();
    }
}

#[derive(Debug)]
struct Slot {
    work: Work,
    state: Mutex<State>,
    resolved: Condvar,
}

#[derive(Debug, Default)]
struct State {
    result: Option<Result<u64, LedgerError>>,
    waker: Option<Waker>,
    /// A thread waits. To notify is a system call, also where nobody does.
    waits: bool,
}

impl Slot {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resolves_for_a_thread_that_waits() {
        let (append, completion) = pair(Work::Flush);
        let waiting = std::thread::spawn(move || append.wait());
        completion.complete(Ok(7));
        assert_eq!(waiting.join().unwrap().unwrap(), 7);
    }

    #[test]
    fn a_dropped_completion_resolves_too() {
        let (append, completion) = pair(Work::Flush);
        drop(completion);
        assert!(matches!(append.wait(), Err(LedgerError::Closed)));
    }

    #[test]
    fn wakes_a_task_that_polls() {
        let (mut append, completion) = pair(Work::Flush);
        let mut context = Context::from_waker(Waker::noop());
        assert!(Pin::new(&mut append).poll(&mut context).is_pending());
        completion.complete(Ok(1));
        assert!(matches!(Pin::new(&mut append).poll(&mut context), Poll::Ready(Ok(1))));
    }
}
