//! Who could make a resource's handle: the built-in `resource.new` of one component, followed to the core modules that
//! get it. Toolchains hand it to modules that never call it.

use std::collections::{BTreeMap, BTreeSet};

use wasmparser::{CanonicalFunction, ComponentAlias, Export, ExternalKind, InstantiationArg};

use super::module::ModulePlan;
use super::rules::{Refusal, refuse};

/// The built-ins `resource.new` of a component.
#[derive(Debug, Default)]
pub(super) struct Makers {
    /// Their indices as core functions.
    functions: BTreeSet<u32>,
    /// The core instances that export them, with the names.
    instances: BTreeMap<u32, Vec<String>>,
}

impl Makers {
    /// Takes note of a canonical function; `next` is the next core function.
    pub(super) fn canonical(&mut self, next: &mut u32, function: &CanonicalFunction) -> Result<(), Refusal> {
        match function {
            CanonicalFunction::Lift { core_func_index, .. } if self.functions.contains(core_func_index) => {
                return refuse("it makes resources");
            }
            CanonicalFunction::Lift { .. } => return Ok(()),
            CanonicalFunction::ResourceNew { .. } => drop(self.functions.insert(*next)),
            _ => {}
        }
        *next = next.saturating_add(1);
        Ok(())
    }

    /// Takes note of an alias; `next` is the next core function.
    pub(super) fn alias(&mut self, next: &mut u32, alias: &ComponentAlias<'_>) {
        let ComponentAlias::CoreInstanceExport { kind: ExternalKind::Func, instance_index, name } = alias
        else {
            return;
        };
        let names = self.instances.get(instance_index);
        if names.is_some_and(|names| names.iter().any(|exported| exported == name)) {
            self.functions.insert(*next);
        }
        *next = next.saturating_add(1);
    }

    /// Takes note of a core instance that is made of exports.
    pub(super) fn exports(&mut self, instance: u32, exports: &[Export<'_>]) {
        for export in exports {
            if export.kind == ExternalKind::Func && self.functions.contains(&export.index) {
                self.instances.entry(instance).or_default().push(export.name.to_owned());
            }
        }
    }

    /// Refuses an instance of a module that gets one of them and could call it or hand it on.
    pub(super) fn args(&self, args: &[InstantiationArg<'_>], module: &ModulePlan) -> Result<(), Refusal> {
        for arg in args {
            let names = self.instances.get(&arg.index).map(Vec::as_slice).unwrap_or_default();
            if names.iter().any(|name| module.uses(arg.name, name)) {
                return refuse("it makes resources");
            }
        }
        Ok(())
    }
}
