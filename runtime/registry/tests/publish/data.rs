//! Data: contents of a tenant, and the snapshots that name them.

use std::time::Duration;

use serde_json::json;
use verdict_core::digest::Digest;
use verdict_core::name::Tenant;
use verdict_core::refusal::RefusalCode;
use verdict_core::time::Timestamp;
use verdict_registry::catalogue::Put;
use verdict_registry::publish::{DATA_BYTES_MAX, DataUpload, PublishError};
use verdict_registry::repository::RepositoryError;
use verdict_registry::store::StoreError;

use crate::bank::{
    Bank, DINA, RITA, bank as tenant, channel, code, loan, revocations, signed, snapshot, state,
};
use crate::places::{at, change};

const CONTENT: &[u8] = br#"{"limits":{"loan":10000}}"#;

async fn upload(bank: &Bank, tenant: &Tenant) -> DataUpload {
    bank.publisher.begin_data(tenant, change("dina")).await.unwrap()
}

async fn put_content(bank: &Bank, tenant: &Tenant, content: &[u8]) {
    let mut upload = upload(bank, tenant).await;
    for piece in content.chunks(7) {
        upload.append(piece).await.unwrap();
    }
    upload.finish(Digest::of(content)).await.unwrap();
}

/// The machine's own time, by which blobs are old, and so many hours.
fn in_hours(hours: i64) -> Timestamp {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    Timestamp::from_millis(since.as_millis() as i64 + hours * 3_600_000).unwrap()
}

