//! Following a registry: from signed documents to the table of policies that answer.
//!
//! The registry is not trusted. A host takes a document when the signatures say so and it is newer than what the host
//! has, keeps a copy in its state folder, and goes on with its copies where the registry cannot be reached, offers
//! something that is refused, or names a version that does not load.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use verdict_core::artifact::{self, AdmittedArtifact, UnverifiedArtifact};
use verdict_core::digest::Digest;
use verdict_core::dsse::Envelope;
use verdict_core::name::{ChannelName, PolicyName, Tenant};
use verdict_core::refusal::{Refusal, RefusalCode};
use verdict_core::time::Timestamp;
use verdict_core::trust::{
    Anchor, Basis, ChannelState, DataSnapshot, Revocations, Roots, Seen, SignedDocument, TrustPolicy,
    Verified, Which,
};
use verdict_engine::Engine;
use verdict_registry::{Documents, Layout, Source, Tree};

use crate::cache::Rules;
use crate::error::HostError;
use crate::load::{Active, DATA_BYTES_MAX, Data, Quarantined, Table, holds};
use crate::reading::Standing;
use crate::route::Route;
use crate::state::State;

/// How old the time in what was seen may be, in milliseconds: far below the tolerance of clocks.
const SEEN_EVERY_MS: u64 = 60_000;

/// A registry that a host follows, and whom it begins to trust with.
#[derive(Debug, Clone)]
pub struct Registry {
    /// Where signed documents and artifacts come from. Not trusted.
    pub source: Arc<dyn Source>,
    /// The root keys that sign the first trust policy: the operator's own configuration.
    pub roots: Roots,
}

/// One reading of the registry.
pub(crate) struct Follower<'a> {
    pub(crate) engine: &'a Engine,
    pub(crate) state: &'a State,
    pub(crate) registry: &'a Registry,
    pub(crate) now: Timestamp,
}

/// What decides about everything else.
struct Ground {
    trust: TrustPolicy,
    revocations: Option<Verified<Revocations>>,
    seen: Seen,
    now: Timestamp,
}

impl Ground {
    fn basis(&self) -> Basis<'_> {
        let Self { trust, revocations, seen, now } = self;
        Basis { trust, revocations: revocations.as_ref(), seen, now: *now }
    }

    /// Until when the documents hold that everything rests on.
    fn standing(&self) -> Vec<Standing> {
        let (version, until) = (self.trust.version(), self.trust.expires());
        let trust = Standing { document: "trust", version, until };
        let revocations = self.revocations.iter().map(|revocations| {
            let (version, until) = (revocations.document().sequence, revocations.until());
            Standing { document: "revocations", version, until }
        });
        std::iter::once(trust).chain(revocations).collect()
    }

    /// What a route rests on besides its own state: where none of it changed, the route stays.
    fn digest(&self) -> Digest {
        let revocations = self.revocations.as_ref().map(Verified::digest);
        Digest::of(format!("{:?} {:?} {revocations:?}", self.trust.version(), self.trust.digest()).as_bytes())
    }
}

/// A data snapshot that holds, with its content.
type Snapshot = (Verified<DataSnapshot>, Arc<Data>);

/// Those of every tenant, the newest first.
type Snapshots = HashMap<Tenant, Vec<Snapshot>>;

/// The copies of each channel's state, the registry's first.
type Offers<'d> = BTreeMap<(PolicyName, ChannelName), Vec<Offer<'d>>>;

/// A channel's state, and whether it is the newest that is kept here.
struct Offer<'d> {
    envelope: &'d [u8],
    is_kept: bool,
}

