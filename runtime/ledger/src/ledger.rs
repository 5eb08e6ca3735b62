//! The ledger itself: opening, appending, reading, proving, closing.

use std::borrow::Cow;
use std::fmt;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::append::{self, Append};
use crate::integrator::Integrator;
use crate::journal::{self, EVIDENCE_HEADER_BYTES};
use crate::note::{SigningKey, VerifierKey};
use crate::proof::TlogProof;
use crate::recovery::{self, Recovered};
use crate::shared::{Appended, Log, Published, Shared, Work, add};
use crate::storage::Storage;
use crate::store::Store;
use crate::tile::{self, TileError, TilePath, TileTree};
use crate::writer::Writer;
use crate::{EVIDENCE_BYTES_MAX, LEAF_BYTES_MAX, LedgerError, LogName, QUEUE_BYTES_MAX};

const SEGMENT_BYTES_MIN: u64 = 4 << 10;
const SEGMENT_BYTES_MAX: u64 = 1 << 30;
const CHECKPOINT_INTERVAL_MAX: Duration = Duration::from_secs(1);

/// When an append is acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Durability {
    /// After `fdatasync`: an acknowledged entry survives the loss of power.
    #[default]
    Durable,
    /// When written, a tenth of a second before it is synced: an acknowledged entry survives the end of the process,
    /// not the loss of power. [`Stats::unsynced`] counts what that could take.
    Buffered,
}

/// How a ledger is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// The origin of a log is this, `/` and the log's name: a URL without scheme, say `verdict.example.com/node-1`.
    pub origin_prefix: String,
    /// How often tiles and checkpoints are derived, at most. Up to a second.
    pub checkpoint_interval: Duration,
    /// When an append is acknowledged.
    pub durability: Durability,
    /// A segment file is closed before it grows beyond this, 4 KiB to 1 GiB. Opening a ledger reads a segment at a
    /// time into memory and writes the last one anew. Bytes.
    pub segment_bytes_max: u64,
}

impl Config {
    /// The defaults: a checkpoint a second, durable, segments of 64 MiB.
    pub fn new(origin_prefix: impl Into<String>) -> Self {
        Self {
            origin_prefix: origin_prefix.into(),
            checkpoint_interval: CHECKPOINT_INTERVAL_MAX,
            durability: Durability::Durable,
            segment_bytes_max: 64 << 20,
        }
    }

    /// The origin of a log, which is also the name of its key.
    pub fn origin(&self, log: &LogName) -> String {
        format!("{}/{log}", self.origin_prefix)
    }

    fn check(&self) -> Result<(), LedgerError> {
        let refused = |what| Err(LedgerError::Config { what });
        let wrong = |c: char| c.is_whitespace() || c.is_control() || c == '+';
        if self.origin_prefix.is_empty()
            || self.origin_prefix.len() > 200
            || self.origin_prefix.contains(wrong)
        {
            return refused(
                "the origin prefix must have 1 to 200 bytes without spaces, control characters and `+`",
            );
        }
        if self.checkpoint_interval.is_zero() || self.checkpoint_interval > CHECKPOINT_INTERVAL_MAX {
            return refused("the checkpoint interval must be above zero and at most a second");
        }
        if !(SEGMENT_BYTES_MIN..=SEGMENT_BYTES_MAX).contains(&self.segment_bytes_max) {
            return refused("a segment must have between 4 KiB and 1 GiB");
        }
        Ok(())
    }
}

/// What a ledger counted since it was opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Stats {
    /// Entries in all logs, those of earlier processes included.
    pub entries: u64,
    /// Appends that were acknowledged.
    pub acknowledged: u64,
    /// Appends that failed after they were queued.
    pub failed: u64,
    /// Appends that were refused at the door: too large, queue full, stopped or closed.
    pub refused: u64,
    /// Entries that are written and not synced. In a ledger that buffers they are acknowledged already, and a loss of
    /// power now would take them.
    pub unsynced: u64,
    /// Syncs of files and folders.
    pub fsyncs: u64,
    /// Batches written to the journal.
    pub batches: u64,
    /// Checkpoints written.
    pub checkpoints: u64,
    /// What was cut off the journal as torn when it was opened; nobody was told that it was recorded. Bytes.
    pub torn_bytes: u64,
    /// What waits to be written. Bytes.
    pub queued_bytes: u64,
    /// How many times what was written was made durable, by how long that took: up to each of [`SYNC_SECONDS`], and
    /// longer.
    pub sync_times: [u64; SYNC_SECONDS.len() + 1],
    /// How long that took together.
    pub sync_time: Duration,
}

