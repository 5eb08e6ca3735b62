//! `verdict keys`: an author's key, and the trust file that lets a host accept what it signs.

use std::path::{Path, PathBuf};

use clap::Subcommand;
use serde_json::json;
use verdict_core::key::{KEY_FILE_BYTES_MAX, KeyFile, Role, SecretKey};
use verdict_core::trust::{Author, PolicyPattern, TrustPolicy};

use crate::clock;
use crate::error::{Error, Problem};
use crate::files;
use crate::report::{BAD, Report};

const YEAR_MS: i64 = 365 * 24 * 60 * 60 * 1_000;

/// Make an author's key and a starter trust file, or show a key's public part
#[derive(clap::Args)]
#[command(arg_required_else_help = true)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: KeysCommand,
}

#[derive(Subcommand)]
enum KeysCommand {
    New(NewArgs),
    Show(ShowArgs),
}

/// Make `author.key`, which signs, and `trust.json`, which says who may sign what
///
/// Neither is ever written over. Keep `author.key` to yourself: whoever has it can publish policies that hosts with
/// this trust file accept. Give `trust.json` to the host; review it, it expires after a year.
#[derive(clap::Args)]
#[command(after_help = "Example: verdict keys new --person alice --policies 'default/*'")]
struct NewArgs {
    /// The folder to write to
    #[arg(long, value_name = "DIR", default_value = ".")]
    out: PathBuf,
    /// Who holds the key, as the trust file names them
    #[arg(long, value_name = "NAME", env = "USER", hide_env = true, default_value = "author")]
    person: String,
    /// What the key may sign: `tenant/name`, or `tenant/*` for all of a tenant; may be repeated
    #[arg(long, value_name = "PATTERN", default_value = "default/*")]
    policies: Vec<PolicyPattern>,
}

/// Show the public part of a key file, and the lines that a trust file needs for it
#[derive(clap::Args)]
#[command(after_help = "Example: verdict keys show author.key")]
struct ShowArgs {
    /// The key file
    file: PathBuf,
}

/// Runs the command.
pub(crate) fn run(args: Args) -> Result<Report, Error> {
    match args.command {
        KeysCommand::New(args) => new(args),
        KeysCommand::Show(args) => show(&args.file),
    }
}

fn new(args: NewArgs) -> Result<Report, Error> {
    let (key_path, trust_path) = (args.out.join("author.key"), args.out.join("trust.json"));
    // Both are looked for first, so that a refusal leaves nothing half done.
    for path in [&key_path, &trust_path] {
        if path.symlink_metadata().is_ok() {
            let message = format!("`{}` exists, and is never written over", path.display());
            let help = "move it away, or write to another folder with `--out DIR`";
            return Err(Error::Unusable(Problem::new("exists", message).help(help)));
        }
    }
    let key = KeyFile::new(Role::Author, random_key()?);
    let author = Author {
        person: args.person,
        public: key.secret().public(),
        policies: args.policies,
        not_before: None,
        not_after: None,
    };
    let expires = clock::from_now(YEAR_MS)?;
    let trust = TrustPolicy::new(1, expires, vec![author.clone()])
        .map_err(|error| Error::Unusable(Problem::new("trust-file", error.to_string())))?;
    files::create_folder(&args.out)?;
    files::write_new(&key_path, key.render().as_bytes(), true)?;
    files::write_new(&trust_path, trust.render().as_bytes(), false)?;

    let policies = author.policies.iter().map(PolicyPattern::to_string).collect::<Vec<_>>();
    let mut report = Report::new(json!({
        "key": key_path, "trust": trust_path, "person": author.person, "public": author.public,
        "fingerprint": author.public.fingerprint(), "policies": policies, "expires": expires,
    }));
    report
        .row(
            "key",
            format!("{}  {BAD}secret{BAD:#}: keep it, back it up, share it with nobody", key_path.display()),
        )
        .row("trust", format!("{}  for the host: says who may sign what", trust_path.display()))
        .row("author", format!("{}, may sign {}", author.person, policies.join(", ")))
        .row("fingerprint", author.public.fingerprint())
        .row("expires", expires)
        .row("next", "verdict new NAME, then `verdict build` and `verdict sign --key author.key`");
    Ok(report)
}

fn show(path: &Path) -> Result<Report, Error> {
    let key = read(path)?;
    let public = key.secret().public();
    let mut report = Report::new(json!({
        "role": key.role(), "public": public, "fingerprint": public.fingerprint(),
    }));
    report.row("role", key.role()).row("public", public).row("fingerprint", public.fingerprint());
    if key.role() == Role::Author {
        let author = json!({ "person": "NAME", "public": public, "policies": ["default/*"] });
        report.row("trust", format!("to let it sign, add to `authors` of a trust file: {author}"));
    }
    Ok(report)
}

/// A key of fresh randomness.
///
/// # Errors
/// When the system gives none.
pub(crate) fn random_key() -> Result<SecretKey, Error> {
    let mut seed = [0; 32];
    getrandom::fill(&mut seed).map_err(|error| {
        Error::Machine(Problem::new("randomness", format!("the system gives no randomness: {error}")))
    })?;
    Ok(SecretKey::from_seed(seed))
}

/// Reads a key file.
///
/// # Errors
/// When it cannot be read.
pub(crate) fn read(path: &Path) -> Result<KeyFile, Error> {
    let bytes_max = u64::try_from(KEY_FILE_BYTES_MAX).unwrap_or(u64::MAX);
    let bytes = files::read(path, bytes_max)?;
    KeyFile::parse(&bytes)
        .map_err(|error| Error::Unusable(Problem::new("key-file", format!("`{}`: {error}", path.display()))))
}
