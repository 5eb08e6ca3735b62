//! The accessors in a running component, and everything that is refused.

mod decision;

use proptest::prelude::*;
use wasmparser::{CanonicalFunction, CanonicalOption, Parser, Payload, Validator, WasmFeatures};
use wasmtime::Store;
use wasmtime::component::{Component, ComponentNamedList, Instance, Lift, Linker, Lower, WasmList};

use super::rules::canonical;
use super::{instrument, survey};
use crate::config::{Target, code_config};
use crate::scan::{features, inspect};

/// Globals of every type, two memories, tables with and without functions, passive segments, a start function; and a
/// function `dirty` that changes all that a function can.
const STATE: &str = r#"
    (global $i (mut i32) (i32.const -7))
    (global $constant i32 (i32.const 3))
    (global $l (mut i64) (i64.const -2))
    (global $f (mut f32) (f32.const nan:0x200001))
    (global $d (mut f64) (f64.const nan:0x8000000000001))
    (memory $small 1) (memory $large 3)
    (memory $empty 0 0)
    (table $functions 3 funcref) (elem (table $functions) (i32.const 1) func $dirty)
    (table $nulls 2 funcref)
    (data (memory $small) (i32.const 0) "0123456789")
    (data $passive "passive")
    (func $start (global.set $i (i32.add (global.get $i) (i32.const 1))))
    (start $start)
    (func $dirty (export "dirty")
      (global.set $i (i32.const 1)) (global.set $l (i64.const 2))
      (global.set $f (f32.const 3)) (global.set $d (f64.const 4))
      (i32.store $small (i32.const 2) (i32.const 0x41414141))
      (i32.store8 $large (i32.const 196607) (i32.const 66))
      (memory.init $small $passive (i32.const 100) (i32.const 0) (i32.const 7)))"#;

fn stateful() -> Vec<u8> {
    parse(&format!(
        r#"(component (core module $m {STATE}) (core instance $i (instantiate $m))
        (func (export "dirty") (canon lift (core func $i "dirty"))))"#
    ))
}

fn parse(text: &str) -> Vec<u8> {
    wat::parse_str(text).unwrap_or_else(|error| panic!("{error}\n{text}"))
}

/// Nested components: two instances of one, which is made of another and of a core module of the outermost.
const NESTED: &str = r#"(component
    (core module $counter
      (global $count (mut i32) (i32.const 0)) (memory 1)
      (func (export "count") (result i32)
        (global.set $count (i32.add (global.get $count) (i32.const 1)))
        (i32.store (i32.const 8) (global.get $count))
        (global.get $count)))
    (component $inner
      (alias outer 1 0 (core module $counter))
      (core instance $c (instantiate $counter))
      (func (export "count") (result u32) (canon lift (core func $c "count"))))
    (component $outer
      (alias outer 1 0 (component $inner))
      (instance $one (instantiate $inner))
      (core module $own (global (mut i64) (i64.const 5)) (table 1 funcref))
      (core instance (instantiate $own))
      (export "count" (func $one "count")))
    (component $without (import "f" (func $f (result u32))) (export "g" (func $f)))
    (instance $a (instantiate $outer))
    (instance $b (instantiate $outer))
    (instance $c (instantiate $without (with "f" (func $b "count"))))
    (core instance $root (instantiate $counter))
    (func $root (result u32) (canon lift (core func $root "count")))
    (export "root" (func $root))
    (export "a" (func $a "count"))
    (export "c" (func $c "g")))"#;

/// A running component.
struct Running {
    store: Store<()>,
    instance: Instance,
}

impl Running {
    fn new(component: &[u8]) -> Self {
        let engine = wasmtime::Engine::new(&code_config(Target::Native).unwrap()).unwrap();
        let component = Component::new(&engine, component).unwrap();
        let mut store = Store::new(&engine, ());
        store.set_fuel(1 << 40).unwrap();
        store.set_epoch_deadline(1 << 40);
        let instance = Linker::new(&engine).instantiate(&mut store, &component).unwrap();
        Self { store, instance }
    }

