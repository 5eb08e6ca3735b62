//! Attacks on the processor: loops, recursion, and what is slow for its fuel.

use verdict_core::outcome::FaultCode::{Deadline, OutOfBudget, OutOfFuel, StackOverflow, Trap};

use super::harness::{Attack, Expected, attacks, body, faults, with};

const FOREVER: &str = "(loop $l (br $l)) (unreachable)";

/// So much fuel that only the clock ends it, and a clock that ends soon.
fn clocked(attack: Attack) -> Attack {
    attack.limit("fuel", 1_000_000_000_000).limit("wall_clock_ms", 40).limit("host_calls", 10_000_000).engine(
        |config| {
            config.ceiling.fuel = 1_000_000_000_000;
            config.ceiling.host_calls = 10_000_000;
        },
    )
}

attacks! {
    infinite_loop: body(FOREVER) => faults(OutOfFuel, "fuel");

    infinite_loop_of_calls: with("(func $f (param i32) (result i32) (i32.add (local.get 0) (i32.const 1)))",
        "(loop $l (local.set $rule (call $f (local.get $rule))) (br $l)) (unreachable)")
        => faults(OutOfFuel, "fuel");

    infinite_loop_through_a_br_table: body(
        "(loop $a (loop $b (loop $c
           (local.set $rule (i32.add (local.get $rule) (i32.const 1)))
           (br_table $a $b $c (i32.rem_u (local.get $rule) (i32.const 3)))))) (unreachable)")
        => faults(OutOfFuel, "fuel");

    loops_in_loops_in_loops: body(
        "(local $a i32) (local $b i32) (local $c i32)
         (loop $a (local.set $b (i32.const 0))
           (loop $b (local.set $c (i32.const 0))
             (loop $c
               (br_if $c (i32.lt_u (local.tee $c (i32.add (local.get $c) (i32.const 1))) (i32.const 100000))))
             (br_if $b (i32.lt_u (local.tee $b (i32.add (local.get $b) (i32.const 1))) (i32.const 100000))))
           (br_if $a (i32.lt_u (local.tee $a (i32.add (local.get $a) (i32.const 1))) (i32.const 100000))))
         (call $true)") => faults(OutOfFuel, "fuel");

    recursion_that_is_exponential: with(
        "(func $fib (param i32) (result i32)
           (if (result i32) (i32.lt_u (local.get 0) (i32.const 2)) (then (local.get 0)) (else
             (i32.add (call $fib (i32.sub (local.get 0) (i32.const 1))) (call $fib (i32.sub (local.get 0) (i32.const 2)))))))",
        "(drop (call $fib (i32.const 90))) (call $true)") => faults(OutOfFuel, "fuel");

    recursion_without_end: with("(func $f (result i32) (i32.add (call $f) (i32.const 1)))", "(call $f)")
        => faults(StackOverflow, "stack");

    recursion_of_two_without_end: with(
        "(func $f (result i32) (i32.add (call $g) (i32.const 1))) (func $g (result i32) (i32.mul (call $f) (i32.const 3)))",
        "(call $f)") => faults(StackOverflow, "stack");

    recursion_through_a_table: with(
        "(table $t funcref (elem $f))
         (func $f (result i32) (i32.add (call_indirect $t (result i32) (i32.const 0)) (i32.const 1)))",
        "(call $f)") => faults(StackOverflow, "stack");

    recursion_with_huge_frames: with(
        &format!("(func $f (param $p i64) (result i64) {} {} (local.set $l0 (call $f (local.get $p))) (i64.add {} (i64.const 0)))",
            locals(400), fill(400), sum(400)),
        "(drop (call $f (i64.const 1))) (call $true)").limit("fuel", 10_000_000) => faults(StackOverflow, "stack");

    recursion_that_writes_a_page_a_frame: with(
        "(func $f (param $at i32) (result i32)
           (i32.store (local.get $at) (i32.const 7))
           (i32.add (call $f (i32.rem_u (i32.add (local.get $at) (i32.const 4096)) (i32.const 131072))) (i32.const 1)))",
        "(call $f (i32.const 8192))") => faults(StackOverflow, "stack");

    recursion_through_the_allocator: with(
        "(func $f (result i32) (drop (call $g)) (call $f2)) (func $f2 (result i32) (i32.add (call $f) (i32.const 1)))
         (func $g (result i32) (global.set $next (i32.add (global.get $next) (i32.const 8))) (global.get $next))",
        "(call $f)") => faults(StackOverflow, "stack");

    tail_calls_without_end: with("(func $f (param i32) (result i32) (return_call $f (i32.add (local.get 0) (i32.const 1))))",
        "(call $f (i32.const 0))") => faults(OutOfFuel, "fuel");

    tail_calls_of_two_with_other_stacks: with(
        "(func $f (param i32) (result i32) (return_call $g (local.get 0) (i64.const 1) (i64.const 2) (i64.const 3)
           (i64.const 4) (i64.const 5) (i64.const 6) (i64.const 7) (i64.const 8) (i64.const 9)))
         (func $g (param i32 i64 i64 i64 i64 i64 i64 i64 i64 i64) (result i32) (return_call $f (i32.add (local.get 0) (i32.const 1))))",
        "(call $f (i32.const 0))") => faults(OutOfFuel, "fuel");

    tail_calls_through_a_table: with(
        "(table $t funcref (elem $f))
         (func $f (param i32) (result i32) (return_call_indirect $t (param i32) (result i32) (local.get 0) (i32.const 0)))",
        "(call $f (i32.const 0))") => faults(OutOfFuel, "fuel");

    divisions_without_end: body(
        "(local $x i64) (loop $l
           (local.set $x (i64.div_u (i64.const -1) (i64.or (i64.rem_u (local.get $x) (i64.const 1000003)) (i64.const 1)))) (br $l))
         (unreachable)") => faults(OutOfFuel, "fuel");

    square_roots_without_end: body(
        "(local $x f64) (loop $l (local.set $x (f64.sqrt (f64.div (f64.sqrt (local.get $x)) (f64.const 3e-310)))) (br $l)) (unreachable)")
        => faults(OutOfFuel, "fuel");

    random_loads_without_end: body(
        "(local $x i32) (loop $l
           (local.set $x (i32.add (i32.mul (local.get $x) (i32.const 1664525)) (i32.const 1013904223)))
           (drop (i32.load (i32.and (local.get $x) (i32.const 0x1fffc)))) (br $l)) (unreachable)")
        => faults(OutOfFuel, "fuel");

    fuel_burnt_then_unreachable: body(
        "(local $n i32) (loop $l (br_if $l (i32.lt_u (local.tee $n (i32.add (local.get $n) (i32.const 1))) (i32.const 150000))))
         (unreachable)") => faults(Trap, "unreachable");

    fuel_burnt_then_a_signal: body(
        "(local $n i32) (loop $l (br_if $l (i32.lt_u (local.tee $n (i32.add (local.get $n) (i32.const 1))) (i32.const 150000))))
         (i32.load (i32.const -4))") => faults(Trap, "out of bounds memory access");

    deadline_in_a_loop: clocked(body(FOREVER)) => faults(Deadline, "wall-clock");

    deadline_in_calls: clocked(with("(func $f)", "(loop $l (call $f) (br $l)) (unreachable)"))
        => faults(Deadline, "wall-clock");

    deadline_in_huge_fills: clocked(body(
        "(drop (memory.grow (i32.const 253)))
         (loop $l (memory.fill (i32.const 4096) (i32.const 1) (i32.const 16700000)) (br $l)) (unreachable)"))
        .limit("memory_bytes", 1 << 24) => faults(Deadline, "wall-clock");

    deadline_in_huge_copies: clocked(body(
        "(drop (memory.grow (i32.const 253)))
         (loop $l (memory.copy (i32.const 4097) (i32.const 4096) (i32.const 16700000)) (br $l)) (unreachable)"))
        .limit("memory_bytes", 1 << 24) => faults(Deadline, "wall-clock");

    deadline_in_huge_table_fills: clocked(with("(table $t 19000 funcref)",
        "(loop $l (table.fill $t (i32.const 0) (ref.null func) (i32.const 19000)) (br $l)) (unreachable)"))
        .limit("table_elements", 20_000)
        .renewed("table.fill") => faults(Deadline, "wall-clock");

    deadline_in_host_calls: clocked(body(
        "(loop $l (call $host.input.read (i32.const 0) (i32.const 0) (i32.const 2048)) (br $l)) (unreachable)"))
        => Expected::OneOf(&[Deadline, OutOfBudget]);

    deadline_in_host_calls_that_copy: clocked(body(
        "(loop $l (global.set $next (i32.const 4096))
           (call $host.input.json (i32.const 0) (i32.const 0) (i32.const 2048)) (br $l)) (unreachable)"))
        .input(format!("\"{}\"", "x".repeat(100_000)))
        => Expected::OneOf(&[Deadline, OutOfBudget]);

    deadline_in_lists_of_names: clocked(body(
        "(loop $l (global.set $next (i32.const 4096))
           (call $host.input.keys (i32.const 0) (i32.const 0) (i32.const 2048)) (br $l)) (unreachable)"))
        .input(object_of(3_000)).limit("memory_bytes", 1 << 20)
        => Expected::OneOf(&[Deadline, OutOfBudget]);

    deadline_in_a_recursion_that_never_overflows: clocked(with(
        "(func $f (param i32) (if (local.get 0) (then (call $f (i32.sub (local.get 0) (i32.const 1))) (call $f (i32.sub (local.get 0) (i32.const 1))))))",
        "(call $f (i32.const 60)) (call $true)")) => faults(Deadline, "wall-clock");

    deadline_at_the_first_tick: clocked(body(FOREVER)).limit("wall_clock_ms", 10) => faults(Deadline, "wall-clock");
}

/// An object of so many members.
pub(super) fn object_of(members: usize) -> String {
    let members: Vec<String> = (0..members).map(|n| format!("\"k{n}\":{n}")).collect();
    format!("{{{}}}", members.join(","))
}

fn locals(count: usize) -> String {
    (0..count).map(|n| format!("(local $l{n} i64)")).collect()
}

fn fill(count: usize) -> String {
    (0..count).map(|n| format!("(local.set $l{n} (i64.load offset={} (i32.const 64)))", n * 8)).collect()
}

fn sum(count: usize) -> String {
    (0..count).fold("(i64.const 0)".into(), |sum, n| format!("(i64.xor {sum} (local.get $l{n}))"))
}
