//! Bombs: small to write, and large or slow for whoever reads, validates, instruments or compiles them. Each is a
//! well-behaved guest with something more in its component, which is never run.

use wasm_encoder::{
    BlockType, CodeSection, ConstExpr, DataSection, ElementSection, Elements, EntityType, ExportKind,
    ExportSection, Function, FunctionSection, GlobalSection, GlobalType, ImportSection, Instruction,
    MemorySection, MemoryType, Module, RefType, TableSection, TableType, TypeSection, ValType,
};

use crate::support::guest;

/// A bomb's name, and what makes it.
pub(crate) type Bomb = (&'static str, fn() -> Vec<u8>);

pub(crate) const BOMBS: &[Bomb] = &[
    ("ninety_thousand_functions", || with_module(&functions(90_000))),
    ("more_functions_than_allowed", || with_module(&functions(100_001))),
    ("functions_spread_over_modules", || with_modules(&functions(1_000), 101)),
    ("fifty_thousand_locals_in_each_of_many_functions", || {
        with_module(&bodies(300, || Function::new([(50_000, ValType::I64)])))
    }),
    ("more_locals_than_allowed", || with_module(&bodies(1, || Function::new([(50_001, ValType::I32)])))),
    ("locals_that_overflow_their_count", || {
        with_module(&bodies(1, || Function::new([(u32::MAX, ValType::I32), (u32::MAX, ValType::I64)])))
    }),
    ("vector_locals_that_fill_the_frame", || with_module(&bodies(20, vector_locals))),
    ("locals_that_meet_at_every_branch", || with_module(&bodies(1, locals_that_meet))),
    ("blocks_three_hundred_thousand_deep", || with_module(&bodies(1, || nested_blocks(300_000)))),
    ("loops_fifty_thousand_deep", || with_module(&bodies(1, || nested_loops(50_000)))),
    ("ifs_fifty_thousand_deep", || with_module(&bodies(1, || nested_ifs(50_000)))),
    ("a_br_table_of_a_million", || with_module(&bodies(1, || br_table(1_000_000)))),
    ("many_br_tables_out_of_many_blocks", || with_module(&bodies(4, br_tables))),
    ("an_operand_stack_of_hundreds_of_thousands", || with_module(&bodies(1, operand_stack))),
    ("a_function_larger_than_allowed", || with_module(&bodies(1, || nops((1 << 20) + 1)))),
    ("a_megabyte_of_shuffles", || with_module(&bodies(1, shuffles))),
    ("a_megabyte_of_calls", || with_module(&bodies(1, calls))),
    ("a_megabyte_of_loads", || with_module(&bodies(1, loads))),
    ("nine_hundred_thousand_types", types),
    ("ten_thousand_types_of_a_thousand_parameters", wide_types),
    ("calls_with_a_thousand_results", wide_calls),
    ("half_a_million_exports", exports),
    ("half_a_million_imports", imports),
    ("a_million_globals", globals),
    ("a_constant_of_a_million_additions", constant),
    ("a_hundred_thousand_segments", segments),
    ("a_hundred_memories_and_tables", memories),
    ("a_table_of_ten_million", || with_module(&table(10_000_000))),
    ("a_table_of_four_billion", || with_module(&table(u64::from(u32::MAX)))),
    ("five_hundred_and_one_modules", || with_modules(&Module::new().finish(), 501)),
    ("five_hundred_modules", || with_modules(&Module::new().finish(), 490)),
    ("components_a_hundred_thousand_deep", || nested_components(100_000)),
    ("components_ninety_deep", || nested_components(90)),
    ("component_types_a_hundred_thousand_deep", || nested_types(100_000, 0x41)),
    ("instance_types_a_hundred_thousand_deep", || nested_types(100_000, 0x42)),
    ("lists_a_hundred_thousand_deep", lists),
    ("tuples_that_double", tuples),
    ("a_million_component_types", component_types),
    ("a_custom_section_of_thirty_megabytes", || section(0, &[&[1, b'x'][..], &vec![0; 30 << 20]].concat())),
    ("a_section_that_claims_four_gigabytes", || [good(), vec![0, 0xff, 0xff, 0xff, 0xff, 0x0f, 1]].concat()),
    ("a_vector_that_claims_four_billion_items", || section(7, &[0xff, 0xff, 0xff, 0xff, 0x0f])),
];

fn good() -> Vec<u8> {
    guest("", "(call $true)")
}

/// The good guest, and one section more.
fn section(id: u8, content: &[u8]) -> Vec<u8> {
    sections(id, content, 1)
}

fn sections(id: u8, content: &[u8], count: usize) -> Vec<u8> {
    let mut bytes = good();
    for _ in 0..count {
        bytes.push(id);
        leb(&mut bytes, content.len());
        bytes.extend_from_slice(content);
    }
    bytes
}

fn leb(bytes: &mut Vec<u8>, mut value: usize) {
    while value >= 0x80 {
        bytes.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
}

/// A type's index, which is written as a signed number.
fn index(bytes: &mut Vec<u8>, mut value: usize) {
    while value >= 0x40 {
        bytes.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
}

const CORE_MODULE: u8 = 1;
const COMPONENT: u8 = 4;
const TYPE: u8 = 7;

fn with_module(module: &[u8]) -> Vec<u8> {
    section(CORE_MODULE, module)
}

fn with_modules(module: &[u8], count: usize) -> Vec<u8> {
    sections(CORE_MODULE, module, count)
}

/// One type, `() -> ()`.
fn unit_type() -> TypeSection {
    let mut types = TypeSection::new();
    types.ty().function([], []);
    types
}

fn functions(count: u32) -> Vec<u8> {
    bodies(count, || Function::new([]))
}

/// So many functions `() -> ()`, a memory, and no more.
fn bodies(count: u32, body: impl Fn() -> Function) -> Vec<u8> {
    let (mut functions, mut code, mut memories) =
        (FunctionSection::new(), CodeSection::new(), MemorySection::new());
    memories.memory(memory_type());
    let mut body = body();
    body.instruction(&Instruction::End);
    for _ in 0..count {
        functions.function(0);
        code.function(&body);
    }
    let mut module = Module::new();
    module.section(&unit_type()).section(&functions).section(&memories).section(&code);
    module.finish()
}

fn memory_type() -> MemoryType {
    MemoryType { minimum: 0, maximum: None, memory64: false, shared: false, page_size_log2: None }
}

fn repeated(function: &mut Function, count: usize, instruction: &Instruction<'_>) {
    for _ in 0..count {
        function.instruction(instruction);
    }
}

fn vector_locals() -> Function {
    let mut body = Function::new([(50_000, ValType::V128)]);
    for local in (0..50_000).step_by(100) {
        body.instruction(&Instruction::I32Const(0));
        body.instruction(&Instruction::V128Load(argument()));
        body.instruction(&Instruction::LocalSet(local));
        body.instruction(&Instruction::Call(0));
    }
    for local in (0..50_000).step_by(100) {
        body.instruction(&Instruction::I32Const(0));
        body.instruction(&Instruction::LocalGet(local));
        body.instruction(&Instruction::V128Store(argument()));
    }
    body
}

fn argument() -> wasm_encoder::MemArg {
    wasm_encoder::MemArg { offset: 0, align: 0, memory_index: 0 }
}

/// Every block changes a local, and all locals may come from everywhere.
fn locals_that_meet() -> Function {
    let mut body = Function::new([(2_000, ValType::I32)]);
    body.instruction(&Instruction::Loop(BlockType::Empty));
    for local in 0..2_000 {
        body.instruction(&Instruction::Block(BlockType::Empty));
        body.instruction(&Instruction::LocalGet(local));
        body.instruction(&Instruction::BrIf(0));
        body.instruction(&Instruction::LocalGet((local + 1) % 2_000));
        body.instruction(&Instruction::LocalSet(local));
        body.instruction(&Instruction::LocalGet(local));
        body.instruction(&Instruction::BrIf(1));
        body.instruction(&Instruction::End);
    }
    body.instruction(&Instruction::End);
    body
}

fn nested_blocks(depth: usize) -> Function {
    let mut body = Function::new([]);
    repeated(&mut body, depth, &Instruction::Block(BlockType::Empty));
    repeated(&mut body, depth, &Instruction::End);
    body
}

fn nested_loops(depth: usize) -> Function {
    let mut body = Function::new([(1, ValType::I32)]);
    repeated(&mut body, depth, &Instruction::Loop(BlockType::Empty));
    for n in 0..depth {
        body.instruction(&Instruction::LocalGet(0));
        body.instruction(&Instruction::BrIf((n as u32 / 2 % 100).min((depth - n - 1) as u32)));
        body.instruction(&Instruction::End);
    }
    body
}

fn nested_ifs(depth: usize) -> Function {
    let mut body = Function::new([(1, ValType::I32)]);
    for _ in 0..depth {
        body.instruction(&Instruction::LocalGet(0));
        body.instruction(&Instruction::If(BlockType::Empty));
    }
    for _ in 0..depth {
        body.instruction(&Instruction::Else);
        body.instruction(&Instruction::End);
    }
    body
}

fn br_table(targets: usize) -> Function {
    let mut body = Function::new([]);
    body.instruction(&Instruction::I32Const(1));
    body.instruction(&Instruction::BrTable(vec![0; targets].into(), 0));
    body
}

fn br_tables() -> Function {
    let mut body = Function::new([]);
    repeated(&mut body, 1_000, &Instruction::Block(BlockType::Empty));
    let targets: Vec<u32> = (0..500).collect();
    for _ in 0..400 {
        body.instruction(&Instruction::I32Const(1));
        body.instruction(&Instruction::BrTable(targets.clone().into(), 7));
        body.instruction(&Instruction::End);
    }
    repeated(&mut body, 600, &Instruction::End);
    body
}

fn operand_stack() -> Function {
    let mut body = Function::new([]);
    repeated(&mut body, 250_000, &Instruction::I32Const(3));
    repeated(&mut body, 250_000, &Instruction::Drop);
    body
}

fn nops(count: usize) -> Function {
    let mut body = Function::new([]);
    repeated(&mut body, count, &Instruction::Nop);
    body
}

fn shuffles() -> Function {
    let mut body = Function::new([(2, ValType::V128)]);
    for n in 0..40_000 {
        body.instruction(&Instruction::LocalGet(0));
        body.instruction(&Instruction::LocalGet(1));
        body.instruction(&Instruction::I8x16Shuffle([(n % 32) as u8; 16]));
        body.instruction(&Instruction::LocalSet(n % 2));
    }
    body
}

fn calls() -> Function {
    let mut body = Function::new([]);
    repeated(&mut body, 500_000, &Instruction::Call(0));
    body
}

fn loads() -> Function {
    let mut body = Function::new([(1, ValType::I32)]);
    for _ in 0..140_000 {
        body.instruction(&Instruction::LocalGet(0));
        body.instruction(&Instruction::I32Load(argument()));
        body.instruction(&Instruction::LocalSet(0));
    }
    body
}

fn types() -> Vec<u8> {
    let mut types = TypeSection::new();
    for n in 0..900_000_u32 {
        // Twenty bits, as types.
        let params = (0..20).map(|bit| if n >> bit & 1 == 1 { ValType::I32 } else { ValType::I64 });
        types.ty().function(params, []);
    }
    let mut module = Module::new();
    with_module(&module.section(&types).clone().finish())
}

fn wide_types() -> Vec<u8> {
    let mut types = TypeSection::new();
    for n in 0..10_000_usize {
        let params =
            (0..1_000).map(|at| if at < 14 && n >> at & 1 == 1 { ValType::F32 } else { ValType::V128 });
        types.ty().function(params, [ValType::I32; 500]);
    }
    let mut module = Module::new();
    with_module(&module.section(&types).clone().finish())
}

fn wide_calls() -> Vec<u8> {
    let mut types = TypeSection::new();
    types.ty().function([ValType::I64; 1_000], [ValType::I64; 1_000]);
    let (mut functions, mut code) = (FunctionSection::new(), CodeSection::new());
    for n in 0..100 {
        functions.function(0);
        let mut body = Function::new([]);
        (0..1_000).for_each(|local| {
            body.instruction(&Instruction::LocalGet(local));
        });
        repeated(&mut body, 200, &Instruction::Call(n));
        body.instruction(&Instruction::End);
        code.function(&body);
    }
    let mut module = Module::new();
    with_module(&module.section(&types).section(&functions).section(&code).clone().finish())
}

fn exports() -> Vec<u8> {
    let (mut functions, mut code, mut exports) =
        (FunctionSection::new(), CodeSection::new(), ExportSection::new());
    functions.function(0);
    let mut body = Function::new([]);
    body.instruction(&Instruction::End);
    code.function(&body);
    for n in 0..500_000 {
        exports.export(&format!("e{n}"), ExportKind::Func, 0);
    }
    let mut module = Module::new();
    with_module(
        &module.section(&unit_type()).section(&functions).section(&exports).section(&code).clone().finish(),
    )
}

fn imports() -> Vec<u8> {
    let mut imports = ImportSection::new();
    for n in 0..500_000 {
        imports.import("m", &format!("f{n}"), EntityType::Function(0));
    }
    let mut module = Module::new();
    with_module(&module.section(&unit_type()).section(&imports).clone().finish())
}

fn globals() -> Vec<u8> {
    let mut globals = GlobalSection::new();
    for n in 0..1_000_000 {
        globals.global(
            GlobalType { val_type: ValType::I32, mutable: true, shared: false },
            &ConstExpr::i32_const(n),
        );
    }
    let mut module = Module::new();
    with_module(&module.section(&globals).clone().finish())
}

fn constant() -> Vec<u8> {
    let mut expression = ConstExpr::i32_const(1);
    for n in 0..1_000_000 {
        expression = expression.with_i32_const(n);
    }
    for _ in 0..1_000_000 {
        expression = expression.with_i32_add();
    }
    let mut globals = GlobalSection::new();
    globals.global(GlobalType { val_type: ValType::I32, mutable: false, shared: false }, &expression);
    let mut module = Module::new();
    with_module(&module.section(&globals).clone().finish())
}

fn segments() -> Vec<u8> {
    let (mut tables, mut elements, mut data) =
        (TableSection::new(), ElementSection::new(), DataSection::new());
    tables.table(table_type(1));
    let mut memories = MemorySection::new();
    memories.memory(MemoryType { minimum: 1, ..memory_type() });
    for n in 0..100_000 {
        elements.active(None, &ConstExpr::i32_const(0), Elements::Functions((&[][..]).into()));
        data.active(0, &ConstExpr::i32_const(n % 60_000), *b"x");
    }
    let mut module = Module::new();
    module.section(&tables).section(&memories).section(&elements).section(&data);
    with_module(&module.finish())
}

fn table_type(minimum: u64) -> TableType {
    TableType { element_type: RefType::FUNCREF, table64: false, minimum, maximum: None, shared: false }
}

fn table(minimum: u64) -> Vec<u8> {
    let mut tables = TableSection::new();
    tables.table(table_type(minimum));
    let mut module = Module::new();
    module.section(&tables);
    module.finish()
}

fn memories() -> Vec<u8> {
    let (mut tables, mut memories) = (TableSection::new(), MemorySection::new());
    for _ in 0..100 {
        tables.table(table_type(9_000_000));
        memories.memory(memory_type());
    }
    let mut module = Module::new();
    module.section(&tables).section(&memories);
    with_module(&module.finish())
}

const COMPONENT_HEADER: [u8; 8] = [0, b'a', b's', b'm', 0x0d, 0, 1, 0];

/// Components in each other: each is its header and the next.
fn nested_components(depth: usize) -> Vec<u8> {
    let mut prefixes = Vec::new();
    let mut inner = COMPONENT_HEADER.len();
    for _ in 0..depth {
        let mut prefix = COMPONENT_HEADER.to_vec();
        prefix.push(COMPONENT);
        leb(&mut prefix, inner);
        inner += prefix.len();
        prefixes.push(prefix);
    }
    let mut content = prefixes.into_iter().rev().flatten().collect::<Vec<u8>>();
    content.extend(COMPONENT_HEADER);
    section(COMPONENT, &content)
}

/// Types that declare a type that declares a type.
fn nested_types(depth: usize, kind: u8) -> Vec<u8> {
    let mut content = vec![1];
    // One declaration each, and it is a type.
    (0..depth).for_each(|_| content.extend([kind, 1, 1]));
    content.extend([kind, 0]);
    section(TYPE, &content)
}

/// `list<list<list<...>>>`: each type names the one before.
fn lists() -> Vec<u8> {
    chain(100_000, &[0x70])
}

/// `tuple<t, t>` of the tuple before: twice as large each time.
fn tuples() -> Vec<u8> {
    chain(1_000, &[0x6f, 2])
}

/// Types of which each but the first names the one before, as often as the second byte of `head` says, or once. They are in a
/// component of their own, so that their numbers are known.
fn chain(count: usize, head: &[u8]) -> Vec<u8> {
    let mut content = Vec::new();
    leb(&mut content, count);
    content.push(0x7f);
    for before in 0..count - 1 {
        content.extend(head);
        for _ in 0..head.get(1).copied().unwrap_or(1) {
            index(&mut content, before);
        }
    }
    let mut component = COMPONENT_HEADER.to_vec();
    component.push(TYPE);
    leb(&mut component, content.len());
    component.extend(content);
    section(COMPONENT, &component)
}

fn component_types() -> Vec<u8> {
    let mut content = Vec::new();
    leb(&mut content, 1_000_001);
    content.extend(std::iter::repeat_n(0x7f, 1_000_001));
    section(TYPE, &content)
}
