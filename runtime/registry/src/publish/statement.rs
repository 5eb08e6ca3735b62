//! Statements about a version: approvals, test results, and the author's own.

use std::collections::BTreeSet;

use bytes::Bytes;
use verdict_core::artifact::STATEMENTS_MAX;
use verdict_core::digest::Digest;
use verdict_core::dsse::{ENVELOPE_BYTES_MAX, Envelope};
use verdict_core::jcs;
use verdict_core::name::PolicyName;
use verdict_core::oci::{self, Descriptor};
use verdict_core::refusal::{Refusal, RefusalCode};
use verdict_core::statement::{self, APPROVAL_TYPE, Attestation};
use verdict_core::time::Timestamp;
use verdict_core::trust::{Grant, Role};

use super::{Ground, PublishError, Publisher};
use crate::attached::{self, EMPTY};
use crate::catalogue::{Catalogue, CatalogueError, Change, Limit, NewManifest, Put, VersionEntry, Write};
use crate::repository::{Noted, PIN_AGE_MAX, check_image, later, note_all};

/// A statement that was checked and whose bytes are stored. It can be attached.
#[derive(Debug)]
#[must_use]
pub struct ReadyStatement {
    catalogue: Catalogue,
    policy: PolicyName,
    manifest: NewManifest,
    envelope_bytes: u64,
    noted: Noted,
    holder: String,
}

impl ReadyStatement {
    /// The digest of the manifest that attaches it to the image.
    pub fn manifest(&self) -> Digest {
        self.manifest.digest
    }

    /// The digest of its payload.
    pub fn payload(&self) -> Digest {
        self.noted.statement.payload
    }

    /// The digest of the envelope.
    pub fn envelope(&self) -> Digest {
        self.noted.statement.envelope
    }

    /// What it states.
    pub fn predicate_type(&self) -> &str {
        &self.noted.statement.predicate_type
    }

    /// Attaches it to the image; an author's publishes the version. Durable and told when `write` is committed. The same
    /// once more changes nothing.
    ///
    /// # Errors
    /// [`CatalogueError::Conflict`] when the version is published with another image or statement, or there are too many
    /// statements; [`CatalogueError::UnknownBlob`] when the image is gone.
    pub async fn put(&self, write: &mut Write) -> Result<Put, PublishError> {
        let Self { catalogue, policy, manifest, noted, .. } = self;
        if catalogue.manifest(policy, noted.statement.image).await?.is_none() {
            return Err(CatalogueError::UnknownBlob(noted.statement.image).into());
        }
        let _ = write.link_blob(policy, Digest::of(EMPTY), EMPTY.len() as u64).await?;
        let _ = write.link_blob(policy, noted.statement.envelope, self.envelope_bytes).await?;
        let _ = write.put_manifest(policy, manifest).await?;
        let put = note_all(write, catalogue, policy, std::slice::from_ref(noted)).await?;
        let _ = write.unpin(&self.holder).await?;
        Ok(put)
    }
}

impl Publisher {
    /// Checks a statement that is to be attached to an image: that somebody signed it who may say that of this policy,
    /// and that it is about this image. Its bytes are stored, and named when it is put.
    ///
    /// # Errors
    /// [`PublishError::Refused`], [`PublishError::NoImage`]; when store or catalogue fail.
    pub async fn statement(
        &self,
        policy: &PolicyName,
        image: Digest,
        envelope: &[u8],
        now: Timestamp,
    ) -> Result<ReadyStatement, PublishError> {
        if envelope.len() > ENVELOPE_BYTES_MAX {
            let message = format!("the statement has {} bytes; at most {ENVELOPE_BYTES_MAX}", envelope.len());
            return Err(Refusal::new(RefusalCode::TooLarge, message).into());
        }
        let image_bytes = self.image(policy, image).await?;
        let image = Descriptor::of(oci::MANIFEST_MEDIA_TYPE, &image_bytes);
        let unwritable =
            |error: jcs::JcsError| Refusal::new(RefusalCode::MalformedStatement, error.to_string());
        let manifest_bytes =
            jcs::canonical(&attached::referrer(image.clone(), envelope)).map_err(unwritable)?;
        let manifest = new_manifest(image.digest, envelope, manifest_bytes.as_bytes());
        let noted = Noted::read(policy, image.digest, manifest.digest, envelope)?;
        let ground = self.ground(now).await?;
        match &noted.author {
            Some(author) => {
                check_image(author, &image_bytes)?;
                signers(&noted.envelope, &ground, Role::Author, policy, statement::PREDICATE_TYPE)?;
            }
            None => self.check_attestation(policy, image.digest, &noted, &ground).await?,
        }
        self.check_count(policy, &noted).await?;
        let holder = format!("attach:{policy}:{}", manifest.digest);
        let bytes = [EMPTY, envelope, manifest_bytes.as_bytes()];
        self.store(&bytes.map(Bytes::copy_from_slice), &holder, now).await?;
        Ok(ReadyStatement {
            catalogue: self.catalogue().clone(),
            policy: policy.clone(),
            manifest,
            envelope_bytes: envelope.len() as u64,
            noted,
            holder,
        })
    }

