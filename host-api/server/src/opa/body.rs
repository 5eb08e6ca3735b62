//! What a request brings: an input, or many.

use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, header};
use hyper::body::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::call::Call;
use super::refused::Refused;

/// What is asked where no input is given: nothing that a rule looks for is in it.
const NO_INPUT: &str = "{}";

/// An input, and whether the client gave it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Input {
    pub(super) text: String,
    pub(super) is_given: bool,
}

impl Input {
    fn of(given: Option<&RawValue>) -> Self {
        let text = given.map_or(NO_INPUT, RawValue::get).to_owned();
        Self { text, is_given: given.is_some() }
    }

    /// From the query.
    pub(super) fn of_query(text: Option<&str>) -> Result<Self, Refused> {
        let malformed =
            |error| Refused::invalid(format!("parameter contains malformed input document: {error}"));
        Ok(Self::of(text.map(serde_json::from_str).transpose().map_err(malformed)?))
    }

    /// From a body `{"input": …}`. Other members are metadata of the request, which say nothing here.
    pub(super) fn of_body(bytes: &[u8]) -> Result<Self, Refused> {
        #[derive(Deserialize)]
        struct Members<'a> {
            #[serde(borrow)]
            input: Option<&'a RawValue>,
        }
        let members: Option<Members<'_>> = members(bytes)?;
        Ok(Self::of(members.and_then(|members| members.input)))
    }

    /// A body that is the input itself.
    pub(super) fn of_whole_body(bytes: &[u8]) -> Result<Self, Refused> {
        if bytes.trim_ascii().is_empty() {
            return Ok(Self { text: "null".into(), is_given: false });
        }
        let text: &RawValue = serde_json::from_slice(bytes).map_err(|error| {
            Refused::invalid(format!(
                "unexpected parse error for input: body contains malformed input document: {error}"
            ))
        })?;
        Ok(Self::of(Some(text)))
    }
}

/// The object that a body is; none where it is empty or null, which says as much as an empty object.
pub(super) fn members<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<Option<T>, Refused> {
    let malformed = |error: &dyn std::fmt::Display| {
        Refused::invalid(format!("body contains malformed input document: {error}"))
    };
    let bytes = bytes.trim_ascii();
    match bytes.first() {
        None => Ok(None),
        // What is derived for structures would also take a list of their members.
        Some(b'[') => Err(malformed(&"expected an object")),
        Some(_) => serde_json::from_slice(bytes).map_err(|error| malformed(&error)),
    }
}

/// The whole body.
pub(super) async fn read(call: &Call, body: Body) -> Result<Bytes, Refused> {
    plain(&call.headers)?;
    to_bytes(body, call.app.body_bytes_max).await.map_err(|error| {
        let is_long = std::error::Error::source(&error)
            .is_some_and(|source| source.is::<http_body_util::LengthLimitError>());
        let message = if is_long { "request body too large" } else { "the body broke off" };
        Refused::invalid(message)
    })
}

/// OPA also reads YAML, and what is compressed; here an input is recorded as it was sent, which is JSON.
fn plain(headers: &HeaderMap) -> Result<(), Refused> {
    let value = |name| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if value(header::CONTENT_TYPE).contains("yaml") {
        return Err(Refused::invalid("the body is YAML; send JSON"));
    }
    match value(header::CONTENT_ENCODING) {
        "" | "identity" => Ok(()),
        encoding => Err(Refused::invalid(format!("the body is encoded as `{encoding}`; send it as it is"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of_body(text: &str) -> Option<(String, bool)> {
        Input::of_body(text.as_bytes()).ok().map(|input| (input.text, input.is_given))
    }

    #[test]
    fn a_body_without_an_input_asks_with_an_empty_one() {
        for text in ["", " ", "null", "{}", r#"{"input": null}"#, r#"{"other": {"input": 1}}"#] {
            assert_eq!(of_body(text), Some(("{}".into(), false)), "{text}");
        }
        assert_eq!(of_body(r#"{"x": 1, "input": 1e400 }"#), Some(("1e400".into(), true)));
        for text in
            ["[]", "1", "{", r#"{"input": 1} x"#, r#"{"input": 1, "input": 2}"#, "{\"input\":\"\u{0}\"}"]
        {
            assert_eq!(of_body(text), None, "{text}");
        }
    }

    #[test]
    fn an_empty_body_of_the_webhook_route_is_null() {
        let whole = |text: &str| Input::of_whole_body(text.as_bytes()).ok().map(|input| input.text);
        assert_eq!(whole(""), Some("null".into()));
        assert_eq!(whole("[1, 2]"), Some("[1, 2]".into()));
        assert_eq!(whole("[1,"), None);
    }
}
