//! `verdict replay`: a past decision, evaluated again and compared.

use std::path::PathBuf;

use serde_json::json;
use verdict::replay::{Replay, of_receipt};
use verdict_registry::Layout;

use super::receipt::Opened;
use crate::builds;
use crate::error::{Error, Problem};
use crate::evaluation;
use crate::exit;
use crate::files;
use crate::report::{BAD, GOOD, Report};

const DOCUMENT_BYTES_MAX: u64 = 256 << 20;

/// Evaluate a past decision again and compare answer, reasons, fuel and read set
///
/// From a receipt, with what anyone can hold: the input, the data that the record names, and the artifact. The
/// receipt's proof is not checked here: `verdict receipt verify` does that. The exit status is 1 if anything differs.
#[derive(clap::Args)]
#[command(
    after_help = "Example: verdict replay --receipt receipt.json --input question.json --artifact target/verdict/loan"
)]
pub(crate) struct Args {
    /// The receipt
    #[arg(long, value_name = "FILE")]
    receipt: PathBuf,
    /// The input that was sent
    #[arg(long, value_name = "FILE")]
    input: PathBuf,
    /// The tenant's data at the time, if the record names any
    #[arg(long, value_name = "FILE")]
    data: Option<PathBuf>,
    /// The policy's folder, that of a build, or an OCI image layout, of the version that decided
    #[arg(long, value_name = "DIR", default_value = ".")]
    artifact: PathBuf,
}

/// Runs the command.
pub(crate) fn run(args: &Args) -> Result<Report, Error> {
    let Opened { record, receipt, .. } = Opened::read(&args.receipt, None)?;
    let input = files::read(&args.input, DOCUMENT_BYTES_MAX)?;
    let data = args.data.as_deref().map(|path| files::read(path, DOCUMENT_BYTES_MAX)).transpose()?;
    let artifact = Layout::open(&builds::layout_folder(&args.artifact)?)?.fetch()?;
    let replay = of_receipt(&record, &receipt, input, data, artifact, evaluation::compiler()?)
        .map_err(|error| Error::Refused(Problem::new("replay", error.to_string())))?;
    Ok(report(&replay))
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