/// The ends of the ranges that [`Stats::sync_times`] counts in: seconds.
pub const SYNC_SECONDS: [f64; 10] = [1e-4, 2.5e-4, 5e-4, 1e-3, 2.5e-3, 5e-3, 1e-2, 5e-2, 2.5e-1, 1.0];

/// A Merkle log for each name, all kept in one journal. Clones are the same ledger; the last one to go closes it.
///
/// In memory it keeps 8 bytes for every entry (its place in the journal; up to 16 while the list grows) and for every
/// log at most 8 KiB for each factor of 256 in its size. Everything else is read from files when asked for.
#[derive(Clone)]
pub struct Ledger(Arc<Inner>);

struct Inner {
    shared: Arc<Shared>,
    integrator: Arc<Integrator>,
    threads: Mutex<Option<Threads>>,
}

struct Threads {
    writer: JoinHandle<()>,
    integrator: JoinHandle<()>,
}

impl Ledger {
    /// Opens a ledger: reads the journal, cuts off what was torn, checks it against the signed checkpoints, and
    /// derives what is missing since. Then it appends on.
    ///
    /// # Errors
    /// [`LedgerError::Config`]; [`LedgerError::Corrupt`] if the journal has damage anywhere but in a tail that was
    /// never durable, or is not what the checkpoints say; [`LedgerError::WrongKey`]; or a failed read or write.
    pub fn open(storage: Arc<dyn Storage>, key: SigningKey, config: Config) -> Result<Self, LedgerError> {
        config.check()?;
        let store = Store::new(storage);
        let recovered = recovery::recover(&store, &key, &config)?;
        let Recovered { logs, edges, sequence, journal, evidence, end, torn_bytes } = recovered;
        let shared = Arc::new(Shared::new(store, key, config, logs));
        shared.set_journal_end(end);
        add(&shared.counters.torn_bytes, torn_bytes);
        let integrator = Arc::new(Integrator::new(edges));
        integrator.integrate(&shared)?;
        let writer = Writer::new(shared.clone(), sequence, journal, evidence);
        let threads = start(writer, shared.clone(), integrator.clone())?;
        Ok(Self(Arc::new(Inner { shared, integrator, threads: Mutex::new(Some(threads)) })))
    }

