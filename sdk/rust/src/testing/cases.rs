//! The cases of a policy, run natively.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::{Host, with};
use crate::{Decision, Failure};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File<'a> {
    #[serde(borrow)]
    data: Option<&'a RawValue>,
    #[serde(borrow)]
    cases: Vec<Case<'a>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case<'a> {
    name: String,
    rule: String,
    #[serde(borrow)]
    input: &'a RawValue,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
    decision_time: Option<String>,
    expect: Expectation,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Expectation {
    value: Option<serde_json::Value>,
    undefined: Option<bool>,
    allow: Option<bool>,
    reasons: Option<Vec<String>>,
    fault: Option<String>,
    failure_code: Option<String>,
}

/// Runs the cases of a file (`cases/*.json`, the format of `verdict test`), and returns how many there were.
///
/// Natively, hence in a debugger and in milliseconds; what only the real host can do, such as limits and the grants of
/// the manifest, is left to `verdict test`.
///
/// # Errors
/// A text that names every case that came out otherwise, or says why the file cannot be read.
pub fn run_cases(file: &str, decide: impl Fn(&str) -> Result<Decision, Failure>) -> Result<usize, String> {
    let file: File<'_> = serde_json::from_str(file).map_err(|error| format!("the file of cases: {error}"))?;
    let wrong: Vec<String> = file
        .cases
        .iter()
        .filter_map(|case| {
            let data = case.data.or(file.data).map_or("", RawValue::get);
            let host = host(case, data);
            let result = with(host, || decide(&case.rule));
            let differences = case.expect.differences(&result);
            (!differences.is_empty())
                .then(|| format!("{}: {}, got {result:?}", case.name, differences.join(", ")))
        })
        .collect();
    if wrong.is_empty() { Ok(file.cases.len()) } else { Err(wrong.join("\n")) }
}

fn host(case: &Case<'_>, data: &str) -> Host {
    let decision_time = case.decision_time.clone();
    Host {
        input: case.input.get().to_owned(),
        data: data.to_owned(),
        decision_time: decision_time.unwrap_or_else(|| Host::default().decision_time),
    }
}

impl Expectation {
    /// What the case wants and the result is not.
    fn differences(&self, result: &Result<Decision, Failure>) -> Vec<String> {
        let decision = result.as_ref().ok();
        let failure = result.as_ref().err();
        let value: Option<serde_json::Value> =
            decision.and_then(Decision::json).and_then(|json| serde_json::from_str(json).ok());
        let undefined = decision.is_some_and(|it| it.json().is_none());
        let allow = value.as_ref().and_then(|it| it.as_bool().or_else(|| it.get("allow")?.as_bool()));
        let reasons: Option<Vec<String>> =
            decision.map(|it| it.reasons().iter().map(|reason| reason.code().to_owned()).collect());

        let mut differences = Vec::new();
        let mut check = |holds: bool, name: &str| {
            if !holds {
                differences.push(format!("`{name}` differs"));
            }
        };
        check(self.value.is_none() || self.value == value, "value");
        check(self.undefined.is_none_or(|it| it == undefined), "undefined");
        check(self.allow.is_none() || self.allow == allow, "allow");
        check(self.reasons.is_none() || self.reasons == reasons, "reasons");
        check(self.fault.is_none() || self.fault.as_deref() == failure.map(Failure::fault), "fault");
        check(
            self.failure_code.is_none() || self.failure_code.as_deref() == failure.map(Failure::code),
            "failure_code",
        );
        check(self.wants_failure() == failure.is_some(), "whether there is an answer");
        differences
    }

    fn wants_failure(&self) -> bool {
        self.fault.is_some() || self.failure_code.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = r#"{"cases": [{"name": "n", "rule": "r", "input": {"a": 1}, "expect": EXPECT}]}"#;

    fn run(expect: &str, result: Result<Decision, Failure>) -> Result<usize, String> {
        run_cases(&FILE.replace("EXPECT", expect), move |_| result.clone())
    }

    #[test]
    fn finds_each_kind_of_difference() {
        for expect in [
            r#"{"value": 2}"#,
            r#"{"undefined": true}"#,
            r#"{"allow": false}"#,
            r#"{"reasons": ["b"]}"#,
            r#"{"fault": "invalid-input"}"#,
            r#"{"failure_code": "x"}"#,
        ] {
            let decision = Decision::allow().because(crate::Reason::new("a", ""));
            assert!(run(expect, Ok(decision)).is_err(), "{expect}");
        }
        assert!(run(r#"{"value": true}"#, Err(Failure::internal("x", ""))).is_err());
    }

    #[test]
    fn passes_what_is_as_expected() {
        let expect = r#"{"value": {"allow": true}, "allow": true, "reasons": [], "undefined": false}"#;
        assert_eq!(run(expect, Ok(Decision::object(true))), Ok(1));
        let failure = r#"{"fault": "policy-error", "failure_code": "x"}"#;
        assert_eq!(run(failure, Err(Failure::missing_data("x", ""))), Ok(1));
    }
}
