//! `verdict new`: a policy to start from.

use std::path::{Path, PathBuf};

use serde_json::json;
use verdict_core::name::PolicyName;

use crate::error::{Error, Problem};
use crate::files;
use crate::project::Language;
use crate::report::Report;

/// The template's files, which hold `{{name}}` and `{{sdk}}`.
const RUST: &[(&str, &str)] = &[
    (".cargo/config.toml", include_str!("../../../../sdk/rust/template/.cargo/config.toml")),
    (".gitignore", include_str!("../../../../sdk/rust/template/.gitignore")),
    ("Cargo.toml", include_str!("../../../../sdk/rust/template/Cargo.toml")),
    ("README.md", include_str!("../../../../sdk/rust/template/README.md")),
    ("cases/allow.json", include_str!("../../../../sdk/rust/template/cases/allow.json")),
    ("policy.toml", include_str!("../../../../sdk/rust/template/policy.toml")),
    ("rust-toolchain.toml", include_str!("../../../../sdk/rust/template/rust-toolchain.toml")),
    ("schemas/allow.input.json", include_str!("../../../../sdk/rust/template/schemas/allow.input.json")),
    ("src/lib.rs", include_str!("../../../../sdk/rust/template/src/lib.rs")),
];

/// Start a policy: a folder with sources, `policy.toml`, a schema and cases, which builds as it is
#[derive(clap::Args)]
#[command(after_help = "Example: verdict new loan && cd loan && verdict build && verdict test")]
pub(crate) struct Args {
    /// The policy's name, `name` or `tenant/name`: lower-case letters, digits and hyphens. The folder is called the same
    name: PolicyName,
    /// What to write it in
    #[arg(long, value_enum, value_name = "LANGUAGE", default_value_t = Language::Rust)]
    lang: Language,
    /// The folder of the Rust SDK; that of the checkout that this `verdict` was built from, if left out
    #[arg(long, value_name = "DIR", env = "VERDICT_SDK")]
    sdk: Option<PathBuf>,
}

/// Runs the command.
pub(crate) fn run(args: &Args) -> Result<Report, Error> {
    let template = match args.lang {
        Language::Rust => RUST,
    };
    let name = args.name.name();
    if name.starts_with(|first: char| first.is_ascii_digit()) {
        let problem =
            Problem::new("name", format!("`{name}` starts with a digit, which no Rust package may"));
        return Err(Error::Unusable(problem.help("start it with a letter")));
    }
    let sdk = toml::Value::String(sdk(args.sdk.as_deref())?);
    let folder = Path::new(name);
    if folder.symlink_metadata().is_ok() {
        let problem = Problem::new("exists", format!("`{name}` exists, and is never written over"));
        return Err(Error::Unusable(problem.help("choose another name, or go to another folder")));
    }
    for (path, text) in template {
        // The package is called after the policy, without its tenant.
        let full = if *path == "policy.toml" { args.name.to_string() } else { name.to_owned() };
        let text = text.replace("{{name}}", short(&full)).replace("{{sdk}}", &format!("{{ path = {sdk} }}"));
        let path = folder.join(path);
        files::create_folder(path.parent().unwrap_or(folder))?;
        files::write_new(&path, text.as_bytes(), false)?;
    }
    let mut report = Report::new(json!({ "policy": args.name, "folder": folder }));
    report
        .row("policy", format!("{} in `{name}/`", args.name))
        .row(
            "to change",
            format!("`{name}/src/lib.rs` decides, `{name}/policy.toml` declares, `{name}/cases/` expects"),
        )
        .row("next", format!("cd {name} && verdict build && verdict test"));
    Ok(report)
}

/// A policy's name as an author writes it: the tenant `default` goes without saying.
fn short(name: &str) -> &str {
    name.strip_prefix("default/").unwrap_or(name)
}

/// The SDK's folder. It is not published yet, so it is that of a checkout.
fn sdk(given: Option<&Path>) -> Result<String, Error> {
    let built_from = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../sdk/rust");
    let folder = given.map_or_else(built_from, Path::to_owned);
    let whole = folder.canonicalize().ok().filter(|folder| folder.join("Cargo.toml").is_file());
    whole.and_then(|folder| folder.to_str().map(str::to_owned)).ok_or_else(|| {
        let problem = Problem::new("no-sdk", format!("no Rust SDK in `{}`", folder.display()));
        Error::Unusable(problem.help("name the folder `sdk/rust` of a checkout of Verdict with `--sdk DIR`"))
    })
}
