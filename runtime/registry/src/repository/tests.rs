use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use serde_json::{Value, json};
use tempfile::TempDir;
use verdict_core::digest::Digest;
use verdict_core::name::PolicyName;
use verdict_core::oci::{EMPTY_MEDIA_TYPE, INDEX_MEDIA_TYPE, MANIFEST_MEDIA_TYPE};
use verdict_core::time::Timestamp;

use super::{Collected, Reference, Registry, RepositoryError};
use crate::catalogue::{Catalogue, CatalogueError, Change, DocumentName, NewDocument, NewVersion};
use crate::store::{Blobs, StoreError};

const HOUR: Duration = Duration::from_secs(3_600);

/// The time in so many hours.
fn in_hours(hours: i64) -> Timestamp {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    Timestamp::from_millis(now.as_millis() as i64 + hours * 3_600_000).unwrap()
}

fn change() -> Change {
    Change { actor: "alice".into(), correlation: "test".into(), at: in_hours(0) }
}

fn loan() -> PolicyName {
    "bank/loan".parse().unwrap()
}

fn reference(text: &str) -> Reference {
    text.parse().unwrap()
}

async fn registry() -> (TempDir, Registry) {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite:{}", folder.path().join("catalogue.db").display());
    let blobs = Blobs::directory(folder.path().join("blobs"), Default::default()).unwrap();
    let catalogue = Catalogue::open(&url).await.unwrap();
    (folder, Registry::new(blobs, catalogue))
}

async fn put(registry: &Registry, repository: &PolicyName, text: &str) -> Value {
    let bytes = Bytes::from(text.to_owned());
    registry.put_blob(repository, Digest::of(&bytes), bytes.clone(), change()).await.unwrap();
    json!({ "mediaType": EMPTY_MEDIA_TYPE, "digest": Digest::of(&bytes), "size": bytes.len() })
}

/// An image of one layer, with what it needs in the repository.
async fn image(registry: &Registry, repository: &PolicyName, text: &str) -> Bytes {
    let (config, layer) = (put(registry, repository, "{}").await, put(registry, repository, text).await);
    let image = json!({
        "schemaVersion": 2, "mediaType": MANIFEST_MEDIA_TYPE, "config": config, "layers": [layer],
    });
    image.to_string().into()
}

async fn push(registry: &Registry, tag: &str, bytes: &Bytes) -> Result<Digest, RepositoryError> {
    let pushed = registry.put_manifest(&loan(), &reference(tag), None, bytes.clone(), change()).await?;
    Ok(pushed.digest)
}

#[tokio::test]
async fn a_manifest_comes_only_after_everything_that_it_is_made_of() {
    let (_folder, registry) = registry().await;
    let elsewhere = image(&registry, &"other/loan".parse().unwrap(), "layer").await;
    let error = push(&registry, "latest", &elsewhere).await.unwrap_err();
    assert!(matches!(error, RepositoryError::Catalogue(CatalogueError::UnknownBlob(_))), "{error}");
    assert!(matches!(
        registry.tags(&loan(), None, Default::default()).await,
        Err(RepositoryError::UnknownRepository(_))
    ));
    let image = image(&registry, &loan(), "layer").await;
    let digest = push(&registry, "latest", &image).await.unwrap();
    let (entry, bytes) = registry.read_manifest(&loan(), &reference("latest")).await.unwrap();
    assert_eq!((entry.digest, bytes), (digest, image.clone()));
    let text = String::from_utf8(image.to_vec()).unwrap();
    let lies = Bytes::from(text.replace("\"size\":5", "\"size\":6"));
    assert!(matches!(
        push(&registry, "latest", &lies).await,
        Err(RepositoryError::WrongSize { named: 6, found: 5, .. })
    ));
}

#[tokio::test]
async fn the_tag_of_a_version_never_names_another_manifest() {
    let (_folder, registry) = registry().await;
    let (first, second) = (image(&registry, &loan(), "1").await, image(&registry, &loan(), "2").await);
    for tag in ["1.2.0", "1.2.0-rc.1_build.5"] {
        let digest = push(&registry, tag, &first).await.unwrap();
        assert_eq!(push(&registry, tag, &first).await.unwrap(), digest, "the same once more changes nothing");
        let error = push(&registry, tag, &second).await.unwrap_err();
        assert!(matches!(&error, RepositoryError::Immutable { found, .. } if *found == digest), "{error}");
        assert_eq!(registry.manifest(&loan(), &reference(tag)).await.unwrap().digest, digest);
    }
    for tag in ["latest", "1.2", "v1.2.0"] {
        push(&registry, tag, &first).await.unwrap();
        let digest = push(&registry, tag, &second).await.unwrap();
        assert_eq!(registry.manifest(&loan(), &reference(tag)).await.unwrap().digest, digest);
    }
}

