use verdict_core::name::PolicyName;
use verdict_registry::catalogue::{
    Catalogue, CatalogueError, DocumentKind, DocumentName, EventKind, Limit, NewDocument, Put,
};

use crate::places::{at, change, digest, write};

fn production() -> DocumentName {
    DocumentName::channel(&"bank/loan".parse().unwrap(), "production").unwrap()
}

fn document(name: &DocumentName, sequence: u64, text: &str) -> NewDocument {
    NewDocument {
        name: name.clone(),
        sequence,
        digest: digest(text),
        // Every byte there is.
        envelope: (0..=255).chain(text.bytes()).collect(),
        issued: at(0),
        expires: at(3_600),
        refers: vec![digest("image"), digest("image"), digest("data")],
    }
}

async fn put(catalogue: &Catalogue, new: &NewDocument, after: u64) -> Result<Put, CatalogueError> {
    let mut change = write(catalogue).await;
    let put = change.put_document(new, after).await?;
    change.commit().await?;
    Ok(put)
}

on_both! {
    async fn the_channels_of_some_policies_are_those_that_have_a_state(place) {
        let catalogue = place.open().await;
        let mut change = write(&catalogue).await;
        // `-` and `0` come before `@`, so the order of scopes is not that of names.
        let names = ["bank/a", "bank/a-b", "bank/a0", "bank/b", "bank-two/a"];
        for name in names {
            let _ = change.ensure_policy(&name.parse().unwrap()).await.unwrap();
        }
        change.commit().await.unwrap();
        for name in names {
            for channel in ["production", "staging"] {
                let name = DocumentName::channel(&name.parse().unwrap(), channel).unwrap();
                let _ = put(&catalogue, &document(&name, 1, channel), 0).await.unwrap();
                let _ = put(&catalogue, &document(&name, 2, "second"), 1).await.unwrap();
            }
        }
        let bank = "bank".parse().unwrap();
        for (first, last, expected) in [
            ("a", "b", &["bank/a", "bank/a-b", "bank/a0", "bank/b"][..]),
            ("a-b", "a0", &["bank/a-b", "bank/a0"]),
            ("a", "a", &["bank/a"]),
            ("c", "d", &[]),
        ] {
            let mut found = catalogue.channels_of_policies(&bank, first, last).await.unwrap();
            found.sort();
            let channels = |name: &&str| ["production", "staging"].map(|channel| (name.parse().unwrap(), channel.parse().unwrap()));
            let expected: Vec<_> = expected.iter().flat_map(channels).collect();
            assert_eq!(found, expected, "{first} {last}");
        }
    }

    async fn a_document_follows_the_one_that_its_writer_has_seen(place) {
        let catalogue = place.open().await;
        let name = production();
        assert_eq!(put(&catalogue, &document(&name, 3, "first"), 0).await.unwrap(), Put::Created);
        assert_eq!(put(&catalogue, &document(&name, 7, "second"), 3).await.unwrap(), Put::Replaced);
        // A repetition of what got through is no error.
        assert_eq!(put(&catalogue, &document(&name, 7, "second"), 3).await.unwrap(), Put::Unchanged);
        for (sequence, text, after) in [
            (7, "another of the same sequence", 7),
            (7, "another of the same sequence", 3),
            (8, "of one who has not seen the second", 3),
            (8, "of one who has seen none", 0),
            (5, "lower", 7),
            (3, "first", 0),
            (0, "none", 0),
        ] {
            let refused = put(&catalogue, &document(&name, sequence, text), after).await.unwrap_err();
            assert!(matches!(refused, CatalogueError::Sequence { found: 7, .. }), "{text}: {refused}");
        }
        let newest = catalogue.document(&name).await.unwrap().unwrap();
        let expected = document(&name, 7, "second");
        assert_eq!((newest.sequence, newest.digest), (7, expected.digest));
        assert_eq!(newest.envelope, expected.envelope);
        assert_eq!((newest.name, newest.issued, newest.expires), (name, at(0), at(3_600)));
        let events = catalogue.events_after(0, None, Limit::default()).await.unwrap();
        let told: Vec<_> = events.iter().map(|event| (event.kind, event.subject.as_str())).collect();
        assert_eq!(told, [(EventKind::ChannelChanged, "bank/loan@production"); 2]);
    }

    async fn the_history_of_a_document_is_kept(place) {
        let catalogue = place.open().await;
        let (name, other) = (DocumentName::trust(), DocumentName::revocations());
        for sequence in 1..=5 {
            let text = format!("version {sequence}");
            let _ = put(&catalogue, &document(&name, sequence, &text), sequence - 1).await.unwrap();
        }
        let _ = put(&catalogue, &document(&other, 9, "revoked"), 0).await.unwrap();
        let old = catalogue.document_at(&name, 2).await.unwrap().unwrap();
        assert_eq!(old.digest, digest("version 2"));
        assert_eq!(catalogue.document_at(&name, 9).await.unwrap(), None);
        let up = catalogue.documents_after(&name, 2, Limit::new(2)).await.unwrap();
        assert_eq!(up.items.iter().map(|entry| entry.sequence).collect::<Vec<_>>(), [3, 4]);
        assert!(up.more);
        let down = catalogue.document_history(&name, Some(4), Limit::new(3)).await.unwrap();
        assert_eq!(down.items.iter().map(|entry| entry.sequence).collect::<Vec<_>>(), [3, 2, 1]);
        assert!(!down.more);
        assert_eq!(catalogue.document_history(&name, None, Limit::new(1)).await.unwrap().items[0].sequence, 5);
        let huge = document(&other, u64::MAX, "huge");
        let refused = put(&catalogue, &huge, 9).await.unwrap_err();
        assert!(matches!(refused, CatalogueError::Invalid { .. }), "{refused}");
    }

    async fn the_newest_of_each_name_are_listed_by_tenant_and_by_policy(place) {
        let catalogue = place.open().await;
        // Names that begin alike, and sort before and after what follows the tenant's name in a scope.
        for policy in ["bank/loan", "bank/loan-2", "bank/loan0", "bank-2/loan", "bank0/loan", "a/loan"] {
            let policy: PolicyName = policy.parse().unwrap();
            for channel in ["production", "staging"] {
                let name = DocumentName::channel(&policy, channel).unwrap();
                for sequence in 1..=2 {
                    let _ = put(&catalogue, &document(&name, sequence, channel), sequence - 1).await.unwrap();
                }
            }
            let data = DocumentName::data(policy.tenant());
            if catalogue.document(&data).await.unwrap().is_none() {
                let _ = put(&catalogue, &document(&data, 1, "data"), 0).await.unwrap();
            }
        }
        let bank = "bank".parse().unwrap();
        let listed = catalogue.newest_documents(DocumentKind::Channel, Some(&bank), None, Limit::default());
        let listed = listed.await.unwrap().items;
        assert_eq!(listed.len(), 6, "{listed:?}");
        assert!(listed.iter().all(|entry| entry.sequence == 2 && entry.name.tenant() == Some(&bank)));
        let loan = "bank/loan".parse().unwrap();
        let own = catalogue.channels(&loan, None, Limit::new(1)).await.unwrap();
        assert!(own.more);
        let own = catalogue.channels(&loan, Some(&own.items[0].name), Limit::new(1)).await.unwrap();
        assert!(!own.more);
        assert_eq!(own.items[0].name.scope(), "bank/loan@staging");
        let data = catalogue.newest_documents(DocumentKind::Data, Some(&bank), None, Limit::default()).await.unwrap();
        assert_eq!(data.items.len(), 1);
        let all = catalogue.newest_documents(DocumentKind::Channel, None, None, Limit::default()).await.unwrap();
        assert_eq!(all.items.len(), 12);
        let trust = catalogue.newest_documents(DocumentKind::Trust, None, None, Limit::default()).await.unwrap();
        assert!(trust.items.is_empty());
    }

    async fn of_two_writers_one_gets_each_sequence(place) {
        const SEQUENCES: u64 = 20;
        // Two catalogues on one database are what two processes have.
        let writers = ["first", "second"].map(|writer| {
            let url = place.url.clone();
            tokio::spawn(async move {
                let catalogue = Catalogue::open(&url).await.unwrap();
                let mut won = Vec::new();
                for sequence in 1..=SEQUENCES {
                    let new = document(&production(), sequence, writer);
                    let mut write = catalogue.write(change(writer)).await.unwrap();
                    match write.put_document(&new, sequence - 1).await {
                        Ok(Put::Created | Put::Replaced) => {
                            write.commit().await.unwrap();
                            won.push(sequence);
                        }
                        Err(CatalogueError::Sequence { found, .. }) => assert!(found >= sequence),
                        other => panic!("{other:?}"),
                    }
                    // The slower one follows from what is there, as somebody who reads again would.
                    while catalogue.document(&production()).await.unwrap().is_none_or(|d| d.sequence < sequence) {
                        tokio::task::yield_now().await;
                    }
                }
                won
            })
        });
        let mut won = Vec::new();
        for writer in writers {
            won.extend(writer.await.unwrap());
        }
        won.sort_unstable();
        assert_eq!(won, (1..=SEQUENCES).collect::<Vec<_>>());
        let history = place.open().await.documents_after(&production(), 0, Limit::default()).await.unwrap();
        assert_eq!(history.items.len() as u64, SEQUENCES);
        assert!(history.items.iter().all(|entry| entry.digest == digest(&entry.stored_by)));
    }
}
