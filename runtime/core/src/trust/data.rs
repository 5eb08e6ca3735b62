//! Data snapshots: which documents a tenant's policies read.

use serde::{Deserialize, Serialize};

use super::document::{Order, private};
use super::{Basis, Head, Place, Role, SignedDocument, TrustError, Verified};
use crate::digest::Digest;
use crate::name::Tenant;
use crate::refusal::{Refusal, RefusalCode};
use crate::time::Timestamp;

/// The media type of a snapshot's content.
pub const CONTENT_MEDIA_TYPE: &str = "application/vnd.verdict.data.content.v1+json";

/// What a tenant's data is: the content by its digest, and the word of a data signer for it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DataSnapshot {
    /// Whose data it is.
    pub tenant: Tenant,
    /// Grows with every change.
    pub sequence: u64,
    /// When it was signed.
    pub issued: Timestamp,
    /// The first moment at which it does not hold any more.
    pub expires: Timestamp,
    /// The digest of the content.
    pub digest: Digest,
    /// The size of the content.
    pub bytes: u64,
}

impl DataSnapshot {
    /// Checks an envelope that should hold the newest snapshot of `tenant`.
    ///
    /// # Errors
    /// The first reason found.
    pub fn verify(envelope: &[u8], tenant: &Tenant, basis: &Basis<'_>) -> Result<Verified<Self>, Refusal> {
        Verified::open(envelope, &Place::Data(tenant.clone()), basis, Order::Newest)
    }

    /// Checks an envelope that should hold the snapshot of `tenant` with this content, which a channel state names. It
    /// may be older than others that were seen: the channel's sequence is what does not go back.
    ///
    /// # Errors
    /// The first reason found.
    pub fn verify_named(
        envelope: &[u8],
        tenant: &Tenant,
        content: &Digest,
        basis: &Basis<'_>,
    ) -> Result<Verified<Self>, Refusal> {
        let verified = Verified::<Self>::open(envelope, &Place::Data(tenant.clone()), basis, Order::Named)?;
        let found = verified.document().digest;
        if found == *content {
            return Ok(verified);
        }
        let message = format!("the data snapshot of `{tenant}` is of {found}, not {content}");
        Err(Refusal::new(RefusalCode::WrongData, message))
    }

    /// Checks that content of this digest and size is the snapshot's.
    ///
    /// # Errors
    /// `wrong-data`.
    pub fn check_content(&self, digest: &Digest, bytes: u64) -> Result<(), Refusal> {
        if (*digest, bytes) == (self.digest, self.bytes) {
            return Ok(());
        }
        let message = format!(
            "the data of `{}` should be {} of {} bytes; it is {digest} of {bytes}",
            self.tenant, self.digest, self.bytes
        );
        Err(Refusal::new(RefusalCode::WrongData, message))
    }
}

impl private::Kind for DataSnapshot {
    const WHAT: &'static str = "data snapshot";
    const ROLE: Role = Role::DataSigner;

    fn check_own(&self) -> Result<(), TrustError> {
        // A number beyond this has no canonical form.
        if (1..=super::SEQUENCE_MAX).contains(&self.bytes) {
            Ok(())
        } else {
            Err(TrustError::Number { what: Self::WHAT, member: "bytes" })
        }
    }
}

impl SignedDocument for DataSnapshot {
    const FORMAT: &'static str = "verdict-data/1";
    const PAYLOAD_TYPE: &'static str = "application/vnd.verdict.data.v1+json";

    fn head(&self) -> Head {
        Head { sequence: self.sequence, issued: self.issued, expires: self.expires }
    }

    fn place(&self) -> Place {
        Place::Data(self.tenant.clone())
    }
}
