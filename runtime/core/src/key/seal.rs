//! Key files sealed with a passphrase: Argon2id (RFC 9106) makes a key of it, which encrypts the secret with
//! XChaCha20-Poly1305 (draft-irtf-cfrg-xchacha-03). Everything else in the file is in clear and authenticated with it.

use std::fmt;

use argon2::{Algorithm, Argon2, Block, Params, Version};
use chacha20poly1305::XChaCha20Poly1305;
use chacha20poly1305::aead::{Aead as _, KeyInit as _, Payload};
use serde::{Deserialize, Serialize};
use zeroize::{Zeroize as _, Zeroizing};

use super::file::{KeyFile, SEALED_FORMAT};
use super::{KEY_FILE_BYTES_MAX, KeyError, PublicKey, Role, SecretKey};
use crate::{base64, jcs, json};

/// How many random bytes [`KeyFile::seal`] takes: a salt and a nonce.
pub const SEAL_RANDOM_BYTES: usize = SALT_BYTES + NONCE_BYTES;
/// The shortest passphrase, in bytes.
pub const PASSPHRASE_BYTES_MIN: usize = 8;
/// The longest passphrase, in bytes.
pub const PASSPHRASE_BYTES_MAX: usize = 1_024;

const SALT_BYTES: usize = 16;
const NONCE_BYTES: usize = 24;
const SECRET_BYTES: usize = 32;
const SEALED_BYTES: usize = SECRET_BYTES + 16;

/// What a person knows and a thief of the file does not. Erased when dropped, and never shown.
#[derive(Clone)]
pub struct Passphrase(Zeroizing<String>);

impl Passphrase {
    /// A passphrase, of 8 to 1,024 bytes.
    ///
    /// # Errors
    /// When it is shorter or longer.
    pub fn new(text: Zeroizing<String>) -> Result<Self, KeyError> {
        if (PASSPHRASE_BYTES_MIN..=PASSPHRASE_BYTES_MAX).contains(&text.len()) {
            Ok(Self(text))
        } else {
            Err(KeyError::PassphraseLength)
        }
    }
}

impl fmt::Debug for Passphrase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Passphrase(…)")
    }
}

/// A key file whose secret is sealed. Role and public key are in clear, and certain once it is open.
#[derive(Debug, Clone)]
pub struct SealedKeyFile {
    role: Role,
    public: PublicKey,
    cost: Cost,
    salt: [u8; SALT_BYTES],
    nonce: [u8; NONCE_BYTES],
    sealed: [u8; SEALED_BYTES],
}

/// What it costs to try a passphrase.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Cost {
    memory_kib: u32,
    passes: u32,
    lanes: u32,
}

impl Cost {
    /// The second recommendation of RFC 9106, section 4, for machines that cannot spare two gigabytes.
    const CHOSEN: Self = Self { memory_kib: 64 << 10, passes: 3, lanes: 4 };
    /// The most work that a file can ask for: a hostile one must cost its reader neither minutes nor all memory.
    const WORK_KIB_MAX: u32 = 4 << 20;

