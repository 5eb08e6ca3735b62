//! With the access policy of the library: built, signed, pinned, asked.

use std::path::Path;

use serde_json::json;
use verdict::registry::catalogue::{Change, NewApiKey};
use verdict_tests::access::AccessSite;

use super::super::policy::Loaded;
use super::*;

fn options(site: &AccessSite) -> AccessOptions {
    let policy = AccessPolicy {
        folder: site.policy(),
        trust: site.trust(),
        state: site.path("state"),
        component: site.component().parse().unwrap(),
    };
    AccessOptions { policy: Some(policy), ..AccessOptions::default() }
}

async fn open(options: AccessOptions) -> Result<Access, AccessError> {
    Access::open(options, None, Compiler::InProcess).await
}

async fn catalogue(folder: &Path) -> Catalogue {
    Catalogue::open(&format!("sqlite:{}", folder.join("catalogue.db").display())).await.unwrap()
}

fn change() -> Change {
    Change { actor: "test".into(), correlation: "test".into(), at: now() }
}

fn of(roles: &[Role], tenant: Option<&str>) -> Principal {
    Principal::api_key("k", "alice", tenant.map(self::tenant), roles.iter().copied().collect())
}

async fn made(catalogue: &Catalogue, key: &ApiKey, expires: Option<Timestamp>) {
    let roles = BTreeSet::from(["operator".to_owned(), "of a later version".to_owned()]);
    let (id, hash) = (key.id().to_owned(), key.hash());
    let new = NewApiKey { id, hash, tenant: Some(tenant("bank")), person: "alice".into(), roles, expires };
    let mut write = catalogue.write(change()).await.unwrap();
    let _ = write.ensure_tenant(&tenant("bank")).await.unwrap();
    write.create_api_key(&new).await.unwrap();
    write.commit().await.unwrap();
}

/// How many decisions about access are in the log.
fn recorded(access: &Access) -> u64 {
    access.flush();
    let policy = access.inner.policy.as_ref().unwrap();
    match policy.recorded.log_resource(&tenant("system"), "checkpoint").unwrap() {
        Some(checkpoint) => {
            std::str::from_utf8(&checkpoint).unwrap().lines().nth(1).unwrap().parse().unwrap()
        }
        None => 0,
    }
}

#[test]
fn the_policy_and_the_server_know_the_same_actions() {
    let path = verdict_tests::server::root().join("guest-policies/library/api-access/matrix.txt");
    let text = std::fs::read_to_string(path).unwrap();
    let rows = text.lines().filter(|line| line.split('.').count() > 1 && !line.starts_with('#'));
    let known: Vec<&str> = rows.filter_map(|line| line.split_whitespace().next()).collect();
    assert_eq!(known, ACTIONS);
}

#[tokio::test]
async fn a_role_has_its_own_in_its_own_tenant_and_learns_nothing_of_others() {
    let site = AccessSite::new();
    let access = open(options(&site)).await.unwrap();
    let operator = of(&[Role::Operator], Some("bank"));
    assert_eq!(judged(&access, &operator, "channel.write", Some("bank")).await, Ok(()));
    assert_eq!(judged(&access, &operator, "channel.read", Some("bank")).await, Ok(()));
    assert_eq!(judged(&access, &operator, "host.read", None).await, Ok(()));
    let denied = judged(&access, &operator, "statement.attach", Some("bank")).await;
    assert_eq!(denied, Err(Denial::Forbidden("statement.attach")));
    let denied = judged(&access, &operator, "trust.read", None).await;
    assert_eq!(denied, Err(Denial::Forbidden("trust.read")));
    let admin = of(&[Role::SystemAdmin], None);
    let nobody = of(&[], None);
    for action in ACTIONS {
        let denied = judged(&access, &operator, action, Some("shop")).await;
        assert_eq!(denied, Err(Denial::Elsewhere), "{action}");
        assert_eq!(judged(&access, &nobody, action, None).await, Err(Denial::Forbidden(action)));
        assert_eq!(judged(&access, &admin, action, Some("shop")).await, Ok(()), "{action}");
        assert_eq!(judged(&access, &admin, action, Some("system")).await, Err(Denial::Elsewhere), "{action}");
    }
}

#[tokio::test]
async fn tokens_of_the_file_are_asked_about_too() {
    let site = AccessSite::new();
    let tokens = Tokens::parse("teller 9876543210abcdefghijklmn bank\n").unwrap();
    let access = open(AccessOptions { tokens: Some(tokens), ..options(&site) }).await.unwrap();
    let teller = known(&access, &bearer("9876543210abcdefghijklmn")).await.unwrap();
    assert_eq!(judged(&access, &teller, "decision.decide", Some("bank")).await, Ok(()));
    assert_eq!(judged(&access, &teller, "repository.push", Some("bank")).await, Ok(()));
    let denied = judged(&access, &teller, "repository.delete", Some("bank")).await;
    assert_eq!(denied, Err(Denial::Forbidden("repository.delete")));
    assert_eq!(known(&access, &HeaderMap::new()).await, Err(StatusCode::UNAUTHORIZED));
}

