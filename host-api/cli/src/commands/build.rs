//! `verdict build`: from `policy.toml` and sources to a component in an OCI image layout.

use std::path::{Path, PathBuf};

use serde_json::json;
use verdict_core::digest::Digest;
use verdict_core::manifest::{CONTRACT, Capabilities};
use verdict_engine::Inspection;

use crate::builds::Build;
use crate::component;
use crate::error::{Error, Problem};
use crate::evaluation;
use crate::languages;
use crate::project::{self, Project};
use crate::report::{Report, thousands};

const INTERFACES: &str = "verdict:policy/";

/// Build a policy: compile it, check what it imports, and write component and manifest
///
/// Reads `policy.toml`, builds the sources for Wasm, and writes an OCI image layout and the manifest to
/// `target/verdict/NAME` of the policy's folder. What the component imports is what it can reach: an import that
/// `policy.toml` does not grant is an error. The same sources and tools give the same digest.
#[derive(clap::Args)]
#[command(after_help = "Example: verdict build guest-policies/library/loan-eligibility")]
pub(crate) struct Args {
    /// The policy's folder, with its `policy.toml`
    #[arg(default_value = ".")]
    dir: PathBuf,
    /// Write to this folder instead of `target/verdict/NAME`
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

/// Runs the command.
pub(crate) fn run(args: &Args, json: bool) -> Result<Report, Error> {
    let project = Project::open(&args.dir)?;
    let out = args.out.clone().unwrap_or_else(|| project.output());
    let Built { build, inspection, unused } = build(&project, &out, json)?;
    let manifest = build.manifest();
    let mut report = Report::new(json!({
        "policy": manifest.policy, "version": manifest.version, "component": manifest.component,
        "image": build.image_digest(), "component_bytes": inspection.bytes, "imports": inspection.imports,
        "folder": out,
    }));
    for capability in unused {
        report.warn(format!(
            "`policy.toml` grants `{capability}`, which the component does not import; remove it under `[capabilities]`"
        ));
    }
    report
        .row("policy", format!("{} {}", manifest.policy, manifest.version))
        .row("component", format!("{}  {} bytes", manifest.component, thousands(inspection.bytes)))
        .row("imports", listed(&inspection.imports))
        .row("image", build.image_digest())
        .row("written", out.display())
        .row("next", "verdict test, then verdict sign --key author.key");
    Ok(report)
}

/// A build, and what was found on the way.
struct Built {
    build: Build,
    inspection: Inspection,
    /// Interfaces that are granted and not imported.
    unused: Vec<&'static str>,
}

fn build(project: &Project, out: &Path, quiet: bool) -> Result<Built, Error> {
    let module = languages::build(project, quiet)?;
    let component = component::encode(&module)?;
    let inspection = evaluation::engine()?.inspect(&component)?;
    let unused = check_imports(&inspection.imports, project.capabilities())?;
    let contract = check_contract(inspection.contract.as_deref())?;
    let manifest = project.manifest(Digest::of(&component), contract);
    Ok(Built { build: Build::create(out, &component, manifest)?, inspection, unused })
}

/// What the sources in `dir` build now, beside the build that may be signed already; where `dir` has no sources, the
/// build that it holds. Whoever tests wants to know what they just wrote.
///
/// # Errors
/// As [`run`], or when `dir` holds neither.
pub(crate) fn current(dir: &Path) -> Result<Build, Error> {
    if !dir.join(project::FILE).is_file() {
        return Build::open(dir);
    }
    let project = Project::open(dir)?;
    Ok(build(&project, &project.scratch(), true)?.build)
}

/// Imports as one line.
pub(crate) fn listed(imports: &[String]) -> String {
    if imports.is_empty() { "none".into() } else { imports.join(", ") }
}

/// The interface's name, of an import of the contract: `data` of `verdict:policy/data@0.1.0`.
fn interface(import: &str) -> Option<&str> {
    import.strip_prefix(INTERFACES)?.split('@').next()
}

/// The line of `policy.toml` that grants an interface.
fn grant(interface: &str) -> Option<&'static str> {
    match interface {
        "data" => Some("data = [\"/name-of-a-document\"]"),
        "decision-time" => Some("decision_time = true"),
        "diagnostics" => Some("diagnostics = true"),
        _ => None,
    }
}

/// Refuses what the component imports and is not granted; returns what is granted and not imported.
fn check_imports(imports: &[String], granted: &Capabilities) -> Result<Vec<&'static str>, Error> {
    let granted = granted.interfaces();
    for import in imports {
        let interface = interface(import);
        if interface.is_some_and(|name| granted.contains(name)) {
            continue;
        }
        let message = format!("the component imports `{import}`, which `policy.toml` does not grant");
        let help = match interface.and_then(grant) {
            Some(line) => {
                format!("add `{line}` under `[capabilities]` in `policy.toml`, or remove what uses it")
            }
            None => {
                "no policy may import that: remove what uses it, such as a library that wants WASI".into()
            }
        };
        return Err(Error::Refused(Problem::new("undeclared-import", message).help(help)));
    }
    let used = |name: &str| imports.iter().any(|import| interface(import) == Some(name));
    Ok(granted.into_iter().filter(|name| *name != "input" && !used(name)).collect())
}

/// The version of the contract that the component was built against, which must be the host's.
fn check_contract(contract: Option<&str>) -> Result<semver::Version, Error> {
    let version =
        contract.filter(|contract| *contract == CONTRACT).and_then(|contract| contract.parse().ok());
    version.ok_or_else(|| {
        let built =
            contract.map_or("no version of the contract".into(), |contract| format!("contract {contract}"));
        let message = format!("the component is built against {built}; this `verdict` speaks {CONTRACT}");
        Error::Refused(
            Problem::new("wrong-contract", message).help("use the SDK that came with this `verdict`"),
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn imports(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| format!("verdict:policy/{name}@0.1.0")).collect()
    }

    #[test]
    fn names_the_undeclared_import_and_the_line_that_grants_it() {
        let error =
            check_imports(&imports(&["input", "decision-time"]), &Capabilities::default()).unwrap_err();
        assert!(error.to_string().contains("decision-time"), "{error}");
        let wasi = vec!["wasi:random/random@0.2.0".to_owned()];
        assert!(check_imports(&wasi, &Capabilities::default()).is_err());
    }

    #[test]
    fn finds_grants_that_nothing_uses() {
        let granted = Capabilities { diagnostics: true, decision_time: true, ..Default::default() };
        let unused = check_imports(&imports(&["decision-time"]), &granted).unwrap();
        assert_eq!(unused, ["diagnostics"]);
    }
}
