//! Attacks on memory and tables: taking all of it, and finding out how much there is.

use verdict_core::outcome::FaultCode::{OutOfFuel, OutOfMemory, Trap};

use super::harness::{Attack, answers, attacks, body, faults, with};

const PAGES_16: u64 = 16 << 16;

/// Grows to the limit of 1 MiB and writes to each page of the system's in it.
const GROW_AND_TOUCH: &str = "(local $at i32)
    (if (i32.ne (memory.grow (i32.const 14)) (i32.const 2)) (then (unreachable)))
    (local.set $at (i32.const 8192))
    (loop $l
      (i32.store (local.get $at) (i32.const -1))
      (br_if $l (i32.lt_u (local.tee $at (i32.add (local.get $at) (i32.const 4096))) (i32.const 1048576))))";

/// With fuel for any growth, so that the limit of memory ends it.
fn rich(attack: Attack) -> Attack {
    attack.limit("fuel", 1_000_000_000_000).engine(|config| config.ceiling.fuel = 1_000_000_000_000)
}

attacks! {
    growing_by_more_than_can_be_paid: body("(drop (memory.grow (i32.const -1))) (call $true)") => faults(OutOfFuel, "fuel");
    memory_bomb_at_once: body("(drop (memory.grow (i32.const 1000))) (call $true)") => faults(OutOfMemory, "bytes of memory");
    memory_bomb_bit_by_bit: body("(loop $l (drop (memory.grow (i32.const 1))) (br $l)) (unreachable)")
        => faults(OutOfMemory, "bytes of memory");
    memory_bomb_that_writes_as_it_grows: body(
        "(loop $l (memory.fill (i32.shl (memory.grow (i32.const 1)) (i32.const 16)) (i32.const -1) (i32.const 65536)) (br $l))
         (unreachable)") => faults(OutOfMemory, "bytes of memory");
    growing_to_the_limit: body(
        "(if (i32.ne (memory.grow (i32.const 14)) (i32.const 2)) (then (unreachable)))
         (if (i32.ne (memory.size) (i32.const 16)) (then (unreachable))) (call $true)") => answers("true");
    growing_to_the_limit_and_writing_all_of_it: body(&format!("{GROW_AND_TOUCH} (call $true)")) => answers("true");
    growing_one_page_past_the_limit: body("(drop (memory.grow (i32.const 15))) (call $true)")
        => faults(OutOfMemory, "1114112 bytes of memory; its limit is 1048576");
    growing_past_the_limit_after_writing_up_to_it: body(&format!("{GROW_AND_TOUCH} (drop (memory.grow (i32.const 1))) (call $true)"))
        => faults(OutOfMemory, "bytes of memory");
    growing_by_more_than_there_can_be: rich(body("(drop (memory.grow (i32.const -1))) (call $true)")) => faults(OutOfFuel, "fuel");
    growing_to_four_gigabytes: rich(body("(drop (memory.grow (i32.const 65534))) (call $true)")) => faults(OutOfMemory, "memory");
    // Beyond the limit growth is a fault, so that no guest learns how much its host has.
    growth_that_fails_is_never_seen: body(
        "(local $by i32) (local.set $by (i32.const 1))
         (loop $l
           (if (i32.eq (memory.grow (local.get $by)) (i32.const -1)) (then (return (call $true))))
           (local.set $by (i32.shl (local.get $by) (i32.const 1))) (br $l)) (unreachable)")
        => faults(OutOfMemory, "bytes of memory");
    growth_that_the_module_forbids_is_minus_one: with("(memory (export \"memory\") 2 3)",
        "(if (i32.ne (memory.grow (i32.const 2)) (i32.const -1)) (then (unreachable)))
         (if (i32.ne (memory.grow (i32.const 1)) (i32.const 2)) (then (unreachable)))
         (if (i32.ne (memory.grow (i32.const 1)) (i32.const -1)) (then (unreachable)))
         (if (i32.ne (memory.size) (i32.const 3)) (then (unreachable))) (call $true)") => answers("true");
    memory_size_games: body(
        "(local $n i32)
         (loop $l
           (if (i32.ne (memory.grow (i32.const 0)) (i32.add (i32.const 2) (local.get $n))) (then (unreachable)))
           (if (i32.ne (memory.grow (i32.const 1)) (memory.size)) (then) (else (unreachable)))
           (br_if $l (i32.lt_u (local.tee $n (i32.add (local.get $n) (i32.const 1))) (i32.const 14))))
         (if (i32.ne (memory.size) (i32.const 16)) (then (unreachable))) (call $true)") => answers("true");
    growing_by_nothing_without_end: body("(loop $l (drop (memory.grow (i32.const 0))) (br $l)) (unreachable)")
        => faults(OutOfFuel, "fuel");
    a_page_that_the_host_would_lower_into_after_growth: body(
        "(global.set $next (i32.shl (memory.grow (i32.const 1)) (i32.const 16)))
         (call $host.input.json (i32.const 0) (i32.const 0) (i32.const 2048))
         (call $answer (i32.load (i32.const 2052)) (i32.load (i32.const 2056)))") => answers(r#"{"a": 1, "b": ["x"]}"#);
    fills_without_end: body("(loop $l (memory.fill (i32.const 4200) (i32.const 9) (i32.const 120000)) (br $l)) (unreachable)")
        => faults(OutOfFuel, "fuel");
    fills_of_nothing_without_end: body("(loop $l (memory.fill (i32.const 0) (i32.const 9) (i32.const 0)) (br $l)) (unreachable)")
        => faults(OutOfFuel, "fuel");
    overlapping_copies_without_end: body(
        "(loop $l (memory.copy (i32.const 4097) (i32.const 4096) (i32.const 120000))
           (memory.copy (i32.const 4096) (i32.const 4097) (i32.const 120000)) (br $l)) (unreachable)") => faults(OutOfFuel, "fuel");
    segments_copied_without_end: with("(data $d \"0123456789abcdef\")",
        "(loop $l (memory.init $d (i32.const 2048) (i32.const 0) (i32.const 16)) (br $l)) (unreachable)") => faults(OutOfFuel, "fuel");
    table_bomb_at_once: rich(with("(table $t 1 funcref)",
        "(drop (table.grow $t (ref.null func) (i32.const 1000000))) (call $true)"))
        .renewed("table.grow") => faults(OutOfMemory, "table elements");
    table_bomb_bit_by_bit: with("(table $t 1 funcref)",
        "(loop $l (drop (table.grow $t (ref.null func) (i32.const 1))) (br $l)) (unreachable)")
        .renewed("table.grow")
        => faults(OutOfMemory, "table elements");
    table_grown_by_more_than_there_can_be: rich(with("(table $t 1 funcref)",
        "(drop (table.grow $t (ref.null func) (i32.const -1))) (call $true)"))
        .renewed("table.grow") => faults(OutOfMemory, "table elements");
    table_grown_to_the_limit_with_functions: with("(table $t 1 funcref) (elem declare func $f) (func $f)",
        "(if (i32.ne (table.grow $t (ref.func $f) (i32.const 900)) (i32.const 1)) (then (unreachable)))
         (if (ref.is_null (table.get $t (i32.const 900))) (then (unreachable)))
         (if (i32.eqz (ref.is_null (table.get $t (i32.const 0)))) (then (unreachable))) (call $true)")
        .renewed("table.grow") => answers("true");
    table_growth_that_the_module_forbids_is_minus_one: with("(table $t 1 2 funcref)",
        "(if (i32.ne (table.grow $t (ref.null func) (i32.const 5)) (i32.const -1)) (then (unreachable))) (call $true)")
        .renewed("table.grow")
        => answers("true");
    table_fills_without_end: with("(table $t 900 funcref)",
        "(loop $l (table.fill $t (i32.const 0) (ref.null func) (i32.const 900)) (br $l)) (unreachable)")
        .renewed("table.fill") => faults(OutOfFuel, "fuel");
    table_copies_without_end: with("(table $t 900 funcref)",
        "(loop $l (table.copy $t $t (i32.const 1) (i32.const 0) (i32.const 899)) (br $l)) (unreachable)")
        .renewed("table.copy") => faults(OutOfFuel, "fuel");
    table_segments_copied_without_end: with("(table $t 9 funcref) (elem $e func $f $f $f) (func $f)",
        "(loop $l (table.init $t $e (i32.const 2) (i32.const 0) (i32.const 3)) (br $l)) (unreachable)")
        .renewed("table.init") => faults(OutOfFuel, "fuel");
    all_memory_filled_then_a_trap: body(
        "(drop (memory.grow (i32.const 14))) (memory.fill (i32.const 0) (i32.const 90) (i32.const 1048576)) (unreachable)")
        .limit("memory_bytes", PAGES_16) => faults(Trap, "unreachable");
}
