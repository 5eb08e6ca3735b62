//! A storage that forgets: whatever was not synced, files and folder entries, may be gone after a crash, and any step
//! may fail. And what must hold of a ledger after that.

#![allow(dead_code, unreachable_pub, reason = "each test is a crate of its own and uses a part of it")]

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use verdict_ledger::tile::{TileError, TileKind, TilePath, TileTree, parse_entries};
use verdict_ledger::{
    Checkpoint, Config, Ledger, LogName, SigningKey, Storage, StorageFile, VerifierKey, tree,
};

/// Small, seeded, good enough to choose with (SplitMix64).
pub struct Random(pub u64);

impl Random {
    pub fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % bound.max(1) as u64) as usize
    }

    pub fn coin(&mut self) -> bool {
        self.below(2) == 1
    }

    pub fn bytes(&mut self, len: usize) -> Vec<u8> {
        (0..len).map(|_| self.below(256) as u8).collect()
    }
}

/// What happens at a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// It fails, and none or a part of it happened.
    Fails,
    /// It fails, and happened all the same.
    FailsButPersisted,
    /// The power goes: this step happened or not, none does after it.
    Crash,
}

/// What a crash leaves of the unsynced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Survival {
    Nothing,
    /// Any folder entry or not, any block of a file or zeroes in its place.
    Anything,
}

#[derive(Clone)]
enum Node {
    File {
        current: Vec<u8>,
        durable: Vec<u8>,
        /// From here on the next sync writes. A failed sync moves it on, and has written a part of it at most: the
        /// pages count as clean.
        dirty: usize,
    },
    Folder {
        current: BTreeMap<String, usize>,
        durable: BTreeMap<String, usize>,
    },
}

struct World {
    nodes: Vec<Node>,
    random: Random,
    steps: usize,
    fault: Option<(usize, Fault)>,
    /// From this step on there is no room.
    full_from: Option<usize>,
    dead: bool,
    lying: bool,
    life: usize,
    checkpoints: Vec<(String, Vec<u8>)>,
}

#[derive(Clone)]
pub struct Forgetful(Arc<Mutex<World>>);

impl Forgetful {
    pub fn new(seed: u64) -> Self {
        let root = Node::Folder { current: BTreeMap::new(), durable: BTreeMap::new() };
        Self(Arc::new(Mutex::new(World {
            nodes: vec![root],
            random: Random(seed),
            steps: 0,
            fault: None,
            full_from: None,
            dead: false,
            lying: false,
            life: 0,
            checkpoints: Vec::new(),
        })))
    }

    fn world(&self) -> MutexGuard<'_, World> {
        self.0.lock().unwrap()
    }

    /// Changing steps so far.
    pub fn steps(&self) -> usize {
        self.world().steps
    }

    /// Lets the `step`th changing step from now on have the fault.
    pub fn fail_at(&self, step: usize, fault: Fault) {
        let mut world = self.world();
        world.fault = Some((world.steps + step, fault));
    }

    /// From the `step`th changing step on, counted from now, there is no room.
    pub fn fill_at(&self, step: usize) {
        let mut world = self.world();
        world.full_from = Some(world.steps + step);
    }

    /// There is room again.
    pub fn make_room(&self) {
        self.world().full_from = None;
    }

    /// From now on syncs do nothing and say they did.
    pub fn lie(&self) {
        self.world().lying = true;
    }

    /// Holds up every step until the guard is dropped.
    pub fn hold(&self) -> impl Drop + '_ {
        struct Held<'a>(#[allow(dead_code, reason = "held")] MutexGuard<'a, World>);
        impl Drop for Held<'_> {
            fn drop(&mut self) {}
        }
        Held(self.world())
    }

    /// The power is gone: nothing works any more.
    pub fn cut_power(&self) {
        self.world().dead = true;
    }

    /// The power comes back, with what was durable and what else the survival leaves.
    pub fn restart(&self, survival: Survival) {
        let mut world = self.world();
        let World { nodes, random, .. } = &mut *world;
        for node in nodes {
            node.crash(random, survival);
        }
        world.revive();
    }

    /// Only the process ended: the operating system still shows everything.
    pub fn end_process(&self) {
        self.world().revive();
    }

    /// Every checkpoint that anyone could have read, in order: path and note.
    pub fn checkpoints(&self) -> Vec<(String, Vec<u8>)> {
        self.world().checkpoints.clone()
    }
}

