//! Where the tests keep their catalogues: SQLite files, and databases of a PostgreSQL that the tests start themselves.

use std::io::{BufRead, BufReader, Read, Write as _};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};
use verdict_core::digest::Digest;
use verdict_core::time::Timestamp;
use verdict_registry::catalogue::{Catalogue, Change, Write};

/// A place for one catalogue, which can be opened several times, as by several processes.
pub(crate) struct Place {
    pub(crate) url: String,
    pub(crate) is_postgres: bool,
    _folder: Option<tempfile::TempDir>,
}

impl Place {
    pub(crate) async fn open(&self) -> Catalogue {
        Catalogue::open(&self.url).await.unwrap()
    }

    pub(crate) fn sqlite() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite:{}", folder.path().join("catalogue.db").display());
        Self { url, is_postgres: false, _folder: Some(folder) }
    }

    /// A new database; none, and a message, where there is no PostgreSQL.
    pub(crate) async fn postgres() -> Option<Self> {
        static SERVER: OnceLock<Option<Server>> = OnceLock::new();
        static DATABASES: AtomicU32 = AtomicU32::new(0);
        let server = SERVER.get_or_init(|| Server::start(None)).as_ref()?;
        let name = format!("t{}", DATABASES.fetch_add(1, Ordering::Relaxed));
        let mut connection = PgConnection::connect(&server.url("postgres")).await.unwrap();
        let create = format!("CREATE DATABASE {name} TEMPLATE template0");
        connection.execute(AssertSqlSafe(create)).await.unwrap();
        connection.close().await.unwrap();
        Some(Self { url: server.url(&name), is_postgres: true, _folder: None })
    }
}

/// A PostgreSQL that speaks TLS, with a certificate that only it knows.
pub(crate) struct Tls(Server, u16);

impl Tls {
    /// None, and a message, where there is no PostgreSQL or no `openssl`.
    pub(crate) fn start() -> Option<Self> {
        if Command::new("openssl").arg("version").output().is_err() {
            let mut uncaptured = std::io::stderr();
            writeln!(uncaptured, "TLS to PostgreSQL is not tested: there is no `openssl`").unwrap();
            return None;
        }
        // Free a moment ago; a program that takes it meanwhile makes the test fail, and say so.
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        Some(Self(Server::start(Some(port))?, port))
    }

    /// The database by TCP, and what else its address says.
    pub(crate) fn url(&self, more: &str) -> String {
        format!("postgres://verdict@localhost:{}/postgres?{more}", self.1)
    }

    pub(crate) fn certificate(&self) -> PathBuf {
        self.0.folder.join("cert.pem")
    }
}

