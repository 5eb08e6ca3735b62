//! Writes the instrumented component: what was there is copied, what is added comes at the end of each component, so
//! that no index changes.

use std::ops::Range;

use wasm_encoder::{
    Alias, CanonicalFunctionSection, CanonicalOption, Component, ComponentAliasSection, ComponentExportKind,
    ComponentExportSection, ComponentInstanceSection, ComponentTypeSection, ComponentValType, ExportKind,
    InstanceSection, ModuleArg, PrimitiveValType, RawSection,
};

use super::accessor::{AFTER_NAME, POST_RETURN, accessor, release_name};
use super::decision::Decision;
use super::module::memory_name;
use super::rules::Refusal;
use super::survey::{ComponentPlan, Part, Plan};
use super::{DECISION, PREFIX, accessors, memory_accessor};

const MODULE: u8 = 1;
const COMPONENT: u8 = 4;

/// The functions of the accessor that every one has: snapshot, restore, global, globals, table.
const FIXED: u32 = 5;
/// The types that [`types`] adds.
const PLAIN: u32 = 0;
const GLOBAL: u32 = 1;
const COUNT: u32 = 2;
const TABLE: u32 = 3;
const BYTES: u32 = 4;
const MEMORY: u32 = 5;

/// The component of a plan, with accessors.
pub(super) fn component(component: &[u8], plan: &Plan) -> Result<Vec<u8>, String> {
    plan.root().and_then(|root| emit(component, plan, root)).map_err(|Refusal(why)| why)
}

/// A part of the binary.
pub(super) fn bytes<'a>(component: &'a [u8], range: &Range<usize>) -> Result<&'a [u8], Refusal> {
    component.get(range.clone()).ok_or_else(|| Refusal("a section is not where it should be".into()))
}

fn emit(component: &[u8], plan: &Plan, level: &ComponentPlan) -> Result<Vec<u8>, Refusal> {
    let mut out = Component::new();
    for part in &level.parts {
        match part {
            Part::Section(id, range) => {
                out.section(&RawSection { id: *id, data: bytes(component, range)? });
            }
            Part::Module(id) => {
                let data = plan.module(*id)?.emit(component)?;
                out.section(&RawSection { id: MODULE, data: &data });
            }
            Part::Component(id) => {
                let data = emit(component, plan, plan.component(*id)?)?;
                out.section(&RawSection { id: COMPONENT, data: &data });
            }
        }
    }
    if !level.states.is_empty() {
        Added::default().write(&mut out, plan, level)?;
    }
    Ok(out.finish())
}

/// The sections that come at the end of a component with state.
#[derive(Default)]
struct Added {
    aliases: ComponentAliasSection,
    lifts: CanonicalFunctionSection,
    instances: ComponentInstanceSection,
    exports: ComponentExportSection,
    /// How many functions were added to the component's index space.
    functions: u32,
}

impl Added {
    fn write(mut self, out: &mut Component, plan: &Plan, level: &ComponentPlan) -> Result<(), Refusal> {
        // The order of the plan: what the component has itself is 0. In the index space, aliases come before lifts.
        let mut number = usize::from(!level.stateful.is_empty());
        for (instance, component) in &level.instances {
            let component = plan.component(*component)?;
            self.nested(level, *instance, component, number);
            number += component.states.len();
        }
        if !level.stateful.is_empty() {
            let modules =
                level.stateful.iter().map(|(_, id)| plan.module(*id)).collect::<Result<Vec<_>, _>>()?;
            let module = accessor(&modules, level.decision.as_ref());
            out.section(&RawSection { id: MODULE, data: &module }).section(&instance(level));
            let memories = modules.iter().map(|module| module.memories.len());
            self.own(level, &memories.collect::<Vec<_>>());
        }
        if let Some(decision) = &level.decision {
            self.decision(level, decision);
        }
        out.section(&self.aliases);
        if !level.stateful.is_empty() {
            out.section(&types(level.counts.types)).section(&self.lifts);
        }
        if level.decision.is_some() {
            out.section(&self.instances);
        }
        out.section(&self.exports);
        Ok(())
    }

    /// Lifts `decide` a second time, after everything else, and makes an interface of it like the first.
    fn decision(&mut self, level: &ComponentPlan, decision: &Decision) {
        let Decision { lift, shim, .. } = decision;
        let memories = level.states.first().map_or(0, |own| own.memories);
        let after = level.counts.core_functions + FIXED + memories * 2;
        self.core_alias(accessor_instance(level), ExportKind::Func, AFTER_NAME);
        let mut options = lift.options.clone();
        options.push(CanonicalOption::PostReturn(after));
        self.lifts.lift(lift.core_function, lift.ty, options);
        let function = level.counts.functions + self.functions;
        let args = shim.args.iter().map(|(name, kind, index)| match kind {
            ComponentExportKind::Func => (name, *kind, function),
            kind => (name, *kind, *index),
        });
        self.instances.instantiate(shim.index, args);
        self.exports.export(DECISION, ComponentExportKind::Instance, level.counts.instances, None);
    }

