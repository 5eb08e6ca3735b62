//! The query of a request, as OPA reads it: what it does not know it leaves alone.

/// What a client wants to be told besides the value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Explain {
    /// Nothing.
    #[default]
    Off,
    /// The reasons of the answer.
    Notes,
    /// What was looked for and not there.
    Fails,
    /// Everything that there is.
    Full,
}

/// The parameters of a query.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Query {
    pub(super) pretty: bool,
    pub(super) provenance: bool,
    pub(super) metrics: bool,
    /// More of them.
    pub(super) instrument: bool,
    pub(super) explain: Explain,
    /// The input, where it does not come in a body.
    pub(super) input: Option<String>,
    pub(super) bundles: bool,
    pub(super) plugins: bool,
    /// Plugins whose state does not count.
    pub(super) excluded: Vec<String>,
}

impl Query {
    /// Reads a query. `strict-builtin-errors` needs no reading: what goes wrong in a policy is a fault here, always.
    pub(super) fn read(raw: &str) -> Self {
        let pairs: Vec<_> = form_urlencoded::parse(raw.as_bytes()).collect();
        let values = |name: &'static str| {
            pairs.iter().filter(move |(found, _)| found == name).map(|(_, value)| value.as_ref())
        };
        let is_set = |name| {
            let found: Vec<_> = values(name).collect();
            found == [""] || found.iter().any(|value| value.eq_ignore_ascii_case("true"))
        };
        let explain = values("explain").find_map(|value| match value {
            "notes" => Some(Explain::Notes),
            "fails" => Some(Explain::Fails),
            "full" | "debug" => Some(Explain::Full),
            _ => None,
        });
        Self {
            pretty: is_set("pretty"),
            provenance: is_set("provenance"),
            metrics: is_set("metrics") || is_set("instrument"),
            instrument: is_set("instrument"),
            explain: explain.unwrap_or_default(),
            input: values("input").next_back().map(ToOwned::to_owned),
            bundles: is_set("bundles") || is_set("bundle"),
            plugins: is_set("plugins"),
            excluded: values("exclude-plugin").map(ToOwned::to_owned).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parameter_is_set_without_a_value_or_by_true_alone() {
        let is_pretty = |raw| Query::read(raw).pretty;
        assert!(is_pretty("pretty") && is_pretty("pretty=") && is_pretty("a=1&pretty=True"));
        assert!(is_pretty("pretty=false&pretty=true"));
        assert!(
            !is_pretty("") && !is_pretty("pretty=1") && !is_pretty("pretty&pretty") && !is_pretty("Pretty")
        );
    }

    #[test]
    fn the_last_input_counts_and_the_first_known_explanation() {
        let query = Query::read("input=1&explain=x&explain=debug&explain=notes&input=%7B%7D&instrument");
        assert_eq!((query.input.as_deref(), query.explain, query.metrics), (Some("{}"), Explain::Full, true));
    }
}