impl Follower<'_> {
    /// Reads everything again and makes the next table. `old` goes on answering until it is replaced.
    pub(crate) fn load(&self, old: &Table) -> Result<Table, HostError> {
        let own = self.state.registry()?;
        let unreadable = |refusal| HostError::Trust { path: own.path().into(), refusal };
        let kept = own.documents().map_err(unreadable)?;
        let mut table = Table::default();
        let offered = self.registry.source.documents().unwrap_or_else(|refusal| {
            tracing::warn!(%refusal, "the registry cannot be read; going on with what is here");
            table.unreachable = Some(refusal);
            table.unreachable_since = Some(old.unreachable_since.unwrap_or(self.now));
            Documents::default()
        });
        let mut ground = self.ground(&own, &offered, &kept, &mut table.quarantine)?;
        table.standing = ground.standing();
        let snapshots = self.snapshots(&own, &offered, &kept, &mut ground, old, &mut table)?;
        let reverted = self.state.reverted()?;
        let offers: Vec<_> = offers(&offered, &kept).into_iter().collect();
        let step = Step { follower: self, ground: &ground, snapshots: &snapshots, old };
        // What one channel's route rests on does not depend on the others'.
        let routes = in_parallel(&offers, |(channel, offers)| step.first_that_holds(channel, offers));
        for (((policy, channel), _), found) in offers.into_iter().zip(routes) {
            let name = format!("{policy}@{channel}");
            table.quarantine.extend(found.refused);
            let Some((route, newer)) = found.held else { continue };
            if let Some((state, envelope)) = newer {
                own.put_channel(&policy, &channel, state.document().sequence, &envelope)
                    .map_err(|error| HostError::state(own.path(), &error))?;
                ground.seen = ground.seen.note_document(&state);
            }
            route.set_reverted(reverted.get(&name).copied());
            table.policies.entry(policy).or_default().channels.insert(channel, route);
        }
        self.keep_seen(ground.seen)?;
        Ok(table)
    }

    /// Keeps what was seen, where it is news; that time goes by is news once a minute.
    fn keep_seen(&self, seen: Seen) -> Result<(), HostError> {
        let before = self.state.seen()?;
        let is_recent =
            before.time().is_some_and(|time| self.now.millis().abs_diff(time.millis()) < SEEN_EVERY_MS);
        if is_recent && seen == before {
            return Ok(());
        }
        self.state.keep_seen(&seen.note_time(self.now))
    }

    /// Trust and revocations. What is accepted is kept before anything is done with it.
    fn ground(
        &self,
        own: &Tree,
        offered: &Documents,
        kept: &Documents,
        quarantine: &mut Vec<Quarantined>,
    ) -> Result<Ground, HostError> {
        let written = |error| HostError::state(own.path(), &error);
        let seen = self.state.seen()?;
        let (trust, chain) = self.trust(offered, kept, &seen, quarantine)?;
        for envelope in &chain {
            if !kept.trust.contains(envelope) {
                let version = Envelope::parse(envelope)
                    .ok()
                    .and_then(|envelope| TrustPolicy::parse(envelope.payload()).ok())
                    .map_or(trust.version(), |policy| policy.version());
                own.put_trust(version, envelope).map_err(written)?;
            }
        }
        let seen = seen.note_trust_policy(&trust);
        let mut ground = Ground { trust, revocations: None, seen, now: self.now };
        let basis = Basis { revocations: None, ..ground.basis() };
        let mut newest: Option<(Verified<Revocations>, &Vec<u8>)> = None;
        for (envelope, is_offered) in
            offered.revocations.iter().map(|e| (e, true)).chain(kept.revocations.iter().map(|e| (e, false)))
        {
            match Revocations::verify(envelope, &basis) {
                Ok(found) => {
                    let sequence = found.document().sequence;
                    if newest.as_ref().is_none_or(|(newest, _)| newest.document().sequence < sequence) {
                        newest = Some((found, envelope));
                    }
                }
                Err(refusal) if is_offered => quarantine.push(refused("trust/revocations.dsse", refusal)),
                Err(_) => {}
            }
        }
        if let Some((revocations, envelope)) = newest {
            if kept.revocations.as_ref() != Some(envelope) {
                own.put_revocations(envelope).map_err(written)?;
            }
            ground.seen = ground.seen.note_document(&revocations);
            ground.revocations = Some(revocations);
        }
        Ok(ground)
    }

    /// The newest trust policy, and the chain that leads to it: the registry's versions after those that are kept, the
    /// registry's alone, or those that are kept alone.
    fn trust(
        &self,
        offered: &Documents,
        kept: &Documents,
        seen: &Seen,
        quarantine: &mut Vec<Quarantined>,
    ) -> Result<(TrustPolicy, Vec<Vec<u8>>), HostError> {
        let mut joined = kept.trust.clone();
        joined.extend(offered.trust.iter().filter(|envelope| !kept.trust.contains(envelope)).cloned());
        let mut refusal = None;
        for chain in [joined, offered.trust.clone(), kept.trust.clone()] {
            let envelopes: Vec<&[u8]> = chain.iter().map(Vec::as_slice).collect();
            match TrustPolicy::verify_signed(&envelopes, Anchor::Roots(&self.registry.roots), seen, self.now)
            {
                Ok(trust) => {
                    quarantine.extend(refusal.map(|refusal| refused("trust", refusal)));
                    return Ok((trust, chain));
                }
                Err(found) => drop(refusal.get_or_insert(found)),
            }
        }
        let none = || Refusal::new(RefusalCode::Unsigned, "there is no signed trust policy");
        Err(HostError::Trust { path: "trust".into(), refusal: refusal.unwrap_or_else(none) })
    }

    /// The newest data snapshot of each tenant that holds, and those that a channel names, with their contents. Others
    /// may be large and many, and are not read.
    fn snapshots(
        &self,
        own: &Tree,
        offered: &Documents,
        kept: &Documents,
        ground: &mut Ground,
        old: &Table,
        table: &mut Table,
    ) -> Result<Snapshots, HostError> {
        let channels = offered.channels.iter().chain(&kept.channels);
        let named: HashSet<_> =
            channels.filter_map(|envelope| unverified::<ChannelState>(envelope)?.data).collect();
        let mut snapshots = Snapshots::new();
        for (verified, envelope, is_new) in verified_snapshots(offered, kept, ground, &mut table.quarantine) {
            let DataSnapshot { tenant, sequence, digest, .. } = verified.document().clone();
            if snapshots.contains_key(&tenant) && !named.contains(&digest) {
                continue;
            }
            match self.content(verified.document(), old) {
                Ok(data) => {
                    self.state.keep_data(&data.digest, data.document.text().as_bytes())?;
                    if is_new {
                        own.put_data_snapshot(&tenant, sequence, envelope)
                            .map_err(|error| HostError::state(own.path(), &error))?;
                    }
                    ground.seen = ground.seen.clone().note_document(&verified);
                    table.data.insert(digest, Arc::clone(&data));
                    // The newest comes first.
                    table.newest_data.entry(tenant.clone()).or_insert_with(|| Arc::clone(&data));
                    snapshots.entry(tenant).or_default().push((verified, data));
                }
                Err(refusal) => {
                    table.quarantine.push(refused(&format!("data/{tenant}/{sequence}"), refusal));
                }
            }
        }
        Ok(snapshots)
    }

    /// The content of a snapshot: one copy for all who read it.
    fn content(&self, snapshot: &DataSnapshot, old: &Table) -> Result<Arc<Data>, Refusal> {
        let digest = snapshot.digest;
        if let Some(data) = old.data.get(&digest) {
            return Ok(Arc::clone(data));
        }
        let bytes = match self.state.data(&digest) {
            Ok(bytes) => bytes,
            Err(_) => self.registry.source.data(&snapshot.tenant, &digest, DATA_BYTES_MAX)?,
        };
        snapshot.check_content(&Digest::of(&bytes), u64::try_from(bytes.len()).unwrap_or(u64::MAX))?;
        let data = Data::parse(bytes).map_err(|reason| Refusal::new(RefusalCode::WrongData, reason))?;
        Ok(Arc::new(data))
    }
}

