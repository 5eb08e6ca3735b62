//! What goes wrong, by whose fault, and how it is shown.

use std::borrow::Cow;
use std::io;
use std::path::Path;
use std::process::ExitCode;

use verdict::HostError;
use verdict_core::refusal::Refusal;
use verdict_registry::RegistryError;

/// Why a command did not do what was asked. Each kind has an exit status of its own.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// A check said no: a refused artifact, a receipt that does not hold.
    #[error("{0}")]
    Refused(Problem),
    /// The command line, or a file that it names, cannot be used.
    #[error("{0}")]
    Unusable(Problem),
    /// The file system, the compiler or the network failed.
    #[error("{0}")]
    Machine(Problem),
}

/// What is wrong, where, and what to do about it.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub(crate) struct Problem {
    code: Cow<'static, str>,
    message: String,
    help: Option<String>,
    excerpt: Option<Box<Excerpt>>,
}

/// A place in a file.
#[derive(Debug)]
struct Excerpt {
    source: miette::NamedSource<String>,
    line: usize,
    column: usize,
    span: miette::SourceSpan,
    label: String,
}

impl Problem {
    /// A problem with a stable code; the message is lower case, without a full stop.
    pub(crate) fn new(code: impl Into<Cow<'static, str>>, message: impl Into<String>) -> Self {
        Self { code: code.into(), message: message.into(), help: None, excerpt: None }
    }

    /// Says what to do next.
    pub(crate) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// Points at bytes `span` of `text`, which was read from `path`.
    pub(crate) fn at(mut self, path: &Path, text: &str, span: std::ops::Range<usize>, label: &str) -> Self {
        let start = floor_char_boundary(text, span.start);
        let before = text.get(..start).unwrap_or_default();
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        self.excerpt = Some(Box::new(Excerpt {
            source: miette::NamedSource::new(path.display().to_string(), text.to_owned()),
            line: before.matches('\n').count() + 1,
            column: before.get(line_start..).unwrap_or_default().chars().count() + 1,
            span: (start, floor_char_boundary(text, span.end).saturating_sub(start)).into(),
            label: label.into(),
        }));
        self
    }

    /// The problem as the member `error` of a JSON document.
    fn to_json(&self) -> serde_json::Value {
        let mut error = serde_json::json!({ "code": self.code, "message": self.message, "help": self.help });
        if let (Some(excerpt), Some(error)) = (&self.excerpt, error.as_object_mut()) {
            error.insert("file".into(), excerpt.source.name().into());
            error.insert("line".into(), excerpt.line.into());
            error.insert("column".into(), excerpt.column.into());
        }
        serde_json::json!({ "error": error })
    }
}

fn floor_char_boundary(text: &str, offset: usize) -> usize {
    (0..=offset.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0)
}

impl miette::Diagnostic for Problem {
    fn code<'a>(&'a self) -> Option<Box<dyn std::fmt::Display + 'a>> {
        Some(Box::new(format!("error: {}", self.code)))
    }

    fn help<'a>(&'a self) -> Option<Box<dyn std::fmt::Display + 'a>> {
        self.help.as_ref().map(|help| Box::new(help) as Box<dyn std::fmt::Display>)
    }

    fn source_code(&self) -> Option<&dyn miette::SourceCode> {
        self.excerpt.as_ref().map(|excerpt| &excerpt.source as &dyn miette::SourceCode)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = miette::LabeledSpan> + '_>> {
        let excerpt = self.excerpt.as_ref()?;
        let label = miette::LabeledSpan::new_with_span(Some(excerpt.label.clone()), excerpt.span);
        Some(Box::new(std::iter::once(label)))
    }
}

impl Error {
    /// A file or folder cannot be read or written. What the caller named is the caller's to correct.
    pub(crate) fn file(verb: &str, path: &Path, error: &io::Error) -> Self {
        let problem = Problem::new("file", format!("cannot {verb} `{}`: {error}", path.display()));
        match error.kind() {
            io::ErrorKind::NotFound => Self::Unusable(problem.help("check the path")),
            io::ErrorKind::PermissionDenied => Self::Unusable(problem.help("check the permissions")),
            io::ErrorKind::AlreadyExists | io::ErrorKind::IsADirectory | io::ErrorKind::NotADirectory => {
                Self::Unusable(problem)
            }
            _ => Self::Machine(problem),
        }
    }

    fn problem(&self) -> &Problem {
        match self {
            Self::Refused(problem) | Self::Unusable(problem) | Self::Machine(problem) => problem,
        }
    }

