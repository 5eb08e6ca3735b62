//! Attacks with what a policy says: too much of it, in the wrong place, and what is not text or not JSON.

use verdict_core::outcome::FaultCode::{InvalidInput, InvalidOutput, PolicyError, Trap};

use super::harness::{Attack, Expected, answers, attacks, body, faults, with};

/// Answers with a text of the module's data.
fn says(text: &str) -> Attack {
    let length = text.len();
    let text: String = text.bytes().map(|byte| format!("\\{byte:02x}")).collect();
    with(
        &format!("(data (i32.const 8192) \"{text}\")"),
        &format!("(call $answer (i32.const 8192) (i32.const {length}))"),
    )
}

/// Answers with bytes of the module's data.
fn says_bytes(escaped: &str, length: usize) -> Attack {
    with(
        &format!("(data (i32.const 8192) \"{escaped}\")"),
        &format!("(call $answer (i32.const 8192) (i32.const {length}))"),
    )
}

/// An answer of `true` with `count` reasons at `at`.
fn reasons(prepare: &str, at: u32, count: u32) -> Attack {
    body(&format!(
        "(local $n i32) (local $at i32) {prepare} (drop (call $true))
         (i32.store (i32.const 1040) (i32.const {at})) (i32.store (i32.const 1044) (i32.const {count})) (i32.const 1024)"
    ))
}

/// Writes `count` reasons to 32768, each with these two texts, and `pointers` empty pointers at 65536.
fn each_reason(count: u32, code: (u32, u32), message: (u32, u32), pointers: u32) -> String {
    format!(
        "(loop $l
           (local.set $at (i32.add (i32.const 32768) (i32.mul (local.get $n) (i32.const 48))))
           (i32.store offset=0 (local.get $at) (i32.const {})) (i32.store offset=4 (local.get $at) (i32.const {}))
           (i32.store offset=8 (local.get $at) (i32.const {})) (i32.store offset=12 (local.get $at) (i32.const {}))
           (i32.store offset=40 (local.get $at) (i32.const 65536)) (i32.store offset=44 (local.get $at) (i32.const {pointers}))
           (br_if $l (i32.lt_u (local.tee $n (i32.add (local.get $n) (i32.const 1))) (i32.const {count}))))",
        code.0, code.1, message.0, message.1
    )
}

/// The answer is a failure of this kind, with this message.
fn fails(kind: u32, message: (u32, u32)) -> Attack {
    body(&format!(
        "(i32.store8 (i32.const 1024) (i32.const 1)) (i32.store8 (i32.const 1028) (i32.const {kind}))
         (i32.store (i32.const 1032) (i32.const 0)) (i32.store (i32.const 1036) (i32.const 4))
         (i32.store (i32.const 1040) (i32.const {})) (i32.store (i32.const 1044) (i32.const {}))
         (i32.store8 (i32.const 1048) (i32.const 0)) (i32.const 1024)",
        message.0, message.1
    ))
}

const XS: &str = "(memory.fill (i32.const 8192) (i32.const 120) (i32.const 20000))";