/// What the routes of channels are made with.
struct Step<'a> {
    follower: &'a Follower<'a>,
    ground: &'a Ground,
    snapshots: &'a Snapshots,
    old: &'a Table,
}

/// A route, and the state that made it with its envelope, where that is to be kept.
type Held = (Arc<Route>, Option<(Verified<ChannelState>, Vec<u8>)>);

/// What came of the offers of one channel.
struct Found {
    held: Option<Held>,
    refused: Vec<Quarantined>,
}

impl Step<'_> {
    /// The first of the offers that is good throughout: signed, newer, and all of its versions load.
    fn first_that_holds(&self, (policy, channel): &(PolicyName, ChannelName), offers: &[Offer<'_>]) -> Found {
        let before = self.old.policies.get(policy).and_then(|routes| routes.channels.get(channel));
        let (mut last, mut refused_offers) = (None, Vec::new());
        for Offer { envelope, is_kept } in offers {
            match self.route((policy, channel), before, envelope) {
                Ok((route, state)) => {
                    let newer = (!is_kept).then(|| (state, envelope.to_vec()));
                    return Found { held: Some((route, newer)), refused: refused_offers };
                }
                Err(refusal) => {
                    last = Some(refusal.code);
                    if !is_kept || offers.len() == 1 {
                        refused_offers.push(refused(&format!("channels/{policy}@{channel}"), refusal));
                    }
                }
            }
        }
        // What has merely come to its end goes on for the time of grace; what is revoked or not trusted does not.
        let has_ended = matches!(
            last,
            Some(RefusalCode::DocumentExpired | RefusalCode::KeyExpired | RefusalCode::TrustExpired)
        );
        let held = before.filter(|_| has_ended).map(|route| (Arc::clone(route), None));
        Found { held, refused: refused_offers }
    }

    fn route(
        &self,
        (policy, channel): (&PolicyName, &ChannelName),
        before: Option<&Arc<Route>>,
        envelope: &[u8],
    ) -> Result<(Arc<Route>, Verified<ChannelState>), Refusal> {
        let ground = self.ground;
        let state = ChannelState::verify(envelope, policy, channel, &ground.basis())?;
        let data = self.data(policy, &state)?;
        let rests_on = Digest::of(
            format!("{} {} {:?}", ground.digest(), state.digest(), data.map(|(data, _)| data.digest()))
                .as_bytes(),
        );
        if let Some(before) = before.filter(|before| before.rests_on == Some(rests_on)) {
            return Ok((Arc::clone(before), state));
        }
        let document = state.document();
        let active = |which| self.active(&state, which, data).map(Arc::new);
        let mut versions = Vec::new();
        for (place, share) in document.versions.iter().enumerate() {
            versions.push((share.weight, active(Which::Share(place))?));
        }
        let shadow = document.shadow.as_ref().map(|_| active(Which::Shadow)).transpose()?;
        let route = Route::of_channel(document, versions, shadow, rests_on);
        Ok((Arc::new(route), state))
    }

    /// The snapshot that the state names, or the tenant's newest.
    fn data(
        &self,
        policy: &PolicyName,
        state: &Verified<ChannelState>,
    ) -> Result<Option<&Snapshot>, Refusal> {
        let all = self.snapshots.get(policy.tenant()).map(Vec::as_slice).unwrap_or_default();
        match state.document().data {
            None => Ok(all.first()),
            Some(named) => match all.iter().find(|(_, data)| data.digest == named) {
                Some(found) => Ok(Some(found)),
                None => {
                    let message = format!("the channel names the data snapshot {named}, which is not here");
                    Err(Refusal::new(RefusalCode::WrongData, message))
                }
            },
        }
    }

    fn active(
        &self,
        state: &Verified<ChannelState>,
        which: Which,
        data: Option<&Snapshot>,
    ) -> Result<Active, Refusal> {
        let (ground, document) = (self.ground, state.document());
        let Some(release) = document.release(which) else {
            return Err(Refusal::new(RefusalCode::NotReleased, "the channel has no such version"));
        };
        let admit = |artifact: UnverifiedArtifact| {
            let verified =
                artifact::verify_statement(artifact, &release.statement, &ground.trust, ground.now)?;
            let snapshot = data.map(|(snapshot, _)| snapshot);
            artifact::admit_in_channel(verified, state, which, snapshot, &ground.basis())
        };
        let copy = self.follower.state.artifact(&release.image);
        // The copy may lack approvals that were given since it was made.
        let admitted = match Layout::open(&copy).and_then(|layout| layout.fetch()).and_then(admit) {
            Ok(admitted) => admitted,
            Err(_) => {
                let fetched = self.follower.registry.source.artifact(&document.policy, &release.image)?;
                let admitted = admit(fetched.clone())?;
                keep_copy(&copy, &fetched, &admitted)?;
                admitted
            }
        };
        let mut loaded = self.old.of_policy(&document.policy);
        let policy = match loaded.find(|active| active.statement == release.statement) {
            Some(active) => active.policy.clone(),
            None => self.follower.engine.load(&admitted)?,
        };
        let granted = !admitted.manifest().capabilities.data.is_empty();
        Ok(Active {
            policy,
            version: admitted.manifest().version.to_string(),
            component: admitted.component_digest(),
            statement: admitted.statement_digest(),
            oci_manifest: admitted.oci_digest(),
            until: admitted.until(),
            data: data.filter(|_| granted).map(|(_, data)| Arc::clone(data)),
            name: document.policy.clone(),
            path: PathBuf::from(format!("channels/{}@{}", document.policy, document.channel)),
            cache: Rules::default(),
        })
    }
}

