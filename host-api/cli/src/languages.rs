//! How sources become a core module, one function for each language.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde::Deserialize;

use crate::error::{Error, Problem};
use crate::files;
use crate::project::{Language, Project};

const TARGET: &str = "wasm32-unknown-unknown";
const MODULE_BYTES_MAX: u64 = 256 << 20;

/// Builds a project's core module. `quiet` keeps the compiler's progress off the terminal, not its errors.
///
/// # Errors
/// When a tool is missing, or the sources do not compile.
pub(crate) fn build(project: &Project, quiet: bool) -> Result<Vec<u8>, Error> {
    match project.language() {
        Language::Rust => rust(project.folder(), quiet),
    }
}

/// The settings of a small, reproducible guest, whatever the project's own files say: 16 kB of stack below the data,
/// so that a stack that overflows traps instead of overwriting it; no unwinding; no paths of this machine.
fn rust_settings() -> Vec<String> {
    let mut flags = vec!["-Clink-arg=-zstack-size=16384".to_owned(), "-Clink-arg=--stack-first".to_owned()];
    let cargo_home = std::env::var_os("CARGO_HOME").map(PathBuf::from);
    let cargo_home = cargo_home.or_else(|| std::env::home_dir().map(|home| home.join(".cargo")));
    flags.extend(cargo_home.and_then(|home| remap(&home, "/cargo")));
    let flags = flags.iter().map(|flag| toml::Value::String(flag.clone()).to_string()).collect::<Vec<_>>();
    vec![
        format!("target.{TARGET}.rustflags=[{}]", flags.join(",")),
        "profile.release.panic=\"abort\"".into(),
        "profile.release.lto=\"fat\"".into(),
        "profile.release.codegen-units=1".into(),
        "profile.release.debug=false".into(),
        "profile.release.strip=true".into(),
    ]
}

/// The flag that hides where a folder is on this machine.
fn remap(from: &Path, to: &str) -> Option<String> {
    Some(format!("--remap-path-prefix={}={to}", from.canonicalize().ok()?.to_str()?))
}

fn rust(folder: &Path, quiet: bool) -> Result<Vec<u8>, Error> {
    check_target(folder)?;
    let mut cargo = tool("cargo", folder);
    cargo.args([
        "rustc",
        "--release",
        "--lib",
        "--target",
        TARGET,
        "--message-format=json-render-diagnostics",
    ]);
    for setting in rust_settings() {
        cargo.args(["--config", &setting]);
    }
    if quiet {
        cargo.arg("--quiet");
    }
    // For the policy's own code only: a setting that names its folder would have every dependency compiled again for
    // every folder.
    cargo.arg("--").args(remap(folder, "/policy"));
    let output = cargo.stdin(Stdio::null()).stderr(Stdio::inherit()).output();
    let output = output.map_err(|error| missing_tool("cargo", &error))?;
    if !output.status.success() {
        let message = format!("cargo could not build `{}`", folder.display());
        return Err(Error::Refused(
            Problem::new("build-failed", message).help("correct what cargo says above"),
        ));
    }
    files::read(&cdylib(folder, &output.stdout)?, MODULE_BYTES_MAX)
}

/// A tool that runs in the policy's folder, where its own toolchain file and settings are found.
fn tool(name: &str, folder: &Path) -> Command {
    let mut command = Command::new(name);
    // Both would replace the flags that make a guest, instead of adding to them.
    command.current_dir(folder).env_remove("RUSTFLAGS").env_remove("CARGO_ENCODED_RUSTFLAGS");
    command
}

fn missing_tool(name: &str, error: &std::io::Error) -> Error {
    let problem = Problem::new("missing-tool", format!("cannot run `{name}`: {error}"));
    Error::Machine(problem.help("install Rust, see https://rustup.rs"))
}

/// Says how to install the target before the compiler fails with something less clear.
fn check_target(folder: &Path) -> Result<(), Error> {
    let rustc = tool("rustc", folder).args(["--print", "target-libdir", "--target", TARGET]).output();
    let rustc = rustc.map_err(|error| missing_tool("rustc", &error))?;
    let libraries = String::from_utf8_lossy(&rustc.stdout);
    if Path::new(libraries.trim()).is_dir() {
        return Ok(());
    }
    let problem = Problem::new("missing-target", format!("the Rust target `{TARGET}` is not installed"));
    Err(Error::Machine(problem.help(format!("run `rustup target add {TARGET}` in the policy's folder"))))
}

/// One message of cargo; of the many kinds only finished artifacts matter.
#[derive(Deserialize)]
struct Message {
    reason: String,
    #[serde(default)]
    manifest_path: PathBuf,
    #[serde(default)]
    target: Target,
    #[serde(default)]
    filenames: Vec<PathBuf>,
}

#[derive(Default, Deserialize)]
struct Target {
    #[serde(default)]
    crate_types: Vec<String>,
}

/// The core module among cargo's messages.
fn cdylib(folder: &Path, messages: &[u8]) -> Result<PathBuf, Error> {
    let manifest = folder.join("Cargo.toml").canonicalize().unwrap_or_default();
    let messages = messages.split(|byte| *byte == b'\n').filter_map(|line| serde_json::from_slice(line).ok());
    let mut artifacts = messages.filter(|message: &Message| {
        message.reason == "compiler-artifact"
            && message.manifest_path == manifest
            && message.target.crate_types.iter().any(|kind| kind == "cdylib")
    });
    let files = artifacts.next().map(|message| message.filenames).unwrap_or_default();
    let module = files.into_iter().find(|file| file.extension().is_some_and(|extension| extension == "wasm"));
    module.ok_or_else(|| {
        let message = format!("`{}` builds no Wasm module", folder.join("Cargo.toml").display());
        let help = "add `crate-type = [\"cdylib\"]` under `[lib]` in its `Cargo.toml`";
        Error::Unusable(Problem::new("no-module", message).help(help))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_module_among_the_messages_of_cargo() {
        let folder = tempfile::tempdir().unwrap();
        let manifest = folder.path().join("Cargo.toml");
        std::fs::write(&manifest, "").unwrap();
        let artifact = |kind: &str, file: &str| {
            serde_json::json!({
                "reason": "compiler-artifact", "manifest_path": manifest.canonicalize().unwrap(),
                "target": {"crate_types": [kind]}, "filenames": [file],
            })
        };
        let messages = format!("{}\nnoise\n{}\n", artifact("rlib", "a.rlib"), artifact("cdylib", "a.wasm"));
        assert_eq!(cdylib(folder.path(), messages.as_bytes()).unwrap(), PathBuf::from("a.wasm"));
        let library = format!("{}\n", artifact("rlib", "a.rlib"));
        assert!(
            cdylib(folder.path(), library.as_bytes()).unwrap_err().to_string().contains("no Wasm module")
        );
    }
}