    fn try_call<P, R>(&mut self, name: &str, params: P) -> wasmtime::Result<R>
    where
        P: ComponentNamedList + Lower,
        R: Lift + Send + Sync + 'static,
        (R,): ComponentNamedList,
    {
        let function = self.instance.get_typed_func::<P, (R,)>(&mut self.store, name)?;
        function.call(&mut self.store, params).map(|(result,)| result)
    }

    fn run(&mut self, name: &str) {
        let function = self.instance.get_typed_func::<(), ()>(&mut self.store, name).unwrap();
        function.call(&mut self.store, ()).unwrap();
    }

    fn number(&mut self, name: &str) -> u32 {
        self.try_call(name, ()).unwrap()
    }

    fn globals(&mut self, state: u32) -> Vec<u64> {
        let count = self.number(&format!("verdict-state-{state}-globals"));
        (0..count).map(|n| self.try_call(&format!("verdict-state-{state}-global"), (n,)).unwrap()).collect()
    }

    /// The memory as it is when the call is over.
    fn memory(&mut self, state: u32, memory: u32) -> Vec<u8> {
        let name = format!("verdict-state-{state}-memory-{memory}");
        let function = self.instance.get_typed_func::<(), (WasmList<u8>,)>(&mut self.store, &name).unwrap();
        let (list,) = function.call(&mut self.store, ()).unwrap();
        list.as_le_slice(&self.store).to_vec()
    }

    fn table(&mut self, table: u32, element: u32) -> u32 {
        self.try_call("verdict-state-0-table", (table, element)).unwrap()
    }

    fn has(&mut self, name: &str) -> bool {
        self.instance.get_func(&mut self.store, name).is_some()
    }
}

#[test]
fn globals_of_every_type_come_back() {
    let mut running = Running::new(&instrument(&stateful()).unwrap());
    let pristine = vec![0xffff_fffa, 0xffff_ffff_ffff_fffe, 0x7fa0_0001, 0x7ff8_0000_0000_0001];
    assert_eq!(running.globals(0), pristine, "after the start function, and with the payloads of NaNs");
    running.run("verdict-state-0-snapshot");
    running.run("dirty");
    assert_eq!(running.globals(0), [1, 2, u64::from(3f32.to_bits()), 4f64.to_bits()]);
    running.run("verdict-state-0-restore");
    assert_eq!(running.globals(0), pristine);
}

#[test]
fn the_state_after_the_last_snapshot_comes_back() {
    let mut running = Running::new(&instrument(&stateful()).unwrap());
    running.run("verdict-state-0-snapshot");
    running.run("dirty");
    running.run("verdict-state-0-snapshot");
    let dirty = running.globals(0);
    running.run("verdict-state-0-restore");
    assert_eq!(running.globals(0), dirty);
}

#[test]
fn a_global_beyond_the_last_traps() {
    let mut running = Running::new(&instrument(&stateful()).unwrap());
    assert!(running.try_call::<_, u64>("verdict-state-0-global", (4u32,)).is_err());
    let mut running = Running::new(&instrument(&stateful()).unwrap());
    assert!(running.try_call::<_, u64>("verdict-state-0-global", (u32::MAX,)).is_err());
}

#[test]
fn memories_are_whole_and_left_as_they_were() {
    let mut running = Running::new(&instrument(&stateful()).unwrap());
    let (mut small, mut large) = (vec![0; 64 << 10], vec![0; 3 * (64 << 10)]);
    small[..10].copy_from_slice(b"0123456789");
    for _ in 0..2 {
        assert_eq!(running.memory(0, 0), small);
        assert_eq!(running.memory(0, 1), large);
    }
    running.run("dirty");
    small[2..6].copy_from_slice(b"AAAA");
    small[100..107].copy_from_slice(b"passive");
    large[196_607] = 66;
    assert_eq!(running.memory(0, 0), small);
    assert_eq!(running.memory(0, 1), large);
    assert!(!running.has("verdict-state-0-memory-2"), "a memory that never has a page");
}

#[test]
fn tables_tell_nulls() {
    let mut running = Running::new(&instrument(&stateful()).unwrap());
    assert_eq!([0, 1, 2, 3, u32::MAX].map(|element| running.table(0, element)), [0, 1, 0, 2, 2]);
    assert_eq!([0, 1, 2].map(|element| running.table(1, element)), [0, 0, 2]);
    assert_eq!(running.table(2, 0), 3);
}

