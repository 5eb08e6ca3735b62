//! Key files: a secret key and what it is for. Format `verdict-key/1` is in clear; in `verdict-key/2` the secret is
//! sealed with a passphrase, see [`SealedKeyFile`].

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::seal::SealedKeyFile;
use super::{KEY_FILE_BYTES_MAX, KeyError, PublicKey, Role, SecretKey};
use crate::base64;
use crate::json;

/// The format of a key file in clear.
pub const FORMAT: &str = "verdict-key/1";
/// The format of a key file whose secret is sealed with a passphrase.
pub const SEALED_FORMAT: &str = "verdict-key/2";

/// A key file in clear: a secret key and what it is for.
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

#[derive(Deserialize)]
struct Head {
    format: String,
}

/// The format that a key file says it has.
fn format(json: &[u8]) -> Result<String, KeyError> {
    // The reader's own message may quote what it read.
    let head: Head = json::parse(json, KEY_FILE_BYTES_MAX).map_err(|_| KeyError::File)?;
    Ok(head.format)
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

    /// Reads a key file in clear.
    ///
    /// # Errors
    /// When it is not one, is sealed, or its halves do not belong together.
    pub fn parse(json: &[u8]) -> Result<Self, KeyError> {
        match format(json)?.as_str() {
            FORMAT => {}
            SEALED_FORMAT => return Err(KeyError::Sealed),
            _ => return Err(KeyError::File),
        }
        let text: Text = json::parse(json, KEY_FILE_BYTES_MAX).map_err(|_| KeyError::File)?;
        let seed = Zeroizing::new(base64::decode_array(&text.secret).ok_or(KeyError::File)?);
        let secret = SecretKey::from_seed(*seed);
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

/// A key file as it is on disk.
#[derive(Debug, Clone)]
pub enum StoredKey {
    /// In clear.
    Plain(KeyFile),
    /// Sealed with a passphrase.
    Sealed(SealedKeyFile),
}

impl StoredKey {
    /// Reads a key file of either format.
    ///
    /// # Errors
    /// When it is neither.
    pub fn parse(json: &[u8]) -> Result<Self, KeyError> {
        match format(json)?.as_str() {
            SEALED_FORMAT => Ok(Self::Sealed(SealedKeyFile::parse(json)?)),
            _ => Ok(Self::Plain(KeyFile::parse(json)?)),
        }
    }

    /// What the key is said to be for; certain once the file is open.
    pub fn role(&self) -> Role {
        match self {
            Self::Plain(file) => file.role(),
            Self::Sealed(file) => file.role(),
        }
    }

    /// The public key that the file is said to hold the secret of; certain once the file is open.
    pub fn public(&self) -> PublicKey {
        match self {
            Self::Plain(file) => file.secret().public(),
            Self::Sealed(file) => file.public(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file() -> KeyFile {
        KeyFile::new(Role::Author, SecretKey::from_seed([7; 32]))
    }

    #[test]
    fn a_key_file_is_read_as_it_was_written_whatever_its_role() {
        for role in Role::ALL {
            let file = KeyFile::new(role, SecretKey::from_seed([7; 32]));
            let read = KeyFile::parse(file.render().as_bytes()).unwrap();
            assert_eq!((read.role, read.secret.public()), (role, file.secret.public()));
            assert_eq!(StoredKey::parse(file.render().as_bytes()).unwrap().role(), role);
        }
    }

    #[test]
    fn rejects_a_key_file_whose_halves_do_not_belong_together() {
        let other = SecretKey::from_seed([8; 32]).public().to_string();
        let text = file().render().replace(&file().secret.public().to_string(), &other);
        assert!(matches!(KeyFile::parse(text.as_bytes()), Err(KeyError::Mismatch)));
        for (from, to) in [
            ("key/1", "key/3"),
            ("author", "somebody"),
            ("\"role\"", "\"rule\""),
            ("secret\": \"", "secret\": \"A"),
        ] {
            let changed = file().render().replace(from, to);
            assert!(matches!(KeyFile::parse(changed.as_bytes()), Err(KeyError::File)), "{from}");
            assert!(StoredKey::parse(changed.as_bytes()).is_err(), "{from}");
        }
    }

    #[test]
    fn a_secret_is_never_shown() {
        let secret = base64::encode(&[7; 32]);
        let shown = format!("{:?} {:?}", file(), StoredKey::Plain(file()));
        assert!(!shown.contains(&secret) && !shown.contains("7, 7"), "{shown}");
        let broken = file().render().replace("\"role\"", "\"rule\"");
        assert!(!format!("{:?}", KeyFile::parse(broken.as_bytes())).contains(&secret));
    }
}
