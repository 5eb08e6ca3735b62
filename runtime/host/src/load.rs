//! From a folder of signed artifacts to the table of policies that answer.
//!
//! Nothing becomes active before its copy and the sequences it raises are durable, and a bad artifact touches nobody
//! else: it is quarantined with its reason, and what was loaded from the same place before goes on if it may.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::{fs, io};

use verdict_core::artifact::{self, AdmittedArtifact, UnverifiedArtifact};
use verdict_core::digest::Digest;
use verdict_core::dsse::Envelope;
use verdict_core::name::{PolicyName, Tenant};
use verdict_core::refusal::{Refusal, RefusalCode};
use verdict_core::time::Timestamp;
use verdict_core::trust::{Seen, TrustPolicy};
use verdict_engine::{DOCUMENT_DEPTH_MAX, Document, DocumentLimits, Engine, Policy};
use verdict_registry::Layout;

use crate::cache::Rules;
use crate::error::HostError;
use crate::reading::Standing;
use crate::route::{Route, Routes};
use crate::state::State;

/// The largest trust file, in bytes.
const TRUST_BYTES_MAX: u64 = 4 << 20;
/// The largest data file of a tenant, in bytes.
pub(crate) const DATA_BYTES_MAX: u64 = 256 << 20;

/// One version that answers.
#[derive(Debug)]
pub(crate) struct Active {
    pub(crate) policy: Policy,
    pub(crate) name: PolicyName,
    pub(crate) version: String,
    pub(crate) component: Digest,
    pub(crate) statement: Digest,
    pub(crate) oci_manifest: Digest,
    pub(crate) until: Timestamp,
    pub(crate) data: Option<Arc<Data>>,
    pub(crate) path: PathBuf,
    /// Where its answers are cached.
    pub(crate) cache: Rules,
}

/// One tenant's data.
#[derive(Debug)]
pub(crate) struct Data {
    pub(crate) digest: Digest,
    pub(crate) document: Document,
}

impl Data {
    /// Reads a tenant's data: one object whose members are documents.
    pub(crate) fn parse(bytes: Vec<u8>) -> Result<Self, String> {
        let digest = Digest::of(&bytes);
        let limits = DocumentLimits { bytes_max: DATA_BYTES_MAX, depth_max: DOCUMENT_DEPTH_MAX };
        let document = Document::parse(bytes, &limits).map_err(|error| error.to_string())?;
        if document.text().trim_start().starts_with('{') {
            Ok(Self { digest, document })
        } else {
            Err("expected one object whose members are documents".into())
        }
    }
}

/// An artifact that may not run here, and why.
#[derive(Debug, Clone)]
pub struct Quarantined {
    /// Where it is.
    pub path: PathBuf,
    /// Why it was refused.
    pub refusal: Refusal,
}

/// Everything that a decision looks up.
#[derive(Debug, Default)]
pub(crate) struct Table {
    pub(crate) policies: HashMap<PolicyName, Routes>,
    pub(crate) quarantine: Vec<Quarantined>,
    /// The data snapshots that were read, where a registry is followed: each once, whoever reads it.
    pub(crate) data: HashMap<Digest, Arc<Data>>,
    /// The newest data of each tenant.
    pub(crate) newest_data: HashMap<Tenant, Arc<Data>>,
    /// Why the registry could not be read, where one is followed.
    pub(crate) unreachable: Option<Refusal>,
    /// Since when.
    pub(crate) unreachable_since: Option<Timestamp>,
    /// What all of it rests on.
    pub(crate) standing: Vec<Standing>,
}

impl Table {
    /// Every version of a policy that is loaded.
    pub(crate) fn of_policy(&self, name: &PolicyName) -> impl Iterator<Item = &Arc<Active>> {
        self.policies.get(name).into_iter().flat_map(Routes::all).flat_map(|route| route.all())
    }

    /// Everything that is loaded.
    pub(crate) fn actives(&self) -> impl Iterator<Item = &Arc<Active>> {
        self.policies.values().flat_map(Routes::all).flat_map(|route| route.all())
    }
}

/// Where artifacts, trust and data come from.
#[derive(Debug)]
pub(crate) struct Sources {
    pub(crate) policies: PathBuf,
    pub(crate) trust: PathBuf,
    pub(crate) data: Option<PathBuf>,
}

