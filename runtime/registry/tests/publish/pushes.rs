//! What a push publishes, and what it may not.

use serde_json::json;
use verdict_core::artifact::STATEMENTS_MAX;
use verdict_core::digest::Digest;
use verdict_core::dsse::{self, Envelope};
use verdict_core::statement;
use verdict_registry::Layout;
use verdict_registry::catalogue::{CatalogueError, EventKind, VersionState};
use verdict_registry::repository::{Reference, RepositoryError};

use crate::bank::{ALICE, BOB, Bank, Built, CI, MALLORY, TESTS, loan, payload_of};
use crate::places::change;

fn is_conflict(error: &RepositoryError) -> bool {
    matches!(error, RepositoryError::Catalogue(CatalogueError::Conflict { .. }))
}

async fn versions(bank: &Bank) -> Vec<(String, Option<String>)> {
    let page = bank.catalogue().versions(&loan(), None, Default::default()).await.unwrap();
    let told = |version: &semver::Version| version.to_string();
    page.items
        .iter()
        .map(|entry| (told(&entry.content.version), entry.content.predecessor.as_ref().map(told)))
        .collect()
}

async fn noted(bank: &Bank, image: Digest) -> Vec<String> {
    let page = bank.catalogue().statements(&loan(), image, 0, Default::default()).await.unwrap();
    page.items.into_iter().map(|entry| entry.content.predicate_type).collect()
}

