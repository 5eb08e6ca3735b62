//! Core modules: which state one defines, and the module that exports it.

use std::ops::Range;

use wasm_encoder::{Encode, ExportKind, Module, RawSection};
use wasmparser::{MemoryType, Payload, RefType, TypeRef, ValType};

use super::rules::{self, Refusal, refuse};
use super::{CORE_PREFIX, emit::bytes};

/// The sections of a module that come after its exports.
const AFTER_EXPORTS: [u8; 5] = [8, 9, 10, 11, 12];
const EXPORTS: u8 = 7;
/// A memory of so many pages has 2^32 bytes, one more than a length can say.
const PAGES_MAX: u64 = 1 << 16;

/// What is known of a core module.
#[derive(Debug, Default)]
pub(super) struct ModulePlan {
    sections: Vec<(u8, Range<usize>)>,
    /// Its exports as they are in the binary, and how many.
    exports: (Range<usize>, u32),
    globals_known: u32,
    memories_known: u32,
    tables_known: u32,
    pub(super) globals: Vec<Slot<ValType>>,
    pub(super) memories: Vec<Slot<()>>,
    /// Tables of functions.
    pub(super) tables: Vec<Slot<()>>,
}

/// A global, a memory or a table that a module defines.
#[derive(Debug)]
pub(super) struct Slot<T> {
    /// Its index in the module.
    index: u32,
    pub(super) ty: T,
}

impl ModulePlan {
    pub(super) fn has_state(&self) -> bool {
        !(self.globals.is_empty() && self.memories.is_empty() && self.tables.is_empty())
    }

    pub(super) fn payload(&mut self, payload: &Payload<'_>) -> Result<(), Refusal> {
        if let Some(section) = payload.as_section() {
            self.sections.push(section);
        }
        match payload {
            Payload::TypeSection(types) => {
                types.clone().into_iter().try_for_each(|ty| rules::core_type(&ty?))
            }
            Payload::ImportSection(imports) => {
                imports.clone().into_imports().try_for_each(|import| self.import(import?.ty))
            }
            Payload::TableSection(tables) => {
                tables.clone().into_iter().try_for_each(|table| self.table(table?.ty))
            }
            Payload::MemorySection(memories) => {
                memories.clone().into_iter().try_for_each(|memory| self.memory(memory?))
            }
            Payload::GlobalSection(globals) => {
                globals.clone().into_iter().try_for_each(|global| self.global(global?.ty))
            }
            Payload::ExportSection(exports) => {
                self.exports = (exports.original_position()..exports.range().end, exports.count());
                exports.clone().into_iter().try_for_each(|export| {
                    let name = export?.name;
                    if name.starts_with(CORE_PREFIX) {
                        refuse(format!("a core module exports `{name}`"))
                    } else {
                        Ok(())
                    }
                })
            }
            Payload::CodeSectionEntry(body) => rules::function(body),
            Payload::TagSection(_) => refuse("a core module has exceptions"),
            Payload::FunctionSection(_)
            | Payload::StartSection { .. }
            | Payload::ElementSection(_)
            | Payload::DataCountSection { .. }
            | Payload::DataSection(_)
            | Payload::CodeSectionStart { .. }
            | Payload::CustomSection(_) => Ok(()),
            _ => refuse("a core module has a section that is not known"),
        }
    }

    fn import(&mut self, ty: TypeRef) -> Result<(), Refusal> {
        match ty {
            TypeRef::Func(_) => {}
            TypeRef::Table(_) => self.tables_known += 1,
            TypeRef::Memory(_) => self.memories_known += 1,
            TypeRef::Global(_) => self.globals_known += 1,
            TypeRef::Tag(_) | TypeRef::FuncExact(_) => {
                return refuse("a core module imports something that is not known");
            }
        }
        Ok(())
    }

