//! Counting the people who signed something.

use std::collections::{BTreeMap, BTreeSet};

use super::grant::Scope;
use super::{Basis, Grant, Role};
use crate::artifact::Signer;
use crate::key::PublicKey;
use crate::refusal::{Refusal, RefusalCode};
use crate::time::Timestamp;

/// The people whose signatures count, and why others do not.
#[derive(Debug, Default)]
pub(crate) struct Count {
    signers: Vec<Signer>,
    /// Until when a person's best key counts; none for ever.
    ends: BTreeMap<String, Option<Timestamp>>,
    refused: Option<Refusal>,
}

impl Count {
    /// Counts the holders of `keys`, all of which signed, who may do so in `role`.
    pub(crate) fn of<'k>(
        keys: impl IntoIterator<Item = &'k PublicKey>,
        role: Role,
        scope: &Scope<'_>,
        basis: &Basis<'_>,
    ) -> Self {
        let mut count = Self::default();
        for key in keys {
            for grant in basis.trust.grants(role).iter().filter(|grant| grant.public == *key) {
                match check(grant, role, scope, basis) {
                    Ok(()) => count.add(grant),
                    Err(refusal) => count.refuse(refusal),
                }
            }
        }
        count
    }

    /// Counts a person, once.
    pub(crate) fn add(&mut self, grant: &Grant) {
        let signer = Signer { person: grant.person.clone(), public: grant.public };
        if !self.signers.contains(&signer) {
            self.signers.push(signer);
        }
        let end = self.ends.entry(grant.person.clone()).or_insert(grant.not_after);
        // None is for ever, and so the last of all ends.
        *end = end.zip(grant.not_after).map(|(a, b)| a.max(b));
    }

    /// Keeps the reason that came furthest.
    pub(crate) fn refuse(&mut self, refusal: Refusal) {
        match &self.refused {
            Some(other) if other.code.place() > refusal.code.place() => {}
            _ => self.refused = Some(refusal),
        }
    }

    /// Takes over what another count found.
    pub(crate) fn merge(&mut self, other: Self) {
        for signer in other.signers {
            if !self.signers.contains(&signer) {
                self.signers.push(signer);
            }
        }
        for (person, end) in other.ends {
            let mine = self.ends.entry(person).or_insert(end);
            *mine = mine.zip(end).map(|(a, b)| a.max(b));
        }
        if let Some(refusal) = other.refused {
            self.refuse(refusal);
        }
    }

    /// Leaves out people who may not count, whatever else they may.
    pub(crate) fn leave_out(&mut self, people: &BTreeSet<&str>) {
        for person in people {
            if self.ends.remove(*person).is_some() {
                self.signers.retain(|signer| signer.person != *person);
                let message = format!("`{person}` signed the statement itself");
                self.refuse(Refusal::new(RefusalCode::NotGranted, message));
            }
        }
    }

    /// How many people there are, however many keys they used.
    pub(crate) fn people(&self) -> u32 {
        u32::try_from(self.ends.len()).unwrap_or(u32::MAX)
    }

    /// Their names, for messages.
    pub(crate) fn names(&self) -> String {
        let names: Vec<_> = self.ends.keys().map(|name| format!("`{name}`")).collect();
        if names.is_empty() { "nobody".into() } else { names.join(", ") }
    }

    /// Why somebody who signed does not count.
    pub(crate) fn refused(&self) -> Option<&Refusal> {
        self.refused.as_ref()
    }

    /// Checks that there are enough for `what`.
    pub(crate) fn require(&self, threshold: u32, what: impl Fn() -> String) -> Result<(), Refusal> {
        if self.people() >= threshold {
            return Ok(());
        }
        if let (0, Some(refusal)) = (self.people(), &self.refused) {
            return Err(refusal.clone());
        }
        let code = if self.people() == 0 { RefusalCode::UnknownSigner } else { RefusalCode::TooFewSigners };
        let message = format!("{} is signed by {}; {threshold} must sign", what(), self.names());
        Err(Refusal::new(code, message))
    }

    /// The first moment at which fewer than `threshold` of them count any more; none for never.
    pub(crate) fn until(&self, threshold: u32) -> Option<Timestamp> {
        let mut ends: Vec<_> = self.ends.values().copied().collect();
        // The last end first, and "never" before all.
        ends.sort_by_key(|end| end.map_or(i64::MIN, |end| end.millis().saturating_neg()));
        let index = usize::try_from(threshold).ok()?.checked_sub(1)?;
        ends.get(index).copied().flatten()
    }

    /// Each key that counts, once.
    pub(crate) fn into_signers(self) -> Vec<Signer> {
        self.signers
    }
}

fn check(grant: &Grant, role: Role, scope: &Scope<'_>, basis: &Basis<'_>) -> Result<(), Refusal> {
    if !grant.covers(scope) {
        let message = format!("`{}` may not sign {scope} as {role}", grant.person);
        return Err(Refusal::new(RefusalCode::NotGranted, message));
    }
    if basis.revocations().is_some_and(|revocations| revocations.revokes_key(&grant.public)) {
        let message = format!("{} is revoked", grant.key());
        return Err(Refusal::new(RefusalCode::KeyRevoked, message));
    }
    grant.check_valid(basis.now)
}
