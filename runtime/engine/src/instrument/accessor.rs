//! The core module that reads and writes the state of a component instance: it imports all of it.

use wasm_encoder::{
    BlockType, CodeSection, ConstExpr, EntityType, ExportKind, ExportSection, Function, FunctionSection,
    GlobalSection, GlobalType, ImportSection, InstructionSink, MemArg, MemoryType, Module, RefType,
    TableType, TypeSection, ValType,
};

use super::decision::Decision;
use super::module::{ModulePlan, global_name, memory_name, table_name};
use super::{accessors, memory_accessor};

/// The types of its functions, as they are lifted and as they are numbered in the module.
const PLAIN: u32 = 0;
const GLOBAL: u32 = 1;
const COUNT: u32 = 2;
const TABLE: u32 = 3;
const RELEASE: u32 = 4;
const AFTER: u32 = 5;

/// A memory of so many pages has 2^32 bytes, one more than a length can say.
const PAGES_MAX: i32 = 1 << 16;
const PAGE_BITS: i32 = 16;

/// The post-return function of the accessor to a memory.
pub(super) fn release_name(memory: u32) -> String {
    format!("release-{memory}")
}

/// The post-return function of the second lift of `decide`.
pub(super) const AFTER_NAME: &str = "after";
/// Where the accessor imports that of the first from, and under which name, if the first has one.
pub(super) const POST_RETURN: (&str, &str) = ("decide", "post-return");

/// The accessor of core instances of these modules. It imports from module `0` what the first exports, and so on.
pub(super) fn accessor(instances: &[&ModulePlan], decision: Option<&Decision>) -> Vec<u8> {
    let state = State::of(instances, decision);
    let mut module = Module::new();
    module
        .section(&state.types())
        .section(&imports(instances, state.post_returns))
        .section(&state.functions())
        .section(&state.saved())
        .section(&state.exports())
        .section(&state.code());
    module.finish()
}

struct State {
    globals: Vec<ValType>,
    memories: u32,
    tables: u32,
    /// What the post-return function of the second lift of `decide` takes, if there is a second lift.
    after: Option<Vec<ValType>>,
    /// How many functions are imported: that of the first lift, if it has one.
    post_returns: u32,
}

fn imports(instances: &[&ModulePlan], post_returns: u32) -> ImportSection {
    let mut imports = ImportSection::new();
    for _ in 0..post_returns {
        imports.import(POST_RETURN.0, POST_RETURN.1, EntityType::Function(AFTER));
    }
    for (n, instance) in instances.iter().enumerate() {
        let from = n.to_string();
        for (n, global) in instance.globals.iter().enumerate() {
            let ty = GlobalType { val_type: number(global.ty), mutable: true, shared: false };
            imports.import(&from, &global_name(n), ty);
        }
        for n in 0..instance.memories.len() {
            imports.import(&from, &memory_name(n), any_memory());
        }
        for n in 0..instance.tables.len() {
            imports.import(&from, &table_name(n), any_table());
        }
    }
    imports
}

/// The survey lets no other types pass.
fn number(ty: wasmparser::ValType) -> ValType {
    match ty {
        wasmparser::ValType::I64 => ValType::I64,
        wasmparser::ValType::F32 => ValType::F32,
        wasmparser::ValType::F64 => ValType::F64,
        _ => ValType::I32,
    }
}

fn any_memory() -> MemoryType {
    MemoryType { minimum: 0, maximum: None, memory64: false, shared: false, page_size_log2: None }
}

fn any_table() -> TableType {
    TableType { element_type: RefType::FUNCREF, minimum: 0, maximum: None, table64: false, shared: false }
}

/// A list has at most as many items as the binary had bytes, so its length fits.
fn length(items: usize) -> u32 {
    u32::try_from(items).unwrap_or(u32::MAX)
}

impl State {
    fn of(instances: &[&ModulePlan], decision: Option<&Decision>) -> Self {
        let globals = instances.iter().flat_map(|instance| &instance.globals);
        Self {
            globals: globals.map(|global| number(global.ty)).collect(),
            memories: length(instances.iter().map(|instance| instance.memories.len()).sum()),
            tables: length(instances.iter().map(|instance| instance.tables.len()).sum()),
            after: decision.map(|decision| decision.results.iter().copied().map(number).collect()),
            post_returns: decision.map_or(0, |decision| u32::from(decision.lift.post_return.is_some())),
        }
    }

    fn types(&self) -> TypeSection {
        let mut types = TypeSection::new();
        types.ty().function([], []);
        types.ty().function([ValType::I32], [ValType::I64]);
        types.ty().function([], [ValType::I32]);
        types.ty().function([ValType::I32, ValType::I32], [ValType::I32]);
        types.ty().function([ValType::I32], []);
        if let Some(params) = &self.after {
            types.ty().function(params.iter().copied(), []);
        }
        types
    }

    fn global_count(&self) -> u32 {
        length(self.globals.len())
    }

    fn functions(&self) -> FunctionSection {
        let mut functions = FunctionSection::new();
        for ty in [PLAIN, PLAIN, GLOBAL, COUNT, TABLE] {
            functions.function(ty);
        }
        for _ in 0..self.memories {
            functions.function(COUNT).function(RELEASE);
        }
        if self.after.is_some() {
            functions.function(AFTER);
        }
        functions
    }

