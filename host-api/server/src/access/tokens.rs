//! Tokens from a file.

use std::fmt;
use std::sync::Arc;

use sha2::{Digest, Sha256};

use super::principal::Principal;

/// The shortest token, in bytes: 128 bits in base64 have 22.
const TOKEN_BYTES_MIN: usize = 22;

/// Who may ask, with the hashes of their tokens.
#[derive(Clone, Default)]
pub struct Tokens(Vec<(Arc<Principal>, [u8; 32])>);

/// The token file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// A line is not a name, a token and perhaps a tenant.
    #[error("line {0} of the token file is not `NAME TOKEN` or `NAME TOKEN TENANT`")]
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
    /// Reads a token file: one `NAME TOKEN` a line, or `NAME TOKEN TENANT` for a token that is for one tenant only;
    /// empty lines and lines that start with `#` do not count.
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
            let malformed = || TokenError::Malformed(index + 1);
            let (Some(name), Some(token)) = (words.next(), words.next()) else { return Err(malformed()) };
            let tenant = words.next().map(|word| word.parse().map_err(|_| malformed())).transpose()?;
            if words.next().is_some() {
                return Err(malformed());
            }
            if token.len() < TOKEN_BYTES_MIN {
                return Err(TokenError::Short(index + 1));
            }
            tokens.push((Arc::new(Principal::token(name, tenant)), Sha256::digest(token).into()));
        }
        if tokens.is_empty() { Err(TokenError::Empty) } else { Ok(Self(tokens)) }
    }

    /// Whose token this is.
    pub(super) fn holder(&self, token: &str) -> Option<&Arc<Principal>> {
        // Comparing hashes tells an attacker who measures time nothing about the token.
        let hash: [u8; 32] = Sha256::digest(token).into();
        self.0.iter().find(|(_, known)| *known == hash).map(|(principal, _)| principal)
    }
}

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().map(|(principal, _)| principal.id())).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str =
        "# who may ask\n\nshop 0123456789abcdefghijklmn\nteller 9876543210abcdefghijklmn bank\n";

    #[test]
    fn knows_a_holder_by_its_token_only() {
        let tokens = Tokens::parse(FILE).unwrap();
        let holder = tokens.holder("0123456789abcdefghijklmn").unwrap();
        assert_eq!((holder.id(), holder.caller()), ("shop", Some(r#"{"name":"shop"}"#)));
        for wrong in ["", "shop", "0123456789abcdefghijklm", "0123456789abcdefghijklmn "] {
            assert_eq!(tokens.holder(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_token_of_a_tenant_is_for_that_one_only() {
        let tokens = Tokens::parse(FILE).unwrap();
        let (bank, other) = ("bank".parse().unwrap(), "other".parse().unwrap());
        let teller = tokens.holder("9876543210abcdefghijklmn").unwrap();
        assert!(teller.is_for(&bank) && !teller.is_for(&other));
        let shop = tokens.holder("0123456789abcdefghijklmn").unwrap();
        assert!(shop.is_for(&bank) && shop.is_for(&other));
    }

    #[test]
    fn rejects_files_that_would_let_in_nobody_or_anybody() {
        let token = "0123456789abcdefghijklmn";
        let odd = [format!("shop {token} Not-A-Tenant"), format!("shop {token} bank more")];
        for text in ["", "# none", "shop", "shop a b", "shop short", &odd[0], &odd[1]] {
            assert!(Tokens::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn never_shows_a_token() {
        assert!(!format!("{:?}", Tokens::parse(FILE).unwrap()).contains("0123456789"));
    }
}
