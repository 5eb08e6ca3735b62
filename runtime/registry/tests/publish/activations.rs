//! States that the server signs with its activation key.

use serde_json::json;
use verdict_core::digest::Digest;
use verdict_core::refusal::RefusalCode;
use verdict_core::trust::{ChannelState, Guard, Roots, SignedDocument as _, Sticky};
use verdict_registry::catalogue::{CatalogueError, DocumentName, NewDocument};
use verdict_registry::publish::{Activation, PublishError, Publisher};

use crate::bank::{
    Bank, MALLORY, RITA, ROOT, SERVER, activation, channel, code, key, loan, revocations, signed, state,
};
use crate::places::at;

/// Puts a document as somebody does who writes into the database.
async fn smuggle(bank: &Bank, name: &str, state: &ChannelState, seeds: &[u8], after: u64) {
    let envelope = signed(state, seeds);
    let document = NewDocument {
        name: DocumentName::channel(&loan(), name).unwrap(),
        sequence: state.sequence,
        digest: Digest::of(&state.payload().unwrap()),
        envelope,
        issued: state.issued,
        expires: state.expires,
        refers: Vec::new(),
    };
    let mut write = bank.write().await;
    let _ = write.put_document(&document, after).await.unwrap();
    write.commit().await.unwrap();
}

