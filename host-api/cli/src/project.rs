//! `policy.toml`: what an author writes, and what it means.
//!
//! Two types with one crossing: [`Raw`] is the file as it stands, [`Project`] is what a build needs.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use toml::Spanned;
use verdict_core::digest::Digest;
use verdict_core::limits::RequestedLimits;
use verdict_core::manifest::{self, Capabilities, Manifest, Reference, Rule};
use verdict_core::name::{PolicyName, RuleName};
use verdict_core::pointer::Pointer;

use crate::error::{Error, Problem, nearest};
use crate::files;

/// The file's name in a policy's folder.
pub(crate) const FILE: &str = "policy.toml";
const FILE_BYTES_MAX: u64 = 1 << 20;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    policy: RawPolicy,
    rules: Vec<RawRule>,
    #[serde(default)]
    capabilities: Capabilities,
    #[serde(default)]
    limits: RequestedLimits,
    #[serde(default)]
    references: BTreeMap<String, Reference>,
    #[serde(default)]
    build: RawBuild,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawPolicy {
    name: PolicyName,
    version: semver::Version,
    #[serde(default)]
    description: String,
    licence: Option<String>,
    source: Option<String>,
    allow: Option<Pointer>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawRule {
    name: RuleName,
    #[serde(default)]
    description: String,
    input_schema: Option<Spanned<PathBuf>>,
    output_schema: Option<Spanned<PathBuf>>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawBuild {
    #[serde(default)]
    language: Language,
}

/// What a policy is written in.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Language {
    /// Rust, built with cargo.
    #[default]
    Rust,
}

/// A policy's folder and what its `policy.toml` says.
pub(crate) struct Project {
    folder: PathBuf,
    language: Language,
    /// Everything but the component's digest and contract, which the build adds.
    manifest: Manifest,
}

impl Project {
    /// Reads the `policy.toml` of a folder.
    ///
    /// # Errors
    /// When it is missing, malformed, or names what is not there.
    pub(crate) fn open(folder: &Path) -> Result<Self, Error> {
        let path = folder.join(FILE);
        if !path.is_file() {
            let problem = Problem::new("no-policy", format!("no `{FILE}` in `{}`", folder.display()));
            let help = "go to a policy's folder, name one, or start one with `verdict new NAME`";
            return Err(Error::Unusable(problem.help(help)));
        }
        let text = files::read_text(&path, FILE_BYTES_MAX)?;
        let raw: Raw = toml::from_str(&text).map_err(|error| malformed(&path, &text, &error))?;
        let language = raw.build.language;
        let manifest = Self::resolve(raw, folder, &path, &text)?;
        Ok(Self { folder: folder.to_owned(), language, manifest })
    }

    fn resolve(raw: Raw, folder: &Path, path: &Path, text: &str) -> Result<Manifest, Error> {
        let schema = |file: Option<Spanned<PathBuf>>| match file {
            Some(file) => schema(folder, file.as_ref())
                .map(Some)
                .map_err(|problem| Error::Unusable(problem.at(path, text, file.span(), "named here"))),
            None => Ok(None),
        };
        let mut rules = Vec::new();
        for rule in raw.rules {
            rules.push(Rule {
                input_schema: schema(rule.input_schema)?,
                output_schema: schema(rule.output_schema)?,
                name: rule.name,
                description: rule.description,
            });
        }
        let manifest = Manifest {
            format: manifest::FORMAT.into(),
            policy: raw.policy.name,
            version: raw.policy.version,
            component: Digest::of(b""),
            contract: semver::Version::new(0, 0, 0),
            description: raw.policy.description,
            licence: raw.policy.licence,
            source: raw.policy.source,
            rules,
            allow: raw.policy.allow,
            capabilities: raw.capabilities,
            limits: raw.limits,
            references: raw.references,
        };
        manifest.checked().map_err(|error| {
            let message = error.to_string();
            let span = quoted(&message).find_map(|name| find(text, name)).unwrap_or(0..0);
            Error::Unusable(Problem::new("policy-toml", message).at(path, text, span, "here"))
        })
    }

    /// The folder that `policy.toml` is in.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// What the policy is written in.
    pub(crate) fn language(&self) -> Language {
        self.language
    }

    /// Where a build goes unless it is told otherwise.
    pub(crate) fn output(&self) -> PathBuf {
        self.folder.join("target").join("verdict").join(self.manifest.policy.name())
    }

    /// Where a build goes that is only to be tried.
    pub(crate) fn scratch(&self) -> PathBuf {
        self.folder.join("target").join("verdict-scratch").join(self.manifest.policy.name())
    }

    /// What the policy may reach.
    pub(crate) fn capabilities(&self) -> &Capabilities {
        &self.manifest.capabilities
    }

    /// The manifest of this policy with this component, which was built against this version of the contract.
    pub(crate) fn manifest(&self, component: Digest, contract: semver::Version) -> Manifest {
        Manifest { component, contract, ..self.manifest.clone() }
    }
}

/// Reads a JSON Schema that is to be part of the manifest.
fn schema(folder: &Path, file: &Path) -> Result<serde_json::Value, Problem> {
    let shown = file.display();
    let inside = file.components().all(|part| matches!(part, std::path::Component::Normal(_)));
    if !inside {
        let problem = Problem::new("schema", format!("`{shown}` is outside the policy's folder"));
        return Err(problem.help("name a file below the folder of `policy.toml`"));
    }
    let failed = |error: String| Problem::new("schema", format!("schema `{shown}` cannot be used: {error}"));
    let text = std::fs::read(folder.join(file)).map_err(|error| failed(error.to_string()))?;
    let value = serde_json::from_slice(&text).map_err(|error| failed(error.to_string()))?;
    crate::schema::compile(&value).map_err(failed)?;
    Ok(value)
}

/// A `policy.toml` that cannot be read, with the place and, for an unknown name, the one that was probably meant.
fn malformed(path: &Path, text: &str, error: &toml::de::Error) -> Error {
    let message = error.message().lines().next().unwrap_or("malformed");
    let mut names = quoted(message);
    let unknown = message.starts_with("unknown ").then(|| names.next()).flatten();
    let suggestion = unknown.and_then(|unknown| nearest(unknown, names));
    let mut problem = Problem::new("policy-toml", message);
    problem = match suggestion {
        Some(suggestion) => problem.help(format!("did you mean `{suggestion}`?")),
        None => problem,
    };
    Error::Unusable(problem.at(path, text, error.span().unwrap_or(0..0), "here"))
}

/// What stands in backticks.
fn quoted(message: &str) -> impl Iterator<Item = &str> {
    message.split('`').skip(1).step_by(2)
}

/// Where something stands that no type could check alone: one limit among the others, a name that is there twice.
fn find(text: &str, name: &str) -> Option<std::ops::Range<usize>> {
    let mut start = 0;
    for line in text.split_inclusive('\n') {
        let key = line.trim_start();
        let rest = key.strip_prefix(name).map(str::trim_start);
        if rest.is_some_and(|rest| rest.starts_with('=')) {
            let at = start + line.len() - key.len();
            return Some(at..at + name.len());
        }
        start += line.len();
    }
    let value = format!("\"{name}\"");
    text.rfind(&value).map(|at| at..at + value.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_keys_before_values_and_the_last_of_equal_names() {
        let text = "[limits]\n  fuel = 0 # fuel\n[[rules]]\nname = \"a\"\n[[rules]]\nname = \"a\"\n";
        assert_eq!(find(text, "fuel"), Some(11..15));
        assert_eq!(find(text, "a").map(|span| span.start), text.rfind("\"a\""));
        assert_eq!(find(text, "instances"), None);
    }
}
