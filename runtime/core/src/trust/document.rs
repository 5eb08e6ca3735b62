//! What the signed documents have in common: an envelope, a sequence, a life time, and people who must sign.

use std::collections::BTreeSet;
use std::fmt;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::grant::Scope;
use super::signers::Count;
use super::{
    CLOCK_TOLERANCE_MS, Revocations, Role, SEQUENCE_MAX, Seen, TrustError, TrustPolicy, check_format,
};
use crate::artifact::Signer;
use crate::digest::Digest;
use crate::dsse::{ENVELOPE_BYTES_MAX, Envelope};
use crate::jcs::{self, JcsError};
use crate::json::{self, JsonError};
use crate::key::{PublicKey, SecretKey};
use crate::name::{ChannelName, PolicyName, Tenant};
use crate::refusal::{Refusal, RefusalCode};
use crate::time::Timestamp;

/// What a host goes by when it decides.
#[derive(Debug, Clone, Copy)]
pub struct Basis<'a> {
    /// Who may sign what.
    pub trust: &'a TrustPolicy,
    /// What is revoked. Where the trust policy names revokers, nothing is accepted without it, but revocations.
    pub revocations: Option<&'a Verified<Revocations>>,
    /// What the host does not go back on.
    pub seen: &'a Seen,
    /// The host's clock.
    pub now: Timestamp,
}

impl Basis<'_> {
    /// Checks that it can be gone by: nothing in it has expired or is older than what was seen, and the clock was not
    /// turned back.
    ///
    /// # Errors
    /// The first reason found.
    pub fn check(&self) -> Result<(), Refusal> {
        self.until().map(drop)
    }

    /// Checks it, and says when it cannot be gone by any more.
    pub(crate) fn until(&self) -> Result<Timestamp, Refusal> {
        self.check_trust()?;
        let end = self.trust.expires();
        match self.revocations {
            Some(revocations) => {
                let count = revocations.recheck(self, Order::Newest)?;
                Ok(revocations.end(&count, self.trust).min(end))
            }
            None if self.trust.grants(Role::Revoker).is_empty() => Ok(end),
            None => {
                let message = "the trust policy names revokers, but there is no list of what they revoked";
                Err(Refusal::new(RefusalCode::RevocationsMissing, message))
            }
        }
    }

    fn check_trust(&self) -> Result<(), Refusal> {
        self.trust.check(self.seen, self.now)?;
        self.seen.check_time(self.now)
    }

    pub(crate) fn revocations(&self) -> Option<&Revocations> {
        self.revocations.map(Verified::document)
    }
}

/// What a sequence counts. A host keeps the highest of each.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// The states of a channel.
    Channel(PolicyName, ChannelName),
    /// The revocations.
    Revocations,
    /// A tenant's data.
    Data(Tenant),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Channel(policy, channel) => write!(f, "the channel state of `{policy}@{channel}`"),
            Self::Revocations => f.write_str("the list of revocations"),
            Self::Data(tenant) => write!(f, "the data snapshot of `{tenant}`"),
        }
    }
}

/// Sequence and life time of a document.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// Grows with every change, from 1 to 2^53 - 1.
    pub sequence: u64,
    /// When it was signed.
    pub issued: Timestamp,
    /// The first moment at which it does not hold any more.
    pub expires: Timestamp,
}

/// Whether a lower sequence than one that was seen is a step back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Order {
    /// It is.
    Newest,
    /// It is not: another document, which is the newest of its own, names this very one.
    Named,
}

/// A document of JSON that people sign. Its text is described in the [module](super).
pub trait SignedDocument: Serialize + DeserializeOwned + private::Kind {
    /// The `format` of its text.
    const FORMAT: &'static str;
    /// The payload type of its envelope.
    const PAYLOAD_TYPE: &'static str;

    /// Sequence and life time.
    fn head(&self) -> Head;

    /// What its sequence counts.
    fn place(&self) -> Place;

    /// Reads a payload. Nothing is known of who signed it then; see [`Verified`].
    ///
    /// # Errors
    /// `malformed-document`, when it is too large, of another format, or breaks one of its own rules.
    fn parse(payload: &[u8]) -> Result<Self, Refusal> {
        let refused = |error: TrustError| Refusal::new(RefusalCode::MalformedDocument, error.to_string());
        let malformed = |error: JsonError| refused(TrustError::Malformed { what: Self::WHAT, error });
        let mut text: Map<String, Value> = json::parse(payload, ENVELOPE_BYTES_MAX).map_err(malformed)?;
        let format = text.remove("format").unwrap_or_default();
        let format = format.as_str().unwrap_or_default();
        check_format(Self::WHAT, format, Self::FORMAT).map_err(refused)?;
        let document: Self = serde_json::from_value(Value::Object(text))
            .map_err(|error| malformed(JsonError::Malformed(error)))?;
        document.checked().map_err(refused)
    }

