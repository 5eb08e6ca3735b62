//! Attacks on the host through what it offers: too many calls, too much in one, and what is no pointer.

use verdict_core::outcome::FaultCode::{OutOfBudget, OutOfFuel, OutOfMemory, Trap};

use super::cpu::object_of;
use super::harness::{Attack, Expected, answers, attacks, body, faults, with};

/// Reads this pointer, and answers `true`.
fn reads(function: &str, pointer: (u32, u32), result: u32) -> Attack {
    body(&format!(
        "(call $host.{function} (i32.const {}) (i32.const {}) (i32.const {result})) (call $true)",
        pointer.0, pointer.1
    ))
}

/// Reads this text as a pointer, and answers `true`.
fn reads_text(function: &str, pointer: &str) -> Attack {
    let length = pointer.len();
    let text: String = pointer.bytes().map(|byte| format!("\\{byte:02x}")).collect();
    with(
        &format!("(data (i32.const 8192) \"{text}\")"),
        &format!(
            "(call $host.{function} (i32.const 8192) (i32.const {length}) (i32.const 2048)) (call $true)"
        ),
    )
}

/// Answers with the text of the value at this pointer.
fn echoes(pointer: &str) -> Attack {
    let length = pointer.len();
    with(
        &format!("(data (i32.const 64) \"{pointer}\")"),
        &format!(
            "(call $host.input.read (i32.const 64) (i32.const {length}) (i32.const 2048))
             (call $answer (i32.load (i32.const 2052)) (i32.load (i32.const 2056)))"
        ),
    )
}

