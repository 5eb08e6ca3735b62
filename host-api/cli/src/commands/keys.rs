//! `verdict keys`: keys in files and tokens, and what a trust policy needs to know of them.

use std::path::{Path, PathBuf};

use clap::Subcommand;
use serde_json::json;
use verdict_core::key::{KeyFile, Passphrase, PublicKey, Role, SEAL_RANDOM_BYTES, SecretKey, StoredKey};
use verdict_core::trust;
use zeroize::Zeroizing;

use super::keys_new;
use crate::error::{Error, Problem};
use crate::files;
use crate::report::{BAD, Report};
use crate::signer::{self, KeyPlace, NewPassphraseArgs, PassphraseArgs};

/// Make keys, encrypt them at rest, and show their public part
#[derive(clap::Args)]
#[command(arg_required_else_help = true)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: KeysCommand,
}

#[derive(Subcommand)]
enum KeysCommand {
    New(keys_new::Args),
    Show(ShowArgs),
    Encrypt(EncryptArgs),
    Decrypt(DecryptArgs),
    ChangePassphrase(ChangeArgs),
}

/// Show the public part of a key, and the lines that a trust policy needs for it
///
/// No passphrase and no PIN is needed: what an encrypted file says of itself is certain only once it is opened.
#[derive(clap::Args)]
#[command(after_help = "Example: verdict keys show author.key")]
struct ShowArgs {
    /// The key file, or `pkcs11:…` (RFC 7512) for a key in a token
    #[arg(value_name = "FILE|URI")]
    key: PathBuf,
}

/// Encrypt a key file with a passphrase
#[derive(clap::Args)]
#[command(after_help = "Example: verdict keys encrypt author.key")]
struct EncryptArgs {
    /// The key file
    file: PathBuf,
    #[command(flatten)]
    passphrase: PassphraseArgs,
}

/// Write a key file in clear again
#[derive(clap::Args)]
#[command(after_help = "Example: verdict keys decrypt author.key")]
struct DecryptArgs {
    /// The key file
    file: PathBuf,
    #[command(flatten)]
    passphrase: PassphraseArgs,
}

/// Encrypt a key file with another passphrase
///
/// Copies that were made before open with the old passphrase still.
#[derive(clap::Args)]
#[command(after_help = "Example: verdict keys change-passphrase author.key")]
struct ChangeArgs {
    /// The key file
    file: PathBuf,
    #[command(flatten)]
    passphrase: PassphraseArgs,
    #[command(flatten)]
    new: NewPassphraseArgs,
}

/// Runs the command.
pub(crate) fn run(args: Args) -> Result<Report, Error> {
    match args.command {
        KeysCommand::New(args) => keys_new::run(args),
        KeysCommand::Show(args) => show(&args.key),
        KeysCommand::Encrypt(args) => encrypt(&args),
        KeysCommand::Decrypt(args) => decrypt(&args),
        KeysCommand::ChangePassphrase(args) => change(&args),
    }
}

fn show(key: &Path) -> Result<Report, Error> {
    let (role, public, encrypted) = match KeyPlace::of(key)? {
        KeyPlace::Token(uri) => (None, signer::token_public(&uri)?, None),
        KeyPlace::File(path) => {
            let file = signer::read_file(path)?;
            (Some(file.role()), file.public(), Some(matches!(file, StoredKey::Sealed(_))))
        }
    };
    let mut report = Report::new(json!({
        "role": role, "public": public, "fingerprint": public.fingerprint(), "encrypted": encrypted,
    }));
    if let Some(role) = role {
        report.row("role", role);
    }
    report.row("public", public).row("fingerprint", public.fingerprint());
    match encrypted {
        None => report.row("kept", "in a token"),
        Some(true) => report.row("kept", "in a file, encrypted"),
        Some(false) => report.row("kept", format!("in a file, {BAD}not encrypted{BAD:#}")),
    };
    if let Some((list, entry)) = role.and_then(|role| grant(role, &public)) {
        report.row("trust", format!("to trust it, add to `{list}` of a trust policy: {entry}"));
    }
    Ok(report)
}

/// The list of a trust policy where keys of this role go, and the entry.
pub(super) fn grant(role: Role, public: &PublicKey) -> Option<(&'static str, serde_json::Value)> {
    let role = match role {
        Role::Author => trust::Role::Author,
        Role::Approver => trust::Role::Approver,
        Role::Releaser => trust::Role::Releaser,
        Role::DataSigner => trust::Role::DataSigner,
        Role::Revoker => trust::Role::Revoker,
        Role::Attester => trust::Role::Attester,
        Role::Root => return Some(("root.keys", json!(public))),
        Role::Log => return None,
    };
    let entry = match role {
        // Revocations are for everybody.
        trust::Role::Revoker => json!({ "person": "NAME", "public": public }),
        _ => json!({ "person": "NAME", "public": public, "policies": ["default/*"] }),
    };
    Some((role.member(), entry))
}

