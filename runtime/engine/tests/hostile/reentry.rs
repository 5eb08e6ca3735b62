//! Attacks at the moments when the host runs the guest's code besides `decide`: its allocator, while the host writes a
//! result, and its clean-up after the answer.

use verdict_core::outcome::FaultCode::{
    Deadline, InvalidOutput, OutOfBudget, OutOfFuel, OutOfMemory, StackOverflow, Trap,
};

use super::harness::{Attack, answers, attacks, faults, rewritten, with};

const CLEAN_UP: &str =
    "(func (export \"cabi_post_verdict:policy/decision@0.1.0#decide\") (param $result i32)";

/// Answers `true`; after that the guest's clean-up runs `body`. A calm question has no clean-up.
fn cleans_up(items: &str, body: &str) -> Attack {
    let items = format!(
        "{items} (global $attacked (mut i32) (i32.const 0))
         {CLEAN_UP} (if (global.get $attacked) (then {body})))"
    );
    with(&items, "(global.set $attacked (i32.const 1)) (call $true)")
}

/// Reads its input; the allocator, when it is asked for room for that, runs `body` first.
fn allocates(items: &str, body: &str) -> Attack {
    allocates_for(items, body, READ)
}

const READ: &str = "(call $host.input.json (i32.const 0) (i32.const 0) (i32.const 2048))
    (call $answer (i32.load (i32.const 2052)) (i32.load (i32.const 2056)))";

fn allocates_for(items: &str, body: &str, decide: &str) -> Attack {
    let items = format!("(global $attacking (mut i32) (i32.const 0)) {items}");
    let decide = format!("(global.set $attacking (i32.const 1)) {decide}");
    rewritten(
        &items,
        &decide,
        "(local $at i32)\n",
        &format!("(local $at i32)\n(if (global.get $attacking) (then {body}))\n"),
    )
}

/// The allocator misbehaves as soon as it is asked for room for the rule's name, before `decide` runs.
fn allocates_rule(body: &str) -> Attack {
    let body = format!("(local $at i32)\n(if (i32.eq (local.get $size) (i32.const 6)) (then {body}))\n");
    rewritten("", "(call $true)", "(local $at i32)\n", &body)
}

const READ_MANY: &str = "(call $host.input.read-many (i32.const 65536) (i32.const 3) (i32.const 2048))
    (call $answer
      (i32.load offset=4 (i32.load (i32.const 2048))) (i32.load offset=8 (i32.load (i32.const 2048))))";

