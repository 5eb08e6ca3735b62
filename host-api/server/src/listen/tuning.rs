//! What changes while a server runs: read again when its files change, and on SIGHUP.
//!
//! All of it is read and checked before any of it counts. Where it cannot be used, what was read before goes on, and the
//! log and `/health/ready` say so.

use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use super::condition::Condition;
use super::stamp::Stamp;
use super::{LOOK_EVERY, Options};
use crate::access::Tokens;
use crate::api;
use crate::door::{Door, Routes};
use crate::tenancy::Budgets;

/// What may change while a server runs.
#[derive(Debug, Clone, Default)]
pub struct Tuning {
    /// What each tenant may use from now on. What it used stays counted.
    pub budgets: Budgets,
    /// The origins whose pages may ask.
    pub cors: Vec<String>,
    /// Who may ask by a token, where the server knows anybody by one; as before, if there are none here.
    pub tokens: Option<Tokens>,
    /// The settings that have changed and count only when the server starts again, by their names.
    pub later: Vec<String>,
}

/// Where it is read.
pub trait TuningSource: fmt::Debug + Send + Sync {
    /// The files that say it.
    fn files(&self) -> Vec<PathBuf>;

    /// Reads it.
    ///
    /// # Errors
    /// Why it cannot be used, without secrets: then nothing changes.
    fn read(&self) -> Result<Tuning, String>;
}

/// What carries changes out.
pub(super) struct Tuner {
    source: Arc<dyn TuningSource>,
    door: Arc<Door>,
    condition: Arc<Condition>,
    options: Options,
    /// How the files were when they were read last.
    stamps: Mutex<Vec<Stamp>>,
}

impl Tuner {
    /// None where nothing may change.
    pub(super) fn new(options: &Options, door: &Arc<Door>, condition: &Arc<Condition>) -> Option<Arc<Self>> {
        let source = options.tuning.clone()?;
        let stamps = Mutex::new(stamps(source.as_ref()));
        let (door, condition, options) = (Arc::clone(door), Arc::clone(condition), options.clone());
        Some(Arc::new(Self { source, door, condition, options, stamps }))
    }

    /// Reads the settings again.
    pub(super) fn reload(&self) {
        self.read(&mut self.stamps.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// Reads the settings again whenever a file of theirs has changed.
    pub(super) async fn follow(self: Arc<Self>) {
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            let tuner = Arc::clone(&self);
            let look = move || {
                let mut seen = tuner.stamps.lock().unwrap_or_else(PoisonError::into_inner);
                if *seen != stamps(tuner.source.as_ref()) {
                    tuner.read(&mut seen);
                }
            };
            drop(tokio::task::spawn_blocking(look).await);
        }
    }

    fn read(&self, seen: &mut Vec<Stamp>) {
        // Before reading: what changes meanwhile is read once more.
        let before = (self.source.files(), stamps(self.source.as_ref()));
        let read = self.source.read().and_then(|tuning| {
            api::check_origins(&tuning.cors).map(|()| tuning).map_err(|error| error.to_string())
        });
        // Other settings may name other files.
        *seen = if self.source.files() == before.0 { before.1 } else { stamps(self.source.as_ref()) };
        let is_old = read.is_err();
        match read {
            Ok(tuning) => self.apply(tuning),
            Err(error) => tracing::error!(error, "the settings were not read again; those before go on"),
        }
        // Not before: whoever sees that they are new may count on them.
        self.condition.config_is_old(is_old);
    }

    fn apply(&self, tuning: Tuning) {
        let Tuning { budgets, cors, tokens, later } = tuning;
        self.door.app.tenancy.replace(budgets);
        if let Some(tokens) = tokens {
            self.door.app.access.replace_tokens(tokens);
        }
        let options = Options { cors, ..self.options.clone() };
        self.door.routes.store(Arc::new(routes(&self.door.app, &options)));
        tracing::info!("read the settings again");
        if !later.is_empty() {
            let keys = later.join(", ");
            tracing::warn!(keys, "these settings have changed, and count when the server is started again");
        }
    }
}

/// What everything but a decision goes through.
pub(super) fn routes(app: &Arc<crate::routes::App>, options: &Options) -> Routes {
    Routes { router: api::router(app, options), has_other_origins: !options.cors.is_empty() }
}

fn stamps(source: &dyn TuningSource) -> Vec<Stamp> {
    source.files().iter().map(|path| Stamp::of(path)).collect()
}