    /// Appends a leaf (up to 65,535 bytes) with its evidence (up to 16 MiB, empty for none) to a log, which begins
    /// with its first entry. The result resolves to the entry's index when it is durable.
    ///
    /// # Errors
    /// All come through the result: [`LedgerError::LeafTooLarge`], [`LedgerError::EvidenceTooLarge`];
    /// [`LedgerError::Busy`] when too much is waiting, and then nothing was written; [`LedgerError::Full`] until there is
    /// room; [`LedgerError::Write`] when the storage failed, which stops the ledger; [`LedgerError::Stopped`] and
    /// [`LedgerError::Closed`] after that.
    pub fn append<'a>(
        &self,
        log: &LogName,
        leaf: impl Into<Cow<'a, [u8]>>,
        evidence: impl Into<Cow<'a, [u8]>>,
    ) -> Append {
        let (leaf, evidence) = (leaf.into(), evidence.into());
        let checked = if leaf.len() > LEAF_BYTES_MAX {
            Err(LedgerError::LeafTooLarge { bytes: leaf.len() })
        } else if evidence.len() > EVIDENCE_BYTES_MAX {
            Err(LedgerError::EvidenceTooLarge { bytes: evidence.len() })
        } else {
            let (leaf, evidence) = (leaf.into_owned(), evidence.into_owned());
            let append = Appended { log: log.clone(), leaf, evidence };
            self.queue(Work::Append(append))
        };
        checked.unwrap_or_else(|error| {
            add(&self.0.shared.counters.refused, 1);
            Append::refused(error)
        })
    }

    fn queue(&self, work: Work) -> Result<Append, LedgerError> {
        let shared = &self.0.shared;
        shared.running()?;
        let mut queue = shared.queue();
        if queue.closing {
            drop(queue);
            shared.running()?;
            return Err(LedgerError::Closed);
        }
        if let Some(full) = &queue.full {
            return Err(full.clone());
        }
        let bytes = work.bytes();
        if queue.bytes + bytes > QUEUE_BYTES_MAX {
            return Err(LedgerError::Busy);
        }
        let (append, completion) = append::pair(work);
        queue.bytes += bytes;
        queue.works.push_back(completion);
        let waits = std::mem::take(&mut queue.waits);
        drop(queue);
        if waits {
            shared.queue_changed.notify_one();
        }
        Ok(append)
    }

    /// The leaf of an entry, from the journal.
    ///
    /// # Errors
    /// [`LedgerError::NoSuchEntry`], [`LedgerError::Corrupt`] or [`LedgerError::Read`].
    pub fn leaf(&self, log: &LogName, index: u64) -> Result<Vec<u8>, LedgerError> {
        Ok(self.0.shared.entry(self.log(log, index)?.as_ref(), index)?.leaf)
    }

    /// The evidence of an entry; `None` when it was erased, that is, its file or the whole folder was deleted.
    ///
    /// # Errors
    /// [`LedgerError::NoSuchEntry`]; [`LedgerError::Corrupt`] when the file is there and the evidence does not read;
    /// or [`LedgerError::Read`].
    pub fn evidence(&self, log: &LogName, index: u64) -> Result<Option<Vec<u8>>, LedgerError> {
        let entry = self.0.shared.entry(self.log(log, index)?.as_ref(), index)?;
        let Some(place) = entry.evidence else { return Ok(Some(Vec::new())) };
        let path = journal::evidence_path(place.segment);
        let bytes = EVIDENCE_HEADER_BYTES + (place.bytes as usize).min(EVIDENCE_BYTES_MAX);
        let Some(frame) = self.0.shared.store.read(&path, place.offset, bytes)? else { return Ok(None) };
        match journal::parse_evidence(&frame, place.bytes) {
            Some(evidence) => Ok(Some(evidence.to_vec())),
            None => Err(LedgerError::corrupt(
                path,
                format!("no evidence of entry {index} of `{log}` reads there"),
            )),
        }
    }

    /// Visits every entry of every log that was written before the call, in the order of the journal: log, index,
    /// leaf. For rebuilding an index of one's own at the start.
    ///
    /// # Errors
    /// [`LedgerError::Corrupt`] or [`LedgerError::Read`].
    pub fn for_each(&self, mut visit: impl FnMut(&LogName, u64, &[u8])) -> Result<(), LedgerError> {
        let shared = &self.0.shared;
        let end = shared.journal_end();
        let mut sequence = 0;
        for segment in recovery::segments(&shared.store, "journal")?.into_iter().filter(|s| *s <= end.segment)
        {
            let path = journal::segment_path(segment);
            let bytes_max = if segment == end.segment { end.offset as usize } else { usize::MAX };
            let bytes = shared.store.read(&path, 0, bytes_max)?.unwrap_or_default();
            let scanned = journal::scan(&bytes, sequence, &mut |_, entry| {
                visit(&entry.log, entry.index, entry.leaf);
                Ok(())
            })?;
            if scanned.bytes < journal::without_reserved(&bytes) {
                let what = format!("batch {} at byte {} does not read", scanned.sequence + 1, scanned.bytes);
                return Err(LedgerError::corrupt(path, what));
            }
            sequence = scanned.sequence;
        }
        Ok(())
    }

    /// The names of all logs that have an entry, in order.
    pub fn logs(&self) -> Vec<LogName> {
        self.0.shared.logs().iter().filter(|log| log.size() > 0).map(|log| log.name.clone()).collect()
    }

    /// The number of entries in a log, whether a checkpoint covers them or not; 0 for a log that has not begun.
    pub fn size(&self, log: &LogName) -> u64 {
        self.0.shared.log(log).map_or(0, |log| log.size())
    }

    /// The last checkpoint of a log, as a signed note; `None` before the first.
    pub fn checkpoint(&self, log: &LogName) -> Option<String> {
        Some(self.0.shared.log(log)?.published()?.note.clone())
    }

    /// The proof that an entry is in its log, under the last checkpoint and with the leaf as its `extra`; `None` until
    /// a checkpoint covers it.
    ///
    /// # Errors
    /// [`LedgerError::NoSuchEntry`], [`LedgerError::Corrupt`], [`LedgerError::Tile`] or [`LedgerError::Read`].
    pub fn proof(&self, log: &LogName, index: u64) -> Result<Option<TlogProof>, LedgerError> {
        let log = self.log(log, index)?;
        let leaf = self.0.shared.entry(&log, index)?.leaf;
        let Some(published) = log.published().filter(|published| index < published.size) else {
            return Ok(None);
        };
        let mut tree = TileTree::new(published.size, |tile| self.read_tile(&log, tile));
        let hashes = tree.inclusion_proof(index)?;
        Ok(Some(TlogProof { extra: Some(leaf), index, hashes, checkpoint: published.note.clone() }))
    }

    /// Derives tiles and checkpoints now, over everything appended before the call. For shutdown and tests; blocks.
    ///
    /// # Errors
    /// [`LedgerError::Full`], [`LedgerError::Stopped`], [`LedgerError::Closed`], or the write that failed.
    pub fn publish(&self) -> Result<(), LedgerError> {
        self.queue(Work::Flush)?.wait()?;
        self.0.integrator.integrate(&self.0.shared)
    }

    /// A static file of the log (C2SP tlog-tiles): `checkpoint`, `tile/<level>/<index>[.p/<width>]` or
    /// `tile/entries/<index>[.p/<width>]`. `None` for anything that the last checkpoint does not have, and for every
    /// path that is not in that form.
    ///
    /// # Errors
    /// [`LedgerError::Corrupt`] or [`LedgerError::Read`].
    pub fn resource(&self, log: &LogName, path: &str) -> Result<Option<Vec<u8>>, LedgerError> {
        let Some(log) = self.0.shared.log(log) else { return Ok(None) };
        let Some(published) = log.published() else { return Ok(None) };
        if path == "checkpoint" {
            return Ok(Some(published.note.clone().into_bytes()));
        }
        let Ok(tile) = path.parse::<TilePath>() else { return Ok(None) };
        match TilePath::at_size(tile.kind(), tile.index(), published.size) {
            Some(now) if now.width() >= tile.width() => self.read_tile(&log, tile).map(Some),
            _ => Ok(None),
        }
    }

    /// The key that verifies a log's checkpoints; also for a log that has not begun.
    ///
    /// # Errors
    /// [`LedgerError::Note`] if the origin cannot be a key name, which opening has excluded.
    pub fn verifier_key(&self, log: &LogName) -> Result<VerifierKey, LedgerError> {
        Ok(self.0.shared.key.verifier_key(&self.0.shared.config.origin(log))?)
    }

    /// What was counted so far.
    pub fn stats(&self) -> Stats {
        let shared = &self.0.shared;
        let read = |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::Relaxed);
        Stats {
            entries: shared.logs().iter().map(|log| log.size()).sum(),
            acknowledged: read(&shared.counters.acknowledged),
            failed: read(&shared.counters.failed),
            refused: read(&shared.counters.refused),
            unsynced: read(&shared.counters.unsynced),
            fsyncs: shared.store.fsyncs(),
            batches: read(&shared.counters.batches),
            checkpoints: read(&shared.counters.checkpoints),
            torn_bytes: read(&shared.counters.torn_bytes),
            queued_bytes: shared.queue().bytes as u64,
            sync_times: std::array::from_fn(|range| shared.counters.sync_times.get(range).map_or(0, read)),
            sync_time: Duration::from_nanos(read(&shared.counters.sync_nanos)),
        }
    }

    /// How long ago it stopped because something failed; none while it has not.
    pub fn stopped_for(&self) -> Option<Duration> {
        self.0.shared.stopped_for()
    }

    /// Whether it still takes appends.
    ///
    /// # Errors
    /// [`LedgerError::Full`] while there is no room; [`LedgerError::Stopped`] with the reason, or
    /// [`LedgerError::Closed`].
    pub fn health(&self) -> Result<(), LedgerError> {
        self.0.shared.running()?;
        let queue = self.0.shared.queue();
        match &queue.full {
            _ if queue.closing => Err(LedgerError::Closed),
            Some(full) => Err(full.clone()),
            None => Ok(()),
        }
    }

    /// Writes what is queued, derives the last checkpoints and ends. Appends are refused from now on; reading goes on.
    /// Closing again does nothing.
    ///
    /// # Errors
    /// [`LedgerError::Stopped`] if something failed, now or before.
    pub fn close(&self) -> Result<(), LedgerError> {
        self.0.close()
    }

    fn log(&self, name: &LogName, index: u64) -> Result<Arc<Log>, LedgerError> {
        self.0.shared.log(name).ok_or_else(|| LedgerError::NoSuchEntry { log: name.to_string(), index })
    }

    /// A tile that the last checkpoint has, whole or its first part. Of a partial tile only the widest is kept, and
    /// the integrator may replace it while we look; what we want is the beginning of every wider one.
    fn read_tile(&self, log: &Log, wanted: TilePath) -> Result<Vec<u8>, LedgerError> {
        let mut last = 0;
        while let Some(published) = log.published().filter(|published| published.size > last) {
            last = published.size;
            let outside = TileError::Path { path: wanted.to_string() };
            let now = TilePath::at_size(wanted.kind(), wanted.index(), last).ok_or(outside)?;
            if let Some(bytes) = self.0.shared.store.read_all(&log.path(&now.to_string()))? {
                let first = tile::prefix(wanted.kind(), &bytes, wanted.width());
                return Ok(first.ok_or(TileError::Length { tile: now })?.to_vec());
            }
        }
        let what = "it is missing; remove the folder of this log and open again, and it is derived anew";
        Err(LedgerError::corrupt(log.path(&wanted.to_string()), what))
    }
}

