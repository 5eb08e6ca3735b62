//! Whether a verified artifact may answer here.

use std::collections::BTreeSet;

use semver::Version;

use super::image::Image;
use super::{AdmittedArtifact, UnverifiedArtifact, VerifiedArtifact, refuse_statement};
use crate::digest::Digest;
use crate::dsse::Envelope;
use crate::manifest::Manifest;
use crate::name::{ChannelName, PolicyName};
use crate::record::Record;
use crate::refusal::{Refusal, RefusalCode};
use crate::statement::{APPROVAL_TYPE, Attestation, Statement};
use crate::time::Timestamp;
use crate::trust::signers::Count;
use crate::trust::{
    Basis, ChannelState, DataSnapshot, Order, Requirement, Role, Scope, Seen, TrustPolicy, Verified, Which,
    signed_by,
};

/// Decides whether a verified artifact of a folder may answer here at `now`, on a host that has `seen` others before
/// and knows of no revocations; see [`admit_on`].
///
/// # Errors
/// The first reason found.
pub fn admit(
    verified: VerifiedArtifact,
    trust: &TrustPolicy,
    seen: &Seen,
    now: Timestamp,
) -> Result<AdmittedArtifact, Refusal> {
    admit_on(verified, &Basis { trust, revocations: None, seen, now })
}

/// Decides whether a verified artifact of a folder may answer here. A folder has no channel: the rules of every channel
/// hold for it, and the highest version that was seen is what it does not go back behind.
///
/// # Errors
/// The first reason found: what is gone by has expired or is old, no valid signer may sign this policy, something is
/// revoked, approvals or statements are missing, or a newer version was seen.
pub fn admit_on(verified: VerifiedArtifact, basis: &Basis<'_>) -> Result<AdmittedArtifact, Refusal> {
    let until = basis.until()?;
    let admitted = uphold(verified, None, until, basis)?;
    let Manifest { policy, version, .. } = admitted.manifest();
    check_version(policy, version, basis.seen)?;
    Ok(admitted)
}

/// Decides whether a verified artifact may answer in a channel, as the version of its state that `which` says, with
/// this snapshot of its tenant's data. Which versions may follow each other is for the state's sequence to say.
///
/// # Errors
/// The first reason found: beyond those of [`admit_on`] that the state has expired, is old, or does not name this
/// artifact, or that the data is not what the state names or not the tenant's.
pub fn admit_in_channel(
    verified: VerifiedArtifact,
    state: &Verified<ChannelState>,
    which: Which,
    data: Option<&Verified<DataSnapshot>>,
    basis: &Basis<'_>,
) -> Result<AdmittedArtifact, Refusal> {
    let mut until = basis.until()?;
    let count = state.recheck(basis, Order::Newest)?;
    check_released(&verified, state.document(), which)?;
    until = until.min(state.end(&count, basis.trust));
    if let Some(end) = check_data(&verified, state.document(), data, basis)? {
        until = until.min(end);
    }
    uphold(verified, Some(&state.document().channel), until, basis)
}

fn check_released(verified: &VerifiedArtifact, state: &ChannelState, which: Which) -> Result<(), Refusal> {
    let Manifest { policy, version, .. } = &verified.manifest;
    let place = format!("channel `{}` of `{}`", state.channel, state.policy);
    let Some(release) = state.release(which) else {
        let message = format!("{place} has no such version");
        return Err(Refusal::new(RefusalCode::NotReleased, message));
    };
    let named = *policy == state.policy
        && *version == release.version
        && verified.oci_digest == release.image
        && verified.statement_digest == release.statement;
    if named {
        return Ok(());
    }
    let message = format!(
        "{place} names version {} with statement {}, and this is `{policy}` {version} with {}",
        release.version, release.statement, verified.statement_digest
    );
    Err(Refusal::new(RefusalCode::NotReleased, message))
}

/// The first moment at which the data does not hold any more, if there is any.
fn check_data(
    verified: &VerifiedArtifact,
    state: &ChannelState,
    data: Option<&Verified<DataSnapshot>>,
    basis: &Basis<'_>,
) -> Result<Option<Timestamp>, Refusal> {
    let Some(data) = data else {
        return match state.data {
            None => Ok(None),
            Some(named) => {
                Err(wrong_data(format!("the channel names the data snapshot {named}; there is none")))
            }
        };
    };
    let order = if state.data.is_some() { Order::Named } else { Order::Newest };
    let count = data.recheck(basis, order)?;
    let DataSnapshot { tenant, digest, .. } = data.document();
    if tenant != verified.manifest.policy.tenant() {
        let message =
            format!("the data is that of `{tenant}`, and the policy is `{}`", verified.manifest.policy);
        return Err(wrong_data(message));
    }
    if let Some(named) = state.data.filter(|named| named != digest) {
        return Err(wrong_data(format!("the channel names the data snapshot {named}, and this is {digest}")));
    }
    check_digests([("data snapshot", digest)], basis)?;
    Ok(Some(data.end(&count, basis.trust)))
}

