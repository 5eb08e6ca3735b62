//! The real nginx, with the configurations of `examples/`.

use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::server::{Site, root, text};

const PATIENCE: Duration = Duration::from_secs(30);
const ATTEMPTS: usize = 5;

/// The program: the machine's, or one that was unpacked below `target/tools`; with `VERDICT_FULL`, unpacked now.
///
/// # Panics
/// When the folder cannot be made.
pub fn program() -> Option<PathBuf> {
    let folder = root().join("target/tools/nginx");
    let unpacked = folder.join("usr/sbin/nginx");
    let runs =
        |path: &PathBuf| Command::new(path).arg("-v").output().is_ok_and(|output| output.status.success());
    let known = ["/usr/sbin/nginx".into(), "/usr/local/sbin/nginx".into(), unpacked.clone()];
    if let Some(path) = known.into_iter().find(runs) {
        return Some(path);
    }
    if std::env::var_os("VERDICT_FULL").is_none() {
        eprintln!("skipped: there is no nginx; `make test-full` unpacks the Debian package");
        return None;
    }
    std::fs::create_dir_all(&folder).expect("a folder can be made");
    let unpack = "timeout 120 apt-get download nginx && dpkg -x nginx_*.deb .";
    let output = Command::new("sh").args(["-c", unpack]).current_dir(&folder).output().expect("a shell runs");
    if !runs(&unpacked) {
        eprintln!("skipped: nginx cannot be unpacked: {}", String::from_utf8_lossy(&output.stderr));
        return None;
    }
    Some(unpacked)
}

/// A running nginx. Ended when dropped.
#[derive(Debug)]
pub struct Nginx {
    child: Child,
    /// Where it listens, on loopback.
    pub port: u16,
    log: PathBuf,
}

impl Nginx {
    /// Starts it as an example says, but for some replacements, on a port that was free a moment ago, with its files in
    /// a folder of the site.
    ///
    /// # Panics
    /// When it does not start, or the example has not what is to be replaced.
    pub fn start(program: &Path, site: &Site, example: &str, replacements: &[(&str, &str)]) -> Self {
        let example = std::fs::read_to_string(root().join("examples").join(example)).expect("it is there");
        for attempt in 0..ATTEMPTS {
            let free = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
            let port = free.expect("a port is free").port();
            let folder = site.path(&format!("nginx-{port}"));
            let conf = configuration(&example, &folder, port, replacements);
            let log = folder.join("log");
            let mut child = Command::new(program)
                .args(["-p", text(&folder), "-c", text(&conf), "-g", "daemon off; master_process off;"])
                .stdin(Stdio::null())
                .stderr(std::fs::File::create(&log).expect("a file can be made"))
                .spawn()
                .expect("nginx runs");
            let started = Instant::now();
            while child.try_wait().expect("it can be waited for").is_none() && started.elapsed() < PATIENCE {
                if TcpStream::connect(("127.0.0.1", port)).is_ok() {
                    return Self { child, port, log };
                }
                std::thread::sleep(Duration::from_millis(20));
            }
            let _ = child.kill();
            let _ = child.wait();
            eprintln!("attempt {attempt}: {}", std::fs::read_to_string(&log).unwrap_or_default());
        }
        panic!("nginx does not start");
    }

    /// What it said so far.
    ///
    /// # Panics
    /// When that cannot be read.
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).expect("the log can be read")
    }
}

/// Writes the example as it is to run here, and returns where it is.
fn configuration(example: &str, folder: &Path, port: u16, replacements: &[(&str, &str)]) -> PathBuf {
    std::fs::create_dir_all(folder).expect("a folder can be made");
    let own = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|name| format!("  {name}_temp_path {}/{name};\n", text(folder)))
        .concat();
    let (listen, pid) = (format!("127.0.0.1:{port}"), folder.join("pid"));
    let own = format!("  access_log off;\n{own}");
    let ours =
        [("127.0.0.1:8080", &*listen), ("/tmp/verdict-nginx.pid", text(&pid)), ("  access_log off;\n", &own)];
    let mut conf = example.to_owned();
    for (from, to) in ours.iter().chain(replacements) {
        assert!(conf.contains(from), "the example has no `{from}`");
        conf = conf.replace(from, to);
    }
    let path = folder.join("nginx.conf");
    std::fs::write(&path, conf).expect("a file can be written");
    path
}

impl Drop for Nginx {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
