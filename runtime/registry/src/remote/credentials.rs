//! Who we are to a registry, as `docker login` and its like have written it down: the `config.json` below
//! `DOCKER_CONFIG` or `~/.docker`, and the programs `docker-credential-NAME` that it names.
//! <https://docs.docker.com/reference/cli/docker/login/#credential-stores>

use std::collections::HashMap;
use std::ffi::OsString;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::error::RemoteError;
use super::reference::RegistryHost;

const CONFIG_BYTES_MAX: usize = 1 << 20;
const HELPER_BYTES_MAX: u64 = 64 << 10;
/// It may ask its user for a passphrase.
const HELPER_TIME: Duration = Duration::from_secs(60);
/// The name under which Docker keeps the credentials of its own registry.
const DOCKER_HUB: &str = "index.docker.io";

/// What to show a registry.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Credentials {
    /// A name and a password, or a token that stands for it.
    Password {
        /// The name.
        user: String,
        /// The password.
        password: String,
    },
    /// A token that the registry takes as it is.
    Token(String),
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credentials(..)")
    }
}

/// Members that are not listed are for others.
#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase")]
struct Config {
    #[serde(default)]
    auths: HashMap<String, Entry>,
    #[serde(default)]
    cred_helpers: HashMap<String, String>,
    #[serde(default)]
    creds_store: Option<String>,
}

#[derive(Deserialize, Default)]
struct Entry {
    #[serde(default)]
    auth: String,
    #[serde(default)]
    username: String,
    #[serde(default)]
    password: String,
    #[serde(default)]
    identitytoken: String,
    #[serde(default)]
    registrytoken: String,
}

/// What a helper prints.
#[derive(Deserialize)]
struct Answer {
    #[serde(rename = "Username")]
    username: String,
    #[serde(rename = "Secret")]
    secret: String,
}

/// The folder of Docker's configuration, from the environment of this process.
pub(crate) fn docker_folder() -> Option<PathBuf> {
    let set = |name| std::env::var_os(name).filter(|value: &OsString| !value.is_empty());
    set("DOCKER_CONFIG").map(PathBuf::from).or_else(|| Some(Path::new(&set("HOME")?).join(".docker")))
}

/// The credentials for a registry; none, where nobody logged in.
///
/// # Errors
/// When the configuration, or the helper that it names, cannot be used: going on without would only hide why.
pub(crate) async fn of(folder: &Path, host: &RegistryHost) -> Result<Option<Credentials>, RemoteError> {
    let path = folder.join("config.json");
    let failed = |reason: String| RemoteError::Credentials {
        host: host.clone(),
        place: format!("`{}`", path.display()),
        reason,
    };
    let bytes = match std::fs::metadata(&path).map(|metadata| metadata.len()) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error.to_string())),
        Ok(length) if length > CONFIG_BYTES_MAX as u64 => return Err(failed("it is too large".into())),
        Ok(_) => std::fs::read(&path).map_err(|error| failed(error.to_string()))?,
    };
    let config: Config = verdict_core::json::parse(&bytes, CONFIG_BYTES_MAX)
        // The parser's own words may quote a secret.
        .map_err(|_| failed("it is not well-formed JSON of the kind that `docker login` writes".into()))?;
    let entry = |entries: &HashMap<String, String>| {
        entries
            .iter()
            .find(|(name, _)| is_for(name, host))
            .map(|(name, helper)| (name.clone(), helper.clone()))
    };
    let store = || config.creds_store.clone().map(|helper| (key(host), helper));
    if let Some((name, helper)) = entry(&config.cred_helpers).or_else(store)
        && let Some(found) = ask(&helper, &name, host).await?
    {
        return Ok(Some(found));
    }
    let Some((_, entry)) = config.auths.into_iter().find(|(name, _)| is_for(name, host)) else {
        return Ok(None);
    };
    entry.credentials().map_err(failed)
}

impl Entry {
    fn credentials(self) -> Result<Option<Credentials>, String> {
        if !self.registrytoken.is_empty() {
            return Ok(Some(Credentials::Token(self.registrytoken)));
        }
        if !self.identitytoken.is_empty() {
            return Err("it has an identity token; log in with a name and a password".into());
        }
        if !self.username.is_empty() {
            return Ok(Some(Credentials::Password { user: self.username, password: self.password }));
        }
        if self.auth.is_empty() {
            return Ok(None);
        }
        let decoded = STANDARD.decode(&self.auth).ok().and_then(|bytes| String::from_utf8(bytes).ok());
        match decoded.as_deref().and_then(|text| text.split_once(':')) {
            Some((user, password)) => {
                // Some writers pad the password.
                let password = password.trim_end_matches('\0');
                Ok(Some(Credentials::Password { user: user.into(), password: password.into() }))
            }
            None => Err("its `auth` is not `NAME:PASSWORD` in base64".into()),
        }
    }
}