impl Log {
    fn published(&self) -> Option<Arc<Published>> {
        self.state().published.clone()
    }
}

impl fmt::Debug for Ledger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ledger").field("config", &self.0.shared.config).finish_non_exhaustive()
    }
}

impl Inner {
    fn close(&self) -> Result<(), LedgerError> {
        self.shared.queue().closing = true;
        self.shared.queue_changed.notify_all();
        let threads = self.threads.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(Threads { writer, integrator }) = threads {
            let ended = writer.join().is_ok();
            // Only now: the integrator's last round must see all that the writer made durable.
            self.shared.wake().closing = true;
            self.shared.woken.notify_all();
            if !(integrator.join().is_ok() && ended) {
                return Err(LedgerError::Stopped { reason: "a thread of the ledger panicked".into() });
            }
        }
        self.shared.running()
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        // Nobody is left to hear of a failure; what was acknowledged is durable without this.
        let _ = self.close();
    }
}

fn start(writer: Writer, shared: Arc<Shared>, integrator: Arc<Integrator>) -> Result<Threads, LedgerError> {
    let failed = |error| LedgerError::write("a new thread", error);
    let named = |name: &str| std::thread::Builder::new().name(name.to_owned());
    let integrating = shared.clone();
    let integrator =
        named("ledger-integrator").spawn(move || integrator.run(&integrating)).map_err(failed)?;
    match named("ledger-writer").spawn(move || writer.run()) {
        Ok(writer) => Ok(Threads { writer, integrator }),
        Err(error) => {
            shared.wake().closing = true;
            shared.woken.notify_all();
            Err(failed(error))
        }
    }
}
