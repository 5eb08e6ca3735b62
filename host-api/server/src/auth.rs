//! Who may ask: bearer tokens (RFC 6750) from a file. Clients of registries send them as passwords (RFC 7617).

use std::fmt;

use axum::http::{HeaderMap, header::AUTHORIZATION};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};
use verdict::core::name::Tenant;

/// The shortest token, in bytes: 128 bits in base64 have 22.
const TOKEN_BYTES_MIN: usize = 22;

/// Callers and the hashes of their tokens.
#[derive(Clone, Default)]
pub struct Tokens(Vec<(Caller, [u8; 32])>);

/// One who may ask.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Caller {
    name: String,
    json: String,
    /// None: every tenant.
    tenant: Option<Tenant>,
}

impl Caller {
    fn new(name: &str, tenant: Option<Tenant>) -> Self {
        Self { name: name.into(), json: serde_json::json!({ "name": name }).to_string(), tenant }
    }

    /// As the token file has it.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// As a record commits to it, and as evidence keeps it.
    pub(crate) fn json(&self) -> &str {
        &self.json
    }

    /// Whether this caller is for every tenant.
    pub(crate) fn is_of_all(&self) -> bool {
        self.tenant.is_none()
    }

    /// Whether what belongs to a tenant is there for this caller.
    pub(crate) fn may_see(&self, tenant: &Tenant) -> bool {
        self.tenant.as_ref().is_none_or(|own| own == tenant)
    }
}

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
            tokens.push((Caller::new(name, tenant), Sha256::digest(token).into()));
        }
        if tokens.is_empty() { Err(TokenError::Empty) } else { Ok(Self(tokens)) }
    }

    /// Who the request comes from; none where no token of the file was given.
    pub(crate) fn caller(&self, headers: &HeaderMap) -> Option<&Caller> {
        let value = headers.get(AUTHORIZATION)?.to_str().ok()?;
        let (scheme, token) = value.split_once(' ')?;
        if scheme.eq_ignore_ascii_case("bearer") { self.of_token(token.trim()) } else { None }
    }

    /// As [`caller`](Self::caller), with the token also as the password of any user.
    pub(crate) fn caller_or_user(&self, headers: &HeaderMap) -> Option<&Caller> {
        let (scheme, text) = headers.get(AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
        if !scheme.eq_ignore_ascii_case("basic") {
            return self.caller(headers);
        }
        let text = String::from_utf8(STANDARD.decode(text.trim()).ok()?).ok()?;
        let (_user, token) = text.split_once(':')?;
        self.of_token(token)
    }

    fn of_token(&self, token: &str) -> Option<&Caller> {
        // Comparing hashes tells an attacker who measures time nothing about the token.
        let hash: [u8; 32] = Sha256::digest(token).into();
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

    const FILE: &str =
        "# who may ask\n\nshop 0123456789abcdefghijklmn\nteller 9876543210abcdefghijklmn bank\n";

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
    fn a_token_may_be_the_password_of_any_user() {
        let tokens = Tokens::parse(FILE).unwrap();
        let caller = |authorization: String| {
            let mut headers = HeaderMap::new();
            headers.insert(AUTHORIZATION, authorization.parse().unwrap());
            tokens.caller_or_user(&headers).map(|caller| caller.name().to_owned())
        };
        let basic = |text: &str| format!("Basic {}", STANDARD.encode(text));
        assert_eq!(caller(basic("anybody:0123456789abcdefghijklmn")).as_deref(), Some("shop"));
        assert_eq!(caller(basic(":9876543210abcdefghijklmn")).as_deref(), Some("teller"));
        assert_eq!(caller("Bearer 0123456789abcdefghijklmn".into()).as_deref(), Some("shop"));
        for wrong in [basic("0123456789abcdefghijklmn"), basic("0123456789abcdefghijklmn:"), "Basic !".into()]
        {
            assert_eq!(caller(wrong.clone()), None, "{wrong}");
        }
    }

    #[test]
    fn a_token_of_a_tenant_is_for_that_one_only() {
        let tokens = Tokens::parse(FILE).unwrap();
        let (bank, other) = ("bank".parse().unwrap(), "other".parse().unwrap());
        let teller = tokens.of_token("9876543210abcdefghijklmn").unwrap();
        assert!(teller.may_see(&bank) && !teller.may_see(&other));
        let shop = tokens.of_token("0123456789abcdefghijklmn").unwrap();
        assert!(shop.may_see(&bank) && shop.may_see(&other));
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
