//! Signed notes and verifier keys (C2SP signed-note): Ed25519 only, verified strictly. Pure: no I/O.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ed25519_dalek::{Signature as Ed25519Signature, Signer as _, VerifyingKey};
use sha2::{Digest, Sha256};

/// A note larger than this is refused unread. Bytes.
pub const NOTE_BYTES_MAX: usize = 1 << 20;

/// A note with more signatures than this is refused; the specification asks for at least 16.
pub const SIGNATURES_MAX: usize = 100;

const KEY_NAME_BYTES_MAX: usize = 1024;
const ED25519: u8 = 1;

/// Why a note or a key was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NoteError {
    /// A key's name is empty, too long, or has a space, a plus sign or a control character.
    #[error(
        "the key name `{name}` is refused; use up to 1024 bytes without spaces, plus signs or control characters"
    )]
    KeyName {
        /// The name.
        name: String,
    },
    /// The text is not a verifier key.
    #[error("the text is not a verifier key ({what}); it has the form `name+hash+base64`")]
    Key {
        /// What is wrong with it.
        what: &'static str,
    },
    /// The text is not a signed note.
    #[error("the text is not a signed note: {what}")]
    Malformed {
        /// What is wrong with it.
        what: &'static str,
    },
    /// No signature is by the key.
    #[error("the note is not signed by `{key}`; check that the key is the one of this log")]
    NotSigned {
        /// The key's name.
        key: String,
    },
    /// A signature claims to be by the key and is not.
    #[error("the signature by `{key}` is wrong; the note was changed after it was signed")]
    WrongSignature {
        /// The key's name.
        key: String,
    },
}

/// The private key of a log. It is independent of the log's name: one key signs for all logs of a node.
#[derive(Clone)]
pub struct SigningKey(ed25519_dalek::SigningKey);

impl SigningKey {
    /// The key that a seed of 32 random bytes generates (RFC 8032 section 5.1.5).
    pub fn generate(seed: [u8; 32]) -> Self {
        Self(ed25519_dalek::SigningKey::from_bytes(&seed))
    }

    /// The public key under a name, which for a log is its origin.
    ///
    /// # Errors
    /// [`NoteError::KeyName`].
    pub fn verifier_key(&self, name: &str) -> Result<VerifierKey, NoteError> {
        VerifierKey::new(name, self.0.verifying_key())
    }

    /// Signs a text under a name and returns the note.
    ///
    /// # Errors
    /// [`NoteError::KeyName`], or [`NoteError::Malformed`] for a text that does not end in a newline or has control
    /// characters.
    pub fn sign(&self, name: &str, text: &str) -> Result<String, NoteError> {
        let key = self.verifier_key(name)?;
        if !text.ends_with('\n') {
            return Err(NoteError::Malformed { what: "its text does not end in a newline" });
        }
        refuse_control_characters(text)?;
        let mut bytes = key.id.to_be_bytes().to_vec();
        bytes.extend_from_slice(&self.0.sign(text.as_bytes()).to_bytes());
        Ok(format!("{text}\n\u{2014} {name} {}\n", STANDARD.encode(bytes)))
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SigningKey(hidden)")
    }
}

/// A public key with its name: the text form `name+hash+base64` is what an auditor is given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifierKey {
    name: String,
    id: u32,
    key: VerifyingKey,
}

impl VerifierKey {
    fn new(name: &str, key: VerifyingKey) -> Result<Self, NoteError> {
        check_key_name(name)?;
        let digest = Sha256::new()
            .chain_update(name)
            .chain_update([b'\n', ED25519])
            .chain_update(key.as_bytes())
            .finalize();
        let id = digest.iter().take(4).fold(0, |id, byte| (id << 8) | u32::from(*byte));
        Ok(Self { name: name.to_owned(), id, key })
    }

    /// The key's name; for a log its origin.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The key's number: the first four bytes of SHA-256 over name and key.
    pub fn id(&self) -> u32 {
        self.id
    }
}

impl FromStr for VerifierKey {
    type Err = NoteError;