#[tokio::test]
async fn nobody_gives_a_key_more_than_there_is_to_give() {
    let site = AccessSite::new();
    let access = open(options(&site)).await.unwrap();
    let (admin, bank) = (of(&[Role::TenantAdmin], Some("bank")), tenant("bank"));
    let create = Action::new("key.create", Some(&bank), "bank");
    let (agent, system) = (BTreeSet::from([Role::Agent]), BTreeSet::from([Role::SystemAdmin]));
    assert_eq!(access.judge(&admin, &create.giving(&agent)).await, Ok(()));
    let denied = Err(Denial::Forbidden("key.create"));
    assert_eq!(access.judge(&admin, &create.giving(&system)).await, denied);
    let for_all = Action::new("key.create", None, "keys");
    assert_eq!(access.judge(&admin, &for_all.giving(&agent)).await, denied);
}

#[tokio::test]
async fn an_api_key_counts_until_it_expires_or_is_revoked() {
    let site = AccessSite::new();
    let catalogue = catalogue(&site.path("")).await;
    let access = Access::open(options(&site), Some(catalogue.clone()), Compiler::InProcess).await.unwrap();
    let (key, expired, unknown) = (ApiKey::new().unwrap(), ApiKey::new().unwrap(), ApiKey::new().unwrap());
    made(&catalogue, &key, None).await;
    made(&catalogue, &expired, Some(Timestamp::from_millis(now().millis() - 1).unwrap())).await;

    let principal = known(&access, &bearer(key.text())).await.unwrap();
    assert_eq!((principal.kind(), principal.id()), (Kind::ApiKey, key.id()));
    assert_eq!(principal.roles(), &BTreeSet::from([Role::Operator]));
    assert_eq!(principal.tenant(), Some(&tenant("bank")));
    let caller = json!({ "kind": "api_key", "id": key.id(), "name": "alice" });
    assert_eq!(serde_json::from_str::<serde_json::Value>(principal.caller().unwrap()).unwrap(), caller);

    let renamed = key.text().replace(key.id(), expired.id());
    for text in [expired.text(), unknown.text(), &renamed] {
        assert_eq!(known(&access, &bearer(text)).await, Err(StatusCode::UNAUTHORIZED), "{text}");
    }

    let mut write = catalogue.write(change()).await.unwrap();
    write.revoke_api_key(key.id(), None).await.unwrap();
    write.commit().await.unwrap();
    assert_eq!(known(&access, &bearer(key.text())).await, Err(StatusCode::UNAUTHORIZED));
}

#[tokio::test]
async fn a_catalogue_that_does_not_answer_lets_nobody_in() {
    let site = AccessSite::new();
    let catalogue = catalogue(&site.path("")).await;
    let access = Access::open(options(&site), Some(catalogue.clone()), Compiler::InProcess).await.unwrap();
    let key = ApiKey::new().unwrap();
    made(&catalogue, &key, None).await;
    catalogue.close().await;
    assert_eq!(known(&access, &bearer(key.text())).await, Err(StatusCode::SERVICE_UNAVAILABLE));
}

#[tokio::test]
async fn what_changes_something_is_recorded_when_it_is_allowed_or_denied_and_reads_are_not() {
    let site = AccessSite::new();
    let access = open(options(&site)).await.unwrap();
    let operator = of(&[Role::Operator], Some("bank"));
    for action in ["channel.read", "decision.decide", "event.read"] {
        let _ = judged(&access, &operator, action, Some("bank")).await;
    }
    assert_eq!(recorded(&access), 0);
    judged(&access, &operator, "channel.write", Some("bank")).await.unwrap();
    judged(&access, &operator, "policy.create", Some("bank")).await.unwrap_err();
    assert_eq!(recorded(&access), 2);
    let owner = Principal::break_glass();
    judged(&access, &owner, "channel.read", Some("bank")).await.unwrap();
    assert_eq!(recorded(&access), 3);
}

#[tokio::test]
async fn a_policy_that_faults_allows_nothing_but_what_the_socket_s_owner_does_and_that_is_recorded() {
    let site = AccessSite::changed(|manifest| manifest["limits"]["fuel"] = json!(1_000));
    let access = open(options(&site)).await.unwrap();
    let admin = of(&[Role::SystemAdmin], None);
    for action in ["trust.write", "trust.read"] {
        assert_eq!(judged(&access, &admin, action, None).await, Err(Denial::Undecided), "{action}");
    }
    let before = recorded(&access);
    assert_eq!(judged(&access, &Principal::break_glass(), "trust.write", None).await, Ok(()));
    assert_eq!(recorded(&access), before + 1);
}

#[tokio::test]
async fn a_policy_that_needs_more_fuel_is_asked_elsewhere_and_answers_the_same() {
    let site = AccessSite::changed(|manifest| manifest["limits"]["fuel"] = json!(20_000_000));
    let access = open(options(&site)).await.unwrap();
    let operator = of(&[Role::Operator], Some("bank"));
    assert_eq!(judged(&access, &operator, "channel.write", Some("bank")).await, Ok(()));
    assert_eq!(judged(&access, &operator, "channel.write", Some("shop")).await, Err(Denial::Elsewhere));
}

