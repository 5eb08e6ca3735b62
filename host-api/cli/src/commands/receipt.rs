//! `verdict receipt`: what a decision's receipt says, whether it holds, and which parts of it to pass on.

use std::path::{Path, PathBuf};

use clap::Subcommand;
use serde_json::json;
use verdict_core::record::{Field, Openings, RECEIPT_BYTES_MAX, Receipt, Record, RecordError};
use verdict_ledger::{Checkpoint, TlogProof, VerifierKey};

use crate::error::{Error, Problem, nearest};
use crate::files;
use crate::report::{GOOD, Report};

const DOCUMENT_BYTES_MAX: u64 = 256 << 20;

/// Show, verify or split the receipt of a decision; everything offline
#[derive(clap::Args)]
#[command(arg_required_else_help = true)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: ReceiptCommand,
}

#[derive(Subcommand)]
enum ReceiptCommand {
    Show(ShowArgs),
    Verify(VerifyArgs),
    Split(SplitArgs),
}

/// Show the record and what the receipt discloses; nothing is verified
#[derive(clap::Args)]
#[command(after_help = "Example: verdict receipt show receipt.json")]
struct ShowArgs {
    /// The receipt, or a `.tlog-proof`
    file: PathBuf,
}

/// Verify a receipt: the log's signature, that the record is in the log, and that what was disclosed is what the
/// record commits to
///
/// With `--input` and `--answer` it also says whether the record is of the question that you asked and the answer that
/// you got. Only the log's key has to come from elsewhere: from the host's operator, not from the receipt.
#[derive(clap::Args)]
#[command(
    after_help = "Example: verdict receipt verify receipt.json --log-key log.vkey --input question.json"
)]
struct VerifyArgs {
    /// The receipt, or a `.tlog-proof`
    file: PathBuf,
    /// The log's verifier key, `name+hash+base64`, or a file with it
    #[arg(long, value_name = "KEY|FILE")]
    log_key: String,
    /// The openings that belong to a `.tlog-proof`, as `verdict receipt split` writes them
    #[arg(long, value_name = "FILE")]
    openings: Option<PathBuf>,
    /// The input that was sent; white space around the document does not count
    #[arg(long, value_name = "FILE")]
    input: Option<PathBuf>,
    /// The answer's value that was received, empty for undefined; white space around it does not count
    #[arg(long, value_name = "FILE")]
    answer: Option<PathBuf>,
}

/// Split a receipt into the proof, which tells nothing of the input, and the openings that you choose to disclose
#[derive(clap::Args)]
#[command(after_help = "Example: verdict receipt split receipt.json --out public --disclose answer,reasons")]
struct SplitArgs {
    /// The receipt
    file: PathBuf,
    /// The folder to write to
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// The fields to disclose: answer, caller, fuel, input, reads, reasons, rule
    #[arg(long, value_name = "FIELDS", value_delimiter = ',', value_parser = field)]
    disclose: Vec<Field>,
}

fn field(name: &str) -> Result<Field, String> {
    let names = || Field::ALL.iter().map(|field| field.name());
    Field::ALL.iter().find(|field| field.name() == name).copied().ok_or_else(|| {
        match nearest(name, names()) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("a record has {}", names().collect::<Vec<_>>().join(", ")),
        }
    })
}

/// Runs the command.
pub(crate) fn run(args: Args) -> Result<Report, Error> {
    match args.command {
        ReceiptCommand::Show(args) => show(&args.file),
        ReceiptCommand::Verify(args) => verify(&args),
        ReceiptCommand::Split(args) => split(&args),
    }
}

/// A receipt with its proof and record read, and nothing verified.
pub(crate) struct Opened {
    pub(crate) receipt: Receipt,
    pub(crate) record: Record,
    proof: TlogProof,
}

