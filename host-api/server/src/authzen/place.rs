//! Where the protocol is served.

use std::str::FromStr;

use axum::http::uri::Authority;
use verdict::core::name::PolicyName;

/// Where the documents are that say what a policy decision point has.
pub(super) const WELL_KNOWN: &str = "/.well-known/authzen-configuration";

/// What callers of AuthZEN find.
#[derive(Debug, Clone, Default)]
pub struct AuthZen {
    /// The policy that is asked at the root; any other is below its own path.
    pub policy: Option<PolicyName>,
    /// The server as its callers name it; what they say in `Host`, with `https`, if nothing is said here.
    pub url: Option<PublicUrl>,
}

/// A server as its callers name it: `https://HOST`, with a port where it is not the default.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicUrl(String);

/// The text is not the address of a server.
#[derive(Debug, thiserror::Error)]
#[error(
    "`{0}` is not the address of a server; expected `https://HOST`, with a port where it is not the default"
)]
pub struct UrlError(String);

impl PublicUrl {
    /// As text, without a slash at the end.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for PublicUrl {
    type Err = UrlError;

    fn from_str(text: &str) -> Result<Self, UrlError> {
        let authority = text.strip_prefix("https://").and_then(|rest| rest.parse::<Authority>().ok());
        let is_host =
            |authority: &Authority| !authority.host().is_empty() && !authority.as_str().contains('@');
        match authority.filter(is_host) {
            Some(authority) => Ok(Self(format!("https://{authority}"))),
            None => Err(UrlError(text.into())),
        }
    }
}

/// Whether a path is the protocol's.
pub(crate) fn is_here(path: &str) -> bool {
    let well_known = path.strip_prefix(WELL_KNOWN);
    path.starts_with("/access/v1/")
        || well_known.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        || path.strip_prefix("/v1/tenants/").is_some_and(is_below_policy)
}

/// `TENANT/policies/POLICY/access/v1/…`.
fn is_below_policy(path: &str) -> bool {
    let mut parts = path.splitn(4, '/').skip(1);
    parts.next() == Some("policies") && parts.nth(1).is_some_and(|rest| rest.starts_with("access/v1/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_protocols_own_paths_are_its() {
        for path in [
            "/access/v1/evaluation",
            "/v1/tenants/a/policies/b/access/v1/search/subject",
            "/.well-known/authzen-configuration",
            "/.well-known/authzen-configuration/v1/tenants/a/policies/b",
        ] {
            assert!(is_here(path), "{path}");
        }
        for path in [
            "/",
            "/access/v2/evaluation",
            "/v1/tenants/a/policies/b/decide",
            "/v1/tenants/a/policies/access/v1/",
            "/v1/access/v1/evaluation",
            "/.well-known/authzen-configurations",
        ] {
            assert!(!is_here(path), "{path}");
        }
    }

    #[test]
    fn a_server_is_named_by_https_and_a_host() {
        for text in ["https://pdp.example.com", "https://pdp.example.com:8443", "https://[::1]:8181"] {
            assert_eq!(text.parse::<PublicUrl>().unwrap().as_str(), text);
        }
        for text in [
            "",
            "https://",
            "http://a",
            "https://a/b",
            "https://a?b",
            "https://u@a",
            "https://a#b",
            "https://:1",
        ] {
            assert!(text.parse::<PublicUrl>().is_err(), "{text}");
        }
    }
}
