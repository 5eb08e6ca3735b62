//! A flag of `verdict serve` as the file and the environment know it.

use std::any::TypeId;
use std::num::{NonZeroU32, NonZeroU64, NonZeroUsize};
use std::path::{Path, PathBuf};

use clap::{Arg, ArgAction, Command};

/// What says where the file is, so it is not in it; and what every command has.
const NOT_KEYS: [&str; 3] = [CONFIG, "help", "version"];
/// The flag whose file may be in the file.
pub(super) const BUDGETS: &str = "budgets";
/// The flag that names the file.
pub(super) const CONFIG: &str = "config";

/// What a value is called while it is checked by itself.
const VALUE: &str = "value";

/// A flag of `verdict serve`.
pub(crate) struct Key {
    /// As the file has it: the flag without its dashes; `dir` for the folder that has no flag.
    pub(crate) name: String,
    pub(crate) kind: Kind,
    /// Whether it takes many values.
    pub(crate) is_list: bool,
    arg: Arg,
}

/// What a value is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Kind {
    /// On or off.
    Switch,
    /// A whole number, and the least that it may be.
    Number(u8),
    /// Any number.
    Fraction,
    /// One of these words.
    Choice(Vec<String>),
    /// A file or a folder.
    Path,
    /// A file, a folder or a Unix socket by its path, or something else by its address.
    Place,
    /// Any other text.
    Text,
}

impl Key {
    /// The flags of a command, in its order.
    pub(super) fn all(command: &Command) -> Vec<Self> {
        let counts = |arg: &&Arg| !arg.is_global_set() && !NOT_KEYS.contains(&arg.get_id().as_str());
        command.get_arguments().filter(counts).map(Self::of).collect()
    }

    fn of(arg: &Arg) -> Self {
        Self {
            name: arg.get_long().unwrap_or(arg.get_id().as_str()).to_owned(),
            kind: Kind::of(arg),
            is_list: matches!(arg.get_action(), ArgAction::Append),
            arg: arg.clone(),
        }
    }

    /// Whether the file may have a table instead of its value: what the file would have that the value names.
    pub(crate) fn is_budgets(&self) -> bool {
        self.name == BUDGETS
    }

    /// As clap knows it.
    pub(super) fn id(&self) -> &str {
        self.arg.get_id().as_str()
    }

    /// Whether clap shows it so, in what it says. What is required has other brackets.
    pub(super) fn is_shown_as(&self, text: &str) -> bool {
        let bare = |text: &str| text.trim_matches(['[', ']', '<', '>']).to_owned();
        bare(&self.arg.to_string()) == bare(text)
    }

    /// The variable of the environment.
    pub(crate) fn variable(&self) -> String {
        format!("VERDICT_{}", self.name.replace('-', "_").to_uppercase())
    }

    /// What it is for.
    pub(crate) fn help(&self) -> String {
        self.arg.get_help().map(ToString::to_string).unwrap_or_default()
    }

    /// What counts where nothing is said.
    pub(crate) fn defaults(&self) -> Vec<String> {
        match self.kind {
            Kind::Switch => vec!["false".into()],
            _ => self.arg.get_default_values().iter().map(|v| v.to_string_lossy().into_owned()).collect(),
        }
    }

    /// Whether the flag takes a value, by itself.
    ///
    /// # Errors
    /// What clap says of it.
    pub(super) fn check(&self, value: &str) -> Result<(), String> {
        let arg = Arg::new(VALUE).action(ArgAction::Set).value_parser(self.arg.get_value_parser().clone());
        let command = Command::new("verdict").no_binary_name(true).arg(arg);
        let parsed = command.try_get_matches_from(["--", value]);
        let named =
            |error| first_paragraph(&error).replace(&format!("'[{VALUE}]'"), &format!("`{}`", self.name));
        parsed.map(drop).map_err(named)
    }

    /// The arguments that say these values.
    pub(super) fn arguments(&self, values: &[String]) -> Vec<String> {
        match (&self.kind, self.arg.get_long()) {
            (Kind::Switch, Some(flag)) if values.iter().any(|value| value == "true") => {
                vec![format!("--{flag}")]
            }
            (Kind::Switch, _) => Vec::new(),
            (_, Some(flag)) => values.iter().map(|value| format!("--{flag}={value}")).collect(),
            (_, None) => values.to_vec(),
        }
    }

    /// A value of the file, whose relative paths begin in its folder.
    pub(super) fn in_folder(&self, folder: &Path, value: &str) -> String {
        let joined = |path: &str| folder.join(path).to_string_lossy().into_owned();
        match (&self.kind, value.split_once(':')) {
            (Kind::Path, _) => joined(value),
            (Kind::Place, Some(("unix", path))) if !path.is_empty() => format!("unix:{}", joined(path)),
            // An address; and what only looks like one, such as a drive.
            (Kind::Place, Some(_)) => value.to_owned(),
            (Kind::Place, None) => joined(value),
            _ => value.to_owned(),
        }
    }
}

impl Kind {
    fn of(arg: &Arg) -> Self {
        let parser = arg.get_value_parser();
        let is = |types: &[TypeId]| types.iter().any(|one| parser.type_id() == *one);
        let choices = arg.get_possible_values();
        let says =
            |word: &str| arg.get_value_names().unwrap_or_default().iter().any(|name| name.contains(word));
        match () {
            () if matches!(arg.get_action(), ArgAction::SetTrue) => Self::Switch,
            () if !choices.is_empty() => {
                Self::Choice(choices.iter().map(|one| one.get_name().into()).collect())
            }
            () if is(&[TypeId::of::<f64>()]) => Self::Fraction,
            () if is(&[TypeId::of::<PathBuf>()]) => Self::Path,
            () if is(&[TypeId::of::<u16>(), TypeId::of::<u32>(), TypeId::of::<u64>()]) => Self::Number(0),
            () if is(&[
                TypeId::of::<NonZeroU32>(),
                TypeId::of::<NonZeroU64>(),
                TypeId::of::<NonZeroUsize>(),
            ]) =>
            {
                Self::Number(1)
            }
            () if says("FILE|URL") || says("DIR|URL") || says("ADDRESS") => Self::Place,
            () => Self::Text,
        }
    }

    /// The value in words, for whoever wrote another.
    pub(super) fn expected(&self, is_list: bool) -> &'static str {
        match (self, is_list) {
            (Self::Switch, _) => "`true` or `false`",
            (Self::Number(_), _) => "a whole number, without quotes",
            (Self::Fraction, _) => "a number, without quotes",
            (_, true) => "a list of texts: `[\"…\", \"…\"]`",
            _ => "a text in quotes",
        }
    }
}

/// What clap says first, on one line.
pub(super) fn first_paragraph(error: &clap::Error) -> String {
    let text = error.render().to_string();
    let first = text.trim_start_matches("error: ").split("\n\n").next().unwrap_or_default();
    first.split_whitespace().collect::<Vec<_>>().join(" ")
}