    /// What is wrong, where and what to do about it, for a list.
    pub(crate) fn one_line(&self) -> String {
        let Problem { message, help, excerpt, .. } = self.problem();
        let place = excerpt
            .as_ref()
            .map_or_else(String::new, |excerpt| format!(" ({}:{})", excerpt.source.name(), excerpt.line));
        format!("{message}{place}{}", help.as_ref().map_or_else(String::new, |help| format!("; {help}")))
    }

    /// The same for machines.
    pub(crate) fn to_json(&self) -> serde_json::Value {
        let mut json = self.problem().to_json();
        json.get_mut("error").map(serde_json::Value::take).unwrap_or_default()
    }

    /// The exit status; the table is in `verdict --help`.
    pub(crate) fn exit_code(&self) -> ExitCode {
        ExitCode::from(match self {
            Self::Refused(_) => crate::exit::REFUSED,
            Self::Unusable(_) => crate::exit::UNUSABLE,
            Self::Machine(_) => crate::exit::MACHINE,
        })
    }

    /// Shows the error: for people on stderr, or as one JSON document on stdout.
    pub(crate) fn show(&self, json: bool) {
        if json {
            anstream::println!("{}", self.problem().to_json());
            return;
        }
        let handler = miette::MietteHandlerOpts::new().wrap_lines(false).context_lines(1).build();
        anstream::eprintln!("{:?}", Rendered { handler, problem: self.problem() });
    }
}

/// Hands a problem to miette's renderer, which writes through `Debug`.
struct Rendered<'a> {
    handler: miette::MietteHandler,
    problem: &'a Problem,
}

impl std::fmt::Debug for Rendered<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        miette::ReportHandler::debug(&self.handler, self.problem, f)
    }
}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Self {
        let help = refusal.code.remedy();
        Self::Refused(Problem::new(refusal.code.code(), refusal.message).help(help))
    }
}

impl From<RegistryError> for Error {
    fn from(error: RegistryError) -> Self {
        match error {
            RegistryError::Refused(refusal) => refusal.into(),
            RegistryError::Occupied(_) => Self::Unusable(Problem::new("occupied", error.to_string())),
            RegistryError::Write { path, error } => Self::file("write", &path, &error),
            RegistryError::Remote(error) => (*error).into(),
            RegistryError::Jcs(_) => Self::Machine(Problem::new("json", error.to_string())),
        }
    }
}

impl From<HostError> for Error {
    fn from(error: HostError) -> Self {
        let message = error.to_string();
        match error {
            HostError::Trust { refusal, .. } => Self::Refused(Problem::new(refusal.code.code(), message)),
            HostError::StateInUse { .. } => Self::Unusable(Problem::new("state-in-use", message)),
            HostError::Untrusted { .. } => Self::Unusable(Problem::new("untrusted-place", message)),
            HostError::State { .. } | HostError::Data { .. } | HostError::Ceiling(_) => {
                Self::Unusable(Problem::new("host", message))
            }
            HostError::Corrupt { .. } => Self::Refused(Problem::new("corrupt", message)),
            HostError::Engine(_) | HostError::Ledger(_) | HostError::Entropy(_) => {
                Self::Machine(Problem::new("host", message))
            }
        }
    }
}

/// The name among `candidates` that `name` was probably meant to be.
pub(crate) fn nearest<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    const SIMILAR: f64 = 0.75;
    let scored = candidates.into_iter().map(|candidate| (strsim::jaro_winkler(name, candidate), candidate));
    let best = scored.filter(|(score, _)| *score > SIMILAR).max_by(|a, b| a.0.total_cmp(&b.0));
    best.map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_at_line_and_column_in_characters() {
        let text = "é = 1\nä = oops\n";
        let start = text.find("oops").unwrap();
        let problem = Problem::new("x", "m").at(Path::new("p"), text, start..start + 4, "here");
        let json = problem.to_json();
        assert_eq!((json["error"]["line"].as_u64(), json["error"]["column"].as_u64()), (Some(2), Some(5)));
        let beyond = Problem::new("x", "m").at(Path::new("p"), text, 900..1_000, "here");
        assert_eq!(beyond.to_json()["error"]["line"], 3);
    }

    #[test]
    fn suggests_what_was_meant_and_nothing_far_away() {
        assert_eq!(nearest("alow", ["name", "allow", "version"]), Some("allow"));
        assert_eq!(nearest("zzz", ["name", "allow"]), None);
    }
}
