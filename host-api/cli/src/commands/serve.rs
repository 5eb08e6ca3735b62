//! `verdict serve`: a folder of signed policies, answering over HTTP, and a registry beside it.

use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tokio::runtime::Handle;
use verdict::engine::Instances;
use verdict::{Config, Host, Log, Registry as Followed};
use verdict_core::key::Role;
use verdict_core::limits::Limits;
use verdict_core::name::ChannelName;
use verdict_registry::catalogue::Catalogue;
use verdict_registry::publish::Publisher;
use verdict_registry::repository::Registry;
use verdict_registry::served::Served;
use verdict_registry::store::Blobs;
use verdict_registry::{Source, Tree, remote};
use verdict_server::access::Access;
use verdict_server::{Budgets, Options, Server};

use super::serve_access::AccessArgs;
use super::serve_again::Again;
use super::serve_authzen::AuthZenArgs;
use super::serve_budgets::BudgetArgs;
use super::serve_cache::CacheArgs;
use super::serve_ext_authz::ExtAuthzArgs;
use super::serve_limits::LimitArgs;
use super::serve_listen::ListenArgs;
use super::serve_notify;
use super::serve_observe::ObserveArgs;
use super::serve_opa::OpaArgs;
use crate::error::{Error, Problem};
use crate::evaluation;
use crate::exit;
use crate::place;
use crate::settings::{CONFIG_VARIABLE, Settings};
use crate::signer::{self, PassphraseArgs};

/// How long a change of a registry may go unnoticed; also when what has expired is looked at again.
const FOLLOW_EVERY: Duration = Duration::from_secs(5);