fn encrypt(args: &EncryptArgs) -> Result<Report, Error> {
    let StoredKey::Plain(key) = signer::read_file(&args.file)? else {
        let problem = Problem::new("encrypted", format!("`{}` is encrypted already", args.file.display()));
        return Err(Error::Unusable(
            problem.help("`verdict keys change-passphrase` gives it another passphrase"),
        ));
    };
    let passphrase = args.passphrase.choose()?.ok_or_else(|| no_passphrase("--passphrase-file"))?;
    replace(&args.file, &seal(&key, &passphrase)?)?;
    let mut report = rewritten(&args.file, &key, true);
    report.warn("copies in clear may remain, in backups and on the disk; a key that others could read is to be replaced");
    Ok(report)
}

fn decrypt(args: &DecryptArgs) -> Result<Report, Error> {
    let key = open_sealed(&args.file, &args.passphrase)?;
    replace(&args.file, &key.render())?;
    let mut report = rewritten(&args.file, &key, false);
    report.warn(not_encrypted(&args.file));
    Ok(report)
}

fn change(args: &ChangeArgs) -> Result<Report, Error> {
    let key = open_sealed(&args.file, &args.passphrase)?;
    let passphrase = args.new.choose()?.ok_or_else(|| no_passphrase("--new-passphrase-file"))?;
    replace(&args.file, &seal(&key, &passphrase)?)?;
    Ok(rewritten(&args.file, &key, true))
}

fn open_sealed(path: &Path, passphrase: &PassphraseArgs) -> Result<KeyFile, Error> {
    if let StoredKey::Plain(_) = signer::read_file(path)? {
        let problem = Problem::new("not-encrypted", format!("`{}` is not encrypted", path.display()));
        return Err(Error::Unusable(problem.help("`verdict keys encrypt` encrypts it")));
    }
    signer::open_file(path, passphrase)
}

fn no_passphrase(option: &str) -> Error {
    let problem = Problem::new("passphrase", "no passphrase is given, and nobody is there to ask");
    Error::Unusable(problem.help(format!("name a file that holds it with `{option} FILE`")))
}

fn rewritten(path: &Path, key: &KeyFile, encrypted: bool) -> Report {
    let public = key.secret().public();
    let mut report = Report::new(json!({
        "key": path, "role": key.role(), "public": public, "fingerprint": public.fingerprint(),
        "encrypted": encrypted,
    }));
    report.row("key", format!("{}, {}", path.display(), if encrypted { "encrypted" } else { "in clear" }));
    report.row("fingerprint", public.fingerprint());
    report
}

/// What is to be said of a key that nothing protects.
pub(super) fn not_encrypted(path: &Path) -> String {
    let path = path.display();
    format!(
        "`{path}` is NOT ENCRYPTED: whoever can read it can sign with it; `verdict keys encrypt {path}` protects it"
    )
}

/// The text of a key file that is sealed with `passphrase`.
pub(super) fn seal(key: &KeyFile, passphrase: &Passphrase) -> Result<Zeroizing<String>, Error> {
    let sealed = key.seal(passphrase, random::<SEAL_RANDOM_BYTES>()?).and_then(|file| file.render());
    sealed.map(Zeroizing::new).map_err(|error| Error::Machine(Problem::new("key-file", error.to_string())))
}

/// Puts `text` in the place of a key file: after a crash one of both is there, whole.
fn replace(path: &Path, text: &str) -> Result<(), Error> {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{}.new", std::process::id()));
    let new = PathBuf::from(name);
    files::write_new(&new, text.as_bytes(), true)?;
    std::fs::rename(&new, path).map_err(|error| {
        // Nothing else is to be done about it here.
        let _ = std::fs::remove_file(&new);
        Error::file("replace", path, &error)
    })
}

/// A key of fresh randomness.
///
/// # Errors
/// When the system gives none.
pub(crate) fn random_key() -> Result<SecretKey, Error> {
    random().map(SecretKey::from_seed)
}

fn random<const N: usize>() -> Result<[u8; N], Error> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|error| {
        Error::Machine(Problem::new("randomness", format!("the system gives no randomness: {error}")))
    })?;
    Ok(bytes)
}
