//! A real process puts, uploads and deletes in a real directory and is killed at any moment.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};

use super::*;

const FOLDER: &str = "VERDICT_TEST_STORE_TO_KILL";
const SEED: &str = "VERDICT_TEST_STORE_SEED";

/// What the process says it does and has done, one a line.
fn bytes(number: u64) -> Bytes {
    some(1 + number as usize * 7919 % 30_000, number)
}

fn open(folder: &Path) -> Blobs {
    on_directory(Directory::open(folder).unwrap(), Limits::default(), 4096)
}

/// Works on numbers of its own in four tasks and prints what it was told, until it is killed.
#[test]
fn process_to_kill() {
    let (Some(folder), Ok(seed)) = (std::env::var_os(FOLDER), std::env::var(SEED)) else { return };
    let (blobs, seed) = (open(Path::new(&folder)), seed.parse::<u64>().unwrap());
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap();
    let work = |task: u64| {
        let blobs = blobs.clone();
        async move {
            for number in (seed * 1_000_000 + task..).step_by(4) {
                let (bytes, digest) = (bytes(number), Digest::of(&bytes(number)));
                println!("\nmay {number}");
                if number % 3 == 0 {
                    let id = blobs.begin().await.unwrap();
                    println!("\nbegun {number} {id} 0");
                    for start in (0..bytes.len()).step_by(9_000) {
                        let chunk = bytes.slice(start..bytes.len().min(start + 9_000));
                        let end = blobs.append(&id, start as u64, chunk).await.unwrap();
                        println!("\nbegun {number} {id} {end}");
                    }
                    println!("\nending {number}");
                    blobs.finish(&id, digest).await.unwrap();
                } else {
                    blobs.put(digest, bytes).await.unwrap();
                }
                println!("\nis {number}");
                if number % 5 == 0 {
                    println!("\nmay {number}");
                    blobs.delete(digest).await.unwrap();
                    println!("\nisnot {number}");
                }
            }
        }
    };
    let tasks: Vec<_> = (0..4).map(|task| runtime.spawn(work(task))).collect();
    runtime.block_on(async { futures_of(tasks).await });
}

async fn futures_of(tasks: Vec<tokio::task::JoinHandle<()>>) {
    for task in tasks {
        task.await.unwrap();
    }
}

#[derive(Default)]
struct Said {
    /// None: either.
    blobs: BTreeMap<u64, Option<bool>>,
    uploads: BTreeMap<u64, (UploadId, u64)>,
    lines: usize,
}

impl Said {
    /// The last line may be cut by the kill.
    fn hear(&mut self, line: &str) {
        let words: Vec<&str> = line.split(' ').collect();
        let Some(number) = words.get(1).and_then(|number| number.parse().ok()) else { return };
        match words[..] {
            ["may", _] => _ = self.blobs.insert(number, None),
            ["is", _] => _ = self.blobs.insert(number, Some(true)),
            ["isnot", _] => _ = self.blobs.insert(number, Some(false)),
            ["ending", _] => _ = self.uploads.remove(&number),
            ["begun", _, id, end] => {
                let (Ok(id), Ok(end)) = (id.parse(), end.parse()) else { return };
                self.uploads.insert(number, (id, end));
            }
            _ => return,
        }
        self.lines += 1;
    }

    async fn check(&mut self, blobs: &Blobs) {
        for (number, (id, acknowledged)) in std::mem::take(&mut self.uploads) {
            let bytes = bytes(number);
            let offset = blobs.offset(&id).await.unwrap().unwrap();
            assert!(offset >= acknowledged, "{offset} of {acknowledged}");
            blobs.append(&id, offset, bytes.slice(offset as usize..)).await.unwrap();
            blobs.finish(&id, Digest::of(&bytes)).await.unwrap();
            self.blobs.insert(number, Some(true));
        }
        let mut expected: BTreeMap<Digest, u64> = BTreeMap::new();
        for (number, must) in &self.blobs {
            let bytes = bytes(*number);
            let digest = Digest::of(&bytes);
            let found = blobs.read(digest, u64::MAX).await.unwrap();
            assert!(must.is_none_or(|must| must == found.is_some()), "{number} {must:?}");
            if let Some(found) = found {
                assert_eq!(found, bytes);
                expected.insert(digest, bytes.len() as u64);
            }
        }
        let listed = blobs.list(None, usize::MAX).await.unwrap();
        let listed: BTreeMap<_, _> =
            listed.into_iter().map(|(digest, stored)| (digest, stored.bytes)).collect();
        assert_eq!(listed, expected);
    }
}

/// Runs the process until it has said enough, and kills it.
fn round(folder: &Path, seed: u64, mut enough: usize, said: &mut Said) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "store::tests::kill::process_to_kill", "--nocapture", "--test-threads=1"])
        .env(FOLDER, folder)
        .env(SEED, seed.to_string())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    for line in BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok) {
        said.hear(&line);
        enough = enough.saturating_sub(1);
        if enough == 0 {
            // What it said before it died is still to be read.
            child.kill().unwrap();
        }
    }
    child.wait().unwrap();
}

#[test]
fn nothing_acknowledged_is_lost_when_the_process_is_killed() {
    let folder = tempfile::tempdir().unwrap();
    let rounds = if std::env::var_os("VERDICT_FULL").is_some() { 300 } else { 20 };
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let (mut random, mut lines, mut kept) = (Random(1), 0, 0);
    for seed in 0..rounds {
        let mut said = Said::default();
        round(folder.path(), seed, 1 + random.below(200), &mut said);
        let blobs = open(folder.path());
        runtime.block_on(said.check(&blobs));
        lines += said.lines;
        // So that a long run stays as quick as a short one.
        for (digest, _) in runtime.block_on(blobs.list(None, usize::MAX)).unwrap() {
            assert!(runtime.block_on(blobs.delete(digest)).unwrap());
            kept += 1;
        }
    }
    assert!(kept > rounds as usize, "the process kept something in each round");
    println!("{rounds} kills after {lines} lines, {kept} blobs, none lost or in part");
}