/// The name under which a registry's credentials are kept.
fn key(host: &RegistryHost) -> String {
    if host.as_str() == "docker.io" { format!("https://{DOCKER_HUB}/v1/") } else { host.to_string() }
}

/// Old versions wrote an address instead of the name.
fn is_for(name: &str, host: &RegistryHost) -> bool {
    let bare = name.strip_prefix("https://").or_else(|| name.strip_prefix("http://")).unwrap_or(name);
    let bare =
        ["/v1/", "/v2/", "/v1", "/v2", "/"].iter().find_map(|path| bare.strip_suffix(path)).unwrap_or(bare);
    bare == host.as_str() || (host.as_str() == "docker.io" && bare == DOCKER_HUB)
}

/// Asks `docker-credential-HELPER`; none, when it knows nothing of the registry.
async fn ask(helper: &str, name: &str, host: &RegistryHost) -> Result<Option<Credentials>, RemoteError> {
    let program = format!("docker-credential-{helper}");
    let failed = |reason: &str| RemoteError::Credentials {
        host: host.clone(),
        place: format!("`{program}`"),
        reason: reason.into(),
    };
    if !helper.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.')) {
        return Err(failed("this is not the name of a program"));
    }
    let run = tokio::time::timeout(HELPER_TIME, run(&program, name)).await;
    let output = run.map_err(|_| failed("it does not answer"))?;
    let (success, output) = output.map_err(|error| failed(&error.to_string()))?;
    if !success {
        // The protocol has no other way to say so.
        let unknown = String::from_utf8_lossy(&output).contains("credentials not found");
        return if unknown { Ok(None) } else { Err(failed("it ended with an error")) };
    }
    let answer: Answer = verdict_core::json::parse(&output, CONFIG_BYTES_MAX)
        .map_err(|_| failed("its answer is not that of a credential helper"))?;
    match answer {
        Answer { username, .. } if username == "<token>" => {
            Err(failed("it has an identity token; log in with a name and a password"))
        }
        Answer { username, secret } if username.is_empty() && secret.is_empty() => Ok(None),
        Answer { username, secret } => Ok(Some(Credentials::Password { user: username, password: secret })),
    }
}

async fn run(program: &str, name: &str) -> io::Result<(bool, Vec<u8>)> {
    let mut child = tokio::process::Command::new(program)
        .arg("get")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()?;
    if let Some(mut input) = child.stdin.take() {
        input.write_all(name.as_bytes()).await?;
    }
    let mut output = Vec::new();
    if let Some(stdout) = child.stdout.take() {
        stdout.take(HELPER_BYTES_MAX).read_to_end(&mut output).await?;
    }
    Ok((child.wait().await?.success(), output))
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn found(config: &str, host: &str) -> Result<Option<Credentials>, RemoteError> {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("config.json"), config).unwrap();
        of(folder.path(), &host.parse().unwrap()).await
    }

    fn password(user: &str, password: &str) -> Option<Credentials> {
        Some(Credentials::Password { user: user.into(), password: password.into() })
    }

    #[tokio::test]
    async fn reads_what_docker_login_writes() {
        let config = r#"{"auths": {"localhost:5000": {"auth": "YW5uOnM6M2NyZXQ="},
            "https://index.docker.io/v1/": {"username": "bob", "password": "p"},
            "tokens.example": {"registrytoken": "t"}, "known.example": {}}, "HttpHeaders": {"a": "b"}}"#;
        assert_eq!(found(config, "localhost:5000").await.unwrap(), password("ann", "s:3cret"));
        assert_eq!(found(config, "docker.io").await.unwrap(), password("bob", "p"));
        assert_eq!(found(config, "tokens.example").await.unwrap(), Some(Credentials::Token("t".into())));
        for host in ["known.example", "localhost:5001", "localhost"] {
            assert_eq!(found(config, host).await.unwrap(), None, "{host}");
        }
        let nowhere = of(Path::new("/no/such/folder"), &"a.example".parse().unwrap()).await;
        assert_eq!(nowhere.unwrap(), None);
    }

    #[tokio::test]
    async fn shows_no_secret_when_it_cannot_be_used() {
        for config in [
            r#"{"auths": {"a.example": {"auth": "s3cret"}}}"#,
            r#"{"auths": {"a.example": {"identitytoken": "s3cret"}}}"#,
            r#"{"auths": {"a.example": {"auth": "s3cret}}}"#,
            r#"{"auths": {"a.example": {"auth": 5, "password": "s3cret"}}}"#,
            r#"{"credsStore": "../s3cret/evil"}"#,
        ] {
            let error = found(config, "a.example").await.unwrap_err();
            assert_eq!(error.code(), "credentials", "{config}");
            assert!(!format!("{error} {error:?}").contains("s3cret") || config.contains("evil"), "{error:?}");
        }
        let credentials = password("ann", "s3cret");
        assert!(!format!("{credentials:?}").contains("s3cret"));
    }
}
