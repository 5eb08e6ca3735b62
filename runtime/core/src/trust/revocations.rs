//! Revocations: keys, versions and digests that are not trusted any more.

use std::collections::BTreeSet;

use semver::Version;
use serde::{Deserialize, Serialize};

use super::document::{Order, private};
use super::{Basis, Head, Place, Role, SignedDocument, TrustError, Verified, check_count};
use crate::digest::Digest;
use crate::key::PublicKey;
use crate::name::PolicyName;
use crate::refusal::Refusal;
use crate::time::Timestamp;

const ENTRIES_MAX: usize = 10_000;

/// What is revoked. Each list is complete: what a later one leaves out is not revoked any more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Revocations {
    /// Grows with every change.
    pub sequence: u64,
    /// When it was signed.
    pub issued: Timestamp,
    /// The first moment at which it does not hold any more: so long may a host not hear of a newer one.
    pub expires: Timestamp,
    /// Keys whose signatures do not count any more, in whatever role.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub keys: Vec<PublicKey>,
    /// Versions that may not answer any more.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub versions: BTreeSet<RevokedVersion>,
    /// Components, images, statements or contents of data snapshots that may not be used any more.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub digests: BTreeSet<Digest>,
}

/// A version of a policy.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RevokedVersion {
    /// The policy.
    pub policy: PolicyName,
    /// The version.
    pub version: Version,
}

impl Revocations {
    /// Whether signatures by `key` do not count any more.
    pub fn revokes_key(&self, key: &PublicKey) -> bool {
        self.keys.contains(key)
    }

    /// Whether this version may not answer any more.
    pub fn revokes_version(&self, policy: &PolicyName, version: &Version) -> bool {
        self.versions.contains(&RevokedVersion { policy: policy.clone(), version: version.clone() })
    }

    /// Whether what has this digest may not be used any more.
    pub fn revokes_digest(&self, digest: &Digest) -> bool {
        self.digests.contains(digest)
    }

    /// Checks an envelope that should hold revocations. Those of `basis` are the ones before, which may have expired;
    /// who they revoked does not sign the next ones, nor does who is revoked by these.
    ///
    /// # Errors
    /// The first reason found.
    pub fn verify(envelope: &[u8], basis: &Basis<'_>) -> Result<Verified<Self>, Refusal> {
        Verified::open(envelope, &Place::Revocations, basis, Order::Newest)
    }
}

impl private::Kind for Revocations {
    const WHAT: &'static str = "list of revocations";
    const ROLE: Role = Role::Revoker;

    fn check_own(&self) -> Result<(), TrustError> {
        check_count("revoked keys", self.keys.len(), ENTRIES_MAX)?;
        check_count("revoked versions", self.versions.len(), ENTRIES_MAX)?;
        check_count("revoked digests", self.digests.len(), ENTRIES_MAX)
    }

    fn disowns(&self, key: &PublicKey) -> bool {
        self.revokes_key(key)
    }
}

impl SignedDocument for Revocations {
    const FORMAT: &'static str = "verdict-revocations/1";
    const PAYLOAD_TYPE: &'static str = "application/vnd.verdict.revocations.v1+json";

    fn head(&self) -> Head {
        Head { sequence: self.sequence, issued: self.issued, expires: self.expires }
    }

    fn place(&self) -> Place {
        Place::Revocations
    }
}