attacks! {
    giant_output: body(&format!("{XS} (call $answer (i32.const 8192) (i32.const 20000))"))
        => faults(InvalidOutput, "larger than the limit");
    giant_output_beyond_what_is_copied: body(
        "(drop (memory.grow (i32.const 250))) (memory.fill (i32.const 8192) (i32.const 48) (i32.const 16000000))
         (call $answer (i32.const 8192) (i32.const 16000000))").limit("memory_bytes", 1 << 24).limit("fuel", 10_000_000_000)
        .engine(|config| config.ceiling.fuel = 10_000_000_000) => faults(InvalidOutput, "larger than the limit");
    output_outside_memory: body("(call $answer (i32.const 131064) (i32.const 9))") => faults(Trap, "broke the contract");
    output_whose_end_overflows: body("(call $answer (i32.const -8) (i32.const -1))") => faults(Trap, "broke the contract");
    output_of_four_gigabytes: body("(call $answer (i32.const 0) (i32.const -1))") => faults(Trap, "broke the contract");
    result_outside_memory: body("(i32.const 131064)") => faults(Trap, "broke the contract");
    result_at_the_farthest_address: body("(i32.const -4)") => faults(Trap, "broke the contract");
    result_that_is_not_aligned: body("(i32.const 1025)") => faults(Trap, "broke the contract");
    result_of_an_unknown_variant: body("(i32.store8 (i32.const 1024) (i32.const 7)) (i32.const 1024)")
        => faults(Trap, "broke the contract");
    option_of_an_unknown_variant: body("(drop (call $true)) (i32.store8 (i32.const 1028) (i32.const 2)) (i32.const 1024)")
        => faults(Trap, "broke the contract");
    failure_of_an_unknown_variant: fails(3, (0, 4)) => faults(Trap, "broke the contract");
    failure_with_a_giant_message: body(&format!(
        "{XS} (i32.store8 (i32.const 1024) (i32.const 1)) (i32.store8 (i32.const 1028) (i32.const 2))
         (i32.store (i32.const 1032) (i32.const 0)) (i32.store (i32.const 1036) (i32.const 4))
         (i32.store (i32.const 1040) (i32.const 8192)) (i32.store (i32.const 1044) (i32.const 20000))
         (i32.store8 (i32.const 1048) (i32.const 0)) (i32.const 1024)")) => faults(InvalidOutput, "larger than the limit");
    failure_with_a_message_outside_memory: fails(2, (131_070, 3)) => faults(Trap, "broke the contract");
    failure_that_blames_the_caller: fails(0, (0, 4)) => faults(InvalidInput, "true");
    failure_that_blames_the_data: fails(1, (0, 4)) => faults(PolicyError, "true");

    giant_reasons: reasons(&format!("{XS} {}", each_reason(1, (8192, 20_000), (0, 4), 0)), 32768, 1)
        => faults(InvalidOutput, "larger than the limit");
    reasons_that_share_one_giant_text: reasons(
        &format!("{XS} {}", each_reason(2_000, (8192, 20_000), (8192, 20_000), 0)), 32768, 2_000)
        => faults(InvalidOutput, "larger than the limit");
    reasons_without_text_without_end: reasons("", 4112, 2_600) => faults(InvalidOutput, "larger than the limit");
    four_billion_reasons: reasons("", 4096, u32::MAX) => faults(Trap, "broke the contract");
    reasons_whose_bytes_overflow: reasons("", 4096, 0x1000_0000) => faults(Trap, "broke the contract");
    reasons_that_are_not_aligned: reasons("", 4097, 1) => faults(Trap, "broke the contract");
    reasons_outside_memory: reasons("", 131_040, 1) => faults(Trap, "broke the contract");
    reason_that_is_not_utf8: reasons(
        &format!("(i32.store (i32.const 8192) (i32.const 0xfffe8080)) {}", each_reason(1, (8192, 4), (0, 4), 0)), 32768, 1)
        => faults(Trap, "utf-8");
    reason_whose_text_is_the_reason: reasons(&each_reason(1, (32_772, 1), (32_768, 1), 0), 32768, 1) => answers("true");
    pointers_of_reasons_that_share_one_list: reasons(&each_reason(100, (0, 4), (0, 4), 3_000), 32768, 100)
        => faults(InvalidOutput, "larger than the limit");
    pointers_of_a_reason_without_end: reasons(&each_reason(1, (0, 4), (0, 4), u32::MAX), 32768, 1)
        => faults(Trap, "broke the contract");
    many_reasons_within_the_limit: reasons(&each_reason(400, (0, 4), (0, 4), 0), 32768, 400) => answers("true");

    answer_that_is_not_utf8: says_bytes("\\ff\\fe", 2) => faults(Trap, "utf-8");
    answer_with_an_overlong_slash: says_bytes("\\22\\c0\\af\\22", 4) => faults(Trap, "utf-8");
    answer_with_an_encoded_surrogate: says_bytes("\\22\\ed\\a0\\80\\22", 5) => faults(Trap, "utf-8");
    answer_cut_within_a_character: says_bytes("\\22\\e2\\82", 3) => faults(Trap, "utf-8");
    answer_beyond_unicode: says_bytes("\\22\\f4\\90\\80\\80\\22", 6) => faults(Trap, "utf-8");
    answer_that_is_empty: body("(call $answer (i32.const 64) (i32.const 0))") => faults(InvalidOutput, "ends too early");
    answer_that_is_no_json: says("{'a':1}") => faults(InvalidOutput, "member name");
    answer_that_is_two_documents: says("true true") => faults(InvalidOutput, "follows the document");
    answer_with_a_byte_order_mark: says("\u{feff}true") => faults(InvalidOutput, "value");
    answer_with_one_name_twice: says(r#"{"a":1,"a":2}"#) => faults(InvalidOutput, "twice");
    answer_with_one_name_twice_by_escapes: says(r#"{"ab":1,"\u0061b":2}"#) => faults(InvalidOutput, "twice");
    answer_with_half_a_surrogate_pair: says(r#""\ud800""#) => faults(InvalidOutput, "surrogate");
    answer_with_a_control_character: says("\"\u{0}\"") => faults(InvalidOutput, "control character");
    answer_that_is_not_a_number: says("NaN") => faults(InvalidOutput, "value");
    answer_with_a_leading_zero: says("01") => faults(InvalidOutput, "cannot be used");
    answer_with_a_comment: says("/**/true") => faults(InvalidOutput, "value");
    answer_too_deep: says(&format!("{}{}", "[".repeat(129), "]".repeat(129))) => faults(InvalidOutput, "deep");
    answer_as_deep_as_allowed: says(&format!("{}{}", "[".repeat(128), "]".repeat(128))) => Expected::Same;
    answer_that_only_opens: body(
        "(memory.fill (i32.const 8192) (i32.const 91) (i32.const 9000)) (call $answer (i32.const 8192) (i32.const 9000))")
        => faults(InvalidOutput, "deep");
    answer_of_a_huge_exponent: says("1e999999") => answers("1e999999");
    answer_of_ten_thousand_digits: body(
        "(memory.fill (i32.const 8192) (i32.const 57) (i32.const 10000)) (call $answer (i32.const 8192) (i32.const 10000))")
        => answers(&"9".repeat(10_000));
    answer_of_a_number_that_looks_infinite: says("-1.0e+00000000000000000400") => answers("-1.0e+00000000000000000400");
    answer_in_the_memory_of_the_result: body(
        "(drop (call $true)) (i32.store (i32.const 1032) (i32.const 1048)) (i32.store (i32.const 1036) (i32.const 3))
         (i32.store (i32.const 1048) (i32.const 0x222022)) (i32.const 1024)") => answers("\" \"");
}
