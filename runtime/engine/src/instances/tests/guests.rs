//! Guests that leave as much behind as they can, and whose answer is a digest of all the state that they find.

use verdict_core::manifest::CONTRACT;
use wasm_encoder::{
    Alias, ComponentBuilder, ComponentExportKind, ComponentTypeRef, ComponentValType, InstanceType,
    PrimitiveValType,
};

use crate::support::{CONTRACT_WIT, WORLD, component_of, guest};

/// Mixes everything that there is into one number: memory, and the globals that `$globals` mixes in.
const SUM: &str = "
    (func $mix (param $hash i64) (param $more i64) (result i64)
      (i64.rotl (i64.mul (i64.xor (local.get $hash) (local.get $more)) (i64.const 0x9e3779b97f4a7c15)) (i64.const 23)))
    (func $sum (result i64) (local $at i32) (local $end i32) (local $hash i64)
      (local.set $end (i32.mul (memory.size) (i32.const 65536)))
      (local.set $hash (i64.extend_i32_u (memory.size)))
      (loop $l
        (local.set $hash (i64.rotl (i64.add (local.get $hash) (i64.xor (i64.load (local.get $at))
          (i64.rotl (i64.load offset=8 (local.get $at)) (i64.const 17)))) (i64.const 7)))
        (local.set $at (i32.add (local.get $at) (i32.const 16)))
        (br_if $l (i32.lt_u (local.get $at) (local.get $end))))
      (call $globals (local.get $hash)))";

/// Turns the bytes of the input, which the host has put at 2048, into the seed of a generator.
const RANDOM: &str = "
    (global $seed (mut i64) (i64.const 0))
    (func $sow (local $at i32) (local $end i32) (local $hash i64)
      (local.set $at (i32.load (i32.const 2052)))
      (local.set $end (i32.add (local.get $at) (i32.load (i32.const 2056))))
      (local.set $hash (i64.const 0x1234567))
      (block $done (loop $l
        (br_if $done (i32.ge_u (local.get $at) (local.get $end)))
        (local.set $hash (call $mix (local.get $hash) (i64.load8_u (local.get $at))))
        (local.set $at (i32.add (local.get $at) (i32.const 1)))
        (br $l)))
      (global.set $seed (local.get $hash))
      (drop (call $random)))
    (func $random (result i64)
      (global.set $seed (i64.xor (global.get $seed) (i64.shl (global.get $seed) (i64.const 13))))
      (global.set $seed (i64.xor (global.get $seed) (i64.shr_u (global.get $seed) (i64.const 7))))
      (global.set $seed (i64.xor (global.get $seed) (i64.shl (global.get $seed) (i64.const 17))))
      (global.get $seed))
    (func $below (param $end i32) (result i32)
      (i32.wrap_i64 (i64.rem_u (i64.shr_u (call $random) (i64.const 11)) (i64.extend_i32_u (local.get $end)))))
    (func $bytes (result i32) (i32.mul (memory.size) (i32.const 65536)))";

/// Writes at random places: one in four lies across a border of 4,096 bytes.
const WRITE: &str = "
    (func $write (local $n i32) (local $at i32)
      (local.set $n (call $below (i32.const 48)))
      (block $done (loop $l
        (br_if $done (i32.eqz (local.get $n)))
        (local.set $at (call $below (i32.sub (call $bytes) (i32.const 16))))
        (if (i32.eqz (call $below (i32.const 4)))
          (then (local.set $at (i32.add (i32.and (local.get $at) (i32.const -4096)) (i32.const 4092)))))
        (if (i32.gt_u (local.get $at) (i32.sub (call $bytes) (i32.const 8)))
          (then (local.set $at (i32.sub (call $bytes) (i32.const 8)))))
        (i64.store align=1 (local.get $at) (call $random))
        (local.set $n (i32.sub (local.get $n) (i32.const 1)))
        (br $l))))";

