//! Components in text, of several core modules and components: what the encoder for single modules cannot make.

use super::harness::{Attack, attack_module};

/// A component of a guest (see [`super::harness::with`]) and other parts. The guest shares the memory of the core
/// instance `$libc`, whose allocator begins at 65536 and serves `$host.input.json`. `parts` stand before the guest,
/// `with` hands them to it, and `imports` takes them.
pub(crate) fn composite(parts: &str, with: &str, imports: &str, items: &str, body: &str) -> Attack {
    composed(&composite_text(parts, with, imports, items, body))
}

/// A component's text as an attack.
pub(crate) fn composed(text: &str) -> Attack {
    Attack::of(wat::parse_str(text).unwrap_or_else(|error| panic!("{error}\n{text}")))
}

pub(crate) fn composite_text(parts: &str, with: &str, imports: &str, items: &str, body: &str) -> String {
    let main = attack_module(items, body).replacen("(module", "(core module $main", 1).replacen(
        r#"(memory (export "memory") 2)"#,
        &format!(r#"(import "libc" "memory" (memory 2)) {imports}"#),
        1,
    );
    format!(
        r#"(component
        {INPUT}
        {LIBC}
        {parts}
        {main}
        (core instance $main (instantiate $main (with "libc" (instance $libc)) {with}
          (with "verdict:policy/input@0.1.0" (instance (export "json" (func $json))))))
        (alias core export $main "cabi_realloc" (core func $main-realloc))
        (alias core export $main "verdict:policy/decision@0.1.0#decide" (core func $decide))
        {DECISION})"#
    )
}

/// The import of what the guest reads.
pub(crate) const INPUT: &str = r#"(import "verdict:policy/input@0.1.0" (instance $input
      (export "json" (func (param "pointer" string) (result (option string))))))"#;

const LIBC: &str = r#"(core module $libc
      (memory (export "memory") 2)
      (global $next (mut i32) (i32.const 65536))
      (func (export "cabi_realloc") (param i32 i32 i32) (param $size i32) (result i32)
        (global.get $next)
        (global.set $next (i32.and (i32.add (i32.add (global.get $next) (local.get $size)) (i32.const 7)) (i32.const -8)))))
    (core instance $libc (instantiate $libc))
    (alias core export $libc "memory" (core memory $memory))
    (alias core export $libc "cabi_realloc" (core func $realloc))
    (core func $json (canon lower (func $input "json") (memory (core memory $memory)) (realloc (core func $realloc))))"#;

const DECISION: &str = r#"
    (type $reason (record (field "code" string) (field "message" string) (field "rule" (option string))
    (field "reference" (option string)) (field "pointers" (list string))))
    (type $answer (record (field "value" (option string)) (field "reasons" (list $reason))))
    (type $problem (record (field "code" string) (field "message" string) (field "pointer" (option string))))
    (type $failure (variant (case "invalid-input" $problem) (case "missing-data" $problem) (case "internal" $problem)))
    (func $f (param "rule" string) (result (result $answer (error $failure)))
      (canon lift (core func $decide) (memory (core memory $memory)) (realloc (core func $main-realloc))))
    (component $shim
      (type $reason-t (record (field "code" string) (field "message" string) (field "rule" (option string))
        (field "reference" (option string)) (field "pointers" (list string))))
      (import "r" (type $reason (eq $reason-t)))
      (type $answer-t (record (field "value" (option string)) (field "reasons" (list $reason))))
      (import "a" (type $answer (eq $answer-t)))
      (type $problem-t (record (field "code" string) (field "message" string) (field "pointer" (option string))))
      (import "p" (type $problem (eq $problem-t)))
      (type $failure-t (variant (case "invalid-input" $problem) (case "missing-data" $problem) (case "internal" $problem)))
      (import "f" (type $failure (eq $failure-t)))
      (import "decide" (func $d (param "rule" string) (result (result $answer (error $failure)))))
      (export $reason-e "reason" (type $reason-t))
      (type $answer-e-t (record (field "value" (option string)) (field "reasons" (list $reason-e))))
      (export $answer-e "answer" (type $answer-e-t))
      (export $problem-e "problem" (type $problem-t))
      (type $failure-e-t (variant (case "invalid-input" $problem-e) (case "missing-data" $problem-e) (case "internal" $problem-e)))
      (export $failure-e "failure" (type $failure-e-t))
      (export "decide" (func $d) (func (param "rule" string) (result (result $answer-e (error $failure-e))))))
    (instance $decision (instantiate $shim
      (with "r" (type $reason)) (with "a" (type $answer)) (with "p" (type $problem)) (with "f" (type $failure)) (with "decide" (func $f))))
    (export "verdict:policy/decision@0.1.0" (instance $decision))"#;
