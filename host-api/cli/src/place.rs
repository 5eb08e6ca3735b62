//! The registry that a command works on: a folder, or a server with what it is shown. The same command does the same on
//! both.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use verdict_core::time::Timestamp;
use verdict_core::trust::{ROOTS_BYTES_MAX, Roots};
use verdict_registry::remote::{Server, ServerUrl, Token};
use verdict_registry::{Publish, Tree};

use crate::commands::Trusted;
use crate::error::{Error, Problem};
use crate::files;

const CONFIG_BYTES_MAX: u64 = 1 << 20;
const TOKEN_BYTES_MAX: u64 = 64 << 10;
const CONFIG: &str = "verdict/config.toml";

/// The registry, on the command line.
#[derive(clap::Args)]
pub(crate) struct PlaceArgs {
    /// The registry: a folder; this one, if no server is named either
    #[arg(long, value_name = "DIR", conflicts_with_all = ["server", "profile", "token_file"])]
    registry: Option<PathBuf>,
    #[command(flatten)]
    server: ServerArgs,
}

/// A server, on the command line.
#[derive(clap::Args)]
pub(crate) struct ServerArgs {
    /// The server: `https://HOST[:PORT]`, `http://…` or `unix:PATH`; that of `VERDICT_SERVER`, if left out
    #[arg(long, value_name = "URL", conflicts_with = "profile")]
    server: Option<String>,
    /// A profile of `~/.config/verdict/config.toml`: a server, a file with a token, and root keys
    #[arg(long, value_name = "NAME")]
    profile: Option<String>,
    /// A file with the token that the server knows you by; that of `VERDICT_TOKEN`, if left out
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
}

/// Whom a command believes, on the command line.
#[derive(clap::Args)]
pub(crate) struct TrustArgs {
    /// The folder of `verdict trust`, with the roots that you pin; `trust` in the registry, if that is a folder
    #[arg(long, value_name = "DIR")]
    trust: Option<PathBuf>,
    /// The root keys that you pin, a copy of `roots.json`: trust documents then come from the registry
    #[arg(long, value_name = "FILE", conflicts_with = "trust")]
    roots: Option<PathBuf>,
}

/// A registry that is open.
pub(crate) enum Place {
    /// A folder.
    Folder(Tree),
    /// A server, and the root keys that its profile pins.
    Server(Server, Option<PathBuf>),
}

/// `~/.config/verdict/config.toml`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Config {
    #[serde(default)]
    profile: BTreeMap<String, Profile>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Profile {
    server: String,
    token_file: Option<PathBuf>,
    roots: Option<PathBuf>,
}

impl PlaceArgs {
    /// Opens the registry.
    ///
    /// # Errors
    /// When it cannot be read, or what names it cannot be used.
    pub(crate) fn open(&self) -> Result<Place, Error> {
        self.find(|folder| Ok(Tree::open(folder)?))
    }

    /// Opens the registry, and makes the folder if it is missing.
    ///
    /// # Errors
    /// As [`Self::open`], and when the folder cannot be made.
    pub(crate) fn create(&self) -> Result<Place, Error> {
        self.find(|folder| Ok(Tree::create(folder)?))
    }

    fn find(&self, folder: impl FnOnce(&Path) -> Result<Tree, Error>) -> Result<Place, Error> {
        let server = if self.registry.is_some() { None } else { self.server.find()? };
        match server {
            Some((server, roots)) => Ok(Place::Server(server, roots)),
            None => Ok(Place::Folder(folder(self.registry.as_deref().unwrap_or(Path::new(".")))?)),
        }
    }
}

impl ServerArgs {
    /// The server; none, where none is named anywhere.
    ///
    /// # Errors
    /// When it, its profile or its token cannot be used.
    pub(crate) fn find(&self) -> Result<Option<(Server, Option<PathBuf>)>, Error> {
        if let Some(name) = &self.profile {
            return self.of_profile(name).map(Some);
        }
        let Some(url) = self.server.clone().or_else(|| variable("VERDICT_SERVER")) else { return Ok(None) };
        Ok(Some((self.open(&url, None)?, None)))
    }

    /// The server, which must be named.
    ///
    /// # Errors
    /// As [`Self::find`], and when none is named.
    pub(crate) fn required(&self) -> Result<Server, Error> {
        let none = || {
            let problem = Problem::new("no-server", "no server is named");
            Error::Unusable(problem.help("name one with `--server`, `--profile` or `VERDICT_SERVER`"))
        };
        Ok(self.find()?.ok_or_else(none)?.0)
    }

