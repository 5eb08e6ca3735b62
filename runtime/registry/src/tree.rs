//! A registry in a folder: what `verdict` works on without a server, and what an air gap is crossed with.
//!
//! ```text
//! trust/trust-N.dsse                     version N of the trust policy
//! trust/revocations.dsse                 what was revoked
//! channels/TENANT/POLICY/CHANNEL/N.dsse  state N of a channel
//! data/TENANT/N.dsse                     data snapshot N of a tenant
//! content/HEX                            the content of data snapshots, by digest
//! anything/else                          artifacts, each an OCI image layout
//! ```
//!
//! All of the documents are DSSE envelopes. Nothing in the folder is trusted.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use semver::Version;
use verdict_core::artifact::UnverifiedArtifact;
use verdict_core::digest::Digest;
use verdict_core::dsse::ENVELOPE_BYTES_MAX;
use verdict_core::name::{ChannelName, PolicyName, Tenant};
use verdict_core::refusal::{Refusal, RefusalCode};

use crate::error::RegistryError;
use crate::find::find;
use crate::folder::{Folder, unreadable};
use crate::layout::Layout;
use crate::source::{Documents, Publish, Source};

/// How many documents of one kind are read.
const DOCUMENTS_MAX: usize = 100_000;
/// How often a folder is looked at for changes.
const POLL: Duration = Duration::from_millis(20);

const TRUST: &str = "trust";
const REVOCATIONS: &str = "revocations.dsse";
const TRUST_PREFIX: &str = "trust-";
const SUFFIX: &str = ".dsse";
const CHANNELS: &str = "channels";
const DATA: &str = "data";
const CONTENT: &str = "content";

/// A registry in a folder.
#[derive(Debug)]
pub struct Tree {
    folder: Folder,
    /// The times of the folders just before the documents were last read.
    read_at: Mutex<Vec<Option<SystemTime>>>,
}

