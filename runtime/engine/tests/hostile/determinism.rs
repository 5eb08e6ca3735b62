//! Attacks on determinism: what hardware and compilers decide differently must come out the same, also in the
//! interpreter.

use verdict_engine::{Compiler, Config, Engine, Target};

use super::harness::{Attack, answers, ask, attacks, seen, with};

/// Answers with 16 letters that stand for these 64 bits.
fn bits(items: &str, bits: &str) -> Attack {
    with(items, &format!("(call $letters {bits})"))
}

/// The letters of 64 bits, the lowest first.
fn letters(bits: u64) -> String {
    let letters: String = (0..16).map(|n| char::from(b'a' + (bits >> (4 * n) & 15) as u8)).collect();
    format!("\"{letters}\"")
}

const CANONICAL: u64 = 0x7ff8_0000_0000_0000;
const CANONICAL_32: u64 = 0x7fc0_0000;
/// A NaN with a payload and a sign, in a place where no compiler can compute with it.
const NAN: &str = "(global $nan (mut f64) (f64.const -nan:0x8000000012345))";
const NAN_32: &str = "(global $nan (mut f32) (f32.const -nan:0x412345))";

fn of_f64(expression: &str) -> Attack {
    bits(NAN, &format!("(i64.reinterpret_f64 {expression})"))
}

fn of_f32(expression: &str) -> Attack {
    bits(NAN_32, &format!("(i64.extend_i32_u (i32.reinterpret_f32 {expression}))"))
}

/// Both halves of a vector, mixed.
fn of_v128(items: &str, expression: &str) -> Attack {
    let items = format!(
        "{items} (func $half (param $v v128) (result i64)
           (i64.xor (i64x2.extract_lane 0 (local.get $v)) (i64.rotl (i64x2.extract_lane 1 (local.get $v)) (i64.const 1))))
         (global $x (mut v128) (v128.const i32x4 0x7fc12345 0xff812345 0x80000000 0x3f800000))
         (global $y (mut v128) (v128.const i32x4 0xff800000 0x7f800000 0x00000001 0x4b7fffff))
         (global $z (mut v128) (v128.const i32x4 0x80ff0f7f 0x12345678 0xfedcba98 0x7fffffff))"
    );
    bits(&items, &format!("(call $half {expression})")).renewed("v128")
}

fn mixed(low: u64, high: u64) -> String {
    letters(low ^ high.rotate_left(1))
}

