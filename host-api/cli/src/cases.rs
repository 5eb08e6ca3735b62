//! Cases: questions with the answers that are expected, as data that is the same for every language.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Deserializer};
use serde_json::Value;
use serde_json::value::RawValue;
use verdict_core::outcome::FaultCode;
use verdict_core::time::Timestamp;

use crate::error::{Error, Problem, nearest};
use crate::files;

/// The folder of a policy's cases.
pub(crate) const FOLDER: &str = "cases";
const FILE_BYTES_MAX: u64 = 64 << 20;

/// A file of cases.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct CaseFile {
    #[serde(skip)]
    pub(crate) path: PathBuf,
    /// The data of the cases that bring none of their own.
    pub(crate) data: Option<Box<RawValue>>,
    pub(crate) cases: Vec<Case>,
}

/// One question.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Case {
    pub(crate) name: String,
    pub(crate) rule: String,
    pub(crate) input: Box<RawValue>,
    pub(crate) data: Option<Box<RawValue>>,
    pub(crate) decision_time: Option<Timestamp>,
    pub(crate) expect: Expect,
}

/// What is expected; what is left out is not compared.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Expect {
    /// `null` is a value, other than no expectation.
    #[serde(default, deserialize_with = "present")]
    pub(crate) value: Option<Value>,
    pub(crate) undefined: Option<bool>,
    pub(crate) allow: Option<bool>,
    pub(crate) reasons: Option<Vec<String>>,
    pub(crate) fault: Option<FaultCode>,
    pub(crate) failure_code: Option<String>,
}

fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Value>, D::Error> {
    Value::deserialize(deserializer).map(Some)
}

impl Expect {
    fn is_empty(&self) -> bool {
        let Self { value, undefined, allow, reasons, fault, failure_code } = self;
        let none = value.is_none() && undefined.is_none() && allow.is_none();
        none && reasons.is_none() && fault.is_none() && failure_code.is_none()
    }
}

/// Reads the case files of a policy's folder, in the order of their names.
///
/// # Errors
/// When there are none, or one cannot be read.
pub(crate) fn read_all(folder: &Path) -> Result<Vec<CaseFile>, Error> {
    let folder = folder.join(FOLDER);
    let entries = std::fs::read_dir(&folder).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => none(&folder),
        _ => Error::file("read", &folder, &error),
    })?;
    let mut paths = Vec::new();
    for entry in entries {
        let path = entry.map_err(|error| Error::file("read", &folder, &error))?.path();
        if path.extension().is_some_and(|extension| extension == "json") {
            paths.push(path);
        }
    }
    paths.sort();
    let files = paths.iter().map(|path| read(path)).collect::<Result<Vec<_>, _>>()?;
    if files.iter().all(|file| file.cases.is_empty()) { Err(none(&folder)) } else { Ok(files) }
}

fn none(folder: &Path) -> Error {
    let help =
        r#"write some: {"cases": [{"name": "…", "rule": "…", "input": {}, "expect": {"allow": true}}]}"#;
    Error::Unusable(Problem::new("no-cases", format!("no cases in `{}`", folder.display())).help(help))
}

fn read(path: &Path) -> Result<CaseFile, Error> {
    let text = files::read_text(path, FILE_BYTES_MAX)?;
    let mut file: CaseFile = serde_json::from_str(&text).map_err(|error| malformed(path, &text, &error))?;
    file.path = path.to_owned();
    for case in &file.cases {
        if case.expect.is_empty() {
            let message = format!("case `{}` expects nothing", case.name);
            let help = "give `expect` one of value, undefined, allow, reasons, fault, failure_code";
            return Err(Error::Unusable(Problem::new("case-file", message).help(help)));
        }
    }
    Ok(file)
}

fn malformed(path: &Path, text: &str, error: &serde_json::Error) -> Error {
    let message = error.to_string();
    let message = message.rsplit_once(" at line ").map_or(message.as_str(), |(message, _)| message);
    let mut names = message.split('`').skip(1).step_by(2);
    let unknown = message.starts_with("unknown ").then(|| names.next()).flatten();
    let problem = Problem::new("case-file", message);
    let problem = match unknown.and_then(|unknown| nearest(unknown, names)) {
        Some(near) => problem.help(format!("did you mean `{near}`?")),
        None => problem,
    };
    let lines = text.split_inclusive('\n').take(error.line().saturating_sub(1));
    let offset = lines.map(str::len).sum::<usize>() + error.column().saturating_sub(1);
    Error::Unusable(problem.at(path, text, offset..offset + 1, "here"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn null_is_an_expected_value() {
        let expect: Expect = serde_json::from_str(r#"{"value": null}"#).unwrap();
        assert_eq!(expect.value, Some(Value::Null));
        assert!(serde_json::from_str::<Expect>("{}").unwrap().is_empty());
    }

    #[test]
    fn an_unknown_member_is_an_error_with_its_place() {
        let text = "{\n \"cases\": [{\"nam\": \"x\"}]}";
        let error = serde_json::from_str::<CaseFile>(text).err().unwrap();
        let error = malformed(Path::new("x.json"), text, &error);
        assert!(error.to_string().contains("unknown field `nam`"), "{error}");
    }
}
