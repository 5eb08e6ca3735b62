//! A site with the policies that tests of gateways ask: the request says what they answer.

use crate::server::{Site, copy, root, text, verdict_ok};

/// A site with `default/gateway-probe`, and `default/gateway-slow`, the same with a clock of a millisecond.
///
/// # Panics
/// When a step fails.
pub fn site() -> Site {
    let site = Site::new(&[]);
    let source = root().join("guest-policies/tests/gateway-probe");
    build(&site, text(&source), "gateway-probe");
    let slow = site.path("gateway-slow");
    copy(&source, &slow);
    let rewrite = |file: &str, from: &str, to: &str| {
        let path = slow.join(file);
        let before = std::fs::read_to_string(&path).expect("the file is there");
        assert!(before.contains(from), "{file}");
        std::fs::write(path, before.replace(from, to)).expect("a file can be written");
    };
    rewrite("policy.toml", "name = \"gateway-probe\"", "name = \"gateway-slow\"");
    rewrite("policy.toml", "[build]", "[limits]\nwall_clock_ms = 1\n\n[build]");
    std::fs::write(slow.join("Cargo.toml"), STANDALONE.replace("SDK", text(&root().join("sdk/rust"))))
        .expect("a file can be written");
    build(&site, text(&slow), "gateway-slow");
    site
}

fn build(site: &Site, source: &str, name: &str) {
    verdict_ok(&["build", source, "--out", text(&site.path(&format!("policies/{name}")))]);
    site.sign(name);
}

/// What a package needs outside the workspace of guests.
const STANDALONE: &str = r#"[package]
name = "gateway-slow"
version = "1.0.0"
edition = "2024"
[lib]
crate-type = ["cdylib"]
[dependencies]
verdict-sdk = { path = "SDK" }
serde = { version = "1", default-features = false, features = ["alloc", "derive"] }
serde_json = { version = "1", default-features = false, features = ["alloc"] }
[workspace]
"#;
