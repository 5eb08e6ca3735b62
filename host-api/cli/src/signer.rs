//! Keys that sign: from a file, in clear or sealed with a passphrase, or in a PKCS#11 token that never gives them away.

mod passphrase;
#[cfg(feature = "pkcs11")]
mod token;
mod uri;

use std::path::{Path, PathBuf};

use verdict_core::dsse::Envelope;
use verdict_core::key::{KEY_FILE_BYTES_MAX, KeyError, KeyFile, PublicKey, Role, SecretKey, StoredKey};
use zeroize::Zeroizing;

use crate::error::{Error, Problem};
use crate::files;

pub(crate) use passphrase::{NewPassphraseArgs, PassphraseArgs};
use uri::Uri;

/// The key that signs, on the command line.
#[derive(clap::Args)]
pub(crate) struct KeyArgs {
    /// The key that signs: a file made by `verdict keys new`, or `pkcs11:…` (RFC 7512) for one in a token
    #[arg(long, value_name = "FILE|URI")]
    key: PathBuf,
    #[command(flatten)]
    passphrase: PassphraseArgs,
}

impl KeyArgs {
    /// Opens the key. One in a file must have this role; a token knows no roles, and what its key may do is for the
    /// trust policy alone to say.
    ///
    /// # Errors
    /// When it cannot be read or opened, or has another role.
    pub(crate) fn open(&self, role: Role) -> Result<Signer, Error> {
        open(&self.key, &self.passphrase, role)
    }
}

/// Opens a key as [`KeyArgs::open`] does.
///
/// # Errors
/// As that.
pub(crate) fn open(key: &Path, passphrase: &PassphraseArgs, role: Role) -> Result<Signer, Error> {
    match KeyPlace::of(key)? {
        KeyPlace::Token(uri) => Signer::in_token(&uri),
        KeyPlace::File(path) => {
            let file = open_file(path, passphrase)?;
            if file.role() == role {
                return Ok(Signer::File(file.secret().clone()));
            }
            let message = format!("`{}` is a key of role `{}`", path.display(), file.role());
            let help = format!("name one of role `{role}`: `verdict keys new --role {role}` makes it");
            Err(Error::Unusable(Problem::new("key-file", message).help(help)))
        }
    }
}

/// Where a key is.
pub(crate) enum KeyPlace<'a> {
    /// In a file.
    File(&'a Path),
    /// In a PKCS#11 token.
    Token(Uri),
}

impl<'a> KeyPlace<'a> {
    /// Where `argument` says that it is: `pkcs11:…`, or a file.
    ///
    /// # Errors
    /// When it is such a URI and cannot be used.
    pub(crate) fn of(argument: &'a Path) -> Result<Self, Error> {
        match argument.to_str().filter(|text| text.starts_with(uri::SCHEME)) {
            Some(text) => Ok(Self::Token(Uri::parse(text)?)),
            None => Ok(Self::File(argument)),
        }
    }
}

/// A key that signs.
pub(crate) enum Signer {
    /// Read from a file.
    File(SecretKey),
    /// In a token.
    #[cfg(feature = "pkcs11")]
    Token(token::TokenKey),
}

impl Signer {
    #[cfg(feature = "pkcs11")]
    fn in_token(uri: &Uri) -> Result<Self, Error> {
        Ok(Self::Token(token::TokenKey::open(uri)?))
    }

    #[cfg(not(feature = "pkcs11"))]
    fn in_token(_: &Uri) -> Result<Self, Error> {
        Err(without_tokens())
    }

    /// The key that checks what this one signs.
    pub(crate) fn public(&self) -> PublicKey {
        match self {
            Self::File(key) => key.public(),
            #[cfg(feature = "pkcs11")]
            Self::Token(key) => key.public(),
        }
    }

    /// Adds the key's signature to an envelope.
    ///
    /// # Errors
    /// When a token refuses or fails.
    pub(crate) fn sign(&self, envelope: &mut Envelope) -> Result<(), Error> {
        let signature = match self {
            Self::File(key) => key.sign(&envelope.message()),
            #[cfg(feature = "pkcs11")]
            Self::Token(key) => key.sign(&envelope.message())?,
        };
        if envelope.attach(&self.public(), signature) {
            return Ok(());
        }
        let message = "the token's signature is not one of the public key that it shows";
        Err(Error::Machine(
            Problem::new("pkcs11", message).help("check that both halves of the key belong together"),
        ))
    }
}

/// The public key of a key in a token.
///
/// # Errors
/// When it cannot be found or read.
#[cfg(feature = "pkcs11")]
pub(crate) fn token_public(uri: &Uri) -> Result<PublicKey, Error> {
    token::public(uri)
}

/// Makes a key inside a token, which never leaves it.
///
/// # Errors
/// When the token cannot, or has one of this name.
#[cfg(feature = "pkcs11")]
pub(crate) fn token_generate(uri: &Uri) -> Result<PublicKey, Error> {
    token::generate(uri)
}

#[cfg(not(feature = "pkcs11"))]
pub(crate) fn token_public(_: &Uri) -> Result<PublicKey, Error> {
    Err(without_tokens())
}

#[cfg(not(feature = "pkcs11"))]
pub(crate) fn token_generate(_: &Uri) -> Result<PublicKey, Error> {
    Err(without_tokens())
}

#[cfg(not(feature = "pkcs11"))]
fn without_tokens() -> Error {
    let problem = Problem::new("pkcs11", "this `verdict` was built without PKCS#11");
    Error::Unusable(problem.help("build it with the feature `pkcs11`, or name a key file"))
}

/// Reads a key file as it is.
///
/// # Errors
/// When it cannot be read or is not one.
pub(crate) fn read_file(path: &Path) -> Result<StoredKey, Error> {
    let bytes = Zeroizing::new(files::read(path, u64::try_from(KEY_FILE_BYTES_MAX).unwrap_or(u64::MAX))?);
    StoredKey::parse(&bytes).map_err(|error| unusable(path, &error))
}

/// Reads a key file and opens it.
///
/// # Errors
/// When it cannot be read, or the passphrase is missing or another one.
pub(crate) fn open_file(path: &Path, passphrase: &PassphraseArgs) -> Result<KeyFile, Error> {
    match read_file(path)? {
        StoredKey::Plain(file) => Ok(file),
        StoredKey::Sealed(file) => {
            let passphrase = passphrase.find(path)?;
            file.open(&passphrase).map_err(|error| unusable(path, &error))
        }
    }
}

fn unusable(path: &Path, error: &KeyError) -> Error {
    let code = if matches!(error, KeyError::Passphrase) { "passphrase" } else { "key-file" };
    Error::Unusable(Problem::new(code, format!("`{}`: {error}", path.display())))
}
