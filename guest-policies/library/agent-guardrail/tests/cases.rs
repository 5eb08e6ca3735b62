//! The cases of this policy, natively.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by a panic")]

use verdict_sdk::testing::{self, Host, run_cases};

#[test]
fn every_case_comes_out_as_expected() {
    assert!(run_cases(include_str!("../cases/call.json"), agent_guardrail::decide).unwrap() >= 8);
}

#[test]
fn an_unknown_tool_is_reported_to_the_operator() {
    let input = r#"{"tool": "shell", "data_class": "public", "cost_cents": 0, "budget": {"spent_cents": 0, "limit_cents": 1}}"#;
    let host = Host { input: input.into(), data: include_str!("../data.json").into(), ..Host::default() };
    let decision = testing::with(host, || agent_guardrail::decide("call")).unwrap();
    assert_eq!(decision.reasons()[0].code(), "unknown-tool");
    assert_eq!(testing::messages(), [("unknown-tool".into(), "shell".into())]);
}
