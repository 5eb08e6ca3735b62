//! The writer: the one thread that appends to the journal. It takes whatever is queued, makes it durable in one go and
//! then tells the callers.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use crate::append::Completion;
use crate::journal::{
    self, BATCH_HEADER_BYTES, BatchHeader, EVIDENCE_HEADER_BYTES, Entry, EvidenceLocation, Location,
};
use crate::shared::{Appended, Log, Shared, Work, add};
use crate::storage::StorageFile;
use crate::{Durability, LedgerError, LogName};

/// A batch takes from the queue until it has this much. Bytes.
const BATCH_BYTES_MAX: usize = 8 << 20;

/// What an entry has besides its leaf, with a name of usual length.
const ENTRY_BYTES_BESIDES: usize = 64;

/// A segment reserves as much as it has, within these: a small ledger takes little room, and one that is busy reserves
/// seldom. Bytes.
const RESERVED_BYTES_MIN: u64 = 64 << 10;
const RESERVED_BYTES_MAX: u64 = 1 << 20;

/// A ledger that found no room goes on where there is this much. Bytes.
const ROOM_BYTES: usize = 1 << 20;

/// How often it looks.
const ROOM_EVERY: Duration = Duration::from_millis(100);

/// How long a buffering ledger leaves acknowledged entries unsynced, at most, while it is busy with nothing else.
const UNSYNCED_TIME_MAX: Duration = Duration::from_millis(100);

pub(crate) struct Writer {
    shared: Arc<Shared>,
    journal: Segment,
    evidence: Segment,
    /// The last batch written.
    sequence: u64,
    /// The last batch known to be durable.
    durable: u64,
    /// Logs with entries that are written and not yet synced, with their size after them.
    unsynced: BTreeMap<LogName, (Arc<Log>, u64)>,
    unsynced_since: Option<Instant>,
}

/// A row of segment files, of which the last is open.
struct Segment {
    path: fn(u32) -> String,
    /// The number of the open segment, or of the last that was ever used.
    number: u32,
    open: Option<Box<dyn StorageFile>>,
    bytes: u64,
    /// Up to here room was asked for; none where it is not to be had.
    reserved: Option<u64>,
    dirty: bool,
    /// Something was written in part, after all that counts.
    torn: bool,
}

struct Placed {
    log: Arc<Log>,
    index: u64,
    offset: u32,
}

impl Writer {
    /// A writer after recovery: `sequence` is the last batch in the journal, all of which is durable.
    pub(crate) fn new(shared: Arc<Shared>, sequence: u64, journal: u32, evidence: u32) -> Self {
        Self {
            shared,
            journal: Segment::new(journal::segment_path, journal),
            evidence: Segment::new(journal::evidence_path, evidence),
            sequence,
            durable: sequence,
            unsynced: BTreeMap::new(),
            unsynced_since: None,
        }
    }

    /// Works until the queue is closed and empty, or a write fails.
    pub(crate) fn run(mut self) {
        while let Some(works) = self.next_works() {
            if let Err(error) = self.work(works) {
                self.shared.stop(&error);
                break;
            }
        }
        if self.shared.running().is_ok()
            && let Err(error) = self.sync()
        {
            self.shared.stop(&error);
        }
        self.refuse_the_rest();
    }

