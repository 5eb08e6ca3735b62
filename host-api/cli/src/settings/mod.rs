//! The settings of `verdict serve`: flags, the environment, a TOML file and defaults, in this order.
//!
//! Three nouns: a [`Key`] is a flag of `verdict serve` as the file and the environment know it, an [`Origin`] is where
//! its value comes from, and [`Settings`] are all that were found. The flags are the only definition: what is said
//! elsewhere becomes an argument, and the command line is parsed as if it had been given. So everything that clap checks
//! of flags holds for the file as well.

mod file;
mod key;
mod schema;

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::ops::Range;
use std::path::{Path, PathBuf};

use clap::error::{ContextKind, ContextValue};
use clap::parser::ValueSource;
use clap::{ArgMatches, CommandFactory as _, Parser as _};
use verdict_server::Budgets;

use crate::Cli;
use crate::commands::{Command, serve};
use crate::error::{Error, Problem};
use file::File;
use key::{BUDGETS, CONFIG, first_paragraph};

pub(crate) use key::{Key, Kind};
pub(crate) use schema::schema;

const SERVE: &str = "serve";
/// The variable that names the file.
pub(crate) const CONFIG_VARIABLE: &str = "VERDICT_CONFIG";

/// Where a value comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Origin {
    /// A flag.
    Flag,
    /// A variable of the environment.
    Variable(String),
    /// This place of the file, in bytes.
    File(Range<usize>),
}

/// What is said of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) origin: Origin,
    pub(crate) values: Vec<String>,
}

/// All that is said, and where.
pub(crate) struct Settings {
    /// The command line, and where the flags of `serve` begin in it.
    arguments: Vec<OsString>,
    flags_at: usize,
    pub(crate) keys: Vec<Key>,
    pub(crate) file: Option<File>,
    found: BTreeMap<String, Found>,
}

/// Where the flags of `serve` begin in a command line; none where it is another command's.
fn flags_at(arguments: &[OsString]) -> Option<usize> {
    // Before the name of a command there is only this flag, which every command has.
    let at = arguments.iter().skip(1).position(|argument| argument != "--json")? + 1;
    (arguments.get(at)? == SERVE).then_some(at + 1)
}

