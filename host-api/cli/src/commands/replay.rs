//! `verdict replay`: a past decision, evaluated again and compared.

use std::path::{Path, PathBuf};

use serde_json::json;
use verdict::Host;
use verdict::replay::{Replay, ReplayError, of_receipt};
use verdict_core::name::Tenant;
use verdict_registry::Layout;

use super::receipt::Opened;
use crate::builds;
use crate::error::{Error, Problem};
use crate::evaluation;
use crate::exit;
use crate::files;
use crate::report::{BAD, GOOD, Report};
use crate::signer::PassphraseArgs;

const DOCUMENT_BYTES_MAX: u64 = 256 << 20;

/// Evaluate a past decision again and compare answer, reasons, fuel and read set
///
/// By its id, from the state folder of a node that is not running; or from a receipt, with what anyone can hold: the
/// input, the data that the record names, and the artifact. The receipt's proof is not checked here: `verdict receipt
/// verify` does that. The exit status is 1 if anything differs.
#[derive(clap::Args)]
#[command(
    arg_required_else_help = true,
    after_help = "Example: verdict replay 0199c0de-… --state state
     or: verdict replay --receipt receipt.json --input question.json --artifact target/verdict/loan"
)]
pub(crate) struct Args {
    /// The decision's id
    #[arg(required_unless_present = "receipt", conflicts_with = "receipt", requires = "state")]
    id: Option<String>,
    /// The node's state folder
    #[arg(long, value_name = "DIR")]
    state: Option<PathBuf>,
    /// The tenant whose decision it is
    #[arg(long, value_name = "TENANT", default_value = "default")]
    tenant: Tenant,
    /// The receipt
    #[arg(long, value_name = "FILE", requires = "input")]
    receipt: Option<PathBuf>,
    /// The input that was sent
    #[arg(long, value_name = "FILE")]
    input: Option<PathBuf>,
    /// The tenant's data at the time, if the record names any
    #[arg(long, value_name = "FILE")]
    data: Option<PathBuf>,
    /// The policy's folder, that of a build, or an OCI image layout, of the version that decided
    #[arg(long, value_name = "DIR", default_value = ".")]
    artifact: PathBuf,
    // For the key of the node's log.
    #[command(flatten)]
    passphrase: PassphraseArgs,
}

/// Runs the command.
pub(crate) fn run(args: &Args) -> Result<Report, Error> {
    let replay = match (&args.id, &args.state, &args.receipt, &args.input) {
        (Some(id), Some(state), ..) => from_state(args, id, state)?,
        (_, _, Some(receipt), Some(input)) => from_receipt(args, receipt, input)?,
        // The argument parser lets no other combination through.
        _ => return Err(Error::Unusable(Problem::new("usage", "give an id with `--state`, or `--receipt`"))),
    };
    Ok(report(&replay))
}

fn from_state(args: &Args, id: &str, state: &Path) -> Result<Replay, Error> {
    if !state.is_dir() {
        let problem = Problem::new("no-state", format!("no state folder `{}`", state.display()));
        return Err(Error::Unusable(problem.help("name the folder that `verdict serve --state` was given")));
    }
    let host = Host::open_records(state, evaluation::compiler()?, args.passphrase.given()?)?;
    host.replay(&args.tenant, id).map_err(refused)
}

fn from_receipt(args: &Args, receipt: &Path, input: &Path) -> Result<Replay, Error> {
    let Opened { record, receipt, .. } = Opened::read(receipt, None)?;
    let input = files::read(input, DOCUMENT_BYTES_MAX)?;
    let data = args.data.as_deref().map(|path| files::read(path, DOCUMENT_BYTES_MAX)).transpose()?;
    let artifact = Layout::open(&builds::layout_folder(&args.artifact)?)?.fetch()?;
    of_receipt(&record, &receipt, input, data, artifact, evaluation::compiler()?).map_err(refused)
}

fn refused(error: ReplayError) -> Error {
    Error::Refused(Problem::new("replay", error.to_string()))
}

fn report(replay: &Replay) -> Report {
    let mut report = Report::new(json!(replay));
    let compared = replay.compared.join(", ");
    if replay.identical {
        report.line(format!("{GOOD}identical{GOOD:#}: {compared}"));
    } else {
        report.line(format!("{BAD}different{BAD:#}")).exit(exit::REFUSED);
    }
    for difference in &replay.differences {
        report.line(format!("  {:<12} recorded {}", difference.field, difference.recorded));
        report.line(format!("  {:<12} replayed {}", "", difference.replayed));
    }
    report.row("decision", &replay.id);
    report
}
