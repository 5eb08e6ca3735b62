//! The cases of this policy, natively, and the whole matrix of roles and actions.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by a panic")]

use serde_json::json;
use verdict_sdk::testing::{run_cases, with_input};

#[test]
fn every_case_comes_out_as_expected() {
    assert!(run_cases(include_str!("../cases/access.json"), api_access::decide).unwrap() >= 40);
}

/// A row of the matrix: the action, whether it is of no tenant's own, and who has it.
struct Row {
    action: &'static str,
    of_no_tenant: bool,
    has: Vec<bool>,
}

fn matrix() -> (Vec<&'static str>, Vec<Row>) {
    let mut lines = include_str!("../matrix.txt").lines().filter(|line| {
        let line = line.trim();
        !line.is_empty() && !line.starts_with('#')
    });
    let roles: Vec<_> = lines.next().unwrap().split_whitespace().skip(1).collect();
    let row = |line: &'static str| {
        let mut words = line.split_whitespace().peekable();
        let action = words.next().unwrap();
        let of_no_tenant = words.next_if_eq(&"*").is_some();
        let has: Vec<_> = words.map(|word| word == "x").collect();
        assert_eq!(has.len(), roles.len(), "{action}");
        Row { action, of_no_tenant, has }
    };
    let rows = lines.map(row).collect();
    (roles, rows)
}

fn allowed(role: &str, own: Option<&str>, action: &str, tenant: Option<&str>) -> bool {
    let input = json!({
        "principal": {"kind": "api_key", "id": "k", "person": "p", "tenant": own, "roles": [role]},
        "action": action, "tenant": tenant, "resource": "",
    });
    let decision = with_input(&input.to_string(), || api_access::decide("allow")).unwrap();
    decision.json() == Some("true")
}

#[test]
fn every_role_has_what_the_matrix_says_and_nothing_else() {
    let (roles, rows) = matrix();
    assert!(roles.len() == 7 && rows.len() == 33);
    for Row { action, of_no_tenant, has } in &rows {
        for (role, has) in roles.iter().zip(has) {
            let place = if *of_no_tenant { None } else { Some("bank") };
            assert_eq!(allowed(role, None, action, place), *has, "{role} of all tenants: {action}");
            if !of_no_tenant {
                assert_eq!(allowed(role, Some("bank"), action, place), *has, "{role} of a tenant: {action}");
            }
            assert!(!allowed(role, Some("bank"), action, Some("shop")), "{role} elsewhere: {action}");
            let to_all = *action == "host.read" && *has;
            assert_eq!(
                allowed(role, Some("bank"), action, None),
                to_all,
                "{role} of a tenant: {action} of none"
            );
        }
    }
}
