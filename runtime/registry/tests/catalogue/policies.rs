use std::collections::BTreeSet;

use verdict_core::name::{PolicyName, Tenant};
use verdict_registry::catalogue::{
    Catalogue, CatalogueError, EventKind, Limit, NewStatement, NewVersion, PolicyFilter, PolicyState,
    PolicyText, Put, VersionState,
};

use crate::places::{digest, write};

fn loan() -> PolicyName {
    "bank/loan".parse().unwrap()
}

fn version(number: &str) -> NewVersion {
    NewVersion {
        version: number.parse().unwrap(),
        image: digest(&format!("image {number}")),
        statement: digest(&format!("statement {number}")),
        component: digest(&format!("component {number}")),
        predecessor: None,
    }
}

async fn with_loan(catalogue: &Catalogue) {
    let mut change = write(catalogue).await;
    assert_eq!(change.ensure_policy(&loan()).await.unwrap(), Put::Created);
    assert_eq!(change.ensure_policy(&loan()).await.unwrap(), Put::Unchanged);
    change.commit().await.unwrap();
}

on_both! {
    async fn a_policy_says_what_was_said_about_it(place) {
        let catalogue = place.open().await;
        with_loan(&catalogue).await;
        let metadata = serde_json::json!({"owner": "credit", "zero": "\u{0}", "n": [1, 2.5, null]});
        let text = PolicyText {
            description: "Wer bekommt einen Kredit? 💶".into(),
            category: "credit".into(),
            metadata: metadata.as_object().unwrap().clone(),
        };
        let mut change = write(&catalogue).await;
        let etag = change.change_policy(&loan(), &text, None).await.unwrap();
        change.commit().await.unwrap();
        let entry = catalogue.policy(&loan()).await.unwrap().unwrap();
        assert_eq!((entry.text, entry.etag, entry.state), (text, etag, PolicyState::Open));
    }

    async fn a_change_of_what_the_caller_has_not_seen_is_refused(place) {
        let catalogue = place.open().await;
        with_loan(&catalogue).await;
        let seen = catalogue.policy(&loan()).await.unwrap().unwrap().etag;
        let mut change = write(&catalogue).await;
        let newer = change.change_policy(&loan(), &PolicyText::default(), Some(seen)).await.unwrap();
        let refused = change.set_policy_state(&loan(), PolicyState::Archived, Some(seen)).await.unwrap_err();
        let CatalogueError::Stale { expected, found, .. } = refused else { panic!("{refused}") };
        assert_eq!((expected, found), (seen, newer));
        let tenant = change.change_tenant(loan().tenant(), "new", Some(newer)).await.unwrap_err();
        assert!(matches!(tenant, CatalogueError::Stale { .. }), "{tenant}");
        change.set_policy_state(&loan(), PolicyState::Archived, Some(newer)).await.unwrap();
        change.commit().await.unwrap();
        assert_eq!(catalogue.policy(&loan()).await.unwrap().unwrap().state, PolicyState::Archived);
    }

    async fn what_is_there_is_not_made_again_and_what_is_not_is_missed(place) {
        let catalogue = place.open().await;
        let mut change = write(&catalogue).await;
        let text = PolicyText::default();
        let orphan = change.create_policy(&loan(), &text).await.unwrap_err();
        assert!(matches!(orphan, CatalogueError::Missing { what: "tenant", .. }), "{orphan}");
        change.create_tenant(loan().tenant(), "").await.unwrap();
        change.create_policy(&loan(), &text).await.unwrap();
        let twice = change.create_policy(&loan(), &text).await.unwrap_err();
        assert!(matches!(twice, CatalogueError::Conflict { what: "policy", .. }), "{twice}");
        let twice = change.create_tenant(loan().tenant(), "").await.unwrap_err();
        assert!(matches!(twice, CatalogueError::Conflict { what: "tenant", .. }), "{twice}");
        let missing = change.change_policy(&"bank/other".parse().unwrap(), &text, None).await.unwrap_err();
        assert!(matches!(missing, CatalogueError::Missing { what: "policy", .. }), "{missing}");
    }

    async fn texts_that_cannot_be_stored_are_refused_alike(place) {
        let catalogue = place.open().await;
        with_loan(&catalogue).await;
        let mut change = write(&catalogue).await;
        let long = PolicyText { description: "x".repeat(4_097), ..PolicyText::default() };
        let zero = PolicyText { category: "a\0b".into(), ..PolicyText::default() };
        for text in [long, zero] {
            let refused = change.change_policy(&loan(), &text, None).await.unwrap_err();
            assert!(matches!(refused, CatalogueError::Invalid { .. }), "{refused}");
        }
    }

    async fn lists_are_paged_filtered_and_in_the_order_of_bytes(place) {
        let catalogue = place.open().await;
        let mut change = write(&catalogue).await;
        // People and dictionaries sort hyphens and digits in other ways.
        let names = ["a", "a-b", "a0", "ab", "b", "z-1", "z1"];
        for name in names.iter().rev() {
            let _ = change.ensure_policy(&PolicyName::of("bank", name).unwrap()).await.unwrap();
            let _ = change.ensure_policy(&PolicyName::of("other", name).unwrap()).await.unwrap();
        }
        let odd = PolicyText { category: "odd".into(), ..PolicyText::default() };
        change.change_policy(&"bank/ab".parse().unwrap(), &odd, None).await.unwrap();
        change.set_policy_state(&"bank/b".parse().unwrap(), PolicyState::Archived, None).await.unwrap();
        change.commit().await.unwrap();

        let bank = "bank".parse().unwrap();
        let (mut seen, mut after) = (Vec::new(), None);
        loop {
            let filter = PolicyFilter::default();
            let page = catalogue.policies(&bank, &filter, after.as_deref(), Limit::new(3)).await.unwrap();
            seen.extend(page.items.iter().map(|entry| entry.name.name().to_owned()));
            after = seen.last().cloned();
            if !page.more {
                break;
            }
        }
        assert_eq!(seen, names);
        let only = |state, category: Option<&str>| PolicyFilter { state, category: category.map(Into::into) };
        for (filter, count) in [
            (only(Some(PolicyState::Archived), None), 1),
            (only(Some(PolicyState::Open), None), names.len() - 1),
            (only(None, Some("odd")), 1),
            (only(None, Some("")), names.len() - 1),
            (only(Some(PolicyState::Archived), Some("odd")), 0),
        ] {
            let page = catalogue.policies(&bank, &filter, None, Limit::default()).await.unwrap();
            assert_eq!(page.items.len(), count, "{filter:?}");
        }
        let tenants = catalogue.tenants(Some(&bank), Limit::default()).await.unwrap();
        assert_eq!(tenants.items.iter().map(|entry| entry.name.as_str()).collect::<Vec<_>>(), ["other"]);
    }

    async fn a_version_never_changes(place) {
        let catalogue = place.open().await;
        with_loan(&catalogue).await;
        let mut change = write(&catalogue).await;
        assert_eq!(change.publish_version(&loan(), &version("1.0.0")).await.unwrap(), Put::Created);
        assert_eq!(change.publish_version(&loan(), &version("1.0.0")).await.unwrap(), Put::Unchanged);
        let other = NewVersion { component: digest("other"), ..version("1.0.0") };
        let refused = change.publish_version(&loan(), &other).await.unwrap_err();
        assert!(matches!(refused, CatalogueError::Conflict { what: "version", .. }), "{refused}");
        // Build metadata makes another version (semver 2, 10 and 11 put aside).
        assert_eq!(change.publish_version(&loan(), &version("1.0.0+b")).await.unwrap(), Put::Created);
        change.commit().await.unwrap();

        let number = "1.0.0".parse().unwrap();
        let entry = catalogue.version(&loan(), &number).await.unwrap().unwrap();
        assert_eq!((entry.content, entry.state), (version("1.0.0"), VersionState::Published));
        assert_eq!(catalogue.version(&"bank/other".parse().unwrap(), &number).await.unwrap(), None);
        let published = catalogue.events_after(0, None, Limit::default()).await.unwrap();
        let published = published.iter().filter(|event| event.kind == EventKind::VersionPublished);
        assert_eq!(published.map(|event| event.digest).collect::<Vec<_>>().len(), 2);
    }

    async fn versions_are_listed_from_the_newest(place) {
        let catalogue = place.open().await;
        with_loan(&catalogue).await;
        let numbers = ["1.0.0", "1.10.0", "1.9.0", "2.0.0-rc.1"];
        let mut change = write(&catalogue).await;
        for number in numbers {
            let _ = change.publish_version(&loan(), &version(number)).await.unwrap();
        }
        change.commit().await.unwrap();
        let first = catalogue.versions(&loan(), None, Limit::new(3)).await.unwrap();
        assert!(first.more);
        let last = catalogue.versions(&loan(), Some(first.items[2].seq), Limit::new(3)).await.unwrap();
        assert!(!last.more);
        let listed = first.items.iter().chain(&last.items).map(|entry| entry.content.version.to_string());
        assert_eq!(listed.collect::<Vec<_>>(), numbers.iter().rev().map(ToString::to_string).collect::<Vec<_>>());
        let found = catalogue.version_of_image(&loan(), digest("image 1.9.0")).await.unwrap().unwrap();
        assert_eq!(found.content.version.to_string(), "1.9.0");
    }

    async fn an_archived_policy_takes_no_versions_and_a_revoked_version_stays_revoked(place) {
        let catalogue = place.open().await;
        with_loan(&catalogue).await;
        let mut change = write(&catalogue).await;
        let _ = change.publish_version(&loan(), &version("1.0.0")).await.unwrap();
        change.set_policy_state(&loan(), PolicyState::Archived, None).await.unwrap();
        let refused = change.publish_version(&loan(), &version("1.1.0")).await.unwrap_err();
        assert!(matches!(refused, CatalogueError::Conflict { what: "policy", .. }), "{refused}");
        // What is there already is no news, archived or not.
        assert_eq!(change.publish_version(&loan(), &version("1.0.0")).await.unwrap(), Put::Unchanged);

        let number = "1.0.0".parse().unwrap();
        let first = change.revoke_version(&loan(), &number, None).await.unwrap();
        assert_eq!(change.revoke_version(&loan(), &number, Some(first)).await.unwrap(), first);
        assert_eq!(change.publish_version(&loan(), &version("1.0.0")).await.unwrap(), Put::Unchanged);
        change.commit().await.unwrap();
        let entry = catalogue.version(&loan(), &number).await.unwrap().unwrap();
        assert_eq!(entry.state, VersionState::Revoked);
    }

    async fn statements_are_listed_with_their_image_alone(place) {
        let catalogue = place.open().await;
        with_loan(&catalogue).await;
        let statement = |name: &str, image: &str| NewStatement {
            image: digest(image),
            envelope: digest(name),
            payload: digest(&format!("payload of {name}")),
            manifest: None,
            predicate_type: "urn:verdict:approval:v1".into(),
        };
        let mut change = write(&catalogue).await;
        for name in ["c", "a", "b"] {
            assert_eq!(change.attach_statement(&loan(), &statement(name, "image")).await.unwrap(), Put::Created);
        }
        assert_eq!(change.attach_statement(&loan(), &statement("a", "image")).await.unwrap(), Put::Unchanged);
        let _ = change.attach_statement(&loan(), &statement("d", "another image")).await.unwrap();
        let nowhere: Tenant = "nowhere".parse().unwrap();
        let policy = PolicyName::of(nowhere.as_str(), "loan").unwrap();
        assert!(change.attach_statement(&policy, &statement("e", "image")).await.is_err());
        change.commit().await.unwrap();

        let first = catalogue.statements(&loan(), digest("image"), 0, Limit::new(2)).await.unwrap();
        let rest = catalogue.statements(&loan(), digest("image"), first.items[1].seq, Limit::new(2)).await.unwrap();
        assert!(first.more && !rest.more);
        let listed: Vec<_> = first.items.iter().chain(&rest.items).map(|entry| entry.content.clone()).collect();
        assert_eq!(listed, ["c", "a", "b"].map(|name| statement(name, "image")));
        assert_eq!(listed.iter().map(|one| one.envelope).collect::<BTreeSet<_>>().len(), 3);
    }
}
