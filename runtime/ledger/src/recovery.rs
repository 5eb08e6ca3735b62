//! Reads the journal back at the start: what is there, what was torn, and whether it is what was signed.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::checkpoint::Checkpoint;
use crate::journal::{self, Entry, Location};
use crate::note::SigningKey;
use crate::shared::{Log, LogState, Published};
use crate::store::Store;
use crate::tile::Edge;
use crate::tree::leaf_hash;
use crate::{Config, LedgerError, LogName};

/// What the journal and the checkpoints had.
pub(crate) struct Recovered {
    pub(crate) logs: BTreeMap<LogName, Arc<Log>>,
    /// Trees as far as they are signed.
    pub(crate) edges: BTreeMap<LogName, Edge>,
    /// The last batch.
    pub(crate) sequence: u64,
    /// The last segment numbers that were used.
    pub(crate) journal: u32,
    pub(crate) evidence: u32,
    /// The end of the journal.
    pub(crate) end: Location,
    /// What was cut off as torn.
    pub(crate) torn_bytes: usize,
}

/// One log while the journal is read.
struct Reading {
    published: Option<Published>,
    signed: u64,
    root: Option<crate::tree::Hash>,
    locations: Vec<Location>,
    edge: Edge,
}

/// Reads all segments, cuts a torn tail off the last one and compares every log with its checkpoint. Everything it
/// returns is durable.
pub(crate) fn recover(store: &Store, key: &SigningKey, config: &Config) -> Result<Recovered, LedgerError> {
    for folder in ["journal", "logs"] {
        store.ensure_folder(folder)?;
    }
    let mut logs = read_checkpoints(store, key, config)?;
    let mut evidence = last(&segments(store, "evidence")?);
    let segments = segments(store, "journal")?;
    let mut sequence = 0;
    let mut torn_bytes = 0;
    let mut end = Location { segment: 0, offset: 0 };
    for (place, segment) in segments.iter().enumerate() {
        let path = journal::segment_path(*segment);
        let bytes =
            store.read_all(&path)?.ok_or_else(|| LedgerError::corrupt(&path, "the file is missing"))?;
        let mut visit = |offset: usize, entry: Entry<'_>| {
            evidence = evidence.max(entry.evidence.map_or(0, |evidence| evidence.segment));
            note_entry(&mut logs, &path, *segment, offset, &entry)
        };
        let scanned = journal::scan(&bytes, sequence, &mut visit)?;
        let is_last = place + 1 == segments.len();
        check_tail(&bytes, scanned, &path, is_last)?;
        sequence = scanned.sequence;
        if is_last {
            torn_bytes = journal::without_reserved(&bytes).saturating_sub(scanned.bytes);
            rewrite(store, &path, bytes, scanned.bytes)?;
        }
        let offset =
            u32::try_from(scanned.bytes).map_err(|_| LedgerError::corrupt(&path, "it is too long"))?;
        end = Location { segment: *segment, offset };
    }
    let mut recovered = Recovered {
        logs: BTreeMap::new(),
        edges: BTreeMap::new(),
        sequence,
        journal: last(&segments),
        evidence,
        end,
        torn_bytes,
    };
    for (name, log) in logs {
        log.check(&name)?;
        let vkey = key.verifier_key(&config.origin(&name))?;
        let durable = log.locations.len() as u64;
        let state = LogState { locations: log.locations, durable, published: log.published.map(Arc::new) };
        recovered.edges.insert(name.clone(), log.edge);
        recovered.logs.insert(name.clone(), Arc::new(Log::new(name, vkey, state)));
    }
    Ok(recovered)
}

/// The segment numbers in a folder, in order. What is called otherwise is not ours.
pub(crate) fn segments(store: &Store, folder: &str) -> Result<Vec<u32>, LedgerError> {
    let mut numbers: Vec<u32> =
        store.list(folder)?.iter().filter_map(|name| journal::segment_number(name)).collect();
    numbers.sort_unstable();
    Ok(numbers)
}

fn last(segments: &[u32]) -> u32 {
    segments.last().copied().unwrap_or(0)
}