/// What a guest does besides, by chance; most of it ends the evaluation.
const DEEDS: &[&str] = &[
    "(unreachable)",
    "(loop $forever (br $forever))",
    "(drop (memory.grow (i32.const 1))) (i64.store (i32.sub (call $bytes) (i32.const 8)) (call $random))",
    "(drop (call_indirect $calls (param i32) (result i32) (i32.const 0) (i32.const 1)))",
    "(drop (call_indirect $calls (param i32) (result i32) (i32.const 0) (i32.const 0)))",
    "(drop (i64.load (i32.const -16)))",
    "(drop (i32.div_u (i32.const 1) (i32.const 0)))",
    "(drop (memory.grow (i32.const 60000)))",
    "(call $host.input.read (i32.const 80) (i32.const 4) (i32.const 2048))",
    "(call $host.input.read (i32.const 80) (i32.const -4) (i32.const 2048))",
    "(loop $l (call $host.diagnostics.log (i32.const 80) (i32.const 4) (i32.const 2048) (i32.const 0)) (br $l))",
    "(memory.fill (i32.const 4096) (i32.const 33) (i32.sub (call $bytes) (i32.const 4096)))",
    "(call $fill)",
    "(call $fill) (call $fill)",
    "(memory.copy (call $below (i32.const 65536)) (call $below (i32.const 65536)) (call $below (i32.const 65536)))",
    "(drop (memory.grow (i32.const 0)))",
    "(call $host.diagnostics.log (i32.const 80) (i32.const 4) (i32.const 80) (i32.const 4))",
    "(call $host.data.json (i32.const 64) (i32.const 6) (i32.const 2048))",
    "(call $host.decision-time.now (i32.const 2048))",
    "(call $host.input.keys (i32.const 0) (i32.const 0) (i32.const 2048))",
    "(call $host.input.read (i32.const 72) (i32.const 5) (i32.const 2048))",
    "(return (call $answer (i32.const 80) (i32.const 4)))",
    "(i32.store8 (i32.const 1024) (i32.const 1)) (i32.store8 (i32.const 1028) (i32.const 2))
     (i32.store (i32.const 1032) (i32.const 80)) (i32.store (i32.const 1036) (i32.const 4))
     (i32.store (i32.const 1040) (i32.const 80)) (i32.store (i32.const 1044) (i32.const 4))
     (i32.store8 (i32.const 1048) (i32.const 0)) (return (i32.const 1024))",
];

/// Deeds beyond these have no effect: that many of a hundred evaluations just answer.
const QUIET: usize = 30;

/// The functions that the writers share. `globals` has a function `$globals` that mixes globals into a hash, and one
/// `$disturb` that sets them.
fn writer_items(memory: &str, globals: &str) -> String {
    let deeds: String = (0..)
        .zip(DEEDS)
        .map(|(n, deed)| format!("(if (i32.eq (local.get $deed) (i32.const {n})) (then {deed}))\n"))
        .collect();
    let end = DEEDS.len() + QUIET;
    format!(
        r#"{memory}
        (data (i32.const 64) "/roles") (data (i32.const 72) "/seed") (data (i32.const 80) "word")
        (data (i32.const 65528) "across a border")
        (table $calls 3 funcref) (elem (table $calls) (i32.const 1) func $deep)
        {globals} {SUM} {RANDOM} {WRITE}
        (func $deep (param i32) (result i32)
          (i32.add (call $deep (i32.add (local.get 0) (i32.const 1))) (i32.const 1)))
        (func $fill (local $at i32)
          (local.set $at (call $below (i32.sub (call $bytes) (i32.const 30000))))
          (memory.fill (local.get $at) (call $below (i32.const 256)) (call $below (i32.const 30000))))
        (func $deeds (result i32) (local $deed i32)
          (local.set $deed (call $below (i32.const {end})))
          {deeds} (i32.const 0))
        (func $letters (param $bits i64) (result i32) (local $n i32)
          (i32.store8 (i32.const 960) (i32.const 34))
          (loop $l
            (i32.store8 offset=961 (local.get $n)
              (i32.add (i32.const 97) (i32.wrap_i64 (i64.and (local.get $bits) (i64.const 15)))))
            (local.set $bits (i64.shr_u (local.get $bits) (i64.const 4)))
            (local.set $n (i32.add (local.get $n) (i32.const 1)))
            (br_if $l (i32.lt_u (local.get $n) (i32.const 16))))
          (i32.store8 (i32.const 977) (i32.const 34))
          (call $answer (i32.const 960) (i32.const 18)))
        (func $write_and_answer (param $sum i64) (result i32) (local $answer i32)
          (call $host.input.json (i32.const 0) (i32.const 0) (i32.const 2048))
          (call $sow) (call $write) (call $disturb)
          (local.set $answer (call $deeds))
          (if (local.get $answer) (then (return (local.get $answer))))
          (call $letters (local.get $sum)))"#
    )
}

