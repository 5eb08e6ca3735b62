//! Every kind of trap that the specification of Wasm has.

use verdict_core::outcome::FaultCode::{OutOfFuel, Trap};

use super::harness::{answers, attacks, body, faults, with};

attacks! {
    trap_unreachable: body("(unreachable)") => faults(Trap, "unreachable");
    trap_load_out_of_bounds: body("(i32.load (i32.const -4))") => faults(Trap, "out of bounds memory access");
    trap_store_out_of_bounds: body("(i32.store (i32.const -4) (i32.const 1)) (call $true)")
        => faults(Trap, "out of bounds memory access");
    trap_at_the_farthest_address: body("(i64.load offset=4294967295 (i32.const -1)) (drop) (call $true)")
        => faults(Trap, "out of bounds memory access");
    trap_in_a_vector_lane: body(
        "(v128.store64_lane 1 (i32.const 131068) (v128.const i64x2 1 2)) (call $true)")
        => faults(Trap, "out of bounds memory access");
    trap_division_by_zero: body("(i32.div_u (local.get $rule) (i32.const 0))") => faults(Trap, "divide by zero");
    trap_remainder_by_zero: body("(i32.wrap_i64 (i64.rem_s (i64.extend_i32_u (local.get $rule)) (i64.const 0)))")
        => faults(Trap, "divide by zero");
    trap_division_overflow: body("(i32.div_s (i32.const -2147483648) (i32.const -1))") => faults(Trap, "integer overflow");
    trap_long_division_overflow: body(
        "(i32.wrap_i64 (i64.div_s (i64.const 0x8000000000000000) (i64.const -1)))") => faults(Trap, "integer overflow");
    // The processor's division traps here, and Wasm's must not.
    remainder_that_overflows_only_in_hardware: body(
        "(if (i32.or (i32.rem_s (i32.const -2147483648) (i32.sub (i32.const 0) (i32.eqz (i32.const 0))))
                     (i64.ne (i64.rem_s (i64.const 0x8000000000000000) (i64.const -1)) (i64.const 0))) (then (unreachable)))
         (call $true)") => answers("true");
    trap_conversion_of_nan: body("(i32.trunc_f32_s (f32.const nan))") => faults(Trap, "invalid conversion");
    trap_conversion_of_a_huge_number: body("(i32.trunc_f64_u (f64.const 1e300))") => faults(Trap, "integer overflow");
    trap_conversion_of_infinity: body("(i32.wrap_i64 (i64.trunc_f64_s (f64.const -inf)))") => faults(Trap, "integer overflow");
    trap_call_of_an_empty_slot: with("(table 1 funcref)", "(call_indirect (result i32) (i32.const 0))")
        => faults(Trap, "uninitialized element");
    trap_call_outside_the_table: with("(table 1 funcref)", "(call_indirect (result i32) (i32.const -1))")
        => faults(Trap, "out of bounds table access");
    trap_call_with_another_type: with("(table funcref (elem $f)) (func $f)", "(call_indirect (result i32) (i32.const 0))")
        => faults(Trap, "indirect call type mismatch");
    trap_table_get: with("(table $t 3 funcref)", "(drop (table.get $t (i32.const 3))) (call $true)")
        => faults(Trap, "out of bounds table access");
    trap_table_set: with("(table $t 3 funcref)", "(table.set $t (i32.const -1) (ref.null func)) (call $true)")
        .renewed("table.set")
        => faults(Trap, "out of bounds table access");
    trap_table_fill: with("(table $t 3 funcref)", "(table.fill $t (i32.const 1) (ref.null func) (i32.const 3)) (call $true)")
        .renewed("table.fill")
        => faults(Trap, "out of bounds table access");
    trap_table_copy: with("(table $t 3 funcref) (table $u 5 funcref)",
        "(table.copy $t $u (i32.const 0) (i32.const 0) (i32.const 4)) (call $true)")
        .renewed("table.copy")
        => faults(Trap, "out of bounds table access");
    trap_table_init: with("(table $t 3 funcref) (elem $e func $f $f) (func $f)",
        "(table.init $t $e (i32.const 0) (i32.const 1) (i32.const 2)) (call $true)")
        .renewed("table.init")
        => faults(Trap, "out of bounds table access");
    trap_memory_fill: body("(memory.fill (i32.const 131000) (i32.const 1) (i32.const 73)) (call $true)")
        => faults(Trap, "out of bounds memory access");
    trap_memory_copy: body("(memory.copy (i32.const 0) (i32.const 131000) (i32.const 73)) (call $true)")
        => faults(Trap, "out of bounds memory access");
    trap_memory_init: with("(data $d \"abc\")",
        "(memory.init $d (i32.const 0) (i32.const 1) (i32.const 3)) (call $true)")
        => faults(Trap, "out of bounds memory access");
    trap_memory_init_of_a_dropped_segment: with("(data $d \"abc\")",
        "(data.drop $d) (memory.init $d (i32.const 0) (i32.const 0) (i32.const 1)) (call $true)")
        .renewed("data.drop")
        => faults(Trap, "out of bounds memory access");
    fill_of_four_gigabytes: body("(memory.fill (i32.const 0) (i32.const 1) (i32.const -1)) (call $true)")
        => faults(OutOfFuel, "fuel");
    copy_of_four_gigabytes: body("(memory.copy (i32.const 1) (i32.const 0) (i32.const -1)) (call $true)")
        => faults(OutOfFuel, "fuel");
}