#[tokio::test]
async fn what_a_version_a_document_or_an_index_rests_on_cannot_be_deleted() {
    let (_folder, registry) = registry().await;
    let mut digests = Vec::new();
    for text in ["version", "channel", "index", "nobody"] {
        let image = image(&registry, &loan(), text).await;
        digests.push(push(&registry, text, &image).await.unwrap());
    }
    let part = registry.manifest(&loan(), &reference("index")).await.unwrap();
    let part = json!({ "mediaType": MANIFEST_MEDIA_TYPE, "digest": part.digest, "size": part.bytes });
    let index = json!({ "schemaVersion": 2, "mediaType": INDEX_MEDIA_TYPE, "manifests": [part] }).to_string();
    push(&registry, "all", &index.into()).await.unwrap();

    let mut write = registry.catalogue().write(change()).await.unwrap();
    let (image, statement) = (digests[0], Digest::of(b"statement"));
    let version = "1.0.0".parse().unwrap();
    let new = NewVersion { version, image, statement, component: Digest::of(b"version"), predecessor: None };
    let _ = write.publish_version(&loan(), &new).await.unwrap();
    let document = NewDocument {
        name: DocumentName::channel(&loan(), "production").unwrap(),
        sequence: 1,
        digest: Digest::of(b"state"),
        envelope: b"state".to_vec(),
        issued: in_hours(0),
        expires: in_hours(1),
        refers: vec![digests[1]],
    };
    let _ = write.put_document(&document, 0).await.unwrap();
    write.commit().await.unwrap();

    for (digest, by) in
        digests.iter().zip(["version `1.0.0`", "document channel `bank/loan@production`", "manifest"])
    {
        let error =
            registry.delete_manifest(&loan(), &Reference::Digest(*digest), change()).await.unwrap_err();
        assert!(error.to_string().contains(by), "{error}");
        registry.read_manifest(&loan(), &Reference::Digest(*digest)).await.unwrap();
    }
    let layer = Digest::of(b"nobody");
    assert!(registry.delete_blob(&loan(), layer, change()).await.is_err(), "a manifest names it");
    registry.delete_manifest(&loan(), &Reference::Digest(digests[3]), change()).await.unwrap();
    assert!(matches!(
        registry.manifest(&loan(), &reference("nobody")).await,
        Err(RepositoryError::UnknownManifest(_))
    ));
    registry.delete_blob(&loan(), layer, change()).await.unwrap();
    assert!(matches!(registry.blob(&loan(), layer).await, Err(RepositoryError::UnknownBlob(_))));
}

#[tokio::test]
async fn garbage_goes_and_what_is_referred_to_stays() {
    let (_folder, registry) = registry().await;
    let kept = image(&registry, &loan(), "kept").await;
    let kept_digest = push(&registry, "kept", &kept).await.unwrap();
    let gone = image(&registry, &loan(), "gone").await;
    let gone_digest = push(&registry, "gone", &gone).await.unwrap();
    put(&registry, &loan(), "never named").await;
    assert_eq!(
        registry.collect(in_hours(0), HOUR).await.unwrap(),
        Collected::default(),
        "all of it is young"
    );

    registry.delete_manifest(&loan(), &Reference::Digest(gone_digest), change()).await.unwrap();
    let collected = registry.collect(in_hours(2), HOUR).await.unwrap();
    let bytes = (gone.len() + "gone".len() + "never named".len()) as u64;
    assert_eq!(collected, Collected { blobs: 3, bytes, links: 2, uploads: 0 });
    assert_eq!(registry.read_manifest(&loan(), &reference("kept")).await.unwrap().1, kept);
    for text in ["kept", "{}"] {
        let blob = registry.blob(&loan(), Digest::of(text.as_bytes())).await.unwrap();
        assert_eq!(registry.read(&blob, 0..100).await.unwrap(), text);
    }
    assert!(registry.blobs().size(kept_digest).await.unwrap().is_some());
    assert_eq!(registry.blobs().size(gone_digest).await.unwrap(), None);
    assert_eq!(registry.collect(in_hours(2), HOUR).await.unwrap(), Collected::default(), "there is no more");
}

