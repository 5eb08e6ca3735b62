//! The cases of this policy, natively.

use verdict_sdk::testing::run_cases;

#[test]
fn every_case_comes_out_as_expected() {
    assert!(run_cases(include_str!("../cases/sharing.json"), document_sharing::decide).unwrap() >= 8);
}
