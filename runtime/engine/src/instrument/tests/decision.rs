//! The second lift of `decide`: what it puts back, and which components have none.

use verdict_core::manifest::CONTRACT;

use super::*;
use crate::instrument::DECISION;

/// Counts its calls in a global and in two memories, loops as often as the text is long, and returns the count.
const COUNTER: &str = r#"
    (global $count (mut i32) (i32.const 7)) (global $more (mut f64) (f64.const 0.5))
    (memory (export "memory") 1) (memory $other 2)
    (func (export "realloc") (param i32 i32 i32 i32) (result i32) (i32.const 1024))
    (func (export "decide") (param i32) (param $length i32) (result i32)
      (loop $l
        (local.set $length (i32.sub (local.get $length) (i32.const 1)))
        (br_if $l (i32.gt_s (local.get $length) (i32.const 0))))
      (global.set $count (i32.add (global.get $count) (i32.const 1)))
      (global.set $more (f64.add (global.get $more) (f64.const 1)))
      (i32.store (i32.const 8) (global.get $count))
      (i32.store $other (i32.const 8) (global.get $count))
      (global.get $count))"#;

/// Leaves what it is given in memory, and changes the globals once more.
const POST: &str = r#"(func (export "post") (param $result i32)
      (i32.store (i32.const 16) (local.get $result))
      (i32.store $other (i32.const 16) (global.get $count))
      (global.set $count (i32.const 1000)) (global.set $more (f64.const nan)))"#;

/// Names types, if there were some.
const SHIM: &str = r#"(component $shim
    (import "f" (func $f (param "rule" string) (result u32)))
    (export "decide" (func $f)))"#;

/// A root of these parts: items of its core module, an option of its lift, what comes next, and the instance of the
/// interface.
fn root(items: &str, option: &str, between: &str, instance: &str) -> Vec<u8> {
    parse(&format!(
        r#"(component
          (import "verdict:policy/input@{CONTRACT}" (instance $input (export "now" (func (param "rule" string) (result u32)))))
          (core module $m {COUNTER} {items})
          (core instance $i (instantiate $m))
          (func $decide (param "rule" string) (result u32) (canon lift (core func $i "decide")
            (memory $i "memory") (realloc (func $i "realloc")) {option}))
          {between}
          {instance}
          (export "verdict:policy/decision@{CONTRACT}" (instance $decision)))"#
    ))
}

const INSTANCE: &str = r#"(instance $decision (instantiate $shim (with "f" (func $decide))))"#;

fn usual(items: &str, option: &str) -> Vec<u8> {
    root(items, option, SHIM, INSTANCE)
}

