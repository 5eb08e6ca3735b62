//! A real process appends to a real directory and is killed at any moment; whatever it said it had recorded is there.

mod ledger_support;

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

use ledger_support::{Random, Told, check, config, key};
use verdict_ledger::{DirStorage, Ledger, LogName};

const FOLDER: &str = "VERDICT_TEST_LEDGER_TO_KILL";
const ROUNDS: usize = 15;

fn open(folder: &Path) -> Ledger {
    let mut config = config();
    config.checkpoint_interval = std::time::Duration::from_millis(5);
    Ledger::open(Arc::new(DirStorage::open(folder).unwrap()), key(), config).unwrap()
}

/// What the entry with this number is made of.
fn leaf(log: &LogName, number: u64) -> Vec<u8> {
    format!("{log} {number} ").repeat(1 + number as usize % 40).into_bytes()
}

/// Appends from four threads and prints each acknowledged entry, until it is killed.
#[test]
fn process_to_kill() {
    let Some(folder) = std::env::var_os(FOLDER) else { return };
    let ledger = open(Path::new(&folder));
    let append = |thread: u64| {
        let log: LogName = ["a", "b"][thread as usize % 2].parse().unwrap();
        for number in (thread..).step_by(4) {
            let index = ledger.append(&log, leaf(&log, number), b"evidence").wait().unwrap();
            println!("\nrecorded {log} {index} {number}");
        }
    };
    std::thread::scope(|scope| {
        for thread in 0..4 {
            scope.spawn(move || append(thread));
        }
    });
}

#[test]
fn nothing_printed_is_lost_when_the_process_is_killed() {
    let folder = tempfile::tempdir().unwrap();
    let (mut random, mut recorded) = (Random(1), BTreeMap::new());
    for round in 0..ROUNDS {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "process_to_kill", "--nocapture", "--test-threads=1"])
            .env(FOLDER, folder.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
        let mut enough = 1 + random.below(150);
        for line in lines {
            let words: Vec<&str> = line.split(' ').collect();
            let ["recorded", log, index, number] = words[..] else { continue };
            // The last line may be cut in the middle by the kill; what follows the kill is still what it said before.
            let (Ok(index), Ok(number)) = (index.parse::<u64>(), number.parse::<u64>()) else { continue };
            recorded.insert((log.parse::<LogName>().unwrap(), index), number);
            enough = enough.saturating_sub(1);
            if enough == 0 {
                child.kill().unwrap();
                break;
            }
        }
        child.kill().unwrap();
        child.wait().unwrap();
        let ledger = open(folder.path());
        for ((log, index), number) in &recorded {
            assert_eq!(ledger.leaf(log, *index).unwrap(), leaf(log, *number), "round {round}");
        }
        ledger.publish().unwrap();
        check(&ledger, &Told::default(), &[]);
    }
    assert!(recorded.len() > ROUNDS, "the process recorded something in each round");
    println!("{ROUNDS} kills, {} acknowledged entries, none lost", recorded.len());
}
