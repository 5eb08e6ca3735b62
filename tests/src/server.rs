//! The real `verdict` command, policies built and signed by it, and servers that it runs.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::OnceLock;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use serde_json::Value;

/// No step of a test waits longer.
const PATIENCE: Duration = Duration::from_secs(60);

/// The checkout.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new(".")).into()
}

/// The `verdict` command, built from this checkout.
///
/// # Panics
/// When it cannot be built.
pub fn binary() -> PathBuf {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| built("verdict-cli", "verdict")).clone()
}

/// A program of a package, built from this checkout in the profile of the test.
///
/// # Panics
/// When it cannot be built.
pub fn built(package: &str, program: &str) -> PathBuf {
    let test = std::env::current_exe().expect("a test has a path");
    // A test is in `target/PROFILE/deps`, a program in `target/PROFILE`.
    let folder = test.parent().expect("a program is in a folder");
    let profile =
        folder.ancestors().nth(usize::from(folder.ends_with("deps"))).expect("that has a parent").to_owned();
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or("cargo".into()));
    cargo.args(["build", "--quiet", "-p", package]).current_dir(root());
    let optimised = ["dist", "release"].into_iter().find(|name| profile.ends_with(name));
    if let Some(name) = optimised {
        cargo.args(["--profile", name]);
    } else {
        // Together their dependencies have the features that they have in the tests, and are compiled once.
        cargo.args(["-p", "verdict-cli", "-p", "verdict-sdk"]);
    }
    assert!(cargo.status().expect("cargo runs").success(), "`{package}` does not build");
    profile.join(program)
}

/// Runs `verdict` with these arguments.
///
/// # Panics
/// When it cannot be started.
pub fn verdict(arguments: &[&str]) -> Output {
    Command::new(binary())
        .args(arguments)
        // Guests of all test programs share what they depend on.
        .env("CARGO_TARGET_DIR", root().join("target/test-guests"))
        .stdin(Stdio::null())
        .output()
        .expect("`verdict` runs")
}

/// Runs `verdict`, which must succeed, and returns what it printed.
///
/// # Panics
/// When it fails.
pub fn verdict_ok(arguments: &[&str]) -> String {
    let output = verdict(arguments);
    let (out, error) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "`verdict {}` failed: {out}{error}", arguments.join(" "));
    out.into_owned()
}

/// A program, with its own process id, on certain cores of the machine only, as `taskset` names them. What it starts
/// threads for, it counts those cores.
pub fn pinned(cores: &str, program: &Path) -> Command {
    let mut command = Command::new("taskset");
    command.args(["-c", cores]).arg(program);
    command
}

/// A path as an argument.
///
/// # Panics
/// When it is not UTF-8.
pub fn text(path: &Path) -> &str {
    path.to_str().expect("test paths are UTF-8")
}

/// The policies of the library, built once a run of a test program; each an OCI layout without a signature.
///
/// # Panics
/// When one does not build.
pub fn library() -> PathBuf {
    static LIBRARY: OnceLock<PathBuf> = OnceLock::new();
    LIBRARY
        .get_or_init(|| {
            // Test programs run one after the other, and each has a folder of its own.
            let test = std::env::current_exe().expect("a test has a path");
            let out =
                root().join("target/test-policies").join(test.file_name().expect("a program has a name"));
            let _ = std::fs::remove_dir_all(&out);
            for folder in
                std::fs::read_dir(root().join("guest-policies/library")).expect("there is a library")
            {
                let folder = folder.expect("it can be read").path();
                if folder.join("policy.toml").exists() {
                    let name = folder.file_name().expect("a folder has a name");
                    verdict_ok(&["build", text(&folder), "--out", text(&out.join(name))]);
                }
            }
            out
        })
        .clone()
}

/// Copies a folder.
///
/// # Panics
/// When it cannot.
pub fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("a folder can be made");
    for entry in std::fs::read_dir(from).expect("the folder can be read") {
        let entry = entry.expect("the folder can be read");
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).expect("a file can be copied");
        }
    }
}

/// A folder with keys, signed policies, data and a state folder.
#[derive(Debug)]
pub struct Site {
    folder: tempfile::TempDir,
}

