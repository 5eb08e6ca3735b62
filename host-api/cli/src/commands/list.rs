//! `verdict list`: the policies and versions of a folder or a registry.

use std::collections::BTreeMap;
use std::path::Path;

use semver::Version;
use serde_json::{Value, json};
use verdict_core::refusal::Refusal;
use verdict_registry::remote::{Place, RegistryHost, Remote, RemoteError, Repository, Tag, names_registry};
use verdict_registry::{Layout, Summary, find};

use super::tags;
use crate::error::{Error, Problem};
use crate::remote::{RemoteArgs, short, summary_json, text};
use crate::report::{BAD, Report};

/// How many versions of a repository are looked at.
const VERSIONS_MAX: usize = 100;

/// List the policies and versions of a folder, a registry or a repository
///
/// Names and versions are what the images say; nobody has verified them.
#[derive(clap::Args)]
#[command(after_help = "Example: verdict list registry.example/bank/loan")]
pub(crate) struct Args {
    /// A folder, which is searched, or `[oci://]HOST[:PORT][/REPOSITORY]`
    #[arg(default_value = ".")]
    place: String,
    #[command(flatten)]
    remote: RemoteArgs,
}

/// Runs the command.
pub(crate) fn run(args: &Args) -> Result<Report, Error> {
    let bare = args.place.strip_prefix("oci://").unwrap_or(&args.place).trim_end_matches('/');
    if names_registry(&args.place) && !bare.contains('/') {
        let host: RegistryHost = bare.parse().map_err(RemoteError::from)?;
        let listed = args.remote.run(async |remote| registry(&remote, &host).await)?;
        return registry_report(&host, listed);
    }
    match args.place.parse::<Place>().map_err(RemoteError::from)? {
        Place::Folder(folder) => folder_report(&folder),
        Place::Registry(reference) => {
            let repository: Repository = reference.to_string().parse().map_err(RemoteError::from)?;
            let listed = args.remote.run(async |remote| versions(&remote, &repository).await)?;
            let (versions, left_out) = listed.ok_or_else(|| tags::unknown(&repository))?;
            Ok(repository_report(&repository, &versions, left_out))
        }
    }
}

/// The repositories of a registry and the versions in each.
async fn registry(
    remote: &Remote,
    host: &RegistryHost,
) -> Result<Option<Vec<(Repository, Vec<Tag>)>>, RemoteError> {
    let Some(repositories) = remote.repositories(host).await? else { return Ok(None) };
    let mut listed = Vec::new();
    for repository in repositories {
        let tags = remote.tags(&repository).await?.unwrap_or_default();
        listed.push((repository, newest_first(tags)));
    }
    Ok(Some(listed))
}

fn newest_first(tags: Vec<Tag>) -> Vec<Tag> {
    let mut versions: Vec<(Version, Tag)> =
        tags.into_iter().filter_map(|tag| Some((tag.version()?, tag))).collect();
    versions.sort_by(|one, other| other.cmp(one));
    versions.into_iter().map(|(_, tag)| tag).collect()
}

fn registry_report(
    host: &RegistryHost,
    listed: Option<Vec<(Repository, Vec<Tag>)>>,
) -> Result<Report, Error> {
    let listed = listed.ok_or_else(|| {
        let problem =
            Problem::new("not-found", format!("the registry `{host}` does not list its repositories"));
        Error::Unusable(problem.help("name one: `verdict list HOST/REPOSITORY`"))
    })?;
    let repositories = listed.iter().map(|(repository, tags)| {
        let versions: Vec<_> = tags.iter().map(Tag::as_str).collect();
        json!({ "repository": repository.to_string(), "versions": versions })
    });
    let mut report = Report::new(json!({ "repositories": repositories.collect::<Vec<_>>() }));
    for (repository, tags) in &listed {
        let tags: Vec<_> = tags.iter().map(Tag::as_str).collect();
        report.line(format!("{repository}  {}", tags.join(" ")));
    }
    Ok(report)
}

type Looked = (String, Result<Summary, Refusal>);

/// The newest versions of a repository, and how many more there are.
async fn versions(
    remote: &Remote,
    repository: &Repository,
) -> Result<Option<(Vec<Looked>, usize)>, RemoteError> {
    let Some(tags) = tags::tags(remote, repository).await? else { return Ok(None) };
    let tags = newest_first(tags);
    let left_out = tags.len().saturating_sub(VERSIONS_MAX);
    let mut versions = Vec::new();
    for tag in tags.into_iter().take(VERSIONS_MAX) {
        let summary = match remote.summary(&repository.tagged(tag.clone())).await {
            Ok(summary) => Ok(summary),
            // One bad version does not hide the others.
            Err(RemoteError::Refused(refusal)) => Err(refusal),
            Err(error) => return Err(error),
        };
        versions.push((tag.to_string(), summary));
    }
    Ok(Some((versions, left_out)))
}

fn repository_report(repository: &Repository, versions: &[Looked], left_out: usize) -> Report {
    let listed: Vec<_> = versions.iter().map(|(tag, looked)| looked_json("tag", tag, looked)).collect();
    let mut report = Report::new(json!({ "repository": repository.to_string(), "versions": listed }));
    for (tag, looked) in versions {
        report.line(row(tag, looked));
    }
    if left_out > 0 {
        report.warn(format!("{left_out} older versions are left out; see `verdict tags {repository}`"));
    }
    report
}

/// Every version below a folder, by policy.
fn folder_report(folder: &Path) -> Result<Report, Error> {
    let mut policies: BTreeMap<String, Vec<Looked>> = BTreeMap::new();
    for path in find(folder)? {
        let looked = Layout::open(&path).and_then(|layout| layout.summary());
        let policy = text(looked.as_ref().ok().and_then(|summary| summary.policy.as_deref()));
        policies.entry(policy).or_default().push((path.display().to_string(), looked));
    }
    let listed = policies.iter().map(|(policy, versions)| {
        let versions: Vec<_> =
            versions.iter().map(|(path, looked)| looked_json("path", path, looked)).collect();
        json!({ "policy": policy, "versions": versions })
    });
    let mut report = Report::new(json!({ "policies": listed.collect::<Vec<_>>() }));
    for (policy, versions) in &policies {
        report.line(policy);
        for (path, looked) in versions {
            report.line(format!("  {}  {path}", row("", looked).trim()));
        }
    }
    Ok(report)
}

fn looked_json(name: &str, place: &str, looked: &Result<Summary, Refusal>) -> Value {
    let mut json = match looked {
        Ok(summary) => summary_json(summary),
        Err(refusal) => json!({ "error": { "code": refusal.code, "message": refusal.message } }),
    };
    if let Some(json) = json.as_object_mut() {
        json.insert(name.into(), place.into());
    }
    json
}

fn row(tag: &str, looked: &Result<Summary, Refusal>) -> String {
    match looked {
        Ok(summary) => {
            let version = if tag.is_empty() { text(summary.version.as_deref()) } else { tag.to_owned() };
            format!("{version:<16} {}  {} statements", short(summary.image), summary.statements)
        }
        Err(refusal) => format!("{tag:<16} {BAD}{}{BAD:#}: {}", refusal.code, refusal.message),
    }
}