/// Keeps an artifact for replay, before it answers for the first time.
fn keep_copy(to: &Path, artifact: &UnverifiedArtifact, admitted: &AdmittedArtifact) -> Result<(), Refusal> {
    let unreadable = |message: String| Refusal::new(RefusalCode::Unreadable, message);
    let layout = Layout::store(to, artifact)
        .map_err(|error| unreadable(format!("no copy can be kept for replay: {error}")))?;
    if layout.fetch().is_ok_and(|kept| holds(&kept, admitted)) {
        Ok(())
    } else {
        Err(unreadable("the copy for replay is not what was admitted".into()))
    }
}

/// How many items are worth a thread.
const ITEMS_A_THREAD: usize = 8;

/// What comes of each item, in their order: on all processors where there are many.
fn in_parallel<T: Sync, R: Send>(items: &[T], run: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    let threads = processors.min(items.len() / ITEMS_A_THREAD);
    if threads < 2 {
        return items.iter().map(run).collect();
    }
    let next = AtomicUsize::new(0);
    let work = || {
        let mut done = Vec::new();
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            let Some(item) = items.get(number) else { return done };
            done.push((number, run(item)));
        }
    };
    let mut done = std::thread::scope(|scope| {
        let others: Vec<_> = (1..threads).map(|_| scope.spawn(work)).collect();
        let mut done = work();
        for other in others {
            done.extend(other.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        }
        done
    });
    done.sort_unstable_by_key(|(number, _)| *number);
    done.into_iter().map(|(_, result)| result).collect()
}

