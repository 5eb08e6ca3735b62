//! Attacks on the handler that notes which pages are written: writes at the borders of pages, across them, from the
//! host, in bulk, deep in the stack, and faults that are no writes.

use verdict_core::outcome::FaultCode::{OutOfFuel, OutOfMemory, StackOverflow, Trap};

use super::harness::{Attack, answers, attacks, body, faults, with};

/// Memory to write to without an effect on the answer begins at 8192. `$at` counts.
fn writes(items: &str, loop_body: &str, from: u32, step: i32, to: u32) -> Attack {
    let compare = if step > 0 { "i32.lt_u" } else { "i32.gt_u" };
    with(
        items,
        &format!(
            "(local $at i32) (local.set $at (i32.const {from}))
             (loop $l {loop_body}
               (br_if $l ({compare} (local.tee $at (i32.add (local.get $at) (i32.const {step}))) (i32.const {to}))))
             (call $true)"
        ),
    )
}

/// Sixteen mebibytes of memory, which are 4,096 pages of most machines.
fn large(attack: Attack) -> Attack {
    attack.limit("memory_bytes", 1 << 24).limit("fuel", 10_000_000_000).engine(|config| {
        config.ceiling.fuel = 10_000_000_000;
    })
}

const LARGE: &str = "(memory (export \"memory\") 200)";

