//! A disk that forgets: whatever was not synced, files and folder entries, may be gone after a crash, and any step may
//! fail.

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use super::super::disk::{Disk, DiskFile, Status};
use super::*;

/// What happens at a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// It fails, and none or a part of it happened.
    Fails,
    /// It fails, and happened all the same.
    FailsButHappened,
    /// The power goes: this step happened or not, none does after it.
    Crash,
}

/// What a crash leaves of the unsynced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Survival {
    Nothing,
    /// Any folder entry or not, any block of a file or zeroes in its place.
    Anything,
}

#[derive(Clone)]
enum Node {
    File {
        current: Vec<u8>,
        durable: Vec<u8>,
        /// From here on the next sync writes. A failed sync moves it on without writing: the pages count as clean.
        dirty: usize,
        modified: SystemTime,
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
    dead: bool,
    lying: bool,
    life: usize,
}

#[derive(Clone)]
pub(super) struct Forgetful(Arc<Mutex<World>>);

impl Forgetful {
    pub(super) fn new(seed: u64) -> Self {
        Self(Arc::new(Mutex::new(World {
            nodes: vec![Node::Folder { current: BTreeMap::new(), durable: BTreeMap::new() }],
            random: Random(seed),
            steps: 0,
            fault: None,
            dead: false,
            lying: false,
            life: 0,
        })))
    }

    fn world(&self) -> MutexGuard<'_, World> {
        self.0.lock().unwrap()
    }

    /// Steps so far.
    pub(super) fn steps(&self) -> usize {
        self.world().steps
    }

    /// Lets the `step`th step from now on have the fault.
    pub(super) fn fail_at(&self, step: usize, fault: Fault) {
        let mut world = self.world();
        world.fault = Some((world.steps + step, fault));
    }

    /// From now on syncs do nothing and say they did.
    pub(super) fn lie(&self) {
        self.world().lying = true;
    }

    /// The power goes, if it has not gone yet, and comes back, with what was durable and what else survives.
    pub(super) fn restart(&self, survival: Survival) {
        let mut world = self.world();
        let World { nodes, random, .. } = &mut *world;
        for node in nodes {
            node.crash(random, survival);
        }
        world.revive();
    }

    /// Only the process ended: the operating system still shows everything.
    pub(super) fn end_process(&self) {
        self.world().revive();
    }
}

