//! What the writer, the integrator and the readers share.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError, RwLock, RwLockReadGuard};
use std::time::{Duration, Instant};

use crate::append::Completion;
use crate::journal::{self, Entry, EvidenceLocation, Location};
use crate::note::{SigningKey, VerifierKey};
use crate::store::Store;
use crate::{Config, LedgerError, LogName, SYNC_SECONDS};

/// Most entries are shorter than this and so are read in one step. Bytes.
const FIRST_READ_BYTES: usize = 4096;

/// Neighbouring entries are read together up to this. Bytes.
const SPAN_BYTES_MAX: u32 = 1 << 19;

pub(crate) struct Shared {
    pub(crate) store: Store,
    pub(crate) key: SigningKey,
    pub(crate) config: Config,
    pub(crate) queue: Mutex<Queue>,
    pub(crate) queue_changed: Condvar,
    pub(crate) wake: Mutex<Wake>,
    pub(crate) woken: Condvar,
    pub(crate) counters: Counters,
    logs: RwLock<BTreeMap<LogName, Arc<Log>>>,
    /// Why it stopped, and when.
    stopped: OnceLock<(Arc<str>, Instant)>,
    journal_end: Mutex<Location>,
}

/// One log: where its entries are, and the last checkpoint.
pub(crate) struct Log {
    pub(crate) name: LogName,
    pub(crate) vkey: VerifierKey,
    state: RwLock<LogState>,
}

#[derive(Default)]
pub(crate) struct LogState {
    pub(crate) locations: Vec<Location>,
    pub(crate) durable: u64,
    pub(crate) published: Option<Arc<Published>>,
}

/// A checkpoint that was written.
pub(crate) struct Published {
    pub(crate) size: u64,
    pub(crate) note: String,
}

/// What waits for the writer.
#[derive(Default)]
pub(crate) struct Queue {
    pub(crate) works: VecDeque<Completion>,
    pub(crate) bytes: usize,
    pub(crate) closing: bool,
    /// Why nothing is taken for now: there is no room.
    pub(crate) full: Option<LedgerError>,
    /// The writer waits and was not yet notified, which is a system call, also where it does not wait.
    pub(crate) waits: bool,
}

#[derive(Debug)]
pub(crate) enum Work {
    Append(Appended),
    /// Make everything before it durable.
    Flush,
}

pub(crate) struct Appended {
    pub(crate) log: LogName,
    pub(crate) leaf: Vec<u8>,
    pub(crate) evidence: Vec<u8>,
}

impl fmt::Debug for Appended {
    /// Shows no evidence: it is the caller's own.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Appended").field("log", &self.log).finish_non_exhaustive()
    }
}

/// What wakes the integrator.
#[derive(Default)]
pub(crate) struct Wake {
    pub(crate) dirty: bool,
    pub(crate) closing: bool,
}

#[derive(Default)]
pub(crate) struct Counters {
    pub(crate) acknowledged: AtomicU64,
    pub(crate) failed: AtomicU64,
    pub(crate) refused: AtomicU64,
    pub(crate) unsynced: AtomicU64,
    pub(crate) batches: AtomicU64,
    pub(crate) checkpoints: AtomicU64,
    pub(crate) torn_bytes: AtomicU64,
    pub(crate) sync_times: [AtomicU64; SYNC_SECONDS.len() + 1],
    pub(crate) sync_nanos: AtomicU64,
}

impl Counters {
    /// Counts one time that what was written was made durable.
    pub(crate) fn note_sync(&self, elapsed: Duration) {
        let seconds = elapsed.as_secs_f64();
        let range = SYNC_SECONDS.partition_point(|end| *end < seconds);
        if let Some(count) = self.sync_times.get(range) {
            add(count, 1);
        }
        let nanos = u64::try_from(elapsed.as_nanos()).unwrap_or(u64::MAX);
        self.sync_nanos.fetch_add(nanos, Ordering::Relaxed);
    }
}

/// An entry read back.
pub(crate) struct OwnedEntry {
    pub(crate) evidence: Option<EvidenceLocation>,
    pub(crate) leaf: Vec<u8>,
}

impl Shared {
    pub(crate) fn new(
        store: Store,
        key: SigningKey,
        config: Config,
        logs: BTreeMap<LogName, Arc<Log>>,
    ) -> Self {
        Self {
            store,
            key,
            config,
            queue: Mutex::default(),
            queue_changed: Condvar::new(),
            wake: Mutex::default(),
            woken: Condvar::new(),
            counters: Counters::default(),
            logs: RwLock::new(logs),
            stopped: OnceLock::new(),
            journal_end: Mutex::new(Location { segment: 0, offset: 0 }),
        }
    }

    pub(crate) fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn wake(&self) -> MutexGuard<'_, Wake> {
        self.wake.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Stops the ledger for good; the first reason stays.
    pub(crate) fn stop(&self, error: &LedgerError) {
        let _ = self.stopped.set((error.to_string().into(), Instant::now()));
    }

    pub(crate) fn running(&self) -> Result<(), LedgerError> {
        match self.stopped.get() {
            None => Ok(()),
            Some((reason, _)) => Err(LedgerError::Stopped { reason: reason.clone() }),
        }
    }

    pub(crate) fn stopped_for(&self) -> Option<Duration> {
        self.stopped.get().map(|(_, since)| since.elapsed())
    }