impl Tree {
    /// Opens a folder.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn open(path: &Path) -> Result<Self, Refusal> {
        Ok(Self { folder: Folder::open(path)?, read_at: Mutex::default() })
    }

    /// The folder, made if it is missing.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn create(path: &Path) -> Result<Self, RegistryError> {
        Ok(Self { folder: Folder::create(path)?, read_at: Mutex::default() })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Keeps a version of the trust policy.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn put_trust(&self, version: u64, envelope: &[u8]) -> Result<(), RegistryError> {
        self.put(TRUST, &format!("{TRUST_PREFIX}{version}{SUFFIX}"), envelope)
    }

    /// Replaces what was revoked.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn put_revocations(&self, envelope: &[u8]) -> Result<(), RegistryError> {
        self.put(TRUST, REVOCATIONS, envelope)
    }

    /// Keeps a state of a channel.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn put_channel(
        &self,
        policy: &PolicyName,
        channel: &ChannelName,
        sequence: u64,
        envelope: &[u8],
    ) -> Result<(), RegistryError> {
        self.put(&channel_folder(policy, channel), &format!("{sequence}{SUFFIX}"), envelope)
    }

    /// The states of a channel, the oldest first.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn channel_states(
        &self,
        policy: &PolicyName,
        channel: &ChannelName,
    ) -> Result<Vec<Vec<u8>>, Refusal> {
        let folder = channel_folder(policy, channel);
        self.numbers(&folder, "")?.into_iter().map(|number| self.numbered(&folder, "", number)).collect()
    }

    /// What was revoked; none where nothing was.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn revocations(&self) -> Result<Option<Vec<u8>>, Refusal> {
        let name = format!("{TRUST}/{REVOCATIONS}");
        match fs::symlink_metadata(self.path().join(&name)) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            _ => self.folder.read(&name, ENVELOPE_BYTES_MAX).map(Some),
        }
    }

    /// The data snapshots of a tenant, the oldest first.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn data_snapshots(&self, tenant: &Tenant) -> Result<Vec<Vec<u8>>, Refusal> {
        self.all(&format!("{DATA}/{tenant}"), "")
    }

    /// Keeps a data snapshot of a tenant. The content comes first, so that no snapshot is without it.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn put_data(
        &self,
        tenant: &Tenant,
        sequence: u64,
        envelope: &[u8],
        content: &[u8],
    ) -> Result<(), RegistryError> {
        self.put(CONTENT, &Digest::of(content).hex(), content)?;
        self.put_data_snapshot(tenant, sequence, envelope)
    }

    /// Keeps a data snapshot whose content is kept elsewhere.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn put_data_snapshot(
        &self,
        tenant: &Tenant,
        sequence: u64,
        envelope: &[u8],
    ) -> Result<(), RegistryError> {
        self.put(&format!("{DATA}/{tenant}"), &format!("{sequence}{SUFFIX}"), envelope)
    }

    /// The layout of the artifact with this image manifest.
    ///
    /// # Errors
    /// When it is not there, or the folder cannot be read.
    pub fn layout(&self, image: &Digest) -> Result<Layout, Refusal> {
        let layouts = find(self.path())?.into_iter().filter_map(|path| Layout::open(&path).ok());
        layouts.into_iter().find(|layout| layout.image_digest() == *image).ok_or_else(|| {
            let message = format!("`{}` holds no artifact with image {image}", self.path().display());
            Refusal::new(RefusalCode::Unreadable, message)
        })
    }

    fn put(&self, folder: &str, name: &str, bytes: &[u8]) -> Result<(), RegistryError> {
        if !folder.is_empty() {
            self.folder.create_folders(folder)?;
        }
        self.folder.write(folder, name, bytes)
    }

    /// The files of a folder that may be documents, and the folders in it, sorted; none where it is not there.
    fn names(&self, folder: &str) -> Result<(Vec<String>, Vec<String>), Refusal> {
        let path = self.path().join(folder);
        let entries = match fs::read_dir(&path) {
            Ok(entries) => entries,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Default::default()),
            Err(error) => return Err(unreadable(&path, &error)),
        };
        let (mut files, mut folders) = (Vec::new(), Vec::new());
        for entry in entries {
            let entry = entry.map_err(|error| unreadable(&path, &error))?;
            let Ok(name) = entry.file_name().into_string() else { continue };
            let kind = entry.file_type().map_err(|error| unreadable(&path, &error))?;
            if kind.is_dir() {
                folders.push(name);
            } else if name.ends_with(SUFFIX) && !name.starts_with('.') {
                files.push(name);
            }
            if files.len().max(folders.len()) > DOCUMENTS_MAX {
                let message = format!("`{}` has more than {DOCUMENTS_MAX} entries", path.display());
                return Err(Refusal::new(RefusalCode::TooLarge, message));
            }
        }
        files.sort();
        folders.sort();
        Ok((files, folders))
    }

    /// The numbers N of the documents `{prefix}N.dsse` in a folder, sorted.
    fn numbers(&self, folder: &str, prefix: &str) -> Result<Vec<u64>, Refusal> {
        let number = |name: &String| name.strip_prefix(prefix)?.strip_suffix(SUFFIX)?.parse().ok();
        let mut numbers: Vec<u64> = self.names(folder)?.0.iter().filter_map(number).collect();
        numbers.sort_unstable();
        Ok(numbers)
    }

    fn numbered(&self, folder: &str, prefix: &str, number: u64) -> Result<Vec<u8>, Refusal> {
        self.folder.read(&format!("{folder}/{prefix}{number}{SUFFIX}"), ENVELOPE_BYTES_MAX)
    }

    fn all(&self, folder: &str, prefix: &str) -> Result<Vec<Vec<u8>>, Refusal> {
        self.numbers(folder, prefix)?
            .into_iter()
            .map(|number| self.numbered(folder, prefix, number))
            .collect()
    }

    /// Every channel that has a state.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub fn channels(&self) -> Result<Vec<(PolicyName, ChannelName)>, Refusal> {
        let mut channels = Vec::new();
        for tenant in self.names(CHANNELS)?.1 {
            for policy in self.names(&format!("{CHANNELS}/{tenant}"))?.1 {
                for channel in self.names(&format!("{CHANNELS}/{tenant}/{policy}"))?.1 {
                    if let (Ok(policy), Ok(channel)) = (PolicyName::of(&tenant, &policy), channel.parse()) {
                        channels.push((policy, channel));
                    }
                }
            }
        }
        Ok(channels)
    }

    /// What tells whether documents have come since: they are new names, or replaced by renaming, and either changes the
    /// time of their folder.
    fn times(&self) -> Vec<Option<SystemTime>> {
        let mut times = Vec::new();
        let mut open: Vec<_> = [TRUST, CHANNELS, DATA].map(|name| self.path().join(name)).into();
        while let Some(path) = open.pop() {
            times.push(fs::metadata(&path).and_then(|metadata| metadata.modified()).ok());
            let entries = fs::read_dir(&path).into_iter().flatten().flatten();
            let folders = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
            open.extend(folders.map(|entry| entry.path()));
        }
        times.sort();
        times
    }

    fn read_at(&self) -> MutexGuard<'_, Vec<Option<SystemTime>>> {
        // Nothing is left half done under the lock.
        self.read_at.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn channel_folder(policy: &PolicyName, channel: &ChannelName) -> String {
    format!("{CHANNELS}/{}/{}/{channel}", policy.tenant(), policy.name())
}

