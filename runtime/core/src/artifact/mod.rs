//! From bytes that somebody stored to a version that may answer here. Each step is a type that only the step before
//! can make, so that unverified bytes reach no engine.
//!
//! Whoever can write to a registry can attach anything to an image. So what nobody of the trust policy signed, and what
//! they signed about something else, is passed over: it makes no good artifact fail, and no bad one pass. Only the
//! number of attachments is bounded, [`STATEMENTS_MAX`].
//!
//! A verified artifact cannot be made up:
//!
//! ```compile_fail,E0451
//! use verdict_core::artifact::VerifiedArtifact;
//! fn forge(contents: verdict_core::artifact::VerifiedArtifact) -> VerifiedArtifact {
//!     VerifiedArtifact { reference: "anything".into(), ..contents }
//! }
//! ```
//!
//! Nor can an admitted one, and a verified one is not admitted:
//!
//! ```compile_fail,E0451
//! use verdict_core::artifact::{AdmittedArtifact, VerifiedArtifact};
//! fn forge(verified: VerifiedArtifact, until: verdict_core::time::Timestamp) -> AdmittedArtifact {
//!     AdmittedArtifact { verified, until }
//! }
//! ```
//!
//! ```compile_fail,E0308
//! fn run(artifact: &verdict_core::artifact::AdmittedArtifact) {}
//! fn skip_admission(verified: verdict_core::artifact::VerifiedArtifact) {
//!     run(&verified);
//! }
//! ```

mod admit;
mod image;

use std::sync::Arc;

use crate::digest::Digest;
use crate::dsse::{ENVELOPE_BYTES_MAX, Envelope};
use crate::key::PublicKey;
use crate::manifest::Manifest;
use crate::refusal::{Refusal, RefusalCode};
use crate::statement::{self, Statement, StatementError};
use crate::time::Timestamp;
use crate::trust::signers::Count;
use crate::trust::{Basis, Role, Scope, Seen, TrustPolicy, signed_by};
use image::Image;

pub use admit::{admit, admit_in_channel, admit_on, admit_recorded};

/// The most statements that may be attached to an artifact.
pub const STATEMENTS_MAX: usize = 64;

/// What a registry holds of one version: bytes that nobody has checked.
#[derive(Debug, Clone)]
pub struct UnverifiedArtifact {
    /// Where it is from, for messages.
    pub reference: String,
    /// The OCI image manifest.
    pub manifest_bytes: Vec<u8>,
    /// The config blob.
    pub config: Vec<u8>,
    /// The component.
    pub component: Vec<u8>,
    /// The attached envelopes: the author's statement, approvals, and anything that others attached.
    pub statements: Vec<Vec<u8>>,
}

/// A person and the key that they signed with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signer {
    /// Who.
    pub person: String,
    /// With which key.
    pub public: PublicKey,
}

/// An artifact whose digests hold and whose manifest a trusted author signed.
#[derive(Debug, Clone)]
pub struct VerifiedArtifact {
    reference: String,
    manifest: Manifest,
    component: Arc<[u8]>,
    oci_digest: Digest,
    statement_digest: Digest,
    signers: Vec<Signer>,
    /// All signed statements that are attached, by whomever. What they are worth is decided when it is admitted.
    attached: Vec<Envelope>,
}

/// A verified artifact that may answer here, until a stated time.
#[derive(Debug, Clone)]
pub struct AdmittedArtifact {
    verified: VerifiedArtifact,
    until: Timestamp,
}

macro_rules! accessors {
    ($type:ty, $self:ident => $verified:expr) => {
        impl $type {
            /// Where it is from, for messages.
            pub fn reference(&$self) -> &str {
                &$verified.reference
            }

            /// What the author declares.
            pub fn manifest(&$self) -> &Manifest {
                &$verified.manifest
            }

            /// The component's bytes.
            pub fn component(&$self) -> &Arc<[u8]> {
                &$verified.component
            }

            /// The digest of the component.
            pub fn component_digest(&$self) -> Digest {
                // Verification has compared the two.
                $verified.manifest.component
            }

            /// The digest of the OCI image manifest.
            pub fn oci_digest(&$self) -> Digest {
                $verified.oci_digest
            }

            /// The digest of the signed statement, without its signatures.
            pub fn statement_digest(&$self) -> Digest {
                $verified.statement_digest
            }

            /// The trusted authors who signed it, each key once.
            pub fn signers(&$self) -> &[Signer] {
                &$verified.signers
            }
        }
    };
}

accessors!(VerifiedArtifact, self => self);
accessors!(AdmittedArtifact, self => self.verified);

impl AdmittedArtifact {
    /// The first moment at which the admission does not hold any more.
    pub fn until(&self) -> Timestamp {
        self.until
    }
}

/// Checks that every blob is what the image says, and that an author of `trust` whose key is valid at `now` and who
/// may sign this policy signed what the manifest says about it.
///
/// An envelope that nobody of `trust` signed is passed over, as is one that an author may not have signed, while
/// another one holds: whoever can write to a registry can attach anything.
///
/// # Errors
/// The first reason found; of several envelopes, that of the one that came furthest.
pub fn verify(
    artifact: UnverifiedArtifact,
    trust: &TrustPolicy,
    now: Timestamp,
) -> Result<VerifiedArtifact, Refusal> {
    verify_where(artifact, None, trust, now)
}

/// As [`verify`], for the author's statement that a channel state names by its digest. Other statements about the image
/// do not matter then, not even those of other trusted authors.
///
/// # Errors
/// As [`verify`].
pub fn verify_statement(
    artifact: UnverifiedArtifact,
    statement: &Digest,
    trust: &TrustPolicy,
    now: Timestamp,
) -> Result<VerifiedArtifact, Refusal> {
    verify_where(artifact, Some(statement), trust, now)
}

