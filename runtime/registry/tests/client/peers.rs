//! Programs that nobody here wrote: Debian's `docker-registry`, which lists no referrers, the registry of
//! go-containerregistry, which does, and its client `crane`. What cannot be had is skipped, and said.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// How long a registry may take until it listens.
const START_TIME: Duration = Duration::from_secs(20);

/// A registry that runs until it is dropped.
pub(crate) struct Registry {
    child: Child,
    pub(crate) address: SocketAddr,
    _folder: tempfile::TempDir,
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Registry {
    /// The reference to something in it.
    pub(crate) fn reference(&self, rest: &str) -> String {
        format!("{}/{rest}", self.address)
    }

    /// A request without a body: the status and what follows the head.
    pub(crate) fn get(&self, path: &str) -> (u16, String) {
        self.request("GET", path, "application/vnd.oci.image.index.v1+json", b"")
    }

    /// A request with a body.
    pub(crate) fn request(&self, method: &str, path: &str, media_type: &str, body: &[u8]) -> (u16, String) {
        let mut stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(START_TIME)).unwrap();
        let head = format!(
            "{method} {path} HTTP/1.0\r\nhost: {}\r\naccept: {media_type}\r\ncontent-type: {media_type}\r\n\
             content-length: {}\r\n\r\n",
            self.address,
            body.len()
        );
        stream.write_all(head.as_bytes()).unwrap();
        stream.write_all(body).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
    }
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap()
}

fn tools() -> PathBuf {
    root().join("target/tools")
}

/// Debian's package, installed or unpacked below `target/tools`.
fn docker_registry_binary() -> Option<&'static Path> {
    static BINARY: OnceLock<Option<PathBuf>> = OnceLock::new();
    BINARY.get_or_init(find_docker_registry).as_deref()
}

fn find_docker_registry() -> Option<PathBuf> {
    let runs = |path: &Path| {
        let version =
            Command::new(path).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
        version.is_ok_and(|status| status.success())
    };
    let installed = PathBuf::from("docker-registry");
    let unpacked = tools().join("docker-registry/usr/bin/docker-registry");
    if let Some(found) = [installed, unpacked.clone()].into_iter().find(|path| runs(path)) {
        return Some(found);
    }
    let script = "mkdir -p \"$1/deb-registry\" && cd \"$1/deb-registry\" \
        && timeout 120 apt-get download docker-registry && dpkg -x docker-registry_*.deb ../docker-registry";
    let got = Command::new("sh").args(["-c", script, "sh"]).arg(tools()).output();
    if got.is_ok_and(|output| output.status.success()) && runs(&unpacked) {
        return Some(unpacked);
    }
    println!("skipped: the Debian package `docker-registry` cannot be had here");
    None
}

/// Debian's registry with more settings; `FOLDER` in them is its own folder, with these files.
pub(crate) fn docker_registry(http: &str, settings: &str, files: &[(&str, &[u8])]) -> Option<Registry> {
    let binary = docker_registry_binary()?;
    let folder = tempfile::tempdir().unwrap();
    for (name, bytes) in files {
        std::fs::write(folder.path().join(name), bytes).unwrap();
    }
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let settings = format!(
        "version: 0.1\nlog:\n  level: error\nstorage:\n  filesystem:\n    rootdirectory: FOLDER/data\n\
         http:\n  addr: {address}\n{http}{settings}"
    );
    let settings = settings.replace("FOLDER", &folder.path().display().to_string());
    let path = folder.path().join("config.yml");
    std::fs::write(&path, settings).unwrap();
    let child = Command::new(binary)
        .arg("serve")
        .arg(path)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let registry = Registry { child, address, _folder: folder };
    let deadline = Instant::now() + START_TIME;
    while TcpStream::connect(address).is_err() {
        assert!(Instant::now() < deadline, "docker-registry does not listen");
        std::thread::sleep(Duration::from_millis(20));
    }
    Some(registry)
}

/// Debian's registry as it comes.
pub(crate) fn plain_docker_registry() -> Option<Registry> {
    docker_registry("", "", &[])
}

/// The folder with the programs of the Go module beside this file, built once.
fn go_programs() -> Option<&'static Path> {
    static BUILT: OnceLock<Option<PathBuf>> = OnceLock::new();
    BUILT.get_or_init(build_go_programs).as_deref()
}

fn build_go_programs() -> Option<PathBuf> {
    let source = root().join("runtime/registry/tests/client/peer");
    let out = tools().join("registry-peer");
    std::fs::create_dir_all(&out).unwrap();
    let built = Command::new("timeout")
        .args(["300", "go", "build", "-o"])
        .arg(format!("{}/", out.display()))
        .args([".", "github.com/google/go-containerregistry/cmd/crane"])
        .current_dir(source)
        .output();
    let (ok, why) = match built {
        Ok(output) => (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned()),
        Err(error) => (false, error.to_string()),
    };
    if ok {
        return Some(out);
    }
    println!("skipped: go-containerregistry cannot be built here: {why}");
    None
}

/// A registry that lists referrers; with `user`, one that wants a token, which it issues to `NAME:PASSWORD`.
pub(crate) fn referrers_registry(user: Option<&str>) -> Option<Registry> {
    let binary = go_programs()?.join("peer");
    let mut child = Command::new(binary).args(user).stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let address = line.trim().parse().unwrap();
    Some(Registry { child, address, _folder: tempfile::tempdir().unwrap() })
}

/// Runs `crane` in a folder; what it prints.
pub(crate) fn crane(folder: &Path, arguments: &[&str]) -> Option<String> {
    let output = Command::new("timeout")
        .arg("60")
        .arg(go_programs()?.join("crane"))
        .args(arguments)
        .current_dir(folder)
        .env("DOCKER_CONFIG", folder)
        .output()
        .unwrap();
    assert!(output.status.success(), "crane {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    Some(String::from_utf8(output.stdout).unwrap().trim().to_owned())
}
