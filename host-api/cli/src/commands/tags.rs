//! `verdict tags`: the names that a repository gives to its images.

use serde_json::json;
use verdict_registry::remote::{RemoteError, Repository, Tag};

use crate::error::{Error, Problem};
use crate::remote::RemoteArgs;
use crate::report::Report;

/// List the tags of a repository
///
/// Tags that only list what refers to an image (`sha256-…`) are left out.
#[derive(clap::Args)]
#[command(after_help = "Example: verdict tags registry.example/bank/loan")]
pub(crate) struct Args {
    /// The repository: `[oci://]HOST[:PORT]/REPOSITORY`
    repository: String,
    #[command(flatten)]
    remote: RemoteArgs,
}

/// Runs the command.
pub(crate) fn run(args: &Args) -> Result<Report, Error> {
    let repository: Repository = args.repository.parse().map_err(RemoteError::from)?;
    let tags = args.remote.run(async |remote| tags(&remote, &repository).await)?;
    let tags = tags.ok_or_else(|| unknown(&repository))?;
    let names: Vec<_> = tags.iter().map(Tag::as_str).collect();
    let mut report = Report::new(json!({ "repository": repository.to_string(), "tags": names }));
    for name in names {
        report.line(name);
    }
    Ok(report)
}

/// The tags that name images.
pub(super) async fn tags(
    remote: &verdict_registry::remote::Remote,
    repository: &Repository,
) -> Result<Option<Vec<Tag>>, RemoteError> {
    let tags = remote.tags(repository).await?;
    Ok(tags.map(|tags| tags.into_iter().filter(|tag| !tag.is_of_referrers()).collect()))
}

/// There is no such repository.
pub(super) fn unknown(repository: &Repository) -> Error {
    let message = format!("the registry `{}` has no `{}`", repository.host(), repository.path());
    Error::Unusable(Problem::new("not-found", message).help("check the name with `verdict list`"))
}
