//! Names of what a registry holds: `[oci://]HOST[:PORT]/REPOSITORY[:TAG|@DIGEST]`, as the OCI Distribution specification
//! spells repositories and tags. <https://github.com/opencontainers/distribution-spec/blob/v1.1.1/spec.md>

use std::fmt;
use std::net::Ipv6Addr;
use std::str::FromStr;

use semver::Version;
use verdict_core::digest::Digest;

const SCHEME: &str = "oci://";
const HOST_BYTES_MAX: usize = 253 + 6;
const PATH_BYTES_MAX: usize = 255;
const TAG_BYTES_MAX: usize = 128;

/// The text is not the name of something in a registry.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a reference ({wrong}); expected `[oci://]HOST[:PORT]/REPOSITORY[:TAG|@DIGEST]`")]
pub struct ReferenceError {
    text: String,
    wrong: &'static str,
}

impl ReferenceError {
    fn new(text: &str, wrong: &'static str) -> Self {
        Self { text: text.chars().take(200).collect(), wrong }
    }
}

/// Where a registry listens: `HOST` or `HOST:PORT`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RegistryHost(String);

impl RegistryHost {
    /// The name as it is written.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Where its API is. Only Docker's own registry has it under another name.
    pub(crate) fn api(&self) -> &str {
        if self.0 == "docker.io" { "registry-1.docker.io" } else { &self.0 }
    }
}

impl FromStr for RegistryHost {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Self, ReferenceError> {
        let error = || ReferenceError::new(text, "no good host name");
        let name = text.strip_prefix(SCHEME).unwrap_or(text);
        let (host, port) = match name.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
            _ => (name, None),
        };
        let bracketed = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        let good_host = match bracketed {
            Some(address) => address.parse::<Ipv6Addr>().is_ok(),
            None => host.split('.').all(is_label),
        };
        let good_port = port.is_none_or(|port| {
            port.bytes().all(|b| b.is_ascii_digit()) && port.parse::<u16>().is_ok_and(|port| port > 0)
        });
        if name.len() > HOST_BYTES_MAX || !good_host || !good_port {
            return Err(error());
        }
        Ok(Self(name.to_ascii_lowercase()))
    }
}

fn is_label(text: &str) -> bool {
    !text.is_empty()
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
        && !text.starts_with('-')
        && !text.ends_with('-')
}

impl fmt::Display for RegistryHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A repository of a registry: `HOST[:PORT]/PATH`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Repository {
    host: RegistryHost,
    path: String,
}

impl Repository {
    /// The repository `path` of a registry.
    ///
    /// # Errors
    /// When `path` is not lower-case names with slashes between them.
    pub fn of(host: &RegistryHost, path: &str) -> Result<Self, ReferenceError> {
        if path.len() > PATH_BYTES_MAX || !path.split('/').all(is_component) {
            let wrong = "a repository is lower-case names with `/` between them";
            return Err(ReferenceError::new(&format!("{host}/{path}"), wrong));
        }
        Ok(Self { host: host.clone(), path: path.into() })
    }

    /// The registry.
    pub fn host(&self) -> &RegistryHost {
        &self.host
    }

    /// Its name there.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The reference to it, which names nothing in it.
    pub fn untagged(self) -> Reference {
        Reference { repository: self, named: None }
    }

    /// The reference to a tag of it.
    pub fn tagged(&self, tag: Tag) -> Reference {
        Reference { repository: self.clone(), named: Some(Named::Tag(tag)) }
    }

    /// The reference to an image of it.
    pub fn digested(&self, digest: Digest) -> Reference {
        Reference { repository: self.clone(), named: Some(Named::Digest(digest)) }
    }
}

/// Letters and digits, with `.`, `_`, `__` or hyphens between them.
fn is_component(text: &str) -> bool {
    let is_alphanumeric = |b: u8| matches!(b, b'a'..=b'z' | b'0'..=b'9');
    let ends = [text.bytes().next(), text.bytes().next_back()];
    let good_separator =
        |separator: &str| matches!(separator, "" | "." | "_" | "__") || separator.bytes().all(|b| b == b'-');
    ends.iter().all(|end| end.is_some_and(is_alphanumeric))
        && text.split(|c: char| u8::try_from(c).is_ok_and(is_alphanumeric)).all(good_separator)
}

impl FromStr for Repository {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Self, ReferenceError> {
        match text.parse::<Reference>()? {
            Reference { repository, named: None } => Ok(repository),
            _ => Err(ReferenceError::new(text, "a repository has no tag and no digest")),
        }
    }
}

impl fmt::Display for Repository {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.host, self.path)
    }
}

/// A name that a repository gives to an image, and may give to another one later.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tag(String);

impl Tag {
    /// The tag of a version. Tags have no `+`, so `_` stands for it.
    ///
    /// # Errors
    /// When the version is too long for a tag.
    pub fn of_version(version: &Version) -> Result<Self, ReferenceError> {
        version.to_string().replace('+', "_").parse()
    }

    /// The version that the tag names, if it does; such a tag never moves.
    pub fn version(&self) -> Option<Version> {
        let text = self.0.strip_prefix('v').unwrap_or(&self.0);
        text.replacen('_', "+", 1).parse().ok()
    }

    /// Whether it holds the list of what refers to an image, where a registry has no API for that.
    pub fn is_of_referrers(&self) -> bool {
        self.0.strip_prefix("sha256-").is_some_and(|hex| Digest::from_hex(hex).is_ok())
    }