on_both! {
    async fn a_split_is_signed_as_it_was_asked_for(place) {
        let bank = Bank::open(&place).await;
        for version in ["1.0.0", "2.0.0", "3.0.0"] {
            bank.publish(version).await;
        }
        let data = bank.put_data(1, b"{}").await;
        let guard =
            Guard { deny_rate_max: Some(0.5), fault_rate_max: None, fuel_ratio_max: None, decisions_min: 10 };
        let wanted = Activation {
            versions: vec![("1.0.0".parse().unwrap(), 95), ("2.0.0".parse().unwrap(), 5)],
            shadow: Some("3.0.0".parse().unwrap()),
            sticky: Some(Sticky::Caller),
            data: Some(data),
            guard: Some(guard),
            days: 7,
        };
        let ready = bank.publisher.activation(&loan(), &channel("production"), &wanted, at(0)).await.unwrap();
        let envelope = verdict_core::dsse::Envelope::parse(ready.envelope()).unwrap();
        assert_eq!(envelope.signers([&key(SERVER).public()]).len(), 1);
        let state = ChannelState::parse(envelope.payload()).unwrap();
        let weights: Vec<_> =
            state.versions.iter().map(|share| (share.version.clone(), share.weight)).collect();
        assert_eq!(
            (weights, state.sticky, state.data, state.guard),
            (wanted.versions, wanted.sticky, wanted.data, wanted.guard)
        );
        assert_eq!(state.shadow.map(|release| release.version), wanted.shadow);
        assert_eq!((state.sequence, state.issued, state.expires), (1, at(0), at(7 * crate::bank::DAY)));
        bank.put(Ok(ready)).await.unwrap();
        assert_eq!(bank.activate("production", &["2.0.0"]).await.unwrap().sequence, 2);
    }

    async fn what_cannot_be_a_state_is_refused_with_its_reason(place) {
        let bank = Bank::open(&place).await;
        bank.publish("1.0.0").await;
        let ask = |activation: Activation| {
            let bank = &bank;
            async move {
                bank.publisher
                    .activation(&loan(), &channel("production"), &activation, at(0))
                    .await
                    .unwrap_err()
            }
        };
        let one = activation(&["1.0.0"]);
        let unknown = ask(activation(&["9.0.0"])).await;
        assert!(matches!(unknown, PublishError::NoVersion { .. }), "{unknown}");
        for days in [0, 3_651, u32::MAX] {
            let error = ask(Activation { days, ..one.clone() }).await;
            assert!(matches!(error, PublishError::Days(found) if found == days), "{error}");
        }
        let version = || "1.0.0".parse().unwrap();
        for versions in
            [vec![], vec![(version(), 0)], vec![(version(), 1_001)], vec![(version(), 1), (version(), 1)]]
        {
            let error = ask(Activation { versions, ..one.clone() }).await;
            assert!(matches!(error, PublishError::Unsignable(_)), "{error}");
        }
        let guard =
            Guard { deny_rate_max: Some(2.0), fault_rate_max: None, fuel_ratio_max: None, decisions_min: 1 };
        let error = ask(Activation { guard: Some(guard), ..one.clone() }).await;
        assert!(matches!(error, PublishError::Unsignable(_)), "{error}");
    }

    async fn only_a_key_of_the_trust_policy_activates(place) {
        let bank = Bank::open(&place).await;
        bank.publish("1.0.0").await;
        let roots = || Roots::new(vec![key(ROOT).public()], 1).unwrap();
        let none = Publisher::new(bank.registry.clone(), roots());
        let error = none
            .activation(&loan(), &channel("production"), &activation(&["1.0.0"]), at(0))
            .await
            .unwrap_err();
        assert!(matches!(error, PublishError::NoActivationKey), "{error}");
        let stranger = none.with_activation_key(key(MALLORY));
        let refused =
            stranger.activation(&loan(), &channel("production"), &activation(&["1.0.0"]), at(0)).await;
        assert_eq!(code(refused), RefusalCode::UnknownSigner);

        bank.activate("production", &["1.0.0"]).await.unwrap();
        let keys = json!({"keys": [key(SERVER).public()]});
        bank.put(bank.publisher.revocations(&revocations(2, keys), at(0)).await).await.unwrap();
        assert_eq!(code(bank.activate("production", &["1.0.0"]).await), RefusalCode::KeyRevoked);
        // People go on where the server may not.
        let release =
            bank.catalogue().version(&loan(), &"1.0.0".parse().unwrap()).await.unwrap().unwrap().content;
        let release = verdict_core::trust::Release {
            version: release.version,
            image: release.image,
            statement: release.statement,
        };
        let next = signed(&state("production", 2, &[&release], json!({})), &[RITA]);
        bank.put(bank.publisher.channel(&loan(), &channel("production"), &next, at(0)).await).await.unwrap();
    }

    async fn of_two_activations_at_once_one_is_put(place) {
        let bank = Bank::open(&place).await;
        bank.publish("1.0.0").await;
        bank.publish("2.0.0").await;
        let check = |version: &'static str| {
            let bank = &bank;
            async move {
                bank.publisher
                    .activation(&loan(), &channel("production"), &activation(&[version]), at(0))
                    .await
                    .unwrap()
            }
        };
        let (one, two) = (check("1.0.0").await, check("2.0.0").await);
        bank.put(Ok(one)).await.unwrap();
        let error = bank.put(Ok(two)).await.unwrap_err();
        assert!(matches!(error, PublishError::Catalogue(CatalogueError::Sequence { .. })), "{error}");
        assert_eq!(bank.answers("production").await, (vec!["1.0.0".into()], 1));
    }

    async fn a_promotion_takes_over_what_answers_under_the_rules_of_the_other_channel(place) {
        let bank = Bank::open(&place).await;
        bank.publish("1.0.0").await;
        bank.publish_unapproved("2.0.0").await;
        let promote = |from: &'static str| {
            let bank = &bank;
            async move {
                bank.publisher.promotion(&loan(), &channel("production"), &channel(from), 30, at(0)).await
            }
        };
        let error = promote("staging").await.unwrap_err();
        assert!(matches!(error, PublishError::NoChannel { .. }), "{error}");
        bank.activate("staging", &["2.0.0"]).await.unwrap();
        assert_eq!(code(promote("staging").await), RefusalCode::NotApproved);
        let with_shadow = Activation { shadow: Some("2.0.0".parse().unwrap()), ..activation(&["1.0.0"]) };
        bank.put(bank.publisher.activation(&loan(), &channel("staging"), &with_shadow, at(0)).await)
            .await
            .unwrap();
        bank.put(promote("staging").await).await.unwrap();
        assert_eq!(bank.answers("production").await, (vec!["1.0.0".into()], 1));
    }

    async fn a_rollback_goes_back_and_forth_or_to_a_version(place) {
        let bank = Bank::open(&place).await;
        for version in ["1.0.0", "2.0.0", "3.0.0"] {
            bank.publish(version).await;
        }
        let back = |to: Option<&'static str>| {
            let bank = &bank;
            async move {
                let to = to.map(|to| to.parse().unwrap());
                let ready =
                    bank.publisher.rollback(&loan(), &channel("production"), to.as_ref(), 30, at(0)).await;
                bank.put(ready).await
            }
        };
        let error = back(None).await.unwrap_err();
        assert!(matches!(error, PublishError::NoChannel { .. }), "{error}");
        bank.activate("production", &["1.0.0"]).await.unwrap();
        bank.activate("production", &["1.0.0"]).await.unwrap();
        let error = back(None).await.unwrap_err();
        assert!(matches!(error, PublishError::NoPrevious { .. }), "{error}");
        bank.activate("production", &["2.0.0"]).await.unwrap();
        for (to, expected, sequence) in
            [(None, "1.0.0", 4), (None, "2.0.0", 5), (Some("3.0.0"), "3.0.0", 6), (None, "2.0.0", 7)]
        {
            back(to).await.unwrap();
            assert_eq!(bank.answers("production").await, (vec![expected.into()], sequence));
        }
        // The states have expired, revocations too: with new ones the way back is still known.
        let late = at(40 * crate::bank::DAY);
        let error = bank.publisher.rollback(&loan(), &channel("production"), None, 30, late).await;
        assert_eq!(code(error), RefusalCode::DocumentExpired);
        let mut text = json!({"expires": at(60 * crate::bank::DAY)});
        text["issued"] = json!(at(40 * crate::bank::DAY));
        bank.put(bank.publisher.revocations(&revocations(2, text), late).await).await.unwrap();
        bank.put(bank.publisher.rollback(&loan(), &channel("production"), None, 30, late).await)
            .await
            .unwrap();
        assert_eq!(bank.answers("production").await, (vec!["3.0.0".into()], 8));
    }

    async fn the_server_signs_nothing_that_only_the_database_says(place) {
        let bank = Bank::open(&place).await;
        let (one, two) = (bank.publish("1.0.0").await.release(), bank.publish("2.0.0").await.release());
        bank.activate("production", &["1.0.0"]).await.unwrap();
        bank.activate("production", &["2.0.0"]).await.unwrap();
        smuggle(&bank, "staging", &state("staging", 1, &[&one], json!({})), &[MALLORY], 0).await;
        let promoted =
            bank.publisher.promotion(&loan(), &channel("production"), &channel("staging"), 30, at(0)).await;
        assert_eq!(code(promoted), RefusalCode::UnknownSigner);
        smuggle(&bank, "production", &state("production", 3, &[&two], json!({})), &[MALLORY], 2).await;
        let back = bank.publisher.rollback(&loan(), &channel("production"), None, 30, at(0)).await;
        assert_eq!(code(back), RefusalCode::UnknownSigner);
    }
}
