//! Secrets that a person knows, from a file, the environment or the terminal. Never from the command line: every
//! user of the machine can read that.

use std::fs::File;
use std::io::{IsTerminal as _, Read as _};
use std::path::{Path, PathBuf};

use verdict_core::key::{KeyError, PASSPHRASE_BYTES_MAX, Passphrase};
use zeroize::Zeroizing;

use crate::error::{Error, Problem};

const VARIABLE: &str = "VERDICT_PASSPHRASE";
const NEW_VARIABLE: &str = "VERDICT_NEW_PASSPHRASE";

/// The passphrase of a key that is there.
#[derive(clap::Args)]
pub(crate) struct PassphraseArgs {
    /// Read the key's passphrase from this file; otherwise from VERDICT_PASSPHRASE, or from the terminal
    #[arg(long, value_name = "FILE")]
    passphrase_file: Option<PathBuf>,
}

impl PassphraseArgs {
    /// The passphrase of the key at `path`.
    ///
    /// # Errors
    /// When there is none.
    pub(crate) fn find(&self, path: &Path) -> Result<Passphrase, Error> {
        let prompt = format!("Passphrase of {}: ", path.display());
        let source = Source { file: self.passphrase_file.as_deref(), variable: VARIABLE, prompt: &prompt };
        let text = source.find()?.ok_or_else(|| {
            let problem = Problem::new("passphrase", format!("`{}` is encrypted", path.display()));
            let help = "give its passphrase with `--passphrase-file FILE` or in VERDICT_PASSPHRASE";
            Error::Unusable(problem.help(help))
        })?;
        Passphrase::new(text).map_err(unusable)
    }

    /// The passphrase from the file or the environment, for keys that are opened where nobody sits.
    ///
    /// # Errors
    /// When the file cannot be read, or it is unfit.
    pub(crate) fn given(&self) -> Result<Option<Passphrase>, Error> {
        let source = Source { file: self.passphrase_file.as_deref(), variable: VARIABLE, prompt: "" };
        source.given()?.map(|text| Passphrase::new(text).map_err(unusable)).transpose()
    }

    /// A passphrase for a new key; none where none is given and nobody is there to ask.
    ///
    /// # Errors
    /// When it is unfit, or typed differently the second time.
    pub(crate) fn choose(&self) -> Result<Option<Passphrase>, Error> {
        choose(self.passphrase_file.as_deref(), VARIABLE)
    }
}

/// The passphrase that replaces another.
#[derive(clap::Args)]
pub(crate) struct NewPassphraseArgs {
    /// Read the new passphrase from this file; otherwise from VERDICT_NEW_PASSPHRASE, or from the terminal
    #[arg(long, value_name = "FILE")]
    new_passphrase_file: Option<PathBuf>,
}

impl NewPassphraseArgs {
    /// As [`PassphraseArgs::choose`].
    pub(crate) fn choose(&self) -> Result<Option<Passphrase>, Error> {
        choose(self.new_passphrase_file.as_deref(), NEW_VARIABLE)
    }
}

fn choose(file: Option<&Path>, variable: &'static str) -> Result<Option<Passphrase>, Error> {
    let source = Source { file, variable, prompt: "New passphrase: " };
    let Some(text) = source.given()? else { return asked_twice(&source) };
    Passphrase::new(text).map(Some).map_err(unusable)
}

fn asked_twice(source: &Source) -> Result<Option<Passphrase>, Error> {
    let Some(text) = source.asked()? else { return Ok(None) };
    let passphrase = Passphrase::new(text.clone()).map_err(unusable)?;
    let again = Source { prompt: "The same again: ", ..*source }.asked()?;
    if again.is_some_and(|again| again == text) {
        return Ok(Some(passphrase));
    }
    Err(Error::Unusable(Problem::new("passphrase", "the two passphrases differ").help("try again")))
}

fn unusable(error: KeyError) -> Error {
    let help = "several words are easier to remember than letters, and harder to guess";
    Error::Unusable(Problem::new("passphrase", error.to_string()).help(help))
}

/// Where a secret may come from, in this order.
#[derive(Clone, Copy)]
pub(crate) struct Source<'a> {
    /// A file that holds it, and nothing else but the end of its line.
    pub(crate) file: Option<&'a Path>,
    /// A variable of the environment.
    pub(crate) variable: &'static str,
    /// What to ask a person at the terminal.
    pub(crate) prompt: &'a str,
}

impl Source<'_> {
    /// The secret; none where none is given and nobody is there to ask.
    ///
    /// # Errors
    /// When it cannot be read.
    pub(crate) fn find(&self) -> Result<Option<Zeroizing<String>>, Error> {
        match self.given()? {
            Some(text) => Ok(Some(text)),
            None => self.asked(),
        }
    }

    fn given(&self) -> Result<Option<Zeroizing<String>>, Error> {
        if let Some(path) = self.file {
            return read(path).map(Some);
        }
        match std::env::var(self.variable) {
            Ok(text) => Ok(Some(Zeroizing::new(text))),
            Err(std::env::VarError::NotPresent) => Ok(None),
            Err(std::env::VarError::NotUnicode(_)) => {
                let message = format!("the variable `{}` is not UTF-8 text", self.variable);
                Err(Error::Unusable(Problem::new("passphrase", message)))
            }
        }
    }

    fn asked(&self) -> Result<Option<Zeroizing<String>>, Error> {
        if !std::io::stdin().is_terminal() {
            return Ok(None);
        }
        let text = rpassword::prompt_password(self.prompt).map_err(|error| {
            Error::Machine(Problem::new("terminal", format!("cannot ask for the passphrase: {error}")))
        })?;
        Ok(Some(Zeroizing::new(text)))
    }
}

/// The text of a file without the end of its line. It is read into one piece of memory, which is erased.
fn read(path: &Path) -> Result<Zeroizing<String>, Error> {
    let limit = PASSPHRASE_BYTES_MAX + "\r\n".len() + 1;
    let mut text = Zeroizing::new(String::with_capacity(limit));
    let file = File::open(path).map_err(|error| Error::file("read", path, &error))?;
    let read = file.take(u64::try_from(limit).unwrap_or(u64::MAX)).read_to_string(&mut text);
    read.map_err(|error| Error::file("read", path, &error))?;
    let end = text.trim_end_matches('\n').trim_end_matches('\r').len();
    text.truncate(end);
    Ok(text)
}
