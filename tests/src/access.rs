//! A signed access policy, as `verdict serve --access` and the server's own tests take it.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use serde_json::Value;

use crate::server::{copy, root, text, verdict_ok};

/// A folder with the access policy of the library, signed by an author whom its own trust file names.
#[derive(Debug)]
pub struct AccessSite {
    folder: tempfile::TempDir,
    component: String,
}

impl AccessSite {
    /// The policy as it is.
    ///
    /// # Panics
    /// When a step fails.
    pub fn new() -> Self {
        Self::changed(|_| ())
    }

    /// The policy with another manifest.
    ///
    /// # Panics
    /// When a step fails.
    pub fn changed(change: impl FnOnce(&mut Value)) -> Self {
        Self::of("api-access", change)
    }

    /// Another policy of the library in its place.
    ///
    /// # Panics
    /// When a step fails.
    pub fn another(name: &str) -> Self {
        Self::of(name, |_| ())
    }

    fn of(name: &str, change: impl FnOnce(&mut Value)) -> Self {
        let folder = tempfile::tempdir().expect("a folder can be made");
        let (keys, policy) = (folder.path().join("keys"), folder.path().join("access").join(name));
        let author = ["--person", "root", "--policies", "system/*", "--policies", "default/*"];
        verdict_ok(&[&["keys", "new", "--unencrypted", "--out", text(&keys)], &author[..]].concat());
        copy(&built(name), &policy);
        let path = policy.join("manifest.json");
        let manifest = std::fs::read(&path).expect("it was built");
        let mut manifest: Value = serde_json::from_slice(&manifest).expect("a manifest is JSON");
        change(&mut manifest);
        std::fs::write(&path, manifest.to_string()).expect("it can be written");
        verdict_ok(&["sign", text(&policy), "--key", text(&keys.join("author.key"))]);
        let component = manifest["component"].as_str().expect("a manifest names its component").to_owned();
        Self { folder, component }
    }

    /// The folder of the signed artifact.
    pub fn policy(&self) -> PathBuf {
        self.path("access")
    }

    /// The trust file.
    pub fn trust(&self) -> PathBuf {
        self.path("keys/trust.json")
    }

    /// The digest to pin.
    pub fn component(&self) -> &str {
        &self.component
    }

    /// A path in the site.
    pub fn path(&self, path: &str) -> PathBuf {
        self.folder.path().join(path)
    }
}

impl Default for AccessSite {
    fn default() -> Self {
        Self::new()
    }
}

/// A policy of the library, built once a run of a test program.
fn built(name: &str) -> PathBuf {
    static BUILT: Mutex<BTreeMap<String, PathBuf>> = Mutex::new(BTreeMap::new());
    // Test programs run one after the other, and each has a folder of its own.
    let build = || {
        let test = std::env::current_exe().expect("a test has a path");
        let program = test.file_name().expect("a program has a name");
        let out = root().join("target/test-access").join(program).join(name);
        let _ = std::fs::remove_dir_all(&out);
        let source = root().join("guest-policies/library").join(name);
        verdict_ok(&["build", text(&source), "--out", text(&out)]);
        out
    };
    let mut built = BUILT.lock().unwrap_or_else(PoisonError::into_inner);
    built.entry(name.to_owned()).or_insert_with(build).clone()
}