#[test]
fn every_component_instance_with_state_has_a_number() {
    let instrumented = instrument(&parse(NESTED)).unwrap();
    let mut running = Running::new(&instrumented);
    assert!((0..5).all(|state| running.has(&format!("verdict-state-{state}-snapshot"))));
    assert!(!running.has("verdict-state-5-snapshot"));
    for (function, calls) in [("root", 1), ("a", 2), ("c", 3)] {
        for call in 1..=calls {
            assert_eq!(running.number(function), call);
        }
    }
    let mut globals = (0..5).map(|state| running.globals(state)).collect::<Vec<_>>();
    globals.sort();
    assert_eq!(globals, [[1], [2], [3], [5], [5]], "each has a state of its own");
    let with_memory = (0..5).filter(|state| running.has(&format!("verdict-state-{state}-memory-0")));
    let with_memory = with_memory.collect::<Vec<_>>();
    for state in &with_memory {
        let in_memory = running.memory(*state, 0)[8];
        assert_eq!(running.globals(*state), [u64::from(in_memory)], "globals and memory are of one instance");
    }
    assert_eq!(with_memory.len(), 3);
}

#[test]
fn restoring_reaches_nested_instances() {
    let mut running = Running::new(&instrument(&parse(NESTED)).unwrap());
    (0..5).for_each(|state| running.run(&format!("verdict-state-{state}-snapshot")));
    let first = ["root", "a", "c"].map(|function| running.number(function));
    (0..5).for_each(|state| running.run(&format!("verdict-state-{state}-restore")));
    assert_eq!(["root", "a", "c"].map(|function| running.number(function)), first);
}

#[test]
fn several_core_instances_share_one_accessor() {
    let component = parse(
        r#"(component
        (core module $m (global (export "g") (mut i32) (i32.const 1)) (memory 1) (table 1 funcref))
        (core module $n (import "m" "g" (global (mut i32))) (global (mut i64) (i64.const 9)) (memory 2))
        (core instance $a (instantiate $m)) (core instance $b (instantiate $m))
        (core instance $c (instantiate $n (with "m" (instance $b)))))"#,
    );
    let mut running = Running::new(&instrument(&component).unwrap());
    assert_eq!(running.globals(0), [1, 1, 9], "an imported global counts where it is defined");
    assert_eq!([0, 1, 2].map(|memory| running.memory(0, memory).len() >> 16), [1, 1, 2]);
    assert_eq!([0, 1, 2].map(|table| running.table(table, 0)), [0, 0, 3]);
    assert!(!running.has("verdict-state-1-snapshot"));
}

#[test]
fn a_component_without_state_is_left_as_it_is() {
    let component = parse(
        r#"(component (core module $m (func (export "f") (result i32) (i32.const 1)))
        (core instance $i (instantiate $m))
        (func (export "f") (result u32) (canon lift (core func $i "f"))))"#,
    );
    let instrumented = instrument(&component).unwrap();
    assert!(!inspect(&instrumented).unwrap().exports.iter().any(|name| name.starts_with("verdict-state")));
    assert_eq!(Running::new(&instrumented).number("f"), 1);
}

#[test]
fn the_code_of_the_component_and_its_fuel_are_the_same() {
    let plain = parse(NESTED);
    let instrumented = instrument(&plain).unwrap();
    assert!(bodies(&plain).iter().all(|body| bodies(&instrumented).contains(body)));
    let fuel = |component: &[u8], function: &str| {
        let mut running = Running::new(component);
        running.store.set_fuel(100_000).unwrap();
        running.number(function);
        100_000 - running.store.get_fuel().unwrap()
    };
    for function in ["root", "a", "c"] {
        assert!(fuel(&plain, function) > 0);
        assert_eq!(fuel(&plain, function), fuel(&instrumented, function));
    }
}

fn bodies(component: &[u8]) -> Vec<Vec<u8>> {
    let body = |payload| match payload {
        Payload::CodeSectionEntry(body) => Some(component[body.range()].to_vec()),
        _ => None,
    };
    Parser::new(0).parse_all(component).map(Result::unwrap).filter_map(body).collect()
}