impl Sources {
    /// Refuses a trust file, data or state that whoever writes artifacts could write too.
    pub(crate) fn check(&self, state: &Path) -> Result<(), HostError> {
        let absolute = |path: &Path| path.canonicalize().map_err(|error| HostError::state(path, &error));
        let policies = absolute(&self.policies)?;
        // The state folder may not be there yet; where it will be is what counts.
        let state = std::path::absolute(state).map_err(|error| HostError::state(state, &error))?;
        let existing = state.ancestors().find(|path| path.exists()).unwrap_or(&state);
        let places = [
            ("trust file", Some((self.trust.as_path(), self.trust.as_path()))),
            ("data folder", self.data.as_deref().map(|data| (data, data))),
            ("state folder", Some((state.as_path(), existing))),
        ];
        for (what, place) in places {
            let Some((path, existing)) = place else { continue };
            if absolute(existing)?.starts_with(&policies) {
                return Err(HostError::Untrusted { what, path: path.into(), folder: self.policies.clone() });
            }
        }
        Ok(())
    }

    fn trust(&self, seen: &Seen, now: Timestamp) -> Result<TrustPolicy, HostError> {
        let refused = |refusal| HostError::Trust { path: self.trust.clone(), refusal };
        let bytes = read_bounded(&self.trust, TRUST_BYTES_MAX)
            .map_err(|error| HostError::state(&self.trust, &error))?;
        let trust = TrustPolicy::parse(&bytes).map_err(refused)?;
        trust.check(seen, now).map_err(refused)?;
        Ok(trust)
    }

    fn data(&self) -> Result<HashMap<Tenant, Arc<Data>>, HostError> {
        let Some(folder) = &self.data else { return Ok(HashMap::new()) };
        let failed = |path: &Path, reason: String| HostError::Data { path: path.into(), reason };
        let mut data = HashMap::new();
        for entry in fs::read_dir(folder).map_err(|error| failed(folder, error.to_string()))? {
            let path = entry.map_err(|error| failed(folder, error.to_string()))?.path();
            if path.extension().is_none_or(|extension| extension != "json") {
                continue;
            }
            let tenant = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
            let tenant: Tenant = tenant.parse().map_err(|error| failed(&path, format!("{error}")))?;
            let bytes =
                read_bounded(&path, DATA_BYTES_MAX).map_err(|error| failed(&path, error.to_string()))?;
            let loaded = Data::parse(bytes).map_err(|reason| failed(&path, reason))?;
            data.insert(tenant, Arc::new(loaded));
        }
        Ok(data)
    }
}

fn read_bounded(path: &Path, bytes_max: u64) -> io::Result<Vec<u8>> {
    let size = fs::metadata(path)?.len();
    if size > bytes_max {
        return Err(io::Error::other(format!("it has {size} bytes; at most {bytes_max} are read")));
    }
    fs::read(path)
}

/// One reading of the folder.
pub(crate) struct Loader<'a> {
    pub(crate) engine: &'a Engine,
    pub(crate) state: &'a State,
    pub(crate) sources: &'a Sources,
    pub(crate) now: Timestamp,
}