/// A tail that does not read may be torn only in the last segment, and only if nothing says that it was durable.
fn check_tail(bytes: &[u8], scanned: journal::Scanned, path: &str, is_last: bool) -> Result<(), LedgerError> {
    let tail = bytes.get(scanned.bytes..).unwrap_or_default();
    let damaged = |what: &str| {
        let what = format!("batch {} at byte {} {what}", scanned.sequence + 1, scanned.bytes);
        Err(LedgerError::corrupt(path, what))
    };
    if journal::without_reserved(tail) == 0 {
        Ok(())
    } else if !is_last {
        damaged("does not read, and later segments follow")
    } else if journal::says_durable(tail, scanned.sequence + 1) {
        damaged("does not read, and later batches say that it was durable")
    } else {
        Ok(())
    }
}

/// Writes the last segment anew without its torn tail. Also when nothing is torn: after a failed sync the operating
/// system may show bytes that never reached the disk, and syncing again would not send them there.
fn rewrite(store: &Store, path: &str, mut bytes: Vec<u8>, whole: usize) -> Result<(), LedgerError> {
    bytes.truncate(whole);
    if bytes.is_empty() { store.remove_durably(path) } else { store.replace(&[(path.to_owned(), bytes)]) }
}

fn note_entry(
    logs: &mut BTreeMap<LogName, Reading>,
    path: &str,
    segment: u32,
    offset: usize,
    entry: &Entry<'_>,
) -> Result<(), LedgerError> {
    let log = logs.entry(entry.log.clone()).or_insert_with(|| Reading::new(None));
    if log.locations.len() as u64 != entry.index {
        let what =
            format!("entry {} of `{}` comes when {} is next", entry.index, entry.log, log.locations.len());
        return Err(LedgerError::corrupt(path, what));
    }
    let offset = u32::try_from(offset).map_err(|_| LedgerError::corrupt(path, "it is too long"))?;
    log.locations.push(Location { segment, offset });
    if entry.index < log.signed {
        // The tiles that this fills were written before the checkpoint was.
        log.edge.push(leaf_hash(entry.leaf));
    }
    Ok(())
}

impl Reading {
    fn new(checkpoint: Option<(Checkpoint, String)>) -> Self {
        let signed = checkpoint.as_ref().map_or(0, |(checkpoint, _)| checkpoint.size);
        let root = checkpoint.as_ref().map(|(checkpoint, _)| checkpoint.root);
        let published = checkpoint.map(|(checkpoint, note)| Published { size: checkpoint.size, note });
        Self { published, signed, root, locations: Vec::new(), edge: Edge::default() }
    }

    /// Refuses a journal that lacks what was signed, or differs from it: signing on would fork the log.
    fn check(&self, name: &LogName) -> Result<(), LedgerError> {
        let size = self.locations.len() as u64;
        if size < self.signed {
            let what = format!("it has {size} entries of `{name}`, whose checkpoint has {}", self.signed);
            return Err(LedgerError::corrupt("journal", what));
        }
        if self.root.is_some_and(|root| root != self.edge.root()) {
            let what = format!("its entries of `{name}` do not have the root of that log's checkpoint");
            return Err(LedgerError::corrupt("journal", what));
        }
        Ok(())
    }
}

/// Every log's last checkpoint, verified with our own key.
fn read_checkpoints(
    store: &Store,
    key: &SigningKey,
    config: &Config,
) -> Result<BTreeMap<LogName, Reading>, LedgerError> {
    let mut logs = BTreeMap::new();
    for name in store.list("logs")?.iter().filter_map(|name| name.parse::<LogName>().ok()) {
        let path = format!("logs/{name}/checkpoint");
        let Some(bytes) = store.read_all(&path)? else { continue };
        let note = String::from_utf8(bytes).map_err(|_| LedgerError::corrupt(&path, "it is not UTF-8"))?;
        let vkey = key.verifier_key(&config.origin(&name))?;
        let checkpoint = Checkpoint::verify(&note, &vkey)
            .map_err(|error| LedgerError::WrongKey { log: name.to_string(), reason: error.to_string() })?;
        logs.insert(name, Reading::new(Some((checkpoint, note))));
    }
    Ok(logs)
}
