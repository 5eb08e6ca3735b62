//! Attacks on isolation: each guest marks every kind of state that it has, and answers `true` only if no mark of an
//! earlier evaluation is there. The harness asks again and again, also after the guest's faults.

use verdict_core::outcome::FaultCode::{InvalidOutput, OutOfBudget, OutOfFuel, StackOverflow, Trap};

use super::harness::{Attack, answers, attacks, body, faults, with};

/// A guest that traps with `unreachable` if it finds that `dirty` is true, and else marks by `mark` and goes on.
fn marks(items: &str, dirty: &str, mark: &str, then: &str) -> Attack {
    with(items, &format!("(if {dirty} (then (unreachable))) {mark} {then}"))
}

const TRUE: &str = "(call $true)";

/// Looks for anything but zeros in all memory above what the module and the host put there.
const DIRTY: &str = "(func $dirty (result i32) (local $at i32)
    (local.set $at (i32.const 4608))
    (loop $l
      (if (i64.ne (i64.load (local.get $at)) (i64.const 0)) (then (return (i32.const 1))))
      (br_if $l (i32.lt_u (local.tee $at (i32.add (local.get $at) (i32.const 8))) (i32.const 131072))))
    (i32.const 0))";

const FILL: &str = "(memory.fill (i32.const 4608) (i32.const 83) (i32.const 126464))";

/// Fills its memory and a global, then ends like this.
fn fills_then(then: &str) -> Attack {
    marks(
        &format!(
            "{DIRTY} (global $g (mut i64) (i64.const 1)) (func $f (result i32) (i32.add (call $f) (i32.const 1)))"
        ),
        "(i32.or (call $dirty) (i64.ne (global.get $g) (i64.const 1)))",
        &format!("(global.set $g (i64.const 2)) {FILL}"),
        then,
    )
}

