//! Ed25519 keys. Signatures are checked here and nowhere else, and strictly: plain Ed25519 verification accepts keys
//! and signatures for which one signature fits several messages or keys.

use std::fmt;
use std::str::FromStr;

use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::base64;
use crate::digest::Digest;
use crate::json;

/// The format of a key file.
pub const FORMAT: &str = "verdict-key/1";
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
    #[error("not a key file of format `{FORMAT}`; make one with `verdict keys new`")]
    File,
    /// The two halves of a key file do not belong together.
    #[error("the public key in the file is not that of its secret key; restore the file or make a new one")]
    Mismatch,
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
    /// Signs a log's checkpoints.
    Log,
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Author => "author",
            Self::Log => "log",
        })
    }
}

/// A key file: a secret key and what it is for.
#[derive(Debug, Clone)]
pub struct KeyFile {
    role: Role,
    secret: SecretKey,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Text {
    format: String,
    role: Role,
    public: String,
    secret: Zeroizing<String>,
}

impl KeyFile {
    /// The file of a key with this role.
    pub fn new(role: Role, secret: SecretKey) -> Self {
        Self { role, secret }
    }

    /// What the key is for.
    pub fn role(&self) -> Role {
        self.role
    }

    /// The key.
    pub fn secret(&self) -> &SecretKey {
        &self.secret
    }

    /// Reads a key file.
    ///
    /// # Errors
    /// When it is not one, or its halves do not belong together.
    pub fn parse(json: &[u8]) -> Result<Self, KeyError> {
        // The reader's own message may quote what it read.
        let text: Text = json::parse(json, KEY_FILE_BYTES_MAX).map_err(|_| KeyError::File)?;
        if text.format != FORMAT {
            return Err(KeyError::File);
        }
        let secret = SecretKey::from_seed(base64::decode_array(&text.secret).ok_or(KeyError::File)?);
        if secret.public() == text.public.parse()? {
            Ok(Self { role: text.role, secret })
        } else {
            Err(KeyError::Mismatch)
        }
    }

    /// The file's text. Whoever writes it keeps others from reading it (mode 0600).
    pub fn render(&self) -> Zeroizing<String> {
        let (role, public) = (self.role, self.secret.public());
        let secret = Zeroizing::new(base64::encode(self.secret.seed().as_slice()));
        Zeroizing::new(format!(
            "{{\n  \"format\": \"{FORMAT}\",\n  \"role\": \"{role}\",\n  \"public\": \"{public}\",\n  \"secret\": \"{}\"\n}}\n",
            secret.as_str()
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file() -> KeyFile {
        KeyFile::new(Role::Author, SecretKey::from_seed([7; 32]))
    }

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
    fn a_key_file_is_read_as_it_was_written() {
        let read = KeyFile::parse(file().render().as_bytes()).unwrap();
        assert_eq!((read.role, read.secret.public()), (Role::Author, file().secret.public()));
    }

    #[test]
    fn rejects_a_key_file_whose_halves_do_not_belong_together() {
        let other = SecretKey::from_seed([8; 32]).public().to_string();
        let text = file().render().replace(&file().secret.public().to_string(), &other);
        assert!(matches!(KeyFile::parse(text.as_bytes()), Err(KeyError::Mismatch)));
        for (from, to) in
            [("/1", "/2"), ("author", "root"), ("\"role\"", "\"rule\""), ("secret\": \"", "secret\": \"A")]
        {
            assert!(KeyFile::parse(file().render().replace(from, to).as_bytes()).is_err(), "{from}");
        }
    }

    #[test]
    fn a_secret_is_never_shown() {
        let secret = base64::encode(&[7; 32]);
        let shown = format!("{:?}", file());
        assert!(!shown.contains(&secret) && !shown.contains("7, 7"), "{shown}");
        let broken = file().render().replace("\"role\"", "\"rule\"");
        assert!(!format!("{:?}", KeyFile::parse(broken.as_bytes())).contains(&secret));
    }
}