impl Node {
    fn crash(&mut self, random: &mut Random, survival: Survival) {
        match self {
            Self::File { current, durable, dirty, .. } => {
                if survival == Survival::Anything && current.len() > durable.len() {
                    let mut tail = current.split_off(durable.len());
                    tail.truncate(random.below(tail.len() + 1));
                    tail.chunks_mut(8).filter(|_| random.below(4) == 0).for_each(|block| block.fill(0));
                    durable.extend(tail);
                }
                current.clone_from(durable);
                *dirty = durable.len();
            }
            Self::Folder { current, durable } => {
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

fn not_found<T>() -> io::Result<T> {
    Err(io::ErrorKind::NotFound.into())
}

impl World {
    fn revive(&mut self) {
        self.dead = false;
        self.fault = None;
        self.life += 1;
    }

    fn find(&self, path: &str) -> io::Result<usize> {
        path.split('/').filter(|part| *part != ".").try_fold(0, |node, part| match &self.nodes[node] {
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

    /// Does a step, unless it is its turn to fail. What it is told is whether it happens.
    fn step<T>(&mut self, act: impl FnOnce(&mut Self, bool) -> io::Result<T>) -> io::Result<T> {
        if self.dead {
            return Err(io::Error::other("the power is gone"));
        }
        self.steps += 1;
        match self.fault.filter(|(at, _)| *at == self.steps) {
            None => act(self, true),
            Some((_, fault)) => {
                let happens = fault == Fault::FailsButHappened || fault == Fault::Crash && self.random.coin();
                act(self, happens)?;
                self.dead = fault == Fault::Crash;
                Err(io::Error::other("it failed"))
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

    fn file(&self, path: &str) -> io::Result<(Status, &[u8])> {
        let node = self.find(path)?;
        match &self.nodes[node] {
            Node::File { current, modified, .. } => {
                let stamp = Stamp(format!("{node}-{}", current.len()));
                Ok((Status { bytes: current.len() as u64, modified: *modified, stamp }, current))
            }
            Node::Folder { .. } => not_found(),
        }
    }
}

fn split(path: &str) -> (&str, &str) {
    path.rsplit_once('/').unwrap_or((".", path))
}

impl Disk for Forgetful {
    fn create_folder(&self, path: &str) -> io::Result<()> {
        self.world().step(|world, happens| {
            let folder = Node::Folder { current: BTreeMap::new(), durable: BTreeMap::new() };
            match if happens { world.add(path, folder) } else { Ok(0) } {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
                _ => Ok(()),
            }
        })
    }

    fn create(&self, path: &str) -> io::Result<Box<dyn DiskFile>> {
        let mut world = self.world();
        let node = world.step(|world, happens| {
            let modified = SystemTime::now();
            let file = Node::File { current: vec![], durable: vec![], dirty: 0, modified };
            if happens { world.add(path, file) } else { Ok(0) }
        })?;
        Ok(Box::new(File { disk: self.clone(), node, life: world.life }))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.world().step(|world, happens| {
            // As the system does: the place is looked up before anything is taken away.
            let (folder, name) = split(to);
            world.entries(folder)?;
            if happens {
                let node = world.take(from)?;
                world.entries(folder)?.insert(name.to_owned(), node);
            }
            Ok(())
        })
    }

    fn sync_folder(&self, path: &str) -> io::Result<()> {
        self.world().step(|world, happens| {
            let node = world.find(path)?;
            let lying = world.lying;
            if let (Node::Folder { current, durable }, true) = (&mut world.nodes[node], happens && !lying) {
                durable.clone_from(current);
            }
            Ok(())
        })
    }

    fn remove(&self, path: &str) -> io::Result<()> {
        self.world().step(|world, happens| if happens { world.take(path).map(drop) } else { Ok(()) })
    }

    fn remove_folder(&self, path: &str) -> io::Result<()> {
        self.world().step(|world, happens| {
            if !world.entries(path)?.is_empty() {
                return Err(io::ErrorKind::DirectoryNotEmpty.into());
            }
            if happens { world.take(path).map(drop) } else { Ok(()) }
        })
    }

    fn list(&self, path: &str) -> io::Result<Vec<String>> {
        self.world().step(|world, _| Ok(world.entries(path)?.keys().cloned().collect()))
    }

    fn status(&self, path: &str) -> io::Result<Status> {
        self.world().step(|world, _| Ok(world.file(path)?.0))
    }

    fn read(&self, path: &str, range: Range<u64>) -> io::Result<(Status, Vec<u8>)> {
        self.world().step(|world, _| {
            let (status, bytes) = world.file(path)?;
            let end = range.end.min(status.bytes) as usize;
            Ok((status, bytes[(range.start as usize).min(end)..end].to_vec()))
        })
    }
}

struct File {
    disk: Forgetful,
    node: usize,
    life: usize,
}

impl File {
    fn step(&self, act: impl FnOnce(&mut World, bool) -> io::Result<()>) -> io::Result<()> {
        let mut world = self.disk.world();
        if world.life != self.life {
            return Err(io::Error::other("a file of an earlier life"));
        }
        world.step(act)
    }
}

impl DiskFile for File {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.step(|world, happens| {
            let part = if happens { bytes.len() } else { world.random.below(bytes.len() + 1) };
            if let Node::File { current, modified, .. } = &mut world.nodes[self.node] {
                current.extend_from_slice(&bytes[..part]);
                *modified = SystemTime::now();
            }
            Ok(())
        })
    }

    fn sync(&mut self) -> io::Result<()> {
        self.step(|world, happens| {
            let lying = world.lying;
            if let Node::File { current, durable, dirty, .. } = &mut world.nodes[self.node] {
                if happens && !lying {
                    durable.resize(*dirty, 0);
                    durable.extend_from_slice(&current[*dirty..]);
                }
                *dirty = current.len();
            }
            Ok(())
        })
    }
}
