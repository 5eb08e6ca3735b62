//! A policy that answers as it is told: what a gateway makes of every kind of answer is seen with it.

use std::path::Path;

use crate::server::{Site, root, text, verdict_ok};

/// Its sources. What it is told is a text in the input: an answer's JSON, `undefined`, `failure` or `loop`.
const SOURCE: &str = r#"
//! Answers as it is told.

use serde_json::value::RawValue;
use verdict_sdk::{Decision, Failure, Reason, input};

verdict_sdk::policy! { "told" => told, "input" => whole }

fn told() -> Result<Decision, Failure> {
    let places = ["/headers/x-tell", "/request/object/metadata/annotations/tell"];
    let text = places.into_iter().find_map(|place| input::text(place).ok());
    match text.as_deref() {
        None => Err(Failure::invalid_input("told-nothing", "nothing was told")),
        Some("undefined") => Ok(Decision::undefined()),
        Some("failure") => Err(Failure::internal("told", "as it was told")),
        Some("loop") => loop { core::hint::black_box(()) },
        Some(text) => {
            let value = RawValue::from_string(text.into())
                .map_err(|error| Failure::invalid_input("not-json", error.to_string()))?;
            let reasons = text.contains("\"why\"").then(|| Reason::new("told", "as it was told"));
            Ok(Decision::value(&value)?.because_all(reasons))
        }
    }
}

/// Allows, and shows what it was asked.
fn whole() -> Result<Decision, Failure> {
    #[derive(serde::Serialize)]
    struct Seen { allow: bool, input: Box<RawValue> }
    let text = input::json("").unwrap_or_default();
    let input = RawValue::from_string(text)
        .map_err(|error| Failure::internal("not-json", error.to_string()))?;
    Decision::value(&Seen { allow: true, input })
}
"#;

const DECLARATION: &str = r#"
[policy]
name = "told"
version = "1.0.0"
description = "Answers as it is told"
licence = "Apache-2.0"

[[rules]]
name = "told"

[[rules]]
name = "input"

[limits]
fuel = 1000000

[build]
language = "rust"
"#;

/// Builds the policy `told`, with the rules `told` and `input`, and signs it for a site.
///
/// # Panics
/// When a step fails.
pub fn add_told(site: &Site) {
    add_told_as(site, "told");
}

/// The same under another name, which may be `TENANT/POLICY`.
///
/// # Panics
/// When a step fails.
pub fn add_told_as(site: &Site, name: &str) {
    let folder = site.path("told");
    let write = |path: &str, content: &str| {
        let path = folder.join(path);
        std::fs::create_dir_all(path.parent().unwrap_or(Path::new("/"))).expect("a folder can be made");
        std::fs::write(path, content).expect("a file can be written");
    };
    // The template's, so that what it depends on is compiled once.
    let package = std::fs::read_to_string(root().join("sdk/rust/template/Cargo.toml")).expect("it is there");
    let sdk = format!("{{ path = {:?} }}", text(&root().join("sdk/rust")));
    let json =
        "serde_json = { version = \"1\", default-features = false, features = [\"alloc\", \"raw_value\"] }";
    let package = package.replace("{{name}}", "told").replace("{{sdk}}", &format!("{sdk}\n{json}"));
    write("Cargo.toml", &package);
    write(
        "policy.toml",
        &DECLARATION.replace("name = \"told\"\nversion", &format!("name = \"{name}\"\nversion")),
    );
    write("src/lib.rs", SOURCE);
    verdict_ok(&["build", text(&folder), "--out", text(&site.path(&format!("policies/{name}")))]);
    site.sign(name);
}
