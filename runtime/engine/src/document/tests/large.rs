//! Documents that are large enough for marks, tables and samples of every kind.

use std::collections::HashMap;
use std::fmt::Write;

use proptest::prelude::*;
use verdict_core::pointer::Pointer;

use super::super::marks::Marks;
use super::super::text::hash;
use super::super::{Index, TAPE_TEXT_BYTES_MAX};
use super::same::assert_same;
use super::{Document, DocumentLimits, Kind, Value, WEIGHT_MAX, marked};

const LIMITS: DocumentLimits = DocumentLimits { bytes_max: 64 << 20, depth_max: 128 };

fn pointer(text: &str) -> Pointer {
    text.parse().unwrap()
}

fn is_marked(document: &Document) -> bool {
    matches!(document.parsed().index, Index::Marks(_))
}

/// An object with so many members, and in each an array of the others' kinds.
fn object(members: usize) -> String {
    let mut text = String::from("{");
    for n in 0..members {
        let comma = if n == 0 { "" } else { "," };
        let name = n * 7_919 % 1_000_003;
        let _ =
            write!(text, "{comma}\n \"user-{name}\": [{n}, \"text \\u00e9\", {{\"a\": [], \"b\": {n}.50}}]");
    }
    text + "}"
}

#[test]
fn only_what_is_large_gets_marks() {
    let text = |bytes: usize| format!("\"{}\"", "a".repeat(bytes - 2));
    let document = |bytes| Document::parse(text(bytes), &LIMITS).unwrap();
    assert!(!is_marked(&document(TAPE_TEXT_BYTES_MAX)));
    assert!(is_marked(&document(TAPE_TEXT_BYTES_MAX + 1)));
}

#[test]
fn finds_every_member_and_element_of_a_large_document() {
    let members = 40_000;
    let document = Document::parse(object(members), &LIMITS).unwrap();
    assert!(is_marked(&document));
    let names = document.keys(&pointer("")).unwrap();
    assert_eq!(names.len(), members);
    for (n, name) in names.iter().enumerate() {
        assert_eq!(name.as_ref(), format!("user-{}", n * 7_919 % 1_000_003));
        assert_eq!(document.json(&pointer(&format!("/{name}/2/b"))), Some(format!("{n}.50").as_str()));
    }
    assert_eq!(document.read(&pointer("/user-")), None);
    assert_eq!(document.read(&pointer("/user-0/3")), None);
    let array = Document::parse(format!("[{}0]", "1, [2] ,".repeat(200_000)), &LIMITS).unwrap();
    for index in (0..400_000).step_by(977) {
        let value = if index % 2 == 0 { Value::Number("1") } else { Value::Array(1) };
        assert_eq!(array.read(&pointer(&format!("/{index}"))), Some(value));
    }
    assert_eq!(array.read(&pointer("/400000")), Some(Value::Number("0")));
    assert_eq!(array.read(&pointer("/400001")), None);
}

#[test]
fn refuses_a_duplicate_in_a_large_document_where_a_small_one_does() {
    let mut text = object(40_000);
    text.truncate(text.len() - 1);
    let first = text.find("\"user-7919\"").unwrap();
    let error = Document::parse(format!("{text},\"user-791\\u0039\":1}}"), &LIMITS).unwrap_err();
    assert_eq!((error.kind(), error.offset()), (Kind::DuplicateName, text.len() + 1));
    assert!(first < text.len());
}

#[test]
fn long_names_values_and_white_space_are_passed_at_once() {
    let (long, space) = ("é".repeat(3_000), " ".repeat(5_000));
    let member = |n: usize| format!("\"{long}\\n{n}\"{space}:{space}[\"{long}\"{space},{n}]{space}");
    let members: Vec<String> = (0..30).map(member).collect();
    for count in [1, 3, 30] {
        assert_same(format!("{space}{{{space}{}}}{space}", members[..count].join(",")).as_bytes(), &LIMITS);
    }
    let number = format!("1{}.{}e-{}", "0".repeat(900), "7".repeat(900), "3".repeat(900));
    assert_same(format!("[{number},{{\"a\":{number}}},{number}]").as_bytes(), &LIMITS);
}

fn marks(document: &Document) -> &Marks {
    match &document.parsed().index {
        Index::Marks(marks) => marks,
        Index::Tape(_) => panic!("this document has a tape"),
    }
}

