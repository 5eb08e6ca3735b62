//! What a host in the same process is served.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tokio::runtime::Handle;
use tokio::task::spawn_blocking;
use verdict_core::artifact;
use verdict_core::digest::Digest;
use verdict_core::name::Tenant;
use verdict_core::refusal::RefusalCode;
use verdict_core::trust::{Anchor, Roots, Seen, TrustPolicy};
use verdict_registry::Source as _;
use verdict_registry::served::{self, Served};

use crate::bank::{
    ALICE, BOB, Bank, Built, ROOT, bank as tenant, channel, envelope, key, loan, revocations, trust,
};
use crate::places::{at, change};

/// Long enough for everything that is waited for to happen, and not waited for.
const PATIENCE: Duration = Duration::from_secs(30);
const MOMENT: Duration = Duration::from_millis(300);

fn served(bank: &Bank) -> Arc<Served> {
    Arc::new(Served::new(bank.registry.clone(), Handle::current()))
}

on_both! {
    async fn a_host_gets_everything_that_decides(place) {
        let bank = Bank::open(&place).await;
        bank.put(bank.publisher.trust(&trust(2, &[ROOT]), at(0)).await).await.unwrap();
        bank.put(bank.publisher.revocations(&revocations(2, json!({})), at(0)).await).await.unwrap();
        let built = bank.publish("1.0.0").await;
        let old = bank.put_data(1, b"{\"old\":1}").await;
        bank.put_data(2, b"{\"unnamed\":1}").await;
        let newest = bank.put_data(3, b"{}").await;
        bank.activate("staging", &["1.0.0"]).await.unwrap();
        let pinned =
            verdict_registry::publish::Activation { data: Some(old), ..crate::bank::activation(&["1.0.0"]) };
        bank.activate("production", &["1.0.0"]).await.unwrap();
        bank.put(bank.publisher.activation(&loan(), &channel("production"), &pinned, at(0)).await)
            .await
            .unwrap();

        let source = served(&bank);
        let (documents, artifact, content, foreign, unnamed) = spawn_blocking(move || {
            let shop: Tenant = "shop".parse().unwrap();
            (
                source.documents().unwrap(),
                source.artifact(&loan(), &built.image()).unwrap(),
                source.data(&tenant(), &newest, 100).unwrap(),
                source.data(&shop, &newest, 100).unwrap_err().code,
                source.data(&tenant(), &newest, 1).unwrap_err().code,
            )
        })
        .await
        .unwrap();
        let chain: Vec<&[u8]> = documents.trust.iter().map(Vec::as_slice).collect();
        let roots = Roots::new(vec![key(ROOT).public()], 1).unwrap();
        let policy =
            TrustPolicy::verify_signed(&chain, Anchor::Roots(&roots), &Seen::default(), at(0)).unwrap();
        assert_eq!((policy.version(), chain.len()), (2, 2));
        assert_eq!(documents.revocations, Some(revocations(2, json!({}))));
        assert_eq!(
            (documents.channels.len(), documents.data.len()),
            (2, 2),
            "the newest of each, and the named one"
        );
        let verified = artifact::verify(artifact, &policy, at(0)).unwrap();
        assert_eq!(verified.manifest().version.to_string(), "1.0.0");
        assert_eq!(
            (content.as_slice(), foreign, unnamed),
            (b"{}".as_slice(), RefusalCode::Unreadable, RefusalCode::TooLarge)
        );
    }

    async fn a_tenant_gets_its_own_channels_and_data_only(place) {
        let bank = Bank::open(&place).await;
        bank.publish("1.0.0").await;
        bank.put_data(1, b"{}").await;
        bank.activate("staging", &["1.0.0"]).await.unwrap();
        let (event, own) = served::documents(bank.catalogue(), Some(&tenant())).await.unwrap();
        assert_eq!((own.channels.len(), own.data.len(), event), (1, 1, bank.head().await));
        let shop = "shop".parse().unwrap();
        let (_, other) = served::documents(bank.catalogue(), Some(&shop)).await.unwrap();
        assert_eq!((other.channels.len(), other.data.len()), (0, 0));
        assert_eq!((other.trust, other.revocations), (own.trust, own.revocations));
    }

    async fn an_image_is_served_from_its_own_repository_with_statements_of_ours_alone(place) {
        let bank = Bank::open(&place).await;
        let built = bank.publish("1.0.0").await;
        bank.push_statement(&built, b"junk").await.unwrap();
        bank.push_statement(&built, &envelope("text/plain", b"junk", &[BOB])).await.unwrap();
        let artifact = served::artifact(&bank.registry, &loan(), built.image()).await.unwrap();
        let mut statements = artifact.statements.clone();
        statements.sort();
        let mut expected = [built.statement(ALICE), built.approval(BOB)];
        expected.sort();
        assert_eq!(
            (statements.as_slice(), artifact.component),
            (expected.as_slice(), built.component.clone())
        );
        for (policy, image) in
            [("bank/other", built.image()), ("shop/loan", built.image()), ("bank/loan", Digest::of(b""))]
        {
            let refusal =
                served::artifact(&bank.registry, &policy.parse().unwrap(), image).await.unwrap_err();
            assert_eq!(refusal.code, RefusalCode::Unreadable, "{policy}");
        }
        let config = Built { manifest: b"{\"schemaVersion\":2}".to_vec(), ..built };
        assert!(bank.push_image_as(&config, "config").await.is_err());
    }

    async fn a_wait_ends_with_a_change_that_concerns_hosts(place) {
        let bank = Bank::open(&place).await;
        bank.publish("1.0.0").await;
        let source = served(&bank);
        let waiting = {
            let source = Arc::clone(&source);
            spawn_blocking(move || {
                source.documents().unwrap();
                source.wait(PATIENCE);
                source.documents().unwrap().channels.len()
            })
        };
        // Whether it comes before the documents are read, between, or while the host waits.
        bank.activate("staging", &["1.0.0"]).await.unwrap();
        assert_eq!(waiting.await.unwrap(), 1);

        let head = bank.head().await;
        let mut write = bank.write().await;
        write.create_tenant(&"shop".parse().unwrap(), "").await.unwrap();
        write.commit().await.unwrap();
        bank.publish("2.0.0").await;
        let (after, changed) = served::wait(bank.catalogue(), head, None, MOMENT).await.unwrap();
        assert_eq!(
            (after, changed),
            (bank.head().await, false),
            "new tenants, images and statements are nothing to a host"
        );
        bank.activate("staging", &["1.0.0"]).await.unwrap();
        let (after, changed) = served::wait(bank.catalogue(), head, None, PATIENCE).await.unwrap();
        assert_eq!((after, changed), (bank.head().await, true));
    }

    async fn a_change_by_another_process_ends_a_wait_too(place) {
        let bank = Bank::open(&place).await;
        bank.publish("1.0.0").await;
        let head = bank.head().await;
        let catalogue = bank.catalogue().clone();
        let waiting =
            tokio::spawn(async move { served::wait(&catalogue, head, None, PATIENCE).await.unwrap() });
        let ready = bank
            .publisher
            .activation(&loan(), &channel("staging"), &crate::bank::activation(&["1.0.0"]), at(0))
            .await
            .unwrap();
        // Another connection to the same database, as another process has it.
        let elsewhere = place.open().await;
        let mut write = elsewhere.write(change("rita")).await.unwrap();
        ready.put(&mut write, None).await.unwrap();
        write.commit().await.unwrap();
        assert_eq!(waiting.await.unwrap(), (head + 1, true));
    }
}
