//! The compile cache: machine code on disk, authenticated with a key that is kept elsewhere.
//!
//! One file for each component, semantics and build, `SHA-256(component, semantics, build).cwasm`: the HMAC-SHA256 of
//! name and code, then the code. A file is read whole, checked, and only then used; what does not check is compiled
//! anew and replaced. Nothing is evicted: a file that is deleted is compiled again, so the folder can be emptied at any
//! time.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use verdict_core::digest::Digest;

use crate::config::CompileCache;
use crate::semantics::SEMANTICS;
use crate::sys::TrustedCode;

const MAC_BYTES: usize = 32;

/// How the cache has done since the engine was made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CacheCounts {
    /// Components that were there.
    pub hits: u64,
    /// Components that were not there.
    pub misses: u64,
    /// Files that were truncated, foreign or changed, and were compiled anew. More than none deserves a look.
    pub rejected: u64,
    /// Files that could not be written; the component runs all the same.
    pub unwritten: u64,
}

pub(crate) struct Cache {
    dir: PathBuf,
    mac: Hmac<Sha256>,
    bytes_max: u64,
    hits: AtomicU64,
    misses: AtomicU64,
    rejected: AtomicU64,
    unwritten: AtomicU64,
    temporary: AtomicU64,
}

impl Cache {
    /// Opens the folder, and makes it, for this user alone, if it is not there.
    pub(crate) fn open(config: &CompileCache, bytes_max: u64) -> io::Result<Self> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&config.dir)?;
        let mac = Hmac::new_from_slice(&config.key).map_err(io::Error::other)?;
        let zero = || AtomicU64::new(0);
        Ok(Self {
            dir: config.dir.clone(),
            mac,
            bytes_max,
            hits: zero(),
            misses: zero(),
            rejected: zero(),
            unwritten: zero(),
            temporary: zero(),
        })
    }

    pub(crate) fn counts(&self) -> CacheCounts {
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        CacheCounts {
            hits: count(&self.hits),
            misses: count(&self.misses),
            rejected: count(&self.rejected),
            unwritten: count(&self.unwritten),
        }
    }

    /// The code of a component, if it is there and is what this host wrote.
    pub(crate) fn load(&self, name: &str) -> Option<TrustedCode> {
        let file = match read_bounded(&self.dir.join(name), self.bytes_max) {
            Ok(file) => file,
            Err(error) => {
                let counter =
                    if error.kind() == io::ErrorKind::NotFound { &self.misses } else { &self.rejected };
                counter.fetch_add(1, Ordering::Relaxed);
                return None;
            }
        };
        let code = self.authenticated(name, file);
        let counter = if code.is_some() { &self.hits } else { &self.rejected };
        counter.fetch_add(1, Ordering::Relaxed);
        code
    }

    fn authenticated(&self, name: &str, mut file: Vec<u8>) -> Option<TrustedCode> {
        let (mac, code) = file.split_first_chunk::<MAC_BYTES>()?;
        self.mac_of(name, code).verify_slice(mac).ok()?;
        file.drain(..MAC_BYTES);
        Some(TrustedCode::vouch(file))
    }

    /// The name is part of what is authenticated: a file cannot stand in for another.
    fn mac_of(&self, name: &str, code: &[u8]) -> Hmac<Sha256> {
        self.mac.clone().chain_update(name).chain_update([0]).chain_update(code)
    }

    /// Keeps the code. A cache that cannot be written to costs time, not answers.
    pub(crate) fn store(&self, name: &str, code: &TrustedCode) {
        if self.write(name, code.bytes()).is_err() {
            self.unwritten.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn write(&self, name: &str, code: &[u8]) -> io::Result<()> {
        let n = self.temporary.fetch_add(1, Ordering::Relaxed);
        let temporary = self.dir.join(format!("{name}.{}-{n}.tmp", std::process::id()));
        let written = self.write_file(&temporary, name, code).and_then(|()| {
            // Renamed when complete: another process sees the old file or the new one.
            fs::rename(&temporary, self.dir.join(name))
        });
        if written.is_err() {
            let _ = fs::remove_file(&temporary);
        }
        written
    }

    fn write_file(&self, path: &Path, name: &str, code: &[u8]) -> io::Result<()> {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
        file.write_all(&self.mac_of(name, code).finalize().into_bytes())?;
        file.write_all(code)?;
        // Not synced: a file that a crash cuts short does not authenticate.
        file.flush()
    }
}

/// The file of a component, under the semantics and the build that its code is for.
pub(crate) fn file_name(component: Digest, build: &str) -> String {
    let key = format!("verdict-compiled/1\n{component}\n{SEMANTICS}\n{build}");
    format!("{}.cwasm", Digest::of(key.as_bytes()).hex())
}

fn read_bounded(path: &Path, bytes_max: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(bytes_max.saturating_add(1)).read_to_end(&mut bytes)?;
    if u64::try_from(bytes.len()).is_ok_and(|size| size <= bytes_max) {
        Ok(bytes)
    } else {
        Err(io::Error::other("the file is larger than any component's code"))
    }
}