attacks! {
    left_in_memory: fills_then(TRUE) => answers("true");
    left_in_memory_by_a_trap: fills_then("(i32.load (i32.const -4))") => faults(Trap, "out of bounds");
    left_in_memory_by_a_loop: fills_then("(loop $l (br $l)) (unreachable)") => faults(OutOfFuel, "fuel");
    left_in_memory_by_a_recursion: fills_then("(call $f)") => faults(StackOverflow, "stack");
    left_in_memory_by_a_stop_of_the_host: fills_then(
        "(loop $l (call $host.diagnostics.log (i32.const 0) (i32.const 4) (i32.const 0) (i32.const 4)) (br $l)) (unreachable)")
        => faults(OutOfBudget, "log bytes");
    left_in_memory_by_an_answer_that_is_refused: fills_then(
        "(call $answer (i32.const 4608) (i32.const 4))") => faults(InvalidOutput, "cannot be used");
    left_in_the_first_and_the_last_byte: marks("",
        "(i32.or (i32.load8_u (i32.const 131071)) (i32.ne (i32.load8_u (i32.const 0)) (i32.const 116)))",
        "(i32.store8 (i32.const 131071) (i32.const 1)) (i32.store8 (i32.const 0) (i32.const 32)) (i32.store8 (i32.const 0) (i32.const 32))",
        "(i32.store8 (i32.const 960) (i32.const 49)) (call $answer (i32.const 960) (i32.const 1))") => answers("1");
    left_in_globals_of_every_type: marks(
        "(global $a (mut i32) (i32.const 1)) (global $b (mut i64) (i64.const 2)) (global $c (mut f32) (f32.const 3.5)) (global $d (mut f64) (f64.const nan:0x4000000000123))",
        "(i32.or (i32.or (i32.ne (global.get $a) (i32.const 1)) (i64.ne (global.get $b) (i64.const 2)))
           (i32.or (i32.ne (i32.reinterpret_f32 (global.get $c)) (i32.const 0x40600000))
                   (i64.ne (i64.reinterpret_f64 (global.get $d)) (i64.const 0x7ff4000000000123))))",
        "(global.set $a (i32.const -1)) (global.set $b (i64.const -1)) (global.set $c (f32.const -inf)) (global.set $d (f64.const nan:0x8000000000321))",
        TRUE) => answers("true");
    left_in_a_signalling_nan: marks("(global $c (mut f32) (f32.const nan:0x200001))",
        "(i32.ne (i32.reinterpret_f32 (global.get $c)) (i32.const 0x7fa00001))",
        "(global.set $c (f32.reinterpret_i32 (i32.const 0x7fa00002)))", TRUE) => answers("true");
    left_in_a_vector_global: marks("(global $v (mut v128) (v128.const i64x2 1 2))",
        "(i32.eqz (i64x2.all_true (i64x2.eq (global.get $v) (v128.const i64x2 1 2))))",
        "(global.set $v (v128.const i64x2 -1 -1))", TRUE)
        .renewed("v128") => answers("true");
    left_in_a_reference_global: marks("(global $r (mut funcref) (ref.null func)) (elem declare func $f) (func $f)",
        "(i32.eqz (ref.is_null (global.get $r)))", "(global.set $r (ref.func $f))", TRUE)
        .renewed("funcref") => answers("true");
    left_in_a_thousand_globals: with(
        &(0..1_000).map(|n| format!("(global $m{n} (mut i32) (i32.const {n}))")).collect::<String>(),
        &((0..1_000).map(|n| format!("(if (i32.ne (global.get $m{n}) (i32.const {n})) (then (unreachable))) (global.set $m{n} (i32.const -7))"))
            .collect::<String>() + TRUE)) => answers("true");
    left_in_a_table: marks("(table $t 4 funcref) (elem declare func $f) (func $f)",
        "(i32.eqz (ref.is_null (table.get $t (i32.const 3))))", "(table.set $t (i32.const 3) (ref.func $f))", TRUE)
        .renewed("table.set") => answers("true");
    left_in_the_second_table: marks("(table $t 4 funcref) (table $u 4 funcref) (elem declare func $f) (func $f)",
        "(i32.eqz (ref.is_null (table.get $u (i32.const 0))))", "(table.fill $u (i32.const 0) (ref.func $f) (i32.const 4))", TRUE)
        .renewed("table.fill")
        => answers("true");
    left_in_a_table_by_taking_out: marks("(table $t funcref (elem $f $f)) (func $f)",
        "(ref.is_null (table.get $t (i32.const 1)))", "(table.set $t (i32.const 1) (ref.null func))", TRUE)
        .renewed("table.set") => answers("true");
    left_in_the_size_of_a_table: marks("(table $t 4 funcref)",
        "(i32.ne (table.size $t) (i32.const 4))", "(drop (table.grow $t (ref.null func) (i32.const 7)))", TRUE)
        .renewed("table.grow") => answers("true");
    left_in_the_size_of_memory: marks("", "(i32.ne (memory.size) (i32.const 2))", "(drop (memory.grow (i32.const 5)))", TRUE)
        => answers("true");
    left_in_pages_that_were_given_back: body(
        "(local $at i32)
         (local.set $at (i32.shl (memory.grow (i32.const 10)) (i32.const 16)))
         (if (i32.ne (local.get $at) (i32.const 131072)) (then (unreachable)))
         (loop $l
           (if (i64.ne (i64.load (local.get $at)) (i64.const 0)) (then (unreachable)))
           (i64.store (local.get $at) (i64.const -1))
           (br_if $l (i32.lt_u (local.tee $at (i32.add (local.get $at) (i32.const 128))) (i32.const 786432))))
         (call $true)") => answers("true");
    left_in_the_second_memory: marks("(memory $second 3)",
        "(i32.or (i32.load $second (i32.const 196600)) (i32.ne (memory.size $second) (i32.const 3)))",
        "(memory.fill $second (i32.const 0) (i32.const 9) (i32.const 196608))", TRUE) => answers("true");
    left_in_a_second_memory_that_grew: marks("(memory $second 1)",
        "(i32.ne (memory.size $second) (i32.const 1))",
        "(drop (memory.grow $second (i32.const 2))) (i32.store $second (i32.const 131072) (i32.const 1))", TRUE) => answers("true");
    left_in_a_memory_that_begins_empty: marks("(memory $second 0)", "(memory.size $second)",
        "(drop (memory.grow $second (i32.const 1))) (i32.store $second (i32.const 9) (i32.const 1))", TRUE)
        .renewed("starts without pages") => answers("true");
    left_in_a_dropped_data_segment: marks("(data $d \"0123456789\")", "(i32.const 0)",
        "(memory.init $d (i32.const 2048) (i32.const 0) (i32.const 10)) (data.drop $d)", TRUE)
        .renewed("data.drop") => answers("true");
    left_in_a_dropped_element_segment: marks("(table $t 4 funcref) (elem $e func $f $f) (func $f)", "(i32.const 0)",
        "(table.init $t $e (i32.const 0) (i32.const 0) (i32.const 2)) (elem.drop $e)", TRUE)
        .renewed("table.init") => answers("true");
    left_in_an_active_segment: marks("(data (i32.const 8192) \"secret\")",
        "(i32.ne (i32.load (i32.const 8192)) (i32.const 0x72636573))",
        "(memory.fill (i32.const 8192) (i32.const 0) (i32.const 6))", TRUE) => answers("true");
    left_in_the_allocator: marks("",
        "(i32.ne (global.get $next) (i32.const 4102))", "(global.set $next (i32.const 70001))", TRUE) => answers("true");
    left_on_the_shadow_stack: marks(&format!("{DIRTY} (global $stack (mut i32) (i32.const 131072))"),
        "(i32.or (call $dirty) (i32.ne (global.get $stack) (i32.const 131072)))",
        "(global.set $stack (i32.sub (global.get $stack) (i32.const 8192)))
         (memory.fill (global.get $stack) (i32.const 66) (i32.const 8192))", TRUE) => answers("true");
    // Locals are zero, whatever an earlier call left on the native stack.
    left_on_the_native_stack: with(
        "(func $deep (param $n i32) (param i64 i64 i64 i64) (result i64)
           (if (result i64) (local.get $n)
             (then (i64.add (call $deep (i32.sub (local.get $n) (i32.const 1)) (i64.const -1) (i64.const -2) (i64.const -3) (i64.const -4)) (local.get 1)))
             (else (local.get 2))))
         (func $locals (result i64) (local i64 i64 i64 i64 i64 i64 i64 i64 v128 v128)
           (i64.or (i64.or (i64.or (local.get 0) (local.get 1)) (i64.or (local.get 2) (local.get 3)))
             (i64.or (i64.or (local.get 4) (local.get 7)) (i64x2.extract_lane 1 (local.get 9)))))",
        "(drop (call $deep (i32.const 300) (i64.const 1) (i64.const 2) (i64.const 3) (i64.const 4)))
         (if (i64.ne (call $locals) (i64.const 0)) (then (unreachable))) (call $true)") => answers("true");
    left_in_the_budget_of_host_calls: body(
        "(local $n i32) (loop $l (call $host.input.read (i32.const 0) (i32.const 0) (i32.const 2048))
           (br_if $l (i32.lt_u (local.tee $n (i32.add (local.get $n) (i32.const 1))) (i32.const 300)))) (call $true)") => answers("true");
    left_in_the_budget_of_the_log: body(
        "(local $n i32) (loop $l (call $host.diagnostics.log (i32.const 0) (i32.const 4) (i32.const 0) (i32.const 4))
           (br_if $l (i32.lt_u (local.tee $n (i32.add (local.get $n) (i32.const 1))) (i32.const 125)))) (call $true)") => answers("true");
    left_in_the_budget_of_fuel: body(
        "(local $n i32) (loop $l (br_if $l (i32.lt_u (local.tee $n (i32.add (local.get $n) (i32.const 1))) (i32.const 200000)))) (call $true)")
        => answers("true");
    left_in_the_budget_of_output: body(
        "(memory.fill (i32.const 8192) (i32.const 49) (i32.const 10000)) (call $answer (i32.const 8192) (i32.const 10000))")
        => answers(&"1".repeat(10_000));
    left_in_the_budget_of_memory: body("(drop (memory.grow (i32.const 14))) (memory.fill (i32.const 8192) (i32.const 1) (i32.const 1000000)) (call $true)")
        => answers("true");
    // A guest whose first evaluation learns something only it could: what the host wrote where.
    left_where_the_host_wrote: with(&format!("{DIRTY} (data (i32.const 8) \"/roles\")"),
        "(if (call $dirty) (then (unreachable)))
         (global.set $next (i32.const 8192)) (call $host.data.json (i32.const 8) (i32.const 6) (i32.const 2048))
         (if (i32.eqz (call $dirty)) (then (unreachable))) (call $true)") => answers("true");
    left_by_the_start_function: marks(
        "(global $g (mut i32) (i32.const 1)) (memory $second 1)
         (func $start (global.set $g (i32.const 5)) (i32.store (i32.const 70000) (i32.const 6)) (i32.store $second (i32.const 7) (i32.const 8)))
         (start $start)",
        "(i32.or (i32.or (i32.ne (global.get $g) (i32.const 5)) (i32.ne (i32.load (i32.const 70000)) (i32.const 6)))
           (i32.ne (i32.load $second (i32.const 7)) (i32.const 8)))",
        "(global.set $g (i32.const 0)) (i32.store (i32.const 70000) (i32.const 0)) (i32.store $second (i32.const 7) (i32.const 0))",
        TRUE) => answers("true");
    left_by_a_start_function_that_grew: marks(
        "(func $start (drop (memory.grow (i32.const 3)))  (i32.store (i32.const 300000) (i32.const 6))) (start $start)",
        "(i32.or (i32.ne (memory.size) (i32.const 5)) (i32.ne (i32.load (i32.const 300000)) (i32.const 6)))",
        "(i32.store (i32.const 300000) (i32.const 7))", TRUE) => answers("true");
}