/// Answer over HTTP with every signed policy below a folder
///
/// Each is verified with the trust file, which must not lie below the folder, and compiled in a child process with limits.
/// A bad artifact is quarantined with its reason, and the others answer. SIGHUP reads the settings, the folder, the trust file and
/// the data again; SIGTERM finishes the open requests. An answer leaves when its record is durable in the log.
///
/// With `--registry` and `--store` it also is an OCI registry, at `/v2/`: every OCI client can push to it and pull from
/// it, repositories are named TENANT/POLICY, and the tag of a version never changes. With `--roots` it takes signed
/// documents, too, below `/v1/`, and does what they say: its own channels answer.
///
/// Whatever no flag says, the environment may (`VERDICT_TRUST`, `VERDICT_CACHE_BYTES` …; values of what may be repeated
/// are separated by commas), then the file of `--config`, whose keys are the flags: `trust`, `cache-bytes` … and `dir`.
#[derive(clap::Args)]
#[command(after_help = "Example: verdict serve . --trust ../trust.json
Then:    curl -d '{\"input\": {}}' http://127.0.0.1:8181/v1/tenants/default/policies/loan/decide
A registry: verdict serve --registry catalogue.db --store blobs --roots roots.json --break-glass break-glass.sock
Another host of it: verdict serve --follow https://verdict.example --roots roots.json --follow-token-file token")]
pub(crate) struct Args {
    /// A TOML file with settings, whose keys are these flags; relative paths in it begin in its folder. `verdict config`
    /// checks, shows and describes it
    #[arg(long, value_name = "FILE", env = CONFIG_VARIABLE)]
    pub(super) config: Option<PathBuf>,
    /// The folder with the signed policies; it is searched. Without it there is only the registry
    #[arg(requires = "trust", required_unless_present_any = ["registry", "follow"])]
    pub(super) dir: Option<PathBuf>,
    /// The trust file: who may sign what. Not below DIR
    #[arg(long, value_name = "FILE", requires = "dir")]
    pub(super) trust: Option<PathBuf>,
    /// Follow a registry, instead: its channels decide what answers, signed by those whom its trust policy names
    /// (`verdict trust`, `verdict activate`). A folder, or a server: `https://HOST[:PORT]`, `http://…`, `unix:PATH`.
    /// Changes are taken up at once
    #[arg(long, value_name = "DIR|URL", requires = "roots", conflicts_with_all = ["dir", "data"])]
    pub(super) follow: Option<String>,
    /// A file with the token that the server which is followed knows this host by
    #[arg(long, value_name = "FILE", requires = "follow")]
    pub(super) follow_token_file: Option<PathBuf>,
    /// The root keys that sign the trust policy of the registry that is followed, and of the one that is served: a copy
    /// of `roots.json` that nobody else can write
    #[arg(long, value_name = "FILE", conflicts_with = "dir")]
    pub(super) roots: Option<PathBuf>,
    /// The key that signs what `activate`, `promote` and `rollback` with `--by-server` ask for, as the trust policy
    /// allows it to: a file of role `releaser`. Whoever has this machine has the key
    #[arg(long, value_name = "FILE", requires_all = ["registry", "roots"])]
    pub(super) activation_key: Option<PathBuf>,
    /// The channel of questions that name none, where a registry is followed
    #[arg(long, value_name = "NAME", default_value_t = ChannelName::production())]
    channel: ChannelName,
    /// Serve a registry whose catalogue is this SQLite file, or `postgres://USER@HOST/DATABASE`; made if it is empty
    #[arg(long, value_name = "FILE|URL", requires = "store")]
    pub(super) registry: Option<String>,
    /// Where the registry keeps what is pushed: a folder, made if it is not there, or `s3://BUCKET/PREFIX` with the
    /// credentials of the environment (AWS_…)
    #[arg(long, value_name = "DIR|URL", requires = "registry")]
    pub(super) store: Option<String>,
    #[command(flatten)]
    listen: ListenArgs,
    /// The state folder of this node: its keys, its log and what it has seen. `state` beside the trust file or the roots, if left
    /// out; made if it is not there. Not below DIR
    #[arg(long, value_name = "DIR")]
    pub(super) state: Option<PathBuf>,
    /// A folder with the tenants' data, `TENANT.json` each. Not below DIR
    #[arg(long, value_name = "DIR", requires = "dir")]
    pub(super) data: Option<PathBuf>,
    #[command(flatten)]
    pub(super) access: AccessArgs,
    #[command(flatten)]
    authzen: AuthZenArgs,
    #[command(flatten)]
    ext_authz: ExtAuthzArgs,
    #[command(flatten)]
    opa: OpaArgs,
    #[command(flatten)]
    pub(super) budgets: BudgetArgs,
    /// An origin whose pages may ask, such as `https://console.example`, or `*` for all; may be repeated
    #[arg(long, value_name = "ORIGIN")]
    pub(super) cors: Vec<String>,
    /// Let callers set the decision time; the record keeps it beside the host's clock
    #[arg(long)]
    allow_decision_time: bool,
    /// When an answer leaves
    #[arg(long, value_name = "WHEN", value_enum, default_value_t = Recorded::Durable)]
    log: Recorded,
    /// How each evaluation comes by an instance in which nothing happened before
    #[arg(long, value_name = "HOW", value_enum, default_value_t = Pristine::Protected)]
    instances: Pristine,
    /// Compare one in N evaluations with the same in a new instance, and reset no instances of a policy that ever differs
    #[arg(long, value_name = "N")]
    verify_reset: Option<NonZeroU32>,
    #[command(flatten)]
    cache: CacheArgs,
    #[command(flatten)]
    pub(super) limits: LimitArgs,
    #[command(flatten)]
    observe: ObserveArgs,
    // For the key of the log, which is encrypted with it from the first start on.
    #[command(flatten)]
    pub(super) passphrase: PassphraseArgs,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum Recorded {
    /// When its record is durable
    Durable,
    /// When its record is written; a loss of power takes what `/health/ready` counts as `unsynced`
    Buffered,
    /// At once, unrecorded: for measuring only, no decision can be proved
    Off,
}

impl From<Recorded> for Log {
    fn from(recorded: Recorded) -> Self {
        match recorded {
            Recorded::Durable => Self::Durable,
            Recorded::Buffered => Self::Buffered,
            Recorded::Off => Self::Off,
        }
    }
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum Pristine {
    /// Reset in place; page protection tells what there is to reset
    Protected,
    /// Reset in place, where there is little memory to copy; new otherwise
    Copied,
    /// New each time
    New,
}

impl From<Pristine> for Instances {
    fn from(pristine: Pristine) -> Self {
        match pristine {
            Pristine::Protected => Self::Protected,
            Pristine::Copied => Self::Copied,
            Pristine::New => Self::New,
        }
    }
}

/// Runs the command until it is told to stop. What goes on is logged to stderr; `RUST_LOG` says how much.
pub(crate) fn run(json: bool) -> Result<ExitCode, Error> {
    let settings = Settings::of_process()?.map_or_else(|| Settings::of(None, &[]), Ok)?;
    let args = settings.serve()?;
    args.observe.start_logging(json);
    if let Some(config) = args.config.as_ref().filter(|_| !json) {
        anstream::println!("settings {}", config.display());
    }
    let mut options = args.options(&settings)?;
    options.tuning = Some(Arc::new(Again::new(settings, &args)));
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.map_err(|error| machine(&error))?;
    if let (Some(catalogue), Some(store)) = (&args.registry, &args.store) {
        options.registry = Some(runtime.block_on(open_registry(catalogue, store))?);
    }
    options.publisher = publisher(&args, options.registry.as_ref())?;
    let access = args.access.options()?;
    let catalogue = options.registry.as_ref().map(|registry| registry.catalogue().clone());
    let ceiling = args.limits.ceiling(options.body_bytes_max)?;
    let host = host(args, ceiling, options.registry.as_ref(), runtime.handle())?;
    runtime.block_on(async {
        let access = Access::open(access, catalogue, evaluation::compiler()?).await;
        options.access = access.map_err(|error| unusable(&error))?;
        serve(host, options, json).await
    })
}

impl Args {
    /// What the server is to know, but for what has to be opened first.
    ///
    /// # Errors
    /// When a file cannot be read.
    pub(super) fn options(&self, settings: &Settings) -> Result<Options, Error> {
        Ok(Options {
            cors: self.cors.clone(),
            authzen: self.authzen.options(),
            ext_authz: self.ext_authz.ext_authz.clone(),
            opa_default: self.opa.opa_default.clone(),
            traces: self.observe.traces(),
            budgets: self.budgets(settings)?,
            ..self.listen.options().map_err(|error| unusable(&error))?
        })
    }

