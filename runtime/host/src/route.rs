//! Which version of a policy answers a question: the only one, or one of several by weight; and which one is only
//! watched.
//!
//! A split is sticky where the channel says so: the same text at a pointer of the input, or the same caller, gets the
//! same version, on every host and after every restart, as long as the weights stay. What it is stuck to is hashed with
//! the names of the policy and the channel, so that two channels split independently.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use sha2::{Digest as _, Sha256};
use verdict_core::digest::Digest;
use verdict_core::limits::Limits;
use verdict_core::name::{ChannelName, PolicyName};
use verdict_core::outcome::{Answer, Fault, Party};
use verdict_core::record::Through;
use verdict_core::time::Timestamp;
use verdict_core::trust::{ChannelState, Guard, Sticky};
use verdict_engine::Document;

use crate::Bounds;
use crate::error::HostError;
use crate::load::Active;
use crate::random::random;

const SPLIT_TAG: &[u8] = b"verdict-split/1:";

/// How a policy's questions find a version.
#[derive(Debug)]
pub(crate) struct Route {
    /// The channel, and the sequence of its state; none where a folder's highest version answers.
    pub(crate) channel: Option<(ChannelName, u64)>,
    versions: Box<[Weighted]>,
    sticky: Option<Sticky>,
    /// Evaluated and recorded beside what answers.
    pub(crate) shadow: Option<Arc<Active>>,
    watch: Option<Watch>,
    pub(crate) rests_on: Option<Digest>,
}

#[derive(Debug)]
struct Weighted {
    weight: u32,
    active: Arc<Active>,
}

/// What watches the versions after the first.
#[derive(Debug)]
struct Watch {
    guard: Guard,
    counts: Box<[Counts]>,
    reverted: AtomicBool,
}

#[derive(Debug, Default)]
struct Counts {
    decisions: AtomicU64,
    denials: AtomicU64,
    faults: AtomicU64,
    fuel: AtomicU64,
}

/// The routes of one policy.
#[derive(Debug, Default)]
pub(crate) struct Routes {
    /// To a folder's highest version, whatever the channel.
    pub(crate) folder: Option<Arc<Route>>,
    pub(crate) channels: BTreeMap<ChannelName, Arc<Route>>,
}

impl Routes {
    /// The route of a question; `default` is the host's own channel.
    pub(crate) fn get(&self, channel: Option<&ChannelName>, default: &ChannelName) -> Option<&Arc<Route>> {
        match (channel, &self.folder) {
            (None, Some(route)) => Some(route),
            (channel, _) => self.channels.get(channel.unwrap_or(default)),
        }
    }

    /// All of them.
    pub(crate) fn all(&self) -> impl Iterator<Item = &Arc<Route>> {
        self.folder.iter().chain(self.channels.values())
    }

    /// The names of the channels, for messages.
    pub(crate) fn known(&self) -> String {
        self.channels.keys().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
    }
}

/// A version that answers, and its place in the route.
pub(crate) struct Chosen<'a> {
    pub(crate) active: &'a Arc<Active>,
    place: usize,
}

impl Route {
    /// The only version of a folder.
    pub(crate) fn to(active: Arc<Active>) -> Self {
        let versions = Box::new([Weighted { weight: 1, active }]);
        Self { channel: None, versions, sticky: None, shadow: None, watch: None, rests_on: None }
    }

    /// What a channel's state says. The first version is the one that a guard reverts to. `rests_on` is the digest of
    /// everything that decided about it.
    pub(crate) fn of_channel(
        state: &ChannelState,
        versions: Vec<(u32, Arc<Active>)>,
        shadow: Option<Arc<Active>>,
        rests_on: Digest,
    ) -> Self {
        let counts = versions.iter().map(|_| Counts::default()).collect();
        let watch = state.guard.map(|guard| Watch { guard, counts, reverted: AtomicBool::new(false) });
        Self {
            channel: Some((state.channel.clone(), state.sequence)),
            versions: versions.into_iter().map(|(weight, active)| Weighted { weight, active }).collect(),
            sticky: state.sticky.clone(),
            shadow,
            watch,
            rests_on: Some(rests_on),
        }
    }

    /// Remembers that the guard reverted the state with this sequence before.
    pub(crate) fn set_reverted(&self, sequence: Option<u64>) {
        if let (Some(watch), Some((_, own))) = (&self.watch, &self.channel)
            && sequence == Some(*own)
        {
            watch.reverted.store(true, Ordering::Relaxed);
        }
    }

    /// What a record says of it.
    pub(crate) fn through(&self) -> Option<Through> {
        let (name, sequence) = self.channel.as_ref()?;
        Some(Through { name: name.clone(), sequence: *sequence, shadow_of: None })
    }

    /// All that may answer, the first of the channel first, and the shadow.
    pub(crate) fn all(&self) -> impl Iterator<Item = &Arc<Active>> {
        self.versions.iter().map(|version| &version.active).chain(&self.shadow)
    }