    /// The tag under which the referrers of an image are listed, where a registry has no API for that.
    pub(crate) fn of_referrers(image: Digest) -> Self {
        Self(format!("sha256-{}", image.hex()))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Tag {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Self, ReferenceError> {
        let is_word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
        let good = text.bytes().next().is_some_and(is_word)
            && text.bytes().all(|b| is_word(b) || matches!(b, b'.' | b'-'))
            && text.len() <= TAG_BYTES_MAX;
        let wrong = "a tag is letters, digits, `_`, `.` and `-`, at most 128";
        if good { Ok(Self(text.into())) } else { Err(ReferenceError::new(text, wrong)) }
    }
}

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What of a repository is meant.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Named {
    /// What the tag names now.
    Tag(Tag),
    /// Exactly this.
    Digest(Digest),
}

impl fmt::Display for Named {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tag(tag) => write!(f, ":{tag}"),
            Self::Digest(digest) => write!(f, "@{digest}"),
        }
    }
}

/// Something in a registry: a repository and, mostly, which image of it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Reference {
    repository: Repository,
    named: Option<Named>,
}

impl Reference {
    /// The repository.
    pub fn repository(&self) -> &Repository {
        &self.repository
    }

    /// Which image of it, if the reference says so.
    pub fn named(&self) -> Option<&Named> {
        self.named.as_ref()
    }
}

impl FromStr for Reference {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Self, ReferenceError> {
        let rest = text.strip_prefix(SCHEME).unwrap_or(text);
        let Some((host, rest)) = rest.split_once('/') else {
            return Err(ReferenceError::new(text, "it names no repository"));
        };
        let host = host.parse::<RegistryHost>().map_err(|error| ReferenceError::new(text, error.wrong))?;
        let (path, named) = match (rest.split_once('@'), rest.split_once(':')) {
            (Some((path, digest)), _) => {
                let digest = digest.parse().map_err(|_| {
                    ReferenceError::new(text, "a digest is `sha256:` and 64 hexadecimal digits")
                })?;
                (path, Some(Named::Digest(digest)))
            }
            (None, Some((path, tag))) => (
                path,
                Some(Named::Tag(
                    tag.parse().map_err(|error: ReferenceError| ReferenceError::new(text, error.wrong))?,
                )),
            ),
            (None, None) => (rest, None),
        };
        if path.contains(':') {
            return Err(ReferenceError::new(text, "it has a tag and a digest; name one of them"));
        }
        let repository =
            Repository::of(&host, path).map_err(|error| ReferenceError::new(text, error.wrong))?;
        Ok(Self { repository, named })
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.repository)?;
        self.named.as_ref().map_or(Ok(()), |named| write!(f, "{named}"))
    }
}

macro_rules! debug_as_display {
    ($($name:ident),*) => {
        $(impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        })*
    };
}

debug_as_display!(RegistryHost, Repository, Tag, Named, Reference);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_registries_print() {
        let digest = Digest::of(b"");
        for (text, host, path, named) in [
            ("localhost:5000/loan", "localhost:5000", "loan", None),
            (
                "oci://registry.example/bank/loan:1.2.0",
                "registry.example",
                "bank/loan",
                Some(":1.2.0".into()),
            ),
            ("[::1]:5000/a__b/c-d--e.f:v1_x", "[::1]:5000", "a__b/c-d--e.f", Some(":v1_x".into())),
            (&format!("127.0.0.1:80/x@{digest}"), "127.0.0.1:80", "x", Some(format!("@{digest}"))),
        ] {
            let reference: Reference = text.parse().unwrap();
            assert_eq!((reference.repository().host().as_str(), reference.repository().path()), (host, path));
            assert_eq!(reference.named().map(ToString::to_string), named, "{text}");
            assert_eq!(reference.to_string(), text.trim_start_matches("oci://"));
        }
    }

    #[test]
    fn rejects_what_would_be_another_address() {
        let both = format!("h/a:1@{}", Digest::of(b""));
        for text in [
            "",
            "h",
            "h/",
            "/a",
            "h//a",
            "h/a/",
            "h/A",
            "h/../a",
            "h/a..b",
            "h/a?b",
            "h/a%2f",
            "h/a b",
            "h/a:",
            "h/a:-x",
            "h/a:b:c",
            "h/a@sha256:0",
            "h:0/a",
            "h:99999/a",
            "h:+1/a",
            "user@h/a",
            "h.:1/a",
            "-h/a",
            "http://h/a",
            "[::g]/a",
            "h/_a",
            "h/a___b",
            &both,
        ] {
            assert!(text.parse::<Reference>().is_err(), "{text}");
        }
    }

    #[test]
    fn knows_the_tags_that_never_move() {
        for (tag, version) in
            [("1.2.0", "1.2.0"), ("v1.2.0", "1.2.0"), ("1.0.0-rc.1_build.5", "1.0.0-rc.1+build.5")]
        {
            assert_eq!(tag.parse::<Tag>().unwrap().version(), Some(version.parse().unwrap()));
        }
        for tag in ["latest", "1.2", "stable"] {
            assert_eq!(tag.parse::<Tag>().unwrap().version(), None);
        }
        let version = "1.0.0+x.1".parse().unwrap();
        assert_eq!(Tag::of_version(&version).unwrap().version(), Some(version));
        assert!(Tag::of_referrers(Digest::of(b"")).is_of_referrers());
        assert!(!"sha256-1".parse::<Tag>().unwrap().is_of_referrers());
    }
}
