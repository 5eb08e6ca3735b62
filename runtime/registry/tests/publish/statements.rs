//! Statements that are attached by themselves: approvals, test results, an author's own.

use serde_json::json;
use verdict_core::digest::Digest;
use verdict_core::refusal::RefusalCode;
use verdict_core::statement::{Approval, Attestation};
use verdict_registry::catalogue::{CatalogueError, EventKind, Put};
use verdict_registry::publish::{PublishError, ReadyStatement};

use crate::bank::{
    ALICE, ALICE_AS_APPROVER, BOB, Bank, Built, CI, DAY, MALLORY, TESTS, code, key, loan, revocations,
};
use crate::places::at;

async fn check(bank: &Bank, built: &Built, envelope: &[u8]) -> Result<ReadyStatement, PublishError> {
    bank.publisher.statement(&built.policy, built.image(), envelope, at(0)).await
}

async fn attach(bank: &Bank, built: &Built, envelope: &[u8]) -> Result<Put, PublishError> {
    let ready = check(bank, built, envelope).await?;
    let mut write = bank.write().await;
    let put = ready.put(&mut write).await?;
    write.commit().await?;
    Ok(put)
}

on_both! {
    async fn an_approval_lets_a_version_into_production(place) {
        let bank = Bank::open(&place).await;
        let built = bank.publish_unapproved("1.0.0").await;
        assert_eq!(code(bank.activate("production", &["1.0.0"]).await), RefusalCode::NotApproved);
        assert_eq!(attach(&bank, &built, &built.approval(BOB)).await.unwrap(), Put::Created);
        assert_eq!(attach(&bank, &built, &built.approval(BOB)).await.unwrap(), Put::Unchanged);
        assert_eq!(attach(&bank, &built, &built.tested(CI, 1)).await.unwrap(), Put::Created);
        bank.activate("production", &["1.0.0"]).await.unwrap();
        // An OCI client finds them, too.
        let kind = Some(verdict_core::statement::MEDIA_TYPE);
        let page =
            bank.registry.referrers(&loan(), built.image(), kind, None, Default::default()).await.unwrap();
        assert_eq!(page.items.len(), 3);
        let events = bank.catalogue().events_after(0, None, Default::default()).await.unwrap();
        assert_eq!(events.iter().filter(|event| event.kind == EventKind::StatementAttached).count(), 3);
    }

    async fn only_who_may_say_it_attaches_it(place) {
        let bank = Bank::open(&place).await;
        let built = bank.publish_unapproved("1.0.0").await;
        let refused = |envelope: Vec<u8>| {
            let (bank, built) = (&bank, &built);
            async move { code(attach(bank, built, &envelope).await) }
        };
        assert_eq!(refused(built.approval(MALLORY)).await, RefusalCode::UnknownSigner);
        assert_eq!(refused(built.approval(CI)).await, RefusalCode::UnknownSigner);
        assert_eq!(refused(built.tested(BOB, 1)).await, RefusalCode::UnknownSigner);
        assert_eq!(refused(built.approval(ALICE_AS_APPROVER)).await, RefusalCode::NotApproved);
        let statement = built.release().statement;
        let approval = |policy: &str, version: &str, statement| {
            let (policy, version) = (policy.parse().unwrap(), version.parse().unwrap());
            built.attested(&Approval { policy, version, comment: None }.of(statement), BOB)
        };
        assert_eq!(refused(approval("bank/loan", "1.0.1", statement)).await, RefusalCode::WrongSubject);
        assert_eq!(refused(approval("bank/other", "1.0.0", statement)).await, RefusalCode::WrongSubject);
        assert_eq!(
            refused(approval("bank/loan", "1.0.0", Digest::of(b"other"))).await,
            RefusalCode::WrongSubject
        );
        assert_eq!(refused(b"nothing".to_vec()).await, RefusalCode::MalformedEnvelope);
        assert_eq!(refused(vec![b' '; (1 << 20) + 1]).await, RefusalCode::TooLarge);
        let untyped = crate::bank::envelope("text/plain", b"hello", &[BOB]);
        assert_eq!(refused(untyped).await, RefusalCode::WrongStatementType);
        let predicate_type = "a".repeat(256);
        let long = Attestation { statement, predicate_type, predicate: json!({}) };
        assert_eq!(refused(built.attested(&long, CI)).await, RefusalCode::MalformedStatement);

        let keys = json!({"keys": [key(BOB).public()]});
        bank.put(bank.publisher.revocations(&revocations(2, keys), at(0)).await).await.unwrap();
        assert_eq!(refused(built.approval(BOB)).await, RefusalCode::KeyRevoked);
        let late =
            bank.publisher.statement(&loan(), built.image(), &built.tested(CI, 1), at(200 * DAY)).await;
        assert_eq!(code(late), RefusalCode::TrustExpired);
        let page = bank.catalogue().statements(&loan(), built.image(), 0, Default::default()).await.unwrap();
        assert_eq!(page.items.len(), 1, "the author's, and nothing else");
    }

    async fn a_statement_needs_its_image(place) {
        let bank = Bank::open(&place).await;
        let built = Built::of("bank/loan", "1.0.0", "1");
        let error = attach(&bank, &built, &built.statement(ALICE)).await.unwrap_err();
        assert!(matches!(error, PublishError::NoImage { .. }), "{error}");
    }

    async fn an_authors_own_statement_publishes_the_version(place) {
        let bank = Bank::open(&place).await;
        let (built, other) = (Built::of("bank/loan", "1.0.0", "1"), Built::of("bank/loan", "1.0.0", "2"));
        bank.push_image(&built).await.unwrap();
        bank.push_image_as(&other, "other").await.unwrap();
        assert_eq!(code(attach(&bank, &built, &built.statement(MALLORY)).await), RefusalCode::UnknownSigner);
        assert_eq!(code(attach(&bank, &built, &other.statement(ALICE)).await), RefusalCode::WrongSubject);
        let lie = Built { component: b"another".to_vec(), ..built.clone() }.statement(ALICE);
        assert_eq!(code(attach(&bank, &built, &lie).await), RefusalCode::ManifestMismatch);
        assert_eq!(attach(&bank, &built, &built.statement(ALICE)).await.unwrap(), Put::Created);
        let entry = bank.catalogue().version(&loan(), &"1.0.0".parse().unwrap()).await.unwrap().unwrap();
        assert_eq!(entry.content.image, built.image());
        let error = attach(&bank, &other, &other.statement(ALICE)).await.unwrap_err();
        assert!(matches!(error, PublishError::Catalogue(CatalogueError::Conflict { .. })), "{error}");
        bank.activate("staging", &["1.0.0"]).await.unwrap();
    }

    async fn bytes_that_nobody_attached_are_collected(place) {
        let bank = Bank::open(&place).await;
        let built = bank.publish_unapproved("1.0.0").await;
        let ready = check(&bank, &built, &built.tested(CI, 1)).await.unwrap();
        assert_eq!((ready.predicate_type(), ready.envelope()), (TESTS, Digest::of(&built.tested(CI, 1))));
        assert!(bank.registry.blobs().size(ready.envelope()).await.unwrap().is_some());
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_millis();
        let later = verdict_core::time::Timestamp::from_millis(now as i64 + DAY * 1_000).unwrap();
        bank.registry.collect(later, std::time::Duration::from_secs(3_600)).await.unwrap();
        assert!(bank.registry.blobs().size(ready.envelope()).await.unwrap().is_none());
        assert!(bank.registry.blobs().size(built.image()).await.unwrap().is_some());
    }
}