    async fn image(&self, policy: &PolicyName, image: Digest) -> Result<Bytes, PublishError> {
        let there = self.catalogue().manifest(policy, image).await?;
        let bytes = match there {
            Some(_) => self.registry.blobs().read(image, oci::MANIFEST_BYTES_MAX as u64).await?,
            None => None,
        };
        bytes.ok_or_else(|| PublishError::NoImage { policy: policy.clone(), image })
    }

    /// Checks a statement about an author's statement.
    async fn check_attestation(
        &self,
        policy: &PolicyName,
        image: Digest,
        noted: &Noted,
        ground: &Ground,
    ) -> Result<(), PublishError> {
        let wrong = |message: String| PublishError::Refused(Refusal::new(RefusalCode::WrongSubject, message));
        let attestation = Attestation::parse(noted.envelope.payload())
            .map_err(|error| Refusal::new(RefusalCode::MalformedStatement, error.to_string()))?;
        let published = self.catalogue().version_of_image(policy, image).await?;
        let version = published.filter(|version| version.content.statement == attestation.statement);
        let version = version.ok_or_else(|| {
            wrong(format!(
                "no version of `{policy}` has image {image} and statement {}",
                attestation.statement
            ))
        })?;
        if attestation.predicate_type != APPROVAL_TYPE {
            signers(&noted.envelope, ground, Role::Attester, policy, &attestation.predicate_type)?;
            return Ok(());
        }
        match attestation.approval() {
            Some(approval) if approval.policy == *policy && approval.version == version.content.version => {}
            _ => return Err(wrong(format!("it does not approve `{policy}` {}", version.content.version))),
        }
        let people = signers(&noted.envelope, ground, Role::Approver, policy, APPROVAL_TYPE)?;
        let authors = self.authors(policy, &version, ground).await?;
        if people.is_subset(&authors) {
            let message = format!("`{policy}` {} is not approved by its own author", version.content.version);
            return Err(Refusal::new(RefusalCode::NotApproved, message).into());
        }
        Ok(())
    }

