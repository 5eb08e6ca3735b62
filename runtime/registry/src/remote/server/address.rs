//! Where a server is, and the token that it knows us by.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use crate::remote::credentials::Credentials;
use crate::remote::error::RemoteError;
use crate::remote::reference::RegistryHost;

const TOKEN_BYTES_MAX: usize = 16 << 10;

/// The address of a server: `https://HOST[:PORT]`, `http://HOST[:PORT]`, or `unix:PATH` for a socket on this machine.
/// Over `http://` whoever is on the way reads and changes everything, the token too.
#[derive(Clone, PartialEq, Eq)]
pub struct ServerUrl {
    host: RegistryHost,
    plain_http: bool,
    socket: Option<PathBuf>,
}

impl ServerUrl {
    /// Host and port; `localhost` for a socket.
    pub fn host(&self) -> &RegistryHost {
        &self.host
    }

    /// Whether it is spoken to without TLS.
    pub fn is_plain(&self) -> bool {
        self.plain_http
    }

    pub(crate) fn socket(&self) -> Option<&Path> {
        self.socket.as_deref()
    }
}

impl FromStr for ServerUrl {
    type Err = RemoteError;

    fn from_str(text: &str) -> Result<Self, RemoteError> {
        let malformed = || RemoteError::Address(text.chars().take(200).collect());
        if let Some(path) = text.strip_prefix("unix:") {
            if path.is_empty() {
                return Err(malformed());
            }
            let host = "localhost".parse().map_err(|_| malformed())?;
            return Ok(Self { host, plain_http: true, socket: Some(path.into()) });
        }
        let (rest, plain_http) = match (text.strip_prefix("https://"), text.strip_prefix("http://")) {
            (Some(rest), _) => (rest, false),
            (_, Some(rest)) => (rest, true),
            _ => return Err(malformed()),
        };
        let host = rest.strip_suffix('/').unwrap_or(rest).parse().map_err(|_| malformed())?;
        Ok(Self { host, plain_http, socket: None })
    }
}

impl fmt::Display for ServerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.socket {
            Some(path) => write!(f, "unix:{}", path.display()),
            None => write!(f, "{}://{}", if self.plain_http { "http" } else { "https" }, self.host),
        }
    }
}

impl fmt::Debug for ServerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What a server knows somebody by: an API key, a token of its file, or a JSON Web Token. It is never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(String);

impl Token {
    pub(crate) fn credentials(self) -> Credentials {
        Credentials::Token(self.0)
    }
}

impl FromStr for Token {
    type Err = RemoteError;

    /// Space around it does not count.
    fn from_str(text: &str) -> Result<Self, RemoteError> {
        let token = text.trim();
        let good =
            (1..=TOKEN_BYTES_MAX).contains(&token.len()) && token.bytes().all(|b| b.is_ascii_graphic());
        if good { Ok(Self(token.into())) } else { Err(RemoteError::Token) }
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_addresses_and_prints_them_the_same() {
        for text in
            ["https://verdict.example", "http://127.0.0.1:8181", "https://[::1]:8", "unix:/run/v.sock"]
        {
            assert_eq!(text.parse::<ServerUrl>().unwrap().to_string(), text);
        }
        assert_eq!("https://Host.Example/".parse::<ServerUrl>().unwrap().to_string(), "https://host.example");
        assert!("http://h:1".parse::<ServerUrl>().unwrap().is_plain());
    }

    #[test]
    fn rejects_what_is_no_address_of_a_server() {
        for text in [
            "",
            "registry",
            "h:80",
            "ftp://h",
            "unix:",
            "https://",
            "https://h/path",
            "https://u:p@h",
            "http://h:0",
        ] {
            assert!(matches!(text.parse::<ServerUrl>(), Err(RemoteError::Address(_))), "{text}");
        }
    }

    #[test]
    fn a_token_is_one_line_and_never_shown() {
        let token: Token = " s3cret\n".parse().unwrap();
        assert!(token == Token("s3cret".into()) && !format!("{token:?}").contains("s3cret"));
        for text in ["", " ", "a b", "a\nb", "é", &"x".repeat(TOKEN_BYTES_MAX + 1)] {
            assert!(matches!(text.parse::<Token>(), Err(RemoteError::Token)), "{text}");
        }
    }
}