fn verify_where(
    artifact: UnverifiedArtifact,
    wanted: Option<&Digest>,
    trust: &TrustPolicy,
    now: Timestamp,
) -> Result<VerifiedArtifact, Refusal> {
    let image = Image::check(&artifact)?;
    if artifact.statements.len() > STATEMENTS_MAX {
        let message = format!(
            "`{}` has {} statements; at most {STATEMENTS_MAX} are read",
            artifact.reference,
            artifact.statements.len()
        );
        return Err(Refusal::new(RefusalCode::TooLarge, message));
    }
    // Revocations and what was seen are for the admission.
    let basis = Basis { trust, revocations: None, seen: &Seen::default(), now };
    let (attached, mut refused) = open_all(&artifact.statements);
    let mut accepted: Option<Accepted> = None;
    for envelope in &attached {
        if wanted.is_some_and(|wanted| Digest::of(envelope.payload()) != *wanted) {
            continue;
        }
        match Accepted::check(envelope, &image, &basis) {
            Ok(another) => accepted = Some(another.merge(accepted)?),
            Err(refusal) => refused = Some(further(refused, refusal)),
        }
    }
    let unsigned = || {
        let named = wanted.map(|wanted| format!(" {wanted}")).unwrap_or_default();
        Refusal::new(RefusalCode::Unsigned, format!("`{}` has no statement{named}", artifact.reference))
    };
    let Accepted { manifest, statement_digest, signers } =
        accepted.ok_or_else(|| refused.unwrap_or_else(unsigned))?;
    Ok(VerifiedArtifact {
        reference: artifact.reference,
        manifest,
        component: artifact.component.into(),
        oci_digest: image.digest,
        statement_digest,
        signers,
        attached,
    })
}

/// The envelopes that hold signed statements of any kind, and why another one does not.
fn open_all(statements: &[Vec<u8>]) -> (Vec<Envelope>, Option<Refusal>) {
    let mut refused = None;
    let mut attached = Vec::new();
    for bytes in statements {
        match open(bytes) {
            Ok(envelope) => attached.push(envelope),
            Err(refusal) => refused = Some(further(refused, refusal)),
        }
    }
    (attached, refused)
}

fn open(bytes: &[u8]) -> Result<Envelope, Refusal> {
    if bytes.len() > ENVELOPE_BYTES_MAX {
        let message = format!("a statement has {} bytes; at most {ENVELOPE_BYTES_MAX} are read", bytes.len());
        return Err(Refusal::new(RefusalCode::TooLarge, message));
    }
    let envelope = Envelope::parse(bytes)
        .map_err(|error| Refusal::new(RefusalCode::MalformedEnvelope, error.to_string()))?;
    if !envelope.is_signed() {
        return Err(Refusal::new(RefusalCode::Unsigned, "the statement has no signature"));
    }
    if envelope.payload_type() != statement::MEDIA_TYPE {
        let message =
            format!("the envelope holds `{}`; expected `{}`", envelope.payload_type(), statement::MEDIA_TYPE);
        return Err(Refusal::new(RefusalCode::WrongStatementType, message));
    }
    Ok(envelope)
}

/// Of two refusals the one whose check comes later.
fn further(one: Option<Refusal>, other: Refusal) -> Refusal {
    match one {
        Some(one) if one.code.place() > other.code.place() => one,
        _ => other,
    }
}

/// An author's statement that holds for an image.
struct Accepted {
    manifest: Manifest,
    statement_digest: Digest,
    signers: Vec<Signer>,
}

impl Accepted {
    fn check(envelope: &Envelope, image: &Image, basis: &Basis<'_>) -> Result<Self, Refusal> {
        let authors = basis.trust.authors().iter().map(|author| &author.public);
        let keys = signed_by(envelope, authors, "statement")?;
        // From here on the payload is what an author of the trust policy signed.
        let statement = Statement::parse(envelope.payload()).map_err(refuse_statement)?;
        image.check_statement(&statement)?;
        let policy = &statement.manifest().policy;
        let count = Count::of(keys, Role::Author, &Scope::policy(policy, None), basis);
        count.require(1, || format!("the statement about `{policy}`"))?;
        let statement_digest = Digest::of(envelope.payload());
        Ok(Self { manifest: statement.into_manifest(), statement_digest, signers: count.into_signers() })
    }

    /// Two statements that hold must be one, signed in two places.
    fn merge(mut self, other: Option<Self>) -> Result<Self, Refusal> {
        let Some(mut other) = other else { return Ok(self) };
        if self.statement_digest != other.statement_digest {
            let (this, that) = (self.statement_digest, other.statement_digest);
            let message = format!("the statements {this} and {that} say different things about one image");
            return Err(Refusal::new(RefusalCode::AmbiguousStatement, message));
        }
        self.signers.retain(|signer| !other.signers.contains(signer));
        other.signers.append(&mut self.signers);
        Ok(other)
    }
}

fn refuse_statement(error: StatementError) -> Refusal {
    let code = match error {
        StatementError::Type { .. } => RefusalCode::WrongStatementType,
        StatementError::Malformed(_) | StatementError::Subjects | StatementError::NotAboutStatement => {
            RefusalCode::MalformedStatement
        }
        StatementError::Manifest(_) => RefusalCode::MalformedManifest,
    };
    Refusal::new(code, error.to_string())
}

#[cfg(test)]
mod tests;
