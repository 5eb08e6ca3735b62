//! Ed25519 keys. Signatures are checked here and nowhere else, and strictly: plain Ed25519 verification accepts keys
//! and signatures for which one signature fits several messages or keys.

use std::fmt;
use std::str::FromStr;

use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::base64;
use crate::digest::Digest;

mod file;
mod seal;

pub use file::{FORMAT, KeyFile, SEALED_FORMAT, StoredKey};
pub use seal::{PASSPHRASE_BYTES_MAX, PASSPHRASE_BYTES_MIN, Passphrase, SEAL_RANDOM_BYTES, SealedKeyFile};

/// The largest key file, in bytes.
pub const KEY_FILE_BYTES_MAX: usize = 4_096;

/// A key cannot be used. Never contains what was read: it may have been a secret.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The text is not the base64 of a key.
    #[error("not a public key; expected the base64 of 32 bytes that are an Ed25519 key")]
    Public,
    /// The key's order is small, so that a signature fits almost any message.
    #[error("the public key is weak; make a new one with `verdict keys new`")]
    Weak,
    /// The key file is not JSON of the right shape.
    #[error("not a key file of format `{FORMAT}` or `{SEALED_FORMAT}`; make one with `verdict keys new`")]
    File,
    /// The two halves of a key file do not belong together.
    #[error("the public key in the file is not that of its secret key; restore the file or make a new one")]
    Mismatch,
    /// The text is not the name of a role.
    #[error("not a role; one of author, approver, releaser, data-signer, revoker, attester, root and log")]
    Role,
    /// The key file is sealed, and whoever reads it has no passphrase.
    #[error(
        "the key file is encrypted, and is read without a passphrase here; decrypt it with `verdict keys decrypt`"
    )]
    Sealed,
    /// The passphrase is not the one that sealed the file, or the file was changed.
    #[error("the passphrase does not open the key file; it is another one, or the file was changed")]
    Passphrase,
    /// The passphrase is too short or too long.
    #[error("a passphrase has {PASSPHRASE_BYTES_MIN} to {PASSPHRASE_BYTES_MAX} bytes")]
    PassphraseLength,
    /// The key file asks for less work than protects it, or for more than a reader does.
    #[error("the key file's `kdf` asks for too little or too much work; restore the file")]
    Cost,
    /// There is not enough memory to try a passphrase.
    #[error("not enough memory to try the passphrase; free some and try again")]
    Memory,
}

/// A public key, written as the base64 of its 32 bytes. It is a point of the curve and not of small order.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PublicKey(VerifyingKey);

impl PublicKey {
    /// Reads the 32 bytes of a key.
    ///
    /// # Errors
    /// When they are not a point of the curve, or one of small order.
    pub fn from_bytes(bytes: [u8; 32]) -> Result<Self, KeyError> {
        let key = VerifyingKey::from_bytes(&bytes).map_err(|_| KeyError::Public)?;
        if key.is_weak() { Err(KeyError::Weak) } else { Ok(Self(key)) }
    }

    /// The 32 bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        self.0.as_bytes()
    }

    /// The digest of the 32 bytes; as text it is the `keyid` of a signature, and what people compare.
    pub fn fingerprint(&self) -> Digest {
        Digest::of(self.as_bytes())
    }

    /// Whether `signature` is one of `message` by this key (RFC 8032, with the checks that make it unambiguous).
    pub fn verifies(&self, message: &[u8], signature: &[u8; 64]) -> bool {
        self.0.verify_strict(message, &Signature::from_bytes(signature)).is_ok()
    }
}

impl FromStr for PublicKey {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        Self::from_bytes(base64::decode_array(text).ok_or(KeyError::Public)?)
    }
}

impl TryFrom<String> for PublicKey {
    type Error = KeyError;

    fn try_from(text: String) -> Result<Self, KeyError> {
        text.parse()
    }
}

impl From<PublicKey> for String {
    fn from(key: PublicKey) -> Self {
        key.to_string()
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&base64::encode(self.as_bytes()))
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A secret key. It is erased when dropped, and never shown.
#[derive(Clone)]
pub struct SecretKey(SigningKey);

impl SecretKey {
    /// The key of 32 random bytes.
    pub fn from_seed(seed: [u8; 32]) -> Self {
        Self(SigningKey::from_bytes(&Zeroizing::new(seed)))
    }

    /// The 32 bytes that it was made from.
    pub fn seed(&self) -> Zeroizing<[u8; 32]> {
        Zeroizing::new(*self.0.as_bytes())
    }

    /// The key that checks what this one signs.
    pub fn public(&self) -> PublicKey {
        PublicKey(self.0.verifying_key())
    }

    /// Signs `message`. The same message has always the same signature.
    pub fn sign(&self, message: &[u8]) -> [u8; 64] {
        self.0.sign(message).to_bytes()
    }
}

impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SecretKey(of {})", self.public())
    }
}

/// What a key is for. A key has one role.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// Signs manifests.
    Author,
    /// Approves what an author signed.
    Approver,
    /// Signs what a channel serves.
    Releaser,
    /// Signs a tenant's data.
    DataSigner,
    /// Revokes keys, versions and digests.
    Revoker,
    /// Signs statements about artifacts, such as the result of tests.
    Attester,
    /// Signs trust policies.
    Root,
    /// Signs a log's checkpoints.
    Log,
}

impl Role {
    /// Every role.
    pub const ALL: [Self; 8] = [
        Self::Author,
        Self::Approver,
        Self::Releaser,
        Self::DataSigner,
        Self::Revoker,
        Self::Attester,
        Self::Root,
        Self::Log,
    ];

    /// The role's name, as key files write it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Author => "author",
            Self::Approver => "approver",
            Self::Releaser => "releaser",
            Self::DataSigner => "data-signer",
            Self::Revoker => "revoker",
            Self::Attester => "attester",
            Self::Root => "root",
            Self::Log => "log",
        }
    }
}

impl FromStr for Role {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        Self::ALL.into_iter().find(|role| role.name() == text).ok_or(KeyError::Role)
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_fits_one_message_and_one_key() {
        let (key, other) = (SecretKey::from_seed([1; 32]), SecretKey::from_seed([2; 32]));
        let signature = key.sign(b"message");
        assert!(key.public().verifies(b"message", &signature));
        assert!(!key.public().verifies(b"messagf", &signature));
        assert!(!other.public().verifies(b"message", &signature));
    }

    #[test]
    fn rejects_weak_keys() {
        let mut identity = [0; 32];
        identity[0] = 1;
        assert!(matches!(PublicKey::from_bytes(identity), Err(KeyError::Weak)));
        assert!(matches!(PublicKey::from_bytes([0; 32]), Err(KeyError::Weak)));
    }

    #[test]
    fn a_role_has_one_name_everywhere() {
        for role in Role::ALL {
            assert_eq!(role.name().parse::<Role>().unwrap(), role);
            assert_eq!(serde_json::to_value(role).unwrap(), role.name());
        }
        assert!(matches!("Author".parse::<Role>(), Err(KeyError::Role)));
    }

    #[test]
    fn a_secret_is_never_shown() {
        let shown = format!("{:?}", SecretKey::from_seed([7; 32]));
        assert!(!shown.contains("7, 7") && !shown.contains(&base64::encode(&[7; 32])), "{shown}");
    }
}
