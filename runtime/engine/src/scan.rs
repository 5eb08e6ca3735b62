//! What a component is, before anything of it is compiled: valid, of bounded size, and importing what its manifest
//! grants. This is the check behind "the import list is the capability list".

mod nesting;
#[cfg(test)]
mod tests;
mod width;

use serde::{Deserialize, Serialize};
use verdict_core::manifest::{CONTRACT, Manifest};
use verdict_core::refusal::{Refusal, RefusalCode};
use wasmparser::{
    ComponentExport, ComponentExternalKind, ComponentImport, ComponentTypeRef, FuncValidatorAllocations,
    Parser, Payload, ValidPayload, Validator, WasmFeatures,
};

use self::width::{VALUES_MAX, width};
use crate::instrument::Survey;

/// The largest component, in bytes.
pub const COMPONENT_BYTES_MAX: u64 = 32 << 20;
/// The most core functions; compiling takes time for each.
const FUNCTIONS_MAX: u64 = 100_000;
/// The most core modules.
const MODULES_MAX: u64 = 500;
/// The most nested components.
const COMPONENTS_MAX: u64 = 1_000;
/// How deep modules and components may lie inside each other; validating takes time for the square of it.
const DEPTH_MAX: u64 = 32;
/// The most bytes of one function; what the compiler needs grows faster than this.
const FUNCTION_BYTES_MAX: usize = 1 << 20;
const PAGE_BYTES: u64 = 64 << 10;
const PACKAGE: &str = "verdict:policy/";

/// What can be said about a component without compiling it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Inspection {
    /// The names of its imports: what it can reach.
    pub imports: Vec<String>,
    /// The names of its exports.
    pub exports: Vec<String>,
    /// The version of the contract that its `decision` export names, if there is one.
    pub contract: Option<String>,
    /// Its size.
    pub bytes: u64,
    /// How many core modules there are in it.
    pub core_modules: u64,
    /// How many core functions they define.
    pub functions: u64,
    /// Bytes of linear memory that its modules declare to begin with.
    pub memory_bytes_initial: u64,
    /// Why its instances cannot be put back into their first state, so that each evaluation needs a new one; none if
    /// they can.
    pub reset_refused: Option<String>,
}

/// What a component asks for, as far as manifests and limits decide whether it may have it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Needs {
    imports: Vec<String>,
    contract: Option<String>,
    memory_bytes_initial: u64,
}

impl From<Inspection> for Needs {
    fn from(found: Inspection) -> Self {
        let Inspection { imports, contract, memory_bytes_initial, .. } = found;
        Self { imports, contract, memory_bytes_initial }
    }
}

/// Validates a component and says what it is.
///
/// # Errors
/// `too-large` and `malformed-component`.
pub(crate) fn inspect(component: &[u8]) -> Result<Inspection, Refusal> {
    let bytes = u64::try_from(component.len()).unwrap_or(u64::MAX);
    if bytes > COMPONENT_BYTES_MAX {
        return Err(too_large("bytes", bytes, COMPONENT_BYTES_MAX));
    }
    if !Parser::is_component(component) {
        return Err(malformed("it is not a component; a core module has to be made one first"));
    }
    let mut scan = Scan { found: Inspection { bytes, ..Inspection::default() }, depth: 0, components: 0 };
    let mut survey = Survey::default();
    let mut validator = Validator::new_with_features(features());
    for payload in Parser::new(0).parse_all(component) {
        let payload = payload.map_err(malformed)?;
        // In this order: a count is checked before the validator keeps anything for it.
        scan.payload(&payload)?;
        if !is_bounded(component, &payload) {
            return Err(malformed("its types are nested too deep"));
        }
        survey.payload(&payload, validator.types(0));
        if let ValidPayload::Func(function, body) = validator.payload(&payload).map_err(malformed)? {
            let values = width(&function, &body).map_err(malformed)?;
            bound("results of one function, or parameters of one block", values, VALUES_MAX)?;
            let mut function = function.into_validator(FuncValidatorAllocations::default());
            function.validate(&body).map_err(malformed)?;
        }
    }
    Ok(Inspection { reset_refused: survey.finish().err(), ..scan.found })
}

/// Whether a payload can be read and validated at all without running out of stack.
pub(crate) fn is_bounded(component: &[u8], payload: &Payload<'_>) -> bool {
    match payload {
        Payload::ComponentTypeSection(types) => nesting::is_bounded(component, types),
        _ => true,
    }
}

/// What the validator allows; [`crate::config`] allows the compiler the same.
pub(crate) fn features() -> WasmFeatures {
    WasmFeatures::MUTABLE_GLOBAL
        | WasmFeatures::SATURATING_FLOAT_TO_INT
        | WasmFeatures::SIGN_EXTENSION
        | WasmFeatures::REFERENCE_TYPES
        | WasmFeatures::MULTI_VALUE
        | WasmFeatures::BULK_MEMORY
        | WasmFeatures::SIMD
        | WasmFeatures::RELAXED_SIMD
        | WasmFeatures::TAIL_CALL
        | WasmFeatures::FLOATS
        | WasmFeatures::MULTI_MEMORY
        | WasmFeatures::EXTENDED_CONST
        | WasmFeatures::COMPONENT_MODEL
}

