//! The cases of this policy, natively.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by a panic")]

use verdict_sdk::testing::run_cases;

#[test]
fn every_case_comes_out_as_expected() {
    for file in [
        include_str!("../cases/privileged-containers.json"),
        include_str!("../cases/host-namespaces.json"),
        include_str!("../cases/host-filesystem.json"),
        include_str!("../cases/users.json"),
        include_str!("../cases/allow-privilege-escalation.json"),
        include_str!("../cases/allowed-repos.json"),
        include_str!("../cases/default-seccomp-profile.json"),
        include_str!("../cases/parameters-of-the-tenant.json"),
    ] {
        assert!(run_cases(file, kubernetes_admission::decide).unwrap() >= 8);
    }
}