    /// Refuses what is too cheap to protect anything, and what is too dear to read.
    fn checked(self) -> Result<Self, KeyError> {
        let fits = (19_456..=1 << 20).contains(&self.memory_kib)
            && (1..=16).contains(&self.passes)
            && (1..=16).contains(&self.lanes)
            && self.memory_kib.saturating_mul(self.passes) <= Self::WORK_KIB_MAX;
        if fits { Ok(self) } else { Err(KeyError::Cost) }
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Text {
    format: String,
    role: Role,
    public: PublicKey,
    kdf: Kdf,
    cipher: Cipher,
    /// Absent in the additional data of the encryption, which is the canonical JSON (RFC 8785) of all the rest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    secret: Option<String>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Kdf {
    name: KdfName,
    memory_kib: u32,
    passes: u32,
    lanes: u32,
    salt: String,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum KdfName {
    Argon2id,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Cipher {
    name: CipherName,
    nonce: String,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum CipherName {
    XChaCha20Poly1305,
}

impl KeyFile {
    /// Seals the secret with a passphrase. `random` are bytes that nobody can guess and that seal nothing else.
    ///
    /// # Errors
    /// When there is no memory for the work, which is 64 MiB.
    pub fn seal(
        &self,
        passphrase: &Passphrase,
        random: [u8; SEAL_RANDOM_BYTES],
    ) -> Result<SealedKeyFile, KeyError> {
        let (mut salt, mut nonce) = ([0; SALT_BYTES], [0; NONCE_BYTES]);
        for (to, from) in salt.iter_mut().chain(&mut nonce).zip(random) {
            *to = from;
        }
        let (role, public) = (self.role(), self.secret().public());
        let mut file =
            SealedKeyFile { role, public, cost: Cost::CHOSEN, salt, nonce, sealed: [0; SEALED_BYTES] };
        let seed = self.secret().seed();
        let additional = file.additional()?;
        let payload = Payload { msg: seed.as_slice(), aad: additional.as_bytes() };
        let sealed = file.cipher(passphrase)?.encrypt(&file.nonce.into(), payload);
        file.sealed = sealed.ok().and_then(|bytes| bytes.try_into().ok()).ok_or(KeyError::File)?;
        Ok(file)
    }
}

impl SealedKeyFile {
    /// Reads a sealed key file. Whether it is what it says shows when it is opened.
    ///
    /// # Errors
    /// When it is not one, or asks for too little or too much work.
    pub fn parse(json: &[u8]) -> Result<Self, KeyError> {
        let text: Text = json::parse(json, KEY_FILE_BYTES_MAX).map_err(|_| KeyError::File)?;
        if text.format != SEALED_FORMAT {
            return Err(KeyError::File);
        }
        let Kdf { name: KdfName::Argon2id, memory_kib, passes, lanes, salt } = text.kdf;
        let Cipher { name: CipherName::XChaCha20Poly1305, nonce } = text.cipher;
        Ok(Self {
            role: text.role,
            public: text.public,
            cost: Cost { memory_kib, passes, lanes }.checked()?,
            salt: base64::decode_array(&salt).ok_or(KeyError::File)?,
            nonce: base64::decode_array(&nonce).ok_or(KeyError::File)?,
            sealed: text.secret.and_then(|text| base64::decode_array(&text)).ok_or(KeyError::File)?,
        })
    }

    /// The file's text.
    ///
    /// # Errors
    /// Never in practice: when it has no JSON.
    pub fn render(&self) -> Result<String, KeyError> {
        let text = self.text(Some(base64::encode(&self.sealed)));
        serde_json::to_string_pretty(&text).map(|text| text + "\n").map_err(|_| KeyError::File)
    }

    /// What the key is said to be for.
    pub fn role(&self) -> Role {
        self.role
    }

    /// The public key that the secret is said to belong to.
    pub fn public(&self) -> PublicKey {
        self.public
    }

    /// Opens the file. This takes a good part of a second, by intention.
    ///
    /// # Errors
    /// When the passphrase is another one or anything in the file was changed, which cannot be told apart; when there
    /// is no memory for the work.
    pub fn open(&self, passphrase: &Passphrase) -> Result<KeyFile, KeyError> {
        let additional = self.additional()?;
        let payload = Payload { msg: &self.sealed, aad: additional.as_bytes() };
        let seed = self.cipher(passphrase)?.decrypt(&self.nonce.into(), payload);
        let seed = Zeroizing::new(seed.map_err(|_| KeyError::Passphrase)?);
        let seed: Zeroizing<[u8; SECRET_BYTES]> =
            Zeroizing::new(seed.as_slice().try_into().map_err(|_| KeyError::File)?);
        let secret = SecretKey::from_seed(*seed);
        if secret.public() == self.public {
            Ok(KeyFile::new(self.role, secret))
        } else {
            Err(KeyError::Mismatch)
        }
    }

    fn text(&self, secret: Option<String>) -> Text {
        let Cost { memory_kib, passes, lanes } = self.cost;
        let salt = base64::encode(&self.salt);
        Text {
            format: SEALED_FORMAT.into(),
            role: self.role,
            public: self.public,
            kdf: Kdf { name: KdfName::Argon2id, memory_kib, passes, lanes, salt },
            cipher: Cipher { name: CipherName::XChaCha20Poly1305, nonce: base64::encode(&self.nonce) },
            secret,
        }
    }

    fn additional(&self) -> Result<String, KeyError> {
        jcs::canonical(&self.text(None)).map_err(|_| KeyError::File)
    }

    fn cipher(&self, passphrase: &Passphrase) -> Result<XChaCha20Poly1305, KeyError> {
        let Cost { memory_kib, passes, lanes } = self.cost;
        let params =
            Params::new(memory_kib, passes, lanes, Some(SECRET_BYTES)).map_err(|_| KeyError::Cost)?;
        let mut memory: Vec<Block> = Vec::new();
        memory.try_reserve_exact(params.block_count()).map_err(|_| KeyError::Memory)?;
        memory.resize(params.block_count(), Block::default());
        let mut key = Zeroizing::new([0; 32]);
        let derived = Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
            .hash_password_into_with_memory(
                passphrase.0.as_bytes(),
                &self.salt,
                key.as_mut_slice(),
                &mut memory,
            );
        memory.iter_mut().for_each(Block::zeroize);
        derived.map_err(|_| KeyError::Cost)?;
        Ok(XChaCha20Poly1305::new((&*key).into()))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::LazyLock;

    use super::super::StoredKey;
    use super::*;

    static FILE: LazyLock<SealedKeyFile> =
        LazyLock::new(|| plain().seal(&words("correct horse"), [9; 40]).unwrap());

    fn plain() -> KeyFile {
        KeyFile::new(Role::Approver, SecretKey::from_seed([7; 32]))
    }

    fn words(text: &str) -> Passphrase {
        Passphrase::new(Zeroizing::new(text.into())).unwrap()
    }

    /// The file with the JSON value at `pointer` replaced.
    fn changed(pointer: &str, to: serde_json::Value) -> Vec<u8> {
        let mut text: serde_json::Value = serde_json::from_str(&FILE.render().unwrap()).unwrap();
        *text.pointer_mut(pointer).unwrap() = to;
        text.to_string().into_bytes()
    }

    #[test]
    fn opens_with_its_passphrase_and_no_other() {
        let text = FILE.render().unwrap();
        let StoredKey::Sealed(read) = StoredKey::parse(text.as_bytes()).unwrap() else { panic!("in clear") };
        assert_eq!((read.role(), read.public()), (Role::Approver, plain().secret().public()));
        let open = read.open(&words("correct horse")).unwrap();
        assert_eq!((open.role(), open.secret().seed()), (Role::Approver, plain().secret().seed()));
        assert!(matches!(read.open(&words("correct horsf")), Err(KeyError::Passphrase)));
        assert!(matches!(KeyFile::parse(text.as_bytes()), Err(KeyError::Sealed)));
    }

    #[test]
    fn everything_in_the_file_is_authenticated() {
        let other = SecretKey::from_seed([8; 32]).public();
        let changes = [
            ("/role", "author".into()),
            ("/public", other.to_string().into()),
            ("/kdf/passes", 2.into()),
            ("/kdf/lanes", 1.into()),
            ("/kdf/salt", base64::encode(&[8; 16]).into()),
            ("/cipher/nonce", base64::encode(&[8; 24]).into()),
            ("/secret", base64::encode(&[8; 48]).into()),
        ];
        for (pointer, to) in changes {
            let file = SealedKeyFile::parse(&changed(pointer, to)).unwrap();
            assert!(matches!(file.open(&words("correct horse")), Err(KeyError::Passphrase)), "{pointer}");
        }
    }

    #[test]
    fn work_is_bounded_before_it_is_done() {
        for (pointer, to) in [
            ("/kdf/memory_kib", u32::MAX),
            ("/kdf/memory_kib", (1 << 20) + 1),
            ("/kdf/memory_kib", 19_455),
            ("/kdf/passes", 0),
            ("/kdf/passes", 17),
            ("/kdf/lanes", 0),
            ("/kdf/lanes", 17),
        ] {
            let result = SealedKeyFile::parse(&changed(pointer, to.into()));
            assert!(matches!(result, Err(KeyError::Cost)), "{pointer} {to}");
        }
        assert!(Cost { memory_kib: 1 << 20, passes: 4, lanes: 4 }.checked().is_ok());
        assert!(Cost { memory_kib: 1 << 20, passes: 5, lanes: 4 }.checked().is_err());
    }

    #[test]
    fn rejects_what_it_does_not_understand() {
        for (pointer, to) in [
            ("/format", "verdict-key/3"),
            ("/role", "somebody"),
            ("/kdf/name", "scrypt"),
            ("/cipher/name", "aes256gcm"),
            ("/kdf/salt", "AAAA"),
            ("/secret", ""),
        ] {
            assert!(
                matches!(StoredKey::parse(&changed(pointer, to.into())), Err(KeyError::File)),
                "{pointer}"
            );
        }
        let surprise = FILE.render().unwrap().replacen('{', "{\"surprise\": 1,", 1);
        assert!(matches!(StoredKey::parse(surprise.as_bytes()), Err(KeyError::File)));
    }

    #[test]
    fn neither_secret_nor_passphrase_is_ever_shown() {
        let shown = format!("{:?} {:?} {}", *FILE, words("correct horse"), FILE.render().unwrap());
        for secret in ["correct horse", "7, 7, 7", &base64::encode(&[7; 32])] {
            assert!(!shown.contains(secret), "{shown}");
        }
        for text in ["", "1234567", &"x".repeat(1_025)] {
            let error = Passphrase::new(Zeroizing::new(text.into())).unwrap_err();
            assert!(matches!(error, KeyError::PassphraseLength), "{error}");
        }
    }

    /// A file that other implementations made (Argon2id and ChaCha20-Poly1305 of OpenSSL, and HChaCha20 as the draft
    /// writes it), so that the format is more than what this one writes and reads.
    #[test]
    fn opens_what_another_implementation_sealed() {
        let text = r#"{
            "format": "verdict-key/2", "role": "root", "public": "A6EHv/POEL4dcN0Y50vAmWfk1jCbpQ1fHdyGZBJVMbg=",
            "kdf": {"name": "argon2id", "memory_kib": 19456, "passes": 2, "lanes": 1, "salt": "ZGVmZ2hpamtsbW5vcHFycw=="},
            "cipher": {"name": "xchacha20poly1305", "nonce": "yMnKy8zNzs/Q0dLT1NXW19jZ2tvc3d7f"},
            "secret": "wyJgHn/HtbRL5Zlr0nBATYc7CdYgAvyid6XfeqplzG7ZwKO09bluof84MkkcIQAj"
        }"#;
        let file = SealedKeyFile::parse(text.as_bytes()).unwrap();
        let open = file.open(&words("correct horse battery staple")).unwrap();
        assert_eq!((open.role(), *open.secret().seed()), (Role::Root, std::array::from_fn(|at| at as u8)));
    }
}