/// One test body, run on a new catalogue in each of the databases.
macro_rules! on_both {
    ($($(#[$about:meta])* async fn $name:ident($place:ident) $body:block)+) => {$(
        mod $name {
            #[allow(unused_imports)]
            use super::*;

            $(#[$about])*
            async fn body($place: crate::places::Place) $body

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn on_sqlite() {
                body(crate::places::Place::sqlite()).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn on_postgres() {
                if let Some(place) = crate::places::Place::postgres().await {
                    body(place).await;
                }
            }
        }
    )+};
}

/// A PostgreSQL of this process. A shell that waits for the end of its input stops it and removes its folder, however
/// this process ends.
struct Server {
    folder: PathBuf,
    _shell: Child,
    _input: ChildStdin,
}

/// Sorts like people do, unless the machine's PostgreSQL has no ICU: a catalogue that relied on the order of the
/// database's own collation would then fail its tests.
const SCRIPT: &str = r#"
trap '' INT TERM HUP
finish() { "$BIN/pg_ctl" -D "$FOLDER/data" -m immediate -w -t 30 stop >/dev/null 2>&1; cd /; rm -rf "$FOLDER"; }
make() { timeout 120 "$BIN/initdb" -D "$FOLDER/data" -U verdict -A trust -E UTF8 --no-sync "$@" >"$FOLDER/log" 2>&1; }
cd "$FOLDER"
listen='-c listen_addresses='
if [ -n "$TLS_PORT" ]; then # a certificate of its own making
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=localhost \
    -addext subjectAltName=DNS:localhost -addext basicConstraints=CA:FALSE -keyout "$FOLDER/key.pem" -out "$FOLDER/cert.pem" >"$FOLDER/log" 2>&1 \
    || { cat "$FOLDER/log" >&2; finish; exit 1; }
  listen="-c listen_addresses=localhost -p $TLS_PORT -c ssl=on -c ssl_cert_file=$FOLDER/cert.pem -c ssl_key_file=$FOLDER/key.pem"
fi
make --locale=C.UTF-8 --locale-provider=icu --icu-locale=en-US || { rm -rf "$FOLDER/data"; make --locale=C.UTF-8; } \
  || { cat "$FOLDER/log" >&2; finish; exit 1; }
timeout 90 "$BIN/pg_ctl" -D "$FOLDER/data" -l "$FOLDER/log" -w -t 60 \
  -o "-k $FOLDER $listen -c max_connections=200 -c fsync=off" start >/dev/null 2>&1 \
  || { cat "$FOLDER/log" >&2; finish; exit 1; }
echo ready
cat >/dev/null
finish
"#;
/// `nobody`: PostgreSQL does not start as root.
const NOBODY: u32 = 65_534;

impl Server {
    /// Listens on a socket in its folder, and with TLS on a port if one is given.
    fn start(tls_port: Option<u16>) -> Option<Self> {
        let Some(binaries) = binaries() else {
            // Not by a macro, whose output the test harness would keep to itself.
            let why = "neither /usr/local/bin nor /usr/lib/postgresql/*/bin has initdb and pg_ctl";
            let mut uncaptured = std::io::stderr();
            writeln!(uncaptured, "the tests on PostgreSQL are skipped: {why}").unwrap();
            return None;
        };
        // The shell removes it.
        let folder = tempfile::Builder::new().prefix("verdict-pg-").tempdir().unwrap().keep();
        let is_root = std::fs::metadata("/proc/self").unwrap().uid() == 0;
        let mut command = if is_root {
            std::os::unix::fs::chown(&folder, Some(NOBODY), Some(NOBODY)).unwrap();
            let mut command = Command::new("setpriv");
            command.args([format!("--reuid={NOBODY}"), format!("--regid={NOBODY}")]);
            command.args(["--clear-groups", "sh", "-c", SCRIPT]);
            command
        } else {
            let mut command = Command::new("sh");
            command.args(["-c", SCRIPT]);
            command
        };
        let tls_port = tls_port.map(|port| port.to_string()).unwrap_or_default();
        command.env("BIN", binaries).env("FOLDER", &folder).env("TLS_PORT", tls_port);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut shell = command.spawn().unwrap();
        let input = shell.stdin.take().unwrap();
        let mut line = String::new();
        BufReader::new(shell.stdout.take().unwrap()).read_line(&mut line).unwrap();
        if line != "ready\n" {
            let mut log = String::new();
            shell.stderr.take().unwrap().read_to_string(&mut log).unwrap();
            panic!("PostgreSQL does not start:\n{log}");
        }
        Some(Self { folder, _shell: shell, _input: input })
    }

    fn url(&self, database: &str) -> String {
        format!("postgres://verdict@localhost/{database}?host={}", self.folder.display())
    }
}

fn binaries() -> Option<PathBuf> {
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let folders = versions.map(|version| version.path().join("bin"));
    let has_both = |folder: &PathBuf| folder.join("initdb").exists() && folder.join("pg_ctl").exists();
    folders.chain([Path::new("/usr/local/bin").into()]).find(has_both)
}

/// A time, so many seconds after one that never changes.
pub(crate) fn at(seconds: i64) -> Timestamp {
    Timestamp::from_millis(1_780_000_000_000 + seconds * 1_000).unwrap()
}

pub(crate) fn change(actor: &str) -> Change {
    Change { actor: actor.into(), correlation: "test".into(), at: at(0) }
}

pub(crate) async fn write(catalogue: &Catalogue) -> Write {
    catalogue.write(change("alice")).await.unwrap()
}

pub(crate) fn digest(text: &str) -> Digest {
    Digest::of(text.as_bytes())
}
