use std::collections::BTreeSet;

use verdict_core::digest::Digest;
use verdict_registry::catalogue::{
    Catalogue, Change, DocumentName, Limit, NewDocument, NewStatement, NewVersion, Write,
};

use crate::places::{at, change, digest};
use crate::repositories::{loan, manifest, with_blobs};

async fn later(catalogue: &Catalogue, seconds: i64) -> Write {
    catalogue.write(Change { at: at(seconds), ..change("collector") }).await.unwrap()
}

async fn referred(catalogue: &Catalogue, seconds: i64) -> BTreeSet<Digest> {
    let (mut seen, mut after) = (Vec::new(), None);
    loop {
        let page = catalogue.referred(after, at(seconds), Limit::new(2)).await.unwrap();
        seen.extend(page.items);
        after = seen.last().copied();
        if !page.more {
            break;
        }
    }
    let set: BTreeSet<_> = seen.iter().copied().collect();
    assert_eq!(seen, set.iter().copied().collect::<Vec<_>>(), "in order, each once");
    set
}

fn digests(names: &[&str]) -> BTreeSet<Digest> {
    names.iter().map(|name| digest(name)).collect()
}

on_both! {
    async fn everything_that_is_named_anywhere_is_referred_to(place) {
        let catalogue = place.open().await;
        let mut change = with_blobs(&catalogue, &loan(), &["config", "layer", "loose"]).await;
        let _ = change.ensure_policy(&loan()).await.unwrap();
        let _ = change.put_manifest(&loan(), &manifest("image", &["config", "layer"])).await.unwrap();
        let version = NewVersion {
            version: "1.0.0".parse().unwrap(),
            image: digest("image"),
            statement: digest("statement"),
            component: digest("component"),
            predecessor: None,
        };
        let _ = change.publish_version(&loan(), &version).await.unwrap();
        let statement = NewStatement {
            image: digest("image"),
            envelope: digest("envelope"),
            payload: digest("payload"),
            manifest: None,
            predicate_type: "test".into(),
        };
        let _ = change.attach_statement(&loan(), &statement).await.unwrap();
        let data = NewDocument {
            name: DocumentName::data(loan().tenant()),
            sequence: 1,
            digest: digest("data document"),
            envelope: Vec::new(),
            issued: at(0),
            expires: at(60),
            refers: vec![digest("content")],
        };
        let _ = change.put_document(&data, 0).await.unwrap();
        change.pin(digest("pushed"), "push:1", Some(at(60))).await.unwrap();
        change.pin(digest("held"), "log:bank", None).await.unwrap();
        change.commit().await.unwrap();

        let lasting = ["config", "layer", "loose", "image", "statement", "component", "envelope", "content", "held"];
        let all: BTreeSet<_> = digests(&lasting).into_iter().chain([digest("pushed")]).collect();
        assert_eq!(referred(&catalogue, 59).await, all);
        assert_eq!(referred(&catalogue, 60).await, digests(&lasting), "a pin ends");
        let mut change = later(&catalogue, 59).await;
        for digest in all {
            assert!(!change.is_garbage(digest).await.unwrap(), "{digest}");
        }
        for name in ["payload", "data document", "nothing"] {
            assert!(change.is_garbage(digest(name)).await.unwrap(), "{name}");
        }
        drop(change);
        assert!(later(&catalogue, 60).await.is_garbage(digest("pushed")).await.unwrap());
    }

    async fn a_link_that_no_manifest_needs_is_let_go_when_it_is_old(place) {
        let catalogue = place.open().await;
        let other = "bank/other".parse().unwrap();
        let mut change = with_blobs(&catalogue, &loan(), &["layer", "loose", "renewed"]).await;
        let _ = change.put_manifest(&loan(), &manifest("image", &["layer"])).await.unwrap();
        // Needed there, but by no manifest here.
        let _ = change.link_blob(&other, digest("layer"), 5).await.unwrap();
        change.commit().await.unwrap();
        let mut change = later(&catalogue, 100).await;
        let _ = change.link_blob(&loan(), digest("renewed"), 7).await.unwrap();
        assert_eq!(change.unlink_idle(at(0), Limit::default()).await.unwrap(), 0, "they are not older than that");
        assert_eq!(change.unlink_idle(at(100), Limit::default()).await.unwrap(), 2);
        change.commit().await.unwrap();
        assert_eq!(catalogue.blob(&loan(), digest("loose")).await.unwrap(), None);
        assert_eq!(catalogue.blob(&other, digest("layer")).await.unwrap(), None);
        assert_eq!(catalogue.blob(&loan(), digest("layer")).await.unwrap(), Some(5));
        assert_eq!(catalogue.blob(&loan(), digest("renewed")).await.unwrap(), Some(7));
        assert_eq!(referred(&catalogue, 100).await, digests(&["image", "layer", "renewed"]));
    }

    async fn a_push_and_a_collector_do_not_cross(place) {
        let catalogue = place.open().await;
        let change = with_blobs(&catalogue, &loan(), &[]).await;
        change.commit().await.unwrap();
        let blob = digest("blob");
        // The collector asks first: the pusher's pin waits until the blob is gone, so that it is stored again.
        let mut collector = later(&catalogue, 0).await;
        assert!(collector.is_garbage(blob).await.unwrap());
        // Opened by a second process, which does not wait for the first one's change.
        let pusher = tokio::spawn({
            let catalogue = place.open().await;
            async move {
                let mut change = later(&catalogue, 0).await;
                change.pin(blob, "push:1", Some(at(60))).await.unwrap();
                change.commit().await.unwrap();
            }
        });
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        assert!(!pusher.is_finished(), "a pin came while the collector was deciding");
        collector.commit().await.unwrap();
        pusher.await.unwrap();
        // The pusher was first: the collector sees the pin, then the link.
        assert!(!later(&catalogue, 0).await.is_garbage(blob).await.unwrap());
        let mut change = later(&catalogue, 0).await;
        let _ = change.link_blob(&loan(), blob, 4).await.unwrap();
        assert_eq!(change.unpin("push:1").await.unwrap(), 1);
        assert!(!change.is_garbage(blob).await.unwrap());
        change.commit().await.unwrap();
    }

    async fn pins_that_are_over_are_taken_away(place) {
        let catalogue = place.open().await;
        let mut change = later(&catalogue, 0).await;
        change.pin(digest("a"), "push:1", Some(at(60))).await.unwrap();
        change.pin(digest("a"), "push:2", Some(at(60))).await.unwrap();
        change.pin(digest("a"), "push:2", Some(at(90))).await.unwrap();
        change.commit().await.unwrap();
        let mut change = later(&catalogue, 60).await;
        let _ = change.unlink_idle(at(0), Limit::default()).await.unwrap();
        assert_eq!(change.unpin("push:1").await.unwrap(), 0);
        assert!(!change.is_garbage(digest("a")).await.unwrap(), "the other was prolonged");
        assert_eq!(change.unpin("push:2").await.unwrap(), 1);
        assert!(change.is_garbage(digest("a")).await.unwrap());
        change.commit().await.unwrap();
    }
}