/// Dirties memory and globals once more, after its answer was read.
fn post_return() -> String {
    format!(
        r#"(func (export "cabi_post_verdict:policy/decision@{CONTRACT}#decide") (param i32)
          (if (i32.eqz (call $below (i32.const 2))) (then (call $write) (call $disturb))))"#
    )
}

const GLOBALS: &str = "
    (global $a (mut i32) (i32.const -7)) (global $b (mut i64) (i64.const 11))
    (global $c (mut f32) (f32.const nan:0x200001)) (global $d (mut f64) (f64.const -1.5))
    (func $globals (param $hash i64) (result i64)
      (call $mix (call $mix (call $mix (call $mix (call $mix (call $mix (local.get $hash)
        (i64.extend_i32_u (global.get $a))) (global.get $b))
        (i64.extend_i32_u (i32.reinterpret_f32 (global.get $c)))) (i64.reinterpret_f64 (global.get $d)))
        (i64.extend_i32_u (global.get $next))) (global.get $seed)))
    (func $disturb
      (global.set $a (i32.wrap_i64 (call $random))) (global.set $b (call $random))
      (global.set $c (f32.reinterpret_i32 (i32.wrap_i64 (call $random))))
      (global.set $d (f64.reinterpret_i64 (call $random))))";

/// Writes everywhere in a memory of so many pages of 64 KiB, in its globals, and in what it grows by.
pub(super) fn writer(pages: u32) -> Vec<u8> {
    let items = writer_items(&format!("(memory (export \"memory\") {pages})"), GLOBALS);
    guest(&(items + &post_return()), "(call $write_and_answer (call $sum))")
}

/// Fills a range of its memory that depends on the input, with pages enough that not all are watched one by one.
pub(super) fn filler(pages: u32) -> Vec<u8> {
    let items = writer_items(&format!("(memory (export \"memory\") {pages})"), GLOBALS);
    let body = "(local $sum i64) (local $at i32) (local $n i32)
        (local.set $sum (call $sum))
        (call $host.input.json (i32.const 0) (i32.const 0) (i32.const 2048))
        (call $sow)
        (local.set $n (call $below (i32.const 600)))
        (loop $l
          (i64.store (call $below (i32.sub (call $bytes) (i32.const 8))) (call $random))
          (local.set $n (i32.sub (local.get $n) (i32.const 1)))
          (br_if $l (i32.gt_s (local.get $n) (i32.const 0))))
        (call $write_and_answer (local.get $sum))";
    guest(&items, body)
}

/// A module without mutable globals, whose memory cannot grow.
pub(super) fn without_globals() -> Vec<u8> {
    let module = format!(
        r#"(module
        (import "verdict:policy/input@{CONTRACT}" "json" (func $json (param i32 i32 i32)))
        (memory (export "memory") 2 2)
        (data (i32.const 5000) "pristine")
        (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) (i32.const 8192))
        (func (export "verdict:policy/decision@{CONTRACT}#decide") (param $rule i32) (param $length i32) (result i32)
          (local $at i32) (local $sum i64) (local $hash i64) (local $n i32)
          (loop $l
            (local.set $sum (i64.rotl (i64.add (local.get $sum) (i64.load (local.get $at))) (i64.const 9)))
            (local.set $at (i32.add (local.get $at) (i32.const 8)))
            (br_if $l (i32.lt_u (local.get $at) (i32.const 131072))))
          (call $json (i32.const 0) (i32.const 0) (i32.const 2048))
          (local.set $n (i32.load (i32.const 2056)))
          (local.set $hash (i64.const 77))
          (loop $l
            (local.set $n (i32.sub (local.get $n) (i32.const 1)))
            (local.set $hash (i64.rotl (i64.mul (i64.xor (local.get $hash)
              (i64.load8_u (i32.add (local.get $n) (i32.load (i32.const 2052)))))
              (i64.const 0x9e3779b97f4a7c15)) (i64.const 23)))
            (br_if $l (local.get $n)))
          (i64.store align=1 (i32.and (i32.wrap_i64 (local.get $hash)) (i32.const 0x1fff7)) (local.get $hash))
          (if (i64.eqz (i64.and (local.get $hash) (i64.const 0xf0000)))
            (then (drop (memory.grow (i32.const 1)))))
          (i32.store8 (i32.const 960) (i32.const 34))
          (loop $l
            (i32.store8 offset=961 (local.get $n)
              (i32.add (i32.const 97) (i32.wrap_i64 (i64.and (local.get $sum) (i64.const 15)))))
            (local.set $sum (i64.shr_u (local.get $sum) (i64.const 4)))
            (local.set $n (i32.add (local.get $n) (i32.const 1)))
            (br_if $l (i32.lt_u (local.get $n) (i32.const 16))))
          (i32.store8 (i32.const 977) (i32.const 34))
          (i32.store8 (i32.const 1024) (i32.const 0)) (i32.store8 (i32.const 1028) (i32.const 1))
          (i32.store (i32.const 1032) (i32.const 960)) (i32.store (i32.const 1036) (i32.const 18))
          (i32.store (i32.const 1040) (i32.const 0)) (i32.store (i32.const 1044) (i32.const 0))
          (i32.const 1024)))"#
    );
    component_of(&module, CONTRACT_WIT, WORLD)
}