    /// Those that answer, with their weights.
    pub(crate) fn weighted(&self) -> impl Iterator<Item = (u32, &Arc<Active>)> {
        self.versions.iter().map(|version| (version.weight, &version.active))
    }

    /// The first moment at which one of them does not answer any more.
    pub(crate) fn until(&self) -> Timestamp {
        self.versions.iter().map(|version| version.active.until).min().unwrap_or(Timestamp::EPOCH)
    }

    /// What an input may have whichever version it comes to, in bytes.
    pub(crate) fn input_bytes_max(&self) -> u64 {
        self.versions.iter().map(|version| version.active.policy.limits().input_bytes).min().unwrap_or(0)
    }

    /// The most that one of them may use.
    pub(crate) fn bounds(&self) -> Bounds {
        let limits = || self.versions.iter().map(|version| version.active.policy.limits());
        let most = |of: fn(&Limits) -> u64| limits().map(of).max().unwrap_or(0);
        Bounds { fuel: most(|limits| limits.fuel), memory_bytes: most(|limits| limits.memory_bytes) }
    }

    /// Whether its guard has sent everything back to the first version.
    pub(crate) fn is_reverted(&self) -> bool {
        self.watch.as_ref().is_some_and(|watch| watch.reverted.load(Ordering::Relaxed))
    }

    /// The version that answers this question; none in an empty route, which is never made.
    pub(crate) fn choose(
        &self,
        policy: &PolicyName,
        input: &Document,
        caller: &str,
    ) -> Result<Option<Chosen<'_>>, HostError> {
        let place = if self.versions.len() <= 1 || self.is_reverted() {
            0
        } else {
            self.place(self.point(policy, input, caller)?)
        };
        Ok(self.versions.get(place).map(|version| Chosen { active: &version.active, place }))
    }

    fn point(&self, policy: &PolicyName, input: &Document, caller: &str) -> Result<u64, HostError> {
        let stuck_to = match &self.sticky {
            None => None,
            Some(Sticky::Caller) => Some(caller),
            // Where the input has nothing there, all such questions go one way.
            Some(Sticky::Pointer(pointer)) => Some(input.json(pointer).unwrap_or_default()),
        };
        let Some(stuck_to) = stuck_to else { return Ok(u64::from_le_bytes(random()?)) };
        let channel = self.channel.as_ref().map_or("", |(name, _)| name.as_str());
        let hash = Sha256::new().chain_update(SPLIT_TAG).chain_update(policy.to_string()).chain_update([0]);
        let hash = hash.chain_update(channel).chain_update([0]).chain_update(stuck_to).finalize();
        Ok(hash.first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes)))
    }

    /// The version at a point of the whole range of numbers, in which each has a part of the size of its weight.
    fn place(&self, point: u64) -> usize {
        let total: u64 = self.versions.iter().map(|version| u64::from(version.weight)).sum();
        // The upper bits, so that a small total is met evenly.
        let share = (u128::from(point) * u128::from(total)) >> 64;
        let mut end = 0;
        let beyond = |version: &Weighted| {
            end += u128::from(version.weight);
            share < end
        };
        self.versions.iter().position(beyond).unwrap_or(0)
    }

    /// Counts what came of a question. True when this is what makes the guard revert: only once.
    pub(crate) fn note(
        &self,
        chosen: &Chosen<'_>,
        allow: bool,
        result: &Result<Answer, Fault>,
        fuel: u64,
    ) -> bool {
        let Some(watch) = &self.watch else { return false };
        let Some(counts) = watch.counts.get(chosen.place) else { return false };
        match result {
            Ok(_) => {
                counts.denials.fetch_add(u64::from(!allow), Ordering::Relaxed);
                counts.fuel.fetch_add(fuel, Ordering::Relaxed);
            }
            // What the caller did wrong says nothing about the version.
            Err(fault) if fault.code.party() == Party::Caller => return false,
            Err(_) => drop(counts.faults.fetch_add(1, Ordering::Relaxed)),
        }
        let decisions = counts.decisions.fetch_add(1, Ordering::Relaxed) + 1;
        if chosen.place == 0 || decisions < watch.guard.decisions_min || !watch.is_broken(counts) {
            return false;
        }
        !watch.reverted.swap(true, Ordering::Relaxed)
    }
}

impl Watch {
    fn is_broken(&self, counts: &Counts) -> bool {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed) as f64;
        let decisions = read(&counts.decisions);
        let answers = decisions - read(&counts.faults);
        let above = |value: f64, max: Option<f64>| max.is_some_and(|max| value > max);
        let fuel_ratio = || {
            let first = self.counts.first()?;
            let first_answers = read(&first.decisions) - read(&first.faults);
            let (one, other) = (read(&counts.fuel) / answers, read(&first.fuel) / first_answers);
            (answers > 0.0 && first_answers > 0.0 && other > 0.0).then(|| one / other)
        };
        above(read(&counts.denials) / decisions, self.guard.deny_rate_max)
            || above(read(&counts.faults) / decisions, self.guard.fault_rate_max)
            || above(fuel_ratio().unwrap_or(0.0), self.guard.fuel_ratio_max)
    }
}
