//! The compile cache: machine code on disk, authenticated with a key that is kept elsewhere.
//!
//! One file for each component, semantics and build, `SHA-256(component, semantics, build).cwasm`: the HMAC-SHA256 of
//! name and rest, then what the scan found, with its length before it, then the code. A file is read whole, checked, and
//! only then used; what does not check is scanned and compiled anew and replaced. Nothing is evicted: a file that is
//! deleted is compiled again, so the folder can be emptied at any time.
//!
//! The scan of a component is kept as the code is: to scan and to instrument takes several times as long as everything
//! else that a start from the cache does.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};

use hmac::{Hmac, KeyInit, Mac};
use serde::{Deserialize, Serialize};
use sha2::Sha256;
use verdict_core::digest::Digest;
use verdict_core::{jcs, json};

use crate::config::CompileCache;
use crate::scan::Needs;
use crate::semantics::SEMANTICS;
use crate::sys::TrustedCode;

const MAC_BYTES: usize = 32;
/// The most bytes of what is noted of a component.
const NOTES_BYTES_MAX: usize = 1 << 20;

/// What is known of a component once it was scanned and instrumented.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Notes {
    /// What its manifest is checked against.
    pub(crate) needs: Needs,
    /// Why its instances cannot be reset in place; none if they can.
    pub(crate) not_instrumented: Option<String>,
}

/// A component that needs no scan and no compiler any more.
pub(crate) struct Kept {
    pub(crate) notes: Notes,
    pub(crate) code: TrustedCode,
}

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

    /// A component, if it is there and is what this host wrote.
    pub(crate) fn load(&self, name: &str) -> Option<Kept> {
        let file = match read_bounded(&self.dir.join(name), self.bytes_max) {
            Ok(file) => file,
            Err(error) => {
                let counter =
                    if error.kind() == io::ErrorKind::NotFound { &self.misses } else { &self.rejected };
                counter.fetch_add(1, Ordering::Relaxed);
                return None;
            }
        };
        let kept = self.authenticated(name, file);
        let counter = if kept.is_some() { &self.hits } else { &self.rejected };
        counter.fetch_add(1, Ordering::Relaxed);
        kept
    }

    fn authenticated(&self, name: &str, mut file: Vec<u8>) -> Option<Kept> {
        let (mac, rest) = file.split_first_chunk::<MAC_BYTES>()?;
        self.mac_of(name, rest).verify_slice(mac).ok()?;
        let (length, rest) = rest.split_first_chunk::<4>()?;
        let length = usize::try_from(u32::from_le_bytes(*length)).ok()?;
        let notes = json::parse(rest.get(..length)?, NOTES_BYTES_MAX).ok()?;
        file.drain(..MAC_BYTES + 4 + length);
        Some(Kept { notes, code: TrustedCode::vouch(file) })
    }

    /// The name is part of what is authenticated: a file cannot stand in for another.
    fn mac_of(&self, name: &str, rest: &[u8]) -> Hmac<Sha256> {
        self.mac.clone().chain_update(name).chain_update([0]).chain_update(rest)
    }

    /// Keeps a component. A cache that cannot be written to costs time, not answers.
    pub(crate) fn store(&self, name: &str, notes: &Notes, code: &TrustedCode) {
        let written = jcs::canonical(notes).map_err(io::Error::other).and_then(|notes| {
            let length = u32::try_from(notes.len()).map_err(io::Error::other)?;
            self.write(name, &[&length.to_le_bytes(), notes.as_bytes(), code.bytes()].concat())
        });
        if written.is_err() {
            self.unwritten.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn write(&self, name: &str, rest: &[u8]) -> io::Result<()> {
        let n = self.temporary.fetch_add(1, Ordering::Relaxed);
        let temporary = self.dir.join(format!("{name}.{}-{n}.tmp", std::process::id()));
        let written = self.write_file(&temporary, name, rest).and_then(|()| {
            // Renamed when complete: another process sees the old file or the new one.
            fs::rename(&temporary, self.dir.join(name))
        });
        if written.is_err() {
            let _ = fs::remove_file(&temporary);
        }
        written
    }

    fn write_file(&self, path: &Path, name: &str, rest: &[u8]) -> io::Result<()> {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
        file.write_all(&self.mac_of(name, rest).finalize().into_bytes())?;
        file.write_all(rest)?;
        // Not synced: a file that a crash cuts short does not authenticate.
        file.flush()
    }
}

/// The file of a component, under the semantics and the build that its code is for.
pub(crate) fn file_name(component: Digest, build: &str) -> String {
    let key = format!("verdict-compiled/2\n{component}\n{SEMANTICS}\n{build}\n{}", rules());
    format!("{}.cwasm", Digest::of(key.as_bytes()).hex())
}

/// The source of what scans and instruments: where it changes, all of it is done again.
const RULES: &[(&str, &str)] = &[
    ("scan.rs", include_str!("scan.rs")),
    ("scan/nesting.rs", include_str!("scan/nesting.rs")),
    ("scan/width.rs", include_str!("scan/width.rs")),
    ("instrument/accessor.rs", include_str!("instrument/accessor.rs")),
    ("instrument/decision.rs", include_str!("instrument/decision.rs")),
    ("instrument/emit.rs", include_str!("instrument/emit.rs")),
    ("instrument/makers.rs", include_str!("instrument/makers.rs")),
    ("instrument/mod.rs", include_str!("instrument/mod.rs")),
    ("instrument/module.rs", include_str!("instrument/module.rs")),
    ("instrument/rules.rs", include_str!("instrument/rules.rs")),
    ("instrument/survey.rs", include_str!("instrument/survey.rs")),
];

fn rules() -> &'static str {
    static DIGEST: LazyLock<String> = LazyLock::new(|| {
        let texts: Vec<&str> = RULES.iter().map(|(_, text)| *text).collect();
        Digest::of(texts.concat().as_bytes()).hex()
    });
    &DIGEST
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_that_scans_and_instruments_is_in_the_name_of_a_file() {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
        let mut found = vec!["scan.rs".to_owned()];
        for folder in ["scan", "instrument"] {
            for entry in fs::read_dir(source.join(folder)).unwrap() {
                let name = entry.unwrap().file_name().into_string().unwrap();
                found.extend((!name.starts_with("tests")).then(|| format!("{folder}/{name}")));
            }
        }
        let mut listed: Vec<&str> = RULES.iter().map(|(name, _)| *name).collect();
        found.sort();
        listed.sort_unstable();
        assert_eq!(found, listed);
    }
}
