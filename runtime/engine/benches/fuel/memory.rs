//! Guests of memory and tables: what is slow because of where it goes.

use crate::Case;
use crate::code::{RANDOM, repeated};

pub(crate) fn cases() -> Vec<Case> {
    [chases(), lines(), borders(), growth(), pages(), bulk(), tables(), table_ranges()].concat()
}

fn chases() -> Vec<Case> {
    let mut cases: Vec<Case> = [4, 64, 512, 1 << 10, 2 << 10, 4 << 10, 8 << 10, 16 << 10, 64 << 10]
        .map(|kb| chase(kb, "i32.load"))
        .into();
    cases.push(chase(4 << 10, "i64.load i32.wrap_i64"));
    cases
}

/// Each load gives the address of the next, in an order that no processor foresees.
fn chase(kb: usize, load: &str) -> Case {
    let lines = kb << 4;
    // A generator of full period; its numbers are the lines, and 32 loads are a turn.
    let body = |turns: usize| {
        format!(
            "(local $n i32) (local $p i32) (local $at i32)
             (local.set $n (i32.const {lines}))
             (loop $l
               (i64.store offset=65536 (i32.shl (local.get $p) (i32.const 6)) (i64.extend_i32_u
                 (i32.add (i32.const 65536) (i32.shl (local.tee $p
                   (i32.and (i32.add (i32.mul (local.get $p) (i32.const 1664525)) (i32.const 1013904223))
                            (i32.const {}))) (i32.const 6)))))
               (br_if $l (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
             (local.set $at (i32.const 65536)) (local.set $n (i32.const {turns}))
             loop $m (local.get $at) {} (local.set $at)
               (br_if $m (local.tee $n (i32.sub (local.get $n) (i32.const 1)))) end
             (i32.store (i32.const 2048) (local.get $at)) (call $true)",
            lines - 1,
            format!("{load}\n").repeat(32)
        )
    };
    Case {
        name: format!("{load} through {kb} kB"),
        items: format!("(memory (export \"memory\") {})", kb.div_ceil(64) + 1),
        body: body(4_000),
        baseline: Some(body(1)),
        operators: 4_000.0 * 32.0,
        memory_bytes: 128 << 20,
        // Above the default limit the price does not cover what a load can take.
        outside: (kb > 16 << 10).then_some(("fuel.far.ns", 128_000.0)),
        ..Case::default()
    }
}

/// Accesses to more lines than a cache has, each for itself.
fn lines() -> Vec<Case> {
    let next = "(local.tee $x (i32.and (i32.add (local.get $x) (i32.const 4160)) (i32.const 0xffffc0)))";
    let any = format!("(i32.and {} (i32.const 0xffffc0))", RANDOM.replace("local.set", "local.tee"));
    let items = "(memory (export \"memory\") 270)";
    let before = "(memory.fill (i32.const 65536) (i32.const 0) (i32.const 16777216))";
    let of = |name: &str, step: String| Case {
        memory_bytes: 64 << 20,
        baseline: Some(repeated("", "", before, "", (1, 1)).body),
        ..repeated(name, items, before, &step, (16, 6_000))
    };
    let sum =
        |address: &str| format!("(local.set $y (i32.xor (local.get $y) (i32.load offset=65536 {address})))");
    vec![
        of("stores to many lines", format!("(i32.store offset=65536 {next} (local.get $x))")),
        of("stores to random lines", format!("(i32.store offset=65536 {any} (local.get $x))")),
        of("stores across many lines", format!("(i64.store offset=65599 {next} (i64.const 7))")),
        of("stores across many pages", "(i64.store offset=69628 (local.tee $x (i32.and (i32.add (local.get $x) (i32.const 4096)) (i32.const 0xfff000))) (i64.const 7))".into()),
        of("loads of many lines", sum(next)),
        of("loads of random lines", sum(&any)),
    ]
}

fn borders() -> Vec<Case> {
    let case = |name: &str, step: &str| repeated(name, "", "", step, (16, 2_000));
    vec![
        case("store across pages", "(i64.store (i32.const 4092) (local.get $z))"),
        case("load across pages", "(local.set $z (i64.load offset=4092 (i32.wrap_i64 (local.get $z))))"),
        case("load across lines", "(local.set $z (i64.load offset=4156 (i32.wrap_i64 (local.get $z))))"),
        case(
            "store and load",
            "(i32.store (i32.const 2048) (local.get $x)) (local.set $x (i32.load (i32.const 2048)))",
        ),
        case(
            "load of more than was stored",
            "(i32.store8 (i32.const 2048) (local.get $x)) (local.set $x (i32.load (i32.const 2048)))",
        ),
        case(
            "load of more than was stored, across pages",
            "(i32.store8 (i32.const 4096) (local.get $x)) (local.set $x (i32.load (i32.const 4094)))",
        ),
        case(
            "store and load four kB apart",
            "(i32.store (i32.const 8192) (local.get $x)) (local.set $x (i32.load (i32.const 4096)))",
        ),
        case("memory.size", "(local.set $x (i32.add (local.get $x) (memory.size)))"),
    ]
}

fn growth() -> Vec<Case> {
    let refused = "(memory (export \"memory\") 2 2)";
    let grow = |name: &str, items: &str, delta: u32| {
        repeated(name, items, "", &format!("(drop (memory.grow (i32.const {delta})))"), (16, 500))
    };
    vec![
        grow("memory.grow by 0", "", 0),
        grow("memory.grow refused", refused, 1),
        Case {
            memory_bytes: 64 << 20,
            ..repeated("memory.grow by a page", "", "", "(drop (memory.grow (i32.const 1)))", (1, 900))
        },
    ]
}

fn pages() -> Vec<Case> {
    let next = "(local.set $x (i32.add (local.get $x) (i32.const 4096)))";
    let of = |name: &str, step: &str, (copies, turns): (usize, usize)| Case {
        memory_bytes: 64 << 20,
        outside: Some(("fuel.page.ns", 4_000.0)),
        ..repeated(
            name,
            "(memory (export \"memory\") 258)",
            "(local.set $x (i32.const 131072))",
            step,
            (copies, turns),
        )
    };
    let sum = "(local.set $y (i32.xor (local.get $y) (i32.load (local.get $x))))";
    vec![
        of("pages written first", &format!("(i32.store (local.get $x) (local.get $n)) {next}"), (16, 250)),
        of("pages read first", &format!("{sum} {next}"), (16, 250)),
        of(
            "pages filled first",
            "(memory.fill (i32.const 131072) (i32.const 1) (i32.const 16384000))",
            (1, 1),
        ),
        of(
            "pages copied first",
            "(memory.copy (i32.const 131072) (i32.const 8323072) (i32.const 8192000))",
            (1, 1),
        ),
    ]
}

fn bulk() -> Vec<Case> {
    let items = "(memory (export \"memory\") 80) (data $d \"0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\")";
    let steps = [
        ("memory.fill", "(memory.fill (i32.const 4096) (i32.const 7) (local.get $y))"),
        ("memory.fill odd", "(memory.fill (i32.const 4097) (i32.const 7) (local.get $y))"),
        ("memory.copy", "(memory.copy (i32.const 4096) (i32.const 2101248) (local.get $y))"),
        ("memory.copy odd", "(memory.copy (i32.const 4097) (i32.const 2101251) (local.get $y))"),
        ("memory.copy up", "(memory.copy (i32.const 4097) (i32.const 4096) (local.get $y))"),
        ("memory.copy down", "(memory.copy (i32.const 4096) (i32.const 4097) (local.get $y))"),
        ("memory.copy constant", "(memory.copy (i32.const 4096) (i32.const 8191) (i32.const BYTES))"),
        ("memory.fill constant", "(memory.fill (i32.const 4096) (i32.const 0) (i32.const BYTES))"),
        ("memory.init", "(memory.init $d (i32.const 4096) (i32.const 0) (local.get $y))"),
    ];
    let mut cases = vec![repeated("data.drop", items, "", "(data.drop $d)", (16, 1_000))];
    for bytes in [0, 1, 7, 16, 33, 64, 65, 128, 129, 256, 1_000, 4_096, 65_536, 2 << 20] {
        let set = format!("(local.set $y (i32.add (i32.const {bytes}) (i32.load (i32.const 2048))))");
        let turns = (200_000 / (bytes + 100)).max(1);
        for (name, step) in steps.iter().filter(|(name, _)| bytes <= 64 || *name != "memory.init") {
            let step = step.replace("BYTES", &bytes.to_string());
            cases.push(repeated(&format!("{name} {bytes}"), items, &set, &step, (4, turns)));
        }
    }
    cases
}

const FUNCTIONS: &str =
    "(type $t (func)) (func $f) (elem $e func $f $f $f $f $f $f $f $f) (elem declare func $f)";

fn tables() -> Vec<Case> {
    let before = "(local.set $r (ref.func $f))";
    let case = |name: &str, table: &str, step: &str, many: (usize, usize)| {
        repeated(name, &format!("{FUNCTIONS} {table}"), before, step, many)
    };
    let table = "(table $t 2000 2000 funcref) (elem (table $t) (i32.const 0) func $f $f $f $f)";
    let small = "(table $t 1 100000 funcref)";
    // Elements are made when they are first read.
    let lazy = format!(
        "(table $t 20000 20000 funcref) (elem (table $t) (i32.const 0) func {})",
        "$f ".repeat(20_000)
    );
    let next = "(local.set $x (i32.add (local.get $x) (i32.const 1)))";
    vec![
        case("table.get", table, "(local.set $r (table.get $t (i32.const 1)))", (16, 1_000)),
        case("table.get of null", table, "(local.set $r (table.get $t (i32.const 10)))", (16, 1_000)),
        Case {
            outside: Some(("fuel.element.ns", 20_000.0)),
            ..case(
                "table.get first",
                &lazy,
                &format!("(local.set $r (table.get $t (local.get $x))) {next}"),
                (10, 2_000),
            )
        },
        Case {
            outside: Some(("fuel.element.ns", 20_000.0)),
            ..case(
                "call_indirect first",
                &lazy,
                &format!("(call_indirect $t (type $t) (local.get $x)) {next}"),
                (10, 2_000),
            )
        },
        case("table.set", table, "(table.set $t (i32.const 5) (local.get $r))", (16, 1_000)),
        case("table.size", table, "(local.set $x (i32.add (local.get $x) (table.size $t)))", (16, 1_000)),
        case("ref.func", table, "(local.set $r (ref.func $f))", (16, 1_000)),
        case(
            "ref.is_null",
            table,
            "(local.set $x (i32.add (local.get $x) (ref.is_null (local.get $r))))",
            (16, 1_000),
        ),
        case("elem.drop", table, "(elem.drop $e)", (16, 1_000)),
        case(
            "table.grow refused",
            "(table $t 1 1 funcref)",
            "(drop (table.grow $t (local.get $r) (i32.const 1)))",
            (16, 500),
        ),
        case("table.grow by 0", small, "(drop (table.grow $t (local.get $r) (i32.const 0)))", (16, 500)),
        case("table.grow by 1", small, "(drop (table.grow $t (local.get $r) (i32.const 1)))", (1, 10_000)),
        case("table.grow by 10000", small, "(drop (table.grow $t (local.get $r) (i32.const 10000)))", (1, 9)),
    ]
}

fn table_ranges() -> Vec<Case> {
    let items = format!("{FUNCTIONS} (table $t 2000 2000 funcref)");
    let mut cases = Vec::new();
    for count in [0, 1, 8, 100, 2_000] {
        let before = format!(
            "(local.set $r (ref.func $f)) (local.set $x (i32.add (i32.const {count}) (i32.load (i32.const 2048))))"
        );
        let mut add = |what: &str, step: &str| {
            cases.push(repeated(
                &format!("{what} {count}"),
                &items,
                &before,
                step,
                (4, 8_000 / (count + 16)),
            ));
        };
        add("table.fill", "(table.fill $t (i32.const 0) (local.get $r) (local.get $x))");
        add("table.copy", "(table.copy $t $t (i32.const 0) (i32.const 0) (local.get $x))");
        if count <= 8 {
            add("table.init", "(table.init $t $e (i32.const 0) (i32.const 0) (local.get $x))");
        }
    }
    cases
}