fn wrong_data(message: String) -> Refusal {
    Refusal::new(RefusalCode::WrongData, message)
}

/// Checks authors, revocations and rules. The admission ends when the first of them does not hold any more, or at
/// `until`.
fn uphold(
    mut verified: VerifiedArtifact,
    channel: Option<&ChannelName>,
    until: Timestamp,
    basis: &Basis<'_>,
) -> Result<AdmittedArtifact, Refusal> {
    let policy = &verified.manifest.policy;
    // Time has passed since it was verified, and the trust policy may be another one.
    let keys = verified.signers.iter().map(|signer| &signer.public);
    let authors = Count::of(keys, Role::Author, &Scope::policy(policy, None), basis);
    authors.require(1, || format!("the statement about `{policy}`"))?;
    check_revoked(&verified, basis)?;
    let needs = basis.trust.needs(policy, channel);
    let attached = Attached::of(&verified, channel, basis);
    let approvals = attached.require_approvals(needs.approvals)?;
    let mut ends = vec![authors.until(1), approvals.until(needs.approvals)];
    for requirement in needs.statements {
        ends.push(attached.require_statement(requirement)?.until(requirement.signers));
    }
    let until = ends.into_iter().flatten().fold(until, Timestamp::min);
    verified.signers = authors.into_signers();
    Ok(AdmittedArtifact { verified, until })
}

fn check_revoked(verified: &VerifiedArtifact, basis: &Basis<'_>) -> Result<(), Refusal> {
    let Manifest { policy, version, component, .. } = &verified.manifest;
    if basis.revocations().is_some_and(|revocations| revocations.revokes_version(policy, version)) {
        let message = format!("version {version} of `{policy}` is revoked");
        return Err(Refusal::new(RefusalCode::Revoked, message));
    }
    let digests = [
        ("component", component),
        ("image", &verified.oci_digest),
        ("statement", &verified.statement_digest),
    ];
    check_digests(digests, basis)
}

fn check_digests<const N: usize>(digests: [(&str, &Digest); N], basis: &Basis<'_>) -> Result<(), Refusal> {
    let Some(revocations) = basis.revocations() else { return Ok(()) };
    match digests.into_iter().find(|(_, digest)| revocations.revokes_digest(digest)) {
        Some((what, digest)) => {
            Err(Refusal::new(RefusalCode::Revoked, format!("the {what} {digest} is revoked")))
        }
        None => Ok(()),
    }
}

/// What is attached beside the author's statement, for one channel.
struct Attached<'v> {
    verified: &'v VerifiedArtifact,
    attestations: Vec<(Attestation, &'v Envelope)>,
    channel: Option<&'v ChannelName>,
    basis: &'v Basis<'v>,
}

impl<'v> Attached<'v> {
    fn of(verified: &'v VerifiedArtifact, channel: Option<&'v ChannelName>, basis: &'v Basis<'v>) -> Self {
        let read = |envelope: &'v Envelope| Some((Attestation::parse(envelope.payload()).ok()?, envelope));
        let attestations = verified.attached.iter().filter_map(read).collect();
        Self { verified, attestations, channel, basis }
    }