    /// What is queued, in order; nothing when it is time to sync; `None` when there will be no more.
    fn next_works(&self) -> Option<Vec<Completion>> {
        let mut queue = self.shared.queue();
        while queue.works.is_empty() {
            if queue.closing || self.shared.running().is_err() {
                return None;
            }
            let wait = self.unsynced_since.map(|since| UNSYNCED_TIME_MAX.saturating_sub(since.elapsed()));
            queue.waits = true;
            queue = match wait {
                None => self.shared.queue_changed.wait(queue).unwrap_or_else(PoisonError::into_inner),
                Some(Duration::ZERO) => return Some(Vec::new()),
                Some(wait) => {
                    let waited = self.shared.queue_changed.wait_timeout(queue, wait);
                    waited.unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
        queue.waits = false;
        let mut taken = Vec::with_capacity(queue.works.len());
        let mut bytes = 0;
        while bytes < BATCH_BYTES_MAX
            && let Some(completion) = queue.works.pop_front()
        {
            bytes += completion.work().map_or(0, Work::bytes);
            taken.push(completion);
        }
        queue.bytes = queue.bytes.saturating_sub(bytes);
        Some(taken)
    }

    /// Writes the appends as one batch, syncs if it must, and only then completes them.
    fn work(&mut self, works: Vec<Completion>) -> Result<(), LedgerError> {
        let append = |completion: &Completion| completion.work().and_then(Work::append).is_some();
        let (appending, flushing): (Vec<_>, Vec<_>) = works.into_iter().partition(append);
        let appends: Vec<&Appended> =
            appending.iter().filter_map(|append| append.work().and_then(Work::append)).collect();
        let written = if appends.is_empty() { Ok(Vec::new()) } else { self.write(&appends) };
        let overdue = self.unsynced_since.is_some_and(|since| since.elapsed() >= UNSYNCED_TIME_MAX);
        let must_sync =
            self.shared.config.durability == Durability::Durable || !flushing.is_empty() || overdue;
        let synced =
            written.and_then(|placed| if must_sync { self.sync().map(|()| placed) } else { Ok(placed) });
        match synced {
            Ok(placed) => {
                add(&self.shared.counters.acknowledged, placed.len());
                placed.iter().zip(appending).for_each(|(placed, append)| append.complete(Ok(placed.index)));
                flushing.into_iter().for_each(|flush| flush.complete(Ok(0)));
                Ok(())
            }
            Err(error) => {
                // Before anyone hears of it: a caller that tries again must find the ledger stopped, or full.
                if error.is_full() {
                    self.shared.queue().full = Some(error.clone());
                } else {
                    self.shared.stop(&error);
                }
                add(&self.shared.counters.failed, appending.len());
                appending.into_iter().chain(flushing).for_each(|append| append.complete(Err(error.clone())));
                if error.is_full() { self.wait_for_room(&error) } else { Err(error) }
            }
        }
    }

    /// Takes nothing until there is room again, or the ledger closes. What was acknowledged is made durable first: that
    /// needs no room.
    fn wait_for_room(&mut self, full: &LedgerError) -> Result<(), LedgerError> {
        self.sync()?;
        // It may have a part of what is not recorded at its end.
        self.evidence.open = None;
        loop {
            self.refuse_queued(full);
            match self.cut_torn_tail().and_then(|()| self.shared.store.try_room(ROOM_BYTES)) {
                Ok(()) => {
                    self.shared.queue().full = None;
                    return Ok(());
                }
                Err(error) if error.is_full() => {}
                Err(error) => return Err(error),
            }
            let queue = self.shared.queue();
            if queue.closing {
                return Ok(());
            }
            drop(self.shared.queue_changed.wait_timeout(queue, ROOM_EVERY));
        }
    }

    /// Writes the journal's segment anew without what was written of it in part, as at a start, and leaves it.
    fn cut_torn_tail(&mut self) -> Result<(), LedgerError> {
        if self.journal.torn {
            let path = journal::segment_path(self.journal.number);
            let whole = usize::try_from(self.journal.bytes).unwrap_or(usize::MAX);
            if whole == 0 {
                self.shared.store.remove_durably(&path)?;
            } else {
                let bytes = self.shared.store.read(&path, 0, whole)?.filter(|bytes| bytes.len() == whole);
                let bytes = bytes.ok_or_else(|| LedgerError::corrupt(&path, "its end is missing"))?;
                self.shared.store.replace(&[(path, bytes)])?;
            }
            self.journal.torn = false;
            self.journal.open = None;
        }
        Ok(())
    }

    /// Evidence first, and durable before the journal speaks of it; then the journal.
    fn write(&mut self, appends: &[&Appended]) -> Result<Vec<Placed>, LedgerError> {
        let evidence = self.write_evidence(appends)?;
        let (batch, placed) = self.batch(appends, &evidence)?;
        if self.journal.is_full(&self.shared, batch.len()) {
            // A closed segment is never synced again, so it must be durable before the next one begins.
            self.sync()?;
            self.journal.open = None;
        }
        let start = self.journal.append(&self.shared, &batch)?;
        self.sequence += 1;
        add(&self.shared.counters.batches, 1);
        self.place(start, &placed)?;
        Ok(placed)
    }

    fn write_evidence(
        &mut self,
        appends: &[&Appended],
    ) -> Result<Vec<Option<EvidenceLocation>>, LedgerError> {
        let bytes = appends.iter().map(|append| EVIDENCE_HEADER_BYTES + append.evidence.len()).sum();
        let mut frames = Vec::with_capacity(bytes);
        let mut places = Vec::with_capacity(appends.len());
        for append in appends {
            let place = (!append.evidence.is_empty()).then_some((frames.len() as u64, append.evidence.len()));
            if place.is_some() {
                journal::write_evidence(&mut frames, &append.evidence);
            }
            places.push(place);
        }
        if frames.is_empty() {
            return Ok(vec![None; appends.len()]);
        }
        self.leave_evidence_segment(frames.len())?;
        let start = self.evidence.append(&self.shared, &frames)?;
        if self.shared.config.durability == Durability::Durable {
            self.evidence.sync(&self.shared)?;
        }
        let segment = self.evidence.number;
        let locate = |(offset, bytes): (u64, usize)| EvidenceLocation {
            segment,
            offset: start + offset,
            bytes: u32::try_from(bytes).unwrap_or(u32::MAX),
        };
        Ok(places.into_iter().map(|place| place.map(locate)).collect())
    }

    /// Leaves the open evidence segment if it is full, or if someone deleted it: evidence may be erased at any time,
    /// and what is written from now on should not go where the erased went.
    fn leave_evidence_segment(&mut self, bytes: usize) -> Result<(), LedgerError> {
        if self.evidence.open.is_none() {
            return Ok(());
        }
        if self.shared.store.len(&journal::evidence_path(self.evidence.number))?.is_none() {
            self.shared.store.forget_folder("evidence");
            self.evidence.dirty = false;
            self.evidence.open = None;
        } else if self.evidence.is_full(&self.shared, bytes) {
            self.evidence.sync(&self.shared)?;
            self.evidence.open = None;
        }
        Ok(())
    }

    /// The batch's bytes, and where each entry will be in it.
    fn batch(
        &self,
        appends: &[&Appended],
        evidence: &[Option<EvidenceLocation>],
    ) -> Result<(Vec<u8>, Vec<Placed>), LedgerError> {
        let mut next: BTreeMap<&LogName, u64> = BTreeMap::new();
        let bytes = appends.iter().map(|append| ENTRY_BYTES_BESIDES + append.leaf.len()).sum::<usize>();
        let mut body = Vec::with_capacity(BATCH_HEADER_BYTES + bytes);
        body.resize(BATCH_HEADER_BYTES, 0);
        let mut placed = Vec::with_capacity(appends.len());
        for (append, evidence) in appends.iter().zip(evidence) {
            let log = self.shared.ensure_log(&append.log)?;
            let next = next.entry(&append.log).or_insert_with(|| log.size());
            let (index, offset) = (*next, u32::try_from(body.len()).unwrap_or(u32::MAX));
            *next += 1;
            Entry { log: append.log.clone(), index, evidence: *evidence, leaf: &append.leaf }
                .write(&mut body);
            placed.push(Placed { log, index, offset });
        }
        let header = BatchHeader {
            sequence: self.sequence + 1,
            durable: self.durable,
            entries: u32::try_from(appends.len()).unwrap_or(u32::MAX),
            bytes: u32::try_from(body.len() - BATCH_HEADER_BYTES).unwrap_or(u32::MAX),
        };
        body.splice(..BATCH_HEADER_BYTES, header.write());
        Ok((body, placed))
    }

    /// Lets readers find what was written.
    fn place(&mut self, start: u64, placed: &[Placed]) -> Result<(), LedgerError> {
        let place = |offset: u64| {
            let offset = u32::try_from(offset);
            offset.map_err(|_| {
                LedgerError::corrupt(journal::segment_path(self.journal.number), "it is too long")
            })
        };
        for entry in placed {
            let location =
                Location { segment: self.journal.number, offset: place(start + u64::from(entry.offset))? };
            entry.log.update(|state| state.locations.push(location));
            match self.unsynced.get_mut(&entry.log.name) {
                Some((_, size)) => *size = entry.index + 1,
                None => {
                    self.unsynced.insert(entry.log.name.clone(), (entry.log.clone(), entry.index + 1));
                }
            }
        }
        self.shared
            .set_journal_end(Location { segment: self.journal.number, offset: place(self.journal.bytes)? });
        add(&self.shared.counters.unsynced, placed.len());
        self.unsynced_since.get_or_insert_with(Instant::now);
        Ok(())
    }

    /// Makes everything written durable, and lets the integrator have it.
    fn sync(&mut self) -> Result<(), LedgerError> {
        let began = (self.evidence.dirty || self.journal.dirty).then(Instant::now);
        self.evidence.sync(&self.shared)?;
        self.journal.sync(&self.shared)?;
        if let Some(began) = began {
            self.shared.counters.note_sync(began.elapsed());
        }
        self.durable = self.sequence;
        self.unsynced_since = None;
        let synced = std::mem::take(&mut self.unsynced);
        if synced.is_empty() {
            return Ok(());
        }
        for (log, size) in synced.into_values() {
            log.update(|state| state.durable = size);
        }
        self.shared.counters.unsynced.store(0, Ordering::Relaxed);
        // Who was told already waits for the end of its interval, and not to be told again.
        if !std::mem::replace(&mut self.shared.wake().dirty, true) {
            self.shared.woken.notify_all();
        }
        Ok(())
    }

    /// Whatever is still queued will never be written.
    fn refuse_the_rest(&self) {
        self.shared.queue().closing = true;
        self.refuse_queued(&self.shared.running().err().unwrap_or(LedgerError::Closed));
    }

    fn refuse_queued(&self, error: &LedgerError) {
        let mut queue = self.shared.queue();
        let rest = std::mem::take(&mut queue.works);
        queue.bytes = 0;
        drop(queue);
        add(&self.shared.counters.failed, rest.len());
        rest.into_iter().for_each(|append| append.complete(Err(error.clone())));
    }
}

impl Segment {
    fn new(path: fn(u32) -> String, number: u32) -> Self {
        Self { path, number, open: None, bytes: 0, reserved: None, dirty: false, torn: false }
    }

    fn is_full(&self, shared: &Shared, more: usize) -> bool {
        self.open.is_some() && self.bytes + more as u64 > shared.config.segment_bytes_max
    }

    /// Appends to the open segment, or to a new one, and returns where the bytes begin.
    fn append(&mut self, shared: &Shared, bytes: &[u8]) -> Result<u64, LedgerError> {
        let file = match &mut self.open {
            Some(file) => file,
            empty => {
                let exhausted =
                    || LedgerError::corrupt((self.path)(self.number), "there are no segment numbers left");
                self.number = self.number.checked_add(1).ok_or_else(exhausted)?;
                // What is seldom synced gains nothing.
                let is_synced = shared.config.durability == Durability::Durable;
                (self.bytes, self.reserved) = (0, is_synced.then_some(0));
                empty.insert(shared.store.create(&(self.path)(self.number))?)
            }
        };
        let end = self.bytes + bytes.len() as u64;
        if self.reserved.is_some_and(|reserved| reserved < end) {
            let more = self.bytes.clamp(RESERVED_BYTES_MIN, RESERVED_BYTES_MAX);
            let reserved = (end + more).min(shared.config.segment_bytes_max);
            // Where there is no room to reserve there may be enough for these bytes; if not, the append says so.
            self.reserved = file.reserve(reserved.saturating_sub(self.bytes)).ok().map(|()| reserved);
        }
        (self.dirty, self.torn) = (true, true);
        file.append(bytes).map_err(|error| LedgerError::write(&(self.path)(self.number), error))?;
        self.torn = false;
        let start = self.bytes;
        self.bytes += bytes.len() as u64;
        Ok(start)
    }

    fn sync(&mut self, shared: &Shared) -> Result<(), LedgerError> {
        if let (true, Some(file)) = (self.dirty, &mut self.open) {
            shared.store.sync_file(file.as_mut(), &(self.path)(self.number))?;
        }
        self.dirty = false;
        Ok(())
    }
}

impl Work {
    fn append(&self) -> Option<&Appended> {
        match self {
            Work::Append(append) => Some(append),
            Work::Flush => None,
        }
    }

    pub(crate) fn bytes(&self) -> usize {
        match self {
            Work::Append(append) => append.leaf.len() + append.evidence.len() + 256,
            Work::Flush => 0,
        }
    }
}
