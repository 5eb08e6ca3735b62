//! What no policy may exceed, as `verdict serve` is told.

use serde_json::Value;
use verdict_core::limits::Limits;

use crate::error::{Error, Problem};

/// The ceiling of limits.
#[derive(clap::Args)]
pub(crate) struct LimitArgs {
    /// The most of something that any policy may use, and what a policy gets that asks for nothing, such as
    /// `input_bytes=4194304`: one of `fuel`, `host_calls`, `input_bytes`, `instances`, `log_bytes`, `memory_bytes`,
    /// `output_bytes`, `stack_bytes`, `table_elements`, `wall_clock_ms`; may be repeated. The record of a decision has
    /// the limits that were in force
    #[arg(long, value_name = "NAME=NUMBER", value_parser = named)]
    limit: Vec<(String, u64)>,
}

fn named(text: &str) -> Result<(String, u64), String> {
    let (name, number) = text.split_once('=').ok_or("expected `NAME=NUMBER`")?;
    let number = number.parse().map_err(|error| format!("`{number}` is no number: {error}"))?;
    Ok((name.to_owned(), number))
}

impl LimitArgs {
    /// The ceiling: what is not named is safe for a public server. `body_bytes_max` is the most that a request may have.
    ///
    /// # Errors
    /// For a name that is no limit's, or a number that cannot be enforced.
    pub(crate) fn ceiling(&self, body_bytes_max: usize) -> Result<Limits, Error> {
        let unusable = |message: String| Error::Unusable(Problem::new("limit", message));
        let written = |error: serde_json::Error| unusable(error.to_string());
        let mut limits = serde_json::to_value(Limits::default()).map_err(written)?;
        if let Value::Object(limits) = &mut limits {
            for (name, number) in &self.limit {
                limits.insert(name.clone(), (*number).into());
            }
        }
        let limits: Limits = serde_json::from_value(limits).map_err(written)?;
        let limits = limits.checked().map_err(|error| unusable(error.to_string()))?;
        // Where only the body is bounded, that is the bound of both.
        let is_named = self.limit.iter().any(|(name, _)| name == "input_bytes");
        if !is_named || usize::try_from(limits.input_bytes).is_ok_and(|bytes| bytes <= body_bytes_max) {
            return Ok(limits);
        }
        let message = format!(
            "an input may have {} bytes, and a request only {body_bytes_max}: no such input would arrive",
            limits.input_bytes
        );
        let help = "raise `--body-bytes-max` too";
        Err(Error::Unusable(Problem::new("limit", message).help(help)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ceiling(limits: &[&str]) -> Result<Limits, String> {
        let limit = limits.iter().map(|text| named(text)).collect::<Result<_, _>>()?;
        LimitArgs { limit }.ceiling(8 << 20).map_err(|error| format!("{error:?}"))
    }

    #[test]
    fn what_is_not_named_stays() {
        let ceiling = ceiling(&["input_bytes=4194304", "fuel=7"]).unwrap();
        assert_eq!(ceiling, Limits { input_bytes: 4 << 20, fuel: 7, ..Limits::default() });
    }

    #[test]
    fn requests_may_be_bounded_alone() {
        assert_eq!(LimitArgs { limit: Vec::new() }.ceiling(1_000).unwrap(), Limits::default());
    }

    #[test]
    fn what_cannot_be_meant_is_refused() {
        for (limit, says) in [
            ("fule=7", "fuel"),
            ("fuel", "NAME=NUMBER"),
            ("fuel=-1", "-1"),
            ("fuel=0", "between"),
            ("wall_clock_ms=99999999", "between"),
            ("input_bytes=9000000", "body-bytes-max"),
        ] {
            let error = ceiling(&[limit]).unwrap_err();
            assert!(error.contains(says), "{limit}: {error}");
        }
    }
}
