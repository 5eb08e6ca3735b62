//! What a component may contain so that putting its globals and memories back makes it as new. These are lists of what
//! is allowed: what is not known here is refused, so that a new proposal cannot bring hidden state along.

use wasmparser::{
    BinaryReaderError, CanonicalFunction, CanonicalOption, ComponentAlias, ComponentDefinedType,
    ComponentExternalKind, ComponentFuncType, ComponentOuterAliasKind, ComponentType,
    ComponentTypeDeclaration, ComponentTypeRef, ComponentValType, CompositeInnerType, CoreType, ExternalKind,
    InstanceTypeDeclaration, Operator, PrimitiveValType, RecGroup, TypeBounds,
};

/// Why a component cannot be reset in place: a clause that follows a colon.
#[derive(Debug, Clone)]
pub(super) struct Refusal(pub(super) String);

impl From<BinaryReaderError> for Refusal {
    fn from(error: BinaryReaderError) -> Self {
        Self(format!("it is not valid: {}", error.message()))
    }
}

pub(super) fn refuse<T>(why: impl Into<String>) -> Result<T, Refusal> {
    Err(Refusal(why.into()))
}

/// Tables and the dropping of segments are state that an accessor cannot put back.
pub(super) fn operator(operator: &Operator<'_>) -> Result<(), Refusal> {
    let name = match operator {
        Operator::TableSet { .. } => "table.set",
        Operator::TableGrow { .. } => "table.grow",
        Operator::TableFill { .. } => "table.fill",
        Operator::TableCopy { .. } => "table.copy",
        Operator::TableInit { .. } => "table.init",
        Operator::DataDrop { .. } => "data.drop",
        Operator::ElemDrop { .. } => "elem.drop",
        other => return proposal(other),
    };
    refuse(format!("a function uses `{name}`"))
}

/// Proposals whose operators change nothing but locals, globals and memories.
const PROPOSALS: &[&str] = &[
    "mvp",
    "sign_extension",
    "saturating_float_to_int",
    "bulk_memory",
    "reference_types",
    "simd",
    "relaxed_simd",
    "tail_call",
];

fn proposal(operator: &Operator<'_>) -> Result<(), Refusal> {
    macro_rules! named {
        ($(@$proposal:ident $op:ident $({ $($arg:ident: $ty:ty),* })? => $visit:ident ($($annotation:tt)*))*) => {
            match operator {
                $(Operator::$op { .. } => (stringify!($proposal), stringify!($op)),)*
                _ => ("unknown", "unknown"),
            }
        };
    }
    let (proposal, name) = wasmparser::for_each_operator!(named);
    if PROPOSALS.contains(&proposal) {
        return Ok(());
    }
    refuse(format!("a function uses `{name}`, an operator of the proposal `{proposal}`"))
}

/// Function types are all there are without garbage collection.
pub(super) fn core_type(group: &RecGroup) -> Result<(), Refusal> {
    for ty in group.types() {
        let composite = &ty.composite_type;
        if !matches!(composite.inner, CompositeInnerType::Func(_)) || composite.shared {
            return refuse("a core type is not that of an unshared function");
        }
    }
    Ok(())
}

/// The types of a component's core type section.
pub(super) fn component_core_type(ty: &CoreType<'_>) -> Result<(), Refusal> {
    match ty {
        CoreType::Rec(group) => core_type(group),
        CoreType::Module(_) => refuse("a core module is handed around"),
    }
}

/// Who makes the resources that a component imports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Resources {
    /// The host: those of the outermost component.
    Host,
    /// Another component, which is looked at too.
    Inside,
}

/// A type of a component. Handles are hidden state: the order in which freed ones come back. So there must be nobody
/// who could make one: not the host, and no core module (which the survey sees to). Then their types do not matter.
pub(super) fn component_type(ty: &ComponentType<'_>, from: Resources) -> Result<(), Refusal> {
    match ty {
        ComponentType::Defined(ty) => defined_type(ty),
        ComponentType::Func(ComponentFuncType { async_: true, .. }) => refuse("a function is asynchronous"),
        ComponentType::Func(function) => {
            function.params.iter().try_for_each(|(_, ty)| value_type(*ty))?;
            function.result.map_or(Ok(()), value_type)
        }
        ComponentType::Component(declarations) => {
            declarations.iter().try_for_each(|declaration| component_declaration(declaration, from))
        }
        ComponentType::Instance(declarations) => {
            declarations.iter().try_for_each(|declaration| instance_declaration(declaration, from))
        }
        ComponentType::Resource { .. } => Ok(()),
    }
}

fn component_declaration(declaration: &ComponentTypeDeclaration<'_>, from: Resources) -> Result<(), Refusal> {
    match declaration {
        ComponentTypeDeclaration::CoreType(ty) => component_core_type(ty),
        ComponentTypeDeclaration::Type(ty) => component_type(ty, from),
        ComponentTypeDeclaration::Alias(of) => alias(of),
        ComponentTypeDeclaration::Export { ty, .. } => external(*ty, from),
        ComponentTypeDeclaration::Import(import) => external(import.ty, from),
    }
}