#[tokio::test]
async fn another_component_than_the_pinned_one_ends_the_start_whoever_signed_it() {
    let site = AccessSite::new();
    let mut options = options(&site);
    options.policy.as_mut().unwrap().component = Digest::of(b"another");
    assert!(matches!(open(options).await, Err(AccessError::Component { .. })));
}

#[tokio::test]
async fn a_policy_that_is_not_the_access_policy_ends_the_start() {
    let site = AccessSite::another("document-sharing");
    let refused = open(options(&site)).await;
    assert!(matches!(refused, Err(AccessError::Name)), "{refused:?}");
}

#[tokio::test]
async fn a_policy_that_others_signed_or_that_was_touched_ends_the_start() {
    let site = AccessSite::new();
    let others = AccessSite::new();
    let mut foreign = options(&site);
    foreign.policy.as_mut().unwrap().trust = others.trust();
    assert!(matches!(open(foreign).await, Err(AccessError::Refused { .. })));

    let blobs = site.policy().join("api-access/oci/blobs/sha256");
    let component = site.component().strip_prefix("sha256:").unwrap();
    let mut bytes = std::fs::read(blobs.join(component)).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    std::fs::write(blobs.join(component), bytes).unwrap();
    assert!(matches!(open(options(&site)).await, Err(AccessError::Refused { .. })));
}

#[tokio::test]
async fn no_policy_and_two_policies_end_the_start() {
    let site = AccessSite::new();
    let mut none = options(&site);
    let empty = site.path("empty");
    std::fs::create_dir(&empty).unwrap();
    none.policy.as_mut().unwrap().folder = empty;
    assert!(matches!(open(none).await, Err(AccessError::NotAlone { found: 0, .. })));

    // Another policy, of an author whom the trust file names too.
    let second = AccessSite::another("document-sharing");
    verdict_tests::server::copy(&second.policy(), &site.policy().join("second"));
    let read = |path| serde_json::from_slice::<serde_json::Value>(&std::fs::read(path).unwrap()).unwrap();
    let (mut trust, more) = (read(site.trust()), read(second.trust()));
    trust["authors"].as_array_mut().unwrap().push(more["authors"][0].clone());
    std::fs::write(site.trust(), trust.to_string()).unwrap();
    let refused = open(options(&site)).await;
    assert!(matches!(refused, Err(AccessError::NotAlone { found: 2, .. })), "{refused:?}");
}

#[tokio::test]
async fn a_missing_folder_or_trust_file_ends_the_start() {
    let site = AccessSite::new();
    for what in ["folder", "trust"] {
        let mut missing = options(&site);
        let policy = missing.policy.as_mut().unwrap();
        match what {
            "folder" => policy.folder = site.path("nowhere"),
            _ => policy.trust = site.path("nowhere"),
        }
        let refused = open(missing).await;
        assert!(
            matches!(refused, Err(AccessError::Host(_) | AccessError::NotAlone { .. })),
            "{what}: {refused:?}"
        );
    }
}

#[tokio::test]
async fn what_is_read_again_must_hold_again() {
    let (site, others) = (AccessSite::new(), AccessSite::new());
    let access = open(options(&site)).await.unwrap();
    let operator = of(&[Role::Operator], Some("bank"));
    let own = std::fs::read(site.trust()).unwrap();
    let mut renewed: serde_json::Value = serde_json::from_slice(&own).unwrap();
    renewed["version"] = json!(2);
    std::fs::write(site.trust(), renewed.to_string()).unwrap();
    access.reload();
    assert_eq!(judged(&access, &operator, "channel.write", Some("bank")).await, Ok(()));

    let mut foreign: serde_json::Value =
        serde_json::from_slice(&std::fs::read(others.trust()).unwrap()).unwrap();
    foreign["version"] = json!(3);
    std::fs::write(site.trust(), foreign.to_string()).unwrap();
    access.reload();
    for action in ["channel.write", "channel.read"] {
        assert_eq!(
            judged(&access, &operator, action, Some("bank")).await,
            Err(Denial::Undecided),
            "{action}"
        );
    }
}

#[tokio::test]
async fn an_answer_of_another_component_than_the_pinned_one_allows_nothing() {
    let site = AccessSite::new();
    let mut policy = Loaded::open(&options(&site).policy.unwrap(), Compiler::InProcess).unwrap();
    policy.component = Digest::of(b"another");
    let access = Access::assemble(None, None);
    let mut inner = Arc::into_inner(access.inner).unwrap();
    inner.policy = Some(policy);
    let access = Access { inner: Arc::new(inner) };
    let admin = of(&[Role::SystemAdmin], None);
    for action in ["trust.write", "trust.read"] {
        assert_eq!(judged(&access, &admin, action, None).await, Err(Denial::Undecided), "{action}");
    }
}
