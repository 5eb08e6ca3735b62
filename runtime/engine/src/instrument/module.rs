//! Core modules: which state one defines, and the module that exports it.

use std::ops::Range;

use wasm_encoder::{Encode, ExportKind, Module, RawSection};
use wasmparser::{
    Element, ElementItems, Export, ExternalKind, FromReader, Global, Import, MemoryType, Operator,
    OperatorsReader, Payload, RefType, SectionLimited, Table, TableInit, TypeRef, ValType,
};

use super::rules::{self, Refusal, refuse};
use super::{CORE_PREFIX, emit::bytes, survey::length};

/// The sections of a module that come after its exports.
const AFTER_EXPORTS: [u8; 5] = [8, 9, 10, 11, 12];
const EXPORTS: u8 = 7;
/// The most functions that a module may import; their names are kept for a while.
const IMPORTS_MAX: usize = 10_000;
/// A memory of so many pages has 2^32 bytes, one more than a length can say.
const PAGES_MAX: u64 = 1 << 16;

/// What is known of a core module.
#[derive(Debug, Default)]
pub(super) struct ModulePlan {
    sections: Vec<(u8, Range<usize>)>,
    /// Its exports as they are in the binary, and how many.
    exports: (Range<usize>, u32),
    functions_imported: Vec<Imported>,
    globals_known: u32,
    /// The fewest pages of each of its memories, imported ones included.
    pages: Vec<u64>,
    tables_known: u32,
    /// Whether it has a memory of its own that starts without pages and may grow.
    pub(super) starts_empty: bool,
    /// Whether it grows a memory that may be without pages.
    pub(super) grows_empty: bool,
    pub(super) globals: Vec<Slot<ValType>>,
    pub(super) memories: Vec<Slot<()>>,
    /// Tables of functions.
    pub(super) tables: Vec<Slot<()>>,
}

/// A function that a module imports.
#[derive(Debug)]
struct Imported {
    module: String,
    name: String,
    used: bool,
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

    /// Takes note of a payload of the module.
    pub(super) fn payload(&mut self, payload: &Payload<'_>) -> Result<(), Refusal> {
        if let Some(section) = payload.as_section() {
            self.sections.push(section);
        }
        match payload {
            Payload::TypeSection(section) => each(section, |ty| rules::core_type(&ty)),
            Payload::ImportSection(section) => {
                section.clone().into_imports().try_for_each(|import| self.import(&import?))
            }
            Payload::TableSection(section) => each(section, |table| self.table(&table)),
            Payload::MemorySection(section) => each(section, |memory| self.memory(memory)),
            Payload::GlobalSection(section) => each(section, |global| self.global(&global)),
            Payload::ExportSection(section) => {
                self.exports = (section.original_position()..section.range().end, section.count());
                each(section, |export| self.export(&export))
            }
            Payload::ElementSection(section) => each(section, |element| self.element(element)),
            Payload::CodeSectionEntry(body) => self.code(body.get_operators_reader()?),
            Payload::StartSection { func, .. } => {
                self.use_function(*func);
                Ok(())
            }
            Payload::TagSection(_) => refuse("a core module has exceptions"),
            Payload::FunctionSection(_)
            | Payload::DataCountSection { .. }
            | Payload::DataSection(_)
            | Payload::CodeSectionStart { .. }
            | Payload::CustomSection(_) => Ok(()),
            _ => refuse("a core module has a section that is not known"),
        }
    }

    fn import(&mut self, import: &Import<'_>) -> Result<(), Refusal> {
        match import.ty {
            TypeRef::Func(_) => {
                if self.functions_imported.len() >= IMPORTS_MAX {
                    return refuse(format!("a core module imports more than {IMPORTS_MAX} functions"));
                }
                let (module, name) = (import.module.to_owned(), import.name.to_owned());
                self.functions_imported.push(Imported { module, name, used: false });
            }
            TypeRef::Table(_) => self.tables_known += 1,
            TypeRef::Memory(memory) => self.pages.push(memory.initial),
            TypeRef::Global(_) => self.globals_known += 1,
            TypeRef::Tag(_) | TypeRef::FuncExact(_) => {
                return refuse("a core module imports something that is not known");
            }
        }
        Ok(())
    }

    fn export(&mut self, export: &Export<'_>) -> Result<(), Refusal> {
        if export.name.starts_with(CORE_PREFIX) {
            return refuse(format!("a core module exports `{}`", export.name));
        }
        if export.kind == ExternalKind::Func {
            self.use_function(export.index);
        }
        Ok(())
    }

    fn element(&mut self, element: Element<'_>) -> Result<(), Refusal> {
        match element.items {
            ElementItems::Functions(functions) => each(&functions, |function| {
                self.use_function(function);
                Ok(())
            }),
            ElementItems::Expressions(_, items) => {
                each(&items, |item| self.code(item.get_operators_reader()))
            }
        }
    }

    /// The operators of a function or of a constant expression.
    fn code(&mut self, mut operators: OperatorsReader<'_>) -> Result<(), Refusal> {
        while !operators.eof() {
            let operator = operators.read()?;
            rules::operator(&operator)?;
            match operator {
                Operator::Call { function_index }
                | Operator::ReturnCall { function_index }
                | Operator::RefFunc { function_index } => self.use_function(function_index),
                Operator::MemoryGrow { mem } => {
                    let pages = usize::try_from(mem).ok().and_then(|mem| self.pages.get(mem));
                    self.grows_empty |= pages.is_none_or(|pages| *pages == 0);
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn use_function(&mut self, index: u32) {
        let imported = usize::try_from(index).ok().and_then(|index| self.functions_imported.get_mut(index));
        if let Some(imported) = imported {
            imported.used = true;
        }
    }

    /// Whether it does anything with the function that it imports under this name.
    pub(super) fn uses(&self, module: &str, name: &str) -> bool {
        self.functions_imported
            .iter()
            .any(|imported| imported.used && imported.module == module && imported.name == name)
    }

    fn table(&mut self, table: &Table<'_>) -> Result<(), Refusal> {
        let ty = table.ty;
        if let TableInit::Expr(init) = &table.init {
            self.code(init.get_operators_reader())?;
        }
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
        match (ty.initial, ty.maximum) {
            (0, Some(0)) => {}
            // Its accessor would have no place for the result. As long as nothing grows it, it has no bytes either.
            (0, _) => self.starts_empty = true,
            _ => self.memories.push(Slot { index: length(&self.pages), ty: () }),
        }
        self.pages.push(ty.initial);
        Ok(())
    }

    fn global(&mut self, global: &Global<'_>) -> Result<(), Refusal> {
        let ty = global.ty;
        self.code(global.init_expr.get_operators_reader())?;
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

/// Every item of a section.
pub(super) fn each<'a, T: FromReader<'a>>(
    section: &SectionLimited<'a, T>,
    mut item: impl FnMut(T) -> Result<(), Refusal>,
) -> Result<(), Refusal> {
    section.clone().into_iter().try_for_each(|read| item(read?))
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