    fn of_profile(&self, name: &str) -> Result<(Server, Option<PathBuf>), Error> {
        let path = config_path()?;
        let text = files::read_text(&path, CONFIG_BYTES_MAX)?;
        let unusable = |message: String| {
            Error::Unusable(Problem::new("profile", format!("`{}` {message}", path.display())))
        };
        // The parser's own words would quote the file.
        let mut config: Config = toml::from_str(&text)
            .map_err(|error| unusable(format!("is not a file of profiles: {}", error.message())))?;
        let profile =
            config.profile.remove(name).ok_or_else(|| unusable(format!("has no profile `{name}`")))?;
        let beside = |file: PathBuf| path.with_file_name(file);
        let server = self.open(&profile.server, profile.token_file.map(beside).as_deref())?;
        Ok((server, profile.roots.map(beside)))
    }

    fn open(&self, url: &str, token_file: Option<&Path>) -> Result<Server, Error> {
        let url: ServerUrl = url.parse()?;
        let token = match self.token_file.as_deref().or(token_file) {
            Some(path) => Some(token(path)?),
            None => variable("VERDICT_TOKEN").map(|token| token.parse::<Token>()).transpose()?,
        };
        Ok(Server::new(url, token)?)
    }
}

/// A variable of the environment that says something.
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// By the XDG Base Directory Specification.
fn config_path() -> Result<PathBuf, Error> {
    let folder = variable("XDG_CONFIG_HOME").map(PathBuf::from);
    let folder = folder.or_else(|| Some(Path::new(&variable("HOME")?).join(".config")));
    let none = || Error::Unusable(Problem::new("profile", "there is no home folder to look for profiles in"));
    Ok(folder.ok_or_else(none)?.join(CONFIG))
}

impl Place {
    /// What documents are read from and put into.
    pub(crate) fn publish(&self) -> &dyn Publish {
        match self {
            Self::Folder(tree) => tree,
            Self::Server(server, _) => server,
        }
    }

    /// The server.
    ///
    /// # Errors
    /// When it is a folder.
    pub(crate) fn server(&self) -> Result<&Server, Error> {
        match self {
            Self::Server(server, _) => Ok(server),
            Self::Folder(_) => {
                let problem = Problem::new("no-server", "a folder has no key that signs");
                Err(Error::Unusable(problem.help("name a server, or sign with `--key`")))
            }
        }
    }

    /// The trust that holds there now, from what is pinned here on.
    ///
    /// # Errors
    /// When nothing is pinned, or what is there does not follow from it.
    pub(crate) fn trusted(&self, args: &TrustArgs, now: Timestamp) -> Result<Trusted, Error> {
        if let Some(folder) = &args.trust {
            return Trusted::read(folder, now);
        }
        let pinned = match self {
            Self::Server(_, roots) => args.roots.as_ref().or(roots.as_ref()),
            Self::Folder(_) => args.roots.as_ref(),
        };
        match (pinned, self) {
            (Some(path), _) => Trusted::verified(&roots(path)?, &self.publish().newest()?, now),
            (None, Self::Folder(tree)) => Trusted::read(&tree.path().join("trust"), now),
            (None, Self::Server(..)) => Err(no_roots()),
        }
    }

    /// The root keys that are pinned for a server.
    ///
    /// # Errors
    /// When none are, or they cannot be read.
    pub(crate) fn pinned(own: Option<&PathBuf>, profile: Option<&PathBuf>) -> Result<Roots, Error> {
        roots(own.or(profile).ok_or_else(no_roots)?)
    }
}

/// Reads a token that a server knows somebody by.
///
/// # Errors
/// When the file cannot be read, or is none of a token.
pub(crate) fn token(path: &Path) -> Result<Token, Error> {
    Ok(files::read_text(path, TOKEN_BYTES_MAX)?.parse::<Token>()?)
}

/// Reads root keys that are pinned.
///
/// # Errors
/// When they cannot be read.
pub(crate) fn roots(path: &Path) -> Result<Roots, Error> {
    let bytes = files::read(path, u64::try_from(ROOTS_BYTES_MAX).unwrap_or(u64::MAX))?;
    Ok(Roots::parse(&bytes)?)
}

fn no_roots() -> Error {
    let problem = Problem::new("no-roots", "a server is not believed without root keys that you pin");
    Error::Unusable(problem.help("name your copy of `roots.json` with `--roots`, or in the profile"))
}
