//! A guest for every operator of numbers and vectors: a long chain in which each result is the next operand, and, for
//! what is slow only now and then, operands that come from memory each time.

use crate::Case;
use crate::operators::{Operator, operators, type_name};

/// How often the operator stands in the loop, and how often the loop turns.
const COPIES: usize = 64;
const TURNS: usize = 200;

/// Operands that make an operator slow: the first, and the others; as the bits of i32, i64, f32, f64, and the lanes of
/// a vector.
struct Seed {
    name: &'static str,
    bits: [Bits; 2],
}

#[derive(Clone, Copy)]
struct Bits {
    int: u64,
    f32: u32,
    f64: u64,
}

const PLAIN: Bits = Bits { int: 0x7edc_ba98_7654_3211, f32: 0x3fc0_1234, f64: 0x3ff8_0000_1234_5678 };
const ONE: Bits = Bits { int: 1, f32: 0x3f80_0000, f64: 0x3ff0_0000_0000_0000 };
const SMALL: Bits = Bits { int: 7, f32: 0x3f80_0001, f64: 0x3ff0_0000_0000_0001 };
/// Denormal when demoted.
const EDGE: Bits = Bits { int: 0x8000_0000, f32: 0x0080_0001, f64: 0x37b0_1234_5678_9abc };
const DENORMAL: Bits = Bits { int: 0xffff_ffff_ffff_fff1, f32: 0x007f_ffff, f64: 0x000f_ffff_ffff_ffff };
const TINY: Bits = Bits { int: u64::MAX, f32: 0x1f80_1234, f64: 0x1ff0_0000_1234_5678 };
const NAN: Bits = Bits { int: 1 << 63, f32: 0x7fc0_0000, f64: 0x7ff8_0000_0000_0000 };
const HUGE: Bits = Bits { int: 0x8000_0001_8000_0001, f32: 0x5f7f_ffff, f64: 0x43ef_ffff_ffff_ffff };

const SEEDS: &[Seed] = &[
    Seed { name: "plain", bits: [PLAIN, SMALL] },
    Seed { name: "denormal", bits: [DENORMAL, ONE] },
    Seed { name: "denormals", bits: [DENORMAL, DENORMAL] },
    Seed { name: "edge", bits: [EDGE, ONE] },
    Seed { name: "tiny", bits: [TINY, TINY] },
    Seed { name: "nan", bits: [NAN, SMALL] },
    Seed { name: "huge", bits: [HUGE, PLAIN] },
];

pub(crate) fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for operator in operators() {
        let floats = operator.text.contains('f') && !operator.text.contains("load");
        for seed in SEEDS.iter().take(if floats { SEEDS.len() } else { 2 }) {
            cases.push(case("chain", &operator, seed, &chain(&operator)));
            if operator.operands.len() == 2 && operator.operands[0] == operator.operands[1] {
                cases.push(case("swapped", &operator, seed, &swapped(&operator)));
            }
            if operator.result.is_some() && !operator.text.contains("load") {
                cases.push(case("memory", &operator, seed, &from_memory(&operator)));
            }
        }
    }
    cases
}

fn case(shape: &str, operator: &Operator, seed: &Seed, step: &str) -> Case {
    let first = operator.operands[0];
    let declared: String =
        TYPES.map(|ty| format!("(local $x{ty} {0}) (local $y{ty} {0})", type_name(ty))).concat();
    let set: String = TYPES
        .map(|ty| format!("(local.set $x{ty} {}) (local.set $y{ty} {})", load(ty, FIRST), load(ty, OTHERS)))
        .concat();
    let kept = shape != "memory" && (shape != "chain" || operator.result.is_some());
    let (push, pop) = match kept {
        true => (format!("local.get $x{first}"), format!("local.set $x{first}")),
        false => Default::default(),
    };
    let steps = step.repeat(COPIES);
    let results: String =
        TYPES.map(|ty| format!("({}.store (i32.const 2048) (local.get $x{ty}))", type_name(ty))).concat();
    Case {
        name: format!("{} {shape} {}", operator.text, seed.name),
        items: data(operator, seed),
        body: format!(
            "(local $n i32) {declared} {set} (local.set $n (i32.const {TURNS}))
             loop $l {push} {steps} {pop} (br_if $l (local.tee $n (i32.sub (local.get $n) (i32.const 1)))) end
             {results} (call $true)"
        ),
        operators: (COPIES * TURNS) as f64,
        ..Case::default()
    }
}