impl Source for Tree {
    fn documents(&self) -> Result<Documents, Refusal> {
        // Before the first of them is read: what comes meanwhile is news to `wait`.
        *self.read_at() = self.times();
        let mut data = Vec::new();
        for tenant in self.names(DATA)?.1 {
            data.extend(self.all(&format!("{DATA}/{tenant}"), "")?);
        }
        let mut channels = Vec::new();
        for (policy, channel) in self.channels()? {
            let folder = channel_folder(&policy, &channel);
            if let Some(newest) = self.numbers(&folder, "")?.last() {
                channels.push(self.numbered(&folder, "", *newest)?);
            }
        }
        let (trust, revocations) = (self.all(TRUST, TRUST_PREFIX)?, self.revocations()?);
        Ok(Documents { trust, revocations, channels, data })
    }

    fn artifact(&self, _: &PolicyName, image: &Digest) -> Result<UnverifiedArtifact, Refusal> {
        self.layout(image)?.fetch()
    }

    fn data(&self, _: &Tenant, content: &Digest, bytes_max: u64) -> Result<Vec<u8>, Refusal> {
        let bytes_max = usize::try_from(bytes_max).unwrap_or(usize::MAX);
        self.folder.read(&format!("{CONTENT}/{}", content.hex()), bytes_max)
    }

    fn wait(&self, timeout: Duration) {
        let began = Instant::now();
        while began.elapsed() < timeout && self.times() == *self.read_at() {
            std::thread::sleep(POLL.min(timeout));
        }
    }
}

/// The last `count_max` of a list.
fn last<T>(mut all: Vec<T>, count_max: usize) -> Vec<T> {
    all.drain(..all.len().saturating_sub(count_max));
    all
}

impl Publish for Tree {
    fn place(&self) -> String {
        self.path().display().to_string()
    }

    fn candidates(
        &self,
        policy: &PolicyName,
        version: &Version,
    ) -> Result<Vec<Result<UnverifiedArtifact, Refusal>>, RegistryError> {
        let (policy, version) = (policy.to_string(), version.to_string());
        let candidate = |path: &Path| {
            let layout = Layout::open(path)?;
            let summary = layout.summary()?;
            let is_other = |said: &Option<String>, is: &String| said.as_ref().is_some_and(|said| said != is);
            if is_other(&summary.policy, &policy) || is_other(&summary.version, &version) {
                return Ok(None);
            }
            layout.fetch().map(Some)
        };
        Ok(find(self.path())?.iter().filter_map(|path| candidate(path).transpose()).collect())
    }

    fn channels(&self) -> Result<Vec<(PolicyName, ChannelName)>, RegistryError> {
        Ok(Self::channels(self)?)
    }

    fn channel_states(
        &self,
        policy: &PolicyName,
        channel: &ChannelName,
        count_max: usize,
    ) -> Result<Vec<Vec<u8>>, RegistryError> {
        Ok(last(Self::channel_states(self, policy, channel)?, count_max))
    }

    fn data_snapshots(&self, tenant: &Tenant, count_max: usize) -> Result<Vec<Vec<u8>>, RegistryError> {
        Ok(last(Self::data_snapshots(self, tenant)?, count_max))
    }

    fn has_data(&self, _: &Tenant, content: &Digest) -> Result<bool, RegistryError> {
        Ok(fs::metadata(self.path().join(CONTENT).join(content.hex())).is_ok())
    }

    fn put_trust(&self, version: u64, envelope: &[u8]) -> Result<(), RegistryError> {
        Self::put_trust(self, version, envelope)
    }

    fn put_revocations(&self, envelope: &[u8]) -> Result<(), RegistryError> {
        Self::put_revocations(self, envelope)
    }

    fn put_channel(
        &self,
        policy: &PolicyName,
        channel: &ChannelName,
        sequence: u64,
        envelope: &[u8],
    ) -> Result<(), RegistryError> {
        Self::put_channel(self, policy, channel, sequence, envelope)
    }

    fn put_data(
        &self,
        tenant: &Tenant,
        sequence: u64,
        envelope: &[u8],
        content: &[u8],
    ) -> Result<(), RegistryError> {
        Self::put_data(self, tenant, sequence, envelope, content)
    }

    fn attach_statement(
        &self,
        _: &PolicyName,
        _: &Version,
        image: &Digest,
        envelope: &[u8],
    ) -> Result<(), RegistryError> {
        self.layout(image)?.attach_statement(envelope).map(drop)
    }
}
