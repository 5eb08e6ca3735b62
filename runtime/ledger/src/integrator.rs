//! The integrator: derives trees, tiles and checkpoints from what is durable in the journal, at most once an interval.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use crate::checkpoint::Checkpoint;
use crate::shared::{Log, Published, Shared, add};
use crate::tile::{self, Edge, TILE_WIDTH, TileKind, TilePath};
use crate::tree::leaf_hash;
use crate::{LedgerError, LogName};

/// Tiles are handed to the storage in groups of about this. Bytes.
const GROUP_BYTES_MAX: usize = 4 << 20;

/// The growing trees of all logs. One thread at a time integrates.
pub(crate) struct Integrator(Mutex<BTreeMap<LogName, Edge>>);

impl Integrator {
    /// With the trees as far as there are checkpoints for them.
    pub(crate) fn new(edges: BTreeMap<LogName, Edge>) -> Self {
        Self(Mutex::new(edges))
    }

    /// Works until the ledger closes; the last round comes after that.
    pub(crate) fn run(&self, shared: &Shared) {
        let mut last: Option<Instant> = None;
        loop {
            let closing = wait_for_work(shared, last);
            last = Some(Instant::now());
            let integrated = self.integrate(shared);
            if closing || integrated.is_err_and(|error| !error.is_full()) {
                return;
            }
        }
    }

    /// Brings every log's tiles and checkpoint up to what is durable now. A failure stops the ledger, unless there only
    /// is no room: then the same is done again later.
    pub(crate) fn integrate(&self, shared: &Shared) -> Result<(), LedgerError> {
        let mut edges = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for log in shared.logs() {
            shared.running()?;
            let durable = log.state().durable;
            let edge = edges.entry(log.name.clone()).or_default();
            if durable <= edge.size() {
                continue;
            }
            let before = edge.clone();
            if let Err(error) = integrate_log(shared, &log, edge, durable) {
                if error.is_full() {
                    *edge = before;
                    shared.wake().dirty = true;
                    shared.woken.notify_all();
                } else {
                    shared.stop(&error);
                }
                return Err(error);
            }
        }
        Ok(())
    }
}

/// Waits until something is durable that was not, and an interval has passed. Returns whether the ledger closes.
fn wait_for_work(shared: &Shared, last: Option<Instant>) -> bool {
    let mut wake = shared.wake();
    loop {
        let since = last.map_or(shared.config.checkpoint_interval, |last| last.elapsed());
        let wait = shared.config.checkpoint_interval.saturating_sub(since);
        if wake.closing || (wake.dirty && wait.is_zero()) {
            wake.dirty = false;
            return wake.closing;
        }
        wake = if wake.dirty {
            shared.woken.wait_timeout(wake, wait).unwrap_or_else(PoisonError::into_inner).0
        } else {
            shared.woken.wait(wake).unwrap_or_else(PoisonError::into_inner)
        };
    }
}

/// Tiles first; the checkpoint only when they are durable; then what the last checkpoint needed and nobody does now.
fn integrate_log(shared: &Shared, log: &Log, edge: &mut Edge, size: u64) -> Result<(), LedgerError> {
    let before = edge.size();
    write_tiles(shared, log, edge, size)?;
    // Nothing is signed any more once a write has failed anywhere.
    shared.running()?;
    let text = Checkpoint::new(log.vkey.name().to_owned(), size, edge.root()).to_string();
    let note = shared.key.sign(log.vkey.name(), &text)?;
    shared.store.replace(&[(log.path("checkpoint"), note.clone().into_bytes())])?;
    log.update(|state| state.published = Some(Arc::new(Published { size, note })));
    add(&shared.counters.checkpoints, 1);
    tidy(shared, log, before, size);
    Ok(())
}

fn write_tiles(shared: &Shared, log: &Log, edge: &mut Edge, size: u64) -> Result<(), LedgerError> {
    let mut group = Group { shared, log, files: Vec::new(), bytes: 0 };
    while edge.size() < size {
        let index = edge.size() / TILE_WIDTH;
        let start = index * TILE_WIDTH;
        let leaves = shared.leaves(log, start, size.min(start + TILE_WIDTH))?;
        let mut bundle = Vec::new();
        let known = edge.size() - start;
        for (leaf, place) in leaves.iter().zip(0u64..) {
            tile::push_entry(&mut bundle, leaf).ok_or(LedgerError::LeafTooLarge { bytes: leaf.len() })?;
            if place >= known {
                for (path, hashes) in edge.push(leaf_hash(leaf)) {
                    group.add(path, tile::write_hashes(&hashes));
                }
            }
        }
        if let Some(path) = TilePath::at_size(TileKind::Entries, index, size) {
            group.add(path, bundle);
        }
        group.write_if_large()?;
    }
    for (path, hashes) in edge.partial() {
        group.add(path, tile::write_hashes(hashes));
    }
    group.write()
}

/// Tiles to be written together, so that folders are synced once for many.
struct Group<'a> {
    shared: &'a Shared,
    log: &'a Log,
    files: Vec<(String, Vec<u8>)>,
    bytes: usize,
}

impl Group<'_> {
    fn add(&mut self, path: TilePath, bytes: Vec<u8>) {
        self.bytes += bytes.len();
        self.files.push((self.log.path(&path.to_string()), bytes));
    }

    fn write_if_large(&mut self) -> Result<(), LedgerError> {
        if self.bytes < GROUP_BYTES_MAX { Ok(()) } else { self.write() }
    }

    fn write(&mut self) -> Result<(), LedgerError> {
        self.bytes = 0;
        self.shared.store.replace(&std::mem::take(&mut self.files))
    }
}

/// Removes the partial tiles of the checkpoint before: a wider one of the same tile has all that they had.
fn tidy(shared: &Shared, log: &Log, before: u64, now: u64) {
    let levels =
        (0..64).map(TileKind::Hashes).take_while(|kind| TilePath::at_size(*kind, 0, before).is_some());
    for kind in levels.chain([TileKind::Entries]) {
        let level = if let TileKind::Hashes(level) = kind { u32::from(level) } else { 0 };
        let index = before.checked_shr(8 * (level + 1)).unwrap_or(0);
        let old = TilePath::at_size(kind, index, before);
        let new = TilePath::at_size(kind, index, now);
        match (old, new) {
            (Some(old), Some(new)) if old != new && new.is_full() => {
                shared.store.tidy_folder(&log.path(&format!("{}.p", old.full_path())));
            }
            (Some(old), Some(new)) if old != new => shared.store.tidy_file(&log.path(&old.to_string())),
            _ => {}
        }
    }
}