    fn from_str(text: &str) -> Result<Self, NoteError> {
        let wrong = |what| NoteError::Key { what };
        if text.len() > KEY_NAME_BYTES_MAX + 64 {
            return Err(wrong("it is too long"));
        }
        let (name, rest) = text.split_once('+').ok_or(wrong("it has no hash"))?;
        let (id, key) = rest.split_once('+').ok_or(wrong("it has no public key"))?;
        let bytes = STANDARD.decode(key).map_err(|_| wrong("its public key is not base64"))?;
        let key = match bytes.split_first() {
            Some((&ED25519, key)) => key,
            _ => return Err(wrong("it is not of the type Ed25519")),
        };
        let key = key.try_into().map_err(|_| wrong("its public key is not 32 bytes long"))?;
        let key = VerifyingKey::from_bytes(key).map_err(|_| wrong("its public key is not on the curve"))?;
        if key.is_weak() {
            return Err(wrong("its public key is weak"));
        }
        let parsed = Self::new(name, key)?;
        if format!("{:08x}", parsed.id) == id { Ok(parsed) } else { Err(wrong("its hash does not match")) }
    }
}

impl fmt::Display for VerifierKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut bytes = vec![ED25519];
        bytes.extend_from_slice(self.key.as_bytes());
        write!(f, "{}+{:08x}+{}", self.name, self.id, STANDARD.encode(bytes))
    }
}

/// A note that was parsed and not yet verified. Its text must not be used before [`Note::verify`] says so, therefore
/// only that hands it out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note<'a> {
    text: &'a str,
    signatures: Vec<Signature<'a>>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Signature<'a> {
    name: &'a str,
    id: u32,
    bytes: Vec<u8>,
}

impl<'a> Note<'a> {
    /// Splits a note into its text and signatures.
    ///
    /// # Errors
    /// [`NoteError::Malformed`], also for base64 that is not in its one canonical form.
    pub fn parse(note: &'a str) -> Result<Self, NoteError> {
        let wrong = |what| NoteError::Malformed { what };
        if note.len() > NOTE_BYTES_MAX {
            return Err(wrong("it is larger than 1 MiB"));
        }
        refuse_control_characters(note)?;
        let split = note.rfind("\n\n").ok_or(wrong("no empty line separates text and signatures"))?;
        let (text, rest) = note.split_at_checked(split + 1).ok_or(wrong("it ends after its text"))?;
        let lines = rest.strip_prefix('\n').and_then(|lines| lines.strip_suffix('\n'));
        let lines = lines.ok_or(wrong("it has no signature, or does not end in a newline"))?;
        if lines.split('\n').count() > SIGNATURES_MAX {
            return Err(wrong("it has more than 100 signatures"));
        }
        let signatures = lines.split('\n').map(Signature::parse).collect::<Result<_, _>>()?;
        Ok(Self { text, signatures })
    }

    /// The text, if the key signed it. Signatures by other keys are ignored; a wrong one by this key is refused even
    /// beside a right one.
    ///
    /// # Errors
    /// [`NoteError::NotSigned`] or [`NoteError::WrongSignature`].
    pub fn verify(&self, key: &VerifierKey) -> Result<&'a str, NoteError> {
        let mut signed = false;
        for signature in self.signatures.iter().filter(|s| s.name == key.name && s.id == key.id) {
            let wrong = || NoteError::WrongSignature { key: key.name.clone() };
            let bytes = Ed25519Signature::from_slice(&signature.bytes).map_err(|_| wrong())?;
            key.key.verify_strict(self.text.as_bytes(), &bytes).map_err(|_| wrong())?;
            signed = true;
        }
        if signed { Ok(self.text) } else { Err(NoteError::NotSigned { key: key.name.clone() }) }
    }
}

impl<'a> Signature<'a> {
    fn parse(line: &'a str) -> Result<Self, NoteError> {
        let wrong = |what| NoteError::Malformed { what };
        let line =
            line.strip_prefix("\u{2014} ").ok_or(wrong("a signature line does not begin with an em dash"))?;
        let (name, base64) = line.split_once(' ').ok_or(wrong("a signature line has no signature"))?;
        check_key_name(name)?;
        let bytes = STANDARD.decode(base64).map_err(|_| wrong("a signature is not canonical base64"))?;
        let (id, bytes) = bytes.split_first_chunk::<4>().ok_or(wrong("a signature has no key number"))?;
        if bytes.is_empty() {
            return Err(wrong("a signature is empty"));
        }
        Ok(Self { name, id: u32::from_be_bytes(*id), bytes: bytes.to_vec() })
    }
}

