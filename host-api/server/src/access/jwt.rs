//! JSON Web Tokens (RFC 7519) of one issuer. What a token says of its own algorithm or key decides nothing.

use std::collections::BTreeSet;
use std::time::Instant;

use jsonwebtoken::crypto::{CryptoProvider, aws_lc};
use jsonwebtoken::{Validation, decode, decode_header};
use serde_json::{Map, Value};
use verdict::core::name::Tenant;

use super::jwks::{Jwks, KeySet, NoKey};
use super::principal::{Principal, Role};

/// The longest token, in bytes.
const TOKEN_BYTES_MAX: usize = 16 << 10;
/// The longest subject, in bytes, so that events can name it whole.
const SUBJECT_BYTES_MAX: usize = 240;
/// How far the clocks of issuer and host may be apart, in seconds.
const LEEWAY_S: u64 = 30;
/// What stands for all tenants in a claim.
const ALL_TENANTS: &str = "*";

/// Whose JSON Web Tokens count.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JwtOptions {
    /// What `iss` must be.
    pub issuer: String,
    /// What `aud` must have.
    pub audience: String,
    /// Where the issuer's keys are.
    pub jwks: Jwks,
    /// The claim with the roles, a list or a text with spaces; one that starts with `/` is a JSON pointer (RFC 6901)
    /// into the claims. What is no role of Verdict's in it does not count.
    pub roles_claim: String,
    /// The claim with the tenant, or with `*` for all; a pointer as well. A token with roles must have it.
    pub tenant_claim: String,
}

impl JwtOptions {
    /// With the claims `roles` and `tenant`.
    pub fn new(issuer: impl Into<String>, audience: impl Into<String>, jwks: Jwks) -> Self {
        let (roles_claim, tenant_claim) = ("roles".into(), "tenant".into());
        Self { issuer: issuer.into(), audience: audience.into(), jwks, roles_claim, tenant_claim }
    }
}

/// A token proves nothing.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum JwtError {
    /// It is not right.
    Refused(String),
    /// The issuer's keys cannot be had.
    Unavailable,
}

/// Checks tokens.
#[derive(Debug)]
pub(super) struct Tokens {
    options: JwtOptions,
    keys: KeySet,
}

impl Tokens {
    pub(super) async fn open(options: JwtOptions) -> Result<Self, String> {
        // Else the library chooses by the features that all crates together ask for, and panics where they ask for two.
        // Fails only where one is installed already.
        let _ = CryptoProvider::install_default(&aws_lc::DEFAULT_PROVIDER);
        let keys = KeySet::open(&options.jwks, Instant::now()).await?;
        Ok(Self { options, keys })
    }

    /// Who a token is about.
    pub(super) async fn principal(&self, token: &str) -> Result<Principal, JwtError> {
        if token.len() > TOKEN_BYTES_MAX {
            return Err(refused(&format!("it has more than {TOKEN_BYTES_MAX} bytes")));
        }
        let header = decode_header(token).map_err(|error| refused(&error))?;
        // RFC 7515, section 4.1.11: what is critical must be understood, and nothing is.
        if header.crit.is_some() {
            return Err(refused(&"it has critical extensions, and none is known here"));
        }
        let Some(id) = header.kid else { return Err(refused(&"its header names no key (`kid`)")) };
        let key = self.keys.key(&id, Instant::now()).await.map_err(|error| match error {
            NoKey::Unknown => refused(&"the issuer has no such key"),
            NoKey::Unavailable => JwtError::Unavailable,
        })?;
        let mut validation = Validation::new(key.algorithm);
        validation.leeway = LEEWAY_S;
        validation.validate_nbf = true;
        validation.set_issuer(&[&self.options.issuer]);
        validation.set_audience(&[&self.options.audience]);
        validation.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
        let token = decode::<Map<String, Value>>(token, &key.key, &validation);
        self.read(token.map_err(|error| refused(&error))?.claims)
    }

    fn read(&self, claims: Map<String, Value>) -> Result<Principal, JwtError> {
        let claims = Value::Object(claims);
        // The library takes a list of issuers for any one of them.
        if claims.get("iss").and_then(Value::as_str) != Some(&self.options.issuer) {
            return Err(refused(&"`iss` is not one issuer"));
        }
        let subject = claims.get("sub").and_then(Value::as_str).unwrap_or_default();
        if subject.is_empty() || subject.len() > SUBJECT_BYTES_MAX || subject.chars().any(char::is_control) {
            return Err(refused(&format!("`sub` must have 1 to {SUBJECT_BYTES_MAX} bytes and no controls")));
        }
        let roles = roles(claim(&claims, &self.options.roles_claim));
        let tenant = tenant(claim(&claims, &self.options.tenant_claim))?;
        match tenant {
            // Nobody has a role for all tenants because a claim was forgotten.
            None if !roles.is_empty() => Err(refused(&format!(
                "it has roles and no claim `{}`, which is a tenant's name, or `{ALL_TENANTS}` for all",
                self.options.tenant_claim
            ))),
            tenant => Ok(Principal::jwt(subject, tenant.flatten(), roles)),
        }
    }
}

fn refused(reason: &dyn std::fmt::Display) -> JwtError {
    JwtError::Refused(reason.to_string())
}

fn claim<'a>(claims: &'a Value, name: &str) -> Option<&'a Value> {
    let found = if name.starts_with('/') { claims.pointer(name) } else { claims.get(name) };
    found.filter(|value| !value.is_null())
}

fn roles(claim: Option<&Value>) -> BTreeSet<Role> {
    match claim {
        Some(Value::String(text)) => text.split(' ').filter_map(|word| word.parse().ok()).collect(),
        Some(Value::Array(list)) => {
            list.iter().filter_map(Value::as_str).filter_map(|word| word.parse().ok()).collect()
        }
        _ => BTreeSet::new(),
    }
}

/// Nothing where the claim is not there; in it, no tenant stands for all.
#[expect(clippy::option_option, reason = "a claim that is not there differs from one for all tenants")]
fn tenant(claim: Option<&Value>) -> Result<Option<Option<Tenant>>, JwtError> {
    match claim {
        None => Ok(None),
        Some(Value::String(text)) if text == ALL_TENANTS => Ok(Some(None)),
        Some(Value::String(text)) => match text.parse() {
            Ok(tenant) => Ok(Some(Some(tenant))),
            Err(_) => Err(refused(&"its tenant is not a tenant's name")),
        },
        Some(_) => Err(refused(&"its tenant is not a text")),
    }
}