/// Shapes in which much is small.
fn shapes() -> Vec<String> {
    let many = |items: usize, item: fn(usize) -> String| (0..items).map(item).collect::<Vec<_>>().join(",");
    let members = |_| (0..40).map(|n| format!("\"{n}\":0")).collect::<Vec<_>>().join(",");
    let deep = |_| format!("{}0{}", "[{\"\":".repeat(60), "}]".repeat(60));
    vec![
        format!("[{}]", many(400_000, |n| (n % 10).to_string())),
        format!("[{}]", many(400_000, |_| "{}".into())),
        format!("[{}]", many(3_000, deep)),
        format!("{{{}}}", many(150_000, |n| format!("\"{n:x}\":0"))),
        format!(
            "[{}]",
            (0..5_000).map(members).map(|all| format!("{{{all}}}")).collect::<Vec<_>>().join(",")
        ),
    ]
}

#[test]
fn marks_have_at_most_twice_the_bytes_of_the_text() {
    for text in shapes() {
        let document = Document::marked(text, LIMITS.depth_max, WEIGHT_MAX).unwrap();
        let marks = marks(&document);
        let bytes = size_of_val(&marks.starts[..])
            + size_of_val(&marks.marks[..])
            + size_of_val(&marks.names[..])
            + size_of_val(&marks.sorted[..])
            + size_of_val(&marks.buckets[..])
            + size_of_val(&marks.samples[..]);
        assert!(bytes <= 2 * document.text().len(), "{bytes} for {}", document.text().len());
    }
}

#[test]
fn every_mark_knows_the_first_one_after_it() {
    for text in shapes() {
        for document in marked(text.as_bytes(), &LIMITS) {
            let document = document.unwrap();
            let Marks { starts, marks, .. } = marks(&document);
            assert!(starts.is_sorted_by(|a, b| a < b));
            for mark in marks {
                assert_eq!(mark.next as usize, starts.partition_point(|start| *start < mark.end));
            }
        }
    }
}

#[test]
fn names_of_one_hash_share_a_bucket_and_are_told_apart() {
    let mut names: HashMap<u32, String> = HashMap::new();
    let mut same = Vec::new();
    for n in 0..300_000_u32 {
        let name = format!("{:08x}", n.wrapping_mul(0x9e37_79b1));
        if let Some(other) = names.insert(hash(name.as_bytes()), name.clone()) {
            same.extend([other, name]);
        }
    }
    assert!(same.len() >= 4, "chance has it that there are about twenty");
    let others = (0..500).map(|n| format!("other-{n}"));
    let members: Vec<String> =
        same.iter().cloned().chain(others).map(|name| format!("\"{name}\":\"{name}\"")).collect();
    for marked in marked(format!("{{{}}}", members.join(",")).as_bytes(), &LIMITS) {
        let marked = marked.unwrap();
        for name in &same {
            assert_eq!(marked.read(&pointer(&format!("/{name}"))), Some(Value::Text(name.into())));
        }
    }
}

/// An array or object of many scalars, arrays and objects, some long, some alike.
fn many() -> impl Strategy<Value = String> {
    let scalar = prop_oneof![
        4 => "[0-9]".prop_map(String::from),
        2 => Just("\"\\u0061\\n\"".to_owned()),
        1 => "a{1,600}".prop_map(|text| format!("\"{text}\"")),
        1 => Just("-1.5e3".to_owned()),
    ];
    let inside = prop_oneof![
        3 => scalar.clone(),
        1 => prop::collection::vec(scalar.clone(), 0..40).prop_map(|all| format!("[{}]", all.join(" ,\n"))),
        1 => prop::collection::vec(scalar, 0..40).prop_map(|all| numbered(&all)),
    ];
    (prop::collection::vec(inside, 0..150), any::<bool>())
        .prop_map(|(all, object)| if object { numbered(&all) } else { format!("[{}]", all.join(",")) })
}

fn numbered(values: &[String]) -> String {
    let members: Vec<String> =
        values.iter().enumerate().map(|(n, value)| format!("\"{}\\u006e {n}\": {value}", n % 3)).collect();
    format!("{{{}}}", members.join(","))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn everything_read_of_a_large_document_is_what_serde_json_reads(text in many()) {
        assert_same(text.as_bytes(), &LIMITS);
    }

    #[test]
    fn a_large_document_that_was_changed_is_judged_as_a_small_one(
        text in many(), at in any::<prop::sample::Index>(),
        byte in prop::sample::select(b"{}[]\",:\\u019tfn-+.eE \x1f".to_vec()),
    ) {
        let mut bytes = text.into_bytes();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        assert_same(&bytes, &LIMITS);
    }
}