    /// Hands on what an instance of a nested component exports, under the numbers from `first` on.
    fn nested(&mut self, level: &ComponentPlan, instance: u32, component: &ComponentPlan, first: usize) {
        for (number, state) in component.states.iter().enumerate() {
            for accessor in accessors(state.memories) {
                let (kind, inner) = (ComponentExportKind::Func, export_name(number, &accessor));
                self.aliases.alias(Alias::InstanceExport { instance, kind, name: &inner });
                self.export(level, &export_name(first + number, &accessor));
            }
        }
    }

    /// Lifts the accessor of the component's own core instances, of which each has so many memories.
    fn own(&mut self, level: &ComponentPlan, memories: &[usize]) {
        let (types, functions) = (level.counts.types, level.counts.core_functions);
        let from = accessor_instance(level);
        let fixed = (functions..).zip([PLAIN, PLAIN, GLOBAL, COUNT, TABLE]);
        for ((function, ty), accessor) in fixed.zip(accessors(0)) {
            self.core_alias(from, ExportKind::Func, &accessor);
            self.lifts.lift(function, types + ty, []);
            self.export(level, &export_name(0, &accessor));
        }
        let memories = level.stateful.iter().zip(memories);
        let memories =
            memories.flat_map(|((instance, _), count)| (0..*count).map(|n| (*instance, memory_name(n))));
        for (number, (instance, name)) in (0..).zip(memories) {
            let function = functions + FIXED + number * 2;
            let (accessor, memory) = (memory_accessor(number), level.counts.core_memories + number);
            self.core_alias(instance, ExportKind::Memory, &name);
            self.core_alias(from, ExportKind::Func, &accessor);
            self.core_alias(from, ExportKind::Func, &release_name(number));
            let options = [CanonicalOption::Memory(memory), CanonicalOption::PostReturn(function + 1)];
            self.lifts.lift(function, types + MEMORY, options);
            self.export(level, &export_name(0, &accessor));
        }
    }

    fn core_alias(&mut self, instance: u32, kind: ExportKind, name: &str) {
        self.aliases.alias(Alias::CoreInstanceExport { instance, kind, name });
    }

    /// Exports the function that comes next in the index space.
    fn export(&mut self, level: &ComponentPlan, name: &str) {
        let function = level.counts.functions + self.functions;
        self.exports.export(name, ComponentExportKind::Func, function, None);
        self.functions += 1;
    }
}

fn export_name(number: usize, accessor: &str) -> String {
    format!("{PREFIX}{number}-{accessor}")
}

/// The post-return function of `decide`, if there is one and it is lifted a second time.
fn post_return(level: &ComponentPlan) -> Option<u32> {
    level.decision.as_ref()?.lift.post_return
}

/// The index of the accessor's instance. It comes after that which hands it the post-return function.
fn accessor_instance(level: &ComponentPlan) -> u32 {
    level.counts.core_instances + u32::from(post_return(level).is_some())
}

/// The instance of the accessor; see [`accessor`] for the names of its imports.
fn instance(level: &ComponentPlan) -> InstanceSection {
    let mut section = InstanceSection::new();
    let args = level.stateful.iter().enumerate();
    let mut args = args.map(|(n, (instance, _))| (n.to_string(), *instance)).collect::<Vec<_>>();
    let (module, name) = POST_RETURN;
    if let Some(function) = post_return(level) {
        section.export_items([(name, ExportKind::Func, function)]);
        args.push((module.to_owned(), level.counts.core_instances));
    }
    let args = args.into_iter().map(|(name, instance)| (name, ModuleArg::Instance(instance)));
    section.instantiate(level.counts.core_modules, args);
    section
}

/// The types of the accessors, the first of which gets the index `first`.
fn types(first: u32) -> ComponentTypeSection {
    let (u32, u64) = (PrimitiveValType::U32, PrimitiveValType::U64);
    let none: [(&str, PrimitiveValType); 0] = [];
    let mut types = ComponentTypeSection::new();
    types.function().params(none).result(None);
    types.function().params([("n", u32)]).result(Some(u64.into()));
    types.function().params(none).result(Some(u32.into()));
    types.function().params([("table", u32), ("element", u32)]).result(Some(u32.into()));
    types.defined_type().list(PrimitiveValType::U8);
    types.function().params(none).result(Some(ComponentValType::Type(first + BYTES)));
    types
}
