use std::collections::{BTreeMap, BTreeSet};

use verdict_core::digest::Digest;
use verdict_core::name::PolicyName;
use verdict_registry::catalogue::{
    Catalogue, CatalogueError, Limit, NewManifest, NewVersion, Put, Tag, Write,
};

use crate::places::{digest, write};

pub(crate) fn loan() -> PolicyName {
    "bank/loan".parse().unwrap()
}

fn tag(text: &str) -> Tag {
    text.parse().unwrap()
}

pub(crate) fn manifest(name: &str, blobs: &[&str]) -> NewManifest {
    NewManifest {
        digest: digest(name),
        bytes: name.len() as u64,
        media_type: "application/vnd.oci.image.manifest.v1+json".into(),
        artifact_type: None,
        subject: None,
        annotations: BTreeMap::new(),
        blobs: blobs.iter().map(|blob| digest(blob)).collect(),
        manifests: BTreeSet::new(),
    }
}

/// A change of a repository that has these blobs.
pub(crate) async fn with_blobs(catalogue: &Catalogue, repository: &PolicyName, blobs: &[&str]) -> Write {
    let mut change = write(catalogue).await;
    let _ = change.ensure_tenant(repository.tenant()).await.unwrap();
    for blob in blobs {
        assert_eq!(
            change.link_blob(repository, digest(blob), blob.len() as u64).await.unwrap(),
            Put::Created
        );
    }
    change
}

async fn all_tags(catalogue: &Catalogue, rows: u32) -> Vec<String> {
    let (mut seen, mut last) = (Vec::new(), None);
    loop {
        let page = catalogue.tags(&loan(), last.as_ref(), Limit::new(rows)).await.unwrap();
        assert!(page.items.len() <= rows as usize);
        seen.extend(page.items.iter().map(|entry| entry.tag.to_string()));
        last = page.items.last().map(|entry| entry.tag.clone());
        if !page.more {
            return seen;
        }
    }
}

