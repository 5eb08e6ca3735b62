//! One pass over a component: what can be reset, and where its state is.

use std::mem;
use std::ops::Range;

use wasmparser::types::TypesRef;
use wasmparser::{
    ComponentAlias, ComponentExport, ComponentInstance, ComponentOuterAliasKind, ComponentTypeRef, Encoding,
    Instance, Payload,
};

use super::PREFIX;
use super::decision::{Decision, Seen};
use super::makers::Makers;
use super::module::{ModulePlan, each};
use super::rules::{self, Refusal, Resources, refuse};

/// How deep components may be nested; the passes over the plan recurse.
const DEPTH_MAX: usize = 16;
/// The most component instances with state.
const STATES_MAX: usize = 100;
/// The most mutable globals in all of them.
const GLOBALS_MAX: usize = 10_000;
/// The most memories, and the most tables, of one component instance: what a core module can import.
const MEMORIES_MAX: u32 = 100;

/// A place in one of the plan's lists.
#[derive(Debug, Clone, Copy)]
pub(super) struct Id(usize);

/// All modules and components that are defined anywhere in the component.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    modules: Vec<ModulePlan>,
    components: Vec<ComponentPlan>,
}

impl Plan {
    pub(super) fn module(&self, id: Id) -> Result<&ModulePlan, Refusal> {
        self.modules.get(id.0).ok_or_else(unknown)
    }

    pub(super) fn component(&self, id: Id) -> Result<&ComponentPlan, Refusal> {
        self.components.get(id.0).ok_or_else(unknown)
    }

    /// The outermost component: the last that was complete.
    pub(super) fn root(&self) -> Result<&ComponentPlan, Refusal> {
        self.components.last().ok_or_else(unknown)
    }
}

/// What is known of one component.
#[derive(Debug, Default)]
pub(super) struct ComponentPlan {
    pub(super) parts: Vec<Part>,
    /// Its index spaces, as far as they are referred to.
    modules: Vec<Id>,
    components: Vec<Id>,
    /// Those of its core instances that have state: index and module.
    pub(super) stateful: Vec<(u32, Id)>,
    /// The component instances that it makes: index and component.
    pub(super) instances: Vec<(u32, Id)>,
    /// The instances with state that an instance of it consists of: itself and those it makes.
    pub(super) states: Vec<State>,
    pub(super) counts: Counts,
    /// What a second lift of `decide` needs. Only the root has one.
    pub(super) decision: Option<Decision>,
    seen: Seen,
    function_imports: u32,
    makers: Makers,
    /// Whether one of its core instances has, and one grows, a memory that starts without pages.
    starts_empty: bool,
    grows_empty: bool,
}

/// A section of a component.
#[derive(Debug)]
pub(super) enum Part {
    Section(u8, Range<usize>),
    Module(Id),
    Component(Id),
}

/// How much state one component instance has.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct State {
    globals: usize,
    pub(super) memories: u32,
    tables: u32,
}

/// How many items there are in the index spaces of a component at its end.
#[derive(Debug, Default)]
pub(super) struct Counts {
    pub(super) core_functions: u32,
    pub(super) core_memories: u32,
    pub(super) core_modules: u32,
    pub(super) core_instances: u32,
    pub(super) types: u32,
    pub(super) functions: u32,
    pub(super) instances: u32,
}

/// A survey under way.
#[derive(Debug, Default)]
pub(crate) struct Survey {
    plan: Plan,
    open: Vec<Open>,
    refused: Option<Refusal>,
}

#[derive(Debug)]
enum Open {
    Module(ModulePlan),
    Component(Box<ComponentPlan>),
}

impl Survey {
    /// Takes note of a payload. `types` are those of the module or component around it, before the payload is validated.
    /// After the first refusal nothing more is looked at.
    pub(crate) fn payload(&mut self, payload: &Payload<'_>, types: Option<TypesRef<'_>>) {
        if self.refused.is_none() {
            self.refused = self.note(payload, types).err();
        }
    }

    /// What was found in a component that was seen to its end.
    ///
    /// # Errors
    /// Why it cannot be reset in place.
    pub(crate) fn finish(self) -> Result<Plan, String> {
        match self.refused {
            Some(Refusal(why)) => Err(why),
            None => Ok(self.plan),
        }
    }

    fn note(&mut self, payload: &Payload<'_>, types: Option<TypesRef<'_>>) -> Result<(), Refusal> {
        match payload {
            Payload::Version { encoding, .. } => return self.enter(*encoding),
            Payload::End(_) => return self.leave(types),
            _ => {}
        }
        let Some((open, outer)) = self.open.split_last_mut() else { return Err(unknown()) };
        match open {
            Open::Module(module) => module.payload(payload),
            Open::Component(component) => {
                component.payload(payload, &types.ok_or_else(unknown)?, outer, &self.plan)
            }
        }
    }