/// The data snapshots that hold, the newest of each tenant first, and whether each is new here. An older one holds where
/// a channel names it: that it is not the newest is checked there.
fn verified_snapshots<'d>(
    offered: &'d Documents,
    kept: &'d Documents,
    ground: &Ground,
    quarantine: &mut Vec<Quarantined>,
) -> Vec<(Verified<DataSnapshot>, &'d [u8], bool)> {
    let new =
        offered.data.iter().filter(|envelope| !kept.data.contains(envelope)).map(|envelope| (envelope, true));
    let mut snapshots = Vec::new();
    for (envelope, is_new) in new.chain(kept.data.iter().map(|envelope| (envelope, false))) {
        let Some(DataSnapshot { tenant, sequence, digest, .. }) = unverified(envelope) else { continue };
        match DataSnapshot::verify_named(envelope, &tenant, &digest, &ground.basis()) {
            Ok(verified) => snapshots.push((verified, envelope.as_slice(), is_new)),
            Err(refusal) if is_new => quarantine.push(refused(&format!("data/{tenant}/{sequence}"), refusal)),
            Err(_) => {}
        }
    }
    snapshots.sort_by(|(a, ..), (b, ..)| {
        let (a, b) = (a.document(), b.document());
        (&a.tenant, b.sequence).cmp(&(&b.tenant, a.sequence))
    });
    snapshots
}

/// The states of every channel: what the registry offers, then what is kept.
fn offers<'d>(offered: &'d Documents, kept: &'d Documents) -> Offers<'d> {
    let mut offers = Offers::new();
    let here: HashSet<&[u8]> = kept.channels.iter().map(Vec::as_slice).collect();
    for envelope in offered.channels.iter().chain(&kept.channels).map(Vec::as_slice) {
        let Some(state) = unverified::<ChannelState>(envelope) else { continue };
        let same_channel: &mut Vec<Offer<'d>> = offers.entry((state.policy, state.channel)).or_default();
        if !same_channel.iter().any(|offer| offer.envelope == envelope) {
            same_channel.push(Offer { envelope, is_kept: here.contains(envelope) });
        }
    }
    offers
}

/// What a document says it is; only to know what to check it as.
fn unverified<T: SignedDocument>(envelope: &[u8]) -> Option<T> {
    T::parse(Envelope::parse(envelope).ok()?.payload()).ok()
}

fn refused(what: &str, refusal: Refusal) -> Quarantined {
    Quarantined { path: what.into(), refusal }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::sync::Mutex;

    use super::*;

    #[test]
    fn work_on_all_processors_comes_back_in_order_and_is_done_once() {
        for count in [0, 1, 7, 16, 1_000] {
            let items: Vec<usize> = (0..count).collect();
            let seen = Mutex::new(BTreeSet::new());
            let results = in_parallel(&items, |item| {
                assert!(seen.lock().unwrap().insert(*item), "{item} is done twice");
                item * 2
            });
            assert!(results.into_iter().eq((0..count).map(|item| item * 2)), "{count}");
            assert_eq!(seen.into_inner().unwrap().len(), count);
        }
    }
}