#[tokio::test]
async fn what_a_push_under_way_has_brought_is_not_collected() {
    let (_folder, registry) = registry().await;
    let (digest, bytes) = (Digest::of(b"pushed"), Bytes::from_static(b"pushed"));
    // The state of a push between the bytes and the change that names them.
    let mut write = registry.catalogue().write(change()).await.unwrap();
    write.pin(digest, "push:test", Some(in_hours(6))).await.unwrap();
    write.commit().await.unwrap();
    registry.blobs().put(digest, bytes).await.unwrap();
    assert_eq!(registry.collect(in_hours(4), HOUR).await.unwrap().blobs, 0, "old enough, but pinned");
    assert_eq!(registry.collect(in_hours(8), HOUR).await.unwrap().blobs, 1, "nobody came back");

    let upload = registry.begin(&loan(), change()).await.unwrap();
    registry.append(&upload, 0, Bytes::from_static(b"half")).await.unwrap();
    registry.collect(in_hours(8), HOUR).await.unwrap();
    registry.append(&upload, 4, Bytes::from_static(b" and half")).await.unwrap();
    let blob = registry.finish(&upload, Digest::of(b"half and half"), change()).await.unwrap();
    assert_eq!(registry.read(&blob, 0..100).await.unwrap(), "half and half");
}

#[tokio::test(flavor = "multi_thread")]
async fn pushes_and_a_collector_that_never_rests_do_each_other_no_harm() {
    let (_folder, registry) = registry().await;
    let collector = tokio::spawn({
        let registry = registry.clone();
        async move {
            loop {
                // Everything is old for it; only pins and references hold.
                registry.collect(in_hours(3), HOUR).await.unwrap();
                tokio::task::yield_now().await;
            }
        }
    });
    for round in 0..25 {
        let blob = json!({ "round": round }).to_string();
        // A link that no manifest names yet is let go by this collector: then the push says so and begins again.
        let digest = loop {
            let image = image(&registry, &loan(), &blob).await;
            match push(&registry, &format!("1.0.{round}"), &image).await {
                Ok(digest) => break digest,
                Err(RepositoryError::Catalogue(CatalogueError::UnknownBlob(_))) => {}
                Err(error) => panic!("{error}"),
            }
        };
        let (_, bytes) = registry.read_manifest(&loan(), &Reference::Digest(digest)).await.unwrap();
        let image: Value = serde_json::from_slice(&bytes).unwrap();
        let layer = image["layers"][0]["digest"].as_str().unwrap().parse().unwrap();
        let layer = registry.blob(&loan(), layer).await.unwrap();
        assert_eq!(registry.read(&layer, 0..100).await.unwrap(), blob);
        if round % 2 == 1 {
            registry.delete_manifest(&loan(), &Reference::Digest(digest), change()).await.unwrap();
        }
    }
    collector.abort();
}

#[tokio::test]
async fn an_upload_belongs_to_its_repository() {
    let (_folder, registry) = registry().await;
    let upload = registry.begin(&loan(), change()).await.unwrap();
    for other in ["bank/other", "shop/loan"] {
        let found = registry.upload(&other.parse().unwrap(), upload.id()).await;
        assert!(matches!(found, Err(RepositoryError::UnknownUpload)), "{other}");
    }
    assert_eq!(registry.upload(&loan(), upload.id()).await.unwrap(), upload);
    assert!(
        !format!("{upload:?}").contains(&upload.id().to_string()),
        "who knows the name can go on with it"
    );

    registry.append(&upload, 0, Bytes::from_static(b"abc")).await.unwrap();
    let error = registry.finish(&upload, Digest::of(b"abd"), change()).await.unwrap_err();
    assert!(matches!(error, RepositoryError::Store(StoreError::DigestMismatch { .. })), "{error}");
    assert!(registry.upload(&loan(), upload.id()).await.is_err(), "a wrong digest ends the upload");
}

#[tokio::test]
async fn a_blob_is_mounted_from_where_it_is_and_from_nowhere_else() {
    let (_folder, registry) = registry().await;
    let digest = Digest::of(b"layer");
    let (loan, other, shop) = (loan(), "bank/other".parse().unwrap(), "shop/loan".parse().unwrap());
    put(&registry, &loan, "layer").await;
    let mount = |to, from, digest| registry.mount(to, from, digest, change());
    assert_eq!(mount(&other, Some(&shop), digest).await.unwrap(), None);
    assert_eq!(mount(&shop, None, digest).await.unwrap(), None, "another tenant's is not looked at");
    assert!(mount(&other, None, digest).await.unwrap().is_some());
    assert!(mount(&other, Some(&loan), digest).await.unwrap().is_some());
    let blob = registry.blob(&other, digest).await.unwrap();
    assert_eq!(registry.read(&blob, 0..100).await.unwrap(), "layer");
    assert_eq!(mount(&other, Some(&loan), Digest::of(b"none")).await.unwrap(), None);
}