fn instance_declaration(declaration: &InstanceTypeDeclaration<'_>, from: Resources) -> Result<(), Refusal> {
    match declaration {
        InstanceTypeDeclaration::CoreType(ty) => component_core_type(ty),
        InstanceTypeDeclaration::Type(ty) => component_type(ty, from),
        InstanceTypeDeclaration::Alias(of) => alias(of),
        InstanceTypeDeclaration::Export { ty, .. } => external(*ty, from),
    }
}

fn defined_type(ty: &ComponentDefinedType<'_>) -> Result<(), Refusal> {
    match ty {
        ComponentDefinedType::Primitive(ty) => value_type(ComponentValType::Primitive(*ty)),
        ComponentDefinedType::Record(fields) => fields.iter().try_for_each(|(_, ty)| value_type(*ty)),
        ComponentDefinedType::Variant(cases) => {
            cases.iter().filter_map(|case| case.ty).try_for_each(value_type)
        }
        ComponentDefinedType::Tuple(types) => types.iter().copied().try_for_each(value_type),
        ComponentDefinedType::List(ty) | ComponentDefinedType::Option(ty) => value_type(*ty),
        ComponentDefinedType::Result { ok, err } => {
            [ok, err].into_iter().flatten().copied().try_for_each(value_type)
        }
        ComponentDefinedType::Flags(_)
        | ComponentDefinedType::Enum(_)
        | ComponentDefinedType::Own(_)
        | ComponentDefinedType::Borrow(_) => Ok(()),
        ComponentDefinedType::Future(_) | ComponentDefinedType::Stream(_) => {
            refuse("a type is a future or a stream")
        }
        ComponentDefinedType::Map(..) | ComponentDefinedType::FixedLengthList(..) => {
            refuse("a type is a map or a list of fixed length")
        }
    }
}

/// What an index points at has been looked at where it is defined.
fn value_type(ty: ComponentValType) -> Result<(), Refusal> {
    match ty {
        ComponentValType::Primitive(PrimitiveValType::ErrorContext) => refuse("a type is an error context"),
        ComponentValType::Primitive(_) | ComponentValType::Type(_) => Ok(()),
    }
}

/// What is imported.
pub(super) fn external(ty: ComponentTypeRef, from: Resources) -> Result<(), Refusal> {
    match ty {
        ComponentTypeRef::Type(TypeBounds::SubResource) if from == Resources::Host => {
            refuse("it imports a resource")
        }
        ComponentTypeRef::Type(_) => Ok(()),
        other => kind(other.kind()),
    }
}

/// What is exported, aliased or handed to a nested component.
pub(super) fn kind(kind: ComponentExternalKind) -> Result<(), Refusal> {
    match kind {
        ComponentExternalKind::Func | ComponentExternalKind::Type | ComponentExternalKind::Instance => Ok(()),
        ComponentExternalKind::Module => refuse("a core module is handed around"),
        ComponentExternalKind::Component => refuse("a component is handed around"),
        ComponentExternalKind::Value => refuse("it has component values"),
    }
}

/// Outer modules and components are the survey's to resolve.
pub(super) fn alias(alias: &ComponentAlias<'_>) -> Result<(), Refusal> {
    match alias {
        ComponentAlias::InstanceExport { kind: of, .. } => kind(*of),
        ComponentAlias::CoreInstanceExport { kind, .. } => match kind {
            ExternalKind::Func | ExternalKind::Table | ExternalKind::Memory | ExternalKind::Global => Ok(()),
            ExternalKind::Tag | ExternalKind::FuncExact => {
                refuse("a core alias is of a kind that is not known")
            }
        },
        ComponentAlias::Outer { kind, .. } => match kind {
            ComponentOuterAliasKind::CoreModule
            | ComponentOuterAliasKind::CoreType
            | ComponentOuterAliasKind::Type
            | ComponentOuterAliasKind::Component => Ok(()),
        },
    }
}

/// Lifts and lowers that are synchronous; every built-in has state in the host.
pub(super) fn canonical(function: &CanonicalFunction) -> Result<(), Refusal> {
    match function {
        CanonicalFunction::Lift { options, .. } | CanonicalFunction::Lower { options, .. } => {
            options.iter().try_for_each(canonical_option)
        }
        // Without a handle to give them, the latter trap; the survey sees to it that nobody makes one.
        CanonicalFunction::ResourceNew { .. }
        | CanonicalFunction::ResourceDrop { .. }
        | CanonicalFunction::ResourceRep { .. } => Ok(()),
        other => {
            let name = format!("{other:?}");
            let name = name.split([' ', '{', '(']).next().unwrap_or_default();
            refuse(format!("it uses the built-in `{name}`"))
        }
    }
}

fn canonical_option(option: &CanonicalOption) -> Result<(), Refusal> {
    match option {
        CanonicalOption::UTF8
        | CanonicalOption::UTF16
        | CanonicalOption::CompactUTF16
        | CanonicalOption::Memory(_)
        | CanonicalOption::Realloc(_)
        | CanonicalOption::PostReturn(_) => Ok(()),
        CanonicalOption::Async | CanonicalOption::Callback(_) => refuse("a function is asynchronous"),
        CanonicalOption::CoreType(_) | CanonicalOption::Gc => refuse("a function uses garbage collection"),
    }
}
