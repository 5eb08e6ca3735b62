//! Who may ask: bearer tokens (RFC 6750) from a file.

use std::fmt;

use axum::http::{HeaderMap, header::AUTHORIZATION};
use sha2::{Digest, Sha256};

/// The shortest token, in bytes: 128 bits in base64 have 22.
const TOKEN_BYTES_MIN: usize = 22;

/// Callers and the hashes of their tokens.
#[derive(Clone, Default)]
pub struct Tokens(Vec<(Caller, [u8; 32])>);

/// One who may ask.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Caller(String);

impl Caller {
    fn new(name: &str) -> Self {
        Self(serde_json::json!({ "name": name }).to_string())
    }

    /// As a record commits to it, and as evidence keeps it.
    pub(crate) fn json(&self) -> &str {
        &self.0
    }
}

/// The token file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// A line is not a name and a token.
    #[error("line {0} of the token file is not `NAME TOKEN`")]
    Malformed(usize),
    /// A token can be guessed.
    #[error(
        "the token on line {0} has under {TOKEN_BYTES_MIN} characters; make one with `openssl rand -base64 24`"
    )]
    Short(usize),
    /// Nobody could ask.
    #[error("the token file names nobody; write one `NAME TOKEN` a line")]
    Empty,
}

impl Tokens {
    /// Reads a token file: one `NAME TOKEN` a line; empty lines and lines that start with `#` do not count.
    ///
    /// # Errors
    /// When a line is something else, a token is too short, or there is none.
    pub fn parse(text: &str) -> Result<Self, TokenError> {
        let mut tokens = Vec::new();
        for (index, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let mut words = line.split_whitespace();
            let (Some(name), Some(token), None) = (words.next(), words.next(), words.next()) else {
                return Err(TokenError::Malformed(index + 1));
            };
            if token.len() < TOKEN_BYTES_MIN {
                return Err(TokenError::Short(index + 1));
            }
            tokens.push((Caller::new(name), Sha256::digest(token).into()));
        }
        if tokens.is_empty() { Err(TokenError::Empty) } else { Ok(Self(tokens)) }
    }

    /// Who the request comes from; none where no token of the file was given.
    pub(crate) fn caller(&self, headers: &HeaderMap) -> Option<&Caller> {
        let value = headers.get(AUTHORIZATION)?.to_str().ok()?;
        let (scheme, token) = value.split_once(' ')?;
        if !scheme.eq_ignore_ascii_case("bearer") {
            return None;
        }
        // Comparing hashes tells an attacker who measures time nothing about the token.
        let hash: [u8; 32] = Sha256::digest(token.trim()).into();
        self.0.iter().find(|(_, known)| *known == hash).map(|(caller, _)| caller)
    }
}

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().map(|(caller, _)| caller)).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "# who may ask\n\nshop 0123456789abcdefghijklmn\n";

    const SHOP: &str = r#"{"name":"shop"}"#;

    fn caller(authorization: &str) -> Option<String> {
        let mut headers = HeaderMap::new();
        headers.insert(AUTHORIZATION, authorization.parse().unwrap());
        Tokens::parse(FILE).unwrap().caller(&headers).map(|caller| caller.json().to_owned())
    }

    #[test]
    fn knows_a_caller_by_its_token_only() {
        assert_eq!(caller("Bearer 0123456789abcdefghijklmn").as_deref(), Some(SHOP));
        assert_eq!(caller("bearer 0123456789abcdefghijklmn").as_deref(), Some(SHOP));
        for wrong in ["Bearer 0123456789abcdefghijklm", "Basic 0123456789abcdefghijklmn", "Bearer", "shop"] {
            assert_eq!(caller(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn rejects_files_that_would_let_in_nobody_or_anybody() {
        for text in ["", "# none", "shop", "shop a b", "shop short"] {
            assert!(Tokens::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn never_shows_a_token() {
        assert!(!format!("{:?}", Tokens::parse(FILE).unwrap()).contains("0123456789"));
    }
}
