//! Programs that speak the protocols of object stores, over a folder, until they are dropped.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::time::Instant;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use object_store::ObjectStore;
use object_store::aws::AmazonS3Builder;
use object_store::azure::MicrosoftAzureBuilder;

use super::*;

/// An object store on loopback, with a bucket of the name `bucket`.
pub(super) struct Emulator {
    child: Child,
    pub(super) port: u16,
    pub(super) store: Arc<dyn ObjectStore>,
    _folder: tempfile::TempDir,
}

impl Drop for Emulator {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Azurite's only account, and its key, which everybody knows.
const ACCOUNT: &str = "devstoreaccount1";
const ACCOUNT_KEY: &str =
    "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==";

impl Emulator {
    /// A real S3: versitygw.
    pub(super) fn s3() -> Option<Self> {
        let program = go("versitygw", "github.com/versity/versitygw/cmd/versitygw@latest")?;
        let command = |port: u16, folder: &Path| {
            let mut command = Command::new(&program);
            command.args(["--access", "access", "--secret", "secret", "--region", "us-east-1"]);
            command.args(["--port", &format!("127.0.0.1:{port}"), "posix", "--sidecar"]);
            command.args([folder.join("meta"), folder.join("data")]);
            command
        };
        let store = |port: u16| {
            let store = AmazonS3Builder::new()
                .with_endpoint(format!("http://127.0.0.1:{port}"))
                .with_allow_http(true)
                .with_region("us-east-1")
                .with_bucket_name("bucket")
                .with_access_key_id("access")
                .with_secret_access_key("secret");
            Arc::new(store.build().unwrap()) as Arc<dyn ObjectStore>
        };
        Some(start(command, store))
    }

    /// What stands for Azure: Azurite, of the same maker.
    pub(super) fn azure() -> Option<Self> {
        let program = azurite()?;
        let command = |port: u16, folder: &Path| {
            let mut command = Command::new(&program);
            command.args(["--blobHost", "127.0.0.1", "--blobPort", &port.to_string(), "--silent"]);
            command.args(["--skipApiVersionCheck", "--disableTelemetry", "--location"]).arg(folder);
            command
        };
        let store = |port: u16| {
            let store = MicrosoftAzureBuilder::new()
                .with_endpoint(format!("http://127.0.0.1:{port}/{ACCOUNT}"))
                .with_allow_http(true)
                .with_account(ACCOUNT)
                .with_access_key(ACCOUNT_KEY)
                .with_container_name("bucket");
            Arc::new(store.build().unwrap()) as Arc<dyn ObjectStore>
        };
        let emulator = start(command, store);
        make_container(emulator.port);
        Some(emulator)
    }
}

/// Makes the container `bucket`, signed as <https://learn.microsoft.com/rest/api/storageservices/authorize-with-shared-key>
/// has it.
fn make_container(port: u16) {
    let (date, version) = ("Sun, 22 Nov 2026 12:00:00 GMT", "2023-11-03");
    let signed = format!(
        "PUT\n\n\n\n\n\n\n\n\n\n\n\nx-ms-date:{date}\nx-ms-version:{version}\n/{ACCOUNT}/{ACCOUNT}/bucket\nrestype:container"
    );
    let mut mac = Hmac::<sha2::Sha256>::new_from_slice(&STANDARD.decode(ACCOUNT_KEY).unwrap()).unwrap();
    mac.update(signed.as_bytes());
    let signature = STANDARD.encode(mac.finalize().into_bytes());
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    write!(
        stream,
        "PUT /{ACCOUNT}/bucket?restype=container HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nx-ms-date: {date}\r\n\
         x-ms-version: {version}\r\nAuthorization: SharedKey {ACCOUNT}:{signature}\r\nContent-Length: 0\r\n\
         Connection: close\r\n\r\n"
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 201 "), "{answer}");
}

/// Starts a program on a port that was free a moment ago. Should somebody else have taken it, the program ends, and
/// another port is tried.
fn start(command: impl Fn(u16, &Path) -> Command, store: impl Fn(u16) -> Arc<dyn ObjectStore>) -> Emulator {
    let folder = tempfile::tempdir().unwrap();
    for name in ["data/bucket", "meta"] {
        std::fs::create_dir_all(folder.path().join(name)).unwrap();
    }
    for _ in 0..5 {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut command = command(port, folder.path());
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let started = Instant::now();
        while child.try_wait().unwrap().is_none() && started.elapsed() < Duration::from_secs(60) {
            if TcpStream::connect(("127.0.0.1", port)).is_ok() {
                return Emulator { child, port, store: store(port), _folder: folder };
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        let _ = child.kill();
        let _ = child.wait();
        let mut said = String::new();
        child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
        println!("{command:?} did not start: {said}");
    }
    panic!("the object store does not start");
}

fn tools() -> PathBuf {
    let tools = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/tools");
    std::fs::create_dir_all(tools.join("bin")).unwrap();
    tools.canonicalize().unwrap()
}

/// A program in Go, built once if Go is there.
fn go(name: &str, package: &str) -> Option<PathBuf> {
    let bin = tools().join("bin");
    let mut command = Command::new("go");
    command.args(["install", package]).env("GOBIN", &bin).env("GOFLAGS", "-mod=mod").current_dir(&bin);
    installed(&bin.join(name), command)
}

fn azurite() -> Option<PathBuf> {
    let folder = tools().join("azurite");
    std::fs::create_dir_all(&folder).unwrap();
    let mut command = Command::new("npm");
    command.args(["install", "--no-fund", "--no-audit", "--loglevel=error", "--prefix"]).arg(&folder);
    command.arg("azurite");
    installed(&folder.join("node_modules/.bin/azurite-blob"), command)
}

/// The program, installed once. Only a machine that cannot have it may skip.
fn installed(program: &Path, mut install: Command) -> Option<PathBuf> {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _turn = ONE_AT_A_TIME.lock().unwrap();
    let name = program.file_name().unwrap().display();
    if program.exists() {
        return Some(program.into());
    }
    if std::env::var_os("VERDICT_FULL").is_none() {
        println!("skipped: {name} is installed in `make test-full` only, as that takes minutes");
        return None;
    }
    println!("installing {name} into target/tools (once; some minutes)");
    let Ok(mut install) = install.stdout(Stdio::null()).stderr(Stdio::null()).spawn() else {
        println!("skipped: {install:?} cannot be run");
        return None;
    };
    let started = Instant::now();
    while started.elapsed() < Duration::from_secs(400) {
        if let Some(status) = install.try_wait().unwrap() {
            if !status.success() {
                println!("skipped: installing {name} ended with {status}");
            }
            return status.success().then(|| program.into());
        }
        std::thread::sleep(Duration::from_millis(200));
    }
    let _ = install.kill();
    let _ = install.wait();
    println!("skipped: {name} was not installed within 400 seconds");
    None
}
