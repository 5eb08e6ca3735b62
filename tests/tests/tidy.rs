//! The rules of the repository, as tests.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().into()
}

/// Every file that git tracks or would add.
fn files() -> Vec<PathBuf> {
    let output = Command::new("git")
        .args(["ls-files", "--cached", "--others", "--exclude-standard"])
        .current_dir(root())
        .output()
        .unwrap();
    assert!(output.status.success());
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().map(PathBuf::from).filter(|path| root().join(path).is_file()).collect()
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_default()
}

fn rust_files() -> Vec<PathBuf> {
    files().into_iter().filter(|path| path.extension().is_some_and(|e| e == "rs")).collect()
}

#[test]
fn the_root_holds_what_the_design_lists() {
    let allowed: BTreeSet<&str> = [
        "Cargo.toml",
        "Cargo.lock",
        "runtime",
        "sdk",
        "guest-policies",
        "wit",
        "host-api",
        "examples",
        "tests",
        "README.md",
        "LICENSE",
        "CHANGELOG.md",
        "Makefile",
        "deny.toml",
        "rust-toolchain.toml",
    ]
    .into();
    for path in files() {
        let first = path.components().next().unwrap().as_os_str().to_str().unwrap().to_owned();
        assert!(first.starts_with('.') || allowed.contains(first.as_str()), "`{}`", path.display());
    }
}

#[test]
fn arrows_between_crates_are_those_of_the_architecture() {
    // What each crate of ours may depend on; `dev` dependencies of tests and examples are free.
    let allowed: &[(&str, &[&str])] = &[
        ("verdict-core", &[]),
        ("verdict-ledger", &[]),
        ("verdict-sdk", &[]),
        ("verdict-engine", &["verdict-core"]),
        ("verdict-registry", &["verdict-core"]),
        ("verdict", &["verdict-core", "verdict-engine", "verdict-ledger", "verdict-registry"]),
        ("verdict-server", &["verdict"]),
        (
            "verdict-cli",
            &[
                "verdict",
                "verdict-core",
                "verdict-engine",
                "verdict-ledger",
                "verdict-registry",
                "verdict-server",
            ],
        ),
    ];
    let packages = packages(true);
    for (name, dependencies) in &packages {
        if ["verdict-tests", "verdict-examples"].contains(&name.as_str()) {
            continue;
        }
        let row = allowed.iter().find(|(crate_name, _)| crate_name == name);
        let (_, may) = row.unwrap_or_else(|| panic!("crate `{name}` is not in the table of arrows"));
        for dependency in dependencies.iter().filter(|dependency| packages.contains_key(*dependency)) {
            assert!(may.contains(&dependency.as_str()), "`{name}` depends on `{dependency}`");
        }
    }
    // What a program that embeds the host always gets; SQL and HTTP sit behind features.
    let packages = self::packages(false);
    for (name, forbidden) in [
        ("verdict-core", ["tokio", "wasmtime", "hyper", "axum", "getrandom", "rand"].as_slice()),
        ("verdict-ledger", &["wasmtime", "hyper", "axum", "serde_json"]),
        ("verdict-registry", &["tokio", "sqlx", "object_store", "reqwest", "wasmtime", "hyper", "axum"]),
        ("verdict", &["wasmtime", "hyper", "axum", "sqlx"]),
        ("verdict-server", &["wasmtime"]),
    ] {
        for dependency in &packages[name] {
            assert!(!forbidden.contains(&dependency.as_str()), "`{name}` depends on `{dependency}`");
        }
    }
}

/// The crates of the workspace, each with what it depends on outside its tests, with or without what is optional.
fn packages(with_optional: bool) -> BTreeMap<String, Vec<String>> {
    let output = Command::new(std::env::var_os("CARGO").unwrap_or("cargo".into()))
        .args(["metadata", "--format-version=1", "--no-deps", "--offline"])
        .current_dir(root())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let name = |value: &serde_json::Value| value["name"].as_str().unwrap().to_owned();
    let packages = metadata["packages"].as_array().unwrap().iter().map(|package| {
        let dependencies = package["dependencies"].as_array().unwrap().iter();
        // A dependency of tests has the kind `dev`, an ordinary one has none.
        let counts = |dependency: &&serde_json::Value| {
            dependency["kind"].is_null() && (with_optional || dependency["optional"] == false)
        };
        (name(package), dependencies.filter(counts).map(name).collect())
    });
    packages.collect()
}

