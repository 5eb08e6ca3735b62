//! DSSE envelopes, <https://github.com/secure-systems-lab/dsse>: bytes, what they are, and who signed both.

use serde::{Deserialize, Serialize};

use crate::base64;
use crate::json::{self, JsonError};
use crate::key::{PublicKey, SecretKey};

/// The media type of an envelope.
pub const MEDIA_TYPE: &str = "application/vnd.dsse.envelope.v1+json";
/// The largest envelope that is read, in bytes.
pub const ENVELOPE_BYTES_MAX: usize = 1 << 20;
/// The most signatures that an envelope may carry.
pub const SIGNATURES_MAX: usize = 16;
const PAYLOAD_TYPE_BYTES_MAX: usize = 255;

/// A payload with its signatures, none of them checked yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Envelope {
    payload_type: String,
    payload: Vec<u8>,
    signatures: Vec<Signature>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Signature {
    keyid: String,
    bytes: Vec<u8>,
}

/// The text is not an envelope.
#[derive(Debug, thiserror::Error)]
pub enum EnvelopeError {
    /// It is too large, or not JSON of the right shape.
    #[error("the envelope cannot be read: {0}")]
    Malformed(#[from] JsonError),
    /// Payload or signature is not base64.
    #[error("the envelope's `{0}` is not standard base64")]
    Base64(&'static str),
    /// The payload's type is empty or too long.
    #[error("the envelope's `payloadType` must have 1 to {PAYLOAD_TYPE_BYTES_MAX} bytes")]
    PayloadType,
    /// There are too many signatures.
    #[error("the envelope has {0} signatures; at most {SIGNATURES_MAX} are read")]
    TooManySignatures(usize),
}

// The DSSE specification asks readers to ignore members that they do not know.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Text {
    payload: String,
    payload_type: String,
    signatures: Vec<SignatureText>,
}

#[derive(Serialize, Deserialize)]
struct SignatureText {
    #[serde(default)]
    keyid: String,
    sig: String,
}

/// The bytes that are signed: type and payload with their lengths, so that neither can be moved into the other.
pub fn pre_authentication_encoding(payload_type: &str, payload: &[u8]) -> Vec<u8> {
    let head = format!("DSSEv1 {} {payload_type} {} ", payload_type.len(), payload.len());
    [head.as_bytes(), payload].concat()
}

impl Envelope {
    /// A payload that nobody has signed yet.
    pub fn unsigned(payload_type: &str, payload: Vec<u8>) -> Self {
        Self { payload_type: payload_type.into(), payload, signatures: Vec::new() }
    }

    /// Signs a payload.
    pub fn sign(payload_type: &str, payload: Vec<u8>, key: &SecretKey) -> Self {
        let mut envelope = Self::unsigned(payload_type, payload);
        envelope.add_signature(key);
        envelope
    }

    /// The bytes that every signature covers, for a key that signs elsewhere.
    pub fn message(&self) -> Vec<u8> {
        pre_authentication_encoding(&self.payload_type, &self.payload)
    }

    /// Adds the signature of another key; one that is there already stays as it is.
    pub fn add_signature(&mut self, key: &SecretKey) {
        self.push(&key.public(), key.sign(&self.message()));
    }

    /// Adds a signature that was made elsewhere. Says whether it is one of the [`Envelope::message`] by `key`; one that
    /// is not is left out.
    pub fn attach(&mut self, key: &PublicKey, signature: [u8; 64]) -> bool {
        let fits = key.verifies(&self.message(), &signature);
        if fits {
            self.push(key, signature);
        }
        fits
    }

    fn push(&mut self, key: &PublicKey, signature: [u8; 64]) {
        let signature = Signature { keyid: key.fingerprint().to_string(), bytes: signature.to_vec() };
        if !self.signatures.contains(&signature) {
            self.signatures.push(signature);
        }
    }

    /// Reads an envelope.
    ///
    /// # Errors
    /// When it is too large, not JSON of the right shape, or carries too much.
    pub fn parse(bytes: &[u8]) -> Result<Self, EnvelopeError> {
        let text: Text = json::parse(bytes, ENVELOPE_BYTES_MAX)?;
        if !(1..=PAYLOAD_TYPE_BYTES_MAX).contains(&text.payload_type.len()) {
            return Err(EnvelopeError::PayloadType);
        }
        if text.signatures.len() > SIGNATURES_MAX {
            return Err(EnvelopeError::TooManySignatures(text.signatures.len()));
        }
        let payload = base64::decode(&text.payload).ok_or(EnvelopeError::Base64("payload"))?;
        let signature = |text: SignatureText| {
            let bytes = base64::decode(&text.sig).ok_or(EnvelopeError::Base64("sig"))?;
            Ok(Signature { keyid: text.keyid, bytes })
        };
        let signatures = text.signatures.into_iter().map(signature).collect::<Result<_, EnvelopeError>>()?;
        Ok(Self { payload_type: text.payload_type, payload, signatures })
    }

    /// The envelope's JSON.
    pub fn render(&self) -> String {
        let signature = |signature: &Signature| serde_json::json!({"keyid": signature.keyid, "sig": base64::encode(&signature.bytes)});
        let signatures: Vec<_> = self.signatures.iter().map(signature).collect();
        let payload = base64::encode(&self.payload);
        serde_json::json!({"payload": payload, "payloadType": self.payload_type, "signatures": signatures})
            .to_string()
    }

    /// What the payload is said to be; signed together with it.
    pub fn payload_type(&self) -> &str {
        &self.payload_type
    }