/// A component with state in several core instances: memories, tables, globals, start functions. `poke` answers with a
/// digest of all of it, and changes all of it.
const KEEPER: &str = r#"(component
    (core module $cells
      (memory (export "memory") 1) (memory $other 2) (memory $none 0 0)
      (global $count (export "count") (mut i64) (i64.const 3))
      (global $half (mut f32) (f32.const 0.5))
      (table $t (export "table") 4 funcref) (elem (table $t) (i32.const 2) func $start)
      (data (i32.const 100) "cells") (data (memory $other) (i32.const 70000) "other")
      (func $start
        (global.set $count (i64.add (global.get $count) (i64.const 39)))
        (i64.store $other (i32.const 8) (i64.const 0x1122334455667788)))
      (start $start)
      (func (export "look") (result i64) (local $at i32) (local $hash i64)
        (loop $l
          (local.set $hash (i64.rotl (i64.add (local.get $hash) (i64.load (local.get $at))) (i64.const 5)))
          (local.set $at (i32.add (local.get $at) (i32.const 8)))
          (br_if $l (i32.lt_u (local.get $at) (i32.const 65536))))
        (local.set $at (i32.const 0))
        (loop $l
          (local.set $hash (i64.rotl (i64.add (local.get $hash) (i64.load $other (local.get $at))) (i64.const 5)))
          (local.set $at (i32.add (local.get $at) (i32.const 8)))
          (br_if $l (i32.lt_u (local.get $at) (i32.const 131072))))
        (i64.add (i64.add (local.get $hash) (global.get $count))
          (i64.extend_i32_u (i32.reinterpret_f32 (global.get $half)))))
      (func (export "change") (param $x i64)
        (global.set $count (local.get $x))
        (global.set $half (f32.reinterpret_i32 (i32.wrap_i64 (local.get $x))))
        (i64.store align=1 (i32.and (i32.wrap_i64 (local.get $x)) (i32.const 0xfff7)) (local.get $x))
        (i64.store $other align=1 (i32.and (i32.wrap_i64 (i64.shr_u (local.get $x) (i64.const 16))) (i32.const 0x1fff7))
          (local.get $x))
        (if (i64.eqz (i64.and (local.get $x) (i64.const 31))) (then (unreachable)))
        (if (i64.eq (i64.and (local.get $x) (i64.const 31)) (i64.const 1))
          (then (drop (memory.grow $other (i32.const 1)))))))
    (core module $front
      (import "cells" "look" (func $look (result i64)))
      (import "cells" "change" (func $change (param i64)))
      (import "cells" "count" (global $count (mut i64)))
      (import "cells" "memory" (memory 1))
      (global $calls (mut i32) (i32.const 0)) (memory $own 1)
      (func (export "poke") (param $x i64) (result i64) (local $sum i64)
        (local.set $sum (i64.add (i64.add (call $look) (i64.load $own (i32.const 4096)))
          (i64.extend_i32_u (global.get $calls))))
        (global.set $calls (i32.add (global.get $calls) (i32.const 1)))
        (i64.store $own (i32.const 4096) (local.get $x))
        (call $change (local.get $x))
        (global.set $count (i64.add (global.get $count) (i64.const 1)))
        (i64.store8 (i32.const 50000) (local.get $x))
        (local.get $sum)))
    (core instance $cells (instantiate $cells))
    (core instance $front (instantiate $front (with "cells" (instance $cells))))
    (func (export "poke") (param "x" u64) (result u64) (canon lift (core func $front "poke"))))"#;

