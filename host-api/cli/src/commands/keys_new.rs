//! `verdict keys new`: a key for one role, and for an author the trust file that lets a host accept what it signs.

use std::path::{Path, PathBuf};

use serde_json::json;
use verdict_core::key::{KeyFile, PublicKey, Role};
use verdict_core::time::Timestamp;
use verdict_core::trust::{Author, PolicyPattern, TrustPolicy};

use super::keys;
use crate::clock;
use crate::error::{Error, Problem};
use crate::files;
use crate::report::{BAD, Report};
use crate::signer::{self, KeyPlace, PassphraseArgs};

const YEAR_MS: i64 = 365 * 24 * 60 * 60 * 1_000;

/// Make a key: `author.key`, with a `trust.json` that says who may sign what, or the key of another role
///
/// Nothing is ever written over. The key is encrypted with the passphrase of `--passphrase-file`, VERDICT_PASSPHRASE
/// or the terminal. Keep it to yourself: whoever has an author's key and its passphrase can publish policies that
/// hosts with this trust file accept. Give `trust.json` to the host; review it, it expires after a year.
#[derive(clap::Args)]
#[command(after_help = "\
Examples: verdict keys new --person alice --policies 'default/*'
          verdict keys new --role approver --out bob
          verdict keys new --role releaser --token 'pkcs11:token=hsm;object=release?module-path=/…/library.so'")]
pub(super) struct Args {
    /// What the key is for: author, approver, releaser, data-signer, revoker, attester, root or log
    #[arg(long, value_name = "ROLE", default_value = "author")]
    role: Role,
    /// The folder to write `ROLE.key` to
    #[arg(long, value_name = "DIR", default_value = ".")]
    out: PathBuf,
    /// Who holds the key, as the trust file names them
    #[arg(long, value_name = "NAME", env = "USER", hide_env = true, default_value = "author")]
    person: String,
    /// What the key may sign: `tenant/name`, or `tenant/*` for all of a tenant; may be repeated
    #[arg(long, value_name = "PATTERN", default_value = "default/*")]
    policies: Vec<PolicyPattern>,
    /// Write no trust file: the key goes into a trust policy that is there
    #[arg(long)]
    key_only: bool,
    /// Ask for no passphrase and write the key in clear
    #[arg(long, conflicts_with = "passphrase_file")]
    unencrypted: bool,
    /// Make the key inside a PKCS#11 token, which never gives it away, instead of a file
    #[arg(long, value_name = "URI", conflicts_with_all = ["out", "unencrypted", "passphrase_file"])]
    token: Option<PathBuf>,
    #[command(flatten)]
    passphrase: PassphraseArgs,
}

/// Runs the command.
pub(super) fn run(args: Args) -> Result<Report, Error> {
    if let Some(uri) = &args.token {
        return in_token(uri, args.role);
    }
    let path = args.out.join(format!("{}.key", args.role));
    let trust_path = (args.role == Role::Author && !args.key_only).then(|| args.out.join("trust.json"));
    // Both are looked for first, so that a refusal leaves nothing half done.
    for path in trust_path.iter().chain([&path]) {
        refuse_existing(path)?;
    }
    let key = KeyFile::new(args.role, keys::random_key()?);
    let passphrase = if args.unencrypted { None } else { args.passphrase.choose()? };
    let text = match &passphrase {
        Some(passphrase) => keys::seal(&key, passphrase)?,
        None => key.render(),
    };
    let public = key.secret().public();
    let starter = trust_path.map(|path| Starter::new(path, &args, public)).transpose()?;
    files::create_folder(&args.out)?;
    files::write_new(&path, text.as_bytes(), true)?;
    if let Some(starter) = &starter {
        files::write_new(&starter.path, starter.trust.render().as_bytes(), false)?;
    }
    Ok(report(&path, args.role, public, passphrase.is_some(), starter.as_ref()))
}

fn refuse_existing(path: &Path) -> Result<(), Error> {
    if path.symlink_metadata().is_err() {
        return Ok(());
    }
    let message = format!("`{}` exists, and is never written over", path.display());
    let help = "move it away, or write to another folder with `--out DIR`";
    Err(Error::Unusable(Problem::new("exists", message).help(help)))
}

/// The trust file of an author who begins.
struct Starter {
    path: PathBuf,
    trust: TrustPolicy,
    author: Author,
    expires: Timestamp,
}

impl Starter {
    fn new(path: PathBuf, args: &Args, public: PublicKey) -> Result<Self, Error> {
        let author = Author {
            person: args.person.clone(),
            public,
            policies: args.policies.clone(),
            not_before: None,
            not_after: None,
        };
        let expires = clock::from_now(YEAR_MS)?;
        let trust = TrustPolicy::new(1, expires, vec![author.clone()])
            .map_err(|error| Error::Unusable(Problem::new("trust-file", error.to_string())))?;
        Ok(Self { path, trust, author, expires })
    }
}

fn report(path: &Path, role: Role, public: PublicKey, encrypted: bool, starter: Option<&Starter>) -> Report {
    let mut json = json!({
        "key": path, "role": role, "public": public, "fingerprint": public.fingerprint(), "encrypted": encrypted,
    });
    let policies = starter
        .map(|starter| starter.author.policies.iter().map(PolicyPattern::to_string).collect::<Vec<_>>());
    if let (Some(json), Some(starter)) = (json.as_object_mut(), starter) {
        json.insert("trust".into(), json!(starter.path));
        json.insert("person".into(), json!(starter.author.person));
        json.insert("policies".into(), json!(policies));
        json.insert("expires".into(), json!(starter.expires));
    }
    let mut report = Report::new(json);
    let kept = if encrypted { "encrypted; a lost passphrase is a lost key" } else { "not encrypted" };
    report.row(
        "key",
        format!("{}  {BAD}secret{BAD:#}, {kept}: keep it, back it up, share it with nobody", path.display()),
    );
    match (starter, policies) {
        (Some(starter), Some(policies)) => report
            .row("trust", format!("{}  for the host: says who may sign what", starter.path.display()))
            .row("author", format!("{}, may sign {}", starter.author.person, policies.join(", ")))
            .row("fingerprint", public.fingerprint())
            .row("expires", starter.expires)
            .row("next", "verdict new NAME, then `verdict build` and `verdict sign --key author.key`"),
        _ => granted(&mut report, role, public),
    };
    if !encrypted {
        report.warn(keys::not_encrypted(path));
    }
    report
}

/// What a trust policy needs to know of the key.
fn granted(report: &mut Report, role: Role, public: PublicKey) -> &mut Report {
    report.row("role", role).row("fingerprint", public.fingerprint());
    if let Some((list, entry)) = keys::grant(role, &public) {
        report.row("next", format!("to trust it, add to `{list}` of a trust policy: {entry}"));
    }
    report
}

fn in_token(uri: &Path, role: Role) -> Result<Report, Error> {
    let KeyPlace::Token(place) = KeyPlace::of(uri)? else {
        let problem = Problem::new("pkcs11-uri", "`--token` names no `pkcs11:` URI");
        return Err(Error::Unusable(problem.help("leave it away to write a key file")));
    };
    let public = signer::token_generate(&place)?;
    let mut report = Report::new(json!({
        "key": uri, "role": role, "public": public, "fingerprint": public.fingerprint(), "encrypted": null,
    }));
    report.row("key", format!("{}  in the token", uri.display()));
    granted(&mut report, role, public);
    Ok(report)
}
