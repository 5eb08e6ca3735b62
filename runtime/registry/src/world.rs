//! The names of what a component imports and exports, for the config of its image. Whether it may is decided elsewhere.

use verdict_core::oci::World;
use verdict_core::refusal::{Refusal, RefusalCode};
use wasmparser::{Encoding, Parser, Payload};

/// The imports and exports of a component, in its order.
pub(crate) fn of(component: &[u8]) -> Result<World, Refusal> {
    let refuse = |error: String| {
        Refusal::new(RefusalCode::MalformedComponent, format!("the component cannot be read: {error}"))
    };
    let mut world = World::default();
    let mut depth = 0_u32;
    for payload in Parser::new(0).parse_all(component) {
        match payload.map_err(|error| refuse(error.to_string()))? {
            Payload::Version { encoding: Encoding::Module, .. } if depth == 0 => {
                return Err(refuse("it is a module; build it with `verdict build`".into()));
            }
            // What is inside has worlds of its own.
            Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => depth += 1,
            Payload::End(_) => depth = depth.saturating_sub(1),
            Payload::ComponentImportSection(imports) if depth == 0 => {
                for import in imports {
                    world.imports.push(import.map_err(|error| refuse(error.to_string()))?.name.name.into());
                }
            }
            Payload::ComponentExportSection(exports) if depth == 0 => {
                for export in exports {
                    world.exports.push(export.map_err(|error| refuse(error.to_string()))?.name.name.into());
                }
            }
            _ => {}
        }
    }
    Ok(world)
}

#[cfg(test)]
mod tests {
    use super::*;

    use wasm_encoder::{
        Component, ComponentExportKind, ComponentExportSection, ComponentImportSection, ComponentTypeRef,
        ComponentTypeSection, NestedComponentSection,
    };

    /// A component that imports and exports a function under these names.
    fn component(import: &str, export: &str, inner: Option<&Component>) -> Component {
        let mut component = Component::new();
        if let Some(inner) = inner {
            component.section(&NestedComponentSection(inner));
        }
        let mut types = ComponentTypeSection::new();
        types.function().params([] as [(&str, wasm_encoder::ComponentValType); 0]).result(None);
        component.section(&types);
        let mut imports = ComponentImportSection::new();
        imports.import(import, ComponentTypeRef::Func(0));
        component.section(&imports);
        let mut exports = ComponentExportSection::new();
        exports.export(export, ComponentExportKind::Func, 0, None);
        component.section(&exports);
        component
    }

    #[test]
    fn names_what_the_component_itself_imports_and_exports() {
        let inner = component("inner-in", "inner-out", None);
        let world = of(&component("outer-in", "outer-out", Some(&inner)).finish()).unwrap();
        assert_eq!((world.imports, world.exports), (vec!["outer-in".into()], vec!["outer-out".into()]));
    }

    #[test]
    fn rejects_what_is_not_a_component() {
        let module = b"\0asm\x01\0\0\0";
        for bytes in [&b""[..], b"\0asm", module, b"\0asm\x0d\0\x01\0\x0b\xff"] {
            assert_eq!(of(bytes).unwrap_err().code, RefusalCode::MalformedComponent, "{bytes:?}");
        }
    }
}