    /// Up to where the journal may be read while it grows: the place after the last batch that was written whole.
    pub(crate) fn journal_end(&self) -> Location {
        *self.journal_end.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn set_journal_end(&self, end: Location) {
        *self.journal_end.lock().unwrap_or_else(PoisonError::into_inner) = end;
    }

    pub(crate) fn logs(&self) -> Vec<Arc<Log>> {
        self.logs.read().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    pub(crate) fn log(&self, name: &LogName) -> Option<Arc<Log>> {
        self.logs.read().unwrap_or_else(PoisonError::into_inner).get(name).cloned()
    }

    /// The log of this name, new if there was none.
    pub(crate) fn ensure_log(&self, name: &LogName) -> Result<Arc<Log>, LedgerError> {
        if let Some(log) = self.log(name) {
            return Ok(log);
        }
        let vkey = self.key.verifier_key(&self.config.origin(name))?;
        let mut logs = self.logs.write().unwrap_or_else(PoisonError::into_inner);
        let new = || Arc::new(Log::new(name.clone(), vkey, LogState::default()));
        Ok(logs.entry(name.clone()).or_insert_with(new).clone())
    }

    /// One entry, checked against where it should be.
    pub(crate) fn entry(&self, log: &Log, index: u64) -> Result<OwnedEntry, LedgerError> {
        let location = log.location(index)?;
        let path = journal::segment_path(location.segment);
        let offset = u64::from(location.offset);
        let read = |bytes| self.store.read(&path, offset, bytes)?.ok_or_else(|| missing(&path));
        let mut bytes = read(FIRST_READ_BYTES)?;
        if let Some(frame) = Entry::frame_bytes(&bytes).filter(|frame| *frame > bytes.len()) {
            bytes = read(frame.min(journal::ENTRY_BYTES_MAX))?;
        }
        parse_at(&bytes, log, index, &path, location)
    }

    /// The leaves of a run of entries. Neighbours in the journal are read together.
    pub(crate) fn leaves(&self, log: &Log, from: u64, to: u64) -> Result<Vec<Vec<u8>>, LedgerError> {
        let locations = log.locations(from, to)?;
        let mut leaves = Vec::with_capacity(locations.len());
        let mut rest = locations.as_slice();
        while let Some((first, others)) = rest.split_first() {
            let near = |to: &&Location| {
                to.segment == first.segment && to.offset.saturating_sub(first.offset) <= SPAN_BYTES_MAX
            };
            let together = others.iter().take_while(near).count();
            let index = from + leaves.len() as u64;
            match others.get(together.wrapping_sub(1)) {
                None => {
                    leaves.push(self.entry(log, index)?.leaf);
                    rest = others;
                }
                // Up to where the last near one begins; that one begins the next round.
                Some(end) => {
                    let (run, after) = rest.split_at(together);
                    self.read_run(log, index, run, end.offset, &mut leaves)?;
                    rest = after;
                }
            }
        }
        Ok(leaves)
    }

    /// Entries that lie one after the other in one segment, all before `end`.
    fn read_run(
        &self,
        log: &Log,
        index: u64,
        run: &[Location],
        end: u32,
        leaves: &mut Vec<Vec<u8>>,
    ) -> Result<(), LedgerError> {
        let Some(first) = run.first() else { return Ok(()) };
        let path = journal::segment_path(first.segment);
        let span =
            self.store.read(&path, u64::from(first.offset), end.saturating_sub(first.offset) as usize)?;
        let span = span.ok_or_else(|| missing(&path))?;
        for (index, at) in (index..).zip(run) {
            let frame = span.get(at.offset.saturating_sub(first.offset) as usize..).unwrap_or_default();
            leaves.push(parse_at(frame, log, index, &path, *at)?.leaf);
        }
        Ok(())
    }
}

fn missing(path: &str) -> LedgerError {
    LedgerError::corrupt(path, "the file is missing")
}

fn parse_at(
    bytes: &[u8],
    log: &Log,
    index: u64,
    path: &str,
    at: Location,
) -> Result<OwnedEntry, LedgerError> {
    match Entry::parse(bytes) {
        Some((entry, _)) if entry.log == log.name && entry.index == index => {
            Ok(OwnedEntry { evidence: entry.evidence, leaf: entry.leaf.to_vec() })
        }
        _ => Err(LedgerError::corrupt(
            path,
            format!("no entry {index} of `{}` at byte {}", log.name, at.offset),
        )),
    }
}

impl Log {
    pub(crate) fn new(name: LogName, vkey: VerifierKey, state: LogState) -> Self {
        Self { name, vkey, state: RwLock::new(state) }
    }

    pub(crate) fn state(&self) -> RwLockReadGuard<'_, LogState> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn update(&self, change: impl FnOnce(&mut LogState)) {
        change(&mut self.state.write().unwrap_or_else(PoisonError::into_inner));
    }

    pub(crate) fn size(&self) -> u64 {
        self.state().locations.len() as u64
    }

    /// The path of one of the log's files.
    pub(crate) fn path(&self, file: &str) -> String {
        format!("logs/{}/{file}", self.name)
    }

    fn location(&self, index: u64) -> Result<Location, LedgerError> {
        let state = self.state();
        let location = usize::try_from(index).ok().and_then(|index| state.locations.get(index));
        location.copied().ok_or_else(|| LedgerError::NoSuchEntry { log: self.name.to_string(), index })
    }

    fn locations(&self, from: u64, to: u64) -> Result<Vec<Location>, LedgerError> {
        let range = usize::try_from(from).unwrap_or(usize::MAX)..usize::try_from(to).unwrap_or(usize::MAX);
        let run = self.state().locations.get(range).map(<[Location]>::to_vec);
        run.ok_or_else(|| LedgerError::NoSuchEntry { log: self.name.to_string(), index: to })
    }
}

pub(crate) fn add(counter: &AtomicU64, count: usize) {
    counter.fetch_add(count as u64, Ordering::Relaxed);
}
