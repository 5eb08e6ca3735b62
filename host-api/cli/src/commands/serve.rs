//! `verdict serve`: a folder of signed policies, answering over HTTP, and a registry beside it.

use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use verdict::engine::Instances;
use verdict::{Config, Host, Log, Registry as Followed};
use verdict_core::name::ChannelName;
use verdict_core::trust::{ROOTS_BYTES_MAX, Roots};
use verdict_registry::Tree;
use verdict_registry::catalogue::Catalogue;
use verdict_registry::repository::Registry;
use verdict_registry::store::Blobs;
use verdict_server::{Listen, Options, Server, Tokens};

use crate::error::{Error, Problem};
use crate::evaluation;
use crate::exit;
use crate::files;
use crate::signer::PassphraseArgs;

/// How long a change of a registry may go unnoticed; also when what has expired is looked at again.
const FOLLOW_EVERY: Duration = Duration::from_secs(5);

/// Answer over HTTP with every signed policy below a folder
///
/// Each is verified with the trust file, which must not lie below the folder, and compiled in a child process with limits.
/// A bad artifact is quarantined with its reason, and the others answer. SIGHUP reads the folder, the trust file and
/// the data again; SIGTERM finishes the open requests. An answer leaves when its record is durable in the log.
///
/// With `--registry` and `--store` it also is an OCI registry, at `/v2/`: every OCI client can push to it and pull from
/// it, repositories are named TENANT/POLICY, and the tag of a version never changes.
#[derive(clap::Args)]
#[command(after_help = "Example: verdict serve . --trust ../trust.json
Then:    curl -d '{\"input\": {}}' http://127.0.0.1:8181/v1/tenants/default/policies/loan/decide
A registry alone: verdict serve --registry catalogue.db --store blobs")]
pub(crate) struct Args {
    /// The folder with the signed policies; it is searched. Without it there is only the registry
    #[arg(requires = "trust", required_unless_present_any = ["registry", "follow"])]
    dir: Option<PathBuf>,
    /// The trust file: who may sign what. Not below DIR
    #[arg(long, value_name = "FILE", requires = "dir")]
    trust: Option<PathBuf>,
    /// Follow a registry in a folder, instead: its channels decide what answers, signed by those whom its trust policy
    /// names (`verdict trust`, `verdict activate`). Changes are taken up at once
    #[arg(long, value_name = "DIR", requires = "roots", conflicts_with_all = ["dir", "data"])]
    follow: Option<PathBuf>,
    /// The root keys that sign the trust policy of the registry that is followed: a copy of `roots.json` that nobody
    /// else can write
    #[arg(long, value_name = "FILE", requires = "follow")]
    roots: Option<PathBuf>,
    /// The channel of questions that name none, where a registry is followed
    #[arg(long, value_name = "NAME", default_value_t = ChannelName::production())]
    channel: ChannelName,
    /// Serve a registry whose catalogue is this SQLite file, or `postgres://USER@HOST/DATABASE`; made if it is empty
    #[arg(long, value_name = "CATALOGUE", requires = "store")]
    registry: Option<String>,
    /// Where the registry keeps what is pushed: a folder, made if it is not there, or `s3://BUCKET/PREFIX` with the
    /// credentials of the environment (AWS_…)
    #[arg(long, value_name = "DIR|URL", requires = "registry")]
    store: Option<String>,
    /// Where to listen: `IP:PORT` or `unix:PATH`. Other addresses than loopback need `--token-file`
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8181")]
    listen: String,
    /// The state folder of this node: its keys, its log and what it has seen. `state` beside the trust file or the roots, if left
    /// out; made if it is not there. Not below DIR
    #[arg(long, value_name = "DIR")]
    state: Option<PathBuf>,
    /// A folder with the tenants' data, `TENANT.json` each. Not below DIR
    #[arg(long, value_name = "DIR", requires = "dir")]
    data: Option<PathBuf>,
    /// A file with the tokens that callers must show
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
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
    // For the key of the log, which is encrypted with it from the first start on.
    #[command(flatten)]
    passphrase: PassphraseArgs,
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
pub(crate) fn run(args: Args, json: bool) -> Result<ExitCode, Error> {
    const TOKEN_FILE_BYTES_MAX: u64 = 1 << 20;
    start_logging(json);
    let mut options = Options::new(Listen::parse(&args.listen).map_err(|error| unusable(&error))?);
    if let Some(path) = &args.token_file {
        let text = files::read_text(path, TOKEN_FILE_BYTES_MAX)?;
        options.access = Tokens::parse(&text).map_err(|error| unusable(&error))?.into();
    }
    let registry = args.registry.clone().zip(args.store.clone());
    let host = host(args)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    runtime.map_err(|error| machine(&error))?.block_on(async {
        if let Some((catalogue, store)) = registry {
            options.registry = Some(open_registry(&catalogue, &store).await?);
        }
        serve(host, options, json).await
    })
}

/// None where only a registry is served.
fn host(args: Args) -> Result<Option<Host>, Error> {
    let config = match (args.dir, args.trust, args.follow, args.roots) {
        (Some(dir), Some(trust), ..) => {
            let state = args.state.unwrap_or_else(|| trust.with_file_name("state"));
            Config { data: args.data, ..Config::new(dir, trust, state) }
        }
        (_, _, Some(follow), Some(roots)) => {
            let state = args.state.unwrap_or_else(|| roots.with_file_name("state"));
            Config::following(followed(&follow, &roots)?, state)
        }
        _ => return Ok(None),
    };
    let config = Config {
        channel: args.channel,
        compiler: evaluation::compiler()?,
        allow_decision_time: args.allow_decision_time,
        log: args.log.into(),
        instances: args.instances.into(),
        verify_reset: args.verify_reset,
        passphrase: args.passphrase.given()?,
        ..config
    };
    let host = Host::open(config)?;
    host.follow(FOLLOW_EVERY)?;
    Ok(Some(host))
}

/// A registry in a folder, and the root keys that are pinned. Whoever writes the registry must not choose those.
fn followed(folder: &Path, roots: &Path) -> Result<Followed, Error> {
    let absolute = |path: &Path| path.canonicalize().map_err(|error| Error::file("read", path, &error));
    if absolute(roots)?.starts_with(absolute(folder)?) {
        let message = format!("`{}` is below the registry, which is not trusted", roots.display());
        let help = "copy it elsewhere: it is this host's own word for whom it trusts";
        return Err(Error::Unusable(Problem::new("serve", message).help(help)));
    }
    let bytes = files::read(roots, u64::try_from(ROOTS_BYTES_MAX).unwrap_or(u64::MAX))?;
    let roots = Roots::parse(&bytes)?;
    Ok(Followed { source: Arc::new(Tree::open(folder)?), roots })
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
    let address = server.address().to_string();
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
                "listening": address, "policies": names, "quarantined": quarantine.len(), "registry": registry,
            })
        );
    } else {
        for policy in &policies {
            anstream::println!("policy {} {}", policy.name, policy.version);
        }
        if registry {
            anstream::println!("registry at /v2/");
        }
        anstream::println!("listening on {address}");
    }
    server.run().await.map_err(|error| machine(&error))?;
    Ok(ExitCode::from(exit::DONE))
}

fn start_logging(json: bool) {
    let filter = tracing_subscriber::EnvFilter::try_from_default_env().unwrap_or_else(|_| "info".into());
    let subscriber = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    // Fails only if one is installed already, which is as good.
    let _ = if json { subscriber.json().try_init() } else { subscriber.try_init() };
}

fn unusable(error: &dyn std::fmt::Display) -> Error {
    Error::Unusable(Problem::new("serve", error.to_string()))
}

fn machine(error: &dyn std::fmt::Display) -> Error {
    Error::Machine(Problem::new("serve", error.to_string()))
}
