//! The one function that a component lifts, where that is the contract's `decide`, and what a second lift of it needs:
//! one whose post-return function puts the globals back too, so that no call of its own is needed for that.
//!
//! A toolchain writes it like this: the root lifts a core function, gives it to a component that does nothing but name
//! types, and exports the instance. Whatever looks otherwise has no second lift.

use verdict_core::manifest::CONTRACT;
use wasm_encoder::ComponentExportKind;
use wasmparser::types::TypesRef;
use wasmparser::{
    CanonicalFunction, CanonicalOption, ComponentExport, ComponentExternalKind, ComponentInstantiationArg,
    CompositeInnerType, ValType,
};

use super::survey::{Id, Plan};

/// The beginning of the name of the interface that the component exports; its version follows.
const INTERFACE: &str = "verdict:policy/decision@";
/// The most arguments of the component that names types.
const ARGS_MAX: usize = 100;

/// What a root was seen to have that bears on it.
#[derive(Debug, Default)]
pub(super) struct Seen {
    lifts: u32,
    lift: Option<Lift>,
    /// The first instance that gets the lifted function.
    shim: Option<Shim>,
    /// The component instance that is the exported interface.
    exported: Option<u32>,
}

/// A lift, with what there is to be said again in a second one.
#[derive(Debug, Clone)]
pub(super) struct Lift {
    function: u32,
    pub(super) core_function: u32,
    pub(super) ty: u32,
    pub(super) options: Vec<wasm_encoder::CanonicalOption>,
    pub(super) post_return: Option<u32>,
}

/// The instance of a component that names types.
#[derive(Debug)]
pub(super) struct Shim {
    instance: u32,
    component: Id,
    /// The component's index.
    pub(super) index: u32,
    /// The function among them is the lifted one.
    pub(super) args: Vec<(String, ComponentExportKind, u32)>,
}

/// What a second lift needs.
#[derive(Debug)]
pub(super) struct Decision {
    pub(super) lift: Lift,
    /// What the core function returns, which is what its post-return function takes.
    pub(super) results: Vec<ValType>,
    pub(super) shim: Shim,
}

impl Seen {
    /// Takes note of a canonical function of the root; if it is a lift, it makes this component function.
    pub(super) fn canonical(&mut self, next: &mut u32, canonical: &CanonicalFunction) {
        let CanonicalFunction::Lift { core_func_index, type_index, options } = canonical else { return };
        self.lifts = self.lifts.saturating_add(1);
        self.lift = Lift::new(*next, *core_func_index, *type_index, options);
        *next = next.saturating_add(1);
    }

    /// Takes note of an instance of a component that the root makes.
    pub(super) fn instance(
        &mut self,
        instance: u32,
        (index, component): (u32, Id),
        args: &[ComponentInstantiationArg<'_>],
    ) {
        let functions = args.iter().filter(|arg| arg.kind == ComponentExternalKind::Func);
        // A second function could be the one that the interface has.
        let is_given =
            functions.map(|arg| Some(arg.index)).eq([self.lift.as_ref().map(|lift| lift.function)]);
        if !is_given || self.shim.is_some() || args.len() > ARGS_MAX {
            return;
        }
        let args = args.iter().map(|arg| Some((arg.name.to_owned(), kind(arg.kind)?, arg.index)));
        self.shim = args.collect::<Option<_>>().map(|args| Shim { instance, component, index, args });
    }

    /// Takes note of an export of the root.
    pub(super) fn export(&mut self, export: &ComponentExport<'_>) {
        let is_decision = export.name.name.strip_prefix(INTERFACE) == Some(CONTRACT);
        if is_decision && export.kind == ComponentExternalKind::Instance {
            self.exported = Some(export.index);
        }
    }

    /// What a second lift needs, if there is to be one. `types` are those of the whole root.
    pub(super) fn decision(self, plan: &Plan, types: &TypesRef<'_>) -> Option<Decision> {
        let Self { lifts: 1, lift: Some(lift), shim: Some(shim), exported: Some(exported) } = self else {
            return None;
        };
        if shim.instance != exported || !plan.component(shim.component).ok()?.only_names_types() {
            return None;
        }
        let results = results(lift.core_function, types)?;
        Some(Decision { lift, results, shim })
    }
}

impl Lift {
    fn new(function: u32, core_function: u32, ty: u32, options: &[CanonicalOption]) -> Option<Self> {
        use wasm_encoder::CanonicalOption as Written;
        let mut lift = Self { function, core_function, ty, options: Vec::new(), post_return: None };
        for option in options {
            lift.options.push(match *option {
                CanonicalOption::UTF8 => Written::UTF8,
                CanonicalOption::UTF16 => Written::UTF16,
                CanonicalOption::CompactUTF16 => Written::CompactUTF16,
                CanonicalOption::Memory(memory) => Written::Memory(memory),
                CanonicalOption::Realloc(function) => Written::Realloc(function),
                CanonicalOption::PostReturn(function) => {
                    lift.post_return = Some(function);
                    continue;
                }
                _ => return None,
            });
        }
        Some(lift)
    }
}

fn kind(kind: ComponentExternalKind) -> Option<ComponentExportKind> {
    match kind {
        ComponentExternalKind::Func => Some(ComponentExportKind::Func),
        ComponentExternalKind::Type => Some(ComponentExportKind::Type),
        _ => None,
    }
}

fn results(function: u32, types: &TypesRef<'_>) -> Option<Vec<ValType>> {
    if function >= types.function_count() {
        return None;
    }
    match &types.get(types.core_function_at(function))?.composite_type.inner {
        CompositeInnerType::Func(ty) => Some(ty.results().to_vec()),
        _ => None,
    }
}