/// What the writer of [`nested`] is compiled for: the input, and two others to poke.
const NESTED_WORLD: &str = "
  world nested {
    import input;
    import first: func(x: u64) -> u64;
    import second: func(x: u64) -> u64;
    export decision;
  }
";

/// A component of three: a writer, and two instances of one with state of its own that the writer pokes twice each.
pub(super) fn nested() -> Vec<u8> {
    let imports = r#"(import "$root" "first" (func $first (param i64) (result i64)))
        (import "$root" "second" (func $second (param i64) (result i64)))"#;
    // The deeds are the writer's own; here only the state matters.
    let items = format!(
        r#"(memory (export "memory") 3) {GLOBALS} {SUM} {RANDOM} {WRITE}
        (func $letters (param $bits i64) (result i32) (local $n i32)
          (i32.store8 (i32.const 960) (i32.const 34))
          (loop $l
            (i32.store8 offset=961 (local.get $n)
              (i32.add (i32.const 97) (i32.wrap_i64 (i64.and (local.get $bits) (i64.const 15)))))
            (local.set $bits (i64.shr_u (local.get $bits) (i64.const 4)))
            (local.set $n (i32.add (local.get $n) (i32.const 1)))
            (br_if $l (i32.lt_u (local.get $n) (i32.const 16))))
          (i32.store8 (i32.const 977) (i32.const 34))
          (call $answer (i32.const 960) (i32.const 18)))"#
    );
    let body = "(local $sum i64)
        (local.set $sum (call $sum))
        (call $host.input.json (i32.const 0) (i32.const 0) (i32.const 2048))
        (call $sow) (call $write) (call $disturb)
        (local.set $sum (call $mix (local.get $sum) (call $first (call $random))))
        (local.set $sum (call $mix (local.get $sum) (call $second (call $random))))
        (local.set $sum (call $mix (local.get $sum) (call $first (call $random))))
        (call $letters (local.get $sum))";
    let module = crate::support::module(&items, body).replacen("(module", &format!("(module {imports}"), 1);
    let writer = component_of(&module, &format!("{CONTRACT_WIT}{NESTED_WORLD}"), "nested");
    composed(&writer, &wat::parse_str(KEEPER).unwrap())
}

/// Gives the writer the input and two keepers.
fn composed(writer: &[u8], keeper: &[u8]) -> Vec<u8> {
    let (input, decision) =
        (format!("verdict:policy/input@{CONTRACT}"), format!("verdict:policy/decision@{CONTRACT}"));
    let mut component = ComponentBuilder::default();
    let mut json = InstanceType::new();
    json.ty().defined_type().option(PrimitiveValType::String);
    json.ty()
        .function()
        .params([("pointer", PrimitiveValType::String)])
        .result(Some(ComponentValType::Type(0)));
    json.export("json", ComponentTypeRef::Func(1));
    let json = component.type_instance(None, &json);
    let imported = component.import(input.as_str(), ComponentTypeRef::Instance(json));
    let keeper = component.component_raw(None, keeper);
    let writer = component.component_raw(None, writer);
    let poke = [(); 2].map(|()| {
        let instance = component.instantiate(None, keeper, Vec::<(String, ComponentExportKind, u32)>::new());
        let (kind, name) = (ComponentExportKind::Func, "poke");
        component.alias(None, Alias::InstanceExport { instance, kind, name })
    });
    let writer = component.instantiate(
        None,
        writer,
        [
            (input.as_str(), ComponentExportKind::Instance, imported),
            ("first", ComponentExportKind::Func, poke[0]),
            ("second", ComponentExportKind::Func, poke[1]),
        ],
    );
    let (kind, name) = (ComponentExportKind::Instance, decision.as_str());
    let answers = component.alias(None, Alias::InstanceExport { instance: writer, kind, name });
    component.export(decision.as_str(), ComponentExportKind::Instance, answers, None);
    component.finish()
}
