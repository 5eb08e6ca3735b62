//! Without an access policy: what tokens of a file could always do, and nothing else.

use super::*;

const FILE: &str = "shop 0123456789abcdefghijklmn\nteller 9876543210abcdefghijklmn bank\n";

fn access() -> Access {
    Access::from(Tokens::parse(FILE).unwrap())
}

#[tokio::test]
async fn tokens_ask_policies_and_use_the_registry_and_administer_nothing() {
    let access = access();
    let shop = known(&access, &bearer("0123456789abcdefghijklmn")).await.unwrap();
    for action in ACTIONS {
        let expected = if matches!(*action, "data.read" | "documents.read" | "host.read" | "log.read")
            || action.starts_with("decision.")
            || action.starts_with("repository.")
        {
            Ok(())
        } else {
            Err(Denial::NoPolicy)
        };
        assert_eq!(judged(&access, &shop, action, Some("bank")).await, expected, "{action}");
    }
    assert_eq!(judged(&access, &shop, "documents.read", None).await, Ok(()));
}

#[tokio::test]
async fn a_token_of_a_tenant_has_nothing_of_another_and_does_not_learn_what_is_there() {
    let access = access();
    let teller = known(&access, &bearer("9876543210abcdefghijklmn")).await.unwrap();
    for action in ACTIONS {
        assert_eq!(judged(&access, &teller, action, Some("shop")).await, Err(Denial::Elsewhere), "{action}");
    }
    assert_eq!(judged(&access, &teller, "decision.decide", Some("bank")).await, Ok(()));
    assert_eq!(judged(&access, &teller, "host.read", None).await, Ok(()));
    let denied = judged(&access, &teller, "documents.read", None).await;
    assert_eq!(denied, Err(Denial::Forbidden("documents.read")));
}

#[tokio::test]
async fn the_system_s_tenant_is_there_for_nobody() {
    let access = access();
    let shop = known(&access, &bearer("0123456789abcdefghijklmn")).await.unwrap();
    for principal in [&shop, &Principal::anonymous(), &Principal::break_glass()] {
        for action in ACTIONS {
            assert_eq!(judged(&access, principal, action, Some("system")).await, Err(Denial::Elsewhere));
        }
    }
}

#[tokio::test]
async fn who_is_not_known_is_not_let_in() {
    let access = access();
    let key = ApiKey::new().unwrap();
    let tokens = ["0123456789abcdefghijklm", "", "a.b.c", key.text()];
    for token in tokens {
        assert_eq!(known(&access, &bearer(token)).await, Err(StatusCode::UNAUTHORIZED), "{token}");
    }
    assert_eq!(known(&access, &HeaderMap::new()).await, Err(StatusCode::UNAUTHORIZED));
    assert!(!access.is_open());
}

#[tokio::test]
async fn where_nobody_needs_to_say_everybody_is_anonymous() {
    let access = Access::default();
    assert!(access.is_open());
    for headers in [HeaderMap::new(), bearer("whatever")] {
        let anonymous = known(&access, &headers).await.unwrap();
        assert_eq!((anonymous.kind(), anonymous.caller()), (Kind::Anonymous, None));
        assert_eq!(judged(&access, &anonymous, "decision.decide", Some("bank")).await, Ok(()));
        assert_eq!(judged(&access, &anonymous, "key.create", None).await, Err(Denial::NoPolicy));
    }
}

#[tokio::test]
async fn roles_in_json_web_tokens_need_a_policy_that_says_what_they_may() {
    let jwt = JwtOptions::new("issuer", "verdict", Jwks::parse("/nowhere"));
    let options = AccessOptions { jwt: Some(jwt), ..AccessOptions::default() };
    let refused = Access::open(options, None, Compiler::InProcess).await;
    assert!(matches!(refused, Err(AccessError::JwtWithoutPolicy)));
}

#[tokio::test]
async fn without_a_policy_the_owner_of_the_socket_does_all_that_can_be_written_down() {
    let folder = tempfile::tempdir().unwrap();
    let record = folder.path().join("break-glass.jsonl");
    let socket = folder.path().join("break.sock");
    let break_glass = Some(BreakGlass { socket, record: record.clone() });
    let options = AccessOptions { break_glass, ..AccessOptions::default() };
    let access = Access::open(options, None, Compiler::InProcess).await.unwrap();
    let owner = access.principal(&HeaderMap::new(), Origin::BreakGlass).await.unwrap();
    assert_eq!(owner.kind(), Kind::BreakGlass);
    for action in ["tenant.create", "tenant.read"] {
        assert_eq!(judged(&access, &owner, action, Some("bank")).await, Ok(()));
        assert!(std::fs::read_to_string(&record).unwrap().contains(&format!("\"{action}\"")), "{action}");
    }
    access.inner.journal.as_ref().unwrap().fail();
    assert_eq!(judged(&access, &owner, "tenant.read", Some("bank")).await, Err(Denial::NotRecorded));
}

#[tokio::test]
async fn a_record_that_cannot_be_kept_ends_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let record = folder.path().join("none/break-glass.jsonl");
    let break_glass = Some(BreakGlass { socket: folder.path().join("break.sock"), record });
    let options = AccessOptions { break_glass, ..AccessOptions::default() };
    let refused = Access::open(options, None, Compiler::InProcess).await;
    assert!(matches!(refused, Err(AccessError::Record { .. })));
}

#[tokio::test]
async fn the_short_way_to_a_decision_lets_in_the_same_as_the_long_one() {
    let headers = [
        HeaderMap::new(),
        bearer("0123456789abcdefghijklmn"),
        bearer("9876543210abcdefghijklmn"),
        bearer("0123456789abcdefghijklmX"),
        with(&format!("Basic {}", STANDARD.encode("x:0123456789abcdefghijklmn"))),
    ];
    let mut let_in = 0;
    for access in [Access::default(), access()] {
        for headers in &headers {
            for name in ["bank", "shop", "system"] {
                let long = match known(&access, headers).await {
                    Ok(principal) => {
                        let judged = judged(&access, &principal, "decision.decide", Some(name)).await;
                        judged.ok().map(|()| principal)
                    }
                    Err(_) => None,
                };
                let_in += usize::from(long.is_some());
                assert_eq!(
                    access.decider(headers, Origin::Network, &tenant(name)),
                    long,
                    "{headers:?} {name}"
                );
            }
        }
    }
    // Everybody twice without tokens; with them one for both tenants, the other for one.
    assert_eq!(let_in, 10 + 3);
    assert_eq!(Access::default().decider(&HeaderMap::new(), Origin::BreakGlass, &tenant("bank")), None);
}
