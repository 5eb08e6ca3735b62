use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use sqlx::postgres::PgListener;
use sqlx::{Connection, Executor, PgConnection, Row};
use verdict_core::name::Tenant;
use verdict_registry::catalogue::{Catalogue, EventKind, Limit};

use crate::places::{change, digest, write};

/// Far longer than anything takes: only a failure waits for it.
const PATIENCE: Duration = Duration::from_secs(60);

async fn report(catalogue: &Catalogue, subject: &str) -> u64 {
    let mut write = write(catalogue).await;
    let _ = write.report(None, subject, None, BTreeMap::new()).await.unwrap();
    write.commit().await.unwrap()
}

on_both! {
    async fn an_event_tells_who_did_what_when_and_in_which_course(place) {
        let catalogue = place.open().await;
        let mut write = catalogue.write(change("bob")).await.unwrap();
        write.create_tenant(&"bank".parse().unwrap(), "").await.unwrap();
        let detail: BTreeMap<_, _> = [("reason".to_owned(), "does not load".to_owned())].into();
        let _ = write.report(None, "host-1", Some(digest("image")), detail.clone()).await.unwrap();
        write.commit().await.unwrap();
        let events = catalogue.events_after(0, None, Limit::default()).await.unwrap();
        let [first, second] = events.as_slice() else { panic!("{events:?}") };
        assert_eq!((first.seq, first.kind, first.subject.as_str()), (1, EventKind::TenantCreated, "bank"));
        assert_eq!((first.actor.as_str(), first.correlation.as_str()), ("bob", "test"));
        assert_eq!((first.at, first.tenant.as_ref().map(Tenant::as_str)), (change("").at, Some("bank")));
        assert_eq!((second.seq, second.kind, second.digest), (2, EventKind::HostReported, Some(digest("image"))));
        assert_eq!((&second.tenant, &second.detail), (&None, &detail));
        assert_eq!(catalogue.event_head().await.unwrap(), 2);
    }

    async fn a_tenant_reads_its_own_events_and_those_of_all(place) {
        let catalogue = place.open().await;
        let mut write = write(&catalogue).await;
        for tenant in ["bank", "rival"] {
            write.create_tenant(&tenant.parse().unwrap(), "").await.unwrap();
        }
        let _ = write.report(None, "everyone", None, BTreeMap::new()).await.unwrap();
        write.commit().await.unwrap();
        let events = catalogue.events_after(0, Some(&"bank".parse().unwrap()), Limit::default()).await.unwrap();
        assert_eq!(events.iter().map(|event| event.subject.as_str()).collect::<Vec<_>>(), ["bank", "everyone"]);
    }

    async fn a_reader_skips_no_event_of_many_writers(place) {
        const WRITERS: usize = 6;
        const EACH: usize = 15;
        let writers: Vec<_> = (0..WRITERS)
            .map(|writer| {
                let url = place.url.clone();
                tokio::spawn(async move {
                    let catalogue = Catalogue::open(&url).await.unwrap();
                    for number in 0..EACH {
                        // Every other change is given up after it has numbered its events.
                        let mut write = crate::places::write(&catalogue).await;
                        let _ = write.report(None, "given up", None, BTreeMap::new()).await.unwrap();
                        tokio::task::yield_now().await;
                        drop(write);
                        report(&catalogue, &format!("{writer}/{number}")).await;
                    }
                })
            })
            .collect();
        let reader = place.open().await;
        let (mut last, mut subjects) = (0, Vec::new());
        while subjects.len() < WRITERS * EACH {
            let events = reader.wait_for_events(last, None, Limit::new(7), PATIENCE).await.unwrap();
            assert!(!events.is_empty(), "only {} events", subjects.len());
            for event in events {
                assert_eq!(event.seq, last + 1, "an event was skipped or came late");
                last = event.seq;
                subjects.push(event.subject);
            }
        }
        for writer in writers {
            writer.await.unwrap();
        }
        let expected: BTreeSet<_> =
            (0..WRITERS).flat_map(|writer| (0..EACH).map(move |number| format!("{writer}/{number}"))).collect();
        assert_eq!(subjects.iter().cloned().collect::<BTreeSet<_>>(), expected);
        // Each writer's are in the order in which it wrote them.
        for writer in 0..WRITERS {
            let own = subjects.iter().filter_map(|subject| subject.strip_prefix(&format!("{writer}/")));
            let own: Vec<usize> = own.map(|number| number.parse().unwrap()).collect();
            assert_eq!(own, (0..EACH).collect::<Vec<_>>());
        }
        assert_eq!(reader.event_head().await.unwrap(), (WRITERS * EACH) as u64);
    }

    async fn one_that_waits_hears_of_what_this_and_another_process_commit(place) {
        let (here, there) = (place.open().await, place.open().await);
        for (number, writer) in (1..).zip([&here, &there, &there]) {
            let waiting = tokio::spawn({
                let here = here.clone();
                async move { here.wait_for_events(number - 1, None, Limit::default(), PATIENCE).await }
            });
            tokio::task::yield_now().await;
            assert_eq!(report(writer, "news").await, number);
            let events = waiting.await.unwrap().unwrap();
            assert_eq!(events.iter().map(|event| event.seq).collect::<Vec<_>>(), [number]);
        }
    }

    async fn a_generation_ends_with_a_change_of_this_and_of_another_process(place) {
        let (here, there) = (place.open().await, place.open().await);
        let began = std::time::Instant::now();
        let known = loop {
            // It begins to ask with the first who wants to know, and until it was told, nothing is known.
            if let Some(generation) = here.generation() {
                break generation;
            }
            assert!(began.elapsed() < PATIENCE);
            tokio::time::sleep(Duration::from_millis(5)).await;
        };
        for _ in 0..20 {
            let before = here.generation().unwrap();
            report(&here, "ours").await;
            assert_ne!(here.generation(), Some(before), "at once");
        }
        // What the database tells late may change the number, but never back.
        let before = here.generation().unwrap();
        assert!(before >= known + 20);
        report(&there, "theirs").await;
        let theirs = there.event_head().await.unwrap();
        while here.wait_for_events(theirs - 1, None, Limit::default(), PATIENCE).await.unwrap().is_empty()
            || here.generation().is_none_or(|generation| generation <= before)
        {
            assert!(began.elapsed() < PATIENCE);
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    async fn one_that_missed_events_catches_up_and_one_without_news_gives_up(place) {
        let catalogue = place.open().await;
        let none = catalogue.wait_for_events(0, None, Limit::default(), Duration::from_millis(1)).await.unwrap();
        assert!(none.is_empty());
        for _ in 0..5 {
            report(&catalogue, "missed").await;
        }
        let events = catalogue.wait_for_events(1, None, Limit::new(3), PATIENCE).await.unwrap();
        assert_eq!(events.iter().map(|event| event.seq).collect::<Vec<_>>(), [2, 3, 4]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_whose_connections_are_cut_hears_of_what_comes_after() {
    let Some(place) = crate::places::Place::postgres().await else { return };
    let (reader, writer) = (place.open().await, place.open().await);
    report(&writer, "before").await;
    assert_eq!(reader.wait_for_events(0, None, Limit::default(), PATIENCE).await.unwrap().len(), 1);
    let cut = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
               WHERE datname = current_database() AND pid <> pg_backend_pid()";
    PgConnection::connect(&place.url).await.unwrap().execute(cut).await.unwrap();
    // A connection that was cut is found out when it is taken from the pool.
    report(&writer, "after").await;
    let events = reader.wait_for_events(1, None, Limit::default(), PATIENCE).await.unwrap();
    assert_eq!(events.iter().map(|event| event.subject.as_str()).collect::<Vec<_>>(), ["after"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgres_is_told_of_a_commit_and_those_who_wait_listen() {
    let Some(place) = crate::places::Place::postgres().await else { return };
    let catalogue = place.open().await;
    let mut listener = PgListener::connect(&place.url).await.unwrap();
    listener.listen("verdict_events").await.unwrap();
    let seq = report(&catalogue, "news").await;
    let told = tokio::time::timeout(PATIENCE, listener.recv()).await.unwrap().unwrap();
    assert_eq!(told.payload(), seq.to_string());

    let none =
        catalogue.wait_for_events(seq, None, Limit::default(), Duration::from_millis(1)).await.unwrap();
    assert!(none.is_empty());
    let mut connection = PgConnection::connect(&place.url).await.unwrap();
    let listening = "SELECT count(*) FROM pg_stat_activity \
                     WHERE datname = current_database() AND query LIKE 'LISTEN \"verdict_events\"%'";
    let both = async {
        while sqlx::query(listening).fetch_one(&mut connection).await.unwrap().get::<i64, _>(0) < 2 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, both).await.expect("the catalogue listens too");
}