    fn table(&mut self, ty: wasmparser::TableType) -> Result<(), Refusal> {
        if ty.shared || ty.table64 {
            return refuse("a core module has a shared or 64-bit table");
        }
        if ty.element_type != RefType::FUNCREF {
            return refuse(format!("a core module has a table of type `{}`", ty.element_type));
        }
        self.tables.push(Slot { index: self.tables_known, ty: () });
        self.tables_known += 1;
        Ok(())
    }

    fn memory(&mut self, ty: MemoryType) -> Result<(), Refusal> {
        if ty.shared || ty.memory64 || ty.page_size_log2.is_some() {
            return refuse("a core module has a memory that is shared, 64-bit or of a page size of its own");
        }
        if ty.initial >= PAGES_MAX {
            return refuse("a core module has a memory of 4 GiB");
        }
        // One without pages has no place for the result of its accessor, and it could have got some when it is first
        // looked at.
        match (ty.initial, ty.maximum) {
            (0, Some(0)) => {}
            (0, _) => return refuse("a core module has a memory that starts without pages and may grow"),
            _ => self.memories.push(Slot { index: self.memories_known, ty: () }),
        }
        self.memories_known += 1;
        Ok(())
    }

    fn global(&mut self, ty: wasmparser::GlobalType) -> Result<(), Refusal> {
        if ty.shared {
            return refuse("a core module has a shared global");
        }
        if ty.mutable {
            match ty.content_type {
                ValType::I32 | ValType::I64 | ValType::F32 | ValType::F64 => {}
                other => return refuse(format!("a core module has a mutable global of type `{other}`")),
            }
            self.globals.push(Slot { index: self.globals_known, ty: ty.content_type });
        }
        self.globals_known += 1;
        Ok(())
    }

    /// The module that exports its state too.
    pub(super) fn emit(&self, component: &[u8]) -> Result<Vec<u8>, Refusal> {
        let exports = self.emit_exports(component)?;
        let exports = RawSection { id: EXPORTS, data: &exports };
        let mut module = Module::new();
        let mut exported = false;
        for (id, range) in &self.sections {
            if !exported && AFTER_EXPORTS.contains(id) {
                module.section(&exports);
                exported = true;
            }
            if *id == EXPORTS {
                module.section(&exports);
                exported = true;
            } else {
                module.section(&RawSection { id: *id, data: bytes(component, range)? });
            }
        }
        if !exported {
            module.section(&exports);
        }
        Ok(module.finish())
    }

    fn emit_exports(&self, component: &[u8]) -> Result<Vec<u8>, Refusal> {
        let (range, count) = &self.exports;
        let state = self.state();
        let added = u32::try_from(state.len()).unwrap_or(u32::MAX);
        let mut section = Vec::new();
        count.saturating_add(added).encode(&mut section);
        section.extend_from_slice(bytes(component, range)?);
        for (name, kind, index) in state {
            name.as_str().encode(&mut section);
            kind.encode(&mut section);
            index.encode(&mut section);
        }
        Ok(section)
    }

    fn state(&self) -> Vec<(String, ExportKind, u32)> {
        fn named<'a, T>(
            slots: &'a [Slot<T>],
            name: impl Fn(usize) -> String + 'a,
            kind: ExportKind,
        ) -> impl Iterator<Item = (String, ExportKind, u32)> + 'a {
            slots.iter().enumerate().map(move |(n, slot)| (name(n), kind, slot.index))
        }
        named(&self.globals, global_name, ExportKind::Global)
            .chain(named(&self.memories, memory_name, ExportKind::Memory))
            .chain(named(&self.tables, table_name, ExportKind::Table))
            .collect()
    }
}

/// Under which name a module exports its mutable global of this number.
pub(super) fn global_name(n: usize) -> String {
    format!("{CORE_PREFIX}global-{n}")
}

/// Under which name a module exports its memory of this number.
pub(super) fn memory_name(n: usize) -> String {
    format!("{CORE_PREFIX}memory-{n}")
}

/// Under which name a module exports its table of this number.
pub(super) fn table_name(n: usize) -> String {
    format!("{CORE_PREFIX}table-{n}")
}
