//! A folder of trust: what a host pins, what root keys signed, and what is revoked.
//!
//! | file | what it is |
//! | --- | --- |
//! | `roots.json` | the root keys that every host pins in its own configuration |
//! | `trust.json` | the trust policy as people edit it; only `verdict trust sign` makes it count |
//! | `trust-N.dsse` | version N, signed; a host checks the chain from its pinned root keys on |
//! | `revocations.dsse` | the newest revocations, signed |

use std::path::{Path, PathBuf};

use verdict_core::dsse::{ENVELOPE_BYTES_MAX, Envelope};
use verdict_core::time::Timestamp;
use verdict_core::trust::{
    Anchor, Basis, CHAIN_MAX, ROOTS_BYTES_MAX, Revocations, Roots, Seen, SignedDocument as _,
    TRUST_BYTES_MAX, TrustPolicy, Verified,
};
use verdict_registry::Documents;

use crate::error::{Error, Problem};
use crate::evaluation;
use crate::files;

const ROOTS: &str = "roots.json";
const DRAFT: &str = "trust.json";
const REVOCATIONS: &str = "revocations.dsse";

/// A folder of trust.
pub(super) struct TrustFolder<'a>(pub(super) &'a Path);

/// A signed version of the trust policy, as it is on disk.
pub(super) struct Signed {
    pub(super) version: u64,
    pub(super) bytes: Vec<u8>,
}

/// What the folder says to whoever pins its root keys.
pub(crate) struct Trusted {
    pub(crate) policy: TrustPolicy,
    pub(crate) revocations: Option<Verified<Revocations>>,
}

impl Trusted {
    /// Reads a folder of trust and checks it from its pinned root keys on, or a trust file that needs no check.
    pub(crate) fn read(path: &Path, now: Timestamp) -> Result<Self, Error> {
        if path.is_dir() {
            return TrustFolder(path).verified(now);
        }
        Ok(Self { policy: evaluation::trust(path)?, revocations: None })
    }

    /// Checks what a registry offers, as a host does that pins these root keys and has seen nothing else.
    pub(crate) fn verified(roots: &Roots, documents: &Documents, now: Timestamp) -> Result<Self, Error> {
        let mut trusted = Self { policy: verified_policy(roots, &documents.trust, now)?, revocations: None };
        if let Some(bytes) = &documents.revocations {
            let verified = Revocations::verify(bytes, &trusted.basis(&Seen::default(), now))?;
            trusted.revocations = Some(verified);
        }
        Ok(trusted)
    }

    /// What a host goes by that has seen nothing else.
    pub(crate) fn basis<'a>(&'a self, seen: &'a Seen, now: Timestamp) -> Basis<'a> {
        Basis { trust: &self.policy, revocations: self.revocations.as_ref(), seen, now }
    }
}

