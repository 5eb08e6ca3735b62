//! What the commands that speak to registries have in common: options, progress, and errors.

use std::future::Future;
use std::path::Path;
use std::sync::Arc;

use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;
use verdict_core::digest::Digest;
use verdict_registry::Summary;
use verdict_registry::remote::{
    Moved, Place, Progress, ProgressFn, RegistryHost, Remote, RemoteError, RemoteOptions, Server,
};

use crate::builds;
use crate::error::{Error, Problem};
use crate::report::Report;

/// How to speak to a registry.
#[derive(clap::Args)]
pub(crate) struct RemoteArgs {
    /// Speak without TLS; whoever is on the way can then read and change everything
    #[arg(long)]
    plain_http: bool,
}

impl RemoteArgs {
    /// Runs work that speaks to registries, and shows on a terminal how far it is.
    pub(crate) fn run<T, W>(&self, work: impl FnOnce(Remote) -> W) -> Result<T, Error>
    where
        W: Future<Output = Result<T, RemoteError>>,
    {
        let plain_http = self.plain_http;
        run(|progress| Remote::new(RemoteOptions { plain_http, progress, ..RemoteOptions::default() }), work)
    }

    /// The same with the repositories of a server, if one is named, and with any registry otherwise.
    pub(crate) fn run_with<T, W>(
        &self,
        server: Option<&Server>,
        work: impl FnOnce(Remote) -> W,
    ) -> Result<T, Error>
    where
        W: Future<Output = Result<T, RemoteError>>,
    {
        match server {
            Some(server) => with_server(server, work),
            None => self.run(work),
        }
    }
}

/// Runs work that speaks to the repositories of a server, as [`RemoteArgs::run`] does.
pub(crate) fn with_server<T, W>(server: &Server, work: impl FnOnce(Remote) -> W) -> Result<T, Error>
where
    W: Future<Output = Result<T, RemoteError>>,
{
    run(|progress| server.remote(progress), work)
}

fn run<T, W>(
    remote: impl FnOnce(Option<Arc<ProgressFn>>) -> Result<Remote, RemoteError>,
    work: impl FnOnce(Remote) -> W,
) -> Result<T, Error>
where
    W: Future<Output = Result<T, RemoteError>>,
{
    let bar = bar();
    let shown = bar.clone();
    let progress = move |progress| match progress {
        Progress::Expected(bytes) => shown.inc_length(bytes),
        Progress::Moved(bytes) => shown.inc(bytes),
    };
    let remote = remote(Some(Arc::new(progress)))?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Error::Machine(Problem::new("runtime", error.to_string())))?;
    let done = runtime.block_on(work(remote));
    bar.finish_and_clear();
    Ok(done?)
}

/// It draws nothing where there is no terminal.
fn bar() -> ProgressBar {
    let bar = ProgressBar::new(0);
    let style = ProgressStyle::with_template("{bar:30} {bytes}/{total_bytes} {bytes_per_sec}");
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    bar
}

/// The place that a folder of a policy or a build means as a source: its layout.
pub(crate) fn layout_place(dir: &Path) -> Result<Place, Error> {
    Ok(Place::Folder(builds::layout_folder(dir)?))
}

/// What a transfer did.
pub(crate) fn moved(verb: &str, moved: &Moved) -> Report {
    let mut report = Report::new(json!({
        "place": moved.place.to_string(), "image": moved.image, "policy": moved.policy,
        "version": moved.version, "statements": moved.statements, "bytes": moved.bytes_moved,
        "blobs": { "moved": moved.blobs_moved, "present": moved.blobs_present },
    }));
    let (policy, version) = (text(moved.policy.as_deref()), text(moved.version.as_deref()));
    report
        .row(verb, format!("{policy} {version}"))
        .row("to", &moved.place)
        .row("image", moved.image)
        .row("statements", moved.statements)
        .row(
            "moved",
            format!(
                "{} of {} blobs, {}",
                moved.blobs_moved,
                moved.blobs_moved + moved.blobs_present,
                indicatif::HumanBytes(moved.bytes_moved)
            ),
        );
    if moved.statements == 0 {
        report.warn("nobody has signed it: no host will run it");
    }
    report
}

/// A version in a list.
pub(crate) fn summary_json(summary: &Summary) -> serde_json::Value {
    json!({
        "version": summary.version, "image": summary.image, "component": summary.component,
        "component_bytes": summary.component_bytes, "statements": summary.statements,
    })
}

/// The beginning of a digest, for lists.
pub(crate) fn short(digest: Digest) -> String {
    digest.to_string().chars().take("sha256:".len() + 12).collect()
}

/// What an image says of itself, for a terminal: nobody has checked it.
pub(crate) fn text(claimed: Option<&str>) -> String {
    claimed.unwrap_or("?").chars().filter(|c| !c.is_control()).take(80).collect()
}

impl From<RemoteError> for Error {
    fn from(error: RemoteError) -> Self {
        let problem = Problem::new(error.code(), error.to_string()).help(error.remedy());
        match error {
            RemoteError::Problem { host, problem } => said_no(&host, &problem),
            RemoteError::Refused(refusal) => refusal.into(),
            RemoteError::Folder(error) => error.into(),
            RemoteError::Published { .. } | RemoteError::OtherVersion { .. } => Self::Refused(problem),
            RemoteError::Reference(_)
            | RemoteError::Address(_)
            | RemoteError::Token
            | RemoteError::NoVersion { .. }
            | RemoteError::Missing { .. }
            | RemoteError::Credentials { .. }
            | RemoteError::Busy(_) => Self::Unusable(problem),
            RemoteError::Unreachable { .. }
            | RemoteError::Answered { .. }
            | RemoteError::Denied { .. }
            | RemoteError::Unlisted { .. } => Self::Machine(problem),
        }
    }
}

/// What a server refuses, under its own code: by a check, because it cannot be asked so, or because it cannot now.
fn said_no(host: &RegistryHost, said: &verdict_registry::remote::Problem) -> Error {
    let message = format!("the server `{host}` refuses {}: {}", said.request, said.message);
    let problem = Problem::new(said.code.clone(), message);
    let help = match said.correlation.as_str() {
        "" => said.remedy().to_owned(),
        id => format!("{}; request {id}", said.remedy()),
    };
    let problem = problem.help(help);
    match said.status {
        409 | 412 | 422 => Error::Refused(problem),
        400 | 404 | 405 | 413 | 415 | 428 => Error::Unusable(problem),
        _ => Error::Machine(problem),
    }
}
