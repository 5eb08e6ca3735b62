//! The state folder of a node: its keys, the highest sequences it has seen, copies of what it ran, and its log.
//!
//! ```text
//! lock                 held by the process that runs on this folder
//! keys/log.key         signs checkpoints; encrypted where the host was given a passphrase
//! keys/compile-cache   authenticates compiled components
//! keys/TENANT.vkey     the public half of the log key, for a verifier of that tenant's log
//! seen.json            the highest versions that this host has served
//! registry/            the newest signed documents that this host accepted, where it follows a registry
//! reverted.json        the channel states whose guard has sent everything back to their first version
//! artifacts/           the versions that ran here, by component digest, for replay
//! data/                the data snapshots that were used, by digest, for replay
//! compiled/            the compile cache
//! log/                 the journal, its tiles and checkpoints, and the evidence
//! ```

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use verdict_core::digest::Digest;
use verdict_core::key::{KeyError, KeyFile, Passphrase, Role, SecretKey, StoredKey};
use verdict_core::trust::Seen;
use verdict_registry::Tree;

use crate::error::HostError;

/// An open state folder. The lock is held until it is dropped.
#[derive(Debug)]
pub(crate) struct State {
    root: PathBuf,
    _lock: File,
}

impl State {
    /// Opens the folder, creating what is missing.
    pub(crate) fn open(root: &Path) -> Result<Self, HostError> {
        let failed = |path: &Path, error| HostError::state(path, &error);
        for folder in ["", "keys", "artifacts", "data", "compiled", "log"] {
            let path = root.join(folder);
            fs::create_dir_all(&path).map_err(|error| failed(&path, error))?;
        }
        let path = root.join("lock");
        let lock = File::options()
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(|error| failed(&path, error))?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { root: root.into(), _lock: lock }),
            Err(fs::TryLockError::WouldBlock) => Err(HostError::StateInUse { path: root.into() }),
            Err(fs::TryLockError::Error(error)) => Err(failed(&path, error)),
        }
    }

    pub(crate) fn log(&self) -> PathBuf {
        self.root.join("log")
    }

    pub(crate) fn compiled(&self) -> PathBuf {
        self.root.join("compiled")
    }

    /// The key that signs checkpoints; made at the first start, and sealed where there is a passphrase.
    pub(crate) fn log_key_seed(&self, passphrase: Option<&Passphrase>) -> Result<[u8; 32], HostError> {
        let path = self.root.join("keys/log.key");
        let failed = |error: KeyError| HostError::state(&path, &error);
        let text = match fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => {
                let key = KeyFile::new(Role::Log, SecretKey::from_seed(random()?));
                match passphrase {
                    Some(passphrase) => {
                        let sealed = key.seal(passphrase, random()?).and_then(|sealed| sealed.render());
                        write_new(&path, sealed.map_err(failed)?.as_bytes(), 0o600)?;
                    }
                    None => write_new(&path, key.render().as_bytes(), 0o600)?,
                }
                return Ok(*key.secret().seed());
            }
            Err(error) => return Err(HostError::state(&path, &error)),
        };
        let key = match StoredKey::parse(&text).map_err(failed)? {
            StoredKey::Plain(key) => key,
            StoredKey::Sealed(sealed) => {
                let unopened = || HostError::state(&path, &"it is encrypted; give its passphrase");
                sealed.open(passphrase.ok_or_else(unopened)?).map_err(failed)?
            }
        };
        match key.role() {
            Role::Log => Ok(*key.secret().seed()),
            role => Err(HostError::state(&path, &format!("the key has role `{role}`; expected `log`"))),
        }
    }

    /// The key that authenticates compiled components; made at the first start.
    pub(crate) fn compile_cache_key(&self) -> Result<[u8; 32], HostError> {
        let path = self.root.join("keys/compile-cache");
        match fs::read(&path) {
            Ok(bytes) => <[u8; 32]>::try_from(bytes.as_slice())
                .map_err(|_| HostError::state(&path, &"expected 32 bytes; delete it to have a new one made")),
            Err(error) if error.kind() == ErrorKind::NotFound => {
                let key = random()?;
                write_new(&path, &key, 0o600)?;
                Ok(key)
            }
            Err(error) => Err(HostError::state(&path, &error)),
        }
    }

    /// Leaves the verifier key of a tenant's log where an operator finds it.
    pub(crate) fn keep_verifier_key(&self, tenant: &str, key: &str) -> Result<(), HostError> {
        let path = self.root.join("keys").join(format!("{tenant}.vkey"));
        match fs::read_to_string(&path) {
            Ok(text) if text.trim_end() == key => Ok(()),
            _ => write_durable(&path, format!("{key}\n").as_bytes()),
        }
    }

    /// The highest sequences seen. A folder that never served has seen nothing; a file that cannot be read is an
    /// error, because taking it for nothing would let an old version in.
    pub(crate) fn seen(&self) -> Result<Seen, HostError> {
        let path = self.root.join("seen.json");
        match fs::read(&path) {
            Ok(bytes) => Seen::parse(&bytes).map_err(|error| HostError::state(&path, &error)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(Seen::default()),
            Err(error) => Err(HostError::state(&path, &error)),
        }
    }

    pub(crate) fn keep_seen(&self, seen: &Seen) -> Result<(), HostError> {
        write_durable(&self.root.join("seen.json"), seen.render().as_bytes())
    }

    /// The host's own copy of the signed documents that it goes by.
    pub(crate) fn registry(&self) -> Result<Tree, HostError> {
        let path = self.root.join("registry");
        Tree::create(&path).map_err(|error| HostError::state(&path, &error))
    }

    /// The sequences of the channel states, by `tenant/name@channel`, whose guard has reverted.
    pub(crate) fn reverted(&self) -> Result<BTreeMap<String, u64>, HostError> {
        let path = self.root.join("reverted.json");
        match fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes).map_err(|error| HostError::state(&path, &error)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(BTreeMap::new()),
            Err(error) => Err(HostError::state(&path, &error)),
        }
    }

    pub(crate) fn keep_reverted(&self, reverted: &BTreeMap<String, u64>) -> Result<(), HostError> {
        let path = self.root.join("reverted.json");
        let text = serde_json::to_vec(reverted).map_err(|error| HostError::state(&path, &error))?;
        write_durable(&path, &text)
    }

    /// Where the copy of the version with this component is, for replay.
    pub(crate) fn artifact(&self, oci_manifest: &Digest) -> PathBuf {
        self.root.join("artifacts").join(oci_manifest.hex())
    }

    pub(crate) fn artifacts(&self) -> PathBuf {
        self.root.join("artifacts")
    }

    /// Keeps a data snapshot for replay, before the first decision that uses it.
    pub(crate) fn keep_data(&self, digest: &Digest, bytes: &[u8]) -> Result<(), HostError> {
        let path = self.root.join("data").join(format!("{}.json", digest.hex()));
        if path.exists() { Ok(()) } else { write_durable(&path, bytes) }
    }

    pub(crate) fn data(&self, digest: &Digest) -> Result<Vec<u8>, HostError> {
        let path = self.root.join("data").join(format!("{}.json", digest.hex()));
        let bytes = fs::read(&path).map_err(|error| HostError::state(&path, &error))?;
        if Digest::of(&bytes) == *digest {
            Ok(bytes)
        } else {
            Err(HostError::state(&path, &"the file does not have the digest in its name"))
        }
    }
}