impl TrustFolder<'_> {
    /// Where the draft is.
    pub(super) fn draft_path(&self) -> PathBuf {
        self.0.join(DRAFT)
    }

    /// Where the pinned root keys are.
    pub(super) fn roots_path(&self) -> PathBuf {
        self.0.join(ROOTS)
    }

    /// Where the revocations are.
    pub(super) fn revocations_path(&self) -> PathBuf {
        self.0.join(REVOCATIONS)
    }

    /// Where a signed version is.
    pub(super) fn signed_path(&self, version: u64) -> PathBuf {
        self.0.join(format!("trust-{version}.dsse"))
    }

    /// The trust policy as people edit it.
    pub(super) fn draft(&self) -> Result<TrustPolicy, Error> {
        let path = self.draft_path();
        TrustPolicy::parse(&read(&path, TRUST_BYTES_MAX)?)
            .map_err(|refusal| unusable(&path, &refusal.message))
    }

    /// The root keys that hosts pin.
    pub(super) fn roots(&self) -> Result<Roots, Error> {
        let path = self.roots_path();
        Roots::parse(&read(&path, ROOTS_BYTES_MAX)?).map_err(|refusal| unusable(&path, &refusal.message))
    }

    /// The signed versions, the first one first.
    pub(super) fn chain(&self) -> Result<Vec<Signed>, Error> {
        let failed = |error: std::io::Error| Error::file("read", self.0, &error);
        let mut versions = Vec::new();
        for entry in std::fs::read_dir(self.0).map_err(failed)? {
            let name = entry.map_err(failed)?.file_name();
            let number = name.to_str().and_then(|name| name.strip_prefix("trust-")?.strip_suffix(".dsse"));
            versions.extend(number.and_then(|number| number.parse::<u64>().ok()));
        }
        versions.sort_unstable();
        if versions.len() > CHAIN_MAX {
            return Err(unusable(self.0, &format!("more than {CHAIN_MAX} signed versions")));
        }
        let read = |version: u64| {
            Ok(Signed { version, bytes: read(&self.signed_path(version), ENVELOPE_BYTES_MAX)? })
        };
        versions.into_iter().map(read).collect()
    }

    /// The newest revocations, unverified.
    pub(super) fn revocations(&self) -> Result<Option<Vec<u8>>, Error> {
        let path = self.revocations_path();
        if path.symlink_metadata().is_err() { Ok(None) } else { read(&path, ENVELOPE_BYTES_MAX).map(Some) }
    }

    /// The newest trust policy, checked from the pinned root keys on.
    pub(super) fn verified_policy(&self, now: Timestamp) -> Result<TrustPolicy, Error> {
        verified_policy(&self.roots()?, &self.documents()?.trust, now)
    }

    /// Policy and revocations, checked as a host does that has seen nothing else.
    pub(super) fn verified(&self, now: Timestamp) -> Result<Trusted, Error> {
        Trusted::verified(&self.roots()?, &self.documents()?, now)
    }

    /// What is in the folder, as a registry would offer it.
    pub(super) fn documents(&self) -> Result<Documents, Error> {
        let trust = self.chain()?.into_iter().map(|signed| signed.bytes).collect();
        Ok(Documents { trust, revocations: self.revocations()?, ..Documents::default() })
    }

    /// Writes a file of the folder whole, or not at all.
    pub(super) fn write(&self, path: &Path, text: &[u8]) -> Result<(), Error> {
        files::create_folder(self.0)?;
        let mut name = path.as_os_str().to_owned();
        name.push(format!(".{}.new", std::process::id()));
        let new = PathBuf::from(name);
        files::write_new(&new, text, false)?;
        std::fs::rename(&new, path).map_err(|error| Error::file("replace", path, &error))
    }
}

/// The newest trust policy of a chain, checked from root keys on.
pub(super) fn verified_policy(
    roots: &Roots,
    chain: &[Vec<u8>],
    now: Timestamp,
) -> Result<TrustPolicy, Error> {
    let envelopes: Vec<_> = chain.iter().map(Vec::as_slice).collect();
    Ok(TrustPolicy::verify_signed(&envelopes, Anchor::Roots(roots), &Seen::default(), now)?)
}

/// The trust policy in an envelope that nobody has checked.
pub(super) fn policy_of(envelope: &[u8]) -> Option<TrustPolicy> {
    TrustPolicy::parse(Envelope::parse(envelope).ok()?.payload()).ok()
}

/// The sequence of revocations that nobody has checked.
pub(super) fn sequence_of(envelope: &[u8]) -> Option<u64> {
    let list = Revocations::parse(Envelope::parse(envelope).ok()?.payload()).ok()?;
    Some(list.sequence)
}

/// `now`, or the last moment before `expires`: what has expired is still what follows it goes on from.
pub(super) fn while_held(expires: Timestamp, now: Timestamp) -> Timestamp {
    let last = Timestamp::from_millis(expires.millis().saturating_sub(1)).unwrap_or(expires);
    last.min(now)
}

/// Reads an envelope that nobody has checked.
pub(super) fn open(bytes: &[u8], path: &Path) -> Result<Envelope, Error> {
    Envelope::parse(bytes).map_err(|error| unusable(path, &error.to_string()))
}

/// A trust file or folder that cannot be used.
pub(super) fn unusable(path: &Path, message: &str) -> Error {
    Error::Unusable(Problem::new("trust-file", format!("`{}`: {message}", path.display())))
}

fn read(path: &Path, bytes_max: usize) -> Result<Vec<u8>, Error> {
    files::read(path, u64::try_from(bytes_max).unwrap_or(u64::MAX))
}