#[test]
fn custom_sections_stay() {
    let component = parse(
        r#"(component (core module $m (@custom "inner" "a") (global (mut i32) (i32.const 1)))
        (@custom "outer" "b") (core instance (instantiate $m)))"#,
    );
    let instrumented = instrument(&component).unwrap();
    let names = |component: &[u8]| -> Vec<String> {
        let name = |payload| match payload {
            Payload::CustomSection(section) => Some(section.name().to_owned()),
            _ => None,
        };
        Parser::new(0).parse_all(component).map(Result::unwrap).filter_map(name).collect()
    };
    assert_eq!(names(&instrumented), names(&component));
}

#[test]
fn the_result_is_deterministic_and_not_instrumented_twice() {
    for component in [stateful(), parse(NESTED)] {
        let instrumented = instrument(&component).unwrap();
        assert_eq!(instrumented, instrument(&component).unwrap());
        assert!(instrument(&instrumented).unwrap_err().contains("exports `verdict-state"));
    }
}

/// Why a component with these items is not reset in place.
fn why(items: &str) -> String {
    survey(&parse(&format!("(component {items})")), WasmFeatures::all()).unwrap().finish().unwrap_err()
}

/// The same for the items of a core module.
fn why_module(items: &str) -> String {
    why(&format!("(core module {items})"))
}

