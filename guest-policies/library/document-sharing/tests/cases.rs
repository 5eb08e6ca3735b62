//! The cases of this policy, natively.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by a panic")]

use verdict_sdk::testing::run_cases;

#[test]
fn every_case_comes_out_as_expected() {
    assert!(run_cases(include_str!("../cases/sharing.json"), document_sharing::decide).unwrap() >= 8);
}