attacks! {
    clean_up_that_traps: cleans_up("", "(unreachable)") => faults(Trap, "unreachable");
    clean_up_that_reads_out_of_bounds: cleans_up("", "(drop (i32.load (i32.const -4)))") => faults(Trap, "out of bounds");
    clean_up_that_loops: cleans_up("", "(loop $l (br $l))") => faults(OutOfFuel, "fuel");
    clean_up_that_recurses: cleans_up("(func $f (result i32) (i32.add (call $f) (i32.const 1)))", "(drop (call $f))")
        => faults(StackOverflow, "stack");
    clean_up_that_grows: cleans_up("", "(drop (memory.grow (i32.const 3)))") => answers("true");
    clean_up_that_takes_all_memory: cleans_up("", "(drop (memory.grow (i32.const 99)))") => faults(OutOfMemory, "bytes of memory");
    clean_up_that_writes_everywhere: cleans_up("", "(memory.fill (i32.const 0) (i32.const -1) (i32.const 131072))")
        => answers("true");
    clean_up_that_overwrites_the_answer: cleans_up("",
        "(i64.store (i32.const 0) (i64.const -1)) (i64.store (i32.const 1024) (i64.const -1)) (i64.store (i32.const 1032) (i64.const -1))")
        => answers("true");
    clean_up_that_calls_the_host: cleans_up("", "(call $host.input.read (i32.const 0) (i32.const 0) (i32.const 2048))")
        => faults(Trap, "cannot leave component");
    clean_up_that_logs: cleans_up("",
        "(call $host.diagnostics.log (i32.const 0) (i32.const 4) (i32.const 0) (i32.const 4))") => faults(Trap, "cannot leave component");
    clean_up_that_changes_globals: cleans_up("(global $g (mut i64) (i64.const 1))",
        "(if (i64.ne (global.get $g) (i64.const 1)) (then (unreachable)))
         (global.set $g (i64.const 77)) (global.set $next (i32.const 9999))") => answers("true");
    clean_up_that_sets_a_table: cleans_up("(table $t 2 funcref) (elem declare func $f) (func $f)",
        "(if (i32.eqz (ref.is_null (table.get $t (i32.const 1)))) (then (unreachable))) (table.set $t (i32.const 1) (ref.func $f))")
        .renewed("table.set")
        => answers("true");
    clean_up_that_burns_fuel_by_what_it_finds: cleans_up("",
        "(loop $l (i32.store (i32.const 64) (i32.add (i32.load (i32.const 64)) (i32.const 1)))
           (br_if $l (i32.lt_u (i32.load (i32.const 64)) (i32.const 1000))))") => answers("true");
    clean_up_that_writes_each_page_once: cleans_up("",
        "(local.set $result (i32.const 0))
         (loop $l (i32.store8 offset=4095 (local.get $result) (i32.const 1))
           (br_if $l (i32.lt_u (local.tee $result (i32.add (local.get $result) (i32.const 4096))) (i32.const 131072))))")
        => answers("true");
    clean_up_past_the_deadline: cleans_up("", "(loop $l (br $l))").limit("fuel", 1_000_000_000_000).limit("wall_clock_ms", 40)
        .engine(|config| config.ceiling.fuel = 1_000_000_000_000) => faults(Deadline, "wall-clock");

    allocator_that_traps: allocates("", "(unreachable)") => faults(Trap, "unreachable");
    allocator_that_loops: allocates("", "(loop $l (br $l))") => faults(OutOfFuel, "fuel");
    allocator_that_recurses: allocates("(func $f (result i32) (i32.add (call $f) (i32.const 1)))", "(drop (call $f))")
        => faults(StackOverflow, "stack");
    allocator_that_calls_the_host: allocates(
        "(func $call (call $host.input.read (i32.const 0) (i32.const 0) (i32.const 2600)))", "(call $call)")
        => faults(Trap, "cannot leave component");
    allocator_that_logs: allocates(
        "(func $call (call $host.diagnostics.log (i32.const 0) (i32.const 4) (i32.const 0) (i32.const 4)))", "(call $call)")
        => faults(Trap, "cannot leave component");
    allocator_that_decides: allocates("", "(drop (call $attack (i32.const 0) (i32.const 6)))")
        => faults(Trap, "cannot leave component");
    allocator_that_answers_outside_memory: allocates("", "(return (i32.const 131071))") => faults(Trap, "beyond end of memory");
    allocator_that_answers_the_farthest_address: allocates("", "(return (i32.const -1))") => faults(Trap, "beyond end of memory");
    allocator_that_answers_nothing_aligned: allocates_for("", "(return (i32.const 8193))", READ_MANY) => faults(Trap, "aligned");
    // Where the result is written is the guest's business, as long as it is inside.
    allocator_that_answers_zero: allocates("", "(return (i32.const 0))") => answers(r#"{"a": 1, "b": ["x"]}"#);
    allocator_that_answers_the_place_of_the_result: allocates("", "(return (i32.const 2048))") => faults(InvalidOutput, "cannot be used");
    allocator_that_answers_the_end_of_memory: allocates("", "(return (i32.sub (i32.const 131072) (local.get $size)))")
        => answers(r#"{"a": 1, "b": ["x"]}"#);
    allocator_that_grows: allocates("",
        "(return (i32.shl (memory.grow (i32.const 1)) (i32.const 16)))") => answers(r#"{"a": 1, "b": ["x"]}"#);
    allocator_that_grows_without_end: allocates("", "(loop $l (drop (memory.grow (i32.const 1))) (br $l))")
        => faults(OutOfMemory, "bytes of memory");
    allocator_that_grows_for_each_element: allocates_for("",
        "(return (i32.shl (memory.grow (i32.const 1)) (i32.const 16)))", READ_MANY).input("[\"abc\"]")
        => faults(InvalidOutput, "cannot be used");
    allocator_that_changes_the_pointers_being_read: allocates_for("",
        "(memory.fill (i32.const 65536) (i32.const -1) (i32.const 24))", READ_MANY).input("12.50") => answers("12.50");
    allocator_that_changes_the_results_being_written: allocates_for("",
        "(memory.fill (i32.const 4096) (i32.const 7) (i32.const 100))", READ_MANY).input("12.50") => faults(Trap, "broke the contract");
    allocator_that_writes_each_page: allocates("",
        "(loop $l (i32.store8 offset=8192 (local.get $at) (i32.const 1))
           (br_if $l (i32.lt_u (local.tee $at (i32.add (local.get $at) (i32.const 4096))) (i32.const 120000))))
         (local.set $at (i32.const 0))") => answers(r#"{"a": 1, "b": ["x"]}"#);
    allocator_for_a_storm_of_results: allocates_for("", "(return (i32.const 8192))",
        "(loop $l (call $host.input.json (i32.const 0) (i32.const 0) (i32.const 2048)) (br $l)) (unreachable)")
        => faults(OutOfBudget, "host calls");

    allocator_that_traps_before_the_question: allocates_rule("(unreachable)") => faults(Trap, "unreachable");
    allocator_that_loops_before_the_question: allocates_rule("(loop $l (br $l))") => faults(OutOfFuel, "fuel");
    allocator_that_lies_before_the_question: allocates_rule("(return (i32.const -2))") => faults(Trap, "beyond end of memory");
    allocator_that_takes_all_memory_before_the_question: allocates_rule("(drop (memory.grow (i32.const 1000)))")
        => faults(OutOfMemory, "bytes of memory");
    allocator_that_calls_the_host_before_the_question: allocates_rule(
        "(call $host.input.json (i32.const 0) (i32.const 0) (i32.const 2600))") => faults(Trap, "cannot leave component");
}
