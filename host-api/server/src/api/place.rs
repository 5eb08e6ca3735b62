//! What a path names, read once, before anything is looked up.

use axum::extract::RawPathParams;
use semver::Version;
use verdict::core::digest::Digest;
use verdict::core::name::{ChannelName, PolicyName, Tenant};

use super::problem::Problem;

/// The longest id that is looked up, in bytes.
const ID_BYTES_MAX: usize = 255;

/// The names in a path, each of which is one.
#[derive(Debug, Clone, Default)]
pub(crate) struct Place {
    tenant: Option<Tenant>,
    policy: Option<PolicyName>,
    channel: Option<ChannelName>,
    version: Option<Version>,
    digest: Option<Digest>,
    id: Option<String>,
}

impl Place {
    /// Reads the parameters of a path.
    pub(super) fn read(parameters: &RawPathParams) -> Result<Self, Problem> {
        let mut place = Self::default();
        for (name, text) in parameters {
            place.note(name, text)?;
        }
        Ok(place)
    }

    fn note(&mut self, name: &str, text: &str) -> Result<(), Problem> {
        let malformed =
            |what: &str, why: String| Problem::malformed(format!("`{name}` is not {what}: {why}"));
        match name {
            "tenant" => self.tenant = Some(text.parse()?),
            "policy" => {
                let tenant = self.tenant.as_ref().map_or("", Tenant::as_str);
                self.policy = Some(PolicyName::of(tenant, text)?);
            }
            "channel" => self.channel = Some(text.parse()?),
            "version" => {
                let version =
                    Version::parse(text).map_err(|error| malformed("a version", error.to_string()))?;
                self.version = Some(version);
            }
            "digest" => {
                let why = || "expected `sha256:` and 64 lower-case hexadecimal digits".into();
                self.digest = Some(text.parse().map_err(|_| malformed("a digest", why()))?);
            }
            "id" if text.len() > ID_BYTES_MAX || text.chars().any(char::is_control) => {
                let why = format!("it has control characters, or more than {ID_BYTES_MAX} bytes");
                return Err(malformed("an id", why));
            }
            "id" => self.id = Some(text.into()),
            _ => {}
        }
        Ok(())
    }

    /// What the access policy is told: `bank`, `bank/loan`, `bank/loan@production`, `bank/loan@1.2.0`, or an id.
    pub(super) fn resource(&self) -> String {
        let policy = self.policy.as_ref().map(ToString::to_string);
        let part = self.channel.as_ref().map(ToString::to_string);
        let part = part.or_else(|| self.version.as_ref().map(ToString::to_string));
        match (policy, part) {
            (Some(policy), Some(part)) => format!("{policy}@{part}"),
            (Some(policy), None) => policy,
            _ => {
                let digest = self.digest.map(|digest| digest.to_string());
                let tenant = self.tenant.as_ref().map(ToString::to_string);
                self.id.clone().or(digest).or(tenant).unwrap_or_default()
            }
        }
    }

    pub(crate) fn tenant(&self) -> Result<&Tenant, Problem> {
        there(self.tenant.as_ref())
    }

    pub(crate) fn policy(&self) -> Result<&PolicyName, Problem> {
        there(self.policy.as_ref())
    }

    pub(crate) fn channel(&self) -> Result<&ChannelName, Problem> {
        there(self.channel.as_ref())
    }

    pub(crate) fn version(&self) -> Result<&Version, Problem> {
        there(self.version.as_ref())
    }

    pub(crate) fn digest(&self) -> Result<Digest, Problem> {
        there(self.digest.as_ref()).copied()
    }

    pub(crate) fn id(&self) -> Result<&str, Problem> {
        there(self.id.as_deref())
    }
}

/// A route asks only for what its path has; that it does so is seen by every test of it.
fn there<T: ?Sized>(named: Option<&T>) -> Result<&T, Problem> {
    named.ok_or_else(|| {
        tracing::error!("a route asked for a name that its path does not have");
        Problem::internal()
    })
}
