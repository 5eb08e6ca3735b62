//! A disk that is full, and one that is slow, under load.

use std::fs::File;
use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::Value;
use verdict_tests::server::{Server, text};

use crate::bank::Bank;
use crate::client::{Client, while_asking};
use crate::log;

const DECIDE: &str = "/v1/tenants/bank/policies/loan/decide";
const PATIENCE: Duration = Duration::from_secs(60);

/// Mounts a small disk at the path that comes first, which nobody else sees, and becomes what comes after it.
const MOUNT: &str = r#"mount -t tmpfs -o size=16m,mode=0700 tmpfs "$0" && exec "$@""#;

/// The program that gives another a small disk of its own; none where the machine does not let us.
fn with_disk(path: &Path) -> Option<Vec<&str>> {
    let ways = ["--mount", "-Urm"].map(|way| vec!["unshare", way, "sh", "-c", MOUNT, text(path)]);
    let works = |way: &Vec<&str>| {
        let tried = Command::new(way[0]).args(&way[1..]).arg("true").stderr(Stdio::null()).status();
        tried.is_ok_and(|status| status.success())
    };
    let found = ways.into_iter().find(works);
    if found.is_none() {
        eprintln!("skipped: this machine lets us mount no disk of our own (unshare)");
    }
    found
}

/// Fills a disk to the last byte.
fn fill(path: &Path) {
    let mut file = File::create(path).unwrap();
    for block in [1 << 16, 1] {
        loop {
            match file.write_all(&vec![0; block]) {
                Ok(()) => {}
                Err(error) if error.kind() == ErrorKind::StorageFull => break,
                Err(error) => panic!("{error}"),
            }
        }
    }
}

/// Waits for what `/health/ready` says.
pub(crate) fn wait_for(server: &Server, wanted: u16) -> Value {
    let began = Instant::now();
    loop {
        let (status, told) = server.get("/health/ready");
        if status == wanted {
            return told;
        }
        assert!(began.elapsed() < PATIENCE, "it is not {wanted}: {told}");
        sleep(Duration::from_millis(20));
    }
}

/// Asks, and notes the id of what was told, and nothing where it could not be recorded. There is nothing else.
pub(crate) fn ask(_: usize, client: &mut Client, told: &mut Vec<Option<String>>) {
    let (status, answer) = client.post(DECIDE, r#"{"input": {}}"#);
    match status {
        200 => told.push(Some(answer["decision_id"].as_str().unwrap().to_owned())),
        503 => {
            assert_eq!(answer["error"]["code"], "not-recorded", "{answer}");
            told.push(None);
        }
        _ => panic!("{status} {answer}"),
    }
}

fn check_told(server: &Server, told: &[Option<String>]) {
    let answered: Vec<_> = told.iter().flatten().collect();
    let records = log::records(server, "bank", answered.iter().map(|id| id.as_str()));
    // Some may be in the log that nobody was told of: its caller heard that it is not known to be.
    println!(
        "{} told, {} refused, {} in the log",
        answered.len(),
        told.len() - answered.len(),
        records.len()
    );
}

fn bank() -> Bank {
    let bank = Bank::new();
    let release = bank.publish_answer("1.0.0", "true");
    bank.activate(1, &release);
    std::fs::create_dir(bank.path("state")).unwrap();
    bank
}

#[test]
fn a_full_disk_stops_decisions_and_once_there_is_room_they_go_on_with_nothing_lost() {
    let bank = bank();
    let state = bank.path("state");
    let Some(program) = with_disk(&state) else { return };
    let server = bank.serve_by(&program, &[]);
    // Its disk, as the server sees it.
    let seen = PathBuf::from(format!("/proc/{}/root", server.id())).join(state.strip_prefix("/").unwrap());
    assert!(seen.join("keys").exists() && !state.join("keys").exists());
    let filler = seen.join("filler");
    let (told, ()) = while_asking(&server.address, 4, ask, || {
        for _ in 0..3 {
            server.get("/v1/policies");
            sleep(Duration::from_millis(300));
            fill(&filler);
            let ready = wait_for(&server, 503);
            assert_eq!(ready["ready"], false, "{ready}");
            assert_eq!(server.get("/health/live").0, 200);
            // What is there can be read.
            assert_eq!(server.get("/v1/policies").1["policies"][0]["policy"], "bank/loan");
            sleep(Duration::from_millis(300));
            std::fs::remove_file(&filler).unwrap();
            wait_for(&server, 200);
        }
        let mut made = Vec::new();
        ask(0, &mut Client::new(&server.address), &mut made);
        assert!(made[0].is_some(), "it answers again");
    });
    assert!(told.iter().any(Option::is_some) && told.iter().any(Option::is_none));
    check_told(&server, &told);
    assert!(server.stop());
}

/// Every sync takes a tenth of a second longer.
const SLOW: &str = r#"
#define _GNU_SOURCE
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
static void wait_a_bit(void) { struct timespec time = {0, 100000000}; nanosleep(&time, 0); }
int fsync(int file) { wait_a_bit(); return syscall(SYS_fsync, file); }
int fdatasync(int file) { wait_a_bit(); return syscall(SYS_fdatasync, file); }
"#;

#[test]
fn a_slow_disk_makes_answers_late_and_none_fail() {
    let bank = bank();
    let (source, library) = (bank.path("slow.c"), bank.path("slow.so"));
    std::fs::write(&source, SLOW).unwrap();
    let compiled =
        Command::new("cc").args(["-shared", "-fPIC", "-o", text(&library), text(&source)]).status();
    assert!(compiled.is_ok_and(|status| status.success()), "there is a C compiler, which crates need too");
    let preload = format!("LD_PRELOAD={}", text(&library));
    let server = bank.serve_by(&[&preload], &[]);
    let maps = std::fs::read_to_string(format!("/proc/{}/maps", server.id())).unwrap();
    assert!(maps.contains("slow.so"), "the syncs of the server are slow");
    let (told, ()) = while_asking(&server.address, 64, ask, || {
        for _ in 0..20 {
            assert_eq!(server.get("/health/live").0, 200);
            assert_eq!(server.get("/health/ready").0, 200);
            sleep(Duration::from_millis(100));
        }
    });
    assert!(told.len() >= 64 && told.iter().all(Option::is_some), "{} were told", told.len());
    check_told(&server, &told);
    assert!(server.stop());
}
