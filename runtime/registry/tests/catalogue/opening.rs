use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection, SqliteConnection};
use verdict_registry::catalogue::{Catalogue, CatalogueError, Limit};

use crate::places::{Place, write};

/// Runs a statement past the catalogue, as somebody with the database in hand would.
pub(crate) async fn meddle(place: &Place, statement: &str) {
    let statement = AssertSqlSafe(statement.to_owned());
    if place.is_postgres {
        PgConnection::connect(&place.url).await.unwrap().execute(statement).await.unwrap();
    } else {
        SqliteConnection::connect(&place.url).await.unwrap().execute(statement).await.unwrap();
    }
}

on_both! {
    async fn several_that_open_a_new_database_at_once_migrate_it_once(place) {
        let opened = (0..4).map(|_| {
            let url = place.url.clone();
            tokio::spawn(async move { Catalogue::open(&url).await.unwrap() })
        });
        for catalogue in opened.collect::<Vec<_>>() {
            assert_eq!(catalogue.await.unwrap().event_head().await.unwrap(), 0);
        }
    }

    async fn what_was_written_is_there_when_it_is_opened_again(place) {
        let catalogue = place.open().await;
        let mut change = write(&catalogue).await;
        change.create_tenant(&"bank".parse().unwrap(), "a bank").await.unwrap();
        assert_eq!(change.commit().await.unwrap(), 1);
        catalogue.close().await;
        assert!(catalogue.event_head().await.is_err(), "closed");

        let tenant = place.open().await.tenant(&"bank".parse().unwrap()).await.unwrap().unwrap();
        assert_eq!(tenant.description, "a bank");
    }

    async fn a_database_of_a_newer_version_is_refused(place) {
        place.open().await.close().await;
        meddle(&place, "INSERT INTO migrations (number, digest) SELECT max(number) + 1, 'new' FROM migrations").await;
        let refused = Catalogue::open(&place.url).await.unwrap_err();
        assert!(matches!(refused, CatalogueError::Newer { found, known } if found == known + 1), "{refused}");
    }

    async fn a_database_whose_migration_was_another_text_is_refused(place) {
        place.open().await.close().await;
        let other = verdict_core::digest::Digest::of(b"another text");
        meddle(&place, &format!("UPDATE migrations SET digest = '{other}' WHERE number = 1")).await;
        let refused = Catalogue::open(&place.url).await.unwrap_err();
        assert!(matches!(refused, CatalogueError::Altered(1)), "{refused}");
    }

    async fn a_row_that_somebody_else_wrote_is_an_error_and_not_a_panic(place) {
        let catalogue = place.open().await;
        meddle(&place, "INSERT INTO tenants (name, description, created_ms, etag) VALUES ('../etc', '', 0, 1)").await;
        let error = catalogue.tenants(None, Limit::default()).await.unwrap_err();
        assert!(matches!(error, CatalogueError::Corrupt { what: "tenant" }), "{error}");
        meddle(&place, "UPDATE tenants SET name = 'etc', created_ms = 9223372036854775807").await;
        let error = catalogue.tenants(None, Limit::default()).await.unwrap_err();
        assert!(matches!(error, CatalogueError::Corrupt { what: "time" }), "{error}");
    }

    async fn a_change_that_is_dropped_leaves_nothing_and_nobody_waiting(place) {
        let catalogue = place.open().await;
        let tenant = "bank".parse().unwrap();
        let mut change = write(&catalogue).await;
        change.create_tenant(&tenant, "").await.unwrap();
        drop(change);
        let mut change = write(&catalogue).await;
        change.create_tenant(&tenant, "").await.unwrap();
        assert_eq!(change.commit().await.unwrap(), 1, "the first one's event number was given back");
    }

    async fn readers_see_the_state_before_a_change_until_it_is_committed(place) {
        let catalogue = place.open().await;
        let tenant = "bank".parse().unwrap();
        let mut change = write(&catalogue).await;
        change.create_tenant(&tenant, "").await.unwrap();
        assert_eq!(catalogue.tenant(&tenant).await.unwrap(), None);
        change.commit().await.unwrap();
        assert!(catalogue.tenant(&tenant).await.unwrap().is_some());
    }
}

#[tokio::test]
async fn an_address_of_another_kind_is_refused_without_repeating_its_password() {
    for url in [
        "mysql://root:hunter2@host/db",
        "postgres://user:hunter2@host:port/db",
        "sqlite:",
        "sqlite::memory:",
        "",
    ] {
        let error = Catalogue::open(url).await.unwrap_err();
        assert!(matches!(error, CatalogueError::Address), "{url}: {error}");
        assert!(!format!("{error} {error:?}").contains("hunter2"), "{url}");
    }
}

#[tokio::test]
async fn a_database_that_cannot_be_reached_is_an_error_without_its_password() {
    let error = Catalogue::open("postgres://user:hunter2@localhost/db?host=/nonexistent").await.unwrap_err();
    assert!(matches!(error, CatalogueError::Database(_) | CatalogueError::Busy), "{error}");
    assert!(!format!("{error} {error:?}").contains("hunter2"));
    let error = Catalogue::open("sqlite:/nonexistent/catalogue.db").await.unwrap_err();
    assert!(matches!(error, CatalogueError::Database(_)), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn speaks_tls_to_postgres_and_checks_its_certificate() {
    let Some(server) = crate::places::Tls::start() else { return };
    let trusted = server.url(&format!("sslmode=verify-full&sslrootcert={}", server.certificate().display()));
    let catalogue = Catalogue::open(&trusted).await.unwrap();
    assert_eq!(catalogue.event_head().await.unwrap(), 0);
    let unknown = Catalogue::open(&server.url("sslmode=verify-full")).await.unwrap_err();
    assert!(matches!(unknown, CatalogueError::Database(_)), "{unknown}");
}