const TYPES: [char; 5] = ['i', 'I', 'f', 'F', 'v'];
/// Where the first operand lies, and the others; an address is of the guest's own memory.
const FIRST: usize = 64;
const OTHERS: usize = 128;
const ADDRESS: u64 = 2_048;

/// The operands in memory: of each type at its place.
fn data(operator: &Operator, seed: &Seed) -> String {
    let addresses = operator.text.contains("load") || operator.text.contains("store");
    let ints = operator.text.starts_with('i') && !operator.text.contains("_f");
    let one = |at: usize, bits: &Bits| {
        let vector = match (ints, operator.text.contains("f64x2")) {
            (true, _) => bits.int,
            (_, true) => bits.f64,
            _ => u64::from(bits.f32) << 32 | u64::from(bits.f32),
        };
        let int = if addresses { ADDRESS } else { bits.int };
        let words = [int, u64::from(bits.f32), bits.f64, vector, vector];
        let bytes: String =
            words.iter().flat_map(|word| word.to_le_bytes()).map(|byte| format!("\\{byte:02x}")).collect();
        format!("(data (i32.const {at}) \"{bytes}\")")
    };
    // What an address leads to is that address again.
    let link = if addresses { r#"(data (i32.const 2048) "\00\08\00\00\00\00\00\00")"# } else { "" };
    format!("{}{}{link}", one(FIRST, &seed.bits[0]), one(OTHERS, &seed.bits[1]))
}

fn load(ty: char, at: usize) -> String {
    let offset = match ty {
        'i' | 'I' => 0,
        'f' => 8,
        'F' => 16,
        _ => 24,
    };
    format!("({}.load (i32.const {}))", type_name(ty), at + offset)
}

fn others(operator: &Operator) -> String {
    operator.operands.iter().skip(1).map(|ty| format!("local.get $y{ty} ")).collect()
}

fn chain(operator: &Operator) -> String {
    let (first, others, text) = (operator.operands[0], others(operator), &operator.text);
    match operator.result {
        Some(result) => format!("{others} {text} {}\n", bridge(result, first)),
        None => format!("local.get $y{first} {others} {text}\n"),
    }
}

fn swapped(operator: &Operator) -> String {
    let (first, text) = (operator.operands[0], &operator.text);
    match operator.result {
        Some(result) => format!(
            "local.set $x{first} local.get $y{first} local.get $x{first} {text} {}\n",
            bridge(result, first)
        ),
        None => format!("local.tee $x{first} local.get $y{first} {text} local.get $x{first}\n"),
    }
}

fn from_memory(operator: &Operator) -> String {
    let operands: String = operator
        .operands
        .iter()
        .enumerate()
        .map(|(n, ty)| load(*ty, if n == 0 { FIRST } else { OTHERS }))
        .collect();
    let result = operator.result.map_or("i32", type_name);
    format!("i32.const 2048 {operands} {} {result}.store\n", operator.text)
}

/// From one type to another.
fn bridge(from: char, to: char) -> &'static str {
    match (from, to) {
        ('i', 'I') => "i64.extend_i32_u",
        ('i', 'f') => "f32.reinterpret_i32",
        ('i', 'F') => "i64.extend_i32_u f64.reinterpret_i64",
        ('i', 'v') => "i32x4.splat",
        ('I', 'i') => "i32.wrap_i64",
        ('I', 'f') => "i32.wrap_i64 f32.reinterpret_i32",
        ('I', 'F') => "f64.reinterpret_i64",
        ('I', 'v') => "i64x2.splat",
        ('f', 'i') => "i32.reinterpret_f32",
        ('f', 'I') => "i32.reinterpret_f32 i64.extend_i32_u",
        ('f', 'F') => "i32.reinterpret_f32 i64.extend_i32_u f64.reinterpret_i64",
        ('f', 'v') => "f32x4.splat",
        ('F', 'i') => "i64.reinterpret_f64 i32.wrap_i64",
        ('F', 'I') => "i64.reinterpret_f64",
        ('F', 'f') => "i64.reinterpret_f64 i32.wrap_i64 f32.reinterpret_i32",
        ('F', 'v') => "f64x2.splat",
        ('v', 'i') => "i32x4.extract_lane 0",
        ('v', 'I') => "i64x2.extract_lane 0",
        ('v', 'f') => "f32x4.extract_lane 0",
        ('v', 'F') => "f64x2.extract_lane 0",
        _ => "",
    }
}