    /// What each tenant may use.
    ///
    /// # Errors
    /// When a file of budgets cannot be read.
    pub(super) fn budgets(&self, settings: &Settings) -> Result<Budgets, Error> {
        match settings.budgets() {
            Some((budgets, _)) => Ok(budgets.clone()),
            None => self.budgets.budgets(),
        }
    }
}

/// What takes signed documents; none where no root keys are pinned.
fn publisher(args: &Args, registry: Option<&Registry>) -> Result<Option<Publisher>, Error> {
    let (Some(registry), Some(roots)) = (registry, &args.roots) else { return Ok(None) };
    let publisher = Publisher::new(registry.clone(), place::roots(roots)?);
    let Some(path) = &args.activation_key else { return Ok(Some(publisher)) };
    let key = signer::open_file(path, &args.passphrase)?;
    check_activation(path, key.role())?;
    Ok(Some(publisher.with_activation_key(key.secret().clone())))
}

pub(super) fn check_activation(path: &Path, role: Role) -> Result<(), Error> {
    if role == Role::Releaser {
        return Ok(());
    }
    let message = format!("`{}` is a key of role `{role}`", path.display());
    let help = "an activation key is a releaser's: `verdict keys new --role releaser`";
    Err(Error::Unusable(Problem::new("key-file", message).help(help)))
}

/// None where only a registry is served.
fn host(
    args: Args,
    ceiling: Limits,
    registry: Option<&Registry>,
    runtime: &Handle,
) -> Result<Option<Host>, Error> {
    let beside = |path: &Path| args.state.clone().unwrap_or_else(|| path.with_file_name("state"));
    // Whoever is to sign a first trust policy, or the next one, must be able to put it here.
    let is_own = args.follow.is_none() && registry.is_some();
    let config = match (&args.dir, &args.trust, &args.roots) {
        (Some(dir), Some(trust), _) => {
            Config { data: args.data.clone(), ..Config::new(dir, trust, beside(trust)) }
        }
        (_, _, Some(roots)) => match (source(&args, roots, registry, runtime)?, place::roots(roots)?) {
            (Some(source), pinned) => Config::following(Followed { source, roots: pinned }, beside(roots)),
            (None, _) => return Ok(None),
        },
        _ => return Ok(None),
    };
    let config = Config {
        channel: args.channel,
        ceiling,
        compiler: evaluation::compiler()?,
        allow_decision_time: args.allow_decision_time,
        log: args.log.into(),
        instances: args.instances.into(),
        verify_reset: args.verify_reset,
        passphrase: args.passphrase.given()?,
        cache: args.cache.config(),
        ..config
    };
    let host = if is_own { Host::open_untrusting(config)? } else { Host::open(config)? };
    host.follow(FOLLOW_EVERY)?;
    Ok(Some(host))
}

/// What is followed: a server, a folder, or the registry that is served here.
fn source(
    args: &Args,
    roots: &Path,
    registry: Option<&Registry>,
    runtime: &Handle,
) -> Result<Option<Arc<dyn Source>>, Error> {
    let Some(follow) = &args.follow else {
        let served = registry.map(|registry| Served::new(registry.clone(), runtime.clone()));
        return Ok(served.map(|served| Arc::new(served) as Arc<dyn Source>));
    };
    followed(args, follow, roots).map(Some)
}

/// A server or a folder that is followed.
pub(super) fn followed(args: &Args, follow: &str, roots: &Path) -> Result<Arc<dyn Source>, Error> {
    if follow.starts_with("unix:") || follow.contains("://") {
        let token = args.follow_token_file.as_deref().map(place::token).transpose()?;
        return Ok(Arc::new(remote::Server::new(follow.parse()?, token)?));
    }
    let folder = Path::new(follow);
    let absolute = |path: &Path| path.canonicalize().map_err(|error| Error::file("read", path, &error));
    // Whoever writes the registry must not choose whom it is trusted by.
    if absolute(roots)?.starts_with(absolute(folder)?) {
        let message = format!("`{}` is below the registry, which is not trusted", roots.display());
        let help = "copy it elsewhere: it is this host's own word for whom it trusts";
        return Err(Error::Unusable(Problem::new("serve", message).help(help)));
    }
    Ok(Arc::new(Tree::open(folder)?))
}

/// A path stands for SQLite.
async fn open_registry(catalogue: &str, store: &str) -> Result<Registry, Error> {
    let is_url = catalogue.starts_with("sqlite:") || catalogue.contains("://");
    let url = if is_url { catalogue.to_owned() } else { format!("sqlite:{catalogue}") };
    let blobs = Blobs::open(store, Default::default()).map_err(|error| unusable(&error))?;
    let catalogue = Catalogue::open(&url).await.map_err(|error| unusable(&error))?;
    Ok(Registry::new(blobs, catalogue))
}

async fn serve(host: Option<Host>, options: Options, json: bool) -> Result<ExitCode, Error> {
    let policies = host.as_ref().map(Host::policies).unwrap_or_default();
    let quarantine = host.as_ref().map(Host::quarantine).unwrap_or_default();
    let (decides, registry) = (host.is_some(), options.registry.is_some());
    let server = Server::bind(host, options).await.map_err(|error| unusable(&error))?;
    let addresses: Vec<String> = server.addresses().iter().map(ToString::to_string).collect();
    for artifact in &quarantine {
        anstream::eprintln!("refused {}: {}", artifact.path.display(), artifact.refusal);
    }
    if decides && policies.is_empty() {
        anstream::eprintln!("no policy answers yet; SIGHUP reads the folder again");
    }
    if json {
        let names = policies.iter().map(|policy| policy.name.to_string()).collect::<Vec<_>>();
        anstream::println!(
            "{}",
            json!({
                "listening": server.address().to_string(), "addresses": addresses, "policies": names,
                "quarantined": quarantine.len(), "registry": registry,
            })
        );
    } else {
        for policy in &policies {
            anstream::println!("policy {} {}", policy.name, policy.version);
        }
        if registry {
            anstream::println!("registry at /v2/");
        }
        for address in addresses {
            anstream::println!("listening on {address}");
        }
    }
    // It listens: whoever comes from now on waits until it answers.
    serve_notify::ready().map_err(|error| machine(&format!("cannot tell that it is ready: {error}")))?;
    server.run().await.map_err(|error| machine(&error))?;
    Ok(ExitCode::from(exit::DONE))
}

pub(super) fn unusable(error: &dyn std::fmt::Display) -> Error {
    Error::Unusable(Problem::new("serve", error.to_string()))
}

fn machine(error: &dyn std::fmt::Display) -> Error {
    Error::Machine(Problem::new("serve", error.to_string()))
}
