//! The file with the settings.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};

use serde::Deserialize as _;
use toml::Spanned;
use toml::de::{DeTable, DeValue, Deserializer};
use verdict_server::Budgets;

use super::key::{Key, Kind};
use crate::error::{Error, Problem, nearest};
use crate::files;

const BYTES_MAX: u64 = 1 << 20;

/// A file with settings.
pub(crate) struct File {
    pub(crate) path: PathBuf,
    text: String,
    pub(super) found: BTreeMap<String, InFile>,
    /// The table of budgets, and where it is.
    pub(super) budgets: Option<(Budgets, Range<usize>)>,
}

/// What the file says of a key.
pub(super) struct InFile {
    pub(super) values: Vec<String>,
    pub(super) span: Range<usize>,
}

impl File {
    /// Reads a file.
    ///
    /// # Errors
    /// When it cannot be read, is not TOML, or has a key or a value that `verdict serve` does not take.
    pub(super) fn read(path: &Path, keys: &[Key]) -> Result<Self, Error> {
        let text = files::read_text(path, BYTES_MAX)?;
        let mut file = Self { path: path.into(), text, found: BTreeMap::new(), budgets: None };
        let text = file.text.clone();
        let table = DeTable::parse(&text).map_err(|error| file.not_toml(&error))?;
        for (name, value) in table.into_inner() {
            let key = keys.iter().find(|key| key.name == *name.get_ref());
            let key = key.ok_or_else(|| file.unknown(name.get_ref(), name.span(), keys))?;
            match value.get_ref() {
                DeValue::Table(_) if key.is_budgets() => {
                    file.budgets = Some((file.budgets_of(value)?, name.span()));
                }
                _ => {
                    let values = file.values_of(key, &value)?;
                    file.found.insert(key.name.clone(), InFile { values, span: name.span() });
                }
            }
        }
        Ok(file)
    }

    /// The number of the line on which a byte is.
    pub(crate) fn line(&self, span: &Range<usize>) -> usize {
        self.text.get(..span.start).unwrap_or_default().matches('\n').count() + 1
    }

    /// A problem that is at a place of the file.
    pub(super) fn problem(&self, message: String, span: Range<usize>, label: &str) -> Problem {
        Problem::new("config", message).at(&self.path, &self.text, span, label)
    }

    fn not_toml(&self, error: &toml::de::Error) -> Error {
        let message = format!("`{}` is not TOML: {}", self.path.display(), error.message());
        Error::Unusable(self.problem(message, error.span().unwrap_or_default(), "here"))
    }

    fn unknown(&self, name: &str, span: Range<usize>, keys: &[Key]) -> Error {
        let problem = self.problem(format!("`{name}` is not a setting"), span, "unknown");
        // Flags have dashes where the keys of many other files have none.
        let near = nearest(&name.replace('_', "-"), keys.iter().map(|key| key.name.as_str()));
        let help = match near {
            Some(near) => format!("did you mean `{near}`? `verdict config schema` has all"),
            None => "the keys are the flags of `verdict serve`; `verdict config schema` has all".into(),
        };
        Error::Unusable(problem.help(help))
    }

    fn values_of(&self, key: &Key, value: &Spanned<DeValue<'_>>) -> Result<Vec<String>, Error> {
        let wrong_type = |span| {
            let message = format!("`{}` must be {}", key.name, key.kind.expected(key.is_list));
            let found = format!("this is {}", type_in_words(value.get_ref()));
            Error::Unusable(self.problem(message, span, &found).help(key.help()))
        };
        let one = |value: &Spanned<DeValue<'_>>| -> Result<String, Error> {
            let text = scalar(key, value.get_ref()).ok_or_else(|| wrong_type(value.span()))?;
            if key.kind != Kind::Switch {
                let refused =
                    |reason| Error::Unusable(self.problem(reason, value.span(), "here").help(key.help()));
                key.check(&text).map_err(refused)?;
            }
            Ok(key.in_folder(self.folder(), &text))
        };
        match value.get_ref() {
            DeValue::Array(values) if key.is_list => values.iter().map(one).collect(),
            _ if key.is_list => Err(wrong_type(value.span())),
            _ => Ok(vec![one(value)?]),
        }
    }

    fn budgets_of(&self, value: Spanned<DeValue<'_>>) -> Result<Budgets, Error> {
        let span = value.span();
        let failed = |message, span| Error::Unusable(self.problem(message, span, "here"));
        let DeValue::Table(table) = value.into_inner() else { return Ok(Budgets::default()) };
        let budgets = Budgets::deserialize(Deserializer::from(Spanned::new(span.clone(), table)));
        let budgets = budgets.map_err(|error| {
            failed(error.message().to_owned(), error.span().unwrap_or_else(|| span.clone()))
        })?;
        budgets.checked().map_err(|error| failed(error.to_string(), span))
    }

    /// Where relative paths begin.
    fn folder(&self) -> &Path {
        let parent = self.path.parent().filter(|parent| !parent.as_os_str().is_empty());
        parent.unwrap_or(Path::new("."))
    }
}

/// The text that the flag would be given; none where the type is another.
fn scalar(key: &Key, value: &DeValue<'_>) -> Option<String> {
    match (&key.kind, value) {
        (Kind::Switch, DeValue::Boolean(is)) => Some(is.to_string()),
        (Kind::Number(_), DeValue::Integer(number)) => {
            let number = i128::from_str_radix(number.as_str(), number.radix());
            number.ok().map(|number| number.to_string())
        }
        (Kind::Fraction, DeValue::Float(number)) => Some(number.as_str().to_owned()),
        (Kind::Fraction, DeValue::Integer(number)) => Some(number.as_str().to_owned()),
        (Kind::Switch | Kind::Number(_) | Kind::Fraction, _) => None,
        (_, DeValue::String(text)) => Some(text.clone().into_owned()),
        _ => None,
    }
}

fn type_in_words(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a text",
        DeValue::Integer(_) => "a whole number",
        DeValue::Float(_) => "a number",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}