attacks! {
    nan_of_zero_by_zero: of_f64("(f64.div (f64.const 0) (f64.const 0))") => answers(&letters(CANONICAL));
    nan_of_minus_one: of_f64("(f64.sqrt (f64.copysign (f64.const 1) (global.get $nan)))") => answers(&letters(CANONICAL));
    nan_with_a_payload_added: of_f64("(f64.add (global.get $nan) (f64.const 1))") => answers(&letters(CANONICAL));
    nan_with_a_payload_on_the_right: of_f64("(f64.sub (f64.const 1) (global.get $nan))") => answers(&letters(CANONICAL));
    nan_with_a_payload_rounded: of_f64("(f64.nearest (global.get $nan))") => answers(&letters(CANONICAL));
    nan_with_a_payload_as_the_lesser: of_f64("(f64.min (global.get $nan) (f64.const 1))") => answers(&letters(CANONICAL));
    nan_of_infinities: of_f64("(f64.sub (f64.div (f64.const 1) (f64.const 0)) (f64.div (f64.const 1) (f64.const 0)))")
        => answers(&letters(CANONICAL));
    nan_that_is_demoted: bits(NAN, "(i64.extend_i32_u (i32.reinterpret_f32 (f32.demote_f64 (global.get $nan))))")
        => answers(&letters(CANONICAL_32));
    nan_that_is_promoted: bits(NAN_32, "(i64.reinterpret_f64 (f64.promote_f32 (global.get $nan)))") => answers(&letters(CANONICAL));
    nan_that_signals: of_f32("(f32.mul (f32.reinterpret_i32 (i32.const 0x7fa00001)) (f32.const 1))") => answers(&letters(CANONICAL_32));
    nan_of_single_precision: of_f32("(f32.add (global.get $nan) (global.get $nan))") => answers(&letters(CANONICAL_32));
    // Moving bits is no arithmetic: a payload stays.
    nan_that_is_only_negated: of_f64("(f64.neg (global.get $nan))") => answers(&letters(0x7ff8_0000_0001_2345));
    nan_that_goes_through_memory: bits(NAN, "(block (result i64) (f64.store (i32.const 64) (global.get $nan)) (i64.load (i32.const 64)))")
        => answers(&letters(0xfff8_0000_0001_2345));
    nan_in_vector_arithmetic: of_v128("", "(f32x4.add (global.get $x) (v128.const i32x4 0 0 0 0))")
        => answers(&mixed(0x7fc0_0000_7fc0_0000, 0x3f80_0000_0000_0000));
    nan_in_vectors_of_doubles: of_v128("", "(f64x2.sqrt (v128.const f64x2 -1 -4))") => answers(&mixed(CANONICAL, CANONICAL));
    nan_in_the_lesser_of_vectors: of_v128("", "(f32x4.min (global.get $x) (v128.const i32x4 0 0 0 0))")
        => answers(&mixed(0x7fc0_0000_7fc0_0000, 0x0000_0000_8000_0000));
    relaxed_multiply_and_add: of_v128("", "(f32x4.relaxed_madd (v128.const f32x4 1.1 1.3 1.7 1.9) (v128.const f32x4 1.1 1.3 1.7 1.9) (v128.const f32x4 -1.21 -1.69 -2.89 -3.61))")
        => answers(&mixed(0xb442_8f5c_3275_c290, 0x3275_c290_3375_c290));
    relaxed_swizzle_beyond_the_vector: of_v128("", "(i8x16.relaxed_swizzle (global.get $z) (v128.const i8x16 0 16 17 128 255 15 1 2 3 4 5 6 7 8 9 10))")
        => answers(&mixed(0xff0f_7f00_0000_007f, 0xdcba_9812_3456_7880));
    relaxed_truncation: of_v128("", "(i32x4.relaxed_trunc_f32x4_s (v128.const i32x4 0x7fc12345 0xff800000 0x7f800000 0x4f000000))")
        => answers(&mixed(0x8000_0000_0000_0000, 0x7fff_ffff_7fff_ffff));
    relaxed_unsigned_truncation: of_v128("", "(i32x4.relaxed_trunc_f64x2_u_zero (v128.const f64x2 -7 1e300))")
        => answers(&mixed(0xffff_ffff_0000_0000, 0));
    relaxed_choice_by_a_half_set_lane: of_v128("", "(i32x4.relaxed_laneselect (v128.const i32x4 -1 -1 -1 -1) (v128.const i32x4 0 0 0 0) (v128.const i32x4 0x80000000 1 0x0000ffff 0x7fffffff))")
        => answers(&mixed(0x0000_0001_8000_0000, 0x7fff_ffff_0000_ffff));
    relaxed_minimum_of_zeros: of_v128("", "(f32x4.relaxed_min (v128.const f32x4 0 -0 0 1) (v128.const f32x4 -0 0 0 -0))")
        => answers(&mixed(0x8000_0000_8000_0000, 0x8000_0000_0000_0000));
    relaxed_rounding_multiplication: of_v128("", "(i16x8.relaxed_q15mulr_s (v128.const i16x8 -32768 -32768 1 2 3 4 5 6) (v128.const i16x8 -32768 -32768 16384 16384 16384 16384 16384 16384))")
        => answers(&mixed(0x0001_0001_7fff_7fff, 0x0003_0003_0002_0002));
    shifts_by_more_than_the_width: bits("(global $by (mut i32) (i32.const 97))",
        "(i64.or (i64.shl (i64.const 1) (i64.extend_i32_u (global.get $by))) (i64.extend_i32_u (i32.shr_u (i32.const -1) (global.get $by))))")
        => answers(&letters(1 << 33 | 0x7fff_ffff));
    saturating_conversions: bits(NAN, "(i64.or (i64.trunc_sat_f64_u (global.get $nan)) (i64.shl (i64.extend_i32_u (i32.trunc_sat_f64_s (f64.const 1e10))) (i64.const 8)))")
        => answers(&letters(0x7f_ffff_ff00));
}

#[test]
fn the_interpreter_comes_to_the_same_bits() {
    let engine = |target| {
        let mut config = Config::new(Compiler::InProcess);
        config.target = target;
        config.ceiling.wall_clock_ms = 60_000;
        Engine::new(config).unwrap()
    };
    let (native, interpreter) = (engine(Target::Native), engine(Target::Pulley));
    let attacks = [
        of_f64("(f64.add (global.get $nan) (f64.const 1))"),
        of_f32("(f32.sqrt (f32.neg (f32.const 2)))"),
        of_v128("", "(f32x4.div (global.get $x) (global.get $y))"),
        of_v128("", "(f32x4.pmin (global.get $x) (global.get $y))"),
        of_v128("", "(f64x2.promote_low_f32x4 (global.get $x))"),
        of_v128("", "(f32x4.relaxed_nmadd (global.get $x) (global.get $y) (global.get $z))"),
        of_v128("", "(f64x2.relaxed_madd (global.get $x) (global.get $y) (global.get $z))"),
        of_v128("", "(f32x4.relaxed_max (global.get $x) (global.get $y))"),
        of_v128("", "(i16x8.relaxed_dot_i8x16_i7x16_s (global.get $z) (global.get $x))"),
        of_v128("", "(i32x4.relaxed_dot_i8x16_i7x16_add_s (global.get $z) (global.get $x) (global.get $y))"),
        of_v128("", "(i8x16.relaxed_laneselect (global.get $z) (global.get $x) (global.get $y))"),
        of_v128("", "(i32x4.relaxed_trunc_f32x4_u (global.get $x))"),
        of_v128("", "(i8x16.popcnt (i8x16.narrow_i16x8_u (global.get $x) (global.get $z)))"),
    ];
    for (n, attack) in attacks.iter().enumerate() {
        let [one, other] = [&native, &interpreter]
            .map(|engine| seen(ask(&attack.load(engine), "attack", &attack.input, None)));
        assert_eq!(one, other, "{n}");
    }
}