attacks! {
    writes_to_the_last_byte_of_each_page: writes("", "(i32.store8 (local.get $at) (i32.const 1))", 12287, 4096, 131072)
        => answers("true");
    writes_to_the_first_byte_of_each_page: writes("", "(i32.store8 (local.get $at) (i32.const 1))", 8192, 4096, 131072)
        => answers("true");
    writes_across_the_border_of_each_page: writes("", "(i64.store align=1 (local.get $at) (i64.const -1))", 12285, 4096, 131064)
        => answers("true");
    vectors_across_the_border_of_each_page: writes("",
        "(v128.store align=1 (local.get $at) (v128.const i64x2 -1 -1))", 12281, 4096, 131056) => answers("true");
    lanes_across_the_border_of_each_page: writes("",
        "(v128.store64_lane align=1 1 (local.get $at) (v128.const i64x2 -1 -1))", 12281, 4096, 131056) => answers("true");
    writes_to_each_page_downwards: writes("", "(i32.store8 (local.get $at) (i32.const 1))", 131071, -4096, 8192) => answers("true");
    reads_and_writes_by_turns: writes("",
        "(if (i32.load8_u (local.get $at)) (then (unreachable)))
         (i32.store8 (local.get $at) (i32.add (i32.load8_u (i32.xor (local.get $at) (i32.const 4096))) (i32.const 1)))", 8192, 1024, 131072)
        => answers("true");
    writes_the_same_page_again_and_again: body(
        "(local $n i32) (loop $l (i32.store (i32.const 20000) (local.get $n))
           (br_if $l (i32.lt_u (local.tee $n (i32.add (local.get $n) (i32.const 1))) (i32.const 50000)))) (call $true)") => answers("true");
    writes_to_every_page_of_a_large_memory: large(writes(LARGE,
        "(i32.store8 (local.get $at) (i32.const 1))", 8192, 4096, 13_107_200)) => answers("true");
    // Each page would be a mapping of its own.
    writes_to_every_other_page_of_a_large_memory: large(writes(LARGE,
        "(i32.store8 (local.get $at) (i32.const 1))", 12_000, 8192, 13_107_200)) => answers("true");
    writes_to_random_pages_of_a_large_memory: large(with(LARGE,
        "(local $n i32) (local $x i32)
         (loop $l
           (local.set $x (i32.add (i32.mul (local.get $x) (i32.const 1664525)) (i32.const 1013904223)))
           (i32.store8 offset=8192 (i32.rem_u (local.get $x) (i32.const 13000000)) (local.get $n))
           (br_if $l (i32.lt_u (local.tee $n (i32.add (local.get $n) (i32.const 1))) (i32.const 3000)))) (call $true)"))
        => answers("true");
    fill_over_every_page: body("(memory.fill (i32.const 8191) (i32.const 255) (i32.const 122881)) (call $true)") => answers("true");
    fill_over_a_large_memory: large(with(LARGE,
        "(memory.fill (i32.const 8192) (i32.const 1) (i32.const 13000000)) (call $true)")) => answers("true");
    copy_onto_itself_across_pages: body(
        "(memory.fill (i32.const 8192) (i32.const 7) (i32.const 5000))
         (memory.copy (i32.const 10000) (i32.const 8192) (i32.const 100000))
         (memory.copy (i32.const 8200) (i32.const 10000) (i32.const 100000)) (call $true)") => answers("true");
    copy_from_pages_that_were_never_touched: body(
        "(memory.copy (i32.const 12280) (i32.const 90001) (i32.const 30000)) (call $true)") => answers("true");
    segment_copied_across_a_border: with(&format!("(data $d \"{}\")", "z".repeat(9_000)),
        "(memory.init $d (i32.const 12000) (i32.const 0) (i32.const 9000)) (call $true)") => answers("true");
    fill_that_ends_out_of_bounds: body("(memory.fill (i32.const 20000) (i32.const 1) (i32.const 111073)) (call $true)")
        => faults(Trap, "out of bounds memory access");
    host_writes_across_the_border_of_a_page: body(
        "(global.set $next (i32.const 40959)) (call $host.input.json (i32.const 0) (i32.const 0) (i32.const 12284))
         (call $answer (i32.load (i32.const 12288)) (i32.load (i32.const 12292)))") => answers(r#"{"a": 1, "b": ["x"]}"#);
    host_writes_many_fresh_pages: body(
        "(global.set $next (i32.const 20001)) (call $host.input.json (i32.const 0) (i32.const 0) (i32.const 16380))
         (call $answer (i32.const 20001) (i32.const 10))").input(format!("1234567890{}", " ".repeat(100_000)))
        => answers("1234567890");
    host_writes_names_onto_fresh_pages: body(
        "(global.set $next (i32.const 20000)) (call $host.input.keys (i32.const 0) (i32.const 0) (i32.const 16380)) (call $true)")
        .input(super::cpu::object_of(2_000)) => answers("true");
    host_writes_the_rule_onto_a_fresh_page: super::harness::rewritten("", "(call $true)",
        "(global $next (mut i32) (i32.const 4096))", "(global $next (mut i32) (i32.const 69629))") => answers("true");
    host_writes_to_the_last_bytes: body(
        "(global.set $next (i32.const 131052)) (call $host.input.json (i32.const 0) (i32.const 0) (i32.const 2048))
         (call $answer (i32.load (i32.const 2052)) (i32.load (i32.const 2056)))") => answers(r#"{"a": 1, "b": ["x"]}"#);
    out_of_bounds_right_behind_a_written_page: body(
        "(i32.store8 (i32.const 131071) (i32.const 1)) (i32.store8 (i32.const 131072) (i32.const 1)) (call $true)")
        => faults(Trap, "out of bounds memory access");
    half_out_of_bounds: body("(i64.store align=1 (i32.const 131068) (i64.const -1)) (call $true)")
        => faults(Trap, "out of bounds memory access");
    out_of_bounds_in_the_guard: body("(i32.store offset=2147483647 (i32.const 2147483647) (i32.const 1)) (call $true)")
        => faults(Trap, "out of bounds memory access");
    out_of_bounds_read_of_a_page_that_could_be_grown: body("(i32.load (i32.const 131072))")
        => faults(Trap, "out of bounds memory access");
    writes_to_a_page_that_was_just_grown: body(
        "(i32.store8 (i32.shl (memory.grow (i32.const 1)) (i32.const 16)) (i32.const 1)) (i32.store8 (i32.const 90000) (i32.const 1)) (call $true)")
        => answers("true");
    grows_between_writes: body(
        "(i32.store8 (i32.const 90000) (i32.const 1)) (drop (memory.grow (i32.const 1))) (i32.store8 (i32.const 100000) (i32.const 1))
         (drop (memory.grow (i32.const 1))) (memory.fill (i32.const 110000) (i32.const 1) (i32.const 150000)) (call $true)") => answers("true");
    growth_refused_between_writes: body(
        "(i32.store8 (i32.const 90000) (i32.const 1)) (drop (memory.grow (i32.const 1000))) (call $true)") => faults(OutOfMemory, "memory");
    writes_at_the_end_of_the_stack: with(
        "(func $f (param $at i32) (result i32) (local $r i32)
           (local.set $r (call $f (i32.add (local.get $at) (i32.const 512))))
           (i32.store8 offset=8192 (i32.and (local.get $at) (i32.const 0xffff)) (i32.const 1)) (local.get $r))",
        "(call $f (i32.const 0))") => faults(StackOverflow, "stack");
    writes_first_deep_in_the_stack: with(
        "(func $f (param $n i32) (result i32)
           (if (result i32) (local.get $n)
             (then (i32.add (call $f (i32.sub (local.get $n) (i32.const 1))) (i32.const 1)))
             (else (memory.fill (i32.const 8192) (i32.const 1) (i32.const 100000)) (i32.const 0))))",
        "(drop (call $f (i32.const 4000))) (call $true)") => answers("true");
    writes_after_the_fuel_is_nearly_gone: body(
        "(local $n i32) (loop $l (i32.store8 offset=8192 (i32.and (i32.mul (local.get $n) (i32.const 4096)) (i32.const 0xffff)) (i32.const 1))
           (local.set $n (i32.add (local.get $n) (i32.const 1))) (br $l)) (unreachable)") => faults(OutOfFuel, "fuel");
    writes_through_a_second_memory: with("(memory $second 4)",
        "(memory.fill $second (i32.const 4095) (i32.const 1) (i32.const 200000))
         (memory.copy 0 $second (i32.const 8192) (i32.const 4095) (i32.const 100000))
         (memory.copy $second 0 (i32.const 0) (i32.const 0) (i32.const 8192)) (call $true)") => answers("true");
    out_of_bounds_in_the_second_of_two_memories: with("(memory $second 1)",
        "(i32.store $second (i32.const 65532) (i32.const 1)) (i32.store $second (i32.const 65533) (i32.const 1)) (call $true)")
        => faults(Trap, "out of bounds memory access");
    many_memories_with_a_write_in_each: with(
        &(0..9).map(|n| format!("(memory $m{n} 1)")).collect::<String>(),
        &((0..9).map(|n| format!("(if (i32.load $m{n} (i32.const 61440)) (then (unreachable))) (i32.store $m{n} (i32.const 61440) (i32.const 1))"))
            .collect::<String>() + "(call $true)")) => answers("true");
}