on_both! {
    async fn an_authors_statement_publishes_its_version_whichever_comes_first(place) {
        let bank = Bank::empty(&place).await;
        let (first, second) = (Built::of("bank/loan", "1.0.0", "1"), Built::of("bank/loan", "1.1.0", "2"));
        bank.push_image(&first).await.unwrap();
        assert_eq!(versions(&bank).await, [], "an image alone is nobody's word");
        bank.push_statement(&first, &first.statement(ALICE)).await.unwrap();

        bank.push_statement(&second, &second.statement(ALICE)).await.unwrap();
        bank.push_statement(&second, &second.approval(BOB)).await.unwrap();
        assert_eq!(versions(&bank).await.len(), 1, "there is no such image yet");
        bank.push_image(&second).await.unwrap();
        let one = Some("1.0.0".to_owned());
        assert_eq!(versions(&bank).await, [("1.1.0".into(), one), ("1.0.0".into(), None)]);
        let mut both = noted(&bank, second.image()).await;
        both.sort();
        assert_eq!(both, [statement::APPROVAL_TYPE, statement::PREDICATE_TYPE]);

        let entry = bank.catalogue().version(&loan(), &"1.0.0".parse().unwrap()).await.unwrap().unwrap();
        assert_eq!((entry.content.image, entry.state), (first.image(), VersionState::Published));
        assert_eq!(entry.content.statement, payload_of(&first.statement(ALICE)));
        assert_eq!(entry.content.component, Digest::of(&first.component));
        let events = bank.catalogue().events_after(0, None, Default::default()).await.unwrap();
        assert_eq!(events.iter().filter(|event| event.kind == EventKind::VersionPublished).count(), 2);
    }

    async fn the_same_push_once_more_changes_nothing(place) {
        let bank = Bank::empty(&place).await;
        let (first, second) = (Built::of("bank/loan", "1.0.0", "1"), Built::of("bank/loan", "1.1.0", "2"));
        for _ in 0..2 {
            for built in [&first, &second] {
                bank.push_image(built).await.unwrap();
                bank.push_statement(built, &built.statement(ALICE)).await.unwrap();
            }
        }
        let head = bank.head().await;
        bank.push_statement(&first, &first.statement(ALICE)).await.unwrap();
        bank.push_image(&second).await.unwrap();
        assert_eq!(bank.head().await, head);
        assert_eq!(versions(&bank).await.len(), 2);
    }

    async fn a_version_is_never_published_with_another_image_or_statement(place) {
        let bank = Bank::empty(&place).await;
        let first = bank.publish_unapproved("1.0.0").await;
        let other = Built::of("bank/loan", "1.0.0", "other");
        // By digest: no tag stands in the way.
        bank.push_image_as(&other, &other.image().to_string()).await.unwrap();
        let error = bank.push_statement(&other, &other.statement(ALICE)).await.unwrap_err();
        assert!(is_conflict(&error) && error.to_string().contains("publish another version"), "{error}");
        let narrower = first.statement_with(json!({"description": "another"}), ALICE);
        let error = bank.push_statement(&first, &narrower).await.unwrap_err();
        assert!(is_conflict(&error), "{error}");

        // Nothing of what was refused is there.
        assert_eq!(noted(&bank, other.image()).await, [] as [&str; 0]);
        assert_eq!(noted(&bank, first.image()).await, [statement::PREDICATE_TYPE]);
        let page = bank.registry.referrers(&loan(), other.image(), None, None, Default::default()).await;
        assert_eq!(page.unwrap().items, []);

        // Neither its tag nor its image goes away, and so nothing comes in their place.
        let (tag, image) = (Reference::Tag("1.0.0".parse().unwrap()), Reference::Digest(first.image()));
        for reference in [tag, image] {
            bank.registry.delete_manifest(&loan(), &reference, change("mallory")).await.unwrap_err();
        }
        let error = bank.push_image(&other).await.unwrap_err();
        assert!(matches!(error, RepositoryError::Immutable { .. }), "{error}");
    }

    async fn a_version_stays_what_it_is_where_its_tag_never_was(place) {
        let bank = Bank::empty(&place).await;
        let (first, other) = (Built::of("bank/loan", "1.0.0", "1"), Built::of("bank/loan", "1.0.0", "other"));
        bank.push_image_as(&first, &first.image().to_string()).await.unwrap();
        bank.push_statement(&first, &first.statement(ALICE)).await.unwrap();
        let error = bank.push_image(&other).await.unwrap_err();
        assert!(is_conflict(&error), "the tag of a published version: {error}");
        bank.push_image(&first).await.unwrap();
    }

    async fn an_archived_policy_publishes_nothing(place) {
        let bank = Bank::empty(&place).await;
        bank.publish_unapproved("1.0.0").await;
        let next = Built::of("bank/loan", "1.1.0", "next");
        bank.push_image(&next).await.unwrap();
        let mut write = bank.write().await;
        write
            .set_policy_state(&loan(), verdict_registry::catalogue::PolicyState::Archived, None)
            .await
            .unwrap();
        write.commit().await.unwrap();
        let error = bank.push_statement(&next, &next.statement(ALICE)).await.unwrap_err();
        assert!(is_conflict(&error) && error.to_string().contains("archived"), "{error}");
    }

    async fn what_is_no_statement_of_ours_is_a_referrer_like_any_other(place) {
        let bank = Bank::empty(&place).await;
        let built = Built::of("bank/loan", "1.0.0", "1");
        let (elsewhere, other) =
            (Built::of("bank/other", "1.0.0", "1"), Built::of("bank/loan", "1.0.0", "2"));
        bank.push_image(&built).await.unwrap();
        let author = Envelope::parse(&built.statement(ALICE)).unwrap();
        let unsigned = crate::bank::envelope(statement::MEDIA_TYPE, author.payload(), &[]);
        let about_both =
            json!({"_type": statement::STATEMENT_TYPE, "subject": [], "predicateType": "a", "predicate": {}});
        let about_both =
            crate::bank::envelope(statement::MEDIA_TYPE, about_both.to_string().as_bytes(), &[MALLORY]);
        // The image has another component than its author says.
        let lies = {
            let other = Built { component: b"other".to_vec(), ..built.clone() };
            other.statement(ALICE)
        };
        let statements: [&[u8]; 7] = [
            b"not an envelope",
            &unsigned,
            &about_both,
            &elsewhere.statement(ALICE),
            &other.statement(ALICE),
            &lies,
            &crate::bank::envelope("text/plain", b"hello", &[ALICE]),
        ];
        for envelope in statements {
            bank.push_statement(&built, envelope).await.unwrap();
        }
        let sbom = ("application/spdx+json", b"{\"spdxVersion\": \"SPDX-2.3\"}".as_slice());
        bank.push_referrer(&built, "application/spdx+json", sbom).await.unwrap();
        // Of another type than those that `verdict` attaches, whatever is in it.
        let typed = ("application/x", (dsse::MEDIA_TYPE, built.statement(ALICE)));
        bank.push_referrer(&built, typed.0, (typed.1.0, &typed.1.1)).await.unwrap();

        assert_eq!(versions(&bank).await, []);
        assert_eq!(noted(&bank, built.image()).await, [] as [&str; 0]);
        let page = bank.registry.referrers(&loan(), built.image(), None, None, Default::default()).await;
        assert_eq!(page.unwrap().items.len(), statements.len() + 2);
    }

    async fn a_copy_in_another_repository_is_no_version_of_its_policy(place) {
        let bank = Bank::empty(&place).await;
        let built = Built::of("bank/loan", "1.0.0", "1");
        let mirror = Built { policy: "bank/mirror".parse().unwrap(), ..built.clone() };
        bank.push_image(&mirror).await.unwrap();
        bank.push_statement(&mirror, &built.statement(ALICE)).await.unwrap();
        let version = "1.0.0".parse().unwrap();
        assert_eq!(bank.catalogue().version(&mirror.policy, &version).await.unwrap(), None);
        let kind = Some(statement::MEDIA_TYPE);
        let page =
            bank.registry.referrers(&mirror.policy, built.image(), kind, None, Default::default()).await;
        assert_eq!(page.unwrap().items.len(), 1, "who pulls from the mirror gets all of it");
    }

    async fn an_image_has_as_many_statements_as_are_read(place) {
        let bank = Bank::empty(&place).await;
        let built = bank.publish_unapproved("1.0.0").await;
        for note in 1..STATEMENTS_MAX {
            bank.push_statement(&built, &built.tested(CI, note as u32)).await.unwrap();
        }
        let error = bank.push_statement(&built, &built.tested(CI, 0)).await.unwrap_err();
        assert!(is_conflict(&error) && error.to_string().contains("64 statements"), "{error}");
        bank.push_statement(&built, &built.tested(CI, 1)).await.unwrap();
        let noted = noted(&bank, built.image()).await;
        assert_eq!((noted.len(), noted[63].as_str()), (STATEMENTS_MAX, TESTS));
    }

    async fn image_and_statement_that_come_at_the_same_time_publish_once(place) {
        let bank = Bank::empty(&place).await;
        for round in 0..8 {
            let built = Built::of("bank/loan", &format!("1.0.{round}"), &round.to_string());
            let (statement, approval) = (built.statement(ALICE), built.approval(BOB));
            let pushes = tokio::join!(
                bank.push_statement(&built, &approval),
                bank.push_image(&built),
                bank.push_statement(&built, &statement),
            );
            pushes.0.unwrap();
            pushes.1.unwrap();
            pushes.2.unwrap();
            let version = built.version.parse().unwrap();
            let entry = bank.catalogue().version(&loan(), &version).await.unwrap();
            assert_eq!(entry.unwrap().content.image, built.image());
            assert_eq!(noted(&bank, built.image()).await.len(), 2);
        }
    }

    async fn what_a_layout_attaches_is_what_is_attached_here(place) {
        let bank = Bank::open(&place).await;
        let folder = tempfile::tempdir().unwrap();
        let component = b"\0asm\x0d\0\x01\0";
        let (policy, version) = (loan(), "1.0.0".parse().unwrap());
        let layout = Layout::create(folder.path(), component, &policy, &version).unwrap();
        let built = Built::of("bank/loan", "1.0.0", "");
        assert_eq!(built.image(), layout.image_digest());
        bank.push_image(&built).await.unwrap();
        let envelope = built.statement(ALICE);
        let attached = layout.attach_statement(&envelope).unwrap();
        let ready =
            bank.publisher.statement(&policy, built.image(), &envelope, crate::places::at(0)).await.unwrap();
        assert_eq!(ready.manifest(), attached);
    }
}