    fn scope(&self) -> Scope<'_> {
        Scope::policy(&self.verified.manifest.policy, self.channel)
    }

    /// Counts who signed an attestation of this type that says what it must.
    fn count(
        &self,
        role: Role,
        scope: &Scope<'_>,
        predicate: &str,
        says: impl Fn(&Attestation) -> Result<(), String>,
    ) -> Count {
        let known = || self.basis.trust.grants(role).iter().map(|grant| &grant.public);
        let mut count = Count::default();
        for (attestation, envelope) in &self.attestations {
            if attestation.predicate_type != predicate {
                continue;
            }
            let keys = signed_by(envelope, known(), "statement").unwrap_or_default();
            // What a stranger says is not even worth a reason.
            if keys.is_empty() {
                continue;
            }
            let about = attestation.statement == self.verified.statement_digest;
            let said = if about { says(attestation) } else { Err("it is about another statement".into()) };
            match said {
                Ok(()) => count.merge(Count::of(keys, role, scope, self.basis)),
                Err(reason) => count.refuse(Refusal::new(RefusalCode::WrongSubject, reason)),
            }
        }
        count
    }

    /// The people who approved, none of them an author of the statement.
    fn require_approvals(&self, threshold: u32) -> Result<Count, Refusal> {
        if threshold == 0 {
            return Ok(Count::default());
        }
        let Manifest { policy, version, .. } = &self.verified.manifest;
        let mut count = self.count(Role::Approver, &self.scope(), APPROVAL_TYPE, |attestation| {
            match attestation.approval() {
                Some(approval) if approval.policy == *policy && approval.version == *version => Ok(()),
                Some(approval) => Err(format!("it approves `{}` {}", approval.policy, approval.version)),
                None => Err("it is no approval that can be read".into()),
            }
        });
        count.leave_out(&self.people_of_statement());
        if count.people() >= threshold {
            return Ok(count);
        }
        let message = format!(
            "`{policy}` {version} needs {threshold} approvals, and is approved by {}{}",
            count.names(),
            because(&count)
        );
        Err(Refusal::new(RefusalCode::NotApproved, message))
    }

    /// Everybody of the trust policy who signed the author's statement, with whatever key, valid or not.
    fn people_of_statement(&self) -> BTreeSet<&'v str> {
        let trust = self.basis.trust;
        let is_statement =
            |envelope: &&Envelope| Digest::of(envelope.payload()) == self.verified.statement_digest;
        let mut people = BTreeSet::new();
        for envelope in self.verified.attached.iter().filter(is_statement) {
            let known = trust.people().map(|(_, key)| key);
            let keys = signed_by(envelope, known, "statement").unwrap_or_default();
            people.extend(trust.people().filter(|(_, key)| keys.contains(key)).map(|(person, _)| person));
        }
        people
    }

    /// The people who signed a statement that a rule asks for.
    fn require_statement(&self, requirement: &Requirement) -> Result<Count, Refusal> {
        let Requirement { predicate, signers, .. } = requirement;
        let scope = Scope { predicate: Some(predicate), ..self.scope() };
        let count = self.count(Role::Attester, &scope, predicate, |attestation| {
            let holds = requirement.holds(&attestation.predicate);
            if holds { Ok(()) } else { Err("it does not say what the rule requires".into()) }
        });
        if count.people() >= *signers {
            return Ok(count);
        }
        let Manifest { policy, version, .. } = &self.verified.manifest;
        let message = format!(
            "`{policy}` {version} needs a statement `{predicate}` by {signers} attesters, and has one by {}{}",
            count.names(),
            because(&count)
        );
        Err(Refusal::new(RefusalCode::MissingStatement, message))
    }
}

/// Why somebody who signed does not count, as the end of a sentence.
fn because(count: &Count) -> String {
    count
        .refused()
        .map(|refusal| format!("; another does not count: {}", refusal.message))
        .unwrap_or_default()
}

/// Admits, for a replay, the artifact that `record` says decided. Trust was asked when the decision was made, and the
/// record names the very statement that held then; today's trust says nothing about the past.
///
/// The record is taken at its word: verify its receipt first.
///
/// # Errors
/// When the artifact is not the one that the record names.
pub fn admit_recorded(artifact: UnverifiedArtifact, record: &Record) -> Result<AdmittedArtifact, Refusal> {
    let image = Image::check(&artifact)?;
    if image.component != record.component {
        let message = format!("the record is of component {}, not {}", record.component, image.component);
        return Err(Refusal::new(RefusalCode::WrongSubject, message));
    }
    let envelopes = artifact.statements.iter().filter_map(|bytes| Envelope::parse(bytes).ok());
    let payload = envelopes.map(|envelope| envelope.payload().to_vec());
    let Some(payload) = payload.into_iter().find(|payload| Digest::of(payload) == record.statement) else {
        let message = format!("`{}` does not hold the statement {}", artifact.reference, record.statement);
        return Err(Refusal::new(RefusalCode::Unsigned, message));
    };
    let statement = Statement::parse(&payload).map_err(refuse_statement)?;
    image.check_statement(&statement)?;
    let verified = VerifiedArtifact {
        reference: artifact.reference,
        manifest: statement.into_manifest(),
        component: artifact.component.into(),
        oci_digest: image.digest,
        statement_digest: record.statement,
        signers: Vec::new(),
        attached: Vec::new(),
    };
    Ok(AdmittedArtifact { verified, until: record.received_at })
}

fn check_version(policy: &PolicyName, version: &Version, seen: &Seen) -> Result<(), Refusal> {
    match seen.version(policy) {
        Some(highest) if version.cmp_precedence(highest).is_lt() => Err(Refusal::new(
            RefusalCode::VersionRollback,
            format!("`{policy}` has version {version}, but {highest} was seen"),
        )),
        _ => Ok(()),
    }
}