impl Site {
    /// A site with the policies of the library that are named, signed by its own author.
    ///
    /// # Panics
    /// When a step fails.
    pub fn new(policies: &[&str]) -> Self {
        let site = Self { folder: tempfile::tempdir().expect("a folder can be made") };
        verdict_ok(&["keys", "new", "--out", text(&site.path("keys")), "--person", "alice"]);
        std::fs::create_dir_all(site.path("policies")).expect("a folder can be made");
        for name in policies {
            copy(&library().join(name), &site.path(&format!("policies/{name}")));
            site.sign(name);
        }
        let data = root().join("guest-policies/library/role-based-access/data.json");
        std::fs::create_dir_all(site.path("data")).expect("a folder can be made");
        std::fs::copy(data, site.path("data/default.json")).expect("the data can be copied");
        site
    }

    /// Signs the policy in the folder with this name.
    ///
    /// # Panics
    /// When it fails.
    pub fn sign(&self, name: &str) {
        let folder = self.path(&format!("policies/{name}"));
        verdict_ok(&["sign", text(&folder), "--key", text(&self.path("keys/author.key"))]);
    }

    /// A path in the site.
    pub fn path(&self, path: &str) -> PathBuf {
        self.folder.path().join(path)
    }

    /// Starts a server on a free loopback port, with more arguments.
    pub fn serve(&self, more: &[&str]) -> Server {
        Server::start(self, "127.0.0.1:0", more)
    }

    /// The same on certain cores of the machine only, as `taskset` names them.
    pub fn serve_on(&self, cores: &str, more: &[&str]) -> Server {
        let mut command = pinned(cores, &binary());
        Server::run(command.args(self.arguments("127.0.0.1:0", more)), 1, &self.path("server.log"))
    }

    /// The arguments that start a server on this site.
    pub fn arguments(&self, listen: &str, more: &[&str]) -> Vec<String> {
        let mut arguments: Vec<String> = ["serve", text(&self.path("policies"))].map(Into::into).into();
        for (flag, path) in [("--trust", "keys/trust.json"), ("--state", "state"), ("--data", "data")] {
            arguments.extend([flag.into(), text(&self.path(path)).into()]);
        }
        arguments.extend(["--listen".into(), listen.into()]);
        arguments.extend(more.iter().map(ToString::to_string));
        arguments
    }
}

/// A running server. Ended when dropped.
#[derive(Debug)]
pub struct Server {
    child: Child,
    /// Where it listens first, as `IP:PORT` or `unix:PATH`.
    pub address: String,
    /// Everywhere it listens, in the order that was asked for.
    pub addresses: Vec<String>,
}

impl Server {
    /// Starts a server and waits until it listens.
    ///
    /// # Panics
    /// When it does not within a minute.
    pub fn start(site: &Site, listen: &str, more: &[&str]) -> Self {
        Self::spawn(&site.arguments(listen, more), &site.path("server.log"))
    }

    /// The same, on a free loopback port and with variables of the environment.
    ///
    /// # Panics
    /// When it does not within a minute.
    pub fn start_with(site: &Site, more: &[&str], variables: &[(&str, &str)]) -> Self {
        Self::spawn_with(&site.arguments("127.0.0.1:0", more), variables, &site.path("server.log"))
    }

    /// Starts a server of a registry alone, which it keeps in a folder.
    ///
    /// # Panics
    /// When it does not listen within a minute.
    pub fn registry(folder: &Path, more: &[&str]) -> Self {
        let (catalogue, store) = (folder.join("catalogue.db"), folder.join("store"));
        let mut arguments: Vec<String> =
            ["serve", "--listen", "127.0.0.1:0", "--registry"].map(Into::into).into();
        arguments.extend([text(&catalogue), "--store", text(&store)].map(Into::into));
        arguments.extend(more.iter().map(ToString::to_string));
        Self::spawn(&arguments, &folder.join("server.log"))
    }

    /// Starts a server with these arguments of `verdict`, by a program that becomes it (see `env`), and waits until it
    /// listens.
    ///
    /// # Panics
    /// When it does not within a minute.
    pub fn by(program: &[&str], arguments: &[String], log: &Path) -> Self {
        let wanted = arguments.iter().filter(|argument| *argument == "--listen").count();
        Self::run(Command::new("env").args(program).arg(binary()).args(arguments), wanted, log)
    }

    /// Starts `verdict` with these arguments, and waits until it listens at every address that they name.
    ///
    /// # Panics
    /// When it does not within a minute.
    pub fn spawn(arguments: &[String], log: &Path) -> Self {
        Self::spawn_with(arguments, &[], log)
    }

