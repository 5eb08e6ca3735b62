//! `verdict serve`: a folder of signed policies, answering over HTTP.

use std::num::NonZeroU32;
use std::path::PathBuf;
use std::process::ExitCode;

use serde_json::json;
use verdict::engine::Instances;
use verdict::{Config, Host, Log};
use verdict_server::{Listen, Options, Server, Tokens};

use crate::error::{Error, Problem};
use crate::evaluation;
use crate::exit;
use crate::files;

/// Answer over HTTP with every signed policy below a folder
///
/// Each is verified with the trust file, which must not lie below the folder, and compiled in a child process with limits.
/// A bad artifact is quarantined with its reason, and the others answer. SIGHUP reads the folder, the trust file and
/// the data again; SIGTERM finishes the open requests. An answer leaves when its record is durable in the log.
#[derive(clap::Args)]
#[command(after_help = "Example: verdict serve . --trust ../trust.json
Then:    curl -d '{\"input\": {}}' http://127.0.0.1:8181/v1/tenants/default/policies/loan/decide")]
pub(crate) struct Args {
    /// The folder with the signed policies; it is searched
    dir: PathBuf,
    /// The trust file: who may sign what. Not below DIR
    #[arg(long, value_name = "FILE")]
    trust: PathBuf,
    /// Where to listen: `IP:PORT` or `unix:PATH`. Other addresses than loopback need `--token-file`
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8181")]
    listen: String,
    /// The state folder of this node: its keys, its log and what it has seen. `state` beside the trust file, if left
    /// out; made if it is not there. Not below DIR
    #[arg(long, value_name = "DIR")]
    state: Option<PathBuf>,
    /// A folder with the tenants' data, `TENANT.json` each. Not below DIR
    #[arg(long, value_name = "DIR")]
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
        options.tokens = Some(Tokens::parse(&text).map_err(|error| unusable(&error))?);
    }
    let state = args.state.unwrap_or_else(|| args.trust.with_file_name("state"));
    let config = Config {
        data: args.data,
        compiler: evaluation::compiler()?,
        allow_decision_time: args.allow_decision_time,
        log: args.log.into(),
        instances: args.instances.into(),
        verify_reset: args.verify_reset,
        ..Config::new(args.dir, args.trust, state)
    };
    let host = Host::open(config)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    runtime.map_err(|error| machine(&error))?.block_on(serve(host, options, json))
}

async fn serve(host: Host, options: Options, json: bool) -> Result<ExitCode, Error> {
    let (policies, quarantine) = (host.policies(), host.quarantine());
    let server = Server::bind(host, options).await.map_err(|error| unusable(&error))?;
    let address = server.address().to_string();
    for artifact in &quarantine {
        anstream::eprintln!("refused {}: {}", artifact.path.display(), artifact.refusal);
    }
    if policies.is_empty() {
        anstream::eprintln!("no policy answers yet; SIGHUP reads the folder again");
    }
    if json {
        let names = policies.iter().map(|policy| policy.name.to_string()).collect::<Vec<_>>();
        anstream::println!(
            "{}",
            json!({ "listening": address, "policies": names, "quarantined": quarantine.len() })
        );
    } else {
        for policy in &policies {
            anstream::println!("policy {} {}", policy.name, policy.version);
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