    /// Checks what the types do not say.
    ///
    /// # Errors
    /// When a number is out of range, a list too long, or the document would never hold.
    fn checked(self) -> Result<Self, TrustError> {
        let Head { sequence, issued, expires } = self.head();
        if !(1..=SEQUENCE_MAX).contains(&sequence) {
            return Err(TrustError::Number { what: Self::WHAT, member: "sequence" });
        }
        if issued >= expires {
            return Err(TrustError::LifeTime(Self::WHAT));
        }
        self.check_own()?;
        Ok(self)
    }

    /// What is signed: its canonical JSON.
    ///
    /// # Errors
    /// When it breaks one of its own rules.
    fn payload(&self) -> Result<Vec<u8>, TrustError> {
        let unwritable = |error: JcsError| TrustError::Unwritable { what: Self::WHAT, error };
        let value = serde_json::to_value(self).map_err(|error| unwritable(error.into()))?;
        let Value::Object(mut text) = value else {
            return Err(TrustError::Unusable("it is not a JSON object".into()));
        };
        text.insert("format".into(), Self::FORMAT.into());
        let text = jcs::canonical(&text).map_err(unwritable)?.into_bytes();
        // What nobody would accept is not signed.
        Self::parse(&text).map_err(|refusal| TrustError::Unusable(refusal.message))?;
        Ok(text)
    }

    /// Signs it with a first key; [`Envelope::add_signature`] adds the others.
    ///
    /// # Errors
    /// As [`SignedDocument::payload`].
    fn sign(&self, key: &SecretKey) -> Result<Envelope, TrustError> {
        Ok(Envelope::sign(Self::PAYLOAD_TYPE, self.payload()?, key))
    }
}

pub(crate) mod private {
    use super::TrustError;
    use crate::key::PublicKey;
    use crate::trust::Role;

    /// What one kind of document adds. Nobody else can make such a kind.
    pub trait Kind: Sized {
        /// What it is called in messages.
        const WHAT: &'static str;
        /// Who signs it.
        const ROLE: Role;

        /// Checks what is particular to it.
        fn check_own(&self) -> Result<(), TrustError>;

        /// Whether it says itself that this key may not sign it.
        fn disowns(&self, _key: &PublicKey) -> bool {
            false
        }
    }
}

/// A document that enough people signed who may, that held when it was checked, and that is not older than what
/// was seen. It cannot be made up:
///
/// ```compile_fail,E0451
/// use verdict_core::trust::{ChannelState, Verified};
/// fn forge(document: ChannelState, other: Verified<ChannelState>) -> Verified<ChannelState> {
///     Verified { document, ..other }
/// }
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Verified<T> {
    document: T,
    digest: Digest,
    /// All keys of its role that signed, counting or not: what counts may change.
    keys: Vec<PublicKey>,
    signers: Vec<Signer>,
    until: Timestamp,
}

impl<T> Verified<T> {
    /// What it says.
    pub fn document(&self) -> &T {
        &self.document
    }

    /// The digest of the payload; the same however many signatures there are.
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// Who signed, each key once.
    pub fn signers(&self) -> &[Signer] {
        &self.signers
    }

    /// The first moment at which it does not hold any more.
    pub fn until(&self) -> Timestamp {
        self.until
    }
}

impl<T: SignedDocument> Verified<T> {
    /// Opens an envelope whose document is expected to be of `place`.
    pub(crate) fn open(
        envelope: &[u8],
        place: &Place,
        basis: &Basis<'_>,
        order: Order,
    ) -> Result<Self, Refusal> {
        // New revocations are welcome where the old ones have expired.
        if T::ROLE == Role::Revoker {
            basis.check_trust()?;
        } else {
            basis.check()?;
        }
        let envelope = open(envelope, T::PAYLOAD_TYPE, T::WHAT)?;
        let known = basis.trust.grants(T::ROLE).iter().map(|grant| &grant.public);
        let keys: Vec<_> = signed_by(&envelope, known, T::WHAT)?.into_iter().copied().collect();
        // From here on the payload is what somebody of the trust policy signed.
        let document = T::parse(envelope.payload())?;
        if document.place() != *place {
            let message = format!("{} is not {place}", document.place());
            return Err(Refusal::new(RefusalCode::WrongDocument, message));
        }
        let (digest, until) = (Digest::of(envelope.payload()), document.head().expires);
        let mut verified = Self { document, digest, keys, signers: Vec::new(), until };
        let count = verified.recheck(basis, order)?;
        verified.until = verified.end(&count, basis.trust);
        verified.signers = count.into_signers();
        Ok(verified)
    }

