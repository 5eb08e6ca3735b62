//! Signed documents: in order, after those that are there, and only such as a host would accept.

use serde_json::json;
use verdict_core::refusal::RefusalCode;
use verdict_core::trust::{ChannelState, TRUST_PAYLOAD_TYPE};
use verdict_registry::catalogue::{CatalogueError, DocumentName, EventKind, Put, VersionState};
use verdict_registry::publish::PublishError;

use crate::bank::{
    BOB, Bank, Built, DAY, MALLORY, RITA, RON, ROOT, VERA, channel, code, envelope, key, loan, revocations,
    signed, state, trust, trust_json,
};
use crate::places::{at, change};

on_both! {
    async fn trust_follows_the_chain_of_the_pinned_roots(place) {
        let bank = Bank::empty(&place).await;
        let publisher = &bank.publisher;
        assert_eq!(code(publisher.trust(&trust(1, &[MALLORY]), at(0)).await), RefusalCode::TooFewSigners);
        assert_eq!(code(publisher.trust(b"{}", at(0)).await), RefusalCode::MalformedEnvelope);
        let first = bank.put(publisher.trust(&trust(1, &[ROOT]), at(0)).await).await.unwrap();
        assert_eq!((first.put, first.sequence), (Put::Created, 1));

        assert_eq!(code(publisher.trust(&trust(3, &[ROOT]), at(0)).await), RefusalCode::TrustGap);
        let mut text = trust_json(1);
        text["rules"] = json!([]);
        let other = envelope(TRUST_PAYLOAD_TYPE, text.to_string().as_bytes(), &[ROOT]);
        assert_eq!(code(publisher.trust(&other, at(0)).await), RefusalCode::Equivocation);

        // The next one names other root keys, and both sign it.
        let mut text = trust_json(2);
        text["root"]["keys"] = json!([key(RITA).public()]);
        let next = |seeds: &[u8]| envelope(TRUST_PAYLOAD_TYPE, text.to_string().as_bytes(), seeds);
        assert_eq!(code(publisher.trust(&next(&[RITA]), at(0)).await), RefusalCode::TooFewSigners);
        assert_eq!(code(publisher.trust(&next(&[ROOT]), at(0)).await), RefusalCode::TooFewSigners);
        bank.put(publisher.trust(&next(&[ROOT, RITA]), at(0)).await).await.unwrap();
        assert_eq!(code(publisher.trust(&trust(3, &[ROOT]), at(0)).await), RefusalCode::TooFewSigners);
        assert_eq!(code(publisher.trust(&trust(1, &[ROOT]), at(0)).await), RefusalCode::TrustRollback);
        let again = bank.put(publisher.trust(&next(&[ROOT, RITA]), at(0)).await).await.unwrap();
        assert_eq!(again.put, Put::Unchanged);
        assert_eq!(
            code(publisher.trust(&next(&[ROOT, RITA]), at(100 * DAY)).await),
            RefusalCode::TrustExpired
        );
    }

    async fn an_expired_trust_policy_is_renewed(place) {
        let bank = Bank::open(&place).await;
        let mut text = trust_json(2);
        text["expires"] = json!(at(300 * DAY));
        let next = envelope(TRUST_PAYLOAD_TYPE, text.to_string().as_bytes(), &[ROOT]);
        let late = at(200 * DAY);
        assert_eq!(
            code(bank.publisher.revocations(&revocations(2, json!({})), late).await),
            RefusalCode::TrustExpired
        );
        bank.put(bank.publisher.trust(&next, late).await).await.unwrap();
    }

    async fn nothing_is_published_without_trust_and_revocations(place) {
        let bank = Bank::empty(&place).await;
        let built = bank.publish("1.0.0").await;
        let first = signed(&state("production", 1, &[&built.release()], json!({})), &[RITA]);
        let put = |now| {
            let (bank, first) = (&bank, &first);
            async move { bank.publisher.channel(&loan(), &channel("production"), first, now).await }
        };
        assert_eq!(code(put(at(0)).await), RefusalCode::Unsigned);
        bank.put(bank.publisher.trust(&trust(1, &[ROOT]), at(0)).await).await.unwrap();
        assert_eq!(code(put(at(0)).await), RefusalCode::RevocationsMissing);
        bank.put(bank.publisher.revocations(&revocations(1, json!({})), at(0)).await).await.unwrap();
        bank.put(put(at(0)).await).await.unwrap();
        // The list of revocations holds for 30 days.
        assert_eq!(code(put(at(31 * DAY)).await), RefusalCode::DocumentExpired);
    }

    async fn a_state_names_only_versions_that_may_answer(place) {
        let bank = Bank::open(&place).await;
        let (good, unapproved) = (bank.publish("1.0.0").await, bank.publish_unapproved("1.1.0").await);
        let (good, unapproved) = (good.release(), unapproved.release());
        let put = |state: ChannelState, seeds: &[u8]| {
            let envelope = signed(&state, seeds);
            let bank = &bank;
            async move { bank.publisher.channel(&loan(), &channel("production"), &envelope, at(0)).await }
        };
        let one = |release| state("production", 1, &[release], json!({}));
        let other = Built::of("bank/loan", "1.0.0", "other").release();
        assert_eq!(code(put(one(&other), &[RITA]).await), RefusalCode::NotReleased);
        assert_eq!(code(put(one(&unapproved), &[RITA]).await), RefusalCode::NotApproved);
        assert_eq!(code(put(one(&good), &[MALLORY]).await), RefusalCode::UnknownSigner);
        assert_eq!(code(put(one(&good), &[BOB]).await), RefusalCode::UnknownSigner);
        assert_eq!(
            code(put(state("staging", 1, &[&good], json!({})), &[RITA]).await),
            RefusalCode::WrongDocument
        );
        let shadow = json!({"shadow": unapproved});
        assert_eq!(
            code(put(state("production", 1, &[&good], shadow), &[RITA]).await),
            RefusalCode::NotApproved
        );
        let data = json!({"data": verdict_core::digest::Digest::of(b"{}")});
        assert_eq!(code(put(state("production", 1, &[&good], data), &[RITA]).await), RefusalCode::WrongData);
        let over = json!({"expires": at(-1), "issued": at(-2)});
        assert_eq!(
            code(put(state("production", 1, &[&good], over), &[RITA]).await),
            RefusalCode::DocumentExpired
        );
        let unknown = Built::of("bank/loan", "9.0.0", "9").release();
        let error = put(one(&unknown), &[RITA]).await.unwrap_err();
        assert!(matches!(error, PublishError::NoVersion { .. }), "{error}");

        let name = DocumentName::channel(&loan(), "production").unwrap();
        assert_eq!(bank.catalogue().document(&name).await.unwrap(), None, "nothing of it was kept");
        bank.put(put(one(&good), &[RITA]).await).await.unwrap();
    }

    async fn a_state_waits_until_enough_people_have_signed(place) {
        let bank = Bank::open(&place).await;
        let good = bank.publish("1.0.0").await.release();
        let first = state("vault", 1, &[&good], json!({}));
        let put = |seeds: &[u8]| {
            let envelope = signed(&first, seeds);
            let bank = &bank;
            async move { bank.publisher.channel(&loan(), &channel("vault"), &envelope, at(0)).await }
        };
        assert_eq!(code(put(&[RITA]).await), RefusalCode::TooFewSigners);
        assert_eq!(code(bank.activate("vault", &["1.0.0"]).await), RefusalCode::TooFewSigners);
        let name = DocumentName::channel(&loan(), "vault").unwrap();
        assert_eq!(bank.catalogue().document(&name).await.unwrap(), None);
        bank.put(put(&[RITA, RON]).await).await.unwrap();
        assert_eq!(bank.answers("vault").await, (vec!["1.0.0".into()], 1));
    }

    async fn states_are_kept_in_order(place) {
        let bank = Bank::open(&place).await;
        let (one, two) = (bank.publish("1.0.0").await.release(), bank.publish("2.0.0").await.release());
        let check = |sequence, release| {
            let envelope = signed(&state("production", sequence, &[release], json!({})), &[RITA]);
            let bank = &bank;
            async move { bank.publisher.channel(&loan(), &channel("production"), &envelope, at(0)).await }
        };
        let first = check(1, &one).await.unwrap();
        let rival = check(1, &two).await.unwrap();
        let published = bank.put(Ok(first)).await.unwrap();
        assert_eq!((published.put, published.sequence), (Put::Created, 1));
        let error = bank.put(Ok(rival)).await.unwrap_err();
        assert!(
            matches!(error, PublishError::Catalogue(CatalogueError::Sequence { found: 1, .. })),
            "{error}"
        );

        assert_eq!(bank.put(check(1, &one).await).await.unwrap().put, Put::Unchanged);
        assert_eq!(code(check(1, &two).await), RefusalCode::Equivocation);
        assert_eq!(bank.put(check(5, &two).await).await.unwrap().put, Put::Replaced);
        assert_eq!(code(check(4, &one).await), RefusalCode::DocumentRollback);
        assert_eq!(bank.answers("production").await, (vec!["2.0.0".into()], 5));
    }

    async fn who_has_not_seen_the_newest_changes_nothing(place) {
        let bank = Bank::open(&place).await;
        let release = bank.publish("1.0.0").await.release();
        let check = |sequence| {
            let envelope = signed(&state("production", sequence, &[&release], json!({})), &[RITA]);
            let bank = &bank;
            async move { bank.publisher.channel(&loan(), &channel("production"), &envelope, at(0)).await.unwrap() }
        };
        bank.put(Ok(check(1).await)).await.unwrap();
        bank.put(Ok(check(2).await)).await.unwrap();
        let name = DocumentName::channel(&loan(), "production").unwrap();
        let etag = bank.catalogue().document(&name).await.unwrap().unwrap().etag();
        assert_eq!(etag.to_string(), "\"2\"");
        let ready = check(3).await;
        let mut write = bank.write().await;
        let error = ready.put(&mut write, Some("\"1\"".parse().unwrap())).await.unwrap_err();
        assert!(matches!(error, PublishError::Catalogue(CatalogueError::Stale { .. })), "{error}");
        drop(write);
        let mut write = bank.write().await;
        ready.put(&mut write, Some(etag)).await.unwrap();
        write.commit().await.unwrap();
        assert_eq!(bank.answers("production").await.1, 3);
    }

    async fn a_revoked_version_is_shown_as_such_and_answers_nowhere_any_more(place) {
        let bank = Bank::open(&place).await;
        bank.publish("1.0.0").await;
        bank.publish("2.0.0").await;
        bank.activate("production", &["1.0.0"]).await.unwrap();
        let versions = json!({"versions": [{"policy": "bank/loan", "version": "1.0.0"}, {"policy": "bank/none", "version": "1.0.0"}]});
        bank.put(bank.publisher.revocations(&revocations(2, versions.clone()), at(0)).await).await.unwrap();
        let entry = bank.catalogue().version(&loan(), &"1.0.0".parse().unwrap()).await.unwrap().unwrap();
        assert_eq!(entry.state, VersionState::Revoked);
        let events = bank.catalogue().events_after(0, None, Default::default()).await.unwrap();
        assert_eq!(events.iter().filter(|event| event.kind == EventKind::VersionRevoked).count(), 1);

        let again = bank.publisher.revocations(&revocations(2, versions), at(0)).await;
        assert_eq!(bank.put(again).await.unwrap().put, Put::Unchanged);
        let old = revocations(1, json!({}));
        assert_eq!(code(bank.publisher.revocations(&old, at(0)).await), RefusalCode::DocumentRollback);
        assert_eq!(code(bank.activate("production", &["1.0.0"]).await), RefusalCode::Revoked);
        bank.activate("production", &["2.0.0"]).await.unwrap();
        let rollback = bank.publisher.rollback(&loan(), &channel("production"), None, 30, at(0)).await;
        assert_eq!(code(rollback), RefusalCode::Revoked);
    }

    async fn a_revoked_revoker_revokes_nothing(place) {
        let bank = Bank::open(&place).await;
        let keys = json!({"keys": [key(VERA).public()]});
        let suicide = revocations(2, keys);
        assert_eq!(code(bank.publisher.revocations(&suicide, at(0)).await), RefusalCode::KeyRevoked);
    }

    async fn what_was_checked_before_a_revocation_is_not_put_after_it(place) {
        let bank = Bank::open(&place).await;
        bank.publish("1.0.0").await;
        let ready = bank
            .publisher
            .activation(&loan(), &channel("production"), &crate::bank::activation(&["1.0.0"]), at(0))
            .await
            .unwrap();
        let versions = json!({"versions": [{"policy": "bank/loan", "version": "1.0.0"}]});
        bank.put(bank.publisher.revocations(&revocations(2, versions), at(0)).await).await.unwrap();
        let mut write = bank.catalogue().write(change("rita")).await.unwrap();
        let error = ready.put(&mut write, None).await.unwrap_err();
        assert!(matches!(error, PublishError::Overtaken), "{error}");
    }
}