    fn spawn_with(arguments: &[String], variables: &[(&str, &str)], log: &Path) -> Self {
        let wanted = arguments.iter().filter(|argument| *argument == "--listen").count();
        let mut command = Command::new(binary());
        Self::run(command.args(arguments).envs(variables.iter().copied()), wanted, log)
    }

    /// Runs a command that is to listen at so many addresses.
    fn run(command: &mut Command, wanted: usize, log: &Path) -> Self {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(std::fs::File::create(log).expect("a file can be made"))
            .spawn()
            .expect("`verdict` runs");
        let out = child.stdout.take().expect("it was asked for");
        let (sender, lines) = mpsc::channel();
        std::thread::spawn(move || {
            for line in BufReader::new(out).lines().map_while(Result::ok) {
                let _ = sender.send(line);
            }
        });
        let deadline = Instant::now() + PATIENCE;
        let mut addresses = Vec::new();
        while let Ok(line) = lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            addresses.extend(line.strip_prefix("listening on ").map(|address| address.trim().to_owned()));
            if let (Some(address), true) = (addresses.first(), addresses.len() >= wanted) {
                return Self { child, address: address.clone(), addresses };
            }
        }
        let _ = child.kill();
        let _ = child.wait();
        panic!("the server did not start: {}", std::fs::read_to_string(log).unwrap_or_default());
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// `kill -9`.
    ///
    /// # Panics
    /// When it cannot be killed.
    pub fn kill(mut self) {
        self.child.kill().expect("our own child can be killed");
        self.child.wait().expect("it can be waited for");
    }

    /// Sends a signal by its name, such as `HUP`.
    ///
    /// # Panics
    /// When it cannot.
    pub fn signal(&self, name: &str) {
        let sent = Command::new("kill").args([&format!("-{name}"), &self.id().to_string()]).status();
        assert!(sent.expect("`kill` runs").success());
    }

    /// SIGTERM, and whether it ended by itself.
    ///
    /// # Panics
    /// When it does not end within a minute.
    pub fn stop(mut self) -> bool {
        self.signal("TERM");
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            if let Some(status) = self.child.try_wait().expect("it can be waited for") {
                return status.success();
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        panic!("the server did not stop");
    }

    /// `GET`: the status and the body as JSON (or as a JSON string).
    pub fn get(&self, path: &str) -> (u16, Value) {
        let request = agent().get(format!("http://{}{path}", self.address));
        answer(request.call())
    }

    /// The body of a `GET` that must succeed, as bytes.
    ///
    /// # Panics
    /// When it does not.
    pub fn bytes(&self, path: &str) -> Vec<u8> {
        let mut answer = agent().get(format!("http://{}{path}", self.address)).call().expect("it answers");
        assert_eq!(answer.status(), 200, "{path}");
        answer.body_mut().read_to_vec().expect("it can be read")
    }

    /// `POST` of some text as JSON.
    pub fn post(&self, path: &str, body: &str) -> (u16, Value) {
        let request = agent().post(format!("http://{}{path}", self.address));
        answer(request.content_type("application/json").send(body))
    }

    /// Asks a policy of the tenant `default`.
    pub fn decide(&self, policy: &str, body: &str) -> (u16, Value) {
        self.post(&format!("/v1/tenants/default/policies/{policy}/decide"), body)
    }

    /// As [`Server::decide`]; none where the connection broke.
    pub fn try_decide(&self, policy: &str, body: &str) -> Option<(u16, Value)> {
        let url = format!("http://{}/v1/tenants/default/policies/{policy}/decide", self.address);
        let mut answer = agent().post(url).content_type("application/json").send(body).ok()?;
        let status = answer.status().as_u16();
        let text = answer.body_mut().read_to_string().ok()?;
        Some((status, serde_json::from_str(&text).ok()?))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn agent() -> ureq::Agent {
    ureq::Agent::config_builder().http_status_as_error(false).timeout_global(Some(PATIENCE)).build().into()
}

fn answer(result: Result<ureq::http::Response<ureq::Body>, ureq::Error>) -> (u16, Value) {
    let mut response = result.expect("the server answers");
    let status = response.status().as_u16();
    let text = response.body_mut().read_to_string().expect("the answer can be read");
    let value = serde_json::from_str(&text).unwrap_or(Value::String(text));
    (status, value)
}