impl Opened {
    /// Reads a receipt, or a proof with the openings that belong to it.
    ///
    /// # Errors
    /// When they cannot be read.
    pub(crate) fn read(path: &Path, openings: Option<&Path>) -> Result<Self, Error> {
        let bytes_max = u64::try_from(RECEIPT_BYTES_MAX).unwrap_or(u64::MAX);
        let text = files::read_text(path, bytes_max)?;
        let receipt = if text.trim_start().starts_with('{') {
            Receipt::parse(text.as_bytes()).map_err(|error| unreadable(path, &error))?
        } else {
            Receipt::new(text, Openings::default())
        };
        let receipt = match openings {
            Some(openings) => Receipt::new(receipt.proof().to_owned(), read_openings(openings, bytes_max)?),
            None => receipt,
        };
        let proof: TlogProof = receipt.proof().parse().map_err(|error| unreadable(path, &error))?;
        let leaf = proof.extra.as_deref().unwrap_or_default();
        let record = Record::parse(leaf).map_err(|error| unreadable(path, &error))?;
        Ok(Self { receipt, record, proof })
    }

    /// Checks that the log has the record.
    fn verify(&self, key: &VerifierKey) -> Result<Checkpoint, Error> {
        // The format does not authenticate `extra`: only a leaf hash of these very bytes does.
        let leaf = self.proof.extra.as_deref().unwrap_or_default();
        self.proof.verify(leaf, key).map_err(|error| {
            let help = "the receipt was changed, or is of another log than the key";
            Error::Refused(
                Problem::new("receipt-proof", format!("the proof does not hold: {error}")).help(help),
            )
        })
    }

    /// Checks that what the receipt discloses is what the record commits to.
    fn check_openings(&self) -> Result<(), Error> {
        self.receipt.check_openings(&self.record).map_err(|error| mismatch("receipt-opening", &error))
    }

    /// Checks a document of the caller's own.
    fn check_document(&self, field: Field, path: &Path, code: &'static str) -> Result<(), Error> {
        let text = files::read_text(path, DOCUMENT_BYTES_MAX)?;
        let check = |text: &str| self.receipt.check_value(&self.record, field, text.as_bytes());
        check(&text).or_else(|_| check(text.trim_ascii())).map_err(|error| mismatch(code, &error))
    }
}

fn read_openings(path: &Path, bytes_max: u64) -> Result<Openings, Error> {
    let bytes = files::read(path, bytes_max)?;
    serde_json::from_slice(&bytes).map_err(|error| unreadable(path, &error))
}

fn unreadable(path: &Path, error: &dyn std::fmt::Display) -> Error {
    let problem = Problem::new("receipt", format!("`{}` is not a receipt: {error}", path.display()));
    Error::Unusable(problem.help("fetch it again: GET …/decisions/ID/receipt"))
}

fn mismatch(code: &'static str, error: &RecordError) -> Error {
    Error::Refused(Problem::new(code, error.to_string()).help("it is of another decision, or was changed"))
}

fn show(path: &Path) -> Result<Report, Error> {
    let Opened { receipt, record, proof } = Opened::read(path, None)?;
    let record_json: serde_json::Value =
        serde_json::from_slice(proof.extra.as_deref().unwrap_or_default()).unwrap_or_default();
    let mut report = Report::new(json!({
        "verified": false, "index": proof.index, "record": record_json, "openings": openings_json(&receipt),
    }));
    report
        .row("decision", &record.id)
        .row("policy", format!("{} {}", record.policy, record.version))
        .row("component", record.component)
        .row("statement", record.statement)
        .row("data", record.data.map_or("none".into(), |digest| digest.to_string()))
        .row("time", format!("{}, received {}", record.decision_time, record.received_at))
        .row("fault", record.fault.map_or("none", |fault| fault.code()))
        .row("index", proof.index);
    for field in Field::ALL {
        let text = match receipt.opening(*field).map(|opening| &opening.value) {
            None => "not disclosed".to_owned(),
            Some(None) => "yours to compare".to_owned(),
            Some(Some(value)) if value.is_empty() => "none".to_owned(),
            Some(Some(value)) => value.clone(),
        };
        report.row(field.name(), text);
    }
    report.line("Not verified. `verdict receipt verify` does that, with the log's key.");
    Ok(report)
}