struct Scan {
    found: Inspection,
    /// How many modules and components are open around the next payload, the outermost included.
    depth: u32,
    /// How many nested components there are.
    components: u64,
}

impl Scan {
    fn payload(&mut self, payload: &Payload<'_>) -> Result<(), Refusal> {
        match payload {
            Payload::Version { .. } => {
                self.depth += 1;
                bound("levels of nesting", self.depth.into(), DEPTH_MAX)?;
            }
            Payload::ComponentSection { .. } => {
                self.components += 1;
                bound("nested components", self.components, COMPONENTS_MAX)?;
            }
            Payload::End(_) => self.depth = self.depth.saturating_sub(1),
            Payload::ModuleSection { .. } => {
                self.found.core_modules += 1;
                bound("core modules", self.found.core_modules, MODULES_MAX)?;
            }
            Payload::FunctionSection(functions) => {
                self.found.functions += u64::from(functions.count());
                bound("functions", self.found.functions, FUNCTIONS_MAX)?;
            }
            Payload::CodeSectionEntry(body) => {
                let bytes = body.range().len();
                if bytes > FUNCTION_BYTES_MAX {
                    return Err(malformed(format!(
                        "one function has {bytes} bytes; at most {FUNCTION_BYTES_MAX}"
                    )));
                }
            }
            Payload::MemorySection(memories) => {
                for memory in memories.clone() {
                    let bytes = memory.map_err(malformed)?.initial.saturating_mul(PAGE_BYTES);
                    self.found.memory_bytes_initial = self.found.memory_bytes_initial.saturating_add(bytes);
                }
            }
            // Those of nested components are satisfied from inside.
            Payload::ComponentImportSection(imports) if self.depth == 1 => {
                for import in imports.clone() {
                    self.import(&import.map_err(malformed)?);
                }
            }
            Payload::ComponentExportSection(exports) if self.depth == 1 => {
                for export in exports.clone() {
                    self.export(&export.map_err(malformed)?);
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn import(&mut self, import: &ComponentImport<'_>) {
        let kind = match import.ty {
            ComponentTypeRef::Instance(_) => "",
            _ => " (not an interface)",
        };
        self.found.imports.push(format!("{}{kind}", import.name.name));
    }

    fn export(&mut self, export: &ComponentExport<'_>) {
        let name = export.name.name;
        let decision = name.strip_prefix(PACKAGE).and_then(|name| name.strip_prefix("decision@"));
        if let (Some(version), ComponentExternalKind::Instance) = (decision, export.kind) {
            self.found.contract = Some(version.to_owned());
        }
        self.found.exports.push(name.to_owned());
    }
}

/// Checks that a component speaks this host's contract, imports what its manifest grants, and fits into its memory.
///
/// # Errors
/// `wrong-contract`, `undeclared-import` and `too-large`.
pub(crate) fn check(found: &Needs, manifest: &Manifest, memory_bytes: u64) -> Result<(), Refusal> {
    if manifest.contract.to_string() != CONTRACT {
        return Err(wrong_contract(format!("the manifest names version `{}`", manifest.contract)));
    }
    match found.contract.as_deref() {
        Some(CONTRACT) => {}
        Some(version) => return Err(wrong_contract(format!("its `decision` has version `{version}`"))),
        None => return Err(wrong_contract("it does not export the interface `decision`".into())),
    }
    let granted = manifest.capabilities.interfaces();
    for import in &found.imports {
        check_import(import, |interface| granted.contains(interface))?;
    }
    bound("bytes of memory at the start", found.memory_bytes_initial, memory_bytes)
}

fn check_import(import: &str, granted: impl Fn(&str) -> bool) -> Result<(), Refusal> {
    let undeclared = |why: &str| {
        Err(Refusal::new(RefusalCode::UndeclaredImport, format!("`{import}` is imported, {why}")))
    };
    let Some((interface, version)) = import.strip_prefix(PACKAGE).and_then(|name| name.split_once('@'))
    else {
        return match import.starts_with("wasi:") {
            true => undeclared("and WASI is not linked; build the policy for `wasm32-unknown-unknown`"),
            false => undeclared("which is not part of the contract"),
        };
    };
    if version != CONTRACT {
        return Err(wrong_contract(format!("it imports `{import}`")));
    }
    match granted(interface) {
        true => Ok(()),
        false => undeclared("but the manifest does not declare it"),
    }
}

fn bound(what: &str, count: u64, max: u64) -> Result<(), Refusal> {
    if count > max { Err(too_large(what, count, max)) } else { Ok(()) }
}

fn too_large(what: &str, count: u64, max: u64) -> Refusal {
    Refusal::new(RefusalCode::TooLarge, format!("the component has {count} {what}; at most {max}"))
}

fn malformed(reason: impl std::fmt::Display) -> Refusal {
    Refusal::new(RefusalCode::MalformedComponent, format!("the component is malformed: {reason}"))
}

fn wrong_contract(why: String) -> Refusal {
    Refusal::new(RefusalCode::WrongContract, format!("{why}; this host speaks `{CONTRACT}`"))
}