impl Settings {
    /// The settings of this process; none where its command is another one.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub(crate) fn of_process() -> Result<Option<Self>, Error> {
        let arguments: Vec<OsString> = std::env::args_os().collect();
        flags_at(&arguments).map(|at| Self::read(arguments, at)).transpose()
    }

    /// The settings that `verdict serve` would have with this file and these flags.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub(crate) fn of(file: Option<&Path>, flags: &[OsString]) -> Result<Self, Error> {
        let mut arguments: Vec<OsString> = ["verdict", SERVE].map(Into::into).into();
        if let Some(file) = file {
            arguments.extend([OsStr::new("--config").to_owned(), file.as_os_str().to_owned()]);
        }
        arguments.extend_from_slice(flags);
        Self::read(arguments, 2)
    }

    /// The same, looked up once more.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub(crate) fn again(&self) -> Result<Self, Error> {
        Self::read(self.arguments.clone(), self.flags_at)
    }

    /// The keys that say something else in others.
    pub(crate) fn changed<'a>(&'a self, others: &'a Self) -> impl Iterator<Item = &'a Key> {
        let values = |settings: &'a Self, key: &Key| settings.found(key).map(|found| found.values.as_slice());
        self.keys.iter().filter(move |key| values(self, key) != values(others, key))
    }

    /// Looks up the file and the environment.
    ///
    /// # Errors
    /// When one has something that `verdict serve` does not take.
    fn read(arguments: Vec<OsString>, flags_at: usize) -> Result<Self, Error> {
        let mut command = Cli::command();
        command.build();
        let keys = command.find_subcommand(SERVE).map(Key::all).unwrap_or_default();
        // Only what is given, whether or not it goes together.
        let given = Cli::command().ignore_errors(true).try_get_matches_from(&arguments);
        let given =
            given.ok().and_then(|mut matches| Some(matches.remove_subcommand()?.1)).unwrap_or_default();
        let file = given.try_get_one::<PathBuf>(CONFIG).ok().flatten();
        let file = file.map(|path| File::read(path, &keys)).transpose()?;
        let mut found = BTreeMap::new();
        for key in &keys {
            let one = match of_flag(key, &given) {
                Some(one) => Some(one),
                None => of_variable(key)?.or_else(|| of_file(key, file.as_ref())),
            };
            found.extend(one.map(|one| (key.name.clone(), one)));
        }
        let settings = Self { arguments, flags_at, keys, file, found };
        settings.check_budgets()?;
        Ok(settings)
    }

    /// Budgets are said in one place.
    fn check_budgets(&self) -> Result<(), Error> {
        let (Some(file), Some(elsewhere)) = (&self.file, self.found.get(BUDGETS)) else { return Ok(()) };
        let Some((_, span)) = &file.budgets else { return Ok(()) };
        let message =
            format!("budgets are said twice: here, and in {}", self.place(BUDGETS, &elsewhere.origin));
        let problem = file.problem(message, span.clone(), "a table of budgets");
        Err(Error::Unusable(problem.help("take one of them away")))
    }

    /// What is said of a key; none where its default counts.
    pub(crate) fn found(&self, key: &Key) -> Option<&Found> {
        self.found.get(&key.name)
    }

    /// Whether nothing is said but by flags.
    pub(crate) fn are_flags_alone(&self) -> bool {
        self.file.is_none() && self.found.values().all(|found| found.origin == Origin::Flag)
    }

    /// The budgets of the file itself.
    pub(crate) fn budgets(&self) -> Option<&(Budgets, Range<usize>)> {
        self.file.as_ref()?.budgets.as_ref()
    }

    /// A place in words, such as `verdict.toml:3`.
    pub(crate) fn place(&self, name: &str, origin: &Origin) -> String {
        match (origin, &self.file) {
            (Origin::File(span), Some(file)) => format!("{}:{}", file.path.display(), file.line(span)),
            (Origin::Variable(variable), _) => variable.clone(),
            _ => format!("--{name}"),
        }
    }

    /// The command as its flags, the environment and the file together say it.
    ///
    /// # Errors
    /// When they do not go together; says where each comes from.
    pub(crate) fn parse(&self) -> Result<Cli, Error> {
        let (before, flags) = self.arguments.split_at(self.flags_at.min(self.arguments.len()));
        let elsewhere = self.keys.iter().filter_map(|key| {
            let found = self.found(key).filter(|found| found.origin != Origin::Flag)?;
            Some(key.arguments(&found.values))
        });
        // Before the flags: among those may be `--`, which ends them.
        let arguments = before.iter().cloned();
        let arguments = arguments.chain(elsewhere.flatten().map(OsString::from)).chain(flags.iter().cloned());
        Cli::try_parse_from(arguments).map_err(|error| self.explained(&error))
    }

    /// The arguments of `verdict serve` as all of them together say it.
    ///
    /// # Errors
    /// As [`Self::parse`].
    pub(crate) fn serve(&self) -> Result<serve::Args, Error> {
        match self.parse()?.command {
            Command::Serve(args) => Ok(*args),
            // A command line that begins with another name has none of these settings.
            _ => {
                Err(Error::Unusable(Problem::new("usage", "these are the settings of `verdict serve` alone")))
            }
        }
    }

    /// What clap says, with where the values come from that it speaks of.
    fn explained(&self, error: &clap::Error) -> Error {
        let spoken_of: Vec<String> = [ContextKind::InvalidArg, ContextKind::PriorArg]
            .into_iter()
            .filter_map(|kind| match error.get(kind)? {
                ContextValue::String(one) => Some(vec![one.clone()]),
                ContextValue::Strings(all) => Some(all.clone()),
                _ => None,
            })
            .flatten()
            .collect();
        let is_spoken_of = |key: &&Key| spoken_of.iter().any(|text| key.is_shown_as(text));
        let said = self.keys.iter().filter(is_spoken_of).filter_map(|key| Some((key, self.found(key)?)));
        let said: Vec<_> = said.filter(|(_, found)| found.origin != Origin::Flag).collect();
        let places: Vec<String> = said
            .iter()
            .map(|(key, found)| format!("`{}` comes from {}", key.name, self.place(&key.name, &found.origin)))
            .collect();
        let missing = self.keys.iter().filter(is_spoken_of).find(|key| self.found(key).is_none());
        let help = match (places.is_empty(), missing) {
            (false, _) => places.join(", "),
            (true, Some(key)) => {
                format!("give it as a flag, as the key `{}` of the file, or as {}", key.name, key.variable())
            }
            (true, None) => "see `verdict serve --help`".into(),
        };
        let message = first_paragraph(error);
        let in_file = said.iter().find_map(|(_, found)| match (&found.origin, &self.file) {
            (Origin::File(span), Some(file)) => {
                Some(file.problem(message.clone(), span.clone(), "said here"))
            }
            _ => None,
        });
        let problem = in_file.unwrap_or_else(|| Problem::new("config", message));
        Error::Unusable(problem.help(help))
    }
}

fn of_flag(key: &Key, given: &ArgMatches) -> Option<Found> {
    if given.value_source(key.id()) != Some(ValueSource::CommandLine) {
        return None;
    }
    let values = given.get_raw(key.id()).into_iter().flatten();
    let values = values.map(|value| value.to_string_lossy().into_owned()).collect();
    Some(Found { origin: Origin::Flag, values })
}

fn of_variable(key: &Key) -> Result<Option<Found>, Error> {
    let variable = key.variable();
    let Some(value) = std::env::var_os(&variable).filter(|value| !value.is_empty()) else { return Ok(None) };
    let refused = |reason: &str| {
        let problem = Problem::new("config", format!("the variable {variable} cannot be used: {reason}"));
        Error::Unusable(problem.help(key.help()))
    };
    let value = value.into_string().map_err(|_| refused("it is not UTF-8"))?;
    let values: Vec<String> = match &key.kind {
        Kind::Switch if ["true", "1"].contains(&value.as_str()) => vec!["true".into()],
        Kind::Switch if ["false", "0"].contains(&value.as_str()) => vec!["false".into()],
        Kind::Switch => return Err(refused("expected `true` or `false`")),
        _ if key.is_list => value.split(',').map(|one| one.trim().to_owned()).collect(),
        _ => vec![value],
    };
    if key.kind != Kind::Switch {
        values.iter().try_for_each(|value| key.check(value)).map_err(|reason| refused(&reason))?;
    }
    Ok(Some(Found { origin: Origin::Variable(variable), values }))
}

fn of_file(key: &Key, file: Option<&File>) -> Option<Found> {
    let in_file = file?.found.get(&key.name)?;
    Some(Found { origin: Origin::File(in_file.span.clone()), values: in_file.values.clone() })
}