/// Bytes from the operating system.
pub(crate) fn random<const N: usize>() -> Result<[u8; N], HostError> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|error| HostError::Entropy(error.to_string()))?;
    Ok(bytes)
}

fn write_new(path: &Path, bytes: &[u8], mode: u32) -> Result<(), HostError> {
    let write = || -> std::io::Result<()> {
        let temporary = path.with_extension("new");
        let mut file = File::options().write(true).create(true).truncate(true).mode(mode).open(&temporary)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&temporary, path)?;
        path.parent().map_or(Ok(()), |folder| File::open(folder)?.sync_all())
    };
    write().map_err(|error| HostError::state(path, &error))
}

/// Replaces a file so that after a crash either the old or the new one is there, whole.
fn write_durable(path: &Path, bytes: &[u8]) -> Result<(), HostError> {
    write_new(path, bytes, 0o644)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passphrase(text: &str) -> Passphrase {
        Passphrase::new(text.to_owned().into()).unwrap()
    }

    #[test]
    fn a_log_key_that_was_sealed_opens_with_its_passphrase_only() {
        let folder = tempfile::tempdir().unwrap();
        let state = State::open(folder.path()).unwrap();
        let right = passphrase("correct horse battery");
        let seed = state.log_key_seed(Some(&right)).unwrap();
        assert_eq!(state.log_key_seed(Some(&right)).unwrap(), seed);
        let unopened = state.log_key_seed(None).unwrap_err().to_string();
        assert!(unopened.contains("it is encrypted"), "{unopened}");
        assert!(state.log_key_seed(Some(&passphrase("another one entirely"))).is_err());
    }

    #[test]
    fn a_log_key_in_clear_opens_as_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let state = State::open(folder.path()).unwrap();
        let seed = state.log_key_seed(None).unwrap();
        assert_eq!(state.log_key_seed(Some(&passphrase("given for nothing"))).unwrap(), seed);
    }
}
