//! How a registry asks who we are: `WWW-Authenticate` of RFC 9110, section 11.6.1.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http_auth::ChallengeRef;
use reqwest::Url;
use reqwest::header::{HeaderMap, WWW_AUTHENTICATE};

use super::credentials::Credentials;

/// The most that is read of what a registry asks, in bytes.
const CHALLENGE_BYTES_MAX: usize = 4 << 10;

/// One way to say who we are.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Challenge {
    /// With a name and a password.
    Basic,
    /// With a token that is issued elsewhere.
    Bearer {
        /// Where.
        realm: String,
        /// For whom.
        service: Option<String>,
        /// For what.
        scope: Option<String>,
    },
}

impl Challenge {
    /// Every way that an answer offers and that we know.
    pub(crate) fn all(headers: &HeaderMap) -> Vec<Self> {
        let texts = headers.get_all(WWW_AUTHENTICATE).iter().filter_map(|value| value.to_str().ok());
        let texts = texts.filter(|text| text.len() <= CHALLENGE_BYTES_MAX);
        // What comes after something malformed is not looked at.
        texts
            .flat_map(|text| http_auth::parse_challenges(text).unwrap_or_default())
            .filter_map(Self::of)
            .collect()
    }

    #[expect(clippy::needless_pass_by_value, reason = "it is the end of a chain of iterators")]
    fn of(challenge: ChallengeRef<'_>) -> Option<Self> {
        if challenge.scheme.eq_ignore_ascii_case("basic") {
            return Some(Self::Basic);
        }
        if !challenge.scheme.eq_ignore_ascii_case("bearer") {
            return None;
        }
        let parameter = |name: &str| {
            let found = challenge.params.iter().find(|(key, _)| key.eq_ignore_ascii_case(name));
            found.map(|(_, value)| value.to_unescaped())
        };
        Some(Self::Bearer {
            realm: parameter("realm")?,
            service: parameter("service"),
            scope: parameter("scope"),
        })
    }
}

/// The request for a token.
pub(crate) fn token_request(realm: &Url, service: Option<&str>, scope: &str) -> Url {
    let mut url = realm.clone();
    let mut query = url.query_pairs_mut();
    if let Some(service) = service {
        query.append_pair("service", service);
    }
    if !scope.is_empty() {
        query.append_pair("scope", scope);
    }
    drop(query);
    url
}

impl Credentials {
    /// The value of `Authorization` in RFC 7617's form, or the token as it is.
    pub(crate) fn basic(&self) -> String {
        match self {
            Self::Password { user, password } => {
                format!("Basic {}", STANDARD.encode(format!("{user}:{password}")))
            }
            Self::Token(token) => format!("Bearer {token}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use reqwest::header::HeaderValue;

    fn all(texts: &[&'static str]) -> Vec<Challenge> {
        let mut headers = HeaderMap::new();
        for text in texts {
            headers.append(WWW_AUTHENTICATE, HeaderValue::from_static(text));
        }
        Challenge::all(&headers)
    }

    #[test]
    fn reads_what_registries_ask() {
        let bearer = r#"Bearer realm="https://auth.example/token",service="registry.example",scope="repository:a/b:pull""#;
        let expected = Challenge::Bearer {
            realm: "https://auth.example/token".into(),
            service: Some("registry.example".into()),
            scope: Some("repository:a/b:pull".into()),
        };
        assert_eq!(all(&[bearer, "Basic realm=x"]), [expected, Challenge::Basic]);
        assert_eq!(
            all(&["Digest realm=x, Basic realm=\"y\"", "bearer service=x", "\"", ""]),
            [Challenge::Basic]
        );
    }

    #[test]
    fn asks_for_what_is_needed() {
        let realm = Url::parse("https://auth.example/token?a=b").unwrap();
        let url = token_request(&realm, Some("r e"), "repository:a/b:pull,push");
        assert_eq!(url.query(), Some("a=b&service=r+e&scope=repository%3Aa%2Fb%3Apull%2Cpush"));
    }
}