fn openings_json(receipt: &Receipt) -> serde_json::Value {
    let opened = Field::ALL.iter().filter_map(|field| Some((field.name(), receipt.opening(*field)?)));
    opened.map(|(name, opening)| (name.to_owned(), json!(opening))).collect::<serde_json::Map<_, _>>().into()
}

fn verify(args: &VerifyArgs) -> Result<Report, Error> {
    let key = log_key(&args.log_key)?;
    let opened = Opened::read(&args.file, args.openings.as_deref())?;
    let checkpoint = opened.verify(&key)?;
    opened.check_openings()?;
    let mut checked = vec!["signature", "inclusion", "openings"];
    for (field, path, code) in
        [(Field::Input, &args.input, "receipt-input"), (Field::Answer, &args.answer, "receipt-answer")]
    {
        if let Some(path) = path {
            opened.check_document(field, path, code)?;
            checked.push(field.name());
        }
    }
    let (record, index) = (&opened.record, opened.proof.index);
    let mut report = Report::new(json!({
        "ok": true, "checked": checked, "log": checkpoint.origin, "index": index, "size": checkpoint.size,
        "decision": record.id, "policy": record.policy, "version": record.version, "component": record.component,
    }));
    report
        .line(format!("{GOOD}ok{GOOD:#}: {}", checked.join(", ")))
        .row("decision", &record.id)
        .row("policy", format!("{} {}", record.policy, record.version))
        .row("log", format!("{}, record {index} of {}", checkpoint.origin, checkpoint.size));
    Ok(report)
}

/// A verifier key that was given as itself or as a file.
fn log_key(text: &str) -> Result<VerifierKey, Error> {
    const KEY_BYTES_MAX: u64 = 4_096;
    let path = Path::new(text);
    let key = if path.is_file() { files::read_text(path, KEY_BYTES_MAX)? } else { text.to_owned() };
    key.trim().parse().map_err(|error| {
        let problem =
            Problem::new("log-key", format!("`{text}` is not a log's key nor a file with one: {error}"));
        Error::Unusable(problem.help("a log's key looks like `name+hash+base64`; its operator publishes it"))
    })
}

fn split(args: &SplitArgs) -> Result<Report, Error> {
    let opened = Opened::read(&args.file, None)?;
    let mut openings = Vec::new();
    for field in &args.disclose {
        let opening = opened.receipt.opening(*field).cloned();
        let opening =
            opening.ok_or_else(|| mismatch("receipt-opening", &RecordError::Undisclosed(*field)))?;
        openings.push((*field, opening));
    }
    let openings: Openings = openings.into_iter().collect();
    let json = serde_json::to_vec_pretty(&openings)
        .map_err(|error| Error::Machine(Problem::new("receipt", error.to_string())))?;
    let proof_path = args.out.join(format!("{}.tlog-proof", opened.record.id));
    let openings_path = args.out.join(format!("{}.openings.json", opened.record.id));
    files::create_folder(&args.out)?;
    files::write(&proof_path, opened.receipt.proof().as_bytes())?;
    files::write(&openings_path, &json)?;

    let disclosed = args.disclose.iter().map(|field| field.name()).collect::<Vec<_>>();
    let mut report =
        Report::new(json!({ "proof": proof_path, "openings": openings_path, "disclosed": disclosed }));
    report
        .row("proof", format!("{}  public: tells nothing of input and answer", proof_path.display()))
        .row("openings", format!("{}  discloses: {}", openings_path.display(), listed(&disclosed)))
        .row("verify", "verdict receipt verify PROOF --openings OPENINGS --log-key KEY");
    Ok(report)
}

fn listed(names: &[&str]) -> String {
    if names.is_empty() { "nothing".into() } else { names.join(", ") }
}
