//! Instances some of whose globals `decide` itself puts back, and others not.

use verdict_core::manifest::CONTRACT;
use verdict_core::refusal::RefusalCode;

use super::*;
use crate::instrument::instrument;
use crate::scan::inspect;
use crate::support::{guest, try_load};

/// The types of a decision, as a toolchain writes them.
const TYPES: &str = r#"
    (type $text (option string))
    (type $reason (record (field "code" string) (field "message" string) (field "rule" $text)
      (field "reference" $text) (field "pointers" (list string))))
    (type $answer (record (field "value" $text) (field "reasons" (list $reason))))
    (type $problem (record (field "code" string) (field "message" string) (field "pointer" $text)))
    (type $failure (variant (case "invalid-input" $problem) (case "missing-data" $problem)
      (case "internal" $problem)))
    (type $decide (func (param "rule" string) (result (result $answer (error $failure)))))"#;

/// What names them.
const SHIM: &str = r#"(component $shim
    (type $t (option string))
    (type $r (record (field "code" string) (field "message" string) (field "rule" $t)
      (field "reference" $t) (field "pointers" (list string))))
    (import "reason" (type $reason (eq $r)))
    (type $a (record (field "value" $t) (field "reasons" (list $reason))))
    (import "answer" (type $answer (eq $a)))
    (type $p (record (field "code" string) (field "message" string) (field "pointer" $t)))
    (import "problem" (type $problem (eq $p)))
    (type $f (variant (case "invalid-input" $problem) (case "missing-data" $problem) (case "internal" $problem)))
    (import "failure" (type $failure (eq $f)))
    (import "decide" (func $decide (param "rule" string) (result (result $answer (error $failure)))))
    (export $reason2 "reason" (type $r))
    (type $a2 (record (field "value" $t) (field "reasons" (list $reason2))))
    (export $answer2 "answer" (type $a2))
    (export $problem2 "problem" (type $p))
    (type $f2 (variant (case "invalid-input" $problem2) (case "missing-data" $problem2)
      (case "internal" $problem2)))
    (export $failure2 "failure" (type $f2))
    (export "decide" (func $decide)
      (func (param "rule" string) (result (result $answer2 (error $failure2))))))
  (instance $decision (instantiate $shim (with "decide" (func $decide)) (with "reason" (type $reason))
    (with "answer" (type $answer)) (with "problem" (type $problem)) (with "failure" (type $failure))))"#;

/// A policy that counts its decisions in a global, and answers with the digit. What follows its answer counts on. There
/// is a nested component with a global beside it, which it cannot call: wasmtime lets no component call those in it.
fn with_nested() -> Vec<u8> {
    let text = format!(
        r#"(component
        (component $nested (core module $m (global (mut i32) (i32.const 48))) (core instance (instantiate $m)))
        (instance (instantiate $nested))
        (core module $m
          (global $count (mut i32) (i32.const 48)) (memory (export "memory") 1)
          (func (export "realloc") (param i32 i32 i32 i32) (result i32) (i32.const 2048))
          (func (export "post") (param i32) (global.set $count (i32.const 55)))
          (func (export "decide") (param i32 i32) (result i32)
            (global.set $count (i32.add (global.get $count) (i32.const 1)))
            (i32.store8 (i32.const 64) (global.get $count))
            (i32.store8 (i32.const 1028) (i32.const 1))
            (i32.store (i32.const 1032) (i32.const 64))
            (i32.store (i32.const 1036) (i32.const 1))
            (i32.const 1024)))
        (core instance $i (instantiate $m))
        {TYPES}
        (func $decide (type $decide) (canon lift (core func $i "decide") (memory $i "memory")
          (realloc (func $i "realloc")) (post-return (func $i "post"))))
        {SHIM}
        (export "verdict:policy/decision@{CONTRACT}" (instance $decision)))"#
    );
    wat::parse_str(&text).unwrap_or_else(|error| panic!("{error}\n{text}"))
}

fn exports(component: &[u8]) -> Vec<String> {
    let mut exports = inspect(&instrument(component).unwrap()).unwrap().exports;
    exports.retain(|name| name.ends_with("-decide") || name.ends_with("-restore"));
    exports.sort();
    exports
}

#[test]
fn globals_that_decide_puts_back_are_as_new_beside_others() {
    let component = with_nested();
    let expected = ["verdict-state-0-restore", "verdict-state-1-restore", "verdict-state-decide"];
    assert_eq!(exports(&component), expected);
    let new = load(&engine(Instances::New, None), &component, members());
    let (first, state) = (ask(&new, "{}"), new_state(&new));
    let Seen::Whole(Ok(answer), fuel, ..) = &first else { panic!("{first:?}") };
    assert_eq!(answer.value.as_deref(), Some("1"));
    assert!(*fuel > 0);
    for kind in KINDS {
        let policy = load(&engine(kind, None), &component, members());
        assert_eq!(policy.new_instances_because(), None);
        for _ in 0..5 {
            assert_eq!(ask(&policy, "{}"), first, "{kind:?}");
            assert_same_state(&idle_state(&policy).unwrap(), &state, "after a decision");
        }
    }
}

#[test]
fn what_follows_the_answer_costs_the_same_fuel_everywhere() {
    let post = format!(
        r#"(func (export "cabi_post_verdict:policy/decision@{CONTRACT}#decide") (param i32)
          (global.set $next (i32.add (global.get $next) (i32.const 8))))"#
    );
    let fuel =
        |component: &[u8], kind: Instances| match ask(&load(&engine(kind, None), component, members()), "{}")
        {
            Seen::Whole(Ok(_), fuel, ..) => fuel,
            other => panic!("{other:?}"),
        };
    for items in ["", &post] {
        let component = guest(items, "(call $true)");
        assert_eq!(exports(&component), ["verdict-state-0-restore", "verdict-state-decide"]);
        let fuels =
            [Instances::New, Instances::Copied, Instances::Protected].map(|kind| fuel(&component, kind));
        assert_eq!(fuels, [fuels[0]; 3]);
    }
}

#[test]
fn a_decide_of_another_type_is_refused() {
    let component = wat::parse_str(format!(
        r#"(component
        (core module $m (global (mut i32) (i32.const 1)) (memory (export "memory") 1)
          (func (export "realloc") (param i32 i32 i32 i32) (result i32) (i32.const 8))
          (func (export "decide") (param i32 i32) (result i32) (i32.const 1)))
        (core instance $i (instantiate $m))
        (func $decide (param "rule" string) (result u32) (canon lift (core func $i "decide") (memory $i "memory")
          (realloc (func $i "realloc"))))
        (component $shim (import "decide" (func $decide (param "rule" string) (result u32)))
          (export "decide" (func $decide)))
        (instance $decision (instantiate $shim (with "decide" (func $decide))))
        (export "verdict:policy/decision@{CONTRACT}" (instance $decision)))"#
    ));
    let component = component.unwrap();
    assert_eq!(exports(&component), ["verdict-state-0-restore", "verdict-state-decide"]);
    let refusal = try_load(&engine(Instances::Copied, None), &component, members()).err().unwrap();
    assert_eq!(refusal.code, RefusalCode::WrongContract);
    assert!(refusal.message.contains("`decide` has another type"), "{}", refusal.message);
}