attacks! {
    log_flood: body(
        "(loop $l (call $host.diagnostics.log (i32.const 0) (i32.const 4) (i32.const 0) (i32.const 4)) (br $l)) (unreachable)")
        => faults(OutOfBudget, "log bytes");
    log_flood_of_nothing: body(
        "(loop $l (call $host.diagnostics.log (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0)) (br $l)) (unreachable)")
        => faults(OutOfBudget, "host calls");
    log_of_everything_at_once: body(
        "(call $host.diagnostics.log (i32.const 0) (i32.const 4) (i32.const 0) (i32.const 120000)) (call $true)")
        => faults(OutOfBudget, "log bytes");
    log_outside_memory: body(
        "(call $host.diagnostics.log (i32.const 0) (i32.const 4) (i32.const 131072) (i32.const 1)) (call $true)")
        => faults(Trap, "out of bounds");
    log_of_four_gigabytes: body(
        "(call $host.diagnostics.log (i32.const 0) (i32.const -1) (i32.const 0) (i32.const -1)) (call $true)")
        => faults(Trap, "out of bounds");
    log_that_is_not_utf8: with("(data (i32.const 64) \"\\ff\\fe\")",
        "(call $host.diagnostics.log (i32.const 0) (i32.const 4) (i32.const 64) (i32.const 2)) (call $true)") => faults(Trap, "utf-8");
    log_that_forges_lines: with("(data (i32.const 64) \"\\n\\1b[2J\\00{\\22level\\22:\\22error\\22}\")",
        "(call $host.diagnostics.log (i32.const 0) (i32.const 4) (i32.const 64) (i32.const 20)) (call $true)") => answers("true");

    host_call_storm: body(
        "(loop $l (call $host.input.read (i32.const 0) (i32.const 0) (i32.const 2048)) (br $l)) (unreachable)")
        => faults(OutOfBudget, "host calls");
    host_call_storm_for_the_time: body(
        "(loop $l (global.set $next (i32.const 4096)) (call $host.decision-time.now (i32.const 2048)) (br $l)) (unreachable)")
        => faults(OutOfBudget, "host calls");
    host_call_storm_of_absent_values: with("(data (i32.const 64) \"/none/none/none\")",
        "(loop $l (call $host.data.json (i32.const 64) (i32.const 0) (i32.const 2048)) (br $l)) (unreachable)")
        => faults(Trap, "not granted");
    host_call_storm_that_cannot_be_paid: body(
        "(loop $l (call $host.input.read (i32.const 0) (i32.const 0) (i32.const 2048)) (br $l)) (unreachable)")
        .limit("host_calls", 10_000).limit("fuel", 3_000_000) => faults(OutOfFuel, "fuel");

    read_many_beyond_the_budget: body(
        "(call $host.input.read-many (i32.const 65536) (i32.const 500) (i32.const 2048)) (call $true)")
        => faults(OutOfBudget, "host calls");
    read_many_of_nothing_without_end: body(
        "(loop $l (call $host.input.read-many (i32.const 65536) (i32.const 0) (i32.const 2048)) (br $l)) (unreachable)")
        => faults(OutOfBudget, "host calls");
    read_many_of_four_billion: body(
        "(call $host.input.read-many (i32.const 65536) (i32.const -1) (i32.const 2048)) (call $true)") => faults(Trap, "out of bounds");
    read_many_whose_bytes_overflow: body(
        "(call $host.input.read-many (i32.const 65536) (i32.const 0x20000001) (i32.const 2048)) (call $true)")
        => faults(Trap, "out of bounds");
    read_many_that_is_not_aligned: body(
        "(call $host.input.read-many (i32.const 65537) (i32.const 1) (i32.const 2048)) (call $true)") => faults(Trap, "aligned");
    read_many_at_the_end_of_memory: body(
        "(call $host.input.read-many (i32.const 131064) (i32.const 2) (i32.const 2048)) (call $true)") => faults(Trap, "out of bounds");
    read_many_of_a_pointer_outside_memory: body(
        "(i32.store (i32.const 65544) (i32.const -1)) (i32.store (i32.const 65548) (i32.const 8))
         (call $host.input.read-many (i32.const 65536) (i32.const 2) (i32.const 2048)) (call $true)") => faults(Trap, "out of bounds");
    read_many_of_the_whole_again_and_again: body(
        "(call $host.input.read-many (i32.const 65536) (i32.const 250) (i32.const 2048))
         (call $answer (i32.const 0) (i32.const 4))").input(format!("\"{}\"", "x".repeat(3_000)))
        => faults(Trap, "beyond end of memory");
    read_many_whose_results_are_larger_than_memory: body(
        "(call $host.input.read-many (i32.const 65536) (i32.const 250) (i32.const 2048)) (call $true)")
        .input(format!("\"{}\"", "x".repeat(60_000))).limit("fuel", 10_000_000) => faults(OutOfMemory, "result");

    pointer_of_four_gigabytes: reads("input.read", (0, u32::MAX), 2048) => faults(Trap, "out of bounds");
    pointer_whose_end_overflows: reads("input.read", (u32::MAX, 2), 2048) => faults(Trap, "out of bounds");
    pointer_right_behind_memory: reads("input.json", (131_072, 1), 2048) => faults(Trap, "out of bounds");
    pointer_of_nothing_behind_memory: reads("input.json", (131_073, 0), 2048) => faults(Trap, "out of bounds");
    pointer_longer_than_is_read: body(
        "(memory.fill (i32.const 8192) (i32.const 47) (i32.const 5000))
         (call $host.input.read (i32.const 8192) (i32.const 5000) (i32.const 2048)) (call $true)") => faults(Trap, "at most 4096");
    pointer_of_four_thousand_slashes: body(
        "(memory.fill (i32.const 8192) (i32.const 47) (i32.const 4096))
         (call $host.input.read (i32.const 8192) (i32.const 4096) (i32.const 2048))
         (if (i32.load8_u (i32.const 2048)) (then (unreachable))) (call $true)") => answers("true");
    pointer_that_is_not_utf8: with("(data (i32.const 64) \"/\\ff\\fe\")",
        "(call $host.input.keys (i32.const 64) (i32.const 3) (i32.const 2048)) (call $true)") => faults(Trap, "utf-8");
    pointer_without_a_slash: reads_text("input.read", "a") => faults(Trap, "not a JSON Pointer");
    pointer_with_an_unknown_escape: reads_text("input.json", "/a~2") => faults(Trap, "`/a~2` is not a JSON Pointer");
    pointer_that_ends_in_an_escape: reads_text("input.keys", "/a~") => faults(Trap, "not a JSON Pointer");
    pointer_as_a_fragment: reads_text("input.read", "#/a") => faults(Trap, "not a JSON Pointer");
    pointer_with_a_zero_byte: reads_text("input.read", "/a\0") => answers("true");
    pointer_with_a_huge_index: echoes("/b/18446744073709551616") .input(r#"{"b": ["x"]}"#) => Expected::Fault(
        verdict_core::outcome::FaultCode::InvalidOutput, "ends too early");
    pointer_with_a_negative_index: reads_text("input.read", "/b/-1") => answers("true");
    pointer_past_the_end: reads_text("input.read", "/b/-") => answers("true");

    data_that_is_not_granted: reads_text("data.read", "/secrets") => faults(Trap, "`/secrets` of the data");
    data_as_a_whole: reads_text("data.json", "") => faults(Trap, "not granted");
    data_whose_name_only_begins_as_granted: reads_text("data.keys", "/roles2") => faults(Trap, "not granted");
    data_by_an_escaped_slash: reads_text("data.read", "/roles~1a") => faults(Trap, "not granted");
    data_by_going_up: reads_text("data.read", "/roles/../secrets") => answers("true");
    data_one_of_many_not_granted: with("(data (i32.const 64) \"/roles/secrets\")",
        "(i32.store (i32.const 2048) (i32.const 64)) (i32.store (i32.const 2052) (i32.const 6))
         (i32.store (i32.const 2056) (i32.const 70)) (i32.store (i32.const 2060) (i32.const 8))
         (call $host.data.read-many (i32.const 2048) (i32.const 2) (i32.const 2100)) (call $true)") => faults(Trap, "not granted");

    result_written_outside_memory: reads("input.json", (0, 0), 131_064) => faults(Trap, "out of bounds");
    result_written_to_the_farthest_address: reads("input.json", (0, 0), u32::MAX - 3) => faults(Trap, "out of bounds");
    result_written_unaligned: reads("input.json", (0, 0), 2_049) => faults(Trap, "aligned");
    result_written_over_its_own_pointer: with("(data (i32.const 2048) \"/a/b\\00\\00\\00\\00\\00\\00\\00\\00\")",
        "(call $host.input.json (i32.const 2048) (i32.const 2) (i32.const 2048))
         (call $answer (i32.load (i32.const 2052)) (i32.load (i32.const 2056)))") => answers("1");
    result_larger_than_the_guest: reads("input.json", (0, 0), 2048)
        .limit("memory_bytes", 131_072).input(format!("\"{}\"", "x".repeat(140_000))) => faults(OutOfMemory, "result");
    result_that_cannot_be_paid: reads("input.json", (0, 0), 2048).limit("fuel", 1_500_000)
        .input(format!("\"{}\"", "x".repeat(1_000_000))) => faults(OutOfFuel, "fuel");
    results_that_fill_the_guest: body(
        "(loop $l (call $host.input.json (i32.const 0) (i32.const 0) (i32.const 2048)) (br $l)) (unreachable)")
        .input(format!("\"{}\"", "x".repeat(20_000))) => faults(Trap, "beyond end of memory");
    names_of_a_huge_object: reads("input.keys", (0, 0), 2048).limit("fuel", 3_000_000).input(object_of(30_000)) => faults(OutOfFuel, "fuel");
    names_that_fill_the_guest: reads("input.keys", (0, 0), 2048).input(object_of(12_000)) => faults(Trap, "beyond end of memory");

    input_as_deep_as_allowed: with("(data (i32.const 64) \"/0/0/0/0\")",
        "(call $host.input.json (i32.const 64) (i32.const 8) (i32.const 2048))
         (call $answer (i32.load (i32.const 2052)) (i32.load (i32.const 2056)))")
        .input(format!("{}{}", "[".repeat(128), "]".repeat(128))) => answers(&format!("{}{}", "[".repeat(124), "]".repeat(124)));
    input_with_a_huge_exponent: echoes("/n").input(r#"{"n": 1e999999}"#) => answers("1e999999");
    input_with_a_tiny_exponent: echoes("/n").input(r#"{"n": -1.50E-999999}"#) => answers("-1.50E-999999");
    input_of_ten_thousand_digits: echoes("/n").input(format!("{{\"n\": {}}}", "8".repeat(10_000)))
        .limit("output_bytes", 10_000) => answers(&"8".repeat(10_000));
    input_of_a_hundred_thousand_values: echoes("/99999").input(format!("[{}7]", "1,".repeat(99_999))) => answers("7");
}