fn check_key_name(name: &str) -> Result<(), NoteError> {
    let refused = |c: char| c.is_whitespace() || c.is_control() || c == '+';
    if name.is_empty() || name.len() > KEY_NAME_BYTES_MAX || name.contains(refused) {
        return Err(NoteError::KeyName { name: name.chars().take(80).collect() });
    }
    Ok(())
}

fn refuse_control_characters(text: &str) -> Result<(), NoteError> {
    if text.bytes().any(|byte| byte < 0x20 && byte != b'\n') {
        return Err(NoteError::Malformed { what: "it has a control character" });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    // From the C2SP signed-note specification.
    const KEY: &str = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k";
    const NOTE: &str = "This is an example message.\n\n\u{2014} example.com/foo \
        Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=\n";

    fn key() -> VerifierKey {
        KEY.parse().unwrap()
    }

    fn accepted(note: &[u8]) -> bool {
        let Ok(note) = std::str::from_utf8(note) else { return false };
        Note::parse(note).is_ok_and(|note| note.verify(&key()).is_ok())
    }

    #[test]
    fn verifies_the_example_of_the_specification() {
        assert_eq!(Note::parse(NOTE).unwrap().verify(&key()), Ok("This is an example message.\n"));
        assert_eq!(key().to_string(), KEY);
        assert_eq!(key().id(), 0x530d_903a);
    }

    #[test]
    fn refuses_every_flipped_bit() {
        for bit in 0..NOTE.len() * 8 {
            let mut note = NOTE.as_bytes().to_vec();
            note[bit / 8] ^= 1 << (bit % 8);
            assert!(!accepted(&note), "bit {bit}");
        }
    }

    #[test]
    fn refuses_every_truncation_and_a_repeated_byte() {
        for len in 0..NOTE.len() {
            assert!(!accepted(&NOTE.as_bytes()[..len]), "first {len} bytes");
        }
        for at in 0..NOTE.len() {
            let mut note = NOTE.as_bytes().to_vec();
            note.insert(at, note[at]);
            assert!(!accepted(&note), "byte {at} twice");
        }
    }

    #[test]
    fn refuses_a_wrong_signature_beside_a_right_one() {
        let other = SigningKey::generate([7; 32]);
        let signed = other.sign("example.com/log", "a\n").unwrap();
        let (_, line) = signed.split_once("\n\n").unwrap();
        let note = format!("{NOTE}{line}");
        assert!(accepted(note.as_bytes()), "signatures by unknown keys are ignored");
        let vkey = other.verifier_key("example.com/log").unwrap();
        let refused = Note::parse(&note).unwrap().verify(&vkey);
        assert_eq!(refused, Err(NoteError::WrongSignature { key: "example.com/log".into() }));
    }

    #[test]
    fn refuses_keys_that_are_not_exactly_right() {
        for wrong in [
            "",
            "example.com/foo",
            "example.com/foo+530d903a",
            "example.com/foo+530D903A+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k",
            "example.com/foo+530d903b+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k",
            "example.com/fop+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k",
            "example.com/foo+530d903a+BOkyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k",
            "exa mple+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k",
            "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k\n",
        ] {
            assert!(wrong.parse::<VerifierKey>().is_err(), "{wrong}");
        }
        let weak = VerifyingKey::from_bytes(&{
            let mut identity = [0; 32];
            identity[0] = 1;
            identity
        });
        let weak = VerifierKey::new("weak", weak.unwrap()).unwrap().to_string();
        assert_eq!(weak.parse::<VerifierKey>(), Err(NoteError::Key { what: "its public key is weak" }));
    }

    #[test]
    fn the_private_key_does_not_show() {
        let shown = format!("{:?}", SigningKey::generate([0x41; 32]));
        assert_eq!(shown, "SigningKey(hidden)");
    }

    proptest! {
        #[test]
        fn what_is_signed_verifies_and_any_text_parses_without_panic(
            seed in any::<[u8; 32]>(), text in "[^\\x00-\\x1f]{1,40}\n([^\\x00-\\x1f]{0,40}\n){0,3}", noise in any::<String>()
        ) {
            let secret = SigningKey::generate(seed);
            let note = secret.sign("log.example/a", &text).unwrap();
            let vkey: VerifierKey = secret.verifier_key("log.example/a").unwrap().to_string().parse().unwrap();
            prop_assert_eq!(Note::parse(&note).unwrap().verify(&vkey), Ok(text.as_str()));
            let _ = Note::parse(&noise);
            let _ = noise.parse::<VerifierKey>();
        }
    }
}