    /// The payload. Meaningless until [`Envelope::signers`] says who signed it.
    pub fn payload(&self) -> &[u8] {
        &self.payload
    }

    /// Whether anybody signed, or says so.
    pub fn is_signed(&self) -> bool {
        !self.signatures.is_empty()
    }

    /// Those of `keys` that a signature names, rightly or not.
    pub fn named<'k>(&self, keys: impl IntoIterator<Item = &'k PublicKey>) -> Vec<&'k PublicKey> {
        let named = |key: &&PublicKey| {
            let keyid = key.fingerprint().to_string();
            self.signatures.iter().any(|signature| signature.keyid == keyid)
        };
        keys.into_iter().filter(named).collect()
    }

    /// Those of `keys` that signed, each once. Signatures by other keys do not count and do no harm.
    pub fn signers<'k>(&self, keys: impl IntoIterator<Item = &'k PublicKey>) -> Vec<&'k PublicKey> {
        let message = self.message();
        let signed = |key: &&PublicKey| {
            let keyid = key.fingerprint().to_string();
            // The key id only chooses which key to try; it is not authenticated.
            let by_key = self.signatures.iter().filter(|signature| signature.keyid == keyid);
            let mut bytes = by_key.filter_map(|signature| signature.bytes.as_slice().try_into().ok());
            bytes.any(|bytes| key.verifies(&message, bytes))
        };
        keys.into_iter().filter(signed).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TYPE: &str = "http://example.com/HelloWorld";

    fn key(seed: u8) -> SecretKey {
        SecretKey::from_seed([seed; 32])
    }

    fn envelope() -> Envelope {
        Envelope::sign(TYPE, b"hello world".to_vec(), &key(1))
    }

    /// The example of the DSSE protocol, section "Test Vectors".
    #[test]
    fn encodes_the_example_of_the_specification() {
        let expected = b"DSSEv1 29 http://example.com/HelloWorld 11 hello world";
        assert_eq!(pre_authentication_encoding(TYPE, b"hello world"), expected);
        assert!(envelope().render().contains(r#""payload":"aGVsbG8gd29ybGQ=""#));
    }

    #[test]
    fn reads_the_envelope_of_the_specification() {
        let text = r#"{"payload": "aGVsbG8gd29ybGQ=", "payloadType": "http://example.com/HelloWorld", "signatures":
            [{"sig": "A3JqsQGtVsJ2O2xqrI5IcnXip5GToJ3F+FnZ+O88SjtR6rDAajabZKciJTfUiHqJPcIAriEGAHTVeCUjW2JIZA=="}]}"#;
        let envelope = Envelope::parse(text.as_bytes()).unwrap();
        assert_eq!((envelope.payload_type(), envelope.payload()), (TYPE, &b"hello world"[..]));
        assert!(envelope.is_signed() && envelope.signers([&key(1).public()]).is_empty());
    }

    #[test]
    fn says_which_keys_signed_and_each_once() {
        let mut envelope = envelope();
        envelope.add_signature(&key(2));
        envelope.add_signature(&key(2));
        envelope.signatures.push(envelope.signatures[0].clone());
        let read = Envelope::parse(envelope.render().as_bytes()).unwrap();
        assert_eq!(read, envelope);
        let keys = [key(1).public(), key(2).public(), key(3).public()];
        assert_eq!(read.signers(&keys), [&keys[0], &keys[1]]);
    }

    #[test]
    fn takes_a_signature_that_was_made_elsewhere_if_it_fits() {
        let mut unsigned = Envelope::unsigned(TYPE, b"hello world".to_vec());
        let signature = key(1).sign(&unsigned.message());
        assert!(!unsigned.attach(&key(2).public(), signature) && !unsigned.is_signed());
        assert!(unsigned.attach(&key(1).public(), signature));
        assert_eq!(unsigned, envelope());
    }

    #[test]
    fn a_signature_holds_for_its_type_and_payload_only() {
        let keys = [key(1).public()];
        for change in [
            |envelope: &mut Envelope| envelope.payload_type.push('x'),
            |envelope: &mut Envelope| envelope.payload.push(b'x'),
            |envelope: &mut Envelope| envelope.signatures[0].bytes[3] ^= 1,
            |envelope: &mut Envelope| envelope.signatures[0].bytes.truncate(63),
            |envelope: &mut Envelope| envelope.signatures[0].keyid.clear(),
        ] {
            let mut changed = envelope();
            assert_eq!(changed.signers(&keys).len(), 1);
            change(&mut changed);
            assert_eq!(changed.signers(&keys).len(), 0);
        }
    }

    #[test]
    fn rejects_what_is_ambiguous_or_too_much() {
        let text = envelope().render();
        let twice = text.replacen('{', r#"{"payload":"","#, 1);
        let url_safe = text.replace("aGVsbG8gd29ybGQ=", "aGVsbG8gd29ybGQ");
        let many = vec![r#"{"sig":""}"#; SIGNATURES_MAX + 1].join(",");
        let many = format!(r#"{{"payload":"","payloadType":"a","signatures":[{many}]}}"#);
        let untyped = r#"{"payload":"","payloadType":"","signatures":[]}"#.to_string();
        let large = " ".repeat(ENVELOPE_BYTES_MAX) + &text;
        for text in [twice, url_safe, many, untyped, large, "{}".into(), "[]".into()] {
            assert!(Envelope::parse(text.as_bytes()).is_err(), "{}", &text[..text.len().min(200)]);
        }
    }
}
