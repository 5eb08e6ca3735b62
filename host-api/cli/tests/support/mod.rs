//! The real binary in folders of its own.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "clippy takes helpers of integration tests for production code"
)]
#![allow(dead_code, reason = "every test program uses a part of it")]

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::{Mutex, OnceLock, PoisonError};

use serde_json::Value;

/// What a command said and how it ended.
pub(crate) struct Ran {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Ran {
    /// Stdout as the one JSON document that it must be.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {}{}", self.out, self.err))
    }

    /// The code of the error that it must have ended in.
    pub(crate) fn error(&self) -> String {
        self.json()["error"]["code"].as_str().unwrap_or_else(|| panic!("no error: {}", self.out)).to_owned()
    }

    /// Fails unless it is done.
    pub(crate) fn ok(self) -> Self {
        assert_eq!(self.code, Some(0), "{}{}", self.out, self.err);
        self
    }
}

/// Guests share a target folder: the SDK is compiled once for all tests. Cargo locks it by itself.
fn guests() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/cli-guests")
}

/// Runs `verdict` in a folder.
pub(crate) fn verdict(folder: &Path, arguments: &[&str]) -> Ran {
    verdict_with_input(folder, arguments, "")
}

/// Runs `verdict` in a folder, with something on its standard input.
pub(crate) fn verdict_with_input(folder: &Path, arguments: &[&str], input: &str) -> Ran {
    let mut child = Command::new(env!("CARGO_BIN_EXE_verdict"))
        .args(arguments)
        .current_dir(folder)
        .env("CARGO_TARGET_DIR", guests())
        .env_remove("VERDICT_SDK")
        .env_remove("VERDICT_PASSPHRASE")
        .env_remove("VERDICT_SERVER")
        .env_remove("VERDICT_TOKEN")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A command that does not read its input may be gone already.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    let Output { status, stdout, stderr } = child.wait_with_output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Ran { code: status.code(), out: text(stdout), err: text(stderr) }
}

/// A folder with a key, a trust file and the template as the policy `loan`, built but not signed.
pub(crate) struct Site {
    folder: tempfile::TempDir,
}

impl Site {
    pub(crate) fn new() -> Self {
        static TEMPLATE: OnceLock<tempfile::TempDir> = OnceLock::new();
        let template = TEMPLATE.get_or_init(|| {
            let folder = tempfile::tempdir().unwrap();
            verdict(folder.path(), &["keys", "new", "--person", "alice"]).ok();
            verdict(folder.path(), &["new", "loan"]).ok();
            build(&folder.path().join("loan"), &[]).ok();
            folder
        });
        let folder = tempfile::tempdir().unwrap();
        copy(template.path(), folder.path());
        Self { folder }
    }

    pub(crate) fn path(&self, path: &str) -> PathBuf {
        self.folder.path().join(path)
    }

    /// Runs `verdict` in the policy's folder.
    pub(crate) fn verdict(&self, arguments: &[&str]) -> Ran {
        verdict(&self.path("loan"), arguments)
    }

    /// Signs the policy with the site's key.
    pub(crate) fn sign(&self) {
        self.verdict(&["sign", "--key", "../author.key"]).ok();
    }

    /// Replaces text in a file of the site.
    pub(crate) fn edit(&self, path: &str, from: &str, to: &str) {
        let text = std::fs::read_to_string(self.path(path)).unwrap();
        assert!(text.contains(from), "`{from}` is not in {path}");
        std::fs::write(self.path(path), text.replace(from, to)).unwrap();
    }

    pub(crate) fn write(&self, path: &str, text: &str) {
        std::fs::write(self.path(path), text).unwrap();
    }
}

/// Builds one policy at a time: all are called `loan`, and share a target folder.
pub(crate) fn build(folder: &Path, more: &[&str]) -> Ran {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _guard = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    verdict(folder, &[&["--json", "build"], more].concat())
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let target = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy(&path, &target);
        } else {
            std::fs::copy(&path, &target).unwrap();
        }
    }
}
