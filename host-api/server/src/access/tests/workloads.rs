//! Workloads, whose certificates have been checked already.

use super::*;

const LOANS: &str = "spiffe://bank.example/loans";

async fn access(folder: &tempfile::TempDir) -> Access {
    let path = folder.path().join("workloads");
    std::fs::write(&path, format!("{LOANS} bank\n")).unwrap();
    let workloads = Some(Workloads::open(path).unwrap());
    let tokens = Some(Tokens::parse("shop 0123456789abcdefghijklmn shop").unwrap());
    let options = AccessOptions { tokens, workloads, ..AccessOptions::default() };
    Access::open(options, None, Compiler::InProcess).await.unwrap()
}

#[tokio::test]
async fn a_workload_asks_for_its_tenant_and_a_token_beside_its_certificate_counts_alone() {
    let folder = tempfile::tempdir().unwrap();
    let access = access(&folder).await;
    let door = access.door_of(&LOANS.parse().unwrap());
    let loans = access.principal(&HeaderMap::new(), door).await.unwrap();
    let caller = format!(r#"{{"kind":"workload","name":"{LOANS}"}}"#);
    assert_eq!((loans.kind(), loans.id(), loans.caller()), (Kind::Workload, LOANS, Some(caller.as_str())));
    let shop = access.principal_or_user(&bearer("0123456789abcdefghijklmn"), door).await.unwrap();
    assert_eq!(shop.id(), "shop");
    for wrong in [bearer("0123456789abcdefghijklmX"), with("Basic eDp5"), with("nonsense")] {
        assert_eq!(access.principal(&wrong, door).await.unwrap_err().status(), StatusCode::UNAUTHORIZED);
    }
    assert!(access.principal(&HeaderMap::new(), Origin::Network).await.is_err());
    assert_eq!(access.door_of(&"spiffe://bank.example/other".parse().unwrap()), Origin::Network);
    // The short way to a decision lets in the same.
    for (headers, of, who) in [
        (HeaderMap::new(), "bank", Some(LOANS)),
        (HeaderMap::new(), "shop", None),
        (bearer("0123456789abcdefghijklmn"), "shop", Some("shop")),
        (bearer("0123456789abcdefghijklmn"), "bank", None),
        (bearer("0123456789abcdefghijklmX"), "bank", None),
    ] {
        let short = access.decider(&headers, door, &tenant(of));
        assert_eq!(short.as_ref().map(|principal| principal.id()), who, "{headers:?} {of}");
        let long = match access.principal(&headers, door).await {
            Ok(found) => judged(&access, &found, "decision.decide", Some(of)).await.is_ok(),
            Err(_) => false,
        };
        assert_eq!(long, who.is_some(), "{headers:?} {of}");
    }
}
