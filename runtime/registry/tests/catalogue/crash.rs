//! A process that is killed while it writes: what it said was committed is there, what it did not say is there whole
//! or not at all.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::Duration;

use sqlx::{Connection, Row, SqliteConnection};
use verdict_registry::catalogue::{Catalogue, DocumentName, EventKind, Limit, NewDocument, Put};

use crate::places::{Place, at, digest, write};
use crate::repositories::{loan, manifest};

const PLACE: &str = "VERDICT_TEST_CATALOGUE";

fn document(sequence: u64) -> NewDocument {
    NewDocument {
        name: DocumentName::channel(&loan(), "production").unwrap(),
        sequence,
        digest: digest(&sequence.to_string()),
        envelope: vec![b'x'; 20_000],
        issued: at(0),
        expires: at(60),
        refers: vec![digest("image")],
    }
}

/// One change of several tables: a blob, a manifest that names it, a document.
async fn step(catalogue: &Catalogue, sequence: u64) {
    let (blob, image) = (format!("blob {sequence}"), format!("image {sequence}"));
    let mut change = write(catalogue).await;
    let _ = change.ensure_tenant(loan().tenant()).await.unwrap();
    assert_eq!(change.link_blob(&loan(), digest(&blob), 1).await.unwrap(), Put::Created);
    assert_eq!(change.put_manifest(&loan(), &manifest(&image, &[&blob])).await.unwrap(), Put::Created);
    let _ = change.put_document(&document(sequence), sequence - 1).await.unwrap();
    change.commit().await.unwrap();
}

/// Not a test of its own: the process that is killed.
#[tokio::test]
async fn writes_until_it_is_killed() {
    let Ok(url) = std::env::var(PLACE) else { return };
    let catalogue = Catalogue::open(&url).await.unwrap();
    let newest = catalogue.document(&document(1).name).await.unwrap();
    for sequence in newest.map_or(1, |document| document.sequence + 1).. {
        step(&catalogue, sequence).await;
        // A pipe with a bound: whoever does not read stops the writer, and a closed one ends it.
        println!("committed {sequence}");
    }
}

/// Starts the writer, lets it commit at least `least` times and then go on for a moment, and kills it. The last sequence
/// that it said was committed.
fn killed_writer(place: &Place, least: usize, moment: Duration) -> u64 {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "crash::writes_until_it_is_killed", "--nocapture"])
        .env(PLACE, &place.url)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let sequence = |line: String| Some(line.split_once("committed ")?.1.parse::<u64>().unwrap());
    let mut said =
        lines.by_ref().map(Result::unwrap).filter_map(sequence).nth(least - 1).expect("the writer ends");
    std::thread::sleep(moment);
    child.kill().unwrap();
    child.wait().unwrap();
    // What was in the pipe was said too; the last line may have been cut.
    for line in lines.map_while(Result::ok) {
        said = line
            .split_once("committed ")
            .and_then(|(_, number)| number.parse().ok())
            .unwrap_or(said)
            .max(said);
    }
    said
}

async fn assert_whole(place: &Place, said: u64) -> u64 {
    let mut connection = SqliteConnection::connect(&place.url).await.unwrap();
    let check = sqlx::query("PRAGMA integrity_check").fetch_one(&mut connection).await.unwrap();
    assert_eq!(check.get::<String, _>(0), "ok");
    let broken = sqlx::query("PRAGMA foreign_key_check").fetch_all(&mut connection).await.unwrap();
    assert!(broken.is_empty());
    connection.close().await.unwrap();

    let catalogue = place.open().await;
    let newest = catalogue.document(&document(1).name).await.unwrap().unwrap().sequence;
    assert!(newest == said || newest == said + 1, "{said} was acknowledged, {newest} is there");
    let mut after = 0;
    let mut documents = 0;
    loop {
        let events = catalogue.events_after(after, None, Limit::new(1_000)).await.unwrap();
        let Some(last) = events.last() else { break };
        assert_eq!(last.seq, after + events.len() as u64, "a gap");
        after = last.seq;
        documents += events.iter().filter(|event| event.kind == EventKind::ChannelChanged).count() as u64;
    }
    assert_eq!(documents, newest, "each document has its event and each event its document");
    for sequence in 1..=newest {
        let image = digest(&format!("image {sequence}"));
        assert!(catalogue.manifest(&loan(), image).await.unwrap().is_some());
        assert_eq!(
            catalogue.document_at(&document(1).name, sequence).await.unwrap().unwrap().envelope.len(),
            20_000
        );
    }
    let beyond = digest(&format!("blob {}", newest + 1));
    assert_eq!(catalogue.blob(&loan(), beyond).await.unwrap(), None, "a change is there in part");
    catalogue.close().await;
    newest
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_that_was_acknowledged_is_lost_to_kill_9() {
    let rounds = if std::env::var_os("VERDICT_FULL").is_some() { 100 } else { 10 };
    let place = Place::sqlite();
    let mut newest = 0;
    for round in 0..rounds {
        let moment = Duration::from_micros(round * 737 % 5_000);
        let said = killed_writer(&place, 1 + round as usize % 5, moment);
        assert!(said > newest);
        newest = assert_whole(&place, said).await;
    }
}
