//! The settings of a server that runs, read again.

use std::fmt;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use verdict_server::{Tuning, TuningSource};

use super::serve::Args;
use crate::error::Error;
use crate::settings::Settings;

/// What counts at once when it changes.
const LIVE: [&str; 3] = ["budgets", "cors", TOKEN_FILE];
const TOKEN_FILE: &str = "token-file";

/// The settings that a server was started with, and the files that those name which it read last.
pub(super) struct Again {
    started: Settings,
    files: Mutex<Vec<PathBuf>>,
}

impl Again {
    pub(super) fn new(started: Settings, args: &Args) -> Self {
        let files = Mutex::new(files(args));
        Self { started, files }
    }

    fn settings(&self) -> Result<Tuning, Error> {
        let settings = self.started.again()?;
        let args = settings.serve()?;
        let tuning = Tuning {
            budgets: args.budgets(&settings)?,
            cors: args.cors.clone(),
            tokens: args.access.tokens()?,
            later: self.later(&settings),
        };
        *self.files.lock().unwrap_or_else(PoisonError::into_inner) = files(&args);
        Ok(tuning)
    }

    /// What has changed and counts later.
    fn later(&self, settings: &Settings) -> Vec<String> {
        let has_tokens = |settings: &Settings| {
            settings.keys.iter().any(|key| key.name == TOKEN_FILE && settings.found(key).is_some())
        };
        // Whether there are tokens at all decides who may ask what.
        let is_other_server = has_tokens(&self.started) != has_tokens(settings);
        let is_live = |name: &str| LIVE.contains(&name) && !(name == TOKEN_FILE && is_other_server);
        let changed = self.started.changed(settings).map(|key| key.name.clone());
        changed.filter(|name| !is_live(name)).collect()
    }
}

/// The files that say what may change.
fn files(args: &Args) -> Vec<PathBuf> {
    let files = [args.config.as_ref(), args.budgets.path(), args.access.token_file.as_ref()];
    files.into_iter().flatten().cloned().collect()
}

impl fmt::Debug for Again {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Again").field("files", &self.files).finish_non_exhaustive()
    }
}

impl TuningSource for Again {
    fn files(&self) -> Vec<PathBuf> {
        self.files.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn read(&self) -> Result<Tuning, String> {
        self.settings().map_err(|error| error.one_line())
    }
}
