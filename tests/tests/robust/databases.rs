//! A database that dies under load, and comes back.

use std::io::{Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, chown};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, sleep};
use std::time::{Duration, Instant};

use serde_json::Value;
use verdict_tests::server::text;

use crate::bank::Bank;
use crate::client::while_asking;
use crate::disks::{ask, wait_for};

/// `nobody`: PostgreSQL does not start as root.
const NOBODY: u32 = 65_534;

/// A PostgreSQL of this test, on a socket in its folder.
struct Postgres {
    folder: tempfile::TempDir,
    binaries: PathBuf,
    is_root: bool,
}

impl Postgres {
    /// None where the machine has none.
    fn new() -> Option<Self> {
        let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
        let folders = versions.map(|version| version.path().join("bin"));
        let mut folders = folders.chain([Path::new("/usr/local/bin").into()]);
        let Some(binaries) = folders.find(|folder| folder.join("initdb").exists()) else {
            eprintln!("skipped: neither /usr/local/bin nor /usr/lib/postgresql/*/bin has initdb");
            return None;
        };
        let folder = tempfile::Builder::new().prefix("verdict-pg-").tempdir().unwrap();
        let is_root = std::fs::metadata("/proc/self").unwrap().uid() == 0;
        if is_root {
            chown(folder.path(), Some(NOBODY), Some(NOBODY)).unwrap();
        }
        let postgres = Self { folder, binaries, is_root };
        postgres
            .run("initdb", &["-U", "verdict", "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8", "--no-sync"]);
        postgres.start();
        Some(postgres)
    }

    fn run(&self, program: &str, arguments: &[&str]) {
        let mut command = Command::new("timeout");
        command.arg("120");
        if self.is_root {
            let identity = [format!("--reuid={NOBODY}"), format!("--regid={NOBODY}")];
            command.arg("setpriv").args(identity).arg("--clear-groups");
        }
        command.arg(self.binaries.join(program)).args(["-D", text(&self.folder.path().join("data"))]);
        command.args(arguments).current_dir(self.folder.path());
        let status = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
        assert!(status.unwrap().success(), "{program} fails");
    }

    fn start(&self) {
        let options = format!("-k {} -c listen_addresses=", text(self.folder.path()));
        let log = self.folder.path().join("log");
        self.run("pg_ctl", &["-l", text(&log), "-w", "-t", "60", "-o", &options, "start"]);
    }

    /// As if it had crashed.
    fn die(&self) {
        self.run("pg_ctl", &["-m", "immediate", "-w", "-t", "30", "stop"]);
    }

    fn url(&self) -> String {
        format!("postgres://verdict@localhost/postgres?host={}", self.folder.path().display())
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        if self.folder.path().join("data/postmaster.pid").exists() && !thread::panicking() {
            self.die();
        } else if let Ok(id) = std::fs::read_to_string(self.folder.path().join("data/postmaster.pid")) {
            // Nothing may fail here.
            let _ = Command::new("kill").args(["-QUIT", id.lines().next().unwrap_or_default()]).status();
        }
    }
}

/// One request on a connection of its own over a socket.
fn over(socket: &Path, method: &str, path: &str, body: &str) -> (u16, Value) {
    let mut stream = UnixStream::connect(socket).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(90))).unwrap();
    let length = body.len();
    let head =
        format!("{method} {path} HTTP/1.1\r\nhost: h\r\nconnection: close\r\ncontent-type: application/json");
    stream.write_all(format!("{head}\r\ncontent-length: {length}\r\n\r\n{body}").as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head[9..12].parse().unwrap(), serde_json::from_str(body).unwrap_or(Value::Null))
}

/// Creates tenants until it is told to stop: what was acknowledged, and how much could not be done.
fn create(socket: &Path, stop: &AtomicBool, made: &Mutex<Vec<String>>) -> usize {
    let (mut number, mut refused) = (0, 0);
    while !stop.load(Ordering::Relaxed) {
        number += 1;
        let name = format!("t-{number}");
        let (status, answer) = over(socket, "POST", "/v1/tenants", &format!(r#"{{"name": "{name}"}}"#));
        match status {
            201 => made.lock().unwrap().push(name),
            503 => {
                assert_eq!(
                    (&answer["status"], answer["type"].is_string()),
                    (&Value::from(503), true),
                    "{answer}"
                );
                refused += 1;
            }
            _ => panic!("{status} {answer}"),
        }
    }
    refused
}

/// Waits until so many more tenants were made.
fn wait_for_more(made: &Mutex<Vec<String>>) {
    let (began, before) = (Instant::now(), made.lock().unwrap().len());
    while made.lock().unwrap().len() < before + 5 {
        assert!(began.elapsed() < Duration::from_secs(90), "nothing more is made");
        sleep(Duration::from_millis(20));
    }
}

#[test]
fn decisions_go_on_without_a_database_and_what_it_had_acknowledged_is_there_when_it_is_back() {
    let Some(postgres) = Postgres::new() else { return };
    let bank = Bank::new();
    let release = bank.publish_answer("1.0.0", "true");
    bank.activate(1, &release);
    let (url, store, socket) = (postgres.url(), bank.path("store"), bank.path("glass"));
    let more = ["--registry", &url, "--store", text(&store), "--break-glass", text(&socket)];
    let server = bank.serve(&more);
    let (stop, made) = (AtomicBool::new(false), Mutex::new(Vec::new()));
    let (decided, refused) = while_asking(&server.address, 2, ask, || {
        thread::scope(|scope| {
            let creating = scope.spawn(|| create(&socket, &stop, &made));
            for _ in 0..2 {
                wait_for_more(&made);
                postgres.die();
                let ready = wait_for(&server, 503);
                assert_eq!(ready["recording"], true, "{ready}");
                assert_eq!(over(&socket, "GET", "/v1/tenants", "").0, 503);
                assert_eq!(server.get("/health/live").0, 200);
                postgres.start();
                wait_for(&server, 200);
            }
            wait_for_more(&made);
            stop.store(true, Ordering::Relaxed);
            creating.join().unwrap()
        })
    });
    assert!(decided.len() > 10 && decided.iter().all(Option::is_some), "every question had its answer");
    let made = made.into_inner().unwrap();
    for name in &made {
        assert_eq!(over(&socket, "GET", &format!("/v1/tenants/{name}"), "").0, 200, "`{name}` is lost");
    }
    println!(
        "{} decisions; {} tenants made, {refused} times it was told that it cannot",
        decided.len(),
        made.len()
    );
    assert!(server.stop());
}
