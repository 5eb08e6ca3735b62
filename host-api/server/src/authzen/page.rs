//! The pages of a search (8.2): which one is asked for, and the token of the next.
//!
//! A token is opaque to callers. It has the request that it belongs to, as a digest, and how large its pages are, so
//! that a request with a token is answered only if it is the same one; and where the next page begins: a token of the
//! policy's own, or, where the policy gives all that it finds at once, how many results were given out. It is not
//! signed: whoever makes one up asks for what they may ask for anyway.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use verdict::core::digest::Digest;

use super::request::{given, input, object, string};
use crate::error::ApiError;

#[derive(Default, Deserialize)]
#[serde(default)]
struct Asked<'a> {
    #[serde(borrow, deserialize_with = "given")]
    token: Option<&'a RawValue>,
    #[serde(borrow, deserialize_with = "given")]
    limit: Option<&'a RawValue>,
    #[serde(borrow, deserialize_with = "given")]
    properties: Option<&'a RawValue>,
}

/// What is in a token, and what a page without one comes to.
#[derive(Serialize, Deserialize)]
struct Token {
    of: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    limit: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    properties: Option<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    begin: Option<Begin>,
}

/// Where a page begins.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Begin {
    /// After so many results of those that the policy gives.
    After(usize),
    /// Where the policy said.
    Policy(String),
}

/// The page that is asked for.
pub(super) struct Page {
    is_asked_for: bool,
    token: Token,
}

impl Page {
    /// Reads the page of a request; `of` is the digest of the request without it.
    pub(super) fn read(page: Option<&RawValue>, of: Digest) -> Result<Self, ApiError> {
        let is_asked_for = page.is_some();
        let asked: Asked<'_> = page.map_or(Ok(Asked::default()), |page| object("`page`", page.get()))?;
        let limit = asked.limit.map(limit).transpose()?;
        if asked.properties.is_some_and(|it| !it.get().starts_with('{')) {
            return Err(ApiError::bad_request("`page.properties` must be an object"));
        }
        let of = of.to_string();
        let Some(token) = asked.token else {
            let token = Token { of, limit, properties: asked.properties.map(ToOwned::to_owned), begin: None };
            return Ok(Self { is_asked_for, token });
        };
        let token = parse(&string("`page.token`", token)?)?;
        let properties = |it: Option<&RawValue>| it.map(|it| canonical(it.get()));
        let is_same = token.of == of
            && limit.is_none_or(|limit| token.limit == Some(limit))
            && asked
                .properties
                .is_none_or(|it| properties(Some(it)) == properties(token.properties.as_deref()));
        if !is_same {
            return Err(ApiError::bad_request(
                "`page.token` belongs to another request; only the token may differ",
            ));
        }
        Ok(Self { is_asked_for, token })
    }

    pub(super) fn is_asked_for(&self) -> bool {
        self.is_asked_for
    }

    /// The most results that the caller wants; any number if nothing is said.
    pub(super) fn limit(&self) -> Option<u64> {
        self.token.limit
    }

    pub(super) fn begin(&self) -> Option<&Begin> {
        self.token.begin.as_ref()
    }

    /// As the policy is told; none where the caller wants no pages.
    pub(super) fn input(&self) -> Option<String> {
        let token = match &self.token.begin {
            Some(Begin::Policy(token)) => serde_json::to_string(token).ok(),
            _ => None,
        };
        let limit = self.token.limit.map(|limit| limit.to_string());
        let properties = self.token.properties.as_deref().map(RawValue::get);
        let page = [("token", token.as_deref()), ("limit", limit.as_deref()), ("properties", properties)];
        self.is_asked_for.then(|| input(&page))
    }

    /// The token of the page that begins there.
    pub(super) fn next(self, begin: Begin) -> String {
        let token = Token { begin: Some(begin), ..self.token };
        // All of it has a form in JSON.
        URL_SAFE_NO_PAD.encode(serde_json::to_vec(&token).unwrap_or_default())
    }
}

fn parse(token: &str) -> Result<Token, ApiError> {
    let bytes = URL_SAFE_NO_PAD.decode(token).ok();
    let token = bytes.and_then(|bytes| serde_json::from_slice::<Token>(&bytes).ok());
    let token = token.filter(|token| token.begin.is_some());
    token.ok_or_else(|| ApiError::bad_request("`page.token` is none that was given out here"))
}

fn limit(value: &RawValue) -> Result<u64, ApiError> {
    let limit = value.get().parse();
    limit.map_err(|_| ApiError::bad_request("`page.limit` must be an integer that is not negative"))
}

/// One text for what means the same, whatever the order of its members and the space between them.
pub(super) fn canonical(text: &str) -> String {
    let value = serde_json::from_str::<serde_json::Value>(text).ok();
    // With a number that no double has, it is only the same if it is written in the same way.
    value.and_then(|value| verdict::core::jcs::canonical(&value).ok()).unwrap_or_else(|| text.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(text: &str, of: &str) -> Result<Page, String> {
        let raw: &RawValue = serde_json::from_str(text).unwrap();
        Page::read(Some(raw), Digest::of(of.as_bytes())).map_err(|error| error.message().to_owned())
    }

    fn next(page: Page) -> String {
        serde_json::to_string(&page.next(Begin::Policy("there".into()))).unwrap()
    }

    #[test]
    fn a_token_carries_the_page_and_belongs_to_its_request() {
        let token = next(page(r#"{"limit": 2, "properties": {"b": 1.0, "a": 2}}"#, "request").unwrap());
        for same in [
            format!(r#"{{"token": {token}}}"#),
            format!(r#"{{"token": {token}, "limit": 2, "properties": {{"a":2,"b":1}}, "unknown": 7}}"#),
        ] {
            let page = page(&same, "request").unwrap();
            assert_eq!((page.limit(), page.begin()), (Some(2), Some(&Begin::Policy("there".into()))));
            let input = r#"{"token":"there","limit":2,"properties":{"b": 1.0, "a": 2}}"#;
            assert_eq!(page.input().as_deref(), Some(input));
        }
        assert!(page(&format!(r#"{{"token": {token}}}"#), "another").is_err());
        for changed in [r#""limit": 3"#, r#""properties": {"a": 3}"#, r#""properties": {}"#] {
            assert!(page(&format!(r#"{{"token": {token}, {changed}}}"#), "request").is_err(), "{changed}");
        }
    }

    #[test]
    fn a_token_that_was_not_given_out_is_refused() {
        for token in ["", "x", "e30", "eyJvZiI6IiJ9", "//"] {
            assert!(page(&format!(r#"{{"token": "{token}"}}"#), "request").is_err(), "{token}");
        }
        for page_text in [
            "[]",
            "7",
            r#"{"token": 7}"#,
            r#"{"limit": -1}"#,
            r#"{"limit": 1.5}"#,
            r#"{"limit": "1"}"#,
            r#"{"properties": 7}"#,
        ] {
            assert!(page(page_text, "request").is_err(), "{page_text}");
        }
    }
}
