//! Why something may not run: one table, used by everything that refuses.

use std::fmt;

use serde::{Serialize, Serializer};

macro_rules! refusals {
    ($($name:ident, $code:literal, $meaning:literal, $remedy:literal;)*) => {
        /// Why an artifact was refused; its code is stable.
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum RefusalCode { $(#[doc = $meaning] $name,)* }

        impl RefusalCode {
            /// The table, in the order in which an artifact is checked.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// The stable code.
            pub const fn code(self) -> &'static str {
                match self { $(Self::$name => $code,)* }
            }

            /// What it means, as a sentence without a full stop.
            pub const fn meaning(self) -> &'static str {
                match self { $(Self::$name => $meaning,)* }
            }

            /// What to do about it.
            pub const fn remedy(self) -> &'static str {
                match self { $(Self::$name => $remedy,)* }
            }

            /// The place in the table, which is the order of the checks.
            pub(crate) const fn place(self) -> usize {
                self as usize
            }

            /// The refusal with this code.
            pub fn from_code(code: &str) -> Option<Self> {
                match code { $($code => Some(Self::$name),)* _ => None }
            }
        }
    };
}

refusals! {
    Unreadable, "unreadable", "a file of the artifact is missing or cannot be read",
        "check the folder and its permissions, or build the artifact again";
    TooLarge, "too-large", "a part of the artifact is larger than what is read",
        "make the policy smaller, or raise the limit if there is one to raise";
    MalformedArtifact, "malformed-artifact", "the OCI layout, its index, image manifest or config is not well formed",
        "build the artifact again";
    WrongMediaType, "wrong-media-type", "the image is not a Wasm artifact with exactly one component",
        "build the artifact with `verdict build`";
    DigestMismatch, "digest-mismatch", "a blob is not what its digest and size say",
        "fetch the artifact again; if it stays so, somebody changed it";
    Unsigned, "unsigned", "no statement with a signature is attached",
        "sign it with `verdict sign`";
    MalformedEnvelope, "malformed-envelope", "a signature envelope is not well-formed DSSE",
        "sign the artifact again";
    WrongStatementType, "wrong-statement-type", "a signed document is not an author's statement about a policy",
        "sign the artifact with `verdict sign`";
    UnknownSigner, "unknown-signer", "no signature is by a key of the trust policy",
        "add the author's public key to the trust file, if you trust it";
    WrongSignature, "wrong-signature", "a signature does not fit what it is said to sign",
        "fetch the artifact again; if it stays so, somebody changed it";
    KeyNotYetValid, "key-not-yet-valid", "the author's key is not valid yet",
        "wait, or correct the key's `not_before` in the trust file";
    KeyExpired, "key-expired", "the author's key is not valid any more",
        "sign with a newer key, or extend the key's `not_after` in the trust file";
    KeyRevoked, "key-revoked", "a key that signed is revoked",
        "have it signed with another key; if it is revoked by mistake, publish revocations without it";
    MalformedStatement, "malformed-statement", "the signed statement is not well formed",
        "sign the artifact again with a matching version of `verdict`";
    MalformedManifest, "malformed-manifest", "the signed manifest cannot be used",
        "correct the policy's manifest, build and sign again";
    WrongSubject, "wrong-subject", "the statement is about another component or image",
        "sign this artifact; a statement cannot be moved to another";
    ManifestMismatch, "manifest-mismatch", "the signed manifest and the artifact contradict each other",
        "build and sign again, so that both come from one source";
    AmbiguousStatement, "ambiguous-statement", "trusted authors signed different manifests for this artifact",
        "build the artifact again and sign it once";
    NotGranted, "not-granted", "no valid signer may publish this policy",
        "grant the author this policy in the trust file, or have it signed by somebody who may";
    MalformedTrust, "malformed-trust", "the trust file cannot be used",
        "correct the trust file; `verdict keys new` writes one to start from";
    TrustGap, "trust-gap", "a version of the signed trust policy does not follow the one before",
        "fetch the versions between them; the chain from the last accepted version must be whole";
    TrustExpired, "trust-expired", "the trust policy has expired",
        "renew the trust file: review it, raise its `version` and set a later `expires`";
    TrustRollback, "trust-rollback", "the trust policy is older than one that was seen here before",
        "restore the newer trust file, or give this one a higher `version`";
    ClockBehind, "clock-behind", "the host's clock is behind a time at which it decided before",
        "set the clock; if it was ahead by mistake, correct `time` in the state folder's `seen.json`";
    RevocationsMissing, "revocations-missing", "the trust policy names revokers, and there are no revocations",
        "publish revocations, be it empty ones, or fetch those that there are";
    WrongDocument, "wrong-document", "a signed document is of another kind, policy, channel or tenant than asked for",
        "fetch it again; if it stays so, somebody put it in the place of another";
    MalformedDocument, "malformed-document", "a signed document is not well formed",
        "sign it again with a matching version of `verdict`";
    TooFewSigners, "too-few-signers", "fewer people signed a document than must",
        "have it signed by others, too; a person counts once, however many keys they use";
    DocumentNotYetValid, "document-not-yet-valid", "a signed document was issued in the future",
        "check the clocks of this host and of who signed it";
    DocumentExpired, "document-expired", "a signed document has expired",
        "fetch a newer one; if there is none, have it signed again with a later `expires`";
    DocumentRollback, "document-rollback", "a signed document is older than one that was seen here before",
        "fetch the newer one; to go back to an older version, publish it under a higher `sequence`";
    Equivocation, "equivocation", "two signed documents of the same sequence differ",
        "find out who signed both; publish the right one under a higher `sequence`";
    NotReleased, "not-released", "the channel does not name this version, image and statement",
        "promote the version to the channel, or fetch the one that it names";
    WrongData, "wrong-data", "the data is not the snapshot that the channel names, or not the tenant's",
        "fetch the snapshot that is named; if it stays so, somebody changed it";
    Revoked, "revoked", "the version, or something that it is made of, is revoked",
        "publish another version; if it is revoked by mistake, publish revocations without it";
    NotApproved, "not-approved", "fewer people approved the version than the trust policy asks for",
        "have others approve it with `verdict approve`, none of them its author";
    MissingStatement, "missing-statement", "a statement that the trust policy asks for is missing, or says something else",
        "attach the statement, signed by an attester of the trust policy";
    VersionRollback, "version-rollback", "a newer version of the policy was seen here before",
        "publish what should run under a higher version";
    MalformedComponent, "malformed-component", "the component is not valid WebAssembly of the kinds that are run",
        "build it again with `verdict build`";
    WrongContract, "wrong-contract", "the component does not speak this host's contract",
        "build it against the contract version that this host names";
    UndeclaredImport, "undeclared-import", "the component imports what its manifest does not declare",
        "declare the capability in the manifest, or remove what uses it";
    CompileFailed, "compile-failed", "the component could not be compiled within its limits",
        "make the component smaller or simpler";
}

impl fmt::Display for RefusalCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

impl fmt::Debug for RefusalCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

impl Serialize for RefusalCode {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.code())
    }
}

/// A refusal: why, and which thing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, thiserror::Error)]
#[error("{message} ({code}); {}", code.remedy())]
pub struct Refusal {
    /// The row of the table.
    pub code: RefusalCode,
    /// Which thing, for people: lower case, no full stop.
    pub message: String,
}

impl Refusal {
    /// A refusal that names the thing.
    pub fn new(code: RefusalCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_stable_and_distinct() {
        for code in RefusalCode::ALL {
            assert_eq!(RefusalCode::from_code(code.code()), Some(*code));
        }
        let codes: std::collections::BTreeSet<_> = RefusalCode::ALL.iter().map(|c| c.code()).collect();
        assert_eq!(codes.len(), RefusalCode::ALL.len());
    }

    #[test]
    fn says_which_thing_and_what_to_do() {
        let refusal = Refusal::new(RefusalCode::Unsigned, "`default/loan` has no signature");
        let text = refusal.to_string();
        assert!(text.starts_with("`default/loan` has no signature (unsigned); sign it"), "{text}");
    }
}