    /// Its own globals: a copy of each of the instance's, and one for the bytes that the result of an accessor to a
    /// memory takes the place of.
    fn saved(&self) -> GlobalSection {
        let mut saved = GlobalSection::new();
        for &val_type in self.globals.iter().chain([&ValType::I64]) {
            let zero = match val_type {
                ValType::I64 => ConstExpr::i64_const(0),
                ValType::F32 => ConstExpr::f32_const(0.0.into()),
                ValType::F64 => ConstExpr::f64_const(0.0.into()),
                _ => ConstExpr::i32_const(0),
            };
            saved.global(GlobalType { val_type, mutable: true, shared: false }, &zero);
        }
        saved
    }

    fn exports(&self) -> ExportSection {
        let mut exports = ExportSection::new();
        let fixed = accessors(0);
        let memories = (0..self.memories).flat_map(|memory| [memory_accessor(memory), release_name(memory)]);
        let after = self.after.iter().map(|_| AFTER_NAME.to_owned());
        for (index, name) in (self.post_returns..).zip(fixed.chain(memories).chain(after)) {
            exports.export(&name, ExportKind::Func, index);
        }
        exports
    }

    fn code(&self) -> CodeSection {
        let mut code = CodeSection::new();
        code.function(&function(|body| self.copy(body, |global, copy| (global, copy))));
        code.function(&function(|body| self.restore(body)));
        code.function(&function(|body| self.global(body)));
        code.function(&function(|body| {
            body.i32_const(self.global_count().cast_signed());
        }));
        code.function(&function(|body| self.table(body)));
        let saved = self.global_count() * 2;
        for memory in 0..self.memories {
            code.function(&function(|body| whole_memory(body, memory, saved)));
            code.function(&function(|body| {
                body.i32_const(0).global_get(saved).i64_store(at_zero(memory));
            }));
        }
        if let Some(params) = &self.after {
            code.function(&function(|body| self.after(body, length(params.len()))));
        }
        code
    }

    /// What the guest does after its result was read comes first, so that it is undone too.
    fn after(&self, body: &mut InstructionSink<'_>, params: u32) {
        for function in 0..self.post_returns {
            for param in 0..params {
                body.local_get(param);
            }
            body.call(function);
        }
        self.restore(body);
    }

    fn restore(&self, body: &mut InstructionSink<'_>) {
        self.copy(body, |global, copy| (copy, global));
    }

    /// Copies all globals; `way` says from where to where.
    fn copy(&self, body: &mut InstructionSink<'_>, way: impl Fn(u32, u32) -> (u32, u32)) {
        let count = self.global_count();
        for global in 0..count {
            let (from, to) = way(global, count + global);
            body.global_get(from).global_set(to);
        }
    }

    fn global(&self, body: &mut InstructionSink<'_>) {
        let count = self.global_count();
        body.local_get(0).i32_const(count.cast_signed()).i32_ge_u().if_(BlockType::Empty).unreachable().end();
        self.one_global(body, 0, count);
    }

    /// Searches for the global in the local variable 0, of which `low <= it < high` is known, by halves.
    fn one_global(&self, body: &mut InstructionSink<'_>, low: u32, high: u32) {
        let middle = low + (high - low) / 2;
        if middle > low {
            body.local_get(0).i32_const(middle.cast_signed()).i32_lt_u();
            body.if_(BlockType::Result(ValType::I64));
            self.one_global(body, low, middle);
            body.else_();
            self.one_global(body, middle, high);
            body.end();
            return;
        }
        let ty = usize::try_from(low).ok().and_then(|low| self.globals.get(low));
        match ty {
            Some(ValType::I64) => body.global_get(low),
            Some(ValType::F32) => body.global_get(low).i32_reinterpret_f32().i64_extend_i32_u(),
            Some(ValType::F64) => body.global_get(low).i64_reinterpret_f64(),
            Some(_) => body.global_get(low).i64_extend_i32_u(),
            None => body.unreachable(),
        };
    }

    fn table(&self, body: &mut InstructionSink<'_>) {
        for table in 0..self.tables {
            body.local_get(0).i32_const(table.cast_signed()).i32_eq().if_(BlockType::Empty);
            body.local_get(1).table_size(table).i32_ge_u().if_(BlockType::Empty).i32_const(2).return_().end();
            body.local_get(1).table_get(table).ref_is_null().i32_eqz().return_().end();
        }
        body.i32_const(3);
    }
}

fn function(write: impl FnOnce(&mut InstructionSink<'_>)) -> Function {
    let mut function = Function::new([]);
    let mut body = function.instructions();
    write(&mut body);
    body.end();
    function
}

fn at_zero(memory: u32) -> MemArg {
    MemArg { offset: 0, align: 0, memory_index: memory }
}

/// The result of a function that returns a list is read from memory: the pointer, which is 0, and the length. They take
/// the place of the first eight bytes until the post-return function puts these back.
fn whole_memory(body: &mut InstructionSink<'_>, memory: u32, saved: u32) {
    body.memory_size(memory).i32_const(PAGES_MAX).i32_ge_u().if_(BlockType::Empty).unreachable().end();
    body.i32_const(0).i64_load(at_zero(memory)).global_set(saved);
    body.i32_const(0);
    body.memory_size(memory).i32_const(PAGE_BITS).i32_shl().i64_extend_i32_u();
    body.i64_const(32).i64_shl().i64_store(at_zero(memory));
    body.i32_const(0);
}
