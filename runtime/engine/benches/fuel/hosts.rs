//! Guests that call the host: often, with much, deep, in vain; and answers that are hard to take.

use crate::Case;

pub(crate) fn cases() -> Vec<Case> {
    [small(), pointers(), many(), results(), logs(), answers()].concat()
}

/// Calls in a loop; what they allocate is given back with each turn.
fn called(name: &str, input: &str, data: &str, call: &str, turns: usize) -> Case {
    Case {
        name: name.into(),
        items: format!(
            "(memory (export \"memory\") 200) (data (i32.const 65536) \"{}\")",
            data.replace('\\', "\\\\").replace('"', "\\\"")
        ),
        body: format!(
            "(local $n i32) (local.set $n (i32.const {turns}))
             (loop $l
               (global.set $next (i32.const 262144))
               {call}
               (br_if $l (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
             (call $true)"
        ),
        input: input.into(),
        operators: turns as f64,
        ..Case::default()
    }
}

fn at_pointer(function: &str, pointer: &str) -> String {
    format!("(call $host.{function} (i32.const 65536) (i32.const {}) (i32.const 2048))", pointer.len())
}

fn case(name: &str, input: &str, function: &str, pointer: &str, turns: usize) -> Case {
    called(&format!("host {function} {name}"), input, pointer, &at_pointer(function, pointer), turns)
}

fn small() -> Vec<Case> {
    let input = r#"{"a": true, "n": 12.5, "t": "text", "e": "t\u00e4xt", "o": {"x": 1}, "l": [1, 2]}"#;
    let mut cases = Vec::new();
    for document in ["input", "data"] {
        for (what, pointer) in [
            ("boolean", "/a"),
            ("number", "/n"),
            ("text", "/t"),
            ("escaped", "/e"),
            ("object", "/o"),
            ("list", "/l"),
            ("absent", "/x"),
            ("whole", ""),
        ] {
            cases.push(case(what, input, &format!("{document}.read"), pointer, 300));
        }
        for (what, pointer) in [("whole", ""), ("object", "/o"), ("absent", "/x"), ("boolean", "/a")] {
            cases.push(case(what, input, &format!("{document}.keys"), pointer, 300));
            cases.push(case(what, input, &format!("{document}.json"), pointer, 300));
        }
    }
    cases.push(called("host now", input, "", "(call $host.decision-time.now (i32.const 2048))", 300));
    cases
}

fn pointers() -> Vec<Case> {
    let mut cases = Vec::new();
    let deep =
        |open: &str, close: &str, depth: usize| format!("{}1{}", open.repeat(depth), close.repeat(depth));
    for depth in [10, 60, 120] {
        cases.push(case(
            &format!("{depth} arrays deep"),
            &deep("[", "]", depth),
            "input.read",
            &"/0".repeat(depth),
            100,
        ));
        cases.push(case(
            &format!("{depth} objects deep"),
            &deep("{\"a\":", "}", depth),
            "input.read",
            &"/a".repeat(depth),
            100,
        ));
        cases.push(case(
            &format!("{depth} empty names deep"),
            &deep("{\"\":", "}", depth),
            "input.read",
            &"/".repeat(depth),
            100,
        ));
    }
    let name = "x".repeat(4_000);
    cases.push(case("long name", &format!("{{\"{name}\": 1}}"), "input.read", &format!("/{name}"), 20));
    let name = "~0".repeat(2_000);
    cases.push(case(
        "long escaped name",
        &format!("{{\"{}\": 1}}", name.replace("~0", "~")),
        "input.read",
        &format!("/{name}"),
        20,
    ));
    cases.push(case("long absent pointer", "{}", "input.read", &"/a".repeat(2_000), 50));
    let similar: Vec<String> = (0..1_000).map(|n| format!("\"{}{n:04}\":1", "y".repeat(3_000))).collect();
    cases.push(case(
        "long similar names",
        &format!("{{{}}}", similar.join(",")),
        "input.read",
        &format!("/{}0999", "y".repeat(3_000)),
        30,
    ));
    for members in [100, 10_000, 100_000] {
        let all: Vec<String> =
            (0..members).map(|n| format!("\"{:05}\":{n}", (n as u64 * 7_919) % members as u64)).collect();
        let object = format!("{{{}}}", all.join(","));
        let array = format!("[{}]", (0..members).map(|n| n.to_string()).collect::<Vec<_>>().join(","));
        // Another member each time: the digits are counted up in the guest.
        let step = "(i32.store8 (i32.const 65538) (i32.add (i32.const 48) (i32.rem_u (i32.div_u (local.get $n) (i32.const 1000)) (i32.const 10))))
             (i32.store8 (i32.const 65539) (i32.add (i32.const 48) (i32.rem_u (i32.div_u (local.get $n) (i32.const 100)) (i32.const 10))))
             (i32.store8 (i32.const 65540) (i32.add (i32.const 48) (i32.rem_u (i32.div_u (local.get $n) (i32.const 10)) (i32.const 10))))
             (i32.store8 (i32.const 65541) (i32.add (i32.const 48) (i32.rem_u (local.get $n) (i32.const 10))))
             (i32.store8 (i32.const 65537) (i32.add (i32.const 48) (i32.rem_u (local.get $n) (i32.const 10))))";
        let call = format!("{step} {}", at_pointer("input.read", "/00000"));
        cases.push(called(&format!("host input.read of {members} members"), &object, "/00000", &call, 300));
        cases.push(case(
            &format!("last of {members} elements"),
            &array,
            "input.read",
            &format!("/{}", members - 1),
            300,
        ));
        cases.push(case(&format!("whole of {members} members"), &object, "input.read", "", 300));
        cases.push(case(&format!("of {members} members"), &object, "input.keys", "", 2_000 / members + 1));
        cases.push(case(&format!("of {members} members"), &object, "input.json", "", 2_000 / members + 1));
    }
    cases
}

/// `read-many` of a list whose pointers are all the same text.
fn many() -> Vec<Case> {
    let input = r#"{"a": true, "t": "text text text text"}"#;
    let mut cases = Vec::new();
    for (what, pointer) in [("boolean", "/a"), ("text", "/t"), ("absent", "/x"), ("whole", "")] {
        for count in [0, 1, 10, 1_000, 8_000] {
            let fill = format!(
                "(local $m i32) (local.set $m (i32.const {count}))
                 (if (local.get $m) (then (loop $w
                   (local.set $m (i32.sub (local.get $m) (i32.const 1)))
                   (i32.store offset=131072 (i32.shl (local.get $m) (i32.const 3)) (i32.const 65536))
                   (i32.store offset=131076 (i32.shl (local.get $m) (i32.const 3)) (i32.const {}))
                   (br_if $w (local.get $m)))))",
                pointer.len()
            );
            let call = format!(
                "(call $host.input.read-many (i32.const 131072) (i32.const {count}) (i32.const 2048))"
            );
            let mut case = called(
                &format!("host read-many {count} {what}"),
                input,
                pointer,
                &call,
                2_000 / (count + 10) + 1,
            );
            case.body = format!("(local $n i32) {fill} {}", case.body.replace("(local $n i32)", ""));
            cases.push(case);
        }
    }
    cases
}

fn results() -> Vec<Case> {
    let mut cases = Vec::new();
    for bytes in [100, 10_000, 1_000_000] {
        let texts = [
            ("text", "x".repeat(bytes)),
            ("escapes", "\\n".repeat(bytes / 2)),
            ("unicode escapes", "\\u00e4".repeat(bytes / 6)),
            ("surrogates", "\\ud83d\\ude00".repeat(bytes / 12)),
            ("umlauts", "ä".repeat(bytes / 2)),
        ];
        for (what, text) in texts {
            let input = format!("[\"{text}\"]");
            let turns = (100_000 / (bytes + 500)).max(1);
            cases.push(case(&format!("{bytes} of {what}"), &input, "input.read", "/0", turns));
            cases.push(case(&format!("{bytes} of {what}"), &input, "input.json", "", turns));
            let object = format!("{{\"{text}\": 1}}");
            cases.push(case(&format!("{bytes} of {what}"), &object, "input.keys", "", turns));
        }
        cases.push(case(&format!("{bytes} of number"), &"1".repeat(bytes.min(1_000)), "input.read", "", 300));
    }
    let escaped: Vec<String> = (0..10_000).map(|n| format!("\"\\u00e4{n}\": 1")).collect();
    cases.push(case("of 10000 escaped members", &format!("{{{}}}", escaped.join(",")), "input.keys", "", 1));
    cases
}

fn logs() -> Vec<Case> {
    let log = |code: u32, message: u32| {
        format!(
            "(call $host.diagnostics.log (i32.const 65536) (i32.const {code}) (i32.const 65536) (i32.const {message}))"
        )
    };
    let text = "x".repeat(20_000);
    vec![
        called("host log of nothing", "{}", &text, &log(0, 0), 500),
        called("host log of a byte", "{}", &text, &log(0, 1), 500),
        called("host log of a line", "{}", &text, &log(10, 100), 500),
        called("host log of 20 kB", "{}", &text, &log(0, 20_000), 10),
        called("host log of umlauts", "{}", &"ä".repeat(10_000), &log(0, 20_000), 10),
    ]
}

/// What the host does with an answer is outside of fuel, and bounded by the limit on answers.
fn answers() -> Vec<Case> {
    vec![
        answer(200, 10, 0),
        answer(2_000, 10, 0),
        answer(2_000, 0, 1),
        answer(10, 10, 1_000),
        answer(20, 10_000, 0),
    ]
}

/// An answer of so many reasons, whose code has so many bytes, with so many pointers of as many bytes.
fn answer(count: usize, length: usize, pointers: usize) -> Case {
    let body = |count: usize, pointers: usize| {
        format!(
            "(local $n i32)
             (memory.fill (i32.const 4096) (i32.const 120) (i32.const {length}))
             (loop $w
               (i32.store offset=65536 (i32.shl (local.get $n) (i32.const 3)) (i32.const 4096))
               (i32.store offset=65540 (i32.shl (local.get $n) (i32.const 3)) (i32.const {length}))
               (local.set $n (i32.add (local.get $n) (i32.const 1)))
               (br_if $w (i32.lt_u (local.get $n) (i32.const 1000))))
             (local.set $n (i32.const 0))
             (loop $l
               (i32.store offset=131072 (i32.mul (local.get $n) (i32.const 48)) (i32.const 4096))
               (i32.store offset=131076 (i32.mul (local.get $n) (i32.const 48)) (i32.const {length}))
               (i32.store offset=131112 (i32.mul (local.get $n) (i32.const 48)) (i32.const 65536))
               (i32.store offset=131116 (i32.mul (local.get $n) (i32.const 48)) (i32.const {pointers}))
               (local.set $n (i32.add (local.get $n) (i32.const 1)))
               (br_if $l (i32.lt_u (local.get $n) (i32.const 2000))))
             (drop (call $true))
             (i32.store (i32.const 1040) (i32.const 131072))
             (i32.store (i32.const 1044) (i32.const {count}))
             (i32.const 1024)"
        )
    };
    let items = count * (1 + pointers);
    Case {
        name: format!("answer of {count} reasons of {length} bytes, {pointers} pointers each"),
        items: "(memory (export \"memory\") 10)".into(),
        body: body(count, pointers),
        baseline: Some(body(0, 0)),
        outside: Some(("fuel.answer.ns", (items * (length + 16)) as f64)),
        operators: items as f64,
        ..Case::default()
    }
}
