//! The registry with a client that nobody here wrote: `crane` pushes, lists, copies, pulls and deletes, and what comes
//! back verifies.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

use serde_json::Value;
use verdict_tests::server::{Server, Site, binary, root, text, verdict_ok};

const CRANE: &str = "github.com/google/go-containerregistry/cmd/crane@latest";

/// The program, installed below `target` once; none, with a reason, on a machine that cannot have it.
fn crane() -> Option<&'static Path> {
    static CRANE_PATH: OnceLock<Option<PathBuf>> = OnceLock::new();
    CRANE_PATH.get_or_init(install).as_deref()
}

fn install() -> Option<PathBuf> {
    let folder = root().join("target/tools/bin");
    let path = folder.join("crane");
    if path.exists() {
        return Some(path);
    }
    let installed = Command::new("timeout")
        .args(["300", "go", "install", CRANE])
        .env("GOBIN", &folder)
        .env("GOFLAGS", "-mod=mod")
        .output();
    match installed {
        Ok(output) if output.status.success() => Some(path),
        Ok(output) => {
            println!("skipped: crane cannot be installed: {}", String::from_utf8_lossy(&output.stderr));
            None
        }
        Err(error) => {
            println!("skipped: crane cannot be installed: {error}");
            None
        }
    }
}

struct Crane<'a> {
    program: &'a Path,
    server: &'a Server,
    folder: &'a Path,
}

impl Crane<'_> {
    fn run(&self, arguments: &[&str]) -> Output {
        Command::new(self.program)
            .args(arguments)
            .arg("--insecure")
            // Credentials of its own, none of the machine's.
            .env("DOCKER_CONFIG", self.folder)
            .output()
            .unwrap()
    }

    fn ok(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        let (out, error) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "crane {}: {out}{error}", arguments.join(" "));
        out.trim().to_owned()
    }

    fn refused(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert!(!output.status.success(), "crane {}", arguments.join(" "));
        String::from_utf8_lossy(&output.stderr).into_owned()
    }

    fn at(&self, name: &str) -> String {
        format!("{}/{name}", self.server.address)
    }
}

/// The digests of a layout's image and of the index of what is attached to it.
fn entries(layout: &Path) -> (String, String) {
    let index: Value = serde_json::from_slice(&std::fs::read(layout.join("index.json")).unwrap()).unwrap();
    let named = |fallback: bool| {
        let entries = index["manifests"].as_array().unwrap().iter();
        let is = |entry: &&Value| {
            let tag = entry["annotations"]["org.opencontainers.image.ref.name"].as_str().unwrap();
            tag.starts_with("sha256-") == fallback
        };
        entries.clone().find(is).unwrap()["digest"].as_str().unwrap().to_owned()
    };
    (named(false), named(true))
}

fn blob(layout: &Path, digest: &str) -> Vec<u8> {
    std::fs::read(layout.join("blobs/sha256").join(digest.strip_prefix("sha256:").unwrap())).unwrap()
}

#[test]
fn crane_pushes_lists_copies_pulls_and_deletes_and_what_comes_back_verifies() {
    let Some(program) = crane() else { return };
    let site = Site::new(&["role-based-access"]);
    let layout = site.path("policies/role-based-access/oci");
    let (image, attached) = entries(&layout);
    let token = "0123456789abcdefghijklmn";
    std::fs::write(site.path("tokens"), format!("alice {token} bank\n")).unwrap();
    let server = Server::registry(&site.path(""), &["--token-file", text(&site.path("tokens"))]);
    let folder = site.path("docker");
    std::fs::create_dir_all(&folder).unwrap();
    let crane = Crane { program, server: &server, folder: &folder };
    let roles = crane.at("bank/roles");

    assert!(crane.refused(&["ls", &roles]).contains("UNAUTHORIZED"));
    crane.ok(&["auth", "login", &server.address, "-u", "alice", "-p", token]);
    // The layout holds the image and its statement: they go as one index, then the image gets its tags.
    crane.ok(&["push", text(&layout), &format!("{roles}:all"), "--index"]);
    crane.ok(&["tag", &format!("{roles}@{image}"), "1.0.0"]);
    crane.ok(&["tag", &format!("{roles}:1.0.0"), "latest"]);
    assert_eq!(crane.ok(&["ls", &roles]), "1.0.0\nall\nlatest");
    assert_eq!(crane.ok(&["digest", &format!("{roles}:1.0.0")]), image);
    assert_eq!(crane.ok(&["catalog", &server.address]), "bank/roles");
    // `validate` wants layers to be tar archives, which a component is not; the blobs are compared below.
    let other = format!("{roles}@{attached}");
    assert!(crane.refused(&["tag", &other, "1.0.0"]).contains("push another version"));

    let copy = crane.at("bank/copy");
    crane.ok(&["copy", &format!("{roles}:1.0.0"), &format!("{copy}:1.0.0")]);
    // As clients do that know no referrers: what is attached has the image's digest as its tag.
    crane.ok(&["copy", &other, &format!("{copy}:{}", image.replace(':', "-"))]);
    let foreign = crane.refused(&["copy", &format!("{roles}:1.0.0"), &crane.at("shop/roles:1.0.0")]);
    assert!(foreign.contains("DENIED"), "{foreign}");

    let pulled = site.path("pulled");
    crane.ok(&["pull", "--format", "oci", &format!("{copy}:1.0.0"), text(&pulled)]);
    assert_eq!(blob(&pulled, &image), blob(&layout, &image));
    let manifest: Value = serde_json::from_slice(&blob(&layout, &image)).unwrap();
    let component = manifest["layers"][0]["digest"].as_str().unwrap();
    assert_eq!(blob(&pulled, component), blob(&layout, component));

    // With the statement, which crane does not pull with its subject; by our own client, from the copy.
    let (back, trust) = (site.path("back"), site.path("keys/trust.json"));
    let reference = format!("{copy}:1.0.0");
    let pull = Command::new(binary())
        .args(["pull", &reference, text(&back), "--plain-http"])
        .env("DOCKER_CONFIG", &folder)
        .output()
        .unwrap();
    assert!(pull.status.success(), "{}", String::from_utf8_lossy(&pull.stderr));
    verdict_ok(&["verify", text(&back), "--trust", text(&trust)]);

    let needed = crane.refused(&["delete", &format!("{roles}@{image}")]);
    assert!(needed.contains("DENIED"), "an index names it: {needed}");
    for reference in [format!("{copy}:1.0.0"), format!("{copy}@{image}")] {
        crane.ok(&["delete", &reference]);
        assert!(crane.refused(&["manifest", &reference]).contains("MANIFEST_UNKNOWN"));
    }
    assert_eq!(crane.ok(&["ls", &copy]), image.replace(':', "-"), "what was attached is left");
    assert_eq!(crane.ok(&["digest", &format!("{roles}:1.0.0")]), image, "the other repository keeps it");
}
