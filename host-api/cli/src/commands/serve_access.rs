//! Who may ask a server, as `verdict serve` is told.

use std::path::{Path, PathBuf};

use verdict_core::digest::Digest;
use verdict_server::Tokens;
use verdict_server::access::{AccessOptions, AccessPolicy, BreakGlass, Jwks, JwtOptions, Workloads};

use crate::error::{Error, Problem};
use crate::files;

const TOKEN_FILE_BYTES_MAX: u64 = 1 << 20;
/// Where the access policy's hosts have their state, beside its trust file.
const STATE: &str = "access-state";
/// What follows the name of the break-glass socket in that of the file that says what was done over it.
const RECORD: &str = ".jsonl";

/// Who may ask.
#[derive(clap::Args)]
pub(crate) struct AccessArgs {
    /// A file with the tokens that callers must show, `NAME TOKEN [TENANT]` each
    #[arg(long, value_name = "FILE")]
    pub(super) token_file: Option<PathBuf>,
    /// The folder with the signed policy `system/api-access`, which decides who may do what; API keys and JSON Web
    /// Tokens count only with it. Without one nobody administers anything, but over the break-glass socket
    #[arg(long, value_name = "DIR", requires_all = ["access_trust", "access_component"])]
    pub(super) access: Option<PathBuf>,
    /// The trust file that the access policy is verified with: its own, and not below its folder
    #[arg(long, value_name = "FILE", requires = "access")]
    pub(super) access_trust: Option<PathBuf>,
    /// The digest of the access policy's component: another is refused, whoever signed it
    #[arg(long, value_name = "SHA256", requires = "access")]
    access_component: Option<Digest>,
    /// Whose JSON Web Tokens count: what `iss` must be
    #[arg(long, value_name = "ISSUER", requires_all = ["access", "jwt_audience", "jwks"])]
    jwt_issuer: Option<String>,
    /// What `aud` must have
    #[arg(long, value_name = "AUDIENCE", requires = "jwt_issuer")]
    jwt_audience: Option<String>,
    /// The issuer's keys: a file, or an `https` address
    #[arg(long, value_name = "FILE|URL", requires = "jwt_issuer")]
    pub(super) jwks: Option<String>,
    /// The claim with the roles, or a JSON Pointer into the claims; `roles`, if left out
    #[arg(long, value_name = "CLAIM", requires = "jwt_issuer")]
    jwt_roles: Option<String>,
    /// The claim with the tenant, or a JSON Pointer into the claims; `tenant`, if left out
    #[arg(long, value_name = "CLAIM", requires = "jwt_issuer")]
    jwt_tenant: Option<String>,
    /// A file with the workloads that may ask by client certificate, `SPIFFE-ID TENANT [ROLE…]` each, with `*` for all
    /// tenants; the role is `agent` if none is named. All of one trust domain, for which `--tls-client-ca` signs
    #[arg(long, value_name = "FILE", requires = "tls_client_ca")]
    spiffe_file: Option<PathBuf>,
    /// A Unix socket over which the owner of this process, and root, may do everything. What is done there is recorded
    /// first, in a file of its name and `.jsonl`, or in the access policy's log
    #[arg(long, value_name = "PATH")]
    break_glass: Option<PathBuf>,
}

impl AccessArgs {
    /// What the server is to know.
    ///
    /// # Errors
    /// When a file cannot be read.
    pub(crate) fn options(&self) -> Result<AccessOptions, Error> {
        Ok(AccessOptions {
            tokens: self.tokens()?,
            policy: self.policy(),
            jwt: self.jwt(),
            workloads: self.spiffe_file.as_ref().map(workloads).transpose()?,
            break_glass: self.break_glass.as_ref().map(|socket| {
                // Never the socket's own name.
                let mut record = socket.clone().into_os_string();
                record.push(RECORD);
                BreakGlass { socket: socket.clone(), record: record.into() }
            }),
        })
    }

    /// The tokens that callers must show; none where there is no file of them.
    ///
    /// # Errors
    /// When it cannot be read.
    pub(super) fn tokens(&self) -> Result<Option<Tokens>, Error> {
        self.token_file.as_deref().map(tokens).transpose()
    }

    fn policy(&self) -> Option<AccessPolicy> {
        let (folder, trust) = (self.access.clone()?, self.access_trust.clone()?);
        let state = trust.with_file_name(STATE);
        Some(AccessPolicy { folder, trust, state, component: self.access_component? })
    }

    fn jwt(&self) -> Option<JwtOptions> {
        let jwks = Jwks::parse(self.jwks.as_deref()?);
        let mut options = JwtOptions::new(self.jwt_issuer.clone()?, self.jwt_audience.clone()?, jwks);
        if let Some(claim) = &self.jwt_roles {
            options.roles_claim.clone_from(claim);
        }
        if let Some(claim) = &self.jwt_tenant {
            options.tenant_claim.clone_from(claim);
        }
        Some(options)
    }
}

fn tokens(path: &Path) -> Result<Tokens, Error> {
    let text = files::read_text(path, TOKEN_FILE_BYTES_MAX)?;
    Tokens::parse(&text).map_err(|error| Error::Unusable(Problem::new("serve", error.to_string())))
}

fn workloads(path: &PathBuf) -> Result<Workloads, Error> {
    Workloads::open(path).map_err(|error| Error::Unusable(Problem::new("serve", error.to_string())))
}
