//! Parameters of a query, and those that go into a `Link`.

use super::error::{Code, OciError};

/// The parameters of a request.
pub(crate) struct Query(Vec<(String, String)>);

impl Query {
    pub(crate) fn of(uri: &axum::http::Uri) -> Self {
        let pairs = form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes());
        Self(pairs.into_owned().collect())
    }

    /// The first value of a parameter.
    pub(crate) fn one(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_str())
    }

    /// How many entries are wanted.
    pub(crate) fn count(&self) -> Result<Option<u32>, OciError> {
        let Some(text) = self.one("n") else { return Ok(None) };
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        if !digits {
            return Err(OciError::bad(Code::Unsupported, "`n` is not a number of entries"));
        }
        // More than there can be is all of them.
        Ok(Some(text.parse().unwrap_or(u32::MAX)))
    }
}

/// The value of a `Link` header (RFC 8288) to the next page.
pub(crate) fn next(path: &str, parameters: &[(&str, &str)]) -> String {
    let mut query = form_urlencoded::Serializer::new(String::new());
    for (name, value) in parameters {
        query.append_pair(name, value);
    }
    format!("<{path}?{}>; rel=\"next\"", query.finish())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn query(text: &str) -> Query {
        Query::of(&format!("/v2/a/b/tags/list?{text}").parse().unwrap())
    }

    #[test]
    fn reads_what_it_writes() {
        let link = next("/v2/a/b/referrers/x", &[("artifactType", "application/a+b &c"), ("n", "2")]);
        let uri = link.strip_prefix('<').unwrap().split_once('>').unwrap().0;
        let query = Query::of(&uri.parse().unwrap());
        assert_eq!(query.one("artifactType"), Some("application/a+b &c"));
        assert_eq!(query.count().unwrap(), Some(2));
        assert!(link.ends_with("; rel=\"next\""));
    }

    #[test]
    fn takes_only_numbers_for_numbers() {
        assert_eq!(query("").count().unwrap(), None);
        assert_eq!(query("n=99999999999999999999").count().unwrap(), Some(u32::MAX));
        for text in ["n=", "n=-1", "n=+1", "n=x", "n=1.5"] {
            assert!(query(text).count().is_err(), "{text}");
        }
    }
}