impl Node {
    fn crash(&mut self, random: &mut Random, survival: Survival) {
        match self {
            Node::File { current, durable, dirty } => {
                if survival == Survival::Anything {
                    let (old, new) = (durable.len(), current.len());
                    let longer = random.below(new.saturating_sub(old) + 1);
                    let shorter = random.coin() && new < old;
                    durable.resize(if shorter { new } else { old + longer }, 0);
                    write_blocks(current, durable, old.min(*dirty), |_| random.below(4) != 0);
                }
                current.clone_from(durable);
                *dirty = durable.len();
            }
            Node::Folder { current, durable } => {
                if survival == Survival::Anything {
                    let names: BTreeSet<String> = current.keys().chain(durable.keys()).cloned().collect();
                    for name in names.into_iter().filter(|_| random.coin()) {
                        match current.get(&name) {
                            Some(node) => durable.insert(name, *node),
                            None => durable.remove(&name),
                        };
                    }
                }
                current.clone_from(durable);
            }
        }
    }
}

/// Some blocks of a file reach the disk, of those that there are on both.
fn write_blocks(current: &[u8], durable: &mut [u8], from: usize, mut is_written: impl FnMut(usize) -> bool) {
    let end = current.len().min(durable.len());
    for start in (from..end).step_by(64).filter(|start| is_written(*start)) {
        let block = start..end.min(start + 64);
        durable[block.clone()].copy_from_slice(&current[block]);
    }
}

fn error(what: &str) -> io::Error {
    io::Error::other(what.to_owned())
}

impl World {
    fn revive(&mut self) {
        self.dead = false;
        self.fault = None;
        self.life += 1;
    }

    fn alive(&self) -> io::Result<()> {
        if self.dead { Err(error("the power is gone")) } else { Ok(()) }
    }

    fn is_full(&self) -> bool {
        self.full_from.is_some_and(|step| self.steps + 1 >= step)
    }

    fn find(&self, path: &str) -> io::Result<usize> {
        self.alive()?;
        path.split('/').filter(|part| !part.is_empty()).try_fold(0, |node, part| match &self.nodes[node] {
            Node::Folder { current, .. } => current.get(part).copied().ok_or(io::ErrorKind::NotFound.into()),
            Node::File { .. } => Err(io::ErrorKind::NotADirectory.into()),
        })
    }

    fn entries(&mut self, path: &str) -> io::Result<&mut BTreeMap<String, usize>> {
        let node = self.find(path)?;
        match &mut self.nodes[node] {
            Node::Folder { current, .. } => Ok(current),
            Node::File { .. } => Err(io::ErrorKind::NotADirectory.into()),
        }
    }

    /// Does a step, unless it is its turn to fail.
    fn step(&mut self, act: impl FnOnce(&mut Self, bool) -> io::Result<()>) -> io::Result<()> {
        self.alive()?;
        self.steps += 1;
        match self.fault.filter(|(at, _)| *at == self.steps) {
            None => act(self, true),
            Some((_, Fault::Fails)) => {
                act(self, false)?;
                Err(error("it failed"))
            }
            Some((_, Fault::FailsButPersisted)) => {
                act(self, true)?;
                Err(error("it failed, or so it seems"))
            }
            Some((_, Fault::Crash)) => {
                let happens = self.random.coin();
                act(self, happens)?;
                self.dead = true;
                Err(error("the power went"))
            }
        }
    }

    fn add(&mut self, path: &str, node: Node) -> io::Result<usize> {
        let (folder, name) = split(path);
        let new = self.nodes.len();
        let entries = self.entries(folder)?;
        if entries.contains_key(name) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        entries.insert(name.to_owned(), new);
        self.nodes.push(node);
        Ok(new)
    }