on_both! {
    async fn a_snapshot_comes_after_its_content(place) {
        let bank = Bank::open(&place).await;
        let first = snapshot("bank", 1, CONTENT, &[DINA]);
        let error = bank.publisher.data(&tenant(), &first, at(0)).await.unwrap_err();
        assert!(matches!(error, PublishError::NoContent { .. }), "{error}");
        put_content(&bank, &tenant(), CONTENT).await;
        assert!(bank.publisher.data_content(&tenant(), Digest::of(CONTENT)).await.unwrap().is_none());
        assert_eq!(
            code(bank.publisher.data(&tenant(), &snapshot("bank", 1, CONTENT, &[RITA]), at(0)).await),
            RefusalCode::UnknownSigner
        );
        let shop: Tenant = "shop".parse().unwrap();
        assert_eq!(code(bank.publisher.data(&shop, &first, at(0)).await), RefusalCode::WrongDocument);
        let published = bank.put(bank.publisher.data(&tenant(), &first, at(0)).await).await.unwrap();
        assert_eq!((published.put, published.sequence), (Put::Created, 1));

        let blob = bank.publisher.data_content(&tenant(), Digest::of(CONTENT)).await.unwrap().unwrap();
        assert_eq!(bank.registry.read(&blob, 0..blob.bytes()).await.unwrap(), CONTENT);
        // The same content once more need not be brought again.
        let second = snapshot("bank", 2, CONTENT, &[DINA]);
        bank.put(bank.publisher.data(&tenant(), &second, at(0)).await).await.unwrap();
    }

    async fn a_tenant_names_only_what_it_has_brought_itself(place) {
        let bank = Bank::open(&place).await;
        bank.put_data(1, CONTENT).await;
        let shop: Tenant = "shop".parse().unwrap();
        let stolen = snapshot("shop", 1, CONTENT, &[DINA]);
        let error = bank.publisher.data(&shop, &stolen, at(0)).await.unwrap_err();
        assert!(matches!(error, PublishError::NoContent { .. }), "{error}");
        assert!(bank.publisher.data_content(&shop, Digest::of(CONTENT)).await.unwrap().is_none());
        // An upload that says a digest and brings something else gives nothing.
        let mut lie = upload(&bank, &shop).await;
        lie.append(b"{}").await.unwrap();
        let error = lie.finish(Digest::of(CONTENT)).await.unwrap_err();
        let mismatch = |error: &PublishError| {
            matches!(
                error,
                PublishError::Repository(RepositoryError::Store(StoreError::DigestMismatch { .. }))
            )
        };
        assert!(mismatch(&error), "{error}");
        assert!(bank.publisher.data(&shop, &stolen, at(0)).await.is_err());
    }

    async fn a_content_is_one_json_object_of_the_size_that_is_signed(place) {
        let bank = Bank::open(&place).await;
        for content in [b"[1]".as_slice(), b"{\"a\":", b"\xff", b"{} {}"] {
            put_content(&bank, &tenant(), content).await;
            let envelope = snapshot("bank", 1, content, &[DINA]);
            assert_eq!(code(bank.publisher.data(&tenant(), &envelope, at(0)).await), RefusalCode::WrongData);
        }
        put_content(&bank, &tenant(), CONTENT).await;
        let text = json!({
            "tenant": "bank", "sequence": 1, "issued": at(0), "expires": at(60), "digest": Digest::of(CONTENT), "bytes": 3,
        });
        let shorter: verdict_core::trust::DataSnapshot = serde_json::from_value(text).unwrap();
        let envelope = signed(&shorter, &[DINA]);
        assert_eq!(code(bank.publisher.data(&tenant(), &envelope, at(0)).await), RefusalCode::WrongData);
    }

    async fn a_revoked_content_is_not_put_again(place) {
        let bank = Bank::open(&place).await;
        bank.put_data(1, CONTENT).await;
        let digests = json!({"digests": [Digest::of(CONTENT)]});
        bank.put(bank.publisher.revocations(&revocations(2, digests), at(0)).await).await.unwrap();
        let again = snapshot("bank", 2, CONTENT, &[DINA]);
        assert_eq!(code(bank.publisher.data(&tenant(), &again, at(0)).await), RefusalCode::Revoked);
    }

    async fn a_channel_may_name_an_older_snapshot(place) {
        let bank = Bank::open(&place).await;
        let release = bank.publish("1.0.0").await.release();
        let old = bank.put_data(1, CONTENT).await;
        bank.put_data(2, b"{}").await;
        let first = signed(&state("production", 1, &[&release], json!({"data": old})), &[RITA]);
        bank.put(bank.publisher.channel(&loan(), &channel("production"), &first, at(0)).await).await.unwrap();
    }

    async fn a_content_is_kept_while_it_waits_and_for_good_when_it_is_named(place) {
        let bank = Bank::open(&place).await;
        let (named, waits) = (CONTENT, b"{\"waits\":true}");
        let hour = Duration::from_secs(3_600);
        let now = in_hours(0);
        let change = |at| verdict_registry::catalogue::Change { at, ..change("dina") };
        for content in [named, waits] {
            let mut upload = bank.publisher.begin_data(&tenant(), change(now)).await.unwrap();
            upload.append(content).await.unwrap();
            upload.finish(Digest::of(content)).await.unwrap();
        }
        bank.registry.collect(in_hours(20), hour).await.unwrap();
        for content in [named, waits] {
            assert!(bank.registry.blobs().size(Digest::of(content)).await.unwrap().is_some());
        }
        let envelope = snapshot("bank", 1, named, &[DINA]);
        bank.put(bank.publisher.data(&tenant(), &envelope, at(0)).await).await.unwrap();
        bank.registry.collect(in_hours(30), hour).await.unwrap();
        assert!(bank.registry.blobs().size(Digest::of(named)).await.unwrap().is_some());
        assert!(bank.registry.blobs().size(Digest::of(waits)).await.unwrap().is_none(), "a day is over");
    }

    async fn a_content_that_no_host_would_read_is_refused_while_it_comes(place) {
        let bank = Bank::open(&place).await;
        let mut upload = upload(&bank, &tenant()).await;
        let piece = vec![b' '; 32 << 20];
        let mut taken = 0;
        let error = loop {
            match upload.append(&piece).await {
                Ok(()) => taken += piece.len() as u64,
                Err(error) => break error,
            }
        };
        assert_eq!(taken, DATA_BYTES_MAX);
        assert!(
            matches!(error, PublishError::Repository(RepositoryError::Store(StoreError::TooLarge { .. }))),
            "{error}"
        );
    }
}
