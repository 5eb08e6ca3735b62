//! What each tenant may use of a server, as `verdict serve` is told.

use std::path::{Path, PathBuf};

use verdict_server::Budgets;

use crate::error::{Error, Problem};
use crate::files;

const BUDGET_FILE_BYTES_MAX: u64 = 1 << 20;

/// What each tenant may use.
#[derive(clap::Args)]
pub(crate) struct BudgetArgs {
    /// A TOML file with what each tenant may use: `requests_per_s`, `fuel_per_s`, `concurrency`, `queue` and
    /// `memory_bytes`, in `[default]` and in `[tenants.NAME]`; unbounded where nothing is said
    #[arg(long, value_name = "FILE")]
    budgets: Option<PathBuf>,
}

impl BudgetArgs {
    /// Where they are.
    pub(super) fn path(&self) -> Option<&PathBuf> {
        self.budgets.as_ref()
    }

    /// The budgets.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub(crate) fn budgets(&self) -> Result<Budgets, Error> {
        let Some(path) = &self.budgets else { return Ok(Budgets::default()) };
        let text = files::read_text(path, BUDGET_FILE_BYTES_MAX)?;
        let budgets: Budgets = toml::from_str(&text).map_err(|error| {
            let problem = Problem::new("budgets", error.message().to_owned());
            let problem = match error.span() {
                Some(span) => problem.at(path, &text, span, "here"),
                None => problem,
            };
            Error::Unusable(problem)
        })?;
        budgets.checked().map_err(|error| unreadable(path, &error.to_string()))
    }
}

fn unreadable(path: &Path, reason: &str) -> Error {
    Error::Unusable(Problem::new("budgets", format!("`{}` cannot be used: {reason}", path.display())))
}