    fn enter(&mut self, encoding: Encoding) -> Result<(), Refusal> {
        if self.open.len() >= DEPTH_MAX {
            return refuse(format!("components are nested more than {DEPTH_MAX} deep"));
        }
        self.open.push(match encoding {
            Encoding::Module => Open::Module(ModulePlan::default()),
            Encoding::Component => Open::Component(Box::default()),
        });
        Ok(())
    }

    fn leave(&mut self, types: Option<TypesRef<'_>>) -> Result<(), Refusal> {
        let done = self.open.pop().ok_or_else(unknown)?;
        let around = match self.open.last_mut() {
            Some(Open::Component(around)) => Some(around),
            Some(Open::Module(_)) => return Err(unknown()),
            None => None,
        };
        match done {
            Open::Module(module) => {
                let (id, around) = (Id(self.plan.modules.len()), around.ok_or_else(unknown)?);
                self.plan.modules.push(module);
                around.modules.push(id);
                around.parts.push(Part::Module(id));
            }
            Open::Component(mut component) => {
                component.finish(&self.plan, &types.ok_or_else(unknown)?)?;
                let id = Id(self.plan.components.len());
                self.plan.components.push(*component);
                if let Some(around) = around {
                    around.components.push(id);
                    around.parts.push(Part::Component(id));
                }
            }
        }
        Ok(())
    }
}

impl ComponentPlan {
    fn payload(
        &mut self,
        payload: &Payload<'_>,
        types: &TypesRef<'_>,
        outer: &[Open],
        plan: &Plan,
    ) -> Result<(), Refusal> {
        let is_root = outer.is_empty();
        let from = if is_root { Resources::Host } else { Resources::Inside };
        match payload {
            // They follow, in payloads of their own.
            Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => return Ok(()),
            Payload::CustomSection(_) => {}
            Payload::ComponentTypeSection(section) => each(section, |ty| rules::component_type(&ty, from))?,
            Payload::CoreTypeSection(section) => each(section, |ty| rules::component_core_type(&ty))?,
            Payload::ComponentImportSection(section) => each(section, |import| {
                self.function_imports += u32::from(matches!(import.ty, ComponentTypeRef::Func(_)));
                rules::external(import.ty, from)
            })?,
            Payload::ComponentExportSection(section) => each(section, |export| {
                if is_root {
                    self.seen.export(&export);
                }
                export_allowed(&export)
            })?,
            Payload::ComponentCanonicalSection(section) => {
                let (mut next, mut next_lifted) = (types.function_count(), types.component_function_count());
                each(section, |function| {
                    rules::canonical(&function)?;
                    if is_root {
                        self.seen.canonical(&mut next_lifted, &function);
                    }
                    self.makers.canonical(&mut next, &function)
                })?;
            }
            Payload::ComponentAliasSection(section) => {
                let mut next = types.function_count();
                each(section, |alias| {
                    self.makers.alias(&mut next, &alias);
                    self.alias(&alias, outer)
                })?;
            }
            Payload::InstanceSection(section) => {
                let mut index = types.core_instance_count()..;
                each(section, |instance| {
                    self.core_instance(index.next().unwrap_or_default(), &instance, plan)
                })?;
            }
            Payload::ComponentInstanceSection(section) => {
                let mut index = types.component_instance_count()..;
                each(section, |instance| {
                    self.instance(index.next().unwrap_or_default(), &instance, is_root)
                })?;
            }
            Payload::ComponentStartSection { .. } => return refuse("it has a start function of its own"),
            _ => return refuse("it has a section that is not known"),
        }
        let (id, range) = payload.as_section().ok_or_else(unknown)?;
        self.parts.push(Part::Section(id, range));
        Ok(())
    }

    fn alias(&mut self, alias: &ComponentAlias<'_>, outer: &[Open]) -> Result<(), Refusal> {
        rules::alias(alias)?;
        let ComponentAlias::Outer { kind, count, index } = alias else { return Ok(()) };
        let find = |list: fn(&ComponentPlan) -> &[Id]| {
            let component = match usize::try_from(*count).ok()?.checked_sub(1) {
                None => &*self,
                Some(up) => match outer.iter().nth_back(up)? {
                    Open::Component(component) => component,
                    Open::Module(_) => return None,
                },
            };
            list(component).get(usize::try_from(*index).ok()?).copied()
        };
        match kind {
            ComponentOuterAliasKind::CoreModule => {
                let id = find(|component| &component.modules).ok_or_else(unknown)?;
                self.modules.push(id);
            }
            ComponentOuterAliasKind::Component => {
                let id = find(|component| &component.components).ok_or_else(unknown)?;
                self.components.push(id);
            }
            ComponentOuterAliasKind::CoreType | ComponentOuterAliasKind::Type => {}
        }
        Ok(())
    }

