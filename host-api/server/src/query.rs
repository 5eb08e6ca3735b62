//! The query of a question: where it is asked, and what its answer is to say besides.

use std::borrow::Cow;

use serde::Deserialize;
use verdict::core::name::{ChannelName, NameError};

use crate::error::ApiError;

/// What the query of a question says.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Wanted {
    pub(crate) channel: Option<ChannelName>,
    /// As in the body.
    pub(crate) rule: Option<String>,
    /// As in the body.
    pub(crate) id: Option<String>,
    /// Whether the body is the input, and the answer the value.
    pub(crate) raw: bool,
    pub(crate) more: More,
}

/// What an answer says besides.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct More {
    /// What answered, by what rules, and where the proof is.
    pub(crate) provenance: bool,
    /// What it took.
    pub(crate) metrics: bool,
    /// What was read, and which reasons rest on it.
    pub(crate) explain: bool,
}

/// A question's own parameters.
pub(crate) const OF_QUESTION: &[&str] = &["channel", "rule", "id", "raw", "provenance", "metrics", "explain"];
/// The parameters of several questions together.
pub(crate) const OF_BATCH: &[&str] = &["channel", "provenance", "metrics", "explain"];

/// The query of a route that has no parameters.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Nothing {}

impl More {
    pub(crate) fn is_any(self) -> bool {
        self != Self::default()
    }
}

impl Wanted {
    /// Reads a query that may have these parameters, each once. What is not understood is refused: whoever misspells
    /// `channel` must not be answered by another one.
    ///
    /// # Errors
    /// 400, which lists what may be there.
    pub(crate) fn read(query: Option<&str>, known: &[&str]) -> Result<Self, ApiError> {
        let mut wanted = Self::default();
        let Some(query) = query.filter(|query| !query.is_empty()) else { return Ok(wanted) };
        let mut seen = Vec::new();
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            if !known.contains(&&*name) {
                let known = known.join("`, `");
                let name: String = name.chars().take(80).collect();
                let message = format!("the query has no `{name}`; it may have `{known}`");
                return Err(ApiError::bad_request(message));
            }
            if seen.contains(&name) {
                return Err(ApiError::bad_request(format!("the query has `{name}` twice")));
            }
            wanted.note(&name, value)?;
            seen.push(name);
        }
        if wanted.raw && wanted.more.is_any() {
            let message =
                "an answer to `raw` is the value alone; ask without `provenance`, `metrics` and `explain`";
            return Err(ApiError::bad_request(message));
        }
        Ok(wanted)
    }

    fn note(&mut self, name: &str, value: Cow<'_, str>) -> Result<(), ApiError> {
        match name {
            "channel" => {
                let malformed = |error: NameError| ApiError::bad_request(error.to_string());
                self.channel = Some(value.parse().map_err(malformed)?);
            }
            "rule" => self.rule = Some(value.into_owned()),
            "id" => self.id = Some(value.into_owned()),
            "raw" => self.raw = flag(name, &value)?,
            "provenance" => self.more.provenance = flag(name, &value)?,
            "metrics" => self.more.metrics = flag(name, &value)?,
            "explain" => self.more.explain = flag(name, &value)?,
            // Whoever lists more parameters than these has to say what they are.
            _ => return Err(ApiError::bad_request(format!("`{name}` is not understood"))),
        }
        Ok(())
    }
}

/// `?name`, `?name=true` or `?name=false`.
fn flag(name: &str, value: &str) -> Result<bool, ApiError> {
    match value {
        "" | "true" => Ok(true),
        "false" => Ok(false),
        _ => Err(ApiError::bad_request(format!("`{name}` is there, `true` or `false`"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(query: &str) -> Result<Wanted, String> {
        Wanted::read(Some(query), OF_QUESTION).map_err(|error| error.message().to_owned())
    }

    #[test]
    fn nothing_is_wanted_by_nobody_who_says_so() {
        assert_eq!(Wanted::read(None, OF_QUESTION).unwrap(), Wanted::default());
        assert_eq!(read(""), Ok(Wanted::default()));
    }

    #[test]
    fn parameters_come_in_any_order_and_flags_need_no_value() {
        let more = More { provenance: true, metrics: true, explain: false };
        let expected = Wanted {
            channel: Some("staging".parse().unwrap()),
            rule: Some("a b".into()),
            id: Some("d-1".into()),
            raw: false,
            more,
        };
        assert_eq!(
            read("metrics=true&rule=a%20b&channel=staging&provenance&id=d-1&explain=false"),
            Ok(expected)
        );
        assert_eq!(read("raw&id=d"), Ok(Wanted { raw: true, id: Some("d".into()), ..Wanted::default() }));
    }

    #[test]
    fn what_is_not_understood_is_refused_with_what_is_known() {
        let error = read("chanel=staging").unwrap_err();
        assert!(error.contains("`chanel`") && error.contains("`channel`, `rule`, `id`"), "{error}");
        for query in
            ["channel=", "channel=a%00", "raw=1", "metrics&metrics", "raw&explain", "channel=a&channel=b"]
        {
            assert!(read(query).is_err(), "{query}");
        }
        assert!(Wanted::read(Some("raw"), OF_BATCH).is_err());
    }
}