on_both! {
    async fn a_blob_is_visible_only_where_it_was_linked(place) {
        let catalogue = place.open().await;
        let change = with_blobs(&catalogue, &loan(), &["layer"]).await;
        change.commit().await.unwrap();
        let (layer, mut change) = (digest("layer"), write(&catalogue).await);
        assert_eq!(change.link_blob(&loan(), layer, 5).await.unwrap(), Put::Unchanged);
        let _ = change.ensure_tenant(&"rival".parse().unwrap()).await.unwrap();
        change.commit().await.unwrap();
        assert_eq!(catalogue.blob(&loan(), layer).await.unwrap(), Some(5));
        for other in ["bank/other", "rival/loan", "nobody/loan"] {
            assert_eq!(catalogue.blob(&other.parse().unwrap(), layer).await.unwrap(), None, "{other}");
        }
        let found = catalogue.blob_of_tenant(loan().tenant(), layer).await.unwrap();
        assert_eq!(found, Some((loan(), 5)));
        assert_eq!(catalogue.blob_of_tenant(&"rival".parse().unwrap(), layer).await.unwrap(), None);
    }

    async fn a_manifest_needs_what_it_names_in_its_own_repository(place) {
        let catalogue = place.open().await;
        let other = "bank/other".parse().unwrap();
        let change = with_blobs(&catalogue, &other, &["config", "layer"]).await;
        change.commit().await.unwrap();
        let mut change = with_blobs(&catalogue, &loan(), &["config"]).await;
        let new = manifest("image", &["config", "layer"]);
        let refused = change.put_manifest(&loan(), &new).await.unwrap_err();
        assert!(matches!(refused, CatalogueError::UnknownBlob(d) if d == digest("layer")), "{refused}");
        let _ = change.link_blob(&loan(), digest("layer"), 5).await.unwrap();
        assert_eq!(change.put_manifest(&loan(), &new).await.unwrap(), Put::Created);
        assert_eq!(change.put_manifest(&loan(), &new).await.unwrap(), Put::Unchanged);
        let retyped = NewManifest { media_type: "application/json".into(), ..new.clone() };
        let refused = change.put_manifest(&loan(), &retyped).await.unwrap_err();
        assert!(matches!(refused, CatalogueError::Conflict { what: "manifest", .. }), "{refused}");

        let index = NewManifest { manifests: [digest("no such image")].into(), ..manifest("index", &[]) };
        let refused = change.put_manifest(&loan(), &index).await.unwrap_err();
        assert!(matches!(refused, CatalogueError::UnknownBlob(_)), "{refused}");
        let index = NewManifest { manifests: [new.digest].into(), ..manifest("index", &[]) };
        assert_eq!(change.put_manifest(&loan(), &index).await.unwrap(), Put::Created);
        change.commit().await.unwrap();

        let entry = catalogue.manifest(&loan(), new.digest).await.unwrap().unwrap();
        assert_eq!((entry.media_type, entry.bytes, entry.subject), (new.media_type, 5, None));
        assert_eq!(catalogue.manifest(&other, new.digest).await.unwrap(), None);
        let names = catalogue.repositories(loan().tenant(), None, Limit::new(1)).await.unwrap();
        assert_eq!((names.items, names.more), (vec![loan()], true));
        let names = catalogue.repositories(loan().tenant(), Some("loan"), Limit::new(1)).await.unwrap();
        assert_eq!((names.items, names.more), (vec![other], false));
    }

    async fn what_a_manifest_names_stays_as_long_as_the_manifest(place) {
        let catalogue = place.open().await;
        let mut change = with_blobs(&catalogue, &loan(), &["config", "layer"]).await;
        let _ = change.put_manifest(&loan(), &manifest("image", &["config", "layer"])).await.unwrap();
        let _ = change.put_tag(&loan(), &tag("latest"), digest("image"), None).await.unwrap();
        let refused = change.unlink_blob(&loan(), digest("layer")).await.unwrap_err();
        assert!(matches!(refused, CatalogueError::Needed { .. }), "{refused}");
        change.delete_manifest(&loan(), digest("image")).await.unwrap();
        change.unlink_blob(&loan(), digest("layer")).await.unwrap();
        let gone = change.unlink_blob(&loan(), digest("layer")).await.unwrap_err();
        assert!(matches!(gone, CatalogueError::Missing { .. }), "{gone}");
        let gone = change.delete_manifest(&loan(), digest("image")).await.unwrap_err();
        assert!(matches!(gone, CatalogueError::Missing { .. }), "{gone}");
        change.commit().await.unwrap();
        assert_eq!(catalogue.tag(&loan(), &tag("latest")).await.unwrap(), None, "its tags went with it");
    }

    async fn referrers_are_those_of_one_subject_filtered_by_type_and_paged(place) {
        let catalogue = place.open().await;
        let mut change = with_blobs(&catalogue, &loan(), &[]).await;
        let mut expected = BTreeSet::new();
        for number in 0..7 {
            let new = NewManifest {
                // The subject need not be there.
                subject: Some(digest("image")),
                artifact_type: Some(if number % 2 == 0 { "even" } else { "odd" }.into()),
                annotations: [("number".to_owned(), number.to_string())].into(),
                ..manifest(&format!("referrer {number}"), &[])
            };
            let _ = change.put_manifest(&loan(), &new).await.unwrap();
            expected.insert(new.digest);
        }
        let stranger = NewManifest { subject: Some(digest("other")), ..manifest("stranger", &[]) };
        let _ = change.put_manifest(&loan(), &stranger).await.unwrap();
        change.commit().await.unwrap();

        let (mut seen, mut after) = (Vec::<Digest>::new(), None);
        loop {
            let page = catalogue.referrers(&loan(), digest("image"), None, after, Limit::new(3)).await.unwrap();
            seen.extend(page.items.iter().map(|entry| entry.digest));
            after = seen.last().copied();
            if !page.more {
                break;
            }
        }
        assert_eq!(seen, expected.into_iter().collect::<Vec<_>>());
        for (kind, count) in [("even", 4), ("odd", 3), ("", 0), ("e\0", 0)] {
            let (loan, all) = (loan(), Limit::default());
            let page = catalogue.referrers(&loan, digest("image"), Some(kind), None, all).await.unwrap();
            assert_eq!(page.items.len(), count, "{kind:?}");
        }
        let elsewhere = "bank/other".parse().unwrap();
        let page = catalogue.referrers(&elsewhere, digest("image"), None, None, Limit::default()).await.unwrap();
        assert!(page.items.is_empty());
    }

    async fn tags_are_listed_in_the_order_of_bytes(place) {
        let catalogue = place.open().await;
        let mut change = with_blobs(&catalogue, &loan(), &[]).await;
        let _ = change.put_manifest(&loan(), &manifest("image", &[])).await.unwrap();
        let sorted = ["1.0.0", "1.10.0", "1.2.0", "A", "B", "_x", "a", "a-b", "a.b", "ab", "b"];
        for text in sorted.iter().rev() {
            let _ = change.put_tag(&loan(), &tag(text), digest("image"), None).await.unwrap();
        }
        change.commit().await.unwrap();
        for rows in [1, 2, 3, 10, 100] {
            assert_eq!(all_tags(&catalogue, rows).await, sorted, "{rows} a page");
        }
        // `last` need not be there.
        let after = catalogue.tags(&loan(), Some(&tag("C")), Limit::new(1)).await.unwrap();
        assert_eq!(after.items[0].tag, tag("_x"));
    }

    async fn a_tag_moves_only_from_what_the_caller_has_seen(place) {
        let catalogue = place.open().await;
        let mut change = with_blobs(&catalogue, &loan(), &[]).await;
        for name in ["one", "two"] {
            let _ = change.put_manifest(&loan(), &manifest(name, &[])).await.unwrap();
        }
        let latest = tag("latest");
        let missing = change.put_tag(&loan(), &latest, digest("three"), None).await.unwrap_err();
        assert!(matches!(missing, CatalogueError::Missing { what: "manifest", .. }), "{missing}");
        assert_eq!(change.put_tag(&loan(), &latest, digest("one"), None).await.unwrap(), Put::Created);
        change.commit().await.unwrap();
        let seen = catalogue.tag(&loan(), &latest).await.unwrap().unwrap().etag;

        let mut change = write(&catalogue).await;
        assert_eq!(change.put_tag(&loan(), &latest, digest("two"), Some(seen)).await.unwrap(), Put::Replaced);
        assert_eq!(change.put_tag(&loan(), &latest, digest("two"), None).await.unwrap(), Put::Unchanged);
        let stale = change.put_tag(&loan(), &latest, digest("one"), Some(seen)).await.unwrap_err();
        assert!(matches!(stale, CatalogueError::Stale { .. }), "{stale}");
        let stale = change.put_tag(&loan(), &tag("new"), digest("one"), Some(seen)).await.unwrap_err();
        assert!(matches!(stale, CatalogueError::Stale { .. }), "a tag that is not there was not seen: {stale}");
        let stale = change.delete_tag(&loan(), &latest, Some(seen)).await.unwrap_err();
        assert!(matches!(stale, CatalogueError::Stale { .. }), "{stale}");
        change.delete_tag(&loan(), &latest, None).await.unwrap();
        change.commit().await.unwrap();
        assert!(catalogue.manifest(&loan(), digest("two")).await.unwrap().is_some(), "the manifest stays");
    }

    async fn the_image_and_the_tag_of_a_published_version_stay(place) {
        let catalogue = place.open().await;
        let mut change = with_blobs(&catalogue, &loan(), &[]).await;
        let _ = change.ensure_policy(&loan()).await.unwrap();
        for name in ["image", "other"] {
            let _ = change.put_manifest(&loan(), &manifest(name, &[])).await.unwrap();
        }
        let version = NewVersion {
            version: "1.0.0+linux".parse().unwrap(),
            image: digest("image"),
            statement: digest("statement"),
            component: digest("component"),
            predecessor: None,
        };
        let _ = change.publish_version(&loan(), &version).await.unwrap();
        let own = Tag::of_version(&version.version).unwrap();
        let swapped = change.put_tag(&loan(), &own, digest("other"), None).await.unwrap_err();
        assert!(matches!(swapped, CatalogueError::Conflict { what: "tag", .. }), "{swapped}");
        let _ = change.put_tag(&loan(), &own, digest("image"), None).await.unwrap();
        let deleted = change.delete_tag(&loan(), &own, None).await.unwrap_err();
        assert!(matches!(deleted, CatalogueError::Conflict { what: "tag", .. }), "{deleted}");
        let deleted = change.delete_manifest(&loan(), digest("image")).await.unwrap_err();
        assert!(matches!(deleted, CatalogueError::Needed { .. }), "{deleted}");
        // Another tag for it may come and go.
        let _ = change.put_tag(&loan(), &tag("latest"), digest("image"), None).await.unwrap();
        change.delete_tag(&loan(), &tag("latest"), None).await.unwrap();
        change.commit().await.unwrap();
    }
}