    /// Checks it again: time has passed since it was opened, and trust or revocations may be others.
    pub(crate) fn recheck(&self, basis: &Basis<'_>, order: Order) -> Result<Count, Refusal> {
        let place = self.document.place();
        let (disowned, keys): (Vec<_>, Vec<_>) = self.keys.iter().partition(|key| self.document.disowns(key));
        let mut count = Count::of(keys, T::ROLE, &Scope::at(&place), basis);
        if let Some(key) = disowned.first() {
            let message = format!("{place} itself revokes the key {}, which signed it", key.fingerprint());
            count.refuse(Refusal::new(RefusalCode::KeyRevoked, message));
        }
        count.require(threshold(&place, basis.trust), || place.to_string())?;
        let Head { sequence, issued, expires } = self.document.head();
        if issued.millis().saturating_sub(CLOCK_TOLERANCE_MS) > basis.now.millis() {
            let message = format!("{place} was issued at {issued}, and it is {}", basis.now);
            return Err(Refusal::new(RefusalCode::DocumentNotYetValid, message));
        }
        if basis.now >= expires {
            let message = format!("{place} expired at {expires}");
            return Err(Refusal::new(RefusalCode::DocumentExpired, message));
        }
        basis.seen.check_document(&place, sequence, self.digest, order)?;
        Ok(count)
    }

    /// The first moment at which it does not hold any more, for the people counted.
    pub(crate) fn end(&self, count: &Count, trust: &TrustPolicy) -> Timestamp {
        let expires = self.document.head().expires;
        count.until(threshold(&self.document.place(), trust)).map_or(expires, |end| end.min(expires))
    }
}

/// How many people must sign a document of `place`.
fn threshold(place: &Place, trust: &TrustPolicy) -> u32 {
    match place {
        Place::Channel(policy, channel) => trust.needs(policy, Some(channel)).releases,
        Place::Revocations | Place::Data(_) => 1,
    }
}

/// Reads an envelope that must hold a document of this type.
pub(crate) fn open(bytes: &[u8], payload_type: &str, what: &str) -> Result<Envelope, Refusal> {
    if bytes.len() > ENVELOPE_BYTES_MAX {
        let message = format!("the {what} has {} bytes; at most {ENVELOPE_BYTES_MAX} are read", bytes.len());
        return Err(Refusal::new(RefusalCode::TooLarge, message));
    }
    let envelope = Envelope::parse(bytes)
        .map_err(|error| Refusal::new(RefusalCode::MalformedEnvelope, format!("{what}: {error}")))?;
    if !envelope.is_signed() {
        return Err(Refusal::new(RefusalCode::Unsigned, format!("the {what} has no signature")));
    }
    if envelope.payload_type() != payload_type {
        let message = format!("the envelope holds `{}`; expected `{payload_type}`", envelope.payload_type());
        return Err(Refusal::new(RefusalCode::WrongDocument, message));
    }
    Ok(envelope)
}

/// Those of `keys` that signed, each once. What they may sign is decided when it is known what it is.
pub(crate) fn signed_by<'k>(
    envelope: &Envelope,
    keys: impl IntoIterator<Item = &'k PublicKey>,
    what: &str,
) -> Result<Vec<&'k PublicKey>, Refusal> {
    let mut distinct = BTreeSet::new();
    let keys = keys.into_iter().filter(|key| distinct.insert(key.as_bytes()));
    let named = envelope.named(keys);
    if named.is_empty() {
        let message = format!("no key of the trust policy signed the {what}");
        return Err(Refusal::new(RefusalCode::UnknownSigner, message));
    }
    let signed = envelope.signers(named.iter().copied());
    if signed.is_empty() {
        let keys: Vec<_> = named.iter().map(|key| key.fingerprint().to_string()).collect();
        let message = format!("the signature said to be by {} does not fit", keys.join(", "));
        return Err(Refusal::new(RefusalCode::WrongSignature, message));
    }
    Ok(signed)
}
