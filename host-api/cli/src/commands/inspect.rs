//! `verdict inspect`: what a component can reach, what its manifest declares, and who signed it.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use verdict_core::artifact::UnverifiedArtifact;
use verdict_core::digest::Digest;
use verdict_core::manifest::Manifest;
use verdict_core::oci::COMPONENT_BYTES_MAX;
use verdict_engine::Inspection;

use super::attest::Attached;
use super::build::listed;
use crate::builds::Build;
use crate::error::Error;
use crate::evaluation;
use crate::files;
use crate::report::{Report, thousands};

/// Show what a policy can reach, what it declares, how large it is and who signed it
///
/// Reads a component, or a build with its manifest. The imports are read from the component itself: it can reach
/// nothing else. Nothing is verified, and signers are shown as the signatures name them: `verdict verify` checks them.
#[derive(clap::Args)]
#[command(after_help = "Example: verdict inspect target/verdict/loan")]
pub(crate) struct Args {
    /// A policy's folder, a build's, or a component
    #[arg(default_value = ".")]
    path: PathBuf,
}

/// Runs the command.
pub(crate) fn run(args: &Args) -> Result<Report, Error> {
    if args.path.is_file() { component(&args.path) } else { build(&args.path) }
}

fn component(path: &Path) -> Result<Report, Error> {
    let component = files::read(path, u64::try_from(COMPONENT_BYTES_MAX).unwrap_or(u64::MAX))?;
    let inspection = evaluation::engine()?.inspect(&component)?;
    let mut report = Report::new(component_json(&component, &inspection));
    component_rows(&mut report, &component, &inspection);
    Ok(report)
}

fn build(dir: &Path) -> Result<Report, Error> {
    let build = Build::open(dir)?;
    let (artifact, manifest) = (build.fetch()?, build.manifest());
    let inspection = evaluation::engine()?.inspect(&artifact.component)?;
    let (signers, others) = signers(&artifact);
    let mut json = component_json(&artifact.component, &inspection);
    if let Some(json) = json.as_object_mut() {
        json.insert("image".into(), json!(build.image_digest()));
        json.insert("manifest".into(), json!(manifest));
        json.insert("signers".into(), json!(signers));
        let attached = others.iter().map(|(kind, key)| json!({ "type": kind, "key": key }));
        json.insert("attached".into(), attached.collect());
        json.insert("verified".into(), json!(false));
    }
    let mut report = Report::new(json);
    report.row("policy", format!("{} {}", manifest.policy, manifest.version));
    if !manifest.description.is_empty() {
        report.row("", &manifest.description);
    }
    component_rows(&mut report, &artifact.component, &inspection);
    report.row("image", build.image_digest());
    manifest_rows(&mut report, manifest);
    for signer in &signers {
        report.row("signature", format!("names key {signer}, not verified"));
    }
    if signers.is_empty() {
        report.row("signature", "none");
    }
    for (kind, key) in &others {
        report.row("attached", format!("{kind}, names key {key}, not verified"));
    }
    Ok(report)
}

fn component_json(component: &[u8], inspection: &Inspection) -> Value {
    json!({
        "component": Digest::of(component), "component_bytes": component.len(), "imports": inspection.imports,
        "contract": inspection.contract, "core_modules": inspection.core_modules, "functions": inspection.functions,
        "memory_bytes_initial": inspection.memory_bytes_initial,
        "instances": { "reset_in_place": inspection.reset_refused.is_none(), "reason": inspection.reset_refused },
    })
}

fn component_rows(report: &mut Report, component: &[u8], inspection: &Inspection) {
    report
        .row("component", Digest::of(component))
        .row("size", format!("{} bytes", thousands(component.len() as u64)))
        .row("contract", inspection.contract.as_deref().unwrap_or("none"))
        .row("imports", listed(&inspection.imports))
        .row("instances", instances(inspection));
}

/// How evaluations come by the state that the component begins with.
fn instances(inspection: &Inspection) -> String {
    match &inspection.reset_refused {
        None => "reset in place".into(),
        Some(why) => format!("new each time: {why}"),
    }
}

fn manifest_rows(report: &mut Report, manifest: &Manifest) {
    for rule in &manifest.rules {
        let schemas =
            [(rule.input_schema.is_some(), "input schema"), (rule.output_schema.is_some(), "value schema")];
        let schemas = schemas.into_iter().filter_map(|(has, name)| has.then_some(name)).collect::<Vec<_>>();
        let schemas = if schemas.is_empty() { String::new() } else { format!("  ({})", schemas.join(", ")) };
        let description =
            if rule.description.is_empty() { String::new() } else { format!("  {}", rule.description) };
        report.row("rule", format!("{}{description}{schemas}", rule.name));
    }
    let capabilities = &manifest.capabilities;
    if !capabilities.data.is_empty() {
        let prefixes = capabilities.data.iter().map(|prefix| prefix.as_str()).collect::<Vec<_>>();
        report.row("reads data", prefixes.join(", "));
    }
    if let Ok(Value::Object(limits)) = serde_json::to_value(manifest.limits) {
        for (name, limit) in &limits {
            report.row("limit", format!("{name} {}", thousands(limit.as_u64().unwrap_or_default())));
        }
    }
}

/// The keys that the authors' envelopes name, and those of what is said about them.
fn signers(artifact: &UnverifiedArtifact) -> (Vec<String>, Vec<(String, String)>) {
    let (mut authors, mut others) = (Vec::new(), Vec::new());
    for bytes in &artifact.statements {
        let Ok(envelope) = serde_json::from_slice::<Value>(bytes) else { continue };
        let signatures = envelope.get("signatures").and_then(Value::as_array).cloned().unwrap_or_default();
        let keyid = |signature: &Value| Some(signature.get("keyid")?.as_str()?.to_owned());
        let keyids = signatures.iter().filter_map(keyid);
        match Attached::read(bytes) {
            Some(attached) => others.extend(keyids.map(|keyid| (attached.name().to_owned(), keyid))),
            None => authors.extend(keyids),
        }
    }
    (authors, others)
}