impl Loader<'_> {
    /// Reads trust, data and artifacts again and makes the next table. `old` goes on answering until it is replaced.
    pub(crate) fn load(&self, old: &Table) -> Result<Table, HostError> {
        let mut seen = self.state.seen()?;
        let trust = self.sources.trust(&seen, self.now)?;
        let data = self.sources.data()?;
        let until = trust.expires();
        let standing = vec![Standing { document: "trust", version: trust.version(), until }];
        let mut table = Table { standing, ..Table::default() };
        let mut admitted: BTreeMap<PolicyName, Vec<(PathBuf, AdmittedArtifact)>> = BTreeMap::new();
        let folders = verdict_registry::find(&self.sources.policies)
            .map_err(|error| HostError::state(&self.sources.policies, &error))?;
        for path in folders {
            match self.admit(&path, &trust, &seen) {
                Ok(artifact) => {
                    let name = artifact.manifest().policy.clone();
                    admitted.entry(name).or_default().push((path, artifact));
                }
                Err(refusal) => self.fall_back(path, refusal, &trust, &seen, old, &mut table, &mut admitted),
            }
        }
        for (name, mut versions) in admitted {
            versions.sort_by(|(_, a), (_, b)| b.manifest().version.cmp(&a.manifest().version));
            if let Some(active) = self.highest_that_loads(versions, old, &data, &mut table.quarantine) {
                seen = seen.note(&active.name, active.policy.manifest().version.clone());
                let folder = Some(Arc::new(Route::to(Arc::new(active))));
                table.policies.insert(name, Routes { folder, ..Routes::default() });
            }
        }
        for tenant in data.values() {
            self.state.keep_data(&tenant.digest, tenant.document.text().as_bytes())?;
        }
        table.newest_data = data;
        self.state.keep_seen(&seen.note_trust(trust.version()))?;
        Ok(table)
    }

    fn admit(&self, path: &Path, trust: &TrustPolicy, seen: &Seen) -> Result<AdmittedArtifact, Refusal> {
        let artifact: UnverifiedArtifact = Layout::open(path).and_then(|layout| layout.fetch())?;
        artifact::admit(artifact::verify(artifact, trust, self.now)?, trust, seen, self.now)
    }

    /// A bad artifact where a good one was: the copy of the good one goes on, if it may under today's trust.
    #[expect(clippy::too_many_arguments, reason = "one step of `load`, named")]
    fn fall_back(
        &self,
        path: PathBuf,
        refusal: Refusal,
        trust: &TrustPolicy,
        seen: &Seen,
        old: &Table,
        table: &mut Table,
        admitted: &mut BTreeMap<PolicyName, Vec<(PathBuf, AdmittedArtifact)>>,
    ) {
        if let Some(active) = old.actives().find(|active| active.path == path) {
            let copy = self.state.artifact(&active.oci_manifest);
            if let Ok(artifact) = self.admit(&copy, trust, seen) {
                admitted.entry(active.name.clone()).or_default().push((path.clone(), artifact));
            }
        }
        table.quarantine.push(Quarantined { path, refusal });
    }

    fn highest_that_loads(
        &self,
        versions: Vec<(PathBuf, AdmittedArtifact)>,
        old: &Table,
        data: &HashMap<Tenant, Arc<Data>>,
        quarantine: &mut Vec<Quarantined>,
    ) -> Option<Active> {
        for (path, artifact) in versions {
            let loaded = self.compile(&artifact, old);
            match loaded.and_then(|policy| self.keep_copy(&path, &artifact).map(|()| policy)) {
                Ok(policy) => {
                    let name = artifact.manifest().policy.clone();
                    let granted = !artifact.manifest().capabilities.data.is_empty();
                    return Some(Active {
                        policy,
                        version: artifact.manifest().version.to_string(),
                        component: artifact.component_digest(),
                        statement: artifact.statement_digest(),
                        oci_manifest: artifact.oci_digest(),
                        until: artifact.until(),
                        data: data.get(name.tenant()).filter(|_| granted).cloned(),
                        name,
                        path,
                        cache: Rules::default(),
                    });
                }
                Err(refusal) => quarantine.push(Quarantined { path, refusal }),
            }
        }
        None
    }

    /// What is loaded already under the same statement is not compiled again.
    fn compile(&self, artifact: &AdmittedArtifact, old: &Table) -> Result<Policy, Refusal> {
        let mut loaded = old.of_policy(&artifact.manifest().policy);
        match loaded.find(|active| active.statement == artifact.statement_digest()) {
            Some(active) => Ok(active.policy.clone()),
            None => self.engine.load(artifact),
        }
    }

    /// Keeps what was admitted, for replay: before it answers for the first time, and only if it is still the same.
    fn keep_copy(&self, from: &Path, artifact: &AdmittedArtifact) -> Result<(), Refusal> {
        let to = self.state.artifact(&artifact.oci_digest());
        if Layout::open(&to).and_then(|layout| layout.fetch()).is_ok_and(|copy| holds(&copy, artifact)) {
            return Ok(());
        }
        let unreadable = |message: String| Refusal::new(RefusalCode::Unreadable, message);
        let fetched = Layout::open(from)?.fetch()?;
        if !holds(&fetched, artifact) {
            return Err(unreadable("the artifact changed while it was loaded; load it again".into()));
        }
        Layout::store(&to, &fetched)
            .map(drop)
            .map_err(|error| unreadable(format!("no copy can be kept for replay: {error}")))
    }
}

/// Whether these are the bytes that were admitted, with the statement that admitted them.
pub(crate) fn holds(copy: &UnverifiedArtifact, artifact: &AdmittedArtifact) -> bool {
    let statement = |bytes: &Vec<u8>| {
        Envelope::parse(bytes)
            .is_ok_and(|envelope| Digest::of(envelope.payload()) == artifact.statement_digest())
    };
    Digest::of(&copy.manifest_bytes) == artifact.oci_digest()
        && Digest::of(&copy.component) == artifact.component_digest()
        && copy.statements.iter().any(statement)
}