#[test]
fn files_are_short() {
    for path in rust_files() {
        if path
            .components()
            .any(|part| ["tests", "benches", "fuzz"].contains(&part.as_os_str().to_str().unwrap()))
        {
            continue;
        }
        let text = read(&path);
        let code = text.split("#[cfg(test)]\nmod tests").next().unwrap().lines().count();
        assert!(code <= 800, "`{}` has {code} lines without its tests", path.display());
    }
    let architecture = read(Path::new("runtime/ARCHITECTURE.md")).lines().count();
    assert!((1..=200).contains(&architecture), "ARCHITECTURE.md has {architecture} lines");
}

#[test]
fn functions_are_short() {
    // Clippy counts code lines; this pins the number that it counts to.
    let clippy = read(Path::new(".clippy.toml"));
    assert!(clippy.contains("too-many-lines-threshold = 70"));
    assert!(read(Path::new("Cargo.toml")).contains("too_many_lines = \"warn\""));
    for path in rust_files() {
        let text = read(&path);
        assert!(!text.contains(&["clippy::too_many", "_lines"].concat()), "`{}`", path.display());
    }
}

#[test]
fn unsafe_code_is_in_the_places_that_the_architecture_names() {
    let named = ["runtime/engine/src/sys/", "sdk/rust/src/allocator.rs"];
    for path in rust_files() {
        let text = read(&path);
        let code = text.lines().filter(|line| !line.trim_start().starts_with("//"));
        let uses = code
            .filter(|line| {
                line.contains("unsafe {") || line.contains("unsafe impl") || line.contains("unsafe fn")
            })
            .count();
        let is_test = path.starts_with("tests") || path.components().any(|part| part.as_os_str() == "tests");
        let is_named = named.iter().any(|name| path.to_str().unwrap().starts_with(name));
        assert!(uses == 0 || is_test || is_named, "`{}`", path.display());
        if uses > 0 && !is_test {
            let arguments = text.matches("SAFETY:").count();
            assert!(
                arguments >= text.matches("unsafe {").count(),
                "`{}` has a block without its argument",
                path.display()
            );
        }
    }
}

#[test]
fn every_item_of_the_contract_is_documented_and_dated() {
    let text = read(Path::new("wit/policy.wit"));
    let (mut documented, mut since) = (false, false);
    let mut items = 0;
    for line in text.lines().map(str::trim) {
        if line.starts_with("///") {
            documented = true;
        } else if line.starts_with("@since(version = ") {
            since = true;
        } else if !line.is_empty() {
            let is_function = line.contains(": func(");
            let is_item =
                ["interface ", "world ", "record ", "variant "].iter().any(|word| line.starts_with(word));
            if is_function || line.starts_with("interface ") || line.starts_with("world ") {
                assert!(documented && since, "`{line}` needs documentation and @since");
            } else if is_item {
                assert!(documented, "`{line}` needs documentation");
            }
            items += usize::from(is_function || is_item);
            (documented, since) = (false, false);
        }
    }
    assert!(items >= 15, "found only {items} items");
    let code: String = text.lines().filter(|line| !line.trim_start().starts_with("//")).collect();
    assert!(!code.contains("u64") && !code.contains("s64"), "64-bit integers are BigInt in JavaScript");
    assert!(!code.contains("resource "), "handles are state that survives a call");
}

#[test]
fn nothing_is_left_over() {
    // Written so that this file does not find itself.
    let forbidden = [
        ["TO", "DO"].concat(),
        ["FIX", "ME"].concat(),
        ["/work/", "main"].concat(),
        ["/root", "/."].concat(),
        ["crates", ".io/"].concat(),
        ["registry.npm", "js"].concat(),
        ["proxy.golang", ".org"].concat(),
        ["files.python", "hosted"].concat(),
    ];
    for path in files() {
        let name = path.to_str().unwrap();
        let leftover = [".orig", ".rej", ".bak", ".log", ".swp", ".wasm", ".key", ".pyc"];
        assert!(!leftover.iter().any(|end| name.ends_with(end)), "`{name}` is left over");
        if name.ends_with("Cargo.lock") || name.ends_with("go.sum") || name == "LICENSE" {
            continue;
        }
        let text = read(&path);
        for word in &forbidden {
            assert!(!text.contains(word.as_str()), "`{name}` contains `{word}`");
        }
    }
}
