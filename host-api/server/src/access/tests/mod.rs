//! Who is known and what is decided, with real keys, a real issuer and a real policy.

mod jwt;
mod policy;
mod tokens;
mod workloads;

use axum::http::{HeaderMap, StatusCode, header::AUTHORIZATION};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use std::collections::BTreeSet;

use super::*;

fn bearer(token: &str) -> HeaderMap {
    with(&format!("Bearer {token}"))
}

fn with(authorization: &str) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(AUTHORIZATION, authorization.parse().unwrap());
    headers
}

fn tenant(name: &str) -> Tenant {
    name.parse().unwrap()
}

async fn known(access: &Access, headers: &HeaderMap) -> Result<Arc<Principal>, StatusCode> {
    access.principal(headers, Origin::Network).await.map_err(|error| error.status())
}

async fn judged(
    access: &Access,
    principal: &Principal,
    action: &'static str,
    of: Option<&str>,
) -> Result<(), Denial> {
    let of = of.map(tenant);
    access.judge(principal, &Action::new(action, of.as_ref(), "resource")).await
}

#[test]
fn a_credential_is_a_bearer_token_or_for_registries_the_password_of_any_user() {
    let basic = |text: &str| with(&format!("Basic {}", STANDARD.encode(text)));
    assert_eq!(credential(&with("bEARER abc"), false).as_deref(), Some("abc"));
    assert_eq!(credential(&basic("anybody:a:b"), true).as_deref(), Some("a:b"));
    assert_eq!(credential(&basic("anybody:abc"), false), None);
    for wrong in [basic("abc"), with("Basic !"), with("Bearer"), with("Digest abc"), HeaderMap::new()] {
        assert_eq!(credential(&wrong, true), None, "{wrong:?}");
    }
    let mut two = with("Bearer abc");
    two.append(AUTHORIZATION, "Bearer def".parse().unwrap());
    assert_eq!(credential(&two, true), None);
}

#[test]
fn different_principals_have_different_names_in_events() {
    let roles = BTreeSet::from([Role::Agent]);
    let long = "x".repeat(255);
    let principals = [
        Principal::token("alice", None),
        Principal::jwt("alice", None, roles.clone()),
        Principal::api_key("0011223344556677", "alice", None, roles.clone()),
        Principal::api_key("1011223344556677", &long, None, roles.clone()),
        Principal::api_key("2011223344556677", &long, None, roles.clone()),
        Principal::jwt(&format!("{}a", long.get(..239).unwrap()), None, roles.clone()),
        Principal::jwt(&format!("{}b", long.get(..239).unwrap()), None, roles.clone()),
        Principal::workload("alice", None, roles),
    ];
    let names: BTreeSet<String> = principals.iter().map(Principal::actor).collect();
    assert_eq!(names.len(), principals.len());
    assert!(names.iter().all(|name| name.len() <= 255));
}