    fn core_instance(&mut self, index: u32, instance: &Instance<'_>, plan: &Plan) -> Result<(), Refusal> {
        let (module_index, args) = match instance {
            Instance::Instantiate { module_index, args } => (*module_index, args),
            Instance::FromExports(exports) => {
                self.makers.exports(index, exports);
                return Ok(());
            }
        };
        let id = at(&self.modules, module_index)?;
        let module = plan.module(id)?;
        self.makers.args(args, module)?;
        self.starts_empty |= module.starts_empty;
        self.grows_empty |= module.grows_empty;
        if module.has_state() {
            self.stateful.push((index, id));
        }
        Ok(())
    }

    fn instance(
        &mut self,
        index: u32,
        instance: &ComponentInstance<'_>,
        is_root: bool,
    ) -> Result<(), Refusal> {
        match instance {
            ComponentInstance::Instantiate { component_index, args } => {
                args.iter().try_for_each(|arg| rules::kind(arg.kind))?;
                let component = at(&self.components, *component_index)?;
                self.instances.push((index, component));
                if is_root {
                    self.seen.instance(index, (*component_index, component), args);
                }
                Ok(())
            }
            ComponentInstance::FromExports(exports) => {
                exports.iter().try_for_each(|export| rules::kind(export.kind))
            }
        }
    }

    fn finish(&mut self, plan: &Plan, types: &TypesRef<'_>) -> Result<(), Refusal> {
        self.counts = Counts {
            core_functions: types.function_count(),
            core_memories: types.memory_count(),
            core_modules: types.module_count(),
            core_instances: types.core_instance_count(),
            types: types.component_type_count(),
            functions: types.component_function_count(),
            instances: types.component_instance_count(),
        };
        if self.starts_empty && self.grows_empty {
            return refuse("it grows a memory that starts without pages");
        }
        if !self.stateful.is_empty() {
            self.states.push(self.own_state(plan)?);
            self.decision = mem::take(&mut self.seen).decision(plan, types);
        }
        for (_, component) in &self.instances {
            self.states.extend_from_slice(&plan.component(*component)?.states);
            if self.states.len() > STATES_MAX {
                return refuse(format!("it has more than {STATES_MAX} component instances with state"));
            }
        }
        if self.states.iter().map(|state| state.globals).sum::<usize>() > GLOBALS_MAX {
            return refuse(format!("it has more than {GLOBALS_MAX} mutable globals"));
        }
        Ok(())
    }

    /// Whether it has no function but one that it imports, and runs no code.
    pub(super) fn only_names_types(&self) -> bool {
        let Counts { core_functions, core_instances, instances, .. } = self.counts;
        self.function_imports == 1 && (core_functions, core_instances, instances) == (0, 0, 0)
    }

    fn own_state(&self, plan: &Plan) -> Result<State, Refusal> {
        let mut state = State::default();
        for (_, module) in &self.stateful {
            let module = plan.module(*module)?;
            state.globals += module.globals.len();
            state.memories = state.memories.saturating_add(length(&module.memories));
            state.tables = state.tables.saturating_add(length(&module.tables));
        }
        if state.memories > MEMORIES_MAX || state.tables > MEMORIES_MAX {
            return refuse(format!("a component instance has more than {MEMORIES_MAX} memories or tables"));
        }
        Ok(state)
    }
}

fn export_allowed(export: &ComponentExport<'_>) -> Result<(), Refusal> {
    rules::kind(export.kind)?;
    let name = export.name.name;
    // Names that differ in case only are the same to the validator.
    match name.get(..PREFIX.len()) {
        Some(start) if start.eq_ignore_ascii_case(PREFIX) => refuse(format!("a component exports `{name}`")),
        _ => Ok(()),
    }
}

pub(super) fn length<T>(list: &[T]) -> u32 {
    u32::try_from(list.len()).unwrap_or(u32::MAX)
}

fn at(list: &[Id], index: u32) -> Result<Id, Refusal> {
    usize::try_from(index).ok().and_then(|index| list.get(index)).copied().ok_or_else(unknown)
}

/// For what cannot be in a valid component.
fn unknown() -> Refusal {
    Refusal("it refers to something that is not known".into())
}