pub(super) fn with_post_return() -> Vec<u8> {
    usual(POST, r#"(post-return (func $i "post"))"#)
}

/// The interface, as the host finds it.
fn plain() -> String {
    format!("verdict:policy/decision@{CONTRACT}")
}

fn running(component: &[u8]) -> Running {
    let engine = wasmtime::Engine::new(&code_config(Target::Native).unwrap()).unwrap();
    let component = Component::new(&engine, component).unwrap();
    let mut store = Store::new(&engine, ());
    store.set_fuel(1 << 40).unwrap();
    store.set_epoch_deadline(1 << 40);
    let mut linker = Linker::new(&engine);
    let mut input = linker.instance(&format!("verdict:policy/input@{CONTRACT}")).unwrap();
    input.func_wrap("now", |_, (_,): (String,)| Ok((3u32,))).unwrap();
    let instance = linker.instantiate(&mut store, &component).unwrap();
    Running { store, instance }
}

/// Asks; the count, and the fuel that it took.
fn decide(running: &mut Running, interface: &str, rule: &str) -> (u32, u64) {
    let Running { store, instance } = running;
    let interface = instance.get_export_index(&mut *store, None, interface).unwrap();
    let function = instance.get_export_index(&mut *store, Some(&interface), "decide").unwrap();
    let function = instance.get_typed_func::<(String,), (u32,)>(&mut *store, &function).unwrap();
    store.set_fuel(1 << 30).unwrap();
    let (count,) = function.call(&mut *store, (rule.to_owned(),)).unwrap();
    (count, (1 << 30) - store.get_fuel().unwrap())
}

fn word(memory: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(memory[at..at + 4].try_into().unwrap())
}

fn has_second(component: &[u8]) -> bool {
    inspect(&instrument(component).unwrap()).unwrap().exports.iter().any(|name| name == DECISION)
}

#[test]
fn globals_are_back_after_each_decision() {
    for component in [usual("", ""), with_post_return()] {
        let mut running = running(&instrument(&component).unwrap());
        let pristine = running.globals(0);
        running.run("verdict-state-0-snapshot");
        for _ in 0..3 {
            assert_eq!(decide(&mut running, DECISION, "rule").0, 8);
            assert_eq!(running.globals(0), pristine);
            assert_eq!([0, 1].map(|memory| word(&running.memory(0, memory), 8)), [8, 8], "memories are not");
        }
        assert_eq!(decide(&mut running, &plain(), "rule").0, 8);
        assert_ne!(running.globals(0), pristine, "the first lift leaves them");
    }
}

#[test]
fn the_post_return_function_of_the_guest_comes_before_the_globals_are_put_back() {
    let mut running = running(&instrument(&with_post_return()).unwrap());
    running.run("verdict-state-0-snapshot");
    decide(&mut running, DECISION, "rule");
    assert_eq!(word(&running.memory(0, 0), 16), 8, "it is given the result");
    assert_eq!(word(&running.memory(0, 1), 16), 8, "it sees the globals that the decision left");
    assert_eq!(running.globals(0), [7, 0.5f64.to_bits()], "and what it does to them is undone");
}

#[test]
fn a_post_return_function_that_traps_is_a_trap() {
    let component =
        usual(r#"(func (export "post") (param i32) unreachable)"#, r#"(post-return (func $i "post"))"#);
    let mut running = running(&instrument(&component).unwrap());
    let Running { store, instance } = &mut running;
    let interface = instance.get_export_index(&mut *store, None, DECISION).unwrap();
    let function = instance.get_export_index(&mut *store, Some(&interface), "decide").unwrap();
    let function = instance.get_typed_func::<(String,), (u32,)>(&mut *store, &function).unwrap();
    assert!(function.call(&mut *store, (String::new(),)).is_err());
}

#[test]
fn putting_the_globals_back_takes_the_same_fuel_each_time() {
    for component in [usual("", ""), with_post_return()] {
        let instrumented = instrument(&component).unwrap();
        let mut more = ["", "rule", "a rule with a long name"].map(|rule| {
            let before = decide(&mut running(&component), &plain(), rule).1;
            assert_eq!(decide(&mut running(&instrumented), &plain(), rule).1, before, "the first lift");
            let after = decide(&mut running(&instrumented), DECISION, rule).1;
            assert!(before > rule.len() as u64 && after > before);
            after - before
        });
        more.sort_unstable();
        assert_eq!(more[0], more[2]);
    }
}

#[test]
fn the_code_of_the_guest_stays_and_its_exports_stay() {
    let component = with_post_return();
    let instrumented = instrument(&component).unwrap();
    assert!(bodies(&component).iter().all(|body| bodies(&instrumented).contains(body)));
    let exports = inspect(&instrumented).unwrap().exports;
    assert_eq!(exports[0], plain());
    assert!(exports[1..].iter().all(|name| name.starts_with("verdict-state-")));
    assert!(instrument(&instrumented).unwrap_err().contains("exports `verdict-state"));
}

#[test]
fn what_toolchains_write_has_a_second_lift() {
    let post = format!(
        r#"(func (export "cabi_post_verdict:policy/decision@{CONTRACT}#decide") (param i32) (global.set $next (i32.const 1)))"#
    );
    for items in ["", &post] {
        assert!(has_second(&crate::support::guest(items, "(call $true)")), "{items}");
    }
    assert!(has_second(&usual("", "")));
}

#[test]
fn a_root_that_looks_otherwise_has_no_second_lift() {
    let second = r#"(func $second (param "rule" string) (result u32) (canon lift (core func $i "decide")
        (memory $i "memory") (realloc (func $i "realloc"))))"#;
    let two_imports =
        SHIM.replace("(import", r#"(import "g" (func (param "rule" string) (result u32))) (import"#);
    let two_args = |other: &str| {
        format!(
            r#"(instance $decision (instantiate $shim (with "f" (func {other})) (with "g" (func $decide))))"#
        )
    };
    let inside = |items: &str| SHIM.replacen("(import", &format!("{items} (import"), 1);
    let inner =
        r#"(component (core module $n (global (mut i32) (i32.const 0))) (core instance (instantiate $n)))"#;
    let cases = [
        (format!("{SHIM} {second}"), INSTANCE.to_owned()),
        // The interface is another function's, and the lifted one is beside it.
        (SHIM.to_owned(), two_args(r#"$input "now""#)),
        (two_imports, two_args(r#"$input "now""#)),
        (
            SHIM.to_owned(),
            r#"(instance $decision (instantiate $shim (with "f" (func $input "now"))))"#.to_owned(),
        ),
        // The first instance is not the interface.
        (SHIM.to_owned(), format!("{} {INSTANCE}", INSTANCE.replace("$decision", "$other"))),
        // The component between runs code or has functions of its own.
        (inside("(core module $n) (core instance (instantiate $n))"), INSTANCE.to_owned()),
        (inside("(type $r (resource (rep i32))) (core func (canon resource.drop $r))"), INSTANCE.to_owned()),
        (inside(&format!("{inner} (instance (instantiate 0))")), INSTANCE.to_owned()),
    ];
    for (n, (between, instance)) in cases.into_iter().enumerate() {
        let component = root("", "", &between, &instance);
        assert!(inspect(&component).unwrap().reset_refused.is_none(), "{n}");
        assert!(!has_second(&component), "{n}: {between} {instance}");
    }
    let bare = root("", "", "", r#"(instance $decision (export "decide" (func $decide)))"#);
    assert!(!has_second(&bare));
}

#[test]
fn a_root_without_state_has_no_second_lift() {
    let inner = format!(
        r#"(core module $m {COUNTER}) (core instance $i (instantiate $m))
          (func $decide (param "rule" string) (result u32) (canon lift (core func $i "decide")
            (memory $i "memory") (realloc (func $i "realloc"))))
          {SHIM} {INSTANCE} (export "verdict:policy/decision@{CONTRACT}" (instance $decision))"#
    );
    let outer = format!(
        r#"(component (component $inner {inner}) (instance $i (instantiate $inner))
          (alias export $i "verdict:policy/decision@{CONTRACT}" (instance $decision))
          (export "verdict:policy/decision@{CONTRACT}" (instance $decision)))"#
    );
    let instrumented = instrument(&parse(&outer)).unwrap();
    let exports = inspect(&instrumented).unwrap().exports;
    assert!(exports.iter().any(|name| name == "verdict-state-0-restore"));
    assert!(!exports.iter().any(|name| name == DECISION));
}