    fn take(&mut self, path: &str) -> io::Result<usize> {
        let (folder, name) = split(path);
        self.entries(folder)?.remove(name).ok_or(io::ErrorKind::NotFound.into())
    }
}

fn split(path: &str) -> (&str, &str) {
    path.rsplit_once('/').unwrap_or(("", path))
}

impl Storage for Forgetful {
    fn create(&self, path: &str) -> io::Result<Box<dyn StorageFile>> {
        let mut world = self.world();
        if world.is_full() {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let mut node = 0;
        world.step(|world, happens| {
            if happens {
                node = world.add(path, Node::File { current: vec![], durable: vec![], dirty: 0 })?;
            }
            Ok(())
        })?;
        Ok(Box::new(File { storage: self.clone(), node, life: world.life, bytes: 0, room: 0 }))
    }

    fn create_folder(&self, path: &str) -> io::Result<()> {
        let mut world = self.world();
        if world.is_full() && world.find(path).is_err() {
            return Err(io::ErrorKind::StorageFull.into());
        }
        world.step(|world, happens| {
            let folder = Node::Folder { current: BTreeMap::new(), durable: BTreeMap::new() };
            match if happens { world.add(path, folder) } else { Ok(0) } {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
                _ => Ok(()),
            }
        })
    }

    fn sync_folder(&self, path: &str) -> io::Result<()> {
        self.world().step(|world, happens| {
            let node = world.find(path)?;
            if let (Node::Folder { current, durable }, true) =
                (&mut world.nodes[node], happens && !world.lying)
            {
                durable.clone_from(current);
            }
            Ok(())
        })
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.world().step(|world, happens| {
            if happens {
                let node = world.take(from)?;
                let (folder, name) = split(to);
                world.entries(folder)?.insert(name.to_owned(), node);
                if let (Node::File { current, .. }, "checkpoint") = (&world.nodes[node], name) {
                    let note = current.clone();
                    world.checkpoints.push((to.to_owned(), note));
                }
            }
            Ok(())
        })
    }

    fn remove(&self, path: &str) -> io::Result<()> {
        self.world().step(|world, happens| if happens { world.take(path).map(drop) } else { Ok(()) })
    }

    fn remove_folder(&self, path: &str) -> io::Result<()> {
        self.remove(path)
    }

    fn list(&self, path: &str) -> io::Result<Vec<String>> {
        Ok(self.world().entries(path)?.keys().cloned().collect())
    }

    fn len(&self, path: &str) -> io::Result<u64> {
        self.read(path, 0, usize::MAX).map(|bytes| bytes.len() as u64)
    }

    fn read(&self, path: &str, offset: u64, bytes_max: usize) -> io::Result<Vec<u8>> {
        let world = self.world();
        match &world.nodes[world.find(path)?] {
            Node::File { current, .. } => {
                Ok(current.iter().skip(offset as usize).take(bytes_max).copied().collect())
            }
            Node::Folder { .. } => Err(io::ErrorKind::IsADirectory.into()),
        }
    }
}

struct File {
    storage: Forgetful,
    node: usize,
    life: usize,
    /// What was appended.
    bytes: usize,
    /// Up to where it is reserved.
    room: usize,
}

impl File {
    fn world(&self) -> io::Result<MutexGuard<'_, World>> {
        let world = self.storage.world();
        if world.life == self.life { Ok(world) } else { Err(error("a file of an earlier life")) }
    }
}

impl World {
    fn write(&mut self, node: usize, at: usize, bytes: &[u8]) {
        if let Node::File { current, dirty, .. } = &mut self.nodes[node] {
            let end = at + bytes.len();
            current.resize(current.len().max(end), 0);
            current[at..end].copy_from_slice(bytes);
            *dirty = at.min(*dirty);
        }
    }
}

