//! API keys: `verdict_`, an id, and 256 random bits. The catalogue has the SHA-256, the owner the key.

use std::fmt;

use axum::http::StatusCode;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use verdict::core::digest::Digest;

use crate::error::ApiError;

const PREFIX: &str = "verdict_";
/// 64 bits in hexadecimal: enough not to meet another.
const ID_BYTES: usize = 16;
/// 256 bits in base64.
const SECRET_BYTES: usize = 43;

/// A new API key. Shown once.
pub(crate) struct ApiKey {
    id: String,
    text: String,
}

impl ApiKey {
    /// A key that nobody has.
    pub(crate) fn new() -> Result<Self, ApiError> {
        let (mut id, mut secret) = ([0; ID_BYTES / 2], [0; 32]);
        getrandom::fill(&mut id).and_then(|()| getrandom::fill(&mut secret)).map_err(|error| {
            tracing::error!(%error, "the operating system gives no random bytes");
            ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", "no key can be made; try again")
        })?;
        let id: String = id.iter().map(|byte| format!("{byte:02x}")).collect();
        let text = format!("{PREFIX}{id}_{}", URL_SAFE_NO_PAD.encode(secret));
        Ok(Self { id, text })
    }

    /// What it is called in lists and events; not secret.
    pub(crate) fn id(&self) -> &str {
        &self.id
    }

    /// The key itself: for its owner alone.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// What the catalogue keeps.
    pub(crate) fn hash(&self) -> Digest {
        Digest::of(self.text.as_bytes())
    }
}

impl fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ApiKey").field("id", &self.id).finish_non_exhaustive()
    }
}

/// The hash of what has the form of an API key.
pub(super) fn hash(text: &str) -> Option<Digest> {
    let (id, secret) = text.strip_prefix(PREFIX)?.split_once('_')?;
    let is_id = id.len() == ID_BYTES && id.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    let is_secret = secret.len() == SECRET_BYTES && URL_SAFE_NO_PAD.decode(secret).is_ok();
    (is_id && is_secret).then(|| Digest::of(text.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_key_is_read_back_by_its_hash() {
        let (key, other) = (ApiKey::new().unwrap(), ApiKey::new().unwrap());
        assert_eq!(hash(key.text()), Some(key.hash()));
        assert_ne!(key.text(), other.text());
        assert_ne!(key.hash(), other.hash());
        assert!(!format!("{key:?}").contains(key.text()));
    }

    #[test]
    fn what_has_another_form_is_no_key() {
        let text = ApiKey::new().unwrap().text().to_owned();
        for wrong in [
            String::new(),
            text.replace("verdict_", "other_"),
            text.to_uppercase(),
            format!("{text}A"),
            text.get(..text.len() - 1).unwrap().to_owned(),
            text.replacen('_', "", 1),
        ] {
            assert_eq!(hash(&wrong), None, "{wrong}");
        }
    }
}