    /// Everybody of the trust policy who signed the author's statement of a version, with whatever key.
    async fn authors<'g>(
        &self,
        policy: &PolicyName,
        version: &VersionEntry,
        ground: &'g Ground,
    ) -> Result<BTreeSet<&'g str>, PublishError> {
        let mut people = BTreeSet::new();
        let attached = self.catalogue().statements(policy, version.content.image, 0, limit()).await?.items;
        let is_authors = |payload: Digest| payload == version.content.statement;
        for entry in attached.into_iter().filter(|entry| is_authors(entry.content.payload)) {
            let bytes = self.registry.blobs().read(entry.content.envelope, ENVELOPE_BYTES_MAX as u64).await?;
            let Some(envelope) = bytes.and_then(|bytes| Envelope::parse(&bytes).ok()) else { continue };
            let grants = Role::ALL.into_iter().flat_map(|role| ground.trust.grants(role));
            let signed = grants.filter(|grant| !envelope.signers([&grant.public]).is_empty());
            people.extend(signed.map(|grant| grant.person.as_str()));
        }
        Ok(people)
    }

    /// Checks that hosts would still read it.
    async fn check_count(&self, policy: &PolicyName, noted: &Noted) -> Result<(), PublishError> {
        let image = noted.statement.image;
        let there = self.catalogue().statements(policy, image, 0, limit()).await?.items;
        let is_there = there.iter().any(|entry| entry.content.envelope == noted.statement.envelope);
        if is_there || there.len() < STATEMENTS_MAX {
            return Ok(());
        }
        let message = format!("the image {image} has {STATEMENTS_MAX} statements; no more are read");
        Err(Refusal::new(RefusalCode::TooLarge, message).into())
    }

    /// Stores blobs that are named later.
    async fn store(&self, blobs: &[Bytes], holder: &str, now: Timestamp) -> Result<(), PublishError> {
        let change = Change { actor: "publisher".into(), correlation: "attach".into(), at: now };
        let mut write = self.catalogue().write(change).await?;
        for blob in blobs {
            write.pin(Digest::of(blob), holder, Some(later(now, PIN_AGE_MAX))).await?;
        }
        write.commit().await?;
        for blob in blobs {
            self.registry.blobs().put(Digest::of(blob), blob.clone()).await?;
        }
        Ok(())
    }
}

/// The people who signed and may say this of the policy, in some channel.
fn signers<'g>(
    envelope: &Envelope,
    ground: &'g Ground,
    role: Role,
    policy: &PolicyName,
    predicate: &str,
) -> Result<BTreeSet<&'g str>, Refusal> {
    let grants = ground.trust.grants(role).iter();
    let signed: Vec<&Grant> = grants.filter(|grant| !envelope.signers([&grant.public]).is_empty()).collect();
    if signed.is_empty() {
        let message = format!("no {role} of the trust policy signed the statement");
        return Err(Refusal::new(RefusalCode::UnknownSigner, message));
    }
    let mut reason = None;
    let mut people = BTreeSet::new();
    for grant in signed {
        match check_grant(grant, ground, role, policy, predicate) {
            Ok(()) => drop(people.insert(grant.person.as_str())),
            Err(refusal) => reason = Some(refusal),
        }
    }
    match reason.filter(|_| people.is_empty()) {
        Some(refusal) => Err(refusal),
        None => Ok(people),
    }
}

fn check_grant(
    grant: &Grant,
    ground: &Ground,
    role: Role,
    policy: &PolicyName,
    predicate: &str,
) -> Result<(), Refusal> {
    let Grant { person, public, .. } = grant;
    let refused = |code, what: String| {
        Err(Refusal::new(code, format!("the key {} of `{person}` {what}", public.fingerprint())))
    };
    if ground.revocations.as_ref().is_some_and(|revocations| revocations.document().revokes_key(public)) {
        return refused(RefusalCode::KeyRevoked, "is revoked".into());
    }
    if let Some(from) = grant.not_before.filter(|from| ground.now < *from) {
        return refused(RefusalCode::KeyNotYetValid, format!("is not valid before {from}"));
    }
    if let Some(end) = grant.not_after.filter(|end| ground.now >= *end) {
        return refused(RefusalCode::KeyExpired, format!("is not valid since {end}"));
    }
    let says = grant.predicates.is_empty() || grant.predicates.iter().any(|one| one == predicate);
    if !says || !grant.policies.iter().any(|one| one.covers(policy)) {
        return refused(RefusalCode::NotGranted, format!("is no {role}'s of `{predicate}` for `{policy}`"));
    }
    Ok(())
}

fn new_manifest(image: Digest, envelope: &[u8], bytes: &[u8]) -> NewManifest {
    NewManifest {
        digest: Digest::of(bytes),
        bytes: bytes.len() as u64,
        media_type: oci::MANIFEST_MEDIA_TYPE.into(),
        artifact_type: Some(statement::MEDIA_TYPE.into()),
        subject: Some(image),
        annotations: Default::default(),
        blobs: [Digest::of(EMPTY), Digest::of(envelope)].into(),
        manifests: Default::default(),
    }
}

fn limit() -> Limit {
    Limit::new(u32::try_from(STATEMENTS_MAX).unwrap_or(u32::MAX))
}
