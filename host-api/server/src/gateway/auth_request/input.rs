//! What a policy is asked about a request: its head, as nginx passes it on.

use std::borrow::Cow;
use std::collections::BTreeMap;

use axum::http::header::{AUTHORIZATION, CONNECTION, CONTENT_LENGTH, COOKIE, HOST};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName};
use percent_encoding::percent_decode_str;
use serde::Serialize;

const METHOD: HeaderName = HeaderName::from_static("x-original-method");
const TARGET: HeaderName = HeaderName::from_static("x-original-uri");
const CREDENTIAL: HeaderName = HeaderName::from_static("x-original-authorization");
const CLIENT: HeaderName = HeaderName::from_static("x-real-ip");
/// Those that are the gateway's own, or members of their own.
const ELSEWHERE: [HeaderName; 8] =
    [AUTHORIZATION, CLIENT, CONNECTION, CONTENT_LENGTH, CREDENTIAL, HOST, METHOD, TARGET];

/// No question can be made of the headers.
#[derive(Debug, thiserror::Error)]
pub(super) enum InputError {
    #[error("there must be one header `{0}`; set it as `examples/nginx.conf` does")]
    Missing(HeaderName),
    #[error("the path of `x-original-uri` leads above the root")]
    AboveRoot,
    #[error("the request has no form in JSON: {0}")]
    Unwritable(#[from] serde_json::Error),
}

#[derive(Serialize)]
struct Input<'a> {
    method: Cow<'a, str>,
    /// As it came.
    uri: &'a str,
    path: &'a str,
    query: &'a str,
    parsed_path: Vec<String>,
    parsed_query: BTreeMap<Cow<'a, str>, Vec<Cow<'a, str>>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    host: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    client: Option<Cow<'a, str>>,
    headers: BTreeMap<&'a str, String>,
}

/// The input document.
///
/// # Errors
/// When nginx was not told to say method and target, which must never come from its client.
pub(super) fn document(parts: &Parts) -> Result<Vec<u8>, InputError> {
    let headers = &parts.headers;
    let uri = one(headers, &TARGET).ok_or(InputError::Missing(TARGET))?;
    let (path, query) = uri.split_once('?').unwrap_or((&uri, ""));
    let mut parsed_query = BTreeMap::<_, Vec<_>>::new();
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        parsed_query.entry(name).or_default().push(value);
    }
    let input = Input {
        method: one(headers, &METHOD).ok_or(InputError::Missing(METHOD))?,
        uri: &uri,
        path,
        query,
        parsed_path: steps(path)?,
        parsed_query,
        host: one(headers, &HOST),
        client: one(headers, &CLIENT),
        headers: others(headers),
    };
    Ok(serde_json::to_vec(&input)?)
}

/// The value of a header that is there once.
fn one<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<Cow<'a, str>> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (Some(value), None) => Some(String::from_utf8_lossy(value.as_bytes())),
        _ => None,
    }
}

/// The steps of a path as nginx takes them when it chooses a location: decoded, `.` and `..` followed, empty ones left
/// out. A policy that compares `path` would be deceived by `/%61dmin` and `/a/../admin`.
fn steps(path: &str) -> Result<Vec<String>, InputError> {
    let path = percent_decode_str(path).decode_utf8_lossy();
    let mut steps: Vec<String> = Vec::new();
    for step in path.split('/') {
        match step {
            "" | "." => {}
            ".." => drop(steps.pop().ok_or(InputError::AboveRoot)?),
            step => steps.push(step.into()),
        }
    }
    Ok(steps)
}

/// The headers by their lower-case names. Of several with one name the values are joined, as RFC 9110 has it; what is not
/// UTF-8 is replaced.
fn others(headers: &HeaderMap) -> BTreeMap<&str, String> {
    let mut all = BTreeMap::<&str, String>::new();
    let credential = headers.get_all(CREDENTIAL).iter().map(|value| (&AUTHORIZATION, value));
    for (name, value) in headers.iter().filter(|(name, _)| !ELSEWHERE.contains(name)).chain(credential) {
        let value = String::from_utf8_lossy(value.as_bytes());
        let joint = if *name == COOKIE { "; " } else { ", " };
        all.entry(name.as_str())
            .and_modify(|all| *all += &format!("{joint}{value}"))
            .or_insert_with(|| value.into());
    }
    all
}

#[cfg(test)]
mod tests {
    use axum::http::Request;
    use serde_json::{Value, json};

    use super::*;

    fn input(headers: &[(&str, &str)]) -> Result<Value, InputError> {
        let mut request = Request::builder();
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let (parts, ()) = request.body(()).unwrap().into_parts();
        document(&parts).map(|text| serde_json::from_slice(&text).unwrap())
    }

    #[test]
    fn the_head_of_a_request_is_the_input() {
        let headers = [
            ("Host", "shop.example"),
            ("Authorization", "Bearer the-gateway's-own"),
            ("X-Original-Authorization", "Basic YW5uOmE="),
            ("X-Original-Method", "PUT"),
            ("X-Original-URI", "/a/%62//./c/../d%2Fe?x=1&x=%32&y"),
            ("X-Real-IP", "192.0.2.7"),
            ("Cookie", "a=1"),
            ("Cookie", "b=2"),
            ("Accept", "text/html"),
            ("Accept", "*/*"),
            ("Content-Length", "0"),
        ];
        let expected = json!({
            "method": "PUT", "uri": "/a/%62//./c/../d%2Fe?x=1&x=%32&y", "path": "/a/%62//./c/../d%2Fe",
            "query": "x=1&x=%32&y", "parsed_path": ["a", "b", "d", "e"], "parsed_query": {"x": ["1", "2"], "y": [""]},
            "host": "shop.example", "client": "192.0.2.7",
            "headers": {"accept": "text/html, */*", "authorization": "Basic YW5uOmE=", "cookie": "a=1; b=2"},
        });
        assert_eq!(input(&headers).unwrap(), expected);
    }

    #[test]
    fn what_nginx_must_say_is_said_once() {
        let (method, target) = (("X-Original-Method", "GET"), ("X-Original-URI", "/"));
        assert!(input(&[method, target]).is_ok());
        for headers in
            [&[method][..], &[target], &[method, method, target], &[method, target, ("X-Original-URI", "/b")]]
        {
            assert!(matches!(input(headers), Err(InputError::Missing(_))), "{headers:?}");
        }
        assert!(matches!(input(&[method, ("X-Original-URI", "/a/../%2e%2e/b")]), Err(InputError::AboveRoot)));
    }
}