impl StorageFile for File {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut world = self.world()?;
        if world.is_full() && self.bytes + bytes.len() > self.room {
            // What still fits is there.
            let part = world.random.below(bytes.len());
            world.write(self.node, self.bytes, &bytes[..part]);
            return Err(io::ErrorKind::StorageFull.into());
        }
        world.step(|world, happens| {
            let part = if happens { bytes.len() } else { world.random.below(bytes.len() + 1) };
            world.write(self.node, self.bytes, &bytes[..part]);
            Ok(())
        })?;
        drop(world);
        self.bytes += bytes.len();
        Ok(())
    }

    fn reserve(&mut self, bytes: u64) -> io::Result<()> {
        let room = self.bytes + bytes as usize;
        let mut world = self.world()?;
        if world.is_full() {
            return Err(io::ErrorKind::StorageFull.into());
        }
        if world.random.below(3) == 0 {
            return Err(io::ErrorKind::Unsupported.into());
        }
        world.step(|world, happens| {
            if let (Node::File { current, dirty, .. }, true) = (&mut world.nodes[self.node], happens) {
                *dirty = current.len().min(*dirty);
                current.resize(current.len().max(room), 0);
            }
            Ok(())
        })?;
        drop(world);
        self.room = room;
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        let mut world = self.world()?;
        world.step(|world, happens| {
            let World { nodes, random, lying, .. } = world;
            if let Node::File { current, durable, dirty } = &mut nodes[self.node] {
                if happens && !*lying {
                    durable.resize(*dirty, 0);
                    durable.extend_from_slice(&current[*dirty..]);
                } else if !*lying {
                    write_blocks(current, durable, *dirty, |_| random.coin());
                }
                *dirty = current.len();
            }
            Ok(())
        })
    }
}

impl Drop for File {
    fn drop(&mut self) {
        let Ok(mut world) = self.world() else { return };
        if world.dead || self.room <= self.bytes {
            return;
        }
        if let Node::File { current, dirty, .. } = &mut world.nodes[self.node] {
            current.truncate(self.bytes);
            *dirty = current.len().min(*dirty);
        }
    }
}

/// What callers were told: it must be true for ever.
#[derive(Default, Clone)]
pub struct Told {
    pub entries: BTreeMap<(LogName, u64), (Vec<u8>, Vec<u8>)>,
}

pub fn key() -> SigningKey {
    SigningKey::generate([42; 32])
}

/// Segments as small as they may be, so that a short test has many.
pub fn config() -> Config {
    let mut config = Config::new("log.example/test");
    config.segment_bytes_max = 4096;
    config.checkpoint_interval = Duration::from_secs(1);
    config
}

pub fn open(storage: &Forgetful) -> Result<Ledger, verdict_ledger::LedgerError> {
    Ledger::open(Arc::new(storage.clone()), key(), config())
}

/// Appends in groups to three logs, publishing now and then, until something fails.
pub fn work(ledger: &Ledger, random: &mut Random, groups: usize, told: &mut Told) {
    let logs: Vec<LogName> = ["a", "b", "tenant-3"].map(|name| name.parse().unwrap()).to_vec();
    for _ in 0..groups {
        let mut waiting = Vec::new();
        for _ in 0..=random.below(6) {
            let log = &logs[random.below(3)];
            let (leaf_bytes, evidence_bytes) = (random.below(600), random.below(300));
            let (leaf, evidence) = (random.bytes(leaf_bytes), random.bytes(evidence_bytes));
            let append = ledger.append(log, &leaf, &evidence);
            waiting.push((log.clone(), leaf, evidence, append));
        }
        for (log, leaf, evidence, append) in waiting {
            if let Ok(index) = append.wait() {
                let before = told.entries.insert((log.clone(), index), (leaf, evidence));
                assert!(before.is_none(), "index {index} of {log} was given out twice");
            }
        }
        if random.below(3) == 0 && ledger.publish().is_err() {
            return;
        }
    }
}