#[test]
fn refuses_operators_that_change_what_cannot_be_put_back() {
    let cases = [
        ("table.set", "(table.set (i32.const 0) (ref.null func))"),
        ("table.grow", "(drop (table.grow (ref.null func) (i32.const 0)))"),
        ("table.fill", "(table.fill (i32.const 0) (ref.null func) (i32.const 0))"),
        ("table.copy", "(table.copy (i32.const 0) (i32.const 0) (i32.const 0))"),
        ("table.init", "(table.init $e (i32.const 0) (i32.const 0) (i32.const 0))"),
        ("elem.drop", "(elem.drop $e)"),
        ("data.drop", "(data.drop $d)"),
    ];
    for (operator, body) in cases {
        let why =
            why_module(&format!(r#"(table 1 funcref) (elem $e func) (memory 1) (data $d "") (func {body})"#));
        assert_eq!(why, format!("a function uses `{operator}`"));
    }
}

#[test]
fn refuses_operators_of_proposals_that_it_does_not_know() {
    let cases = [
        ("threads", "(func (atomic.fence))"),
        ("gc", "(func (drop (ref.i31 (i32.const 1))))"),
        ("legacy_exceptions", "(func try end)"),
        ("exceptions", "(func (block (try_table)))"),
        ("function_references", "(type $t (func)) (func (param (ref null $t)) (call_ref $t (local.get 0)))"),
        (
            "wide_arithmetic",
            "(func (param i64 i64 i64 i64) (result i64 i64) local.get 0 local.get 1 local.get 2 local.get 3 i64.add128)",
        ),
        ("memory_control", "(memory 1) (func (memory.discard (i32.const 0) (i32.const 0)))"),
    ];
    for (proposal, items) in cases {
        let why = why_module(items);
        assert!(why.starts_with("a function uses `") && why.ends_with(&format!("`{proposal}`")), "{why}");
    }
}

#[test]
fn allows_operators_that_change_nothing_else() {
    let items = r#"
        (table 1 funcref) (elem declare func $f) (memory 1) (data $d "x")
        (func $f
          (drop (table.get (i32.const 0))) (drop (table.size)) (drop (ref.func $f)) (drop (ref.is_null (ref.null func)))
          (memory.init $d (i32.const 0) (i32.const 0) (i32.const 1)) (memory.fill (i32.const 0) (i32.const 0) (i32.const 0))
          (memory.copy (i32.const 0) (i32.const 0) (i32.const 0)) (drop (memory.grow (i32.const 0)))
          (drop (i32.extend8_s (i32.trunc_sat_f32_s (f32.const 0)))) (drop (v128.const i64x2 0 0))
          (drop (i32x4.relaxed_trunc_f32x4_s (v128.const i64x2 0 0)))
          (return_call $f))"#;
    instrument(&parse(&format!("(component (core module $m {items}) (core instance (instantiate $m)))")))
        .unwrap();
}

#[test]
fn refuses_state_of_core_modules_that_cannot_be_put_back() {
    let memory = "a core module has a memory that is shared, 64-bit or of a page size of its own";
    let table = "a core module has a shared or 64-bit table";
    let cases = [
        ("(global (mut v128) (v128.const i64x2 0 0))", "a core module has a mutable global of type `v128`"),
        ("(global (mut funcref) (ref.null func))", "a core module has a mutable global of type `funcref`"),
        (
            "(global (mut externref) (ref.null extern))",
            "a core module has a mutable global of type `externref`",
        ),
        ("(global (shared mut i32) (i32.const 0))", "a core module has a shared global"),
        ("(memory 1 1 shared)", memory),
        ("(memory i64 1)", memory),
        ("(memory 1 (pagesize 1))", memory),
        ("(memory 65536)", "a core module has a memory of 4 GiB"),
        ("(table i64 1 funcref)", table),
        ("(table 1 externref)", "a core module has a table of type `externref`"),
        ("(table 1 anyref)", "a core module has a table of type `anyref`"),
        ("(tag)", "a core module has exceptions"),
        ("(import \"\" \"\" (tag))", "a core module imports something that is not known"),
        ("(type (struct))", "a core type is not that of an unshared function"),
        ("(type (array i8))", "a core type is not that of an unshared function"),
        ("(func (export \"verdict-state:x\"))", "a core module exports `verdict-state:x`"),
    ];
    for (items, expected) in cases {
        assert_eq!(why_module(items), expected, "{items}");
    }
}

#[test]
fn refuses_to_grow_a_memory_that_starts_without_pages() {
    let grow = "(func (drop (memory.grow (i32.const 1))))";
    let export = "(export \"memory\")";
    let importer = |pages: u32, items: &str| {
        format!(
            "(core module $n (import \"m\" \"memory\" (memory {pages})) {items})
             (core instance $n (instantiate $n (with \"m\" (instance $m))))"
        )
    };
    let refused = [
        format!("(core module $m (memory 0) {grow}) (core instance (instantiate $m))"),
        format!("(core module $m (memory 0 1) {grow}) (core instance (instantiate $m))"),
        format!(
            "(core module $m (memory {export} 0)) (core instance $m (instantiate $m)) {}",
            importer(0, grow)
        ),
    ];
    for items in refused {
        assert_eq!(why(&items), "it grows a memory that starts without pages", "{items}");
    }
    let allowed = [
        format!(
            "(core module $m (memory {export} 0)) (core instance $m (instantiate $m)) {}",
            importer(0, "")
        ),
        format!(
            "(core module $m (memory {export} 1)) (core instance $m (instantiate $m)) {}",
            importer(0, grow)
        ),
        format!("(core module $m (memory 1) (memory 0) {grow}) (core instance (instantiate $m))"),
        format!("(core module $m (memory 0)) (component (core module $n (memory 0) {grow}))"),
    ];
    for items in allowed {
        instrument(&parse(&format!("(component {items})"))).unwrap();
    }
}

#[test]
fn refuses_resources_of_the_host() {
    let cases = [
        "(import \"r\" (type (sub resource)))",
        "(import \"i\" (instance (export \"r\" (type (sub resource)))))",
        "(type (component (import \"i\" (instance (export \"r\" (type (sub resource)))))))",
    ];
    for items in cases {
        assert_eq!(why(items), "it imports a resource", "{items}");
    }
}

/// A component that defines a resource and hands what makes its handles to a core module with these items.
fn maker(items: &str) -> String {
    format!(
        r#"(component $maker
            (type $r (resource (rep i32)))
            (core func $new (canon resource.new $r))
            (core func $drop (canon resource.drop $r))
            (core func $rep (canon resource.rep $r))
            (core instance $given (export "x" (func $drop)) (export "new" (func $new)) (export "rep" (func $rep)))
            (alias core export $given "new" (core func $again))
            (core instance $more (export "make" (func $again)))
            (core module $m
              (import "given" "x" (func $drop (param i32)))
              (import "given" "rep" (func $rep (param i32) (result i32)))
              (import "given" "new" (func $new (param i32) (result i32)))
              (import "more" "make" (func $make (param i32) (result i32)))
              (global (mut i32) (i32.const 0)) {items})
            (core instance $i (instantiate $m (with "given" (instance $given)) (with "more" (instance $more)))))"#
    )
}

#[test]
fn refuses_core_modules_that_could_make_a_handle() {
    let cases = [
        "(func (drop (call $new (i32.const 0))))",
        "(func (drop (call $make (i32.const 0))))",
        "(func (result i32) (return_call $new (i32.const 0)))",
        "(elem declare func $new)",
        "(table 1 funcref) (elem (i32.const 0) funcref (ref.func $make))",
        "(table 1 1 funcref (ref.func $new))",
        "(global funcref (ref.func $new))",
        "(export \"handed-on\" (func $new))",
    ];
    for items in cases {
        assert_eq!(why(&maker(items)), "it makes resources", "{items}");
    }
    let lifted = r#"(type $r (resource (rep i32))) (core func $new (canon resource.new $r))
        (func (param "n" u32) (result u32) (canon lift (core func $new)))"#;
    assert_eq!(why(lifted), "it makes resources");
}

#[test]
fn resources_of_which_nobody_can_make_a_handle_do_not_matter() {
    let items = "(func (call $drop (i32.const 0)) (drop (call $rep (i32.const 0))))";
    let user = r#"(component (import "r" (type $r (sub resource))) (type (own $r)) (type (borrow $r))
        (core func (canon resource.drop $r)))"#;
    let instrumented =
        instrument(&parse(&format!("(component {} (instance (instantiate $maker)) {user})", maker(items))));
    assert_eq!(Running::new(&instrumented.unwrap()).globals(0), [0]);
}

#[test]
fn refuses_modules_and_components_that_are_handed_around() {
    let (module, component) = ("a core module is handed around", "a component is handed around");
    let cases = [
        ("(import \"m\" (core module))", module),
        ("(import \"c\" (component))", component),
        ("(core type (module))", module),
        ("(import \"i\" (instance (export \"m\" (core module))))", module),
        ("(import \"i\" (instance (export \"c\" (component))))", component),
        ("(core module $m) (export \"m\" (core module $m))", module),
        ("(component $c) (export \"c\" (component $c))", component),
        (
            "(component $c (core module $m) (export \"m\" (core module $m))) (instance $i (instantiate $c)) (alias export $i \"m\" (core module))",
            module,
        ),
        ("(core module $m) (instance (export \"m\" (core module $m)))", module),
    ];
    for (items, expected) in cases {
        assert_eq!(why(items), expected, "{items}");
    }
}

#[test]
fn refuses_what_has_state_in_the_host() {
    let cases = [
        ("(core func (canon waitable-set.new))", "it uses the built-in `WaitableSetNew`"),
        ("(core func (canon task.cancel))", "it uses the built-in `TaskCancel`"),
        ("(core func (canon context.get i32 0))", "it uses the built-in `ContextGet`"),
        ("(core func (canon backpressure.inc))", "it uses the built-in `BackpressureInc`"),
        ("(core func (canon subtask.drop))", "it uses the built-in `SubtaskDrop`"),
        ("(core func (canon error-context.drop))", "it uses the built-in `ErrorContextDrop`"),
        ("(type (stream u8))", "a type is a future or a stream"),
        ("(type (future))", "a type is a future or a stream"),
        ("(type (list error-context))", "a type is an error context"),
        ("(type (func (param \"e\" error-context)))", "a type is an error context"),
        ("(type (func async))", "a function is asynchronous"),
        ("(type (list u8 4))", "a type is a map or a list of fixed length"),
        ("(import \"v\" (value $v u32)) (export \"w\" (value $v))", "it has component values"),
        ("(import \"f\" (func $f)) (start $f)", "it has a start function of its own"),
    ];
    for (items, expected) in cases {
        assert_eq!(why(items), expected, "{items}");
    }
    // These need types that are refused before they are seen.
    let cases = [
        (CanonicalOption::Async, "a function is asynchronous"),
        (CanonicalOption::Callback(0), "a function is asynchronous"),
        (CanonicalOption::CoreType(0), "a function uses garbage collection"),
        (CanonicalOption::Gc, "a function uses garbage collection"),
    ];
    for (option, expected) in cases {
        let lower = CanonicalFunction::Lower { func_index: 0, options: Box::new([option]) };
        assert_eq!(canonical(&lower).unwrap_err().0, expected);
    }
}

#[test]
fn refuses_names_that_are_the_accessors_own() {
    let function = "(core module $m (func (export \"f\"))) (core instance $i (instantiate $m)) (func $f (canon lift (core func $i \"f\")))";
    for name in ["verdict-state-0-snapshot", "verdict-state-x", "VERDICT-STATE-0-snapshot"] {
        let export = format!("{function} (export \"{name}\" (func $f))");
        assert_eq!(why(&export), format!("a component exports `{name}`"));
        assert_eq!(why(&format!("(component {export})")), format!("a component exports `{name}`"));
    }
    let name = "verdict-states";
    let export = format!("(component {function} (export \"{name}\" (func $f)))");
    assert!(survey(&parse(&export), features()).unwrap().finish().is_ok());
}

#[test]
fn refuses_more_than_the_accessor_can_hold() {
    let deep = (0..16).fold(String::new(), |inner, _| format!("(component {inner})"));
    assert_eq!(why(&deep), "components are nested more than 16 deep");
    let module = "(core module $m (global (mut i32) (i32.const 0)))";
    let component = format!("(component $c {module} (core instance (instantiate $m)))");
    assert_eq!(
        why(&format!("{component} {}", "(instance (instantiate $c))".repeat(101))),
        "it has more than 100 component instances with state"
    );
    let globals = "(global (mut i32) (i32.const 0))".repeat(10_001);
    assert_eq!(
        why(&format!("(core module $m {globals}) (core instance (instantiate $m))")),
        "it has more than 10000 mutable globals"
    );
    let memories = "(core instance (instantiate $m))".repeat(101);
    for item in ["(memory 1)", "(table 1 funcref)"] {
        assert_eq!(
            why(&format!("(core module $m {item}) {memories}")),
            "a component instance has more than 100 memories or tables"
        );
    }
}

#[test]
fn as_much_as_the_accessor_can_hold_is_reset() {
    let globals = "(global (mut i64) (i64.const 3))".repeat(100);
    let component = parse(&format!(
        "(component (core module $m {globals} (memory 1) (table 1 funcref)) {})",
        "(core instance (instantiate $m))".repeat(100)
    ));
    let instrumented = instrument(&component).unwrap();
    assert!(inspect(&instrumented).unwrap().exports.contains(&"verdict-state-0-memory-99".to_owned()));
}

#[test]
fn types_that_are_nested_too_deep_to_be_read_are_refused() {
    let types = [vec![1], [0x42, 1, 1].repeat(300_000), vec![0x42, 0]].concat();
    let mut component = wasm_encoder::Component::new();
    component.section(&wasm_encoder::RawSection { id: 7, data: &types });
    assert_eq!(instrument(&component.finish()).unwrap_err(), "its types are nested too deep");
}

#[test]
fn the_inspection_says_the_same() {
    let components = [
        stateful(),
        parse(NESTED),
        parse("(component (core module (memory 65536)))"),
        parse("(component (type (resource (rep i32))))"),
        parse("(component (import \"r\" (type (sub resource))))"),
        parse("(component (import \"m\" (core module)))"),
        parse("(component (core module (table 1 funcref) (func (table.set (i32.const 0) (ref.null func)))))"),
    ];
    for component in components {
        assert_eq!(inspect(&component).unwrap().reset_refused, instrument(&component).err());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn malformed_components_are_refused_or_made_valid(
        which in 0..3, changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        cut in prop::option::of(any::<prop::sample::Index>()),
    ) {
        let mut component = match which {
            0 => parse(NESTED),
            1 => stateful(),
            _ => decision::with_post_return(),
        };
        for (at, byte) in changes {
            let at = at.index(component.len());
            component[at] = byte;
        }
        if let Some(cut) = cut {
            component.truncate(cut.index(component.len()));
        }
        if let Ok(instrumented) = instrument(&component) {
            prop_assert!(Validator::new_with_features(features()).validate_all(&instrumented).is_ok());
        }
    }
}
