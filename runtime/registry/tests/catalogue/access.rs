use verdict_registry::catalogue::{
    Catalogue, CatalogueError, EventKind, Limit, NewApiKey, Put, StoredResponse,
};

use crate::places::{at, change, digest, write};

fn key(id: &str, tenant: Option<&str>) -> NewApiKey {
    NewApiKey {
        id: id.into(),
        tenant: tenant.map(|tenant| tenant.parse().unwrap()),
        hash: digest(&format!("secret of {id}")),
        person: "alice".into(),
        roles: ["publisher".to_owned(), "auditor".to_owned()].into(),
        expires: Some(at(60)),
    }
}

fn response(text: &str) -> StoredResponse {
    StoredResponse {
        status: 201,
        headers: vec![("etag".into(), "\"1\"".into()), ("location".into(), "/v1/x".into())],
        body: text.as_bytes().to_vec(),
    }
}

on_both! {
    async fn a_key_is_found_by_its_hash_until_it_ends(place) {
        let catalogue = place.open().await;
        let mut change = write(&catalogue).await;
        let orphan = change.create_api_key(&key("a", Some("bank"))).await.unwrap_err();
        assert!(matches!(orphan, CatalogueError::Missing { what: "tenant", .. }), "{orphan}");
        let _ = change.ensure_tenant(&"bank".parse().unwrap()).await.unwrap();
        let etag = change.create_api_key(&key("a", Some("bank"))).await.unwrap();
        change.create_api_key(&key("b", None)).await.unwrap();
        let same_id = change.create_api_key(&NewApiKey { hash: digest("x"), ..key("a", None) }).await.unwrap_err();
        let same_key = change.create_api_key(&NewApiKey { id: "c".into(), ..key("a", None) }).await.unwrap_err();
        for refused in [same_id, same_key] {
            assert!(matches!(refused, CatalogueError::Conflict { what: "API key", .. }), "{refused}");
        }
        change.commit().await.unwrap();

        let found = catalogue.api_key_of_hash(digest("secret of a")).await.unwrap().unwrap();
        assert_eq!((found.id.as_str(), found.person.as_str(), found.etag), ("a", "alice", etag));
        assert_eq!(found.roles, key("a", None).roles);
        assert!(found.counts(at(59)) && !found.counts(at(60)));
        assert_eq!(catalogue.api_key_of_hash(digest("secret of c")).await.unwrap(), None);
        assert_eq!(catalogue.api_key("a").await.unwrap(), Some(found));
        assert_eq!(catalogue.api_key("c").await.unwrap(), None);

        let mut change = write(&catalogue).await;
        let revoked = change.revoke_api_key("a", Some(etag)).await.unwrap();
        assert_eq!(change.revoke_api_key("a", None).await.unwrap(), revoked);
        let stale = change.revoke_api_key("b", Some(revoked)).await.unwrap_err();
        assert!(matches!(stale, CatalogueError::Stale { .. }), "{stale}");
        change.commit().await.unwrap();
        assert!(!catalogue.api_key_of_hash(digest("secret of a")).await.unwrap().unwrap().counts(at(0)));
        let all = catalogue.api_keys(None, None, Limit::new(1)).await.unwrap();
        assert!(all.more);
        let rest = catalogue.api_keys(None, Some(&all.items[0].id), Limit::new(1)).await.unwrap();
        assert_eq!((rest.items[0].id.as_str(), rest.more), ("b", false));
        let own = catalogue.api_keys(Some(&"bank".parse().unwrap()), None, Limit::default()).await.unwrap();
        assert_eq!(own.items.iter().map(|entry| entry.id.as_str()).collect::<Vec<_>>(), ["a"]);
    }

    async fn a_request_that_is_repeated_is_answered_from_what_is_kept(place) {
        let catalogue = place.open().await;
        let mut first = write(&catalogue).await;
        assert_eq!(first.recall("bank/alice", "k", digest("request")).await.unwrap(), None);
        let kept = first.remember("bank/alice", "k", digest("request"), &response("done"), at(60)).await.unwrap();
        assert_eq!(kept, Put::Created);
        first.commit().await.unwrap();

        let again = catalogue.recall("bank/alice", "k", digest("request"), at(59)).await.unwrap();
        assert_eq!(again, Some(response("done")));
        let other = catalogue.recall("bank/alice", "k", digest("another"), at(0)).await.unwrap_err();
        assert!(matches!(other, CatalogueError::Conflict { what: "idempotency key", .. }), "{other}");
        // Of another caller it is another key, and after its time it is none.
        assert_eq!(catalogue.recall("rival/mallory", "k", digest("request"), at(0)).await.unwrap(), None);
        assert_eq!(catalogue.recall("bank/alice", "k", digest("another"), at(60)).await.unwrap(), None);

        let late = |seconds| verdict_registry::catalogue::Change { at: at(seconds), ..change("alice") };
        let mut change = catalogue.write(late(61)).await.unwrap();
        let kept = change.remember("bank/alice", "k", digest("another"), &response("new"), at(120)).await.unwrap();
        assert_eq!(kept, Put::Created);
        change.commit().await.unwrap();
        let mut change = catalogue.write(late(120)).await.unwrap();
        assert_eq!(change.forget_responses(Limit::default()).await.unwrap(), 1);
        change.commit().await.unwrap();
    }

    async fn a_request_that_is_sent_many_times_at_once_is_carried_out_once(place) {
        let tasks: Vec<_> = (0..6)
            .map(|_| {
                let url = place.url.clone();
                tokio::spawn(async move {
                    let catalogue = Catalogue::open(&url).await.unwrap();
                    let mut change = write(&catalogue).await;
                    if let Some(response) = change.recall("alice", "k", digest("request")).await.unwrap() {
                        return response;
                    }
                    change.create_tenant(&"bank".parse().unwrap(), "").await.unwrap();
                    let answer = response("made");
                    let _ = change.remember("alice", "k", digest("request"), &answer, at(60)).await.unwrap();
                    change.commit().await.unwrap();
                    answer
                })
            })
            .collect();
        for task in tasks {
            assert_eq!(task.await.unwrap(), response("made"));
        }
        let events = place.open().await.events_after(0, None, Limit::default()).await.unwrap();
        assert_eq!(events.iter().map(|event| event.kind).collect::<Vec<_>>(), [EventKind::TenantCreated]);
    }
}

#[test]
fn neither_hashes_nor_bodies_are_in_debug_output() {
    assert!(!format!("{:?}", key("a", None)).contains(&digest("secret of a").hex()));
    assert!(!format!("{:?}", response("private")).contains("112, 114"));
}