/// Everything that must hold of an open ledger: what was told is there, each log's tiles, entries and proofs lead to
/// its checkpoint, and every checkpoint that was ever readable is a beginning of it.
pub fn check(ledger: &Ledger, told: &Told, ever: &[(String, Vec<u8>)]) {
    for ((log, index), (leaf, evidence)) in &told.entries {
        assert_eq!(&ledger.leaf(log, *index).unwrap(), leaf, "entry {index} of {log}");
        assert_eq!(
            ledger.evidence(log, *index).unwrap().as_ref(),
            Some(evidence),
            "evidence {index} of {log}"
        );
    }
    let mut visited = BTreeMap::new();
    ledger.for_each(|log, index, leaf| drop(visited.insert((log.clone(), index), leaf.to_vec()))).unwrap();
    for log in ledger.logs() {
        let vkey = ledger.verifier_key(&log).unwrap();
        let checkpoint = Checkpoint::verify(&ledger.checkpoint(&log).unwrap(), &vkey).unwrap();
        let leaves: Vec<Vec<u8>> =
            (0..ledger.size(&log)).map(|index| ledger.leaf(&log, index).unwrap()).collect();
        for (leaf, index) in leaves.iter().zip(0u64..) {
            assert_eq!(visited.get(&(log.clone(), index)), Some(leaf));
        }
        let hashes: Vec<_> = leaves.iter().map(|leaf| tree::leaf_hash(leaf)).collect();
        assert_eq!(tree::root(&hashes[..checkpoint.size as usize]), checkpoint.root);
        check_tiles(&checkpoint, &leaves, |path| ledger.resource(&log, path).unwrap());
        for index in 0..checkpoint.size {
            let proof = ledger.proof(&log, index).unwrap().unwrap();
            proof.verify(&leaves[index as usize], &vkey).unwrap();
        }
        check_history(&log, &vkey, &checkpoint, &hashes, ever);
    }
}

/// Of a ledger whose appends are durable no entry is without its evidence, told or not.
pub fn check_evidence(ledger: &Ledger) {
    for log in ledger.logs() {
        for index in 0..ledger.size(&log) {
            let evidence = ledger.evidence(&log, index);
            assert!(matches!(evidence, Ok(Some(_))), "evidence {index} of {log}: {evidence:?}");
        }
    }
}

fn check_history(
    log: &LogName,
    vkey: &VerifierKey,
    now: &Checkpoint,
    hashes: &[tree::Hash],
    ever: &[(String, Vec<u8>)],
) {
    let mut size = 0;
    for (_, note) in ever.iter().filter(|(path, _)| *path == format!("logs/{log}/checkpoint")) {
        let then = Checkpoint::verify(std::str::from_utf8(note).unwrap(), vkey).unwrap();
        assert!(then.size >= size && then.size <= now.size, "a checkpoint of {log} went back in size");
        assert_eq!(tree::root(&hashes[..then.size as usize]), then.root, "{log} was forked at {}", then.size);
        size = then.size;
    }
}

/// The static files of a log have the checkpoint's root and, if given, these leaves.
pub fn check_tiles(checkpoint: &Checkpoint, leaves: &[Vec<u8>], read: impl Fn(&str) -> Option<Vec<u8>>) {
    let size = checkpoint.size;
    let tile = |tile: TilePath| {
        Ok::<_, TileError>(read(&tile.to_string()).unwrap_or_else(|| panic!("{tile} is missing at {size}")))
    };
    assert_eq!(TileTree::new(size, tile).root().unwrap(), checkpoint.root);
    let mut entries = Vec::new();
    for path in (0..).map_while(|index| TilePath::at_size(TileKind::Entries, index, size)) {
        let bundle = tile(path).unwrap();
        entries.extend(parse_entries(path, &bundle).unwrap().into_iter().map(<[u8]>::to_vec));
    }
    assert_eq!(entries.len() as u64, size);
    assert!(leaves.is_empty() || leaves[..size as usize] == entries);
}

/// Straight from the storage, without a ledger: what is durable of a checkpoint's tiles when the power comes back.
pub fn check_tiles_on_disk(storage: &Forgetful) {
    for name in storage.list("logs").unwrap_or_default() {
        let Ok(note) = storage.read(&format!("logs/{name}/checkpoint"), 0, usize::MAX) else { continue };
        let vkey = key().verifier_key(&format!("log.example/test/{name}")).unwrap();
        let checkpoint = Checkpoint::verify(std::str::from_utf8(&note).unwrap(), &vkey).unwrap();
        check_tiles(&checkpoint, &[], |path| {
            storage.read(&format!("logs/{name}/{path}"), 0, usize::MAX).ok()
        });
    }
}
